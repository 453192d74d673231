"""Sets of bit patterns of 16 bits, as intervals that few operations test."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from fastact.link.trial import COUNT

SIGN, SIZE = 0x8000, 0x7FFF
MOST = 64
"""Runs of which it is worth finding out whether few intervals hold them."""

Run = tuple[int, int, int]
"""Neighbouring bit patterns, first and last, for which a condition holds (1), does not (0) or may do either (2)."""


@dataclass(frozen=True)
class Test:
    """A condition on stored bits: whether they, or without their sign, are in some intervals; or are in none."""

    cost: float
    unsigned: bool
    inverted: bool
    intervals: tuple[tuple[int, int], ...]


def runs_of(label: Any) -> list[Run]:
    """An array of labels of all bit patterns as runs."""
    import numpy as np

    starts = [0, *(int(i) + 1 for i in np.flatnonzero(label[1:] != label[:-1]))]
    return [(a, b - 1, int(label[a])) for a, b in zip(starts, [*starts[1:], COUNT], strict=True)]


def best_test(runs: list[Run]) -> Test | None:
    """The cheapest test of a condition given by runs; None where it takes more than two intervals."""
    if len(runs) > MOST:
        return None
    folded = _folded(runs)
    tests = [
        _intervals([(a, b, k if k == 2 else k ^ inverted) for a, b, k in given], unsigned, bool(inverted))
        for given, unsigned in ((runs, False), (folded, True))
        if given is not None
        for inverted in (0, 1)
    ]
    return min((test for test in tests if test is not None), key=lambda test: test.cost, default=None)


def _folded(runs: list[Run]) -> list[Run] | None:
    """Runs of bit patterns without their signs; None where a sign decides. No pattern has a sign any more."""
    cuts = sorted({a & SIZE for a, _, _ in runs} | {0})
    result = []
    for a, b in zip(cuts, [*cuts[1:], SIGN], strict=True):
        kinds = {k for low, high, k in runs for start in (a, a + SIGN) if low <= start <= high} - {2}
        if len(kinds) > 1:
            return None
        result.append((a, b - 1, kinds.pop() if kinds else 2))
    return [*result, (SIGN, COUNT - 1, 2)]


def _intervals(runs: list[Run], unsigned: bool, inverted: bool) -> Test | None:
    """The intervals that hold all runs of kind 1 and none of kind 0."""
    decided = [run for run in runs if run[2] != 2]
    kinds = [k for _, _, k in decided]
    if len(set(kinds)) < 2:
        return Test(0.0, unsigned, inverted if 1 not in kinds else not inverted, ())
    found, cost = [], float(unsigned) * 0.5
    first = next(i for i in range(len(decided)) if kinds[i] and not kinds[i - 1])
    decided = decided[first:] + decided[:first]
    for _, group in itertools.groupby(zip(decided, [decided[-1], *decided[:-1]], strict=True), lambda pair: pair[0][2]):
        pairs = list(group)
        if not pairs[0][0][2]:
            continue
        low, high = pairs[0][0][0], pairs[-1][0][1]
        before = pairs[0][1][1]
        after = decided[(decided.index(pairs[-1][0]) + 1) % len(decided)][0]
        least, most = (before + 1) % COUNT, (after - 1) % COUNT
        if _between(SIGN, least, low):
            low = SIGN
        elif _between(SIZE, high, most):
            high = SIZE
        cost += 1.0 if low == high or low == SIGN or high == SIZE else 2.0
        found.append((low, high))
    return Test(cost + len(found) - 1, unsigned, inverted, tuple(found)) if len(found) <= 2 else None


def _between(x: int, low: int, high: int) -> bool:
    """Whether a pattern is met on the way up from one to another, round the corner if need be."""
    return (x - low) % COUNT <= (high - low) % COUNT
