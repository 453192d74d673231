"""The operations that bodies are written in. Each acts on whatever kind of number the body is being linked with."""

from __future__ import annotations

import operator
from collections.abc import Callable
from fractions import Fraction
from math import inf as INFINITY
from typing import Any

Value = Any
"""A number of the working arithmetic, or a Python number standing for the decimal it is written as."""


def plain(x: Value) -> Value:
    """The number itself where a power of two is held apart: for arguments that need absolute accuracy only."""
    return x.plain() if hasattr(x, "plain") else x


def _block(name: str, *args: Value) -> Value:
    return getattr(args[0].context.blocks, name)(*(plain(a) for a in args))


def where(condition: Value, a: Value, b: Value) -> Value:
    """a where the condition holds, b elsewhere; both are computed."""
    for kind in ("Scaled", "Pair", "Real"):
        if type(a).__name__ == kind:
            return a.choose(condition, b)
        if type(b).__name__ == kind:
            return b.choose(~condition, a)
    return condition.context.number(a).choose(condition, b)


def unless(value: Value, condition: Value, rare: Value) -> Value:
    """``rare`` where the condition holds, the value elsewhere; what only ``rare`` needs is computed only if it holds
    somewhere."""
    if hasattr(value, "where_near"):
        return where(condition, rare, value)
    return value.unless(condition, plain(rare))


def minimum(x: Value, bound: Value) -> Value:
    """x, or the bound where x is above it; NaN stays."""
    return x if bound == INFINITY else _held(x, x > bound, bound, "at_most")


def maximum(x: Value, bound: Value) -> Value:
    """x, or the bound where x is below it; NaN stays."""
    return x if bound == -INFINITY else _held(x, x < bound, bound, "at_least")


def _held(x: Value, beyond: Value, bound: Value, limit: str) -> Value:
    result = where(beyond, bound, x)
    if isinstance(bound, (int, float)):
        plain(x).context.note(plain(result), like=plain(x), **{limit: float(bound)})
    return result


def clip(x: Value, low: Value, high: Value) -> Value:
    """x held within [low, high]; NaN stays."""
    return minimum(maximum(x, low), high)


def absolute(x: Value) -> Value:
    return abs(x)


def fma(a: Value, b: Value, c: Value) -> Value:
    """a b + c, rounded once where numbers are single words."""
    a, b = plain(a), plain(b)
    return a.fma(b, c) if hasattr(a, "fma") else a * b + c


def sum_and_rest(a: Value, b: Value, c: Value) -> tuple[Value, Value | None]:
    """a b + c and what its rounding left, where the working precision is that of the result."""
    total, arithmetic = fma(a, b, c), a.context.arithmetic
    if arithmetic.pair or arithmetic.careless:
        return total, None
    return total, fma(a, b, total.lift(c) - total)


def times_quotient(
    factor: Value, numerator: tuple[Value, Value | None], denominator: tuple[Value, Value | None]
) -> Value:
    """A factor times the quotient of two numbers with rests: where these are known, rounded but once."""
    (n, n_rest), (d, d_rest) = numerator, denominator
    q = n / d
    if n_rest is None or d_rest is None:
        return factor * q
    rest = ((-q).fma(d_rest, n_rest) + (-q).fma(d, n)) / d
    product, word = factor * (q + rest), plain(factor)
    value = word.fma(q, word * rest)
    return product.where_near(value) if hasattr(product, "where_near") else value


def times_over_sum(x: Value, n: Value, c: float, n_rest: Value | None = None) -> Value:
    """x n/(n + c) for n >= 0. Where the working precision is that of the result, what the rounding of the sum left is
    taken from the quotient q; that over the sum is that times (1 - q)/c. What n has beyond a word may be added."""
    d = n + c
    arithmetic = d.context.arithmetic
    if n_rest is not None:  # what is left of the quotient comes after x: one rounding less
        inverse = 1.0 / plain(d)
        q, rest = n * inverse, plain(n) - (plain(d) - c)
        product, word = x * q, plain(q)
        left = ((-word).fma(plain(d), plain(n)) + (-word).fma(rest + n_rest, n_rest)) * inverse
        value = where(left.equals(0.0) | plain(x).equals(0.0), product, plain(x).fma(word, plain(x) * left))
        return product.where_near(plain(value)) if hasattr(product, "where_near") else value
    q = n / d
    if arithmetic.pair or arithmetic.careless:
        return x * q
    rest, word = plain(n) - (d - c), plain(q)
    better = (word * (-1.0 / c)).fma((-word).fma(rest, rest), word)
    return x * (q.where_near(better) if hasattr(q, "where_near") else better)


def distributed(e: Value, a: Value, b: float) -> Value:
    """e (a + b) as e a + b e for a power of two b: one rounding less where numbers are single words."""
    product, word = e * (a + b), plain(e)
    if not hasattr(word, "fma"):
        return product
    value = word.fma(plain(a), word * b)
    return product.where_near(value) if hasattr(product, "where_near") else value


def cancelling(x: Value, root: float) -> None:
    """Say that digits of the result cancel next to a root. Twelve of them are lost within 2^-12 of it; where results
    are to be correctly rounded, those there are decided in double-double arithmetic."""
    x = plain(x)
    reach = 0.5 if x.context.arithmetic.word == "f32" else 2.0**-12
    x.context.doubts.append(absolute(x - root) < reach)


def next_to_root(x: Value, value: Value, name: str, reach: float = 2.0**-5) -> Value:
    """The value; next to a root, of which digits remain in double-double arithmetic only, d P(d) there with d the
    distance from the root. ``name`` is that of the table of P, good for |d| up to ``reach``, and, in upper case, of the
    root."""
    context, x = x.context, plain(x)
    if not context.arithmetic.decisive:
        return value
    high, middle, low, *last = (context.real(part) for part in context.split(name.upper()))
    # x - high is exact.
    d = (x - high) - x.pair(middle, low)
    if last and x.lo is not None:
        d = d - last[0]
    near = absolute(x - high) < reach
    return value.unless(near, d * context.blocks.short_polynomial(d, context.table(name)))


def next_to_zero(x: Value, line: Value, value: Value) -> Value:
    """The value; in double-double arithmetic, next to x = 0, where they do not differ any more, a line through 0, which
    keeps its digits among the subnormal numbers."""
    return where(absolute(x) < 2.0**-120, line, value) if x.context.arithmetic.decisive else value


def telling(little: Value, x: Value) -> Value:
    """What is added to the positive x, itself positive; where numbers have more digits than results, so much of it that
    these tell the sum from x. So a tie between two results is decided."""
    arithmetic = x.context.arithmetic
    if not (arithmetic.decisive or arithmetic.roomy):
        return little
    return maximum(little, x * (2.0**-100 if arithmetic.pair else 2.0**-50))


def leaning(x: Value, value: Value) -> Value:
    """The value; in double-double arithmetic, next to x = 0, where it is 1 and differs from that by less than the last
    place, 1 and a little in the direction of x. So a tie between two results is decided that x times it is."""
    if not x.context.arithmetic.decisive:
        return value
    x = plain(x)
    lean = 2.0**-100 if x.context.arithmetic.products else 2.0**-54  # what is multiplied further has to keep its digits
    little = x.pair(x.context.real(1.0), x.context.real(lean).copysign(x.hi))
    return where(absolute(x) < 2.0**-120, little, value)


def lessened(x: Value) -> Value:
    """x; in double-double arithmetic a little of it less, which no result shows unless it were a tie."""
    if not x.context.arithmetic.decisive:
        return x
    word = x.context.real
    return x * plain(x).pair(word(1.0), word(-(2.0**-100)))


def plus_finite(x: Value, y: Value) -> Value:
    """x + y for a finite y; an infinite x keeps its sum, which pairs of words would make no number."""
    total = x + y
    x = plain(x)
    return where(absolute(x) < float("inf"), total, x) if x.context.arithmetic.decisive else total


def one_plus(x: Value) -> Value:
    """1 + x for x >= -1 and for quotients: where 1 no longer counts, x with its power of two held apart."""
    return x.one_more() if hasattr(x, "one_more") else x + 1.0


def one_plus_exp(x: Value) -> Value:
    """1 + exp(x) for quotients."""
    if hasattr(x, "hi") and not x.context.arithmetic.pair:
        return one_plus(exp(x))
    return _block("one_plus_exp", x)


def copysign(x: Value, sign: Value) -> Value:
    """The non-negative x with the sign of another number."""
    return _block("copysign", x if hasattr(x, "context") else plain(sign).context.number(x), sign)


def tail(x: Value) -> float:
    """A number t such that exp(t), and anything finite times exp(t), rounds to zero in the result's format."""
    return x.context.arithmetic.tail


def saturation(x: Value) -> float:
    """A number t such that beside 1 t exp(-2 t) is lost in every format that x may have, and exp(4 t) is a number."""
    return 20.0 if x.context.arithmetic.word == "f32" else 40.0


def constant(like: Value, name: str) -> Value:
    """A constant of the generated table, at the precision of the arithmetic."""
    return like.context.constant(name)


def exactly(name: str) -> Any:
    """A constant of the generated table with all the digits that are held of it, as a fraction."""
    from fastact.kernels.coefficients import CONSTANTS

    return sum(map(Fraction, CONSTANTS[name]), Fraction(0))


def series(x: Value, name: str) -> Value:
    """The polynomial of a table of that name, whose terms fall; in double-double arithmetic of the one for a shorter
    interval."""
    context = x.context
    return context.blocks.falling_polynomial(x, context.table(name + "_pair" if context.arithmetic.pair else name))


# -- more or fewer words to a number --------------------------------------------------------------------------------
def doubled(x: Value) -> Value:
    """x as a pair of words: for the few operations that need twice the working precision."""
    return plain(x).context.doubled(plain(x))


def extended(x: Value) -> Value:
    """x as a pair of words where the working precision is that of the result, as it is elsewhere: for the argument of
    an exponential, whose absolute error becomes a relative one."""
    a = x.context.arithmetic
    return plain(x) if a.careless else doubled(x)


def narrowed(x: Value) -> Value:
    """A number as the arithmetic holds it, from a pair of words."""
    return x.hi if hasattr(x, "hi") and not x.context.arithmetic.pair else x


def plus_dropped(e: Value, x: Value, whole: Value) -> Value:
    """e and what `narrowed` drops of x; where the condition does not hold, times e."""
    if not hasattr(x, "hi") or x.lo is None or x.context.arithmetic.pair:
        return e
    e = plain(e)
    return x.lo.fma(where(whole, 1.0, e), e)


def rounded_sum(a: Value, b: Value) -> Value:
    """a + b where nothing but the rounding to the result follows: one instruction does both."""
    return _rounded(operator.add, a, b)


def rounded_product(a: Value, b: Value) -> Value:
    """a b where nothing but the rounding to the result follows: one instruction does both."""
    return _rounded(operator.mul, a, b)


def _rounded(operation: Callable[[Value, Value], Value], a: Value, b: Value) -> Value:
    a, b = plain(a), plain(b)
    if hasattr(a, "hi"):
        b = a.lift(b)
        if a.lo is None and b.lo is None:
            return type(a)(operation(a.hi, b.hi))
    return operation(a, b)


def word(x: Value) -> Value:
    """The high word of a number."""
    x = plain(x)
    return x.hi if hasattr(x, "hi") else x


def between(x: Value, low: Value, high: Value, inside: Value, outside: Value) -> Value:
    """One or the other as x is strictly between two limits or not; NaN stays."""
    return where((x > low) & (x < high), inside, where((x <= low) | (x >= high), outside, plain(x)))


def unless_nan(y: Value, *parameters: Value) -> Value:
    """y, or NaN where a parameter is."""
    for parameter in parameters:
        y = where(plain(parameter).is_nan(), plain(parameter), y)
    return y


# -- elementary functions -------------------------------------------------------------------------------------------
def exp(x: Value) -> Value:
    """The exponential; of a pair of words in an arithmetic of single ones too."""
    if hasattr(x, "hi") and not x.context.arithmetic.pair:
        return _block("exp", x.hi) if x.lo is None else _block("exp", x.hi, x.lo)
    return _block("exp", x)


def exp_in_parts(x: Value) -> tuple[Value, Value | None]:
    """exp(x) as an unrounded sum of two single words, or one where it is not known any better; for normal results."""
    return x.context.blocks.exp_in_parts(x)


def exp2(x: Value) -> Value:
    return _block("exp2", x)


def expm1(x: Value) -> Value:
    return _block("expm1", x)


def log(x: Value) -> Value:
    return _block("log", x)


def log2(x: Value) -> Value:
    return _block("log2", x)


def log_odds(x: Value) -> Value:
    """log(x/(1 - x)) for x <= 1/2."""
    return _block("log_odds", x)


def logit(x: Value) -> Value:
    """log(x/(1 - x)), of pairs of float32."""
    return _block("logit", x)


def log1p(x: Value) -> Value:
    """log(1 + x). Of an exponential that is far from the normal numbers it is that exponential, and keeps its power of
    two apart: so softplus is right down to the smallest subnormal."""
    value = _block("log1p", x)
    return x.where_near(value) if hasattr(x, "plain") and not x.is_input else value


def log1p_exp(x: Value) -> Value:
    """log(1 + exp(x)) for x <= 0; of a pair of words in an arithmetic of single ones too."""
    if hasattr(x, "hi") and not x.context.arithmetic.pair:
        return _block("log1p_exp", x.hi, *(() if x.lo is None else (x.lo,)))
    return _block("log1p_exp", x)


def tanh(x: Value) -> Value:
    return _block("tanh", x)


def erf(x: Value) -> Value:
    return _block("erf", x)


def erfc(x: Value) -> Value:
    return _block("erfc", x)


def erfcx(x: Value) -> Value:
    """exp(x^2) erfc(x) for 0 <= x <= `vanishing`."""
    return _block("erfcx", x)


def vanishing(x: Value) -> float:
    """An x for which exp(-x^2), and anything of its size times that, rounds to zero in the result's format."""
    return float(_block("vanishing", x))


def minus_square(x: Value, half: bool = False) -> Value:
    """-x^2 for 0 <= x <= `vanishing`, or half of it for x up to sqrt 2 times that, for the argument of `exp_times`: as
    a pair of words where its rounding would count."""
    return plain(x).context.blocks.minus_square(plain(x), half)


def exp_times(x: Value, factor: Value, positive: bool = False) -> Value:
    """exp(x) times a factor, perhaps known to be ``positive``, for an x <= 0, with no rounding between."""
    return x.context.blocks.exp_times(x, plain(factor), positive)


def reciprocal(x: Value) -> Value:
    return _block("reciprocal", x)


def rsqrt(x: Value) -> Value:
    return _block("rsqrt", x)


def sin(x: Value) -> Value:
    return _block("sin", x)


def sqrt(x: Value) -> Value:
    return x.sqrt()
