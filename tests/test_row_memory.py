"""Functions of rows take no memory but that of the result and pieces of a fixed size, whatever is left out."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastact
from fastact import along

NAMES = ("softmax", "softmin", "log_softmax", "sparsemax")
Array = Any
rng = np.random.default_rng(0)
SHAPE = 1 << 7, 1 << 13
X, G = (rng.normal(0, 3, SHAPE).astype(np.float32) for _ in range(2))
KEEP = rng.random(SHAPE) < 0.7


def peak(call: Callable[[], Any]) -> int:
    """Bytes that a call takes at most at a time, once it has been compiled."""
    call()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("axis", (-1, 0))
@pytest.mark.parametrize("name", (*NAMES, "logsumexp"))
def test_what_is_left_out_takes_pieces_only(name: str, axis: int) -> None:
    function, out = getattr(fastact, name), np.empty_like(X)
    g = G
    if name == "logsumexp":
        g = np.ones(SHAPE[1 + axis], np.float32)
        assert peak(lambda: function(X, axis, where=KEEP)) < X.nbytes / 2
    else:
        y = function(X, axis, where=KEEP)
        assert peak(lambda: function(X, axis, out=out, where=KEEP)) < X.nbytes / 2
        assert peak(lambda: function.backward_from_output(G, y, axis, out=out, where=KEEP)) < X.nbytes / 2
        place = y.copy()
        assert peak(lambda: function.backward_from_output(G, place, axis, out=place, where=KEEP)) < X.nbytes / 2
        assert peak(lambda: function.backward(G, X, axis, out=out)) < X.nbytes / 2
        assert peak(lambda: function.backward(place, X, axis, out=place)) < X.nbytes / 2
    assert peak(lambda: function.backward(g, X, axis, out=out, where=KEEP)) < X.nbytes / 2


@pytest.mark.parametrize("name", NAMES)
def test_one_row_takes_no_more(name: str) -> None:
    function, out = getattr(fastact, name), np.empty_like(X)
    y = function(X, None, where=KEEP)
    assert peak(lambda: function(X, None, out=out, where=KEEP)) < X.nbytes / 2
    assert peak(lambda: function.backward_from_output(G, y, None, out=out, where=KEEP)) < X.nbytes / 2
    assert peak(lambda: function.backward(G, X, None, out=out)) < X.nbytes / 2
    one = np.float32(1)
    assert peak(lambda: fastact.logsumexp.backward(one, X, None, out=out, where=KEEP)) < X.nbytes / 2


def same(a: Array, b: Array) -> bool:
    return np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize("axis", (-1, 0, 1, (0, 2), (2, 1), None))
@pytest.mark.parametrize("name", (*NAMES, "logsumexp"))
def test_pieces_change_no_bit(name: str, axis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    function, shape = getattr(fastact, name), (5, 6, 7)
    x, g = (rng.normal(0, 3, shape).astype(np.float32) for _ in range(2))
    keep = rng.random(shape) < 0.6

    def results() -> list[Array]:
        y = function(x, axis, where=keep)
        if name == "logsumexp":
            return [y, function.backward(np.asarray(y), x, axis, where=keep)]
        place, other = y.copy(), g.copy()
        found = [y, function.backward(g, x, axis, where=keep), function.backward(g.astype(np.float64), x, axis)]
        found += [function.backward_from_output(g, y, axis, where=keep)]
        found += [function.backward_from_output(g, place, axis, out=place, where=keep)]
        found += [function.backward(other, x, axis, out=other, where=keep)]
        assert same(found[3], found[4]) and same(found[1], found[5]) and same(found[1], found[3])
        return found

    whole = results()
    for most in (1, 10, 50):
        monkeypatch.setattr(along, "PIECE", most)
        assert all(same(a, b) for a, b in zip(whole, results(), strict=True))


def test_pieces_cover_an_array_once() -> None:
    for shape in ((), (0, 3), (3, 1 << 18), (1 << 9, 3, 1 << 9), (5, (1 << 16) + 1)):
        for kept in ((), tuple(range(len(shape)))[-1:]):
            parts = list(along.pieces(shape, kept))
            for d, n in enumerate(shape):
                ends = sorted({(part[d].start, min(part[d].stop, n)) for part in parts})
                assert ends[0][0] == 0 and ends[-1][1] == n
                assert all(a[1] == b[0] for a, b in itertools.pairwise(ends))
                assert d not in kept or len(ends) == 1
            rest = [n for d, n in enumerate(shape) if d in kept]
            most = max(along.PIECE, math.prod(rest))
            assert all(math.prod(s.stop - s.start for s in part[:-1]) <= most for part in parts)


@pytest.mark.parametrize("name", (*NAMES, "logsumexp"))
def test_an_array_without_axes(name: str) -> None:
    function = getattr(fastact, name)
    for keep in (True, False):
        want = function(np.array([2.0]), where=np.array([keep]))
        assert same(function(np.array(2.0), None, where=np.array(keep)), want)
        slope = function.backward(np.ones(want.shape), np.array([2.0]), where=np.array([keep]))
        assert same(function.backward(np.array(1.0), np.array(2.0), None, where=np.array(keep)), slope)


def test_a_mask_in_the_place_of_the_result_is_read_first() -> None:
    room = np.zeros((4, 8), np.float32)
    keep = room.view(bool).reshape(-1)[:32].reshape(4, 8)
    keep[...] = KEEP[:4, :8]
    want = fastact.softmax(X[:4, :8], where=KEEP[:4, :8])
    assert same(fastact.softmax(X[:4, :8], out=room, where=keep), want)


def test_a_foreign_output_may_hold_anything_where_it_is_left_out() -> None:
    x, g, keep = X[:4, :50], G[:4, :50], KEEP[:4, :50]
    for name in NAMES:
        function = getattr(fastact, name)
        y = function(x, where=keep)
        want = function.backward_from_output(g, y, where=keep)
        for filled in (math.nan, 3.0):
            spoiled = np.where(keep, y, np.float32(filled))
            assert same(function.backward_from_output(g, spoiled, where=keep), want)
