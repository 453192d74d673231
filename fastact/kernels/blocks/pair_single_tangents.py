"""Functions in pairs of float32: lines that touch them, one for each of 32 intervals, and what these lack.

The leading bits of the sum |x| + start tell the interval, eight of which go to each octave of that sum. Next to the
middle of each there is a number at which one float32 holds the function's value, and one its slope, well enough (see
scripts/tangents.py).
"""

from __future__ import annotations

from math import inf

from fastact.kernels.blocks.exactly import two_product
from fastact.kernels.blocks.single import limited, pattern
from fastact.kernels.coefficients import TANGENTS
from fastact.kernels.operations import Value

START = 0.65625
"""The interval at 0 is half as long as the next ones."""
END = 9.0625
"""From there on tanh is rounded to 1."""
FLAT = 9.5
"""From there on 1 - tanh^2 is less than 2^-25."""
SIZE = 32
GRANTED = 2.0 * 2.25
"""The error of h^2 C(h), in 2^-25 of it."""
SQUARED, LITTLE = 2.0 * GRANTED * 2.0**-25, 2.0**-44
"""What the error of the square is in h^2 C(h) tanh, and what roundings add in parts of it."""
ERROR = 9.0 * 2.0**-24
"""The error of the curve of erf and of adding it, relative to the curve, all of it on one side."""
ERF_END = 3.93359375
"""From here on erf rounds to 1."""
NUMBERS = 2.0**20
"""Sums with it are multiples of 1/8, which the last bits count."""
BESIDES = 2.0**-40
"""What else may be lacking of erf, relative to y."""
TINY = 2.0**-100
"""Of smaller numbers products have not all bits of pairs."""
CUBES, SHRUNK = 1.59375, 8.34375
"""Where intervals end, up to which y - tanh y is computed from its quotient by y^3, and beyond which y - 1 will do."""
BEYOND = (9.0, 8.0, 1.0, *(0.0,) * 6)
"""That line."""
LARGE = 2.0**23
"""Up to here the distance from its c is exact."""
SMALL = 2.0**-36
"""Of smaller numbers the cubes have not all bits of pairs."""


def tanh(x: Value) -> Value:
    """The function as a result: its error is relative to what is far smaller, which products know nothing of."""
    context = x.context
    context.granted += GRANTED
    context.held[x.hi.node] = inf, 1.0  # one word is right however small x is, and beyond the end
    y = limited(abs(x.hi), -inf, END)
    high, low, doubt = _touched(y, y + START, "tanh_tangents")
    result = x.pair(high, low).signed_as(x.hi)
    result.uncertain = doubt
    return result


def tanh_squared(x: Value) -> tuple[Value, Value, Value]:
    """The square of tanh x in two words, and what is not above 0 and `SQUARED` times which its error is within. Beyond
    `FLAT` it is so near to 1 that products with it are rounded to the other factor."""
    y = limited(abs(x), -inf, FLAT)
    high, low, doubt = _touched(y, limited(y, -inf, END) + START, "tanh_tangents")
    square = high * high
    rest = (high + high).fma(low, high.fma(high, -square))
    return square, rest, square.fma(-LITTLE / SQUARED, high * doubt)


def tanhshrink(x: Value) -> Value:
    """The same of y - tanh y, y = |x|, but up to `CUBES` of what that is a multiple of y^3 by; beyond `SHRUNK` y - 1 is
    rounded rightly, which another line is."""
    context, size = x.context, abs(x.hi)
    context.granted += GRANTED
    small = size.bits()
    context.signs.append((small - pattern(context.arithmetic, SMALL)) & (0 - small))
    context.signs.append(pattern(context.arithmetic, LARGE) - small)
    context.held[x.hi.node] = inf, 1.0  # both are looked after
    total = limited(size, -inf, SHRUNK) + START
    y = size.choose(total < CUBES + START, 1.0)
    square, square_low = two_product(y, y)
    cube, cube_low = two_product(square, y)
    cube_low = square_low.fma(y, cube_low)
    high, low, doubt = _touched(size, total, "tanhshrink_tangents")
    product, rest = two_product(cube, high)
    rest = cube_low.fma(high, cube.fma(low, rest))
    result = x.pair(product, rest).signed_as(x.hi)
    result.uncertain = cube * doubt
    return result


def erf(x: Value) -> Value:
    """The function by lines next to multiples of 1/8, slopes in two words. The curve is added as it is, which takes
    less time and has twice the error: what is made is not above the function, and with more of the curve not below."""
    context, rows = x.context, TANGENTS["erf_tangents"].coefficients
    context.held[x.hi.node] = inf, 1.0  # what is too small is found here
    y = limited(abs(x.hi), -inf, ERF_END)
    j = (y + NUMBERS).bits() & (SIZE - 1)

    def entry(k: int) -> Value:
        return y.lookup(tuple(row[k] for row in rows), j)

    h, value, slope = y - entry(0), entry(1), entry(2)
    square, high = h * h, h.fma(slope, value)
    rest = value - high
    line = h.fma(entry(3), h.fma(slope, rest))
    curve = h.fma(square.fma(h.fma(entry(8), entry(7)), h.fma(entry(6), entry(5))), entry(4))
    result = x.pair(high, square.fma(curve, line)).signed_as(x.hi)
    result.most = (square * (1.0 - ERROR)).fma(curve, y.fma(BESIDES, line))
    # Next to 0 lines begin at 0, so that the rest has a sign unless y is 0.
    context.signs.append((y.bits() - pattern(context.arithmetic, TINY)) & rest.bits())
    return result


def _touched(y: Value, total: Value, name: str) -> tuple[Value, Value, Value]:
    """A function of y in two words, and what their error is relative to; ``total`` is y + `START`, or less where y is
    beyond the last interval of a table, which another line is for.

    With h = y - c it is T + h V, V = S + h C(h), both sums in two words: the error is one of h^2 C(h), and what the
    last column of the table says besides."""
    arithmetic, rows = y.context.arithmetic, TANGENTS[name].coefficients
    lines = *rows, *(BEYOND,) * (SIZE - len(rows))
    shift = arithmetic.mantissa_bits - 3
    j = total.bits().shift_right_logical(shift) & (SIZE - 1)
    first = pattern(arithmetic, START) >> shift & (SIZE - 1)

    def entry(k: int) -> Value:
        column = [row[k] for row in lines]
        return y.lookup((*column[-first:], *column[:-first]), j)

    h = y - entry(0)  # exact
    slope, value = entry(2), entry(1)
    curve = entry(7)
    for k in (6, 5, 4, 3):
        curve = curve.fma(h, entry(k))
    steep = h.fma(curve, slope)
    less = slope - steep
    steep_low = h.fma(curve, less)
    high = h.fma(steep, value)
    low = h.fma(steep_low, h.fma(steep, value - high))
    # Either is the curve, as far as that matters; which takes less time was found by trying.
    doubt = (h * h).fma(curve, entry(8)) if len(rows) == SIZE else (-h).fma(less, entry(8))
    return high, low, doubt
