"""Parameters away from their defaults, and further ones, against arbitrary precision: values and all gradients.

The contract is proved with parameters at their defaults; here ``exact`` is held to its bound elsewhere too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("flint")
pytest.importorskip("ml_dtypes")

from accuracy_cases import DTYPES, NAMES, REGISTRY, SEED

from fastact.accuracy.case import Case
from fastact.accuracy.oracle import Oracle
from fastact.accuracy.ulp import Floats, format_of, nearest
from fastact.function import FUNCTIONS
from fastact.link.forms import forms

FACTORS = (0.3, 1.7, 6.0)
"""Parameters are taken at so many times their usual values."""
NARROW = 0.5 + 2.0**-20
"""Rounded once from twice the precision, which next to a tie may be the wrong way by as much as that has lost."""
WIDE = 0.501
COUNT = 200

WITH_PARAMETERS = [
    (name, form)
    for name in NAMES
    for form, f in forms(REGISTRY[name]).items()
    if f.parameters and not f.base and (form in ("value", "grad", "backward") or form.startswith("grad_"))
]
VARIANTS = [(name, REGISTRY[name].variant) for name in NAMES if REGISTRY[name].variant is not None]


def allowed(dtype: str) -> float:
    return WIDE if dtype == "float64" else NARROW


def moderate(case: Case) -> Floats:
    """Inputs of which products with parameters and gradients neither overflow nor vanish."""
    x = case.sample(COUNT, SEED)
    return x[np.isfinite(x) & (np.abs(x.astype(np.float64)) < case.format.largest**0.3)]


def gradient(x: Floats) -> Floats:
    """An incoming gradient."""
    return np.random.default_rng(SEED).standard_normal(x.size).astype(x.dtype)


def test_every_learned_parameter_has_its_gradient() -> None:
    for name in NAMES:
        for parameter in REGISTRY[name].parameters:
            assert parameter.learned == (parameter.gradient is not None), f"{name}: {parameter.name}"
            if parameter.learned:
                assert {f"grad_{parameter.name}", f"backward_{parameter.name}"} <= set(dir(FUNCTIONS[name]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "form"), WITH_PARAMETERS)
def test_away_from_the_defaults(name: str, form: str, dtype: str) -> None:
    case = Case(REGISTRY[name], form, dtype)
    door, usual = getattr(FUNCTIONS[name], form, FUNCTIONS[name]), np.array(case.parameters)
    x = moderate(case)
    more = (gradient(x),) if case.product else ()
    for factor in FACTORS:
        values = nearest(usual * factor, dtype)
        case.parameters = tuple(values.tolist())
        with np.errstate(all="ignore"):
            y = np.asarray(door(*more, x, *values.astype(x.dtype), approx="exact"))
        errors = case.oracle.ulp_error(x, y, *more, *values, wrt=case.wrt)
        at = int(errors.argmax())
        assert errors[at] <= allowed(dtype), (
            f"{name}.{form}({x[at]!r}) with {case.parameters} is {y[at]!r}, {errors[at]:.6g} ULP wrong "
            f"(FASTACT_TEST_SEED={SEED})"
        )


def known(name: str, variant: Any) -> str:
    """Which of the tests below has a variant."""
    return "formula" if variant.formula else variant.parameters[0].name


def test_every_variant_is_tested() -> None:
    assert {known(name, variant) for name, variant in VARIANTS} <= {"formula", "at_zero", "bandwidth"}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name, variant in VARIANTS if known(name, variant) == "formula"])
def test_variants_of_the_formula(name: str, dtype: str) -> None:
    declaration, function = REGISTRY[name], FUNCTIONS[name]
    variant, form = declaration.variant, format_of(dtype)
    assert variant is not None
    names = tuple(p.name for p in (*declaration.parameters, *variant.parameters))
    sample, seen = moderate(Case(declaration, "value", dtype)), 0
    for factor in (1.0, *FACTORS):
        usual = [p.default or 0.25 for p in (*declaration.parameters, *variant.parameters)]
        values = nearest(np.array(usual) * factor, dtype).astype(form.dtype)
        given = dict(zip(names, values, strict=True))
        edges = np.concatenate([values, 1 - values]).astype(form.dtype)
        x = sample[~np.isin(sample, edges)]  # kinks are a matter of taste
        g = gradient(x)
        try:
            function(x[:1], **given)
        except ValueError:  # out of the parameter's range
            continue
        seen += 1
        oracle, product = Oracle(variant.formula, names), Oracle(f"g*({variant.formula})", ("g", *names))
        with np.errstate(all="ignore"):
            found = [
                (oracle, function(x, **given), (), None),
                (oracle, function.grad(x, **given), (), "x"),
                (product, function.backward(g, x, **given), (g,), "x"),
            ]
        for truth, y, more, wrt in found:
            errors = truth.ulp_error(x, y, *more, *values, wrt=wrt)
            kept = np.isfinite(truth.rounded(x, *more, *values, wrt=wrt).astype(np.float64))
            assert errors[kept].max() <= allowed(dtype), f"{name} {given}: {x[kept][errors[kept].argmax()]!r}"
    assert seen >= 2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name, variant in VARIANTS if known(name, variant) == "at_zero"])
def test_the_gradient_at_zero_is_what_is_asked_for(name: str, dtype: str) -> None:
    function, number = FUNCTIONS[name], format_of(dtype).dtype.type
    x = np.array([-2.0, -0.0, 0.0, 2.0], number)
    par = {p: number(0.25) for p in function.parameters}
    usual, zero = function.grad(x, **par), x == 0
    for at_zero in (0.0, 0.5, 1.0):
        y = function.grad(x, at_zero=at_zero, **par)
        assert y.dtype == x.dtype and (y[zero] == number(at_zero)).all()
        np.testing.assert_array_equal(y[~zero], usual[~zero])
        product = function.backward(np.full_like(x, 3.0), x, at_zero=at_zero, **par)
        np.testing.assert_array_equal(product, y * number(3.0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_bandwidth_of_the_pseudo_derivative(dtype: str) -> None:
    number = format_of(dtype).dtype.type
    theta, bandwidth = number(0.5), number(0.25)
    x = np.array([0.0, 0.3, 0.40625, 0.5, 0.59375, 0.7, np.nan], number)
    y = FUNCTIONS["jump_relu"].grad_theta(x, theta, bandwidth=bandwidth)
    assert np.isnan(y[-1]) and y[:-1].tolist() == [0, 0, -2, -2, -2, 0]


@pytest.mark.parametrize("tier", ["exact", "fast", "rough"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_bandwidth_that_is_nan_is_passed_on(dtype: str, tier: str) -> None:
    number = format_of(dtype).dtype.type
    x = np.array([-np.inf, 0.0, 0.5, 2.0, np.inf, np.nan], number)
    bandwidth = np.array([np.nan, 0.25, 0.25], number)[:, None]
    slope = FUNCTIONS["jump_relu"].grad_theta(x, number(0.5), bandwidth=bandwidth, approx=tier)
    product = FUNCTIONS["jump_relu"].backward_theta(
        np.full((3, 1), 3, number), x, np.full((3, 6), 0.5, number), bandwidth=bandwidth, approx=tier
    )
    for found in (slope, product):
        assert np.isnan(found[0]).all() and np.isnan(found[1:, -1]).all() and not np.isnan(found[1:, :-1]).any()
    with np.errstate(all="raise"):
        FUNCTIONS["jump_relu"].grad_theta(x, number(0.5), bandwidth=number(np.nan), approx=tier)
