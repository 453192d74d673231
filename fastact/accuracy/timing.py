"""Times of several calls measured side by side, so that what disturbs one disturbs all."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

SHORTEST = 1e-4
"""Seconds that one reading should take at least; quicker calls are repeated."""
FEWEST, MOST = 5, 200
"""Rounds."""


@dataclass(frozen=True)
class Timing:
    """Seconds per call."""

    best: float
    median: float
    rounds: int


def repetitions(call: Callable[[], object]) -> int:
    """How often a call is repeated in one reading."""
    count = 1
    while True:
        started = time.perf_counter()
        for _ in range(count):
            call()
        taken = time.perf_counter() - started
        if taken >= SHORTEST:
            return count
        count = max(2 * count, int(count * SHORTEST / max(taken, 1e-7)))


def interleaved(
    calls: Mapping[str, Callable[[], object]],
    seconds: float,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Timing]:
    """The best and the median time of each call, over rounds in which all of them take turns in random order."""
    taken = readings(calls, seconds, progress)
    return {name: Timing(min(times), statistics.median(times), len(times)) for name, times in taken.items()}


def readings(
    calls: Mapping[str, Callable[[], object]],
    seconds: float,
    progress: Callable[[float], None] | None = None,
) -> dict[str, list[float]]:
    """Seconds per call, one reading for each round, in which all calls take turns in random order.

    Each reading follows an untimed call of the same kind, which fetches its data into the caches. About ``seconds``
    are spent in all; ``progress`` is told the share that is done.
    """
    counts = {name: repetitions(call) for name, call in calls.items()}
    found: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    shuffle = random.Random(0).shuffle
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    started, clock = time.perf_counter(), time.perf_counter
    try:
        for turn in range(MOST):
            spent = clock() - started
            if turn >= FEWEST and spent >= seconds:
                break
            if progress is not None:
                progress(min(1.0, max(spent / seconds if seconds else 1.0, turn / MOST)))
            shuffle(order)
            for name in order:
                call, count = calls[name], range(counts[name])
                call()
                before = clock()
                for _ in count:
                    call()
                found[name].append((clock() - before) / counts[name])
    finally:
        if collecting:
            gc.enable()
    return found
