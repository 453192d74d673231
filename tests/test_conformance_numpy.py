"""NumPy's own validation sets for elementary functions: inputs and results in hexadecimal, each with its tolerance.

They come with NumPy, so nothing is copied here; builds of NumPy that leave its tests out have none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("flint")

from fastact.accuracy.contract import bound
from fastact.accuracy.oracle import Oracle
from fastact.accuracy.ulp import Doubles, Floats, format_of, from_bits, ordinal
from fastact.function import FUNCTIONS
from fastact.kernels import REGISTRY

FOLDER = Path(np._core.__file__).parent / "tests" / "data"
NAMES = ("exp", "exp2", "expm1", "log", "log1p", "log2", "tanh", "sin", "cos", "sinh", "cosh", "tan")
"""The sets that NumPy has for functions which are ours, or may be one day."""
SETS = [(name, dtype) for name in NAMES if name in REGISTRY for dtype in ("float32", "float64")]
CLOSEST = 0.501
"""What ``exact`` keeps in every dtype."""

if not FOLDER.is_dir():
    pytest.skip("this NumPy comes without its validation sets", allow_module_level=True)


def rows(name: str, dtype: str) -> tuple[Floats, Floats, Doubles]:
    """Inputs, results and tolerances in ULP."""
    lines = (FOLDER / f"umath-validation-set-{name}.csv").read_text().splitlines()
    cells = [line.split(",") for line in lines[1:] if not line.startswith("#")]
    chosen = [row for row in cells if row[0] == f"np.{dtype}"]
    columns = list(zip(*chosen, strict=True))
    x, y = (from_bits(np.array([int(cell, 16) for cell in column], np.uint64), dtype) for column in columns[1:3])
    return x, y, np.array(columns[3], np.float64)


def test_every_set_of_a_function_of_ours_is_used() -> None:
    there = {path.stem.rpartition("-")[2] for path in FOLDER.glob("umath-validation-set-*.csv")}
    assert there & set(REGISTRY) == {name for name, _ in SETS}


@pytest.mark.parametrize(("name", "dtype"), SETS)
def test_within_the_tolerance_of_the_set(name: str, dtype: str) -> None:
    x, y, tolerance = rows(name, dtype)
    assert x.size > 100
    for tier, slack in (("exact", 0.0), ("fast", bound(REGISTRY[name], "value", dtype, "fast").largest)):
        with np.errstate(all="ignore"):
            ours = np.asarray(FUNCTIONS[name](x, approx=tier))
        assert ours.dtype == dtype
        np.testing.assert_array_equal(np.isnan(ours), np.isnan(y))
        distance = np.where(np.isnan(y), 0, np.abs(ordinal(ours) - ordinal(y)))
        worst = int(np.argmax(distance - tolerance))
        assert (distance <= tolerance + slack).all(), f"{name}({x[worst]!r}) is {ours[worst]!r}, not {y[worst]!r}"


@pytest.mark.parametrize(("name", "dtype"), SETS)
def test_closest_to_the_truth_on_the_set(name: str, dtype: str) -> None:
    x, _, _ = rows(name, dtype)
    with np.errstate(all="ignore"):
        ours = np.asarray(FUNCTIONS[name](x, approx="exact"))
    oracle = Oracle.of(REGISTRY[name])
    errors = oracle.ulp_error(x, ours)
    assert errors.max() <= CLOSEST, f"{name}({x[errors.argmax()]!r}) is {errors.max():.6g} ULP off"
    if format_of(dtype).name != "float64":
        truth = oracle.rounded(x)
        wrong = (ours.view(np.uint32) != truth.view(np.uint32)) & ~(np.isnan(ours) & np.isnan(truth))
        assert not wrong.any(), f"{name}({x[wrong][0]!r}) is misrounded"
