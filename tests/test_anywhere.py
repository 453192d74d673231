"""Whether a condition holds somewhere in a vector, told by its extreme elements: never missed, hardly ever imagined."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable

import numpy as np
import pytest

from fastact.cpu.compile import address, assembly
from fastact.cpu.lowering.extremes import _extreme
from fastact.cpu.target import host
from fastact.cpu.ufunc import LOOP
from fastact.link.graph import Graph, Node

TINY, INFINITY = 2.0**-126, float("inf")
LIMITS = (-INFINITY, -2.5, -TINY, -0.0, 0.0, TINY, 1.0, INFINITY)
VALUES = (*LIMITS, -3.0, -2.0, -1e-40, 1e-40, 0.5, 2.0, float("nan"), -float("nan"))
SYMBOLS = {"olt": np.less, "ole": np.less_equal, "ogt": np.greater, "oge": np.greater_equal, "oeq": np.equal}
LENGTH = 64
"""Elements of a vector, of float32 and of the longest registers."""


def compared(graph: Graph, type: str, symbol: str, limit: float, mirrored: bool, size: bool) -> Node:
    x = graph.inputs[0]
    pair = (graph.node("fabs", type, x) if size else x), graph.constant(type, limit)
    return graph.node("fcmp", "i1", *(reversed(pair) if mirrored else pair), data=symbol)


def inverted(graph: Graph, node: Node) -> Node:
    return graph.node("xor", "i1", node, graph.constant("i1", 1))


def run(graph: Graph, condition: Node, type: str, x: np.ndarray) -> np.ndarray:
    """-1 where the condition holds, found on a detour, and 1 elsewhere."""
    rare, usual = graph.constant(type, -1.0), graph.constant(type, 1.0)
    graph.outputs.append(graph.node("select", type, condition, rare, usual, data="rare"))
    loop, out = LOOP(address(graph, None)), np.empty_like(x)
    places = (ctypes.c_void_p * 2)(x.ctypes.data, out.ctypes.data)
    count, steps = ctypes.c_ssize_t(x.size), (ctypes.c_ssize_t * 2)(x.itemsize, x.itemsize)
    loop(ctypes.addressof(places), ctypes.addressof(count), ctypes.addressof(steps), None)
    return out


def one_in_many(dtype: str) -> np.ndarray:
    """Each value once, at changing places, among equal elements that are one of the others, in vectors of their own."""
    rows = [
        np.where(np.arange(LENGTH) == (7 * i + 11 * j) % LENGTH, value, other)
        for i, value in enumerate(VALUES)
        for j, other in enumerate(VALUES)
    ]
    return np.concatenate(rows).astype(dtype)


@pytest.mark.parametrize("type", ["f32", "f64"])
@pytest.mark.parametrize("symbol", SYMBOLS)
@pytest.mark.parametrize("mirrored", [False, True], ids=["", "mirrored"])
def test_no_element_is_missed(type: str, symbol: str, mirrored: bool) -> None:
    x = one_in_many({"f32": "float32", "f64": "float64"}[type])
    for limit in LIMITS:
        for size in (False, True):
            for turned in (False, True):
                graph = Graph()
                graph.input(type)
                condition = compared(graph, type, symbol, limit, mirrored, size)
                found = run(graph, inverted(graph, condition) if turned else condition, type, x)
                a, b = (np.abs(x) if size else x), np.asarray(limit, x.dtype)
                holds = SYMBOLS[symbol](b, a) if mirrored else SYMBOLS[symbol](a, b)
                np.testing.assert_array_equal(found, np.where(holds != turned, -1.0, 1.0), f"{limit} {size} {turned}")


@pytest.mark.parametrize("type", ["f32", "f64"])
@pytest.mark.parametrize(("above", "below"), [("oge", "ole"), ("ogt", "olt"), ("oge", "olt"), ("ogt", "ole")])
def test_no_element_of_an_interval_or_outside_is_missed(type: str, above: str, below: str) -> None:
    x = one_in_many({"f32": "float32", "f64": "float64"}[type])
    for low, high in ((TINY, INFINITY), (TINY, 1.0), (1.0, 1.0), (0.0, 1.0), (-2.5, 1.0), (1.0, TINY)):
        for turned in (False, True):
            graph = Graph()
            graph.input(type)
            ends = [compared(graph, type, *end, False, False) for end in ((above, low), (below, high))]
            inside = graph.node("and", "i1", *(reversed(ends) if turned else ends))
            lower, upper = np.asarray(low, x.dtype), np.asarray(high, x.dtype)
            holds = SYMBOLS[above](x, lower) & SYMBOLS[below](x, upper)
            found = run(graph, inside, type, x)
            np.testing.assert_array_equal(found, np.where(holds, -1.0, 1.0), f"{low} {high}")
            graph.outputs.clear()
            found = run(graph, inverted(graph, inside), type, x)
            np.testing.assert_array_equal(found, np.where(holds, 1.0, -1.0), f"outside {low} {high}")


@pytest.mark.parametrize("type", ["f32", "f64"])
def test_one_of_two_conditions_is_enough(type: str) -> None:
    x = one_in_many({"f32": "float32", "f64": "float64"}[type])
    graph = Graph()
    graph.input(type)
    large = compared(graph, type, "ogt", 1.0, False, True)
    small = inverted(graph, compared(graph, type, "oge", TINY, False, True))
    found = run(graph, graph.node("or", "i1", large, small), type, x)
    np.testing.assert_array_equal(found, np.where((np.abs(x) > 1.0) | ~(np.abs(x) >= x.dtype.type(TINY)), -1.0, 1.0))


@pytest.mark.parametrize("type", ["f32", "f64"])
@pytest.mark.parametrize("symbol", SYMBOLS)
def test_none_is_imagined_but_for_nan(type: str, symbol: str) -> None:
    x = np.array(VALUES, {"f32": "float32", "f64": "float64"}[type])
    unsigned, signed = (np.dtype(f"{kind}{x.itemsize}") for kind in "ui")
    found = 0
    for limit in LIMITS:
        for turned in (False, True):
            graph = Graph()
            graph.input(type)
            extreme = _extreme(compared(graph, type, symbol, limit, False, False), turned)
            if extreme is not None:
                kind = unsigned if extreme.which[0] == "u" else signed
                bits = (x.view(unsigned) - unsigned.type(extreme.base)).view(kind)
                end = np.asarray(extreme.limit).astype(kind)
                told = SYMBOLS[f"o{extreme.symbol}"](bits, end)
                holds = SYMBOLS[symbol](x, np.asarray(limit, x.dtype)) != turned
                np.testing.assert_array_equal(told[~np.isnan(x)], holds[~np.isnan(x)], f"{limit} {turned}")
                found += 1
    assert found or symbol == "oeq"


@pytest.mark.skipif(not host().target().avx512, reason="conditions are compared register by register with AVX-512")
def test_extremes_replace_comparisons() -> None:
    graph = Graph()
    graph.input("f32")
    far = compared(graph, "f32", "ogt", 80.0, False, True)
    x = graph.inputs[0]
    graph.outputs.append(graph.node("select", "f32", far, graph.node("sqrt", "f32", x), x, data="rare"))
    body = assembly(graph, None).split(".Lfunc_end")[0]
    assert body.count("vrangeps") == 2 and body.count("vpmaxud") == 1 and body.split("jne")[0].count("vcmp") == 0


@pytest.mark.parametrize("type", ["f32", "f64"])
def test_signalling_nan_hides_nothing(type: str) -> None:
    """Next to all others, in the same place of another register."""
    dtype, integer, nan = {"f32": ("float32", "uint32", 0xFFA00000), "f64": ("float64", "uint64", 0xFFF4 << 48)}[type]
    strange = np.array([nan, nan & ~(1 << np.dtype(dtype).itemsize * 8 - 1)], integer).view(dtype)
    values = np.array([1.0, INFINITY, 3.0, np.nan, *strange], dtype)
    lanes = 64 // values.itemsize
    x = np.ones((len(values) ** 4, 4, lanes), dtype)
    for row, column in zip(x, itertools.product(values, repeat=4), strict=True):
        row.view(integer)[:, len(column)] = np.array(column, dtype).view(integer)
    graph = Graph()
    graph.input(type)
    found = run(graph, compared(graph, type, "ogt", 2.0, False, True), type, x.ravel())
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(found, np.where(np.abs(x.ravel()) > 2.0, -1.0, 1.0))


def leaf(graph: Graph, kind: str) -> tuple[Node, Callable[[np.ndarray], np.ndarray]]:
    """An integer that says by its sign, or by any bit if it is the first kind, whether a condition holds for x."""
    x, zero = graph.inputs[0], graph.constant("i32", 0)
    bits, size = (graph.node("bitcast", "i32", one) for one in (x, graph.node("fabs", "f32", x)))
    least, most = (graph.constant("i32", int(np.float32(end).view(np.int32))) for end in (TINY, 2.25))
    if kind == "different":
        return graph.node("xor", "i32", bits, graph.constant("i32", 0x3F800000)), lambda x: x != 1.0
    if kind == "tiny":
        below = (graph.node("isub", "i32", *pair) for pair in ((size, least), (zero, size)))
        return graph.node("and", "i32", *below), lambda x: (x != 0.0) & (abs(x) < TINY)
    if kind == "beyond":
        return graph.node("isub", "i32", most, size), lambda x: ~(abs(x) <= 2.25)
    if kind == "square":
        fma = graph.node("fma", "f32", graph.node("fneg", "f32", x), x, graph.constant("f32", 2.25))
        return graph.node("bitcast", "i32", fma), lambda x: abs(x) > 1.5
    return bits, lambda x: np.signbit(x)


@pytest.mark.parametrize("kinds", [*itertools.combinations(("different", "tiny", "beyond", "square", "sign"), 2)])
def test_no_bit_is_missed(kinds: tuple[str, str]) -> None:
    x = one_in_many("float32")
    x = np.concatenate([x, np.where(np.isnan(x), 1.0, x).astype("float32"), np.ones(7, "float32")])
    graph = Graph()
    graph.input("f32")
    sign, known = graph.constant("i32", -(2**31)), np.zeros(x.shape, bool)
    together = graph.constant("i32", 0)
    for kind in kinds:
        number, holds = leaf(graph, kind)
        known |= holds(x)
        number = number if kind == "different" else graph.node("and", "i32", number, sign)
        together = graph.node("or", "i32", together, number)
    condition = graph.node("icmp", "i1", together, graph.constant("i32", 0), data="ne")
    found, told = run(graph, condition, "f32", x), ~np.isnan(x) if "square" in kinds else ...
    np.testing.assert_array_equal(found[told], np.where(known, -1.0, 1.0)[told])
