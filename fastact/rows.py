"""softmax and its relatives, along any axis or several, with their gradients.

>>> import numpy as np, fastact
>>> p = fastact.softmax(np.array([[0.0, 1.0, 2.0], [3.0, 3.0, 3.0]]), axis=-1)

A row is what lies along ``axis``: one axis, several, or all of them (None). Arrays may have any layout and are float16,
bfloat16, float32 or float64; booleans and integers become floats as in ``np.exp``. Sums are added in an order that
depends on the length of the row only: layout, strides and threads do not change a bit.

``where`` says which elements take part, an array of booleans that broadcasts to the shape of x. What does not take part
has no influence, whatever it is, and gets the result of probability 0; so do rows of which nothing takes part.

Rows that hold NaN, or +inf (except in `logsumexp`), become NaN, and so do rows of nothing but -inf, as in PyTorch. No
warning is raised.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from fastact import along
from fastact.along import Array, Axis
from fastact.arguments import elsewhere
from fastact.cpu.entries.rows import Call, Calls, remember
from fastact.cpu.rows import calls
from fastact.precision import Approx, parse
from fastact.programs import apply, directly, empty, empty_like, kernel_for, ndarray, run

INFINITY = math.inf


def _on_device(name: str, program: str, tier: str, axis: Axis, given: dict[str, Any], out: Any, where: Any) -> Any:
    from fastact.cuda.rows import calls as device

    return device.elements(name, program, tier, functools.partial(along.axes, name, axis), given, out, where)


def _prepared(sink: along.Sink, given: Array, mask: Array, ignored: float) -> Array:
    """Bring what is given to where the result will be, with a number in the place of what is left out; the mask."""
    if np.may_share_memory(mask, sink.array):
        mask = mask.copy()
    np.copyto(sink.array, given)
    along.leave_out(sink.array, mask, ignored)
    return mask


class RowFunction:
    """A function of rows that gives as many numbers as it gets, callable as f(x, axis=-1, *, out, where, approx).

    ``backward_from_output`` is the product of its derivative with an incoming gradient."""

    def __init__(self, name: str, doc: str, excluded: float, ignored: float) -> None:
        self.__name__ = self.__qualname__ = name
        self.__doc__ = doc
        self._backward = f"{name}_backward"
        self._excluded, self._ignored = excluded, ignored
        self._calls: Calls = {}
        self._slopes: Calls = {}

    def __call__(self, x: Any, axis: Axis = -1, *, out: Any = None, where: Any = True, approx: Approx = None) -> Any:
        if where is True and type(x) is ndarray and type(axis) is int:  # of short calls all counts
            tier = approx if type(approx) is str else parse(approx)
            known = self._calls.get((tier, axis, x.dtype, x.shape))
            result = None if known is None else known(x, out)
            if result is not None:
                return result
        name = self.__name__
        tier = parse(approx)
        if where is True and along.plain(axis, x, out=out):
            return directly(self._calls, name, tier, axis, (x,), out)
        if axis == 0 and type(axis) is int and where is True and along.matrix(x, out):
            sink = empty_like(x) if out is None else out
            plan = calls.turned(kernel_for(name, x.dtype, tier), (x, sink))
            remember(self._calls, (tier, axis, x.dtype, x.shape), Call(plan, (x,), sink))
            return sink
        if elsewhere((x, where), {"out": out}):
            return _on_device(name, name, tier, axis, {"x": x}, out, where)
        given = along.array(name, "x", x)
        axes = along.axes(name, axis, given.ndim)
        mask = along.mask(name, where, given.shape)
        sink = along.Sink(
            along.check_out(name, out, given.shape, given.dtype, [given]), given, given.shape, given.dtype
        )
        if mask is None:
            run(name, approx, axes, [given], sink.array)
        else:
            mask = _prepared(sink, given, mask, self._ignored)
            run(name, approx, axes, [sink.array], sink.array)
            along.leave_out(sink.array, mask, self._excluded)
        return sink.result()

    def backward_from_output(
        self, g: Any, y: Any, axis: Axis = -1, *, out: Any = None, where: Any = True, approx: Approx = None
    ) -> Any:
        """The gradient with respect to x, from the gradient g with respect to the output y and that output.

        ``axis`` and ``where`` are those of the call that gave y; g has the shape of y; ``out`` may be one of both."""
        if where is True and type(y) is ndarray and type(axis) is int:
            tier = approx if type(approx) is str else parse(approx)
            known = self._slopes.get((tier, axis, y.dtype, y.shape))
            result = None if known is None else known(g, y, out)
            if result is not None:
                return result
        tier = parse(approx)
        if where is True and along.plain(axis, g, y, out=out):
            return directly(self._slopes, self._backward, tier, axis, (g, y), out)
        name = f"{self.__name__}.backward_from_output"
        if elsewhere((g, y, where), {"out": out}):
            return _on_device(name, self._backward, tier, axis, {"g": g, "y": y}, out, where)
        gradient, output = along.array(name, "g", g), along.array(name, "y", y)
        along.same_shape(name, g=gradient, y=output)
        gradient, output = along.common(gradient, output)
        axes = along.axes(name, axis, output.ndim)
        mask = along.mask(name, where, output.shape)
        checked = along.check_out(name, out, output.shape, output.dtype, [gradient, output])
        sink = along.Sink(checked, output, output.shape, output.dtype)
        if mask is None:
            run(self._backward, approx, axes, [gradient, output], sink.array)
        elif not np.may_share_memory(output, sink.array) and along.left_out(output, mask, self._excluded):
            mask = _prepared(sink, gradient, mask, 0.0)
            run(self._backward, approx, axes, [sink.array, output], sink.array)
            along.leave_out(sink.array, mask, 0.0)
        else:
            mask = mask.copy() if np.may_share_memory(mask, sink.array) else mask
            for part in along.pieces(output.shape, axes):
                g, y, counted = gradient[part].copy(order="K"), output[part].copy(order="K"), mask[part]
                along.leave_out(g, counted, 0.0)
                along.leave_out(y, counted, self._excluded)
                run(self._backward, approx, axes, [g, y], sink.array[part])
                along.leave_out(sink.array[part], counted, 0.0)
        return sink.result()

    def backward(
        self, g: Any, x: Any, axis: Axis = -1, *, out: Any = None, where: Any = True, approx: Approx = None
    ) -> Any:
        """The gradient with respect to x, from the gradient g with respect to the output, and x: that from the output,
        which is computed once more."""
        if elsewhere((g, x, where), {"out": out}):
            from fastact.cuda.rows import calls as device

            name, programs = f"{self.__name__}.backward", (self.__name__, self._backward)
            meant = functools.partial(along.axes, name, axis)
            return device.backward(name, programs, parse(approx), meant, g, x, out, where)
        name = f"{self.__name__}.backward"
        gradient, given = along.array(name, "g", g), along.array(name, "x", x)
        along.same_shape(name, g=gradient, x=given)
        dtype = np.result_type(gradient, given)
        checked = along.check_out(name, out, given.shape, dtype, [gradient, given])
        axes, tier, mask = along.axes(name, axis, given.ndim), parse(approx), along.mask(name, where, given.shape)
        sink = along.Sink(checked, given, given.shape, dtype)
        if mask is not None and np.may_share_memory(mask, sink.array):
            mask = mask.copy()
        if given.dtype == dtype and not np.may_share_memory(gradient, sink.array):
            # The output goes to where the result will be.
            whole = True if mask is None else mask
            self(given, axis, out=sink.array, where=whole, approx=tier)
            self.backward_from_output(gradient, sink.array, axis, out=sink.array, where=whole, approx=tier)
            return sink.result()
        for part in along.pieces(given.shape, axes):
            counted = True if mask is None else mask[part]
            y = self(given[part], axis, where=counted, approx=tier)
            self.backward_from_output(gradient[part], y, axis, out=sink.array[part], where=counted, approx=tier)
        return sink.result()

    def __repr__(self) -> str:
        return f"<fastact function '{self.__name__}' of rows>"

    def __reduce__(self) -> str:
        return self.__name__


_ARGUMENTS = """
x : array_like; axis : int, tuple of ints or None, default -1
out : array of the shape of x, which may be x itself
where : booleans that broadcast to the shape of x; what is left out {excluded}
approx : 'exact', 'fast' or 'rough', as everywhere

Raises ValueError for an ``out`` or a ``where`` of the wrong shape, an ``out`` that is read-only or shares memory with x
elsewhere, and for an unknown tier; numpy.exceptions.AxisError (a ValueError and an IndexError) for an axis that x has
not; TypeError for other dtypes. Nothing has been written then.
"""

softmax = RowFunction(
    "softmax",
    """softmax(x, axis=-1): exp(x_i)/sum_j exp(x_j).
"""
    + _ARGUMENTS.format(excluded="gets 0")
    + """
Accuracy: float32 `exact` is within 0.502 ULP of the true value and `fast` within 4, subnormal results included; `rough`
has a relative error of at most 2^-11. float16 and bfloat16 `exact` are within 0.501 ULP. float64: `exact` 0.501 ULP,
`fast` 4, `rough` 2^-23. Rows of n numbers sum to 1 within n/2 units in the last place of their largest result, plus the
error of each.""",
    0.0,
    -INFINITY,
)
softmin = RowFunction(
    "softmin",
    """softmin(x, axis=-1) = softmax(-x).
"""
    + _ARGUMENTS.format(excluded="gets 0")
    + "\nAccuracy: that of softmax.",
    0.0,
    INFINITY,
)
log_softmax = RowFunction(
    "log_softmax",
    """log_softmax(x, axis=-1): x_i - log sum_j exp(x_j).
"""
    + _ARGUMENTS.format(excluded="gets -inf")
    + """
With m the largest number it is (x_i - m) - log1p(sum of the other exp(x_j - m)), two terms of one sign: the relative
error stays small also where one number prevails and the result is next to 0. Accuracy as that of softmax.""",
    -INFINITY,
    -INFINITY,
)
sparsemax = RowFunction(
    "sparsemax",
    """sparsemax(x, axis=-1): max(x_i - t, 0) with the t for which the row sums to 1, the point of the
simplex nearest to x.
"""
    + _ARGUMENTS.format(excluded="gets 0")
    + """
The threshold is found by Newton's method from the left, which ends at the exact support; float32 is computed in
float64 in every tier. The error is at most half a unit in the last place and 2^-50 of the threshold (float64: `exact`
half a unit, `fast` and `rough` 2^-50 of the threshold).

A. Martins and R. Astudillo, From softmax to sparsemax, ICML 2016, arXiv:1602.02068""",
    0.0,
    -INFINITY,
)


class LogSumExp:
    """logsumexp(x, axis=-1, keepdims=False): log sum_j exp(x_j).

    x : array_like; axis : int, tuple of ints or None, default -1
    keepdims : whether the axes that are summed over stay, with length 1
    out : array of the shape of the result
    where : booleans that broadcast to the shape of x; what is left out has no influence
    approx : 'exact', 'fast' or 'rough', as everywhere

    Of an empty row, and of one from which all is left out, it is -inf; so it is of nothing but -inf; of a row with +inf
    and without NaN it is +inf. Errors as for `softmax`.

    It is m + log1p(sum of the other exp(x_j - m)) with m the largest number. Where both terms nearly cancel, the error
    is relative to them: 0.501 ULP of the result and 2^-45 of m in float32 `exact`, 4 ULP of m in `fast`."""

    __name__ = __qualname__ = "logsumexp"

    def __init__(self) -> None:
        self._calls: Calls = {}
        self._slopes: Calls = {}

    def __call__(
        self,
        x: Any,
        axis: Axis = -1,
        keepdims: bool = False,
        *,
        out: Any = None,
        where: Any = True,
        approx: Approx = None,
    ) -> Any:
        name = self.__name__
        tier = approx if type(approx) is str else parse(approx)
        if out is None and where is True and keepdims is False and type(x) is ndarray and type(axis) is int:
            known = self._calls.get((tier, axis, x.dtype, x.shape))
            found = None if known is None else known(x, None)
            if found is not None:
                return found if x.ndim > 1 else found[()]
        tier = parse(tier)
        if out is None and where is True and keepdims is False and along.plain(axis, x):
            found = empty(x.shape[:-1], x.dtype)
            plan = calls.in_order(kernel_for(name, x.dtype, tier), (x, found))
            remember(self._calls, (tier, axis, x.dtype, x.shape), Call(plan, (x,), found, elements=0))
            return found[()]
        if elsewhere((x, where), {"out": out}):
            from fastact.cuda.rows import calls as device

            meant = functools.partial(along.axes, name, axis)
            return device.totals(name, name, tier, meant, x, keepdims, out, where, -INFINITY)
        given = along.array(name, "x", x)
        axes = along.axes(name, axis, given.ndim)
        mask = along.mask(name, where, given.shape)
        shape = tuple(1 if d in axes else n for d, n in enumerate(given.shape) if keepdims or d not in axes)
        sink = along.Sink(along.check_out(name, out, shape, given.dtype, [given]), None, shape, given.dtype)
        if not given.size:
            sink.array[...] = -INFINITY
            return sink.result()
        totals = sink.array.squeeze(axes) if keepdims else sink.array
        if mask is None:
            view = along.rows(given, axes)
            read = along.copied_rows(given, axes) if view is None else view
            apply(name, tier, given.dtype, [read, totals])
            return sink.result()
        mask = mask.copy() if np.may_share_memory(mask, totals) else mask
        for part in along.pieces(given.shape, axes):
            piece = given[part].copy(order="K")
            along.leave_out(piece, mask[part], -INFINITY)
            view = along.rows(piece, axes)
            read = along.copied_rows(piece, axes) if view is None else view
            own = totals[tuple(s for d, s in enumerate(part) if d not in axes)]  # "..." is last
            apply(name, tier, given.dtype, [read, own])
        return sink.result()

    def backward(
        self,
        g: Any,
        x: Any,
        axis: Axis = -1,
        keepdims: bool = False,
        *,
        out: Any = None,
        where: Any = True,
        approx: Approx = None,
    ) -> Any:
        """g exp(x_i)/sum_j exp(x_j): the gradient with respect to x, from the gradient g with respect to the output.

        ``axis``, ``keepdims`` and ``where`` are those of the call; g has the shape of its result. ``out`` may be x."""
        name = "logsumexp.backward"
        tier = parse(approx)
        if where is True and keepdims is False and type(x) is ndarray and type(axis) is int:
            key = tier, axis, x.dtype, x.shape
            known = self._slopes.get(key)
            result = None if known is None else known(x, g, out)
            if result is not None:
                return result
            if out is None and along.plain(axis, x) and type(g) is ndarray and g.shape == x.shape[:-1]:
                if g.dtype is x.dtype and g.flags.carray:
                    result = empty_like(x)
                    plan = calls.in_order(kernel_for("logsumexp_backward", x.dtype, tier), (x, g, result))
                    remember(self._slopes, key, Call(plan, (x, g), result))
                    return result
        if elsewhere((g, x, where), {"out": out}):
            from fastact.cuda.rows import calls as device

            meant = functools.partial(along.axes, name, axis)
            return device.totals_backward(name, "logsumexp_backward", tier, meant, g, x, keepdims, out, where)
        gradient, given = along.common(along.array(name, "g", g), along.array(name, "x", x))
        axes = along.axes(name, axis, given.ndim)
        shape = tuple(1 if d in axes else n for d, n in enumerate(given.shape) if keepdims or d not in axes)
        if gradient.shape != shape:
            raise ValueError(
                f"{name}(): g has shape {gradient.shape}, but the output for x of shape {given.shape} has {shape}"
            )
        mask = along.mask(name, where, given.shape)
        checked = along.check_out(name, out, given.shape, given.dtype, [gradient, given])
        sink = along.Sink(checked, given, given.shape, given.dtype)
        per_row = gradient.reshape(tuple(n for d, n in enumerate(given.shape) if d not in axes))
        if mask is None:
            run("logsumexp_backward", approx, axes, [given], sink.array, [per_row])
        else:
            if np.may_share_memory(per_row, sink.array):
                per_row = per_row.copy()
            mask = _prepared(sink, given, mask, -INFINITY)
            run("logsumexp_backward", approx, axes, [sink.array], sink.array, [per_row])
            along.leave_out(sink.array, mask, 0.0)
        return sink.result()

    def __repr__(self) -> str:
        return "<fastact function 'logsumexp' of rows>"

    def __reduce__(self) -> str:
        return self.__name__


logsumexp = LogSumExp()
__all__ = ["LogSumExp", "RowFunction", "log_softmax", "logsumexp", "softmax", "softmin", "sparsemax"]
