"""Rows whose results begin anywhere in memory: the bits are the same, and nothing else is written."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from compiled import bits_of

import fastact
from fastact.cpu.rows.kernel import RowKernel
from fastact.cpu.rows.loops import EVEN
from fastact.cpu.target import host
from fastact.kernels.programs import PROGRAMS
from fastact.link.rows import link_rows

DTYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32, "float64": np.float64}
GUARD = 64
Call = Callable[..., Any]
CALLS: dict[str, tuple[int, Call]] = {
    "softmax": (1, lambda x, w, **o: fastact.softmax(x, **o)),
    "log_softmax": (1, lambda x, w, **o: fastact.log_softmax(x, **o)),
    "softmax_backward": (2, lambda g, y, w, **o: fastact.softmax.backward_from_output(g, y, **o)),
    "sparsemax_backward": (2, lambda g, y, w, **o: fastact.sparsemax.backward_from_output(g, y, **o)),
    "rms_norm": (1, lambda x, w, **o: fastact.rms_norm(x, w, **o)),
    "layer_norm": (1, lambda x, w, **o: fastact.layer_norm(x, w, w, **o)),
    "layer_norm_backward": (2, lambda g, x, w, **o: fastact.layer_norm.backward(g, x, w, **o)[0]),
}


def placed(shape: tuple[int, ...], dtype: Any, shift: int) -> tuple[Any, Any]:
    """An array that begins so many bytes after a line of memory does, and all there is around it."""
    size = np.dtype(dtype).itemsize
    count = int(np.prod(shape))
    room = np.zeros((count + 2 * GUARD) * size + 128, np.uint8)
    start = -(room.ctypes.data + GUARD * size) % 64 + shift
    whole = room[start : start + (count + 2 * GUARD) * size].view(dtype)
    whole[:] = 7
    return whole[GUARD : GUARD + count].reshape(shape), whole


def arrays(count: int, shape: tuple[int, ...], dtype: Any) -> list[Any]:
    rng = np.random.default_rng(30)
    return [np.asarray(rng.uniform(-3, 3, s), np.float32).astype(dtype) for s in [shape] * count + [shape[-1:]]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tier", ["exact", "fast"])
@pytest.mark.parametrize("name", CALLS)
def test_bits_wherever_rows_begin(name: str, tier: str, dtype: str) -> None:
    """Rows of which the length is no multiple of a line begin at different distances from one."""
    kind, (count, call) = DTYPES[dtype], CALLS[name]
    size = np.dtype(kind).itemsize
    for length, step in ((EVEN - 1, 32), (EVEN, 4), (EVEN + 1, 32), (EVEN + 77, 12), (1024, 4)):
        given = arrays(count, (3, length), kind)
        expected = [bits_of(call(*[a[k : k + 1] for a in given[:-1]], given[-1], approx=tier)) for k in range(3)]
        for shift in range(0, 64, max(step, size)):
            out, whole = placed((3, length), kind, shift // size * size)
            call(*given, out=out, approx=tier)
            np.testing.assert_array_equal(bits_of(out), np.concatenate(expected), f"{length} {shift}")
            assert (whole[:GUARD] == 7).all() and (whole[-GUARD:] == 7).all()


@pytest.mark.parametrize("name", ["softmax", "softmax_backward", "rms_norm", "layer_norm"])
def test_in_place_wherever_rows_begin(name: str) -> None:
    count, call = CALLS[name]
    for dtype in (np.float32, np.float64):
        given = arrays(count, (3, EVEN + 77), dtype)
        expected = call(*given, approx="fast")
        for shift in range(0, 64, 8):
            x, _ = placed(expected.shape, dtype, shift)
            x[...] = given[0]
            call(x, *given[1:], out=x, approx="fast")
            np.testing.assert_array_equal(bits_of(x), bits_of(expected), f"{shift}")


def test_lines_where_writing_takes_longest() -> None:
    """Only results that are quick to compute are written so that vectors begin at lines."""
    for tier, begins in (("fast", True), ("exact", False)):
        text = str(RowKernel(link_rows(PROGRAMS["softmax_backward"], "float32", tier), host().target()).build(0))
        assert ("llvm.masked.store.v16f32" in text) == begins, tier


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tier", ["exact", "fast"])
def test_bits_wherever_rows_side_by_side_begin(tier: str, dtype: str) -> None:
    """Nor does it matter that some of them are computed twice."""
    kind = DTYPES[dtype]
    size = np.dtype(kind).itemsize
    for count in (EVEN, 2 * EVEN + 79):
        x, g, w = arrays(2, (4, count), kind)
        moments = [w, np.abs(w)]
        value = np.concatenate([bits_of(fastact.batch_norm(row[None], *moments, w, w, approx=tier)) for row in x])
        slope = np.concatenate(
            [bits_of(fastact.batch_norm.backward(r[None], r[None], *moments, w, approx=tier)[0]) for r in g]
        )
        for shift in range(0, 64, size):
            out, whole = placed(x.shape, kind, shift)
            fastact.batch_norm(x, *moments, w, w, out=out, approx=tier)
            np.testing.assert_array_equal(bits_of(out), value, f"{count} {shift}")
            fastact.batch_norm.backward(g, x, *moments, w, out=out, approx=tier)
            np.testing.assert_array_equal(bits_of(out), slope, f"{count} {shift}")
            out[...] = x
            fastact.batch_norm(out, *moments, w, w, out=out, approx=tier)
            np.testing.assert_array_equal(bits_of(out), value, f"{count} {shift} in place")
            assert (whole[:GUARD] == 7).all() and (whole[-GUARD:] == 7).all()


@pytest.mark.parametrize("tier", ["exact", "fast"])
@pytest.mark.parametrize("name", ["rms_norm", "layer_norm", "layer_norm_backward"])
def test_rows_that_are_written_together(name: str, tier: str) -> None:
    """Those of which columns are widened at once, and those that are left over, have the bits that each has alone, and
    that it has side by side with others."""
    count, call = CALLS[name]
    for length in (65, 200, 1024, 1100):
        *given, w = arrays(count, (9, length), np.float32)
        alone = [call(*[a[k : k + 1] for a in given], w, approx=tier) for k in range(9)]
        for rows in range(1, 10):
            part = [a[:rows].copy() for a in given]
            found = call(*part, w, approx=tier)
            np.testing.assert_array_equal(bits_of(found), bits_of(np.concatenate(alone[:rows])))
            wide = [np.repeat(a.T, 16, axis=1) for a in part]
            across = call(*wide, w, axis=0, approx=tier)
            np.testing.assert_array_equal(bits_of(across[:, ::16].T), bits_of(found))
        for shift in range(0, 64, 12) if "backward" not in name else ():
            out, whole = placed((9, length), np.float32, shift)
            call(*given, w, out=out, approx=tier)
            np.testing.assert_array_equal(bits_of(out), bits_of(np.concatenate(alone)), f"{length} {shift}")
            out[...] = given[0]
            call(out, w, out=out, approx=tier)
            np.testing.assert_array_equal(bits_of(out), bits_of(np.concatenate(alone)), f"{length} {shift} in place")
            assert (whole[:GUARD] == 7).all() and (whole[-GUARD:] == 7).all()


@pytest.mark.parametrize("width", [0, 16])
def test_totals_of_rows_that_a_batch_lacks_are_no_subnormal_numbers(width: int) -> None:
    """Nothing that lies about on the stack is computed with, which would take its time."""
    linked = link_rows(PROGRAMS["layer_norm_backward"], "float32", "fast")
    text = str(RowKernel(linked, host().target()).build(width))
    entry = text.split('@"short"(' if width else '@"long"(')[1].split(" br ")[0]
    zeros = re.findall(r"store <\d+ x double> <double +0x0(?:, double +0x0)*>", entry)
    assert len(zeros) == sum(len(run.totals) for run in linked.runs) == 8


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("tier", ["exact", "fast"])
def test_only_products_without_rounding_are_added_at_once(tier: str, dtype: str) -> None:
    """Those of two float32 in float64: others would have other bits where rows lie side by side."""
    for name in ("rms_norm", "layer_norm_backward_weight", "softmax_backward"):
        program = PROGRAMS[name if dtype == "float32" else name.replace("_weight", "_weight_scaled")]
        text = str(RowKernel(link_rows(program, dtype, tier), host().target()).build(0))
        widened = set(re.findall(r"(%\S+) = fpext <\d+ x float>", text))
        fused = re.findall(r"fmul contract <\d+ x \w+> (%\S+), (%\S+)", text)
        assert all({*pair} <= widened for pair in fused)
        assert bool(fused) == (dtype == "float32"), name
