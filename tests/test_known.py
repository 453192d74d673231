"""Calls of doors like earlier ones: the compiled function gives what Python gives, and leaves it the rest."""

from __future__ import annotations

import contextlib
import gc
import inspect
import pickle
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fastact
from fastact import known
from fastact.cpu import threads
from fastact.cpu.entries import arrays, layout
from fastact.function import Door
from fastact.gates import _Form
from fastact.kernels import REGISTRY
from fastact.known import MOST_IN_VAIN, Known

rng = np.random.default_rng(11)
X, G = (rng.uniform(-4, 4, (3, 40)).astype(np.float32) for _ in range(2))
BUILTIN = type(len)

CASES: dict[str, tuple[Callable[[], Any], tuple[Any, ...], dict[str, Any]]] = {
    "relu": (lambda: fastact.relu, (X,), {}),
    "mish, fast": (lambda: fastact.mish, (X,), {"approx": "fast"}),
    "mish, a result": (lambda: fastact.mish, (X,), {"approx": True, "out": np.empty_like(X)}),
    "threshold": (lambda: fastact.threshold, (X, 0.5, -2.0), {}),
    "threshold by name": (lambda: fastact.threshold, (X,), {"value": -2.0, "threshold": 0.5, "approx": "rough"}),
    "softplus, a default": (lambda: fastact.softplus, (X, 2.0), {}),
    "gradient": (lambda: fastact.silu.grad, (X,), {}),
    "product": (lambda: fastact.silu.backward, (G, X), {}),
    "product, numbers": (lambda: fastact.swish.backward, (G, X, 0.5), {"approx": "exact"}),
    "from the output": (lambda: fastact.tanh.backward_from_output, (G, np.tanh(X)), {}),
    "gate": (lambda: fastact.swiglu, (G, X), {}),
    "gate, gradients": (lambda: fastact.swiglu.backward, (G, X, X[::-1].copy()), {"approx": "fast"}),
}


def fresh(door: Any) -> Any:
    """The door, which knows of no call, and none of whose arrays are large, whatever other tests took for that."""
    for limit in threads._limits.values():
        limit.value = max(limit.value, 1 << 15)
    door.__class__ = next(k for k in type(door).__mro__ if not isinstance(k.__dict__.get("__call__"), BUILTIN))
    door._known = Known(door, _Form.__call__ if isinstance(door, _Form) else Door.__call__)
    return door


def python(door: Any, *args: Any, **options: Any) -> Any:
    """The call in Python."""
    known, door._known = door._known, type("Deaf", (), {"learns": False})
    try:
        return (_Form if isinstance(door, _Form) else Door).__call__(door, *args, **options)
    finally:
        door._known = known


def bits(found: Any) -> Any:
    if isinstance(found, tuple):
        return tuple(map(bits, found))
    return type(found), found.dtype, np.shape(found), np.asarray(found).tobytes()


class Counted:
    """A door of which one sees what comes to Python."""

    def __init__(self, door: Any, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        self.door, self.came = fresh(door), 0
        known = self.door._known
        call = known._call

        def counting(own: Any, *args: Any, **options: Any) -> Any:
            self.came += 1
            return call(own, *args, **options)

        known._call = call
        door(*args, **options)
        known._call = counting
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Known, "_replace", lambda own: None)
            door(*args, **options)
        assert known._table is not None and known._table._words[0] > 0
        self.builtin = known._table.builtin
        assert type(self.builtin) is BUILTIN

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.builtin(*args, **options)


@pytest.fixture(params=CASES)
def case(request: Any) -> Iterator[tuple[Counted, tuple[Any, ...], dict[str, Any]]]:
    make, args, options = CASES[request.param]
    counted = Counted(make(), args, options)
    yield counted, args, options
    fresh(counted.door)


class Same(np.ndarray):  # type: ignore[type-arg]
    pass


def others(a: Any) -> Iterator[Any]:
    """The same numbers in other arrays, and what is no such array."""
    fixed = a.copy()
    fixed.flags.writeable = False
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    wide[..., ::2] = a
    shifted = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    shifted[...] = a
    yield from (a.copy(), fixed, wide[..., ::2], shifted, a.astype(np.float64), a.astype(np.float16), a.astype(">f4"))
    yield from (a[None], a[..., 1:].copy(), a[:0], a.view(Same), np.asfortranarray(a), a.T.copy(), a.reshape(-1))
    yield from (a.tolist(), 1.5, a[0, 0], np.array(1.5, a.dtype), None, "x", a.astype(np.int16))


def outcome(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = call(*args, **options)
        except Exception as error:
            return type(error), str(error)
        return bits(found), sorted(str(w.message) for w in caught)


def test_a_call_again_stays_out_of_python(case: Any) -> None:
    counted, args, options = case
    want = bits(python(counted.door, *args, **options))
    assert bits(counted(*args, **options)) == want and counted.came == 0
    copies = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
    assert bits(counted(*copies, **options)) == want and counted.came == 0
    if "out" in options:
        assert counted(*args, **options) is options["out"]


def test_what_is_taken_and_what_is_left(case: Any) -> None:
    counted, args, options = case
    left = 0
    for k, a in enumerate(args):
        for other in others(a) if isinstance(a, np.ndarray) else (1.0, 1, np.float32(0.5), np.nan, None, -1.0, True, X):
            given = *args[:k], other, *args[k + 1 :]
            came = counted.came
            assert outcome(counted, *given, **options) == outcome(python, counted.door, *given, **options), (k, other)
            left += counted.came - came
    assert left >= 5 * len(args)


def test_arguments_more_and_less_and_of_other_names(case: Any) -> None:
    counted, args, options = case
    for given, named in (
        ((), {}), (args[:-1], options), ((*args, 1.0), options), ((*args, None), options),
        (args, {**options, "axis": 7}),
        (args, {**options, "approx": "bad"}), (args, {**options, "approx": 1}), (args, {**options, "nothing": 1.0}),
        (args, {**options, "approx": None}), (args, {**options, "approx": "".join(["ro", "ugh"])}),
        (args, {**options, "where": True}), (args, {**options, "casting": "no"}), (args, {"dtype": np.float64}),
    ):  # fmt: skip
        assert outcome(counted, *given, **named) == outcome(python, counted.door, *given, **named), (len(given), named)


@pytest.mark.parametrize("name", ["mish", "relu"])
def test_a_result_is_given_or_refused(name: str) -> None:
    counted = Counted(getattr(fastact, name), (X,), {"out": np.empty_like(X)})
    taken = 0
    for make in (lambda: others(np.zeros_like(X)), lambda: iter([(np.zeros_like(X),), (), (np.zeros_like(X), None)])):
        for one, two in zip(make(), make(), strict=True):
            came = counted.came
            assert outcome(counted, X, out=one) == outcome(python, counted.door, X, out=two)
            assert np.array_equal(*(np.asarray(a if not isinstance(a, tuple) else a[:1]) for a in (one, two)))
            taken += counted.came == came
    assert taken == 1, "a copy, and nothing else"
    fresh(counted.door)


def test_a_result_in_the_place_of_an_argument_or_across_it() -> None:
    counted = Counted(fastact.silu.backward, (G, X), {"out": np.empty_like(X)})
    want, size = python(counted.door, G, X), X.size
    for shift in (-size, 1 - size, -1, 0, 1, size - 1, size):
        for k in range(2):
            room = np.zeros(3 * size, np.float32)
            own = room[size : 2 * size].reshape(X.shape)
            own[...] = (G, X)[k]
            out = room[size + shift :][:size].reshape(X.shape)
            came = counted.came
            args = (own, X) if k == 0 else (G, own)
            assert counted(*args, out=out) is out and out.tobytes() == want.tobytes(), (shift, k)
            assert (counted.came > came) == (0 < abs(shift) < size), (shift, k)
    fresh(counted.door)


def test_names_in_any_order() -> None:
    door = fresh(fastact.threshold)
    out = np.empty_like(X)
    want = python(door, X, 0.5, -2.0, approx="fast").tobytes()
    for _ in range(3):
        door(X, threshold=0.5, value=-2.0, approx="fast", out=out)
        door(X, approx="fast", out=out, value=-2.0, threshold=0.5)
    before = door._known._seen
    for options in ({"approx": "fast", "out": out, "value": -2.0, "threshold": 0.5},
                    {"threshold": 0.5, "value": -2.0, "approx": "fast", "out": out}):  # fmt: skip
        out[...] = 0
        assert door(X, **options) is out and out.tobytes() == want
    assert door._known._seen == before
    assert door(X, approx="fast", out=out, threshold=-2.0, value=0.5).tobytes() != want
    assert door(X, approx="fast", out=out, threshold=0.5, value=-2.0).tobytes() == want
    fresh(door)


def test_the_tier_of_the_context() -> None:
    door = fresh(fastact.mish)
    want = {tier: python(door, X, approx=tier).tobytes() for tier in ("exact", "fast", "rough")}
    assert len({*want.values()}) == 3
    for _ in range(3):
        assert door(X).tobytes() == want["exact"]
        for tier in ("fast", "rough", "exact", True, False):
            with fastact.precision(tier) as own:
                assert door(X).tobytes() == want[own]
                assert door(X, approx="rough").tobytes() == want["rough"]
    fresh(door)


def test_names_of_tiers_made_at_run_time() -> None:
    door = fresh(fastact.mish)
    tiers = "exact fast rough".split()
    want = [python(door, X, approx=tier).tobytes() for tier in tiers]
    for _ in range(5):
        assert [door(X, approx=tier).tobytes() for tier in tiers] == want
    assert door._known._seen <= 5 and door._known._table._words[0] == 3
    for _ in range(arrays.MOST):
        assert [door(X, approx="".join([tier[:2], tier[2:]])).tobytes() for tier in tiers] == want
    assert door._known._table._words[0] == arrays.MOST_PASSING
    fresh(door)


def test_what_is_never_learned_is_looked_at_no_longer() -> None:
    door = fresh(fastact.mish)
    for k in range(MOST_IN_VAIN + 3):
        assert door._known.learns == (k <= MOST_IN_VAIN)
        door(X.T)
    fresh(door)


def test_parameters_are_those_that_were_given() -> None:
    door = fresh(fastact.leaky_relu)
    slopes = [0.0, -0.0, 0.5, -0.5, float(np.nextafter(0.5, 1)), 1e300, 1e-300]
    x = np.array([-2.0, -0.0, 0.0, 3.0])
    for _ in range(4):
        for slope in slopes:
            for again in (door(x, slope), door(x, negative_slope=slope)):
                with np.errstate(all="ignore"):
                    assert again.tobytes() == python(door, x, slope).tobytes()
    assert door(x, 0.0).tobytes() != door(x, -0.0).tobytes()
    for _ in range(4):  # what float32 does not hold is said every time
        with pytest.warns(RuntimeWarning, match="overflow"):
            door(X, 1e300)
    fresh(door)
    beta = fresh(fastact.softplus)
    for _ in range(3):
        beta(X, 2.0)
        with pytest.raises(ValueError, match="beta"):
            beta(X, -2.0)
    fresh(beta)


def test_floating_point_errors_are_reported() -> None:
    door = fresh(fastact.exp)
    x = np.array([1.0, 1000.0], np.float32)
    with np.errstate(all="ignore"):
        assert [door(x)[1] for _ in range(3)] == [np.inf] * 3 == [door(x, out=x.copy())[1] for _ in range(3)]
    assert type(type(door).__call__) is BUILTIN
    with pytest.warns(RuntimeWarning, match="overflow encountered in fastact_exp_exact"):
        door(x)
    out = np.zeros_like(x)
    before = sys.getrefcount(x), sys.getrefcount(out)
    with np.errstate(all="raise"):
        for _ in range(4):
            with pytest.raises(FloatingPointError, match="overflow"):
                door(x)
            with pytest.raises(FloatingPointError, match="overflow"):
                door(x, out=out)
    assert (sys.getrefcount(x), sys.getrefcount(out)) == before
    seen: list[tuple[str, int]] = []
    with np.errstate(all="call", call=lambda kind, flag: seen.append((kind, flag))):
        door(x)
    assert seen == [("overflow", 2)]
    with np.errstate(all="raise"):
        assert door(np.zeros(3, np.float32)).tolist() == [1, 1, 1]
    fresh(door)


def test_objects_are_neither_kept_nor_lost(case: Any) -> None:
    counted, args, options = case
    own = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
    watched = [*[a for a in [*own, *options.values()] if isinstance(a, np.ndarray)], X.dtype, np.ndarray]
    bad = [np.asfortranarray(own[0]), *own[1:]]
    counted(*own, **options)
    counted(*bad, **options)
    gc.collect()
    before = [sys.getrefcount(a) for a in watched]
    for _ in range(200):
        counted(*own, **options)
    assert [sys.getrefcount(a) for a in watched] == before
    if "out" in options:
        return
    found = counted(*own, **options)
    for new in found if isinstance(found, tuple) else (found,):
        assert new.flags.owndata and new.flags.writeable
    several, gone = isinstance(found, tuple), weakref.ref(found[0] if isinstance(found, tuple) else found)
    assert sys.getrefcount(found) == 2 + (not several)
    del found, new
    assert gone() is None


def test_doors_stay_what_they_are() -> None:
    door = fresh(fastact.mish)
    before = repr(door), door.__doc__, inspect.signature(door), type(door).__name__, door.parameters, door.nin
    for _ in range(3):
        door(X)
    assert type(type(door).__call__) is BUILTIN
    assert (repr(door), door.__doc__, inspect.signature(door), type(door).__name__, door.parameters, door.nin) == before
    assert isinstance(door, Door) and callable(door) and pickle.loads(pickle.dumps(door)) is door
    assert type(fastact.silu).__call__ is not type(door).__call__
    fresh(door)
    assert fastact.rrelu(X, rng=np.random.default_rng(1), return_slope=True)[1].shape == X.shape


def test_classes_stay_what_they_are() -> None:
    door = fresh(fastact.mish)
    plain = type(door)
    want = [python(d, X).tobytes() for d in (fastact.mish, fastact.silu)]
    for _ in range(3):
        door(X)
    kind = type(door)
    assert kind is not plain and issubclass(kind, plain) and kind.__name__ == plain.__name__

    class Below(kind):  # type: ignore[misc, valid-type]
        pass

    for other in (Below(REGISTRY["silu"]), kind(REGISTRY["silu"]), plain(REGISTRY["silu"])):
        assert [other(X).tobytes() for _ in range(4)] == [want[1]] * 4
    assert kind.__call__(door, X).tobytes() == want[0] == plain.__call__(door, X).tobytes()
    assert str(inspect.signature(door.__call__)) == "(*args, **options)"
    fresh(door)


def test_what_comes_while_something_is_learned_learns_nothing() -> None:
    door = fresh(fastact.mish)
    want = python(door, X).tobytes()
    with known._lessons:
        assert [door(X).tobytes() for _ in range(5)] == [want] * 5
        assert door._known._table is None and door._known.learns
        own = known._lessons
        known._forget()  # as in a process that was forked meanwhile
        door(X)
        assert door._known._table is not None
        known._lessons = own
    fresh(door)


def test_nothing_is_lost_where_learning_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    door = fresh(fastact.mish)
    want = python(door, X).tobytes()

    def fails() -> Any:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(arrays, "_make", fails)
    assert [door(X).tobytes() for _ in range(4)] == [want] * 4 and not door._known.learns
    fresh(door)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_arrays_that_warn_when_they_are_written_are_left_to_python() -> None:
    counted = Counted(fastact.mish, (X,), {"out": np.empty_like(X)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = np.broadcast_arrays(np.zeros((1, *X.shape), np.float32), np.zeros_like(X))[1][0]
        assert out.flags.c_contiguous and out.flags.num & 1 << 31
        came = counted.came
        counted(X, out=out)
    assert counted.came == came + 1 and out.tobytes() == python(counted.door, X).tobytes()
    fresh(counted.door)


@pytest.mark.parametrize("count", [None, 1, 2])
def test_large_arrays_get_help_unless_told_otherwise(count: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    door = fresh(fastact.relu)
    monkeypatch.setattr(threads, "_environment", lambda: 2)
    ufunc = door.ufunc("exact")
    x = rng.uniform(-1, 1, 50_000).astype(np.float32)
    small = x[:100].copy()
    limit = threads.limit(ufunc, x.dtype)
    monkeypatch.setattr(limit, "value", 1000)
    for _ in range(3):
        door(small)
    came: list[int] = []
    monkeypatch.setattr(threads, "call", lambda ufunc, args, options, x: came.append(x.size) or ufunc(*args, **options))
    with contextlib.nullcontext() if count is None else fastact.num_threads(count):
        want = np.maximum(x, np.float32(0))
        assert door(x).tobytes() == want.tobytes() and door(small).tobytes() == want[:100].tobytes()
    assert came == ([] if count == 1 else [50_000])
    assert door._known._table._words[0] == 1
    try:
        fastact.set_num_threads(1)
        door(x)
        assert len(came) == (count != 1)
        with fastact.num_threads(2):
            door(x)
        assert len(came) == (count != 1) + 1
    finally:
        fastact.set_num_threads(None)
    monkeypatch.undo()
    threads.single.value = (threads._environment() or 0) == 1
    fresh(door)


def test_a_kernel_that_is_measured_moves_its_limit() -> None:
    ufunc, dtype = fastact.celu.ufunc("rough"), np.dtype(np.float64)
    threads.loops.pop((ufunc, dtype), None)
    limit = threads.limit(ufunc, dtype)
    limit.value = threads.SMALLEST
    loop = threads._known(ufunc, dtype)
    loop.learn(100.0)
    assert limit.value == threads.SMALLEST
    loop.learn(0.5)
    assert limit.value == threads.WORTH * 2 and threads.limit(ufunc, dtype) is limit
    threads.loops.pop((ufunc, dtype))


def test_a_table_that_is_full_takes_no_more() -> None:
    door = fresh(fastact.elu)
    for k in range(arrays.MOST + 20):
        alpha = 1.0 + k / 64
        for _ in range(2):
            assert door(X, alpha).tobytes() == python(door, X, alpha).tobytes()
    table = door._known._table
    assert table._words[0] == arrays.MOST_PASSING and not table.full
    for tier in ("exact", "fast", "rough"):
        for dtype in (np.float16, np.float32, np.float64):
            for options in ({"approx": tier}, {"approx": tier, "out": np.empty(X.shape, dtype)}):
                with fastact.precision(tier):
                    for _ in range(2):
                        x = X.astype(dtype)
                        want = python(door, x, approx=tier).tobytes()
                        assert door(x, **options).tobytes() == want == door(x).tobytes()
    assert table.full and not door._known.learns and table._words[0] == arrays.MOST
    fresh(door)


def test_several_threads_call_and_learn() -> None:
    door = fresh(fastact.threshold)
    x = rng.uniform(-1, 1, 3000).astype(np.float32)
    wrong: list[Any] = []

    def work(seed: int) -> None:
        own = np.random.default_rng(seed)
        for k in range(400):
            value = float(own.integers(20))
            if not np.array_equal(door(x, 0.0, value), np.where(x > 0, x, np.float32(value))):
                wrong.append((seed, k))

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong and door._known._table._words[0] <= arrays.MOST
    fresh(door)


def test_where_objects_are_laid_out_otherwise_python_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = layout.Layout(flags=object.__basicsize__ + 44)
    assert layout.as_expected(layout.Layout()) and not layout.as_expected(moved)
    arrays._make.cache_clear()
    monkeypatch.setattr(arrays, "Layout", lambda: moved)
    door = fresh(fastact.silu)
    want = python(door, X).tobytes()
    assert all(door(X).tobytes() == want for _ in range(4))
    assert type(type(door).__call__) is not BUILTIN and not door._known.learns
    arrays._make.cache_clear()
    fresh(door)


def test_functions_that_are_more_than_a_kernel_are_called_in_python() -> None:
    for name in REGISTRY:
        for door in (fastact.FUNCTIONS[name], *fastact.FUNCTIONS[name]._doors.values()):
            usual = next(k for k in type(door).__mro__ if "__call__" in k.__dict__ and k.__module__ != "fastact.known")
            plain = next(k.__call__ for k in type(door).__mro__ if "__call__" in k.__dict__)
            if usual is not Door and type(plain) is not BUILTIN:
                assert not door._known.learns, name
