"""``plot``: the errors over the inputs, those of the tiers beside those of peers."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import numpy as np

from fastact.accuracy import peers
from fastact.accuracy.measure import INSTALL, Truth, settings
from fastact.accuracy.samples import MODERATE
from fastact.accuracy.ulp import Doubles, Floats, format_of, from_ordinal, nearest, ordinal
from fastact.cli import arguments
from fastact.cli.arguments import Problem
from fastact.cli.output import Progress, progress
from fastact.kernels import Declaration

BINS = 200
"""Places along an axis, each of which shows the largest error found there."""
FLOOR = 1e-2
"""Errors below it, in ULP, are drawn there."""
_STEPS = {"float16": 2, "bfloat16": 20, "float32": 20, "float64": 100}
"""Powers of ten between ticks of an axis on which all floats are equally far apart."""

Curves = dict[tuple[str, str], Doubles]
"""Errors by label and key of the colour."""
FORMATS = ("png", "svg", "pdf")
_COLOURS = {
    "fastact exact": "#08306b", "fastact fast": "#2171b5", "fastact rough": "#6baed6", "numpy": "#4d4d4d",
    "scipy": "#8c6d31", "torch": "#d94801", "jax": "#31a354", "numexpr": "#ce6dbd", "numba": "#969696",
}  # fmt: skip


def run(options: argparse.Namespace) -> int:
    function = arguments.declaration(options.name)
    chosen = arguments.tiers(options.tiers)
    wanted = arguments.peers(options.peers)
    form = "gradient" if options.gradient else "value"
    dtype = arguments.dtype_name(options.dtype)
    values = settings(function, dtype, arguments.parameters(function, options.settings))
    output = Path(options.output or f"{function.name}.png")
    if output.suffix.lstrip(".").lower() not in FORMATS:
        raise Problem(f"{output}: unknown kind of picture; allowed: {', '.join('.' + f for f in FORMATS)}")
    if not output.parent.is_dir():
        raise Problem(f"{output}: there is no folder {output.parent}")
    try:
        importlib.import_module("matplotlib").use("Agg")
    except ImportError:
        raise Problem('plot needs matplotlib: python -m pip install "fastact[plot]"') from None
    everywhere = spread(function, dtype, options.points)
    x = np.concatenate([everywhere, moderate(function, dtype, options.points)])
    task = peers.Task(function, form, x, values)
    with peers.one_thread(), progress(f"measuring {function.name}, {form}, {dtype}") as report:
        libraries = [p for p in peers.candidates(function, form) if p in wanted]
        source, curves, skipped = _curves(task, chosen, libraries, report)
    draw(task, everywhere.size, source, curves, output)
    print(output)
    for name, reason in skipped.items():
        print(f"{name} left out: {reason}")
    return 0


def spread(function: Declaration, dtype: str, count: int) -> Floats:
    """Finite inputs that increase in steps of equal numbers of floats, so that every binade gets its share."""
    form = format_of(dtype)
    limits = nearest(np.clip(np.array(function.domain), -form.largest, form.largest), form).astype(form.dtype)
    low, high = (int(n) for n in ordinal(limits))
    places = np.unique(np.linspace(low, high, count).astype(np.int64))
    return from_ordinal(places, form)


def moderate(function: Declaration, dtype: str, count: int) -> Floats:
    """Inputs in equal steps within 20 of 0, as far as the function lives there."""
    form = format_of(dtype)
    low, high = max(-MODERATE, function.domain[0]), min(MODERATE, function.domain[1])
    return np.unique(nearest(np.linspace(low, high, count), form).astype(form.dtype))


def _curves(
    task: peers.Task, chosen: list[str], libraries: list[str], report: Progress
) -> tuple[str, Curves, dict[str, str]]:
    report("truth", 0.0)
    truth = Truth(task.declaration, task.x, task.parameters, "x" if task.form == "gradient" else None)
    if not truth.known:
        raise Problem(f"there is no truth to draw float64 errors against: {INSTALL}")
    curves: Curves = {}
    skipped = {}
    contestants = [*((peers.ours, t) for t in chosen), *((peers.peer, p) for p in libraries)]
    for place, (make, name) in enumerate(contestants):
        report(name, place / len(contestants))
        try:
            with np.errstate(all="ignore"):
                contestant = make(task, name)
                library = contestant.label if make is peers.ours else contestant.library
                curves[contestant.label, library] = truth.errors(contestant.result())
        except peers.Unavailable as reason:
            skipped[peers.LABELS.get(name, f"fastact {name}")] = str(reason)
    return truth.source, curves, skipped


def draw(task: peers.Task, first: int, source: str, curves: Curves, output: Path) -> None:
    """The picture: the ``first`` inputs over the floats in their order, beside them the others on a plain axis."""
    form = format_of(task.x.dtype)
    infinite = any(not np.isfinite(errors).all() for errors in curves.values())
    top = max([1.0, *(float(errors[np.isfinite(errors)].max(initial=0.0)) for errors in curves.values())])
    ceiling = 10.0 ** float(np.ceil(np.log10(top) + 0.3))
    figure = importlib.import_module("matplotlib.figure").Figure(figsize=(14, 5.5), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    places = ordinal(task.x[:first]).astype(np.float64)
    for axes, along, part in (
        (left, places, slice(0, first)),
        (right, task.x[first:].astype(np.float64), slice(first, None)),
    ):
        axes.axhline(0.5, color="black", linewidth=0.8, linestyle=":", zorder=1, label="0.5: correctly rounded")
        for (label, key), errors in curves.items():
            ours = key.startswith("fastact")
            middles, largest = _binned(along, np.where(np.isfinite(errors[part]), errors[part], ceiling))
            axes.plot(
                middles, np.maximum(largest, FLOOR), label=label, color=_COLOURS[key],
                linewidth=2.2 if ours else 1.2, zorder=3 if ours else 2,
            )  # fmt: skip
        axes.set_yscale("log")
        axes.set_xlim(along[0], along[-1])
        axes.grid(alpha=0.25)
    left.set_ylim(FLOOR, ceiling * (1.5 if infinite else 1.0))
    left.set_xticks(*_ticks(task.x[:first]))
    left.set_xlabel(f"x, all {form.name} numbers in their order")
    right.set_xlabel("x")
    left.set_ylabel("largest error in ULP" + ("; at the top: NaN or infinite" if infinite else ""))
    left.set_title(_title(task, source), loc="left", fontsize=10)
    right.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False)
    figure.savefig(output, dpi=130)


def _binned(along: Doubles, errors: Doubles) -> tuple[Doubles, Doubles]:
    """The middles of places along an axis, and the largest error in each of them that holds any."""
    edges = np.linspace(along[0], along[-1], BINS + 1)
    bins = np.clip(np.searchsorted(edges, along, side="right") - 1, 0, BINS - 1)
    largest = np.full(BINS, -1.0)
    np.maximum.at(largest, bins, errors)
    held = largest >= 0
    return ((edges[:-1] + edges[1:]) / 2)[held], largest[held]


def _title(task: peers.Task, source: str) -> str:
    what = task.declaration.name if task.form == "value" else f"gradient of {task.declaration.name}"
    return f"{what}(x), {task.declaration.formula}{task.described}\n{task.x.size:,} inputs; {source.partition(';')[0]}"


def _ticks(x: Floats) -> tuple[list[float], list[str]]:
    """Places and labels of 0, of 1 and of powers of ten between which all binades lie evenly."""
    form = format_of(x.dtype)
    exponents = [k * _STEPS[form.name] for k in range(-40, 41)]
    powers = [10.0**k for k in exponents if -320 < k < 309 and form.smallest <= 10.0**k <= form.largest]
    values = np.array([*(-p for p in reversed(powers)), 0.0, *powers])
    places = ordinal(nearest(values, form).astype(form.dtype)).astype(np.float64)
    low, high = (float(n) for n in ordinal(x[[0, -1]]))
    space = (high - low) / 20
    kept = [
        (place, f"{value:g}")
        for place, value in zip(places.tolist(), values.tolist(), strict=True)
        if low <= place <= high and (value == 0 or abs(place) > space)
    ]
    return [place for place, _ in kept], [label for _, label in kept]
