"""Calls of functions of numbers that are known from earlier ones, as LLVM IR.

``object *enter(object *self, object **args, i64 count, object *names)`` is of the kind of function that Python calls
without making a tuple of its arguments; those with names come last. `fastact.cpu.entries.arrays` has the layout of the
description and of the table.
"""

from __future__ import annotations

from llvmlite import ir

from fastact.cpu.entries.arrays import MOST_OPERANDS, MOST_OUTPUTS, Entry, Slot, Word
from fastact.cpu.entries.code import NOTHING, Code
from fastact.cpu.entries.layout import READ, WARNS, WRITTEN, Layout
from fastact.cpu.lowering.flags import FlagRegister, stack
from fastact.cpu.lowering.flow import I32, I64, PTR, at, counted

UNLOCKED = 500
"""Elements from which on other threads may run Python meanwhile, as with NumPy's ufuncs."""


def arrays_module(layout: Layout, triple: str, flags: FlagRegister) -> str:
    """The IR of the function ``enter``."""
    return _Builtin(layout, triple, flags).build()


class _Builtin(Code):
    def __init__(self, layout: Layout, triple: str, flags: FlagRegister) -> None:
        super().__init__("arrays", layout, triple, PTR)
        (self.names,) = self.further
        self.flags = flags
        b = self.b
        self.places = stack(b, ir.ArrayType(I64, MOST_OPERANDS + MOST_OUTPUTS))
        self.size, self.found = stack(b, I64), stack(b, PTR)
        self.first, self.sink = stack(b, PTR), stack(b, PTR)
        """The first array, whose shape is that of all, and the one for the result."""

    def build(self) -> str:
        b, leave = self.b, self.unsuited
        with b.goto_block(leave):
            fallback = self.word(self.self, self.layout.item + 8, PTR)
            b.ret(self.call(Word.CALL, PTR, fallback, self.args, self.count, self.names))
        self.tier = self._of_context(Word.TIER)
        named = self._named()
        self.all = b.add(self.count, named)
        table = self.known(Word.TABLE, PTR)
        entry = b.block
        head, matched = b.append_basic_block("head"), b.append_basic_block("matched")
        b.branch(head)
        b.position_at_end(head)
        known = b.phi(I64)
        known.add_incoming(I64(0), entry)
        look, after = b.append_basic_block("look"), b.append_basic_block("after")
        b.cbranch(b.icmp_signed("<", known, self.word(table, 0)), look, leave)
        b.position_at_end(look)
        place = b.add(b.mul(known, I64(8 * Entry.WORDS)), I64(8))
        self.entry = at(b, table, place)
        self.unsuited = after
        self._fits(named)
        b.branch(matched)
        b.position_at_end(after)
        known.add_incoming(b.add(known, I64(1)), after)
        b.branch(head)
        b.position_at_end(matched)
        self.unsuited = leave
        self._prepare()
        self._run()
        return str(self.module)

    def own(self, place: int, type: ir.Type = I64) -> ir.Value:
        """What the table says of the call."""
        return self.word(self.entry, 8 * place, type)

    def _named(self) -> ir.Value:
        """How many arguments have names."""
        b = self.b
        none = b.block
        with b.if_then(b.icmp_unsigned("!=", self.names, NOTHING)):
            count = self.word(self.names, self.layout.count)
            there = b.block
        found = b.phi(I64)
        found.add_incoming(I64(0), none)
        found.add_incoming(count, there)
        return found

    def _of_context(self, variable: int) -> ir.Value:
        """The value of a context variable, which is held by others, too."""
        b = self.b
        self.call(Word.FIND, I32, self.known(variable, PTR), NOTHING, self.found)
        value = b.load(self.found, typ=PTR)
        self.call(Word.REDUCE, ir.VoidType(), value)
        return value

    # -- arguments ----------------------------------------------------------------------------------------------------
    def _fits(self, named: ir.Value) -> None:
        """Go on if the arguments are those of the entry of the table."""
        b = self.b
        self.need(self.same(self.own(Entry.PLACED), self.count))
        self.need(self.same(self.own(Entry.NAMED), named))
        tier = self.own(Entry.TIER, PTR)
        self.need(b.or_(self.same(tier, NOTHING), self.same(tier, self.tier)))
        b.store(NOTHING, self.first)
        b.store(NOTHING, self.sink)
        with counted(b, self.all) as k:
            slot = at(b, self.entry, b.add(b.mul(k, I64(8 * Slot.WORDS)), I64(8 * Entry.SLOTS)))
            name = self.word(slot, 8 * Slot.NAME, PTR)
            with b.if_then(b.icmp_unsigned("!=", name, NOTHING)):
                where = b.add(b.mul(b.sub(k, self.count), I64(8)), I64(self.layout.item))
                self.need(self.same(name, self.word(self.names, where, PTR)))
            self._argument(self.word(self.args, b.mul(k, I64(8)), PTR), slot)

    def _argument(self, given: ir.Value, slot: ir.Value) -> None:
        b = self.b
        kind, value = self.word(slot, 8 * Slot.KIND), self.word(slot, 8 * Slot.VALUE)
        with b.if_else(b.icmp_unsigned("<=", kind, I64(Slot.RESULT))) as (array, other):
            with array:
                result = self.same(kind, I64(Slot.RESULT))
                wanted = b.select(result, I64(WRITTEN), I64(READ))
                self.need_array(given, self.known(Word.ARRAY, PTR), self.own(Entry.DESCRIPTOR), wanted)
                with b.if_then(result):
                    warns = b.and_(self.word(given, self.layout.flags, I32), I32(WARNS))
                    self.need(self.same(warns, I32(0)))
                with b.if_else(self.same(b.load(self.first, typ=PTR), NOTHING)) as (one, more):
                    with one:
                        self.need(b.icmp_unsigned("!=", self.axes(given), I64(0)))
                        b.store(given, self.first)
                    with more:
                        first = b.load(self.first, typ=PTR)
                        shape = self.word(first, self.layout.dimensions, PTR)
                        self.need_shape(given, self.axes(first), shape)
                b.store(self.word(given, self.layout.data), at(b, self.places, b.mul(value, I64(8))))
                with b.if_then(result):
                    b.store(given, self.sink)
            with other, b.if_else(self.same(kind, I64(Slot.NUMBER))) as (number, object):
                with number:
                    self.need(self.same(self.word(given, self.layout.type, PTR), self.known(Word.FLOAT, PTR)))
                    self.need(self.same(self.word(given, self.layout.number), value))
                with object:
                    self.need(self.same(b.ptrtoint(given, I64), value))

    # -- operands -----------------------------------------------------------------------------------------------------
    def _prepare(self) -> None:
        """The number of elements, addresses of parameters, and arrays for the results."""
        b, first = self.b, self.b.load(self.first, typ=PTR)
        b.store(I64(1), self.size)
        shape = self.word(first, self.layout.dimensions, PTR)
        with counted(b, self.axes(first)) as axis:
            length = self.word(shape, b.mul(axis, I64(8)))
            b.store(b.mul(b.load(self.size, typ=I64), length), self.size)
        size = b.load(self.size, typ=I64)
        with b.if_then(b.icmp_signed(">=", size, self.word(self.own(Entry.LIMIT, PTR), 0)), likely=False):
            chosen = self._of_context(Word.THREADS)
            one = self.same(chosen, self.known(Word.ONE, PTR))
            single = b.icmp_signed("!=", self.word(self.known(Word.SINGLE, PTR), 0), I64(0))
            unsaid = self.same(chosen, self.known(Word.NONE, PTR))
            self.need(b.or_(one, b.and_(unsaid, single)))
        with counted(b, self.own(Entry.OPERANDS)) as k:
            where = b.mul(k, I64(8))
            parameter = self.word(at(b, self.entry, I64(8 * Entry.PLACES)), where)
            with b.if_then(b.icmp_signed("!=", parameter, I64(0))):
                b.store(parameter, at(b, self.places, where))
        with b.if_else(self.same(b.load(self.sink, typ=PTR), NOTHING)) as (new, given):
            with new:
                self._make(first, shape)
            with given:
                self._apart(b.mul(size, self.own(Entry.BYTES)))

    def _make(self, first: ir.Value, shape: ir.Value) -> None:
        """New arrays for the results."""
        b = self.b
        operands, outputs = self.own(Entry.OPERANDS), self.own(Entry.OUTPUTS)
        with b.if_then(b.icmp_signed(">", outputs, I64(1)), likely=False):
            pair = self.call(Word.PAIR, PTR, outputs)
            with b.if_then(self.same(pair, NOTHING)):
                b.ret(NOTHING)
            b.store(pair, self.sink)
        with counted(b, outputs) as k:
            kind = self.own(Entry.DESCRIPTOR, PTR)
            self.call(Word.INCREASE, ir.VoidType(), kind)  # which goes over to the array
            axes = b.trunc(self.axes(first), I32)
            given = self.known(Word.ARRAY, PTR), kind, axes, shape, NOTHING, NOTHING, I32(0), NOTHING
            found = self.call(Word.MAKE, PTR, *given)
            sink = b.load(self.sink, typ=PTR)
            with b.if_then(self.same(found, NOTHING), likely=False):
                with b.if_then(b.icmp_unsigned("!=", sink, NOTHING)):
                    self.call(Word.REDUCE, ir.VoidType(), sink)
                b.ret(NOTHING)
            b.store(self.word(found, self.layout.data), at(b, self.places, b.mul(b.add(operands, k), I64(8))))
            with b.if_else(self.same(sink, NOTHING)) as (alone, several):
                with alone:
                    b.store(found, self.sink)
                with several:
                    where = b.add(b.mul(k, I64(8)), I64(self.layout.item))
                    b.store(b.ptrtoint(found, I64), at(b, sink, where))

    def _apart(self, extent: ir.Value) -> None:
        """Go on if the array for the result shares no memory with others but elements that are at the same place."""
        b, operands = self.b, self.own(Entry.OPERANDS)
        start = self.word(self.places, b.mul(operands, I64(8)))
        end = b.add(start, extent)
        with counted(b, operands) as k:
            first = self.word(self.places, b.mul(k, I64(8)))
            clear = b.or_(b.icmp_unsigned("<=", end, first), b.icmp_unsigned("<=", b.add(first, extent), start))
            self.need(b.or_(clear, self.same(first, start)))
        self.call(Word.INCREASE, ir.VoidType(), b.load(self.sink, typ=PTR))

    # -- the loop -----------------------------------------------------------------------------------------------------
    def _run(self) -> None:
        b, size, flags = self.b, self.b.load(self.size, typ=I64), self.flags
        long = b.icmp_signed(">", size, I64(UNLOCKED))
        b.store(NOTHING, self.found)
        with b.if_then(long):
            b.store(self.call(Word.UNLOCK, PTR), self.found)
        before = flags.read(b)
        flags.write(b, flags.cleared(b, before))
        kind = ir.FunctionType(ir.VoidType(), [PTR] * 4)
        loop = b.inttoptr(self.own(Entry.LOOP), kind.as_pointer())
        b.call(loop, [self.places, self.size, at(b, self.entry, I64(8 * Entry.STEPS)), NOTHING])
        raised = flags.numpys(b, flags.exceptions(b, flags.read(b)))
        flags.write(b, before)
        with b.if_then(long):
            self.call(Word.LOCK, ir.VoidType(), b.load(self.found, typ=PTR))
        sink = b.load(self.sink, typ=PTR)
        with b.if_then(b.icmp_signed("!=", raised, I32(0)), likely=False):
            verdict = self.call(Word.GIVE, I32, self.own(Entry.NAME, PTR), raised)
            with b.if_then(b.icmp_signed("<", verdict, I32(0))):
                self.call(Word.REDUCE, ir.VoidType(), sink)
                b.ret(NOTHING)
        b.ret(sink)
