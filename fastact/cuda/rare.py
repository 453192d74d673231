"""A graph without what hardly any element needs, and a flag for the elements that do need it.

A selection marked "rare" takes its first value where a condition holds that hardly ever does. A thread computes the
usual value first; where one of the conditions holds, it computes the whole graph for that element after all. The
results are those of the plain selections.
"""

from __future__ import annotations

from fastact.link.graph import Graph, Node

WORTH = 16
"""Operations that a graph has to lose before it pays to compute a flag and to branch."""


def _is_rare(node: Node) -> bool:
    return node.op == "select" and node.data == "rare"


def usual(graph: Graph) -> Graph | None:
    """The graph of the outputs as they usually are, with the flag, of type i1, as a further output; None where nothing
    is gained by it."""
    wanted: set[int] = set()
    conditions: dict[int, Node] = {}
    stack = list(graph.outputs)
    while stack:
        node = stack.pop()
        if node.index in wanted:
            continue
        wanted.add(node.index)
        if _is_rare(node):
            conditions[node.args[0].index] = node.args[0]
            stack += [node.args[0], node.args[2]]
        else:
            stack += node.args
    if not conditions or len(graph.live()) - len(wanted) < WORTH:
        return None
    result = Graph()
    made = {node.index: result.input(node.type) for node in graph.inputs}
    for node in graph.nodes:
        if node.index in wanted and node.op != "input":
            if _is_rare(node):
                made[node.index] = made[node.args[2].index]
            else:
                args = [made[a.index] for a in node.args]
                made[node.index] = result.node(node.op, node.type, *args, data=node.data)
    flag, *others = [made[index] for index in sorted(conditions)]
    for condition in others:
        flag = result.node("or", "i1", flag, condition)
    result.outputs = [*(made[node.index] for node in graph.outputs), flag]
    return result
