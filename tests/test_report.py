"""The report's own logic: instructions read from assembly, floors, ratios, the page; that it is fresh."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fastact.accuracy import peers
from fastact.accuracy.measure import Truth, settings
from fastact.cpu.compile import assembly
from fastact.cpu.target import host
from fastact.kernels import REGISTRY
from fastact.link.forms import kernel

ROOT = Path(__file__).resolve().parents[1]
X86 = pytest.mark.skipif(host().machine not in ("x86_64", "amd64"), reason="instructions of x86")

LOOP = """
body:
	pushq	%rbx
	vbroadcastss	(%rcx), %zmm9
.LBB0_1:
	vmovups	64(%rdi,%rax), %zmm1
	vmovaps	%zmm9, %zmm2
	vfmadd213ps	.LCPI0_3(%rip){1to16}, %zmm1, %zmm2   # a comment
	vcmpltps	%zmm1, %zmm9, %k1
	kortestw	%k1, %k1
	jne	.LBB0_3
.LBB0_2:
	vaddps	%zmm2, %zmm1, %zmm2 {%k1}
	vmovups	%zmm2, 64(%rsi,%rax)
	addq	$256, %rax
	decq	%rdx
	jne	.LBB0_1
	jmp	.LBB0_4
.LBB0_3:
	vdivps	%zmm1, %zmm2, %zmm2
	jmp	.LBB0_2
.LBB0_4:
	retq
.Lfunc_end0:
"""


@pytest.fixture
def limits(modules: dict[str, ModuleType]) -> Any:
    return modules["limits"]


# -- from assembly to instructions ------------------------------------------------------------------------------------
def test_the_hot_loop_is_what_runs_in_each_pass(limits: Any) -> None:
    found = [one.mnemonic for one in limits.hot_loop(LOOP)]
    assert found == [
        "vmovups", "vmovaps", "vfmadd213ps", "vcmpltps", "kortestw", "jne", "vaddps", "vmovups", "addq", "decq", "jne",
    ]  # fmt: skip


def test_a_loop_behind_a_jump_is_followed(limits: Any) -> None:
    turned = LOOP.replace("\tpushq\t%rbx\n", "\tjmp\t.LBB0_2\n")
    assert [one.mnemonic for one in limits.hot_loop(turned)].count("vaddps") == 1


def test_without_a_loop_there_is_an_error(limits: Any) -> None:
    with pytest.raises(ValueError, match="no loop in body"):
        limits.hot_loop("body:\n\tretq\n.Lfunc_end0:\n")
    with pytest.raises(ValueError, match="no function judge"):
        limits.hot_loop(LOOP, "judge")


def test_kinds_of_instructions(limits: Any) -> None:
    load, move, fma, compare, test, _, add, store, *_ = limits.hot_loop(LOOP)
    assert load.kind == "vmovups mem zmm" and load.loads and load.moves and not load.stores
    assert move.kind == "vmovaps zmm zmm" and move.moves and not move.loads
    assert fma.kind == "vfmadd213ps mem{1toN} zmm zmm" and fma.loads and fma.vector and not fma.moves
    assert compare.kind == "vcmpltps zmm zmm k" and test.kind == "kortestw k k" and test.vector
    assert add.kind == "vaddps zmm zmm zmm{k}"
    assert store.kind == "vmovups zmm mem" and store.stores and not store.loads
    assert limits.parse("\tvpslld\t$23, %zmm1, %zmm2").kind == "vpslld imm zmm zmm"
    assert limits.parse("\tvdivpd\t%ymm1, %ymm2, %ymm3").divides
    assert not limits.parse("\taddq\t$256, %rax").vector
    assert not load.spilled and not fma.spilled
    assert limits.parse("\tvmovups\t%zmm3, 128(%rsp)").spilled
    assert [limits.parse(line) for line in ("\t.p2align\t4", ".LBB0_1:", "# words")] == [None, None, None]


def test_what_makes_zero_is_no_arithmetic(limits: Any) -> None:
    """Processors know that it needs nothing; in a stream that is to tell a cost, sources have to differ."""
    cleared, other = limits.parse("\tkxorq\t%k0, %k0, %k1"), limits.parse("\tkxorq\t%k0, %k2, %k1")
    assert cleared.clears and cleared.moves and not other.clears and not other.moves
    assert limits.parse("\tvpxor\t%xmm1, %xmm1, %xmm1").clears
    assert not limits.parse("\tvaddps\t%zmm1, %zmm1, %zmm1").clears
    for turn in range(8):
        first, second, result = re.findall(r"%k\d", limits._renamed(cleared, turn))
        assert len({first, second, result}) == 3


def test_floors_add_up_what_shares_pipes(limits: Any) -> None:
    loop = limits.hot_loop(LOOP)
    costs = {"load": limits.Cost(0.5), "store": limits.Cost(1.0)}
    costs |= {
        "vfmadd213ps mem{1toN} zmm zmm": limits.Cost(0.5, multiplies=True),
        "vaddps zmm zmm zmm{k}": limits.Cost(0.5, adds=True),
        "vcmpltps zmm zmm k": limits.Cost(0.75, adds=True),
        "kortestw k k": limits.Cost(0.5),
        "vmovups mem zmm": limits.Cost(0.5), "vmovaps zmm zmm": limits.Cost(0.1), "vmovups zmm mem": limits.Cost(1.0),
    }  # fmt: skip
    floors = limits.Rates(costs, front=0.125, renaming=0.2, pipe=0.25).floors(loop)
    assert floors == pytest.approx(
        {
            "front end": 11 * 0.125, "renaming": 7 * 0.2, "vector pipes": 4 * 0.25, "multiply pipes": 0.5,
            "add pipes": 1.25, "divider": 0.0, "loads": 1.0, "stores": 1.0, "one kind": 0.75,
        }
    )  # fmt: skip


@X86
@pytest.mark.parametrize(("name", "tier"), [("exp", "fast"), ("relu", "rough"), ("log", "exact")])
def test_the_loop_of_a_kernel_is_found(limits: Any, name: str, tier: str) -> None:
    made = kernel(REGISTRY[name], "value", "float32", tier)
    loop = limits.hot_loop(assembly(made.graph, made.evidence))
    width = host().target().width(made.graph)
    wide = {"zmm": 64, "ymm": 32, "xmm": 16}
    written = sum(
        wide[one.kind.split()[1]] for one in loop if one.stores and one.moves and "rsp" not in one.operands[-1]
    )
    assert written == 4 * width, "a pass writes as many elements as the loop is wide"
    assert any("fmadd" in one.mnemonic for one in loop) == (name != "relu")


@X86
def test_costs_are_measured_for_all_kinds_of_a_loop(limits: Any) -> None:
    """No figure is judged, but that a stream of each kind assembles and runs, and that a division costs more."""
    made = kernel(REGISTRY["softsign"], "value", "float32", "fast")
    loop = limits.hot_loop(assembly(made.graph, made.evidence))
    rates = limits.measure([loop])
    assert {one.kind for one in loop if one.vector} <= set(rates.costs)
    assert all(cost.cycles > 0 for cost in rates.costs.values())
    (division,) = (cost.cycles for kind, cost in rates.costs.items() if kind.startswith("vdiv"))
    assert division > 2 * rates.pipe
    floors = rates.floors(loop)
    assert floors["divider"] > 0 and set(floors) == set(limits.BOUNDS)


# -- peers ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", [name for name, d in REGISTRY.items() if d.from_output is not None])
def test_gradients_from_the_output_are_measured_for_it(modules: dict[str, ModuleType], name: str) -> None:
    pytest.importorskip("flint")
    import from_output

    declaration = REGISTRY[name]
    x = np.linspace(max(declaration.domain[0], -3) + 0.1, 3, 60, dtype=np.float32)
    task = peers.Task(declaration, "gradient", x, settings(declaration, np.float32))
    truth = from_output.truth(task)
    assert from_output.labels(task) == ["exact_output", "fast_output"]
    with np.errstate(all="ignore"):
        assert truth.summary(from_output.ours(task, "exact_output").result()).largest <= 0.501
        assert truth.summary(from_output.ours(task, "fast_output").result()).largest <= 4.0
        assert truth.summary(from_output.output(task)).largest > 0.501 or name == "exp", "another function is found out"
    assert from_output.labels(peers.Task(declaration, "value", x, task.parameters)) == []


def test_numba_is_measured_as_its_user_writes_it(modules: dict[str, ModuleType]) -> None:
    """Also where NumPy has no such function; other parameters than the usual ones take the declared formula."""
    comparing, declaration = modules["comparing"], REGISTRY["hardshrink"]
    assert "numba" in comparing.candidates(REGISTRY["erf"], "value")
    assert "numba" not in comparing.candidates(REGISTRY["erf"], "gradient")
    x = np.linspace(-2, 2, 50, dtype=np.float32)
    usual = peers.Task(declaration, "value", x, settings(declaration, np.float32))
    for task, edge in ((usual, 0.5), (peers.Task(declaration, "value", x, (1.0,)), 1.0)):
        with peers.one_thread():
            found = comparing.peer(task, "numba").result()
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, np.where(np.abs(x) > edge, x, 0))


def test_peers_that_keep_the_output_are_known(modules: dict[str, ModuleType]) -> None:
    pytest.importorskip("torch")
    import from_output

    def keep(name: str) -> list[str]:
        return list(from_output.keepers(peers.Task(REGISTRY[name], "gradient", np.ones(3, np.float32), ())))

    assert all(keep(name) == ["torch"] for name in ("tanh", "exp", "relu", "sqrt"))
    assert keep("log") == keep("silu") == []


def test_both_dtypes_of_large_arrays_are_shown(modules: dict[str, ModuleType], summary: Any) -> None:
    content = json.loads(summary.shown().read_text())
    before = modules["page"].text(content)
    content["growth64"] = [{"threads": 2, "power": 26, "ns": {"exp fast": 0.25, "np.copyto": 0.2}}]
    lines = set(modules["page"].text(content).splitlines()) - set(before.splitlines())
    assert any("2^26 float64 elements" in line and "| 0.80 |" in line for line in lines)
    assert "| 2^26 | 2 | 0.250 | 0.200 |" in lines


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_formulas_for_svml_are_our_functions(modules: dict[str, ModuleType], dtype: str) -> None:
    numba_user = modules["numba_user"]
    for name, expression in numba_user.EXPRESSIONS.items():
        declaration = REGISTRY[name]
        low, high = declaration.domain
        x = np.linspace(max(low + 0.1, -4), min(high - 0.1, 4), 8).astype(dtype)
        formula = numba_user.scalar(expression, dtype)
        found = np.array([formula(number) for number in x])
        truth = Truth(declaration, x, settings(declaration, dtype), None)
        if truth.known:
            np.testing.assert_allclose(found, truth.high, rtol=1e-4, atol=1e-5, err_msg=name)


# -- the page ---------------------------------------------------------------------------------------------------------
def test_numbers_are_written_with_the_digits_that_matter(modules: dict[str, ModuleType]) -> None:
    page = modules["page"]
    assert [page.ulps(e) for e in (None, 0.5, 1.53, 12.3, 123456.0)] == ["", "0.50", "1.5", "12", "1e5"]
    assert [page.nanoseconds(v) for v in (0.0512, 1.234, 56.78)] == ["0.051", "1.23", "56.8"]
    assert [page.size(n) for n in (12, 2300, 4_200_000)] == ["12 bytes", "2.3 kB", "4.2 MB"]


def test_the_page_shows_what_was_measured(modules: dict[str, ModuleType], summary: Any) -> None:
    path = summary.shown()
    assert path is not None
    content = json.loads(path.read_text())
    text = modules["page"].text(content)
    first = content["rows"][0]
    content["rows"] = [{**first, "ns": {**first["ns"], "fast": 123.456}}, *content["rows"][1:]]
    assert modules["page"].text(content) != text and "123.5 (" in modules["page"].text(content)


def test_the_page_is_fresh() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "report.py"), "--check"],
        capture_output=True, text=True, cwd=ROOT, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_changed_kernels_are_listed(modules: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    report, comparing = modules["report"], modules["comparing"]
    monkeypatch.setattr(comparing, "functions", lambda: ["exp"])
    rows = []
    for form in comparing.FORMS:
        for dtype in comparing.DTYPES:
            task = peers.Task(REGISTRY["exp"], form, np.empty(0, dtype), ())
            digest = {tier: comparing.linked(task, tier).graph.digest() for tier in ("exact", "fast", "rough")}
            rows.append({"function": "exp", "form": form, "dtype": dtype, "digest": digest})
    assert report.changed({"rows": rows}) == []
    rows[0]["digest"]["fast"] = "another"
    assert report.changed({"rows": rows}) == ["exp value float32 fast"]
    assert report.changed({"rows": rows[:3]})[-1] == "exp gradient float64 rough (not measured)"


def test_small_rows_are_what_they_are_called(modules: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours and PyTorch's calls give the same numbers."""
    pytest.importorskip("torch")
    import costs

    results: list[dict[str, Any]] = []

    def called(calls: dict[str, Any], _: float) -> dict[str, Any]:
        results.append({label: np.asarray(call()) for label, call in calls.items()})
        return {}

    monkeypatch.setattr(costs, "interleaved", called)
    assert [row["size"] for row in costs.small_rows(0.1)] == list(costs.SMALL) * len(costs.SMALL_ROWS)
    for one in results:
        assert set(one) == {"exact", "fast", "rough", "torch"}
        for found in one.values():
            np.testing.assert_allclose(found, one["exact"], rtol=2e-3, atol=2e-4)


# -- memory -----------------------------------------------------------------------------------------------------------
def test_no_temporary_grows_with_the_array(modules: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    import costs

    import fastact

    def calls(arrays: tuple[Any, Any]) -> Any:
        x, out = arrays
        yield "mish", "fast", lambda: fastact.mish(x, approx="fast", out=out)
        yield "mish.backward", "fast", lambda: fastact.mish.backward(x, x, approx="fast", out=out)

    monkeypatch.setattr(costs, "ELEMENTS", 1 << 20)
    monkeypatch.setattr(costs, "_calls", calls)
    for found in costs.memory():
        assert found["bytes"] < 1 << 16, found
    # and a temporary would be seen
    monkeypatch.setattr(costs, "_calls", lambda arrays: [("NumPy", "", lambda: np.copyto(arrays[1], arrays[0] * 2))])
    assert all(found["bytes"] >= found["array"] // 2 for found in costs.memory())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="elsewhere a process begins with its parent's")
def test_the_growth_of_a_process_is_seen(modules: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from a process that is large itself."""
    import costs

    ballast = np.ones(1 << 26)
    monkeypatch.setattr(costs, "TIERS", ("fast",))
    ours, theirs = costs.resident()
    assert ours["bytes"] < 1 << 24 and theirs["bytes"] > 1 << 26 and ballast.all()
