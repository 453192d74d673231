"""Ways to compute relu and its derivative: the larger of x and 0, a selection, and x/(1 + 0^x).

With 0^x = 0 for x > 0, 1 for x = 0 and infinity for x < 0, x/(1 + 0^x) is relu in IEEE arithmetic for every finite x,
and 1/(1 + 0^x) its derivative, 1/2 at 0. No processor has an instruction for 0^x: two selections make it, for which the
formula is at its best. All are compiled as this package's kernels are.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from fastact.cpu.compile import address
from fastact.cpu.ufunc import LOOP
from fastact.kernels import operations as op
from fastact.link.linker import link

Value = Any
SIZES = (4_096, 65_536)
"""Elements of float32: as many as the first cache holds, and the second."""


def zero_to_the(x: Value) -> Value:
    """0^x."""
    return op.where(x > 0.0, 0.0, op.where(x.equals(0.0), 1.0, op.INFINITY))


FORWARD: dict[str, Callable[[Value], Value]] = {
    "max": lambda x: op.maximum(op.plain(x), 0.0),
    "where": lambda x: op.where(x > 0.0, op.plain(x), 0.0),
    "identity": lambda x: op.plain(x) / (zero_to_the(op.plain(x)) + 1.0),
}
GRADIENT: dict[str, Callable[[Value], Value]] = {
    "where": lambda x: op.where(x > 0.0, op.plain(x).lift(1.0), 0.0),
    "identity": lambda x: 1.0 / (zero_to_the(op.plain(x)) + 1.0),
}
NUMPY: dict[str, Callable[[Any], Any]] = {
    "max": lambda x: np.maximum(x, 0),
    "where": lambda x: np.where(x > 0, x, 0),
    "identity": lambda x: x / (1 + np.float32(0) ** x),
}
WAYS = {"forward": FORWARD, "gradient": GRADIENT}


def compiled(body: Callable[[Value], Value], x: Any, y: Any) -> Callable[[], None]:
    """A call of the compiled body that reads x and writes y, float32 arrays of one size."""
    loop = LOOP(address(link(body, 1, "float32", "fast", settled=True)))
    places = (ctypes.c_void_p * 2)(x.ctypes.data, y.ctypes.data)
    steps, count = (ctypes.c_ssize_t * 2)(4, 4), (ctypes.c_ssize_t * 1)(x.size)
    operands = (ctypes.addressof(places), ctypes.addressof(count), ctypes.addressof(steps), None)
    owners = (x, y, places, steps, count)

    def call(owners: Any = owners) -> None:
        loop(*operands)

    return call


def data(size: int) -> Any:
    """Uniform numbers in [-10, 10]."""
    return np.random.default_rng(0).uniform(-10, 10, size).astype(np.float32)
