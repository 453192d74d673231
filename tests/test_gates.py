"""Gated linear units: values and gradients against the truth, splits, layouts, results in place, errors."""

from __future__ import annotations

import pickle
import re
from itertools import product
from typing import Any

import numpy as np
import pytest

import fastact
from fastact.accuracy.oracle import Oracle
from fastact.accuracy.samples import stratified
from fastact.accuracy.ulp import format_of
from fastact.kernels import GATES

DTYPES = ("float16", "bfloat16", "float32", "float64")
SMOOTH = [name for name in GATES if name not in ("bilinear", "reglu")]


def inputs(dtype: str, count: int) -> list[np.ndarray[Any, Any]]:
    """g, a and b: half of them of common size, half from all binades."""
    random, kind = np.random.default_rng(7), format_of(dtype)
    return [
        np.concatenate([(random.normal(size=count) * 3).astype(kind.dtype), stratified(kind, count, seed)])
        for seed in (1, 2, 3)
    ]


def oracle(name: str, before: str = "") -> Oracle:
    formula = re.sub(r"\ba\b", "x", GATES[name].formula)
    return Oracle(f"{before}({formula})", ("b", "g") if before else ("b",))


def same(y: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> None:
    np.testing.assert_array_equal(y.astype(np.float64), truth.astype(np.float64))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", GATES)
def test_values_and_gradients(name: str, dtype: str) -> None:
    g, a, b = inputs(dtype, 60)
    f, value, gradient = getattr(fastact, name), oracle(name), oracle(name, "g*")
    limits = {"float16": 0.51, "bfloat16": 0.51, "float32": 4.0, "float64": 4.0}
    with np.errstate(all="ignore"):
        for tier in ("exact", "fast"):
            y = f(a, b, approx=tier)
            da, db = f.backward(g, a, b, approx=tier)
            if tier == "exact" and dtype != "float64":
                same(y, value.rounded(a, b))
                same(da, gradient.rounded(a, b, g, wrt="x"))
                same(db, gradient.rounded(a, b, g, wrt="b"))
            else:
                limit = 0.501 if tier == "exact" else limits[dtype]
                assert value.ulp_error(a, y, b).max() <= limit
                assert gradient.ulp_error(a, db, b, g, wrt="b").max() <= limit
                # Next to the gradient's root the terms that cancel there count, of which fast has only so many digits.
                far = (np.abs(a.astype(float) + 1.0) > 0.6) | (tier == "exact")
                assert gradient.ulp_error(a, da, b, g, wrt="x")[far].max() <= limit


@pytest.mark.parametrize(("dtype", "relative"), [("float32", 2.0**-12), ("float64", 2.0**-24)])
@pytest.mark.parametrize("name", GATES)
def test_rough(name: str, dtype: str, relative: float) -> None:
    g, a, b = inputs(dtype, 60)
    f, value, gradient = getattr(fastact, name), oracle(name), oracle(name, "g*")
    with np.errstate(all="ignore"):
        y, (da, db) = f(a, b, approx="rough"), f.backward(g, a, b, approx="rough")
        far = np.abs(a.astype(float) + 1.0) > 0.6
        for result, errors in (
            (y, value.relative_error(a, y, b)),
            (da, np.where(far, gradient.relative_error(a, da, b, g, wrt="x"), 0.0)),
            (db, gradient.relative_error(a, db, b, g, wrt="b")),
        ):
            normal = np.abs(result) >= np.finfo(dtype).tiny
            assert errors[normal].max() <= relative


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("name", SMOOTH)
def test_ties(name: str, dtype: str) -> None:
    """Products that lie between two results, but for what the rate has beyond all digits: the last bit is right."""
    form = format_of(dtype)
    odd = 2 ** (form.precision - 1) + 1 + 2 * np.arange(24)
    b = np.repeat(odd.astype(np.float64), 12).astype(form.dtype)
    exponents = np.array([-110, -75, -61, -45, -30, -20])
    small = np.outer([3.0, -5.0], 2.0**exponents).reshape(-1)
    for a in (small, np.linspace(8, 104, 12).round() + 1):
        a = np.tile(a, 24).astype(form.dtype)
        same(getattr(fastact, name)(a, b), oracle(name).rounded(a, b))
        da, db = getattr(fastact, name).backward(b, a, np.roll(b, 7))
        same(da, oracle(name, "g*").rounded(a, np.roll(b, 7), b, wrt="x"))
        same(db, oracle(name, "g*").rounded(a, np.roll(b, 7), b, wrt="b"))


@pytest.mark.parametrize("name", SMOOTH)
def test_ties_of_two_short_numbers(name: str) -> None:
    a = np.array([-2.236696376343387e-21, -1.1117307432712692e-21]).astype(format_of("bfloat16").dtype)
    b = np.array([-0.046875, 4.75]).astype(a.dtype)
    same(getattr(fastact, name)(a, b), oracle(name).rounded(a, b))


@pytest.mark.parametrize("tier", ["exact", "fast", "rough"])
def test_extremes_do_not_spoil_products(tier: str) -> None:
    """A rate below the normal numbers times a large number; factors that overflow before a small rate comes in."""
    a = np.array([-100.0, -95.0, 1e-44], np.float32)
    b = np.array([1e30, 1e35, 1e38], np.float32)
    truth = oracle("swiglu").rounded(a, b)
    np.testing.assert_allclose(fastact.swiglu(a, b, approx=tier), truth, rtol=2.0**-12)
    g = np.full(3, 1e25, np.float32)
    da, _ = fastact.swiglu.backward(g, a[:2].repeat(2)[:3], b, approx=tier)
    np.testing.assert_allclose(da, oracle("swiglu", "g*").rounded(a[:2].repeat(2)[:3], b, g, wrt="x"), rtol=2.0**-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", GATES)
def test_ends_of_the_format(name: str, dtype: str) -> None:
    """Largest, smallest and vanishing numbers in all combinations: right in every tier, to the smallest results."""
    form = format_of(dtype)
    largest, least = form.largest, 2.0**form.smallest_exponent
    tiny = least * 2.0 ** (form.precision - 1)
    ends = [0.0, 1.0, largest, -largest, tiny, -least, 7.0, 20.0, -20.0, -40.0, -100.0, -200.0, -745.0, -1500.0]
    # The derivative of mish at 0 is 3/5, which no precision tells from a number next to it.
    gates = ends[name == "mishglu" :]
    g, a, b = (v.astype(form.dtype) for v in np.array(list(product([1.0, 7.0, largest, least], gates, ends))).T)
    f, value, gradient = getattr(fastact, name), oracle(name), oracle(name, "g*")
    with np.errstate(all="ignore"):
        truths = value.rounded(a, b), gradient.rounded(a, b, g, wrt="x"), gradient.rounded(a, b, g, wrt="b")
        for tier, relative in (("exact", 0.0), ("fast", 2.0**-21), ("rough", 2.0**-11)):
            for result, truth in zip((f(a, b, approx=tier), *f.backward(g, a, b, approx=tier)), truths, strict=True):
                y, true = result.astype(np.float64), truth.astype(np.float64)
                quanta = {"exact": 0.0 if dtype != "float64" else 1.0, "fast": 3.0, "rough": tiny / least}[tier]
                limit = max(relative, 2.0**-form.precision if tier != "exact" or dtype == "float64" else 0.0)
                finite = np.isfinite(true)
                np.testing.assert_array_equal(y[~finite], true[~finite])
                assert (np.abs(y - true)[finite] <= 2 * limit * np.abs(true)[finite] + quanta * least).all()


@pytest.mark.parametrize("name", GATES)
def test_special_values(name: str) -> None:
    f, nan = getattr(fastact, name), np.float32(np.nan)
    one = np.float32(1.0)
    for tier in ("exact", "fast", "rough"):
        assert np.isnan(f(nan, one, approx=tier)) and np.isnan(f(one, nan, approx=tier))
        assert np.isnan(f.backward(nan, one, one, approx=tier)).all()
        if name == "bilinear":  # b a NaN does not reach, and the other way round
            np.testing.assert_array_equal(f.backward(one, nan, one, approx=tier), [1, nan])
        else:
            assert np.isnan(f.backward(one, nan, one, approx=tier)).all()
    if name in SMOOTH[:-1]:  # where a is minus infinity the gate is 0, which an infinite b meets
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(f(np.float32(-np.inf), np.float32([2, np.inf])), [0, nan])
    if name not in ("glu", "swiglu_oai"):
        zeros = f(np.array([0.0, -0.0], np.float32), one)
        np.testing.assert_array_equal(np.signbit(zeros), [False, True])


@pytest.mark.parametrize("tier", ["exact", "fast", "rough"])
@pytest.mark.parametrize("name", SMOOTH)
def test_infinities_and_signs_of_zeros_of_float64(name: str, tier: str) -> None:
    """They are those of float32's ``exact``, of which ball arithmetic told them."""
    f = getattr(fastact, name)
    ends = [0.0, -0.0, 1.0, -1.0, 20.0, np.inf, -np.inf]
    g, a, b = np.array(list(product([1.0, -0.0, 0.0, -2.0], ends, ends))).T
    g, a, b = (v[np.isfinite(a) | np.isfinite(b)] for v in (g, a, b))  # of two infinities a slope may have no limit
    narrow = [v.astype(np.float32) for v in (g, a, b)]
    with np.errstate(all="ignore"):
        found = f(a, b, approx=tier), *f.backward(g, a, b, approx=tier)
        wanted = f(*narrow[1:]), *f.backward(*narrow)
    for y, truth in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(np.isnan(y), np.isnan(truth))
        special = np.isinf(truth) | (truth == 0)
        np.testing.assert_array_equal(y[special], truth[special])
        signs = ~np.isnan(truth)
        np.testing.assert_array_equal(np.signbit(y[signs]), np.signbit(truth[signs]))


BELOW = [
    ("glu", 1, "float32", -1.923518180847168, 13.834702491760254, 1.0108100175857544),
    ("swiglu", 0, "float32", 1.0, -16.668153762817383, 68152156160.0),
    ("swiglu", 2, "float64", -1.8254425840626343, -36.78482536159477, 1.0),
    ("geglu", 1, "float32", 799361.625, -1.2260596752166748, 2.7195396423339844),
    ("geglu", 0, "float64", 1.0, -23.057189260383776, 6.962275172797825e115),
    ("geglu", 2, "float64", 1.7377955323941467, -23.206295857898617, 1.0),
    ("geglu", 0, "float32", 1.0, -8.454971313476562, 1.8815289735794067),
    ("geglu", 0, "float32", 1.0, -0.16557152569293976, -1.7385510206222534),
    ("geglu", 2, "float32", 1.920859932899475, -7.122001647949219, 1.0),
    ("geglu", 2, "float64", 1.9872130259591856, -24.603717904025263, 1.0),
    ("geglu_tanh", 0, "float32", 1.0, -3.8763768672943115, 0.030517054721713066),
    ("geglu_tanh", 0, "float32", 1.0, -4.015292644500732, 6.801800442324257e-12),
    ("geglu_tanh", 2, "float32", 8714987765760.0, -3.8795580863952637, 1.0),
    ("geglu_tanh", 2, "float64", -1.8013673472531155, -3.7006444879292846, 1.0),
    ("geglu_tanh", 0, "float64", 1.0, -3.8660361936446037, -1.863417749464648),
    ("mishglu", 0, "float32", 1.0, -4.12916374206543, 1.8938125371932983),
    ("mishglu", 1, "float32", 1.3849142789840698, 0.00035452519659884274, -1.202988862991333),
    ("mishglu", 2, "float64", -1.7909448871723392, -4.052893232405669, 1.0),
    ("swiglu_oai", 0, "float32", 1.0, -9.82954216003418, 0.7887997031211853),
    ("swiglu_oai", 1, "float32", -1.8843263387680054, -5.278505802154541, 1.0711287260055542),
    ("swiglu_oai", 1, "float32", -380321759232.0, -0.17765486240386963, 1.0512357950210571),
    ("swiglu_oai", 1, "float64", 7.377417529334117e-83, -0.08723621120555046, 3.1926895868927185),
]
"""Products a little below a power of two: of values (0), and of gradients with respect to a and b."""


@pytest.mark.parametrize(("name", "place", "dtype", "g", "a", "b"), BELOW)
def test_fast_products_just_below_powers_of_two(
    name: str, place: int, dtype: str, g: float, a: float, b: float
) -> None:
    f, truth = getattr(fastact, name), oracle(name, "g*")
    given = [np.array([v], dtype) for v in (g, a, b)]
    y = f(*given[1:], approx="fast") if place == 0 else f.backward(*given, approx="fast")[place - 1]
    g_, a_, b_ = given
    assert truth.ulp_error(a_, y, b_, g_, wrt=(None, "x", "b")[place])[0] <= 4.0


def test_closed_gate_stays_closed() -> None:
    a, infinite = np.float32(-1.0), np.float32(np.inf)
    assert fastact.reglu(a, infinite) == 0
    assert fastact.reglu.backward(infinite, a, np.float32(2)) == (0, 0)
    assert fastact.swiglu_oai.backward(infinite, np.float32(8), np.float32(9)) == (0, 0)


@pytest.mark.parametrize("name", GATES)
def test_against_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    _, a, b = inputs("float64", 50)
    a, b = a[:50], b[:50]
    x, y = torch.tensor(a, requires_grad=True), torch.tensor(b, requires_grad=True)
    value = eval(GATES[name].peers["torch"], {"torch": torch, "a": x, "b": y})
    value.sum().backward()
    da, db = getattr(fastact, name).backward(1.0, a, b)
    np.testing.assert_allclose(getattr(fastact, name)(a, b), value.detach(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(da, x.grad, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(db, y.grad, rtol=1e-12, atol=1e-12)


def test_glu_splits_as_torch_does() -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(4, 6))
    for axis in (0, 1, -1):
        np.testing.assert_allclose(
            fastact.glu(x, axis=axis), torch.nn.functional.glu(torch.tensor(x), axis), rtol=1e-14
        )


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_split(name: str, order: Any) -> None:
    f, random = getattr(fastact, name), np.random.default_rng(1)
    x = np.asarray(random.normal(size=(4, 6, 2)).astype(np.float32), order=order)
    for axis in (0, 1, 2, -1, -3):
        a, b = np.split(x, 2, axis)
        a, b = (b, a) if name == "glu" else (a, b)
        y = f(a, b)
        np.testing.assert_array_equal(f(x, axis=axis), y)
        da, db = f.backward(y, a, b)
        whole = np.concatenate([db, da] if name == "glu" else [da, db], axis)
        np.testing.assert_array_equal(f.backward(y, x, axis=axis), whole)
        place = x.copy(order="K")
        assert f.backward(y, place, axis=axis, out=place) is place
        np.testing.assert_array_equal(place, whole)
        half = x.copy(order="K")
        first = np.split(half, 2, axis)[0]
        assert f(half, axis=axis, out=first) is first
        np.testing.assert_array_equal(first, y)


def test_layouts_and_threads() -> None:
    random = np.random.default_rng(2)
    g, a, b = (random.normal(size=(300, 401)).astype(np.float32) for _ in range(3))
    y, (da, db) = fastact.swiglu(a, b), fastact.swiglu.backward(g, a, b)
    with fastact.num_threads(2):
        np.testing.assert_array_equal(fastact.swiglu(a, np.asfortranarray(b)), y)
        ours = fastact.swiglu.backward(g, a, b)
    with fastact.num_threads(1):
        np.testing.assert_array_equal(fastact.swiglu(a[::-1, ::2], b[::-1, ::2]), y[::-1, ::2])
    np.testing.assert_array_equal(ours, [da, db])
    out = np.empty_like(a), np.empty_like(a)
    assert fastact.swiglu.backward(g, a, b, out=out)[1] is out[1]
    np.testing.assert_array_equal(out, [da, db])
    fastact.swiglu(a, b, out=a)
    np.testing.assert_array_equal(a, y)


def test_dtypes_and_context() -> None:
    x = np.arange(4)
    assert fastact.swiglu(x, x).dtype == np.float64
    assert fastact.swiglu(x).shape == (2,) and fastact.swiglu([1.0, 2.0]) == fastact.swiglu([1.0], [2.0])
    assert fastact.swiglu.backward(1.0, x).dtype == np.float64
    half = np.linspace(-2, 2, 6, dtype=np.float16)
    assert fastact.swiglu.backward(half[:3], half).dtype == np.float16
    with fastact.precision("rough"):
        single = half.astype(np.float32)
        np.testing.assert_array_equal(fastact.swiglu(single), fastact.swiglu(single, approx="rough"))
    assert pickle.loads(pickle.dumps(fastact.swiglu)) is fastact.swiglu
    assert fastact.swiglu.ufunc("fast") is fastact.ufuncs.fastact_swiglu_fast
    assert fastact.swiglu.backward.ufunc("fast").nout == 2


def test_errors() -> None:
    x = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"\(2, 3\).*odd length 3"):
        fastact.swiglu(x)
    with pytest.raises(np.exceptions.AxisError):
        fastact.swiglu(x, axis=2)
    with pytest.raises(np.exceptions.AxisError):
        fastact.swiglu(np.float32(1))
    with pytest.raises(TypeError, match="axis"):
        fastact.swiglu(x, x, axis=0)
    with pytest.raises(TypeError, match="arguments"):
        fastact.swiglu()
    with pytest.raises(ValueError, match=r"\(2,3\).*\(4,\)"):
        fastact.swiglu(x, np.ones(4, np.float32))
    with pytest.raises(ValueError, match="approx"):
        fastact.swiglu(x, x, approx="near")
    frozen = np.zeros_like(x)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        fastact.swiglu(x, x, out=frozen)
    with pytest.raises(ValueError, match="shape"):
        fastact.swiglu.backward(1.0, x, axis=0, out=x[:1])
    with pytest.raises(ValueError, match="read-only"):
        fastact.swiglu.backward(1.0, x, axis=0, out=frozen)
    assert not frozen.any()


def test_errors_name_the_gate() -> None:
    x = np.ones((2, 4))
    calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], str]] = [
        (fastact.swiglu, (x.astype(complex), x), {}, r"swiglu\(\) takes float16, .* but a is complex128"),
        (fastact.swiglu, ("a", "b"), {}, r"swiglu\(\) takes .* but a is <U1"),
        (fastact.swiglu.backward, (x, x, x.astype(object)), {}, r"swiglu\.backward\(\) takes .* but b is object"),
        (fastact.glu.backward, (x[:, :2], x.astype(str)), {}, r"glu\.backward\(\) takes .* is <U"),
        (fastact.reglu, (x, x), {"lower": 1}, r"reglu\(\) has no argument 'lower'"),
        (fastact.geglu.backward, (x, x, x), {"lower": 1}, r"geglu\.backward\(\) has no argument 'lower'"),
    ]
    for function, args, options, text in calls:
        with pytest.raises(TypeError, match=text):
            function(*args, **options)
