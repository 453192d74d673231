"""Units in the last place, neighbouring floats and bit patterns of the four binary formats, vectorised in NumPy.

A format of precision p holds m 2^(e-p) with an integer |m| < 2^p; its ulp at a value of binade [2^(e-1), 2^e) is
2^(e-p), and never less than the smallest subnormal number. All of the functions take float16, bfloat16 (ml_dtypes),
float32 and float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[Any]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Format:
    """A binary floating-point format.

    Attributes:
        name: the dtype's name.
        width: bits of storage.
        precision: bits of the significand, the hidden one included.
        smallest_exponent: the smallest subnormal number is 2^smallest_exponent.
        largest_exponent: finite numbers are below 2^largest_exponent.
    """

    name: str
    width: int
    precision: int
    smallest_exponent: int
    largest_exponent: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype; bfloat16 needs ml_dtypes."""
        return _dtype(self.name)

    @property
    def bits(self) -> np.dtype[Any]:
        """The unsigned integer dtype of the same width."""
        return np.dtype(f"u{self.width // 8}")

    @property
    def infinity_bits(self) -> int:
        """Bit pattern of +inf."""
        exponent_bits = self.width - self.precision
        return ((1 << exponent_bits) - 1) << (self.precision - 1)

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return float(np.ldexp(2.0 - 2.0 ** (1 - self.precision), self.largest_exponent - 1))

    @property
    def smallest_normal(self) -> float:
        """The smallest normal number."""
        return float(np.ldexp(1.0, self.smallest_exponent + self.precision - 1))

    @property
    def smallest(self) -> float:
        """The smallest subnormal number."""
        return float(np.ldexp(1.0, self.smallest_exponent))


FORMATS = {
    "float16": Format("float16", 16, 11, -24, 16),
    "bfloat16": Format("bfloat16", 16, 8, -133, 128),
    "float32": Format("float32", 32, 24, -149, 128),
    "float64": Format("float64", 64, 53, -1074, 1024),
}


@cache
def _dtype(name: str) -> np.dtype[Any]:
    if name == "bfloat16":
        try:
            import ml_dtypes
        except ImportError as error:
            raise ImportError("bfloat16 needs ml_dtypes: pip install ml_dtypes") from error
        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def format_of(dtype: Any) -> Format:
    """The format of a dtype given as such, as a scalar type or by name.

    Raises:
        ValueError: it is none of float16, bfloat16, float32, float64.
    """
    if isinstance(dtype, Format):
        return dtype
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    if name not in FORMATS:
        raise ValueError(f"no accuracy for dtype {name}; allowed: {', '.join(FORMATS)}")
    return FORMATS[name]


def as_doubles(values: ArrayLike) -> Doubles:
    """The values in float64, without the warning that signalling NaNs would raise."""
    with np.errstate(invalid="ignore"):
        return np.asarray(values).astype(np.float64)


def to_bits(values: Floats) -> NDArray[Any]:
    """Bit patterns of floats, as unsigned integers of the same width."""
    values = np.asarray(values)
    return np.ascontiguousarray(values).view(format_of(values.dtype).bits).reshape(values.shape)


def from_bits(bits: ArrayLike, dtype: Any) -> Floats:
    """Floats of the given bit patterns."""
    form = format_of(dtype)
    patterns = np.ascontiguousarray(np.asarray(bits).astype(form.bits))
    return patterns.view(form.dtype).reshape(np.shape(bits))


def ordinal(values: Floats) -> NDArray[np.int64]:
    """Monotone integers: consecutive floats have consecutive ordinals, both zeros have 0, -x has that of x negated.

    NaNs lie beyond the infinities and mean nothing.
    """
    values = np.asarray(values)
    form = format_of(values.dtype)
    magnitude = (to_bits(values) & form.bits.type((1 << (form.width - 1)) - 1)).astype(np.int64)
    return np.where(np.signbit(values), -magnitude, magnitude)


def from_ordinal(ordinals: ArrayLike, dtype: Any) -> Floats:
    """Floats of the given ordinals; those beyond an infinity give that infinity, 0 gives +0."""
    form = format_of(dtype)
    limited = np.clip(np.asarray(ordinals, dtype=np.int64), -form.infinity_bits, form.infinity_bits)
    sign = np.uint64(1 << (form.width - 1))
    bits = np.abs(limited).astype(np.uint64)
    return from_bits(np.where(limited < 0, bits | sign, bits), form)


def neighbour(values: Floats, steps: ArrayLike = 1) -> Floats:
    """The floats ``steps`` places above (below if negative); stops at the infinities, and NaN stays NaN."""
    values = np.asarray(values)
    moved = from_ordinal(ordinal(values) + np.asarray(steps, dtype=np.int64), values.dtype)
    return np.where(np.isnan(values), values, moved)


def ulp(values: ArrayLike, dtype: Any) -> Doubles:
    """Unit in the last place of ``dtype`` in the binade of each value, in float64.

    Below the smallest normal number, and at 0, it is the smallest subnormal number; above the largest finite number
    it is the ulp of the last binade, at the infinities too. NaN gives NaN.
    """
    form = format_of(dtype)
    magnitude = np.abs(as_doubles(values))
    finite = np.where(np.isfinite(magnitude), magnitude, np.where(np.isnan(magnitude), 0.0, form.largest))
    exponent = np.where(finite > 0, np.frexp(finite)[1], form.smallest_exponent)
    exponent = np.clip(exponent, None, form.largest_exponent) - form.precision
    units = np.ldexp(1.0, np.maximum(exponent, form.smallest_exponent))
    return np.where(np.isnan(magnitude), np.nan, units)


def nearest(values: ArrayLike, dtype: Any) -> Doubles:
    """Float64 values rounded to nearest even in ``dtype``, subnormals and overflow included; the result is float64.

    One rounding only: ml_dtypes' own cast from float64 to bfloat16 goes through float32 and rounds twice.
    """
    form = format_of(dtype)
    numbers = as_doubles(values)
    if form.name == "float64":
        return numbers
    if form.name == "float32":
        with np.errstate(all="ignore"):
            return numbers.astype(np.float32).astype(np.float64)
    finite = np.where(np.isfinite(numbers), numbers, 0.0)
    unit = ulp(finite, form)
    with np.errstate(over="ignore", under="ignore"):
        whole = np.rint(finite / unit) * unit
    whole = np.where(np.abs(whole) > form.largest, np.copysign(np.inf, whole), whole)
    return np.where(np.isfinite(numbers), whole, numbers)


def is_midpoint(values: Doubles, dtype: Any) -> NDArray[np.bool_]:
    """Whether a float64 lies exactly halfway between two neighbours in ``dtype``, a rounding boundary."""
    form = format_of(dtype)
    if form.name == "float64":
        return np.zeros(np.shape(values), dtype=np.bool_)
    with np.errstate(all="ignore"):
        below, above = nearest(np.nextafter(values, -np.inf), form), nearest(np.nextafter(values, np.inf), form)
        beyond = np.ldexp(1.0, form.largest_exponent)
        centre = (np.clip(below, -beyond, beyond) + np.clip(above, -beyond, beyond)) / 2
        return np.isfinite(values) & (below != above) & (centre == values)
