"""Measures everything beside everyone on this machine and writes the report of it.

    python scripts/report.py                 measures (12 to 18 minutes) and writes all of the following
    python scripts/report.py --render        writes the page, the pictures and the README from what was measured
    python scripts/report.py --check         exits with 1 if the page is not what would be written
    python scripts/report.py --changed       lists the kernels that are not the ones measured any more
    python scripts/report.py --output FILE   measures, and leaves the page as it is
    python benchmarks/warming.py             measures how long it takes to compile everything, for the page, too
    python scripts/report.py --quick         a few functions and short measurements, to a file in the folder for such

It writes benchmarks/results/<cpu>.json, docs/performance.md, its pictures, and the tables of the
README and of the families' pages. Every library is held to one thread, except where threads are the subject; the
contestants of one function take turns. Peers that are not installed are left out; Numba with SVML is measured in the
environment that scripts/svml_peer.py makes. ``pip install -e ".[accuracy,plot]"`` has what the report itself needs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(ROOT / "scripts")]

import numpy as np  # noqa: E402
import page  # noqa: E402
import summary  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
COMMAND = "python scripts/report.py"
QUICKLY = Path(tempfile.gettempdir()) / "fastact-report.json"
"""Where a quick result goes."""
QUICK = ("exp", "log", "mish", "relu", "softplus", "softmax", "layer_norm", "swiglu")
SECONDS = 0.3
"""Spent on the times of one function, form and dtype."""


def slug() -> str:
    """The name of this processor, for a file."""
    from fastact.cli import machine
    from fastact.cpu.target import host

    name = f"{machine.processor_name()} {host().name}".lower()
    return re.sub(r"[^a-z0-9]+", "-", name).strip("-")


def svml(environment: Path, names: list[str], rowwise: list[str], seconds: float) -> dict[str, Any] | None:
    """What scripts/svml_peer.py measures; None where its environment cannot be had."""
    import numba_user
    import svml_peer

    try:
        python = svml_peer.environment(environment)
        there = [name for name in names if name in numba_user.EXPRESSIONS]
        return svml_peer.run(python, there, ["float32", "float64"], seconds, rowwise)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"Numba with SVML left out: {error}", file=sys.stderr)
        return None


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The whole content of the report."""
    import comparing
    import costs
    import limits
    import narrow
    import row_table
    import rowwise

    from fastact.accuracy import peers
    from fastact.cli import machine

    began = time.monotonic()
    names = [name for name in comparing.functions() if not options.quick or name in QUICK]

    def progress(what: str) -> None:
        print(f"\r\033[K{time.monotonic() - began:5.0f} s  {what}", end="", file=sys.stderr, flush=True)

    content: dict[str, Any] = {
        "command": COMMAND,
        "date": datetime.now().isoformat(timespec="minutes"),
        "processor": machine.processor_name(),
        "target": slug().rpartition("-")[2],
        "cores": os.cpu_count(),
        "versions": machine.versions(),
        "peers": peers.installed(),
        "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "size": comparing.SIZE,
        "sample": comparing.SAMPLE,
        "numba": "benchmarks/numba_user.py",
    }
    parts: dict[str, float] = {}

    def part(name: str, made: Any) -> Any:
        started = time.monotonic()
        progress(name)
        result = made()
        parts[name] = round(time.monotonic() - started, 1)
        return result

    seconds = SECONDS / 6 if options.quick else SECONDS
    with peers.one_thread(), np.errstate(all="ignore"):
        rows = part("comparison", lambda: comparing.compare(names, seconds, progress))
        content["rows"] = rows
        content["narrow"] = part("16 bits", lambda: narrow.compare(names, seconds, progress))
        counted = narrow.kernels(content["narrow"])
        loops = part("assembly", lambda: comparing.all_loops(rows + counted))
        every = [loop for found in loops for loop in found.values()]
        rates = part("rates of instructions", lambda: limits.measure(every))
        copies, brief = comparing.copies(rows), narrow.copies(content["narrow"])
        for row, found in zip(rows + counted, loops, strict=True):
            narrowly = brief.get(row["dtype"])
            comparing.floors(row, found, rates, narrowly or copies[row["dtype"], row["form"]])
        narrow.with_floors(content["narrow"], counted)
        content["rates"] = {
            "front": rates.front, "renaming": rates.renaming, "pipe": rates.pipe,
            "kinds": {kind: [round(c.cycles, 3), c.multiplies, c.adds] for kind, c in sorted(rates.costs.items())},
        }  # fmt: skip
        over = [name for name in rowwise.names() if not options.quick or name in QUICK]
        content["svml"] = part("Numba with SVML", lambda: svml(options.environment, names, over, seconds / 2))
        content["rowwise"] = part("rows and gates", lambda: rowwise.compare(over, seconds, progress))
        content["shapes"] = part("rows of other shapes", lambda: row_table.measure(seconds))
        content["steps"] = part("steps", lambda: row_table.steps(seconds))
        content["small"] = part("small arrays", lambda: costs.small(seconds / 3) + costs.small_rows(seconds / 3))
    content["start"] = part("new processes", lambda: costs.start(1 if options.quick else 3))
    power = 22 if options.quick else 28
    content["growth"] = part("work that grows", lambda: costs.growth(power))
    content["growth64"] = part("work that grows, float64", lambda: costs.growth(power, dtype="float64"))
    content["memory"] = part("memory", costs.memory)
    content["resident"] = part("resident memory", costs.resident)
    summary.with_svml(rows, content["svml"])
    summary.with_svml_rows(content)
    content["seconds"] = parts
    print(f"\r\033[K{time.monotonic() - began:.0f} s in all: {parts}", file=sys.stderr)
    return content


def written(content: dict[str, Any]) -> str:
    """The content as JSON, a line for each row."""
    lines = []
    for key, value in content.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            inner = ",\n  ".join(json.dumps(row) for row in value)
            lines.append(f" {json.dumps(key)}: [\n  {inner}\n ]")
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def changed(content: dict[str, Any]) -> list[str]:
    """The kernels that are not the ones measured any more, or were not measured at all."""
    import comparing

    from fastact.accuracy import peers
    from fastact.accuracy.measure import settings
    from fastact.kernels import REGISTRY

    known = {}
    for row in content["rows"]:
        for tier, digest in row["digest"].items():
            known[row["function"], row["form"], row["dtype"], tier] = digest
    found = []
    for name in comparing.functions():
        declaration = REGISTRY[name]
        for form in comparing.FORMS:
            for dtype in comparing.DTYPES:
                task = peers.Task(declaration, form, np.empty(0, dtype), settings(declaration, dtype))
                for tier in summary.TIERS:
                    digest = known.get((name, form, dtype, tier))
                    if digest != comparing.linked(task, tier).graph.digest():
                        found.append(f"{name} {form} {dtype} {tier}" + ("" if digest else " (not measured)"))
    return found


def render(content: dict[str, Any]) -> None:
    """Write all that follows from a result."""
    import pictures_of_speed

    pictures_of_speed.draw(content, page.PICTURES)
    page.PAGE.write_text(page.text(content))
    for script in ("readme", "families"):
        command = [sys.executable, str(ROOT / "scripts" / f"{script}.py")]
        subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--render", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--changed", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--output", type=Path, help="where the result goes instead, the page staying as it is")
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "fastact-svml-peer"
    parser.add_argument("--environment", type=Path, default=default, help="of Numba with SVML (default: %(default)s)")
    options = parser.parse_args()
    if options.render or options.check or options.changed:
        path = summary.shown()
        if path is None:
            print(f"nothing was measured yet: run {COMMAND}", file=sys.stderr)
            return 1
        content = json.loads(path.read_text())
        if options.changed:
            print("\n".join(changed(content)))
        elif options.check:
            if not page.PAGE.exists() or page.PAGE.read_text() != page.text(content):
                print(f"{page.PAGE.name} is not up to date: run {COMMAND} --render", file=sys.stderr)
                return 1
        else:
            render(content)
        return 0
    content = measure(options)
    place = options.output or (QUICKLY if options.quick else None)
    if place:
        place.write_text(written(content))
        print(f"{place}; the page is as it was")
    else:
        (RESULTS / f"{slug()}.json").write_text(written(content))
        render(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
