"""Formulas evaluated without error on arrays: what is settled so is what ball arithmetic and fractions say."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("flint")

from fastact.accuracy import exactly
from fastact.accuracy.balls import ctx
from fastact.accuracy.batch import Batch
from fastact.accuracy.oracle import Oracle
from fastact.accuracy.ulp import Doubles, format_of, is_midpoint

TANHSHRINK = "x - tanh(x)"
FORMULAS = (
    TANHSHRINK, "x*clip(x/6 + 1/2, 0, 1)", "where(x >= 1, x, where(x <= -1, 0, (x + 1)**2/4))", "abs(x)*x/3 - 1/4",
    "max(x, 0)/4 + min(x/5, x/3)", "erfc(x) - x", "erf(x)*x - 1/3", "expm1(x) + x/7", "(x + 1)**-2", "x/(1 + abs(x))",
    "1 - tanh(2*x)/x", "where(not (x < 3 or x > 60), tanh(x), 0) + x", "x*(1 + tanh(x))/3", "exp(x) + x",
)  # fmt: skip


def many(seed: int) -> Doubles:
    """Numbers of few bits, of 24 bits that are multiples of 3, and large ones."""
    random = np.random.default_rng(seed)
    few = random.integers(-64, 64, 300) * np.exp2(random.integers(-5, 4, 300))
    thirds = 3.0 * random.integers(-(2**21), 2**21, 300) * np.exp2(random.integers(-28, 4, 300))
    large = random.integers(2**23, 2**24, 100) * 2.0 * random.choice([-1.0, 1.0], 100)
    return np.concatenate([few, thirds, large, random.normal(size=100).astype(np.float32)]).astype(np.float64)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("slope", [False, True])
@pytest.mark.parametrize("formula", FORMULAS)
def test_what_is_settled_is_right(formula: str, slope: bool, dtype: str) -> None:
    oracle, form, x = Oracle(formula), format_of(dtype), many(len(formula))
    wrt = "x" if slope else None
    found, known = exactly.rounded(oracle.expression, 0 if slope else None, [x], form)
    before = ctx.prec
    try:
        batch = Batch(oracle.program(wrt), [x[known]], oracle._expansion(wrt))
        truth = batch.rounded(form) if known.any() else x[known]
    finally:
        ctx.prec = before
    assert np.array_equal(found[known], truth) and np.array_equal(np.signbit(found[known]), np.signbit(truth))
    if formula == "exp(x) + x":
        assert not known.any()


@pytest.mark.parametrize(
    ("formula", "slope", "first"),
    [(TANHSHRINK, False, 0x4B800001), (FORMULAS[1], True, 0x3E800000), (FORMULAS[2], True, 0x3F000001)],
)
def test_ties_are_settled(formula: str, slope: bool, first: int) -> None:
    """Next to ties of large numbers, and of ties among all: those are what whole sweeps are full of."""
    x = (np.arange(first, first + 6000, dtype=np.uint32)).view(np.float32).astype(np.float64)
    found, known = exactly.rounded(Oracle(formula).expression, 0 if slope else None, [x], format_of("float32"))
    if formula == TANHSHRINK:
        assert known.all() and np.array_equal(found, x)
    else:
        exact = x / 3 + 0.5 if formula == FORMULAS[1] else (x + 1) / 2
        tie = is_midpoint(exact, "float32") & ((x / 3 * 3 == x) | (formula != FORMULAS[1]))
        tie &= (np.float64(3) * (exact - 0.5) == x) | (formula != FORMULAS[1])
        assert np.count_nonzero(tie) > 500 and known[tie].all()
        assert np.array_equal(found[tie], exact[tie].astype(np.float32))
