"""The compiled kernels of the optimizer steps: ufuncs that write over their inputs."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from fastact.cpu import shortcuts, threads
from fastact.cpu.kernels import adopt
from fastact.cpu.lock import alone
from fastact.cpu.ufunc import make_ufunc
from fastact.kernels.steps import NUMBERS, STEPS

if TYPE_CHECKING:
    from fastact.link.graph import Graph

_addresses: dict[tuple[str, str], int] = {}


def graph(name: str, dtype: str) -> Graph:
    """The operations of a step, each in single words of the dtype."""
    from fastact.link.linker import link

    body, inputs, _ = STEPS[name]
    return link(body, inputs, dtype, "fast")


def arrays(name: str) -> int:
    """How many of the inputs of a step are arrays; the rest are numbers."""
    return sum(parameter not in NUMBERS for parameter in inspect.signature(STEPS[name][0]).parameters)


def step_address(name: str, dtype: str) -> int:
    """The address of the inner loop of a step, compiled or read from the cache.

    It has no evidence of floating-point flags: that would need the inputs once more, which the results overwrite, and
    to keep them takes as long as the step itself."""
    key = name, dtype
    if key not in _addresses:
        with alone():
            if key not in _addresses:
                _addresses[key] = shortcuts.address("step", *key) or _linked_address(*key)
    return _addresses[key]


def _linked_address(name: str, dtype: str) -> int:
    from fastact.cpu import compile

    return compile.address(graph(name, dtype), fetched=arrays(name), varying=arrays(name), asked=("step", name, dtype))


@functools.cache
def step_ufunc(name: str) -> np.ufunc:
    """The ufunc of a step; arrays come first, then numbers. It raises no floating-point flags."""
    _, inputs, outputs = STEPS[name]
    maker = functools.partial(step_address, name)
    ufunc = make_ufunc(f"fastact_optim_{name}", f"see fastact.optim.{name}", inputs, outputs, maker)
    adopt(ufunc, maker)
    return ufunc


@functools.cache
def _ready(name: str, dtype: np.dtype[Any]) -> np.ufunc:
    """The ufunc of a step, its loop for the dtype compiled."""
    step_address(name, dtype.name)
    return step_ufunc(name)


def apply(name: str, args: tuple[Any, ...], out: tuple[np.ndarray[Any, Any], ...]) -> None:
    """Run a step whose arguments have been checked; a kernel that cannot be compiled raises before it writes."""
    x = args[0]
    ufunc = _ready(name, x.dtype)
    if x.size >= threads.SMALLEST and threads.get_num_threads() > 1:
        threads.call(ufunc, args, {"out": out}, x)
    else:
        ufunc(*args, out=out)
