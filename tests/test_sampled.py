"""Forms of several arguments, measured on samples: what is shipped, what is drawn, and that what is wrong is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastact.accuracy import sampled
from fastact.kernels import REGISTRY
from fastact.link.arithmetic import DTYPES, TIERS
from fastact.link.forms import forms

pytest.importorskip("flint")
pytest.importorskip("ml_dtypes")

from fastact.accuracy import sampling
from fastact.accuracy.drawing import draw
from fastact.accuracy.sampling import Columns
from fastact.accuracy.ulp import from_bits

INSTALLED = sampled.installed()


# -- what is shipped --------------------------------------------------------------------------------------------------
def test_every_form_of_several_arguments_is_measured() -> None:
    missing = sampled.missing(INSTALLED)
    assert not missing, f"{len(missing)} rows are missing, e.g. {missing[0]}; run scripts/certify.py --stale"
    for name, declaration in REGISTRY.items():
        found = sampled.sampled(name)
        assert "backward" in found and ("from_output" in found) == (declaration.from_output is not None)
        assert ("value" in found) == ("grad" in found) == bool(declaration.parameters)
        assert {f"backward_{p.name}" for p in declaration.parameters if p.learned} <= set(found)


def test_what_further_arguments_choose_is_measured() -> None:
    variants = [(name, form.name) for name in REGISTRY for form in forms(REGISTRY[name]).values() if form.base]
    variants = [(name, form) for name, form in variants if not forms(REGISTRY[name])[form].fixed]
    rows = {(row.function, row.form, row.dtype, row.tier) for row in INSTALLED.values()}
    wanted = {(*variant, dtype, tier) for variant in variants for dtype in DTYPES for tier in TIERS}
    assert len(variants) >= 17 and wanted <= rows, sorted(wanted - rows)


def test_nothing_is_stale() -> None:
    stale = sampled.stale(INSTALLED)
    assert not stale, f"{len(stale)} rows are of other kernels, e.g. {stale[0]}; run scripts/certify.py --stale"


def test_all_keep_the_contract_but_for_those_that_are_known() -> None:
    beyond = [row for row in INSTALLED.values() if not row.holds]
    unknown = [str(row) for row in beyond if (row.function, row.form) not in sampled.BEYOND]
    assert not unknown, "\n".join(unknown)
    kept = set(sampled.BEYOND) - {(row.function, row.form) for row in beyond}
    assert not kept, f"{kept} keep the contract again: take them off sampled.BEYOND"


@pytest.mark.parametrize("key", list(INSTALLED)[:: max(1, len(INSTALLED) // 40)], ids=str)
def test_witnesses_attain_the_errors(key: Any) -> None:
    row, case = INSTALLED[key], Columns(REGISTRY[key.function], key.form, key.dtype)
    columns = [from_bits(np.array([int(bits, 16)], dtype=np.uint64), key.dtype) for bits in row.witness]
    form = forms(REGISTRY[key.function])[key.form]
    # Those of rows in which the parameters are left out are the defaults.
    results = [case.call(key.tier, columns, left_out) for left_out in ((0, 1) if form.usual else (0,))]
    errors = [float(case.errors(key.tier, y, *case.ordered(columns))[0]) for y in results]
    assert min(abs(error - row.largest) for error in errors) <= 1e-3 * row.largest + 1e-9


# -- what is drawn ----------------------------------------------------------------------------------------------------
def test_the_same_is_drawn_each_time() -> None:
    first, again = (draw(REGISTRY["swish"], "backward_beta", "float32", 1000, 3) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first.columns, again.columns, strict=True))
    other = draw(REGISTRY["swish"], "backward_beta", "float32", 1000, 4)
    assert not np.array_equal(first.columns[0], other.columns[0])


@pytest.mark.parametrize(("name", "form"), [(n, f) for n in REGISTRY for f in sampled.sampled(n)])
def test_what_is_drawn_is_allowed(name: str, form: str) -> None:
    declaration, chosen = REGISTRY[name], forms(REGISTRY[name])[form]
    drawn = draw(declaration, form, "float32", 2000, 1)
    assert len(drawn.columns) == len(chosen.arguments) and drawn.columns[0].size > 300
    values = drawn.columns[chosen.place + 1 :]
    for parameter, column in zip(chosen.parameters, values, strict=True):
        assert parameter.above is None or (column > parameter.above).all()
        assert len(np.unique(column)) > 5
        if drawn.left_out:
            assert (column[: drawn.left_out] == np.float32(parameter.default)).all()
    for rejection in declaration.rejections:
        if values and not rejection.forms:
            assert not np.any(rejection.violated(*values))


def test_of_variants_what_matters_is_drawn() -> None:
    x, _ = draw(REGISTRY["relu"], "at_zero_grad", "float32", 2000, 1).columns
    assert 300 < np.count_nonzero(x == 0) < 700
    x, theta, bandwidth = draw(REGISTRY["jump_relu"], "bandwidth_grad_theta", "float32", 2000, 1).columns
    with np.errstate(all="ignore"):
        share = np.abs(x.astype(float) - theta.astype(float)) / bandwidth.astype(float)
    assert 200 < np.count_nonzero((share > 0.3) & (share < 0.7)) and np.count_nonzero(share == 0.5)
    _, y, *_ = draw(REGISTRY["hardsigmoid"], "slope_from_output", "float32", 2000, 1).columns
    assert np.count_nonzero((y > 0) & (y < 1)) > 200 and np.isin([0, 1], y).all()


# -- that what is wrong is found --------------------------------------------------------------------------------------
def measured(dtype: str = "float32", tier: str = "exact") -> sampled.Sampled:
    (row,) = sampling.certify(REGISTRY["tanh"], "backward", dtype, (tier,), scale=0.02)
    return row


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_one_wrong_result_is_found(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert measured(dtype).misrounded == 0
    right = Columns.call

    def wrong(self: Columns, *arguments: Any) -> Any:
        y = right(self, *arguments)
        place = int(np.flatnonzero(np.abs(y.astype(float) - 0.3) < 0.1)[0])
        y.view(f"u{y.itemsize}")[place] += 1
        return y

    monkeypatch.setattr(Columns, "call", wrong)
    row = measured(dtype)
    assert row.misrounded == 1 and row.largest > 0.5 and not row.holds


def test_a_large_error_of_float64_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert measured("float64", "fast").holds
    right = Columns.call
    monkeypatch.setattr(Columns, "call", lambda *a: right(*a) * (1.0 + 2.0**-49))
    assert not measured("float64", "fast").holds


def test_a_wrong_truth_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = sampling._Judged._narrow
    monkeypatch.setattr(sampling._Judged, "_narrow", lambda self: right(self) * (1.0 + 2.0**-40))
    with pytest.raises(sampling.Mistrust, match="float64's kernel"):
        measured()


# -- the file ---------------------------------------------------------------------------------------------------------
def test_rows_are_kept_and_stale_ones_told(tmp_path: Path) -> None:
    row, path = measured(), tmp_path / "sampled.json"
    sampled.write([row], path)
    known = sampled.read(path)
    assert known == {row.key: row} and not sampled.stale(known)
    assert sampled.stale({row.key: replace(row, digest="0" * 16)}) == [row.key]
    assert row.key in sampled.missing({}) and row.key not in sampled.missing(known)
    assert "tanh.backward float32 exact" in str(row) and "0 misrounded" in str(row)
    for text in ("{", "[]", '{"columns": [], "rows": []}', '{"rows": []}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="is not a file of samples"):
            sampled.read(path)
    assert sampled.read(tmp_path / "none.json") == {}
