"""Speed of every function beside NumPy and PyTorch: 65,536 elements, uniform in [-10, 10], one thread, one run.

    python scripts/figures.py [NAMES] [--dtype float32,float64] [--seconds S] [-o FILE.json]

Prints nanoseconds per element (best of interleaved rounds) and how many times as fast as each peer the tiers are.
"""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from fastact.accuracy import peers
from fastact.accuracy.measure import settings
from fastact.accuracy.timing import interleaved
from fastact.kernels import REGISTRY, Declaration
from fastact.precision import TIERS

SIZE = 65_536
LIBRARIES = ("numpy", "torch")


def data(declaration: Declaration, dtype: str) -> Any:
    """Uniform numbers in [-10, 10], or in what of that the function is defined for."""
    low, high = declaration.domain
    return np.random.default_rng(0).uniform(max(low, -10), min(high, 10), SIZE).astype(dtype)


def measure(declaration: Declaration, form: str, dtype: str, seconds: float) -> dict[str, float]:
    """Nanoseconds per element of our tiers, of the peers and of a copy."""
    task = peers.Task(declaration, form, data(declaration, dtype), settings(declaration, dtype))
    contestants = {tier: peers.ours(task, tier) for tier in TIERS}
    for library in LIBRARIES:
        if library in peers.candidates(declaration, form):
            try:
                contestants[library] = peers.peer(task, library)
            except peers.Unavailable:
                continue
    room = np.empty_like(task.x)
    calls = {name: contestant.call for name, contestant in contestants.items()}
    timings = interleaved({**calls, "copy": lambda: np.copyto(room, task.x)}, seconds)
    return {name: round(timing.best / SIZE * 1e9, 4) for name, timing in timings.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="functions; by default all")
    parser.add_argument("--dtype", default="float32,float64")
    parser.add_argument("--forms", default="value,gradient")
    parser.add_argument("--seconds", type=float, default=0.5, help="for each function")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    from fastact.cli import machine

    rows = []
    with peers.one_thread():
        for dtype in options.dtype.split(","):
            for form in options.forms.split(","):
                print(f"{dtype} {form}, ns per element; times as fast as NumPy and PyTorch")
                print(f"{'':12s}" + "".join(f"{c:>9s}" for c in (*TIERS, *LIBRARIES, "copy")) + "   exact/fast : torch")
                for name in options.names or REGISTRY:
                    found = measure(REGISTRY[name], form, dtype, options.seconds)
                    rows.append({"function": name, "form": form, "dtype": dtype, "ns": found})
                    cells = "".join(f"{found.get(c, float('nan')):9.3f}" for c in (*TIERS, *LIBRARIES, "copy"))
                    torch = found.get("torch", float("nan"))
                    print(f"{name:12s}{cells}   {torch / found['exact']:5.2f} {torch / found['fast']:5.2f}", flush=True)
    if options.output:
        facts = {"command": "python scripts/figures.py", "date": date.today().isoformat()}
        about = {"processor": machine.processor_name(), "versions": machine.versions(), "peers": peers.installed()}
        options.output.write_text(json.dumps({**facts, **about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
