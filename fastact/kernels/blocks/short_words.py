"""Blocks on float32 for results of 16 bits, by the names that operations ask for: those on one word but for some."""

from __future__ import annotations

from typing import Any

from fastact.kernels.blocks import words
from fastact.kernels.blocks.short import exp, exp2, gelu, one_plus_exp, over_one_plus_exp, rsqrt

__all__ = ["exp", "exp2", "gelu", "one_plus_exp", "over_one_plus_exp", "rsqrt"]


def __getattr__(name: str) -> Any:
    return getattr(words, name)
