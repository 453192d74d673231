"""The types of machine words in LLVM, constants of them, and vectors made of elements of others."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

from llvmlite import ir

SCALARS: dict[str, ir.Type] = {
    "i1": ir.IntType(1),
    "i16": ir.IntType(16),
    "i32": ir.IntType(32),
    "i64": ir.IntType(64),
    "f32": ir.FloatType(),
    "f64": ir.DoubleType(),
}

LANES = 16
"""Elements of 32 bits in a register of AVX-512."""


class BFloat(ir.Type):
    """LLVM's type of bfloat16."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BFloat)

    def __hash__(self) -> int:
        return hash(BFloat)


@functools.cache
def typed(name: str, width: int) -> ir.Type:
    return ir.VectorType(SCALARS[name], width) if width else SCALARS[name]


def constant(name: str, width: int, value: float | int) -> ir.Constant:
    return _constant(name, width, value, math.copysign(1.0, value))


@functools.lru_cache(maxsize=None, typed=True)
def _constant(name: str, width: int, value: float | int, sign: float) -> ir.Constant:
    """Written once, since vectors have many elements. 0 and -0 are equal, but for their ``sign``."""
    return ir.Constant(typed(name, width), [value] * width if width else value)


@functools.cache
def undefined(kind: ir.Type) -> ir.Constant:
    """Any number, or a vector of them."""
    return ir.Constant(kind, ir.Undefined)


def picked(b: ir.IRBuilder, vector: ir.Value, places: Sequence[int], after: ir.Value | None = None) -> ir.Value:
    """Elements of a vector, or of two whose places are counted one after the other."""
    after = undefined(vector.type) if after is None else after
    return b.shuffle_vector(vector, after, _mask(tuple(places)))


@functools.cache
def _mask(places: tuple[int, ...]) -> ir.Constant:
    return ir.Constant(ir.VectorType(SCALARS["i32"], len(places)), list(places))
