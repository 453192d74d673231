"""The accuracy that docstrings state: the figures of the certificates, read when a docstring is asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fastact
from fastact import published

ROWS = json.loads(Path(published.PATH).read_text())["certificates"]
CERTIFIED = sorted({(row["function"], row["form"]) for row in ROWS})


def lines_of(function: str, form: str) -> dict[str, list[str]]:
    """The table in a docstring: dtype -> cells."""
    door = getattr(fastact, function)
    text = (door if form == "value" else getattr(door, form)).__doc__
    _, found, rest = text.partition("\nAccuracy\n--------\n")
    assert found, f"help({function}) does not tell its accuracy"
    table = [line.strip() for line in rest.split("\n\n")[1].splitlines()]
    head, *rows = ([cell for cell in line.split("  ") if cell] for line in table)
    assert [cell.strip() for cell in head] == ["exact", "fast", "rough"]
    return {dtype: [cell.strip() for cell in cells] for dtype, *cells in rows}


@pytest.mark.parametrize(("function", "form"), CERTIFIED)
def test_help_tells_the_measured_accuracy(function: str, form: str) -> None:
    table = lines_of(function, form)
    for row in ROWS:
        if (row["function"], row["form"]) != (function, form):
            continue
        cell = table[row["dtype"]][("exact", "fast", "rough").index(row["tier"])]
        largest = max([row["largest"], *(root["largest"] for root in row["near_roots"])])
        if cell == "correctly rounded":
            assert row["misrounded"] == 0 and row["exhaustive"]
        elif cell == "none":
            assert largest == 0
        else:
            figure, unit = cell.split()
            assert unit == ("relative" if row["unit"] == "relative" else "ULP")
            stated = 2.0 ** float(figure[2:]) if figure.startswith("2^") else float(figure)
            # never less than what was measured, and hardly more
            assert largest <= stated <= largest * (2**0.11 if unit == "relative" else 1) + 1.01e-4


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(published, "PATH", str(tmp_path / "certificates.json"))
    published._rows.cache_clear()
    yield tmp_path / "certificates.json"
    published._rows.cache_clear()


def made(**changes: Any) -> dict[str, Any]:
    row = {
        "function": "mish", "form": "grad", "dtype": "float32", "tier": "fast", "parameters": [], "inputs": 2**32,
        "exhaustive": True, "misrounded": 9, "unit": "ulp", "largest": 1.00001, "near_roots": [],
    }  # fmt: skip
    return row | changes


def test_what_has_not_been_measured_is_left_out(rows: Path) -> None:
    root = {"low": -1.69, "high": -0.69, "terms": 0.25, "largest": 3.5, "witness": "0xbf800000"}
    sampled = made(dtype="float64", inputs=104857600, exhaustive=False, near_roots=[root])
    rows.write_text(json.dumps({"certificates": [made(), sampled, made(tier="exact", misrounded=0)]}))
    assert published.accuracy("mish", "grad") == [
        "The largest errors found on all inputs of float32; 1.05e8 inputs of float64.",
        "Next to the gradient's root -1.19, fast and rough measure them by the terms that",
        "cancel there.",
        "",
        "             exact              fast        rough",
        "    float32  correctly rounded  1.0001 ULP  -",
        "    float64  -                  3.5 ULP     -",
    ]
    assert published.accuracy("mish", "value") == []
    assert "Accuracy" in fastact.mish.grad.__doc__ and "Accuracy" not in fastact.mish.__doc__


def test_parameters_are_told(rows: Path) -> None:
    rows.write_text(json.dumps({"certificates": [made(function="swish", parameters=[1.0])]}))
    assert "with beta = 1." in fastact.swish.grad.__doc__


@pytest.mark.parametrize("text", [None, "", "[]", "{", '{"certificates": [{"function": "mish"}]}'])
def test_help_is_given_without_certificates(rows: Path, text: str | None) -> None:
    if text is not None:
        rows.write_text(text)
    assert "Parameters" in fastact.mish.__doc__ and "Accuracy" not in fastact.mish.__doc__


def test_certificates_are_read_when_a_docstring_is_asked_for_and_not_before() -> None:
    code = "import fastact; n = fastact.published._rows.cache_info; print(n().currsize, end=' '); "
    code += "fastact.mish(1.0); print(n().currsize, end=' '); fastact.mish.__doc__; print(n().currsize)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "0", "1"]
