"""Numbers as sums of up to three words, for what is left where the leading digits of double-double arithmetic cancel.

A number is a tuple of words, each of which is small beside the one before. Sums and products of three words lose about
2^-155 of the operands. All this is slow, and meant for the few inputs next to a root.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import zip_longest
from math import factorial, log

from fastact.kernels.blocks.exactly import fast_two_sum, two_product, two_sum
from fastact.kernels.blocks.single import limited, power_of_two
from fastact.kernels.coefficients import CONSTANTS
from fastact.kernels.operations import Value

Words = tuple[Value, ...]
DOUBLINGS = 4
TERMS = 16
"""Of the series of (exp(h) - 1 - h)/h^2, |h| <= ln(2)/2^5: what is left out is below 2^-140."""
PAIRS, SINGLES = 6, 12
"""The terms from which on two words are enough, and one."""
REACH = 110.0
"""exp(-REACH) is nothing beside 1 in three words."""


def _gathered(high: Value, middle: list[Value], low: list[Value]) -> Words:
    """The sum of a word, of words 2^-53 as large, of which it is taken without error, and of words smaller still."""
    low = list(low)
    b = middle[0]
    for term in middle[1:]:
        b, e = two_sum(b, term)
        low.append(e)
    if not low:
        return two_sum(high, b)
    c = low[0]
    for term in low[1:]:
        c = c + term
    b, c = two_sum(b, c)
    high, b = two_sum(high, b)
    return (high, *two_sum(b, c))


def total(x: Words, y: Words) -> Words:
    """x + y."""
    high, e = two_sum(x[0], y[0])
    return _gathered(high, [*x[1:2], *y[1:2], e], [*x[2:], *y[2:]])


def product(x: Words, y: Words, count: int = 3) -> Words:
    """x y in so many words."""
    high, e = two_product(x[0], y[0])
    first = [(a, b) for i, a in enumerate(x) for j, b in enumerate(y) if i + j == 1]
    if count == 2:
        for a, b in first:
            e = a.fma(b, e)
        return fast_two_sum(high, e)
    middle, low = [e], [a * b for i, a in enumerate(x) for j, b in enumerate(y) if i + j == 2]
    for a, b in first:
        p, e = two_product(a, b)
        middle.append(p)
        low.append(e)
    return _gathered(high, middle, low)


def minus(x: Words) -> Words:
    """-x."""
    return tuple(-word for word in x)


def scaled(x: Words, factor: Value | float) -> Words:
    """x times a power of two."""
    return tuple(word * factor for word in x)


def constant(like: Value, fraction: Fraction, count: int) -> Words:
    """A number in so many words."""
    words = []
    for _ in range(count):
        words.append(float(fraction))
        fraction -= Fraction(words[-1])
    return tuple(like.lift(word) for word in words)


def expm1_less(x: Words) -> Words:
    """exp(x) - 1 - x for -REACH <= x <= 0; below, for the x at that limit.

    x = n ln 2 + r, and of the 16th part h of r the series; then (2 h, 2 q + (h + q)^2) doubles h, in (h, q) with
    q = exp(h) - 1 - h: there nothing cancels."""
    n, r, q = _reduced(x)
    grown = total(scaled(total(r, q), n), constant(n, Fraction(-1), 1))  # 2^n (r + q) - 1
    other = total(total(grown, (n,)), minus(x))
    return tuple(a.choose(n.equals(1.0), b) for a, b in zip_longest(q, other))


def exp(x: Words) -> Words:
    """exp(x) for -REACH <= x <= 0, right to the relative accuracy of three words."""
    n, r, q = _reduced(x)
    return scaled(total(constant(n, Fraction(1), 1), total(r, q)), n)


def _reduced(x: Words) -> tuple[Value, Words, Words]:
    """2^n, r and exp(r) - 1 - r."""
    x = (limited(x[0], -REACH, 0.0), *x[1:])
    k, n = x[0].split_integer(1.0 / log(2))
    ln2 = tuple(k.lift(part) for part in CONSTANTS["LN2"])
    r = total(x, product((-k,), ln2))
    h = scaled(r, 2.0**-DOUBLINGS)
    series = [Fraction(1, factorial(i + 2)) for i in range(TERMS)]
    p = constant(k, series.pop(), 1)
    while series:
        place = len(series) - 1
        count = 3 if place < PAIRS else 2 if place < SINGLES else 1
        c = constant(k, series.pop(), count)
        p = (p[0].fma(h[0], c[0]),) if count == 1 else total(product(p[:count], h[:count], count), c)[:count]
    q = product(product(h, h), p)
    for _ in range(DOUBLINGS):
        e = total(h, q)
        h, q = scaled(h, 2.0), total(scaled(q, 2.0), product(e, e))
    return power_of_two(n), r, q
