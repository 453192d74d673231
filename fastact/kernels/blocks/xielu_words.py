"""xielu and its slope below 0 where numbers are single words, no wider than results.

Both are b exp(x) minus a line, with b = beta + s and s = softplus(alpha_n) in two words, so that nothing cancels but
what is known to the last place of the exponential. Where even that is too much, the next wider arithmetic takes over.
"""

from __future__ import annotations

from collections.abc import Callable

from fastact.kernels import operations as op
from fastact.kernels.blocks.rescue import known, narrow
from fastact.kernels.blocks.roots import exp_closely
from fastact.kernels.operations import Value

Body = Callable[..., Value]

CANCELLED, FEW = 2.0**-9, 2.0**-3
"""What is left of terms in double-double arithmetic where three words take over: of terms known to 2^-71, and of those
that have the usual 2^-66."""
LARGE = 2.0**100
"""Beyond it cancelling terms are not looked into."""
PART, IN_PARTS = 0.55, 2.0**-4
"""What is left of terms in single words where the next wider arithmetic takes over; of exponentials in two words."""
STILL = 0.75, 1.5
"""Of an exponential that stands still, and the same where any parameters may be met."""
UNKNOWN = {"f32": 2.0**-20, "f64": 2.0**-44}
"""The part of beta + s where that is so whatever the exponential is."""
LITTLE = 2.0**-20
"""What is left of terms, one of them known in two words, where correct rounding to few digits asks for more."""
BARELY = {"f32": -40.0, "f64": -80.0}
"""Where exponentials are nothing to that."""
FAINT = {"f32": -85.0, "f64": -700.0}
"""Where they are about to become subnormal."""


def applies(x: Value) -> bool:
    """Whether numbers are single words, no wider than results, and have their last digits."""
    return narrow(x) and not op.plain(x).context.arithmetic.careless


def below(wider: Body, positive: Body, y: Value, alpha_n: Value, beta: Value, eps: Value) -> Value:
    """b exp(x) - (s x + b) for x <= 0, next to 0 x (beta + b x P(x)); ``wider`` is the same for other arithmetics and
    ``positive`` the softplus."""
    context, word = y.context, y.context.arithmetic.word
    s = context.wider_pair(positive, alpha_n)
    b = s + beta
    context.note(y, at_most=0.0)
    e, more = op.exp_in_parts(op.maximum(y, BARELY[word]))
    product = s.hi * y
    line = product + b.hi
    if context.arithmetic.short:  # there product and sum are one operation, and rounded once
        rest = op.fma(s.low, y, b.low)
    else:  # next to the root s x and b are so close that their sum is exact
        rest = (product - (line - b.hi)) + op.fma(s.low, y, op.fma(s.hi, y, -product)) + b.low
    rest = op.fma(b.low, e, -rest)
    far = op.fma(b.hi, e, -line) + (rest if more is None else op.fma(b.hi, more, rest))
    inside = op.maximum(y, -1.0)
    less = context.blocks.short_polynomial(inside, context.table("expm1_less"))
    curve = inside * less
    near = y * (total := op.fma(b.hi, curve, beta))
    if not known(beta):
        rest = op.fma(b.hi, op.fma(inside, less, -curve), b.low * curve)
        near = op.fma(y, total, op.where(near.equals(0.0), near, y * rest))  # a zero keeps its sign
    # Above eps the exponential stands still.
    still = b.hi * op.expm1(op.minimum(eps, 0.0))
    value = op.where(y > eps, op.fma(-s.hi, y, still), op.where(y >= -1.0, near, far))
    size = op.absolute(b.hi)
    part = size * (PART if more is None else IN_PARTS)
    little = op.where(y >= -1.0, op.absolute(curve * y) * (size * PART), op.fma(e, part, part * UNKNOWN[word]))
    stays = op.absolute(still) * STILL[not known(beta)]
    if not known(beta):  # and of x = 0 it is all there is
        stays = op.where(y.equals(0.0), 0.0, stays)
    little = op.where(y > eps, stays, little)
    cancels = ~(op.absolute(value) >= little) | (y < -LARGE)  # or terms are infinite
    if not known(beta):
        cancels = cancels | size.equals(0.0)  # of what is 0 here the sign remains
    return op.unless(value, cancels, context.wider(wider, y, alpha_n, beta, eps))


def slope_below(wider: Body, positive: Body, y: Value, alpha_n: Value, beta: Value, eps: Value) -> Value:
    """b exp(x) - s for x < eps, -s above, likewise."""
    context, faint = y.context, FAINT[y.context.arithmetic.word]
    s = context.wider_pair(positive, alpha_n)
    b = s + beta
    e, more = op.exp_in_parts(op.clip(y, faint, 0.0))
    rest = op.fma(b.low, e, -s.low)
    value = op.fma(b.hi, e, -s.hi) + (rest if more is None else op.fma(b.hi, more, rest))
    size = op.absolute(b.hi)
    cancels = ~(op.absolute(value) >= e * (size * (PART if more is None else IN_PARTS)))
    cancels = cancels | (y < faint) & (size > s.hi * 2.0**60)
    if not known(beta):
        cancels = cancels | size.equals(0.0)
    value = op.unless(value, cancels, context.wider(wider, y, alpha_n, beta, eps))
    return op.where(y < eps, value, op.where(y.is_nan(), y, -s.hi))


def line_above(positive: Body, y: Value, alpha_p: Value, beta: Value) -> Value:
    """s y + beta with s = softplus(alpha_p), of which beta may cancel most."""
    s = y.context.wider_pair(positive, alpha_p)
    return op.fma(y, s.low, op.fma(y, s.hi, beta))


def _sigmoid(alpha: Value) -> tuple[Value, Value]:
    """The derivative of softplus, e/(1 + e) or 1/(1 + e) with e = exp(-|alpha|), and what its roundings left."""
    e = op.plain(exp_closely(-op.absolute(alpha)))
    d, n = e + 1.0, op.where(alpha < 0.0, e, 1.0)
    inverse = 1.0 / d
    q = n * inverse
    return q, op.fma(-q, e - (d - 1.0), op.fma(-q, d, n)) * inverse


def square_times_sigmoid(g: Value, x: Value, alpha: Value) -> Value:
    """g x^2 s(alpha), multiplied in turns."""
    (q, rest), product = _sigmoid(alpha), g * x
    left = op.where(product.equals(0.0), product, product * rest)
    return op.fma(product * q, x, left * x)


def times_sigmoid(g: Value, rise: Value, alpha: Value) -> tuple[Value, Value]:
    """g times a number times s(alpha), and that without g."""
    (q, rest), product = _sigmoid(alpha), g * rise
    left = op.fma(product, rest, op.fma(g, rise, -product) * q)
    return op.where(product.equals(0.0), product, op.fma(product, q, left)), rise * q
