"""Formulas evaluated as an exact rational number and a rest, for results next to a tie.

x - tanh(x) is x - 1 + 2/(exp(2x) + 1): for x = 20677754 it lies 2^(-6e7) above an odd number that float32 cannot hold,
and no ball of reasonable precision tells on which side. As the exact number x - 1 with a positive rest it is decided
at once. Rational formulas have no rest at all, so that their ties are found even where a ball would round 1/6.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from fastact.accuracy import formula as tree
from fastact.accuracy.balls import COMPARISONS, FUNCTIONS, ONE_PLUS_TANH, Pole, arb, fraction_ball
from fastact.accuracy.formula import Condition, Expression
from fastact.accuracy.limits import below, sign_of
from fastact.accuracy.ulp import Format

Arguments = tuple[Fraction, ...]
NOTHING = arb(0)
SATURATED = 32
"""Beyond this argument tanh, erf and expm1 are written as their limit and a rest."""


class Expansion(NamedTuple):
    """exact + rest."""

    exact: Fraction
    rest: arb

    def ball(self) -> arb:
        """The sum at the context's precision."""
        if self.exact == 0:
            return self.rest
        return fraction_ball(self.exact) if self.rest.is_zero() else fraction_ball(self.exact) + self.rest


Pair = tuple[Expansion, Expansion | None]
"""A value and its slope, None where it does not depend on the variable."""
ExpansionProgram = Callable[[Arguments], Expansion]


def expand(expression: Expression, index: int | None, arguments: Arguments) -> Expansion:
    """The value of an expression, or its derivative with respect to the argument of that index.

    Raises:
        ArithmeticError: undefined, a pole, or undecided at the context's precision.
    """
    value, slope = _pair(expression, arguments, index)
    if index is None:
        return value
    return slope if slope is not None else Expansion(Fraction(0), NOTHING)


def round_expansion(program: ExpansionProgram, arguments: Arguments, form: Format) -> float | None:
    """The correctly rounded result, or None where the rest may reach a rounding boundary that ``exact`` is not on."""
    try:
        exact, rest = program(arguments)
    except ArithmeticError:
        return None
    tilt = sign_of(rest)
    if exact == 0 or (tilt == 0 and not rest.is_zero()):
        return 0.0 if exact == 0 and rest.is_zero() else None
    result, reach = round_fraction(exact, tilt, form)
    if not below(rest, reach.numerator.bit_length() - reach.denominator.bit_length() - 1):
        return None
    # Of a zero the sign remains, which is that of the larger of the two.
    sign = sign_of(Expansion(exact, rest).ball()) if result == 0.0 else 1
    return result if result else math.copysign(0.0, sign) if sign else None


def round_fraction(exact: Fraction, tilt: int, form: Format) -> tuple[float, Fraction]:
    """Round to nearest even a number that lies closely above ``exact`` (tilt 1), below it (-1) or on it (0).

    The second result is how far it may be from ``exact``: the way to the next boundary that ``exact`` is not on.
    """
    size = abs(exact)
    tilt = tilt if exact > 0 else -tilt
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    if size < Fraction(2) ** exponent:
        exponent -= 1
    unit = Fraction(2) ** max(exponent + 1 - form.precision, form.smallest_exponent)
    whole, part = divmod(size, unit)
    half = unit / 2
    reach = unit / 4 if part == half else min(unit / 4, abs(part - half))
    if part > half or (part == half and (tilt > 0 or (tilt == 0 and whole % 2 == 1))):
        whole += 1
    rounded = whole * unit
    result = math.inf if rounded >= Fraction(2) ** form.largest_exponent else float(rounded)
    return -result if exact < 0 else result, reach


def _inexact(ball: arb) -> Expansion:
    return Expansion(Fraction(0), ball)


def _scale(a: Expansion, fraction: Fraction) -> Expansion:
    return Expansion(a.exact * fraction, NOTHING if a.rest.is_zero() else a.rest * fraction_ball(fraction))


def _sum(a: Expansion, b: Expansion) -> Expansion:
    return Expansion(a.exact + b.exact, a.rest + b.rest)


def _product(a: Expansion, b: Expansion) -> Expansion:
    rest = _scale(b, a.exact).rest + _scale(a, b.exact).rest + a.rest * b.rest
    return Expansion(a.exact * b.exact, rest)


def _quotient(a: Expansion, b: Expansion) -> Expansion:
    """(c + r)/(d + s) = c/d + (r - (c/d) s)/(d + s)."""
    if b.exact == 0:
        if b.rest.is_zero():
            raise Pole
        return _inexact(a.ball() / b.rest)
    ratio = a.exact / b.exact
    rest = a.rest - _scale(b, ratio).rest
    return Expansion(ratio, NOTHING if rest.is_zero() else rest / b.ball())


def _power(a: Expansion, count: int) -> Expansion:
    result = Expansion(Fraction(1), NOTHING)
    for _ in range(abs(count)):
        result = _product(result, a)
    return result if count >= 0 else _quotient(Expansion(Fraction(1), NOTHING), result)


def _compare(relation: Callable[[arb, arb], bool], a: Expansion, b: Expansion) -> bool:
    exact, rest = _sum(a, _scale(b, Fraction(-1)))
    if rest.is_zero():
        return relation(arb((exact > 0) - (exact < 0)), NOTHING)
    return relation(Expansion(exact, rest).ball(), NOTHING)


def _tanh(u: arb) -> Expansion | None:
    if not abs(u) > SATURATED:
        return None
    rest = 2 / ((2 * abs(u)).exp() + 1)
    return Expansion(Fraction(1), -rest) if u > 0 else Expansion(Fraction(-1), rest)


def _one_plus_tanh(u: arb) -> Expansion | None:
    return Expansion(Fraction(2), -2 / ((2 * u).exp() + 1)) if u > SATURATED else None


def _erf(u: arb) -> Expansion | None:
    if not abs(u) > SATURATED:
        return None
    rest = FUNCTIONS["erfc"].value(abs(u))
    return Expansion(Fraction(1), -rest) if u > 0 else Expansion(Fraction(-1), rest)


def _erfc(u: arb) -> Expansion | None:
    return Expansion(Fraction(2), -FUNCTIONS["erfc"].value(-u)) if u < -SATURATED else None


def _expm1(u: arb) -> Expansion | None:
    return Expansion(Fraction(-1), u.exp()) if u < -SATURATED else None


SATURATION: dict[Callable[[arb], arb], Callable[[arb], Expansion | None]] = {
    FUNCTIONS["tanh"].value: _tanh,
    FUNCTIONS["erf"].value: _erf,
    FUNCTIONS["erfc"].value: _erfc,
    FUNCTIONS["expm1"].value: _expm1,
    ONE_PLUS_TANH.value: _one_plus_tanh,
}


def _call(node: tree.Call, u: Expansion) -> Expansion:
    if node.function is FUNCTIONS["abs"].value:
        return _scale(u, Fraction(-1)) if _compare(COMPARISONS["Lt"], u, Expansion(Fraction(0), NOTHING)) else u
    ball = u.ball()
    saturated = SATURATION[node.function](ball) if node.function in SATURATION else None
    return _inexact(node.function(ball)) if saturated is None else saturated


def _holds(condition: Condition, arguments: Arguments) -> bool:
    match condition:
        case tree.Comparison(operands=operands, relations=relations):
            values = [_pair(operand, arguments, None)[0] for operand in operands]
            return all(_compare(relation, values[i], values[i + 1]) for i, relation in enumerate(relations))
        case tree.Logical(conditions=conditions, conjunction=conjunction):
            return (all if conjunction else any)(_holds(part, arguments) for part in conditions)
        case tree.Not(condition=inner):
            return not _holds(inner, arguments)
    raise TypeError(condition)


def _plus(a: Expansion | None, b: Expansion | None) -> Expansion | None:
    return b if a is None else a if b is None else _sum(a, b)


def _times(a: Expansion | None, b: Expansion) -> Expansion | None:
    return None if a is None else _product(a, b)


def _pair(node: Expression, arguments: Arguments, index: int | None) -> Pair:
    """Value and slope of a node; the slope is None throughout if there is no index."""
    minus = Fraction(-1)
    match node:
        case tree.Rational(fraction=fraction):
            return Expansion(fraction, NOTHING), None
        case tree.Variable(index=place):
            return Expansion(arguments[place], NOTHING), Expansion(Fraction(1), NOTHING) if place == index else None
        case tree.Constant():
            return _inexact(node.value(())), None
        case tree.Negative(operand=operand):
            a, da = _pair(operand, arguments, index)
            return _scale(a, minus), None if da is None else _scale(da, minus)
        case tree.Scaled(operand=operand, fraction=fraction):
            a, da = _pair(operand, arguments, index)
            return _scale(a, fraction), None if da is None else _scale(da, fraction)
        case tree.Choice(condition=condition, true=true, false=false):
            return _pair(true if _holds(condition, arguments) else false, arguments, index)
        case tree.Call(operand=operand):
            u, du = _pair(operand, arguments, index)
            value = _call(node, u)
            return value, None if du is None else _product(_inexact(node.slope(u.ball(), value.ball())), du)
        case tree.Binary(left=left, right=right):
            return _binary(node, _pair(left, arguments, index), _pair(right, arguments, index))
    raise TypeError(node)


def _binary(node: tree.Binary, left: Pair, right: Pair) -> Pair:
    (a, da), (b, db) = left, right
    match node:
        case tree.Sum():
            return _sum(a, b), _plus(da, db)
        case tree.Difference():
            negative = None if db is None else _scale(db, Fraction(-1))
            return _sum(a, _scale(b, Fraction(-1))), _plus(da, negative)
        case tree.Product():
            return _product(a, b), _plus(_times(da, b), _times(db, a))
        case tree.Quotient():
            ratio = _quotient(a, b)
            change = _plus(da, _times(db, _scale(ratio, Fraction(-1))))
            return ratio, None if change is None else _quotient(change, b)
        case tree.Extremum(greater=greater):
            return left if _compare(COMPARISONS["Gt" if greater else "Lt"], a, b) else right
        case tree.Power() if b.rest.is_zero() and b.exact.denominator == 1 and abs(b.exact) <= 64 and db is None:
            count = int(b.exact)
            slope = _times(da, _scale(_power(a, count - 1), b.exact)) if count else None
            return _power(a, count), slope
    raise ArithmeticError("no expansion of a general power")
