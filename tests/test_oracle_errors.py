"""Errors in ULP and relative errors by the oracle, against exact rational arithmetic; and what oracles refuse."""

from __future__ import annotations

import math
import subprocess
import sys
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("flint")

from fastact.accuracy.oracle import Oracle, Undecided
from fastact.accuracy.ulp import FORMATS, nearest, neighbour
from fastact.kernels.declare import Declaration, Parameter

mp = mpmath.mp

MISH = "x*tanh(log(1 + exp(x)))"
GELU = "x*(1 + erf(x/sqrt(2)))/2"
SILU = "x/(1 + exp(-x))"
SOFTPLUS = "log(1 + exp(x))"
SIGMOID = "1/(1 + exp(-x))"
ELU = "where(x > 0, x, alpha*(exp(x) - 1))"


@given(st.sampled_from(sorted(FORMATS)), st.floats(-(2.0**15), 2.0**15), st.integers(-5, 5))
@settings(max_examples=300, deadline=None)
def test_errors_of_a_rational_function_are_exact(name: str, number: float, steps: int) -> None:
    form = FORMATS[name]
    x = nearest(np.array([number]), form).astype(form.dtype)
    truth = Fraction(float(x[0])) / (1 + abs(Fraction(float(x[0]))))
    oracle = Oracle("x/(1 + abs(x))")
    y = neighbour(oracle.rounded(x), steps)
    unit = Fraction(2) ** form.smallest_exponent
    while unit * 2**form.precision <= abs(truth):
        unit *= 2
    exact = abs(Fraction(float(y[0])) - truth) / unit
    assert oracle.ulp_error(x, y)[0] == pytest.approx(float(exact), abs=1e-6)
    if truth != 0:
        relative = abs(Fraction(float(y[0])) - truth) / abs(truth)
        assert oracle.relative_error(x, y)[0] == pytest.approx(
            float(relative), rel=1e-6, abs=2.0 ** -(form.precision + 20)
        )


def test_errors_follow_their_conventions() -> None:
    infinity, nan = math.inf, math.nan
    exp = Oracle("exp(x)")

    def error(x: float, y: float, dtype: Any = np.float32) -> float:
        return float(exp.ulp_error(np.array([x]), np.array([y]), dtype=dtype)[0])

    assert error(nan, nan) == 0
    assert error(nan, 1.0) == infinity
    assert error(1.0, nan) == infinity
    assert error(1000.0, infinity) == 0
    assert error(infinity, infinity) == 0
    assert error(infinity, 1.0) == infinity
    assert error(-infinity, -0.0) == 0
    assert error(1.0, infinity) == pytest.approx((2.0**128 - math.e) / 2.0**-22)
    assert error(88.7228391, infinity) == 0
    assert error(88.72283, infinity) == pytest.approx((2.0**128 - math.exp(88.72283)) / 2.0**104, rel=1e-5)
    assert error(1000.0, infinity, np.float64) == 0
    largest = 1.7976931348623157e308
    with mp.workprec(200):
        excess = (mp.exp(mp.mpf(709.7827128933841)) - mp.mpf(largest)) / mp.mpf(2) ** 971
    assert error(709.7827128933841, largest, np.float64) == pytest.approx(float(excess), rel=1e-9)
    assert error(1000.0, 1.0, np.float64) > 1e100
    assert error(-745.0, 0.0, np.float64) == pytest.approx(float(mp.exp(-745) / mp.mpf(2) ** -1074), abs=1e-6)
    assert error(-745.2, 5e-324, np.float64) == pytest.approx(
        float(1 - mp.exp(mp.mpf(-745.2)) / mp.mpf(2) ** -1074), abs=1e-6
    )
    assert error(-1e300, 5e-324, np.float64) == 1
    assert error(-1e300, 2.0**-149) == 1
    relative = exp.relative_error(np.array([-1000.0, 0.0, 2.0, nan, 800.0]), np.array([0.0, 1.5, 7.0, nan, infinity]))
    np.testing.assert_allclose(relative, [1, 0.5, abs(7 / math.exp(2) - 1), 0, 0], rtol=1e-12)
    assert Oracle("x - x").relative_error(np.array([1.0, 2.0]), np.array([0.0, 1.0])).tolist() == [0, infinity]


def test_the_ulp_is_that_of_the_truths_binade() -> None:
    """1 - 2^-60 lies in the binade below 1, whose ulp is half that of 1, although it rounds to 1."""
    oracle = Oracle("1 - x")
    assert oracle.ulp_error(np.array([2.0**-60]), np.array([1.0]))[0] == pytest.approx(2.0**-7)
    assert oracle.ulp_error(np.array([-(2.0**-60)]), np.array([1.0]))[0] == pytest.approx(2.0**-8)
    assert oracle.ulp_error(np.array([2.0**-30]), np.array([1.0]), dtype=np.float32)[0] == pytest.approx(2.0**-6)
    small = 2.0 ** np.array([-100, -700, -899])
    errors = Oracle("x*(1 - z)", ("z",)).ulp_error(small, small, 2.0**-60)
    np.testing.assert_allclose(errors, 2.0**-7, rtol=1e-6)
    above, below = 1 + 2.0**-52, 1 - 2.0**-53
    cases: list[tuple[str, float, list[float]]] = [
        (SIGMOID, 60.0, [1, 2]),
        (SIGMOID, 1e6, [1, 2]),
        ("exp(x)", 1e-200, [0.5, 1]),
        ("exp(x)", -1e-200, [1, 2]),
        ("exp(x)", 0.0, [0.5, 1]),
    ]
    for formula, x, expected in cases:
        errors = Oracle(formula).ulp_error(np.full(3, x), np.array([below, above, 1.0]))
        np.testing.assert_allclose(errors, [*expected, 0], atol=1e-6)


@given(st.floats(-30, 30), st.sampled_from([MISH, SILU, SOFTPLUS, GELU, "exp(x)", "x - tanh(x)"]))
@settings(max_examples=150, deadline=None)
def test_correctly_rounded_results_err_by_half_an_ulp_at_most(x: float, formula: str) -> None:
    oracle = Oracle(formula)
    for form in FORMATS.values():
        for wrt in (None, "x"):
            at = np.array([x])
            result = oracle.rounded(at, dtype=form.dtype, wrt=wrt)
            if np.isfinite(result.astype(np.float64)).all():
                assert oracle.ulp_error(at, result, dtype=form.dtype, wrt=wrt)[0] <= 0.5 + 1e-6


@pytest.mark.parametrize(
    "formula, reason",
    [
        ("x +", "not an expression"),
        ("y*x", "unknown name y; allowed: x, pi"),
        ("arctan(x)", "unknown name arctan"),
        ("exp(x, 2)", "one argument"),
        ("clip(x, 0)", "three arguments"),
        ("max(x)", "two arguments"),
        ("where(x, 1, 2)", "comparison is needed"),
        ("x.real", "not part of the formula language"),
        ("x[0]", "not part of the formula language"),
        ("__import__('os')", "unknown name"),
        ("lambda: x", "not part of the formula language"),
        ("x % 2", r"only \+ - \* / \*\*"),
        ("'a'*x", "only real numbers"),
        ("x/0", "division by zero"),
        ("x == 1", "not part of the formula language"),
        ("x(1)", "not a function"),
        ("0x10*x", "only decimal numbers"),
    ],
)
def test_what_is_no_formula_is_refused(formula: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Oracle(formula)


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot name a variable"):
        Oracle("x", ("exp",))
    with pytest.raises(ValueError, match="twice"):
        Oracle("x", ("x",))
    with pytest.raises(TypeError, match="takes 2 arguments"):
        Oracle(ELU, ("alpha",)).rounded(np.ones(3))
    with pytest.raises(ValueError, match="no variable"):
        Oracle("x").rounded(np.ones(3), wrt="beta")
    with pytest.raises(ValueError, match="no accuracy for dtype int64"):
        Oracle("x").rounded(np.arange(3))
    with pytest.raises(ValueError, match="y has shape"):
        Oracle("x").ulp_error(np.ones(3), np.ones(4))
    with pytest.raises(Undecided, match="do not decide"):
        Oracle("where(exp(2*log(x)) > x**2, 1, 2)").rounded(np.array([3.0]))


def test_declarations_give_their_oracle() -> None:
    declaration = Declaration("elu", "activations", ELU, abs, abs, parameters=(Parameter("alpha", 1.0),))
    assert Oracle.of(declaration).rounded(np.array([2.0, -math.inf]), 3.0).tolist() == [2.0, -3.0]


def test_without_python_flint_the_error_names_the_extra() -> None:
    program = "import sys; sys.modules['flint'] = None; import fastact.accuracy.oracle"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert 'ImportError: arbitrary precision needs python-flint: pip install "fastact[accuracy]"' in result.stderr
