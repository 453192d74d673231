"""Array work of oracles in chunks, in this process or in several."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import numpy as np

from fastact.accuracy.ulp import Doubles

CHUNK = 4096
"""Elements per chunk."""
WORTH = 32 * CHUNK
"""Elements from which several processes pay: below it their start takes longer than the work."""
AHEAD = 4
"""Chunks handed out per process before the first of them comes back."""

Progress = Callable[[int, int], None]
"""Called with (elements done, elements in all)."""


class Task(NamedTuple):
    """What is to be computed of each chunk: the arguments of an oracle, and of its ``part``."""

    formula: str
    parameters: tuple[str, ...]
    identities: bool
    method: str
    wrt: str | None
    options: tuple[object, ...]


def in_chunks(task: Task, columns: list[Doubles], jobs: int, progress: Progress | None) -> tuple[Doubles, ...]:
    """Apply the task to all chunks of the columns, each of one common length or of length 1, and join the results."""
    length = max(column.size for column in columns)
    starts = range(0, length, CHUNK)
    if not length:
        return tuple(np.empty(0) for _ in range(2))
    pieces: dict[int, tuple[Doubles, ...]] = {}
    done = 0
    for start, result in _results(task, columns, starts, jobs if length >= WORTH else 1):
        pieces[start] = result
        done += min(CHUNK, length - start)
        if progress is not None:
            progress(done, length)
    return tuple(np.concatenate(parts) for parts in zip(*(pieces[start] for start in starts), strict=True))


def _results(task: Task, columns: list[Doubles], starts: range, jobs: int) -> Iterator[tuple[int, tuple[Doubles, ...]]]:
    def chunk(start: int) -> list[Doubles]:
        return [column if column.size == 1 else column[start : start + CHUNK] for column in columns]

    if jobs <= 1:
        for start in starts:
            yield start, run(task, chunk(start))
        return
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    waiting = iter(starts)
    running: dict[Future[tuple[Doubles, ...]], int] = {}
    with ProcessPoolExecutor(min(jobs, len(starts)), mp_context=context) as pool:
        while True:
            for start in islice(waiting, AHEAD * jobs - len(running)):
                running[pool.submit(run, task, chunk(start))] = start
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()


@lru_cache(maxsize=64)
def _oracle(formula: str, parameters: tuple[str, ...], identities: bool) -> object:
    from fastact.accuracy.oracle import Oracle

    return Oracle(formula, parameters, identities)


def run(task: Task, columns: list[Doubles]) -> tuple[Doubles, ...]:
    """The task on one chunk."""
    oracle = _oracle(task.formula, task.parameters, task.identities)
    part: Callable[..., tuple[Doubles, ...]] = oracle.part  # type: ignore[attr-defined]
    return part(task, columns)
