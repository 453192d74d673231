"""Programs over rows bound to a dtype and a tier: graphs for the elements, for the totals, and for adding these up.

A number of the row is held in one float64, or in a pair where elements are pairs ("held" words); to elements of one
float32 it is lent as two of these.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import Any

from fastact.kernels.blocks.exactly import two_sum
from fastact.kernels.declare_rows import Program, Run
from fastact.link.arithmetic import DOUBLE_FAST, DOUBLE_ROUGH, DOUBLE_WIDE, PAIR, SINGLE_FAST, SINGLE_ROUGH, Arithmetic
from fastact.link.graph import Graph
from fastact.link.linker import STORAGE, Linking
from fastact.link.pair import Pair
from fastact.link.sixteen import DTYPES as SIXTEEN
from fastact.link.sixteen import round_to_odd
from fastact.link.values import Real

INFINITY = float("inf")


def arithmetic_of(program: Program, dtype: str, tier: str) -> Arithmetic:
    """The arithmetic of the elements. 16 bits are computed as float32 is, with twice its digits in ``exact``."""
    if dtype == "float64":
        return {"exact": PAIR, "fast": DOUBLE_FAST, "rough": DOUBLE_ROUGH}[tier]
    if tier == "exact" or program.careful:
        return DOUBLE_WIDE
    return SINGLE_FAST if tier == "fast" else SINGLE_ROUGH


class RowLinking(Linking):
    """The context of a body of a program; ``elements`` is the arithmetic of its elements."""

    def __init__(self, arithmetic: Arithmetic, elements: Arithmetic) -> None:
        super().__init__(arithmetic)
        self.elements = elements

    def stored(self, dtype: str) -> Any:
        """An input of a dtype as a number; a float64 where words are float32 as a pair of these."""
        if dtype == "float64" and self.arithmetic.word == "f32":
            x = Real(self, self.graph.input("f64"))
            high = x.convert("f32")
            return Pair(high, (x - high.convert("f64")).convert("f32"))
        x = self.widen(self.graph.input(STORAGE[dtype]), dtype)
        return Pair(x) if self.arithmetic.pair else x

    def word_input(self, type: str) -> Real:
        return Real(self, self.graph.input(type))

    def pair_input(self, type: str) -> Pair:
        return Pair(self.word_input(type), self.word_input(type))

    def hand_over(self, value: Any, dtype: str) -> None:
        """Round a result once to its dtype and make that an output."""
        if dtype in SIXTEEN and self.arithmetic.word == "f64":
            value = round_to_odd(self.word_of(value))
        self.deliver(value, dtype)

    def give(self, *values: Any) -> None:
        """Make words, or pairs with both of theirs, outputs."""
        for value in values:
            if isinstance(value, (int, float)):
                value = Pair(self.real(value)) if self.arithmetic.pair else self.real(value)
            if hasattr(value, "plain"):
                value = value.plain()
            words = (value.hi, value.low) if isinstance(value, Pair) else (value,)
            self.graph.outputs += [word.node for word in words]


@dataclass(frozen=True)
class Total:
    """How values of elements become one: what is added or compared, its words, where it begins."""

    kind: str
    words: tuple[str, ...]
    folded: bool
    """Sums of long rows are added up in stretches, each carried over to a sum in two words."""
    narrow: bool = False
    """What is added is float32: of long rows four at a time are added as such before the sum is widened."""

    @property
    def start(self) -> float:
        return -INFINITY if self.kind == "max" else 0.0

    @functools.cached_property
    def both(self) -> Graph:
        """The graph of the words of two totals that gives those of the total of both."""
        linking = Linking(PAIR if len(self.words) == 2 else DOUBLE_FAST if self.words[0] == "f64" else SINGLE_FAST)
        a, b = ([Real(linking, linking.graph.input(word)) for word in self.words] for _ in range(2))
        if self.kind == "max":
            result = [b[0].choose(b[0] > a[0], a[0])]
        elif len(self.words) == 1:
            result = [a[0] + b[0]]
        else:
            s, e = two_sum(a[0], b[0])
            result = [s, (a[1] + b[1]) + e]
        linking.graph.outputs += [word.node for word in result]
        return linking.graph

    @functools.cached_property
    def carry(self) -> Graph:
        """The graph of a sum in two words and one more word that gives the two words of their sum."""
        linking = Linking(DOUBLE_FAST)
        high, low, more = (Real(linking, linking.graph.input("f64")) for _ in range(3))
        s, e = two_sum(high, more)
        linking.graph.outputs += [s.node, (low + e).node]
        return linking.graph


@dataclass(frozen=True)
class LinkedRun:
    """Graphs of a run. ``graph`` takes elements, columns and lent words and gives the words of totals, then kept words.
    ``settle`` takes the words of totals, held words and the number of elements, and gives held words, then lent ones.
    """

    graph: Graph
    totals: tuple[Total, ...]
    kept: tuple[str, ...]
    settle: Graph
    replaces: int
    """How many of the last scalars the new ones replace."""
    repeated: bool
    spared: bool


@dataclass(frozen=True)
class LinkedProgram:
    program: Program
    dtype: str
    inputs: tuple[str, ...]
    """Types of elements and columns, as they are stored."""
    rows: tuple[str, ...]
    begin: Graph
    """Of rows and numbers; gives held words, then lent ones."""
    runs: tuple[LinkedRun, ...]
    result: Graph | None
    """Of elements, columns, kept words and lent words."""
    anew: Graph | None
    """The same without the kept words, which are computed once more."""
    totals: Graph | None
    """Of held words."""
    held: int
    """Words in which a number of the row is held."""
    lent: tuple[str, ...]
    """Types of the words in which it is lent to elements."""

    def text(self) -> str:
        graphs = [self.begin, *(g for run in self.runs for g in (run.graph, run.settle))]
        graphs += [g for g in (self.result, self.anew, self.totals) if g is not None]
        facts = [str((run.totals, run.kept, run.replaces, run.repeated, run.spared)) for run in self.runs]
        shape = (self.inputs, self.rows, self.held, self.lent, self.dtype)
        return "\n\n".join([*map(Graph.text, graphs), *facts, str(shape)])

    def digest(self) -> str:
        return hashlib.sha256(self.text().encode()).hexdigest()[:16]


class _Linker:
    def __init__(self, program: Program, dtype: str, tier: str) -> None:
        self.program, self.dtype = program, dtype
        self.arithmetic = arithmetic_of(program, dtype, tier)
        self.settling = PAIR if self.arithmetic.pair else DOUBLE_FAST if dtype == "float64" else DOUBLE_WIDE
        self.scalars = 0

    # -- elements ---------------------------------------------------------------------------------------------------
    def elements(self) -> tuple[RowLinking, list[Any]]:
        linking = RowLinking(self.arithmetic, self.arithmetic)
        return linking, [linking.stored(dtype) for dtype in self.stored(*self.program.elements, *self.program.columns)]

    def stored(self, *names: str) -> list[str]:
        return ["float64" if name in self.program.widened else self.dtype for name in names]

    def lent(self, linking: RowLinking, count: int) -> list[Any]:
        """Numbers of the row as elements get them."""
        if self.arithmetic.pair or self.arithmetic.word == "f32":
            return [linking.pair_input(self.arithmetic.word) for _ in range(count)]
        return [linking.word_input("f64") for _ in range(count)]

    def run(self, run: Run) -> tuple[Graph, tuple[Total, ...], tuple[str, ...]]:
        linking, values = self.elements()
        results = run.body(*values, *self.lent(linking, self.scalars))
        totals, count = [], len(run.kinds)
        for kind, value in zip(run.kinds, results[:count], strict=True):
            narrow = False
            if isinstance(value, (int, float)):
                value = linking.number(value)
            if hasattr(value, "plain"):
                value = value.plain()
            if kind == "sum":
                linking.give(value)
                words = ("f64",) * (2 if self.arithmetic.pair else 1)
                narrow = not self.arithmetic.pair and value.node.type == "f32"
            else:
                word = value.hi if isinstance(value, Pair) else value
                node = word.node
                while kind == "max" and node.op == "fpext":  # the narrower number says as much
                    node = node.args[0]
                linking.graph.outputs.append(node)
                words = (node.type,)
            folded = kind == "sum" and self.dtype == "float64" and len(words) == 1
            totals.append(Total(kind, words, folded, narrow))
        before = len(linking.graph.outputs)
        linking.give(*results[count:])
        kept = tuple(node.type for node in linking.graph.outputs[before:])
        return linking.graph, tuple(totals), kept

    # -- numbers of the row -------------------------------------------------------------------------------------------
    def settle(self, run: Run, totals: tuple[Total, ...]) -> tuple[Graph, int]:
        linking = RowLinking(self.settling, self.arithmetic)
        sums: list[Any] = []
        for total in totals:
            words = [linking.word_input(type).convert("f64") for type in total.words]
            second = words[1] if len(words) > 1 else None
            sums.append(Pair(words[0], second) if self.settling.pair else words[0])
        scalars = self.held(linking, self.scalars)
        count = linking.word_input("f64")
        results = run.settle(*sums, *scalars, Pair(count) if self.settling.pair else count)
        self._hand_on(linking, results)
        replaced = len(results) if run.repeated else 0
        self.scalars += len(results) - replaced
        return linking.graph, replaced

    def held(self, linking: RowLinking, count: int) -> list[Any]:
        if self.settling.pair:
            return [linking.pair_input("f64") for _ in range(count)]
        return [linking.word_input("f64") for _ in range(count)]

    def _hand_on(self, linking: RowLinking, results: tuple[Any, ...]) -> None:
        """Numbers of the row as they are held, and as they are lent."""
        if self.settling.pair:
            results = tuple(Pair(value) if isinstance(value, Real) else value for value in results)
        linking.give(*results)
        held = linking.graph.outputs[-len(results) * (2 if self.settling.pair else 1) :] if results else []
        for node in held:
            if self.arithmetic.word == "f32":
                x = Real(linking, node)
                high = x.convert("f32")
                rest = (x - high.convert("f64")).convert("f32")
                linking.give(high, rest.choose(abs(high) < INFINITY, 0.0))
            else:
                linking.graph.outputs.append(node)

    def begin(self) -> Graph:
        linking = RowLinking(self.settling, self.arithmetic)
        given = [linking.stored(dtype) for dtype in self.stored(*self.program.rows)]
        given += [linking.stored("float64") for _ in self.program.numbers]
        if self.program.prepare is not None:
            given = list(_several(self.program.prepare(*given)))
        self._hand_on(linking, tuple(given))
        self.scalars = len(given)
        return linking.graph

    # -- results ------------------------------------------------------------------------------------------------------
    def result(self, again: Run | None, kept: tuple[str, ...]) -> Graph | None:
        """The results of elements; ``again``: with what that run keeps computed once more."""
        if self.program.result is None:
            return None
        linking, values = self.elements()
        if again is not None:
            scalars = self.lent(linking, self.scalars)
            remembered = list(again.body(*values, *scalars)[len(again.kinds) :])
        else:
            remembered, words = [], [linking.word_input(type) for type in kept]
            while words:
                remembered.append(Pair(words.pop(0), words.pop(0)) if self.arithmetic.pair else words.pop(0))
            scalars = self.lent(linking, self.scalars)
        for value in _several(self.program.result(*values, *remembered, *scalars)):
            linking.hand_over(value, self.dtype)
        return linking.graph

    def totals(self) -> Graph | None:
        if self.program.totals is None:
            return None
        linking = RowLinking(self.settling, self.arithmetic)
        for value in _several(self.program.totals(*self.held(linking, self.scalars))):
            linking.hand_over(value, "float64" if self.program.wide_totals else self.dtype)
        return linking.graph


def _several(results: Any) -> tuple[Any, ...]:
    return results if isinstance(results, tuple) else (results,)


def link_rows(program: Program, dtype: str, tier: str) -> LinkedProgram:
    """A program in a dtype and a tier."""
    linker = _Linker(program, dtype, tier)
    begin = linker.begin()
    runs: list[LinkedRun] = []
    for run in program.runs:
        graph, totals, kept = linker.run(run)
        settle, replaces = linker.settle(run, totals)
        runs.append(LinkedRun(graph, totals, kept, settle, replaces, run.repeated, run.spared))
    keeping = next((run for run in program.runs if run.kept), None)
    kept = runs[-1].kept if runs else ()
    pair, word = linker.arithmetic.pair, linker.arithmetic.word
    return LinkedProgram(
        program=program,
        dtype=dtype,
        inputs=tuple(STORAGE[d] for d in linker.stored(*program.elements, *program.columns)),
        rows=tuple(STORAGE[d] for d in linker.stored(*program.rows)),
        begin=begin,
        runs=tuple(runs),
        result=linker.result(None, kept),
        anew=linker.result(keeping, kept) if keeping else None,
        totals=linker.totals(),
        held=2 if linker.settling.pair else 1,
        lent=(word, word) if pair or word == "f32" else ("f64",),
    )


__all__ = ["LinkedProgram", "LinkedRun", "Total", "link_rows"]
