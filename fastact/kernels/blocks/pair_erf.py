"""The error function and its complement in double-double arithmetic, from polynomials on intervals."""

from __future__ import annotations

from math import inf

from fastact.kernels.blocks.error_single import far_erfcx
from fastact.kernels.blocks.exactly import fast_two_sum, two_product
from fastact.kernels.blocks.single import limited, polynomial
from fastact.kernels.coefficients import PIECES
from fastact.kernels.operations import Value, where

STEP = 49 / 256
"""Distance of the points around which erf is tabulated."""


def on_interval(x: Value, name: str, j: Value, h: Value, h_low: Value | None) -> Value:
    """The polynomial of the j-th interval at h + h_low, as a pair; ``x`` is any pair.

    With a0 + a1 h + ... the leading coefficients are pairs; what they are multiplied with is carried in two words.
    """
    rows = PIECES[name].coefficients
    pairs = sum(isinstance(c, tuple) for c in rows[0])
    zero = x.context.real(0.0)

    def coefficient(k: int, part: int = 0) -> Value:
        return zero.lookup(tuple(row[k][part] if k < pairs else row[k] for row in rows), j)

    upper = [coefficient(k) for k in range(pairs, len(rows[0]))]
    p = upper.pop()
    while upper:
        p = p.fma(h, upper.pop())
    # Terms shrink by a factor of four at least.
    s, e = fast_two_sum(coefficient(pairs - 1), p * h)
    e = e + coefficient(pairs - 1, 1)
    for k in reversed(range(pairs - 1)):
        product, rest = two_product(s, h)
        rest = e.fma(h, rest)
        if h_low is not None:
            rest = s.fma(h_low, rest)
        s, e = fast_two_sum(coefficient(k), product)
        e = e + (rest + coefficient(k, 1))
    return x.pair(s, e, 3)


def erf(x: Value) -> Value:
    """x Q(|x|) with Q(y) = erf(y)/y; for |x| > 6 it is 1 with the sign of x."""
    y = limited(abs(x), -inf, 6.0)
    k, whole = y.hi.split_integer(1.0 / STEP)
    q = on_interval(x, "erf", whole & 31, k.fma(-STEP, y.hi), y.lo)
    x = where(abs(x) > 6.0, _with_sign(y, x), x)
    # The remainder of a product with a number near the subnormal ones would be lost.
    small = abs(x.hi)
    far = (small < 2.0**-900) & (small > 0.0)
    whole = x.context.integer(0)
    exponent = (whole - 600).choose(far, whole)
    value = x * q
    value = x.pair(value.hi.copysign(x.hi), value.lo)
    return x.context.scaled((x * 2.0**600).choose(far, x) * q, exponent, True, far, value)


def _with_sign(y: Value, x: Value) -> Value:
    return y.choose(x >= 0.0, -y)


def erfc(x: Value) -> Value:
    """exp(-y^2) erfcx(y) with y = |x|; 2 minus that for x < 0."""
    y = limited(abs(x), -inf, vanishing(x))
    value = exp_times(minus_square(y), erfcx(y))
    return value.choose(x >= 0.0, 2.0 - value)


def vanishing(x: Value) -> float:
    """An x for which exp(-x^2), and any number of its size times that, is below every subnormal result."""
    return 47.0 if x.context.arithmetic.products else 29.0


def minus_square(y: Value, half: bool = False) -> Value:
    """-y^2, or half of it."""
    square = (y * y) * (-0.5 if half else -1.0)
    y.context.note(square, at_most=0.0)
    return square


def erfcx(y: Value) -> Value:
    """exp(y^2) erfc(y) for 0 <= y <= `vanishing`."""
    if y.context.arithmetic.products:
        return _erfcx(limited(y, -inf, 29.0)).unless(y > 29.0, far_erfcx(y))
    return _erfcx(y)


def _erfcx(y: Value) -> Value:
    w = y.hi + 2.0
    centre = ((w.bits() & -(2**49)) | 2**48).as_real() - 2.0
    h, h_low = fast_two_sum(-centre, y.hi)
    if y.lo is not None:
        h_low = h_low + y.lo
    return on_interval(y, "erfcx", (w.bits() >> 49) & 31, h, h_low)


def exp_times(x: Value, factor: Value, positive: bool = False) -> Value:
    """exp(x) factor for an x <= 0."""
    return x.context.blocks.exp(x) * factor


def short_polynomial(x: Value, coefficients: tuple) -> Value:
    """A polynomial whose leading coefficients are pairs, and the terms with the others small."""
    pairs = sum(isinstance(c, tuple) for c in coefficients)
    p = x.pair(polynomial(x.hi, coefficients[pairs:]))
    for high, low in reversed(coefficients[:pairs]):
        p = p * x + x.pair(x.context.real(high), x.context.real(low))
    return p


def falling_polynomial(x: Value, coefficients: tuple) -> Value:
    """The same where each coefficient is larger than all that is added to it: sums need not find out which term is."""
    pairs = sum(isinstance(c, tuple) for c in coefficients)
    p, p_low = polynomial(x.hi, coefficients[pairs:]), None
    for high, low in reversed(coefficients[:pairs]):
        term, rest = two_product(p, x.hi)
        for a, b in ((p, x.lo), (p_low, x.hi)):
            rest = rest if a is None or b is None else a.fma(b, rest)
        p, left = fast_two_sum(x.context.real(high), term)
        p_low = left + (rest + low)
    return x.pair(*fast_two_sum(p, p_low))
