"""The sources that kernels follow from, and whether they are still the ones that this process has loaded.

A package may be edited or replaced while a process runs that has imported a part of it. What such a process compiles
must not be kept as what the new sources say. So the state of all files is taken before the first of them is imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

ROOMS = ("kernels", "link", "cpu")
PACKAGE = os.path.dirname(os.path.dirname(__file__))
State = tuple[tuple[str, int, int, int, int], ...]


def files(folder: str) -> Iterator[os.DirEntry[str]]:
    """The Python files of a folder and of those below it."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                yield entry
            elif "." not in entry.name and entry.name != "__pycache__" and entry.is_dir():
                yield from files(entry.path)


def state() -> State:
    """Paths of all files, with all that tells whether one was written to; nothing where they cannot be found."""
    try:
        found = [(e.path, e.stat()) for room in ROOMS for e in files(os.path.join(PACKAGE, room))]
    except OSError:
        return ()
    return tuple(sorted((path, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for path, s in found))


LOADED = state()
"""As the package's import began."""


def unchanged() -> bool:
    """Whether the files are those that were or would be imported."""
    return bool(LOADED) and state() == LOADED
