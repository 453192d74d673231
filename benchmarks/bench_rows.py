"""Gates and functions of rows beside NumPy, SciPy, PyTorch and JAX.

python -m pytest benchmarks/bench_rows.py --benchmark-only
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import rowwise

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


@pytest.mark.parametrize(("name", "form", "dtype", "label"), CASES)
def test_rows(benchmark: Any, name: str, form: str, dtype: str, label: str) -> None:
    benchmark.group = f"{name} {form} {dtype} {'x'.join(map(str, rowwise.SHAPE))}"
    if label in TIERS:
        call = rowwise.ours(name, dtype, form, label)
    elif form == "gradient":
        call = rowwise.gradient(name, dtype)
    else:
        call = rowwise.value(name, dtype, label)
    with np.errstate(all="ignore"):
        result = rowwise.first(benchmark(call))
        benchmark.extra_info["max_ulp"] = rowwise.error(result, rowwise.truth(name, dtype, form))
