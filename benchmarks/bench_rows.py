"""Gates and functions of rows beside NumPy, SciPy, PyTorch and JAX.

python -m pytest benchmarks/bench_rows.py --benchmark-only
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rowwise
from turns import REPLAY, in_turns

from fastact.accuracy import peers
from fastact.precision import TIERS

CASES = [
    pytest.param(name, form, dtype, label, id=f"{name}-{form}-{dtype}-{label}")
    for name in rowwise.names()
    for form in ("value", "gradient")
    for dtype in ("float32", "float64")
    for label in (*TIERS, *(("torch",) if form == "gradient" else ("numpy", "scipy", "torch", "jax")))
    if label in TIERS or (label in peers.installed() and getattr(rowwise.CASES[name], label))
]


def call(name: str, form: str, dtype: str, label: str) -> Callable[[], Any]:
    if label in TIERS:
        return rowwise.ours(name, dtype, form, label)
    return rowwise.gradient(name, dtype) if form == "gradient" else rowwise.value(name, dtype, label)


@pytest.mark.benchmark(timer=REPLAY.time)
@pytest.mark.parametrize(("name", "form", "dtype", "label"), CASES)
def test_rows(benchmark: Any, request: Any, name: str, form: str, dtype: str, label: str) -> None:
    benchmark.group = f"{name} {form} {dtype} {'x'.join(map(str, rowwise.SHAPE))}"
    with np.errstate(all="ignore"):
        in_turns(benchmark, request, ("name", "form", "dtype"), "label", functools.partial(call, name, form, dtype))
        result = rowwise.first(call(name, form, dtype, label)())
        benchmark.extra_info["max_ulp"] = rowwise.error(result, rowwise.truth(name, dtype, form))
