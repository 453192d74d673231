"""The elementary functions on one word per number, in every arithmetic, against the truth."""

from __future__ import annotations

import functools
from math import inf, nan, pi
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flint")

from flint import arb, ctx

from fastact.accuracy.audit import Loop
from fastact.accuracy.oracle import Oracle
from fastact.accuracy.samples import stratified
from fastact.accuracy.ulp import Floats, to_bits
from fastact.cpu.compile import address
from fastact.cpu.ufunc import make_ufunc
from fastact.kernels import operations as op
from fastact.kernels.blocks import words
from fastact.link.arithmetic import DOUBLE_FAST, DOUBLE_ROUGH, DOUBLE_WIDE, SINGLE_FAST, SINGLE_ROUGH
from fastact.link.graph import Graph
from fastact.link.linker import Linking

COUNT = 2000
ARITHMETICS = {a.level: a for a in (SINGLE_ROUGH, SINGLE_FAST, DOUBLE_ROUGH, DOUBLE_FAST, DOUBLE_WIDE)}
FAST = ("single_fast", "double_fast")
ROUGH = {"single_rough": 2.0**-13.2, "double_rough": 2.0**-25.5}
"""Half of what the contract allows to results, for functions made of blocks."""
MORE = {"log": 1.75, "log1p": 1.75, "log2": 1.75}
"""What logarithms have of that besides: nothing is made of them that has an error of its own."""
WIDE = 2.0**-51
"""Of float32 inputs; a result is decided by other means where it lies within 2^-42 of a rounding boundary."""

# name: formula, domain, points of interest, largest error of the fast arithmetics in ULP
BLOCKS: dict[str, tuple[str, tuple[float, float], tuple[float, ...], float]] = {
    "exp": ("exp(x)", (-inf, inf), (0.0,), 1.0),
    "exp2": ("exp(x*log(2))", (-inf, inf), (0.5, -0.5, 128.0, 1024.0, -126.0, -149.5, -1022.0, -1074.5), 1.0),
    "expm1": ("expm1(x)", (-inf, inf), (0.34657359, -0.34657359, 1.03972077, 88.0, 709.2), 1.7),
    "log": ("log(x)", (0.0, inf), (0.70710678, 1.41421356, 2.0), 2.0),
    "log2": ("log(x)/log(2)", (0.0, inf), (0.70710678, 1.41421356, 2.0), 2.0),
    "log1p": ("log1p(x)", (-1.0, inf), (0.41421356, -0.29289322, 1.82842712), 2.0),
    "log1p_exp": ("log1p(exp(x))", (-inf, 0.0), (-0.88137359, -17.0, -87.3, -708.4), 2.0),
    "one_plus_exp": ("1 + exp(x)", (-inf, inf), (0.34657359, -0.34657359, 16.6, 36.7, 88.0, 709.2), 1.4),
    "tanh": ("tanh(x)", (-inf, inf), (0.17328680, 0.54930614, 8.66, 9.01, 19.06), 1.6),
    "reciprocal": ("1/x", (-inf, inf), (2.0**124, 2.0**126, 2.0**1020, 2.0**1022), 0.8),
    "rsqrt": ("1/sqrt(x)", (0.0, inf), (2.0, 4.0), 1.5),
    "sin": (
        "sin(x)",
        (-inf, inf),
        (*(k * pi for k in (0.5, 1, 2, 3, 22, 355, 333333)), 2.0**20, 6381956970095103 * 2.0**797),
        1.8,
    ),
}

# name: pairs of an input and the result, in all arithmetics alike
SPECIAL: dict[str, list[tuple[float, float]]] = {
    "exp": [(inf, inf), (-inf, 0.0), (0.0, 1.0), (-0.0, 1.0), (1e5, inf), (-1e5, 0.0)],
    "exp2": [(inf, inf), (-inf, 0.0), (0.0, 1.0), (-0.0, 1.0), (10.0, 1024.0), (-3.0, 0.125), (1e5, inf), (-1e5, 0.0)],
    "expm1": [(inf, inf), (-inf, -1.0), (0.0, 0.0), (-0.0, -0.0), (1e5, inf), (-1e5, -1.0)],
    "log": [(inf, inf), (-inf, nan), (-1.0, nan), (-1e-40, nan), (0.0, -inf), (-0.0, -inf), (1.0, 0.0)],
    "log2": [
        (inf, inf),
        (-inf, nan),
        (-1.0, nan),
        (0.0, -inf),
        (-0.0, -inf),
        (1.0, 0.0),
        (8.0, 3.0),
        (2.0**-140, -140.0),
    ],
    "log1p": [(inf, inf), (-inf, nan), (-1.5, nan), (-1.0, -inf), (0.0, 0.0), (-0.0, -0.0)],
    "log1p_exp": [(-inf, 0.0), (-1e5, 0.0)],
    "one_plus_exp": [(inf, inf), (-inf, 1.0), (0.0, 2.0), (-0.0, 2.0), (1e5, inf), (-1e5, 1.0)],
    "tanh": [(inf, 1.0), (-inf, -1.0), (1e5, 1.0), (-1e5, -1.0), (0.0, 0.0), (-0.0, -0.0)],
    "reciprocal": [(inf, 0.0), (-inf, -0.0), (0.0, inf), (-0.0, -inf)],
    "sin": [(inf, nan), (-inf, nan), (0.0, 0.0), (-0.0, -0.0)],
    "rsqrt": [(inf, 0.0), (-inf, nan), (-1.0, nan), (-1e-40, nan), (0.0, inf)],
}


def graph(body: Any, level: str) -> Graph:
    linking = Linking(ARITHMETICS[level])
    dtype = "float32" if level.startswith("single") else "float64"
    linking.deliver(body(linking.receive(dtype)), dtype)
    return linking.graph


def compiled(body: Any, level: str) -> np.ufunc:
    return make_ufunc("block", "", 1, 1, lambda dtype: address(graph(body, level)))


@functools.cache
def block(name: str, level: str) -> np.ufunc:
    function = getattr(words, name)
    return compiled(lambda x: function(x), level)


def word(level: str) -> type[np.floating[Any]]:
    return np.float32 if level.startswith("single") else np.float64


def inputs(name: str, level: str) -> Floats:
    """Those of the wide arithmetic are float32 numbers."""
    _, domain, critical, _ = BLOCKS[name]
    dtype = np.float32 if level == "double_wide" else word(level)
    with np.errstate(over="ignore"):
        x = stratified(dtype, COUNT, 1, critical=[c for c in critical if np.isfinite(dtype(c))], domain=domain)
    return x[(x > domain[0]) & (x != 0)].astype(word(level))


def test_every_block_is_tested() -> None:
    elsewhere = {
        *("copysign", "erf", "erfc", "erfcx", "exp_in_parts", "exp_over", "exp_times", "exponents_from", "gelu"),
        *("log_odds", "minus_cubic", "minus_square", "short_polynomial", "sin_and_cos", "sin_but_sign", "sin_squared"),
        *("falling_polynomial", "plus_sin_squared", "vanishing"),
    }
    assert set(words.__all__) - elsewhere == set(BLOCKS) == set(SPECIAL)


@pytest.mark.parametrize("level", FAST)
def test_exponentials_in_parts(level: str) -> None:
    """The unrounded sum is known to some binary places more than a word has."""
    linking = Linking(ARITHMETICS[level])
    parts = words.exp_in_parts(linking.receive("float32" if level.startswith("single") else "float64"))
    linking.graph.outputs += [part.node for part in parts]
    x = np.random.default_rng(3).uniform(*((-85, 85) if level.startswith("single") else (-700, 700)), COUNT)
    x = x.astype(word(level))
    first, rest = np.empty_like(x), np.empty_like(x)
    Loop(linking.graph)(x, first, rest)
    before, ctx.prec = ctx.prec, 200
    try:
        triples = zip(x.tolist(), first.tolist(), rest.tolist(), strict=True)
        errors = [float(abs((arb(a) + arb(b)) / arb(t).exp() - 1)) for t, a, b in triples]
    finally:
        ctx.prec = before
    assert max(errors) < np.finfo(x.dtype).eps * 2.0**-3
    assert (np.abs(rest) < first * 2.0**-5).all()


@pytest.mark.parametrize("level", FAST)
@pytest.mark.parametrize("name", BLOCKS)
def test_fast_errors(name: str, level: str) -> None:
    x = inputs(name, level)
    with np.errstate(all="ignore"):
        y = block(name, level)(x)
    error = Oracle(BLOCKS[name][0]).ulp_error(x, y)
    worst = int(np.argmax(error))
    assert error[worst] <= BLOCKS[name][3], x[worst]


@pytest.mark.parametrize("level", ROUGH)
@pytest.mark.parametrize("name", [name for name in BLOCKS if name != "log1p_exp"])  # that is made of two
def test_rough_errors_are_below_half_of_what_is_allowed(name: str, level: str) -> None:
    x = inputs(name, level)
    with np.errstate(all="ignore"):
        y = block(name, level)(x)
    oracle = Oracle(BLOCKS[name][0])
    truth = oracle.rounded(x)
    normal = np.abs(truth) >= np.finfo(word(level)).smallest_normal
    error = np.where(normal, oracle.relative_error(x, y), 0.0)
    worst = int(np.argmax(error))
    assert error[worst] <= ROUGH[level] * MORE.get(name, 1.0), x[worst]
    # Subnormal results may be zero, of the right sign.
    assert (np.signbit(y) == np.signbit(truth))[~normal].all()
    allowed = ROUGH[level] * MORE.get(name, 1.0) * np.abs(truth) / np.spacing(np.abs(truth)) + 1
    assert ((y == 0) | (oracle.ulp_error(x, y) <= allowed))[~normal].all()


@pytest.mark.parametrize("name", BLOCKS)
def test_wide_errors_leave_float32_room(name: str) -> None:
    x = inputs(name, "double_wide")
    oracle = Oracle(BLOCKS[name][0])
    with np.errstate(all="ignore"):
        y = block(name, "double_wide")(x)
        single_truth = oracle.rounded(x, dtype=np.float32)
        assert np.array_equal(np.isinf(y.astype(np.float32)), np.isinf(single_truth))
        shown = np.isfinite(single_truth) & (single_truth != 0)
    error = oracle.relative_error(x[shown], y[shown])
    worst = int(np.argmax(error))
    assert error[worst] <= WIDE, x[shown][worst]


@pytest.mark.parametrize("level", ARITHMETICS)
@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(name: str, level: str) -> None:
    given, wanted = np.array([*SPECIAL[name], (nan, nan)], dtype=word(level)).T
    with np.errstate(all="ignore"):
        y = block(name, level)(given)
        if level == "double_wide":
            y = y.astype(np.float32)
    for x, result, truth in zip(given, y, wanted, strict=True):
        if level in ROUGH and np.isfinite(truth) and truth != 0:
            assert result == pytest.approx(truth, rel=ROUGH[level] * MORE.get(name, 1.0)), x
        else:
            assert np.array_equal(result, truth, equal_nan=True), x
            assert np.isnan(truth) or np.signbit(result) == np.signbit(truth), x


@pytest.mark.parametrize("level", ARITHMETICS)
@pytest.mark.parametrize("name", BLOCKS)
def test_rare_neighbours_change_nothing(name: str, level: str) -> None:
    """What only some elements need is computed for a whole vector; the others keep their bits."""
    ordinary = np.linspace(0.6, 3.0, 1000, dtype=word(level))
    rare = np.array(
        [0.0, -0.0, inf, -inf, nan, 1e-40, -1e-40, 1e38, -1e38, 87.9, -87.9, -103.0, 5e-45], dtype=word(level)
    )
    mixed = ordinary.copy()
    places = np.arange(rare.size) * 73
    mixed[places] = rare
    u = block(name, level)
    with np.errstate(all="ignore"):
        alone = np.concatenate([u(mixed[i : i + 1]) for i in places])
        together, usual = u(mixed), u(ordinary)
    assert np.array_equal(to_bits(together[places]), to_bits(alone))
    others = np.setdiff1d(np.arange(ordinary.size), places)
    assert np.array_equal(to_bits(together[others]), to_bits(usual[others]))


@pytest.mark.parametrize("level", ARITHMETICS)
@pytest.mark.parametrize("name", ["tanh", "reciprocal", "sin"])
def test_odd_functions_are_odd_in_every_bit(name: str, level: str) -> None:
    x = inputs(name, level)
    with np.errstate(all="ignore"):
        assert np.array_equal(to_bits(block(name, level)(-x)), to_bits(-block(name, level)(x)))


@pytest.mark.parametrize("level", ARITHMETICS)
@pytest.mark.parametrize("name", ["exp", "exp2", "expm1"])
def test_bounds_known_of_an_argument_shorten_the_way(name: str, level: str) -> None:
    function = getattr(op, name)
    bounded = graph(lambda x: function(-abs(x)), level)
    assert len(bounded.live()) <= len(graph(lambda x: function(x), level).live()) + 2  # the negation, the magnitude
    x = -np.abs(inputs(name, level))
    with np.errstate(all="ignore"):
        y, usual = compiled(lambda x: function(-abs(x)), level)(x), block(name, level)(x)
    if level in ROUGH:
        tiny = np.finfo(word(level)).smallest_subnormal
        assert (np.abs(y - usual) <= ROUGH[level] * np.abs(usual) + tiny).all()
    elif (name, level) == ("expm1", "single_fast"):  # what keeps sums right above 0 is left out
        assert Oracle("expm1(x)").ulp_error(x, y).max() <= BLOCKS["expm1"][3]
    else:
        assert np.array_equal(to_bits(y), to_bits(usual))


@pytest.mark.parametrize("level", ARITHMETICS)
def test_log1p_between_0_and_1(level: str) -> None:
    x = np.concatenate([np.linspace(0, 1, COUNT)[1:], 2.0 ** -np.linspace(0, 100, COUNT)]).astype(np.float32)
    x = x.astype(word(level))
    y = compiled(lambda x: op.log1p(op.clip(x, 0.0, 1.0)), level)(x)
    oracle = Oracle("log1p(x)")
    if level in FAST:
        assert oracle.ulp_error(x, y).max() <= BLOCKS["log1p"][3]
    else:
        assert oracle.relative_error(x, y).max() <= MORE["log1p"] * ROUGH.get(level, WIDE)


@pytest.mark.parametrize("level", ROUGH)
def test_rough_exponentials_of_negative_numbers_go_down_to_the_smallest(level: str) -> None:
    """x exp(-|x|) is a normal number where the exponential alone is none any more."""
    x = -np.linspace(*((87.4, 91.0) if level == "single_rough" else (708.5, 714.0)), COUNT, dtype=word(level))
    with np.errstate(all="ignore"):
        y = compiled(lambda x: op.exp(-abs(x)) * x, level)(x)
    oracle = Oracle("x*exp(-abs(x))")
    normal = np.abs(oracle.rounded(x)) >= np.finfo(word(level)).smallest_normal
    assert normal.sum() > COUNT // 2
    assert (oracle.relative_error(x, y)[normal] <= 2 * ROUGH[level]).all()


@pytest.mark.parametrize("level", ARITHMETICS)
def test_copysign_takes_the_sign_of_zeros_too(level: str) -> None:
    u = compiled(lambda x: op.copysign(abs(x) + 1.0, x), level)
    x = np.array([0.0, -0.0, 2.0, -2.0, inf, -inf], dtype=word(level))
    assert np.array_equal(u(x), [1.0, -1.0, 3.0, -3.0, inf, -inf])
