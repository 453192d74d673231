"""batch_norm with given moments, with the gradients of x, weight and bias.

Arrays, sums and what ``out`` may be are as in `fastact.norms`.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fastact import along
from fastact.along import Array
from fastact.arguments import elsewhere
from fastact.cpu.entries.rows import Call, remember
from fastact.cpu.rows import calls
from fastact.norms import Norm, number_of, usual
from fastact.precision import Approx, parse
from fastact.programs import apply, empty, empty_like, kernel_for, ndarray


def _whole(name: str, axis: Any) -> int:
    if not hasattr(axis, "__index__"):
        raise TypeError(f"{name}(): axis is a whole number, not {type(axis).__name__}")
    return int(axis.__index__())


class BatchNorm(Norm):
    """batch_norm(x, mean, variance, weight=None, bias=None, *, axis=1, eps=1e-5), with moments that are given, as in
    inference: (x - mean)/sqrt(variance + eps) weight + bias.

    x : array_like
    mean, variance, weight, bias : array_like of as many numbers as x has channels
    axis : the axis of the channels
    eps : at least 0
    out : array of the shape of x
    approx : 'exact', 'fast' or 'rough', as everywhere

    Accuracy: with t = (x - mean)/sqrt(variance + eps) weight, the error is at most half a unit in the last place of the
    result and 0.01 of t in `exact`, and 4 units of |t| + |bias| in `fast` and `rough`.

    Errors as for `rms_norm`. S. Ioffe and C. Szegedy, Batch normalization, arXiv:1502.03167."""

    def __call__(
        self, x: Any, mean: Any, variance: Any, weight: Any = None, bias: Any = None, *, axis: int = 1,
        eps: float = 1e-5, out: Any = None, approx: Approx = None,
    ) -> Any:  # fmt: skip
        tier = approx if type(approx) is str else parse(approx)
        if type(x) is ndarray and type(axis) is int and type(eps) is float and 0.0 <= eps < 1.0:
            key = tier, axis, x.dtype, x.shape
            known = self._calls.get(key)
            result = None if known is None else known(x, mean, variance, weight, bias, out, eps)
            if result is not None:
                return result
        moments = mean, variance, weight, bias
        if _matrix(axis, eps, x, mean, variance) and along.plain(axis, x, columns=moments, out=out):
            result = empty(x.shape, x.dtype) if out is None else out
            instead = None, None, _constant(1.0, x.shape[1], x.dtype), _constant(0.0, x.shape[1], x.dtype)
            arrays = [x, *(b if a is None else a for a, b in zip(moments, instead, strict=True)), result]
            plan = calls.turned(kernel_for("batch_norm", x.dtype, parse(tier)), arrays, (eps,))
            remember(self._calls, key, Call(plan, (x, *moments), result, (eps,), (None, *instead)))
            return result
        tier = parse(tier)
        _check_given(self.__name__, mean=mean, variance=variance)
        if elsewhere((x, mean, variance, weight, bias), {"out": out}):
            from fastact.cuda.rows import calls as device

            given = {"mean": mean, "variance": variance, "weight": weight, "bias": bias}
            number, meant = number_of(self.__name__, eps), self._axes("", _whole(self.__name__, axis))
            return device.batch_norm(self.__name__, tier, meant, x, given, number, out)
        call = _Channels(
            self.__name__, axis, {"x": x}, [("mean", mean), ("variance", variance), ("weight", weight), ("bias", bias)]
        )
        number = number_of(call.name, eps)
        sink = call.sink(out)
        call.spread("batch_norm", approx, call.elements[0], call.moments, sink.array, number)
        return sink.result()

    def backward(
        self, g: Any, x: Any, mean: Any, variance: Any, weight: Any = None, *, axis: int = 1, eps: float = 1e-5,
        out: Any = None, approx: Approx = None,
    ) -> tuple[Any, Any, Any]:  # fmt: skip
        """The gradients with respect to x, weight and bias, from that with respect to the output, g; mean and variance
        are held.

        Without a weight, the second is what its gradient would be at 1. ``out`` takes the first."""
        tier, key = parse(approx), None
        given = mean, variance, weight
        if type(x) is ndarray and type(axis) is int and usual(eps):
            key = tier, axis, x.dtype, x.shape
            first, second = self._slopes.first.get(key), self._slopes.second.get(key)
            if out is None and first is not None and second is not None:
                slope, shift = empty((2, x.shape[1]), x.dtype)
                if first(g, x, mean, variance, slope, shift, eps) is not None:
                    result = second(g, variance, weight, None, eps)
                    if result is not None:
                        return result, slope, shift
        if key is not None and _matrix(axis, eps, x, mean, variance) and along.plain(
            axis, g, x, columns=given, out=out
        ):
            slope, shift = empty((2, x.shape[1]), x.dtype)
            sink = empty_like(x) if out is None else out
            kernel = kernel_for("batch_norm_parameters", x.dtype, tier)
            sums = calls.turned(kernel, (g, x, mean, variance, slope, shift), (eps,))
            ones = _constant(1.0, x.shape[1], x.dtype)
            weights = ones if weight is None else weight
            plan = calls.turned(kernel_for("batch_norm_backward", x.dtype, tier), (g, variance, weights, sink), (eps,))
            own = Call(sums, (g, x, mean, variance), slope, (eps,), elements=0, further=(shift,))
            remember(self._slopes.first, key, own)
            own = Call(plan, (g, variance, weight), sink, (eps,), (None, None, ones), elements=0)
            remember(self._slopes.second, key, own)
            return sink, slope, shift
        name = f"{self.__name__}.backward"
        _check_given(name, mean=mean, variance=variance)
        if elsewhere((g, x, mean, variance, weight), {"out": out}):
            from fastact.cuda.rows import calls as device

            moments = {"mean": mean, "variance": variance, "weight": weight}
            number, meant = number_of(name, eps), self._axes(".backward", _whole(name, axis))
            return device.batch_norm_backward(name, tier, meant, g, x, moments, number, out)
        call = _Channels(name, axis, {"g": g, "x": x}, [("mean", mean), ("variance", variance), ("weight", weight)])
        number = number_of(name, eps)
        sink = call.sink(out)
        slope, shift = np.zeros((2, call.channels), call.dtype)
        if call.elements[0].size:
            others = tuple(d for d in range(len(call.shape)) if d != call.axis)
            views = [along.rows(a, others) for a in call.elements]
            read = [along.copied_rows(a, others) if v is None else v for a, v in zip(call.elements, views, strict=True)]
            arrays = [*read, *call.moments[:2], slope, shift]
            apply("batch_norm_parameters", parse(approx), call.dtype, arrays, (number,))
        call.spread("batch_norm_backward", approx, call.elements[0], call.moments[1:], sink.array, number)
        return sink.result(), slope, shift


def _matrix(axis: Any, eps: Any, x: Any, *moments: Any) -> bool:
    """Whether channels are the columns of an array, moments are arrays, and eps is as it mostly is."""
    if type(x) is not np.ndarray or x.ndim != 2 or type(axis) is not int or not usual(eps):
        return False
    return all([type(a) is np.ndarray for a in moments])


def _check_given(name: str, **moments: Any) -> None:
    for label, value in moments.items():
        if value is None:
            raise TypeError(f"{name}(): {label} has to be given; only weight and bias may be left out")


@functools.lru_cache(maxsize=16)
def _constant(number: float, count: int, dtype: np.dtype[Any]) -> Array:
    """What stands for a weight or a bias that is not given."""
    return np.full(count, number, dtype)


class _Channels:
    """The arguments of a norm of channels."""

    def __init__(self, name: str, axis: int, elements: dict[str, Any], moments: list[tuple[str, Any]]) -> None:
        self.name = name
        given = {label: along.array(name, label, value) for label, value in elements.items()}
        along.same_shape(name, **given)
        self.shape = next(iter(given.values())).shape
        (self.axis,) = along.axes(name, _whole(name, axis), max(len(self.shape), 1))
        self.channels = self.shape[self.axis] if self.shape else 1
        extra = []
        for label, value in moments:
            if value is None:
                value = np.full(self.channels, label == "weight", next(iter(given.values())).dtype)
            array = along.array(name, label, value)
            if array.shape != (self.channels,):
                raise ValueError(
                    f"{name}(): {label} has shape {array.shape}, but x, of shape {self.shape}, has {self.channels} "
                    f"channels along axis {self.axis}"
                )
            extra.append(array)
        arrays = along.common(*given.values(), *extra)
        self.elements, self.moments = arrays[: len(given)], arrays[len(given) :]
        self.dtype = self.elements[0].dtype

    def sink(self, out: Any) -> along.Sink:
        checked = along.check_out(self.name, out, self.shape, self.dtype, self.elements, self.moments)
        return along.Sink(checked, self.elements[-1], self.shape, self.dtype)

    def spread(self, program: str, approx: Approx, x: Array, moments: list[Array], sink: Array, eps: float) -> None:
        """Run a program of every element and the numbers of its channel."""
        if not sink.size:
            return
        if x.ndim == 0:
            x, sink = x.reshape(1), sink.reshape(1)
        # Rows are what follows the channel, or else what comes before it.
        axes = tuple(range(self.axis + 1, x.ndim)) or tuple(range(self.axis))
        views = [along.rows(a, axes) for a in (x, sink)]
        read = along.copied_rows(x, axes) if views[0] is None else views[0]
        target = np.empty(read.shape, self.dtype) if views[1] is None else views[1]
        outer = tuple(n for d, n in enumerate(x.shape) if d not in axes)  # the last of these are the channels
        spread = [a if a.shape == outer else np.broadcast_to(a, outer) for a in moments]
        apply(program, parse(approx), self.dtype, [read, *spread, target], (eps,))
        if views[1] is None:
            along.back(target, sink, axes)


batch_norm = BatchNorm("batch_norm")
__all__ = ["BatchNorm", "batch_norm"]
