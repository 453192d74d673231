"""Rows and norms of device arrays in Numba's CUDA simulator; `test_cuda_calls.py` runs this."""

from __future__ import annotations

import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numba import cuda

import fastact

sys.path.insert(0, __file__.rpartition("/")[0])
from cuda_simulated import DTYPES, PAIRS, Stranger, made, same

ROWS = ("softmax", "softmin", "log_softmax", "sparsemax")
d = cuda.to_device


def uneven(shape: tuple[int, ...], dtype: Any) -> Any:
    """Rows of numbers, and some of infinities, NaN and large numbers."""
    x = made(shape, dtype)
    rows = x.reshape(-1, shape[-1])
    rows[0, 0], rows[1, -1], rows[2, :] = np.nan, np.inf, -np.inf
    with np.errstate(over="ignore"):
        rows[3] *= dtype(1000)
    rows[4, shape[-1] // 2] = -np.inf
    return x


@pytest.mark.parametrize("name", ROWS)
def test_rows(name: str) -> None:
    function = getattr(fastact, name)
    for place, shape in enumerate(((6, 7), (5, 130), (5, 1))):
        dtype, tier = PAIRS[(5 * ROWS.index(name) + 7 * place) % 12]
        x = uneven(shape, DTYPES[dtype])
        g = made(shape, DTYPES[dtype], 1)
        y = function(x, approx=tier)
        assert same(function(d(x), approx=tier), y), (dtype, tier, shape)
        expected = function.backward_from_output(g, y, approx=tier)
        assert same(function.backward_from_output(d(g), d(y), approx=tier), expected)
    on_device = d(x)
    assert function(on_device, out=on_device, approx=tier) is on_device and same(on_device, y)
    found = function.backward(d(g), d(x), out=on_device, approx=tier)
    assert found is on_device and same(found, function.backward(g, x, approx=tier))


@pytest.mark.parametrize("axis", [0, 1, (0, 2), (1, 2), None, ()])
def test_axes(axis: Any) -> None:
    x, g = made((2, 3, 8)), made((2, 3, 8), seed=1)
    for keep, make in enumerate((lambda a: a[:, ::-1, ::2], lambda a: a.transpose(2, 0, 1))):
        a, b = make(x), make(g)
        views = make(d(x).copy_to_host()), make(d(g).copy_to_host())
        for one, other in zip(views, (a, b), strict=True):
            assert one.strides == other.strides
        first, second = (type(d(x))(v) for v in views)
        result = fastact.softmax(first, axis)
        assert same(result, fastact.softmax(a, axis))
        assert result.strides == fastact.softmax(a, axis).strides or 1 in a.shape or not axis
        assert same(fastact.log_softmax.backward(second, first, axis), fastact.log_softmax.backward(b, a, axis))
        total = fastact.logsumexp(a, axis, bool(keep))
        assert same(fastact.logsumexp(first, axis, bool(keep)), total)
        found = fastact.logsumexp.backward(d(np.asarray(total)), first, axis, bool(keep))
        assert same(found, fastact.logsumexp.backward(total, a, axis, bool(keep)))


def test_results_go_where_they_are_wanted() -> None:
    x = made((2, 3, 8))
    out = d(np.zeros((8, 3, 2), np.float32))
    for axis in (0, 1, 2, (0, 2)):
        assert fastact.softmax(d(x), axis, out=out.T) is not out
        assert same(out.T, fastact.softmax(x, axis))
    total = d(np.zeros((2, 8), np.float32))
    assert fastact.logsumexp(d(x), 1, out=total) is total and same(total, fastact.logsumexp(x, 1))


@pytest.mark.parametrize(("name", "with_bias"), [("rms_norm", False), ("layer_norm", True)])
def test_norms(name: str, with_bias: bool) -> None:
    function = getattr(fastact, name)
    shapes: Any = (((3, 7), -1), ((2, 72), -1), ((2, 3, 5), (1, 2)), ((20, 3), 0), ((2, 8), None))
    for place, (shape, axis) in enumerate(shapes):
        for dtype, tier in PAIRS[(3 * place + 4 * with_bias) % 12 :: 12]:
            x, g = made(shape, DTYPES[dtype]), made(shape, DTYPES[dtype], 1)
            x[..., 0] += DTYPES[dtype](30)
            axes = range(len(shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
            part = tuple(shape[k] for k in axes)
            weight, bias = made(part, DTYPES[dtype], 2), made(part, DTYPES[dtype], 3)
            for given in ((), (weight, bias), (None, bias)) if with_bias else ((), (weight,)):
                on_device = [None if a is None else d(a) for a in given]
                expected = function(x, *given, axis=axis, approx=tier)
                assert same(function(d(x), *on_device, axis=axis, approx=tier), expected), (dtype, tier, shape)
            for given in ((), (weight,))[place % 2 :]:
                expected = function.backward(g, x, *given, axis=axis, approx=tier)
                found = function.backward(d(g), d(x), *map(d, given), axis=axis, approx=tier)
                assert len(found) == len(expected)
                for one, other in zip(found, expected, strict=True):
                    assert same(one, other), (dtype, tier, shape, given)


def test_batches() -> None:
    for place, (shape, axis) in enumerate((((3, 4, 5), 1), ((2, 3, 4, 6), 1), ((6, 5), -1), ((6, 5), 0), ((7,), 0))):
        for dtype, tier in PAIRS[2 * place :: 12]:
            kind = DTYPES[dtype]
            x, g = made(shape, kind), made(shape, kind, 1)
            count = shape[axis]
            mean, variance, weight, bias = (
                made((count,), kind, 2),
                abs(made((count,), kind, 3)),
                *(made((count,), kind, k) for k in (4, 5)),
            )
            for given in ((mean, variance), (mean, variance, weight), (mean, variance, weight, bias)):
                expected = fastact.batch_norm(x, *given, axis=axis, approx=tier)
                assert same(fastact.batch_norm(d(x), *map(d, given), axis=axis, approx=tier), expected)
                if len(given) == 4:
                    continue
                expected = fastact.batch_norm.backward(g, x, *given, axis=axis, approx=tier)
                found = fastact.batch_norm.backward(d(g), d(x), *map(d, given), axis=axis, approx=tier)
                for one, other in zip(found, expected, strict=True):
                    assert same(one, other), (shape, axis, dtype, tier, len(given))


def test_rows_of_nothing() -> None:
    for shape in ((0, 4), (4, 0), (0,)):
        x = np.zeros(shape, np.float32)
        assert fastact.softmax(d(x)).shape == shape
        assert same(fastact.logsumexp(d(x)), np.asarray(fastact.logsumexp(x)))
        dx, slope = fastact.rms_norm.backward(d(x), d(x))
        assert dx.shape == shape and same(slope, fastact.rms_norm.backward(x, x)[1])
    x = np.array(3.0, np.float32)
    assert same(fastact.softmax(d(x), None), np.asarray(fastact.softmax(x, None)))


def test_long_rows_of_unknown_libraries() -> None:
    x = made((1, 2200), ml_dtypes.bfloat16)
    assert same(fastact.softmax(Stranger(x), approx="fast"), fastact.softmax(x, approx="fast"))


def _calls() -> dict[str, tuple[Any, type[Exception], str]]:
    x = made((4, 6))
    a, wide, whole = d(x), d(x.astype(np.float64)), d(x.astype(np.int32))
    shifted, weight = d(made((30,))), d(made((6,)))
    locked = made((4, 6))
    locked.flags.writeable = False
    read_only = type(a)(locked)
    soft, rms, layer, batch, total = (
        fastact.softmax, fastact.rms_norm, fastact.layer_norm, fastact.batch_norm, fastact.logsumexp,
    )  # fmt: skip
    pieces = [shifted[k : k + 24].reshape(4, 6) for k in (0, 1)]
    return {
        "axis": (lambda: soft(a, 2), ValueError, "axis 2 is out of bounds"),
        "axis of a norm": (lambda: rms(a, axis=(0, 0)), ValueError, "repeated axis"),
        "integers": (lambda: soft(whole), TypeError, "x is int32"),
        "host out": (lambda: soft(a, out=x), TypeError, "out is a ndarray on the host"),
        "device out": (lambda: soft(x, out=a), TypeError, "x is a ndarray on the host"),
        "shape of out": (lambda: soft(a, out=weight), ValueError, r"out has shape \(6,\)"),
        "dtype of out": (lambda: soft(a, out=wide), TypeError, "x is float32 and out float64"),
        "read-only": (lambda: soft(a, out=read_only), ValueError, "out is read-only"),
        "overlap": (lambda: soft(pieces[0], out=pieces[1]), ValueError, "out and x overlap"),
        "where": (lambda: soft(a, where=x > 0), NotImplementedError, "no where= yet"),
        "tier": (lambda: soft(a, approx="best"), ValueError, "not a precision tier"),
        "shapes": (lambda: soft.backward(weight, a), ValueError, r"g has shape \(6,\) and x \(4, 6\)"),
        "host gradient": (lambda: soft.backward_from_output(x, a), TypeError, "g is a ndarray on the host"),
        "shape of g": (lambda: total.backward(a, a), ValueError, r"g has shape \(4, 6\), but the output"),
        "shape of a total": (lambda: total(a, out=a), ValueError, r"the result has \(4,\)"),
        "weight": (lambda: rms(a, d(made((4,)))), ValueError, r"weight has shape \(4,\)"),
        "host weight": (lambda: layer(a, made((6,))), TypeError, "weight is a ndarray on the host"),
        "host x": (lambda: layer(x, weight), TypeError, "x is a ndarray on the host"),
        "number": (lambda: rms(a, 2.0), TypeError, "weight is a number on the host"),
        "eps": (lambda: layer(a, eps=-1.0), ValueError, "eps must be finite and at least 0"),
        "out is the weight": (lambda: rms(d(made((6,))), weight, out=weight), ValueError, "out and weight overlap"),
        "channels": (lambda: batch(a, weight, weight, axis=0), ValueError, r"mean has shape \(6,\), .* 4 channels"),
        "channels' axis": (lambda: batch(a, weight, weight, axis=1.5), TypeError, "axis is a whole number"),
        "two dtypes": (lambda: layer.backward(wide, a), TypeError, "g is float64 and x float32"),
    }


CALLS = _calls()


@pytest.mark.parametrize("case", CALLS)
def test_errors_come_before_anything_is_launched(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastact.cuda import launch

    def forbidden(*args: Any) -> None:
        raise AssertionError("launched")

    monkeypatch.setattr(launch, "launch", forbidden)
    monkeypatch.setattr(launch, "launch_rows", forbidden)
    call, kind, text = CALLS[case]
    with pytest.raises(kind, match=text) as caught:
        call()
    assert "\n" not in str(caught.value)
