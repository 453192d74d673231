"""xielu next to its roots, wherever its parameters put them, and the arithmetic of three words that it takes there."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flint")
pytest.importorskip("ml_dtypes")

from flint import arb, ctx

from fastact.accuracy.audit import Loop
from fastact.accuracy.oracle import Oracle
from fastact.accuracy.ulp import format_of, nearest
from fastact.cpu.kernels import inner_ufunc
from fastact.kernels import REGISTRY
from fastact.kernels.blocks import softplus, triple
from fastact.link.arithmetic import PAIR
from fastact.link.forms import forms
from fastact.link.linker import Linking
from fastact.link.values import Real

XIELU = REGISTRY["xielu"]
USUAL = tuple(parameter.default for parameter in XIELU.parameters)
ORACLE = Oracle.of(XIELU)
# name: the function of a word in three words, the truth, and log2 of the error allowed
TRIPLES: dict[str, tuple[Callable[[Any], Any], Callable[[arb], arb], float]] = {
    "expm1_less": (lambda x: triple.expm1_less((-abs(x),)), lambda x: (-abs(x)).expm1() + abs(x), -125.0),
    "exp": (lambda x: triple.exp((-abs(x),)), lambda x: (-abs(x)).exp(), -125.0),
    "softplus": (softplus.in_triples, lambda x: x.max(arb(0)) + (-abs(x)).exp().log1p(), -125.0),
}


@pytest.mark.parametrize("name", TRIPLES)
def test_functions_of_three_words(name: str) -> None:
    function, truth, allowed = TRIPLES[name]
    linking = Linking(PAIR)
    linking.graph.outputs += [word.node for word in function(Real(linking, linking.graph.input("f64")))]
    random = np.random.default_rng(5)
    x = np.concatenate([random.uniform(-100, 100, 150), np.exp2(random.uniform(-60, 6, 150)), random.normal(0, 2, 100)])
    words = [np.empty_like(x) for _ in linking.graph.outputs]
    Loop(linking.graph)(x, *words)
    before, ctx.prec = ctx.prec, 300
    try:
        for i, argument in enumerate(x.tolist()):
            expected = truth(arb(argument))
            found = sum((arb(float(word[i])) for word in words), arb(0))
            assert abs(found / expected - 1) < arb(2) ** allowed, argument
    finally:
        ctx.prec = before


def root(parameters: tuple[float, ...], wrt: str | None, low: float, high: float) -> float:
    """A root between two points, by bisection, to the last place."""

    def value(x: float) -> float:
        return float(ORACLE.value(x, *parameters) if wrt is None else ORACLE.derivative(x, *parameters, wrt=wrt))

    rising = value(high) > 0
    assert (value(low) > 0) != rising
    while low < (middle := (low + high) / 2) < high:
        low, high = (low, middle) if (value(middle) > 0) == rising else (middle, high)
    return high


@pytest.mark.parametrize(
    ("parameters", "form", "low", "high"),
    [
        (USUAL, "usual_value", -3.0, -2.0),
        (USUAL, "usual_grad", -1.5, -0.5),
        (USUAL, "value", -3.0, -2.0),
        ((0.25, 5.5, 0.125, -1e-3), "value", -0.1, -0.01),
        ((0.25, 5.5, 0.125, -1e-3), "grad", -0.05, -0.01),
        ((3.5, -5.25, 2.125, -1e-6), "value", -1000.0, -100.0),
        ((3.5, -5.25, 2.125, -1e-6), "grad", -20.0, -2.0),
        ((-3.25, 1.0, -0.5, -1e-6), "value", 1.0, 100.0),
        ((-3.25, 1.0, -0.5, -1e-6), "grad", 1.0, 100.0),
        ((1.0, 1.0, 0.5, -0.0625), "grad_alpha_n", -0.0625, -0.05),
    ],
)
def test_digits_remain_next_to_roots(parameters: tuple[float, ...], form: str, low: float, high: float) -> None:
    wrt = {"value": None, "grad": "x"}.get(form.removeprefix("usual_"), "alpha_n")
    near = root(parameters, wrt, low, high)
    random = np.random.default_rng(9)
    places = (np.float64(near).view(np.int64) + np.arange(-20, 20)).view(np.float64)
    x = np.concatenate([places, near * (1 + np.exp2(random.uniform(-50, -4, 60)) * random.choice([-1, 1], 60))])
    given = () if form.startswith("usual") else parameters
    for tier in ("exact", "fast"):
        y = inner_ufunc("xielu", form, tier)(x, *given)
        errors = ORACLE.ulp_error(x, y, *parameters, wrt=wrt)
        if tier == "fast" and wrt == "x":  # further out, errors count in ULPs of the terms there
            errors = errors[:40]
        assert errors.max() <= (0.501 if tier == "exact" else 4.0), (tier, x[errors.argmax()])


INF = np.inf
ODD: list[tuple[str, tuple[float, ...], float]] = [
    # An infinite x decides, since softplus is positive.
    ("value", (INF, 0.0, 0.0, -INF, -0.0), INF),
    ("value", (INF, -INF, -0.5, 1e300, -1e-6), INF),
    ("value", (INF, -1e100, -760.0, -1e300, -1e-100), INF),
    ("value", (-INF, -0.5, -0.5, INF, -1e-6), INF),
    ("value", (-INF, -0.5, INF, -1e300, -1e-6), INF),
    ("grad", (INF, 0.0, 0.0, -INF, -0.0), INF),
    ("grad", (INF, -1e100, -760.0, -1e300, -1e-100), INF),
    ("backward", (-1.5, INF, 0.0, 0.0, -INF, -0.0), -INF),
    # Of infinite parameters some are multiplied by 0, and some by exponentials that have vanished.
    ("value", (-40.0, 3.0, INF, -40.0, -0.0), INF),
    ("value", (-0.5, -0.5, 1e4, INF, -1e-12), -INF),
    ("value", (-0.0, 0.0, 0.0, INF, -0.0), -0.0),
    ("value", (0.0, 0.0, 0.0, -INF, -0.0), -0.0),
    ("grad", (-40.0, 3.0, INF, -40.0, -0.0), -INF),
    ("grad", (-0.5, -0.5, 1e4, INF, -1e-12), INF),
    ("grad", (-1e20, 0.0, -INF, INF, -1e-6), INF),
    ("grad", (0.0, -INF, -INF, INF, -0.0), -0.0),
    # Signs of zeros: of x beta, of exponentials that have vanished, of products.
    ("value", (0.0, 0.0, -INF, -0.5, -0.0), -0.0),
    ("value", (0.0, 0.0, -1e-160, -1e100, 0.0), -0.0),
    ("value", (-0.0, -1e100, 8.5e307, -8.5e307, -0.0), 0.0),
    ("value", (-1e-160, 0.0, -1e5, 0.0, -0.0), 0.0),
    ("value", (-1e-160, 0.0, -1e5, 0.0, -1.0), -0.0),
    ("value", (0.0, 1.0, 8.5e307, -8.5e307, -0.5), -0.0),
    ("grad", (-1e20, -0.5, -1e5, 1e300, -1e-6), -0.0),
    ("grad", (-1e20, -0.5, -INF, 0.5, -1e-6), 0.0),
    ("grad", (-INF, -0.5, -1e5, 1e300, -1e-6), -0.0),
    ("backward", (0.0, 0.0, 0.0, 0.0, 0.0, -0.0), -0.0),
    ("backward", (0.0, -INF, 0.0, -INF, 0.5, -0.0), -0.0),
    ("backward", (40.0, -8.5e307, -760.0, -1.7e308, 0.0, -1e-6), -0.0),
    ("backward_alpha_p", (-0.0, 2.0**-20, 0.0, 0.0, 0.0, -0.0), -0.0),
    ("backward_alpha_n", (0.0, 0.0, 0.0, 0.0, 0.0, -(2.0**-20)), -0.0),
    ("backward_alpha_n", (-0.0, -0.5, 0.0, 0.0, 0.0, -0.0), -0.0),
]


@pytest.mark.parametrize(("form", "arguments", "expected"), ODD)
@pytest.mark.parametrize("tier", ["exact", "fast", "rough"])
def test_infinities_and_zeros_among_arguments(
    form: str, arguments: tuple[float, ...], expected: float, tier: Any
) -> None:
    with np.errstate(all="ignore"):
        y = inner_ufunc("xielu", form, tier)(*map(np.float64, arguments))
    assert y == expected and np.signbit(y) == np.signbit(expected)


WITHIN: dict[str, tuple[float, ...]] = {
    "g": (1.0, -1.5),
    "x": (0.0, -0.0, 1.0, -1.0, -0.5, 40.0, -40.0, -(2.0**-20), INF, -INF),
    "alpha_p": (0.0, 100.0, -100.0, INF, -INF),
    "alpha_n": (0.0, 1.0, 100.0, -100.0, INF, -INF),
    "beta": (0.0, 0.5, -40.0, -100.0, INF, -INF),
    "eps": (-0.0, -1e-6, -1.0, -50.0, -INF),
}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("form", ["value", "grad", "backward", "grad_alpha_p", "grad_alpha_n"])
def test_infinities_are_those_of_float64(form: str, dtype: str) -> None:
    number = format_of(dtype).dtype
    described = forms(XIELU)[form]
    rows = np.array([*itertools.product(*(WITHIN[argument] for argument in described.arguments))])
    columns = [column.astype(number) for column in rows[~np.isfinite(rows).all(axis=1)].T]
    with np.errstate(all="ignore"):
        expected = inner_ufunc("xielu", form, "exact")(*(column.astype(np.float64) for column in columns))
        expected = nearest(expected, dtype)
        for tier in ("exact", "fast", "rough"):
            y = inner_ufunc("xielu", form, tier)(*columns).astype(np.float64)
            infinite = np.isinf(y) | np.isinf(expected)
            odd = (np.isnan(y) != np.isnan(expected)) | infinite & (y != expected) & ~np.isnan(expected)
            where = [tuple(float(c[i]) for c in columns) for i in np.flatnonzero(odd)[:3]]
            assert not odd.any(), (tier, where, y[odd][:3], expected[odd][:3])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_an_infinite_gradient_meets_no_slope_that_vanished(dtype: str) -> None:
    number = format_of(dtype).dtype.type
    for tier in ("exact", "fast", "rough"):
        backward = inner_ufunc("xielu", "backward_alpha_n", tier)
        assert backward(*map(number, (-INF, -1e-6, 1.0, -100.0, 0.5, -0.0))) == -INF
        assert backward(*map(number, (INF, -1.0, 1.0, -100.0, 0.5, -50.0))) == INF


@pytest.mark.parametrize("arguments", [(0.5, 150.0, 1.0, -150.0, -1e-6), (0.5, 3e38, 1.0, -3e38, -1e-6)])
@pytest.mark.parametrize("tier", ["exact", "fast", "rough"])
def test_an_exponential_is_what_is_left_of_a_large_softplus(arguments: tuple[float, ...], tier: Any) -> None:
    for form, place, wrt in (("value", 1.0, None), ("value", 0.0, None), ("grad", 0.5, "x")):
        x, *parameters = (np.array([a]) for a in (place, arguments[1], arguments[1], arguments[3], -0.5))
        y = inner_ufunc("xielu", form, tier)(x, *parameters)
        assert ORACLE.relative_error(x, y, *parameters, wrt=wrt)[0] <= 2.0**-24 or (y == 0 and arguments[1] > 800)
