"""log(1 + exp(x)) over a number, where single words are no wider than results: the digits that its own rounding took
go into the quotient."""

from __future__ import annotations

from fastact.kernels.blocks.exactly import fast_two_sum
from fastact.kernels.operations import Value, log1p_exp


def log1p_exp_over(x: Value, divisor: Value) -> Value:
    """For x <= 0, which may be a pair of words, and a divisor that is a word."""
    a = x.context.arithmetic
    if a.pair or a.careless or a.wide:
        return log1p_exp(x) / divisor
    from fastact.kernels.blocks import log_single

    high, low = (x.hi, x.lo) if hasattr(x, "hi") else (x, None)
    e, word, lost = log_single.exp_and_lost(high, low, closely=True)
    base, product, least = log_single.log1p_words(word, lost)
    total, rest = fast_two_sum(base, product)
    q = total / divisor
    quotient = q + ((-q).fma(divisor, total) + (rest + least)) / divisor
    return (e / divisor).where_near(quotient.choose(abs(quotient) < float("inf"), q))
