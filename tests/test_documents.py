"""The documents say what the package does: generated parts are fresh, links lead somewhere, nothing names a machine."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fastact.kernels import REGISTRY

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
DOCUMENTS = [*PAGES, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
MOST = 2_000_000
"""Bytes that all pictures may take."""


def run(script: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / f"{script}.py"), "--check"]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300, check=False)


@pytest.mark.parametrize("script", ["readme", "families", "cuda_page", "peers"])
def test_generated_parts_are_fresh(script: str) -> None:
    result = run(script)
    assert result.returncode == 0, result.stderr


def test_every_function_has_a_section_and_a_picture() -> None:
    headings = {match for page in PAGES for match in re.findall(r"^## (\w+)$", page.read_text(), re.MULTILINE)}
    assert set(REGISTRY) <= headings
    for name in REGISTRY:
        picture = ROOT / "docs" / "pictures" / f"{name}.png"
        assert picture.read_bytes().startswith(b"\x89PNG"), name


def test_pictures_are_small() -> None:
    assert sum(p.stat().st_size for p in (ROOT / "docs").rglob("*.png")) < MOST


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("http"):
            continue
        place, _, anchor = target.partition("#")
        found = document.parent / place if place else document
        assert found.exists(), f"{document.name} links to {target}"
        if anchor:
            assert re.search(rf"^#+ \[?{re.escape(anchor)}\b", found.read_text(), re.MULTILINE), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_no_place_of_a_machine_is_named(document: Path) -> None:
    absolute = r"(?<![\w.:/])/(?:work|tmp|opt|home|root|usr|var|mnt|Users)\b\S*|localhost\S*"
    assert not re.findall(absolute, document.read_text())


def test_what_was_measured_about_relu_has_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("families", ROOT / "scripts" / "families.py")
    assert spec and spec.loader
    families = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(families)
    relu = REGISTRY["relu"]
    monkeypatch.setattr(families, "RESULTS", tmp_path)
    assert families.note(relu) == []
    found = {"text": ["A division costs more."], "rows": [{"how": "max", "ns": 0.04321}, {"how": "x/x", "ns": 1.0}]}
    (tmp_path / "relu.json").write_text(json.dumps(found))
    section = "\n".join(families.section(relu))
    assert "\n\nA division costs more.\n\n| how | ns |\n| --- | --- |\n| max | 0.0432 |\n| x/x | 1 |\n" in section
    assert families.note(REGISTRY["mish"]) == []
