"""Results of float32 as sums of two words of float32, rounded once, and where that may be wrong.

Two words have twice the bits of a result, as one of float64 has, and a register holds twice as many of them; nothing is
converted. They serve where a result consists of few sums, products and quotients, the errors of which are words: see
`words` in the declarations. Nothing of it is meant for any other dtype or tier.

Of the second word some units of its last place may be wrong. Where terms of it cancel these may be many, but it is then
so small beside the first word that it does not matter, unless the first word is on a boundary between two results.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import reduce
from operator import or_

from fastact.kernels.blocks.exactly import fast_two_sum
from fastact.kernels.operations import Value

LITTLE = 2.0**-20
"""Part of a second word by which it may be wrong."""
MODERATE = 2.0**40
"""Numbers up to that have quotients by moderate ones, and errors of these, within the normal numbers."""
ENDS = 1.0 + LITTLE, 1.0 - LITTLE
SIGN = -(2**31)


def line(x: Value, shift: float, whole: int) -> Value:
    """(x + shift)/whole for |x| up to twice the shift, where s + d is the sum without error: s - shift is exact."""
    high, low = words(Fraction(1, whole))
    s, d = fast_two_sum(x.lift(shift), x)
    return s.fma(high, s.fma(low, d * high))


def words(value: Fraction) -> tuple[float, float]:
    """A number as two words."""
    high = _float32(value)
    return high, _float32(value - Fraction(high))


def _float32(value: Fraction) -> float:
    """The nearest float32, of numbers with normal ones beside them."""
    place = Fraction(2) ** (math.frexp(value)[1] - 24)
    return float(round(value / place) * place)


def bits(value: float) -> int:
    """The bit pattern of a power of two."""
    return (math.frexp(value)[1] + 126) << 23


def rounded(high: Value, low: Value, *odd: Value) -> tuple[Value, Value]:
    """The rounding of high + low, and where it is in doubt; ``odd`` as for `doubt`."""
    above, below = (low.fma(end, high) for end in ENDS)
    return above, doubt(above, below, *odd)


def quotient(n: Value, d: Value, d_low: Value) -> tuple[Value, Value]:
    """n/(d + d') rounded, with the sign of n, and where it is in doubt: so it is where n is not moderate, unless it is
    0, and where d is not, or is not positive."""
    inverse = 1.0 / d
    q = n * inverse
    rest = (-q).fma(d_low, (-q).fma(d, n))
    odd = beyond(abs(n), MODERATE), beyond(d, MODERATE), below(d, 1.0 / MODERATE)
    y, near = rounded(q, rest * inverse, *odd)
    return y.copysign(q), near | tiny(n, 1.0 / MODERATE)


def between(
    first: Value, less: Value, size: Value, part: float, strange: Value, *odd: Value
) -> tuple[Value, Value]:
    """The rounding of a difference, of 0 with the sign of the first, and where it is in doubt: within a part of a size,
    or where a condition holds."""
    above, below = (first - size.fma(end, less) for end in (-part, part))
    return above, doubt(above, below, *odd) | strange


def doubt(above: Value, below: Value, *odd: Value) -> Value:
    """Whether a little more and a little less are rounded differently; or an integer is negative."""
    different = above.bits() ^ below.bits()
    if odd:
        different = different | (reduce(or_, odd) & SIGN)
    return different.compare("ne", 0)


def tiny(x: Value, least: float) -> Value:
    """Whether |x| is below a limit, but not 0: moved so far that the bits of 0 are the largest integer, those of the
    numbers next to it are the smallest ones."""
    return (abs(x).bits() + (2**31 - 1)).compare("slt", bits(least) + (2**31 - 1) - 2**32)


def beyond(x: Value, most: float) -> Value:
    """An integer that is negative where x >= 0 is above a limit, or no number."""
    return bits(most) - x.bits()


def below(x: Value, least: float) -> Value:
    """An integer that is negative where x >= 0 is below a limit."""
    return x.bits() - bits(least)
