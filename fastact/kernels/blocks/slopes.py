"""Slopes that are made of parameters, and what is multiplied with them."""

from __future__ import annotations

from collections.abc import Callable

from fastact.kernels import operations as op
from fastact.kernels.blocks import rescue
from fastact.kernels.blocks.exactly import two_sum
from fastact.kernels.blocks.quotients import tying
from fastact.kernels.declare import Rejection
from fastact.kernels.operations import Value

INFINITY = float("inf")
BANDWIDTH = 0.001
"""Width of the kernel in the experiments of arXiv:2407.14435."""
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


def _nearer(x: Value, theta: Value, bandwidth: Value) -> Value:
    """Whether |x - theta| is less than half a bandwidth: what the rounding of the difference leaves decides where that
    is half a bandwidth itself."""
    width = op.word(bandwidth)
    difference, rest = two_sum(op.word(x), -op.word(theta))
    gap = op.absolute(difference) * 2.0
    return (gap < width) | gap.equals(width) & ((difference < 0.0) & (rest > 0.0) | (difference > 0.0) & (rest < 0.0))


def _product_of_quotient(
    slope: Value, body: Callable[..., Value], g: Value, x: Value, theta: Value, bandwidth: float
) -> Value:
    """g times a slope that is 0 or -theta/bandwidth; divided last where that might overflow or fade."""
    zero = slope.equals(0.0)
    if hasattr(g, "plain"):
        return op.where(zero | op.plain(x).is_nan(), slope, -(g * theta / bandwidth))
    value = op.where(zero, slope, g * slope)
    return rescue.rescued(value, lambda: rescue.beyond(slope) & ~zero, body, g, x, theta, bandwidth)


def theta_gradient(x: Value, theta: Value, bandwidth: Value | float = BANDWIDTH) -> Value:
    """-theta/bandwidth within half a bandwidth of theta, 0 elsewhere. That left out divides 1 without a rest."""
    usual, theta, bandwidth = isinstance(bandwidth, float), op.plain(theta), op.plain(bandwidth)
    quotient = theta * (1.0 / BANDWIDTH) if usual else theta / bandwidth
    gap = op.absolute(op.plain(x) - theta) * 2.0
    if usual:
        return op.where(gap < bandwidth, -quotient, op.where(gap >= bandwidth, 0.0, gap))
    return op.where(_nearer(x, theta, bandwidth), -quotient, op.where(gap >= bandwidth, 0.0, gap + bandwidth))


def theta_backward(g: Value, x: Value, theta: Value, bandwidth: float = BANDWIDTH) -> Value:
    inputs = (g, x, theta, bandwidth)
    return _product_of_quotient(theta_gradient(x, theta, bandwidth), theta_backward, *inputs)


def theta_backward_within(g: Value, x: Value, theta: Value, bandwidth: Value) -> Value:
    """g theta, which is exact where a tie is to be told, is divided, since a quotient of both others may fade."""
    slope, given = theta_gradient(x, theta, bandwidth), _nearer(x, theta, bandwidth) & ~theta.equals(0.0)
    product = g * theta
    decisive = op.plain(g).context.arithmetic.decisive and not hasattr(g, "plain")
    value = op.where(~given, slope, -(tying(product, bandwidth) if decisive else product / bandwidth))
    inputs = (g, x, theta, bandwidth)

    def lost() -> Value:
        return given & rescue.beyond(product) & ~g.equals(0.0)

    return rescue.rescued(value, lost, theta_backward_within, *inputs)
