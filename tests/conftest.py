"""Fixtures of more than one file."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


class Modules(dict[str, ModuleType]):
    """Modules by their names, imported when they are asked for."""

    def __missing__(self, name: str) -> ModuleType:
        self[name] = importlib.import_module(name)
        return self[name]


@pytest.fixture(scope="session")
def modules() -> Modules:
    """The modules of the report, which live beside the benchmarks and the scripts."""
    sys.path.extend(str(ROOT / folder) for folder in ("benchmarks", "scripts"))
    return Modules()


@pytest.fixture
def summary(modules: Modules) -> Any:
    return modules["summary"]
