"""Calls that leave parameters out run kernels of their own, with the defaults as constants: same bits in `exact`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("ml_dtypes")

from accuracy_cases import DTYPES, REGISTRY, SEED

import fastact
from fastact.accuracy.samples import special, stratified
from fastact.accuracy.ulp import format_of, to_bits
from fastact.cpu.kernels import inner_ufunc
from fastact.link.forms import forms
from fastact.link.values import round_to_dtype

USUAL = [(name, form.base) for name, d in REGISTRY.items() for form in forms(d).values() if form.fixed]


@pytest.mark.parametrize(("name", "form"), USUAL)
@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_are_those_of_the_defaults_written_out(name: str, form: str, dtype: str) -> None:
    declaration, kind = REGISTRY[name], format_of(dtype).dtype
    usual = forms(declaration)[forms(declaration)[form].usual]
    x = np.concatenate([stratified(dtype, 2000, SEED, declaration.critical, declaration.domain), special(dtype)])
    g = np.random.default_rng(SEED).standard_normal(x.size).astype(kind)
    inputs = (g, x) if usual.place else (x,)
    # In the other tiers bodies take shorter ways for constants that they know; both are held to the same bounds.
    with np.errstate(all="ignore"):
        short = inner_ufunc(name, usual.name, "exact")(*inputs)
        long = inner_ufunc(name, form, "exact")(*inputs, *map(kind.type, usual.fixed))
    assert ((to_bits(short) == to_bits(long)) | (np.isnan(short) & np.isnan(long))).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_constants_are_rounded_as_inputs_are(dtype: str) -> None:
    numbers = [0.01, -0.4472, 1 / 6, 3e-6, 1e-7, 0.0, 1.0, *np.random.default_rng(SEED).standard_normal(50).tolist()]
    for value in numbers:
        assert float(round_to_dtype(value, dtype)) == float(format_of(dtype).dtype.type(value))


class Telltale:
    """Says which ufunc it was given to, with how many inputs."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return ufunc.__name__, len(inputs), sorted(options)


def test_which_calls_they_serve() -> None:
    usual, general = "fastact_softplus_usual_value_fast", "fastact_softplus_fast"
    assert fastact.softplus(Telltale(), approx="fast") == (usual, 1, [])
    assert fastact.softplus(Telltale(), approx="fast", where=True, casting="safe") == (usual, 1, ["casting", "where"])
    assert fastact.softplus(Telltale(), 1.0, approx="fast") == (general, 2, [])
    assert fastact.softplus(Telltale(), beta=1.0, approx="fast") == (general, 2, [])
    with pytest.raises(TypeError, match="weight"):
        fastact.prelu(1.0)
