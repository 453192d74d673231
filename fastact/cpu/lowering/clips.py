"""The smaller or the larger of two numbers in one instruction, and what rounding leaves.

LLVM makes it of a comparison and a selection, too, unless it has moved operations with constants into the selection
before: then it is a comparison, a selection and an operation more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import ir

from fastact.cpu.lowering import masks
from fastact.cpu.lowering.words import LANES, constant, typed
from fastact.link.graph import BITS, Node

if TYPE_CHECKING:
    from fastact.cpu.lowering.emit import Emitter

_SUFFIX = {"f32": "ps", "f64": "pd"}
SIZES = 0b1010
"""The smaller of two sizes, without a sign."""
ROUNDING = ir.IntType(32)(4)
"""As the control register has it: nothing is rounded."""


def clip(e: Emitter, node: Node, args: list[Any]) -> ir.Value | None:
    """The value of a selection that is the smaller or the larger of two numbers, and the last one where they are equal
    or one is NaN, as the instructions of AVX-512 have it; None for others."""
    lanes = 512 // BITS[node.type]
    found = extreme_of(node) if node.type in _SUFFIX and e.avx512 and e.width and e.width % lanes == 0 else None
    if found is None:
        return None
    which, inverted = found
    kind = typed(node.type, lanes)
    name = f"llvm.x86.avx512.{which}.{_SUFFIX[node.type]}.512"
    function = e.declared(name, kind, [kind, kind, ROUNDING.type])
    a, b = (masks.pieces(e, value, e.width // lanes) for value in (args[:0:-1] if inverted else args[1:]))
    return masks.whole(e, masks.Mask(e.builder.call(function, [x, y, ROUNDING]) for x, y in zip(a, b, strict=True)))


def size_within(e: Emitter, x: ir.Value, limit: float) -> ir.Value:
    """The smaller of the size of a number and a limit."""
    kind, mask, i32 = typed("f32", LANES), ir.IntType(LANES), ir.IntType(32)
    function = e.declared("llvm.x86.avx512.mask.range.ps.512", kind, [kind, kind, i32, kind, mask, i32])
    most = constant("f32", LANES, limit)

    def smaller(part: ir.Value) -> ir.Value:
        return e.builder.call(function, [part, most, i32(SIZES), part, mask(-1), ROUNDING])

    return masks.whole(e, masks.Mask(map(smaller, masks.pieces(e, x, e.width // LANES))))


def fraction(e: Emitter, x: ir.Value, how: int) -> ir.Value:
    """What rounding leaves of a number."""
    kind, mask, i32 = typed("f32", LANES), ir.IntType(LANES), ir.IntType(32)
    function = e.declared("llvm.x86.avx512.mask.reduce.ps.512", kind, [kind, i32, kind, mask, i32])

    def left(part: ir.Value) -> ir.Value:
        return e.builder.call(function, [part, i32(how), part, mask(-1), ROUNDING])

    return masks.whole(e, masks.Mask(map(left, masks.pieces(e, x, e.width // LANES))))


def extreme_of(node: Node) -> tuple[str, bool] | None:
    """Whether a selection is the least or the largest, and whether its condition is inverted."""
    condition, a, b = node.args
    inverted = condition.op == "xor" and condition.args[1].op == "constant" and bool(condition.args[1].data)
    if inverted:
        condition, a, b = condition.args[0], b, a
    if condition.op != "fcmp" or condition.data not in ("olt", "ogt"):
        return None
    if condition.args == (a, b):
        return ("min" if condition.data == "olt" else "max"), inverted
    if condition.args == (b, a):
        return ("max" if condition.data == "olt" else "min"), inverted
    return None
