"""All blocks on one word per number, by the names that operations ask for."""

from __future__ import annotations

from fastact.kernels.blocks.error_single import erf, erfc, erfcx, exp_times, gelu, minus_square, vanishing
from fastact.kernels.blocks.intervals import tanh
from fastact.kernels.blocks.log_single import log, log1p, log1p_exp, log2, log_odds
from fastact.kernels.blocks.over import exp_over, exponents_from
from fastact.kernels.blocks.sine_single import plus_sin_squared, sin, sin_and_cos, sin_but_sign, sin_squared
from fastact.kernels.blocks.single import (
    copysign,
    exp,
    exp2,
    exp_in_parts,
    expm1,
    one_plus_exp,
    reciprocal,
    rsqrt,
)
from fastact.kernels.blocks.single import polynomial as falling_polynomial
from fastact.kernels.blocks.single import polynomial as short_polynomial

__all__ = [
    "copysign",
    "erf",
    "erfc",
    "erfcx",
    "exp",
    "exp2",
    "exp_in_parts",
    "exp_over",
    "exp_times",
    "expm1",
    "exponents_from",
    "falling_polynomial",
    "gelu",
    "log",
    "log1p",
    "log1p_exp",
    "log2",
    "log_odds",
    "minus_square",
    "one_plus_exp",
    "plus_sin_squared",
    "reciprocal",
    "rsqrt",
    "short_polynomial",
    "sin",
    "sin_and_cos",
    "sin_but_sign",
    "sin_squared",
    "tanh",
    "vanishing",
]  # fmt: skip
