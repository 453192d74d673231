"""Forms of several arguments where results are ties between two numbers, zeros, or products next to powers of two."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flint")
pytest.importorskip("ml_dtypes")

from accuracy_cases import DTYPES, REGISTRY, TIERS

from fastact.accuracy.case import differ
from fastact.accuracy.oracle import Oracle
from fastact.accuracy.sampling import Columns
from fastact.accuracy.ulp import format_of
from fastact.cpu.kernels import inner_ufunc
from fastact.function import FUNCTIONS

EXACT: list[tuple[str, str, str, tuple[float, ...]]] = [
    # Of zeros the sign remains, which the larger of two exponentials has that have vanished.
    ("xielu", "grad", "float16", (-766.5, 0.0007271766662597656, -6600.0, 0.072998046875, -537.0)),
    ("xielu", "grad", "bfloat16", (-528384.0, -2.7550648847397363e-40, -964.0, 258998272.0, -2.7972416050126014e-17)),
    ("xielu", "grad", "float16", (-56512.0, 7.152557373046875e-07, -9768.0, 19424.0, -0.03173828125)),
    ("xielu", "grad", "float16", (-30.71875, 1071.0, -711.5, 0.0, -0.00750732421875)),
    ("xielu", "value", "float16", (-0.411865234375, -766.5, -954.0, 0.0, -5.609375)),
    # Ties that they decide.
    ("xielu", "backward", "float16", (-0.85546875, 26.453125, -833.5, 2.0**-23, -34.0, -48 * 2.0**-24)),
    ("xielu", "backward", "float16", (51 * 2.0**-24, -162.5, -9 * 2.0**-24, 4544.0, 269.5, -7184.0)),
    ("xielu", "backward", "bfloat16", (1.09375, 24117248.0, -147456.0, -691489734656.0, -147456.0, -1.65e-12)),
    ("xielu", "grad_alpha_n", "float16", (-2422.0, 3 * 2.0**-24, 17392.0, -7.271766662597656e-06, -15 * 2.0**-24)),
    ("xielu", "grad_alpha_n", "float16", (-0.211181640625, -64544.0, 849.5, 11 * 2.0**-24, -1230.0)),
    ("xielu", "backward_alpha_n", "float32", (1.0, -19681904.0, 2.0**-22, 40896.45703125, 2.0**114, -(2.0**74))),
    # softplus(alpha_n) and beta cancel.
    ("xielu", "value", "bfloat16", (-1.4971096052072654e-34, 1.0, 63.0, -63.0, -1e-6)),
    # Next to a large x and a small alpha_n a rise is less than |x|, and a sigmoid more than 1/2.
    ("xielu", "backward_alpha_n", "bfloat16", (1.25, -2.2065184730029603e38, -100.0, 2.0**-126, -0.69140625, -0.5)),
    ("xielu", "backward_alpha_n", "bfloat16", (8.6854e-24, -2.44578e38, -1e-07, 9.44909e-34, -0.6484375, -1.3e-9)),
    # Rational ties.
    ("celu", "from_output", "float16", (0.0108642578125, -0.002056121826171875, -0.0059814453125)),
    ("squareplus", "from_output", "bfloat16", (-2.121399961249597e-38, 1.33514404296875e-05, 7.130438461899757e-10)),
    # Next to 0 slopes are a little less than beta y.
    ("softplus", "from_output", "bfloat16", (1.0625, 2.204051907791789e-39, 1.0)),
    ("logsigmoid", "from_output", "bfloat16", (1.1875, -1.9983403963978888e-37)),
    ("logsigmoid", "from_output", "float32", (1.0 + 2.0**-23, -(2.0**-125) * 1.5)),
    # A difference that is rounded to half a bandwidth is less than that.
    ("jump_relu", "bandwidth_grad_theta", "float16", (114.125, 2.0**-23, 228.25)),
    ("jump_relu", "bandwidth_grad_theta", "float32", (1.0, 2.0**-70, 2.0)),
    ("jump_relu", "bandwidth_grad_theta", "float32", (1.0, -(2.0**-70), 2.0)),
    ("jump_relu", "bandwidth_grad_theta", "float32", (-1.0, 2.0**-70, 2.0)),
    # What is left of a line next to its root.
    ("xielu", "grad", "float16", (7.67578125, 2.0**-24, 2.0**-24, -10.640625, -(2.0**-24))),
    ("xielu", "grad", "float16", (21.75, -0.0069580078125, -30.0, -30.0, -22.25)),
    ("xielu", "grad", "bfloat16", (0.5, 30.0, -100.0, -30.0, -9.479186445030926e-35)),
    ("xielu", "backward", "float16", (95.6875, 0.457763671875, 0.07574462890625, 4680.0, -0.669921875, -0.24462890625)),
    ("xielu", "backward", "float16", (-13912.0, 0.62451171875, -8.21875, 25.75, -0.00033664703369140625, -(2.0**-21))),
    # A quarter of g x^2, and no less, where beta is 0.
    ("swish", "backward_beta", "float16", (0.04248046875, -0.046875, -0.0)),
    ("swish", "backward_beta", "bfloat16", (4.743384504624082e-20, -3584.0, 0.0)),
    # g b/(4 x^2) and a little less.
    ("squareplus", "backward", "bfloat16", (0.059326171875, -6.485183463413514e17, 10.1875)),
    ("squareplus", "backward", "bfloat16", (114898965102592.0, -1.0145709240540253e20, 5.15625)),
    # A tie of g theta/bandwidth in pairs of words.
    ("jump_relu", "bandwidth_backward_theta", "float16", (0.0013237, -0.000304222106933, 0.029052734375, 10.84375)),
    # Exponentials that overflow before a small alpha is multiplied in, and products before a bias is added.
    ("celu", "value", "bfloat16", (-2.068870057447226e-36, -(2.0**-126))),
    ("celu", "value", "bfloat16", (-1.5612034346858506e-38, -9.183549615799121e-41)),
    ("star_relu", "value", "bfloat16", (9.511602413006488e18, -3.796875, 1.6947656946257677e38)),
    ("star_relu", "value", "bfloat16", (1.348150961071065e-31, -5.875, -0.0)),
    # A tie of g theta/bandwidth, and quotients of theta alone that vanish.
    ("jump_relu", "bandwidth_backward_theta", "float16", (0.1380615234375, 613 * 2.0**-19, 0.05322265625, 4.875)),
    ("jump_relu", "bandwidth_backward_theta", "bfloat16", (-(2.0**50), 2.0**30, -(2.0**-118), 2.0**61)),
]
FAST: list[tuple[str, str, str, tuple[float, ...]]] = [
    # Slopes a little above a power of two, products a little below one.
    ("mish", "backward", "float32", (1.9974315, 4.849705)),
    ("silu", "backward", "float32", (1.9892904, -9.00737)),
    ("silu", "backward", "float32", (1.9942038, 7.7903233)),
    ("swish", "backward", "float32", (1.6852925, -9.607859, 1.0)),
    ("tanh", "backward", "float32", (1.9417251, -3.798145)),
    ("sigmoid", "backward", "float32", (1.9351815, 13.831186)),
    ("tanhshrink", "backward", "float32", (1.5880308, -0.14096639)),
    ("quick_gelu", "backward", "float32", (1.979308, 3.8442233)),
    ("gelu_tanh", "backward", "float32", (1.8489261, -4.8436985)),
    ("xielu", "backward_alpha_n", "float32", (1.831189, -0.13096187, 0.20338232, -1.0502256, 0.5, -1e-6)),
    ("xielu", "backward", "float32", (1.1872759, 0.57943934, 1.9222829, -1.2762234, -1.5555422, -1e-6)),
    ("xielu", "backward", "float32", (1.1708215, 7.405173, -2.481446, -7.451715, -0.7646689, -1e-6)),
    ("xielu", "backward_alpha_p", "float32", (1.0914419, 0.98603463, -10.45669, -5.1563914, 2.2700682, -1e-6)),
    ("xielu", "backward_alpha_n", "float32", (1.7857708, -0.2840331, -6.0419264, -8.371693, -0.5712166, -1e-6)),
    ("tanhshrink", "backward", "float64", (-269714778576.96228, 1.9255182012978726e-06)),
    ("tanhshrink", "backward", "float64", (1.887967669998849, 0.03208579884341715)),
    ("tanhshrink", "backward", "float64", (1.8520326400164722, 0.0646909977759123)),
    ("gelu", "backward", "float64", (1.2543976688641742e-32, -1.2520901834388414)),
    ("gelu_tanh", "backward", "float64", (0.7974865688825588, -17.962581782521255)),
    # Terms of which half cancels, or an exponential squared that overflows itself.
    ("xielu", "value", "float32", (17.41587257385254, -1.3485875, -0.49449486, -2.2795262336730957, -9.593784e-07)),
    ("xielu", "value", "float32", (20.123483657836914, -1.258447, 3.816472e-07, -1.8764928579330444, -5.914734e-06)),
    ("xielu", "value", "float32", (-0.98002487, -0.1091932, -0.40377214550971985, 0.09380195289850235, -9.504392e-07)),
    ("xielu", "value", "float32", (-2.1924092834524345e-06, 1.6, -0.34445399, 0.58997863, -4.344135504652513e-06)),
    ("xielu", "value", "float32", (70.98472595214844, -3.238906, 1.1740538e-07, -0.94169682264328, -6.919782e-06)),
    ("xielu", "value", "float32", (-4.6803397e-08, 1.6838026, -0.1198547258973, -0.552037239074707, -1.8003998e-07)),
    ("celu", "value", "float32", (-2.8175398212454406e-12, -2.5071585703796e-14)),
    # Of three words next to a root the first two are not the rounding yet.
    ("xielu", "value", "float64", (-0.09260330706991614, 0.2, 2.0, 0.1, -1e-6)),
    # A line next to its root, of which 16 bits ask product and sum as one operation.
    ("xielu", "value", "float16", (-13.9375, 0.203369140625, -0.278076171875, 7.2890625, -0.1707763671875)),
    # A slope next to its root, which a parameter moves there.
    ("swish", "backward", "bfloat16", (-5.84375, -11.0, 0.1162109375)),
    # A slope below the smallest number, and a large factor.
    ("xielu", "backward", "bfloat16", (-3.4e15, 1.8e-26, -54.5, 5.8e11, 0.0, -1e-6)),
    ("xielu", "backward", "float32", (-3.4e15, 1.8e-26, -54.5, 5.8e11, 0.0, -1e-6)),
    ("jump_relu", "bandwidth_backward_theta", "float32", (-(2.0**99), 2.0**30, -(2.0**-118), 2.0**61)),
    ("jump_relu", "bandwidth_backward_theta", "float64", (7e-105, 5.6e86, 5.6e86, 1.5e-303)),
    ("jump_relu", "bandwidth_backward_theta", "float64", (-1.2e-106, 1.3e-193, 1.3e-193, 6.9e-292)),
    # A line of which all digits cancel next to a limit, or that is less than the smallest number beyond it.
    ("hardsigmoid", "slope_backward", "float16", (2.1875, -0.143798828125, 0.10186767578125, 1.0146484375)),
    ("hardsigmoid", "slope_grad", "float32", (6.830957069662284e-31, -1.696502834047653e-11, 1.1588738299966237e-41)),
    ("hardsigmoid", "slope_grad", "float32", (-9.47e-35, -5.55e-17, 0.0)),
    ("hardsigmoid", "slope_grad", "float64", (-9.47e-235, -5.55e-117, 0.0)),
    # The same of float32 and float64.
    ("celu", "value", "float32", (-1.999047457971824e-36, -(2.0**-126))),
    ("celu", "value", "float32", (-2.382207389352189e-43, -1.401298464324817e-45)),
    ("star_relu", "value", "float32", (1.416570671943137e25, -1.7626688953928382e-12, 3.2506082416158996e38)),
    ("star_relu", "value", "float64", (1e154, -2.5, 1e308)),
    # A wave takes most of x, and with it digits of the sine.
    ("snake", "value", "float16", (-0.88330078125, 1.265625)),
    ("snake", "value", "float16", (-217.875, 0.0051422119140625)),
    ("xielu", "grad", "bfloat16", (0.5, 30.0, -100.0, -30.0, -9.479186445030926e-35)),
    ("xielu", "grad", "float16", (-0.287353515625, -(2.0**-24), -60 * 2.0**-24, -0.10028076171875, -0.12322998046875)),
    # A sum of which all digits of two words cancel.
    ("star_relu", "value", "float64", (2.6920234006783588, -1.534691092156515, 11.121890982293301)),
    ("star_relu", "value", "float32", (0.44318848848342896, -0.019832175225019455, 0.0038953572511672974)),
    ("hardsigmoid", "slope_backward", "float32", (1.0, -0.0268256, 9.402712695619523e-43, 2.5223372357846707e-44)),
]


WIDE: list[tuple[str, str, tuple[float, ...]]] = [
    # float64 next to roots, where two words leave too few digits.
    ("gelu", "grad", (-0.7183724313176513,)),
    ("gelu", "backward", (-9.385087949706172e-13, -0.7177409242356941)),
    ("star_relu", "value", (2.6920234006783588, -1.534691092156515, 11.121890982293301)),
    ("star_relu", "value", (1e154, -2.5, 1e308)),
    # Factors of a product that comes to 2^-102 of a root.
    ("swish", "backward", (1.161227703973609, -1.9690087575181876, 0.6492934771770636)),
    ("swish", "backward", (1.9609075496764068, -0.7397879737086355, 1.728149940518762)),
    ("swish", "backward", (1.962261697921614, -1.4589768200858393, 0.8762747462196521)),
    # A product that vanishes has a sign.
    ("hardsigmoid", "slope_grad", (-9.47e-235, -5.55e-117, 0.0)),
    ("hardsigmoid", "slope_backward", (0.9142857142857143, -5e-324, -1.09375, -5e-324)),
    ("xielu", "value", (-2.4324842769314485, -1.6e-195, -1.0502256128148468, 0.5, -6.9e-303)),
    ("xielu", "value", (-0.9999785545917874, 23.0, 1.9e-309, 5.4e-305, -10.75)),
    ("xielu", "value", (-3.838800775619603e29, 0.5, -9.352127821589018, 3.3311886140975397e25, -1e-300)),
    ("xielu", "value", (-1.171002642140352e-69, 0.3, -0.6015625, -0.43693456769960604, -8.290501512256572e-07)),
    ("xielu", "value", (-7.3827673709979e-310, 0.5, 2.373522095864236, -2.462587414632377, -1.1668444418855392e-06)),
    ("xielu", "value", (-7.588197038901406e246, 0.5, -2.161232281639319, 8.272546379856176e245, -1e-6)),
    ("xielu", "value", (-3.106584846318544e-262, 0.5, 3.218968898226262e261, 0.5000000000000203, -5.8e-309)),
    ("xielu", "value", (-0.9999995802656391, 0.5, 1.7824354823755546e308, 0.13378918126146389, -14.683643799730087)),
    ("xielu", "grad", (-1.2013805575885859, 3e267, -1.0502256128148464, 0.6974111102328988, -1e-6)),
    ("xielu", "grad", (-114.2323282160245, 0.5, -113.99999443110327, 1.1826944454728174, -114.000000000037)),
    ("xielu", "grad", (-152.89969268816415, 0.5, -96.71306473537713, 2.3632722370322417e24, -1e-300)),
    ("xielu", "grad", (1.0282697733528187e132, 0.3186761549003208, 0.5, -1.7791662744085007e132, -1e-6)),
    ("xielu", "grad", (-3.0000001733762134, 0.5, -5.2031891936728645, 0.12250576537373405, -1e-6)),
    ("xielu", "grad", (-0.9843789887690798, 0.5, -1.053573233208336, 0.5018488072950106, -1e-6)),
    ("xielu", "backward", (-0.1, -6.3388537384312965e-137, 0.5, 0.22874262392173567, 5.160202827850613e-137, -1e-304)),
    ("xielu", "grad_alpha_n", (-0.7706199068297006, 0.5, -5.361441312414558, 0.5, -1.2671838868556962)),
]


def judged(name: str, form: str, dtype: str, tier: str, arguments: tuple[float, ...]) -> tuple[Any, Any, float]:
    """The result, the rounded truth and the error of the form with all parameters given."""
    case, kind = Columns(REGISTRY[name], form, dtype), format_of(dtype).dtype.type
    columns = [np.array([kind(argument)]) for argument in arguments]
    y = case.call(tier, columns, 0)
    x, *more = case.ordered(columns)
    return y, case.expected(y, x, *more), float(case.errors(tier, y, x, *more)[0])


@pytest.mark.parametrize(("name", "form", "dtype", "arguments"), EXACT)
def test_ties_and_signs_of_zeros(name: str, form: str, dtype: str, arguments: tuple[float, ...]) -> None:
    y, truth, _ = judged(name, form, dtype, "exact", arguments)
    assert not differ(y, truth)[0], (y, truth)


@pytest.mark.parametrize(("name", "form", "arguments"), WIDE)
def test_digits_of_float64_next_to_roots(name: str, form: str, arguments: tuple[float, ...]) -> None:
    assert judged(name, form, "float64", "exact", arguments)[2] <= 0.501


@pytest.mark.parametrize(("name", "form", "dtype", "arguments"), FAST)
def test_fast_products_are_within_their_bound(name: str, form: str, dtype: str, arguments: tuple[float, ...]) -> None:
    assert judged(name, form, dtype, "fast", arguments)[2] <= (4.0 if dtype in ("float32", "float64") else 0.51)


@pytest.mark.parametrize("name", ["mish", "silu", "tanh", "sigmoid", "tanhshrink", "quick_gelu", "gelu_tanh"])
def test_fast_products_just_below_powers_of_two(name: str) -> None:
    random = np.random.default_rng(11)
    x = random.uniform(-15, 15, 20_000).astype(np.float32)
    with np.errstate(all="ignore"):
        slope = inner_ufunc(name, "grad", "exact")(x.astype(np.float64))
        mantissa = np.abs(np.frexp(slope)[0])
        g = ((1 - random.uniform(0, 0.02, x.size)) / np.maximum(mantissa, 0.5)).astype(np.float32)
        truth = inner_ufunc(name, "backward", "exact")(g.astype(np.float64), x.astype(np.float64))
        y = inner_ufunc(name, "backward", "fast")(g, x)
        case = Columns(REGISTRY[name], "backward", "float32")
        unit = np.spacing(np.maximum(np.abs(truth), case.terms(x, g)).astype(np.float32))
    assert np.max(np.abs(y - truth) / unit) <= 4.0


@pytest.mark.parametrize(
    "arguments",
    [
        (-0.0004591941833496094, 237.0, -140.5, 0.0, -1.0132789611816406e-06),
        (-3.0, 237.0, -140.5, 0.0, -1e-6),
        (3.0, -237.0, -140.5, 0.0, -1e-6),
        (3.0, -120.0, -140.5, -1e-51, -1e-6),
        (-3.0, -120.0, -650.5, 0.0, -1e-6),
    ],
)
def test_xielu_where_softplus_is_all_that_there_is(arguments: tuple[float, ...]) -> None:
    oracle, x = Oracle.of(REGISTRY["xielu"]), np.array(arguments[:1])
    for form, wrt in (("value", None), ("grad", "x")):
        for tier, allowed in (("exact", 0.501), ("fast", 4.0)):
            y = inner_ufunc("xielu", form, tier)(x, *arguments[1:])
            assert oracle.ulp_error(x, y, *arguments[1:], wrt=wrt)[0] <= allowed, (form, tier, y)


def test_the_sign_of_a_zero_is_sought_as_far_as_anything() -> None:
    arguments = (-56512.0, 7.152557373046875e-07, -9768.0, 19424.0, -0.03173828125)
    (zero,) = Oracle.of(REGISTRY["xielu"]).rounded(*(np.array([a], np.float16) for a in arguments), wrt="x")
    assert zero == 0 and np.signbit(zero)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tier", TIERS)
def test_zeros_at_infinity_have_the_sign_of_what_is_next_to_them(dtype: str, tier: Any) -> None:
    kind = format_of(dtype).dtype.type
    below = np.array([-np.inf, -5.0], dtype=kind)
    assert np.signbit(inner_ufunc("hardswish", "value", tier)(below)).all()
    g = np.array([1.5, -2.0], dtype=kind)
    assert np.signbit(inner_ufunc("rsqrt", "backward", tier)(g, kind(np.inf))).tolist() == [True, False]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_infinite_gradients_of_the_root_are_at_a_pole(dtype: str, tier: Any) -> None:
    sqrt, zero, one = FUNCTIONS["sqrt"], np.zeros(1, dtype), np.ones(1, dtype)
    calls = (
        lambda: sqrt.grad(zero, approx=tier),
        lambda: sqrt.backward(one, zero, approx=tier),
        lambda: sqrt.backward_from_output(one, zero, approx=tier),
    )
    for call in calls:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            assert np.isposinf(call()).all()
        assert [str(warning.message).split(" enc")[0] for warning in found] == ["divide by zero"]
