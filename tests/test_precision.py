"""Precision tiers: ``approx=``, the context around a call, and what neither takes."""

from __future__ import annotations

import asyncio
import contextvars
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import fastact
from fastact.precision import ACCEPTED, TIERS, current, parse

X = np.linspace(-3, 3, 1001, dtype=np.float32)
TIER_OF = {"exact": "exact", False: "exact", "fast": "fast", True: "fast", "rough": "rough"}


class Seen:
    """Says which tier a call reached it with."""

    def __array_ufunc__(self, ufunc: Any, *_: Any, **__: Any) -> str:
        return str(ufunc.__name__.rpartition("_")[2])


def tier_of(**options: Any) -> str:
    return fastact.exp(Seen(), **options)  # type: ignore[no-any-return]


def test_the_tiers_differ() -> None:
    results = [fastact.exp(X, approx=tier) for tier in TIERS]
    assert len({r.tobytes() for r in results}) == len(TIERS)


@pytest.mark.parametrize(("approx", "tier"), TIER_OF.items())
def test_each_call(approx: Any, tier: str) -> None:
    assert tier_of(approx=approx) == tier
    assert fastact.exp(X, approx=approx).tobytes() == fastact.exp.ufunc(tier)(X).tobytes()
    assert fastact.exp.grad(X, approx=approx).tobytes() == fastact.exp.grad.ufunc(tier)(X).tobytes()
    assert ACCEPTED[approx] == parse(approx) == tier


def test_none_is_the_tier_of_the_context() -> None:
    assert tier_of() == tier_of(approx=None) == current() == "exact"
    with fastact.precision("rough"):
        assert tier_of() == tier_of(approx=None) == current() == "rough"


@pytest.mark.parametrize(("approx", "tier"), TIER_OF.items())
def test_contexts(approx: Any, tier: str) -> None:
    with fastact.precision(approx) as name:
        assert name == current() == tier_of() == tier
        assert fastact.mish(X).tobytes() == fastact.mish(X, approx=tier).tobytes()
    assert current() == "exact"


def test_contexts_nest_and_the_call_wins() -> None:
    with fastact.precision("fast"):
        with fastact.precision("rough"):
            assert tier_of() == "rough"
            assert tier_of(approx="exact") == "exact"
            assert tier_of(approx=False) == "exact"
            with fastact.precision(None):
                assert tier_of() == "rough"
            with fastact.precision(False):
                assert tier_of() == "exact"
        assert tier_of() == "fast"
        assert tier_of(approx="rough") == "rough"
    assert tier_of() == "exact"


def test_an_error_ends_the_context() -> None:
    with pytest.raises(ZeroDivisionError), fastact.precision("fast"):
        1 / 0  # noqa: B018
    assert current() == "exact"


def test_as_a_decorator() -> None:
    @fastact.precision("fast")
    def inner(depth: int) -> list[str]:
        return [tier_of(), *(inner(depth - 1) if depth else [])]

    assert inner(2) == ["fast"] * 3
    assert current() == "exact"


# -- threads and tasks ------------------------------------------------------------------------------------------------
def test_threads_see_only_their_own() -> None:
    entered, leave = threading.Event(), threading.Event()
    seen: list[str] = []

    def elsewhere() -> None:
        seen.append(tier_of())
        with fastact.precision("rough"):
            entered.set()
            assert leave.wait(30)
            seen.append(tier_of())

    with fastact.precision("fast"):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        assert entered.wait(30)
        assert tier_of() == "fast"
        leave.set()
        thread.join()
    assert seen == ["exact", "rough"]


def test_many_threads_at_once() -> None:
    def work(k: int) -> bool:
        tier = TIERS[k % 3]
        with fastact.precision(tier):
            return all(tier_of() == tier for _ in range(200))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(24)))


def test_a_context_carried_into_a_thread() -> None:
    with fastact.precision("fast"):
        here = contextvars.copy_context()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(here.run, tier_of).result() == "fast"


def test_tasks() -> None:
    async def task(tier: str, pause: float) -> list[str]:
        seen = [tier_of()]
        with fastact.precision(tier):  # type: ignore[arg-type]
            await asyncio.sleep(pause)
            seen.append(tier_of())
            seen.append(await asyncio.to_thread(tier_of))
        seen.append(tier_of())
        return seen

    async def main() -> list[list[str]]:
        with fastact.precision("rough"):
            return await asyncio.gather(task("fast", 0.02), task("exact", 0.01), task("rough", 0.0))

    assert asyncio.run(main()) == [["rough", tier, tier, "rough"] for tier in ("fast", "exact", "rough")]
    assert current() == "exact"


def test_helpers_use_the_tier_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.linspace(-3, 3, 1 << 21, dtype=np.float32)
    with fastact.num_threads(2), fastact.precision("rough"):
        result = fastact.exp(x)
    assert result.tobytes() == fastact.exp.ufunc("rough")(x).tobytes()


# -- what is no tier --------------------------------------------------------------------------------------------------
class Odd:
    """Equal to a tier's name, with its hash, but not one."""

    def __eq__(self, other: object) -> bool:
        return other == "fast"

    def __hash__(self) -> int:
        return hash("fast")


BAD = [
    "Exact", "fastest", "", "high", b"fast", 1, 0, 2, -1, 1.0, 0.0, 2.0, np.bool_(True), np.bool_(False), np.int64(1),
    np.float64(0), [1], ["fast"], ("fast",), {"fast"}, {}, object(), np.array("fast"), np.array([True]), np.nan, Odd(),
    ..., NotImplemented, 1j,
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_unknown_tiers(bad: Any) -> None:
    def context() -> None:
        with fastact.precision(bad):
            pass

    calls = [
        lambda: fastact.exp(X, approx=bad),
        lambda: fastact.exp(X[0], approx=bad),
        lambda: fastact.swish(X, 2.0, approx=bad),
        lambda: fastact.exp.grad(X, approx=bad),
        lambda: fastact.exp.ufunc(bad),
        context,
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"(?s)approx=.*'exact'.*'fast'.*'rough'"):
            call()
    assert current() == "exact"


def test_a_subclass_of_str_is_a_name() -> None:
    class Name(str):
        pass

    assert tier_of(approx=Name("fast")) == tier_of(approx=np.str_("fast")) == "fast"


def test_tiers_survive_pickling_of_what_they_name() -> None:
    for tier in TIERS:
        assert pickle.loads(pickle.dumps(fastact.mish.ufunc(tier))) is fastact.mish.ufunc(tier)
