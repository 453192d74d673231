"""Selections among numbers of 16 bits as they are stored.

What a kernel of 16 bits does in float32 begins with widening and ends with rounding. Where results are selected among
inputs and constants, neither is wanted: the bits that are stored are selected. A condition on one input holds for a
set of its 65,536 numbers, all of which are tried; on their bits it asks whether these lie in one or two intervals. So a
register holds twice as many numbers, and a selection by conditions on one input is a partition of its numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from fastact.link.graph import Graph, Node
from fastact.link.patterns import SIGN, SIZE, Run, Test, best_test, runs_of
from fastact.link.sixteen import AWAY, NARROWED, WIDENED, is_sixteen
from fastact.link.trial import COUNT, Trial

INFINITE = {"float16": 0x7C00, "bfloat16": 0x7F80}
LEAVES = 5
"""Different results of a selection; of more of them the order is not worth finding."""
COSTS = {
    "i16": 0.5, "i1": 0.5, "fcmp": 1.5, "half_to_single": 2.5, "single_to_half": 3.0, "single_to_bfloat": 3.0,
    AWAY: 1.5,
}  # fmt: skip
"""Of an operation by its name or type, where one on a register of float32 costs 1."""


class Stored:
    """Rewrites the outputs of a graph of a dtype of 16 bits."""

    def __init__(self, graph: Graph, dtype: str) -> None:
        self.graph, self.dtype, self.trial = graph, dtype, Trial()
        self.alarms = any(node.type != "i1" for node in graph.outputs)
        """Whether outputs that are conditions are those of an alarm, which may go off for any NaN."""
        self.rounding = NARROWED[dtype]
        """How the output at hand is rounded."""

    # -- outputs ------------------------------------------------------------------------------------------------
    def output(self, node: Node) -> Node | None:
        """The same output from stored bits; None where there is no such."""
        if node.type == "i1":
            return self.condition(node, self.alarms)
        if node.op not in (NARROWED[self.dtype], AWAY, "upper_half"):
            return None
        self.rounding = AWAY if node.op == AWAY else NARROWED[self.dtype]
        return self.number(node.args[0], lenient=True)

    def number(self, node: Node, lenient: bool = False) -> Node | None:
        """The bits of a float32 that is a number of the dtype; if ``lenient``, some results of selections are computed
        and rounded."""
        graph = self.graph
        if node.op == WIDENED[self.dtype]:
            return node.args[0]
        if node.op == "constant":
            return self._constant(node) if is_sixteen(node, self.dtype) else None
        if node.op in ("fneg", "fabs"):
            found = self.number(node.args[0])
            op, mask = ("xor", SIGN) if node.op == "fneg" else ("and", SIZE)
            return found and graph.node(op, "i16", found, self.bits(mask))
        if node.op == "copysign" and node.args[0].op == "constant" and float.fromhex(str(node.args[0].data)) == 0.0:
            found = self.number(node.args[1])
            return found and graph.node("and", "i16", found, self.bits(SIGN))
        if node.op == "select" and node.data is None:
            return self._selection(node, lenient)
        return None

    def _constant(self, node: Node) -> Node:
        import numpy as np

        value = np.float32(float.fromhex(str(node.data)))
        if self.dtype == "float16":
            return self.bits(int(value.astype(np.float16).view(np.uint16)))
        return self.bits(int(value.view(np.uint32)) >> 16)

    def bits(self, pattern: int) -> Node:
        return self.graph.constant("i16", pattern - 2 * (pattern & SIGN))

    def _selection(self, node: Node, lenient: bool) -> Node | None:
        """By conditions on one input a partition of its numbers; otherwise one condition after the other."""
        known = self.trial(node.args[0])
        if known is not None and known[0] is None:
            return self._branch(node.args[1 if known[1] else 2], lenient)
        divided = self._partition(node, lenient)
        if divided is not None:
            return divided
        three = self._three(node, lenient)
        if three is not None:
            return three
        condition = self.condition(node.args[0])
        if condition is None:
            return None
        a, b = (self._branch(branch, lenient) for branch in node.args[1:])
        return a and b and self.graph.node("select", "i16", condition, a, b)

    def _three(self, node: Node, lenient: bool) -> Node | None:
        """One of two results as two stored numbers compare, a third where one of these is NaN: what is left after two
        selections by complementary comparisons."""
        first, *branches = _upright(node)
        if first.op != "fcmp" or branches[1].op != "select" or branches[1].data is not None:
            return None
        second, *others = _upright(branches[1])
        if second.op != "fcmp" or second.args != first.args:
            return None
        if {first.data, second.data} not in ({"ogt", "ole"}, {"olt", "oge"}):
            return None
        found = self._wholes(first)
        last = self._no_number(others[1], first.args, lenient)
        a, b = self._branch(branches[0], lenient), self._branch(others[0], lenient)
        if found is None or last is None or a is None or b is None:
            return None
        compared, unordered = found
        chosen = self.graph.node("select", "i16", compared, a, b)
        return self.graph.node("select", "i16", unordered, last, chosen)

    def _no_number(self, node: Node, compared: Sequence[Node], lenient: bool) -> Node | None:
        """A result where one of two numbers is NaN: their sum is that one."""
        if node.op == "fadd" and set(node.args) == set(compared):
            a, b = map(self.number, node.args)
            return a and b and self.graph.node("select", "i16", self._no_numbers(a), a, b)
        return self._branch(node, lenient)

    def _branch(self, node: Node, lenient: bool) -> Node | None:
        found = self.number(node, lenient)
        if found is not None or not lenient:
            return found
        op = "upper_half" if self.dtype == "bfloat16" and is_sixteen(node, self.dtype) else self.rounding
        return self.graph.node(op, "i16", node)

    # -- partitions ---------------------------------------------------------------------------------------------
    def _partition(self, node: Node, lenient: bool) -> Node | None:
        import numpy as np

        leaves: list[Node] = []
        found = self.trial(node.args[0])
        if found is None or found[0] is None:
            return None
        source = found[0]
        label = np.full(COUNT, -1)
        if not self._divide(node, source, np.ones(COUNT, bool), leaves, label):
            return None
        results = [result for leaf in leaves if (result := self._branch(leaf, lenient)) is not None]
        if len(results) < len(leaves) or len(set(results)) > LEAVES:
            return None
        unique = list(dict.fromkeys(results))
        label = np.array([unique.index(result) for result in results])[label]
        choices: list[tuple[int, ...]] = [(i,) for i in range(len(unique))]
        for i, result in enumerate(unique):  # what a constant is equal to may come from the input as well
            if result.op == "constant" and source in unique:
                pattern, pair = _pattern(result), {i, unique.index(source)}
                if label[pattern] in pair:
                    label[pattern] = len(choices)
                    choices.append(tuple(pair))
        best: tuple[float, list[tuple[int, Test]], int] | None = None
        for order in itertools.permutations(range(len(unique))):
            chain = _chain(order, runs_of(label), choices)
            if chain is not None and (best is None or chain[0] < best[0]):
                best = chain
        if best is None:
            return None
        chosen = unique[best[2]]
        for i, test in reversed(best[1]):
            chosen = self.graph.node("select", "i16", self.tested(test, source), unique[i], chosen)
        return chosen

    def _divide(self, node: Node, source: Node, where: Any, leaves: list[Node], label: Any) -> bool:
        """Gives the numbers of the source that are in a set the place of what is selected for them."""
        import numpy as np

        if not where.any():
            return True
        if node.op == "select" and node.data is None:
            found = self.trial(node.args[0])
            if found is not None and found[0] in (source, None):
                condition = np.broadcast_to(found[1], COUNT)
                inside = self._divide(node.args[1], source, where & condition, leaves, label)
                return inside and self._divide(node.args[2], source, where & ~condition, leaves, label)
        label[where] = len(leaves)
        leaves.append(self._as_source(node, source, where))
        return True

    def _as_source(self, node: Node, source: Node, where: Any) -> Node:
        """The source widened, if that is what a result is for all numbers of a set."""
        import numpy as np

        widened = self.graph.node(WIDENED[self.dtype], "f32", source)
        found, own = self.trial(node), self.trial(widened)
        if found is None or own is None or found[0] is not source or found[1].dtype != np.float32:
            return node
        value, given = found[1][where], own[1][where]
        same = (value.view(np.uint32) == given.view(np.uint32)) | (np.isnan(value) & np.isnan(given))
        return widened if same.all() else node

    # -- conditions ---------------------------------------------------------------------------------------------
    def condition(self, node: Node, lax: bool = False) -> Node | None:
        """A condition as one on stored bits; if ``lax``, it may hold or not for NaN."""
        import numpy as np

        found = self.trial(node)
        if found is not None and found[0] is None:
            return self.graph.constant("i1", int(found[1]))
        if found is not None and found[0] is not None:
            label = found[1].astype(int)
            if lax:
                label[np.arange(COUNT) & SIZE > INFINITE[self.dtype]] = 2
            test = best_test(runs_of(label))
            if test is not None:
                return self.tested(test, found[0])
        if node.op == "constant":
            return node
        if node.op in ("and", "or", "xor"):
            a, b = map(self.condition, node.args)
            return a and b and self.graph.node(node.op, "i1", a, b)
        if node.op == "fcmp":
            return self._compared(node)
        return None

    def _compared(self, node: Node) -> Node | None:
        """Two stored numbers compared: as whole numbers, unless one is NaN."""
        found = self._wholes(node)
        if found is None or node.data == "uno":
            return found and found[1]
        ordered = self.graph.node("xor", "i1", found[1], self.graph.constant("i1", 1))
        return self.graph.node("and", "i1", found[0], ordered)

    def _wholes(self, node: Node) -> tuple[Node, Node] | None:
        """The comparison of two stored numbers as whole ones, and whether one of them is NaN."""
        a, b = map(self.number, node.args)
        if a is None or b is None:
            return None
        graph = self.graph
        symbol = {"olt": "slt", "ole": "sle", "ogt": "sgt", "oge": "sge"}.get(str(node.data), "eq")
        compared = graph.node("icmp", "i1", self._whole(a), self._whole(b), data=symbol)
        return compared, graph.node("or", "i1", self._no_numbers(a), self._no_numbers(b))

    def _no_numbers(self, bits: Node) -> Node:
        """Where a stored number is NaN."""
        most = self.bits(INFINITE[self.dtype])
        return self.graph.node("icmp", "i1", self._size(bits), most, data="sgt")

    def _size(self, bits: Node) -> Node:
        return self.graph.node("and", "i16", bits, self.bits(SIZE))

    def _whole(self, bits: Node) -> Node:
        """A whole number that grows with the number stored; both zeros are 0."""
        graph = self.graph
        if bits.op == "constant":
            pattern = _pattern(bits)
            return graph.constant("i16", -(pattern & SIZE) if pattern & SIGN else pattern)
        sign = graph.node("ashr", "i16", bits, self.bits(15))
        return graph.node("isub", "i16", graph.node("xor", "i16", self._size(bits), sign), sign)

    def tested(self, test: Test, source: Node) -> Node:
        """A test as a condition on stored bits."""
        graph = self.graph
        bits = self._size(source) if test.unsigned else source
        never, always = graph.constant("i1", 0), graph.constant("i1", 1)
        result = None
        for low, high in test.intervals:
            one = self._within(bits, low, high)
            result = one if result is None else graph.node("or", "i1", result, one)
        if result is None:
            return always if test.inverted else never
        return graph.node("xor", "i1", result, always) if test.inverted else result

    def _within(self, bits: Node, low: int, high: int) -> Node:
        """Whether bits, counted from ``low`` on upwards and round the corner, are not beyond ``high``."""
        graph = self.graph
        if low == high:
            return graph.node("icmp", "i1", bits, self.bits(low), data="eq")
        if low == SIGN:
            return graph.node("icmp", "i1", bits, self.bits(high), data="sle")
        if high == SIZE:
            return graph.node("icmp", "i1", bits, self.bits(low), data="sge")
        moved = graph.node("isub", "i16", bits, self.bits((low - SIGN) % COUNT))
        return graph.node("icmp", "i1", moved, self.bits((high - low + SIGN) % COUNT), data="sle")


def _pattern(node: Node) -> int:
    """The bits of a constant."""
    return int(node.data) % COUNT  # type: ignore[call-overload, no-any-return]


def _upright(node: Node) -> tuple[Node, Node, Node]:
    """The condition of a selection and what is selected, with no condition inverted."""
    condition, a, b = node.args
    inverted = condition.op == "xor" and condition.args[1].op == "constant" and condition.args[1].data == 1
    return (condition.args[0], b, a) if inverted else (condition, a, b)


def _chain(
    order: Sequence[int], runs: list[Run], choices: Sequence[tuple[int, ...]]
) -> tuple[float, list[tuple[int, Test]], int] | None:
    """The tests that take one result after the other off, and what they cost; and the last result. Runs are labelled by
    the choices of results that they have, some of which are between two."""
    cost, tests = 0.0, []
    for place, i in enumerate(order[:-1]):
        gone = set(order[:place])
        kinds = []
        for options in choices:
            left = [k for k in options if k not in gone]
            kinds.append(2 if not left or (i in left and len(left) > 1) else int(i in left))
        test = best_test([(a, b, kinds[k]) for a, b, k in runs])
        if test is None:
            return None
        cost += test.cost + 1.0
        tests.append((i, test))
    return cost, tests, order[-1]


# -- results that are subnormal -------------------------------------------------------------------------------------
TRIED = 150
"""Nodes of graphs of which it is worth finding out where results are subnormal."""
TINY = 0x0800
"""Bit patterns up to this, signs apart, are those of bfloat16 that hardly ever occur."""


def rarely(node: Node) -> tuple[Node, Graph] | None:
    """The input of bfloat16 that a float32 depends on, and, in a graph of its own, for which of its numbers the other
    one is subnormal; or some more that hardly ever occur. None where that is not known, or not told by few intervals.
    """
    import numpy as np

    found = Trial(TRIED)(node)
    if found is None or found[0] is None:
        return None
    size = np.abs(found[1])
    label = ((size > 0.0) & (size < 2.0**-126)).astype(int)
    pattern = np.arange(COUNT) & SIZE
    if label.any():
        label[(label == 0) & (pattern > 0) & (pattern < TINY)] = 2
    test = best_test(runs_of(label))
    if test is None:
        return None
    graph = Graph()
    source = graph.input("i16")
    graph.outputs.append(Stored(graph, "bfloat16").tested(test, source))
    return found[0], graph


# -- the whole graph ------------------------------------------------------------------------------------------------
def on_stored_bits(graph: Graph, dtype: str) -> Graph:
    """A graph whose outputs are taken from stored bits, each where that is cheaper, changed in place."""
    stored, before = Stored(graph, dtype), list(graph.outputs)
    found = [stored.output(node) or node for node in before]
    _prefer(graph, found)
    for place, node in enumerate(found):
        _prefer(graph, [*graph.outputs[:place], node, *graph.outputs[place + 1 :]])
    return graph


def _prefer(graph: Graph, outputs: list[Node]) -> None:
    """Other outputs for a graph if that makes it cheaper; results that are selected among stored ones and computed ones
    have to save `MIXED`."""
    old, before = graph.outputs, cost(graph)
    graph.outputs = outputs
    selections = [node for node in graph.live() if node.op == "select" and node.type == "i16" and node.data is None]
    mixed = any(a.op in (*NARROWED.values(), AWAY) for node in selections for a in node.args)
    if cost(graph) >= before * (MIXED if mixed else 1.0):
        graph.outputs = old


MIXED = 0.93
"""A part of the cost: registers of stored numbers are put together and taken apart."""


def cost(graph: Graph) -> float:
    """About the time that a graph takes."""
    return sum(_cost(node) for node in graph.live() if node.op not in ("input", "constant"))


def _cost(node: Node) -> float:
    kind = node.args[0].type if node.op in ("fcmp", "icmp") else node.type
    if node.op == "xor" and kind == "i1":
        return 0.0  # what inverts conditions
    return COSTS.get(node.op, COSTS.get(kind, 1.0))
