"""Minimax polynomials with coefficients in a working format, by Remez exchange in arbitrary precision.

The approximation sought is linear in a polynomial p: value(t, p) stands for the function exact(t) on an interval,
for instance value = 1 + t p for exp t. Its weighted error is

    (value(t, p(t)) - exact(t)) / scale(t)  =  w(t) (p(t) - target(t))

with w and target found from value(t, 0) and value(t, 1). Everything happens on a fixed Chebyshev grid and in
flint's software arithmetic, so that the same coefficients come out on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, inf, log2

import flint
from flint import arb, arb_mat, arb_poly

PRECISION = 400  # bits
flint.ctx.prec = PRECISION

POINTS = 600  # even: a symmetric interval then has no point at 0, where target(t) is 0/0
# A coefficient of a "pair" table is given in two parts while its plain rounding could cost more than 2^-70.
PAIR_CONTRIBUTION = 2.0**-16

Coefficient = float | tuple[float, float]


def midpoint(x: arb) -> Fraction:
    """The centre of the ball, exactly."""
    mantissa, exponent = x.mid().man_exp()
    return Fraction(int(mantissa)) * Fraction(2) ** int(exponent)


NOTHING = Fraction(1, 2**149)


def rounded(x: arb | Fraction, bits: int) -> float:
    """x to the nearest number of at most 53 `bits`, ties to even. No table comes near the limits of exponents, but for
    what fits make of a coefficient that is 0: in float32 it is that."""
    x = midpoint(x) if isinstance(x, arb) else x
    if x == 0 or (bits <= 24 and abs(x) < NOTHING):
        return 0.0
    exponent = abs(x.numerator).bit_length() - x.denominator.bit_length()
    step = Fraction(2) ** (exponent - bits)
    if abs(x) >= 2**bits * step:  # bit lengths give the exponent or one less
        step *= 2
    return float(round(x / step) * step)


def expansion(x: arb, bits: tuple[int, ...]) -> tuple[float, ...]:
    """x as an unevaluated sum: each part is the rounding of what the parts before it leave."""
    rest, parts = midpoint(x), []
    for width in bits:
        parts.append(rounded(rest, width))
        rest -= Fraction(parts[-1])
    return tuple(parts)


def total(c: Coefficient) -> arb:
    return arb(c[0]) + arb(c[1]) if isinstance(c, tuple) else arb(c)


@dataclass(frozen=True)
class Problem:
    """What is approximated where: all that Remez needs to know about a function."""

    low: float
    high: float
    exact: Callable[[arb], arb]
    value: Callable[[arb, arb | int], arb]
    scale: Callable[[arb], arb]

    def at(self, t: arb) -> tuple[arb, arb]:
        """(target, weight) of p at t."""
        base = self.value(t, 0)
        slope = self.value(t, 1) - base
        exact = self.exact(t)
        return ((exact - base) / slope).mid(), (slope / self.scale(t)).mid()

    def point(self, angle: float) -> arb:
        """The Chebyshev point that `angle` in [0, 1] names, from high to low; 0 is moved aside (a removable 0/0)."""
        middle, radius = (arb(self.high) + arb(self.low)) / 2, (arb(self.high) - arb(self.low)) / 2
        t = (middle + radius * arb.cos_pi(arb(angle))).mid()
        nearest_allowed = (radius * arb(2) ** -40).mid()
        return t if abs(t) > nearest_allowed else nearest_allowed

    def error(self, p: arb_poly, t: arb) -> float:
        target, weight = self.at(t)
        return abs(float((weight * (p(t) - target)).mid()))


class Grid:
    """The problem tabulated once, for all the refits."""

    def __init__(self, problem: Problem, points: int = POINTS):
        self.problem = problem
        self.angles = [j / (points - 1) for j in range(points)]
        self.t = [problem.point(angle) for angle in self.angles]
        self.target, weight = zip(*map(problem.at, self.t), strict=True)
        self.weight = [abs(w) for w in weight]

    def errors(self, p: arb_poly, weight: list[arb]) -> list[float]:
        rows = zip(weight, self.t, self.target, strict=True)
        return [float((w * (p(t) - f)).mid()) for w, t, f in rows]


def alternation(errors: list[float], size: int) -> list[int]:
    """Indices of `size` extrema of alternating sign that contain the largest."""
    extrema: list[int] = []
    for i, e in enumerate(errors):
        if extrema and (errors[extrema[-1]] < 0) == (e < 0):
            if abs(e) > abs(errors[extrema[-1]]):
                extrema[-1] = i
        else:
            extrema.append(i)
    while len(extrema) > size:
        if len(extrema) == size + 1:  # only an end can go without breaking the alternation
            del extrema[0 if abs(errors[extrema[0]]) < abs(errors[extrema[-1]]) else -1]
            continue
        least = min(range(len(extrema)), key=lambda k: abs(errors[extrema[k]]))
        del extrema[least]
        if 0 < least < len(extrema):  # its two neighbours have one sign: the smaller goes too
            left, right = least - 1, least
            del extrema[left if abs(errors[extrema[left]]) < abs(errors[extrema[right]]) else right]
    if len(extrema) < size:
        raise ArithmeticError("Remez lost the alternation: the weighted monomials are no Haar system here")
    return extrema


def minimax(grid: Grid, prefix: list[arb], degree: int) -> tuple[list[arb], float]:
    """All coefficients of the best p that starts with `prefix`, and the largest weighted error on the grid."""
    first = len(prefix)
    if first > degree:
        p = arb_poly(prefix)
        return prefix, max(map(abs, grid.errors(p, grid.weight)))
    # The free part is t^first times a polynomial; the sign of t^first joins the weight, so that signs alternate.
    weight = [-w if first % 2 and t < 0 else w for w, t in zip(grid.weight, grid.t, strict=True)]
    start, size = arb_poly(prefix), degree - first + 2
    last = len(grid.t) - 1
    reference = [round((j + 0.5) / size * last) for j in range(size)]
    for _ in range(60):
        rows, right = [], []
        for j, i in enumerate(reference):
            rows.append([weight[i] * grid.t[i] ** k for k in range(first, degree + 1)] + [arb((-1) ** j)])
            right.append([weight[i] * (grid.target[i] - start(grid.t[i]))])
        solution = [x.mid() for x in arb_mat(rows).solve(arb_mat(right)).entries()]
        coefficients, level = prefix + solution[:-1], abs(float(solution[-1]))
        errors = grid.errors(arb_poly(coefficients), weight)
        largest = max(map(abs, errors))
        if largest <= level * (1 + 1e-9):
            return coefficients, largest
        reference = alternation(errors, size)
    raise ArithmeticError("Remez did not converge")


def measured(problem: Problem, coefficients: tuple[Coefficient, ...], points: int = 2 * POINTS) -> float:
    """The largest weighted error: over a dense grid, each local maximum refined by a parabola."""
    grid = Grid(problem, points)
    p = arb_poly([total(c) for c in coefficients])
    e = [abs(x) for x in grid.errors(p, grid.weight)]
    largest = max(e)
    for i in range(1, points - 1):
        if e[i - 1] <= e[i] >= e[i + 1] and e[i] > 0.9 * largest:
            bend = e[i - 1] - 2 * e[i] + e[i + 1]
            shift = (e[i - 1] - e[i + 1]) / (2 * bend) if bend else 0.0
            largest = max(largest, problem.error(p, problem.point((i + shift) / (points - 1))))
    return largest


def stated(error: float) -> float:
    """log2 of an error, rounded up in the second decimal after a margin for the grid."""
    return ceil((log2(error) + 1e-4) * 100) / 100 if error else float(-PRECISION)


def fit_degree(
    grid: Grid, fixed: tuple[float, ...], degree: int, bits: int, pairs: int | None
) -> tuple[Coefficient, ...]:
    """Round the lowest free coefficient, refit the others around it, and so on upwards.

    `pairs` is None for a table of plain numbers; otherwise it is how many coefficients beyond those that
    PAIR_CONTRIBUTION asks for are given as (high, low).
    """
    done: list[Coefficient] = [(c, 0.0) if pairs is not None else c for c in fixed]
    for k in range(len(fixed), degree + 1):
        best, _ = minimax(grid, [total(c) for c in done], degree)
        part = max(float(abs(w * best[k] * t**k).mid()) for w, t in zip(grid.weight, grid.t, strict=True))
        as_pair = pairs is not None and all(isinstance(c, tuple) for c in done)
        if as_pair and part < PAIR_CONTRIBUTION:
            as_pair, pairs = pairs > 0, pairs - 1
        done.append(expansion(best[k], (bits, bits)) if as_pair else rounded(best[k], bits))
    return tuple(done)


def shortest_fit(
    problem: Problem, target: float, bits: int, fixed: tuple[float, ...] = (), pair: bool = False
) -> tuple[tuple[Coefficient, ...], float]:
    """The shortest table whose error is at most 2^target, and log2 of the error it reaches."""
    grid = Grid(problem)
    prefix = [arb(c) for c in fixed]
    reached = inf
    for degree in range(max(len(fixed) - 1, 0), 40):
        if log2(minimax(grid, prefix, degree)[1]) > target:
            continue
        for pairs in (0, 1, 2) if pair else (None,):
            coefficients = fit_degree(grid, fixed, degree, bits, pairs)
            reached = stated(measured(problem, coefficients))
            if reached <= target:
                return coefficients, reached
    raise ArithmeticError(f"2^{target} is out of reach of {bits}-bit coefficients (last reached: 2^{reached})")


def shortest_rounded(problem: Problem, target: float, bits: int) -> tuple[tuple[Coefficient, ...], float]:
    """As `shortest_fit`, the coefficients of the best polynomial rounded without refitting."""
    grid = Grid(problem)
    reached = inf
    for degree in range(40):
        best, error = minimax(grid, [], degree)
        if log2(error) > target:
            continue
        coefficients = tuple(rounded(c, bits) for c in best)
        reached = stated(measured(problem, coefficients))
        if reached <= target:
            return coefficients, reached
    raise ArithmeticError(f"2^{target} is out of reach of {bits}-bit coefficients (last reached: 2^{reached})")
