"""Activation functions made of exponentials: linear units with an exponential branch; relatives of silu and tanh."""

from __future__ import annotations

from fractions import Fraction

from fastact.kernels import operations as op
from fastact.kernels.blocks import closely, rescue
from fastact.kernels.blocks.products import times_gradient
from fastact.kernels.blocks.quotients import tying
from fastact.kernels.blocks.reach import over_one_plus_exp
from fastact.kernels.blocks.roots import exp_closely, in_products, in_short_pairs, of_one_kind, short, slope_in_products
from fastact.kernels.declare import Parameter, Rejection, declare
from fastact.kernels.operations import Value

FAMILY = "activations"


INFINITY = float("inf")


# -- exponential linear units ---------------------------------------------------------------------------------------
def _elu_slope(x: Value, alpha: Value) -> Value:
    return op.where(x > 0.0, 1.0, op.exp(op.minimum(op.plain(x), 0.0)) * alpha)


def _elu_backward(g: Value, x: Value, alpha: Value) -> Value:
    slope = _elu_slope(x, alpha)
    value = times_gradient(g, slope, _elu_backward, (g, x, alpha))

    def lost() -> Value:
        return rescue.faded(x) | (x <= 0.0) & rescue.beyond(op.plain(slope))

    return rescue.rescued(value, lost, _elu_backward, g, x, alpha, but=((alpha, 1.0),))


_elu_backward.products = True  # type: ignore[attr-defined]


def _elu_gradient(x: Value, alpha: Value) -> Value:
    """1 above 0, alpha exp(x) elsewhere."""
    value = _elu_slope(x, alpha)
    return rescue.rescued(value, lambda: rescue.faded(x), _elu_gradient, x, alpha, but=((alpha, 1.0),))


def _elu_from_output(g: Value, y: Value, alpha: Value) -> Value:
    """alpha exp(x) = y + alpha for y <= 0."""
    return op.where(y > 0.0, g, g * rescue.apart(op.plain(y) + op.plain(alpha), y))


@declare(
    family=FAMILY,
    formula="where(x > 0, x, alpha*expm1(x))",
    parameters=(Parameter("alpha", 1.0, summary="Minus the limit at -inf."),),
    gradient=_elu_gradient,
    backward=_elu_backward,
    from_output=_elu_from_output,
    settled=("value", "grad"),
    rejections=(
        Rejection(
            "the output does not tell the sign of x where alpha is negative; use .backward(g, x)",
            lambda alpha: alpha < 0,
            ("from_output",),
        ),
    ),
    numpy="np.where(x > 0, x, alpha*np.expm1(np.minimum(x, 0)))",
    peers={
        "torch": "torch.nn.functional.elu(x, alpha)",
        "jax": "jax.nn.elu(x, alpha)",
        "numexpr": "where(x > 0, x, alpha*expm1(x))",
    },
    critical=(0.0, -17.33, -37.43),
    cite="Clevert, Unterthiner and Hochreiter 2015, arXiv:1511.07289",
)
def elu(x: Value, alpha: Value) -> Value:
    """x above 0, alpha expm1(x) elsewhere; alpha (exp(x) - 1) would cancel next to 0, where the value is a little less
    than alpha x."""
    below = op.expm1(op.minimum(op.plain(x), 0.0)) * alpha
    if x.context.arithmetic.roomy:  # alpha x may be a tie between two results
        below = op.where(op.absolute(x) < 2.0**-54, x * alpha * (1.0 - 2.0**-50), below)
    return op.where(x > 0.0, x, op.next_to_zero(x, op.lessened(x * alpha), below))


def _celu_exponent(x: Value, alpha: Value) -> Value:
    """x/alpha, its rounding error included, held within the reach of exponentials."""
    if rescue.is_one(alpha):
        t = op.extended(x)
    else:
        t = rescue.settled(x / alpha) if hasattr(x, "plain") else op.extended(x) / op.plain(alpha)
        t = op.where(op.absolute(op.plain(alpha)).equals(INFINITY), op.plain(x) * 0.0, t)
    return op.clip(t, op.tail(x), -op.tail(x))


def _celu_slope(x: Value, alpha: Value) -> Value:
    positive = x > 0.0
    return op.where(positive, 1.0, op.exp(op.where(positive, 0.0, _celu_exponent(x, alpha))))


def _celu_backward(g: Value, x: Value, alpha: Value) -> Value:
    value = times_gradient(g, _celu_slope(x, alpha), _celu_backward, (g, x, alpha))
    return rescue.rescued(value, lambda: rescue.faint(x), _celu_backward, g, x, alpha, but=((alpha, 1.0),))


_celu_backward.products = True  # type: ignore[attr-defined]


def _celu_gradient(x: Value, alpha: Value) -> Value:
    """1 above 0, exp(x/alpha) elsewhere."""
    value = _celu_slope(x, alpha)
    return rescue.rescued(value, lambda: rescue.faint(x), _celu_gradient, x, alpha, but=((alpha, 1.0),))


def _celu_from_output(g: Value, y: Value, alpha: Value) -> Value:
    """exp(x/alpha) = (y + alpha)/alpha for y <= 0: that order keeps what y and alpha have left."""
    y, alpha = op.plain(y), op.plain(alpha)
    if not rescue.known(alpha):
        unit = op.where(rescue.large(op.word(alpha)), 0.25, 1.0)  # of which the sum does not overflow
        y, alpha = y * unit, alpha * unit
    slope = rescue.apart(y + alpha, g) / rescue.apart(alpha, g)
    above = y > 0.0
    if not rescue.known(alpha):
        above = above | op.absolute(alpha).equals(INFINITY) & (y > -INFINITY)
    product = g * slope
    if op.plain(g).context.arithmetic.decisive and not hasattr(g, "plain"):
        product = tying(g * (y + alpha), alpha)
    if hasattr(g, "plain"):  # pairs of words have no infinite quotients
        limit = op.word(g) * (op.word(y) / op.word(alpha))
        product = op.where(y.equals(-INFINITY), limit, product)
    value = op.where(above, g, product)
    return rescue.rescued(value, lambda: rescue.large(slope), _celu_from_output, g, y, alpha, but=((alpha, 1.0),))


def _growing(x: Value, alpha: Value) -> Value:
    """celu where x and alpha are negative: alpha exp(t) - alpha with t = x/alpha, which grows without limit."""
    t, word = _celu_exponent(x, alpha), op.plain(alpha)
    beyond = t >= -op.tail(x)
    t = op.where(beyond, 1.0, t)
    near = op.expm1(op.minimum(op.narrowed(t), 1.0))
    if hasattr(x, "plain") and not rescue.known(alpha):
        e = op.exp(t)
        value = op.where(t > 80.0, e * alpha, alpha * op.where(t > 1.0, op.plain(e) - 1.0, near))
    else:
        half = op.plain(exp_closely(t * 0.5, True))  # exp(t) may overflow where its product does not
        value = op.where(t > 80.0, half * word * half, op.plain(op.exp(t)) * word - word)
        value = op.where(t > 1.0, value, near * word)
    value = op.where(beyond, -INFINITY, rescue.held(value))
    return rescue.rescued(value, lambda: rescue.faint(x), _growing, x, alpha, but=((alpha, 1.0),))


@declare(
    family=FAMILY,
    formula="where(x > 0, x, alpha*expm1(x/alpha))",
    parameters=(
        Parameter("alpha", 1.0, within="any number but 0", summary="Minus the limit at -inf where it is positive."),
    ),
    settled=("value", "grad"),
    gradient=_celu_gradient,
    backward=_celu_backward,
    from_output=_celu_from_output,
    rejections=(Rejection("alpha is 0, but has to be another number", lambda alpha: alpha == 0),),
    numpy="np.where(x > 0, x, alpha*np.expm1(np.minimum(x, 0)/alpha))",
    peers={
        "torch": "torch.nn.functional.celu(x, alpha)",
        "jax": "jax.nn.celu(x, alpha)",
        "numexpr": "where(x > 0, x, alpha*expm1(x/alpha))",
    },
    critical=(0.0, -17.33, -37.43),
    cite="Barron 2017, Continuously differentiable exponential linear units, arXiv:1704.07483",
)
def celu(x: Value, alpha: Value) -> Value:
    """x above 0, alpha expm1(x/alpha) elsewhere: the gradient is continuous for every alpha; a negative one makes the
    lower branch grow, as it does in PyTorch."""
    word = op.plain(alpha)
    apart = hasattr(x, "plain") and not rescue.known(alpha)
    t = op.minimum(rescue.settled(x / alpha) if apart else op.plain(x) / word, 0.0)
    below = op.next_to_zero(t, x, op.expm1(t) * (alpha if apart else word))
    below = op.unless(below, (x < 0.0) & (word < 0.0), _growing(x, alpha))
    if not rescue.is_one(alpha):
        tiny = (op.absolute(op.plain(x)) < op.absolute(word) * 2.0**-120) | op.absolute(word).equals(INFINITY)
        below = op.where(tiny, op.plain(x), below)
    return op.where(x > 0.0, x, below)


SELU_SCALE = Fraction("1.0507009873554805")
SELU_LIMIT = SELU_SCALE * Fraction("1.6732632423543772")
"""The decimals are those of every implementation; their product is minus the limit at -inf."""


def _selu_gradient(x: Value) -> Value:
    """lambda above 0, lambda alpha exp(x) elsewhere."""
    return op.where(x > 0.0, SELU_SCALE, op.exp(op.minimum(op.plain(x), 0.0)) * SELU_LIMIT)


def _selu_from_output(g: Value, y: Value) -> Value:
    """lambda alpha exp(x) = y + lambda alpha for y <= 0: where that cancels, the sum with the first word is exact."""
    unit = 1 << y.context.arithmetic.mantissa_bits
    word = Fraction(round(SELU_LIMIT * unit), unit)
    return op.where(y > 0.0, g * SELU_SCALE, g * ((op.plain(y) + word) + (SELU_LIMIT - word)))


@declare(
    family=FAMILY,
    formula="1.0507009873554805*where(x > 0, x, 1.6732632423543772*expm1(x))",
    settled=("value", "grad"),
    gradient=_selu_gradient,
    from_output=_selu_from_output,
    numpy="1.0507009873554805*np.where(x > 0, x, 1.6732632423543772*np.expm1(np.minimum(x, 0)))",
    peers={
        "torch": "torch.nn.functional.selu(x)",
        "jax": "jax.nn.selu(x)",
        "numexpr": "1.0507009873554805*where(x > 0, x, 1.6732632423543772*expm1(x))",
    },
    critical=(0.0, -17.33, -37.43),
    cite="Klambauer, Unterthiner, Mayr and Hochreiter 2017, arXiv:1706.02515",
)
def selu(x: Value) -> Value:
    """lambda x above 0, lambda alpha expm1(x) elsewhere, with the constants multiplied before they are rounded."""
    below = op.expm1(op.minimum(op.plain(x), 0.0)) * SELU_LIMIT
    return op.where(x > 0.0, x * SELU_SCALE, op.next_to_zero(x, x * SELU_LIMIT, below))


# -- x - tanh x -----------------------------------------------------------------------------------------------------
def _tanh(x: Value) -> Value:
    return op.next_to_zero(x, x, op.tanh(x))


def _tanh_in_products(x: Value) -> Value:
    """The same; next to 0 x - x^3/3 + ..., rounded once, as a factor of what is next to a power of two has to be."""
    if not of_one_kind(x) or op.plain(x).context.arithmetic.careless:
        return _tanh(x)
    from fastact.kernels.blocks.single import tanh_from_expm1

    y = op.plain(x)
    z = y * y
    tail = op.fma(z, op.fma(z, op.fma(z, op.fma(z, -1382 / 155925, 62 / 2835), -17 / 315), 2 / 15), -1 / 3)
    far = _tanh(x) if short(x) else tanh_from_expm1(y, closely=True)
    return op.where(op.absolute(y) < 2.0**-5, op.fma(y * z, tail, y), far)


def _tanhshrink_gradient(x: Value) -> Value:
    """tanh^2 x; 1 - (1 - tanh^2 x) would cancel next to 0."""
    t = _tanh(x)
    return t * t


def _tanhshrink_backward(g: Value, x: Value) -> Value:
    """Multiplied from the left, so that a tiny tanh^2 x does not lose the digits of its product."""
    t = _tanh_in_products(x)
    product = g * t * t
    if of_one_kind(g) and not op.plain(g).context.arithmetic.careless:
        # What the first rounding leaves is added to the second; of infinities nothing is left, and of zeros the sign.
        first = g * t
        rest = op.fma(g, t, -first)
        product = op.fma(first, t, op.where(op.absolute(rest) > 0.0, rest * t, -0.0))
    if not op.plain(x).context.arithmetic.decisive:
        return product
    # Next to 0 it is g x^2 and less than that, which only a tie between two results tells.
    product = op.where(op.absolute(op.word(x)) < 2.0**-40, g * x * op.lessened(x), product)
    return rescue.signed(product, op.word(g))


def _tanhshrink_gradient_in_words(x: Value) -> tuple[Value, Value]:
    from fastact.kernels.blocks.pair_single_tangents import SQUARED, tanh_squared

    square, rest, size = tanh_squared(x)
    return closely.between(square, -rest, size, SQUARED, closely.tiny(x, LEAST))


def _tanhshrink_backward_in_words(g: Value, x: Value) -> tuple[Value, Value]:
    """The product of g and the square in two words."""
    from fastact.kernels.blocks.pair_single_tangents import SQUARED, tanh_squared

    square, rest, size = tanh_squared(x)
    first = g * square
    less = (-g).fma(rest, (-g).fma(square, first))
    strange = closely.tiny(x, LEAST) | closely.tiny(g, 2.0**-60)
    return closely.between(first, less, g * size, SQUARED, strange, closely.beyond(op.absolute(g), 2.0**96))


LEAST = 2.0**-22
"""Of smaller numbers squares, and products with them, may lack bits."""


@declare(
    family=FAMILY,
    formula="x - tanh(x)",
    settled=("value", "grad"),
    words={"grad": _tanhshrink_gradient_in_words, "backward": _tanhshrink_backward_in_words},
    gradient=_tanhshrink_gradient,
    backward=_tanhshrink_backward,
    aliases=("tanh_shrink",),
    numpy="x - np.tanh(x)",
    peers={
        "torch": "torch.nn.functional.tanhshrink(x)",
        "jax": "x - jax.numpy.tanh(x)",
        "numexpr": "x - tanh(x)",
    },
    critical=(0.0, 0.5, -0.5, 1.0, -1.0, 9.01, -9.01, 19.07, -19.07),
    cite="torch.nn.functional.tanhshrink",
)
def tanhshrink(x: Value) -> Value:
    """x - tanh x = x^3 P(x^2) next to 0; further out (|x| - 1) + 2 e/(1 + e) with e = exp(-2|x|), two terms of one
    sign."""
    if in_short_pairs(x):
        return x.context.blocks.tanhshrink_alone(x)
    y = op.absolute(op.plain(x))
    pair = x.context.arithmetic.pair
    # So small a z no longer counts; but a product with 0 would not know its sign.
    z = op.maximum(y * y, 2.0**-960) if pair else y * y
    e = op.plain(op.exp(y * -2.0))
    rest = op.telling(e * 2.0 / (e + 1.0), y)
    beyond = op.copysign(op.plus_finite(op.plus_finite(y, -1.0), rest), x)
    return op.where(y < (0.5 if pair else 1.0), x * (z * op.series(z, "tanhshrink")), beyond)


# -- x s(1.702 x) ---------------------------------------------------------------------------------------------------
QUICK = Fraction("1.702")
ALMOST = 0.5875
"""A little less than 1/1.702."""
QUICK_GELU_ROOT = -0.751154255441289
"""Root of the gradient: that of silu over 1.702."""


def _quick_gelu_gradient(x: Value) -> Value:
    """The gradient of silu at t = 1.702 x: with e = exp(-|t|) and u = 1 + e it is (u + t e)/u^2 for t >= 0 and
    e (u + t)/u^2 below."""
    x = op.clip(op.plain(x), op.tail(x), -op.tail(x))
    product = op.extended(x) * QUICK
    if in_short_pairs(x):
        return x.context.blocks.silu_slope(x, product)
    e, t, negative = exp_closely(-op.absolute(product)), op.narrowed(product), x < 0.0
    op.cancelling(x, QUICK_GELU_ROOT)
    rest = op.plus_dropped(e, product, negative)
    # The factor e, where it keeps its digits, before the division: one rounding less.
    if in_products(x):
        return op.next_to_root(x, slope_in_products(t, e, rest), "quick_gelu_root", 2.0**-4)
    deep = t < -40.0
    factor = op.where(negative & ~deep, op.plain(e), 1.0)
    numerator = op.distributed(factor, op.where(negative, t, t * e) + 1.0, op.plain(rest))
    slope = op.where(deep, e, 1.0) * (numerator / op.fma(e, e + 2.0, 1.0))
    return op.next_to_root(x, slope, "quick_gelu_root", 2.0**-4)


@declare(
    family=FAMILY,
    formula="x/(1 + exp(-1.702*x))",
    gradient=_quick_gelu_gradient,
    gradient_roots=(QUICK_GELU_ROOT,),
    numpy="x/(1 + np.exp(-1.702*x))",
    peers={
        "torch": "x*torch.sigmoid(1.702*x)",
        "jax": "x*jax.nn.sigmoid(1.702*x)",
        "numexpr": "x/(1 + exp(-1.702*x))",
    },
    critical=(0.0, QUICK_GELU_ROOT, 10.18, 21.99, -52.13, -61.09, -416.2, -437.4),
    cite="Hendrycks and Gimpel 2016, arXiv:1606.08415; CLIP, Radford et al. 2021, arXiv:2103.00020",
)
def quick_gelu(x: Value) -> Value:
    """x/(1 + exp(-1.702 x)), the exponential's argument carried in two words, and its power of two held apart where it
    would overflow."""
    tail = op.tail(x)
    x = op.maximum(x, tail * ALMOST)
    t = -(op.extended(op.minimum(op.plain(x), -tail * ALMOST)) * QUICK)
    t.context.note(t, tail, -tail)
    return over_one_plus_exp(x, t)
