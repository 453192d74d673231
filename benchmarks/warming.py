"""How long it takes to compile every kernel, into an empty cache: what ``python -m fastact cache --warm all`` does.

    python benchmarks/warming.py

It takes minutes on all cores and writes benchmarks/results/warming.json, of which the report tells.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "warming.json"
COMMAND = ("-m", "fastact", "cache", "--warm")
WANTED = 300
"""Seconds on two cores."""


def measure(*names: str) -> dict[str, Any]:
    """Seconds, kernels and bytes of a cache that was empty."""
    from fastact.cli import machine
    from fastact.cpu import cores

    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "FASTACT_CACHE_DIR": folder, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, *COMMAND, *(names or ("all",)), "--json"],
            env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
    found = json.loads(done.stdout)
    facts = {"command": "python benchmarks/warming.py", "date": datetime.now().isoformat(timespec="minutes")}
    facts |= {"processor": machine.processor_name(), "cores": cores.available(), "load": os.getloadavg()[0]}
    kept = {key: found[key] for key in ("loaded", "compiled", "kernels", "bytes")}
    return {**facts, **kept, "seconds": round(found["seconds"], 1), "failed": len(found["failed"])}


def section() -> list[str]:
    """What the page says of it; nothing where it was not measured."""
    if not RESULT.exists():
        return []
    found = json.loads(RESULT.read_text())
    reached = found["seconds"] <= WANTED and not found["failed"]
    return [
        "", "## Compiling everything", "",
        f"`python {' '.join(COMMAND)} all` compiled {found['loaded']:,} kernels ({found['compiled']:,} files, "
        f"{found['bytes'] / 1e6:.0f} MB) into an empty cache in {found['seconds']:.0f} s on {found['cores']} cores of "
        f"{found['processor']}, measured on {found['date'].replace('T', ' ')} by `{found['command']}`. At most "
        f"{WANTED} s are wanted: {'reached' if reached else 'not reached'}.",
    ]  # fmt: skip


if __name__ == "__main__":
    content = measure(*sys.argv[1:])
    if len(sys.argv) == 1:
        RESULT.write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps(content, indent=1))
