"""Results of float32 in words of float32: right where two words alone are not, and at the ends of their range."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest

import fastact
from fastact.cpu.compile import address
from fastact.cpu.ufunc import make_ufunc
from fastact.kernels import REGISTRY
from fastact.kernels.blocks import closely
from fastact.link import forms
from fastact.link.linker import link
from fastact.link.values import round_to_dtype

HARD = {
    "sparse_plus": [
        "0x1p-25", "0x1.e198ecp-14", "0x1.bd0fd2p-12", "0x1.98f5acp-9", "0x1.58af74p-8", "-0x1.6a002p-19",
    ],
    "softsign": [
        "0x1.bb67bp-24", "0x1.94c586p-23", "0x1.52a7fep-22", "0x1.554b8ep-16", "0x1.61b67p-8", "0x1.82f71p-8",
    ],
    "hardswish": [
        "0x1.bb67aep-24", "0x1.efbdeap-22", "0x1.55aaap-19", "0x1.b46bfcp-19", "0x1.5369480p-17", "0x1.8dc0f2p-17",
    ],
}  # fmt: skip
"""Numbers of which two words alone round the result wrongly."""
VALUES = {
    "hardsigmoid": lambda x: min(max((x + 3) / 6, 0), 1),
    "hardswish": lambda x: x * min(max((x + 3) / 6, 0), 1),
    "sparse_plus": lambda x: x if x >= 1 else max(x + 1, 0) ** 2 / 4,
    "softsign": lambda x: x / (1 + abs(x)),
    "star_relu": lambda x: Fraction(*SCALE) * max(x, 0) ** 2 + Fraction(*BIAS),
}
SCALE, BIAS = (float(np.float32(value)).as_integer_ratio() for value in (0.8944, -0.4472))


def compiled(graph):
    """A graph of one argument as a function of arrays."""
    code = address(graph, None)
    return make_ufunc("fastact_test_closely", "", 1, 1, lambda dtype: code)


def rounded(value):
    """The float32 nearest to a fraction."""
    return np.float32(math.copysign(math.inf, value)) if abs(value) >= 2**128 - 2**103 else nearest(value)


def nearest(value):
    return np.float32(float(round_to_dtype(value, "float32")))


@pytest.mark.parametrize("name", VALUES)
def test_values_are_the_roundings_of_fractions(name):
    draw = np.random.default_rng(0)
    near, wide = draw.uniform(-4, 4, 1500), draw.choice([-1, 1], 1500) * 2.0 ** draw.uniform(-149, 40, 1500)
    steps = (-(2.0**-21), 0, 2.0**-149, 2.0**-100, 2.0**-22)
    edges = [s * (m + d) for s in (-1, 1) for m in (0, 1, 3, 6) for d in steps]
    x = np.concatenate([near, wide, edges, [float.fromhex(text) for text in HARD.get(name, [])]]).astype(np.float32)
    y = getattr(fastact, name)(x, approx="exact")
    wanted = np.array([rounded(VALUES[name](Fraction(float(v)))) for v in x])
    wrong = y != wanted
    assert not wrong.any(), (x[wrong][:5], y[wrong][:5], wanted[wrong][:5])


@pytest.mark.parametrize("name", HARD)
def test_doubt_is_where_two_words_are_not_enough(name):
    graph = forms.kernel(REGISTRY[name], "value", "float32", "exact").graph
    doubt = next(node.args[0] for node in graph.live() if node.op == "select" and node.data == "rare")
    told = graph.node("select", "f32", doubt, *(graph.constant("f32", value) for value in (1.0, 0.0)))
    x = np.array([float.fromhex(text) for text in HARD[name]], dtype=np.float32)
    assert compiled(graph.part([told]))(x).all()
    some = np.random.default_rng(2).uniform(-4, 4, 10000).astype(np.float32)
    assert compiled(graph.part([told]))(some).sum() < 10


@pytest.mark.parametrize("name", ["hardsigmoid", "hardswish", "sparse_plus", "softsign", "star_relu", "squareplus"])
def test_ends_and_signs(name):
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 3.4e38, -3.4e38], dtype=np.float32)
    limits = {
        "hardsigmoid": [1, 0, np.nan, 0.5, 0.5, 1, 0],
        "hardswish": [np.inf, -0.0, np.nan, 0.0, -0.0, 3.4e38, -0.0],
        "sparse_plus": [np.inf, 0, np.nan, 0.25, 0.25, 3.4e38, 0],
        "softsign": [1, -1, np.nan, 0.0, -0.0, 1, -1],
        "star_relu": [np.inf, -0.4472, np.nan, -0.4472, -0.4472, np.inf, -0.4472],
        "squareplus": [np.inf, 0, np.nan, 1, 1, 3.4e38, 2.9411764e-39],
    }
    with np.errstate(over="ignore", under="ignore"):
        y = getattr(fastact, name)(x, approx="exact")
    wanted = np.array(limits[name], dtype=np.float32)
    np.testing.assert_array_equal(y, wanted)
    assert list(np.signbit(y[~np.isnan(y)])) == list(np.signbit(wanted[~np.isnan(wanted)]))


def test_gradients_from_the_output_are_the_roundings_of_fractions():
    """Tiny, huge and unlikely numbers among them: outputs of tanh above 1, roots of which twice is infinite."""
    draw = np.random.default_rng(1)
    g = draw.choice([-1, 1], 6000) * 2.0 ** draw.uniform(-149, 127, 6000)
    near, any_size = 1 - 2.0 ** draw.uniform(-25, 0, 2000), 2.0 ** draw.uniform(-140, 127.9, 2000)
    y = np.concatenate([near, draw.uniform(-1, 1, 2000), any_size])
    g[::3], y[5000] = draw.uniform(-2, 2, 2000), 3.4e38
    g, y = g.astype(np.float32), y.astype(np.float32)
    truths = {"tanh": lambda g, y: g * (1 - y * y), "sqrt": lambda g, y: g / (2 * y)}
    for name, truth in truths.items():
        used = np.isfinite(y) & ((y != 0) if name == "tanh" else (y > 0))
        with np.errstate(over="ignore", under="ignore"):
            found = getattr(fastact, name).backward_from_output(g[used], y[used], approx="exact")
        pairs = zip(g[used], y[used], strict=True)
        wanted = np.array([rounded(truth(Fraction(float(a)), Fraction(float(b)))) for a, b in pairs])
        wrong = found != wanted
        assert not wrong.any(), (name, g[used][wrong][:5], y[used][wrong][:5], found[wrong][:5], wanted[wrong][:5])
    zeros = np.array([0.0, -0.0], dtype=np.float32)
    for output in (0.3, -0.3, 0.9999, 1.0):
        found = fastact.tanh.backward_from_output(zeros, np.full(2, output, dtype=np.float32), approx="exact")
        assert list(np.signbit(found)) == [False, True]


@pytest.mark.parametrize("name", ["squareplus", "rsqrt"])
def test_roots_are_right_at_any_size(name):
    """squareplus, and the gradient of rsqrt, in 200 digits."""
    draw = np.random.default_rng(3)
    x = np.concatenate([2.0 ** draw.uniform(-126, 127, 1000), draw.uniform(0, 8, 500)]).astype(np.float32)
    if name == "squareplus":
        x = np.concatenate([x, -x])
    with np.errstate(over="ignore", under="ignore"):
        found = fastact.squareplus(x, approx="exact") if name == "squareplus" else fastact.rsqrt.grad(x, approx="exact")
    with mp.workdps(200):
        exact = [mp.mpf(float(v)) for v in x]
        values = [(v + mp.sqrt(v * v + 4)) / 2 if name == "squareplus" else -mp.power(v, -1.5) / 2 for v in exact]
        wanted = np.array([rounded(Fraction(int(mp.nint(v * mp.power(2, 400))), 2**400)) for v in values])
    wrong = found != wanted
    assert not wrong.any(), (x[wrong][:5], found[wrong][:5], wanted[wrong][:5])


def test_numbers_are_told_to_be_tiny_but_not_zero():
    def body(x):
        return x.context.real(1.0).choose(closely.tiny(x, 2.0**-60), 0.0)

    told = compiled(link(body, 1, "float32", "fast"))
    small = [2.0**-149, 2.0**-126, 2.0**-61]
    x = np.array([0.0, *small, 2.0**-60, 1.0, 3e38, np.inf, np.nan], dtype=np.float32)
    for sign in (1, -1):
        assert list(told(x * np.float32(sign))) == [0, 1, 1, 1, 0, 0, 0, 0, 0]


def test_rrelu_with_the_usual_slopes_is_one_product():
    for dtype in ("float32", "float64"):
        for form in ("usual_value", "usual_grad", "usual_backward"):
            graph = forms.kernel(REGISTRY["rrelu"], form, dtype, "exact").graph
            assert not any(node.op in ("fma", "fpext", "fptrunc") for node in graph.live()), (dtype, form)
