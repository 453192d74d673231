"""Calls of doors like earlier ones, which do not pass through Python: what is told to compiled code, and when."""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastact.precision import Approx, current

MOST_IN_VAIN = 200
"""Calls through Python of which nothing was learned, one after the other, after which nothing more is."""
NONE: Mapping[Any, tuple[Any, ...]] = {}


_lessons = threading.Lock()
"""Held while something is learned. Whoever comes meanwhile, from another thread or on the way, learns another time."""


def _forget() -> None:
    """A forked process may have been another thread's while it learned."""
    global _lessons
    _lessons = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class Known:
    """What is known of a door's calls. Of the first call nothing is kept, since it may be the only one."""

    def __init__(self, door: Any, call: Callable[..., Any]) -> None:
        """``call`` is what the door's class does with a call, if nothing stands before it."""
        self._door, self._call = door, call
        self._table: Any = None
        self._seen = self._in_vain = 0
        self.learns = type(door).__call__ is call
        """Whether `learn` is to be told of calls."""

    def learn(
        self, ufunc: np.ufunc, args: tuple[Any, ...], operands: tuple[Any, ...], options: dict[str, Any],
        approx: Approx, inputs: int, settled: Mapping[Any, tuple[Any, ...]] = NONE,
    ) -> None:  # fmt: skip
        """Take in a call that came through: its arguments as they were given, and the operands of the ufunc. The first
        ``inputs`` of them are no parameters; of these only ``settled`` ones are right in every call. What goes wrong
        here is no fault of the call: nothing more is learned."""
        self._seen += 1
        lessons = _lessons
        if self._seen == 1 or not lessons.acquire(blocking=False):
            return
        try:
            self._in_vain += 1
            if len(operands) == ufunc.nin and len(args) >= inputs and _lasting(operands[inputs:], settled):
                if self._table is None:
                    from fastact.cpu.entries.arrays import Table

                    self._table = Table(self._other_call)
                if self._learned(ufunc, args, operands[inputs:], options, approx):
                    self._in_vain = 0
                    self._replace()
            self.learns = self._in_vain < MOST_IN_VAIN and not (self._table and self._table.full)
        except Exception:
            self.learns = False
        finally:
            lessons.release()

    def _learned(
        self, ufunc: np.ufunc, args: tuple[Any, ...], parameters: tuple[Any, ...], options: dict[str, Any],
        approx: Approx,
    ) -> bool:  # fmt: skip
        placed: list[tuple[str | None, Any]] = [(None, value) for value in args]
        named: list[tuple[str | None, Any]] = [*options.items()]
        if approx is None:
            orders = [named]
        else:  # Python does not say where it stood
            orders = [[*named[:k], ("approx", approx), *named[k:]] for k in range(len(named), -1, -1)]
        tier = current() if approx is None else None
        return any([self._table.learn(ufunc, [*placed, *order], parameters, tier) for order in orders])

    def _other_call(self, *args: Any, **options: Any) -> Any:
        """A call that is not known; the door may be among its arguments, as where a class's ``__call__`` is called."""
        if args and args[0] is self._door:
            args = args[1:]
        return self._call(self._door, *args, **options)

    def _replace(self) -> None:
        """Have the compiled function called instead of the class's: Python looks for it in the class, which becomes one
        of this door alone. Further doors of that class, and classes below it, are as if it were the one before."""
        door, kind = self._door, type(self._door)
        if kind.__call__ is not self._call:
            return

        def new(cls: Any, *args: Any, **options: Any) -> Any:
            return kind(*args, **options) if cls is own else object.__new__(cls)

        def below(cls: Any) -> None:
            if "__call__" not in cls.__dict__:
                cls.__call__ = self._call

        own: Any = type(
            kind.__name__,
            (kind,),
            {
                "__call__": self._table.builtin,
                "__doc__": inspect.getattr_static(kind, "__doc__"),
                "__init_subclass__": classmethod(below),
                "__module__": kind.__module__,
                "__new__": new,
            },
        )
        door.__class__ = own


def _lasting(parameters: tuple[Any, ...], settled: Mapping[Any, tuple[Any, ...]]) -> bool:
    return not parameters or any(all(map(_is, parameters, known)) for known in settled.values())


def _is(a: Any, b: Any) -> bool:
    return a is b
