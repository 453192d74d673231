"""Operations that bodies of programs over rows need besides those of `fastact.kernels.operations`.

Sums and other numbers of a row are held in float64, or in pairs of words where the elements are; in elements of one
float32 they come as a pair of such words, of which most need the first only: `operations.narrowed`.
"""

from __future__ import annotations

from typing import Any

from fastact.kernels import operations as op
from fastact.kernels.operations import Value

REACH = 700.0
"""Exponentials of numbers beyond are nothing, or no results, in formats narrower than float64."""
LIFT = 200
"""A power of two by which pairs are raised above the subnormal numbers until they are rounded."""


def _shift(a: Any) -> int:
    """Exponentials over 2^k are held times 2^shift: so are all normal numbers that a result may show."""
    if a.wide:
        return 0
    return 64 if a.word == "f32" else 500


def reach(x: Value) -> float:
    """A number t such that exp(-t), also as many times as there may be elements, is nothing in the results' format."""
    a = x.context.elements
    return 131.0 if a.wide or a.word == "f32" else 800.0


def exponents_from(x: Value, own: bool = False) -> Value:
    """Where the exponents of `exp_over` begin for exponentials of about exp(x); ``own``: of numbers of the row."""
    context = op.plain(x).context
    return context.blocks.exponents_from(op.plain(x), context.arithmetic if own else context.elements)


def exp_over(x: Value, start: Value, briefly: bool = False) -> Value:
    """exp(x) over the power of two that ``start`` stands for, times 2^shift; ``briefly``: to not many more digits than
    results have, if these are not as wide as words."""
    context = op.plain(x).context
    shift = _shift(context.elements)
    if context.arithmetic.pair:
        return context.blocks.exp_over(op.plain(x), op.word(start), shift)
    return context.blocks.exp_over(op.plain(x), op.word(start), shift, briefly)


def exp_briefly(x: Value) -> Value:
    """exp(x) to not many more digits than results have, where words are wider than these."""
    context, a = op.plain(x).context, op.plain(x).context.arithmetic
    if not (a.wide and a.word == "f64"):
        return op.exp(x)
    return context.blocks.exp_over(op.clip(x, -REACH, REACH), context.real(1.5 * 2.0**a.mantissa_bits), 0, True)


def lifted_inverse(total: Value) -> Value:
    """1/total for `lowered_product`."""
    inverse = 1.0 / total
    return inverse * 2.0**LIFT if total.context.arithmetic.pair else inverse


def lowered_product(e: Value, inverse: Value) -> Value:
    """e times the inverse, rounded but once where that is subnormal."""
    product, context = e * inverse, e.context
    if not context.arithmetic.pair:
        return product
    return context.scaled(product, context.integer(-LIFT), True)


def widened(x: Value) -> Value:
    """x as float64 where it is one word, for squares and products that are to be added."""
    return x if hasattr(x, "hi") else x.convert("f64")


def minus(x: Value, t: Value) -> Value:
    """x less a number of the row, with all the digits that this has."""
    if hasattr(t, "hi") and not x.context.arithmetic.pair:
        return (x - t.hi) - t.low
    return x - t


def wide_minus(x: Value, t: Value) -> Value:
    """The same, widened before anything is rounded."""
    if hasattr(t, "hi") and not x.context.arithmetic.pair:
        return (widened(x) - t.hi.convert("f64")) - t.low.convert("f64")
    return widened(x - t)


def with_infinite(total: Value, a: Value, b: Value) -> Value:
    """The total a + b, or a - (-b); where an infinity or no number is among them, which pairs of words do not bear, as
    single words have it."""
    if not total.context.arithmetic.pair:
        return total
    whole = op.word(a) + op.word(b)
    return op.where(op.absolute(whole) < op.INFINITY, total, whole)


def power_over(a: Value) -> Value:
    """A power of two near 1/a for a >= 0, such that neither it nor squares of products with it leave the range."""
    word = op.word(a)
    arithmetic = word.context.arithmetic
    bias, bits = arithmetic.bias, arithmetic.mantissa_bits
    reach = word.context.elements.bias * 21 // 22
    exponent = word.bits().shift_right_logical(bits)
    exponent = exponent.choose(exponent.compare("sgt", bias - reach), bias - reach)
    exponent = exponent.choose(exponent.compare("slt", bias + reach), bias + reach)
    return ((2 * bias - exponent) << bits).as_real()


def tolerated(x: Value) -> float:
    """How often the square of the mean may exceed the variance, so that the sums' errors show in no result."""
    a = x.context.elements
    return 2.0**16 if a.pair or a.wide or a.word == "f32" else 0.0
