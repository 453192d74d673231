"""Benchmarks whose contestants take turns: one group of pytest-benchmark is measured at once, then shown one by one."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import errors
import pytest

from fastact.accuracy.timing import readings

Job = Callable[[], Any]
Make = Callable[[Any], Job | None]
"""From a contestant to its call; None where it cannot take part."""
LIBRARIES = ("torch", "scipy")
"""Contestants that may not be installed."""


class Replay:
    """A clock that shows readings taken before, so that the benchmark's statistics are those of interleaved rounds."""

    def __init__(self) -> None:
        self.now, self.readings = 0.0, iter(())

    def time(self) -> float:
        return self.now

    def __call__(self) -> None:
        self.now += next(self.readings, 0.0)


REPLAY = Replay()
"""To be given as the timer: ``@pytest.mark.benchmark(timer=REPLAY.time)``."""
_taken: dict[tuple[Any, ...], dict[Any, list[float]]] = {}


def in_turns(
    benchmark: Any,
    request: Any,
    keys: tuple[str, ...],
    contestant: str,
    make: Make,
) -> None:
    """Let the benchmark show the readings of this test's contestant.

    ``keys`` name the arguments that make a case, ``contestant`` the one that tells who computes it, ``make`` gives
    the call of a contestant of this case. All that this session runs of a case are measured together, at the first."""
    given = request.node.callspec.params
    if benchmark.disabled:
        benchmark(make(given[contestant]))
        return
    case = request.node.originalname, *(given[key] for key in keys)
    if case not in _taken:
        calls = {}
        for item in request.session.items:
            other = getattr(getattr(item, "callspec", None), "params", None)
            if other and (item.originalname, *(other.get(key) for key in keys)) == case:
                call = make(other[contestant])
                if call is not None:
                    calls[other[contestant]] = call
        seconds = float(request.config.getoption("benchmark_max_time"))
        _taken[case] = readings(calls, seconds * len(calls))
    taken = _taken[case][given[contestant]]
    REPLAY.readings = iter(taken)
    benchmark.pedantic(REPLAY, rounds=len(taken))


def beside_libraries(
    benchmark: Any,
    request: Any,
    keys: tuple[str, ...],
    name: str,
    group: str,
    make: Callable[[str], Job],
    size: int,
    true: Any,
) -> None:
    """Measure the contestant ``name`` in turns with the others of the group, without libraries that are not installed;
    its time is told for each of ``size`` elements and its error against the ``true`` result of the first ones."""
    if name in LIBRARIES:
        pytest.importorskip(name)

    def part(one: str) -> Job | None:
        return make(one) if one not in LIBRARIES or find_spec(one) else None

    benchmark.group = group
    in_turns(benchmark, request, keys, "name", part)
    benchmark.extra_info["max_ulp"] = errors.of_array(make(name)(), true)
    if benchmark.stats is not None:
        benchmark.extra_info["nanoseconds_per_element"] = benchmark.stats.stats.min / size * 1e9
