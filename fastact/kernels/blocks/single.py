"""Elementary functions on one machine word per number.

The tier chooses the coefficient tables, how carefully reduced arguments and sums are carried, and the number of
Newton steps: ``rough`` takes the shortest way, ``wide`` (a result of half the word's precision, rounded once more)
keeps the rounding errors of its last sums.
"""

from __future__ import annotations

import math
from math import inf, nan, sqrt

from fastact.kernels.operations import Value, maximum, minimum

LN2 = math.log(2)


def polynomial(r: Value, coefficients: tuple[float, ...]) -> Value:
    """Horner's rule with fused multiply-adds; coefficients in ascending order.

    The upper terms of long polynomials go by pairs, (a + b r) + r^2 (...): that halves the chain of dependent
    operations at the price of one more, and costs no accuracy where the terms are small."""
    lower = len(coefficients)
    if lower < 8:
        lower -= 1
        p = r.lift(coefficients[-1])
    else:
        lower = 2 + lower % 2
        upper, z = coefficients[lower:], r * r
        pairs = [r.fma(b, a) for a, b in zip(upper[::2], upper[1::2], strict=True)]
        p = pairs.pop()
        while pairs:
            p = p.fma(z, pairs.pop())
    for c in reversed(coefficients[:lower]):
        p = p.fma(r, c)
    return p


def limited(x: Value, low: float, high: float) -> Value:
    """x clamped to [low, high], leaving out a clamp that is known to change nothing."""
    at_least, at_most = x.context.bounds(x)
    if at_most > high:
        x = minimum(x, high)
    if at_least < low:
        x = maximum(x, low)
    return x


def power_of_two(n: Value) -> Value:
    """2^n for the exponents of normal numbers."""
    a = n.context.arithmetic
    return ((n + a.bias) << a.mantissa_bits).as_real()


# -- exponentials ---------------------------------------------------------------------------------------------------
def exp(x: Value) -> Value:
    """2^n exp(r) with n = rint(x / ln 2), r = x - n ln 2."""
    context, a = x.context, x.context.arithmetic
    low, high = _limits(a)
    x = limited(x, low * LN2, high * LN2)
    n, whole = x.split_integer(context.constant("LOG2E"))
    if a.rough:
        r = n.fma(-context.constant("LN2"), x)
    else:
        above, below, *_ = context.split("LN2")
        r = n.fma(-below, n.fma(-above, x))
    return _exponential(r, context.table("exp"), whole, context.bounds(x)[1] / LN2)


def exp2(x: Value) -> Value:
    """2^n 2^r with n = rint(x); r = x - n is exact."""
    x = limited(x, *_limits(x.context.arithmetic))
    n, whole = x.split_integer(1.0)
    return _exponential(x - n, x.context.table("exp2"), whole, x.context.bounds(x)[1])


def _limits(a: Value) -> tuple[float, float]:
    """Binary exponents beyond those of all results, with which _exponential can still do."""
    if a.rough:
        return -(a.bias + a.mantissa_bits + 0.1), a.bias + 2.0
    return a.tail / LN2, -a.tail / LN2


def _exponential(r: Value, table: tuple[float, ...], n: Value, at_most: float) -> Value:
    """2^n (1 + r P(r)), n being at most ``at_most``."""
    a = r.context.arithmetic
    shift = a.mantissa_bits + 1
    if a.rough and at_most < a.bias - shift:
        # The shift that keeps 2^(n + shift) normal where the result is not is part of the coefficients.
        small = 2.0**-shift
        return r.fma(polynomial(r, tuple(c * small for c in table)), small) * power_of_two(n + shift)
    p = r.fma(polynomial(r, table), 1.0)
    return r.context.scaled(p, n, at_most < a.bias)


def expm1(x: Value) -> Value:
    """2^n - 1 + 2^n (exp(r) - 1) with n and r as for exp."""
    a = x.context.arithmetic
    # Below the lower limit the result rounds to -1; at the upper one it overflows while 2^(n-1) does not.
    low = -math.ceil((a.mantissa_bits + 3) * LN2)
    high = math.ceil((128 if a.wide else a.bias + 1) * LN2)
    y = limited(x, low, high)
    if a.wide or x.context.bounds(y)[1] < a.bias * LN2:
        s, rest, top = _expm1(y)
        return s.fma(rest, top).copysign(x)
    s, rest, top = _expm1(y, halved=True)
    half = s.fma(rest, top)
    # Half a subnormal number is not exact, but expm1(x) is x there.
    return x.choose(abs(x) < 2.0 ** (1 - a.bias), half + half)


def _expm1(x: Value, halved: bool = False) -> tuple[Value, Value, Value]:
    """s, a, b with s a + b = expm1(x), or half of it, for an x within limits."""
    context, a = x.context, x.context.arithmetic
    table = context.table("expm1")
    n, whole = x.split_integer(context.constant("LOG2E"))
    s = power_of_two(whole - 1 if halved else whole)
    less_one = s - (0.5 if halved else 1.0)
    if a.rough:
        r = n.fma(-context.constant("LN2"), x)
        return s, r * polynomial(r, table), less_one
    assert table[0] == 1.0
    high, low, *_ = context.split("LN2")
    # The first step is exact: the rounding of r reaches the curvature only.
    line = n.fma(-high, x)
    rest = n * -low
    r = line + rest
    curved = (r * r).fma(polynomial(r, table[1:]), rest)
    return s, curved, s.fma(line, less_one)


def tanh(x: Value) -> Value:
    """h/(1 + h) with h = expm1(2|x|)/2: no cancellation, also next to 0.

    The rounding of d = 1 + h changes the quotient q by the fraction 1/d = 1 - q of it, which is put back. The 1 in d
    is a little less than 1, so that d is h and q is 1 as soon as d - 1 cannot be computed exactly any more."""
    a = x.context.arithmetic
    y = abs(x)
    s, rest, top = _expm1(limited(y + y, -inf, math.ceil((a.mantissa_bits + 4) * LN2)), halved=True)
    h = s.fma(rest, top)
    if a.rough:
        return (h / (h + 1.0)).copysign(x)
    d = h + (1.0 - 2.0 ** -(a.mantissa_bits + 1))
    q = h / d
    d_low = h - (d - 1.0)
    if a.wide:
        low = s.fma(rest, top - h)
        remainder = (-q).fma(d_low + low, (-q).fma(d, h) + low)
        return remainder.fma(1.0 - q, q).copysign(x)
    return d_low.fma(q.fma(q, -q), q).copysign(x)


# -- logarithms -----------------------------------------------------------------------------------------------------
def log(x: Value) -> Value:
    """k ln 2 + log(m) with x = 2^k m and sqrt(1/2) <= m < sqrt(2)."""
    a = x.context.arithmetic
    y, offset = x, 0.0
    if not a.wide:
        subnormal = x < 2.0 ** (1 - a.bias)
        y = (x * 2.0**a.mantissa_bits).choose(subnormal, x)
        offset = x.context.real(-float(a.mantissa_bits)).choose(subnormal, 0.0)
    k, _, m = _exponent_and_mantissa(y)
    if not a.wide:
        k = k + offset
    value = _log(k, m - 1.0)
    return _at_ends(value, x, 0.0)


def log1p(x: Value) -> Value:
    """k ln 2 + log(1 + f) with 1 + x = 2^k (1 + f); f = 2^-k x + (2^-k - 1) is rounded once and is x where k = 0."""
    a = x.context.arithmetic
    k, whole, _ = _exponent_and_mantissa(x + 1.0)
    if a.wide:
        s = power_of_two(0 - whole)
        f = s.fma(x, s - 1.0)
    else:
        s = power_of_two(0 - whole.choose(whole.compare("slt", a.bias), a.bias))
        f = (x.bits() - (whole << a.mantissa_bits)).as_real() + (s - 1.0)
    return _at_ends(_log(k, f).copysign(x), x, -1.0)


def _exponent_and_mantissa(x: Value) -> tuple[Value, Value, Value]:
    """k as a float and as an integer, and m, where x = 2^k m is positive and normal and sqrt(1/2) <= m < sqrt(2)."""
    a = x.context.arithmetic
    start = _bits(a, sqrt(0.5))
    one = _bits(a, 1.0)
    moved = x.bits() - start
    m = (moved & ((1 << a.mantissa_bits) - 1)) + start
    if a.word == "f32":
        whole = moved >> a.mantissa_bits
        return whole.to_real(a.word), whole, m.as_real()
    # Conversions and arithmetic shifts of 64 bits are rare instructions.
    biased = (moved + one).shift_right_logical(a.mantissa_bits)
    magic = 2.0**a.mantissa_bits
    return (biased | _bits(a, magic)).as_real() - (magic + a.bias), biased - a.bias, m.as_real()


def _bits(a: Value, value: float) -> int:
    """The bit pattern of a positive float, rounded down to the word."""
    mantissa, exponent = value.hex().removeprefix("0x1.").split("p")
    return ((int(exponent) + a.bias) << a.mantissa_bits) + (int(mantissa, 16) >> (52 - a.mantissa_bits))


def _log(k: Value, f: Value) -> Value:
    """k ln 2 + log(1 + f)."""
    context, a = f.context, f.context.arithmetic
    if a.rough:
        curved = (f * f).fma(f.fma(polynomial(f, context.table("log1p")), -0.5), f)
        return k.fma(context.constant("LN2"), curved)
    high, low, *_ = context.split("LN2")
    if a.word == "f32":
        curved = (f * f).fma(f.fma(polynomial(f, context.table("log1p")), -0.5), k * low)
    else:
        # With s = f/(2 + f): log(1 + f) = 2 s + s R = f + s (R - f), R = s^2 P(s^2).
        s = f / (f + 2.0)
        z = s * s
        curved = s.fma(z.fma(polynomial(z, context.table("log_atanh")), -f), k * low)
    # For an f with half the bits of the word the first sum is exact.
    return k.fma(high, f) + curved


def _at_ends(value: Value, x: Value, pole: float) -> Value:
    """A logarithm's value made right at infinity, at its pole, below it and for NaN."""
    value = value.choose(x < inf, x)
    beyond = x.lift(-inf).choose(x.equals(pole), nan)
    return value.choose(x > pole, beyond)


# -- reciprocals ----------------------------------------------------------------------------------------------------
def reciprocal(x: Value) -> Value:
    """1/x: Newton's y <- y + y (1 - x y) from a seed made by subtracting the bits of x from a constant."""
    a = x.context.arithmetic
    if a.wide:
        return 1.0 / x
    # The exponent is halved by a factor 2^j, so that neither operand nor result leaves the normal range on the way.
    exponents = ((1 << (a.bias.bit_length() + 1)) - 1) << a.mantissa_bits
    odd = 1 << a.mantissa_bits
    half = (x.bits() & (exponents - odd)).shift_right_logical(1)
    factor = (0 - half + (_bits(a, 1.0) + ((a.bias >> 1) << a.mantissa_bits))).as_real()
    scaled = x * factor
    # With x = 1 + m the seed is (1 + c - m)/2, x times it lies between (1 + c)/2 and (2 + c)^2/8; these are equally
    # far from 1 for c = 2 sqrt(6) - 4, at a distance of 0.0505.
    c = 2.0 * sqrt(6.0) - 4.0
    seed = 2 * a.bias - 1
    y = ((seed << a.mantissa_bits) + int(c * 2.0**a.mantissa_bits) - scaled.bits()).as_real()
    # 0.0505 squared 2, 3, 4 times: 2^-17.2, 2^-34.4, 2^-68.9.
    for _ in range({"single_rough": 2, "single_fast": 3, "double_rough": 3, "double_fast": 4}[a.level]):
        y = y.fma((-scaled).fma(y, 1.0), y)
    size = abs(x)
    end = x.lift(0.0).choose(size > 1.0, inf).copysign(x)
    return end.choose(size.equals(0.0) | size.equals(inf), y * factor)


def rsqrt(x: Value) -> Value:
    """1/sqrt(x)."""
    return 1.0 / x.sqrt()


def copysign(x: Value, sign: Value) -> Value:
    return x.copysign(sign)
