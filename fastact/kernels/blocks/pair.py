"""Elementary functions in double-double arithmetic.

The reductions leave arguments so small that only their first powers need more than a word: what lies 2^-10 and more
below the result is computed in plain words. Tables hold exact words, so that products with them have no second term.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from math import inf, nan

from fastact.kernels import operations
from fastact.kernels.blocks.exactly import fast_two_sum, two_product, two_sum
from fastact.kernels.blocks.pair_erf import (
    erf,
    erfc,
    erfcx,
    exp_times,
    falling_polynomial,
    minus_square,
    short_polynomial,
    vanishing,
)
from fastact.kernels.blocks.pair_sine import sin_and_cos, sin_but_sign
from fastact.kernels.blocks.single import limited, number, pattern, polynomial, power_of_two
from fastact.kernels.operations import Value, one_plus


def words(coefficients: tuple) -> tuple[float, ...]:
    """The coefficients without their low parts."""
    return tuple(c[0] if isinstance(c, tuple) else c for c in coefficients)


def signed(value: Value, like: Value) -> Value:
    """A pair whose sign is that of another word, or is to be: the low part goes with the high one."""
    sign = (value.hi.bits() ^ like.bits()) & -(2**63)
    low = None if value.lo is None else (value.lo.bits() ^ sign).as_real()
    return value.pair(value.hi.copysign(like), low)


def copysign(x: Value, sign: Value) -> Value:
    return signed(x, sign.hi)


# -- exponentials ---------------------------------------------------------------------------------------------------
STEPS = 32
"""Powers of two in the table between 1 and 2."""


def reduce_exp(x: Value) -> tuple[Value, Value, Value]:
    """32 n + j, t and u with exp(x) = 2^n c exp(t - u): c a float of the table, |t| <= (ln 2)/64, |u| < 2^-42.

    c stands for 2^(j/32); by how much it differs is part of u. t = x - k l with l = (ln 2)/32 rounded is exact: where
    k is not 0, |x| > 2^-7, so that x and k l are multiples of 2^-59, and |t| < 2^-6.
    """
    context = x.context
    k, whole = x.hi.split_integer(STEPS * context.constant("LOG2E").hi)
    ln2 = context.constant("LN2")
    t = k.fma(ln2.hi * (-1.0 / STEPS), x.hi)
    u = k.fma(ln2.lo * (1.0 / STEPS), _lacking(context, whole))
    return whole, t, u if x.lo is None else u - x.lo


def reduce_exp2(x: Value) -> tuple[Value, Value, Value]:
    """2^x in the form of `reduce_exp`."""
    context = x.context
    k, whole = x.hi.split_integer(float(STEPS))
    high, low = context.constant("LN2").hi, context.constant("LN2").lo
    d = k.fma(-1.0 / STEPS, x.hi)
    t = d * high
    u = d.fma(-low, _lacking(context, whole)) - d.fma(high, -t)
    return whole, t, u if x.lo is None else x.lo.fma(-high, u)


def _lacking(context: Value, whole: Value) -> Value:
    """Minus the logarithm of what the float near 2^(j/32) lacks, j being the low bits."""
    table = context.table("exp_table")
    return context.real(0.0).lookup(tuple(-c[1] / c[0] for c in table), whole & (STEPS - 1))


def _power(context: Value, whole: Value) -> Value:
    """That float."""
    return context.real(0.0).lookup(tuple(c[0] for c in context.table("exp_table")), whole & (STEPS - 1))


def _raised(context: Value, whole: Value, by: int = 0) -> Value:
    """That float times 2^(n + by), as `single.raised` makes it."""
    a = context.arithmetic
    step = a.mantissa_bits - 5
    entries = tuple(
        number(a, pattern(a, c[0]) + (by << a.mantissa_bits) - (j << step))
        for j, c in enumerate(context.table("exp_table"))
    )
    return (context.real(0.0).lookup(entries, whole & (STEPS - 1)).bits() + (whole << step)).as_real()


def exp(x: Value) -> Value:
    return _exponential(x, reduce_exp, 1.0)


def exp2(x: Value) -> Value:
    return _exponential(x, reduce_exp2, 1.0 / math.log(2))


def _exponential(x: Value, reduce: Callable[[Value], tuple[Value, ...]], unit: float) -> Value:
    """2^n c exp(t - u); ``unit`` is the x that multiplies the value by e.

    Far is what leaves no room for products with the value and other numbers that are not far: there the argument is
    limited to what has a meaning, and the power is held apart.
    """
    context = x.context
    tail, near = -context.arithmetic.tail * unit, 200.0 * unit
    at_most = context.bounds(x)[1]
    bounded = at_most <= near
    far = x.hi < -near if bounded else abs(x.hi) > near
    # At the lower limit 2^n is as good as 0, which it is to any sum.
    whole, t, u = reduce(limited(x, -1023.0 * math.log(2) * unit, inf) if bounded else x)
    usual = _times_exp(x, _raised(context, whole), t, u)
    context.note(usual, 0.0, math.exp(min(at_most / unit, 700.0)) if bounded else inf)
    whole, t, u = reduce(limited(x, -tail, tail))
    return context.scaled(_times_exp(x, _power(context, whole), t, u), whole >> 5, bounded, far, usual)


def _times_exp(x: Value, c: Value, t: Value, u: Value) -> Value:
    """c exp(t - u) = c + c t + c (-u + r^2/2 + ...), r = t - u, as a pair."""
    r = t - u
    rest = (r * r).fma(polynomial(r, words(x.context.table("exp_pair"))[1:]), -u)
    high = c.fma(t, c)
    return x.pair(*fast_two_sum(high, c.fma(rest, c.fma(t, c - high))))


def exponents_from(x: Value, arithmetic: Value) -> Value:
    """As in `fastact.kernels.blocks.over`; here k counts whole powers, but exponents are in steps."""
    k, _ = x.hi.split_integer(x.context.constant("LOG2E").hi)
    return 1.5 * 2.0**arithmetic.mantissa_bits - k * float(STEPS)


def exp_over(x: Value, start: Value, shift: int) -> Value:
    """exp(x) 2^(shift - k), as in `fastact.kernels.blocks.over`."""
    context, ln2 = x.context, x.context.constant("LN2")
    moved = x.hi.fma(STEPS * context.constant("LOG2E").hi, start)
    k = moved - start
    whole = moved.bits() - context.real(1.5 * 2.0**52).bits()
    t = k.fma(ln2.hi * (-1.0 / STEPS), x.hi)
    u = k.fma(ln2.lo * (1.0 / STEPS), _lacking(context, whole)) - x.low
    return _times_exp(x, _raised(context, whole, shift), t, u)


def one_plus_exp(x: Value) -> Value:
    return one_plus(exp(x))


def log1p_exp(x: Value) -> Value:
    return operations.log1p(exp(x))


def expm1(x: Value) -> Value:
    """exp(x) - 1. Where exp(x) may exceed 2^52 or the result is -1 to the last place, the longer way."""
    if x.context.bounds(x)[1] <= 0.0:
        return _expm1(limited(x, -110.0, 0.0))
    return _expm1(x).unless(abs(x.hi) > 36.0, _expm1(limited(x, -110.0, 710.0), anywhere=True))


def _expm1(x: Value, anywhere: bool = False) -> Value:
    """2^n c (1 + expm1(r)) - 1; where 2^n c is 1 exactly, the polynomial alone, carried to full relative accuracy.

    For x in [-110, 36], or anywhere up to the overflow.
    """
    context = x.context
    whole, t, u = reduce_exp(x)
    if anywhere:
        # 2^1000 c, and what is beyond apart.
        n = whole >> 5
        beyond = (n - 1000).choose(n.compare("sgt", 1000), 0)
        c, power = _raised(context, whole - (beyond << 5)), power_of_two(beyond)
        a, a_low = two_sum(c, context.real(-1.0))
    else:
        c = _raised(context, whole)
        # a + 1 is exact up to 2^53.
        a = c - 1.0
        a_low = c - (a + 1.0)
    w_low, b, b_low = _rise(c, t, u)
    # |a| >= |b| unless a = 0.
    s, e = fast_two_sum(a, b)
    high, low = fast_two_sum(s, c.fma(w_low, b_low) + (a_low + e))
    if anywhere:
        high, low = high * power, low * power
    return x.pair(high.copysign(x.hi), low)


def _rise(c: Value, t: Value, u: Value) -> tuple[Value, Value, Value]:
    """c expm1(t - u) as b + b' + c w'; w', b and b'."""
    r = t - u
    cubic = (r * r) * r * polynomial(r, words(c.context.table("exp_pair"))[2:])
    square, square_low = two_product(t, t)
    w = square.fma(0.5, t)
    w_low = square.fma(0.5, t - w) + ((-u).fma(t, square_low.fma(0.5, cubic)) - u)
    return w_low, *two_product(c, w)


def exp_long(x: Value) -> Value:
    """exp(x) for -700 <= x <= 0, right to 2^-71."""
    whole, t, u = reduce_exp(x)
    c = _raised(x.context, whole)
    w_low, b, b_low = _rise(c, t, u)
    s, e = fast_two_sum(c, b)
    return x.pair(*fast_two_sum(s, c.fma(w_low, b_low) + e))


def tanh(x: Value) -> Value:
    """-m/(m + 2) with m = expm1(-2|x|): nothing cancels, also next to 0."""
    y = abs(x) * -2.0
    x.context.note(y, at_most=0.0)
    m = _expm1(limited(y, -110.0, 0.0))
    assert m.lo is not None
    d, d_low = fast_two_sum(x.context.real(2.0), m.hi)
    inverse = -1.0 / d
    q = m.hi * inverse
    rest = q.fma(d, m.hi) + q.fma(d_low + m.lo, m.lo)
    value = x.pair(*fast_two_sum(q, rest * inverse))
    # tanh x = x - x^3/3 + ...; and the remainders of such small quotients would be lost among the subnormals.
    small = abs(x.hi)
    return signed(value, x.hi).unless((small < 2.0**-900) & (small > 0.0), x)


# -- logarithms -----------------------------------------------------------------------------------------------------
def log(x: Value) -> Value:
    return _log_in_units(x, 1.0)


def log2(x: Value) -> Value:
    """log x/ln 2; of powers of two both factors are right to 2^-104, so that the whole numbers come out."""
    return _log_in_units(x, x.context.constant("LOG2E"))


def _log_in_units(x: Value, unit: Value) -> Value:
    """Numbers far from 1, and those without a logarithm, are looked into apart."""
    usual, far = _log(x)
    x.context.end(x, 0.0, far, serves=True)
    small = x.hi < 2.0**-960
    anywhere, _ = _log((x * 2.0**100).choose(small, x), x.context.real(-100.0).choose(small, 0.0))
    return (usual * unit).unless(far, _logarithm_of_any(x.hi, anywhere * unit, 0.0))


def _log(x: Value, offset: Value | None = None) -> tuple[Value, Value]:
    """log x = n ln 2 - log c + log(m c), x = 2^n m; and where that does not hold: outside of [2^-1000, 2^1000]."""
    n, whole, c, a, a_low = _reduce_log(x.hi, offset)
    m = (x.hi.bits() - (n << 52)).as_real()
    f, f_low = m.fma(c, -1.0), None
    if x.lo is not None:
        f, f_low = fast_two_sum(f, x.lo * (((1025 - n) << 52).as_real() * 0.25 * c))
    return _logarithm(x, a, a_low, f, f_low), abs(whole) > 1000.0


def log_odds(x: Value) -> Value:
    """log(x/(1 - x)) = -log1p((1 - 2 x)/x) for x <= 1/2: no logarithm of a number near 1 is taken."""
    value = 0.0 - log1p((1.0 - x * 2.0) / x)  # +0 at 1/2
    # There 1 - x is 1.
    return value.unless(~(x.hi >= 2.0**-120), log(x))


def log1p(x: Value) -> Value:
    """log(1 + x) = n ln 2 - log c + log(c (1 + x)/2^n), where 1 + x, of which n and c depend, need not be exact: with
    k = c/2^n that is log(1 + f), f = k x + (k - 1)."""
    context = x.context
    n, whole, c, a, a_low = _reduce_log(x.hi + 1.0)
    k = c * power_of_two(0 - n)
    p, e = two_product(k, x.hi)
    # Either |k - 1| >= |k x|, or one is at most twice the other and nothing is lost.
    f, f_low = fast_two_sum(k - 1.0, p)
    f_low = f_low + e
    if x.lo is not None:
        f_low = k.fma(x.lo, f_low)
    value = _logarithm(x, a, a_low, f, f_low)
    # Above, k - 1 would not be exact; below, the second term of k x would be no small part of f.
    if context.bounds(x)[0] < 0.0 or context.bounds(x)[1] > 2.0**45:
        s, e = two_sum(context.real(1.0), x.hi)
        anywhere, _ = _log(x.pair(s, e if x.lo is None else e + x.lo))
        far = (whole < -8.0) | (whole > 46.0)
        context.end(x, -1.0, far)
        value = value.unless(far, _logarithm_of_any(x.hi, anywhere, -1.0))
    return x.pair(value.hi.copysign(x.hi), value.lo)


def _reduce_log(x: Value, offset: Value | None = None) -> tuple[Value, ...]:
    """n, whole or as a float, with c: x = 2^n m, c a short float near 1/m; and n ln 2 - log c as a sum of two."""
    context = x.context
    table = context.table("log_table")
    reciprocals = tuple(round(64 * math.exp(-high)) / 64 for high, _ in table)
    # The intervals of the table divide the bits of the mantissa evenly; c is 1 on both sides of 1.
    below = reciprocals.index(1.0) + 1
    moved = x.bits() - (0x3FF0000000000000 - (2 * below + 1) * 2**46)
    j, n = (moved >> 47) & 31, moved >> 52
    whole = (n + 0x4338000000000000).as_real() - 1.5 * 2.0**52
    moved_by = whole if offset is None else whole + offset
    real = context.real(0.0)
    high, low, *_ = context.split("LN2")
    # The first sum is exact.
    a = moved_by.fma(high, real.lookup(tuple(h for h, _ in table), j))
    a_low = moved_by.fma(low, real.lookup(tuple(t for _, t in table), j))
    return n, whole, real.lookup(reciprocals, j), a, a_low


def _logarithm(x: Value, a: Value, a_low: Value, f: Value, f_low: Value | None) -> Value:
    """a + log(1 + f) as a pair."""
    return x.pair(*fast_two_sum(*logarithm_words(x, a, a_low, f, f_low)))


def logarithm_words(x: Value, a: Value, a_low: Value, f: Value, f_low: Value | None) -> tuple[Value, Value]:
    """a + log(1 + f) in two words, the second loose; f - f^2/2 in full."""
    square, square_low = two_product(f, f)
    g = square.fma(-0.5, f)
    rest = a_low + square.fma(-0.5, f - g)
    if f_low is not None:
        # log(1 + f + f') = log(1 + f) + f'/(1 + f)
        rest = f_low.fma((-f).fma(1.0 - f, 1.0), rest)
    rest = square_low.fma(-0.5, rest)
    rest = (square * f).fma(polynomial(f, words(x.context.table("log_pair"))), rest)
    # |a| >= |g| unless a = 0.
    s, e = fast_two_sum(a, g)
    return s, e + rest


def _logarithm_of_any(x: Value, usual: Value, pole: float) -> Value:
    """The usual value where x is a number between the pole and infinity; elsewhere the limit, or NaN."""
    outside = x.choose(x > pole, x.context.real(-inf).choose(x.equals(pole), nan))
    inside = (x > pole) & (x < inf)
    return usual.pair(usual.hi.choose(inside, outside), usual.low.choose(inside, 0.0))


# -- reciprocals ----------------------------------------------------------------------------------------------------
def reciprocal(x: Value) -> Value:
    y = 1.0 / x.hi
    rest = (-y).fma(x.hi, 1.0)
    if x.lo is not None:
        rest = (-y).fma(x.lo, rest)
    # Where y is infinite or x is, there is no remainder.
    low = (y * rest).choose(abs(rest) < inf, 0.0)
    return x.pair(y, low) if x.lo is None else x.pair(*fast_two_sum(y, low))


def rsqrt(x: Value) -> Value:
    """y + y (1 - x y^2)/2 with y = 1/sqrt(x) to a word."""
    y = 1.0 / x.hi.sqrt()
    p, e = two_product(x.hi, y)
    rest = e.fma(-y, (-p).fma(y, 1.0))
    if x.lo is not None:
        rest = (x.lo * y).fma(-y, rest)
    low = ((y * 0.5) * rest).choose(abs(rest) < inf, 0.0)
    return x.pair(*fast_two_sum(y, low))


__all__ = [
    "copysign",
    "erf",
    "erfc",
    "erfcx",
    "exp",
    "exp2",
    "exp_times",
    "expm1",
    "falling_polynomial",
    "log",
    "log1p",
    "log1p_exp",
    "log2",
    "log_odds",
    "minus_square",
    "one_plus_exp",
    "reciprocal",
    "rsqrt",
    "short_polynomial",
    "sin_and_cos",
    "sin_but_sign",
    "tanh",
    "vanishing",
]  # fmt: skip
