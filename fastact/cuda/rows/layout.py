"""How the threads of a block share rows among themselves, and what they put into the block's own memory.

A row is made of vectors of 64 elements (32 of float64), the lanes in which the CPU adds it up. A thread has four packs
of 16 bytes, a quarter of a vector apart, so that the four elements of float32 that the CPU adds as such lie in one
thread. Sums go lane by lane through shared memory: threads put terms there, and a thread for each lane adds them in the
order of the vectors. Hence the bits are those of the CPU.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from fastact.cpu.rows.facts import lanes
from fastact.cpu.rows.loops import STRETCH
from fastact.cuda.package import LANES, PACK
from fastact.kernels.programs import PROGRAMS
from fastact.link.graph import BITS
from fastact.link.linker import STORAGE
from fastact.link.rows import LinkedProgram, LinkedRun, Total, link_rows

PIECES = 4
"""Packs of a thread."""
MOST = 512
"""Threads of a block; 128 registers are left for each then."""
USUAL = 256
"""Threads of a block of several rows, and of those that need more registers."""
ROOM = 40960
"""Bytes of a block's memory, at most."""
WIDTH = 64
"""Lanes in which totals are held, of which some may be empty."""
WORD = 8
"""Bytes of a word there."""


@functools.cache
def linked(name: str, dtype: str, tier: str) -> LinkedProgram:
    return link_rows(PROGRAMS[name], dtype, tier)


@dataclass(frozen=True)
class RowLayout:
    """``variant``: "short" rows fit one vector, "resident" ones the threads of a block, "long" ones are read once for
    each run. ``packed``: elements are read and written 16 bytes at once. ``adjacent``: neighbours in a warp have
    elements of neighbouring rows. ``axes``: along which there are rows."""

    variant: str = "resident"
    packed: bool = True
    adjacent: bool = False
    axes: int = 1

    @property
    def label(self) -> str:
        return f"{self.variant}{self.axes}{'p' if self.packed else 'e'}{'a' if self.adjacent else ''}"


@dataclass(frozen=True)
class Sizes:
    """What follows from a program, a dtype and a variant."""

    program: LinkedProgram
    variant: str

    @property
    def pack(self) -> int:
        """Elements of 16 bytes."""
        return LANES[STORAGE[self.program.dtype]]

    @property
    def vector(self) -> int:
        return lanes(self.program.dtype)

    @property
    def most(self) -> int:
        """Threads of a block, at most."""
        terms = [t for run in self.program.runs if not self.raw(run) for t in run.totals if t.kind == "sum"]
        wide = self.program.lent == ("f64",) or not all(t.narrow for t in terms)
        return USUAL if self.program.held == 2 or (wide and self.pack == LANES["i16"]) else MOST

    @property
    def pieces(self) -> int:
        return 1 if self.variant == "short" else PIECES

    @property
    def quarter(self) -> int:
        """The distance of a thread's packs, in elements."""
        return self.vector // PIECES

    @property
    def across(self) -> int:
        """Threads to a vector."""
        return self.vector // (self.pieces * self.pack)

    # -- totals -------------------------------------------------------------------------------------------------------
    def raw(self, run: LinkedRun) -> bool:
        """Whether threads hand over elements rather than terms: of several sums, those take less room."""
        return sum(total.kind == "sum" for total in run.totals) > 1

    def narrow(self, total: Total) -> bool:
        """Whether four elements are added as float32 first."""
        return total.narrow and self.variant != "short"

    def folded(self, total: Total) -> bool:
        return total.folded and self.variant != "short"

    def summed(self, run: LinkedRun) -> list[Total]:
        """The totals that are added up in order."""
        return [t for t in run.totals if t.kind == "sum" or self.raw(run)]

    def reduced(self, run: LinkedRun) -> list[Total]:
        """Those of which the order is of no account: each thread brings one of its own elements."""
        return [t for t in run.totals if t.kind != "sum" and not self.raw(run)]

    def state(self, total: Total) -> tuple[str, ...]:
        """The words in which a total is held while it is added up."""
        return (*total.words, "f64", "f64") if self.folded(total) else total.words

    def place(self, run: LinkedRun, total: Total) -> int:
        """The word, from the beginning of the totals, where those of a total begin."""
        before = run.totals[: [t is total for t in run.totals].index(True)]
        return sum(len(self.state(t)) for t in before)

    # -- memory -------------------------------------------------------------------------------------------------------
    @functools.cached_property
    def scalars(self) -> list[int]:
        """Numbers of the row before each run, and after the last."""
        words = self.program.held + len(self.program.lent)
        found = [len(self.program.begin.outputs) // words]
        for run in self.program.runs:
            found.append(found[-1] - run.replaces + len(run.settle.outputs) // words)
        return found

    @property
    def lent(self) -> int:
        """Where lent words lie; held ones come first."""
        return max(self.scalars) * self.program.held * WORD

    @property
    def totals(self) -> int:
        """Where totals lie, `WIDTH` of each word."""
        return -(-(self.lent + max(self.scalars) * len(self.program.lent) * WORD) // PACK) * PACK

    @property
    def terms(self) -> int:
        """Where terms begin, after the totals: those of single threads, and then those of elements."""
        most = max((sum(len(self.state(t)) for t in run.totals) for run in self.program.runs), default=0)
        return self.totals + most * WIDTH * WORD

    @property
    def brought(self) -> int:
        """Words that a thread brings of its own."""
        return max((len(self.reduced(run)) for run in self.program.runs), default=0)

    def term(self, run: LinkedRun) -> int:
        """Bytes that a vector's terms take."""
        if self.raw(run):
            stored = self.program.inputs[: len(self.program.program.elements)]
            return self.vector * sum(BITS[t] // 8 for t in stored)
        return sum(
            self.vector // 4 * 4 if self.narrow(t) else self.vector * WORD * len(t.words) for t in self.summed(run)
        )

    @property
    def most_terms(self) -> int:
        return max((self.term(run) for run in self.program.runs), default=0)

    @property
    def folds(self) -> bool:
        return any(self.folded(t) for run in self.program.runs for t in run.totals)

    def pitch(self, threads: int, stage: int) -> int:
        """Bytes of a row."""
        return -(-(self.terms + self.apart(threads) + stage * self.most_terms) // PACK) * PACK

    def apart(self, threads: int) -> int:
        """Bytes for what threads bring of their own."""
        return (self.brought * threads + 1 & -2) * WORD


@dataclass(frozen=True)
class Geometry:
    """How many threads a row has, rows a block, vectors (with some empty ones) a row, vectors a stage of adding up, and
    the lanes in which totals are held."""

    variant: str
    threads: int
    rows: int
    vectors: int
    stage: int
    width: int
    pitch: int

    @property
    def memory(self) -> int:
        return self.rows * self.pitch


@functools.lru_cache(maxsize=4096)
def geometry(name: str, dtype: str, tier: str, length: int, rows: int, adjacent: bool, usual: int = USUAL) -> Geometry:
    """For rows of a length; ``usual``: threads of a block of several."""
    program = linked(name, dtype, tier)
    beside = 128 // BITS[STORAGE[dtype]] * 2 if adjacent else 1
    if length <= lanes(dtype):
        sizes = Sizes(program, "short")
        threads = 1 << max(0, -(-length // sizes.pack) - 1).bit_length()
        width = 4
        while width < threads * sizes.pack:
            width *= 4
        together, pitch = min(max(1, usual // threads), rows), sizes.pitch(threads, 1)
        together = max(1, min(together, ROOM // pitch))
        return Geometry("short", threads, together, 1, 1, width, pitch)
    sizes = Sizes(program, "resident")
    vectors = -(-length // (4 * sizes.vector)) * 4
    threads = vectors * sizes.across
    if threads > sizes.most // beside:
        sizes, threads = Sizes(program, "long"), sizes.most // beside
    together = max(1, min(rows, max(beside, usual // threads)))
    while True:
        stage = min(STRETCH // sizes.vector, threads // sizes.across) if sizes.folds else threads // sizes.across
        stage = 1 << (stage.bit_length() - 1)
        while stage > 4 and together * sizes.pitch(threads, stage) > ROOM:
            stage //= 2
        pitch = sizes.pitch(threads, stage)
        if together * pitch <= ROOM or together == 1:
            return Geometry(sizes.variant, threads, together, vectors, stage, WIDTH, pitch)
        together //= 2
