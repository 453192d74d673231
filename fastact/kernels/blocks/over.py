"""Exponentials over a power of two that is chosen before: exp(x) 2^(shift - k) for the whole number k of a row.

Where x is near k ln 2 the value is near 2^shift, however large k is: nothing overflows. It comes about as exp(x) does,
2^n exp(r), with k taken off n before that becomes an exponent.
"""

from __future__ import annotations

from fastact.kernels.blocks.single import polynomial
from fastact.kernels.operations import Value


def exponents_from(x: Value, arithmetic: Value) -> Value:
    """What `exp_over` has to begin with, in the arithmetic named, for k = rint(x/ln 2)."""
    k, _ = x.split_integer(x.context.constant("LOG2E"))
    return 1.5 * 2.0**arithmetic.mantissa_bits - k


def exp_over(x: Value, start: Value, shift: int, briefly: bool = False) -> Value:
    """exp(x) 2^(shift - k), where ``start`` is 1.5 2^p - k and p are the bits of the mantissa: adding it to x/ln 2
    pushes the fraction out and leaves n - k in the low bits. For |x| up to some thousands. ``briefly``: to 34 bits,
    where words are wider than results."""
    context, a = x.context, x.context.arithmetic
    briefly = briefly and a.wide and a.word == "f64"
    moved = x.fma(context.constant("LOG2E"), start)
    n = moved - start
    if a.rough or briefly:
        r = n.fma(-context.constant("LN2"), x)
    else:
        above, below, *_ = context.split("LN2")
        r = n.fma(-below, n.fma(-above, x))
    p = r.fma(polynomial(r, context.table("exp_briefly" if briefly else "exp")), 1.0)
    unit = context.real(1.5 * 2.0**a.mantissa_bits).bits()
    return p * ((moved.bits() - unit + (a.bias + shift)) << a.mantissa_bits).as_real()
