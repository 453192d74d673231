"""Functions tabulated in pieces: polynomials on intervals, one row of coefficients for each.

Rows have one length, and as many of their leading coefficients in pairs, so that kernels can look up a coefficient by
the number of the interval.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from admissible import Admissible
from flint import arb
from remez import Coefficient, Grid, Problem, expansion, measured, minimax, rounded, stated, total

from fastact.kernels.blocks.short import BFLOAT_REACH, BFLOAT_STEP, HALF_REACH, HALF_STEP, PRODUCT_STEP

POINTS = 120  # of the grid: the intervals are short


@dataclass(frozen=True)
class Pieces:
    """value of `exact` at centre + h as a polynomial in h, relative to `scale`, which is itself if there is none;
    `intervals` are (centre, reach)."""

    name: str
    formula: str
    domain: str
    exact: Callable[[arb], arb]
    intervals: tuple[tuple[float, float], ...]
    degree: int
    pairs: int = 0
    bits: int = 53
    scale: Callable[[arb], arb] | None = None
    # For functions that are 0 at 0, where the first interval begins: its row begins with 0 and lacks so many times y.
    root: int | None = None

    def rows(self) -> tuple[list[tuple[Coefficient, ...]], float]:
        """The rows, and log2 of the largest relative error."""
        rows, largest = [], 0.0
        for place, (centre, reach) in enumerate(self.intervals):

            def exact(h: arb, centre: float = centre) -> arb:
                return self.exact(arb(centre) + h)

            def scale(h: arb, centre: float = centre) -> arb:
                return (self.scale or self.exact)(arb(centre) + h)

            if self.root is not None and not place:
                problem = Problem(0.0, reach, exact, lambda h, p: h * (p + self.root), scale)
                row, error = self.row(problem, self.degree - 1)
                row = (0.0, *row)
            else:
                row, error = self.row(Problem(-reach, reach, exact, lambda h, p: p, scale), self.degree)
            rows.append(row)
            largest = max(largest, error)
        return rows, stated(largest)

    def row(self, problem: Problem, degree: int) -> tuple[tuple[Coefficient, ...], float]:
        """The coefficients for one interval, and the largest relative error."""
        grid, row = Grid(problem, POINTS), []
        # The pairs lose nothing; the others are fitted around the first that is rounded, float32 ones around each.
        words = range(self.pairs, self.pairs + 1 if self.bits == 53 else degree)
        for first, last in ((0, self.pairs), *((k, k + 1) for k in words), (words.stop, degree + 1)):
            best, _ = minimax(grid, [total(c) for c in row], degree)
            row += [
                expansion(c, (self.bits, self.bits)) if first < self.pairs else rounded(c, self.bits)
                for c in best[first:last]
            ]
        return tuple(row), measured(problem, tuple(row), 2 * POINTS)


def octaves(start: float, end: float, parts: int = 8) -> tuple[tuple[float, float], ...]:
    """So many intervals to each of the octaves of start + y, from there to start + end."""
    edges = [start * 2.0**octave * (1 + part / parts) - start for octave in range(5) for part in range(parts)]
    return tuple(((a + b) / 2, (b - a) / 2) for a, b in pairwise(edges) if a < end)


def erfcx(name: str, start: float, end: float, degree: int, **more: int) -> Pieces:
    intervals = octaves(start, end)
    return Pieces(
        name,
        "exp(y^2) erfc(y), y = c_j + h",
        f"c_j the centres of {len(intervals)} intervals: 8 to each of the octaves of {start:g} + y from {start:g}",
        exact=lambda y: (y * y).exp() * y.erfc(),
        intervals=intervals,
        degree=degree,
        **more,
    )


def short_numbers(start: float, end: float, parts: int = 8) -> tuple[tuple[float, float], ...]:
    """As many numbers start + y to each octave, from start itself to start + end, each with what is next to it."""
    octave = [(start * 2.0**k, part) for k in range(5) for part in range(parts)]
    return tuple(
        (scale * (1 + part / parts) - start, scale / parts / 2)
        for scale, part in octave
        if scale * (1 + part / parts) <= start + end
    )


NORMAL_END = 12.84375
NORMAL_PAIR_END = 12.0


def scaled_normal(y: arb) -> arb:
    """exp(y^2/2) Phi(-y)."""
    return (y * y / 2).exp() * normal(y)


def normal_tail(name: str, degree: int, intervals: tuple[tuple[float, float], ...], **more: int) -> Pieces:
    parts = sum(1 for centre, _ in intervals if centre < 1.0)
    return Pieces(
        name,
        "exp(y^2/2) Phi(-y), y = c_j + h",
        f"c_j the centres of {len(intervals)} intervals: {parts} to each octave of 1 + y",
        exact=scaled_normal,
        intervals=intervals,
        degree=degree,
        bits=24,
        **more,
    )


def times_normal_tail(name: str, degree: int, start: float, end: float) -> Pieces:
    """Intervals on which y + start keeps its exponent and the first two bits of its mantissa; the first centre is 0."""
    edges = [2.0**octave * (1 + part / 4) - start for octave in range(4) for part in range(4)]
    spans = list(pairwise([0.0, *edges[1:], 16.0 - start]))
    assert spans[-1][0] < end < spans[-1][1]
    return Pieces(
        name,
        "y exp(y^2/2) Phi(-y), y = c_j + h",
        f"c_j the centres of {len(spans)} intervals: 4 to each octave of {start} + y, 0 the first",
        exact=lambda y: y * scaled_normal(y),
        intervals=((0.0, spans[0][1]), *(((low + high) / 2, (high - low) / 2) for low, high in spans[1:])),
        degree=degree,
        bits=24,
        root=0,
    )


def normal(y: arb) -> arb:
    return (y / arb(2).sqrt()).erfc() / 2


NORMAL_FEW = 2.0**-16  # times y it is below the normal numbers of float16


ERF_STEP = 49 / 256
ERF_LUCKY_STEP = 25075 / 65536  # erf of once to four times as much is next to floats


def erf_over(y: arb) -> arb:
    """erf(y)/y."""
    return y.erf() / y


def saturating(
    name: str, function: str, exact: Callable[[arb], arb], start: float, degree: int, root: int, parts: int = 4
) -> Pieces:
    """Intervals on which y + start keeps its exponent and the first two bits of its mantissa, or three if there are
    eight parts to an octave; the first centre is 0."""
    edges = [2.0**octave * (1 + part / parts) - start for octave in range(-2, 4) for part in range(parts)]
    spans = list(pairwise([edge for edge in edges if edge >= 0][: 4 * parts + 1]))
    return Pieces(
        name,
        f"{function}(y), y = c_j + h",
        f"c_j the centres of {4 * parts} intervals, {parts} to each octave of {start} + y, but 0 the first",
        exact=exact,
        intervals=((0.0, spans[0][1]), *(((low + high) / 2, (high - low) / 2) for low, high in spans[1:])),
        degree=degree,
        bits=24,
        root=root,
    )


PIECES: list[Pieces | Admissible] = [
    erfcx("erfcx", 2.0, 30.0, 13, pairs=4),
    erfcx("erfcx_single_rough", 1.0, 11.0, 2, bits=24),
    erfcx("erfcx_single_half", 1.0, 11.0, 3, bits=24),
    erfcx("erfcx_single_fast", 1.0, 11.0, 5, pairs=1, bits=24),
    erfcx("erfcx_double_fast", 2.0, 30.0, 11, pairs=1),
    normal_tail("normal_single_rough", 3, octaves(1.0, NORMAL_END, 4)),
    Pieces(
        "normal_single_half",
        "Phi(-y), y = 3 j/16 + h",
        "|h| <= 3/32, j = 0 .. 31; relative to 2^-16 + Phi(-y)",
        exact=normal,
        intervals=tuple((j * PRODUCT_STEP, PRODUCT_STEP / 2) for j in range(32)),
        degree=4,
        bits=24,
        scale=lambda y: normal(y) + NORMAL_FEW,
    ),
    Admissible(
        "gelu_single_bfloat",
        "Phi(-y) = P(y)^16, as far as bfloat16 shows",
        "|y - 0.432 j| <= 0.216, j = 0 .. 31",
        exact=normal,
        dtype="bfloat16",
        step=BFLOAT_STEP,
        reach=BFLOAT_REACH,
        degree=2,
        power=16,
        normal=12.84375,
        absolute=True,
    ),
    Admissible(
        "gelu_single_half",
        "Phi(-y) = P(y - j/4)^2, as far as float16 shows",
        "|y - j/4| <= 1/8, j = 0 .. 23",
        exact=normal,
        dtype="float16",
        step=HALF_STEP,
        reach=HALF_REACH,
        degree=3,
        power=2,
        normal=4.1875,
    ),
    times_normal_tail("normal_single", 5, 1.078125, 14.4),
    normal_tail("normal_single_pair", 7, short_numbers(1.0, NORMAL_PAIR_END), pairs=3),
    saturating("tanh_intervals_single_rough", "tanh", lambda y: y.tanh(), 0.625, 3, 0),
    saturating("tanh_intervals_single_half", "tanh", lambda y: y.tanh(), 0.625, 3, 0, 8),
    saturating("tanh_intervals_single_fast", "tanh", lambda y: y.tanh(), 0.625, 5, 0),
    saturating("erf_intervals_single_fast", "erf", lambda y: y.erf(), 0.3125, 5, 1),
    Pieces(
        "erf_double_fast",
        "erf(y), y = 25075 j/65536 + h",
        "|h| <= 25075/131072, j = 0 .. 15, of a root at 0",
        exact=lambda y: y.erf(),
        intervals=tuple((j * ERF_LUCKY_STEP, ERF_LUCKY_STEP / 2) for j in range(16)),
        degree=12,
        root=0,
    ),
    Pieces(
        "erf",
        "erf(y)/y, y = 49 j/256 + h",
        "|h| <= 49/512, j = 0 .. 31",
        exact=erf_over,
        intervals=tuple((j * ERF_STEP, ERF_STEP / 2) for j in range(32)),
        degree=11,
        pairs=3,
    ),
]
