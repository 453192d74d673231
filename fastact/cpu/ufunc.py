"""Genuine NumPy ufuncs made of compiled inner loops, through NumPy's public C API.

A loop is compiled when it is first called: until then its place in the ufunc's table holds a callback that compiles
it, puts it in its own place and hands on the call.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

LOOP = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
CHARACTERS = {"float16": np.dtype("e"), "float32": np.dtype("f"), "float64": np.dtype("d")}
Maker = Callable[[str], int]
"""From a dtype's name to the address of the loop for it."""

_NO_IDENTITY = -1
_alive: list[Any] = []
"""What ufuncs point to but do not own; a ufunc lives as long as the process."""


@functools.cache
def _api() -> Any:
    from numpy._core._multiarray_umath import _UFUNC_API  # type: ignore[attr-defined]

    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return ctypes.cast(pointer(_UFUNC_API, None), ctypes.POINTER(ctypes.c_void_p))


@functools.cache
def _from_functions() -> Any:
    i, p = ctypes.c_int, ctypes.c_void_p
    prototype = ctypes.PYFUNCTYPE(
        ctypes.py_object, p, p, p, i, i, i, i, ctypes.c_char_p, ctypes.c_char_p, i
    )  # fmt: skip
    return prototype(_api()[1])


@functools.cache
def _register_loop() -> Any:
    p = ctypes.c_void_p
    return ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_int, p, p, p)(_api()[2])


def _deferred(maker: Maker, dtype: str, settle: Callable[[int], None]) -> Any:
    """A loop that compiles the real one at its first call, settles it, and runs it."""

    def first(args: int, dims: int, steps: int, data: int) -> None:
        address = maker(dtype)
        settle(address)
        LOOP(address)(args, dims, steps, data)

    return LOOP(first)


def make_ufunc(name: str, doc: str, inputs: int, outputs: int, maker: Maker) -> np.ufunc:
    """A ufunc with loops for float16, float32 and float64, each compiled at its first use."""
    count, width = len(CHARACTERS), inputs + outputs
    functions = (ctypes.c_void_p * count)()
    data = (ctypes.c_void_p * count)()
    types = (ctypes.c_char * (count * width))()
    stubs = []
    for place, (dtype, character) in enumerate(CHARACTERS.items()):

        def settle(address: int, place: int = place) -> None:
            functions[place] = address

        stub = _deferred(maker, dtype, settle)
        stubs.append(stub)
        functions[place] = ctypes.cast(stub, ctypes.c_void_p).value
        for operand in range(width):
            types[place * width + operand] = character.num
    label, text = name.encode(), doc.encode()
    ufunc = _from_functions()(
        functions, data, types, count, inputs, outputs, _NO_IDENTITY, label, text, 0
    )  # fmt: skip
    _alive.append((functions, data, types, stubs, label, text))
    return ufunc  # type: ignore[no-any-return]


def add_bfloat16(ufunc: np.ufunc, maker: Maker) -> None:
    """Give a ufunc a loop for ml_dtypes.bfloat16, compiled at once."""
    import ml_dtypes

    number = np.dtype(ml_dtypes.bfloat16).num
    operands = (ctypes.c_int * (ufunc.nin + ufunc.nout))(*[number] * (ufunc.nin + ufunc.nout))
    address = maker("bfloat16")
    if _register_loop()(ufunc, number, address, ctypes.cast(operands, ctypes.c_void_p), None) < 0:
        raise RuntimeError(f"NumPy did not accept a bfloat16 loop for {ufunc.__name__}")
    _alive.append(operands)
