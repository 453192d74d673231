"""The inner loop of a ufunc around one graph, as LLVM IR.

Its type is NumPy's: ``void (char **args, npy_intp *dims, npy_intp *steps, void *)``.

All elements go through one vector body. Contiguous operands are read and written in place; strided and broadcast
ones go through blocks on the stack, and so do the last elements that do not fill a vector. Hence bits depend on
nothing but the input.

Floating-point flags are delivered as the mathematics has them, not as the instructions happen to raise them: they
are saved and cleared before the loop; afterwards, if the instructions raised one or the graph's alarm went off, a
second pass over inputs and outputs (the evidence graph) says which of them the results justify.
"""

from __future__ import annotations

import functools

from llvmlite import ir

from fastact.cpu.lowering.copies import copier
from fastact.cpu.lowering.flags import VERDICTS, stack
from fastact.cpu.lowering.flow import I1, I32, I64, LINE, PTR, at, counted
from fastact.cpu.lowering.job import STREAM
from fastact.cpu.lowering.sweeps import Sweeps, Target
from fastact.cpu.lowering.words import SCALARS
from fastact.link.graph import Graph

BLOCK = 1024
"""Elements of a block on the stack; a multiple of every vector width."""
STRETCH = 8192
"""Elements after which flags are looked into where no block is needed."""
FIRST_STRETCH = 256
"""The same at the start, from where it doubles: a flag once raised needs no more evidence, and what all the elements
are full of is found in the first ones."""
EVEN = 2048
"""Elements from which on the first stretch is shorter by what lets the others begin at lines of memory: results that
straddle two lines take some processors nearly twice as long to write."""
ALL, ALONE = 2 ** len(VERDICTS) - 1, (1, 2)
"""Verdicts by their bits: all, and those that are looked for alone as well, which an alarm may mean."""


class LoopBuilder(Sweeps):
    """Builds the functions of one kernel in one module."""

    def __init__(
        self, graph: Graph, evidence: Graph | None, target: Target, name: str, fetched: int = 0, varying: int = 0
    ) -> None:
        super().__init__(graph, target, name, fetched, varying)
        self.evidence, self.name = evidence, name

    def build(self) -> ir.Module:
        body = self._sweep("body", self.graph, len(self.operands), self.inputs)
        uniform = self._uniform_sweep() if self.varying < self.inputs else None
        judges: dict[int, ir.Function] = {}
        if self.evidence is not None:
            for verdicts in (ALL, *(ALONE if self.alarm else ())):
                chosen = self.evidence.part([n for k, n in enumerate(self.evidence.outputs) if verdicts >> k & 1])
                name = f"judge_{verdicts}" if verdicts != ALL else "judge"
                judges[verdicts] = self._sweep(name, chosen, len(self.operands), len(self.operands))
        self._loop(body, uniform, judges)
        return self.module

    # -- strides, blocks and remainders -------------------------------------------------------------------------
    def _loop(self, body: ir.Function, uniform: ir.Function | None, judges: dict[int, ir.Function]) -> None:
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [PTR] * 4), self.name)
        b = ir.IRBuilder(function.append_basic_block("entry"))
        args, dims, steps, large = function.args
        operands = range(len(self.operands))
        n = b.load(dims, typ=I64)
        base = [b.load(at(b, args, I64(8 * k)), typ=PTR) for k in operands]
        step = [b.load(at(b, steps, I64(8 * k)), typ=I64) for k in operands]
        blocks = [self._room(b, BLOCK, t) for t in self.operands]
        tails = [self._room(b, self.width, t) for t in self.operands]
        flags = self.target.flags
        before = flags.read(b)
        flags.write(b, flags.cleared(b, before))

        direct = [b.icmp_signed("==", s, I64(size)) for s, size in zip(step, self.sizes, strict=True)]
        fixed = [b.icmp_signed("==", s, I64(0)) for s in step[: self.inputs]]
        if judges:  # inputs that the results overwrite are kept until the evidence has been heard
            for k in range(self.inputs):
                for out in operands[self.inputs :]:
                    direct[k] = b.and_(direct[k], b.icmp_unsigned("!=", base[k], base[out]))
        once = ir.Constant(I1, uniform is not None)
        for k in operands if uniform is not None else ():
            once = b.and_(once, fixed[k] if self.varying <= k < self.inputs else direct[k])
        whole = b.or_(functools.reduce(b.and_, direct), once)
        past = self._past(b, n, base, direct, large)
        largest = b.select(whole, I64(STRETCH) if judges else n, I64(BLOCK))
        omitted = b.select(b.icmp_signed(">=", n, I64(EVEN)), self._beyond(b, base), I64(0))
        brief = b.or_(b.icmp_signed("!=", omitted, I64(0)), ir.Constant(I1, bool(judges)))
        smallest = b.select(whole, b.select(brief, I64(FIRST_STRETCH), n), I64(BLOCK))
        shorter = b.select(b.icmp_signed("<", n, I64(BLOCK)), n, I64(BLOCK))
        for k in range(self.inputs):
            with b.if_then(b.and_(fixed[k], b.not_(once))):
                self._fill(b, base[k], blocks[k], shorter, k)

        raised = stack(b, flags.type)
        b.store(flags.type(0), raised)
        outer_start = b.block
        head, inside, after = (b.append_basic_block(x) for x in ("blocks", "block", "done"))
        b.branch(head)
        b.position_at_end(head)
        done, block, less = b.phi(I64), b.phi(I64), b.phi(I64)
        done.add_incoming(I64(0), outer_start)
        block.add_incoming(smallest, outer_start)
        less.add_incoming(omitted, outer_start)
        b.cbranch(b.icmp_signed("<", done, n), inside, after)
        b.position_at_end(inside)
        left, most = b.sub(n, done), b.sub(block, less)
        count = b.select(b.icmp_signed("<", left, most), left, most)
        place = [at(b, base[k], b.mul(done, step[k])) for k in operands]
        for k in range(self.inputs):
            with b.if_then(b.not_(b.or_(direct[k], fixed[k]))):
                self._copy(b, place[k], step[k], blocks[k], I64(self.sizes[k]), count, k)
        here = [b.select(direct[k], place[k], blocks[k]) for k in operands]
        how = b.zext(b.and_(past, self._even(b, place)), I64)
        if uniform is None:
            alarm = self._apply(b, body, here, tails, count, self.inputs, how)
        else:
            found, single = stack(b, I32), base[self.varying : self.inputs]
            given = [*here[: self.varying], *single, *here[self.inputs :]]
            with b.if_else(once) as (then, otherwise):
                with then:
                    b.store(self._apply(b, uniform, given, tails, count, self.varying, how), found)
                with otherwise:
                    b.store(self._apply(b, body, here, tails, count, self.inputs, how), found)
            alarm = b.load(found, typ=I32)
        if judges:
            natural = flags.exceptions(b, flags.read(b))
            known = flags.exceptions(b, b.or_(before, b.load(raised, typ=flags.type)))
            wanted = b.or_(natural, b.select(b.icmp_signed("!=", alarm, I32(0)), I32(flags.bits(*ALONE)), I32(0)))
            wanted = b.and_(wanted, b.not_(known))
            with b.if_then(b.icmp_signed("!=", wanted, I32(0)), likely=False):
                for k in range(self.varying, self.inputs):
                    with b.if_then(once):
                        self._fill(b, base[k], blocks[k], shorter, k)
                verdict = self._judged_in_blocks(b, judges, wanted, (here, direct, once), tails, count)
                # a zero may be exact, as log 1 is: it has underflowed only if an instruction has, too
                lost = b.and_(b.lshr(natural, I32(flags.places[-1])), I32(1))
                verdict = b.and_(verdict, b.or_(b.shl(lost, I32(len(VERDICTS) - 1)), I32(2 ** (len(VERDICTS) - 1) - 1)))
                b.store(b.or_(b.load(raised, typ=flags.type), flags.encode(b, verdict)), raised)
                flags.write(b, flags.cleared(b, before))
        for k in operands[self.inputs :]:
            with b.if_then(b.not_(direct[k])):
                self._copy(b, blocks[k], I64(self.sizes[k]), place[k], step[k], count, k)
        done.add_incoming(b.add(done, count), b.block)
        following = b.shl(block, I64(1)) if judges else largest
        block.add_incoming(b.select(b.icmp_signed("<", following, largest), following, largest), b.block)
        less.add_incoming(I64(0), b.block)
        b.branch(head)
        b.position_at_end(after)
        flags.write(b, b.or_(before, b.load(raised, typ=flags.type)))
        if self.target.streams:
            with b.if_then(past):  # what was written past the caches is there for other threads from here on
                b.call(ir.Function(self.module, ir.FunctionType(ir.VoidType(), []), "llvm.x86.sse.sfence"), [])
        b.ret_void()

    def _beyond(self, b: ir.IRBuilder, places: list[ir.Value]) -> ir.Value:
        """How many elements of the first result lie between its place and the line that begins before."""
        size = self.sizes[self.inputs]
        return b.lshr(b.and_(b.ptrtoint(places[self.inputs], I64), I64(LINE - 1)), I64(size.bit_length() - 1))

    def _even(self, b: ir.IRBuilder, places: list[ir.Value]) -> ir.Value:
        """Whether all results begin at lines."""
        together = functools.reduce(b.or_, (b.ptrtoint(place, I64) for place in places[self.inputs :]))
        return b.icmp_unsigned("==", b.and_(together, I64(LINE - 1)), I64(0))

    def _past(
        self, b: ir.IRBuilder, n: ir.Value, base: list[ir.Value], direct: list[ir.Value], large: ir.Value
    ) -> ir.Value:
        """Whether results are so large that they are written past the caches: they overwrite no input."""
        if not self.target.streams:
            return ir.Constant(I1, 0)
        whole = b.icmp_unsigned("!=", large, ir.Constant(PTR, None))
        found = b.or_(whole, b.icmp_signed(">=", n, I64(STREAM // self.sizes[self.inputs])))
        for k in range(self.inputs, len(self.operands)):
            found = b.and_(found, direct[k])
            for given in base[: self.inputs]:
                found = b.and_(found, b.icmp_unsigned("!=", given, base[k]))
        return found

    def _fill(self, b: ir.IRBuilder, number: ir.Value, block: ir.Value, count: ir.Value, operand: int) -> None:
        """A block of one number."""
        value = b.load(number, typ=SCALARS[self.operands[operand]], align=self.sizes[operand])
        vector = self._everywhere(b, value, self.operands[operand])
        with counted(b, count, self.width) as i:  # a multiple of the width has room
            b.store(vector, at(b, block, b.mul(i, I64(self.sizes[operand]))), align=self.sizes[operand])

    def _judged_in_blocks(
        self, b: ir.IRBuilder, judges: dict[int, ir.Function], wanted: ir.Value,
        given: tuple[list[ir.Value], list[ir.Value], ir.Value], tails: list[ir.Value], count: ir.Value,
    ) -> ir.Value:  # fmt: skip
        """The same of as many elements as single numbers were written to blocks for, at a time."""
        here, direct, once = given
        if self.varying == self.inputs:
            return self._judged(b, judges, wanted, here, tails, count)
        found = stack(b, I32)
        b.store(I32(0), found)
        with counted(b, count, BLOCK) as start:
            left = b.sub(count, start)
            part = b.select(b.and_(once, b.icmp_signed(">", left, I64(BLOCK))), I64(BLOCK), left)
            moved = [at(b, p, b.mul(start, I64(size))) for p, size in zip(here, self.sizes, strict=True)]
            places = [b.select(d, m, p) for d, m, p in zip(direct, moved, here, strict=True)]
            verdict = self._judged(b, judges, wanted, places, tails, part)
            b.store(b.or_(b.load(found, typ=I32), verdict), found)
        return b.load(found, typ=I32)

    def _judged(
        self, b: ir.IRBuilder, judges: dict[int, ir.Function], wanted: ir.Value, here: list[ir.Value],
        tails: list[ir.Value], count: ir.Value,
    ) -> ir.Value:  # fmt: skip
        """The verdicts that may be news: all of them, or one alone where no other one is wanted."""
        found = stack(b, I32)
        after = b.append_basic_block("judged")
        for verdicts, judge in reversed(judges.items()):
            following = b.append_basic_block("judge")
            if verdicts != ALL:
                chosen = b.append_basic_block("judge")
                others = b.and_(wanted, I32(~self.target.flags.bits(verdicts)))
                b.cbranch(b.icmp_signed("==", others, I32(0)), chosen, following)
                b.position_at_end(chosen)
            verdict = self._apply(b, judge, here, tails, count, len(self.operands))
            b.store(b.shl(verdict, I32(verdicts.bit_length() - 1)) if verdicts != ALL else verdict, found)
            b.branch(after)
            b.position_at_end(following)
        b.unreachable()
        b.position_at_end(after)
        return b.load(found, typ=I32)

    def _room(self, b: ir.IRBuilder, count: int, type: str) -> ir.Value:
        return stack(b, ir.ArrayType(SCALARS[type], count), align=64)

    def _copy(
        self, b: ir.IRBuilder, source: ir.Value, source_step: ir.Value, sink: ir.Value, sink_step: ir.Value,
        count: ir.Value, operand: int,
    ) -> None:  # fmt: skip
        copy = copier(self.module, self.operands[operand], self.target.vector_bytes, self.target.avx512)
        b.call(copy, [source, source_step, sink, sink_step, count])

    def _apply(
        self, b: ir.IRBuilder, sweep: ir.Function, here: list[ir.Value], tails: list[ir.Value], count: ir.Value,
        reads: int, how: ir.Value | None = None,
    ) -> ir.Value:  # fmt: skip
        """The sweep over ``count`` elements, of which it reads the first operands and writes what comes after the
        inputs, unless it reads that; the remainder is padded with its own first element. Inputs between are single
        numbers. ``how``: 1 if whole vectors are written past the caches."""
        full = b.lshr(count, I64(self.width.bit_length() - 1))
        rest = b.and_(count, I64(self.width - 1))
        covered = b.sub(count, rest)
        found = stack(b, I32)
        b.store(I32(0), found)
        with b.if_then(b.icmp_signed("!=", full, I64(0))):
            b.store(b.call(sweep, [*here, full, *([how] if how else [])]), found)
        with b.if_then(b.icmp_signed("!=", rest, I64(0))):
            writes = reads <= self.inputs
            ends = [at(b, p, b.mul(covered, I64(s))) for p, s in zip(here, self.sizes, strict=True)]
            for k in range(reads):
                kind, size = SCALARS[self.operands[k]], self.sizes[k]
                first = b.load(ends[k], typ=kind, align=size)
                b.store(self._everywhere(b, first, self.operands[k]), tails[k], align=size)
                self._copy(b, ends[k], I64(size), tails[k], I64(size), rest, k)
            padded = [*tails[:reads], *here[reads : self.inputs], *tails[max(reads, self.inputs) :]]
            b.store(b.or_(b.load(found, typ=I32), b.call(sweep, [*padded, I64(1), *([I64(0)] if how else [])])), found)
            if writes:
                for k in range(self.inputs, len(self.operands)):
                    self._copy(b, tails[k], I64(self.sizes[k]), ends[k], I64(self.sizes[k]), rest, k)
        return b.load(found, typ=I32)
