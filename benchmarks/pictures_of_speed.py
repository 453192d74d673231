"""The pictures of the report: speed against accuracy, share of the limit, cost as work grows."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import numpy as np
import summary
from page import pictured
from summary import COPY, LABELS, TIERS, Row

COLOURS = {
    "exact": "#08306b", "fast": "#2171b5", "rough": "#6baed6", "numpy": "#e6550d", "scipy": "#fdae6b",
    "torch": "#d62728", "jax": "#31a354", "numexpr": "#a1d99b", "numba": "#969696", "onnxruntime": "#756bb1",
    "svml": "#252525", "svml_fast": "#636363", "mkl_umath": "#bcbddc",
}  # fmt: skip
BOUNDS = {
    "memory": "#d62728", "multiply pipes": "#2171b5", "add pipes": "#31a354", "vector pipes": "#756bb1",
    "divider": "#e6550d", "renaming": "#8c6d31", "front end": "#636363", "loads": "#e377c2", "stores": "#17becf",
    "one kind": "#bcbd22",
}  # fmt: skip
LEAST, MOST = 0.3, 1e8
"""ULP at the edges of the picture; what is worse stands at the edge."""
MARKS = (0.5, 1, 2, 4, 16, 100, 1e4, 1e8)


def draw(content: Row, folder: Path) -> None:
    """Draw all pictures of a result."""
    import matplotlib

    matplotlib.use("Agg")
    places = pictured(folder)
    _speed(content["rows"], places["speed-accuracy"])
    _limits(content["rows"], places["limits"])
    _growth(content["growth"], places["growth"])


def _speed(rows: list[Row], place: Path) -> None:
    """Elements per nanosecond against the largest error: a point for each function, a cross for the mean."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(11, 8.5), sharex=True, constrained_layout=True)
    seen: dict[str, object] = {}
    for line, dtype in zip(axes, ("float32", "float64"), strict=True):
        for axis, form in zip(line, ("value", "gradient"), strict=True):
            chosen = [row for row in rows if row["dtype"] == dtype and row["form"] == form]
            for label in (label for label in reversed(LABELS) if label in COLOURS):
                points = [(row["ulp"].get(label), row["ns"][label]) for row in chosen if label in row["ns"]]
                known = [(min(max(e, LEAST), MOST), 1 / ns) for e, ns in points if e is not None]
                if not known:
                    continue
                errors, speeds = zip(*known, strict=True)
                ours = label in TIERS
                seen[label] = axis.scatter(
                    errors, speeds, s=22 if ours else 16, color=COLOURS[label], alpha=0.75, linewidths=0,
                    marker="o" if ours else "s", label=LABELS[label], zorder=3 if ours else 2,
                )  # fmt: skip
                if len(known) > 4:
                    middle = geometric_mean(errors), geometric_mean(speeds)
                    axis.scatter(*middle, s=160, color=COLOURS[label], marker="P", edgecolors="white", zorder=5)
            axis.set_xscale("function", functions=(_spread, _gathered))
            axis.set(yscale="log", xlim=(MOST * 4, LEAST / 1.05), title=f"{dtype}, {form}s")
            axis.set_xticks(MARKS, [f"{mark:g}" if mark < 1e4 else f"1e{round(math.log10(mark))}" for mark in MARKS])
            axis.minorticks_off()
            axis.axvline(0.5, color="#bbbbbb", linewidth=0.8, zorder=0)
            axis.grid(True, which="major", color="#eeeeee", zorder=0)
    for axis in axes[1]:
        axis.set_xlabel("largest error, ULP (more accurate to the right; line: correctly rounded)")
    for axis in axes[:, 0]:
        axis.set_ylabel("elements per nanosecond, one thread")
    order = [label for label in LABELS if label in seen]
    handles = [seen[label] for label in order]
    names = [f"fastact {label}" if label in TIERS else LABELS[label] for label in order]
    figure.legend(handles, names, loc="outside lower center", ncols=min(7, len(order)), frameon=False)
    figure.suptitle("Speed against accuracy: one point per function, a cross for the geometric mean; upper right wins")
    figure.savefig(place, dpi=110)
    pyplot.close(figure)


def _spread(errors: Any) -> Any:
    """Where errors stand: most room for those near half a ULP, a doubly logarithmic scale for the others."""
    return np.log2(1 + np.log2(np.maximum(errors, LEAST / 1.1) / (LEAST / 1.2)))


def _gathered(places: Any) -> Any:
    """The errors of places."""
    return LEAST / 1.2 * 2.0 ** (2.0**places - 1)


def _limits(rows: list[Row], place: Path) -> None:
    """The share of the limit of every kernel of fast (filled) and rough (open), coloured by what sets the limit."""
    from matplotlib import pyplot
    from matplotlib.lines import Line2D

    names = list(dict.fromkeys(row["function"] for row in rows))
    figure, axes = pyplot.subplots(
        1, 4, figsize=(12, 1.6 + 0.19 * len(names)), sharey=True, sharex=True, constrained_layout=True
    )
    cases = [(dtype, form) for dtype in ("float32", "float64") for form in ("value", "gradient")]
    seen = {}
    for axis, (dtype, form) in zip(axes, cases, strict=True):
        shares = []
        for row in rows:
            if (row["dtype"], row["form"]) != (dtype, form):
                continue
            level = names.index(row["function"])
            for tier in ("rough", "fast"):
                share, by = summary.share(row, tier), row["floor"][tier]["by"]
                shares.append(share)
                colour = seen[by] = BOUNDS.get(by, "black")
                fill = colour if tier == "fast" else "none"
                axis.scatter(share, level, s=34, facecolors=fill, edgecolors=colour, linewidths=1.3, zorder=3)
        mean = geometric_mean(shares) if shares else math.nan
        axis.set(xlim=(0, 1.2), ylim=(len(names) - 0.4, -0.6), title=f"{dtype} {form}, mean {mean:.0%}")
        axis.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "25%", "50%", "75%", "100%"])
        axis.axvline(0.7, color="#bbbbbb", linewidth=0.9, linestyle="--", zorder=1)
        axis.axvline(1.0, color="#888888", linewidth=0.9, zorder=1)
        axis.grid(True, axis="y", color="#f0f0f0", zorder=0)
    axes[0].set_yticks(range(len(names)), names, fontsize=8)
    marks = [Line2D([], [], marker="o", linestyle="", color=BOUNDS[by], label=by) for by in BOUNDS if by in seen]
    marks += [
        Line2D([], [], marker="o", linestyle="", color="#444444", label="fast"),
        Line2D([], [], marker="o", linestyle="", color="#444444", markerfacecolor="none", label="rough"),
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), frameon=False)
    figure.suptitle("Share of the computed limit; colour: what sets it")
    figure.savefig(place, dpi=100)
    pyplot.close(figure)


def _growth(rows: list[Row], place: Path) -> None:
    """Nanoseconds per element against the number of elements."""
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(9, 5), constrained_layout=True)
    threads = sorted({row["threads"] for row in rows})
    palette = ("#08306b", "#2171b5", "#6baed6", "#31a354", "#888888", "#e6550d")
    for colour, label in zip(palette, rows[0]["ns"], strict=False):
        for count, style in zip(threads, ("-", "--"), strict=False):
            points = [
                (2 ** row["power"], row["ns"][label]) for row in rows if row["threads"] == count and label in row["ns"]
            ]
            if count > 1 and label == "np.exp":
                continue
            words = f"{label}, {count} thread{'s' if count > 1 else ''}"
            axis.plot(*zip(*points, strict=True), style, color=colour, marker=".", label=words)
    axis.set(xscale="log", yscale="log", xlabel="float32 elements", ylabel="nanoseconds per element")
    axis.set_xscale("log", base=2)
    axis.grid(True, which="major", color="#eeeeee")
    axis.legend(fontsize=8, ncols=2, frameon=False)
    axis.set_title(f"Cost as work grows ({COPY} for comparison)")
    figure.savefig(place, dpi=110)
    pyplot.close(figure)
