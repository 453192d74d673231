"""Elements of small constant tables, found in registers instead of in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llvmlite import ir

from fastact.cpu.lowering.order import Detour
from fastact.cpu.lowering.words import constant, picked, typed
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


def couples(e: Emitter, steps: Sequence[Node | Detour]) -> dict[Node, Node]:
    """Tables of float64 of which elements at the same place are looked up one after the other, two by two."""
    if not e.eights or not e.width or e.width % QUARTER:
        return {}
    waiting: dict[tuple[int, int], Node] = {}
    found: dict[Node, Node] = {}
    for node in steps:
        if isinstance(node, Node) and node.op == "lookup" and (node.type, node.args[0].type) == ("f64", "i64"):
            key = node.args[0].index, len(node.data)  # type: ignore[arg-type]
            first = waiting.pop(key, None)
            if first is None:
                waiting[key] = node
            else:
                found[first] = node
    return found


QUARTER = 4
"""Elements of float64 in a register of AVX2."""


def together(e: Emitter, first: Node, second: Node, index: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Elements of two tables by AVX2, which lie next to each other in memory: each two are one load, and four such are
    exchanged in registers."""
    b, word = e.builder, ir.IntType(64)
    columns = [[float.fromhex(text) for text in node.data] for node in (first, second)]  # type: ignore[attr-defined]
    rows = [entry for two in zip(*columns, strict=True) for entry in two]
    table = e.table("f64", rows)
    twice = b.shl(index, constant("i64", e.width, 1))
    places = [b.extract_element(twice, ir.Constant(ir.IntType(32), lane)) for lane in range(e.width)]
    kind, zero = typed("f64", 2), ir.Constant(word, 0)
    found: list[list[ir.Value]] = [[], []]
    for start in range(0, e.width, QUARTER):
        a, c, d, f = (
            b.load(b.gep(table, [zero, place], inbounds=True, source_etype=table.value_type), typ=kind, align=16)
            for place in places[start : start + QUARTER]
        )
        low, high = e.joined(a, d), e.joined(c, f)
        for part, mask in zip(found, ([0, 4, 2, 6], [1, 5, 3, 7]), strict=True):
            part.append(picked(b, low, mask, high))
    while len(found[0]) > 1:
        found = [[e.joined(a, c) for a, c in zip(part[::2], part[1::2], strict=True)] for part in found]
    return found[0][0], found[1][0]
