"""Matrices moved between memory where neighbours lie along one axis and memory where they lie along the other."""

from __future__ import annotations

from llvmlite import ir

from fastact.cpu.lowering.flow import I64, PTR, at, counted
from fastact.cpu.lowering.words import picked

SIDE = 16
"""Rows and columns of the blocks that are transposed in registers."""


def mover(module: ir.Module, size: int) -> ir.Function:
    """void move(source, source_row, source_step, sink, sink_row, sink_step, rows, count): ``count`` elements of
    ``size`` bytes in each of ``rows`` rows, at most `SIDE`; distances between rows and between elements in bytes."""
    name = f"move_{size}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [PTR, I64, I64, PTR, I64, I64, I64, I64]), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    source, source_row, source_step, sink, sink_row, sink_step, rows, count = function.args
    b = ir.IRBuilder(function.append_basic_block("entry"))
    element = ir.IntType(8 * size)
    unit = I64(size)
    full = b.icmp_signed("==", rows, I64(SIDE))
    inward = b.and_(b.icmp_signed("==", source_row, unit), b.icmp_signed("==", sink_step, unit))
    outward = b.and_(b.icmp_signed("==", source_step, unit), b.icmp_signed("==", sink_row, unit))
    whole = b.select(b.and_(full, b.or_(inward, outward)), b.and_(count, I64(-SIDE)), I64(0))
    # Of what is read, neighbours lie along rows or along elements; the other axis is that of what is written.
    read = b.select(inward, source_step, source_row)
    write = b.select(inward, sink_row, sink_step)
    with counted(b, whole, SIDE) as i:
        first, last = at(b, source, b.mul(i, source_step)), at(b, sink, b.mul(i, sink_step))
        kind = ir.VectorType(element, SIDE)
        lines = []
        for _ in range(SIDE):
            lines.append(b.load(first, typ=kind, align=size))
            first = at(b, first, read)
        for line in _transposed(b, lines):
            b.store(line, last, align=size)
            last = at(b, last, write)
    with counted(b, count, start=whole) as i:
        first, last = at(b, source, b.mul(i, source_step)), at(b, sink, b.mul(i, sink_step))
        with counted(b, rows) as j:
            value = b.load(at(b, first, b.mul(j, source_row)), typ=element, align=size)
            b.store(value, at(b, last, b.mul(j, sink_row)), align=size)
    b.ret_void()
    return function


def _transposed(b: ir.IRBuilder, lines: list[ir.Value]) -> list[ir.Value]:
    """As many vectors of as many elements, transposed: blocks of half the size are exchanged, then blocks of these."""
    side = len(lines)
    half = side // 2
    while half:
        low = [e if not e & half else side + e - half for e in range(side)]
        high = [e + half if not e & half else side + e for e in range(side)]
        found = list(lines)
        for i in range(side):
            if not i & half:
                found[i] = picked(b, lines[i], low, lines[i + half])
                found[i + half] = picked(b, lines[i], high, lines[i + half])
        lines, half = found, half // 2
    return lines
