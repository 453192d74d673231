"""The part of the page about functions of rows, norms, gates and steps."""

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
    said = "64 rows of 1,024, every call with a new array; nanoseconds per element, and the largest error in ULP."
    if COPY in columns:
        said += (
            " Gradients of the softmax family begin with the output, and their errors are those for the output that "
            "the contestant has; JAX computes it once more. The errors of gradients with several results are those of "
            "the first. Numba has leave to reorder sums (`fastmath=True`), or it computes them one element after the "
            "other. The copy is of as many bytes as a function reads and writes at least."
        )
    return ["", "## Rows and gates", "", said, "", *table(head, lines), *shapes(content)]


def _cell(row: Row, label: str) -> str:
    if label not in row["ns"]:
        return ""
    return f"{nanoseconds(row['ns'][label])} ({ulps(row['ulp'].get(label))})".replace(" ()", "")


def shapes(content: Row) -> list[str]:
    """Tables of other shapes and of steps."""
    out: list[str] = []
    rows = content.get("shapes") or []
    if rows:
        columns = labels(rows)
        lines = []
        for row in rows:
            cells = [nanoseconds(row["ns"][label]) if label in row["ns"] else "" for label in columns]
            lines.append([row["function"], " x ".join(f"{n:,}" for n in row["shape"]), *cells])
        said = "Nanoseconds per float32 element, results in an array that is there already."
        head = ["function", "shape", *(LABELS[label] for label in columns)]
        out += ["", "### Rows of other shapes", "", said, "", *table(head, lines)]
    rows = content.get("steps") or []
    if rows:
        columns = [label for label in ("momentum", COPY, "torch") if label in rows[0]["GB_per_s"]]
        lines = [[f"{row['size']:,}", *(f"{row['GB_per_s'][label]:.0f}" for label in columns)] for row in rows]
        said = (
            "Gigabytes of float32 read and written per second by a step with velocity, which reads three arrays and "
            "writes two, beside a copy of as many bytes and PyTorch's SGD."
        )
        head = ["elements", *(LABELS.get(label, label) for label in columns)]
        out += ["", "### Steps", "", said, "", *table(head, lines)]
    return out
