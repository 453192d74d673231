"""Logarithms besides the natural one, and the square root."""

from __future__ import annotations

from fastact.kernels import operations as op
from fastact.kernels.blocks import closely, rescue
from fastact.kernels.blocks.exactly import fast_two_sum
from fastact.kernels.blocks.products import times_gradient
from fastact.kernels.blocks.squares import largest_half
from fastact.kernels.declare import Parameter, Rejection, Variant, declare
from fastact.kernels.operations import Value

FAMILY = "elementary"
NAN = float("nan")


# -- log2 -----------------------------------------------------------------------------------------------------------
def _log2_gradient(x: Value) -> Value:
    """log2(e)/x, but no number where there is no logarithm."""
    return op.where(x < 0.0, NAN, op.constant(x, "LOG2E") / x)


def _log2_backward(g: Value, x: Value) -> Value:
    """g/x first, since neither 1/x nor g log2(e) may overflow where this does not."""
    value = rescue.signed(g / x * op.constant(x, "LOG2E"), op.word(g) / op.word(x))
    if x.context.arithmetic.pair:  # a quotient by infinity has a remainder that is no number
        value = op.where(op.plain(x).equals(float("inf")), op.plain(g) * 0.0, value)
    return op.where(x < 0.0, NAN, value)


def _log2_backward_in_words(g: Value, x: Value) -> tuple[Value, Value]:
    """The quotient of g by x log(2) in two words."""
    high, low = closely.words(op.exactly("LN2"))
    d = x * high
    return closely.quotient(g, d, x.fma(low, x.fma(high, -d)))


def _log2_from_output(g: Value, y: Value) -> Value:
    """log2(e)/x = log2(e) 2^-y."""
    return rescue.held(times_gradient(g, op.exp2(-y) * op.constant(y, "LOG2E"), _log2_from_output, (g, y)))


@declare(
    family=FAMILY,
    formula="log2(x)",
    settled=("value", "grad"),
    gradient=_log2_gradient,
    backward=_log2_backward,
    from_output=_log2_from_output,
    words={"backward": _log2_backward_in_words},
    numpy="np.log2(x)",
    peers={"torch": "torch.log2(x)", "jax": "jax.numpy.log2(x)", "numexpr": "log(x)/0.6931471805599453"},
    domain=(0.0, float("inf")),
    poles=(0.0,),
    roots=(1.0,),
    critical=(1.0, 2.0, 0.5),
    cite="W. J. Cody and W. Waite, Software Manual for the Elementary Functions, 1980",
)
def log2(x: Value) -> Value:
    """The logarithm to base 2, a whole number of powers of two; -inf at 0, NaN below."""
    return op.log2(x)


# -- logit ----------------------------------------------------------------------------------------------------------
def _nearer(x: Value) -> Value:
    """The smaller of x and 1 - x, which is exact."""
    return op.where(x > 0.5, 1.0 - op.plain(x), x)


def _signed(x: Value, odds: Value) -> Value:
    return op.where(x > 0.5, -odds, odds)


def _logit_clipped(x: Value, eps: Value) -> Value:
    """x held within [eps, 1 - eps]; 1 - eps itself need not be a float."""
    a = _nearer(x)
    return op.unless_nan(_signed(x, op.log_odds(op.where(a < eps, eps, a))), eps)


def _slope(a: Value, numerator: Value) -> Value:
    """A number over a (1 - a); NaN where a < 0, and of a zero the infinity that has its sign."""
    outside = a < 0.0
    value = numerator / (a * (1.0 - op.plain(a)))
    if hasattr(a, "plain"):
        top = numerator if isinstance(numerator, float) else op.word(numerator)
        value = op.where(a.equals(0.0), top / op.word(a), value)
    return op.where(outside, NAN, value)


def _logit_gradient(x: Value) -> Value:
    """1/(x (1 - x)), but no number outside [0, 1]."""
    return _slope(_nearer(x), 1.0)


def _logit_backward(g: Value, x: Value) -> Value:
    """g/(x (1 - x)), since the gradient may overflow where this does not."""
    return _slope(_nearer(x), g)


def _logit_backward_in_words(g: Value, x: Value) -> tuple[Value, Value]:
    """The quotient of g by x (1 - x) in two words."""
    u, rest = fast_two_sum(x.lift(1.0), -x)
    d = x * u
    return closely.quotient(g, d, x.fma(rest, x.fma(u, -d)))


def _logit_from_output(g: Value, y: Value) -> Value:
    """1/(x (1 - x)) = (1 + e)^2/e with e = exp(-|y|)."""
    e = op.exp(-op.absolute(y))
    slope = op.fma(e, e + 2.0, 1.0) / e
    return rescue.held(times_gradient(g, slope, _logit_from_output, (g, y)))


def _logit_gradient_clipped(x: Value, eps: Value) -> Value:
    """0 where x is clipped."""
    a = _nearer(x)
    return op.unless_nan(op.where(a < eps, 0.0, _slope(a, 1.0)), eps)


def _logit_backward_clipped(g: Value, x: Value, eps: Value) -> Value:
    a = _nearer(x)
    return op.unless_nan(op.where(a < eps, 0.0, _slope(a, g)), eps)


@declare(
    family=FAMILY,
    formula="log(x/(1 - x))",
    gradient=_logit_gradient,
    backward=_logit_backward,
    from_output=_logit_from_output,
    words={"backward": _logit_backward_in_words},
    variant=Variant(
        (
            Parameter(
                "eps",
                within="from 0 to 1/2",
                summary="x is held within [eps, 1 - eps]; left out, it is NaN outside [0, 1].",
            ),
        ),
        {"value": _logit_clipped, "grad": _logit_gradient_clipped, "backward": _logit_backward_clipped},
        formula="log(clip(x, eps, 1 - eps)/(1 - clip(x, eps, 1 - eps)))",
        held=True,
    ),
    rejections=(
        Rejection(
            "eps is outside [0, 1/2]",
            lambda eps: (eps < 0) | (eps > 0.5),
            ("eps_value", "eps_grad", "eps_backward"),
        ),
    ),
    numpy="np.log(x/(1 - x))",
    peers={
        "torch": "torch.logit(x)",
        "jax": "jax.scipy.special.logit(x)",
        "scipy": "scipy.special.logit(x)",
        "numexpr": "log(x/(1 - x))",
    },
    domain=(0.0, 1.0),
    poles=(0.0, 1.0),
    roots=(0.5,),
    critical=(0.5, 0.25, 0.75, 1.0),
    cite="Berkson 1944, Application of the logistic function to bio-assay",
)
def logit(x: Value) -> Value:
    """log(x/(1 - x)) = +-log(a/(1 - a)) with a the smaller of x and 1 - x, which is exact; what the quotient lacks for
    its rounding, which counts next to 1/2, is added. -inf at 0, inf at 1, NaN outside."""
    if x.context.arithmetic.guarded:
        return op.logit(x)
    return _signed(x, op.log_odds(_nearer(x)))


# -- sqrt -----------------------------------------------------------------------------------------------------------
def _sqrt_gradient(x: Value) -> Value:
    """1/(2 sqrt x)."""
    return op.rsqrt(x) * 0.5


def _sqrt_backward_in_words(g: Value, x: Value) -> tuple[Value, Value]:
    """The quotient of g by 2 sqrt(x) in two words."""
    s = op.sqrt(x)
    d = s + s
    inverse = 1.0 / d
    return closely.quotient(g, d, (-s).fma(s, x) * (inverse + inverse))


def _sqrt_from_output(g: Value, y: Value) -> Value:
    """g/(2 y)."""
    if hasattr(y, "plain"):
        return g / (y * 2.0)
    return op.where(y > largest_half(y), g * 0.5 / y, g / (y * 2.0))


def _sqrt_from_output_in_words(g: Value, y: Value) -> tuple[Value, Value]:
    """Twice y is exact where it is finite, so that one operation is rounded."""
    return g / (y * 2.0), op.absolute(y) > largest_half(y)


@declare(
    family=FAMILY,
    formula="sqrt(x)",
    gradient=_sqrt_gradient,
    from_output=_sqrt_from_output,
    words={"backward": _sqrt_backward_in_words, "from_output": _sqrt_from_output_in_words},
    numpy="np.sqrt(x)",
    peers={"torch": "torch.sqrt(x)", "jax": "jax.numpy.sqrt(x)", "numexpr": "sqrt(x)"},
    domain=(0.0, float("inf")),
    gradient_poles=(0.0,),
    output_poles=(0.0,),
    critical=(0.0, 1.0),
    cite="IEEE 754: correctly rounded in every tier",
)
def sqrt(x: Value) -> Value:
    """The square root; NaN below 0."""
    return op.sqrt(x)
