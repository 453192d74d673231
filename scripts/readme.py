"""Fills the tables of README.md from the certificates and from the latest report (scripts/report.py).

    python scripts/readme.py [--check]

With --check nothing is written and a table that is not up to date ends in exit status 1.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import places

from fastact.accuracy import sampled
from fastact.accuracy.certificates import installed
from fastact.precision import TIERS

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import page  # noqa: E402
import summary  # noqa: E402

README = ROOT / "README.md"
SHOWN = (
    "exp", "expm1", "log", "log1p", "tanh", "erf", "sigmoid", "softplus", "relu", "elu", "selu", "silu", "mish", "gelu",
    "gelu_tanh",
)  # fmt: skip
"""What the README shows; the pages of the families have all."""


def accuracy() -> str:
    """The largest float32 errors per tier, of values and gradients."""
    found = {(c.function, c.form, c.tier): c for c in installed().values() if c.dtype == "float32"}
    lines = ["| function, gradient | exact: misrounded | fast: ULP | rough: relative |", "|---|---|---|---|"]
    for name in SHOWN:
        rows = [[found.get((name, form, tier)) for tier in TIERS] for form in ("value", "grad")]
        if any(None in row for row in rows):
            continue
        exact, fast, rough = zip(*rows, strict=True)
        cells = (
            ", ".join(str(c.misrounded) for c in exact),  # type: ignore[union-attr]
            ", ".join(f"{c.largest:.2f}" for c in fast),  # type: ignore[union-attr]
            ", ".join(f"{c.largest:.1e}" for c in rough),  # type: ignore[union-attr]
        )
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def proof() -> str:
    """What is known of how many kernels, and from how many inputs."""
    proofs, rows = list(installed().values()), list(sampled.installed().values())
    if not rows:
        return "(not measured yet)"
    complete = [c for c in proofs if c.exhaustive]
    wide = [c for c in proofs if not c.exhaustive]
    exact = [row for row in rows if row.misrounded is not None]
    wrong, beyond = [row for row in exact if row.misrounded], [row for row in rows if not row.holds]
    drawn = sum(row.inputs for row in rows)
    missed = sum(c.misrounded or 0 for c in complete if c.tier == "exact")
    least, most = min(row.inputs for row in rows), max(row.inputs for row in rows)
    named = f" (of {' and '.join(sorted({row.function for row in beyond}))})" if beyond else ""
    parts = [
        f"- On every input: {len(complete):,} kernels of float16, bfloat16 and float32 (values, gradients,",
        "  gradients with respect to learned parameters; parameters at their defaults),",
        f"  {missed} results misrounded in `exact`.",
        f"- On {min(c.inputs for c in wide):,} or more inputs each, and inputs that are hard to round:",
        f"  {len(wide):,} kernels of float64, of the same forms.",
        f"- On samples, {least:,} to {most:,} rows each and {drawn:,} in all: {len(rows):,} kernels,",
        "  of products with an incoming gradient (`backward`), gradients from the output and all forms with other",
        f"  parameters, extreme ones among them. Of the {len(exact):,} that have to be correctly rounded",
        f"  {len(exact) - len(wrong):,} are, on all rows; {len(beyond)} of all go beyond what is promised{named}.",
    ]
    return "\n".join(parts)


def speed() -> str:
    """Nanoseconds per element and errors per tier and peer, and how many times as fast the tiers are."""
    path = summary.shown()
    return page.readme(json.loads(path.read_text())) if path else "(not measured yet)"


def tables() -> dict[str, str]:
    return {"accuracy": accuracy(), "proof": proof(), "speed": speed()}


if __name__ == "__main__":
    sys.exit(places.main(README, tables, __file__, __doc__))
