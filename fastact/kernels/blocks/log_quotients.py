"""log(1 + exp(x)) over a number, where single words are no wider than results: the digits that its own rounding took
go into the quotient."""

from __future__ import annotations

from math import sqrt

from fastact.kernels.blocks.exactly import fast_two_sum
from fastact.kernels.operations import Value, log1p_exp


def log1p_exp_over(x: Value, divisor: Value) -> Value:
    """For x <= 0, which may be a pair of words, and a divisor that is a word."""
    a = x.context.arithmetic
    if a.pair or a.careless or a.wide:
        return log1p_exp(x) / divisor
    from fastact.kernels.blocks import single

    high, low = (x.hi, x.lo) if hasattr(x, "hi") else (x, None)
    e, word, lost = single.exp_and_lost(high, low)
    total, rest = fast_two_sum(*_log1p_words(word, lost))
    q = total / divisor
    quotient = q + ((-q).fma(divisor, total) + rest) / divisor
    return (e / divisor).where_near(quotient.choose(abs(quotient) < float("inf"), q))


def _log1p_words(x: Value, rest: Value) -> tuple[Value, Value]:
    """log1p for 0 <= x <= 1, as in `single.log1p_exp`, plus a rest: a first word and what is to be added."""
    from fastact.kernels.blocks import single

    doubled = x > sqrt(2.0) - 1.0
    minus_k = x.lift(-1.0).choose(doubled, 0.0)
    f = x.fma(0.5, -0.5).choose(doubled, x)
    u, v = single._curved(f)
    high, low, *_ = x.context.split("LN2")
    return minus_k.fma(-high, f), u.fma(v, minus_k.fma(-low, rest))
