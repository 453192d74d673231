"""Double-double arithmetic against exact rational arithmetic, and the functions written in it against the truth."""

import math
import operator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastact.accuracy.oracle import Oracle
from fastact.accuracy.samples import special, stratified
from fastact.cpu.compile import address
from fastact.cpu.lowering import emit
from fastact.cpu.lowering.order import order
from fastact.cpu.target import Processor, host
from fastact.cpu.ufunc import make_ufunc
from fastact.kernels import operations as op
from fastact.kernels.blocks import pair
from fastact.kernels.coefficients import TABLES
from fastact.link.arithmetic import PAIR
from fastact.link.graph import Graph
from fastact.link.linker import Linking

U = Fraction(1, 2**53)
# The bounds hold up to terms in u^3.
ALMOST = 1 + 2**10 * U


def compiled(graph, inputs, outputs, processor=None):
    return make_ufunc("t", "", inputs, outputs, lambda dtype: address(graph, None, processor))


def in_pairs(body, inputs):
    """The graph of a body in double-double arithmetic."""
    linking = Linking(PAIR)
    results = body(*(linking.receive("float64") for _ in range(inputs)))
    for value in results if isinstance(results, tuple) else (results,):
        linking.deliver(value, "float64")
    return linking.graph


def pairs(operation, *given):
    """A ufunc of words: the operation on pairs; ``given`` tells for each operand whether it has a low part, and whether
    it is known not to be negative. The results are the words of the normalised result and of the loose one."""

    def body(*words):
        words, operands = [op.plain(word) for word in words], []
        for has_low, nonnegative in given:
            high, low = words.pop(0), words.pop(0)
            operands.append(high.pair(high.hi, low.hi if has_low else None))
            if nonnegative:
                high.context.note(operands[-1], 0.0, math.inf)
        result = operation(*operands)
        second = result.first.context.real(0.0) if result.second is None else result.second
        return tuple(result.pair(word) for word in (result.hi, result.low, result.first, second))

    return compiled(in_pairs(body, 2 * len(given)), 2 * len(given), 4)


@st.composite
def numbers(draw, low=True, reach=300, sign=True):
    """A pair (hi, lo) of words with |lo| <= ulp(hi)/2."""
    mantissa = draw(st.one_of(st.sampled_from([2**52, 2**53 - 1, 2**52 + 1]), st.integers(2**52, 2**53 - 1)))
    exponent = draw(st.one_of(st.integers(-60, -40), st.integers(-reach, reach)))
    hi = math.ldexp(mantissa, exponent) * (draw(st.sampled_from([1, -1])) if sign else 1)
    if not low:
        return hi, 0.0
    lo = math.ldexp(draw(st.integers(-(2**53), 2**53)), exponent - 54 - draw(st.integers(0, 60)))
    # Just below a power of two half an ulp is too much.
    return (hi, lo) if hi + lo == hi else (hi, lo / 2)


@st.composite
def neighbours(draw, low=True):
    """Two pairs of which the second is nearly the first one's opposite."""
    hi, lo = draw(numbers(low))
    other = -hi * (1 + draw(st.integers(-8, 8)) * 2.0**-52)
    rest = math.ulp(hi) * draw(st.sampled_from([0.0, 0.25, -0.25, 2.0**-30])) if low else 0.0
    return (hi, lo), (other, rest if other + rest == other else 0.0)


def exactly(pair):
    return Fraction(pair[0]) + Fraction(pair[1])


def check(ufunc, operands, truth, bound, slack):
    hi, lo, first, second = (float(v) for v in ufunc(*(word for pair in operands for word in pair)))
    assert hi + lo == hi
    assert exactly((hi, lo)) == exactly((first, second))
    assert abs(Fraction(second)) <= slack * U * abs(Fraction(first)) * ALMOST
    assert abs(exactly((hi, lo)) - truth) <= bound * U**2 * abs(truth) * ALMOST


NO_LOW, LOW, POSITIVE = (False, False), (True, False), (True, True)
SUM, WORD_SUM = pairs(operator.add, LOW, LOW), pairs(operator.add, LOW, NO_LOW)
POSITIVE_SUM = pairs(operator.add, POSITIVE, POSITIVE)
DIFFERENCE = pairs(operator.sub, LOW, LOW)
PRODUCT, WORD_PRODUCT = pairs(operator.mul, LOW, LOW), pairs(operator.mul, LOW, NO_LOW)
LOOSE_PRODUCT = pairs(lambda a, b, c: a * b * c, LOW, LOW, LOW)
QUOTIENT, WORD_QUOTIENT = pairs(operator.truediv, LOW, LOW), pairs(operator.truediv, NO_LOW, NO_LOW)
LOOSE_QUOTIENT = pairs(lambda a, b, c: (a * b) / c, LOW, LOW, LOW)
ROOT = pairs(lambda a: a.sqrt(), LOW)
HALF = pairs(lambda a: a * 0.5, LOW)

examples = settings(max_examples=200, deadline=None)


@examples
@given(st.one_of(st.tuples(numbers(), numbers()), neighbours()))
def test_sums_of_pairs(operands):
    a, b = operands
    check(SUM, operands, exactly(a) + exactly(b), 3, 1)
    check(DIFFERENCE, (a, (-b[0], -b[1])), exactly(a) + exactly(b), 3, 1)


@examples
@given(st.one_of(st.tuples(numbers(), numbers(low=False)), neighbours()))
def test_sums_with_words(operands):
    a, b = operands[0], (operands[1][0], 0.0)
    check(WORD_SUM, (a, b), exactly(a) + exactly(b), 2, 1)


@examples
@given(numbers(sign=False), numbers(sign=False))
def test_sums_without_cancellation(a, b):
    check(POSITIVE_SUM, (a, b), exactly(a) + exactly(b), 4, 3)


@examples
@given(numbers(), numbers())
def test_products(a, b):
    check(PRODUCT, (a, b), exactly(a) * exactly(b), 6, 3)
    check(WORD_PRODUCT, (a, (b[0], 0.0)), exactly(a) * Fraction(b[0]), 3, 2)


@examples
@given(numbers(), numbers(reach=100), numbers(reach=100))
def test_products_of_loose_products(a, b, c):
    # 6 u^2 of the first product, and with slacks 3 and 1: 3 + 3 + 2 + 2.
    check(LOOSE_PRODUCT, (a, b, c), exactly(a) * exactly(b) * exactly(c), 16, 5)


@examples
@given(numbers(), numbers())
def test_quotients(a, b):
    check(QUOTIENT, (a, b), exactly(a) / exactly(b), 21, 5)
    check(WORD_QUOTIENT, ((a[0], 0.0), (b[0], 0.0)), Fraction(a[0]) / Fraction(b[0]), 1, 1)


@examples
@given(numbers(), numbers(reach=100), numbers(reach=100))
def test_quotients_of_loose_products(a, b, c):
    # 6 u^2 of the product, and with slacks 3 and 1: 10 + 12 + 5 + 3 + 1.
    check(LOOSE_QUOTIENT, (a, b, c), exactly(a) * exactly(b) / exactly(c), 37, 7)


@examples
@given(numbers(sign=False))
def test_square_roots(a):
    hi, lo, *_ = (float(v) for v in ROOT(*a))
    # |s - sqrt a| <= b sqrt a when |s^2 - a| <= 2 b a, up to terms in b^2.
    assert hi + lo == hi
    assert abs(exactly((hi, lo)) ** 2 - exactly(a)) <= 2 * Fraction(25, 8) * U**2 * exactly(a) * ALMOST


@examples
@given(numbers())
def test_powers_of_two_multiply_exactly(a):
    hi, lo, *_ = (float(v) for v in HALF(*a))
    assert (hi, lo) == (a[0] / 2, a[1] / 2)


def test_literals_that_are_powers_of_two_are_exact():
    linking = Linking(PAIR)
    for exponent in (-1074, -1022, -960, -70, -4, 0, 1, 3, 60, 100, 600, 1023):
        pair = linking.number(-(2.0**exponent))
        assert pair.lo is None and float.fromhex(pair.hi.node.data) == -(2.0**exponent)
    assert linking.number(0.1).lo is not None


# -- functions --------------------------------------------------------------------------------------------------------
EVERYWHERE = (-math.inf, math.inf)
FUNCTIONS = {
    "exp": ("exp(x)", EVERYWHERE),
    "exp2": ("exp2(x)", EVERYWHERE),
    "expm1": ("expm1(x)", EVERYWHERE),
    "log": ("log(x)", (0.0, math.inf)),
    "log2": ("log(x)/log(2)", (0.0, math.inf)),
    "log1p": ("log1p(x)", (-1.0, math.inf)),
    "tanh": ("tanh(x)", EVERYWHERE),
    "erf": ("erf(x)", EVERYWHERE),
    "erfc": ("erfc(x)", EVERYWHERE),
    "reciprocal": ("1/x", EVERYWHERE),
    "rsqrt": ("1/sqrt(x)", (0.0, math.inf)),
}


def function(name, processor=None):
    return compiled(in_pairs(lambda x: getattr(pair, name)(op.plain(x)), 1), 1, 1, processor)


def inputs(name, count, seed):
    low, high = FUNCTIONS[name][1]
    random = np.random.default_rng(seed)
    x = stratified("float64", count, seed, (0.0, 1.0, -1.0), (low, high))
    near = random.choice(np.array([0.0, 1.0]), count) + random.uniform(-0.1, 0.1, count)
    x = np.concatenate([x, near, random.uniform(-745.2, 709.8, count)])
    return x[(x >= low) & (x <= high)]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_keep_the_bound(name):
    x = inputs(name, 4000, 1)
    with np.errstate(all="ignore"):
        y = function(name)(x)
    errors = Oracle(FUNCTIONS[name][0]).ulp_error(x, y)
    assert errors.max() <= 0.501, float(x[errors.argmax()]).hex()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_limits_and_signed_zeros(name):
    low, high = FUNCTIONS[name][1]
    x = special("float64")
    x = x[np.isnan(x) | ((x >= low) & (x <= high))]
    if name == "rsqrt":
        x = x[~((x == 0) & np.signbit(x))]  # 1/sqrt(-0) is -inf here, as in IEEE 754's rSqrt
    with np.errstate(all="ignore"):
        y, truth = function(name)(x), Oracle(FUNCTIONS[name][0]).rounded(x)
        assert np.isnan(function(name)(np.nextafter(low, -np.inf))) or low == -np.inf
    assert (np.isnan(y) == np.isnan(truth)).all()
    number = ~np.isnan(y)
    assert (np.signbit(y) == np.signbit(truth))[number].all()
    extreme = number & ((truth == 0) | np.isinf(truth))
    assert (y == truth)[extreme].all()


# -- what the back end may vary ----------------------------------------------------------------------------------------
@pytest.mark.skipif(not host().avx512, reason="this processor has no AVX-512")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_tables_in_registers_change_no_bit(name):
    avx2 = Processor(host().triple, "x86-64-v3", "+avx,+avx2,+fma,+f16c")
    x = np.concatenate([inputs(name, 2000, 2), special("float64")])
    with np.errstate(all="ignore"):
        assert function(name)(x).tobytes() == function(name, avx2)(x).tobytes()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_detours_change_no_bit(name, monkeypatch):
    x = np.concatenate([inputs(name, 2000, 3), special("float64")])
    with np.errstate(all="ignore"):
        usual = function(name)(x)
        monkeypatch.setattr(emit, "order", lambda graph, detours: order(graph, False))
        monkeypatch.setattr("fastact.cpu.cache.load", lambda name: None)
        monkeypatch.setattr("fastact.cpu.cache.store", lambda name, payload: False)
        assert function(name)(x).tobytes() == usual.tobytes()


def test_what_is_rare_is_set_apart():
    graph = Graph()
    x = graph.input("f64")
    zero = graph.constant("f64", 0.0)
    rare = graph.node("fcmp", "i1", x, zero, data="olt")
    shared = graph.node("fmul", "f64", x, x)
    only_rare = graph.node("sqrt", "f64", graph.node("fadd", "f64", shared, x))
    usual = graph.node("fadd", "f64", shared, zero)
    chosen = graph.node("select", "f64", rare, only_rare, usual, data="rare")
    graph.outputs = [chosen]
    steps = order(graph, True)
    detours = [step for step in steps if not hasattr(step, "op")]
    assert [[node.op for node in detour.nodes] for detour in detours] == [["fadd", "sqrt"]]
    assert detours[0].members == [chosen] and steps[-1] is detours[0]
    assert order(graph, False) == graph.live()


def test_detours_that_wait_for_one_another_are_given_up():
    graph = Graph()
    x, y = graph.input("f64"), graph.input("f64")
    zero = graph.constant("f64", 0.0)
    first, second = (graph.node("fcmp", "i1", value, zero, data="olt") for value in (x, y))
    a = graph.node("select", "f64", first, y, x, data="rare")
    b = graph.node("select", "f64", second, x, y, data="rare")
    after_b = graph.node("select", "f64", first, zero, graph.node("fadd", "f64", b, x), data="rare")
    after_a = graph.node("select", "f64", second, zero, graph.node("fadd", "f64", a, y), data="rare")
    graph.outputs = [after_a, after_b]
    assert order(graph, True) == graph.live()


def test_falling_polynomials_keep_the_digits_of_pairs():
    coefficients = TABLES["tanhshrink_pair"]["pair"].coefficients

    def body(z):
        p = pair.falling_polynomial(op.plain(z), coefficients)
        return p.pair(p.hi), p.pair(p.low)

    z = np.random.default_rng(0).uniform(0.0, 0.25, 500)
    exact = [sum(map(Fraction, c)) if isinstance(c, tuple) else Fraction(c) for c in coefficients]
    errors = []
    for x, high, low in zip(z, *compiled(in_pairs(body, 1), 1, 2)(z), strict=True):
        truth = sum(c * Fraction(x) ** k for k, c in enumerate(exact))
        errors.append(abs((Fraction(high) + Fraction(low)) / truth - 1))
    assert Fraction(1, 2**90) < max(errors) < Fraction(1, 2**69)
