"""Elementary functions on one machine word per number; tier and word show only in the coefficient tables."""

from __future__ import annotations

from fastact.kernels.operations import Value, maximum, minimum, where


def polynomial(r: Value, coefficients: tuple[float, ...]) -> Value:
    """Horner's rule with fused multiply-adds; coefficients in ascending order."""
    p = r.lift(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        p = p.fma(r, c)
    return p


def reduce_exp(x: Value) -> tuple[Value, Value, Value]:
    """n = rint(x / ln 2) as a float and as an integer, r = x - n ln 2 with |r| <= (ln 2)/2."""
    n, integer = x.split_integer(x.context.constant("LOG2E"))
    high, low, *_ = x.context.split("LN2")
    return n, integer, n.fma(-low, n.fma(-high, x))


def limited(x: Value, low: float, high: float) -> Value:
    """x clamped to [low, high], leaving out a clamp that is known to change nothing."""
    at_least, at_most = x.context.bounds(x)
    if at_most > high:
        x = minimum(x, high)
    if at_least < low:
        x = maximum(x, low)
    return x


def exp(x: Value) -> Value:
    """2^n exp(r)."""
    x = limited(x, x.context.arithmetic.tail, -x.context.arithmetic.tail)
    bounded = x.context.bounds(x)[1] < 0.63 * x.context.arithmetic.bias
    _, n, r = reduce_exp(x)
    p = r.fma(polynomial(r, x.context.table("exp")), 1.0)
    return x.context.scaled(p, n, bounded)


def copysign(x: Value, sign: Value) -> Value:
    return x.copysign(sign)


__all__ = ["copysign", "exp", "where"]
