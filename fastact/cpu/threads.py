"""Large arrays on several threads.

The caller cuts a call into pieces and takes them from a common counter; helpers that wake up in time take some too.
So a late helper, or one that the system has put aside, costs nothing but its share of the work. What is not a plain
loop over arrays and numbers of one dtype is left to the ufunc itself: then nothing differs but the time.

When threads pay depends on the kernel, whose cost per element spans a factor of fifty. It is measured: by the first
piece of a kernel's first large call, and again by all that the caller does in later ones; the least ever seen counts,
since disturbances only add. To wake a thread takes 5 microseconds of the caller's time, and on a virtual machine 50
to 200 until the helper runs: calls shorter than `WORTH` stay on one thread, and each helper is to have `SHARE` to do.

Where cores are busy with other things, a helper may take a piece and be put aside, or take the core of the caller. So
each call is judged by itself: it should be over before the caller alone, going on as it did just then, could have been.
If it is not, the next calls stay on one thread (`pool.REST`). How the caller went on is told by the processor time that
its pieces took: what others did on its core meanwhile is not the kernel's cost, and may be due to the helpers. How long
other calls took says nothing: processors change their speed, and memory is slower than caches.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import os
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from operator import index
from time import perf_counter_ns, thread_time_ns
from typing import Any

import numpy as np

from fastact.cpu import pool
from fastact.cpu.lowering.job import FLAGS, NEXT, PIECES, STREAM, head
from fastact.cpu.places import address

SMALLEST = 1 << 15
"""Arrays below this many elements are not worth a look."""
WORTH = 400_000
"""Nanoseconds that a call takes on one thread, at least, if it is to have help."""
SHARE = 150_000
"""Nanoseconds of the call on one thread for each thread that takes part."""
PIECE = 20_000
"""Nanoseconds that a piece should take: much more than to fetch it, much less than the call."""
LONGEST, SHORTEST = 1 << 14, 1 << 10
"""Elements of a piece."""


# -- how many ---------------------------------------------------------------------------------------------------------
_chosen: int | None = None
of_context: ContextVar[int | None] = ContextVar("fastact_num_threads", default=None)
"""What the surrounding `num_threads` says."""
single = ctypes.c_int64()
"""Whether the process was told to use one thread where no context says otherwise; compiled code looks here."""


def _checked(n: int) -> int:
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"the number of threads is a whole number, not {n!r}")
    if index(n) < 1:
        raise ValueError(f"the number of threads is at least 1, not {n}")
    return index(n)


@functools.cache
def _environment() -> int | None:
    text = os.environ.get("FASTACT_NUM_THREADS", "").strip()
    if not text:
        return None
    if text.isdecimal() and int(text) >= 1:
        return int(text)
    warnings.warn(f"FASTACT_NUM_THREADS={text!r} is not a positive whole number; ignored", RuntimeWarning, stacklevel=3)
    return None


def _cores() -> int:
    from fastact.cpu import cores  # which needs what takes a while to import

    return cores.available()


def get_num_threads() -> int:
    """The most threads that a call uses, the caller's included.

    It is that of the surrounding `num_threads`, or else what `set_num_threads` said, or else the environment variable
    FASTACT_NUM_THREADS, or else the number of cores that this process may use."""
    return of_context.get() or _chosen or _environment() or _cores()


def set_num_threads(n: int | None) -> None:
    """Let calls use up to n threads, in the whole process; None goes back to the default. Results do not change."""
    global _chosen
    _chosen = None if n is None else _checked(n)
    single.value = (_chosen or _environment()) == 1


@contextlib.contextmanager
def num_threads(n: int) -> Iterator[int]:
    """Let calls in the block use up to n threads; other threads and tasks are not concerned.

    >>> import fastact
    >>> with fastact.num_threads(1) as n:
    ...     n
    1
    """
    token = of_context.set(_checked(n))
    try:
        yield n
    finally:
        of_context.reset(token)


# -- calls ------------------------------------------------------------------------------------------------------------
class _Loop:
    """What is known of a kernel."""

    __slots__ = ("address", "cost", "limit")

    def __init__(self, address: int, limit: ctypes.c_int64 | None = None) -> None:
        self.address = address
        self.limit = limit or ctypes.c_int64(SMALLEST)
        """Elements from which on threads may pay."""
        self.cost = math.inf
        """Nanoseconds per element."""

    def learn(self, cost: float) -> None:
        if cost < self.cost:
            self.cost = cost
            self.limit.value = max(SMALLEST, int(WORTH / cost))


loops: dict[tuple[np.ufunc, np.dtype[Any]], _Loop] = {}
_limits: dict[tuple[np.ufunc, np.dtype[Any]], ctypes.c_int64] = {}


def limit(ufunc: np.ufunc, dtype: np.dtype[Any]) -> ctypes.c_int64:
    """The number of elements from which on threads may help with a kernel; it changes with what is known."""
    single.value = (_chosen or _environment()) == 1
    return _limits.setdefault((ufunc, dtype), ctypes.c_int64(SMALLEST))


def call(ufunc: np.ufunc, args: tuple[Any, ...], options: dict[str, Any], x: np.ndarray[Any, Any]) -> Any:
    """The ufunc's result, on several threads if that pays; ``x`` is the largest of the arguments.

    What does not get help is left to the ufunc before anything is prepared, so that it takes no longer."""
    loop = loops.get((ufunc, x.dtype))
    if loop is not None:
        if x.size < loop.limit.value:
            return ufunc(*args, **options)
        helping = pool.current
        if not helping.admits(loop.cost * x.size):
            started = perf_counter_ns()
            result = ufunc(*args, **options)
            helping.went_alone(perf_counter_ns() - started)
            return result
    threads = get_num_threads()
    operands = _operands(ufunc, args, options, x.dtype) if threads > 1 else None
    if operands is None:
        return ufunc(*args, **options)
    if loop is None:
        loop = _known(ufunc, x.dtype)
    return _run(ufunc, loop, operands, x, threads) if loop.address else ufunc(*args, **options)


def _known(ufunc: np.ufunc, dtype: np.dtype[Any]) -> _Loop:
    from fastact.cpu.kernels import address_of

    place = address_of(ufunc, dtype.name) if _driver() else 0
    return loops.setdefault((ufunc, dtype), _Loop(place, limit(ufunc, dtype)))


def loop_address(ufunc: np.ufunc, dtype: np.dtype[Any]) -> int:
    """Where the loop of a kernel is; 0 where that is not known."""
    from fastact.cpu.kernels import address_of

    return address_of(ufunc, dtype.name) if _ours(dtype) else 0


def _ours(dtype: np.dtype[Any]) -> bool:
    """Whether there are loops for a dtype."""
    return dtype.isnative and (dtype.char in "efd" or dtype.name == "bfloat16")


def driven() -> bool:
    """Whether loops can be run without NumPy, whose business floating-point flags are else."""
    return _driver() is not None


@functools.cache
def _driver() -> Any:
    """The compiled ``drive``; None on processors whose floating-point flags are out of reach."""
    from fastact.cpu import shortcuts
    from fastact.cpu.lock import alone

    with alone():
        place = shortcuts.address("drive", symbol="drive") or _compiled_driver()
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(place) if place else None


def _compiled_driver() -> int:
    from fastact.cpu.compile import native
    from fastact.cpu.lowering.drive import drive_module
    from fastact.cpu.target import host

    flags = host().target().flags
    return native(drive_module(flags, host().triple), "drive", ("drive",)) if flags.mask else 0


def _operands(
    ufunc: np.ufunc, args: tuple[Any, ...], options: dict[str, Any], dtype: np.dtype[Any]
) -> list[np.ndarray[Any, Any] | None] | None:
    """Inputs and outputs (None: to be allocated) of a call that is a plain loop over one dtype; None of any other."""
    inputs = ufunc.nin
    outputs: Any = args[inputs:]
    if options:
        if len(options) > 1 or "out" not in options or outputs:
            return None
        outputs = options["out"]
        outputs = outputs if type(outputs) is tuple else (outputs,)
    if not _ours(dtype):
        return None
    found: list[Any] = []
    for value in args[:inputs]:
        if type(value) is float or type(value) is int or type(value) is dtype.type:
            value = np.asarray(value, dtype)
        elif type(value) is not np.ndarray or value.dtype != dtype or not value.flags.aligned:
            return None
        found.append(value)
    for out in outputs:
        if out is not None:
            if type(out) is not np.ndarray or out.dtype != dtype or not (out.flags.aligned and out.flags.writeable):
                return None
            if any(np.may_share_memory(value, out) and not _same(value, out) for value in found):
                return None
        found.append(out)
    found.extend([None] * (ufunc.nargs - len(found)))
    return found if len(found) == ufunc.nargs else None


def _same(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    """Whether two arrays are the same elements in the same order."""
    return a.shape == b.shape and a.strides == b.strides and address(a) == address(b)


_READ, _WRITE = ["readonly"], ["writeonly", "allocate", "no_broadcast"]


def _arrange(
    operands: list[np.ndarray[Any, Any] | None], inputs: int, x: np.ndarray[Any, Any]
) -> tuple[tuple[Any, ...], list[int], list[Any], list[tuple[int, ...]]]:
    """The operands with outputs allocated, the shape of the loop, the operands' addresses and their strides."""
    c, f = x.flags.c_contiguous, x.flags.f_contiguous
    strides: list[tuple[int, ...]] = []
    for a in operands:
        if a is None or (a.shape == x.shape and ((c and a.flags.c_contiguous) or (f and a.flags.f_contiguous))):
            strides.append((x.itemsize,))
        elif a.ndim == 0:
            strides.append((0,))
        else:
            break
    else:
        if c or f:
            whole = tuple(np.empty_like(x) if a is None else a for a in operands)
            return whole, [x.size], [address(a) for a in whole], strides
    access: Any = [_READ] * inputs + [_WRITE] * (len(operands) - inputs)
    iterator = np.nditer(operands, ["external_loop", "zerosize_ok"], access, order="K")  # type: ignore[call-overload]
    views = iterator.itviews
    addresses = [address(view) for view in views]
    return iterator.operands, list(views[0].shape), addresses, [view.strides for view in views]


def _run(
    ufunc: np.ufunc, loop: _Loop, operands: list[np.ndarray[Any, Any] | None], x: np.ndarray[Any, Any], threads: int
) -> Any:
    """The call cut into pieces, and its result."""
    whole, shape, addresses, strides = _arrange(operands, ufunc.nin, x)
    *outer, inner = shape
    size = math.prod(shape)
    length = LONGEST if loop.cost == math.inf else int(PIECE / loop.cost) & -SHORTEST
    length = min(inner, max(SHORTEST, min(LONGEST, length)))
    parts = -(-inner // length)
    pieces, grain = parts * math.prod(outer), max(1, SHORTEST // length)
    values = head(
        pieces=pieces, grain=grain, parts=parts, length=length, inner=inner, loop=loop.address,
        large=size * x.itemsize >= STREAM, operands=len(whole), outer=len(outer),
    )  # fmt: skip
    axes = range(len(outer), -1, -1)
    tables = [*outer[::-1], *addresses, *(step[axis] for axis in axes for step in strides)]
    job = pool.Job(_driver(), values + tables, whole)

    share(job, loop, size, min(pieces, -(-LONGEST // length)), threads)
    if job.buffer[FLAGS]:
        from fastact.cpu.ufunc import report_flags

        report_flags(ufunc.__name__, job.buffer[FLAGS])
    results = whole[ufunc.nin :]
    return results[0] if len(results) == 1 else results


def share(job: pool.Job, loop: _Loop, size: int, first: int, threads: int) -> None:
    """Do a job of so many elements, with helpers if that pays; ``first`` pieces tell what an unknown kernel costs."""
    pieces, before, helping = job.buffer[PIECES], 0, pool.current
    started = perf_counter_ns()
    if loop.cost == math.inf and first:
        job.buffer[PIECES] = first
        before = job.work()
        loop.learn((perf_counter_ns() - started) / (size * before / pieces))
        job.buffer[NEXT], job.buffer[PIECES] = before, pieces
    estimate = loop.cost * size
    helpers = min(threads, int(estimate / SHARE), pieces) - 1 if WORTH <= estimate < math.inf else 0
    if helpers <= 0 or not helping.admits(estimate):
        taken = before + job.work()
        elapsed = perf_counter_ns() - started
        if helpers > 0:
            helping.went_alone(elapsed)
    else:
        left, called, busy = pieces - before, perf_counter_ns(), thread_time_ns()
        helping.open(job, helpers, threads - 1)
        try:
            own = job.work()
            elapsed, busy = perf_counter_ns() - started, thread_time_ns() - busy
        finally:
            helping.close(job)
        taken = before + own
        if own < left:
            job.wait()
        alone = max(estimate / pieces, busy / own if own else 0.0) * left
        helping.judge(alone - (perf_counter_ns() - called))
    if taken * size >= SMALLEST * pieces:
        loop.learn(elapsed / (size * taken / pieces))
