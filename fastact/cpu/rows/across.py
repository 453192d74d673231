"""The kernel of a program over rows that lie side by side, element by element, as those along the first axis do.

The lanes of a vector are as many rows, so that no element has to be moved to its neighbours; totals and other numbers
of rows are vectors, too. Some vectors of rows are computed at once, a strip. What is read more than once is copied to
memory where its elements are less far apart than in the array.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llvmlite import ir

from fastact.cpu.lowering.flags import stack
from fastact.cpu.lowering.flow import I32, I64, LINE, PTR, at, counted
from fastact.cpu.lowering.words import SCALARS, typed
from fastact.cpu.rows.facts import Facts, rows_in_vector
from fastact.cpu.rows.loops import EVEN, LIGHT, effort
from fastact.cpu.rows.pieces import Words, word_of
from fastact.cpu.rows.totals import VECTORS, WIDE, Slots, TotalsAcross
from fastact.link.graph import BITS, Graph
from fastact.link.rows import LinkedRun

COPIED = 1 << 19
"""Bytes of the copy of a strip, at most; where it would take more, elements are read from the array each time."""


class AcrossKernel(TotalsAcross):
    """``kernel`` counts rows, which are whole vectors of rows."""

    in_passing = True

    def build(self, short: bool) -> ir.Module:
        """The module; ``short``: for rows of no more elements than there are lanes."""
        self.short, self.width = short, rows_in_vector(self.linked)
        self.most = VECTORS if self.linked.runs else WIDE
        result = self.linked.result
        self.light = not self.linked.runs and result is not None and effort(result) <= LIGHT
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [PTR] * 4), "kernel")
        b = ir.IRBuilder(function.append_basic_block("entry"))
        args, dims, steps, _ = function.args
        count = range(len(self.operands))
        self.places = [b.load(at(b, args, I64(8 * k)), typ=PTR) for k in count]
        self.steps = [b.load(at(b, steps, I64(8 * k)), typ=I64) for k in count]
        rows = b.load(dims, typ=I64)
        facts = b.load(at(b, args, I64(8 * len(self.operands))), typ=PTR)
        self.length = self.fact(b, facts, Facts.LENGTH)
        elements = [k for k, o in enumerate(self.operands) if o.kind == "element"]
        self.strides = {k: self.fact(b, facts, Facts.STRIDES + i) for i, k in enumerate(elements)}
        after = Facts.STRIDES + len(elements)
        self.given = [
            b.load(at(b, facts, I64(8 * (after + i))), typ=SCALARS["f64"])
            for i in range(len(self.linked.program.numbers))
        ]
        flags = self.target.flags
        before = flags.read(b)
        flags.write(b, flags.cleared(b, before))
        self._plan(b)
        allocate = b.inttoptr(self.fact(b, facts, Facts.ALLOCATE), ir.FunctionType(PTR, [I64]).as_pointer())
        memory = b.call(allocate, [b.add(self.room, I64(64))])
        failed, work = b.append_basic_block("failed"), b.append_basic_block("work")
        b.cbranch(b.icmp_unsigned("==", memory, ir.Constant(PTR, None)), failed, work)
        b.position_at_end(failed)
        b.store(I64(1), at(b, facts, I64(8 * Facts.FAILED)))
        flags.write(b, before)
        b.ret_void()
        b.position_at_end(work)
        self.copy = b.inttoptr(b.and_(b.add(b.ptrtoint(memory, I64), I64(63)), I64(-64)), PTR)
        with self._strips(b, rows):
            self._strip(b)
        free = b.inttoptr(self.fact(b, facts, Facts.FREE), ir.FunctionType(ir.VoidType(), [PTR]).as_pointer())
        b.call(free, [memory])
        flags.write(b, before)
        b.ret_void()
        return self.module

    @contextmanager
    def _strips(self, b: ir.IRBuilder, rows: ir.Value) -> Iterator[None]:
        """Loop over the strips, and say where the first vector of each is and how many there are.

        Where writing takes longer than computing, all vectors of results but the first and the last begin at lines of
        memory; these two have some rows that others have, too. Not where results take the place of what is read."""
        width, none = I64(self.width), I64(0)
        start: ir.Value = none
        self.last = b.sub(rows, width)
        if self.light:
            sink = self.sinks[0]
            line = min(LINE, self.width * self.operands[sink].size)
            before = b.and_(b.neg(b.ptrtoint(self.places[sink], I64)), I64(line - 1))
            pays = b.and_(b.icmp_signed("!=", before, none), b.icmp_signed(">=", rows, I64(EVEN)))
            for k in (*self.inputs, *self.row_inputs):
                pays = b.and_(pays, b.icmp_unsigned("!=", self.places[k], self.places[sink]))
            skipped = b.sdiv(before, I64(self.operands[sink].size))
            start = b.select(pays, b.sub(skipped, width), none)
        vectors = b.sdiv(b.add(b.sub(rows, start), I64(self.width - 1)), width)
        with counted(b, vectors, self.strip) as first:
            left = b.sub(vectors, first)
            self.vectors = b.select(b.icmp_signed("<", left, self.strip), left, self.strip)
            self.first = b.add(start, b.mul(first, width))
            yield

    def _row(self, b: ir.IRBuilder, s: ir.Value, within: bool = False) -> ir.Value:
        """The first row of a vector; ``within``: one that is known to be neither the first nor the last of all."""
        row = b.add(self.first, b.mul(s, I64(self.width)))
        if within or not self.light:
            return row
        row = b.select(b.icmp_signed("<", row, self.last), row, self.last)
        return b.select(b.icmp_signed(">", row, I64(0)), row, I64(0))

    # -- memory -------------------------------------------------------------------------------------------------------
    def _plan(self, b: ir.IRBuilder) -> None:
        """What is copied, how many vectors make a strip, how much memory that takes."""
        linked = self.linked
        elements = [k for k in self.inputs if self.operands[k].kind == "element"]
        several = len(linked.runs) + (linked.result is not None) > 1
        sizes = [self.operands[k].size * self.width for k in elements if several]
        kept = [BITS[t] // 8 * self.width for t in self.keeping.kept] if self.keeping else []
        start = 0 if self._done_with(elements) else sum(sizes)  # what is kept may take the place of elements
        self.copy_at = {k: sum(sizes[:i]) for i, k in enumerate(elements) if several}
        self.kept_at = [start + sum(kept[:i]) for i in range(len(kept))]
        self.piece = max(sum(sizes), start + sum(kept))
        self.copies: ir.Value = ir.Constant(ir.IntType(1), 0)
        self.strip: ir.Value = I64(self.most)
        if self.piece:
            size = b.mul(self.length, I64(self.piece))
            fits = b.icmp_signed("<=", b.mul(size, I64(VECTORS)), I64(COPIED))
            self.strip = b.select(fits, I64(VECTORS), I64(VECTORS // 2))
            self.copies = b.icmp_signed("<=", b.mul(size, self.strip), I64(COPIED))
        self.pitch = b.select(self.copies, b.mul(self.strip, I64(self.piece)), I64(0))
        self.room = b.add(b.mul(self.pitch, self.length), I64(VECTORS * self.piece))

    def _done_with(self, elements: list[int]) -> bool:
        """Whether results need of elements only what the last run keeps."""
        linked = self.linked
        if self.keeping is None or self.keeping is not linked.runs[-1] or linked.result is None:
            return False
        used = {arg.index for node in linked.result.live() for arg in node.args}
        used |= {node.index for node in linked.result.outputs}
        return not any(node.index in used for node in linked.result.inputs[: len(elements)])

    def _of_copy(self, b: ir.IRBuilder, offset: int, i: ir.Value, s: ir.Value) -> ir.Value:
        """A vector in the copy; where nothing is copied, the same one whatever the element."""
        where = b.add(b.mul(i, self.pitch), b.mul(s, I64(self.piece)))
        return at(b, self.copy, b.add(where, I64(offset)))

    def _in_array(self, b: ir.IRBuilder, k: int, i: ir.Value, row: ir.Value) -> ir.Value:
        """Where an element of a vector lies that begins with a row."""
        return at(b, self.places[k], b.add(b.mul(i, self.strides[k]), b.mul(row, I64(self.operands[k].size))))

    def _elements(
        self, b: ir.IRBuilder, i: ir.Value, s: ir.Value, row: ir.Value, columns: dict[int, ir.Value], first: bool
    ) -> Words:
        """Elements and columns; elements are copied the first time, and then read from the copy."""
        found = []
        for k in self.inputs:
            o = self.operands[k]
            if o.kind == "column":
                found.append(columns[k])
                continue
            place = self._in_array(b, k, i, row)
            if k in self.copy_at and not first:
                place = b.select(self.copies, self._of_copy(b, self.copy_at[k], i, s), place)
            value = self.load(b, place, o.type, self.width, None)
            if k in self.copy_at and first:
                self.store(b, value, self._of_copy(b, self.copy_at[k], i, s), o.type, None)
            found.append(value)
        return found

    def columns(self, b: ir.IRBuilder, i: ir.Value) -> dict[int, ir.Value]:
        found = {}
        for k in self.inputs:
            o = self.operands[k]
            if o.kind == "column":
                value = b.load(at(b, self.places[k], b.mul(i, I64(o.size))), typ=SCALARS[o.type])
                found[k] = self.spread(b, value, self.width)
        return found

    # -- a strip ------------------------------------------------------------------------------------------------------
    def _strip(self, b: ir.IRBuilder) -> None:
        linked, held_words = self.linked, self.linked.held
        held: list[Slots] = []
        lent: list[Slots] = []
        with counted(b, self.vectors) as s:
            given = [self._gathered(b, k, s) for k in self.row_inputs]
            given += [self.spread(b, number, self.width) for number in self.given]
            for slots, words in zip((held, lent), self._given(b, linked.begin, given, self.width), strict=True):
                self._kept_on(b, slots, words, s, 0)
        for number, run in enumerate(linked.runs):
            body, after = b.append_basic_block("run"), b.append_basic_block("after")
            more = stack(b, ir.IntType(1))
            if run.spared:
                b.store(ir.Constant(ir.IntType(1), 0), more)
                with counted(b, self.vectors) as s:
                    self._note(b, more, self._loaded(b, held, s))
                b.cbranch(b.load(more, typ=ir.IntType(1)), body, after)
            else:
                b.branch(body)
            b.position_at_end(body)
            sums, level = self.swept(b, run, lent, number == 0)
            b.store(ir.Constant(ir.IntType(1), 0), more)
            with counted(b, self.vectors) as s:
                totals = [word for total in sums for word in self.total(b, total, s, level)]
                length = self.spread(b, b.sitofp(self.length, SCALARS["f64"]), self.width)
                inputs = [*totals, *self._loaded(b, held, s), length]
                found = self._given(b, run.settle, inputs, self.width)
                self._kept_on(b, held, found[0], s, run.replaces * held_words)
                self._kept_on(b, lent, found[1], s, run.replaces * len(linked.lent))
                if run.repeated:
                    self._note(b, more, found[0])
            b.cbranch(b.load(more, typ=ir.IntType(1)), body, after)
            b.position_at_end(after)
        if linked.result is not None:
            first = not linked.runs
            if self.keeping is None:
                self._write_strip(b, linked.result, (), lent, first)
            else:
                assert linked.anew is not None
                with b.if_else(self.copies) as (then, otherwise):
                    with then:
                        self._write_strip(b, linked.result, self.keeping.kept, lent, first)
                    with otherwise:
                        self._write_strip(b, linked.anew, (), lent, first)
        if linked.totals is not None:
            with counted(b, self.vectors) as s:
                results = self.emitter(b, self.width).graph(linked.totals, self._loaded(b, held, s))
                for k, value in zip(self.row_sinks, results, strict=True):
                    for lane in range(self.width):
                        b.store(b.extract_element(value, I32(lane)), self._of_row(b, k, s, lane))

    def _note(self, b: ir.IRBuilder, more: ir.Value, held: Words) -> None:
        b.store(b.or_(b.load(more, typ=ir.IntType(1)), self._unfinished(b, held)), more)

    def _of_row(self, b: ir.IRBuilder, k: int, s: ir.Value, lane: int = 0) -> ir.Value:
        return at(b, self.places[k], b.mul(b.add(self._row(b, s), I64(lane)), self.steps[k]))

    def _gathered(self, b: ir.IRBuilder, k: int, s: ir.Value) -> ir.Value:
        """A number of each row."""
        type = self.operands[k].type
        found = stack(b, typed(type, self.width), 64)
        with b.if_else(b.icmp_signed("==", self.steps[k], I64(self.operands[k].size))) as (neighbours, apart):
            with neighbours:
                b.store(self.load(b, self._of_row(b, k, s), type, self.width, None), found)
            with apart:
                lanes = [b.load(self._of_row(b, k, s, lane), typ=SCALARS[type]) for lane in range(self.width)]
                b.store(self.numbers(b, lanes), found)
        return b.load(found, typ=typed(type, self.width))

    def _loaded(self, b: ir.IRBuilder, slots: list[Slots], s: ir.Value) -> Words:
        return [word for slot in slots for word in slot.load(b, s)]

    def _kept_on(self, b: ir.IRBuilder, slots: list[Slots], words: Words, s: ir.Value, replaces: int) -> None:
        """Put words where the last ``replaces`` are, or beside them."""
        if not replaces:
            slots += [Slots(b, (word_of(word),), self.width, most=self.most) for word in words]
        for slot, word in zip(slots[len(slots) - len(words) :], words, strict=True):
            slot.store(b, [word], s)

    def _write_strip(
        self, b: ir.IRBuilder, graph: Graph, kept: tuple[str, ...], lent: list[Slots], first: bool
    ) -> None:
        def vector(i: ir.Value, s: ir.Value, columns: dict[int, ir.Value], within: bool = False) -> None:
            row = self._row(b, s, within)
            values = self._elements(b, i, s, row, columns, first)
            values += [
                self.load(b, self._of_copy(b, offset, i, s), type, self.width, None)
                for offset, type in zip(self.kept_at if kept else (), kept, strict=True)
            ]
            results = self.emitter(b, self.width).graph(graph, values + self._loaded(b, lent, s))
            for k, value in zip(self.sinks, results, strict=True):
                self.store(b, value, self._in_array(b, k, i, row), self.operands[k].type, None)

        with counted(b, self.length) as i:
            columns = self.columns(b, i)
            if not self.light:
                with counted(b, self.vectors) as s:
                    vector(i, s, columns)
            else:
                last = b.sub(self.vectors, I64(1))
                vector(i, I64(0), columns)
                with counted(b, last, 1, I64(1)) as s:
                    vector(i, s, columns, within=True)
                with b.if_then(b.icmp_signed(">", last, I64(0))):
                    vector(i, last, columns)

    def terms(
        self, b: ir.IRBuilder, run: LinkedRun, lent: list[Slots], first: bool, i: ir.Value, s: ir.Value,
        columns: dict[int, ir.Value],
    ) -> list[Words]:  # fmt: skip
        """What a vector of elements adds to each total."""
        values = self._elements(b, i, s, self._row(b, s), columns, first) + self._loaded(b, lent, s)
        found, kept = self._split(run, self.emitter(b, self.width).graph(run.graph, values))
        for offset, type, word in zip(self.kept_at if kept else (), run.kept, kept, strict=True):
            self.store(b, word, self._of_copy(b, offset, i, s), type, None)
        return found
