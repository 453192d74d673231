"""Elementary functions on one machine word per number.

The level chooses the coefficient tables and the number of Newton steps, and whether roundings on the way are taken care
of. They are where the result has all digits of the word. Where it has fewer (``rough``; ``wide``, a result of half the
word's precision) an error of some units in the last place is nothing, and the shortest way is taken.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from math import inf, nan, sqrt

from fastact.kernels.coefficients import CONSTANTS
from fastact.kernels.operations import Value, maximum, minimum, one_plus, plain

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
def exp(x: Value, low: Value | None = None, closely: bool = False, in_full: bool = False) -> Value:
    """2^n exp(r) with n = rint(x / ln 2), r = x - n ln 2; ``low`` is added to x. ``closely``: nothing is saved at the
    last digit, ``in_full``: nor is a table used."""
    if stepped(x) and not in_full:
        return _by_steps(x, functools.partial(exp_steps, low=low), LN2, closely)
    return _exponential(x, functools.partial(_reduce_exp, low=low), x.context.table("exp"), LN2)


def _reduce_exp(x: Value, low: Value | None = None, above: int = 0) -> tuple[Value, Value]:
    """r and n; ``above``: what is going to be added to n."""
    context = x.context
    n, whole = x.split_integer(context.constant("LOG2E"), above)
    if context.arithmetic.rough:
        return n.fma(-context.constant("LN2"), x), whole
    above, below, *_ = context.split("LN2")
    line = n.fma(-above, x)
    return n.fma(-below, line) if low is None else line + n.fma(-below, low), whole


def exp2(x: Value) -> Value:
    """2^n 2^r with n = rint(x); r = x - n is exact."""
    if stepped(x) and x.context.arithmetic.word == "f64":
        return _by_steps(x, exp2_steps, 1.0)
    return _exponential(x, _reduce_exp2, x.context.table("exp2"), 1.0)


def _reduce_exp2(x: Value, above: int = 0) -> tuple[Value, Value]:
    n, whole = x.split_integer(1.0, above)
    return x - n, whole


def _exponential(x: Value, reduce: Callable[..., tuple[Value, Value]], table: Table, unit: float) -> Value:
    """2^n (1 + r P(r)); ``unit`` is the x that doubles the value."""
    context, a = x.context, x.context.arithmetic
    at_most = context.bounds(x)[1] / unit
    shift = a.mantissa_bits + 1

    def parts(low: float, high: float, above: int = 0) -> tuple[Value, Value]:
        r, n = reduce(limited(x, low * unit, high * unit), above=above)
        return r.fma(polynomial(r, table), 1.0), n

    if a.wide:
        return _noted(context.scaled(*parts(a.tail / LN2, -a.tail / LN2, a.bias)), at_most)
    if a.rough and not a.products and at_most < a.bias - shift:
        # The shift that keeps 2^(n + shift) normal where the result is not is part of the coefficients.
        r, n = reduce(limited(x, -(a.bias + a.mantissa_bits + 0.1) * unit, inf), above=a.bias + shift)
        small = 2.0**-shift
        value = r.fma(polynomial(r, tuple(c * small for c in table)), small) * power_of_two(n + shift)
        return _noted(value, at_most)
    bounded = at_most < a.bias
    normal = (a.bias - 1.5) * unit
    far = x < -normal if bounded else abs(x) > normal
    # At the lower limit 2^n is taken for 0, which it is to any sum.
    p, n = parts(-float(a.bias), inf, a.bias) if bounded else parts(-inf, inf, a.bias)
    reach = min(-a.tail / LN2, 2.0 * (a.bias + a.mantissa_bits))
    return context.scaled(*parts(-reach, reach), bounded, far, _noted(p * power_of_two(n), at_most))


STEPS = 16
"""Powers of two to each octave, where they come from a table."""


def stepped(x: Value) -> bool:
    """Whether exponentials are 2^k 2^(j/16) (1 + p) with p = expm1(r), r = x - (k + j/16) ln 2: that saves half of the
    polynomial where it is long."""
    return bool(x.context.arithmetic.level in ("single_fast", "double_fast") and not x.context.arithmetic.wide)


def _reduce_steps(x: Value) -> tuple[Value, Value, float, Value]:
    """n, x - n a, b and n as an integer, where n is the whole number nearest to x/(a + b) and a + b is (ln 2)/16."""
    n, whole = x.split_integer(x.context.split("LOG2E")[0] * STEPS)
    above, below, *_ = x.context.split("LN2_STEPS")
    return n, n.fma(-above / STEPS, x), below / STEPS, whole


def exp_steps(x: Value, low: Value | None = None) -> tuple[Value, Value, Value]:
    """2^(j/16), p and 16 k + j; ``low`` is added to x."""
    n, line, below, whole = _reduce_steps(x)
    r = n.fma(-below, line) if low is None else line + n.fma(-below, low)
    z = r * r
    return _power(x, whole), z.fma(by_pairs(r, z, x.context.table("exp_steps")[1:]), r), whole


def exp2_steps(x: Value) -> tuple[Value, Value, Value]:
    """The same of 2^x: 2^(j/16), 2^r - 1 and 16 k + j, where r = x - (k + j/16) is exact."""
    n, whole = x.split_integer(float(STEPS))
    r = n.fma(-1.0 / STEPS, x)
    return _power(x, whole), r * polynomial(r, x.context.table("exp2_steps")), whole


def _power(x: Value, whole: Value, name: str = "powers") -> Value:
    """An entry of a table by the last bits of a whole number."""
    return x.lookup(x.context.table(name), whole & (STEPS - 1))


def raised(x: Value, whole: Value) -> Value:
    """2^(k + j/16) for the exponents k of normal numbers, 16 k + j being the whole number: moved to the exponent, it
    leaves j in the mantissa, which entries have subtracted from theirs."""
    a = x.context.arithmetic
    table, step = x.context.table("powers"), a.mantissa_bits - 4
    entries = tuple(number(a, pattern(a, c) - (j << step)) for j, c in enumerate(table))
    return (x.lookup(entries, whole & (STEPS - 1)).bits() + (whole << step)).as_real()


def lacking(x: Value, whole: Value) -> Value:
    """What the entry of the table of powers lacks, relative to it."""
    return _power(x, whole, "powers_rest_single" if x.context.arithmetic.word == "f32" else "powers_rest_double")


def by_pairs(r: Value, z: Value, coefficients: Sequence[Value]) -> Value:
    """A polynomial of r with z = r^2: (a + b r) + z ((c + d r) + ...), a short chain of dependent operations."""
    pairs = [r.fma(b, a) for a, b in zip(coefficients[::2], coefficients[1::2], strict=False)]
    p = r.lift(coefficients[-1]) if len(coefficients) % 2 else pairs.pop()
    while pairs:
        p = p.fma(z, pairs.pop())
    return p


Steps = Callable[[Value], tuple[Value, Value, Value]]


def _by_steps(x: Value, steps: Steps, unit: float, closely: bool = False) -> Value:
    """An exponential as `_exponential` has it; ``closely``: with what the table of powers lacks."""
    context, a = x.context, x.context.arithmetic
    at_most, normal = context.bounds(x)[1] / unit, (a.bias - 1.5) * unit
    bounded = at_most < a.bias
    far = x < -normal if bounded else abs(x) > normal
    # At the lower limit 2^k is taken for 0, which it is to any sum.
    _, p, whole = steps(limited(x, -a.bias * unit if bounded else -inf, inf))
    s = raised(x, whole)
    usual = _noted(s.fma(p + lacking(x, whole) if closely else p, s), at_most)
    reach = min(-a.tail / LN2, 2.0 * (a.bias + a.mantissa_bits)) * unit
    power, p, whole = steps(limited(x, -reach, reach))
    return context.scaled(power.fma(p, power), whole >> 4, bounded, far, usual)


def exp_in_parts(x: Value) -> tuple[Value, Value | None]:
    """exp(x) as the unrounded sum of a power of two from a table and what that lacks, less than 2^-5 of it, for normal
    results; without the second where no table is used."""
    if not stepped(x):
        return plain(x.context.blocks.exp(x)), None
    _, p, whole = exp_steps(x)
    s = raised(x, whole)
    return s, s * (p + lacking(x, whole))


def _noted(value: Value, at_most: float) -> Value:
    """An exponential, known not to exceed 1 if its argument does not exceed 0."""
    value.context.note(value, 0.0, 1.0 if at_most <= 0.0 else inf)
    return value


def one_plus_exp(x: Value) -> Value:
    """1 + 2^n exp(r) with n and r as for exp, as max(2^n, 1) + (min(2^n, 1) + 2^n r P(r)): what is rounded first is the
    smaller part, if n is not 0."""
    a = x.context.arithmetic
    e = exp(x, in_full=a.word == "f64")
    if careless(a) or a.wide:
        return one_plus(e)
    if stepped(x) and a.word == "f32":
        _, p, whole = exp_steps(x)
        s = raised(x, whole)
        return e.one_more(maximum(s, 1.0) + s.fma(p + lacking(x, whole), minimum(s, 1.0)))
    r, n = _reduce_exp(x, above=a.bias)
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
    if stepped(x) and a.word == "f64" and not halved:
        return _expm1_by_steps(x)
    table = context.table("expm1")
    n, whole = x.split_integer(context.constant("LOG2E"), a.bias - 1 if halved else a.bias)
    s = power_of_two(whole - 1 if halved else whole)
    less_one = s - (0.5 if halved else 1.0)
    if a.rough:
        r = n.fma(-context.constant("LN2"), x)
        return s, r * polynomial(r, table), less_one
    high, low, *_ = context.split("LN2")
    line = n.fma(-high, x)  # exact
    if a.spare or context.bounds(x)[1] <= 0.0:  # below 0 the sum of the halves is at least as large as r
        r = n.fma(-low, line)
        return s, r * polynomial(r, table), less_one
    # The rounding of r reaches the curvature only.
    rest = n * -low
    r = line + rest
    assert table[0] == 1.0
    return s, (r * r).fma(polynomial(r, table[1:]), rest), s.fma(line, less_one)


def _expm1_by_steps(x: Value) -> tuple[Value, Value, Value]:
    """The whole of it, what the table of powers lacks being added to their factor. It is a little less precise."""
    n, line, below, whole = _reduce_steps(x)
    s = raised(x, whole)
    rest = n * -below
    r = line + rest
    z = r * r
    curve = z.fma(by_pairs(r, z, x.context.table("expm1_steps")[1:]), rest + lacking(x, whole))
    return s, curve, s.fma(line, s - 1.0)


def tanh_from_expm1(x: Value, closely: bool = False) -> Value:
    """h/(1 + h) with h = expm1(2|x|)/2: no cancellation, also next to 0.

    To the quotient q = h/d, d = 1 + h, is added what the division left, and d for its own rounding, times 1/d = 1 - q.
    The 1 in d is a little less than 1, so that d is h and q is 1 as soon as d - 1 cannot be computed exactly any
    more. ``closely`` also for the rounding of h."""
    a = x.context.arithmetic
    y = abs(x)
    s, rest, top = _expm1(limited(y + y, -inf, math.ceil((a.mantissa_bits + 4) * LN2)), halved=True)
    h = s.fma(rest, top)
    if careless(a):
        return (h / (h + 1.0)).copysign(x)
    d = h + (1.0 - 2.0 ** -(a.mantissa_bits + 1))
    q = h / d
    left = (-q).fma(h - (d - 1.0), (-q).fma(d, h))
    if closely:
        left = s.fma(rest, top - h).fma(1.0 - q, left)
    return left.fma(1.0 - q, q).copysign(x)


def pattern(a: Value, value: float) -> int:
    """The bit pattern of a positive float, rounded down to the word."""
    mantissa, exponent = value.hex().removeprefix("0x1.").split("p")
    return ((int(exponent) + a.bias) << a.mantissa_bits) + (int(mantissa, 16) >> (52 - a.mantissa_bits))


def number(a: Value, bits: int) -> float:
    """The positive normal float of a bit pattern."""
    one = 1 << a.mantissa_bits
    return math.ldexp(one + bits % one, bits // one - a.bias - a.mantissa_bits)


# -- reciprocals ----------------------------------------------------------------------------------------------------
def reciprocal(x: Value) -> Value:
    """One division: they are done as fast as memory delivers, Newton's steps from an integer seed are not."""
    return 1.0 / x


def rsqrt(x: Value) -> Value:
    """1/sqrt(x): a root and a division where these take no longer than what follows, otherwise Newton's
    y <- y + y u/2, u = 1 - x y^2, from a seed made by subtracting half the bits of x from a constant.

    The seed is off by 0.0342 at most, to either side. A step with the next term, y u^2 3/8, leaves 5/2 of the third
    power of that, 2^-13.2. One without it leaves -3/2 of the square; scaled by half as much, 2^-10.1 to either side, of
    which the longer step leaves 2^-28.9, and another short one 2^-57."""
    a = x.context.arithmetic
    if a.wide or a.level == "single_fast":
        return 1.0 / x.sqrt()
    odd = ~((x >= 2.0 ** (1 - a.bias)) & (x < inf))
    shift = a.mantissa_bits // 2 + 1
    z = x.unless(odd, x * 2.0 ** (2 * shift))
    # For x = 1 + m the seed is (1 + c - m/2)/2. Times sqrt(x), over two octaves of x, it is least where the seed is
    # 1/2, sqrt(c), and greatest for x = 4 (1 + c)/3: equally far from 1.
    seed = CONSTANTS["RSQRT_SEED"][0]
    start = ((3 * a.bias - 2) << (a.mantissa_bits - 1)) + int(seed * 2.0**a.mantissa_bits)
    y = (start - z.bits().shift_right_logical(1)).as_real()
    scale = 1.0 + 0.75 * (1.0 - sqrt(seed)) ** 2
    if a.word == "f64":
        y = y * (z * (-0.5 * scale) * y).fma(y, 1.5 * scale)
    u = (z * -y).fma(y, 1.0)
    y = (y * u).fma(u.fma(0.375, 0.5), y)
    if not a.rough:
        y = (y * 0.5).fma((z * -y).fma(y, 1.0), y)
    end = x.lift(inf).copysign(x).choose(x.equals(0.0), x.lift(0.0).choose(x.equals(inf), nan))
    return y.unless(odd, end.choose(~(x > 0.0) | x.equals(inf), y * 2.0**shift))


def copysign(x: Value, sign: Value) -> Value:
    return x.copysign(sign)
