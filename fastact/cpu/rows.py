"""The compiled programs over rows, and calls of them on one thread or several."""

from __future__ import annotations

import ctypes
import functools
import math
import struct
from bisect import bisect_left
from collections.abc import Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import numpy as np

from fastact.cpu import pool, shortcuts, threads
from fastact.cpu.job import NEXT, PIECES
from fastact.cpu.lock import alone
from fastact.cpu.places import address
from fastact.cpu.ufunc import LOOP

if TYPE_CHECKING:
    from fastact.cpu.rowfacts import Operand
    from fastact.link.rows import LinkedProgram

Array = np.ndarray[Any, Any]
ACROSS_SHORT, ACROSS_LONG = -1, -2
"""Instead of a length: rows that lie side by side."""
STRIP = 64
"""Rows that lie side by side and are computed together."""
MOST_PLAIN = 100
"""Sizes of arrays that a kernel remembers how to call with."""
KEPT = 1 << 16
"""Bytes of what is kept of a row, at most; what would take more is computed once more."""


class Variant:
    """The loop for rows of some lengths."""

    def __init__(self, address: int) -> None:
        self.loop, self.function = threads._Loop(address), LOOP(address)


class Kernel:
    """A program in a dtype and a tier, compiled for the lengths of rows that it has met."""

    def __init__(self, linked: LinkedProgram, asked: tuple[str, ...] = ()) -> None:
        """``asked``: words that stand for the program in the cache."""
        from fastact.cpu.rowfacts import beside, lanes, operands, rows_in_vector

        self.asked = asked
        self.linked, self.operands = linked, operands(linked)
        self.lanes, self.side_by_side = lanes(linked.dtype), rows_in_vector(linked)
        self.widths = sorted(beside(linked))
        self.kept = sum(len(run.kept) for run in linked.runs)
        self.variants: dict[int, Variant] = {}
        elements, count = sum(o.kind == "element" for o in self.operands), len(self.operands) + 1
        self.together = struct.Struct(f"={6 + elements}q{len(linked.program.numbers)}d{2 * count + 1}q")
        self.memory = ctypes.c_char * self.together.size
        self.numbers = len(linked.program.numbers)
        self.plain: dict[tuple[int, int], Plain] = {}
        self.sizes = [o.size for o in self.operands if o.kind == "element"]
        self.kinds = [(o.kind, o.size) for o in self.operands]

    def variant(self, length: int) -> Variant:
        """The loop for rows of that length, compiled or read from the cache."""
        place = bisect_left(self.widths, length)
        return self._variant(self.widths[place] if place < len(self.widths) else 0)

    def across(self, length: int) -> Variant:
        """The same for rows that lie side by side."""
        return self._variant(ACROSS_SHORT if length <= self.lanes else ACROSS_LONG)

    def _variant(self, width: int) -> Variant:
        found = self.variants.get(width)
        if found is None:
            with alone():
                found = self.variants.get(width)
                if found is None:
                    found = self.variants[width] = Variant(self._address(width))
        return found

    def _address(self, width: int) -> int:
        words = (*self.asked, str(width)) if self.asked else ()
        found = shortcuts.address(*words) if words else 0
        if not found:
            from fastact.cpu.compile import row_address

            found = row_address(self.linked, width, asked=words)
        return found


@functools.cache
def kernel(name: str, dtype: str, tier: str) -> Kernel:
    """The kernel of a program."""
    from fastact.kernels.programs import OWN, PROGRAMS
    from fastact.link.rows import link_rows

    with alone():
        program = PROGRAMS[name]
        return Kernel(link_rows(program, dtype, tier), ("rows", name, dtype, tier) if program is OWN.get(name) else ())


@functools.cache
def _memory() -> tuple[int, int]:
    """Addresses of the functions that allocate memory and give it back; they do not need Python's lock."""
    found = (
        ctypes.cast(f, ctypes.c_void_p).value
        for f in (ctypes.pythonapi.PyMem_RawMalloc, ctypes.pythonapi.PyMem_RawFree)
    )
    allocate, free = (int(address or 0) for address in found)
    return allocate, free


def apply(name: str, tier: str, dtype: str, arrays: Sequence[Array], numbers: Sequence[float] = ()) -> None:
    """Run a program. ``arrays`` are what it reads and then what it writes: those with elements have the axis of the
    rows last, and all others in common with those that have a number per row; columns have that axis alone."""
    call(kernel(name, dtype, tier), arrays, numbers)


def call(found: Kernel, arrays: Sequence[Array], numbers: Sequence[float] = ()) -> None:
    """Run a kernel."""
    if _alone(found, arrays[0].size, arrays[0].shape[-1]):
        for a in arrays:
            if not a.flags.c_contiguous:
                break
        else:
            in_order(found, arrays, numbers)
            return
    operands = found.operands
    length = next(a.shape[-1] for a, o in zip(arrays, operands, strict=True) if o.kind != "row")
    outer = next(
        (a.shape[:-1] if o.kind == "element" else a.shape)
        for a, o in zip(arrays, operands, strict=True)
        if o.kind != "column"
    )
    rows = math.prod(outer)
    if not rows:
        return
    strides: list[tuple[int, ...]] = []
    along: list[int] = []
    for a, o in zip(arrays, operands, strict=True):
        if o.kind == "element":
            along.append(a.strides[-1] if length > 1 else o.size)
            strides.append(a.strides[:-1])
        else:
            strides.append(a.strides if o.kind == "row" else (0,) * len(outer))
    values = [length, *_room(found, length), *_memory(), 0, *along]
    facts = (ctypes.c_int64 * (len(values) + len(numbers)))(*values)
    if numbers:
        ctypes.memmove(
            ctypes.addressof(facts) + 8 * len(values), (ctypes.c_double * len(numbers))(*numbers), 8 * len(numbers)
        )
    shape, strides = _merged(outer, strides)
    addresses = [address(a) for a in arrays]
    addresses.append(ctypes.addressof(facts))
    strides = [*(s or (0,) for s in strides), (0,) * max(len(shape), 1)]
    shape, owners = shape or [1], (arrays, facts)
    whole = 0
    if length > 1 and _side_by_side(operands, strides):
        whole = shape[-1] - shape[-1] % found.side_by_side
    if whole:
        _several(found.across(length), [*shape[:-1], whole], addresses, strides, length, owners, STRIP)
        shape[-1] -= whole
        addresses = [a + whole * s[-1] for a, s in zip(addresses, strides, strict=True)]
    if shape[-1]:
        _several(found.variant(length), shape, addresses, strides, length, owners)
    if facts[5]:
        raise MemoryError(f"no memory for blocks of rows of {length} elements")


def _alone(found: Kernel, size: int, length: int) -> bool:
    """Whether a call is left to its own thread: it is short, or known to take less than help is worth."""
    if size < threads.SMALLEST or threads.get_num_threads() == 1:
        return True
    return found.variant(length).loop.cost * size < threads.WORTH


def _room(found: Kernel, length: int) -> tuple[int, int]:
    """Whether what is kept of a row is kept, and the bytes it takes."""
    room = found.kept * 8 * ((length + 63) & -64)
    return (1, room) if 0 < room <= KEPT else (0, 0)


class Plain:
    """Calls of a kernel with arrays in C's order: all but their addresses and numbers is the same for each."""

    def __init__(self, found: Kernel, size: int, length: int) -> None:
        self.function, self.memory = found.variant(length).function, found.memory
        keep, self.room = _room(found, length)
        self.place = 8 * (6 + len(found.sizes) + found.numbers)
        steps = [length * n if kind == "element" else n if kind == "row" else 0 for kind, n in found.kinds]
        count = len(steps) + 1
        self.steps, self.count = self.place + 8 * count, self.place + 16 * count
        content = bytearray(found.together.size)
        found.together.pack_into(
            content, 0, length, keep, self.room, *_memory(), 0, *found.sizes, *[0.0] * found.numbers,
            *[0] * count, *steps, 0, size // length,
        )  # fmt: skip
        self.content = bytes(content)
        self.given = struct.Struct(f"={found.numbers}d{count}q")


def in_order(found: Kernel, arrays: Sequence[Array], numbers: Sequence[float] = ()) -> None:
    """Run a kernel on arrays in C's order, on this thread: their rows lie one after the other."""
    size, length = arrays[0].size, arrays[0].shape[-1]
    plan = found.plain.get((size, length))
    if plan is None:
        if not size:
            return
        if len(found.plain) >= MOST_PLAIN:
            found.plain.clear()
        plan = found.plain[size, length] = Plain(found, size, length)
    memory = plan.memory.from_buffer_copy(plan.content)
    facts = ctypes.addressof(memory)
    plan.given.pack_into(memory, plan.place - 8 * len(numbers), *numbers, *map(address, arrays), facts)
    plan.function(facts + plan.place, facts + plan.count, facts + plan.steps, None)
    if plan.room and found.together.unpack_from(memory)[5]:
        raise MemoryError(f"no memory for blocks of rows of {length} elements")


def _merged(outer: tuple[int, ...], strides: list[tuple[int, ...]]) -> tuple[list[int], list[tuple[int, ...]]]:
    """Axes of the rows, those with short ways last, and joined where one continues the other."""
    order = sorted(range(len(outer)), key=lambda axis: tuple(-abs(s[axis]) for s in strides))
    shape: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for axis in order:
        extent = outer[axis]
        if extent == 1:
            continue
        if shape and all(own[-1] == s[axis] * extent for own, s in zip(steps, strides, strict=True)):
            shape[-1] *= extent
            for own, s in zip(steps, strides, strict=True):
                own[-1] = s[axis]
        else:
            shape.append(extent)
            for own, s in zip(steps, strides, strict=True):
                own.append(s[axis])
    return shape, [tuple(own) for own in steps]


def _side_by_side(operands: Sequence[Operand], strides: list[tuple[int, ...]]) -> bool:
    """Whether neighbours in memory are elements of different rows."""
    return all(s[-1] == o.size for o, s in zip(operands, strides[:-1], strict=True) if o.kind == "element")


def _several(
    variant: Variant,
    shape: list[int],
    addresses: list[int],
    strides: list[tuple[int, ...]],
    length: int,
    owners: Any,
    together: int = 1,
) -> None:
    """Rows along several axes, on this thread alone if they are few; ``together``: as pieces of so many rows."""
    if len(shape) > 1 or (length * shape[0] >= threads.SMALLEST and threads.get_num_threads() > 1):
        _run(variant.loop, shape, addresses, strides, length, owners, together)
        return
    places = (ctypes.c_int64 * len(addresses))(*addresses)
    distances = (ctypes.c_int64 * len(addresses))(*(s[0] for s in strides))
    count = ctypes.c_int64(shape[0])
    variant.function(ctypes.addressof(places), ctypes.addressof(count), ctypes.addressof(distances), None)


def _run(
    loop: threads._Loop,
    shape: list[int],
    addresses: list[int],
    strides: list[tuple[int, ...]],
    length: int,
    owners: Any,
    together: int,
) -> None:
    """The call cut into pieces of some rows each."""
    *outer, inner = shape
    rows = math.prod(shape)
    size = rows * length
    most = threads.LONGEST if loop.cost == math.inf else max(threads.SHORTEST, int(threads.PIECE / loop.cost))
    part = max(1, most // max(length, 1))
    part = max(together, part - part % together)
    if part > 16:
        part &= -16
    part = min(part, inner)
    parts = -(-inner // part)
    pieces, grain = parts * math.prod(outer), max(1, threads.SHORTEST // max(part * length, 1))
    head = [0] * PIECES + [pieces, grain, parts, part, inner, loop.address, len(addresses), len(outer)]
    axes = range(len(outer), -1, -1)
    tables = [*outer[::-1], *addresses, *(step[axis] for axis in axes for step in strides)]
    driver = threads._driver()
    job = pool.Job(driver, head + tables, owners)
    started, before = perf_counter_ns(), 0
    if loop.cost == math.inf and pieces > 1:
        job.buffer[PIECES] = 1
        before = job.work()
        loop.learn((perf_counter_ns() - started) / (size * before / pieces))
        job.buffer[NEXT], job.buffer[PIECES] = before, pieces
    helping, estimate, most_threads = pool.current, loop.cost * size, threads.get_num_threads()
    worth = threads.WORTH <= estimate < math.inf and helping.admits()
    helpers = min(most_threads, int(estimate / threads.SHARE), pieces) - 1 if worth else 0
    if helpers > 0:
        helping.open(job, helpers, most_threads - 1)
    try:
        taken = before + job.work()
        elapsed = perf_counter_ns() - started
    finally:
        helping.close(job)
    if taken < pieces:
        job.wait()
    if helpers > 0:
        helping.judge(perf_counter_ns() - started < threads.GAIN * loop.cost * size)
    if taken * size >= threads.SMALLEST * pieces:
        loop.learn(elapsed / (size * taken / pieces))
