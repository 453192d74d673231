"""Calls of the front door with arrays on a CUDA device: everything is checked before anything is launched."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastact.cuda import arrays, launch
from fastact.cuda.arrays import View, compact
from fastact.cuda.kernels import Kernel
from fastact.cuda.plan import Operand, broadcast, plan
from fastact.kernels import Declaration
from fastact.link.forms import Form, forms, summed_parameter
from fastact.link.linker import STORAGE

OFFERED = "float16, bfloat16, float32 and float64"
_NUMBERS = (bool, int, float, np.bool_, np.integer, np.floating)


@dataclass(frozen=True)
class Target:
    """What is called: a form of a function, under the name that users know it by."""

    title: str
    declaration: Declaration
    form: Form

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
    """The result, on the device and of the kind of the first device array among the arguments.

    ``configuration`` is a grid, and perhaps a stream, to be taken as given."""
    inputs, out, left_out = _bound(target, args, options)
    form = target.form
    if left_out and form.usual:
        form = forms(target.declaration)[form.usual]
        inputs = inputs[: target.required]
    views = _views(target, inputs, out)
    given = [view for view in views[:-1] if view is not None]
    first = next(place for place, view in enumerate(views[:-1]) if view is not None)
    dtype, device = given[0].dtype, given[0].device
    try:
        shape = np.broadcast_shapes(*(view.shape for view in given))
    except ValueError:
        shapes = ", ".join(f"{n} {v.shape}" for n, v in zip(form.arguments, views, strict=False) if v is not None)
        raise ValueError(f"{target.title}(): shapes do not broadcast: {shapes}") from None
    summed = summed_parameter(form)
    if summed:
        wanted = views[form.arguments.index(summed)]
        if wanted is None or wanted.shape != shape:
            raise NotImplementedError(
                f"{target.title}() sums over the axes along which {summed} is broadcast, which is not done on a device "
                f"yet; use .grad_{summed}, which is not summed, and the sum of the array's own library"
            )
    if out is not None and views[-1].shape != shape:  # type: ignore[union-attr]
        raise ValueError(f"{target.title}(): out has shape {views[-1].shape}, but the result has {shape}")  # type: ignore[union-attr]
    stream = given[0].stream
    with launch.on(device):
        launch.wait([view for view in views if view is not None], stream, device)
        if out is None:
            strides = _strides(given, shape)
            out = arrays.empty_like(inputs[first], given[0], shape, strides)
            result = arrays.view(out)
        else:
            result = views[-1]  # type: ignore[assignment]
            _check_overlap(target, views[:-1], result)
        if result.size:
            kernel = functools.partial(Kernel, target.declaration.name, form.name, dtype, tier)
            operands = [
                broadcast(view, shape) if view is not None else Operand(number=_bits(value, dtype))
                for view, value in zip(views[:-1], inputs, strict=True)
            ]
            for layout, indices, arguments in plan(STORAGE[dtype], shape, operands, broadcast(result, shape)):
                launch.launch(kernel(layout), indices, arguments, stream, device, configuration)
    return out


# -- arguments --------------------------------------------------------------------------------------------------------
def _bound(target: Target, args: Sequence[Any], options: dict[str, Any]) -> tuple[list[Any], Any, bool]:
    """The inputs in order, ``out``, and whether all parameters were left out."""
    title, form, required = target.title, target.form, target.required
    names = [p.name for p in form.parameters]
    unknown = [option for option in options if option not in names and option != "out"]
    if unknown:
        known = ", ".join([*names, "approx", "out"])
        raise TypeError(f"{title}() of device arrays has no argument {', '.join(map(repr, unknown))}; it has {known}")
    if len(args) < required:
        missing = ", ".join(form.arguments[len(args) : required])
        raise TypeError(f"{title}() is missing its argument{'s' if required - len(args) > 1 else ''} {missing}")
    if len(args) > len(form.arguments) + 1:
        most = len(form.arguments) + 1
        raise TypeError(f"{title}() takes at most {most} positional arguments ({', '.join(form.arguments)}, out)")
    out = options.get("out")
    if len(args) > len(form.arguments):
        if out is not None:
            raise TypeError(f"{title}() got out both by position and by name")
        out = args[-1]
    if isinstance(out, tuple):
        if len(out) != 1:
            raise TypeError(f"{title}(): out is one array, not {len(out)}")
        out = out[0]
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
    return inputs, out, left_out


def _check_ranges(target: Target, values: list[Any]) -> None:
    """Of parameters that are numbers; what arrays hold stays on the device."""
    for parameter, value in zip(target.form.parameters, values, strict=True):
        if not is_number(value):
            continue
        low, high = parameter.above, parameter.below
        if (low is not None and value <= low) or (high is not None and value >= high):
            limits = f"({'-inf' if low is None else f'{low:g}'}, {'inf' if high is None else f'{high:g}'})"
            raise ValueError(f"{target.title}(): {parameter.name} is {value}, outside the open interval {limits}")
    if all(map(is_number, values)):
        numbers = [np.asarray(value) for value in values]
        for rejection in target.declaration.rejections:
            if (not rejection.forms or target.form.name in rejection.forms) and np.any(
                np.asarray(rejection.violated(*numbers))
            ):
                raise ValueError(f"{target.title}(): {rejection.reason}")


def _views(target: Target, inputs: list[Any], out: Any) -> list[View | None]:
    """Where the inputs and, last, the output lie; None for numbers and for an output that is yet to be made."""
    title = target.title
    labels = [*target.form.arguments[: len(inputs)], "out"]
    views: list[View | None] = []
    for label, value in zip(labels, [*inputs, out], strict=True):
        if value is None or (label != "out" and is_number(value)):
            views.append(None)
        elif not arrays.on_device(value):
            raise TypeError(
                f"{title}() takes arrays that are all on one CUDA device or all on the host, "
                f"but {label} is a {type(value).__name__} on the host"
            )
        else:
            try:
                views.append(arrays.view(value))
            except arrays.Unsuitable as error:
                raise TypeError(f"{title}() takes {OFFERED} on a device, but {label} {error}") from None
    given = [(label, view) for label, view in zip(labels, views, strict=True) if view is not None]
    if all(label == "out" for label, _ in given):
        raise TypeError(f"{title}(): out is on a CUDA device, but {labels[target.form.place]} is not")
    first_label, first = given[0]
    for label, view in given[1:]:
        if view.dtype != first.dtype:
            raise TypeError(
                f"{title}() takes one dtype on a device, but {first_label} is {first.dtype} and {label} {view.dtype}"
            )
        if None not in (view.device, first.device) and view.device != first.device:
            raise ValueError(f"{title}(): {first_label} is on CUDA device {first.device}, but {label} on {view.device}")
    if views[-1] is not None and not views[-1].writeable:
        raise ValueError(f"{title}(): out is read-only")
    return views


def _check_overlap(target: Target, inputs: list[View | None], out: View) -> None:
    """The output may be an input, or lie apart from it."""
    low, high = out.extent
    if any(step == 0 and length > 1 for length, step in zip(out.shape, out.strides, strict=True)):
        raise ValueError(f"{target.title}(): elements of out share memory")
    for label, view in zip(target.form.arguments, inputs, strict=False):
        if view is None or (view.address, view.shape, view.strides) == (out.address, out.shape, out.strides):
            continue
        start, end = view.extent
        if start < high and low < end:
            raise ValueError(f"{target.title}(): out and {label} overlap in memory without being the same array")


def _strides(views: list[View], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Those of a new array of one piece, its axes in the order of the first input of its shape, as NumPy has it."""
    itemsize = arrays.ITEMSIZE[views[0].dtype]
    like = next((view for view in views if view.shape == shape), None)
    if like is None or 0 in like.strides:
        return compact(shape, itemsize)
    order = sorted(range(len(shape)), key=lambda axis: -abs(like.strides[axis]))
    packed = compact(tuple(shape[axis] for axis in order), itemsize)
    strides = dict(zip(order, packed, strict=True))
    return tuple(strides[axis] for axis in range(len(shape)))


def _bits(value: Any, dtype: str) -> int:
    """A number rounded to the dtype, as the bits that stand for it."""
    number = np.asarray(value, np.float64).astype(arrays.numpy_dtype(dtype))
    return int(number.reshape(1).view(f"i{number.itemsize}")[0])


__all__ = ["Target", "call"]
