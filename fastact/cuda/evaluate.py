"""A graph as a Python function of NumPy numbers or arrays: what the simulator runs, one operation at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fastact.cpu.steps import graph as step_graph
from fastact.cpu.steps import step_address, step_ufunc
from fastact.link.graph import Graph, Node
from fastact.link.sixteen import AWAY

TYPES: dict[str, Any] = {
    "i1": np.bool_, "i16": np.uint16, "i32": np.int32, "i64": np.int64, "f32": np.float32, "f64": np.float64,
}  # fmt: skip
STORED: dict[str, Any] = {name: TYPES[name] for name in ("i16", "f32", "f64")}
_UNSIGNED = {"i16": np.uint16, "i32": np.uint32, "i64": np.uint64, "f32": np.uint32, "f64": np.uint64}


@functools.cache
def _fused() -> np.ufunc:
    """The ufunc that computes fma(z, y, x) of (x, y, z), compiled for this machine's processor."""
    assert [node.op for node in step_graph("lookahead", "float64").live()] == ["input"] * 3 + ["fma"]
    for dtype in ("float32", "float64"):
        step_address("lookahead", dtype)
    return step_ufunc("lookahead")


def fma(x: Any, y: Any, z: Any) -> Any:
    """x * y + z, rounded once."""
    return _fused()(z, y, x)


def _bits(value: Any, type: str) -> Any:
    return np.asarray(value).view(_UNSIGNED[type])[()]


def _shift(operation: Any, type: str) -> Callable[[Any, Any], Any]:
    return lambda a, n: _as(operation(_bits(a, type), _bits(n, type)), type)


def _as(value: Any, type: str) -> Any:
    return np.asarray(value).view(TYPES[type])[()]


def _signed(value: Any) -> Any:
    """Stored bits of 16 as whole numbers with a sign."""
    return np.asarray(value).view(np.int16)[()]


def _cast(type: str) -> Callable[[Any], Any]:
    return lambda a: np.asarray(a).astype(TYPES[type])[()]


def _bfloat(value: Any) -> Any:
    """The upper half of a float32, rounded to nearest even; NaN stays NaN."""
    bits = _bits(value, "f32").astype(np.uint64)
    rounded = bits + np.uint64(0x7FFF) + ((bits >> np.uint64(16)) & np.uint64(1))
    kept: Any = np.where(np.isnan(value), bits | np.uint64(0x400000), rounded)
    return ((kept >> np.uint64(16)) & np.uint64(0xFFFF)).astype(np.uint16)


def _bfloat_away(value: Any) -> Any:
    """The same with ties away from zero."""
    bits = _bits(value, "f32").astype(np.uint64)
    kept: Any = np.where(np.isnan(value), bits, bits + np.uint64(0x8000))
    return ((kept >> np.uint64(16)) & np.uint64(0xFFFF)).astype(np.uint16)


def _select(condition: Any, a: Any, b: Any) -> Any:
    chosen: Any = np.where(condition, a, b)
    return chosen[()]


_SIMPLE: dict[str, Callable[..., Any]] = {
    "fadd": np.add, "fsub": np.subtract, "fmul": np.multiply, "fdiv": np.divide, "fma": fma, "sqrt": np.sqrt,
    "fabs": np.abs, "fneg": np.negative, "copysign": np.copysign, "rint": np.rint, "floor": np.floor,
    "iadd": np.add, "isub": np.subtract, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
}  # fmt: skip
_COMPARE: dict[str, Callable[..., Any]] = {
    "olt": np.less, "ole": np.less_equal, "ogt": np.greater, "oge": np.greater_equal, "oeq": np.equal,
    "slt": np.less, "sle": np.less_equal, "sgt": np.greater, "sge": np.greater_equal, "eq": np.equal,
    "ne": np.not_equal,
}  # fmt: skip


def _operation(node: Node) -> Callable[..., Any]:
    """The function that computes a node from its arguments."""
    op, type = node.op, node.type
    if op in _SIMPLE:
        return _SIMPLE[op]
    if op in ("fcmp", "icmp"):
        if node.data == "uno":
            return lambda a, b: np.isnan(a) | np.isnan(b)
        compare = _COMPARE[str(node.data)]
        signed = node.args[0].type == "i16"  # held without a sign
        return (lambda a, b: compare(_signed(a), _signed(b))) if signed else compare
    if op == "select":
        return _select
    if op == "bitcast":
        return lambda a: _as(a, type)
    if op == "shl":
        return _shift(np.left_shift, type)
    if op == "lshr":
        return _shift(np.right_shift, type)
    if op == "ashr":
        return (lambda a, n: _as(_signed(a) >> _signed(n), type)) if type == "i16" else np.right_shift
    if op in ("fpext", "fptrunc", "sitofp", "itrunc", "sext"):
        return _cast(type)
    if op == "zext":
        source = node.args[0].type
        return lambda a: np.asarray(a if source == "i1" else _bits(a, source)).astype(TYPES[type])[()]
    if op == "lookup":
        table = np.array([float.fromhex(text) for text in node.data], TYPES[type])  # type: ignore[attr-defined]
        return lambda index: table[index]
    if op == "half_to_single":
        return lambda a: np.asarray(a).view(np.float16).astype(np.float32)[()]
    if op == "single_to_half":
        return lambda a: np.asarray(np.asarray(a).astype(np.float16)).view(np.uint16)[()]
    if op == "bfloat_to_single":
        return lambda a: _as(np.asarray(a).astype(np.uint32) << np.uint32(16), "f32")
    if op == "single_to_bfloat":
        return _bfloat
    if op == AWAY:
        return _bfloat_away
    if op == "upper_half":
        return lambda a: (_bits(a, "f32") >> np.uint32(16)).astype(np.uint16)
    raise NotImplementedError(op)


def evaluate(graph: Graph) -> Callable[..., list[Any]]:
    """A function of the inputs, as they are stored, that returns the outputs."""
    steps: list[tuple[int, Callable[..., Any], list[int]]] = []
    constants: dict[int, Any] = {}
    for node in graph.live():
        if node.op == "constant":
            text: Any = node.data
            number = np.asarray(float.fromhex(text) if isinstance(text, str) else np.int64(text))
            constants[node.index] = number.astype(TYPES[node.type])[()]
        elif node.op != "input":
            steps.append((node.index, _operation(node), [a.index for a in node.args]))
    places, results = [node.index for node in graph.inputs], [node.index for node in graph.outputs]

    def run(*inputs: Any) -> list[Any]:
        values = dict(constants)
        values.update(zip(places, inputs, strict=True))
        with np.errstate(all="ignore"):
            for index, operation, arguments in steps:
                values[index] = operation(*[values[a] for a in arguments])
        return [values[index] for index in results]

    return run
