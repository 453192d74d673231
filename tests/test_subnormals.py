"""Subnormal results that no instruction of floats meets: sums, products and roots with such numbers take some
processors a hundred cycles each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("ml_dtypes")

from fastact.accuracy.ulp import format_of
from fastact.cpu.lowering.order import Detour, order
from fastact.cuda.evaluate import TYPES, _operation
from fastact.kernels import REGISTRY
from fastact.link.forms import kernel
from fastact.link.graph import Graph, Node

LEAST = {"f32": 2.0**-126, "f64": 2.0**-1022}


def subnormal(value: Any, type: str) -> Any:
    return (value != 0) & (np.abs(value) < LEAST[type])


def slow(node: Node, value: Any, given: list[Any]) -> bool:
    """Whether an operation takes long for some element: products, quotients and roots with or of subnormal numbers,
    zeros apart, and sums of normal numbers that are subnormal."""
    if node.op not in ("fadd", "fsub", "fmul", "fdiv", "fma", "sqrt"):
        return False
    small = [subnormal(a, node.type) for a in given]
    met = subnormal(value, node.type)
    if node.op in ("fadd", "fsub"):
        return bool((met & ~(small[0] | small[1])).any())
    if node.op in ("fmul", "fma"):
        nothing = (given[0] == 0) | (given[1] == 0)
        return bool((~nothing & (met | np.logical_or.reduce(np.broadcast_arrays(*small)))).any())
    return bool((met | np.logical_or.reduce(np.broadcast_arrays(*small))).any())


def met(graph: Graph, *inputs: Any) -> list[Node]:
    """The operations of a graph that take long for some of the inputs, what is rare left out unless it is wanted."""
    values: dict[int, Any] = {}
    found: list[Node] = []
    values.update(zip((node.index for node in graph.inputs), inputs, strict=True))

    def compute(node: Node) -> None:
        if node.op == "input":
            return
        if node.op == "constant":
            text: Any = node.data
            number = float.fromhex(text) if isinstance(text, str) else text
            values[node.index] = np.asarray(number).astype(TYPES[node.type])[()]
            return
        given = [values[a.index] for a in node.args]
        values[node.index] = _operation(node)(*given)
        if slow(node, values[node.index], given):
            found.append(node)

    with np.errstate(all="ignore"):
        for step in order(graph, detours=True):
            if not isinstance(step, Detour):
                compute(step)
            elif np.any(values[step.condition.index]):
                for node in (*step.nodes, *step.members):
                    compute(node)
            else:
                values.update((member.index, values[member.args[2].index]) for member in step.members)
    return found


def stored(x: Any, dtype: str) -> Any:
    """Numbers as a graph takes them."""
    kind = format_of(dtype)
    return x.astype(kind.dtype).view(kind.bits if dtype in ("float16", "bfloat16") else kind.dtype)


REACH = np.linspace(0.25, 12.0, 4001)
CASES = [
    (name, form, dtype, tier)
    for name, form in (("erfc", "value"), ("erf", "grad"), ("erfc", "grad"), ("erf", "backward"))
    for dtype in ("float32", "float16", "bfloat16")
    for tier in ("fast", "rough")
]


@pytest.mark.parametrize(("name", "form", "dtype", "tier"), CASES)
def test_tails_meet_none(name: str, form: str, dtype: str, tier: str) -> None:
    graph = kernel(REGISTRY[name], form, dtype, tier).graph
    inputs = [np.linspace(-2.0, 2.0, REACH.size)] * (form == "backward") + [REACH]
    inputs = [stored(x, dtype) for x in inputs]
    assert not met(graph, *inputs)


def test_such_operations_are_found() -> None:
    graph = kernel(REGISTRY["exp"], "value", "float32", "rough").graph
    assert not met(graph, stored(np.linspace(-80.0, 80.0, 999), "float32"))
    assert met(graph, stored(np.linspace(-100.0, -90.0, 999), "float32"))


SATURATED = [
    *((name, "value", "bfloat16", "fast") for name in ("exp", "sigmoid", "silu", "quick_gelu", "mish", "tanh")),
    *((name, "grad", "bfloat16", "fast") for name in ("exp", "selu", "sigmoid", "silu")),
]


@pytest.mark.parametrize(("name", "form", "dtype", "tier"), SATURATED)
def test_far_out_none_is_met(name: str, form: str, dtype: str, tier: str) -> None:
    x = np.geomspace(200.0, 2.0**100, 999)
    graph = kernel(REGISTRY[name], form, dtype, tier).graph
    assert not met(graph, stored(np.concatenate([-x, x]), dtype))
