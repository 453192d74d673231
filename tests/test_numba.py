"""fastact inside Numba's compiled code: the same bits as the ufuncs, in every way that a call can be written."""

from __future__ import annotations

import inspect
import itertools
import os
import pickle
import platform
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba import njit, prange
from numba.core.errors import TypingError
from numba.core.runtime import _nrt_python, rtsys

import fastact
from fastact.accuracy.samples import special, stratified
from fastact.function import FUNCTIONS, Door
from fastact.kernels import REGISTRY
from fastact.link.forms import forms
from fastact.precision import TIERS

ROOT = Path(__file__).parent.parent
DTYPES = (np.float32, np.float64)
BITS = {np.dtype(np.float32): np.uint32, np.dtype(np.float64): np.uint64}
GREATEST = 3.5
"""Loops over numbers take up to 1.8 times as long as the ufunc here; these, 8 to 16 where LLVM leaves them scalar."""


def inputs(dtype: Any, count: int = 3000) -> Any:
    return np.concatenate([special(dtype), stratified(dtype, count, seed=7)])


def same(a: Any, b: Any) -> bool:
    """Equal bits; one NaN is as good as another, since LLVM says nothing of their payloads."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.dtype == b.dtype and a.shape == b.shape, (a.dtype, b.dtype, a.shape, b.shape)
    a, b = np.atleast_1d(a), np.atleast_1d(b)
    kind = BITS[a.dtype]
    return bool(((a.view(kind) == b.view(kind)) | (np.isnan(a) & np.isnan(b))).all())


def door(name: str, form: str = "value") -> Any:
    return FUNCTIONS[name] if form == "value" else FUNCTIONS[name]._doors[form]


def operands(face: Door, dtype: Any) -> list[Any]:
    """An array for each input; parameters vary around their defaults, within their ranges."""
    x = inputs(dtype)
    random = np.random.default_rng(5)
    required = face.nin - len(face.parameters)
    arrays = [x, random.permutation(x)][:required][::-1]
    return arrays + [
        dtype(default or 0.5) * random.uniform(0.5, 1, x.size).astype(dtype) for default in face.parameters.values()
    ]


@pytest.fixture(autouse=True)
def quiet() -> Any:
    with np.errstate(all="ignore"):
        yield


def compiled(face: Door, tier: str, **options: Any) -> Any:
    """A loop over numbers and a call with arrays, for any number of inputs."""
    names = [f"a{i}" for i in range(face.nin)]
    source = f"""
def both({", ".join(names)}, out):
    for i in prange(out.size):
        out[i] = face({", ".join(f"{n}[i]" for n in names)}, approx={tier!r})
    return face({", ".join(names)}, approx={tier!r})
"""
    namespace = {"face": face, "prange": prange}
    exec(source, namespace)
    return njit(**options)(namespace["both"])


def check(face: Door, tier: str, dtype: Any, **options: Any) -> None:
    arrays = operands(face, dtype)
    out = np.empty_like(arrays[0])
    array = compiled(face, tier, **options)(*arrays, out)
    expected = face.ufunc(tier)(*arrays)
    assert same(array, expected)
    assert same(out, expected)


# -- bits -------------------------------------------------------------------------------------------------------------
EVERY = [(name, form) for name, declaration in REGISTRY.items() for form in forms(declaration)]
SOME = EVERY[:: -(-len(EVERY) // 20)]
"""Compiling takes its time: the others differ from these in their bodies alone."""
KINDS = list(itertools.product(TIERS, DTYPES))


@pytest.mark.parametrize(("name", "form", "kind"), [(*which, KINDS[i % len(KINDS)]) for i, which in enumerate(SOME)])
def test_bits_of_some_kernels(name: str, form: str, kind: Any) -> None:
    check(door(name, form), *kind)


@pytest.mark.parametrize(("tier", "dtype"), KINDS)
@pytest.mark.parametrize("name", ["exp", "mish"])
def test_bits_in_every_tier(name: str, tier: str, dtype: Any) -> None:
    check(door(name), tier, dtype)


@pytest.mark.parametrize(("tier", "dtype"), KINDS)
def test_fastmath_leaves_the_bits_alone(tier: str, dtype: Any) -> None:
    check(door("mish"), tier, dtype, fastmath=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_in_parallel_loops(dtype: Any) -> None:
    check(door("mish"), "fast", dtype, fastmath=True, parallel=True)
    check(door("swish", "backward"), "exact", dtype, parallel=True)


def test_bits_of_remainders_and_single_numbers() -> None:
    @njit
    def one(x):  # type: ignore[no-untyped-def]
        return fastact.mish(x, approx="fast")

    values = inputs(np.float32)[-41:]
    expected = fastact.mish(values, approx="fast")
    assert same(np.array([one(v) for v in values], dtype=np.float32), expected)
    for length in range(values.size):
        assert same(one(values[:length]), expected[:length])


def test_bits_under_a_condition() -> None:
    """Where LLVM computes a branch for whole vectors, it may do so for elements that do not take it."""

    @njit
    def some(x, out):  # type: ignore[no-untyped-def]
        for i in range(x.size):
            if x[i] > 0.5:
                out[i] = fastact.mish(x[i])
            else:
                out[i] = fastact.tanh(x[i], approx="fast")

    for dtype in DTYPES:
        x = inputs(dtype)
        out = np.empty_like(x)
        some(x, out)
        assert same(out, np.where(x > 0.5, fastact.mish(x), fastact.tanh(x, approx="fast")))


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the processors named are of one family")
@pytest.mark.parametrize(("name", "features"), [("x86-64", ""), ("haswell", "+avx,+avx2,+fma,+f16c")])
def test_bits_when_numba_compiles_for_another_processor(name: str, features: str) -> None:
    program = """
import numpy as np, fastact, numba
@numba.njit
def f(x, out):
    for i in range(x.size): out[i] = fastact.exp(x[i])
    return fastact.exp(x)
for dtype in np.float32, np.float64:
    x = np.linspace(-110, 100, 999).astype(dtype)
    out = np.empty_like(x)
    with np.errstate(all="ignore"):
        assert np.array_equal(f(x, out), fastact.exp(x)) and np.array_equal(out, fastact.exp(x))
"""
    environment = os.environ | {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


# -- arrays -----------------------------------------------------------------------------------------------------------
@njit
def call_exp(x):  # type: ignore[no-untyped-def]
    return fastact.exp(x, approx="fast")


@njit
def call_exp_out(x, out):  # type: ignore[no-untyped-def]
    return fastact.exp(x, out, approx="fast")


@njit
def call_swish(x, beta):  # type: ignore[no-untyped-def]
    return fastact.swish(x, beta, approx="fast")


BASE = np.linspace(-3, 3, 5 * 6 * 7).reshape(5, 6, 7)
LAYOUTS = {
    "C": BASE,
    "F": np.asfortranarray(BASE),
    "reversed": BASE[::-1, :, ::-1],
    "steps": BASE[::2, ::3, ::2],
    "moved": np.moveaxis(BASE, 0, 1),
    "broadcast": np.broadcast_to(BASE[:, :1], (5, 9, 7)),
    "column": BASE.reshape(-1, 1),
    "row": BASE.reshape(1, -1),
    "vector": BASE.reshape(-1)[3::4],
    "empty": np.empty((4, 0, 3)),
    "nothing in front": np.empty((0, 4)),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name: str) -> None:
    x = LAYOUTS[name].astype(np.float32) if name == "moved" else LAYOUTS[name]
    expected = fastact.exp(x, approx="fast")
    assert same(call_exp(x), expected)
    room = np.full((2, *x.shape, 2), np.nan, x.dtype)[..., 0]
    result = call_exp_out(x, room)
    assert same(room, np.broadcast_to(expected, room.shape))
    assert result.ctypes.data == room.ctypes.data


def test_order_of_the_result_is_that_of_numpy_functions_in_numba() -> None:
    assert call_exp(LAYOUTS["C"]).flags.c_contiguous and call_exp(LAYOUTS["reversed"]).flags.c_contiguous
    assert call_exp(LAYOUTS["F"]).flags.f_contiguous


@pytest.mark.parametrize(
    "shapes", [((4, 5), (5,)), ((4, 1), (1, 5)), ((3, 1, 5), (4, 1)), ((1,), (3, 4)), ((0, 1), (3,))]
)
def test_broadcasting(shapes: Any) -> None:
    x, beta = (np.linspace(0.5, 2, int(np.prod(s))).reshape(s) for s in shapes)
    assert same(call_swish(x, beta), fastact.swish(x, beta, approx="fast"))


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        call_swish(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="broadcast"):
        call_exp_out(np.ones(3), np.ones(4))


def test_out() -> None:
    x = np.linspace(-3, 3, 50)
    expected = fastact.exp(x, approx="fast")
    narrow = np.empty(50, np.float32)
    call_exp_out(x, narrow)
    assert same(narrow, expected.astype(np.float32))
    assert call_exp_out(x, x) is not None and same(x, expected)

    @njit
    def named(x, out):  # type: ignore[no-untyped-def]
        return fastact.swish(x, out=out, approx="fast")

    out = np.empty(50)
    named(x, out)
    assert same(out, fastact.swish(x, approx="fast"))


def test_memory_is_given_back() -> None:
    x = np.linspace(0, 1, 100)
    call_exp(x), call_exp_out(x, np.empty(100))
    _nrt_python.memsys_enable_stats()
    try:
        before = rtsys.get_allocation_stats()
        for _ in range(10):
            call_exp(x), call_exp_out(x, np.empty(100))
        after = rtsys.get_allocation_stats()
    finally:
        _nrt_python.memsys_disable_stats()
    assert after.alloc - before.alloc == after.free - before.free > 0


# -- types ------------------------------------------------------------------------------------------------------------
def test_types_of_results() -> None:
    def result(*args: Any) -> Any:
        return np.dtype(str(call_swish.overloads[tuple(numba.typeof(a) for a in args)].signature.return_type))

    for args, wanted in (
        ((3, 2), np.float64),
        ((True, 2), np.float64),
        ((np.float32(3), 2.0), np.float32),
        ((np.float64(3), np.float32(2)), np.float64),
    ):
        assert same(
            np.asarray(call_swish(*args), wanted), fastact.swish(wanted(args[0]), wanted(args[1]), approx="fast")
        )
        assert result(*args) == wanted
    single, double = np.linspace(0, 1, 6, dtype=np.float32), np.linspace(0, 1, 6)
    for x, beta in ((single, 2.0), (single, 2), (single, double), (double, single), (np.arange(6), 2.0)):
        assert same(call_swish(x, beta), fastact.swish(x, beta, approx="fast"))
    assert same(call_exp(np.arange(6)), fastact.exp(np.arange(6.0), approx="fast"))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("f(1j)", "float32 and float64"),
        ("f()", "missing a required argument: 'x'"),
        ("f(x, beta=2.0)", "unexpected keyword argument 'beta'"),
        ("f(x, 'fast')", "out must be"),
        ("f(x, np.empty(3, np.int64))", "out must be"),
        ("f(np.ones((2, 2)), np.ones(2))", "fewer dimensions"),
        ("f(x, approx='medium')", "'medium' is not a precision tier.*'exact'.*'fast'.*'rough'"),
        ("f(x, approx=('fast', 'rough')[int(x)])", "must be known.*'exact'.*'fast'.*'rough'"),
        ("f(x, approx=1)", "not a precision tier.*'exact'.*'fast'.*'rough'"),
        ("mish.backward_from_output(x, x)", "backward_from_output"),
    ],
)
def test_errors_say_what_is_wrong(body: str, message: str) -> None:
    namespace = {"f": fastact.exp, "np": np, "mish": fastact.mish}
    exec(f"def wrong(x): return {body}", namespace)
    with pytest.raises(TypingError, match=f"(?s){message}"):
        njit(namespace["wrong"])(1.0)


# -- ways to write a call ---------------------------------------------------------------------------------------------
PRECISION = "rough"


def test_ways_to_name_a_tier() -> None:
    @njit
    def literal(x):  # type: ignore[no-untyped-def]
        return (
            fastact.exp(x, approx="fast"), fastact.exp(x, approx=True), fastact.exp(x, approx=PRECISION),
            fastact.exp(x, approx=False), fastact.exp(x, approx=None), fastact.exp(x),
        )  # fmt: skip

    @njit
    def argument(x, approx=None):  # type: ignore[no-untyped-def]
        return fastact.exp(x, approx=approx)

    def everywhere(x: float) -> dict[str, float]:
        return {tier: float(fastact.exp(x, approx=tier)) for tier in TIERS}

    x = next(float(x) for x in np.linspace(0.1, 3, 1000) if len(set(everywhere(x).values())) == 3)
    values = everywhere(x)
    with fastact.precision("rough"):
        assert literal(x) == tuple(values[t] for t in ("fast", "fast", "rough", "exact", "exact", "exact"))
    for approx, tier in (("fast", "fast"), ("rough", "rough"), (True, "fast"), (False, "exact"), (None, "exact")):
        assert argument(x, approx) == values[tier]
    assert argument(x) == values["exact"]


def test_forms_and_parameters() -> None:
    @njit
    def gradients(g, x):  # type: ignore[no-untyped-def]
        f = fastact.exp
        return f.grad(x), f.backward(g, x, approx="fast"), f.backward_from_output(g, x)

    @njit
    def parameters(x, beta):  # type: ignore[no-untyped-def]
        return fastact.swish(x), fastact.swish(x, beta), fastact.swish(x, beta=beta), fastact.swish.grad(x, beta=beta)

    g, x, swish, exp = 2.0, 0.3, fastact.swish, fastact.exp
    assert gradients(g, x) == (exp.grad(x), exp.backward(g, x, approx="fast"), exp.backward_from_output(g, x))
    assert parameters(x, g) == (swish(x), swish(x, g), swish(x, beta=g), swish.grad(x, beta=g))


VARIANTS = [(name, form.name) for name, d in REGISTRY.items() for form in forms(d).values() if form.variant]


@pytest.mark.parametrize(("name", "form"), VARIANTS)
def test_variants_by_keyword(name: str, form: str) -> None:
    face, (further, *_) = door(name, form), REGISTRY[name].variant.parameters  # type: ignore[union-attr]
    names = ", ".join(f"a{i}" for i in range(face.nin))
    namespace = {"face": face}
    exec(f"def call({names}, v): return face({names}, {further.name}=v), face({names}, {further.name}=None)", namespace)
    arrays = operands(face, np.float32)
    for result, value in zip(njit(namespace["call"])(*arrays, 0.25), (0.25, None), strict=True):
        assert same(result, face(*arrays, **{further.name: value}))


def test_functions_are_values() -> None:
    @njit
    def apply(f, x):  # type: ignore[no-untyped-def]
        return f(x)

    assert apply(fastact.exp, 0.3) == fastact.exp(0.3)
    assert apply(fastact.mish, 0.3) == fastact.mish(0.3)
    assert apply(fastact.mish.grad, 0.3) == fastact.mish.grad(0.3)


# -- scalar and vectorized --------------------------------------------------------------------------------------------
def test_scalar() -> None:
    scalar = fastact.swish.scalar("fast")
    assert scalar is fastact.swish.scalar(True) and scalar is not fastact.swish.scalar("rough")
    assert scalar.py_func.__name__.startswith("fastact_swish_fast_")
    assert fastact.swish.grad.scalar().py_func.__name__.startswith("fastact_swish_grad_exact_")
    assert list(inspect.signature(scalar.py_func).parameters) == ["x", "beta"]

    @njit
    def user(x):  # type: ignore[no-untyped-def]
        return scalar(x), scalar(x, 2.0), scalar(x, beta=2.0)

    x = np.float32(0.3)
    swish = [fastact.swish(x, b, approx="fast") for b in (1.0, 2.0, 2.0)]
    assert same(np.array(user(x), np.float32), swish)
    assert scalar(0.3) == fastact.swish(0.3, approx="fast")
    assert fastact.swish.grad.scalar("rough")(0.3, 2.0) == fastact.swish.grad(0.3, 2.0, approx="rough")


def test_vectorized() -> None:
    vectorized = fastact.mish.vectorized("fast")
    assert vectorized is fastact.mish.vectorized(True)
    assert vectorized.types == ["f->f", "d->d"]
    assert pickle.loads(pickle.dumps(vectorized)) is vectorized

    @njit
    def user(x):  # type: ignore[no-untyped-def]
        return vectorized(x)

    for dtype in DTYPES:
        x = inputs(dtype)
        expected = fastact.mish(x, approx="fast")
        assert same(vectorized(x), expected) and same(user(x), expected)
    swish = fastact.swish.grad.vectorized("rough")
    assert same(swish(np.arange(3), 2.0), fastact.swish.grad(np.arange(3.0), 2.0, approx="rough"))


def test_vectorized_raises_no_flags_of_its_own() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0.0, 30.0, -30.0])
    with np.errstate(all="raise"):
        for tier in TIERS:
            fastact.mish.vectorized(tier)(x)
            fastact.relu.vectorized(tier)(x.astype(np.float32))
        with pytest.raises(FloatingPointError, match="overflow"):
            fastact.exp.vectorized()(np.array([1000.0]))


def test_arrays_in_compiled_code_leave_flags_alone() -> None:
    with np.errstate(all="raise"):
        (np.array([1.0]) + 1.0, call_exp(np.array([np.nan, 1000.0, -1000.0])))


# -- speed ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "tier", "dtype"),
    [("exp", "rough", np.float32), ("mish", "fast", np.float32), ("mish", "exact", np.float32),
     ("mish", "fast", np.float64), ("exp", "exact", np.float64)],
)  # fmt: skip
def test_loops_over_numbers_are_vectorised(name: str, tier: str, dtype: Any) -> None:
    face = door(name)
    x = np.linspace(-5, 5, 8192).astype(dtype)
    out = np.empty_like(x)
    namespace = {"face": face}
    exec(f"def loop(x, out):\n for i in range(x.size): out[i] = face(x[i], approx={tier!r})", namespace)
    loop, ufunc = njit(namespace["loop"]), face.ufunc(tier)
    best = {"loop": np.inf, "ufunc": np.inf}
    for _ in range(200):
        for what, run in (("loop", loop), ("ufunc", ufunc)):
            start = time.perf_counter()
            run(x, out)
            best[what] = min(best[what], time.perf_counter() - start)
    assert best["loop"] < GREATEST * best["ufunc"], best


# -- how Numba comes to know ------------------------------------------------------------------------------------------
def test_entry_point_names_the_initializer() -> None:
    from fastact.cpu import numba_extension

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, name = project["entry-points"]["numba_extensions"]["init"].split(":")
    assert module == numba_extension.__name__
    getattr(numba_extension, name)()
