"""Products and quotients of numbers that know nothing of each other's size.

On the way to a result that is a number, others may overflow or lose their digits among the subnormal numbers. Where
words are as wide as results, such elements, which are rare, are computed in the next wider arithmetic; numbers that
hold their power of two apart have it put right.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from math import inf

from fastact.kernels.operations import Value, absolute, doubled, fma, plain, unless, where, word

FAINT = {"f32": 2.0**-100, "f64": 2.0**-960}
"""Below it products of numbers up to 1 may lack digits."""
FADED = {"f32": -60.0, "f64": -600.0}
"""Exponentials of less have to be looked after if anything is multiplied with them."""
TINY, UP = 2.0**-900, 600
"""Sums of pairs of words below that are made 2^UP further up, where their second words have digits."""
SQUARED = 1.4
"""Times the reach of exponentials: that of their squares, if two more numbers are multiplied with them."""


def narrow(x: Value) -> bool:
    """Whether numbers are single words and no wider than results."""
    a = plain(x).context.arithmetic
    return not (a.pair or a.wide)


def rescued(
    value: Value,
    lost: Callable[[], Value],
    body: Callable[..., Value],
    *inputs: Value,
    but: tuple[tuple[Value, float], ...] = (),
) -> Value:
    """The value; where something was lost on the way, the body in wider arithmetic. ``but`` where these parameters are
    equal to these numbers, for which the value is right everywhere."""
    numbers = [i for i in inputs if not isinstance(i, float)]
    if not narrow(numbers[0]) or (but and all(known(parameter) for parameter, _ in but)):
        return value
    context = plain(numbers[0]).context

    def complete(*wide: Value) -> Value:
        found = iter(wide)
        return body(*(i if isinstance(i, float) else next(found) for i in inputs))

    condition = lost()
    if but:
        condition = condition & ~functools.reduce(operator.and_, (_is(*pair) for pair in but))
    return unless(context.word_of(value), condition, context.wider(complete, *map(plain, numbers)))


def _is(parameter: Value, default: float) -> Value:
    """Whether a parameter is this number, as any format has it."""
    mantissa, exponent = math.frexp(default)
    rounded = {math.ldexp(round(mantissa * 2.0**bits), exponent - bits) for bits in (8, 11, 53)}
    return functools.reduce(operator.or_, (plain(parameter).equals(number) for number in sorted(rounded)))


def faint(x: Value) -> Value:
    """Where a number has lost digits or may soon; zeros have none to lose."""
    size = absolute(x)
    return (size < FAINT[x.context.arithmetic.word]) & (size > 0.0)


def beyond(x: Value) -> Value:
    """Where a number is faint, or as near to overflow, or has got there: zeros count, since others become them."""
    limit = FAINT[x.context.arithmetic.word]
    size = absolute(x)
    return (size < limit) | (size > 1.0 / limit)


def astray(x: Value) -> Value:
    """Where a number is so far from 1 that squares may be beyond."""
    limit = FAINT[x.context.arithmetic.word] ** 0.5
    size = absolute(x)
    return (size < limit) | (size > 1.0 / limit)


def vast(x: Value) -> Value:
    """Where the square of a number may overflow."""
    return absolute(x) > FAINT[x.context.arithmetic.word] ** -0.5


def large(x: Value) -> Value:
    """Where a number is so large that a few times that may overflow."""
    return absolute(x) > 1.0 / FAINT[x.context.arithmetic.word]


def faded(t: Value) -> Value:
    """Where exp(t) is small."""
    return plain(t) < FADED[plain(t).context.arithmetic.word]


def faded_or_astray(t: Value, *factors: Value) -> Value:
    """Where exp(t) is small, or one of some factors is far from 1."""
    lost = faded(t)
    for factor in factors:
        lost = lost | astray(factor) & ~factor.equals(0.0)
    return lost


def chain(body: Callable[..., Value], inputs: tuple[Value, ...], *factors: Value) -> Value:
    """The product of factors from the left; the same as ``body(*inputs)``."""
    total, lost = factors[0], None
    for place, factor in enumerate(factors[1:]):
        if place and hasattr(total, "centred"):
            total = total.centred()
        elif narrow(inputs[0]):
            lost = beyond(total) if lost is None else lost | beyond(total)
        total = total * factor
    if hasattr(total, "held"):
        return total.held()
    if lost is not None:
        # A zero among the factors loses nothing, unless others had overflowed before it.
        zeros = [factor.equals(0.0) for factor in factors if not isinstance(factor, (int, float))]
        lost = lost & (~functools.reduce(operator.or_, zeros) | total.is_nan())
    return rescued(total, lambda: lost, body, *inputs)


def held(value: Value) -> Value:
    """A product or quotient of numbers that hold their power of two apart, with that within reach."""
    return value.held() if hasattr(value, "held") else value


def centred(value: Value) -> Value:
    """A product that more factors are to come to."""
    return value.centred() if hasattr(value, "centred") else value


def signed(value: Value, like: Value) -> Value:
    """A product that has the sign of a word: a zero may have lost it whose factor held its power of two apart."""
    return value.signed(like) if hasattr(value, "signed") and hasattr(value, "plain") else value


def signed_product(a: Value, b: Value) -> Value:
    """A product of two numbers that hold their power of two apart, with that within reach and the sign of zeros."""
    return held(a * b).signed(a.sign() * b.sign())


def anywhere(value: Value) -> Value:
    """The same number with a plain form that is right however small or large it is."""
    return value.anywhere() if hasattr(value, "anywhere") and value.far is not None else value


def settled(value: Value) -> Value:
    """The number itself, for sums and functions of it, where it is as small or large as its power of two makes it."""
    return value.settled() if hasattr(value, "settled") else value


def apart(value: Value, like: Value) -> Value:
    """A number that holds its power of two apart, if inputs do."""
    return plain(value).context.held_apart(plain(value)) if hasattr(like, "plain") else value


def shifted(value: Value, count: int, far: Value) -> Value:
    """A number times 2^count, which is right where it is far: of what has been kept away from the subnormal numbers."""
    return value.context.held_apart(value).shifted(count, far)


def sum_or_infinity(total: Value, *terms: Value) -> Value:
    """The sum of some terms, or one that is infinite, of which pairs of words would make no number."""
    if not plain(total).context.arithmetic.pair:
        return total
    for term in terms:
        total = where(absolute(plain(term)) < inf, total, plain(term))
    return total


def product_plus(factors: tuple[Value, ...], addend: Value, whole: bool = False) -> Value:
    """The product of some numbers and a last one added, in two words since they may cancel; in one where infinite, and
    where the product of all but the last of them is exact, unless the ``whole`` is wanted. Small ones are added at a
    distance from the subnormal numbers, where the second word has digits."""
    short = factors[0].context.arithmetic.short and not whole
    if short and factors[0].context.exact_product(factors[:-1]):
        return fma(functools.reduce(operator.mul, factors[:-1]), factors[-1], addend)
    high = [word(factor) for factor in factors]
    rounded = functools.reduce(operator.mul, high) + word(addend)
    scaled = hasattr(factors[0], "plain")
    product = functools.reduce(operator.mul, factors if scaled else [doubled(factor) for factor in factors])
    total = doubled(product) + plain(addend)
    total = total.choose(abs(rounded) < inf, rounded)
    if not scaled:
        return total
    if known(addend):
        return where(addend.equals(0.0), product, total)
    small = (abs(rounded) < TINY) & (abs(word(addend)) < TINY)
    moved = product.shifted(UP).plain() + plain(addend) * 2.0**UP
    return where(small, shifted(moved, -UP, small), total)


def number(parameter: Value) -> float | None:
    """What a parameter is, to a word, if it is known when the kernel is linked."""
    if isinstance(parameter, (int, float)):
        return float(parameter)
    node = word(parameter).node
    node = node.args[0] if node.op == "fpext" else node
    return float.fromhex(str(node.data)) if node.op == "constant" else None


def known(parameter: Value) -> bool:
    """Whether a parameter is known when the kernel is linked."""
    return number(parameter) is not None


def is_one(parameter: Value) -> bool:
    """Whether a parameter is known to be 1 when the kernel is linked."""
    if isinstance(parameter, (int, float)):
        return parameter == 1.0
    return bool(word(parameter).is_one())
