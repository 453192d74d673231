"""Help for the tests of compiled code."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastact.accuracy.samples import special, stratified

DTYPES = (np.float32, np.float64)
BITS = {np.dtype(np.float32): np.uint32, np.dtype(np.float64): np.uint64}


def inputs(dtype: Any, count: int = 3000) -> Any:
    return np.concatenate([special(dtype), stratified(dtype, count, seed=7)])


def same(a: Any, b: Any) -> bool:
    """Equal bits; one NaN is as good as another, since LLVM says nothing of their payloads."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.dtype == b.dtype and a.shape == b.shape, (a.dtype, b.dtype, a.shape, b.shape)
    a, b = np.atleast_1d(a), np.atleast_1d(b)
    kind = BITS[a.dtype]
    return bool(((a.view(kind) == b.view(kind)) | (np.isnan(a) & np.isnan(b))).all())


def bits_of(a: Any) -> Any:
    return np.ascontiguousarray(a).view(f"u{a.dtype.itemsize}")
