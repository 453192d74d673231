"""What the kernels of gates, rows and norms for CUDA devices are made of, and what speed that allows, as `cuda_ptx.py`
has it for functions of single elements; no device is needed.

    python scripts/cuda_ptx_rows.py             all kernels that the report lacks or has of another digest
    python scripts/cuda_ptx_rows.py softmax     those of a program or a gate
    python scripts/cuda_ptx_rows.py --check     exits with 1 if the report is not of today's kernels
    python scripts/cuda_ptx_rows.py --table     prints the report

Rows have 4,096 elements, and are read and written once. The PTX is executed on normally distributed rows; barriers are
taken to cost nothing but the instruction, since other blocks work while one waits.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import cuda_page
import numpy as np
import ptx_machine
from cuda_ptx import CAPABILITIES, COUNTED, DTYPES, UNITS, assembled, cost, counted, faults, predicted, ptxas

from fastact.cuda.kernels import Kernel, Layout
from fastact.cuda.rows.layout import linked
from fastact.cuda.rows.plan import Launch, Rows, plan
from fastact.kernels import GATES
from fastact.kernels.programs import PROGRAMS
from fastact.link.arithmetic import TIERS
from fastact.link.gates import ARGUMENTS, OUTPUTS

RESULT = Path(__file__).parent.parent / "benchmarks" / "results" / "cuda_ptx_rows.json"
LENGTH, ROWS = 4096, 4
COUNTED_PROGRAMS = (
    "softmax", "softmax_backward", "log_softmax", "log_softmax_backward", "logsumexp", "sparsemax", "rms_norm_weight",
    "rms_norm_backward_weight", "layer_norm_weight_bias", "layer_norm_backward_weight", "batch_norm",
)  # fmt: skip
Key = tuple[str, str, str, str]


def program(name: str, dtype: str) -> str:
    """The variant of a program that a dtype takes."""
    return f"{name}_scaled" if dtype == "float64" and f"{name}_scaled" in PROGRAMS else name


def launched(name: str, dtype: str, tier: str, machine: ptx_machine.Machine) -> tuple[Launch, int]:
    """The launch for normally distributed rows, and the bytes that an element moves."""
    found, kind, rng = linked(name, dtype, tier), np.dtype(DTYPES[dtype]), np.random.default_rng(0)
    facts = PROGRAMS[name]
    operands: list[Rows] = []
    for _ in facts.elements:
        x = (3 * rng.standard_normal((ROWS, LENGTH))).astype(kind)
        operands.append(Rows(machine.place(x), (LENGTH * kind.itemsize,), kind.itemsize))
    for _ in facts.columns:
        operands.append(Rows(machine.place(rng.standard_normal(LENGTH).astype(kind)), (), kind.itemsize))
    for _ in facts.rows:
        operands.append(Rows(machine.place(np.ones(ROWS, kind)), (kind.itemsize,)))
    results = len(found.result.outputs) if found.result else 0
    for _ in range(results):
        place = machine.place(np.zeros((ROWS, LENGTH), kind))
        operands.append(Rows(place, (LENGTH * kind.itemsize,), kind.itemsize))
    for _ in found.totals.outputs if found.totals else ():
        operands.append(Rows(machine.place(np.zeros(ROWS)), (8,)))
    numbers = [int(np.array(1e-5).view(np.int64))] * len(facts.numbers)
    (launch,) = plan(name, dtype, tier, LENGTH, (ROWS,), operands, numbers)
    return launch, (len(facts.elements) + results) * kind.itemsize


def row(name: str, form: str, dtype: str, tier: str, assembler: str | None) -> dict[str, Any]:
    result: dict[str, Any] = {
        "kernel": name,
        "form": form,
        "dtype": dtype,
        "tier": tier,
        "digest": digest(name, form, dtype, tier),
    }
    if form != "rows":
        kernel = gate(name, form, dtype, tier)
        text = kernel.ptx(COUNTED)
        wrong = set(faults(kernel, text))
        result["bytes"] = (len(ARGUMENTS[form]) + OUTPUTS[form]) * np.dtype(DTYPES[dtype]).itemsize
        result["per_element"] = counted(kernel, text)
    else:
        machine = ptx_machine.Machine()
        launch, result["bytes"] = launched(program(name, dtype), dtype, tier, machine)
        wrong = set()
        for capability in CAPABILITIES if tier == "fast" else (COUNTED,):
            text = launch.kernel.ptx(capability)
            wrong |= set(row_faults(text, bool(launch.kernel.program.result)))
        text = launch.kernel.ptx(COUNTED)
        steps = ptx_machine.parse(text)
        issued = machine.launch(steps, launch.blocks, launch.threads, launch.arguments, launch.geometry.memory)
        total = dict.fromkeys(UNITS, 0.0)
        for count, instruction in zip(issued, steps.instructions, strict=True):
            for unit, amount in cost(instruction).items():
                total[unit] += float(count) * amount
        result["per_element"] = {unit: round(32 * amount / (ROWS * LENGTH), 3) for unit, amount in total.items()}
        result["layout"], result["threads"] = launch.kernel.layout.label, launch.geometry.threads
        result["memory"] = launch.geometry.memory
    result["share"] = predicted(result["per_element"], result["bytes"])
    more = assembled(assembler, text, COUNTED)
    if more.get("spilled"):
        wrong.add("registers are spilled")
    return {**result, "faults": sorted(wrong), **more}


def row_faults(text: str, writes: bool) -> list[str]:
    """What ought not to be in the PTX of a kernel over rows."""
    found = {".".join(i.parts) for i in ptx_machine.parse(text).instructions}
    wrong = [i for i in found if re.search(r"\.(approx|ftz|full|sat)\b", i)]
    wrong += [i for i in found if re.match(r"(add|sub|mul|div|fma|mad|sqrt|rcp)\.(?!rn).*f(16|32|64)", i)]
    if ".local" in text:
        wrong.append("local memory")
    for access in ("ld", "st") if writes else ("ld",):
        if not any(re.match(rf"{access}\.global\S*\.(v4\.[bfu]32|v2\.[bfu]64)", i) for i in found):
            wrong.append(f"no {access} of 16 bytes")
    return wrong


def gate(name: str, form: str, dtype: str, tier: str) -> Kernel:
    return Kernel(name, form, dtype, tier, Layout("v" * len(ARGUMENTS[form]), outputs=OUTPUTS[form]))


# -- the report -------------------------------------------------------------------------------------------------------
def key(found: dict[str, Any]) -> Key:
    return found["kernel"], found["form"], found["dtype"], found["tier"]


def read() -> dict[Key, dict[str, Any]]:
    return {key(found): found for found in json.loads(RESULT.read_text())["kernels"]} if RESULT.exists() else {}


def wanted() -> list[Key]:
    names = [(name, form) for name in GATES for form in ("value", "backward")]
    names += [(name, "rows") for name in COUNTED_PROGRAMS]
    return [(name, form, dtype, tier) for name, form in names for dtype in DTYPES for tier in TIERS]


def digest(name: str, form: str, dtype: str, tier: str) -> str:
    if form != "rows":
        return gate(name, form, dtype, tier).graph.digest()
    return linked(program(name, dtype), dtype, tier).digest()


def stale(rows: dict[Key, dict[str, Any]]) -> list[Key]:
    return [k for k in wanted() if k not in rows or rows[k]["digest"] != digest(*k)]


def write(rows: dict[Key, dict[str, Any]]) -> None:
    lines = ",\n".join(json.dumps(rows[k]) for k in wanted() if k in rows)
    head = json.dumps({"length": LENGTH, "rows": ROWS})
    RESULT.write_text(f'{{"head": {head},\n"kernels": [\n{lines}\n]}}\n')


def table(rows: dict[Key, dict[str, Any]]) -> str:
    lines = [
        "kernel                     form      dtype     tier    issued  float64  registers  limited by   H100   H200"
    ]
    for found in rows.values():
        counts, share = found["per_element"], found["share"]
        lines.append(
            f"{found['kernel']:26} {found['form']:9} {found['dtype']:9} {found['tier']:6} {counts['issue']:7.1f} "
            f"{counts['float64']:8.1f} {found.get('registers', '-'):>10}  {share['limited_by']:10} "
            f"{share['H100']:6.0%} {share['H200']:6.0%}  {', '.join(found['faults'])}".rstrip()
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
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
    unknown = set(options.names) - {k[0] for k in wanted()}
    if unknown:
        parser.error(f"no gate or program {', '.join(sorted(unknown))}")
    todo = [k for k in wanted() if k[0] in options.names] if options.names else stale(rows)
    assembler = ptxas()
    for place, one in enumerate(todo):
        rows[one] = row(*one, assembler)
        if place % 24 == 23 or place == len(todo) - 1:
            print(f"{place + 1} of {len(todo)}: {' '.join(one)}", flush=True)
            write(rows)
    cuda_page.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
