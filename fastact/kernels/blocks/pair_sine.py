"""The sine in double-double arithmetic, of a number or of one a quarter of pi further.

sin(x) = (-1)^n sin(r) with n = rint(x/pi), r = x - n pi, and sin(r) = 2 sin(r/2) cos(r/2), which leaves so small an
argument that the upper terms of the series need no second word. The coefficients are those of Taylor: with 12 of them
what is left out is below 2^-83 of the result.
"""

from __future__ import annotations

from fractions import Fraction
from math import factorial, pi

from fastact.kernels.blocks.exactly import two_product, two_sum
from fastact.kernels.blocks.pair_erf import short_polynomial
from fastact.kernels.blocks.sine_single import BEYOND, NEAR, far_phase, with_sign_of
from fastact.kernels.coefficients import CONSTANTS
from fastact.kernels.operations import Value

Factors = tuple[Value, ...]
TERMS, PAIRS = 12, 5


def _series(first: int) -> tuple[object, ...]:
    """(-1)^k/(2 k + first)!; the leading ones in two words."""
    fractions = [Fraction((-1) ** k, factorial(2 * k + first)) for k in range(TERMS)]
    highs = [float(c) for c in fractions]
    return tuple(
        (h, float(c - Fraction(h))) if k < PAIRS else h for k, (c, h) in enumerate(zip(fractions, highs, strict=True))
    )


SINE, COSINE = _series(1), _series(0)


def sin_but_sign(x: Value, quarters: int = 0, factors: Factors = ()) -> Value:
    """sin(x + quarters pi/4) or minus that. Two words of which x is the product may be told: where that overflows, it
    is taken apart."""
    return _sine(_reduced_pair(x, quarters, factors))


def sin_and_cos(x: Value, factors: Factors = ()) -> tuple[Value, Value]:
    """The sine and the cosine, or both with the other sign."""
    r = _reduced_pair(x, 0, factors)
    return _sine(r), _sine(r.context.constant("PI") * 0.5 - abs(r))


def _sine(r: Value) -> Value:
    """2 sin(r/2) cos(r/2) for |r| <= pi/2."""
    h = r * 0.5
    z = h * h
    return h * short_polynomial(z, SINE) * short_polynomial(z, COSINE) * 2.0


def _reduced_pair(x: Value, quarters: int, factors: Factors) -> Value:
    r = _reduced(x.hi, quarters)
    if x.lo is None:
        return r
    # The second part may be many times pi as well.
    r = _nearer(r, _reduced(x.lo, 0), x.hi, x.lo)
    if not factors:
        return r
    high, low = two_product(*(factor * 2.0 ** (-BEYOND // 2) for factor in factors))
    far, more = (_beyond(word, quarter) for word, quarter in ((high, _quarter(high, quarters)), (low, None)))
    return r.unless(~(abs(x.hi) < 2.0**1000), _nearer(far, more, high, low))


def _nearer(r: Value, more: Value, high: Value, low: Value) -> Value:
    """The sum of what two words leave, less the nearest multiple of pi."""
    r = r + r.pair(with_sign_of(more.hi, high, low), with_sign_of(more.low, high, low))
    n = (r.hi * (1.0 / pi)).rint()
    return r - r.pair(n) * r.context.constant("PI")


def _beyond(x: Value, quarter: Value | None) -> Value:
    high, low, _ = far_phase(abs(x), quarter, beyond=True)
    return x.context.doubled(x).pair(high, low) * x.context.constant("PI")


def _quarter(x: Value, quarters: int) -> Value | None:
    return x.context.real(0.25 * quarters).copysign(x) if quarters else None


def _reduced(x: Value, quarters: int) -> Value:
    """x + quarters pi/4 less the nearest multiple of pi."""
    context = x.context
    y, quarter = abs(x), _quarter(x, quarters)
    turns = y * (1.0 / pi)
    if quarter is not None:
        turns = turns + quarter
    n = turns.choose(y < NEAR, 0.0).rint()
    if quarter is not None:
        n = n - quarter
    r = context.doubled(y)
    high, middle, low = CONSTANTS["PI"]
    p, e = two_product(n, context.real(high))
    r = r.pair(*two_sum(y, -p)) - e
    p, e = two_product(n, context.real(middle))
    r = r - p
    r = r - n.fma(low, e)
    far = ~(y < NEAR)
    high, low, _ = far_phase(y, quarter)
    return r.unless(far, r.pair(high, low) * context.constant("PI"))
