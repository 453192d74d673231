"""Array conventions of the public objects: whatever np.exp does in a call, they do in the same call."""

from __future__ import annotations

import copy
import inspect
import pickle
import pydoc
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastact

X = np.array([-1.5, -0.25, 0.0, 0.5, 1.0, 2.0, 3.0, -3.0])
FLOATS = [np.float16, np.float32, np.float64]
PROMOTED = ["?", "b", "B", "h", "H", "i", "I", "l", "L", "q", "Q", "e", "f", "d"]


class Outcome:
    """What a call did, without the digits: its result or its error, its warnings, the array it wrote to."""

    def __init__(self, call: Callable[[Any], Any], function: Any) -> None:
        self.error: type[BaseException] | None = None
        self.value: Any = None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                self.value = call(function)
            except Exception as error:
                self.error = type(error)
        self.warnings = [(w.category, str(w.message).split(" encountered")[0]) for w in caught]


def alike(call: Callable[[Any], Any], function: Any = fastact.exp, twin: Any = np.exp) -> Any:
    """Check that a call of the function does what the same call of the twin does; returns the function's result."""
    mine, theirs = Outcome(call, function), Outcome(call, twin)
    assert mine.error is theirs.error
    assert mine.warnings == theirs.warnings
    assert type(mine.value) is type(theirs.value)
    for a, b in zip(_arrays(mine.value), _arrays(theirs.value), strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.strides == b.strides
        assert a.flags.f_contiguous == b.flags.f_contiguous
        if function is fastact.exp:
            np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=2e-3)
    return mine.value


def _arrays(value: Any) -> list[Any]:
    return [v for v in (value if isinstance(value, tuple) else (value,)) if isinstance(v, (np.ndarray, np.generic))]


# -- dtypes -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("code", PROMOTED)
def test_promotion(code: str) -> None:
    x = np.array([0, 1, 1, 0, 1], dtype=code)
    alike(lambda f: f(x))
    alike(lambda f: f(x[0]))
    alike(lambda f: f(x, dtype=np.float64))
    alike(lambda f: f(x, dtype="f4", casting="unsafe"))


@pytest.mark.parametrize("code", PROMOTED)
def test_a_default_parameter_does_not_change_the_dtype(code: str) -> None:
    x = np.array([0, 1, 1, 0, 1], dtype=code)
    want = np.exp(x).dtype
    for function in (fastact.swish, fastact.swish.grad, fastact.softplus):
        assert function(x).dtype == want
        assert function(x, 1).dtype == want
        assert function(x, beta=1.5).dtype == want
        assert function(x[1], 1.5).dtype == want
    assert fastact.swish.backward(x, x).dtype == want
    assert fastact.swish.backward(x, x, beta=2).dtype == want
    np.testing.assert_array_equal(fastact.swish(x), fastact.silu(x))


def test_a_parameter_rounds_with_the_dtype_of_the_result() -> None:
    x = np.array([1, 2, 3], np.int8)
    scale = np.array([1, 1, 1], np.float64)
    np.testing.assert_array_equal(fastact.swish(x, dtype=np.float64, beta=0.1), fastact.swish(x.astype(float), 0.1))
    g = fastact.swish.backward(scale, x, beta=0.1)
    assert g.dtype == np.float64
    np.testing.assert_array_equal(g, fastact.swish.grad(x.astype(float), 0.1))


def test_array_parameters_promote_as_arrays_do() -> None:
    for a in PROMOTED:
        for b in PROMOTED:
            x, beta = np.ones(3, a), np.ones(3, b)
            assert fastact.swish(x, beta).dtype == np.logaddexp(x, beta).dtype, (a, b)
            assert fastact.swish(x, beta[0]).dtype == np.logaddexp(x, beta[0]).dtype, (a, b)
            assert fastact.exp.backward(x, beta).dtype == np.logaddexp(x, beta).dtype, (a, b)


def test_python_numbers_and_numpy_scalars() -> None:
    for x in (1, 1.5, True, np.float32(2), np.int8(3), np.float16(0.5), np.bool_(True), np.array(1.5, "f4")):
        alike(lambda f, x=x: f(x))
        assert type(fastact.swish(x)) is type(np.exp(x))
        assert type(fastact.swish(x, 2.0)) is type(np.exp(x))
        assert type(fastact.swish(x, beta=2)) is type(np.exp(x))
    assert type(fastact.swish(np.float32(1), np.float64(1))) is np.float64
    assert fastact.swish(np.ones(2, "f4"), np.float64(1)).dtype == np.float64
    assert fastact.swish(np.ones(2, "f4"), 1.0).dtype == np.float32
    assert fastact.swish(1.0, np.ones(2, "f4")).dtype == np.float32


def test_lists() -> None:
    alike(lambda f: f([0.5, 1.5]))
    alike(lambda f: f([[1, 2], [3, 4]]))
    alike(lambda f: f((True, False)))
    alike(lambda f: f([]))
    assert fastact.swish([True, False]).dtype == np.float16
    assert fastact.swish([1, 2], [1.0, 2.0]).dtype == np.float64


def test_bfloat16() -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x = X.astype(bfloat16)
    assert fastact.exp(x).dtype == x.dtype
    assert fastact.swish(x).dtype == fastact.swish(x, 2.0).dtype == x.dtype
    assert fastact.exp(x[::-2]).tolist() == fastact.exp(x)[::-2].tolist()
    np.testing.assert_allclose(fastact.exp(x).astype("f4"), np.exp(x.astype("f4")), rtol=2**-8)
    assert fastact.softplus(x, np.full(8, 2, bfloat16)).dtype == x.dtype
    with pytest.raises(ValueError, match="beta"):
        fastact.softplus(x, np.full(8, -2, bfloat16))


# -- memory -----------------------------------------------------------------------------------------------------------
LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "contiguous": lambda a: a,
    "every other": lambda a: a[::2],
    "reversed": lambda a: a[::-1],
    "reversed, every third": lambda a: a[::-3],
    "repeated": lambda a: np.broadcast_to(a[3], (7,)),
    "table": lambda a: a[:24].reshape(4, 6),
    "Fortran": lambda a: np.asfortranarray(a[:24].reshape(4, 6)),
    "transposed": lambda a: a[:24].reshape(4, 6).T,
    "cut out": lambda a: a[:24].reshape(4, 6)[1:3, 1:5],
    "cut out and turned": lambda a: a[:24].reshape(4, 6)[::-1, 1:5].T,
    "rows repeated": lambda a: np.broadcast_to(a[:5], (3, 5)),
    "three axes moved": lambda a: np.moveaxis(a[:24].reshape(2, 3, 4), 0, -1),
    "empty": lambda a: a[:0],
    "empty table": lambda a: np.empty((0, 3), a.dtype),
    "one": lambda a: a[:1],
    "no axes": lambda a: a[0, ...],
    "ones": lambda a: a[:5].reshape(1, 5, 1),
}


def material(dtype: Any, count: int = 50) -> np.ndarray:
    return np.linspace(-3, 3, count).astype(dtype)


def unaligned(a: np.ndarray) -> np.ndarray:
    raw = np.empty(a.nbytes + 1, np.uint8)
    moved = raw[1:].view(a.dtype)
    moved[:] = a
    assert not moved.flags.aligned
    return moved


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout: str, dtype: Any) -> None:
    base = material(dtype)
    plain = dict(zip(base.tolist(), fastact.exp(base).tolist(), strict=True))
    for a in (base, base.astype(base.dtype.newbyteorder()), unaligned(base)):
        x = LAYOUTS[layout](a)
        y = alike(lambda f, x=x: f(x))
        assert y.ravel().tolist() == [plain[v] for v in x.ravel().tolist()]
        for order in "CFAK":
            alike(lambda f, x=x, order=order: f(x, order=order))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_two_operands(layout: str) -> None:
    x = LAYOUTS[layout](material(np.float32))
    beta = LAYOUTS[layout](material(np.float32)[::-1] + np.float32(4))
    want = [fastact.swish(a, b) for a, b in zip(x.ravel(), beta.ravel(), strict=True)]
    for given in (beta, beta.copy(), np.asfortranarray(beta)):
        got = fastact.swish(x, given)
        assert got.strides == np.logaddexp(x, given).strides
        assert got.ravel().tolist() == [float(v) for v in want]


def test_broadcasting() -> None:
    x = material(np.float32, 12).reshape(3, 4)
    for beta in (np.float32(2), np.ones(4, "f4"), np.ones((3, 1), "f4"), np.ones((2, 1, 1), "f4"), np.ones((1, 4), "f4")):
        result = fastact.swish(x, beta)
        assert result.shape == np.broadcast_shapes(x.shape, beta.shape)
        np.testing.assert_array_equal(result, fastact.swish(*np.broadcast_arrays(x, beta)))
    with pytest.raises(ValueError, match="broadcast"):
        fastact.swish(x, np.ones(3, "f4"))


@pytest.mark.parametrize("dtype", FLOATS)
def test_out(dtype: Any) -> None:
    x = material(dtype)
    for make in (
        lambda: np.empty_like(x),
        lambda: np.empty(100, dtype)[::2],
        lambda: np.empty(50, dtype)[::-1],
        lambda: unaligned(x.copy()),
        lambda: np.empty(50, x.dtype.newbyteorder()),
        lambda: np.empty(50, np.float64),
        lambda: np.empty(50, np.complex128),
        lambda: np.empty((2, 50), dtype),
    ):
        first, second, third = make(), make(), make()
        assert fastact.exp(x, out=first) is first
        assert fastact.exp(x, out=(second,)) is second
        assert fastact.exp(x, third) is third
        for out in (first, second, third):
            np.testing.assert_array_equal(out, np.broadcast_to(fastact.exp(x), out.shape))
        alike(lambda f, make=make: f(x, make()))


def test_out_that_will_not_do() -> None:
    x = material(np.float64)
    alike(lambda f: f(x, np.empty(49)))
    alike(lambda f: f(x, np.empty(50, np.int64)))
    alike(lambda f: f(x, out=[1.0]))
    alike(lambda f: f(x, out=(np.empty(50), np.empty(50))))
    alike(lambda f: f(x, np.empty(50), out=np.empty(50)))
    frozen = np.zeros(50)
    frozen.flags.writeable = False
    alike(lambda f: f(x, frozen))
    assert not frozen.any()
    alike(lambda f: f(x, out=np.empty(50, np.float32), casting="safe"))
    alike(lambda f: f(x, out=np.empty(50, np.float32), casting="same_kind"))


@pytest.mark.parametrize("dtype", FLOATS)
def test_out_may_be_an_input_or_overlap_one(dtype: Any) -> None:
    views: list[tuple[slice, slice]] = [
        (slice(0, 40), slice(0, 40)),
        (slice(0, 40), slice(1, 41)),
        (slice(1, 41), slice(0, 40)),
        (slice(0, 40), slice(39, None, -1)),
        (slice(0, 20), slice(0, 40, 2)),
        (slice(0, 40, 2), slice(0, 20)),
    ]
    for source, sink in views:
        base = np.resize(material(dtype, 30), 60)
        want = fastact.exp(base[source].copy())
        got = fastact.exp(base[source], out=base[sink])
        np.testing.assert_array_equal(got, want)
    x, beta = material(dtype), material(dtype)[::-1].copy()
    want = fastact.swish(x, beta)
    np.testing.assert_array_equal(fastact.swish(x.copy(), y := beta.copy(), out=y), want)
    np.testing.assert_array_equal(fastact.swish(y := x.copy(), beta, out=y), want)
    g = material(dtype)
    want = fastact.exp.backward(g, x)
    np.testing.assert_array_equal(fastact.exp.backward(y := g.copy(), x, out=y), want)
    np.testing.assert_array_equal(fastact.exp.backward(g, y := x.copy(), y), want)


def test_flags_of_inputs_that_the_output_overwrites() -> None:
    x = np.array([1000.0, 0.0] * 700)
    with pytest.warns(RuntimeWarning, match="overflow"):
        fastact.exp(x, out=x)
    assert np.isinf(x[::2]).all() and (x[1::2] == 1).all()


def test_where() -> None:
    x = material(np.float32)
    mask = np.arange(50) % 3 == 0
    out = np.full(50, -7, np.float32)
    assert fastact.exp(x, out=out, where=mask) is out
    np.testing.assert_array_equal(out, np.where(mask, fastact.exp(x), np.float32(-7)))
    alike(lambda f: f(x, out=np.zeros(50, np.float32), where=mask))
    alike(lambda f: f(x, out=np.zeros(50, np.float32), where=False))
    alike(lambda f: f(x, where=np.array([True])))
    alike(lambda f: f(np.array([1000.0, 1.0]), out=np.zeros(2), where=[False, True]))
    alike(lambda f: f(x, out=np.zeros(50, np.float32), where="yes"))
    table = fastact.swish(x, np.ones((2, 1), "f4"), where=[[True], [False]], out=np.zeros((2, 50), "f4"))
    assert table[0].any() and not table[1].any()


def test_casting_and_dtype() -> None:
    x64, x32 = material(np.float64), material(np.float32)
    for casting in ("no", "equiv", "safe", "same_kind", "unsafe", "bad"):
        alike(lambda f, c=casting: f(x64, dtype=np.float32, casting=c))
        alike(lambda f, c=casting: f(x32, dtype=np.float64, casting=c))
        alike(lambda f, c=casting: f(x64.astype(">f8"), casting=c))
    alike(lambda f: f(x64, dtype=np.int32))
    alike(lambda f: f(x64, dtype="nonsense"))
    alike(lambda f: f(x32, signature="d->d"))
    alike(lambda f: f(x32, order="X"))


# -- subclasses and others' arrays -------------------------------------------------------------------------------------
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


def test_others_are_asked_first() -> None:
    other = Recorder()
    assert fastact.exp(other) == ("fastact_exp_exact", "__call__", 1, {})
    assert fastact.exp(other, approx="fast")[0] == "fastact_exp_fast"
    assert fastact.swish(other, approx=True)[:3] == ("fastact_swish_fast", "__call__", 2)
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


# -- floating-point errors ---------------------------------------------------------------------------------------------
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


# -- the object ---------------------------------------------------------------------------------------------------------
DOORS = [fastact.exp, fastact.exp.grad, fastact.exp.backward, fastact.exp.backward_from_output, fastact.swish.grad_beta]


@pytest.mark.parametrize("door", DOORS, ids=repr)
def test_pickle_and_copy(door: Any) -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(door, protocol)) is door
    assert copy.copy(door) is door
    assert copy.deepcopy([door])[0] is door
    for tier in ("exact", "fast", "rough"):
        ufunc = door.ufunc(tier)
        assert pickle.loads(pickle.dumps(ufunc)) is ufunc
        assert copy.deepcopy(ufunc) is ufunc


def test_inner_ufuncs() -> None:
    inner = fastact.exp.ufunc("fast")
    assert type(inner) is np.ufunc
    assert inner is fastact.exp.ufunc(True) is fastact.ufuncs.fastact_exp_fast
    assert inner is not fastact.exp.ufunc("exact")
    assert fastact.exp.ufunc() is fastact.exp.ufunc("exact") is fastact.exp.ufunc(False)
    with fastact.precision("fast"):
        assert fastact.exp.ufunc() is inner
    assert (inner.nin, inner.nout) == (1, 1)
    x = material(np.float32)
    assert inner(x).tolist() == fastact.exp(x, approx="fast").tolist()
    inner.at(x, [0, 0])
    assert x[0] == inner(inner(material(np.float32)[0]))
    with pytest.raises(AttributeError, match="fastact_nonsense_fast"):
        _ = fastact.ufuncs.fastact_nonsense_fast


def test_attributes() -> None:
    assert (fastact.exp.nin, fastact.exp.nout, fastact.exp.nargs) == (np.exp.nin, np.exp.nout, np.exp.nargs)
    assert fastact.exp.types == ["e->e", "f->f", "d->d"] and fastact.exp.ntypes == 3
    assert (fastact.swish.nin, fastact.swish.nargs) == (2, 3)
    assert fastact.swish.types == ["ee->e", "ff->f", "dd->d"]
    assert fastact.swish.backward.nin == 3
    assert fastact.swish.parameters == {"beta": 1.0}
    assert repr(fastact.swish) == "<fastact function 'swish'>"
    assert repr(fastact.exp.backward_from_output) == "<fastact function 'exp.backward_from_output'>"
    assert fastact.exp.__name__ == "exp" and fastact.exp.__module__ == "fastact"
    assert callable(fastact.exp) and "grad" in dir(fastact.exp) and "backward_from_output" in dir(fastact.exp)
    assert "grad_beta" in dir(fastact.swish) and "backward_from_output" not in dir(fastact.mish)
    with pytest.raises(AttributeError, match="does not determine"):
        _ = fastact.mish.backward_from_output
    with pytest.raises(AttributeError, match="nonsense"):
        _ = fastact.mish.nonsense


def test_help() -> None:
    text = pydoc.render_doc(fastact.softplus, renderer=pydoc.plaintext)
    assert "softplus(x, /, beta=1, out=None, *, approx=None, where=True" in text
    assert "log1p(exp(beta*x))/beta" in text
    assert "beta : array_like, default 1" in text and "above 0" in text
    for word in ("TypeError", "ValueError", "FloatingPointError", "exact", "fast", "rough", "out :", "bfloat16"):
        assert word in text
    gradient = pydoc.render_doc(fastact.softplus.backward, renderer=pydoc.plaintext)
    assert "softplus.backward(g, x, /, beta=1, out=None" in gradient
    assert all(f.__doc__ for f in fastact.function.FUNCTIONS.values())
    assert inspect.getdoc(fastact.function.Door)
    assert str(inspect.signature(fastact.swish)).startswith("(x, /, beta=1, out=None, *, approx=None, where=True")


def test_every_signature_is_the_call_that_it_says() -> None:
    for function in fastact.function.FUNCTIONS.values():
        for door in (function, *function._doors.values()):
            names = inspect.signature(door).parameters
            assert list(names)[: door.nin] == list(door._form.arguments)
            bound = [2.0 if p.default is p.empty else p.default for p in list(names.values())[: door.nin]]
            assert door(*bound, approx="fast").dtype == np.float64


# -- wrong calls --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fastact.exp(), ["exp()", "missing", "x"]),
        (lambda: fastact.exp(x=1.0), ["exp()", "x", "by position"]),
        (lambda: fastact.exp(1.0, None, None), ["exp()", "at most 2", "x, out", "3"]),
        (lambda: fastact.exp(1.0, tier="fast"), ["exp()", "'tier'", "approx"]),
        (lambda: fastact.swish(), ["swish()", "missing", "x"]),
        (lambda: fastact.swish(beta=1.0), ["swish()", "missing", "x"]),
        (lambda: fastact.swish(1.0, gamma=1.0), ["swish()", "'gamma'", "beta"]),
        (lambda: fastact.swish(1.0, 1.0, beta=1.0), ["swish()", "beta", "both"]),
        (lambda: fastact.swish(1.0, 1.0, None, 1.0), ["swish()", "at most 3", "x, beta, out", "4"]),
        (lambda: fastact.swish.backward(1.0), ["swish.backward()", "missing", "x"]),
        (lambda: fastact.exp.backward(), ["exp.backward()", "missing", "g, x"]),
        (lambda: fastact.exp(1j), ["exp()", "x is complex128", "float32"]),
        (lambda: fastact.exp(np.ones(2, "F")), ["exp()", "complex64"]),
        (lambda: fastact.exp("1"), ["exp()", "<U1"]),
        (lambda: fastact.exp(np.array([1, 2], object)), ["exp()", "object"]),
        (lambda: fastact.exp(None), ["exp()", "object"]),
        (lambda: fastact.exp(np.array(["2020-01-01"], "M8[D]")), ["exp()", "datetime64"]),
        (lambda: fastact.swish(1.0, "a"), ["swish()", "beta is <U1"]),
        (lambda: fastact.swish(1.0, 1j), ["swish()", "beta is complex128"]),
        (lambda: fastact.exp.backward(1.0, 1j), ["exp.backward()", "x is complex128"]),
        (lambda: fastact.exp(np.ones(2, dtype=[("a", "f4")])), ["exp()", "[('a', '<f4')]"]),
    ],
)
def test_type_errors_say_what_is_wrong(call: Callable[[], Any], words: list[str]) -> None:
    with pytest.raises(TypeError) as caught:
        call()
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.skipif(np.dtype(np.longdouble) == np.float64, reason="long double is double here")
def test_longdouble() -> None:
    for call in (lambda: fastact.exp(np.longdouble(1)), lambda: fastact.swish(np.ones(3, np.longdouble), 2.0)):
        with pytest.raises(TypeError, match=r"float16, bfloat16, float32 and float64.*astype\(np.float64\)"):
            call()


@pytest.mark.parametrize("bad", [0, -1, 0.0, -0.5, np.float32(-2), [1.0, -3.0], np.array([[1, -4]]), -np.inf])
def test_parameters_out_of_range(bad: Any) -> None:
    for call in (lambda: fastact.softplus(1.0, bad), lambda: fastact.softplus.backward(1.0, 1.0, beta=bad)):
        with pytest.raises(ValueError, match=r"softplus.*beta is -?[0-9inf.]+, outside the open interval \(0, inf\)"):
            call()


def test_nan_is_within_every_range() -> None:
    assert np.isnan(fastact.softplus(1.0, np.nan))
    assert np.isnan(fastact.softplus(1.0, float("nan")))
    assert np.isnan(fastact.softplus(1.0, [1.0, np.nan])).tolist() == [False, True]
    assert np.isfinite(fastact.softplus(1.0, 3)) and np.isfinite(fastact.softplus(1.0, np.float16(3)))


def test_ranges_of_lazy_parameters_are_left_alone() -> None:
    da = pytest.importorskip("dask.array")
    touched = []
    beta = da.from_delayed(__import__("dask").delayed(lambda: touched.append(1) or -np.ones(3))(), (3,), float)
    fastact.softplus(np.ones(3), beta)
    assert not touched


# -- a loop that cannot be compiled ------------------------------------------------------------------------------------
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:invalid:RuntimeWarning")
@pytest.mark.parametrize("shape", [(5,), (3000,), (40, 30), (1 << 20,)])
def test_a_compile_error_is_raised(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]) -> None:
    from fastact.cpu import kernels

    name = f"broken_{len(shape)}_{shape[0]}"
    declaration = fastact.kernels.REGISTRY["mish"]
    monkeypatch.setitem(fastact.kernels.REGISTRY, name, declaration)
    door = fastact.function.Door(declaration, fastact.link.forms.forms(declaration)["value"])
    monkeypatch.setattr(door, "ufunc", lambda tier: kernels.inner_ufunc(name, "value", tier))
    x = np.ones(shape, np.float32)[..., ::2]
    with monkeypatch.context() as patch:
        patch.setattr(kernels, "kernel", lambda *a: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            door(x)
        with np.errstate(all="raise"), pytest.raises(ZeroDivisionError):
            door(x, approx="fast")
        out = np.zeros(x.shape, np.float32)
        with pytest.warns(RuntimeWarning, match="invalid"):
            kernels.inner_ufunc(name, "value", "rough")(x, out)
        assert np.isnan(out).all()
        with pytest.raises(ZeroDivisionError):
            door(x, approx="rough")
    np.testing.assert_array_equal(door(x), fastact.mish(x))
    assert not fastact.cpu.failures.failures
