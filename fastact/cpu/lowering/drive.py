"""One call of an inner loop cut into pieces that several threads take from a common counter, as LLVM IR.

``i64 drive(i64 *job)`` takes pieces until none is left, and returns how many it took. A thread enters it once per
call, without Python's lock, so threads do not wait for each other between pieces.

`fastact.cpu.lowering.job` has the layout of a job.
"""

from __future__ import annotations

from llvmlite import ir

from fastact.cpu.lowering.flags import FlagRegister, stack
from fastact.cpu.lowering.flow import I64, PTR, counted
from fastact.cpu.lowering.job import (
    FINISHED,
    FLAGS,
    GRAIN,
    INNER,
    LARGE,
    LENGTH,
    LOOP,
    NEXT,
    OPERANDS,
    OUTER,
    PARTS,
    PIECES,
    TABLES,
)

MOST_OPERANDS = 16


def _slot(b: ir.IRBuilder, job: ir.Value, place: int | ir.Value) -> ir.Value:
    index = I64(place) if isinstance(place, int) else place
    return b.gep(job, [index], source_etype=I64)


def _read(b: ir.IRBuilder, job: ir.Value, place: int | ir.Value) -> ir.Value:
    return b.load(_slot(b, job, place), typ=I64)


def drive_module(flags: FlagRegister, triple: str) -> str:
    """The IR of the function ``drive``."""
    module = ir.Module("drive")
    module.triple = triple
    function = ir.Function(module, ir.FunctionType(I64, [PTR]), "drive")
    (job,) = function.args
    b = ir.IRBuilder(function.append_basic_block("entry"))
    places, size, taken = stack(b, ir.ArrayType(I64, MOST_OPERANDS)), stack(b, I64), stack(b, I64)
    b.store(I64(0), taken)
    pieces, grain = _read(b, job, PIECES), _read(b, job, GRAIN)
    before = flags.read(b)
    flags.write(b, flags.cleared(b, before))

    head, inside, after = (b.append_basic_block(name) for name in ("take", "run", "done"))
    b.branch(head)
    b.position_at_end(head)
    first = b.atomic_rmw("add", _slot(b, job, NEXT), grain, "monotonic")
    b.cbranch(b.icmp_signed("<", first, pieces), inside, after)
    b.position_at_end(inside)
    left = b.sub(pieces, first)
    count = b.select(b.icmp_signed("<", left, grain), left, grain)
    with counted(b, count) as i:
        _piece(b, job, b.add(first, i), places, size)
    b.store(b.add(b.load(taken, typ=I64), count), taken)
    b.branch(head)

    b.position_at_end(after)
    raised = b.zext(flags.numpys(b, flags.exceptions(b, flags.read(b))), I64)
    b.atomic_rmw("or", _slot(b, job, FLAGS), raised, "monotonic")
    flags.write(b, before)
    mine = b.load(taken, typ=I64)
    b.atomic_rmw("add", _slot(b, job, FINISHED), mine, "acq_rel")
    b.ret(mine)
    return str(module)


def _piece(b: ir.IRBuilder, job: ir.Value, piece: ir.Value, places: ir.Value, size: ir.Value) -> None:
    """Run the loop over one piece."""
    parts, length, inner = (_read(b, job, place) for place in (PARTS, LENGTH, INNER))
    operands, outer = _read(b, job, OPERANDS), _read(b, job, OUTER)
    bases = b.add(outer, I64(TABLES))
    steps = b.add(bases, operands)
    start = b.mul(b.urem(piece, parts), length)
    left = b.sub(inner, start)
    b.store(b.select(b.icmp_signed("<", left, length), left, length), size)
    with counted(b, operands) as k:
        base, step = _read(b, job, b.add(bases, k)), _read(b, job, b.add(steps, k))
        b.store(b.add(base, b.mul(start, step)), _slot(b, places, k))
    rest = stack(b, I64)
    b.store(b.udiv(piece, parts), rest)
    with counted(b, outer) as d:
        extent = _read(b, job, b.add(d, I64(TABLES)))
        remaining = b.load(rest, typ=I64)
        index = b.urem(remaining, extent)
        b.store(b.udiv(remaining, extent), rest)
        strides = b.add(steps, b.mul(b.add(d, I64(1)), operands))
        with counted(b, operands) as k:
            place = _slot(b, places, k)
            b.store(b.add(b.load(place, typ=I64), b.mul(index, _read(b, job, b.add(strides, k)))), place)
    kind = ir.FunctionType(ir.VoidType(), [PTR] * 4)
    loop = b.inttoptr(_read(b, job, LOOP), kind.as_pointer())
    b.call(loop, [places, size, _slot(b, job, steps), b.inttoptr(_read(b, job, LARGE), PTR)])
