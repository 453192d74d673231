"""xIELU, the integral of an exponential linear unit that has a slope of its own on each side."""

from __future__ import annotations

from functools import partial
from math import expm1 as _expm1
from math import log as _log

from fastact.kernels import operations as op
from fastact.kernels.activations import softplus
from fastact.kernels.blocks import rescue, xielu_ends, xielu_far, xielu_ties, xielu_words
from fastact.kernels.blocks.products import times
from fastact.kernels.blocks.roots import in_plenty, short
from fastact.kernels.blocks.xielu_careful import careful, ends_before, remains, telling
from fastact.kernels.blocks.xielu_words import CANCELLED, FEW, LARGE
from fastact.kernels.declare import Parameter, Rejection, declare
from fastact.kernels.operations import Value

MOST = 60.0
"""The largest -eps for which digits beyond those of exp(eps) are asked of expm1(eps)."""
NEXT_TO_ZERO = 2.0**-70
"""Where expm1(x) - x is x^2/2."""
def _leading(x: Value, beta: Value) -> float:
    """Where only the leading terms count beyond."""
    return LARGE if short(op.plain(x)) or rescue.narrow(x) or rescue.known(beta) else 2.0**500


ALPHA_P, ALPHA_N, BETA = _log(_expm1(0.8)), _log(_expm1(0.3)), 0.5


def _defaults(alpha_p: Value, alpha_n: Value, beta: Value) -> tuple[tuple[Value, float], ...]:
    return (alpha_p, ALPHA_P), (alpha_n, ALPHA_N), (beta, BETA)


def _unusual(x: Value, alpha_p: Value, alpha_n: Value, beta: Value) -> Value:
    """Where terms may overflow, or what is small meets what is large."""
    odd = (op.absolute(x) > LARGE) | rescue.faded(alpha_p) | rescue.faded(alpha_n)
    for parameter in (alpha_p, alpha_n, beta):
        odd = odd | rescue.large(parameter)
    return odd


def _positive(alpha: Value) -> Value:
    """softplus(alpha)."""
    usual = op.plain(softplus(alpha, 1.0))
    from fastact.kernels.blocks.softplus import in_pairs

    if not usual.context.arithmetic.pair:
        return usual
    usual = in_pairs(op.plain(alpha), usual)
    return xielu_ties.softplus(alpha, usual) if xielu_ties.tells(alpha, alpha) else usual


def _sigmoid(alpha: Value) -> Value:
    """The derivative of softplus, its power of two held apart if alpha holds it so."""
    if xielu_far.applies(alpha, alpha):
        return xielu_far.sigmoid(alpha)
    value = 1.0 / op.one_plus(op.exp(-op.clip(alpha, op.tail(alpha), -op.tail(alpha))))
    value = value if hasattr(alpha, "plain") else op.plain(value)
    return xielu_ties.sigmoid(alpha, value) if xielu_ties.tells(alpha, alpha) else value


# -- the value ------------------------------------------------------------------------------------------------------
def _below(x: Value, alpha_n: Value, beta: Value, eps: Value) -> Value:
    """For x <= 0; with s = softplus(alpha_n): (beta + s) expm1(min(x, eps)) - s x."""
    y, b = op.plain(x), op.plain(beta)
    s = _positive(alpha_n)
    a, m = xielu_ties.whole(s, x, alpha_n, b), op.minimum(y, op.plain(eps))
    far = a * op.expm1(op.minimum(m, 0.0)) - s * op.where(y < -_leading(x, beta), -_leading(x, beta), y)
    if not (rescue.narrow(x) or rescue.known(eps)):
        # Above eps terms with the larger of s and beta come together.
        rise = a * _rise_above_eps(op.where(y > op.plain(eps), y, -1.0), op.plain(eps)) + b * y
        far = op.where((y > op.plain(eps)) & (op.absolute(b) < s), rise, far)
    if y.context.arithmetic.pair:  # which tells expm1(x) from x, and three words do it where beta is little of s
        inside, curve = -NEXT_TO_ZERO, op.maximum(y, -NEXT_TO_ZERO) * 0.5
    else:
        curve = op.maximum(y, -1.0)
        inside, curve = -1.0, curve * xielu_far.less(curve)
    if not ends_before(eps, inside):
        near = x * op.plain(telling(a * curve, b, x) + b)
        far = op.where((y >= inside) & (y <= op.plain(eps)), near, far)
    value = op.where(y < -_leading(x, beta), x * -s, far)
    value = xielu_ties.signed(value, x, op.plain(alpha_n), b, op.plain(eps))
    return xielu_ties.line_and_slope(value, y, alpha_n, b, eps, False) if xielu_ties.tells(x, alpha_n) else value


def _below_carefully(x: Value, alpha_n: Value, beta: Value, eps: Value) -> Value:
    """The same where results have far fewer digits than numbers: where they cancel, it is doubted."""
    value = op.plain(_below(x, alpha_n, beta, eps))
    y, s = op.plain(x), _positive(alpha_n)
    rise = s * op.where(y > -_leading(x, beta), y, 0.0)
    size = op.absolute(rise)
    if rescue.narrow(x) and not rescue.known(beta):  # further out the other term may be the larger
        apart = (y < -1.0) | (y > op.plain(eps))
        size = op.maximum(op.where(apart, op.absolute(value + rise), 0.0), size)
    if not rescue.known(eps):  # beta may cancel s as well
        m = op.plain(eps)
        terms = s * op.minimum(-m, 1.0)
        size = op.where((y > m) & (terms > size), terms, size)
    return careful(value, size, _below, x, alpha_n, beta, eps)


def _above(x: Value, alpha_p: Value, beta: Value) -> Value:
    """x (alpha_p x + beta), alpha_p having passed through softplus."""
    a, y = _positive(alpha_p), op.plain(x)
    slope, most = a * op.minimum(y, _leading(x, beta)), _leading(x, beta)
    total = telling(slope, op.plain(beta), x) + op.plain(beta)
    if xielu_words.applies(x) and not rescue.known(beta):
        total = xielu_words.line_above(_positive, op.minimum(y, most), alpha_p, op.plain(beta))
    if not rescue.known(beta):
        total = rescue.sum_or_infinity(total, slope)
        total = xielu_ties.line(total, op.minimum(y, most), 1.0, alpha_p, op.plain(beta))
    usual = x * op.plain(total)
    return op.where(y > most, x * a * x, usual)


def _adds(beta: Value) -> bool:
    """Whether beta is known not to be negative."""
    number = rescue.number(beta)
    return number is not None and number >= 0.0


def _gradient(x: Value, alpha_p: Value, alpha_n: Value, beta: Value, eps: Value) -> Value:
    """With a and b as below: 2 a x + beta above 0, elsewhere b expm1(x) + beta or, which is the same, b exp(x) minus
    softplus(alpha_n), without the exponential where x > eps."""
    y, most = op.plain(x), _leading(x, beta)
    if rescue.known(beta):
        rise = x * (_positive(alpha_p) * 2.0)
        total = op.plain(op.minimum(y, most) * (_positive(alpha_p) * 2.0)) + op.plain(beta)
    else:
        rise, total = x * _positive(alpha_p) * 2.0, _slope_above(op.minimum(y, most), alpha_p, beta)
    above = op.where(y > most, rise, total)
    in_words = not (y.context.arithmetic.pair or in_plenty(y))
    slope_in_words = partial(xielu_words.slope_below, _slope_below, _positive)
    below = y.context.in_full(slope_in_words, not rescue.known(beta)) if in_words else _slope_below
    slope = op.where(y > 0.0, above, below(x, alpha_n, beta, eps))
    few = op.where(
        y > 0.0, op.absolute(op.word(beta)) * FEW, op.word(_positive(alpha_n)) * op.where(y < -2.0, 0.5, CANCELLED)
    )
    slope = remains(slope, few, "slope", x, alpha_p, alpha_n, beta)
    inputs = (x, alpha_p, alpha_n, beta, eps)
    if xielu_far.applies(*inputs[:2]):
        odd = xielu_far.beyond(*inputs[:4])
        slope = xielu_far.slope(*inputs).instead(odd, op.plain(slope))
    if xielu_ends.applies(*inputs[:2]):
        slope = xielu_ends.slope(slope, *inputs)

    def lost() -> Value:
        return _unusual(x, alpha_p, alpha_n, beta) | rescue.faded(x)

    slope = rescue.rescued(slope, lost, _gradient, *inputs, but=_defaults(alpha_p, alpha_n, beta))
    return op.unless_nan(slope, alpha_p, alpha_n, beta, eps)


def _slope_above(x: Value, alpha_p: Value, beta: Value) -> Value:
    """2 a x + beta for a beta that may cancel the other term."""
    y = op.plain(x)
    if xielu_words.applies(x):
        total = xielu_words.line_above(_positive, y * 2.0, alpha_p, beta)
        if not x.context.arithmetic.plenty:  # errors are those of the terms
            return total
        little = op.absolute(total) < op.absolute(op.plain(beta)) * xielu_words.LITTLE
        return op.unless(total, little & (y > 0.0), x.context.wider(_slope_above, x, alpha_p, beta))
    in_words = not (y.context.arithmetic.pair or in_plenty(y))
    a = y.context.wider(_positive, alpha_p) if in_words else _positive(alpha_p)  # its last place counts
    near = op.plain(x * a * 2.0)
    near = telling(near, op.plain(beta), alpha_p) if near.context.arithmetic.pair else near
    total = rescue.sum_or_infinity(near + op.plain(beta), near)
    total = xielu_ties.line(total, y, 2.0, alpha_p, op.plain(beta))
    arithmetic = x.context.arithmetic
    if not (in_plenty(y) or (short(x) and (arithmetic.spare or not arithmetic.careless))):  # errors are those of terms
        return total
    size = op.where(y > 0.0, op.absolute(op.plain(beta)), 0.0)
    return careful(total, size, _slope_above, x, alpha_p, beta)


def _slope_below(x: Value, alpha_n: Value, beta: Value, eps: Value) -> Value:
    y, b, s = op.plain(x), op.plain(beta), _positive(alpha_n)
    # Where beta is the larger the first of these cancels, and the other does not.
    least = -0.75 if rescue.narrow(x) and not rescue.known(beta) else -2.0
    a = xielu_ties.whole(s, x, alpha_n, b)
    value = a * op.expm1(op.clip(y, least, 0.0)) + b
    value = op.where(y < least, a * op.plain(op.exp(op.minimum(y, least))) - s, value)
    value = xielu_ties.signed_slope(value, x, op.plain(alpha_n), b)
    value = op.where(y < op.plain(eps), value, -s)
    if xielu_ties.tells(x, alpha_n):
        value = xielu_ties.line_and_slope(value, y, alpha_n, b, eps, True)
    value = op.where(y.is_nan(), y, value)
    return careful(value, s, _slope_below, y, alpha_n, b, op.plain(eps)) if in_plenty(y) else value


def _backward(g: Value, x: Value, alpha_p: Value, alpha_n: Value, beta: Value, eps: Value) -> Value:
    """Multiplied from the left where the gradient might overflow."""
    if xielu_far.applies(x, alpha_p):
        return rescue.signed_product(g, _gradient(x, alpha_p, alpha_n, beta, eps))
    slope = _gradient(op.minimum(x, _leading(x, beta)), alpha_p, alpha_n, beta, eps)
    product = times(g, slope)
    value = op.where(x > _leading(x, beta), g * x * _positive(alpha_p) * 2.0, product)
    inputs = (g, x, alpha_p, alpha_n, beta, eps)

    def lost() -> Value:
        left = rescue.large if rescue.known(beta) else rescue.beyond
        odd = _unusual(x, alpha_p, alpha_n, beta) | left(op.plain(slope))
        return odd | rescue.large(g) | rescue.faint(g) | rescue.faint(x)

    return rescue.rescued(value, lost, _backward, *inputs)


def _gradient_alpha_p(x: Value, alpha_p: Value, alpha_n: Value, beta: Value, eps: Value) -> Value:
    """x^2 s(alpha_p) above 0."""
    product = rescue.held(x * _sigmoid(alpha_p) * x) if xielu_far.applies(x, alpha_p) else x * _sigmoid(alpha_p) * x
    value = op.where(x > 0.0, product, op.where(x <= 0.0, 0.0, op.plain(x)))
    inputs = (x, alpha_p, alpha_n, beta, eps)
    value = rescue.rescued(value, lambda: rescue.faded_or_astray(alpha_p, x) & (x > 0.0), _gradient_alpha_p, *inputs)
    return op.unless_nan(value, alpha_p, alpha_n, beta, eps)


def _backward_alpha_p(g: Value, x: Value, alpha_p: Value, alpha_n: Value, beta: Value, eps: Value) -> Value:
    """A selection, so that an infinite g meets no 0."""
    if xielu_words.applies(x):
        product = xielu_words.square_times_sigmoid(g, x, alpha_p)
    else:
        product = rescue.signed(rescue.held(rescue.centred(g * x) * _sigmoid(alpha_p) * x), op.word(g))
    value = op.where(x > 0.0, product, op.where(x <= 0.0, 0.0, op.plain(x)))
    inputs = (g, x, alpha_p, alpha_n, beta, eps)
    value = rescue.rescued(value, lambda: rescue.faded_or_astray(alpha_p, g, x) & (x > 0.0), _backward_alpha_p, *inputs)
    return op.unless_nan(value, alpha_p, alpha_n, beta, eps)


def _rise(x: Value, whole: bool) -> Value:
    """expm1(x) - x for x <= 0: x^2 P(x) next to 0, exp(x) - (x + 1) further out."""
    y = op.plain(x)
    near = op.maximum(op.minimum(y, 0.0), -1.0)
    if rescue.narrow(x) and not y.context.arithmetic.careless:  # what roundings left is added: products need it
        a = near * (less := xielu_far.less(near))
        b = near * a
        near = b + op.fma(near, op.fma(near, less, -a), op.fma(near, a, -b))
    else:
        near = x * (near * xielu_far.less(near))
    if whole:  # pairs of words tell what is added to any x of a narrower format
        return op.where(y >= -1.0, near, op.plain(op.exp(op.minimum(y, -1.0))) + (-1.0 - op.minimum(y, -1.0)))
    far = op.plain(op.exp(op.minimum(y, -1.0))) + (-1.0 - op.where(y < -LARGE, -1.0, op.minimum(y, -1.0)))
    value = op.where(y >= -1.0, near, far)
    return op.where(y < -LARGE, -x if hasattr(x, "plain") else op.lessened(-x), value)


def _rise_above_eps(x: Value, eps: Value) -> Value:
    m, inside = op.plain(eps), op.maximum(op.plain(eps), -1.0)
    below = op.plain(op.exp(op.minimum(m, -1.0))) + (-1.0 - x)  # of x = -1 the exponential remains
    return op.where(m >= -1.0, inside * (inside * xielu_far.less(inside)) + (m - x), below)


def _rising(x: Value, eps: Value) -> Value:
    y, m = op.plain(x), op.plain(eps)
    above = _rise_above_eps(y, m) if y.context.arithmetic.pair else y.context.wider(_rise_above_eps, y, m)
    between = (y > m) & (y <= 0.0)
    value = op.unless(_rise(x, xielu_ties.tells(x, eps)), between, above)
    few = op.where(between & (m > -MOST), op.absolute(y) * FEW, 0.0)
    value = remains(value, few, "rise_above_eps", x, m)
    if not xielu_far.applies(x, eps):
        return value
    return xielu_far.rising(x, eps).instead(xielu_far.odd(x, eps) | (m < -MOST), op.plain(value))


def _curved(x: Value, alpha_n: Value, eps: Value) -> Value:
    """(expm1(min(x, eps)) - x) s(alpha_n) for x <= 0, anything for others."""
    below = op.where(x > 0.0, -1.0, x)
    value = _rising(below, eps) * _sigmoid(alpha_n)
    if not xielu_ties.tells(x, alpha_n):
        return value
    return xielu_ties.rising(value, op.plain(below), op.plain(alpha_n), op.plain(eps))


def _gradient_alpha_n(x: Value, alpha_p: Value, alpha_n: Value, beta: Value, eps: Value) -> Value:
    """(expm1(min(x, eps)) - x) s(alpha_n) for x <= 0."""
    value = op.where(x > 0.0, 0.0, _curved(x, alpha_n, eps))
    inputs = (x, alpha_p, alpha_n, beta, eps)
    value = rescue.rescued(value, lambda: rescue.faded_or_astray(alpha_n, x) & (x <= 0.0), _gradient_alpha_n, *inputs)
    return op.unless_nan(value, alpha_p, alpha_n, beta, eps)


def _backward_alpha_n(g: Value, x: Value, alpha_p: Value, alpha_n: Value, beta: Value, eps: Value) -> Value:
    """A selection, so that an infinite g meets no 0."""
    if xielu_words.applies(x):
        product, slope = xielu_words.times_sigmoid(g, _rising(op.where(x > 0.0, -1.0, x), eps), alpha_n)
    else:
        slope = _curved(x, alpha_n, eps)
        if xielu_far.applies(x, alpha_n):
            product = rescue.signed_product(g, slope)
        elif rescue.narrow(x) or xielu_ties.tells(x, alpha_n):
            product = g * slope
        else:  # an infinite g meets no slope that has vanished
            product = g * _rising(op.where(x > 0.0, -1.0, x), eps) * _sigmoid(alpha_n)
    value = op.where(x > 0.0, 0.0, product)
    inputs = (g, x, alpha_p, alpha_n, beta, eps)

    def lost() -> Value:
        return (rescue.faded_or_astray(alpha_n, g, x) | rescue.beyond(op.plain(slope)) & ~x.equals(0.0)) & (x <= 0.0)

    value = rescue.rescued(value, lost, _backward_alpha_n, *inputs)
    return op.unless_nan(value, alpha_p, alpha_n, beta, eps)


@declare(
    family="activations",
    formula="where(x > 0, log1p(exp(alpha_p))*x**2 + beta*x,"
    " (beta + log1p(exp(alpha_n)))*(expm1(min(x, eps)) - x) + beta*x)",
    parameters=(
        Parameter(
            "alpha_p",
            ALPHA_P,
            learned=True,
            gradient=_gradient_alpha_p,
            backward=_backward_alpha_p,
            summary="Its softplus, 0.8 by default, is the curvature for x > 0.",
        ),
        Parameter(
            "alpha_n",
            ALPHA_N,
            learned=True,
            gradient=_gradient_alpha_n,
            backward=_backward_alpha_n,
            summary="Beta plus its softplus, 0.8 by default, is the curvature for x <= 0.",
        ),
        Parameter("beta", BETA, summary="The slope next to 0."),
        Parameter("eps", -1e-6, within="at most 0", summary="Where the exponential stops."),
    ),
    rejections=(Rejection("eps is positive, but has to be at most 0", lambda alpha_p, alpha_n, beta, eps: eps > 0),),
    gradient=_gradient,
    backward=_backward,
    gradient_roots=(-0.9808292530117262,),
    numpy="np.where(x > 0, np.log1p(np.exp(alpha_p))*x**2 + beta*x,"
    " (beta + np.log1p(np.exp(alpha_n)))*(np.expm1(np.minimum(x, eps)) - x) + beta*x)",
    peers={
        "torch": "torch.where(x > 0, torch.log1p(torch.exp(torch.as_tensor(alpha_p, dtype=x.dtype)))*x*x + beta*x,"
        " (beta + torch.log1p(torch.exp(torch.as_tensor(alpha_n, dtype=x.dtype))))"
        "*(torch.expm1(torch.clamp(x, max=eps)) - x) + beta*x)",
        "jax": "jax.numpy.where(x > 0, jax.nn.softplus(alpha_p)*x*x + beta*x,"
        " (beta + jax.nn.softplus(alpha_n))*(jax.numpy.expm1(jax.numpy.minimum(x, eps)) - x) + beta*x)",
    },
    critical=(0.0, -0.9808292530117262, -1.0, -2.0, -2.4324842769314485, -3.0, -37.43),
    cite="Huang and Schlag 2024, arXiv:2411.13010",
)
def xielu(x: Value, alpha_p: Value, alpha_n: Value, beta: Value, eps: Value) -> Value:
    """a x^2 + beta x for x > 0 and b (expm1(min(x, eps)) - x) + beta x elsewhere, with a = softplus(alpha_p) and
    b = beta + softplus(alpha_n): parameters are those that are learned, before the softplus, as in the published
    implementations. Next to 0 expm1(x) - x is x^2 P(x); far below 0 the terms in x are taken together, b expm1(x) -
    softplus(alpha_n) x. Where these cancel, single words are not enough, and next to the roots, which
    depend on the parameters, float64 takes three of them. It does not where alpha is below -200 or beyond 2^300, or
    beta beyond 2^300: such parameters leave results next to a root with the digits of two words of the terms only."""
    from fastact.kernels.blocks import xielu_long

    y = op.plain(x)
    below = _below_carefully if in_plenty(y) else _below
    if not (in_plenty(y) or y.context.arithmetic.pair):
        below = y.context.in_full(partial(xielu_words.below, _below, _positive))
    lower = below(op.where(y > 0.0, 0.0, x), alpha_n, beta, eps)
    above = op.where(y > 0.0, x, 1.0)
    upper = _above(above, alpha_p, beta)
    if not _adds(beta):
        size = op.absolute(op.plain(above) * op.plain(beta))
        size = size * FEW if xielu_words.applies(x) else size  # two words of s leave all digits of most sums
        upper = careful(upper, size, _above, above, alpha_p, beta)
    value = op.where(y > 0.0, upper, lower)
    few = xielu_long.few(y, _positive(alpha_n), beta, eps)
    value = remains(value, few, "value", x, alpha_p, alpha_n, beta, eps)
    inputs, but = (x, alpha_p, alpha_n, beta, eps), _defaults(alpha_p, alpha_n, beta)
    if xielu_far.applies(*inputs[:2]):
        odd = xielu_far.beyond(*inputs[:4])
        value = xielu_far.value(*inputs).instead(odd, op.plain(value))
    if xielu_ends.applies(*inputs[:2]):
        value = xielu_ends.value(value, *inputs)
    value = rescue.rescued(value, lambda: _unusual(x, alpha_p, alpha_n, beta), xielu, *inputs, but=but)
    return op.unless_nan(op.where(y.is_nan(), y, value), alpha_p, alpha_n, beta, eps)
