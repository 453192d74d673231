"""xielu and its gradients for arguments and parameters of any size: every number holds its power of two apart, sums
too, so that nothing overflows or fades before the result does."""

from __future__ import annotations

from math import inf

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


def _sum(s: Value, alpha: Value, beta: Value) -> Value:
    """softplus(alpha) + beta; where beta is -alpha, what is left."""
    y = op.plain(alpha)
    return op.where((y > 0.0) & op.plain(beta).equals(-y), op.log1p_exp(-op.absolute(y)), s.plus(beta))


def _apart(value: Value, like: Value) -> Value:
    return rescue.apart(op.plain(value), like)


def less(x: Value) -> Value:
    """(expm1(x) - x)/x^2 for -1 <= x <= 0."""
    return x.context.blocks.short_polynomial(x, x.context.table("expm1_less"))


def value(x: Value, alpha_p: Value, alpha_n: Value, beta: Value, eps: Value) -> Value:
    """x (a x + beta) above 0; elsewhere, with b = beta + s, x (b x P(x) + beta) or b expm1(min(x, eps)) - s x."""
    y, limit, s = op.plain(x), op.plain(eps), _positive(alpha_n)
    b = _sum(s, alpha_n, beta)
    inside = op.clip(y, -1.0, 0.0)
    near = x * (b * (x * less(inside))).plus(beta)
    e = op.expm1(op.minimum(op.where(y <= limit, y, limit), 0.0))
    far = (b * _apart(e, x)).plus(-(s * x))
    # Above eps terms with the larger of s and beta come together.
    rise = (b * rising(x, eps)).plus(beta * x)
    far = op.where((y > limit) & (op.absolute(op.plain(beta)) < op.plain(s)), rise, far)
    below = op.where((y >= -1.0) & (y <= limit), near, far)
    a, word = _positive(alpha_p), op.word
    usual = op.where(y > 0.0, x * (a * x).plus(beta), below)
    # Below eps e - x is positive, though it may have vanished.
    rise = op.where((y <= limit) & (y < 0.0), 1.0, e - op.maximum(y, -2.0))
    return _value_at_ends(usual, *map(word, (x, a, s, e, rise, alpha_n, beta)))


def slope(x: Value, alpha_p: Value, alpha_n: Value, beta: Value, eps: Value) -> Value:
    """2 a x + beta above 0; elsewhere b expm1(x) + beta or b exp(x) - s, and -s where x >= eps."""
    y, s = op.plain(x), _positive(alpha_n)
    b = _sum(s, alpha_n, beta)
    near = (b * _apart(op.expm1(op.clip(y, -2.0, 0.0)), x)).plus(beta)
    below = op.where(y < -2.0, (b * op.exp(op.minimum(y, -2.0))).plus(-s), near)
    a, word = _positive(alpha_p), op.word
    usual = op.where(y > 0.0, (a * x * 2.0).plus(beta), op.where(y.is_nan(), y, below))
    usual = _slope_at_ends(usual, *map(word, (x, a, s, alpha_n, beta)))
    return op.where((y <= 0.0) & ~(y < op.plain(eps)), -s, usual)


def _infinity(number: Value) -> Value:
    """The number where it is infinite, 0 elsewhere: of sums of which a part is infinite."""
    return op.where(op.absolute(number) < inf, 0.0, number)


def _value_at_ends(
    usual: Value, x: Value, a: Value, s: Value, e: Value, rise: Value, alpha: Value, beta: Value
) -> Value:
    """The value where x is infinite, as it is then whatever the parameters are; where these are; and where nothing but
    a sign is left of it. Below 0 it is s times a rise, beta e added, with e = expm1(min(x, eps))."""
    part = op.where(rise.equals(0.0), 0.0, _infinity(s) * rise)
    below = part + op.where(e.equals(0.0), 0.0, _infinity(beta) * e)
    ends = op.where(x > 0.0, _infinity(a) + _infinity(beta), below)
    ends = op.where(op.absolute(x) < inf, ends, op.absolute(x))
    gone = (alpha < op.tail(x)) & beta.equals(0.0) & (x <= 0.0) & (x > -inf)
    value = op.where(gone, rise * 0.0, op.where(ends.equals(0.0), usual, ends))
    return op.where(x.equals(0.0) & e.equals(0.0), x * (x + op.clip(beta, -1.0, 1.0)), value)


def _slope_at_ends(usual: Value, x: Value, a: Value, s: Value, alpha: Value, beta: Value) -> Value:
    """Likewise the slope: below 0 s expm1(x) + beta exp(x), of which the sign is that of beta exp(x - alpha) - 1 where
    it has vanished."""
    ends = op.where(x > 0.0, _infinity(a) + _infinity(beta), _infinity(beta) - _infinity(s))
    ends = op.where(x < inf, ends, x)
    value = op.where(ends.equals(0.0), usual, ends)
    t = op.where(x > -inf, (x - alpha) * 0.5, x)
    root = op.word(op.exp(op.doubled(op.clip(t, -700.0, 700.0))))
    sign = op.where(beta.equals(0.0), -1.0, beta * root * root - 1.0)
    gone = (alpha < op.tail(x)) & ((x < op.tail(x)) | beta.equals(0.0)) & (x <= 0.0) & ends.equals(0.0)
    return op.where(gone, x.lift(0.0).copysign(sign), value)


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
