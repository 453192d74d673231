"""The graph of primitive operations that a body becomes once it is bound to a dtype and a tier.

A graph is straight-line, typed and free of any target: the CPU back end lowers it to vectors, Numba and CUDA lower
it to scalars, and all of them perform the same operations in the same order, hence compute the same bits. Equal
subexpressions share one node. The digest of a graph names a kernel: two kernels with one digest are the same kernel.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

FLOATS = ("f32", "f64")
INTEGERS = ("i16", "i32", "i64")
BITS = {"i1": 1, "i16": 16, "i32": 32, "f32": 32, "i64": 64, "f64": 64}


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operation. ``data`` is the literal of a constant, an input's position or a lookup's table."""

    index: int
    op: str
    type: str
    args: tuple[Node, ...]
    data: object = None


class Graph:
    """Nodes in the order of their making, which is an order in which they can be computed."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.inputs: list[Node] = []
        self.outputs: list[Node] = []
        self.instead: list[Node] = []
        """Results with the same bits that take less time where tables lie in memory; none if there are no such."""
        self._shared: dict[tuple[object, ...], Node] = {}

    def node(self, op: str, type: str, *args: Node, data: object = None) -> Node:
        key = (op, type, data, *(a.index for a in args))
        found = self._shared.get(key)
        if found is None:
            found = Node(len(self.nodes), op, type, args, data)
            self.nodes.append(found)
            self._shared[key] = found
        return found

    def input(self, type: str) -> Node:
        node = self.node("input", type, data=len(self.inputs))
        self.inputs.append(node)
        return node

    def constant(self, type: str, value: float | int) -> Node:
        """A literal; floats are kept as hexadecimal text so that -0.0, infinities and NaN stay distinct."""
        return self.node("constant", type, data=float(value).hex() if type in FLOATS else int(value))

    def live(self) -> list[Node]:
        """The nodes that the outputs need, in computing order."""
        wanted: set[int] = set()
        stack = list(self.outputs)
        while stack:
            node = stack.pop()
            if node.index not in wanted:
                wanted.add(node.index)
                stack.extend(node.args)
        wanted.update(node.index for node in self.inputs)
        return [node for node in self.nodes if node.index in wanted]

    def users(self) -> dict[Node, list[Node]]:
        """The live nodes that an operand goes to, each as often as it is one of theirs."""
        found: dict[Node, list[Node]] = {}
        for node in self.live():
            for a in node.args:
                found.setdefault(a, []).append(node)
        return found

    def part(self, outputs: list[Node]) -> Graph:
        """The same nodes with other outputs."""
        graph = Graph()
        graph.nodes, graph.inputs, graph.outputs = self.nodes, self.inputs, outputs
        return graph

    def without_tables(self) -> Graph:
        """What takes less time where tables lie in memory."""
        alarms = [node for node in self.outputs if node.type == "i1"]
        return self.part([*self.instead, *alarms]) if self.instead else self

    def text(self) -> str:
        """The graph as lines of text, with nodes renumbered: equal text means equal kernels."""
        live = self.live()
        position = {node.index: i for i, node in enumerate(live)}
        lines = [
            f"{i} = {node.op} {node.type} {' '.join(str(position[a.index]) for a in node.args)} {node.data}"
            for i, node in enumerate(live)
        ]
        lines.append("return " + " ".join(str(position[node.index]) for node in self.outputs))
        return "\n".join([*lines, self.without_tables().text()] if self.instead else lines)

    def digest(self) -> str:
        return hashlib.sha256(self.text().encode()).hexdigest()[:16]
