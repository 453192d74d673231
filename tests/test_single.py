"""Pairs of float32 under correctly rounded float32: their blocks against the truth, and what they leave to others."""

from __future__ import annotations

import ctypes
import functools
import operator
from dataclasses import replace

import mpmath as mp
import numpy as np
import pytest

from fastact.cpu.compile import address
from fastact.cpu.target import baseline
from fastact.cpu.ufunc import LOOP, make_ufunc
from fastact.kernels import REGISTRY, operations
from fastact.kernels.blocks import pair_single_normal, pair_single_tangents
from fastact.link import forms, linker, single
from fastact.link.arithmetic import DOUBLE_WIDE, SINGLE_FAST, SINGLE_PAIR
from fastact.link.graph import Graph
from fastact.link.linker import Linking, link

RANGES = {
    "exp": (-59.0, 59.0),
    "exp2": (-85.0, 85.0),
    "expm1": (-20.0, 15.9),
    "log": (1e-37, 1e38),
    "log2": (1e-37, 1e38),
    "log1p": (-0.9, 3e4),
    "logit": (1e-15, 1 - 2.0**-24),
    "rsqrt": (1.2e-38, 1e38),
}
TRUTH = {
    "exp": mp.exp,
    "exp2": lambda x: mp.power(2, x),
    "expm1": mp.expm1,
    "log": mp.log,
    "log2": lambda x: mp.log(x, 2),
    "log1p": mp.log1p,
    "logit": lambda x: mp.log(x / (1 - x)),
    "rsqrt": lambda x: 1 / mp.sqrt(x),
}


def words(name):
    """The two words that a block makes of a float32, and what their error is relative to, as functions of arrays."""
    found = []
    for word in ("hi", "low", "uncertain"):
        linking = Linking(SINGLE_PAIR)
        value = getattr(operations, name)(linking.receive("float32"))
        linking.graph.outputs.append(getattr(value, word).node)
        code = address(linking.graph, None)
        found.append(make_ufunc(f"fastact_test_{name}_{word}", "", 1, 1, lambda dtype, code=code: code))
    return found


def sample(name):
    low, high = RANGES[name]
    draw = np.random.default_rng(0)
    near = draw.uniform(max(low, -2.0), min(high, 2.0), 300)
    wide = np.exp(draw.uniform(np.log(max(low, 1e-6)), np.log(high), 300))
    if low < 0:
        wide = np.concatenate([wide, np.maximum(-wide, low)])
    return np.concatenate([near, wide]).astype(np.float32)


@pytest.mark.parametrize("name", RANGES)
def test_blocks_have_the_bits_that_are_granted(name):
    x = sample(name)
    x = x[(x > RANGES[name][0]) & (x < RANGES[name][1]) & (x != 0)]
    with np.errstate(all="ignore"):
        found = [word(x) for word in words(name)]
    with mp.workprec(120):
        errors = [
            abs(mp.mpf(float(h)) + mp.mpf(float(t)) - TRUTH[name](mp.mpf(float(v)))) / abs(mp.mpf(float(size)))
            for v, h, t, size in zip(x, *found, strict=True)
            if size != 0
        ]
    assert len(errors) > 400
    linking = Linking(SINGLE_PAIR)
    getattr(operations, name)(linking.receive("float32"))
    assert max(errors) < 2.0**-25 * (linking.granted + single.PAIR_ERROR)
    assert max(errors) > 2.0**-60, "one word cannot have been enough"


def test_the_cheaper_arithmetic_is_taken():
    sigmoid = forms.kernel(REGISTRY["sigmoid"], "value", "float32", "exact").graph
    kinds = {node.op for node in sigmoid.live()}
    assert "lookup" in kinds, "pairs of float32 look powers of two up"
    erfc = forms.kernel(REGISTRY["erfc"], "value", "float32", "exact").graph
    assert not any(node.op == "lookup" and node.type == "f32" for node in erfc.live())


def test_float64_stands_in_where_tables_lie_in_memory():
    graph = forms.kernel(REGISTRY["tanh"], "value", "float32", "exact").graph
    other = graph.without_tables()
    assert sum(node.op == "lookup" and node.type == "f32" for node in graph.live()) == 9
    assert not any(node.op == "lookup" and node.type == "f32" for node in other.live())
    assert [node.type for node in other.outputs] == [node.type for node in graph.outputs] == ["f32"]
    assert single.cost(other, single.IN_MEMORY) < single.cost(graph, single.IN_MEMORY)
    narrow, wide = baseline("avx,avx2,fma").target(), replace(baseline("avx,avx2,fma").target(), avx512=True)
    assert narrow.suited(graph).digest() == other.digest() and wide.suited(graph) is graph
    assert graph.digest() != graph.part(graph.outputs).digest(), "what stands in is part of the kernel"
    exp = forms.kernel(REGISTRY["exp"], "value", "float32", "exact").graph
    assert not exp.instead and narrow.suited(exp) is exp
    alarming = Graph()
    x = alarming.input("f32")
    alarming.outputs += [alarming.node("fneg", "f32", x), alarming.node("fcmp", "i1", x, x, data="uno")]
    alarming.instead.append(alarming.node("fabs", "f32", x))
    assert [node.op for node in alarming.without_tables().outputs] == ["fabs", "fcmp"]
    x = np.random.default_rng(3).uniform(-10, 10, 100_000).astype(np.float32)
    assert (run(_values(graph))(x) == run(_values(other))(x)).all()


SHRUNK = {"tanh": np.tanh, "tanhshrink": lambda y: y - np.tanh(y)}


@pytest.mark.parametrize(
    "name, low, high",
    [("tanh", 2.0**-10, 2.0**-5), ("tanh", 2.0**-5, 9.0625), ("tanhshrink", 2.0**-6, 1.59), ("tanhshrink", 1.6, 8.34)],
)
def test_lines_that_touch_have_the_error_that_is_granted(name, low, high):
    linking = Linking(SINGLE_PAIR)
    pair = getattr(pair_single_tangents, name)(linking.receive("float32"))
    x = np.random.default_rng(4).uniform(low, high, 2_000_000).astype(np.float32)
    words = []
    for word in (*pair.magnitude[:2], pair.uncertain):
        linking.graph.outputs[:] = [word.node]
        words.append(run(linking.graph)(x).astype(np.float64))
    truth = SHRUNK[name](x.astype(np.longdouble))
    errors = np.abs(words[0] - truth + words[1]) / np.abs(words[2]) / single.HALF_PLACE
    assert 0.8 * linking.granted < errors.max() < linking.granted


@pytest.mark.parametrize("low, high", [(2.0**-22, 2.0**-5), (2.0**-5, 0.5), (0.5, 4.0), (4.0, 9.4999)])
def test_the_square_of_tanh_has_the_error_that_is_said(low, high):
    linking = Linking(SINGLE_FAST)
    words = []
    x = np.random.default_rng(4).uniform(low, high, 500_000).astype(np.float32)
    for word in pair_single_tangents.tanh_squared(linking.receive("float32")):
        linking.graph.outputs[:] = [word.node]
        words.append(run(linking.graph)(x).astype(np.longdouble))
    square, rest, size = words
    errors = np.abs(square - np.tanh(x.astype(np.longdouble)) ** 2 + rest) / -size
    assert 0.05 * pair_single_tangents.SQUARED < errors.max() < pair_single_tangents.SQUARED


def times_normal(x):
    return abs(x) * mp.ncdf(-abs(x))


@pytest.mark.parametrize(
    "block, function, low, high",
    [
        (pair_single_tangents.erf, mp.erf, 2.0**-20, 2.0**-10),
        (pair_single_tangents.erf, mp.erf, 2.0**-10, 2.0**-4),
        (pair_single_tangents.erf, mp.erf, 2.0**-4, 1.0),
        (pair_single_tangents.erf, mp.erf, 1.0, 3.93359375),
        (pair_single_normal.gelu, times_normal, -12.0, -3.0),
        (pair_single_normal.gelu, times_normal, -3.0, -0.1),
        (pair_single_normal.gelu, times_normal, -0.1, -(2.0**-20)),
        (pair_single_normal.gelu, times_normal, 2.0**-5, 1.0),
    ],
)
def test_results_are_between_what_is_made_and_what_is_made_with_more_of_the_curve(block, function, low, high):
    linking = Linking(SINGLE_PAIR)
    pair = block(linking.receive("float32"))
    x = np.random.default_rng(4).uniform(low, high, 4000).astype(np.float32)
    words = []
    for word in (*(pair.magnitude or (pair.first, pair.second))[:2], pair.most):
        linking.graph.outputs[:] = [word.node]
        words.append(run(linking.graph)(x).astype(np.longdouble))
    with mp.workprec(100):
        truth = np.array([np.longdouble(str(abs(function(mp.mpf(float(v)))))) for v in x])
    truth = truth if pair.magnitude else np.where(x < 0, -truth, x - truth)
    part = (truth - words[0] - words[1]) / (words[2] - words[1])
    assert 0 <= part.min() and part.max() <= 1 and part.max() - part.min() > 0.05


def test_two_inputs_stay_in_float64():
    """What cannot be tried on all inputs is computed with more digits in hand."""
    graph = link(lambda x, y: operations.exp(x) * y, 2, "float32", "exact")
    assert not any(node.op == "lookup" and node.type == "f32" for node in graph.live())


def run(graph, result=np.float32):
    """A graph as a function of arrays."""
    loop, count = LOOP(address(graph, None)), len(graph.inputs)

    def function(*inputs):
        arrays = [*inputs, np.empty(len(inputs[0]), result)]
        places = (ctypes.c_void_p * (count + 1))(*(a.ctypes.data for a in arrays))
        steps = (ctypes.c_ssize_t * (count + 1))(*(a.itemsize for a in arrays))
        length = ctypes.c_ssize_t(len(inputs[0]))
        loop(*map(ctypes.addressof, (places, length, steps)), None)
        return arrays[-1]

    return function


def in_pairs():
    """The forms of functions that pairs of float32 compute, with both of their graphs."""
    found, seen = {}, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(single, "cheaper", lambda *graphs: seen.append(graphs) or CHEAPER(*graphs))
        for name, declaration in REGISTRY.items():
            for form in ("value", "grad", "backward"):
                form = forms.usual_form(declaration, form)
                seen.clear()
                chosen = forms.kernel(declaration, form, "float32", "exact").graph
                if seen and chosen is seen[0][1]:
                    found[f"{name}.{form}"] = seen[0][:2]
    return found


CHEAPER = single.cheaper
GRAPHS = in_pairs()


def test_many_forms_are_computed_in_pairs():
    assert {"exp.value", "sigmoid.grad", "exp.backward", "gelu.value"} <= set(GRAPHS)
    assert len(GRAPHS) > 40


@pytest.mark.parametrize("name", GRAPHS)
def test_both_arithmetics_give_the_same_bits(name):
    """All exponents, both signs, the ends, and a dense sample of what is usual; factors likewise."""
    wide, paired = GRAPHS[name]
    assert wide.digest() != paired.digest()
    draw = np.random.default_rng(1)
    patterns = draw.integers(0, 2**32, 100_000, dtype=np.uint32).view(np.float32)
    usual = draw.uniform(-90, 90, 100_000).astype(np.float32)
    tiny = draw.uniform(-0.01, 0.01, 50_000).astype(np.float32)
    ends = np.float32([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3.4e38, -3.4e38, 72.0, -72.0, 1e-38, 1.0])
    # Polynomials on intervals meet at multiples of 1/32.
    edges = (np.arange(1, 400, dtype=np.float32) / 32).view(np.uint32)[:, None] + np.arange(-8, 9)
    edges = edges.astype(np.uint32).view(np.float32).ravel()
    x = np.concatenate([patterns, usual, tiny, ends, edges, -edges])
    inputs = [x]
    if len(wide.inputs) == 2:
        factors = (np.exp(draw.uniform(-60, 60, len(x))) * draw.choice([-1.0, 1.0], len(x))).astype(np.float32)
        factors[::5], factors[1::5] = draw.permutation(x)[::5], draw.choice(ends, len(factors[1::5]))
        inputs = [factors, x]
    with np.errstate(all="ignore"):
        a, b = (run(_values(graph))(*inputs) for graph in (wide, paired))
    same = (a.view(np.uint32) == b.view(np.uint32)) | (np.isnan(a) & np.isnan(b))
    assert same.all(), ([v[~same][:5] for v in inputs], a[~same][:5], b[~same][:5])


@pytest.mark.parametrize("name", [name for name in GRAPHS if name.endswith("backward")])
def test_what_factors_multiply_has_the_error_that_is_granted(name):
    """Products cannot be tried on all inputs. What is multiplied can: its error is within what is granted."""
    function, form = name.split(".")
    declaration = REGISTRY[function]
    form = forms.forms(declaration)[form.replace("backward", "grad")]
    fixed = [linker.round_to_dtype(value, "float32") for value in form.fixed]
    pairs, _, (value,) = linker._run(form.body, SINGLE_PAIR, 1, "float32", fixed, False)
    pair = pairs.doubled(value)
    pairs.graph.outputs.append(pair.first.node)
    doubtful = functools.reduce(operator.or_, [*pairs.signs, pairs.integer(0)])
    left = functools.reduce(operator.or_, pairs.left, pairs.integer(0).compare("ne", 0))
    doubtful = pairs.integer(-1).choose(left, doubtful)
    wide, _, (truth,) = linker._run(form.body, DOUBLE_WIDE, 1, "float32", fixed, False)
    wide.graph.outputs.append(truth.node)
    draw = np.random.default_rng(2)
    x = np.concatenate([draw.uniform(-12, 12, 400_000), draw.uniform(-72, 72, 200_000)]).astype(np.float32)
    first, true = run(pairs.graph)(x), run(wide.graph, np.float64)(x)
    pairs.graph.outputs[:] = [pair.second.node]
    second = run(pairs.graph)(x)
    pairs.graph.outputs[:] = [pair.uncertain.node]
    size = np.abs(run(pairs.graph)(x)).astype(np.float64)
    pairs.graph.outputs[:] = [doubtful.as_real().node]
    known = ~np.signbit(run(pairs.graph)(x)) & np.isfinite(true) & (true != 0)
    assert known.mean() > 0.1
    with np.errstate(all="ignore"):
        error = (np.abs(first.astype(np.float64) + second - true) - 2.0**-50 * np.abs(true)) / size
    assert error[known].max() < (pairs.granted + single.PAIR_ERROR) * single.HALF_PLACE


def _values(graph):
    graph.outputs = [node for node in graph.outputs if node.type != "i1"]
    return graph


def test_a_missing_block_leaves_float64():
    graph = link(lambda x: operations.erfc(x), 1, "float32", "exact")
    assert graph.digest() == forms.kernel(REGISTRY["erfc"], "value", "float32", "exact").graph.digest() or any(
        node.type == "f64" for node in graph.live()
    )
    with pytest.raises(linker.pair_single_blocks.NoBlock, match="erfc"):
        operations.erfc(Linking(SINGLE_PAIR).receive("float32"))


def test_costs_count_what_is_usual():
    linking = Linking(DOUBLE_WIDE)
    x = linking.receive("float32")
    linking.deliver(x + 1.0, "float32")
    short = single.cost(linking.graph)
    linking = Linking(DOUBLE_WIDE)
    x = linking.receive("float32")
    linking.deliver((x + 1.0).unless(x > 0.0, operations.exp(x)), "float32")
    # The comparison is added, the exponential is not.
    assert short < single.cost(linking.graph) < short + 5.0
