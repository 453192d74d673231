"""Formulas evaluated on arrays where that leaves no error, so that ties are settled by millions.

(x + 1)/2 has a tie between two float32 numbers for every second x, and no ball tells a tie from what lies beside it.
Here values are float64 numbers over a common whole divisor. Each sum, product and quotient is computed along with the
error of its rounding; an element of which one of these errors is not 0 is given up, so that what remains is exact. As
in `fastact.accuracy.expansion`, a saturated function is its limit with a rest, of which the sign and a bound are kept:
x - tanh(x) is x - 1 and a little more. What is given up is left to ball arithmetic.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from fractions import Fraction
from math import gcd
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastact.accuracy import formula as tree
from fastact.accuracy.balls import COMPARISONS, FUNCTIONS, ONE_PLUS_TANH
from fastact.accuracy.expansion import SATURATED
from fastact.accuracy.formula import Condition, Expression
from fastact.accuracy.ulp import Doubles, Format, is_midpoint, nearest

Flags = NDArray[np.bool_]
BLOCK = 1 << 15
"""Elements evaluated at a time."""
LEAST, MOST = 2.0**-900, 2.0**900
"""Products of a size between these, and their errors, are normal numbers."""
MORE = 1.0 + 2.0**-40
"""Makes good for the roundings of a bound."""


class Exact(NamedTuple):
    """number/divisor and a rest of the sign ``tilt``, 0 if there is none, smaller than ``size``; where ``known``."""

    number: Any
    divisor: int
    known: Any
    tilt: Any
    size: Any

    def quotient(self) -> Doubles:
        """The number over the divisor, rounded."""
        return np.asarray(self.number / self.divisor)


Pair = tuple[Exact, Exact | None]
"""A value and its slope, None where it does not depend on the variable."""


def rounded(
    expression: Expression, index: int | None, columns: list[Doubles], form: Format
) -> tuple[Doubles, NDArray[np.bool_]]:
    """The correctly rounded values of an expression, or of its derivative with respect to the argument of that index,
    and of which elements they are known. Zeros are not: their signs are another matter."""
    length = max(column.size for column in columns)
    result, known = np.full(length, np.nan), np.zeros(length, dtype=np.bool_)
    with np.errstate(all="ignore"):
        for start in range(0, length, BLOCK):
            part = slice(start, start + BLOCK)
            arguments = [column if column.size == 1 else column[part] for column in columns]
            value, slope = _pair(expression, arguments, index)
            found = value if index is None else slope
            if found is not None:
                result[part], known[part] = _round(found, form)
    return result, known


def _round(a: Exact, form: Format) -> tuple[Doubles, Flags]:
    """The value lies between two bounds, or is both; where these round to one number it does as well. A value that lies
    on one side of a tie does not round to the other."""
    q, (_, rest) = a.quotient(), _product(a.quotient(), a.divisor)
    exact = (q * a.divisor == a.number) & (rest == 0) & a.known & (np.abs(q) > LEAST) & (np.abs(q) < MOST)
    above, below = a.tilt > 0, a.tilt < 0
    tie = is_midpoint(q, form)
    least = np.where(below, np.nextafter(q - a.size, -np.inf), np.where(above & tie, np.nextafter(q, np.inf), q))
    most = np.where(above, np.nextafter(q + a.size, np.inf), np.where(below & tie, np.nextafter(q, -np.inf), q))
    first, last = nearest(least, form), nearest(most, form)
    if form.name == "float64":  # a number between two of them has no bounds here that are nearer
        exact = exact & (a.tilt == 0)
    return first, exact & (first == last) & (first != 0)


# -- arithmetic with the errors of its roundings --------------------------------------------------------------------
def _sum(a: Any, b: Any) -> tuple[Any, Any]:
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _split(a: Any) -> tuple[Any, Any]:
    t = a * 134217729.0
    high = t - (t - a)
    return high, a - high


def _product(a: Any, b: Any) -> tuple[Any, Any]:
    """a b and its error; NaN for the error of a product that is too small or too large to tell."""
    p = a * b
    (a, a_low), (b, b_low) = _split(a), _split(b)
    e = ((a * b - p) + a * b_low + a_low * b) + a_low * b_low
    size = np.abs(p)
    nothing = (p == 0) & ((a == 0) & (a_low == 0) | (b == 0) & (b_low == 0))
    return p, np.where(nothing | ((size > LEAST) & (size < MOST)), e, np.nan)


def _constant(fraction: Fraction) -> Exact:
    number = float(fraction.numerator)
    short = abs(fraction.numerator) < 1 << 53 and fraction.denominator < 1 << 53
    if fraction.denominator & (fraction.denominator - 1) == 0:
        return Exact(float(fraction), 1, Fraction(float(fraction)) == fraction, 0, 0.0)
    return Exact(number, fraction.denominator, short, 0, 0.0)


UNKNOWN = Exact(np.nan, 1, False, 0, 0.0)
NOTHING = _constant(Fraction(0))


def _scale(a: Exact, fraction: Fraction) -> Exact:
    """a times a constant."""
    divisor, size = a.divisor * fraction.denominator, a.size * (abs(float(fraction)) * MORE)
    p, e = _product(a.number, float(fraction.numerator))
    short = divisor < 1 << 53 and abs(fraction.numerator) < 1 << 53
    return Exact(p, divisor, a.known & (e == 0) & short, a.tilt * ((fraction > 0) - (fraction < 0)), size)


def _over(a: Exact, divisor: int) -> Exact:
    """The same with a multiple of the divisor."""
    p, e = _product(a.number, float(divisor // a.divisor))
    return a._replace(number=p, divisor=divisor, known=a.known & (e == 0) & (divisor < 1 << 53))


def _alike(a: Exact, b: Exact) -> tuple[Exact, Exact]:
    if a.divisor == b.divisor:
        return a, b
    common = a.divisor // gcd(a.divisor, b.divisor) * b.divisor
    return _over(a, common), _over(b, common)


def _add(a: Exact, b: Exact) -> Exact:
    a, b = _alike(a, b)
    s, e = _sum(a.number, b.number)
    tilt = np.where(a.tilt == 0, b.tilt, a.tilt)
    known = a.known & b.known & (e == 0) & (a.tilt * b.tilt >= 0)
    return Exact(s, a.divisor, known, tilt, (a.size + b.size) * MORE)


def _multiply(a: Exact, b: Exact) -> Exact:
    """Of the two one at most may have a rest."""
    p, e = _product(a.number, b.number)
    divisor = a.divisor * b.divisor
    known = a.known & b.known & (e == 0) & ((a.tilt == 0) | (b.tilt == 0)) & (divisor < 1 << 53)
    tilt = a.tilt * np.sign(b.number) + b.tilt * np.sign(a.number)
    size = (a.size * np.abs(b.quotient()) + b.size * np.abs(a.quotient())) * MORE
    return Exact(p, divisor, known, np.where(known, tilt, 0), size)


def _divide(a: Exact, b: Exact) -> Exact:
    """By what has no rest."""
    p, e = _product(a.number, float(b.divisor))
    q = p / b.number
    back, rest = _product(q, b.number)
    known = a.known & b.known & (e == 0) & (rest == 0) & (back == p) & (b.number != 0) & (b.tilt == 0)
    return Exact(q, a.divisor, known, a.tilt * np.sign(b.number), a.size / np.abs(b.quotient()) * MORE)


def _choose(condition: Any, a: Exact, b: Exact) -> Exact:
    a, b = _alike(a, b)
    fields = (np.where(condition, x, y) for x, y in zip(a[2:], b[2:], strict=True))
    return Exact(np.where(condition, a.number, b.number), a.divisor, *fields)


def _power(a: Exact, count: int) -> Exact:
    result = _constant(Fraction(1))
    for _ in range(abs(count)):
        result = _multiply(result, a)
    return result if count >= 0 else _divide(_constant(Fraction(1)), result)


# -- conditions -----------------------------------------------------------------------------------------------------
RELATIONS: dict[Any, Callable[[Any, Any], Any]] = {
    COMPARISONS["Lt"]: operator.lt,
    COMPARISONS["LtE"]: operator.le,
    COMPARISONS["Gt"]: operator.gt,
    COMPARISONS["GtE"]: operator.ge,
    COMPARISONS["Eq"]: operator.eq,
    COMPARISONS["NotEq"]: operator.ne,
}


def _compare(relation: Callable[[Any, Any], Any], a: Exact, b: Exact) -> tuple[Any, Any]:
    """Of numbers without rests: whether it holds, and where that is known."""
    a, b = _alike(a, b)
    return relation(a.number, b.number), a.known & b.known & (a.tilt == 0) & (b.tilt == 0)


def _holds(condition: Condition, arguments: list[Doubles]) -> tuple[Any, Any]:
    match condition:
        case tree.Comparison(operands=operands, relations=relations):
            values = [_pair(operand, arguments, None)[0] for operand in operands]
            parts = [_compare(RELATIONS[r], values[i], values[i + 1]) for i, r in enumerate(relations)]
            conjunction = True
        case tree.Logical(conditions=conditions, conjunction=conjunction):
            parts = [_holds(part, arguments) for part in conditions]
        case tree.Not(condition=inner):
            held, known = _holds(inner, arguments)
            return np.logical_not(held), known
        case _:
            raise TypeError(condition)
    held, known = parts[0]
    for other, sure in parts[1:]:
        held, known = (held & other if conjunction else held | other), known & sure
    return held, known


# -- functions ------------------------------------------------------------------------------------------------------
def _saturation(above: float | None, below: float | None, rest: float, up: int) -> Callable[[Exact], Exact]:
    """The limits for large and for small arguments, None where there is none, and a bound of the rest. Values lie on
    the side ``up`` of the lower limit, on the other side of the upper one."""

    def function(u: Exact) -> Exact:
        large, small = u.number > SATURATED * float(u.divisor), u.number < -SATURATED * float(u.divisor)
        known = u.known & (u.tilt == 0) & ((large & (above is not None)) | (small & (below is not None)))
        number = np.where(large, above or 0.0, below or 0.0)
        return Exact(number, 1, known, np.where(large, -up, up), rest)

    return function


TINY = 2.0**-91
"""Above 2 exp(-2 SATURATED), from which 2/(exp(2 u) + 1) differs by less than it has; erfc(SATURATED) is far less."""
CALLS: dict[Any, Callable[[Exact], Exact]] = {
    FUNCTIONS["tanh"].value: _saturation(1.0, -1.0, TINY, 1),
    FUNCTIONS["erf"].value: _saturation(1.0, -1.0, TINY, 1),
    FUNCTIONS["erfc"].value: _saturation(None, 2.0, TINY, -1),
    FUNCTIONS["expm1"].value: _saturation(None, -1.0, 2.0**-46, 1),
    ONE_PLUS_TANH.value: _saturation(2.0, None, TINY, 1),
}


def _call(node: tree.Call, u: Exact, du: Exact | None) -> Pair:
    if node.function is FUNCTIONS["abs"].value:
        sign = np.sign(u.number)
        known = u.known & (sign != 0)
        value = Exact(np.abs(u.number), u.divisor, known, u.tilt * sign, u.size)
        return value, None if du is None else _multiply(Exact(sign, 1, known, 0, 0.0), du)
    value = CALLS[node.function](u) if node.function in CALLS else UNKNOWN
    return value, None if du is None else UNKNOWN


# -- the tree -------------------------------------------------------------------------------------------------------
def _plus(a: Exact | None, b: Exact | None) -> Exact | None:
    return b if a is None else a if b is None else _add(a, b)


def _times(a: Exact | None, b: Exact) -> Exact | None:
    return None if a is None else _multiply(a, b)


def _choose_pair(condition: Any, sure: Any, true: Pair, false: Pair) -> Pair:
    def chosen(a: Exact, b: Exact) -> Exact:
        c = _choose(condition, a, b)
        return c._replace(known=c.known & sure)

    (a, da), (b, db) = true, false
    slope = None if da is None and db is None else chosen(da or NOTHING, db or NOTHING)
    return chosen(a, b), slope


def _pair(node: Expression, arguments: list[Doubles], index: int | None) -> Pair:
    """Value and slope of a node; the slope is None throughout if there is no index."""
    minus = Fraction(-1)
    match node:
        case tree.Rational(fraction=fraction):
            return _constant(fraction), None
        case tree.Variable(index=place):
            one = _constant(Fraction(1)) if place == index else None
            return Exact(arguments[place], 1, np.isfinite(arguments[place]), 0, 0.0), one
        case tree.Negative(operand=operand):
            a, da = _pair(operand, arguments, index)
            return _scale(a, minus), None if da is None else _scale(da, minus)
        case tree.Scaled(operand=operand, fraction=fraction):
            a, da = _pair(operand, arguments, index)
            return _scale(a, fraction), None if da is None else _scale(da, fraction)
        case tree.Choice(condition=condition, true=true, false=false):
            held, sure = _holds(condition, arguments)
            return _choose_pair(held, sure, _pair(true, arguments, index), _pair(false, arguments, index))
        case tree.Call(operand=operand):
            return _call(node, *_pair(operand, arguments, index))
        case tree.Binary(left=left, right=right):
            return _binary(node, _pair(left, arguments, index), _pair(right, arguments, index))
    return UNKNOWN, None if index is None else UNKNOWN


def _binary(node: tree.Binary, left: Pair, right: Pair) -> Pair:
    (a, da), (b, db) = left, right
    minus = Fraction(-1)
    match node:
        case tree.Sum():
            return _add(a, b), _plus(da, db)
        case tree.Difference():
            return _add(a, _scale(b, minus)), _plus(da, None if db is None else _scale(db, minus))
        case tree.Product():
            return _multiply(a, b), _plus(_times(da, b), _times(db, a))
        case tree.Quotient():
            ratio = _divide(a, b)
            change = _plus(da, _times(db, _scale(ratio, minus)))
            return ratio, None if change is None else _divide(change, b)
        case tree.Extremum(greater=greater):
            held, sure = _compare(operator.gt if greater else operator.lt, a, b)
            return _choose_pair(held, sure, left, right)
        case tree.Power() if isinstance(b.number, float) and b == _constant(Fraction(b.number)) and db is None:
            count = int(b.number)
            if count == b.number and 0 < abs(count) <= 64:
                return _power(a, count), _times(da, _scale(_power(a, count - 1), Fraction(count)))
    return UNKNOWN, None if da is None and db is None else UNKNOWN
