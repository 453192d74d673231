"""softmax and its relatives: truth by arbitrary precision, bits whatever the layout, extreme rows, bad input."""

from __future__ import annotations

import functools
import math
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

import fastact
from fastact.cpu.compile import row_address
from fastact.cpu.rows import calls as compiled
from fastact.cpu.rows.calls import ACROSS_LONG, ACROSS_SHORT
from fastact.cpu.target import baseline, host

TIERS = ("exact", "fast", "rough")
NAMES = ("softmax", "softmin", "log_softmax", "sparsemax")
INFINITY, NAN = math.inf, math.nan
PRECISION = {"float16": (11, -24), "float32": (24, -149), "float64": (53, -1074)}
BOUNDS = {
    ("float16", "exact"): 0.501, ("float16", "fast"): 0.51, ("float16", "rough"): 1.0,
    ("float32", "exact"): 0.51, ("float32", "fast"): 4.0, ("float32", "rough"): 2.0**13,
    ("float64", "exact"): 0.501, ("float64", "fast"): 4.0, ("float64", "rough"): 2.0**30,
}  # fmt: skip
"""ULP; of rough, 2^-11 of float32 and 2^-23 of float64 are given in ULP of the smallest significand."""
Row = Any


# -- truth ------------------------------------------------------------------------------------------------------------
def logarithms(x: Row) -> list[Any]:
    """log_softmax of a row."""
    m = max(x)
    others = mpmath.fsum(mpmath.exp(v - m) for v in x if v != m)
    log = mpmath.log1p(others + (list(x).count(m) - 1))
    return [(v - m) - log for v in x]


def simplex(x: Row) -> list[Any]:
    """The point of the simplex nearest to a row."""
    ordered = sorted(x, reverse=True)
    total = mpmath.mpf(0)
    for k, v in enumerate(ordered, start=1):
        total += v
        if 1 + k * v > total:
            threshold = (total - 1) / k
    return [max(v - threshold, mpmath.mpf(0)) for v in x]


TRUTH: dict[str, Callable[[Row], list[Any]]] = {
    "softmax": lambda x: [mpmath.exp(v) for v in logarithms(x)],
    "softmin": lambda x: [mpmath.exp(v) for v in logarithms([-v for v in x])],
    "log_softmax": logarithms,
    "sparsemax": simplex,
    "logsumexp": lambda x: [x[0] - logarithms(x)[0]],
}


def exactly(row: Any) -> list[Any]:
    return [mpmath.mpf(float(v)) for v in row]


def ulp(value: Any, dtype: str) -> Any:
    bits, least = PRECISION[dtype]
    exponent = mpmath.frexp(value)[1] if value else least
    return mpmath.mpf(2) ** max(exponent - bits, least)


def error(got: Any, truth: Any, dtype: str) -> float:
    """In units in the last place of the truth."""
    return float(abs(mpmath.mpf(float(got)) - truth) / ulp(truth, dtype))


def samples(dtype: str) -> list[np.ndarray[Any, Any]]:
    """Rows of many lengths: moderate numbers, wide ones with subnormal results, far ones, prevailing ones, ties."""
    rng = np.random.default_rng(7)
    reach = {"float16": 20.0, "float32": 110.0, "float64": 760.0}[dtype]
    far = {"float16": 3e4, "float32": 1e6, "float64": 1e12}[dtype]
    found = []
    for n in (1, 2, 3, 5, 8, 13, 16, 17, 31, 40, 64, 65, 131):
        found += [
            rng.normal(0, 3, n),
            rng.uniform(-reach, 0, n),
            far + rng.uniform(-40, 0, n),
            -far + rng.uniform(-40, 0, n),
        ]
        prevailing = rng.uniform(-30, -10, n)
        prevailing[n // 2] = 0.3
        found += [prevailing, np.round(rng.normal(0, 1, n))]
    return [row.astype(dtype) for row in found]


@functools.cache
def cases(name: str, dtype: str) -> list[tuple[np.ndarray[Any, Any], list[Any]]]:
    """Rows with the truth of each."""
    with mpmath.workdps(60):
        return [(row, TRUTH[name](exactly(row))) for row in samples(dtype)]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("name", ("softmax", "softmin", "log_softmax"))
def test_every_result_is_near_the_truth(name: str, dtype: str, tier: str) -> None:
    function, worst = getattr(fastact, name), 0.0
    with mpmath.workdps(60):
        for row, truth in cases(name, dtype):
            found = function(row, approx=tier)
            if tier == "rough":  # which may flush subnormal results to zero
                pairs = [(v, t) for v, t in zip(found, truth, strict=True) if abs(t) >= np.finfo(dtype).tiny]
            else:
                pairs = list(zip(found, truth, strict=True))
            worst = max([worst, *(error(v, t, dtype) for v, t in pairs)])
    assert worst <= BOUNDS[dtype, tier]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("name", ("logsumexp", "sparsemax"))
def test_errors_are_relative_to_what_cancels(name: str, dtype: str, tier: str) -> None:
    """The threshold is subtracted from elements, the logarithm added to the maximum."""
    function = getattr(fastact, name)
    careful = {"float16": 2.0**-45, "float32": 2.0**-45, "float64": 2.0**-100 if tier == "exact" else 2.0**-49}
    rest = {"exact": careful[dtype], "fast": 2.0**-21, "rough": 2.0**-11}[tier]
    if name == "sparsemax":
        rest = careful[dtype]
    elif dtype == "float64" and tier != "exact":
        rest = {"fast": 2.0**-50, "rough": 2.0**-23}[tier]
    with mpmath.workdps(60):
        for row, truth in cases(name, dtype):
            scale = float(np.abs(row).max()) + math.log(row.size) + 1.0
            for v, t in zip(np.atleast_1d(function(row, approx=tier)), truth, strict=True):
                half = 0.501 * ulp(t, dtype)
                assert abs(mpmath.mpf(float(v)) - t) <= half + rest * scale, (row, v, t)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("n", (1, 7, 64, 1000, 100_000))
def test_rows_sum_to_one(n: int, tier: str) -> None:
    x = np.random.default_rng(n).normal(0, 4, (3, n)).astype(np.float32)
    bound = {"exact": 2.0**-24, "fast": 2.0**-22, "rough": 2.0**-11}[tier]
    for row in fastact.softmax(x, approx=tier):
        assert abs(math.fsum(row.tolist()) - 1.0) <= bound


def test_long_rows_and_many_short_ones() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(0, 3, 10_000_000).astype(np.float32)
    y = fastact.softmax(x, approx="fast")
    wide = np.exp(x[::1000].astype(np.float64) - x.max())
    total = sum(math.fsum(np.exp(part.astype(np.float64) - x.max()).tolist()) for part in np.array_split(x, 10))
    assert np.abs(y[::1000] / (wide / total) - 1).max() < 4 * 2.0**-23
    assert float(fastact.logsumexp(x)) == np.float32(math.log(total) + float(x.max()))
    short = rng.normal(0, 3, (1_000_000, 3)).astype(np.float32)
    wide = np.exp(short.astype(np.float64))
    truth = wide / wide.sum(-1, keepdims=True)
    assert np.abs(fastact.softmax(short, approx="fast") / truth - 1).max() < 4 * 2.0**-23
    assert np.abs(fastact.softmax(short) / truth - 1).max() < 0.51 * 2.0**-23


@pytest.mark.parametrize("tier", ("fast", "rough"))
def test_sums_of_long_float64_rows_are_carried(tier: str) -> None:
    """Plain sums in 32 lanes would be off by more than that of pairs of halves is."""
    x = np.log(np.random.default_rng(1).uniform(0.5, 1.0, 3_000_000))
    total = math.fsum(np.exp(x).tolist())
    ones = np.zeros_like(x)
    got = fastact.logsumexp.backward(np.float64(1.0), ones, approx=tier)[0]
    assert abs(got * x.size - 1) <= 2.0**-51 or tier == "rough"
    if tier == "fast":
        assert abs(float(fastact.logsumexp(x, approx=tier)) - math.log(total)) <= 8 * math.ulp(math.log(total))


# -- the same bits whatever the layout --------------------------------------------------------------------------------
def same(a: Any, b: Any) -> bool:
    return np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("n", (3, 8, 20, 50, 64, 77, 1000, 5000))
def test_layout_changes_no_bit(n: int, dtype: str, tier: str) -> None:
    x = np.random.default_rng(n).normal(0, 5, (37, n)).astype(dtype)
    for name in ("softmax", "log_softmax", "sparsemax"):
        function = getattr(fastact, name)
        y = function(x, approx=tier)
        alone = np.stack([function(row, approx=tier) for row in x[:5]])
        assert same(alone, y[:5]), "a row by itself"
        assert same(function(x.T.copy(), axis=0, approx=tier).T, y), "along the first axis"
        assert same(function(np.asfortranarray(x), approx=tier).copy("C"), y), "in Fortran's order"
        wide = np.zeros((37, 2 * n), dtype)
        wide[:, ::2] = x
        assert same(function(wide[:, ::2], approx=tier).copy("C"), y), "every other element"
        assert same(function(x[::-1, ::-1][::-1, ::-1], approx=tier), y), "turned around twice"
        backwards = x[:, ::-1].copy()[:, ::-1]
        assert same(function(backwards, approx=tier).copy("C"), y), "backwards in memory"
        shifted = np.frombuffer(b"\0" + x.tobytes(), dtype=np.uint8)[1:].view(dtype).reshape(x.shape)
        assert same(function(shifted, approx=tier), y), "not aligned"
        swapped = x.astype(x.dtype.newbyteorder())
        assert same(function(swapped, approx=tier), y), "the other byte order"
        place = x.copy()
        assert function(place, out=place, approx=tier) is place and same(place, y), "in place"
        turned = x.T.copy()
        function(turned, axis=0, out=turned, approx=tier)
        assert same(turned.T.copy(), y), "in place along the first axis"
        out = np.zeros_like(wide)
        function(x, out=out[:, 1::2], approx=tier)
        assert same(out[:, 1::2].copy(), y) and not out[:, ::2].any(), "into every other element"
    total = fastact.logsumexp(x, approx=tier)
    assert same(fastact.logsumexp(x.T.copy(), axis=0, approx=tier), total)


@pytest.mark.parametrize("shape", ((3000, 100), (100_000, 7), (40, 20_000)))
def test_threads_change_no_bit(shape: tuple[int, int]) -> None:
    x = np.random.default_rng(0).normal(0, 5, shape).astype(np.float32)
    g = np.random.default_rng(1).normal(0, 1, shape).astype(np.float32)

    def results() -> list[Any]:
        y = fastact.softmax(x)
        across = fastact.softmax(np.asfortranarray(x), approx="fast")
        return [y, across, fastact.logsumexp(x), fastact.softmax.backward_from_output(g, y)]

    with fastact.num_threads(1):
        alone = results()
    for threads in (2, 5):
        with fastact.num_threads(threads):
            for _ in range(3):
                for a, b in zip(alone, results(), strict=True):
                    assert same(a, b)


@pytest.mark.parametrize(("shape", "axis"), (((3, 70, 85), 1), ((300, 1001), 0), ((2, 3, 20_000), 1), ((65, 9, 51), 0)))
def test_rows_side_by_side(shape: tuple[int, ...], axis: int) -> None:
    """Whole vectors of rows and what is left over, along several other axes, on threads, within a larger array."""
    x = np.random.default_rng(1).normal(0, 4, shape).astype(np.float32)
    together = np.ascontiguousarray(np.moveaxis(x, axis, -1))
    frame = np.full([n + 5 for n in shape], NAN, np.float32)
    inside = tuple(slice(2, n + 2) for n in shape)
    for name in ("softmax", "log_softmax"):
        for tier in ("exact", "fast"):
            function = getattr(fastact, name)
            expected = np.moveaxis(function(together, approx=tier), -1, axis)
            for threads in (1, 3):
                with fastact.num_threads(threads):
                    assert same(np.ascontiguousarray(function(x, axis, approx=tier)), np.ascontiguousarray(expected))
                    frame[...] = NAN
                    frame[inside] = x
                    function(frame[inside], axis, out=frame[inside], approx=tier)
                    assert same(np.ascontiguousarray(frame[inside]), np.ascontiguousarray(expected))
                    assert np.count_nonzero(np.isnan(frame)) == frame.size - x.size


@pytest.mark.parametrize("level", ("sse2", "avx2"))
@pytest.mark.parametrize(("name", "dtype", "tier"), (
    ("softmax", "float32", "fast"), ("log_softmax", "float32", "exact"), ("softmax", "float64", "exact"),
    ("logsumexp", "float16", "fast"),
))  # fmt: skip
def test_other_processors_compute_the_same_bits(name: str, dtype: str, tier: str, level: str) -> None:
    if host().machine != "x86_64":
        pytest.skip("those processors are of another family")
    features = "sse3,ssse3,sse4.1,sse4.2,popcnt,avx,avx2,fma,f16c,bmi,bmi2"
    if level == "avx2" and not all(host().has(f) for f in features.split(",")):
        pytest.skip("this processor lacks AVX2")
    processor = baseline(features if level == "avx2" else "")
    kernel = compiled.kernel(name, dtype, tier)
    other = compiled.Kernel(kernel.linked)
    for n in (5, 30, 200):
        x = np.random.default_rng(n).normal(0, 5, (19, n)).astype(dtype)
        expected, found = (np.empty((19,) if name == "logsumexp" else x.shape, dtype) for _ in range(2))
        compiled.apply(name, tier, dtype, [x, expected])
        width = next((w for w in other.widths if n <= w), 0)
        other.variants[width] = compiled.Variant(row_address(kernel.linked, width, processor))
        compiled.call(other, [x, found])
        assert same(found, expected)
        turned, beside = np.asfortranarray(x), np.empty_like(expected, order="F")
        across = ACROSS_SHORT if n <= other.lanes else ACROSS_LONG
        other.variants[across] = compiled.Variant(row_address(kernel.linked, across, processor))
        compiled.call(other, [turned, beside])
        assert same(beside.copy("C"), expected)


# -- axes -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", NAMES)
def test_several_axes_are_one_row(name: str) -> None:
    function = getattr(fastact, name)
    x = np.random.default_rng(5).normal(0, 3, (3, 4, 5, 6)).astype(np.float32)
    for axis in ((0, 1), (1, 2), (2, 3), (0, 2), (3, 1), (0, 1, 3), None, (-1, 0)):
        axes = tuple(range(4)) if axis is None else tuple(a % 4 for a in axis)
        rest = [a for a in range(4) if a not in axes]
        moved = x.transpose(*rest, *sorted(axes))
        flat = np.ascontiguousarray(moved).reshape(*(x.shape[a] for a in rest), -1)
        expected = function(flat).reshape(moved.shape)
        found = function(x, axis=axis)
        assert same(found.transpose(*rest, *sorted(axes)).copy("C"), expected)
        total = fastact.logsumexp(x, axis=axis)
        assert same(total, fastact.logsumexp(flat))
        kept = fastact.logsumexp(x, axis=axis, keepdims=True)
        assert kept.ndim == 4 and same(kept.reshape(total.shape), total)
        out = np.empty_like(kept)
        assert fastact.logsumexp(x, axis, True, out=out) is out and same(out, kept)


def test_no_axis_and_no_dimensions() -> None:
    assert fastact.softmax(3.0) == 1.0 and np.ndim(fastact.softmax(3.0)) == 0
    assert fastact.log_softmax(np.float32(3)) == 0.0
    assert fastact.logsumexp(3.0) == 3.0 and fastact.logsumexp(np.float16(3), axis=0).dtype == np.float16
    x = np.arange(6.0).reshape(2, 3)
    assert (fastact.softmax(x, axis=()) == 1.0).all()
    assert (fastact.logsumexp(x, axis=()) == x).all()
    assert same(fastact.softmax([1, 2, 3]), fastact.softmax(np.array([1.0, 2.0, 3.0])))
    assert fastact.softmax(np.array([1, 2], np.int8)).dtype == np.exp(np.int8(1)).dtype
    assert fastact.softmax(np.array([True, False])).dtype == np.exp(True).dtype


# -- extreme rows -----------------------------------------------------------------------------------------------------
EXTREME = [
    ([1e30, -1e30, 1e30], [0.5, 0.0, 0.5]),
    ([-1e30, -1e30], [0.5, 0.5]),
    ([3e38, -3e38, 2e38], [1.0, 0.0, 0.0]),
    ([-INFINITY, 0.0], [0.0, 1.0]),
    ([-INFINITY, -INFINITY], [NAN, NAN]),
    ([INFINITY, 0.0], [NAN, NAN]),
    ([INFINITY, -INFINITY], [NAN, NAN]),
    ([NAN, 0.0, 1.0], [NAN, NAN, NAN]),
    ([NAN, INFINITY, -INFINITY], [NAN, NAN, NAN]),
    ([5000.0, 4990.0, -5000.0], [0.9999546021312976, 4.5397868702434395e-05, 0.0]),
    ([0.0, -0.0], [0.5, 0.5]),
]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize(("row", "expected"), EXTREME)
@pytest.mark.parametrize("padding", (0, 100))
def test_extreme_rows(row: list[float], expected: list[float], padding: int, dtype: str, tier: str) -> None:
    """As they are, and among many that do not count, as a long row."""
    least = -INFINITY if padding else 0.0
    x = np.array(row + [least] * padding, dtype)
    wanted = expected + [expected[0] * 0.0] * padding
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with np.errstate(all="raise"):
            y = fastact.softmax(x, approx=tier)
            low = fastact.softmin(-x, approx=tier)
            log = fastact.log_softmax(x, approx=tier)
            total = fastact.logsumexp(x, approx=tier)
    np.testing.assert_allclose(y, wanted, rtol=1e-3 if tier == "rough" else 1e-6)
    np.testing.assert_allclose(low, wanted, rtol=1e-3 if tier == "rough" else 1e-6)
    with np.errstate(all="ignore"):
        logs = np.log(np.array(wanted))
        np.testing.assert_allclose(np.exp(log.astype(np.float64)), np.exp(logs), rtol=1e-3)
        whole = NAN if np.isnan(x).any() else float(np.logaddexp.reduce(x.astype(np.float64)))
    np.testing.assert_allclose(total, whole, rtol=1e-3 if tier == "rough" else 1e-6)


def test_sparsemax_of_extreme_rows() -> None:
    for dtype in ("float32", "float64"):
        for tier in TIERS:
            for row, expected in (
                ([1e30, -1e30, 1e30], [0.5, 0.0, 0.5]), ([-INFINITY, 0.0], [0.0, 1.0]), ([NAN, 0.0], [NAN, NAN]),
                ([-INFINITY, -INFINITY], [NAN, NAN]), ([INFINITY, 0.0], [NAN, NAN]), ([0.25, 0.0], [0.625, 0.375]),
            ):  # fmt: skip
                np.testing.assert_array_equal(fastact.sparsemax(np.array(row, dtype), approx=tier), expected)


@pytest.mark.parametrize("dtype", ("float32", "float64"))
def test_subnormal_results_are_right(dtype: str) -> None:
    """In exact and fast the results below the normal numbers keep what digits they can have."""
    far = {"float32": 95.0, "float64": 730.0}[dtype]
    x = np.array([0.0, -far, -far - 1.7, -far - 5.1], dtype)
    with mpmath.workdps(60):
        truth = TRUTH["softmax"](exactly(x))
        assert 0 < truth[1] < np.finfo(dtype).tiny
        for tier, bound in (("exact", 0.501), ("fast", 1.0)):
            for v, t in zip(fastact.softmax(x, approx=tier), truth, strict=True):
                assert error(v, t, dtype) <= max(bound, 4.0 if t > 0.5 and tier == "fast" else 0.0)


def test_nothing_in_nothing_out() -> None:
    for shape in ((0,), (3, 0), (0, 3), (2, 0, 4)):
        x = np.empty(shape, np.float32)
        for name in NAMES:
            for axis in range(len(shape)):
                assert getattr(fastact, name)(x, axis).shape == shape
    assert fastact.logsumexp(np.empty(0)) == -INFINITY
    assert same(fastact.logsumexp(np.empty((2, 0), np.float32)), np.full(2, -INFINITY, np.float32))
    assert fastact.logsumexp(np.empty((0, 2))).shape == (0,)
    assert fastact.logsumexp.backward(np.ones(2), np.empty((2, 0))).shape == (2, 0)


# -- masks ------------------------------------------------------------------------------------------------------------
def test_what_is_left_out_has_no_influence() -> None:
    rng = np.random.default_rng(9)
    x = rng.normal(0, 3, (6, 10)).astype(np.float32)
    keep = rng.random((6, 10)) < 0.6
    keep[2], keep[3] = True, False
    spoiled = np.where(keep, x, np.float32(NAN))
    g = rng.normal(0, 1, x.shape).astype(np.float32)
    for name, excluded in (("softmax", 0.0), ("softmin", 0.0), ("log_softmax", -INFINITY), ("sparsemax", 0.0)):
        function = getattr(fastact, name)
        before = spoiled.copy()
        y = function(spoiled, where=keep)
        assert same(spoiled, before)
        back = function.backward_from_output(np.where(keep, g, np.float32(NAN)), y, where=keep)
        assert (y[~keep] == excluded).all() and (back[~keep] == 0).all()
        for i in range(6):
            part = function(x[i][keep[i]])
            np.testing.assert_allclose(y[i][keep[i]], part, rtol=1e-6)
            slope = function.backward_from_output(g[i][keep[i]], part)
            np.testing.assert_allclose(back[i][keep[i]], slope, rtol=1e-4, atol=1e-6)
        place = spoiled.copy()
        assert same(function(place, where=keep, out=place), y)
    total = fastact.logsumexp(spoiled, where=keep)
    assert total[3] == -INFINITY
    np.testing.assert_allclose(total, [fastact.logsumexp(x[i][keep[i]]) for i in range(6)], rtol=1e-6)
    back = fastact.logsumexp.backward(np.ones(6, np.float32), spoiled, where=keep)
    np.testing.assert_allclose(back, fastact.softmax(spoiled, where=keep), rtol=1e-6)
    column = np.array([True, False] * 5)
    np.testing.assert_allclose(fastact.softmax(x, where=column)[:, ::2], fastact.softmax(x[:, ::2].copy()), rtol=1e-6)


# -- gradients --------------------------------------------------------------------------------------------------------
GRADIENTS: dict[str, Callable[[Any, Any], Any]] = {
    "softmax": lambda g, y: y * (g - (g * y).sum()),
    "softmin": lambda g, y: -y * (g - (g * y).sum()),
    "log_softmax": lambda g, y: g - np.exp(y) * g.sum(),
    "sparsemax": lambda g, y: np.where(y > 0, g - g[y > 0].mean(), 0.0),
}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("name", NAMES)
def test_gradients_from_the_output(name: str, dtype: str, tier: str) -> None:
    rng, function = np.random.default_rng(11), getattr(fastact, name)
    unit = {"exact": 0.51, "fast": 4.0, "rough": 4.0}[tier] * 2.0 ** -(PRECISION[dtype][0] - 1)
    if tier == "rough" and dtype != "float16":
        unit = 2.0**-11 if dtype == "float32" else 2.0**-22
    for n in (1, 4, 9, 33, 64, 200):
        x, g = (rng.normal(0, 2, (7, n)).astype(dtype) for _ in range(2))
        y = function(x)
        found = function.backward_from_output(g, y, approx=tier)
        wide_g, wide_y = g.astype(np.longdouble), y.astype(np.longdouble)
        for got, a, b in zip(found, wide_g, wide_y, strict=True):
            truth = GRADIENTS[name](a, b)
            # Of the terms that cancel or add up, the sums among them by the sizes of their own terms.
            scale = 2 * np.abs(a).max() * (np.maximum(b, 0) if name.startswith("soft") else 1)
            if name == "log_softmax":
                scale = np.abs(a) + np.abs(a).sum() * np.exp(b)
            assert (np.abs(got - truth) <= unit * scale + 2.0 ** PRECISION[dtype][1]).all()
        own = function.backward_from_output(g, function(x, approx=tier), approx=tier)
        assert same(function.backward(g, x, approx=tier), own)
        for one in ("g", "y"):
            arrays = {"g": g.copy(), "y": y.copy()}
            function.backward_from_output(**arrays, out=arrays[one], approx=tier)
            assert same(arrays[one], found)


@pytest.mark.parametrize("dtype", PRECISION)
def test_gradient_of_logsumexp(dtype: str) -> None:
    rng = np.random.default_rng(12)
    x = rng.normal(0, 2, (4, 5, 6)).astype(dtype)
    for axis in (0, 1, -1, (0, 2), None):
        y, kept = fastact.logsumexp(x, axis), fastact.logsumexp(x, axis, keepdims=True)
        g = rng.normal(0, 1, np.shape(y)).astype(dtype)
        found = fastact.logsumexp.backward(g, x, axis)
        again = fastact.logsumexp.backward(g.reshape(kept.shape), x, axis, keepdims=True)
        truth = g.reshape(kept.shape) * fastact.softmax(x, axis).astype(np.float64)
        np.testing.assert_allclose(found, truth, rtol=4 * np.finfo(dtype).eps)
        assert same(found, again)


# -- peers ------------------------------------------------------------------------------------------------------------
def test_pytorch_agrees() -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(13).normal(0, 3, (5, 6, 7)).astype(np.float32)
    for name in ("softmax", "log_softmax", "softmin"):
        for axis in range(3):
            t = torch.from_numpy(x).requires_grad_()
            y = getattr(torch.nn.functional, name)(t, dim=axis)
            g = torch.from_numpy(np.random.default_rng(14).normal(0, 1, x.shape).astype(np.float32))
            y.backward(g)
            function = getattr(fastact, name)
            # PyTorch's logarithms lose digits where one number prevails
            np.testing.assert_allclose(function(x, axis), y.detach().numpy(), rtol=1e-6, atol=1e-6)
            back = function.backward(g.numpy(), x, axis)
            np.testing.assert_allclose(back, t.grad.numpy(), rtol=1e-4, atol=1e-6)
    for row, _ in EXTREME:
        a = np.array(row, np.float32)
        for name in ("softmax", "log_softmax", "softmin"):
            theirs = getattr(torch.nn.functional, name)(torch.from_numpy(a), dim=0).numpy()
            np.testing.assert_allclose(getattr(fastact, name)(a), theirs, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(fastact.logsumexp(a), torch.logsumexp(torch.from_numpy(a), 0).numpy(), rtol=1e-5)


def test_scipy_agrees() -> None:
    special = pytest.importorskip("scipy.special")
    x = np.random.default_rng(15).normal(0, 3, (5, 6, 7))
    for axis in (0, 1, 2, (0, 1), None):
        np.testing.assert_allclose(fastact.softmax(x, axis), special.softmax(x, axis), rtol=1e-13)
        np.testing.assert_allclose(fastact.log_softmax(x, axis), special.log_softmax(x, axis), rtol=1e-12)
        np.testing.assert_allclose(fastact.logsumexp(x, axis), special.logsumexp(x, axis), rtol=1e-13)


def test_jax_agrees_on_masks() -> None:
    jax = pytest.importorskip("jax")
    rng = np.random.default_rng(16)
    x = rng.normal(0, 3, (5, 6)).astype(np.float32)
    keep = rng.random((5, 6)) < 0.5
    keep[0] = False
    for name in ("softmax", "log_softmax"):
        theirs = np.asarray(getattr(jax.nn, name)(x, where=keep))
        np.testing.assert_allclose(getattr(fastact, name)(x, where=keep), theirs, rtol=1e-5)


# -- bad input --------------------------------------------------------------------------------------------------------
def test_bad_input_is_refused_before_anything_is_written() -> None:
    x = np.ones((3, 4), np.float32)
    for name in NAMES:
        function = getattr(fastact, name)
        for axis in (2, -3, (0, 5)):
            with pytest.raises(np.exceptions.AxisError):
                function(x, axis=axis)
        with pytest.raises(np.exceptions.AxisError):
            function(1.0, axis=1)
        with pytest.raises(ValueError, match="repeated"):
            function(x, axis=(0, 0))
        with pytest.raises(TypeError):
            function(x, axis=0.5)
        with pytest.raises(ValueError, match=r"\(4, 3\).*\(3, 4\)"):
            function(x, out=np.empty((4, 3), np.float32))
        with pytest.raises(TypeError, match="out must be an array, not list"):
            function(x, out=[0.0])
        with pytest.raises(TypeError, match="from float32 to int64"):
            function(x, out=np.empty((3, 4), np.int64))
        frozen = np.zeros((3, 4), np.float32)
        frozen.flags.writeable = False
        with pytest.raises(ValueError, match="read-only"):
            function(x, out=frozen)
        memory = np.arange(13, dtype=np.float32)
        before = memory.copy()
        with pytest.raises(ValueError, match="shares memory"):
            function(memory[:12].reshape(3, 4), out=memory[1:].reshape(3, 4))
        assert same(memory, before)
        with pytest.raises(ValueError, match="elements of out share memory"):
            function(x, out=np.lib.stride_tricks.as_strided(np.zeros(4, np.float32), (3, 4), (0, 4)))
        with pytest.raises(ValueError, match=r"where of shape \(5,\) does not broadcast to \(3, 4\)"):
            function(x, where=np.ones(5, bool))
        with pytest.raises(TypeError, match="where must be boolean, not int64"):
            function(x, where=np.ones(4, np.int64))
        with pytest.raises(ValueError, match="not a precision tier"):
            function(x, approx="precise")
        for bad in (x.astype(complex), x.astype(object), x.astype(np.longdouble), np.array(["a"])):
            with pytest.raises(TypeError, match="takes float16, bfloat16, float32 and float64"):
                function(bad)
        with pytest.raises(TypeError, match="masked array"):
            function(np.ma.masked_array(x, mask=x > 0))
        with pytest.raises(ValueError, match=r"g has shape \(4, 3\) and y \(3, 4\)"):
            function.backward_from_output(np.ones((4, 3)), x)
        with pytest.raises(ValueError, match=r"g has shape \(4,\) and x \(3, 4\)"):
            function.backward(np.ones(4), x)
    with pytest.raises(ValueError, match=r"out has shape \(3, 1\), but the result has \(3,\)"):
        fastact.logsumexp(x, out=np.empty((3, 1), np.float32))
    with pytest.raises(ValueError, match=r"g has shape \(4,\), but the output for x of shape \(3, 4\) has \(3,\)"):
        fastact.logsumexp.backward(np.ones(4), x)


def test_the_context_sets_the_tier_and_objects_travel() -> None:
    x = np.random.default_rng(2).normal(0, 3, (9, 40)).astype(np.float32)
    with fastact.precision("rough"):
        inside = fastact.softmax(x)
    assert same(inside, fastact.softmax(x, approx="rough")) and not same(inside, fastact.softmax(x))
    assert same(fastact.softmax(x, approx=True), fastact.softmax(x, approx="fast"))
    for name in (*NAMES, "logsumexp"):
        function = getattr(fastact, name)
        assert pickle.loads(pickle.dumps(function)) is function
        assert name in repr(function) and name in (function.__doc__ or "")


def test_bfloat16_is_computed_in_float32_and_rounded_once() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = np.random.default_rng(4).normal(0, 3, (11, 30)).astype(ml_dtypes.bfloat16)
    for name in NAMES:
        wide = getattr(fastact, name)(x.astype(np.float64))
        assert same(getattr(fastact, name)(x), wide.astype(np.float32).astype(ml_dtypes.bfloat16))
