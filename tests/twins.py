"""Calls of a function next to the same calls of a NumPy ufunc."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import fastact


class Outcome:
    """What a call did, without the digits: its result or its error, its warnings, the array it wrote to."""

    def __init__(self, call: Callable[[Any], Any], function: Any) -> None:
        self.error: type[BaseException] | None = None
        self.value: Any = None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                self.value = call(function)
            except Exception as error:
                self.error = type(error)
        self.warnings = [(w.category, str(w.message).split(" encountered")[0]) for w in caught]


def alike(call: Callable[[Any], Any], function: Any = fastact.exp, twin: Any = np.exp) -> Any:
    """Check that a call of the function does what the same call of the twin does; returns the function's result."""
    mine, theirs = Outcome(call, function), Outcome(call, twin)
    assert mine.error is theirs.error
    assert mine.warnings == theirs.warnings
    assert type(mine.value) is type(theirs.value)
    for a, b in zip(_arrays(mine.value), _arrays(theirs.value), strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.strides == b.strides
        assert a.flags.f_contiguous == b.flags.f_contiguous
        if function is fastact.exp:
            np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=2e-3)
    return mine.value


def _arrays(value: Any) -> list[Any]:
    return [v for v in (value if isinstance(value, tuple) else (value,)) if isinstance(v, (np.ndarray, np.generic))]


def material(dtype: Any, count: int = 50) -> np.ndarray:
    return np.linspace(-3, 3, count).astype(dtype)
