"""Elementary functions in float32 for results of 16 bits, as they differ from those for results of the word.

An error of 2^-18 is nothing to float16, one of 2^-15 nothing to bfloat16. So polynomials are short, a multiple of ln 2
is subtracted at once (the float32 next to it is right to 2^-28), and powers of two need no care: the results of
float16 are far from the ends of float32's range, and a subnormal float32 has digits enough for a bfloat16.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from fastact.kernels.blocks import error_single
from fastact.kernels.blocks.error_single import on_interval
from fastact.kernels.blocks.single import limited, polynomial
from fastact.kernels.operations import Value, maximum

LN2 = math.log(2)


def parts(t: Value, briefly: bool = True) -> tuple[Value, Value]:
    """2^r and 2^n of a number t = r + n, n being the whole number below it: as a polynomial, which may be a shorter one
    in ``rough``, and as a float. At the lower limit that is the least normal number, which is nothing to any result,
    and at the upper one infinite."""
    context, a = t.context, t.context.arithmetic
    t = limited(limited(t, 1.0 - a.bias, math.inf), -math.inf, a.bias + 1.0)
    n = t.floor()
    moved = n + context.real(1.5 * 2.0**a.mantissa_bits + a.bias)
    return polynomial(t - n, context.table("exp2_above", briefly)), (moved.bits() << a.mantissa_bits).as_real()


def _times(x: Value, factor: float) -> Value:
    """x times a constant; a number known as -y is not made."""
    return -x * -factor if x.node.op == "fneg" else x * factor


def _exponential(x: Value, unit: float, factor: Value | None = None) -> Value:
    _, high = x.context.bounds(x)
    if x.context.arithmetic.wide:
        p, power = parts(_times(x, 1.0 / unit))
        value = p * power
        value = value if factor is None else value * factor
    else:
        # The square of the exponential of x/2, rounded once, is right among the subnormal numbers too, and overflows.
        # So does 2^128 by a polynomial that is not below 1 at 0, as the shorter one is.
        p, power = parts(_times(x, 0.5 / unit), briefly=unit != 1.0 or factor is not None)
        root = p * power
        value = root * root if factor is None else root * (root * factor)
    x.context.note(value, 0.0, 1.0 if high <= 0.0 else math.inf)
    return value


def exp(x: Value) -> Value:
    """2^t with t = x / ln 2."""
    return _exponential(x, LN2)


def exp2(x: Value, factor: Value | None = None) -> Value:
    """2^x, or that times a factor."""
    return _exponential(x, 1.0, factor)


def one_plus_exp(x: Value) -> Value:
    if not x.context.arithmetic.wide:
        return exp(x) + 1.0
    p, power = parts(_times(x, 1.0 / LN2))
    return p.fma(power, 1.0)


def over_one_plus_exp(x: Value, t: Value) -> Value:
    """x/(1 + exp(t)). With the range of float32 all of it times 2^-LIFT: so 1 + exp(t) stays a number while the
    quotient matters; no x that is a bfloat16, subnormal or not, loses a digit by that."""
    a = t.context.arithmetic
    if a.wide:
        return x / one_plus_exp(t)
    small = 2.0**-LIFT
    moved = (-t).fma(-1.0 / LN2, -LIFT) if t.node.op == "fneg" else t.fma(1.0 / LN2, -LIFT)
    p, power = parts(moved)
    return (t.lift(x) * small) / p.fma(power, small)


LIFT = 16


def rsqrt(x: Value) -> Value:
    """1/sqrt(x): float32 has a root for every number of 16 bits."""
    return 1.0 / x.sqrt()


# -- the normal distribution ----------------------------------------------------------------------------------------
def gelu(x: Value, otherwise: Callable[[Value], Value]) -> Value:
    """max(x, 0) - y Phi(-y) with y = |x|."""
    if not (x.arithmetic.alone or x.arithmetic.wide):
        return error_single.gelu(x, otherwise)
    y, tail = (_admissible_tail if x.arithmetic.alone else _normal_tail)(x)
    return (-tail).fma(y, maximum(x, 0.0))


HALF_STEP, PRODUCT_STEP, HALF_REACH = 1.0 / 4.0, 3.0 / 16.0, 5.8
"""The length of intervals for float16, for products in float16, and a y where y Phi(-y) rounds to 0."""
BFLOAT_STEP, BFLOAT_REACH = 0.432, 13.59375
"""The same for bfloat16."""


def _admissible_tail(x: Value) -> tuple[Value, Value]:
    """y held within limits and the probability that a normally distributed number exceeds it, as far as the results of
    gelu show: by the square of a polynomial on each of 24 intervals, for bfloat16, which has many more of the small
    numbers, by the sixteenth power of one on each of 32. Eight bits are right even if terms of that cancel."""
    wide = x.arithmetic.wide
    y = x.size_within(HALF_REACH if wide else BFLOAT_REACH)
    magic = x.context.real(1.5 * 2.0**x.arithmetic.mantissa_bits * (HALF_STEP if wide else 1.0))
    if wide:
        moved = y + magic
        h, name, squares = y - (moved - magic), "gelu_single_half", 1
    else:
        moved = y.fma(1.0 / BFLOAT_STEP, magic)
        h, name, squares = y, "gelu_single_bfloat", 4
    p = on_interval(h, name, moved.bits() & 31, 0)
    for _ in range(squares):
        p = p * p
    return y, p


def _normal_tail(x: Value) -> tuple[Value, Value]:
    """The same to 17 bits for products in float16, by a polynomial on each of 32 intervals."""
    y = x.size_within(HALF_REACH)
    magic = x.context.real(1.5 * 2.0**x.arithmetic.mantissa_bits)
    moved = y.fma(1.0 / PRODUCT_STEP, magic)
    h = (moved - magic).fma(-PRODUCT_STEP, y)
    return y, on_interval(h, "normal_single_half", moved.bits() & 31, 0)
