"""The inner loop of a ufunc around one graph, as LLVM IR.

Its type is NumPy's: ``void (char **args, npy_intp *dims, npy_intp *steps, void *)``.

All elements go through one vector body. Contiguous operands are read and written in place; strided and broadcast
ones go through blocks on the stack, and so do the last elements that do not fill a vector. Hence bits depend on
nothing but the input.

Floating-point flags are delivered as the mathematics has them, not as the instructions happen to raise them: they
are saved and cleared before the loop; afterwards, if the instructions raised one or the graph's alarm went off, a
second pass over inputs and outputs (the evidence graph) says which of them the results justify.
"""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

from fastact.cpu import masks
from fastact.cpu.copies import copier
from fastact.cpu.emit import BRIEF, Emitter
from fastact.cpu.flags import VERDICTS, FlagRegister, stack
from fastact.cpu.flow import I32, I64, PTR, at, counted
from fastact.cpu.overlap import Parts, parts
from fastact.cpu.words import LANES, SCALARS, constant, typed
from fastact.link.graph import BITS, Graph

BLOCK = 1024
"""Elements of a block on the stack; a multiple of every vector width."""
REGISTERS = 4
"""Registers to a vector."""
LINE = 64
"""Bytes that come from memory together."""
AHEAD = 4096
"""Bytes by which operands are fetched before they are needed: what lies nearer is under way already."""
STRETCH = 8192
"""Elements after which flags are looked into where no block is needed."""
FIRST_STRETCH = 256
"""The same at the start, from where it doubles: a flag once raised needs no more evidence, and what all the elements
are full of is found in the first ones."""


ALL, ALONE = 2 ** len(VERDICTS) - 1, (1, 2)
"""Verdicts by their bits: all, and those that are looked for alone as well, which an alarm may mean."""


@dataclass(frozen=True)
class Target:
    """What the loop builder has to know of a CPU."""

    vector_bytes: int
    half_instructions: bool
    flags: FlagRegister
    avx512: bool = False
    bfloat_instructions: bool = False

    def width(self, graph: Graph) -> int:
        """Elements per vector: as many of the storage type as fill four registers, those of 16 bits counted as 32.

        A body is one long chain of dependent operations; four of them side by side keep the processor busy."""
        storage = max(BITS[node.type] for node in graph.inputs + graph.outputs if node.type != "i1")
        return REGISTERS * self.vector_bytes * 8 // max(storage, 32)


Slot = tuple[ir.Value, ir.Type]
"""Where a condition is gathered, and its type."""


class LoopBuilder:
    """Builds the functions of one kernel in one module."""

    def __init__(self, graph: Graph, evidence: Graph | None, target: Target, name: str, fetched: int = 0) -> None:
        """``fetched``: of how many operands the processor is told early what will be needed."""
        self.graph, self.evidence, self.target, self.name = graph, evidence, target, name
        self.fetched = fetched
        self.alarm = len(graph.outputs) > 1 and graph.outputs[-1].type == "i1"
        self.results = graph.outputs[:-1] if self.alarm else graph.outputs
        self.operands = [node.type for node in graph.inputs + self.results]
        self.sizes = [BITS[type] // 8 for type in self.operands]
        self.inputs = len(graph.inputs)
        self.width = target.width(graph)
        kinds = {node: {node.type, *(a.type for a in node.args)} - {"i1"} for node in graph.live()}
        crossing = {node.op for node, types in kinds.items() if "i16" in types and len(types) > 1}
        stored = set(self.operands) == {"i16"} and bool(crossing)
        self.bfloat = stored and crossing <= {"bfloat_to_single", "single_to_bfloat", "upper_half"}
        self.module = ir.Module(name)

    def build(self) -> ir.Module:
        body = self._sweep("body", self.graph, len(self.operands), self.inputs)
        judges: dict[int, ir.Function] = {}
        if self.evidence is not None:
            for verdicts in (ALL, *(ALONE if self.alarm else ())):
                chosen = self.evidence.part([n for k, n in enumerate(self.evidence.outputs) if verdicts >> k & 1])
                name = f"judge_{verdicts}" if verdicts != ALL else "judge"
                judges[verdicts] = self._sweep(name, chosen, len(self.operands), len(self.operands))
        self._loop(body, judges)
        return self.module

    # -- a graph over whole vectors -----------------------------------------------------------------------------
    def _sweep(self, name: str, graph: Graph, pointers: int, loads: int) -> ir.Function:
        """i32 name(pointers..., i64 vectors): the first ``loads`` operands are read, the results written to the rest.

        Outputs of type i1 are gathered over all elements into the bits of the value returned."""
        function = ir.Function(self.module, ir.FunctionType(I32, [PTR] * pointers + [I64]), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        b = ir.IRBuilder(function.append_basic_block("entry"))
        w = self.width
        target = self.target
        emitter = Emitter(
            b, w, target.half_instructions, target.avx512, target.bfloat_instructions, self.bfloat, w // REGISTERS
        )
        slots: list[Slot] = []
        divided = parts(graph) if name == "body" and target.half_instructions and not self.fetched else None
        if divided is not None:
            self._overlapped(emitter, function, divided, loads, slots)
            b.ret(self._found(emitter, slots))
            return function
        with counted(b, function.args[-1]) as i:
            element = b.mul(i, I64(w))
            where = [at(b, p, b.mul(element, I64(s))) for p, s in zip(function.args, self.sizes, strict=False)]
            values = [
                b.load(p, align=s, typ=typed(t, w))
                for p, s, t in zip(where[:loads], self.sizes, self.operands, strict=False)
            ]
            self._fetch(b, where[: self.fetched])
            outputs = emitter.graph(graph, values)
            self._deliver(b, graph, outputs, where[loads:], loads, slots)
        b.ret(self._found(emitter, slots))
        return function

    def _deliver(
        self, b: ir.IRBuilder, graph: Graph, outputs: list[ir.Value], where: list[ir.Value], loads: int,
        slots: list[Slot],
    ) -> None:  # fmt: skip
        """Results are stored, conditions gathered."""
        results = [(v, node) for v, node in zip(outputs, graph.outputs, strict=True) if node.type != "i1"]
        for (value, node), p, s in zip(results, where, self.sizes[loads:], strict=False):
            lanes = LANES if node.op == "single_to_half" and self.target.avx512 else self.width
            for i in range(0, self.width, lanes):
                places = ir.Constant(ir.VectorType(I32, lanes), list(range(i, i + lanes)))
                part = value if lanes == self.width else b.shuffle_vector(value, value, places)
                b.store(part, at(b, p, I64(i * s)), align=s)
        for value, node in zip(outputs, graph.outputs, strict=True):
            if node.type == "i1":
                mark = masks.merged(b, value)
                slot = stack(b, mark.type)
                with b.goto_entry_block():
                    b.store(constant("i1", mark.type.count, 0), slot)
                b.store(b.or_(mark, b.load(slot, typ=mark.type)), slot)
                slots.append((slot, mark.type))

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
        b, w, graph, pointers = emitter.builder, self.width, self.graph, function.args[:-1]

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
        last = b.sub(function.args[-1], I64(1))
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
        results = [masks.plain(values[node.index]) for node in graph.outputs]
        self._deliver(b, graph, results, where(i)[loads:], loads, slots)
        for index, value in kept.items():
            masks.arrives(value, start[index], entry)
            masks.arrives(value, ahead[index], b.block)
        i.add_incoming(following, b.block)
        b.cbranch(more, loop, after)
        b.position_at_end(after)

    def _fetch(self, b: ir.IRBuilder, places: list[ir.Value]) -> None:
        """Ask for what lies `AHEAD`. Of one or two arrays processors know that by themselves."""
        if places:
            kind = ir.FunctionType(ir.VoidType(), [PTR, I32, I32, I32])
            prefetch = self.module.globals.get("llvm.prefetch.p0") or ir.Function(self.module, kind, "llvm.prefetch.p0")
        for place, size in zip(places, self.sizes, strict=False):
            for line in range(0, self.width * size, LINE):
                b.call(prefetch, [at(b, place, I64(AHEAD + line)), I32(0), I32(3), I32(1)])

    # -- strides, blocks and remainders -------------------------------------------------------------------------
    def _loop(self, body: ir.Function, judges: dict[int, ir.Function]) -> None:
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [PTR] * 4), self.name)
        b = ir.IRBuilder(function.append_basic_block("entry"))
        args, dims, steps, _ = function.args
        operands = range(len(self.operands))
        n = b.load(dims, typ=I64)
        base = [b.load(at(b, args, I64(8 * k)), typ=PTR) for k in operands]
        step = [b.load(at(b, steps, I64(8 * k)), typ=I64) for k in operands]
        blocks = [self._room(b, BLOCK, t) for t in self.operands]
        tails = [self._room(b, self.width, t) for t in self.operands]
        flags = self.target.flags
        before = flags.read(b)
        flags.write(b, flags.cleared(b, before))

        direct = [b.icmp_signed("==", s, I64(size)) for s, size in zip(step, self.sizes, strict=True)]
        fixed = [b.icmp_signed("==", s, I64(0)) for s in step[: self.inputs]]
        if judges:  # inputs that the results overwrite are kept until the evidence has been heard
            for k in range(self.inputs):
                for out in operands[self.inputs :]:
                    direct[k] = b.and_(direct[k], b.icmp_unsigned("!=", base[k], base[out]))
        whole = direct[0]
        for d in direct[1:]:
            whole = b.and_(whole, d)
        largest = b.select(whole, I64(STRETCH) if judges else n, I64(BLOCK))
        smallest = b.select(whole, I64(FIRST_STRETCH) if judges else n, I64(BLOCK))
        shorter = b.select(b.icmp_signed("<", n, I64(BLOCK)), n, I64(BLOCK))
        for k in range(self.inputs):
            with b.if_then(fixed[k]):
                kind = SCALARS[self.operands[k]]
                value = b.load(base[k], typ=kind, align=self.sizes[k])
                with counted(b, shorter) as i:
                    b.store(value, at(b, blocks[k], b.mul(i, I64(self.sizes[k]))))

        raised = stack(b, flags.type)
        b.store(flags.type(0), raised)
        outer_start = b.block
        head, inside, after = (b.append_basic_block(x) for x in ("blocks", "block", "done"))
        b.branch(head)
        b.position_at_end(head)
        done, block = b.phi(I64), b.phi(I64)
        done.add_incoming(I64(0), outer_start)
        block.add_incoming(smallest, outer_start)
        b.cbranch(b.icmp_signed("<", done, n), inside, after)
        b.position_at_end(inside)
        left = b.sub(n, done)
        count = b.select(b.icmp_signed("<", left, block), left, block)
        place = [at(b, base[k], b.mul(done, step[k])) for k in operands]
        for k in range(self.inputs):
            with b.if_then(b.not_(b.or_(direct[k], fixed[k]))):
                self._copy(b, place[k], step[k], blocks[k], I64(self.sizes[k]), count, k)
        here = [b.select(direct[k], place[k], blocks[k]) for k in operands]
        alarm = self._apply(b, body, here, tails, count, writes=True)
        if judges:
            natural = flags.exceptions(b, flags.read(b))
            known = flags.exceptions(b, b.or_(before, b.load(raised, typ=flags.type)))
            wanted = b.or_(natural, b.select(b.icmp_signed("!=", alarm, I32(0)), I32(flags.bits(*ALONE)), I32(0)))
            wanted = b.and_(wanted, b.not_(known))
            with b.if_then(b.icmp_signed("!=", wanted, I32(0)), likely=False):
                verdict = self._judged(b, judges, wanted, here, tails, count)
                # a zero may be exact, as log 1 is: it has underflowed only if an instruction has, too
                lost = b.and_(b.lshr(natural, I32(flags.places[-1])), I32(1))
                verdict = b.and_(verdict, b.or_(b.shl(lost, I32(len(VERDICTS) - 1)), I32(2 ** (len(VERDICTS) - 1) - 1)))
                b.store(b.or_(b.load(raised, typ=flags.type), flags.encode(b, verdict)), raised)
                flags.write(b, flags.cleared(b, before))
        for k in operands[self.inputs :]:
            with b.if_then(b.not_(direct[k])):
                self._copy(b, blocks[k], I64(self.sizes[k]), place[k], step[k], count, k)
        done.add_incoming(b.add(done, count), b.block)
        twice = b.shl(block, I64(1))
        block.add_incoming(b.select(b.icmp_signed("<", twice, largest), twice, largest), b.block)
        b.branch(head)
        b.position_at_end(after)
        flags.write(b, b.or_(before, b.load(raised, typ=flags.type)))
        b.ret_void()

    def _judged(
        self, b: ir.IRBuilder, judges: dict[int, ir.Function], wanted: ir.Value, here: list[ir.Value],
        tails: list[ir.Value], count: ir.Value,
    ) -> ir.Value:  # fmt: skip
        """The verdicts that may be news: all of them, or one alone where no other one is wanted."""
        found = stack(b, I32)
        after = b.append_basic_block("judged")
        for verdicts, judge in reversed(judges.items()):
            following = b.append_basic_block("judge")
            if verdicts != ALL:
                chosen = b.append_basic_block("judge")
                others = b.and_(wanted, I32(~self.target.flags.bits(verdicts)))
                b.cbranch(b.icmp_signed("==", others, I32(0)), chosen, following)
                b.position_at_end(chosen)
            verdict = self._apply(b, judge, here, tails, count, writes=False)
            b.store(b.shl(verdict, I32(verdicts.bit_length() - 1)) if verdicts != ALL else verdict, found)
            b.branch(after)
            b.position_at_end(following)
        b.unreachable()
        b.position_at_end(after)
        return b.load(found, typ=I32)

    def _room(self, b: ir.IRBuilder, count: int, type: str) -> ir.Value:
        return stack(b, ir.ArrayType(SCALARS[type], count), align=64)

    def _copy(
        self, b: ir.IRBuilder, source: ir.Value, source_step: ir.Value, sink: ir.Value, sink_step: ir.Value,
        count: ir.Value, operand: int,
    ) -> None:  # fmt: skip
        copy = copier(self.module, self.operands[operand], self.target.vector_bytes, self.target.avx512)
        b.call(copy, [source, source_step, sink, sink_step, count])

    def _apply(
        self, b: ir.IRBuilder, sweep: ir.Function, here: list[ir.Value], tails: list[ir.Value], count: ir.Value,
        writes: bool,
    ) -> ir.Value:  # fmt: skip
        """The sweep over ``count`` elements; the remainder is padded with its own first element."""
        full = b.lshr(count, I64(self.width.bit_length() - 1))
        rest = b.and_(count, I64(self.width - 1))
        covered = b.sub(count, rest)
        found = stack(b, I32)
        b.store(I32(0), found)
        with b.if_then(b.icmp_signed("!=", full, I64(0))):
            b.store(b.call(sweep, [*here, full]), found)
        with b.if_then(b.icmp_signed("!=", rest, I64(0))):
            reads = range(self.inputs if writes else len(self.operands))
            ends = [at(b, p, b.mul(covered, I64(s))) for p, s in zip(here, self.sizes, strict=True)]
            for k in reads:
                kind, size = SCALARS[self.operands[k]], self.sizes[k]
                vector = ir.Constant(typed(self.operands[k], self.width), ir.Undefined)
                first = b.insert_element(vector, b.load(ends[k], typ=kind, align=size), I32(0))
                everywhere = ir.Constant(ir.VectorType(I32, self.width), [0] * self.width)
                b.store(b.shuffle_vector(first, vector, everywhere), tails[k], align=size)
                self._copy(b, ends[k], I64(size), tails[k], I64(size), rest, k)
            b.store(b.or_(b.load(found, typ=I32), b.call(sweep, [*tails, I64(1)])), found)
            if writes:
                for k in range(self.inputs, len(self.operands)):
                    self._copy(b, tails[k], I64(self.sizes[k]), ends[k], I64(self.sizes[k]), rest, k)
        return b.load(found, typ=I32)
