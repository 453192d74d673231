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


def shown() -> Path | None:
    """The latest result of a whole report."""
    found = []
    for path in RESULTS.glob("*.json"):
        content = json.loads(path.read_text())
        if "rates" in content:
            found.append((content["date"], path))
    return max(found)[1] if found else None


def with_svml(rows: list[Row], svml: dict[str, Any] | None) -> None:
    """Add to the rows what Numba with SVML and mkl_umath took in their own environment.

    They are scaled by what NumPy's exp takes here over what it took there, in the same rounds as each of them."""
    if not svml:
        return
    here = {row["dtype"]: row["ns"]["numpy"] for row in rows if row["function"] == "exp" and row["form"] == "value"}
    there = {(row["function"], row["dtype"]): row for row in svml["rows"]}
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


# -- figures ----------------------------------------------------------------------------------------------------------
def figure(what: str, wanted: str, found: list[tuple[Row, str, str, float]], least: float, mean: float = 0.0) -> Row:
    """One line of the figures: ``found`` has a row, a tier, a peer and a ratio for each kernel."""
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
        "misses": [
            {"function": r["function"], "form": r["form"], "dtype": r["dtype"], "tier": tier, "peer": peer, "ratio": x}
            for r, tier, peer, x in misses
        ],
    }


def _against(rows: list[Row], tier: str, choose: Any) -> list[tuple[Row, str, str, float]]:
    found = []
    for row in rows:
        peer = fastest(row, choose(row))
        if peer is not None:
            found.append((row, tier, peer, ratio(row, tier, peer)))
    return found


def figures(rows: list[Row]) -> list[Row]:
    """The figures that were set, in float32 and in float64."""
    single = [row for row in rows if row["dtype"] == "float32"]
    double = [row for row in rows if row["dtype"] == "float64"]
    found = []

    def good(row: Row) -> list[str]:
        return [label for label in peers(row) if comparable(row, label)]

    def plain(row: Row) -> list[str]:
        return [label for label in peers(row) if label not in SVML]

    computing = [row for row in single if not bound_by_memory(row)]
    six = [row for row in computing if row["function"] in SIX]
    others = [row for row in computing if row["function"] not in SIX]
    title = "fast against the fastest peer within 4 ULP, SVML included"
    found.append(figure(f"float32 {title}: {', '.join(SIX)}", "1.2", _against(six, "fast", good), 1.2))
    found.append(figure(f"float32 {title}: other functions that compute", "2", _against(others, "fast", good), 2.0))
    moving = [row for row in rows if bound_by_memory(row)]
    found.append(figure(f"{title}: functions bound by memory", "1", _against(moving, "fast", good), 1.0))
    computing = [row for row in double if not bound_by_memory(row)]
    whole = [row for row in computing if composite(row)]
    parts = [row for row in computing if not composite(row)]
    found.append(figure(f"float64 {title}: elementary", "1.2", _against(parts, "fast", good), 1.2))
    found.append(figure(f"float64 {title}: composites", "3", _against(whole, "fast", good), 3.0))
    title = "exact against the fastest peer without SVML, whatever its error"
    found.append(figure(f"float32 {title}", "1, mean 2", _against(single, "exact", plain), 1.0, 2.0))
    found += from_input_and_output(single, f"float32 {title}", plain)
    for peer, least in (("numpy", 1.0), ("torch", 0.0)):
        wanted = "1" if least else "mean 1"
        among = [(row, "exact", peer, ratio(row, "exact", peer)) for row in double if peer in row["ns"]]
        found.append(figure(f"float64 exact against {LABELS[peer]}", wanted, among, least, 1.0))
    for dtype, chosen, least in (("float32", single, 1.5), ("float64", double, 1.2)):
        compute = [row for row in chosen if not bound_by_memory(row)]
        among = [(row, "rough", "fast", ratio(row, "rough", "fast")) for row in compute]
        found.append(figure(f"{dtype} rough against fast, functions that compute", f"{least}", among, least))
        shares = [(row, tier, "limit", share(row, tier)) for row in chosen for tier in ("fast", "rough")]
        found.append(figure(f"{dtype} share of the computed limit, fast and rough", "mean 0.7", shares, 0.0, 0.7))
    return found


def from_input_and_output(rows: list[Row], title: str, choose: Any) -> list[Row]:
    """The part of a figure that are gradients, once from the input as everywhere else, and once from the output where a
    peer computes them from that: then both have the same to do."""
    gradients = [row for row in rows if row["form"] == "gradient"]
    same = [
        (row, "exact_output", peer, ratio(row, "exact_output", peer))
        for row in gradients
        for peer in [fastest(row, row.get("from_output", ()))]
        if peer is not None
    ]
    if not same:
        return []
    more, wanted = _against(gradients, "exact", choose), "1, mean 2"
    own = "float32 exact gradients from the output against peers that go from it, too"
    return [
        figure(f"{title}: of these, gradients, ours from the input", wanted, more, 1.0, 2.0),
        figure(own, wanted, same, 1.0, 2.0),
    ]


def bandwidth(growth: list[Row], power: int = 26) -> list[Row]:
    """The share of a copy's bandwidth on large arrays and all cores, of the kernels of ``fast``."""
    rows = [row for row in growth if row["power"] == power]
    if not rows:
        return []
    row = max(rows, key=lambda row: row["threads"])
    copy = row["ns"]["np.copyto"]
    return [
        {"what": label, "threads": row["threads"], "share": copy / nanoseconds}
        for label, nanoseconds in row["ns"].items()
        if label.endswith("fast")
    ]


LABELS = {
    "exact": "exact", "fast": "fast", "rough": "rough", "exact_output": "exact, from output",
    "fast_output": "fast, from output", "numpy": "NumPy", "scipy": "SciPy", "torch": "PyTorch",
    "jax": "JAX", "numexpr": "numexpr", "numba": "Numba", "onnxruntime": "onnxruntime", "svml": "Numba+SVML",
    "svml_fast": "Numba+SVML, fastmath", "mkl_umath": "mkl_umath", COPY: "copy", "limit": "limit",
    "float32": "float32 of the tier",
}  # fmt: skip
