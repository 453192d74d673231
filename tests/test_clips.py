"""Selections that are the smaller or the larger of two numbers, as the comparison and the selection have it."""

from __future__ import annotations

import ctypes
import itertools
import re

import numpy as np
import pytest

from fastact.cpu.compile import address, assembly
from fastact.cpu.target import host
from fastact.cpu.ufunc import LOOP
from fastact.kernels import REGISTRY
from fastact.link.forms import kernel
from fastact.link.graph import Graph

VALUES = (-np.inf, -2.0, -1e-40, -0.0, 0.0, 1e-40, 1.0, np.inf, np.nan)
DTYPES = {"f32": np.float32, "f64": np.float64}


@pytest.mark.parametrize("type", DTYPES)
@pytest.mark.parametrize("symbol", ["olt", "ogt"])
@pytest.mark.parametrize("inverted", [False, True], ids=["", "inverted"])
@pytest.mark.parametrize("swapped", [False, True], ids=["", "swapped"])
def test_clips_are_comparisons_and_selections(type: str, symbol: str, inverted: bool, swapped: bool) -> None:
    """Zeros keep their signs, and where one number is NaN the second is taken."""
    pairs = np.array(list(itertools.product(VALUES, VALUES)), DTYPES[type])
    a, b = (np.ascontiguousarray(np.tile(column, 4)) for column in pairs.T)
    graph = Graph()
    x, y = graph.input(type), graph.input(type)
    condition = graph.node("fcmp", "i1", x, y, data=symbol)
    holds = a < b if symbol == "olt" else a > b
    if inverted:
        condition, holds = graph.node("xor", "i1", condition, graph.constant("i1", 1)), ~holds
    chosen, others = ((y, x), (b, a)) if swapped else ((x, y), (a, b))
    graph.outputs.append(graph.node("select", type, condition, *chosen))
    out = np.empty_like(a)
    places = (ctypes.c_void_p * 3)(a.ctypes.data, b.ctypes.data, out.ctypes.data)
    count, steps = ctypes.c_ssize_t(a.size), (ctypes.c_ssize_t * 3)(*(v.itemsize for v in (a, b, out)))
    LOOP(address(graph, None))(ctypes.addressof(places), ctypes.addressof(count), ctypes.addressof(steps), None)
    expected = np.where(holds, *others)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(np.signbit(out), np.signbit(expected))


@pytest.mark.skipif(not host().target().avx512, reason="clips are instructions of AVX-512")
def test_clips_are_one_instruction() -> None:
    """LLVM makes comparisons of some of these, when it has moved operations with constants into the selections."""
    body = assembly(kernel(REGISTRY["sparse_sigmoid"], "value", "float32", "fast").graph).split(".Lfunc_end")[0]
    assert re.search(r"\bv(min|max)ps\b", body)
    assert "vcmp" not in body
