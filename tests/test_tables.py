"""Small tables: found in registers where the processor can, and the same elements everywhere."""

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


def columns(size: int, count: int, rare: bool = False) -> Graph:
    """The sum of the elements of some tables of float64 that the last bits of a number tell, each times another power
    of two, where the number is not negative or none of it is rare."""
    graph = Graph()
    x = graph.input("f64")
    place = graph.node("and", "i64", graph.node("bitcast", "i64", x), graph.constant("i64", size - 1))
    total = graph.constant("f64", 0.0)
    for column in range(count):
        entries = tuple(float((k + 1) << (8 * column)).hex() for k in range(size))
        total = graph.node("fadd", "f64", total, graph.node("lookup", "f64", place, data=entries))
        if column == 1:
            usual = total
    if rare:
        far = graph.node("fcmp", "i1", x, graph.constant("f64", 0.0), data="olt")
        total = graph.node("select", "f64", far, total, usual, data="rare")
    graph.outputs.append(total)
    return graph


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("count", [2, 3, 4, 5])
@pytest.mark.parametrize("rare", [False, True])
def test_elements_of_several_tables_are_theirs(count: int, level: str, rare: bool) -> None:
    loop = LOOP(address(columns(16, count, rare), processor=baseline(features(level))))
    x = np.random.default_rng(count).integers(0, 2**62, 1001, dtype=np.int64)
    x[::37] |= -(2**63)
    y = np.empty(x.size)
    places, steps = (ctypes.c_void_p * 2)(x.ctypes.data, y.ctypes.data), (ctypes.c_ssize_t * 2)(8, 8)
    loop(*map(ctypes.addressof, (places, ctypes.c_ssize_t(x.size), steps)), None)
    entries, used = (x & 15) + 1, np.where((x < 0) | (not rare), count, 2)
    assert (y == sum(np.where(used > column, entries << (8 * column), 0) for column in range(count))).all()


def test_two_tables_are_looked_up_at_once() -> None:
    text = assembly(columns(16, 4), processor=baseline(features("avx2")))
    body = text[text.index("\nbody:") :].partition("\n\tretq")[0]
    assert body.count("vunpcklpd") == body.count("vunpckhpd") == 2 * 4, "four registers of four"
    assert "vmovhp" not in body
