"""Elements of tables multiplied by powers of two in one instruction.

An exponential pushes a whole number k into the last bits of a float (`split_integer`). Its lowest bits are a place in a
table, and the others are added to the exponent of what stands there, which takes a shift and a sum. AVX-512 multiplies
by 2^floor(y) at once. For that y has to be k divided by the length of the table, and so has all that k is made of;
what k is multiplied with makes up for it. Results are the same wherever no exponent leaves its range; elsewhere they
are no good either way, and detours are taken.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from llvmlite import ir

from fastact.cpu.lowering.words import picked, typed
from fastact.link.graph import Graph, Node

if TYPE_CHECKING:
    from fastact.cpu.lowering.emit import Emitter

LANES = 16
FRACTION = 23
"""Bits of the mantissa of a float32, the first one left out."""


class Power(NamedTuple):
    """An element of a table times a power of two, and the numbers that it is made of."""

    result: Node
    table: Node
    pushed: Node
    whole: Node


def scaled(graph: Graph) -> Graph:
    """A graph with what it has of such products as nodes of their own, "scale"."""
    live, users = graph.live(), graph.users()
    found = {power.result: power for power in map(lambda node: _power(node, users), live) if power is not None}
    if not found:
        return graph
    lengths = {node: len(p.table.data) for p in found.values() for node in (p.pushed, p.whole)}  # type: ignore[arg-type]
    copy = Graph()
    made: dict[Node, Node] = {}
    for node in live:
        made[node] = _copied(copy, node, made, found, lengths)
    copy.inputs = [made[node] for node in graph.inputs]
    copy.outputs = [made[node] for node in graph.outputs]
    return copy


def _copied(
    graph: Graph, node: Node, made: dict[Node, Node], found: dict[Node, Power], lengths: dict[Node, int]
) -> Node:
    args = [made[a] for a in node.args]

    def times(factor: Node, by: float) -> Node:
        return graph.node("fmul", "f32", factor, graph.constant("f32", by))

    if node in found:
        power = found[node]
        entries = tuple(_moved(entry, place, len(power.table.data)) for place, entry in enumerate(power.table.data))  # type: ignore[arg-type, var-annotated]
        table = graph.node("lookup", "f32", made[power.table.args[0]], data=entries)
        return graph.node("scale", "f32", table, made[power.whole])
    if node in lengths and node.op == "fma":
        x, factor, shift = args
        return graph.node("fma", "f32", x, times(factor, 1 / lengths[node]), times(shift, 1 / lengths[node]))
    if node in lengths:
        return graph.node("fsub", "f32", args[0], times(args[1], 1 / lengths[node]))
    if node.op == "fma" and node.args[0] in lengths:
        return graph.node("fma", "f32", args[0], times(args[1], lengths[node.args[0]]), args[2])
    return graph.node(node.op, node.type, *args, data=node.data)


def _power(node: Node, users: dict[Node, list[Node]]) -> Power | None:
    """bits(table[bits(z) & (n - 1)]) + (bits(z) << s) as a float, of z = x c + 3 2^22, if nothing but z - 3 2^22, which
    is multiplied by constants only, needs z besides."""
    if node.op != "bitcast" or node.type != "f32" or node.args[0].op != "iadd":
        return None
    table, shifted = node.args[0].args
    if table.op != "bitcast" or shifted.op != "shl" or table.args[0].op != "lookup":
        return None
    table = table.args[0]
    size, bits = len(table.data), shifted.args[0]  # type: ignore[arg-type]
    place = table.args[0]
    if place.op != "and" or place.args[0] is not bits or place.args[1].data != size - 1 or table.type != "f32":
        return None
    if bits.op != "bitcast" or shifted.args[1].data != FRACTION - size.bit_length() + 1 or size & (size - 1):
        return None
    z = bits.args[0]
    if z.op != "fma" or z.args[2].data != (1.5 * 2.0**FRACTION).hex() or not _constant(z.args[1]):
        return None
    wholes = [user for user in users[z] if user is not bits]
    if len(wholes) != 1 or wholes[0].op != "fsub" or wholes[0].args != (z, z.args[2]):
        return None
    if any(user not in (place, shifted) for user in users[bits]):
        return None
    if not all(_multiplies(user, wholes[0]) for user in users[wholes[0]]):
        return None
    return Power(node, table, z, wholes[0])


def _multiplies(node: Node, whole: Node) -> bool:
    """Whether a number is x + c k for a constant c."""
    if node.op != "fma" or node.args.count(whole) != 1 or node.args[0] is not whole:
        return False
    return _constant(node.args[1]) and not _constant(node.args[2])


def _constant(node: Node) -> bool:
    return node.op == "constant" or (node.op == "fmul" and all(map(_constant, node.args)))


def _moved(entry: str, place: int, size: int) -> str:
    """An element that has its place added to its bits where the others of k begin."""
    bits = struct.unpack("<I", struct.pack("<f", float.fromhex(entry)))[0] + (place << FRACTION - size.bit_length() + 1)
    return float(struct.unpack("<f", struct.pack("<I", bits))[0]).hex()


def product(e: Emitter, x: ir.Value, y: ir.Value) -> ir.Value:
    """x 2^floor(y)."""
    if e.width < LANES:  # a part of a register, as where float64 is in the same graph
        x, y = (picked(e.builder, value, [k % e.width for k in range(LANES)]) for value in (x, y))
        return picked(e.builder, _product(e, x, y, LANES), range(e.width))
    return _product(e, x, y, e.width)


def _product(e: Emitter, x: ir.Value, y: ir.Value, width: int) -> ir.Value:
    kind, mask = typed("f32", LANES), ir.IntType(LANES)
    function = e.declared("llvm.x86.avx512.mask.scalef.ps.512", kind, [kind, kind, kind, mask, ir.IntType(32)])
    found: list[Any] = []
    for start in range(0, width, LANES):
        a, b = e.lanes(x, start, LANES), e.lanes(y, start, LANES)
        found.append(e.builder.call(function, [a, b, a, mask(-1), ir.IntType(32)(4)]))
    while len(found) > 1:
        found = [e.joined(low, high) for low, high in zip(found[::2], found[1::2], strict=True)]
    return found[0]  # type: ignore[no-any-return]
