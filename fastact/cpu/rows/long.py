"""Loops over rows of any length, some rows at a time.

As many go together as stay near the processor until they are read again.
"""

from __future__ import annotations

from llvmlite import ir

from fastact.cpu.lowering.flow import I64, at, counted
from fastact.cpu.lowering.words import SCALARS
from fastact.cpu.rows.batches import Room, RowBatches
from fastact.cpu.rows.facts import NEAR, Facts, bytes_read, together
from fastact.cpu.rows.loops import Row
from fastact.cpu.rows.pieces import Words
from fastact.link.rows import LinkedRun

SHARED = 4
"""Elements of one place that are read of rows which are written together, where columns have to be widened."""


class LongRows(RowBatches):
    """Rows of any length, of which the elements are neighbours."""

    def function_of(self, width: int) -> ir.Function:
        """void long(places, steps, rows, facts, scratch); ``width`` is 0."""
        b, (places, steps, rows, facts, scratch) = self.function("long")
        self.width, self.beside, self.batch = self.lanes, 1, together(self.linked)
        self.count = self.fact(b, facts, Facts.LENGTH)
        self.keeps = b.icmp_signed("!=", self.fact(b, facts, Facts.KEEP), I64(0))
        self.scratch = scratch
        self.length = self.every(b, b.sitofp(self.count, SCALARS["f64"]))
        self.lanes_of_batch = [self.every(b, number) for number in self.numbers_given(b, facts)]
        self.batches(b, rows, places, steps, self._several(b))
        b.ret_void()
        return b.function

    def _several(self, b: ir.IRBuilder) -> ir.Value:
        """How many rows go together."""
        size, number = bytes_read(self.linked), 2
        found: ir.Value = I64(1)
        while number <= self.batch:
            fits = b.icmp_signed("<=", b.mul(self.count, I64(size * number)), I64(NEAR))
            found, number = b.select(fits, I64(number), found), 2 * number
        return found

    def _row(self, b: ir.IRBuilder, number: ir.Value) -> Row:
        places = [at(b, p, b.mul(number, s)) for p, s in zip(self.first, self.step, strict=True)]
        following = [at(b, p, b.mul(self.here, s)) for p, s in zip(places, self.step, strict=True)]
        pitch = b.mul(b.and_(b.add(self.count, I64(63)), I64(-64)), I64(8))
        kept = self.keeping.kept if self.keeping else ()
        scratch = at(b, self.scratch, b.mul(b.mul(pitch, I64(len(kept))), number))
        return Row(places, following, self.count, self.keeps, scratch, pitch)

    def _scalars(self, b: ir.IRBuilder, number: ir.Value, lent: list[Room]) -> Words:
        return [self.spread(b, room.load(b, number, 1), self.width) for room in lent]

    def add_up(
        self, b: ir.IRBuilder, run: LinkedRun, start: ir.Value, lent: list[Room], totals: list[list[Room]],
        kept: list[Room],
    ) -> None:  # fmt: skip
        found = self.totals_of(b, self._row(b, start), run, self._scalars(b, start, lent), self.width)
        for words, rooms in zip(found, totals, strict=True):
            for word, room in zip(words, rooms, strict=True):
                room.store(b, word, start)

    def kept_of(self, b: ir.IRBuilder, run: LinkedRun) -> list[Room]:
        return []  # it lies in memory that is given

    def write_batch(self, b: ir.IRBuilder, lent: list[Room], kept: list[Room]) -> None:
        """Columns that have to be widened are widened for several rows at once."""
        if not self._widens_columns():
            super().write_batch(b, lent, kept)
            return
        count = SHARED // sum(self.operands[k].kind == "element" for k in self.inputs)
        whole = b.and_(self.here, I64(-count))
        with counted(b, whole, count) as start:
            numbers = [b.add(start, I64(k)) for k in range(count)]
            self.write_together(b, [(self._row(b, n), self._scalars(b, n, lent)) for n in numbers])
        with counted(b, self.here, 1, whole) as start:
            self.write_rows(b, start, lent, kept)

    def _widens_columns(self) -> bool:
        result = self.linked.result
        if self.batch == 1 or self.keeping is not None or result is None:
            return False
        columns = {k for k, o in enumerate(self.operands) if o.kind == "column" and o.type == "f32"}
        nodes = [node for node in result.live() if node.op == "fpext" and node.args[0].op == "input"]
        return any(node.args[0].data in columns for node in nodes)

    def write_rows(self, b: ir.IRBuilder, start: ir.Value, lent: list[Room], kept: list[Room]) -> None:
        row, scalars = self._row(b, start), self._scalars(b, start, lent)
        assert self.linked.result is not None
        if self.keeping is None:
            self.write(b, row, self.linked.result, (), scalars, self.width)
            return
        assert self.linked.anew is not None
        with b.if_else(row.keeps) as (then, otherwise):
            with then:
                self.write(b, row, self.linked.result, self.keeping.kept, scalars, self.width)
            with otherwise:
                self.write(b, row, self.linked.anew, (), scalars, self.width)
