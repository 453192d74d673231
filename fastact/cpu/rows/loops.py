"""The loops of a program over rows, as LLVM IR.

``kernel`` has the type of a ufunc's inner loop, and its counter counts rows. The last operand is no array: it points to
the facts of the call, 64-bit numbers that `Facts` names, after which come the distances between elements of the
operands that have any, and the program's own numbers.

Element i of a row belongs to lane i mod `LANES`; each lane has a total of its own, and those are added in the order of
a binary tree, upper half to lower half. That order does not depend on the width of the processor's vectors, nor on how
the array lies in memory: rows that lie side by side are added up in the same order, by `across`, and others of which
the elements are not neighbours are first brought into blocks where they are.
Rows that fit one vector stay in registers from beginning to end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llvmlite import ir

from fastact.cpu.lowering import quotients
from fastact.cpu.lowering.flags import stack
from fastact.cpu.lowering.flow import I32, I64, LINE, PTR, at, counted
from fastact.cpu.lowering.sweeps import Target
from fastact.cpu.lowering.words import SCALARS, constant, picked, typed
from fastact.cpu.rows.facts import Facts, lanes, operands
from fastact.cpu.rows.pieces import RowPieces, Words, word_of
from fastact.link.graph import BITS, Graph, Node
from fastact.link.rows import LinkedProgram, LinkedRun

STRETCH = 2048
"""Elements after which sums of long rows are carried over; a multiple of all lanes."""


class RowBuilder(RowPieces):
    """Builds the module of a linked program."""

    in_passing = False
    """Whether numbers of rows are computed of vector after vector, so that the divider is what others wait for."""

    def __init__(self, linked: LinkedProgram, target: Target) -> None:
        super().__init__(target)
        self.linked = linked
        self.operands = operands(linked)
        self.lanes = lanes(linked.dtype)
        self.inputs = [k for k, o in enumerate(self.operands) if o.kind != "row" and not o.written]
        self.sinks = [k for k, o in enumerate(self.operands) if o.kind == "element" and o.written]
        self.row_inputs = [k for k, o in enumerate(self.operands) if o.kind == "row" and not o.written]
        self.row_sinks = [k for k, o in enumerate(self.operands) if o.kind == "row" and o.written]
        self.keeping = next((run for run in linked.runs if run.kept), None)
        usual = [run for run in linked.runs if not (run.spared and linked.dtype == "float64")]
        self.fetching = usual[-1] if usual and not usual[-1].repeated else None
        """The last run that rows mostly have. Where several rows go together, layer_norm lost by it."""

    def _split(self, run: LinkedRun, outputs: Words) -> tuple[list[Words], Words]:
        """What belongs to each total, and what is kept."""
        found, place = [], 0
        for total in run.totals:
            found.append(outputs[place : place + len(total.words)])
            place += len(total.words)
        return found, outputs[place:]

    # -- numbers of the row -------------------------------------------------------------------------------------------
    def _given(self, b: ir.IRBuilder, graph: Graph, inputs: Words, rows: int) -> tuple[Words, Words]:
        """The held and the lent words that a graph for numbers of the row gives."""
        emitter = self.emitter(b, rows if rows > 1 else 0)
        if self.target.slow_divider and self.in_passing:
            emitter.multiplied = quotients.worthwhile(graph.live(), rows)
        outputs = emitter.graph(graph, inputs)
        held = self.linked.held
        count = len(outputs) // (held + len(self.linked.lent))
        return outputs[: count * held], outputs[count * held :]

    def _unfinished(self, b: ir.IRBuilder, held: Words) -> ir.Value:
        """Whether the last number of a row is not 0."""
        last = held[-self.linked.held]
        if not isinstance(last.type, ir.VectorType):
            return b.fcmp_ordered("!=", last, ir.Constant(last.type, 0.0))
        more = b.fcmp_ordered("!=", last, constant("f64", last.type.count, 0.0))
        name = f"llvm.vector.reduce.or.v{last.type.count}i1"
        return b.call(self.declared(name, SCALARS["i1"], [more.type]), [more])

    # -- rows in memory -----------------------------------------------------------------------------------------------
    def _pieces(self, b: ir.IRBuilder, start: ir.Value, stop: ir.Value, width: int, body: Callable[..., None]) -> None:
        """The elements from ``start`` to ``stop`` in vectors; the last by a mask."""
        rest = b.and_(b.sub(stop, start), I64(width - 1))
        whole = b.sub(stop, rest)
        with counted(b, whole, width, start) as i:
            body(i, None)
        with b.if_then(b.icmp_signed("!=", rest, I64(0))):
            body(whole, self.mask(b, rest, width))

    def _values(self, b: ir.IRBuilder, row: Row, i: ir.Value, width: int, mask: ir.Value | None) -> Words:
        return [
            self.load(b, at(b, row.places[k], b.mul(i, I64(o.size))), o.type, width, mask)
            for k, o in ((k, self.operands[k]) for k in self.inputs)
        ]

    def _fetch_next(self, b: ir.IRBuilder, row: Row, i: ir.Value, width: int) -> None:
        """Ask for elements of a row of the next turn. The processor follows one array with too little of it ahead, and
        several well enough."""
        if sum(self.operands[k].kind == "element" for k in self.inputs) > 1:
            return
        prefetch = self.declared("llvm.prefetch.p0", ir.VoidType(), [PTR, I32, I32, I32])
        for k in self.inputs:
            o = self.operands[k]
            if o.kind == "element":
                for line in range(0, width * o.size, LINE):
                    place = at(b, row.following[k], b.add(b.mul(i, I64(o.size)), I64(line)))
                    b.call(prefetch, [place, I32(0), I32(3), I32(1)])

    def _room(self, b: ir.IRBuilder, row: Row, place: int, type: str, i: ir.Value) -> ir.Value:
        """Where the kept word number ``place`` of the element i lies."""
        base = at(b, row.scratch, b.mul(row.pitch, I64(place)))
        return at(b, base, b.mul(i, I64(BITS[type] // 8)))

    def _graph(self, b: ir.IRBuilder, graph: Graph, values: Words, width: int, whole: bool) -> Words:
        """The outputs of a graph; where float32 becomes float64, of one part after the other: all at once would not
        find room in the registers."""
        part = width // PARTS
        if not whole or self.linked.dtype == "float64" or "f64" not in {node.type for node in graph.live()}:
            return _fusible(graph.outputs, self.emitter(b, width).graph(graph, values))
        parts = []
        for start in range(0, width, part):
            own = [picked(b, value, list(range(start, start + part))) for value in values]
            parts.append(_fusible(graph.outputs, self.emitter(b, part).graph(graph, own)))
        return [self.joined(b, list(words)) for words in zip(*parts, strict=True)]

    def totals_of(self, b: ir.IRBuilder, row: Row, run: LinkedRun, scalars: Words, width: int) -> list[Words]:
        """The totals of a run."""
        widths = [width // 4 if total.narrow else width for total in run.totals]
        slots = [[stack(b, typed(t, w)) for t in total.words] for total, w in zip(run.totals, widths, strict=True)]

        def begin() -> None:
            for total, own, w in zip(run.totals, slots, widths, strict=True):
                for slot, t in zip(own, total.words, strict=True):
                    b.store(self.neutral(total, t, w), slot)

        def body(i: ir.Value, mask: ir.Value | None) -> None:
            if mask is None and run is self.fetching:
                self._fetch_next(b, row, i, width)
            values = self._values(b, row, i, width, mask) + scalars
            found, kept = self._split(run, self._graph(b, run.graph, values, width, mask is None))
            for total, own, words, w in zip(run.totals, slots, found, widths, strict=True):
                if mask is not None:
                    none = [self.neutral(total, word_of(v), width) for v in words]
                    words = [b.select(mask, v, n) for v, n in zip(words, none, strict=True)]
                words = self.widened(b, total, words, w)
                before = [b.load(slot, typ=typed(t, w)) for slot, t in zip(own, total.words, strict=True)]
                sums = self.emitter(b, w).graph(total.both, before + words)
                for slot, word in zip(own, _contracted(sums) if total.kind == "sum" else sums, strict=True):
                    b.store(word, slot)
            if kept:
                with b.if_then(row.keeps):
                    for place, (type, word) in enumerate(zip(run.kept, kept, strict=True)):
                        b.store(word, self._room(b, row, place, type, i), align=BITS[type] // 8)

        def so_far(k: int) -> Words:
            return [b.load(s, typ=typed(t, widths[k])) for s, t in zip(slots[k], run.totals[k].words, strict=True)]

        begin()
        folded = [k for k, total in enumerate(run.totals) if total.folded]
        if not folded:
            self._pieces(b, I64(0), row.length, width, body)
            return [self.tree(b, total, so_far(k)) for k, total in enumerate(run.totals)]
        carried = {k: [stack(b, typed("f64", width)) for _ in range(2)] for k in folded}
        for pair in carried.values():
            for slot in pair:
                b.store(constant("f64", width, 0.0), slot)
        with counted(b, row.length, STRETCH) as start:
            end = b.add(start, I64(STRETCH))
            end = b.select(b.icmp_signed("<", end, row.length), end, row.length)
            self._pieces(b, start, end, width, body)
            for k, pair in carried.items():
                words = [b.load(slot, typ=typed("f64", width)) for slot in pair]
                for slot, word in zip(
                    pair, self.emitter(b, width).graph(run.totals[k].carry, [*words, *so_far(k)]), strict=True
                ):
                    b.store(word, slot)
                b.store(constant("f64", width, 0.0), slots[k][0])
        sums = []
        for k, total in enumerate(run.totals):
            words = so_far(k)
            if k in carried:
                high, low = (b.load(slot, typ=typed("f64", width)) for slot in carried[k])
                words = [b.fadd(high, low)]
            sums.append(self.tree(b, total, words))
        return sums

    def write(self, b: ir.IRBuilder, row: Row, graph: Graph, kept: tuple[str, ...], scalars: Words, width: int) -> None:
        """The results of a row; those before the first line of memory are written by themselves, where that pays."""

        def results(i: ir.Value, lanes: int, read: ir.Value | None, written: ir.Value | None) -> None:
            values = self._values(b, row, i, lanes, read)
            values += [
                b.load(self._room(b, row, place, t, i), typ=typed(t, lanes), align=BITS[t] // 8)
                for place, t in enumerate(kept)
            ]
            values += [picked(b, s, list(range(lanes))) for s in scalars] if lanes < width else scalars
            self._put(b, row, graph, values, i, lanes, written)

        def body(i: ir.Value, mask: ir.Value | None) -> None:
            results(i, width, mask, mask)

        if effort(graph) > LIGHT:
            self._pieces(b, I64(0), row.length, width, body)
            return
        first, before = self.sinks[0], stack(b, I64)
        size = self.operands[first].size
        beyond = b.and_(b.ptrtoint(row.places[first], I64), I64(LINE - 1))
        b.store(I64(0), before)
        with b.if_then(b.and_(b.icmp_signed("!=", beyond, I64(0)), b.icmp_signed(">=", row.length, I64(EVEN)))):
            count = b.lshr(b.sub(I64(LINE), beyond), I64(size.bit_length() - 1))
            results(I64(0), LINE // size, None, self.mask(b, count, LINE // size))
            b.store(count, before)
        self._pieces(b, b.load(before, typ=I64), row.length, width, body)

    def write_together(self, b: ir.IRBuilder, rows: list[tuple[Row, Words]]) -> None:
        """The results of some rows, which read columns once."""
        assert self.linked.result is not None
        graph, lanes = self.linked.result, self.target.vector_bytes // 4  # in float64, two registers

        def results(i: ir.Value, read: ir.Value | None, written: ir.Value | None) -> None:
            values = [self._values(b, row, i, lanes, read) for row, _ in rows]
            for (row, scalars), own in zip(rows, values, strict=True):
                shared = [
                    first if self.operands[k].kind == "column" else value
                    for k, first, value in zip(self.inputs, values[0], own, strict=True)
                ]
                shared += [picked(b, s, list(range(lanes))) for s in scalars]
                self._put(b, row, graph, shared, i, lanes, written)

        row = rows[0][0]
        size, before = self.operands[self.sinks[0]].size, stack(b, I64)
        beyond = b.and_(b.ptrtoint(row.places[self.sinks[0]], I64), I64(LINE - 1))
        b.store(I64(0), before)
        with b.if_then(b.and_(b.icmp_signed("!=", beyond, I64(0)), b.icmp_signed(">=", row.length, I64(EVEN)))):
            count = b.lshr(b.sub(I64(LINE), beyond), I64(size.bit_length() - 1))
            results(I64(0), None, self.mask(b, count, lanes))
            b.store(count, before)
        self._pieces(b, b.load(before, typ=I64), row.length, lanes, lambda i, mask: results(i, mask, mask))

    def _put(
        self, b: ir.IRBuilder, row: Row, graph: Graph, values: Words, i: ir.Value, lanes: int, mask: ir.Value | None
    ) -> None:
        """Compute and write results. What was float64 fills half a register, and is not joined to be written."""
        results = self.emitter(b, lanes).graph(graph, values)
        for k, node, value in zip(self.sinks, graph.outputs, results, strict=True):
            o = self.operands[k]
            place = at(b, row.places[k], b.mul(i, I64(o.size)))
            narrowed = self.target.avx512 and node.op == "fptrunc" and node.type == "f32"
            part = 8 if narrowed and mask is None else lanes
            for start in range(0, lanes, part):
                own = value if part == lanes else picked(b, value, list(range(start, start + part)))
                self.store(b, own, at(b, place, I64(start * o.size)), o.type, mask)

    # -- functions ----------------------------------------------------------------------------------------------------
    def function(self, name: str) -> tuple[ir.IRBuilder, tuple[ir.Value, ...]]:
        """The builder of void name(places, steps, rows, facts, scratch), and these."""
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [PTR, PTR, I64, PTR, PTR]), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        function.attributes.alignstack = 64  # what is set aside there does not straddle lines of memory
        return ir.IRBuilder(function.append_basic_block("entry")), function.args

    def places_and_steps(self, b: ir.IRBuilder, places: ir.Value, steps: ir.Value) -> tuple[Words, Words]:
        count = range(len(self.operands))
        base = [b.load(at(b, places, I64(8 * k)), typ=PTR) for k in count]
        return base, [b.load(at(b, steps, I64(8 * k)), typ=I64) for k in count]

    def numbers_given(self, b: ir.IRBuilder, facts: ir.Value) -> Words:
        """The program's own numbers."""
        after = Facts.STRIDES + sum(o.kind == "element" for o in self.operands)
        count = range(len(self.linked.program.numbers))
        return [b.load(at(b, facts, I64(8 * (after + i))), typ=SCALARS["f64"]) for i in count]

    def fact(self, b: ir.IRBuilder, facts: ir.Value, place: int) -> ir.Value:
        return b.load(at(b, facts, I64(8 * place)), typ=I64)


PARTS = 2
"""Of a vector of elements."""
EVEN = 256
"""Elements of a row from which on vectors of results begin at lines of memory: to write across two takes twice as long.
Where a row begins is its own."""
LIGHT = 8
"""Operations on words as wide as the result, at most, of graphs that writing takes longer than computing."""


def _fusible(nodes: Sequence[Node], words: Words) -> Words:
    """Words of which products that need no rounding may be added to something without being computed first."""
    exact = [n.op == "fmul" and all(a.op == "fpext" and a.args[0].type == "f32" for a in n.args) for n in nodes]
    _contracted([word for word, there in zip(words, exact, strict=True) if there])
    return words


def _contracted(words: Words) -> Words:
    for word in words:
        if isinstance(word, ir.Instruction) and word.opname in ("fadd", "fmul") and "contract" not in word.flags:
            word.flags.append("contract")
    return words


def effort(graph: Graph) -> int:
    """The operations of a graph, counted by the width of what they are done on."""
    nodes = [node for node in graph.live() if node.op not in ("input", "constant")]
    bits = sum(max(BITS[part.type] for part in (node, *node.args)) for node in nodes)
    return bits // min(BITS[node.type] for node in graph.outputs)


@dataclass
class Row:
    """What the code for a row refers to."""

    places: list[ir.Value]
    following: list[ir.Value]
    """Where the rows of the next turn lie."""
    length: ir.Value
    keeps: ir.Value
    scratch: ir.Value
    pitch: ir.Value
