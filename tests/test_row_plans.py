"""Calls of rows in C's order, which are prepared once for each shape: the bits and the errors are those of others."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import fastact
from fastact.cpu.entries import rows as direct
from fastact.cpu.rows import calls

SHAPE = 5, 48
rng = np.random.default_rng(3)


def numbers(*shape: int) -> Any:
    return rng.uniform(0.5, 3, shape).astype(np.float32)


X, G, W, B = numbers(*SHAPE), numbers(*SHAPE), numbers(SHAPE[1]), numbers(SHAPE[1])
CALLS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "softmax": (fastact.softmax, (X,)),
    "softmax_backward": (fastact.softmax.backward_from_output, (G, X)),
    "log_softmax": (fastact.log_softmax, (X,)),
    "logsumexp": (fastact.logsumexp, (X,)),
    "rms_norm": (fastact.rms_norm, (X, W)),
    "rms_norm without weight": (fastact.rms_norm, (X,)),
    "rms_norm_backward": (fastact.rms_norm.backward, (G, X, W)),
    "layer_norm": (fastact.layer_norm, (X, W, B)),
    "layer_norm without weight": (lambda x, b, **o: fastact.layer_norm(x, None, b, **o), (X, B)),
    "layer_norm_backward": (fastact.layer_norm.backward, (G, X, W)),
    "layer_norm_backward without weight": (fastact.layer_norm.backward, (G, X)),
    "batch_norm": (fastact.batch_norm, (X, B, W, W, B)),
    "batch_norm without weight": (fastact.batch_norm, (X, B, W)),
    "batch_norm_backward": (fastact.batch_norm.backward, (G, X, B, W, W)),
}


def bits(results: Any) -> list[bytes]:
    return [np.ascontiguousarray(r).tobytes() for r in (results if isinstance(results, tuple) else (results,))]


def apart(a: Any) -> Any:
    """The same numbers, not in C's order."""
    wide = np.empty((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)[..., ::2]
    wide[...] = a
    return wide


@pytest.mark.parametrize("tier", ("exact", "fast"))
@pytest.mark.parametrize("name", CALLS)
def test_other_layouts_have_the_same_bits(name: str, tier: str) -> None:
    call, args = CALLS[name]
    assert bits(call(*args, approx=tier)) == bits(call(*map(apart, args), approx=tier))
    several = [np.stack([a] * 3) if a.shape == SHAPE else a for a in args]
    if "batch" not in name and "backward" not in name:
        assert bits(call(*several, approx=tier))[0] == bits(call(*args, approx=tier))[0] * 3


@pytest.mark.parametrize("name", [name for name in CALLS if "backward" not in name and name != "logsumexp"])
def test_out_is_filled_or_refused(name: str) -> None:
    call, args = CALLS[name]
    want, out = call(*args), np.empty_like(X)
    assert call(*args, out=out) is out and bits(out) == bits(want)
    own = args[0].copy()
    assert call(own, *args[1:], out=own) is own and bits(own) == bits(want)
    room = np.empty(X.size + SHAPE[1], X.dtype)
    given, shifted = room[: X.size].reshape(SHAPE), room[SHAPE[1] :].reshape(SHAPE)
    given[...] = X
    before = room.tobytes()
    fixed = np.empty_like(X)
    fixed.flags.writeable = False
    for bad in (shifted, fixed):
        with pytest.raises(ValueError, match="out"):
            call(given, *args[1:], out=bad)
    if len(args) > 1:
        for source in (given, X):
            with pytest.raises(ValueError, match="out"):
                call(source, *([shifted[0]] * (len(args) - 1)), out=shifted)
    assert room[: X.size].tobytes() == before[: X.nbytes]


@pytest.mark.parametrize("name", [name for name in CALLS if name.endswith("backward") and name != "softmax_backward"])
def test_out_of_gradients_may_be_an_input(name: str) -> None:
    call, args = CALLS[name]
    want = bits(call(*args))
    for place in (None, 0, 1):
        given = [a.copy() for a in args]
        out = np.empty_like(X) if place is None else given[place]
        found = call(*given, out=out)
        assert found[0] is out and bits(found) == want


@pytest.mark.parametrize("function", (fastact.softmax, fastact.log_softmax, fastact.sparsemax))
def test_rows_of_the_first_axis(function: Any) -> None:
    for shape in ((48, 5), (7, 150), (70, 300), (1200, 40)):
        x = numbers(*shape)
        want, out = bits(function(x.T.copy()).T), np.empty_like(x)
        assert bits(function(x, 0)) == want
        assert function(x, 0, out=out) is out and bits(out) == want
        assert bits(function(x, 0, out=x)) == want


@pytest.mark.parametrize("name", CALLS)
def test_bfloat16_from_the_first_call_on(name: str) -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    call, args = CALLS[name]
    given = [a.astype(bfloat16) for a in args]
    want = bits(call(*map(apart, given)))
    for _ in range(2):
        assert bits(call(*given)) == want


def test_logsumexp_gives_a_number_of_one_row() -> None:
    found = fastact.logsumexp(X[0])
    assert isinstance(found, np.float32) and found == fastact.logsumexp(X)[0]


@pytest.mark.parametrize("axis", (0, -1))
def test_shapes_of_one_size_are_told_apart(axis: int) -> None:
    """And those of one length, before and after each other."""
    for shape in 2 * [(4, 60), (60, 4), (2, 120), (120, 2), (60, 8), (4, 120)]:
        x = numbers(*shape)
        want = bits(fastact.softmax(apart(x), axis))
        assert bits(fastact.softmax(x, axis)) == want, shape


def test_a_call_within_a_call_has_memory_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of two threads are."""
    first, second, found = numbers(6, 41), numbers(6, 41), []
    monkeypatch.setattr(direct, "_builtin", lambda call: None)
    want = [bits(fastact.softmax(first)), bits(fastact.softmax(second))]
    (part,) = calls.kernel("softmax", "float32", "exact").plain[first.size, 41].parts
    function = part.function

    def interrupted(*places: Any) -> None:
        if not found:
            found.append([b""])
            found[0] = bits(fastact.softmax(second))
        function(*places)

    monkeypatch.setattr(part, "function", interrupted)
    assert [bits(fastact.softmax(first)), *found] == want


def test_calls_of_several_threads_do_not_meet() -> None:
    arrays = [numbers(64, 100) for _ in range(8)]
    want = [bits(fastact.softmax(a)) for a in arrays]

    def often(a: Any) -> set[bytes]:
        return {bits(fastact.softmax(a))[0] for _ in range(100)}

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(often, arrays)) == [set(w) for w in want]


def test_no_more_than_so_many_shapes_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "MOST_PLANS", 3)
    kernel = calls.kernel("softmax", "float32", "exact")
    for length in range(1, 9):
        want = bits(fastact.softmax(X[:, :length].copy()))
        assert bits(fastact.softmax(X[:, :length])) == want
        assert len(kernel.plain) <= 3 and len(kernel.plans) <= 3


@pytest.mark.parametrize("tier", ("exact", "fast"))
@pytest.mark.parametrize("name", CALLS)
def test_later_calls_look_at_their_arguments(name: str, tier: str) -> None:
    """What was known of arrays like these does not hold for others: of other layouts, dtypes or shapes, read-only."""
    call, args = CALLS[name]
    want = bits(call(*args, approx=tier))
    assert bits(call(*args, approx=tier)) == want
    for place, a in enumerate(args):
        other = list(args)
        fixed = a.copy()
        fixed.flags.writeable = False
        swapped = a.astype(a.dtype.newbyteorder())
        for same in (apart(a), np.asfortranarray(a), fixed, swapped):
            other[place] = same
            assert bits(call(*other, approx=tier)) == want, place
        other[place] = a.astype(np.float64)
        found = call(*other, approx=tier)
        wide = call(*[b.astype(np.float64) for b in args], approx=tier)
        assert bits(found) == bits(wide), place
        if len(args) > 1:
            other[place] = a[..., :-1].copy()
            with pytest.raises(ValueError, match="shape"):
                call(*other, approx=tier)
        assert bits(call(*args, approx=tier)) == want


def test_later_calls_look_at_their_numbers() -> None:
    """Of norms, and at axes that only look like the ones before."""
    slopes, shifts = fastact.rms_norm.backward, fastact.layer_norm.backward
    small = X * np.float32(1e-40)  # of which the scale is no float32, if eps is nothing
    norms = [(fastact.rms_norm, (small,)), (fastact.layer_norm, (small,)), (slopes, (G, small)), (shifts, (G, small))]
    for call, args in norms:
        call(*args, axis=1)
        for eps in (1e-5, 0.0, 1e-300, 0.25, 1e-5):
            for tier in ("exact", "fast"):
                again = bits(call(*map(apart, args), eps=eps, approx=tier))
                assert bits(call(*args, eps=eps, approx=tier)) == again, (call, eps, tier)
        with pytest.raises(TypeError, match="eps"):
            call(*args, eps=False)
        with pytest.raises(TypeError):
            call(*args, axis=1.0)
    assert bits(fastact.rms_norm(X, eps=None)) == bits(fastact.rms_norm(X, eps=2.0**-23))
    for axis in (-1, 1, 0, None, True):
        assert bits(fastact.softmax(X, axis)) == bits(fastact.softmax(apart(X), axis)), axis
        assert bits(fastact.softmax(X, axis)) == bits(fastact.softmax(apart(X), axis)), axis
    with pytest.raises(ValueError, match="tier"):
        fastact.softmax(X, approx="other")
    for function in (fastact.softmax, fastact.logsumexp):
        function(X, 1)
        with pytest.raises(TypeError):
            function(X, 1.0)


@pytest.mark.parametrize("keepdims", (False, True))
def test_gradients_of_logsumexp_again(keepdims: bool) -> None:
    g = G[:, :1] if keepdims else G[:, 0].copy()
    want = fastact.logsumexp.backward(apart(g), apart(X), keepdims=keepdims)
    for _ in range(2):
        assert bits(fastact.logsumexp.backward(g, X, keepdims=keepdims)) == bits(want)
    with pytest.raises(ValueError, match="g has shape"):
        fastact.logsumexp.backward(G[0], X)


@pytest.mark.parametrize("norm", (fastact.rms_norm, fastact.layer_norm))
@pytest.mark.parametrize("shape", ((3, 5, 11), (2, 3, 2, 7)))
def test_gradients_of_more_axes_are_those_of_rows(norm: Any, shape: tuple[int, ...]) -> None:
    """Whether or not a matrix of as many rows was there before."""
    g, x, w = numbers(*shape), numbers(*shape), numbers(shape[-1])
    first, out = norm.backward(g, x, w), np.empty_like(x)
    again, filled = norm.backward(g, x, w), norm.backward(g, x, w, out=out)
    want = norm.backward(*(apart(a.reshape(-1, shape[-1])) for a in (g, x)), w)
    assert first[0].shape == shape and filled[0] is out
    assert bits(first) == bits(again) == bits(filled) == bits(want)


def test_moments_have_to_be_given() -> None:
    fastact.batch_norm(X, B, W), fastact.batch_norm.backward(G, X, B, W)
    for x in (X, apart(X)):
        for moments in ((None, W), (B, None)):
            with pytest.raises(TypeError, match="has to be given"):
                fastact.batch_norm(x, *moments)
            with pytest.raises(TypeError, match="has to be given"):
                fastact.batch_norm.backward(G, x, *moments)


def test_results_do_not_go_where_a_weight_of_the_same_shape_is() -> None:
    w = W.copy()
    for norm in (fastact.rms_norm, fastact.layer_norm):
        with pytest.raises(ValueError, match="shares memory"):
            norm(X[0], w, out=w)
    assert np.array_equal(w, W)
