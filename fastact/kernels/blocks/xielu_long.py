"""xielu, its slope and what its rise is above eps, in three words: for next to the roots."""

from __future__ import annotations

from fastact.kernels import operations as op
from fastact.kernels.blocks import triple
from fastact.kernels.blocks.rescue import known
from fastact.kernels.blocks.softplus import in_triples
from fastact.kernels.blocks.xielu_words import CANCELLED, FEW
from fastact.kernels.operations import Value


def reach(x: Value, eps: Value) -> Value:
    """The size of x, or where the exponential stands still, of what it is there."""
    size = op.absolute(x)
    stands = op.minimum(op.absolute(eps), 1.0)
    return op.where((x <= 0.0) & (x > eps) & (stands > size), stands, size)


def few(x: Value, positive: Value, beta: Value, eps: Value) -> Value:
    """Values below which three words are asked: above 0 a part of beta x, next to 0 of (beta + s) x, further out of
    s x."""
    y, m, s, b = op.word(x), op.word(eps), op.word(positive), op.absolute(op.word(beta))
    near = (y >= -1.0) & (y <= m)
    return reach(y, m) * op.where(y > 0.0, b * FEW, op.where(near, (s + b) * FEW, s * CANCELLED))


def _pair_of(words: triple.Words, like: Value) -> Value:
    return like.pair(*words[:2])


def _rise(x: Value, m: Value, eps: Value) -> triple.Words:
    """expm1(m) - x for m = min(x, eps)."""
    inside = op.where(m < -triple.REACH, -triple.REACH, m)
    rise = triple.total(triple.expm1_less((inside,)), triple.total((inside,), (-x,)))
    if known(eps):
        return rise
    # Of x = -1 the exponential remains, however small it is.
    e = op.plain(op.exp(x.context.doubled(op.minimum(m, -triple.REACH))))
    far = triple.total(triple.total((x.lift(-1.0),), (-x,)), (e.hi, e.low))
    return tuple(a.choose(m < -triple.REACH, b) for a, b in zip(far, rise, strict=True))


def value(x: Value, alpha_p: Value, alpha_n: Value, beta: Value, eps: Value) -> Value:
    like, above = op.plain(x), op.plain(x) > 0.0
    y, p, n, b, m = map(op.word, (x, alpha_p, alpha_n, beta, eps))
    s = in_triples(p.choose(above, n), not (known(p) and known(n)))
    upper = triple.total(triple.product(s, (y,)), (b,))
    low = op.where(y > 0.0, -1.0, y)
    m = op.where(low > m, m, low)
    total = triple.total(s, (b,))
    lower = triple.product(total, _rise(low, m, eps))
    lower = triple.total(lower, triple.product((b,), (low,)))
    if not known(beta):  # next to a large beta little is left of that
        line = triple.total(triple.product(total, _expm1(m)), triple.minus(triple.product(s, (low,))))
        lower = tuple(v.choose(abs(b) > s[0], u) for v, u in zip(line, lower, strict=True))
    upper = triple.product(upper, (y,))
    return _pair_of(tuple(u.choose(above, v) for u, v in zip(upper, lower, strict=True)), like)


def slope(x: Value, alpha_p: Value, alpha_n: Value, beta: Value) -> Value:
    """For x <= eps, and for x > 0."""
    like, above = op.plain(x), op.plain(x) > 0.0
    y, p, n, b = map(op.word, (x, alpha_p, alpha_n, beta))
    s = in_triples(p.choose(above, n), not (known(p) and known(n)))
    upper = triple.product(s, (y * 2.0,))
    low = op.where(y > 0.0, -1.0, y)
    total = triple.total(s, (b,))
    lower = triple.product(total, _expm1(low))
    both = triple.total(tuple(u.choose(above, v) for u, v in zip(upper, lower, strict=True)), (b,))
    if not known(beta):  # next to a large beta little is left of that
        far = triple.total(triple.product(total, triple.exp_further(low)), triple.minus(s))
        both = tuple(f.choose(low < -2.0, u) for f, u in zip(far, both, strict=True))
    return _pair_of(both, like)


def _expm1(x: Value) -> triple.Words:
    """expm1(x) for x <= 0."""
    inside = op.where(x < -triple.REACH, -triple.REACH, x)
    return triple.total(triple.expm1_less((inside,)), (inside,))


def rise_above_eps(x: Value, eps: Value) -> Value:
    y = op.word(x)
    return _pair_of(_rise(op.where(y > 0.0, -1.0, y), op.word(eps), eps), op.plain(x))
