"""What the compiled functions that Python calls have in common, as LLVM IR."""

from __future__ import annotations

from llvmlite import ir

from fastact.cpu.entries.layout import Layout
from fastact.cpu.lowering.flow import I32, I64, PTR, at, counted

NOTHING = ir.Constant(PTR, None)


class Code:
    """The function ``enter`` of a module, whose ``self`` is a tuple that begins with a description in bytes."""

    def __init__(self, name: str, layout: Layout, triple: str, *arguments: ir.Type) -> None:
        self.layout, self.module = layout, ir.Module(name)
        self.module.triple = triple
        function = ir.Function(self.module, ir.FunctionType(PTR, [PTR, PTR, I64, *arguments]), "enter")
        self.self, self.args, self.count, *self.further = function.args
        self.b = ir.IRBuilder(function.append_basic_block("entry"))
        self.unsuited = function.append_basic_block("unsuited")
        """Where all goes on that is not as it has to be."""
        self.block = at(self.b, self.word(self.self, layout.item, PTR), I64(layout.content))

    def word(self, place: ir.Value, offset: int | ir.Value, type: ir.Type = I64) -> ir.Value:
        """What lies so many bytes from a place."""
        offset = I64(offset) if isinstance(offset, int) else offset
        return self.b.load(at(self.b, place, offset), typ=type, align=type.width // 8 if type == I32 else 8)

    def known(self, place: int, type: ir.Type = I64) -> ir.Value:
        """A word of the description."""
        return self.word(self.block, 8 * place, type)

    def call(self, place: int, result: ir.Type, *args: ir.Value) -> ir.Value:
        """Call the function whose address is a word of the description."""
        kind = ir.FunctionType(result, [a.type for a in args])
        return self.b.call(self.b.inttoptr(self.known(place), kind.as_pointer()), list(args))

    def same(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.b.icmp_unsigned("==", a, b)

    def need(self, condition: ir.Value) -> None:
        """Go on where the condition holds; elsewhere leave all to others."""
        on = self.b.append_basic_block("on")
        self.b.cbranch(condition, on, self.unsuited)
        self.b.position_at_end(on)

    def need_array(self, given: ir.Value, kind: ir.Value, descriptor: ir.Value, flags: ir.Value) -> None:
        """Go on if the object is an array of that dtype, with all of these flags; ``kind`` is what arrays are."""
        b, layout = self.b, self.layout
        self.need(self.same(self.word(given, layout.type, PTR), kind))
        self.need(self.same(self.word(given, layout.descriptor), descriptor))
        self.need(self.same(b.and_(b.zext(self.word(given, layout.flags, I32), I64), flags), flags))

    def axes(self, given: ir.Value) -> ir.Value:
        """The number of an array's axes."""
        return self.b.zext(self.word(given, self.layout.ndim, I32), I64)

    def need_shape(self, given: ir.Value, axes: ir.Value, shape: ir.Value) -> None:
        """Go on if the array has that shape."""
        b = self.b
        self.need(self.same(self.axes(given), axes))
        own = self.word(given, self.layout.dimensions, PTR)
        with counted(b, axes) as axis:
            where = b.mul(axis, I64(8))
            self.need(self.same(self.word(own, where), self.word(shape, where)))
