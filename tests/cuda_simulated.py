"""Calls with device arrays in Numba's CUDA simulator; `test_cuda_calls.py` runs this with NUMBA_ENABLE_CUDASIM=1."""

from __future__ import annotations

import sys
import types
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numba import cuda

import fastact
from fastact.cuda import package
from fastact.kernels import GATES, REGISTRY
from fastact.link.forms import forms

DTYPES: dict[str, Any] = {
    "float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32, "float64": np.float64,
}  # fmt: skip
PAIRS = [(dtype, tier) for dtype in DTYPES for tier in ("exact", "fast", "rough")]


def made(shape: tuple[int, ...], dtype: Any = np.float32, seed: int = 0) -> Any:
    return (3 * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


def same(result: Any, expected: Any) -> bool:
    a, b = np.array(result.copy_to_host(), order="C"), np.array(expected, order="C")
    assert a.dtype == b.dtype and a.shape == b.shape
    kind = f"u{a.itemsize}"
    equal = (a.view(kind) == b.view(kind)) | (np.isnan(a.astype(np.float64)) & np.isnan(b.astype(np.float64)))
    return bool(equal.all())


def test_this_is_the_simulator() -> None:
    assert package.simulated()


@pytest.mark.parametrize("name", REGISTRY)
def test_the_bits_are_those_of_the_cpu(name: str) -> None:
    function = fastact.function.FUNCTIONS[name]
    dtype, tier = PAIRS[5 * list(REGISTRY).index(name) % len(PAIRS)]
    x = np.array([0.5, -0.0, 1.5, -3.0, np.inf, np.nan, 0.875, 90.0, 1e-3, -1.0, 2.5], DTYPES[dtype])
    g = made(x.shape, DTYPES[dtype])
    needed = [p for p in forms(REGISTRY[name])["value"].parameters if p.default is None]
    given = [np.asarray(0.25, x.dtype)] * len(needed)
    with np.errstate(all="ignore"):
        assert same(function(cuda.to_device(x), *given, approx=tier), function(x, *given, approx=tier))
        on_device = function.backward(cuda.to_device(g), cuda.to_device(x), *given, approx=tier)
        assert same(on_device, function.backward(g, x, *given, approx=tier))
        assert same(function.grad(cuda.to_device(x), *given, approx=tier), function.grad(x, *given, approx=tier))


@pytest.mark.parametrize(("dtype", "tier"), PAIRS)
def test_dtypes_and_tiers(dtype: str, tier: str) -> None:
    x = made((35,), DTYPES[dtype])
    assert same(fastact.mish(cuda.to_device(x), approx=tier), fastact.mish(x, approx=tier))
    with fastact.precision(tier):  # type: ignore[arg-type]
        assert same(fastact.mish(cuda.to_device(x)), fastact.mish(x))


SHAPES = {
    "scalar": lambda: made((1,))[0:1].reshape(()),
    "empty": lambda: made((0, 3)),
    "C": lambda: made((3, 4, 5)),
    "F": lambda: made((4, 8)).T,
    "rows": lambda: made((6, 8))[::2],
    "columns": lambda: made((6, 8))[:, 1::2],
    "backwards": lambda: made((4, 6))[::-1, ::-1],
    "misaligned": lambda: made((18,))[1:],
    "axes": lambda: made((2, 3, 4, 5)).transpose(3, 1, 0, 2)[::2],
    "repeated": lambda: np.broadcast_to(made((3, 1)), (3, 4)),
}


@pytest.mark.parametrize("case", SHAPES)
def test_layouts(case: str) -> None:
    x = SHAPES[case]()
    on_device = type(cuda.to_device(made((1,))))(x)  # with the strides that it has
    result = fastact.mish(on_device)
    expected = fastact.mish(x)
    assert same(result, expected)
    if case in ("C", "F"):
        assert result.strides == expected.strides


def test_parameters() -> None:
    x, w = made((3, 5, 8)), np.abs(made((5, 1), seed=1))
    d = cuda.to_device
    assert same(fastact.elu(d(x), 0.5), fastact.elu(x, 0.5))
    assert same(fastact.elu(d(x), alpha=np.float32(0.5)), fastact.elu(x, alpha=np.float32(0.5)))
    assert same(fastact.elu(d(x), alpha=d(w)), fastact.elu(x, alpha=w))
    assert same(fastact.prelu(d(x), d(w)), fastact.prelu(x, w))
    assert same(fastact.elu.backward(d(x), d(x), d(w)), fastact.elu.backward(x, x, w))
    assert same(fastact.swish.grad_beta(d(x), 1.5), fastact.swish.grad_beta(x, 1.5))
    assert same(fastact.mish.backward(1.0, d(x)), fastact.mish.backward(np.float32(1.0), x))


def test_out() -> None:
    x = made((4, 9))
    expected = fastact.mish(x)
    on_device, out = cuda.to_device(x), cuda.to_device(np.zeros_like(x))
    assert fastact.mish(on_device, out=out) is out and same(out, expected)
    assert fastact.mish(on_device, out) is out
    assert fastact.mish(on_device, out=(out,)) is out
    transposed = cuda.to_device(np.zeros((9, 4), np.float32))
    fastact.mish(on_device, out=transposed.T)
    assert same(transposed.T, expected)
    assert fastact.mish(on_device, out=on_device) is on_device and same(on_device, expected)


def test_products_of_parameters_of_the_whole_shape_need_no_sum() -> None:
    x, g, w = made((6, 4)), made((6, 4), seed=1), made((6, 4), seed=2)
    d = cuda.to_device
    assert same(fastact.prelu.backward_weight(d(g), d(x), d(w)), fastact.prelu.backward_weight(g, x, w))
    with pytest.raises(NotImplementedError, match=r"use \.grad_weight"):
        fastact.prelu.backward_weight(d(g), d(x), 0.25)


def test_kernels_that_users_launch() -> None:
    x, out = made((5, 7)), cuda.to_device(np.zeros((5, 7), np.float32))
    kernel = fastact.mish.cuda("fast")
    kernel(cuda.to_device(x), out)
    assert same(out, fastact.mish(x, approx="fast"))
    fastact.elu.cuda("exact")[2, 4](cuda.to_device(x), 0.5, out)
    assert same(out, fastact.elu(x, 0.5))
    fastact.mish.backward.cuda()[1, 8, 0](cuda.to_device(x), cuda.to_device(x), out)
    assert same(out, fastact.mish.backward(x, x))
    for configuration in (3, (0, 4), (1, 2, 3, 4), (1.0, 2)):
        with pytest.raises(ValueError, match="configured by"):
            kernel[configuration]
    with pytest.raises(TypeError, match=r"takes \(x, out\)"):
        kernel(cuda.to_device(x))
    assert "mish" in repr(kernel)


def test_device_functions() -> None:
    mish, elu = fastact.mish.device("fast"), fastact.elu.device("exact")

    @cuda.jit
    def kernel(x: Any, y: Any, z: Any) -> None:
        i = cuda.grid(1)
        if i < x.size:
            y[i] = mish(x[i])
            z[i] = elu(x[i], 0.5)

    for dtype in (np.float32, np.float64):
        x = made((20,), dtype)
        y, z = cuda.to_device(np.zeros_like(x)), cuda.to_device(np.zeros_like(x))
        kernel[2, 16](cuda.to_device(x), y, z)
        assert same(y, fastact.mish(x, approx="fast")) and same(z, fastact.elu(x, 0.5))


def _calls() -> dict[str, tuple[Any, type[Exception], str]]:
    x = made((4, 6))
    d = cuda.to_device(x)
    wide, whole, other = cuda.to_device(x.astype(np.float64)), cuda.to_device(x.astype(np.int32)), made((4, 6))
    shifted = cuda.to_device(made((10,)))
    locked = made((4, 6))
    locked.flags.writeable = False
    read_only = type(d)(locked)
    mish, elu = fastact.mish, fastact.elu
    return {
        "host gradient": (lambda: mish.backward(other, d), TypeError, "all on one CUDA device .* g is a ndarray"),
        "host x": (lambda: mish.backward(d, other), TypeError, "x is a ndarray on the host"),
        "host out": (lambda: mish(d, out=other), TypeError, "out is a ndarray on the host"),
        "device out": (lambda: mish(other, out=d), TypeError, "x is a ndarray on the host"),
        "device out of a number": (lambda: mish(1.0, out=d), TypeError, "out is on a CUDA device, but x is not"),
        "list parameter": (lambda: elu(d, [1.0, 2.0]), TypeError, "alpha is a list on the host"),
        "integers": (lambda: mish(whole), TypeError, "float16, bfloat16, float32 and float64.* x is int32"),
        "two dtypes": (lambda: mish.backward(wide, d), TypeError, "g is float64 and x float32"),
        "dtype of out": (lambda: mish(d, out=wide), TypeError, "x is float32 and out float64"),
        "shape of out": (lambda: mish(d, out=shifted), ValueError, r"out has shape \(10,\).* \(4, 6\)"),
        "shapes": (lambda: mish.backward(shifted, d), ValueError, r"do not broadcast: g \(10,\), x \(4, 6\)"),
        "overlap": (lambda: mish(shifted[1:], out=shifted[:-1]), ValueError, "out and x overlap"),
        "read-only": (lambda: mish(d, out=read_only), ValueError, "out is read-only"),
        "where": (lambda: mish(d, where=True), TypeError, "no argument 'where'; it has approx, out"),
        "dtype": (lambda: mish(d, dtype=np.float64), TypeError, "no argument 'dtype'"),
        "missing": (lambda: mish.backward(d), TypeError, "missing its argument x"),
        "too many": (lambda: mish(d, d, d), TypeError, "at most 2 positional"),
        "out twice": (lambda: mish(d, d, out=d), TypeError, "both by position and by name"),
        "two outs": (lambda: mish(d, out=(d, d)), TypeError, "one array, not 2"),
        "parameter twice": (lambda: elu(d, 1.0, alpha=1.0), TypeError, "alpha both by position and by name"),
        "missing parameter": (lambda: fastact.prelu(d), TypeError, "missing its argument weight"),
        "range": (lambda: fastact.softplus(d, beta=-1.0), ValueError, "beta is -1.0, outside"),
        "range in float32": (lambda: fastact.softplus(d, beta=1e-60), ValueError, "beta is 0.0 in float32, outside"),
        "0 in float32": (lambda: fastact.celu(d, alpha=1e-60), ValueError, "alpha is 0.*in float32"),
        "rejection": (lambda: fastact.celu(d, alpha=0.0), ValueError, "alpha"),
        "tier": (lambda: mish(d, approx="best"), ValueError, "not a precision tier"),
        "random": (lambda: fastact.rrelu(d, rng=np.random.default_rng(0)), TypeError, "draws no slopes"),
    }


CALLS = _calls()


@pytest.mark.parametrize("case", CALLS)
def test_errors_come_before_anything_is_launched(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastact.cuda import launch

    def forbidden(*args: Any) -> None:
        raise AssertionError("launched")

    monkeypatch.setattr(launch, "launch", forbidden)
    call, kind, text = CALLS[case]
    with pytest.raises(kind, match=text) as caught:
        call()
    assert "\n" not in str(caught.value)


class Stranger:
    """An array of an unknown library that shows its memory."""

    def __init__(self, array: Any, **more: Any) -> None:
        self.array = array
        typestr = "<V2" if array.dtype == ml_dtypes.bfloat16 else array.dtype.str
        self.__cuda_array_interface__ = {
            "shape": array.shape, "typestr": typestr, "data": (array.ctypes.data, False), "version": 3,
            "strides": array.strides, **more,
        }  # fmt: skip


def test_arrays_of_unknown_libraries() -> None:
    for dtype in DTYPES.values():
        x = made((3, 4), dtype)
        assert same(fastact.mish(Stranger(x)), fastact.mish(x))
    x = made((3, 4))
    out = np.zeros_like(x)
    fastact.mish(Stranger(x, strides=None), out=Stranger(out))
    np.testing.assert_array_equal(out, fastact.mish(x))
    with pytest.raises(ValueError, match="read-only"):
        fastact.mish(Stranger(x), out=Stranger(out, data=(out.ctypes.data, True)))
    with pytest.raises(TypeError, match="masked"):
        fastact.mish(Stranger(x, mask=object()))
    with pytest.raises(TypeError, match="x is <c8"):
        fastact.mish(Stranger(x, typestr="<c8"))


class Packed:
    """One that speaks DLPack alone, and says that it lies on a device."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, stream: int | None = None) -> Any:
        assert stream == 1
        return self.array.__dlpack__()


def test_dlpack() -> None:
    for dtype in (np.float16, np.float32, np.float64):
        x = made((5, 6), dtype)
        assert same(fastact.mish(Packed(x)), fastact.mish(x))
        assert same(fastact.mish(Packed(x[:, ::2])), fastact.mish(x[:, ::2]))
    with pytest.raises(TypeError, match="x is of a dtype"):
        fastact.mish(Packed(np.zeros(3, np.int64)))


class Tensor:
    """What is looked at of a PyTorch tensor."""

    is_cuda, requires_grad, layout = True, False, "strided"

    def __init__(self, array: Any) -> None:
        self.array, self.shape, self.dtype = array, array.shape, f"torch.{array.dtype.name}"
        self.device = types.SimpleNamespace(index=0)

    def stride(self) -> tuple[int, ...]:
        return tuple(step // self.array.itemsize for step in self.array.strides)

    def data_ptr(self) -> int:
        return int(self.array.ctypes.data)


def _empty_strided(shape: tuple[int, ...], steps: tuple[int, ...], dtype: str, device: Any) -> Tensor:
    kind = np.dtype(DTYPES[dtype.removeprefix("torch.")])
    room = np.zeros(int(np.prod(shape)) + 16, kind)
    start = -room.ctypes.data % 16 // kind.itemsize
    strides = tuple(step * kind.itemsize for step in steps)
    return Tensor(np.lib.stride_tricks.as_strided(room[start:], shape, strides))


def test_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = types.SimpleNamespace(cuda_stream=0)
    torch = types.SimpleNamespace(
        strided="strided",
        empty_strided=_empty_strided,
        cuda=types.SimpleNamespace(current_stream=lambda device: stream),
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    for dtype in DTYPES.values():
        for x in (made((4, 8), dtype), made((8, 4), dtype).T, made((4, 9), dtype)[:, 1:]):
            result = fastact.mish(Tensor(x))
            assert type(result) is Tensor and result.dtype == f"torch.{x.dtype.name}"
            expected = fastact.mish(x)
            assert result.array.strides == expected.strides
            assert result.array.tobytes() == expected.tobytes()
    out = Tensor(made((4, 8)))
    assert fastact.mish(Tensor(made((4, 8))), out=out) is out
    other = Tensor(made((4, 8)))
    other.device = types.SimpleNamespace(index=1)
    with pytest.raises(ValueError, match="g is on CUDA device 1, but x on 0"):
        fastact.mish.backward(other, out)
    out.requires_grad = True
    with pytest.raises(TypeError, match=r"requires grad; use its \.detach"):
        fastact.mish(out)
    with pytest.raises(TypeError, match="x is int32"):
        fastact.mish(Tensor(np.zeros(3, np.int32)))


# -- gates ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", GATES)
def test_gates(name: str) -> None:
    gate, d = getattr(fastact, name), cuda.to_device
    for dtype, tier in PAIRS[list(GATES).index(name) :: 5]:
        a, b, g, x = (made((3, 9), DTYPES[dtype], k) for k in range(4))
        assert same(gate(d(a), d(b), approx=tier), gate(a, b, approx=tier))
        results = gate.backward(d(g), d(a), d(b), approx=tier)
        for result, expected in zip(results, gate.backward(g, a, b, approx=tier), strict=True):
            assert same(result, expected)
        x = made((4, 32), DTYPES[dtype])
        half, full = made((2, 32), DTYPES[dtype], 1), made((4, 16), DTYPES[dtype], 2)
        assert same(gate(d(x), approx=tier), gate(x, approx=tier))
        assert same(gate.backward(d(full), d(x), approx=tier), gate.backward(full, x, approx=tier))
        assert same(gate.backward(d(half), d(x), axis=0, approx=tier), gate.backward(half, x, axis=0, approx=tier))
        on_device = d(x)
        assert gate.backward(d(full), on_device, out=on_device, approx=tier) is on_device
        assert same(on_device, gate.backward(full, x, approx=tier))


def test_gates_of_unknown_libraries_and_in_kernels() -> None:
    d, x, g = cuda.to_device, made((3, 10)), made((3, 5), seed=1)
    assert same(fastact.swiglu(Stranger(x)), fastact.swiglu(x))
    assert same(fastact.swiglu.backward(Stranger(g), Stranger(x)), fastact.swiglu.backward(g, x))
    out = np.zeros_like(x)
    fastact.swiglu.backward(Stranger(g), Stranger(x), out=Stranger(out))
    np.testing.assert_array_equal(out, fastact.swiglu.backward(g, x))
    a, b = made((7,)), made((7,), seed=2)
    first, second, z = (d(np.zeros(7, np.float32)) for _ in range(3))
    fastact.swiglu.cuda("fast")(d(a), d(b), first)
    assert same(first, fastact.swiglu(a, b, approx="fast"))
    fastact.swiglu.backward.cuda("fast")[1, 8](d(a), d(a), d(b), first, second)
    for result, expected in zip((first, second), fastact.swiglu.backward(a, a, b, approx="fast"), strict=True):
        assert same(result, expected)
    swiglu = fastact.swiglu.device("fast")

    @cuda.jit
    def kernel(x: Any, y: Any, z: Any) -> None:
        i = cuda.grid(1)
        if i < x.size:
            z[i] = swiglu(x[i], y[i])

    kernel[1, 8](d(a), d(b), z)
    assert same(z, fastact.swiglu(a, b, approx="fast"))
    with pytest.raises(NotImplementedError, match="gives two numbers"):
        fastact.swiglu.backward.device()
    with pytest.raises(TypeError, match=r"takes \(g, a, b, out0, out1\)"):
        fastact.swiglu.backward.cuda()(d(a), d(a), d(b), first)


def test_what_is_not_there_says_so() -> None:
    x, w = cuda.to_device(made((3, 4))), made((4, 4))
    with pytest.raises(NotImplementedError, match="not there for arrays on a CUDA device, but x is one"):
        fastact.ffn(x, w, w, activation="relu")
    with pytest.raises(TypeError, match=r"arrays of NumPy|an array or a list"):
        fastact.optim.sgd(x, x, lr=0.1)
    with pytest.raises(NotImplementedError, match="no where= yet"):
        fastact.softmax(made((3, 4)), where=x)


def test_errors_of_gates() -> None:
    d, x = cuda.to_device, made((4, 7))
    with pytest.raises(ValueError, match="odd length 7"):
        fastact.swiglu(d(x))
    with pytest.raises(np.exceptions.AxisError):
        fastact.swiglu(d(x), axis=2)
    with pytest.raises(TypeError, match="b is a ndarray on the host"):
        fastact.swiglu(d(x), x)
    with pytest.raises(TypeError, match="axis is for one array"):
        fastact.swiglu(d(x), d(x), axis=0)
    with pytest.raises(TypeError, match="out is 2 arrays, not 1"):
        fastact.swiglu.backward(d(x), d(x), d(x), out=(d(x),))
    one = d(x)
    with pytest.raises(ValueError, match="out and another out overlap"):
        fastact.swiglu.backward(d(x), d(x), d(x), out=(one, one))
    with pytest.raises(ValueError, match=r"out has shape \(4, 7\)"):
        fastact.swiglu.backward(d(made((4, 4))), d(made((4, 8))), out=one)
