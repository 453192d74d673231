"""Single values in ball arithmetic, and the limits at infinities and poles.

A limit is taken from three points: the infinite arguments become +-2^400, +-2^800, +-2^1600, or an argument at a pole
moves by those powers of 1/2. Values that agree to 200 bits have converged; values that shrink below 2^-300 tend to
zero; values of one sign that exceed 100 and grow by steps that do not shrink tend to an infinity; everything else has
no limit. That is numerical evidence and no proof, but it is right for everything that approaches its limit faster
than a power of x or diverges at least like the logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from fastact.accuracy.balls import Undecided, arb, ctx

Program = Callable[[tuple[arb, ...]], arb]

MOST_BITS = 1 << 16
"""The precision at which a question counts as undecidable."""

_DISTANCES = (400, 800, 1600)
_VANISHED = -3000
_FIRST_BITS, _LAST_BITS = 1 << 12, 1 << 15


class Limit(NamedTuple):
    """A limit: a ball, an infinity or NaN; and the sign of the values on the way, 0 where unknown."""

    ball: arb
    sign: int

    def number(self) -> float:
        """The limit in float64, with the sign of the way on a zero."""
        value = float(self.ball)
        return -0.0 if value == 0.0 and self.sign < 0 else abs(value) if value == 0.0 else value


def sign_of(ball: arb) -> int:
    """1 or -1 where certain, else 0."""
    return 1 if ball > 0 else -1 if ball < 0 else 0


def below(ball: arb, exponent: int) -> bool:
    """Whether |ball| < 2^exponent for certain."""
    return bool(abs(ball) < arb((1, exponent)))


def enclose(
    program: Program, arguments: tuple[arb, ...], bits: int, floor: int | None = None, most: int = MOST_BITS
) -> arb:
    """Ball of that many bits of relative accuracy, or certainly within (-2^floor, 2^floor).

    The working precision, a setting of the process, is left changed. If ``most`` bits of it do not suffice, the last
    ball is returned as it is.

    Raises:
        Undecided: with ``most`` bits the value is still not known to be finite.
        Undefined: the value does not exist.
        Pole: it is a limit.
    """
    working = bits + 20
    while True:
        ctx.prec = working
        last = working >= most
        try:
            ball = program(arguments)
        except Undecided:
            if last:
                raise
        else:
            if ball.rel_accuracy_bits() >= bits or (floor is not None and below(ball, floor)):
                return ball
            if last:
                if ball.is_finite():
                    return ball
                raise Undecided
        working = min(2 * working, most)


def limit(program: Program, arguments: tuple[float, ...]) -> Limit:
    """The limit at arguments of which some are infinite, or else at a pole with respect to x.

    At a pole x = +-0 the side of its sign is taken, if the function exists there, otherwise the other side; at any
    other pole both sides, where they exist, must agree.
    """
    if any(math.isnan(a) for a in arguments):
        return Limit(arb.nan(), 0)
    if any(math.isinf(a) for a in arguments):
        return _along(program, lambda distance: tuple(_stand_in(a, distance) for a in arguments))
    side = math.copysign(1.0, arguments[0])
    near = one_sided(program, arguments, side)
    if arguments[0] == 0.0 and not near.ball.is_nan():
        return near
    far = one_sided(program, arguments, -side)
    if near.ball.is_nan() or far.ball.is_nan():
        return far if near.ball.is_nan() else near
    agree = near.ball == far.ball or near.ball.overlaps(far.ball)
    return near if agree else Limit(arb.nan(), 0)


def one_sided(program: Program, arguments: tuple[float, ...], side: float) -> Limit:
    """The limit as x comes from above (side > 0) or below."""
    x, rest = arb(arguments[0]), tuple(arb(a) for a in arguments[1:])

    def point(distance: int) -> tuple[arb, ...]:
        ctx.prec = _FIRST_BITS  # enough for an exact sum
        step = arb((1, -distance))
        return (x + step if side > 0 else x - step, *rest)

    return _along(program, point)


def _stand_in(argument: float, distance: int) -> arb:
    if math.isinf(argument):
        return arb((1 if argument > 0 else -1, distance))
    return arb(argument)


def _along(program: Program, point: Callable[[int], tuple[arb, ...]]) -> Limit:
    balls = []
    for distance in _DISTANCES:
        arguments = point(distance)
        try:
            balls.append(enclose(program, arguments, _FIRST_BITS - 20, _VANISHED, _LAST_BITS))
        except ArithmeticError:
            return Limit(arb.nan(), 0)
    ctx.prec = _FIRST_BITS
    return _judge(*balls)


def _judge(first: arb, second: arb, third: arb) -> Limit:
    """The limit of three values."""
    sign = sign_of(third)
    if below(third, -300) and below(second, -150):
        return Limit(arb(0), sign)
    if bool(abs(third - second) <= abs(third) * arb((1, -200))):
        return Limit(third.union(second), sign)
    grows = abs(third) - abs(second) >= abs(second) - abs(first) and abs(second) > abs(first)
    if grows and abs(first) > 100 and sign == sign_of(second) == sign_of(first) != 0:
        return Limit(arb.pos_inf() if sign > 0 else arb.neg_inf(), sign)
    return Limit(arb.nan(), 0)
