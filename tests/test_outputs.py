"""Gradients from the output of 16 bits: rightly rounded on every output that a function has."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("flint")
pytest.importorskip("ml_dtypes")

from accuracy_cases import REGISTRY

from fastact.accuracy.case import differ
from fastact.accuracy.measure import settings
from fastact.accuracy.samples import every
from fastact.accuracy.sampling import Columns
from fastact.accuracy.ulp import Floats, format_of
from fastact.cpu.kernels import inner_ufunc
from fastact.link.forms import forms

FORMS = [
    (name, form.name)
    for name, declaration in REGISTRY.items()
    for form in forms(declaration).values()
    if "from_output" in (form.name, form.base) and not form.fixed
]


def columns(name: str, form: str, dtype: str) -> list[Floats]:
    """An incoming gradient of 1, all that the function attains of all inputs, and its usual parameters."""
    declaration, kind, chosen = REGISTRY[name], format_of(dtype), forms(REGISTRY[name])[form]
    value = forms(declaration)["value"]
    value = forms(declaration)[value.variant] if chosen.base else value
    known = dict(zip((p.name for p in declaration.parameters), settings(declaration, dtype), strict=True))
    usual = [kind.dtype.type(known.get(p.name, p.default)) for p in chosen.parameters]
    with np.errstate(all="ignore"):
        y = np.asarray(inner_ufunc(name, value.name, "exact")(every(kind), *usual[: len(value.parameters)]))
        y = np.unique(y.view(np.uint16)).view(kind.dtype)
        y = y[~np.isnan(y)]
    return [np.ones_like(y), y, *(np.full_like(y, parameter) for parameter in usual)]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(("name", "form"), FORMS)
def test_gradients_from_every_output(name: str, form: str, dtype: str) -> None:
    case, given = Columns(REGISTRY[name], form, dtype), columns(name, form, dtype)
    truth = None
    for left_out in (0, given[0].size) if forms(REGISTRY[name])[form].usual else (0,):
        results = case.call("exact", given, left_out)
        truth = case.expected(results, *case.ordered(given), truth=truth)
        wrong = differ(results, truth)
        assert not wrong.any(), (given[1][wrong][:5], results[wrong][:5], truth[wrong][:5])


def test_there_are_many_outputs() -> None:
    assert columns("tanh", "from_output", "float16")[1].size > 30_000
    assert columns("exp", "from_output", "bfloat16")[1].size > 2000
