"""Large arrays, whose results are written past the caches: what is computed does not change, nor what is raised."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from typing import Any

import llvmlite.binding as llvm
import ml_dtypes
import numpy as np
import pytest
from compiled import bits_of

import fastact
from fastact.cpu import pool, threads
from fastact.cpu.compile import assembly, module_for, target_machine
from fastact.cpu.kernels import address_of, inner_ufunc
from fastact.cpu.lowering import job
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


def call(address: int, inputs: Sequence[Any], out: Any, large: bool = True) -> None:
    """Call a loop, perhaps told that it is part of a large call."""
    operands = [*inputs, out]
    places = (ctypes.c_void_p * len(operands))(*(a.ctypes.data for a in operands))
    n = ctypes.c_ssize_t(out.size)
    steps = (ctypes.c_ssize_t * len(operands))(*(a.strides[0] if a.ndim else 0 for a in operands))
    mark = ctypes.addressof(n) if large else None
    LOOP(address)(ctypes.addressof(places), ctypes.addressof(n), ctypes.addressof(steps), mark)


def run(ufunc: np.ufunc, inputs: Sequence[Any], out: Any, large: bool = True) -> None:
    call(address_of(ufunc, out.dtype.name), inputs, out, large)


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
    monkeypatch.setattr(pool, "REST", 0)  # helpers are not given up, however busy the cores are
    monkeypatch.setattr(threads, "loops", {})
    pool.current.rest = 0.0
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


@pytest.mark.skipif(not X86, reason="only for x86-64")
@pytest.mark.parametrize(("name", "second"), [("relu", True), ("mish", False)])
def test_which_cache_is_asked(name: str, second: bool) -> None:
    text = assembly(kernel(REGISTRY[name], "value", "float32", "fast").graph)
    second &= host().target().second_level
    assert ("prefetcht1" in text, "prefetcht0" in text) == (second, not second)


# -- what loops and sweeps are told -----------------------------------------------------------------------------------
def sweeps_of(name: str, inputs: Sequence[Any], out: Any, large: bool) -> list[tuple[int, int, int]]:
    """For each call of a kernel's body by its loop: by how much its result is beyond a line, vectors, how it writes."""
    found = kernel(REGISTRY[name], "value", out.dtype.name, "fast")
    told: list[tuple[int, int, int]] = []

    def body(*args: int) -> int:
        *places, count, how = args
        told.append((places[-1] % 64, count, how))
        return 0

    kind = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * (len(inputs) + 1), ctypes.c_int64, ctypes.c_int64)
    callback = kind(body)
    text = module_for(found.graph, None, host())
    head, _, rest = text.partition('define internal i32 @"body"')
    signature, _, tail = rest.partition("{")
    text = f'{head}declare i32 @"body"{signature.replace("noinline", "")}\n{tail.partition(chr(10) + "}")[2]}'
    text = re.sub(r'(declare i32 @"body"\([^)]*\)).*', r"\1", text)
    module = llvm.parse_assembly(text)
    engine = llvm.create_mcjit_compiler(module, target_machine(host()))
    engine.add_global_mapping(module.get_function("body"), ctypes.cast(callback, ctypes.c_void_p).value)
    engine.finalize_object()
    call(engine.get_function_address("kernel"), inputs, out, large)
    return told


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shift", [0, 16, 48])
def test_results_begin_at_lines(dtype: str, shift: int) -> None:
    """All but those of the first stretch and of remainders, which are on the stack."""
    kind = DTYPES[dtype]
    x, out = placed(10_000, kind, 0), placed(10_000, kind, shift)
    first, *others = sweeps_of("relu", [x], out, large=False)
    assert first[0] == shift and (not shift or first[1] <= 8)
    assert others and not any(beyond for beyond, _, _ in others)


@pytest.mark.skipif(not X86, reason="only for x86-64")
def test_what_is_written_past_the_caches() -> None:
    x, out = placed(10_000, np.float32, 0), placed(10_000, np.float32, 16)
    assert not any(how for _, _, how in sweeps_of("relu", [x], out, large=False))
    assert not any(how for _, _, how in sweeps_of("relu", [out], out, large=True)), "in place"
    told = sweeps_of("relu", [x], out, large=True)
    assert [how for beyond, _, how in told if beyond] == [0]
    assert any(how for _, _, how in told) and told[-1][2] == 0, "a remainder is on the stack"


def test_the_driver_tells_loops() -> None:
    told: list[int | None] = []

    def loop(args: int, dims: int, steps: int, large: int | None) -> None:
        told.append(large)

    callback = LOOP(loop)
    place = ctypes.cast(callback, ctypes.c_void_p).value or 0
    x = np.zeros(64, np.float32)
    for large in (False, True):
        values = job.head(pieces=1, grain=1, parts=1, length=64, inner=64, loop=place, large=large, operands=2, outer=0)
        one = pool.Job(threads._driver(), [*values, x.ctypes.data, x.ctypes.data, 4, 4], [x])
        assert one.work() == 1
    assert told[0] is None and told[1]
