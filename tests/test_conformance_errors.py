"""Where others are wrong: our result is the right one, and theirs is not.

The truth comes from arbitrary precision. A case that fails because theirs is right has been mended there, and goes.
"""

from __future__ import annotations

import numpy as np
import pytest
from peers_compared import at_default, expression, general, ours, theirs

pytest.importorskip("flint")

import fastact
from fastact.accuracy.oracle import Oracle
from fastact.kernels import REGISTRY

ULPS_OF_OURS = 0.501
MANY = 64
"""Copies of an input: others' results may differ between vectors and the elements left over."""

# library, function, form, dtype, x, how many ULP theirs is wrong by at least
WRONG = [
    # 1 + erf cancels for x < 0: PyTorch has lost all digits below -5.5, and its gradient with them
    ("torch", "gelu", "value", "float32", -6.0, 1e7),
    ("torch", "gelu", "value", "float32", -10.0, 1e7),
    ("torch", "gelu", "value", "float64", -14.0, 1e15),
    ("torch", "gelu", "grad", "float32", -7.0, 1e5),
    # so does 1 + tanh
    ("torch", "gelu_tanh", "value", "float32", -6.0, 1e6),
    ("torch", "gelu_tanh", "value", "float64", -10.0, 1e14),
    ("jax", "gelu_tanh", "value", "float32", -6.0, 1e6),
    # (x + sqrt(x^2 + b))/2 cancels for x < 0, log(x/(1 - x)) next to 1/2, the derivative of x/(1 + |x|) far out
    ("jax", "squareplus", "value", "float32", -71.97208, 1e3),
    ("torch", "logit", "value", "float32", 0.4999999, 1e5),
    ("jax", "logit", "value", "float32", 0.4999999, 1e5),
    ("jax", "softsign", "grad", "float32", 46.656033, 20.0),
    # exp(-x) overflows, so that x/(1 + exp(-x)) is 0 where the true value is still a normal number
    ("torch", "silu", "value", "float32", -89.0, 1e6),
    ("torch", "silu", "value", "float64", -712.0, 1e15),
    ("torch", "silu", "grad", "float32", -89.0, 1e6),
    ("torch", "quick_gelu", "value", "float32", -53.0, 1e6),
    ("jax", "silu", "value", "float32", -89.0, 1e6),
    ("jax", "mish", "value", "float32", -89.0, 1e6),
    # s (1 - s) in all digits, and 1 - tanh^2
    ("torch", "sigmoid", "grad", "float32", 10.0, 1e3),
    ("torch", "sigmoid", "grad", "float32", 17.0, 1e6),
    ("torch", "sigmoid", "grad", "float64", 37.0, 1e15),
    ("torch", "tanh", "grad", "float32", 10.0, 1e6),
    ("torch", "tanh", "grad", "float64", 20.0, 1e15),
    ("torch", "swish", "grad_beta", "float32", 20.0, 1e6),
    ("jax", "sigmoid", "grad", "float32", 17.0, 1e6),
    ("jax", "tanh", "grad", "float32", 10.0, 1e6),
    ("jax", "tanh", "grad", "float64", 20.0, 1e15),
    # the output + 1 or + alpha for an exponential
    ("torch", "expm1", "grad", "float32", -40.0, 1e6),
    ("torch", "expm1", "grad", "float64", -40.0, 1e15),
    ("jax", "elu", "grad", "float32", -25.0, 1e6),
    ("jax", "selu", "grad", "float32", -25.0, 1e6),
    # x itself beyond the threshold of 20
    ("torch", "softplus", "value", "float64", 20.5, 1e5),
    ("torch", "softplus", "grad", "float64", 20.5, 1e6),
    # three roundings in a row; the gradient loses its tail
    ("torch", "mish", "value", "float32", -7.6122575, 2.5),
    ("torch", "mish", "grad", "float64", -712.0, 1e15),
    ("jax", "mish", "value", "float32", -7.6122575, 4.0),
    # x - tanh x cancels next to 0
    ("torch", "tanhshrink", "value", "float32", 1e-3, 1e5),
    ("scipy", "tanhshrink", "value", "float64", 1e-6, 1e11),
    # 1/6 in float32 for every dtype; (x + 3) x overflows
    ("torch", "hardsigmoid", "grad", "float64", 1.0, 1e8),
    ("torch", "hardswish", "value", "float32", 2e38, 1e6),
    ("torch", "hardswish", "value", "float64", 1e308, 1e15),
    # products that overflow on the way
    ("torch", "exp2", "grad", "float32", 128.2, 1e6),
    ("torch", "rsqrt", "grad", "float32", 1.6e-26, 1e6),
    ("jax", "reciprocal", "grad", "float32", 9e-20, 1e6),
    # exponentials of rounded products and squares
    ("jax", "exp2", "value", "float32", 51.98604, 20.0),
    ("jax", "exp2", "value", "float64", 698.7, 200.0),
    ("jax", "erfc", "value", "float32", 8.3, 40.0),
    # one input of many
    ("jax", "log1p", "value", "float64", -0.399109222, 40.0),
    # subnormal results become zeros
    ("jax", "exp", "value", "float32", -87.5, 1e6),
    ("scipy", "silu", "value", "float32", -100.0, 1e3),
]


@pytest.mark.parametrize(("library", "name", "form", "dtype", "at", "least"), WRONG)
def test_ours_is_right_and_theirs_is_not(
    library: str, name: str, form: str, dtype: str, at: float, least: float
) -> None:
    pytest.importorskip(library)
    declaration = REGISTRY[name]
    par, x = at_default(declaration, dtype), np.full(MANY, at, dtype)
    wrt = None if form == "value" else form.partition("_")[2] or "x"
    oracle, values = Oracle.of(declaration), list(par.values())
    mine = ours(name, x, par, form)
    if dtype == "float32":
        np.testing.assert_array_equal(mine, oracle.rounded(x, *values, wrt=wrt))
    assert oracle.ulp_error(x, mine, *values, wrt=wrt).max() <= ULPS_OF_OURS
    text = general(name, library) if wrt not in (None, "x") else expression(name, library)
    other = theirs(library, str(text), x, par, wrt)
    error = oracle.ulp_error(x, other, *values, wrt=wrt)[0]
    assert error >= least, f"{library}'s {name}.{form}({at!r}) is {error:.3g} ULP wrong, {least:.3g} expected"


def test_a_coefficient_of_celu_in_single_precision() -> None:
    """PyTorch rounds 1/alpha to float32 in the gradient of celu, whatever the dtype."""
    pytest.importorskip("torch")
    x, par = np.array([-30.0]), {"alpha": 1.7}
    oracle = Oracle.of(REGISTRY["celu"])
    assert oracle.ulp_error(x, ours("celu", x, par, "grad"), 1.7, wrt="x")[0] <= ULPS_OF_OURS
    other = theirs("torch", str(general("celu", "torch")), x, par, "x")
    assert oracle.ulp_error(x, other, 1.7, wrt="x")[0] > 1e9


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
