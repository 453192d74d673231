"""Functions of rows, norms and their gradients on arrays of several shapes, and steps, beside PyTorch's and SciPy's.
float32, one thread, with `out=` where a function has it; contestants of a line take turns. For the report.

    python benchmarks/row_table.py [seconds]
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import row_page

import fastact
from fastact import optim
from fastact.accuracy.peers import one_thread
from fastact.accuracy.timing import interleaved
from fastact.precision import TIERS

SHAPES = (512, 1024), (8192, 64), (65_536, 8)
COLUMNS = (*TIERS, "torch", "scipy")
STEPS = ("momentum", "copy", "torch")
SIZES = (1 << 16, 1 << 20, 1 << 22, 1 << 24)
Row = dict[str, Any]
Calls = dict[str, Callable[[], Any]]


def _peers() -> tuple[Any, Any]:
    """PyTorch and SciPy's special functions, or None."""
    try:
        import torch
    except ImportError:
        torch = None
    try:
        from scipy import special
    except ImportError:
        special = None
    return torch, special


TORCH, SPECIAL = _peers()


def normal(*shape: int) -> Any:
    return np.random.default_rng(len(shape)).normal(0, 3, shape).astype(np.float32)


def tensors(*arrays: Any) -> list[Any]:
    return [TORCH.from_numpy(a) for a in arrays]


def tiers(call: Callable[[str], Any]) -> Calls:
    return {tier: functools.partial(call, tier) for tier in TIERS}


def rows(name: str, shape: tuple[int, ...], axis: int = -1) -> Calls:
    x, function = normal(*shape), getattr(fastact, name)
    more = {} if name == "logsumexp" else {"out": np.empty_like(x)}
    calls = tiers(lambda tier: function(x, axis, approx=tier, **more))
    if TORCH:
        (t,) = tensors(x)
        calls["torch"] = lambda: getattr(TORCH, name)(t, axis)
    if SPECIAL:
        calls["scipy"] = lambda: getattr(SPECIAL, name)(x, axis)
    return calls


def norm(name: str, shape: tuple[int, ...]) -> Calls:
    x, out, function = normal(*shape), np.empty(shape, np.float32), getattr(fastact, name)
    given = [normal(shape[-1]) for _ in range(2 if name == "layer_norm" else 1)]
    calls = tiers(lambda tier: function(x, *given, out=out, approx=tier))
    if TORCH:
        t, *more = tensors(x, *given)
        calls["torch"] = lambda: getattr(TORCH.nn.functional, name)(t, shape[-1:], *more)
    return calls


def batch(shape: tuple[int, ...]) -> Calls:
    x, out = normal(*shape), np.empty(shape, np.float32)
    given = [normal(shape[1]), np.abs(normal(shape[1])), normal(shape[1]), normal(shape[1])]
    calls = tiers(lambda tier: fastact.batch_norm(x, *given, out=out, approx=tier))
    if TORCH:
        t, *more = tensors(x, *given)
        calls["torch"] = lambda: TORCH.nn.functional.batch_norm(t, *more)
    return calls


def _gradient(y: Any, inputs: list[Any], g: Any) -> Callable[[], Any]:
    return lambda: TORCH.autograd.grad(y, inputs, g, retain_graph=True)


def row_gradient(name: str, shape: tuple[int, ...]) -> Calls:
    x, g, function = normal(*shape), normal(*shape), getattr(fastact, name)
    y, out = function(x), np.empty_like(x)
    calls = tiers(lambda tier: function.backward_from_output(g, y, out=out, approx=tier))
    if TORCH:
        t, incoming = tensors(x, g)
        calls["torch"] = _gradient(getattr(TORCH, name)(t.requires_grad_(), -1), [t], incoming)
    return calls


def norm_gradient(name: str, shape: tuple[int, ...]) -> Calls:
    x, g, weight, bias, function = (
        *(normal(*s) for s in (shape, shape, shape[-1:], shape[-1:])),
        getattr(fastact, name),
    )
    out = np.empty_like(x)
    calls = tiers(lambda tier: function.backward(g, x, weight, out=out, approx=tier))
    if TORCH:
        inputs = [t.requires_grad_() for t in tensors(x, weight, bias)][: 3 if name == "layer_norm" else 2]
        y = getattr(TORCH.nn.functional, name)(inputs[0], shape[-1:], *inputs[1:])
        calls["torch"] = _gradient(y, inputs, *tensors(g))
    return calls


def lines() -> list[tuple[str, tuple[int, ...], Calls]]:
    """What stands in the table: the function, the shape, and those who compute it."""
    found = []
    for shape in SHAPES:
        found += [(name, shape, rows(name, shape)) for name in ("softmax", "log_softmax", "logsumexp")]
        found += [(name, shape, norm(name, shape)) for name in ("rms_norm", "layer_norm")]
    for name in ("softmax", "log_softmax"):
        found += [(f"{name}, axis=0", shape, rows(name, shape, 0)) for shape in ((512, 1024), (64, 8192))]
    found += [("batch_norm", shape, batch(shape)) for shape in ((512, 1024), (32, 64, 28, 28))]
    found += [
        (f"gradient of {name}", (512, 1024), row_gradient(name, (512, 1024))) for name in ("softmax", "log_softmax")
    ]
    found += [
        (f"gradients of {name}", (512, 1024), norm_gradient(name, (512, 1024))) for name in ("rms_norm", "layer_norm")
    ]
    return found


def measure(seconds: float) -> list[Row]:
    """Nanoseconds per element of each line."""
    rows = []
    for name, shape, calls in lines():
        size = float(np.prod(shape))
        best = {label: t.best / size * 1e9 for label, t in interleaved(calls, seconds).items()}
        rows.append({"function": name, "shape": shape, "ns": {label: round(ns, 4) for label, ns in best.items()}})
    return rows


def steps(seconds: float) -> list[Row]:
    """Steps of momentum, in gigabytes read and written per second, beside copies of as many bytes."""
    rows = []
    for size in SIZES:
        theta, gradient, velocity = normal(size), normal(size), normal(size) * 0
        source, sink = np.zeros((2, size * 5 // 2), np.float32)
        calls: Calls = {
            "momentum": lambda t=theta, g=gradient, v=velocity: optim.momentum(t, g, v, 1e-3, 0.9, weight_decay=1e-4),
            "copy": lambda a=sink, b=source: np.copyto(a, b),
        }
        if TORCH:
            parameter = TORCH.from_numpy(theta.copy()).requires_grad_()
            parameter.grad = TORCH.from_numpy(gradient)
            calls["torch"] = TORCH.optim.SGD([parameter], lr=1e-3, momentum=0.9, weight_decay=1e-4).step
        best = interleaved(calls, seconds)
        speeds = {label: round(5 * theta.nbytes / t.best / 1e9, 1) for label, t in best.items()}
        rows.append({"size": size, "GB_per_s": speeds})
    return rows


def main(seconds: float) -> None:
    print("\n".join(row_page.shapes({"shapes": measure(seconds), "steps": steps(2 * seconds)})))


if __name__ == "__main__":
    with one_thread():
        main(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0)
