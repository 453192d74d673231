"""Products with an incoming gradient that are zero have the sign that IEEE 754 gives a product."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("ml_dtypes")

from accuracy_cases import DTYPES, NAMES, REGISTRY, TIERS

import fastact
from fastact.accuracy.measure import settings
from fastact.accuracy.ulp import Floats, format_of, nearest
from fastact.cpu.kernels import inner_ufunc
from fastact.link.forms import Form, forms

FORMS = [
    (name, form)
    for name in NAMES
    for form, described in forms(REGISTRY[name]).items()
    if described.arguments[0] == "g" and not described.base
]


def inputs(dtype: str) -> Floats:
    """Numbers of every size, the smallest and the largest among them, and of either sign."""
    kind = format_of(dtype)
    least, most = 2.0**kind.smallest_exponent, kind.largest
    sizes = [least, 3 * least, kind.smallest_normal, 1e-3, 0.3, 1.0, 1.5, 2.5, 6.0, 20.0, 100.0, most**0.5, most / 4]
    with np.errstate(all="ignore"):
        return nearest([*(s * x for x in (0.0, *sizes, most, np.inf) for s in (1, -1))], dtype).astype(kind.dtype)


def slopes(name: str, form: Form, x: Floats, parameters: tuple[Any, ...]) -> Floats:
    """What the incoming gradient is multiplied with."""
    if form.name == "from_output":
        return np.asarray(inner_ufunc(name, form.name, "exact")(np.ones_like(x), x, *parameters))
    gradient = "grad" if form.name == "backward" else form.name.replace("backward_", "grad_")
    return np.asarray(inner_ufunc(name, gradient, "exact")(x, *parameters))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "form"), FORMS)
def test_zeros_have_the_sign_of_both_factors(name: str, form: str, dtype: str) -> None:
    """But for slopes that are 0 themselves: there is nothing to multiply with where a function is a constant."""
    described, kind = forms(REGISTRY[name])[form], format_of(dtype).dtype.type
    parameters = tuple(map(kind, settings(REGISTRY[name], dtype) if described.parameters else ()))
    x, seen = inputs(dtype), 0
    with np.errstate(all="ignore"):
        if form == "from_output":
            x = np.asarray(inner_ufunc(name, "value", "exact")(x, *parameters))
        slope = slopes(name, described, x, parameters)
        # Compiling is what takes time.
        for tier in TIERS if dtype == "float64" else TIERS[:2]:
            for g in (0.0, -0.0):
                y = np.asarray(inner_ufunc(name, form, tier)(np.full_like(x, g), x, *parameters))
                of_interest = (y == 0) & (slope != 0) & ~np.isnan(slope)
                wrong = of_interest & (np.signbit(y) != (np.signbit(slope) != np.signbit(g)))
                assert not wrong.any(), f"{tier}: {g} times {slope[wrong][0]!r} at {x[wrong][0]!r}"
                seen += int(np.count_nonzero(of_interest))
    assert seen or (slope == 0).all()


def test_quotients_keep_the_sign_of_a_pole() -> None:
    for name in ("log", "log2"):
        x = np.array([0.0, -0.0])
        with np.errstate(all="ignore"):
            found = inner_ufunc(name, "backward", "exact")(np.full(2, 1.5), x)
            assert found.tolist() == (1.5 * inner_ufunc(name, "grad", "exact")(x)).tolist()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    ("name", "x"),
    [("silu", -1.2785), ("gelu", -0.7518), ("mish", -1.1925), ("gelu_tanh", -0.7525), ("quick_gelu", -0.7512)],
)
def test_next_to_roots_infinite_and_vanished_gradients_are_products(name, x, dtype):
    """There what is left of terms is multiplied in two words, which have neither infinities nor zeros with a sign."""
    x = np.linspace(x - 2**-9, x + 2**-9, 101).astype(dtype)
    door = getattr(fastact, name)
    slope = door.grad(x)
    assert (slope < 0).any() and (slope > 0).any()
    for g in (np.inf, -np.inf, 0.0, -0.0):
        found, wanted = door.backward(np.full_like(x, g), x), np.asarray(g, dtype) * slope
        assert found.tobytes() == wanted.tobytes()
