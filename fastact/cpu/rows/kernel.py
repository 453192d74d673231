"""The kernel of a program over rows, as LLVM IR: memory, floating-point flags, and rows that do not lie together.

Rows of which the elements are not neighbours are brought into blocks where they are, some at a time, and results back.
Memory for that, and for what is kept of long rows, comes from functions of which the facts of the call have the
addresses. No floating-point flag is raised: the register is left as it was found.
"""

from __future__ import annotations

from llvmlite import ir

from fastact.cpu.lowering.flags import stack
from fastact.cpu.lowering.flow import I64, PTR, at, counted
from fastact.cpu.rows.facts import Facts
from fastact.cpu.rows.long import LongRows
from fastact.cpu.rows.loops import RowBuilder
from fastact.cpu.rows.short import ShortRows
from fastact.cpu.rows.staging import SIDE, mover


class RowKernel(RowBuilder):
    def build(self, width: int) -> ir.Module:
        """The module with ``kernel``, for rows of up to ``width`` elements, one of those that go together; 0 for longer
        ones."""
        rows = (ShortRows if width else LongRows)(self.linked, self.target)
        rows.module = self.module
        self._kernel(rows.function_of(width))
        return self.module

    def _kernel(self, variant: ir.Function) -> None:
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [PTR] * 4), "kernel")
        b = ir.IRBuilder(function.append_basic_block("entry"))
        args, dims, steps, _ = function.args
        rows = b.load(dims, typ=I64)
        facts = b.load(at(b, args, I64(8 * len(self.operands))), typ=PTR)
        length = self.fact(b, facts, Facts.LENGTH)
        flags = self.target.flags
        before = flags.read(b)
        flags.write(b, flags.cleared(b, before))
        elements = [k for k, o in enumerate(self.operands) if o.kind == "element"]
        stride = {k: self.fact(b, facts, Facts.STRIDES + i) for i, k in enumerate(elements)}
        direct = {k: b.icmp_signed("==", stride[k], I64(self.operands[k].size)) for k in elements}
        line = b.and_(b.add(b.mul(length, I64(8)), I64(191)), I64(-64))  # of a block; not a power of two
        block, room = b.mul(line, I64(SIDE)), self.fact(b, facts, Facts.ROOM)
        for k in elements:
            room = b.add(room, b.select(direct[k], I64(0), block))
        memory = stack(b, PTR)
        b.store(ir.Constant(PTR, None), memory)
        ready, work, done = (b.append_basic_block(x) for x in ("allocate", "work", "done"))
        b.cbranch(b.icmp_signed(">", room, I64(0)), ready, work)
        b.position_at_end(ready)
        allocate = b.inttoptr(self.fact(b, facts, Facts.ALLOCATE), ir.FunctionType(PTR, [I64]).as_pointer())
        found = b.call(allocate, [b.add(room, I64(64))])
        b.store(found, memory)
        failed = b.append_basic_block("failed")
        b.cbranch(b.icmp_unsigned("==", found, ir.Constant(PTR, None)), failed, work)
        b.position_at_end(failed)
        b.store(I64(1), at(b, facts, I64(8 * Facts.FAILED)))
        flags.write(b, before)
        b.ret_void()
        b.position_at_end(work)
        address = b.ptrtoint(b.load(memory, typ=PTR), I64)
        scratch = b.inttoptr(b.and_(b.add(address, I64(63)), I64(-64)), PTR)
        everything: ir.Value = ir.Constant(ir.IntType(1), 1)
        for k in elements:
            everything = b.and_(everything, direct[k])
        with b.if_else(everything) as (plain, staged):
            with plain:
                b.call(variant, [args, steps, rows, facts, scratch])
            with staged:
                self._staged(b, variant, length, args, steps, rows, facts, scratch, stride, direct, line, block)
        b.branch(done)
        b.position_at_end(done)
        with b.if_then(b.icmp_signed(">", room, I64(0))):
            free = b.inttoptr(self.fact(b, facts, Facts.FREE), ir.FunctionType(ir.VoidType(), [PTR]).as_pointer())
            b.call(free, [b.load(memory, typ=PTR)])
        flags.write(b, before)
        b.ret_void()

    def _staged(
        self, b: ir.IRBuilder, variant: ir.Function, length: ir.Value, args: ir.Value, steps: ir.Value,
        rows: ir.Value, facts: ir.Value, scratch: ir.Value, stride: dict[int, ir.Value], direct: dict[int, ir.Value],
        line: ir.Value, block: ir.Value,
    ) -> None:  # fmt: skip
        """Some rows at a time, brought to and from blocks where their elements are neighbours."""
        count = range(len(self.operands))
        base = [b.load(at(b, args, I64(8 * k)), typ=PTR) for k in count]
        step = [b.load(at(b, steps, I64(8 * k)), typ=I64) for k in count]
        table = ir.ArrayType(I64, len(self.operands))
        own_places, own_steps = stack(b, table), stack(b, table)
        rooms: dict[int, ir.Value] = {}
        kept = scratch
        room = at(b, scratch, self.fact(b, facts, Facts.ROOM))
        for k in stride:
            rooms[k] = room
            room = at(b, room, b.select(direct[k], I64(0), block))
        with counted(b, rows, SIDE) as first:
            left = b.sub(rows, first)
            here = b.select(b.icmp_signed("<", left, I64(SIDE)), left, I64(SIDE))
            places = [at(b, p, b.mul(first, s)) for p, s in zip(base, step, strict=True)]
            for k in count:
                place, pace = places[k], step[k]
                if k in stride:
                    place, pace = b.select(direct[k], place, rooms[k]), b.select(direct[k], pace, line)
                b.store(b.ptrtoint(place, I64), at(b, own_places, I64(8 * k)))
                b.store(pace, at(b, own_steps, I64(8 * k)))
            for k, distance in stride.items():
                o = self.operands[k]
                if not o.written:
                    with b.if_then(b.not_(direct[k])):
                        ends = [places[k], step[k], distance, rooms[k], line, I64(o.size)]
                        b.call(mover(self.module, o.size), [*ends, here, length])
            b.call(variant, [own_places, own_steps, here, facts, kept])
            for k, distance in stride.items():
                o = self.operands[k]
                if o.written:
                    with b.if_then(b.not_(direct[k])):
                        ends = [rooms[k], line, I64(o.size), places[k], step[k], distance]
                        b.call(mover(self.module, o.size), [*ends, here, length])
