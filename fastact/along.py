"""Arrays along axes: which dtype and axes a call means, where its result goes, and its rows as a last axis."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple
from numpy.lib.stride_tricks import as_strided

from fastact.arguments import OFFERED, elsewhere, float_dtype
from fastact.cpu.places import address

ndarray = np.ndarray
Array = np.ndarray[Any, Any]
Axis = int | tuple[int, ...] | None
USUAL = {np.dtype(name): name for name in ("float16", "float32", "float64")}
"""Dtypes of arrays that are taken as they are, with their names; those of the other byte order are not among them, and
bfloat16 is when it has been seen."""


def array(name: str, label: str, value: Any) -> Array:
    """A plain array of a dtype that functions here have; booleans and integers become floats as in ``np.exp``."""
    if type(value) is np.ndarray and value.dtype in USUAL and value.flags.aligned:
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name}(): {label} is a masked array; give its data, and where= for what counts")
    if elsewhere((value,), {}):
        raise NotImplementedError(f"{name}() is not there for arrays on a CUDA device yet, but {label} is one")
    found = np.asarray(value)
    dtype = float_dtype(found.dtype) if found.dtype.kind != "O" else None
    if dtype is None:
        raise TypeError(f"{name}() takes {OFFERED} (booleans and integers become floats), but {label} is {found.dtype}")
    if dtype is found.dtype and dtype.name == "bfloat16":
        USUAL[dtype] = dtype.name
    return ready(found, dtype)


def plain(axis: Axis, *arrays: Any, columns: tuple[Any, ...] = (), out: Any = None, apart: bool = False) -> bool:
    """Whether rows are arrays as they mostly are: of one shape and dtype, in C's order and along the last axis; columns
    and ``out`` likewise, if they are given, which has to be apart from all, or, if it need not be ``apart``, an input.
    """
    x = arrays[0]
    if type(axis) is not int or type(x) is not ndarray or not x.size:
        return False
    dtype, shape = x.dtype, x.shape
    if (axis != -1 and axis != len(shape) - 1) or not shape or dtype not in USUAL or not x.flags.carray:
        return False
    for a in arrays[1:]:
        if type(a) is not ndarray or a.dtype is not dtype or a.shape != shape or not a.flags.carray:
            return False
    if columns and not fit(columns, x):
        return False
    return out is None or _fits(out, x, arrays, columns, apart)


def fit(columns: tuple[Any, ...], x: Array) -> bool:
    """Whether an array is in C's order, and columns, if they are given, are as `plain` has them beside it."""
    if not x.flags.carray:
        return False
    dtype, shape = x.dtype, x.shape[-1:]
    for a in columns:
        if a is not None and (type(a) is not ndarray or a.dtype is not dtype or a.shape != shape or not a.flags.carray):
            return False
    return True


def matrix(x: Any, out: Any) -> bool:
    """Whether an array has two axes, and is else as `plain` has it."""
    return type(x) is ndarray and x.ndim == 2 and plain(-1, x, out=out)


def _fits(out: Any, like: Array, inputs: tuple[Array, ...], columns: tuple[Array | None, ...], apart: bool) -> bool:
    """Whether a result may go there directly: to an array that is as the first of the inputs, in the place of one of
    them, or apart from all."""
    if type(out) is not ndarray or out.dtype is not like.dtype or out.shape != like.shape or not out.flags.carray:
        return False
    start = address(out)
    end = start + out.nbytes
    for k, a in enumerate((*inputs, *columns)):
        if a is not None:
            place = address(a)
            if place < end and start < place + a.nbytes and (apart or place != start or k >= len(inputs)):
                return False
    return True


def ready(a: Array, dtype: np.dtype[Any]) -> Array:
    """The array with native, aligned elements of a dtype; a copy only if need be."""
    if a.dtype != dtype or not a.dtype.isnative:
        a = a.astype(dtype.newbyteorder("="))
    return a if a.flags.aligned else a.copy()


def common(*arrays: Array) -> list[Array]:
    """Arrays in the dtype that they have in common; they are ready already."""
    if len({a.dtype for a in arrays}) == 1:
        return list(arrays)
    dtype = np.result_type(*(a.dtype for a in arrays)).newbyteorder("=")
    return [ready(a, dtype) for a in arrays]


def axes(name: str, axis: Axis, ndim: int) -> tuple[int, ...]:
    """The axes meant, in ascending order; None means all. A number counts as one of a single axis."""
    if type(axis) is int and -ndim <= axis < ndim:
        return (axis % ndim,)
    if ndim == 0:
        if axis is None or axis == ():
            return ()
        return normalize_axis_tuple(axis, 1, "axis") and ()
    if axis is None:
        return tuple(range(ndim))
    return tuple(sorted(normalize_axis_tuple(axis, ndim, "axis")))


def same_shape(name: str, **arrays: Array) -> None:
    (first, head), *others = arrays.items()
    for label, a in others:
        if a.shape != head.shape:
            raise ValueError(f"{name}(): {first} has shape {head.shape} and {label} {a.shape}; they must be the same")


def mask(name: str, where: Any, shape: tuple[int, ...]) -> Array | None:
    """What counts, as an array of that shape; None if all does."""
    if where is True or where is None:
        return None
    found = np.asarray(where)
    if found.dtype != bool:
        raise TypeError(f"{name}(): where must be boolean, not {found.dtype}")
    try:
        return np.broadcast_to(found, shape)
    except ValueError:
        raise ValueError(f"{name}(): where of shape {found.shape} does not broadcast to {shape}") from None


# -- what is left out, in pieces of a fixed size ----------------------------------------------------------------------
PIECE = 1 << 16
"""Elements of a piece, at most; of one that has whole rows they may be more."""


def pieces(shape: tuple[int, ...], kept: tuple[int, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Slices that cut an array of that shape into pieces, but not along the axes that are kept; "..." makes a view of
    an array without axes, too."""
    sizes = list(shape)
    while math.prod(sizes) > PIECE:
        axis = max((d for d in range(len(shape)) if d not in kept), key=sizes.__getitem__, default=None)
        if axis is None or sizes[axis] == 1:
            break
        sizes[axis] = -(-sizes[axis] // 2)
    starts = [range(0, n, size) if n else (0,) for n, size in zip(shape, sizes, strict=True)]
    for place in itertools.product(*starts):
        yield *(slice(start, start + size) for start, size in zip(place, sizes, strict=True)), ...


def leave_out(a: Array, mask: Array, value: float) -> None:
    """Write a number wherever the mask does not hold."""
    for part in pieces(a.shape):
        np.copyto(a[part], value, where=~mask[part])


def left_out(a: Array, mask: Array, value: float) -> bool:
    """Whether that number is there already."""
    return all((mask[part] | (a[part] == value)).all() for part in pieces(a.shape))


# -- results ----------------------------------------------------------------------------------------------------------
def check_out(
    name: str,
    out: Any,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    inputs: list[Array],
    others: list[Array] | None = None,
) -> Array | None:
    """``out`` if it may take the result, which has a shape and a dtype; it may be an input, but none of the others."""
    if isinstance(out, tuple) and len(out) == 1:
        (out,) = out
    if out is None:
        return None
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name}(): out must be an array, not {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"{name}(): out has shape {out.shape}, but the result has {shape}")
    if not out.flags.writeable:
        raise ValueError(f"{name}(): out is read-only")
    if not np.can_cast(dtype, out.dtype, "same_kind"):
        raise TypeError(f"{name}(): cannot cast the result from {dtype} to {out.dtype} with casting='same_kind'")
    if folded(out):
        raise ValueError(f"{name}(): elements of out share memory; they must be apart")
    for a in inputs:
        if np.may_share_memory(a, out) and not same(a, out) and np.shares_memory(a, out):
            raise ValueError(f"{name}(): out shares memory with an input that is not in the same place")
    if any(np.may_share_memory(a, out) and np.shares_memory(a, out) for a in others or ()):
        raise ValueError(f"{name}(): out shares memory with another input than x or g")
    return out


def same(a: Array, b: Array) -> bool:
    """Whether two arrays are the same elements in the same order."""
    where = address(a) == address(b)
    return where and a.shape == b.shape and a.strides == b.strides and a.dtype == b.dtype


def folded(a: Array) -> bool:
    """Whether some elements may lie on others of the same array; no array made without stride tricks has such."""
    if a.flags.forc:
        return False
    reach = a.itemsize
    for stride, length in sorted((abs(s), n) for s, n in zip(a.strides, a.shape, strict=True) if n > 1):
        if stride < reach:
            return a.size > 1
        reach += stride * (length - 1)
    return False


class Sink:
    """Where a result is written: ``out`` itself if it can be written to directly, else an array to be copied to it."""

    def __init__(self, out: Array | None, like: Array | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.out = out
        if out is not None and out.dtype == dtype and out.dtype.isnative and out.flags.aligned:
            self.array = out
        elif like is not None and like.shape == shape:
            self.array = np.empty_like(like, dtype=dtype, subok=False)
        else:
            self.array = np.empty(shape, dtype)

    def result(self) -> Any:
        """What the caller gets."""
        if self.out is None:
            return self.array[()]
        if self.out is not self.array:
            np.copyto(self.out, self.array, casting="same_kind")
        return self.out


# -- rows -------------------------------------------------------------------------------------------------------------
def rows(a: Array, along: tuple[int, ...]) -> Array | None:
    """The array with the elements along some axes as its last axis, which is a view; None where there is no view."""
    ndim = a.ndim
    if along == (ndim - 1,):
        return a
    rest = tuple(axis for axis in range(ndim) if axis not in along)
    moved = a.transpose(rest + along)
    if len(along) == 1:
        return moved
    outer = moved.shape[: len(rest)]
    extents = [(n, s) for n, s in zip(moved.shape[len(rest) :], moved.strides[len(rest) :], strict=True) if n != 1]
    for (_, step), (n, s) in itertools.pairwise(extents):
        if step != n * s:
            return None
    length = math.prod(moved.shape[len(rest) :])
    step = extents[-1][1] if extents else a.itemsize
    return as_strided(moved, (*outer, length), (*moved.strides[: len(rest)], step))


def copied_rows(a: Array, along: tuple[int, ...]) -> Array:
    """The same as a new array."""
    rest = tuple(axis for axis in range(a.ndim) if axis not in along)
    moved = a.transpose(rest + along)
    length = math.prod(moved.shape[len(rest) :])
    return np.ascontiguousarray(moved).reshape((*moved.shape[: len(rest)], length))


def back(rows: Array, sink: Array, along: tuple[int, ...]) -> None:
    """Put rows where they belong."""
    rest = tuple(axis for axis in range(sink.ndim) if axis not in along)
    moved = sink.transpose(rest + along)
    moved[...] = rows.reshape(moved.shape)
