"""Totals of rows that lie side by side: vectors whose lanes are rows, added up along the rows.

Elements go to totals in the order of `loops`, lane by lane and up the same binary tree, so that every bit is the
same. The leaves of the tree are the lanes of `loops`, taken by the bits of their numbers in reverse, and they are
added up as a binary counter counts: each one to the one before it, their sum to that of the two before, and so on. Four
leaves go together, so that numbers of one word can be added four at a time.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from fastact.cpu.lowering.flags import stack
from fastact.cpu.lowering.flow import I64, counted
from fastact.cpu.lowering.words import SCALARS, constant, typed
from fastact.cpu.rows.loops import STRETCH, RowBuilder
from fastact.cpu.rows.pieces import Words
from fastact.link.rows import LinkedRun, Total

VECTORS = 8
"""Vectors of rows that are computed together, a strip, at most; half as many where a strip would be too large."""
WIDE = 66
"""The same where nothing is added up, so that rows of the array are read and written along: with the first and the
last, which need not begin at lines."""
FIRST = I64(0)
LEVELS = 5
"""Of the tree, that of four leaves and that of the root included, at most."""


class Slots:
    """Words on the stack, each a vector for each vector of a strip."""

    def __init__(
        self, b: ir.IRBuilder, types: tuple[str, ...], width: int, number: int = 1, most: int = VECTORS
    ) -> None:
        self.kinds, self.most = [typed(type, width) for type in types], most
        self.rooms = [stack(b, ir.ArrayType(kind, most * number), 64) for kind in self.kinds]

    def place(self, b: ir.IRBuilder, word: int, s: ir.Value, number: ir.Value) -> ir.Value:
        where = b.add(b.mul(number, I64(self.most)), s)
        return b.gep(self.rooms[word], [where], source_etype=self.kinds[word])

    def load(self, b: ir.IRBuilder, s: ir.Value, number: ir.Value = FIRST) -> Words:
        return [b.load(self.place(b, k, s, number), typ=kind) for k, kind in enumerate(self.kinds)]

    def store(self, b: ir.IRBuilder, words: Words, s: ir.Value, number: ir.Value = FIRST) -> None:
        for k, word in enumerate(words):
            b.store(word, self.place(b, k, s, number))


class Sum:
    """A total of a strip while it is added up. Of maxima and counts no order changes a bit: they have no tree."""

    def __init__(self, b: ir.IRBuilder, total: Total, width: int, short: bool) -> None:
        self.total = total
        self.ordered = total.kind == "sum"
        self.leaves = 1 if not self.ordered or (total.narrow and not short) else 4
        self.slots = Slots(b, total.words, width, self.leaves)
        self.four = Slots(b, ("f32",), width, 4) if total.narrow and not short else None
        self.carried = Slots(b, ("f64", "f64"), width, 4) if self.ordered and total.folded and not short else None
        self.tree = Slots(b, total.words, width, LEVELS) if self.ordered else self.slots

    def result(self, b: ir.IRBuilder, s: ir.Value, level: ir.Value) -> Words:
        return self.tree.load(b, s, level if self.ordered else I64(0))


class TotalsAcross(RowBuilder):
    """``width`` rows make a vector, ``vectors`` of these a strip; rows have ``length`` elements, ``short`` ones no
    more than there are lanes."""

    short: bool
    width: int
    vectors: ir.Value
    length: ir.Value

    def columns(self, b: ir.IRBuilder, i: ir.Value) -> dict[int, ir.Value]:
        """What belongs to a place whatever the row, by its operand."""
        raise NotImplementedError

    def terms(
        self, b: ir.IRBuilder, run: LinkedRun, lent: list[Slots], first: bool, i: ir.Value, s: ir.Value,
        columns: dict[int, ir.Value],
    ) -> list[Words]:  # fmt: skip
        """What a vector of elements adds to each total."""
        raise NotImplementedError

    def swept(self, b: ir.IRBuilder, run: LinkedRun, lent: list[Slots], first: bool) -> tuple[list[Sum], ir.Value]:
        """The totals of a run, and the level of the tree where they are."""
        sums = [Sum(b, total, self.width, self.short) for total in run.totals]
        # A tree of four leaves for each count of the counter; of a short row, no more leaves than that needs.
        bits: ir.Value = I64((self.lanes // 4).bit_length() - 1)
        if self.short:
            leading = self.declared("llvm.ctlz.i64", I64, [I64, SCALARS["i1"]])
            zeros = b.call(leading, [b.sub(self.length, I64(1)), SCALARS["i1"](0)])
            bits = b.select(b.icmp_signed("<", zeros, I64(62)), b.sub(I64(62), zeros), I64(0))
        quarter = b.shl(I64(1), bits)
        reverse = self.declared("llvm.bitreverse.i64", I64, [I64])
        trailing = self.declared("llvm.cttz.i64", I64, [I64, SCALARS["i1"]])

        def value(i: ir.Value, s: ir.Value, columns: dict[int, ir.Value]) -> list[Words]:
            return self.terms(b, run, lent, first, i, s, columns)

        self._begin(b, [total for total in sums if not total.ordered])
        with counted(b, quarter) as c:
            # Shifted twice, since no shift by 64 places is defined.
            leaf = b.lshr(b.lshr(b.call(reverse, [c]), I64(1)), b.sub(I64(63), bits))
            four = [b.add(leaf, b.mul(quarter, I64(n))) for n in (0, 2, 1, 3)]
            self._four_leaves(b, sums, four, quarter, value)
            depth = b.call(trailing, [b.not_(c), SCALARS["i1"](0)])
            with counted(b, self.vectors) as s:
                for total in sums:
                    if total.ordered:
                        self._climb(b, total, s, depth)
        return sums, bits

    def total(self, b: ir.IRBuilder, total: Sum, s: ir.Value, level: ir.Value) -> Words:
        """A total that has been added up: of nothing but -0.0 it is 0.0, as that of longer rows is."""
        words = total.result(b, s, level)
        if not (self.short and total.ordered):
            return words
        none = [self.neutral(total.total, t, self.width) for t in total.total.words]
        return self.emitter(b, self.width).graph(total.total.both, [*none, *words])

    def _begin(self, b: ir.IRBuilder, sums: list[Sum]) -> None:
        if not sums:
            return
        with counted(b, self.vectors) as s:
            for total in sums:
                for place in map(I64, range(total.leaves)):
                    none = [self.neutral(total.total, t, self.width) for t in total.total.words]
                    total.slots.store(b, none, s, place)
                    if total.carried:
                        total.carried.store(b, [constant("f64", self.width, 0.0)] * 2, s, place)

    def _four_leaves(
        self,
        b: ir.IRBuilder,
        sums: list[Sum],
        four: list[ir.Value],
        quarter: ir.Value,
        value: Callable[..., list[Words]],
    ) -> None:
        """Add what belongs to four leaves to the slots, of which the first has their sum in the end."""
        ordered = [total for total in sums if total.ordered]
        if self.short:
            with b.if_else(b.icmp_signed("<", four[3], self.length)) as (all_there, some_there):
                with all_there:
                    columns = [self.columns(b, i) for i in four]
                    with counted(b, self.vectors) as s:
                        found = [value(i, s, column) for i, column in zip(four, columns, strict=True)]
                        for k, total in enumerate(sums):
                            self._add_whole(b, total, [words[k] for words in found], s)
                with some_there:
                    self._begin(b, ordered)
                    self._add_rest(b, sums, four[0], self.length, quarter, value)
                    self._join(b, ordered)
            return
        self._begin(b, ordered)
        if any(total.carried for total in sums):
            with counted(b, self.length, STRETCH) as start:
                end = b.add(start, I64(STRETCH))
                end = b.select(b.icmp_signed("<", end, self.length), end, self.length)
                self._add_long(b, sums, [b.add(start, i) for i in four], end, quarter, value)
                with counted(b, self.vectors) as s:
                    for total in sums:
                        self._carry(b, total, s)
        else:
            self._add_long(b, sums, four, self.length, quarter, value)
        self._join(b, ordered)

    def _add_whole(self, b: ir.IRBuilder, total: Sum, four: list[Words], s: ir.Value) -> None:
        """Of a short row, four elements, each of which is a leaf."""
        if not total.ordered:
            for words in four:
                self._add(b, total, words, s, I64(0))
            return
        leaves = [self.widened(b, total.total, words) for words in four]
        total.slots.store(b, self._summed(b, total, leaves), s)

    def _add_long(
        self, b: ir.IRBuilder, sums: list[Sum], four: list[ir.Value], end: ir.Value, quarter: ir.Value,
        value: Callable[..., list[Words]],
    ) -> None:  # fmt: skip
        """Of a long row, each of the leaves, one element after the other."""
        with counted(b, b.sub(end, I64(3 * self.lanes // 4)), self.lanes, four[0]) as i:
            own = [b.add(i, b.sub(place, four[0])) for place in four]
            columns = [self.columns(b, place) for place in own]
            with counted(b, self.vectors) as s:
                found = [value(place, s, column) for place, column in zip(own, columns, strict=True)]
                for k, total in enumerate(sums):
                    if total.four:
                        self._add_four(b, total, [words[k][0] for words in found], s)
                    else:
                        for place, words in enumerate(found):
                            self._add(b, total, words[k], s, I64(place if total.ordered else 0))
        with b.if_then(b.icmp_signed("<", i, end)):
            self._add_rest(b, sums, i, end, quarter, value)

    def _add_rest(
        self, b: ir.IRBuilder, sums: list[Sum], start: ir.Value, end: ir.Value, quarter: ir.Value,
        value: Callable[..., list[Words]],
    ) -> None:  # fmt: skip
        """Those of four elements that there are."""
        together = [total for total in sums if total.four]
        for total in together:
            with counted(b, self.vectors) as s:
                for place in map(I64, range(4)):
                    total.four.store(b, [constant("f32", self.width, 0.0)], s, place)  # type: ignore[union-attr]
        with counted(b, I64(4)) as place:
            turn = b.add(b.mul(b.and_(place, I64(1)), I64(2)), b.lshr(place, I64(1)))
            own = b.add(start, b.mul(turn, quarter))
            with b.if_then(b.icmp_signed("<", own, end)):
                columns = self.columns(b, own)
                with counted(b, self.vectors) as s:
                    for total, words in zip(sums, value(own, s, columns), strict=True):
                        if total.four:
                            total.four.store(b, words, s, place)
                        else:
                            words = self.widened(b, total.total, words)
                            self._add(b, total, words, s, place if total.ordered else I64(0))
        for total in together:
            with counted(b, self.vectors) as s:
                words = [total.four.load(b, s, place)[0] for place in map(I64, range(4))]  # type: ignore[union-attr]
                self._add_four(b, total, words, s)

    def _add(self, b: ir.IRBuilder, total: Sum, words: Words, s: ir.Value, place: ir.Value) -> None:
        before = total.slots.load(b, s, place)
        total.slots.store(b, self.emitter(b, self.width).graph(total.total.both, before + words), s, place)

    def _add_four(self, b: ir.IRBuilder, total: Sum, words: Words, s: ir.Value) -> None:
        word = b.fadd(b.fadd(words[0], words[1]), b.fadd(words[2], words[3]))
        self._add(b, total, [b.fpext(word, typed("f64", self.width))], s, I64(0))

    def _carry(self, b: ir.IRBuilder, total: Sum, s: ir.Value) -> None:
        if total.carried:
            for place in map(I64, range(4)):
                words = [*total.carried.load(b, s, place), *total.slots.load(b, s, place)]
                total.carried.store(b, self.emitter(b, self.width).graph(total.total.carry, words), s, place)
                total.slots.store(b, [constant("f64", self.width, 0.0)], s, place)

    def _join(self, b: ir.IRBuilder, sums: list[Sum]) -> None:
        """The sum of the four leaves."""
        with counted(b, self.vectors) as s:
            for total in sums:
                if total.carried:
                    leaves = [[b.fadd(*total.carried.load(b, s, place))] for place in map(I64, range(4))]
                else:
                    leaves = [total.slots.load(b, s, place) for place in map(I64, range(total.leaves))]
                if len(leaves) > 1:
                    total.slots.store(b, self._summed(b, total, leaves), s)

    def _summed(self, b: ir.IRBuilder, total: Sum, leaves: list[Words]) -> Words:
        e = self.emitter(b, self.width)
        while len(leaves) > 1:
            pairs = zip(leaves[::2], leaves[1::2], strict=True)
            leaves = [e.graph(total.total.both, [*low, *high]) for low, high in pairs]
        return leaves[0]

    def _climb(self, b: ir.IRBuilder, total: Sum, s: ir.Value, depth: ir.Value) -> None:
        """Add as many finished parts of the tree as the counter tells."""
        with counted(b, depth) as level:
            words = [*total.tree.load(b, s, level), *total.slots.load(b, s)]
            total.slots.store(b, self.emitter(b, self.width).graph(total.total.both, words), s)
        total.tree.store(b, total.slots.load(b, s), s, depth)
