"""Forms of several arguments measured on samples.

What is drawn says `fastact.accuracy.drawing`. The truth of narrow dtypes is first taken from float64's ``exact`` kernel
of the same form, to 2^-44, which a sample checks against ball arithmetic; ball arithmetic itself judges where that
leaves a rounding open or contradicts a result, and the largest errors. float64 is judged by balls throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastact.accuracy import outputs
from fastact.accuracy.balls import Undecided, arb
from fastact.accuracy.case import Case, differ
from fastact.accuracy.certificates import Key, pattern
from fastact.accuracy.drawing import Drawn, draw
from fastact.accuracy.limits import one_sided
from fastact.accuracy.oracle import Oracle
from fastact.accuracy.sampled import Sampled, digest
from fastact.accuracy.ulp import Doubles, Floats, as_doubles, format_of, nearest, ulp
from fastact.cpu.kernels import inner_ufunc
from fastact.kernels import Declaration
from fastact.link.forms import forms

COUNT, WIDE_COUNT = 1 << 17, 1 << 14
"""Rows drawn of the narrow dtypes and of float64, where ball arithmetic has to look at all of them."""
CHECKED = 1 << 11
"""Of those of narrow dtypes, rows on which float64's kernel is checked by ball arithmetic."""
TRUST = 2.0**-44
"""What that kernel is trusted to, relative to its results."""
WORST, DOUBTFUL = 24, 1 << 12
"""Rows of each tier, those with the largest errors and those that are doubtful otherwise, that balls judge at most."""
TINY = 2.0**-900
"""Below it float64 has no room for what a truth has beyond it."""


class Mistrust(RuntimeError):
    """The truth itself is wrong where it should not be."""


class Columns(Case):
    """A form whose parameters are arguments like others: they follow x and, in products, g."""

    def __init__(self, declaration: Declaration, name: str, dtype: str) -> None:
        form = forms(declaration)[name]
        base = form.base or name
        kind, _, variable = base.partition("_")
        self.declaration, self.form, self.dtype, self.inputs = declaration, name, dtype, form
        self.format, self.jobs, self.parameters, self.floors = format_of(dtype), 1, (), ()
        self.product = form.arguments[0] == "g"
        names = tuple(parameter.name for parameter in form.parameters)
        variant = declaration.variant if form.base else None
        formula, slope = (variant.formula, variant.slope(base)) if variant else (declaration.formula, "")
        self.sloped = bool(slope)
        self.wrt = None if kind == "value" else variable or "x"
        if self.wrt == "x" and declaration.name in outputs.RATIONAL and not form.base:
            self.wrt, formula = None, outputs.RATIONAL[declaration.name]
        pseudo = [p.pseudo for p in declaration.parameters if p.name == variable and p.pseudo]
        if slope:
            self.wrt, formula = None, slope
        elif base == "from_output":
            self.wrt, self.oracle = None, Oracle(outputs.formula(declaration.name), ("g", *names))
            return
        elif pseudo:
            self.wrt, formula = None, pseudo[0]
        self.oracle = Oracle(f"g*({formula})", ("g", *names)) if self.product else Oracle(formula, names)

    def call(self, tier: str, columns: Sequence[Floats], left_out: int) -> Floats:
        """The results of rows, in the first of which the parameters are left out."""
        name, bare = self.declaration.name, self.inputs.place + 1
        parts = []
        with np.errstate(all="ignore"):
            if left_out:
                usual = inner_ufunc(name, self.inputs.usual, tier)
                parts.append(usual(*(column[:left_out] for column in columns[:bare])))
            if left_out < columns[0].size:
                given = inner_ufunc(name, self.form, tier)
                parts.append(given(*(column[left_out:] for column in columns)))
        return np.concatenate([np.atleast_1d(part) for part in parts])

    def ordered(self, columns: Sequence[Any]) -> list[Any]:
        """x and then the others, as the oracle has them."""
        place = self.inputs.place
        return [columns[place], *columns[:place], *columns[place + 1 :]]

    def expected(self, y: Floats, x: Floats, *more: Floats, truth: Floats | None = None) -> Floats:
        truth = np.array(self.rounded(x, *more) if truth is None else truth)
        with np.errstate(invalid="ignore"):
            loose = (np.abs(truth) == np.abs(y)) & ((y == 0) | np.isinf(y)) & (np.signbit(truth) != np.signbit(y))
        for i in np.flatnonzero(loose).tolist():
            arguments = tuple(float(column[i]) for column in (x, *more))
            size = self._value(*arguments).mid() if self.sloped else arb(0)
            if size != 0:  # where a variant matters, a product has its own sign, whatever is beside it
                truth[i] = np.copysign(truth[i], -1.0 if size < 0 else 1.0)
            elif self._without_sign(arguments):
                truth[i] = y[i]
        return truth

    def errors(self, tier: str, y: Floats, x: Floats, *more: Floats, truth: Floats | None = None) -> Doubles:
        """As for cases; but next to a root, where terms cancel that are larger than the truth, a zero may have the sign
        that their errors give it."""
        if self._lenient(tier) and self.declaration.gradient_roots:
            rounded = self.rounded(x, *more) if truth is None else truth
            free = (as_doubles(y) == 0) & (np.abs(as_doubles(rounded)) < self.terms(x, *more))
            y = np.where(free, np.copysign(y, rounded), y).astype(y.dtype)
        return super().errors(tier, y, x, *more, truth=truth)

    def _without_sign(self, arguments: tuple[float, ...]) -> bool:
        """Whether a zero may have either sign: at 0 also where branches meet, one of which a parameter may turn."""
        if self.inputs.parameters and arguments[0] == 0 and bool(self._value(*arguments) == 0):
            return True
        if arguments[0] == 0 and np.isfinite(arguments).all():
            beside = one_sided(self.oracle.program(self.wrt), arguments, float(np.copysign(1.0, arguments[0])))
            if bool(beside.ball.is_nan()) or (bool(beside.ball == 0) and beside.sign == 0):
                return True
        return (self.product or arguments[0] != 0) and bool(self._value(*arguments).contains(0))

    def terms(self, x: Floats, *more: Floats) -> Doubles:
        """What cancels next to the roots of a gradient, f/x, of a product times g; 0 of forms without such roots."""
        if self.wrt != "x" or not self.declaration.gradient_roots:
            return np.zeros(x.shape)
        given = [as_doubles(a) for a in (more[1:] if self.product else more)]
        argument = as_doubles(x)
        with np.errstate(all="ignore"):
            value = inner_ufunc(self.declaration.name, "value", "exact")(argument, *given)
            size = np.abs(value / argument) * (np.abs(as_doubles(more[0])) if self.product else 1.0)
            if self.declaration.name == "xielu":  # of a x + b, twice the first term and b cancel
                size = size * 2.0
        return np.where(np.isfinite(size), size, 0.0)

    def _least(self, relative: bool, x: Floats, *more: Floats) -> Doubles:
        size = self.terms(x, *more)
        return size if relative else np.where(size > 0, ulp(size, self.dtype), 0.0)


def certify(
    declaration: Declaration, name: str, dtype: str, tiers: Sequence[str], seed: int = 0, scale: float = 1.0
) -> list[Sampled]:
    """What is found of some tiers of a form; ``scale`` multiplies the number of rows.

    Raises:
        Mistrust: the truth is not what it should be.
    """
    case = Columns(declaration, name, dtype)
    count = int((WIDE_COUNT if dtype == "float64" else COUNT) * scale)
    drawn = draw(declaration, name, dtype, count, seed)
    judged = _Judged(case, drawn, seed)
    return [judged.tier(tier) for tier in tiers]


class _Judged:
    """Rows with their truth, high + low."""

    def __init__(self, case: Columns, drawn: Drawn, seed: int) -> None:
        self.case, self.drawn = case, drawn
        self.random = np.random.default_rng(seed)
        self.x, *self.more = case.ordered(drawn.columns)
        self.count = self.x.size
        self.infinite = ~np.logical_and.reduce([np.isfinite(as_doubles(column)) for column in drawn.columns])
        wide = case.dtype == "float64"
        rows = np.arange(self.count) if wide else self._some(np.arange(self.count), CHECKED)
        high, low = case.oracle.pair(*(c[rows] for c in (self.x, *self.more)), wrt=case.wrt, bits=100)
        if wide:
            self.high, self.low = high, low
        else:
            self.high, self.low = self._narrow(), np.zeros(self.count)
            self._check(rows, high)
            self.high[rows], self.low[rows] = high, low
        self.checked = rows.size
        self.terms = case.terms(self.x, *self.more)
        with np.errstate(all="ignore"):
            self.open = self._open() if not wide else np.zeros(self.count, dtype=np.bool_)
            self.tiny = wide & ((np.abs(self.high) < TINY) & (self.high != 0) | (np.abs(self.high) >= 2.0**1022))

    def _some(self, rows: NDArray[np.intp], most: int) -> NDArray[np.intp]:
        return rows if rows.size <= most else np.sort(self.random.choice(rows, most, replace=False))

    def _narrow(self) -> Doubles:
        """The results of float64's kernel, all parameters given."""
        with np.errstate(all="ignore"):
            kernel = inner_ufunc(self.case.declaration.name, self.case.form, "exact")
            return np.array(kernel(*(as_doubles(column) for column in self.drawn.columns)))

    def _check(self, rows: NDArray[np.intp], truth: Doubles) -> None:
        with np.errstate(all="ignore"):
            found = self.high[rows]
            wrong = ~(np.abs(found - truth) <= TRUST * np.abs(truth)) & (found != truth)
            wrong &= ~(np.isnan(found) & np.isnan(truth)) & (np.abs(truth) > TINY)
        for i in rows[wrong][:1].tolist():
            given = ", ".join(repr(float(column[i])) for column in self.drawn.columns)
            raise Mistrust(f"float64's kernel gives {self.high[i]!r} of {given}, not {truth[wrong][0]!r}")

    def _open(self) -> NDArray[np.bool_]:
        """Where the truth does not tell the rounding."""
        above, below = (nearest(self.high * factor, self.case.dtype) for factor in (1.0 + TRUST, 1.0 - TRUST))
        return ~((above == below) & np.isfinite(above)) | (np.abs(self.high) < TINY) & (self.high != 0)

    def tier(self, tier: str) -> Sampled:
        """The outcome of a tier."""
        case, dtype = self.case, self.case.dtype
        key = Key(case.declaration.name, case.form, dtype, tier)
        y = case.call(tier, self.drawn.columns, self.drawn.left_out)
        errors, doubtful = self._screen(tier, y)
        worst = np.argsort(-errors)[:WORST]
        narrow = tier == "exact" and dtype != "float64"
        if narrow:
            with np.errstate(all="ignore"):
                doubtful |= self.open | (as_doubles(y) != nearest(self.high, dtype)) & ~np.isnan(self.high)
        rows = np.union1d(worst, self._some(np.flatnonzero(doubtful), 2 * DOUBTFUL if narrow else DOUBTFUL))
        rows = np.union1d(rows, self._some(np.flatnonzero(self.tiny), DOUBTFUL // 8))
        rows, truth = self._decided(rows)
        x, *more = (column[rows] for column in (self.x, *self.more))
        found = case.errors(tier, y[rows], x, *more, truth=truth)
        wrong = differ(y[rows], case.expected(y[rows], x, *more, truth=truth)) & narrow
        misrounded = int(np.count_nonzero(wrong))
        at = int(np.where(wrong, np.maximum(found, 1.0), found).argmax())
        largest = float(found[at])
        bits = tuple(pattern(column[rows[at]], dtype) for column in self.drawn.columns)
        return Sampled(
            **key._asdict(), inputs=self.count, judged=max(self.checked, rows.size),
            misrounded=misrounded if narrow else None, largest=largest, witness=bits, digest=digest(key),
        )  # fmt: skip

    def _decided(self, rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], Floats]:
        """The rows of which balls tell the rounding, and that; of exact ties among irrational terms they cannot."""
        while True:
            columns = [column[rows] for column in (self.x, *self.more)]
            try:
                return rows, self.case.rounded(columns[0], *columns[1:])
            except Undecided as reason:
                if not reason.point:
                    raise
                same = [as_doubles(c) == p for c, p in zip(columns, reason.point, strict=True)]
                rows = rows[~np.logical_and.reduce(same)]

    def _screen(self, tier: str, y: Floats) -> tuple[Doubles, NDArray[np.bool_]]:
        """Errors as the tier counts them, and where they are not to be had in this way: those are 0 here."""
        form, high, low = self.case.format, self.high, self.low
        relative = tier == "rough" and form.width > 16
        result, size = as_doubles(y), np.abs(high)
        with np.errstate(all="ignore"):
            beneath = (np.abs(np.frexp(high)[0]) == 0.5) & (high * low < 0)
            if relative:
                unit = np.maximum(size, form.smallest_normal)
            else:
                unit = ulp(np.where(beneath, np.nextafter(high, 0.0), high), form)
            if self.case._lenient(tier):
                least = self.terms if relative else np.where(self.terms > 0, ulp(self.terms, form), 0.0)
                unit = np.maximum(unit, least)
            errors = np.abs((result - high) - low) / unit
            signs = np.signbit(result) != np.signbit(high)
            if tier == "rough":
                errors[(result == 0) & (size < form.smallest_normal)] = 0.0
            same = np.isnan(result) & np.isnan(high)
            same |= np.isinf(result) & (nearest(high, form) == result) & ~signs
            errors[same] = 0.0
            doubtful = ~np.isfinite(errors) | self.infinite
            doubtful |= (result == 0) & signs & ~np.isnan(high)
        errors[doubtful | self.tiny] = 0.0
        return errors, doubtful
