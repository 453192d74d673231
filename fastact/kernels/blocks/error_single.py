"""The error function, its complement and what they have in common, on one machine word per number.

erf is a polynomial, or one on each of some intervals where all digits of the word are wanted. erfc(x) is
exp(-x^2) erfcx(x) for x >= 0, where erfcx falls slowly from 1 to 1/(x sqrt(pi)): it comes from short polynomials on
intervals, or where the result has fewer digits than the word, from one polynomial of (x - 3)/(x + 3).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from math import inf

from fastact.kernels.blocks import intervals, single
from fastact.kernels.blocks.exactly import two_product
from fastact.kernels.coefficients import PIECES
from fastact.kernels.operations import Value, maximum, minimum, where


def erf(x: Value) -> Value:
    """x P(x^2), odd and right next to 0; where all digits of the word count, polynomials on intervals, or in float32
    without tables 1 - P(|x| - c) from 5/4 on, where it is nearly 1."""
    context, a = x.context, x.context.arithmetic
    if intervals.tabulated(x) and not a.rough:
        return intervals.odd(x, "erf")
    table = context.table
    if a.level in CONSTANT_FROM:
        end = CONSTANT_FROM[a.level]
        limited = single.limited(x, -end, end)
        z = limited * limited - CENTRES[a.level] if a.spare else limited * limited
        value = limited * single.polynomial(z, table(f"erf_{a.level}"))
        return value if a.spare else where(abs(x) > end, x.lift(1.0).copysign(x), value)
    y = abs(x)
    if a.word == "f64":
        y = single.limited(y, -inf, ERF_END)
        n, j = y.split_integer(1.0 / ERF_STEP)
        return on_interval(n.fma(-ERF_STEP, y), "erf_double_fast", j & 15, 0, 16).copysign(x)
    h = single.limited(y, -inf, 2.0 * ERF_CENTRE - SEAM) - ERF_CENTRE
    far = single.polynomial(h, table(f"erf_{a.level}")) + 1.0
    # A product, of which a subnormal result is rounded once only.
    p = single.polynomial(x * x, table("erf_odd"))
    return where(y > SEAM, far.copysign(x), x.fma(p, x))


ERF_STEP, ERF_END = 25075 / 65536, 5.905
"""Widths of intervals, the centre of the first being at 0, and where erf is rounded to 1, as the polynomial is. Where
erf grows the most, the constant terms are next to floats: half an interval before, their rounding would count twice."""
SEAM, ERF_CENTRE = 1.25, 2.625
"""Where the two polynomials meet, and the centre of the second."""
CONSTANT_FROM = {
    "single_rough": 2.95,
    "single_bfloat": 2.23,
    "single_half": 2.64,
    "double_rough": 4.1,
    "double_wide": 3.95,
}
"""Where erf differs from 1 by less than half an ulp of the result, or by less than the error that is allowed."""
CENTRES = {"single_bfloat": 2.5, "single_half": 3.5, "double_wide": 7.8125}
"""Of the intervals of x^2."""


def erfc(x: Value) -> Value:
    """exp(-x^2) erfcx(|x|), and 2 minus that for x < 0."""
    y = single.limited(abs(x), -inf, vanishing(x))
    tail = exp_times(minus_square(y), erfcx(y), positive=True)
    return where(x < 0.0, 2.0 - tail, tail)


def vanishing(x: Value) -> float:
    """An x for which exp(-x^2), and any number of its size times that, is below every subnormal result; of float16 in
    float32 far above the subnormal numbers of that, which take some processors many times as long."""
    a = x.context.arithmetic
    if a.products and a.word == "f64" and a.wide:
        return 20.0
    if a.wide and a.word == "f32":
        return 7.75
    return 11.0 if a.word == "f32" or a.wide else 28.0


def minus_square(y: Value, half: bool = False) -> Value:
    """-y^2, or half of it, for the argument of an exponential: as a pair of words where its rounding would count."""
    context, a = y.context, y.context.arithmetic
    minus = y * (-0.5 if half else -1.0)
    if single.careless(a):
        high, low = minus * y, None
    else:
        high, low = two_product(minus, y)
    bound = context.bounds(y)[1]
    context.note(high, -bound * bound * (0.5 if half else 1.0), 0.0)
    return high if low is None else context.doubled(high).pair(high, low)


def erfcx(y: Value) -> Value:
    """exp(y^2) erfc(y) for 0 <= y <= `vanishing`."""
    a = y.context.arithmetic
    if a.products and a.word == "f64" and a.wide:
        return _erfcx(single.limited(y, -inf, 11.0)).unless(y > 11.0, far_erfcx(y))
    return _erfcx(y)


def far_erfcx(y: Value) -> Value:
    """1/(y sqrt pi) (1 - z + 3 z^2 - 15 z^3 + ...) with z = 1/(2 y^2), for y > 11; in pairs of words for y > 29."""
    z = 0.5 / (y * y)
    total = y.lift(1.0)
    for k in reversed(range(1, 14)):
        total = 1.0 - (z * float(2 * k - 1)) * total
    return total * (y.context.constant("TWO_OVER_SQRT_PI") * 0.5 / y)


def _erfcx(y: Value) -> Value:
    context, a = y.context, y.context.arithmetic
    level = ("single_rough" if a.brief else "single_half") if a.short else a.level
    if f"erfcx_{level}" in PIECES:
        start, shift = (1.0, a.mantissa_bits - 3) if a.word == "f32" else (2.0, a.mantissa_bits - 3)
        # Eight intervals to each octave of y + start; their number is in the leading bits.
        bits = (y + start).bits()
        centre = ((bits & -(1 << shift)) | (1 << (shift - 1))).as_real() - start
        j = bits.shift_right_logical(shift) & 31
        return on_interval(y - centre, f"erfcx_{level}", j, 24 if a.word == "f32" else 0)
    r = 1.0 / (y + 3.0)
    return single.polynomial(r.fma(-6.0, 1.0), context.table(f"erfcx_{a.level}")) * r


def on_interval(h: Value, name: str, j: Value, first: int, size: int = 32, lift: int = 0) -> Value:
    """The polynomial of an interval at h; ``first`` is what j is for the first interval, modulo the size of tables. All
    of it times 2^``lift``.

    A constant term that is a pair spares the result the error of its rounding."""
    rows = PIECES[name].coefficients

    def coefficient(k: int, part: int | None = None) -> Value:
        column = [math.ldexp(row[k] if part is None else row[k][part], lift) for row in rows]
        column += [0.0] * (size - len(rows))
        return h.lookup(tuple(column[-first:] + column[:-first] if first else column), j)

    p = coefficient(len(rows[0]) - 1)
    for k in reversed(range(1, len(rows[0]) - 1)):
        p = p.fma(h, coefficient(k))
    if isinstance(rows[0][0], tuple):
        return p.fma(h, coefficient(0, 1)) + coefficient(0, 0)
    return p.fma(h, coefficient(0))


NORMAL_REACH = 12.84375
"""Up to here the probability times a number up to 2^7 is no subnormal float32."""
NORMAL_FIRST = 12
"""The number of the first interval: the last bits of the exponent of 1, and the first two of its mantissa."""
NORMAL_START, NORMAL_START_ROUGH = 1.078125, 1.0
"""There are four intervals to each octave of that and y."""


def _on_normal_interval(y: Value, table: str, start: float, from_zero: bool, lift: int = 0) -> Value:
    """The polynomial of an interval; ``from_zero``: the first has its centre at 0."""
    octaves = (2.0 ** (k // 4) * (1.0 + (k % 4 + 0.5) / 4.0) - start for k in ((j + 4) % 16 for j in range(16)))
    centres = (0.0 if from_zero and j == NORMAL_FIRST else centre for j, centre in enumerate(octaves))
    j = (y + start).bits().shift_right_logical(y.context.arithmetic.mantissa_bits - 2) & 15
    return on_interval(y - y.lookup(tuple(centres), j), table, j, NORMAL_FIRST, 16, lift)


def _times_normal(y: Value, lift: int = 0) -> Value:
    """y exp(y^2/2) times the probability that a normally distributed number exceeds y, times 2^``lift``: it hardly
    changes where y is large."""
    return _on_normal_interval(y, "normal_single", NORMAL_START, True, lift)


def normal_tail(y: Value) -> Value:
    """y times the probability that a normally distributed number exceeds it, for 0 <= y <= `NORMAL_REACH` in float32:
    exp(-y^2/2) = 2^n exp(r) times a polynomial, 2^n being added to the exponent of the rest. Where the polynomial has
    few digits to keep, y is left out."""
    context, a = y.context, y.context.arithmetic
    g = _on_normal_interval(y, "normal_single_rough", NORMAL_START_ROUGH, False) if a.rough else _times_normal(y)
    exponent = minus_square(y, half=True)
    high, low = (exponent.hi, exponent.low) if hasattr(exponent, "hi") else (exponent, None)
    r, n = single._reduce_exp(high)
    r, p = r if low is None else r + low, context.table("exp")
    e = r * single.polynomial(r, p) if single.careless(a) else (r * r).fma(single.polynomial(r, p[1:]), r)
    return (g.fma(e, g).bits() + (n << a.mantissa_bits)).as_real()


NORMAL_END = 14.4
"""From here on y times the probability is less than half the smallest float32."""
NORMAL_LIFT = 32
"""2^NORMAL_LIFT times the probability is no subnormal float32 up to there."""


def lifted_normal_tail(y: Value) -> Value:
    """2^NORMAL_LIFT y times the probability of `normal_tail`, for 0 <= y <= `NORMAL_END`, with all digits of float32:
    -y^2/2 is carried in two words."""
    context, a = y.context, y.context.arithmetic
    half = y * -0.5
    high = half * y
    n, whole = high.split_integer(context.constant("LOG2E"))
    above, below, *_ = context.split("LN2")
    # What is left of ln 2 and of the square waits for nothing.
    r = n.fma(-above, high) + n.fma(-below, half.fma(y, -high))
    one, *curve = context.table("exp")
    assert one == 1.0
    square = r * r
    lower, upper = r.fma(curve[1], curve[0]), r.fma(curve[3], curve[2])
    e = square.fma(square.fma(square.fma(curve[4], upper), lower), r)
    g = _times_normal(y, NORMAL_LIFT)
    return (g.fma(e, g).bits() + (whole << a.mantissa_bits)).as_real()


def gelu(x: Value, otherwise: Callable[[Value], Value]) -> Value:
    """max(x, 0) - y Phi(-y) with y = |x|: y times the lifted probability is a normal number unless y is tiny, and
    rounded once more with the sum. Where digits may be lost without it, and what is said otherwise where
    x < -`NORMAL_REACH`, if results are not all 0 there."""
    a = x.context.arithmetic
    if not (a.careless or a.wide):
        y = minimum(abs(x), NORMAL_END)
        return lifted_normal_tail(y).fma(-(2.0**-NORMAL_LIFT), maximum(x, 0.0))
    value = otherwise(x)
    y = minimum(abs(x), NORMAL_REACH)
    if a.rough:
        near = (-y).fma(normal_tail(y), maximum(x, 0.0))
    else:
        near = maximum(x, 0.0) - normal_tail(y)
    return near if a.wide else near.unless(x < -NORMAL_REACH, x.context.word_of(value))


def exp_times(x: Value, factor: Value, positive: bool = False) -> Value:
    """exp(x) factor for an x <= 0, perhaps a pair of words: 2^n (factor + factor (exp(r) - 1)), which rounds only once
    more than the factor is. ``positive``: the factor is, and results are often subnormal."""
    low = x.low if hasattr(x, "hi") else None
    x = x.hi if hasattr(x, "hi") else x
    context, a = x.context, x.context.arithmetic
    table, unit = context.table("exp"), math.log(2)
    shift = a.mantissa_bits + 1

    def parts(at_least: float, above: int = 0) -> tuple[Value, Value]:
        r, n = single._reduce_exp(single.limited(x, at_least * unit, inf), above=above)
        r = r if low is None else r + low
        if single.careless(a):
            return factor.fma(r * single.polynomial(r, table), factor), n
        # The polynomial's own rounding reaches the curvature only.
        assert table[0] == 1.0
        return factor.fma((r * r).fma(single.polynomial(r, table[1:]), r), factor), n

    if a.wide:
        return context.scaled(*parts(a.tail / unit, a.bias))
    # A product with the factor, which may be as small as 2^-6, is to be a normal number.
    far, lift = x < -(a.bias - 8.0) * unit, (a.bias + 1) // 2
    if positive and a.word == "f32":
        if a.products:
            return context.scaled(*parts(a.tail / unit, a.bias), True)
        value, n = parts(-float(a.bias + a.mantissa_bits + 16), a.bias + lift)
        value = _lowered(value * single.power_of_two(n + lift), lift)
        if a.rough:
            return value
        return context.scaled(*parts(a.tail / unit, a.bias), True, far, value, everywhere=True)
    if a.rough:
        # The shift keeps 2^(n + shift) normal where the result is not; at the lower limit that is taken for 0.
        factor = factor * 2.0**-shift
        value, n = parts(-float(a.bias + shift), a.bias + shift)
        return value * single.power_of_two(n + shift)
    value, n = parts(-float(a.bias), a.bias)
    # At the lower limit 2^n is taken for 0, which it is to any sum.
    return context.scaled(*parts(a.tail / unit, a.bias), True, far, value * single.power_of_two(n))


def _lowered(value: Value, lift: int) -> Value:
    """2^-lift times a value that is not negative, rounded once where that is subnormal. There the smallest normal
    number is added first, and its bits are subtracted from those of the sum: no instruction of floats meets a subnormal
    number, which takes some processors many times as long."""
    bias, bits = value.context.arithmetic.bias, value.context.arithmetic.mantissa_bits
    least = 2.0 ** (1 - bias + lift)
    small = value < least
    raised = (value + value.lift(least).choose(small, 0.0)) * 2.0**-lift
    return (raised.bits() - value.context.integer(1 << bits).choose(small, 0)).as_real()
