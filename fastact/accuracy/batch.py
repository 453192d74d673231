"""The oracle's work on arrays: one pass at low precision over all elements, further passes over those left open.

Results are float64 arrays; those of a narrower format hold its numbers exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from fastact.accuracy.balls import Pole, Undecided, Undefined, arb, ctx
from fastact.accuracy.expansion import ExpansionProgram, round_expansion
from fastact.accuracy.limits import MOST_BITS, Limit, Program, below, enclose, limit, one_sided
from fastact.accuracy.ulp import Doubles, Format, is_midpoint, nearest, ulp

SIGN_BITS = 1 << 16
"""The precision beyond which the sign of a result that rounds to zero is no longer sought; it is then +0."""
EXPANSION_BITS = 1 << 10
"""The precision at which a rounding left open is looked at as an exact number with a rest."""
MARGIN = 26
"""Bits of the truth beyond the format's: errors in ULP are then right to 2^-25."""
_NOTHING = -(1 << 12)
"""Results certainly below 2 to this power count as 0."""
_NEAR_POWER = 1 << 12
"""Bits to which a truth is computed that may lie on either side of a power of two; if in doubt, it lies below."""

Indices = NDArray[np.intp]


class Batch:
    """One program (a value or a derivative) and the columns of its arguments, x first.

    The columns are float64, of one common length or of length 1. ``expansion`` is the same program for exact numbers
    with a rest, ``exactly`` that for columns, which tells rounded results of the elements that leave no error.
    """

    def __init__(
        self,
        program: Program,
        columns: list[Doubles],
        expansion: ExpansionProgram | None = None,
        exactly: Callable[[list[Doubles], Format], tuple[Doubles, NDArray[np.bool_]]] | None = None,
    ) -> None:
        self.program = program
        self.expansion = expansion
        self.exactly = exactly
        self.columns = columns
        self.length = max(column.size for column in columns)
        self.limits: dict[tuple[float, ...], Limit] = {}
        total = np.zeros(self.length)
        infinite = np.zeros(self.length, dtype=np.bool_)
        for column in columns:
            total = total + np.where(np.isnan(column), np.nan, 0.0)
            infinite |= np.isinf(column)
        self.ordinary: Indices = np.flatnonzero(~infinite & ~np.isnan(total))
        self.infinite: Indices = np.flatnonzero(infinite & ~np.isnan(total))

    def rounded(self, form: Format) -> Doubles:
        """Correctly rounded results."""
        result = np.full(self.length, np.nan)
        for i in self.infinite.tolist():
            result[i] = nearest(self._limit(i).number(), form)
        pending, precision, expanded = self._without_error(form, result), form.precision + 40, False
        while pending.size:
            lower, upper, missing = self._bounds(pending, precision, form)
            first, last = nearest(lower, form), nearest(upper, form)
            done = (first == last) & (np.signbit(first) == np.signbit(last))
            if precision >= SIGN_BITS:
                straddling = (first == 0) & (last == 0) & ~done
                first[straddling] = 0.0
                done |= straddling
            result[pending[done]] = first[done]
            pending = pending[~(done | missing)]
            precision = self._more(precision, pending)
            if not expanded:
                pending, expanded = self._expand(pending, form, result), True
        self._sign_zeros(result)
        return result

    def _without_error(self, form: Format, result: Doubles) -> Indices:
        """Settle results that arithmetic without error gives; returns the indices of the others that are ordinary."""
        if self.exactly is None or not self.ordinary.size:
            return self.ordinary
        found, known = self.exactly(self.columns, form)
        known = known[self.ordinary]
        settled = self.ordinary[known]
        result[settled] = found[settled]
        return self.ordinary[~known]

    def pair(self, bits: int, floor: int) -> tuple[Doubles, Doubles]:
        """Results as high + low of that many bits; those certainly within (-2^floor, 2^floor) may be 0."""
        high, low = np.full(self.length, np.nan), np.zeros(self.length)
        for i in self.infinite.tolist():
            high[i] = self._limit(i).number()
        pending, precision = self.ordinary, bits + 20
        while pending.size:
            pending = self._pairs(pending, precision, bits, floor, high, low)
            precision = self._more(precision, pending)
        self._sign_zeros(high)
        return high, low

    def ulp_error(self, form: Format, y: Doubles) -> Doubles:
        """|y - truth| in ULPs of the truth."""
        return self._errors(form, y, True)

    def relative_error(self, form: Format, y: Doubles) -> Doubles:
        """|y - truth| / |truth|."""
        return self._errors(form, y, False)

    def _errors(self, form: Format, y: Doubles, in_ulp: bool) -> Doubles:
        high, low = self.pair(form.precision + MARGIN, form.smallest_exponent - 40 if in_ulp else _NOTHING)
        size = np.abs(high)
        with np.errstate(all="ignore"):
            judged = np.where(np.isinf(y) & np.isfinite(high), np.copysign(np.ldexp(1.0, form.largest_exponent), y), y)
            difference = np.abs((judged - high) - low)
            beneath = (np.frexp(size)[0] == 0.5) & (low != 0) & (np.signbit(low) != np.signbit(high))
            unit = ulp(np.where(beneath, np.nextafter(high, 0.0), high), form) if in_ulp else size
            error = np.where(difference == 0, 0.0, difference / unit)
            # The ULP jumps at powers of two, the range of float64 ends: there ball arithmetic decides.
            power = np.ldexp(1.0, np.frexp(size * 1.25)[1] - 1)
            doubtful = (size >= 2.0**1022) | ((size < 2.0**-900) & (form.name == "float64" or not in_ulp))
            if in_ulp:
                doubtful |= (np.abs(size - power) < power * 2.0 ** -(form.precision + 20)) & (np.abs(y) != power)
        finite = np.zeros(self.length, dtype=np.bool_)
        finite[self.ordinary] = True
        for i in np.flatnonzero(doubtful & finite & np.isfinite(y)).tolist():
            error[i] = self._error(i, float(y[i]), form, in_ulp, float(error[i]))
        error[np.isnan(y) | np.isnan(high)] = np.inf
        with np.errstate(all="ignore"):
            error[np.isinf(y) & (nearest(high, form) == y)] = 0.0
        error[np.isnan(y) & np.isnan(high)] = 0.0
        return error

    def _error(self, i: int, y: float, form: Format, in_ulp: bool, at_limit: float) -> float:
        """One error, in ball arithmetic; ``at_limit`` where the truth is a limit."""
        bits, arguments = form.precision + MARGIN, self._balls(i)
        while True:
            try:
                truth = enclose(self.program, arguments, bits, _NOTHING)
            except (Pole, Undefined):
                return at_limit
            if below(truth, _NOTHING):
                truth = arb(0)
            least, most = _binade(truth.abs_lower()), _binade(truth.abs_upper())
            if least == most or not in_ulp or bits > _NEAR_POWER:
                break
            bits *= 2
        difference = abs(arb(y) - truth)
        if in_ulp:
            exponent = min(max(least, form.smallest_exponent + form.precision), form.largest_exponent)
            return float(difference * arb((1, form.precision - exponent)))
        return float(difference / abs(truth)) if not truth.is_zero() else math.inf if y else 0.0

    def _balls(self, i: int) -> tuple[arb, ...]:
        return tuple(arb(a) for a in self._point(i))

    def _point(self, i: int) -> tuple[float, ...]:
        return tuple(float(column[0] if column.size == 1 else column[i]) for column in self.columns)

    def _rows(self, indices: Indices) -> Iterator[tuple[arb, ...]]:
        """The arguments of the elements as exact balls."""
        streams: list[Iterator[arb]] = []
        for column in self.columns:
            if column.size == 1 and self.length > 1:
                streams.append(repeat(arb(float(column[0])), indices.size))
            else:
                streams.append(map(arb, column[indices].tolist()))
        return zip(*streams, strict=True)

    def _bounds(self, pending: Indices, precision: int, form: Format) -> tuple[Doubles, Doubles, NDArray[np.bool_]]:
        """Bounds of results, rounded to float64 in such a way that rounding them to ``form`` is right.

        NaN stands for bounds that are not known yet. The third array tells where there is no value at all.
        """
        program = self.program
        lower, upper, missing = [], [], np.zeros(pending.size, dtype=np.bool_)
        ctx.prec = precision
        for k, row in enumerate(self._rows(pending)):
            try:
                ball = program(row)
                lower.append(float(ball.lower()))
                upper.append(float(ball.upper()))
            except Undecided:
                lower.append(math.nan)
                upper.append(math.nan)
            except Undefined:
                missing[k] = True
                lower.append(math.nan)
                upper.append(math.nan)
            except Pole:
                number = self._limit(int(pending[k])).number()
                ctx.prec = precision
                missing[k] = math.isnan(number)
                lower.append(number)
                upper.append(number)
        least, most = np.array(lower), np.array(upper)
        for k in np.flatnonzero(is_midpoint(least, form) | is_midpoint(most, form)).tolist():
            ball = program(self._balls(int(pending[k])))
            least[k] = _beside(ball.lower(), least[k])
            most[k] = _beside(ball.upper(), most[k])
        return least, most, missing

    def _pairs(self, pending: Indices, precision: int, bits: int, floor: int, high: Doubles, low: Doubles) -> Indices:
        """One pass that sets high and low; returns the indices left open."""
        program = self.program
        places, highs, lows, left = [], [], [], []
        ctx.prec = precision
        for i, row in zip(pending.tolist(), self._rows(pending), strict=True):
            try:
                ball = program(row)
            except Undecided:
                left.append(i)
                continue
            except Undefined:
                continue
            except Pole:
                high[i] = self._limit(i).number()
                ctx.prec = precision
                continue
            if ball.rel_accuracy_bits() >= bits:
                number = float(ball)
                places.append(i)
                highs.append(number)
                lows.append(float(ball - number) if math.isfinite(number) else 0.0)
            elif below(ball, floor):
                places.append(i)
                highs.append(-0.0 if ball < 0 else 0.0)
                lows.append(0.0)
            else:
                left.append(i)
        high[places], low[places] = highs, lows
        return np.array(left, dtype=np.intp)

    def _expand(self, pending: Indices, form: Format, result: Doubles) -> Indices:
        """Settle results next to ties as exact numbers with a rest; returns the indices left open."""
        left = []
        ctx.prec = EXPANSION_BITS
        for i in pending.tolist():
            rounded = None
            if self.expansion is not None:
                rounded = round_expansion(self.expansion, tuple(Fraction(a) for a in self._point(i)), form)
            if rounded is None:
                left.append(i)
            else:
                result[i] = rounded
        return np.array(left, dtype=np.intp)

    def _more(self, precision: int, pending: Indices) -> int:
        """The next precision, for elements left open."""
        if pending.size and precision >= MOST_BITS:
            point = self._point(int(pending[0]))
            raise Undecided(f"{MOST_BITS} bits do not decide the result at {point}", point=point)
        return min(2 * precision, MOST_BITS)

    def _limit(self, i: int) -> Limit:
        point = self._point(i)
        key = (*point, *(math.copysign(1.0, a) for a in point))
        if key not in self.limits:
            self.limits[key] = limit(self.program, point)
        return self.limits[key]

    def _sign_zeros(self, result: Doubles) -> None:
        """Give zeros at x = +-0 the sign of the function beside it, or that of x where it does not exist. Numbers that
        round to zero there, and zeros of functions that jump, keep theirs."""
        signs: dict[tuple[float, ...], float] = {}
        for i in np.flatnonzero((result == 0) & (self.columns[0] == 0)).tolist():
            point = self._point(i)
            side = math.copysign(1.0, point[0])
            key = (side, *point)
            if key not in signs and not any(math.isinf(a) for a in point):
                way = one_sided(self.program, point, side)
                beside = way.number() if way.ball == 0 else float(result[i])
                signs[key] = side if way.ball.is_nan() else math.copysign(1.0, beside)
            result[i] = math.copysign(0.0, signs.get(key, 1.0))


def _binade(size: arb) -> int:
    """The e with 2^(e-1) <= size < 2^e, for an exact size; far below everything for 0."""
    mantissa, exponent = size.man_exp()
    return int(exponent) + int(mantissa).bit_length() if mantissa else _NOTHING


def _beside(exact: arb, rounded: float) -> float:
    """``rounded``, or the float64 next to it on the side on which the exact bound lies."""
    if exact > rounded:
        return math.nextafter(rounded, math.inf)
    return math.nextafter(rounded, -math.inf) if exact < rounded else rounded
