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
SIZE = 32
GRANTED = 2.0 * 2.25
"""The error of h^2 C(h), in 2^-25 of it."""
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
SMALL = 2.0**-36
"""Of smaller numbers the cubes have not all bits of pairs."""


def tanh(x: Value) -> Value:
    """The function as a result: its error is relative to what is far smaller, which products know nothing of."""
    context = x.context
    context.granted += GRANTED
    context.held[x.hi.node] = inf, 1.0  # one word is right however small x is, and beyond the end
    high, low, doubt = _touched(limited(abs(x.hi), -inf, END), "tanh_tangents")
    result = x.pair(high, low).signed_as(x.hi)
    result.uncertain = doubt
    return result


def tanhshrink(x: Value) -> Value:
    """The same of y^3 times what y - tanh y, y = |x|, is a multiple of; beyond the end y - 1 and a little more."""
    context, size = x.context, abs(x.hi)
    context.granted += GRANTED
    small = size.bits()
    context.signs.append((small - pattern(context.arithmetic, SMALL)) & (0 - small))
    context.held[x.hi.node] = inf, inf
    y = limited(size, -inf, END)
    high, low, doubt = _touched(y, "tanhshrink_tangents")
    square, square_low = two_product(y, y)
    cube, cube_low = two_product(square, y)
    cube_low = square_low.fma(y, cube_low)
    product, rest = two_product(cube, high)
    rest = cube_low.fma(high, cube.fma(low, rest))
    beyond, less = size > END, size - 1.0
    first, second = less.choose(beyond, product), ((size - less) - (1.0 - 2.0**-23)).choose(beyond, rest)
    result = x.pair(first, second).signed_as(x.hi)
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


def _touched(y: Value, name: str) -> tuple[Value, Value, Value]:
    """A function of y in two words, and what their error is relative to.

    With h = y - c it is T + h V, V = S + h C(h), both sums in two words: the error is one of h^2 C(h), and what the
    last column of the table says besides."""
    arithmetic, rows = y.context.arithmetic, TANGENTS[name].coefficients
    shift = arithmetic.mantissa_bits - 3
    j = (y + START).bits().shift_right_logical(shift) & (SIZE - 1)
    first = pattern(arithmetic, START) >> shift & (SIZE - 1)

    def entry(k: int) -> Value:
        column = [row[k] for row in rows]
        return y.lookup((*column[-first:], *column[:-first]), j)

    h = y - entry(0)  # exact
    slope, value = entry(2), entry(1)
    curve = entry(7)
    for k in (6, 5, 4, 3):
        curve = curve.fma(h, entry(k))
    steep = h.fma(curve, slope)
    steep_low = h.fma(curve, slope - steep)
    high = h.fma(steep, value)
    return high, h.fma(steep_low, h.fma(steep, value - high)), (h * h).fma(curve, entry(8))
