"""What a call costs besides the arithmetic: small arrays, strides, loops in Numba code, threads, start-up.

    python -m pytest benchmarks/bench_calls.py --benchmark-only

What is to be compared stands in one group and is measured within one run, one after another and not in turns: what
disturbs one need not disturb the next. ``extra_info`` holds the largest error in ULP on about 1,000 of the elements.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import errors
import numpy as np
import pytest

import fastact
from fastact.link.arithmetic import TIERS

N = 1 << 16
LARGE = 1 << 22


# -- small arrays -----------------------------------------------------------------------------------------------------
SMALL: dict[str, tuple[Callable[[Any], Any], tuple[Any, ...]]] = {
    "np.exp": (np.exp, ("exp",)),
    "exp": (fastact.exp, ("exp",)),
    "exp.grad": (fastact.exp.grad, ("exp", "gradient")),
    "swish": (fastact.swish, ("swish",)),
    "swish, beta=1.5": (lambda x: fastact.swish(x, beta=1.5), ("swish", "value", (1.5,))),
}
"""Calls, and what they compute: a function, a form and its parameters."""


@pytest.mark.parametrize("size", [1, 16, 256, 4096])
@pytest.mark.parametrize("name", SMALL)
def test_small_arrays(benchmark: Any, name: str, size: int) -> None:
    benchmark.group = f"a call on {size} float32 elements"
    call, (function, *what) = SMALL[name]
    x = np.linspace(-3, 3, size, dtype=np.float32)
    benchmark.extra_info["max_ulp"] = errors.of_function(function, x, benchmark(call, x), *what)


# -- strides ----------------------------------------------------------------------------------------------------------
BASE, ROOM = np.linspace(-3, 3, 2 * N, dtype=np.float32), np.empty(2 * N, np.float32)
LAYOUTS = {
    "contiguous": (BASE[:N], ROOM[:N]),
    "input, every other": (BASE[::2], ROOM[:N]),
    "input, reversed": (BASE[:N][::-1], ROOM[:N]),
    "both, every other": (BASE[::2], ROOM[::2]),
    "both, reversed": (BASE[:N][::-1], ROOM[:N][::-1]),
}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides(benchmark: Any, layout: str, tier: str) -> None:
    benchmark.group = f"layouts of {N} float32 elements, exp {tier}"
    x, out = LAYOUTS[layout]
    benchmark(fastact.exp.ufunc(tier), x, out)
    benchmark.extra_info["max_ulp"] = errors.of_function("exp", x, out)


# -- Numba ------------------------------------------------------------------------------------------------------------
def numba_loop(name: str, tier: str) -> Callable[..., None]:
    """A user's loop over numbers."""
    numba = pytest.importorskip("numba")
    namespace = {"f": getattr(fastact, name)}
    exec(f"def loop(x, out):\n for i in range(x.size): out[i] = f(x[i], approx={tier!r})", namespace)
    return numba.njit(namespace["loop"])  # type: ignore[no-any-return]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", ["exp", "mish", "tanh", "silu"])
@pytest.mark.parametrize("what", ["ufunc", "loop in Numba code"])
def test_numba(benchmark: Any, name: str, tier: str, dtype: str, what: str) -> None:
    benchmark.group = f"{name} {dtype} {tier}, {N} elements in Numba code"
    call = getattr(fastact, name).ufunc(tier) if what == "ufunc" else numba_loop(name, tier)
    x, out = np.linspace(-5, 5, N).astype(dtype), np.empty(N, dtype)
    benchmark(call, x, out)
    benchmark.extra_info["max_ulp"] = errors.of_function(name, x, out)


# -- threads ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [1 << k for k in (12, 14, 16, 18, 20, 22, 24)])
@pytest.mark.parametrize("tier", ["exact", "fast"])
@pytest.mark.parametrize("threads", ["one", "default"])
def test_threads(benchmark: Any, threads: str, tier: str, size: int) -> None:
    benchmark.group = f"mish {tier} on {size} float32 elements, threads"
    x = np.linspace(-10, 10, size, dtype=np.float32)
    with fastact.num_threads(1 if threads == "one" else len(os.sched_getaffinity(0))):
        y = benchmark(fastact.mish, x, approx=tier, out=np.empty_like(x))
    benchmark.extra_info["max_ulp"] = errors.of_function("mish", x, y)


# -- start-up ---------------------------------------------------------------------------------------------------------
PROGRAMS = {
    "import numpy": "import numpy",
    "import fastact": "import fastact",
    "import numba": "import numba",
    "first call": "import numpy, fastact; fastact.mish(numpy.ones(1000, 'f4'))",
}


@pytest.mark.computes_nothing
@pytest.mark.parametrize("cache", ["cold", "warm"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_startup(benchmark: Any, tmp_path: Path, program: str, cache: str) -> None:
    if cache == "cold" and "call" not in program:
        pytest.skip("has no use for the cache")
    benchmark.group = "a new process"
    folders = iter(range(1000))

    def run() -> None:
        folder = tmp_path / (str(next(folders)) if cache == "cold" else "warm")
        environment = {**os.environ, "FASTACT_CACHE_DIR": str(folder)}
        subprocess.run([sys.executable, "-c", PROGRAMS[program]], env=environment, check=True)

    run()
    benchmark.pedantic(run, rounds=7)
