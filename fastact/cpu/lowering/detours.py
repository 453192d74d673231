"""Detours of long vectors, register by register.

A detour is wanted for one element, as a rule. What it computes, in numbers of twice the length or four times as many
operations, is computed for the register that the element is in, not for the whole vector of several registers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from llvmlite import ir

from fastact.cpu.lowering import masks
from fastact.cpu.lowering.flags import stack
from fastact.cpu.lowering.flow import I64, at, counted
from fastact.cpu.lowering.words import typed
from fastact.link.graph import BITS, Node

if TYPE_CHECKING:
    from fastact.cpu.lowering.emit import Emitter
    from fastact.cpu.lowering.order import Detour

BYTE = ir.IntType(8)


def divisible(detour: Detour, whole: int, part: int) -> bool:
    """Whether a detour of vectors of a length may be computed in parts: not where 16 bits are in use, of which vectors
    hold more."""
    nodes = (*detour.nodes, *detour.members, *(a for node in (*detour.nodes, *detour.members) for a in node.args))
    return 1 < part < whole and not any(node.type == "i16" for node in nodes)


def in_parts(e: Emitter, part: Emitter, detour: Detour, values: dict[int, Any]) -> list[ir.Value]:
    """The members of a detour, where the builder stands; ``part`` emits vectors of the parts' length."""
    b = e.builder
    inside = {node.index for node in (*detour.nodes, *detour.members)}
    outer = {a.index: a for node in (*detour.nodes, *detour.members) for a in node.args if a.index not in inside}
    constants = [node for node in outer.values() if node.op == "constant"]
    condition = detour.condition
    if condition.index not in e.kept:
        e.kept[condition.index] = _kept(e, condition, values[condition.index])
    given = {condition.index: (condition, e.kept[condition.index])}
    for node in outer.values():
        if node.op != "constant" and node is not condition:
            given[node.index] = node, _kept(e, node, values[node.index])
    results = [(m, _kept(e, m, values[m.args[2].index])) for m in detour.members]
    with counted(b, I64(e.width // part.width)) as i:
        found = _slice(part, condition, e.kept[condition.index], i)
        with b.if_then(masks.anywhere(part, found)):
            here = {index: _slice(part, node, place, i) for index, (node, place) in given.items()}
            part.nodes(_unique(constants), here)
            part.nodes(detour.nodes, here)
            for member, place in results:
                value = part.node(member, [here[a.index] for a in member.args])
                b.store(_stored(part, member, value), _address(part, member, place, i), align=1)
    return [_loaded(e, member, place) for member, place in results]


def _unique(nodes: Iterable[Node]) -> list[Node]:
    return list({node.index: node for node in nodes}.values())


def _element(node: Node, width: int) -> ir.Type:
    """How a vector lies in memory: truth values as bytes."""
    return ir.VectorType(BYTE, width) if node.type == "i1" else typed(node.type, width)


def _stored(e: Emitter, node: Node, value: Any) -> ir.Value:
    value = masks.whole(e, masks.in_words(e, value))
    return e.builder.zext(value, _element(node, e.width)) if node.type == "i1" else value


def _kept(e: Emitter, node: Node, value: Any) -> ir.Value:
    """The place on the stack where a vector is put."""
    room = stack(e.builder, _element(node, e.width), align=64)
    e.builder.store(_stored(e, node, value), room, align=64)
    return room


def _address(part: Emitter, node: Node, room: ir.Value, i: ir.Value) -> ir.Value:
    size = 1 if node.type == "i1" else BITS[node.type] // 8
    return at(part.builder, room, part.builder.mul(i, I64(size * part.width)))


def _slice(part: Emitter, node: Node, room: ir.Value, i: ir.Value) -> ir.Value:
    """One part of a vector that was put there."""
    return _loaded(part, node, _address(part, node, room, i))


def _loaded(e: Emitter, node: Node, place: ir.Value) -> ir.Value:
    kind = _element(node, e.width)
    value = e.builder.load(place, typ=kind, align=1)
    if node.type != "i1":
        return value
    return e.builder.icmp_unsigned("!=", value, ir.Constant(kind, [0] * e.width))
