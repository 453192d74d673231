"""Quotients, by whichever way is the shorter for the numbers at hand."""

from __future__ import annotations

from fractions import Fraction

from fastact.kernels.operations import Value, fma, plain


def over(x: Value, whole: int) -> Value:
    """x over a small whole number. Where roundings are decided quotients that fit have to be exact, so that ties show;
    elsewhere a product takes less time."""
    a = plain(x).context.arithmetic
    return x / float(whole) if a.pair or a.roomy else x * Fraction(1, whole)


def tying(numerator: Value, denominator: Value) -> Value:
    """A quotient in double-double arithmetic; by one word it is exact wherever a word holds it, so that a tie between
    two results comes out as one, which times a reciprocal it need not."""
    n, d = plain(numerator), plain(denominator)
    q = n.hi / d.hi
    rest = (-q).fma(d.low, (-q).fma(d.hi, n.hi) + n.low)
    return n.pair(q, rest / d.hi, 3)


def logistic_density(e: Value, times: float = 1.0) -> Value:
    """e/(1 + e)^2 of an exponential e <= 1, times 1 or 4; 1 + e (e + 2) rounds at 1 but once."""
    numerator = e if times == 1.0 else e * times
    context = plain(e).context
    if context.arithmetic.guarded:
        return context.blocks.logistic_density(e, times)
    return numerator / fma(e, e + 2.0, 1.0)
