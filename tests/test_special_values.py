"""Special inputs: what mathematics says of them, and the floating-point flags that it justifies.

NaNs, infinities, zeros, the ends of the subnormal and normal ranges, and the critical points of each function with
their neighbours; for every form of every function in all tiers and dtypes. Limits come from ball arithmetic.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flint")
pytest.importorskip("ml_dtypes")

from accuracy_cases import DTYPES, LEARNED, NAMES, REGISTRY, SINGLE, TIERS
from test_contract import broken

from fastact.accuracy.case import Case
from fastact.accuracy.samples import special
from fastact.accuracy.ulp import Floats, as_doubles, format_of, from_bits, nearest, neighbour, ulp
from fastact.cpu.kernels import inner_ufunc
from fastact.function import FUNCTIONS


def points(declaration: Any, dtype: str) -> Floats:
    """The special numbers that are not NaN, and the critical points of the function with their neighbours."""
    form = format_of(dtype)
    edges = [edge for edge in declaration.domain if math.isfinite(edge)]
    saturations = [math.log(2) * form.largest_exponent, math.log(2) * (form.smallest_exponent - 1)]
    found = [*declaration.critical, *declaration.poles, *edges, *saturations, 1.0, -1.0]
    around = nearest(np.unique(found), form).astype(form.dtype)
    numbers = special(dtype)
    numbers = numbers[~np.isnan(numbers)]
    return np.concatenate([numbers, around, neighbour(around, 1), neighbour(around, -1)])


def nans(dtype: str) -> Floats:
    numbers = special(dtype)
    return numbers[np.isnan(numbers)]


@pytest.mark.parametrize(("name", "form"), [*SINGLE, *LEARNED])
@pytest.mark.parametrize("dtype", DTYPES)
def test_limits_and_ends_of_the_range(name: str, form: str, dtype: str) -> None:
    case = Case(REGISTRY[name], form, dtype)
    x = points(case.declaration, dtype)
    truth = case.rounded(x)
    complaints = [broken(case, tier, case.results(tier, x), x, truth=truth) for tier in TIERS]
    assert not any(complaints), "\n".join(filter(None, complaints))


@pytest.mark.parametrize(("name", "form"), [*SINGLE, *LEARNED])
@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_stays_nan(name: str, form: str, dtype: str) -> None:
    case = Case(REGISTRY[name], form, dtype)
    x = nans(dtype)
    assert x.size >= 4
    for tier in TIERS:
        assert np.isnan(case.results(tier, x)).all()
        assert np.isnan(case.results(tier, np.concatenate([x, np.ones(40, x.dtype)]))[: x.size]).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_products_with_special_gradients(name: str, dtype: str) -> None:
    """g NaN gives NaN, g = 0 gives a zero, an infinite g an infinity of the product's sign or, at a zero of the
    gradient, a zero or NaN."""
    case = Case(REGISTRY[name], "backward", dtype)
    x = np.array([0.5, 0.75], dtype=format_of(dtype).dtype)  # within every domain
    slope = as_doubles(Case(REGISTRY[name], "grad", dtype).rounded(x))
    for tier in TIERS:
        for g in nans(dtype):
            result = case.results(tier, x, np.full_like(x, g))
            assert (np.isnan(result) | (slope == 0)).all()
        assert (case.results(tier, x, np.zeros_like(x)) == 0).all()
        for g in (np.inf, -np.inf):
            result = as_doubles(case.results(tier, x, np.full_like(x, g)))
            assert (result[slope != 0] == np.copysign(g, slope[slope != 0] * g)).all()


REACH = {"exact": 0.0, "fast": 4.0, "rough": 2.0**12}
"""ULPs by which a tier may err towards an infinity; the rough one of float64 has half its digits for it."""


def justified(x: float, truth: float, tier: str, form: Any, poles: tuple[float, ...]) -> tuple[set[str], set[str]]:
    """The flags that a result must raise, and those that it may."""
    if math.isnan(x):
        return set(), set()
    if math.isnan(truth):
        return {"invalid value"}, {"invalid value"}
    if math.isinf(truth) and math.isfinite(x):
        flag = {"divide by zero" if x in poles else "overflow"}
        return flag, flag
    if abs(truth) <= form.smallest_normal and math.isfinite(x):
        return set(), {"underflow"}
    # An approximate result may be an infinity where the truth is that near to one.
    near = form.largest - abs(truth) < REACH[tier] * float(ulp(form.largest, form))
    return set(), {"overflow"} if near and math.isfinite(truth) else set()


@pytest.mark.parametrize(("name", "form"), SINGLE)
@pytest.mark.parametrize("dtype", DTYPES)
def test_flags_are_those_that_the_mathematics_justifies(name: str, form: str, dtype: str) -> None:
    case = Case(REGISTRY[name], form, dtype)
    quiet = from_bits(np.array([format_of(dtype).infinity_bits | 1 << (format_of(dtype).precision - 2)]), dtype)
    x = np.concatenate([points(case.declaration, dtype), quiet])
    truth = as_doubles(case.rounded(x))
    raised: list[str] = []
    parameters = tuple(format_of(dtype).dtype.type(p) for p in case.parameters)
    complaints = []
    with np.errstate(all="call", call=lambda kind, flag: raised.append(kind)):
        for tier in TIERS:
            ufunc = inner_ufunc(name, form, tier)
            for k in range(x.size):
                raised.clear()
                result = ufunc(x[k : k + 1], *parameters)
                steep = () if form == "value" else case.declaration.gradient_poles
                poles = (*case.declaration.poles, *steep)
                must, may = justified(float(x[k]), float(truth[k]), tier, case.format, poles)
                # A rough result may overflow where the truth is within its error of doing so.
                if tier == "rough" and abs(float(truth[k])) > (1 - 2.0**-11) * case.format.largest:
                    may = may | {"overflow"}
                # Likewise it may fall below the normal numbers where the truth is next to the smallest of them.
                if tier == "rough" and abs(abs(float(truth[k])) / case.format.smallest_normal - 1) < 2.0**-11:
                    may = may | {"underflow"}
                seen = set(raised)
                if not must <= seen <= may:
                    what = f"raises {seen or 'nothing'}, not {must or may or 'nothing'}"
                    complaints.append(f"{tier} of {x[k]!r} is {result[0]!r} and {what}")
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize("name", ["hardshrink", "softshrink"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("lambd", [None, 0.5, [0.25, 0.75]], ids=["default", "number", "array"])
def test_zeros_of_shrinkage_have_the_sign_of_x(name: str, dtype: str, tier: str, lambd: Any) -> None:
    x = np.tile(np.array([-0.25, -0.0, 0.0, 0.25], dtype), 40)
    options = {} if lambd is None else {"lambd": np.resize(np.array(lambd, dtype), x.shape)}
    y = FUNCTIONS[name](x, approx=tier, **options)
    assert not y.any()
    np.testing.assert_array_equal(np.signbit(y), np.signbit(x))
