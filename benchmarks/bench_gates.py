"""Gates on 512 x 1,024 float32 elements beside PyTorch's activation times the other array, one thread.

    python -m pytest benchmarks/bench_gates.py --benchmark-only
    python benchmarks/bench_gates.py

In both, the contestants take turns; the second prints the best of many rounds. ``extra_info`` holds nanoseconds per
element and the largest error in ULP on the first rows.
"""

from __future__ import annotations

import math
from functools import partial
from time import perf_counter
from typing import Any

import errors
import numpy as np
import pytest
from turns import REPLAY, Job, beside_libraries

import fastact
from fastact.accuracy.peers import one_thread
from fastact.kernels import GATES

SHAPE = (512, 1024)
ROUNDS = 60
CONTESTANTS = ("exact", "fast", "rough", "torch")


def arrays() -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=SHAPE).astype(np.float32) for _ in range(2)]


def contestant(gate: str, name: str) -> Job:
    a, b = arrays()
    if name == "torch":
        torch = pytest.importorskip("torch")
        names = {"torch": torch, "a": torch.from_numpy(a), "b": torch.from_numpy(b)}
        return eval(f"lambda: {GATES[gate].peers['torch']}", names)  # type: ignore[no-any-return]
    function, out = getattr(fastact, gate), np.empty_like(a)
    return lambda: function(a, b, out=out, approx=name)


@pytest.mark.benchmark(timer=REPLAY.time)
@pytest.mark.parametrize("name", CONTESTANTS)
@pytest.mark.parametrize("gate", GATES)
def test_gate(benchmark: Any, request: Any, gate: str, name: str) -> None:
    true = errors.truth(gate, "float32", "value", dict(zip("ab", arrays(), strict=True)))
    group = f"{gate} on 512 x 1,024 float32 elements"
    beside_libraries(benchmark, request, ("gate",), name, group, partial(contestant, gate), math.prod(SHAPE), true)


def main() -> None:
    with one_thread():
        print(f"{'gate':<12}" + "".join(f"{name:>9}" for name in CONTESTANTS) + "   microseconds")
        for gate in GATES:
            jobs = {name: contestant(gate, name) for name in CONTESTANTS}
            best = dict.fromkeys(jobs, float("inf"))
            for _ in range(ROUNDS):
                for name, job in jobs.items():
                    start = perf_counter()
                    job()
                    best[name] = min(best[name], perf_counter() - start)
            ratio = best["torch"] / best["fast"]
            print(f"{gate:<12}" + "".join(f"{1e6 * t:9.0f}" for t in best.values()) + f"   torch/fast {ratio:.2f}")


if __name__ == "__main__":
    main()
