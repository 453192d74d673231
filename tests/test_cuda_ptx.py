"""What the kernels become for CUDA devices, looked at and run without one: the compiler needs none, and
`scripts/ptx_machine.py` executes its PTX."""

from __future__ import annotations

import ctypes
import functools
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastact
from fastact.accuracy.samples import special, stratified
from fastact.cpu.kernels import inner_ufunc
from fastact.cuda.arrays import View, compact
from fastact.cuda.kernels import Kernel, Layout
from fastact.cuda.package import LANES
from fastact.cuda.plan import Operand, broadcast, plan
from fastact.kernels import GATES, REGISTRY
from fastact.link.forms import forms
from fastact.link.linker import STORAGE

pytest.importorskip("numba_cuda")
ml_dtypes = pytest.importorskip("ml_dtypes")

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))
ptx_machine = pytest.importorskip("ptx_machine")

DTYPES: dict[str, Any] = {
    "float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32, "float64": np.float64,
}  # fmt: skip
TIERS = ("exact", "fast", "rough")
CAPABILITIES = ((7, 5), (8, 0), (9, 0), (10, 0))
PAIRS = [(dtype, tier) for dtype in DTYPES for tier in TIERS]


@functools.cache
def inputs(dtype: str) -> Any:
    """All numbers of 16 bits; a number that no pack divides of the others."""
    kind = DTYPES[dtype]
    if np.dtype(kind).itemsize == 2:
        return np.arange(65536, dtype=np.uint16).view(kind)
    found = np.concatenate([special(kind), stratified(kind, 400, seed=5)])
    return found[: len(found) // 4 * 4 - 1]


def same(a: Any, b: Any) -> Any:
    """Where the bits are equal; one NaN is as good as another."""
    kind = f"u{a.itemsize}"
    with np.errstate(invalid="ignore"):
        return (a.view(kind) == b.view(kind)) | (np.isnan(a.astype(np.float64)) & np.isnan(b.astype(np.float64)))


def arguments(name: str, form: str, dtype: str) -> list[Any]:
    """x, the gradient before it where the form takes one, and parameters as numbers."""
    found = forms(REGISTRY[name])[form]
    x, rng = inputs(dtype), np.random.default_rng(1)
    before = [rng.standard_normal(len(x)).astype(DTYPES[dtype]) for _ in range(found.place)]
    numbers = [0.25 if p.default is None else p.default for p in found.parameters]
    return [*before, x, *(np.array(number, DTYPES[dtype]) for number in numbers)]


def executed(kernel: Kernel, capability: tuple[int, int], values: list[Any]) -> tuple[list[Any], str]:
    """The results of the PTX for arrays, and numbers, of one piece."""
    text = kernel.ptx(capability)
    machine = ptx_machine.Machine()
    given = [machine.place(v) if v.ndim else int(v.reshape(1).view(f"i{v.itemsize}")[0]) for v in values]
    x = next(v for v in values if v.ndim)
    outs = [machine.place(np.zeros_like(x)) for _ in range(kernel.layout.outputs)]
    machine.launch(ptx_machine.parse(text), 3, 32 if len(x) < 5000 else 1024, [*given, *outs, len(x)])
    assert {"ld 16", "st 16"} <= machine.loaded
    return [machine.read(out, len(x), x.dtype) for out in outs], text


def instructions(text: str) -> set[str]:
    return {".".join(i.parts) for i in ptx_machine.parse(text).instructions}


def check(text: str, kernel: Kernel) -> None:
    """What holds of every kernel's PTX."""
    assert ".local" not in text
    found = instructions(text)
    assert not [i for i in found if re.search(r"\.(approx|ftz|full|sat)\b", i)]
    # Products and sums say how they round, or else they may be contracted.
    assert not [i for i in found if re.match(r"(add|sub|mul|div|fma|mad|sqrt|rcp)\.(?!rn).*f(16|32|64)", i)]
    if not any(node.type == "f64" for node in kernel.graph.live()):
        assert not [i for i in found if ".f64" in i]


@pytest.mark.parametrize("name", REGISTRY)
def test_the_bits_are_those_of_the_cpu(name: str) -> None:
    """Of every form, in dtypes, tiers and for capabilities that take turns."""
    for place, form in enumerate(forms(REGISTRY[name])):
        turn = list(REGISTRY).index(name) + place
        dtype, tier = PAIRS[5 * turn % len(PAIRS)]
        capability = CAPABILITIES[turn // 3 % len(CAPABILITIES)]
        values = arguments(name, form, dtype)
        kernel = Kernel(name, form, dtype, tier, Layout("".join("v" if v.ndim else "c" for v in values)))
        with np.errstate(all="ignore"):
            expected = inner_ufunc(name, form, tier)(*values)
        (result,), text = executed(kernel, capability, values)
        equal = same(result, expected)
        assert equal.all(), (form, dtype, tier, capability, result[~equal][:3], expected[~equal][:3])
        check(text, kernel)


@pytest.mark.parametrize(("dtype", "tier"), PAIRS)
def test_one_function_in_all_dtypes_tiers_and_capabilities(dtype: str, tier: str) -> None:
    values = arguments("mish", "value", dtype)
    with np.errstate(all="ignore"):
        expected = inner_ufunc("mish", "value", tier)(*values)
    for capability in CAPABILITIES:
        kernel = Kernel("mish", "value", dtype, tier, Layout("v"))
        (result,), text = executed(kernel, capability, values)
        assert same(result, expected).all(), capability
        check(text, kernel)


@pytest.mark.parametrize("name", GATES)
def test_the_bits_of_gates(name: str) -> None:
    for turn, (dtype, tier) in enumerate(PAIRS):
        if (turn + list(GATES).index(name)) % 3:
            continue
        x, rng = inputs(dtype)[::7], np.random.default_rng(1)
        more = [(3 * rng.standard_normal(len(x))).astype(DTYPES[dtype]) for _ in range(2)]
        for form, values in (("value", [x, more[0]]), ("backward", [more[1], x, more[0]])):
            with np.errstate(all="ignore"):
                expected = inner_ufunc(name, form, tier)(*values)
            expected = expected if isinstance(expected, tuple) else (expected,)
            kernel = Kernel(name, form, dtype, tier, Layout("v" * len(values), outputs=len(expected)))
            results, text = executed(kernel, CAPABILITIES[turn % 4], values)
            for result, one in zip(results, expected, strict=True):
                assert same(result, one).all(), (form, dtype, tier)
            check(text, kernel)


def test_float64_stays_out_of_fast_and_rough_float32() -> None:
    """But for functions that say why: those whose digits cancel are computed in the next wider arithmetic."""
    wider = {
        name
        for name, declaration in REGISTRY.items()
        for form in forms(declaration)
        for tier in ("fast", "rough")
        if any(node.type == "f64" for node in Kernel(name, form, "float32", tier, Layout("v")).graph.live())
    }
    assert wider == {"snake", "xielu"}


# -- layouts ----------------------------------------------------------------------------------------------------------
def placed(machine: Any, array: Any) -> View:
    """The memory of an array, copied as it lies: strides, alignment and all."""
    low, high = np.lib.array_utils.byte_bounds(array)
    memory = np.frombuffer(ctypes.string_at(low, high - low), np.uint8)
    start = machine.place(memory, low % 16)
    return View(start + array.ctypes.data - low, array.shape, array.strides, array.dtype.name)


def strided(name: str, form: str, tier: str, arrays: list[Any], out: Any) -> tuple[Any, list[str]]:
    """The form of operands that are broadcast, run on PTX; the labels of the layouts that were taken."""
    machine = ptx_machine.Machine()
    dtype = out.dtype.name
    views = [placed(machine, a) if not isinstance(a, float) else None for a in arrays]
    result = placed(machine, out)
    operands = []
    for view, value in zip(views, arrays, strict=True):
        if view is None:
            number = int(np.array([value], out.dtype).view(f"i{out.itemsize}")[0])
            operands.append(Operand(number=number))
        else:
            operands.append(broadcast(view, out.shape))
    labels = []
    for layout, indices, values in plan(STORAGE[dtype], out.shape, operands, [broadcast(result, out.shape)]):
        labels.append(layout.label)
        kernel = Kernel(name, form, dtype, tier, layout)
        assert kernel.arguments == len(values)
        machine.launch(ptx_machine.parse(kernel.ptx((9, 0))), 2, 32, values)
        assert indices
    size = int(np.prod(out.shape))
    low = result.address + sum(min(0, (n - 1) * s) for n, s in zip(out.shape, out.strides, strict=True))
    reach = sum((n - 1) * abs(s) for n, s in zip(out.shape, out.strides, strict=True)) // out.itemsize + 1
    memory = machine.read(low, reach, out.dtype)
    found = np.lib.stride_tricks.as_strided(memory[(result.address - low) // out.itemsize :], out.shape, out.strides)
    assert found.size == size
    return found, labels


def made(shape: tuple[int, ...], dtype: Any = np.float32, seed: int = 0) -> Any:
    return (3 * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


LAYOUTS = {
    "one piece": (lambda d: made((3, 5, 8), d), "v"),
    "Fortran's order": (lambda d: made((3, 8), d).T, "v"),
    "every other row": (lambda d: made((6, 8), d)[::2], "v2p"),
    "every other column": (lambda d: made((6, 8), d)[:, ::2], "v1e"),
    "misaligned": (lambda d: made((33,), d)[1:], "v1e"),
    "rows that no pack divides": (lambda d: made((6, 9), d)[:, :7], "v2e"),
    "backwards": (lambda d: made((40,), d)[::-1], "v1e"),
    "one element": (lambda d: made((1, 1), d), "v"),
    "three axes": (lambda d: made((4, 3, 5, 7), d).transpose(2, 0, 3, 1)[:, ::2, ::3], "v3e"),
}


@pytest.mark.parametrize("case", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_layouts(case: str, dtype: str) -> None:
    make, label = LAYOUTS[case]
    x = make(DTYPES[dtype])
    found, labels = strided("mish", "value", "fast", [x], np.zeros_like(x))
    assert labels == [label]
    assert same(np.ascontiguousarray(found), np.ascontiguousarray(inner_ufunc("mish", "value", "fast")(x))).all()


BROADCAST = {
    "a number": (lambda: [made((5, 8)), 0.5], "vc"),
    "one element on the device": (lambda: [made((5, 8)), made((1,), seed=1)], "vp"),
    "one for each row": (lambda: [made((5, 8)), made((5, 1), seed=1)], "vp2p"),
    "one for each column": (lambda: [made((5, 8)), made((8,), seed=1)], "vv2p"),
    "a channel of three axes": (lambda: [made((2, 3, 12)), made((3, 1), seed=1)], "vp3p"),
    "columns that no pack divides": (lambda: [made((5, 7)), made((7,), seed=1)], "vv2e"),
}


@pytest.mark.parametrize("case", BROADCAST)
def test_parameters_are_broadcast(case: str) -> None:
    make, label = BROADCAST[case]
    arrays = make()
    found, labels = strided("elu", "value", "fast", arrays, np.zeros_like(arrays[0]))
    assert labels == [label]
    arrays = [np.float32(a) if isinstance(a, float) else a for a in arrays]
    assert same(np.ascontiguousarray(found), inner_ufunc("elu", "value", "fast")(*arrays)).all()


def test_many_elements_are_taken_apart() -> None:
    """More indices than 31 bits hold become several launches that cover all elements once."""
    shape = (3, 2**30 + 1)
    view = View(0, shape, (2**40, 12), "float32")
    covered = 0
    starts = set()
    for layout, indices, values in plan("f32", shape, [broadcast(view, shape)], [broadcast(view, shape)]):
        assert layout.label == "v2e" and indices < 2**31
        covered += indices
        starts.add(values[0])
    assert covered == 3 * (2**30 + 1) and len(starts) > 1


def test_reciprocals_divide() -> None:
    """(index * magic) >> shift is the quotient, up to the largest index there is."""
    for length in (2, 3, 7, 10, 641, 65537, 2**30 - 1):
        ((_, _, values),) = plan("f32", (2, length), [Operand(0, (8, 4))], [Operand(0, (2**40, 12))])
        _, magic, shift = values[-3:]
        for index in {0, 1, length - 1, length, length + 1, 2**31 - 2, 2**31 - 1, (2**31 - 1) // length * length}:
            assert index * magic < 2**63 and (index * magic) >> shift == index // length, (length, index)


def test_compact_strides() -> None:
    assert compact((2, 3, 4), 4) == (48, 16, 4) and compact((), 4) == () and compact((0, 3), 8) == (24, 8)
    assert LANES == {"i16": 8, "f32": 4, "f64": 2}


# -- device functions -------------------------------------------------------------------------------------------------
def test_device_functions_in_kernels_of_others() -> None:
    from numba import cuda
    from numba.core import types

    mish, elu = fastact.mish.device("fast"), fastact.elu.device("exact")

    def kernel(x: Any, y: Any, z: Any) -> None:
        i = cuda.grid(1)
        if i < x.size:
            y[i] = mish(x[i]) * x[i] + x[i]
            z[i] = elu(x[i], 0.5)

    array = types.float32[::1]
    for fastmath in (False, True):
        text, _ = cuda.compile_ptx(kernel, (array, array, array), cc=(9, 0), fastmath=fastmath)
        assert re.search(r"fma\.rn\.f32", text) and "approx" not in text
        assert len(re.findall(r"div\.rn\.f32", text)) >= 1
