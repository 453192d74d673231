"""Products of an activation, or of its gradient, with further inputs, rounded but once.

They go wrong in two places. Where one number is as wide as a result, a rate below the normal numbers has lost digits
that a large factor brings to light, and two factors may overflow before a small rate is multiplied in: such elements,
which are rare, are computed in the next wider arithmetic. And where the rate is a constant to more digits than any
number has, next to 0 and where it saturates, products are often ties between two results, which what is left of the
rate has to decide.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from fastact.kernels import operations as op
from fastact.kernels.operations import Value

INFINITY = float("inf")
MODERATE = 2.0**24
"""Times such a number in float32, what is taken for 0 in results without a factor is still 0."""
LOW, LIFT = 2.0**-60, 2.0**60
"""Values to be lifted, and by how much."""
LEAN = 2.0**-60
"""By how much a tie is moved: less than what lies between a product of two inputs times a rate at 0, a fraction of
small numbers, and a boundary between two results that it is not on."""


@dataclass(frozen=True)
class Rate:
    """What is known of the factor A of a product A p. ``linear``: A is the rate times a, else the rate itself. For
    |a| < ``tiny`` the rate is ``at_zero`` and a little more or less, as the sign of a has it, or less if it is
    ``even``; above ``saturated`` it is 1, and ``beyond`` tells whether a little more (1) or less (-1). Where nothing
    is known, ties are decided without."""

    linear: bool = False
    at_zero: Fraction | None = None
    tiny: float = 2.0**-70
    even: bool = False
    saturated: float = INFINITY
    beyond: int = 1
    closed: float = -0.0
    """A at minus infinity."""
    steep: bool = False
    """Whether A falls so fast that numbers next to the normal ones' end are usual."""


def product(
    value: Value,
    a: Value,
    factors: tuple[Value, ...],
    rate: Rate,
    body: Callable[..., Value],
    inputs: tuple[Value, ...],
    left: Value | None = None,
) -> Value:
    """``value``, a function of a, times the factors; the same as ``body(*inputs)``. ``left``: what the rounding of the
    last factor left, of which single words make use."""
    context, arithmetic = a.context, a.context.arithmetic
    p = functools.reduce(operator.mul, factors)
    if arithmetic.guarded:
        result = value * p
        context.factored(result, value, a, factors)
        return result
    if arithmetic.pair and hasattr(a, "mantissa"):
        return _apart(value, a, factors, rate, p)
    if arithmetic.pair or arithmetic.wide:
        # So far out, where activations are held to what is not 0 yet, infinite factors meet a 0.
        value = op.where(op.plain(a).equals(-INFINITY), op.plain(value) * 0.0, value)
    if arithmetic.pair:
        return _decisive(value, a, factors, rate)
    if arithmetic.wide:
        return value * p
    value = context.word_of(value)
    single = arithmetic.word == "f32"
    lost = (abs(value) < (2.0**-120 if single else 2.0**-1000)) & ~a.equals(0.0)
    result = value * p
    if len(factors) > 1:
        lost = lost | (abs(p) > (2.0**120 if single else 2.0**1000))
    if (len(factors) > 1 or left is not None) and not arithmetic.careless:
        result = _mended(value, p, factors, left, rate.steep)
    return result.unless(lost, context.wider(body, *inputs))


def _mended(value: Value, p: Value, factors: tuple[Value, ...], left: Value | None, steep: bool) -> Value:
    """The value times the product p of factors, what the roundings of that and of the last of them left included;
    without any, the zero is added that leaves all zeros their signs. ``steep``: small values are lifted, lest their
    products with what is left underflow, which takes long."""
    if len(factors) > 1:
        first, second = map(op.plain, factors)
        rest = op.fma(first, second, -p)
        rest = rest if left is None else op.fma(first, left, rest)
    else:
        rest = left
    if not steep:
        return op.fma(value, p, op.where(rest.equals(0.0), -0.0, value * rest))
    low = abs(value) < LOW
    value = value * op.where(low, LIFT, 1.0)
    return op.fma(value, p, op.where(rest.equals(0.0), -0.0, value * rest)) * op.where(low, 1.0 / LIFT, 1.0)


def _apart(value: Value, a: Value, factors: tuple[Value, ...], rate: Rate, p: Value) -> Value:
    """The value times the product p of the factors, in pairs of words that hold their power of two apart: of infinite
    products these make no number, and of zeros none that has their sign."""
    x, mantissa = op.word(a), op.word(value.mantissa if hasattr(value, "mantissa") else value)
    # A(a), but of what is neither zero nor infinite the sign alone.
    word = op.where(x.equals(INFINITY), x if rate.linear else op.word(value), mantissa.lift(1.0).copysign(mantissa))
    word, odd = op.where(x.equals(-INFINITY), rate.closed, word), abs(x).equals(INFINITY)
    if rate.linear:
        word, odd = op.where(x.equals(0.0), x, word), odd | x.equals(0.0)
    for factor in map(op.word, factors):
        usual = (abs(factor) < INFINITY) & ~factor.equals(0.0)
        word, odd = word * op.where(usual, factor.lift(1.0).copysign(factor), factor), odd | ~usual
    return value.context.word_of(value * p).unless(odd, word)


def times(g: Value, gradient: Value) -> Value:
    """g times a gradient. Of infinite products pairs of words make no number, and of zeros none that has their sign."""
    arithmetic = op.plain(g).context.arithmetic
    if not arithmetic.pair or arithmetic.guarded or hasattr(g, "plain"):
        return g * gradient
    size, y = abs(op.word(g)), op.doubled(g * gradient)
    y = y.pair(y.hi, y.low)
    return y.choose((size > 0.0) & (size < INFINITY), op.word(g) * op.word(gradient))


def times_gradient(g: Value, gradient: Value, body: Callable[..., Value], inputs: tuple[Value, ...]) -> Value:
    """g times a gradient; the same as ``body(*inputs)``. Where one number is as wide as a result, gradients that have
    left the normal numbers, and that g may bring back, are computed in the next wider arithmetic."""
    context, arithmetic = op.plain(g).context, op.plain(g).context.arithmetic
    if arithmetic.pair or arithmetic.wide:
        context.rate = gradient
        return times(g, gradient)
    factor, limit = op.plain(g), 2.0**120 if arithmetic.word == "f32" else 2.0**1000
    wider = context.wider(body, *map(op.plain, inputs))
    if hasattr(gradient, "mantissa"):
        if gradient.far is None:
            return _around(gradient, factor).unless(abs(factor) > MODERATE, wider)
        return (factor * gradient.usual()).unless(gradient.far, wider)
    value = context.word_of(gradient)
    left = (abs(value) < 1.0 / limit) & (abs(factor) > 1.0) | (abs(value) > limit)
    return (factor * value).unless(left, wider)


def next_to_zero(
    x: Value, slope: Value, small: Callable[[], Value], at_zero: float, rest: Callable[[], Value]
) -> Value:
    """A gradient; of a product in double-double arithmetic, where x is so small that what it differs in from
    ``at_zero`` is the word ``rest``, the sum of both. So ties of products are decided."""
    arithmetic = op.plain(x).context.arithmetic
    if not (arithmetic.decisive and arithmetic.products):
        return slope
    line = op.plain(x).pair(op.word(x).lift(at_zero), rest())
    return op.where(small(), line, slope)


def _around(number: Value, factor: Value) -> Value:
    """The product of a number that is not above 1, and holds its power of two apart, with a word: half of the power
    before it, half after. To small products the smallest normal number is added, and its bits are subtracted from those
    of the sum: no instruction meets a subnormal number, which takes some processors many times as long."""
    from fastact.kernels.blocks.single import power_of_two

    exponent, a = number.reachable(), number.context.arithmetic
    half = exponent >> 1
    product, rest = number.mantissa * power_of_two(half) * factor, exponent - half
    small = abs(product) < power_of_two((1 - a.bias) - rest)
    added = factor.lift(2.0 ** (1 - a.bias)).choose(small, 0.0).copysign(product)
    raised = product.fma(power_of_two(rest), added)
    return (raised.bits() - number.context.integer(1 << a.mantissa_bits).choose(small, 0)).as_real()


def _decisive(value: Value, a: Value, factors: tuple[Value, ...], rate: Rate) -> Value:
    """The product in pairs of words that are to decide a rounding."""
    whole = [op.doubled(factor) for factor in factors]
    y = functools.reduce(operator.mul, whole, op.doubled(value))
    p = functools.reduce(operator.mul, [*whole, op.doubled(a)] if rate.linear else whole)
    x = op.word(a)
    one = x.lift(1.0)
    if rate.saturated < INFINITY:
        y = op.where(x > rate.saturated, p * p.pair(one, x.lift(LEAN * rate.beyond)), y)
    if rate.at_zero is not None:
        line = p * float(rate.at_zero.numerator) / float(rate.at_zero.denominator)
        lean = x.lift(-LEAN) if rate.even else x.lift(LEAN).copysign(x)
        line = line * p.pair(one, op.where(x.equals(0.0), 0.0, lean))
        y = op.where(abs(x) < rate.tiny, line, y)
    # An infinite product has no remainder.
    rounded = functools.reduce(operator.mul, map(op.word, factors), op.word(value))
    return y.choose(abs(rounded) < INFINITY, rounded)
