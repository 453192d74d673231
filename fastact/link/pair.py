"""Double-double arithmetic: a number as the unevaluated sum of two words, hi + lo with |lo| <= ulp(hi)/2.

Every algorithm is from Joldes, Muller and Popescu, "Tight and rigorous error bounds for basic building blocks of
double-word arithmetic" (ACM TOMS 44, 2017); u is half an ulp of 1, 2^-53 for float64. A low part known to be zero
when the kernel is linked is ``None``, and the operations take the shorter forms that this allows.
"""

from __future__ import annotations

from fractions import Fraction

from fastact.kernels.blocks.exactly import fast_two_sum, two_product, two_sum
from fastact.link.values import Condition, Context, Number, Real, round_to_word


class Pair:
    """An unevaluated sum hi + lo."""

    __slots__ = ("hi", "lo")

    def __init__(self, hi: Real, lo: Real | None = None) -> None:
        self.hi, self.lo = hi, lo

    @property
    def context(self) -> Context:
        return self.hi.context

    @property
    def low(self) -> Real:
        return self.context.real(0.0) if self.lo is None else self.lo

    def pair(self, hi: Real, lo: Real | None = None) -> Pair:
        """Another pair."""
        return Pair(hi, lo)

    @staticmethod
    def exactly(context: Context, value: Number) -> Pair:
        """The pair nearest to an exact number; a float literal means the decimal that its shortest text spells."""
        exact = Fraction(repr(value)) if isinstance(value, float) else Fraction(value)
        word = context.arithmetic.word
        hi = round_to_word(exact, word)
        lo = round_to_word(exact - Fraction(hi), word)
        return Pair(context.real(hi), context.real(lo) if lo else None)

    def lift(self, other: object) -> Pair:
        if isinstance(other, Pair):
            return other
        if isinstance(other, Real):
            return Pair(other)
        if isinstance(other, (int, float, Fraction)):
            if other in (float("inf"), float("-inf")) or other != other:
                return Pair(self.context.real(other))
            return Pair.exactly(self.context, other)
        return NotImplemented

    # -- sums ---------------------------------------------------------------------------------------------------
    def __add__(self, other: object) -> Pair:
        b = self.lift(other)
        if b is NotImplemented:
            return NotImplemented
        if self.lo is None and b.lo is None:
            return Pair(*two_sum(self.hi, b.hi))
        s, e = two_sum(self.hi, b.hi)
        if self.lo is None or b.lo is None:
            low = self.lo if b.lo is None else b.lo
            assert low is not None
            return Pair(*fast_two_sum(s, e + low))
        t, f = two_sum(self.lo, b.lo)
        s, e = fast_two_sum(s, e + t)
        return Pair(*fast_two_sum(s, e + f))

    def plus_smaller(self, other: object) -> Pair:
        """self + other where |self| >= |other| and no digits cancel; relative error at most 3 u^2."""
        b = self.lift(other)
        s, e = fast_two_sum(self.hi, b.hi)
        for low in (self.lo, b.lo):
            if low is not None:
                e = e + low
        return Pair(*fast_two_sum(s, e)) if not (self.lo is None and b.lo is None) else Pair(s, e)

    __radd__ = __add__

    def __neg__(self) -> Pair:
        return Pair(-self.hi, None if self.lo is None else -self.lo)

    def __sub__(self, other: object) -> Pair:
        b = self.lift(other)
        return NotImplemented if b is NotImplemented else self + (-b)

    def __rsub__(self, other: object) -> Pair:
        return (-self) + other

    def __abs__(self) -> Pair:
        if self.lo is None:
            return Pair(abs(self.hi))
        return Pair(abs(self.hi), (-self.lo).choose(self.hi < 0.0, self.lo))

    # -- products -----------------------------------------------------------------------------------------------
    def __mul__(self, other: object) -> Pair:
        b = self.lift(other)
        if b is NotImplemented:
            return NotImplemented
        for a, c in ((self, other), (b, None)):
            if isinstance(c, (int, float)) and c and abs(float(c)).hex().startswith("0x1.0000000000000p"):
                return Pair(a.hi * c, None if a.lo is None else a.lo * c)
        p, e = two_product(self.hi, b.hi)
        if self.lo is None and b.lo is None:
            return Pair(p, e)
        if b.lo is not None:
            e = self.hi.fma(b.lo, e)
        if self.lo is not None:
            e = self.lo.fma(b.hi, e)
        return Pair(*fast_two_sum(p, e))

    __rmul__ = __mul__

    def __truediv__(self, other: object) -> Pair:
        b = self.lift(other)
        if b is NotImplemented:
            return NotImplemented
        if self.lo is None and b.lo is None:
            q = self.hi / b.hi
            return Pair(q, (-q).fma(b.hi, self.hi) / b.hi)
        reciprocal = 1.0 / b.hi
        q = self.hi * reciprocal
        rest = (-q).fma(b.hi, self.hi)
        if self.lo is not None:
            rest = rest + self.lo
        if b.lo is not None:
            rest = (-q).fma(b.lo, rest)
        return Pair(*fast_two_sum(q, rest * reciprocal))

    def __rtruediv__(self, other: object) -> Pair:
        return self.lift(other) / self

    def sqrt(self) -> Pair:
        s = self.hi.sqrt()
        rest = (-s).fma(s, self.hi)
        if self.lo is None:
            return Pair(s, rest / (s + s))
        return Pair(*fast_two_sum(s, (rest + self.lo) / (s + s)))

    # -- comparison: the high part decides ------------------------------------------------------------------------
    def _other(self, other: object) -> Real:
        return self.lift(other).hi

    def __lt__(self, other: object) -> Condition:
        return self.hi < self._other(other)

    def __le__(self, other: object) -> Condition:
        return self.hi <= self._other(other)

    def __gt__(self, other: object) -> Condition:
        return self.hi > self._other(other)

    def __ge__(self, other: object) -> Condition:
        return self.hi >= self._other(other)

    def equals(self, other: object) -> Condition:
        return self.hi.equals(self._other(other))

    def is_nan(self) -> Condition:
        return self.hi.is_nan()

    def choose(self, condition: Condition, other: object) -> Pair:
        b = self.lift(other)
        hi = self.hi.choose(condition, b.hi)
        if self.lo is None and b.lo is None:
            return Pair(hi)
        return Pair(hi, self.low.choose(condition, b.low))

    def unless(self, condition: Condition, rare: Pair) -> Pair:
        """``rare`` where the condition holds, self elsewhere; the condition is expected to hold hardly ever."""
        hi = self.hi.unless(condition, rare.hi)
        if self.lo is None and rare.lo is None:
            return Pair(hi)
        return Pair(hi, self.low.unless(condition, rare.low))
