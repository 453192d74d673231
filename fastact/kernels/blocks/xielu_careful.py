"""What xielu and its gradients do where terms cancel: wider arithmetic, or three words."""

from __future__ import annotations

from collections.abc import Callable

from fastact.kernels import operations as op
from fastact.kernels.blocks import rescue, xielu_far
from fastact.kernels.blocks.exactly import fast_two_sum
from fastact.kernels.blocks.roots import in_plenty, in_want
from fastact.kernels.blocks.xielu_words import LARGE
from fastact.kernels.operations import Value


def careful(value: Value, size: Value, body: Callable[..., Value], x: Value, *parameters: Value) -> Value:
    """The value, which is what remained of terms of some size; in wider arithmetic where that is little of them."""
    if x.context.arithmetic.pair:
        return value
    if in_plenty(x):  # results have far fewer digits, and doubts are looked into
        x.context.doubts.append(op.absolute(value) < size * 2.0**-8)
        return value
    return op.unless(value, op.absolute(value) < size * 0.75, x.context.wider(body, x, *parameters))


# -- in three words -------------------------------------------------------------------------------------------------
def remains(value: Value, few: Value, name: str, x: Value, *parameters: Value) -> Value:
    """The value; what three words make of it where it is less than so few."""
    y = op.plain(x)
    if not in_want(x):
        return value
    from fastact.kernels.blocks import xielu_long

    body, size = getattr(xielu_long, name), op.absolute(y)
    if name == "value":
        size = xielu_long.reach(op.word(y), op.word(parameters[-1]))
    most = xielu_far.FAR if y.context.arithmetic.pair and not rescue.known(parameters[0]) else LARGE
    alone = (op.absolute(value) < few) & (size > 1.0 / most) & (size < most)
    if y.context.arithmetic.pair:
        return value.unless(alone, body(y, *parameters))

    def rounded(*inputs: Value) -> Value:
        """Of two words that came from three, the first need not be the rounding."""
        found = body(*inputs)
        return found.pair(*fast_two_sum(found.hi, found.lo))

    return value.unless(alone, y.context.wider(rounded, y, *map(op.plain, parameters)))


def telling(little: Value, beta: Value, x: Value) -> Value:
    """What is added to beta; where results are correctly rounded, enough to tell whether x beta is exceeded, which may
    be a tie between two of them."""
    arithmetic = beta.context.arithmetic
    if hasattr(x, "plain") or not (arithmetic.decisive or arithmetic.roomy):
        return little
    return op.copysign(op.telling(op.absolute(little), op.minimum(op.absolute(beta), LARGE)), little)


def ends_before(eps: Value, x: float) -> bool:
    """Whether the exponential is known to stop before x."""
    number = rescue.number(eps)
    return number is not None and number < x
