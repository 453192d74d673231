"""The accuracy contract, on a sample of inputs that is new whenever a kernel is: every form of every function in all
tiers and dtypes.

The certificates prove it for all inputs; these tests notice at once when a change breaks it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("flint")
pytest.importorskip("ml_dtypes")

from accuracy_cases import DTYPES, LEARNED, NAMES, PRODUCTS, REGISTRY, SEED, SINGLE, TIERS

from fastact.accuracy import outputs
from fastact.accuracy.audit import Audit
from fastact.accuracy.case import Case, differ
from fastact.accuracy.contract import bound
from fastact.accuracy.lemmas import halved, halving
from fastact.accuracy.oracle import Oracle
from fastact.accuracy.samples import stratified
from fastact.accuracy.ulp import Floats, format_of, from_bits

AUDITED = 1 << 20
MOST_OPEN = 4096
"""Of 2^20 inputs the audit leaves hardly one open, but thousands where many exact results are ties."""
BLOCK = 1 << 16


def broken(case: Case, tier: str, y: Floats, x: Floats, *more: Floats, truth: Floats | None = None) -> str:
    """What the contract forbids among these results; an empty string where it is kept."""
    truth = case.rounded(x, *more) if truth is None else truth
    errors = case.errors(tier, y, x, *more, truth=truth)
    wrong = differ(y, case.expected(y, x, *more, truth=truth))
    kept = bound(case.declaration, case.form, case.dtype, tier)
    worst = int(errors.argmax())
    if kept.rounded and wrong.any() and not np.isinf(errors[worst]):
        worst = int(np.flatnonzero(wrong)[0])
    if kept.holds(float(errors[worst]), int(wrong.sum())):
        return ""
    # The contract lists all inputs of functions of one number. Of products, what exact means is left: twice the
    # precision, rounded once, which next to a tie may be the wrong way by as much as that precision has lost.
    if kept.rounded and more and errors[worst] <= 0.5 + 2.0**-20:
        return ""
    inputs = ", ".join(repr(a[worst]) for a in (*more, x))
    return (
        f"{case.declaration.name}.{case.form} {case.dtype} {tier} of {inputs} is {y[worst]!r}, not {truth[worst]!r}: "
        f"{errors[worst]:.6g} of {kept}, {int(wrong.sum())} of {x.size} misrounded (FASTACT_TEST_SEED={SEED})"
    )


def check(case: Case, x: Floats, *more: Floats) -> None:
    truth = case.rounded(x, *more)
    complaints = [broken(case, tier, case.results(tier, x, *more), x, *more, truth=truth) for tier in TIERS]
    assert not any(complaints), "\n".join(filter(None, complaints))


@pytest.mark.parametrize(("name", "form"), SINGLE)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bits(name: str, form: str, dtype: str) -> None:
    patterns = np.random.default_rng(SEED).choice(1 << 16, 1500, replace=False)
    check(Case(REGISTRY[name], form, dtype), from_bits(patterns, dtype))


@pytest.mark.parametrize(("name", "form"), SINGLE)
def test_float32(name: str, form: str) -> None:
    declaration = REGISTRY[name]
    case = Case(declaration, form, "float32")
    check(case, case.sample(600, SEED))
    audit = Audit(declaration, form, "float32", TIERS, case.floors)
    patterns = np.random.default_rng(SEED).integers(0, 1 << 32, AUDITED // 2, dtype=np.uint64)
    drawn = stratified("float32", AUDITED // 2, SEED, declaration.critical, declaration.domain)
    signs = halving(case.oracle, case.wrt, case.parameters)
    suspects: dict[str, list[Floats]] = {tier: [] for tier in TIERS}
    for x in np.split(np.concatenate([from_bits(patterns, "float32"), drawn]), AUDITED // BLOCK):
        errors = [np.empty(BLOCK) for _ in TIERS]
        audit.errors(x, errors)
        for tier, found in zip(TIERS, errors, strict=True):
            left_open = np.isnan(found)
            found = np.where(left_open, 0.0, np.abs(found))
            suspects[tier] += [x[left_open], x[[int(found.argmax())]]]
    for tier, parts in suspects.items():
        x = np.unique(np.concatenate(parts).view(np.uint32)).view(np.float32)
        if signs is not None and tier == "exact":
            x = x[~halved(signs, x, audit.results(tier, x))[1]]
        if x.size > MOST_OPEN:  # a sample of them then
            x = np.random.default_rng(SEED).choice(x, MOST_OPEN, replace=False)
        complaint = broken(case, tier, audit.results(tier, x), x)
        assert not complaint, complaint


@pytest.mark.parametrize(("name", "form"), SINGLE)
def test_float64(name: str, form: str) -> None:
    case = Case(REGISTRY[name], form, "float64")
    check(case, case.sample(1500, SEED))


def drawn_with_gradients(case: Case, count: int) -> tuple[Floats, Floats]:
    x = case.sample(count, SEED)
    g = np.random.default_rng(SEED).standard_normal(x.size)
    g[:: max(1, x.size // 4)] = 1.0
    return x, g.astype(case.format.dtype)


@pytest.mark.parametrize(("name", "form"), PRODUCTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_products_with_an_incoming_gradient(name: str, form: str, dtype: str) -> None:
    case = Case(REGISTRY[name], form, dtype)
    x, g = drawn_with_gradients(case, 250)
    finite = np.isfinite(x)
    check(case, x[finite], g[finite])


FADING = (
    *("exp", "exp2", "sigmoid", "softplus", "elu", "selu", "silu", "mish", "gelu", "gelu_tanh", "quick_gelu", "tanh"),
    *("erf", "erfc", "logsigmoid"),
)


@pytest.mark.parametrize("name", FADING)
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_that_fade_meet_large_and_small_factors(name: str, dtype: str) -> None:
    """Results are numbers where neither the gradient nor the product with one of its factors is, and 0 far out."""
    case = Case(REGISTRY[name], "backward", dtype)
    largest, least = float(case.format.largest), 2.0**case.format.smallest_exponent
    x = np.random.default_rng(SEED).uniform(-1.0, 1.0, 150) * np.resize([30.0, 120.0, 400.0, 900.0, 3000.0], 150)
    g = np.resize([largest / 2, -largest / 64, 1.0, largest**0.5, -(least**0.5), least * 3], 150)
    x, g = x.astype(case.format.dtype), g.astype(case.format.dtype)
    check(case, x, g)


@pytest.mark.parametrize(("name", "form"), LEARNED)
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_of_parameters(name: str, form: str, dtype: str) -> None:
    case = Case(REGISTRY[name], form, dtype)
    check(case, case.sample(400, SEED))


class FromOutput(Case):
    """The product with the gradient from the output."""

    def __init__(self, declaration: Any, dtype: str) -> None:
        super().__init__(declaration, "backward", dtype)
        self.form, self.wrt, self.floors = "from_output", None, ()
        self.oracle = Oracle(outputs.formula(declaration.name), ("g", *(p.name for p in declaration.parameters)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in NAMES if REGISTRY[name].from_output is not None])
def test_gradients_from_the_output(name: str, dtype: str) -> None:
    declaration = REGISTRY[name]
    assert name in outputs.FORMULAS, f"add the gradient of {name} as a formula of its output"
    case = Case(declaration, "value", dtype)
    y = case.results("exact", case.sample(250, SEED))
    y = y[np.isfinite(y) & (np.abs(y.astype(np.float64)) < format_of(dtype).largest ** 0.3)]
    g = np.random.default_rng(SEED).standard_normal(y.size).astype(y.dtype)
    check(FromOutput(declaration, dtype), y, g)
