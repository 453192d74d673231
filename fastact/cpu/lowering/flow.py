"""Loops and addresses in LLVM IR."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llvmlite import ir

I1, I32, I64, PTR = ir.IntType(1), ir.IntType(32), ir.IntType(64), ir.PointerType()
LINE = 64
"""Bytes that come from memory together."""


@contextmanager
def counted(
    b: ir.IRBuilder, count: ir.Value, step: int | ir.Value = 1, start: ir.Value | None = None
) -> Iterator[ir.Value]:
    """A loop over ``start`` (0), start + step, ... below ``count``; yields the counter."""
    entry = b.block
    head, body, after = (b.append_basic_block(name) for name in ("head", "body", "after"))
    b.branch(head)
    b.position_at_end(head)
    i = b.phi(I64)
    i.add_incoming(I64(0) if start is None else start, entry)
    b.cbranch(b.icmp_signed("<", i, count), body, after)
    b.position_at_end(body)
    yield i
    i.add_incoming(b.add(i, I64(step) if isinstance(step, int) else step), b.block)
    b.branch(head)
    b.position_at_end(after)


def at(b: ir.IRBuilder, pointer: ir.Value, offset: ir.Value) -> ir.Value:
    """The pointer moved by a number of bytes."""
    return b.gep(pointer, [offset], source_etype=ir.IntType(8))
