"""Elementary functions on balls that tell a missing value, a pole and a lack of precision apart.

Arb answers NaN or an infinite radius in all three cases. Here a function that is certainly undefined raises
``Undefined``, one that is certainly at a pole raises ``Pole``, and everything else that is not finite, or a
comparison that the balls leave open, is a matter of precision: the caller raises it and tries again.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

try:
    from flint import arb, ctx, fmpq, fmpz
except ImportError as error:  # pragma: no cover
    raise ImportError('arbitrary precision needs python-flint: pip install "fastact[accuracy]"') from error

__all__ = ["FUNCTIONS", "ONE", "Function", "Pole", "Undecided", "Undefined", "arb", "ctx", "fmpz"]

ONE = arb(1)
TWO = arb(2)


class Undefined(ArithmeticError):
    """The value does not exist there: log(-1)."""


class Pole(ArithmeticError):
    """The value is a limit there, infinite or not: 1/0, log(0)."""


class Undecided(ArithmeticError):
    """The balls are too wide to tell; raise the precision. ``point``: the arguments, where none was high enough."""

    def __init__(self, *reason: str, point: tuple[float, ...] = ()) -> None:
        super().__init__(*reason)
        self.point = point


class Function(NamedTuple):
    """An elementary function of one argument: its value, and its slope from the argument and the value."""

    value: Callable[[arb], arb]
    slope: Callable[[arb, arb], arb]


def fraction_ball(fraction: Fraction) -> arb:
    """The fraction: exact if its denominator is a power of two, else a ball at the context's precision."""
    if fraction.denominator & (fraction.denominator - 1) == 0:
        return arb((fraction.numerator, 1 - fraction.denominator.bit_length()))
    return arb(fmpq(fraction.numerator, fraction.denominator))


def divide(numerator: arb, denominator: arb) -> arb:
    """The quotient; a denominator of exactly 0 is a pole."""
    quotient = numerator / denominator
    if not quotient.is_finite() and denominator.is_zero():
        raise Pole
    return quotient


def logarithm(u: arb) -> arb:
    """Natural logarithm."""
    result = u.log()
    if not result.is_finite():
        if u < 0:
            raise Undefined
        if u.is_zero():
            raise Pole
    return result


def logarithm_1p(u: arb) -> arb:
    """log(1 + u) without cancellation."""
    result = u.log1p()
    if not result.is_finite():
        if u < -1:
            raise Undefined
        if u == -1:
            raise Pole
    return result


def root(u: arb) -> arb:
    """Square root."""
    result = u.sqrt()
    if not result.is_finite() and u < 0:
        raise Undefined
    return result


def power_of_two(u: arb) -> arb:
    """2^u, exact for whole u: there the results are representable and may be ties."""
    whole = u.unique_fmpz() if u.is_integer() else None
    if whole is not None:
        return arb((1, int(whole)))
    return (u * arb.const_log2()).exp()


def logarithm_2(u: arb) -> arb:
    """log2(u), exact for powers of two."""
    if u.is_exact() and u.is_finite() and u > 0:
        mantissa, exponent = u.man_exp()
        if mantissa == 1:
            return arb(exponent)
    return logarithm(u) / arb.const_log2()


def complementary_error_function(u: arb) -> arb:
    """erfc(u), by monotony from the ends of the ball in the steep tail, where arb's own radius is far too wide."""
    if u > 8 and not u.is_exact():
        return u.lower().erfc().union(u.upper().erfc())
    return u.erfc()


def _slope_of_tanh(u: arb, _value: arb) -> arb:
    hyperbolic = u.cosh()
    return ONE / (hyperbolic * hyperbolic)


def _sign(u: arb, _value: arb) -> arb:
    if u > 0:
        return ONE
    if u < 0:
        return -ONE
    if u.is_zero():
        return arb(0)
    raise Undecided


def _bell(u: arb) -> arb:
    """2 exp(-u^2)/sqrt(pi), the slope of erf."""
    return TWO * (-(u * u)).exp() / arb.const_sqrt_pi()


def one_plus_tanh(u: arb) -> arb:
    """1 + tanh(u) = 2/(1 + exp(-2u))."""
    return TWO / (ONE + (-(u + u)).exp())


FUNCTIONS: dict[str, Function] = {
    "exp": Function(lambda u: u.exp(), lambda u, v: v),
    "exp2": Function(power_of_two, lambda u, v: v * arb.const_log2()),
    "expm1": Function(lambda u: u.expm1(), lambda u, v: u.exp()),
    "log": Function(logarithm, lambda u, v: divide(ONE, u)),
    "log2": Function(logarithm_2, lambda u, v: divide(ONE, u * arb.const_log2())),
    "log10": Function(lambda u: logarithm(u) / arb.const_log10(), lambda u, v: divide(ONE, u * arb.const_log10())),
    "log1p": Function(logarithm_1p, lambda u, v: divide(ONE, ONE + u)),
    "sqrt": Function(root, lambda u, v: divide(ONE, v + v)),
    "tanh": Function(lambda u: u.tanh(), _slope_of_tanh),
    "sinh": Function(lambda u: u.sinh(), lambda u, v: u.cosh()),
    "cosh": Function(lambda u: u.cosh(), lambda u, v: u.sinh()),
    "erf": Function(lambda u: u.erf(), lambda u, v: _bell(u)),
    "erfc": Function(complementary_error_function, lambda u, v: -_bell(u)),
    "sin": Function(lambda u: u.sin(), lambda u, v: u.cos()),
    "cos": Function(lambda u: u.cos(), lambda u, v: -u.sin()),
    "abs": Function(abs, _sign),
}

ONE_PLUS_TANH = Function(one_plus_tanh, _slope_of_tanh)


def power(base: arb, exponent: arb) -> arb:
    """base^exponent; 0^0 is 1, a negative base takes whole exponents only."""
    whole = exponent.unique_fmpz()
    if whole is not None and exponent.is_exact():
        count = int(whole)
        if count == 2:
            return base * base
        return base**count if count >= 0 else divide(ONE, base ** (-count))
    if base.is_zero():
        if exponent > 0:
            return base
        if exponent < 0:
            raise Pole
        raise Undecided
    if base < 0:
        if exponent.contains_integer():
            raise Undecided
        raise Undefined
    return base**exponent


def certain(true: bool, false: bool) -> bool:
    """The truth of a comparison of which each side was tested; raises Undecided if neither is certain."""
    if true:
        return True
    if false:
        return False
    raise Undecided


COMPARISONS: dict[str, Callable[[arb, arb], bool]] = {
    "Lt": lambda a, b: certain(a < b, a >= b),
    "LtE": lambda a, b: certain(a <= b, a > b),
    "Gt": lambda a, b: certain(a > b, a <= b),
    "GtE": lambda a, b: certain(a >= b, a < b),
    "Eq": lambda a, b: certain(a == b, a != b),
    "NotEq": lambda a, b: certain(a != b, a == b),
}
