"""Elements of tables times powers of two, in one instruction where there is one, with the bits of the others."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from accuracy_cases import REGISTRY

from fastact.cpu.compile import address, assembly
from fastact.cpu.lowering import powers, sweeps
from fastact.cpu.target import host
from fastact.cpu.ufunc import LOOP
from fastact.link.forms import kernel
from fastact.link.graph import Graph

pytestmark = pytest.mark.skipif(not host().target().avx512, reason="an instruction of AVX-512")
VALUES = [(name, "value") for name in ("exp", "exp2", "sigmoid", "silu", "gelu")]
FORMS = [*VALUES, ("tanh", "grad")]


def computed(graph: Graph, x: np.ndarray) -> np.ndarray:
    loop, out = LOOP(address(graph, None)), np.empty_like(x)
    places = (ctypes.c_void_p * 2)(x.ctypes.data, out.ctypes.data)
    count, steps = ctypes.c_ssize_t(x.size), (ctypes.c_ssize_t * 2)(x.itemsize, x.itemsize)
    loop(ctypes.addressof(places), ctypes.addressof(count), ctypes.addressof(steps), None)
    return out


def values(name: str, form: str) -> Graph:
    graph = kernel(REGISTRY[name], form, "float32", "exact").graph
    return graph.part([node for node in graph.outputs if node.type != "i1"])


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_bits_are_those_of_sums_of_exponents(name: str, form: str, monkeypatch, tmp_path) -> None:
    graph = values(name, form)
    draw = np.random.default_rng(5)
    x = np.concatenate([
        draw.uniform(-110, 110, 300_000), draw.uniform(-1, 1, 100_000), draw.uniform(-1e6, 1e6, 10_000),
        [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 3e38, -3e38, 72.0, -72.0],
    ]).astype(np.float32)  # fmt: skip
    assert "vscalefps" in assembly(graph)
    found = computed(graph, x)
    monkeypatch.setenv("FASTACT_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(sweeps.powers, "scaled", lambda graph: graph)
    assert "vscalefps" not in assembly(graph)
    other = computed(graph, x)
    same = (found.view(np.uint32) == other.view(np.uint32)) | (np.isnan(found) & np.isnan(other))
    assert same.all(), x[~same][:5]


def test_what_else_needs_the_whole_number_leaves_it_as_it_is() -> None:
    """That of `expm1` is compared with a limit."""
    graph = values("expm1", "value")
    assert powers.scaled(graph) is graph
    assert powers.scaled(values("exp", "value")).digest() != values("exp", "value").digest()
