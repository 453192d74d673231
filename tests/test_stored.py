"""Selections among stored numbers of 16 bits: where there are any, and that nothing else comes of them."""

from __future__ import annotations

import ctypes
import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ml_dtypes")

from accuracy_cases import REGISTRY, SEED

import fastact
from fastact.accuracy.samples import every
from fastact.accuracy.ulp import format_of
from fastact.cpu.compile import address
from fastact.cpu.ufunc import LOOP
from fastact.cuda.evaluate import evaluate
from fastact.link.arithmetic import ARITHMETICS
from fastact.link.forms import kernel, usual_form
from fastact.link.graph import Graph, Node
from fastact.link.linker import Linking
from fastact.link.patterns import best_test
from fastact.link.sixteen import AWAY, DTYPES, NARROWED
from fastact.link.stored import Stored, on_stored_bits, rarely
from fastact.link.trial import COUNT, Trial, _fused
from fastact.link.values import Condition, Real, round_to_dtype

PATTERNS = np.arange(COUNT, dtype=np.uint16)


def nan(bits: Any, dtype: str) -> Any:
    return np.isnan(np.asarray(bits, np.uint16).view(format_of(dtype).dtype).astype(np.float32))


def same(a: Any, b: Any, dtype: str) -> bool:
    """The same bits, or NaN in both."""
    return bool(((a == b) | (nan(a, dtype) & nan(b, dtype))).all())


# -- which kernels --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "form"),
    [
        *((name, "value") for name in ("relu", "relu6", "hardtanh", "threshold", "jump_relu", "hardshrink")),
        *((name, "backward") for name in ("relu", "relu6", "hardtanh", "threshold", "jump_relu", "hardshrink")),
    ],
)
def test_what_only_selects_converts_nothing(name: str, form: str, dtype: str) -> None:
    if dtype == "bfloat16" and form == "value" and name in ("threshold", "jump_relu"):
        pytest.skip("two numbers of bfloat16 are compared sooner as float32, which takes a shift each")
    declaration = REGISTRY[name]
    graph = kernel(declaration, usual_form(declaration, form), dtype, "fast").graph
    assert {node.type for node in graph.live()} <= {"i16", "i1"}


@pytest.mark.parametrize("dtype", DTYPES)
def test_flags_are_looked_into_by_stored_bits(dtype: str) -> None:
    evidence = kernel(REGISTRY["logit"], "value", dtype, "fast").evidence
    assert evidence is not None and {node.type for node in evidence.live()} <= {"i16", "i1"}


def test_a_selection_takes_as_many_operations_as_it_has_intervals() -> None:
    """hardshrink is the sign alone for numbers of a size up to lambd, which is compared with it."""
    graph = kernel(REGISTRY["hardshrink"], "usual_value", "float16", "fast").graph
    assert [n.op for n in graph.live() if n.op not in ("input", "constant")] == ["and", "and", "icmp", "select"]


# -- the same results -----------------------------------------------------------------------------------------------
class Drawn:
    """A graph of random selections by random comparisons."""

    def __init__(self, dtype: str, inputs: int, random: Any) -> None:
        self.linking = Linking(ARITHMETICS[dtype, "exact"])
        self.numbers = [self.linking.receive(dtype) for _ in range(inputs)]
        self.dtype, self.random = dtype, random
        self.linking.deliver(self.value(3), dtype)

    @property
    def graph(self) -> Graph:
        return self.linking.graph

    def value(self, depth: int) -> Any:
        choice = int(self.random.integers(0, 5 if depth else 2))
        if choice == 0:
            kind = format_of(self.dtype).dtype
            drawn = self.random.choice([0.0, -0.0, 1.0, np.inf, self.random.normal(), 4.0 * self.random.normal()])
            return self.linking.real(float(np.asarray(drawn).astype(kind)))
        if choice == 1:
            x = self.numbers[self.random.integers(len(self.numbers))]
            return [x, abs(x), -x][self.random.integers(3)]
        a, b = self.value(depth - 1), self.value(depth - 1)
        return self.three(a, b) if choice == 2 else a.choose(self.condition(depth - 1), b)

    def three(self, a: Any, b: Any) -> Any:
        """One or the other as two inputs compare, a third where one of them is NaN."""
        x, y = self.numbers[0], self.numbers[-1]
        x = [x, abs(x), -x][self.random.integers(3)]
        first, second = [(x > y, x <= y), (x < y, x >= y)][self.random.integers(2)]
        last = x + y if self.random.integers(2) else self.value(0)
        return a.choose(first, b.choose(second, last))

    def condition(self, depth: int) -> Condition:
        choice = int(self.random.integers(0, 6 if depth else 3))
        if choice < 3:
            a, b = self.value(max(depth - 1, 0)), self.value(0)
            return [a < b, a <= b, a > b, a >= b, a.equals(b), a.is_nan()][self.random.integers(6)]
        first, second = self.condition(depth - 1), self.condition(depth - 1)
        return [first & second, first | second, ~first][choice - 3]


def specials(dtype: str) -> Any:
    """Stored numbers of every kind, each with each."""
    infinite = {"float16": 0x7C00, "bfloat16": 0x7F80}[dtype]
    sizes = [0, 1, 2, 0x80, 0x3C00, 0x3F80, 0x4200, infinite - 1, infinite, infinite + 1, 0x7FFF]
    numbers = [sign | size for size in sizes for sign in (0, 0x8000)]
    pairs = np.array(list(itertools.product(numbers, numbers)), np.uint16)
    return pairs[:, 0].copy(), pairs[:, 1].copy()


@pytest.mark.parametrize("dtype", DTYPES)
def test_selections_are_those_of_numbers(dtype: str) -> None:
    random, found = np.random.default_rng(SEED), 0
    for turn in range(60):
        drawn = Drawn(dtype, 1 + turn % 2, random)
        graph = drawn.graph
        (output,) = graph.outputs
        given = [PATTERNS] if turn % 2 == 0 else list(specials(dtype))
        (before,) = evaluate(graph)(*given)
        stored = Stored(graph, dtype).output(output)
        if stored is None:
            continue
        found += 1
        graph.outputs[:] = [stored]
        assert {node.type for node in graph.live() if node.op != "input"} <= {"i16", "i1"}
        (after,) = evaluate(graph)(*given)
        shape = given[0].shape
        wide = np.broadcast_to(before, shape), np.broadcast_to(after, shape)
        assert same(*wide, dtype), f"{graph.text()} (seed {SEED}, turn {turn})"
    assert found > 30


@pytest.mark.parametrize("dtype", DTYPES)
def test_vectors_hold_what_the_graph_says(dtype: str) -> None:
    """Some of whose results are computed, so that stored numbers meet words in every order."""
    kind, x = format_of(dtype).dtype, every(dtype)
    for name in ("softshrink", "leaky_relu", "hardshrink", "relu6", "hardswish", "reciprocal", "sqrt", "star_relu"):
        declaration = REGISTRY[name]
        linked = kernel(declaration, usual_form(declaration, "value"), dtype, "fast")
        expected = np.broadcast_to(evaluate(linked.graph)(x.view(np.uint16))[0], x.shape)
        found = np.empty(x.size, kind)
        pointers = (ctypes.c_void_p * 2)(x.ctypes.data, found.ctypes.data)
        steps, count = (ctypes.c_ssize_t * 2)(2, 2), ctypes.c_ssize_t(x.size)
        loop = LOOP(address(linked.graph, linked.evidence))
        loop(ctypes.addressof(pointers), ctypes.addressof(count), ctypes.addressof(steps), None)
        assert same(found.view(np.uint16), expected, dtype), name


def mixed(dtype: str) -> list[Graph]:
    """Selections of stored numbers by conditions on words, and the other way round, alone and joined."""
    number = {"float16": "half", "bfloat16": "bfloat"}[dtype]
    graphs = []
    for kind in range(4):
        graph = Graph()
        stored = graph.input("i16")
        word = graph.node(f"{number}_to_single", "f32", stored)
        half = graph.node("fmul", "f32", word, graph.constant("f32", 0.5))
        by_word = graph.node("fcmp", "i1", word, graph.constant("f32", 0.75), data="olt")
        by_bits = graph.node("icmp", "i1", stored, graph.constant("i16", 0x3E00), data="slt")
        both = graph.node("and", "i1", by_bits, by_word)
        one = graph.constant("i16", 0x3C00)
        rounded = graph.node(f"single_to_{number}", "i16", half)
        if kind < 2:
            graph.outputs.append(graph.node("select", "i16", (by_word, both)[kind], rounded, one))
        else:
            chosen = graph.node("select", "f32", (by_bits, both)[kind - 2], half, word)
            graph.outputs.append(graph.node(f"single_to_{number}", "i16", chosen))
        graphs.append(graph)
    return graphs


@pytest.mark.parametrize("dtype", DTYPES)
def test_elements_keep_their_places(dtype: str) -> None:
    """Whatever order a vector has them in, as they are stored and as words."""
    random = np.random.default_rng(SEED)
    for graph in mixed(dtype):
        given, found = random.permutation(PATTERNS), np.empty_like(PATTERNS)
        (expected,) = evaluate(graph)(given)
        pointers = (ctypes.c_void_p * 2)(given.ctypes.data, found.ctypes.data)
        steps, count = (ctypes.c_ssize_t * 2)(2, 2), ctypes.c_ssize_t(given.size)
        LOOP(address(graph, None))(ctypes.addressof(pointers), ctypes.addressof(count), ctypes.addressof(steps), None)
        assert same(found, expected, dtype), graph.text()


# -- tests by intervals ---------------------------------------------------------------------------------------------
def test_tests_hold_where_they_should() -> None:
    random = np.random.default_rng(SEED)
    for _ in range(200):
        cuts = np.sort(random.choice(np.concatenate([PATTERNS[::997], [0, 0x7FFF, 0x8000, 0xFFFF]]), 4, replace=False))
        edges = [0, *(int(c) for c in cuts if c), COUNT]
        kinds = random.integers(0, 3, len(edges) - 1)
        runs = [(a, b - 1, int(k)) for a, b, k in zip(edges, edges[1:], kinds, strict=False)]
        test = best_test(runs)
        assert test is not None  # five runs make two intervals at most, or leave out two
        graph = Graph()
        graph.outputs.append(Stored(graph, "float16").tested(test, graph.input("i16")))
        held = np.broadcast_to(evaluate(graph)(PATTERNS)[0], COUNT)
        for a, b, k in runs:
            assert k == 2 or (held[a : b + 1] == bool(k)).all(), f"{runs}: {test} (seed {SEED})"


def test_what_is_not_in_an_interval() -> None:
    """Two patterns that are left out are cheaper to test than what is between them."""
    test = best_test([(0, 9, 1), (10, 10, 0), (11, 99, 1), (100, 100, 0), (101, COUNT - 1, 1)])
    assert test is not None and test.inverted and test.intervals == ((10, 10), (100, 100))
    graph = Graph()
    graph.outputs.append(Stored(graph, "float16").tested(test, graph.input("i16")))
    assert np.flatnonzero(~evaluate(graph)(PATTERNS)[0]).tolist() == [10, 100]


# -- trials ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["exp", "log", "tanh", "star_relu", "softsign", "snake", "gelu", "hardswish"])
def test_trials_are_what_graphs_compute(name: str, dtype: str) -> None:
    declaration = REGISTRY[name]
    graph = kernel(declaration, usual_form(declaration, "value"), dtype, "fast").graph
    result = next(node for node in graph.live() if node.op in (NARROWED[dtype], AWAY)).args[0]
    found = Trial(1000)(result)
    if found is None:  # float64 is in it
        pytest.skip("not to be tried")
    part = graph.part([result])
    (expected,) = evaluate(part)(PATTERNS)
    both = np.isnan(expected) & np.isnan(found[1])
    assert ((expected.view(np.uint32) == found[1].view(np.uint32)) | both).all()


NUMBERS = [0.0, -0.0, 1.5, -2.5, 0.1, 2.0**-140, 3e38, math.inf, -math.inf]
OPERATIONS: dict[tuple[str, ...], tuple[str, str, list[Any]]] = {
    ("fadd", "fsub", "fmul", "fdiv", "copysign"): ("f32", "f32", NUMBERS),
    ("fcmp olt", "fcmp ole", "fcmp ogt", "fcmp oge", "fcmp oeq", "fcmp uno"): ("f32", "i1", NUMBERS),
    ("iadd", "isub", "and", "or", "xor"): ("i32", "i32", [0, 1, -1, 0x7FFFFF, 1 << 30, -(1 << 31)]),
    ("shl", "lshr", "ashr"): ("i32", "i32", [0, 1, 4, 16, 31]),
    ("icmp slt", "icmp sle", "icmp sgt", "icmp sge", "icmp eq", "icmp ne"): ("i32", "i1", [0, 1, -1, 1 << 30]),
    ("sqrt", "fabs", "fneg", "rint"): ("f32", "f32", []),
}
"""Operations on two words, or on one, the type of these and of the result, and constants for the second."""


@pytest.mark.parametrize("names", OPERATIONS, ids=" ".join)
def test_operations_of_trials(names: tuple[str, ...]) -> None:
    kind, result, constants = OPERATIONS[names]
    for name in names:
        op, _, data = name.partition(" ")
        graph = Graph()
        word = graph.node("bfloat_to_single", "f32", graph.input("i16"))
        a = word if kind == "f32" else graph.node("bitcast", kind, word)
        for more in [[graph.constant(kind, c)] for c in constants] or [[]]:
            node = graph.node(op, result, a, *more, data=data or None)
            found = Trial()(node)
            assert found is not None, name
            (expected,) = evaluate(graph.part([node]))(PATTERNS)
            kept = (lambda v: v.view(np.uint32)) if result == "f32" else (lambda v: v)
            no_numbers = np.isnan(expected) & np.isnan(found[1]) if result == "f32" else np.zeros(COUNT, bool)
            assert ((kept(expected) == kept(found[1])) | no_numbers).all(), f"{name} {[m.data for m in more]}"


def test_sums_of_products_are_rounded_once() -> None:
    """Where a float64 in between would be a tie that the sum is not."""
    random = np.random.default_rng(SEED)
    a, b = (random.standard_normal(3000).astype(np.float32) for _ in range(2))
    c = np.concatenate([a[:1000], np.ldexp(a[:1000], -40), np.ldexp(a[:1000], 60)]).astype(np.float32)
    found = _fused(a, b, c)
    for x, y, z, w in zip(a, b, c, found, strict=True):
        total = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        assert float(w) == round_to_dtype(total, "float32")
    # The product is 2^-24 (1 - 2^-30), the addend odd.
    x, y, odd = np.float32(1 + 2.0**-15), np.float32(2.0**-24 * (1 - 2.0**-15)), np.float32(1 + 2.0**-23)
    for sign in (np.float32(1.0), np.float32(-1.0)):
        assert _fused(x, y * sign, odd * sign) == odd * sign == _fused(x, y * -sign, odd * sign)


def test_subnormal_results_are_told_by_their_inputs() -> None:
    told = 0
    for name in ("hardswish", "reciprocal", "softsign", "hardsigmoid", "sqrt", "exp", "silu", "log"):
        declaration = REGISTRY[name]
        graph = kernel(declaration, usual_form(declaration, "value"), "bfloat16", "fast").graph
        result = next(node for node in graph.live() if node.op in ("single_to_bfloat", AWAY)).args[0]
        known = rarely(result)
        if known is None:
            continue
        told += 1
        (value,) = evaluate(graph.part([result]))(PATTERNS)
        marked = np.broadcast_to(evaluate(known[1])(PATTERNS)[0], COUNT)
        size = np.abs(value)
        assert marked[(size > 0) & (size < 2.0**-126)].all()
        usual = PATTERNS & 0x7FFF
        assert not marked[~((size > 0) & (size < 2.0**-126)) & ((usual == 0) | (usual >= 0x0800))].any()
    assert told >= 5


def test_several_inputs_are_not_tried() -> None:
    graph = Graph()
    a, b = (graph.node("half_to_single", "f32", graph.input("i16")) for _ in range(2))
    trial = Trial()
    assert trial(graph.node("fadd", "f32", a, b)) is None and trial(graph.node("fadd", "f32", a, a)) is not None


# -- one operation instead of two -----------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sum_times_a_constant_is_one_operation(dtype: str) -> None:
    linking = Linking(ARITHMETICS[dtype, "fast"])
    x = linking.receive(dtype)
    for shift, slope in ((3.0, 1 / 6), (1.0, 0.5), (-2.5, 0.1)):
        node: Node = ((x + shift) * slope).node  # type: ignore[operator]
        assert node.op == "fma"
        factor, addend = (float.fromhex(str(a.data)) for a in node.args[1:])
        assert addend == shift * factor and factor == pytest.approx(slope, rel=2.0**-21)
    exactly = Linking(ARITHMETICS[dtype, "exact"])
    number = exactly.receive(dtype)
    assert isinstance(number, Real) and ((number + 3.0) * (1 / 6)).node.op == "fmul"


def test_products_that_are_exact_need_no_second_word() -> None:
    for dtype in DTYPES:
        graph = kernel(REGISTRY["star_relu"], "usual_value", dtype, "fast").graph
        assert [n.op for n in graph.live() if n.type == "f32" and n.op in ("fadd", "fsub", "fma", "fmul")] == [
            "fmul",
            "fma",
        ]


# -- flags ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_flags_are_found_however_late_they_come(dtype: str) -> None:
    """A pole at the start raises one flag, and goes on being met; a number outside the domain comes long after that, or
    the other way round."""
    pole, outside = "divide by zero", "invalid value"
    for first, late, alone in ((0.0, -1.0, pole), (-1.0, 0.0, outside)):
        x = np.full(40000, 0.75, dtype)
        x[::50] = first
        for changed in (False, True):
            if changed:
                x[33333] = late
            raised: set[str] = set()
            with np.errstate(all="call", call=lambda kind, flag, raised=raised: raised.add(kind)):
                fastact.log(x)
            assert raised == ({pole, outside} if changed else {alone})


def test_cheaper_outputs_are_preferred() -> None:
    """A computed result among stored ones stays a selection of numbers where converting pieces would not pay."""
    linking = Linking(ARITHMETICS["float16", "exact"])
    x: Any = linking.receive("float16")
    y = x
    for _ in range(40):
        y = y * y + 0.5
    linking.deliver(y.choose(x < 1.0, x), "float16")
    text = linking.graph.text()
    assert on_stored_bits(linking.graph, "float16").text() == text
