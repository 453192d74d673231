"""Where others are wrong: our result is the right one, and theirs is not.

The truth comes from arbitrary precision. A case that fails because theirs is right has been mended there, and goes.
"""

from __future__ import annotations

import numpy as np
import pytest
from peers_compared import expression, ours, theirs
from wrong_peers import WRONG, Wrong

pytest.importorskip("flint")

import fastact
from fastact.accuracy.oracle import Oracle
from fastact.kernels import REGISTRY

ULPS_OF_OURS = 0.501


@pytest.mark.parametrize("case", WRONG, ids=str)
def test_ours_is_right_and_theirs_is_not(case: Wrong) -> None:
    pytest.importorskip(case.library)
    oracle, x, par, wrt = Oracle.of(REGISTRY[case.name]), case.x, case.parameters, case.wrt
    values = list(par.values())
    mine = ours(case.name, x, par, case.form)
    if case.dtype == "float32":
        np.testing.assert_array_equal(mine, oracle.rounded(x, *values, wrt=wrt))
    assert oracle.ulp_error(x, mine, *values, wrt=wrt).max() <= ULPS_OF_OURS
    error = oracle.ulp_error(x, case.theirs(), *values, wrt=wrt)[0]
    assert error >= case.least, f"{case} is {error:.3g} ULP wrong, {case.least:.3g} expected"


@pytest.mark.parametrize("case", WRONG, ids=str)
def test_the_true_values_are_true(case: Wrong) -> None:
    """And ours is what they round to: for this no other library is needed."""
    oracle = Oracle.of(REGISTRY[case.name])
    true = oracle.rounded(case.x[:1], *case.parameters.values(), dtype="float64", wrt=case.wrt)[0]
    assert case.true == true, f"the true value is {float(true)!r}"
    mine = ours(case.name, case.x, case.parameters, case.form)
    assert mine.dtype == case.dtype
    np.testing.assert_array_equal(mine, np.dtype(case.dtype).type(case.true))


# -- sigmoid as written in NumPy --------------------------------------------------------------------------------------
WIDEST = 548.3162
"""Of the inputs of a well-known report of NaNs in gradients of a sigmoid written as 1/(1 + exp(-x))."""


def by_hand(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """1/(1 + exp(-x)) and its gradient as reverse-mode differentiation composes it, rule by rule."""
    e = np.exp(-x)
    u = 1 + e
    return 1 / u, (-1 / u**2) * (-e)


@pytest.mark.parametrize("reach", [WIDEST, 750.0])
def test_gradient_of_sigmoid_far_out(reach: float) -> None:
    half = np.linspace(0.0, reach, 2001)
    x = np.concatenate([-half[::-1], half])
    with np.errstate(all="ignore"):
        _, naive = by_hand(x)
    g = np.full_like(x, -3.0)
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        value, mine = fastact.sigmoid(x), fastact.sigmoid.grad(x)
        product = fastact.sigmoid.backward(g, x)
    assert np.isfinite(value).all() and np.isfinite(mine).all()
    oracle = Oracle.of(REGISTRY["sigmoid"])
    assert oracle.ulp_error(x, value).max() <= ULPS_OF_OURS
    assert oracle.ulp_error(x, mine, wrt="x").max() <= ULPS_OF_OURS
    products = Oracle("g/(1 + exp(-x))", ("g",))
    assert products.ulp_error(x, product, g, wrt="x").max() <= ULPS_OF_OURS
    np.testing.assert_array_equal(mine, mine[::-1])
    if reach == WIDEST:
        assert (mine > 0).all()  # about 1e-238 at both ends, far above the smallest number
        assert (naive[x < -360] == 0).all()
    else:
        assert np.isnan(naive[x < -710]).all()


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_gradient_of_sigmoid_by_automatic_differentiation(library: str) -> None:
    pytest.importorskip(library)
    x = np.array([-WIDEST, -400.0, 400.0, WIDEST])
    module = "torch" if library == "torch" else "jax.numpy"
    written = theirs(library, f"1/(1 + {module}.exp(-x))", x, {}, "x")
    oracle = Oracle.of(REGISTRY["sigmoid"])
    errors = oracle.ulp_error(x, written, wrt="x")
    assert (errors[:2] > 1e9).all()  # 0 or NaN
    assert oracle.ulp_error(x, fastact.sigmoid.grad(x), wrt="x").max() <= ULPS_OF_OURS
    built_in = theirs(library, str(expression("sigmoid", library)), x, {}, "x")
    assert (oracle.ulp_error(x, built_in, wrt="x")[2:] > 1e9).all()  # s (1 - s) = 0


def test_beyond_the_widest_input_values_stay_right() -> None:
    x = np.array([-WIDEST, WIDEST])
    assert fastact.sigmoid(x)[0] == pytest.approx(7.4e-239, rel=0.1) and fastact.sigmoid(x)[1] == 1.0
    assert fastact.logsigmoid(x)[0] == -WIDEST
