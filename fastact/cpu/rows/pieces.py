"""Vectors of elements of rows, as LLVM IR: read, written, spread and added up."""

from __future__ import annotations

from llvmlite import ir

from fastact.cpu.lowering.emit import Emitter
from fastact.cpu.lowering.flow import I32, PTR
from fastact.cpu.lowering.sweeps import Target
from fastact.cpu.lowering.words import SCALARS, constant, picked, typed, undefined
from fastact.link.graph import BITS
from fastact.link.rows import Total

Words = list[ir.Value]


class RowPieces:
    """What loops over rows are made of, in one module."""

    def __init__(self, target: Target) -> None:
        self.target, self.module = target, ir.Module("rows")

    def emitter(self, b: ir.IRBuilder, width: int) -> Emitter:
        target = self.target
        return Emitter(b, width, target.half_instructions, target.avx512, target.bfloat_instructions)

    def spread(self, b: ir.IRBuilder, value: ir.Value, width: int) -> ir.Value:
        """A number for each lane: that of the row to which the lane belongs."""
        rows = value.type.count if isinstance(value.type, ir.VectorType) else 1
        if rows == 1:
            kind = ir.VectorType(value.type, width)
            value = b.insert_element(undefined(kind), value, I32(0))
        return picked(b, value, [lane * rows // width for lane in range(width)])

    def mask(self, b: ir.IRBuilder, count: ir.Value, width: int) -> ir.Value:
        """The lanes below ``count``."""
        places = ir.Constant(ir.VectorType(I32, width), list(range(width)))
        return b.icmp_signed("<", places, self.spread(b, b.trunc(count, I32), width))

    def load(self, b: ir.IRBuilder, place: ir.Value, type: str, width: int, mask: ir.Value | None) -> ir.Value:
        kind, size = typed(type, width), BITS[type] // 8
        if mask is None:
            return b.load(place, typ=kind, align=size)
        parameters = [PTR, I32, mask.type, kind]
        masked = self.declared(f"llvm.masked.load.v{width}{type}.p0", kind, parameters)
        return b.call(masked, [place, I32(size), mask, ir.Constant(kind, None)])

    def store(self, b: ir.IRBuilder, value: ir.Value, place: ir.Value, type: str, mask: ir.Value | None) -> None:
        size = BITS[type] // 8
        if mask is None:
            b.store(value, place, align=size)
            return
        name = f"llvm.masked.store.v{value.type.count}{type}.p0"
        b.call(self.declared(name, ir.VoidType(), [value.type, PTR, I32, mask.type]), [value, place, I32(size), mask])

    def declared(self, name: str, result: ir.Type, parameters: list[ir.Type]) -> ir.Function:
        found = self.module.globals.get(name)
        return found or ir.Function(self.module, ir.FunctionType(result, parameters), name)

    def neutral(self, total: Total, word: str, width: int) -> ir.Value:
        return constant(word, width, total.start)

    def widened(self, b: ir.IRBuilder, total: Total, words: Words, width: int = 0) -> Words:
        """What is added in the words of its total; ``width``: halves are added to one another down to that width."""
        if not total.narrow:
            return words
        (word,) = words
        while width and word.type.count > width:
            half = word.type.count // 2
            word = b.fadd(*(picked(b, word, list(range(start, start + half))) for start in (0, half)))
        return [b.fpext(word, typed("f64", word.type.count))]

    def tree(self, b: ir.IRBuilder, total: Total, words: Words, rows: int = 1) -> Words:
        """The totals of the lanes of each row."""
        width = words[0].type.count
        while width > rows:
            width, own = width // 2, width // rows
            if width == 1:
                low, high = ([b.extract_element(w, I32(lane)) for w in words] for lane in (0, 1))
            else:
                first = [lane // (own // 2) * own + lane % (own // 2) for lane in range(width)]
                low, high = (
                    [picked(b, w, [lane + half for lane in first]) for w in words] for half in (0, own // 2)
                )
            words = self.emitter(b, width if width > 1 else 0).graph(total.both, [*low, *high])
        return words

    def joined(self, b: ir.IRBuilder, parts: Words) -> ir.Value:
        """Vectors, a power of two of them, one after the other."""
        while len(parts) > 1:
            parts = [
                picked(b, x, range(2 * x.type.count), y) for x, y in zip(parts[::2], parts[1::2], strict=True)
            ]
        return parts[0]

    def numbers(self, b: ir.IRBuilder, parts: Words) -> ir.Value:
        """A number of each row: a vector of them, where there are several rows."""
        if len(parts) == 1:
            return parts[0]
        vector = undefined(ir.VectorType(parts[0].type, len(parts)))
        for lane, part in enumerate(parts):
            vector = b.insert_element(vector, part, I32(lane))
        return vector


def word_of(value: ir.Value) -> str:
    """The type of a number, or of the elements of a vector."""
    own = value.type.element if isinstance(value.type, ir.VectorType) else value.type
    return next(name for name, kind in SCALARS.items() if kind == own)
