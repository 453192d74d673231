"""Activation functions made of quotients and square roots: smooth, and without an exponential."""

from __future__ import annotations

from fastact.kernels import operations as op
from fastact.kernels.blocks import closely, rescue
from fastact.kernels.blocks.exactly import fast_two_sum, two_sum
from fastact.kernels.blocks.products import next_to_zero, times_gradient
from fastact.kernels.blocks.quotients import tying
from fastact.kernels.blocks.roots import short
from fastact.kernels.blocks.squares import largest_root, square_range
from fastact.kernels.declare import Parameter, Rejection, declare
from fastact.kernels.operations import Value

FAMILY = "activations"
INFINITY = float("inf")


# -- x/(1 + |x|) ----------------------------------------------------------------------------------------------------
def _over_square(n: Value, x: Value) -> Value:
    """n/(1 + |x|)^2, with the square as |x| (|x| + 2) + 1, which next to 1 rounds but once; where it might overflow,
    divided twice."""
    if x.context.arithmetic.pair:
        r = 1.0 / op.one_plus(op.absolute(x))
        return n * r * r
    y = op.absolute(x)
    r = 1.0 / (y + 1.0)
    return op.unless(n / op.fma(y, y + 2.0, 1.0), y > largest_root(x), n * r * r)


def _softsign_gradient(x: Value) -> Value:
    return _over_square(1.0, x)


def _softsign_backward(g: Value, x: Value) -> Value:
    return rescue.signed(_over_square(g, x), op.word(g))


def _softsign_from_output(g: Value, y: Value) -> Value:
    """1/(1 + |x|) = 1 - |y|."""
    r = 1.0 - op.absolute(op.plain(y))
    return g * r * r


def _softsign_backward_in_words(g: Value, x: Value) -> tuple[Value, Value]:
    """The quotient of g by the square of 1 + |x| in two words."""
    u, rest = two_sum(x.lift(1.0), op.absolute(x))
    d = u * u
    return closely.quotient(g, d, (u + u).fma(rest, u.fma(u, -d)))


def _softsign_in_words(x: Value) -> tuple[Value, Value]:
    """Of |x|: times -1/s, where s + e is 1 + |x| without error, and what that quotient misses. As long as both are
    negative, zeros keep a sign that x gives back."""
    y = op.minimum(op.absolute(x), 2.0**120)
    large, small = op.where(y > 1.0, y, 1.0), op.where(y > 1.0, 1.0, y)
    s, e = fast_two_sum(large, small)
    r = -1.0 / s
    q = y * r
    above, near = closely.rounded(q, q.fma(e, q.fma(s, y)) * r)
    return op.copysign(op.absolute(above), x), near


@declare(
    family=FAMILY,
    formula="x/(1 + abs(x))",
    gradient=_softsign_gradient,
    backward=_softsign_backward,
    from_output=_softsign_from_output,
    words={"value": _softsign_in_words, "backward": _softsign_backward_in_words},
    aliases=("soft_sign",),
    numpy="x/(1 + np.abs(x))",
    peers={
        "torch": "torch.nn.functional.softsign(x)",
        "jax": "jax.nn.soft_sign(x)",
        "numexpr": "x/(1 + abs(x))",
    },
    critical=(0.0,),
    cite="Bergstra, Desjardins, Lamblin and Bengio 2009, Quadratic polynomials learn better image features",
)
def softsign(x: Value) -> Value:
    """x/(1 + |x|): nothing cancels. Where 1 does not count in any format, x is held, so that infinities have their
    limits."""
    x = op.clip(x, -(2.0**120), 2.0**120)
    return x / (op.absolute(op.plain(x)) + 1.0)


# -- (x + sqrt(x^2 + b))/2 ------------------------------------------------------------------------------------------
Range = tuple[float, float, float, float]


def _reduced(y: Value, b: Value, t: Value, limits: Range) -> tuple[Value, Value, Value]:
    """Where t = y^2 + b is out of range, and the factor for y that brings it there with its reciprocal."""
    least, most, *scales = limits
    down, up = scales
    large = (y > 1.0) | (b > 1.0)
    return ~((t >= least) & (t <= most)), op.where(large, down, up), op.where(large, 1 / down, 1 / up)


def _roots(x: Value, b: Value) -> tuple[Value, Value]:
    """s = sqrt(x^2 + b) and (|x| + s)/2, for any x and b: far from 1 with x scaled by a power of two and b by its
    square."""
    y, b = op.absolute(op.plain(x)), op.plain(b)
    t = op.fma(y, y, b)
    s = op.sqrt(t)
    h = (y + s) * 0.5
    limits = square_range(x)
    if limits is None:
        return s, h
    odd, f, back = _reduced(y, b, t, limits)
    z, finite = y * f, y < INFINITY
    q = op.fma(z, z, b * f * f)
    r = op.where(q.equals(0.0), 0.0, op.sqrt(q))
    s = op.unless(s, odd, op.where(finite, r * back, y))
    h = op.unless(h, odd, op.where(finite, (z + r) * (back * 0.5), y))
    if hasattr(x, "plain"):
        # There b does not count, and quotients with both may be subnormal.
        far = ((y > 2.0**300) & (b < 2.0**400)) | ((y > 0.0) & b.equals(0.0))
        s, h = (op.where(far, op.absolute(x), value) for value in (s, h))
    if not rescue.known(b):
        s, h = (rescue.apart(op.plain(value), x) for value in (s, h))
    return s, h


def _boundless(b: Value, x: Value, limit: Value, value: Value) -> Value:
    """The value; where b is infinite and x is not, its limit."""
    if rescue.known(b):
        return value
    return op.where(op.plain(b).equals(INFINITY) & (op.absolute(op.plain(x)) < INFINITY), limit, value)


def _tail(b: Value, h: Value) -> Value:
    """b/(4 h)."""
    return op.where(op.plain(b).equals(0.0), 0.0, b / h * 0.25)


def _squareplus_gradient(x: Value, b: Value) -> Value:
    slope = _squareplus_slope(x, b)
    return slope if rescue.known(b) else op.unless_nan(slope, b)


def _squareplus_slope(x: Value, b: Value) -> Value:
    """(1 + x/s)/2 with s = sqrt(t), t = x^2 + b. With d = t + |x| s that is d/(2 t) for x >= 0 and b/(2 d) below, and
    no rounding of s counts in full. Where t = 0 it is 1/2, as it is at 0 for every other b."""
    arithmetic, limits, negative = x.context.arithmetic, square_range(x), x < 0.0
    if arithmetic.pair:
        s, h = _roots(x, b)
        value = op.where(s.equals(0.0), 0.5, op.where(negative, _tail(b, h), h) / s)
        y, r = op.word(x), op.word(s)
        value = next_to_zero(x, value, lambda: op.absolute(y) < r * 2.0**-56, 0.5, lambda: y / r * 0.5)
        value = _boundless(b, x, 0.5, value)
        return op.where(op.absolute(x) < INFINITY, value, op.where(x > 0.0, 1.0, op.where(negative, 0.0, op.plain(x))))

    def quotient(z: Value, c: Value, numerator: Value) -> Value:
        t = op.fma(z, z, c)
        d = op.fma(op.sqrt(t), z, t)
        return op.where(negative, numerator, d) / (op.where(negative, d, t) * 2.0)

    y = op.absolute(x)
    if limits is None:
        # So infinities come near enough to their limits, and t is not 0.
        value = quotient(op.minimum(y, 2.0 ** (arithmetic.bias >> 2)), b + 2.0 ** (27 - arithmetic.bias), b)
        return _boundless(b, x, 0.5, value)
    t = op.fma(y, y, b)
    odd, f, _ = _reduced(y, b, t, limits)
    first: Value = 1.0
    second = f
    if not rescue.known(b):  # of a large f b lacks the factor in the end, of a small one it has none to lose
        grown = f > 1.0
        first, second = op.where(grown, f, 1.0), op.where(grown, 1.0, f)
    z, c = y * f, b * f * f
    scaled = quotient(z, c, b * f if rescue.known(b) else b * f * first)
    scaled = op.where(y.equals(INFINITY), op.where(negative, 0.0, 1.0), op.where(negative, scaled * second, scaled))
    scaled = _boundless(b, x, 0.5, scaled)
    return op.unless(quotient(y, b, b), odd, op.where(t.equals(0.0) & (y * f).equals(0.0), 0.5, scaled))


def _squareplus_backward(g: Value, x: Value, b: Value) -> Value:
    """Far below 0 the slope is b/(4 x^2) and less than that by nothing that pairs of words have."""
    value = times_gradient(g, _squareplus_gradient(x, b), _squareplus_backward, (g, x, b))
    if not op.plain(g).context.arithmetic.decisive or hasattr(g, "plain"):
        return value
    far = (x < 0.0) & (op.word(b) < op.word(x) * op.word(x) * 2.0**-96) & (x > -INFINITY)
    return op.unless(value, far, op.lessened(tying(g * b * 0.25, x * x)))


_squareplus_backward.products = True  # type: ignore[attr-defined]


def _squareplus_from_output(g: Value, y: Value, b: Value) -> Value:
    """y^2/(y^2 + b/4), since x = y - b/(4 y); where squares might be out of range, 1/(1 + b/(4 y^2))."""
    if hasattr(y, "plain") and not rescue.known(b):
        y = op.minimum(y, 2.0**1000)
        r = ((b / y).centred() / y * 0.25).anywhere()
        return op.where(y <= 0.0, 0.0, (g / op.one_plus(r)).held())
    if rescue.known(b) or short(y):
        most: Value = 2.0**60
    else:
        most = op.where(op.plain(b).equals(4.0), 2.0**60, 2.0**300)
    value = _squareplus_product(g, op.minimum(y, most), b)
    if y.context.arithmetic.pair:
        return value
    odd = (y > 0.0) & (rescue.astray(y) | rescue.astray(b) | rescue.faint(g) | rescue.vast(g))
    return rescue.rescued(value, lambda: odd, _squareplus_from_output, g, y, b, but=((b, 4.0),))


def _squareplus_product(g: Value, y: Value, b: Value) -> Value:
    z = y * 2.0
    q = z * 2.0 / op.fma(z, z, op.plain(b))
    large = y > 1.0
    value = g * op.where(large, q * y, q) * op.where(large, 1.0, y)
    if y.context.arithmetic.decisive and not hasattr(g, "plain"):
        value = tying(g * z * z, op.fma(z, z, op.plain(b)))
    return op.where(y <= 0.0, 0.0, value)


def _squareplus_in_words(x: Value, b: Value) -> tuple[Value, Value]:
    """h for x >= 0 and 1/h below, for b = 4. With z = |x|/2 it is h = z + sqrt(z^2 + 1), and the sum under the root is
    t + rest without error: its last place is not above 1. One quotient serves for 1/h and for what the root misses."""
    z = op.absolute(x) * 0.5
    t = z.fma(z, 1.0)
    s = op.sqrt(t)
    rest = (-s).fma(s, t) + z.fma(z, 1.0 - t)
    h, e = fast_two_sum(s, z)
    inverse = 0.5 / (h * s)
    low, q = rest.fma(h * inverse, e), (s + s) * inverse
    missing = (-q).fma(low, (-q).fma(h, 1.0))
    below = x < 0.0
    high = op.where(below, q, h)
    return closely.rounded(high, op.where(below, missing * q, low), closely.beyond(z, 2.0**12))


@declare(
    family=FAMILY,
    formula="(x + sqrt(x*x + b))/2",
    settled=("value",),
    words={"value": _squareplus_in_words},
    parameters=(Parameter("b", 4.0, within="at least 0", summary="Squared width of the bend; relu where it is 0."),),
    gradient=_squareplus_gradient,
    backward=_squareplus_backward,
    from_output=_squareplus_from_output,
    rejections=(Rejection("b is negative, but has to be at least 0", lambda b: b < 0),),
    numpy="(x + np.sqrt(x*x + b))/2",
    peers={
        "torch": "(x + torch.sqrt(x*x + b))/2",
        "jax": "jax.nn.squareplus(x, b)",
        "numexpr": "(x + sqrt(x*x + b))/2",
    },
    critical=(0.0,),
    cite="Barron 2021, Squareplus: a softplus-like algebraic rectifier, arXiv:2112.11687",
)
def squareplus(x: Value, b: Value) -> Value:
    """h = (|x| + sqrt(x^2 + b))/2 for x >= 0 and b/(4 h) below: the sum of x < 0 and the root would cancel."""
    _, h = _roots(x, b)
    value = _boundless(b, x, INFINITY, op.where(x < 0.0, b / h * 0.25, h))
    if x.context.arithmetic.pair:  # quotients of pairs by infinities are NaN
        value = op.where(x <= -INFINITY, op.plain(b) * 0.0, value)
    return value if rescue.known(b) else op.unless_nan(value, b)
