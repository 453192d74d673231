"""How many cores this process may use."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")


def available() -> int:
    """The cores that the process is allowed to run on, no more than its control group grants time for."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = granted()
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


@functools.cache
def granted(groups: Path = GROUPS, membership: Path = Path("/proc/self/cgroup")) -> float | None:
    """The cores' worth of time that Linux grants the control groups of this process; None if they have no limit."""
    limits = [limit for place in _places(groups, membership) for limit in (_limit(place),) if limit is not None]
    return min(limits, default=None)


def _places(groups: Path, membership: Path) -> Iterator[Path]:
    """Folders of the groups that this process is in, with those around them."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = ([*line.split(":", 2), "", ""])[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = groups / controllers if controllers else groups
        inner = root / path.lstrip("/")
        yield from (folder for folder in (inner, *inner.parents) if folder == root or root in folder.parents)
        if controllers:
            yield groups / "cpu"


def _limit(folder: Path) -> float | None:
    """Quota over period, as version 2 of the control groups writes it (cpu.max) or version 1."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        return int(quota) / int(period) if quota not in ("max", "-1") else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
