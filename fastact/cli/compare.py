"""``compare``: errors and times of a function and its gradient in every tier, beside installed peers."""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict
from typing import Any

import numpy as np

from fastact.accuracy import peers
from fastact.accuracy.contest import Contest, Row, hold
from fastact.accuracy.measure import INSTALL, settings, typical
from fastact.accuracy.ulp import format_of, nearest
from fastact.cli import arguments, machine
from fastact.cli.output import Table, print_json, progress
from fastact.kernels import Declaration

DRAWN = 1_000_000


def run(options: argparse.Namespace) -> int:
    function = arguments.declaration(options.name)
    chosen = arguments.tiers(options.tiers)
    wanted = arguments.peers(options.peers)
    given = arguments.parameters(function, options.settings)
    x, source = _data(function, options)
    values = settings(function, x.dtype, given)
    contests = []
    headline = f"comparing {function.name} on {x.size:,} {x.dtype.name} elements"
    with peers.one_thread(), progress(headline) as report:
        for form in ("value", "gradient"):
            able = peers.candidates(function, form)
            task = peers.Task(function, form, x, values)
            libraries = [p for p in wanted if p in able]
            contests.append(hold(task, chosen, libraries, options.sample, options.seconds, report))
            if options.peers is not None:
                reason = "not among the function's peers" if form == "value" else "gives no gradient of it"
                contests[-1].skipped |= {p: reason for p in wanted if p not in able}
    if options.json:
        print_json(_content(function, source, contests))
    else:
        _print(function, source, contests)
    return 0


def _data(function: Declaration, options: argparse.Namespace) -> tuple[np.ndarray[Any, Any], str]:
    """The data in one dimension, and where they come from."""
    if options.input is None:
        dtype = arguments.dtype_name(options.dtype or "float32")
        x, words = typical(function, dtype, options.size or DRAWN)
        return x, f"drawn from {words}"
    wanted = None if options.dtype is None else arguments.dtype_name(options.dtype)
    array = arguments.load(options.input)
    source = f"{options.input}, {array.dtype.name} of shape {array.shape}"
    x = array.reshape(-1)[: options.size]
    if wanted is not None and wanted != x.dtype.name:
        form = format_of(wanted)
        x, source = nearest(x, form).astype(form.dtype), f"{source}, rounded to {wanted}"
    return x, source if x.size == array.size else f"{source}, the first {x.size:,}"


# -- the JSON object ------------------------------------------------------------------------------------------------
def _content(function: Declaration, source: str, contests: list[Contest]) -> dict[str, Any]:
    task = contests[0].task
    return {
        "function": function.name,
        "formula": function.formula,
        "parameters": dict(zip(task.names, task.parameters, strict=True)),
        "dtype": task.x.dtype.name,
        "size": task.x.size,
        "data": source,
        "threads": 1,
        "processor": machine.processor_name(),
        "versions": machine.versions() | peers.installed(),
        **{contest.task.form: _section(contest) for contest in contests},
    }


def _section(contest: Contest) -> dict[str, Any]:
    best, median = contest.nanoseconds(contest.copy)
    return {
        "truth": contest.truth,
        "sample": contest.sample,
        "copy": {
            "ns_per_element": best,
            "median_ns_per_element": median,
            "GB_per_s": contest.gigabytes(contest.copy, arrays=2),
        },
        "rounds": contest.copy.rounds,
        "rows": [_row(contest, row) for row in contest.rows],
        "skipped": contest.skipped,
    }


def _row(contest: Contest, row: Row) -> dict[str, Any]:
    best, median = contest.nanoseconds(row.timing)
    errors = asdict(row.errors) if row.errors else dict.fromkeys(("largest", "mean", "right", "worst"))
    return {
        "contestant": row.label,
        "library": row.library,
        "max_ulp": errors["largest"],
        "mean_ulp": errors["mean"],
        "correctly_rounded": errors["right"],
        "worst_input": errors["worst"],
        "ns_per_element": best,
        "median_ns_per_element": median,
        "GB_per_s": contest.gigabytes(row.timing),
        "share_of_copy": contest.share(row.timing),
        "note": row.note,
    }


# -- the tables -----------------------------------------------------------------------------------------------------
def _print(function: Declaration, source: str, contests: list[Contest]) -> None:
    task, first = contests[0].task, contests[0]
    print(f"{function.name}(x) = {function.formula}{task.described}")
    print(f"data    {task.x.size:,} {task.x.dtype.name} elements, {source}")
    where = "all" if first.sample == task.x.size else f"a random sample of {first.sample:,}"
    print(f"truth   {first.truth}" + (f"; errors on {where} of them" if first.rows and first.rows[0].errors else ""))
    print(f"times   {machine.processor_name()}, one thread, every call returns a new array")
    for contest in contests:
        print()
        print(_title(contest))
        _table(contest).print()
        for row in contest.rows:
            if row.note:
                print(f"{row.label}: {row.note}")
        for name, reason in contest.skipped.items():
            print(f"{peers.LABELS.get(name, name)} left out: {reason}")
    formula = [peers.LABELS[row.library] for row in first.rows if row.library in ("numpy", "numba")]
    if formula:
        print(f"\n{' and '.join(formula)} evaluate {function.numpy}, Numba in a loop over the elements.")
    if function.gradient_roots and any(row.errors for row in contests[-1].rows):
        roots = ", ".join(f"{root:.5g}" for root in function.gradient_roots)
        print(f"Next to a root of the gradient ({roots}) ULPs shrink without limit, so that errors grow in them.")


def _title(contest: Contest) -> str:
    best, _ = contest.nanoseconds(contest.copy)
    what = "value" if contest.task.form == "value" else "gradient, times an incoming gradient of 1"
    speed = contest.gigabytes(contest.copy, arrays=2)
    rounds = contest.copy.rounds
    return f"{what} (best and median of {rounds} rounds; np.copyto {best:.3f} ns/element, {speed:.1f} GB/s)"


def _table(contest: Contest) -> Table:
    known = any(row.errors for row in contest.rows)
    accuracy = ["max ULP", "mean", "correct", "worst input"] if known else ["<accuracy"]
    table = Table(["<", *accuracy, "ns/elem", "median", "GB/s", "of copy"])
    for row in contest.rows:
        best, median = contest.nanoseconds(row.timing)
        cells = [INSTALL]
        if row.errors:
            e = row.errors
            cells = [ulps(e.largest), ulps(e.mean), percent(e.right), number(e.worst, contest.task.x.dtype.name)]
        speed = [f"{best:.3f}", f"{median:.3f}", f"{contest.gigabytes(row.timing):.1f}"]
        table.rows.append([row.label, *cells, *speed, f"{contest.share(row.timing):.0%}"])
    return table


def ulps(error: float) -> str:
    """An error with the digits that matter."""
    if error < 10:
        return f"{error:.4f}"
    return f"{error:.1f}" if error < 10_000 else f"{error:.2g}"


def percent(share: float) -> str:
    """A share; 100% only for all of them."""
    return "100%" if share == 1 else f"{math.floor(share * 10_000) / 100:.2f}%"


def number(value: float, dtype: str) -> str:
    """The shortest decimal that stands for a value in its dtype."""
    if dtype == "bfloat16":
        return f"{value:g}"
    typed = np.dtype(dtype).type(value)
    return np.format_float_scientific(typed, trim="-") if _far(value) else str(typed)


def _far(value: float) -> bool:
    return value != 0 and math.isfinite(value) and not 1e-4 <= abs(value) < 1e6
