"""Large arrays, whose results are written past the caches: what is computed does not change, nor what is raised."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from compiled import bits_of

import fastact
from fastact.cpu import job, pool, threads
from fastact.cpu.compile import assembly
from fastact.cpu.kernels import address_of, inner_ufunc
from fastact.cpu.target import baseline, host
from fastact.cpu.ufunc import LOOP
from fastact.kernels import REGISTRY
from fastact.link.forms import kernel

DTYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32, "float64": np.float64}
X86 = host().target().streams


def placed(count: int, dtype: Any, shift: int) -> Any:
    """An array that begins so many bytes after a line of memory does."""
    room = np.empty(count * np.dtype(dtype).itemsize + 128, np.uint8)
    start = -room.ctypes.data % 64 + shift
    return room[start : start + count * np.dtype(dtype).itemsize].view(dtype)


def run(ufunc: np.ufunc, inputs: Sequence[Any], out: Any, large: bool = True, count: int | None = None) -> None:
    """The loop of a ufunc, told that it is part of a large call."""
    operands = [*inputs, out]
    places = (ctypes.c_void_p * len(operands))(*(a.ctypes.data for a in operands))
    n = ctypes.c_ssize_t(out.size if count is None else count)
    steps = (ctypes.c_ssize_t * len(operands))(*(a.strides[0] if a.ndim else 0 for a in operands))
    mark = ctypes.addressof(n) if large else None
    LOOP(address_of(ufunc, out.dtype.name))(
        ctypes.addressof(places), ctypes.addressof(n), ctypes.addressof(steps), mark
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tier", ["exact", "fast"])
@pytest.mark.parametrize(
    ("name", "form"), [("relu", "value"), ("mish", "value"), ("exp", "backward"), ("swish", "value")]
)
def test_bits_of_large_calls(name: str, form: str, dtype: str, tier: str) -> None:
    """Wherever results begin, wherever inputs lie, to the last element and not beyond."""
    kind, ufunc = DTYPES[dtype], inner_ufunc(name, form, tier)
    rng = np.random.default_rng(20)
    for count in (1, 63, 2047, 2048, 5001):
        inputs = [rng.uniform(-5, 5, 2 * count).astype(kind) for _ in range(ufunc.nin)]
        if name == "swish":
            inputs[1] = np.asarray(1.25, kind)
        for step in (1, 2, -1):
            given = [a[::step][:count] if a.ndim else a for a in inputs]
            expected = ufunc(*given)
            for shift in (0, 16, 64 - np.dtype(kind).itemsize):
                out = placed(count + 8, kind, shift)
                out[:] = 7
                run(ufunc, given, out[:count])
                np.testing.assert_array_equal(bits_of(out[:count]), bits_of(expected), f"{count} {step} {shift}")
                assert (out[count:] == 7).all()


@pytest.mark.parametrize("name", ["relu", "exp"])
def test_large_calls_in_place(name: str) -> None:
    ufunc = inner_ufunc(name, "value", "fast")
    x = np.linspace(-5, 5, 4099, dtype=np.float32)
    expected = ufunc(x)
    run(ufunc, [x], x)
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("shift", [0, 4, 16, 60])
@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_where_results_straddle_lines(shift: int, dtype: str) -> None:
    kind = DTYPES[dtype]
    x = np.random.default_rng(21).uniform(-5, 5, 20_000).astype(kind)
    for name in ("relu", "mish"):
        ufunc = inner_ufunc(name, "value", "exact")
        out = placed(x.size, kind, shift // np.dtype(kind).itemsize * np.dtype(kind).itemsize)
        run(ufunc, [x], out, large=False)
        pieces = np.concatenate([ufunc(part) for part in np.split(x, 40)])
        np.testing.assert_array_equal(bits_of(out), bits_of(pieces))


def test_warnings_of_large_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "STREAM", 1)
    x = np.zeros(1 << 18, np.float32)
    x[-1] = 1000
    with fastact.num_threads(2):
        for _ in range(3):
            with pytest.warns(RuntimeWarning, match="overflow"):
                y = fastact.exp(x)
        assert (y[:-1] == 1).all() and np.isinf(y[-1])


def test_loops_are_told_of_large_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []

    class Seen(pool.Job):
        def __init__(self, drive: Any, values: list[int], operands: Any) -> None:
            told.append((operands[-1].nbytes, values[job.LARGE]))
            super().__init__(drive, values, operands)

    monkeypatch.setattr(pool, "Job", Seen)
    monkeypatch.setattr(threads, "GAIN", 1e9)  # helpers are not given up, however busy the cores are
    monkeypatch.setattr(threads, "loops", {})
    pool.current.alone = pool.current.penalty = 0
    least = job.STREAM // 4
    with fastact.num_threads(2):
        for count in (least // 2, least):
            x = np.zeros(count, np.float32)
            fastact.softsign(x), fastact.softsign(x)
    assert set(told) == {(2 * least, 0), (4 * least, 1)}


@pytest.mark.skipif(not X86, reason="only for x86-64")
def test_past_the_caches() -> None:
    graph = kernel(REGISTRY["relu"], "value", "float32", "fast").graph
    for processor, store in ((host(), "vmovntp" if host().has("avx") else "movntp"), (baseline(), "movntp")):
        text = assembly(graph, processor=processor)
        assert store in text and "sfence" in text
