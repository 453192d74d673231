"""Is relu quicker as x/(1 + 0^x)? Measures it beside a maximum and a selection, and writes what comes out.

    python scripts/relu.py [--seconds S] [-o benchmarks/results/relu.json]

Nanoseconds per element of float32, uniform in [-10, 10], one thread, best of interleaved rounds in one run; of compiled
code without the call itself, which takes longer than a few thousand elements do.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from relu_ways import NUMPY, SIZES, WAYS, compiled, data  # noqa: E402

from fastact.accuracy.timing import interleaved  # noqa: E402
from fastact.cli import machine  # noqa: E402

COMMAND = "python scripts/relu.py"


def measure(seconds: float) -> dict[int, dict[str, dict[str, float]]]:
    """Size -> form or "numpy" -> way -> nanoseconds per element."""
    found: dict[int, dict[str, dict[str, float]]] = {}
    for size in SIZES:
        x = data(size)
        y = np.empty_like(x)
        groups: dict[str, dict[str, Any]] = {
            form: {way: compiled(body, x, y) for way, body in ways.items()} for form, ways in WAYS.items()
        }
        groups["numpy"] = {way: lambda formula=formula, x=x: formula(x) for way, formula in NUMPY.items()}
        calls = {f"{group} {way}": call for group, ways in groups.items() for way, call in ways.items()}
        calls["nothing"] = compiled(WAYS["forward"]["max"], x[:0], y[:0])
        with np.errstate(divide="ignore"):
            best = {name: timing.best / size * 1e9 for name, timing in interleaved(calls, seconds).items()}
        found[size] = {
            group: {
                way: round(best[f"{group} {way}"] - (0.0 if group == "numpy" else best["nothing"]), 4) for way in ways
            }
            for group, ways in groups.items()
        }
    return found


def text(found: dict[int, dict[str, dict[str, float]]]) -> list[str]:
    """What the figures say."""
    small, large = (found[size]["forward"] for size in SIZES)
    slopes, formulas = found[SIZES[0]]["gradient"], found[SIZES[-1]]["numpy"]
    return [
        f"relu(x) is also x/(1 + 0^x), with the derivative 1/(1 + 0^x), which is 1/2 at 0. As compiled code with 0^x "
        f"made by selections, that takes {small['identity']:.3f} ns per element where the maximum takes "
        f"{small['max']:.3f} and a selection {small['where']:.3f} (float32, {SIZES[0]:,} elements in the first cache), "
        f"{small['identity'] / small['max']:.1f} times as long; of {SIZES[1]:,} elements, where memory has its share, "
        f"{large['identity']:.3f} and {large['max']:.3f}. The derivative takes {slopes['identity']:.3f} ns, as a "
        f"selection {slopes['where']:.3f}. Written in NumPy, where 0^x is a power, it takes "
        f"{formulas['identity']:.2f} ns where np.maximum takes {formulas['max']:.3f}.",
        "So relu is the maximum here. It is also right where the quotient is not: x/(1 + 0^x) of minus infinity is "
        "NaN. Its derivative at 0 is 0, or what `at_zero=` says.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each size")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks" / "results" / "relu.json")
    options = parser.parse_args()
    found = measure(options.seconds)
    forward = found[SIZES[0]]["forward"]
    report = {
        "command": COMMAND,
        "date": date.today().isoformat(),
        "processor": machine.processor_name(),
        **forward,
        "ratio": round(forward["identity"] / forward["max"], 2),
        "sizes": {str(size): groups for size, groups in found.items()},
        "text": text(found),
    }
    options.output.write_text(json.dumps(report, indent=1) + "\n")
    print("\n\n".join(text(found)))


if __name__ == "__main__":
    main()
