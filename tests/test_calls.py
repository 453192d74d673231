"""The public objects as objects, and what they say to calls that cannot be."""

from __future__ import annotations

import copy
import inspect
import pickle
import pydoc
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastact

# -- the object -------------------------------------------------------------------------------------------------------
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
    x = np.linspace(-3, 3, 50, dtype=np.float32)
    first = inner(inner(x[0]))
    assert inner(x).tolist() == fastact.exp(x, approx="fast").tolist()
    inner.at(x, [0, 0])
    assert x[0] == first
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
            plain = 0.25  # within the range of every parameter
            given = {name: plain if p.default is p.empty else p.default for name, p in list(names.items())[: door.nin]}
            if isinstance(door, fastact.function.Summed):
                continue  # what another kind of array makes of its ufunc is summed
            positional = [Telltale(), *list(given.values())[1:]]
            assert door(*positional) == (door.ufunc().__name__, door.nin)
            by_name = {p.name: given.pop(p.name) for p in door._parameters}
            assert door(Telltale(), *list(given.values())[1:], **by_name) == (door.ufunc().__name__, door.nin)


class Telltale:
    """Says which ufunc it was given to, with how many inputs."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return ufunc.__name__, len(inputs)


# -- wrong calls ------------------------------------------------------------------------------------------------------
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
        (lambda: fastact.exp(np.ones(2), out=0.5), ["exp()", "out", "array", "float"]),
        (lambda: fastact.exp(np.ones(2), 0.5), ["exp()", "0.5", "in the place of out", "array"]),
        (lambda: fastact.exp(np.ones(2), "fast"), ["exp()", "approx='fast'"]),
        (lambda: fastact.relu(np.ones(2), True), ["relu()", "approx=True"]),
        (lambda: fastact.gelu(np.ones(2), "tanh"), ["gelu()", "'tanh'", "array"]),
        (lambda: fastact.relu.grad(np.ones(2), 0.5), ["relu.grad()", "at_zero=0.5"]),
        (lambda: fastact.logit(0.3, 1e-6), ["logit()", "eps=1e-06"]),
        (lambda: fastact.hardsigmoid(1.0, 0.2, 0.5), ["hardsigmoid()", "by keyword", "slope, offset"]),
        (lambda: fastact.jump_relu.backward_theta(1.0, 1.0, 1.0, 0.2), ["backward_theta()", "out"]),
        (lambda: fastact.rrelu(1.0, 0.1, 0.3, np.random.default_rng()), ["rrelu()", "by keyword", "rng="]),
        (lambda: fastact.rrelu(1.0, 0.1, 0.3, True), ["rrelu()", "return_slope=True"]),
        (lambda: fastact.swiglu(np.ones(2), np.ones(2), 1.0), ["swiglu()", "a, b", "1.0", "out"]),
        (lambda: fastact.glu(np.ones(4), -1), ["glu()", "axis=-1", "float"]),
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


BAD = [0, -1, 0.0, -0.5, np.float32(-2), np.float32(0), [1.0, 0.0], [1.0, -3.0], np.array([[1, -4]]), -np.inf]


@pytest.mark.parametrize("bad", BAD)
def test_parameters_out_of_range(bad: Any) -> None:
    for call in (lambda: fastact.softplus(1.0, bad), lambda: fastact.softplus.backward(1.0, 1.0, beta=bad)):
        with pytest.raises(ValueError, match=r"softplus.*beta is -?[0-9inf.]+, outside the open interval \(0, inf\)"):
            call()


def test_nan_is_within_every_range() -> None:
    assert np.isnan(fastact.softplus(1.0, np.nan))
    assert np.isnan(fastact.softplus(1.0, float("nan")))
    assert np.isnan(fastact.softplus(1.0, [1.0, np.nan])).tolist() == [False, True]
    assert np.isfinite(fastact.softplus(1.0, 3)) and np.isfinite(fastact.softplus(1.0, np.float16(3)))


@pytest.mark.parametrize("number", [np.float16, np.float32, "bfloat16"])
@pytest.mark.parametrize("name", ["hardtanh", "rrelu"])
def test_python_numbers_are_compared_as_what_they_become(name: str, number: Any) -> None:
    if number == "bfloat16":
        number = pytest.importorskip("ml_dtypes").bfloat16
    function, x = getattr(fastact, name), np.linspace(-1, 1, 5).astype(number)
    same = number(0.3)
    expected = function(x, same, same)
    for low in (same, np.full(5, same), np.full((), same)):
        for limits in ((low, 0.3), (0.3, low), (low, float(same))):
            y = function(x, *limits)
            assert y.dtype == x.dtype and np.array_equal(y, expected)
        assert np.array_equal(function(x, low, float("nan")), function(x, low, number("nan")), equal_nan=True)
        for limits in ((low, 0.2), (0.4, low)):
            with pytest.raises(ValueError, match=rf"{name}.*given (min_val|lower) = 0\.[34].*, .* = 0\.[23]"):
                function(x, *limits)
    if float(same) > 0.3:  # beside float64 it is more than 0.3
        with pytest.raises(ValueError, match=name):
            function(x.astype(np.float64), same, 0.3)


def test_python_numbers_are_refused_where_they_become_what_is_not_allowed() -> None:
    """Next to 0 the results would be NaN."""
    half, single = np.zeros(3, np.float16), np.zeros((1 << 15, 2), np.float32)
    for _ in range(2):  # what was refused once is refused again
        for call, said in (
            (lambda: fastact.softplus(half, 1e-9), r"beta is 0\.0, outside.*: 1e-09 is 0\.0 in float16"),
            (lambda: fastact.softplus(single, beta=1e40), r"beta is inf, outside.*: 1e\+40 is inf in float32"),
            (lambda: fastact.softplus.backward(half, half, 100_000), "100000 is inf in float16"),
            (lambda: fastact.celu(half, alpha=-1e-9), r"alpha is 0.*: -1e-09 is -0\.0 in float16"),
            (lambda: fastact.rrelu(single, -1e39, 0.0), r"infinite.*: -1e\+39 is -inf in float32"),
            (lambda: fastact.jump_relu.grad_theta(half, 1.0, bandwidth=1e-9), r"bandwidth is 0\.0.*1e-09 is 0\.0"),
            (lambda: fastact.celu(single, 1e-60, dtype=np.float32), r"alpha is 0.*: 1e-60 is 0\.0 in float32"),
            (lambda: fastact.celu(np.zeros(3), 1e-60, dtype="f4", casting="same_kind"), "1e-60 is 0.0 in float32"),
            (lambda: fastact.celu(half, alpha=1e-60, sig="ff->f"), "1e-60 is 0.0 in float32"),
            (lambda: fastact.celu(half, 1e-60, signature=(None, None, np.float32)), "1e-60 is 0.0 in float32"),
            (lambda: fastact.softplus.grad(single, beta=1e40, dtype=np.float32), r"1e\+40 is inf in float32"),
            (lambda: fastact.rrelu(single, -1e39, 0.0, dtype="f4"), r"infinite.*: -1e\+39 is -inf in float32"),
            (lambda: fastact.logit(half, eps=0.5 + 1e-9, dtype="f8"), "eps is outside"),
            # so are numbers of NumPy where a narrower dtype is asked for
            (lambda: fastact.celu(half, np.float64(1e-60), dtype="f4"), "alpha is 0.*: 1e-60 is 0.0 in float32"),
            (lambda: fastact.celu.grad(half, np.array([1, -1e-9]), sig="ee->e"), r"alpha is 0.*-1e-09 is -0\.0 in"),
            (lambda: fastact.softplus(half, np.array(1e-9), dtype="e"), r"beta is 0\.0, outside.*1e-09 is 0\.0 in"),
            (lambda: fastact.softplus.backward(half, half, np.float32(1e6), dtype="e"), r"1e\+06 is inf in float16"),
            (lambda: fastact.rrelu(half, np.zeros(3), np.full(3, 1e39), dtype="f4"), "infinite.*1e[+]39 is inf in"),
        ):
            with np.errstate(over="ignore"), pytest.raises(ValueError, match=said):
                call()
    assert fastact.celu(half, 1e-60, dtype=np.float64).tolist() == [0, 0, 0]
    assert fastact.celu(half, np.array([1e-60, 1, 2])).tolist() == [0, 0, 0]
    assert fastact.hardtanh(half - 1, np.array([-1e-9, -2, -np.inf]), 1.0, dtype="e").tolist() == [0, -1, -1]
    with pytest.raises(TypeError, match="nonsense"):
        fastact.celu(half, 1e-60, dtype="nonsense")
    assert fastact.celu(np.zeros(3), 1e-60).tolist() == [0, 0, 0]
    assert fastact.hardtanh(half - 1, -1e-9, 1.0).tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", ["softplus", "hardtanh", "softshrink", "rrelu"])
@pytest.mark.parametrize("number", [np.float16, np.float32, np.float64, "bfloat16"])
def test_looking_at_parameters_takes_little_memory(number: Any, name: str) -> None:
    if number == "bfloat16":
        number = pytest.importorskip("ml_dtypes").bfloat16
    function, size = getattr(fastact, name), 1 << 22
    x, out = np.ones((size >> 11, 1 << 11), number), np.empty((size >> 11, 1 << 11), number)
    limits = [np.full(x.shape, 0.25 * k, number) for k in range(1, 1 + len(function.parameters))]
    function(x[:1], *(limit[:1] for limit in limits), out=out[:1])
    across = [limit[:, :1] if k % 2 else limit[:1] for k, limit in enumerate(limits)]
    for given in (limits, across, [limit.T for limit in limits]):
        tracemalloc.start()
        try:
            function(x, *given, out=out)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 1 << 20


@pytest.mark.parametrize("number", [np.float16, np.float32, np.float64, np.int8, "bfloat16"])
@pytest.mark.parametrize("at", [0, 8191, 8192, 30_000, 39_999])
def test_one_number_that_is_wrong_is_found_among_many(at: int, number: Any) -> None:
    if number == "bfloat16":
        number = pytest.importorskip("ml_dtypes").bfloat16
    beta = np.full((4, 10_000), 3, number)
    limit = beta.copy()
    beta.flat[at], limit.flat[at] = -4, 5
    x = np.ones(beta.shape, np.float32)
    for turn in (np.asarray, np.transpose, np.flip):
        with pytest.raises(ValueError, match=r"softplus\(\): beta is -4.*outside the open interval"):
            fastact.softplus(turn(x), turn(beta))
        with pytest.raises(ValueError, match=r"hardtanh.*given min_val = 5(\.0)?, max_val = 4(\.0)?$"):
            fastact.hardtanh(turn(x), turn(limit), number(4))
        with pytest.raises(ValueError, match=r"hardtanh.*given min_val = 5(\.0)?, max_val = 4(\.0)?$"):
            fastact.hardtanh(turn(x), turn(limit), 4.0)
    fastact.hardtanh(x, limit, limit)
    fastact.hardtanh(x, 3.0, limit)


def test_ranges_of_lazy_parameters_are_left_alone() -> None:
    da = pytest.importorskip("dask.array")
    touched = []
    beta = da.from_delayed(__import__("dask").delayed(lambda: touched.append(1) or -np.ones(3))(), (3,), float)
    fastact.softplus(np.ones(3), beta)
    assert not touched


# -- a loop that cannot be compiled -----------------------------------------------------------------------------------
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


# -- the shorter ways of small arrays ---------------------------------------------------------------------------------
def test_addresses_of_arrays() -> None:
    from fastact.cpu import places

    whole = np.arange(24.0).reshape(4, 6)
    locked = whole.copy()
    locked.flags.writeable = False
    views = whole[1:, ::2], whole[::-1], whole.T, whole[2:2], np.asarray(whole[2, 3]), whole.view(Sub)
    for a in (whole, locked, *views):
        assert places.address(a) == places._by_description(a) == a.ctypes.data


class Sub(np.ndarray):
    """A subclass, which is no plain array."""


def test_short_ways_lead_to_the_same_results() -> None:
    """Calls that are recognised as usual ones, beside others that mean the same."""
    x = np.linspace(-3, 3, 24, dtype=np.float32).reshape(4, 6)
    other, g = x[:, ::-1].copy()[:, ::-1], np.ones_like(x)  # not in C's order
    w, b = x[0] + 1, x[1]
    y = fastact.softmax(x)
    pairs = [
        (fastact.softmax(x), fastact.softmax(other)),
        (fastact.log_softmax(x), fastact.log_softmax(x, axis=1)),
        (fastact.softmax.backward_from_output(g, y), fastact.softmax.backward_from_output(g, y, axis=1)),
        (fastact.layer_norm(x, w, b), fastact.layer_norm(other, w, b)),
        (fastact.layer_norm(x, w, b, eps=1e-70), fastact.layer_norm(other, w, b, eps=1e-70)),
        (fastact.rms_norm(x, w), fastact.rms_norm(other, w)),
        (fastact.exp(x), fastact.exp(x, where=True)),
        (fastact.swish(x), fastact.swish(x, 1.0)),
        (fastact.exp.backward(g, x), fastact.exp.backward(1.0, x)),
        (fastact.exp(x, out=np.empty_like(x)), fastact.exp(x)),
    ]
    for k, (short, long) in enumerate(pairs):
        assert type(short) is np.ndarray and short.dtype == np.float32 and short.tobytes() == long.tobytes(), k
    for beta in (1.5, 0.0, -0.0, 2):
        first, again = (fastact.swish(x, beta=beta) for _ in range(2))
        assert first.tobytes() == again.tobytes() == fastact.swish(x, np.float32(beta)).tobytes()
    assert type(fastact.softmax(x.view(Sub))) is np.ndarray
    assert fastact.swish(x, beta=np.float64(1.5)).dtype == np.float64, "a number with a dtype keeps it"


def test_short_ways_refuse_what_long_ones_refuse() -> None:
    x = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match="tier"):
        fastact.exp(x, approx="fats")
    with pytest.raises(ValueError, match="tier"):
        fastact.softmax(x, approx="fats")
    with pytest.raises(TypeError, match="missing"):
        fastact.exp.backward(x)
    with pytest.raises(TypeError, match="missing"):
        fastact.threshold(x)
    with pytest.raises(TypeError, match="eps"):
        fastact.layer_norm(x, x[0], x[0], eps="1")
    with pytest.raises(ValueError, match="eps"):
        fastact.layer_norm(x, x[0], x[0], eps=-1.0)
    with pytest.raises(ValueError, match="weight"):
        fastact.layer_norm(x, x[0, :2], x[0])
    with pytest.raises(ValueError, match="shape"):
        fastact.softmax.backward_from_output(x[:1], x)
    with pytest.raises(np.exceptions.AxisError):
        fastact.softmax(np.float32(1.0), axis=-2)
    assert fastact.softmax(np.array(2.0, np.float32)) == 1.0
    assert fastact.softmax(np.empty((0, 3), np.float32)).shape == (0, 3)
    locked = np.ones((2, 3), np.float32)
    locked.flags.writeable = False
    assert np.allclose(fastact.softmax(locked), 1 / 3)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: fastact.xielu(1.0, np.ones(3), 0.5, 0.5, 1e-3), "eps is positive, .* at most 0; given eps = 0.001"),
        (lambda: fastact.xielu.grad_alpha_n(1.0, eps=np.array([-1.0, 2.0])), "given eps = 2.0"),
        (lambda: fastact.rrelu(np.ones((2, 3)), np.ones(3), 0.5), "given lower = 1.0, upper = 0.5"),
        (lambda: fastact.hardtanh(1.0, 2.0, 1.0), "given min_val = 2.0, max_val = 1.0"),
    ],
)
def test_rejected_parameters_are_named(call: Callable[[], Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call()


def test_the_ends_of_ranges_are_within() -> None:
    assert fastact.xielu(-1.0, eps=0.0) == fastact.xielu(-1.0, eps=-0.0)
    assert fastact.squareplus(3.0, 0.0) == 3.0
    assert fastact.logit(0.25, eps=0.5) == 0.0


def test_gradients_from_outputs_that_determine_them() -> None:
    for name in ("silu", "mish", "gelu", "erf", "snake", "prelu"):
        with pytest.raises(AttributeError, match="does not determine its gradient, or not in closed form"):
            _ = getattr(fastact, name).backward_from_output
    g, y = np.float64(3.0), np.array([0.0, 0.5, 1.0, np.nan])
    for name, slope in (("hardsigmoid", 1 / 6), ("sparse_sigmoid", 0.5)):
        found = getattr(fastact, name).backward_from_output(g, y)
        assert found[:3].tolist() == [0.0, g * slope, 0.0] and np.isnan(found[3])
    said = r"no argument 'at_zero', which relu\.grad and relu\.backward have: y does not tell all about x"
    with pytest.raises(TypeError, match=said):
        fastact.relu.backward_from_output(g, y, at_zero=0.5)
    with pytest.raises(TypeError, match=r"no argument 'eps', which .*logit\.backward have: y does not tell"):
        fastact.logit.backward_from_output(g, y, eps=0.25)
    with pytest.raises(TypeError, match=r"no argument 'at_zero', which relu\.grad and relu\.backward have$"):
        fastact.relu(y, at_zero=0.5)
    assert "takes no at_zero" in str(fastact.relu.backward_from_output.__doc__)
    assert fastact.hardsigmoid.backward_from_output(g, y, slope=0.25)[:3].tolist() == [0.0, 0.75, 0.0]


def test_numbers_that_were_given_before_are_not_mistaken_for_those_of_numpy() -> None:
    """What is remembered of Python's numbers serves none that is equal to them and has a dtype of its own."""
    x = np.array([-3.0, -1.0, 2.0], np.float16)
    for _ in range(2):
        assert fastact.hardtanh(x, -1.5, 1.5).dtype == np.float16
        assert fastact.hardtanh(x, np.float32(-1.5), 1.5).dtype == np.float32
        assert fastact.hardtanh(x, -1.5, np.float64(1.5)).dtype == np.float64
        assert fastact.leaky_relu(x, 0.5).dtype == np.float16
        assert fastact.leaky_relu(x, np.float32(0.5)).dtype == np.float32


def test_numbers_that_were_given_before_are_rounded_to_each_dtype() -> None:
    """Not to that of a call with the same number, beside other arrays."""
    backward, wide = fastact.leaky_relu.backward, np.array([-3.0, -1.0, 2.0])
    narrow = wide.astype(np.float32)
    expected = (wide * np.array([0.1, 0.1, 1.0])).tobytes()
    for _ in range(2):
        for first, second in ((narrow, narrow), (wide, narrow), (narrow, wide), (wide, wide)):
            for found in (backward(first, second, 0.1), backward(first, second, negative_slope=0.1)):
                assert found.dtype == np.result_type(first, second)
        assert backward(wide, narrow, 0.1).tobytes() == backward(wide, wide, 0.1).tobytes() == expected
        assert backward(wide, narrow, 0.3).dtype == np.float64 and backward(narrow, narrow, 0.3).dtype == np.float32
        assert backward(narrow, narrow, negative_slope=0.1, dtype=np.float64).tobytes() == expected
        with pytest.warns(RuntimeWarning, match="overflow"):  # of each call
            assert np.isinf(fastact.leaky_relu(narrow, 1e300)).any()
        assert backward(wide, narrow, negative_slope=0.1).tobytes() == expected
        with pytest.raises(TypeError, match="at most"):
            backward(wide, wide, 0.1, 0.2, 0.3)
        with pytest.raises(TypeError, match="in the place of out"):
            backward(narrow, narrow, 0.1, 0.2)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_numbers_are_looked_at_once(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they become in the dtype is remembered."""
    number = pytest.importorskip("ml_dtypes").bfloat16 if dtype == "bfloat16" else np.dtype(dtype).type
    x, looked = np.array([-3.0, -1.0, 2.0], number), []
    settle = fastact.function.settle
    monkeypatch.setattr(fastact.function, "settle", lambda *given: looked.append(given) or settle(*given))
    calls = [
        lambda: fastact.hardtanh(x, -0.625, 1.75),
        lambda: fastact.hardtanh(x, min_val=-0.625, max_val=1.75),
        lambda: fastact.leaky_relu(x, 0.625, out=np.empty_like(x)),
        lambda: fastact.leaky_relu.backward(x, x, 0.625),
        lambda: fastact.hardtanh(x, 0.0, 6.0),
        lambda: fastact.threshold(x, threshold=0.0, value=-0.0),
        lambda: fastact.threshold(x, threshold=0.0, value=0.0),
        lambda: fastact.threshold(x, -0.0, -0.0),
    ]
    for call in calls:
        first = call()
        looked.clear()
        assert call().tobytes() == first.tobytes() and not looked
    assert np.signbit(calls[-3]()).tolist() == np.signbit(calls[-1]()).tolist() == [True, True, False]
    assert not np.signbit(calls[-2]()).any(), "zeros are equal, but not the same"
    monkeypatch.setattr(fastact.leaky_relu, "_settled", {})
    for k in range(200):
        fastact.leaky_relu(x, k / 16)
    assert len(fastact.leaky_relu._settled) <= fastact.function._MOST_SETTLED, "not all that were ever given"
    x = np.array([-3.0, -1.0, 2.0], np.int8)  # whose results are of another dtype
    assert fastact.hardtanh(x, -0.625, 1.75).dtype == fastact.hardtanh(x, -0.625, 1.75).dtype == np.float16
