"""The example learns, and the script in plain NumPy beside it is the same network."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def example(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    pytest.importorskip("sklearn")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", os.environ.get("OPENBLAS_NUM_THREADS", "1"))
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["digits", "digits_numpy"])
def test_digits_are_learnt(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = example(name, monkeypatch)
    monkeypatch.setattr(module, "HIDDEN", 64)
    right, seconds = module.run(steps=40)
    assert right > 0.9 and seconds > 0


def test_both_scripts_have_the_same_gradients_and_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, plain = (example(name, monkeypatch) for name in ("digits", "digits_numpy"))
    x, y, *_ = ours.digits(0)
    parameters = ours.new(1)
    for g, truth in zip(ours.gradients(parameters, x, y), plain.gradients(parameters, x, y), strict=True):
        np.testing.assert_allclose(g, truth, rtol=1e-3, atol=2e-7)
    one, other = ours.new(1), plain.new(1)
    ours.train(one, x[:500], y[:500], 5)
    plain.train(other, x[:500], y[:500], 5)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    assert ours.accuracy(one, x, y) == pytest.approx(plain.accuracy(other, x, y), abs=0.01)
