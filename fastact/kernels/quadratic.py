"""Activation functions made of straight and quadratic pieces, sums and products of a few rounded terms.

Where they pass through 0 at some x, they are factored there, so that what is left is a difference that is exact.
"""

from __future__ import annotations

from math import inf as INFINITY

from fastact.kernels import operations as op
from fastact.kernels.blocks import quadratic_words, rescue
from fastact.kernels.blocks.exactly import two_sum
from fastact.kernels.blocks.quotients import over
from fastact.kernels.blocks.roots import short
from fastact.kernels.declare import Parameter, Variant, declare
from fastact.kernels.operations import Value

FAMILY = "activations"


# -- squares of relu ------------------------------------------------------------------------------------------------
def _relu_squared_gradient(x: Value) -> Value:
    return op.maximum(op.plain(x), 0.0) * 2.0


def _relu_squared_backward(g: Value, x: Value) -> Value:
    """A selection, so that an infinite g meets no 0."""
    return op.where(x <= 0.0, 0.0, g * x * 2.0)


def _relu_squared_from_output(g: Value, y: Value) -> Value:
    """2 g sqrt(y)."""
    return op.where(y <= 0.0, 0.0, g * (op.sqrt(y) * 2.0))


@declare(
    family=FAMILY,
    formula="where(x > 0, x, 0)**2",
    gradient=_relu_squared_gradient,
    backward=_relu_squared_backward,
    from_output=_relu_squared_from_output,
    words={"backward": quadratic_words.relu_squared_backward},
    aliases=("squared_relu",),
    numpy="np.maximum(x, 0)**2",
    peers={
        "torch": "torch.square(torch.relu(x))",
        "jax": "jax.numpy.square(jax.nn.relu(x))",
        "numexpr": "where(x > 0, x*x, 0)",
    },
    critical=(0.0,),
    cite="So et al. 2021, Primer, arXiv:2109.08668",
)
def relu_squared(x: Value) -> Value:
    """max(x, 0)^2."""
    r = op.maximum(op.plain(x), 0.0)
    return op.rounded_product(r, r)


def _star_relu_gradient(x: Value, scale: Value, bias: Value) -> Value:
    """2 s max(x, 0)."""
    value = op.maximum(x, 0.0) * (scale * 2.0)
    if not rescue.known(scale):
        value = rescue.rescued(value, lambda: rescue.large(scale), _star_relu_gradient, x, scale, bias)
    return op.unless_nan(value, bias)


def _star_relu_backward(g: Value, x: Value, scale: Value, bias: Value) -> Value:
    """A selection, so that an infinite g meets no 0."""
    if rescue.known(scale) and rescue.narrow(x):  # 2 scale is near 1: what is lost on the way is lost in the end
        value = g * x * (scale * 2.0)
    else:
        value = rescue.chain(_star_relu_backward, (g, x, scale, bias), g, x, scale, 2.0)
    return op.unless_nan(op.where(x <= 0.0, 0.0, value), scale, bias)


def _star_relu_gradient_scale(x: Value, scale: Value, bias: Value) -> Value:
    """max(x, 0)^2."""
    return op.unless_nan(relu_squared(x), scale, bias)


def _star_relu_backward_scale(g: Value, x: Value, scale: Value, bias: Value) -> Value:
    value = rescue.chain(_star_relu_backward_scale, (g, x, scale, bias), g, x, x)
    return op.unless_nan(op.where(x <= 0.0, 0.0, value), scale, bias)


def _star_relu_gradient_bias(x: Value, scale: Value, bias: Value) -> Value:
    return op.unless_nan(op.where(x.is_nan(), op.plain(x), 1.0), scale, bias)


def _star_relu_next_to_root(like: Value, r: Value, scale: Value, bias: Value) -> Value:
    """Without error, but for the last of three words: all that two of them have may cancel."""
    from fastact.kernels.blocks import triple

    square = triple.product((r,), (r,))
    high, middle, low = triple.total(triple.product(square, (scale,)), (bias,))
    high, rest = two_sum(high, middle)
    high, low = two_sum(high, rest + low)
    return like.pair(high, low) if hasattr(like, "pair") else high


def _star_relu_in_quarters(r: Value, scale: Value, bias: Value) -> Value:
    """Of a product that overflows the bias may leave a number."""
    quarter = op.plain(rescue.product_plus((r * 0.5, scale, r * 0.5), bias * 0.25))
    high = quarter.hi * 4.0
    return quarter.pair(high, op.where(op.absolute(high) < INFINITY, quarter.low * 4.0, 0.0))


@declare(
    family=FAMILY,
    formula="scale*where(x > 0, x, 0)**2 + bias",
    settled=("value", "grad"),
    words={"value": quadratic_words.star_relu, "backward": quadratic_words.star_relu_backward},
    parameters=(
        Parameter(
            "scale", 0.8944, learned=True, gradient=_star_relu_gradient_scale, backward=_star_relu_backward_scale
        ),
        Parameter("bias", -0.4472, learned=True, gradient=_star_relu_gradient_bias),
    ),
    gradient=_star_relu_gradient,
    backward=_star_relu_backward,
    numpy="scale*np.maximum(x, 0)**2 + bias",
    peers={
        "torch": "scale*torch.square(torch.relu(x)) + bias",
        "jax": "scale*jax.numpy.square(jax.nn.relu(x)) + bias",
        "numexpr": "scale*where(x > 0, x*x, 0) + bias",
    },
    critical=(0.0, 0.7071067811865476),
    cite="Yu et al. 2022, MetaFormer baselines for vision, arXiv:2210.13452",
)
def star_relu(x: Value, scale: Value, bias: Value) -> Value:
    """scale max(x, 0)^2 + bias; the product in two words, since the sum cancels next to its root."""
    r = op.maximum(x, 0.0)
    value = op.narrowed(rescue.product_plus((r, scale, r), bias))
    if rescue.known(scale):
        return value
    arithmetic = op.plain(r).context.arithmetic
    if arithmetic.decisive or (rescue.narrow(r) and not arithmetic.careless):
        size, part = op.absolute(op.plain(value)), 2.0**-16 if short(r) else 2.0**-40
        alone = size < op.absolute(op.plain(bias)) * part
        value = value.unless(alone, _star_relu_next_to_root(op.plain(value), *map(op.word, (r, scale, bias))))
    if hasattr(r, "plain"):
        value = value.unless(~(op.absolute(op.word(value)) < 2.0**1022), _star_relu_in_quarters(r, scale, bias))

    def lost() -> Value:
        size = op.absolute(op.word(value))
        return rescue.faint(r * scale) | ~(size < INFINITY) | size.equals(0.0) & (r > 0.0)

    return rescue.rescued(value, lost, star_relu, x, scale, bias)


# -- (x + 3)/6 ------------------------------------------------------------------------------------------------------
LITTLE = 2.0**-900
"""A sum of numbers of any size that is less may have lost its sign."""


def _hardsigmoid_gradient(x: Value) -> Value:
    """1/6 between -3 and 3, 0 elsewhere."""
    return op.between(x, -3.0, 3.0, quadratic_words.SIXTH, 0.0)


def _hardsigmoid_backward(g: Value, x: Value) -> Value:
    return op.between(x, -3.0, 3.0, g / 6.0, 0.0)


def _hardsigmoid_from_output(g: Value, y: Value) -> Value:
    return op.between(y, 0.0, 1.0, g / 6.0, 0.0)


def _general_hardsigmoid(x: Value, slope: Value, offset: Value) -> Value:
    """slope x + offset held within [0, 1]; the product in two words, since the sum cancels next to its root."""
    return op.clip(op.narrowed(rescue.product_plus((x, slope), offset)), 0.0, 1.0)


def _general_gradient(x: Value, slope: Value, offset: Value) -> Value:
    """The slope where 0 < slope x + offset < 1, 0 elsewhere."""
    value = _where_sloped(x, slope, offset, op.plain(slope))
    return rescue.rescued(value, lambda: _vanishing(x, slope, offset), _general_gradient, x, slope, offset)


def _general_backward(g: Value, x: Value, slope: Value, offset: Value) -> Value:
    value = _where_sloped(x, slope, offset, g * slope)
    return rescue.rescued(value, lambda: _vanishing(x, slope, offset), _general_backward, g, x, slope, offset)


def _general_from_output(g: Value, y: Value, slope: Value, offset: Value) -> Value:
    return op.unless_nan(op.between(y, 0.0, 1.0, g * slope, 0.0), slope, offset)


def _where_sloped(x: Value, slope: Value, offset: Value, result: Value) -> Value:
    y = op.doubled(rescue.product_plus((x, slope), offset, whole=True))
    if hasattr(x, "plain"):  # the sign, where that is all there is of the sum
        sign = (x * slope).plus(offset).sign() * LITTLE
        y = y.unless(op.absolute(y) < LITTLE, y.lift(sign))
    lacking = 1.0 - y
    outside = (y <= 0.0) | (y >= 1.0) & (lacking <= 0.0) | (y > 1.0)
    return op.where((y > 0.0) & (lacking > 0.0), result, op.where(outside, 0.0, op.narrowed(y)))


def _vanishing(x: Value, slope: Value, offset: Value) -> Value:
    """Where the sum may be positive or not by less than the smallest number."""
    size = op.absolute(op.plain(offset))
    return (size < rescue.FAINT[x.context.arithmetic.word]) & (op.absolute(x * slope) <= size * 2.0)


@declare(
    family=FAMILY,
    formula="clip(x/6 + 1/2, 0, 1)",
    settled=("value", "grad"),
    words={"value": quadratic_words.hardsigmoid},
    gradient=_hardsigmoid_gradient,
    backward=_hardsigmoid_backward,
    from_output=_hardsigmoid_from_output,
    variant=Variant(
        (
            Parameter("slope", 1 / 6, summary="Slope instead of 1/6; ONNX HardSigmoid has 0.2 (alpha)."),
            Parameter("offset", 0.5, summary="Value at 0 instead of 1/2 (ONNX: beta)."),
        ),
        {
            "value": _general_hardsigmoid,
            "grad": _general_gradient,
            "backward": _general_backward,
            "from_output": _general_from_output,
        },
        formula="clip(slope*x + offset, 0, 1)",
        slopes={"from_output": "where(x > 0 and x < 1, slope, 0)"},
        places=lambda step, slope, offset: (0.5 + 0.75 * step - offset) / slope,
    ),
    aliases=("hard_sigmoid",),
    numpy="np.minimum(np.maximum(x/6 + 0.5, 0), 1)",
    peers={
        "torch": "torch.nn.functional.hardsigmoid(x)",
        "jax": "jax.nn.hard_sigmoid(x)",
        "numexpr": "where(x > -3, where(x < 3, x/6 + 0.5, 1), 0)",
    },
    critical=(-3.0, 0.0, 3.0),
    cite="Courbariaux, Bengio and David 2015, BinaryConnect, arXiv:1511.00363; slope 1/6 as in Howard et al. 2019",
)
def hardsigmoid(x: Value) -> Value:
    """(x + 3)/6 held within [0, 1]; with slope= or offset= any other such line."""
    return over(op.clip(x, -3.0, 3.0) + 3.0, 6)


def _hardswish_gradient(x: Value) -> Value:
    """(x + 3/2)/3 between -3 and 3."""
    inner = over(op.clip(x, -3.0, 3.0) + 1.5, 3)
    return op.where(x >= 3.0, 1.0, op.where(x <= -3.0, 0.0, inner))


def _hardswish_backward(g: Value, x: Value) -> Value:
    """Selections, so that an infinite g meets no 0."""
    inner = over(g * (op.clip(x, -3.0, 3.0) + 1.5), 3)
    inner = rescue.rescued(inner, lambda: rescue.large(g), _hardswish_backward, g, x)
    return op.where(x >= 3.0, g, op.where(x <= -3.0, 0.0, inner))


@declare(
    family=FAMILY,
    formula="x*clip(x/6 + 1/2, 0, 1)",
    settled=("grad",),
    words={
        "value": quadratic_words.hardswish,
        "grad": quadratic_words.hardswish_gradient,
        "backward": quadratic_words.hardswish_backward,
    },
    gradient=_hardswish_gradient,
    backward=_hardswish_backward,
    gradient_roots=(-1.5,),
    aliases=("hard_swish", "hardsilu", "hard_silu"),
    numpy="x*np.minimum(np.maximum(x/6 + 0.5, 0), 1)",
    peers={
        "torch": "torch.nn.functional.hardswish(x)",
        "jax": "jax.nn.hard_swish(x)",
        "numexpr": "x*where(x > -3, where(x < 3, x/6 + 0.5, 1), 0)",
    },
    critical=(-3.0, -1.5, 0.0, 3.0),
    cite="Howard et al. 2019, Searching for MobileNetV3, arXiv:1905.02244",
)
def hardswish(x: Value) -> Value:
    """x times (x + 3)/6 between -3 and 3; -0 below, x above: what is held at -3 is -3 times 0."""
    y = op.maximum(x, -3.0)
    return rescue.signed(y * over(op.minimum(y, 3.0) + 3.0, 6), op.word(x))


# -- (x + 1)/2 ------------------------------------------------------------------------------------------------------
def _sparse_sigmoid_gradient(x: Value) -> Value:
    """1/2 between -1 and 1, 0 elsewhere."""
    return op.between(x, -1.0, 1.0, 0.5, 0.0)


def _sparse_sigmoid_backward(g: Value, x: Value) -> Value:
    return op.between(x, -1.0, 1.0, g * 0.5, 0.0)


def _sparse_sigmoid_from_output(g: Value, y: Value) -> Value:
    """So near to 1 that its output is 1, x does not count as below it."""
    return op.between(y, 0.0, 1.0, g * 0.5, 0.0)


@declare(
    family=FAMILY,
    formula="clip((x + 1)/2, 0, 1)",
    settled=("value", "grad"),
    gradient=_sparse_sigmoid_gradient,
    backward=_sparse_sigmoid_backward,
    from_output=_sparse_sigmoid_from_output,
    numpy="0.5*np.minimum(np.maximum(x + 1, 0), 2)",
    peers={"torch": "torch.clamp((x + 1)/2, 0, 1)", "jax": "jax.nn.sparse_sigmoid(x)"},
    critical=(-1.0, 0.0, 1.0),
    cite="Martins and Astudillo 2016, From softmax to sparsemax, arXiv:1602.02068",
)
def sparse_sigmoid(x: Value) -> Value:
    """(x + 1)/2 held within [0, 1]: sparsemax of two inputs."""
    return op.fma(op.clip(x, -1.0, 1.0), 0.5, 0.5)


def _sparse_plus_backward(g: Value, x: Value) -> Value:
    """A selection, so that an infinite g meets no 0."""
    return op.where(x <= -1.0, 0.0, g * sparse_sigmoid(x))


def _sparse_plus_from_output(g: Value, y: Value) -> Value:
    """(x + 1)/2 = sqrt(y) below y = 1. A selection by y, since of pairs of words sqrt(y) may be above 1 by less than
    its first word tells."""
    return op.where(y <= 0.0, 0.0, op.where(y >= 1.0, g, g * op.sqrt(y)))


@declare(
    family=FAMILY,
    formula="where(x >= 1, x, where(x <= -1, 0, (x + 1)**2/4))",
    settled=("value", "grad"),
    words={"value": quadratic_words.sparse_plus, "backward": quadratic_words.sparse_plus_backward},
    gradient=sparse_sigmoid,
    backward=_sparse_plus_backward,
    from_output=_sparse_plus_from_output,
    numpy="np.where(x >= 1, x, np.maximum(x + 1, 0)**2/4)",
    peers={
        "torch": "torch.where(x >= 1, x, torch.square(torch.relu(x + 1))/4)",
        "jax": "jax.nn.sparse_plus(x)",
        "numexpr": "where(x >= 1, x, where(x <= -1, 0, (x + 1)*(x + 1)/4))",
    },
    critical=(-1.0, 0.0, 1.0),
    cite="Martins and Astudillo 2016, From softmax to sparsemax, arXiv:1602.02068; jax.nn.sparse_plus",
)
def sparse_plus(x: Value) -> Value:
    """The integral of sparse_sigmoid: 0 up to -1, (x + 1)^2/4, x from 1 on."""
    half = op.fma(op.maximum(x, -1.0), 0.5, 0.5)
    return op.where(x >= 1.0, x, half * half)
