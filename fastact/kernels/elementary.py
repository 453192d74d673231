"""Elementary functions: each body is the block of its name, composed where a block alone would lose digits."""

from __future__ import annotations

from fastact.kernels import operations as op
from fastact.kernels.blocks import closely, rescue
from fastact.kernels.blocks.exactly import two_product, two_sum
from fastact.kernels.blocks.products import next_to_zero, times_gradient
from fastact.kernels.blocks.quotients import logistic_density
from fastact.kernels.blocks.reach import over_one_plus_exp, times_exp2
from fastact.kernels.blocks.roots import exp_in_products, in_short_pairs
from fastact.kernels.declare import declare
from fastact.kernels.operations import Value

FAMILY = "elementary"
CODY_WAITE = "W. J. Cody and W. Waite, Software Manual for the Elementary Functions, 1980"


def _exp_gradient(x: Value) -> Value:
    return op.exp(x)


def _exp_from_output(g: Value, y: Value) -> Value:
    return g * y


@declare(
    family=FAMILY,
    formula="exp(x)",
    gradient=_exp_gradient,
    from_output=_exp_from_output,
    settled=("value", "grad"),
    numpy="np.exp(x)",
    peers={"torch": "torch.exp(x)", "jax": "jax.numpy.exp(x)", "numexpr": "exp(x)"},
    critical=(0.0,),
    cite=CODY_WAITE,
)
def exp(x: Value) -> Value:
    """e to the power x."""
    return op.exp(x)


def _exp2_gradient(x: Value) -> Value:
    return times_exp2(op.constant(x, "LN2"), x)


def _exp2_from_output(g: Value, y: Value) -> Value:
    return rescue.chain(_exp2_from_output, (g, y), g, y, op.constant(y, "LN2"))


@declare(
    family=FAMILY,
    formula="exp2(x)",
    gradient=_exp2_gradient,
    from_output=_exp2_from_output,
    settled=("grad",),
    numpy="np.exp2(x)",
    peers={"torch": "torch.exp2(x)", "jax": "jax.numpy.exp2(x)", "scipy": "scipy.special.exp2(x)"},
    critical=(0.0, 128.0, -126.0, -149.0, 1024.0, -1022.0, -1074.0),
    cite=CODY_WAITE,
)
def exp2(x: Value) -> Value:
    """2 to the power x."""
    return op.exp2(x)


def _expm1_gradient(x: Value) -> Value:
    return op.exp(x)


def _expm1_from_output(g: Value, y: Value) -> Value:
    return g * rescue.apart(y + 1.0, y)


@declare(
    family=FAMILY,
    formula="expm1(x)",
    gradient=_expm1_gradient,
    from_output=_expm1_from_output,
    settled=("value", "grad"),
    numpy="np.expm1(x)",
    peers={
        "torch": "torch.expm1(x)",
        "jax": "jax.numpy.expm1(x)",
        "scipy": "scipy.special.expm1(x)",
        "numexpr": "expm1(x)",
    },
    critical=(0.0,),
    cite=CODY_WAITE,
)
def expm1(x: Value) -> Value:
    """exp(x) - 1, to full relative accuracy near 0."""
    return op.expm1(x)


def _log_gradient(x: Value) -> Value:
    """1/x, but no number where there is no logarithm."""
    return op.where(x < 0.0, float("nan"), 1.0 / x)


def _log_backward(g: Value, x: Value) -> Value:
    """g/x, since 1/x may overflow where this does not."""
    return op.where(x < 0.0, float("nan"), g / x)


def _log_from_output(g: Value, y: Value) -> Value:
    """1/x = exp(-y)."""
    return rescue.held(times_gradient(g, op.exp(-y), _log_from_output, (g, y)))


@declare(
    family=FAMILY,
    formula="log(x)",
    gradient=_log_gradient,
    backward=_log_backward,
    from_output=_log_from_output,
    numpy="np.log(x)",
    peers={"torch": "torch.log(x)", "jax": "jax.numpy.log(x)", "numexpr": "log(x)"},
    domain=(0.0, float("inf")),
    poles=(0.0,),
    roots=(1.0,),
    critical=(1.0,),
    cite=CODY_WAITE,
)
def log(x: Value) -> Value:
    """The natural logarithm; -inf at 0, NaN below."""
    return op.log(x)


def _log1p_gradient(x: Value) -> Value:
    """1/(1 + x), but no number where there is no logarithm."""
    return op.where(x < -1.0, float("nan"), 1.0 / op.one_plus(x))


def _log1p_backward(g: Value, x: Value) -> Value:
    """g/(1 + x), of which the ties are ties."""
    return op.where(x < -1.0, float("nan"), g / op.one_plus(x))


def _log1p_backward_in_words(g: Value, x: Value) -> tuple[Value, Value]:
    """The quotient by 1 + x in two words. Where that is not positive, there is no logarithm, or an end of it."""
    return closely.quotient(g, *two_sum(x.lift(1.0), x))


def _log1p_from_output(g: Value, y: Value) -> Value:
    """1/(1 + x) = exp(-y)."""
    return _log_from_output(g, y)


@declare(
    family=FAMILY,
    formula="log1p(x)",
    gradient=_log1p_gradient,
    backward=_log1p_backward,
    from_output=_log1p_from_output,
    words={"backward": _log1p_backward_in_words},
    numpy="np.log1p(x)",
    peers={
        "torch": "torch.log1p(x)",
        "jax": "jax.numpy.log1p(x)",
        "scipy": "scipy.special.log1p(x)",
        "numexpr": "log1p(x)",
    },
    domain=(-1.0, float("inf")),
    poles=(-1.0,),
    critical=(0.0, -1.0),
    cite=CODY_WAITE,
)
def log1p(x: Value) -> Value:
    """log(1 + x), to full relative accuracy near 0; -inf at -1, NaN below."""
    return op.log1p(x)


def _reciprocal_gradient(x: Value) -> Value:
    """-1/x^2, as the square of 1/x: neither overflows before the result does."""
    y = 1.0 / x
    return -(y * y)


def _reciprocal_backward(g: Value, x: Value) -> Value:
    """-g/x^2; x^2 or 1/x^2 may overflow where this does not."""
    value = rescue.held(-(rescue.centred(g / x) / x))
    return rescue.rescued(value, lambda: rescue.faint(g), _reciprocal_backward, g, x)


def _reciprocal_backward_in_words(g: Value, x: Value) -> tuple[Value, Value]:
    """The quotient of -g by x^2 in two words."""
    return closely.quotient(-g, *two_product(x, x))


def _reciprocal_from_output(g: Value, y: Value) -> Value:
    return rescue.chain(_reciprocal_from_output, (g, y), g, y, y, -1.0)


@declare(
    family=FAMILY,
    formula="1/x",
    gradient=_reciprocal_gradient,
    backward=_reciprocal_backward,
    from_output=_reciprocal_from_output,
    words={"backward": _reciprocal_backward_in_words},
    settled=("value",),
    numpy="1/x",
    peers={"torch": "torch.reciprocal(x)", "jax": "jax.numpy.reciprocal(x)", "numexpr": "1/x"},
    poles=(0.0,),
    critical=(1.0,),
    cite="gradient as in Caffe2's Reciprocal operator",
)
def reciprocal(x: Value) -> Value:
    """1/x, in every tier: a division is as fast as memory, Newton-Raphson on an integer seed is not."""
    return op.reciprocal(x)


def _rsqrt_gradient(x: Value) -> Value:
    return op.rsqrt(x) * -0.5 / x


def _rsqrt_backward(g: Value, x: Value) -> Value:
    """-g/(2 x sqrt(x)), divided by x last, so that it overflows only where the result does."""
    value = rescue.held(rescue.centred(g * -0.5 * op.rsqrt(x)) / x)
    value = rescue.signed(value, -op.word(g))
    return rescue.rescued(value, lambda: rescue.faint(g), _rsqrt_backward, g, x)


def _rsqrt_from_output(g: Value, y: Value) -> Value:
    """-g y^3/2, multiplied from the left so that it overflows only where the result does."""
    return rescue.chain(_rsqrt_from_output, (g, y), g, y, y, y, -0.5)


def _times_root(x: Value) -> tuple[Value, Value]:
    """x sqrt(x) in two words, where x/sqrt(x) serves as sqrt(x) in what is small."""
    s = op.sqrt(x)
    d = x * s
    return d, (-s).fma(s, x).fma(s * 0.5, x.fma(s, -d))


def _rsqrt_backward_in_words(g: Value, x: Value) -> tuple[Value, Value]:
    """The quotient of -g by 2 x sqrt(x) in two words."""
    d, d_low = _times_root(x)
    return closely.quotient(-g, d + d, d_low + d_low)


def _rsqrt_gradient_in_words(x: Value) -> tuple[Value, Value]:
    """-1/(2 d) with d = x sqrt(x) in two words: a quotient by the first word, and what it misses."""
    d, d_low = _times_root(x)
    q = -0.5 / d
    rest = q.fma(d_low, q.fma(d, 0.5))
    return closely.rounded(q, rest * (q + q), closely.beyond(x, 2.0**80), closely.below(x, 2.0**-60))


@declare(
    family=FAMILY,
    formula="1/sqrt(x)",
    gradient=_rsqrt_gradient,
    backward=_rsqrt_backward,
    from_output=_rsqrt_from_output,
    settled=("value", "grad"),
    words={"grad": _rsqrt_gradient_in_words, "backward": _rsqrt_backward_in_words},
    numpy="1/np.sqrt(x)",
    peers={"torch": "torch.rsqrt(x)", "jax": "jax.lax.rsqrt(x)", "numexpr": "1/sqrt(x)"},
    domain=(0.0, float("inf")),
    poles=(0.0,),
    critical=(1.0,),
    cite="approximate tiers: Newton-Raphson on an integer seed",
)
def rsqrt(x: Value) -> Value:
    """1/sqrt(x); inf at 0, NaN below."""
    return op.rsqrt(x)


def _tanh_gradient(x: Value) -> Value:
    """1 - tanh^2 x = 4 e/(1 + e)^2 with e = exp(-2|x|): nothing cancels as tanh saturates."""
    return logistic_density(exp_in_products(op.absolute(x) * -2.0), 4.0)


def _tanh_from_output(g: Value, y: Value) -> Value:
    """g (1 - y)(1 + y): 1 - y^2 would cancel next to 1."""
    return g * ((1.0 - y) * (y + 1.0))


def _tanh_from_output_in_words(g: Value, y: Value) -> tuple[Value, Value]:
    """g (t + rest) with 1 - y^2 = t + rest: t is 1 less the rounding of y^2, which makes 1 - t exact. It has the sign
    of g, also where that is 0."""
    square = y * y
    t = 1.0 - square
    low = g * (-y).fma(y, 1.0 - t)
    above, less = (g.fma(t, low * end) for end in closely.ENDS)
    near = closely.doubt(above, less, closely.beyond(op.absolute(g), 2.0**100), closely.beyond(square, 1.0))
    return op.copysign(op.absolute(above), g), near | closely.tiny(g, 2.0**-60)


@declare(
    family=FAMILY,
    formula="tanh(x)",
    gradient=_tanh_gradient,
    from_output=_tanh_from_output,
    settled=("value", "grad"),
    words={"from_output": _tanh_from_output_in_words},
    numpy="np.tanh(x)",
    peers={"torch": "torch.tanh(x)", "jax": "jax.numpy.tanh(x)", "numexpr": "tanh(x)"},
    critical=(0.0, 9.01, -9.01, 19.07, -19.07),
    cite=CODY_WAITE,
)
def tanh(x: Value) -> Value:
    """The hyperbolic tangent."""
    return x.context.blocks.tanh_alone(x) if in_short_pairs(x) else op.tanh(x)


def _sigmoid_gradient(x: Value) -> Value:
    """s(x) s(-x) = e/(1 + e)^2 with e = exp(-|x|): s (1 - s) would cancel for large x."""
    slope = logistic_density(exp_in_products(-op.absolute(x)))
    y = op.word(x)
    return next_to_zero(x, slope, lambda: op.absolute(y) < 2.0**-28, 0.25, lambda: y * y * -0.0625)


def _sigmoid_from_output(g: Value, y: Value) -> Value:
    return g * (y * (1.0 - y))


@declare(
    family=FAMILY,
    formula="1/(1 + exp(-x))",
    gradient=_sigmoid_gradient,
    from_output=_sigmoid_from_output,
    aliases=("expit",),
    settled=("grad",),
    numpy="1/(1 + np.exp(-x))",
    peers={
        "torch": "torch.sigmoid(x)",
        "jax": "jax.nn.sigmoid(x)",
        "scipy": "scipy.special.expit(x)",
        "numexpr": "1/(1 + exp(-x))",
    },
    critical=(0.0, 17.33, 37.43),
    cite="Han and Moraga 1995, The influence of the sigmoid function parameters on backpropagation learning",
)
def sigmoid(x: Value) -> Value:
    """The logistic function 1/(1 + exp(-x)), the power of two in the exponential held apart where it would overflow."""
    return over_one_plus_exp(1.0, -x)


def _logsigmoid_gradient(x: Value) -> Value:
    """s(-x)."""
    return over_one_plus_exp(1.0, x)


def _logsigmoid_from_output(g: Value, y: Value) -> Value:
    """s(-x) = 1 - exp(y); next to 0 it is -y and less than that."""
    line = y if hasattr(y, "plain") else op.lessened(y)
    return -(g * op.next_to_zero(y, line, op.expm1(op.minimum(y, 0.0))))


@declare(
    family=FAMILY,
    formula="-log1p(exp(-x))",
    gradient=_logsigmoid_gradient,
    from_output=_logsigmoid_from_output,
    aliases=("log_sigmoid", "log_expit"),
    numpy="-np.log1p(np.exp(-x))",
    peers={
        "torch": "torch.nn.functional.logsigmoid(x)",
        "jax": "jax.nn.log_sigmoid(x)",
        "scipy": "scipy.special.log_expit(x)",
        "numexpr": "-log1p(exp(-x))",
    },
    critical=(0.0, 17.33, -17.33, 37.43, -37.43),
    cite="Maechler 2012, Accurately computing log(1 - exp(-|a|))",
)
def logsigmoid(x: Value) -> Value:
    """log s(x) = min(x, 0) - log1p(exp(-|x|)): both terms have one sign, nothing cancels or overflows."""
    correction = op.log1p_exp(-op.absolute(x))
    return op.where(x < 0.0, op.plus_finite(x, -correction), -correction)
