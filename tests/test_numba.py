"""fastact inside Numba's compiled code: the same bits as the ufuncs, in every way that a call can be written."""

from __future__ import annotations

import inspect
import itertools
import os
import pickle
import platform
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compiled import DTYPES, inputs, same
from numba import njit, prange, types
from numba.core.errors import TypingError

import fastact
from fastact.cpu.numba.extension import door_type
from fastact.function import FUNCTIONS, Door
from fastact.kernels import REGISTRY
from fastact.link.forms import forms, summed_parameter
from fastact.precision import TIERS

ROOT = Path(__file__).parent.parent


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
    # A variant's further parameters go by keyword only.
    labels = [f"{a}=" if face._form.base and a in face.parameters else "" for a in face._form.arguments]
    source = f"""
def both({", ".join(names)}, out):
    for i in prange(out.size):
        out[i] = face({", ".join(f"{label}{n}[i]" for label, n in zip(labels, names, strict=True))}, approx={tier!r})
    return face({", ".join(label + n for label, n in zip(labels, names, strict=True))}, approx={tier!r})
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
EVERY = [
    (name, form.name)
    for name, declaration in REGISTRY.items()
    for form in forms(declaration).values()
    if not summed_parameter(form)
]
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


# -- errors -----------------------------------------------------------------------------------------------------------
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


VARIANTS = [(name, form) for name, form in EVERY if forms(REGISTRY[name])[form].variant]


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


# -- how Numba comes to know ------------------------------------------------------------------------------------------
def test_entry_point_names_the_initializer() -> None:
    from fastact.cpu.numba import extension

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, name = project["entry-points"]["numba_extensions"]["init"].split(":")
    assert module == extension.__name__
    getattr(extension, name)()


# -- parameters left out ----------------------------------------------------------------------------------------------
def test_calls_that_leave_all_parameters_out_have_a_kernel_of_their_own() -> None:
    number, seen = types.float32, 0
    for name, declaration in REGISTRY.items():
        for form, described in forms(declaration).items():
            if not described.usual:
                continue
            inputs, further = (number,) * (described.place + 1), (number,) * len(described.parameters)
            options = {} if not described.variant else {p.name: types.none for p in declaration.variant.parameters}
            for given, given_by_name, expected in (
                (inputs, {}, described.usual),
                (inputs, options, described.usual),
                ((*inputs, *further), {}, form),
                (inputs, {described.parameters[-1].name: number}, form),
            ):
                called = door_type(name, form).get_call_type(None, given, given_by_name)
                assert called.recvr.form_name == expected, f"{name}.{form}{given} {given_by_name}"
                seen += 1
    assert seen > 100


@pytest.mark.parametrize(("name", "form"), [("snake", "value"), ("swish", "value"), ("xielu", "grad")])
def test_parameters_left_out_have_the_bits_that_they_have_outside(name: str, form: str) -> None:
    face = door(name, form)
    x = np.random.default_rng(5).normal(0.0, 3.0, 20000).astype(np.float32)
    given, out = np.array(list(face.parameters.values()), np.float32), np.empty((2, *x.shape), x.dtype)
    number = face.scalar("fast")

    def both(x: Any, out: Any) -> Any:
        for i in range(x.size):
            out[0, i], out[1, i] = number(x[i]), face(x[i], approx="fast")
        return face(x, approx="fast")

    whole, expected = njit(both)(x, out), face(x, approx="fast")
    assert same(out[0], expected) and same(out[1], expected) and same(whole, expected)
    written_out = face.ufunc("fast")(x, *given)
    assert same(face.vectorized("fast")(x, *given), written_out)
    assert same(np.array([number(v, *given) for v in x[:50]], x.dtype), written_out[:50])
