"""Kernels over rows, written as Python source that ``@cuda.jit`` compiles, around `pieces`.

All arguments are int64. A block has some rows, which go through all runs together, since they wait for one another.
Source is made of lines; what is said of threads holds of those of one row: ``p`` is a thread's place, ``role`` the lane
for which it adds up (roles move on from block to block, so that all schedulers of a multiprocessor get their share).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastact.cuda import package
from fastact.cuda.kernels import ROUNDS_TO_BFLOAT
from fastact.cuda.rows.layout import STRETCH, WIDTH, WORD, RowLayout, Sizes, linked
from fastact.cuda.rows.pieces import Piece
from fastact.cuda.rows.totals import Pieces
from fastact.link.linker import STORAGE
from fastact.link.rows import LinkedProgram, LinkedRun


@dataclass(frozen=True)
class RowKernel:
    """A program in a dtype and a tier for rows of a layout."""

    name: str
    dtype: str
    tier: str
    layout: RowLayout

    @property
    def program(self) -> LinkedProgram:
        return linked(self.name, self.dtype, self.tier)

    @property
    def storage(self) -> str:
        return STORAGE[self.dtype]

    @property
    def label(self) -> str:
        """A name that no two different kernels share."""
        digest = self.program.digest()
        return "_".join(("fastact", self.name, self.tier, self.dtype, self.layout.label, digest))

    @property
    def operands(self) -> list[tuple[str, str]]:
        """What is read and then written, each with its name and whether it has elements, columns or rows."""
        program, linked = self.program.program, self.program
        found = [("element", f"a{k}") for k in range(len(program.elements))]
        found += [("column", f"c{k}") for k in range(len(program.columns))]
        found += [("row", f"r{k}") for k in range(len(program.rows))]
        found += [("element", f"out{k}") for k in range(len(linked.result.outputs) if linked.result else 0)]
        return found + [("row", f"total{k}") for k in range(len(linked.totals.outputs) if linked.totals else 0)]

    @property
    def parameters(self) -> list[str]:
        found = [name for _, name in self.operands]
        found += [f"number{k}" for k in range(len(self.program.program.numbers))]
        found += ["length", "rows", "vectors", "stage", "width", "pitch"]
        for kind, name in self.operands:
            found += [f"{name}_step"] if kind != "row" else []
            found += [f"{name}_{axis}" for axis in range(self.layout.axes)] if kind != "column" else []
        return found + [f"{what}{axis}" for axis in range(1, self.layout.axes) for what in ("size", "magic", "shift")]

    def source(self) -> str:
        return self._text(_Source(self))

    def _text(self, body: _Source) -> str:
        header = f"def {self.label}({', '.join(self.parameters)}):"
        return "\n".join([header, *("    " + line for line in body.lines())]) + "\n"

    def python(self, capability: tuple[int, int]) -> Any:
        """The kernel as a Python function that is yet to be compiled for a device of some compute capability."""
        bfloat = capability >= ROUNDS_TO_BFLOAT
        body = _Source(self)
        text = self._text(body)
        namespace: dict[str, Any] = {"cuda": package.cuda(), "int32": np.int32, "__name__": __name__}
        if package.simulated():
            from fastact.cuda.rows.simulated import made

            namespace["ROOM"] = None
            text = text.replace("room = ROOM()", "room = cuda.shared.array(0, BYTE)")
            namespace["BYTE"] = np.dtype(np.uint8)
        else:
            from fastact.cuda.rows.instructions import made, room  # type: ignore[assignment]

            namespace["ROOM"] = room()
        namespace["opaque"] = package.primitives().opaque()
        namespace.update({name: made(piece, bfloat) for name, piece in body.pieces.items()})
        exec(compile(text, f"<{self.label}>", "exec"), namespace)
        return namespace[self.label]

    def ptx(self, capability: tuple[int, int]) -> str:
        """The PTX for a compute capability; that needs no device."""
        from numba.core import types

        arguments = (types.int64,) * len(self.parameters)
        text, _ = package.cuda().compile_ptx(self.python(capability), arguments, cc=capability)
        return str(text)


class _Source:
    """The lines of a kernel, and the pieces that they call."""

    def __init__(self, kernel: RowKernel) -> None:
        self.kernel, self.layout, self.program = kernel, kernel.layout, kernel.program
        self.make = Pieces(self.program, self.layout)
        self.sizes: Sizes = self.make.sizes
        self.pieces: dict[str, Piece] = {}
        self.long, self.short = self.layout.variant == "long", self.layout.variant == "short"
        self.elements = [f"a{k}" for k in range(len(self.program.program.elements))]
        self.columns = [f"c{k}" for k in range(len(self.program.program.columns))]
        self.keeping = next((run for run in self.program.runs if run.kept), None)
        self.width = "width" if self.short else str(WIDTH)

    def use(self, piece: Piece) -> str:
        self.pieces[piece.name] = piece
        return piece.name

    def lines(self) -> Iterator[str]:
        yield from self._places()
        if not self.long:
            yield from self._fetched("first")
        if self.sizes.scalars[0]:
            rows = [f"r{k} + r{k}_at" for k in range(len(self.program.rows))]
            numbers = [f"number{k}" for k in range(len(self.program.program.numbers))]
            yield "if role == 0:"
            yield f"    {self.use(self.make.begin())}({', '.join(['room', 'base', *rows, *numbers])})"
            yield "cuda.syncthreads()"
        for place, run in enumerate(self.program.runs):
            if not run.repeated:
                yield from self._run(place, run)
                continue
            again = f"again = 1 if {self.use(self.make.again(place))}(room, base) != 0.0 else 0"
            yield again if run.spared else "again = 1"
            yield "more = cuda.syncthreads_or(int32(again))"
            yield "while more:"
            yield from ("    " + line for line in self._run(place, run))
            yield "    " + again
            yield "    more = cuda.syncthreads_or(int32(again))"
        if self.program.result is not None:
            yield from self._written()
        if self.program.totals is not None:
            sinks = [f"total{k} + total{k}_at" for k in range(len(self.program.totals.outputs))]
            yield "if role == 0 and live:"
            yield f"    {self.use(self.make.totals())}({', '.join(['room', 'base', *sinks])})"

    # -- places -------------------------------------------------------------------------------------------------------
    def _places(self) -> Iterator[str]:
        along, beside = ("y", "x") if self.layout.adjacent else ("x", "y")
        yield f"p = cuda.threadIdx.{along}"
        yield f"threads = cuda.blockDim.{along}"
        yield f"front = cuda.blockIdx.x * cuda.blockDim.{beside}"
        yield "if front >= rows:"
        yield "    return"
        yield f"row = front + cuda.threadIdx.{beside}"
        yield "live = row < rows"
        yield "row = row if live else rows - 1"
        yield "limit = length if live else 0"
        yield "room = ROOM()"
        yield f"base = cuda.threadIdx.{beside} * pitch"
        yield f"role = p - ((cuda.blockIdx.x * {WIDTH}) & (threads - 1))"
        yield "role = role if role >= 0 else role + threads"
        if self.short:
            yield f"first = p * {self.sizes.pack}"
        else:
            shift = self.sizes.across.bit_length() - 1
            yield f"v = p >> {shift}"
            yield f"c = p & {self.sizes.across - 1}"
            yield f"first = v * {self.sizes.vector} + c * {self.sizes.pack}"
            yield f"reach = threads >> {shift}"
        yield f"terms = base + {self.sizes.terms} + ((threads * {self.sizes.brought} + 1) & -2) * {WORD}"
        yield f"own = base + {self.sizes.terms}"
        axes = range(self.layout.axes)
        yield "rest = row"
        for axis in reversed(axes[1:]):
            yield f"quotient = (rest * magic{axis}) >> shift{axis}"
            yield f"i{axis} = rest - quotient * size{axis}"
            yield "rest = quotient"
        yield "i0 = rest"
        for kind, name in self.kernel.operands:
            if kind != "column":
                yield f"{name}_at = " + " + ".join(f"i{axis} * {name}_{axis}" for axis in axes)

    def _fetched(self, first: str, columns: bool = False) -> Iterator[str]:
        """A thread's elements, or its columns."""
        count = len(self.elements)
        names, stored = self.elements, self.program.inputs[:count]
        if columns:
            names, stored = self.columns, self.program.inputs[count:]
        for name, storage in zip(names, stored, strict=True):
            address = name if name in self.columns else f"{name} + {name}_at"
            yield f"x_{name} = {self.use(self.make.fetch(storage))}({address}, {first}, length, {name}_step)"

    # -- a run --------------------------------------------------------------------------------------------------------
    def _run(self, place: int, run: LinkedRun) -> Iterator[str]:
        summed, reduced = self.sizes.summed(run), self.sizes.reduced(run)
        yield f"lent = {self.use(self.make.lend(place))}(room, base)" if self.make.lent(place) else "lent = ()"
        if not self.long:
            yield from self._found(place, run, "first")
            if reduced:
                yield f"brings = found{place}[0]"
            yield from self._summed(place, run, "0", "reach" if not self.short else "1")
        else:
            if reduced:
                yield f"brings = {self.use(self.make.start(place, True))}()"
            yield "chunk = 0"
            yield "while chunk < vectors:"
            yield f"    here = first + chunk * {self.sizes.vector}"
            yield from ("    " + line for line in self._fetched("here"))
            yield from ("    " + line for line in self._found(place, run, "here"))
            if reduced:
                yield f"    brings = {self.use(self.make.merge(place))}(brings, found{place}[0])"
            yield "    count = min(reach, vectors - chunk)"
            yield from ("    " + line for line in self._summed(place, run, "chunk", "count"))
            yield "    chunk = opaque(chunk + reach)"
        if reduced:
            yield f"{self.use(self.make.bring(place))}(room, own, p, threads, brings)"
            yield "cuda.syncthreads()"
            yield "j = role"
            yield f"while j < {self.width}:"
            yield f"    merged = {self.use(self.make.start(place, True))}()"
            yield "    q = j"
            yield "    while q < threads:"
            yield f"        others = {self.use(self.make.brought(place))}(room, own, q, threads)"
            yield f"        merged = {self.use(self.make.merge(place))}(merged, others)"
            yield f"        q = opaque(q + {self.width})"
            yield f"    {self.use(self.make.keep(place, True))}(room, base, j, merged)"
            yield "    j = opaque(j + threads)"
            yield "cuda.syncthreads()"
        yield from self._joined(place)
        yield "if role == 0:"
        yield f"    {self.use(self.make.settle(place))}(room, base, length)"
        yield "cuda.syncthreads()"
        if not summed and not reduced:
            raise NotImplementedError("a run without totals")

    def _found(self, place: int, run: LinkedRun, first: str) -> Iterator[str]:
        """What a thread's elements bring."""
        if not self.sizes.raw(run):
            given = [f"x_{name}" for name in self.elements]
            piece = self.use(self.make.run(place))
            yield f"found{place} = {piece}({', '.join([*given, 'lent', first, 'length'])})"

    def _summed(self, place: int, run: LinkedRun, done: str, count: str) -> Iterator[str]:
        """Sums of as many vectors as the threads have, some at a time."""
        summed = self.sizes.summed(run)
        if not summed:
            return
        raw, make = self.sizes.raw(run), self.make
        if raw:
            handed = ", ".join(f"x_{name}" for name in self.elements)
        else:
            handed = f"found{place}[{1 if self.sizes.reduced(run) else 0}]"
        lanes = self.sizes.quarter if any(self.sizes.narrow(t) for t in summed) else self.sizes.vector
        width = f"threads * {self.sizes.pack}" if self.short else str(lanes)
        further = ""
        if raw:
            columns = "".join(f", {c}, {c}_step" for c in self.columns)
            further = f", ({done} + at + u) * {self.sizes.vector} + j, length, lent{columns}"
        steps = 1 if self.short else 4
        folded = any(self.sizes.folded(t) for t in summed)
        yield "at = 0"
        yield f"while at < {count}:"
        yield f"    slot = {'0' if self.short else 'v - at'}"
        column = "p" if self.short else "c"
        yield "    if slot >= 0 and slot < stage:"
        yield f"        {self.use(make.hand_over(place))}(room, terms, slot, {column}, stage, {handed})"
        yield "    cuda.syncthreads()"
        yield f"    end = min(stage, {count} - at)"
        yield "    j = role"
        yield f"    while j < {self.width}:"
        yield f"        state = {self.use(make.start(place, False))}()"
        yield f"        if {done} + at > 0:"
        yield f"            state = {self.use(make.kept(place))}(room, base, j)"
        yield f"        if j < {width}:"
        yield "            u = 0"
        yield "            while u < end:"
        yield f"                state = {self.use(make.chain(place, steps))}(room, terms, u, j, stage, state{further})"
        yield f"                u = opaque(u + {steps})"
        if folded:
            stretch = STRETCH // self.sizes.vector
            yield f"        last = {done} + at + end >= vectors"
            yield f"        if last or (({done} + at + end) & {stretch - 1}) == 0:"
            yield f"            state = {self.use(make.carry(place))}(state)"
            yield "        if last:"
            yield f"            state = {self.use(make.close(place))}(state)"
        yield f"        {self.use(make.keep(place, False))}(room, base, j, state)"
        yield "        j = opaque(j + threads)"
        yield "    at = opaque(at + stage)"
        yield "    cuda.syncthreads()"

    def _joined(self, place: int) -> Iterator[str]:
        """Lanes are added four at a time, until four are left."""
        join = self.use(self.make.join(place))
        yield f"h = {self.width} >> 2"
        yield "while h >= 4:"
        yield "    j = role"
        yield "    while j < h:"
        yield f"        {join}(room, base, j, h)"
        yield "        j = opaque(j + threads)"
        yield "    cuda.syncthreads()"
        yield "    h = h >> 2"

    # -- results ------------------------------------------------------------------------------------------------------
    def _written(self) -> Iterator[str]:
        assert self.program.result is not None
        last = len(self.program.runs)
        yield f"lent = {self.use(self.make.lend(last))}(room, base)" if self.make.lent(last) else "lent = ()"
        if not self.long:
            yield from self._fetched("first", columns=True)
            yield from self._results("first")
            return
        yield "chunk = 0"
        yield "while chunk < vectors:"
        yield f"    here = first + chunk * {self.sizes.vector}"
        yield from ("    " + line for line in self._fetched("here"))
        yield from ("    " + line for line in self._fetched("here", columns=True))
        yield from ("    " + line for line in self._results("here"))
        yield "    chunk = opaque(chunk + reach)"

    def _results(self, first: str) -> Iterator[str]:
        assert self.program.result is not None
        given = [f"x_{name}" for name in (*self.elements, *self.columns)]
        if self.keeping is not None and not self.long:
            place = next(k for k, run in enumerate(self.program.runs) if run is self.keeping)
            parts = bool(self.sizes.reduced(self.keeping)) + bool(self.sizes.summed(self.keeping))
            given.append(f"found{place}[{parts}]")
        yield f"results = {self.use(self.make.result(self.keeping))}({', '.join([*given, 'lent'])})"
        for k in range(len(self.program.result.outputs)):
            yield f"{self.use(self.make.put(k))}(out{k} + out{k}_at, {first}, limit, out{k}_step, results)"


__all__ = ["RowKernel"]
