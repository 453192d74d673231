"""Numbers held twice: as they are, and as a mantissa with a power of two held apart.

An exponential is such a number, and so is an input of a double-double kernel. The plain form serves nearly always.
Where it would be subnormal, or overflow, or so close to it that a product lost digits, the number is ``far``, and
there the other form has the digits: mantissa * 2^exponent, the multiplication put off to the end. So x exp(x) is
right even where exp(x) alone is not. Products and quotients carry both forms; what only the second needs is computed
only for vectors in which some number is far. Sums and comparisons use the plain form, and there anything below the
smallest normal number counts as zero.
"""

from __future__ import annotations

from fastact.kernels.blocks.exactly import fast_two_sum
from fastact.link.pair import Pair
from fastact.link.values import Condition, Context, Integer, Real

Plain = Real | Pair


def power_of_two(exponent: Integer) -> Real:
    """2^exponent for exponents of normal numbers; one below the smallest of them gives 0."""
    a = exponent.context.arithmetic
    return ((exponent + a.bias) << a.mantissa_bits).as_real()


NOWHERE = -8000
"""The exponent of a zero in a sum: below that of anything that is not."""


def _first(value: Plain) -> Real:
    return value if isinstance(value, Real) else value.first


def times(value: Plain, factor: Real) -> Plain:
    """value * factor where factor is a power of two."""
    if isinstance(value, Real):
        return value * factor
    return Pair(value.first * factor, None if value.second is None else value.second * factor, value.slack)


class Scaled:
    """mantissa * 2^exponent, which is ``plain`` wherever it is not ``far``.

    ``far`` is None where nothing is known of it: the number may be far anywhere. ``bounded``: the exponent is known
    not to exceed that of a normal number. ``is_input``: plain is the number itself, without exception. ``usual`` is
    right where the number is not far. ``apart``: mantissa and exponent are right only where it is.
    """

    __slots__ = ("_plain", "_usual", "apart", "bounded", "exponent", "far", "is_input", "mantissa")

    def __init__(
        self,
        mantissa: Plain,
        exponent: Integer,
        bounded: bool = False,
        far: Condition | None = None,
        plain: Plain | None = None,
        is_input: bool = False,
        usual: Plain | None = None,
        apart: bool = False,
    ) -> None:
        self._usual, self.apart = usual, apart
        self.mantissa, self.exponent, self.bounded = mantissa, exponent, bounded
        self.far, self._plain, self.is_input = far, plain, is_input

    @property
    def context(self) -> Context:
        return self.mantissa.context

    def plain(self) -> Plain:
        """The number itself; zero where it is below the smallest normal number."""
        if self._plain is None:
            if self.context.arithmetic.wide:
                self._plain = times(self.mantissa, power_of_two(self.exponent))
            elif self.bounded:
                self._plain = self._in_one_step(self.mantissa)
            elif self.far is None:
                self._plain = self._in_two_steps(self.mantissa)
            else:
                usual = times(self.mantissa, power_of_two(self.exponent))
                self._plain = usual.unless(self.far, self._in_two_steps(self.mantissa))  # type: ignore[arg-type]
        return self._plain

    def usual(self) -> Plain:
        """The number itself where it is not far; anything where it is."""
        return self.plain() if self._usual is None else self._usual

    def _in_one_step(self, value: Plain) -> Plain:
        floor = -self.context.arithmetic.bias
        return times(value, power_of_two(self.exponent.choose(self.exponent.compare("sgt", floor), floor)))

    def _in_two_steps(self, value: Plain) -> Plain:
        exponent = self.reachable()
        half = exponent >> 1
        return times(times(value, power_of_two(half)), power_of_two(exponent - half))

    def reachable(self) -> Integer:
        """The exponent, of products with further inputs held where two steps reach; below, the number is 0, above it is
        infinite."""
        a, exponent = self.context.arithmetic, self.exponent
        if not a.products:
            return exponent
        low, high = 2 * (1 - a.bias), 2 * a.bias
        exponent = exponent.choose(exponent.compare("sgt", low), low)
        return exponent if self.bounded else exponent.choose(exponent.compare("slt", high), high)

    def rounded(self) -> Real:
        """The number rounded once to the working word, subnormal results included."""
        usual = self.usual()
        usual = usual if isinstance(usual, Real) else usual.rounded()
        if self.is_input or self.context.arithmetic.wide:
            return usual
        anywhere = self._rounded_anywhere()
        return anywhere if self.far is None else usual.unless(self.far, anywhere)

    def _rounded_anywhere(self) -> Real:
        """The number rounded once, also where the result is subnormal or overflows.

        To a pair 2^52 quanta of the subnormal range are added, which is the smallest normal number, away from zero:
        that makes the one rounding happen at the quantum, and the products that follow are exact. Where the result
        is normal nothing is added.
        """
        a, value = self.context.arithmetic, self.mantissa
        if isinstance(value, Real):
            result = self._in_two_steps(value)
            assert isinstance(result, Real)
            return result
        n = self.reachable()
        n = n.choose(n.compare("slt", 0), 0)
        smallest_normal = ((1 - n) << a.mantissa_bits).as_real()
        shift = smallest_normal.choose(abs(value.hi) < smallest_normal, 0.0).copysign(value.hi)
        s, e = fast_two_sum(shift, value.hi)
        total = (s + (e + value.low)) - shift
        # Infinities, and quotients by them, have remainders that are no numbers.
        result = self._in_two_steps(value.first.choose(total.is_nan(), total))
        assert isinstance(result, Real)
        return result.copysign(value.first)

    def where_near(self, plain: Plain) -> Scaled | Plain:
        """``plain`` where the number is not far, itself where it is: for functions that are x to working precision
        where a bounded x is far."""
        if self.far is None or not self.bounded:
            return plain
        return Scaled(self.mantissa, self.exponent, True, self.far, plain, apart=True)

    def everywhere(self) -> Scaled:
        """The same number with a mantissa and an exponent that are right where it is not far, too."""
        if not self.apart:
            return self
        assert self.far is not None
        mantissa = self.mantissa.choose(self.far, self.plain())  # type: ignore[arg-type]
        return Scaled(mantissa, self.exponent.choose(self.far, 0), self.bounded, self.far, self.plain())

    def centred(self) -> Scaled:
        """The same number with a mantissa near 1, for products with more than two further inputs."""
        a, value = self.context.arithmetic, self.mantissa
        high = value if isinstance(value, Real) else value.first
        size = (high.bits().shift_right_logical(a.mantissa_bits) & (2 * a.bias + 1)) - a.bias
        size = size.choose(size.compare("slt", a.bias - 1), a.bias - 1)
        mantissa = times(value, power_of_two(0 - size))
        return Scaled(mantissa, self.exponent + size, False, self.far, self._plain, usual=self._usual, apart=self.apart)

    def held(self) -> Scaled:
        """The same number, its power of two held where two steps reach: for products and quotients of numbers that know
        nothing of each other's size."""
        a, number = self.context.arithmetic, self.centred()
        low, high = 2 * (1 - a.bias), 2 * a.bias
        exponent = number.exponent.choose(number.exponent.compare("sgt", low), low)
        exponent = exponent.choose(exponent.compare("slt", high), high)
        far = self.far if self.apart else self._far_or_beyond()
        return Scaled(number.mantissa, exponent, False, far, self._plain, usual=self._usual, apart=self.apart)

    def _far_or_beyond(self) -> Condition | None:
        """Where the number is far, or its plain form has lost digits: three factors can do that none of which is."""
        if self.far is None:
            return None
        size: Plain = abs(self.usual())  # type: ignore[assignment]
        return self.far | ~((size >= 2.0**-960) & (size <= 2.0**1000))

    def plus(self, other: Scaled) -> Scaled:
        """The sum of two numbers of any size, neither of which need be within reach."""
        a, b = (number.everywhere().centred() for number in (self, other))
        # Of a zero the exponent says nothing.
        n, m = (c.exponent.choose(~_first(c.mantissa).equals(0.0), NOWHERE) for c in (a, b))
        top = n.choose(n.compare("sgt", m), m)
        least = -self.context.arithmetic.bias
        parts = []
        for number, exponent in ((a, n), (b, m)):
            shift = exponent - top
            parts.append(times(number.mantissa, power_of_two(shift.choose(shift.compare("sgt", least), least))))
        rounded, total = _first(parts[0]) + _first(parts[1]), parts[0] + parts[1]  # type: ignore[operator]
        return Scaled(total.choose(abs(rounded) < float("inf"), rounded), top)  # an infinite sum has no remainder

    def instead(self, far: Condition, plain: Plain) -> Scaled:
        """This number where that is far, another one elsewhere."""
        number = self.everywhere().centred()
        return Scaled(number.mantissa, number.exponent, False, far, plain, apart=True)

    def sign(self) -> Real:
        """A word that has the sign of the number, that of a zero, too."""
        return _first(self.everywhere().mantissa)

    def signed(self, like: Real) -> Scaled:
        """The same number; where it is far, of the sign of a word, which a zero may have lost."""
        number = self.mantissa
        first = _first(number).copysign(like)
        mantissa = first if isinstance(number, Real) else Pair(first, number.second, number.slack)
        return Scaled(mantissa, self.exponent, self.bounded, self.far, self._plain, usual=self._usual, apart=self.apart)

    def shifted(self, count: int, far: Condition | None = None) -> Scaled:
        """The number times 2^count, which is right where it is far, and anywhere if nothing is said of that."""
        number = self.everywhere().centred()
        return Scaled(number.mantissa, number.exponent + count).held()._known_far(far)

    def _known_far(self, far: Condition | None) -> Scaled:
        return Scaled(self.mantissa, self.exponent, False, far, self._in_two_steps(self.mantissa))

    def anywhere(self) -> Scaled:
        """The same number with a plain form that is right where it is far, too."""
        number = self.centred()
        return Scaled(number.mantissa, number.exponent, False, self.far, self.settled(), apart=self.apart)

    def settled(self) -> Plain:
        """The number itself, also where it is far."""
        plain = self.plain()
        if self.far is None or self.is_input:
            return plain
        return plain.unless(self.far, self.held()._in_two_steps(self.held().mantissa))  # type: ignore[arg-type]

    def unless(self, condition: Condition, rare: Plain) -> Scaled:
        """``rare`` where the condition holds, which hardly ever does, and nowhere where the number is far."""
        plain, usual = self.plain(), self.usual()
        return Scaled(
            self.mantissa,
            self.exponent,
            self.bounded,
            self.far,
            plain.unless(condition, rare),  # type: ignore[arg-type]
            usual=usual.unless(condition, rare),  # type: ignore[arg-type]
            apart=self.far is not None,
        )

    def one_more(self, usual: Plain | None = None) -> Scaled:
        """1 + the number, which is not below -1; ``usual`` is that sum where the number is not far, if it is known
        more precisely."""
        large = self.exponent.compare("sgt", self.context.arithmetic.bias // 2)  # there 1 does not count
        anywhere = self.plain() + 1.0
        mantissa, exponent = self.mantissa.choose(large, anywhere), self.exponent.choose(large, 0)  # type: ignore[arg-type]
        total = anywhere if usual is None or self.far is None else usual.unless(self.far, anywhere)  # type: ignore[arg-type]
        usual = self.usual() + 1.0 if usual is None else usual
        low, high = self.context.bounds(self.usual())
        self.context.note(usual, low + 1.0, high + 1.0)
        return Scaled(mantissa, exponent, self.bounded, self.far, total, usual=usual)

    # -- products carry both forms --------------------------------------------------------------------------------
    def _both(self, other: object) -> tuple[Plain | float, Plain | float, Integer | None, Condition | None]:
        """Mantissa, plain form and exponent of the other operand, and where the result is far."""
        if isinstance(other, Scaled):
            other = other.everywhere()
            far = None if self.far is None or other.far is None else self.far | other.far
            return other.mantissa, other.plain(), other.exponent, far
        return other, other, None, self.far  # type: ignore[return-value]

    def __mul__(self, other: object) -> Scaled:
        if self.apart and isinstance(other, Scaled):
            return self.everywhere() * other
        mantissa, plain, exponent, far = self._both(other)
        product = self.mantissa * mantissa  # type: ignore[operator]
        if isinstance(product, Pair) and product.lo is not None:
            # The error of an infinite product is not a number: there is none to add. Of 0 it may take the sign.
            whole = _high(self.mantissa) * _high(mantissa)  # type: ignore[operator]
            finite = abs(whole) < float("inf")
            high = product.hi.choose(finite, whole)
            high = high.copysign(product.first) if self.context.arithmetic.products else high
            product = Pair(high, product.lo.choose(finite, 0.0))
        return Scaled(
            product,
            self.exponent if exponent is None else self.exponent + exponent,
            self.bounded and exponent is None,
            far,
            None if far is None else self.plain() * plain,  # type: ignore[operator]
            usual=None if far is None else self.usual() * _usual(other),  # type: ignore[operator]
            apart=self.apart,
        )

    def __rmul__(self, other: object) -> Scaled:
        return self * other

    def __truediv__(self, other: object) -> Scaled:
        if self.apart and isinstance(other, Scaled):
            return self.everywhere() / other
        mantissa, plain, exponent, far = self._both(other)
        return Scaled(
            self.mantissa / mantissa,  # type: ignore[operator]
            self.exponent if exponent is None else self.exponent - exponent,
            self.bounded and exponent is None,
            far,
            None if far is None else self.plain() / plain,  # type: ignore[operator]
            usual=None if far is None else self.usual() / _usual(other),  # type: ignore[operator]
            apart=self.apart,
        )

    def __rtruediv__(self, other: object) -> Scaled:
        # An infinite quotient has no remainder, which only the other form of a product knows; nor one by infinity.
        if self.apart:
            return other / self.everywhere()  # type: ignore[operator,no-any-return]
        far, usual = self.far, None
        if far is not None:
            positive = self.context.bounds(self.usual())[0] > 0.0
            far = far if positive else far | self.usual().equals(0.0)
            usual = other / self.usual()  # type: ignore[operator]
        plain = None if far is None else other / self.plain()  # type: ignore[operator]
        mantissa: Plain = other / self.mantissa  # type: ignore[operator, assignment]
        if isinstance(mantissa, Pair) and mantissa.second is not None:
            rest = mantissa.second
            mantissa = Pair(mantissa.first, self.context.real(0.0).choose(rest.is_nan(), rest), mantissa.slack)
        return Scaled(mantissa, 0 - self.exponent, False, far, plain, usual=usual)

    def __neg__(self) -> Scaled:
        plain, usual = -self.plain(), -self.usual()
        return Scaled(-self.mantissa, self.exponent, self.bounded, self.far, plain, self.is_input, usual, self.apart)

    def __abs__(self) -> Scaled:
        size: Plain = abs(self.mantissa)  # type: ignore[assignment]
        plain: Plain = abs(self.plain())  # type: ignore[assignment]
        return Scaled(size, self.exponent, self.bounded, self.far, plain, self.is_input, apart=self.apart)

    def choose(self, condition: Condition, other: object) -> Scaled:
        """self where the condition holds, other elsewhere."""
        if isinstance(other, Scaled):
            if self.apart or other.apart:
                return self.everywhere().choose(condition, other.everywhere())
            far = None if self.far is None or other.far is None else self.far | other.far
            return Scaled(
                self.mantissa.choose(condition, other.mantissa),  # type: ignore[arg-type]
                self.exponent.choose(condition, other.exponent),
                self.bounded and other.bounded,
                far,
                self.plain().choose(condition, other.plain()),  # type: ignore[arg-type]
                self.is_input and other.is_input,
            )
        return Scaled(
            self.mantissa.choose(condition, other),  # type: ignore[arg-type]
            self.exponent.choose(condition, 0),
            self.bounded,
            self.far,
            self.plain().choose(condition, other),  # type: ignore[arg-type]
            self.is_input,
            apart=self.apart,
        )

    # -- sums and comparisons use the number itself ---------------------------------------------------------------
    def __add__(self, other: object) -> Plain:
        return self.plain() + _plain(other)  # type: ignore[operator,return-value]

    __radd__ = __add__

    def __sub__(self, other: object) -> Plain:
        return self.plain() - _plain(other)  # type: ignore[operator,return-value]

    def __rsub__(self, other: object) -> Plain:
        return other - self.plain()  # type: ignore[operator]

    def sqrt(self) -> Plain:
        plain = self.plain().sqrt()
        if not self.is_input or self.far is None:
            return plain
        # The remainder of a subnormal number's root would not be a number that can be held. The exponent is even.
        anywhere = times(self.mantissa.sqrt(), power_of_two(self.exponent >> 1))
        return plain.unless(self.far, anywhere)  # type: ignore[arg-type]

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


def _usual(value: object) -> object:
    return value.usual() if isinstance(value, Scaled) else value


def _plain(value: object) -> object:
    return value.plain() if isinstance(value, Scaled) else value


def _high(value: object) -> object:
    return value.hi if isinstance(value, Pair) else value
