"""Placeholder."""

from __future__ import annotations

from typing import Any

import numpy as np

SMALLEST = 1 << 62


def call(ufunc: np.ufunc, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    return ufunc(*args, **options)
