"""Checks and measures the kernels on a CUDA device: all in one go, and within the time that is given.

    python scripts/gpu_check.py -o REPORT       writes REPORT.json and REPORT.txt
    python scripts/gpu_check.py -o REPORT --limit 300 --workers 4 --functions mish,exp

1. Bits: every function, gate and gradient in every dtype and tier, against the kernels of the CPU, on all 65,536
   numbers of 16 bits and on 2^24 numbers of float32 and float64 each, and exp and mish on all 2^32 numbers of float32;
   softmax, norms and their gradients on rows of several lengths; strided and broadcast operands; arrays of PyTorch and
   CuPy where they are installed.
2. Speed: time per call at 2^28 elements (less where the memory is small), of 8,192 rows of 4,096, as a share of the
   bandwidth of a copy within the device, which is measured beside it; PyTorch's and CuPy's own functions, where they
   are installed.
3. Launches: time per call of small arrays.

Needs numba-cuda, or a Numba with a CUDA toolkit, and NumPy; ml_dtypes for bfloat16. What there was no time for is named
in the report. Exit status: 0 if all bits are equal, 1 if not, 2 without a device.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import gpu_rows
from gpu_cases import Buffers, Case, Runner, cases, compare, copy_bandwidth, cuda, different, every, seconds, speed

import fastact
from fastact.cpu.threads import num_threads
from fastact.cuda import package
from fastact.kernels import GATES, REGISTRY
from fastact.link.arithmetic import TIERS

EVERY = ("exp", "mish")
"""The functions that are compared on all numbers of float32."""
SHARES = {"bits": 0.55, "every": 0.70, "speed": 0.92}
"""What part of the time has passed, at most, when each stage ends."""


# -- other libraries, and the front door -------------------------------------------------------------------------------
def peers(names: list[str], count: int, bandwidth: float, until: float) -> list[dict[str, Any]]:
    """PyTorch's and CuPy's own functions, as shares of a copy's bandwidth."""
    rows: list[dict[str, Any]] = []
    with contextlib.suppress(ImportError):
        import torch

        for dtype in ("float32", "float16", "bfloat16"):
            if not torch.cuda.is_available():
                break
            x = (3 * torch.randn(count, device="cuda")).to(getattr(torch, dtype))
            for name in names:
                expression = REGISTRY[name].peers.get("torch") if name in REGISTRY else None
                if expression is None or time.time() > until:
                    continue
                space = {"torch": torch, "x": x, "F": torch.nn.functional}
                space.update({p.name: p.default for p in REGISTRY[name].parameters})
                with contextlib.suppress(Exception):  # some are not there for a dtype, or not in this version
                    best = seconds(lambda s=space, e=expression: eval(e, s))
                    moved = 2 * count * x.element_size()
                    rows.append({"peer": "torch", "function": name, "dtype": dtype, "share": moved / best / bandwidth})
            del x
            torch.cuda.empty_cache()
    with contextlib.suppress(ImportError):
        import cupy

        for dtype in ("float32", "float16"):
            y = (3 * cupy.random.standard_normal(count, dtype=np.float32)).astype(dtype)
            for name in names:
                function = getattr(cupy, name, None)
                if function is None or time.time() > until:
                    continue
                with contextlib.suppress(Exception):
                    best = seconds(lambda f=function, v=y: f(v))
                    moved = 2 * count * y.itemsize
                    rows.append({"peer": "cupy", "function": name, "dtype": dtype, "share": moved / best / bandwidth})
    return rows


def doors() -> dict[str, str]:
    """Calls of the front door with arrays of several kinds and layouts: "" where they are right."""
    rng = np.random.default_rng(3)
    x, w = (3 * rng.standard_normal((6, 40))).astype(np.float32), np.abs(rng.standard_normal((6, 1))).astype(np.float32)

    def equal(result: Any, expected: Any) -> str:
        host = result.copy_to_host() if hasattr(result, "copy_to_host") else result
        host = host.get() if hasattr(host, "get") else host.cpu().numpy() if hasattr(host, "cpu") else host
        same = host.shape == expected.shape and not len(different(np.ravel(host), np.ravel(expected)))
        return "" if same else "other bits"

    d, r = cuda.to_device, np.ascontiguousarray(x[:3, :20])
    checks: dict[str, Callable[[], str]] = {
        "rows": lambda: equal(fastact.mish(d(x)), fastact.mish(x)),
        "every other column": lambda: equal(fastact.mish(d(x)[:, ::2]), fastact.mish(x[:, ::2])),
        "misaligned": lambda: equal(fastact.mish(d(x.ravel())[1:]), fastact.mish(x.ravel()[1:])),
        "Fortran's order": lambda: equal(fastact.mish(d(np.asfortranarray(x))), fastact.mish(x)),
        "broadcast": lambda: equal(fastact.elu(d(x), d(w)), fastact.elu(x, w)),
        "a number": lambda: equal(fastact.elu(d(x), 0.5), fastact.elu(x, 0.5)),
        "gradient": lambda: equal(fastact.mish.backward(d(x), d(x)), fastact.mish.backward(x, x)),
        "gate": lambda: equal(fastact.swiglu(d(x), d(x)), fastact.swiglu(x, x)),
        "softmax": lambda: equal(fastact.softmax(d(r)), fastact.softmax(r)),
        "softmax, first axis": lambda: equal(fastact.softmax(d(r), axis=0), fastact.softmax(r, axis=0)),
        "log_softmax, gradient": lambda: equal(
            fastact.log_softmax.backward(d(r), d(r)), fastact.log_softmax.backward(r, r)
        ),
        "layer_norm": lambda: equal(fastact.layer_norm(d(r), d(r[0])), fastact.layer_norm(r, r[0])),
        "rms_norm, gradient": lambda: equal(
            fastact.rms_norm.backward(d(r), d(r))[0], fastact.rms_norm.backward(r, r)[0]
        ),
        "batch_norm": lambda: equal(
            fastact.batch_norm(d(r), d(r[0]), d(r[0] ** 2)), fastact.batch_norm(r, r[0], r[0] ** 2)
        ),
        "a stream": lambda: equal(_streamed(x), fastact.mish(x)),
        "a device function": lambda: equal(_in_kernel(x.ravel()), fastact.mish(x.ravel(), approx="fast")),
    }
    with contextlib.suppress(ImportError):
        import torch

        if torch.cuda.is_available():
            t = torch.from_numpy(x).cuda()
            checks["torch"] = lambda: equal(fastact.mish(t), fastact.mish(x))
            checks["torch, transposed"] = lambda: equal(fastact.mish(t.T), fastact.mish(x.T))
            checks["torch, softmax"] = lambda: equal(fastact.softmax(t.T), fastact.softmax(x.T))
            checks["torch, layer_norm"] = lambda: equal(fastact.layer_norm(t, t[0]), fastact.layer_norm(x, x[0]))
            checks["torch, bfloat16"] = lambda: (
                "" if fastact.mish(t.bfloat16()).dtype is torch.bfloat16 else "another dtype"
            )
    with contextlib.suppress(ImportError):
        import cupy

        checks["cupy"] = lambda: equal(fastact.mish(cupy.asarray(x)), fastact.mish(x))
        checks["cupy, softmax"] = lambda: equal(fastact.softmax(cupy.asarray(x)), fastact.softmax(x))
        checks["cupy, columns"] = lambda: equal(fastact.mish(cupy.asarray(x)[:, ::3]), fastact.mish(x[:, ::3]))
    found = {}
    for label, check in checks.items():
        try:
            found[label] = check()
        except Exception as error:
            found[label] = f"{type(error).__name__}: {error}"
    return found


def _streamed(x: Any) -> Any:
    stream = cuda.stream()
    result = fastact.mish(cuda.to_device(x, stream=stream))
    stream.synchronize()
    return result


def _in_kernel(x: Any) -> Any:
    mish = fastact.mish.device("fast")

    def kernel(x: Any, y: Any) -> None:
        i = cuda.grid(1)
        if i < x.size:
            y[i] = mish(x[i])

    result = cuda.to_device(np.zeros_like(x))
    cuda.jit(kernel)[-(-x.size // 64), 64](cuda.to_device(x), result)
    return result


def overhead() -> dict[str, float]:
    """Microseconds per call with arrays of 1,024 numbers."""
    x = cuda.to_device(np.linspace(-3, 3, 1024, dtype=np.float32))
    out = cuda.to_device(np.zeros(1024, np.float32))
    runner = Runner(("mish", "value", "float32", "fast"), [np.zeros(1024, np.float32)], cuda.to_device)
    ways: dict[str, Callable[[], Any]] = {
        "mish(x, out=out)": lambda: fastact.mish(x, out=out, approx="fast"),
        "mish(x)": lambda: fastact.mish(x, approx="fast"),
        "the kernel alone": runner,
    }
    with contextlib.suppress(ImportError):
        import torch

        if torch.cuda.is_available():
            t = torch.linspace(-3, 3, 1024, device="cuda")
            ways["mish(x) of a PyTorch tensor"] = lambda: fastact.mish(t, approx="fast")
            ways["torch.nn.functional.mish"] = lambda: torch.nn.functional.mish(t)
    found, calls = {}, 1 if package.simulated() else 300
    for label, way in ways.items():
        way()
        cuda.synchronize()
        start = time.perf_counter()
        for _ in range(calls):
            way()
        cuda.synchronize()
        found[label] = (time.perf_counter() - start) / calls * 1e6
    return found


# -- several processes ------------------------------------------------------------------------------------------------
def worker(options: argparse.Namespace) -> int:
    """Bits of one part of the cases; then, when told to, their speed."""
    own = cases(options.names)[options.part :: options.workers]
    deadline = options.began + options.limit * SHARES["bits"]
    done: list[Case] = []
    with open(options.file, "w", encoding="utf-8") as file, num_threads(options.threads):

        def say(kind: str, found: Any) -> None:
            file.write(json.dumps({kind: found}) + "\n")
            file.flush()

        for case in own:
            if time.time() > deadline:
                break
            try:
                say("bits", compare(case, options.inputs))
            except Exception as error:
                say("failed", {"case": case, "error": f"{type(error).__name__}: {error}"})
            done.append(case)
        say("ready", len(done))
        line = sys.stdin.readline().split()
        if not line:
            return 0
        until, bandwidth = float(line[0]), float(line[1])
        buffers = Buffers(options.elements)
        for case in sorted(done, key=lambda case: case[2]):
            if case[1] in ("value", "backward", "rows") and time.time() < until:
                try:
                    say("speed", speed(case, buffers, bandwidth))
                except Exception as error:
                    say("failed", {"case": case, "error": f"{type(error).__name__}: {error}"})
    return 0


def parts(options: argparse.Namespace, folder: Path) -> list[tuple[subprocess.Popen[str], Path]]:
    found = []
    for part in range(options.workers):
        place = folder / f"part{part}.jsonl"
        command = [sys.executable, __file__, "--part", str(part), "--workers", str(options.workers)]
        command += ["--limit", str(options.limit), "--began", str(options.began), "--inputs", str(options.inputs)]
        command += ["--elements", str(options.elements), "--functions", ",".join(options.names), "--file", str(place)]
        command += ["--threads", str(options.threads)]
        log = open(folder / f"part{part}.log", "w", encoding="utf-8")
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, text=True)
        found.append((process, place))
    return found


def said(place: Path) -> Iterator[tuple[str, Any]]:
    if place.exists():
        for line in place.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                yield from json.loads(line).items()


def check(options: argparse.Namespace) -> dict[str, Any]:
    device = None if package.simulated() else cuda.get_current_device()
    name = getattr(device, "name", "simulated")
    name = name.decode() if isinstance(name, bytes) else str(name)
    report: dict[str, Any] = {
        "device": name, "capability": list(getattr(device, "compute_capability", ())), "versions": versions(),
        "inputs": options.inputs, "elements": options.elements,
    }  # fmt: skip

    def until(stage: str) -> float:
        return float(options.began + options.limit * SHARES[stage])

    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        running = parts(options, folder)
        report["doors"] = doors()
        while any(p.poll() is None and all(k != "ready" for k, _ in said(f)) for p, f in running):
            time.sleep(0.3)
        report["every"] = [
            every(n, tier, until("every")) for tier in ("fast", "exact") for n in EVERY if n in options.names
        ]
        report["copy_bandwidth"] = bandwidth = copy_bandwidth(4 * options.elements)
        for process, _ in running:
            with contextlib.suppress(BrokenPipeError, subprocess.TimeoutExpired):
                process.communicate(f"{until('speed')} {bandwidth}\n", timeout=max(30.0, until("speed") - time.time()))
            process.kill()
        found = [item for _, place in running for item in said(place)]
        for kind in ("bits", "speed", "failed"):
            report[kind] = [value for k, value in found if k == kind]
        logs = [(folder / f"part{k}.log").read_text()[-2000:] for k in range(options.workers)]
        report["messages"] = [log for log, (p, _) in zip(logs, running, strict=True) if p.returncode not in (0, -9)]
    checked = {tuple(row["case"]) for row in report["bits"]}
    report["left_out"] = [case for case in cases(options.names) if case not in checked]
    end = options.began + options.limit * 0.98
    report["peers"] = gpu_rows.peers(options.names, options.elements, bandwidth, seconds, end)
    report["peers"] += peers(options.names, options.elements, bandwidth, end)
    report["overhead"] = overhead()
    report["seconds"] = time.time() - options.began
    return report


def versions() -> dict[str, str]:
    from importlib import metadata

    found = {"python": sys.version.split()[0]}
    for name in ("numba", "numba-cuda", "numpy", "torch", "cupy-cuda12x", "cupy-cuda13x", "nvidia-nvvm"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def table(report: dict[str, Any]) -> str:
    wrong = [row for row in (*report["bits"], *report["every"]) if row["different"]]
    lines = [
        f"{report['device']}, capability {report['capability']}, {report['versions']}",
        f"copy: {report['copy_bandwidth'] / 1e9:.0f} GB/s at {report['elements']} elements; "
        f"{report['seconds']:.0f} s in all",
        f"bits: {len(report['bits'])} kernels compared, {len(wrong)} differ, {len(report['failed'])} failed, "
        f"{len(report['left_out'])} left out for want of time",
    ]
    lines += [f"  differs: {row}" for row in wrong[:20]] + [f"  failed: {row}" for row in report["failed"][:20]]
    lines += [f"  all float32: {row['case']}: {row['different']} of {row['inputs']} differ" for row in report["every"]]
    lines += [f"  {label}: {fault or 'ok'}" for label, fault in report["doors"].items()]
    lines += ["", "launch, microseconds"] + [f"  {label}: {value:.1f}" for label, value in report["overhead"].items()]
    columns = [(dtype, tier) for dtype in ("float32", "float16", "bfloat16", "float64") for tier in TIERS]
    shares = {tuple(row["case"]): row["share"] for row in report["speed"]}
    others = {(row["peer"], row["function"], row["dtype"]): row["share"] for row in report["peers"]}
    lines += ["", "share of a copy's bandwidth, in percent; torch and cupy beside float32 fast"]
    lines.append(
        " " * 26 + " ".join(f"{dtype[:2] + dtype[-2:]}.{tier[:2]}" for dtype, tier in columns) + "  torch  cupy"
    )
    for name, form in dict.fromkeys(case[:2] for case in shares):
        cells = [f"{100 * shares[name, form, *c]:7.1f}" if (name, form, *c) in shares else " " * 7 for c in columns]
        more = [
            others.get((peer, name, "float32")) if form in ("value", "rows") else None for peer in ("torch", "cupy")
        ]
        cells += [f"{100 * value:6.1f}" if value is not None else " " * 6 for value in more]
        lines.append(f"{name + ('' if form == 'rows' else ' ' + form):26}" + " ".join(cells))
    return "\n".join(lines) + "\n"


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", metavar="REPORT", help="where the report goes, without an ending")
    parser.add_argument("--limit", type=float, default=470.0, help="seconds that all of it may take")
    parser.add_argument("--workers", type=int, default=max(1, min(8, (os.cpu_count() or 2) // 2)))
    parser.add_argument("--functions", default="", help="names with commas between them; all if left out")
    parser.add_argument("--inputs", type=int, default=1 << 24, help="numbers of float32 and float64")
    parser.add_argument("--elements", type=int, default=0, help="elements of arrays that are timed")
    for hidden in ("--part", "--threads"):
        parser.add_argument(hidden, type=int, default=-1, help=argparse.SUPPRESS)
    parser.add_argument("--began", type=float, default=time.time(), help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    known = [*REGISTRY, *GATES, *gpu_rows.NAMES]
    options.names = options.functions.split(",") if options.functions else known
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(f"no function {', '.join(unknown)}")
    if options.part < 0 and not options.output:
        parser.error("say where the report goes: -o REPORT")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    try:
        package.need_driver()
    except (ImportError, RuntimeError) as error:
        print(f"gpu_check: {error}", file=sys.stderr)
        return 2
    if options.threads < 1:
        options.threads = max(1, (os.cpu_count() or 1) // options.workers)
    if options.part >= 0:
        return worker(options)
    if not options.elements:
        free = cuda.current_context().get_memory_info()[0]
        options.elements = 1 << min(28, int(np.log2(free / 64)))
    report = check(options)
    Path(f"{options.output}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    text = table(report)
    Path(f"{options.output}.txt").write_text(text, encoding="utf-8")
    print(text)
    wrong = any(row["different"] for row in (*report["bits"], *report["every"])) or any(report["doors"].values())
    return 1 if wrong or report["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
