"""Correct rounding to float32.

The body runs in float64; or in pairs of float32, where it can and that is cheaper, a register holding twice as many of
them. Where the value lies so near to a rounding boundary that its error might reach across, a wider arithmetic decides:
after pairs of float32 float64, and after that, unless it is settled that float64 is right everywhere, a pair of those.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any

from fastact.link.graph import Graph, Node
from fastact.link.known import Product
from fastact.link.scaled import Scaled
from fastact.link.values import Condition, Integer, Real, round_to_word

if TYPE_CHECKING:
    from fastact.link.linker import Linking
    from fastact.link.pair import Pair

DOUBLE_ERROR = 2.0**-42
"""Relative error that float64 is granted."""
PAIR_ERROR = 2.0**-18
"""Error that pairs of float32 are granted, in 2^-25 of the result, besides what elementary functions add."""
ROUNDED_SUM = 2.0**-39
"""What the rounding of a number below 2^-14 adds to an error."""
HALF_PLACE = 2.0**-25
"""Half of the last place of a float32, relative to the largest number that has it."""
SMALLEST, LARGEST = 2.0**-50, 2.0**40
"""Of numbers between them products of two have all bits in pairs, and quotients by them."""
FEW_BITS = 2.0**-108
"""Pairs as small as this may lack bits."""
FEWER_BITS = 2.0**-100
"""The same of products of more than two, of which several steps do."""
SIGN = -(2**31)
COSTS = {"f32": 1.0, "f64": 2.25, "i32": 1.0, "i64": 1.6, "i1": 1.0}
"""Of an operation on sixteen numbers of a type, by the time that it takes where a register holds sixteen float32."""
DEAR = {
    ("fdiv", "f32"): 5.0, ("fdiv", "f64"): 16.0, ("sqrt", "f32"): 10.0, ("sqrt", "f64"): 36.0,
    ("fpext", "f64"): 3.3, ("fptrunc", "f32"): 3.3, ("lookup", "f32"): 1.5, ("lookup", "f64"): 3.0,
    ("floor", "f32"): -5.0,
}  # fmt: skip
"""The same of operations that take longer than others of their type. Of what follows from a number rounded down, as
exponentials of 16 bits have it, AVX-512 needs two instructions."""
IN_MEMORY = DEAR | {("lookup", "f32"): 13.0, ("lookup", "f64"): 13.0}
"""The same where no instruction finds one of many elements in registers; in the units of such processors."""
SPARED = 25.0
"""By how much less float64 has to cost there to be taken instead: both have to be proved."""
SHORT = 25.0
"""What costs less waits for memory."""
DECISION = 9.0
"""What deciding on the rounding of float64 costs besides its operations."""


# -- after float64 --------------------------------------------------------------------------------------------------
def decide(linking: Linking, value: Any, decisive: Callable[[], Any]) -> Real:
    """A float64 value made fit for its one rounding to float32; by means of a ``decisive`` pair where it is close."""
    y = linking.real(value) if isinstance(value, (int, float)) else value
    if _rounds_well(y.node):
        return y  # type: ignore[no-any-return]
    above, near = _rounded_and_close(y)
    return above.unless(near, pair_to_odd(decisive()).convert("f32"))


def _rounded_and_close(y: Real) -> tuple[Real, Condition]:
    """A float64 value rounded, and where it is close to a boundary."""
    above, below = ((y * factor).convert("f32") for factor in (1.0 + DOUBLE_ERROR, 1.0 - DOUBLE_ERROR))
    return above, functools.reduce(Condition.__or__, y.context.doubts, above.bits().compare("ne", below.bits()))


def pair_to_odd(value: Any) -> Real:
    """hi + lo as one word rounded to odd, so that a further rounding to fewer bits is as if done at once: a last bit of
    1 stands for everything between two neighbours whose last bit is 0."""
    pair: Any = value.plain() if isinstance(value, Scaled) else value
    context, hi, lo = pair.hi.context, pair.hi.bits(), pair.low
    step = context.integer(-1).choose((hi ^ lo.bits()).compare("slt", 0), 1)
    step = step.choose((hi & 1).compare("eq", 0), 0).choose(~lo.equals(0.0), 0)
    return Real(context, (hi + step).as_real().node)


def _rounds_well(node: Node) -> bool:
    """Whether a float64 can be rounded to float32 without further ado: because it is one already, or the result of one
    operation on float32 numbers, which 53 bits show on the right side of every boundary of 24."""
    if node.op == "select":
        return all(map(_rounds_well, node.args[1:]))
    if node.op in ("fneg", "fabs", "copysign"):
        return _rounds_well(node.args[0])
    return _is_single(node) or (node.op in ("fadd", "fsub", "fmul", "fdiv", "sqrt") and all(map(_is_single, node.args)))


def _is_single(node: Node) -> bool:
    """Whether a float64 is known to be a float32."""
    if node.op == "select":
        return all(map(_is_single, node.args[1:]))
    if node.op in ("fneg", "fabs", "copysign"):
        return _is_single(node.args[0])
    if node.op == "constant":
        value = float.fromhex(str(node.data))
        return value != value or round_to_word(value, "f32") == value
    return node.op == "fpext"


# -- after pairs of float32 -----------------------------------------------------------------------------------------
def decide_pair(linking: Linking, value: Any, wide: Callable[[], Any], decisive: Callable[[], Any] | None) -> Real:
    """A pair of float32 rounded to one; by means of a ``wide`` value in float64 where it is close, and of a
    ``decisive`` pair of float64 where that is close too.

    The tests are made on the bits of the numbers: a sign bit, or a difference of bits, sets an element apart."""
    pair = linking.doubled(linking.number(value) if isinstance(value, (int, float)) else value)
    product = product_of(linking, pair)
    granted = linking.granted if product is None else product.granted
    y, other = _ends(pair, (PAIR_ERROR + granted) * HALF_PLACE)
    different = y.bits() ^ other.bits()
    if pair.magnitude is not None:
        y = y.copysign(pair.magnitude[2])
    elif pair.negated is None:
        y = pair.signed(y)
    signs = [*linking.signs, *_out_of_range(linking, pair, y, product)]
    conditions = list(linking.left)
    if product is not None and len(product.factors) == 1:
        conditions.append(_product_beyond(linking, y, product.factors[0]))
    elif product is not None:
        signs += _product_out_of_range(linking, y, product)
    if signs:
        different = different | (functools.reduce(operator.or_, signs) & SIGN)
    near = functools.reduce(Condition.__or__, conditions, different.compare("ne", 0))
    linking.detour = near
    result = left(linking, y, near, wide, decisive)
    if decisive is None:
        linking.graph.instead.append(wide().convert("f32").node)
    return result


def left(
    linking: Linking, y: Real, near: Condition, wide: Callable[[], Any], decisive: Callable[[], Any] | None
) -> Real:
    """A float32, but where a condition holds a ``wide`` value rounded, and where that is close to a boundary a
    ``decisive`` one, unless there is none."""
    double = wide()
    if decisive is None:
        return y.unless(near, Real(linking, double.convert("f32").node))
    rounded, close = _rounded_and_close(double)
    y = y.unless(near, Real(linking, rounded.node))
    close = Condition(linking, close.node).only_where(near)
    return y.unless(close, Real(linking, pair_to_odd(decisive()).convert("f32").node))


def _ends(pair: Pair, error: float) -> tuple[Real, Real]:
    """The roundings of a pair that is too large, and of one that is too small, by an error."""
    if pair.second is None:
        return pair.first, pair.first
    if pair.relative is not None:  # y + y (t +- error), of which the sum in parentheses is rounded
        error = error + ROUNDED_SUM
        above, below = (pair.first.fma(pair.relative + e, pair.first) for e in (error, -error))
        return above, below
    if pair.short is not None and pair.short[1] >= 1.02 * error:
        low, lacking = pair.short
        return pair.first + pair.first.fma(2.0 * lacking, low), pair.first + low
    if pair.negated is not None:
        above, below = (pair.first - pair.uncertain.fma(e, pair.negated) for e in (-error, error))
        return above, below
    first, second = (pair.first, pair.second) if pair.magnitude is None else pair.magnitude[:2]
    if pair.most is not None:
        return first + pair.most, first + second
    above, below = (first + pair.uncertain.fma(e, second) for e in (error, -error))
    return above, below


def product_of(linking: Linking, pair: Pair) -> Product | None:
    """What is known of a result as a product; None where it is none."""
    if linking.rate is not None:
        x, factor = linking.argument_nodes[-1], linking.argument_nodes[0]
        return Product(linking.rate, x, (factor,), linking.granted)
    return linking.products.get(pair.first.node.index)


def _out_of_range(linking: Linking, pair: Pair, y: Real, product: Product | None) -> list[Integer]:
    """Integers of which one is negative where the argument is so small, but not 0, or so large that a result may lack
    bits, unless that is known to be far from the ends; of products with a first argument, where what it is multiplied
    with may. (The order of positive floats is that of their bits.)"""
    x = linking.argument_nodes[-1] if product is None else product.argument
    low, high = linking.bounds(pair.first if product is None else product.rate)
    least, most = linking.held.get(x, (0.0, inf))
    size, found = abs(Real(linking, x)).bits(), []
    if low < FEW_BITS and least < SMALLEST:
        found.append((size - _bits(SMALLEST)) & (0 - size))
    if high > 2.0**96 and most > LARGEST:
        found.append(_bits(LARGEST) - size)
    if _may_divide_by_zero(linking, y):
        found.append(_bits(2.0**126) - abs(y).bits())
    return found


def _may_divide_by_zero(linking: Linking, y: Real) -> bool:
    """Whether a divisor is not known to be positive: then a result may be infinite, of which no pair knows."""
    seen, stack = set(), [y.node]
    while stack:
        node = stack.pop()
        if node.index not in seen:
            seen.add(node.index)
            stack += node.args
            if node.op == "fdiv" and node.args[1].op != "constant":
                if linking.bounds(Real(linking, node.args[1]))[0] <= 0.0:
                    return True
    return False


def _product_beyond(linking: Linking, y: Real, factor: Node) -> Condition:
    """Where a product, unless the factor is 0, may lack bits itself, or be no number: its bits less those of the
    smallest are more than those of the largest, if they are positive, and else moved so far that they are more, too."""
    given = Real(linking, factor)
    size = abs(y.lift(1.0).choose(given.equals(0.0), y)).bits()
    return (size + (2**31 - _bits(FEW_BITS))).compare("sgt", _bits(2.0**96) - _bits(FEW_BITS) - 2**31)


def _product_out_of_range(linking: Linking, y: Real, product: Product) -> list[Integer]:
    """Likewise of several factors integers, one of which is negative there."""
    size = abs(y).bits()
    small = size - _bits(FEWER_BITS)
    for factor in product.factors:
        small = small & (0 - abs(Real(linking, factor)).bits())
    return [small, _bits(2.0**96) - size]


def outside(x: Real, least: float, most: float) -> list[Integer]:
    """Integers of which one is negative where x is not within positive limits, and so for NaN; if the least is 0, where
    |x| exceeds the other, and NaN is left to itself."""
    if not least:
        return [(-x).fma(x, most * most).bits()]
    return [_bits(most) - x.bits(), x.bits() - _bits(least), x.bits()]


def _bits(value: float) -> int:
    """The bit pattern of a positive float32."""
    import struct

    return int.from_bytes(struct.pack("<f", value), "little")


# -- which of the two -----------------------------------------------------------------------------------------------
def cheaper(wide: Graph, paired: Graph | None, settled: bool) -> Graph:
    """The graph to be preferred: that in float64, unless the other one is cheaper and that matters. ``settled``: no
    rounding of float64 has to be decided."""
    if paired is None or cost(wide) < SHORT or cost(paired) > 1.03 * cost(wide) + (0.0 if settled else DECISION):
        return wide
    return tabulated(paired)


def tabulated(graph: Graph) -> Graph:
    """A graph with what stands in for it where tables lie in memory, if that is cheaper there."""
    if graph.instead and cost(graph.without_tables(), IN_MEMORY) > cost(graph, IN_MEMORY) - SPARED:
        graph.instead.clear()
    return graph


def cost(graph: Graph, dear: dict[tuple[str, str], float] = DEAR) -> float:
    """About the time that sixteen results take, where none needs a detour."""
    usual: set[Node] = set()
    stack = list(graph.outputs)
    while stack:
        node = stack.pop()
        if node not in usual:
            usual.add(node)
            # The condition of what is rare is tested once for a whole vector.
            stack += (node.args[0], node.args[2]) if node.data == "rare" else node.args
    return sum(_cost(node, dear) for node in usual if node.op not in ("input", "constant"))


def _cost(node: Node, dear: dict[tuple[str, str], float]) -> float:
    if node.op in ("bitcast", "fneg"):
        return 0.0
    kind = node.args[0].type if node.op in ("fcmp", "icmp") else node.type
    return dear.get((node.op, kind), COSTS.get(kind, 1.0))
