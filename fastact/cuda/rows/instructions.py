"""Pieces of kernels over rows as Numba intrinsics: the machine of `pieces` that emits instructions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types

from fastact.cpu.lowering.words import SCALARS
from fastact.cuda.emit import I32, I64, Emitter
from fastact.cuda.instructions import _at, _read_pack, _write_pack, intrinsic
from fastact.cuda.package import PACK
from fastact.cuda.rows.pieces import Piece, Words
from fastact.link.graph import BITS, Graph
from fastact.link.rows import Total

BLOCK = 3
"""The address space of memory that the threads of a block share."""
_TYPES = {
    "i16": types.uint16, "i32": types.uint32, "i64": types.int64, "f32": types.float32, "f64": types.float64,
}  # fmt: skip
_ROOM = "fastact_room"


def _pointer(b: ir.IRBuilder, address: Any, kind: ir.Type) -> Any:
    return b.inttoptr(address, ir.PointerType(kind, addrspace=BLOCK))


class Machine:
    def __init__(self, builder: ir.IRBuilder, bfloat: bool) -> None:
        self.b, self.emitter = builder, Emitter(builder, bfloat)

    # -- whole numbers ------------------------------------------------------------------------------------------------
    def whole(self, a: Any) -> Any:
        return I64(a) if isinstance(a, int) else a

    def add(self, a: Any, b: Any) -> Any:
        return a if isinstance(b, int) and b == 0 else self.b.add(self.whole(a), self.whole(b))

    def multiply(self, a: Any, b: Any) -> Any:
        if isinstance(b, int) and b & (b - 1) == 0:
            return self.b.shl(self.whole(a), I64(b.bit_length() - 1)) if b > 1 else self.whole(a if b else 0)
        return self.b.mul(self.whole(a), self.whole(b))

    def less(self, a: Any, b: Any) -> Any:
        return self.b.icmp_signed("<", self.whole(a), self.whole(b))

    def choose(self, condition: Any, a: Any, b: Any) -> Any:
        return self.b.select(condition, self.whole(a), self.whole(b))

    def to_float(self, a: Any) -> Any:
        return self.b.sitofp(a, SCALARS["f64"])

    def number(self, bits: Any) -> Any:
        return self.b.bitcast(bits, SCALARS["f64"])

    # -- words --------------------------------------------------------------------------------------------------------
    def constant(self, kind: str, value: float) -> Any:
        return ir.Constant(SCALARS[kind], value)

    def graph(self, graph: Graph, inputs: Words) -> Words:
        return self.emitter.graph(graph, inputs)

    def graphs(self, graph: Graph, inputs: list[Words]) -> list[Words]:
        """The outputs for each of some inputs."""
        return [self.emitter.graph(graph, own) for own in inputs]

    def both(self, total: Total, a: Words, b: Words) -> Words:
        if total.kind != "max":
            return self.emitter.graph(total.both, [*a, *b])
        (kind,) = total.words
        function = ir.FunctionType(SCALARS[kind], [SCALARS[kind]] * 2)
        letter = "f" if kind == "f32" else "d"
        return [
            self.b.asm(function, f"max.{kind} $0, $1, $2;", f"={letter},{letter},{letter}", [*a, *b], side_effect=False)
        ]

    def plus(self, a: Any, b: Any) -> Any:
        kind, letter = ("f32", "f") if a.type == SCALARS["f32"] else ("f64", "d")
        function = ir.FunctionType(a.type, [a.type] * 2)
        return self.b.asm(
            function, f"add.rn.{kind} $0, $1, $2;", f"={letter},{letter},{letter}", [a, b], side_effect=False
        )

    def widen(self, a: Any) -> Any:
        return self.b.fpext(a, SCALARS["f64"])

    def half(self, word: Any, place: int) -> Any:
        return self.b.trunc(self.b.lshr(word, I32(16)) if place else word, SCALARS["i16"])

    def halves(self, low: Any, high: Any) -> Any:
        return self.b.or_(self.b.zext(low, I32), self.b.shl(self.b.zext(high, I32), I32(16)))

    def masked(
        self, words: list[Words], neutral: Words, offsets: list[int], step: int, first: Any, length: Any
    ) -> list[Words]:
        """Words of elements that are there; neutral ones in place of the others, if there are any."""
        b = self.b
        start, aside, after = b.block, b.append_basic_block("part"), b.append_basic_block("whole")
        b.cbranch(self.less(self.add(first, offsets[-1]), length), after, aside)
        b.position_at_end(aside)
        there = [self.less(self.add(first, offsets[k // step * step]), length) for k in range(len(offsets))]
        chosen = [
            [b.select(t, w, n) for t, w in zip(there, own, strict=True)] for own, n in zip(words, neutral, strict=True)
        ]
        b.branch(after)
        b.position_at_end(after)
        result = []
        for own, other in zip(words, chosen, strict=True):
            phis = [b.phi(w.type) for w in own]
            for phi, w, v in zip(phis, own, other, strict=True):
                phi.add_incoming(w, start)
                phi.add_incoming(v, aside)
            result.append(phis)
        return result

    # -- memory -------------------------------------------------------------------------------------------------------
    def load(self, address: Any, kind: str) -> Any:
        return self.b.load(_at(self.b, address, SCALARS[kind]), align=BITS[kind] // 8)

    def load_pack(self, address: Any, storage: str) -> Words:
        return _read_pack(self.b, storage, address)

    def store(self, address: Any, kind: str, value: Any) -> None:
        self.b.store(value, _at(self.b, address, SCALARS[kind]), align=BITS[kind] // 8)

    def store_pack(self, address: Any, storage: str, words: Words) -> None:
        _write_pack(self.b, storage, address, words)

    def shared(self, room: Any, offset: Any, kind: str) -> Any:
        return self.b.load(_pointer(self.b, self.b.add(room, offset), SCALARS[kind]), align=BITS[kind] // 8)

    def share(self, room: Any, offset: Any, kind: str, value: Any) -> None:
        self.b.store(value, _pointer(self.b, self.b.add(room, offset), SCALARS[kind]), align=BITS[kind] // 8)

    def share_pack(self, room: Any, offset: Any, kind: str, words: Words) -> None:
        vector = ir.VectorType(SCALARS[kind], len(words))
        value: Any = ir.Constant(vector, ir.Undefined)
        for k, word in enumerate(words):
            value = self.b.insert_element(value, word, I32(k))
        self.b.store(value, _pointer(self.b, self.b.add(room, offset), vector), align=PACK)

    def either(self, condition: Any, first: Callable[[], Words], second: Callable[[], Words]) -> Words:
        """The words of one of both."""
        b = self.b
        one, other, after = (b.append_basic_block(name) for name in ("one", "other", "after"))
        b.cbranch(condition, one, other)
        ends, found = [], []
        for block, body in ((one, first), (other, second)):
            b.position_at_end(block)
            found.append(body())
            ends.append(b.block)
            b.branch(after)
        b.position_at_end(after)
        phis = [b.phi(word.type) for word in found[0]]
        for end, words in zip(ends, found, strict=True):
            for phi, word in zip(phis, words, strict=True):
                phi.add_incoming(word, end)
        return phis

    def when(self, condition: Any, body: Callable[[], Any]) -> None:
        with self.b.if_then(condition):
            body()


def _kind(given: Any) -> Any:
    if given is None:
        return types.void
    return _TYPES[given] if isinstance(given, str) else types.Tuple(tuple(map(_kind, given)))


def made(piece: Piece, bfloat: bool) -> Any:
    """The intrinsic of a piece."""
    arguments, result = [_kind(given) for given in piece.arguments], _kind(piece.results)

    def opened(b: ir.IRBuilder, value: Any, kind: Any) -> Any:
        return [b.extract_value(value, k) for k in range(len(kind))] if isinstance(kind, types.BaseTuple) else value

    def closed(context: Any, b: ir.IRBuilder, kind: Any, found: Any) -> Any:
        parts: Any = kind
        if not isinstance(kind, types.BaseTuple):
            return found
        return context.make_tuple(b, kind, [closed(context, b, k, v) for k, v in zip(parts, found, strict=True)])

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: list[Any]) -> Any:
        values = [opened(builder, a, kind) for a, kind in zip(args, arguments, strict=True)]
        found = piece.code(Machine(builder, bfloat), *values)
        return context.get_dummy_value() if found is None else closed(context, builder, result, found)

    names = [f"a{k}" for k in range(len(arguments))]
    namespace: dict[str, Any] = {"signature": result(*arguments), "generate": generate}
    exec(f"def {piece.name}({', '.join(['context', *names])}):\n    return signature, generate\n", namespace)
    return intrinsic(namespace[piece.name])


def room() -> Any:
    """(): where the memory of the block begins; its size is said when a kernel is launched."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: list[Any]) -> Any:
        kind = ir.ArrayType(ir.IntType(8), 0)
        found = builder.module.globals.get(_ROOM)
        if found is None:
            found = ir.GlobalVariable(builder.module, kind, _ROOM, addrspace=BLOCK)
            found.align = PACK
        return builder.ptrtoint(found, I64)

    def room(context: Any) -> Any:
        return types.int64(), generate

    return intrinsic(room)


__all__ = ["made", "room"]
