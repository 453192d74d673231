"""Gradients next to their roots where numbers have some digits more than results, but not as many as cancel there."""

from __future__ import annotations

from fractions import Fraction

from fastact.kernels.blocks.cubic import rounded
from fastact.kernels.operations import Value, absolute, exactly, fma, plain, where


def next_to_root(x: Value, value: Value, name: str) -> Value:
    """The value; next to a root, if results have subnormal numbers that small, d P(d) with the first two terms of P and
    d the distance from the root, which is carried in two words."""
    context, a = x.context, x.context.arithmetic
    if a.word != "f32" or a.rough or not a.wide:
        return value
    from fastact.kernels.coefficients import TABLES

    root = exactly(name.upper() + "_DOUBLE")
    high = rounded(root, context)
    d = (plain(x) - high) - (root - Fraction(high))
    (p, _), (q, _), *_ = TABLES[name]["pair"].coefficients
    return where(absolute(d) < 2.0**-9, d * fma(d, q, p), value)
