"""The normal distribution's tail on pairs of float32, and the activation made of it."""

from __future__ import annotations

from collections.abc import Callable

from fastact.kernels.blocks import pair_single
from fastact.kernels.blocks.exactly import two_product
from fastact.kernels.blocks.pair_single_pieces import on_interval
from fastact.kernels.operations import Value, maximum

REACH = 12.0
"""Up to here the probability, 2^-108, has all bits of a pair."""
ROUNDED = 2.0**-13
"""What of a large first term counts as error: the second word of a sum is rounded."""
ALMOST_ONE = 1.0 - 2.0**-22
"""Added to y; the sum does not round to where the next interval begins."""
FIRST = 24
"""What the number of the first interval, that of 1 + y next to 1, is modulo 32."""
GRANTED = 4.4 * 2.0**-11
"""The error of `gelu` relative to y Phi(-y), in 2^-25 of it."""


def gelu(x: Value, _: Callable[[Value], Value]) -> Value:
    """max(x, 0) - y Phi(-y) with y = |x|; where x > 0 that has the error of the second term, which is the smaller."""
    y, e, g = normal(x)
    tail = e * g * y
    x.context.granted = GRANTED
    positive = maximum(x.hi, 0.0)
    s = positive - tail.first
    value = x.pair(s, (positive - s) - tail.first - tail.second, 2 * tail.slack)
    value.uncertain = positive.fma(ROUNDED, tail.first)
    return value


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
