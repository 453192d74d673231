"""log(1 + exp(x)) for where it cancels against something else: more digits than double-double arithmetic has of it.

A first value y of log(1 + exp(-|x|)) becomes y + log(1 + d) with d = (1 + e) exp(-y) - 1 = e + m + e m, where
e = exp(-|x|) and m = exp(-y) - 1 have the digits wanted, and log(1 + d) is d to twice the digits that y has.
"""

from __future__ import annotations

from fastact.kernels.blocks import pair, triple
from fastact.kernels.blocks.single import limited
from fastact.kernels.operations import Value, absolute, maximum, plain, where

REACH = 100.0
"""The largest |x| for which there are more digits."""


def _first(size: Value) -> Value:
    return plain(pair.log1p_exp(-size))


def in_pairs(x: Value, usual: Value) -> Value:
    """In double-double arithmetic, to 2^-71; further out the usual value."""
    size = limited(absolute(x), 0.0, REACH)
    y, e = _first(size), pair.exp_long(-size)
    x.context.note(y, at_least=0.0)
    m = pair.expm1(-y)
    return where(absolute(x) <= REACH, maximum(x, 0.0) + (y + ((e + m) + e * m)), usual)


def in_triples(x: Value, anywhere: bool = False) -> triple.Words:
    """In three words, to 2^-125, for x >= -`REACH`, or ``anywhere``; for a word in any arithmetic of such words."""
    size = limited(absolute(x), 0.0, REACH)
    first = _first(x.context.doubled(size))
    y = (first.hi, first.low)
    e = triple.exp((-size,))
    m = triple.total(triple.expm1_less(triple.minus(y)), triple.minus(y))
    d = triple.total(triple.total(e, m), triple.product(e, m))
    words = triple.total(triple.total(y, d), (maximum(x, 0.0),))
    if not anywhere:
        return words
    # There it is exp(-|x|), half the square of which is just nothing.
    far = triple.exp_further(-absolute(x))
    zero = x.lift(0.0)
    further = triple.total((maximum(x, 0.0), zero, zero), far)
    return tuple(w.choose(size < REACH, f) for w, f in zip(words, further, strict=True))
