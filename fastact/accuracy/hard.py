"""Inputs that are hard to round, searched for: those whose results lie next to a boundary between two roundings.

Along a run of consecutive floats a smooth function, counted in ULPs of its result, is a quadratic polynomial in the
number of the step, up to far less than what matters. So only its fraction is of interest, and that is stepped in
64-bit words whose overflow drops the whole part: f(x + k ulp)/ulp(f) = c0 + c1 k + c2 k^2 modulo 1, the coefficients
from ball arithmetic. This is the tabulated polynomial of Lefevre and Muller's searches for worst cases, "Worst cases
for correct rounding of the elementary functions in double precision" (ARITH 2001), without their lower bounds: it finds
hard inputs, but proves nothing of those that it passes over. Two further points tell whether the polynomial holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastact.accuracy.balls import Undecided, arb
from fastact.accuracy.case import Case
from fastact.accuracy.samples import stratified
from fastact.accuracy.ulp import Floats, from_ordinal, ordinal, ulp

HALF = 1 << 15
"""Steps of a run on each side of its middle."""
RUNS = 1 << 12
KEPT = 2000
"""Inputs that are kept, the hardest ones."""
KEPT_OF_RUN = 8
NEAR = 2.0**-9
"""Hard is what lies within so many ULPs of a boundary: within 2^-62 of the result, relative to it."""
PRECISION = 192
"""Bits of the balls; 53 of them stand for whole ULPs."""
HELD = 96
"""Bits after the point in which they are subtracted from each other."""
CONTROLS = (-18_919, 18_919)
"""Steps near HALF/sqrt(3), where a third power would show most."""
TRUSTED = 1 << 33
"""2^-31 ULP in words: how far the polynomial may be off there."""


@dataclass(frozen=True)
class Hard:
    """What has been found.

    Attributes:
        x: the hardest inputs first, at most KEPT of them, all within NEAR of a boundary.
        stepped: number of inputs looked at.
        found: how many of these are within NEAR of a boundary.
    """

    x: Floats
    stepped: int
    found: int


def search(case: Case, seed: int = 0, runs: int = RUNS, still: Callable[[], None] = lambda: None) -> Hard:
    """The hardest inputs in ``runs`` runs of 2 HALF floats each, for a form of float64; ``still`` is called now and
    then."""
    steps = np.arange(-HALF, HALF, dtype=np.int64)
    inputs, distances = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.uint64)]
    stepped = found = 0
    near = np.uint64(NEAR * 2.0**64)
    middles = np.unique(_middles(case, runs, seed))
    for place, middle in enumerate(middles):
        coefficients = _polynomial(case, int(middle))
        if coefficients is not None:
            distance = _distances(coefficients, steps)
            hardest = np.argpartition(distance, KEPT_OF_RUN)[:KEPT_OF_RUN]
            inputs.append(middle + steps[hardest])
            distances.append(distance[hardest])
            stepped += steps.size
            found += int(np.count_nonzero(distance < near))
        if place % 64 == 0:
            still()
    places, first = np.unique(np.concatenate(inputs), return_index=True)
    distance = np.concatenate(distances)[first]
    order = np.argsort(distance, kind="stable")[:KEPT]
    return Hard(from_ordinal(places[order][distance[order] < near], "float64"), stepped, found)


def _middles(case: Case, runs: int, seed: int) -> NDArray[np.int64]:
    """Where runs have their middles: a quarter of them anywhere and next to the points of interest, the others where
    functions do their work; each run within one binade, where floats have equal distances."""
    low, high = case.declaration.domain
    random = np.random.default_rng([seed, runs])
    anywhere = stratified("float64", runs // 4, seed, case.declaration.critical, (low, high))
    half = (runs - runs // 4) // 2
    signs = random.choice([-1.0, 1.0], half)
    drawn = [random.uniform(-20.0, 20.0, half), np.exp2(random.uniform(-27.0, 10.0, half)) * signs]
    x = np.concatenate([anywhere, *drawn])
    x = x[(x > low) & (x < high)]
    places = ordinal(x)
    within = np.clip(np.abs(places) & ((1 << 52) - 1), HALF, (1 << 52) - HALF - 1)
    return np.sign(places) * ((np.abs(places) & ~np.int64((1 << 52) - 1)) + within)


def _polynomial(case: Case, middle: int) -> tuple[int, int, int] | None:
    """c0, c1 and c2 in units of 2^-64; None where the function is no such polynomial in this run."""
    places = np.array([middle - HALF, middle, middle + HALF, *(middle + k for k in CONTROLS)])
    values = _values(case, from_ordinal(places, "float64"))
    if values is None:
        return None
    before, here, after, *controls = values
    # Round to the nearest; the points are HALF = 2^15 steps away.
    c0 = here >> (HELD - 64)
    c1 = _shifted(after - before, HELD - 64 + 16)
    c2 = _shifted(after - 2 * here + before, HELD - 64 + 31)
    for k, value in zip(CONTROLS, controls, strict=True):
        if abs(c0 + k * (c1 + k * c2) - (value >> (HELD - 64))) > TRUSTED:
            return None
    return c0, c1, c2


def _shifted(value: int, bits: int) -> int:
    return (value + (1 << (bits - 1))) >> bits


def _values(case: Case, x: Floats) -> list[int] | None:
    """The true values in ULPs, in units of 2^-HELD; None if some are no numbers or have ULPs of their own."""
    found, units = [], set()
    for point in x.tolist():
        try:
            ball = _ball(case, point)
        except (Undecided, ArithmeticError):
            return None
        if not ball.is_finite() or not (abs(float(ball)) < 2.0**1023):
            return None
        man, exp = (int(part) for part in ball.mid().man_exp())
        unit = _unit_exponent(float(ball))
        units.add(unit)
        shift = exp - unit + HELD
        found.append(man << shift if shift >= 0 else man >> -shift)
    return found if len(units) == 1 else None


def _ball(case: Case, x: float) -> arb:
    if case.wrt is None:
        return case.oracle.value(x, *case.parameters, precision=PRECISION)
    return case.oracle.derivative(x, *case.parameters, wrt=case.wrt, precision=PRECISION)


def _unit_exponent(value: float) -> int:
    """The exponent of the ULP of a result."""
    return int(np.frexp(ulp(value, "float64"))[1]) - 1


def _distances(coefficients: tuple[int, int, int], steps: NDArray[np.int64]) -> NDArray[np.uint64]:
    """How far from one half the fractions are, in units of 2^-64."""
    c0, c1, c2 = (np.uint64(c % (1 << 64)) for c in coefficients)
    k = steps.view(np.uint64)
    fraction = c0 + k * (c1 + k * c2)
    above = fraction - np.uint64(1 << 63)
    return np.minimum(above, -above)
