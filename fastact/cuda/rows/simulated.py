"""Pieces of kernels over rows for Numba's CUDA simulator: the machine of `fastact.cuda.rows.pieces` that computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastact.cuda.evaluate import STORED, TYPES, evaluate
from fastact.cuda.package import LANES, PACK
from fastact.cuda.rows.pieces import Piece, Words
from fastact.cuda.simulated import _memory
from fastact.link.graph import Graph
from fastact.link.rows import Total

_WORDS: dict[str, Any] = {"i16": np.dtype(np.uint32), "f32": np.dtype(np.float32), "f64": np.dtype(np.float64)}
_KINDS = {**TYPES, "i32": np.uint32}


class Machine:
    """Addresses are whole numbers, the block's memory an array of bytes."""

    def __init__(self) -> None:
        self.compiled: dict[int, tuple[Graph, Callable[..., list[Any]]]] = {}

    def add(self, a: int, b: int) -> int:
        return int(a) + int(b)

    def multiply(self, a: int, b: int) -> int:
        return int(a) * int(b)

    def less(self, a: int, b: int) -> bool:
        return int(a) < int(b)

    def choose(self, condition: bool, a: Any, b: Any) -> Any:
        return a if condition else b

    def to_float(self, a: int) -> Any:
        return np.float64(a)

    def number(self, bits: int) -> Any:
        return np.array([bits], np.int64).view(np.float64)[0]

    def constant(self, kind: str, value: float) -> Any:
        return _KINDS[kind](value)

    def graph(self, graph: Graph, inputs: Words) -> Words:
        found = self.compiled.get(id(graph))
        if found is None:
            found = self.compiled[id(graph)] = (graph, evaluate(graph))
        return found[1](*inputs)

    def graphs(self, graph: Graph, inputs: list[Words]) -> list[Words]:
        """The outputs for each of some inputs, computed side by side."""
        columns = [np.array(values) for values in zip(*inputs, strict=True)]
        found = [np.broadcast_to(values, (len(inputs),)) for values in self.graph(graph, columns)]
        return [list(values) for values in zip(*found, strict=True)]

    def both(self, total: Total, a: Words, b: Words) -> Words:
        return [np.fmax(*a, *b)] if total.kind == "max" else self.graph(total.both, [*a, *b])

    def plus(self, a: Any, b: Any) -> Any:
        with np.errstate(all="ignore"):
            return a + b

    def widen(self, a: Any) -> Any:
        return np.float64(a)

    def half(self, word: Any, place: int) -> Any:
        return np.uint16(int(word) >> 16 * place & 0xFFFF)

    def halves(self, low: Any, high: Any) -> Any:
        return np.uint32(int(low) | int(high) << 16)

    def masked(
        self, words: list[Words], neutral: Words, offsets: list[int], step: int, first: int, length: int
    ) -> list[Words]:
        there = [first + offsets[k // step * step] < length for k in range(len(offsets))]
        return [[w if t else n for t, w in zip(there, own, strict=True)] for own, n in zip(words, neutral, strict=True)]

    def load(self, address: int, kind: str) -> Any:
        return _memory(address, 1, kind)[0]

    def load_pack(self, address: int, storage: str) -> Words:
        assert address % PACK == 0
        return list(_memory(address, LANES[storage], storage).view(_WORDS[storage]))

    def store(self, address: int, kind: str, value: Any) -> None:
        assert isinstance(value, STORED[kind])
        _memory(address, 1, kind)[0] = value

    def store_pack(self, address: int, storage: str, words: Words) -> None:
        assert address % PACK == 0
        _memory(address, LANES[storage], storage).view(_WORDS[storage])[:] = words

    def _cells(self, room: Any, offset: int, kind: str, count: int) -> Any:
        size = np.dtype(_KINDS[kind]).itemsize * count
        assert offset % size == 0 and 0 <= offset <= len(room) - size, (offset, len(room))
        return room[offset : offset + size].view(_KINDS[kind])

    def shared(self, room: Any, offset: int, kind: str) -> Any:
        return self._cells(room, offset, kind, 1)[0]

    def share(self, room: Any, offset: int, kind: str, value: Any) -> None:
        self._cells(room, offset, kind, 1)[0] = value

    def share_pack(self, room: Any, offset: int, kind: str, words: Words) -> None:
        self._cells(room, offset, kind, len(words))[:] = words

    def either(self, condition: bool, first: Callable[[], Words], second: Callable[[], Words]) -> Words:
        return first() if condition else second()

    def when(self, condition: bool, body: Callable[[], Any]) -> None:
        if condition:
            body()


_MACHINE = Machine()


def made(piece: Piece, bfloat: bool) -> Any:
    def run(*args: Any) -> Any:
        return piece.code(_MACHINE, *args)

    return run
