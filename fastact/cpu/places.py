"""Where the elements of an array lie.

NumPy's attributes make up a whole description of the array before they tell its address, which takes a microsecond.
Its C interface has the address in the first field of every array object, after what all objects begin with.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

_FIELD = object.__basicsize__
_WORD = ctypes.sizeof(ctypes.c_size_t)
_words = (ctypes.c_size_t * (sys.maxsize // _WORD - _FIELD)).from_address(_FIELD)
"""All memory from there on, of which an element is sooner read than an object for it alone is made."""


def _by_field(a: np.ndarray[Any, Any]) -> int:
    return _words[id(a) // _WORD]  # type: ignore[no-any-return]


def _by_description(a: np.ndarray[Any, Any]) -> int:
    return a.__array_interface__["data"][0]  # type: ignore[no-any-return]


def _agree() -> bool:
    whole = np.empty((3, 5), np.float32)
    views = whole, whole[1:, ::2], whole[::-1], whole.T, whole[2, 3], whole[:0]
    return all(_by_field(a) == _by_description(a) for a in map(np.asarray, views))


def _all_by_field(arrays: Iterable[np.ndarray[Any, Any]]) -> list[int]:
    return [_words[id(a) // _WORD] for a in arrays]


def _all_by_description(arrays: Iterable[np.ndarray[Any, Any]]) -> list[int]:
    return [_by_description(a) for a in arrays]


_known = sys.implementation.name == "cpython" and sys.maxsize > 1 << 32 and _agree()
address = _by_field if _known else _by_description
"""The address of an array's first element."""
addresses = _all_by_field if _known else _all_by_description
"""Those of several arrays."""
