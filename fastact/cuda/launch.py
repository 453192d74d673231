"""Running kernels: compiled once per layout, on grids that fill the card, on the stream that the caller works on."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Iterator
from typing import Any

from fastact.cuda import package
from fastact.cuda.arrays import View
from fastact.cuda.kernels import Kernel
from fastact.cuda.rows.kernels import RowKernel
from fastact.cuda.rows.plan import Launch

THREADS = 256
"""Threads of a block."""
_SIMULATED = 8
"""The same in the simulator, of which each thread is one of Python's."""
_REGISTERS, _MOST_THREADS = 65536, 2048
"""Of a multiprocessor; cards with fewer threads get a second wave of blocks."""
_FEWEST = 128
"""Blocks of a launch, below which Numba warns; those without work end at once."""
_LEGACY, _PER_THREAD = 1, 2
"""Handles of streams that have names of their own."""


@functools.cache
def compiled(kernel: Kernel | RowKernel, capability: tuple[int, int], registers: int | None = None) -> Any:
    """What Numba makes of a kernel; it is compiled for a device at the first launch there. ``registers`` are those that
    a thread may have, if that is said."""
    module = package.need_driver()
    # Through PTX: that is what is checked.
    options: dict[str, Any] = {"lto": False} if "lto" in inspect.signature(module.jit).parameters else {}
    if registers is not None:
        options["max_registers"] = registers
    return module.jit(**options)(kernel.python(capability))


@functools.cache
def _capability(device: int | None) -> tuple[int, int]:
    """That of the current device, by the number that it is known under."""
    if package.simulated():
        return 0, 0
    major, minor = package.cuda().get_current_device().compute_capability
    return int(major), int(minor)


@functools.cache
def _room(device: int | None, kernel: Kernel) -> int:
    """Blocks that the multiprocessors of a device hold at once."""
    module = package.cuda()
    count = int(module.get_current_device().MULTIPROCESSOR_COUNT)
    per_thread = 32
    with contextlib.suppress(Exception):  # how registers are asked for has changed before; it only tunes the grid
        found = compiled(kernel, _capability(device)).get_regs_per_thread()
        per_thread = max(found.values()) if isinstance(found, dict) else found
    rounded = -(-max(int(per_thread), 16) // 8) * 8
    return count * max(1, min(_MOST_THREADS // THREADS, _REGISTERS // (rounded * THREADS)))


def grid(kernel: Kernel, indices: int, device: int | None) -> tuple[int, int]:
    """Blocks and threads for so many indices."""
    if package.simulated():
        return min(-(-indices // _SIMULATED), 2), _SIMULATED
    needed = -(-indices // THREADS)
    if needed <= _FEWEST:
        return _FEWEST, THREADS
    # The first launch compiles; until then the registers are not known.
    ready = compiled(kernel, _capability(device)).overloads
    return max(_FEWEST, min(needed, _room(device, kernel) if ready else 1024)), THREADS


@functools.cache
def _named(handle: int, device: int | None) -> Any:
    module = package.cuda()
    if handle == _LEGACY and hasattr(module, "legacy_default_stream"):
        return module.legacy_default_stream()
    if handle == _PER_THREAD and hasattr(module, "per_thread_default_stream"):
        return module.per_thread_default_stream()
    return module.external_stream(handle)


def stream(handle: int | None, device: int | None) -> Any:
    """Numba's object for a stream of the driver."""
    return _named(handle, device) if handle and not package.simulated() else 0


@contextlib.contextmanager
def on(device: int | None) -> Iterator[None]:
    """Work with a device; the current one where it is not known."""
    module = package.need_driver()
    if device is None or package.simulated() or module.get_current_device().id == device:
        yield
    else:
        with module.gpus[device]:
            yield


def wait(views: list[View], handle: int | None, device: int | None) -> None:
    """Let a stream wait for what the streams of arrays have still to do."""
    module = package.cuda()
    for other in {view.stream or None for view in views} - {handle or None, None}:
        event = module.event(timing=False)
        event.record(stream(other, device))
        event.wait(stream(handle, device))


def launch(
    kernel: Kernel,
    indices: int,
    arguments: list[int],
    handle: int | None,
    device: int | None,
    configuration: tuple[Any, ...] | None = None,
) -> None:
    """Run a kernel on a stream of the driver; ``configuration`` is (blocks, threads) or (blocks, threads, stream)."""
    blocks, threads, *own = configuration or grid(kernel, indices, device)
    found = compiled(kernel, _capability(device))
    found[blocks, threads, own[0] if own else stream(handle, device)](*arguments)


@functools.cache
def _fitting(kernel: RowKernel, capability: tuple[int, int], threads: int) -> Any:
    """The kernel, with as many registers as there are for so many threads of a block."""
    found = compiled(kernel, capability)
    if package.simulated():
        return found
    with contextlib.suppress(Exception):  # how registers are asked for has changed before; nearly always they suffice
        from numba.core import types

        found.compile((types.int64,) * len(kernel.parameters))
        registers = found.get_regs_per_thread()
        most = max(registers.values()) if isinstance(registers, dict) else registers
        if -(-int(most) // 8) * 8 * threads > _REGISTERS:
            return compiled(kernel, capability, _REGISTERS // threads // 8 * 8)
    return found


def launch_rows(found: Launch, handle: int | None, device: int | None) -> None:
    """Run a kernel over rows on a stream of the driver."""
    wide, high = found.threads
    kernel = _fitting(found.kernel, _capability(device), wide * high)
    blocks = found.blocks if package.simulated() else max(found.blocks, _FEWEST)
    kernel[blocks, found.threads, stream(handle, device), found.geometry.memory](*found.arguments)
