"""A graph in two parts, the first of which is computed for the next vector while the second is for this one.

Bodies for float16 begin and end with conversions, which few units of a processor do. One vector after the other they
come in bursts, between which these units wait; a processor looks ahead far enough for the rest of a body, but not for
the next one's conversions. So two parts of two bodies are mixed.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastact.link.graph import Graph, Node

LEAST, MOST = 8, 150
"""Nodes of graphs that are divided: shorter ones have nothing to mix, longer ones keep a processor busy anyway."""
EARLIEST, LATEST = 0.3, 0.6
"""Where the first part may end, as a part of the time that the longest chain of operations takes."""
CYCLES = {
    "constant": 0, "input": 5, "half_to_single": 6, "single_to_half": 6, "fma": 4, "fdiv": 12, "sqrt": 15,
    "fmul": 3, "fadd": 3, "fsub": 3, "fcmp": 3, "icmp": 3, "lookup": 3,
}  # fmt: skip
"""About how long operations take; others take one cycle."""


@dataclass
class Parts:
    """The nodes of both parts, each in computing order, and those of the first that the second or the results need."""

    first: list[Node]
    second: list[Node]
    kept: list[Node]


def parts(graph: Graph) -> Parts | None:
    """A graph divided where the fewest numbers have to be kept; None if it is not to be."""
    live = graph.live()
    converts = any(node.op == "half_to_single" for node in live)
    if not converts or not LEAST <= len(live) <= MOST or any(node.data == "rare" for node in live):
        return None
    done: dict[int, int] = {}
    for node in live:
        done[node.index] = max((done[a.index] for a in node.args), default=0) + CYCLES.get(node.op, 1)
    longest = max(done.values())
    best = None
    for moment in sorted(set(done.values())):
        if not EARLIEST * longest <= moment <= LATEST * longest:
            continue
        first = [node for node in live if done[node.index] <= moment or node.op == "constant"]
        second = [node for node in live if done[node.index] > moment and node.op != "constant"]
        needed = {a.index for node in second for a in node.args} | {node.index for node in graph.outputs}
        kept = [node for node in first if node.index in needed and node.op != "constant"]
        if best is None or len(kept) < len(best.kept):
            best = Parts(first, second, kept)
    return best
