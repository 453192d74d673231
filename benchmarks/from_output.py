"""Gradients from the output alone, as PyTorch computes those of functions whose output it keeps for them.

What the function itself takes is behind them: to compare a gradient from the input with such a one is to compare more
work with less. So there are two of ours beside it: the gradient from x, and that from the same output that a peer has.
Errors are those for the output that was given, since nothing tells how far that is from the true one.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

import numpy as np

from fastact.accuracy import peers
from fastact.accuracy.measure import Truth, settings
from fastact.accuracy.outputs import derivative
from fastact.accuracy.peers import Contestant, Task
from fastact.accuracy.ulp import Floats
from fastact.function import FUNCTIONS
from fastact.link.forms import Kernel, kernel, usual_form

TIERS = {"exact_output": "exact", "fast_output": "fast"}
"""Contestants, and the tiers that they are computed in."""
KEEPERS = ("torch",)
"""Peers that may keep the output; JAX computes it once more, from the input."""


def labels(task: Task) -> list[str]:
    """The contestants of a task that go from the output."""
    return list(TIERS) if task.form == "gradient" and task.declaration.from_output is not None else []


def output(task: Task) -> Floats:
    """The correctly rounded values of the function."""
    found: Floats = FUNCTIONS[task.declaration.name](task.x, *_parameters(task, "value"), approx="exact")
    return found


def _parameters(task: Task, name: str) -> tuple[Any, ...]:
    """The parameters; none where they are the usual ones, for which there is a kernel of its own."""
    usual = task.parameters == settings(task.declaration, task.x.dtype)
    if usual and usual_form(task.declaration, name) != name:
        return ()
    return tuple(task.x.dtype.type(p) for p in task.parameters)


def form(task: Task) -> str:
    """The form that computes the gradient from the output."""
    usual = _parameters(task, "from_output") or not task.parameters
    return "from_output" if usual else usual_form(task.declaration, "from_output")


def linked(task: Task, label: str) -> Kernel:
    """The kernel of a contestant."""
    return kernel(task.declaration, form(task), task.x.dtype.name, TIERS[label])


def inputs(task: Task) -> tuple[Any, ...]:
    """What the kernel is given."""
    y = output(task)
    return np.ones_like(y), y, *_parameters(task, "from_output")


def ours(task: Task, label: str) -> Contestant:
    """Our gradient from the output, called as the other contestants of the task are."""
    tier, given, name = TIERS[label], inputs(task), task.declaration.name
    door = FUNCTIONS[name].backward_from_output
    return Contestant(f"fastact {tier}, from output", "fastact", lambda: door(*given, approx=tier), np.asarray)


def truth(task: Task, places: Any = slice(None)) -> Truth | None:
    """The true gradients for the outputs at some places; None without arbitrary precision."""
    if find_spec("flint") is None:
        return None
    return Truth(derivative(task.declaration), output(task)[places], task.parameters, None)


def keepers(task: Task) -> list[str]:
    """The peers that compute the gradient of this function from its output: those that keep nothing else."""
    expression = task.declaration.peers.get("torch")
    if expression is None or "torch" not in peers.installed():
        return []
    torch = importlib.import_module("torch")
    scope = dict(zip(task.names, task.parameters, strict=True)) | {"torch": torch}
    y = eval(expression, {**scope, "x": torch.full((3,), 0.5, requires_grad=True)})
    return ["torch"] if hasattr(y.grad_fn, "_saved_result") else []
