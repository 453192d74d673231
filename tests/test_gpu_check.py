"""scripts/gpu_check.py: what it says without a device, and all of it in Numba's simulator, on a few numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))
gpu_cases = pytest.importorskip("gpu_cases")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / "gpu_check.py"), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env={**os.environ, **environment}
    )


def test_without_a_device_it_says_so(tmp_path: Path) -> None:
    result = run("-o", str(tmp_path / "report"), CUDA_VISIBLE_DEVICES="", NUMBA_ENABLE_CUDASIM="0")
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.startswith("gpu_check: ") and result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_arguments() -> None:
    for arguments, text in ((("-o", "x", "--functions", "nosuch"), "no function nosuch"), ((), "-o REPORT")):
        result = run(*arguments)
        assert result.returncode == 2 and text in result.stderr


def test_all_of_it_in_the_simulator(tmp_path: Path) -> None:
    pytest.importorskip("numba.cuda.simulator")
    arguments = ["--functions", "relu,bilinear,softmax", "--inputs", "16", "--elements", "64", "--workers", "1"]
    result = run("-o", str(tmp_path / "report"), *arguments, NUMBA_ENABLE_CUDASIM="1")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    report = json.loads((tmp_path / "report.json").read_text())
    assert (tmp_path / "report.txt").read_text() in result.stdout + "\n"
    done = {tuple(row["case"]) for row in report["bits"]}
    assert done == set(gpu_cases.cases(["relu", "bilinear", "softmax"])) and not report["left_out"]
    assert not any(row["different"] for row in report["bits"]) and not report["failed"] and not report["messages"]
    assert report["doors"] and not any(report["doors"].values())
    measured = {tuple(row["case"]) for row in report["speed"]}
    assert measured == {case for case in done if case[1] in ("value", "backward", "rows")}


def test_different_bits_are_found() -> None:
    a = np.array([0.0, 1.0, np.nan, np.nan, 2.0], np.float32)
    b = np.array([-0.0, 1.0, -np.nan, 1.0, np.nextafter(np.float32(2), np.float32(3))], np.float32)
    assert gpu_cases.different(a, b).tolist() == [0, 3, 4]
    assert gpu_cases.different(a.astype(np.float16), b.astype(np.float16)).tolist() == [0, 3]


def test_numbers_reach_everywhere() -> None:
    assert len(np.unique(gpu_cases.numbers("float16", 1 << 24).view(np.uint16))) == 65536
    for dtype in ("float32", "float64"):
        x = gpu_cases.numbers(dtype, 1 << 14)
        exponents = np.frexp(x[np.isfinite(x)])[1]
        assert len(x) == 1 << 14 and (x < 0).sum() > 8000 and np.isnan(x).any()
        assert exponents.min() < -120 and exponents.max() > 120
