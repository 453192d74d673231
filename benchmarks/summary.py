"""What the measured rows come to: the fastest peer of comparable error, ratios, shares of the limit, figures.

Rows are those of `comparing.compare`. Nothing is measured here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from statistics import geometric_mean
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
TIERS = ("exact", "fast", "rough")
COPY = "copy"
FROM_OUTPUT = ("exact_output", "fast_output")
"""Our gradients from the output."""
YARDSTICK = "numpy exp"
COMPARABLE = 4.0
"""ULP up to which a peer's error counts as comparable with that of ``fast``."""
SVML = ("svml", "svml_fast")
ELEMENTARY = (
    "exp", "exp2", "expm1", "log", "log2", "log1p", "reciprocal", "rsqrt", "sqrt", "tanh", "erf", "erfc", "sigmoid",
    "logsigmoid", "logit",
)  # fmt: skip
SIX = ("exp", "log", "sigmoid", "silu", "tanh", "erf")
"""What all libraries have made quick."""

Row = dict[str, Any]


def measured() -> list[tuple[Path, Row]]:
    """The results of whole reports, one for each processor, the latest first."""
    every = ((path, json.loads(path.read_text())) for path in RESULTS.glob("*.json"))
    return sorted((found for found in every if "rates" in found[1]), key=lambda found: found[1]["date"], reverse=True)


def others(content: Row) -> list[Row]:
    """The results of other processors."""
    return [other for _, other in measured() if any(other[k] != content[k] for k in ("processor", "target"))]


def shown() -> Path | None:
    """The latest result of a whole report."""
    return next((path for path, _ in measured()), None)


def with_svml(rows: list[Row], svml: dict[str, Any] | None) -> None:
    """Add to the rows what Numba with SVML and mkl_umath took in their own environment.

    They are scaled by what NumPy's exp takes here over what it took there, in the same rounds as each of them."""
    if svml:
        _scaled(rows, svml["rows"], _yardsticks(rows))


def with_svml_rows(content: Row) -> None:
    """The same of functions of rows and gates."""
    if content.get("svml"):
        _scaled(content["rowwise"], content["svml"].get("rowwise", []), _yardsticks(content["rows"]))


def _yardsticks(rows: list[Row]) -> dict[str, float]:
    """What NumPy's exp takes here, by dtype."""
    return {row["dtype"]: row["ns"]["numpy"] for row in rows if row["function"] == "exp" and row["form"] == "value"}


def _scaled(rows: list[Row], measured: list[Row], here: dict[str, float]) -> None:
    there = {(row["function"], row["dtype"]): row for row in measured}
    for row in rows:
        found = there.get((row["function"], row["dtype"]))
        if found is None or row["form"] != "value" or row["dtype"] not in here:
            continue
        scale = here[row["dtype"]] / found["ns"][YARDSTICK]
        for label, nanoseconds in found["ns"].items():
            if label != YARDSTICK and label not in row["ns"]:
                row["ns"][label] = round(nanoseconds * scale, 4)
                if label in found["max_ulp"]:
                    row["ulp"][label] = found["max_ulp"][label]


def peers(row: Row) -> list[str]:
    """The other libraries in a row."""
    return [label for label in row["ns"] if label not in (*TIERS, *FROM_OUTPUT, COPY)]


def comparable(row: Row, label: str) -> bool:
    """Whether a peer's largest error is within 4 ULP, or that of our ``fast``, which near a root may be more."""
    error = row["ulp"].get(label, math.inf)
    return bool(error <= max(COMPARABLE, row["ulp"].get("fast", 0.0)))


def fastest(row: Row, among: Iterable[str]) -> str | None:
    """The quickest of the contestants; None where there are none."""
    return min(among, key=lambda label: row["ns"][label], default=None)


def ratio(row: Row, tier: str, peer: str) -> float:
    """How many times as fast as a peer a tier is."""
    return float(row["ns"][peer] / row["ns"][tier])


def share(row: Row, tier: str) -> float:
    """The part of the limit that a kernel reaches."""
    return float(row["floor"][tier]["ns"] / row["kernel"][tier])


def bound_by_memory(row: Row, tier: str = "fast") -> bool:
    return bool(row["floor"][tier]["by"] == "memory")


def composite(row: Row) -> bool:
    return row["function"] not in ELEMENTARY


# -- what bounds a kernel ---------------------------------------------------------------------------------------------
INNER = {
    ("softmax", "value"): "exp", ("softmin", "value"): "exp", ("log_softmax", "value"): "exp",
    ("logsumexp", "value"): "exp", ("log_softmax", "gradient"): "exp", ("logsumexp", "gradient"): "exp",
}  # fmt: skip
"""The function of one number that a function of rows computes of every element; that of a gate is in its row."""


def bound(row: Row, tier: str) -> str:
    """What bounds a kernel and what share of that limit it reaches; nothing where this was not measured.

    Of functions of rows and gates, for which no limit is counted, the share of their time that a copy of as many bytes
    takes, and that of the function of one number that they compute of every element."""
    if tier in row.get("floor", {}):
        return f"{row['floor'][tier]['by']}, {share(row, tier):.0%}"
    if tier not in row.get("ns", {}):
        return str(row.get("by", ""))
    parts = {COPY: row["ns"].get(COPY), **{name: taken.get(tier) for name, taken in row.get("inner", {}).items()}}
    return ", ".join(f"{name} {taken / row['ns'][tier]:.0%}" for name, taken in parts.items() if taken)


def with_inner(rowwise: list[Row], rows: list[Row]) -> list[Row]:
    """Functions of rows and gates with what the function inside them takes by itself, where that is known."""
    known = {(row["function"], row["form"], row["dtype"]): row["kernel"] for row in rows}
    found = []
    for row in rowwise:
        form = row["form"] if row.get("activation") else "value"
        name = row.get("activation") or INNER.get((row["function"], row["form"]))
        taken = known.get((name, form, row["dtype"]))
        found.append({**row, "inner": {name: taken}} if taken else row)
    return found


# -- figures ----------------------------------------------------------------------------------------------------------
def figure(
    what: str,
    wanted: str,
    found: list[tuple[Row, str, str, float]],
    least: float,
    mean: float = 0.0,
    part: bool = False,
) -> Row:
    """One line of the figures: ``found`` has a row, a tier, a peer and a ratio for each kernel. A part of the figure
    above does not list its misses once more."""
    ratios = [ratio for *_, ratio in found]
    misses = sorted((f for f in found if f[-1] < least), key=lambda f: f[-1])
    average = geometric_mean(ratios) if ratios else math.nan
    return {
        "figure": what,
        "wanted": wanted,
        "kernels": len(found),
        "reached": len(found) - len(misses),
        "mean": average,
        "holds": not misses and average >= mean,
        "part": part,
        "misses": [
            {
                **{key: row[key] for key in ("function", "form", "dtype")},
                "tier": tier, "peer": peer, "ratio": ratio, "bound": bound(row, tier),
            }
            for row, tier, peer, ratio in misses
        ],
    }  # fmt: skip


LABELS = {
    "exact": "exact", "fast": "fast", "rough": "rough", "exact_output": "exact, from output",
    "fast_output": "fast, from output", "numpy": "NumPy", "scipy": "SciPy", "torch": "PyTorch",
    "jax": "JAX", "numexpr": "numexpr", "numba": "Numba", "onnxruntime": "onnxruntime", "svml": "Numba+SVML",
    "svml_fast": "Numba+SVML, fastmath", "mkl_umath": "mkl_umath", COPY: "copy", "limit": "limit",
    "float32": "float32 of the tier",
}  # fmt: skip
