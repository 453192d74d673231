"""What depends on how many digits numbers have more than results: gradients next to their roots, arguments of sines."""

from __future__ import annotations

from fractions import Fraction

from fastact.kernels.blocks.cubic import rounded
from fastact.kernels.operations import Value, absolute, doubled, exactly, exp, extended, fma, plain, where, word


def next_to_root(x: Value, value: Value, name: str) -> Value:
    """The value; next to a root, if results have subnormal numbers that small, d P(d) with the first two terms of P and
    d the distance from the root, which is carried in two words."""
    context, a = x.context, x.context.arithmetic
    if a.word != "f32" or a.rough or not a.wide:
        return value
    from fastact.kernels.coefficients import TABLES

    root = exactly(name.upper() + "_DOUBLE")
    high = rounded(root, context)
    d = (plain(x) - high) - (root - Fraction(high))
    (p, _), (q, _), *_ = TABLES[name]["pair"].coefficients
    return where(absolute(d) < 2.0**-9, d * fma(d, q, p), value)


def factor_next_to_root(x: Value, value: Value, name: str) -> Value:
    """The same of a gradient that is to be multiplied, since its rounding to the result does not hide what is lost."""
    return next_to_root(x, value, name) if x.context.arithmetic.products else value


def of_one_kind(x: Value) -> bool:
    """Whether numbers are single words with the range and the precision of results."""
    a = plain(x).context.arithmetic
    return not (a.pair or a.wide or a.short)


def short(x: Value) -> bool:
    """Whether numbers are made of the shorter of the two words."""
    return bool(plain(x).context.arithmetic.word == "f32")


def in_short_pairs(x: Value) -> bool:
    """Whether numbers are pairs of the shorter words."""
    return bool(plain(x).context.arithmetic.guarded)


def of_sixteen(x: Value) -> bool:
    """Whether an argument is known to have come in 16 bits, which no product of two takes near to a root."""
    node = word(x).node
    return bool((node.args[0] if node.op == "fpext" else node).op in ("half_to_single", "bfloat_to_single"))


def in_plenty(x: Value) -> bool:
    """Whether results have far fewer digits than numbers, and doubts about them are looked into."""
    return bool(x.context.arithmetic.wide and not short(x))


def in_want(x: Value) -> bool:
    """Whether inputs come so near to a root that double-double arithmetic has too few digits: those do that hold their
    power of two apart in that arithmetic, and those of narrower formats do not."""
    a = x.context.arithmetic
    return hasattr(x, "plain") if a.pair else not (a.wide or short(x))


def turn(x: Value, alpha: Value) -> Value:
    """alpha x with its rounding error, in any arithmetic that has one, since sines know no size."""
    number = doubled(x) if x.context.arithmetic.rough else extended(x)
    return number * plain(alpha)


def exp_closely(x: Value, in_full: bool = False) -> Value:
    """The exponential where results have no digit to lose; ``in_full``: none at all."""
    a = x.context.arithmetic
    if a.pair or a.short:
        return exp(x)
    high, low = (x.hi, x.lo) if hasattr(x, "hi") else (plain(x), None)
    return x.context.blocks.exp(high, low, True, in_full)


def in_products(x: Value) -> bool:
    """Whether what is computed is multiplied with a further number where no digit is to spare: next to a power of two
    that doubles errors."""
    a = plain(x).context.arithmetic
    return of_one_kind(x) and a.products and not (a.careless or a.plenty)


def exp_in_products(x: Value) -> Value:
    """The exponential, closely where it is a factor of products."""
    return exp_closely(x) if in_products(x) else exp(x)


def slope_in_products(t: Value, e: Value, rest: Value) -> Value:
    """The slope of silu at t, with e = exp(-|t|) and a rest that is added to t + 1 below 0: e (t + 1) + 1 above and
    e (t + 1 + rest) below, where e keeps its digits, over (1 + e)^2, whose rounding is made good."""
    deep, word = t < -40.0, plain(e)
    inner = where(deep, 1.0, word)
    n = fma(inner, t + 1.0, where(t < 0.0, inner * plain(rest), 1.0))
    d = fma(word, word + 2.0, 1.0)
    inverse = 1.0 / d
    q = n * inverse
    left = fma(-q, fma(word, word + 2.0, 1.0 - d), fma(-q, d, n))
    return where(deep, e, 1.0) * fma(left, inverse, q)


def lifted_exp(x: Value) -> tuple[Value, float]:
    """exp(x) for x <= 0, closely, as a number that is normal and a power of two: for products with large numbers."""
    if not x.context.arithmetic.rough:
        return exp_closely(x), 1.0
    half = exp(x * 0.5) * 2.0**12
    return half * half, 2.0**-24
