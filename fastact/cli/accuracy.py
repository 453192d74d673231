"""``accuracy``: the published bounds, and errors measured here and now where there are none."""

from __future__ import annotations

import argparse
import importlib
import math
from typing import Any

import numpy as np

from fastact.accuracy.measure import Truth, settings
from fastact.accuracy.peers import FORMS, Task, Unavailable, ours
from fastact.accuracy.samples import stratified
from fastact.cli.arguments import declaration, dtype_name
from fastact.cli.compare import number, percent, ulps
from fastact.cli.output import Progress, Table, print_json, progress
from fastact.kernels import REGISTRY, Declaration
from fastact.link.arithmetic import DTYPES
from fastact.precision import TIERS

POINTS = 4000


def run(options: argparse.Namespace) -> int:
    functions = [declaration(options.name)] if options.name else list(REGISTRY.values())
    found = [row for function in functions for row in published(function.name)]
    source = "published"
    if not found:
        names = functions[0].name if len(functions) == 1 else f"{len(functions)} functions"
        with progress(f"measuring {names}") as report:
            found = measured(functions, report)
        source = (
            f"measured on {POINTS:,} stratified inputs per row (all binades, the neighbourhoods of critical points); "
            "no bounds are published with this version"
        )
    if options.json:
        print_json({"source": source, "rows": found})
    else:
        _print(source, found)
    return 0


def published(name: str) -> list[dict[str, Any]]:
    """The rows of the certificates; none where this version comes without."""
    try:
        certificates = importlib.import_module("fastact.accuracy.certificates")
    except ModuleNotFoundError:
        return []
    return list(certificates.rows(name))


def measured(functions: list[Declaration], report: Progress) -> list[dict[str, Any]]:
    """Errors of the values and gradients in all dtypes and tiers."""
    rows = []
    for place, function in enumerate(functions):
        for dtype in _dtypes():
            sample = stratified(dtype, POINTS, 0, function.critical, function.domain)
            parameters = settings(function, dtype)
            for form in FORMS:
                report(f"{function.name} {form} {dtype}", place / len(functions))
                truth = Truth(function, sample, parameters, "x" if form == "gradient" else None)
                for tier in TIERS:
                    row = _row(Task(function, form, sample, parameters), tier, truth)
                    rows.append({"function": function.name, "form": form, "dtype": dtype, "tier": tier, **row})
    return rows


def _row(task: Task, tier: str, truth: Truth) -> dict[str, Any]:
    try:
        with np.errstate(all="ignore"):
            errors = truth.summary(ours(task, tier).result())
    except Unavailable as reason:
        return {"truth": f"not available: {reason}"}
    found: dict[str, Any] = {"max_ulp": None, "correctly_rounded": None, "worst_input": None, "truth": truth.source}
    if errors is not None:
        found |= {"max_ulp": errors.largest, "correctly_rounded": errors.right, "worst_input": errors.worst}
    return found


def _dtypes() -> list[str]:
    try:
        dtype_name("bfloat16")
    except Exception:
        return [name for name in DTYPES if name != "bfloat16"]
    return list(DTYPES)


def _print(source: str, rows: list[dict[str, Any]]) -> None:
    print(source)
    truths: dict[str, list[str]] = {}
    for row in rows:
        if "truth" in row:
            truths.setdefault(row["truth"], []).append(row["dtype"])
    for truth, dtypes in truths.items():
        print(f"truth for {', '.join(dict.fromkeys(dtypes))}: {truth}")
    print()
    head = ["<function", "<form", "<dtype", "<tier"]
    if truths:
        table = Table([*head, "max ULP", "correct", "worst input"])
        table.rows = [[*_named(row), *_measured_cells(row)] for row in rows]
    else:
        table = Table([*head, "<bound", "<largest error", "near roots", "misrounded", "inputs", "worst input"])
        table.rows = [[*_named(row), *_published_cells(row)] for row in rows]
    table.print()


def _named(row: dict[str, Any]) -> list[str]:
    return [row[key] for key in ("function", "form", "dtype", "tier")]


def _measured_cells(row: dict[str, Any]) -> list[str]:
    if row.get("max_ulp") is None:
        return ["", "", ""]
    return [ulps(row["max_ulp"]), percent(row["correctly_rounded"]), number(row["worst_input"], row["dtype"])]


def _published_cells(row: dict[str, Any]) -> list[str]:
    near, misrounded = row["near_roots"], row["misrounded"]
    return [
        row["bound"],
        _error(row["max_error"], row["unit"]),
        "" if near is None else _error(near, row["unit"]),
        "" if misrounded is None else f"{misrounded:,}",
        f"{row['inputs']:,}",
        number(row["worst_input"], row["dtype"]),
    ]


def _error(error: float, unit: str) -> str:
    """An error with its unit; relative ones as powers of two."""
    if unit == "ulp":
        return f"{error:.5f} ULP" if error < 10 else f"{ulps(error)} ULP"
    return f"2^{math.log2(error):.2f} relative" if error > 0 else "0"
