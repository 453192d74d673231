"""Gates and functions of rows beside all peers that have them.

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

from fastact.precision import TIERS

CASES = [
    pytest.param(name, form, dtype, label, id=f"{name}-{form}-{dtype}-{label}")
    for name in rowwise.names()
    for form in rowwise.PEERS
    for dtype in ("float32", "float64")
    for label in (*TIERS, *rowwise.PEERS[form])
    if label in TIERS or rowwise.has(name, label)
]


def call(name: str, form: str, dtype: str, label: str) -> Callable[[], Any] | None:
    try:
        return rowwise.contestant(name, form, dtype, label)
    except Exception:
        if label in TIERS:
            raise
        return None


@pytest.mark.benchmark(timer=REPLAY.time)
@pytest.mark.parametrize(("name", "form", "dtype", "label"), CASES)
def test_rows(benchmark: Any, request: Any, name: str, form: str, dtype: str, label: str) -> None:
    benchmark.group = f"{name} {form} {dtype} {'x'.join(map(str, rowwise.SHAPE))}"
    with np.errstate(all="ignore"):
        one = call(name, form, dtype, label)
        if one is None:
            pytest.skip(f"{label} cannot compute it")
        in_turns(benchmark, request, ("name", "form", "dtype"), "label", functools.partial(call, name, form, dtype))
        result = one()
        benchmark.extra_info["max_ulp"] = rowwise.error(name, form, dtype, label, result)
