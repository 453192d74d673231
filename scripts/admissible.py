"""Polynomials on intervals for results of 16 bits, of which few numbers lie on an interval.

What matters is not how near a polynomial is to its function everywhere, but that results are rounded as they should be:
of every number of the dtype on an interval it is known between which values the polynomial may lie there, and that
leaves a linear program. The polynomial that is farthest from all of these ends is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import floor, frexp, ldexp

import numpy as np
from flint import arb
from remez import Coefficient, rounded, stated
from scipy.optimize import linprog

UNITS = 0.508
"""How far in units of the last place a result may be from what it is rounded to: a little less than the contract."""
FORMATS = {"float16": (11, -14), "bfloat16": (8, -126)}
"""Bits of the significand, and the least exponent of normal numbers."""
TINY = -24
"""The exponent of the smallest numbers that are looked at: below, functions are what they are at 0."""
POINTS = 40
"""Of half an interval, where errors are told."""
SCALE = 2.0**14
"""Of what is added to the polynomial that is nearest to the root: next to that the solver's tolerance is nothing."""


@dataclass(frozen=True)
class Admissible:
    """Rows of a polynomial of h = y - centre, or of y itself if `absolute`, whose `power` is `exact`: multiplied by y,
    and subtracted from max(x, 0), it is to give results that are right for x = y and x = -y."""

    name: str
    formula: str
    domain: str
    exact: Callable[[arb], arb]
    dtype: str
    step: float
    reach: float
    degree: int
    power: int
    normal: float  # up to here results are normal numbers
    absolute: bool = False

    def rows(self) -> tuple[list[tuple[Coefficient, ...]], float]:
        """The rows, and log2 of the largest relative error where results are normal numbers."""
        places: dict[int, list[float]] = {}
        for y in self.numbers():
            places.setdefault(round(y / self.step), []).append(y)
        rows, largest = [], 0.0
        for j in sorted(places):
            row = self.row(j, np.array(places[j]))
            rows.append(row)
            largest = max(largest, *(self.error(row, j, k / POINTS) for k in range(-POINTS, POINTS + 1)))
        return rows, stated(largest)

    def numbers(self) -> list[float]:
        """The positive numbers of the dtype up to the reach that matter."""
        bits, _ = FORMATS[self.dtype]
        found = [ldexp(m, e - bits + 1) for e in range(TINY, 8) for m in range(1 << (bits - 1), 1 << bits)]
        return [y for y in found if y <= self.reach]

    def row(self, j: int, y: np.ndarray) -> tuple[Coefficient, ...]:
        """The coefficients for one interval, as floats."""
        root = np.array([float(self.exact(arb(v)).root(self.power).mid()) for v in y])
        ends = np.array([self.ends(v, float(self.exact(arb(v)).mid())) for v in y]) / y[:, None]
        low, high = (np.maximum(ends.T, 0.0) ** (1.0 / self.power)) / root
        half = self.step / 2
        basis = np.vander((y - j * self.step) / half, self.degree + 1, increasing=True) / root[:, None]
        one = np.ones((len(y), 1))
        near = np.linalg.lstsq(basis, np.ones(len(y)), rcond=None)[0]
        matrix, bound = np.block([[basis, one], [-basis, one]]), np.r_[high - basis @ near, basis @ near - low]
        goal = np.r_[np.zeros(self.degree + 1), -1.0]
        found = linprog(goal, matrix, SCALE * bound, bounds=[(None, None)] * (self.degree + 2), method="highs")
        assert found.status == 0 and found.x[-1] > 0.0, (self.name, j, found.message)
        c = np.polynomial.Polynomial((near + found.x[:-1] / SCALE) / half ** np.arange(self.degree + 1))
        if self.absolute:
            c = c(np.polynomial.Polynomial([-j * self.step, 1.0]))
        return tuple(rounded(arb(float(v)), 24) for v in c.coef)

    def ends(self, y: float, exact: float) -> tuple[float, float]:
        """Between which values y times the power may lie."""
        below, above = self.admitted(y * exact)
        least, most = self.admitted(y - y * exact)
        return max(below, y - most), min(above, y - least)

    def admitted(self, value: float) -> tuple[float, float]:
        """Between which values a result may lie that is rounded within `UNITS`."""
        bits, least = FORMATS[self.dtype]
        unit = 2.0 ** (max(frexp(value)[1] - 1, least) - bits + 1)
        place = floor(value / unit)
        rest = value / unit - place
        first, last = place + (rest > UNITS), place + (1.0 - rest <= UNITS)
        return (first - 0.5) * unit, (last + 0.5) * unit

    def error(self, row: tuple[Coefficient, ...], j: int, part: float) -> float:
        """The relative error at a part of the interval's half, if results are normal numbers there."""
        y = min(max(j + part / 2, 0.0) * self.step, self.normal)
        h = y if self.absolute else y - j * self.step
        value = sum((arb(c) * arb(h) ** k for k, c in enumerate(row)), arb(0))  # type: ignore[arg-type]
        return abs(float((value / self.exact(arb(y)).root(self.power) - 1).mid())) if j * self.step <= y else 0.0
