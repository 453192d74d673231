"""How Python's and NumPy's objects lie in memory, the functions of theirs that compiled code calls, and builtins.

Compiled functions become builtins through Python's and NumPy's public C interfaces, and read the fields of arrays where
NumPy's headers have them. Where objects are laid out in another way, there are none, and Python looks.
"""

from __future__ import annotations

import ctypes
import functools
import struct
import sys
import sysconfig
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from fastact.cpu import shortcuts
from fastact.cpu.lock import alone

READ, WRITTEN, WARNS = 0x101, 0x501, 1 << 31
"""NumPy's flags of arrays in C's order that may be read, and written; and of those that warn when they are written."""
TAKES_WORDS, TAKES_NAMES = 0x80, 0x82
"""Python's flags of functions that take a vector of arguments, and with names besides."""


@dataclass(frozen=True)
class Layout:
    """Where fields of objects are: of all, of arrays and numbers, the count and the first item of a tuple, the content
    of bytes."""

    type: int = object.__basicsize__ - 8
    number: int = object.__basicsize__
    data: int = object.__basicsize__
    ndim: int = object.__basicsize__ + 8
    dimensions: int = object.__basicsize__ + 16
    descriptor: int = object.__basicsize__ + 40
    flags: int = object.__basicsize__ + 48
    count: int = object.__basicsize__
    item: int = tuple.__basicsize__
    content: int = bytes.__basicsize__ - 1


def as_expected(layout: Layout) -> bool:
    """Whether fields are where they are said to be, and Python has the lock that compiled functions count on."""
    if sys.implementation.name != "cpython" or sys.maxsize < 1 << 32 or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return False

    def read(object: Any, place: int, kind: Any) -> Any:
        return kind.from_address(id(object) + place).value

    for a in (np.empty((3, 5), np.float32), np.empty(7)[::2], np.empty((2, 3, 4), np.float16).T, np.array(1.5)):
        dimensions = read(a, layout.dimensions, ctypes.c_size_t)
        shape = tuple((ctypes.c_ssize_t * a.ndim).from_address(dimensions)) if a.ndim else ()
        flags = read(a, layout.flags, ctypes.c_int)
        if (
            read(a, layout.type, ctypes.c_size_t) != id(np.ndarray)
            or read(a, layout.data, ctypes.c_size_t) != a.__array_interface__["data"][0]
            or (read(a, layout.ndim, ctypes.c_int), shape) != (a.ndim, a.shape)
            or read(a, layout.descriptor, ctypes.c_size_t) != id(a.dtype)
            or flags != a.flags.num
        ):
            return False
    number, text, pair = 0.1, b"12345678", (0.2, b"1")
    return (
        read(number, layout.number, ctypes.c_double) == number
        and read(text, layout.content, ctypes.c_char) == b"1"
        and read(pair, layout.count, ctypes.c_ssize_t) == len(pair)
        and [read(pair, layout.item + 8 * k, ctypes.c_size_t) for k in range(2)] == [id(value) for value in pair]
    )


# -- functions --------------------------------------------------------------------------------------------------------
def function(name: str) -> int:
    """The address of a function of Python's."""
    return ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0


@functools.cache
def numpys(place: int, table: str = "_ARRAY_API") -> int:
    """The address of a function of NumPy's, by its place in one of the tables that its headers have."""
    from numpy._core import _multiarray_umath

    pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    functions = ctypes.cast(pointer(getattr(_multiarray_umath, table), None), ctypes.POINTER(ctypes.c_void_p))
    return functions[place] or 0


MAKE_ARRAY, GIVE_ERRORS = 94, 46
"""PyArray_NewFromDescr in the table of arrays, PyUFunc_GiveFloatingpointErrors in that of ufuncs."""


def packed(words: Iterable[int]) -> bytes:
    """Words of 64 bits, addresses among them, as a description has them."""
    found = [word - (1 << 64) if word >= 1 << 63 else word for word in words]
    return struct.pack(f"={len(found)}q", *found)


# -- builtins ---------------------------------------------------------------------------------------------------------
class _Method(ctypes.Structure):
    """PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p),
    )  # fmt: skip


_alive: list[Any] = []
"""What builtin functions point to but do not own."""


def builtins(
    name: str, module: Callable[[Layout, str], str], layout: Layout, takes: int = TAKES_WORDS
) -> Callable[[Any], Callable[..., Any]] | None:
    """What makes a builtin of the compiled function ``enter`` of a module, for each ``self``; None where that is not
    possible. ``name`` stands for the module in the cache."""
    if not as_expected(layout):
        return None
    asked = (name, *map(str, astuple(layout)))
    with alone():
        place = shortcuts.address(*asked, symbol="enter") or _compiled(module, layout, asked)
    method = _Method(b"call", place, takes, b"call(*args, **options)\n--\n\nThe call, of which Python knows no more.")
    _alive.append(method)
    make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
    made = make(("PyCFunction_NewEx", ctypes.pythonapi))
    return lambda own: made(ctypes.addressof(method), own, None)


def _compiled(module: Callable[[Layout, str], str], layout: Layout, asked: tuple[str, ...]) -> int:
    from fastact.cpu.compile import native
    from fastact.cpu.target import host

    return native(module(layout, host().triple), "enter", asked)
