"""Loops over rows that fit one vector, a batch of them at a time.

Each row is read, and its totals are added up; what follows from the totals is computed of all rows of the batch at
once, a lane for each; then each row is read again, and its results are written. So no row waits for its totals alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

from fastact.cpu.flags import stack
from fastact.cpu.flow import I1, I64, at, counted
from fastact.cpu.rowfacts import Facts, batch
from fastact.cpu.rowloops import RowBuilder
from fastact.cpu.rowpieces import Words, word_of
from fastact.cpu.words import SCALARS, constant, typed
from fastact.link.graph import BITS, Graph
from fastact.link.rows import LinkedRun


@dataclass
class Room:
    """A word for every row of a batch, or for every lane of their vectors, in memory."""

    place: ir.Value
    type: str
    count: int

    def part(self, b: ir.IRBuilder, start: ir.Value) -> ir.Value:
        return at(b, self.place, b.mul(start, I64(BITS[self.type] // 8)))

    def load(self, b: ir.IRBuilder, start: ir.Value | None = None, count: int = 0) -> ir.Value:
        """All words, or ``count`` of them; one that is alone as a scalar."""
        place = self.place if start is None else self.part(b, start)
        count = count or self.count
        return b.load(place, typ=typed(self.type, count if count > 1 else 0), align=BITS[self.type] // 8)

    def store(self, b: ir.IRBuilder, value: ir.Value, start: ir.Value | None = None) -> None:
        b.store(value, self.place if start is None else self.part(b, start), align=BITS[self.type] // 8)


class ShortRows(RowBuilder):
    """Rows of up to ``width`` elements, which are neighbours; ``beside`` of them are side by side in one vector."""

    def short(self, width: int, beside: int) -> ir.Function:
        """void short(places, steps, rows, facts, scratch)."""
        b, (places, steps, rows, facts, _) = self.function("short")
        self.width, self.beside, self.batch = width, beside, batch(self.linked)
        base, self.step = self.places_and_steps(b, places, steps)
        length = self.fact(b, facts, Facts.LENGTH)
        self.mask_of_row = self.mask(b, length, width)
        self.mask_of_rows = self.joined(b, [self.mask_of_row] * beside)
        self.length = self.spread(b, b.sitofp(length, SCALARS["f64"]), self.batch)
        self.lanes_of_batch = [self.spread(b, number, self.batch) for number in self.numbers_given(b, facts)]
        with counted(b, rows, self.batch) as first:
            left = b.sub(rows, first)
            self.here = b.select(b.icmp_signed("<", left, I64(self.batch)), left, I64(self.batch))
            self.first = [at(b, p, b.mul(first, s)) for p, s in zip(base, self.step, strict=True)]
            self._batch(b)
        b.ret_void()
        return b.function

    def _batch(self, b: ir.IRBuilder) -> None:
        linked = self.linked
        held, lent = self._numbers(b, linked.begin, [*(self._gathered(b, k) for k in self.row_inputs)], [])
        kept: list[Room] = []
        for run in linked.runs:
            more = stack(b, I1)
            body, after = b.append_basic_block("run"), b.append_basic_block("after")
            if run.spared:
                b.cbranch(self._unfinished_here(b, held), body, after)
            else:
                b.branch(body)
            b.position_at_end(body)
            totals = [[self._words_in_memory(b, t, self.batch) for t in total.words] for total in run.totals]
            kept = [self._words_in_memory(b, t, self.width * self.batch) for t in run.kept]
            with counted(b, self.here, self.beside) as start:
                self._add_up(b, run, start, lent, totals, kept)
            sums = [room.load(b) for rooms in totals for room in rooms]
            found = self._given(b, run.settle, [*sums, *(room.load(b) for room in held), self.length], self.batch)
            held = self._in_memory(b, held, found[0], run.replaces * linked.held)
            lent = self._in_memory(b, lent, found[1], run.replaces * len(linked.lent))
            b.store(self._unfinished_here(b, held) if run.repeated else I1(0), more)
            b.cbranch(b.load(more, typ=I1), body, after)
            b.position_at_end(after)
        if linked.result is not None:
            with counted(b, self.here, self.beside) as start:
                self._write_rows(b, linked.result, start, lent, kept)
        if linked.totals is not None:
            results = self.emitter(b, self.batch).graph(linked.totals, [room.load(b) for room in held])
            rooms = self._in_memory(b, [], results, 0)
            with counted(b, self.here) as row:
                for k, room in zip(self.row_sinks, rooms, strict=True):
                    b.store(room.load(b, row, 1), at(b, self.first[k], b.mul(row, self.step[k])))

    # -- numbers of the rows ------------------------------------------------------------------------------------------
    def _numbers(self, b: ir.IRBuilder, graph: Graph, given: Words, rooms: list[Room]) -> tuple[list[Room], list[Room]]:
        held, lent = self._given(b, graph, [*given, *self.lanes_of_batch], self.batch)
        return self._in_memory(b, rooms, held, 0), self._in_memory(b, rooms, lent, 0)

    def _words_in_memory(self, b: ir.IRBuilder, type: str, count: int) -> Room:
        return Room(stack(b, ir.ArrayType(SCALARS[type], count), 64), type, count)

    def _in_memory(self, b: ir.IRBuilder, rooms: list[Room], words: Words, replaces: int) -> list[Room]:
        """The rooms with words in the place of the last ``replaces``, or after them."""
        if not replaces:
            rooms = rooms + [self._words_in_memory(b, word_of(word), self.batch) for word in words]
        for room, word in zip(rooms[len(rooms) - len(words) :], words, strict=True):
            room.store(b, word)
        return rooms

    def _gathered(self, b: ir.IRBuilder, k: int) -> ir.Value:
        """A number of each row; those there are not are that of the last."""
        last = b.sub(self.here, I64(1))
        kind, found = SCALARS[self.operands[k].type], []
        for lane in range(self.batch):
            row = b.select(b.icmp_signed("<", I64(lane), last), I64(lane), last)
            found.append(b.load(at(b, self.first[k], b.mul(row, self.step[k])), typ=kind))
        return self.numbers(b, found)

    def _unfinished_here(self, b: ir.IRBuilder, held: list[Room]) -> ir.Value:
        """Whether the last number of a row of the batch is not 0."""
        last = held[-self.linked.held].load(b)
        none = constant("f64", self.batch, 0.0)
        return self._unfinished(b, [b.select(self.mask(b, self.here, self.batch), last, none)] * self.linked.held)

    # -- elements -----------------------------------------------------------------------------------------------------
    def _rows(self, b: ir.IRBuilder, start: ir.Value) -> list[ir.Value]:
        """The numbers of the rows in one vector; where there are not as many, the last one comes more than once."""
        last, found = b.sub(self.here, I64(1)), [start]
        for place in range(1, self.beside):
            own = b.add(start, I64(place))
            found.append(b.select(b.icmp_signed("<", own, last), own, last))
        return found

    def _read(self, b: ir.IRBuilder, rows: list[ir.Value]) -> Words:
        found = []
        for k in self.inputs:
            type, step = self.operands[k].type, self.step[k]
            places = [at(b, self.first[k], b.mul(row, step)) for row in rows]
            found.append(self.joined(b, [self.load(b, p, type, self.width, self.mask_of_row) for p in places]))
        return found

    def _lent(self, b: ir.IRBuilder, start: ir.Value, rooms: list[Room]) -> Words:
        return [self.spread(b, room.load(b, start, self.beside), self.width * self.beside) for room in rooms]

    def _add_up(
        self, b: ir.IRBuilder, run: LinkedRun, start: ir.Value, lent: list[Room], totals: list[list[Room]],
        kept: list[Room],
    ) -> None:  # fmt: skip
        every = self.width * self.beside
        e = self.emitter(b, every)
        values = self._read(b, self._rows(b, start)) + self._lent(b, start, lent)
        found, words_kept = self._split(run, e.graph(run.graph, values))
        for total, words, rooms in zip(run.totals, found, totals, strict=True):
            words = self.widened(b, total, words)
            none = [self.neutral(total, type, every) for type in total.words]
            if total.kind == "max":  # which passes over NaN where it has a number to begin with, as longer rows do
                words = e.graph(total.both, [*none, *words])
            words = [b.select(self.mask_of_rows, w, n) for w, n in zip(words, none, strict=True)]
            sums = self.tree(b, total, words, self.beside)
            if total.kind != "max":  # the sum of nothing but -0.0 is 0.0, as that of longer rows is
                none = [constant(type, self.beside if self.beside > 1 else 0, 0.0) for type in total.words]
                own = self.emitter(b, self.beside if self.beside > 1 else 0)
                sums = own.graph(total.both, [*none, *sums])
            for room, word in zip(rooms, sums, strict=True):
                room.store(b, word, start)
        for room, word in zip(kept, words_kept, strict=True):
            room.store(b, word, b.mul(start, I64(self.width)))

    def _write_rows(self, b: ir.IRBuilder, graph: Graph, start: ir.Value, lent: list[Room], kept: list[Room]) -> None:
        every, rows = self.width * self.beside, self._rows(b, start)
        values = self._read(b, rows)
        values += [room.load(b, b.mul(start, I64(self.width)), every) for room in kept]
        results = self.emitter(b, every).graph(graph, values + self._lent(b, start, lent))
        for k, value in zip(self.sinks, results, strict=True):
            for place, row in enumerate(rows):
                own = self.picked(b, value, list(range(place * self.width, (place + 1) * self.width)))
                where = at(b, self.first[k], b.mul(row, self.step[k]))
                self.store(b, own, where, self.operands[k].type, self.mask_of_row)
