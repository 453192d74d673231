"""Errors that happen where none can be raised: inside the inner loop of a ufunc.

A loop that could not be compiled leaves NaN in its outputs, raises the ``invalid`` flag, reports the error to
`sys.unraisablehook` and notes it here. The front door looks here after each call and raises it.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace


class Failures(list[tuple[str, BaseException]]):
    """Pairs of a ufunc's name and the error; empty, hence false, as long as nothing went wrong."""

    def note(self, name: str, error: BaseException) -> None:
        self.append((name, error))
        message = f"{name} could not be compiled; its results are NaN"
        sys.unraisablehook(
            SimpleNamespace(  # type: ignore[arg-type]
                exc_type=type(error), exc_value=error, exc_traceback=error.__traceback__, err_msg=message, object=None
            )
        )

    def report(self, name: str) -> None:
        """Raise what went wrong with the ufunc of that name, if anything did."""
        mine = [failure for failure in self if failure[0] == name]
        for failure in mine:
            self.remove(failure)
        if mine:
            raise mine[0][1]


failures = Failures()
