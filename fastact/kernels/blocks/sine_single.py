"""The sine on one machine word per number.

sin(x) = (-1)^n sin(r) with n = rint(x/pi), r = x - n pi. Multiples of pi are subtracted in parts, the first of which
leaves no error; beyond 2^20 as many digits of 1/pi are multiplied with x as its exponent asks for.
"""

from __future__ import annotations

import functools
from math import ldexp, pi

from fastact.kernels.blocks import single
from fastact.kernels.blocks.exactly import two_product, two_sum
from fastact.kernels.coefficients import CONSTANTS
from fastact.kernels.operations import Value

NEAR = 2.0**20
CHUNK = 16
"""Bits of 1/pi that are multiplied at a time."""
LIFT = 120
"""Chunks are held times 2^LIFT, so that the last of them are no subnormal numbers."""
BEYOND, LEAST, LIFT_BEYOND = 1024, 52, 200
"""Numbers that overflow are held times 2^-BEYOND, and chunks for them times 2^BEYOND 2^LIFT_BEYOND; the second word of
a product of two numbers that does begins with the chunk LEAST at the earliest."""


def sin(x: Value) -> Value:
    """(-1)^n (r + r^3 P(r^2)) of |x|, with the sign of x."""
    context, a = x.context, x.context.arithmetic
    y = abs(x)
    n, whole = y.split_integer(1.0 / pi)
    r = _less(y, n)
    odd = (whole << (31 if a.word == "f32" else 63)).as_real()
    far = ~(y < NEAR)
    far_r, far_odd = _far(y)
    r, odd = r.unless(far, far_r), odd.unless(far, far_odd)
    sign = context.real(-0.0).bits()
    return (_sine(r).bits() ^ ((odd.bits() ^ x.bits()) & sign)).as_real()


def sin_but_sign(x: Value, quarters: int = 0) -> Value:
    """sin(x + quarters pi/4) or minus that; x may be a pair of words."""
    return _sine(_reduced_pair(x, quarters))


def sin_squared(x: Value, low: Value | None) -> tuple[Value, Value]:
    """sin(x + low)^2 in two words, for |x| < 2^56 and a low that is small beside x: no more digits of pi are looked at
    than the last place of x is worth. Of a large x the first multiple of pi may be one of its neighbours.

    With r the distance from the nearest one it is sin(r)^2, or 1 - sin(pi/2 - |r|)^2 where that is the smaller angle.
    """
    r = _less(x, (x * (1.0 / pi)).rint())
    low = r.lift(0.0) if low is None else low
    r, low = two_sum(r, low)
    r = (r * (1.0 / pi)).rint().fma(-pi, r)
    y, low = abs(r), with_sign_of(low, r)
    wide = y > 0.8
    v = (0.5 * CONSTANTS["PI"][0] - y).choose(wide, y)
    low = (0.5 * CONSTANTS["PI"][1] - low).choose(wide, low)
    z = v * v
    more = v * z.fma(single.polynomial(z, r.context.table("sin")), v.fma(v, -z) * -0.125)
    s = v + more
    rest = low.fma(z.fma(z.fma(1.0 / 24.0, -0.5), 1.0), more - (s - v))  # low times the cosine
    square, e = two_product(s, s)
    e = (s * 2.0).fma(rest, e)
    other = 1.0 - square
    return other.choose(wide, square), (((1.0 - other) - square) - e).choose(wide, e)


def plus_sin_squared(x: Value) -> Value:
    """x + sin(x)^2 to some units in the last place, as x + z P(z) or (x + 1) - z P(z), where z is the square of the
    distance from the nearest multiple of pi/2, and even multiples have the first. Where the terms cancel more than a
    third of x remains; and the last digits of a large x leave no need for many of the sine."""
    context, a = x.context, x.context.arithmetic
    n, whole = x.split_integer(2.0 / pi)
    r = x
    if a.short:
        r = n.fma(-0.5 * pi, r)
    else:
        for part in CONSTANTS["PI_SINGLE" if a.word == "f32" else "PI"][:2]:
            r = n.fma(-0.5 * part, r)
    odd = (whole & 1).compare("ne", 0)
    z = r * r
    base = (x + 1.0).choose(odd, x)
    total = (-z).choose(odd, z).fma(single.polynomial(z, context.table("sin_squared")), base)
    return total.copysign(x).choose(abs(x) < 2.0 ** (a.mantissa_bits - 1), x)


def sin_and_cos(x: Value) -> tuple[Value, Value]:
    """The sine and the cosine, or both with the other sign."""
    r, further = _reduced_pair(x, 0), _reduced_pair(x, 2)
    # They differ by pi/2.
    c = _sine(further)
    return _sine(r), c.choose(r < further, -c)


def _reduced_pair(x: Value, quarters: int) -> Value:
    high, low = (x.hi, x.lo) if hasattr(x, "hi") else (x, None)
    r = _reduced(high, quarters)
    if low is not None:  # it may be many times pi as well
        r = r + with_sign_of(_reduced(low, 0), high, low)
    return _less(r, (r * (1.0 / pi)).rint())


def with_sign_of(r: Value, *words: Value) -> Value:
    """r times the signs of some words."""
    bits = r.bits()
    for word in words:
        bits = bits ^ (word.bits() & r.lift(-0.0).bits())
    return bits.as_real()


def _less(y: Value, n: Value) -> Value:
    """y - n pi."""
    for part in CONSTANTS["PI_SINGLE" if y.context.arithmetic.word == "f32" else "PI"]:
        y = n.fma(-part, y)
    return y


def _reduced(x: Value, quarters: int) -> Value:
    """x + quarters pi/4 less the nearest multiple of pi, or minus that."""
    y = abs(x)
    quarter = x.context.real(0.25 * quarters).copysign(x)
    n = (y.fma(1.0 / pi, quarter).rint() - quarter) if quarters else (y * (1.0 / pi)).rint()
    return _less(y, n).unless(~(y < NEAR), _far(y, quarter)[0])


def _sine(r: Value) -> Value:
    """sin(r) for |r| <= pi/2."""
    z = r * r
    p = single.polynomial(z, r.context.table("sin"))
    if single.careless(r.context.arithmetic):
        return (r * z).fma(p, r)
    # sin(r)/r falls by 1/6 to 1/8 of what the rounding takes from r^2
    curve = z.fma(p, r.fma(r, -z) * -0.125)
    return r.fma(curve, r)


def _far(y: Value, quarter: Value | None = None) -> tuple[Value, Value]:
    """r of a large positive y, and a zero whose sign tells that n is odd."""
    word = y.node.type
    high, low, whole = far_phase(y, quarter)
    r, rest = two_product(high, high.lift(CONSTANTS["PI"][0]))
    r = r + high.fma(CONSTANTS["PI"][1], low.fma(CONSTANTS["PI"][0], rest))
    half = whole * 0.5
    odd = r.lift(0.0).choose(half.equals(half.rint()), -0.0)
    return r.convert(word), odd.convert(word)


def far_phase(y: Value, quarter: Value | None = None, beyond: bool = False) -> tuple[Value, Value, Value]:
    """y/pi, for a large positive y, plus a quarter if there is one: less the nearest whole number, in two words, and
    that number modulo 2. ``beyond``: y is held times 2^-BEYOND."""
    narrow = y.arithmetic.word == "f32"
    last = 127 if narrow else 1023  # the largest exponent
    y = y.convert("f64")
    # Of y = 2^e (1 + ...) times the i-th chunk, a multiple of 2^(e - 52 - 16 (i + 1)), even numbers can be left out.
    first, shift, lift = (LEAST, BEYOND, LIFT_BEYOND) if beyond else (0, 0, LIFT)
    i = (y.bits().shift_right_logical(52) - (1023 + 53 + 16 * first - shift)) >> 4
    limit = ((last + shift - 53) >> 4) - first
    i = i.choose(i.compare("sgt", 0), 0)
    i = i.choose(i.compare("slt", limit), limit)
    # The nearest to a multiple of pi that a number comes leaves 2^-33 of a float32, 2^-62 of a float64.
    count = 8 if narrow else 12
    table = chunks(first + limit + count, lift + shift)[first:]
    parts = [y * 2.0**-lift]
    if not narrow:
        upper = (parts[0].bits() & -(1 << 27)).as_real()
        parts = [upper, parts[0] - upper]
    # Six products are multiples of 2^-95 below 2^70. Taken modulo 2, they add up to two words without error.
    high = low = y.lift(0.0)
    whole = high
    for step in range(count):
        factor = y.lookup(tuple(table[step : step + limit + 1]), i)
        if step == 6:
            whole = high.rint()
            high, low = two_sum(high - whole, low)
        for part in parts:
            t = part * factor
            if step < 6:
                t = (t * 0.5).rint().fma(-2.0, t)
            high, error = two_sum(high, t)
            low = low + error
    if quarter is not None:
        high, error = two_sum(high, quarter.convert("f64"))
        low = low + error
    high, low = two_sum(high, low)
    more = high.rint()
    whole = whole + more
    high, low = two_sum(high - more, low)
    return high, low, whole


def inverse_tangent(y: int, one: int) -> int:
    """atan(y/one) for |y/one| < 1/2, times one: but for some units in the last place."""
    square, power, total, k = y * y, y, 0, 1
    while power:
        total += power // k if k % 4 == 1 else -(power // k)
        power, k = power * square // (one * one), k + 2
    return total


def pi_times(one: int) -> int:
    """pi times a large number: Machin's 16 atan(1/5) - 4 atan(1/239)."""
    return 16 * inverse_tangent(one // 5, one) - 4 * inverse_tangent(one // 239, one)


@functools.cache
def chunks(count: int, lift: int = LIFT) -> tuple[float, ...]:
    """1/pi as a sum of chunks c 2^(-16 (i + 1)), 0 <= c < 2^16, times 2^lift."""
    bits = CHUNK * count
    digits = (1 << (bits + 64 + bits)) // pi_times(1 << (bits + 64))
    mask = (1 << CHUNK) - 1
    pieces = [float((digits >> (bits - CHUNK * (i + 1))) & mask) for i in range(count)]
    return tuple(ldexp(piece, min(lift - CHUNK * (i + 1), 960)) for i, piece in enumerate(pieces))
