"""Lowering of a graph to the dialect of LLVM that NVVM takes, on scalars.

All that computes with floats is text in the language of the device (PTX), which says how each operation rounds. The
compiler leaves that alone: it cannot contract a product and a sum, flush subnormals, divide approximately, compute in
16 bits what is meant to be done in 32, or take -0 for 0, as NVVM does when it moves a selection past a conversion.
"""

from __future__ import annotations

import zlib
from typing import Any

from llvmlite import ir

from fastact.cpu.lowering import emit as cpu
from fastact.cpu.lowering.words import SCALARS
from fastact.link.graph import BITS, Graph, Node
from fastact.link.sixteen import AWAY

_TEXT = {
    "fadd": "add.rn.T $0, $1, $2;", "fsub": "sub.rn.T $0, $1, $2;", "fmul": "mul.rn.T $0, $1, $2;",
    "fdiv": "div.rn.T $0, $1, $2;", "fma": "fma.rn.T $0, $1, $2, $3;", "sqrt": "sqrt.rn.T $0, $1;",
    "fabs": "abs.T $0, $1;", "fneg": "neg.T $0, $1;", "rint": "cvt.rni.T.T $0, $1;",
    "floor": "cvt.rmi.T.T $0, $1;",
    "fpext": "cvt.f64.f32 $0, $1;", "fptrunc": "cvt.rn.f32.f64 $0, $1;",
    "half_to_single": "cvt.f32.f16 $0, $1;", "single_to_half": "cvt.rn.f16.f32 $0, $1;",
    "single_to_bfloat": "cvt.rn.bf16.f32 $0, $1;",
}  # fmt: skip
_REGISTERS = {"f32": "f", "f64": "d", "i16": "h"}
I32, I64 = ir.IntType(32), ir.IntType(64)
GLOBAL = 1
"""The address space of memory that all threads see."""


class Emitter(cpu.Emitter):
    """Writes graphs into the block where ``builder`` stands."""

    def __init__(self, builder: ir.IRBuilder, bfloat_instructions: bool) -> None:
        super().__init__(builder, 0)
        self.rounds_to_bfloat = bfloat_instructions

    def node(self, node: Node, args: list[ir.Value]) -> ir.Value:
        if node.op in _TEXT and (node.op != "single_to_bfloat" or self.rounds_to_bfloat):
            return self.text(node, args)
        if node.op == AWAY:
            return self.rounded_away(args[0])
        if node.op == "copysign":
            return self.copysign(node.type, *args)
        return super().node(node, args)

    def text(self, node: Node, args: list[ir.Value]) -> ir.Value:
        """One instruction of PTX."""
        function = ir.FunctionType(SCALARS[node.type], [a.type for a in args])
        registers = ",".join([f"={_REGISTERS[node.type]}", *(_REGISTERS[a.type] for a in node.args)])
        assembly = _TEXT[node.op].replace("T", node.type)
        return self.builder.asm(function, assembly, registers, args, side_effect=False)

    def rounded_away(self, value: ir.Value) -> ir.Value:
        """A float32 rounded to bfloat16: all bits of a NaN are set here, and an addition would take it for -0."""
        b = self.builder
        bits = b.bitcast(value, I32)
        bits = b.select(b.fcmp_unordered("uno", value, value), bits, b.add(bits, I32(0x8000)))
        return b.trunc(b.lshr(bits, I32(16)), SCALARS["i16"])

    def copysign(self, type: str, size: ir.Value, sign: ir.Value) -> ir.Value:
        b, bits = self.builder, BITS[type]
        whole = ir.IntType(bits)
        mask = whole(1 << bits - 1)
        low = b.and_(b.bitcast(size, whole), whole((1 << bits - 1) - 1))
        return b.bitcast(b.or_(low, b.and_(b.bitcast(sign, whole), mask)), SCALARS[type])

    def lookup(self, node: Node, index: ir.Value) -> ir.Value:
        """An element of a table in global memory: threads of a warp ask for different ones, which memory for
        constants would serve one after the other."""
        b, data = self.builder, node.data
        assert isinstance(data, tuple)
        name = f"fastact_table_{node.type}_{len(data)}_{zlib.crc32(''.join(data).encode()):x}"
        kind = ir.ArrayType(SCALARS[node.type], len(data))
        table = self.module.globals.get(name)
        if table is None:
            table = ir.GlobalVariable(self.module, kind, name, addrspace=GLOBAL)
            table.global_constant, table.linkage, table.align = True, "internal", 128
            table.initializer = ir.Constant(kind, [float.fromhex(text) for text in data])
        wide = index if BITS[node.args[0].type] == 64 else b.zext(index, I64)
        return b.load(b.gep(table, [I64(0), wide], inbounds=True))


def emit(
    builder: ir.IRBuilder, graph: Graph, usual: Graph | None, lanes: list[list[Any]], bfloat_instructions: bool
) -> list[list[ir.Value]]:
    """The outputs of a graph for each of some elements, given its inputs.

    All are computed as they usually are. Then those for which that was not enough follow one by one.
    ``bfloat_instructions``: the device rounds to bfloat16, as those of capability 8.0 and more do."""
    emitter = Emitter(builder, bfloat_instructions)
    if usual is None:
        return [emitter.graph(graph, inputs) for inputs in lanes]
    found = [emitter.graph(usual, inputs) for inputs in lanes]
    if len(lanes) == 1:
        return [_one(emitter, graph, lanes[0], found[0])]
    return _several(emitter, graph, lanes, found)


def _one(emitter: Emitter, graph: Graph, inputs: list[Any], found: list[ir.Value]) -> list[ir.Value]:
    b = emitter.builder
    start, aside, after = b.block, b.append_basic_block("rare"), b.append_basic_block("usual")
    b.cbranch(found[-1], aside, after)
    b.position_at_end(aside)
    whole = emitter.graph(graph, inputs)
    aside = b.block
    b.branch(after)
    b.position_at_end(after)
    results = []
    for common, exact in zip(found[:-1], whole, strict=True):
        result = b.phi(common.type)
        result.add_incoming(common, start)
        result.add_incoming(exact, aside)
        results.append(result)
    return results


def _several(
    emitter: Emitter, graph: Graph, lanes: list[list[Any]], found: list[list[ir.Value]]
) -> list[list[ir.Value]]:
    """A loop over the bits of a mask, so that there is one copy of the whole graph."""
    b = emitter.builder
    mask: ir.Value = I32(0)
    for place, values in enumerate(found):
        mask = b.or_(mask, b.shl(b.zext(values[-1], I32), I32(place)))
    start, head, body, after = b.block, *(b.append_basic_block(x) for x in ("rares", "rare", "usual"))
    b.branch(head)
    b.position_at_end(head)
    left = b.phi(I32)
    left.add_incoming(mask, start)
    current = [[b.phi(value.type) for value in values[:-1]] for values in found]
    for phis, values in zip(current, found, strict=True):
        for phi, value in zip(phis, values, strict=False):
            phi.add_incoming(value, start)
    b.cbranch(b.icmp_unsigned("!=", left, I32(0)), body, after)
    b.position_at_end(body)
    lowest = b.and_(left, b.sub(I32(0), left))
    here = [b.icmp_unsigned("==", lowest, I32(1 << place)) for place in range(len(lanes))]
    inputs = list(lanes[0])
    for place in range(1, len(lanes)):
        for k, value in enumerate(lanes[place]):
            if value is not inputs[k]:  # the same for all elements
                inputs[k] = b.select(here[place], value, inputs[k])
    whole = emitter.graph(graph, inputs)
    for place, phis in enumerate(current):
        for phi, exact in zip(phis, whole, strict=True):
            phi.add_incoming(b.select(here[place], exact, phi), b.block)
    left.add_incoming(b.and_(left, b.sub(left, I32(1))), b.block)
    b.branch(head)
    b.position_at_end(after)
    return [list(phis) for phis in current]
