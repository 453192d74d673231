"""Speed of relu as a maximum, as a selection and as x/(1 + 0^x), with gradients; the ways take turns.

python -m pytest benchmarks/bench_relu.py --benchmark-only
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import errors
import numpy as np
import pytest
from relu_ways import NUMPY, SIZES, WAYS, compiled, data
from turns import REPLAY, in_turns

CASES = [(form, way) for form, ways in WAYS.items() for way in ways]


@pytest.mark.benchmark(timer=REPLAY.time)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("form", "way"), CASES)
def test_compiled(benchmark: Any, request: Any, form: str, way: str, size: int) -> None:
    x = data(size)
    y = np.empty_like(x)
    benchmark.group = f"relu {form} float32 {size}"

    def call(way: str) -> Callable[[], None]:
        return compiled(WAYS[form][way], x, y)

    in_turns(benchmark, request, ("form", "size"), "way", call)
    call(way)()  # once more: the last turn was another's
    expected = np.maximum(x, 0) if form == "forward" else (x > 0)
    assert (y == expected).all()
    benchmark.extra_info["max_ulp"] = errors.of_array(y, errors.wide(expected))


@pytest.mark.benchmark(timer=REPLAY.time)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("way", NUMPY)
def test_numpy(benchmark: Any, request: Any, way: str, size: int) -> None:
    x = data(size)
    benchmark.group = f"relu in NumPy float32 {size}"
    with np.errstate(divide="ignore"):
        in_turns(benchmark, request, ("size",), "way", lambda way: lambda: NUMPY[way](x))
        y = NUMPY[way](x)
    assert (y == np.maximum(x, 0)).all()
    benchmark.extra_info["max_ulp"] = errors.of_array(y, errors.wide(np.maximum(x, 0)))


def test_the_identity_at_the_edges() -> None:
    x = np.array([0.0, -0.0, 3.0, -3.0, np.inf, -np.inf, np.nan], np.float32)
    found = {way: np.empty_like(x) for way in ("value", "gradient")}
    compiled(WAYS["forward"]["identity"], x, found["value"])()
    compiled(WAYS["gradient"]["identity"], x, found["gradient"])()
    assert np.array_equal(found["value"], [0, 0, 3, 0, np.inf, np.nan, np.nan], equal_nan=True)
    assert np.array_equal(found["gradient"][:6], [0.5, 0.5, 1, 0, 1, 0])
