"""What is particular to log2, logit and sqrt, and to the parameters of units with an exponential or a square root."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("ml_dtypes")

from accuracy_cases import DTYPES, SEED, TIERS

import fastact
from fastact.accuracy.ulp import format_of


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tier", TIERS)
def test_log2_of_powers_of_two(dtype: str, tier: Any) -> None:
    form = format_of(dtype)
    whole = np.arange(form.smallest_exponent, form.largest_exponent)
    result = fastact.log2(np.ldexp(1.0, whole).astype(form.dtype), approx=tier)
    np.testing.assert_array_equal(result, whole.astype(form.dtype))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("tier", TIERS)
def test_sqrt_is_the_correctly_rounded_one(dtype: str, tier: Any) -> None:
    kind = np.dtype(dtype)
    bits = np.random.default_rng(SEED).integers(0, np.iinfo(f"i{kind.itemsize}").max, 20_000, f"i{kind.itemsize}")
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(fastact.sqrt(bits.view(kind), approx=tier), np.sqrt(bits.view(kind)))


@pytest.mark.parametrize("tier", TIERS)
def test_logit_is_held_within_eps(tier: Any) -> None:
    x = np.array([-np.inf, -1.0, 0.0, 0.1, 0.5, 0.9, 1.0, 7.0, np.inf])
    held = np.clip(x, 0.25, 0.75)
    np.testing.assert_array_equal(fastact.logit(x, eps=0.25, approx=tier), fastact.logit(held, approx=tier))
    inside = fastact.logit.grad(np.array([0.25, 0.5, 0.75]), approx=tier)
    np.testing.assert_array_equal(fastact.logit.grad(np.array([0.25, 0.5, 0.75]), eps=0.25, approx=tier), inside)
    assert not fastact.logit.grad(x[held != x], eps=0.25, approx=tier).any()
    g = np.full(x.shape, np.inf)
    assert not fastact.logit.backward(g, x, eps=0.25, approx=tier)[held != x].any()
    assert np.isnan(fastact.logit(np.array([np.nan]), eps=0.25, approx=tier)).all()
    assert np.isnan(fastact.logit(0.5, eps=np.nan, approx=tier))
    assert fastact.logit(0.75, eps=None, approx=tier) == fastact.logit(0.75, approx=tier)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tier", TIERS)
def test_logit_held_at_its_poles_divides_by_zero(dtype: str, tier: Any) -> None:
    number = format_of(dtype).dtype.type
    for x in (-2.0, -0.0, 0.0, 1.0, 7.0):
        with np.errstate(all="raise"):
            with pytest.raises(FloatingPointError, match="divide by zero"):
                fastact.logit(np.array([x], number), eps=number(0), approx=tier)
            assert np.isfinite(fastact.logit(np.array([x], number), eps=number(0.25), approx=tier)).all()
            assert np.isinf(fastact.logit(np.array([-np.inf, np.inf], number), eps=number(0), approx=tier)).all()


def test_logit_is_odd_about_one_half() -> None:
    a = np.random.default_rng(SEED).integers(1, 2**23, 10_000) / 2.0**24
    for tier in TIERS:
        np.testing.assert_array_equal(fastact.logit(a, approx=tier), -fastact.logit(1 - a, approx=tier))


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: fastact.celu(1.0, alpha=0), "alpha is 0"),
        (lambda: fastact.celu.grad(1.0, np.array([1.0, -0.0])), "alpha is 0"),
        (lambda: fastact.squareplus(1.0, -1.0), "b is negative"),
        (lambda: fastact.logit(0.5, eps=0.6), r"eps is outside \[0, 1/2\]"),
        (lambda: fastact.logit.grad(0.5, eps=-0.1), "eps is outside"),
        (lambda: fastact.elu.backward_from_output(1.0, 1.0, alpha=-1.0), "alpha is negative"),
    ],
)
def test_parameters_that_make_no_sense(call: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        call()


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_celu_with_a_negative_alpha(dtype: str, tier: Any) -> None:
    """The lower branch grows; where exp(x/alpha) overflows, alpha times it need not."""
    x = np.array([-1e-3, -1.0, -30.0, -95.0, -np.inf, 2.0], dtype)
    truth = np.where(x > 0, x, -np.expm1(-x.astype(np.longdouble)))
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(fastact.celu(x, -1.0, approx=tier), truth.astype(dtype), 2.0**-12)
    tiny = np.dtype(dtype).type(-1e-30)
    x = tiny * np.array([95.0], dtype)
    truth = tiny * np.expm1(np.longdouble(95.0))
    np.testing.assert_allclose(fastact.celu(-np.abs(x), tiny, approx=tier), truth.astype(dtype), 1e-4)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_squareplus_is_relu_for_b_of_zero(dtype: str, tier: Any) -> None:
    form = format_of(dtype)
    sizes = np.array([form.smallest_normal, 1e-30, 1.0, 1e30, form.largest, np.inf], dtype)
    if tier != "rough":
        sizes = np.append(sizes, np.finfo(dtype).smallest_subnormal)
    x = np.concatenate([-sizes, sizes, [0.0]]).astype(dtype)
    np.testing.assert_array_equal(fastact.squareplus(x, 0.0, approx=tier), np.maximum(x, 0))
    np.testing.assert_array_equal(fastact.squareplus.grad(x, 0.0, approx=tier), np.heaviside(x, 0.5))
