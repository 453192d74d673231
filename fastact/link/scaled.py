"""Numbers with a power of two held apart: mantissa * 2^exponent, the multiplication put off to the end.

An exponential is such a number. Products and quotients keep the power apart, so that x exp(x) is right even where
exp(x) alone would be subnormal or would have overflowed; sums and comparisons multiply it in first, and there
anything below the smallest normal number counts as zero.
"""

from __future__ import annotations

from fastact.kernels.blocks.exactly import fast_two_sum
from fastact.link.pair import Pair
from fastact.link.values import Condition, Context, Integer, Real

Plain = Real | Pair

LIFT = 8
"""Binary places by which a product may exceed the number that a rough exponential flushes to zero: x exp(x) exceeds
exp(x) by the factor x, which is about 90 where exp(x) leaves the normal numbers of float32 and 710 for float64; those
of float64 carry ten more digits than its rough tier promises."""


def power_of_two(exponent: Integer) -> Real:
    """2^exponent for exponents of normal numbers; one below the smallest of them gives 0."""
    a = exponent.context.arithmetic
    return ((exponent + a.bias) << a.mantissa_bits).as_real()


def times(value: Plain, factor: Real) -> Plain:
    """value * factor where factor is a power of two."""
    if isinstance(value, Real):
        return value * factor
    return Pair(value.hi * factor, None if value.lo is None else value.lo * factor)


class Scaled:
    """mantissa * 2^exponent. ``bounded``: the exponent is known not to exceed that of a normal number.

    ``plain`` is the number itself where it is known without scaling: an input is held both ways. ``fixed`` is the
    exponent where it is one and the same for all elements. ``far`` says where the number may not be a normal one;
    elsewhere, which is nearly everywhere, the power of two is.
    """

    __slots__ = ("_lifted", "_plain", "bounded", "exponent", "far", "fixed", "is_input", "mantissa")

    def __init__(
        self,
        mantissa: Plain,
        exponent: Integer,
        bounded: bool = False,
        plain: Plain | None = None,
        fixed: int = 0,
        far: Condition | None = None,
    ) -> None:
        self.far = far
        self.mantissa, self.exponent, self.bounded, self._plain = mantissa, exponent, bounded, plain
        self.is_input, self.fixed = plain is not None, fixed
        self._lifted: Scaled | None = None

    @property
    def context(self) -> Context:
        return self.mantissa.context

    def lifted(self) -> Scaled:
        """For arithmetics that may flush: the power multiplied in but for a constant 2^-LIFT."""
        if self.fixed:
            return self
        if self._lifted is None:
            floor = -self.context.arithmetic.bias
            n = self.exponent + LIFT
            scaled = times(self.mantissa, power_of_two(n.choose(n.compare("sgt", floor), floor)))
            self._lifted = Scaled(scaled, self.context.integer(-LIFT), True, fixed=-LIFT)
        return self._lifted

    def plain(self) -> Plain:
        """The number itself; zero where it is below the smallest normal number."""
        if self._plain is None:
            a = self.context.arithmetic
            if self.fixed:
                self._plain = times(self.mantissa, self.context.real(2.0**self.fixed))
            elif a.rough and self.bounded:
                self._plain = self.lifted().plain()
            elif a.wide:
                self._plain = times(self.mantissa, power_of_two(self.exponent))
            else:
                product = self._in_one_step if self.bounded else self._in_two_steps
                self._plain = product(self.mantissa)
                if self.far is not None:
                    usual = times(self.mantissa, power_of_two(self.exponent))
                    self._plain = usual.unless(self.far, self._plain)  # type: ignore[arg-type]
        return self._plain

    def _in_one_step(self, value: Plain) -> Plain:
        floor = -self.context.arithmetic.bias
        return times(value, power_of_two(self.exponent.choose(self.exponent.compare("sgt", floor), floor)))

    def _in_two_steps(self, value: Plain) -> Plain:
        half = self.exponent >> 1
        return times(times(value, power_of_two(half)), power_of_two(self.exponent - half))

    def rounded(self) -> Real:
        """The number rounded once to the working word, subnormal results included."""
        a = self.context.arithmetic
        if self.is_input or a.wide or (a.rough and self.bounded):
            plain = self.plain()
            return plain if isinstance(plain, Real) else plain.hi
        if isinstance(self.mantissa, Real):
            result = self._in_two_steps(self.mantissa)
            assert isinstance(result, Real)
            return result
        hi = self.mantissa.hi
        if self.far is not None:
            return (hi * power_of_two(self.exponent)).unless(self.far, self._rounded_anywhere())
        usual = self._in_one_step(hi) if self.bounded else self._in_two_steps(hi)
        assert isinstance(usual, Real)
        small = (abs(usual) < 2.0 ** (2 - a.bias)) & ~hi.equals(0.0)
        return usual.unless(small, self._rounded_anywhere())

    def _rounded_anywhere(self) -> Real:
        """A pair rounded once, also where the result is subnormal or overflows.

        Adding 2^52 quanta of the subnormal range, which is the smallest normal number, away from zero makes the one
        rounding happen at the quantum; the products that follow are exact. Where the result is normal nothing is
        added.
        """
        a, pair = self.context.arithmetic, self.mantissa
        assert isinstance(pair, Pair)
        n = self.exponent.choose(self.exponent.compare("slt", 0), 0)
        smallest_normal = ((1 - n) << a.mantissa_bits).as_real()
        shift = smallest_normal.choose(abs(pair.hi) < smallest_normal, 0.0).copysign(pair.hi)
        s, e = fast_two_sum(shift, pair.hi)
        result = self._in_two_steps((s + (e + pair.low)) - shift)
        assert isinstance(result, Real)
        return result.copysign(pair.hi)

    # -- products keep the power apart --------------------------------------------------------------------------
    def _product(self, other: object) -> tuple[Plain, Integer | None, bool]:
        if isinstance(other, Scaled):
            return other.mantissa, other.exponent, False
        if isinstance(other, (Real, Pair)):
            return other, None, self.bounded
        return self.mantissa.lift(other), None, self.bounded  # type: ignore[arg-type,return-value]

    def __mul__(self, other: object) -> Scaled | Plain:
        if self.context.arithmetic.rough:
            if not self.bounded:
                return self.plain() * _plain(other)  # type: ignore[operator,return-value]
            lifted = self.lifted()
            return Scaled(lifted.mantissa * _plain(other), lifted.exponent, True, fixed=-LIFT)  # type: ignore[operator,arg-type]
        factor, exponent, bounded = self._product(other)
        product = self.mantissa * factor  # type: ignore[operator]
        if isinstance(product, Pair) and product.lo is not None:
            # The error of an infinite product is not a number: there is none to add.
            finite = abs(self.mantissa.hi * _high(factor)) < float("inf")  # type: ignore[union-attr]
            product = Pair(product.hi.choose(finite, self.mantissa.hi * _high(factor)), product.lo.choose(finite, 0.0))  # type: ignore[union-attr]
        return Scaled(product, self.exponent if exponent is None else self.exponent + exponent, bounded)

    def __rmul__(self, other: object) -> Scaled | Plain:
        """A number times a scaled one. In arithmetics that may flush this multiplies the power in, number first, so
        that neither a large number overflows nor the power is lost before the product."""
        if self.context.arithmetic.rough and self.bounded:
            lifted = self.lifted()
            number = self.mantissa.lift(other)  # type: ignore[arg-type]
            return times(number, self.context.real(2.0**-LIFT)) * lifted.mantissa  # type: ignore[operator,return-value]
        return self * other

    def __truediv__(self, other: object) -> Scaled | Plain:
        if self.context.arithmetic.rough:
            if not self.bounded:
                return self.plain() / _plain(other)  # type: ignore[operator,return-value]
            lifted = self.lifted()
            return Scaled(lifted.mantissa / _plain(other), lifted.exponent, True, fixed=-LIFT)  # type: ignore[operator,arg-type]
        factor, exponent, bounded = self._product(other)
        quotient = self.mantissa / factor  # type: ignore[operator]
        return Scaled(quotient, self.exponent if exponent is None else self.exponent - exponent, bounded)

    def __rtruediv__(self, other: object) -> Scaled | Plain:
        if self.context.arithmetic.rough:
            return other / self.plain()  # type: ignore[operator]
        return Scaled(other / self.mantissa, 0 - self.exponent)  # type: ignore[operator]

    def __neg__(self) -> Scaled:
        plain = -self._plain if self.is_input and self._plain is not None else None
        return Scaled(-self.mantissa, self.exponent, self.bounded, plain, self.fixed, self.far)

    def __abs__(self) -> Scaled:
        plain = abs(self._plain) if self.is_input and self._plain is not None else None
        return Scaled(abs(self.mantissa), self.exponent, self.bounded, plain, self.fixed, self.far)

    def choose(self, condition: Condition, other: object) -> Scaled:
        """self where the condition holds, other elsewhere."""
        if isinstance(other, Scaled):
            plain = self._plain.choose(condition, other._plain) if self.is_input and other.is_input else None  # type: ignore[union-attr,arg-type]
            mantissa = self.mantissa.choose(condition, other.mantissa)  # type: ignore[arg-type]
            if self.fixed or other.fixed:
                return Scaled(
                    self.lifted().mantissa.choose(condition, other.lifted().mantissa),  # type: ignore[arg-type]
                    self.lifted().exponent, True, fixed=-LIFT,
                )  # fmt: skip
            exponent = self.exponent.choose(condition, other.exponent)
            return Scaled(mantissa, exponent, self.bounded and other.bounded, plain)
        plain = self._plain.choose(condition, other) if self.is_input and self._plain is not None else None  # type: ignore[arg-type]
        if self.context.arithmetic.rough and self.bounded:
            if not isinstance(other, (int, float)):
                return self.plain().choose(condition, other)  # type: ignore[arg-type,return-value]
            chosen = self.lifted().mantissa.choose(condition, float(other) * 2.0**LIFT)  # type: ignore[arg-type]
            return Scaled(chosen, self.lifted().exponent, True, fixed=-LIFT)
        mantissa = self.mantissa.choose(condition, other)  # type: ignore[arg-type]
        return Scaled(mantissa, self.exponent.choose(condition, 0), self.bounded, plain)

    # -- sums and comparisons use the number itself ---------------------------------------------------------------
    def __add__(self, other: object) -> Plain:
        return self.plain() + (other.plain() if isinstance(other, Scaled) else other)  # type: ignore[operator]

    __radd__ = __add__

    def __sub__(self, other: object) -> Plain:
        return self.plain() - (other.plain() if isinstance(other, Scaled) else other)  # type: ignore[operator]

    def __rsub__(self, other: object) -> Plain:
        return other - self.plain()  # type: ignore[operator]

    def sqrt(self) -> Plain:
        return self.plain().sqrt()

    def __lt__(self, other: object) -> Condition:
        return self.plain() < _plain(other)  # type: ignore[operator]

    def __le__(self, other: object) -> Condition:
        return self.plain() <= _plain(other)  # type: ignore[operator]

    def __gt__(self, other: object) -> Condition:
        return self.plain() > _plain(other)  # type: ignore[operator]

    def __ge__(self, other: object) -> Condition:
        return self.plain() >= _plain(other)  # type: ignore[operator]

    def equals(self, other: object) -> Condition:
        return self.plain().equals(_plain(other))  # type: ignore[arg-type]

    def is_nan(self) -> Condition:
        return self.mantissa.is_nan()


def _plain(value: object) -> object:
    return value.plain() if isinstance(value, Scaled) else value


def _high(value: Plain) -> Real:
    return value.hi if isinstance(value, Pair) else value
