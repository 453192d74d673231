"""The operators of ONNX that are functions of ours, on the inputs and expected outputs of its own test cases.

Attributes become our parameters. onnx is no dependency of the tests; without it they are skipped.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastact.accuracy.ulp import Floats, ulp
from fastact.function import FUNCTIONS
from fastact.kernels import ALIASES, REGISTRY

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnx.backend.test.case.node")

Mapped = Callable[..., Any]
"""What computes an operator of the inputs, in ONNX's order, and of the attributes by keyword."""


def ours(name: str) -> Any:
    """A function of ours; a test that needs one which is not there is skipped."""
    if name not in FUNCTIONS:
        pytest.skip(f"fastact has no {name}")
    return FUNCTIONS[name]


def of_one(name: str) -> Mapped:
    return lambda x: ours(name)(x)


def _prelu(x: Floats, slope: Floats) -> Floats:
    """ONNX broadcasts the slope in one direction only, as NumPy does anyway."""
    return np.asarray(ours("prelu")(x, slope))


def _selu(x: Floats, alpha: float, gamma: float) -> Floats:
    """With other constants than its own, selu is a multiple of elu."""
    if (np.float32(alpha), np.float32(gamma)) == (np.float32(1.6732632423543772), np.float32(1.0507009873554805)):
        return np.asarray(ours("selu")(x))
    return np.asarray(x.dtype.type(gamma) * ours("elu")(x, alpha))


def _gelu(x: Floats, approximate: bytes) -> Floats:
    return np.asarray(ours("gelu_tanh" if approximate == b"tanh" else "gelu")(x))


def _shrink(x: Floats, lambd: float, bias: float) -> Floats:
    """hardshrink has no bias, softshrink one as large as lambd."""
    if bias not in (0.0, lambd):
        raise NotImplementedError(f"shrink by {bias} outside {lambd}")
    return np.asarray(ours("softshrink" if bias else "hardshrink")(x, lambd))


def _clip(x: Floats, lowest: Floats | None = None, highest: Floats | None = None) -> Floats:
    low = -np.inf if lowest is None else float(lowest)
    high = np.inf if highest is None else float(highest)
    return np.asarray(ours("hardtanh")(x, low, high))


OPERATORS: dict[str, Mapped] = {
    "Relu": of_one("relu"),
    "LeakyRelu": lambda x, alpha: ours("leaky_relu")(x, negative_slope=alpha),
    "PRelu": _prelu,
    "ThresholdedRelu": lambda x, alpha: ours("threshold")(x, alpha, 0.0),
    "Elu": lambda x, alpha: ours("elu")(x, alpha=alpha),
    "Celu": lambda x, alpha: ours("celu")(x, alpha=alpha),
    "Selu": _selu,
    "Sigmoid": of_one("sigmoid"),
    "HardSigmoid": lambda x, alpha, beta: ours("hardsigmoid")(x, slope=alpha, offset=beta),
    "HardSwish": of_one("hardswish"),
    "Softplus": of_one("softplus"),
    "Softsign": of_one("softsign"),
    "Mish": of_one("mish"),
    "Gelu": _gelu,
    "Swish": lambda x, alpha: ours("swish")(x, beta=alpha),
    "Shrink": _shrink,
    "Erf": of_one("erf"),
    "Tanh": of_one("tanh"),
    "Exp": of_one("exp"),
    "Log": of_one("log"),
    "Reciprocal": of_one("reciprocal"),
    "Sqrt": of_one("sqrt"),
    "Clip": _clip,
}
"""Operator -> how we compute it."""

ELSEWHERE = {
    "test_clip_min_greater_than_max": "limits in the wrong order are an error of ours: see test_contrary_limits",
    "test_clip_default_int8_min": "whole numbers: our functions give floats, as np.exp does",
    "test_clip_default_int8_max": "whole numbers",
    "test_clip_default_int8_inbounds": "whole numbers",
}
"""Test cases that are not run, and why."""

ULPS = 1.0
"""Where what is expected was computed without further error, or in float64 and then rounded."""
LOOSER = {
    # expected is what this NumPy computes in float32, within these limits by its own tests
    "Exp": 3.0,
    "Log": 4.0,
    "Tanh": 2.0,
    # 1/(1 + exp(-x)) in float32: an exponential, a sum and a quotient are each rounded
    "Sigmoid": 4.0,
    # x/(1 + exp(-alpha x)), likewise
    "Swish": 5.0,
    # x tanh(log(1 + exp(x))) in float32
    "Mish": 6.0,
    # max(0, x) + min(0, alpha expm1(x/alpha)) in the dtype of x
    "Celu": 4.0,
    # alpha (exp(x) - 1) and gamma (alpha exp(x) - alpha) cancel next to 0: see FLOOR
    "Elu": 4.0,
    "Selu": 4.0,
}
FLOOR = {
    # log(exp(x) + 1) has the error of that sum
    "Softplus": 1.0,
    # 1 + tanh cancels for x < 0, and so does 1 + erf, but that in float64
    "test_gelu_tanh": 1.0,
    "Gelu": 1e-6,
    # alpha x + beta cancels next to its root
    "HardSigmoid": 0.5,
    "HardSwish": 0.5,
    "Selu": 4.0,
}
"""By operator or beginning of a case's name: ULPs are those of this number where results are smaller."""


@functools.cache
def cases() -> dict[str, Any]:
    """The node tests of the operators above that are models of one node, by name."""
    for kind in OPERATORS:
        importlib.import_module(f"onnx.backend.test.case.node.{kind.lower()}")
    everything = importlib.import_module("onnx.backend.test.case.node")._NodeTestCases
    alone = [c for c in everything if c.model is not None and len(c.model.graph.node) == 1]
    return {c.name: c for c in alone if operator(c) in OPERATORS}


def operator(case: Any) -> str:
    return str(case.model.graph.node[0].op_type)


def attributes(case: Any) -> dict[str, Any]:
    """Those of the node, and the operator's defaults."""
    node = case.model.graph.node[0]
    value = onnx.helper.get_attribute_value
    schema = onnx.defs.get_schema(node.op_type)
    usual = {name: value(a.default_value) for name, a in schema.attributes.items() if a.default_value.name}
    return usual | {a.name: value(a) for a in node.attribute}


def arguments(case: Any) -> list[Any]:
    """The inputs in the node's order; None where an optional one is left out."""
    given = iter(case.data_sets[0][0])
    return [next(given) if name else None for name in case.model.graph.node[0].input]


def test_every_operator_has_cases() -> None:
    assert {operator(case) for case in cases().values()} == set(OPERATORS)
    assert set(ELSEWHERE) <= set(cases())


def test_no_operator_with_a_name_of_ours_is_forgotten() -> None:
    plain = {name.replace("_", "") for name in (*REGISTRY, *ALIASES)}
    there = {schema.name for schema in onnx.defs.get_all_schemas()}
    assert {kind for kind in there if kind.lower() in plain} <= set(OPERATORS)


@pytest.mark.parametrize("name", [name for name in cases() if name not in ELSEWHERE])
def test_expected_output(name: str) -> None:
    case = cases()[name]
    kind = operator(case)
    with np.errstate(all="ignore"):
        found = np.asarray(OPERATORS[kind](*arguments(case), **attributes(case)))
    expected = np.asarray(case.data_sets[0][1][0])
    assert found.dtype == expected.dtype and found.shape == expected.shape
    wide = expected.astype(np.float64)
    floor = next((f for key, f in FLOOR.items() if key == kind or name.startswith(key)), 0.0)
    unit = ulp(np.maximum(np.abs(wide), floor), expected.dtype)
    errors = np.where(found == expected, 0.0, np.abs(found.astype(np.float64) - wide) / unit)
    assert errors.max() <= LOOSER.get(kind, ULPS), f"{errors.max():.3g} ULP"


def test_contrary_limits() -> None:
    """ONNX has the upper limit win, and so has PyTorch; to us such limits are an error, as nobody can mean them."""
    x, lowest, highest = arguments(cases()["test_clip_min_greater_than_max"])
    with pytest.raises(ValueError, match="min_val is greater than max_val"):
        FUNCTIONS["hardtanh"](x, float(lowest), float(highest))


DEFAULTS = {
    ("LeakyRelu", "alpha"): ("leaky_relu", "negative_slope"),
    ("Elu", "alpha"): ("elu", "alpha"),
    ("Celu", "alpha"): ("celu", "alpha"),
    ("Swish", "alpha"): ("swish", "beta"),
    ("Shrink", "lambd"): ("hardshrink", "lambd"),
}
"""Attributes, and the parameters of ours whose default is the same number."""


@pytest.mark.parametrize(("kind", "attribute"), DEFAULTS)
def test_defaults(kind: str, attribute: str) -> None:
    name, parameter = DEFAULTS[kind, attribute]
    default = onnx.defs.get_schema(kind).attributes[attribute].default_value.f
    assert np.float32(ours(name).parameters[parameter]) == np.float32(default)


def test_default_that_differs() -> None:
    """Our hardsigmoid has PyTorch's slope."""
    default = onnx.defs.get_schema("HardSigmoid").attributes["alpha"].default_value.f
    x = np.float32(1.0)
    assert np.float32(default) == np.float32(0.2)
    assert FUNCTIONS["hardsigmoid"](x) == np.float32(4 / 6) != FUNCTIONS["hardsigmoid"](x, slope=default)
