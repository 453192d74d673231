"""Calls like earlier ones: the compiled function takes and leaves what Python does, and gives the same bits."""

from __future__ import annotations

import ctypes
import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fastact
from fastact.cpu import threads
from fastact.cpu.entries import rows as direct
from fastact.cpu.rows import calls

SHAPE = 5, 48
rng = np.random.default_rng(7)
_, CHANNELS = SHAPE


def numbers(*shape: int) -> Any:
    return rng.uniform(0.5, 3, shape).astype(np.float32)


X, G, A, B, C, D = numbers(*SHAPE), numbers(*SHAPE), *(numbers(CHANNELS) for _ in range(4))
R = numbers(SHAPE[0])
NORMAL = fastact.rms_norm, fastact.layer_norm, fastact.batch_norm
CASES: dict[str, tuple[Any, Callable[..., Any], tuple[Any, ...], tuple[float, ...]]] = {
    "softmax": (fastact.softmax._calls, fastact.softmax, (X,), ()),
    "softmax_backward": (fastact.softmax._slopes, fastact.softmax.backward_from_output, (G, X), ()),
    "logsumexp": (fastact.logsumexp._calls, fastact.logsumexp, (X,), ()),
    "logsumexp_backward": (
        fastact.logsumexp._slopes, lambda x, g, **o: fastact.logsumexp.backward(g, x, **o), (X, R), ()
    ),
    "rms_norm": (fastact.rms_norm._calls, fastact.rms_norm, (X, A), (1e-3,)),
    "rms_norm without weight": (fastact.rms_norm._calls, fastact.rms_norm, (X, None), (1e-3,)),
    "layer_norm": (fastact.layer_norm._calls, fastact.layer_norm, (X, A, B), (1e-3,)),
    "layer_norm without weight": (fastact.layer_norm._calls, fastact.layer_norm, (X, None, B), (1e-3,)),
    "batch_norm": (fastact.batch_norm._calls, fastact.batch_norm, (X, A, B, C, D), (1e-3,)),
    "batch_norm without weight": (fastact.batch_norm._calls, fastact.batch_norm, (X, A, B, None, D), (1e-3,)),
}  # fmt: skip


@pytest.fixture(params=CASES)
def case(request: Any) -> Iterator[tuple[Any, Any, tuple[Any, ...], tuple[float, ...], Any]]:
    """A call as Python makes it and as it is compiled, its arrays and numbers, and what it gives."""
    known, function, arrays, eps = CASES[request.param]
    options = {"eps": eps[0]} if eps else {}
    made: list[direct.Call] = []
    known.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(direct, "_builtin", lambda call: made.append(call))
        want = [function(*arrays, **options).copy() for _ in range(2)]
        assert want[0].tobytes() == want[1].tobytes()
    known.clear()
    compiled = direct._builtin(made[0])
    assert compiled is not None and type(compiled) is type(len)
    yield made[0], compiled, arrays, eps, want[0]


class Same(np.ndarray):  # type: ignore[type-arg]
    pass


def _variants(a: Any) -> Iterator[Any]:
    """The same numbers in other arrays, and what is no such array."""
    yield a.copy()
    fixed = a.copy()
    fixed.flags.writeable = False
    yield fixed
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    wide[..., ::2] = a
    yield wide[..., ::2]
    raw = np.zeros(a.nbytes + 1, np.uint8)
    shifted = raw[1:].view(a.dtype).reshape(a.shape)
    shifted[...] = a
    yield shifted
    yield a.astype(np.float64)
    yield a.astype(np.float16)
    yield a.astype(">f4")
    yield a[None]
    yield a[..., 1:].copy()
    yield a.view(Same)
    yield np.asfortranarray(a)
    yield a.tolist()
    yield None
    yield 1.0
    yield a.reshape(-1)[0]
    yield np.array(1.0, a.dtype)


def outcome(call: Callable[..., Any], *args: Any) -> Any:
    found = call(*args)
    return None if found is None else (type(found), found.shape, found.dtype, found.tobytes())


def test_what_is_taken_and_what_is_left(case: Any) -> None:
    python, compiled, arrays, eps, want = case
    taken, left = 0, 0
    whole = outcome(python, *arrays, None, *eps)
    assert whole == outcome(compiled, *arrays, None, *eps) == (np.ndarray, want.shape, want.dtype, want.tobytes())
    for k, a in enumerate(arrays):
        for other in _variants(X if a is None else a):
            args = *arrays[:k], other, *arrays[k + 1 :], None, *eps
            found = outcome(python, *args)
            assert found == outcome(compiled, *args), (k, other)
            taken, left = taken + (found is not None), left + (found is None)
    assert taken >= len([a for a in arrays if a is not None]) and left >= 10 * len(arrays)


def test_a_result_is_given_or_refused(case: Any) -> None:
    python, compiled, arrays, eps, want = case
    for out in _variants(want):
        if out is None:
            continue
        before = out.tobytes() if isinstance(out, np.ndarray) else None
        found = python(*arrays, out, *eps)
        if found is not None:
            assert found is out and out.tobytes() == want.tobytes()
            out[...] = 0
        found_too = compiled(*arrays, out, *eps)
        assert (found is None) == (found_too is None), out
        if found_too is None:
            assert before is None or out.tobytes() == before
        else:
            assert found_too is out and out.tobytes() == want.tobytes()


def test_a_result_in_the_place_of_an_argument_or_across_it(case: Any) -> None:
    python, compiled, arrays, eps, want = case
    for k, a in enumerate(arrays):
        for shift in (-2, -1, 0, 1, 2, a.size - 1, a.size, -want.size, 1 - want.size) if a is not None else ():
            found = []
            for call in (python, compiled):
                room = np.zeros(2 * want.size + a.size, want.dtype)
                own = room[want.size : want.size + a.size].reshape(a.shape)
                own[...] = a
                out = room[want.size + shift :][: want.size].reshape(want.shape)
                given = call(*arrays[:k], own, *arrays[k + 1 :], out, *eps)
                assert given is None or (given is out and out.tobytes() == want.tobytes()), (k, shift)
                found.append(given is None)
            assert found[0] == found[1], (k, shift)
            if not -want.size < shift < a.size:
                assert not found[0], (k, shift)
            elif shift:
                assert found[0], (k, shift)


def test_numbers_are_floats_or_what_they_were(case: Any) -> None:
    python, compiled, arrays, eps, want = case
    if not eps:
        return
    for number in (None, 1e-3, 0.5, 0.0, 1, True, np.float32(1e-3), np.float64(1e-3), "x"):
        found = outcome(python, *arrays, None, number)
        assert found == outcome(compiled, *arrays, None, number), number
        assert (found is None) == (number is not None and type(number) is not float)
    assert outcome(compiled, *arrays, None, eps[0])[-1] == want.tobytes() != outcome(compiled, *arrays, None, 0.5)[-1]


def test_another_number_of_arguments_is_left_to_python(case: Any) -> None:
    _, compiled, arrays, eps, _ = case
    args = *arrays, None, *eps
    assert compiled(*args[:-1]) is compiled(*args, None) is compiled() is None


def test_objects_are_neither_kept_nor_lost(case: Any) -> None:
    _, compiled, arrays, eps, want = case
    own = [None if a is None else a.copy() for a in arrays]
    out = np.empty_like(want)
    watched = [a for a in (*own, out, want.dtype, None, np.ndarray) if a is not None]
    gc.collect()
    before = [sys.getrefcount(a) for a in watched]
    for _ in range(50):
        compiled(*own, None, *eps)
        compiled(*own, out, *eps)
        compiled(*own, None, "x") if eps else compiled("x", None)
    assert [sys.getrefcount(a) for a in watched] == before
    new = compiled(*own, None, *eps)
    assert sys.getrefcount(new) == 2 and new.flags.owndata and new.flags.writeable
    gone = weakref.ref(new)
    del new
    assert gone() is None


def test_what_a_description_names_stays_alive() -> None:
    """Arrays that stand for None, among them."""
    known: Any = fastact.batch_norm._calls
    known.clear()
    want = [fastact.batch_norm(X, A, B) for _ in range(3)]
    (compiled,) = known.values()
    assert type(compiled) is type(len)
    from fastact.channels import _constant

    _constant.cache_clear()
    gc.collect()
    filled = [np.full(CHANNELS, 7.0, np.float32) for _ in range(20)]
    assert compiled(X, A, B, None, None, None, None).tobytes() == want[0].tobytes() == want[2].tobytes()
    assert filled


def test_no_memory_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """For blocks of rows; the array of the result is given back."""
    monkeypatch.setattr(calls, "_memory", lambda: (failing, nothing))
    x = numbers(3, 3001)  # what is kept of a row needs room
    plan = calls.Plan(calls.kernel("softmax", "float32", "fast"), (x, np.empty_like(x)))
    compiled = direct._builtin(direct.Call(plan, (x,), np.empty_like(x)))
    assert compiled is not None
    out = np.empty_like(x)
    before = sys.getrefcount(out)
    for result in (None, out):
        with pytest.raises(MemoryError):
            compiled(x, result)
    del result
    assert sys.getrefcount(out) == before


_allocate = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_size_t)(lambda size: None)
_free = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda place: None)
failing, nothing = (ctypes.cast(f, ctypes.c_void_p).value for f in (_allocate, _free))


GRADIENTS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "rms_norm": (fastact.rms_norm, (G, X, A)),
    "rms_norm without weight": (fastact.rms_norm, (G, X, None)),
    "rms_norm of three axes": (fastact.rms_norm, (np.stack([G, X]), np.stack([X, G]), A)),
    "layer_norm": (fastact.layer_norm, (G, X, A)),
    "layer_norm without weight": (fastact.layer_norm, (G, X, None)),
    "batch_norm": (fastact.batch_norm, (G, X, A, B, C)),
    "batch_norm without weight": (fastact.batch_norm, (G, X, A, B, None)),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_again(name: str) -> None:
    """The bits are those of the first call, whatever arrays and numbers come between."""
    norm, arrays = GRADIENTS[name]
    norm._slopes.__init__()

    def bits(*args: Any, **options: Any) -> list[bytes]:
        return [a.tobytes() for a in norm.backward(*args, **options)]

    others = [None if a is None else 2 * a for a in arrays]
    fixed = [None if a is None else a.copy() for a in arrays]
    for a in fixed:
        if a is not None:
            a.flags.writeable = False
    usual = {} if norm is fastact.rms_norm else {"eps": 1e-5}
    want = [bits(*own, **options) for options in (usual, {"eps": 0.5}) for own in (arrays, others)]
    norm._slopes.__init__()
    norm.backward(*others, eps=0.25)
    found = [[bits(*own, **options) for options in ({}, {"eps": 0.5}) for own in (arrays, others)] for _ in range(3)]
    assert found == [want] * 3 and len({*map(tuple, want)}) == 4
    assert all(type(call) is type(len) for call in (*norm._slopes.first.values(), *norm._slopes.second.values()))
    assert bits(*fixed) == want[0]
    wide = [None if a is None else np.repeat(a, 2, -1)[..., ::2] for a in arrays]
    assert bits(*wide) == want[0]
    if norm is fastact.batch_norm:
        assert bits(*arrays[:4]) == bits(*arrays[:4], np.ones_like(A))
    out = np.empty_like(arrays[0])
    assert norm.backward(*arrays, out=out)[0] is out and out.tobytes() == want[0][0]
    for bad in (arrays[0][..., 1:], 1.0):
        with pytest.raises(ValueError, match="shape"):
            norm.backward(bad, *arrays[1:])
    assert bits(*arrays) == want[0]


def test_calls_that_threads_may_help_stay_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    known: Any = fastact.softmax._calls
    known.clear()
    monkeypatch.setattr(calls.Plan, "alone", lambda plan: False)
    x = numbers(7, 33)
    assert len({fastact.softmax(x).tobytes() for _ in range(3)}) == 1
    assert len(known) == 1 and all(type(call) is not type(len) for call in known.values())
    known.clear()


def test_calls_on_one_thread_are_measured() -> None:
    """Of which nothing is known but that they are large enough for a look."""
    known: Any = fastact.softmin._calls
    known.clear()
    x = numbers(threads.SMALLEST // 32, 32)
    with fastact.num_threads(1):
        assert len({fastact.softmin(x, approx="rough").tobytes() for _ in range(4)}) == 1
    (call,) = known.values()
    cost = calls.kernel("softmin", "float32", "rough").variant(32).loop.cost
    assert 0 < cost < np.inf and (type(call) is type(len)) == (cost * x.size < threads.WORTH)


def test_where_objects_are_laid_out_otherwise_python_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    direct._make.cache_clear()
    monkeypatch.setattr(direct, "Layout", lambda: direct_layout(flags=object.__basicsize__ + 44))
    assert direct._make() is None
    direct._make.cache_clear()


direct_layout = direct.Layout
