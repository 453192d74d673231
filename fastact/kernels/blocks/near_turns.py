"""Numbers of two words next to multiples of pi, and next to the roots of 2 t cos t - sin t, which lie beside odd
multiples of pi/2: what they differ by, with nearly all digits of two words.

Words that factors of a product give t come as near to one as 2^-105 t, where double-double arithmetic would have
nothing left of the difference. Everything here is without error up to words 2^-159 of t. It is slow, and meant for the
few inputs next to a root.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from fractions import Fraction
from math import pi

from fastact.kernels.blocks import triple
from fastact.kernels.blocks.exactly import fast_two_sum, two_product, two_sum
from fastact.kernels.blocks.sine_single import inverse_tangent, pi_times
from fastact.kernels.operations import Value, where

MOST = 2.0**50
"""Up to which the number of a multiple of pi/4 is a number that can be held. Beyond it a difference is known to 2^-103,
which is enough for all products but those up to 2^58 that are made to be as near to a root as any."""
WORDS, BITS = 4, 300
ROOTS = 64
"""So many roots are held in a table. Beyond them a series in 1/(2 t)^2 < 2^-17 takes few terms."""
TERMS, PAIRS, SINGLES = 9, 2, 5
"""Of the series of atan(y)/y, y < 1/402, after the first: what is left out is below 2^-170; two words are enough from
the third of these on, and one from the sixth."""


def split(number: Fraction, count: int = WORDS) -> tuple[float, ...]:
    """A number as a sum of so many words."""
    words = []
    for _ in range(count):
        words.append(float(number))
        number -= Fraction(words[-1])
    return tuple(words)


@functools.cache
def pi_words() -> tuple[float, ...]:
    return split(Fraction(pi_times(1 << BITS), 1 << BITS))


@functools.cache
def roots() -> tuple[tuple[float, ...], ...]:
    """The first positive roots of 2 t cos t - sin t, by their words: the first ones of all, the second ones and so on.

    They are t = q - a with q = (k + 1/2) pi and a = atan(1/(2 t)); what that lacks of a, over the slope, is added."""
    one, found = 1 << BITS, []
    half = pi_times(one) >> 1
    for k in range(ROOTS):
        q = (2 * k + 1) * half
        t = q - int(one / (2 * pi * (k + 0.5)))
        for _ in range(60):
            slope = 1.0 - 2.0 / (1.0 + 4.0 * (t / one) ** 2)
            step = int((q - t - inverse_tangent((one << BITS) // (2 * t), one)) * Fraction(1.0 / slope))
            t += step
            if abs(step) < 1 << 8:
                break
        found.append(split(Fraction(t, one)))
    return tuple(zip(*found, strict=True))


def distilled(words: Sequence[Value]) -> tuple[Value, Value]:
    """The sum of some words, which fall, in two: as if three words had been computed with, and then rounded."""
    for _ in range(2):
        sums, rests = words[-1], []
        for word in reversed(words[:-1]):
            sums, rest = two_sum(word, sums)
            rests.append(rest)
        words = [sums, *reversed(rests)]
    low = words[-1]
    for word in reversed(words[1:-1]):
        low = low + word
    return two_sum(words[0], low)


def _less_turns(high: Value, low: Value, m: Value) -> tuple[list[Value], list[Value], list[Value], list[Value]]:
    """high + low - m pi for an m that leaves less than half of it, by the size of words: one, and others 2^-53,
    2^-106 and 2^-159 of the number."""
    first, second, third, fourth = pi_words()
    p, e = two_product(m, high.lift(first))
    q, f = two_product(m, high.lift(second))
    r, g = two_product(m, high.lift(third))
    return [high - p], [low, -e, -q], [-f, -r], [-g, m * -fourth]


def beside_turns(high: Value, low: Value, quarters: int) -> tuple[Value, Value]:
    """high + low + quarters pi/4 less the nearest multiple of pi, where that is little."""
    shift = 0.25 * quarters
    m = (high * (1.0 / pi) + shift).rint() - shift
    return distilled([word for level in _less_turns(high, low, m) for word in level])


def _atan_of_inverse(high: Value, low: Value) -> triple.Words:
    """atan(1/(2 t)) for large t, in words that fall but for the first of the second three."""
    y = 0.5 / high
    # 1/(2 t) = y (1 + e + e^2 + ...) with e = 1 - 2 t y
    p, p_low = two_product(y, high * 2.0)
    q, q_low = two_product(y, low * 2.0)
    e, e_low = distilled([1.0 - p, -q, -p_low, -q_low])
    s, rest = fast_two_sum(e, e * e)
    rest = rest + (e_low + e * (e_low + e_low + e * e))
    more, more_low = two_product(y, s)
    inverse = triple.total((y,), (more, y.fma(rest, more_low)))
    z = triple.product(inverse, inverse)
    curve: triple.Words = (y.lift((-1.0) ** TERMS / (2 * TERMS + 1)),)
    for place in reversed(range(1, TERMS)):
        count = 3 if place <= PAIRS else 2 if place <= SINGLES else 1
        c = triple.constant(y, Fraction((-1) ** place, 2 * place + 1), count)
        if count == 1:
            curve = (curve[0].fma(z[0], c[0]),)
        elif count == 2:
            high, low = triple.product(curve, z[:2], 2)
            s, e = fast_two_sum(c[0], high)
            curve = (s, e + (low + c[1]))
        else:
            curve = triple.total(triple.product(curve, z), c)
    return (*inverse, *triple.product(inverse, triple.product(z, curve)))


def _atan_of_inverse_in_pairs(t: Value) -> triple.Words:
    """The same to 2^-104, where t is one word: no product of two numbers of float32 asks for more."""
    y = 0.5 / t
    z = y * y
    little = z.hi * z.hi.fma(z.hi.fma(1 / 9, -1 / 7), 1 / 5)
    a = y + y * (z * (z.pair(little) - Fraction(1, 3)))
    return a.hi, a.low


def _beyond_table(t: Value, everywhere: bool) -> Value:
    """F for large t: (k + 1/2) pi - t - atan(1/(2 t))."""
    high, low = t.hi, t.low
    (d,), *others = _less_turns(high, low, (high * (1.0 / pi) - 0.5).rint() + 0.5)
    first, second, third = ([-word for word in level] for level in others)
    if not everywhere:
        a, b = _atan_of_inverse_in_pairs(t)
        return t.pair(*distilled([-d, -a, *first, -b, *second]))
    a, b, c, u, v, w = _atan_of_inverse(high, low)
    return t.pair(*distilled([-d, -a, -u, *first, -b, *second, -v, -c, *third, -w]))


def _plus_cube(x: Value, third: float, fifth: float) -> Value:
    """x + third x^3 + fifth x^5 of a pair of words below 2^-11: the tangent, or its inverse."""
    square = x.hi * x.hi
    return x + x.pair(x.hi * square * square.fma(fifth, third))


def ratio(t: Value, everywhere: bool) -> Value:
    """(2 t cos t - sin t)/(2 sin t) for a pair of words t > 1 next to a root, ``everywhere`` or if it is one word.

    With F = (k + 1/2) pi - t - atan(1/(2 t)), which is 0 there, it is (1 + 4 t^2) T/(4 t - 2 T) with T = tan F. Beside
    a root r that is held, F = -d + atan(2 d/(1 + 4 r t)) with d = t - r."""
    k = (t.hi * (1.0 / pi) - 0.5).rint()
    held = k < float(ROOTS)
    index = where(held, k, 0.0).split_integer(1.0)[1] & (ROOTS - 1)
    first, *others = (k.lookup(words, index) for words in roots())
    d = t.pair(*distilled([t.hi - first, t.low, *(-word for word in others)]))
    near = _plus_cube(d * 2.0 / (t.pair(first, others[0]) * t * 4.0 + 1.0), -1 / 3, 1 / 5) - d
    tangent = _plus_cube(near.choose(held, _beyond_table(t, everywhere)), 1 / 3, 2 / 15)
    return (t * t * 4.0 + 1.0) * tangent / (t * 4.0 - tangent * 2.0)
