"""The part of the page about figures: which hold, which kernels miss them, what bounds these."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import figures
import tried
from summary import LABELS, Row
from writing import table

YES = {True: "yes", False: "no"}
TRIALS = (
    "Figures of trials are of the day when they were made, old and new code by turns on one machine, AMD's Zen 5 or "
    "Intel's Emerald Rapids; what lost was not kept, and no command prints them any more."
)


def section(content: Row, others: Iterable[Row] = ()) -> list[str]:
    """Figures, those of other processors, misses, and what was tried."""
    found = figures.every(content)
    said = (
        "How many times as fast, and how many kernels are at least that. Figures without a number are parts of the one "
        "above them."
    )
    out = ["", "## Figures", "", said, "", *_figures(content), *_threads(content), *_elsewhere(others)]
    misses = [
        [
            str(number), miss["function"], miss["form"], miss["dtype"], LABELS[miss["tier"]], LABELS[miss["peer"]],
            f"{miss['ratio']:.2f}", one["wanted"], miss["bound"],
        ]
        for number, one, miss in figures.listed(found)
    ]  # fmt: skip
    if misses:
        head = ["figure", "function", "form", "dtype", "tier", "against", "times as fast", "wanted", "bound by, share"]
        said = (
            "What bounds a kernel is what sets its limit (see below), and the share is that of the limit that it "
            "reaches. Functions of rows and gates have no computed limit; of their time, so much is what a copy of as "
            "many bytes takes, and what the function of one number takes that they compute of every element."
        )
        out += ["", "### Which do not reach them", "", said, "", *table(head, misses)]
    rows = content["rows"]
    return [*out, *_shares(rows), "", "### What was tried", "", TRIALS, "", *tried.lines(rows)]


def _figures(content: Row) -> list[str]:
    """The table of all figures."""
    lines = [
        [str(number or ""), one["figure"], one["wanted"], f"{one['mean']:.2f}", _count(one), YES[one["holds"]]]
        for number, one in figures.numbered(figures.every(content))
    ]
    return table(["", "figure", "at least", "geometric mean", "kernels that reach it", "reached"], lines)


def _elsewhere(others: Iterable[Row]) -> list[str]:
    out = []
    for other in others:
        where = f"{other['processor']} ({other['target']}, {other['cores']} cores seen)"
        when = other["date"].replace("T", " ")
        said = f"Measured on {when} by `{other['command']}`, of what the package was then."
        out += ["", f"### The same on {where}", "", said, "", *_figures(other)]
    return out


def _threads(content: Row) -> list[str]:
    """What more threads are worth on large arrays."""
    out = []
    for dtype, key in figures.GROWN.items():
        rows = [row for row in content.get(key) or [] if row["power"] == figures.LARGE]
        one, most = (choose(rows, key=lambda row: row["threads"], default=None) for choose in (min, max))
        if one is None or one is most:
            continue
        gained = [f"{label} {one['ns'][label] / most['ns'][label]:.2f}" for label in most["ns"] if label != "np.exp"]
        out += [
            "",
            f"On 2^{figures.LARGE} {dtype} elements {most['threads']} threads were so many times as fast as one: "
            f"{', '.join(gained)}.",
        ]
    return out


def _count(figure: Row) -> str:
    """How many kernels reach a figure; nothing where only the mean of all has one."""
    alone = not str(figure["wanted"]).startswith("mean")
    return f"{figure['reached']} of {figure['kernels']}" if alone else ""


def _shares(rows: list[Row]) -> list[str]:
    """The kernels of less than the wanted share of their limit, by what sets it."""
    low = figures.below(rows)
    if not low:
        return []
    groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for row, tier, share in low:
        key = row["dtype"], tier, row["floor"][tier]["by"]
        prime = "'" if row["form"] == "gradient" else ""
        groups[key].append(f"{row['function']}{prime} {share:.0%}")
    lines = [[*key, str(len(names)), ", ".join(names)] for key, names in sorted(groups.items())]
    said = (
        f"{len(low)} of {2 * len(rows)} kernels of `fast` and `rough` are below {figures.SHARE:.0%} of their limit; "
        "the least share stands first, and f' is the gradient of f."
    )
    head = ["dtype", "tier", "limit set by", "kernels", "share of the limit"]
    return ["", "### Which are far from their limit", "", said + _registers(rows, low), "", *table(head, lines)]


def _registers(rows: list[Row], low: list[tuple[Row, str, float]]) -> str:
    """How many of the kernels far from their limit lack registers, beside the others."""
    every = [row["floor"][tier] for row in rows for tier in ("fast", "rough")]
    if any("stack" not in floor for floor in every):
        return ""
    here = sum(bool(row["floor"][tier]["stack"]) for row, tier, _ in low)
    others = sum(bool(floor["stack"]) for floor in every) - here
    return (
        f" {here} of them and {others} of the other {len(every) - len(low)} keep something on the stack in their "
        "loops, for which there is no register."
    )
