"""Genuine NumPy ufuncs made of compiled inner loops, through NumPy's public C API.

A loop is compiled when it is first called: until then its place in the ufunc's table holds a callback that compiles
it, puts it in its own place and hands on the call. Where that fails, see `fastact.cpu.failures`.
"""

from __future__ import annotations

import ctypes
import functools
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastact.cpu.failures import failures

LOOP = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
CHARACTERS: dict[str, np.dtype[Any]] = {"float16": np.dtype("e"), "float32": np.dtype("f"), "float64": np.dtype("d")}
Maker = Callable[[str], int]
"""From a dtype's name to the address of the loop for it."""

_NO_IDENTITY = -1
_alive: list[Any] = []
"""What ufuncs point to but do not own; a ufunc lives as long as the process."""


@functools.cache
def _api() -> Any:
    from numpy._core._multiarray_umath import _UFUNC_API

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


@functools.cache
def _give_floating_point_errors() -> Any:
    return ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.c_int)(_api()[46])


def report_flags(name: str, flags: int) -> None:
    """Warn of floating-point errors or raise them, as the surrounding `np.errstate` has it.

    The bits of ``flags`` are NumPy's: 1 for divide, 2 overflow, 4 underflow, 8 invalid."""
    _give_floating_point_errors()(name.encode(), flags)


RETRY_AFTER = 1.0
"""Seconds for which a loop that could not be compiled is not tried again, unless its failure has been reported."""


def _deferred(name: str, dtype: str, maker: Maker, settle: Callable[[int], None], inputs: int, outputs: int) -> Any:
    """A loop that compiles the real one at its first call, settles it, and runs it."""
    ready: list[Any] = []
    failed = -RETRY_AFTER

    def prepare() -> None:
        nonlocal failed
        try:
            address = maker(dtype)
            settle(address)
        except BaseException as error:
            failed = time.monotonic()
            failures.append((name, error))
            raise
        ready.append(LOOP(address))
        np.add(1.0, 1.0)  # which clears the floating-point flags that compiling raised

    def first(args: int, dims: int, steps: int, data: int) -> None:
        try:
            if not ready and (time.monotonic() >= failed + RETRY_AFTER or name not in failures.names()):
                prepare()  # an error that it raises goes on to sys.unraisablehook
        finally:
            if ready:
                ready[0](args, dims, steps, data)
            else:
                _fill_with_nan(args, dims, steps, inputs, outputs, dtype)

    return LOOP(first)


_INFINITY = float("inf")


def _fill_with_nan(args: int, dims: int, steps: int, inputs: int, outputs: int, dtype: str) -> None:
    """Put NaN into the outputs of a loop and raise the flag ``invalid``."""
    (count,) = np.ctypeslib.as_array(ctypes.cast(dims, ctypes.POINTER(ctypes.c_ssize_t)), (1,))
    places = ctypes.cast(args, ctypes.POINTER(ctypes.c_size_t))
    strides = ctypes.cast(steps, ctypes.POINTER(ctypes.c_ssize_t))
    code = {"float32": "<f4", "float64": "<f8"}.get(dtype, "<u2")
    nan = {"float16": 0x7E00, "bfloat16": 0x7FC0}.get(dtype, np.nan)
    for k in range(inputs, inputs + outputs):
        layout = {"data": (places[k], False), "shape": (count,), "strides": (strides[k],), "typestr": code}
        np.asarray(SimpleNamespace(__array_interface__={**layout, "version": 3}))[...] = nan
    _INFINITY - _INFINITY  # last, because NumPy's own calls clear the flags


def make_ufunc(name: str, doc: str, inputs: int, outputs: int, maker: Maker) -> np.ufunc:
    """A ufunc with loops for float16, float32 and float64, each compiled at its first use."""
    count, width = len(CHARACTERS), inputs + outputs
    functions = (ctypes.c_void_p * count)()
    data = (ctypes.c_void_p * count)()
    types = (ctypes.c_ubyte * (count * width))()
    stubs = []
    for place, (dtype, character) in enumerate(CHARACTERS.items()):
        settle = functools.partial(functions.__setitem__, place)
        stub = _deferred(name, dtype, maker, settle, inputs, outputs)
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
    """Give a ufunc a loop for ml_dtypes.bfloat16, compiled at its first use."""
    import ml_dtypes

    number: int = np.dtype(ml_dtypes.bfloat16).num  # type: ignore[attr-defined]
    operands = (ctypes.c_int * ufunc.nargs)(*[number] * ufunc.nargs)

    def register(address: Any) -> None:
        if _register_loop()(ufunc, number, address, ctypes.cast(operands, ctypes.c_void_p), None) < 0:
            raise RuntimeError(f"NumPy did not accept a bfloat16 loop for {ufunc.__name__}")

    stub = _deferred(ufunc.__name__, "bfloat16", maker, register, ufunc.nin, ufunc.nout)
    register(ctypes.cast(stub, ctypes.c_void_p))
    _alive.append((operands, stub))
