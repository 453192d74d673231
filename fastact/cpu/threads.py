"""Large arrays on several threads.

The caller cuts a call into pieces and takes them from a common counter; helpers that wake up in time take some too.
So a late helper, or one that the system has put aside, costs nothing but its share of the work. What is not a plain
loop over arrays and numbers of one dtype is left to the ufunc itself: then nothing differs but the time.

When threads pay depends on the kernel, whose cost per element spans a factor of fifty. It is measured: by the first
piece of a kernel's first large call, and again by all that the caller does in later ones; the least ever seen counts,
since disturbances only add. To wake a thread takes 5 microseconds of the caller's time, and on a virtual machine 50
to 200 until the helper runs: calls shorter than `WORTH` stay on one thread, and each helper is to have `SHARE` to do.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import os
import threading
import warnings
from collections import deque
from collections.abc import Iterator
from contextvars import ContextVar
from operator import index
from time import perf_counter_ns
from typing import Any

import numpy as np

from fastact.cpu import cores

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
PATIENCE = 50_000
"""Nanoseconds for which the caller watches the last pieces of others before it goes to sleep."""
LATE = 0.1
"""Part of a call that the caller may spend so. More means that the cores are busy with other things, and a helper was
put aside in the middle of a piece; then the next calls stay on one thread, ever more as long as it goes on so."""
MOST_ALONE = 63
"""Calls that stay on one thread before helpers are tried again."""


# -- how many ---------------------------------------------------------------------------------------------------------
_chosen: int | None = None
_here: ContextVar[int | None] = ContextVar("fastact_num_threads", default=None)


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


def get_num_threads() -> int:
    """The most threads that a call uses, the caller's included.

    It is that of the surrounding `num_threads`, or else what `set_num_threads` said, or else the environment variable
    FASTACT_NUM_THREADS, or else the number of cores that this process may use."""
    return _here.get() or _chosen or _environment() or cores.available()


def set_num_threads(n: int | None) -> None:
    """Let calls use up to n threads, in the whole process; None goes back to the default. Results do not change."""
    global _chosen
    _chosen = None if n is None else _checked(n)


@contextlib.contextmanager
def num_threads(n: int) -> Iterator[int]:
    """Let calls in the block use up to n threads; other threads and tasks are not concerned.

    >>> import fastact
    >>> with fastact.num_threads(1) as n:
    ...     n
    1
    """
    token = _here.set(_checked(n))
    try:
        yield n
    finally:
        _here.reset(token)


# -- helpers ----------------------------------------------------------------------------------------------------------
class _Job:
    """A call cut into pieces, with the arrays that it must keep alive; `fastact.cpu.drive` describes the buffer."""

    __slots__ = ("buffer", "done", "drive", "finished", "operands", "place")

    def __init__(self, drive: Any, values: list[int], finished: int, operands: Any) -> None:
        self.buffer = (ctypes.c_int64 * len(values))(*values)
        self.place = ctypes.addressof(self.buffer)
        self.drive, self.finished, self.operands = drive, finished, operands
        self.done = threading.Lock()
        self.done.acquire()

    def is_done(self) -> bool:
        return self.buffer[self.finished] == self.buffer[_layout().PIECES]  # type: ignore[no-any-return]

    def work(self) -> int:
        """Take pieces until none is left; returns how many it were."""
        return self.drive(self.place)  # type: ignore[no-any-return]

    def help(self) -> None:
        if self.work() and self.is_done():
            with contextlib.suppress(RuntimeError):  # another one was last as well
                self.done.release()

    def wait(self) -> None:
        """Return when the last piece is done."""
        deadline = perf_counter_ns() + PATIENCE
        while not self.is_done():
            if perf_counter_ns() > deadline:
                self.done.acquire()
        self.work()  # takes nothing, but sees what other threads wrote before they counted their pieces


class _Pool:
    """Helpers: threads that sleep until there are jobs. They live until the process ends and do not hold it up."""

    def __init__(self) -> None:
        self.tickets: deque[_Job] = deque()
        """A job for each helper that may still join it."""
        self.idle: deque[threading.Lock] = deque()
        self.started = 0
        self.alone = self.penalty = 0
        """Calls for which nobody is to be called, and for how many that was the last time."""

    def admits(self) -> bool:
        """Whether helpers are worth a try."""
        if self.alone:
            self.alone -= 1
        return not self.alone

    def judge(self, waited: float) -> None:
        """Learn from the part of a call for which the caller had to wait for helpers."""
        self.penalty = min(2 * self.penalty + 1, MOST_ALONE) if waited > LATE else self.penalty // 2
        if waited > LATE:
            self.alone = self.penalty

    def open(self, job: _Job, helpers: int, most: int) -> None:
        self.tickets.extend([job] * helpers)
        for _ in range(helpers):
            try:
                self.idle.pop().release()
            except IndexError:
                if self.started >= most:
                    break
                self.started += 1
                try:
                    threading.Thread(target=self.serve, name=f"fastact-{self.started}", daemon=True).start()
                except RuntimeError:  # no more threads, or the interpreter is about to end
                    self.started -= 1
                    break

    def close(self, job: _Job) -> None:
        with contextlib.suppress(ValueError):
            while True:
                self.tickets.remove(job)

    def serve(self) -> None:
        wake = threading.Lock()
        wake.acquire()
        while True:
            try:
                self.tickets.popleft().help()
            except IndexError:
                self.idle.append(wake)
                if not self.tickets:  # else one came after the last look, when this thread was not yet among the idle
                    wake.acquire()
                else:
                    try:
                        self.idle.remove(wake)
                    except ValueError:
                        wake.acquire()


_pool = _Pool()


def _forget() -> None:
    """Helpers do not live on in a forked process: it starts its own."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


# -- calls ------------------------------------------------------------------------------------------------------------
class _Loop:
    """What is known of a kernel."""

    __slots__ = ("address", "cost", "least")

    def __init__(self, address: int) -> None:
        self.address = address
        self.cost = math.inf
        """Nanoseconds per element."""
        self.least = 0
        """Elements from which on threads pay."""

    def learn(self, cost: float) -> None:
        if cost < self.cost:
            self.cost, self.least = cost, int(WORTH / cost)


_loops: dict[tuple[np.ufunc, np.dtype[Any]], _Loop] = {}


def call(ufunc: np.ufunc, args: tuple[Any, ...], options: dict[str, Any], x: np.ndarray[Any, Any]) -> Any:
    """The ufunc's result, on several threads if that pays; ``x`` is the largest of the arguments.

    What does not get help is left to the ufunc before anything is prepared, so that it takes no longer."""
    loop = _loops.get((ufunc, x.dtype))
    if loop is not None and (x.size < loop.least or not _pool.admits()):
        return ufunc(*args, **options)
    threads = get_num_threads()
    operands = _operands(ufunc, args, options, x.dtype) if threads > 1 else None
    if operands is None:
        return ufunc(*args, **options)
    if loop is None:
        loop = _known(ufunc, x.dtype)
    return _run(ufunc, loop, operands, x, threads) if loop.address else ufunc(*args, **options)


def _known(ufunc: np.ufunc, dtype: np.dtype[Any]) -> _Loop:
    from fastact.cpu.kernels import address_of

    return _loops.setdefault((ufunc, dtype), _Loop(address_of(ufunc, dtype.name) if _driver() else 0))


@functools.cache
def _driver() -> Any:
    """The compiled ``drive``; None on processors whose floating-point flags are out of reach."""
    from fastact.cpu.compile import native
    from fastact.cpu.target import host

    flags = host().target().flags
    if not flags.mask:
        return None
    address = native(_layout().drive_module(flags, host().triple), "drive")
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(address)


@functools.cache
def _layout() -> Any:
    from fastact.cpu import drive

    return drive


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
    if not dtype.isnative or (dtype.char not in "efd" and dtype.name != "bfloat16"):
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
    return a.shape == b.shape and a.strides == b.strides and a.ctypes.data == b.ctypes.data


_READ, _WRITE = ["readonly"], ["writeonly", "allocate", "no_broadcast"]


def _arrange(
    operands: list[np.ndarray[Any, Any] | None], inputs: int, x: np.ndarray[Any, Any]
) -> tuple[tuple[Any, ...], list[int], list[Any], list[tuple[int, ...]]]:
    """The operands with outputs allocated, the shape of the loop, the operands' addresses and their strides."""
    c, f = x.flags.c_contiguous, x.flags.f_contiguous
    strides = []
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
            return whole, [x.size], [a.__array_interface__["data"][0] for a in whole], strides
    access: Any = [_READ] * inputs + [_WRITE] * (len(operands) - inputs)
    iterator = np.nditer(operands, ["external_loop", "zerosize_ok"], access, order="K")  # type: ignore[call-overload]
    views = iterator.itviews
    addresses = [view.__array_interface__["data"][0] for view in views]
    return iterator.operands, list(views[0].shape), addresses, [view.strides for view in views]


def _run(
    ufunc: np.ufunc, loop: _Loop, operands: list[np.ndarray[Any, Any] | None], x: np.ndarray[Any, Any], threads: int
) -> Any:
    """The call cut into pieces, and its result."""
    layout = _layout()
    whole, shape, addresses, strides = _arrange(operands, ufunc.nin, x)
    *outer, inner = shape
    size = math.prod(shape)
    length = LONGEST if loop.cost == math.inf else int(PIECE / loop.cost) & -SHORTEST
    length = min(inner, max(SHORTEST, min(LONGEST, length)))
    parts = -(-inner // length)
    pieces, grain = parts * math.prod(outer), max(1, SHORTEST // length)
    head = [0] * layout.PIECES + [pieces, grain, parts, length, inner, loop.address, len(whole), len(outer)]
    axes = range(len(outer), -1, -1)
    job = _Job(
        _driver(), [*head, *outer[::-1], *addresses, *(step[axis] for axis in axes for step in strides)],
        layout.FINISHED, whole,
    )  # fmt: skip

    started, before = perf_counter_ns(), 0
    if loop.cost == math.inf:
        job.buffer[layout.PIECES] = min(pieces, -(-LONGEST // length))
        before = job.work()
        loop.learn((perf_counter_ns() - started) / (size * before / pieces))
        job.buffer[layout.NEXT], job.buffer[layout.PIECES] = before, pieces
    pool, estimate = _pool, loop.cost * size
    if estimate >= WORTH:
        pool.open(job, min(threads, int(estimate / SHARE)) - 1, threads - 1)
    try:
        taken = before + job.work()
        elapsed = perf_counter_ns() - started
    finally:
        pool.close(job)
    if taken < pieces:
        job.wait()
        pool.judge(1 - elapsed / (perf_counter_ns() - started))
    if taken * size >= SMALLEST * pieces:
        loop.learn(elapsed / (size * taken / pieces))
    if job.buffer[layout.FLAGS]:
        from fastact.cpu.ufunc import report_flags

        report_flags(ufunc.__name__, job.buffer[layout.FLAGS])
    results = whole[ufunc.nin :]
    return results[0] if len(results) == 1 else results
