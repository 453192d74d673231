"""rms_norm and layer_norm, with the gradients of x, weight and bias.

>>> import numpy as np, fastact
>>> y = fastact.layer_norm(np.array([[1.0, 2.0, 4.0]]), weight=np.ones(3), bias=np.zeros(3))

Arrays may have any layout and are float16, bfloat16, float32 or float64, or all become the dtype that they have in
common; booleans and integers become floats as in ``np.exp``. Moments are found in float64, those of float64 in pairs of
words or of numbers brought near 1 by a power of two: no row overflows or loses digits on the way, however large, small
or far from 0 its elements are. Sums are added in an order that depends on their number only: layout and threads do not
change a bit. No warning is raised.

What is ``out`` may be x (in ``backward``, x or g), or an array that shares no memory with any input. All is checked
before anything is written.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from math import prod
from numbers import Real
from typing import Any

import numpy as np

from fastact import along
from fastact.along import Array, Axis
from fastact.arguments import elsewhere
from fastact.cpu.entries.rows import Call, Calls, remember
from fastact.cpu.rows import calls
from fastact.precision import Approx, parse
from fastact.programs import apply, empty, empty_like, kernel_for, name_of, ndarray

TINY = 1e-60


def number_of(name: str, eps: Any) -> float:
    if not isinstance(eps, Real) or isinstance(eps, bool):
        raise TypeError(f"{name}(): eps is a number, not {type(eps).__name__}")
    if not 0.0 <= float(eps) < float("inf"):
        raise ValueError(f"{name}(): eps must be finite and at least 0, not {eps!r}")
    return float(eps)


def _suffix(dtype: str, eps: float, **given: Any) -> str:
    """Which variant of a program it is. Only where eps is tiny can a float32 row have a scale that is no float32."""
    parts = [f"_{label}" for label, value in given.items() if value is not None]
    return "".join(parts) + ("_scaled" if dtype == "float64" or eps < TINY else "")


@functools.cache
def _spacing(dtype: str) -> float:
    """The distance from 1 to the next number."""
    return 2.0**-7 if dtype == "bfloat16" else float(np.finfo(dtype).eps)


@functools.cache
def _kernel(norm: str, dtype: np.dtype[Any], tier: str, tiny: bool, weight: bool, bias: bool) -> calls.Kernel:
    """The kernel of a norm that is given these, for arrays of a dtype that is `along.USUAL`."""
    given = {"weight": weight or None, "bias": bias or None}
    return kernel_for(f"{norm}{_suffix(name_of(dtype), 0.0 if tiny else 1.0, **given)}", dtype, tier)


def usual(eps: Any) -> bool:
    """Whether eps is as it mostly is."""
    return type(eps) is float and 0.0 <= eps < 1.0


def _there(*arrays: Array | None) -> list[Array]:
    return [a for a in arrays if a is not None]


class Gradients:
    """The gradients of x, weight and bias, of arrays that are `along.plain`."""

    def __init__(self) -> None:
        self.first: Calls = {}
        self.second: Calls = {}
        """How that of x was found, and the sums over the rows."""

    def again(
        self, key: tuple[Any, ...], g: Any, x: Any, weight: Any, number: float | None, both: bool
    ) -> tuple[Array, Array, Array] | None:
        """The same as it was done before, if it was; ``both``: rows have a mean besides an inverse deviation."""
        first, second = self.first.get(key), self.second.get(key)
        if first is None or second is None:
            return None
        slope, shift = empty((2, x.shape[-1]), x.dtype)
        sink = empty(x.shape, x.dtype)
        mean, r = empty((2, x.size // (x.shape[-1] or 1)))
        done = first(g, x, weight, sink, mean, r, number) if both else first(g, x, weight, sink, r, number)
        if done is None or second(g, x, mean if both else None, r, slope, shift) is None:
            return None
        return sink, slope, shift

    def begin(
        self, key: tuple[Any, ...], found: calls.Kernel, g: Array, x: Array, weight: Array | None, number: float,
        both: bool, out: Any,
    ) -> tuple[Array, Array, Array]:  # fmt: skip
        length, given = x.shape[-1], (g, x, weight)
        (slope, shift), moments = empty((2, length), x.dtype), np.zeros((2, x.size // length))
        sink = target = empty_like(x) if out is None else out
        if x.ndim != 2:  # as many axes as what belongs to rows has beside it
            g, x, target = g.reshape(-1, length), x.reshape(-1, length), sink.reshape(-1, length)
        own = list(moments[not both :])
        plan = calls.in_order(found, _there(g, x, weight, target, *own), (number,))
        usually = (_spacing(along.USUAL[x.dtype]),)
        remember(self.first, key, Call(plan, given, sink, usually, elements=0, further=own))
        sums = calls.turned(kernel_for("norm_parameters", x.dtype, key[0]), (g, x, *moments, slope, shift))
        instead = None, None, None if both else moments[0].copy(), None  # a mean of 0
        remember(self.second, key, Call(sums, (*given[:2], *moments), slope, (), instead, 0, (shift,)))
        return sink, slope, shift


class _Call:
    """The arguments of a norm over some axes: arrays of one dtype, their rows, where a result of their shape goes."""

    def __init__(self, name: str, axis: Axis, elements: dict[str, Any], columns: dict[str, Any]) -> None:
        self.name = name
        given = {label: along.array(name, label, value) for label, value in elements.items()}
        extra = {label: along.array(name, label, v) for label, v in columns.items() if v is not None}
        along.same_shape(name, **given)
        self.shape = next(iter(given.values())).shape
        self.axes = along.axes(name, axis, len(self.shape))
        self.normalised = tuple(self.shape[d] for d in self.axes)
        for label, value in extra.items():
            if value.shape != self.normalised:
                raise ValueError(
                    f"{name}(): {label} has shape {value.shape}, but the axes of x, {self.shape}, that are normalised "
                    f"have {self.normalised}"
                )
        arrays = along.common(*given.values(), *extra.values())
        self.elements = arrays[: len(given)]
        self.columns = [np.ascontiguousarray(a.reshape(-1)) for a in arrays[len(given) :]]
        self.dtype = self.elements[0].dtype
        self.kind = name_of(self.dtype)

    def sink(self, out: Any) -> along.Sink:
        checked = along.check_out(self.name, out, self.shape, self.dtype, self.elements, self.columns)
        return along.Sink(checked, self.elements[-1], self.shape, self.dtype)

    def rows(self) -> list[Array]:
        views = [along.rows(a, self.axes) for a in self.elements]
        return [along.copied_rows(a, self.axes) if v is None else v for a, v in zip(self.elements, views, strict=True)]

    def run(self, program: str, approx: Approx, sink: Array, eps: float, moments: tuple[Array, ...] = ()) -> None:
        """Run a program whose result has the shape of its elements; ``moments`` are results of the rows."""
        if not sink.size:
            return
        written = along.rows(sink, self.axes)
        read = self.rows()
        target = np.empty(read[0].shape, self.dtype) if written is None else written
        totals = [a.reshape(read[0].shape[:-1]) for a in moments]
        apply(program, parse(approx), self.dtype, [*read, *self.columns, target, *totals], (eps,))
        if written is None:
            along.back(target, sink, self.axes)

    def gradients(
        self, norm: str, suffix: str, approx: Approx, sink: Array, eps: float, moments: tuple[Array, ...], mean: Array
    ) -> tuple[Array, Array]:
        """Write the gradient of x to the sink; those of weight and bias. ``moments`` become the rows' own, the inverse
        deviation last."""
        backward = f"{norm}_backward{'' if not self.columns else '_weight'}{suffix}"
        if not any(np.may_share_memory(a, sink) for a in self.elements):
            self.run(backward, approx, sink, eps, moments)
            return self.parameters(approx, mean, moments[-1])
        name = f"{norm}_moment{'s' if len(moments) > 1 else ''}{suffix}"
        if sink.size:
            read = self.rows()[1]
            apply(name, parse(approx), self.dtype, [read, *(a.reshape(read.shape[:-1]) for a in moments)], (eps,))
        slopes = self.parameters(approx, mean, moments[-1])  # before x is overwritten
        self.run(backward, approx, sink, eps, moments)
        return slopes

    def parameters(self, approx: Approx, mean: Array, r: Array) -> tuple[Array, Array]:
        """The gradients of weight and bias: sums over the rows, for rows with a mean and an inverse deviation each."""
        length = prod(self.normalised)
        gradients = np.zeros((2, length), self.dtype)
        g, x = (np.ascontiguousarray(a).reshape(-1, length).T if length else a for a in self.rows())
        if length and g.shape[1]:
            columns = [np.ascontiguousarray(a.reshape(-1)) for a in (mean, r)]
            apply("norm_parameters", parse(approx), self.dtype, [g, x, *columns, *gradients])
        first, second = gradients.reshape(2, *self.normalised)
        return first, second


class Norm:
    """A norm, with the gradients of its arguments."""

    def __init__(self, name: str) -> None:
        self.__name__ = self.__qualname__ = name
        self._calls: Calls = {}
        self._slopes = Gradients()
        """How calls are done, by tier and axis, by what arrays are that are `along.plain`, and by what else counts."""

    def _axes(self, form: str, axis: Axis) -> Callable[[int], tuple[int, ...]]:
        """The axes meant, for an array of so many."""
        return functools.partial(along.axes, self.__name__ + form, axis)

    def __repr__(self) -> str:
        return f"<fastact function '{self.__name__}'>"

    def __reduce__(self) -> str:
        return self.__name__


class RmsNorm(Norm):
    """rms_norm(x, weight=None, *, axis=-1, eps=None): x/sqrt(mean(x^2) + eps) times the weight.

    x : array_like
    weight : array_like of the shape that x has along ``axis``
    axis : int, tuple of ints or None (all): the axes over which the mean is taken
    eps : at least 0; None is the distance from 1 to the next number of x's dtype, as in PyTorch
    out : array of the shape of x
    approx : 'exact', 'fast' or 'rough', as everywhere

    Accuracy: without a weight `exact` is within 0.51 ULP of the true value, `fast` and `rough` within 4; with one,
    where x/sqrt(mean(x^2) + eps) is not subnormal.

    Raises numpy.exceptions.AxisError for an axis that x has not; ValueError for a weight or an ``out`` of the wrong
    shape, an ``out`` that is read-only or shares memory with an input elsewhere, a bad eps, an unknown tier; TypeError
    for other dtypes. B. Zhang and R. Sennrich, Root mean square layer normalization, arXiv:1910.07467."""

    def __call__(
        self, x: Any, weight: Any = None, *, axis: Axis = -1, eps: float | None = None, out: Any = None,
        approx: Approx = None,
    ) -> Any:  # fmt: skip
        tier = approx if type(approx) is str else parse(approx)
        key = None
        if type(x) is ndarray and type(axis) is int and (eps is None or (type(eps) is float and 0.0 <= eps < 1.0)):
            key = tier, axis, x.dtype, x.shape, eps is not None and eps < TINY, weight is None
            known = self._calls.get(key)
            result = None if known is None else known(x, weight, out, eps)
            if result is not None:
                return result
        tier = parse(tier)
        if (eps is None or usual(eps)) and along.plain(axis, x, columns=(weight,), out=out):
            number = _spacing(along.USUAL[x.dtype]) if eps is None else eps
            found = _kernel("rms_norm", x.dtype, tier, number < TINY, weight is not None, False)
            sink = empty_like(x) if out is None else out
            plan = calls.in_order(found, _there(x, weight, sink), (number,))
            if key is not None:
                usually = (_spacing(along.USUAL[x.dtype]),)
                remember(self._calls, key, Call(plan, (x, weight), sink, usually))
            return sink
        if elsewhere((x, weight), {"out": out}):
            from fastact.cuda.rows import calls as device

            def chosen(dtype: str) -> tuple[str, float]:
                number = self._eps(self.__name__, dtype, eps)
                return f"rms_norm{_suffix(dtype, number, weight=weight)}", number

            return device.norm(self.__name__, tier, self._axes("", axis), x, {"weight": weight}, chosen, out)
        call = _Call(self.__name__, axis, {"x": x}, {"weight": weight})
        number = self._eps(call.name, call.kind, eps)
        sink = call.sink(out)
        call.run(f"rms_norm{_suffix(call.kind, number, weight=weight)}", approx, sink.array, number)
        return sink.result()

    def backward(
        self, g: Any, x: Any, weight: Any = None, *, axis: Axis = -1, eps: float | None = None, out: Any = None,
        approx: Approx = None,
    ) -> tuple[Any, Any]:  # fmt: skip
        """The gradients with respect to x and weight, from that with respect to the output, g.

        Without a weight, the second is what its gradient would be at 1. ``out`` takes the first."""
        tier, key = parse(approx), None
        if type(x) is ndarray and type(axis) is int and (eps is None or usual(eps)):
            key = tier, axis, x.dtype, x.shape, eps is not None and eps < TINY, weight is None
            again = None if out is not None else self._slopes.again(key, g, x, weight, eps, False)
            if again is not None:
                return again[:2]
        if key is not None and along.plain(axis, g, x, columns=(weight,), out=out, apart=True):
            number = _spacing(along.USUAL[x.dtype]) if eps is None else eps
            found = _kernel("rms_norm_backward", x.dtype, tier, number < TINY, weight is not None, False)
            return self._slopes.begin(key, found, g, x, weight, number, False, out)[:2]
        if elsewhere((g, x, weight), {"out": out}):
            from fastact.cuda.rows import calls as device

            def chosen(dtype: str) -> tuple[str, str, float]:
                number = self._eps(f"{self.__name__}.backward", dtype, eps)
                moment = f"rms_norm_moment{_suffix(dtype, number)}"
                return moment, f"rms_norm_backward{_suffix(dtype, number, weight=weight)}", number

            name, axes = f"{self.__name__}.backward", self._axes(".backward", axis)
            return device.norm_backward(name, tier, axes, g, x, weight, None, chosen, out)[:2]
        call = _Call(f"{self.__name__}.backward", axis, {"g": g, "x": x}, {"weight": weight})
        number = self._eps(call.name, call.kind, eps)
        sink = call.sink(out)
        count = prod(call.shape) // max(prod(call.normalised), 1)
        mean, r = np.zeros(count), np.empty(count)
        slope, _ = call.gradients("rms_norm", _suffix(call.kind, number), approx, sink.array, number, (r,), mean)
        return sink.result(), slope[()]

    def _eps(self, name: str, dtype: str, eps: float | None) -> float:
        return _spacing(dtype) if eps is None else number_of(name, eps)


class LayerNorm(Norm):
    """layer_norm(x, weight=None, bias=None, *, axis=-1, eps=1e-5): (x - mean)/sqrt(variance + eps) weight + bias.

    x : array_like
    weight, bias : array_like of the shape that x has along ``axis``
    axis : int, tuple of ints or None (all): the axes over which mean and variance are taken. PyTorch's normalized_shape
        (a, b) is axis=(-2, -1)
    eps : at least 0
    out : array of the shape of x
    approx : 'exact', 'fast' or 'rough', as everywhere

    The variance is that of the numbers given, as in PyTorch: the mean of squares of differences from the mean.

    Accuracy: with t = (x - mean)/sqrt(variance + eps) weight, the error is at most half a unit in the last place of the
    result and 0.01 of t in `exact`, and 4 units of |t| + |bias| in `fast` and `rough`, however large the mean is beside
    the deviation. In float64 `fast` and `rough` they are 4 units of max(|t|, |weight|) + |bias|. Rows of nothing but
    subnormal numbers are known to the smallest of these only.

    Errors as for `rms_norm`. J. L. Ba, J. R. Kiros and G. E. Hinton, Layer normalization, arXiv:1607.06450."""

    def __call__(
        self, x: Any, weight: Any = None, bias: Any = None, *, axis: Axis = -1, eps: float = 1e-5, out: Any = None,
        approx: Approx = None,
    ) -> Any:  # fmt: skip
        tier = approx if type(approx) is str else parse(approx)
        key = None
        if type(x) is ndarray and type(axis) is int and type(eps) is float and 0.0 <= eps < 1.0:
            key = tier, axis, x.dtype, x.shape, eps < TINY, weight is None, bias is None
            known = self._calls.get(key)
            result = None if known is None else known(x, weight, bias, out, eps)
            if result is not None:
                return result
        tier = parse(tier)
        if usual(eps) and along.plain(axis, x, columns=(weight, bias), out=out):
            found = _kernel("layer_norm", x.dtype, tier, eps < TINY, weight is not None, bias is not None)
            sink = empty_like(x) if out is None else out
            plan = calls.in_order(found, _there(x, weight, bias, sink), (eps,))
            if key is not None:
                remember(self._calls, key, Call(plan, (x, weight, bias), sink, (eps,)))
            return sink
        if elsewhere((x, weight, bias), {"out": out}):
            from fastact.cuda.rows import calls as device

            def chosen(dtype: str) -> tuple[str, float]:
                number = number_of(self.__name__, eps)
                return f"layer_norm{_suffix(dtype, number, weight=weight, bias=bias)}", number

            columns = {"weight": weight, "bias": bias}
            return device.norm(self.__name__, tier, self._axes("", axis), x, columns, chosen, out)
        call = _Call(self.__name__, axis, {"x": x}, {"weight": weight, "bias": bias})
        number = number_of(call.name, eps)
        sink = call.sink(out)
        call.run(f"layer_norm{_suffix(call.kind, number, weight=weight, bias=bias)}", approx, sink.array, number)
        return sink.result()

    def backward(
        self, g: Any, x: Any, weight: Any = None, bias: Any = None, *, axis: Axis = -1, eps: float = 1e-5,
        out: Any = None, approx: Approx = None,
    ) -> tuple[Any, Any, Any]:  # fmt: skip
        """The gradients with respect to x, weight and bias, from that with respect to the output, g.

        Without a weight, the second is what its gradient would be at 1. The bias may be given as to the function, but
        no gradient depends on it. ``out`` takes the first."""
        tier, key = parse(approx), None
        if type(x) is ndarray and type(axis) is int and usual(eps):
            key = tier, axis, x.dtype, x.shape, eps < TINY, weight is None
            if out is None and bias is None:
                again = self._slopes.again(key, g, x, weight, eps, True)
                if again is not None:
                    return again
        if key is not None and along.plain(axis, g, x, columns=(weight, bias), out=out, apart=True):
            found = _kernel("layer_norm_backward", x.dtype, tier, eps < TINY, weight is not None, False)
            return self._slopes.begin(key, found, g, x, weight, eps, True, out)
        if elsewhere((g, x, weight, bias), {"out": out}):
            from fastact.cuda.rows import calls as device

            def chosen(dtype: str) -> tuple[str, str, float]:
                number = number_of(f"{self.__name__}.backward", eps)
                moments = f"layer_norm_moments{_suffix(dtype, number)}"
                return moments, f"layer_norm_backward{_suffix(dtype, number, weight=weight)}", number

            name, axes = f"{self.__name__}.backward", self._axes(".backward", axis)
            return device.norm_backward(name, tier, axes, g, x, weight, bias, chosen, out)
        if bias is not None:
            _Call(f"{self.__name__}.backward", axis, {"x": x}, {"bias": bias})  # which refuses a wrong shape
        call = _Call(f"{self.__name__}.backward", axis, {"g": g, "x": x}, {"weight": weight})
        number = number_of(call.name, eps)
        sink = call.sink(out)
        count = prod(call.shape) // max(prod(call.normalised), 1)
        mean, r = np.empty((2, count))
        suffix = _suffix(call.kind, number)
        slope, shift = call.gradients("layer_norm", suffix, approx, sink.array, number, (mean, r), mean)
        return sink.result(), slope[()], shift[()]


rms_norm = RmsNorm("rms_norm")
layer_norm = LayerNorm("layer_norm")
__all__ = ["LayerNorm", "RmsNorm", "layer_norm", "rms_norm"]
