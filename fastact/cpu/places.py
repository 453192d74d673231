"""Where the elements of an array lie.

NumPy's attributes make up a whole description of the array before they tell its address, which takes a microsecond.
Its C interface has the address in the first field of every array object, after what all objects begin with.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import numpy as np

_FIELD = object.__basicsize__
_word = ctypes.c_size_t.from_address


def _by_field(a: np.ndarray[Any, Any]) -> int:
    return _word(id(a) + _FIELD).value


def _by_description(a: np.ndarray[Any, Any]) -> int:
    return a.__array_interface__["data"][0]  # type: ignore[no-any-return]


def _agree() -> bool:
    whole = np.empty((3, 5), np.float32)
    views = whole, whole[1:, ::2], whole[::-1], whole.T, whole[2, 3], whole[:0]
    return all(_by_field(a) == _by_description(a) for a in map(np.asarray, views))


address = _by_field if sys.implementation.name == "cpython" and _agree() else _by_description
"""The address of an array's first element."""
