"""The order in which a graph is computed, with what is rarely needed set apart.

A selection marked "rare" takes its first value where a condition holds that hardly ever does. What only such values
need is computed for a whole vector or not at all. The results are those of the plain selection.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from fastact.link.graph import Graph, Node


@dataclass
class Detour:
    """Rare selections that share a condition, and the nodes that nothing but rare values needs."""

    condition: Node
    members: list[Node]
    nodes: list[Node] = field(default_factory=list)

    def needs(self) -> set[int]:
        """What has to be there before: the condition, the usual values, and what the detour's own nodes use."""
        own = {node.index for node in self.nodes}
        used = {a.index for node in self.nodes for a in node.args}
        used |= {self.condition.index, *(a.index for m in self.members for a in m.args[1:])}
        return used - own


def order(graph: Graph, detours: bool) -> list[Node | Detour]:
    """The live nodes in an order in which they can be computed; without ``detours``, simply one by one."""
    live = graph.live()
    if not detours or not any(node.data == "rare" for node in live):
        return list(live)
    steps: list[Node | Detour] = list(_detours(graph, live))
    inside = {n.index for d in steps if isinstance(d, Detour) for n in (*d.nodes, *d.members)}
    steps += [node for node in live if node.index not in inside]
    result = _sorted(steps)
    # Detours that wait for one another are given up.
    return result if len(result) == len(steps) else list(live)


def _detours(graph: Graph, live: list[Node]) -> list[Detour]:
    """Rare selections by condition; one that depends on another of the same condition has a detour of its own."""
    before: dict[int, int] = {}
    for node in live:
        before[node.index] = 1 << node.index
        for a in node.args:
            before[node.index] |= before[a.index]
    found: list[Detour] = []
    for node in live:
        if node.data != "rare":
            continue
        for detour in found:
            apart = not any(before[node.index] >> m.index & 1 for m in detour.members)
            if detour.condition is node.args[0] and apart:
                detour.members.append(node)
                break
        else:
            found.append(Detour(node.args[0], [node]))
    usual = _usual(graph, {m.index for detour in found for m in detour.members})
    kept = []
    for detour in found:
        # A detour within another needs no turning off of its own.
        detour.members = [m for m in detour.members if m.index in usual]
        own: set[int] = set()
        stack = [m.args[1] for m in detour.members]
        while stack:
            node = stack.pop()
            if node.index not in usual and node.index not in own:
                own.add(node.index)
                stack.extend(node.args)
        detour.nodes = [node for node in live if node.index in own]
        kept += [detour] if detour.members else []
    return kept


def _usual(graph: Graph, rare: set[int]) -> set[int]:
    """The nodes needed wherever no rare value is: what several detours share is left to each of them."""
    usual = {node.index for node in graph.inputs}
    stack = list(graph.outputs)
    while stack:
        node = stack.pop()
        if node.index not in usual:
            usual.add(node.index)
            stack.extend((node.args[0], node.args[2]) if node.index in rare else node.args)
    return usual


def _sorted(steps: list[Node | Detour]) -> list[Node | Detour]:
    """The steps such that each comes after those it needs, otherwise as early as its place in the graph allows."""
    gives: dict[int, int] = {}
    needs: list[set[int]] = []
    place: list[int] = []
    for i, step in enumerate(steps):
        nodes = step.members if isinstance(step, Detour) else [step]
        gives.update((node.index, i) for node in nodes)
        place.append(max(node.index for node in nodes))
        needs.append(step.needs() if isinstance(step, Detour) else {a.index for a in step.args})
    waiting = [{gives[n] for n in need} for need in needs]
    followers: list[list[int]] = [[] for _ in steps]
    for i, sources in enumerate(waiting):
        for source in sources:
            followers[source].append(i)
    ready = [(place[i], i) for i in range(len(steps)) if not waiting[i]]
    heapq.heapify(ready)
    result: list[Node | Detour] = []
    while ready:
        _, i = heapq.heappop(ready)
        result.append(steps[i])
        for follower in followers[i]:
            waiting[follower].discard(i)
            if not waiting[follower]:
                heapq.heappush(ready, (place[follower], follower))
    return result
