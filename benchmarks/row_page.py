"""The part of the page about functions of rows, norms and gates."""

from __future__ import annotations

from summary import COPY, LABELS, Row
from writing import labels, nanoseconds, table, ulps


def section(content: Row) -> list[str]:
    """A line for each function, form and dtype."""
    rows = content.get("rowwise") or []
    if not rows:
        return []
    columns = labels(rows)
    if any(COPY in row["ns"] for row in rows):
        columns.append(COPY)
    lines = [
        [f"{row['function']} {row['form']}", row["dtype"], *(_cell(row, label) for label in columns)] for row in rows
    ]
    head = ["function", "dtype", *(LABELS[label] for label in columns)]
    said = "64 rows of 1,024; nanoseconds per element."
    return ["", "## Rows and gates", "", said, "", *table(head, lines)]


def _cell(row: Row, label: str) -> str:
    if label not in row["ns"]:
        return ""
    return f"{nanoseconds(row['ns'][label])} ({ulps(row['ulp'].get(label))})".replace(" ()", "")
