"""One form of a function in one dtype, with its truth, and its errors as the contract counts them."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastact.accuracy.audit import Floor
from fastact.accuracy.limits import one_sided
from fastact.accuracy.measure import settings
from fastact.accuracy.oracle import Oracle
from fastact.accuracy.samples import special, stratified
from fastact.accuracy.ulp import Doubles, Floats, as_doubles, format_of, ulp
from fastact.cpu.kernels import inner_ufunc
from fastact.kernels import Declaration
from fastact.link.forms import usual_form

NEIGHBOURHOOD = 0.5
"""On each side of a gradient's root, errors count in ULPs of the terms that cancel there."""


class Case:
    """A form: value, grad, backward, or those with respect to a parameter.

    Parameters are held at their defaults. The truth of a product g f'(x) is the derivative of the formula g f(x); such
    cases take g after x everywhere. ``jobs`` is the number of processes for ball arithmetic on very many inputs.
    """

    def __init__(self, declaration: Declaration, form: str, dtype: str, jobs: int = 1) -> None:
        self.declaration, self.form, self.dtype = declaration, form, dtype
        self.format, self.jobs = format_of(dtype), jobs
        self.parameters = settings(declaration, dtype)
        kind, _, variable = form.partition("_")
        self.wrt = None if kind == "value" else variable or "x"
        self.product = kind == "backward"
        names, formula = tuple(parameter.name for parameter in declaration.parameters), declaration.formula
        pseudo = [p.pseudo for p in declaration.parameters if p.name == variable and p.pseudo]
        if pseudo:
            self.wrt, formula = None, pseudo[0]
        self.oracle = Oracle(f"g*({formula})", ("g", *names)) if self.product else Oracle(formula, names)
        self.floors = self._floors() if self.wrt == "x" else ()

    def _floors(self) -> tuple[Floor, ...]:
        """The neighbourhoods of the roots of a gradient. What cancels there are f/x and x (f/x)'; at the root both are
        of the size of f(root)/root."""
        found = []
        plain = Oracle.of(self.declaration)
        for root in self.declaration.gradient_roots:
            terms = abs(float(plain.value(root, *self.parameters)) / root)
            found.append(Floor(root - NEIGHBOURHOOD, root + NEIGHBOURHOOD, terms))
        return tuple(found)

    def results(self, tier: str, x: Floats, *more: Floats) -> Floats:
        """What the kernel delivers, as callers get it who leave out all parameters that they may."""
        name, usual = self.declaration.name, usual_form(self.declaration, self.form)
        given = () if usual != self.form else tuple(self.format.dtype.type(p) for p in self.parameters)
        ufunc = inner_ufunc(name, usual, tier)
        with np.errstate(all="ignore"):
            return np.asarray(ufunc(*more, x, *given))

    def sample(self, count: int, seed: int) -> Floats:
        """Stratified inputs and the special ones."""
        declaration = self.declaration
        drawn = stratified(self.dtype, count, seed, declaration.critical, declaration.domain)
        return np.concatenate([drawn, special(self.dtype)])

    def rounded(self, x: Floats, *more: Floats) -> Floats:
        """The correctly rounded results."""
        return self.oracle.rounded(x, *more, *self.parameters, wrt=self.wrt, jobs=self.jobs)

    def expected(self, y: Floats, x: Floats, *more: Floats, truth: Floats | None = None) -> Floats:
        """The correctly rounded results; where they have no sign of their own, they take that of y.

        Such are values of exactly 0 anywhere but at 0, and products of exactly 0; the value at 0 of a function that is
        exactly 0 beside it; and a pole at 0 on the side on which there is no function: relu(-0.0) may be either zero,
        1/sqrt(-0.0) either infinity."""
        truth = self.rounded(x, *more) if truth is None else truth
        with np.errstate(invalid="ignore"):
            unsigned = (x == 0) & (np.abs(truth) == np.abs(y)) & ((y == 0) | np.isinf(y))
            others = (self.product | (x != 0)) & (truth == 0) & (y == 0) & (np.signbit(truth) != np.signbit(y))
        for side in (1.0, -1.0):
            here = unsigned & (np.signbit(x) == (side < 0))
            if here.any() and self._unsigned(side):
                truth = np.where(here, y, truth)
        truth = np.array(truth)
        for i in np.flatnonzero(others).tolist():
            # At an exact zero of inexact terms a ball shrinks without end, but never leaves it.
            if self._value(float(x[i]), *(float(a[i]) for a in more)).contains(0):
                truth[i] = y[i]
        return truth

    def _value(self, *arguments: float) -> Any:
        if not np.isfinite(arguments).all():
            return self.oracle.limit(*arguments, *self.parameters, wrt=self.wrt)
        if self.wrt is None:
            return self.oracle.value(*arguments, *self.parameters)
        return self.oracle.derivative(*arguments, *self.parameters, wrt=self.wrt)

    @functools.cache  # noqa: B019
    def _unsigned(self, side: float) -> bool:
        unit = (1.0,) if self.product else ()
        near = one_sided(self.oracle.program(self.wrt), (0.0, *unit, *self.parameters), side)
        return bool(near.ball.is_nan()) or (bool(near.ball == 0) and near.sign == 0)

    def errors(self, tier: str, y: Floats, x: Floats, *more: Floats, truth: Floats | None = None) -> Doubles:
        """Errors by ball arithmetic, as the tier counts them. A NaN for a number, a number for a NaN and a zero of the
        wrong sign count as infinite.

        In ``rough`` errors of float32 and float64 are relative to the truth, or to the smallest normal number where
        that is larger, and results below it may be zeros. Next to a root of a gradient the terms that cancel there
        count instead of the truth, if they are larger; but not in ``exact``, nor in ``fast`` for 16 bits.
        """
        truth = self.expected(y, x, *more, truth=truth)
        size = np.abs(as_doubles(truth))
        relative = tier == "rough" and self.format.width > 16
        measure = self.oracle.relative_error if relative else self.oracle.ulp_error
        found = measure(x, y, *more, *self.parameters, wrt=self.wrt, jobs=self.jobs)
        with np.errstate(all="ignore"):
            zero = np.asarray(y == 0)
            if tier == "rough":
                found = np.where(zero & (size < self.format.smallest_normal), 0.0, found)
            least = self._least(relative, x, *more) if self._lenient(tier) else np.zeros(x.shape)
            if relative:
                # An infinite result counts as the power of two that is the first number beyond the finite ones.
                half = 2.0 ** (self.format.largest_exponent - 1)
                beyond = np.isinf(y) & (size >= half) & np.isfinite(size) & (np.signbit(y) == np.signbit(truth))
                found = np.where(beyond, 2.0 * (half - size / 2) / size, found)
                least = np.maximum(least, self.format.smallest_normal)
                shrunk = np.where(size < least, found * (size / least), found)
                # The rounded truth tells the size of the truth only where it is a normal number.
                tiny = np.flatnonzero((size < self.format.smallest_normal) & (found > 0) & np.isfinite(found))
                if tiny.size:
                    columns = [a[tiny] for a in (x, y, *more)]
                    steps = self.oracle.ulp_error(*columns, *self.parameters, wrt=self.wrt, jobs=self.jobs)
                    shrunk[tiny] = steps * (2.0**self.format.smallest_exponent / least[tiny])
            else:
                shrunk = found * np.minimum(1.0, ulp(size, self.dtype) / np.where(least > 0, least, np.inf))
                shrunk = np.where(least > 0, shrunk, found)
        with np.errstate(invalid="ignore"):
            found = np.where(np.isnan(shrunk) | (np.isinf(y) & (y == truth)), 0.0, shrunk)
            wrong = (zero & (np.signbit(y) != np.signbit(truth))) | (np.isnan(y) != np.isnan(truth))
        return np.where(wrong, np.inf, found)

    def _lenient(self, tier: str) -> bool:
        return tier == "rough" or (tier == "fast" and self.format.width > 16)

    def _least(self, relative: bool, x: Floats, *more: Floats) -> Doubles:
        """The unit of errors next to a root; 0 elsewhere."""
        least = np.zeros(x.shape)
        for floor in self.floors:
            terms = np.full(x.shape, floor.terms) * (np.abs(as_doubles(more[0])) if more else 1.0)
            least = np.where(floor.holds(x), terms if relative else ulp(terms, self.dtype), least)
        return least


def differ(y: Floats, truth: Floats) -> NDArray[np.bool_]:
    """Where two arrays hold different numbers; zeros of different sign are different, NaNs are not."""
    bits = format_of(y.dtype).bits
    with np.errstate(invalid="ignore"):  # of signalling NaNs of 16 bits
        return np.asarray((y.view(bits) != truth.view(bits)) & ~(np.isnan(y) & np.isnan(truth)))
