"""The truth on a sample of inputs, computed once, and the errors of any number of results against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastact.accuracy.ulp import Doubles, Floats, Format, format_of, nearest, ulp
from fastact.kernels import Declaration

INSTALL = 'install "fastact[accuracy]"'
BITS = 100


@dataclass(frozen=True)
class Errors:
    """What is published of the errors on a sample, in ULPs of the truth."""

    largest: float
    mean: float
    right: float
    """Share of correctly rounded results."""
    worst: float
    """The input with the largest error."""


class Truth:
    """The true values at the inputs as unevaluated sums high + low, and where they come from.

    ``wrt`` is None for the value, "x" for the gradient.
    """

    def __init__(self, declaration: Declaration, x: Floats, parameters: Sequence[float], wrt: str | None) -> None:
        self.form: Format = format_of(x.dtype)
        self.x, self.wrt, self.parameters = x, wrt, tuple(parameters)
        self.high: Doubles | None
        self.oracle: Any = None
        try:
            from fastact.accuracy.oracle import Oracle
        except ImportError:
            self._from_kernel(declaration)
        else:
            from importlib.metadata import version

            self.oracle = Oracle(declaration.formula, tuple(p.name for p in declaration.parameters))
            self.high, self.low = self.oracle.pair(x, *self.parameters, wrt=wrt, bits=BITS)
            self.source = f"arbitrary precision (python-flint {version('python-flint')})"

    def _from_kernel(self, declaration: Declaration) -> None:
        """Without arbitrary precision: our own kernel for float64, which settles all narrower formats."""
        if self.form.name == "float64":
            self.high, self.source = None, f"none; for errors against arbitrary precision {INSTALL}"
            return
        from fastact.function import FUNCTIONS

        function = FUNCTIONS[declaration.name]
        door = function if self.wrt is None else function.grad
        with np.errstate(all="ignore"):
            self.high = door(self.x.astype(np.float64), *self.parameters, approx="exact")
        self.low = np.zeros(self.high.shape)
        self.source = f"fastact's own float64 exact kernel; for arbitrary precision {INSTALL}"

    @property
    def known(self) -> bool:
        """Whether there is a truth to compare with."""
        return self.high is not None

    def errors(self, y: Floats) -> Doubles:
        """|y - truth| in ULPs of the truth, with the conventions of Oracle.ulp_error."""
        assert self.high is not None
        high, low, result = self.high, self.low, y.astype(np.float64)
        with np.errstate(all="ignore"):
            beyond = np.ldexp(1.0, self.form.largest_exponent)
            judged = np.where(np.isinf(result) & np.isfinite(high), np.copysign(beyond, result), result)
            difference = np.abs((judged - high) - low)
            beneath = (np.abs(np.frexp(high)[0]) == 0.5) & (high * low < 0)
            unit = ulp(np.where(beneath, np.nextafter(high, 0.0), high), self.form)
            found = np.where(difference == 0, 0.0, difference / unit)
            found[np.isnan(result) | np.isnan(high)] = np.inf
            found[np.isinf(result) & (nearest(high, self.form) == result)] = 0.0
        found[np.isnan(result) & np.isnan(high)] = 0.0
        if self.oracle is not None:
            self._settle(found, result)
        return found

    def _settle(self, found: Doubles, y: Doubles) -> None:
        """Arbitrary precision decides where high + low cannot be held or subtracted in float64, and where it does not
        tell on which side of a power of two the truth lies, for the ULP differs there."""
        assert self.high is not None
        size = np.abs(self.high)
        doubtful = (np.frexp(size)[0] == 0.5) & (self.low == 0) & (y != self.high)
        if self.form.name == "float64":
            doubtful |= (size >= 2.0**1022) | (size < 2.0**-900)
        places = np.flatnonzero(doubtful & ~np.isnan(y))
        if places.size:
            found[places] = self.oracle.ulp_error(
                self.x[places], y[places], *self.parameters, dtype=self.form.name, wrt=self.wrt
            )

    def summary(self, y: Floats) -> Errors | None:
        """The errors of results in brief; None without a truth."""
        if not self.known:
            return None
        found = self.errors(y)
        worst = int(np.argmax(found))
        return Errors(
            largest=float(found[worst]),
            mean=float(np.mean(found)),
            right=float(np.mean(found <= 0.5)),
            worst=float(self.x[worst]),
        )


def typical(declaration: Declaration, dtype: Any, size: int, seed: int = 0) -> tuple[Floats, str]:
    """``size`` inputs such as networks produce, and in words how they were drawn.

    On the whole line normal with standard deviation 3; for functions that live on a part of it, inside that part.
    The first elements do not depend on ``size``.
    """
    low, high = declaration.domain
    form = format_of(dtype)
    z = np.random.default_rng(seed).standard_normal(size) * 3.0
    if np.isinf(low) and np.isinf(high):
        x, words = z, "N(0, 3^2)"
    elif np.isinf(high):
        x, words = low + np.exp(z), f"{low:g} + exp N(0, 3^2)" if low else "exp N(0, 3^2)"
    elif np.isinf(low):
        x, words = high - np.exp(z), f"{high:g} - exp N(0, 3^2)"
    else:
        x = low + (high - low) / (1.0 + np.exp(-z))
        words = f"({low:g}, {high:g}), the sigmoid of N(0, 3^2) stretched to it"
    return nearest(np.clip(x, -form.largest, form.largest), form).astype(form.dtype), f"{words}, seed {seed}"


def settings(declaration: Declaration, dtype: Any, given: dict[str, float] | None = None) -> tuple[float, ...]:
    """Values for the parameters: the given ones, else the defaults, else 1/4 or the middle of the allowed range.

    They are rounded to the dtype, since that is how a kernel receives them.
    """
    chosen = []
    for parameter in declaration.parameters:
        value = (given or {}).get(parameter.name, parameter.default)
        if value is None:
            low = -1.0 if parameter.above is None else parameter.above
            high = low + 2.0 if parameter.below is None else parameter.below
            value = 0.25 if low < 0.25 < high else (low + high) / 2
        chosen.append(value)
    return tuple(nearest(chosen, dtype).tolist())
