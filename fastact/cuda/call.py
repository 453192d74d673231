"""Calls of the front door with arrays on a CUDA device: everything is checked before anything is launched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastact.cuda import arrays, launch
from fastact.cuda.arrays import View, compact
from fastact.cuda.kernels import Kernel
from fastact.cuda.plan import Operand, broadcast, plan
from fastact.kernels import REGISTRY, Rejection
from fastact.link.forms import Form, forms, summed_parameter
from fastact.link.linker import STORAGE

OFFERED = "float16, bfloat16, float32 and float64"
_NUMBERS = (bool, int, float, np.bool_, np.integer, np.floating)


@dataclass(frozen=True)
class Target:
    """What is called: a form of a function or of a gate, under the name that users know it by."""

    title: str
    name: str
    form: Form
    rejections: tuple[Rejection, ...] = ()
    outputs: int = 1

    @property
    def required(self) -> int:
        return len(self.form.arguments) - len(self.form.parameters)


def is_number(value: Any) -> bool:
    """Whether a value is passed along with the launch; arrays without axes on the host are numbers, too."""
    return isinstance(value, _NUMBERS) or (
        isinstance(value, np.ndarray) and not value.ndim and value.dtype.kind in "biuf"
    )


def call(
    target: Target,
    tier: str,
    args: Sequence[Any],
    options: dict[str, Any],
    configuration: tuple[Any, ...] | None = None,
) -> Any:
    """The result, on the device and of the kind of the first device array among the arguments; a tuple of several.

    ``configuration`` is a grid, and perhaps a stream, to be taken as given."""
    inputs, outs, left_out = _bound(target, args, options)
    form = target.form
    if left_out and form.usual:
        form = forms(REGISTRY[target.name])[form.usual]
        inputs = inputs[: target.required]
    views, results = _views(target, inputs, outs)
    given = [view for view in views if view is not None]
    first = next(place for place, view in enumerate(views) if view is not None)
    dtype, device, stream = given[0].dtype, given[0].device, given[0].stream
    if not left_out:
        with np.errstate(all="ignore"):
            rounded = [float(_rounded(value, dtype)) if is_number(value) else value for value in inputs]
        _check_ranges(target, rounded[target.required :], f" in {dtype}")
    shape = _shape(target, views, results)
    with launch.on(device):
        launch.wait([*given, *(view for view in results if view is not None)], stream, device)
        for place in range(target.outputs):
            if outs[place] is None:
                outs[place] = arrays.empty_like(inputs[first], given[0], shape, strides_like(given, shape))
                results[place] = arrays.view(outs[place])
            else:
                _check_overlap(target, views, results, place)
        written = [view for view in results if view is not None]
        if written[0].size:
            operands = [
                broadcast(view, shape) if view is not None else Operand(number=_bits(value, dtype))
                for view, value in zip(views, inputs, strict=True)
            ]
            sinks = [broadcast(view, shape) for view in written]
            for layout, indices, arguments in plan(STORAGE[dtype], shape, operands, sinks):
                kernel = Kernel(target.name, form.name, dtype, tier, layout)
                launch.launch(kernel, indices, arguments, stream, device, configuration)
    return outs[0] if target.outputs == 1 else tuple(outs)


def _shape(target: Target, views: list[View | None], results: list[View | None]) -> tuple[int, ...]:
    """The shape to which all inputs are broadcast, which every output has to have."""
    arguments = target.form.arguments
    try:
        shape = np.broadcast_shapes(*(view.shape for view in views if view is not None))
    except ValueError:
        shapes = ", ".join(f"{n} {v.shape}" for n, v in zip(arguments, views, strict=False) if v is not None)
        raise ValueError(f"{target.title}(): shapes do not broadcast: {shapes}") from None
    summed = summed_parameter(target.form)
    if summed:
        wanted = views[arguments.index(summed)]
        if wanted is None or wanted.shape != shape:
            raise NotImplementedError(
                f"{target.title}() sums over the axes along which {summed} is broadcast, which is not done on a device "
                f"yet; use .grad_{summed}, which is not summed, and the sum of the array's own library"
            )
    for view in results:
        if view is not None and view.shape != shape:
            raise ValueError(f"{target.title}(): out has shape {view.shape}, but the result has {shape}")
    return shape


# -- arguments --------------------------------------------------------------------------------------------------------
def _bound(target: Target, args: Sequence[Any], options: dict[str, Any]) -> tuple[list[Any], list[Any], bool]:
    """The inputs in order, the outputs as far as they are given, and whether all parameters were left out."""
    title, form, required = target.title, target.form, target.required
    names = [p.name for p in form.parameters]
    unknown = [option for option in options if option not in names and option != "out"]
    if unknown:
        known = ", ".join([*names, "approx", "out"])
        raise TypeError(f"{title}() of device arrays has no argument {', '.join(map(repr, unknown))}; it has {known}")
    if len(args) < required:
        missing = ", ".join(form.arguments[len(args) : required])
        raise TypeError(f"{title}() is missing its argument{'s' if required - len(args) > 1 else ''} {missing}")
    most = len(form.arguments) + target.outputs
    if len(args) > most:
        raise TypeError(f"{title}() takes at most {most} positional arguments ({', '.join(form.arguments)}, out)")
    out = options.get("out")
    further = list(args[len(form.arguments) :])
    if further and out is not None:
        raise TypeError(f"{title}() got out both by position and by name")
    outs = further or (list(out) if isinstance(out, tuple) else [out])
    if len(outs) > target.outputs or (isinstance(out, tuple) and len(outs) < target.outputs):
        number = "one array" if target.outputs == 1 else f"{target.outputs} arrays"
        raise TypeError(f"{title}(): out is {number}, not {len(outs)}")
    outs += [None] * (target.outputs - len(outs))
    inputs = list(args[: len(form.arguments)])
    left_out = len(inputs) == required and not any(name in options for name in names)
    for parameter in form.parameters[len(inputs) - required :]:
        value = options.get(parameter.name, parameter.default)
        if value is None:
            raise TypeError(f"{title}() is missing its argument {parameter.name}")
        inputs.append(value)
    for parameter in form.parameters[: len(args) - required]:
        if parameter.name in options:
            raise TypeError(f"{title}() got {parameter.name} both by position and by name")
    _check_ranges(target, inputs[required:])
    return inputs, outs, left_out


def _check_ranges(target: Target, values: list[Any], where: str = "") -> None:
    """Of parameters that are numbers; what arrays hold stays on the device. A small number may be 0 in a dtype."""
    for parameter, value in zip(target.form.parameters, values, strict=True):
        if not is_number(value):
            continue
        low, high = parameter.above, parameter.below
        if (low is not None and value <= low) or (high is not None and value >= high):
            limits = f"({'-inf' if low is None else f'{low:g}'}, {'inf' if high is None else f'{high:g}'})"
            raise ValueError(
                f"{target.title}(): {parameter.name} is {value}{where}, outside the open interval {limits}"
            )
    if all(map(is_number, values)):
        numbers = [value if type(value) in (bool, int, float) else np.asarray(value) for value in values]  # these adapt
        for rejection in target.rejections:
            if (not rejection.forms or target.form.name in rejection.forms) and np.any(
                np.asarray(rejection.violated(*numbers))
            ):
                raise ValueError(f"{target.title}(): {rejection.reason}{where and f', as they are{where}'}")


def _views(target: Target, inputs: list[Any], outs: list[Any]) -> tuple[list[View | None], list[View | None]]:
    """Where inputs and outputs lie; None for numbers and for outputs that are yet to be made."""
    labels = target.form.arguments[: len(inputs)]
    return find(target.title, labels, inputs, outs, labels[target.form.place])


def _view(title: str, label: str, value: Any) -> View:
    if not arrays.on_device(value):
        raise TypeError(
            f"{title}() takes arrays that are all on one CUDA device or all on the host, "
            f"but {label} is a {type(value).__name__} on the host"
        )
    try:
        return arrays.view(value)
    except arrays.Unsuitable as error:
        raise TypeError(f"{title}() takes {OFFERED} on a device, but {label} {error}") from None


def find(
    title: str, names: Sequence[str], inputs: Sequence[Any], outs: Sequence[Any], main: str
) -> tuple[list[View | None], list[View | None]]:
    """Where inputs with names, of which one is the main one, and outputs lie; None for numbers and for None."""
    labels = [*names, *["out"] * len(outs)]
    views: list[View | None] = []
    for label, value in zip(labels, [*inputs, *outs], strict=True):
        if value is None or (label != "out" and is_number(value)):
            views.append(None)
        else:
            views.append(_view(title, label, value))
    given = [(label, view) for label, view in zip(labels, views, strict=True) if view is not None]
    if all(label == "out" for label, _ in given):
        raise TypeError(f"{title}(): out is on a CUDA device, but {main} is not")
    first_label, first = given[0]
    for label, view in given[1:]:
        if view.dtype != first.dtype:
            raise TypeError(
                f"{title}() takes one dtype on a device, but {first_label} is {first.dtype} and {label} {view.dtype}"
            )
        if None not in (view.device, first.device) and view.device != first.device:
            raise ValueError(f"{title}(): {first_label} is on CUDA device {first.device}, but {label} on {view.device}")
    results = views[len(inputs) :]
    if any(view is not None and not view.writeable for view in results):
        raise ValueError(f"{title}(): out is read-only")
    return views[: len(inputs)], results


def _check_overlap(target: Target, inputs: list[View | None], results: list[View | None], place: int) -> None:
    """An output may be an input, or lie apart from it, and lies apart from other outputs."""
    out = results[place]
    assert out is not None
    others = [*zip(target.form.arguments, inputs, strict=False), *(("another out", view) for view in results[:place])]
    apart(target.title, out, others)


def apart(title: str, out: View, others: Sequence[tuple[str, View | None]], never: Sequence[str] = ()) -> None:
    """ValueError if an output shares memory with another array without being the same, or with one that it may never
    be, or with itself."""
    low, high = out.extent
    if any(step == 0 and length > 1 for length, step in zip(out.shape, out.strides, strict=True)):
        raise ValueError(f"{title}(): elements of out share memory")
    for label, view in others:
        if view is None:
            continue
        equal = (view.address, view.shape, view.strides) == (out.address, out.shape, out.strides)
        if equal and label != "another out" and label not in never:
            continue
        start, end = view.extent
        if start < high and low < end and not _interleaved(view, out):
            raise ValueError(f"{title}(): out and {label} overlap in memory without being the same array")


def _interleaved(one: View, other: View) -> bool:
    """Whether two views of equal strides, such as the halves of an array, are known to have no element in common."""
    if one.strides != other.strides or one.shape != other.shape:
        return False
    axes = sorted(((s, n) for n, s in zip(one.shape, one.strides, strict=True) if n > 1), reverse=True)
    if any(step < beneath * length for (step, _), (beneath, length) in pairwise(axes)) or axes[-1][0] <= 0:
        return False
    return not _meet(one.address - other.address, axes, arrays.ITEMSIZE[one.dtype])


def _meet(distance: int, axes: list[tuple[int, int]], itemsize: int) -> bool:
    """Whether a distance lies between two elements of an array with these (strides, lengths), from large to small."""
    if not axes:
        return abs(distance) < itemsize
    (step, length), *rest = axes
    nearest = (distance // step, distance // step + 1)
    return any(abs(count) < length and _meet(distance - count * step, rest, itemsize) for count in nearest)


def like(value: Any) -> Any:
    """A new array of the shape of a device array, and of its library, dtype and device."""
    view = arrays.view(value)
    with launch.on(view.device):
        return arrays.empty_like(value, view, view.shape, strides_like([view], view.shape))


def shape_of(title: str, label: str, value: Any) -> tuple[int, ...]:
    """The shape of a device array."""
    return _view(title, label, value).shape


class Part:
    """A part of an array that cannot be cut itself."""

    def __init__(self, value: Any, view: View, shape: tuple[int, ...], offset: int) -> None:
        self.dtype, self.keep, self.device = view.dtype, value, SimpleNamespace(id=view.device)
        typestr = "<V2" if view.dtype == "bfloat16" else np.dtype(view.dtype).str
        self.__cuda_array_interface__ = {
            "shape": shape, "strides": view.strides, "data": (view.address + offset, not view.writeable),
            "typestr": typestr, "version": 3, "stream": view.stream,
        }  # fmt: skip


def split(value: Any, axis: int) -> tuple[Any, Any]:
    """The two halves of a device array along an axis, which counts from the front and has an even length."""
    before = (slice(None),) * axis
    if hasattr(value, "__getitem__"):
        half = value.shape[axis] // 2
        return value[(*before, slice(None, half))], value[(*before, slice(half, None))]
    view = arrays.view(value)
    half = view.shape[axis] // 2
    shape = (*view.shape[:axis], half, *view.shape[axis + 1 :])
    return Part(value, view, shape, 0), Part(value, view, shape, half * view.strides[axis])


def strides_like(views: list[View], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Those of a new array of one piece, its axes in the order of the first input of its shape, as NumPy has it."""
    itemsize = arrays.ITEMSIZE[views[0].dtype]
    like = next((view for view in views if view.shape == shape), None)
    if like is None or 0 in like.strides:
        return compact(shape, itemsize)
    order = sorted(range(len(shape)), key=lambda axis: -abs(like.strides[axis]))
    packed = compact(tuple(shape[axis] for axis in order), itemsize)
    strides = dict(zip(order, packed, strict=True))
    return tuple(strides[axis] for axis in range(len(shape)))


def _rounded(value: Any, dtype: str) -> Any:
    return np.asarray(value, np.float64).astype(arrays.numpy_dtype(dtype))


def _bits(value: Any, dtype: str) -> int:
    """A number rounded to the dtype, as the bits that stand for it."""
    number = _rounded(value, dtype)
    return int(number.reshape(1).view(f"i{number.itemsize}")[0])


__all__ = ["Target", "call"]
