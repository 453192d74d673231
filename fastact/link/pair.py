"""Double-double arithmetic: a number as the unevaluated sum of two words, hi + lo with |lo| <= ulp(hi)/2.

The algorithms are those of Joldes, Muller and Popescu, "Tight and rigorous error bounds for basic building blocks of
double-word arithmetic" (ACM TOMS 44, 2017); u is half an ulp of 1, 2^-53 for float64. A low part known to be zero
when the kernel is linked is ``None``, and the operations take the shorter forms that this allows; so they do where
bounds known at that time tell which term of a sum is the larger, or that nothing cancels.

Results are kept as they come, loose: hi + lo with |lo| <= slack u |hi|. What looks at ``hi`` and ``lo`` gets them
normalised; products, quotients and sums without cancellation make do with the loose ones. With k and l for the slacks
of the operands, 0 without a low part and 1 normalised, the relative errors are below (kl + k + 2l + 2) u^2 for
products, (10 + 4k + 5l + kl + l^2) u^2 for quotients and (k + l + 2) u^2 for sums without cancellation, up to terms in
u^3; that of other sums is below 3 u^2, that of square roots below 25/8 u^2.
"""

from __future__ import annotations

import math
from fractions import Fraction

from fastact.kernels.blocks.exactly import fast_two_sum, two_product, two_sum
from fastact.link.values import Condition, Context, Number, Real, round_to_word

SLACK = 12
"""The loosest operands of products and quotients; looser ones are normalised before, unless not all bits count."""
NOTHING = 2**7
"""Of pairs of which not all bits count, 2^-41 of a number."""


SIGNS = {"f32": -(2**31), "f64": -(2**63)}


class Pair:
    """An unevaluated sum of two words; ``first`` and ``second`` are the words as they came, perhaps loose. Its error is
    relative to ``uncertain``, the first word if nothing else is said."""

    __slots__ = (
        "_normal", "first", "like", "magnitude", "most", "negated", "over_one", "relative", "second", "short", "slack",
        "uncertain",
    )  # fmt: skip

    def __init__(self, hi: Real, lo: Real | None = None, slack: int = 1) -> None:
        self.first, self.second, self.slack = hi, lo, 0 if lo is None else slack
        self.uncertain = hi
        self.relative: Real | None = None
        """The second word over the first, where that is how it came about."""
        self.magnitude: tuple[Real, Real, Real] | None = None
        """The words of what has its size and is not negative, and a number that has its sign, if that is how it came
        about."""
        self.short: tuple[Real, float] | None = None
        """A second word that falls short by a part of the first, and that part, if it is there for nothing."""
        self.over_one: tuple[Real, Real] | None = None
        """The words of what is not negative and less by 1."""
        self.negated: Real | None = None
        """Minus the second word, if it is so that a difference has the sign of a first word that is 0."""
        self.like: Real | None = hi
        """Which word has the sign of a rounding that is 0; None if that needs no other."""
        self.most: Real | None = None
        """Of what is on one side of the true number: what, in place of the second word, brings it to the other."""
        self._normal: tuple[Real, Real | None] | None = None if self.slack > 1 else (hi, lo)

    def _normalised(self) -> tuple[Real, Real | None]:
        if self._normal is None:
            assert self.second is not None
            hi, lo = fast_two_sum(self.first, self.second)
            self._normal = self.signed(hi) if self.context.arithmetic.guarded else hi, lo
        return self._normal

    def signed(self, hi: Real) -> Real:
        """A rounding of the number, of a zero with the sign that the first word has, or another one is said to have."""
        if self.like is None or self.second is None or self.context.bounds(self.uncertain)[0] > 0.0:
            return hi
        return hi.copysign(self.like)

    def signed_as(self, x: Real) -> Pair:
        """A positive number with the sign of another."""
        sign = x.bits() & SIGNS[x.node.type]
        assert self.second is not None
        result = Pair(self.first.copysign(x), (self.second.bits() ^ sign).as_real(), self.slack)
        result.magnitude = self.first, self.second, x
        return result

    @property
    def hi(self) -> Real:
        return self._normalised()[0]

    @property
    def lo(self) -> Real | None:
        return self._normalised()[1]

    def rounded(self) -> Real:
        """The number as one word; of a zero with the sign that the first word has. An infinity, or one's quotient, may
        come with a remainder that is no number."""
        if self.slack <= 1:
            return self.first
        return self.first.choose(self.hi.is_nan(), self.hi).copysign(self.first)

    def is_one(self) -> bool:
        """Whether it is the constant 1."""
        return self.second is None and self.first.is_one()

    @property
    def context(self) -> Context:
        return self.first.context

    @property
    def low(self) -> Real:
        return self._or_zero(self.lo)

    def _or_zero(self, word: Real | None) -> Real:
        return self.context.real(0.0) if word is None else word

    def _or_nothing(self, word: Real | None) -> Real:
        """What does not take the sign from a zero that it is added to, where nothing else decides on that sign."""
        return self._or_zero(word) if word or not self.context.arithmetic.guarded else self.context.real(-0.0)

    def pair(self, hi: Real, lo: Real | None = None, slack: int = 1) -> Pair:
        """Another pair."""
        return Pair(hi, lo, slack)

    @staticmethod
    def exactly(context: Context, value: Number) -> Pair:
        """The pair nearest to an exact number; a float literal means the decimal that its shortest text spells, but a
        power of two means itself."""
        literal = isinstance(value, float) and abs(math.frexp(value)[0]) != 0.5
        exact = Fraction(repr(value)) if literal else Fraction(value)
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
            if other in (float("inf"), float("-inf"), 0.0) or other != other:
                return Pair(self.context.real(other))
            return Pair.exactly(self.context, other)
        return NotImplemented

    # -- sums ---------------------------------------------------------------------------------------------------
    def __add__(self, other: object) -> Pair:
        b = self.lift(other)
        if b is NotImplemented:
            return NotImplemented
        low, high = (sum(ends) for ends in zip(_range(self), _range(b), strict=True))
        if _range(self)[0] >= 0.0 <= _range(b)[0]:
            # Nothing cancels.
            s, e = _sum(self.first, b.first)
            result = Pair(s, _plus(e, self.second, b.second), 1 + self.slack + b.slack)
            if b.is_one() and self.second is not None:
                result.over_one = self.first, self.second
        elif self.lo is None or b.lo is None:
            s, e = _sum(self.hi, b.hi)
            if not (self.lo is None and b.lo is None):
                s, e = fast_two_sum(s, _plus(e, self.lo, b.lo))
            result = Pair(s, e)
        else:
            s, e = two_sum(self.hi, b.hi)
            t, f = two_sum(self.lo, b.lo)
            s, e = fast_two_sum(s, e + t)
            result = Pair(*fast_two_sum(s, e + f))
        if low > -math.inf or high < math.inf:
            self.context.note(result, low, high)
        return result

    __radd__ = __add__

    def __neg__(self) -> Pair:
        result = Pair(-self.first, None if self.second is None else -self.second, self.slack)
        low, high = self.context.bounds(self)
        self.context.note(result, -high, -low)
        return result

    def __sub__(self, other: object) -> Pair:
        b = self.lift(other)
        return NotImplemented if b is NotImplemented else self + (-b)

    def __rsub__(self, other: object) -> Pair:
        return (-self) + other

    def __abs__(self) -> Pair:
        if self.second is None:
            return Pair(abs(self.first))
        return Pair(abs(self.first), (-self.second).choose(self.first < 0.0, self.second), self.slack)

    # -- products -----------------------------------------------------------------------------------------------
    def _operands(self, b: Pair) -> tuple[Real, Real | None, Real, Real | None, int]:
        """The words of both operands, loose ones if they may be, and how loose they are together."""
        if self.slack + b.slack <= SLACK:
            return self.first, self.second, b.first, b.second, self.slack + b.slack
        return self.hi, self.lo, b.hi, b.lo, min(self.slack, 1) + min(b.slack, 1)

    def __mul__(self, other: object) -> Pair:
        b = self.lift(other)
        if b is NotImplemented:
            return NotImplemented
        for a, c in ((self, other), (b, None)):
            if isinstance(c, (int, float)) and c and abs(float(c)).hex().startswith("0x1.0000000000000p"):
                result = Pair(a.first * c, None if a.second is None else a.second * c, a.slack)
                if self.context.arithmetic.guarded:
                    low, high = self.context.bounds(a.first)
                    if c > 0.0 < low <= high < math.inf:
                        self.context.note(result, low * c, high * c)
                return result
        if b.is_one():
            return self
        if self.context.arithmetic.guarded:
            return self._shorter_product(b)
        x, x_low, y, y_low, slack = self._operands(b)
        p, e = two_product(x, y)
        if y_low is not None:
            e = x.fma(y_low, e)
        if x_low is not None:
            e = x_low.fma(y, e)
        result = Pair(p, e, 1 + slack)
        if _range(self)[0] >= 0.0 <= _range(b)[0]:
            highs = _range(self)[1], _range(b)[1]
            self.context.note(result, 0.0, math.prod(highs) if max(highs) < math.inf else math.inf)
        return result

    def _shorter_product(self, b: Pair) -> Pair:
        """A product of pairs of which not all bits count: with very loose operands, the product of the second words
        included where it is not nothing; what is added last is the largest."""
        x, y = (self, b) if self.slack <= b.slack else (b, self)
        if x.second is None and y.second is not None and self.context.arithmetic.products:
            return self._product_by_word(x, y)
        p, e = two_product(x.first, y.first)
        if x.second is not None:
            e = x.second.fma(y.first, e)
            if x.slack * y.slack > NOTHING:
                assert y.second is not None
                e = x.second.fma(y.second, e)
        if y.second is not None:
            e = y.second.fma(x.first, e)
        return self._bounded_product(x, y, self._loose(p, e, 1 + x.slack + y.slack))

    def _product_by_word(self, x: Pair, y: Pair) -> Pair:
        """The same of one word, as a difference, which has the sign of a product that is 0."""
        assert y.second is not None
        p = x.first * y.first
        less = (-y.second).fma(x.first, (-x.first).fma(y.first, p))
        result = self._loose(p, -less, 1 + x.slack + y.slack)
        result.negated = less
        return self._bounded_product(x, y, result)

    @staticmethod
    def _bounded_product(x: Pair, y: Pair, result: Pair) -> Pair:
        """A product with what is known of it."""
        if any(number.uncertain is not number.first for number in (x, y)):
            result.uncertain = x.uncertain * y.uncertain
        (x_least, x_most), (y_least, y_most) = _range(x), _range(y)
        if x_least >= 0.0 <= y_least:
            most = x_most * y_most if max(x_most, y_most) < math.inf else math.inf
            result.context.note(result, x_least * y_least, most)
        return result

    def _loose(self, first: Real, second: Real, slack: int) -> Pair:
        """A pair of which the second word had to be rounded."""
        if slack > SLACK:
            self.context.granted += slack * 2.0**-24
        return Pair(first, second, slack)

    __rmul__ = __mul__

    def __truediv__(self, other: object) -> Pair:
        b = self.lift(other)
        if b is NotImplemented:
            return NotImplemented
        if b.is_one():
            return self
        if self.second is None and b.second is None:
            q = self.hi / b.hi
            return Pair(q, (-q).fma(b.hi, self.hi) / b.hi)
        if b.slack > SLACK and self.context.arithmetic.guarded:
            return self._over_loose(b)
        x, x_low, y, y_low, slack = self._operands(b)
        reciprocal = 1.0 / y
        q = x * reciprocal
        rest = (-q).fma(y, x)
        if x_low is not None:
            rest = rest + x_low
        if y_low is not None:
            rest = (-q).fma(y_low, rest)
        result = Pair(q, rest * reciprocal, 3 + slack)
        if self.context.arithmetic.guarded:
            (x_least, x_most), (y_least, y_most) = _range(self), _range(b)
            if x_least >= 0.0 < y_least:
                self.context.note(result, x_least / y_most, x_most / y_least)
        return result

    def _over_loose(self, b: Pair) -> Pair:
        """A quotient by a very loose pair, of which not all bits count: 1/b is r (1 + t + t^2 + ...) with r = 1/y and
        what that leaves, t = 1 - r b. Of b = 1 + e that is (1 - r) - r e, so that the second word of the sum is not
        needed; where 1 is divided, nothing is gained by that."""
        assert b.second is not None
        over_one = None if self.is_one() else b.over_one
        divisor = b.first if over_one is None else over_one[0] + 1.0
        self.context.note(divisor, *_range(b))
        r = 1.0 / divisor
        if over_one is None:
            t = (-r).fma(b.second, (-r).fma(b.first, 1.0))
        else:
            s = 1.0 - r
            t = (-r).fma(over_one[0], s)
            if _range(b)[1] > 2.0:  # otherwise 1 - r is exact
                t = t + ((1.0 - s) - r)
            t = (-r).fma(over_one[1], t)
        t = t.fma(t, t)
        if self.is_one():
            result = self._loose(r, r * t, 3 + b.slack)
            result.relative = t
        else:
            q = self.hi * r
            less = (-self.hi).fma(r, q)
            less = less if self.lo is None else (-self.lo).fma(r, less)
            less = (-q).fma(t, less)
            result = self._loose(q, -less, 5 + b.slack)
            result.negated = less
        (x_least, x_most), (y_least, y_most) = _range(self), _range(b)
        if x_least >= 0.0 < y_least:
            self.context.note(result, x_least / y_most, x_most / y_least)
        return result

    def __rtruediv__(self, other: object) -> Pair:
        return self.lift(other) / self

    def sqrt(self) -> Pair:
        s = self.hi.sqrt()
        rest = (-s).fma(s, self.hi)
        if self.lo is None:
            return Pair(s, rest / (s + s))
        return Pair(s, (rest + self.lo) / (s + s), 3)

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
        hi = self.first.choose(condition, b.first)
        if self.second is None and b.second is None:
            return Pair(hi)
        low = self._or_nothing(self.second).choose(condition, self._or_nothing(b.second))
        return Pair(hi, low, max(self.slack, b.slack))

    def unless(self, condition: Condition, rare: Pair) -> Pair:
        """``rare`` where the condition holds, self elsewhere; the condition is expected to hold hardly ever."""
        hi = self.first.unless(condition, rare.first)
        if self.second is None and rare.second is None:
            return Pair(hi)
        low = self._or_zero(self.second).unless(condition, self._or_zero(rare.second))
        return Pair(hi, low, max(self.slack, rare.slack))


def _range(value: Pair) -> tuple[float, float]:
    """The interval known to hold a number."""
    if value.second is None and value.first.node.op == "constant":
        literal = float.fromhex(str(value.first.node.data))
        return literal, literal
    return value.context.bounds(value)


def _plus(e: Real, *terms: Real | None) -> Real:
    for term in terms:
        e = e if term is None else e + term
    return e


def _sum(a: Real, b: Real) -> tuple[Real, Real]:
    """a + b exactly, by the shorter way where it is known which of the two is the larger."""
    (a_low, a_high), (b_low, b_high) = (_range(Pair(word)) for word in (a, b))
    if max(a_low, -a_high) >= max(-b_low, b_high):
        return fast_two_sum(a, b)
    if max(b_low, -b_high) >= max(-a_low, a_high):
        return fast_two_sum(b, a)
    if a_low >= 0.0 <= b_low and a.context.arithmetic.guarded:
        smaller = a < b
        return fast_two_sum(b.choose(smaller, a), a.choose(smaller, b))
    return two_sum(a, b)
