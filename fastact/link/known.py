"""What is known of values while they are being linked, and what is to be looked after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastact.link.graph import Node

if TYPE_CHECKING:
    from fastact.link.values import Condition, Integer, Real


FURTHER = 2.0**-18
"""Error that a product with one more factor is granted, in 2^-25 of it."""


@dataclass(frozen=True)
class Product:
    """A result in a pair of float32 that is a rate, which depends on one argument, times factors that are arguments."""

    rate: Any
    argument: Node
    factors: tuple[Node, ...]
    granted: float
    """Error that the result may have, in 2^-25 of it."""


class Knowledge:
    """Bounds of values, and where results need a closer look."""

    def __init__(self) -> None:
        self._bounds: dict[int, tuple[float, float]] = {}
        self.doubts: list[Condition] = []
        """Where digits cancel, so that results may lack more than their last ones."""
        self.granted = 0.0
        """Error that a result in a pair of float32 may have, in 2^-25 of it."""
        self.signs: list[Integer] = []
        """Integers that are negative where a pair of float32 may lack bits."""
        self.left: list[Condition] = []
        """Where a pair of float32 is left to a wider arithmetic whatever it is."""
        self.held: dict[Node, tuple[float, float]] = {}
        """The limits that these set to the size of numbers."""
        self._ends: dict[tuple[int, float], tuple[Condition | None, bool]] = {}
        self.detour: Condition | None = None
        """Where a pair of float32 is left to a wider arithmetic."""
        self.rate: Any = None
        """What the first argument is multiplied with, if results are such products."""
        self.products: dict[int, Product] = {}
        """Such products of several, by their first words."""
        self.inexact: set[int] = set()
        """The constants that had to be rounded."""

    def factored(self, value: Any, rate: Any, argument: Any, factors: Sequence[Any]) -> None:
        """Remember that a value is a rate of an argument times factors; what is granted so far was for it alone.

        Products of what is uncertain in a small part only may be ties but for that: their error is one of the whole,
        too."""
        if value.uncertain is not value.first:
            value.uncertain = abs(value.uncertain) + abs(value.first)
        nodes = tuple(_word(factor).node for factor in factors)
        granted = self.granted + FURTHER * (len(nodes) - 1)
        self.products[value.first.node.index] = Product(rate, _word(argument).node, nodes, granted)
        self.granted = 0.0

    def not_above(self, value: Any, least: float, below: bool = False) -> Condition:
        """A condition that holds wherever a number is not above a limit, or not below it, and hardly ever besides."""
        here = _word(value) >= least if below else _word(value) <= least
        key = (_word(value).node.index, least)
        if key not in self._ends:
            return here
        known, serves = self._ends[key]
        known = self.detour if known is None else known
        if known is None or serves:
            return here if known is None else known
        return here.only_where(known)

    def leave(self, condition: Condition) -> None:
        """Leave elements to a wider arithmetic."""
        self.left.append(condition)

    def end(self, value: Any, least: float, known: Condition | None = None, serves: bool = False) -> None:
        """Remember a condition that holds wherever a number is not above a limit, or below it for the upper one: that a
        pair of float32 is left to a wider arithmetic, if none is given. So a test is spared, or made on a detour only.
        ``serves``: it holds hardly ever besides."""
        self._ends[_word(value).node.index, least] = known, serves

    def bounds(self, value: Any) -> tuple[float, float]:
        """The interval known to hold a value (NaN apart)."""
        return self._bounds.get(_word(value).node.index, (-math.inf, math.inf))

    def note(self, value: Any, at_least: float = -math.inf, at_most: float = math.inf, like: Any = None) -> None:
        """Remember that a value lies within bounds, besides those known of ``like``."""
        low, high = (-math.inf, math.inf) if like is None else self.bounds(like)
        bounds = (max(low, at_least), min(high, at_most))
        # A pair of words may be known by its first word as it came.
        for word in (getattr(value, "first", value), value):
            self._bounds[_word(word).node.index] = bounds


def _word(value: Any) -> Real:
    return value.hi if hasattr(value, "hi") else value  # type: ignore[no-any-return]


def is_multiple(node: Node) -> bool:
    """Whether a word is an argument, or one times a constant, and perhaps a correction."""
    if node.op in ("fneg", "fabs", "fadd", "copysign"):
        return is_multiple(node.args[0])
    if node.op == "fmul":
        return any(a.op == "constant" and is_multiple(b) for a, b in (node.args, node.args[::-1]))
    if node.op == "select":
        return any(map(is_multiple, node.args[1:]))
    return node.op == "input"
