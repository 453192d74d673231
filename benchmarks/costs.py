"""What a call costs besides its arithmetic: small arrays, a new process, work that grows, memory.

The results are plain rows for the report (`scripts/report.py`).
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import fastact
from fastact.accuracy import peers
from fastact.accuracy.measure import settings
from fastact.accuracy.timing import interleaved
from fastact.kernels import REGISTRY
from fastact.precision import TIERS

ROOT = Path(__file__).resolve().parents[1]
Row = dict[str, Any]

# -- small arrays -----------------------------------------------------------------------------------------------------
SMALL = (1, 16, 256, 4096)
SMALL_NAMES = ("exp", "tanh", "sigmoid", "mish")


def small(seconds: float) -> list[Row]:
    """Nanoseconds of a whole call, through the front door, on arrays of few elements."""
    rows = []
    for name in SMALL_NAMES:
        declaration = REGISTRY[name]
        for size in SMALL:
            x = np.linspace(-3, 3, size, dtype=np.float32)
            task = peers.Task(declaration, "value", x, settings(declaration, "float32"))
            calls = {tier: _door(name, tier, x) for tier in TIERS}
            for library in ("numpy", "torch"):
                if library in peers.candidates(declaration, "value"):
                    calls[library] = peers.peer(task, library).call
            found = interleaved(calls, seconds)
            rows.append({"function": name, "size": size, "ns": {k: round(t.best * 1e9) for k, t in found.items()}})
    return rows


STARTS = {"x": 0.0, "g": -1.0, "w": 0.5, "b": -0.5}
SMALL_ROWS = {
    "softmax": ("f(x, approx=t)", "torch.softmax(x, -1)"),
    "softmax, backward": ("f.backward_from_output(g, x, approx=t)", "torch._softmax_backward_data(g, x, -1, x.dtype)"),
    "layer_norm": ("f(x, w, b, approx=t)", "torch.nn.functional.layer_norm(x, x.shape, w, b)"),
    "rms_norm": ("f(x, w, approx=t)", "torch.nn.functional.rms_norm(x, x.shape, w)"),
}
"""Calls on one row, and PyTorch's that do the same; the backward pass of softmax begins with the output."""


def small_rows(seconds: float) -> list[Row]:
    """The same for functions of rows."""
    rows = []
    for name, (own, theirs) in SMALL_ROWS.items():
        for size in SMALL:
            arrays = {key: np.linspace(low, 1, size, dtype=np.float32) for key, low in STARTS.items()}
            scope = {**arrays, "f": getattr(fastact, name.partition(",")[0])}
            calls = {tier: eval(f"lambda: {own}", {**scope, "t": tier}) for tier in TIERS}
            if "torch" in peers.installed():
                torch = importlib.import_module("torch")
                tensors = {key: torch.from_numpy(a) for key, a in arrays.items()}
                calls["torch"] = eval(f"lambda: {theirs}", {**tensors, "torch": torch})
            found = interleaved(calls, seconds)
            rows.append({"function": name, "size": size, "ns": {k: round(t.best * 1e9) for k, t in found.items()}})
    return rows


def _door(name: str, tier: str, *arrays: Any, **options: Any) -> Callable[[], Any]:
    function = getattr(fastact, name)
    function(*arrays, approx=tier, **options)
    return lambda: function(*arrays, approx=tier, **options)


# -- a new process ----------------------------------------------------------------------------------------------------
CALL = "fastact.mish(numpy.ones(1000, 'f4'))"
PROGRAMS = {
    "python": ("pass", "warm"),
    "import numpy": ("import numpy", "warm"),
    "import fastact": ("import fastact", "warm"),
    "mish, nothing cached": (f"import numpy, fastact; {CALL}", "cold"),
    "mish, kernel cached": (f"import numpy, fastact; {CALL}", "warm"),
    "import numba": ("import numba", "warm"),
    "mish in PyTorch": ("import torch; torch.nn.functional.mish(torch.ones(1000))", "warm"),
    "mish in JAX": ("import jax; jax.nn.mish(jax.numpy.ones(1000)).block_until_ready()", "warm"),
}


def start(times: int) -> list[Row]:
    """Seconds from the start of a process to its end, the programs taking turns; best and median."""
    taken: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        # compiled Python files go to a folder of their own: an installed package has them, a checkout may not
        variables = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        variables |= {"PYTHONPYCACHEPREFIX": str(folder / "pyc"), "PYTHONPATH": str(ROOT)}
        for turn in range(times + 1):
            for name, (program, cache) in PROGRAMS.items():
                kernels = folder / (f"cold{turn}" if cache == "cold" else "warm")
                began = time.perf_counter()
                done = subprocess.run(
                    [sys.executable, "-c", program], env={**variables, "FASTACT_CACHE_DIR": str(kernels)},
                    stderr=subprocess.DEVNULL, cwd=folder, check=False,
                )  # fmt: skip
                if turn and done.returncode == 0:  # the first fills the caches
                    taken[name].append(time.perf_counter() - began)
    return [
        {"program": name, "best": round(min(readings), 4), "median": round(float(np.median(readings)), 4)}
        for name, readings in taken.items()
        if readings
    ]


# -- work that grows --------------------------------------------------------------------------------------------------
GROWING = (("relu", "fast"), ("exp", "fast"), ("mish", "fast"), ("mish", "exact"))
COPY = "np.copyto"
ROUND = 0.02
"""Seconds spent on a size, at least; large arrays take longer."""


def growth(largest: int, step: int = 2, dtype: str = "float32") -> list[Row]:
    """Nanoseconds per element of 2^4 to 2^largest elements, or what there is memory for, on one thread and on all."""
    while largest > 22 and 3 * np.dtype(dtype).itemsize << largest > free():
        largest -= step
    x = np.random.default_rng(0).uniform(-10, 10, 1 << min(largest, 22)).astype(dtype)
    x = np.resize(x, 1 << largest)
    y = np.zeros_like(x)
    rows = []
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for threads in dict.fromkeys((1, cores)):
        with ThreadPoolExecutor(threads) as pool, fastact.num_threads(threads):
            for power in range(4, largest + 1, step):
                size = 1 << power
                if threads > 1 and power < 12:
                    continue
                source, sink = x[:size], y[:size]
                calls = {f"{name} {tier}": _door(name, tier, source, out=sink) for name, tier in GROWING}
                if threads == 1 or power >= 18:
                    calls[COPY] = _copier(source, sink, threads, pool)
                with np.errstate(all="ignore"):
                    calls["np.exp"] = lambda source=source, sink=sink: np.exp(source, sink)
                    best = {label: t.best / size * 1e9 for label, t in interleaved(calls, ROUND * len(calls)).items()}
                rows.append({"threads": threads, "power": power, "ns": {k: round(v, 4) for k, v in best.items()}})
    return rows


def free() -> int:
    """Bytes of memory that are free, as far as the system tells."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 1 << 32


def _copier(source: Any, sink: Any, threads: int, pool: ThreadPoolExecutor) -> Callable[[], object]:
    """A copy on as many threads, each of which copies its part."""
    if threads == 1:
        return lambda: np.copyto(sink, source)
    parts = list(zip(np.array_split(sink, threads), np.array_split(source, threads), strict=True))
    return lambda: [f.result() for f in [pool.submit(np.copyto, *part) for part in parts]]


# -- memory -----------------------------------------------------------------------------------------------------------
ELEMENTS = 1 << 22


def memory() -> list[Row]:
    """The most bytes that calls of 4 million elements allocate besides their result, by how the array is laid out."""
    rows = []
    for what, arrays in _layouts():
        worst, by = 0, ""
        for name, tier, call in _calls(arrays):
            with np.errstate(all="ignore"):  # exp of exp overflows
                call()
                tracemalloc.start()
                call()
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            if peak > worst:
                worst, by = peak, f"{name} {tier}"
        rows.append({"what": what, "bytes": worst, "by": by, "array": arrays[-1].nbytes})
    return rows


def _layouts() -> Iterator[tuple[str, tuple[Any, Any]]]:
    for dtype in ("float32", "float64"):
        x = np.linspace(-10, 10, 2 * ELEMENTS).astype(dtype)
        y = np.empty_like(x)
        yield f"{dtype}, contiguous", (x[:ELEMENTS], y[:ELEMENTS])
        yield f"{dtype}, every other element", (x[::2], y[::2])
        yield f"{dtype}, in place", (y[:ELEMENTS], y[:ELEMENTS])


def _calls(arrays: tuple[Any, Any]) -> Iterator[tuple[str, str, Callable[[], object]]]:
    x, out = arrays
    for name in ("exp", "mish", "gelu"):
        function = getattr(fastact, name)
        for tier in TIERS:
            yield name, tier, lambda f=function, tier=tier: f(x, approx=tier, out=out)
            yield f"{name}.backward", tier, lambda f=function, tier=tier: f.backward(x, x, approx=tier, out=out)


RESIDENT = """
import pathlib, resource, sys
import numpy as np, fastact
status = pathlib.Path("/proc/self/status")
def peak():  # not ru_maxrss where there is better: a new process begins with that of its parent
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
numpy = lambda x, out: np.multiply(x, np.tanh(np.log1p(np.exp(x))), out)
f = numpy if sys.argv[1] == "NumPy" else lambda x, out: fastact.mish(x, approx=sys.argv[1], out=out)
x, y = np.full(1 << 25, 0.5, np.float32), np.zeros(1 << 25, np.float32)
y[:] = 1.0
f(x[:100_000], y[:100_000])
before = peak()
f(x, y)
print((peak() - before) * 1024)
"""


def resident() -> list[Row]:
    """By how many bytes a call on 128 MiB of float32 makes the process grow, as the system counts."""
    rows = []
    for what in (*TIERS, "NumPy"):
        done = subprocess.run(
            [sys.executable, "-c", RESIDENT, what], env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        rows.append({"what": what, "bytes": int(done.stdout), "array": 1 << 27})
    return rows
