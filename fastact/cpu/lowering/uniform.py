"""What follows from numbers that are the same for all elements, as parameters often are, apart from what does not.

The first is computed once, before the loop over the elements; the bits are those of computing it for each of them.
"""

from __future__ import annotations

from fastact.cpu.lowering.order import Detour, order
from fastact.link.graph import Graph, Node

Steps = list[Node | Detour]

SHORT, LONG = 100, 2000
"""Nodes of graphs that are short, for which it matters that nothing is copied, and of graphs that are too long to be
compiled twice."""
PART = 0.5
"""How many steps come before the loop, as a part of those in it, of others for which a loop of its own is worth it."""


def by_need(graph: Graph, varying: int) -> tuple[Steps, Steps]:
    """The steps that need none of the first ``varying`` inputs, and the others, both in computing order.

    What only detours need is left to them."""
    same = {node.index for node in graph.inputs if int(node.data) >= varying}  # type: ignore[call-overload]
    once: Steps = []
    each: Steps = []
    for step in order(graph, detours=True):
        if isinstance(step, Node) and step.op == "input":
            continue
        needs = step.needs() if isinstance(step, Detour) else {a.index for a in step.args}
        if needs <= same:
            same |= {node.index for node in (step.members if isinstance(step, Detour) else [step])}
            once.append(step)
        else:
            each.append(step)
    return once, each


def worthwhile(graph: Graph, varying: int) -> bool:
    """Whether a graph has a loop of its own for inputs that are the same for all elements."""
    length = len(graph.live())
    if length <= SHORT or length > LONG:
        return length <= SHORT
    once, each = by_need(graph, varying)
    needed = [step for step in once if isinstance(step, Detour) or step.op != "constant"]
    return len(needed) >= PART * len(each)
