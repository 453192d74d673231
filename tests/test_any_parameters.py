"""``fast`` and ``rough`` with parameters of any value, and next to roots that move with them.

The truth is what `exact` makes of the same numbers in float64, which `test_parameters.py` holds to its bound.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("ml_dtypes")

from accuracy_cases import DTYPES, NAMES, REGISTRY, SEED

from fastact.accuracy.ulp import Doubles, Floats, format_of, nearest
from fastact.cpu.kernels import inner_ufunc
from fastact.link.forms import Form, forms

COUNT = 3000
FAST = {"float16": 0.51, "bfloat16": 0.51, "float32": 4.0, "float64": 4.0}
"""ULP; functions with parameters are no elementary ones."""
ROUGH = {"float16": 1.0, "bfloat16": 0.6, "float32": 2.0**-12, "float64": 2.0**-24}
"""ULP, and relative."""
LOST = 2.0**-20
"""What errors of exact results add, those of float64 in particular."""

WITH_PARAMETERS = [
    (name, form) for name in NAMES for form, described in forms(REGISTRY[name]).items() if described.parameters
]


def drawn(name: str, form: Form, dtype: str, random: Any) -> list[Floats]:
    """Inputs of a form, moderate numbers: a third of the parameters at their defaults, none that is barred."""
    declaration, kind, columns = REGISTRY[name], format_of(dtype).dtype, []
    known = {p.name: p for p in form.parameters}
    for argument in form.arguments:
        parameter = known.get(argument)
        size = np.exp(random.uniform(-2.5, 2.5, COUNT))
        column = size if parameter and parameter.above is not None else size * random.choice([-1.0, 1.0], COUNT)
        if parameter and parameter.below is not None:
            column = random.uniform(parameter.above or 0.0, parameter.below, COUNT)
        if parameter and parameter.default is not None:
            column = np.where(random.random(COUNT) < 0.3, parameter.default, column)
        columns.append(nearest(column, dtype).astype(kind))
    for rejection in declaration.rejections:
        if not rejection.forms or form.name in rejection.forms:
            barred = np.broadcast_to(rejection.violated(*columns[-len(known) :]), columns[0].shape)
            columns = [column[~barred] for column in columns]
    assert columns[0].size > 10
    return columns


def truth(name: str, form: str, columns: list[Any]) -> Doubles:
    with np.errstate(all="ignore"):
        return np.asarray(inner_ufunc(name, form, "exact")(*(np.asarray(c, np.float64) for c in columns)))


def moved_to_roots(name: str, form: Form, columns: list[Floats], random: Any) -> list[Floats]:
    """The same inputs, with x close to a root where there is one between it and a multiple of it."""
    place, dtype = form.place, columns[0].dtype
    low = columns[place].astype(np.float64)
    high = low * random.uniform(0.2, 5.0, low.size)

    def sign(x: Doubles) -> Doubles:
        return np.sign(truth(name, form.name, [*columns[:place], x, *columns[place + 1 :]]))

    first = sign(low)
    found = first * sign(high) < 0
    for _ in range(40):
        middle = (low + high) / 2
        same = sign(middle) == first
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    off = 1 + random.normal(size=low.size) * 2.0 ** -random.uniform(3, format_of(dtype).precision + 1, low.size)
    moved = np.where(found, nearest(low * off, dtype), columns[place].astype(np.float64)).astype(dtype)
    return [*columns[:place], moved, *columns[place + 1 :]]


def errors(name: str, form: Form, dtype: str, tier: str, columns: list[Floats], expected: Doubles) -> Doubles:
    """Errors as the contract counts them: next to roots of gradients in ULPs of the terms that cancel there, which are
    f/x and what is left of the gradient without it."""
    number = format_of(dtype)
    with np.errstate(all="ignore"):
        y = inner_ufunc(name, form.name, tier)(*columns).astype(np.float64)
        size = np.maximum(np.abs(expected), number.smallest_normal)
        unit, lenient = size, tier == "rough" or number.width > 16
        if lenient and form.name.startswith(("grad", "backward")) and not form.variant:
            x = columns[form.place].astype(np.float64)
            value = truth(name, "value", [x, *columns[-len(REGISTRY[name].parameters) :]])
            term = value / x * (columns[0].astype(np.float64) if form.place else 1.0)
            if form.name.endswith("_alpha") and name == "snake":  # x sin(2 t)/alpha - (sin(t)/alpha)^2, t = alpha x
                a = columns[-1].astype(np.float64)
                term = -((np.sin(a * x) / a) ** 2) * (columns[0].astype(np.float64) if form.place else 1.0)
            for terms in (np.abs(term), np.abs(expected - term)):
                unit = np.where(terms > unit, terms, unit)
        if tier == "fast" or number.width == 16:
            unit = 2.0 ** (np.floor(np.log2(unit)) - number.precision + 1)
        found = np.abs(y - expected) / unit
        found = np.where(np.isnan(found) & ~np.isnan(expected), np.inf, found)
        lost = (tier == "rough") & (y == 0) & (np.abs(expected) < number.smallest_normal)
        measured = np.isfinite(expected) & (np.abs(expected) < number.largest / 2)
        return np.where(measured & ~lost, found, 0.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "form"), WITH_PARAMETERS)
def test_with_any_parameters(name: str, form: str, dtype: str) -> None:
    random, described = np.random.default_rng(SEED), forms(REGISTRY[name])[form]
    columns = drawn(name, described, dtype, random)
    if form in ("grad", "backward") or format_of(dtype).width == 16:
        columns = moved_to_roots(name, described, columns, random)
    expected, turn = truth(name, form, columns), (SEED + WITH_PARAMETERS.index((name, form))) % len(DTYPES)
    # Compiling is what takes time: rough takes turns.
    for tier, allowed in (("fast", FAST[dtype]), ("rough", ROUGH[dtype]))[: 1 + (DTYPES[turn] == dtype)]:
        found = errors(name, described, dtype, tier, columns, expected)
        worst = int(found.argmax())
        given = ", ".join(repr(c[worst]) for c in columns)
        assert found[worst] <= allowed * (1 + LOST) + (0.501 if dtype == "float64" and tier == "fast" else 0.0), (
            f"{name}.{form} {dtype} {tier} of {given} is not {expected[worst]!r}: {found[worst]:.6g} (seed {SEED})"
        )
