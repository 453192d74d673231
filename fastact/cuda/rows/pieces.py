"""What the threads of a row do, piece by piece, written once for two machines: one that emits instructions
(`fastact.cuda.rows.instructions`), one that computes with NumPy (`fastact.cuda.rows.simulated`).

A piece is a function of a machine and of its arguments: numbers, or lists of words. It says which types these have.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastact.cuda.package import LANES, PACK
from fastact.cuda.rows.layout import WORD, RowLayout, Sizes
from fastact.link.graph import BITS, Graph
from fastact.link.rows import LinkedProgram, LinkedRun

Words = list[Any]
Types = tuple[str, ...]


@dataclass(frozen=True)
class Piece:
    """``arguments`` and ``results``: the type of a number, or those of a list of words."""

    name: str
    arguments: tuple[str | Types, ...]
    results: str | tuple[Types, ...] | Types | None
    code: Callable[..., Any]


def size_of(type: str) -> int:
    return BITS[type] // 8


class Elements:
    """The pieces of a program for rows of a layout that deal with elements and with numbers of the row."""

    def __init__(self, program: LinkedProgram, layout: RowLayout) -> None:
        self.program, self.layout = program, layout
        self.sizes = Sizes(program, layout.variant)
        self.count = self.sizes.pieces * self.sizes.pack
        """Elements of a thread."""
        self.elements = len(program.program.elements)

    # -- elements -----------------------------------------------------------------------------------------------------
    def offsets(self) -> list[int]:
        """The elements of a thread, from its first one."""
        return [u * self.sizes.quarter + k for u in range(self.sizes.pieces) for k in range(self.sizes.pack)]

    def held(self, storage: str) -> Types:
        """The words in which a thread has its elements."""
        if self.packed(storage):
            return ("i32" if storage == "i16" else storage,) * (
                self.sizes.pieces * PACK // (4 if storage != "f64" else 8)
            )
        return (storage,) * self.count

    def packed(self, storage: str) -> bool:
        return self.layout.packed and LANES[storage] == self.sizes.pack

    def apart(self, m: Any, storage: str, words: Words) -> Words:
        """The elements, one by one."""
        if self.packed(storage) and storage == "i16":
            return [m.half(word, place) for word in words for place in (0, 1)]
        return words

    def joined(self, m: Any, storage: str, elements: Words) -> Words:
        if self.packed(storage) and storage == "i16":
            return [m.halves(*elements[k : k + 2]) for k in range(0, len(elements), 2)]
        return elements

    def fetch(self, storage: str) -> Piece:
        """(address of the row, first element, number of elements, step): a thread's elements. In place of those that
        are not there it has others."""

        size, distance = size_of(storage), self.sizes.quarter * size_of(storage)

        def pack(m: Any, address: Any, first: Any, length: Any, u: int) -> Words:
            place = m.add(first, u * self.sizes.quarter)
            place = m.choose(m.less(place, length), place, 0)
            return list(m.load_pack(m.add(address, m.multiply(place, size)), storage))

        def code(m: Any, address: Any, first: Any, length: Any, step: Any) -> Words:
            pieces = range(self.sizes.pieces)
            if self.packed(storage):
                start = m.add(address, m.multiply(first, size))
                return list(
                    m.either(
                        m.less(m.add(first, self.offsets()[-1]), length),
                        lambda: [word for u in pieces for word in m.load_pack(m.add(start, u * distance), storage)],
                        lambda: [word for u in pieces for word in pack(m, address, first, length, u)],
                    )
                )
            found, last = [], m.add(length, -1)
            for offset in self.offsets():
                place = m.add(first, offset)
                place = m.choose(m.less(place, length), place, last)
                found.append(m.load(m.add(address, m.multiply(place, step)), storage))
            return found

        return Piece(f"fetch_{storage}", ("i64",) * 4, self.held(storage), code)

    def put(self, place: int) -> Piece:
        """(address of the row, first element, number of elements, step, words of all results): write a result."""
        assert self.program.result is not None
        storage = self.program.result.outputs[place].type
        kinds = [node.type for node in self.program.result.outputs]
        start = sum(len(self.held(kind)) for kind in kinds[:place])

        def code(m: Any, address: Any, first: Any, length: Any, step: Any, words: Words) -> None:
            own = words[start : start + len(self.held(storage))]
            if self.packed(storage):
                pieces, each = range(self.sizes.pieces), len(own) // self.sizes.pieces
                begin = m.add(address, m.multiply(first, size_of(storage)))

                def write(u: int) -> None:
                    where = m.add(begin, u * self.sizes.quarter * size_of(storage))
                    m.store_pack(where, storage, own[u * each : (u + 1) * each])

                def write_all() -> Words:
                    for u in pieces:
                        write(u)
                    return []

                def write_some() -> Words:
                    for u in pieces:
                        m.when(m.less(m.add(first, u * self.sizes.quarter), length), functools.partial(write, u))
                    return []

                m.either(m.less(m.add(first, self.offsets()[-1]), length), write_all, write_some)
                return
            for offset, value in zip(self.offsets(), own, strict=True):
                at = m.add(first, offset)
                where = m.add(address, m.multiply(at, step))
                m.when(m.less(at, length), functools.partial(m.store, where, storage, value))

        every = tuple(word for kind in kinds for word in self.held(kind))
        return Piece(f"put{place}", ("i64", "i64", "i64", "i64", every), None, code)

    def inputs(self, m: Any, given: tuple[Words, ...]) -> list[Words]:
        """Elements, and columns if these are given, for each place of the thread."""
        apart = [self.apart(m, kind, words) for kind, words in zip(self.program.inputs, given, strict=False)]
        return [list(values) for values in zip(*apart, strict=True)]

    def given(self, count: int) -> tuple[Types, ...]:
        return tuple(self.held(kind) for kind in self.program.inputs[:count])

    # -- numbers of the row -------------------------------------------------------------------------------------------
    def lent(self, place: int) -> Types:
        return self.program.lent * self.sizes.scalars[place]

    def begin(self) -> Piece:
        """(memory, the row's, address of each number of the row, each number): the first scalars."""
        rows, numbers = self.program.rows, len(self.program.program.numbers)

        def code(m: Any, room: Any, base: Any, *given: Any) -> None:
            values = [m.load(address, kind) for address, kind in zip(given, rows, strict=False)]
            values += [m.number(bits) for bits in given[len(rows) :]]
            self.hand_on(m, room, base, m.graph(self.program.begin, values), 0)

        return Piece("begin", ("i64",) * (2 + len(rows) + numbers), None, code)

    def hand_on(self, m: Any, room: Any, base: Any, found: Words, before: int) -> None:
        """Keep scalars after those that there are."""
        held, lent = self.program.held, self.program.lent
        count = len(found) // (held + len(lent))
        for k, word in enumerate(found):
            if k < count * held:
                m.share(room, m.add(base, (before * held + k) * WORD), "f64", word)
            else:
                place = before * len(lent) + k - count * held
                m.share(room, m.add(base, self.sizes.lent + place * WORD), lent[0], word)

    def lend(self, place: int) -> Piece:
        """(memory, the row's): the lent words before a run."""

        def code(m: Any, room: Any, base: Any) -> Words:
            where = m.add(base, self.sizes.lent)
            return [m.shared(room, m.add(where, k * WORD), kind) for k, kind in enumerate(self.lent(place))]

        return Piece(f"lend{place}", ("i64", "i64"), self.lent(place), code)

    def again(self, place: int) -> Piece:
        """(memory, the row's): the last scalar."""
        last = (self.sizes.scalars[place + 1] - 1) * self.program.held * WORD

        def code(m: Any, room: Any, base: Any) -> Any:
            return m.shared(room, m.add(base, last), "f64")

        return Piece(f"again{place}", ("i64", "i64"), "f64", code)

    def totals(self) -> Piece:
        """(memory, the row's, address of each result of the row)."""
        graph = self.program.totals
        assert graph is not None

        def code(m: Any, room: Any, base: Any, *addresses: Any) -> None:
            count = self.sizes.scalars[-1] * self.program.held
            held = [m.shared(room, m.add(base, k * WORD), "f64") for k in range(count)]
            for node, address, value in zip(graph.outputs, addresses, m.graph(graph, held), strict=True):
                m.store(address, node.type, value)

        return Piece("totals", ("i64",) * (2 + len(graph.outputs)), None, code)

    # -- results ------------------------------------------------------------------------------------------------------
    def result(self, keeping: LinkedRun | None) -> Piece:
        """(elements, columns, what was kept, lent words): the words of all results."""
        graph: Graph | None = (
            self.program.result if self.layout.variant != "long" or keeping is None else self.program.anew
        )
        assert graph is not None
        kept = () if keeping is None or self.layout.variant == "long" else keeping.kept
        columns = len(self.program.inputs)

        def code(m: Any, *args: Any) -> Words:
            given, lent = args[:columns], args[-1]
            remembered = args[columns] if kept else []
            inputs = self.inputs(m, given)
            inputs = [[*own, *remembered[k :: self.count], *lent] for k, own in enumerate(inputs)]
            found = m.graphs(graph, inputs)
            words: Words = []
            for k, node in enumerate(graph.outputs):
                words += self.joined(m, node.type, [element[k] for element in found])
            return words

        types = tuple(kind for kind in kept for _ in range(self.count))
        arguments = (*self.given(columns), *((types,) if kept else ()), self.lent(len(self.program.runs)))
        results = tuple(word for node in graph.outputs for word in self.held(node.type))
        return Piece("result", arguments, results, code)
