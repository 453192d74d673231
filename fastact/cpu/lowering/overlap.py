"""A graph in two parts, the first of which is computed for the next vector while the second is for this one.

Bodies for float16 begin and end with conversions, which few units of a processor do. One vector after the other they
come in bursts, between which these units wait; a processor looks ahead far enough for the rest of a body, but not for
the next one's conversions. So two parts of two bodies are mixed. Other bodies gain by it where their chain of
operations is long and what has to be kept from one turn to the next is little.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastact.link.graph import Graph, Node

LEAST, MOST = 8, 150
"""Nodes of graphs that are divided: shorter ones have nothing to mix, longer ones keep a processor busy anyway."""
MIDDLE, ANYWHERE = (0.3, 0.6), (0.25, 0.7)
"""Where the first part may end, as a part of the time that the longest chain of operations takes: of bodies that
convert, and of others."""
LONG = 36
"""Cycles of the longest chain of operations in bodies without conversions that are divided."""
WORTH = 18
"""Cycles of that chain for each number that has to be kept: registers are few."""
CYCLES = {
    "constant": 0, "input": 5, "half_to_single": 6, "single_to_half": 6, "fma": 4, "fdiv": 12, "sqrt": 15,
    "fmul": 3, "fadd": 3, "fsub": 3, "fcmp": 3, "icmp": 3, "lookup": 3,
}  # fmt: skip
"""About how long operations take; others take one cycle."""


@dataclass
class Parts:
    """The nodes of both parts, each in computing order, and those of the first that the second or the results need;
    inputs are read again."""

    first: list[Node]
    second: list[Node]
    kept: list[Node]
    converts: bool


def parts(graph: Graph) -> Parts | None:
    """A graph divided where the fewest numbers have to be kept; None if it is not to be."""
    live = graph.live()
    if not LEAST <= len(live) <= MOST or any(node.data == "rare" for node in live):
        return None
    converts = any(node.op == "half_to_single" for node in live)
    if converts and any(node.op != "half_to_single" and a.op == "input" for node in live for a in node.args):
        return None  # where stored bits are used as well, registers would have to be taken apart
    done: dict[int, int] = {}
    for node in live:
        done[node.index] = max((done[a.index] for a in node.args), default=0) + CYCLES.get(node.op, 1)
    longest, best = max(done.values()), None
    earliest, latest = MIDDLE if converts else ANYWHERE
    if not converts and longest < LONG:
        return None
    for moment in sorted(set(done.values())):
        if not earliest * longest <= moment <= latest * longest:
            continue
        first = [node for node in live if done[node.index] <= moment or node.op == "constant"]
        second = [node for node in live if done[node.index] > moment and node.op != "constant"]
        needed = {a.index for node in second for a in node.args} | {node.index for node in graph.outputs}
        kept = [node for node in first if node.index in needed and node.op not in ("constant", "input")]
        if best is None or len(kept) < len(best.kept):
            best = Parts(first, second, kept, converts)
    return best if converts or (best is not None and len(best.kept) * WORTH <= longest) else None
