"""Gradients with a root on pairs of float32: their terms cancel, and the error that is left is relative to these."""

from __future__ import annotations

import math

from fastact.kernels.blocks import pair_single
from fastact.kernels.blocks.exactly import two_sum
from fastact.kernels.blocks.pair_single_normal import ROUNDED, normal
from fastact.kernels.operations import Value

GRANTED = 2.0 * 2.0**-11
"""The error of these gradients relative to their terms, in 2^-25 of them."""


def silu_slope(x: Value, t: Value) -> Value:
    """The gradient of t s with s = 1/(1 + e) and e = exp(-t), at a multiple t of x: s (1 + t (1 - s)), 1 - s being
    e s."""
    e = pair_single.exp(-t)
    s = 1.0 / (e + 1.0)
    term = t * (e * s)
    value = s * _sum(s.lift(1.0), term)
    in_doubt(x, value, s.first.fma(abs(term.first), s.first))
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
