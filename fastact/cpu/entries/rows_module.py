"""Calls of rows that are known from earlier ones, from Python's objects to the loop, as LLVM IR.

``object *enter(object *self, object **args, i64 count)`` is of the kind of function that Python calls without making a
tuple of its arguments. Where these are as ``self`` describes them, it makes an array for the result, unless there is
one, runs the loop without Python's lock, and returns that array; else it does nothing and returns None.

`fastact.cpu.entries.rows` has the layout of the description.
"""

from __future__ import annotations

from llvmlite import ir

from fastact.cpu.entries.code import NOTHING, Code
from fastact.cpu.entries.layout import Layout
from fastact.cpu.entries.rows import MOST, Argument, Word
from fastact.cpu.lowering.flags import stack
from fastact.cpu.lowering.flow import I1, I32, I64, PTR, at, counted
from fastact.cpu.rows.facts import Facts


def entry_module(layout: Layout, triple: str) -> str:
    """The IR of the function ``enter``."""
    return _Builtin(layout, triple).build()


class _Builtin(Code):
    def __init__(self, layout: Layout, triple: str) -> None:
        super().__init__("entry", layout, triple)
        b = self.b
        self.places = stack(b, ir.ArrayType(I64, 2 * MOST))
        """Addresses of operands, and then the facts of the call."""
        self.facts = at(b, self.places, I64(8 * MOST))
        self.rows, self.sink = stack(b, I64), stack(b, PTR)

    def build(self) -> str:
        b = self.b
        self.specs = at(b, self.block, b.mul(b.add(self.known(Word.FACTS), I64(Word.TABLES)), I64(8)))
        with b.goto_block(self.unsuited):
            b.ret(self.owned(self.known(Word.NONE, PTR)))
        self.need(self.same(self.count, self.known(Word.COUNT)))
        b.store(NOTHING, self.sink)
        with counted(b, self.known(Word.FACTS)) as i:
            where = b.mul(i, I64(8))
            b.store(self.word(at(b, self.block, I64(8 * Word.TABLES)), where), at(b, self.facts, where))
        with counted(b, self.count) as k:
            self._argument(self.word(self.args, b.mul(k, I64(8)), PTR), self._spec(k))
        with b.if_else(self.same(b.load(self.sink, typ=PTR), NOTHING)) as (new, given):
            with new:
                self._make()
            with given:
                self._apart()
        self._run()
        return str(self.module)

    def _spec(self, k: ir.Value) -> ir.Value:
        """Where the argument k is described."""
        return at(self.b, self.specs, self.b.mul(k, I64(8 * Argument.WORDS)))

    def own(self, spec: ir.Value, place: int) -> ir.Value:
        """What is said of an argument."""
        return self.word(spec, 8 * place)

    def owned(self, object: ir.Value) -> ir.Value:
        self.call(Word.INCREASE, ir.VoidType(), object)
        return object

    # -- arguments ----------------------------------------------------------------------------------------------------
    def _argument(self, given: ir.Value, spec: ir.Value) -> None:
        """Take an argument over, if it is as it is described."""
        b, layout = self.b, self.layout
        kind, place = self.own(spec, Argument.KIND), at(b, self.places, b.mul(self.own(spec, Argument.PLACE), I64(8)))
        with b.if_else(self.same(given, self.known(Word.NONE, PTR))) as (none, there):
            with none:
                instead = self.own(spec, Argument.INSTEAD)
                self.need(b.icmp_signed("!=", instead, I64(0)))
                b.store(instead, place)
            with there, b.if_else(self.same(kind, I64(Argument.NUMBER))) as (number, array):
                with number:
                    self.need(self.same(self.word(given, layout.type, PTR), self.known(Word.FLOAT, PTR)))
                    b.store(self.word(given, layout.number), place)
                with array:
                    self._array(given, spec)
                    b.store(self.word(given, layout.data), place)
                    with b.if_then(self.same(kind, I64(Argument.RESULT))):
                        b.store(given, self.sink)

    def _array(self, given: ir.Value, spec: ir.Value) -> None:
        """Go on if the object is an array as it is described."""
        kind = self.known(Word.ARRAY, PTR)
        self.need_array(given, kind, self.own(spec, Argument.DESCRIPTOR), self.own(spec, Argument.FLAGS))
        self.need_shape(given, self.own(spec, Argument.NDIM), self._shape(spec))

    def _shape(self, spec: ir.Value) -> ir.Value:
        return at(self.b, self.block, self.own(spec, Argument.SHAPE))

    def _make(self) -> None:
        """A new array for the result."""
        b, spec = self.b, self._spec(self.known(Word.RESULT))
        axes = b.trunc(self.own(spec, Argument.NDIM), I32)
        kind = self.owned(b.inttoptr(self.own(spec, Argument.DESCRIPTOR), PTR))  # which goes over to the array
        given = self.known(Word.ARRAY, PTR), kind, axes, self._shape(spec), NOTHING, NOTHING, I32(0), NOTHING
        found = self.call(Word.MAKE, PTR, *given)
        with b.if_then(self.same(found, NOTHING)):
            b.ret(NOTHING)
        b.store(found, self.sink)
        place = at(b, self.places, b.mul(self.own(spec, Argument.PLACE), I64(8)))
        b.store(self.word(found, self.layout.data), place)

    def _apart(self) -> None:
        """Go on if the array for the result shares no memory with others but elements that are at the same place."""
        b, result = self.b, self._spec(self.known(Word.RESULT))

        def extent(spec: ir.Value) -> tuple[ir.Value, ir.Value]:
            start = self.word(self.places, b.mul(self.own(spec, Argument.PLACE), I64(8)))
            return start, b.add(start, self.own(spec, Argument.BYTES))

        start, end = extent(result)
        with counted(b, self.known(Word.RESULT)) as k:
            spec = self._spec(k)
            first, last = extent(spec)
            clear = b.or_(b.icmp_unsigned("<=", end, first), b.icmp_unsigned("<=", last, start))
            shared = b.and_(self.same(first, start), b.trunc(self.own(spec, Argument.SHARED), I1))
            self.need(b.or_(clear, shared))
        self.owned(b.load(self.sink, typ=PTR))

    # -- the loop -----------------------------------------------------------------------------------------------------
    def _run(self) -> None:
        b, sink = self.b, self.b.load(self.sink, typ=PTR)
        last = b.mul(self.known(Word.OPERANDS), I64(8))
        b.store(b.ptrtoint(self.facts, I64), at(b, self.places, last))
        b.store(self.known(Word.ROWS), self.rows)
        steps = at(b, self.block, self.known(Word.STEPS))
        thread = self.call(Word.UNLOCK, PTR)
        self.call(Word.LOOP, ir.VoidType(), self.places, self.rows, steps, NOTHING)
        self.call(Word.LOCK, ir.VoidType(), thread)
        with b.if_then(b.icmp_signed("!=", self.word(self.facts, 8 * Facts.FAILED), I64(0))):
            self.call(Word.REDUCE, ir.VoidType(), sink)
            b.ret(self.call(Word.NO_MEMORY, PTR))
        b.ret(sink)
