"""xielu and its gradients where what decides a rounding, or the sign of a zero, is an exponential that has vanished.

Where softplus(alpha) is alpha, or 0, to all digits, results are often ties between two numbers, or zeros; which way
they lean says an exponential of x or of -|alpha|, and of two that are both nothing to a number the larger.
"""

from __future__ import annotations

from collections.abc import Callable

from fastact.kernels import operations as op
from fastact.kernels.blocks import rescue
from fastact.kernels.operations import Value

LEAN = 2.0**-400
"""Added to a number it moves a tie, and nothing else; products with two more numbers are not 0."""
ALONE, NOTHING = 80.0, 2.0**-99
"""The softplus of more is more by less than such a part of it."""
FEW = 2.0**-10
"""The part of softplus(alpha) that may be left of it and beta."""
GONE = {"x": -400.0, "alpha": -500.0}
"""Below these exponentials, times whatever comes to them, are 0 in every format narrower than float64."""


def tells(x: Value, alpha: Value) -> bool:
    """Whether numbers are pairs of words that decide ties of narrower formats."""
    return op.plain(x).context.arithmetic.decisive and not (hasattr(x, "plain") or rescue.known(alpha))


def softplus(alpha: Value, usual: Value) -> Value:
    """The usual value, a little more than alpha."""
    return op.where(alpha.hi > ALONE, alpha.pair(alpha.hi, op.maximum(usual.low, LEAN)), usual)


def sigmoid(alpha: Value, usual: Value) -> Value:
    """The usual value, a little less than 1, or next to 1/2 what it differs from that by, however little."""
    one = alpha.hi.lift(1.0)
    usual = op.where(abs(alpha.hi) < NOTHING, usual.pair(one * 0.5, alpha.hi * 0.25), usual)
    return op.where(op.plain(alpha) > -op.tail(alpha) * 0.25, usual.pair(one, one * -LEAN), usual)


def _exp(t: Value) -> Value:
    return op.plain(op.exp(op.clip(t, -600.0, 600.0)))


def leaning(value: Value, line: Value, alpha: Value, beyond: Callable[[], Value]) -> Value:
    """The value; where alpha is large, and nothing is left beside a line, that and a little ``beyond`` it, of the sign
    of exponentials times exp(alpha)."""
    tied = (alpha > ALONE) & (op.absolute(op.plain(value) - line) <= op.absolute(line) * NOTHING)
    # An infinite line has no remainder.
    tied = tied & (op.absolute(line) < float("inf"))
    return op.unless(value, tied, line + op.copysign(line.pair(line.hi.lift(LEAN)), beyond()))


def line_and_slope(value: Value, x: Value, alpha: Value, beta: Value, eps: Value, slope: bool) -> Value:
    """xielu below 0, (alpha + beta) expm1(m) - alpha x with m = min(x, eps), or its slope: of what is beyond -alpha, or
    -alpha (x + 1) - beta, the first part is (alpha + beta) exp(m), the second -exp(-alpha) (x + 1 - exp(m))."""
    m, total = op.where(x > eps, eps, x), alpha + beta
    line = -alpha if slope else -(alpha * x + total)

    def beyond() -> Value:
        further = total * _exp(m + alpha)
        if not slope:
            return further + (_exp(m) - (x + 1.0))
        return op.where(x < eps, further + (_exp(m) - 1.0), -1.0)

    return leaning(value, line, alpha, beyond)


def rising(value: Value, x: Value, alpha: Value, eps: Value) -> Value:
    """(expm1(m) - x) s(alpha): -1 - x, beyond which are exp(m) and (1 + x) exp(-alpha)."""
    m, line = op.where(x > eps, eps, x), -1.0 - x
    return leaning(value, line, alpha, lambda: _exp(m + alpha) - line)


def _signed(value: Value, gone: Value, sign: Value) -> Value:
    return op.unless(value, gone, op.copysign(op.plain(sign).lift(LEAN), sign))


def _last(x: Value, alpha: Value) -> bool:
    """Whether numbers are the widest that inputs of narrower formats are computed with, but for doubts."""
    arithmetic = op.plain(x).context.arithmetic
    return not (hasattr(x, "plain") or rescue.known(alpha)) and (arithmetic.decisive or arithmetic.roomy)


def whole(s: Value, x: Value, alpha: Value, beta: Value) -> Value:
    """softplus(alpha) + beta, where s is the former; all of what is left of it where they cancel."""
    total = s + beta
    if not _last(x, alpha):
        return total
    rest = op.plain(op.log1p_exp(-op.absolute(alpha)))
    return op.unless(total, op.absolute(total) < s * FEW, op.maximum(alpha, 0.0) + beta + rest)


def line(total: Value, x: Value, times: float, alpha: Value, beta: Value) -> Value:
    """softplus(alpha) x + beta, or with so many times x; all of what is left of it where they cancel."""
    if not _last(alpha, alpha):
        return total
    alpha = op.plain(alpha)
    x = x * times if times != 1.0 else x
    rest = x * op.plain(op.log1p_exp(-op.absolute(alpha)))
    few = op.absolute(total) < op.absolute(beta) * FEW
    return op.unless(total, few, op.fma(op.maximum(alpha, 0.0), x, beta) + rest)


def signed(value: Value, x: Value, alpha: Value, beta: Value, eps: Value) -> Value:
    """xielu below 0 where it is nothing but a sign: that of exp(alpha) (expm1(min(x, eps)) - x) for a beta of 0."""
    if not _last(x, alpha):
        return value
    gone = (alpha < GONE["alpha"]) & beta.equals(0.0)
    m = op.where(x > eps, eps, x)
    return _signed(value, gone, op.plain(op.expm1(op.minimum(m, 0.0))) - op.maximum(x, -2.0))


def signed_slope(value: Value, x: Value, alpha: Value, beta: Value) -> Value:
    """beta exp(x) - exp(alpha) where both are nothing but a sign; for a beta of 0 exp(alpha) expm1(x)."""
    if not _last(x, alpha):
        return value
    gone = (alpha < GONE["alpha"]) & ((x < GONE["x"]) | beta.equals(0.0))
    return _signed(value, gone, beta * _exp(x - alpha) - 1.0)
