"""Numbers as sums of up to three words, for what is left where the leading digits of double-double arithmetic cancel.

A number is a tuple of words, each of which is small beside the one before. Sums and products of three words lose about
2^-155 of the operands. All this is slow, and meant for the few inputs next to a root.
"""

from __future__ import annotations

from fractions import Fraction
from math import factorial, log

from fastact.kernels.blocks.exactly import fast_two_sum, two_product, two_sum
from fastact.kernels.blocks.single import limited, power_of_two
from fastact.kernels.coefficients import CONSTANTS
from fastact.kernels.operations import Value

Words = tuple[Value, ...]
TERMS, PAIRS, SINGLES = 26, 6, 16
"""Of the series of (exp(r) - 1 - r)/r^2, |r| <= ln(2)/2: what is left out is below 2^-130; two words are enough from
the second of these on, and one from the third."""
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
    """exp(x) - 1 - x for -REACH <= x <= 0; below, for the x at that limit."""
    n, r, q = _reduced(x)
    grown = total(scaled(total(r, q), n), constant(n, Fraction(-1), 1))  # 2^n (r + q) - 1
    other = total(total(grown, (n,)), minus(x))
    return tuple(a.choose(n.equals(1.0), b) for a, b in zip(q, other, strict=True))


def exp(x: Words) -> Words:
    """exp(x) for -REACH <= x <= 0, right to the relative accuracy of three words."""
    n, r, q = _reduced(x)
    return scaled(total(constant(n, Fraction(1), 1), total(r, q)), n)


def exp_further(x: Value) -> Words:
    """exp(x) of a word down to -8 `REACH`, a little less precise: the eighth power of that of an eighth."""
    power = exp((x * 0.125,))
    for _ in range(3):
        power = product(power, power)
    return power


def _reduced(x: Words) -> tuple[Value, Words, Words]:
    """2^n, r = x - n ln 2 and exp(r) - 1 - r."""
    x = (limited(x[0], -REACH, 0.0), *x[1:])
    k, n = x[0].split_integer(1.0 / log(2))
    ln2 = tuple(k.lift(part) for part in CONSTANTS["LN2"])
    r = total(x, product((-k,), ln2))
    p: Words = (k.lift(1.0 / factorial(TERMS + 1)),)
    for place in reversed(range(TERMS - 1)):
        count = 3 if place < PAIRS else 2 if place < SINGLES else 1
        c = constant(k, Fraction(1, factorial(place + 2)), count)
        if count == 1:
            p = (p[0].fma(r[0], c[0]),)
        elif count == 2:  # the coefficient is the larger term
            high, low = product(p, r[:2], 2)
            s, e = fast_two_sum(c[0], high)
            p = (s, e + (low + c[1]))
        else:
            p = total(product(p, r), c)
    return power_of_two(n), r, product(product(r, r), p)
