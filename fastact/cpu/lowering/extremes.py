"""Whether a condition holds somewhere in a vector of several registers, by its extreme elements.

A comparison takes twice as long as the plainest instructions, and so nearly does putting two outcomes together. Hence
of a number compared with a constant the largest or the smallest is taken over the registers, place by place, and
compared once. They are compared by their bits, as integers, in which NaN lies beyond infinity: it may count as an
extreme, so that what comes out is true of all vectors of which the condition is, and perhaps of some that have a NaN.
"""

from __future__ import annotations

import functools
import math
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
SIGNS = {"i16": -(2**15), "i32": -(2**31), "i64": -(2**63)}
I32 = ir.IntType(32)


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


def again(e: Emitter, condition: Node, values: dict[int, Any]) -> dict[int, Any]:
    """Values, with the bits that a condition looks at computed once more, and unknown to the compiler, which would keep
    those of all registers otherwise, instead of putting them together at once."""
    found, stack = [], [condition]
    while stack:
        node = stack.pop()
        if node.type == "i1" and node.op != "constant" and node.data != "rare":
            inner = node.args[:1] if _tells_bits(node) else node.args
        elif node.op in ("or", "xor") or (node.op == "and" and _is_constant(node.args[1])):
            inner = node.args
        else:
            continue
        if node not in found:
            found.append(node)
            stack.extend(inner)
    if not any(node.op == "xor" and masks.registers(e, node.type) > 1 for node in found):
        return values
    result = dict(values)
    for node in sorted(found, key=lambda node: node.index):
        if node.type == "i1":
            continue
        args = [result[a.index] for a in node.args]
        if node.op == "xor" and masks.registers(e, node.type) > 1:
            args[0] = _unknown(e, args[0], node.type)
        result[node.index] = e.node(node, args)
    return result


def _unknown(e: Emitter, value: ir.Value, type: str) -> ir.Value:
    """A vector of which the compiler does not know what it is."""
    count = masks.registers(e, type)
    kind = typed(type, e.width // count)
    same = ir.FunctionType(kind, [kind])
    parts = [e.builder.asm(same, "", "=v,0", [part], False) for part in masks.pieces(e, value, count)]
    while len(parts) > 1:
        parts = [e.joined(low, high) for low, high in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def gathered(e: Emitter, node: Node, values: dict[int, Any], inverted: bool = False) -> Any:
    """Truth values of which one is true if the condition holds for some element; perhaps also for a NaN."""
    if node.op == "xor" and node.args[1].op == "constant":
        return gathered(e, node.args[0], values, inverted != bool(node.args[1].data))
    found = _extreme(node, inverted)
    if found is not None and masks.registers(e, found.number.type) > 1:
        return _compared(e, found, values)
    if not inverted and _tells_bits(node) and masks.registers(e, node.args[0].type) > 1:
        return _bits_somewhere(e, node.args[0], values)
    if node.op == ("and" if inverted else "or"):
        a, b = (gathered(e, one, values, inverted) for one in node.args)
        if a.type == b.type:
            return e.builder.or_(a, b)
    value = masks.plain(values[node.index])
    if inverted:
        value = masks.combined(e, e.builder.not_, [value])
    return masks.merged(e.builder, value)


def _tells_bits(node: Node) -> bool:
    """Whether a condition is that one of some bits is set, of integers put together."""
    return node.op == "icmp" and node.data == "ne" and node.args[0].op == "or" and _is_constant(node.args[1], 0)


def _is_constant(node: Node, value: int | None = None) -> bool:
    return node.op == "constant" and (value is None or node.data == value)


def _bits_somewhere(e: Emitter, number: Node, values: dict[int, Any]) -> ir.Value:
    """Truth values of which one is true if a bit of an integer is set in some element. Where the bit is the sign of
    what is negative beyond a limit, an extreme tells."""
    b, count = e.builder, masks.registers(e, number.type)
    together: dict[int, ir.Value] = {}
    found = []
    for node, mask in _alternatives(number, -1):
        extreme = _negative(node) if mask == SIGNS[node.type] else None
        if extreme is not None:
            found.append(_compared(e, extreme, values))
            continue
        if node.op in ("and", "xor"):  # register by register, which spares instructions that do both
            operation = b.and_ if node.op == "and" else b.xor
            parts = list(map(operation, *(masks.pieces(e, values[one.index], count) for one in node.args)))
        else:
            parts = masks.pieces(e, values[node.index], count)
        before = [together[mask]] if mask in together else []
        together[mask] = functools.reduce(b.or_, [*before, *parts])
    bits = [value if mask == -1 else b.and_(value, constant(number.type, value.type.count, mask))
            for mask, value in sorted(together.items())]  # fmt: skip
    if bits:
        one = functools.reduce(b.or_, bits)
        found.append(b.icmp_signed("!=", one, ir.Constant(one.type, None)))
    return functools.reduce(b.or_, found)


def _alternatives(node: Node, mask: int) -> list[tuple[Node, int]]:
    """What an integer is put together of by "or", and which bits of it."""
    if node.op == "or":
        return [found for one in node.args for found in _alternatives(one, mask)]
    if node.op == "and" and _is_constant(node.args[1]):
        return _alternatives(node.args[0], mask & node.args[1].data)  # type: ignore[operator]
    return [(node, mask)]


def _negative(node: Node) -> Extreme | None:
    """What tells whether an integer is negative somewhere, if its sign says that a number is beyond a limit."""
    if node.op == "bitcast" and node.args[0].op == "fma":
        x, y, number = node.args[0].args
        if x.op == "fneg" and x.args[0] is y and number.op == "constant":
            square = float.fromhex(str(number.data))
            most = _bits(math.sqrt(square), y.type) if square > 0.0 else 0
            return Extreme(y, "sizes", "gt", most - 1) if most else None
    if node.op == "isub" and _is_constant(node.args[0]) and _size(node.args[1]):
        limit = node.args[0].data
        return Extreme(node.args[1], "umax", "gt", limit) if limit >= 0 else None  # type: ignore[operator, arg-type]
    if node.op == "and" and all(one.op == "isub" for one in node.args):
        (size, least), (zero, same) = (one.args for one in node.args)
        if _size(size) and same is size and _is_constant(zero, 0) and _is_constant(least) and least.data > 1:  # type: ignore[operator]
            return Extreme(size, "umin", "lt", least.data - 1, 1)  # type: ignore[operator]
    return None


def _size(node: Node) -> bool:
    return node.op == "bitcast" and node.args[0].op == "fabs"


def _compared(e: Emitter, extreme: Extreme, values: dict[int, Any]) -> ir.Value:
    if extreme.which == "sizes":
        return _largest_size(e, extreme, values[extreme.number.index])
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


def _largest_size(e: Emitter, extreme: Extreme, number: ir.Value) -> ir.Value:
    """The largest size, NaN apart. Of pairs of registers one instruction finds it, from which a signalling NaN hides
    what it is compared with, but not itself; they are integers among which the largest is looked for from there on."""
    type, b = extreme.number.type, e.builder
    count, integer = masks.registers(e, type), f"i{BITS[type]}"
    lanes = e.width // count
    kind, whole = typed(type, lanes), typed(integer, lanes)
    mask, suffix = ir.IntType(max(lanes, 8)), "ps" if type == "f32" else "pd"
    of = [kind, kind, I32, kind, mask, I32]
    larger = e.declared(f"llvm.x86.avx512.mask.range.{suffix}.512", kind, of)
    parts = masks.pieces(e, number, count)
    pairs = zip(parts[::2], parts[1::2], strict=True)
    found = [b.call(larger, [x, y, I32(0b1011), x, mask((1 << lanes) - 1), I32(4)]) for x, y in pairs]
    function = e.declared(f"llvm.umax.v{lanes}{integer}", whole, [whole, whole])
    most = functools.reduce(lambda x, y: b.call(function, [x, y]), [b.bitcast(one, whole) for one in found])
    return b.icmp_unsigned(_SYMBOL[extreme.symbol], most, constant(integer, lanes, extreme.limit))


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
        if x.op == "fabs" and symbol in ("gt", "ge") and limit > 0.0:
            return Extreme(x.args[0], "sizes", symbol, _bits(limit, x.type))
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
