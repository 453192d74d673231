"""Calls of doors like earlier ones, which do not pass through Python: what is told to compiled code, and when."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastact.precision import Approx, current

MOST_IN_VAIN = 200
"""Calls through Python of which nothing was learned, one after the other, after which nothing more is."""
NONE: Mapping[Any, tuple[Any, ...]] = {}


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
        ``inputs`` of them are no parameters; of these only ``settled`` ones are right in every call."""
        self._seen += 1
        if self._seen == 1:
            return
        self._in_vain += 1
        if len(operands) == ufunc.nin and len(args) >= inputs and self._lasting(operands[inputs:], settled):
            if self._table is None:
                from fastact.cpu.entries.arrays import Table

                self._table = Table(types.MethodType(self._call, self._door))
            placed: list[tuple[str | None, Any]] = [(None, value) for value in args]
            named: list[tuple[str | None, Any]] = [*options.items()]
            if approx is None:
                orders = [named]
            else:  # Python does not say where it stood
                orders = [[*named[:k], ("approx", approx), *named[k:]] for k in range(len(named), -1, -1)]
            tier = current() if approx is None else None
            if any([self._table.learn(ufunc, [*placed, *order], operands[inputs:], tier) for order in orders]):
                self._in_vain = 0
                self._replace()
        self.learns = self._in_vain < MOST_IN_VAIN and not (self._table and self._table.full)

    @staticmethod
    def _lasting(parameters: tuple[Any, ...], settled: Mapping[Any, tuple[Any, ...]]) -> bool:
        return not parameters or any(all(map(_is, parameters, known)) for known in settled.values())

    def _replace(self) -> None:
        """Have the compiled function called instead of the class's: Python looks for it in the class."""
        door, kind = self._door, type(self._door)
        if kind.__call__ is self._call:
            own = {"__call__": self._table.builtin, "__module__": kind.__module__}
            door.__class__ = type(kind.__name__, (kind,), {**own, "__doc__": inspect.getattr_static(kind, "__doc__")})


def _is(a: Any, b: Any) -> bool:
    return a is b
