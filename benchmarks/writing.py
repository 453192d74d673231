"""How numbers and tables are written on the page."""

from __future__ import annotations

from summary import COPY, LABELS, Row


def table(head: list[str], lines: list[list[str]]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(line)} |" for line in lines)]


def ulps(error: float | None) -> str:
    if error is None:
        return ""
    if error < 100:
        return f"{error:.2g}" if error >= 0.995 else f"{error:.2f}"
    return f"{error:.0e}".replace("e+0", "e").replace("e+", "e")


def nanoseconds(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB" if count >= 1000 else f"{count} bytes"


def labels(rows: list[Row]) -> list[str]:
    """The contestants of some rows, ours first, in the order of the labels."""
    there = {label for row in rows for label in row["ns"]}
    return [label for label in LABELS if label in there and label != COPY]
