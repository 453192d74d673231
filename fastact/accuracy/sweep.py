"""Audits over all float32 inputs, or over many of float64: interruptible, resumable, in several threads.

A sweep is divided into units of work. What has been done is kept in a checkpoint, which names the audit by its digest:
the checkpoint of another kernel, and a damaged one, are left aside.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from dataclasses import replace as replace_fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastact.accuracy.audit import Audit, Floor
from fastact.accuracy.certificates import replace
from fastact.accuracy.samples import stratified
from fastact.accuracy.ulp import Floats, format_of, from_bits

BLOCK = 1 << 15
"""Inputs judged at a time; their errors stay in the processor's cache."""
MOST_OPEN = 1 << 25
"""Inputs left to ball arithmetic that are kept by tier; a kernel with more of them is broken, and they are counted."""
MOST_STORED = 1 << 16
"""Of these, as many are stored in a checkpoint; a sweep with more starts anew rather than go on."""
FORMAT = "fastact sweep 4"

Progress = Callable[[int, int], None]
"""Called with (inputs done, inputs in all)."""
Resolver = Callable[[Floats, Floats], tuple[NDArray[np.bool_], NDArray[np.bool_]]]
"""Tells of inputs and exact results which ones an argument settles, and which of these are right."""


class Source(Protocol):
    """Inputs in units of work."""

    dtype: str
    units: int
    total: int
    exhaustive: bool
    label: str

    def blocks(self, unit: int) -> Iterator[Floats]:
        """The inputs of a unit."""


class AllFloat32:
    """The 2^32 float32 numbers, from ``start`` to ``stop`` in units of 2^24 bit patterns."""

    dtype = "float32"
    size = 1 << 24

    def __init__(self, start: int = 0, stop: int = 256) -> None:
        self.start, self.units = start, stop - start
        self.total = self.units * self.size
        self.exhaustive = self.total == 1 << 32
        self.label = f"float32 patterns {start} to {stop} times 2^24"

    def blocks(self, unit: int) -> Iterator[Floats]:
        first = (self.start + unit) * self.size
        base = np.arange(BLOCK, dtype=np.uint32)
        for offset in range(first, first + self.size, BLOCK):
            yield (base + np.uint32(offset)).view(np.float32)


class SampledFloat64:
    """Random float64 numbers: half of them of all binades with equal weight, a quarter uniform in [-20, 20], a quarter
    log-uniform; and in the first unit the neighbourhoods that matter."""

    dtype = "float64"
    size = 1 << 20
    exhaustive = False

    def __init__(self, total: int, seed: int, critical: Sequence[float], domain: tuple[float, float]) -> None:
        self.units = max(1, -(-total // self.size))
        self.total = self.units * self.size
        self.seed, self.critical, self.domain = seed, tuple(critical), domain
        self.label = f"{self.total} of float64, seed {seed}, critical {self.critical}, domain {domain}"

    def blocks(self, unit: int) -> Iterator[Floats]:
        if unit == 0:
            x = stratified("float64", self.size, self.seed, self.critical, self.domain)
            yield from np.split(x, self.size // BLOCK)
            return
        random = np.random.default_rng([self.seed, unit])
        quarter = BLOCK // 4
        for _ in range(self.size // BLOCK):
            bits = random.integers(0, 1 << 64, 2 * quarter, dtype=np.uint64)
            near = random.uniform(-20.0, 20.0, quarter)
            small = np.exp2(random.uniform(-54.0, 10.0, quarter)) * random.choice([-1.0, 1.0], quarter)
            yield np.concatenate([bits.view(np.float64), near, small])


@dataclass
class Tally:
    """Errors summed up."""

    count: int = 0
    total: float = 0.0
    largest: float = 0.0
    witness: int = 0
    beyond_half: int = 0

    def add(self, errors: NDArray[np.float64], x: Floats) -> None:
        self.count += errors.size
        self.total += float(errors.sum())
        place = int(errors.argmax())
        if errors[place] > self.largest or self.count == errors.size:
            self.largest = float(errors[place])
            self.witness = int(x[place : place + 1].view(format_of(x.dtype).bits)[0])
        self.beyond_half += int(np.count_nonzero(errors > 0.5))

    def merge(self, other: Tally) -> None:
        if other.largest > self.largest or not self.count:
            self.largest, self.witness = other.largest, other.witness
        self.count += other.count
        self.total += other.total
        self.beyond_half += other.beyond_half


@dataclass
class Outcome:
    """What a sweep found of one tier: errors elsewhere and next to each root, and what is left to ball arithmetic."""

    regions: list[Tally]
    open: list[Floats] = field(default_factory=list)
    """The inputs that ball arithmetic has to settle, at most MOST_OPEN of them."""
    open_count: int = 0
    settled: int = 0
    """Inputs settled by an argument, and how many of their results are wrong."""
    wrong: int = 0
    wrong_bits: list[int] = field(default_factory=list)
    """Bits of one of the inputs with wrong results."""
    suspects: list[int] = field(default_factory=list)
    """Bits of the inputs with the largest errors of all blocks, from sources that are not exhaustive."""

    def merge(self, other: Outcome) -> None:
        for mine, theirs in zip(self.regions, other.regions, strict=True):
            mine.merge(theirs)
        self.open += other.open if self.open_count < MOST_OPEN else []
        self.open_count += other.open_count
        self.settled += other.settled
        self.wrong += other.wrong
        self.wrong_bits = self.wrong_bits or other.wrong_bits
        self.suspects += other.suspects

    def to_json(self) -> dict[str, Any]:
        stored = asdict(replace_fields(self, open=[]))
        kept = [part.view(format_of(part.dtype).bits).tolist() for part in self.open]
        return {**stored, "open": kept if self.open_count <= MOST_STORED else None}

    @staticmethod
    def from_json(stored: dict[str, Any], dtype: str) -> Outcome:
        regions = [Tally(**region) for region in stored["regions"]]
        return Outcome(**{**stored, "regions": regions, "open": [inputs_of(part, dtype) for part in stored["open"]]})


class Sweep:
    """An audit over a source. ``resolver`` is asked about the exact results that the audit leaves open."""

    def __init__(
        self, audit: Audit, source: Source, floors: Sequence[Floor] = (), resolver: Resolver | None = None,
        checkpoint: Path | None = None, say: Callable[[str], None] = lambda text: None,
    ) -> None:  # fmt: skip
        self.audit, self.source, self.floors, self.resolver = audit, source, floors, resolver
        self.checkpoint = checkpoint
        label = "\n".join((FORMAT, audit.graph.text(), source.label, str(floors), ",".join(audit.tiers)))
        self.digest = hashlib.sha256(label.encode()).hexdigest()
        self.done: set[int] = set()
        self.outcomes = self._fresh()
        if checkpoint is not None:
            self._resume(checkpoint, say)

    def run(self, jobs: int = 1, progress: Progress | None = None) -> dict[str, Outcome]:
        """Do the units that are left, then return the outcome of each tier.

        Raises:
            KeyboardInterrupt: after the checkpoint has been brought up to date.
        """
        left = [unit for unit in range(self.source.units) if unit not in self.done]
        stop = threading.Event()
        with ThreadPoolExecutor(jobs) as pool:
            waiting = iter(left)
            running: dict[Future[dict[str, Outcome] | None], int] = {}
            try:
                while True:
                    while len(running) < jobs + 1 and (unit := next(waiting, None)) is not None:
                        running[pool.submit(self._unit, unit, stop)] = unit
                    if not running:
                        break
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        self._finish(running.pop(future), future.result())
                    if progress is not None:
                        progress(len(self.done) * self.source.total // self.source.units, self.source.total)
            finally:
                stop.set()
                self.save()
        return self.outcomes

    def forget(self) -> None:
        """Remove the checkpoint, once the results are elsewhere."""
        if self.checkpoint is not None:
            self.checkpoint.unlink(missing_ok=True)

    def _fresh(self) -> dict[str, Outcome]:
        return {tier: Outcome([Tally() for _ in range(1 + len(self.floors))]) for tier in self.audit.tiers}

    def _unit(self, unit: int, stop: threading.Event) -> dict[str, Outcome] | None:
        outcomes = self._fresh()
        errors = [np.empty(BLOCK) for _ in self.audit.tiers]
        for x in self.source.blocks(unit):
            if stop.is_set():
                return None
            self.audit.errors(x, errors)
            for tier, found in zip(self.audit.tiers, errors, strict=True):
                self._reduce(tier, np.abs(found, out=found), x, outcomes[tier])
        return outcomes

    def _reduce(self, tier: str, errors: NDArray[np.float64], x: Floats, outcome: Outcome) -> None:
        if np.isnan(errors.max()):
            unknown = np.isnan(errors)
            self._open(tier, x[unknown], outcome)
            errors[unknown] = 0.0
        for region, floor in zip(outcome.regions[1:], self.floors, strict=True):
            inside = floor.holds(x)
            if inside.any():
                region.add(errors[inside], x[inside])
                errors, x = errors[~inside], x[~inside]
        if x.size:
            outcome.regions[0].add(errors, x)
            if not self.source.exhaustive:
                place = int(errors.argmax())
                outcome.suspects.append(int(x[place : place + 1].view(format_of(x.dtype).bits)[0]))

    def _open(self, tier: str, x: Floats, outcome: Outcome) -> None:
        if tier == "exact" and self.resolver is not None:
            settled, right = self.resolver(x, self.audit.results(tier, x))
            outcome.settled += int(np.count_nonzero(settled))
            wrong = x[settled & ~right]
            outcome.wrong += wrong.size
            outcome.wrong_bits += wrong[: 1 - len(outcome.wrong_bits)].view(format_of(x.dtype).bits).tolist()
            x = x[~settled]
        if x.size:
            outcome.open.append(x)
            outcome.open_count += x.size

    # -- checkpoints ----------------------------------------------------------------------------------------------
    def _finish(self, unit: int, outcomes: dict[str, Outcome] | None) -> None:
        if outcomes is None:
            return
        for tier, outcome in outcomes.items():
            self.outcomes[tier].merge(outcome)
        self.done.add(unit)
        if self.checkpoint is not None and (len(self.done) % 8 == 0 or len(self.done) == self.source.units):
            self.save()

    def save(self) -> None:
        """Write the checkpoint, if there is one to be kept."""
        if self.checkpoint is not None:
            state = {
                "format": FORMAT,
                "digest": self.digest,
                "done": sorted(self.done),
                "outcomes": {tier: outcome.to_json() for tier, outcome in self.outcomes.items()},
            }
            replace(self.checkpoint, json.dumps(state))

    def _resume(self, checkpoint: Path, say: Callable[[str], None]) -> None:
        try:
            state = json.loads(checkpoint.read_text(encoding="utf-8"))
            if state["format"] != FORMAT or state["digest"] != self.digest:
                say(f"checkpoint {checkpoint} is of another kernel or another sweep; starting anew")
                return
            if any(stored["open"] is None for stored in state["outcomes"].values()):
                say(f"checkpoint {checkpoint} left out the many inputs that are open; starting anew")
                return
            outcomes = {t: Outcome.from_json(stored, self.source.dtype) for t, stored in state["outcomes"].items()}
            done = {int(unit) for unit in state["done"]}
            if set(outcomes) != set(self.audit.tiers) or not done <= set(range(self.source.units)):
                raise ValueError("wrong tiers or units")
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            say(f"checkpoint {checkpoint} is damaged ({error}); starting anew")
            return
        self.outcomes, self.done = outcomes, done


def inputs_of(bits: Sequence[int], dtype: str) -> Floats:
    """The floats of bit patterns."""
    return from_bits(np.array(bits, dtype=np.uint64), dtype)
