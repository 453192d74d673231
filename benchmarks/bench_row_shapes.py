"""softmax and its relatives beside PyTorch and SciPy, for long and short rows and along the first axis; float32.

    python -m pytest benchmarks/bench_row_shapes.py --benchmark-only

``extra_info`` holds nanoseconds per element and the largest error in ULP on the first rows. The
contestants of a group take turns.
"""

from __future__ import annotations

from typing import Any

import errors
import numpy as np
import pytest
from turns import REPLAY, Job, beside_libraries

import fastact

SHAPES = ((512, 1024), (8192, 64), (65_536, 8), (1_000_000, 3), (1, 1 << 20))
JUDGED = 2_000
"""Elements on which errors are taken, at least."""
CONTESTANTS = ("exact", "fast", "rough", "torch", "scipy")


def contestant(function: str, name: str, x: Any, axis: int) -> Job:
    if name == "torch":
        torch = pytest.importorskip("torch")
        tensor = torch.from_numpy(x)
        return lambda: getattr(torch, function)(tensor, axis)
    if name == "scipy":
        special = pytest.importorskip("scipy.special")
        return lambda: getattr(special, function)(x, axis)
    if function == "logsumexp":
        return lambda: fastact.logsumexp(x, axis, approx=name)
    out = np.empty_like(x)
    return lambda: getattr(fastact, function)(x, axis, out=out, approx=name)


@pytest.mark.benchmark(timer=REPLAY.time)
@pytest.mark.parametrize("name", CONTESTANTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("function", ("softmax", "log_softmax", "logsumexp"))
def test_rows(benchmark: Any, request: Any, function: str, shape: tuple[int, int], name: str) -> None:
    x = np.random.default_rng(0).normal(0, 3, shape).astype(np.float32)
    true = errors.rows(function, x[: -(-JUDGED // shape[-1])])

    def make(name: str) -> Job:
        return contestant(function, name, x, -1)

    beside_libraries(benchmark, request, ("function", "shape"), name, f"{function} of {shape}", make, x.size, true)


@pytest.mark.benchmark(timer=REPLAY.time)
@pytest.mark.parametrize("name", CONTESTANTS)
def test_along_the_first_axis(benchmark: Any, request: Any, name: str) -> None:
    x = np.random.default_rng(0).normal(0, 3, (512, 1024)).astype(np.float32)
    true = errors.rows("softmax", x, 0)

    def make(name: str) -> Job:
        return contestant("softmax", name, x, 0)

    beside_libraries(benchmark, request, (), name, "softmax of (512, 1024) along axis 0", make, x.size, true)


@pytest.mark.benchmark(timer=REPLAY.time)
@pytest.mark.parametrize("name", CONTESTANTS[:-1])
@pytest.mark.parametrize("function", ("softmax", "log_softmax"))
def test_gradient(benchmark: Any, request: Any, function: str, name: str) -> None:
    """From the output, which PyTorch keeps; the errors are those for this output."""
    rng = np.random.default_rng(0)
    g, x = (rng.normal(0, 3, (512, 1024)).astype(np.float32) for _ in range(2))
    y = getattr(fastact, function)(x)
    if name == "torch":
        torch = pytest.importorskip("torch")
        y = getattr(torch, function)(torch.from_numpy(x), -1).numpy()

    def make(name: str) -> Job:
        if name == "torch":
            import torch

            tensor, incoming = torch.from_numpy(x).requires_grad_(), torch.from_numpy(g)
            result = getattr(torch, function)(tensor, -1)
            return lambda: torch.autograd.grad(result, tensor, incoming, retain_graph=True)
        out = np.empty_like(x)
        return lambda: getattr(fastact, function).backward_from_output(g, y, out=out, approx=name)

    true = errors.rows_backward(function, g[:2], y[:2])
    group = f"gradient of {function} of (512, 1024)"
    beside_libraries(benchmark, request, ("function",), name, group, make, x.size, true)
