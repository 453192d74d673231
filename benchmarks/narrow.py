"""Numbers of 16 bits beside float32 and PyTorch: measured in the same rounds, and the part of the report about them."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from typing import Any

import alone
import numpy as np
import summary
from summary import LABELS, TIERS, Row

from fastact.accuracy import peers
from fastact.accuracy.measure import settings
from fastact.accuracy.timing import interleaved
from fastact.kernels import REGISTRY, Declaration

DTYPES = ("float16", "bfloat16")
SINGLE = "float32"
CLOCK, INTO = "clock", "into "
"""A number of cycles; calls with ``out=``."""
TORCH = "torch"
COMPARED = ("silu", "mish", "tanh", "gelu")
"""The functions that are to be so much quicker than PyTorch's."""
WANTED = 3.0


def formats() -> dict[str, np.dtype[Any]]:
    """The dtypes that NumPy has here; bfloat16 comes from another package."""
    found = {"float16": np.dtype(np.float16)}
    try:
        import ml_dtypes
    except ImportError:
        return found
    return {**found, "bfloat16": np.dtype(ml_dtypes.bfloat16)}


def compare(names: Iterable[str], seconds: float, progress: Callable[[str], None]) -> list[Row]:
    """A row for each function: nanoseconds per element by dtype and contestant; call it within `peers.one_thread`."""
    import comparing
    import limits

    rows = []
    for name in names:
        progress(f"{name} 16 bits")
        declaration = REGISTRY[name]
        x = comparing.data(declaration, SINGLE)
        calls: dict[str, Callable[[], object]] = {f"{SINGLE} {CLOCK}": comparing.clock()}
        for dtype, kind in {SINGLE: x.dtype, **formats()}.items():
            try:
                calls |= contestants(declaration, dtype, x.astype(kind))
            except Exception as reason:  # the others are worth having; what lacks is seen
                print(f"\n{name} {dtype} left out: {type(reason).__name__}: {reason}", file=sys.stderr)
        row: Row = {"function": name, "ns": {}, "kernel": {}, "copy": {}}
        for label, taken in interleaved(calls, seconds).items():
            dtype, _, who = label.partition(" ")
            passes = alone.PASSES if who.startswith(INTO) else 1
            each = round(taken.best * 1e9 / (x.size * passes), 4)
            if who == CLOCK:
                row["cycle"] = taken.best * 1e9 / limits.Clock.cycles
            elif who == INTO + summary.COPY:
                row["copy"][dtype] = each
            elif who.startswith(INTO):
                row["kernel"].setdefault(dtype, {})[who.removeprefix(INTO)] = each
            else:
                row["ns"].setdefault(dtype, {})[who] = each
        rows.append(row)
    return rows


def contestants(declaration: Declaration, dtype: str, x: Any) -> dict[str, Callable[[], object]]:
    """Our tiers on x; where x is of 16 bits also without a new array, a copy, and PyTorch if it has the function."""
    import comparing

    task = peers.Task(declaration, "value", x, settings(declaration, x.dtype))
    found = {f"{dtype} {tier}": peers.ours(task, tier).call for tier in TIERS}
    if dtype == SINGLE:
        return found
    room, given = np.empty_like(x), comparing.inputs(task)
    found |= {f"{dtype} {INTO}{tier}": alone.kernel(comparing.linked(task, tier), given, room) for tier in TIERS}
    found[f"{dtype} {INTO}{summary.COPY}"] = alone.copy(x, room)
    call = _torch(task, dtype)
    return {**found, f"{dtype} {TORCH}": call} if call else found


def _torch(task: peers.Task, dtype: str) -> Callable[[], object] | None:
    """PyTorch's function; None where it has none for this dtype."""
    expression = peers.expressions(task.declaration).get(TORCH)
    if expression is None:
        return None
    try:
        import torch
    except ImportError:
        return None
    given = torch.from_numpy(task.x.view(np.int16)).view(getattr(torch, dtype))
    numbers = dict(zip(task.names, map(float, task.parameters), strict=True))
    code = compile(expression, "torch", "eval")

    def call() -> object:
        return eval(code, {"torch": torch, "x": given, **numbers})

    try:
        call()
    except (RuntimeError, TypeError, NotImplementedError):  # not for this dtype, or not with numbers as parameters
        return None
    return call


def kernels(rows: list[Row]) -> list[Row]:
    """A row for each function and dtype of 16 bits, as `comparing` counts the loops of."""
    return [
        {"function": row["function"], "form": "value", "dtype": dtype, "kernel": taken, "cycle": row["cycle"]}
        for row in rows
        for dtype, taken in row["kernel"].items()
    ]


def with_floors(rows: list[Row], counted: list[Row]) -> None:
    """Add the limits of `kernels` to their rows."""
    known = {row["function"]: row for row in rows}
    for row in counted:
        known[row["function"]].setdefault("floor", {})[row["dtype"]] = row["floor"]


def copies(rows: list[Row]) -> dict[str, float]:
    """The least nanoseconds per element that a copy took, by dtype."""
    found: dict[str, float] = {}
    for row in rows:
        for dtype, taken in row["copy"].items():
            found[dtype] = min(taken, found.get(dtype, math.inf))
    return found


# -- what is said of it -----------------------------------------------------------------------------------------------
def figures(rows: list[Row]) -> list[Row]:
    """How many times as fast as PyTorch, and as float32 of the same tier."""
    if not rows:
        return []
    torch = [f for f in _ratios(rows, "fast", TORCH) if f[0]["function"] in COMPARED]
    title = f"16 bits fast against PyTorch: {', '.join(COMPARED)}"
    found = [summary.figure(title, f"{WANTED:g}", torch, WANTED)]
    for tier in TIERS:
        title = f"16 bits {tier} against float32 {tier}"
        found.append(summary.figure(title, "1", _ratios(rows, tier, SINGLE), 1.0, 1.0))
    return found


def kernel(row: Row, dtype: str) -> Row:
    """What of a row is about one dtype."""
    found = {"function": row["function"], "form": "value", "dtype": dtype}
    return found | {key: row[key][dtype] for key in ("floor", "kernel") if dtype in row.get(key, {})}


def _ratios(rows: list[Row], tier: str, peer: str) -> list[tuple[Row, str, str, float]]:
    found = []
    for row in rows:
        for dtype in DTYPES:
            ours = row["ns"].get(dtype, {})
            other = row["ns"].get(SINGLE, {}).get(tier) if peer == SINGLE else ours.get(peer)
            if tier in ours and other:
                found.append((kernel(row, dtype), tier, peer, other / ours[tier]))
    return found


def section(rows: list[Row], table: Callable[[list[str], list[list[str]]], list[str]]) -> list[str]:
    """The table of all functions."""
    if not rows:
        return []
    head = ["function"]
    for dtype in DTYPES:
        head += [f"{dtype} {tier}" for tier in TIERS] + [f"{LABELS[TORCH]} {dtype}", "fast is so many times as fast"]
    head.append("float32 fast")
    lines = []
    for row in rows:
        line = [row["function"]]
        for dtype in DTYPES:
            taken = row["ns"].get(dtype, {})
            line += [_shown(taken.get(who, math.nan)) for who in (*TIERS, TORCH)]
            line.append(_shown(taken.get(TORCH, math.nan) / taken.get("fast", math.nan), 2))
        lines.append([*line, _shown(row["ns"].get(SINGLE, {}).get("fast", math.nan))])
    said = "Nanoseconds per element, each with a new array, in the same rounds as float32 `fast` and PyTorch."
    return ["", "## 16 bits", "", said, "", *table(head, lines)]


def _shown(value: float, digits: int = 3) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}"
