"""The script that makes certificates: what it refuses, what it keeps, and how it goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastact.accuracy import certificates

pytest.importorskip("flint")

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "scripts" / "certify.py"


def certify(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, cwd=ROOT, check=False
    )


@pytest.mark.parametrize(
    "arguments",
    ["nosuch", "--dtype f32", "--tier best", "exp --form x", "--jobs 0", "--what", "--samples inf", "--samples nan",
     "--seed -1", "exp --minutes soon", "exp --output /dev/null/x.json", "exp --output /",
     "exp --checkpoints /dev/null"],
)  # fmt: skip
def test_the_script_refuses_in_one_line(arguments: str) -> None:
    done = certify(*arguments.split())
    assert done.returncode == 2 and not done.stdout
    complaint = [line for line in done.stderr.splitlines() if not line.startswith("fastact: certifying")]
    assert len(complaint) == 1, done.stderr


def test_the_script_certifies_what_is_missing_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "certificates.json"
    options = ["exp", "--dtype", "bfloat16", "--form", "value", "--output", str(path), "--checkpoints", str(tmp_path)]
    done = certify(*options)
    assert done.returncode == 0 and done.stdout.count("ok ") == 3, done.stderr
    assert len(certificates.read(path)) == 3
    again = certify(*options, "--stale")
    assert again.returncode == 0 and not again.stdout
    listed = certify(*options, "--stale", "--list", "--form", "value,grad").stdout.split("\n")
    assert [line for line in listed if line] == [f"exp.grad bfloat16 {tier}" for tier in ("exact", "fast", "rough")]


def test_the_script_keeps_what_is_finished_when_it_is_interrupted(tmp_path: Path) -> None:
    path, folder = tmp_path / "certificates.json", tmp_path / "checkpoints"
    options = ["exp", "--form", "value", "--dtype", "bfloat16,float64", "--tier", "exact", "--jobs", "1"]
    options += ["--checked", "500", "--output", str(path), "--checkpoints", str(folder)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *options], cwd=ROOT, env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(folder.glob("exp*.json")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in said, said
    (checkpoint,) = folder.glob("*.json")
    assert json.loads(checkpoint.read_text())["done"]
    assert [key.dtype for key in certificates.read(path)] == ["bfloat16"]
    left = certify(*options, "--stale", "--list")
    assert left.stdout.split("\n")[0] == "exp float64 exact"


@pytest.mark.parametrize("text", ["", "{", '{"format": "fastact sweep 4"}', '{"format": "another"}', "[[]]"])
def test_the_script_goes_on_after_a_damaged_checkpoint(tmp_path: Path, text: str) -> None:
    checkpoint = tmp_path / "exp-value-float64-exact.json"
    checkpoint.write_text(text)
    options = ["exp", "--form", "value", "--dtype", "float64", "--tier", "exact", "--samples", "1e6"]
    options += ["--checked", "100", "--output", str(tmp_path / "certificates"), "--checkpoints", str(tmp_path)]
    done = certify(*options)
    assert done.returncode == 0 and done.stdout.startswith("ok "), done.stderr
    assert "starting anew" in done.stderr and "Traceback" not in done.stderr
    assert not checkpoint.exists() and len(certificates.read(tmp_path / "certificates")) == 1


def test_the_script_leaves_a_damaged_file_of_certificates_alone(tmp_path: Path) -> None:
    path = tmp_path / "certificates.json"
    path.write_text('{"certificates": [')
    done = certify("exp", "--dtype", "bfloat16", "--output", str(path), "--checkpoints", str(tmp_path))
    assert done.returncode == 2 and "is damaged" in done.stderr and not done.stdout
    assert path.read_text() == '{"certificates": ['


def test_the_time_granted_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "certificates.json"
    done = certify("exp", "--minutes", "0.02", "--output", str(path), "--checkpoints", str(tmp_path))
    assert done.returncode == 0 and "time is over" in done.stderr
