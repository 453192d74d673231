"""Array conventions of the public objects: whatever np.exp does in a call, they do in the same call."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from twins import alike, material

import fastact

X = np.array([-1.5, -0.25, 0.0, 0.5, 1.0, 2.0, 3.0, -3.0])
FLOATS = [np.float16, np.float32, np.float64]
PROMOTED = ["?", "b", "B", "h", "H", "i", "I", "l", "L", "q", "Q", "e", "f", "d"]


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


@pytest.mark.parametrize("dtype", FLOATS)
def test_strides_and_lengths(dtype: Any) -> None:
    """Around the sizes of vectors and blocks; what lies between the elements of the output stays."""
    for n in (1, 2, 15, 16, 17, 31, 32, 33, 63, 65, 127, 128, 129, 255, 257, 1023, 1024, 1025, 2100):
        base = np.linspace(-3, 3, 3 * n).astype(dtype)
        for source in (1, 2, 3, -1, -2):
            x = base[::source][:n]
            want = fastact.exp(x.copy())
            for sink in (1, 2, 3, -1, -2):
                store = np.full(3 * n, 7, dtype)
                out = store[::sink][:n]
                np.testing.assert_array_equal(fastact.exp(x, out), want)
                out[...] = 7
                assert (store == 7).all()


GUARDED = """
import ctypes, mmap, numpy as np, fastact
libc = ctypes.CDLL(None, use_errno=True)
page = mmap.PAGESIZE
room = mmap.mmap(-1, 3 * page)
start = ctypes.addressof(ctypes.c_char.from_buffer(room))
for k in (0, 2):
    assert libc.mprotect(ctypes.c_void_p(start + k * page), ctypes.c_size_t(page), 0) == 0
for dtype in ("f2", "f4", "f8"):
    whole = np.frombuffer(room, dtype, page // np.dtype(dtype).itemsize, page)
    whole[:] = 0.5
    for n in [*range(1, 70), 128, 255, 256, 257]:
        for x in (whole[:n], whole[-n:], whole[:n][::-1], whole[-n:][::-1], whole[:2 * n - 1:2], whole[-2 * n + 1::2],
                  whole[-2 * n + 1::2][::-1], whole[::3], whole[::-1]):
            want = fastact.exp(np.full(len(x), 0.5, dtype))
            assert (fastact.exp(x) == want).all()
            for out in (whole[-len(x):], whole[:len(x)][::-1], whole[-2 * len(x) + 1::2][:len(x)]):
                if len(out) == len(x):
                    fastact.exp(np.full(len(x), 0.5, dtype), out)
                    assert (out == want).all()
                    out[:] = 0.5
print("done")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is guarded as Linux does it")
def test_nothing_outside_the_arrays_is_touched() -> None:
    done = subprocess.run([sys.executable, "-c", GUARDED], capture_output=True, text=True, timeout=120)
    assert done.stdout == "done\n", done.stderr


@st.composite
def views(draw: st.DrawFn, dtype: np.dtype, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Arrays as slices, swapped axes and repetitions leave them."""
    if shape is None:
        shape = draw(st.lists(st.integers(0, 9), max_size=3).map(tuple))
    axes = draw(st.permutations(range(len(shape))))
    steps = [draw(st.sampled_from([1, 1, 1, 2, -1, -3])) for _ in shape]
    full = [(n if n else 0) * abs(step) + 2 for n, step in zip(shape, steps, strict=True)]
    base = np.linspace(-3, 3, int(np.prod(full))).astype(dtype).reshape([full[k] for k in axes])
    base = base.transpose(np.argsort(axes))
    picked = tuple(slice(None, None, s) for s in steps)
    return base[picked][tuple(slice(0, n) for n in shape)]


@hypothesis.given(st.data())
@hypothesis.settings(max_examples=150, deadline=None)
def test_any_array(data: st.DataObject) -> None:
    dtype = np.dtype(data.draw(st.sampled_from(["f4", "f8", "f2", ">f4", ">f8", "i4", "i1", "?"])))
    x = data.draw(views(dtype))
    options: dict[str, Any] = {}
    if data.draw(st.booleans()):
        result = np.dtype(data.draw(st.sampled_from(["f4", "f8", "f2", ">f4", "c16"])))
        other = data.draw(views(result, x.shape)).copy(data.draw(st.sampled_from("CFK")))
        options["out"] = data.draw(st.sampled_from([x, other]))
    if data.draw(st.booleans()):
        options["order"] = data.draw(st.sampled_from("CFAK"))
    if data.draw(st.booleans()):
        options["where"] = np.arange(x.size).reshape(x.shape) % 3 != 0
        options.setdefault("out", np.zeros(x.shape, np.exp(x).dtype))
    if data.draw(st.booleans()):
        options["casting"] = data.draw(st.sampled_from(["no", "safe", "same_kind", "unsafe"]))

    def call(function: Any) -> Any:
        mine = dict(options)
        if "out" in mine:
            mine["out"] = mine["out"].copy("K")
        return function(mine["out"] if options.get("out") is x else x, **mine)

    alike(call)


def test_broadcasting() -> None:
    x = material(np.float32, 12).reshape(3, 4)
    for shape in ((), (4,), (3, 1), (2, 1, 1), (1, 4)):
        beta = np.full(shape, 2, np.float32)[()]
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
