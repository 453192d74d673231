"""Gradients of snake next to their roots, which alpha moves: as near as a product of two numbers comes to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("flint")

from flint import arb, ctx

from fastact.accuracy.audit import Loop
from fastact.accuracy.oracle import Oracle
from fastact.cpu.kernels import inner_ufunc
from fastact.kernels import REGISTRY
from fastact.kernels.blocks import near_turns
from fastact.link.arithmetic import PAIR
from fastact.link.linker import Linking
from fastact.link.pair import Pair
from fastact.link.values import Real

ORACLE = Oracle.of(REGISTRY["snake"])
PRODUCT = Oracle(f"g*({REGISTRY['snake'].formula})", ("g", "alpha"))
NUMBERS = (0, 1, 2, 10, 63, 64, 65, 100, 1000, 10**6, 10**9, 10**12)
"""Of roots."""


def root(form: str, number: int) -> arb:
    """A positive root t of the gradient with respect to x or alpha, as a number of some hundred digits."""
    if form == "grad":
        return ((number + 0.75) * arb.pi()).mid()
    q = ((number + 0.5) * arb.pi()).mid()
    t = q - 1 / (2 * q)
    for _ in range(12):
        t = (t - (2 * t * t.cos() - t.sin()) / (t.cos() - 2 * t * t.sin())).mid()
    return t


@pytest.fixture(autouse=True)
def precision() -> Any:
    before, ctx.prec = ctx.prec, 1000
    yield
    ctx.prec = before


def compiled(body: Any) -> Any:
    """A function of a pair of words as one of arrays of words."""
    linking = Linking(PAIR)
    pair = body(Pair(*(Real(linking, linking.graph.input("f64")) for _ in range(2))))
    linking.graph.outputs += [pair.hi.node, pair.low.node]

    def run(high: Any, low: Any) -> list[arb]:
        words = [np.empty_like(high) for _ in range(2)]
        Loop(linking.graph)(high, low, *words)
        return [arb(a) + arb(b) for a, b in zip(*(word.tolist() for word in words), strict=True)]

    return run


@pytest.mark.parametrize("form", ["grad", "grad_alpha"])
def test_what_is_left_next_to_a_root_has_nearly_all_digits(form: str) -> None:
    pairs, expected = [], []
    for number in NUMBERS:
        near, most = root(form, number), 2.0**-37
        if form == "grad_alpha":
            most = 2.0**-12 / (1.0 + float(near))
        for bits in (0, 30, 52, 75, 104):
            t = near + (near * arb(2) ** -bits).min(arb(most))
            high = float(t.mid())
            low = float((t - high).mid())
            pairs.append((high, low))
            t = arb(high) + low
            expected.append((t - near) if form == "grad" else (2 * t * t.cos() / t.sin() - 1) / 2)
    high, low = map(np.array, zip(*pairs, strict=True))
    if form == "grad":
        found = compiled(lambda t: t.pair(*near_turns.beside_turns(t.hi, t.low, 1)))(high, low)
    else:
        found = compiled(lambda t: near_turns.ratio(t, everywhere=True))(high, low)
    for t, y, truth in zip(pairs, found, expected, strict=True):
        assert abs(y / truth - 1) < arb(2) ** -65, t


def test_what_one_word_leaves_next_to_a_root_has_enough_digits() -> None:
    ratio = compiled(lambda t: near_turns.ratio(t, everywhere=False))
    words = np.array([float(root("grad_alpha", number)) for number in NUMBERS])
    for t, y in zip(words.tolist(), ratio(words, np.zeros_like(words)), strict=True):
        exact = arb(t)
        assert abs(y / ((2 * exact * exact.cos() / exact.sin() - 1) / 2) - 1) < arb(2) ** -45, t


def nearest(form: str, dtype: Any) -> tuple[Any, Any]:
    """Numbers of which the products are next to roots, and others a little further off."""
    random, columns = np.random.default_rng(3), []
    for number in NUMBERS:
        near = root(form, number)
        for x in (random.uniform(0.3, 3.0, 12) * random.choice([-1.0, 1.0], 12)).astype(dtype):
            alpha = dtype(float((near if form == "grad_alpha" else near * (x > 0 or 1)) / arb(float(x))))
            columns += [(x, np.nextafter(alpha, dtype(side))) for side in (-np.inf, 0.0, np.inf)]
            columns.append((x, dtype(alpha * (1 + 2.0 ** -random.uniform(5, 50)))))
    return tuple(np.array(column, dtype) for column in zip(*columns, strict=True))  # type: ignore[return-value]


@pytest.mark.parametrize("form", ["grad", "grad_alpha"])
def test_products_next_to_roots(form: str) -> None:
    x, alpha = nearest(form, np.float64)
    g = np.random.default_rng(4).standard_normal(x.size)
    wrt = "x" if form == "grad" else "alpha"
    y = inner_ufunc("snake", form, "exact")(x, alpha)
    assert ORACLE.ulp_error(x, y, alpha, wrt=wrt).max() <= 0.501
    y = inner_ufunc("snake", form.replace("grad", "backward"), "exact")(g, x, alpha)
    assert PRODUCT.ulp_error(x, y, g, alpha, wrt=wrt).max() <= 0.501


def test_numbers_next_to_roots_with_alpha_left_out() -> None:
    x = np.array([float(root("grad_alpha", number)) for number in NUMBERS])
    x = np.concatenate([x, np.nextafter(x, 0), -x])
    y = inner_ufunc("snake", "usual_grad_alpha", "exact")(x)
    assert ORACLE.ulp_error(x, y, 1.0, wrt="alpha").max() <= 0.501


MADE = {
    # x, alpha: the factors of whole numbers that are nearest to multiples of roots
    "grad": [
        (-1.9166573875397226, 0.4097749386527596),
        (1.3934482032271294, 3.9454549735323097),
        (1.6780557225588753, 186.7481889801112),
        (1.5198042694525011, 62012.586820460914),
        (1.6593406638479509, 1893277.2134363248),
        (1.8970822573968091, 1656012880.0715857),
        (1.8337967195325298, 1713162980458.3032),
    ],
    "grad_alpha": [
        (1.7703507189146752, 0.6583786888971729),
        (1.3894266986719643, 3.3137529180930225),
        (1.7710360138061019, 55.874140934351665),
        (1.6718385676996215, 188.85105544748214),
        (1.4612242027224762, 2151.0479261053842),
        (-1.5896090902886308, 5928.002783169219),
        (1.7042545070930954, 55302.39175337391),
        (1.9888509465970776, 1579602.649339422),
        (1.7395777410457065, 1805951284.058219),
        (1.6980512101120213, 1850116554131.5515),
    ],
}  # fmt: skip


@pytest.mark.parametrize("scale", [1.0, 2.0**400, 2.0**-400])
@pytest.mark.parametrize("form", MADE)
def test_products_that_are_made_to_hit_roots(form: str, scale: float) -> None:
    x, alpha = map(np.array, zip(*MADE[form], strict=True))
    x, alpha, wrt = x * scale, alpha / scale, "x" if form == "grad" else "alpha"
    g = np.random.default_rng(4).standard_normal(x.size) * min(1.0, alpha[0] ** 2)
    y = inner_ufunc("snake", form.replace("grad", "backward"), "exact")(g, x, alpha)
    assert PRODUCT.ulp_error(x, y, g, alpha, wrt=wrt).max() <= 0.501


@pytest.mark.parametrize(
    ("x", "alpha"),
    [
        (1.2247247695922852, 0.9516923427581787),
        (1.9940860271453857, 2.3089358806610107),
        (1.5178482532501221, 7.214122772216797),
        (1.207693099975586, 27.301273345947266),
        (1.9044982194900513, 106.39561462402344),
    ],
)
def test_products_of_float32_beside_ties(x: float, alpha: float) -> None:
    """Gradients that little is left of, times numbers that put the result next to a tie."""
    slope = float(abs(ORACLE.derivative(x, alpha, wrt="alpha")).mid())
    g = np.arange(1 << 23, 1 << 24)
    places = np.frexp(g * slope)[0] * 2.0**24
    g = (g[np.argsort(abs(places % 1.0 - 0.5))[:60]] * 2.0**-23).astype(np.float32)
    columns = np.full(60, x, np.float32), np.full(60, alpha, np.float32)
    y = inner_ufunc("snake", "backward_alpha", "exact")(g, *columns)
    assert (y == PRODUCT.rounded(columns[0], g, columns[1], wrt="alpha")).all()
