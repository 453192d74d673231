"""Elementary functions on one machine word per number.

The level chooses the coefficient tables and the number of Newton steps, and whether roundings on the way are taken care
of. They are where the result has all digits of the word. Where it has fewer (``rough``; ``wide``, a result of half the
word's precision) an error of some units in the last place is nothing, and the shortest way is taken.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from math import inf, nan, sqrt

from fastact.kernels import operations
from fastact.kernels.coefficients import CONSTANTS
from fastact.kernels.operations import Value, maximum, minimum, one_plus

LN2 = math.log(2)
Table = tuple[float, ...]


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


def careless(a: Value) -> bool:
    """Whether an arithmetic may lose some units in the last place."""
    return bool(a.careless)


def power_of_two(n: Value) -> Value:
    """2^n for the exponents of normal numbers."""
    a = n.context.arithmetic
    return ((n + a.bias) << a.mantissa_bits).as_real()


# -- exponentials ---------------------------------------------------------------------------------------------------
def exp(x: Value, low: Value | None = None) -> Value:
    """2^n exp(r) with n = rint(x / ln 2), r = x - n ln 2; ``low`` is added to x."""
    return _exponential(x, functools.partial(_reduce_exp, low=low), x.context.table("exp"), LN2)


def _reduce_exp(x: Value, low: Value | None = None) -> tuple[Value, Value]:
    context = x.context
    n, whole = x.split_integer(context.constant("LOG2E"))
    if context.arithmetic.rough:
        return n.fma(-context.constant("LN2"), x), whole
    above, below, *_ = context.split("LN2")
    line = n.fma(-above, x)
    return n.fma(-below, line) if low is None else line + n.fma(-below, low), whole


def exp2(x: Value) -> Value:
    """2^n 2^r with n = rint(x); r = x - n is exact."""
    return _exponential(x, _reduce_exp2, x.context.table("exp2"), 1.0)


def _reduce_exp2(x: Value) -> tuple[Value, Value]:
    n, whole = x.split_integer(1.0)
    return x - n, whole


def _exponential(x: Value, reduce: Callable[[Value], tuple[Value, Value]], table: Table, unit: float) -> Value:
    """2^n (1 + r P(r)); ``unit`` is the x that doubles the value."""
    context, a = x.context, x.context.arithmetic
    at_most = context.bounds(x)[1] / unit
    shift = a.mantissa_bits + 1

    def parts(low: float, high: float) -> tuple[Value, Value]:
        r, n = reduce(limited(x, low * unit, high * unit))
        return r.fma(polynomial(r, table), 1.0), n

    if a.wide:
        return _noted(context.scaled(*parts(a.tail / LN2, -a.tail / LN2)), at_most)
    if a.rough and at_most < a.bias - shift:
        # The shift that keeps 2^(n + shift) normal where the result is not is part of the coefficients.
        r, n = reduce(limited(x, -(a.bias + a.mantissa_bits + 0.1) * unit, inf))
        small = 2.0**-shift
        value = r.fma(polynomial(r, tuple(c * small for c in table)), small) * power_of_two(n + shift)
        return _noted(value, at_most)
    bounded = at_most < a.bias
    normal = (a.bias - 1.5) * unit
    far = x < -normal if bounded else abs(x) > normal
    # At the lower limit 2^n is taken for 0, which it is to any sum.
    p, n = parts(-float(a.bias), inf) if bounded else parts(-inf, inf)
    reach = min(-a.tail / LN2, 2.0 * (a.bias + a.mantissa_bits))
    return context.scaled(*parts(-reach, reach), bounded, far, _noted(p * power_of_two(n), at_most))


def _noted(value: Value, at_most: float) -> Value:
    """An exponential, known not to exceed 1 if its argument does not exceed 0."""
    value.context.note(value, 0.0, 1.0 if at_most <= 0.0 else inf)
    return value


def one_plus_exp(x: Value) -> Value:
    """1 + 2^n exp(r) with n and r as for exp, as max(2^n, 1) + (min(2^n, 1) + 2^n r P(r)): what is rounded first is the
    smaller part, if n is not 0."""
    e, a = exp(x), x.context.arithmetic
    if careless(a) or a.wide:
        return one_plus(e)
    r, n = _reduce_exp(x)
    s = power_of_two(n)
    smaller = (s * r).fma(polynomial(r, x.context.table("exp")), minimum(s, 1.0))
    return e.one_more(maximum(s, 1.0) + smaller)


def expm1(x: Value) -> Value:
    """2^n - 1 + 2^n (exp(r) - 1) with n and r as for exp."""
    a = x.context.arithmetic
    low = -math.ceil((a.mantissa_bits + 3) * LN2)  # below it the result rounds to -1
    if a.wide:
        s, rest, top = _expm1(limited(x, low, min(-a.tail, math.ceil(128 * LN2))))
        return s.fma(rest, top).copysign(x)
    s, rest, top = _expm1(limited(x, low, inf))
    value = s.fma(rest, top).copysign(x)
    limit = (a.bias - 0.5) * LN2
    if x.context.bounds(x)[1] <= limit:
        return value
    # At the upper limit the result overflows while 2^(n-1) does not.
    s, rest, top = _expm1(limited(x, -inf, math.ceil((a.bias + 1) * LN2)), halved=True)
    half = s.fma(rest, top)
    return value.unless(x > limit, half + half)


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
    high, low, *_ = context.split("LN2")
    line = n.fma(-high, x)  # exact
    if a.spare:
        r = n.fma(-low, line)
        return s, r * polynomial(r, table), less_one
    # The rounding of r reaches the curvature only.
    rest = n * -low
    r = line + rest
    assert table[0] == 1.0
    return s, (r * r).fma(polynomial(r, table[1:]), rest), s.fma(line, less_one)


def tanh(x: Value) -> Value:
    """h/(1 + h) with h = expm1(2|x|)/2: no cancellation, also next to 0.

    To the quotient q = h/d, d = 1 + h, is added what the division left, and d for its own rounding, times 1/d = 1 - q.
    The 1 in d is a little less than 1, so that d is h and q is 1 as soon as d - 1 cannot be computed exactly any
    more."""
    a = x.context.arithmetic
    y = abs(x)
    s, rest, top = _expm1(limited(y + y, -inf, math.ceil((a.mantissa_bits + 4) * LN2)), halved=True)
    h = s.fma(rest, top)
    if careless(a):
        return (h / (h + 1.0)).copysign(x)
    d = h + (1.0 - 2.0 ** -(a.mantissa_bits + 1))
    q = h / d
    left = (-q).fma(h - (d - 1.0), (-q).fma(d, h))
    return left.fma(1.0 - q, q).copysign(x)


# -- logarithms -----------------------------------------------------------------------------------------------------
def log(x: Value) -> Value:
    """k ln 2 + log(m) with x = 2^k m and sqrt(1/2) <= m < sqrt(2)."""
    odd, minus_k, f = _split(x)
    value = _log(minus_k, f)
    return value.unless(odd, _ends(value, x, 0.0))


def log_odds(x: Value) -> Value:
    """log(x/w), w = 1 - x, for x <= 1/2: the logarithm of the quotient q and what the rounding of q left, which counts
    next to q = 1. Both come from one division, by w x.

    Where the result has half the word's digits the quotient is not needed itself: with 1/w = (1 + x)(1 + x^2)(1 + x^4)
    but for x^8, which is nearly nothing where q is not near 1, a k is found such that 2^-k q is between sqrt(1/2) and
    sqrt 2; and log(2^-k x/w) = 2 artanh((2^-k x - w)/(2^-k x + w))."""
    w, context = 1.0 - x, x.context
    if context.arithmetic.wide and context.arithmetic.spare:
        square = x * x
        near = x.fma(x, x) * (square + 1.0)
        minus_k, minus, _ = _exponent_and_mantissa(near.fma(square * square, near))
        power = power_of_two(minus)
        s = x.fma(power, -w) / x.fma(power, w)
        z = s * s
        value = s.fma(z.fma(polynomial(z, context.table("log_atanh")), 2.0), minus_k * -context.constant("LN2"))
        return value.unless(~(x > 0.0), _ends(value, x, 0.0))
    rest_of_w = (1.0 - w) - x
    both = 1.0 / (w * x)
    q = x * (x * both)
    rest = (-q).fma(rest_of_w, (-q).fma(w, x)) * (w * both)
    small = ~(x >= 2.0**-100)  # there w is 1
    odd, minus_k, f = _split(x.choose(small, q))
    value = _log(minus_k, f, rest.lift(0.0).choose(small, rest))
    return value.unless(odd, _ends(value, x, 0.0))


def log2(x: Value) -> Value:
    """k + log2(e) log(m) with k and m as for log."""
    context, a = x.context, x.context.arithmetic
    odd, minus_k, f = _split(x)
    u, v = _curved(f)
    if careless(a):
        value = u.fma(v, f).fma(context.constant("LOG2E"), -minus_k)
    else:
        high, low = context.split("LOG2E")
        value = f.fma(high, -minus_k)
        rounding = f.fma(high, -(value + minus_k))
        value = value + (u * v).fma(high, f.fma(low, rounding))
    return value.unless(odd, _ends(value, x, 0.0))


def log1p(x: Value) -> Value:
    """k ln 2 + log(1 + f) with 1 + x = 2^k (1 + f); f = 2^-k x + (2^-k - 1) is rounded once and is x where k = 0."""
    a = x.context.arithmetic
    low, high = x.context.bounds(x)
    if low >= 0.0 and high <= 1.0:
        return _log1p_up_to_1(x)
    minus_k, minus, _ = _exponent_and_mantissa(x + 1.0)
    if a.wide:
        s = power_of_two(minus)
        f = s.fma(x, -(1.0 - s))
    else:
        s = power_of_two(minus.choose(minus.compare("sgt", -a.bias), -a.bias))
        f = (x.bits() + (minus << a.mantissa_bits)).as_real() - (1.0 - s)
    value = _log(minus_k, f)
    return value.unless(~((x > -1.0) & (x < inf)), _ends(value, x, -1.0))


def _log1p_up_to_1(x: Value, rest: Value | None = None) -> Value:
    """log1p for 0 <= x <= 1, where k is 0 or 1 and x/2 - 1/2 is exact; plus a rest."""
    doubled = x > sqrt(2.0) - 1.0
    minus_one = x.lift(-1.0)
    return _log(minus_one.choose(doubled, 0.0), x.fma(0.5, -0.5).choose(doubled, x), rest)


def log1p_exp(x: Value, low: Value | None = None) -> Value:
    """log(1 + exp(x + low)) for x <= 0. To log1p of the exponential e is added what the rounding of e lost, and e times
    ``low``, over 1 + e, for which 1 - e/2 is near enough."""
    a = x.context.arithmetic
    if careless(a) or a.wide:
        return operations.log1p(exp(x))
    e, word, lost = exp_and_lost(x, low)
    return e.where_near(_log1p_up_to_1(word, lost))


def exp_and_lost(x: Value, low: Value | None) -> tuple[Value, Value, Value]:
    """exp(x) for x <= 0, its word, and what to add to log1p of that for what the rounding lost and for ``low``."""
    e, a = exp(x), x.context.arithmetic
    r, n = _reduce_exp(limited(x, -float(a.bias) * LN2, inf))
    curve = polynomial(r, x.context.table("exp"))
    lost = r.fma(curve, 1.0 - r.fma(curve, 1.0)) * power_of_two(n)
    word = e.plain()
    lost = lost if low is None else word.fma(low, lost)
    return e, word, lost * word.fma(-0.5, 1.0)


def _split(x: Value) -> tuple[Value, Value, Value]:
    """Whether x is anything but a positive normal number; -k as a float and f, where x = 2^k (1 + f)."""
    a = x.context.arithmetic
    if a.wide:
        k, _, m = _exponent_and_mantissa(x)
        return ~((x > 0.0) & (x < inf)), k, m - 1.0
    odd = ~((x >= 2.0 ** (1 - a.bias)) & (x < inf))
    k, _, m = _exponent_and_mantissa(x.unless(odd, x * 2.0**a.mantissa_bits))
    return odd, k.unless(odd, k + float(a.mantissa_bits)), m - 1.0


def _exponent_and_mantissa(x: Value) -> tuple[Value, Value, Value]:
    """-k as a float, +0 for k = 0, and as an integer, and m, where x = 2^k m is positive and normal and
    sqrt(1/2) <= m < sqrt(2)."""
    a = x.context.arithmetic
    start = _bits(a, sqrt(0.5))
    one = _bits(a, 1.0)
    moved = x.bits() + (one - start)
    m = ((moved & ((1 << a.mantissa_bits) - 1)) + start).as_real()
    biased = moved.shift_right_logical(a.mantissa_bits)
    minus = a.bias - biased
    if a.word == "f32":
        return minus.to_real(a.word), minus, m
    # Conversions of 64 bits are rare instructions.
    magic = 2.0**a.mantissa_bits
    return (magic + a.bias) - (biased | _bits(a, magic)).as_real(), minus, m


def _bits(a: Value, value: float) -> int:
    """The bit pattern of a positive float, rounded down to the word."""
    mantissa, exponent = value.hex().removeprefix("0x1.").split("p")
    return ((int(exponent) + a.bias) << a.mantissa_bits) + (int(mantissa, 16) >> (52 - a.mantissa_bits))


def _log(minus_k: Value, f: Value, rest: Value | None = None) -> Value:
    """k ln 2 + log(1 + f), and a rest that is added. Zero keeps the sign of f."""
    context, a = f.context, f.context.arithmetic
    u, v = _curved(f)
    if careless(a):
        return u.fma(v, minus_k.fma(-context.constant("LN2"), f if rest is None else f + rest))
    high, low, *_ = context.split("LN2")
    below = minus_k * -low if rest is None else minus_k.fma(-low, rest)
    return minus_k.fma(-high, f) + u.fma(v, below)


def _curved(f: Value) -> tuple[Value, Value]:
    """log(1 + f) - f as a product."""
    context, a = f.context, f.context.arithmetic
    if a.rough or a.word == "f32":
        return f * f, f.fma(polynomial(f, context.table("log1p")), -0.5)
    # With s = f/(2 + f): log(1 + f) = 2 s + s R = f + s (R - f), R = s^2 P(s^2).
    s = f / (f + 2.0)
    z = s * s
    return s, z.fma(polynomial(z, context.table("log_atanh")), -f)


def _ends(value: Value, x: Value, pole: float) -> Value:
    """A logarithm's value made right at infinity, at its pole, below it and for NaN."""
    value = value.choose(x < inf, x)
    return value.choose(x > pole, x.lift(-inf).choose(x.equals(pole), nan))


# -- reciprocals ----------------------------------------------------------------------------------------------------
NEWTON_STEPS = {"single_rough": 2, "single_fast": 3, "double_rough": 3, "double_fast": 4}
"""An error e becomes 3/2 e^2: of the seed's 0.0342 are left 2^-17.7 after two steps, 2^-34.8 after three, 2^-69.1 after
four."""


def reciprocal(x: Value) -> Value:
    """One division: they are done as fast as memory delivers, Newton's steps from an integer seed are not."""
    return 1.0 / x


def rsqrt(x: Value) -> Value:
    """1/sqrt(x): Newton's y <- y + y (1 - x y^2)/2 from a seed made by subtracting half the bits of x from a
    constant."""
    a = x.context.arithmetic
    if a.wide:
        return 1.0 / x.sqrt()
    odd = ~((x >= 2.0 ** (1 - a.bias)) & (x < inf))
    shift = a.mantissa_bits // 2 + 1
    z = x.unless(odd, x * 2.0 ** (2 * shift))
    # For x = 1 + m the seed is (1 + c - m/2)/2. Times sqrt(x), over two octaves of x, it is least where the seed is
    # 1/2, sqrt(c), and greatest for x = 4 (1 + c)/3: equally far from 1.
    start = ((3 * a.bias - 2) << (a.mantissa_bits - 1)) + _seed(a, "RSQRT_SEED")
    y = (start - z.bits().shift_right_logical(1)).as_real()
    half = z * 0.5
    steps = NEWTON_STEPS[a.level]
    for _ in range(steps if a.rough else steps - 1):
        y = y * (half * -y).fma(y, 1.5)
    if not a.rough:
        y = (y * 0.5).fma((z * -y).fma(y, 1.0), y)
    end = x.lift(inf).copysign(x).choose(x.equals(0.0), x.lift(0.0).choose(x.equals(inf), nan))
    return y.unless(odd, end.choose(~(x > 0.0) | x.equals(inf), y * 2.0**shift))


def _seed(a: Value, name: str) -> int:
    """A constant below 1 in units of the last place of 1."""
    return int(CONSTANTS[name][0] * 2.0**a.mantissa_bits)


def copysign(x: Value, sign: Value) -> Value:
    return x.copysign(sign)
