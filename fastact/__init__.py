"""Activation functions and elementary functions for NumPy, Numba and CUDA, at an accuracy chosen by ``approx=``.

>>> import numpy as np, fastact
>>> y = fastact.mish(np.linspace(-3, 3, 7), approx="fast")
"""

from __future__ import annotations

import importlib
from typing import Any

from fastact import ufuncs
from fastact.cpu.threads import get_num_threads, num_threads, set_num_threads
from fastact.drawn import FUNCTIONS
from fastact.function import Function
from fastact.gates import Gate, gate
from fastact.kernels import ALIASES, GATES, REGISTRY
from fastact.precision import precision

__version__ = "0.1.0"

_ELSEWHERE = {
    **{name: "rows" for name in ("log_softmax", "logsumexp", "softmax", "softmin", "sparsemax")},
    **{name: "layers" for name in ("ffn", "ffn_glu")},
    **{name: "norms" for name in ("layer_norm", "rms_norm")},
    "batch_norm": "channels",
}
"""Public names of modules that are loaded when they are asked for."""

__all__ = [
    "Function",
    "Gate",
    "__version__",
    "get_num_threads",
    "num_threads",
    "optim",
    "precision",
    "set_num_threads",
    "ufuncs",
    *FUNCTIONS,
    *ALIASES,
    *GATES,
    *_ELSEWHERE,
]


def __getattr__(name: str) -> Any:
    if name in ("accuracy", "optim"):
        return importlib.import_module(f"fastact.{name}")
    if name in GATES:
        return globals().setdefault(name, gate(name))
    if name in _ELSEWHERE:
        return globals().setdefault(name, getattr(importlib.import_module(f"fastact.{_ELSEWHERE[name]}"), name))
    function = ALIASES.get(name, name)
    if function not in REGISTRY:
        raise AttributeError(f"module 'fastact' has no attribute {name!r}")
    return globals().setdefault(name, FUNCTIONS[function])


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "accuracy"})
