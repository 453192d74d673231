"""Instructions of AVX-512 that stand for several operations have their bits."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("ml_dtypes")

from accuracy_cases import REGISTRY
from test_bits import FEATURES

from fastact.accuracy.samples import every
from fastact.accuracy.ulp import to_bits
from fastact.cpu.compile import address
from fastact.cpu.lowering.contracted import contracted
from fastact.cpu.target import baseline, host
from fastact.cpu.ufunc import LOOP
from fastact.link.forms import forms, kernel, usual_form
from fastact.link.graph import Graph

NAMES = ("exp", "exp2", "silu", "sigmoid", "mish", "softplus", "quick_gelu", "gelu")
CASES = [
    (name, form, dtype)
    for name in NAMES
    for form in ("value", "grad")
    for dtype in ("float16", "bfloat16")
    if form in forms(REGISTRY[name])
]


def results(graph, processor, x):
    ends = [np.empty_like(x)]
    places = np.array([array.ctypes.data for array in (x, *ends)], np.intp)
    steps = np.full(2, x.itemsize, np.intp)
    count = np.array([x.size], np.intp)
    LOOP(address(graph, None, processor))(places.ctypes.data, count.ctypes.data, steps.ctypes.data, None)
    return np.where(np.isnan(ends[0].astype(np.float32)), 0x7FFF, to_bits(ends[0]))


@pytest.mark.skipif(not host().avx512, reason="it has no such instructions")
@pytest.mark.parametrize("tier", ["fast", "rough"])
@pytest.mark.parametrize(("name", "form", "dtype"), CASES)
def test_all_inputs_have_the_bits_of_plain_operations(name, form, dtype, tier):
    declaration = REGISTRY[name]
    graph = kernel(declaration, usual_form(declaration, form), dtype, tier).graph
    graph = graph.part([node for node in graph.outputs if node.type != "i1"])
    x = every(dtype)
    with np.errstate(all="ignore"):
        here, plain = (results(graph, processor, x) for processor in (host(), baseline(FEATURES["avx2"])))
    assert (here == plain).all(), x[here != plain][:5]


def test_what_floors_leave_is_rounded_to_nearest():
    """As where t is little below 0: 47% of such numbers differ if it is rounded down."""
    graph = Graph()
    t = graph.input("f32")
    n = graph.node("floor", "f32", t)
    graph.outputs.append(graph.node("fsub", "f32", t, n))
    pushed = graph.node("fadd", "f32", n, graph.constant("f32", 1.5 * 2.0**23 + 127.0))
    shifted = graph.node("shl", "i32", graph.node("bitcast", "i32", pushed), graph.constant("i32", 23))
    power = graph.node("bitcast", "f32", shifted)
    graph.outputs.append(graph.node("fmul", "f32", graph.outputs[0], power))
    assert [node.op for node in contracted(graph).live()].count("scale") == 1
    t = np.concatenate([-np.random.default_rng(3).uniform(0, 2, 1000), -(2.0 ** -np.arange(1, 40))]).astype(np.float32)
    left, product = np.empty_like(t), np.empty_like(t)
    places = np.array([a.ctypes.data for a in (t, left, product)], np.intp)
    steps, count = np.full(3, 4, np.intp), np.array([t.size], np.intp)
    LOOP(address(graph, None, host()))(places.ctypes.data, count.ctypes.data, steps.ctypes.data, None)
    assert (left == t - np.floor(t)).all() and (product == left * np.exp2(np.floor(t))).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_exponentials_multiply_by_powers_at_once(dtype):
    graph = contracted(kernel(REGISTRY["exp"], "value", dtype, "fast").graph)
    found = [node.op for node in graph.live()]
    assert found.count("scale") == 1
    assert not {"fraction", "bitcast", "shl"} & set(found)


@pytest.mark.parametrize(("dtype", "fractions"), [("float16", 1), ("bfloat16", 0)])
def test_pieces_take_the_size_within_a_limit_and_what_is_left_of_it(dtype, fractions):
    graph = contracted(kernel(REGISTRY["gelu"], "value", dtype, "fast").graph)
    found = [node.op for node in graph.live()]
    assert found.count("size_within") == 1 and found.count("fraction") == fractions
    assert "fabs" not in found
