"""Calls of programs over rows, for the functions that are made of them."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fastact import along
from fastact.along import Array, Axis
from fastact.cpu.entries.rows import Call, Calls, remember
from fastact.cpu.rows import calls
from fastact.precision import Approx, parse

empty, empty_like, ndarray = np.empty, np.empty_like, np.ndarray


def name_of(dtype: np.dtype[Any]) -> str:
    """The name of a dtype, which takes NumPy a while to make up."""
    return along.USUAL.get(dtype) or dtype.name


def apply(program: str, tier: str, dtype: np.dtype[Any], arrays: list[Array], numbers: tuple[float, ...] = ()) -> None:
    """Run a program of arrays whose rows are their last axis."""
    calls.apply(program, tier, name_of(dtype), arrays, numbers)


def directly(known: Calls, program: str, tier: str, axis: Axis, arrays: tuple[Array, ...], out: Array | None) -> Array:
    """The result of a program for arrays that are `along.plain`, which has the shape of the first."""
    x = arrays[0]
    sink = empty_like(x) if out is None else out
    plan = calls.in_order(kernel_for(program, x.dtype, tier), (*arrays, sink))
    remember(known, (tier, axis, x.dtype, x.shape), Call(plan, arrays, sink, elements=len(arrays)))
    return sink


@functools.cache
def kernel_for(program: str, dtype: np.dtype[Any], tier: str) -> calls.Kernel:
    """The kernel of a program for arrays of a dtype that is `along.USUAL`."""
    return calls.kernel(program, along.USUAL[dtype], tier)


def run(
    program: str,
    approx: Approx,
    axes: tuple[int, ...],
    inputs: list[Array],
    sink: Array,
    per_row: list[Array] | None = None,
) -> None:
    """Run a program of arrays of one shape that writes another of that shape."""
    if not sink.size:
        return
    tier, dtype = parse(approx), sink.dtype
    views = [along.rows(a, axes) for a in inputs]
    read = [along.copied_rows(a, axes) if v is None else v for a, v in zip(inputs, views, strict=True)]
    written = along.rows(sink, axes)
    target = np.empty(read[0].shape, dtype) if written is None else written
    apply(program, tier, dtype, [*read, *(per_row or ()), target])
    if written is None:
        along.back(target, sink, axes)
