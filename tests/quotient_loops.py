"""Loops of quotients and roots alone, with or without divisions, for the tests of both."""

from __future__ import annotations

import ctypes
import dataclasses
from typing import Any

import numpy as np
import pytest

from fastact.accuracy.samples import special, stratified
from fastact.cpu import compile
from fastact.cpu.lowering import quotients
from fastact.cpu.lowering.loops import LoopBuilder
from fastact.cpu.target import host
from fastact.cpu.ufunc import LOOP
from fastact.link.graph import Graph

SLOW = pytest.mark.skipif(not host().intel_server, reason="this processor has no slow divider")
DTYPES = {"f32": np.dtype(np.float32), "f64": np.dtype(np.float64)}
LEADING = {"f32": 24, "f64": 53}
OPERATIONS = ("a/b", "1/b", "-4/b", "1.3/b", "a/6", "a/3", "sqrt a")
TURN = 256
"""Bytes of a turn of four registers."""


def graph(operation: str, type: str) -> Graph:
    made = Graph()
    first, _, second = operation.partition("/")
    if not second:
        made.outputs.append(made.node("sqrt", type, made.input(type)))
        return made
    a = made.input(type) if first == "a" else made.constant(type, number(first, type))
    b = made.input(type) if second == "b" else made.constant(type, number(second, type))
    made.outputs.append(made.node("fdiv", type, a, b))
    return made


def number(text: str, type: str) -> float:
    return float(DTYPES[type].type(text))


def right(operation: str, type: str, *inputs: Any) -> Any:
    """What NumPy's divisions and roots, which are the processor's, make of it."""
    given = list(inputs)
    first, _, second = operation.partition("/")
    with np.errstate(all="ignore"):
        if not second:
            return np.sqrt(*given)
        a = given.pop(0) if first == "a" else DTYPES[type].type(first)
        return a / (given.pop(0) if second == "b" else DTYPES[type].type(second))


def built(
    made: Graph, slow: bool = True, evidence: Graph | None = None, varying: int = 0, spoilt: bool = False
) -> Any:
    """The module and the machine of a loop, with or without divisions; ``spoilt``: these divide and root wrongly."""
    target = dataclasses.replace(host().target(), slow_divider=slow)
    module = LoopBuilder(made, evidence, target, "kernel", 0, varying).build()
    module.triple = host().triple
    text = str(module)
    if spoilt:
        assert ("fdiv" in text) or ("llvm.sqrt" in text)
        text = text.replace("fdiv", "fsub").replace("llvm.sqrt", "llvm.ceil")
    return compile.optimize(text, host())


def address(made: Graph, slow: bool = True, symbol: str = "kernel", **rest: Any) -> int:
    module, machine = built(made, slow, **rest)
    return compile._loaded(machine.emit_object(module), symbol, host())


def call(loop: int, *inputs: Any) -> Any:
    out = np.empty_like(inputs[0])
    operands = (*inputs, out)
    places = (ctypes.c_void_p * len(operands))(*(v.ctypes.data for v in operands))
    steps = (ctypes.c_ssize_t * len(operands))(*(v.itemsize for v in operands))
    count = ctypes.c_ssize_t(out.size)
    LOOP(loop)(ctypes.addressof(places), ctypes.addressof(count), ctypes.addressof(steps), None)
    return out


def every(steps: Any, width: int) -> dict[Any, int]:
    return {
        node: quotients.registers(node.type, width)
        for node in steps
        if getattr(node, "op", "") in ("fdiv", "sqrt") and quotients._kind(node)
    }


def operands(operation: str, type: str, count: int) -> list[Any]:
    """Numbers of all exponents and special ones."""
    drawn = []
    for seed in range(operation.count("a") + operation.count("b")):
        numbers = np.concatenate([special(DTYPES[type]), stratified(DTYPES[type], count, seed)])
        drawn.append(np.random.default_rng(seed).permutation(np.resize(numbers, count)))
    return drawn


def scaled(type: str, whole: Any, exponents: Any) -> Any:
    """Integers of as many bits as numbers have, between 1 and 2, times powers of two."""
    mantissas = np.array(whole, np.float64) / 2.0 ** (LEADING[type] - 1)
    return np.ldexp(mantissas, exponents).astype(DTYPES[type])


def ordinary(type: str, count: int, seed: int) -> Any:
    random = np.random.default_rng(seed)
    return (random.uniform(1, 2, count) * 2.0 ** random.integers(-30, 30, count)).astype(DTYPES[type])


class Loops(dict[Any, int]):
    """Loops without divisions for ordinary numbers, compiled when they are first needed."""

    def __missing__(self, key: tuple[str, str]) -> int:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(quotients, "worthwhile", every)
            self[key] = address(graph(*key))
        return self[key]


LOOPS = Loops()
