"""The figures of the report and what is said beside them: ratios, misses, limits, trials."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def figures(modules: dict[str, ModuleType]) -> Any:
    return modules["figures"]


def row(function: str = "mish", form: str = "value", dtype: str = "float32", **ns: float) -> dict[str, Any]:
    given = {"exact": 0.5, "fast": 0.2, "rough": 0.1, "copy": 0.05, **ns}
    errors = {"exact": 0.5, "fast": 2.0, "rough": 2000.0, **dict.fromkeys(ns, 1.0)}
    own = {tier: given[tier] for tier in ("exact", "fast", "rough")}
    floor = {tier: {"ns": taken * 0.8, "by": "vector pipes", "instructions": 10} for tier, taken in own.items()}
    facts = {"function": function, "form": form, "dtype": dtype, "cycle": 0.25, "digest": {}, "skipped": {}}
    return {**facts, "ns": given, "ulp": errors, "floor": floor, "kernel": own}


def test_a_wrong_peer_is_not_comparable(summary: Any) -> None:
    one = row(torch=0.4, jax=0.1)
    one["ulp"]["jax"] = 5.0
    assert summary.peers(one) == ["torch", "jax"]
    good = [label for label in summary.peers(one) if summary.comparable(one, label)]
    assert summary.fastest(one, good) == "torch" and summary.fastest(one, summary.peers(one)) == "jax"
    assert summary.ratio(one, "fast", "torch") == pytest.approx(2.0)
    assert summary.share(one, "fast") == pytest.approx(0.8)
    one["ulp"].pop("torch")
    assert not summary.comparable(one, "torch"), "a peer without a known error is not comparable"
    one["ulp"]["fast"] = 6.0
    assert summary.comparable(one, "jax"), "where fast may be as wrong, near a root"


def found(figures: Any, rows: list[dict[str, Any]], words: str, **more: Any) -> dict[str, Any]:
    """The one figure, of these rows, with these words."""
    (one,) = (f for f in figures.every({"rows": rows, **more}) if words in f["figure"])
    return one  # type: ignore[no-any-return]


def test_figures_name_what_misses(figures: Any) -> None:
    rows = [row("mish", torch=0.5), row("gelu", torch=0.32), row("exp", torch=0.3), row("elu", numpy=0.4, svml=0.25)]
    rows += [row("silu", dtype="float64", torch=0.4, numpy=0.6), row("relu", torch=0.21)]
    rows[-1]["floor"]["fast"]["by"] = "memory"
    six = found(figures, rows, "SVML included: exp, log")
    assert six["kernels"] == 1 and six["holds"]
    others = found(figures, rows, "SVML included: every other")
    assert [m["function"] for m in others["misses"]] == ["relu", "elu", "gelu"], "what memory bounds is judged alike"
    assert others["misses"][1]["peer"] == "svml" and others["misses"][0]["bound"] == "memory, 80%"
    assert others["reached"] == 1 and not others["holds"]
    memory = found(figures, rows, "bound by memory")
    assert memory["kernels"] == 1 and memory["part"] and not memory["holds"]
    exact = found(figures, rows, "whatever its error")
    assert "svml" not in {m["peer"] for m in exact["misses"]}
    assert found(figures, rows, "composites")["misses"][0]["ratio"] == pytest.approx(2.0)
    gelu = found(figures, rows, "gelu fast")
    assert gelu["kernels"] == 1 and gelu["mean"] == pytest.approx(1.6) and gelu["holds"]
    assert found(figures, rows, "every function both have")["kernels"] == 4
    assert found(figures, rows, "float32 rough against fast, functions that compute")["kernels"] == 4
    rows += [row("elu", torch=0.7), row("mish", dtype="float64", torch=0.6), row("gelu", dtype="float64", numpy=0.4)]
    assert found(figures, rows, "exact against PyTorch: elu, selu")["kernels"] == 1
    torch, numpy = (found(figures, rows, f"float64 exact against {peer}") for peer in ("PyTorch", "NumPy"))
    assert (torch["kernels"], numpy["kernels"]) == (2, 2), "those that they have"
    assert [m["function"] for m in numpy["misses"]] == ["gelu"] and not torch["misses"]
    assert [f["figure"] for f in figures.every({"rows": rows}) if not f["kernels"]] == [], "what was not measured"


def test_what_is_wanted_is_reached_by_as_much_and_by_the_mean(figures: Any) -> None:
    rows = [row("mish", torch=0.75, jax=0.8), row("elu", torch=0.5)]
    exact = found(figures, rows, "whatever its error")
    assert (exact["reached"], exact["kernels"]) == (2, 2) and exact["mean"] == pytest.approx(1.5**0.5)
    assert not exact["holds"], "the mean is too small"
    assert found(figures, rows, "exact against PyTorch, every function")["holds"], "of which no mean is wanted"
    rows[0]["ns"] |= {"fast": 0.25, "torch": 0.5}
    assert not [m for m in found(figures, rows, "every other function")["misses"] if m["ratio"] == 2.0]


def test_misses_are_listed_once_with_the_number_of_their_figure(figures: Any) -> None:
    every = figures.every({"rows": [row("tanh", "gradient", torch=0.3), row("mish", torch=0.3)]})
    numbers = [number for number, _ in figures.numbered(every) if number is not None]
    assert numbers == list(range(1, len(numbers) + 1))
    listed = [(one["figure"], miss["function"], miss["form"]) for _, one, miss in figures.listed(every)]
    assert len(set(listed)) == len(listed)
    assert all(not one["part"] for _, one, _ in figures.listed(every))
    assert any(one["part"] and one["misses"] for one in every)


def test_gradients_from_the_output_are_figures_of_their_own(figures: Any, summary: Any) -> None:
    """They stand beside peers that go from the output, too, and are no peers themselves."""
    ours = {"exact_output": 0.1, "fast_output": 0.05}
    rows = [row("tanh", "gradient", torch=0.3, **ours), row("silu", "gradient", torch=0.4), row("mish", torch=0.9)]
    words = "from the output"
    assert all(words not in f["figure"] for f in figures.every({"rows": rows})), "where no peer goes from the output"
    rows[0]["from_output"] = ["torch"]
    back = found(figures, rows, words)
    assert (back["kernels"], back["reached"], back["mean"]) == (1, 1, pytest.approx(3.0))
    forth = [f for f in figures.every({"rows": rows}) if "from the input" in f["figure"]]
    assert {(f["kernels"], f["reached"]) for f in forth} == {(2, 0)}
    assert forth[0]["mean"] == pytest.approx((0.6 * 0.8) ** 0.5)
    rows[0]["ns"]["exact_output"] = 0.6
    back = found(figures, rows, words)
    assert back["misses"][0]["tier"] == "exact_output" and not back["holds"]
    assert summary.peers(rows[0]) == ["torch"]


def test_kernels_far_from_their_limit_are_listed(figures: Any) -> None:
    rows = [row("mish"), row("gelu")]
    rows[1]["kernel"]["rough"] = 0.2
    assert [(r["function"], tier, share) for r, tier, share in figures.below(rows)] == [
        ("gelu", "rough", pytest.approx(0.4))
    ]
    rows[0]["kernel"]["rough"] = 0.4
    assert [r["function"] for r, _, _ in figures.below(rows)] == ["mish", "gelu"], "the farthest first"


def test_numbers_of_16_bits_are_judged_one_by_one(figures: Any) -> None:
    taken = {"exact": 0.3, "fast": 0.2, "rough": 0.1}
    more = {"exact": 0.1, "fast": 0.2, "rough": 0.11, "torch": 0.5}
    narrow = [{"function": "mish", "ns": {"float32": taken, "float16": more}}]
    given = [row("mish")]
    assert found(figures, given, "16 bits exact", narrow=narrow)["holds"]
    assert [m["dtype"] for m in found(figures, given, "16 bits rough", narrow=narrow)["misses"]] == ["float16"]
    against = found(figures, given, "16 bits fast against PyTorch", narrow=narrow)
    assert against["misses"][0]["ratio"] == pytest.approx(2.5) and against["misses"][0]["bound"] == ""
    narrow[0]["floor"] = {"float16": {"fast": {"ns": 0.1, "by": "loads"}}}
    narrow[0]["kernel"] = {"float16": {"fast": 0.2}}
    assert found(figures, given, "16 bits fast against P", narrow=narrow)["misses"][0]["bound"] == "loads, 50%"


def test_rows_and_gates_are_judged_and_what_takes_their_time_is_said(figures: Any) -> None:
    given = [row("exp"), row("silu")]
    gate = {"function": "swiglu", "form": "value", "dtype": "float32", "activation": "silu"}
    gate |= {"ns": {"exact": 1.0, "fast": 0.4, "rough": 0.2, "copy": 0.1, "torch": 0.5}, "ulp": {"torch": 2.0}}
    rowwise = [gate, {**gate, "function": "softmax", "activation": "", "ns": {**gate["ns"], "torch": 3.0}}]
    fast = found(figures, given, "norms and gates, float32 fast", rowwise=rowwise)
    assert [(m["function"], m["bound"]) for m in fast["misses"]] == [("swiglu", "copy 25%, silu 50%")]
    exact = found(figures, given, "norms and gates, float32 exact against the fastest", rowwise=rowwise)
    assert [(m["function"], m["bound"]) for m in exact["misses"]] == [("swiglu", "copy 10%, silu 50%")]
    assert found(figures, given, "gates, float32 rough", rowwise=rowwise)["kernels"] == 2
    softmax = {**gate, "function": "log_softmax", "form": "gradient", "activation": "", "from_output": []}
    (miss,) = found(figures, given, "norms and gates, float32 fast", rowwise=[softmax])["misses"]
    assert miss["bound"] == "copy 25%, exp 50%", "it computes exp itself, not its gradient"
    rowwise.append({**gate, "function": "reglu", "ns": {**gate["ns"], "fast": 0.19}})
    assert found(figures, given, "gates, float32 rough", rowwise=rowwise)["kernels"] == 2, "a copy takes as long"


def test_svml_is_scaled_by_the_yardstick(summary: Any) -> None:
    rows = [row("exp", numpy=0.3), row("mish"), row("mish", form="gradient")]
    svml = {
        "rows": [
            {
                "function": "mish", "dtype": "float32", "ns": {"svml": 1.0, "numpy exp": 0.6}, "max_ulp": {"svml": 1.5},
            },
        ]
    }  # fmt: skip
    summary.with_svml(rows, svml)
    assert rows[1]["ns"]["svml"] == pytest.approx(0.5) and rows[1]["ulp"]["svml"] == 1.5
    assert "svml" not in rows[2]["ns"] and "numpy exp" not in rows[1]["ns"]
    summary.with_svml(rows, None)


def test_bandwidth_is_that_of_all_threads(figures: Any) -> None:
    growth = [
        {"threads": 1, "power": 26, "ns": {"exp fast": 0.2, "np.copyto": 0.1}},
        {"threads": 2, "power": 26, "ns": {"exp fast": 0.125, "mish exact": 1.0, "np.copyto": 0.1}},
    ]
    one = found(figures, [row()], "2^26 float64 elements, 2 threads", growth64=growth)
    assert (one["kernels"], one["mean"]) == (1, pytest.approx(0.8))
    assert [(m["function"], m["peer"]) for m in one["misses"]] == [("exp", "copy")]
    assert all("2^26" not in f["figure"] for f in figures.every({"rows": [row()]}))


def test_rows_with_svml_are_scaled_too(summary: Any) -> None:
    measured = {"function": "softmax", "dtype": "float32", "ns": {"svml": 1.0, "numpy exp": 0.6}, "max_ulp": {}}
    softmax = {"function": "softmax", "form": "value", "dtype": "float32", "ns": {"numpy": 2.0}, "ulp": {}}
    content = {"rows": [row("exp", numpy=0.3)], "rowwise": [softmax], "svml": {"rows": [], "rowwise": [measured]}}
    summary.with_svml_rows(content)
    assert softmax["ns"] == {"numpy": 2.0, "svml": pytest.approx(0.5)} and softmax["ulp"] == {}


# -- words ------------------------------------------------------------------------------------------------------------
def test_what_is_said_of_kernels_comes_from_the_rows(modules: dict[str, ModuleType]) -> None:
    rows = [row("sqrt"), row("softsign"), row("mish")]
    for tier in ("fast", "rough"):
        rows[0]["floor"][tier]["by"] = "divider"
    rows[1]["floor"]["exact"]["instructions"] = 77
    rows[1]["floor"]["rough"]["by"] = "divider"
    rows.append(row("rsqrt", dtype="float64"))
    for tier in ("fast", "rough"):
        rows[-1]["floor"][tier]["by"] = "divider"
    said = modules["tried"].lines(rows)
    assert any("for sqrt in float32 and rsqrt in float64:" in line for line in said)
    assert any("softsign 10 and 77" in line for line in said)
    assert not any("arithmetic in float64" in line for line in said), "nothing is said of what was not measured"
    for one in rows:
        one["floor"]["exact"]["doubles"] = int(one["function"] == "mish")
    assert modules["tried"].lines(rows)[-1].endswith("in float64: mish.")


def test_lack_of_registers_is_counted(modules: dict[str, ModuleType]) -> None:
    rows = [row("mish"), row("gelu")]
    rows[0]["kernel"]["fast"] = 1.0
    words = modules["figure_page"].section({"rows": rows})
    assert any("1 of 4 kernels" in line and "stack" not in line for line in words)
    for one in rows:
        for tier in ("fast", "rough"):
            one["floor"][tier]["stack"] = int(one["function"] == "mish")
    said = " ".join(modules["figure_page"].section({"rows": rows}))
    assert "1 of them and 1 of the other 3 keep something on the stack" in said
    rows[0]["floor"]["fast"]["stack"] = 0
    said = " ".join(modules["figure_page"].section({"rows": rows}))
    assert "0 of them and 1 of the other 3 keep something on the stack" in said


def test_threads_are_compared_with_one(modules: dict[str, ModuleType]) -> None:
    growth = [{"threads": n, "power": 26, "ns": {"exp fast": 0.4 / n, "np.copyto": 0.2}} for n in (1, 2)]
    section = modules["figure_page"].section({"rows": [row()], "growth": growth})
    said = " ".join(section)
    assert "2 threads were so many times as fast as one: exp fast 2.00, np.copyto 1.00." in said
    growth[1]["ns"]["np.exp"] = growth[0]["ns"]["np.exp"] = 0.3
    assert modules["figure_page"].section({"rows": [row()], "growth": growth}) == section, "which has one thread"
    alone = " ".join(modules["figure_page"].section({"rows": [row()], "growth": growth[:1]}))
    assert "so many times" in said and "times as fast as one" not in alone


def test_kernels_are_counted_where_each_is_to_reach_a_figure(modules: dict[str, ModuleType]) -> None:
    lines = modules["figure_page"].section({"rows": [row(torch=0.4), row(dtype="float64", torch=0.4)]})
    words = "32 exact against PyTorch, ", "limit, "
    torch, limit = (next(line for line in lines if said in line) for said in words)
    assert torch.split(" | ")[4:] == ["0 of 1", "no |"]
    assert limit.split(" | ")[2:] == [f"mean {modules['figures'].SHARE}", "0.80", "", "yes |"]


def test_other_shapes_and_steps_are_shown(modules: dict[str, ModuleType]) -> None:
    content = {
        "shapes": [{"function": "softmax", "shape": [512, 1024], "ns": {"fast": 0.25, "torch": 0.5}}],
        "steps": [{"size": 65536, "GB_per_s": {"momentum": 34.2, "copy": 117.0}}],
    }
    lines = modules["row_page"].shapes(content)
    assert "| softmax | 512 x 1,024 | 0.250 | 0.500 |" in lines and "| 65,536 | 34 | 117 |" in lines
    assert modules["row_page"].shapes({}) == []


def test_compiling_everything_is_told(modules: dict[str, ModuleType], tmp_path: Path, monkeypatch: Any) -> None:
    warming = modules["warming"]
    monkeypatch.setattr(warming, "RESULT", tmp_path / "warming.json")
    assert warming.section() == []
    facts = {"loaded": 5432, "compiled": 2000, "bytes": 5e7, "seconds": 301.2, "cores": 2, "processor": "one"}
    facts |= {"date": "2026-01-01T10:00", "command": "this", "failed": 0}
    for seconds, words in ((301.2, "not reached"), (188.0, ": reached")):
        warming.RESULT.write_text(json.dumps({**facts, "seconds": seconds}))
        (line,) = (line for line in warming.section() if "kernels" in line)
        assert "5,432 kernels" in line and words in line
    warming.RESULT.write_text(json.dumps({**facts, "seconds": 188.0, "failed": 1}))
    assert "not reached" in " ".join(warming.section()), "some did not compile"


def test_figures_of_other_processors(
    modules: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    summary, page = modules["summary"], modules["figure_page"]
    one = {"command": "measure", "date": "2026-01-02T03:04", "processor": "A", "target": "a", "cores": 2, "rates": {}}
    one["rows"] = [row(torch=0.4)]
    other = {**one, "date": "2026-01-01T01:01", "processor": "B", "rows": [row(torch=0.8)]}
    for name, content in {"a": one, "b": other, "c": {"rows": []}}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    monkeypatch.setattr(summary, "RESULTS", tmp_path)
    assert [content for _, content in summary.measured()] == [one, other] and summary.shown() == tmp_path / "a.json"
    assert summary.others(one) == [other] and summary.others(other) == [one]
    lines = page.section(one, summary.others(one))
    title = lines.index("### The same on B (a, 2 cores seen)")
    here, there = lines[:title], lines[title : next(k for k in range(title + 1, len(lines)) if lines[k][:3] == "###")]
    assert any("| 4.00 |" in line for line in there) and not any("| 4.00 |" in line for line in here)
