"""The pieces of kernels over rows that find totals: what threads bring to them, and how that is added up."""

from __future__ import annotations

from typing import Any

from fastact.cuda.rows.layout import PIECES, WIDTH, WORD
from fastact.cuda.rows.pieces import Elements, Piece, Types, Words, size_of
from fastact.link.rows import LinkedRun, Total


class Pieces(Elements):
    """All pieces of a program for rows of a layout."""

    # -- totals -------------------------------------------------------------------------------------------------------
    def run(self, place: int) -> Piece:
        """(elements, lent words, first element, number of elements): what a thread brings to the totals by itself; the
        terms of its elements; what is kept of them."""
        run, sizes = self.program.runs[place], self.sizes
        summed, reduced = sizes.summed(run), sizes.reduced(run)
        columns = self.program.inputs[self.elements :]
        used = {argument.index for node in run.graph.live() for argument in node.args}
        unread = run.graph.inputs[self.elements : len(self.program.inputs)]
        if used & {node.index for node in unread}:
            raise NotImplementedError("columns in the only sum of a run")

        def code(m: Any, *args: Any) -> list[Words]:
            *given, lent, first, length = args
            none = [m.constant(kind, 0) for kind in columns]
            found = m.graphs(run.graph, [[*own, *none, *lent] for own in self.inputs(m, tuple(given))])
            start = {id(t): n for t, n in zip(run.totals, self._starts(run), strict=True)}
            words = [[element[start[id(t)] + w] for element in found] for t in run.totals for w in range(len(t.words))]
            neutral = [m.constant(kind, t.start) for t in run.totals for kind in self._brought(t)]
            step = sizes.pack if self.layout.packed else 1
            words = m.masked(words, neutral, self.offsets(), step, first, length)
            own: Words = []
            for total in reduced:
                (values,) = words[start[id(total)] : start[id(total)] + 1]
                while len(values) > 1:
                    half = len(values) // 2
                    values = [m.both(total, [a], [b])[0] for a, b in zip(values[:half], values[half:], strict=True)]
                own += values
            terms: Words = []
            for total in summed:
                for w in range(len(total.words)):
                    values = words[start[id(total)] + w]
                    terms += self._terms(m, total, values)
            kept = [
                element[k]
                for k in range(len(run.graph.outputs) - len(run.kept), len(run.graph.outputs))
                for element in found
            ]
            return [part for part, there in ((own, reduced), (terms, summed), (kept, run.kept)) if there]

        kept_types = tuple(kind for kind in run.kept for _ in range(self.count))
        results = [
            (tuple(t.words[0] for t in reduced), reduced),
            (self.term_types(run), summed),
            (kept_types, run.kept),
        ]
        return Piece(
            f"run{place}",
            (*self.given(self.elements), self.lent(place), "i64", "i64"),
            tuple(r for r, there in results if there),
            code,
        )

    def _starts(self, run: LinkedRun) -> list[int]:
        found, start = [], 0
        for total in run.totals:
            found.append(start)
            start += len(total.words)
        return found

    def _brought(self, total: Total) -> Types:
        """The types of the words that an element brings."""
        return ("f32",) if total.narrow else total.words

    def _terms(self, m: Any, total: Total, values: Words) -> Words:
        """As they are put down: of float32 the sums of four, halves of the vector first; else as wide as the total."""
        if self.sizes.narrow(total):
            pack = self.sizes.pack
            a, b, c, d = (values[u * pack : (u + 1) * pack] for u in range(PIECES))
            first = [m.plus(x, y) for x, y in zip(a, c, strict=True)]
            second = [m.plus(x, y) for x, y in zip(b, d, strict=True)]
            return [m.plus(x, y) for x, y in zip(first, second, strict=True)]
        return [m.widen(value) for value in values] if total.narrow else values

    def term_types(self, run: LinkedRun) -> Types:
        found: list[str] = []
        for total in self.sizes.summed(run):
            if self.sizes.narrow(total):
                found += ["f32"] * self.sizes.pack
            else:
                found += [word for word in total.words for _ in range(self.count)]
        return tuple(found)

    def bring(self, place: int) -> Piece:
        """(memory, where, this thread, the row's threads, what it brings)."""
        kinds = tuple(t.words[0] for t in self.sizes.reduced(self.program.runs[place]))

        def code(m: Any, room: Any, where: Any, thread: Any, threads: Any, words: Words) -> None:
            for k, (kind, word) in enumerate(zip(kinds, words, strict=True)):
                at = m.add(m.multiply(threads, k), thread)
                m.share(room, m.add(where, m.multiply(at, WORD)), kind, word)

        return Piece(f"bring{place}", ("i64",) * 4 + (kinds,), None, code)

    def brought(self, place: int) -> Piece:
        """(memory, where, a thread, the row's threads): what that one brought."""
        kinds = tuple(t.words[0] for t in self.sizes.reduced(self.program.runs[place]))

        def code(m: Any, room: Any, where: Any, thread: Any, threads: Any) -> Words:
            found = []
            for k, kind in enumerate(kinds):
                at = m.add(m.multiply(threads, k), thread)
                found.append(m.shared(room, m.add(where, m.multiply(at, WORD)), kind))
            return found

        return Piece(f"brought{place}", ("i64",) * 4, kinds, code)

    def merge(self, place: int) -> Piece:
        """(words, words): those of both."""
        reduced = self.sizes.reduced(self.program.runs[place])
        kinds = tuple(t.words[0] for t in reduced)

        def code(m: Any, a: Words, b: Words) -> Words:
            return [m.both(t, [x], [y])[0] for t, x, y in zip(reduced, a, b, strict=True)]

        return Piece(f"merge{place}", (kinds, kinds), kinds, code)

    def start(self, place: int, reduced: bool) -> Piece:
        """(): totals of nothing."""
        run = self.program.runs[place]
        totals = self.sizes.reduced(run) if reduced else self.sizes.summed(run)
        words = [(kind, t.start) for t in totals for kind in (t.words if reduced else self.sizes.state(t))]

        def code(m: Any) -> Words:
            return [m.constant(kind, value) for kind, value in words]

        return Piece(f"{'none' if reduced else 'start'}{place}", (), tuple(kind for kind, _ in words), code)

    # -- terms --------------------------------------------------------------------------------------------------------
    def hand_over(self, place: int) -> Piece:
        """(memory, where, vector of this stage, thread of the vector, vectors of a stage, terms, or else elements)."""
        run, sizes = self.program.runs[place], self.sizes
        stored = self.program.inputs[: self.elements]

        def code(m: Any, room: Any, where: Any, vector: Any, column: Any, stage: Any, *given: Words) -> None:
            if sizes.raw(run):
                for kind, words in zip(stored, given, strict=True):
                    self._put_elements(m, room, where, vector, column, kind, words)
                    where = m.add(where, m.multiply(stage, sizes.vector * size_of(kind)))
                return
            (words,) = given
            for total in sizes.summed(run):
                for _ in total.words:
                    if sizes.narrow(total):
                        own, words = words[: sizes.pack], words[sizes.pack :]
                        at = m.add(m.multiply(vector, sizes.quarter), m.multiply(column, sizes.pack))
                        for k in range(0, sizes.pack, 4):
                            m.share_pack(room, m.add(where, m.multiply(m.add(at, k), 4)), "f32", own[k : k + 4])
                        continue
                    own, words = words[: self.count], words[self.count :]
                    at = m.add(m.multiply(vector, sizes.vector), m.multiply(column, sizes.pack))
                    for u in range(sizes.pieces):
                        for k in range(0, sizes.pack, 2):
                            spot = m.add(where, m.multiply(m.add(at, u * sizes.quarter + k), WORD))
                            first = u * sizes.pack + k
                            m.share_pack(room, spot, "f64", own[first : first + 2])
                    where = m.add(where, m.multiply(stage, sizes.vector * WORD))

        arguments = tuple(self.held(kind) for kind in stored) if sizes.raw(run) else (self.term_types(run),)
        return Piece(f"hand_over{place}", ("i64",) * 5 + arguments, None, code)

    def _put_elements(self, m: Any, room: Any, where: Any, vector: Any, column: Any, kind: str, words: Words) -> None:
        sizes, size = self.sizes, size_of(kind)
        at = m.add(m.multiply(vector, sizes.vector), m.multiply(column, sizes.pack))
        each = len(words) // sizes.pieces
        for u in range(sizes.pieces):
            spot = m.add(where, m.multiply(m.add(at, u * sizes.quarter), size))
            part = words[u * each : (u + 1) * each]
            if self.packed(kind):
                m.share_pack(room, spot, "i32" if kind == "i16" else kind, part)
                continue
            for k, word in enumerate(part):
                m.share(room, m.add(spot, k * size), kind, word)

    def chain(self, place: int, steps: int) -> Piece:
        """(memory, where, first vector, lane, vectors of a stage, totals): the totals with those of some vectors.

        Of elements also: (element of the first vector, number of elements, lent words, address and step of each
        column)."""
        run, sizes = self.program.runs[place], self.sizes
        summed = sizes.summed(run)
        kinds = tuple(kind for t in summed for kind in sizes.state(t))
        stored, columns = self.program.inputs[: self.elements], self.program.inputs[self.elements :]

        def terms(m: Any, room: Any, where: Any, vector: Any, lane: Any, stage: Any, k: int) -> list[Words]:
            found = []
            for total in summed:
                words = []
                for _ in total.words:
                    width = sizes.quarter if sizes.narrow(total) else sizes.vector
                    kind = "f32" if sizes.narrow(total) else "f64"
                    at = m.add(m.multiply(m.add(vector, k), width), lane)
                    word = m.shared(room, m.add(where, m.multiply(at, size_of(kind))), kind)
                    words.append(m.widen(word) if kind == "f32" else word)
                    where = m.add(where, m.multiply(stage, width * size_of(kind)))
                found.append(words)
            return found

        def elements(
            m: Any, room: Any, where: Any, vector: Any, lane: Any, stage: Any, k: int, *more: Any
        ) -> list[Words]:
            element, length, lent, *places = more
            i = m.add(element, k * sizes.vector)
            there = m.less(i, length)
            i = m.choose(there, i, 0)
            values = []
            for kind in stored:
                at = m.add(m.multiply(m.add(vector, k), sizes.vector), lane)
                values.append(m.shared(room, m.add(where, m.multiply(at, size_of(kind))), kind))
                where = m.add(where, m.multiply(stage, sizes.vector * size_of(kind)))
            for kind, address, step in zip(columns, places[::2], places[1::2], strict=True):
                values.append(m.load(m.add(address, m.multiply(i, step)), kind))
            outputs = m.graph(run.graph, [*values, *lent])
            found = []
            for total, first in zip(run.totals, self._starts(run), strict=True):
                words = outputs[first : first + len(total.words)]
                words = [
                    m.choose(there, w, m.constant(kind, total.start))
                    for w, kind in zip(words, self._brought(total), strict=True)
                ]
                found.append([m.widen(w) for w in words] if total.narrow else words)
            return found

        def code(m: Any, room: Any, where: Any, vector: Any, lane: Any, stage: Any, state: Words, *more: Any) -> Words:
            one = elements if sizes.raw(run) else terms
            found = [one(m, room, where, vector, lane, stage, k, *more) for k in range(steps)]
            result: Words = []
            for t, total in enumerate(summed):
                own, state = state[: len(sizes.state(total))], state[len(sizes.state(total)) :]
                words, rest = own[: len(total.words)], own[len(total.words) :]
                for each in found:
                    words = m.both(total, words, each[t])
                result += [*words, *rest]
            return result

        arguments: tuple[Any, ...] = (*("i64",) * 5, kinds)
        if sizes.raw(run):
            arguments += ("i64", "i64", self.lent(place), *("i64",) * (2 * len(columns)))
        return Piece(f"chain{place}", arguments, kinds, code)

    def carry(self, place: int) -> Piece:
        """(totals): sums of a stretch carried over."""
        summed = self.sizes.summed(self.program.runs[place])

        def code(m: Any, state: Words) -> Words:
            result: Words = []
            for total in summed:
                own, state = state[: len(self.sizes.state(total))], state[len(self.sizes.state(total)) :]
                if self.sizes.folded(total):
                    own = [m.constant("f64", 0.0), *m.graph(total.carry, [own[1], own[2], own[0]])]
                result += own
            return result

        kinds = tuple(kind for t in summed for kind in self.sizes.state(t))
        return Piece(f"carry{place}", (kinds,), kinds, code)

    def close(self, place: int) -> Piece:
        """(totals): those of all stretches."""
        summed = self.sizes.summed(self.program.runs[place])

        def code(m: Any, state: Words) -> Words:
            result: Words = []
            for total in summed:
                own, state = state[: len(self.sizes.state(total))], state[len(self.sizes.state(total)) :]
                if self.sizes.folded(total):
                    own = [m.plus(own[1], own[2]), own[1], own[2]]
                result += own
            return result

        kinds = tuple(kind for t in summed for kind in self.sizes.state(t))
        return Piece(f"close{place}", (kinds,), kinds, code)

    # -- totals of lanes ----------------------------------------------------------------------------------------------
    def _spots(self, run: LinkedRun, reduced: bool) -> list[tuple[int, str]]:
        """Where the words of some totals lie in memory."""
        found = []
        for total in self.sizes.reduced(run) if reduced else self.sizes.summed(run):
            for k, kind in enumerate(self.sizes.state(total)):
                place = self.sizes.totals + (self.sizes.place(run, total) + k) * WIDTH * WORD
                found.append((place, kind))
        return found

    def keep(self, place: int, reduced: bool) -> Piece:
        """(memory, the row's, lane, totals): keep those of a lane."""
        spots = self._spots(self.program.runs[place], reduced)

        def code(m: Any, room: Any, base: Any, lane: Any, words: Words) -> None:
            at = m.add(base, m.multiply(lane, WORD))
            for (spot, kind), word in zip(spots, words, strict=True):
                m.share(room, m.add(at, spot), kind, word)

        name = "keep_brought" if reduced else "keep"
        return Piece(f"{name}{place}", ("i64",) * 3 + (tuple(k for _, k in spots),), None, code)

    def kept(self, place: int) -> Piece:
        """(memory, the row's, lane): those that were kept."""
        spots = self._spots(self.program.runs[place], False)

        def code(m: Any, room: Any, base: Any, lane: Any) -> Words:
            at = m.add(base, m.multiply(lane, WORD))
            return [m.shared(room, m.add(at, spot), kind) for spot, kind in spots]

        return Piece(f"kept{place}", ("i64",) * 3, tuple(k for _, k in spots), code)

    def _joined(self, m: Any, run: LinkedRun, total: Total, room: Any, at: Any, h: Any) -> Words:
        """The total of four lanes, h apart, upper half to lower half."""
        spot = self.sizes.totals + self.sizes.place(run, total) * WIDTH * WORD
        lanes = []
        for k in range(4):
            where = m.add(at, m.add(m.multiply(h, k * WORD), spot))
            words = enumerate(total.words)
            lanes.append([m.shared(room, m.add(where, w * WIDTH * WORD), kind) for w, kind in words])
        a, b, c, d = lanes
        return list(m.both(total, m.both(total, a, c), m.both(total, b, d)))

    def join(self, place: int) -> Piece:
        """(memory, the row's, lane, distance): the total of four lanes."""
        run = self.program.runs[place]

        def code(m: Any, room: Any, base: Any, lane: Any, h: Any) -> None:
            at = m.add(base, m.multiply(lane, WORD))
            for total in run.totals:
                spot = self.sizes.totals + self.sizes.place(run, total) * WIDTH * WORD
                for w, (kind, word) in enumerate(
                    zip(total.words, self._joined(m, run, total, room, at, h), strict=True)
                ):
                    m.share(room, m.add(at, spot + w * WIDTH * WORD), kind, word)

        return Piece(f"join{place}", ("i64",) * 4, None, code)

    def settle(self, place: int) -> Piece:
        """(memory, the row's, number of elements): what becomes of the totals of a run."""
        run = self.program.runs[place]

        def code(m: Any, room: Any, base: Any, length: Any) -> None:
            words = [word for total in run.totals for word in self._joined(m, run, total, room, base, 1)]
            count = self.sizes.scalars[place] * self.program.held
            words += [m.shared(room, m.add(base, k * WORD), "f64") for k in range(count)]
            found = m.graph(run.settle, [*words, m.to_float(length)])
            self.hand_on(m, room, base, found, self.sizes.scalars[place] - run.replaces)

        return Piece(f"settle{place}", ("i64",) * 3, None, code)
