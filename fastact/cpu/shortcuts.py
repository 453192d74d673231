"""The way to a kernel in the cache that needs neither its graph nor LLVM.

A kernel's file is named after its graph, which takes longer to make than to read the file. So there is a link to it,
whose name is the digest of what was asked for, of all sources that answer that, of the processor, and of the compiler
by its version. Any of them may change: then there is no link of that name. Without links, as on systems that have none
or are not known here, everything goes the long way.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys

from fastact.cpu import cache, objects, sources

_FACTS = {
    "vendor_id", "cpu family", "model", "model name", "stepping", "flags",
    "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features",
}  # fmt: skip
"""What a processor is known by on x86-64 and on ARM64; other lines speak of this moment or of this core."""


def _processor() -> bytes:
    """What LLVM chooses a processor's name and features by, as the system and NumPy tell it."""
    from numpy._core._multiarray_umath import __cpu_features__ as features

    with open("/proc/cpuinfo", "rb", buffering=0) as file:
        first = file.read(1 << 16).partition(b"\n\n")[0]
    lines = [line for line in first.split(b"\n") if line.partition(b":")[0].strip().decode() in _FACTS]
    if not lines:
        raise OSError("the processor is not described")
    return b"\n".join([*lines, repr(sorted(features.items())).encode()])


def _compiler() -> bytes:
    from importlib.util import find_spec

    found = find_spec("llvmlite")
    if found is None or not found.origin:
        raise OSError("the compiler is not found")
    with open(os.path.join(os.path.dirname(found.origin), "_version.py"), "rb") as file:
        return file.read()


@functools.cache
def _circumstances() -> bytes:
    """The digest of all but what is asked for; empty where not all of it is known."""
    if not objects.possible():
        return b""
    try:
        digest = hashlib.sha256()
        parts = [_processor(), _compiler(), repr((os.uname().machine, sys.maxsize)).encode()]
        for path, *_ in sources.LOADED:
            with open(path, "rb", buffering=0) as file:
                parts += [os.path.relpath(path, sources.PACKAGE).encode(), file.read()]
        for part in parts:
            digest.update(len(part).to_bytes(8, "little") + part)
    except (OSError, ImportError, ValueError):
        return b""
    return digest.digest() if sources.unchanged() else b""


def _name(asked: tuple[str, ...]) -> str:
    return hashlib.sha256(_circumstances() + "\0".join(asked).encode()).hexdigest()[:40]


def address(*asked: str, symbol: str = "kernel") -> int:
    """The address of the kernel that was asked for in these words; 0 where it has to be looked for by its graph."""
    if not _circumstances():
        return 0
    code = cache.load(_name(asked), cache.LINK)
    return objects.load(code, symbol) if code else 0


def remember(name: str, *asked: str) -> None:
    """From now on, these words stand for the kernel in the cache of that name."""
    if _circumstances() and sources.unchanged():
        cache.link(_name(asked), name)
