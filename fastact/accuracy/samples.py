"""Inputs to measure on: every binade, the neighbourhoods that matter, special values, and all values of a format.

Everything is deterministic from its seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastact.accuracy.ulp import Doubles, Floats, Format, format_of, from_bits, from_ordinal, nearest, ordinal, to_bits

Ordinals = NDArray[np.int64]
Domain = tuple[float, float]

EVERYWHERE: Domain = (-math.inf, math.inf)
MODERATE = 20.0
"""Half of the random inputs lie within this distance of 0, where activations do their work."""
NEIGHBOURS = 256
"""Neighbouring floats taken on each side of a point of interest."""


def stratified(
    dtype: Any, count: int, seed: int, critical: Sequence[float] = (), domain: Domain = EVERYWHERE
) -> Floats:
    """``count`` finite inputs within the domain (limits included), in no particular order.

    At most half are landmarks: 0, +-1, the critical points, and the inputs at which exp overflows, leaves the normal
    range and underflows, each with its nearest floats on both sides and with points at geometric distances. The rest
    are drawn: half of them from all binades of both signs, subnormal ones included, with equal weight; a quarter
    log-uniformly between 2^-precision and 20; a quarter uniformly from [-20, 20].

    Raises:
        ValueError: the domain contains no number of the format.
    """
    form = format_of(dtype)
    random = np.random.default_rng([seed, form.width, form.precision])
    low, high = _inside(form, domain)
    landmarks = _landmarks(form, critical)
    landmarks = landmarks[(landmarks >= low) & (landmarks <= high)]
    if landmarks.size > count // 2:
        landmarks = random.choice(landmarks, count // 2, replace=False)
    missing = count - landmarks.size
    parts = [
        landmarks,
        _fill(random, form, missing - 2 * (missing // 4), low, high, _from_binades),
        _fill(random, form, missing // 4, low, high, _logarithmic),
        _fill(random, form, missing // 4, low, high, _uniform),
    ]
    return from_ordinal(np.concatenate(parts), form)


def special(dtype: Any) -> Floats:
    """NaNs (quiet, negative, with payload), infinities, zeros, and the ends of the subnormal and normal ranges with
    their neighbours, of both signs."""
    form = format_of(dtype)
    infinity, quiet = form.infinity_bits, 1 << (form.precision - 2)
    normal = int(to_bits(np.asarray(form.smallest_normal).astype(form.dtype)))
    magnitudes = [
        infinity | quiet,
        infinity | quiet | 5,
        infinity | quiet | (quiet - 1),
        infinity,
        *(0, 1, 2, 3),
        *(normal - 2, normal - 1, normal, normal + 1, normal + 2),
        *(infinity - 1, infinity - 2, infinity - 3),
    ]
    sign = 1 << (form.width - 1)
    bits = [pattern | s for pattern in magnitudes for s in (0, sign)]
    return from_bits(np.array(bits, dtype=np.uint64), form)


def every(dtype: Any) -> Floats:
    """All 65,536 values of a 16-bit format in the order of their bit patterns, NaNs and infinities included."""
    form = format_of(dtype)
    if form.width != 16:
        raise ValueError(f"{form.name} has 2^{form.width} values; only the 16-bit formats are listed in full")
    return from_bits(np.arange(1 << 16, dtype=np.uint64), form)


def chunks_of_all_float32(start: int = 0, stop: int = 1 << 32, size: int = 1 << 20) -> Iterator[NDArray[np.float32]]:
    """The float32 values of the bit patterns from ``start`` to ``stop`` (exclusive), in arrays of ``size``."""
    if not 0 <= start <= stop <= 1 << 32:
        raise ValueError(f"bit patterns run from 0 to 2^32; got {start} to {stop}")
    for first in range(start, stop, size):
        yield np.arange(first, min(first + size, stop), dtype=np.uint64).astype(np.uint32).view(np.float32)


def _inside(form: Format, domain: Domain) -> tuple[int, int]:
    """Ordinals of the least and the greatest finite number in the domain."""
    limits = nearest(np.array(domain, dtype=np.float64), form)
    low, high = (int(n) for n in ordinal(_cast(limits, form)))
    low += bool(limits[0] < domain[0])
    high -= bool(limits[1] > domain[1])
    greatest = form.infinity_bits - 1
    low, high = max(low, -greatest), min(high, greatest)
    if low > high:
        raise ValueError(f"no {form.name} lies in {domain}")
    return low, high


def _cast(values: Doubles, form: Format) -> Floats:
    with np.errstate(all="ignore"):
        return nearest(values, form).astype(form.dtype)


def _landmarks(form: Format, critical: Sequence[float]) -> Ordinals:
    """Ordinals of the points of interest and their surroundings, without repetition."""
    unit = math.log(2.0)
    ends = [form.largest_exponent, form.smallest_exponent + form.precision - 1, form.smallest_exponent - 1]
    points = [1.0, *(e * unit for e in ends), *(form.precision * unit * k for k in (0.5, 1.0))]
    points = [0.0, *critical, *points, *(-p for p in points)]
    powers = 2.0 ** np.arange(0, form.precision + 8)
    steps = np.unique(np.concatenate([np.arange(NEIGHBOURS + 1), powers[powers < 2**form.precision]])).astype(np.int64)
    places = []
    for point in points:
        centre = ordinal(_cast(np.array([point]), form))
        distances = np.maximum(abs(point), 1.0) / powers
        around = _cast(np.concatenate([point - distances, point + distances]), form)
        places += [centre + steps, centre - steps, ordinal(around)]
    joined = np.unique(np.concatenate(places))
    return joined[np.abs(joined) < form.infinity_bits]


def _fill(random: np.random.Generator, form: Format, count: int, low: int, high: int, draw: Any) -> Ordinals:
    """``count`` ordinals of a draw that fall within the limits; from the limits evenly where hardly any do."""
    found: list[Ordinals] = []
    missing = count
    for _ in range(16):
        if missing <= 0:
            break
        drawn = draw(random, form, 2 * missing + 16)
        kept = drawn[(drawn >= low) & (drawn <= high)][:missing]
        found.append(kept)
        missing -= kept.size
    if missing > 0:
        found.append(random.integers(low, high, missing, endpoint=True))
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64)


def _from_binades(random: np.random.Generator, form: Format, count: int) -> Ordinals:
    """Random numbers of all binades in turn, signs alternating."""
    exponents = np.arange(form.smallest_exponent, form.largest_exponent)
    turns = np.resize(np.repeat(random.permutation(exponents), 2), count)
    below_one = _open_unit(random, count)
    magnitude = np.ldexp(1.0 + below_one, turns)
    signs = np.where(np.arange(count) % 2, -1.0, 1.0)
    return _truncated(magnitude * signs, form)


def _logarithmic(random: np.random.Generator, form: Format, count: int) -> Ordinals:
    exponents = random.uniform(-form.precision, math.log2(MODERATE), count)
    return ordinal(_cast(np.exp2(exponents) * random.choice([-1.0, 1.0], count), form))


def _uniform(random: np.random.Generator, form: Format, count: int) -> Ordinals:
    return ordinal(_cast(random.uniform(-MODERATE, MODERATE, count), form))


def _open_unit(random: np.random.Generator, count: int) -> Doubles:
    return random.integers(0, 1 << 52, count).astype(np.float64) * 2.0**-52


def _truncated(values: Doubles, form: Format) -> Ordinals:
    """Ordinals of the values rounded towards zero, so that none leaves its binade."""
    rounded = _cast(values, form)
    places = ordinal(rounded)
    return places - np.where(np.abs(rounded.astype(np.float64)) > np.abs(values), np.sign(places), 0)
