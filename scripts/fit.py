"""Regenerate fastact/kernels/coefficients.py: every polynomial, table of values and constant of the kernels.

    python scripts/fit.py                 fit everything and write the file
    python scripts/fit.py exp tanh_small  fit these tables, keep the others, and write the file
    python scripts/fit.py --check         fit everything and compare with the file; exit 1 when it differs

A new table is one entry of ENTRIES.
"""

from __future__ import annotations

import argparse
import runpy
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from math import log, sqrt
from pathlib import Path
from typing import NamedTuple

from flint import arb
from remez import Coefficient, Problem, expansion, fit, midpoint, stated, total

OUTPUT = Path(__file__).resolve().parents[1] / "fastact" / "kernels" / "coefficients.py"

# The working arithmetics: how many bits a coefficient has, and whether the leading ones come in pairs.
LEVELS = {
    "single_rough": (24, False),
    "single_fast": (24, False),
    "double_rough": (53, False),
    "double_fast": (53, False),
    "double_wide": (53, False),
    "pair": (53, True),
}


class Table(NamedTuple):
    coefficients: tuple[Coefficient, ...]
    error: float


@dataclass(frozen=True)
class Polynomial:
    """value(t, p) approximates exact(t), p being a polynomial in t; `targets` are log2 of the error wanted.

    `fixed` are the lowest coefficients, imposed exactly; `fixed_at` replaces them at single levels.
    """

    name: str
    formula: str
    domain: str
    low: float
    high: float
    exact: Callable[[arb], arb]
    value: Callable[[arb, arb | int], arb]
    weighting: str  # what the error is relative to: the text for `scale`, which defaults to `exact`
    targets: dict[str, float]
    scale: Callable[[arb], arb] | None = None
    fixed: tuple[float, ...] = ()
    fixed_at: dict[str, tuple[float, ...]] | None = None

    def tables(self) -> dict[str, Table]:
        problem = Problem(self.low, self.high, self.exact, self.value, self.scale or self.exact)
        made = {}
        for level, target in self.targets.items():
            bits, pair = LEVELS[level]
            fixed = (self.fixed_at or {}).get(level, self.fixed)
            made[level] = Table(*fit(problem, target, bits, fixed, pair))
        return made

    def describe(self, table: Table) -> str:
        return f"degree {len(table.coefficients) - 1}, error 2^{table.error:.2f} relative to {self.weighting}"


@dataclass(frozen=True)
class Values:
    """A list of numbers, each the sum of a pair."""

    name: str
    formula: str
    domain: str
    values: Callable[[], list[arb]]

    def tables(self) -> dict[str, Table]:
        exact = self.values()
        pairs = tuple(expansion(x, (53, 53)) for x in exact)
        error = max(float(abs((total(p) - x) / x).mid()) for p, x in zip(pairs, exact, strict=True))
        return {"pair": Table(pairs, stated(error))}

    def describe(self, table: Table) -> str:
        return f"{len(table.coefficients)} values, error 2^{table.error:.2f} relative to each"


# Intervals are a little wider than the reduction leaves them: a reduced argument is itself rounded.
HALF_LN2 = log(2) / 2 * 1.01
LOG_LOW, LOG_HIGH = (sqrt(0.5) - 1) * 1.01, (sqrt(2) - 1) * 1.01
LOG_DOMAIN = "1.01 (sqrt(1/2) - 1) <= f <= 1.01 (sqrt(2) - 1)"
ATANH_HIGH = max((f / (2 + f)) ** 2 for f in (LOG_LOW, LOG_HIGH))


def exp(name: str, formula: str, domain: str, high: float, relative: bool, **more) -> Polynomial:
    """exp and expm1 share the polynomial's place and differ in what its error is measured against."""
    return Polynomial(
        name,
        formula,
        domain,
        -high,
        high,
        exact=lambda r: r.expm1(),
        value=lambda r, p: r * p,
        scale=(lambda r: r.expm1()) if relative else (lambda r: r.exp()),
        weighting="expm1(r)" if relative else "exp(r)",
        **more,
    )


def log1p(name: str, domain: str, low: float, high: float, targets: dict[str, float]) -> Polynomial:
    return Polynomial(
        name,
        "log(1 + f) = f - f^2/2 + f^3 P(f)",
        domain,
        low,
        high,
        exact=lambda f: f.log1p(),
        value=lambda f, p: f - f**2 / 2 + f**3 * p,
        weighting="log(1 + f)",
        targets=targets,
    )


def tanh(name: str, domain: str, high: float) -> Polynomial:
    return Polynomial(
        name,
        "tanh(x) = x + x^3 P(z), z = x^2",
        domain,
        0.0,
        high**2,
        exact=lambda z: z.sqrt().tanh(),
        value=lambda z, p: z.sqrt() * (1 + z * p),
        weighting="tanh(x)",
        targets={"single_rough": -13.2, "single_fast": -27.0, "double_rough": -25.5, "double_fast": -56.0},
    )


def exp_table(name: str, size: int) -> Values:
    domain = f"j = 0 .. {size - 1}"
    return Values(name, f"2^(j/{size})", domain, lambda: [arb(2) ** (arb(j) / size) for j in range(size)])


ENTRIES: list[Polynomial | Values] = [
    exp(
        "exp",
        "exp(r) = 1 + r P(r)",
        "|r| <= 1.01 ln(2)/2",
        HALF_LN2,
        relative=False,
        targets={
            "single_rough": -13.2,
            "single_fast": -27.0,
            "double_rough": -25.5,
            "double_fast": -56.0,
            "double_wide": -57.5,
            "pair": -72.0,
        },
        fixed=(1.0,),
        # A first coefficient of 1 would cost single_rough a degree; a second of 1/2 costs the pair nothing.
        fixed_at={"single_rough": (), "pair": (1.0, 0.5)},
    ),
    exp(
        "expm1",
        "expm1(r) = r P(r)",
        "|r| <= 1.01 ln(2)/2",
        HALF_LN2,
        relative=True,
        targets={
            "single_rough": -13.2,
            "single_fast": -27.0,
            "double_rough": -25.5,
            "double_fast": -56.0,
            "double_wide": -60.0,
            "pair": -72.0,
        },
        fixed=(1.0,),
        fixed_at={"pair": (1.0, 0.5)},
    ),
    exp(
        "exp_pair_small",
        "expm1(r) = r P(r)",
        "|r| <= 1.01 ln(2)/32",
        HALF_LN2 / 16,
        relative=True,
        targets={"pair": -72.0},
        fixed=(1.0, 0.5),
    ),
    exp_table("exp_table", 16),
    exp(
        "exp_pair_small32",
        "expm1(r) = r P(r)",
        "|r| <= 1.01 ln(2)/64",
        HALF_LN2 / 32,
        relative=True,
        targets={"pair": -72.0},
        fixed=(1.0, 0.5),
    ),
    exp_table("exp_table32", 32),
    log1p(
        "log1p",
        LOG_DOMAIN,
        LOG_LOW,
        LOG_HIGH,
        targets={"single_rough": -13.2, "single_fast": -27.0, "double_rough": -25.5},
    ),
    Polynomial(
        "log_atanh",
        "log(1 + f) = 2 s + s^3 P(z), s = f/(2 + f), z = s^2",
        LOG_DOMAIN,
        0.0,
        ATANH_HIGH,
        exact=lambda z: 2 * z.sqrt().atanh(),
        value=lambda z, p: z.sqrt() * (2 + z * p),
        weighting="log(1 + f)",
        targets={
            "single_fast": -27.0,
            "double_rough": -25.5,
            "double_fast": -56.5,
            "double_wide": -60.0,
            "pair": -72.0,
        },
    ),
    log1p(
        "log_small",
        "|f| <= 1.02/32",
        -1.02 / 32,
        1.02 / 32,
        targets={"double_fast": -57.0, "double_wide": -61.0, "pair": -72.0},
    ),
    tanh("tanh_small", "|x| <= 0.55", 0.55),
    tanh("tanh_tiny", "|x| <= 0.3", 0.3),
]

TRIPLE = (53, 53, 53)
# (name, formula, value, bits of each part): the parts add up to the value.
CONSTANTS: list[tuple[str, str, arb, tuple[int, ...]]] = [
    ("LN2", "ln 2", arb.const_log2(), TRIPLE),
    ("LOG2E", "log2 e", 1 / arb.const_log2(), TRIPLE),
    ("LN10", "ln 10", arb.const_log10(), TRIPLE),
    ("LOG2_10", "log2 10", arb.const_log10() / arb.const_log2(), TRIPLE),
    ("SQRT1_2", "sqrt(1/2)", (1 / arb(2)).sqrt(), TRIPLE),
    ("SQRT2", "sqrt 2", arb(2).sqrt(), TRIPLE),
    ("PI", "pi", arb.pi(), TRIPLE),
    ("TWO_OVER_SQRT_PI", "2/sqrt(pi)", 2 / arb.pi().sqrt(), TRIPLE),
    ("SQRT_TWO_OVER_PI", "sqrt(2/pi)", (2 / arb.pi()).sqrt(), TRIPLE),
    ("ONE_OVER_SQRT_TWO_PI", "1/sqrt(2 pi)", 1 / (2 * arb.pi()).sqrt(), TRIPLE),
    ("LN2_SINGLE", "ln 2 in float32; n times the first is exact for |n| < 2^9", arb.const_log2(), (15, 24)),
    ("LN2_DOUBLE", "ln 2; n times the first is exact for |n| < 2^16", arb.const_log2(), (37, 53, 53)),
]

HEADER = '''"""Generated by `python scripts/fit.py`; do not edit.

A table's coefficients are in ascending order and exactly representable in the working format of its level: float32 for
single_*, float64 for the others. The leading coefficients of a "pair" table are (high, low) pairs, also where low is 0.
"""

from typing import NamedTuple


class Table(NamedTuple):
    """A polynomial, or a list of values, and log2 of the largest weighted error it reaches with these numbers."""

    coefficients: tuple
    error: float

'''


def wrapped(numbers: tuple[Coefficient, ...], indent: int) -> str:
    """The numbers on as few lines as hold them, no pair torn apart."""
    lead, glue = " " * indent, "\0"
    text = ", ".join(repr(c).replace(" ", glue) for c in numbers) + ","
    lines = textwrap.fill(text, 120, initial_indent=lead, subsequent_indent=lead, break_on_hyphens=False)
    return lines.replace(glue, " ")


def render(tables: dict[str, dict[str, Table]]) -> str:
    lines, shared = [HEADER, "TABLES: dict[str, dict[str, Table]] = {"], []
    for entry in ENTRIES:
        lines.append(f'    "{entry.name}": {{')
        levels = tables[entry.name]
        for level, table in levels.items():
            first = next(other for other in levels if levels[other] == table)
            if first != level:
                shared.append(f'TABLES["{entry.name}"]["{level}"] = TABLES["{entry.name}"]["{first}"]')
                continue
            lines.append(f"        # {entry.formula}, {entry.domain}")
            lines.append(f"        # {entry.describe(table)}; python scripts/fit.py {entry.name}")
            lines.append(f'        "{level}": Table(\n            (')
            lines.append(wrapped(table.coefficients, 16))
            lines.append(f"            ),\n            {table.error!r},\n        ),")
        lines.append("    },")
    lines += ["}", "# Levels whose targets one table meets.", *shared, ""]
    lines.append("# Each constant is the unevaluated sum of its parts; every part is rounded from what is left.")
    lines.append("CONSTANTS: dict[str, tuple[float, ...]] = {")
    for name, formula, value, bits in CONSTANTS:
        parts = expansion(value, bits)
        left = abs(midpoint(value) - sum(map(midpoint, map(arb, parts))))
        lines.append(f"    # {formula}; off by {float(left):.1e}; python scripts/fit.py")
        lines.append(f'    "{name}": {parts!r},')
    return "\n".join([*lines, "}", ""])


def report(name: str, made: dict[str, Table]) -> None:
    for level, table in made.items():
        pairs = sum(isinstance(c, tuple) for c in table.coefficients)
        size = f"degree {len(table.coefficients) - 1:2d}, {pairs:2d} pairs"
        print(f"{name:18s} {level:13s} {size} error 2^{table.error:.2f}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Fit the polynomial and constant tables of the kernels.")
    parser.add_argument("names", nargs="*", help="tables to fit (default: all)")
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    options = parser.parse_args()
    known = [entry.name for entry in ENTRIES]
    if unknown := sorted(set(options.names) - set(known)):
        parser.error(f"no such table: {', '.join(unknown)}; there are {', '.join(known)}")
    old = runpy.run_path(str(OUTPUT))["TABLES"] if OUTPUT.exists() else {}
    new = {}
    for entry in ENTRIES:
        if entry.name in old and options.names and entry.name not in options.names:
            new[entry.name] = {level: Table(*table) for level, table in old[entry.name].items()}
        else:
            new[entry.name] = entry.tables()
            report(entry.name, new[entry.name])
    text = render(new)
    if not options.check:
        OUTPUT.write_text(text)
        return 0
    if OUTPUT.exists() and OUTPUT.read_text() == text:
        print(f"{OUTPUT.name} is fresh")
        return 0
    fitted = [(name, level, table) for name, levels in new.items() for level, table in levels.items()]
    stale = [f"{name} {level}" for name, level, table in fitted if old.get(name, {}).get(level) != table]
    print(f"{OUTPUT.name} is stale: {', '.join(stale) or 'a comment or a constant'}; run python scripts/fit.py")
    return 1


if __name__ == "__main__":
    sys.exit(main())
