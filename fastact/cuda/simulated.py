"""The twins of `fastact.cuda.instructions` for Numba's CUDA simulator: Python functions of NumPy scalars."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fastact.cuda.evaluate import STORED, evaluate
from fastact.cuda.package import LANES, PACK, SIZES
from fastact.link.graph import Graph


def _memory(address: int, count: int, storage: str) -> np.ndarray[Any, Any]:
    buffer: Any = (ctypes.c_char * (count * SIZES[storage])).from_address(int(address))
    return np.frombuffer(buffer, STORED[storage])


@functools.cache
def fetch_whole(storage: str) -> Callable[..., Any]:
    def fetch_whole(address: int) -> tuple[Any, ...]:
        assert address % PACK == 0
        return tuple(_memory(address, LANES[storage], storage))

    return fetch_whole


@functools.cache
def put_whole(storage: str, place: int, outputs: int) -> Callable[..., None]:
    lanes = LANES[storage]

    def put_whole(address: int, words: tuple[Any, ...]) -> None:
        assert address % PACK == 0 and len(words) == lanes * outputs
        _memory(address, lanes, storage)[:] = words[place * lanes : (place + 1) * lanes]

    return put_whole


@functools.cache
def fetch_one(storage: str) -> Callable[..., Any]:
    return lambda address: _memory(address, 1, storage)[0]


@functools.cache
def put_one(storage: str, place: int, outputs: int) -> Callable[..., None]:
    def put_one(address: int, values: tuple[Any, ...]) -> None:
        assert len(values) == outputs
        _memory(address, 1, storage)[0] = values[place]

    return put_one


@functools.cache
def value(storage: str) -> Callable[..., Any]:
    return lambda bits: np.array([bits], np.int64).view(STORED[storage])[0]


def opaque() -> Callable[[int], int]:
    return lambda n: n


def compute_one(graph: Graph, usual: Graph | None, storage: str, bfloat: bool = False) -> Callable[..., Any]:
    whole = evaluate(graph)
    common = None if usual is None else evaluate(usual)

    def compute_one(*inputs: Any) -> tuple[Any, ...]:
        if common is not None:
            *found, rare = common(*inputs)
            if not rare:
                return tuple(found)
        return tuple(whole(*inputs))

    return compute_one


def compute(graph: Graph, usual: Graph | None, storage: str, kinds: str, bfloat: bool) -> Callable[..., Any]:
    one, lanes = compute_one(graph, usual, storage), LANES[storage]

    def compute(*operands: Any) -> tuple[Any, ...]:
        apart = [a if kind == "v" else (a,) * lanes for a, kind in zip(operands, kinds, strict=True)]
        found = [one(*inputs) for inputs in zip(*apart, strict=True)]
        return tuple(element for elements in zip(*found, strict=True) for element in elements)

    return compute


def number(kernels: dict[str, tuple[Graph, Graph | None]], inputs: int, required: int) -> Callable[..., Any]:
    compiled = {np.dtype(dtype): compute_one(*graphs, "") for dtype, graphs in kernels.items()}

    def number(*given: Any) -> Any:
        single = all(isinstance(value, np.float32) for value in given[:required])
        dtype = np.dtype(np.float32 if single else np.float64)
        return compiled[dtype](*(dtype.type(value) for value in given))[0]

    return number
