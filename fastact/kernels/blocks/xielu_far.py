"""xielu and its gradients for arguments and parameters of any size: every number holds its power of two apart, sums
too, so that nothing overflows or fades before the result does."""

from __future__ import annotations

from fastact.kernels import operations as op
from fastact.kernels.blocks import rescue
from fastact.kernels.operations import Value

FADED = -200.0
"""The softplus of less may be too small for what it is multiplied with."""


def applies(x: Value, *parameters: Value) -> bool:
    """Whether numbers hold their power of two apart, and may be of any size."""
    return hasattr(x, "plain") and op.plain(x).context.arithmetic.decisive and not rescue.known(parameters[0])


def odd(x: Value, *parameters: Value) -> Value:
    """Where a number is far from 1, or the softplus of a parameter may be."""
    condition = x.far
    for parameter in parameters:
        condition = condition | parameter.far
    return condition


def faded(*alphas: Value) -> Value:
    first, *rest = (op.plain(alpha) < FADED for alpha in alphas)
    for condition in rest:
        first = first | condition
    return first


def _positive(alpha: Value) -> Value:
    """softplus(alpha)."""
    y = op.plain(alpha)
    tail = op.log1p_exp(-op.absolute(y))
    return op.where(y > 0.0, rescue.apart(op.plus_finite(y, op.plain(tail)), alpha), tail)


def _apart(value: Value, like: Value) -> Value:
    return rescue.apart(op.plain(value), like)


def less(x: Value) -> Value:
    """(expm1(x) - x)/x^2 for -1 <= x <= 0."""
    return x.context.blocks.short_polynomial(x, x.context.table("expm1_less"))


def value(x: Value, alpha_p: Value, alpha_n: Value, beta: Value, eps: Value) -> Value:
    """x (a x + beta) above 0; elsewhere, with b = beta + s, x (b x P(x) + beta) or b expm1(min(x, eps)) - s x."""
    y, limit, s = op.plain(x), op.plain(eps), _positive(alpha_n)
    b = s.plus(beta)
    inside = op.clip(y, -1.0, 0.0)
    near = x * (b * (x * less(inside))).plus(beta)
    far = (b * _apart(op.expm1(op.minimum(op.where(y <= limit, y, limit), 0.0)), x)).plus(-(s * x))
    # Above eps terms with the larger of s and beta come together.
    rise = (b * rising(x, eps)).plus(beta * x)
    far = op.where((y > limit) & (op.absolute(op.plain(beta)) < op.plain(s)), rise, far)
    below = op.where((y >= -1.0) & (y <= limit), near, far)
    return op.where(y > 0.0, x * (_positive(alpha_p) * x).plus(beta), below)


def slope(x: Value, alpha_p: Value, alpha_n: Value, beta: Value, eps: Value) -> Value:
    """2 a x + beta above 0; elsewhere b expm1(x) + beta or b exp(x) - s, and -s where x >= eps."""
    y, s = op.plain(x), _positive(alpha_n)
    b = s.plus(beta)
    near = (b * _apart(op.expm1(op.clip(y, -2.0, 0.0)), x)).plus(beta)
    below = op.where(y < -2.0, (b * op.exp(op.minimum(y, -2.0))).plus(-s), near)
    below = op.where(y < op.plain(eps), below, -s)
    return op.where(y > 0.0, (_positive(alpha_p) * x * 2.0).plus(beta), op.where(y.is_nan(), y, below))


def rising(x: Value, eps: Value) -> Value:
    """expm1(min(x, eps)) - x for x <= 0: x^2 P(x) next to 0, exp(x) - (x + 1) further out."""
    y, limit = op.plain(x), op.plain(eps)
    m = op.where(y <= limit, y, limit)
    further = rescue.apart(-1.0 - y, x).plus(op.exp(op.minimum(m, -1.0)))
    inside = op.clip(m, -1.0, 0.0)
    above = _apart(op.expm1(inside), x).plus(-x)
    near = op.where(y <= limit, x * x * less(inside), above)
    return op.where(m < -1.0, further, near)


def sigmoid(alpha: Value) -> Value:
    """The derivative of softplus, down to where two more numbers do not bring it back."""
    y, reach = op.plain(alpha), rescue.SQUARED * op.tail(alpha)
    half = op.exp(op.maximum(op.minimum(y, 0.0), reach) * 0.5)
    usual = 1.0 / op.one_plus(op.exp(-op.clip(y, FADED, -op.tail(alpha))))
    return op.where(y < FADED, half * half, usual)
