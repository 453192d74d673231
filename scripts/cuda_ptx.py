"""What the kernels for CUDA devices are made of, and what speed that allows; no device is needed.

    python scripts/cuda_ptx.py                  all kernels that the report lacks or has of another digest
    python scripts/cuda_ptx.py mish exp         those functions
    python scripts/cuda_ptx.py --check          exits with 1 if the report is not of today's kernels
    python scripts/cuda_ptx.py --table          prints the report

Gates, rows and norms have a report of their own: `cuda_ptx_rows.py`.

The value of each function is compiled in every dtype and tier for every capability, its product with the gradient for
9.0, and the PTX checked: packs of 16 bytes, nothing kept in local memory, no approximate instruction and none that may
be contracted, no float64 where the graph has none. Where ptxas is installed it says how many registers are taken and
whether any are spilled.

The PTX for capability 9.0 is then executed on normally distributed inputs, and the instructions of each warp are
counted, branches for rare elements included. Counted against what a multiprocessor issues per clock, that gives the
bytes per second that the arithmetic allows; their share of the bandwidth of a copy is a prediction from above, since it
takes for granted that arithmetic and memory overlap completely.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cuda_page
import ml_dtypes
import numpy as np
import ptx_machine

from fastact.cuda.kernels import Kernel, Layout, graph
from fastact.kernels import REGISTRY
from fastact.link.arithmetic import TIERS
from fastact.link.forms import forms, usual_form

RESULT = Path(__file__).parent.parent / "benchmarks" / "results" / "cuda_ptx.json"
DTYPES: dict[str, Any] = {
    "float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32, "float64": np.float64,
}  # fmt: skip
FORMS = ("value", "backward")
CAPABILITIES = ((7, 5), (8, 0), (9, 0), (10, 0))
COUNTED = (9, 0)

UNITS = {"issue": 4.0, "float32": 4.0, "integer": 2.0, "float64": 2.0, "special": 0.5, "memory": 1.0}
"""Instructions of warps per clock that a multiprocessor of capability 9.0 takes, by unit; memory counts clocks."""
CARDS = {"H100": (132, 1.7e9, 3.35e12), "H200": (132, 1.7e9, 4.8e12)}
"""Multiprocessors, clock, and bytes per second of the memory."""
COPY = 0.9
"""The share of the memory's bytes per second that a copy reaches."""

_SEQUENCES = {
    ("div", "f32"): {"issue": 10, "float32": 7, "integer": 2, "special": 1},
    ("sqrt", "f32"): {"issue": 9, "float32": 5, "integer": 3, "special": 1},
    ("div", "f64"): {"issue": 14, "float64": 9, "integer": 4, "special": 1},
    ("sqrt", "f64"): {"issue": 14, "float64": 9, "integer": 4, "special": 1},
}  # fmt: skip
"""What one instruction of PTX becomes where the device has none for it; the usual path of each."""


def words_of(kind: str) -> int:
    """Registers of a type."""
    return 2 if kind.endswith("64") else 1


def cost(instruction: ptx_machine.Instruction) -> dict[str, float]:
    """What an instruction takes of the units of a multiprocessor."""
    op, kind = instruction.op, instruction.parts[-1]
    if (op, kind) in _SEQUENCES:
        return dict(_SEQUENCES[op, kind])
    if op in ("mov", "neg", "abs", "cvta", "ret") or (op == "ld" and instruction.parts[1] == "param"):
        return {}  # taken along by other instructions, or done once
    words = 2 if kind.endswith("64") and not kind.startswith("f") else 1
    if op in ("ld", "st"):
        return {
            "issue": 1,
            "memory": 4.0 if any(p in ("v2", "v4") for p in instruction.parts) else float(words_of(kind)),
        }
    if op in ("fma", "add", "sub", "mul", "setp") and kind == "f64":
        return {"issue": 1, "float64": 1}
    if op in ("fma", "add", "sub", "mul") and kind in ("f32", "f16"):
        return {"issue": 1, "float32": 1}
    if op in ("mul", "mad"):
        count = 4 if kind.endswith("64") else 1
        return {"issue": count, "float32": count}
    if op == "cvt":
        special = "f64" in instruction.parts or "rni" in instruction.parts
        return {"issue": 1, "special" if special else "integer": 1}
    if op == "bra":
        return {"issue": 1}
    if op == "selp" and kind.endswith("64"):
        words = 2
    return {"issue": words, "integer": words}


# -- one kernel -------------------------------------------------------------------------------------------------------
def kernel(name: str, form: str, dtype: str, tier: str) -> Kernel:
    """The kernel of arrays of one piece, parameters at their defaults, or else numbers."""
    chosen = forms(REGISTRY[name])[usual_form(REGISTRY[name], form)]
    kinds = "".join("v" if k <= chosen.place else "c" for k in range(len(chosen.arguments)))
    return Kernel(name, chosen.name, dtype, tier, Layout(kinds))


def faults(kernel: Kernel, text: str) -> list[str]:
    """What ought not to be in a kernel's PTX."""
    found = {".".join(i.parts) for i in ptx_machine.parse(text).instructions}
    wrong = sorted(i for i in found if re.search(r"\.(approx|ftz|full|sat)\b", i))
    wrong += sorted(i for i in found if re.match(r"(add|sub|mul|div|fma|mad|sqrt|rcp)\.(?!rn).*f(16|32|64)", i))
    if not any(node.type == "f64" for node in kernel.graph.live()):
        wrong += sorted(i for i in found if ".f64" in i)
    if ".local" in text:
        wrong.append("local memory")
    for access in ("ld", "st"):
        if not any(re.match(rf"{access}\.global\S*\.(v4\.[bfu]32|v2\.[bfu]64)", i) for i in found):
            wrong.append(f"no {access} of 16 bytes")
    return wrong


def counted(kernel: Kernel, text: str) -> dict[str, float]:
    """What the units are asked for per element, on normally distributed inputs."""
    program, machine = ptx_machine.parse(text), ptx_machine.Machine()
    dtype, rng = np.dtype(DTYPES[kernel.dtype]), np.random.default_rng(0)
    blocks, threads, packs = 2, 128, 6
    n = blocks * threads * packs * kernel.lanes
    arguments: list[int] = []
    for kind in kernel.layout.kinds:
        values = (3 * rng.standard_normal(n)).astype(dtype) if kind == "v" else np.array([0.25], dtype)
        arguments.append(machine.place(values) if kind == "v" else int(values.view(f"i{dtype.itemsize}")[0]))
    arguments += [*(machine.place(np.zeros(n, dtype)) for _ in range(kernel.layout.outputs)), n]
    issued = machine.launch(program, blocks, threads, arguments)
    total = dict.fromkeys(UNITS, 0.0)
    for count, instruction in zip(issued, program.instructions, strict=True):
        for unit, amount in cost(instruction).items():
            total[unit] += float(count) * amount
    return {unit: round(32 * amount / n, 3) for unit, amount in total.items()}


def predicted(counts: dict[str, float], bytes_: int) -> dict[str, Any]:
    """The unit that takes longest, and for each card the share of a copy's bandwidth that it allows."""
    clocks = {unit: counts[unit] / 32 / UNITS[unit] for unit in UNITS}
    slowest = max(clocks, key=clocks.__getitem__)
    shares = {}
    for card, (processors, clock, bandwidth) in CARDS.items():
        allowed = processors * clock / clocks[slowest] * bytes_
        shares[card] = round(min(1.0, allowed / (COPY * bandwidth)), 3)
    return {"limited_by": slowest, **shares}


def ptxas() -> str | None:
    """The assembler of NVIDIA's wheel, which is as new as the compiler, or else that on the path."""
    try:
        import nvidia
    except ImportError:
        return shutil.which("ptxas")
    found = (str(place) for base in nvidia.__path__ for place in sorted(Path(base).glob("*/bin/ptxas")))
    return next(found, None) or shutil.which("ptxas")


def assembled(assembler: str | None, text: str, capability: tuple[int, int]) -> dict[str, int]:
    """Registers per thread, and bytes that are spilled."""
    if assembler is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(text)
        architecture = f"-arch=sm_{capability[0]}{capability[1]}"
        command = [assembler, "-v", "-O3", architecture, str(source), "-o", str(source.with_suffix(".cubin"))]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    registers, spilled = re.search(r"Used (\d+) registers", said), re.findall(r"(\d+) bytes spill", said)
    return {"registers": int(registers[1]) if registers else 0, "spilled": sum(map(int, spilled))}


def row(name: str, form: str, dtype: str, tier: str, assembler: str | None) -> dict[str, Any]:
    found = kernel(name, form, dtype, tier)
    result: dict[str, Any] = {
        "function": name, "form": form, "dtype": dtype, "tier": tier, "digest": found.graph.digest(),
    }  # fmt: skip
    wrong, compiled_for = set(), []
    more: dict[str, int] = {}
    for capability in CAPABILITIES if form == "value" else (COUNTED,):
        text = found.ptx(capability)
        wrong |= set(faults(found, text))
        compiled_for.append(f"sm_{capability[0]}{capability[1]}")
        if capability == COUNTED:
            more = assembled(assembler, text, capability)
            operands = found.layout.kinds.count("v") + 1
            result["bytes"] = operands * np.dtype(DTYPES[dtype]).itemsize
            result["per_element"] = counted(found, text)
            result["share"] = predicted(result["per_element"], result["bytes"])
    if more.get("spilled"):
        wrong.add("registers are spilled")
    return {**result, "faults": sorted(wrong), **more, "compiled_for": compiled_for}


# -- the report -------------------------------------------------------------------------------------------------------
def key(row: dict[str, Any]) -> tuple[str, str, str, str]:
    return row["function"], row["form"], row["dtype"], row["tier"]


def read() -> dict[tuple[str, str, str, str], dict[str, Any]]:
    return {key(row): row for row in json.loads(RESULT.read_text())["kernels"]} if RESULT.exists() else {}


def wanted() -> list[tuple[str, str, str, str]]:
    return [(name, form, dtype, tier) for name in REGISTRY for form in FORMS for dtype in DTYPES for tier in TIERS]


def digest(name: str, form: str, dtype: str, tier: str) -> str:
    return graph(name, usual_form(REGISTRY[name], form), dtype, tier).digest()


def stale(rows: dict[tuple[str, str, str, str], dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    return [k for k in wanted() if k not in rows or rows[k]["digest"] != digest(*k)]


def write(rows: dict[tuple[str, str, str, str], dict[str, Any]]) -> None:
    head = {"units": UNITS, "cards": CARDS, "copy": COPY, "capabilities": [list(c) for c in CAPABILITIES]}
    lines = ",\n".join(json.dumps(rows[k]) for k in wanted() if k in rows)
    RESULT.write_text(f'{{"head": {json.dumps(head)},\n"kernels": [\n{lines}\n]}}\n')


def table(rows: dict[tuple[str, str, str, str], dict[str, Any]]) -> str:
    lines = ["function          form      dtype     tier    issued  float64  registers  limited by   H100   H200"]
    for found in rows.values():
        counts, share = found["per_element"], found["share"]
        registers = found.get("registers", "-")
        lines.append(
            f"{found['function']:17} {found['form']:9} {found['dtype']:9} {found['tier']:6} {counts['issue']:7.1f} "
            f"{counts['float64']:8.1f} {registers:>10}  {share['limited_by']:10} "
            f"{share['H100']:6.0%} {share['H200']:6.0%}"
            + ("  " + ", ".join(found["faults"]) if found["faults"] else "")
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("functions", nargs="*", metavar="FUNCTION")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    rows = read()
    if options.check or options.table:
        old = stale(rows)
        if options.table:
            print(table(rows))
        if old:
            print(f"{len(old)} kernels are not in the report as they are, {old[0]} first", file=sys.stderr)
        return 1 if options.check and old else 0
    unknown = set(options.functions) - set(REGISTRY)
    if unknown:
        parser.error(f"no function {', '.join(sorted(unknown))}")
    todo = [k for k in wanted() if k[0] in options.functions] if options.functions else stale(rows)
    assembler = ptxas()
    for place, one in enumerate(todo):
        rows[one] = row(*one, assembler)
        if place % 48 == 47 or place == len(todo) - 1:
            print(f"{place + 1} of {len(todo)}: {' '.join(one)}", flush=True)
            write(rows)
    cuda_page.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
