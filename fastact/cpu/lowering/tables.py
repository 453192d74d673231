"""Elements of small constant tables, found in registers instead of in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from fastact.cpu.lowering.words import constant, typed
from fastact.link.graph import Node

if TYPE_CHECKING:
    from fastact.cpu.lowering.emit import Emitter

LANES = 8
"""Elements of a register of AVX2, which its instruction finds by three bits."""


def in_eights(e: Emitter, node: Node, index: ir.Value) -> ir.Value:
    """Elements of a table of float32 by AVX2: those of its eighths are found apart, and selected by further bits."""
    b, entries = e.builder, [float.fromhex(text) for text in node.data]  # type: ignore[attr-defined]
    kind, whole = typed("f32", LANES), typed("i32", LANES)
    permute = e.declared("llvm.x86.avx2.permps", kind, [kind, whole])
    found = []
    for start in range(0, e.width, LANES):
        i = e.lanes(index, start, LANES)
        parts = [
            b.call(permute, [ir.Constant(kind, entries[k : k + LANES]), i]) for k in range(0, len(entries), LANES)
        ]
        bit = LANES
        while len(parts) > 1:
            # The bit is moved to the sign, where instructions that select look for it.
            moved = b.shl(i, constant("i32", LANES, 32 - bit.bit_length()))
            upper = b.icmp_signed("<", moved, constant("i32", LANES, 0))
            parts = [b.select(upper, high, low) for low, high in zip(parts[::2], parts[1::2], strict=True)]
            bit *= 2
        found += parts
    while len(found) > 1:
        found = [e.joined(low, high) for low, high in zip(found[::2], found[1::2], strict=True)]
    return found[0]


def serves(node: Node, width: int) -> bool:
    """Whether a table of float32 is so short, and vectors so long, that this is the quicker way."""
    words = node.type, node.args[0].type
    return words == ("f32", "i32") and width > 0 and width % LANES == 0 and len(node.data) in (8, 16, 32)  # type: ignore[arg-type]
