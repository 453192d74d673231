"""Calls with arrays in Numba's compiled code: layouts, broadcasting, ``out=`` and dtypes."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from compiled import same
from numba import njit
from numba.core.runtime import _nrt_python, rtsys

import fastact


@njit
def call_exp(x):  # type: ignore[no-untyped-def]
    return fastact.exp(x, approx="fast")


@njit
def call_exp_out(x, out):  # type: ignore[no-untyped-def]
    return fastact.exp(x, out, approx="fast")


@njit
def call_swish(x, beta):  # type: ignore[no-untyped-def]
    return fastact.swish(x, beta, approx="fast")


BASE = np.linspace(-3, 3, 5 * 6 * 7).reshape(5, 6, 7)
LAYOUTS = {
    "C": BASE,
    "F": np.asfortranarray(BASE),
    "reversed": BASE[::-1, :, ::-1],
    "steps": BASE[::2, ::3, ::2],
    "moved": np.moveaxis(BASE, 0, 1),
    "broadcast": np.broadcast_to(BASE[:, :1], (5, 9, 7)),
    "column": BASE.reshape(-1, 1),
    "row": BASE.reshape(1, -1),
    "vector": BASE.reshape(-1)[3::4],
    "empty": np.empty((4, 0, 3)),
    "nothing in front": np.empty((0, 4)),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name: str) -> None:
    x = LAYOUTS[name].astype(np.float32) if name == "moved" else LAYOUTS[name]
    expected = fastact.exp(x, approx="fast")
    assert same(call_exp(x), expected)
    room = np.full((2, *x.shape, 2), np.nan, x.dtype)[..., 0]
    result = call_exp_out(x, room)
    assert same(room, np.broadcast_to(expected, room.shape))
    assert result.ctypes.data == room.ctypes.data


def test_order_of_the_result_is_that_of_numpy_functions_in_numba() -> None:
    assert call_exp(LAYOUTS["C"]).flags.c_contiguous and call_exp(LAYOUTS["reversed"]).flags.c_contiguous
    assert call_exp(LAYOUTS["F"]).flags.f_contiguous


@pytest.mark.parametrize(
    "shapes", [((4, 5), (5,)), ((4, 1), (1, 5)), ((3, 1, 5), (4, 1)), ((1,), (3, 4)), ((0, 1), (3,))]
)
def test_broadcasting(shapes: Any) -> None:
    x, beta = (np.linspace(0.5, 2, int(np.prod(s))).reshape(s) for s in shapes)
    assert same(call_swish(x, beta), fastact.swish(x, beta, approx="fast"))


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        call_swish(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="broadcast"):
        call_exp_out(np.ones(3), np.ones(4))


def test_out() -> None:
    x = np.linspace(-3, 3, 50)
    expected = fastact.exp(x, approx="fast")
    narrow = np.empty(50, np.float32)
    call_exp_out(x, narrow)
    assert same(narrow, expected.astype(np.float32))
    assert call_exp_out(x, x) is not None and same(x, expected)

    @njit
    def named(x, out):  # type: ignore[no-untyped-def]
        return fastact.swish(x, out=out, approx="fast")

    out = np.empty(50)
    named(x, out)
    assert same(out, fastact.swish(x, approx="fast"))


def test_memory_is_given_back() -> None:
    x = np.linspace(0, 1, 100)
    call_exp(x), call_exp_out(x, np.empty(100))
    _nrt_python.memsys_enable_stats()
    try:
        before = rtsys.get_allocation_stats()
        for _ in range(10):
            call_exp(x), call_exp_out(x, np.empty(100))
        after = rtsys.get_allocation_stats()
    finally:
        _nrt_python.memsys_disable_stats()
    assert after.alloc - before.alloc == after.free - before.free > 0


def test_types_of_results() -> None:
    def result(*args: Any) -> Any:
        return np.dtype(str(call_swish.overloads[tuple(numba.typeof(a) for a in args)].signature.return_type))

    for args, wanted in (
        ((3, 2), np.float64),
        ((True, 2), np.float64),
        ((np.float32(3), 2.0), np.float32),
        ((np.float64(3), np.float32(2)), np.float64),
    ):
        assert same(
            np.asarray(call_swish(*args), wanted), fastact.swish(wanted(args[0]), wanted(args[1]), approx="fast")
        )
        assert result(*args) == wanted
    single, double = np.linspace(0, 1, 6, dtype=np.float32), np.linspace(0, 1, 6)
    for x, beta in ((single, 2.0), (single, 2), (single, double), (double, single), (np.arange(6), 2.0)):
        assert same(call_swish(x, beta), fastact.swish(x, beta, approx="fast"))
    assert same(call_exp(np.arange(6)), fastact.exp(np.arange(6.0), approx="fast"))


def test_arrays_in_compiled_code_leave_flags_alone() -> None:
    with np.errstate(all="raise"):
        (np.array([1.0]) + 1.0, call_exp(np.array([np.nan, 1000.0, -1000.0])))
