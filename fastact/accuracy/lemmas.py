"""Arguments that settle whole ranges of inputs at which results lie next to rounding boundaries.

Where f(0) = 0 and f'(0) = 1/2, half of the smallest inputs have results next to a tie: x/2 is halfway between two
subnormal numbers, and the rest of f(x), too small for any precision worth having, decides. Its sign is proved once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from fastact.accuracy.balls import arb, ctx
from fastact.accuracy.oracle import Oracle
from fastact.accuracy.ulp import Floats, ordinal

LOWEST, HIGHEST = -149, -125
"""Between these powers of two the float32 numbers are the multiples of the first one."""
BITS = 2000


def halving(oracle: Oracle, wrt: str | None, parameters: Sequence[float]) -> dict[int, int] | None:
    """For x > 0 (key 1) and x < 0 (key -1) the sign of f(x) - x/2 on all of 2^-149 <= |x| <= 2^-125, where that
    difference is moreover below a quarter of 2^-149; of the sides of which this can be shown, None where of neither.

    The difference has the sign at the smallest input; by its derivative's sign on each binade, ball arithmetic on
    intervals, it moves on in that direction; and at the largest input it is still small enough.
    """
    if wrt is not None:
        return None
    rest = tuple(arb(p) for p in parameters)
    value, slope = oracle.program(None), oracle.program("x")
    half = arb((1, -1))

    def difference(x: arb) -> arb:
        return value((x, *rest)) - x * half

    signs = {}
    before = ctx.prec
    ctx.prec = BITS
    try:
        for side in (1, -1):
            with suppress(ArithmeticError):
                signs[side] = _sign(difference, lambda x: slope((x, *rest)) - half, side)
    finally:
        ctx.prec = before
    return signs or None


def _sign(difference: Callable[[arb], arb], slope: Callable[[arb], arb], side: int) -> int:
    """The sign of the difference on one side of 0; ArithmeticError where it is not proved."""
    first, last = (arb((side, exponent)) for exponent in (LOWEST, HIGHEST))
    start = difference(first)
    sign = 1 if start > 0 else -1 if start < 0 else 0
    small = bool(abs(difference(last)) < arb((1, LOWEST - 2)))
    for exponent in range(LOWEST, HIGHEST):
        binade = arb(arb((3 * side, exponent - 1)), arb((1, exponent - 1)))
        moves = slope(binade) * side * sign
        small = small and bool(moves > 0)
    if not (sign and small):
        raise ArithmeticError
    return sign


def halved(signs: dict[int, int], x: Floats, y: Floats) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of which inputs the argument speaks, and which of the results it finds correctly rounded."""
    places = ordinal(x)
    sign = np.where(places > 0, signs.get(1, 0), signs.get(-1, 0))
    expected = (places + (places & 1) * sign) // 2
    applies = (np.abs(places) < 1 << 24) & (sign != 0) & (places != 0)
    return applies, applies & (ordinal(y) == expected) & (np.signbit(y) == np.signbit(x))
