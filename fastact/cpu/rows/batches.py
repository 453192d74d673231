"""Rows that are computed together, a batch of them at a time.

Each row is read, and its totals are added up; what follows from the totals is computed of all rows of the batch at
once, a lane for each; then each row is read again, and its results are written. So no row waits for its totals alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from llvmlite import ir

from fastact.cpu.lowering.flags import stack
from fastact.cpu.lowering.flow import I1, I64, at, counted
from fastact.cpu.lowering.words import SCALARS, constant, typed
from fastact.cpu.rows.loops import RowBuilder
from fastact.cpu.rows.pieces import Words, word_of
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


class RowBatches(RowBuilder):
    """Batches of rows of which the elements are neighbours; ``beside`` of them are added up at once."""

    beside: int
    batch: int
    length: ir.Value
    """The number of elements of a row, in each lane of a batch."""
    here: ir.Value
    """How many rows this batch has."""
    first: list[ir.Value]
    step: list[ir.Value]
    lanes_of_batch: Words

    def kept_of(self, b: ir.IRBuilder, run: LinkedRun) -> list[Room]:
        """Where what a run keeps of the elements of a batch goes."""
        raise NotImplementedError

    def add_up(
        self, b: ir.IRBuilder, run: LinkedRun, start: ir.Value, lent: list[Room], totals: list[list[Room]],
        kept: list[Room],
    ) -> None:  # fmt: skip
        """The totals of some rows of the batch."""
        raise NotImplementedError

    def write_rows(self, b: ir.IRBuilder, start: ir.Value, lent: list[Room], kept: list[Room]) -> None:
        """The results of the elements of some rows of the batch."""
        raise NotImplementedError

    def write_batch(self, b: ir.IRBuilder, lent: list[Room], kept: list[Room]) -> None:
        """The results of the elements of all rows of the batch."""
        with self.turns(b) as start:
            self.write_rows(b, start, lent, kept)

    def batches(self, b: ir.IRBuilder, rows: ir.Value, places: ir.Value, steps: ir.Value, most: ir.Value) -> None:
        """All rows, ``most`` of them in a batch."""
        base, self.step = self.places_and_steps(b, places, steps)
        with counted(b, rows, most) as first:
            left = b.sub(rows, first)
            self.here = b.select(b.icmp_signed("<", left, most), left, most)
            self.first = [at(b, p, b.mul(first, s)) for p, s in zip(base, self.step, strict=True)]
            self._batch(b)

    def every(self, b: ir.IRBuilder, number: ir.Value) -> ir.Value:
        """A number for each row of a batch."""
        return self.spread(b, number, self.batch) if self.batch > 1 else number

    @contextmanager
    def turns(self, b: ir.IRBuilder, step: int = 0) -> Iterator[ir.Value]:
        """A loop over the rows of the batch, some at a time, unless there is one alone."""
        if self.batch == 1:
            yield I64(0)
            return
        with counted(b, self.here, step or self.beside) as start:
            yield start

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
            totals = [[self._totals_of(b, t) for t in total.words] for total in run.totals]
            kept = self.kept_of(b, run)
            with self.turns(b) as start:
                self.add_up(b, run, start, lent, totals, kept)
            sums = [room.load(b) for rooms in totals for room in rooms]
            found = self._given(b, run.settle, [*sums, *(room.load(b) for room in held), self.length], self.batch)
            held = self._in_memory(b, held, found[0], run.replaces * linked.held)
            lent = self._in_memory(b, lent, found[1], run.replaces * len(linked.lent))
            b.store(self._unfinished_here(b, held) if run.repeated else I1(0), more)
            b.cbranch(b.load(more, typ=I1), body, after)
            b.position_at_end(after)
        if linked.result is not None:
            self.write_batch(b, lent, kept)
        if linked.totals is not None:
            emitter = self.emitter(b, self.batch if self.batch > 1 else 0)
            results = emitter.graph(linked.totals, [room.load(b) for room in held])
            rooms = self._in_memory(b, [], results, 0)
            with self.turns(b, 1) as row:
                for k, room in zip(self.row_sinks, rooms, strict=True):
                    b.store(room.load(b, row, 1), at(b, self.first[k], b.mul(row, self.step[k])))

    # -- numbers of the rows ------------------------------------------------------------------------------------------
    def _numbers(self, b: ir.IRBuilder, graph: Graph, given: Words, rooms: list[Room]) -> tuple[list[Room], list[Room]]:
        held, lent = self._given(b, graph, [*given, *self.lanes_of_batch], self.batch)
        return self._in_memory(b, rooms, held, 0), self._in_memory(b, rooms, lent, 0)

    def words_in_memory(self, b: ir.IRBuilder, type: str, count: int) -> Room:
        return Room(stack(b, ir.ArrayType(SCALARS[type], count), 64), type, count)

    def _totals_of(self, b: ir.IRBuilder, type: str) -> Room:
        """Words for totals, 0 for rows that a batch lacks: with what lies about on the stack, addresses among it, which
        are subnormal numbers, the processor would take its time."""
        room = self.words_in_memory(b, type, self.batch)
        with b.goto_entry_block():
            room.store(b, constant(type, self.batch if self.batch > 1 else 0, 0.0))
        return room

    def _in_memory(self, b: ir.IRBuilder, rooms: list[Room], words: Words, replaces: int) -> list[Room]:
        """The rooms with words in the place of the last ``replaces``, or after them."""
        if not replaces:
            rooms = rooms + [self.words_in_memory(b, word_of(word), self.batch) for word in words]
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
        if self.batch == 1:
            return self._unfinished(b, [last] * self.linked.held)
        none = constant("f64", self.batch, 0.0)
        return self._unfinished(b, [b.select(self.mask(b, self.here, self.batch), last, none)] * self.linked.held)
