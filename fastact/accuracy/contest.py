"""A function's value or gradient in our tiers and by peers: errors and times of all on the same data in one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from fastact.accuracy.measure import Errors, Truth
from fastact.accuracy.peers import Contestant, Task, Unavailable, ours, peer
from fastact.accuracy.timing import Timing, interleaved

Progress = Callable[[str, float], None]
"""Told what is being done and the share of it that is done."""


@dataclass(frozen=True)
class Row:
    """What one contestant achieved."""

    label: str
    library: str
    errors: Errors | None
    timing: Timing
    note: str = ""


@dataclass
class Contest:
    """The outcome for all contestants, and the time of copying the array."""

    task: Task
    truth: str = ""
    sample: int = 0
    copy: Timing = field(default_factory=lambda: Timing(0.0, 0.0, 0))
    rows: list[Row] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def nanoseconds(self, timing: Timing) -> tuple[float, float]:
        """Best and median per element."""
        return timing.best / self.task.x.size * 1e9, timing.median / self.task.x.size * 1e9

    def gigabytes(self, timing: Timing, arrays: int | None = None) -> float:
        """Gigabytes per second, those read and those written, at best."""
        return (arrays or self.task.arrays) * self.task.x.nbytes / timing.best / 1e9

    def share(self, timing: Timing) -> float:
        """Of the speed in bytes at which np.copyto runs."""
        return self.gigabytes(timing) / self.gigabytes(self.copy, arrays=2)


def _silent(what: str, share: float) -> None:
    return None


def hold(
    task: Task,
    tiers: Sequence[str],
    libraries: Sequence[str],
    sample: int,
    seconds: float,
    progress: Progress = _silent,
) -> Contest:
    """Let the tiers and the libraries compute a task.

    Errors are taken on a random ``sample`` of the data, times on all of it: about ``seconds`` are spent on them.
    Call it within `fastact.accuracy.peers.one_thread`.
    """
    contest = Contest(task)
    with np.errstate(all="ignore"):
        contestants = _gather(contest, tiers, libraries, progress)
        errors = _judge(contest, contestants, sample, progress)
        timings = _time(contest, contestants, seconds, progress)
    contest.rows = [Row(c.label, c.library, errors[c.label], timings[c.label], c.note) for c in contestants]
    return contest


def _gather(contest: Contest, tiers: Sequence[str], libraries: Sequence[str], progress: Progress) -> list[Contestant]:
    found: list[Contestant] = []
    total = len(tiers) + len(libraries)
    for place, (name, make) in enumerate([*((t, ours) for t in tiers), *((lib, peer) for lib in libraries)]):
        progress(f"{contest.task.form}: preparing {name}", place / total)
        try:
            found.append(make(contest.task, name))
        except Unavailable as reason:
            contest.skipped[f"fastact {name}" if make is ours else name] = str(reason)
    return found


def _judge(
    contest: Contest, contestants: list[Contestant], sample: int, progress: Progress
) -> dict[str, Errors | None]:
    task = contest.task
    places = np.arange(task.x.size)
    if sample < task.x.size:
        places = np.sort(np.random.default_rng(1).choice(task.x.size, sample, replace=False))
    progress(f"{task.form}: truth of {places.size:,} elements", 0.0)
    truth = Truth(task.declaration, task.x[places], task.parameters, "x" if task.form == "gradient" else None)
    contest.truth, contest.sample = truth.source, int(places.size)
    found = {}
    for place, contestant in enumerate(contestants):
        progress(f"{task.form}: errors of {contestant.label}", place / len(contestants))
        found[contestant.label] = truth.summary(contestant.result()[places])
    return found


def _time(contest: Contest, contestants: list[Contestant], seconds: float, progress: Progress) -> dict[str, Timing]:
    x = contest.task.x
    target = np.empty_like(x)
    calls: dict[str, Callable[[], object]] = {c.label: c.call for c in contestants}
    calls["np.copyto"] = lambda: np.copyto(target, x)
    timings = interleaved(calls, seconds, lambda share: progress(f"{contest.task.form}: timing", share))
    contest.copy = timings["np.copyto"]
    return timings
