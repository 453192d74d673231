"""The sweeps of a loop: functions that take a graph over whole vectors of contiguous operands.

One computes the results; where parameters are single numbers another does, which computes what follows from these
alone before its loop. A third one looks at inputs and outputs for the floating-point flags that they justify.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from fastact.cpu.lowering import masks, powers, quotients
from fastact.cpu.lowering.contracted import contracted
from fastact.cpu.lowering.emit import BRIEF, Emitter
from fastact.cpu.lowering.flags import FlagRegister, stack
from fastact.cpu.lowering.flow import I32, I64, LINE, PTR, at, counted
from fastact.cpu.lowering.order import Detour, order
from fastact.cpu.lowering.overlap import Parts, parts
from fastact.cpu.lowering.uniform import by_need, worthwhile
from fastact.cpu.lowering.words import LANES, SCALARS, constant, picked, typed, undefined
from fastact.link.graph import BITS, Graph, Node
from fastact.link.sixteen import AWAY

REGISTERS = 4
"""Registers to a vector."""
AHEAD = 4096
"""Bytes by which operands are fetched before they are needed: what lies nearer is under way already."""


@dataclass(frozen=True)
class Target:
    """What the loop builder has to know of a CPU."""

    vector_bytes: int
    half_instructions: bool
    flags: FlagRegister
    avx512: bool = False
    bfloat_instructions: bool = False
    streams: bool = False
    """Whether it writes past its caches on demand, and knows a fence for that."""
    second_level: bool = False
    """Whether short bodies past the caches are quicker if what they read is asked for in the second cache only."""
    slow_divider: bool = False
    """Whether it multiplies many registers in the time in which it divides one, and has AVX-512's approximations."""
    eights: bool = False
    """Whether it has AVX2 and not AVX-512: it finds one of eight elements of a table in a register."""

    def suited(self, graph: Graph) -> Graph:
        """A graph, or what takes less time here."""
        return graph if self.avx512 else graph.without_tables()

    def width(self, graph: Graph) -> int:
        """Elements per vector: as many of the storage type as fill four registers, those of 16 bits counted as 32.

        A body is one long chain of dependent operations; four of them side by side keep the processor busy."""
        storage = max(BITS[node.type] for node in graph.inputs + graph.outputs if node.type != "i1")
        return REGISTERS * self.vector_bytes * 8 // max(storage, 32)


Slot = tuple[ir.Value, ir.Type]
"""Where a condition is gathered, and its type."""
Store = tuple[ir.Value, ir.Value, int, ir.Value | None]
"""A register of a result, its place, the bytes of an element, and what it is rounded from if storing it rounds."""


class Sweeps:
    """Builds the sweeps of one kernel in a module."""

    def __init__(self, graph: Graph, target: Target, name: str, fetched: int = 0, varying: int = 0) -> None:
        """``fetched``: of how many operands the processor is told early what will be needed; ``varying``: how many
        inputs come before those that are often the same for all elements, 0 if there are none of these."""
        graph = target.suited(graph)
        graph = contracted(powers.scaled(graph)) if target.avx512 else graph
        self.graph, self.target = graph, target
        self.fetched = fetched
        self.alarm = len(graph.outputs) > 1 and graph.outputs[-1].type == "i1"
        self.results = graph.outputs[:-1] if self.alarm else graph.outputs
        self.operands = [node.type for node in graph.inputs + self.results]
        self.sizes = [BITS[type] // 8 for type in self.operands]
        self.inputs = len(graph.inputs)
        self.varying = varying if varying and worthwhile(graph, varying) else self.inputs
        self.width = target.width(graph)
        kinds = {node: {node.type, *(a.type for a in node.args)} - {"i1"} for node in graph.live()}
        crossing = {node.op for node, types in kinds.items() if "i16" in types and len(types) > 1}
        stored = set(self.operands) == {"i16"} and bool(crossing)
        self.bfloat = stored and crossing <= {"bfloat_to_single", "single_to_bfloat", AWAY, "upper_half"}
        self.level = 2 if target.second_level and len(graph.live()) <= BRIEF else 3
        """The cache that is asked for what results written past the caches are made of: 3 for the first, 2 for the
        second, as LLVM has it."""
        self.module = ir.Module(name)

    def _sweep(self, name: str, graph: Graph, pointers: int, loads: int) -> ir.Function:
        """i32 name(pointers..., i64 vectors): the first ``loads`` operands are read, the results written to the rest.

        Outputs of type i1 are gathered over all elements into the bits of the value returned."""
        function, emitter = self._function(name, pointers)
        b, w = emitter.builder, self.width
        slots: list[Slot] = []
        if name == "body":
            emitter.multiplied = self._multiplied(order(graph, detours=True))
        divided = parts(graph) if name == "body" and self.target.half_instructions and not self.fetched else None
        if divided is not None:
            self._overlapped(emitter, function, divided, loads, slots)
            b.ret(self._found(emitter, slots))
            return function
        with counted(b, function.args[pointers]) as i:
            element = b.mul(i, I64(w))
            where = [at(b, p, b.mul(element, I64(s))) for p, s in zip(function.args, self.sizes, strict=False)]
            values = [
                b.load(p, align=s, typ=typed(t, w))
                for p, s, t in zip(where[:loads], self.sizes, self.operands, strict=False)
            ]
            self._fetch(b, where[: self.fetched])
            outputs = emitter.graph(graph, values, alarm=graph is self.graph)
            self._deliver(emitter, graph, outputs, where, loads, slots)
        b.ret(self._found(emitter, slots))
        return function

    def _function(self, name: str, pointers: int) -> tuple[ir.Function, Emitter]:
        """A function of so many pointers, a count and, if it is a body, whether it writes past the caches, and what
        writes it."""
        counts = [I64] * (2 if name.startswith("body") else 1)
        function = ir.Function(self.module, ir.FunctionType(I32, [PTR] * pointers + counts), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        b, w, target = ir.IRBuilder(function.append_basic_block("entry")), self.width, self.target
        emitter = Emitter(
            b, w, target.half_instructions, target.avx512, target.bfloat_instructions, self.bfloat, w // REGISTERS
        )
        emitter.eights = target.eights
        emitter.stored_halves = target.vector_bytes // 4 if target.streams and target.half_instructions else 0
        return function, emitter

    def _multiplied(self, steps: Sequence[Node | Detour]) -> dict[Node, int]:
        return quotients.worthwhile(steps, self.width) if self.target.slow_divider else {}

    def _uniform_sweep(self) -> ir.Function:
        """The body where the last inputs are single numbers: what follows from them alone comes before the loop."""
        function, emitter = self._function("body_uniform", len(self.operands))
        b, w, graph = emitter.builder, self.width, self.graph
        slots: list[Slot] = []
        once, each = by_need(graph, self.varying)
        emitter.begin(graph)
        emitter.brief = len(graph.live()) <= BRIEF
        values: dict[int, ir.Value] = {}
        for k in range(self.varying, self.inputs):
            number = b.load(function.args[k], align=self.sizes[k], typ=SCALARS[self.operands[k]])
            values[graph.inputs[k].index] = self._everywhere(b, number, self.operands[k])
        emitter.stored = dict(values)
        emitter.steps(once, values)
        emitter.multiplied = self._multiplied(each)
        with counted(b, function.args[len(self.operands)]) as i:
            element = b.mul(i, I64(w))
            where = [at(b, p, b.mul(element, I64(s))) for p, s in zip(function.args, self.sizes, strict=False)]
            for k in range(self.varying):
                kind = typed(self.operands[k], w)
                values[graph.inputs[k].index] = b.load(where[k], align=self.sizes[k], typ=kind)
            emitter.stored = {node.index: values[node.index] for node in graph.inputs}
            self._fetch(b, where[: self.fetched])
            emitter.steps(each, values)
            outputs = emitter.outputs(graph, values, alarm=True)
            self._deliver(emitter, graph, outputs, where, self.inputs, slots, self.varying)
        b.ret(self._found(emitter, slots))
        return function

    def _everywhere(self, b: ir.IRBuilder, number: ir.Value, type: str) -> ir.Value:
        """A vector of one number."""
        vector = undefined(typed(type, self.width))
        return picked(b, b.insert_element(vector, number, I32(0)), [0] * self.width)

    def _deliver(
        self, emitter: Emitter, graph: Graph, outputs: list[ir.Value], where: list[ir.Value], loads: int,
        slots: list[Slot], reads: int | None = None,
    ) -> None:  # fmt: skip
        """Results are stored after so many operands, conditions gathered; the first ones are read as vectors."""
        b = emitter.builder
        results = [(v, node) for v, node in zip(outputs, graph.outputs, strict=True) if node.type != "i1"]
        stores: list[Store] = []
        for (value, node), p, s in zip(results, where[loads:], self.sizes[loads:], strict=False):
            single = emitter.unrounded.get(node.index)
            lanes = self.width if single is None else emitter.stored_halves
            lanes = LANES if node.op == "single_to_half" and self.target.avx512 else lanes
            for i in range(0, self.width, lanes):
                part = value if lanes == self.width else picked(b, value, range(i, i + lanes))
                wide = None if single is None else picked(b, single, range(i, i + lanes))
                stores.append((part, at(b, p, I64(i * s)), s, wide))
        self._store(b, stores, where[: loads if reads is None else reads])
        for value, node in zip(outputs, graph.outputs, strict=True):
            if node.type == "i1":
                mark = masks.merged(b, value)
                slot = stack(b, mark.type)
                with b.goto_entry_block():
                    b.store(constant("i1", mark.type.count, 0), slot)
                b.store(b.or_(mark, b.load(slot, typ=mark.type)), slot)
                slots.append((slot, mark.type))

    def _store(self, b: ir.IRBuilder, stores: list[Store], reads: list[ir.Value]) -> None:
        """Vectors to places; past the caches if the body is told to."""
        if not self.target.streams or not stores or not b.function.name.startswith("body"):
            for value, place, size, _ in stores:
                b.store(value, place, align=size)
            return
        # That the answer is always the same is kept from LLVM, which would make two loops of this one.
        opaque = b.asm(ir.FunctionType(I64, [I64]), "", "=r,0", [b.function.args[-1]], side_effect=True)
        with b.if_else(b.icmp_unsigned("!=", opaque, I64(0)), likely=False) as (past, plainly):
            with past:
                self._fetch(b, reads, self.level)
                mark = self.module.add_metadata([I32(1)])
                for value, place, size, _ in stores:
                    store = b.store(value, place, align=min(LINE, value.type.count * size))
                    store.set_metadata("nontemporal", mark)
            with plainly:
                for value, place, size, wide in stores:
                    if wide is None:
                        b.store(value, place, align=size)
                    else:
                        kind = ir.FunctionType(ir.VoidType(), [PTR, wide.type])
                        b.asm(kind, "vcvtps2ph $$4, $1, ($0)", "r,v,~{memory}", [place, wide], side_effect=True)

    def _found(self, emitter: Emitter, slots: list[Slot]) -> ir.Value:
        """The conditions gathered, as bits."""
        b = emitter.builder
        found: ir.Value = I32(0)
        for bit, (slot, kind) in enumerate(slots):
            any_lane = b.zext(masks.anywhere(emitter, b.load(slot, typ=kind)), I32)
            found = b.or_(found, b.shl(any_lane, I32(bit)))
        return found

    def _overlapped(
        self, emitter: Emitter, function: ir.Function, divided: Parts, loads: int, slots: list[Slot]
    ) -> None:
        """The loop with the first part of the body a vector ahead of the second; the last one's is computed twice."""
        b, w, graph, pointers = emitter.builder, self.width, self.graph, function.args[: len(self.operands)]

        def where(i: ir.Value) -> list[ir.Value]:
            element = b.mul(i, I64(w))
            return [at(b, p, b.mul(element, I64(s))) for p, s in zip(pointers, self.sizes, strict=True)]

        def read(i: ir.Value) -> dict[int, ir.Value]:
            places = zip(where(i)[:loads], self.sizes, self.operands, strict=False)
            stored = [b.load(p, align=s, typ=typed(t, w)) for p, s, t in places]
            return {node.index: stored[int(node.data)] for node in graph.inputs}  # type: ignore[call-overload]

        def first(i: ir.Value) -> dict[int, ir.Value]:
            return emitter.nodes(divided.first, read(i))

        if not divided.converts:
            emitter.begin(graph)
        emitter.brief = len(graph.live()) <= BRIEF
        last = b.sub(function.args[len(pointers)], I64(1))
        start, entry = first(I64(0)), b.block
        loop, after = b.append_basic_block("loop"), b.append_basic_block("after")
        b.branch(loop)
        b.position_at_end(loop)
        i = b.phi(I64)
        i.add_incoming(I64(0), entry)
        kept = {node.index: masks.phi(b, start[node.index]) for node in divided.kept}
        following = b.add(i, I64(1))
        more = b.icmp_signed("<=", following, last)
        ahead = first(b.select(more, following, last))
        constants = {index: value for index, value in ahead.items() if isinstance(value, ir.Constant)}
        emitter.stored = read(i)
        values = emitter.nodes(divided.second, {**constants, **kept, **emitter.stored})
        results = emitter.outputs(graph, values, alarm=True)
        self._deliver(emitter, graph, results, where(i), loads, slots)
        for index, value in kept.items():
            masks.arrives(value, start[index], entry)
            masks.arrives(value, ahead[index], b.block)
        i.add_incoming(following, b.block)
        b.cbranch(more, loop, after)
        b.position_at_end(after)

    def _fetch(self, b: ir.IRBuilder, places: list[ir.Value], level: int = 3) -> None:
        """Ask for what lies `AHEAD`. Of one or two arrays processors know that by themselves."""
        if places:
            kind = ir.FunctionType(ir.VoidType(), [PTR, I32, I32, I32])
            prefetch = self.module.globals.get("llvm.prefetch.p0") or ir.Function(self.module, kind, "llvm.prefetch.p0")
        for place, size in zip(places, self.sizes, strict=False):
            for line in range(0, self.width * size, LINE):
                b.call(prefetch, [at(b, place, I64(AHEAD + line)), I32(0), I32(level), I32(1)])
