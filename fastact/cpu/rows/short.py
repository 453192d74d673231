"""Loops over rows that fit one vector, some of them side by side."""

from __future__ import annotations

from llvmlite import ir

from fastact.cpu.lowering.flow import I64, at
from fastact.cpu.lowering.words import SCALARS, constant, picked
from fastact.cpu.rows.batches import Room, RowBatches
from fastact.cpu.rows.facts import Facts, batch, beside
from fastact.cpu.rows.pieces import Words
from fastact.link.rows import LinkedRun


class ShortRows(RowBatches):
    """Rows of up to ``width`` elements, which are neighbours; ``beside`` of them are side by side in one vector."""

    def function_of(self, width: int) -> ir.Function:
        """void short(places, steps, rows, facts, scratch)."""
        b, (places, steps, rows, facts, _) = self.function("short")
        self.width, self.beside, self.batch = width, beside(self.linked)[width], batch(self.linked)
        length = self.fact(b, facts, Facts.LENGTH)
        self.mask_of_row = self.mask(b, length, width)
        self.mask_of_rows = self.joined(b, [self.mask_of_row] * self.beside)
        self.length = self.every(b, b.sitofp(length, SCALARS["f64"]))
        self.lanes_of_batch = [self.every(b, number) for number in self.numbers_given(b, facts)]
        self.batches(b, rows, places, steps, I64(self.batch))
        b.ret_void()
        return b.function

    def kept_of(self, b: ir.IRBuilder, run: LinkedRun) -> list[Room]:
        return [self.words_in_memory(b, t, self.width * self.batch) for t in run.kept]

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

    def add_up(
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

    def write_rows(self, b: ir.IRBuilder, start: ir.Value, lent: list[Room], kept: list[Room]) -> None:
        assert self.linked.result is not None
        every, rows = self.width * self.beside, self._rows(b, start)
        values = self._read(b, rows)
        values += [room.load(b, b.mul(start, I64(self.width)), every) for room in kept]
        results = self.emitter(b, every).graph(self.linked.result, values + self._lent(b, start, lent))
        for k, value in zip(self.sinks, results, strict=True):
            for place, row in enumerate(rows):
                own = picked(b, value, list(range(place * self.width, (place + 1) * self.width)))
                where = at(b, self.first[k], b.mul(row, self.step[k]))
                self.store(b, own, where, self.operands[k].type, self.mask_of_row)
