"""Activation functions that rise in waves."""

from __future__ import annotations

from functools import partial

from fastact.kernels import operations as op
from fastact.kernels.blocks import rescue
from fastact.kernels.blocks.exactly import two_sum
from fastact.kernels.blocks.roots import in_plenty, of_one_kind, of_sixteen, short, turn
from fastact.kernels.declare import Parameter, Rejection, declare
from fastact.kernels.operations import Value

INFINITY = float("inf")
SNAKE_ROOT = -0.7853981633974483
"""The first of the roots of the gradient, -pi/4 + n pi."""

NEARLY_NOTHING = 2.0**-10
"""What is left of a difference where double-double arithmetic gives way to more words."""
PART = 2.0**-38
"""The same as a part of t, of cos(t) known to 2^-102 of 1."""
STRAIGHT = 2.0**-36
"""A sine that is its argument, of which double-double arithmetic may not leave enough digits any more."""
NEARLY_SQUARE = 2.0**-38
"""Below such a t, t^2 is less than what a product of three float32 numbers differs by from a tie, if it is none."""


def _narrow(x: Value) -> bool:
    """Whether numbers have no more digits than results need: squares of sines take the next wider arithmetic then."""
    return not (x.context.arithmetic.pair or x.context.arithmetic.careless)


def _sine(t: Value, quarters: int = 0, factors: tuple[Value, ...] = ()) -> Value:
    """sin(t + quarters pi/4) or minus that: only its square is asked for, or its product with a like factor."""
    return t.context.blocks.sin_but_sign(t, quarters, *((factors,) if factors else ()))


def _factors(x: Value, alpha: Value) -> tuple[Value, ...]:
    """The factors of alpha x where that may overflow."""
    return (op.word(x), op.word(alpha)) if hasattr(x, "plain") and not rescue.known(alpha) else ()


def _careful(value: Value, size: Value, x: Value, alpha: Value) -> Value:
    """The gradient with respect to alpha, in wider arithmetic where little remains of the difference; where that has
    little of it left as well, it is doubted."""
    if x.context.arithmetic.pair:
        return value
    if in_plenty(x) and not of_sixteen(x):
        x.context.doubts.append(op.absolute(value) < size * NEARLY_NOTHING)
    return op.unless(value, op.absolute(value) < size * 0.5, x.context.wider(_difference, x, alpha))


def _parts(x: Value, alpha: Value) -> tuple[Value, Value, Value]:
    """sin|t|/|alpha|, cos(t) and sin|t| with t = alpha x, or all with the other sign: that for which the first is
    positive, so that other arithmetics, for which t may lie on the other side of a quarter turn, mean the same."""
    t, factors = turn(x, alpha), _factors(x, alpha)
    s, c = t.context.blocks.sin_and_cos(t, *((factors,) if factors else ()))
    size = op.absolute(s)
    return rescue.anywhere(size / op.absolute(alpha)), op.where(s < 0.0, -c, c), size


def _difference(x: Value, alpha: Value) -> Value:
    """|x| cos(t) - sin|t|/(2 |alpha|), or minus that where the sine is negative."""
    s, c, _ = _parts(x, alpha)
    usual = op.fma(op.absolute(op.plain(x)), c, op.plain(s) * -0.5)
    if not _factors(x, alpha):
        return usual
    return (op.absolute(x) * c).plus(s * -0.5).instead(x.far | alpha.far, usual)


def _next_to_root(value: Value, g: Value, x: Value, alpha: Value) -> Value:
    """The gradient with respect to alpha; next to a root g 2 (sin(t)/alpha)^2 times the difference over sin(t)/alpha,
    which has more digits than the difference there."""
    from fastact.kernels.blocks import near_turns

    (quotient, c, s), t = _parts(x, alpha), abs(turn(x, alpha))
    size, left = op.word(t), op.absolute(op.fma(op.word(t) * 2.0, op.word(c), -op.word(s)))
    alone = ((left < NEARLY_NOTHING) | (left < size * PART)) & (size > 1.0) & (size < near_turns.MOST)
    rare = rescue.centred(quotient * 2.0 if type(g) is float else g * (quotient * 2.0))
    rare = rescue.held(rare * (quotient * near_turns.ratio(t, everywhere=hasattr(x, "plain"))))
    if not hasattr(rare, "mantissa"):
        return value.unless(alone, rare)
    return value.context.word_of(value).unless(alone, value.context.word_of(rare))


def _gradient_alpha(x: Value, alpha: Value) -> Value:
    return _backward_alpha(1.0, x, alpha)


def _backward_alpha(g: Value, x: Value, alpha: Value, closely: bool = True) -> Value:
    """g 2 sin|t|/|alpha| (|x| cos(t) - sin|t|/(2 |alpha|)) with t = alpha x: where the sine is 0 nothing cancels. For
    the smallest t it is x^2 and less than that, by less than t^2 of it, which only a tie between two results tells."""
    if _narrow(x):
        return _in_wider(g, x, alpha)
    s, *_ = _parts(x, alpha)
    difference = _difference(x, alpha)
    if not _factors(x, alpha):
        difference = _careful(op.plain(difference), op.plain(s), op.plain(x), op.plain(alpha))
    value = s * 2.0 * difference * g if type(g) is float else g * (s * 2.0) * difference
    tiny = op.absolute(op.plain(x) * op.plain(alpha)) < NEARLY_SQUARE
    value = op.where(tiny, rescue.held(rescue.centred(g * x) * op.lessened(x)), value)
    if closely and x.context.arithmetic.decisive and not of_sixteen(x):
        value = _next_to_root(value, g, x, alpha)

    def lost() -> Value:
        t, factors = op.absolute(op.plain(x) * op.plain(alpha)), () if type(g) is float else (g,)
        odd = (t > 64.0) | (t > 1.0) & (op.absolute(s * alpha) < 2.0**-12) | rescue.astray(x) | rescue.astray(alpha)
        for factor in factors:
            odd = odd | rescue.faint(factor) | rescue.large(factor)
        return odd & ~x.equals(0.0)

    but = ((alpha, 1.0),) if type(g) is float else ()
    return rescue.rescued(value, lost, partial(_backward_alpha, closely=False), g, x, alpha, but=but)


def _in_wider(g: Value, x: Value, alpha: Value) -> Value:
    """The same in the next wider arithmetic, to which a parameter that is known has to be told again."""
    unit = op.word(alpha).is_one()

    def body(*words: Value) -> Value:
        *given, y, a = (*words, words[0].context.number(1.0)) if unit else words
        return _backward_alpha(given[0] if given else 1.0, y, a, closely=False)

    inputs = (x,) if unit else (x, alpha)
    return x.context.wider(body, *map(op.plain, inputs if type(g) is float else (g, *inputs)))


def _gradient(x: Value, alpha: Value, closely: bool = True) -> Value:
    """1 + sin(2 t) = 2 sin^2(t + pi/4) with t = alpha x: next to its roots nothing cancels but t + pi/4 itself."""
    if _narrow(x):
        return x.context.wider(partial(_gradient, closely=False), op.plain(x), op.plain(alpha))
    t = turn(x, alpha)
    s = _sine(t, 1, _factors(x, alpha))
    if closely and _factors(x, alpha):
        from fastact.kernels.blocks import near_turns

        alone = (op.absolute(op.word(s)) < STRAIGHT) & (op.absolute(t.hi) < near_turns.MOST)
        s = s.unless(alone, t.pair(*near_turns.beside_turns(t.hi, t.low, 1)))
    value = s * s * 2.0
    beyond = op.plain(x) * op.plain(alpha)
    body = partial(_gradient, closely=False)
    return rescue.rescued(value, lambda: rescue.large(beyond), body, x, alpha, but=((alpha, 1.0),))


@declare(
    family="activations",
    formula="x + sin(alpha*x)**2/alpha",
    parameters=(
        Parameter(
            "alpha",
            1.0,
            learned=True,
            gradient=_gradient_alpha,
            backward=_backward_alpha,
            within="any number but 0",
            summary="The frequency of the waves is |alpha|/pi; a negative alpha takes their height off x.",
        ),
    ),
    gradient=_gradient,
    rejections=(Rejection("alpha is 0, but has to be another number", lambda alpha: alpha == 0),),
    gradient_roots=(SNAKE_ROOT,),
    numpy="x + np.sin(alpha*x)**2/alpha",
    peers={
        "torch": "x + torch.sin(alpha*x)**2/alpha",
        "jax": "x + jax.numpy.sin(alpha*x)**2/alpha",
        "numexpr": "x + sin(alpha*x)**2/alpha",
    },
    critical=(0.0, SNAKE_ROOT, 2.356194490192345, -3.9269908169872414, 1.5707963267948966, 4.71238898038469),
    cite="Ziyin, Hartwig and Ueda 2020, arXiv:2006.08195",
)
def snake(x: Value, alpha: Value) -> Value:
    """x + sin^2(alpha x)/alpha, from the digits of pi that the argument of the sine asks for. Gradients next to their
    roots, which alpha moves, take alpha x in two words and the roots in four; in float64 factors of a product between
    2^50 and 2^58 that is made to hit a root may leave 3 ULP."""
    y, a = op.plain(x), op.plain(alpha)
    if (of_one_kind(x) or x.context.arithmetic.short) and op.word(a).is_one():
        return x.context.blocks.plus_sin_squared(y)
    size = op.absolute(op.word(y) * op.word(a))
    if not _narrow(x):
        total = _rising(x, alpha)
    elif not short(y):
        inside = (size > 2.0**-60) & (size < 2.0**56)
        value = op.where(inside, _rising_in_words(y, a), y)
        if op.word(a).is_one():
            return value
        return op.unless_nan(rescue.rescued(value, lambda: inside & rescue.beyond(a), snake, x, alpha), a)
    else:
        total = x.context.wider(_rising, y, a)
    value = op.where((size > 2.0**-70) & (size < 2.0**120), total, x)
    return value if op.word(a).is_one() else op.unless_nan(value, a)


def _rising(x: Value, alpha: Value) -> Value:
    y, a = op.plain(x), op.plain(alpha)
    t = op.extended(x) * a
    # The wave may take most of x.
    s = y.context.in_full(_sine, True)(t) if y.context.arithmetic.short and not rescue.known(alpha) else _sine(t)
    if not hasattr(x, "plain") or rescue.known(alpha):
        return op.fma(s, s / a, y)
    wave = s * (s / alpha)
    small = (op.absolute(y) < rescue.TINY) & (op.absolute(a) > 2.0**-120)
    moved = y * 2.0**rescue.UP + wave.shifted(rescue.UP).plain()
    near = rescue.settled(wave)
    rounded = op.word(y) + op.word(near)
    total = op.where(op.absolute(rounded) < INFINITY, y + near, rounded)
    return op.where(small, rescue.shifted(moved, -rescue.UP, small), total)


def _rising_in_words(x: Value, alpha: Value) -> Value:
    """In the precision of the result. Half a unit in the last place of t = alpha x moves sin^2(t)/alpha by as much of x
    at most, so that of a large t the last digits do not count; of a small one what its rounding left does."""
    t = x * alpha
    square, rest = x.context.blocks.sin_squared(t, None if alpha.is_one() else x.fma(alpha, -t))
    if not alpha.is_one():
        inverse = 1.0 / alpha
        wave = square * inverse
        square, rest = wave, ((-wave).fma(alpha, square) + rest) * inverse
    total, e = two_sum(x, square)
    return total + (e + rest)
