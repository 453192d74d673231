"""Functions tabulated by tangents: on each interval a line that touches the function, in float32, and a curve.

Next to the middle of an interval there are numbers c at which both the function and its slope are float32 but for a
small part of a last place: the line T + S h, h = y - c, then has one word to each coefficient. What it lacks is
h^2 (C_0 + C_1 h + ...), the curve.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import floor, log2

import numpy as np
from flint import arb
from pieces import POINTS, scaled_normal
from remez import Coefficient, Grid, Problem, expansion, midpoint, minimax, rounded, stated

BITS = 24
UNIT = 2.0**-BITS
"""What a float32 is rounded by at most, relative to itself."""
GRANTED = 0.9
"""Error of the curve, in units of it, that is no part of what a row says besides."""
NOTHING = 2.0**-14
"""An error of so many units of the function counts as much as one unit of the curve."""
SPAN, WIDE_SPAN = 0.5, 0.7
"""The part of an interval in which c is looked for."""
MOST, BEST = 2**20, 8
"""How many numbers are looked at, and how many of them closely."""
FAR = 2.0, 2**22
"""The same part, and how many numbers, where c that do are so few that one outside the interval is better."""
GRANTED_IN_ALL = 2
"""Units of the curve that its error and roundings are granted."""
ROUNDINGS = 3
"""Units of the curve that computing it takes, for what it costs that c is not in the middle."""
NEXT_TO_NOTHING = 2.0**-80
"""Where quotients have their limit."""
BESIDES = 2.0**-41
"""What T may lack, relative to c."""
POWERS = 13
"""Of Taylor's series next to the middle."""


@dataclass(frozen=True)
class Tangents:
    """`exact` at c + h as T + S h + h^2 (C_0 + C_1 h + ...) on the intervals between `edges`. Rows are c, T, S, the C
    and the error that there may be besides that of the curve, in what that is counted in. If the function is odd, the
    first c is 0, and its slope there is 1; if it is even, the first c is like others, but its slope is next to nothing.
    """

    name: str
    formula: str
    domain: str
    exact: Callable[[arb], arb]
    terms: Callable[[float, int], list[arb]]  # so many of Taylor's coefficients at a number
    edges: tuple[float, ...]
    degree: int
    odd: bool = True
    span: float = SPAN
    most: int = MOST

    def rows(self) -> tuple[list[tuple[Coefficient, ...]], float]:
        """The rows, and log2 of the largest error besides, relative to the function."""
        found = [self.row(low, high) for low, high in pairwise(self.edges)]
        return [row for row, _ in found], stated(max(error for _, error in found))

    def row(self, low: float, high: float) -> tuple[tuple[Coefficient, ...], float]:
        through_zero = self.odd and not low
        c = 0.0 if through_zero else self.centre(low, high)
        true, true_slope = self.terms(c, 2)
        curve = [0.0] if through_zero else []

        def exact(h: arb) -> arb:
            rest = (self.exact(c + h) - true - true_slope * h) / (h * h)
            return rest / h if through_zero else rest

        def scale(h: arb) -> arb:
            """Next to c an error of the curve is nothing to the function."""
            return abs(exact(h)) + (0 if through_zero else true * NOTHING / (h * h))

        grid, fitted = Grid(Problem(low - c, high - c, exact, lambda h, p: p, scale), POINTS), []
        last = self.degree - 2 - len(curve)
        for k in range(last + 1):
            best, _ = minimax(grid, [arb(x) for x in fitted], last)
            fitted.append(rounded(best[k], BITS))
        row = (c, rounded(true, BITS), rounded(true_slope, BITS), *curve, *fitted)
        besides, relative = self.besides(low, high, row)
        return (*row, besides), relative

    def besides(self, low: float, high: float, row: tuple[float, ...]) -> tuple[float, float]:
        """By how much the error exceeds what the curve is granted, rounded up, with such a sign that adding it to h^2
        times the curve makes that larger; and relative to the function."""
        c, value, slope, *curve = (arb(x) for x in row)
        problem = Problem(low - row[0], high - row[0], self.exact, lambda h, p: p, self.exact)
        largest, relative, points, bends = 0.0, UNIT**2, 4 * POINTS, [0.0]
        for place in range(points + 1):
            h, bend = problem.point(place / points), arb(0)
            true = self.exact(c + h)
            for x in reversed(curve):
                bend = bend * h + x
            # Where the curve is smaller than its terms are, their roundings are not those of the curve.
            rounding = UNIT * h * h * max(arb(0), abs(bend - curve[0]) - abs(bend))
            bend = bend * h * h
            bends.append(float(bend.mid()))
            over = abs(value + slope * h + bend - true) - GRANTED * UNIT * abs(bend) + rounding
            largest, relative = max(largest, float(over.mid())), max(relative, float((over / true).mid()))
        # Between the points it is hardly larger.
        size = largest * 1.01 / (GRANTED_IN_ALL * UNIT)
        if min(bends) < 0.0 < max(bends):
            size += 2 * max(max(bends), -min(bends))
        up = rounded(arb(size), 8)
        return up if min(bends) >= 0.0 < max(bends) else -up, relative * 1.01

    def centre(self, low: float, high: float) -> float:
        """A float32 next to the middle; a float32 of the interval less that number is one, too."""
        step = 2.0 ** (floor(log2(high * (1 - UNIT))) - BITS + 1)
        middle, count = round((low + high) / 2 / step), min(int((high - low) * self.span / 2 / step), self.most // 2)
        # In float64, by additions and multiplications, which give the same numbers everywhere.
        terms = [float(x.mid()) for x in self.terms(middle * step, POWERS + 2)]
        d, values, slopes = np.arange(-count, count + 1) * step, 0.0, 0.0
        for k in reversed(range(POWERS + 1)):
            values, slopes = values * d + terms[k], slopes * d + terms[k + 1] * (k + 1)
        misses = (x - x.astype(np.float32) for x in (values, slopes))
        places = np.argsort(self.missed(middle * step, *misses, d, terms[2]), kind="stable")[:BEST]

        def closely(c: float) -> float:
            misses = (midpoint(x) - midpoint(arb(rounded(x, BITS))) for x in self.terms(c, 2))
            return float(self.missed(middle * step, *map(float, misses), c - middle * step, terms[2]))

        return min((middle * step + float(d[place]) for place in places), key=closely)

    def missed(self, middle, value, slope, distance, bend):
        """What is lost by what T and S lack and by a distance from the middle; S h matters where it exceeds a unit of
        the curve."""
        bend = abs(bend) * UNIT
        return abs(value) + slope * slope / (4 * bend) + ROUNDINGS * bend * distance * distance


@dataclass(frozen=True)
class Joined:
    """Tangents of several functions, each on intervals of its own."""

    name: str
    formula: str
    domain: str
    parts: tuple[Tangents, ...]

    @property
    def degree(self) -> int:
        return self.parts[0].degree

    def rows(self) -> tuple[list[tuple[Coefficient, ...]], float]:
        found = [part.rows() for part in self.parts]
        return [row for rows, _ in found for row in rows], max(error for _, error in found)


@dataclass(frozen=True)
class Leaning(Tangents):
    """The same for a function that is below its tangents: rows are c, T, S and the C. What they make is less than the
    function by half of so many units of the curve, so that roundings may make it less by that many, but not more than
    the function. With slopes in ``two`` words c is chosen for the sake of T only."""

    lean: float = 0.0
    two: bool = False

    def row(self, low: float, high: float) -> tuple[tuple[Coefficient, ...], float]:
        c = 0.0 if low <= 0.0 else self.centre(low, high)
        true, true_slope = self.terms(c, 2)
        curve = [] if c or not self.odd else [0.0]
        # Next to 0 only the line counts.
        slopes = expansion(true_slope if c else true_slope * (1 - BESIDES / 8), (BITS, BITS)[: 1 + self.two])

        def exact(h: arb) -> arb:
            rest = (self.exact(c + h) - true - true_slope * h) / (h * h) * (1 + self.lean / 2 * UNIT)
            return rest / h if curve else rest

        problem = Problem(low - c if c else 0.0, high - c, exact, lambda h, p: p, lambda h: abs(exact(h)))
        grid, fitted = Grid(problem, POINTS), []
        last = self.degree - 2 - len(curve)
        for k in range(last + 1):
            best, _ = minimax(grid, [arb(x) for x in fitted], last)
            fitted.append(rounded(best[k], BITS))
        line = (c, rounded(true, BITS), *slopes)
        return (*line, *curve, *fitted), self.beyond(problem, line, (*curve, *fitted))

    def beyond(self, problem: Problem, line: tuple[float, ...], curve: tuple[float, ...]) -> float:
        """The part of the function by which it is not within what is said of the curve."""
        c, value, *slopes = map(arb, line)
        largest, points = UNIT**2, 4 * POINTS
        for place in range(points + 1):
            h, bend = problem.point(place / points), arb(0)
            for x in reversed(curve):
                bend = bend * h + x
            bend = bend * h * h
            true = self.exact(c + h)
            less = true - (value + sum(slopes, arb(0)) * h + bend)
            assert bend < 0
            largest = max(largest, float((-less / true).mid()), float(((less + bend * self.lean * UNIT) / true).mid()))
        return largest

    def missed(self, middle, value, slope, distance, bend):
        """In two words, c next to the middle where T is hardly below the function."""
        if not self.two:
            return super().missed(middle, value, slope, distance, bend)
        return np.where((value < 0) | (value > BESIDES * middle), 1.0, abs(distance))


def tanh_terms(c: float, count: int) -> list[arb]:
    """From t' = 1 - t^2."""
    found = [arb(c).tanh()]
    for k in range(count - 1):
        square = sum((found[i] * found[k - i] for i in range(k + 1)), arb(0))
        found.append(((0 if k else 1) - square) / (k + 1))
    return found


def erf_terms(c: float, count: int) -> list[arb]:
    """From e' = -2 y e, e = exp(-y^2)."""
    found = [2 * (-arb(c) ** 2).exp() / arb.pi().sqrt()]
    for k in range(count):
        found.append(-2 * (c * found[k] + (found[k - 1] if k else 0)) / (k + 1))
    return [arb(c).erf(), *(found[k] / (k + 1) for k in range(count - 1))]


def normal_terms(c: float, count: int) -> list[arb]:
    """y times g, g' = y g - 1/sqrt(2 pi)."""
    c = arb(c)
    found = [scaled_normal(c)]
    for k in range(count):
        less = 0 if k else 1 / (2 * arb.pi()).sqrt()
        found.append((c * found[k] + (found[k - 1] if k else 0) - less) / (k + 1))
    return [c * found[k] + (found[k - 1] if k else 0) for k in range(count)]


def shrunk_terms(c: float, count: int) -> list[arb]:
    """y - tanh y."""
    return [(arb(c) if not k else arb(k == 1)) - x for k, x in enumerate(tanh_terms(c, count))]


def over_cube(y: arb) -> arb:
    """(y - tanh y)/y^3."""
    return (y - y.tanh()) / y**3 if y > NEXT_TO_NOTHING else arb(1) / 3


def over_cube_terms(c: float, count: int) -> list[arb]:
    """From what Taylor's coefficients times those of y^3 give."""
    rest = shrunk_terms(c, count)
    cube, found = (arb(c) ** 3, 3 * arb(c) ** 2, 3 * arb(c), arb(1)), []
    for k, x in enumerate(rest):
        found.append((x - sum((cube[i] * found[k - i] for i in range(1, min(k, 3) + 1)), arb(0))) / cube[0])
    return found


def octaves(start: float, end: float, parts: int = 8) -> tuple[float, ...]:
    """Where intervals meet, so many of which go to each octave of start + y, from y = 0 to the end."""
    sums = [2.0**octave * (1 + part / parts) for octave in range(-2, 5) for part in range(parts)]
    return (0.0, *(total - start for total in sums if start < total < start + end), end)


SHRINKING = octaves(0.65625, 9.0625)[:-1]
CUBES = SHRINKING.index(1.59375)
"""How many intervals are those of the quotient by a cube."""

TANGENTS = [
    Tangents(
        "tanh_tangents",
        "tanh(c_j + h) = T_j + S_j h + h^2 C_j(h)",
        "32 intervals, 8 to each octave of 21/32 + y, the last one up to y = 9.5",
        exact=lambda y: y.tanh(),
        terms=tanh_terms,
        edges=(*SHRINKING, 9.5),
        degree=6,
    ),
    Joined(
        "tanhshrink_tangents",
        "(y - tanh(y))/y^3, then y - tanh(y), = T_j + S_j h + h^2 C_j(h), y = c_j + h",
        "quotients up to y = 1.59375",
        (
            Tangents("", "", "", over_cube, over_cube_terms, SHRINKING[: CUBES + 1], 6, odd=False),
            Tangents("", "", "", lambda y: y - y.tanh(), shrunk_terms, SHRINKING[CUBES:], 6, False, *FAR),
        ),
    ),
    Leaning(
        "erf_tangents",
        "erf(c_j + h) = T_j + S_j h + h^2 C_j(h)",
        "32 intervals, those of j/8 + h, |h| <= 1/16",
        exact=lambda y: y.erf(),
        terms=erf_terms,
        edges=(*((2 * j - 1) / 16 for j in range(32)), 3.93359375),
        degree=6,
        span=WIDE_SPAN,
        lean=9.0,
        two=True,
    ),
    Leaning(
        "normal_tangents",
        "y exp(y^2/2) Phi(-y) = T_j + S_j h + h^2 C_j(h), y = c_j + h",
        "8 intervals to each octave of 27/32 + y up to 13",
        exact=lambda y: y * scaled_normal(y),
        terms=normal_terms,
        edges=octaves(0.84375, 12.15625),
        degree=6,
        odd=False,
        lean=4.0,
    ),
]
