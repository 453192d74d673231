"""Fills the tables of docs/cuda.md from the reports of scripts/cuda_ptx.py and scripts/cuda_ptx_rows.py.

    python scripts/cuda_page.py [--check]

With --check nothing is written and a table that is not up to date ends in exit status 1.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import places

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "cuda.md"
RESULTS = ROOT / "benchmarks" / "results"
CARDS = ("H100", "H200")
TIERS = ("exact", "fast", "rough")
DTYPES = ("float32", "bfloat16", "float16", "float64")
STEPS = (1.0, 0.9, 0.75)
"""Shares of the bandwidth of a copy, from that of what memory limits."""
SHOWN = (("float32", "exact"), ("float32", "fast"), ("float32", "rough"), ("bfloat16", "fast"))

Row = dict[str, Any]


def read(name: str) -> list[Row]:
    kernels: list[Row] = json.loads((RESULTS / f"{name}.json").read_text())["kernels"]
    return kernels


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])


def counts(rows: list[Row]) -> str:
    """Of how many functions the values and the products with a gradient reach the steps."""
    lines = []
    for form in ("value", "backward"):
        for dtype in DTYPES:
            for tier in TIERS:
                found = [r["share"] for r in rows if (r["form"], r["dtype"], r["tier"]) == (form, dtype, tier)]
                reached = [str(sum(share[card] >= step for share in found)) for card in CARDS for step in STEPS]
                lines.append([f"`{form}`", dtype, f"`{tier}`", *reached, str(len(found))])
    steps = [f"{card}: {'all' if step == 1 else f'{step:.0%}'}" for card in CARDS for step in STEPS]
    return table(["form", "dtype", "tier", *steps, "of"], lines)


def slow(rows: list[Row]) -> str:
    """The values of float32 and bfloat16 that do not reach the last step on some card, and what they reach."""
    shares = {(r["function"], r["dtype"], r["tier"]): r["share"] for r in rows if r["form"] == "value"}
    lines = []
    for name in dict.fromkeys(r["function"] for r in rows):
        cells = [[shares[name, dtype, tier][card] for card in CARDS] for dtype, tier in SHOWN]
        if min(map(min, cells)) < STEPS[-1]:
            lines.append([name, *(said(pair) for pair in cells)])
    return table(["function", *(f"{dtype} `{tier}`" for dtype, tier in SHOWN)], lines)


def said(shares: list[float]) -> str:
    return ", ".join(f"{share:.0%}" for share in shares)


def lined(rows: list[Row]) -> str:
    """Rows, norms and gates."""
    shares = {(r["kernel"], r["form"], r["dtype"], r["tier"]): r["share"] for r in rows}
    lines = []
    for name, form in dict.fromkeys((r["kernel"], r["form"]) for r in rows):
        label = f"{name}, gradients" if form == "backward" else name
        cells = [said([shares[name, form, dtype, tier][card] for card in CARDS]) for dtype, tier in SHOWN]
        lines.append([re.sub("_weight|_bias", "", label).replace("_backward", ", gradient"), *cells])
    return table(["kernel", *(f"{dtype} `{tier}`" for dtype, tier in SHOWN)], lines)


def tables() -> dict[str, str]:
    kernels, rows = read("cuda_ptx"), read("cuda_ptx_rows")
    return {"counts": counts(kernels), "slow": slow(kernels), "rows": lined(rows)}


def write() -> None:
    PAGE.write_text(places.filled(PAGE, tables))


if __name__ == "__main__":
    sys.exit(places.main(PAGE, tables, __file__, __doc__))
