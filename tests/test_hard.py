"""The search for float64 inputs that are hard to round."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flint")

from fastact.accuracy import hard, prover
from fastact.accuracy.case import Case
from fastact.accuracy.ulp import from_ordinal, ordinal, ulp
from fastact.kernels import REGISTRY
from fastact.kernels import operations as op


def distance(case: Case, x: float) -> float:
    """How far from a rounding boundary the truth is, in ULPs, by ball arithmetic."""
    ball = hard._ball(case, x)
    man, exp = (int(part) for part in ball.mid().man_exp())
    in_ulps = abs(man * Fraction(2) ** exp / Fraction(float(ulp(float(ball), "float64"))))
    return abs(float(in_ulps % 1 - Fraction(1, 2)))


@pytest.mark.parametrize(("name", "form"), [("exp", "value"), ("mish", "grad"), ("log", "value"), ("silu", "value")])
def test_what_is_found_is_hard(name: str, form: str) -> None:
    case = Case(REGISTRY[name], form, "float64")
    found = hard.search(case, runs=64)
    # Of random fractions one in 2^8 is so near, on one side or the other.
    assert found.stepped >= 32 * 2 * hard.HALF and found.found > found.stepped / 2**9
    assert 100 < found.x.size <= hard.KEPT and found.x.size == np.unique(found.x).size
    distances = [distance(case, x) for x in found.x.tolist()]
    assert max(distances) < hard.NEAR
    assert distances[0] < 2.0**-18 and np.median(distances) < 2.0**-12


@pytest.mark.parametrize("middle", [0.3, 2.7, -5.1, -740.0, 1e-9, -1e-290])
def test_the_polynomial_tells_the_distance(middle: float) -> None:
    case = Case(REGISTRY["silu"], "value", "float64")
    place = int(ordinal(np.float64(middle)))
    coefficients = hard._polynomial(case, place)
    assert coefficients is not None
    steps = np.random.default_rng(3).integers(-hard.HALF, hard.HALF, 100)
    found = hard._distances(coefficients, steps).astype(np.float64) * 2.0**-64
    truth = [distance(case, x) for x in from_ordinal(place + steps, "float64").tolist()]
    assert np.allclose(found, truth, rtol=0.0, atol=2.0**-30)


def test_runs_in_which_there_is_no_polynomial_are_left_out() -> None:
    case = Case(REGISTRY["hardswish"], "value", "float64")
    for middle in (3.0, np.inf, np.nan):
        assert hard._polynomial(case, int(ordinal(np.float64(middle)))) is None
    log = Case(REGISTRY["log"], "value", "float64")
    assert hard._polynomial(log, int(ordinal(np.float64(-2.0)))) is None
    relu = Case(REGISTRY["relu"], "value", "float64")
    assert hard.search(relu, runs=16).x.size == 0


def effort(**options: Any) -> prover.Effort:
    return prover.Effort(jobs=1, samples=1 << 20, checked=500, runs=64, **options)


def test_certificates_tell_what_was_found() -> None:
    (exact,) = prover.certify(REGISTRY["tanh"], "value", "float64", ("exact",), effort())
    told = re.search(r"the (\d+) hardest of the (\d+) within 2\^-62 .* among (\d+) .* within 2\^-(\d+)", exact.method)
    assert told, exact.method
    kept, found, stepped, power = map(int, told.groups())
    assert 100 < kept < found < stepped <= 64 * 2 * hard.HALF and power >= 9


def test_a_result_that_is_wrong_only_where_rounding_is_hard_is_found() -> None:
    honest = REGISTRY["tanh"]
    (x, *_) = hard.search(Case(honest, "value", "float64"), runs=64).x.tolist()

    def body(v: Any) -> Any:
        value = honest.value(v)
        return op.where(v.equals(x), value * (1.0 + 2.0**-50), value)

    # The audit's double-double evaluation goes wrong with the kernel: only ball arithmetic at that very input tells.
    (exact,) = prover.certify(replace(honest, value=body), "value", "float64", ("exact",), effort())
    assert not exact.holds and exact.worst_input == x


def test_an_interruption_of_the_search_keeps_the_audit(tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if total == 1:
            raise Stopped

    tanh = REGISTRY["tanh"]
    with pytest.raises(Stopped):
        prover.certify(tanh, "value", "float64", ("exact",), effort(folder=tmp_path, progress=stop))
    (checkpoint,) = tmp_path.glob("*.json")
    assert json.loads(checkpoint.read_text())["done"] == [0]
    (exact,) = prover.certify(tanh, "value", "float64", ("exact",), effort(folder=tmp_path))
    assert exact.holds and not list(tmp_path.glob("*.json"))
