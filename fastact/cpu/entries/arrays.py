"""Calls of functions of numbers with arrays of one shape and dtype, from Python's objects to the loop and back.

What calls were like before stands in a table of 64-bit words, which a compiled function, of the module next to this,
looks through: how many arguments there were and by which names, arrays of which dtype, which numbers as parameters,
and which tier. For the first that fits it makes an array for the result, unless there is one, runs the loop, and
reports floating-point errors as a ufunc does. What fits nothing goes to the function in Python that is the door's own,
and so does what threads may help with.
"""

from __future__ import annotations

import ctypes
import functools
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastact.cpu import threads
from fastact.cpu.entries.layout import GIVE_ERRORS, MAKE_ARRAY, TAKES_NAMES, Layout, builtins, function, numpys, packed
from fastact.cpu.places import address
from fastact.precision import TIERS, of_context

Array = np.ndarray[Any, Any]
MOST_SLOTS, MOST_OPERANDS, MOST_OUTPUTS = 8, 8, 2
MOST = 48
"""Calls that a table has room for. They stay where they are, since a loop may run while another thread adds one."""
MOST_PASSING = 32
"""Of these, calls with numbers as parameters or names of tiers that are made at run time, which may be many."""


class Word:
    """Places in the description: addresses of the table, of objects and of functions."""

    TABLE, NONE, FLOAT, ARRAY, ONE, TIER, THREADS, SINGLE = range(8)
    INCREASE, REDUCE, UNLOCK, LOCK, MAKE, PAIR, GIVE, FIND, CALL = range(8, 17)


class Slot:
    """Words for an argument: its kind, what it has to be, and its name where it has one. That is the place among
    operands of an array, the bits of a number, the address of an object."""

    KIND, VALUE, NAME = range(3)
    WORDS = 3
    ARRAY, RESULT, NUMBER, OBJECT = range(4)
    """Kinds."""


class Entry:
    """Places in what the table says of a call: how many arguments it has by place and by name; the tier of the
    surrounding context that it is for, or 0; the dtype and its bytes; addresses of the loop, of the number of elements
    from which on threads may help, and of the ufunc's name; how many operands there are, results not counted, and how
    many results. Then come the arguments, addresses of parameters, and steps of the loop."""

    PLACED, NAMED, TIER, DESCRIPTOR, BYTES, LOOP, LIMIT, NAME, OPERANDS, OUTPUTS = range(10)
    SLOTS = 10
    PLACES = SLOTS + Slot.WORDS * MOST_SLOTS
    STEPS = PLACES + MOST_OPERANDS
    WORDS = STEPS + MOST_OPERANDS + MOST_OUTPUTS


class Table:
    """The calls that are known of a door, and the builtin that looks them up."""

    def __init__(self, fallback: Callable[..., Any]) -> None:
        self._words = (ctypes.c_int64 * (1 + MOST * Entry.WORDS))()
        self._passing = 0
        self._had: set[Any] = set()
        self._alive: list[Any] = []
        make = _make()
        self.builtin = make((_described(self._words), fallback, self)) if make else None

    @property
    def full(self) -> bool:
        """Whether there is room for no other call, or nothing that would look."""
        return self.builtin is None or self._words[0] == MOST

    def learn(
        self, ufunc: np.ufunc, arguments: Sequence[tuple[str | None, Any]], parameters: Sequence[Array],
        tier: str | None,
    ) -> bool:  # fmt: skip
        """Take in a call, if it is one for the table: its arguments with their names or None, in the order in which
        Python hands them over, and the parameters as the loop reads them, which come after the other operands. ``tier``
        is that of the context where none is given. Returns whether there is something new. One thread at a time comes
        here."""
        inputs, x = ufunc.nin - len(parameters), arguments[0][1]
        if self.full or len(arguments) > MOST_SLOTS or ufunc.nin > MOST_OPERANDS or ufunc.nout > MOST_OUTPUTS:
            return False
        slots, alive = [], []
        for k, (name, value) in enumerate(arguments):
            slot = _slot(k, name, value, x, inputs, ufunc)
            if slot is None:
                return False
            named = sys.intern(name) if name else None
            slots += [*slot, id(named) if named else 0]
            alive += [named, value if slot[0] == Slot.OBJECT else None]
        made = [value for value in alive if type(value) is str and sys.intern(value) is not value]
        passing = bool(made) or Slot.NUMBER in slots[:: Slot.WORDS]
        key = (tier, x.dtype, ufunc, *slots)
        if key in self._had or (passing and self._passing == MOST_PASSING):
            return False
        loop = threads.loop_address(ufunc, x.dtype)
        if not loop or not all(type(p) is np.ndarray and p.dtype is x.dtype and not p.ndim for p in parameters):
            return False
        label, limit = ctypes.create_string_buffer(ufunc.__name__.encode()), threads.limit(ufunc, x.dtype)
        placed = len([name for name, _ in arguments if name is None])
        context = id(next(own for own in TIERS if own == tier)) if tier else 0
        size = x.itemsize
        words = [
            placed, len(arguments) - placed, context, id(x.dtype), size, loop, ctypes.addressof(limit),
            ctypes.addressof(label), ufunc.nin, ufunc.nout, *slots, *[0] * (Slot.WORDS * MOST_SLOTS - len(slots)),
            *[0] * inputs, *map(address, parameters), *[0] * (MOST_OPERANDS - ufunc.nin),
            *[size] * inputs, *[0] * len(parameters), *[size] * ufunc.nout,
        ]  # fmt: skip
        count = self._words[0]
        ctypes.memmove(ctypes.addressof(self._words) + 8 * (1 + count * Entry.WORDS), packed(words), 8 * len(words))
        self._alive += [*alive, x.dtype, limit, label, *parameters]
        self._had.add(key)
        self._passing += passing
        self._words[0] = count + 1
        return True


def _slot(k: int, name: str | None, value: Any, x: Any, inputs: int, ufunc: np.ufunc) -> tuple[int, int] | None:
    """Kind and value of the k-th argument; None where it is not one for a table."""
    if name is None and k < inputs:
        return (Slot.ARRAY, k) if _plain(value, x) else None
    if name == "out":
        return (Slot.RESULT, ufunc.nin) if ufunc.nout == 1 and _plain(value, x) and value.flags.writeable else None
    if type(value) is float:
        return Slot.NUMBER, *struct.unpack("=q", struct.pack("=d", value))
    if name == "approx" and type(value) in (bool, str):  # this very object, which the table keeps
        return Slot.OBJECT, id(value)
    return None


def _plain(a: Any, x: Any) -> bool:
    """Whether a is an array in C's order, of the shape and dtype of x."""
    return (
        type(a) is np.ndarray and a.ndim > 0 and a.dtype is x.dtype and a.shape == x.shape
        and a.flags.c_contiguous and a.flags.aligned
    )  # fmt: skip


@functools.cache
def _make() -> Callable[[Any], Callable[..., Any]] | None:
    """What makes builtins; None where that is not possible, as where floating-point flags are out of reach."""
    return builtins("arrays", _module, Layout(), TAKES_NAMES) if threads.driven() else None


def _module(layout: Layout, triple: str) -> str:
    from fastact.cpu.entries.arrays_module import arrays_module
    from fastact.cpu.target import host

    return arrays_module(layout, triple, host().target().flags)


def _described(table: Any) -> bytes:
    objects = [id(a) for a in (None, float, np.ndarray, 1, of_context, threads.of_context)]
    before = "Py_IncRef", "Py_DecRef", "PyEval_SaveThread", "PyEval_RestoreThread"
    after = "PyContextVar_Get", "PyObject_Vectorcall"
    arrays = numpys(MAKE_ARRAY), function("PyTuple_New"), numpys(GIVE_ERRORS, "_UFUNC_API")
    functions = [*map(function, before), *arrays, *map(function, after)]
    return packed([ctypes.addressof(table), *objects, ctypes.addressof(threads.single), *functions])
