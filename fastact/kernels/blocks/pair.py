"""Elementary functions in double-double arithmetic.

The reductions leave arguments so small that only their first powers need more than a word: what lies 2^-10 and more
below the result is computed in plain words. Tables hold exact words, so that products with them have no second term.
"""

from __future__ import annotations

import math
from math import inf, nan

from fastact.kernels.blocks.single import limited, polynomial
from fastact.kernels.operations import Value
from fastact.link.pair import Pair, fast_two_sum, two_product, two_sum


def plain(coefficients: tuple) -> tuple[float, ...]:
    """The coefficients without their low parts."""
    return tuple(c[0] if isinstance(c, tuple) else c for c in coefficients)


def signed(value: Pair, like: Value) -> Pair:
    """A pair whose sign is that of another word, or is to be: the low part goes with the high one."""
    sign = (value.hi.bits() ^ like.bits()) & -(2**63)
    low = None if value.lo is None else (value.lo.bits() ^ sign).as_real()
    return Pair(value.hi.copysign(like), low)


def copysign(x: Pair, sign: Pair) -> Pair:
    return signed(x, sign.hi)


# -- exponentials ---------------------------------------------------------------------------------------------------
STEPS = 32
"""Powers of two in the table between 1 and 2."""


def reduce_exp(x: Pair) -> tuple[Value, Value, Value, Value]:
    """exp(x) = 2^n c exp(t - u): n whole, c a float of the table, |t| <= (ln 2)/64, |u| < 2^-42.

    c stands for 2^(j/32); by how much it differs is part of u. t = x - k l with l = (ln 2)/32 rounded is exact: where
    k is not 0, |x| > 2^-7, so that x and k l are multiples of 2^-59, and |t| < 2^-6.
    """
    context = x.context
    k, whole = x.hi.split_integer(STEPS * context.constant("LOG2E").hi)
    ln2 = context.constant("LN2")
    t = k.fma(ln2.hi * (-1.0 / STEPS), x.hi)
    c, rest = _power_table(context, whole)
    u = k.fma(ln2.lo * (1.0 / STEPS), rest)
    if x.lo is not None:
        u = u - x.lo
    return whole >> 5, c, t, u


def reduce_exp2(x: Pair) -> tuple[Value, Value, Value, Value]:
    """2^x in the form of `reduce_exp`."""
    context = x.context
    k, whole = x.hi.split_integer(float(STEPS))
    high, low = context.constant("LN2").hi, context.constant("LN2").lo
    d = k.fma(-1.0 / STEPS, x.hi)
    t = d * high
    c, rest = _power_table(context, whole)
    u = d.fma(-low, rest) - d.fma(high, -t)
    if x.lo is not None:
        u = x.lo.fma(-high, u)
    return whole >> 5, c, t, u


def _power_table(context: Value, whole: Value) -> tuple[Value, Value]:
    """A float near 2^(j/32), j being the low bits, and minus the logarithm of what it lacks."""
    table, j = context.table("exp_table32"), whole & (STEPS - 1)
    real = context.real(0.0)
    return real.lookup(tuple(c[0] for c in table), j), real.lookup(tuple(-c[1] / c[0] for c in table), j)


def _exponential(x: Pair, at_most: float, n: Value, c: Value, t: Value, u: Value) -> Value:
    """2^n c exp(t - u) = 2^n (c + c t + c (-u + r^2/2 + ...)), r = t - u; |n| <= 1000 where |x| <= ``at_most``."""
    r = t - u
    rest = (r * r).fma(polynomial(r, plain(t.context.table("exp_pair_small32"))[1:]), -u)
    high = c.fma(t, c)
    low = c.fma(rest, c.fma(t, c - high))
    bounded = x.context.bounds(x)[1] <= at_most
    return t.context.scaled(Pair(*fast_two_sum(high, low)), n, bounded, abs(x.hi) > at_most)


def exp(x: Pair) -> Value:
    limit = -x.context.arithmetic.tail
    x = limited(x, -limit, limit)
    return _exponential(x, 690.0, *reduce_exp(x))


def exp2(x: Pair) -> Value:
    limit = -x.context.arithmetic.tail / math.log(2)
    x = limited(x, -limit, limit)
    return _exponential(x, 1000.0, *reduce_exp2(x))


def expm1(x: Pair) -> Pair:
    """2^n c (1 + expm1(r)) - 1; where 2^n c is 1 exactly, the polynomial alone, carried to full relative accuracy."""
    x = limited(x, -110.0, 710.0)
    return _expm1(x)


def _expm1(x: Pair) -> Pair:
    """expm1 of an x within limits."""
    context = x.context
    n, c, t, u = reduce_exp(x)
    power = None
    if context.bounds(x)[1] > 690.0:
        beyond = (n - 1000).choose(n.compare("sgt", 1000), 0)
        n, power = n - beyond, ((beyond + 1023) << 52).as_real()
    c = (c.bits() + (n << 52)).as_real()
    a, a_low = two_sum(c, context.real(-1.0))
    r = t - u
    cubic = (r * r) * r * polynomial(r, plain(context.table("exp_pair_small32"))[2:])
    square, square_low = two_product(t, t)
    w, w_low = fast_two_sum(t, square * 0.5)
    w_low = w_low + ((-u).fma(t, square_low.fma(0.5, cubic)) - u)
    b, b_low = two_product(c, w)
    # |a| >= |b| unless a = 0.
    s, e = fast_two_sum(a, b)
    high, low = fast_two_sum(s, c.fma(w_low, b_low) + (a_low + e))
    if power is not None:
        high, low = high * power, low * power
    return Pair(high.copysign(x.hi), low)


def tanh(x: Pair) -> Pair:
    """-m/(m + 2) with m = expm1(-2|x|): nothing cancels, also next to 0."""
    y = abs(x) * -2.0
    x.context.note(y, at_most=0.0)
    m = _expm1(limited(y, -110.0, inf))
    value = -(m / Pair(x.context.real(2.0)).plus_smaller(m))
    # tanh x = x - x^3/3 + ...; and the errors of products with numbers near the subnormal ones would be lost.
    tiny = abs(x.hi) < 2.0**-40
    return signed(value, x.hi).choose(~tiny, x)


# -- logarithms -----------------------------------------------------------------------------------------------------
def log(x: Pair) -> Pair:
    return _log(x, x.hi, 0.0)


def log1p(x: Pair) -> Pair:
    """The logarithm of 1 + x as a pair."""
    s, e = two_sum(x.context.real(1.0), x.hi)
    u = Pair(s, e) if x.lo is None else Pair(*fast_two_sum(s, e + x.lo))
    value = _log(u, x.hi, -1.0)
    return Pair(value.hi.copysign(x.hi), value.lo)


def _log(x: Pair, given: Value, pole: float) -> Pair:
    """log x = n ln 2 - log c + log(1 + f), x = 2^n m, f = m c - 1, c being a short float near 1/m.

    ``given`` is the word that tells whether x is infinite, at the pole, below it or not a number.
    """
    context = x.context
    at_least, at_most = context.bounds(given)
    offset = None
    if at_least - pole < 2.0**-960 and pole == 0.0:
        small = x.hi < 2.0**-960
        x = (x * 2.0**100).choose(small, x)
        offset = context.real(-100.0).choose(small, 0.0)
    table = context.table("log_table")
    reciprocals = tuple(round(64 * math.exp(-high)) / 64 for high, _ in table)
    # Intervals of the table divide the bits of the mantissa evenly; 1 is in the middle of one.
    below = reciprocals.index(1.0) + 1
    start = 0x3FF0000000000000 - (2 * below + 1) * 2**46
    moved = x.hi.bits() - start
    j = (moved >> 47) & 31
    n = moved >> 52
    m = (x.hi.bits() - (n << 52)).as_real()
    magic = 1.5 * 2.0**52
    whole = (n + 0x4338000000000000).as_real() - magic
    if offset is not None:
        whole = whole + offset
    real = context.real(0.0)
    c = real.lookup(reciprocals, j)
    high, low, *_ = context.split("LN2")
    a = whole.fma(high, real.lookup(tuple(h for h, _ in table), j))
    a_low = whole.fma(low, real.lookup(tuple(t for _, t in table), j))
    f, f_low = m.fma(c, -1.0), None
    if x.lo is not None:
        scale = ((1025 - n) << 52).as_real()
        f, f_low = fast_two_sum(f, x.lo * (scale * 0.25 * c))
    square, square_low = two_product(f, f)
    g, g_low = fast_two_sum(f, square * -0.5)
    rest = (square * f).fma(polynomial(f, plain(context.table("log_pair"))), square_low.fma(-0.5, a_low + g_low))
    if f_low is not None:
        # log(1 + f + f') = log(1 + f) + f'/(1 + f)
        rest = rest + f_low * f.fma(f - 1.0, 1.0)
    s, e = fast_two_sum(a, g)
    high, low = fast_two_sum(s, e + rest)
    if at_most == inf:
        high, low = high.choose(given < inf, given), low.choose(given < inf, 0.0)
    else:
        high = high.choose(given.equals(given), given)
    if at_least <= pole:
        below_domain = context.real(-inf).choose(given.equals(pole), nan)
        high = high.choose(~(given <= pole), below_domain)
    return Pair(high, low)


# -- reciprocals ----------------------------------------------------------------------------------------------------
def reciprocal(x: Pair) -> Pair:
    y = 1.0 / x.hi
    rest = (-y).fma(x.hi, 1.0)
    if x.lo is not None:
        rest = (-y).fma(x.lo, rest)
    # Where y is infinite or x is, there is no remainder.
    low = (y * rest).choose(abs(rest) < inf, 0.0)
    return Pair(y, low) if x.lo is None else Pair(*fast_two_sum(y, low))


def rsqrt(x: Pair) -> Pair:
    """y + y (1 - x y^2)/2 with y = 1/sqrt(x) to a word."""
    y = 1.0 / x.hi.sqrt()
    p, e = two_product(x.hi, y)
    rest = e.fma(-y, (-p).fma(y, 1.0))
    if x.lo is not None:
        rest = (x.lo * y).fma(-y, rest)
    low = ((y * 0.5) * rest).choose(abs(rest) < inf, 0.0)
    return Pair(*fast_two_sum(y, low))
