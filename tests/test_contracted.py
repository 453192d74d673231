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
@pytest.mark.parametrize(("name", "form", "dtype"), CASES)
def test_all_inputs_have_the_bits_of_plain_operations(name, form, dtype):
    declaration = REGISTRY[name]
    graph = kernel(declaration, usual_form(declaration, form), dtype, "fast").graph
    graph = graph.part([node for node in graph.outputs if node.type != "i1"])
    x = every(dtype)
    with np.errstate(all="ignore"):
        here, plain = (results(graph, processor, x) for processor in (host(), baseline(FEATURES["avx2"])))
    assert (here == plain).all(), x[here != plain][:5]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_exponentials_are_two_instructions_and_a_polynomial(dtype):
    graph = contracted(kernel(REGISTRY["exp"], "value", dtype, "fast").graph)
    found = [node.op for node in graph.live()]
    assert found.count("fraction") == found.count("scale") == 1
    assert not {"floor", "bitcast", "shl"} & set(found)


@pytest.mark.parametrize(("dtype", "fractions"), [("float16", 1), ("bfloat16", 0)])
def test_pieces_take_the_size_within_a_limit_and_what_is_left_of_it(dtype, fractions):
    graph = contracted(kernel(REGISTRY["gelu"], "value", dtype, "fast").graph)
    found = [node.op for node in graph.live()]
    assert found.count("size_within") == 1 and found.count("fraction") == fractions
    assert "fabs" not in found
