"""Programs over rows: what is done with all numbers along an axis, in runs over the row.

A program's bodies are functions of (elements, columns, kept, scalars): the numbers at one place of the row; those that
belong to the place whatever the row; what an earlier run found there; and numbers of the row as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Body = Callable[..., Any]


@dataclass(frozen=True)
class Run:
    """One run over a row: what every element brings to maxima, sums and counts, and what becomes of these.

    The body returns one value for each of ``kinds`` ("max", "sum", "count"), and the ``kept`` last ones are handed to
    later bodies of the same element. ``settle`` gets the totals, the scalars and the number of elements; the scalars it
    returns come after those there are."""

    kinds: tuple[str, ...]
    body: Body
    settle: Body
    kept: int = 0
    repeated: bool = False
    """Run until the last scalar is 0: what ``settle`` returns takes the place of as many scalars."""
    spared: bool = False
    """If repeated, that it is not run at all where that scalar is 0 before."""


@dataclass(frozen=True)
class Program:
    """The runs over a row and its results.

    ``columns`` and ``rows`` are read, per place and per row; the dtypes of those ``widened`` are float64 whatever
    that of the elements. ``numbers`` are float64 too, the same for all rows. Scalars begin with rows and numbers."""

    name: str
    elements: tuple[str, ...]
    runs: tuple[Run, ...]
    result: Body | None = None
    """Of (elements, columns, kept, scalars): the result, or the results, of every element."""
    totals: Body | None = None
    """Of the scalars: the result, or the results, of the row."""
    columns: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    widened: frozenset[str] = field(default_factory=frozenset)
    prepare: Body | None = None
    """Of rows and numbers: the scalars to begin with in their place."""
    wide_totals: bool = False
    """The results of the row are float64 whatever the elements are."""
    careful: bool = False
    """float32 is computed in float64 in every tier."""


PROGRAMS: dict[str, Program] = {}


def declare_rows(program: Program) -> Program:
    """Register a program under its name."""
    if program.name in PROGRAMS:
        raise ValueError(f"{program.name} is declared twice")
    PROGRAMS[program.name] = program
    return program
