"""Smooth and piecewise activation functions."""

from __future__ import annotations

from fastact.kernels import operations as op
from fastact.kernels.blocks import rescue
from fastact.kernels.blocks.log_quotients import log1p_exp_over
from fastact.kernels.blocks.reach import over_one_plus_exp
from fastact.kernels.blocks.roots import (
    exp_closely,
    exp_in_products,
    factor_next_to_root,
    in_products,
    in_short_pairs,
    lifted_exp,
    next_to_root,
    of_one_kind,
    slope_in_products,
)
from fastact.kernels.declare import Parameter, Variant, declare
from fastact.kernels.operations import Value

FAMILY = "activations"


def _relu_gradient(x: Value) -> Value:
    """1 above 0, 0 elsewhere, 0 itself included."""
    return op.where(x > 0.0, 1.0, op.where(x <= 0.0, 0.0, x))


def _relu_backward(g: Value, x: Value) -> Value:
    """A selection, so that an infinite g meets no 0."""
    return op.where(x > 0.0, g, op.where(x <= 0.0, 0.0, x))


def _relu_gradient_at_zero(x: Value, at_zero: Value) -> Value:
    return op.where(x.equals(0.0), at_zero, _relu_gradient(x))


def _relu_backward_at_zero(g: Value, x: Value, at_zero: Value) -> Value:
    return op.where(x.equals(0.0), op.rounded_product(g, at_zero), op.plain(_relu_backward(g, x)))


@declare(
    family=FAMILY,
    formula="where(x > 0, x, 0)",
    gradient=_relu_gradient,
    backward=_relu_backward,
    from_output=_relu_backward,
    variant=Variant(
        (Parameter("at_zero", 0.0, summary="The derivative at 0, where there is none; left out, it is 0."),),
        {"grad": _relu_gradient_at_zero, "backward": _relu_backward_at_zero},
        slopes={"grad": "where(x > 0, 1, where(x < 0, 0, at_zero))"},
        places=lambda step, at_zero: 0.0 * step,
    ),
    silent=True,
    numpy="np.maximum(x, 0)",
    peers={"torch": "torch.relu(x)", "jax": "jax.nn.relu(x)", "numexpr": "where(x > 0, x, 0)"},
    critical=(0.0,),
    cite="Nair and Hinton 2010, Rectified linear units improve restricted Boltzmann machines",
)
def relu(x: Value) -> Value:
    """The larger of x and 0; NaN stays NaN. In IEEE arithmetic it is x/(1 + 0^x) as well, with the derivative 1/2 at 0,
    but a maximum is one instruction and needs no division, nor does it fail for minus infinity."""
    return op.maximum(x, 0.0)


def _exponent(x: Value, beta: Value, reach: float = 1.0) -> Value:
    """beta x, its rounding error included, held within the reach of exponentials, or so many times that."""
    t, limit = op.extended(x) * op.plain(beta), -op.tail(x) * reach
    return op.clip(t, -limit, limit)


def _softplus_gradient(x: Value, beta: Value) -> Value:
    """s(beta x)."""
    return over_one_plus_exp(1.0, -_exponent(x, beta))


def _softplus_from_output(g: Value, y: Value, beta: Value) -> Value:
    """s(beta x) = 1 - exp(-beta y), which is beta y and less than that where it is tiny."""
    t = op.plain(beta) * op.plain(y)
    tiny = t < 2.0**-120
    line = g * y * beta if hasattr(y, "plain") else g * op.lessened(y) * beta
    value = op.where(tiny, line, -(g * op.expm1(-t)))
    return rescue.rescued(
        value, lambda: tiny & (t > 0.0) & rescue.beyond(g * y) & ~g.equals(0.0), _softplus_from_output, g, y, beta
    )


@declare(
    family="elementary",
    formula="log1p(exp(beta*x))/beta",
    parameters=(Parameter("beta", 1.0, above=0.0),),
    gradient=_softplus_gradient,
    from_output=_softplus_from_output,
    numpy="np.log1p(np.exp(beta*x))/beta",
    peers={
        "torch": "torch.nn.functional.softplus(x, beta)",
        "jax": "jax.nn.softplus(x)",
        "scipy": "scipy.special.softplus(x)",
        "numexpr": "log1p(exp(x))",
    },
    critical=(0.0, 17.33, -17.33, 20.0, 37.43, -37.43),
    cite="Dugas et al. 2001, Incorporating second-order functional knowledge for better option pricing",
)
def softplus(x: Value, beta: Value) -> Value:
    """log(1 + exp(beta x))/beta = max(x, 0) + log1p(exp(-|beta x|))/beta: no threshold, no overflow."""
    t = _exponent(x, beta)
    if rescue.is_one(beta):
        correction = op.log1p_exp(-op.absolute(t)) / beta
        return op.where(t > 0.0, op.plus_finite(x, correction), correction)
    correction = log1p_exp_over(-op.absolute(t), beta)
    rest = rescue.settled(correction)
    total = rescue.sum_or_infinity(op.plus_finite(x, rest), rest)
    if hasattr(x, "plain"):  # sums of small numbers have no second word
        tiny = (op.absolute(op.plain(x)) < rescue.TINY) & (t < 700.0)
        total = op.where(tiny, (t + op.plain(op.log1p_exp(-op.absolute(t)))) / beta, total)
    value = op.where(t > 0.0, total, correction)
    value = rescue.held(value)
    return rescue.rescued(value, lambda: rescue.faded(op.narrowed(t)), softplus, x, beta, but=((beta, 1.0),))


SILU_ROOT = -1.2784645427610737
MISH_ROOT = -1.1924312145154952
"""Roots of the gradients."""


def _silu_gradient(x: Value) -> Value:
    """With e = exp(-|x|) and u = 1 + e: (u + x e)/u^2 for x >= 0, e (u + x)/u^2 below. Next to the root 1 + x is exact,
    so it comes first."""
    return factor_next_to_root(x, _silu_slope(x, op.clip(x, op.tail(x), -op.tail(x))), "silu_root")


def _silu_slope(x: Value, t: Value) -> Value:
    """The gradient of silu at a multiple t of x."""
    if in_short_pairs(t):
        return t.context.blocks.silu_slope(x, t)
    e, x = exp_closely(-op.absolute(t)), op.narrowed(t)
    negative = x < 0.0
    op.cancelling(x, SILU_ROOT)
    rest = op.plus_dropped(e, t, negative)
    if in_products(x):
        slope = slope_in_products(x, e, rest)
    else:
        numerator = (op.where(negative, x, x * e) + 1.0) + rest
        slope = op.where(negative, e, 1.0) * (numerator / op.fma(e, e + 2.0, 1.0))
    return op.next_to_root(t, slope, "silu_root", 2.0**-4)


@declare(
    family=FAMILY,
    formula="x/(1 + exp(-x))",
    gradient=_silu_gradient,
    gradient_roots=(SILU_ROOT,),
    numpy="x/(1 + np.exp(-x))",
    peers={"torch": "torch.nn.functional.silu(x)", "jax": "jax.nn.silu(x)", "numexpr": "x/(1 + exp(-x))"},
    critical=(0.0, SILU_ROOT, 17.33, 37.43, -88.72, -103.97),
    cite="Elfwing, Uchibe and Doya 2017, arXiv:1702.03118",
)
def silu(x: Value) -> Value:
    """x/(1 + exp(-x)), the power of two in the exponential held apart where it would overflow."""
    x = op.maximum(x, op.tail(x))
    return over_one_plus_exp(x, -x)


def _swish_gradient(x: Value, beta: Value) -> Value:
    """The gradient of silu at t = beta x, which comes nearer to the root than x does."""
    t = _exponent(x, beta)
    slope = _silu_slope(x, t)
    return (factor_next_to_root if rescue.known(beta) else next_to_root)(t, slope, "silu_root")


def _swish_gradient_beta(x: Value, beta: Value) -> Value:
    """x^2 e/(1 + e)^2 with e = exp(-|beta x|)."""
    vanished, slope = _swish_slope_beta(x, beta)
    value = op.where(vanished, 0.0, rescue.held(slope) if x.context.arithmetic.pair else slope)
    return rescue.rescued(value, lambda: _swish_lost(x, beta), _swish_gradient_beta, x, beta)


def _swish_backward_beta(g: Value, x: Value, beta: Value) -> Value:
    """A selection, so that a zero has the sign of g."""
    vanished, slope = _swish_slope_beta(x, beta)
    product = g * slope
    value = op.where(vanished, op.plain(g) * 0.0, rescue.held(product) if x.context.arithmetic.pair else product)
    return rescue.rescued(
        value,
        lambda: _swish_lost(x, beta) | rescue.beyond(op.plain(slope)) & ~x.equals(0.0),
        _swish_backward_beta,
        g,
        x,
        beta,
    )


def _swish_lost(x: Value, beta: Value) -> Value:
    """Where the exponential fades that large factors may bring back, or their product comes before it."""
    return rescue.vast(x) | rescue.faded(-op.absolute(op.narrowed(_exponent(x, beta))))


def _swish_slope_beta(x: Value, beta: Value) -> tuple[Value, Value]:
    """Where the gradient is 0 in every format, and the gradient elsewhere. In pairs of words a third large number may
    be multiplied with it, which exponentials have the reach for that are squares."""
    arithmetic = x.context.arithmetic
    halved = arithmetic.pair and arithmetic.products
    reach = rescue.SQUARED if halved else 1.0
    t = op.absolute(_exponent(x, beta, reach))
    lifted, back = lifted_exp(t * -0.5 if halved else -t)
    if halved:
        lifted = lifted * lifted
    e = lifted * back
    first = op.extended(x) if of_one_kind(x) else x  # two roundings less
    product = first * (lifted / op.fma(e, e + 2.0, 1.0))
    product = rescue.centred(rescue.centred(product) * x) if halved else product * x * back
    if arithmetic.decisive:  # next to 0 it is x^2/4 and less than that, by less than t^2 of it, unless t is 0
        quarter, less = rescue.centred(x * 0.25), op.lessened(x)
        if not rescue.known(beta):
            less = op.where(op.word(beta).equals(0.0), x, less)
        square = quarter * less
        product = op.where(t < 2.0**-38, rescue.centred(square) if halved else square, product)
    return t >= -op.tail(x) * reach, product


@declare(
    family=FAMILY,
    formula="x/(1 + exp(-beta*x))",
    parameters=(Parameter("beta", 1.0, learned=True, gradient=_swish_gradient_beta, backward=_swish_backward_beta),),
    gradient=_swish_gradient,
    gradient_roots=(SILU_ROOT,),
    numpy="x/(1 + np.exp(-beta*x))",
    peers={"torch": "torch.nn.functional.silu(x)", "jax": "jax.nn.silu(x)", "numexpr": "x/(1 + exp(-x))"},
    critical=(0.0, SILU_ROOT, 17.33, 37.43, -88.72, -103.97),
    cite="Ramachandran, Zoph and Le 2017, arXiv:1710.05941",
)
def swish(x: Value, beta: Value) -> Value:
    """x/(1 + exp(-beta x)), the power of two in the exponential held apart where it would overflow; where it makes
    anything vanish, 1 of the sign of x stands for x. For the constant beta = 1 it is silu."""
    if op.plain(beta).is_one():
        return silu(x)
    t = _exponent(x, beta)
    held = op.where(t > op.tail(t), x, op.where(x < 0.0, -1.0, 1.0))
    value = over_one_plus_exp(held, -t)
    return rescue.rescued(value, lambda: (t <= op.tail(t)) & rescue.vast(x), swish, x, beta)


MISH_SATURATION = 40.0
"""Above it n/(n + 2) = 1 - 2/(n + 2) with n > exp(80) rounds to 1 in every format, pairs of float64 included; n itself
stays within float32."""


def _mish_gradient(x: Value) -> Value:
    """e w/(n + 2)^2 with w = 4 (x + 1) + e (4 x + 6 + e (e + 4)) and (n + 2)^2 = 4 + e (8 + e (8 + e (4 + e))): e is
    taken out, so that only products meet the tail, and next to the root of w, where its terms cancel, x + 1 is
    exact."""
    x = op.clip(x, op.tail(x), op.saturation(x))
    op.cancelling(x, MISH_ROOT)
    e = exp_in_products(x)
    w = op.sum_and_rest(e, op.fma(e, e + 4.0, op.fma(x, 4.0, 6.0)), (x + 1.0) * 4.0)
    d = op.sum_and_rest(e, op.fma(e, op.fma(e, e + 4.0, 8.0), 8.0), 4.0)
    if in_products(x):
        # Above 0, 1 and what is beyond: products may be next to a power of two, which doubles errors.
        above, (n, rest) = x > 0.0, w
        beyond, left = op.sum_and_rest(e, op.fma(e, op.fma(x, 4.0, -2.0), op.fma(x, 4.0, -4.0)), -4.0)
        w = op.where(above, beyond, n), op.where(above, left, rest)
        slope = op.times_quotient(op.where(above, 1.0, e), w, d)
        return op.where(above, op.plain(slope) + 1.0, slope)
    slope = op.next_to_root(x, op.times_quotient(e, w, d), "mish_root", 2.0**-4)
    return factor_next_to_root(x, slope, "mish_root")


@declare(
    family=FAMILY,
    formula="x*tanh(log1p(exp(x)))",
    gradient=_mish_gradient,
    gradient_roots=(MISH_ROOT,),
    numpy="x*np.tanh(np.log1p(np.exp(x)))",
    peers={
        "torch": "torch.nn.functional.mish(x)",
        "jax": "jax.nn.mish(x)",
        "numexpr": "x*tanh(log1p(exp(x)))",
    },
    critical=(0.0, MISH_ROOT, 8.66, 18.7, 40.0, -88.72, -103.97),
    cite="Misra 2019, arXiv:1908.08681",
)
def mish(x: Value) -> Value:
    """x tanh(softplus x) = x n/(n + 2) with n = e (e + 2), e = exp x: one exponential, one division, no cancellation;
    divided before x is multiplied in, which keeps large x from overflowing."""
    e = exp_closely(op.minimum(x, MISH_SATURATION))
    n = op.distributed(e, e, 2.0)
    word, rest = op.plain(e), None
    if in_products(x):
        rest = op.fma(word, word, word * 2.0 - op.plain(n))
    return op.times_over_sum(op.maximum(x, op.tail(x)), n, 2.0, rest)
