"""Gradients with a root on pairs of float32: their terms cancel, and the error that is left is relative to these."""

from __future__ import annotations

import math

from fastact.kernels.blocks import pair_single
from fastact.kernels.blocks.exactly import two_product, two_sum
from fastact.kernels.blocks.pair_single_normal import ROUNDED, normal
from fastact.kernels.operations import Value

GRANTED = 2.0 * 2.0**-11
"""The error of these gradients relative to their terms, in 2^-25 of them."""
GRANTED_DENSITY = 0.8 * 2.0**-11
"""What `logistic_density` adds to the error that is granted, in 2^-25 of the result."""


def silu_slope(x: Value, t: Value) -> Value:
    """The gradient of t s with s = 1/(1 + e) and e = exp(-t), at a multiple t of x: s (1 + t (1 - s)), 1 - s being
    e s."""
    e = pair_single.exp(-t)
    s = 1.0 / (e + 1.0)
    term = t * (e * s)
    value = s * _sum(s.lift(1.0), term)
    in_doubt(x, value, s.first.fma(abs(term.first), s.first))
    return value


def logistic_density(e: Value, times: float) -> Value:
    """e/(1 + e)^2 times the square of 1 or 2, of an exponential 0 < e <= 1. With r next to that over 1 + e, so that
    what r is less is exact, and t = (1 - r) - r e it is e r^2/(1 - t)^2 = e r^2 (1 + 2 t + 3 t^2 + ...); 1 stands for
    2, t for 2 t if that is squared."""
    context, word, low, root = e.context, e.first, e.second, math.sqrt(times)
    divisor = word + 1.0
    context.note(divisor, 1.0, 2.0)
    r = root / divisor
    t = (-r).fma(low, (-r).fma(word, root - r))
    square, rest = two_product(r, r)
    first, second = two_product(word, square)
    second = low.fma(square, word.fma(rest, second))
    second = (t * t.fma(3.0 / times, 2.0 / root)).fma(first + second, second)
    context.granted += GRANTED_DENSITY
    value = e.pair(first, second, 2 * e.slack)
    context.note(value, context.bounds(e)[0] * times / 4.0, times / 4.0)
    return value


def gelu_slope(x: Value) -> Value:
    """Phi(x) + x phi(x): with y = |x| and Phi(-y) = e g it is e (g - y/sqrt(2 pi)) for x < 0, and 1 minus that for
    x >= 0."""
    context = x.context
    y, e, g = normal(x)
    line = context.constant("SQRT_TWO_OVER_PI") * 0.5 * y
    tail = e * _sum(g, -line)
    negative = x.first < 0.0
    whole = y.lift(0.0).choose(negative, 1.0)
    first, second = (word.choose(negative, -word) for word in (tail.first, tail.second))
    s = whole + first
    value = x.pair(s, ((whole - s) + first) + second, 2 * tail.slack)
    in_doubt(x, value, whole.fma(ROUNDED, e.first * (g.first + line.first)))
    return value


def in_doubt(x: Value, value: Value, size: Value) -> None:
    """Say that the error of a value is relative to a size that is nowhere 0, so that small results are in doubt without
    further ado."""
    context, node = x.context, x.hi.node
    value.uncertain = size
    context.granted = GRANTED
    context.note(size, 2.0**-126)
    _, most = context.held.get(node, (0.0, math.inf))
    context.held[node] = math.inf, most


def _sum(a: Value, b: Value) -> Value:
    """a + b with an error relative to the larger of the two."""
    s, rest = two_sum(a.first, b.first)
    for word in (a.second, b.second):
        rest = rest if word is None else rest + word
    return a.pair(s, rest, 2 * max(a.slack, b.slack))
