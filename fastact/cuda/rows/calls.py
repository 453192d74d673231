"""Calls of softmax, the norms and their relatives with arrays on a CUDA device: all is checked before anything is
launched."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from fastact.cuda import arrays, launch
from fastact.cuda.arrays import View, compact
from fastact.cuda.call import apart, find, strides_like
from fastact.cuda.kernels import COPY, Kernel
from fastact.cuda.plan import Operand, broadcast
from fastact.cuda.plan import plan as plan_elements
from fastact.cuda.rows.plan import Rows, moved, plan, rows
from fastact.link.linker import STORAGE

_FLOAT64 = "float64"
Axes = Callable[[int], tuple[int, ...]]
"""The axes that are meant, for an array of so many."""


def _float_bits(number: float) -> int:
    return int(np.array([number], np.float64).view(np.int64)[0])


class Call:
    """The arrays of a call: ``elements`` have one shape, of which ``extra`` ones have a part each.

    ``result`` is the shape of the result, if that is not the elements' own."""

    def __init__(
        self,
        title: str,
        elements: dict[str, Any],
        extra: dict[str, Any],
        out: Any,
        where: Any = True,
    ) -> None:
        self.title = title
        if where is not True and where is not None:
            raise NotImplementedError(f"{title}() of device arrays has no where= yet")
        if isinstance(out, tuple) and len(out) == 1:
            (out,) = out
        given = {**elements, **{label: value for label, value in extra.items() if value is not None}}
        main = list(elements)[-1]
        views, results = find(title, list(given), list(given.values()), [out], main)
        for label, view in zip(given, views, strict=True):
            if view is None:
                raise TypeError(f"{title}() takes arrays on one CUDA device, but {label} is a number on the host")
        self.views: dict[str, View] = {label: v for label, v in zip(given, views, strict=True) if v is not None}
        self.given, self.out, self.out_view = given, out, results[0]
        self.leader = self.views[main]
        self.main, self.value = main, given[main]
        self.dtype, self.shape = self.leader.dtype, self.leader.shape
        first = next(iter(self.views.values()))
        self.device, self.stream = first.device, first.stream
        self.temporary: list[Any] = []
        for label in elements:
            if self.views[label].shape != self.shape:
                shape = self.views[label].shape
                raise ValueError(f"{title}(): {label} has shape {shape} and {main} {self.shape}; they must be the same")

    # -- checks -------------------------------------------------------------------------------------------------------
    def check_shape(self, label: str, wanted: tuple[int, ...], reason: str) -> None:
        view = self.views.get(label)
        if view is not None and view.shape != wanted:
            raise ValueError(f"{self.title}(): {label} has shape {view.shape}, but {reason}")

    def check_out(self, shape: tuple[int, ...], never: Sequence[str] = ()) -> None:
        if self.out_view is None:
            return
        if self.out_view.shape != shape:
            raise ValueError(f"{self.title}(): out has shape {self.out_view.shape}, but the result has {shape}")
        apart(self.title, self.out_view, list(self.views.items()), never)

    # -- arrays -------------------------------------------------------------------------------------------------------
    def new(self, shape: tuple[int, ...], dtype: str | None = None, like: View | None = None) -> tuple[Any, View]:
        """A new array, in the order of another one's axes."""
        itemsize = arrays.ITEMSIZE[dtype or self.dtype]
        strides = strides_like([like], shape) if like is not None else compact(shape, itemsize)
        made = arrays.empty_like(self.value, self.leader, shape, strides, dtype)
        self.temporary.append(made)
        return made, arrays.view(made)

    def sink(self, shape: tuple[int, ...], like: View | None = None) -> tuple[Any, View]:
        """Where the result goes."""
        return (self.out, self.out_view) if self.out_view is not None else self.new(shape, like=like)

    def filled(self, number: float, count: int) -> Rows:
        """So many rows of one number."""
        _, view = self.new((1,))
        value = np.array([number], arrays.numpy_dtype(self.dtype))
        self._copied(Operand(number=int(value.view(f"i{value.itemsize}")[0])), view)
        return Rows(view.address, (0,) * count)

    def _copied(self, source: Operand, sink: View) -> None:
        target = broadcast(sink, sink.shape)
        for layout, indices, arguments in plan_elements(STORAGE[sink.dtype], sink.shape, [source], [target]):
            kernel = Kernel(COPY, "value", sink.dtype, "exact", layout)
            launch.launch(kernel, indices, arguments, self.stream, self.device)

    def rows(self, view: View, along: tuple[int, ...], read: bool = True) -> tuple[Rows, View | None]:
        """The rows of an array; where these have no single step those of a new one, which is the second result."""
        found = rows(view, along)
        if found is not None:
            return found, None
        turned = moved(view, along)
        _, copy = self.new(turned.shape, None if view.dtype == self.dtype else view.dtype)
        if read:
            self._copied(broadcast(turned, turned.shape), copy)
        last = tuple(range(len(turned.shape) - len(along), len(turned.shape)))
        joined = rows(copy, last)
        assert joined is not None
        return joined, copy

    def back(self, copy: View | None, view: View, along: tuple[int, ...]) -> None:
        """Put rows of another array where they belong."""
        if copy is not None:
            turned = moved(view, along)
            self._copied(broadcast(copy, copy.shape), turned)

    def run(
        self,
        program: str,
        tier: str,
        along: tuple[int, ...],
        operands: list[Rows],
        numbers: tuple[float, ...] = (),
        shape: tuple[int, ...] | None = None,
    ) -> None:
        """Run a program over the rows along some axes of arrays of a shape."""
        whole = self.shape if shape is None else shape
        outer = tuple(n for d, n in enumerate(whole) if d not in along)
        length = prod(whole[d] for d in along)
        bits = [_float_bits(number) for number in numbers]
        for found in plan(program, self.dtype, tier, length, outer, operands, bits):
            launch.launch_rows(found, self.stream, self.device)

    @contextlib.contextmanager
    def begin(self) -> Iterator[None]:
        """Work on the device, after what streams of other arrays have still to do."""
        given = [*self.views.values(), *([self.out_view] if self.out_view is not None else [])]
        with launch.on(self.device):
            launch.wait(given, self.stream, self.device)
            yield

    def spread(self, program: str, tier: str, along: tuple[int, ...], *, reads: list[View], further: list[Rows],
               sink: View, numbers: tuple[float, ...] = (), totals: Sequence[Rows] = ()) -> None:  # fmt: skip
        """Run a program of elements whose result has their shape."""
        given = [self.rows(view, along)[0] for view in reads]
        target, copy = self.rows(sink, along, read=False)
        self.run(program, tier, along, [*given, *further, target, *totals], numbers)
        self.back(copy, sink, along)


# -- softmax and its relatives ---------------------------------------------------------------------------------------
def elements(title: str, program: str, tier: str, axes: Axes, given: dict[str, Any], out: Any, where: Any) -> Any:
    """A program of arrays of one shape whose result has that shape."""
    call = Call(title, given, {}, out, where)
    along = axes(len(call.shape))
    call.check_out(call.shape)
    with call.begin():
        result, view = call.sink(call.shape, call.leader)
        if view.size:
            call.spread(program, tier, along, reads=list(call.views.values()), further=[], sink=view)
    return result


def backward(title: str, programs: tuple[str, str], tier: str, axes: Axes, g: Any, x: Any, out: Any, where: Any) -> Any:
    """The gradient from that with respect to the output, and x: the output is computed first."""
    call = Call(title, {"g": g, "x": x}, {}, out, where)
    along = axes(len(call.shape))
    call.check_out(call.shape)
    with call.begin():
        result, view = call.sink(call.shape, call.leader)
        if view.size:
            _, output = call.new(call.shape, like=call.leader)
            call.spread(programs[0], tier, along, reads=[call.leader], further=[], sink=output)
            call.spread(programs[1], tier, along, reads=[call.views["g"], output], further=[], sink=view)
    return result


def totals(
    title: str, program: str, tier: str, axes: Axes, x: Any, keepdims: bool, out: Any, where: Any, empty: float
) -> Any:
    """A program whose results are numbers of the rows, ``empty`` those of rows without elements."""
    call = Call(title, {"x": x}, {}, out, where)
    along = axes(len(call.shape))
    shape = _without(call.shape, along, keepdims)
    call.check_out(shape)
    with call.begin():
        result, view = call.sink(shape)
        if not call.leader.size:
            if view.size:
                number = np.array([empty], arrays.numpy_dtype(call.dtype))
                call._copied(Operand(number=int(number.view(f"i{number.itemsize}")[0])), view)
            return result
        read = call.rows(call.leader, along)[0]
        call.run(program, tier, along, [read, row_of(view, along, len(call.shape))])
    return result


def _without(shape: tuple[int, ...], along: tuple[int, ...], keepdims: bool) -> tuple[int, ...]:
    return tuple(1 if d in along else n for d, n in enumerate(shape) if keepdims or d not in along)


def row_of(view: View, along: tuple[int, ...], axes: int) -> Rows:
    """An array with a number for each row, with the axes of the elements in it or not."""
    kept = [k for k in range(axes) if k not in along]
    places = kept if len(view.shape) == axes else range(len(kept))
    return Rows(view.address, tuple(view.strides[k] if view.shape[k] != 1 else 0 for k in places))


def totals_backward(
    title: str, program: str, tier: str, axes: Axes, g: Any, x: Any, keepdims: bool, out: Any, where: Any
) -> Any:
    call = Call(title, {"x": x}, {"g": g}, out, where)
    along = axes(len(call.shape))
    shape = _without(call.shape, along, keepdims)
    call.check_shape("g", shape, f"the output for x of shape {call.shape} has {shape}")
    call.check_out(call.shape, ("g",))
    with call.begin():
        result, view = call.sink(call.shape, call.leader)
        if view.size:
            weights = row_of(call.views["g"], along, len(call.shape))
            call.spread(program, tier, along, reads=[call.leader], further=[weights], sink=view)
    return result


# -- norms ------------------------------------------------------------------------------------------------------------
def _columns(call: Call, labels: Sequence[str], along: tuple[int, ...]) -> list[Rows]:
    """Arrays of the shape that elements have along some axes."""
    found = []
    for label in labels:
        view = call.views.get(label)
        if view is not None:
            found.append(call.rows(view, tuple(range(len(view.shape))))[0])
    return found


def _normalised(call: Call, labels: Sequence[str], along: tuple[int, ...]) -> tuple[int, ...]:
    shape = tuple(call.shape[d] for d in along)
    for label in labels:
        reason = f"the axes of x, {call.shape}, that are normalised have {shape}"
        call.check_shape(label, shape, reason)
    return shape


def norm(
    title: str, tier: str, axes: Axes, x: Any, columns: dict[str, Any], chosen: Callable[[str], tuple[str, float]],
    out: Any,
) -> Any:  # fmt: skip
    """``chosen`` tells the program for a dtype, and eps."""
    call = Call(title, {"x": x}, columns, out)
    along = axes(len(call.shape))
    program, eps = chosen(call.dtype)
    _normalised(call, list(columns), along)
    call.check_out(call.shape, list(columns))
    with call.begin():
        result, view = call.sink(call.shape, call.leader)
        if view.size:
            more = _columns(call, list(columns), along)
            call.spread(program, tier, along, reads=[call.leader], further=more, sink=view, numbers=(eps,))
    return result


def norm_backward(
    title: str, tier: str, axes: Axes, g: Any, x: Any, weight: Any, bias: Any,
    chosen: Callable[[str], tuple[str, str, float]], out: Any,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """The gradients of x, weight and bias; ``chosen`` tells for a dtype the programs that find the moments, of which
    rms_norm has one, and the gradient of x, and eps."""
    call = Call(title, {"g": g, "x": x}, {"weight": weight, "bias": bias}, out)
    along = axes(len(call.shape))
    *programs, eps = chosen(call.dtype)
    shape = _normalised(call, ["weight", "bias"], along)
    call.check_out(call.shape, ("weight",))
    first = tuple(n for d, n in enumerate(call.shape) if d not in along)
    with call.begin():
        result, view = call.sink(call.shape, call.leader)
        slopes = [call.new(shape) for _ in range(2)]
        if view.size:
            reads = [call.views["g"], call.leader]
            moments = [call.new((prod(first),), _FLOAT64)[1] for _ in range(2)]
            known = [Rows(m.address, compact(first, 8)) for m in moments]
            if not programs[0].startswith("layer"):
                call._copied(Operand(number=0), moments[0])
                known = known[1:]
            more = _columns(call, ["weight"], along)
            parameters: list[Any] = [call, tier, along, reads, moments, [v for _, v in slopes]]
            inside = any(view.address == one.address for one in reads)
            if inside:  # x is overwritten in the end
                call.run(programs[0], tier, along, [call.rows(call.leader, along)[0], *known], (eps,))
                _parameters(*parameters)
            call.spread(programs[1], tier, along, reads=reads, further=more, sink=view, numbers=(eps,), totals=known)
            if not inside:
                _parameters(*parameters)
        else:
            for _, slope in slopes:
                if slope.size:
                    call._copied(Operand(number=0), slope)
    return result, slopes[0][0], slopes[1][0]


def _parameters(
    call: Call, tier: str, along: tuple[int, ...], reads: list[View], moments: list[View], slopes: list[View]
) -> None:
    """Sums over the rows of what they bring to weight and bias."""
    others = tuple(d for d in range(len(call.shape)) if d not in along)
    elements = [call.rows(view, others)[0] for view in reads]
    columns = [Rows(m.address, (), 8) for m in moments]
    sinks = [Rows(v.address, compact(v.shape, arrays.ITEMSIZE[call.dtype])) for v in slopes]
    call.run("norm_parameters", tier, others, [*elements, *columns, *sinks])


# -- batches ----------------------------------------------------------------------------------------------------------
class _Channels:
    """The channels of a call."""

    def __init__(self, call: Call, axis: int, labels: Sequence[str]) -> None:
        self.call, self.axis, self.axes = call, axis, len(call.shape)
        self.count = call.shape[axis] if call.shape else 1
        for label in labels:
            reason = f"x, of shape {call.shape}, has {self.count} channels along axis {axis}"
            call.check_shape(label, (self.count,), reason)
        # Rows are what follows the channel, or else what comes before it.
        self.along = tuple(range(axis + 1, self.axes)) or tuple(range(axis))

    def moment(self, label: str, along: tuple[int, ...]) -> Rows:
        """A number of the channel, for the rows along some axes."""
        kept = [d for d in range(self.axes) if d not in along]
        view = self.call.views.get(label)
        if view is None:
            return self.call.filled(1.0 if label == "weight" else 0.0, len(kept))
        step = view.strides[0] if self.count > 1 else 0
        return Rows(view.address, tuple(step if d == self.axis else 0 for d in kept))

    def spread(self, program: str, tier: str, x: View, labels: Sequence[str], sink: View, eps: float) -> None:
        moments = [self.moment(label, self.along) for label in labels]
        self.call.spread(program, tier, self.along, reads=[x], further=moments, sink=sink, numbers=(eps,))


def batch_norm(title: str, tier: str, axes: Axes, x: Any, moments: dict[str, Any], eps: float, out: Any) -> Any:
    call = Call(title, {"x": x}, moments, out)
    (axis,) = axes(max(len(call.shape), 1))
    channels = _Channels(call, axis, list(moments))
    call.check_out(call.shape, list(moments))
    with call.begin():
        result, view = call.sink(call.shape, call.leader)
        if view.size:
            channels.spread("batch_norm", tier, call.leader, list(moments), view, eps)
    return result


def batch_norm_backward(
    title: str, tier: str, axes: Axes, g: Any, x: Any, moments: dict[str, Any], eps: float, out: Any
) -> tuple[Any, Any, Any]:
    call = Call(title, {"g": g, "x": x}, moments, out)
    (axis,) = axes(max(len(call.shape), 1))
    channels = _Channels(call, axis, list(moments))
    call.check_out(call.shape, list(moments))
    with call.begin():
        result, view = call.sink(call.shape, call.leader)
        slopes = [call.new((channels.count,)) for _ in range(2)]
        if view.size:
            others = tuple(d for d in range(len(call.shape)) if d != axis)
            reads = [call.rows(v, others)[0] for v in (call.views["g"], call.leader)]
            known = [channels.moment(label, others) for label in ("mean", "variance")]
            sinks = [Rows(v.address, v.strides if call.shape else ()) for _, v in slopes]
            call.run("batch_norm_parameters", tier, others, [*reads, *known, *sinks], (eps,))
            channels.spread("batch_norm_backward", tier, call.views["g"], ("variance", "weight"), view, eps)
        else:
            for _, slope in slopes:
                if slope.size:
                    call._copied(Operand(number=0), slope)
    return result, slopes[0][0], slopes[1][0]


__all__ = ["batch_norm", "batch_norm_backward", "elements", "norm", "norm_backward", "totals", "totals_backward"]
