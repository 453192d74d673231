"""What is held while kernels are compiled or loaded: LLVM's global context serves one thread at a time."""

from __future__ import annotations

import os
import threading

_lock = threading.RLock()


def alone() -> threading.RLock:  # type: ignore[valid-type]
    """The lock of this process."""
    return _lock


def _hold() -> None:
    _lock.acquire()


def _release() -> None:
    _lock.release()


def _renew() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    # A fork waits until no other thread compiles, so that the child finds LLVM in order; its only thread holds nothing.
    os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_renew)
