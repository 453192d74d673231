"""Programs over rows as kernels for CUDA devices, compiled and run without one, against the CPU's bits."""

from __future__ import annotations

import ctypes
import functools
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastact.cpu.rows import calls as cpu_rows
from fastact.cuda.rows.kernels import RowKernel
from fastact.cuda.rows.layout import ROOM, Sizes, geometry, linked
from fastact.cuda.rows.plan import SEGMENT, RowLayout, Rows, plan
from fastact.kernels.programs import PROGRAMS

pytest.importorskip("numba_cuda")
ml_dtypes = pytest.importorskip("ml_dtypes")

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))
ptx_machine = pytest.importorskip("ptx_machine")

DTYPES: dict[str, Any] = {
    "float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32, "float64": np.float64,
}  # fmt: skip
CAPABILITIES = ((7, 5), (8, 0), (9, 0), (10, 0))
PAIRS = [(dtype, tier) for dtype in DTYPES for tier in ("exact", "fast", "rough")]


@functools.cache
def compiled(kernel: RowKernel, capability: tuple[int, int]) -> tuple[Any, str]:
    text = kernel.ptx(capability)
    return ptx_machine.parse(text), text


def memory(array: Any) -> tuple[int, Any]:
    """Where an array begins, and its memory as it lies."""
    low, high = np.lib.array_utils.byte_bounds(array)
    return low, np.frombuffer(ctypes.string_at(low, high - low), np.uint8)


def executed(
    name: str, dtype: str, tier: str, arrays: list[Any], outs: list[Any], numbers: tuple[float, ...], capability: Any
) -> list[str]:
    """Run a program's PTX of arrays whose rows are the last axis; outputs are filled. The layouts that were taken."""
    machine, operands, places = ptx_machine.Machine(), [], []
    outer: tuple[int, ...] = ()
    length = 1
    for (kind, _), array in zip(RowKernel(name, dtype, tier, RowLayout()).operands, [*arrays, *outs], strict=True):
        low, content = memory(array)
        start = machine.place(content, low % 16)
        places.append((low, start, content.size))
        address = start + array.ctypes.data - low
        if kind == "element":
            outer, length = array.shape[:-1], array.shape[-1]
            operands.append(Rows(address, array.strides[:-1], array.strides[-1]))
        else:
            operands.append(Rows(address, array.strides) if kind == "row" else Rows(address, (), array.strides[0]))
    bits = [int(np.array(number).view(np.int64)) for number in numbers]
    labels = []
    for found in plan(name, dtype, tier, length, outer, operands, bits):
        assert found.geometry.memory <= ROOM and np.prod(found.threads) <= 512
        program, text = compiled(found.kernel, capability)
        check(text, found.kernel)
        more = len(labels) + 1  # blocks without rows, as there are in small launches
        machine.launch(program, found.blocks + more, found.threads, found.arguments, found.geometry.memory)
        labels.append(found.kernel.layout.label)
    for low, start, size in places[len(arrays) :]:
        result = machine.read(start, size, np.uint8)
        ctypes.memmove(low, result.ctypes.data, size)
    return labels


def check(text: str, kernel: RowKernel) -> None:
    """What holds of every kernel's PTX."""
    assert ".local" not in text
    found = {".".join(i.parts) for i in ptx_machine.parse(text).instructions}
    assert not [i for i in found if re.search(r"\.(approx|ftz|full|sat)\b", i)]
    assert not [i for i in found if re.match(r"(add|sub|mul|div|fma|mad|sqrt|rcp)\.(?!rn).*f(16|32|64)", i)]
    if kernel.layout.packed:
        wide = r"\.global\S*\.(v4\.[bfu]32|v2\.[bfu]64)"
        assert [i for i in found if re.match("ld" + wide, i)]
        assert kernel.program.result is None or [i for i in found if re.match("st" + wide, i)]


def same(a: Any, b: Any) -> bool:
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    kind = f"u{a.itemsize}"
    with np.errstate(invalid="ignore"):
        nan = np.isnan(a.astype(np.float64)) & np.isnan(b.astype(np.float64))
    return bool(((a.view(kind) == b.view(kind)) | nan).all())


def made(shape: tuple[int, ...], dtype: Any, seed: int) -> Any:
    return (3 * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


def uneven(x: Any) -> Any:
    """Rows with infinities, NaN, large numbers, and a mean far from 0."""
    kind = x.dtype.type
    for k, row in enumerate(x.reshape(-1, x.shape[-1])):
        with np.errstate(over="ignore"):
            if k == 1:
                row[0] = np.nan
            elif k == 2:
                row[-1] = np.inf
            elif k == 3:
                row[:] = -np.inf
            elif k == 4:
                row *= kind(1000)
            elif k == 5:
                row += kind(200)
            elif k == 6:
                row[0] = -np.inf
    return x


def operands(name: str, dtype: str, tier: str, make: Any) -> tuple[list[Any], list[Any], tuple[float, ...]]:
    """Inputs of a program, outputs, numbers; ``make`` gives elements for a dtype and the place of an array."""
    program, found, kind = PROGRAMS[name], linked(name, dtype, tier), DTYPES[dtype]
    elements = [make(kind, k) for k in range(len(program.elements))]
    outer, length = elements[0].shape[:-1], elements[0].shape[-1]
    columns = [
        made((length,), np.float64 if c in program.widened else kind, 7 + k) for k, c in enumerate(program.columns)
    ]
    rows = [abs(made(outer, kind, 9 + k)) for k in range(len(program.rows))]
    outs = [np.zeros_like(elements[0]) for _ in range(len(found.result.outputs) if found.result else 0)]
    wide = np.float64 if program.wide_totals else kind
    outs += [np.zeros(outer, wide) for _ in range(len(found.totals.outputs) if found.totals else 0)]
    return [*elements, *columns, *rows], outs, (1e-5,) * len(program.numbers)


def compared(name: str, dtype: str, tier: str, make: Any, capability: Any = (9, 0)) -> list[str]:
    """The layouts that were taken, if all bits are those of the CPU."""
    arrays, outs, numbers = operands(name, dtype, tier, make)
    expected = [np.zeros_like(out) for out in outs]
    cpu_rows.apply(name, tier, dtype, [*arrays, *expected], numbers)
    labels = executed(name, dtype, tier, arrays, outs, numbers, capability)
    for out, one in zip(outs, expected, strict=True):
        assert same(out, one), (name, dtype, tier, labels, capability)
    return labels


def plain(*shape: int) -> Any:
    return lambda kind, k: uneven(made(shape, kind, k))


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_bits_are_those_of_the_cpu(name: str) -> None:
    """In dtypes, tiers, lengths and for capabilities that take turns."""
    turn = list(PROGRAMS).index(name)
    dtype, tier = PAIRS[5 * turn % 12]
    capability = CAPABILITIES[turn % 4]
    compared(name, dtype, tier, plain(7, 168), capability)
    if turn % 3 == 0:
        compared(name, dtype, tier, plain(9, 16), capability)
    elif turn % 3 == 1:  # the axis of the rows is not the last one
        compared(name, dtype, tier, lambda kind, k: made((3, 100, 5), kind, k).transpose(0, 2, 1), capability)


@pytest.mark.parametrize(("dtype", "tier"), PAIRS)
def test_one_program_in_all_dtypes_and_tiers(dtype: str, tier: str) -> None:
    assert compared("softmax", dtype, tier, plain(2, 1000)) == ["resident1p"]
    if tier == "fast":
        assert compared("softmax", dtype, tier, plain(2, 17 * 1024)) == ["long1p"]


def test_stretches_of_long_sums() -> None:
    """Of float64, sums are carried over every 2,048 elements."""
    for name in ("softmax", "rms_norm_moment"):
        for length in (2048, 2050, 4098, 9000):
            compared(name, "float64", "fast", plain(1, length))


def test_rows_beside_one_another() -> None:
    def make(kind: Any, k: int) -> Any:
        return made((600, 40), kind, k).T

    assert compared("softmax", "float32", "fast", make) == ["resident1ea"]
    assert compared("layer_norm", "float32", "fast", lambda kind, k: made((2000, 9), kind, k).T) == ["long1ea"]
    assert compared("norm_parameters", "float32", "fast", make) == ["resident1ea"]
    assert compared(
        "softmax", "bfloat16", "exact", lambda kind, k: made((2, 30, 4, 3), kind, k).transpose(0, 3, 2, 1)
    ) == ["short2ea"]
    assert compared("softmax", "float32", "fast", lambda kind, k: made((4, 65), kind, k)[:, 1:]) == ["short1e"]
    assert compared("softmax", "float32", "fast", lambda kind, k: made((4, 200), kind, k)[:, ::-2]) == ["resident1e"]


def test_rows_of_which_nothing_is_added_up_are_cut() -> None:
    labels = compared("batch_norm", "float32", "exact", plain(3, 2 * SEGMENT + 44))
    assert labels == ["resident2p", "short1p"]


def test_what_a_block_holds() -> None:
    """Every program, dtype and tier has a geometry for every length, within the memory of a block."""
    for name in PROGRAMS:
        for dtype, tier in PAIRS:
            for length in (1, 5, 33, 64, 65, 1000, 4096, 5000, 100_000):
                for adjacent in (False, True):
                    found = geometry(name, dtype, tier, length, 1000, adjacent)
                    sizes = Sizes(linked(name, dtype, tier), found.variant)
                    assert found.memory <= ROOM and found.threads * found.rows <= 512
                    assert found.pitch % 16 == 0 and found.pitch >= sizes.pitch(found.threads, found.stage)
                    if found.variant == "resident":
                        assert found.vectors * sizes.vector >= length and found.vectors * sizes.across == found.threads
                    if found.variant != "short":
                        assert found.vectors % 4 == 0 and found.stage % 4 == 0
                    else:
                        assert found.threads * sizes.pack >= length and found.width >= found.threads * sizes.pack


def test_races_are_seen() -> None:
    text = """
.version 8.8
.target sm_90
.extern .shared .align 16 .b8 room[];
.visible .entry kernel(
	.param .u64 kernel_param_0
)
{
	.reg .b32 	%r<3>;
	.reg .b64 	%rd<4>;
	mov.u32 	%r1, %tid.x;
	mul.wide.u32 	%rd1, %r1, 4;
	mov.u64 	%rd2, room;
	add.s64 	%rd3, %rd2, %rd1;
	st.shared.u32 	[%rd3], %r1;
	BARRIER
	ld.shared.u32 	%r2, [%rd3+4];
	ret;
}
"""
    for barrier, fine in (("bar.sync 	0;", True), ("", False)):
        program = ptx_machine.parse(text.replace("BARRIER", barrier))
        if fine:
            ptx_machine.Machine().launch(program, 2, 32, [0], 256)
        else:
            with pytest.raises(AssertionError, match="a race"):
                ptx_machine.Machine().launch(program, 2, 32, [0], 256)


def test_barriers_that_threads_pass_apart_are_seen() -> None:
    text = """
.version 8.8
.target sm_90
.visible .entry kernel(
	.param .u64 kernel_param_0
)
{
	.reg .pred 	%p<2>;
	.reg .b32 	%r<2>;
	mov.u32 	%r1, %tid.x;
	setp.gt.u32 	%p1, %r1, 3;
	@%p1 bra 	$other;
	bar.sync 	0;
	bra.uni 	$after;
$other:
	bar.sync 	0;
$after:
	ret;
}
"""
    with pytest.raises(AssertionError, match="wait at different barriers"):
        ptx_machine.Machine().launch(ptx_machine.parse(text), 1, 32, [0])
