"""The compiled programs over rows, and calls of them on one thread or several."""

from __future__ import annotations

import ctypes
import functools
import math
import struct
import sys
from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fastact.cpu import pool, shortcuts, threads
from fastact.cpu.lock import alone
from fastact.cpu.lowering.job import head
from fastact.cpu.places import addresses

if TYPE_CHECKING:
    from fastact.cpu.rows.facts import Operand
    from fastact.link.rows import LinkedProgram

Array = np.ndarray[Any, Any]
Noted = TypeVar("Noted")
ACROSS_SHORT, ACROSS_LONG = -1, -2
"""Instead of a length: rows that lie side by side."""
STRIP = 128
"""Rows that lie side by side and are computed together."""
MOST_PLANS = 100
"""Layouts of arrays that a kernel remembers how to call with."""
KEPT = 1 << 16
"""Bytes of what is kept of a row, at most; what would take more is computed once more."""
_FUNCTION = ctypes.CFUNCTYPE(None)
"""Of arguments that are pointers of ctypes already, which need no conversion."""


class Variant:
    """The loop for rows of some lengths."""

    def __init__(self, address: int) -> None:
        self.loop, self.function = threads._Loop(address), _FUNCTION(address)


class Kernel:
    """A program in a dtype and a tier, compiled for the lengths of rows that it has met."""

    def __init__(self, linked: LinkedProgram, asked: tuple[str, ...] = ()) -> None:
        """``asked``: words that stand for the program in the cache."""
        from fastact.cpu.rows.facts import NEAR, beside, bytes_read, lanes, operands, rows_in_vector, together

        self.asked = asked
        self.linked, self.operands = linked, operands(linked)
        self.lanes, self.side_by_side = lanes(linked.dtype), rows_in_vector(linked)
        self.widths = sorted(beside(linked))
        self.most, self.near = together(linked), NEAR // bytes_read(linked)
        self.kept = sum(len(run.kept) for run in linked.runs)
        self.variants: dict[int, Variant] = {}
        elements, count = sum(o.kind == "element" for o in self.operands), len(self.operands) + 1
        self.numbers = len(linked.program.numbers)
        self.together = struct.Struct(f"={6 + elements}q{self.numbers}d{2 * count + 1}q")
        self.given = struct.Struct(f"={self.numbers}d{count - 1}q")
        self.plain: dict[tuple[int, int], Plan] = {}
        self.turned: dict[tuple[int, ...], Plan] = {}
        self.plans: dict[tuple[Any, ...], Plan] = {}

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
    for a in arrays:
        if not a.flags.c_contiguous:
            break
    else:
        in_order(found, arrays, numbers)
        return
    key = tuple([(a.shape, a.strides) for a in arrays])
    plan = found.plans.get(key)
    if plan is None:
        plan = noted(found.plans, key, Plan(found, arrays))
    plan.run(arrays, numbers)


def in_order(found: Kernel, arrays: Sequence[Array], numbers: Sequence[float] = ()) -> Plan:
    """Run a kernel on arrays in C's order, of which the rows lie one after the other; the plan by which it was done."""
    x = arrays[0]
    key = x.size, x.shape[-1]
    plan = found.plain.get(key)
    if plan is None:
        plan = noted(found.plain, key, Plan(found, arrays))
    plan.run(arrays, numbers)
    return plan


def turned(found: Kernel, arrays: Sequence[Array], numbers: Sequence[float] = ()) -> Plan:
    """The same for matrices in C's order of which the columns are the rows; what belongs to rows or to places of them
    lies in C's order."""
    key = arrays[0].shape
    plan = found.turned.get(key)
    if plan is None:
        plan = noted(found.turned, key, Plan(found, [a.T for a in arrays]))
    plan.run(arrays, numbers)
    return plan


def noted(plans: dict[Any, Noted], key: tuple[Any, ...], plan: Noted) -> Noted:
    """A plan, or several, kept for later calls."""
    if len(plans) >= MOST_PLANS:
        plans.clear()
    plans[key] = plan
    return plan


def _room(found: Kernel, length: int) -> tuple[int, int]:
    """Whether what is kept of a row is kept, and the bytes it takes."""
    room = found.kept * 8 * ((length + 63) & -64)
    several = max(1, min(found.most, found.near // max(length, 1)))
    return (1, room * several) if 0 < room <= KEPT else (0, 0)


Frame = tuple[bytearray, Any, Any, Any, Any]
FAILED = 8 * 5 if sys.byteorder == "little" else 8 * 5 + 7
"""Where the byte of the facts is that is not 0 if there was no memory."""


class Part:
    """Rows at one distance from each other: all of a call but addresses and numbers, for one thread."""

    def __init__(self, plan: Plan, variant: Variant, rows: int, steps: Sequence[int], skipped: int) -> None:
        found = plan.found
        self.function, self.rows, self.strides = variant.function, rows, [*steps, 0]
        self.offsets = [skipped * step for step in steps] if skipped else []
        self.pack = found.given.pack_into
        elements = len(plan.along)
        self.place = 8 * (6 + elements)
        count = len(steps) + 1
        self.places = 8 * (6 + elements + found.numbers)
        self.steps, self.count = self.places + 8 * count, self.places + 16 * count
        content = bytearray(found.together.size)
        found.together.pack_into(
            content, 0, *plan.facts, *plan.along, *[0.0] * found.numbers, *[0] * count, *steps, 0, rows
        )
        self.content = bytes(content)
        self.spare: list[Frame] = []
        """Memory of calls that are over."""

    def _frame(self) -> Frame:
        """The memory of a call, and its arguments."""
        memory = bytearray(self.content)
        start = ctypes.c_char.from_buffer(memory)  # as long as it lives, the memory stays where it is
        facts = ctypes.addressof(start)
        struct.pack_into("=q", memory, self.steps - 8, facts)
        first, second, third = (ctypes.c_void_p(facts + place) for place in (self.places, self.count, self.steps))
        return memory, first, second, third, start

    def run(self, places: list[int], numbers: Sequence[float]) -> bool:
        """Whether there was memory for it."""
        if self.offsets:
            places = [a + offset for a, offset in zip(places, self.offsets, strict=True)]
        try:
            frame = self.spare.pop()
        except IndexError:
            frame = self._frame()
        memory, first, second, third, _ = frame
        self.pack(memory, self.place, *numbers, *places)
        self.function(first, second, third)  # no kernel asks for a fourth
        if memory[FAILED]:
            return False
        self.spare.append(frame)
        return True


class Plan:
    """Calls of a kernel with arrays of some shapes and strides."""

    def __init__(self, found: Kernel, arrays: Sequence[Array]) -> None:
        self.found = found
        described = list(zip(arrays, found.operands, strict=True))
        self.length = length = next(a.shape[-1] for a, o in described if o.kind != "row")
        outer = next((a.shape[:-1] if o.kind == "element" else a.shape) for a, o in described if o.kind != "column")
        self.size = math.prod(outer) * length
        self.small = self.size < threads.SMALLEST
        self.parts: list[Part] = []
        self.only: Part | None = None
        """What one thread does where all rows are at one distance; if that is one part, that."""
        self.several: list[tuple[Variant, list[int], int, int]] = []
        """Loops, the shapes of their rows, the rows that come before them, and how many go together."""
        if not self.size:
            return
        strides: list[tuple[int, ...]] = []
        self.along: list[int] = []
        for a, o in described:
            if o.kind == "element":
                self.along.append(a.strides[-1] if length > 1 else o.size)
                strides.append(a.strides[:-1])
            else:
                strides.append(a.strides if o.kind == "row" else (0,) * len(outer))
        self.facts = [length, *_room(found, length), *_memory(), 0]
        shape, strides = _merged(outer, strides)
        self.strides = [s or (0,) for s in strides]
        shape, whole = shape or [1], 0
        if length > 1 and _side_by_side(found.operands, self.strides):
            whole = shape[-1] - shape[-1] % found.side_by_side
        if whole:
            self.several.append((found.across(length), [*shape[:-1], whole], 0, STRIP))
        if shape[-1] > whole:
            self.several.append((found.variant(length), [*shape[:-1], shape[-1] - whole], whole, 1))
        self.loop = self.several[0][0].loop
        if len(shape) == 1:
            steps = [s[0] for s in self.strides]
            self.parts = [Part(self, variant, rows, steps, skipped) for variant, (rows,), skipped, _ in self.several]
            self.only = self.parts[0] if len(self.parts) == 1 else None

    def run(self, arrays: Sequence[Array], numbers: Sequence[float] = ()) -> None:
        self.at(addresses(arrays), numbers, arrays)

    def alone(self) -> bool:
        """Whether calls are known to be over before threads would pay."""
        return self.small or self.loop.cost * self.size < threads.WORTH

    def at(self, places: list[int], numbers: Sequence[float], owners: Sequence[Array | None]) -> None:
        """The call with arrays that begin there."""
        if self.alone() or threads.get_num_threads() == 1:
            if self.only is not None:
                if not self.only.run(places, numbers):
                    self._no_memory()
                return
            for part in self.parts:
                if not part.run(places, numbers):
                    self._no_memory()
            if self.parts:
                return
        if not self.several:
            return
        facts = (ctypes.c_int64 * (len(self.facts) + len(self.along) + len(numbers)))(*self.facts, *self.along)
        if numbers:
            place = ctypes.addressof(facts) + ctypes.sizeof(facts) - 8 * len(numbers)
            ctypes.memmove(place, (ctypes.c_double * len(numbers))(*numbers), 8 * len(numbers))
        for variant, shape, skipped, together in self.several:
            own = [a + skipped * s[-1] for a, s in zip(places, self.strides, strict=True)]
            own.append(ctypes.addressof(facts))
            strides = [*self.strides, (0,) * len(shape)]
            _run(variant.loop, shape, own, strides, self.length, (owners, facts), together)
        if facts[5]:
            self._no_memory()

    def _no_memory(self) -> None:
        raise MemoryError(f"no memory for blocks of rows of {self.length} elements")


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
    return all(s[-1] == o.size for o, s in zip(operands, strides, strict=True) if o.kind == "element")


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
    values = head(
        pieces=pieces, grain=grain, parts=parts, length=part, inner=inner, loop=loop.address, large=False,
        operands=len(addresses), outer=len(outer),
    )  # fmt: skip
    axes = range(len(outer), -1, -1)
    tables = [*outer[::-1], *addresses, *(step[axis] for axis in axes for step in strides)]
    job = pool.Job(threads._driver(), values + tables, owners)
    threads.share(job, loop, size, int(pieces > 1), threads.get_num_threads())
