"""Moving elements between strided operands and blocks, as LLVM IR.

Contiguous, reversed and every-other elements are moved by vectors, other strides by scalars.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from fastact.cpu.lowering.flow import I32, I64, PTR, at, counted
from fastact.cpu.lowering.words import SCALARS, picked, typed
from fastact.link.graph import BITS

TURN = 8
"""Scalars moved per turn of the loop: one branch for all of them."""
FALSE = ir.IntType(1)(0)


def copier(module: ir.Module, type: str, vector_bytes: int, masks: bool = False) -> ir.Function:
    """void copy(source, source_step, sink, sink_step, count), with steps in bytes; source and sink do not overlap.

    ``masks``: the processor stores chosen elements of a vector as fast as it stores all."""
    name = f"copy_{type}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [PTR, I64, PTR, I64, I64]), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    b = ir.IRBuilder(function.append_basic_block("entry"))
    source, source_step, sink, sink_step, count = function.args
    size = BITS[type] // 8
    lanes = vector_bytes // size

    def when(source_wanted: int, sink_wanted: int) -> ir.Value:
        return b.and_(
            b.icmp_signed("==", source_step, I64(source_wanted)), b.icmp_signed("==", sink_step, I64(sink_wanted))
        )

    with b.if_then(when(size, size)):
        b.call(module.declare_intrinsic("llvm.memcpy", [PTR, PTR, I64]), [sink, source, b.mul(count, I64(size)), FALSE])
        b.ret_void()
    backwards = range(lanes - 1, -1, -1)
    with b.if_then(b.or_(when(-size, size), when(size, -size))):
        _by_scalars(b, type, _by_vectors(b, type, backwards, count))
        b.ret_void()
    with b.if_then(when(2 * size, size)):
        # one element less, lest the last vector reads what follows the last element
        _by_scalars(b, type, _by_vectors(b, type, range(0, 2 * lanes, 2), b.sub(count, I64(1))))
        b.ret_void()
    if masks:
        with b.if_then(when(size, 2 * size)):
            _by_scalars(b, type, _to_every_other(b, type, lanes, count))
            b.ret_void()
    whole = b.and_(count, I64(-TURN))
    with counted(b, whole, TURN) as i:
        first, last = at(b, source, b.mul(i, source_step)), at(b, sink, b.mul(i, sink_step))
        values = []
        for _ in range(TURN):
            values.append(b.load(first, typ=SCALARS[type], align=size))
            first = at(b, first, source_step)
        for value in values:
            b.store(value, last, align=size)
            last = at(b, last, sink_step)
    _by_scalars(b, type, whole)
    b.ret_void()
    return function


def _by_vectors(b: ir.IRBuilder, type: str, order: Sequence[int], count: ir.Value) -> ir.Value:
    """Move whole vectors of elements, which lie at the places ``order`` of what is read; returns how many it were."""
    source, source_step, sink, sink_step, _ = b.function.args
    size, lanes = BITS[type] // 8, len(order)
    read = typed(type, lanes * (2 if max(order) >= lanes else 1))
    whole = b.and_(b.select(b.icmp_signed("<", count, I64(0)), I64(0), count), I64(-lanes))
    with counted(b, whole, lanes) as i:

        def lowest(base: ir.Value, step: ir.Value, i: ir.Value = i) -> ir.Value:
            last = b.add(i, I64(lanes - 1))
            return at(b, base, b.mul(b.select(b.icmp_signed("<", step, I64(0)), last, i), step))

        vector = b.load(lowest(source, source_step), typ=read, align=size)
        b.store(picked(b, vector, order), lowest(sink, sink_step), align=size)
    return whole


def _to_every_other(b: ir.IRBuilder, type: str, lanes: int, count: ir.Value) -> ir.Value:
    """Move whole vectors of elements to every other place; returns how many it were."""
    source, _, sink, _, _ = b.function.args
    size = BITS[type] // 8
    kind, spread = typed(type, lanes), typed(type, 2 * lanes)
    flags = ir.VectorType(ir.IntType(1), 2 * lanes)
    store = b.module.declare_intrinsic(
        f"llvm.masked.store.v{2 * lanes}{type}.p0", fnty=ir.FunctionType(ir.VoidType(), [spread, PTR, I32, flags])
    )
    whole = b.and_(count, I64(-lanes))
    chosen = ir.Constant(flags, [1 - lane % 2 for lane in range(2 * lanes)])
    with counted(b, whole, lanes) as i:
        vector = b.load(at(b, source, b.mul(i, I64(size))), typ=kind, align=size)
        doubled = picked(b, vector, [lane // 2 for lane in range(2 * lanes)])
        b.call(store, [doubled, at(b, sink, b.mul(i, I64(2 * size))), I32(size), chosen])
    return whole


def _by_scalars(b: ir.IRBuilder, type: str, start: ir.Value) -> None:
    """Move the elements from ``start`` on, one by one."""
    source, source_step, sink, sink_step, count = b.function.args
    size = BITS[type] // 8
    with counted(b, count, start=start) as i:
        value = b.load(at(b, source, b.mul(i, source_step)), typ=SCALARS[type], align=size)
        b.store(value, at(b, sink, b.mul(i, sink_step)), align=size)
