"""Gated linear units: functions of two arrays, or of the two halves of one, in one pass over memory."""

from __future__ import annotations

import functools
from itertools import combinations
from operator import index
from typing import Any

import numpy as np

from fastact import kernels
from fastact.arguments import elsewhere, fault, misplaced
from fastact.cpu import threads
from fastact.cpu.failures import failures
from fastact.known import Known
from fastact.link.gates import ARGUMENTS
from fastact.precision import Approx, parse

_DOC = """{name}(a, b, /, out=None, *, approx=None, **options)
{name}(x, /, *, axis=-1, out=None, approx=None, **options)

{summary}

Formula: {formula}

Of two arrays, which are broadcast, or of one that is split in the middle of an axis: its {first} half is a, the gate,
and its {second} half is b. ``backward(g, a, b)`` returns the gradients with respect to a and b times g, both of the
shape to which the inputs are broadcast, in one pass; ``backward(g, x, axis=-1)`` the gradient with respect to x.

Parameters
----------
a, b, x : array_like
    float16, bfloat16, float32 or float64; booleans and integers become floats.
axis : int, by keyword only
    The axis along which x is split.
out : ndarray, optional
    Where the result goes; it may be an input.
approx : "exact" (or False), "fast" (or True), "rough" or None, by keyword only
    The precision; None takes that of the surrounding fastact.precision(...).
**options
    Those of a ufunc: where, casting, order, dtype, subok.

Raises
------
ValueError
    Shapes that do not broadcast, an axis of odd length, an axis out of range, a read-only ``out``.

Source: {cite}
"""


class _Form:
    """The value of a gate, or its gradients."""

    def __init__(self, declaration: kernels.Gate, form: str, inputs: int, outputs: int) -> None:
        self._declaration, self._form, self._inputs, self._outputs = declaration, form, inputs, outputs
        self.__name__ = self.__qualname__ = declaration.name + ("" if form == "value" else "." + form)
        self.__module__ = "fastact"
        self._ufuncs: dict[str, np.ufunc] = {}
        self._known = Known(self, _Form.__call__)

    def ufunc(self, approx: Approx = None) -> np.ufunc:
        """The inner ``np.ufunc`` of a tier, of two arrays and g."""
        tier = parse(approx)
        found = self._ufuncs.get(tier)
        if found is None:
            from fastact.cpu.kernels import inner_ufunc

            found = self._ufuncs[tier] = inner_ufunc(self._declaration.name, self._form, tier)
        return found

    def __call__(self, *args: Any, axis: int | None = None, approx: Approx = None, **options: Any) -> Any:
        # Calls like earlier ones do not come here: see `fastact.known`.
        ufunc = self._ufuncs.get(parse(approx)) or self.ufunc(approx)
        if axis is None and len(args) == self._inputs and self._usual(args, options):
            result = self._run(ufunc, args, options)
            if self._known.learns:
                self._known.learn(ufunc, args, args, options, approx, self._inputs)
            return result
        if elsewhere(args, options):
            return self._on_device(args, axis, approx, options)
        if len(args) == self._inputs - 1:
            return self._split(ufunc, args, -1 if axis is None else axis, options)
        if axis is not None:
            raise TypeError(f"{self.__name__}(): axis is for one array that is split, not for two")
        text = misplaced(self.__name__, ARGUMENTS[self._form], args[-1]) if len(args) > self._inputs else None
        if text is None and len(args) == self._inputs and type(args[-1]) is int and np.ndim(args[-2]):
            text = f"{self.__name__}() splits along axis={args[-1]}, by keyword; a number in place of b is a float"
        if text is not None:
            raise TypeError(text)
        if not self._inputs <= len(args) <= self._inputs + self._outputs:
            g = "" if self._form == "value" else "g, "
            raise TypeError(f"{self.__name__}() takes ({g}a, b), or ({g}x) to split x, not {len(args)} arguments")
        return self._run(ufunc, args, options)

    def _usual(self, args: tuple[Any, ...], options: dict[str, Any]) -> bool:
        """Whether all that is given are arrays here, and there is not more than one to be written."""
        for value in args:
            if type(value) is not np.ndarray:
                return False
        return not options or (self._outputs == 1 and len(options) == 1 and type(options.get("out")) is np.ndarray)

    def device(self, approx: Approx = None) -> Any:
        """The gate of a tier as a device function of (a, b), for ``@cuda.jit`` kernels to call with numbers."""
        if self._form != "value":
            raise NotImplementedError(f"{self.__name__} gives two numbers; only gates themselves are device functions")
        from fastact.cuda.device import device

        return device(self._declaration.name, "value", parse(approx))

    def cuda(self, approx: Approx = None) -> Any:
        """The kernel of a tier, ``kernel(a, b, out)`` or ``kernel[blocks, threads, stream](a, b, out)``; that of the
        gradients takes g first and has two outputs."""
        from fastact.cuda.device import Launchable

        return Launchable(self._target(), parse(approx))

    def _target(self) -> Any:
        from fastact.cuda.call import Target
        from fastact.link.forms import Form

        declaration, form = self._declaration, self._form
        body = declaration.value if form == "value" else declaration.backward
        place = Form(form, body, ARGUMENTS[form], self._inputs - 2)
        return Target(self.__name__, declaration.name, place, outputs=self._outputs)

    def _on_device(self, args: tuple[Any, ...], axis: int | None, approx: Approx, options: dict[str, Any]) -> Any:
        from fastact.cuda import call

        declaration, form, target = self._declaration, self._form, self._target()
        if len(args) != self._inputs - 1:
            if axis is not None:
                raise TypeError(f"{self.__name__}(): axis is for one array that is split, not for two")
            return call.call(target, parse(approx), args, options)
        x, out = args[-1], options.get("out")
        first = (lambda halves: halves[::-1]) if declaration.gate_last else (lambda halves: halves)
        shape = call.shape_of(self.__name__, "x", x)
        along = self._axis(shape, -1 if axis is None else axis)
        inputs = (*args[:-1], *first(call.split(x, along)))
        if form == "value":
            return call.call(target, parse(approx), inputs, options)
        out = out[0] if type(out) is tuple and len(out) == 1 else out
        if out is None:
            out = call.like(x)
        elif call.shape_of(self.__name__, "out", out) != shape:
            found = call.shape_of(self.__name__, "out", out)
            raise ValueError(f"{self.__name__}(): out has shape {found}, but x, and so the gradient, has {shape}")
        call.call(target, parse(approx), inputs, {**options, "out": tuple(first(call.split(out, along)))})
        return out

    def _run(self, ufunc: np.ufunc, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        a = args[self._inputs - 2]
        try:
            if type(a) is np.ndarray and a.size >= threads.SMALLEST and _apart(args[self._inputs :], options):
                result = threads.call(ufunc, args, options, a)
            else:
                result = ufunc(*args, **options)
        except TypeError as error:
            raise self._refused(error, args, options) from None
        if failures:
            failures.report(ufunc.__name__)
        return result

    def _refused(self, error: TypeError, args: tuple[Any, ...], options: dict[str, Any]) -> TypeError:
        """An error that says what is wrong, if there is something to say."""
        own = {name: value for name, value in options.items() if name != "out"}
        text = fault(self.__name__, ARGUMENTS[self._form], 0, args[: self._inputs], own, ("axis",))
        return error if text is None else TypeError(text)

    def _split(self, ufunc: np.ufunc, args: tuple[Any, ...], axis: int, options: dict[str, Any]) -> Any:
        x = args[-1] if hasattr(args[-1], "__array_ufunc__") else np.asarray(args[-1])
        halves = self._halves(x, axis)
        if self._form == "value":
            return self._run(ufunc, (*args[:-1], *halves), options)
        options = dict(options)
        out = options.pop("out", None)
        out = out[0] if type(out) is tuple and len(out) == 1 else out
        inputs = [v if type(v) in (bool, int, float) else np.asarray(v) for v in args[:-1]]
        if out is None:
            kinds = [np.empty(0, v.dtype) if isinstance(v, np.ndarray) else v for v in (*inputs, *halves)]
            found = self._run(ufunc, tuple(kinds), {k: v for k, v in options.items() if k == "dtype"})
            out = np.empty_like(x, dtype=found[0].dtype)
        elif not isinstance(out, np.ndarray):
            raise TypeError(f"{self.__name__}(): out must be an array, not {type(out).__name__}")
        elif out.shape != x.shape:
            raise ValueError(f"{self.__name__}(): out has shape {out.shape}, but x, and so the gradient, has {x.shape}")
        self._run(ufunc, (*inputs, *halves), {**options, "out": self._halves(out, axis)})
        return out

    def _axis(self, shape: tuple[int, ...], axis: int) -> int:
        """The axis along which an array is split, counted from the front."""
        place, axes = index(axis), len(shape)
        if not -axes <= place < axes:
            raise np.exceptions.AxisError(place, axes)
        place %= axes
        if shape[place] % 2:
            raise ValueError(
                f"{self.__name__}(): axis {axis} of shape {shape} has odd length {shape[place]}: no two halves"
            )
        return place

    def _halves(self, x: Any, axis: int) -> tuple[Any, Any]:
        """The gate and the other half, as views."""
        place = self._axis(x.shape, axis)
        length = x.shape[place]
        before = (slice(None),) * place
        first, second = x[(*before, slice(None, length // 2))], x[(*before, slice(length // 2, None))]
        return (second, first) if self._declaration.gate_last else (first, second)

    def __repr__(self) -> str:
        return f"<fastact gate '{self.__name__}'>"


def _apart(outputs: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Whether no two results share memory."""
    found = options.get("out", outputs)
    found = found if type(found) is tuple else (found,)
    arrays = [out for out in found if isinstance(out, np.ndarray)]
    return not any(np.may_share_memory(one, other) for one, other in combinations(arrays, 2))


class Gate(_Form):
    """A gated linear unit with its gradients, `backward`."""

    backward: _Form
    """(g b df/da, g df/db) as a function of (g, a, b), or of (g, x) with x split."""

    def __init__(self, declaration: kernels.Gate) -> None:
        super().__init__(declaration, "value", 2, 1)
        self.backward = _Form(declaration, "backward", 3, 2)
        first, second = ("second", "first") if declaration.gate_last else ("first", "second")
        self.__doc__ = _DOC.format(
            name=declaration.name, summary=declaration.summary, formula=declaration.formula, first=first, second=second,
            cite=declaration.cite,
        )  # fmt: skip

    @property
    def formula(self) -> str:
        """The formula that the gate is tested against."""
        return self._declaration.formula

    def __reduce__(self) -> Any:
        return gate, (self._declaration.name,)


@functools.cache
def gate(name: str) -> Gate:
    """The gate of a name."""
    return Gate(kernels.GATES[name])
