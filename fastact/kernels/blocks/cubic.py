"""Odd cubic polynomials for the arguments of exponentials, whose absolute errors become relative ones."""

from __future__ import annotations

from fractions import Fraction

from fastact.kernels.blocks.exactly import two_product
from fastact.kernels.operations import Value


def rounded(constant: Fraction, context: Value) -> float:
    """A constant as the word that stands for it."""
    return float.fromhex(context.real(constant).node.data)


def short_enough(a: Fraction, context: Value) -> Fraction:
    """A number near a: a multiple of the last place of a + b y^2, as long as that is below 128, which makes the
    difference of the two exact."""
    quantum = 2.0 ** (6 - context.arithmetic.mantissa_bits)
    return Fraction(round(a / Fraction(quantum)) * quantum)


def minus_cubic(y: Value, a: Fraction, b: Fraction) -> Value:
    """-y (a + b y^2) for y >= 0 and positive a and b, as two words where its rounding would count. The first word of a
    is short."""
    context = y.context
    square = y * y
    if context.arithmetic.pair:
        result = -(y * (square * b + a))
        context.note(result, at_most=0.0)
        return result
    if context.arithmetic.careless:
        return (y * square).fma(-b, y * -a)
    a_high, b_high = float(short_enough(a, context)), rounded(b, context)
    slope = square.fma(b_high, a_high)
    rest = square.fma(b_high, a_high - slope) + square.fma(b - Fraction(b_high), a - Fraction(a_high))
    rest = y.fma(y, -square).fma(b_high, rest)
    high, low = two_product(y, -slope)
    result = context.doubled(high).pair(high, low - y * rest)
    context.note(result, at_most=0.0)
    return result
