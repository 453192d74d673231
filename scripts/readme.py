"""Fills the tables of README.md from the certificates and from benchmarks/results/figures.json.

    python scripts/readme.py [--check]

With --check nothing is written and a table that is not up to date ends in exit status 1.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from fastact.accuracy.certificates import installed
from fastact.kernels import REGISTRY
from fastact.precision import TIERS

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
FIGURES = ROOT / "benchmarks" / "results" / "figures.json"


def accuracy() -> str:
    """The largest float32 errors per tier."""
    found = {(c.function, c.form, c.tier): c for c in installed().values() if c.dtype == "float32"}
    lines = ["| function | exact, misrounded | fast, ULP | rough, relative |", "|---|---|---|---|"]
    for name in REGISTRY:
        for form in ("value", "grad"):
            certificates = [found.get((name, form, tier)) for tier in TIERS]
            if None in certificates:
                continue
            exact, fast, rough = certificates
            label = name if form == "value" else f"{name}.grad"
            lines.append(f"| {label} | {exact.misrounded} | {fast.largest:.2f} | {rough.largest:.1e} |")  # type: ignore[union-attr]
    return "\n".join(lines)


def speed() -> str:
    """Nanoseconds per element per tier, beside NumPy and PyTorch."""
    if not FIGURES.exists():
        return "(not measured yet)"
    columns = (*TIERS, "numpy", "torch")
    lines = ["| function | exact | fast | rough | NumPy | PyTorch |", "|---|---|---|---|---|---|"]
    for row in json.loads(FIGURES.read_text())["rows"]:
        if row["dtype"] == "float32" and row["form"] == "value":
            cells = [f"{row['ns'][c]:.2f}" if c in row["ns"] else "" for c in columns]
            lines.append(f"| {row['function']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def filled(text: str) -> str:
    """The README with its tables made anew."""
    for name, table in (("accuracy", accuracy()), ("speed", speed())):
        pattern = re.compile(rf"(<!-- {name}: [^>]*-->\n).*?(<!-- end -->)", re.DOTALL)
        text = pattern.sub(lambda match, table=table: f"{match[1]}\n{table}\n\n{match[2]}", text)
    return text


def main() -> int:
    text = README.read_text()
    if "--check" in sys.argv:
        if filled(text) != text:
            print("README.md is not up to date: run python scripts/readme.py", file=sys.stderr)
            return 1
        return 0
    README.write_text(filled(text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
