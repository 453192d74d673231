"""Precision tiers: their names, the ``approx=`` argument and the context that sets its default."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

Tier = Literal["exact", "fast", "rough"]
Approx = Literal["exact", "fast", "rough"] | bool | None

TIERS: tuple[Tier, ...] = ("exact", "fast", "rough")
ACCEPTED: dict[object, Tier] = {"exact": "exact", "fast": "fast", "rough": "rough", False: "exact", True: "fast"}

of_context: ContextVar[Tier] = ContextVar("fastact_precision", default="exact")
current = of_context.get
"""The tier of the surrounding context."""


def parse(approx: object) -> Tier:
    """The tier that ``approx=`` names; ValueError naming the three for anything else."""
    if approx is None:
        return current()
    if isinstance(approx, (str, bool)) and approx in ACCEPTED:
        return ACCEPTED[approx]
    raise ValueError(
        f"approx={approx!r} is not a precision tier; choose 'exact' (or False), 'fast' (or True) or 'rough', "
        "or None for the tier of the surrounding fastact.precision(...)"
    )


@contextmanager
def precision(approx: Approx) -> Iterator[Tier]:
    """The tier of every call in the block that has no ``approx=`` of its own.

    Contexts nest, and each thread and each asyncio task sees only its own.

    >>> import fastact
    >>> with fastact.precision("fast") as tier:
    ...     tier
    'fast'
    """
    token = of_context.set(parse(approx))
    try:
        yield current()
    finally:
        of_context.reset(token)
