"""Exact float32 gates in pairs of float32: the bits are those of float64 with pairs where it is close."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

from fastact.cpu.compile import address
from fastact.cpu.ufunc import LOOP
from fastact.kernels import GATES
from fastact.link import linker
from fastact.link.gates import ARGUMENTS, OUTPUTS, gate_kernel

COUNT = 1 << 18
ROOTS = -1.2784645427610737, -0.7517915246935645
"""Of the gradients of silu and gelu."""


def samples(seed: int) -> list[Any]:
    """Numbers of common size, of all binades, next to roots, quarters that make ties, and such with special ones."""
    random = np.random.default_rng(seed)
    common = random.normal(0, 4, COUNT).astype(np.float32)
    whole = random.integers(0, 1 << 32, COUNT, dtype=np.uint32).view(np.float32)
    near = random.choice(np.array(ROOTS, np.float32), COUNT).view(np.int32)
    roots = (near + random.integers(-300, 300, COUNT).astype(np.int32)).view(np.float32)
    quarters = random.integers(-60, 60, COUNT).astype(np.float32) / 4
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 10.0, 25.0, 3.4e38], np.float32)
    mixed = np.where(random.random(COUNT) < 0.5, random.choice(special, COUNT), whole)
    return [common, whole, roots, quarters, mixed]


def computed(place: int, inputs: list[Any], outputs: int) -> list[Any]:
    results = [np.empty(COUNT, np.float32) for _ in range(outputs)]
    operands = [*inputs, *results]
    places = (ctypes.c_void_p * len(operands))(*(a.ctypes.data for a in operands))
    steps = (ctypes.c_ssize_t * len(operands))(*[4] * len(operands))
    count = ctypes.c_ssize_t(COUNT)
    LOOP(place)(ctypes.addressof(places), ctypes.addressof(count), ctypes.addressof(steps), None)
    return results


@pytest.mark.parametrize("form", ARGUMENTS)
@pytest.mark.parametrize("name", ("glu", "swiglu", "geglu"))
def test_bits_are_those_of_float64(name: str, form: str) -> None:
    gate, arguments, outputs = GATES[name], ARGUMENTS[form], OUTPUTS[form]
    body, chosen = getattr(gate, form), gate_kernel(gate, form, "float32", "exact")
    wide = linker._linked(body, len(arguments), "float32", "exact", None, "", [], True, False)
    assert chosen.graph.digest() != wide.digest()  # pairs were cheaper
    mine, theirs = address(chosen.graph, chosen.evidence), address(wide, chosen.evidence)
    first, second, third = (samples(seed) for seed in (1, 2, 3))
    for g in (first[0], first[1], first[4]):
        for a in second:
            for b in (third[0], third[1], third[3]):
                inputs = [g, a, b][-len(arguments) :]
                for y, truth in zip(*(computed(p, inputs, outputs) for p in (mine, theirs)), strict=True):
                    np.testing.assert_array_equal(y, truth)
