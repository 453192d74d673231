"""Norms beside PyTorch's, float32, one thread.

    python -m pytest benchmarks/bench_norms.py --benchmark-only

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

SHAPES = ((512, 1024), (8192, 64), (65_536, 8))
JUDGED = 2_000
"""Elements on which errors are taken, at least."""
CONTESTANTS = ("exact", "fast", "rough", "torch")


def arrays(shape: tuple[int, ...], channels: int) -> list[Any]:
    """x, g, and for each channel mean, variance, weight and bias."""
    rng = np.random.default_rng(0)
    found = [rng.normal(0.3, 3, shape) for _ in range(2)] + [rng.uniform(0.5, 2, channels) for _ in range(4)]
    return [a.astype(np.float32) for a in found]


@pytest.mark.benchmark(timer=REPLAY.time)
@pytest.mark.parametrize("name", CONTESTANTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("function", ("layer_norm", "rms_norm"))
def test_norm(benchmark: Any, request: Any, function: str, shape: tuple[int, int], name: str) -> None:
    x, _, _, _, weight, bias = arrays(shape, shape[-1])
    parameters = (weight, bias) if function == "layer_norm" else (weight,)

    def make(name: str) -> Job:
        if name == "torch":
            import torch

            tensors = [torch.from_numpy(a) for a in (x, *parameters)]
            return lambda: getattr(torch.nn.functional, function)(tensors[0], shape[-1:], *tensors[1:])
        out = np.empty_like(x)
        return lambda: getattr(fastact, function)(x, *parameters, out=out, approx=name)

    few = -(-JUDGED // shape[-1])
    eps = 1e-5 if function == "layer_norm" else float(np.finfo(np.float32).eps)
    true = errors.norm(function, x[:few], *parameters, eps=eps)
    beside_libraries(benchmark, request, ("function", "shape"), name, f"{function} of {shape}", make, x.size, true)


@pytest.mark.benchmark(timer=REPLAY.time)
@pytest.mark.parametrize("name", CONTESTANTS)
@pytest.mark.parametrize("shape", ((512, 1024), (32, 64, 28, 28)), ids=str)
def test_batch_norm(benchmark: Any, request: Any, shape: tuple[int, ...], name: str) -> None:
    x, _, *moments = arrays(shape, shape[1])

    def make(name: str) -> Job:
        if name == "torch":
            import torch

            tensors = [torch.from_numpy(a) for a in (x, *moments)]
            return lambda: torch.nn.functional.batch_norm(*tensors)
        out = np.empty_like(x)
        return lambda: fastact.batch_norm(x, *moments, out=out, approx=name)

    true = errors.batch_norm(x[:2], *moments)
    beside_libraries(benchmark, request, ("shape",), name, f"batch_norm of {shape}", make, x.size, true)


@pytest.mark.benchmark(timer=REPLAY.time)
@pytest.mark.parametrize("name", CONTESTANTS)
def test_gradients(benchmark: Any, request: Any, name: str) -> None:
    """Of x, weight and bias; the error is that of the first."""
    x, g, _, _, weight, bias = arrays((512, 1024), 1024)

    def make(name: str) -> Job:
        if name == "torch":
            import torch

            tensors = [torch.from_numpy(a).requires_grad_() for a in (x, weight, bias)]
            y, incoming = torch.nn.functional.layer_norm(tensors[0], (1024,), *tensors[1:]), torch.from_numpy(g)
            return lambda: torch.autograd.grad(y, tensors, incoming, retain_graph=True)
        return lambda: fastact.layer_norm.backward(g, x, weight, approx=name)

    true = errors.norm_backward("layer_norm", g[:2], x[:2], weight)
    beside_libraries(benchmark, request, (), name, "gradients of layer_norm of (512, 1024)", make, x.size, true)
