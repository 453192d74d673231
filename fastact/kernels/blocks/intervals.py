"""Odd functions of one float32 that grow from 0 to 1: a polynomial of low degree on each of 16 or 32 intervals.

The leading bits of the sum |x| + start tell the interval, four or eight of which go to each octave of that sum. On the
first one, at 0, the polynomial is one of x itself without a constant, which keeps all digits of the smallest results.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from fastact.kernels.blocks.single import limited, pattern, tanh_from_expm1
from fastact.kernels.coefficients import PIECES
from fastact.kernels.operations import Value

PARTS = 4
"""Intervals to each octave; twice as many for float16, so that a polynomial of low degree does."""
STARTS = {"tanh": 0.625, "erf": 0.3125}
ENDS = {"tanh": 9.36, "erf": 4.25}
"""From there on the function is rounded to 1; it is within the last interval."""


def tabulated(x: Value) -> bool:
    """Whether such functions come from tables."""
    a = x.context.arithmetic
    return bool(a.word == "f32" and not (a.wide or a.short))


def tanh(x: Value) -> Value:
    return odd(x, "tanh") if tabulated(x) or x.context.arithmetic.short else tanh_from_expm1(x)


def _edges(start: float, parts: int) -> list[float]:
    sums = [2.0**k * (1.0 + part / parts) for k in range(-2, 4) for part in range(parts)]
    return [total - start for total in sums if total >= start][: 4 * parts + 1]


def _centres(start: float, parts: int) -> tuple[float, ...]:
    """The first interval is all on one side."""
    edges = _edges(start, parts)
    return (0.0, *((edges[k] + edges[k + 1]) / 2 for k in range(1, len(edges) - 1)))


def odd(x: Value, name: str) -> Value:
    """The function of that name."""
    a, start = x.context.arithmetic, STARTS[name]
    level = "single_rough" if a.brief else {"single_bfloat": "single_rough"}.get(a.level, a.level)
    parts, shift = (2 * PARTS, a.mantissa_bits - 3) if level == "single_half" else (PARTS, a.mantissa_bits - 2)
    y, size = limited(abs(x), -inf, ENDS[name]), 4 * parts
    total = y + start
    j = total.bits().shift_right_logical(shift) & (size - 1)
    first = pattern(a, start) >> shift & (size - 1)

    def entry(column: Sequence[float]) -> Value:
        return y.lookup((*column[-first:], *column[:-first]) if first else tuple(column), j)

    rows = PIECES[f"{name}_intervals_{level}"].coefficients
    h = y - entry(_centres(start, parts))
    p = entry([row[-1] for row in rows])
    for k in reversed(range(1, len(rows[0]) - 1)):
        p = p.fma(h, entry([row[k] for row in rows]))
    base = entry([row[0] for row in rows])
    if name == "erf":  # the coefficient of y is not near enough to a float: 1 is not in the table
        base = y.choose(total < start + _edges(start, parts)[1], base)
    return p.fma(h, base).copysign(x)
