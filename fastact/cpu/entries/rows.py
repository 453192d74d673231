"""Calls with arrays as those of an earlier call were, without a step in Python between the arguments and the loop.

What arguments have to be like is described in a block of 64-bit words, and a compiled function, of the module next to
this, looks whether they are. Where objects are laid out in another way (`fastact.cpu.entries.layout`), and where
threads may pay, Python looks.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import numpy as np

from fastact.cpu import threads
from fastact.cpu.entries.layout import MAKE_ARRAY, READ, WRITTEN, Layout, builtins, function, numpys, packed
from fastact.cpu.places import address

if TYPE_CHECKING:
    from fastact.cpu.rows.calls import Plan

Array = np.ndarray[Any, Any]
Calls = dict[tuple[Any, ...], Callable[..., Any]]
"""Calls that are known, by what they have in common but arrays and numbers."""
MOST_CALLS = 100
MOST = 32
"""Operands, and facts of a call, at most."""


class Word:
    """Places in the description. Counts, the place of the result among the arguments, and of the steps in the
    description; addresses of objects and of functions. Then come the facts of the call, what each argument is, the
    steps, and shapes."""

    COUNT, FACTS, OPERANDS, ROWS, RESULT, STEPS = range(6)
    NONE, FLOAT, ARRAY = range(6, 9)
    INCREASE, REDUCE, UNLOCK, LOCK, MAKE, NO_MEMORY, LOOP = range(9, 16)
    TABLES = 16


class Argument:
    """Words for an argument: its kind, its place among operands and facts, the address of its dtype, flags, axes, the
    place of its shape in the description, bytes, whether the result may be at its place, and what None stands for, if
    not 0."""

    KIND, PLACE, DESCRIPTOR, FLAGS, NDIM, SHAPE, BYTES, SHARED, INSTEAD = range(9)
    WORDS = 9
    INPUT, RESULT, NUMBER = range(3)
    """Kinds."""


class Call:
    """A call, callable again with arguments like those: arrays or None, an array for the result or None for a new one,
    arrays for further results, and numbers or None for what they were. Returns the result, or None where arguments are
    not like those."""

    def __init__(
        self, plan: Plan, given: Sequence[Array | None], result: Array, numbers: Sequence[float] = (),
        instead: Sequence[Array | None] = (), elements: int = 1, further: Sequence[Array] = (),
    ) -> None:  # fmt: skip
        """``instead``: what None stands for; the result may take the place of the first ``elements`` arrays. Of
        ``further`` results, callers know that they share no memory with others."""
        self.plan, self.numbers = plan, tuple(numbers)
        self.instead = tuple(instead) or (None,) * len(given)
        there = [b if a is None else a for a, b in zip(given, self.instead, strict=True)]
        self.kinds = [None if a is None else (a.shape, a.dtype) for a in there]
        self.result = result.shape, result.dtype
        self.further = [(a.shape, a.dtype) for a in further]
        self.elements = elements

    def __call__(self, *args: Any) -> Array | None:
        count, arrays = len(self.kinds), []
        for a, kind, instead in zip(args, self.kinds, self.instead, strict=False):
            if a is None and (kind is None or instead is not None):
                a = instead
            elif kind is None or not _alike(a, *kind):
                return None
            if a is not None:
                arrays.append(a)
        out, after = args[count], count + 1 + len(self.further)
        further = args[count + 1 : after]
        if not all([_alike(a, *kind) and a.flags.writeable for a, kind in zip(further, self.further, strict=True)]):
            return None
        numbers = [old if new is None else new for new, old in zip(args[after:], self.numbers, strict=True)]
        if not all([type(number) is float for number in numbers]):
            return None
        if out is None:
            out = np.empty(*self.result)
        elif not (_alike(out, *self.result) and out.flags.writeable and self._apart(out, arrays, args)):
            return None
        self.plan.run([*arrays, out, *further], numbers)
        return out  # type: ignore[no-any-return]

    def _apart(self, out: Array, arrays: Sequence[Array], args: Sequence[Any]) -> bool:
        """Whether the result shares no memory with others but elements at the same place."""
        start = address(out)
        for a in arrays:
            place = address(a)
            shared = place == start and any([a is own for own in args[: self.elements]])
            if not shared and place < start + out.nbytes and start < place + a.nbytes:
                return False
        return True


def _alike(a: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Whether a is an array of that kind."""
    same = type(a) is np.ndarray and a.dtype is dtype and a.shape == shape
    return same and a.flags.c_contiguous and a.flags.aligned


def remember(calls: Calls, key: tuple[Any, ...], call: Call) -> None:
    """Have a call ready for those of its kind, of which the first that is over before threads would pay prepares what
    comes later."""
    plan = call.plan

    def first(*args: Any) -> Array | None:
        if plan.only is None or plan.alone():
            calls[key] = (_builtin(call) if plan.only is not None else None) or call
            return calls[key](*args)  # type: ignore[no-any-return]
        started = perf_counter_ns()
        result = call(*args)
        if result is not None and threads.get_num_threads() == 1:  # else it is measured where threads are asked
            plan.loop.learn((perf_counter_ns() - started) / plan.size)
        return result

    if len(calls) >= MOST_CALLS:
        calls.clear()
    calls[key] = first


# -- the compiled function --------------------------------------------------------------------------------------------
@functools.cache
def _functions() -> tuple[int, ...]:
    """Addresses of the functions that `Word` names, in its order, but for the loop."""
    before = "Py_IncRef", "Py_DecRef", "PyEval_SaveThread", "PyEval_RestoreThread"
    return (*map(function, before), numpys(MAKE_ARRAY), function("PyErr_NoMemory"))


def _module(layout: Layout, triple: str) -> str:
    from fastact.cpu.entries.rows_module import entry_module

    return entry_module(layout, triple)


@functools.cache
def _make() -> Callable[[Any], Callable[..., Any]] | None:
    """What makes builtins; None where that is not possible."""
    return builtins("entry", _module, Layout())


def _builtin(call: Call) -> Callable[..., Any] | None:
    """The call as a builtin function."""
    make = _make()
    return make((_described(call), call)) if make else None


def _described(call: Call) -> bytes:
    """The description of a call."""
    plan, part = call.plan, call.plan.only
    assert part is not None
    facts, steps = [*plan.facts, *plan.along, *[0] * len(call.numbers)], part.strides
    arguments: list[list[int]] = []
    shapes: list[int] = []
    count = len(call.kinds) + 1 + len(call.further) + len(call.numbers)
    first = Word.TABLES + len(facts) + count * Argument.WORDS + len(steps)
    operand = 0

    def array(kind: int, like: tuple[Any, Any], flags: int, shared: bool, instead: int) -> None:
        nonlocal operand
        shape, dtype = like
        place, size = 8 * (first + len(shapes)), math.prod(shape) * dtype.itemsize
        arguments.append([kind, operand, id(dtype), flags, len(shape), place, size, shared, instead])
        shapes.extend(shape)
        operand += 1

    for k, (kind, instead) in enumerate(zip(call.kinds, call.instead, strict=True)):
        if kind is None:  # nothing but None will do, which goes where nothing is read
            arguments.append([Argument.INPUT, MOST - 1, 0, 0, 0, 0, 0, 0, 1])
        else:
            array(Argument.INPUT, kind, READ, k < call.elements, 0 if instead is None else address(instead))
    array(Argument.RESULT, call.result, WRITTEN, False, 1)
    for kind in call.further:
        array(Argument.INPUT, kind, WRITTEN, False, 0)
    for k, number in enumerate(call.numbers):
        place = MOST + len(facts) - len(call.numbers) + k
        arguments.append([Argument.NUMBER, place, 0, 0, 0, 0, 0, 0, *struct.unpack("=q", struct.pack("=d", number))])
    objects = [id(a) for a in (None, float, np.ndarray)]
    counts = [count, len(facts), operand, part.rows, len(call.kinds), 8 * (first - len(steps))]
    words = [*counts, *objects, *_functions(), plan.loop.address, *facts]
    words += [word for own in arguments for word in own] + steps + shapes
    return packed(words)
