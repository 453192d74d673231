"""Lowering of a graph to LLVM instructions, on scalars (width 0) or on vectors of any width."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from fastact.cpu.lowering import clips, detours, extremes, masks, powers, quotients, tables
from fastact.cpu.lowering.order import Detour, order
from fastact.cpu.lowering.sixteen import Conversions, Doubt, often_zero
from fastact.cpu.lowering.words import SCALARS, constant, typed, undefined
from fastact.link.graph import BITS, Graph, Node
from fastact.link.sixteen import AWAY

_BINARY = {
    "fadd": "fadd", "fsub": "fsub", "fmul": "fmul", "fdiv": "fdiv",
    "iadd": "add", "isub": "sub", "and": "and_", "or": "or_", "xor": "xor",
    "shl": "shl", "lshr": "lshr", "ashr": "ashr",
}  # fmt: skip
_CAST = {
    "bitcast": "bitcast", "fpext": "fpext", "fptrunc": "fptrunc", "sitofp": "sitofp",
    "itrunc": "trunc", "zext": "zext", "sext": "sext",
}  # fmt: skip
_INTRINSIC = {
    "fabs": "llvm.fabs", "sqrt": "llvm.sqrt", "fma": "llvm.fma", "copysign": "llvm.copysign", "rint": "llvm.rint",
    "floor": "llvm.floor",
}  # fmt: skip


BRIEF = 15
"""Nodes of a body that is short."""


class Emitter(Conversions):
    """Writes graphs into the block where ``builder`` stands.

    ``half_instructions``: the target converts float16 in hardware; elsewhere it is done in integer arithmetic.
    ``avx512``: the target has those instructions, which find an element of a small table in registers;
    ``bfloat_instructions``: it has those of AVX-512 that round to bfloat16.
    ``apart``: bfloat16 elements at even places make the first half of a vector, those at odd places the second, which
    spares moving them; all that is read and written has to be bfloat16 then, and the processor little-endian.
    ``part``: the elements for which detours are computed together, if not for all of the width.
    """

    def __init__(
        self,
        builder: ir.IRBuilder,
        width: int,
        half_instructions: bool = True,
        avx512: bool = False,
        bfloat_instructions: bool = False,
        apart: bool = False,
        part: int = 0,
    ) -> None:
        self.builder, self.width, self.half_instructions, self.avx512 = builder, width, half_instructions, avx512
        self.bfloat_instructions = bfloat_instructions and width % 32 == 0 and width > 0
        self.apart, self.part = apart and width > 1, part
        self.apart_masks = False
        self.couples: dict[Node, Node] = {}
        self.coupled: dict[Node, ir.Value] = {}
        """Tables that are looked up two by two, and what was found in second ones."""
        self.stored_halves = 0
        """How many elements of float16 an instruction rounds that stores them; 0 if there is none."""
        self.unrounded: dict[int, ir.Value] = {}
        """The float32 of float16 that may be rounded by the instruction that stores them."""
        self.eights = False
        """Whether tables are looked up eight elements at a time (`Target`)."""
        self.multiplied: dict[Node, int] = {}
        """Quotients and roots of which so many registers do without the divider (`quotients`)."""
        self.stored: dict[int, Any] = {}
        """The inputs."""
        self.found: dict[int, ir.Value] = {}
        """Whether conditions of detours hold somewhere."""
        self.kept: dict[int, ir.Value] = {}
        """Where those lie that a detour has put on the stack, for others that come after it."""

    def graph(self, graph: Graph, inputs: Sequence[ir.Value], alarm: bool = False) -> list[ir.Value]:
        """The `outputs` of a graph for the given inputs; conditions are perhaps in pieces (`masks`)."""
        self.begin(graph)
        self.brief = len(graph.live()) <= BRIEF
        values: dict[int, Any] = {node.index: inputs[int(node.data)] for node in graph.inputs}  # type: ignore[call-overload]
        self.stored = dict(values)
        self.steps(order(graph, detours=self.width > 0), values)
        return self.outputs(graph, values, alarm)

    def outputs(self, graph: Graph, values: dict[int, Any], alarm: bool = False) -> list[ir.Value]:
        """The outputs among the values; ``alarm``: of conditions matters only whether they hold for some element, and
        those that a NaN is compared in may do so."""
        def output(node: Node) -> Any:
            apart = alarm and node.type == "i1"
            return extremes.gathered(self, node, values) if apart else masks.plain(values[node.index])

        return [output(node) for node in graph.outputs]

    def steps(self, steps: Sequence[Node | Detour], values: dict[int, Any]) -> None:
        """The values of some steps, added to those that they need."""
        self.couples = tables.couples(self, steps)
        for step in steps:
            if isinstance(step, Detour):
                self.detour(step, values)
            elif step.op != "input":
                values[step.index] = self.node(step, [values[a.index] for a in step.args])
        self.couples = {}

    def begin(self, graph: Graph) -> None:
        """Keep conditions in pieces, unless a graph has words of two lengths elsewhere than on detours of parts."""
        self.found, self.kept = {}, {}
        steps = order(graph, detours=self.width > 0)
        usual = [node for step in steps for node in self._together(step)]
        self.apart_masks = not any(node.op in ("fpext", "fptrunc") for node in usual)

    def _together(self, step: Node | Detour) -> Sequence[Node]:
        """The nodes that are computed for whole vectors."""
        if isinstance(step, Detour):
            return step.members if detours.divisible(step, self.width, self.part) else (*step.nodes, *step.members)
        return (step,)

    def nodes(self, nodes: Sequence[Node], values: dict[int, Any]) -> dict[int, Any]:
        """The values of some nodes, added to those that they need."""
        around, self.couples = self.couples, tables.couples(self, nodes)
        for node in nodes:
            if node.op != "input":
                values[node.index] = self.node(node, [values[a.index] for a in node.args])
        self.couples = around
        return values

    def detour(self, detour: Detour, known: dict[int, Any]) -> None:
        """What only some elements need, passed by where no element of the vector does."""
        b, values = self.builder, known
        start = b.block
        aside, after = b.append_basic_block("aside"), b.append_basic_block("after")
        found = self.found.get(detour.condition.index)
        if found is None:
            found = self.found[detour.condition.index] = extremes.anywhere(self, detour.condition, values)
        usual = [masks.whole(self, values[m.args[2].index]) for m in detour.members]
        b.cbranch(found, aside, after).set_weights([1, 1000])
        b.position_at_end(aside)
        if detour.condition.index not in self.kept:  # what nothing but detours needs
            values = extremes.again(self, detour.condition, values)
            values = self.nodes(extremes.truths(detour.condition), dict(values))
        if detours.divisible(detour, self.width, self.part):
            part = Emitter(b, self.part, self.half_instructions, self.avx512, self.bfloat_instructions)
            part.eights = self.eights
            chosen = detours.in_parts(self, part, detour, values)
        else:
            self.nodes(detour.nodes, values)
            chosen = [masks.whole(self, self.node(m, [values[a.index] for a in m.args])) for m in detour.members]
        aside = b.block
        b.branch(after)
        b.position_at_end(after)
        for member, value, other in zip(detour.members, chosen, usual, strict=True):
            result = b.phi(value.type)
            result.add_incoming(other, start)
            result.add_incoming(value, aside)
            known[member.index] = result

    def node(self, node: Node, args: list[Any]) -> Any:
        """The value of a node from those of its arguments."""
        if not self.apart:
            return self.operation(node, args)
        args, stored = masks.ordered(self, node, args)
        value = self.operation(node, args)
        compares = node.op == "icmp" and node.args[0].type == "i16"
        return masks.AsStored(value) if stored or compares else value

    def operation(self, node: Node, args: list[ir.Value]) -> ir.Value:
        op, kind, b = node.op, typed(node.type, self.width), self.builder
        if op == "constant":
            value = float.fromhex(node.data) if isinstance(node.data, str) else node.data
            return constant(node.type, self.width, value)  # type: ignore[arg-type]
        if node in self.multiplied:
            return quotients.computed(self, node, args, self.multiplied[node])
        if op in _BINARY:
            return masks.combined(self, getattr(b, _BINARY[op]), args)
        if op in _CAST:
            return getattr(b, _CAST[op])(args[0], kind)
        if op in _INTRINSIC:
            return self.intrinsic(_INTRINSIC[op], node.type, args)
        if op == "fneg":
            return b.fneg(args[0])
        if op == "fcmp":
            compare = b.fcmp_unordered if node.data == "uno" else b.fcmp_ordered
            symbol = {"olt": "<", "ole": "<=", "ogt": ">", "oge": ">=", "oeq": "==", "uno": "uno"}[str(node.data)]
            return masks.compared(self, node.args[0].type, functools.partial(compare, symbol), args)
        if op == "icmp":
            symbol = {"slt": "<", "sle": "<=", "sgt": ">", "sge": ">=", "eq": "==", "ne": "!="}[str(node.data)]
            return masks.compared(self, node.args[0].type, functools.partial(b.icmp_signed, symbol), args)
        if op == "select":
            clipped = clips.clip(self, node, args)
            if clipped is not None:
                return clipped
            return masks.selected(self, node.type, b.select, args)
        if op == "lookup":
            return self.lookup(node, args[0])
        if op == "fraction":
            return clips.fraction(self, args[0], int(str(node.data)))
        if op == "size_within":
            return clips.size_within(self, args[0], float.fromhex(str(node.data)))
        if op == "scale":
            return powers.product(self, *args)
        if op == "half_to_single":
            return self.half_to_single(args[0])
        if op == "single_to_half":
            if self.stored_halves and self.width % self.stored_halves == 0 and not self.brief:
                self.unrounded[node.index] = args[0]
            return self.single_to_half(args[0])
        if op == "bfloat_to_single":
            return self.bfloat_to_single(args[0])
        if op == "single_to_bfloat":
            return self.single_to_bfloat(args[0], self.subnormal(node.args[0]))
        if op == AWAY:
            return self.single_to_bfloat_away(args[0])
        if op == "upper_half":
            return self.upper_half(b.bitcast(args[0], typed("i32", self.width)))
        raise NotImplementedError(op)

    def subnormal(self, node: Node) -> ir.Value | Doubt | None:
        """Whether a number is subnormal in some element; of numbers that depend on one input, by its bits."""
        doubt: Doubt = "zeros" if often_zero(node) else "unknown"
        if not self.bfloat_instructions:
            return doubt
        from fastact.link.stored import rarely

        found = rarely(node)
        if found is None or found[0].index not in self.stored:
            return doubt
        source, scratch = found
        condition = scratch.outputs[0]
        if condition.op == "constant":
            return None if not condition.data else doubt
        values = self.nodes(scratch.live(), {scratch.inputs[0].index: self.stored[source.index]})
        return masks.anywhere(self, values[condition.index])

    # -- tables -------------------------------------------------------------------------------------------------
    def lookup(self, node: Node, index: ir.Value) -> ir.Value:
        """Elements of a constant table, by the position held in ``index``."""
        b, element = self.builder, SCALARS[node.type]
        entries = [float.fromhex(text) for text in node.data]  # type: ignore[attr-defined]
        lanes = 512 // BITS[node.type]
        permuted = self.width and self.width % lanes == 0 and len(entries) in (8, 16, 32) and len(entries) >= lanes
        if self.avx512 and permuted and (node.type, node.args[0].type) in (("f64", "i64"), ("f32", "i32")):
            return self.permutation(entries, index, node.type, lanes)
        if self.eights and tables.serves(node, self.width):
            return tables.in_eights(self, node, index)
        if node in self.coupled:
            return self.coupled.pop(node)
        if node in self.couples:
            second = self.couples[node]
            value, self.coupled[second] = tables.together(self, node, second, index)
            return value
        table = self.table(node.type, entries)
        zero = ir.Constant(ir.IntType(64), 0)
        if not self.width:
            wide = index if BITS[node.args[0].type] == 64 else b.zext(index, ir.IntType(64))
            return b.load(b.gep(table, [zero, wide], inbounds=True, source_etype=table.value_type), typ=element)
        kind = typed(node.type, self.width)
        result: ir.Value = undefined(kind)
        for lane in range(self.width):
            position = ir.Constant(ir.IntType(32), lane)
            one = b.extract_element(index, position)
            if BITS[node.args[0].type] != 64:
                one = b.zext(one, ir.IntType(64))
            value = b.load(b.gep(table, [zero, one], inbounds=True, source_etype=table.value_type), typ=element)
            result = b.insert_element(result, value, position)
        return result

    def table(self, type: str, entries: list[float]) -> ir.GlobalVariable:
        """A constant table in memory."""
        text = "".join(map(float.hex, entries))
        name = "_".join(("table", type, str(len(entries)), format(zlib.crc32(text.encode()), "x")))
        table = self.module.globals.get(name)
        if table is None:
            kind = ir.ArrayType(SCALARS[type], len(entries))
            table = ir.GlobalVariable(self.module, kind, name)
            table.global_constant, table.linkage = True, "internal"
            table.initializer = ir.Constant(kind, entries)
            table.align = 64
            table.type = ir.PointerType()
        return table

    def permutation(self, entries: list[float], index: ir.Value, word: str, count: int) -> ir.Value:
        """Elements of a table of one, two or four registers, ``count`` to each, as many of them looked up at a time."""
        b, kind, integer = self.builder, typed(word, count), "i" + word[1:]
        whole, suffix = typed(integer, count), {"f64": ("df", "pd"), "f32": ("sf", "ps")}[word]
        parts = [ir.Constant(kind, entries[i : i + count]) for i in range(0, len(entries), count)]
        one = self.declared(f"llvm.x86.avx512.permvar.{suffix[0]}.512", kind, [kind, whole])
        two = self.declared(f"llvm.x86.avx512.vpermi2var.{suffix[1]}.512", kind, [kind, whole, kind])
        found = []
        if len(parts) < 4:
            index = _without_mask(index, len(entries) - 1)
        for start in range(0, self.width, count):
            i = self.lanes(index, start, count)
            if len(parts) == 1:
                found.append(b.call(one, [parts[0], i]))
                continue
            halves = [b.call(two, [low, i, high]) for low, high in zip(parts[::2], parts[1::2], strict=True)]
            if len(halves) == 2:
                bit = constant(integer, count, 2 * count)
                upper = b.icmp_signed("!=", b.and_(i, bit), constant(integer, count, 0))
                halves = [b.select(upper, halves[1], halves[0])]
            found += halves
        while len(found) > 1:
            found = [self.joined(low, high) for low, high in zip(found[::2], found[1::2], strict=True)]
        return found[0]

def _without_mask(index: ir.Value, mask: int) -> ir.Value:
    """What an index is cut out of, where nothing but the bits of the mask is kept: instructions look at no others."""
    if getattr(index, "opname", "") == "and":
        value, kept = index.operands
        if isinstance(kept, ir.Constant) and {getattr(c, "constant", c) for c in kept.constant} == {mask}:
            return value
    return index
