"""Speed of every declared function and its gradient in all tiers, dtypes and sizes, beside installed peers.

    python -m pytest benchmarks --benchmark-only -k mish

Contestants of one function, form, dtype and size stand in one group and take turns: pytest-benchmark's rounds are
rounds of all of them. ``extra_info`` holds nanoseconds per element at best, gigabytes read and written per second, and
the largest error in ULP on the first elements of the data.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import from_output
import numpy as np
import pytest
from comparing import candidates, peer
from turns import REPLAY, in_turns

from fastact.accuracy.measure import Truth, settings, typical
from fastact.accuracy.peers import FORMS, Contestant, Task, Unavailable, ours
from fastact.kernels import REGISTRY
from fastact.link.arithmetic import DTYPES
from fastact.precision import TIERS

SIZES = (1, 1_000, 65_536, 1 << 22)
JUDGED = 1_000
"""Elements on which errors are taken."""
WIDE_ONLY = ("numexpr", "numba", "mkl_umath")
"""Peers that have no 16-bit floats."""


def dtypes() -> list[str]:
    """The dtypes that NumPy has here; bfloat16 comes from another package."""
    try:
        import ml_dtypes  # noqa: F401
    except ImportError:
        return [name for name in DTYPES if name != "bfloat16"]
    return list(DTYPES)


def cases() -> Iterator[Any]:
    """A case per function, form, dtype, size and contestant; only installed peers that have the function."""
    for name, declaration in REGISTRY.items():
        for form in FORMS:
            libraries = candidates(declaration, form)
            for dtype in dtypes():
                there = [p for p in libraries if p not in WIDE_ONLY or dtype in ("float32", "float64")]
                if form == "gradient" and declaration.from_output is not None:
                    there = [*from_output.TIERS, *there]
                for size in SIZES:
                    for contestant in (*TIERS, *there):
                        label = f"{name}-{form}-{dtype}-{size}-{contestant}"
                        yield pytest.param(name, form, dtype, size, contestant, id=label)


@functools.lru_cache(maxsize=2)
def task(name: str, form: str, dtype: str, size: int) -> Task:
    declaration = REGISTRY[name]
    x, _ = typical(declaration, dtype, size)
    return Task(declaration, form, x, settings(declaration, dtype))


@functools.lru_cache(maxsize=8)
def truth(name: str, form: str, dtype: str, size: int) -> Truth:
    given = task(name, form, dtype, size)
    return Truth(given.declaration, given.x[:JUDGED], given.parameters, None if form == "value" else "x")


@functools.lru_cache(maxsize=8)
def output_truth(name: str, dtype: str, size: int) -> Truth | None:
    """The true gradients for the outputs that gradients from the output are given."""
    return from_output.truth(task(name, "gradient", dtype, size), slice(JUDGED))


def entrant(given: Task, contestant: str) -> Contestant:
    if contestant in from_output.TIERS:
        return from_output.ours(given, contestant)
    return ours(given, contestant) if contestant in TIERS else peer(given, contestant)


def call(given: Task, contestant: str) -> Callable[[], Any] | None:
    try:
        return entrant(given, contestant).call
    except Unavailable:
        return None


@pytest.mark.benchmark(timer=REPLAY.time)
@pytest.mark.parametrize(("name", "form", "dtype", "size", "contestant"), list(cases()))
def test_speed(benchmark: Any, request: Any, name: str, form: str, dtype: str, size: int, contestant: str) -> None:
    case = name, form, dtype, size
    given = task(*case)
    with np.errstate(all="ignore"):
        try:
            one = entrant(given, contestant)
        except Unavailable as reason:
            if contestant in TIERS:
                raise
            pytest.skip(str(reason))
        benchmark.group = " ".join(map(str, case))
        keys = ("name", "form", "dtype", "size")
        in_turns(benchmark, request, keys, "contestant", functools.partial(call, given))
        known = output_truth(name, dtype, size) if contestant in from_output.TIERS else truth(*case)
        errors = known.summary(one.result()[:JUDGED]) if known else None
    if benchmark.stats is not None:
        best = benchmark.stats.stats.min
        benchmark.extra_info["ns_per_element"] = best / size * 1e9
        benchmark.extra_info["GB_per_s"] = given.arrays * given.x.nbytes / best / 1e9
    benchmark.extra_info["contestant"] = one.label
    benchmark.extra_info["max_ulp"] = None if errors is None else errors.largest
    if one.note:
        benchmark.extra_info["note"] = one.note
