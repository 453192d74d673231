"""The language of the declarations' formulas, as a tree of nodes evaluated in ball arithmetic.

Each node computes its value, and by forward differentiation the pair of value and slope. ``parse`` in
``fastact.accuracy.parser`` builds the tree.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from fastact.accuracy.balls import ONE, Function, Undecided, arb, ctx, divide, fraction_ball, logarithm, power

Arguments = tuple[arb, ...]
Slope = arb | None
"""A derivative, or None for one that is zero because the expression does not depend on the variable."""


class Expression:
    """A node. ``constant`` says that no variable occurs in it."""

    constant = False

    def value(self, arguments: Arguments) -> arb:
        """Ball that contains the value, at the precision of the context."""
        raise NotImplementedError

    def pair(self, arguments: Arguments, index: int) -> tuple[arb, Slope]:
        """Balls of the value and of its derivative with respect to the argument of that index."""
        raise NotImplementedError


class Condition:
    """A truth value; undecided comparisons raise ``Undecided``."""

    def holds(self, arguments: Arguments) -> bool:
        """Whether it is true of these arguments."""
        raise NotImplementedError


class Rational(Expression):
    """An exact number."""

    constant = True

    def __init__(self, fraction: Fraction) -> None:
        self.fraction = fraction
        dyadic = fraction.denominator & (fraction.denominator - 1) == 0
        self.exact = fraction_ball(fraction) if dyadic else None
        self.balls: dict[int, arb] = {}

    def value(self, arguments: Arguments) -> arb:
        if self.exact is not None:
            return self.exact
        precision = ctx.prec
        if precision not in self.balls:
            self.balls[precision] = fraction_ball(self.fraction)
        return self.balls[precision]

    def pair(self, arguments: Arguments, index: int) -> tuple[arb, Slope]:
        return self.value(arguments), None


class Constant(Expression):
    """An expression without variables, computed once per precision."""

    constant = True

    def __init__(self, compute: Callable[[], arb]) -> None:
        self.compute = compute
        self.balls: dict[int, arb] = {}

    def value(self, arguments: Arguments) -> arb:
        precision = ctx.prec
        if precision not in self.balls:
            self.balls[precision] = self.compute()
        return self.balls[precision]

    def pair(self, arguments: Arguments, index: int) -> tuple[arb, Slope]:
        return self.value(arguments), None


class Variable(Expression):
    """The argument of that index."""

    def __init__(self, index: int) -> None:
        self.index = index

    def value(self, arguments: Arguments) -> arb:
        return arguments[self.index]

    def pair(self, arguments: Arguments, index: int) -> tuple[arb, Slope]:
        return arguments[self.index], ONE if self.index == index else None


class Negative(Expression):
    """-a."""

    def __init__(self, operand: Expression) -> None:
        self.operand = operand

    def value(self, arguments: Arguments) -> arb:
        return -self.operand.value(arguments)

    def pair(self, arguments: Arguments, index: int) -> tuple[arb, Slope]:
        a, da = self.operand.pair(arguments, index)
        return -a, None if da is None else -da


class Binary(Expression):
    """A node of two operands."""

    def __init__(self, left: Expression, right: Expression) -> None:
        self.left = left
        self.right = right


class Sum(Binary):
    """a + b."""

    def value(self, arguments: Arguments) -> arb:
        return self.left.value(arguments) + self.right.value(arguments)

    def pair(self, arguments: Arguments, index: int) -> tuple[arb, Slope]:
        a, da = self.left.pair(arguments, index)
        b, db = self.right.pair(arguments, index)
        return a + b, da if db is None else db if da is None else da + db


class Difference(Binary):
    """a - b."""

    def value(self, arguments: Arguments) -> arb:
        return self.left.value(arguments) - self.right.value(arguments)

    def pair(self, arguments: Arguments, index: int) -> tuple[arb, Slope]:
        a, da = self.left.pair(arguments, index)
        b, db = self.right.pair(arguments, index)
        return a - b, da if db is None else -db if da is None else da - db


class Product(Binary):
    """a b."""

    def value(self, arguments: Arguments) -> arb:
        return self.left.value(arguments) * self.right.value(arguments)

    def pair(self, arguments: Arguments, index: int) -> tuple[arb, Slope]:
        a, da = self.left.pair(arguments, index)
        b, db = self.right.pair(arguments, index)
        if da is None:
            return a * b, None if db is None else a * db
        return a * b, da * b if db is None else da * b + a * db


class Quotient(Binary):
    """a/b, with slope (a' - (a/b) b')/b."""

    def value(self, arguments: Arguments) -> arb:
        return divide(self.left.value(arguments), self.right.value(arguments))

    def pair(self, arguments: Arguments, index: int) -> tuple[arb, Slope]:
        a, da = self.left.pair(arguments, index)
        b, db = self.right.pair(arguments, index)
        ratio = divide(a, b)
        if db is None:
            return ratio, None if da is None else da / b
        return ratio, (-ratio * db if da is None else da - ratio * db) / b


class Scaled(Expression):
    """a p/q with whole p and q: exact whenever the result is, which (1/q as a ball) would not be."""

    def __init__(self, operand: Expression, fraction: Fraction) -> None:
        self.operand = operand
        self.fraction = fraction
        self.numerator = arb(fraction.numerator) if fraction.numerator != 1 else None
        self.denominator = arb(fraction.denominator)

    def scale(self, ball: arb) -> arb:
        """The ball times the fraction."""
        return (ball if self.numerator is None else ball * self.numerator) / self.denominator

    def value(self, arguments: Arguments) -> arb:
        return self.scale(self.operand.value(arguments))

    def pair(self, arguments: Arguments, index: int) -> tuple[arb, Slope]:
        a, da = self.operand.pair(arguments, index)
        return self.scale(a), None if da is None else self.scale(da)


class Power(Binary):
    """a^b, with slope b a^(b-1) a' + a^b log(a) b'."""

    def value(self, arguments: Arguments) -> arb:
        return power(self.left.value(arguments), self.right.value(arguments))

    def pair(self, arguments: Arguments, index: int) -> tuple[arb, Slope]:
        a, da = self.left.pair(arguments, index)
        b, db = self.right.pair(arguments, index)
        result = power(a, b)
        slope = None if da is None or b.is_zero() else b * power(a, b - ONE) * da
        if db is not None:
            change = result * logarithm(a) * db
            slope = change if slope is None else slope + change
        return result, slope


class Call(Expression):
    """An elementary function of one argument."""

    def __init__(self, function: Function, operand: Expression) -> None:
        self.function = function.value
        self.slope = function.slope
        self.operand = operand

    def value(self, arguments: Arguments) -> arb:
        return self.function(self.operand.value(arguments))

    def pair(self, arguments: Arguments, index: int) -> tuple[arb, Slope]:
        u, du = self.operand.pair(arguments, index)
        result = self.function(u)
        return result, None if du is None else self.slope(u, result) * du


class Choice(Expression):
    """a where the condition holds, else b; only the branch taken is computed."""

    def __init__(self, condition: Condition, true: Expression, false: Expression) -> None:
        self.condition = condition
        self.true = true
        self.false = false

    def value(self, arguments: Arguments) -> arb:
        return (self.true if self.condition.holds(arguments) else self.false).value(arguments)

    def pair(self, arguments: Arguments, index: int) -> tuple[arb, Slope]:
        return (self.true if self.condition.holds(arguments) else self.false).pair(arguments, index)


class Extremum(Binary):
    """max(a, b), or min(a, b); where a = b the slope is that of b."""

    def __init__(self, left: Expression, right: Expression, greater: bool) -> None:
        super().__init__(left, right)
        self.greater = greater

    def value(self, arguments: Arguments) -> arb:
        a, b = self.left.value(arguments), self.right.value(arguments)
        return a.max(b) if self.greater else a.min(b)

    def pair(self, arguments: Arguments, index: int) -> tuple[arb, Slope]:
        a, da = self.left.pair(arguments, index)
        b, db = self.right.pair(arguments, index)
        if a > b if self.greater else a < b:
            return a, da
        if a <= b if self.greater else a >= b:
            return b, db
        raise Undecided


class Comparison(Condition):
    """A chain of comparisons: a < b <= c."""

    def __init__(self, operands: list[Expression], relations: list[Callable[[arb, arb], bool]]) -> None:
        self.operands = operands
        self.relations = relations

    def holds(self, arguments: Arguments) -> bool:
        balls = [operand.value(arguments) for operand in self.operands]
        return all(relation(balls[i], balls[i + 1]) for i, relation in enumerate(self.relations))


class Logical(Condition):
    """``and`` or ``or`` of conditions, from left to right."""

    def __init__(self, conditions: list[Condition], conjunction: bool) -> None:
        self.conditions = conditions
        self.conjunction = conjunction

    def holds(self, arguments: Arguments) -> bool:
        decide = all if self.conjunction else any
        return decide(condition.holds(arguments) for condition in self.conditions)


class Not(Condition):
    """``not`` a condition."""

    def __init__(self, condition: Condition) -> None:
        self.condition = condition

    def holds(self, arguments: Arguments) -> bool:
        return not self.condition.holds(arguments)
