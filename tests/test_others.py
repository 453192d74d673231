"""Arrays of other kinds and other libraries, and floating-point errors, as np.exp has them."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from twins import Outcome, alike, material

import fastact


# -- subclasses and others' arrays ------------------------------------------------------------------------------------
class Tagged(np.ndarray):
    """A subclass that hands on its tag."""

    tag: str = "none"

    def __array_finalize__(self, source: Any) -> None:
        self.tag = getattr(source, "tag", "none")


class Recorder:
    """Takes ufuncs over, as arrays of other libraries do."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return ufunc.__name__, method, len(inputs), options


def test_subclasses() -> None:
    x = material(np.float32).view(Tagged)
    x.tag = "mine"
    assert alike(lambda f: f(x)).tag == "mine"
    assert type(alike(lambda f: f(x, subok=False))) is np.ndarray
    alike(lambda f: f(x, out=np.empty(50, np.float32)))
    assert fastact.swish(x, 2.0).tag == "mine"
    big = np.zeros(fastact.cpu.threads.SMALLEST * 64, np.float32).view(Tagged)
    assert type(fastact.exp(big)) is Tagged
    alike(lambda f: f(np.matrix([[1.0, 2.0]])))


def test_masked_arrays() -> None:
    x = np.ma.masked_array([1.0, 2.0, 1000.0], mask=[False, True, False])
    y = alike(lambda f: f(x))
    assert y.mask.tolist() == [False, True, False]
    beta = np.ma.masked_array([1.0, 1.0, -1.0], mask=[False, False, True])
    assert fastact.softplus(x, beta).mask.tolist() == [False, True, True]
    assert fastact.swish(x).mask.tolist() == [False, True, False]
    with pytest.raises(ValueError, match="beta is -1"):
        fastact.softplus(x, np.ma.masked_array(beta.data, mask=[True, False, False]))


@pytest.mark.parametrize("number", [np.float32, np.int64, "bfloat16"])
def test_parameters_are_compared_where_none_is_masked(number: Any) -> None:
    """Those beside each other, not those that are left when the masked ones are gone."""
    number = pytest.importorskip("ml_dtypes").bfloat16 if number == "bfloat16" else number
    x, high = np.zeros(4, number), np.array([2, 2, 3, 9], number)
    low = np.ma.masked_array(np.array([1, 5, 3, 4], number), mask=[False, True, False, False])
    others = (high, number(9), 9.0, np.ma.masked_array(high, mask=[True, False, False, False]))
    for limit in others:
        assert fastact.hardtanh(x, low, limit)[2:].tolist() == [3, 4]
        assert fastact.hardtanh(x, low, limit).mask[:2].tolist() == [limit is others[-1], True]
    with pytest.raises(ValueError, match=r"given min_val = 4(\.0)?, max_val = 3(\.0)?$"):
        fastact.hardtanh(x, low, np.array([2, 2, 3, 3], number))
    drawn, slope = fastact.rrelu(x - number(1), low, high, rng=np.random.default_rng(0), return_slope=True)
    assert drawn.mask.tolist() == slope.mask.tolist() == [False, True, False, False]
    assert np.array_equal(slope.data, -drawn.data) and (slope >= low).all() and (slope <= high).all()


def test_others_are_asked_first() -> None:
    other = Recorder()
    assert fastact.exp(other) == ("fastact_exp_exact", "__call__", 1, {})
    assert fastact.exp(other, approx="fast")[0] == "fastact_exp_fast"
    assert fastact.swish(other, approx=True)[:3] == ("fastact_swish_usual_value_fast", "__call__", 1)
    assert fastact.swish(np.ones(3), other)[2] == 2
    assert fastact.exp(np.ones(3), out=other)[3] == {"out": (other,)}
    with fastact.precision("rough"):
        assert fastact.exp.grad(other)[0] == "fastact_exp_grad_rough"


def test_dask_stays_lazy() -> None:
    da = pytest.importorskip("dask.array")
    x = material(np.float32, 40)
    lazy = da.from_array(x, chunks=10)
    for tier in ("exact", "fast", "rough"):
        y = fastact.exp(lazy, approx=tier)
        assert isinstance(y, da.Array) and y.dtype == np.float32 and y.chunks == lazy.chunks
        np.testing.assert_array_equal(y.compute(scheduler="synchronous"), fastact.exp(x, approx=tier))
    z = fastact.softplus(lazy, 2.0, approx="fast")
    assert isinstance(z, da.Array) and z.dtype == np.float32
    np.testing.assert_array_equal(z.compute(scheduler="threads"), fastact.softplus(x, 2.0, approx="fast"))
    betas = da.from_array(np.full(40, 2, "f4"), chunks=20)
    w = fastact.softplus(x, betas, approx="fast")
    np.testing.assert_array_equal(w.compute(scheduler="synchronous"), fastact.softplus(x, 2.0, approx="fast"))


def test_pandas_keeps_its_types() -> None:
    pd = pytest.importorskip("pandas")
    x = material(np.float32, 6)
    series = pd.Series(x, index=list("abcdef"), name="s")
    y = fastact.exp(series, approx="fast")
    assert isinstance(y, pd.Series) and y.name == "s" and y.dtype == np.float32 and list(y.index) == list("abcdef")
    np.testing.assert_array_equal(y.to_numpy(), fastact.exp(x, approx="fast"))
    assert fastact.swish(series).dtype == fastact.swish(series, 2.0).dtype == np.float32
    assert fastact.swish(series.astype("int8")).dtype == np.float16
    frame = pd.DataFrame({"a": x, "b": x})
    for z in (fastact.exp(frame, approx="fast"), fastact.swish(frame, approx="fast"), fastact.swish(frame, beta=2)):
        assert isinstance(z, pd.DataFrame) and set(z.dtypes) == {np.dtype("f4")} and list(z.columns) == ["a", "b"]
    with pytest.raises(ValueError, match="beta"):
        fastact.softplus(series, pd.Series(-x, index=series.index))


def test_xarray_keeps_its_types() -> None:
    xr = pytest.importorskip("xarray")
    x = material(np.float32, 6)
    data = xr.DataArray(x.reshape(2, 3), dims=("row", "column"), attrs={"unit": "m"})
    y = fastact.exp(data, approx="fast")
    assert isinstance(y, xr.DataArray) and y.dims == ("row", "column") and y.dtype == np.float32
    np.testing.assert_array_equal(y.values.ravel(), fastact.exp(x, approx="fast"))
    z = fastact.swish(data, xr.DataArray(np.ones(3, "f4"), dims=("column",)))
    assert z.dims == ("row", "column") and z.dtype == np.float32
    assert fastact.swish(data).dtype == fastact.swish(data, beta=2.0).dtype == np.float32


# -- floating-point errors --------------------------------------------------------------------------------------------
ERRORS = [
    (fastact.exp, np.exp, np.array([1.0, 1000.0])),
    (fastact.exp, np.exp, np.array([-1000.0, 1.0], np.float32)),
    (fastact.exp, np.exp, np.array([-1000.0, 1000.0], np.float16)),
    (fastact.exp, np.exp, np.array([np.nan, np.inf, -np.inf, 0.0])),
    (fastact.log, np.log, np.array([0.0, 1.0])),
    (fastact.log, np.log, np.array([-1.0, 1.0])),
    (fastact.log, np.log, np.array([-1.0, 0.0, np.nan])),
    (fastact.reciprocal, np.reciprocal, np.array([0.0, 2.0])),
    (fastact.expm1, np.expm1, np.array([1.0, 1000.0])),
]


@pytest.mark.parametrize("tier", ["exact", "fast", "rough"])
@pytest.mark.parametrize(("function", "twin", "x"), ERRORS)
def test_errstate(function: Any, twin: Any, x: np.ndarray, tier: str) -> None:
    def mine(x: Any) -> Any:
        return function(x, approx=tier)

    for modes in ("warn", "raise", "ignore"):
        with np.errstate(all=modes):
            a, b = Outcome(lambda f: f(x), mine), Outcome(lambda f: f(x), twin)
        assert a.error is b.error
        assert a.warnings == b.warnings
    calls: dict[Any, list[Any]] = {}
    for f in (mine, twin):
        with np.errstate(all="call", call=lambda kind, flag, f=f: calls.setdefault(f, []).append((kind, flag))):
            f(x)
    assert calls.get(mine) == calls.get(twin)


def test_errors_name_the_ufunc() -> None:
    with np.errstate(over="raise"), pytest.raises(FloatingPointError, match="overflow encountered in fastact_exp_fast"):
        fastact.exp(1000.0, approx="fast")


def test_no_error_without_reason() -> None:
    with np.errstate(all="raise"):
        fastact.mish(np.array([200.0, -200.0, 1e30]))
        fastact.silu(np.array([np.inf, 3e38], np.float32))
        fastact.exp(np.array([np.nan, np.inf, 0.0]))
        fastact.relu(np.array([np.nan, -np.inf, 1e-310]))


SET_MODES = """
target triple = "{triple}"
declare void @llvm.x86.sse.ldmxcsr(ptr)
declare void @llvm.x86.sse.stmxcsr(ptr)
define i32 @swap(i32 %new) {{
  %room = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %room)
  %old = load i32, ptr %room
  store i32 %new, ptr %room
  call void @llvm.x86.sse.ldmxcsr(ptr %room)
  ret i32 %old
}}
"""


@pytest.mark.parametrize("modes", [0x8040, 0x2000, 0x4000, 0x6000], ids=["flushing", "down", "up", "to zero"])
@pytest.mark.parametrize("tier", ["exact", "fast", "rough"])
def test_modes_of_the_processor(modes: int, tier: str) -> None:
    """Neither the flushing of subnormals nor the direction of rounding, if something left it on, changes results."""
    from fastact.cpu import compile, target

    if target.host().machine != "x86_64":
        pytest.skip("the register of x86-64")
    address = compile.native(SET_MODES.format(triple=target.host().triple), "swap")
    swap = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_uint)(address)
    x = np.linspace(-104, -80, 1000).astype(np.float32)
    want = fastact.exp(x, approx=tier)
    before = swap(0x1F80 | modes)
    try:
        got = fastact.exp(x, approx=tier)
    finally:
        after = swap(before)
    assert got.tobytes() == want.tobytes()
    assert after & 0xE040 == modes
