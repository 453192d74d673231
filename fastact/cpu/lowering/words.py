"""The types of machine words in LLVM, and constants of them."""

from __future__ import annotations

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


def typed(name: str, width: int) -> ir.Type:
    return ir.VectorType(SCALARS[name], width) if width else SCALARS[name]


def constant(name: str, width: int, value: float | int) -> ir.Constant:
    return ir.Constant(typed(name, width), [value] * width if width else value)
