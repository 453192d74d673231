"""The command line: what it prints, what it refuses, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastact.accuracy.peers import expressions, installed
from fastact.cli import main
from fastact.kernels import ALIASES, REGISTRY

QUICK = ["--seconds", "0", "--size", "2000", "--sample", "300"]
NUMPY = ["--peers", "numpy"]


def out(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(list(argv)) == 0
    return capsys.readouterr().out


def answer(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(out(capsys, *argv, "--json"))
    return content


def refusal(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line on stderr of arguments that make no sense."""
    assert main(list(argv)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.endswith("\n") and printed.err.count("\n") == 1
    assert "Traceback" not in printed.err
    return printed.err


def start(*argv: str, **options: Any) -> subprocess.Popen[bytes]:
    root = Path(__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    environment |= options.pop("environment", {})
    return subprocess.Popen(
        [sys.executable, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=root, **options
    )


def finish(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=60)
    return process.returncode, output.decode(), errors.decode()


# -- compare ----------------------------------------------------------------------------------------------------------
def test_warming_a_cache_that_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FASTACT_CACHE_DIR", str(tmp_path / "file"))
    assert main(["cache", "--warm", "relu"]) == 2
    told = capsys.readouterr()
    assert not told.out and told.err.count("\n") == 1 and "FASTACT_CACHE_DIR" in told.err


def test_compare_prints_a_table_of_both_forms(capsys: pytest.CaptureFixture[str]) -> None:
    printed = out(capsys, "compare", "exp", *QUICK, *NUMPY)
    value, _, gradient = printed.partition("\ngradient")
    assert "data    2,000 float32 elements, drawn from N(0, 3^2), seed 0" in value
    assert "errors on a random sample of 300" in value
    for part in (value, gradient):
        rows = [line for line in part.splitlines() if line.startswith("fastact ")]
        assert [row.split()[1] for row in rows] == ["exact", "fast", "rough"]
        assert {len(row.split()) for row in rows} == {10}
    assert "NumPy" in value


def test_compare_in_json_agrees_with_the_oracle(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("flint")
    from fastact.accuracy.oracle import Oracle

    content = answer(capsys, "compare", "exp", "--seconds", "0", "--size", "500", *NUMPY, "--tiers", "fast")
    x = (np.random.default_rng(0).standard_normal(500) * 3.0).astype(np.float32)
    errors = Oracle("exp(x)").ulp_error(x, np.exp(x))
    fast, numpy = content["value"]["rows"]
    assert (fast["contestant"], numpy["library"]) == ("fastact fast", "numpy")
    assert numpy["max_ulp"] == pytest.approx(errors.max(), abs=1e-6)
    assert numpy["mean_ulp"] == pytest.approx(errors.mean(), abs=1e-6)
    assert numpy["correctly_rounded"] == pytest.approx(np.mean(errors <= 0.5))
    assert numpy["worst_input"] == float(x[np.argmax(errors)])
    assert content["value"]["truth"].startswith("arbitrary precision")
    for row in (fast, numpy):
        assert 0 < row["ns_per_element"] <= row["median_ns_per_element"]
        copied = content["value"]["copy"]["ns_per_element"]
        assert row["share_of_copy"] == pytest.approx(copied / row["ns_per_element"])
        assert row["GB_per_s"] == pytest.approx(8 / row["ns_per_element"])
    assert content["gradient"]["rows"][0]["GB_per_s"] == pytest.approx(
        12 / content["gradient"]["rows"][0]["ns_per_element"]
    )


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_compare_reads_arrays_of_any_shape(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dtype: str, order: Any
) -> None:
    x = np.random.default_rng(1).normal(size=(3, 4, 5)).astype(dtype, order=order)
    x[0, 0, :3] = [np.nan, np.inf, -np.inf]
    np.save(tmp_path / "x.npy", x)
    content = answer(
        capsys, "compare", "exp", "--input", str(tmp_path / "x.npy"), "--seconds", "0", *NUMPY, "--tiers", "fast"
    )
    assert content["size"] == 60
    assert content["dtype"] == np.dtype(dtype).newbyteorder("=").name
    assert "(3, 4, 5)" in content["data"]
    assert content["value"]["rows"][0]["max_ulp"] < 2


def test_compare_rounds_the_data_to_another_dtype(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", np.float64(0.1))
    content = answer(
        capsys, "compare", "exp", "--input", str(tmp_path / "x.npy"), "--dtype", "float16", "--seconds", "0", *NUMPY
    )
    assert (content["dtype"], content["size"]) == ("float16", 1)
    assert content["value"]["rows"][0]["worst_input"] == float(np.float16(0.1))


def test_compare_draws_inside_the_domain(capsys: pytest.CaptureFixture[str]) -> None:
    limited = [d for d in REGISTRY.values() if d.domain != (-np.inf, np.inf)]
    assert limited
    for declaration in limited[:4]:
        content = answer(capsys, "compare", declaration.name, *QUICK, *NUMPY, "--tiers", "fast")
        assert "N(0, 3^2)" in content["data"]
        for form in ("value", "gradient"):
            assert all(np.isfinite(float(row["max_ulp"])) for row in content[form]["rows"]), (declaration.name, form)


def test_compare_takes_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    name, parameter = next((d.name, d.parameters[0].name) for d in REGISTRY.values() if d.parameters)
    content = answer(capsys, "compare", name, *QUICK, *NUMPY, "--tiers", "fast", "--set", f"{parameter}=0.3")
    assert content["parameters"][parameter] == float(np.float32(0.3))
    assert content["value"]["rows"][0]["max_ulp"] < 10
    assert "it has " in refusal(capsys, "compare", name, "--set", "nonsense=1")
    assert "NAME=NUMBER" in refusal(capsys, "compare", name, "--set", parameter)


def test_compare_measures_every_installed_peer(capsys: pytest.CaptureFixture[str]) -> None:
    content = answer(capsys, "compare", "exp", *QUICK)
    libraries = {row["library"] for row in content["value"]["rows"]} | set(content["value"]["skipped"])
    there = set(installed()) & set(expressions(REGISTRY["exp"]))
    assert libraries == {"fastact"} | there
    for row in content["value"]["rows"]:
        assert row["library"] == "fastact" or row["max_ulp"] < 5, row


def test_compare_takes_an_alias(capsys: pytest.CaptureFixture[str]) -> None:
    alias, name = next(iter(ALIASES.items()))
    content = answer(capsys, "compare", alias, *QUICK, "--peers", "", "--tiers", "rough")
    assert content["function"] == name
    assert [row["contestant"] for row in content["value"]["rows"]] == ["fastact rough"]


BARE = """
import sys
HIDDEN = {"flint", "rich", "scipy", "torch", "jax", "numexpr", "onnxruntime", "mkl_umath", "matplotlib", "ml_dtypes"}
class Finder:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, *rest):
        return None if name.partition(".")[0] in HIDDEN else self.finder.find_spec(name, *rest)
sys.meta_path[:] = map(Finder, sys.meta_path)
from fastact.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_without_extras_the_truth_is_our_own_and_named() -> None:
    status, printed, noted = finish(start("-c", BARE, "compare", "exp", *QUICK))
    assert status == 0, noted
    assert "truth   fastact's own float64 exact kernel" in printed
    assert 'install "fastact[accuracy]"' in printed
    row = next(line for line in printed.splitlines() if line.startswith("fastact exact"))
    assert row.split()[2:5:2] == ["0.5000", "100%"] or float(row.split()[2]) <= 0.5
    assert noted.startswith("fastact: comparing exp") and noted.count("\n") == 1


def test_without_extras_float64_has_no_truth() -> None:
    process = start("-c", BARE, "compare", "exp", *QUICK, "--dtype", "float64", "--tiers", "fast,rough", "--json")
    status, printed, noted = finish(process)
    assert status == 0, noted
    content = json.loads(printed)
    assert content["value"]["truth"].startswith("none")
    assert {row["max_ulp"] for row in content["value"]["rows"]} == {None}
    status, printed, _ = finish(
        start("-c", BARE, "compare", "exp", *QUICK, "--dtype", "float64", "--tiers", "fast,rough")
    )
    assert status == 0
    assert 'fastact fast   install "fastact[accuracy]"' in printed


def test_without_extras_published_rows_are_readable() -> None:
    status, printed, noted = finish(start("-c", BARE, "accuracy", "exp", "--json"))
    assert (status, noted) == (0, "")
    worst = {row["bits"]: row["worst_input"] for row in json.loads(printed)["rows"] if row["dtype"] == "bfloat16"}
    assert worst
    for bits, value in worst.items():
        assert value == float(np.array([int(bits, 16) << 16], dtype=np.uint32).view(np.float32)[0])
    assert finish(start("-c", BARE, "accuracy", "exp"))[0] == 0


# -- refusals ---------------------------------------------------------------------------------------------------------
def test_an_unknown_name_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    message = refusal(capsys, "compare", "sigmod")
    assert "sigmod" in message and "sigmoid" in message
    assert "exp" in refusal(capsys, "compare", "qqqqq")
    for command in ("plot", "accuracy"):
        assert "sigmoid" in refusal(capsys, command, "sigmod")
    assert "sigmoid" in refusal(capsys, "cache", "--warm", "sigmod")


@pytest.mark.parametrize(
    ("argv", "allowed"),
    [
        (["compare", "exp", "--tiers", "fastest"], "exact, fast, rough"),
        (["compare", "exp", "--tiers", ""], "exact, fast, rough"),
        (["compare", "exp", "--dtype", "int8"], "float16, bfloat16, float32, float64"),
        (["compare", "exp", "--peers", "tensorflow"], "numpy, scipy, torch, jax, numexpr, numba"),
        (["compare", "exp", "--size", "0"], "no whole number from 1 up"),
        (["compare", "exp", "--size", "many"], "no number"),
        (["compare", "exp", "--seconds", "nan"], "seconds"),
        (["compare", "exp", "--input", "missing.npy"], "float16, float32 or float64"),
        (["compare"], "NAME"),
        (["compare", "exp", "--nonsense"], "--nonsense"),
        (["improve"], "compare"),
        ([], "COMMAND"),
        (["plot", "exp", "-o", "exp.txt"], ".png, .svg, .pdf"),
        (["plot", "exp", "-o", "no/such/folder/exp.png"], "no folder"),
        (["cache", "--tiers", "fast"], "--warm"),
        (["cache", "--warm", "exp", "--dtypes", "int8"], "float16, bfloat16, float32, float64"),
    ],
)
def test_a_refusal_is_one_line_that_says_what_is_allowed(
    capsys: pytest.CaptureFixture[str], argv: list[str], allowed: str
) -> None:
    assert allowed in refusal(capsys, *argv)


def test_files_that_hold_no_floats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "whole.npy", np.arange(3))
    np.save(tmp_path / "objects.npy", np.array([1.0, "two"], dtype=object), allow_pickle=True)
    np.save(tmp_path / "none.npy", np.empty((2, 0)))
    np.save(tmp_path / "record.npy", np.zeros(2, dtype=[("a", "f4")]))
    np.savez(tmp_path / "many.npz", a=np.ones(2))
    (tmp_path / "text.npy").write_text("1.0\n2.0\n")
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY\x01\x00")
    np.save(tmp_path / "short.npy", np.ones(100))
    (tmp_path / "short.npy").write_bytes((tmp_path / "short.npy").read_bytes()[:200])
    for name, said in {
        "whole.npy": "int64",
        "objects.npy": "Python objects",
        "none.npy": "no elements",
        "record.npy": "allowed: float16, float32, float64",
        "many.npz": "not a .npy file",
        "text.npy": "not a .npy file",
        "cut.npy": "damaged",
        "short.npy": "damaged",
        ".": "folder",
    }.items():
        message = refusal(capsys, "compare", "exp", "--input", str(tmp_path / name))
        assert said in message and "float16" in message, name


def test_a_peer_that_is_not_installed_is_refused() -> None:
    status, printed, noted = finish(start("-c", BARE, "compare", "exp", "--peers", "torch"))
    assert (status, printed) == (2, "")
    assert noted == "fastact: peer 'torch' is not installed; there are numpy, numba\n"


# -- the other commands -----------------------------------------------------------------------------------------------
def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    import fastact

    assert "compare" in out(capsys, "--help")
    assert "--input" in out(capsys, "compare", "--help")
    assert out(capsys, "--version") == f"fastact {fastact.__version__}\n"


def test_info_names_versions_and_features(capsys: pytest.CaptureFixture[str]) -> None:
    content = answer(capsys, "info")
    assert content["versions"]["numpy"] == np.__version__
    assert content["processor"]["vector_bits"] in (128, 256, 512)
    assert set(content["processor"]["features"]) >= {"fma", "avx2", "avx512", "f16c"}
    assert content["threads"]["processors"] >= 1
    printed = out(capsys, "info")
    for word in ("versions", "processor", "vectors", "threads", "cache", "GPU", "peers"):
        assert f"\n{word} " in f"\n{printed}"


def test_info_on_a_processor_without_fused_multiply_add(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastact.cpu import target

    without, enough = target.baseline(), target.baseline("fma,avx,avx2")
    monkeypatch.setattr(target, "host", lambda: without)
    assert "same bits, slower" in out(capsys, "info") or without.machine != "x86_64"
    monkeypatch.setattr(target, "host", lambda: enough)
    assert "slower" not in out(capsys, "info")


def test_list_has_every_function(capsys: pytest.CaptureFixture[str]) -> None:
    content = answer(capsys, "list")
    assert [function["name"] for function in content["functions"]] == list(REGISTRY)
    for function in content["functions"]:
        assert {"value", "grad", "backward"} <= set(function["forms"])
    printed = out(capsys, "list").splitlines()
    assert {line.split()[0] for line in printed[2 : 2 + len(REGISTRY)]} == set(REGISTRY)


def test_the_cache_is_filled_shown_and_cleared(tmp_path: Path) -> None:
    place = {"FASTACT_CACHE_DIR": str(tmp_path / "kernels")}

    def cache(*argv: str) -> dict[str, Any]:
        status, printed, noted = finish(start("-m", "fastact", "cache", *argv, "--json", environment=place))
        assert status == 0, noted
        content: dict[str, Any] = json.loads(printed)
        return content

    assert cache()["kernels"] == 0
    only = ("--tiers", "fast", "--dtypes", "float32")
    first = cache("--warm", "exp", *only)
    assert 0 < first["compiled"] == first["kernels"] <= first["loaded"], "forms with one graph share a kernel"
    assert first["bytes"] == sum(file.stat().st_size for file in (tmp_path / "kernels").glob("*.kernel"))
    again = cache("--warm", "exp", *only)
    assert (again["compiled"], again["loaded"]) == (0, first["loaded"])
    assert cache("--clear")["removed"] == first["kernels"]
    assert cache()["kernels"] == 0


def test_accuracy_prints_rows_of_a_function(capsys: pytest.CaptureFixture[str]) -> None:
    content = answer(capsys, "accuracy", "exp")
    assert content["rows"]
    assert {row["function"] for row in content["rows"]} == {"exp"}
    assert {row["tier"] for row in content["rows"]} == {"exact", "fast", "rough"}
    assert "exp" in out(capsys, "accuracy", "exp")


def test_accuracy_prefers_published_rows(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from fastact.accuracy import certificates

    kernel = {"function": "exp", "form": "value", "dtype": "float32", "parameters": (), "inputs": 1 << 32}
    facts = {"misrounded": 7, "witness": "0x3f800000", "method": "exhaustive", "date": "2026-01-01", "digest": "0"}
    found = [
        certificates.Certificate(
            **kernel, **facts, tier=tier, exhaustive=True, unit=unit, largest=largest, mean=0.25, near_roots=()
        )
        for tier, unit, largest in (("fast", "ulp", 0.75), ("rough", "relative", 2.0**-12.5))
    ]
    monkeypatch.setattr(certificates, "installed", lambda: {one.key: one for one in found})
    content = answer(capsys, "accuracy", "exp")
    assert content["source"] == "published"
    assert [row["max_error"] for row in content["rows"]] == [0.75, 2.0**-12.5]
    fast, rough = out(capsys, "accuracy", "exp").splitlines()[-2:]
    assert fast.split() == "exp value float32 fast 2 ULP 0.75000 ULP 7 4,294,967,296 1.0".split()
    assert "2^-12.50 relative" in rough


@pytest.mark.parametrize("extra", [[], ["--gradient", "--dtype", "float16"]])
def test_plot_draws_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: list[str]) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "exp.png"
    printed = out(capsys, "plot", "exp", "--points", "500", "--peers", "", "-o", str(picture), *extra)
    assert printed == f"{picture}\n"
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


# -- how it ends ------------------------------------------------------------------------------------------------------
def test_a_reader_that_leaves_is_no_error() -> None:
    process = start("-m", "fastact", "list")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 141


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interruption_is_quiet() -> None:
    process = start("-m", "fastact", "compare", "exp", "--peers", "", "--seconds", "60")
    assert process.stderr is not None
    assert process.stderr.readline().startswith(b"fastact: comparing")
    process.send_signal(signal.SIGINT)
    status, printed, noted = finish(process)
    assert (status, printed, noted) == (130, "", "fastact: interrupted\n")
