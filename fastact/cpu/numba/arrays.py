"""Calls with arrays in Numba's compiled code: broadcasting, and loops over the axes that the inner loop does not take.

The inner loop is the ufunc's own (`fastact.cpu.lowering.loops`), linked into the caller: so arrays of any layout go as
fast as outside, and their bits are the same.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.imputils import impl_ret_new_ref
from numba.core.typing.templates import Signature
from numba.np import npyimpl

from fastact.cpu.lowering.flags import stack
from fastact.cpu.lowering.flow import at
from fastact.cpu.numba.kernels import Kernel

I64, PTR = ir.IntType(64), ir.PointerType()


class Operand:
    """An input or the result: where its first element lies, and its steps in bytes along the axes of the result."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any, goal: list[Any]) -> None:
        self.strides: list[Any] = [I64(0)] * len(goal)
        if not isinstance(kind, types.Array):
            self.data = stack(builder, value.type)
            builder.store(value, self.data)
            return
        array = context.make_array(kind)(context, builder, value)
        self.data = builder.bitcast(array.data, PTR)
        for axis in range(1, kind.ndim + 1):
            own, stride = (builder.extract_value(item, kind.ndim - axis) for item in (array.shape, array.strides))
            covers = builder.icmp_signed("==", own, goal[-axis])
            self.strides[-axis] = builder.select(covers, stride, I64(0))


def emit(context: Any, builder: Any, kernel: Kernel, sig: Any, args: Any) -> Any:
    """The result of a call with ``args``, the inputs and ``out``; numbers among them are of the kernel's dtype."""
    *kinds, out_kind = sig.args
    *values, out = args
    result = sig.return_type
    given = isinstance(out_kind, types.Array)
    if given:
        _check_shapes(context, builder, kinds, values, out_kind, out)
    arrays = [kind for kind in (*kinds, out_kind, result) if isinstance(kind, types.Array)]
    alike = all(kind.dtype == kernel.dtype and kind.aligned for kind in arrays)
    if not alike or not isinstance(result, types.Array):
        return _converting(context, builder, kernel, result, kinds, values, [(out_kind, out)] if given else [])
    if given:
        context.nrt.incref(builder, out_kind, out)
    else:
        helpers = [npyimpl._prepare_argument(context, builder, v, k) for k, v in zip(kinds, values, strict=True)]
        out = npyimpl._build_array(context, builder, result, kinds, helpers).return_val
    extents = _shape(context, builder, result, out)
    operands = [Operand(context, builder, k, v, extents) for k, v in zip((*kinds, result), (*values, out), strict=True)]
    _loops(context, builder, kernel, operands, extents, result.layout == "F")
    return impl_ret_new_ref(context, builder, result, out)


def _shape(context: Any, builder: Any, kind: Any, value: Any) -> list[Any]:
    array = context.make_array(kind)(context, builder, value)
    return list(cgutils.unpack_tuple(builder, array.shape, kind.ndim))


def _loops(
    context: Any, builder: Any, kernel: Kernel, operands: list[Operand], extents: list[Any], backwards: bool
) -> None:
    """The inner loop along the last axis (the first where ``backwards``) and all axes that continue it, in loops over
    the others."""
    axes = range(len(extents))
    *outer, inner = reversed(axes) if backwards else axes
    count, going = extents[inner], cgutils.true_bit
    turns: list[Any] = []
    for axis in reversed(outer):
        continues = cgutils.true_bit
        for operand in operands:
            reached = builder.mul(operand.strides[inner], count)
            continues = builder.and_(continues, builder.icmp_signed("==", operand.strides[axis], reached))
        going = builder.and_(going, builder.or_(continues, builder.icmp_signed("==", extents[axis], I64(1))))
        turns.insert(0, builder.select(going, I64(1), extents[axis]))
        count = builder.select(going, builder.mul(count, extents[axis]), count)

    pointers, steps = (stack(builder, ir.ArrayType(kind, len(operands))) for kind in (PTR, I64))
    length = stack(builder, I64)
    builder.store(count, length)
    for place, operand in enumerate(operands):
        builder.store(operand.strides[inner], at(builder, steps, I64(8 * place)))
    with builder.if_then(builder.icmp_signed("!=", count, I64(0))):
        with cgutils.loop_nest(builder, turns, intp=I64) as indices:
            for place, operand in enumerate(operands):
                where = operand.data
                for axis, index in zip(outer, indices, strict=True):
                    where = at(builder, where, builder.mul(index, operand.strides[axis]))
                builder.store(where, at(builder, pointers, I64(8 * place)))
            kernel.loop(context, builder, [pointers, length, steps, PTR(None)])


class _Element(npyimpl._Kernel):  # type: ignore[misc]
    """What Numba's own loop over arrays does with one element of each operand."""

    kernel: Kernel

    def generate(self, *values: Any) -> Any:
        dtype = self.kernel.dtype
        words = [self.cast(v, t, dtype) for v, t in zip(values, self.outer_sig.args, strict=True)]
        number = self.kernel.scalar(self.context, self.builder, words)
        return self.cast(number, dtype, self.outer_sig.return_type)


def _converting(
    context: Any, builder: Any, kernel: Kernel, result: Any, kinds: list[Any], values: list[Any], out: list[Any]
) -> Any:
    """Numba's own loop, which converts each element, for operands of several dtypes and for arrays without axes."""
    like = SimpleNamespace(nin=len(kinds), nout=1, nargs=len(kinds) + 1, __name__=kernel.label)
    element = type("Element", (_Element,), {"kernel": kernel})
    outer = Signature(result, (*kinds, *(kind for kind, _ in out)), None)
    return npyimpl.numpy_ufunc_kernel(context, builder, outer, [*values, *(v for _, v in out)], like, element)


def _check_shapes(context: Any, builder: Any, kinds: Any, values: Any, out_kind: Any, out: Any) -> None:
    """Raise ValueError unless every input broadcasts to the shape of ``out``: the loops go by that alone."""
    goal = _shape(context, builder, out_kind, out)
    for kind, value in zip(kinds, values, strict=True):
        extents = _shape(context, builder, kind, value) if isinstance(kind, types.Array) else []
        for have, want in zip(reversed(extents), reversed(goal), strict=False):
            one = builder.icmp_signed("==", have, have.type(1))
            fits = builder.or_(builder.icmp_signed("==", have, want), one)
            with builder.if_then(builder.not_(fits), likely=False):
                message = "an input does not broadcast to the shape of out"
                context.call_conv.return_user_exc(builder, ValueError, (message,))
