"""Errors that happen where none can be raised: inside the inner loop of a ufunc.

A loop that could not be compiled leaves NaN in its outputs, raises the ``invalid`` flag, hands the error to
`sys.unraisablehook` and notes it here. The front door looks here after each call and raises it.
"""

from __future__ import annotations


class Failures(list[tuple[str, BaseException]]):
    """Pairs of a ufunc's name and the error; empty, hence false, as long as nothing went wrong."""

    def names(self) -> set[str]:
        """The ufuncs with something unreported."""
        return {name for name, _ in self}

    def report(self, name: str) -> None:
        """Raise what went wrong with the ufunc of that name, if anything did."""
        mine = [failure for failure in self if failure[0] == name]
        for failure in mine:
            self.remove(failure)
        if mine:
            raise mine[0][1]


failures = Failures()
