"""Products with the derivative with respect to a parameter, summed over the axes along which it was broadcast.

The products are computed in blocks and never stored as a whole. They are added in float64, in the order of a binary
tree that follows from the shapes alone: neither memory order nor the number of threads changes a bit of the result.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

LEAF = 8192
"""The most terms of one sum that are computed at once."""
BLOCK = 65536
"""Products computed at once, for several sums together if they are short."""
Array = np.ndarray[Any, Any]


def call(name: str, ufunc: np.ufunc, args: tuple[Any, ...], options: dict[str, Any], place: int) -> Any:
    """The products ufunc(*args) summed to the shape of args[place]; ``options`` are those of a ufunc."""
    inputs, outputs = args[: ufunc.nin], args[ufunc.nin :]
    options = dict(options)
    out = options.pop("out", outputs[0] if outputs else None)
    out = out[0] if type(out) is tuple and len(out) == 1 else out
    if out is None and not all(map(_plain, inputs)):
        return _of_others(ufunc(*inputs, **options), inputs[place])
    where, casting = options.pop("where", True), options.pop("casting", "same_kind")
    probe = [v if type(v) in (bool, int, float) else np.empty(0, np.asarray(v).dtype) for v in inputs]
    dtype = np.asarray(ufunc(*probe, casting=casting, **options)).dtype
    arrays = [np.asarray(v) for v in inputs]
    shape, wanted = np.broadcast_shapes(*(a.shape for a in arrays)), arrays[place].shape
    mask = np.asarray(where)
    if np.broadcast_shapes(shape, mask.shape) != shape:
        raise ValueError(f"{name}(): where of shape {mask.shape} does not broadcast to {shape}")
    _check(name, out, wanted, dtype, casting)
    if math.prod(shape) == math.prod(wanted) and mask.all():
        total = np.asarray(ufunc(*arrays, dtype=dtype)).reshape(wanted)
    else:
        total = _total(ufunc, arrays, mask, shape, wanted, dtype)
        total = total.astype(dtype)
    if out is not None:
        out[...] = total
        return out
    return total[()]


def _plain(value: Any) -> bool:
    """Whether a value is an array of NumPy's own, or becomes one."""
    return type(value) is np.ndarray or isinstance(value, np.generic) or not hasattr(value, "__array_ufunc__")


def _of_others(products: Any, parameter: Any) -> Any:
    """The sum of products that are an array of another kind, by that kind's own means."""
    shape = np.shape(parameter)
    more = products.ndim - len(shape)
    axes = [axis for axis in range(products.ndim) if axis < more or shape[axis - more] == 1 != products.shape[axis]]
    total = products.sum(axis=tuple(axes)) if axes else products
    return total.reshape(shape) if total.ndim != len(shape) else total


def _check(name: str, out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], casting: Any) -> None:
    """Raise what is wrong with ``out`` before anything is computed."""
    if out is None:
        return
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name}(): out must be an array, not {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"{name}(): out has shape {out.shape}, but the parameter, and so the sum, has {shape}")
    if not out.flags.writeable:
        raise ValueError(f"{name}(): out is read-only")
    if not np.can_cast(dtype, out.dtype, casting):
        raise TypeError(f"{name}(): cannot cast the result from {dtype} to {out.dtype} with casting={casting!r}")


def _total(
    ufunc: np.ufunc, arrays: list[Array], mask: Array, shape: tuple[int, ...], wanted: tuple[int, ...], dtype: Any
) -> Array:
    """The sums in float64. Of 16-bit numbers the products are computed in float32."""
    more = len(shape) - len(wanted)
    summed = [axis for axis in range(len(shape)) if axis < more or wanted[axis - more] == 1 != shape[axis]]
    kept = [axis for axis in range(len(shape)) if axis not in summed]
    views = [np.broadcast_to(a, shape).transpose(kept + summed) for a in (*arrays, mask)]
    total = np.empty([shape[axis] for axis in kept])
    products = _Products(ufunc, np.dtype(np.float32) if dtype.itemsize == 2 else dtype, len(kept))
    if total.size:
        products.fill(total, views)
    return total.reshape(wanted)


class _Products:
    """Sums of products; the first ``kept`` axes of all views are those of the result."""

    def __init__(self, ufunc: np.ufunc, dtype: np.dtype[Any], kept: int) -> None:
        self.ufunc, self.dtype, self.kept = ufunc, dtype, kept

    def fill(self, total: Array, views: list[Array]) -> None:
        """Put the sums into ``total``, of no more elements at once than a block holds."""
        terms = min(LEAF, math.prod(views[0].shape[self.kept :]))
        if total.size <= 1 or total.size * terms <= BLOCK:
            total[...] = self.tree(views)
            return
        axis = next(axis for axis, length in enumerate(total.shape) if length > 1)
        half = total.shape[axis] // 2
        for part in (slice(None, half), slice(half, None)):
            index = (slice(None),) * axis + (part,)
            self.fill(total[index], [view[index] for view in views])

    def tree(self, views: list[Array]) -> Array:
        """The sums over all further axes. Too many terms are halved along the first of these axes."""
        shape = views[0].shape
        terms = math.prod(shape[self.kept :])
        if terms <= LEAF:
            return self.leaf(views)
        axis = next(axis for axis in range(self.kept, len(shape)) if shape[axis] > 1)
        half = 1 << (shape[axis] - 1).bit_length() - 1
        index = (slice(None),) * axis
        low = self.tree([view[(*index, slice(None, half))] for view in views])
        return np.asarray(low + self.tree([view[(*index, slice(half, None))] for view in views]))

    def leaf(self, views: list[Array]) -> Array:
        """The sums of few terms: one half of them is added to the other until one is left."""
        *inputs, mask = views
        shape = mask.shape
        if mask.all():
            products = self.ufunc(*inputs, dtype=self.dtype, casting="same_kind")
        else:
            products = np.zeros(shape, self.dtype)
            self.ufunc(*inputs, out=products, where=mask, dtype=self.dtype, casting="same_kind")
        terms = math.prod(shape[self.kept :])
        sums = products.astype(np.float64, order="K").reshape((*shape[: self.kept], terms))
        if not terms:
            return np.zeros(shape[: self.kept])
        while terms > 1:
            half = terms // 2
            paired = sums[..., :half] + sums[..., half : 2 * half]
            if terms % 2:
                paired[..., 0] += sums[..., -1]
            sums, terms = paired, half
        return np.asarray(sums[..., 0])
