"""The inner loops of kernels alone, called over and over by compiled code: what the limit is a limit of.

A call from Python takes a good part of what the shortest kernels take for 65,536 elements; no limit that is computed
from a loop knows of it. Copies, whose time is the limit of what memory bounds, are timed the same way.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from fastact.cpu.compile import address, target_machine
from fastact.cpu.target import host
from fastact.link.forms import Kernel

PASSES = 8
"""Calls of a loop in one."""
_DRIVER = """
define void @{name}(ptr %{a}, ptr %{b}, ptr %{c}, ptr %{d}, i64 %passes) {{
entry:
  br label %again
again:
  %k = phi i64 [ %passes, %entry ], [ %left, %again ]
  {call}
  %left = sub i64 %k, 1
  %more = icmp ne i64 %left, 0
  br i1 %more, label %again, label %end
end:
  ret void
}}
"""
_LOOP = "call void %loop(ptr %arguments, ptr %count, ptr %steps, ptr null)"
_COPY = "%bytes = load i64, ptr %count\n  call ptr @memcpy(ptr %sink, ptr %source, i64 %bytes)"
_SOURCE = (
    "declare ptr @memcpy(ptr, ptr, i64)"
    + _DRIVER.format(name="loops", a="loop", b="arguments", c="count", d="steps", call=_LOOP)
    + _DRIVER.format(name="copies", a="sink", b="source", c="count", d="nothing", call=_COPY)
)


@functools.cache
def _drivers() -> tuple[Any, Callable[..., None], Callable[..., None]]:
    """What keeps them alive, and what calls a loop or copies so many times."""
    module = llvm.parse_assembly(_SOURCE)
    module.triple = host().triple
    engine = llvm.create_mcjit_compiler(module, target_machine(host()))
    engine.finalize_object()
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4, ctypes.c_int64)
    return engine, *(kind(engine.get_function_address(name)) for name in ("loops", "copies"))


def kernel(made: Kernel, inputs: Sequence[Any], out: Any) -> Callable[[], None]:
    """A call that makes `PASSES` passes of a kernel over arrays of one length, or over single numbers among them."""
    arrays = [np.asarray(x, out.dtype) for x in inputs]
    operands = [*arrays, out]
    count = ctypes.c_ssize_t(out.size)
    places = (ctypes.c_void_p * len(operands))(*(array.ctypes.data for array in operands))
    steps = (ctypes.c_ssize_t * len(operands))(*(array.strides[0] if array.ndim else 0 for array in operands))
    loop = address(made.graph, made.evidence, varying=made.varying)
    given = loop, *(ctypes.addressof(one) for one in (places, count, steps))
    run = _drivers()[1]

    def call(kept: Any = (arrays, out, places, count, steps)) -> None:
        run(*given, PASSES)

    return call


def copy(source: Any, sink: Any) -> Callable[[], None]:
    """A call that copies one array to another `PASSES` times."""
    count = ctypes.c_int64(source.nbytes)
    given = sink.ctypes.data, source.ctypes.data, ctypes.addressof(count), None
    run = _drivers()[2]

    def call(kept: Any = (source, sink, count)) -> None:
        run(*given, PASSES)

    return call
