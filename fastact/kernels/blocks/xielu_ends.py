"""xielu and its slope of infinite numbers, where words are wider than results, or pairs of them: what float64 has then
with powers of two held apart (`xielu_far`)."""

from __future__ import annotations

import functools
import operator
from math import inf

from fastact.kernels import operations as op
from fastact.kernels.blocks import rescue, xielu_far
from fastact.kernels.operations import Value

VANISHED = 2.0**-300
"""What is less stands for the sign of a slope that is 0."""


def applies(x: Value, *parameters: Value) -> bool:
    """Whether this is where infinite numbers of narrow formats come to, which may be any."""
    return not (hasattr(x, "plain") or rescue.narrow(x) or rescue.known(parameters[0]))


def _infinite(*numbers: Value) -> Value:
    """Whether one of some numbers is infinite."""
    return functools.reduce(operator.or_, (op.absolute(number).equals(inf) for number in numbers))


def _instead(usual: Value, odd: Value, value: Value) -> Value:
    """The usual number, a word elsewhere: beside an infinity no pair may have a remainder."""
    usual = op.plain(usual)
    usual = usual.pair(usual.hi, usual.low) if hasattr(usual, "hi") else usual
    return op.unless(usual, odd, usual.lift(value))


def value(usual: Value, x: Value, alpha_p: Value, alpha_n: Value, beta: Value, eps: Value) -> Value:
    y, p, n, b, m = map(op.word, (x, alpha_p, alpha_n, beta, eps))
    below = op.plain(op.where(y > 0.0, 0.0, x))
    e = op.word(op.expm1(op.minimum(op.minimum(below, op.plain(eps)), 0.0)))  # which the usual value has, too
    # Below eps e - x is positive, and of x = -1 the exponential remains.
    rise = op.where((y <= m) & (y < 0.0) | y.equals(-1.0), 1.0, e - op.maximum(y, -2.0))
    ends = xielu_far.infinite_value(y, op.maximum(p, 0.0), op.maximum(n, 0.0), e, rise, b)
    value = op.where(ends.equals(0.0), op.word(usual), ends)
    value = xielu_far.standing_still(value, y, e, b)
    return _instead(usual, _infinite(y, op.where(y > 0.0, p, n), b), value)


def slope(usual: Value, x: Value, alpha_p: Value, alpha_n: Value, beta: Value, eps: Value) -> Value:
    y, p, n, b, m = map(op.word, (x, alpha_p, alpha_n, beta, eps))
    s = op.maximum(n, 0.0)
    small = op.word(usual)
    small = op.where(_infinite(y, n) & (op.absolute(small) < VANISHED), small * 0.0, small)
    ends = xielu_far.infinite_slope(y, op.maximum(p, 0.0), s, b)
    ends = op.where((y <= 0.0) & ~(y < m), op.where(s < inf, 0.0, -s), ends)
    value = op.where(ends.equals(0.0), small, ends)
    return _instead(usual, _infinite(y, op.where(y > 0.0, p, n), b), value)
