"""Small tables of float32: found in registers where the processor can, and the same elements everywhere."""

from __future__ import annotations

import ctypes
import re

import numpy as np
import pytest

from fastact.cpu.compile import address, assembly
from fastact.cpu.target import baseline, host
from fastact.cpu.ufunc import LOOP
from fastact.link.graph import Graph

AVX2 = "sse3,ssse3,sse4.1,sse4.2,popcnt,avx,avx2,fma,f16c,bmi,bmi2"
LEVELS = {"baseline": "", "avx2": AVX2, "avx512": f"{AVX2},avx512f,avx512dq,avx512vl,avx512bw"}


def table(size: int) -> Graph:
    """The element that the last bits of a number tell."""
    graph = Graph()
    x = graph.input("f32")
    place = graph.node("and", "i32", graph.node("bitcast", "i32", x), graph.constant("i32", size - 1))
    entries = tuple((1.5 * k - 7.0).hex() for k in range(size))
    graph.outputs.append(graph.node("lookup", "f32", place, data=entries))
    return graph


def features(level: str) -> str:
    if host().machine != "x86_64" or not all(host().has(f) for f in LEVELS[level].split(",") if f):
        pytest.skip(f"this processor lacks {level}")
    return LEVELS[level]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("size", [4, 8, 16, 32, 64])
def test_elements_are_those_of_the_table(size: int, level: str) -> None:
    loop = LOOP(address(table(size), processor=baseline(features(level))))
    x = np.random.default_rng(size).integers(0, 2**31, 1001, dtype=np.int32)
    y = np.empty(x.size, np.float32)
    places, steps = (ctypes.c_void_p * 2)(x.ctypes.data, y.ctypes.data), (ctypes.c_ssize_t * 2)(4, 4)
    loop(*map(ctypes.addressof, (places, ctypes.c_ssize_t(x.size), steps)), None)
    assert (y == 1.5 * (x & (size - 1)) - 7.0).all()


@pytest.mark.parametrize(("size", "count"), [(8, 1), (16, 2), (32, 4)])
def test_registers_hold_eight_elements_each(size: int, count: int) -> None:
    text = assembly(table(size), processor=baseline(features("avx2")))
    body = text[text.index("\nbody:") :].partition("\n\tretq")[0]
    assert len(re.findall(r"\tvperm(?:ps|d)\t", body)) == 4 * count, "four registers of eight"
    assert "vinsertps" not in body and "vpinsrd" not in body
