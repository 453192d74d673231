"""Norms: truth by exact means and arbitrary precision, rows at the limits, bits whatever the layout, gradients."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest

import fastact

TIERS = ("exact", "fast", "rough")
PRECISION = {"float16": (11, -24), "float32": (24, -149), "float64": (53, -1074)}
UNITS = {"exact": 0.51, "fast": 4.0, "rough": 4.0}
"""ULP; rough sums and products are rounded as those of fast are."""
Array = np.ndarray[Any, Any]


# -- truth ------------------------------------------------------------------------------------------------------------
def moments(row: Array) -> tuple[Fraction, Fraction, Fraction]:
    """Mean, variance and mean square, exactly."""
    exact = [Fraction(float(v)) for v in row]
    mean = sum(exact, Fraction(0)) / len(exact)
    return mean, sum((v - mean) ** 2 for v in exact) / len(exact), sum(v * v for v in exact) / len(exact)


def number(value: Fraction | float) -> Any:
    value = Fraction(value)
    return mpmath.mpf(value.numerator) / value.denominator


def root(value: Fraction, eps: float) -> Any:
    """One over the square root of a value and eps."""
    return 1 / mpmath.sqrt(number(value + Fraction(eps)))


def normalised(row: Array, eps: float, layer: bool) -> list[Any]:
    mean, variance, square = moments(row)
    r = root(variance if layer else square, eps)
    return [number(Fraction(float(v)) - (mean if layer else 0)) * r for v in row]


def ulp(value: Any, dtype: str) -> Any:
    bits, least = PRECISION[dtype]
    exponent = mpmath.frexp(value)[1] if value else least
    return mpmath.mpf(2) ** max(exponent - bits, least)


LIMITS = {"float16": (3e4, 1e-6), "float32": (2e38, 1e-43), "float64": (1e308, 1e-320)}


def samples(dtype: str) -> list[tuple[Array, float]]:
    """Rows with eps: moderate ones of many lengths, ones far from 0, at the limits of the range, of one value."""
    rng = np.random.default_rng(3)
    large, small = LIMITS[dtype]
    found = [(rng.normal(0.5, 2, n), 1e-5) for n in (2, 3, 7, 8, 16, 21, 33, 64, 65, 100, 150)]
    far = 2.0 ** (PRECISION[dtype][0] - 3)
    for n in (5, 20, 70):
        found += [(far + rng.normal(0, 3, n), 1e-5), (-30 * far + rng.normal(0, 2000, n), 1e-3)]
        found += [(rng.uniform(-1, 1, n) * large, 1e-5), (rng.uniform(-1, 1, n) * small, 0.0)]
        found += [(np.full(n, 0.1), 1e-5), (rng.uniform(-1, 1, n) * small, 1e-5)]
        spread = rng.normal(0, 1, n) * 10.0 ** rng.uniform(-4, 4, n)
        found.append((spread, 0.0))
    return [(row.astype(dtype), eps) for row, eps in found]


@functools.cache
def cases(dtype: str, layer: bool) -> list[tuple[Array, float, list[Any]]]:
    with mpmath.workdps(60):
        return [(row, eps, normalised(row, eps, layer)) for row, eps in samples(dtype)]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("name", ("rms_norm", "layer_norm"))
def test_every_result_is_near_the_truth(name: str, dtype: str, tier: str) -> None:
    function = getattr(fastact, name)
    with mpmath.workdps(60):
        for row, eps, truth in cases(dtype, name == "layer_norm"):
            found = function(row, eps=eps, approx=tier)
            # In one word the mean is known to the last place of the deviation; of subnormal numbers, to theirs.
            scale = 1.0 if name == "layer_norm" and dtype == "float64" and tier != "exact" else 0.0
            rest = 0
            if name == "layer_norm" and np.abs(row).max() < np.finfo(dtype).tiny and eps:
                rest = ulp(0, dtype) * (1 if tier == "exact" else root(moments(row)[1], eps))
            for v, t in zip(found, truth, strict=True):
                allowed = UNITS[tier] * ulp(max(abs(t), scale), dtype) + rest
                assert abs(mpmath.mpf(float(v)) - t) <= allowed, (row, eps)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("dtype", PRECISION)
def test_weight_and_bias(dtype: str, tier: str) -> None:
    """Errors are relative to what is added."""
    rng = np.random.default_rng(4)
    with mpmath.workdps(60):
        for n in (1, 4, 9, 40, 130):
            x, weight, bias = (rng.normal(0.3, 2, n).astype(dtype) for _ in range(3))
            for layer, calls in (
                (False, ((weight, None),)),
                (True, ((weight, bias), (weight, None), (None, bias), (None, None))),
            ):
                base = normalised(x, 1e-3, layer)
                for w, b in calls:
                    function: Callable[..., Any] = fastact.layer_norm if layer else fastact.rms_norm
                    more = {"bias": b} if layer else {}
                    found = function(x, w, eps=1e-3, approx=tier, **more)
                    for i in range(n):
                        t = base[i] * (1 if w is None else mpmath.mpf(float(w[i])))
                        shift = mpmath.mpf(0 if b is None else float(b[i]))
                        scale = abs(float(w[i])) if w is not None else 1.0
                        scale = scale if layer and dtype == "float64" else 0.0
                        allowed = UNITS[tier] * ulp(max(abs(t), scale) + abs(shift), dtype)
                        if tier == "exact":
                            allowed = 0.5 * ulp(t + shift, dtype) + 0.01 * ulp(t, dtype)
                        assert abs(mpmath.mpf(float(found[i])) - (t + shift)) <= allowed


@pytest.mark.parametrize("dtype", ("float32", "float64"))
def test_a_large_mean_takes_no_digits(dtype: str) -> None:
    """Differences of 1 from a mean at which neighbours are 1/2 apart: the naive sum of squares has nothing left."""
    mean = {"float32": 2.0**22, "float64": 2.0**51}[dtype]
    x = (mean + np.random.default_rng(5).integers(-4, 5, (3, 1000))).astype(dtype)
    exact = x.astype(np.float64) - mean
    exact = (exact - exact.mean(-1, keepdims=True)) / np.sqrt(exact.var(-1, keepdims=True) + 1e-5)
    for tier in TIERS:
        found = fastact.layer_norm(x, approx=tier)
        atol = 2 * np.finfo(dtype).eps if dtype == "float64" else 0.0
        np.testing.assert_allclose(found, exact, rtol=4 * np.finfo(dtype).eps, atol=atol)


# -- channels ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("dtype", PRECISION)
def test_batch_norm_is_near_the_truth(dtype: str, tier: str) -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(0, 2, (2, 3, 2, 4)).astype(dtype)
    mean, weight, bias = (rng.normal(0, 1, 3).astype(dtype) for _ in range(3))
    variance = rng.uniform(0.1, 3, 3).astype(dtype)
    found = fastact.batch_norm(x, mean, variance, weight, bias, approx=tier)
    plain = fastact.batch_norm(x, mean, variance, approx=tier)
    with mpmath.workdps(50):
        for i in np.ndindex(x.shape):
            c = i[1]
            t = number(Fraction(float(x[i])) - Fraction(float(mean[c]))) * root(Fraction(float(variance[c])), 1e-5)
            for value, own, shift in ((plain[i], t, 0.0), (found[i], t * float(weight[c]), float(bias[c]))):
                allowed = UNITS[tier] * ulp(abs(own) + abs(shift), dtype)
                if tier == "exact":
                    allowed = 0.5 * ulp(own + shift, dtype) + 0.01 * ulp(own, dtype)
                assert abs(mpmath.mpf(float(value)) - (own + shift)) <= allowed


def test_channels_may_be_any_axis() -> None:
    rng = np.random.default_rng(7)
    x = rng.normal(0, 2, (4, 5, 6, 7)).astype(np.float32)
    g = rng.normal(0, 2, x.shape).astype(np.float32)
    mean, weight, bias = (rng.normal(0, 1, 5).astype(np.float32) for _ in range(3))
    variance = rng.uniform(0.1, 3, 5).astype(np.float32)
    expected = fastact.batch_norm(x, mean, variance, weight, bias)
    slopes = fastact.batch_norm.backward(g, x, mean, variance, weight)
    for axis in (0, 2, 3, -1, -3):
        moved, incoming = np.moveaxis(x, 1, axis), np.moveaxis(g, 1, axis)
        for order in ("C", "F"):
            found = fastact.batch_norm(moved.copy(order), mean, variance, weight, bias, axis=axis)
            assert same(np.moveaxis(found, axis, 1).copy("C"), expected)
        dx, dw, db = fastact.batch_norm.backward(incoming.copy(), moved.copy(), mean, variance, weight, axis=axis)
        assert same(np.moveaxis(dx, axis, 1).copy("C"), slopes[0])
        np.testing.assert_allclose(dw, slopes[1], rtol=1e-5)
        np.testing.assert_allclose(db, slopes[2], rtol=1e-5)
    flat = fastact.batch_norm(x[:, :, 0, 0], mean, variance, weight, bias)
    assert same(flat, expected[:, :, 0, 0].copy())


# -- the same bits whatever the layout --------------------------------------------------------------------------------
def same(a: Any, b: Any) -> bool:
    return np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("n", (3, 20, 64, 77, 1000))
def test_layout_changes_no_bit(n: int, dtype: str, tier: str) -> None:
    rng = np.random.default_rng(n)
    x, g = (rng.normal(1, 5, (19, n)).astype(dtype) for _ in range(2))
    x[3] += 300  # a row whose sums are taken once more, among others whose are not
    weight, bias = (rng.normal(0, 1, n).astype(dtype) for _ in range(2))
    y = fastact.layer_norm(x, weight, bias, approx=tier)
    alone = np.stack([fastact.layer_norm(row, weight, bias, approx=tier) for row in x])
    assert same(alone, y), "a row by itself"
    assert same(fastact.layer_norm(x.T.copy(), weight, bias, axis=0, approx=tier).T, y), "along the first axis"
    double = np.repeat(weight, 2)[::2]
    assert same(fastact.layer_norm(np.asfortranarray(x), double, bias, approx=tier).copy("C"), y), "Fortran's order"
    place = x.copy()
    assert fastact.layer_norm(place, weight, bias, out=place, approx=tier) is place and same(place, y), "in place"
    split = x.reshape(19, n, 1)
    found = fastact.layer_norm(split, weight[:, None], bias[:, None], axis=(1, 2), approx=tier)
    assert same(found.reshape(x.shape), y), "two axes"
    slopes = fastact.layer_norm.backward(g, x, weight, approx=tier)
    turned = fastact.layer_norm.backward(np.asfortranarray(g), x[::-1].copy()[::-1], weight, approx=tier)
    assert all(same(np.asarray(a).copy("C"), b) for a, b in zip(turned, slopes, strict=True))
    for one in ("g", "x"):
        arrays = {"g": g.copy(), "x": x.copy()}
        again = fastact.layer_norm.backward(**arrays, weight=weight, out=arrays[one], approx=tier)
        assert again[0] is arrays[one] and all(same(a, b) for a, b in zip(again, slopes, strict=True))
    short = fastact.rms_norm(x, weight, approx=tier)
    assert same(fastact.rms_norm(x.T.copy(), weight, axis=0, approx=tier).T, short)


def test_threads_change_no_bit() -> None:
    rng = np.random.default_rng(0)
    x, g = (rng.normal(1, 5, (3000, 200)).astype(np.float32) for _ in range(2))
    weight, bias = (rng.normal(0, 1, 200).astype(np.float32) for _ in range(2))

    def results() -> list[Any]:
        found = [fastact.layer_norm(x, weight, bias), fastact.rms_norm(x, weight)]
        return [*found, *fastact.layer_norm.backward(g, x, weight), *fastact.rms_norm.backward(g, x, weight)]

    with fastact.num_threads(1):
        alone = results()
    for threads in (2, 5):
        with fastact.num_threads(threads):
            for a, b in zip(alone, results(), strict=True):
                assert same(a, b)


# -- gradients --------------------------------------------------------------------------------------------------------
def wide_gradients(g: Array, x: Array, weight: Array, eps: float, layer: bool) -> tuple[Array, Array, Array]:
    """By the formulas in extended precision; means are taken twice."""
    g, x, weight = (a.astype(np.longdouble) for a in (g, x, weight))
    d = x - x.mean(-1, keepdims=True) if layer else x
    d = d - d.mean(-1, keepdims=True) if layer else d
    r = 1 / np.sqrt((d * d).mean(-1, keepdims=True) + eps)
    u, h = d * r, g * weight
    mean = h.mean(-1, keepdims=True) if layer else 0
    return r * (h - mean - u * (h * u).mean(-1, keepdims=True)), (g * u).sum(0), g.sum(0)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("name", ("rms_norm", "layer_norm"))
def test_gradients(name: str, dtype: str, tier: str) -> None:
    rng, function, layer = np.random.default_rng(8), getattr(fastact, name), name == "layer_norm"
    # float64 in one word: sums are no wider than what is added
    unit = (8.0 if tier != "exact" else 0.51) * 2.0 ** (1 - PRECISION[dtype][0])
    if np.finfo(np.longdouble).nmant <= 52 and dtype == "float64":
        pytest.skip("no format here is wider than float64")
    for n in (2, 5, 16, 50, 200):
        g, x = rng.normal(0, 1, (30, n)).astype(dtype), rng.normal(2, 3, (30, n)).astype(dtype)
        for weight in (rng.normal(0, 1, n).astype(dtype), None):
            factor = np.ones(n, dtype) if weight is None else weight
            truth = wide_gradients(g, x, factor, 1e-2, layer)
            found = function.backward(g, x, weight, eps=1e-2, approx=tier)
            size = np.abs(g * factor).max(-1, keepdims=True).astype(np.float64)
            r = 1 / np.sqrt((x.astype(np.float64) - (x.mean(-1, keepdims=True, dtype=np.float64) if layer else 0)) ** 2)
            r = 1 / np.sqrt((1 / r**2).mean(-1, keepdims=True) + 1e-2)
            u = np.abs(truth[1]).max() * 0 + np.abs(x).max(-1, keepdims=True) * r
            assert (np.abs(found[0] - truth[0]) <= unit * r * size * (2 + u * u)).all()
            terms = np.abs(g).astype(np.float64)
            assert (np.abs(found[1] - truth[1]) <= unit * (terms * u).sum(0)).all()
            if layer:
                assert (np.abs(found[2] - truth[2]) <= unit * terms.sum(0)).all()


def test_pytorch_agrees() -> None:
    torch = pytest.importorskip("torch")
    functional, rng = torch.nn.functional, np.random.default_rng(9)
    x, g = (rng.normal(1, 3, (4, 5, 6)).astype(np.float32) for _ in range(2))
    for axes in ((-1,), (-2, -1), (0, 1, 2)):
        shape = tuple(x.shape[a] for a in axes)
        weight, bias = (rng.normal(0, 1, shape).astype(np.float32) for _ in range(2))
        tensors = [torch.from_numpy(a).requires_grad_() for a in (x, weight, bias)]
        y = functional.layer_norm(tensors[0], shape, tensors[1], tensors[2])
        y.backward(torch.from_numpy(g))
        np.testing.assert_allclose(
            fastact.layer_norm(x, weight, bias, axis=axes), y.detach().numpy(), rtol=1e-5, atol=1e-5
        )
        slopes = fastact.layer_norm.backward(g, x, weight, axis=axes)
        for own, t in zip(slopes, tensors, strict=True):
            np.testing.assert_allclose(own, t.grad.numpy(), rtol=1e-4, atol=2e-5)
        tensors = [torch.from_numpy(a).requires_grad_() for a in (x, weight)]
        y = functional.rms_norm(tensors[0], shape, tensors[1])
        y.backward(torch.from_numpy(g))
        np.testing.assert_allclose(fastact.rms_norm(x, weight, axis=axes), y.detach().numpy(), rtol=1e-5, atol=1e-5)
        for own, t in zip(fastact.rms_norm.backward(g, x, weight, axis=axes), tensors, strict=True):
            np.testing.assert_allclose(own, t.grad.numpy(), rtol=1e-4, atol=2e-5)
    mean, weight, bias = (rng.normal(0, 1, 5).astype(np.float32) for _ in range(3))
    variance = rng.uniform(0.5, 2, 5).astype(np.float32)
    tensors = [torch.from_numpy(a).requires_grad_() for a in (x, weight, bias)]
    y = functional.batch_norm(tensors[0], torch.from_numpy(mean), torch.from_numpy(variance), *tensors[1:])
    y.backward(torch.from_numpy(g))
    found = fastact.batch_norm(x, mean, variance, weight, bias)
    np.testing.assert_allclose(found, y.detach().numpy(), rtol=1e-5, atol=1e-6)
    for own, t in zip(fastact.batch_norm.backward(g, x, mean, variance, weight), tensors, strict=True):
        np.testing.assert_allclose(own, t.grad.numpy(), rtol=1e-5, atol=1e-5)


# -- edges and bad input ----------------------------------------------------------------------------------------------
def test_nothing_and_one() -> None:
    for shape in ((0,), (3, 0), (0, 3)):
        x, ones = np.empty(shape, np.float32), np.ones(shape[-1], np.float32)
        assert fastact.layer_norm(x, ones, ones).shape == fastact.rms_norm(x, ones).shape == shape
        dx, dw, db = fastact.layer_norm.backward(x, x, ones)
        assert dx.shape == shape and dw.shape == db.shape == ones.shape and not dw.any() and not db.any()
    assert fastact.batch_norm(np.empty((0, 3)), np.zeros(3), np.ones(3)).shape == (0, 3)
    assert (fastact.layer_norm(np.array([[5.0], [7.0]])) == 0).all()
    assert fastact.rms_norm(2.0, eps=0.0) == 1.0 and np.ndim(fastact.layer_norm(2.0)) == 0
    assert fastact.rms_norm([1, 2]).dtype == np.float64
    assert fastact.rms_norm(np.ones(3, np.float16), np.ones(3, np.float32)).dtype == np.float32
    for name in ("rms_norm", "layer_norm", "batch_norm"):
        function = getattr(fastact, name)
        assert pickle.loads(pickle.dumps(function)) is function and name in function.__doc__


def test_no_number_stays_in_its_row() -> None:
    for dtype in ("float32", "float64"):
        for tier in TIERS:
            x = np.random.default_rng(1).normal(0, 1, (5, 20)).astype(dtype)
            clean = fastact.layer_norm(x, approx=tier), fastact.rms_norm(x, approx=tier)
            x[1, 3], x[2, 0] = np.nan, np.inf
            with np.errstate(all="raise"):
                spoiled = fastact.layer_norm(x, approx=tier), fastact.rms_norm(x, approx=tier)
            for a, b in zip(spoiled, clean, strict=True):
                assert np.isnan(a[1]).all() and np.isnan(a[2, 0])
                assert same(a[[0, 3, 4]], b[[0, 3, 4]])
            assert np.isnan(spoiled[0][2]).all()


def test_bad_input_is_refused_before_anything_is_written() -> None:
    x = np.ones((3, 4), np.float32)
    for function in (fastact.layer_norm, fastact.rms_norm):
        with pytest.raises(ValueError, match=r"weight has shape \(3,\), but the axes of x, \(3, 4\), .* have \(4,\)"):
            function(x, np.ones(3, np.float32))
        with pytest.raises(ValueError, match=r"weight has shape \(1, 4\)"):
            function(x, np.ones((1, 4), np.float32))
        with pytest.raises(np.exceptions.AxisError):
            function(x, axis=2)
        with pytest.raises(ValueError, match=r"out has shape \(4, 3\), but the result has \(3, 4\)"):
            function(x, out=np.empty((4, 3), np.float32))
        frozen = np.zeros((3, 4), np.float32)
        frozen.flags.writeable = False
        with pytest.raises(ValueError, match="read-only"):
            function(x, out=frozen)
        memory = np.arange(13, dtype=np.float32)
        before = memory.copy()
        with pytest.raises(ValueError, match="shares memory"):
            function(memory[:12].reshape(3, 4), out=memory[1:].reshape(3, 4))
        with pytest.raises(ValueError, match="shares memory"):
            function(x, memory[:4], out=memory[:12].reshape(3, 4))
        assert same(memory, before)
        for eps in (-1.0, np.nan, np.inf):
            with pytest.raises(ValueError, match="eps must be finite and at least 0"):
                function(x, eps=eps)
        with pytest.raises(TypeError, match="eps is a number, not str"):
            function(x, eps="1")
        with pytest.raises(TypeError, match="weight is complex128"):
            function(x, np.ones(4, complex))
        with pytest.raises(ValueError, match="not a precision tier"):
            function(x, approx="close")
        with pytest.raises(ValueError, match=r"g has shape \(4, 3\) and x \(3, 4\)"):
            function.backward(np.ones((4, 3)), x)
    with pytest.raises(ValueError, match=r"bias has shape \(3,\)"):
        fastact.layer_norm(x, bias=np.ones(3, np.float32))
    with pytest.raises(ValueError, match=r"bias has shape \(3,\)"):
        fastact.layer_norm.backward(x, x, bias=np.ones(3, np.float32))
    channels = np.ones(4, np.float32)
    with pytest.raises(ValueError, match=r"variance has shape \(3,\), but x, of shape \(3, 4\), has 4 channels"):
        fastact.batch_norm(x, channels, np.ones(3, np.float32))
    with pytest.raises(np.exceptions.AxisError):
        fastact.batch_norm(x[0], channels, channels)
    with pytest.raises(TypeError, match="axis is a whole number, not tuple"):
        fastact.batch_norm(x, channels, channels, axis=(0, 1))
