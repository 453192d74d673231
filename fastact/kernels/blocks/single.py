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
    """Horner's rule with fused multiply-adds; coefficients in ascending order."""
    p = r.lift(coefficients[-1])
    for c in reversed(coefficients[:-1]):
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
    a = x.context.arithmetic
    limit = _reach(x) * LN2
    x = limited(x, -limit, limit)
    n, whole = x.split_integer(x.context.constant("LOG2E"))
    if a.rough:
        r = n.fma(-x.context.constant("LN2"), x)
    else:
        high, low, *_ = x.context.split("LN2")
        r = n.fma(-low, n.fma(-high, x))
    return _exponential(r, x.context.table("exp"), whole, x.context.bounds(x)[1] / LN2)


def exp2(x: Value) -> Value:
    """2^n 2^r with n = rint(x); r = x - n is exact."""
    limit = _reach(x)
    x = limited(x, -limit, limit)
    n, whole = x.split_integer(1.0)
    return _exponential(x - n, x.context.table("exp2"), whole, x.context.bounds(x)[1])


def _reach(x: Value) -> float:
    """A binary exponent beyond that of every result, within that of a product of two normal powers of two."""
    a = x.context.arithmetic
    return -a.tail / LN2 if not a.rough else a.bias + a.mantissa_bits + 2.0


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
    """2^n (1 + (exp(r) - 1)) - 1 = (2^n - 1) + 2^n r + 2^n (exp(r) - 1 - r)."""
    a = x.context.arithmetic
    # Below the lower limit the result rounds to -1; at the upper one it overflows while 2^(n-1) does not.
    y = limited(x, *_expm1_limits(a))
    large = not a.wide and x.context.bounds(y)[1] > (a.bias - 0.5) * LN2
    value = _expm1(y, halved=large)
    if isinstance(value, tuple):
        value = value[0] + value[1]
    if large:  # half a subnormal number is not exact, but expm1(x) is x there
        return x.choose(abs(x) < 2.0 ** (1 - a.bias), value + value)
    return value.copysign(x)


def _expm1_limits(a: Value) -> tuple[float, float]:
    return -(a.mantissa_bits + 3.0) * LN2, (129.25 if a.wide else a.bias + 1.25) * LN2


def _expm1(x: Value, halved: bool = False) -> Value:
    """expm1(x), or half of it, for an x within limits; where ``wide``, as a sum of two terms."""
    context, a = x.context, x.context.arithmetic
    table = context.table("expm1")
    n, whole = x.split_integer(context.constant("LOG2E"))
    s = power_of_two(whole - 1 if halved else whole)
    one_less = s - (0.5 if halved else 1.0)
    if a.rough:
        r = n.fma(-context.constant("LN2"), x)
        return s.fma(r * polynomial(r, table), one_less)
    assert table[0] == 1.0
    high, low, *_ = context.split("LN2")
    rest = n * -low
    long = n.fma(-high, x)  # exact: the rounding of r reaches the curvature only
    r = long + rest
    curved = (r * r).fma(polynomial(r, table[1:]), rest)
    if not a.wide:
        return s.fma(curved, s.fma(long, one_less))
    line = s * long
    top = one_less + line
    # Of the two terms the larger comes first: |2^n - 1| >= 2^n |r| unless n = 0, where the first is 0.
    return top, s.fma(curved, line - (top - one_less))


def tanh(x: Value) -> Value:
    """h/(1 + h) with h = expm1(2|x|)/2: no cancellation, also next to 0.

    The rounding of d = 1 + h changes the quotient q by the fraction 1/d = 1 - q of it, which is put back. The 1 in d
    is a little less than 1, so that d is h and q is 1 as soon as d - 1 cannot be computed exactly any more."""
    a = x.context.arithmetic
    y = abs(x)
    h = _expm1(limited(y + y, -inf, (a.mantissa_bits + 4.0) * LN2), halved=True)
    low = None
    if a.wide:
        top, rest = h
        h = top + rest
        low = rest - (h - top)
    d = h + (1.0 if a.rough else 1.0 - 2.0 ** -(a.mantissa_bits + 1))
    q = h / d
    if not a.rough:
        d_low = h - (d - 1.0)
        if low is None:
            q = d_low.fma(q.fma(q, -q), q)
        else:
            remainder = (-q).fma(d_low + low, (-q).fma(d, h) + low)
            q = remainder.fma(1.0 - q, q)
    return q.copysign(x)


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
        # With s = f/(2 + f): log(1 + f) = 2 s + s R = f - f^2/2 + s (f^2/2 + R), R = s^2 P(s^2).
        s = f / (f + 2.0)
        z = s * s
        h = f * f * 0.5
        curved = s.fma(z.fma(polynomial(z, context.table("log_atanh")), h), k.fma(low, -h))
    if not a.wide:
        return k.fma(high, f) + curved
    line = k * high  # exact
    top = line + f
    return top + (curved + (f - (top - line)))


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
