"""When threads that help with large calls are called, and when they are left alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fastact
from fastact.cpu import pool, threads

X = np.linspace(-30, 30, 40_000).astype(np.float32)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Helpers for short calls, of pieces that are many."""
    for name, value in {"WORTH": 0, "SHARE": 1, "SHORTEST": 64, "LONGEST": 256, "SMALLEST": 64}.items():
        monkeypatch.setattr(threads, name, value)
    monkeypatch.setattr(threads, "loops", {})
    monkeypatch.setattr(pool, "current", pool.Pool())
    with fastact.num_threads(2):
        yield


def test_helpers_rest_in_proportion_to_what_they_cost() -> None:
    helpers = pool.Pool()
    for cost in (0.5e6, 3e6, 30e6):
        for call in (0.4e6, 2e6, 70e6):
            lost = spent = 0.0
            for _ in range(2000):
                spent += call
                if helpers.admits(call):
                    lost += cost
                    helpers.judge(-cost)
                else:
                    helpers.went_alone(call)
            assert lost <= spent / pool.REST + cost
            helpers.judge(1.0)
            assert helpers.admits(0.0), "a gain is no reason to rest"


def test_long_calls_ask_at_once_for_helpers_that_kept_short_ones() -> None:
    helpers = pool.Pool()
    helpers.judge(-1e6)
    assert not helpers.admits(0.5e6) and not helpers.admits(0.9 * pool.REST * 1e6) and helpers.admits(pool.REST * 1e6)
    helpers.judge(-1e15)
    assert helpers.admits(pool.LONGEST_REST) and not helpers.admits(0.9 * pool.LONGEST_REST)


class Clock:
    """What time it is, and how much of it the calling thread had the processor, in calls that are made up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.busy = 0
        monkeypatch.setattr(threads, "perf_counter_ns", lambda: self.now)
        monkeypatch.setattr(threads, "thread_time_ns", lambda: self.busy)

    def passes(self, time: int, busy: int) -> None:
        self.now += time
        self.busy += busy


@pytest.mark.parametrize(
    ("name", "helped", "worked", "processor", "waited", "gained"),
    [
        ("half each", 0.5, 500, 500, 0, 500),
        ("none came", 0.0, 1000, 1000, 0, 0),
        ("all slower than ever before", 0.5, 900, 900, 0, 900),
        ("memory keeps both up", 0.5, 1000, 1000, 0, 1000),
        ("one piece, and put aside", 0.1, 900, 900, 3000, -2900),
        ("put aside in a long call", 0.4, 60_000, 60_000, 3000, 37_000),
        ("on the caller's core", 0.5, 3500, 500, 0, -2500),
        ("did it all on the caller's core", 1.0, 1500, 0, 0, -500),
        ("a clock of processor time that stands still", 0.5, 600, 0, 0, 400),
    ],
)
def test_what_helpers_gained(
    eager: None, monkeypatch: pytest.MonkeyPatch, name: str, helped: float, worked: int, processor: int, waited: int,
    gained: int,
) -> None:  # fmt: skip
    """A call that takes one thread 1000 ns at best, as long as nothing happens that the name tells of."""
    clock, ufunc = Clock(monkeypatch), fastact.mish.ufunc("fast")
    work, told = pool.Job.work, []
    loop = threads.loops[ufunc, X.dtype] = threads._Loop(threads._known(ufunc, X.dtype).address)
    loop.learn(1000 / X.size)

    def opening(self: Any, job: Any, *_: Any) -> None:  # and what helpers take in the course of it
        pieces = job.buffer[threads.PIECES]
        if helped:
            job.buffer[threads.PIECES] = round(helped * pieces)
            work(job)
            job.buffer[threads.NEXT], job.buffer[threads.PIECES] = round(helped * pieces), pieces

    def working(job: Any) -> int:
        clock.passes(worked, processor)
        return work(job)

    monkeypatch.setattr(pool.Pool, "open", opening)
    monkeypatch.setattr(pool.Job, "work", working)
    monkeypatch.setattr(pool.Job, "wait", lambda job: clock.passes(waited, 0))
    monkeypatch.setattr(pool.Pool, "judge", lambda self, time: told.append(time))
    y = threads.call(ufunc, (X,), {}, X)
    assert y.tobytes() == ufunc(X).tobytes()
    assert told == [pytest.approx(gained, abs=0.02 * max(1000, worked))]


def test_calls_that_go_without_helpers_pay_off_what_these_cost(eager: None, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, opened, work = Clock(monkeypatch), [], pool.Job.work
    monkeypatch.setattr(pool.Pool, "open", lambda self, job, *_: opened.append(job))

    def working(job: Any) -> int:
        clock.passes(1000, 1000)
        return work(job)

    def slow(*args: Any) -> Any:
        clock.passes(1000, 1000)
        return fastact.mish.ufunc("fast")(*args)

    loop = threads.loops[slow, X.dtype] = threads._Loop(threads._known(fastact.mish.ufunc("fast"), X.dtype).address)
    loop.learn(900 / X.size)
    monkeypatch.setattr(pool.Job, "work", working)
    slow.nin, slow.nargs, slow.__name__ = 1, 2, "slow"  # type: ignore[attr-defined]
    pool.current.rest = 4500.0
    tried = []
    for _ in range(8):
        opened.clear()
        threads.call(slow, (X,), {}, X)  # type: ignore[arg-type]
        tried.append(bool(opened))
    assert tried == [False] * 4 + [True] * 4


def test_rows_that_go_without_helpers_pay_off_what_these_cost(eager: None, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, opened = Clock(monkeypatch), []
    monkeypatch.setattr(pool.Pool, "open", lambda self, job, *_: opened.append(job))
    loop = threads._Loop(0)
    loop.learn(1.0)
    pool.current.rest = 4500.0
    tried = []
    for _ in range(8):
        job = pool.Job(None, [0] * threads.PIECES + [10], None)
        monkeypatch.setattr(pool.Job, "work", lambda job: clock.passes(1000, 1000) or job.buffer[threads.PIECES])
        opened.clear()
        threads.share(job, loop, 900, 1, 2)
        tried.append(bool(opened))
    assert tried == [False] * 4 + [True] * 4
