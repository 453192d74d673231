"""The package that compiles for CUDA, and what to say where it or the driver is missing."""

from __future__ import annotations

import functools
import importlib
from typing import Any

from fastact.link.graph import BITS

MISSING = "device arrays and device functions need numba-cuda: pip install 'fastact[cuda]'"
LANES = {"i16": 8, "f32": 4, "f64": 2}
"""Elements of 16 bytes, by the type in which they are stored."""
PACK = 16
"""Bytes that a thread reads and writes at once."""
SIZES = {storage: BITS[storage] // 8 for storage in LANES}


class MissingDriver(RuntimeError):
    """There is no CUDA driver, or no device that it can use."""


@functools.cache
def cuda() -> Any:
    """The module ``numba.cuda``; ImportError that names the extra where there is none that works."""
    try:
        return importlib.import_module("numba.cuda")
    except ImportError as error:
        raise ImportError(MISSING) from error


@functools.cache
def simulated() -> bool:
    """Whether threads are simulated in Python, as NUMBA_ENABLE_CUDASIM=1 has it."""
    from numba.core import config as core

    own = getattr(cuda(), "config", None)
    return bool(getattr(own or core, "ENABLE_CUDASIM", False))


def _installed() -> bool:
    """Whether there is numba-cuda, or only the older target that Numba itself may bring."""
    from importlib import metadata

    try:
        metadata.version("numba-cuda")
    except metadata.PackageNotFoundError:
        return False
    return True


@functools.cache
def _usable() -> bool:
    return simulated() or bool(cuda().is_available())


def need_driver() -> Any:
    """The module ``numba.cuda`` on a machine where kernels can run; elsewhere an error that says what is missing."""
    module = cuda()
    if not _usable():
        if not _installed():
            raise ImportError(MISSING)
        raise MissingDriver("no CUDA device can be used here: the driver is missing or finds no device")
    return module


def primitives() -> Any:
    """What kernels are made of: instructions, or their twins in Python for the simulator."""
    if simulated():
        from fastact.cuda import simulated as found
    else:
        from fastact.cuda import instructions as found  # type: ignore[no-redef]
    return found
