"""Sums and products of two words without error: each as its rounding and the error of that rounding."""

from __future__ import annotations

from fastact.kernels.operations import Value


def two_sum(a: Value, b: Value) -> tuple[Value, Value]:
    """a + b."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def fast_two_sum(a: Value, b: Value) -> tuple[Value, Value]:
    """a + b, where the exponent of a is at least that of b or a is 0."""
    s = a + b
    return s, b - (s - a)


def two_product(a: Value, b: Value) -> tuple[Value, Value]:
    """a b, where its error is not below the smallest subnormal number."""
    p = a * b
    return p, a.fma(b, -p)
