"""Threads that help with large calls, and the jobs they share.

Helpers take what is left when they wake up; nothing waits for one that has not begun. So a late helper, or one that
the system has put aside, costs nothing but its share of the work.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections import deque
from time import perf_counter_ns
from typing import Any

from fastact.cpu.lowering.job import FINISHED, PIECES

PATIENCE = 50_000
"""Nanoseconds for which the caller watches the last pieces of others before it goes to sleep."""
REST = 30
"""Times as long as helpers kept a call from its end, calls go without them: so what failed tries cost is a small part
of what calls take, however long these are, and a call that is long enough to pay for it may try at once."""
LONGEST_REST = 1_000_000_000
"""Nanoseconds; what kept a call longer than a part of this was a system that stood still, and will not come again."""


class Job:
    """A call cut into pieces, with the arrays that it must keep alive; `lowering.job` describes the buffer."""

    __slots__ = ("buffer", "done", "drive", "operands", "place")

    def __init__(self, drive: Any, values: list[int], operands: Any) -> None:
        self.buffer = (ctypes.c_int64 * len(values))(*values)
        self.place = ctypes.addressof(self.buffer)
        self.drive, self.operands = drive, operands
        self.done = threading.Lock()
        self.done.acquire()

    def is_done(self) -> bool:
        return self.buffer[FINISHED] == self.buffer[PIECES]  # type: ignore[no-any-return]

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


class Pool:
    """Helpers: threads that sleep until there are jobs. They live until the process ends and do not hold it up."""

    def __init__(self) -> None:
        self.tickets: deque[Job] = deque()
        """A job for each helper that may still join it."""
        self.idle: deque[threading.Lock] = deque()
        self.started = 0
        self.rest = 0.0
        """Nanoseconds of calls for which nobody is to be called."""

    def admits(self, time: float) -> bool:
        """Whether helpers are worth a try in a call that takes one thread so many nanoseconds."""
        return time >= self.rest

    def judge(self, gained: float) -> None:
        """Learn how many nanoseconds sooner a call with helpers was done."""
        self.rest = min(max(0.0, -REST * gained), LONGEST_REST)

    def went_alone(self, time: float) -> None:
        """Learn of a call without helpers."""
        self.rest = max(0.0, self.rest - time)

    def open(self, job: Job, helpers: int, most: int) -> None:
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

    def close(self, job: Job) -> None:
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


current = Pool()
"""The pool of this process."""


def _forget() -> None:
    """Helpers do not live on in a forked process: it starts its own."""
    global current
    current = Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
