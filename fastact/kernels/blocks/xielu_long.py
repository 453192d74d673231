"""xielu, its slope and what its rise is above eps, in three words: for next to the roots."""

from __future__ import annotations

from fastact.kernels import operations as op
from fastact.kernels.blocks import triple
from fastact.kernels.blocks.rescue import known
from fastact.kernels.blocks.softplus import in_triples
from fastact.kernels.operations import Value


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
    lower = triple.product(triple.total(s, (b,)), _rise(low, op.where(low > m, m, low), eps))
    lower = triple.total(lower, triple.product((b,), (low,)))
    upper = triple.product(upper, (y,))
    return _pair_of(tuple(u.choose(above, v) for u, v in zip(upper, lower, strict=True)), like)


def slope(x: Value, alpha_p: Value, alpha_n: Value, beta: Value) -> Value:
    """For x <= eps, and for x > 0."""
    like, above = op.plain(x), op.plain(x) > 0.0
    y, p, n, b = map(op.word, (x, alpha_p, alpha_n, beta))
    s = in_triples(p.choose(above, n), not (known(p) and known(n)))
    upper = triple.product(s, (y * 2.0,))
    low = op.where(y > 0.0, -1.0, op.where(y < -triple.REACH, -triple.REACH, y))
    lower = triple.product(triple.total(s, (b,)), triple.total(triple.expm1_less((low,)), (low,)))
    both = tuple(u.choose(above, v) for u, v in zip(upper, lower, strict=True))
    return _pair_of(triple.total(both, (b,)), like)


def rise_above_eps(x: Value, eps: Value) -> Value:
    y = op.word(x)
    return _pair_of(_rise(op.where(y > 0.0, -1.0, y), op.word(eps), eps), op.plain(x))
