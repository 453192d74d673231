"""Elementary functions in float32 for results of 16 bits, as they differ from those for results of the word.

An error of 2^-18 is nothing to float16, one of 2^-15 nothing to bfloat16. So polynomials are short, a multiple of ln 2
is subtracted at once (the float32 next to it is right to 2^-28), and powers of two need no care: the results of
float16 are far from the ends of float32's range, and a subnormal float32 has digits enough for a bfloat16.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from fastact.kernels.blocks.error_single import on_interval
from fastact.kernels.blocks.single import limited, polynomial
from fastact.kernels.operations import Value, maximum, minimum

LN2 = math.log(2)


def reduced(x: Value, unit: float, low: float, high: float, ahead: int = 0) -> tuple[Value, Value, float]:
    """r, 2^(n + ahead) and a sign, with sign r = x - n ``unit``, n being the whole number next to x/unit, for an x held
    between two limits. Between them n + ahead is the exponent of a normal number, or one less, which gives 0, or one
    more, which gives infinity.

    The bias of exponents is pushed into the low bits with n. A number known as -y is not made: r is y + n unit then."""
    context, a = x.context, x.context.arithmetic
    sign = 1.0
    if x.node.op == "fneg":
        sign, x, low, high = -1.0, -x, -high, -low
    x = limited(x, low, high)
    magic = context.real(1.5 * 2.0**a.mantissa_bits + (a.bias + ahead))
    moved = x.fma(sign / unit, magic)
    return (moved - magic).fma(-sign * unit, x), (moved.bits() << a.mantissa_bits).as_real(), sign


def powers(r: Value, name: str, scale: float = 1.0) -> Value:
    """The exponential of the reduced argument, or that of r times a scale."""
    table = r.context.table(name)
    return polynomial(r, (1.0, *(c * scale ** (k + 1) for k, c in enumerate(table))))


def _exponential(x: Value, name: str, unit: float, factor: Value | None = None) -> Value:
    a = x.context.arithmetic
    _, high = x.context.bounds(x)
    if a.wide:
        reach = -a.tail / LN2 * unit
        r, power, sign = reduced(x, unit, -reach, reach)
        value = powers(r, name, sign) * power
        value = value if factor is None else value * factor
    else:
        # The square of the exponential of x/2, rounded once, is right among the subnormal numbers too, and overflows.
        # Up to here the root is a normal number: a subnormal one would take some processors many times as long.
        reach = 2.0 * (a.bias - 2) * unit
        r, power, sign = reduced(x, 2.0 * unit, -reach, reach)
        root = powers(r, name, 0.5 * sign) * power
        value = root * root if factor is None else root * (root * factor)
    x.context.note(value, 0.0, 1.0 if high <= 0.0 else math.inf)
    return value


def exp(x: Value) -> Value:
    """2^n exp(r) with n = rint(x / ln 2), r = x - n ln 2."""
    return _exponential(x, "exp", LN2)


def exp2(x: Value, factor: Value | None = None) -> Value:
    """2^n 2^r with n = rint(x), or that times a factor."""
    return _exponential(x, "exp2", 1.0, factor)


def one_plus_exp(x: Value) -> Value:
    return exp(x) + 1.0


def over_one_plus_exp(x: Value, t: Value) -> Value:
    """x/(1 + exp(t)). With the range of float32 all of it times 2^-LIFT: so 1 + exp(t) stays a number while the
    quotient matters; no x that is a bfloat16, subnormal or not, loses a digit by that."""
    a = t.context.arithmetic
    if a.wide:
        return x / one_plus_exp(t)
    # At the upper limit the power is infinite, and the quotient 0: among the subnormal numbers it would take long.
    r, power, sign = reduced(t, LN2, -ABOVE, -a.tail, -LIFT)
    small = 2.0**-LIFT
    return (t.lift(x) * small) / powers(r, "exp", sign).fma(power, small)


LIFT = 16
ABOVE = 76.0
"""For -t up to this 2^-LIFT exp(-t) is still a normal number, and nothing beside 2^-LIFT."""


def rsqrt(x: Value) -> Value:
    """1/sqrt(x): float32 has a root for every number of 16 bits."""
    return 1.0 / x.sqrt()


# -- the normal distribution ----------------------------------------------------------------------------------------
def gelu(x: Value, _: Callable[[Value], Value]) -> Value:
    """max(x, 0) - y Phi(-y) with y = |x|."""
    y, tail = _normal_tail(abs(x))
    return (-y).fma(tail, maximum(x, 0.0))


HALF_STEP, HALF_REACH = 3.0 / 16.0, 5.8
"""The length of intervals for float16, and a y where y Phi(-y) rounds to 0."""
BFLOAT_STEP, BFLOAT_REACH = 7.0 / 16.0, 13.59375
"""The same for bfloat16."""


def _normal_tail(y: Value) -> tuple[Value, Value]:
    """y held within limits and the probability that a normally distributed number exceeds it, by a polynomial on each
    of 32 intervals; for bfloat16, which has many more of the small numbers, by one for the eighth root of it."""
    wide = y.arithmetic.wide
    step, reach = (HALF_STEP, HALF_REACH) if wide else (BFLOAT_STEP, BFLOAT_REACH)
    y = minimum(y, reach)
    magic = y.context.real(1.5 * 2.0**y.arithmetic.mantissa_bits)
    moved = y.fma(1.0 / step, magic)
    h = (moved - magic).fma(-step, y)
    p = on_interval(h, "normal_single_half" if wide else "normal_single_bfloat", moved.bits() & 31, 0)
    if wide:
        return y, p
    for _ in range(3):
        p = p * p
    return y, p
