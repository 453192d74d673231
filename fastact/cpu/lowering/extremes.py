"""Whether a condition holds somewhere in a vector of several registers, by its extreme elements.

A comparison takes twice as long as the plainest instructions, and so nearly does putting two outcomes together. Hence
of a number compared with a constant the largest or the smallest is taken over the registers, place by place, and
compared once. They are compared by their bits, as integers, in which NaN lies beyond infinity: it may count as an
extreme, so that what comes out is true of all vectors of which the condition is, and perhaps of some that have a NaN.
"""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from llvmlite import ir

from fastact.cpu.lowering import masks
from fastact.cpu.lowering.words import constant, typed
from fastact.link.graph import BITS, FLOATS, INTEGERS, Node

if TYPE_CHECKING:
    from fastact.cpu.lowering.emit import Emitter

_MIRRORED = {"gt": "lt", "ge": "le", "lt": "gt", "le": "ge"}
_OPPOSITE = {"gt": "le", "ge": "lt", "lt": "ge", "le": "gt"}
_SYMBOL = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
INFINITY = float("inf")


class Extreme(NamedTuple):
    """An extreme of a number over the registers, and how it is compared: by its bits, less ``base``."""

    number: Node
    which: str
    symbol: str
    limit: int
    base: int = 0


def anywhere(e: Emitter, node: Node, values: dict[int, Any]) -> ir.Value:
    """Whether a condition holds for some element, or perhaps a NaN is compared in it."""
    return masks.anywhere(e, gathered(e, node, values))


def truths(condition: Node) -> list[Node]:
    """The comparisons that a condition is made of, and what combines them, in computing order; not what comes of
    detours."""
    found: dict[int, Node] = {}
    stack = [condition]
    while stack:
        node = stack.pop()
        if node.type == "i1" and node.op != "constant" and node.data != "rare" and node.index not in found:
            found[node.index] = node
            stack.extend(node.args)
    return [found[index] for index in sorted(found)]


def gathered(e: Emitter, node: Node, values: dict[int, Any], inverted: bool = False) -> Any:
    """Truth values of which one is true if the condition holds for some element; perhaps also for a NaN."""
    if node.op == "xor" and node.args[1].op == "constant":
        return gathered(e, node.args[0], values, inverted != bool(node.args[1].data))
    found = _extreme(node, inverted)
    if found is not None and masks.registers(e, found.number.type) > 1:
        return _compared(e, found, values)
    if node.op == ("and" if inverted else "or"):
        a, b = (gathered(e, one, values, inverted) for one in node.args)
        if a.type == b.type:
            return e.builder.or_(a, b)
    value = masks.plain(values[node.index])
    if inverted:
        value = masks.combined(e, e.builder.not_, [value])
    return masks.merged(e.builder, value)


def _compared(e: Emitter, extreme: Extreme, values: dict[int, Any]) -> ir.Value:
    type = extreme.number.type
    count, integer = masks.registers(e, type), f"i{BITS[type]}"
    whole, lanes = values[extreme.number.index], e.width // count
    if type in FLOATS:
        whole = e.builder.bitcast(whole, typed(integer, e.width))
    if extreme.base:
        whole = e.builder.sub(whole, constant(integer, e.width, extreme.base))
    kind = typed(integer, lanes)
    function = e.declared(f"llvm.{extreme.which}.v{lanes}{integer}", kind, [kind, kind])
    parts = masks.pieces(e, whole, count)
    most = functools.reduce(lambda a, b: e.builder.call(function, [a, b]), parts)
    compare = e.builder.icmp_unsigned if extreme.which[0] == "u" else e.builder.icmp_signed
    return compare(_SYMBOL[extreme.symbol], most, constant(integer, lanes, extreme.limit))


def _extreme(node: Node, inverted: bool) -> Extreme | None:
    """What tells whether a condition holds somewhere; None where no extreme does."""
    if node.op == "and":
        interval = _interval(*map(_comparison, node.args))
        return interval and (_outside(*interval) if inverted else _inside(*interval))
    found = _comparison(node)
    if found is None:
        return None
    x, symbol, limit = found
    if x.type in INTEGERS:
        symbol = _OPPOSITE[symbol] if inverted else symbol
        return _signed(x, symbol, int(limit))
    if not inverted:
        return _among_floats(x, symbol, limit)
    if symbol in ("gt", "ge"):  # NaN has to count: it is beyond infinity
        beyond = _interval(found, (x, "le", INFINITY))
        return beyond and _outside(*beyond)
    return _signed(x, _OPPOSITE[symbol], _bits(limit, x.type)) if x.op == "fabs" and limit >= 0.0 else None


def _comparison(node: Node) -> tuple[Node, str, float] | None:
    """A number, how it is compared, and the constant with which it is."""
    symbol = str(node.data)[1:]
    if node.op not in ("fcmp", "icmp") or symbol not in _MIRRORED:
        return None
    x, y = node.args
    if x.op == "constant":
        x, y, symbol = y, x, _MIRRORED[symbol]
    if y.op != "constant" or x.op == "constant":
        return None
    return x, symbol, float.fromhex(y.data) if isinstance(y.data, str) else y.data  # type: ignore[return-value]


def _interval(*limits: tuple[Node, str, float] | None) -> tuple[Node, int, int] | None:
    """A number and the bits of the ends, both included, of an interval above 0 that two comparisons ask for."""
    ends = {one[1][0]: one for one in limits if one is not None and one[0].type in FLOATS}
    if set(ends) != {"l", "g"} or ends["l"][0] is not ends["g"][0]:
        return None
    (x, above, lower), (_, below, upper) = ends["g"], ends["l"]
    if not (lower > 0.0 or (lower == 0.0 and above == "gt")) or not lower <= upper:
        return None
    start, end = _bits(abs(lower), x.type) + (above == "gt"), _bits(upper, x.type) - (below == "lt")
    return (x, start, end) if start <= end else None


def _outside(x: Node, start: int, end: int) -> Extreme:
    """Counted from the lower end on, all that is not in an interval is beyond its upper end, negative numbers and NaN
    among it."""
    return Extreme(x, "umax", "gt", end - start, start)


def _inside(x: Node, start: int, end: int) -> Extreme:
    return Extreme(x, "umin", "le", end - start, start)


def _among_floats(x: Node, symbol: str, limit: float) -> Extreme | None:
    """Integers grow with the numbers that they are the bits of where these are positive; without a sign they are the
    larger the further below 0 a number is, and all larger than those of positive numbers."""
    if limit == 0.0:
        if symbol == "ge":  # -0 is one of them, but has the bits of the least integer
            return None
        return Extreme(x, "umax", "gt", _bits(-0.0, x.type)) if symbol == "lt" else _signed(x, symbol, 0)
    if limit > 0.0:
        return _signed(x, symbol, _bits(limit, x.type))
    if limit < 0.0:
        return Extreme(x, "umax" if symbol[0] == "l" else "umin", _MIRRORED[symbol], _bits(limit, x.type))
    return None


def _signed(x: Node, symbol: str, limit: int) -> Extreme:
    return Extreme(x, "smax" if symbol[0] == "g" else "smin", symbol, limit)


def _bits(value: float, type: str) -> int:
    narrow = type == "f32"
    return int(struct.unpack("<I" if narrow else "<Q", struct.pack("<f" if narrow else "<d", value))[0])
