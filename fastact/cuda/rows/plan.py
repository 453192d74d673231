"""How a program goes over rows: which axes of the rows are joined, what layout that allows, what is passed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from fastact.cuda import package
from fastact.cuda.arrays import ITEMSIZE, View, compact
from fastact.cuda.kernels import MOST_AXES
from fastact.cuda.package import LANES, PACK
from fastact.cuda.plan import MOST_INDICES, _joined, _product
from fastact.cuda.rows.kernels import RowKernel
from fastact.cuda.rows.layout import USUAL, Geometry, RowLayout, geometry, linked
from fastact.link.graph import BITS
from fastact.link.linker import STORAGE

SEGMENT = 2048
"""Elements into which rows are cut of which nothing is added up."""


SIMULATED = 16
"""Threads of a block of several rows in the simulator, of which each thread is one of Python's."""


@dataclass(frozen=True)
class Rows:
    """Where the rows of an operand lie: ``outer`` strides from row to row, ``step`` from element to element."""

    address: int
    outer: tuple[int, ...]
    step: int = 0


@dataclass(frozen=True)
class Launch:
    kernel: RowKernel
    geometry: Geometry
    blocks: int
    arguments: list[int]

    @property
    def threads(self) -> tuple[int, int]:
        pair = (self.geometry.threads, self.geometry.rows)
        return pair[::-1] if self.kernel.layout.adjacent else pair


def moved(view: View, along: tuple[int, ...]) -> View:
    """The array with some axes last."""
    order = [axis for axis in range(len(view.shape)) if axis not in along] + list(along)
    return replace(view, shape=tuple(view.shape[k] for k in order), strides=tuple(view.strides[k] for k in order))


def rows(view: View, along: tuple[int, ...]) -> Rows | None:
    """The rows along some axes; None where no single step leads from element to element."""
    found, count = moved(view, along), len(view.shape) - len(along)
    inner = zip(found.shape[count:], found.strides[count:], strict=True)
    extents = [(n, s) for n, s in inner if n != 1]
    for (_, step), (n, s) in itertools.pairwise(extents):
        if step != n * s:
            return None
    step = extents[-1][1] if extents else ITEMSIZE[view.dtype]
    outer = (s if n != 1 else 0 for n, s in zip(found.shape[:count], found.strides[:count], strict=True))
    return Rows(view.address, tuple(outer), step)


def plan(
    name: str, dtype: str, tier: str, length: int, outer: tuple[int, ...], operands: list[Rows], numbers: list[int]
) -> Iterator[Launch]:
    """Launches that do the whole. ``operands`` are in the order of the kernel's; ``numbers`` are bits of float64."""
    if math.prod(outer) > MOST_INDICES:
        axis = max(range(len(outer)), key=outer.__getitem__)
        half = outer[axis] // 2
        kinds = [kind for kind, _ in RowKernel(name, dtype, tier, RowLayout()).operands]
        for start, count in ((0, half), (half, outer[axis] - half)):
            parts = [
                o if kind == "column" else replace(o, address=o.address + start * o.outer[axis])
                for kind, o in zip(kinds, operands, strict=True)
            ]
            yield from plan(name, dtype, tier, length, (*outer[:axis], count, *outer[axis + 1 :]), parts, numbers)
        return
    program = linked(name, dtype, tier)
    kinds = [kind for kind, _ in RowKernel(name, dtype, tier, RowLayout()).operands]
    if not program.runs and length > 2 * SEGMENT:
        yield from _segments(name, dtype, tier, length, outer, operands, numbers, kinds)
        return
    moving = [o for kind, o in zip(kinds, operands, strict=True) if kind != "column"]
    leader = next(k for k, o in enumerate(moving) if len(o.outer) == len(outer))
    order = [*(o.outer for k, o in enumerate(moving) if k != leader), moving[leader].outer]
    shape, strides = _joined(outer, order)
    strides.insert(leader, strides.pop())
    if not shape:
        shape, strides = (1,), [(0,)] * len(moving)
    if len(shape) > MOST_AXES:
        raise ValueError(f"rows along more than {MOST_AXES} axes that cannot be joined")
    count = _product(shape)
    along = iter(strides)
    placed = [o if kind == "column" else replace(o, outer=next(along)) for kind, o in zip(kinds, operands, strict=True)]
    stored = _stored(program, kinds)
    packed = length % LANES[STORAGE[dtype]] == 0 and all(
        _packed(kind, o, size, BITS[STORAGE[dtype]] // 8) for kind, o, size in zip(kinds, placed, stored, strict=True)
    )
    first = next(o for kind, o in zip(kinds, placed, strict=True) if kind == "element")
    adjacent = not packed and length > 1 and count > 1 and 0 < abs(first.outer[-1]) < abs(first.step)
    usual = SIMULATED if package.simulated() else USUAL
    shaped = geometry(name, dtype, tier, length, count, adjacent, usual)
    kernel = RowKernel(name, dtype, tier, RowLayout(shaped.variant, packed, adjacent, len(shape)))
    arguments = [o.address for o in placed] + numbers
    arguments += [length, count, shaped.vectors, shaped.stage, shaped.width, shaped.pitch]
    for kind, o in zip(kinds, placed, strict=True):
        arguments += [o.step] if kind != "row" else []
        arguments += o.outer if kind != "column" else ()
    for extent in shape[1:]:
        shift = 31 + (extent - 1).bit_length()
        arguments += [extent, -(-(1 << shift) // extent), shift]
    yield Launch(kernel, shaped, -(-count // shaped.rows), arguments)


def _stored(program: object, kinds: list[str]) -> list[int]:
    """The sizes of what elements and columns are stored in; 0 for rows."""
    inputs = iter(program.inputs)  # type: ignore[attr-defined]
    results = program.result.outputs if program.result else []  # type: ignore[attr-defined]
    outputs = iter(node.type for node in results)
    read = len(program.inputs) + len(program.rows)  # type: ignore[attr-defined]
    found = []
    for place, kind in enumerate(kinds):
        found.append(0 if kind == "row" else BITS[next(inputs if place < read else outputs)] // 8)
    return found


def _packed(kind: str, operand: Rows, size: int, itemsize: int) -> bool:
    """Whether an operand can be read or written in packs."""
    if kind == "row" or (kind == "column" and size != itemsize):
        return True
    return operand.step == size and operand.address % PACK == 0 and not any(step % PACK for step in operand.outer)


def _segments(
    name: str, dtype: str, tier: str, length: int, outer: tuple[int, ...], operands: list[Rows], numbers: list[int],
    kinds: list[str],
) -> Iterator[Launch]:  # fmt: skip
    """Rows of which nothing is added up, cut into more rows."""
    whole = length // SEGMENT
    parts = [
        replace(o, outer=(*o.outer, o.step * SEGMENT if kind == "element" else 0))
        for kind, o in zip(kinds, operands, strict=True)
    ]
    yield from plan(name, dtype, tier, SEGMENT, (*outer, whole), parts, numbers)
    if length % SEGMENT:
        rest = [
            replace(o, address=o.address + o.step * SEGMENT * whole) if kind == "element" else o
            for kind, o in zip(kinds, operands, strict=True)
        ]
        yield from plan(name, dtype, tier, length % SEGMENT, outer, rest, numbers)


__all__ = ["Launch", "Rows", "compact", "moved", "plan", "rows"]
