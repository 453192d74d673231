"""rrelu with drawn slopes: reproducible, between the limits, uniform, and with the gradient that belongs to them."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import fastact

X = np.random.default_rng(3).normal(size=(300, 700)).astype(np.float32)


def draw(x: np.ndarray, seed: int = 1, **options: object) -> np.ndarray:
    return fastact.rrelu(x, rng=np.random.default_rng(seed), **options)


def test_seed_and_shape_determine_the_result() -> None:
    expected = draw(X)
    assert not np.array_equal(expected, draw(X, seed=2))
    wide = np.zeros((300, 1400), np.float32)
    wide[:, ::2] = X
    for x in (X, np.asfortranarray(X), wide[:, ::2]):
        assert np.array_equal(draw(x), expected)
    with fastact.num_threads(1):
        assert np.array_equal(draw(X), expected)
    assert np.array_equal(draw(X, out=np.empty_like(X)), expected)
    assert np.array_equal(draw(X, approx="exact"), draw(X, approx="rough"))


SHAPES = [
    ((), (), ()),
    ((0, 3), (), ()),
    ((5,), (), (1,)),
    ((3, 1), (9001,), ()),
    ((41, 700), (700,), (41, 1)),
    ((2, 5, 3001), (5, 1), (2, 1, 3001)),
]


@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64])
@pytest.mark.parametrize(("shape", "below", "above"), SHAPES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, "bfloat16"])
def test_slopes_are_those_of_one_draw(dtype: Any, shape: Any, below: Any, above: Any, bits: Any) -> None:
    """In whatever pieces they are made; and the generator is left where that draw leaves it."""
    dtype = pytest.importorskip("ml_dtypes").bfloat16 if dtype == "bfloat16" else dtype
    given = np.random.default_rng(5)
    lower, upper = given.uniform(-1, 0.25, below).astype(dtype), given.uniform(0.25, 1, above).astype(dtype)
    rng, same = np.random.Generator(bits(7)), np.random.Generator(bits(7))
    slope = fastact.rrelu(np.full(shape, -1, dtype), lower, upper, rng=rng, return_slope=True)[1]
    low, high = lower.astype(np.float64), upper.astype(np.float64)
    u = same.random(np.broadcast_shapes(shape, below, above))
    expected = np.asarray(np.clip(low + (high - low) * u, low, high)).astype(dtype)
    assert slope.dtype == dtype and slope.shape == expected.shape
    assert slope.tobytes() == expected.tobytes()
    assert rng.random() == same.random()


def test_memory_is_that_of_the_slopes() -> None:
    x = np.full(1 << 22, -1, np.float32)
    lower, upper, out = np.full_like(x, 0.25), np.full_like(x, 0.5), np.empty_like(x)
    for limits in ((0.25, 0.5), (lower, upper)):
        draw(x[:8], lower=0.25, upper=0.5)
        tracemalloc.start()
        try:
            draw(x, lower=limits[0], upper=limits[1], out=out)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert x.nbytes <= peak < x.nbytes + (1 << 20)


def test_a_generator_moves_on() -> None:
    rng = np.random.default_rng(1)
    first, second = fastact.rrelu(X, rng=rng), fastact.rrelu(X, rng=rng)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_slopes_are_uniform_and_the_gradient(dtype: type) -> None:
    x = X.astype(dtype)
    y, slope = draw(x, lower=0.25, upper=0.75, return_slope=True)
    assert y.dtype == slope.dtype == dtype
    drawn = slope[x <= 0]
    assert drawn.min() >= 0.25 and drawn.max() <= 0.75
    counts = np.histogram(drawn.astype(float), bins=8, range=(0.25, 0.75))[0]
    # About 13,000 in each bin: eight standard deviations are 850.
    assert abs(counts - drawn.size / 8).max() < 850
    assert (slope[x > 0] == 1).all()
    assert np.array_equal(y, x * slope)
    assert np.array_equal(fastact.rrelu(x, slope, slope), y)
    g = x[::-1]
    assert np.array_equal(fastact.rrelu.backward(g, x, slope, slope), g * slope)


def test_result_in_place_of_x() -> None:
    x = X.copy()
    y, slope = draw(x, out=x, return_slope=True)
    assert y is x
    assert np.array_equal(slope, draw(X, return_slope=True)[1])
    x = X.copy()
    slope = draw(x, lower=-0.75, upper=-0.25, out=x, return_slope=True)[1]
    assert np.array_equal(slope, draw(X, lower=-0.75, upper=-0.25, return_slope=True)[1]), "results are not those of x"


def test_slopes_are_rounded_to_the_dtype_of_the_result() -> None:
    x = X.astype(np.float32)
    y, slope = draw(x, lower=0.25, upper=0.75, return_slope=True, dtype=np.float64)
    expected = draw(x.astype(np.float64), lower=0.25, upper=0.75, return_slope=True)
    assert y.dtype == slope.dtype == np.float64
    assert y.tobytes() == expected[0].tobytes() and slope.tobytes() == expected[1].tobytes()
    assert not np.array_equal(slope, slope.astype(np.float32))


def test_slopes_lie_between_limits_however_far_apart() -> None:
    with np.errstate(over="ignore"):
        slope = draw(np.full(1000, -1.0), lower=-1.5e308, upper=1.5e308, return_slope=True)[1]
    assert (np.abs(slope) <= 1.5e308).all()


def test_slopes_between_limits_whose_difference_overflows() -> None:
    x, most = -np.ones(4000), np.finfo(np.float64).max
    with np.errstate(all="raise"):
        slopes = -draw(x, lower=-most, upper=most)
        mixed = -draw(x, lower=np.where(x.cumsum() > -2000, -most, 0.25), upper=np.where(x.cumsum() > -2000, most, 0.5))
    quarters = np.histogram(slopes / most, 4, (-1, 1))[0]
    assert quarters.min() > 800 and np.array_equal(mixed[:1999], slopes[:1999])
    np.testing.assert_array_equal(mixed[1999:], -draw(x, lower=0.25, upper=0.5)[1999:])


def test_limits_broadcast() -> None:
    lower, upper = np.array([[0.1], [0.5]]), np.array([[0.2], [0.5]])
    y = draw(np.full(1000, -1.0), lower=lower, upper=upper)
    assert y.shape == (2, 1000)
    assert (y[0] <= -0.1).all() and (y[0] >= -0.2).all() and (y[1] == -0.5).all()


def test_without_a_generator_nothing_is_random() -> None:
    y, slope = fastact.rrelu(X, return_slope=True)
    assert np.array_equal(y, fastact.rrelu(X))
    assert np.array_equal(slope, fastact.rrelu.grad(X))


def test_mistakes() -> None:
    for rng in (None, np.random.default_rng(1)):
        for lower, upper, said in (
            (0.5, 0.25, r"lower is greater than upper; given lower = 0\.5, upper = 0\.25$"),
            (np.inf, np.inf, r"lower is infinite; given lower = inf$"),
            (-np.inf, 0.5, r"lower is infinite; given lower = -inf$"),
            (-np.inf, -np.inf, r"lower is infinite; given lower = -inf$"),
            (np.float32(0.25), np.array([0.5, np.inf]), r"upper is infinite; given upper = inf$"),
        ):
            with pytest.raises(ValueError, match=rf"^rrelu\(\): {said}"):
                fastact.rrelu(X[:, :2], lower, upper, rng=rng)
    for given, said in ((np.random.default_rng(1), r"by keyword only: rng=Generator"), (True, "return_slope=True")):
        with pytest.raises(TypeError, match=said):
            fastact.rrelu(X, 0.25, 0.5, given)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="Generator"):
        fastact.rrelu(X, rng=1)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="missing"):
        fastact.rrelu(rng=np.random.default_rng(1))  # type: ignore[call-overload]
