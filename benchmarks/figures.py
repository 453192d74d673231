"""The figures that were set, and which kernels miss them. All from measured rows; nothing is measured here.

A figure that is a part of the one above it, such as the gradients among all kernels, says how its part does; its misses
stand with those of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import narrow
from summary import (
    ELEMENTARY,
    LABELS,
    SIX,
    SVML,
    TIERS,
    Row,
    bound_by_memory,
    comparable,
    fastest,
    figure,
    peers,
    ratio,
    share,
    with_inner,
)
from writing import ulps

Found = list[tuple[Row, str, str, float]]
"""A row, a tier, a peer and a ratio for each kernel."""
SHARE = 0.7
"""Of the computed limit, on average."""
BANDWIDTH = 0.85
"""Of a copy, on large arrays and all cores."""
LARGE = 26
"""The logarithm of their elements."""
HALF_AGAIN = ("elu", "selu", "softplus", "tanh", "erf", "log1p", "expm1")
"""Functions whose ``exact`` is to be 1.5 times as fast as PyTorch's."""
AGAINST_TORCH = 1.5
GROWN = {"float32": "growth", "float64": "growth64"}
"""Where the results of arrays of many sizes are."""


def every(content: Row) -> list[Row]:
    """All figures of a result, those left out for which nothing was measured."""
    rows = content["rows"]
    rowwise = with_inner(content.get("rowwise") or [], rows)
    found = fast(rows) + exact(rows) + with_torch(rows) + double(rows) + rough(rows) + limits(rows)
    found += narrow.figures(content.get("narrow") or []) + of_rows(rowwise) + large(content)
    return [one for one in found if one["kernels"]]


def good(row: Row) -> list[str]:
    """The peers whose error is comparable with that of ``fast``."""
    return [label for label in peers(row) if comparable(row, label)]


def plain(row: Row) -> list[str]:
    """The peers without SVML."""
    return [label for label in peers(row) if label not in SVML]


def torch(row: Row) -> list[str]:
    return [label for label in peers(row) if label == "torch"]


def against(rows: Iterable[Row], tier: str, choose: Callable[[Row], list[str]]) -> Found:
    """How many times as fast as the quickest of the chosen peers a tier is."""
    found = []
    for row in rows:
        peer = fastest(row, choose(row)) if tier in row["ns"] else None
        if peer is not None:
            found.append((row, tier, peer, ratio(row, tier, peer)))
    return found


def of(rows: Iterable[Row], **wanted: str) -> list[Row]:
    """The rows whose entries are these."""
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def fast(rows: list[Row]) -> list[Row]:
    found = []
    title = "fast against the fastest peer within 4 ULP, SVML included"
    for dtype in ("float32", "float64"):
        chosen = of(rows, dtype=dtype)
        if dtype == "float32":
            quick, least, name = SIX, 2.0, ", ".join(SIX)
            rest = "every other function"
        else:
            quick, least, name = ELEMENTARY, 3.0, "elementary functions"
            rest = "composites"
        few = [row for row in chosen if row["function"] in quick]
        others = [row for row in chosen if row["function"] not in quick]
        found.append(figure(f"{dtype} {title}: {name}", "1.2", against(few, "fast", good), 1.2))
        found.append(figure(f"{dtype} {title}: {rest}", f"{least:g}", against(others, "fast", good), least))
        for words, memory in (("that compute", False), ("bound by memory", True)):
            part = [row for row in others if bound_by_memory(row) is memory]
            found.append(
                figure(f"of these, {words}", f"{least:g}", against(part, "fast", good), least, part=True)
            )
    return found


def exact(rows: list[Row]) -> list[Row]:
    """float32, beside the fastest peer without SVML, whatever its error."""
    single = of(rows, dtype="float32")
    title, wanted = "float32 exact against the fastest peer without SVML, whatever its error", "1, mean 2"
    found = [figure(title, wanted, against(single, "exact", plain), 1.0, 2.0)]
    for form, words in (("value", "values"), ("gradient", "gradients, ours from the input")):
        part = against(of(single, form=form), "exact", plain)
        found.append(figure(f"of these, {words}", wanted, part, 1.0, 2.0, part=True))
    return [*found, *from_output(single)]


def from_output(rows: list[Row]) -> list[Row]:
    """Gradients where a peer computes them from the output: ours from the output, too, have the same to do."""
    same = against(of(rows, form="gradient"), "exact_output", lambda row: list(row.get("from_output", ())))
    title = "float32 exact gradients from the output against peers that go from it, too"
    return [figure(title, "1, mean 2", same, 1.0, 2.0)]


def with_torch(rows: list[Row]) -> list[Row]:
    """float32, beside PyTorch."""
    single = of(rows, dtype="float32")
    title = "float32 exact against PyTorch, every function both have"
    found = [figure(title, "1", against(single, "exact", torch), 1.0)]
    for form, words in (("value", "values"), ("gradient", "gradients, ours from the input")):
        part = against(of(single, form=form), "exact", torch)
        found.append(figure(f"of these, {words}", "1", part, 1.0, part=True))
    more = of(single, form="value")
    most = [row for row in more if row["function"] in HALF_AGAIN]
    title = f"float32 exact against PyTorch: {', '.join(HALF_AGAIN)}"
    wanted = f"{AGAINST_TORCH:g}"
    found.append(figure(title, wanted, against(most, "exact", torch), AGAINST_TORCH))
    slopes = [row for row in of(single, form="gradient") if row["function"] in HALF_AGAIN]
    found.append(figure("the same of their gradients", wanted, against(slopes, "exact", torch), AGAINST_TORCH))
    gelu = of(single, function="gelu")
    wrong = [
        f"{row['form']} {ulps(row['ulp']['fast'])} for {ulps(row['ulp']['torch'])}"
        for row in gelu
        if {"fast", "torch"} <= set(row["ulp"])
    ]
    title = f"float32 gelu fast against PyTorch (largest errors in ULP: {', '.join(wrong)})"
    return [*found, figure(title, wanted, against(gelu, "fast", torch), AGAINST_TORCH)]


def double(rows: list[Row]) -> list[Row]:
    found = []
    for peer, least in (("numpy", 1.0), ("torch", 0.0)):
        wanted = "1" if least else "mean 1"
        among = against(of(rows, dtype="float64"), "exact", lambda row, peer=peer: [peer] * (peer in row["ns"]))
        found.append(figure(f"float64 exact against {LABELS[peer]}", wanted, among, least, 1.0))
    return found


def rough(rows: list[Row]) -> list[Row]:
    found = []
    for dtype, least in (("float32", 1.5), ("float64", 1.2)):
        compute = [row for row in of(rows, dtype=dtype) if not bound_by_memory(row)]
        among = [(row, "rough", "fast", ratio(row, "rough", "fast")) for row in compute]
        found.append(figure(f"{dtype} rough against fast, functions that compute", f"{least}", among, least))
    return found


def limits(rows: list[Row]) -> list[Row]:
    found = []
    for dtype in ("float32", "float64"):
        shares = [(row, t, "limit", share(row, t)) for row in of(rows, dtype=dtype) for t in ("fast", "rough")]
        title = f"{dtype} share of the computed limit, fast and rough"
        found.append(figure(title, f"mean {SHARE}", shares, 0.0, SHARE))
        calls = [(row, t, "limit", row["floor"][t]["ns"] / row["ns"][t]) for row, t, *_ in shares]
        found.append(figure("the same of whole calls, new arrays among them", f"mean {SHARE}", calls, 0.0, SHARE, True))
    return found


def below(rows: list[Row], least: float = SHARE) -> list[tuple[Row, str, float]]:
    """The kernels of fast and rough that reach less of their limit, the least first."""
    found = [(row, tier, share(row, tier)) for row in rows for tier in ("fast", "rough")]
    return sorted((one for one in found if one[2] < least), key=lambda one: one[2])


def large(content: Row) -> list[Row]:
    """The share of a copy's bandwidth on large arrays and all cores, of the kernels of ``fast``."""
    found = []
    for dtype, key in GROWN.items():
        rows = [row for row in content.get(key) or [] if row["power"] == LARGE]
        if not rows:
            continue
        row = max(rows, key=lambda row: row["threads"])
        copy, about = row["ns"]["np.copyto"], {"form": "value", "dtype": dtype, "by": "memory"}
        shares = [
            ({**about, "function": label.removesuffix(" fast")}, "fast", "copy", copy / taken)
            for label, taken in row["ns"].items()
            if label.endswith(" fast")
        ]
        title = f"2^{LARGE} {dtype} elements, {row['threads']} threads, fast: share of a copy's bandwidth"
        found.append(figure(title, f"{BANDWIDTH}", shares, BANDWIDTH))
    return found


# -- rows and gates ---------------------------------------------------------------------------------------------------
def of_rows(rows: list[Row]) -> list[Row]:
    """The same criteria for functions of rows, norms and gates; all of them are composites."""
    if not rows:
        return []
    found = []
    single = of(rows, dtype="float32")
    name = "rows, norms and gates"
    for dtype, least in (("float32", 2.0), ("float64", 3.0)):
        title = f"{name}, {dtype} fast against the fastest peer within 4 ULP"
        found.append(figure(title, f"{least:g}", against(of(rows, dtype=dtype), "fast", good), least))
    title = f"{name}, float32 exact against the fastest peer, whatever its error"
    found.append(figure(title, "1, mean 2", against(single, "exact", plain), 1.0, 2.0))
    found.append(figure(f"{name}, float32 exact against PyTorch", "1", against(single, "exact", torch), 1.0))
    for peer, least in (("numpy", 1.0), ("torch", 0.0)):
        wanted = "1" if least else "mean 1"
        among = against(of(rows, dtype="float64"), "exact", lambda row, peer=peer: [peer] * (peer in row["ns"]))
        found.append(figure(f"{name}, float64 exact against {LABELS[peer]}", wanted, among, least, 1.0))
    for dtype, least in (("float32", 1.5), ("float64", 1.2)):
        compute = [row for row in of(rows, dtype=dtype) if "copy" in row["ns"] and not near_copy(row)]
        among = [(row, "rough", "fast", ratio(row, "rough", "fast")) for row in compute if set(TIERS) <= set(row["ns"])]
        found.append(figure(f"{name}, {dtype} rough against fast, where they compute", f"{least}", among, least))
    return found


def near_copy(row: Row) -> bool:
    """Whether ``fast`` takes less than twice as long as a copy of as many bytes."""
    return bool(row["ns"]["fast"] < 2 * row["ns"]["copy"])


def listed(found: list[Row]) -> list[tuple[int, Row, Row]]:
    """All misses with the number and the figure that they belong to, parts left out."""
    lines: list[tuple[int, Row, Row]] = []
    for number, one in numbered(found):
        if number is not None:
            lines += [(number, one, miss) for miss in one["misses"]]
    return lines


def numbered(found: list[Row]) -> list[tuple[int | None, Row]]:
    """The figures with their numbers; parts have none."""
    count, lines = 0, []
    for one in found:
        count += not one["part"]
        lines.append((None if one["part"] else count, one))
    return lines


