"""PyTorch, JAX and SciPy agree with ours: values, gradients by their own differentiation, defaults, special inputs.

Functions are taken from the registry; a new one needs a peer, or a statement in ``peer_table`` that nobody has it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import peer_table
import pytest
from peers_compared import (
    DTYPES,
    LIBRARIES,
    OTHER,
    REACH,
    at_default,
    away_from,
    compare,
    distance,
    elsewhere,
    expression,
    general,
    inputs,
    mentions,
    ours,
    theirs,
)

from fastact.accuracy.ulp import neighbour
from fastact.kernels import ALIASES, REGISTRY

DIFFERENTIATING = ("torch", "jax")
HAVE = [(library, name) for library in LIBRARIES for name in REGISTRY if expression(name, library)]
DIFFERENTIATED = [(library, name) for library, name in HAVE if library in DIFFERENTIATING]
WITH_OTHERS = [
    (library, name) for library in LIBRARIES for name, d in REGISTRY.items() if d.parameters and general(name, library)
]
LEARNED = [(name, p.name) for name, d in REGISTRY.items() for p in d.parameters if p.gradient is not None]


def learned_elsewhere(name: str, parameter: str) -> Iterator[tuple[str, str]]:
    """The libraries that differentiate by a parameter, with their expressions."""
    for library in DIFFERENTIATING:
        text = general(name, library)
        if text and mentions(text, parameter):
            yield library, text


def kinks(name: str, dtype: str) -> list[float]:
    """The inputs at which our gradient jumps, among those that deserve attention."""
    declaration = REGISTRY[name]
    found, par = [], at_default(declaration, dtype)
    points = {*declaration.critical, *par.values()} - {float("inf")}
    for point in sorted(points):
        x = np.asarray([point], dtype)
        beside = np.concatenate([neighbour(x, -1), neighbour(x, 1)])
        below, above = ours(name, beside, par, "grad").astype(np.float64).tolist()
        if abs(above - below) > 1e-3 * max(1.0, abs(above)):
            found.append(point)
    return found


# -- completeness ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", REGISTRY)
def test_every_function_has_a_peer_or_a_statement(name: str) -> None:
    there = [library for library in LIBRARIES if expression(name, library)]
    assert bool(there) != (name in peer_table.NOBODY), f"{name}: {there or 'no peer, and nothing says so'}"


@pytest.mark.parametrize(("name", "parameter"), LEARNED)
def test_every_learned_parameter_has_a_peer_or_a_statement(name: str, parameter: str) -> None:
    there = list(learned_elsewhere(name, parameter))
    stated = (name, parameter) in peer_table.NO_GRADIENT or name in peer_table.NOBODY
    assert bool(there) or stated, f"{name}: nobody differentiates by {parameter}, and nothing says so"


# -- values and gradients -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("library", "name"), HAVE)
def test_values(library: str, name: str, dtype: str) -> None:
    pytest.importorskip(library)
    text, declaration = expression(name, library), REGISTRY[name]
    x = inputs(declaration, library, "value", dtype)
    compare(library, name, str(text), dtype, at_default(declaration, dtype), "value", x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("library", "name"), DIFFERENTIATED)
def test_gradients(library: str, name: str, dtype: str) -> None:
    pytest.importorskip(library)
    text, declaration = expression(name, library), REGISTRY[name]
    x = away_from(inputs(declaration, library, "grad", dtype), kinks(name, dtype))
    compare(library, name, str(text), dtype, at_default(declaration, dtype), "grad", x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("library", "name"), WITH_OTHERS)
def test_other_parameters(library: str, name: str, dtype: str) -> None:
    pytest.importorskip(library)
    text, declaration = general(name, library), REGISTRY[name]
    par = elsewhere(declaration, dtype)
    for form in ("value", "grad") if library in DIFFERENTIATING else ("value",):
        label = f"{form}*"
        x = inputs(declaration, library, label, dtype, 600)
        x = away_from(x[np.abs(x) <= REACH[dtype] / OTHER], kinks(name, dtype))
        compare(library, name, str(text), dtype, par, label, x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "parameter"), [key for key in LEARNED if key not in peer_table.NO_GRADIENT])
def test_gradients_of_parameters(name: str, parameter: str, dtype: str) -> None:
    declaration = REGISTRY[name]
    found = list(learned_elsewhere(name, parameter))
    if not found:
        pytest.skip(peer_table.NOBODY[name])
    for library, text in found:
        pytest.importorskip(library)
        for par in (at_default(declaration, dtype), elsewhere(declaration, dtype)):
            x = inputs(declaration, library, f"grad_{parameter}", dtype, 600)
            x = away_from(x[np.abs(x) <= REACH[dtype] / OTHER], [0.0])
            compare(library, name, text, dtype, par, f"grad_{parameter}", x)


# -- kinks, NaN, infinities -----------------------------------------------------------------------------------------
KINKED = {
    "relu": [0.0], "leaky_relu": [0.0], "prelu": [0.0], "relu6": [0.0, 6.0], "hardtanh": [-1.0, 1.0],
    "hardsigmoid": [-3.0, 3.0], "hardswish": [-3.0, 3.0], "hardshrink": [-0.5, 0.5], "softshrink": [-0.5, 0.5],
    "sparse_sigmoid": [-1.0, 1.0], "threshold": [0.25], "jump_relu": [0.25], "mish": [], "silu": [], "gelu": [],
}  # fmt: skip


@pytest.mark.parametrize("name", KINKED)
def test_kinks_are_found(name: str) -> None:
    assert kinks(name, "float32") == kinks(name, "float64") == KINKED[name]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("library", "name"), DIFFERENTIATED)
def test_gradients_at_kinks(library: str, name: str, dtype: str) -> None:
    pytest.importorskip(library)
    declaration, points = REGISTRY[name], kinks(name, dtype)
    if not points:
        return
    par, x = at_default(declaration, dtype), np.array(points, dtype)
    other = theirs(library, str(expression(name, library)), x, par, "x")
    known = dict(peer_table.AT_KINKS.get((library, name), {}))
    for point, a, b in zip(points, ours(name, x, par, "grad"), other, strict=True):
        stated = next((k for k in known if np.isclose(k, point, rtol=1e-6, atol=0)), None)
        if stated is not None:
            same = np.isclose(b, known.pop(stated), rtol=1e-5)
            assert same and b != a, f"{library}'s gradient of {name} at {point:g} is {b!r}, ours {a!r}"
        else:
            apart = distance(library, np.array([a]), np.array([b]), 0.25)
            # 1/6 in float32, whatever the dtype
            allowed = 2.0**28 if (library, name) == ("torch", "hardsigmoid") and dtype == "float64" else 4.0
            assert apart[0] <= allowed, f"gradient of {name} at {point:g}: ours {a!r}, {library} {b!r}"
    assert not known, f"no kinks of {name}: {list(known)}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("library", "name"), HAVE)
def test_nan(library: str, name: str, dtype: str) -> None:
    """NaN stays NaN; several of their gradients make a number of it."""
    pytest.importorskip(library)
    par, x = at_default(REGISTRY[name], dtype), np.array([np.nan], dtype)
    assert np.isnan(ours(name, x, par)).all() and np.isnan(ours(name, x, par, "grad")).all()
    other = theirs(library, str(expression(name, library)), x, par)
    assert np.isnan(other).all() != ((library, name) in peer_table.OF_NAN)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("library", "name"), HAVE)
def test_infinities(library: str, name: str, dtype: str) -> None:
    """Where they have a number it is ours; NaN they have also where the limit exists."""
    pytest.importorskip(library)
    declaration = REGISTRY[name]
    low, high = declaration.domain
    x = np.array([v for v in (-np.inf, np.inf) if low <= v <= high], dtype)
    par, text = at_default(declaration, dtype), str(expression(name, library))
    for form in ("value", "grad") if library in DIFFERENTIATING else ("value",):
        mine, other = ours(name, x, par, form), theirs(library, text, x, par, None if form == "value" else "x")
        assert (np.isnan(mine) == ((name, form) in peer_table.NO_LIMIT)).all()
        same = np.isnan(other) | (distance(library, mine, other, 1.0) <= 1.0)
        assert same.all(), f"{name}.{form}({x[~same]}): ours {mine[~same]}, {library} {other[~same]}"


# -- defaults -------------------------------------------------------------------------------------------------------
def signature(function: Any) -> dict[str, Any]:
    """Argument -> default (``inspect.Parameter.empty`` if there is none); builtins state theirs in the docstring."""
    try:
        return {name: p.default for name, p in inspect.signature(function).parameters.items()}
    except ValueError:
        text = re.search(r"\w+\((.*?)\) -> ", function.__doc__ or "")
        assert text, function
        parts = [part.partition("=") for part in text[1].split(",")]
        return {
            name.strip(): float(value) if re.fullmatch(r"[-\d.e ]+", value) else value or inspect.Parameter.empty
            for name, _, value in parts
        }


FLAGS = {"inplace", "approximate", "training", "out", "dim", "axis"}
"""Arguments of theirs that are no parameters of the function."""
OPTIONS = {
    ("torch", "softplus"): {"threshold"},  # where it gives up; ours has no need of it
}
NAMES = {
    "torch": {"logsigmoid": "logsigmoid"},
    "jax": {
        "hardtanh": "hard_tanh", "hardsigmoid": "hard_sigmoid", "hardswish": "hard_swish",
        "logsigmoid": "log_sigmoid", "softsign": "soft_sign",
    },
}  # fmt: skip


def namesakes(library: str) -> Iterator[tuple[str, Any]]:
    """Their functions that bear the names of ours."""
    home = __import__("torch.nn.functional" if library == "torch" else "jax.nn", fromlist=["*"])
    for name in REGISTRY:
        function = getattr(home, NAMES[library].get(name, name), None)
        if callable(function):
            yield name, function


@pytest.mark.parametrize("library", DIFFERENTIATING)
def test_defaults(library: str) -> None:
    pytest.importorskip(library)
    seen = 0
    for name, function in namesakes(library):
        given = signature(function)
        _, *rest = [n for n in given if n not in FLAGS | OPTIONS.get((library, name), set())]
        own = {p.name: p.default for p in REGISTRY[name].parameters}
        assert set(rest) <= set(own), f"{library}'s {name} takes {rest}, ours {list(own)}"
        for parameter in rest:
            usual = None if given[parameter] is inspect.Parameter.empty else given[parameter]
            expected = peer_table.DEFAULTS_DIFFER.get((library, name, parameter), own[parameter])
            assert usual == expected, f"{name}: {library} has {parameter} = {usual}, ours {own[parameter]}"
        seen += 1
    assert seen >= 8


def test_the_names_of_torch_are_ours() -> None:
    """Activations of torch.nn.functional with one input are found here under its name."""
    functional = pytest.importorskip("torch.nn.functional")
    wanted = {
        "relu", "relu6", "leaky_relu", "prelu", "hardtanh", "threshold", "silu", "mish", "gelu", "hardsigmoid",
        "hardswish", "hardshrink", "softshrink", "softplus", "logsigmoid", "sigmoid", "tanh",
    }  # fmt: skip
    assert all(hasattr(functional, name) for name in wanted)
    assert wanted <= {*REGISTRY, *ALIASES}
