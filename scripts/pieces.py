"""Functions tabulated in pieces: polynomials on intervals, one row of coefficients for each.

Rows have one length, and as many of their leading coefficients in pairs, so that kernels can look up a coefficient by
the number of the interval.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from flint import arb
from remez import Coefficient, Grid, Problem, expansion, measured, minimax, rounded, stated, total

POINTS = 120  # of the grid: the intervals are short


@dataclass(frozen=True)
class Pieces:
    """value of `exact` at centre + h as a polynomial in h, relative to itself; `intervals` are (centre, reach)."""

    name: str
    formula: str
    domain: str
    exact: Callable[[arb], arb]
    intervals: tuple[tuple[float, float], ...]
    degree: int
    pairs: int

    def rows(self) -> tuple[list[tuple[Coefficient, ...]], float]:
        """The rows, and log2 of the largest relative error."""
        rows, largest = [], 0.0
        for centre, reach in self.intervals:

            def exact(h: arb, centre: float = centre) -> arb:
                return self.exact(arb(centre) + h)

            problem = Problem(-reach, reach, exact, lambda h, p: p, exact)
            grid = Grid(problem, POINTS)
            row: list[Coefficient] = []
            # The pairs lose nothing; the others are fitted around the first that is rounded.
            for first, last in ((0, self.pairs), (self.pairs, self.pairs + 1), (self.pairs + 1, self.degree + 1)):
                best, _ = minimax(grid, [total(c) for c in row], self.degree)
                row += [expansion(c, (53, 53)) if first < self.pairs else rounded(c, 53) for c in best[first:last]]
            rows.append(tuple(row))
            largest = max(largest, measured(problem, tuple(row), 2 * POINTS))
        return rows, stated(largest)


def erfcx_intervals() -> tuple[tuple[float, float], ...]:
    """Eight to each of the octaves of 2 + y from 2 to 32."""
    edges = [2.0**octave * (1 + eighth / 8) - 2 for octave in range(1, 5) for eighth in range(8)] + [30.0]
    return tuple(((a + b) / 2, (b - a) / 2) for a, b in pairwise(edges))


ERF_STEP = 49 / 256

PIECES = [
    Pieces(
        "erfcx",
        "exp(y^2) erfc(y), y = c_j + h",
        "c_j the centres of 32 intervals: 8 to each of the octaves of 2 + y from 2 to 32",
        exact=lambda y: (y * y).exp() * y.erfc(),
        intervals=erfcx_intervals(),
        degree=13,
        pairs=4,
    ),
    Pieces(
        "erf",
        "erf(y)/y, y = 49 j/256 + h",
        "|h| <= 49/512, j = 0 .. 31",
        exact=lambda y: y.erf() / y,
        intervals=tuple((j * ERF_STEP, ERF_STEP / 2) for j in range(32)),
        degree=11,
        pairs=3,
    ),
]
