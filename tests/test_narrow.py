"""The part of the report about 16 bits: what it makes of measured rows."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def narrow(modules: dict[str, ModuleType]) -> Any:
    return modules["narrow"]


def row(name: str, ours: float, torch: float, single: float) -> dict[str, Any]:
    tiers = {"exact": 2 * ours, "fast": ours, "rough": ours}
    ns = {"float16": {**tiers, "torch": torch}, "float32": dict.fromkeys(tiers, single)}
    return {"function": name, "ns": ns}


def test_figures_name_what_misses(narrow: Any) -> None:
    rows = [row("silu", 0.1, 0.4, 0.2), row("gelu", 0.1, 0.2, 0.2), row("exp", 0.2, 0.1, 0.1)]
    torch, exact, fast, _ = narrow.figures(rows)
    assert torch["kernels"] == 2 and [m["function"] for m in torch["misses"]] == ["gelu"]
    assert [m["function"] for m in fast["misses"]] == ["exp"] and not fast["holds"]
    assert fast["misses"][0]["ratio"] == pytest.approx(0.5) and fast["misses"][0]["dtype"] == "float16"
    assert exact["mean"] == pytest.approx((1.0 * 1.0 * 0.25) ** (1 / 3))
    assert narrow.figures([]) == []


def test_the_table_has_every_function_once(narrow: Any) -> None:
    lines = narrow.section([row("silu", 0.1, 0.4, 0.2), {"function": "odd", "ns": {}}], lambda head, lines: lines)[-2:]
    assert [line[0] for line in lines] == ["silu", "odd"]
    assert lines[0][1:6] == ["0.200", "0.100", "0.100", "0.400", "4.00"] and lines[0][-1] == "0.200"
    assert set(lines[1][1:]) == {""} and len(lines[0]) == len(lines[1])
    assert narrow.section([], list) == []


def test_a_function_is_measured_beside_float32(narrow: Any) -> None:
    with np.errstate(all="ignore"):
        (found,) = narrow.compare(["relu"], 0.005, lambda what: None)
    assert set(found["ns"]["float16"]) >= {"exact", "fast", "rough"} and found["ns"]["float32"]["fast"] > 0
