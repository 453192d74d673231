"""Slopes that are made of parameters, and what is multiplied with them."""

from __future__ import annotations

from collections.abc import Callable

from fastact.kernels import operations as op
from fastact.kernels.blocks import rescue
from fastact.kernels.declare import Rejection
from fastact.kernels.operations import Value

INFINITY = float("inf")
NO_INTERVAL = (
    Rejection("lower is greater than upper", lambda lower, upper: lower > upper),
    Rejection("lower is infinite", lambda lower, upper: (lower == INFINITY) | (lower == -INFINITY)),
    Rejection("upper is infinite", lambda lower, upper: (upper == INFINITY) | (upper == -INFINITY)),
)
"""What two slopes are between which none can be drawn; NaN among them is passed on."""


def mean(lower: Value, upper: Value) -> Value:
    """Halved first where the sum might overflow, else last, so that nothing is lost."""
    a, b = op.plain(lower), op.plain(upper)
    if rescue.known(lower):
        return a * 0.5 + b * 0.5
    large = (op.absolute(a) > 1.0) | (op.absolute(b) > 1.0)
    return op.where(large, a * 0.5 + b * 0.5, (a + b) * 0.5)


def by_mean(x: Value, lower: Value, upper: Value) -> Value:
    """x times the mean of two slopes."""
    slope = mean(lower, upper)
    if rescue.known(lower):
        return x * slope
    if hasattr(x, "plain"):  # whose power of two is held apart, so that halving loses nothing
        a, b = op.plain(lower), op.plain(upper)
        large = (op.absolute(a) > 1.0) | (op.absolute(b) > 1.0)
        return x * rescue.apart(op.where(large, slope, a + b), x) * op.where(large, 1.0, 0.5)
    value = x * slope
    return rescue.rescued(value, lambda: rescue.faint(op.plain(lower) + op.plain(upper)), by_mean, x, lower, upper)


def product_of_quotient(
    slope: Value, body: Callable[..., Value], g: Value, x: Value, theta: Value, bandwidth: Value
) -> Value:
    """g times a slope that is 0 or -theta/bandwidth; divided last where that might overflow or fade."""
    zero = slope.equals(0.0)
    if hasattr(g, "plain"):
        width = bandwidth if isinstance(bandwidth, float) else op.plain(bandwidth)
        return op.where(zero | op.plain(x).is_nan(), slope, -(g * theta / width))
    value = op.where(zero, slope, g * slope)
    return rescue.rescued(value, lambda: rescue.beyond(slope) & ~zero, body, g, x, theta, bandwidth)
