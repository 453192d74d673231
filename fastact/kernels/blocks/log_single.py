"""Logarithms on one machine word per number.

Of the range and the precision of the word: with x = 2^k m, log m comes from a table of 16 numbers c near 1/m, as
-log c + log(1 + r) with r = m c - 1. The interval around 1 has c = 1, so that nothing cancels next to the root; the
other c are chosen such that their logarithms are all but floats. Where results are narrower than the word no table is
wanted: there, m being between sqrt(1/2) and sqrt 2, log m is a polynomial of m - 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from math import inf, nan, sqrt

from fastact.kernels import operations
from fastact.kernels.blocks.single import (
    _reduce_exp,
    careless,
    exp,
    exp_steps,
    lacking,
    limited,
    pattern,
    polynomial,
    power_of_two,
    raised,
    stepped,
)
from fastact.kernels.operations import Value

SIZE = 16
"""Entries of a table."""
START = 1.0 - 9.5 / 32
"""Where the first interval of m begins; each has as many bit patterns."""
LN2 = math.log(2)


# -- from tables ----------------------------------------------------------------------------------------------------
def _column(x: Value, name: str, less: float = 0.0) -> tuple[float, ...]:
    """A table of the word, less a number; a zero is a negative one, which has no effect on sums."""
    word = "single" if x.context.arithmetic.word == "f32" else "double"
    return tuple(c - less or -0.0 for c in x.context.table(f"{name}_{word}"))


def _parts(x: Value) -> tuple[Value, Value, Value, Value]:
    """-k as a float, +0 for k = 0, and as an integer, m and the number of its interval, counted from the last, where
    x = 2^k m is positive and normal."""
    a = x.context.arithmetic
    bits, mask, short = a.mantissa_bits, (1 << a.mantissa_bits) - 1, a.word == "f32"
    top = pattern(a, START) + mask
    # Conversions of 64 bits are rare instructions: there a number that is not negative goes into a mantissa.
    bias = 0 if short else a.bias + 1
    moved = top + (bias << bits) - x.bits()
    m = (top - (moved & mask)).as_real()
    j = moved.shift_right_logical(bits - 4) & (SIZE - 1)
    if short:
        minus = moved >> bits
        return minus.to_real(a.word), minus, m, j
    biased = moved.shift_right_logical(bits)
    magic = 2.0**bits
    return (biased | pattern(a, magic)).as_real() - (magic + bias), biased - bias, m, j


def _odd(x: Value, end: int) -> Value:
    """Whether x is anything but a positive normal number below 2^end: their bit patterns are neighbours."""
    a = x.context.arithmetic
    one, sign = 1 << a.mantissa_bits, 1 << (a.mantissa_bits + {"f32": 8, "f64": 11}[a.word])
    return (x.bits() + (sign - one)).compare("sge", (end + a.bias - 1) * one - sign)


def _anywhere(x: Value, near: Callable[[Value, Value, Value], Value]) -> Value:
    """A logarithm, computed by ``near`` from the parts of x, also where x is subnormal, and no number at all."""
    a = x.context.arithmetic
    minus_k, _, m, j = _parts(x)
    value = near(minus_k, m, j)
    if a.wide:
        return value.unless(_odd(x, a.bias + 1), _ends(value, x, 0.0))
    minus_k, _, m, j = _parts(x * 2.0**a.mantissa_bits)
    odd = _odd(x, a.bias + 1)
    x.context.end(x, 0.0, odd, serves=True)
    return value.unless(odd, _ends(near(minus_k + float(a.mantissa_bits), m, j), x, 0.0))


def _log_near(minus_k: Value, m: Value, j: Value, rest: Value | None = None) -> Value:
    """k ln 2 + log m, and a rest that is added."""
    return _sum(minus_k, m.fma(m.lookup(_column(m, "log_factors"), j), -1.0), j, rest)


def _sum(minus_k: Value, r: Value, j: Value, rest: Value | None = None) -> Value:
    """k ln 2 - log c + log(1 + r), and a rest. Zero keeps the sign of r."""
    context = r.context
    base = minus_k.fma(-context.constant("LN2"), r.lookup(_column(r, "log_terms"), j))
    return _ended(r, polynomial(r, context.table("log_reduced")), base, rest)


def _log2_near(minus_k: Value, m: Value, j: Value) -> Value:
    """k + log2 m."""
    r = m.fma(m.lookup(_column(m, "log2_factors"), j), -1.0)
    base = m.lookup(_column(m, "log2_terms"), j) - minus_k
    return r.fma(polynomial(r, m.context.table("log2_reduced")), base)


def _log1p_near(x: Value) -> Value:
    """log(1 + x), with 1 + x = 2^k (1 + f); f = 2^-k x - (1 - 2^-k) is rounded once and is x where k = 0. From 2^bias
    on, where 2^-k is no normal number, log x is the same."""
    a = x.context.arithmetic
    y = x + 1.0
    minus_k, minus, _, j = _parts(y)
    s = power_of_two(minus)
    f = x.fma(s, -(1.0 - s))
    r = f.fma(f.lookup(_column(x, "log_factors"), j), f.lookup(_column(x, "log_factors", 1.0), j))
    if a.wide:
        value = _sum(minus_k, r, j)
        return value.unless(_odd(y, a.bias + 1), _ends(value, x, -1.0))
    large, _, m, i = _parts(x)
    odd = _odd(y, a.bias - 1)
    x.context.end(x, -1.0, odd, serves=True)
    return _sum(minus_k, r, j).unless(odd, _ends(_log_near(large, m, i), x, -1.0))


STEP = 15.49
"""log(1 + x) for 0 <= x <= 1 comes from a table of numbers c near 1/(1 + j/15.49); the last j is 15."""


def _log1p_up_to_1(x: Value, rest: Value | None = None) -> Value:
    """log1p for 0 <= x <= 1 plus a rest."""
    return _ended(*_log1p_terms(x), rest)


def log1p_words(x: Value, rest: Value) -> tuple[Value, Value, Value]:
    """The same in words: the first is 0 or the largest, the last is what the rounding of the second took."""
    r, p, base = _log1p_terms(x)
    product = r.fma(p, rest)
    return base, product, r.fma(p, -product) + rest


def _log1p_terms(x: Value) -> tuple[Value, Value, Value]:
    """r, p and -log c with log(1 + x) = -log c + r p, r = c x + (c - 1)."""
    context = x.context
    magic = 1.5 * 2.0**context.arithmetic.mantissa_bits
    j = x.fma(STEP, magic).bits() & (SIZE - 1)
    r = x.fma(x.lookup(_column(x, "log1p_factors"), j), x.lookup(_column(x, "log1p_factors", 1.0), j))
    base = x.lookup(_column(x, "log1p_terms"), j)
    # In the shortest arithmetic x itself has an error that counts.
    table = "log1p_reduced" if context.arithmetic.level == "single_rough" else "log_reduced"
    return r, polynomial(r, context.table(table)), base


def _ended(r: Value, p: Value, base: Value, rest: Value | None) -> Value:
    """base + r p, and a rest, which counts most where the base is 0."""
    return r.fma(p, base) if rest is None else base + r.fma(p, rest)


# -- with or without tables -----------------------------------------------------------------------------------------
def _tabulated(x: Value) -> bool:
    """Whether logarithms come from tables."""
    a = x.context.arithmetic
    return bool(a.short or a.rough or not a.wide)


def log(x: Value) -> Value:
    """The natural logarithm."""
    return _anywhere(x, _log_near) if _tabulated(x) else _log_wide(x)


def log2(x: Value) -> Value:
    """The logarithm to base 2."""
    return _anywhere(x, _log2_near) if _tabulated(x) else _log2_wide(x)


def log1p(x: Value) -> Value:
    """log(1 + x)."""
    low, high = x.context.bounds(x)
    if low >= 0.0 and high <= 1.0:
        return _log1p_up_to_1(x) if _tabulated(x) else _log1p_up_to_1_wide(x)
    return _log1p_near(x) if _tabulated(x) else _log1p_wide(x)


def log1p_exp(x: Value, low: Value | None = None) -> Value:
    """log(1 + exp(x + low)) for x <= 0. To log1p of the exponential e is added what the rounding of e lost, and e times
    ``low``, over 1 + e, for which 1 - e/2 is near enough."""
    a = x.context.arithmetic
    if careless(a) or a.wide:
        return operations.log1p(exp(x))
    e, word, lost = exp_and_lost(x, low)
    return e.where_near(_log1p_up_to_1(word, lost))


def exp_and_lost(x: Value, low: Value | None, closely: bool = False) -> tuple[Value, Value, Value]:
    """exp(x) for x <= 0, its word, and what to add to log1p of that for what the rounding lost and for ``low``, and
    ``closely`` for what the table of powers lacks."""
    e, a = exp(x), x.context.arithmetic
    held, word = limited(x, -float(a.bias) * LN2, inf), e.plain()
    if stepped(x):
        _, p, whole = exp_steps(held)
        s = raised(x, whole)
        lost = s.fma(p, s - s.fma(p, s))
        lost = s.fma(lacking(held, whole), lost) if closely else lost
    else:
        r, n = _reduce_exp(held, above=a.bias)
        curve = polynomial(r, x.context.table("exp"))
        lost = r.fma(curve, 1.0 - r.fma(curve, 1.0)) * power_of_two(n)
    lost = lost if low is None else word.fma(low, lost)
    return e, word, lost * word.fma(-0.5, 1.0)


def log_odds(x: Value) -> Value:
    """log(x/w), w = 1 - x, for x <= 1/2: the logarithm of the quotient q and what the rounding of q left, which counts
    next to q = 1. Both come from one division, by w x."""
    w, a = 1.0 - x, x.context.arithmetic
    if a.wide and a.spare:
        return _log_odds_spare(x, w)
    rest_of_w = (1.0 - w) - x
    both = 1.0 / (w * x)
    q = x * (x * both)
    rest = (-q).fma(rest_of_w, (-q).fma(w, x)) * (w * both)
    small = ~(x >= 2.0**-100)  # there w is 1
    if not a.wide:
        minus_k, _, m, j = _parts(q)
        return _log_near(minus_k, m, j, rest).unless(small, log(x))
    odd, minus_k, f = _split(x.choose(small, q))
    value = _log(minus_k, f, rest.lift(0.0).choose(small, rest))
    return value.unless(odd, _ends(value, x, 0.0))


def _ends(value: Value, x: Value, pole: float) -> Value:
    """A logarithm's value made right at infinity, at its pole, below it and for NaN."""
    value = value.choose(x < inf, x)
    return value.choose(x > pole, x.lift(-inf).choose(x.equals(pole), nan))


# -- of results narrower than the word ------------------------------------------------------------------------------
def _log_wide(x: Value) -> Value:
    """k ln 2 + log(m) with x = 2^k m and sqrt(1/2) <= m < sqrt(2)."""
    odd, minus_k, f = _split(x)
    value = _log(minus_k, f)
    x.context.end(x, 0.0, odd, serves=True)
    return value.unless(odd, _ends(value, x, 0.0))


def _log_odds_spare(x: Value, w: Value) -> Value:
    """The quotient itself is not needed: with 1/w = (1 + x)(1 + x^2)(1 + x^4) but for x^8, which is nearly nothing
    where q is not near 1, a k is found such that 2^-k q is between sqrt(1/2) and sqrt 2; and log(2^-k x/w) =
    2 artanh((2^-k x - w)/(2^-k x + w))."""
    context = x.context
    square = x * x
    near = x.fma(x, x) * (square + 1.0)
    minus_k, minus, _ = _exponent_and_mantissa(near.fma(square * square, near))
    power = power_of_two(minus)
    s = x.fma(power, -w) / x.fma(power, w)
    z = s * s
    value = s.fma(z.fma(polynomial(z, context.table("log_atanh")), 2.0), minus_k * -context.constant("LN2"))
    return value.unless(~(x > 0.0), _ends(value, x, 0.0))


def _log2_wide(x: Value) -> Value:
    """k + log2(e) log(m) with k and m as for log."""
    context, a = x.context, x.context.arithmetic
    odd, minus_k, f = _split(x)
    u, v = _curved(f)
    if careless(a):
        value = u.fma(v, f).fma(context.constant("LOG2E"), -minus_k)
    else:
        high, low = context.split("LOG2E")
        value = f.fma(high, -minus_k)
        rounding = f.fma(high, -(value + minus_k))
        value = value + (u * v).fma(high, f.fma(low, rounding))
    x.context.end(x, 0.0, odd, serves=True)
    return value.unless(odd, _ends(value, x, 0.0))


def _log1p_wide(x: Value) -> Value:
    """k ln 2 + log(1 + f) with 1 + x = 2^k (1 + f); f = 2^-k x + (2^-k - 1) is rounded once and is x where k = 0."""
    minus_k, minus, _ = _exponent_and_mantissa(x + 1.0)
    s = power_of_two(minus)
    value = _log(minus_k, s.fma(x, -(1.0 - s)))
    odd = ~((x > -1.0) & (x < inf))
    x.context.end(x, -1.0, odd, serves=True)
    return value.unless(odd, _ends(value, x, -1.0))


def _log1p_up_to_1_wide(x: Value) -> Value:
    """log1p for 0 <= x <= 1, where k is 0 or 1 and x/2 - 1/2 is exact."""
    doubled = x > sqrt(2.0) - 1.0
    minus_one = x.lift(-1.0)
    return _log(minus_one.choose(doubled, 0.0), x.fma(0.5, -0.5).choose(doubled, x))


def _split(x: Value) -> tuple[Value, Value, Value]:
    """Whether x is anything but a positive number; -k as a float and f, where x = 2^k (1 + f)."""
    k, _, m = _exponent_and_mantissa(x)
    return ~((x > 0.0) & (x < inf)), k, m - 1.0


def _exponent_and_mantissa(x: Value) -> tuple[Value, Value, Value]:
    """-k as a float, +0 for k = 0, and as an integer, and m, where x = 2^k m is positive and normal and
    sqrt(1/2) <= m < sqrt(2)."""
    a = x.context.arithmetic
    start = pattern(a, sqrt(0.5))
    one = pattern(a, 1.0)
    moved = x.bits() + (one - start)
    m = ((moved & ((1 << a.mantissa_bits) - 1)) + start).as_real()
    biased = moved.shift_right_logical(a.mantissa_bits)
    minus = a.bias - biased
    if a.word == "f32":
        return minus.to_real(a.word), minus, m
    # Conversions of 64 bits are rare instructions.
    magic = 2.0**a.mantissa_bits
    return (magic + a.bias) - (biased | pattern(a, magic)).as_real(), minus, m


def _log(minus_k: Value, f: Value, rest: Value | None = None) -> Value:
    """k ln 2 + log(1 + f), and a rest that is added. Zero keeps the sign of f."""
    context, a = f.context, f.context.arithmetic
    u, v = _curved(f)
    if careless(a):
        return u.fma(v, minus_k.fma(-context.constant("LN2"), f if rest is None else f + rest))
    high, low, *_ = context.split("LN2")
    below = minus_k * -low if rest is None else minus_k.fma(-low, rest)
    return minus_k.fma(-high, f) + u.fma(v, below)


def _curved(f: Value) -> tuple[Value, Value]:
    """log(1 + f) - f as a product."""
    context, a = f.context, f.context.arithmetic
    if a.rough or a.word == "f32":
        return f * f, f.fma(polynomial(f, context.table("log1p")), -0.5)
    # With s = f/(2 + f): log(1 + f) = 2 s + s R = f + s (R - f), R = s^2 P(s^2).
    s = f / (f + 2.0)
    z = s * s
    return s, z.fma(polynomial(z, context.table("log_atanh")), -f)
