"""Powers of two by two instructions of AVX-512, one for a number less the whole number below it, and one that
multiplies by 2 to the power of that whole number.

An exponential for 16 bits limits a number t, takes n = floor(t) from it, pushes n into the exponent of a float, and
multiplies what has become of t - n by that. The instructions need no upper limit: there the float is infinite, and so
are products with powers as large. Without a lower one they would make subnormal numbers, which takes long.
"""

from __future__ import annotations

from fastact.cpu.lowering.clips import extreme_of
from fastact.link.graph import Graph, Node

BIAS, FRACTION = 127.0, 23
"""Of float32: that of exponents, and the bits of the mantissa."""
PUSHED = (1.5 * 2.0**FRACTION + BIAS).hex()
LIMIT = (BIAS + 1.0).hex()


def contracted(graph: Graph) -> Graph:
    """A graph with such numbers as nodes "fraction" and such products as nodes "scale"."""
    live = graph.live()
    users: dict[Node, list[Node]] = {}
    for node in live:
        for a in node.args:
            users.setdefault(a, []).append(node)
    powers: dict[Node, Node] = {}
    fractions: dict[Node, Node] = {}
    for node in live:
        power = _power(node, users) if node.op == "floor" and node.type == "f32" else None
        if power is not None:
            powers[power] = node.args[0]
            fractions.update((user, node.args[0]) for user in users[node] if user.op == "fsub")
    if not powers:
        return graph
    copy = Graph()
    made: dict[Node, Node] = {}
    for node in live:
        args = [made[a] for a in node.args]
        if node in fractions:
            made[node] = copy.node("fraction", "f32", made[_unlimited(fractions[node])])
        elif len(node.args) > 1 and node.args[1] in powers and node.op in ("fmul", "fma"):
            product = copy.node("scale", "f32", args[0], made[_unlimited(powers[node.args[1]])])
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
