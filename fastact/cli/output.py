"""Tables, JSON and progress; rich draws the bar where it is installed and stderr is a terminal."""

from __future__ import annotations

import json
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any


@dataclass
class Table:
    """Rows of text; columns whose names begin with ``<`` are aligned to the left."""

    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    title: str = ""

    def print(self) -> None:
        """On a terminal with our own rows in bold."""
        lines = self.text().split("\n")
        if sys.stdout.isatty() and sys.platform != "win32":
            lines = [f"\033[1m{line}\033[0m" if line.startswith("fastact ") else line for line in lines]
        print("\n".join(lines))

    def text(self) -> str:
        """The table as aligned plain text."""
        names = [name.lstrip("<") for name in self.columns]
        left = [name.startswith("<") for name in self.columns]
        widths = [max(map(len, cells)) for cells in zip(names, *self.rows, strict=True)]
        lines = [self.title] if self.title else []
        for cells in (names, ["-" * w for w in widths], *self.rows):
            parts = [c.ljust(w) if lt else c.rjust(w) for c, w, lt in zip(cells, widths, left, strict=True)]
            lines.append("  ".join(parts).rstrip())
        return "\n".join(lines)


def _rich() -> bool:
    from importlib.util import find_spec

    return find_spec("rich") is not None


def print_json(content: object) -> None:
    """One JSON object; numbers that JSON does not have become the strings inf, -inf and nan."""
    print(json.dumps(_plain(content), indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


class Progress:
    """Called with what is being done and the share of it that is done."""

    def __call__(self, what: str, share: float) -> None:
        raise NotImplementedError


class Bar(Progress):
    """A bar on a terminal."""

    def __init__(self, bar: Any) -> None:
        self._bar, self._task, self._last = bar, bar.add_task("", total=1.0), 0.0

    def __call__(self, what: str, share: float) -> None:
        now = time.monotonic()
        shown = now - self._last >= 0.1
        self._last = now if shown else self._last
        self._bar.update(self._task, description=what, completed=share, refresh=shown)


class Line(Progress):
    """One line that is written over, on a terminal without rich."""

    def __init__(self) -> None:
        self._width, self._last = 0, 0.0

    def __call__(self, what: str, share: float) -> None:
        now = time.monotonic()
        if now - self._last < 0.1:
            return
        self._last = now
        text = f"{what} {share:4.0%}"
        print("\r" + text.ljust(self._width), end="", file=sys.stderr, flush=True)
        self._width = len(text)

    def close(self) -> None:
        print("\r" + " " * self._width + "\r", end="", file=sys.stderr, flush=True)


class Notes(Progress):
    """One line when the work begins, for logs."""

    def __init__(self, headline: str) -> None:
        print(f"fastact: {headline} ...", file=sys.stderr, flush=True)

    def __call__(self, what: str, share: float) -> None:
        return None


class Watched(Progress):
    """Another one, with something to be done before each step."""

    def __init__(self, shown: Progress, check: Callable[[], None]) -> None:
        self._shown, self._check = shown, check

    def __call__(self, what: str, share: float) -> None:
        self._check()
        self._shown(what, share)


@contextmanager
def progress(headline: str) -> Iterator[Progress]:
    """Shows on stderr that work is being done, and sees to it that an interruption ends it."""
    with _interruptions() as check, _shown(headline) as shown:
        yield Watched(shown, check)


@contextmanager
def _interruptions() -> Iterator[Callable[[], None]]:
    """Raises what compiled code has swallowed: an interruption that comes while C calls back into Python gets lost."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before, noted = signal.getsignal(signal.SIGINT), False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal noted
        noted = True
        if callable(before):
            before(number, frame)

    def check() -> None:
        if noted:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        yield check
        check()
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _shown(headline: str) -> Iterator[Progress]:
    if not sys.stderr.isatty():
        yield Notes(headline)
    elif _rich():
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        # No refreshing thread: it would disturb what is being timed.
        with RichProgress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as bar:
            yield Bar(bar)
    else:
        line = Line()
        try:
            yield line
        finally:
            line.close()


def bytes_text(count: int) -> str:
    """A number of bytes for people."""
    size = float(count)
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
