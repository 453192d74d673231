"""The normal distribution's tail on pairs of float32, and the activation made of it."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from fastact.kernels.blocks import pair_single
from fastact.kernels.blocks.exactly import two_product
from fastact.kernels.blocks.pair_single_pieces import on_interval
from fastact.kernels.blocks.single import pattern, polynomial
from fastact.kernels.coefficients import TANGENTS
from fastact.kernels.operations import Value, maximum

REACH = 12.0
"""Up to here the probability, 2^-108, has all bits of a pair."""
ROUNDED = 2.0**-13
"""What of a large first term counts as error: the second word of a sum is rounded."""
ALMOST_ONE = 1.0 - 2.0**-22
"""Added to y; the sum does not round to where the next interval begins."""
FIRST = 24
"""What the number of the first interval, that of 1 + y next to 1, is modulo 32."""
START = 0.84375
"""Of the intervals on which lines touch y g(y): their number is in the leading bits of y + START, or of a little less,
which does not round to where the next one begins, from whose c not all y have an exact distance."""
TINY = 2.0**-100
"""Of smaller numbers products have not all bits of pairs."""
GRANTED = 4.4 * 2.0**-11
"""The error of `_by_pieces` relative to y Phi(-y), in 2^-25 of it."""
ERROR = 4.5 * 2.0**-24
"""The error of the curve, relative to itself, all of it on one side."""
LEANING = 0.8 * 2.0**-35
"""The part by which what is made of exp(-y^2/2) is too small, but for roundings."""
BESIDES = 1.6 * 2.0**-35
"""What else may be lacking of y Phi(-y), relative to it."""


def gelu(x: Value, _: Callable[[Value], Value] | None = None) -> Value:
    """max(x, 0) - y Phi(-y) with y = |x|, the product of exp(-y^2/2) and y g(y), by lines that touch the latter. The
    larger word of the product is subtracted as it is multiplied, and no more is made of it than it is. What that lacks
    is on one side, and too much for what is multiplied with further inputs."""
    if x.context.arithmetic.products:
        return _by_pieces(x)
    context, rows = x.context, TANGENTS["normal_tangents"].coefficients
    context.within(x.hi, 0.0, REACH)
    context.held[x.hi.node] = inf, REACH  # what is too small is found here
    y = abs(x.hi)
    shift = context.arithmetic.mantissa_bits - 3
    j = (y + (START - 2.0**-24)).bits().shift_right_logical(shift) & 31
    first = pattern(context.arithmetic, START) >> shift & 31

    def entry(k: int) -> Value:
        column = [row[k] for row in rows]
        return y.lookup((*column[-first:], *column[:-first]), j)

    h, value, slope = y - entry(0), entry(1), entry(2)
    curve = h.fma(h.fma(h.fma(h.fma(entry(7), entry(6)), entry(5)), entry(4)), entry(3))
    steep = h.fma(curve, slope)
    less = slope - steep
    g = h.fma(steep, value)
    g_low = h.fma(h.fma(curve, less), h.fma(steep, value - g))
    e, e_low = _bell(x, y)
    positive = maximum(x.hi, 0.0)
    s = (-e).fma(g, positive)
    size = positive - s
    low = (-e).fma(g_low, (-e_low).fma(g, (-e).fma(g, size)))
    value = x.pair(s, low, 4)
    value.most = (e * -ERROR).fma(h * less, size.fma(-BESIDES, low))
    size_bits = y.bits()
    context.signs.append((size_bits - pattern(context.arithmetic, TINY)) & (0 - size_bits))
    return value


def _by_pieces(x: Value) -> Value:
    """The same by `normal`; where x > 0 it has the error of the second term, which is the smaller."""
    y, e, g = normal(x)
    tail = e * g * y
    x.context.granted = GRANTED
    positive = maximum(x.hi, 0.0)
    s = positive - tail.first
    value = x.pair(s, (positive - s) - tail.first - tail.second, 2 * tail.slack)
    value.uncertain = positive.fma(ROUNDED, tail.first)
    return value


def _bell(x: Value, y: Value) -> tuple[Value, Value]:
    """exp(-y^2/2) in two words, the second of which is loose, as in `pair_single.exp`."""
    context = x.context
    minus = y * -0.5
    exponent = x.pair(*two_product(minus, y))
    context.note(exponent, -REACH * REACH / 2.0, 0.0)
    c, t, u, _ = pair_single._reduce_exp(exponent, LEANING)
    _, half, *more = pair_single.coefficients(context, "exp_pair")
    r = t - u
    curve = (r * r).fma(polynomial(r, (half, *more)), -u)
    line = c.fma(t, c)
    return line, c.fma(curve, c.fma(t, c - line))


def normal(x: Value) -> tuple[Value, Value, Value]:
    """y = |x|, exp(-y^2/2), and g(y), which times that is Phi(-y): a polynomial next to the short number c - 1 that is
    nearest to y."""
    context = x.context
    context.within(x.hi, 0.0, REACH)
    y = abs(x.hi)
    minus = y * -0.5
    exponent = x.pair(*two_product(minus, y))
    context.note(exponent, -REACH * REACH / 2.0, 0.0)
    bits = (y + ALMOST_ONE).bits() + 2**19
    # The difference is exact: c - 1 is 0, or y at least half of it.
    h = y - ((bits & -(2**20)).as_real() - 1.0)
    return y, pair_single.exp(exponent), on_interval(x, h, "normal_single_pair", (bits >> 20) & 31, FIRST)
