"""The hyperbolic tangent in pairs of float32: lines that touch it, one for each of 32 intervals, and what these lack.

The leading bits of the sum |x| + start tell the interval, eight of which go to each octave of that sum. Next to the
middle of each there is a number at which one float32 holds the function's value, and one its slope, well enough (see
scripts/tangents.py).
"""

from __future__ import annotations

from math import inf

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


def tanh(x: Value) -> Value:
    """The function as a result: what its error is relative to is far smaller than it, which products know nothing of.

    With h = |x| - c it is T + h V, V = S + h C(h), both sums in two words: the error is one of h^2 C(h), and what the
    last column of the table says besides."""
    context, rows = x.context, TANGENTS["tanh_tangents"].coefficients
    y = limited(abs(x.hi), -inf, END)
    shift = context.arithmetic.mantissa_bits - 3
    j = (y + START).bits().shift_right_logical(shift) & (SIZE - 1)
    first = pattern(context.arithmetic, START) >> shift & (SIZE - 1)

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
    low = h.fma(steep_low, h.fma(steep, value - high))
    context.granted += GRANTED
    context.held[x.hi.node] = inf, 1.0  # one word is right however small x is, and beyond the end
    result = x.pair(high, low).signed_as(x.hi)
    result.uncertain = (h * h).fma(curve, entry(8))
    return result
