"""How far from 1 numbers may be for their squares to be right."""

from __future__ import annotations

from math import inf

from fastact.kernels.operations import Value

RANGES = {"f32": (2.0**-100, 2.0**120, 2.0**-70, 2.0**100), "f64": (2.0**-900, 2.0**1000, 2.0**-600, 2.0**600)}


def square_range(x: Value) -> tuple[float, float, float, float] | None:
    """Limits between which x^2 + b has all digits of x^2 and of b, those of a second word included, and does not
    overflow; and factors that bring x there from above and from below. None where no x is out of range."""
    arithmetic = x.context.arithmetic
    return None if arithmetic.wide else RANGES[arithmetic.word]


def largest_root(x: Value) -> float:
    """A number up to which squares are far from overflow."""
    arithmetic = x.context.arithmetic
    return inf if arithmetic.wide else 2.0 ** (arithmetic.bias // 2 - 2)


def largest_half(x: Value) -> float:
    """A large number, twice which is finite."""
    return 2.0**1000 if x.context.arithmetic.word == "f64" else 2.0**120
