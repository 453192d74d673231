"""Correct rounding to 16 bits: also at parameters for which no certificate speaks, and what it rests on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flint")
pytest.importorskip("ml_dtypes")

from accuracy_cases import REGISTRY, SEED

from fastact.accuracy.oracle import Oracle
from fastact.accuracy.samples import stratified
from fastact.accuracy.ulp import format_of
from fastact.cpu.kernels import inner_ufunc
from fastact.cuda.evaluate import evaluate
from fastact.link import single
from fastact.link.close import Close, settled
from fastact.link.forms import Form, forms, kernel
from fastact.link.linker import WORTH, Linking, link
from fastact.link.settled import SETTLED
from fastact.link.sixteen import DTYPES, is_sixteen, rounds_well

WITH_PARAMETERS = [
    name
    for name, declaration in REGISTRY.items()
    if declaration.parameters and all(p.below is None for p in declaration.parameters)
]


@pytest.mark.parametrize("form", ["value", "grad"])
@pytest.mark.parametrize("name", WITH_PARAMETERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_other_parameters(dtype: str, name: str, form: str) -> None:
    declaration, random = REGISTRY[name], np.random.default_rng(SEED)
    kind = format_of(dtype).dtype
    x = stratified(dtype, 400, SEED, declaration.critical, declaration.domain)
    x = np.concatenate([x, random.uniform(-10, 10, 400).astype(kind)])
    x = x[np.isfinite(x)]
    given: list[Any] = []
    for p in declaration.parameters:
        value = random.uniform(0.25, 3.0, x.size) * (1.0 if p.above is not None else random.choice([-1.0, 1.0], x.size))
        given.append(value.astype(kind))
    barred = [r.violated for r in declaration.rejections if not r.forms or form in r.forms]
    ascending = np.sort(np.abs(np.array(given, np.float64)), axis=0)
    for choice in (given, ascending, [*ascending[:-1], -ascending[-1]]):
        given = [a.astype(kind) for a in choice]
        if not any(np.any(np.asarray(violated(*given))) for violated in barred):
            break
    else:
        pytest.fail(f"none of these parameters of {name} is allowed")
    with np.errstate(all="ignore"):
        found = np.asarray(inner_ufunc(name, form, "exact")(x, *given))
    oracle = Oracle(declaration.formula, tuple(p.name for p in declaration.parameters))
    truth = oracle.rounded(x, *given, wrt="x" if form == "grad" else None)
    bits = format_of(dtype).bits
    wrong = (
        (found.view(bits) != truth.view(bits)) & ~(np.isnan(found) & np.isnan(truth)) & ~((found == 0) & (truth == 0))
    )
    at = int(np.flatnonzero(wrong)[0]) if wrong.any() else 0
    assert not wrong.any(), f"{x[at]!r}, {[a[at] for a in given]}: {found[at]!r}, not {truth[at]!r} (seed {SEED})"


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_needs_no_decision(dtype: str) -> None:
    linking = Linking(kernel_arithmetic(dtype))
    a, b = (linking.receive(dtype) for _ in range(2))
    a, b = (v.plain() if hasattr(v, "plain") else v for v in (a, b))
    assert rounds_well((a * b).node, dtype) and rounds_well((-(a + b)).node, dtype)
    assert rounds_well((a * 0.5).node, dtype) and is_sixteen(abs(a).node, dtype)
    assert not rounds_well((a * b + a).node, dtype) and not rounds_well((a * 0.1).node, dtype)
    assert rounds_well((a / b).node, dtype) == (dtype == "float16")


def kernel_arithmetic(dtype: str) -> Any:
    from fastact.link.arithmetic import ARITHMETICS

    return ARITHMETICS[dtype, "exact"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_and_quotients_of_all_numbers_are_rounded_once(dtype: str) -> None:
    """prelu's product, and 1/x, are single operations: compared with float64, which is exact enough for them."""
    kind, bits = format_of(dtype).dtype, format_of(dtype).bits
    x = np.arange(1 << 16).astype(np.uint16).view(kind)
    x = x[~np.isnan(x)]
    w = np.random.default_rng(SEED).permutation(x)
    with np.errstate(all="ignore"):
        found = inner_ufunc("prelu", "value", "exact")(-abs(x), w)
        expected = (-abs(x).astype(np.float64) * w.astype(np.float64)).astype(kind)
        quotient = inner_ufunc("reciprocal", "value", "exact")(x)
        inverse = (1.0 / x.astype(np.float64)).astype(kind)
    for a, b in ((found, expected), (quotient, inverse)):
        assert ((a.view(bits) == b.view(bits)) | (np.isnan(a) & np.isnan(b))).all()


def test_rough_decisions_are_rare() -> None:
    """float64 is asked where float32 leaves it open only: the graph of a kernel has one such place
    where parameters are given."""
    for dtype in DTYPES:
        nodes = kernel(REGISTRY["softplus"], "value", dtype, "exact").graph.live()
        assert any(node.type == "f64" for node in nodes)
        assert any(node.op == "select" and node.data == "rare" for node in nodes)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rough_does_not_cost_more_than_fast(dtype: str) -> None:
    for name, declaration in REGISTRY.items():
        if not declaration.parameters:  # with constants for them it may, so that bits are the same without
            rough, fast = (single.cost(kernel(declaration, "value", dtype, tier).graph) for tier in ("rough", "fast"))
            assert WORTH * rough < fast + 1e-9, name


ENTRIES = sorted(SETTLED)


def stored_results(form: Form, dtype: str, settled: str | Close) -> Any:
    """All 65,536 results of `exact` with what is said to settle close cases; every NaN is the same."""
    graph = link(form.body, 1, dtype, "exact", None, settled, form.fixed)
    with np.errstate(all="ignore"):
        results = evaluate(graph)(np.arange(1 << 16, dtype=np.uint16))[0]
    return np.where((results & 0x7FFF) > (0x7C00 if dtype == "float16" else 0x7F80), 0x7FFF, results)


@pytest.mark.parametrize(("name", "form", "dtype"), ENTRIES[SEED % 4 :: 4])
def test_what_float32_settles_is_what_decisions_say(name: str, form: str, dtype: str) -> None:
    """And what is put right would be wrong, and nothing else."""
    chosen = forms(REGISTRY[name])[form]
    close = settled(REGISTRY[name], chosen, dtype)
    assert isinstance(close, Close)
    right = stored_results(chosen, dtype, chosen.settled)
    np.testing.assert_array_equal(stored_results(chosen, dtype, close), right)
    wrong = np.flatnonzero(stored_results(chosen, dtype, replace(close, wrong=())) != right)
    assert [place for place, _ in close.wrong] == wrong.tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_is_settled_for_parameters_that_are_given(dtype: str) -> None:
    for form, decides in (("usual_value", False), ("value", True)):
        graph = kernel(REGISTRY["softplus"], form, dtype, "exact").graph
        assert any(node.type == "f64" for node in graph.live()) == decides
