"""The benchmarks are complete and run; what they measure with measures right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fastact.accuracy import peers
from fastact.accuracy.measure import Truth, settings, typical
from fastact.accuracy.samples import special, stratified
from fastact.accuracy.timing import FEWEST, interleaved
from fastact.kernels import REGISTRY
from fastact.precision import TIERS

ROOT = Path(__file__).parent.parent


@pytest.fixture
def suite(modules: dict[str, ModuleType]) -> ModuleType:
    return modules["bench_functions"]


def run(*argv: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """pytest in a process of its own, which knows nothing of the one that runs these tests."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *argv],
        capture_output=True, text=True, timeout=120, cwd=folder, env=environment, check=False,
    )  # fmt: skip


def test_every_function_is_benchmarked_in_every_tier(suite: ModuleType) -> None:
    measured = {case.values for case in suite.cases()}
    for name in REGISTRY:
        for form in ("value", "gradient"):
            for dtype in suite.dtypes():
                for size in (1, 1_000, 65_536, 1 << 22):
                    assert {(name, form, dtype, size, tier) for tier in TIERS} <= measured


def test_peers_that_are_not_installed_are_not_collected(suite: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "_installed", lambda: {"numpy": np.__version__})
    assert {case.values[-1] for case in suite.cases()} == {*TIERS, "numpy", "exact_output", "fast_output"}


def test_the_command_runs_benchmarks_in_groups(tmp_path: Path) -> None:
    pytest.importorskip("pytest_benchmark")
    report = tmp_path / "report.json"
    done = run(
        "benchmarks", "--benchmark-only", "-k", "exp-value-float32-1000- and (fast or numpy)",
        "--benchmark-max-time=0.01", f"--benchmark-json={report}",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    benchmarks: list[dict[str, Any]] = json.loads(report.read_text())["benchmarks"]
    assert len(benchmarks) == 2
    assert benchmarks[0]["stats"]["rounds"] == benchmarks[1]["stats"]["rounds"], "contestants of a group take turns"
    for one in benchmarks:
        assert one["group"] == "exp value float32 1000"
        extra = one["extra_info"]
        assert extra["ns_per_element"] == pytest.approx(one["stats"]["min"] * 1e6)
        assert extra["GB_per_s"] == pytest.approx(8 / extra["ns_per_element"])
        assert 0 < extra["max_ulp"] < 4


def test_every_time_has_its_error_beside_it(tmp_path: Path) -> None:
    pytest.importorskip("pytest_benchmark")
    pytest.importorskip("flint")
    report = tmp_path / "report.json"
    some = "512 or float32-1000- or tanh-float32-fast or 16-swish or reversed-fast or forward-max or swiglu"
    files = [f"benchmarks/bench_{name}.py" for name in ("norms", "row_shapes", "gates", "steps", "calls", "relu")]
    done = run(
        *files, "--benchmark-only", "-k", some,
        "--benchmark-max-time=0.0001", "--benchmark-min-rounds=1", f"--benchmark-json={report}",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(report.read_text())["benchmarks"]
    assert {Path(one["fullname"].split("::")[0]).name for one in found} == {Path(file).name for file in files}
    for one in found:
        error, ours = one["extra_info"]["max_ulp"], "exact" in one["name"]
        assert "copy" in one["name"] or (0 <= error <= 0.501 if ours else error >= 0), one["name"]


def test_a_time_without_an_error_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pytest_benchmark")
    (tmp_path / "conftest.py").write_text((ROOT / "benchmarks" / "conftest.py").read_text())
    (tmp_path / "bench_nothing.py").write_text("def test_nothing(benchmark): benchmark(int)\n")
    done = run("-q", "bench_nothing.py", folder=tmp_path)
    assert done.returncode == 1 and "largest error" in done.stdout


def test_the_command_accepts_another_grouping() -> None:
    pytest.importorskip("pytest_benchmark")
    done = run(
        "benchmarks", "--benchmark-only", "-k", "exp-value-float32-1-fast or exp-value-float32-1000-fast",
        "--benchmark-max-time=0.01", "--benchmark-group-by=param:contestant",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "contestant=fast" in done.stdout
    assert done.stdout.count("test_speed[exp-value-float32-1") == 2


# -- peers ------------------------------------------------------------------------------------------------------------
PAIRS = [
    (name, form, library)
    for name, declaration in REGISTRY.items()
    for form in peers.FORMS
    for library in peers.candidates(declaration, form)
]


@pytest.mark.parametrize(("name", "form", "library"), PAIRS)
def test_a_peer_computes_the_declared_function(name: str, form: str, library: str) -> None:
    """A wrong expression in a declaration would make a comparison worthless; how accurate a peer is does not matter."""
    declaration = REGISTRY[name]
    # onnxruntime has float64 for few operators, and float32 leaves no more than these digits
    dtype, rtol, atol = ("float32", 1e-3, 1e-5) if library == "onnxruntime" else ("float64", 1e-6, 1e-9)
    x, _ = typical(declaration, dtype, 200)
    task = peers.Task(declaration, form, x, settings(declaration, dtype))
    with peers.one_thread(), np.errstate(all="ignore"):
        found = peers.peer(task, library).result()
        exact = peers.ours(task, "exact").result()
    np.testing.assert_allclose(found, exact, rtol=rtol, atol=atol)


def test_one_thread_leaves_the_environment_as_it_was() -> None:
    before = dict(os.environ)
    with peers.one_thread():
        assert os.environ["OMP_NUM_THREADS"] == "1"
    assert dict(os.environ) == before


def test_a_peer_without_the_parameter_is_left_out() -> None:
    """A peer's version with another parameter than ours would be another function."""
    for declaration in REGISTRY.values():
        for library in peers.candidates(declaration, "value"):
            expression = peers.expressions(declaration)[library]
            for place, parameter in enumerate(declaration.parameters):
                if parameter.name in expression or parameter.default is None:
                    continue
                values = list(settings(declaration, "float64"))
                values[place] += 0.25
                x, _ = typical(declaration, "float64", 10)
                with pytest.raises(peers.Unavailable, match=parameter.name):
                    peers.peer(peers.Task(declaration, "value", x, tuple(values)), library)
                return
    pytest.skip("all peers take all parameters")


# -- measuring --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("wrt", [None, "x"])
def test_errors_are_those_of_the_oracle(dtype: str, wrt: str | None) -> None:
    pytest.importorskip("flint")
    from fastact.accuracy.oracle import Oracle

    declaration = REGISTRY["exp"]
    x = np.concatenate([stratified(dtype, 1500, 3), special(dtype)])
    with np.errstate(all="ignore"):
        for y in (np.exp(x), np.exp(x) * x.dtype.type(1.01), -x):
            truth = Truth(declaration, x, (), wrt)
            expected = Oracle(declaration.formula).ulp_error(x, y, wrt=wrt)
            np.testing.assert_allclose(truth.errors(y), expected, rtol=1e-6, atol=1e-6)


def test_our_own_kernel_stands_in_for_arbitrary_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("flint")
    declaration = REGISTRY["exp"]
    x = stratified("float32", 1500, 3)
    with np.errstate(all="ignore"):
        y = np.exp(x)
    known = Truth(declaration, x, (), None).errors(y)
    monkeypatch.setitem(sys.modules, "fastact.accuracy.oracle", None)
    replaced = Truth(declaration, x, (), None)
    assert "own float64" in replaced.source
    np.testing.assert_allclose(replaced.errors(y), known, atol=1e-6)


@pytest.mark.parametrize("name", list(REGISTRY))
def test_typical_data_lie_in_the_domain_and_do_not_depend_on_the_size(name: str) -> None:
    low, high = REGISTRY[name].domain
    for dtype in ("float16", "float32"):
        x, words = typical(REGISTRY[name], dtype, 3000)
        assert np.isfinite(x).all() and (x >= low).all() and (x <= high).all()
        assert np.unique(x).size > 500
        assert "seed 0" in words
        np.testing.assert_array_equal(x[:100], typical(REGISTRY[name], dtype, 100)[0])


def test_times_are_taken_in_turns() -> None:
    calls: list[str] = []
    shares: list[float] = []
    block = np.zeros(200_000)

    def work(name: str, times: int) -> None:
        calls.append(name)
        for _ in range(times):
            np.sqrt(block)

    timings = interleaved({"short": lambda: work("short", 1), "long": lambda: work("long", 8)}, 0.0, shares.append)
    assert timings["short"].rounds == timings["long"].rounds == FEWEST
    assert timings["short"].best <= timings["short"].median
    assert timings["long"].best > 3 * timings["short"].best
    assert shares == sorted(shares)
    last = calls[-4 * FEWEST :]
    assert {"short", "long"} == set(last[:8]), "both take part from the first rounds on"
