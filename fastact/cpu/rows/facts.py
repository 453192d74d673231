"""What a kernel of rows and its callers have to agree upon: operands, facts of the call, lanes."""

from __future__ import annotations

from dataclasses import dataclass

from fastact.link.graph import BITS
from fastact.link.rows import LinkedProgram

LANES = {"float64": 32}


def lanes(dtype: str) -> int:
    return LANES.get(dtype, 64)


def beside(linked: LinkedProgram) -> dict[int, int]:
    """How many rows of up to so many elements lie side by side in one vector."""
    if linked.held == 2:
        return {8: 4, 32: 1}
    if linked.dtype == "float64":
        return {4: 8, 8: 4, 16: 2, 32: 1}
    return {4: 16, 8: 16, 16: 8, 32: 4, 64: 2} if linked.lent[0] == "f32" else {4: 16, 8: 8, 16: 4, 32: 2, 64: 1}


def batch(linked: LinkedProgram) -> int:
    """How many short rows are computed at a time."""
    return 8 if linked.held == 2 else 16


NEAR = 1 << 14
"""Bytes of elements of longer rows that are computed together, at most; of one row they may be more."""


def together(linked: LinkedProgram) -> int:
    """How many longer rows are computed at a time, at most. Those of float64 take so much of the memory near to the
    processor that none is left for others."""
    return 1 if linked.dtype == "float64" else 8


def bytes_read(linked: LinkedProgram) -> int:
    """Those that the elements of one place have."""
    return sum(o.size for o in operands(linked) if o.kind == "element" and not o.written)


def rows_in_vector(linked: LinkedProgram) -> int:
    """How many rows that lie side by side are computed at a time."""
    return 8 if linked.held == 2 else 16


class Facts:
    """Places of the facts of a call."""

    LENGTH, KEEP, ROOM, ALLOCATE, FREE, FAILED, STRIDES = range(7)
    """Elements of a row; whether what is kept has room; bytes of that room; addresses of functions that allocate memory
    and give it back; set to 1 if there is none."""


@dataclass(frozen=True)
class Operand:
    """An array that a program reads or writes: its type, and whether it has an element for every place of a row, one
    for every place whatever the row, or one for every row."""

    kind: str
    type: str
    written: bool = False

    @property
    def size(self) -> int:
        return BITS[self.type] // 8


def operands(linked: LinkedProgram) -> list[Operand]:
    """What a program reads, and then what it writes."""
    program, stored = linked.program, linked.inputs
    found = [Operand("element", t) for t in stored[: len(program.elements)]]
    found += [Operand("column", t) for t in stored[len(program.elements) :]]
    found += [Operand("row", t) for t in linked.rows]
    if linked.result is not None:
        found += [Operand("element", node.type, True) for node in linked.result.outputs]
    if linked.totals is not None:
        found += [Operand("row", node.type, True) for node in linked.totals.outputs]
    return found
