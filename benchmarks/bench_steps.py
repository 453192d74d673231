"""Optimizer steps beside a copy of as many bytes and beside PyTorch's.

    python -m pytest benchmarks/bench_steps.py --benchmark-only

A step with velocity reads three arrays and writes two: the copy beside it is of two and a half arrays, as many
bytes read and written. ``extra_info`` holds gigabytes read and written per second, and the largest error in ULP of
parameters after a step (of PyTorch after two, since the first makes its velocity). Contestants run one after another,
not in turns: what disturbs one need not disturb the next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import errors
import numpy as np
import pytest

from fastact import optim

SIZES = (1_000, 1 << 16, 1 << 22)
LR, MU, DECAY = 1e-3, 0.9, 1e-4
CONTESTANTS = ("momentum", "nesterov", "copy", "numpy", "torch")


def contestant(name: str, arrays: list[Any]) -> Callable[[], Any]:
    theta, gradient, velocity = arrays
    if name == "copy":
        source = np.zeros(theta.size * 5 // 2, theta.dtype)
        sink = np.zeros_like(source)
        return lambda: np.copyto(sink, source)
    if name == "numpy":

        def plain() -> None:
            np.multiply(velocity, theta.dtype.type(MU), out=velocity)
            np.subtract(velocity, theta.dtype.type(LR) * (gradient + theta.dtype.type(DECAY) * theta), out=velocity)
            np.add(theta, velocity, out=theta)

        return plain
    if name == "torch":
        torch = pytest.importorskip("torch")
        parameter = torch.from_numpy(theta).requires_grad_()
        parameter.grad = torch.from_numpy(gradient)
        optimizer = torch.optim.SGD([parameter], lr=LR, momentum=MU, weight_decay=DECAY)
        optimizer.step()  # which makes the velocity
        return lambda: optimizer.step()
    step = getattr(optim, name)
    return lambda: step(theta, gradient, velocity, LR, MU, weight_decay=DECAY)


def error(name: str, arrays: list[Any]) -> float | None:
    """Of what a contestant makes of copies of some arrays; a copy has none."""
    if name == "copy":
        return None
    given = [a.copy() for a in arrays]
    contestant(name, given)()
    return errors.of_array(given[0], errors.step(name, *arrays, LR, MU, DECAY))


@pytest.mark.parametrize("name", CONTESTANTS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_step(benchmark: Any, dtype: str, size: int, name: str) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=size).astype(dtype) for _ in range(3)]
    benchmark.extra_info["max_ulp"] = error(name, [a[:2_000] for a in arrays])
    benchmark.group = f"a step with velocity on {size} {dtype} elements"
    benchmark(contestant(name, arrays))
    if benchmark.stats is not None:
        size_in_bytes = 5 * arrays[0].nbytes
        benchmark.extra_info["gigabytes_per_second"] = size_in_bytes / benchmark.stats.stats.min / 1e9
