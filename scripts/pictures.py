"""Draws a function and its gradient, for scripts/families.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fastact.accuracy.measure import settings
from fastact.function import FUNCTIONS
from fastact.kernels import Declaration

REACH = 5.0
LOWEST, HIGHEST = -4.0, 6.0
"""What is shown of the axes."""
POINTS = 4001
VALUE, GRADIENT = "#08519c", "#e6550d"
JUMP = 0.1
"""A step between neighbouring points beyond which the curve is not drawn through."""


def span(declaration: Declaration) -> tuple[float, float]:
    """Where along x the function is drawn."""
    low, high = declaration.domain
    edge = max((abs(c) + 1.0 for c in declaration.critical), default=0.0) if declaration.silent else 0.0
    return max(-max(REACH, edge), low), min(max(REACH, edge), high)


def curve(y: Any) -> Any:
    """The points with gaps where the curve jumps or is no number."""
    y = np.where(np.isfinite(y), y, np.nan)
    y[1:][np.abs(np.diff(y)) > JUMP] = np.nan
    return y


def draw(declaration: Declaration, place: Path) -> None:
    """One small picture; parameters are at their defaults, or where the tests have those without."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    function = FUNCTIONS[declaration.name]
    low, high = span(declaration)
    x = np.linspace(low, high, POINTS)
    par: dict[str, Any] = dict(zip(function.parameters, settings(declaration, "float64"), strict=True))
    with np.errstate(all="ignore"):
        y, slope = curve(function(x, **par)), curve(function.grad(x, **par))
    figure = Figure(figsize=(3.4, 2.4), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0.0, color="#bbbbbb", linewidth=0.7, zorder=1)
    if low < 0.0 < high:
        axes.axvline(0.0, color="#bbbbbb", linewidth=0.7, zorder=1)
    axes.plot(x, slope, color=GRADIENT, linewidth=1.3, label="gradient", zorder=2)
    axes.plot(x, y, color=VALUE, linewidth=1.8, label=declaration.name, zorder=3)
    both = np.concatenate([y, slope])
    bottom, top = max(LOWEST, float(np.nanmin(both))), min(HIGHEST, float(np.nanmax(both)))
    room = 0.07 * (top - bottom)
    axes.set_ylim(bottom - room, top + room)
    axes.set_xlim(low, high)
    if par:
        axes.set_title(", ".join(f"{name} = {value:.4g}" for name, value in par.items()), fontsize=7, loc="right")
    axes.tick_params(labelsize=7, length=2)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(fontsize=7, frameon=False, loc="best", handlelength=1.2)
    figure.savefig(place, dpi=110, metadata={"Software": None})
