"""How a kernel goes over operands: which axes are joined, whether packs of 16 bytes can be taken, what is passed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fastact.cuda.arrays import View
from fastact.cuda.kernels import MOST_AXES, Layout
from fastact.cuda.package import LANES, PACK, SIZES

MOST_INDICES = 2**31 - 1
"""Indices that a kernel with axes can take apart at once."""


@dataclass(frozen=True)
class Operand:
    """An input or the output along common axes; ``number`` are the bits of a number passed by value instead."""

    address: int = 0
    strides: tuple[int, ...] = ()
    number: int | None = None


def broadcast(view: View, shape: tuple[int, ...]) -> Operand:
    """An array along the axes of the result."""
    more = len(shape) - len(view.shape)
    strides = (0,) * more + tuple(
        0 if length == 1 else step for length, step in zip(view.shape, view.strides, strict=True)
    )
    return Operand(view.address, strides)


def plan(
    storage: str, shape: tuple[int, ...], inputs: list[Operand], outs: list[Operand]
) -> Iterator[tuple[Layout, int, list[int]]]:
    """Launches that do the whole: the layout, the number of indices, the arguments."""
    moving = [o for o in (*inputs, *outs) if o.number is None]
    lengths, steps = _joined(shape, [o.strides for o in moving])
    strides = iter(steps)
    placed = [o if o.number is not None else Operand(o.address, next(strides)) for o in (*inputs, *outs)]
    count, outputs = len(inputs), len(outs)
    size, lanes = SIZES[storage], LANES[storage]
    if not lengths:  # a single element, which needs no alignment, since it makes no pack
        kinds = "".join("c" if o.number is not None else "v" for o in inputs)
        yield Layout(kinds, outputs=outputs), 1, [*map(_first, placed), 1]
        return
    if len(lengths) == 1 and _packed(placed, size, outputs):
        kinds = "".join(_kind(o) for o in placed[:count])
        if "v" in kinds:
            yield Layout(kinds, outputs=outputs), -(-lengths[0] // lanes), [*map(_first, placed), lengths[0]]
            return
    if lengths[-1] % lanes == 0 and _packed(placed, size, outputs):
        kinds = "".join(_kind(o) for o in placed[:count])
        layout = Layout(kinds, len(lengths), True, outputs)
        lengths = (*lengths[:-1], lengths[-1] // lanes)
        inner = [_widened(o, lanes) for o in placed]
    else:
        kinds = "".join("c" if o.number is not None else "v" for o in placed[:count])
        layout, inner = Layout(kinds, len(lengths), False, outputs), placed
    if len(lengths) > MOST_AXES:
        raise ValueError(f"arrays whose memory has more than {MOST_AXES} axes that cannot be joined")
    for part, operands in _parts(lengths, inner):
        yield layout, _product(part), _arguments(part, operands)


def _first(operand: Operand) -> int:
    return operand.address if operand.number is None else operand.number


def _kind(operand: Operand) -> str:
    if operand.number is not None:
        return "c"
    return "v" if operand.strides and operand.strides[-1] else "p"


def _packed(operands: list[Operand], size: int, outputs: int) -> bool:
    """Whether packs can be taken along the last axis: all that moves along it lies in one piece and is aligned."""
    for place, operand in enumerate(operands):
        if operand.number is not None or (place < len(operands) - outputs and _kind(operand) == "p"):
            continue
        if operand.strides and operand.strides[-1] != size:
            return False
        if operand.address % PACK or any(step % PACK for step in operand.strides[:-1]):
            return False
    return True


def _widened(operand: Operand, lanes: int) -> Operand:
    if operand.number is not None:
        return operand
    return Operand(operand.address, (*operand.strides[:-1], operand.strides[-1] * lanes))


def _joined(shape: tuple[int, ...], strides: list[tuple[int, ...]]) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Axes in the order of the output's memory, neighbours joined where all operands allow it."""
    axes = [axis for axis, length in enumerate(shape) if length != 1]
    axes.sort(key=lambda axis: -abs(strides[-1][axis]))
    lengths: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for axis in axes:
        if lengths and all(own[-1] == given[axis] * shape[axis] for own, given in zip(steps, strides, strict=True)):
            lengths[-1] *= shape[axis]
            for own, given in zip(steps, strides, strict=True):
                own[-1] = given[axis]
        else:
            lengths.append(shape[axis])
            for own, given in zip(steps, strides, strict=True):
                own.append(given[axis])
    return tuple(lengths), [tuple(own) for own in steps]


def _product(lengths: tuple[int, ...]) -> int:
    result = 1
    for length in lengths:
        result *= length
    return result


def _parts(lengths: tuple[int, ...], operands: list[Operand]) -> Iterator[tuple[tuple[int, ...], list[Operand]]]:
    """Halves of halves of the longest axis until there are few enough indices."""
    if _product(lengths) <= MOST_INDICES:
        yield lengths, operands
        return
    axis = max(range(len(lengths)), key=lengths.__getitem__)
    half = lengths[axis] // 2
    for start, length in ((0, half), (half, lengths[axis] - half)):
        moved = [
            o if o.number is not None else Operand(o.address + start * o.strides[axis], o.strides) for o in operands
        ]
        yield from _parts((*lengths[:axis], length, *lengths[axis + 1 :]), moved)


def _arguments(lengths: tuple[int, ...], operands: list[Operand]) -> list[int]:
    """In the order of the kernel's parameters."""
    result = [*(_first(o) for o in operands), _product(lengths)]
    for operand in operands:
        result += operand.strides if operand.number is None else ()
    for length in lengths[1:]:
        shift = 31 + (length - 1).bit_length()
        result += [length, -(-(1 << shift) // length), shift]
    return result
