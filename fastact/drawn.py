"""rrelu with slopes drawn at random, as in training."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from fastact.arguments import elsewhere
from fastact.documentation import describe, signature
from fastact.function import FUNCTIONS, Derived, Function
from fastact.kernels import Declaration
from fastact.link.forms import Form
from fastact.precision import Approx

_NOTES = """\
With ``rng`` a slope is drawn for each element, whatever its sign: lower + (upper - lower) u in float64, with u as
``rng.random(shape)`` gives it, rounded to the dtype of the result. So seed and shape determine the slopes; memory
order, threads and tier do not change them. They take the memory of one more result. The gradient needs them again: with

    y, slope = fastact.rrelu(x, rng=rng, return_slope=True)

the product with an incoming gradient is g slope, or ``fastact.rrelu.backward(g, x, slope, slope)``, in which an
infinite g passes by; and ``fastact.rrelu(x, slope, slope)`` is y once more.

"""
_OPTIONS = {
    "rng": (
        "numpy.random.Generator, optional",
        "Draws the slopes; without one it is the mean slope everywhere, and nothing is random.",
    ),
    "return_slope": (
        "bool",
        "Whether to return (y, slope) with the derivative of each element: 1 above 0, elsewhere the slope.",
    ),
}
_ARGUMENTS = "".join(f"{name} : {kind}, by keyword only\n    {said}\n" for name, (kind, said) in _OPTIONS.items())


def _signature(declaration: Declaration, form: Form) -> inspect.Signature:
    found = signature(declaration, form)
    kind, parameters = inspect.Parameter, list(found.parameters.values())
    place = list(found.parameters).index("approx")
    parameters[place:place] = [
        kind("rng", kind.KEYWORD_ONLY, default=None),
        kind("return_slope", kind.KEYWORD_ONLY, default=False),
    ]
    return found.replace(parameters=parameters)


def _describe(declaration: Declaration, form: Form) -> str:
    text = describe(declaration, form)
    text = text.replace(str(signature(declaration, form)), str(_signature(declaration, form)), 1)
    for mark, more in (("Parameters\n---", _NOTES), ("out : ndarray", _ARGUMENTS)):
        text = text.replace(mark, more + mark, 1)
    return text


class Drawn(Function):
    """A function of x and two slopes that draws one between them for each element if it is given a generator."""

    __doc__ = Derived(_describe, __doc__)  # type: ignore[assignment]
    __signature__ = Derived(_signature)
    options = _OPTIONS
    """What it takes besides parameters: types and meanings."""

    def __call__(
        self,
        *args: Any,
        rng: np.random.Generator | None = None,
        return_slope: bool = False,
        approx: Approx = None,
        **options: Any,
    ) -> Any:
        if len(args) > 3 and isinstance(args[3], (np.random.Generator, bool)):
            hint = "return_slope" if isinstance(args[3], bool) else "rng"
            raise TypeError(f"{self.__name__}() takes rng and return_slope by keyword only: {hint}={args[3]!r}")
        if rng is None and not return_slope:
            return super().__call__(*args, approx=approx, **options)
        if elsewhere(args, options):
            raise TypeError(
                f"{self.__name__}() draws no slopes for arrays on a device; give it slopes that were drawn there"
            )
        if rng is not None and not isinstance(rng, np.random.Generator):
            raise TypeError(f"{self.__name__}() draws from a numpy.random.Generator, but rng is {rng!r}")
        x, *slopes = self._complete(args, options)
        slopes, out = slopes[:2], slopes[2:]
        if rng is not None:
            slopes = [self._draw(rng, (x, *slopes), options.get("dtype"))] * 2
        # Before the result, which may be put in the place of x.
        slope = self.grad(x, *slopes, approx=approx, dtype=options.get("dtype")) if return_slope else None
        y = super().__call__(x, *slopes, *out, approx=approx, **options)
        return (y, slope) if return_slope else y

    def _draw(self, rng: np.random.Generator, inputs: tuple[Any, ...], dtype: Any) -> Any:
        """A slope for each element."""
        found = [getattr(value, "dtype", None) or np.asarray(value).dtype for value in inputs]
        dtype = self.ufunc("exact")(*(np.empty(0, d) for d in found), dtype=dtype).dtype
        shape = np.broadcast_shapes(*map(np.shape, inputs))
        slope = np.empty(shape, dtype)
        flat, limits = slope.reshape(-1), [_pieces(value, shape) for value in inputs[1:]]
        # In pieces, which together are what one call for the whole shape draws.
        for start in range(0, slope.size, _PIECE):
            end = min(start + _PIECE, slope.size)
            low, high = (piece(start, end) for piece in limits)
            flat[start:end] = _between(rng.random(end - start), low, high)
        mask = np.logical_or(*(np.ma.getmask(value) for value in inputs[1:]))
        return np.ma.masked_array(slope, np.broadcast_to(mask, shape)) if mask.any() else slope


_PIECE = 1 << 13
"""Slopes that are made at a time, so that nothing but the slopes takes more memory for larger arrays."""


def _between(u: Any, low: Any, high: Any) -> Any:
    """low + (high - low) u; halves of them, where the difference overflows."""
    with np.errstate(over="ignore"):
        difference = high - low
        far = np.isinf(difference)
        if far.any():
            half = np.where(far, 0.5, 1.0)
            u = ((high * half - low * half) * u + low * half) / half
        else:
            u *= difference
            u += low
    return np.clip(u, low, high, out=u)


def _pieces(value: Any, shape: tuple[int, ...]) -> Callable[[int, int], Any]:
    """What gives the numbers of a parameter for some elements of a result, counted along its last axis first."""
    numbers = np.asarray(value)
    if numbers.size == 1:
        number = numbers.astype(np.float64).reshape(())
        return lambda start, end: number
    elements = np.broadcast_to(numbers, shape).flat
    return lambda start, end: elements[start:end].astype(np.float64)


FUNCTIONS.kinds["rrelu"] = Drawn
__all__ = ["FUNCTIONS", "Drawn"]
