"""xielu and its gradients for arguments and parameters of any size: every number holds its power of two apart, sums
too, so that nothing overflows or fades before the result does."""

from __future__ import annotations

from math import inf

from fastact.kernels import operations as op
from fastact.kernels.blocks import rescue
from fastact.kernels.operations import Value

FADED = -200.0
"""The softplus of less may be too small for what it is multiplied with."""


CANCELLED = 2.0**-3
"""What is left of terms where three words take over."""
VANISHED = -600.0
"""Exponentials of less are apart from what they are added to, or all that is left of it."""
FAR = 2.0**300
"""Numbers beyond it are far from 1."""


def applies(x: Value, *parameters: Value) -> bool:
    """Whether numbers hold their power of two apart, and may be of any size."""
    return hasattr(x, "plain") and op.plain(x).context.arithmetic.decisive and not rescue.known(parameters[0])


def odd(x: Value, *parameters: Value) -> Value:
    """Where a number is far from 1, or the softplus of a parameter may be."""
    condition = x.far
    for parameter in parameters:
        condition = condition | parameter.far
    return condition


def beyond(x: Value, alpha_p: Value, alpha_n: Value, beta: Value) -> Value:
    """Where x is far from 1, or parameters that count there are large, or so small that results may be."""
    y, b = op.plain(x), op.plain(beta)
    alpha = op.where(y > 0.0, op.plain(alpha_p), op.plain(alpha_n))
    small = beta.far & ((alpha < -60.0) | (op.absolute(y) < 2.0**-100))
    return x.far | ~((alpha > FADED) & (alpha < FAR)) | small | (op.absolute(b) > FAR)


def _positive(alpha: Value) -> Value:
    """softplus(alpha)."""
    y = op.plain(alpha)
    tail = op.log1p_exp(-op.absolute(y))
    return op.where(y > 0.0, rescue.apart(op.plus_finite(y, op.plain(tail)), alpha), tail)


def _sum(s: Value, alpha: Value, beta: Value) -> Value:
    """softplus(alpha) + beta, in three words where they cancel."""
    total, y, b = s.plus(beta), op.plain(alpha), op.plain(beta)
    most = op.absolute(b) * CANCELLED
    alone = (op.absolute(op.plain(total)) < most) & (y > FADED)
    total = op.where(alone, _line(alpha, op.word(b).lift(1.0), op.word(b), alpha), total)
    # Of large ones all that is left is the exponential.
    left = (y > 0.0) & b.equals(-y)
    return op.where(left, op.log1p_exp(-op.absolute(y)), total)


def _line(alpha: Value, x: Value, beta: Value, like: Value) -> Value:
    """softplus(alpha) x + beta in three words, for an x of any size and a beta that cancels the product."""
    from fastact.kernels.blocks import triple
    from fastact.kernels.blocks.softplus import in_triples

    size = op.absolute(x)
    down, up = size > FAR, size < 1.0 / FAR
    scale = op.where(down, 2.0**-600, op.where(up, 2.0**600, x.lift(1.0)))
    words = triple.total(triple.product(in_triples(op.word(alpha), True), (x * scale,)), (beta * scale,))
    back = op.where(down, 2.0**600, op.where(up, 2.0**-600, x.lift(1.0)))
    return _apart(op.plain(like).pair(*words[:2]), like) * _apart(op.plain(like).pair(back), like)


def _line_of(a: Value, x: Value, alpha: Value, beta: Value) -> Value:
    """softplus(alpha) x + beta, where a is the former."""
    product = a * x
    total, size = product.plus(beta), op.absolute(op.plain(beta))
    size = op.where(size < inf, size, 0.0) * CANCELLED
    alone = (op.absolute(op.plain(total)) < size) & (op.plain(alpha) > FADED)
    return op.where(alone, _line(alpha, op.word(x), op.word(beta), x), total)


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
    slope = (b * (x * less(inside))).plus(beta)
    near = x * op.where(y > -1.0 / FAR, _line_of(s, x * 0.5, alpha_n, beta), slope)
    e = op.expm1(op.minimum(op.where(y <= limit, y, limit), 0.0))
    far = op.where(y < -FAR, -_line_of(s, x, alpha_n, beta), (b * _apart(e, x)).plus(-(s * x)))
    # Above eps terms with the larger of s and beta come together.
    rise = (b * rising(x, eps)).plus(beta * x)
    far = op.where((y > limit) & (op.absolute(op.plain(beta)) < op.plain(s)), rise, far)
    below = op.where((y >= -1.0) & (y <= limit), near, far)
    a, word = _positive(alpha_p), op.word
    usual = op.where(y > 0.0, x * _line_of(a, x, alpha_p, beta), below)
    # Below eps e - x is positive, though it may have vanished.
    rise = op.where((y <= limit) & (y < 0.0), 1.0, e - op.maximum(y, -2.0))
    return _value_at_ends(usual, *map(word, (x, a, s, e, rise, alpha_n, beta)))


def slope(x: Value, alpha_p: Value, alpha_n: Value, beta: Value, eps: Value) -> Value:
    """2 a x + beta above 0; elsewhere b expm1(x) + beta or b exp(x) - s, and -s where x >= eps."""
    y, s = op.plain(x), _positive(alpha_n)
    b = _sum(s, alpha_n, beta)
    near = (b * _apart(op.expm1(op.clip(y, -2.0, 0.0)), x)).plus(beta)
    near = op.where(y > -1.0 / FAR, _line_of(s, x, alpha_n, beta), near)
    below = op.where(y < -2.0, (b * op.exp(op.minimum(y, -2.0))).plus(-s), near)
    a, word = _positive(alpha_p), op.word
    usual = op.where(y > 0.0, _line_of(a, x * 2.0, alpha_p, beta), op.where(y.is_nan(), y, below))
    usual = _slope_at_ends(usual, *map(word, (x, a, s, alpha_n, beta)))
    return op.where((y <= 0.0) & ~(y < op.plain(eps)), -s, usual)


def _infinity(number: Value) -> Value:
    """The number where it is infinite, 0 elsewhere: of sums of which a part is infinite."""
    return op.where(op.absolute(number) < inf, 0.0, number)


def infinite_value(x: Value, a: Value, s: Value, e: Value, rise: Value, beta: Value) -> Value:
    """What is infinite of the value, or 0: below 0 it is s times a rise, beta e added, with e = expm1(min(x, eps)). An
    infinite x decides."""
    part = op.where(rise.equals(0.0), 0.0, _infinity(s) * rise)
    below = part + op.where(e.equals(0.0), 0.0, _infinity(beta) * e)
    ends = op.where(x > 0.0, _infinity(a) + _infinity(beta), below)
    return op.where(op.absolute(x) < inf, ends, op.absolute(x))


def infinite_slope(x: Value, a: Value, s: Value, beta: Value) -> Value:
    """Likewise of the slope, below eps."""
    ends = op.where(x > 0.0, _infinity(a) + _infinity(beta), _infinity(beta) - _infinity(s))
    return op.where(x < inf, ends, x)


def standing_still(value: Value, x: Value, e: Value, beta: Value) -> Value:
    """The value, at 0 a zero of the sign that it has beside it, where no exponential moves it."""
    return op.where(x.equals(0.0) & e.equals(0.0), x * (x + op.clip(beta, -1.0, 1.0)), value)


def _value_at_ends(
    usual: Value, x: Value, a: Value, s: Value, e: Value, rise: Value, alpha: Value, beta: Value
) -> Value:
    """The value where x is infinite, as it is then whatever the parameters are; where these are; and where nothing but
    a sign is left of it."""
    ends = infinite_value(x, a, s, e, rise, beta)
    gone = (alpha < op.tail(x)) & beta.equals(0.0) & (x <= 0.0) & (x > -inf)
    value = op.where(gone, rise * 0.0, op.where(ends.equals(0.0), usual, ends))
    return standing_still(value, x, e, beta)


def _slope_at_ends(usual: Value, x: Value, a: Value, s: Value, alpha: Value, beta: Value) -> Value:
    """Likewise the slope: below 0 s expm1(x) + beta exp(x), of which the sign is that of beta exp(x - alpha) - 1 where
    it has vanished."""
    ends = infinite_slope(x, a, s, beta)
    value = op.where(ends.equals(0.0), usual, ends)
    t = op.where(x > -inf, (x - alpha) * 0.5, x)
    root = op.word(op.exp(op.doubled(op.clip(t, -700.0, 700.0))))
    sign = op.where(beta.equals(0.0), -1.0, beta * root * root - 1.0)
    gone = (alpha < op.tail(x)) & ((x < op.tail(x)) | beta.equals(0.0)) & (x <= 0.0) & ends.equals(0.0)
    return op.where(gone, x.lift(0.0).copysign(sign), value)


def rising(x: Value, eps: Value) -> Value:
    """expm1(min(x, eps)) - x for x <= 0: x^2 P(x) next to 0, exp(x) - (x + 1) further out."""
    from fastact.kernels.blocks import xielu_long

    y, limit = op.plain(x), op.plain(eps)
    m = op.where(y <= limit, y, limit)
    further = rescue.apart(-1.0 - y, x).plus(op.exp(op.minimum(m, -1.0)))
    inside = op.clip(m, -1.0, 0.0)
    above = _apart(op.expm1(inside), x).plus(-x)
    near = op.where(y <= limit, x * x * less(inside), above)
    rise, size = op.where(m < -1.0, further, near), op.absolute(y)
    alone = (op.absolute(op.plain(rise)) < size * CANCELLED) & (y > limit) & (size > 1.0 / FAR) & (limit > VANISHED)
    return op.where(alone, _apart(xielu_long.rise_above_eps(y, limit), x), rise)


def sigmoid(alpha: Value) -> Value:
    """The derivative of softplus, down to where two more numbers do not bring it back."""
    y, reach = op.plain(alpha), rescue.SQUARED * op.tail(alpha)
    half = op.exp(op.maximum(op.minimum(y, 0.0), reach) * 0.5)
    usual = 1.0 / op.one_plus(op.exp(-op.clip(y, FADED, -op.tail(alpha))))
    return op.where(y < FADED, half * half, usual)
