"""Compiled kernels on disk.

The name of a file is the digest of all that its machine code depends on: the graph, the sources of this package's
back end, the processor with its features, and the compiler's version. So a file can be missing, but it cannot be
stale. Its contents carry their own digest, so that a damaged file is compiled anew. Files appear by an atomic
rename; a folder that cannot be found, read or written is done without. A kernel may have a second name, a symbolic
link; `fastact.cpu.shortcuts` makes these.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fastact.cpu import sources

if TYPE_CHECKING:
    from pathlib import Path

MAGIC = b"fastact kernel 1\n"
SUFFIX, LINK = ".kernel", ".link"


def folder() -> Path:
    """Where kernels are kept: ``FASTACT_CACHE_DIR``, or the user's cache folder."""
    from pathlib import Path  # which takes longer to import than a kernel to load

    return Path(_folder())


def _folder() -> str:
    chosen = os.environ.get("FASTACT_CACHE_DIR")
    if chosen:
        return chosen
    if sys.platform == "win32":
        return os.path.join(os.environ.get("LOCALAPPDATA") or _home("AppData", "Local"), "fastact", "Cache")
    if sys.platform == "darwin":
        return _home("Library", "Caches", "fastact")
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or _home(".cache"), "fastact")


def _home(*parts: str) -> str:
    home = os.path.expanduser("~")
    if home == "~":
        raise OSError("the user has no home")
    return os.path.join(home, *parts)


@functools.cache
def backend_digest() -> str:
    """Digest of the sources that turn a graph into machine code."""
    digest = hashlib.sha256()
    place = os.path.dirname(__file__)
    for path in sorted(entry.path for entry in sources.files(place)):
        with open(path, "rb") as file:
            digest.update(os.path.relpath(path, place).encode() + b"\0" + file.read())
    return digest.hexdigest()


def key(*parts: str) -> str:
    """The name of the kernel that the parts and the back end make; each part counts with its length."""
    digest = hashlib.sha256(backend_digest().encode())
    for part in parts:
        content = part.encode()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()[:40]


def load(name: str, suffix: str = SUFFIX) -> bytes | None:
    """The kernel of that name, or None where there is none or it is damaged."""
    try:
        with open(os.path.join(_folder(), name + suffix), "rb") as file:
            content = file.read()
    except OSError:
        return None
    head = len(MAGIC)
    payload = content[head + 32 :]
    if content[:head] != MAGIC or hashlib.sha256(payload).digest() != content[head : head + 32]:
        return None
    return payload


def store(name: str, payload: bytes) -> bool:
    """Keep a kernel; False where the folder cannot be written."""
    import tempfile

    try:
        place = folder()
        place.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=place, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(MAGIC + hashlib.sha256(payload).digest() + payload)
            os.replace(temporary, place / (name + SUFFIX))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError:
        return False
    return True


def link(name: str, target: str) -> bool:
    """Give a kernel a second name; False where that cannot be done."""
    try:
        place = folder()
        temporary = place / f".new-{os.urandom(8).hex()}"
        temporary.symlink_to(target + SUFFIX)
        try:
            os.replace(temporary, place / (name + LINK))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except (OSError, NotImplementedError):
        return False
    return True


def writable() -> bool:
    """Whether kernels can be kept."""
    import tempfile

    try:
        place = folder()
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            return True
    except OSError:
        return False


def files() -> Iterator[Path]:
    """The files of the cache, those of other versions and processors included."""
    place = folder()
    if place.is_dir():
        yield from place.glob("*" + SUFFIX)


def clear() -> int:
    """Remove all kernels from the disk; returns how many there were."""
    count = 0
    for path in list(files()):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            count += 1
    for path in list(folder().glob("*" + LINK)):
        path.unlink(missing_ok=True)
    return count
