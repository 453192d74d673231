"""The published accuracy in words, for docstrings; the figures are those of the certificates."""

from __future__ import annotations

import functools
import math
import os
from typing import Any

from fastact.link.arithmetic import DTYPES, TIERS

PATH = os.path.join(os.path.dirname(__file__), "accuracy", "certificates.json")


@functools.cache
def _rows() -> dict[tuple[str, str], dict[tuple[str, str], dict[str, Any]]]:
    """What the certificates say, by function and form, then by dtype and tier; nothing without a file of them."""
    import json

    found: dict[tuple[str, str], dict[tuple[str, str], dict[str, Any]]] = {}
    try:
        with open(PATH, encoding="utf-8") as file:
            for row in json.load(file)["certificates"]:
                found.setdefault((row["function"], row["form"]), {})[row["dtype"], row["tier"]] = row
    except (OSError, ValueError, LookupError, TypeError):  # help is given all the same
        return {}
    return found


def accuracy(function: str, form: str, names: tuple[str, ...] = ()) -> list[str]:
    """Lines that give the largest errors of a form by dtype and tier; none where they have not been measured.

    ``names`` are those of the parameters."""
    rows = _rows().get((function, form), {})
    dtypes = [dtype for dtype in DTYPES if any((dtype, tier) in rows for tier in TIERS)]
    if not dtypes:
        return []
    cells = [["", *TIERS]]
    cells += [[dtype, *(_largest(rows.get((dtype, tier))) for tier in TIERS)] for dtype in dtypes]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    some = next(iter(rows.values()))
    held = " and ".join(f"{name} = {value:.9g}" for name, value in zip(names, some["parameters"], strict=False))
    notes = [f"The largest errors found on {_inputs(rows)}{', with ' + held if held else ''}."]
    roots = sorted({f"{(root['low'] + root['high']) / 2:.4g}" for row in rows.values() for root in row["near_roots"]})
    if roots:
        notes.append(f"Next to the gradient's root {', '.join(roots)}, fast and rough measure them by the terms that")
        notes.append("cancel there.")
    return [*notes, "", *(f"    {line}" for line in table)]


def _inputs(rows: dict[tuple[str, str], dict[str, Any]]) -> str:
    """How many inputs there were, of which dtypes."""
    counts: dict[str, list[str]] = {}
    for dtype in DTYPES:
        own = [row for (d, _), row in rows.items() if d == dtype]
        if own:
            number = min(row["inputs"] for row in own)
            count = "all inputs" if all(row["exhaustive"] for row in own) else f"{number:.3g} inputs"
            counts.setdefault(count.replace("e+0", "e"), []).append(dtype)
    return "; ".join(f"{count} of {', '.join(dtypes)}" for count, dtypes in counts.items())


def _largest(row: dict[str, Any] | None) -> str:
    if row is None:
        return "-"
    if row["misrounded"] == 0 and row["exhaustive"]:
        return "correctly rounded"
    largest = max([row["largest"], *(root["largest"] for root in row["near_roots"])])
    if row["unit"] == "relative":
        return f"2^{_upwards(math.log2(largest), 1):.1f} relative" if largest else "none"
    return f"{_upwards(largest, 4):g} ULP" if largest else "none"


def _upwards(value: float, digits: int) -> float:
    """Rounded up to so many digits after the point."""
    return math.ceil(value * 10**digits) / 10**digits
