"""Several operations in the bodies of 16 bits that AVX-512 has one instruction for.

An exponential limits a number t, takes n = floor(t) from it, pushes n into the exponent of a float, and multiplies what
has become of t - n by that. One instruction multiplies by 2^floor(t). It needs no upper limit: there the float is
infinite, and so are products with powers as large. Without a lower one it would make subnormal numbers, which takes
long. There is one that leaves t - n, too, but it rounds what it leaves as it rounds t: down.

Pieces of a function are found by adding a large number to y, and what is left of y when that is taken off, which is
exact, is what one instruction leaves. Another one has the smaller of the size of a number and a limit, but the limit
for NaN.
"""

from __future__ import annotations

import math

from fastact.cpu.lowering.clips import extreme_of
from fastact.link.graph import Graph, Node

BIAS, FRACTION = 127.0, 23
"""Of float32: that of exponents, and the bits of the mantissa."""
PUSHED = (1.5 * 2.0**FRACTION + BIAS).hex()
LIMIT = (BIAS + 1.0).hex()
NEAREST = 0b1000
"""How numbers are rounded, without a flag."""
MOST = 2.0**16
"""Limits of what is rounded by a sum: there it is exact."""


def contracted(graph: Graph) -> Graph:
    """A graph with such numbers as nodes "fraction" and "size_within" and such products as nodes "scale"."""
    live, users = graph.live(), graph.users()
    powers: dict[Node, Node] = {}
    found: dict[Node, tuple[str, Node, object]] = {}
    for node in live:
        if node.type != "f32":
            continue
        power = _power(node, users) if node.op == "floor" else None
        if power is not None:
            powers[power] = _unlimited(node.args[0])
        bits = _rounded_off(node)
        if bits is not None:
            found[node] = "fraction", node.args[0], NEAREST | bits << 4
        limit = _limit(node)
        if limit is not None:
            found[node] = "size_within", limit[0].args[0], limit[1].data
    if not found and not powers:
        return graph
    copy = Graph()
    made: dict[Node, Node] = {}
    for node in live:
        args = [made[a] for a in node.args]
        if node in found:
            op, x, data = found[node]
            made[node] = copy.node(op, "f32", made[x], data=data)
        elif len(node.args) > 1 and node.args[1] in powers and node.op in ("fmul", "fma"):
            product = copy.node("scale", "f32", args[0], made[powers[node.args[1]]])
            made[node] = product if node.op == "fmul" else copy.node("fadd", "f32", product, args[2])
        else:
            made[node] = copy.node(node.op, node.type, *args, data=node.data)
    copy.inputs = [made[node] for node in graph.inputs]
    copy.outputs = [made[node] for node in graph.outputs]
    return copy


def _power(floor: Node, users: dict[Node, list[Node]]) -> Node | None:
    """The float that a whole number is pushed into the exponent of, if nothing but what is left of t and products with
    that float need either."""
    t, power = floor.args[0], None
    for user in users[floor]:
        if user.op == "fadd" and user.args[1].data == PUSHED:
            power = user
        elif user.op != "fsub" or user.args != (t, floor):
            return None
    for op in ("bitcast", "shl", "bitcast"):
        found = users.get(power, []) if power is not None else []
        power = found[0] if len(found) == 1 and found[0].op == op else None
    if power is None or power.args[0].args[1].data != FRACTION:
        return None
    good = all(user.op in ("fmul", "fma") and user.args.index(power) == 1 for user in users[power])
    return power if good and all(user.args.count(power) == 1 for user in users[power]) else None


def _unlimited(t: Node) -> Node:
    """A number without the limit where powers are infinite, which is set last."""
    found = extreme_of(t) if t.op == "select" else None
    if found is not None and found[0] == "min":
        numbers = [a for a in t.args[1:] if a.op != "constant" or a.data != LIMIT]
        return numbers[0] if len(numbers) == 1 else t
    return t


def _rounded_off(node: Node) -> int | None:
    """Of y - ((y + c) - c) how many bits after the point are left out of y, which has a limit."""
    if node.op != "fsub" or node.args[1].op != "fsub":
        return None
    y, (moved, c) = node.args[0], node.args[1].args
    if moved.op != "fadd" or moved.args != (y, c) or c.op != "constant" or _limit(y) is None:
        return None
    mantissa, exponent = math.frexp(float.fromhex(str(c.data)))
    bits = FRACTION + 1 - exponent
    return bits if mantissa == 0.75 and 0 <= bits < 16 else None


def _limit(node: Node) -> tuple[Node, Node] | None:
    """The size of a number, which of NaN may be anything, and the limit that a node sets to it."""
    found = extreme_of(node) if node.op == "select" else None
    if found is None or found[0] != "min":
        return None
    for size, limit in (node.args[1:], node.args[:0:-1]):
        if size.op == "fabs" and size.data == "number" and limit.op == "constant":
            return (size, limit) if 0.0 < float.fromhex(str(limit.data)) <= MOST else None
    return None
