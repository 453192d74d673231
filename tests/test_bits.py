"""Bits depend on the input alone: not on length, place, stride, alignment, byte order or the processor's features."""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ml_dtypes")

from accuracy_cases import DTYPES, REGISTRY, SEED, TIERS

from fastact.accuracy.measure import settings
from fastact.accuracy.samples import every, special, stratified
from fastact.accuracy.ulp import Floats, format_of, to_bits
from fastact.cpu.compile import address
from fastact.cpu.failures import failures
from fastact.cpu.kernels import inner_ufunc
from fastact.cpu.lowering.overlap import parts
from fastact.cpu.lowering.uniform import worthwhile
from fastact.cpu.target import Processor, baseline, host
from fastact.cpu.ufunc import LOOP
from fastact.cuda.evaluate import evaluate
from fastact.link.forms import forms, kernel, usual_form
from fastact.link.graph import Graph
from fastact.link.sixteen import AWAY

PLAIN = "sse3,ssse3,sse4.1,sse4.2,popcnt"
FEATURES = {
    "sse2": "",
    "sse4.2": PLAIN,
    "avx": f"{PLAIN},avx",
    "avx2": f"{PLAIN},avx,avx2,fma,f16c,bmi,bmi2",
    "avx512": f"{PLAIN},avx,avx2,fma,f16c,bmi,bmi2,avx512f,avx512dq,avx512vl,avx512bw",
}
KERNELS = [
    (name, form, dtype, tier)
    for name, declaration in REGISTRY.items()
    for form in forms(declaration)
    for dtype in DTYPES
    for tier in TIERS
]
FEW = 40


def some(count: int, dtype: str = "") -> list[tuple[str, str, str, str]]:
    """Kernels that are others whenever one of them changes."""
    chosen = [key for key in KERNELS if dtype in key[2]]
    places = np.random.default_rng(SEED).permutation(len(chosen))[:count]
    return [chosen[i] for i in sorted(places)]


def label(key: tuple[str, str, str, str]) -> str:
    return "-".join(key)


def same_bits(a: Floats, b: Floats) -> bool:
    """Whether two arrays hold the same bits; NaNs may differ in sign and payload, which IEEE 754 leaves open."""
    return bool(((to_bits(a) == to_bits(b)) | (np.isnan(a) & np.isnan(b))).all())


def inputs(key: tuple[str, str, str, str], count: int) -> list[Floats]:
    """Arguments of a kernel: the parameters are arrays too."""
    name, form, dtype, _ = key
    declaration = REGISTRY[name]
    chosen, kind = forms(declaration)[form], format_of(dtype).dtype
    drawn = stratified(dtype, count, SEED, declaration.critical, declaration.domain)
    drawn[:: max(1, count // 16)] = np.resize(special(dtype), drawn[:: max(1, count // 16)].size)
    columns = [drawn]
    if chosen.place:
        columns.insert(0, np.random.default_rng(SEED).standard_normal(count).astype(kind))
    known = dict(zip((p.name for p in declaration.parameters), settings(declaration, dtype), strict=True))
    for parameter in chosen.parameters:
        value = known.get(parameter.name, parameter.default)
        columns.append(np.full(count, 0.25 if value is None else value).astype(kind))
    return columns


@functools.cache
def loop(key: tuple[str, str, str, str], processor: Processor) -> Any:
    name, form, dtype, tier = key
    linked = kernel(REGISTRY[name], form, dtype, tier)
    return LOOP(address(linked.graph, linked.evidence, processor, varying=linked.varying))


def call(inner: Any, columns: list[Floats], result: Floats) -> Floats:
    """Run an inner loop on arrays of any strides."""
    arrays = [*columns, result]
    pointers = (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))
    steps = (ctypes.c_ssize_t * len(arrays))(*(a.strides[0] if a.size > 1 else a.itemsize for a in arrays))
    count = ctypes.c_ssize_t(result.size)
    inner(ctypes.addressof(pointers), ctypes.addressof(count), ctypes.addressof(steps), None)
    return result


def whole(key: tuple[str, str, str, str], columns: list[Floats]) -> Floats:
    return call(loop(key, host()), columns, np.empty_like(columns[0]))


@pytest.mark.parametrize("key", [*some(200, "float32"), *some(FEW)], ids=label)
def test_remainders_are_computed_like_whole_vectors(key: tuple[str, str, str, str]) -> None:
    name, form, dtype, tier = key
    width = host().target().width(kernel(REGISTRY[name], form, dtype, tier).graph)
    columns = inputs(key, 4 * width + 1)
    expected = whole(key, columns)
    for length in range(1, 2 * width + 2):
        for start in (0, 1, width - 1):
            pieces = [column[start : start + length] for column in columns]
            found = call(loop(key, host()), pieces, np.empty_like(pieces[0]))
            assert same_bits(found, expected[start : start + length]), f"length {length} from {start}"


@pytest.mark.parametrize("key", some(FEW), ids=label)
def test_strides_alignment_and_place(key: tuple[str, str, str, str]) -> None:
    columns = inputs(key, 3001)
    expected = whole(key, columns)
    for step in (2, 3, 7, -1, -5):
        strided = [np.repeat(c, abs(step))[:: abs(step)] for c in columns]
        view = np.empty(expected.size * abs(step), dtype=expected.dtype)[:: abs(step)]
        backwards = slice(None, None, -1 if step < 0 else 1)
        found = call(loop(key, host()), [c[backwards] for c in strided], view[backwards])
        assert same_bits(view, expected), f"stride {step}"
        found = call(loop(key, host()), [c[backwards] for c in strided], np.empty_like(expected))
        assert same_bits(found, expected[backwards]), f"stride {step} of the inputs alone"
    for place in range(1, 16):
        moved = [np.concatenate([c[:place], c])[place:] for c in columns]
        room = np.empty(expected.size + place, expected.dtype)[place:]
        assert same_bits(call(loop(key, host()), moved, room), expected), f"moved by {place}"


ODD = {
    ("sigmoid", "value", "float32", "exact"): 90.0,
    ("exp", "value", "float32", "fast"): -95.0,
    ("log", "value", "float32", "exact"): 1e-40,
    ("log1p", "value", "float32", "exact"): -1.5,
    ("mish", "value", "float64", "exact"): -740.0,
    ("softplus", "value", "float64", "fast"): -730.0,
}
"""Kernels with detours, and inputs that need them."""


@pytest.mark.parametrize("key", ODD, ids=label)
def test_one_element_on_a_detour(key: tuple[str, str, str, str]) -> None:
    """Detours are computed for a part of a vector: for the right one, and nothing else is changed."""
    name, form, dtype, tier = key
    key = (name, usual_form(REGISTRY[name], form), dtype, tier)
    graph = kernel(REGISTRY[name], key[1], dtype, tier).graph
    assert any(node.data == "rare" for node in graph.live())
    ordinary = np.linspace(0.5, 2.0, 2 * host().target().width(graph)).astype(dtype)
    plain, odd = (evaluate(graph)(x)[0] for x in (ordinary, np.full(1, ODD[name, form, dtype, tier], dtype)))
    for place in range(ordinary.size):
        x, expected = ordinary.copy(), plain.copy()
        x[place], expected[place] = ODD[name, form, dtype, tier], odd[0]
        assert same_bits(whole(key, [x]), expected), f"at {place}"


@pytest.mark.parametrize(("name", "dtype", "tier"), [("tanh", "float32", "fast"), ("mish", "float32", "rough")])
def test_loops_that_are_a_vector_ahead(name: str, dtype: str, tier: str) -> None:
    """The last vector is computed twice in part; the results may overwrite the input."""
    key = (name, usual_form(REGISTRY[name], "value"), dtype, tier)
    graph = kernel(REGISTRY[name], key[1], dtype, tier).graph
    assert parts(graph) is not None
    width = host().target().width(graph)
    x = np.linspace(-9.0, 9.0, 5 * width).astype(dtype)
    expected = np.concatenate([whole(key, [piece]) for piece in np.split(x, 5)])
    for count in range(1, 6):
        held = x[: count * width].copy()
        assert same_bits(whole(key, [held]), expected[: held.size])
        assert same_bits(call(loop(key, host()), [held], held), expected[: held.size])


def flagged(key: tuple[str, str, str, str], arguments: list[Any]) -> tuple[Floats, set[str]]:
    """What the ufunc of a kernel makes of its arguments, and the floating-point errors that NumPy hears of."""
    errors: set[str] = set()
    with np.errstate(all="call", call=lambda kind, _: errors.add(kind)):
        result = inner_ufunc(*key[:2], key[3])(*arguments)
    assert not failures, "it was not compiled"
    return result, errors


WITH_PARAMETERS = [key for key in KERNELS if forms(REGISTRY[key[0]])[key[1]].parameters]


def test_loops_for_single_numbers_are_built_where_they_are_worth_it() -> None:
    """Of short kernels, and of those in which much follows from the numbers alone."""
    for name, tier, own in (("rrelu", "fast", True), ("xielu", "fast", True), ("swish", "exact", False)):
        made = kernel(REGISTRY[name], "value", "float32", tier)
        assert worthwhile(made.graph, made.varying) is own, name


@pytest.mark.parametrize(
    "key", [WITH_PARAMETERS[i] for i in np.random.default_rng(SEED).permutation(len(WITH_PARAMETERS))[:60]], ids=label
)
def test_parameters_that_are_single_numbers(key: tuple[str, str, str, str]) -> None:
    """What follows from them alone is computed once; the bits are those of arrays full of them, and so are the
    floating-point errors, wherever the elements are that cause them."""
    name, form, dtype, _ = key
    given = len(forms(REGISTRY[name])[form].parameters)
    assert kernel(REGISTRY[name], form, dtype, key[3]).varying > 0
    for count in (1, 2, 77, 1024, 12345):
        columns = inputs(key, count)
        numbers = [column[:1].reshape(()) for column in columns[-given:]]
        for pieces in (slice(None), slice(count - count // 3 - 1, None)):
            varying = [column[pieces] for column in columns[:-given]]
            expected, errors = flagged(key, [*varying, *(np.full_like(varying[0], number) for number in numbers)])
            found, also = flagged(key, [*varying, *numbers])
            assert same_bits(found, expected), count
            # A zero has underflowed if an instruction of its stretch has; where stretches begin depends on the memory.
            assert errors ^ also <= {"underflow"}, count
        held = columns[0].copy()
        with np.errstate(all="ignore"):
            inner_ufunc(*key[:2], key[3])(held, *columns[1:-given], *numbers, out=held)
        assert same_bits(held, flagged(key, [*columns[:-given], *numbers])[0]), "over the first input"


@pytest.mark.parametrize("key", some(FEW), ids=label)
def test_results_in_the_place_of_an_input(key: tuple[str, str, str, str]) -> None:
    columns = inputs(key, 2111)
    expected = whole(key, columns)
    for place in range(len(columns)):
        copies = [c.copy() for c in columns]
        assert same_bits(call(loop(key, host()), copies, copies[place]), expected), f"in place of argument {place}"


@pytest.mark.parametrize("key", some(FEW), ids=label)
def test_arrays_as_numpy_hands_them_over(key: tuple[str, str, str, str]) -> None:
    name, form, dtype, tier = key
    ufunc = inner_ufunc(name, form, tier)
    columns = inputs(key, 24 * 25)
    expected = whole(key, columns)
    with np.errstate(all="ignore"):
        shaped = [c.reshape(24, 25) for c in columns]
        assert same_bits(ufunc(*shaped).reshape(-1), expected)
        assert same_bits(np.ascontiguousarray(ufunc(*(np.asfortranarray(a) for a in shaped))).reshape(-1), expected)
        assert same_bits(np.ascontiguousarray(ufunc(*(a.T for a in shaped)).T).reshape(-1), expected)
        if dtype != "bfloat16":
            swapped = [c.astype(c.dtype.newbyteorder()) for c in columns]
            assert same_bits(ufunc(*swapped), expected)
        one_by_one = [ufunc(*(c[k] for c in columns)) for k in range(0, expected.size, 13)]
        assert same_bits(np.array(one_by_one, dtype=expected.dtype), expected[::13])


@pytest.mark.skipif(host().machine != "x86_64", reason="restricts the features of x86-64")
@pytest.mark.parametrize("level", FEATURES)
@pytest.mark.parametrize("key", [*some(12, "float32"), *some(12)], ids=label)
def test_processors_agree(key: tuple[str, str, str, str], level: str) -> None:
    needed = [feature for feature in FEATURES[level].split(",") if feature]
    if not all(host().has(feature) for feature in needed):
        pytest.skip(f"this processor lacks {level}")
    columns = inputs(key, 1500)
    expected = whole(key, columns)
    found = call(loop(key, baseline(FEATURES[level])), columns, np.empty_like(expected))
    wrong = ~((to_bits(found) == to_bits(expected)) | (np.isnan(found) & np.isnan(expected)))
    assert not wrong.any(), f"{level}: {found[wrong][:3]}, not {expected[wrong][:3]}, of {columns[0][wrong][:3]}"


# -- float16 without instructions for it ------------------------------------------------------------------------------
def conversion(op: str, source: str, target: str) -> Graph:
    graph = Graph()
    graph.outputs.append(graph.node(op, target, graph.input(source)))
    return graph


PROCESSORS = {"host": host(), "integer arithmetic": baseline()}
if host().has("f16c"):
    PROCESSORS["f16c"] = baseline(FEATURES["avx2"])


@pytest.mark.parametrize("processor", PROCESSORS)
def test_every_half_is_widened_as_numpy_widens_it(processor: str) -> None:
    halves = every("float16")
    inner = LOOP(address(conversion("half_to_single", "i16", "f32"), None, PROCESSORS[processor]))
    assert same_bits(call(inner, [halves], np.empty(halves.size, np.float32)), halves.astype(np.float32))


@pytest.mark.parametrize("processor", PROCESSORS)
def test_singles_are_rounded_to_halves_as_numpy_rounds_them(processor: str) -> None:
    random = np.random.default_rng(SEED)
    halves = every("float16").astype(np.float32)
    with np.errstate(all="ignore"):
        finite = np.isfinite(halves)
        ties = halves[finite] + np.spacing(every("float16"))[finite].astype(np.float32) / 2
        singles = np.concatenate([
            halves,
            ties, np.nextafter(ties, np.float32(np.inf)), np.nextafter(ties, np.float32(-np.inf)),
            random.integers(0, 1 << 32, 1 << 19, dtype=np.uint64).astype(np.uint32).view(np.float32),
            (random.standard_normal(1 << 19) * 2.0 ** random.integers(-30, 18, 1 << 19)).astype(np.float32),
            np.array([65504, 65519.996, 65520, 65536, np.inf, -65520, 2.0**-25, 2.0**-24, -(2.0**-26)], np.float32),
        ])  # fmt: skip
        expected = singles.astype(np.float16)
    inner = LOOP(address(conversion("single_to_half", "f32", "i16"), None, PROCESSORS[processor]))
    assert singles.size >= 1 << 20
    assert same_bits(call(inner, [singles], np.empty(singles.size, np.float16)), expected)


# -- bfloat16 ---------------------------------------------------------------------------------------------------------
if host().has("avx512f"):
    PROCESSORS["no instructions for bfloat16"] = baseline(FEATURES["avx512"])


@pytest.mark.parametrize("processor", PROCESSORS)
def test_singles_are_rounded_to_bfloat_as_its_module_rounds_them(processor: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    random = np.random.default_rng(SEED)
    bits = np.arange(1 << 16, dtype=np.uint32) << 16
    near = (bits[:, None] + np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)).reshape(-1)
    singles = np.concatenate([near, random.integers(0, 1 << 32, 1 << 19, dtype=np.uint64).astype(np.uint32)])
    for values in (singles.view(np.float32), singles.view(np.float32)[singles << 1 > 1 << 24]):
        graph = conversion("single_to_bfloat", "f32", "i16")
        inner = LOOP(address(graph, None, PROCESSORS[processor]))
        found = call(inner, [values], np.empty(values.size, ml_dtypes.bfloat16))
        with np.errstate(all="ignore"):
            expected = values.astype(ml_dtypes.bfloat16)
        wrong = (to_bits(found) != to_bits(expected)) & ~(np.isnan(values) & np.isnan(found.astype(np.float32)))
        assert not wrong.any(), values[wrong][:3]


@pytest.mark.parametrize("processor", PROCESSORS)
def test_singles_are_rounded_to_bfloat_with_ties_away_from_zero(processor: str) -> None:
    """What no tie shows the side of is rounded by one addition to its bits, as CUDA's twin of it does."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    bits = np.arange(1 << 16, dtype=np.uint32) << 16
    near = (bits[:, None] + np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)).reshape(-1)
    values = near.view(np.float32)
    values = values[~np.isnan(values) | (near & 0xFFFF == 0)]
    graph = conversion(AWAY, "f32", "i16")
    found = call(LOOP(address(graph, None, PROCESSORS[processor])), [values], np.empty(values.size, ml_dtypes.bfloat16))
    patterns, ties = values.view(np.uint32), values.view(np.uint32) & 0xFFFF == 0x8000
    with np.errstate(all="ignore"):
        expected = np.where(ties, (patterns >> 16) + 1, to_bits(values.astype(ml_dtypes.bfloat16)))
    expected = np.where(np.isnan(values), patterns >> 16, expected)
    assert (to_bits(found) == expected).all()
    assert (evaluate(graph)(values)[0] == expected).all()


@pytest.mark.parametrize("processor", PROCESSORS)
def test_every_bfloat_passes_unchanged(processor: str) -> None:
    pytest.importorskip("ml_dtypes")
    graph = Graph()
    single = graph.node("bfloat_to_single", "f32", graph.input("i16"))
    graph.outputs.append(graph.node("single_to_bfloat", "i16", single))
    patterns = every("bfloat16")
    patterns = np.concatenate([patterns, patterns[5:77]])
    found = call(LOOP(address(graph, None, PROCESSORS[processor])), [patterns], np.empty_like(patterns))
    quiet = np.where(np.isnan(patterns.astype(np.float32)), to_bits(patterns) | 0x40, to_bits(patterns))
    assert (to_bits(found) == quiet).all()
