"""Gradients of float32 in words of float32, times another number: the roundings of what they are, at any size."""

from __future__ import annotations

from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest

import fastact
from fastact.link.values import round_to_dtype

SCALE = Fraction(float(np.float32(0.8944)))
SLOPES = {
    "reciprocal": lambda x: -1 / x**2,
    "log1p": lambda x: 1 / (1 + x),
    "logit": lambda x: 1 / (x * (1 - x)),
    "softsign": lambda x: 1 / (1 + abs(x)) ** 2,
    "relu_squared": lambda x: 2 * max(x, 0),
    "star_relu": lambda x: 2 * SCALE * max(x, 0),
    "sparse_plus": lambda x: min(max((x + 1) / 2, 0), 1),
    "hardswish": lambda x: 1 if x >= 3 else 0 if x <= -3 else (2 * x + 3) / 6,
}
ROOTS = {
    "sqrt": lambda x: 1 / (2 * mp.sqrt(x)),
    "rsqrt": lambda x: -1 / (2 * x * mp.sqrt(x)),
    "log2": lambda x: 1 / (x * mp.log(2)),
    "tanhshrink": lambda x: mp.tanh(x) ** 2,
}
DOMAINS = {"log1p": (-1.0, 8.0), "logit": (0.0, 1.0), "sqrt": (0.0, 8.0), "rsqrt": (0.0, 8.0), "log2": (0.0, 8.0)}


def material(name):
    """g and x: usual ones, of any size, next to ends, and of so few digits that many products are ties."""
    draw = np.random.default_rng(sum(map(ord, name)))
    low, high = DOMAINS.get(name, (-4.0, 4.0))

    def sized(span):
        return draw.choice([-1, 1], 1200) * 2.0 ** draw.uniform(-span, min(span, 127), 1200)

    x = [draw.uniform(low, high, 1200), sized(149), sized(24), low + 2.0 ** draw.uniform(-24, 0, 1200)]
    x += [high - 2.0 ** draw.uniform(-23, 0, 1200), draw.integers(-96, 96, 1200) / 32]
    g = [draw.uniform(-10, 10, 1200), sized(149), sized(60), np.ones(1200), sized(4)]
    g.append(draw.integers(-(2**24), 2**24, 1200))
    x, g = (np.concatenate(parts).astype(np.float32) for parts in (x, g))
    g = np.concatenate([g, draw.permutation(g)])
    x = np.concatenate([x, x])
    ends = (-1.5, -1.0, 1.0, 3.0, -3.0)
    x = np.concatenate([x, np.repeat(np.float32(ends), 40)])
    g = np.concatenate([g, np.tile(g[:40], len(ends))])
    inside = (x > low) & (x < high) if name in DOMAINS and name != "log1p" else x > -1 if name == "log1p" else x != 0
    if name in ("sqrt", "rsqrt", "log2"):
        inside = x > 0
    return g[inside], x[inside]


def nearest(value):
    """The float32 nearest to a fraction."""
    if abs(value) >= 2**128 - 2**103:
        return np.float32(np.inf if value > 0 else -np.inf)
    return np.float32(float(round_to_dtype(value, "float32")))


@pytest.mark.parametrize("name", [*SLOPES, *ROOTS])
def test_products_are_the_roundings_of_what_they_are(name):
    g, x = material(name)
    with np.errstate(all="ignore"):
        found = getattr(fastact, name).backward(g, x, approx="exact")
    with mp.workdps(120):
        if name in SLOPES:
            slopes = [Fraction(SLOPES[name](Fraction(float(v)))) for v in x]
        else:
            values = [ROOTS[name](mp.mpf(float(v))) for v in x]
            slopes = [Fraction(int(mp.nint(v * mp.power(2, 520))), 2**520) for v in values]
    wanted = np.array([nearest(Fraction(float(a)) * slope) for a, slope in zip(g, slopes, strict=True)])
    wrong = found != wanted
    assert not wrong.any(), (g[wrong][:5], x[wrong][:5], found[wrong][:5], wanted[wrong][:5])


@pytest.mark.parametrize("name", [*SLOPES, *ROOTS])
def test_ends_and_signs(name):
    """Values are those of float64, which goes another way."""
    odd = [0.0, np.inf, np.nan, 1e-45, 1e-39, 1.1754944e-38, 3.4e38, 1.0, 1.5, 3.0, 2.0**-24, 2.0**60, 2.0**-60, 0.75]
    numbers = np.array([s * v for v in odd for s in (1, -1)], np.float32)
    g, x = (part.ravel() for part in np.meshgrid(numbers, numbers))
    door = getattr(fastact, name).backward
    with np.errstate(all="ignore"):
        found = door(g, x, approx="exact")
        if name == "star_relu":  # of which the dtypes have other defaults
            wanted = door(g.astype(np.float64), x.astype(np.float64), scale=float(SCALE), approx="exact")
        else:
            wanted = door(g.astype(np.float64), x.astype(np.float64), approx="exact")
        wanted = wanted.astype(np.float32)
    sure = ~(np.abs(wanted) < 1e-44) | ~(np.abs(found) < 1e-44)  # others may have been rounded twice
    np.testing.assert_array_equal(found[sure], wanted[sure])
    with np.errstate(all="ignore"):
        slope = getattr(fastact, name).grad(x.astype(np.float64))
    # What is selected is 0 whatever g is.
    negative = (np.signbit(g) ^ np.signbit(slope)) & ((slope != 0) | (name == "tanhshrink"))
    told = ~np.isnan(found) & np.isfinite(x) & np.isfinite(g) & (x != -1.5)
    wrong = np.signbit(found[told]) != negative[told]
    assert not wrong.any(), (g[told][wrong][:5], x[told][wrong][:5], found[told][wrong][:5])
