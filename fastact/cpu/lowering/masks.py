"""Conditions of long vectors, register by register.

A vector of four registers is compared one register at a time, and what comes out stays apart: instructions that put
such bits together and take them apart again wait for one another.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llvmlite import ir

from fastact.link.graph import BITS, Node

if TYPE_CHECKING:
    from fastact.cpu.lowering.emit import Emitter


class Mask(list[Any]):
    """The truth values of a vector in pieces of equal length, one after the other."""


class AsStored:
    """The truth values of bfloat16 elements in the order in which these are stored, where words made of them have
    another one (`apart`)."""

    def __init__(self, value: Any) -> None:
        self.value = value


def ordered(e: Emitter, node: Node, args: list[Any]) -> tuple[list[Any], bool]:
    """The operands of a node in one order, and whether that is the order of what is stored."""
    conditions = [i for i, a in enumerate(node.args) if a.type == "i1" and a.op != "constant"]
    if node.op == "select" and node.type == "i16":
        stored = True
    else:
        stored = bool(conditions) and node.type == "i1" and all(isinstance(args[i], AsStored) for i in conditions)
    args = list(args)
    for i in conditions:
        value = args[i]
        if isinstance(value, AsStored):
            args[i] = value.value if stored else in_words(e, value)
        elif stored:
            args[i] = e.as_stored(whole(e, value))
    return args, stored and node.type == "i1"


def plain(value: Any) -> Any:
    """Truth values in whatever order."""
    return value.value if isinstance(value, AsStored) else value


def in_words(e: Emitter, value: Any) -> Any:
    """Truth values in the order of words."""
    return e.as_words(whole(e, value.value)) if isinstance(value, AsStored) else value


def pieces(e: Emitter, value: Any, count: int) -> list[ir.Value]:
    """A vector, or its truth values, in ``count`` pieces."""
    if not isinstance(value, Mask):
        size = e.width // count
        return [e.lanes(value, start, size) for start in range(0, e.width, size)]
    found = list(value)
    while len(found) > count:
        found = [e.joined(low, high) for low, high in zip(found[::2], found[1::2], strict=True)]
    return found if len(found) == count else pieces(e, whole(e, value), count)


def whole(e: Emitter, value: Any) -> ir.Value:
    """A vector, or the truth values of one, as one vector."""
    return pieces(e, value, 1)[0] if isinstance(value, Mask) else value


def registers(e: Emitter, type: str) -> int:
    """How many registers a vector fills; 1 where conditions are vectors like others, and where words of two lengths are
    in use, so that a condition is wanted in pieces of different length."""
    count = e.width * BITS[type] // 512 if e.avx512 and e.apart_masks else 1
    return count if count > 1 and not count & (count - 1) else 1


def compared(e: Emitter, type: str, compare: Callable[[ir.Value, ir.Value], ir.Value], args: list[ir.Value]) -> Any:
    """Two vectors of a type compared, in as many pieces as the registers they fill."""
    count = registers(e, type)
    return compare(*args) if count == 1 else Mask(map(compare, *(pieces(e, x, count) for x in args)))


def combined(e: Emitter, operation: Callable[..., ir.Value], args: list[Any]) -> Any:
    """An operation on truth values, in the pieces of the operand that has the fewest."""
    counts = [len(x) for x in args if isinstance(x, Mask)]
    if not counts:
        return operation(*args)
    return Mask(map(operation, *(pieces(e, x, min(counts)) for x in args)))


def selected(e: Emitter, type: str, select: Callable[..., ir.Value], args: list[Any]) -> Any:
    """A selection between vectors of a type, or between truth values."""
    if type == "i1":
        return combined(e, select, args)
    if not isinstance(args[0], Mask):
        return select(*args)
    count = registers(e, type)
    return whole(e, Mask(map(select, *(pieces(e, x, count) for x in args))))


def phi(b: ir.IRBuilder, like: Any) -> Any:
    """A value like another one, its pieces included, that `arrives` from several blocks."""
    if isinstance(like, AsStored):
        return AsStored(phi(b, like.value))
    return Mask(b.phi(part.type) for part in like) if isinstance(like, Mask) else b.phi(like.type)


def arrives(value: Any, source: Any, block: ir.Block) -> None:
    """What the value is if control comes from a block."""
    value, source = plain(value), plain(source)
    for part, given in zip(value, source, strict=True) if isinstance(value, Mask) else [(value, source)]:
        part.add_incoming(given, block)


def merged(b: ir.IRBuilder, value: Any) -> ir.Value:
    """Truth values of which one is true where one of the given ones is: the pieces on top of one another."""
    return functools.reduce(b.or_, value) if isinstance(value, Mask) else value


def anywhere(e: Emitter, value: Any) -> ir.Value:
    """Whether a condition holds in some element of the vector."""
    value = merged(e.builder, plain(value))
    name = f"llvm.vector.reduce.or.v{value.type.count}i1"
    return e.builder.call(e.declared(name, ir.IntType(1), [value.type]), [value])
