"""Bit patterns, neighbours, units in the last place, and the inputs on which accuracy is measured."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("ml_dtypes")

from fastact.accuracy.samples import chunks_of_all_float32, every, special, stratified
from fastact.accuracy.ulp import (
    FORMATS,
    format_of,
    from_bits,
    from_ordinal,
    is_midpoint,
    nearest,
    neighbour,
    ordinal,
    to_bits,
    ulp,
)

NAMES = sorted(FORMATS)


def doubles(values: object) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # signalling NaNs
        return np.asarray(values).astype(np.float64)


@pytest.mark.parametrize("name", NAMES)
def test_the_facts_of_the_formats(name: str) -> None:
    form = FORMATS[name]
    top = from_bits(np.array([form.infinity_bits, form.infinity_bits - 1, 1]), name)
    assert doubles(top).tolist() == [math.inf, form.largest, form.smallest]
    assert Fraction(form.smallest_normal) == Fraction(form.smallest) * 2 ** (form.precision - 1)
    assert format_of(form.dtype) is form and format_of(form) is form
    if name != "bfloat16":
        facts = np.finfo(form.dtype)
        assert (facts.max, facts.smallest_normal, facts.smallest_subnormal) == (
            form.largest,
            form.smallest_normal,
            form.smallest,
        )


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_ordinals_are_monotone_and_come_back(name: str) -> None:
    values = every(name)
    numbers = values[~np.isnan(doubles(values))]
    ordered = numbers[np.argsort(ordinal(numbers), kind="stable")]
    assert np.all(np.diff(doubles(ordered)[np.isfinite(doubles(ordered))]) >= 0)
    assert np.array_equal(np.unique(np.diff(np.unique(ordinal(numbers)))), [1])
    back = from_ordinal(ordinal(numbers), name)
    assert np.array_equal(doubles(back), doubles(numbers))
    assert np.array_equal(to_bits(from_bits(to_bits(values), name)), to_bits(values))


def test_neighbours_are_those_of_nextafter() -> None:
    for dtype in (np.float32, np.float64):
        x = np.array([0.0, 1.0, -1.0, 5e-324, -3e38, np.finfo(dtype).max, math.inf], dtype=dtype)
        with np.errstate(over="ignore", under="ignore"):
            assert np.array_equal(neighbour(x), np.nextafter(x, dtype(math.inf)))
            assert np.array_equal(neighbour(x, -1), np.nextafter(x, dtype(-math.inf)))
    assert np.isnan(neighbour(np.array([math.nan]))).all()
    assert neighbour(np.array([1.0]), [[1], [2]]).shape == (2, 1)


def test_ulps_are_those_of_spacing() -> None:
    for dtype in (np.float16, np.float32, np.float64):
        x = np.abs(stratified(dtype, 2000, 1))
        assert np.array_equal(ulp(x, dtype), np.spacing(x).astype(np.float64))
    assert ulp([1.0, 0.99, 0.0, 1e-40, math.inf], "bfloat16").tolist() == [2**-7, 2**-8, 2**-133, 2**-133, 2**120]
    assert np.isnan(ulp([math.nan], "float32")).all()


@given(st.floats(allow_nan=False, width=64))
def test_nearest_to_float16_is_that_of_numpy(x: float) -> None:
    with np.errstate(over="ignore", under="ignore"):
        assert nearest([x], "float16")[0] == np.float64(x).astype(np.float16)


def test_midpoints_are_told() -> None:
    values = np.array([1 + 2.0**-24, 1.0, 2.0**-150, 0.0, 2.0**128 - 2.0**103, math.inf, math.nan, 3 * 2.0**-150])
    assert is_midpoint(values, "float32").tolist() == [True, False, True, False, True, False, False, True]
    assert not is_midpoint(np.nextafter(values[[0, 2, 4, 7]], [[np.inf], [-np.inf]]), "float32").any()
    assert not is_midpoint(values, "float64").any()


@pytest.mark.parametrize("name", NAMES)
def test_stratified_samples_cover_what_they_promise(name: str) -> None:
    form = FORMATS[name]
    sample = stratified(name, 20000, 7, critical=(-1.1924893,))
    x = doubles(sample)
    assert sample.dtype == form.dtype and sample.size == 20000 and np.isfinite(x).all()
    binades = set(range(form.smallest_exponent + 1, form.largest_exponent + 1))
    for sign in (-1, 1):
        assert set(np.frexp(x[np.sign(x) == sign])[1].tolist()) == binades
    centre = ordinal(nearest(np.array([-1.1924893]), name).astype(form.dtype))
    threshold = ordinal(nearest(np.array([form.largest_exponent * math.log(2)]), name).astype(form.dtype))
    places = set(ordinal(sample).tolist())
    for point in (centre, threshold, np.array([0])):
        assert {int(point[0]) + step for step in range(-100, 101)} <= places
    inside = np.abs(x) <= 20
    assert inside.mean() > 0.4
    assert np.array_equal(to_bits(sample), to_bits(stratified(name, 20000, 7, critical=(-1.1924893,))))
    assert not np.array_equal(to_bits(sample), to_bits(stratified(name, 20000, 8, critical=(-1.1924893,))))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("domain", [(-1.0, math.inf), (0.0, 1.0), (0.1, 0.1001), (-math.inf, 0.0), (1.0, 1.0)])
def test_samples_stay_in_their_domain(name: str, domain: tuple[float, float]) -> None:
    if domain == (0.1, 0.1001) and FORMATS[name].width == 16:
        domain = (0.1, 0.11)
    x = doubles(stratified(name, 500, 3, domain=domain))
    assert x.size == 500 and x.min() >= domain[0] and x.max() <= domain[1]


def test_samples_refuse_an_empty_domain() -> None:
    with pytest.raises(ValueError, match="no float16 lies in"):
        stratified("float16", 10, 0, domain=(1.0001, 1.0002))
    with pytest.raises(ValueError, match="only the 16-bit formats"):
        every("float32")
    with pytest.raises(ValueError, match="bit patterns run"):
        next(chunks_of_all_float32(5, 2))


@pytest.mark.parametrize("name", NAMES)
def test_special_values_are_all_there(name: str) -> None:
    form = FORMATS[name]
    sample = special(name)
    x = doubles(sample)
    missing = np.isnan(x)
    assert len(set(to_bits(sample[missing]).tolist())) == 6 and np.signbit(x[missing]).any()
    present = set(x[~missing].tolist())
    subnormal = form.smallest_normal - form.smallest
    for value in (math.inf, form.largest, form.smallest_normal, subnormal, form.smallest, 0.0):
        assert {value, -value} <= present
    assert np.signbit(x[x == 0]).tolist() == [False, True]


def test_all_float32_come_in_chunks() -> None:
    chunks = list(chunks_of_all_float32(0x3F800000 - 5, 0x3F800000 + 6, 4))
    assert [chunk.size for chunk in chunks] == [4, 4, 3]
    joined = np.concatenate(chunks)
    assert joined.dtype == np.float32 and joined[5] == 1.0
    assert np.array_equal(to_bits(joined), np.arange(0x3F800000 - 5, 0x3F800000 + 6))
    last = list(chunks_of_all_float32((1 << 32) - 3))
    assert np.isnan(last[0]).all() and last[0].size == 3
