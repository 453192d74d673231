"""The oracle against mpmath, SciPy and exact rational arithmetic; none of the expected values comes from fastact."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import ml_dtypes
import mpmath
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("flint")

from fastact.accuracy import workers
from fastact.accuracy.oracle import Oracle
from fastact.accuracy.ulp import FORMATS, Format, from_bits, nearest

mp = mpmath.mp

MISH = "x*tanh(log(1 + exp(x)))"
GELU = "x*(1 + erf(x/sqrt(2)))/2"
GELU_TANH = "0.5*x*(1 + tanh(sqrt(2/pi)*(x + 0.044715*x**3)))"
SILU = "x/(1 + exp(-x))"
SOFTPLUS = "log(1 + exp(x))"
SIGMOID = "1/(1 + exp(-x))"
ELU = "where(x > 0, x, alpha*(exp(x) - 1))"
SQUAREPLUS = "(x + sqrt(x**2 + 4))/2"

REFERENCES: dict[str, Any] = {
    "exp(x)": mp.exp,
    "expm1(x)": mp.expm1,
    "tanh(x)": mp.tanh,
    "erf(x)": mp.erf,
    "erfc(x)": mp.erfc,
    "sin(x)": mp.sin,
    MISH: lambda x: x * mp.tanh(mp.log1p(mp.exp(x))),
    GELU: lambda x: x * mp.erfc(-x / mp.sqrt(2)) / 2,
    GELU_TANH: lambda x: x / (1 + mp.exp(-2 * mp.sqrt(2 / mp.pi) * (x + mp.mpf(44715) / 1000000 * x**3))),
    SILU: lambda x: x / (1 + mp.exp(-x)),
    SOFTPLUS: lambda x: mp.log1p(mp.exp(x)),
    SIGMOID: lambda x: 1 / (1 + mp.exp(-x)),
    SQUAREPLUS: lambda x: (x + mp.sqrt(x**2 + 4)) / 2,
    "x - tanh(x)": lambda x: x - mp.tanh(x),
    "x + sin(1.5*x)**2/1.5": lambda x: x + mp.sin(1.5 * x) ** 2 / 1.5,
    "2**x": lambda x: mp.mpf(2) ** x,
    "log(1/(1 + exp(-x)))": lambda x: -mp.log1p(mp.exp(-x)),
}
POINTS = [-700.5, -103.2, -30.0, -7.25, -1.0, -1e-3, -1e-30, 1e-30, 0.1, 0.75, 2.5, 19.0, 88.5]


def to_fraction(value: Any) -> Fraction:
    """The exact value of an mpmath number."""
    sign, mantissa, exponent, _ = mp.mpf(value)._mpf_
    return Fraction((-1) ** sign * int(mantissa)) * Fraction(2) ** exponent


def round_fraction(value: Fraction, form: Format) -> float:
    """Round to nearest even in whole numbers; the result as a Python float."""
    size = abs(value)
    if size == 0:
        return 0.0
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    while size >= Fraction(2) ** exponent:
        exponent += 1
    while size < Fraction(2) ** (exponent - 1):
        exponent -= 1
    unit = Fraction(2) ** max(exponent - form.precision, form.smallest_exponent)
    rounded = round(size / unit) * unit
    result = math.inf if rounded >= Fraction(2) ** form.largest_exponent else float(rounded)
    return -result if value < 0 else result


def same(actual: Any, expected: Any) -> bool:
    """Equal, with signs of zeros, and NaN equal to NaN."""
    a, b = np.asarray(actual, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    return bool(np.all(((a == b) & (np.signbit(a) == np.signbit(b))) | (np.isnan(a) & np.isnan(b))))


@pytest.mark.parametrize("formula", REFERENCES)
def test_value_and_rounding_agree_with_mpmath(formula: str) -> None:
    oracle = Oracle(formula)
    with mp.workprec(4000):
        for x in POINTS:
            expected = REFERENCES[formula](mp.mpf(x))
            ball = oracle.value(x, precision=200)
            truth = to_fraction(expected)
            mantissa, exponent = ball.mid().man_exp()
            middle = Fraction(int(mantissa)) * Fraction(2) ** int(exponent)
            assert abs(middle - truth) <= abs(truth) * Fraction(1, 2**198), x
            for form in FORMATS.values():
                result = oracle.rounded(np.array([x]), dtype=form.dtype)
                assert same(result, [round_fraction(truth, form)]), (x, form.name)


@pytest.mark.parametrize("formula", [f for f in REFERENCES if f not in ("erfc(x)",)])
def test_derivative_agrees_with_mpmath(formula: str) -> None:
    oracle = Oracle(formula)
    with mp.workprec(1000):
        for x in (-30.0, -7.25, -1.0, -1e-3, 0.1, 0.75, 2.5, 19.0):
            expected = mp.diff(REFERENCES[formula], mp.mpf(x))
            ball = oracle.derivative(x, precision=100)
            mantissa, exponent = ball.mid().man_exp()
            middle = mp.ldexp(mp.mpf(int(mantissa)), int(exponent))
            assert mp.almosteq(middle, expected, rel_eps=mp.mpf(2) ** -90), x


def test_scipy_agrees() -> None:
    x = np.linspace(-20, 20, 401)
    for formula, function in {
        SIGMOID: scipy.special.expit,
        "-log(1 + exp(-x))": scipy.special.log_expit,
        "erf(x)": scipy.special.erf,
        "erfc(x)": scipy.special.erfc,
        "exp2(x)": scipy.special.exp2,
    }.items():
        # SciPy's erfc squares its argument in one float64: x^2 = 400 costs it 220 ULP.
        assert Oracle(formula).ulp_error(x, function(x)).max() < 500
    y = np.linspace(0.001, 0.999, 333)
    assert Oracle("log(x/(1 - x))").ulp_error(y, scipy.special.logit(y)).max() < 50


@pytest.mark.parametrize("formula", [MISH, SILU, SOFTPLUS, GELU, GELU_TANH])
def test_identities_change_nothing_but_the_cost(formula: str) -> None:
    x = np.array([-1e4, -745.0, -50.0, -3.0, -1e-20, 1e-320, 0.3, 9.0, 1e4, 1e300])
    with_them, without = Oracle(formula), Oracle(formula, identities=False)
    for wrt in (None, "x"):
        high, low = with_them.pair(x, wrt=wrt)
        high_without, low_without = without.pair(x, wrt=wrt)
        assert np.array_equal(high, high_without)
        assert np.all(np.abs(low - low_without) <= 2.0**-98 * np.abs(high))


def test_cancellation_is_resolved_by_precision_alone() -> None:
    ball = Oracle(MISH, identities=False).value(-1e4)
    with mp.workprec(200):
        mantissa, exponent = ball.mid().man_exp()
        ratio = mp.ldexp(mp.mpf(int(mantissa)), int(exponent)) / (-(mp.mpf(10) ** 4) * mp.exp(-(mp.mpf(10) ** 4)))
    assert abs(ratio - 1) < 2.0**-100
    assert ball.rel_accuracy_bits() >= 128


def test_arguments_at_the_end_of_the_range() -> None:
    x = np.array([-math.inf, -1.7e308, -3e38, 3e38, 1.7e308, math.inf])
    positive = [3e38, 1.7e308, math.inf]
    for formula in (MISH, SILU, GELU, GELU_TANH):
        assert same(Oracle(formula).rounded(x), [-0.0, -0.0, -0.0, *positive])
        assert same(Oracle(formula).rounded(x, wrt="x"), [-0.0, -0.0, -0.0, 1, 1, 1])
    assert same(Oracle(SOFTPLUS).rounded(x), [0, 0, 0, *positive])
    assert same(Oracle(SIGMOID).rounded(x), [0, 0, 0, 1, 1, 1])
    assert same(Oracle(SIGMOID).rounded(x, wrt="x"), [0] * 6)
    assert same(Oracle("-log(1 + exp(-x))").rounded(x), [-math.inf, -1.7e308, -3e38, -0.0, -0.0, -0.0])
    assert same(Oracle("log(1/(1 + exp(-x)))").rounded(x), [-math.inf, -1.7e308, -3e38, -0.0, -0.0, -0.0])
    assert same(Oracle("x/(1 + abs(x))").rounded(x), [-1, -1, -1, 1, 1, 1])
    assert same(Oracle(ELU, ("alpha",)).rounded(x, 0.5), [-0.5, -0.5, -0.5, *positive])
    squares = Oracle(SQUAREPLUS).rounded(x)
    assert squares[0] == 0 and squares[1] == pytest.approx(1 / 1.7e308) and squares[2] == pytest.approx(1 / 3e38)


def test_limits_poles_and_missing_values() -> None:
    infinity, nan = math.inf, math.nan
    x = np.array([-infinity, -1.0, -0.0, 0.0, infinity, nan])
    assert same(Oracle("log(x)").rounded(x), [nan, nan, -infinity, -infinity, infinity, nan])
    assert same(Oracle("1/x").rounded(x), [-0.0, -1, -infinity, infinity, 0, nan])
    assert same(Oracle("sqrt(x)").rounded(x), [nan, nan, -0.0, 0, infinity, nan])
    assert same(Oracle("log1p(x)").rounded(x), [nan, -infinity, -0.0, 0, infinity, nan])
    assert same(Oracle("sin(x)").rounded(x[[0, 2, 3, 4]]), [nan, -0.0, 0, nan])
    zeros = np.array([-0.0, 0.0], np.float16)  # what is too small for a result at 0 has its own sign
    assert same(Oracle("1e-30*(x - 1)").rounded(zeros), [-0.0, -0.0])
    assert same(Oracle("sin(x)/x").rounded(x[[2, 3]]), [1, 1])
    assert same(Oracle("log(x/(1 - x))").rounded(np.array([0.0, 0.5, 1.0, 1.5])), [-infinity, 0, infinity, nan])
    assert same(Oracle("x**(1/3)").rounded(np.array([-8.0, 8.0])), [nan, 2])
    assert Oracle("exp(x)").limit(infinity) == Oracle("1/x").limit(0.0)
    assert Oracle("x*y", ("y",)).rounded(np.array([-2.0]), infinity) == -infinity
    assert np.isnan(Oracle("x*y", ("y",)).rounded(np.array([1.0]), nan))


def test_zeros_have_the_sign_of_the_function_beside_them() -> None:
    zeros = np.array([-0.0, 0.0])
    for formula, expected in {
        MISH: [-0.0, 0.0],
        "x**2": [0.0, 0.0],
        "-x": [0.0, -0.0],
        "max(x, 0)": [0.0, 0.0],
        "x - tanh(x)": [-0.0, 0.0],
        "expm1(x)": [-0.0, 0.0],
    }.items():
        assert same(Oracle(formula).rounded(zeros), expected), formula
    assert same(Oracle("x - tanh(x)").rounded(np.array([-1e-300, 1e-300])), [-0.0, 0.0])
    assert same(Oracle("where(x > 0, x, 0)").rounded(np.array([-3.0])), [0.0])
    assert same(Oracle("x - 2**-40").rounded(zeros.astype(np.float16)).astype(np.float64), [-0.0, -0.0])


def test_a_zero_has_the_sign_of_what_is_larger_than_its_exact_part() -> None:
    oracle = Oracle("log1p(exp(a))*x**2 + b*x", ("a", "b"))
    x, a = np.array([2.5e-308]), np.array([1e160])
    assert same(oracle.rounded(x, a, np.array([-1e-160])), [0.0])
    assert same(oracle.rounded(x, a, np.array([-1e-140])), [-0.0])


def test_kinks_take_the_branch_written() -> None:
    at = np.array([-1.0, 0.0, 6.0, 7.0])
    assert same(Oracle("max(x, 0)").rounded(at, wrt="x"), [0, 0, 1, 1])
    assert same(Oracle("where(x >= 0, x, 0)").rounded(at, wrt="x"), [0, 1, 1, 1])
    assert same(Oracle("clip(x, 0, 6)").rounded(at, wrt="x"), [0, 0, 0, 0])
    assert same(Oracle("min(x, 6, 9)").rounded(at, wrt="x"), [1, 1, 0, 0])
    assert same(Oracle("abs(x)").rounded(at, wrt="x"), [-1, 0, 1, 1])
    assert same(Oracle("x if not 0 < x <= 6 and x != 7 else 2*x").rounded(at), [-1, 0, 12, 14])


def test_derivatives_by_parameters() -> None:
    x = np.array([-2.0, -0.5, 3.0])
    elu = Oracle(ELU, ("alpha",))
    assert elu.ulp_error(x, np.where(x > 0, 0, np.expm1(x)), 0.75, wrt="alpha").max() <= 1
    swish = Oracle("x/(1 + exp(-beta*x))", ("beta",))
    with mp.workprec(300):
        for point in x:
            expected = mp.diff(lambda beta, t=point: t / (1 + mp.exp(-beta * t)), mp.mpf(1.5))
            ball = swish.derivative(point, 1.5, wrt="beta")
            assert float(ball) == pytest.approx(float(expected), rel=1e-15)
    powers = Oracle("x**p", ("p",))
    assert powers.rounded(np.array([2.0]), 3.0, wrt="p") == 8 * math.log(2)
    assert powers.rounded(np.array([2.0]), 3.0, wrt="x") == 12
    assert same(Oracle("x**0").rounded(np.array([0.0]), wrt="x"), [0])


@given(st.floats(width=64, allow_nan=False))
def test_rounding_of_float64_is_to_nearest_even(x: float) -> None:
    oracle = Oracle("x")
    for form in FORMATS.values():
        expected = round_fraction(Fraction(x), form) if math.isfinite(x) else x
        expected = math.copysign(expected, x)
        assert same(oracle.rounded(np.array([x]), dtype=form.dtype), [expected])
        assert same(nearest(np.array([x]), form), [expected])


@given(st.sampled_from(sorted(FORMATS)), st.integers(0, 2**54), st.integers(-1130, 1030))
@settings(max_examples=300)
def test_ties_go_to_even(name: str, mantissa: int, exponent: int) -> None:
    """(2m + 1) 2^e is a tie for a suitable m, also in the subnormal range and at the overflow threshold."""
    form = FORMATS[name]
    odd = 2 * (mantissa % 2**form.precision) + 1
    exponent = min(max(exponent, form.smallest_exponent - 1), form.largest_exponent - form.precision - 1)
    half = Fraction(odd) * Fraction(2) ** exponent
    oracle = Oracle("(2*x + 1)*exp2(k)", ("k",))
    result = oracle.rounded(np.array([float(odd // 2)]), float(exponent), dtype=form.dtype)
    assert same(result, [round_fraction(half, form)])


RATIONAL: dict[str, Any] = {
    "x/(1 + abs(x))": lambda x: x / (1 + abs(x)),
    "x*clip(x/6 + 1/2, 0, 1)": lambda x: x * min(max(x / 6 + Fraction(1, 2), Fraction(0)), Fraction(1)),
    "max(x, 0)**2": lambda x: max(x, Fraction(0)) ** 2,
    "where(x < -1, 0, where(x > 1, x, (x + 1)**2/4))": lambda x: (
        Fraction(0) if x < -1 else x if x > 1 else (x + 1) ** 2 / 4
    ),
    "where(x > 0, x, 0.01*x)": lambda x: x if x > 0 else x / 100,
    "0.8944*max(x, 0)**2 - 0.4472": lambda x: (8944 * max(x, Fraction(0)) ** 2 - 4472) / 10000,
}


@pytest.mark.parametrize("formula", RATIONAL)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_rational_functions_are_exact(formula: str, data: st.DataObject) -> None:
    form = FORMATS[data.draw(st.sampled_from(sorted(FORMATS)))]
    width = 32 if form.name == "bfloat16" else form.width
    number = data.draw(st.floats(width=width, allow_nan=False, allow_infinity=False))  # type: ignore[arg-type]
    x = float(nearest(np.array([number]), form)[0])
    if not math.isfinite(x):
        return
    truth = RATIONAL[formula](Fraction(x))
    oracle = Oracle(formula)
    expected = round_fraction(truth, form)
    result = float(oracle.rounded(np.array([x]), dtype=form.dtype)[0])
    assert result == expected
    if truth != 0:
        assert math.copysign(1, result) == (1 if truth > 0 else -1)


def test_results_next_to_a_tie_fall_on_the_right_side() -> None:
    """x - tanh(x) lies 2^(-6e7) above x - 1, an odd number that float32 cannot hold; and the like."""
    single = np.float32
    shrink = Oracle("x - tanh(x)")
    odd = np.array([20677754.0, 20677756.0, -20677754.0, -20677756.0])
    assert same(shrink.rounded(odd, dtype=single), [20677754, 20677756, -20677754, -20677756])
    assert same(Oracle("x + 1").rounded(odd, dtype=single), [20677756, 20677756, -20677752, -20677756])
    assert same(Oracle("x - 1 + exp(-x)").rounded(odd[:2], dtype=np.float64), odd[:2] - 1)
    assert same(Oracle("exp(x) - 1 - x").rounded(odd[2:], dtype=single), [20677754, 20677756])
    assert same(Oracle("x + 2 - erfc(x)").rounded(odd[2:] + 1, dtype=single), [-20677752, -20677754])
    assert same(Oracle("x + (1 + tanh(x))/2").rounded(odd[:2], dtype=single), [20677754, 20677756])
    slope = Oracle("x*clip(x/6 + 1/2, 0, 1)").rounded(np.float16([-39 / 8192]), wrt="x")
    assert slope[0] == round_fraction(Fraction(1, 2) - Fraction(13, 8192), FORMATS["float16"])


def test_float16_squares_in_full() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    x = bits[np.isfinite(bits)]
    with np.errstate(over="ignore", under="ignore"):
        expected = (x.astype(np.float64) ** 2).astype(np.float16)
    assert same(Oracle("x**2").rounded(x), expected)
    narrow = Oracle("x").rounded(x, dtype=ml_dtypes.bfloat16)
    assert narrow.dtype == ml_dtypes.bfloat16
    assert same(narrow, x.astype(np.float32).astype(ml_dtypes.bfloat16))


@pytest.mark.filterwarnings("error")
def test_signalling_nans_pass_without_a_warning() -> None:
    for form in FORMATS.values():
        x = from_bits(np.array([form.infinity_bits + 1, 0]), form)
        assert same(np.isnan(Oracle("exp(x)").rounded(x)), [True, False])
        assert same(Oracle("exp(x)").ulp_error(x, x), [0, 2.0 ** (form.precision - 1)])


def test_subnormal_results_and_thresholds() -> None:
    single, double = np.float32, np.float64
    two = Oracle("exp2(x)")
    assert same(
        two.rounded([-149.0, -150.0, -149.999, -1075.0, 127.0, 128.0], dtype=single),
        [2**-149, 0, 2**-149, 0, 2**127, math.inf],
    )
    assert same(
        two.rounded([-1074.0, -1075.0, -1074.999, -1076.0, 1024.0], dtype=double), [2**-1074, 0, 2**-1074, 0, math.inf]
    )
    exp = Oracle("exp(x)")
    threshold = np.array([88.72283172607422, 88.7228393555, -103.97207641601562, -103.97208404541])
    assert np.array_equal(np.isinf(exp.rounded(threshold, dtype=single)), [False, True, False, False])
    assert same(exp.rounded(threshold[2:], dtype=single), [2**-149, 0])
    assert same(
        exp.rounded(np.array([709.782712893384, 709.7827128933841, -745.1332191019411, -745.1332191019412])),
        [1.7976931348622732e308, math.inf, 5e-324, 0],
    )


def test_pairs_carry_twice_the_precision() -> None:
    x = np.array([-20.0, -0.3, 1e-9, 5.0])
    high, low = Oracle(MISH).pair(x)
    with mp.workprec(400):
        for i, point in enumerate(x):
            truth = REFERENCES[MISH](mp.mpf(point))
            assert abs((mp.mpf(high[i]) + mp.mpf(low[i])) / truth - 1) < 2.0**-99
            assert high[i] == round_fraction(to_fraction(truth), FORMATS["float64"])


def test_parameters_broadcast_and_empty_arrays_pass() -> None:
    x = np.array([[-1.0, 2.0, -3.0]], dtype=np.float32)
    alpha = np.array([[0.5], [2.0]], dtype=np.float32)
    result = Oracle(ELU, ("alpha",)).rounded(x, alpha)
    assert result.shape == (2, 3) and result.dtype == np.float32
    np.testing.assert_allclose(result, np.where(x > 0, x, alpha * np.expm1(x)), rtol=1e-6)
    assert Oracle("x").rounded(np.empty((0, 3))).shape == (0, 3)
    assert Oracle("exp(x)").rounded(np.float64(1.0)).shape == ()


def test_chunks_and_processes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.linspace(-30, 30, 2000).astype(np.float32)
    oracle = Oracle(ELU, ("alpha",))
    whole = oracle.rounded(x, 1.5)
    monkeypatch.setattr(workers, "CHUNK", 300)
    monkeypatch.setattr(workers, "WORTH", 1000)
    seen: list[tuple[int, int]] = []
    parts = oracle.rounded(x, 1.5, jobs=2, progress=lambda done, total: seen.append((done, total)))
    assert same(parts, whole)
    assert seen[-1] == (2000, 2000) and [done for done, _ in seen] == sorted(done for done, _ in seen)
