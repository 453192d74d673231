"""Every function beside every peer on 65,536 elements: times in interleaved rounds, errors on a sample, floors.

The results are plain rows for the report (`scripts/report.py`): nanoseconds per element and the largest error in ULP
by contestant, and for our kernels the time of their loops alone and the least time that this processor allows.
"""

from __future__ import annotations

import functools
import math
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import alone
import from_output
import numba_user
import numpy as np
from limits import Clock, Instruction, Rates, hot_loop

from fastact.accuracy import peers
from fastact.accuracy.measure import Truth, settings
from fastact.accuracy.timing import interleaved
from fastact.accuracy.ulp import format_of
from fastact.cpu.compile import assembly
from fastact.cpu.target import host
from fastact.kernels import REGISTRY, Declaration
from fastact.link.forms import Kernel, kernel, usual_form
from fastact.precision import TIERS

SIZE = 65_536
SAMPLE = 2_000
"""Elements on which errors are taken."""
FORMS = ("value", "gradient")
DTYPES = ("float32", "float64")
COPY, CLOCK = "copy", "clock"
"""np.copyto of as many bytes as the function reads and writes; a number of cycles."""

Row = dict[str, Any]
Progress = Callable[[str], None]


def functions() -> list[str]:
    """The functions of one array."""
    return [name for name, declaration in REGISTRY.items() if type(declaration) is Declaration]


def data(declaration: Declaration, dtype: str) -> Any:
    """Uniform numbers in [-10, 10], or in what of that the function is defined for."""
    low, high = declaration.domain
    return np.random.default_rng(0).uniform(max(low, -10), min(high, 10), SIZE).astype(dtype)


def places() -> Any:
    """Which elements errors are taken on."""
    return np.sort(np.random.default_rng(1).choice(SIZE, SAMPLE, replace=False))


def linked(task: peers.Task, tier: str) -> Kernel:
    """The kernel that computes a task: the one of constant parameters, where there is one."""
    form = peers.FORMS[task.form]
    usual = usual_form(task.declaration, form)
    if task.parameters == settings(task.declaration, task.x.dtype):
        form = usual
    return kernel(task.declaration, form, task.x.dtype.name, tier)


def inputs(task: peers.Task) -> tuple[Any, ...]:
    """What that kernel is given: the parameters only where they are not constants of it."""
    given = (task.x,) if task.form == "value" else (np.ones_like(task.x), task.x)
    return (*given, *task.parameters) if len(linked(task, TIERS[0]).graph.inputs) > len(given) else given


def compare(names: Iterable[str], seconds: float, progress: Progress, dtypes: Iterable[str] = DTYPES) -> list[Row]:
    """A row for each function, form and dtype; call it within `peers.one_thread`."""
    rows = []
    for dtype in dtypes:
        for form in FORMS:
            for name in names:
                progress(f"{name} {form} {dtype}")
                try:
                    rows.append(one(name, form, dtype, seconds))
                except Exception as reason:  # the others are worth having; what lacks is seen
                    print(f"\n{name} {form} {dtype} left out: {type(reason).__name__}: {reason}", file=sys.stderr)
    return rows


def candidates(declaration: Declaration, form: str) -> list[str]:
    """The libraries that are installed and have the function."""
    found = peers.candidates(declaration, form)
    more = form == "value" and declaration.name in numba_user.EXPRESSIONS and "numba" in peers.installed()
    return [*found, *(["numba"] if more and "numba" not in found else [])]


def peer(task: peers.Task, library: str) -> peers.Contestant:
    """A library's version of a task; that of Numba as its user writes it, not as NumPy's.

    Raises:
        Unavailable: the library cannot do it for this dtype or with these parameters.
    """
    name, dtype = task.declaration.name, task.x.dtype.name
    usual = task.parameters == settings(task.declaration, task.x.dtype)
    if library != "numba" or not usual or dtype not in DTYPES or name not in numba_user.EXPRESSIONS:
        return peers.peer(task, library)
    loop, x = numba_user.loop(name, dtype), task.x
    loop(x[:1])
    return peers.Contestant("Numba", "numba", lambda: loop(x), np.asarray)


def one(name: str, form: str, dtype: str, seconds: float) -> Row:
    declaration = REGISTRY[name]
    task = peers.Task(declaration, form, data(declaration, dtype), settings(declaration, dtype))
    contestants, skipped = {}, {}
    for tier in TIERS:
        contestants[tier] = peers.ours(task, tier)
    for library in candidates(declaration, form):
        try:
            contestants[library] = peer(task, library)
        except peers.Unavailable as reason:
            skipped[library] = str(reason)
    chosen = places()
    truth = Truth(declaration, task.x[chosen], task.parameters, None if form == "value" else "x")
    errors = {label: truth.summary(c.result()[chosen]) for label, c in contestants.items()}
    for label in from_output.labels(task):
        contestants[label] = from_output.ours(task, label)
        given = from_output.truth(task, chosen)
        errors[label] = given.summary(contestants[label].result()[chosen]) if given else None
    room = np.empty_like(task.x)
    calls: dict[str, Callable[[], object]] = {label: c.call for label, c in contestants.items()}
    calls |= {f"kernel {tier}": alone.kernel(linked(task, tier), inputs(task), room) for tier in TIERS}
    back = from_output.labels(task)
    for label in back:
        calls[f"kernel {label}"] = alone.kernel(from_output.linked(task, label), from_output.inputs(task), room)
    source = np.resize(task.x, SIZE * task.arrays // 2)
    sink = np.empty_like(source)
    calls |= {COPY: lambda: np.copyto(sink, source), f"kernel {COPY}": alone.copy(source, sink), CLOCK: clock()}
    best = {label: t.best * 1e9 for label, t in interleaved(calls, seconds).items()}
    passes = {label: alone.PASSES if label.startswith("kernel ") else 1 for label in best}
    nanoseconds = {label: taken / (SIZE * passes[label]) for label, taken in best.items()}
    return {
        "function": name,
        "form": form,
        "dtype": dtype,
        "ns": {label: round(nanoseconds[label], 4) for label in (*contestants, COPY)},
        "ulp": {label: e.largest for label, e in errors.items() if e is not None},
        "kernel": {label: round(nanoseconds[f"kernel {label}"], 4) for label in (*TIERS, *back)},
        "copied": round(nanoseconds[f"kernel {COPY}"], 4),
        "cycle": best[CLOCK] / Clock.cycles,
        "digest": {tier: linked(task, tier).graph.digest() for tier in TIERS},
        "skipped": skipped,
        "from_output": from_output.keepers(task) if back else [],
    }


@functools.cache
def clock() -> Clock:
    return Clock()


# -- floors -----------------------------------------------------------------------------------------------------------
_loops: dict[tuple[str, str], list[Instruction]] = {}


def compiled(row: Row, label: str) -> Kernel:
    """The kernel of ours that a row has under a label."""
    kind = format_of(row["dtype"]).dtype
    declaration = REGISTRY[row["function"]]
    task = peers.Task(declaration, row["form"], np.empty(0, kind), settings(declaration, kind))
    return from_output.linked(task, label) if label in from_output.TIERS else linked(task, label)


def loops(row: Row) -> dict[str, list[Instruction]]:
    """The hot loops of a row's kernels by label."""
    found = {}
    for label in row["kernel"]:
        made = compiled(row, label)
        key = made.graph.digest(), made.evidence.digest() if made.evidence else ""
        if key not in _loops:
            try:
                text = assembly(made.graph, made.evidence, varying=made.varying)
                _loops[key] = hot_loop(text, "body_uniform" if "\nbody_uniform:" in text else "body")
            except ValueError:  # then only memory bounds it
                _loops[key] = []
        found[label] = _loops[key]
    return found


def all_loops(rows: list[Row]) -> list[dict[str, list[Instruction]]]:
    """The hot loops of all rows; nothing is timed here, so all cores may compile."""
    wanted = [{key: row[key] for key in ("function", "form", "dtype", "kernel")} for row in rows]
    context = multiprocessing.get_context("spawn")  # a fork would inherit threads in the middle of things
    with ProcessPoolExecutor(os.cpu_count(), context) as pool:
        return list(pool.map(loops, wanted, chunksize=4))


def copies(rows: list[Row]) -> dict[tuple[str, str], float]:
    """The least nanoseconds per element that a copy of as many bytes took, by dtype and form."""
    found: dict[tuple[str, str], float] = {}
    for row in rows:
        key = row["dtype"], row["form"]
        found[key] = min(row["copied"], found.get(key, math.inf))
    return found


def floors(row: Row, found: dict[str, list[Instruction]], rates: Rates, memory: float) -> None:
    """Add to a row the least nanoseconds per element of its kernels, and what bounds them: a copy takes ``memory``."""
    row["floor"] = {}
    for label, loop in found.items():
        count = host().target().width(compiled(row, label).graph)
        bounds = {what: cycles / count * row["cycle"] for what, cycles in rates.floors(loop).items()}
        bounds["memory"] = memory
        what = max(bounds, key=lambda key: bounds[key])
        counts = {"instructions": len(loop), "stack": sum(one.spilled for one in loop)}
        counts["doubles"] = sum(one.mnemonic.endswith("pd") for one in loop)
        row["floor"][label] = {"ns": round(bounds[what], 4), "by": what, **counts}
