"""The error function, its complement, and the activation made of them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial

from fastact.kernels import operations as op
from fastact.kernels.blocks.cubic import minus_cubic, rounded, short_enough
from fastact.kernels.blocks.products import next_to_zero
from fastact.kernels.blocks.roots import (
    exp_closely,
    factor_next_to_root,
    in_products,
    in_short_pairs,
    next_to_root,
    short,
)
from fastact.kernels.declare import declare
from fastact.kernels.operations import Value

CODY = "W. J. Cody, Rational Chebyshev approximations for the error function, Mathematics of Computation 23 (1969)"


def _gaussian(x: Value, factor: Value) -> Value:
    """exp(-x^2) times a positive constant."""
    y = op.minimum(op.absolute(op.plain(x)), op.vanishing(x))
    return op.exp_times(op.minus_square(y), factor, positive=True)


def _erf_gradient(x: Value) -> Value:
    """2 exp(-x^2)/sqrt(pi)."""
    return _gaussian(x, op.constant(x, "TWO_OVER_SQRT_PI"))


@declare(
    family="elementary",
    formula="erf(x)",
    gradient=_erf_gradient,
    peers={"torch": "torch.erf(x)", "jax": "jax.scipy.special.erf(x)", "scipy": "scipy.special.erf(x)"},
    critical=(0.0, 1.25, 2.95, 3.92, 5.92, 9.2, 10.0, 26.6, 27.2),
    cite=CODY,
)
def erf(x: Value) -> Value:
    """The error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    return op.erf(x)


def _erfc_gradient(x: Value) -> Value:
    """-2 exp(-x^2)/sqrt(pi)."""
    return -_erf_gradient(x)


@declare(
    family="elementary",
    formula="erfc(x)",
    gradient=_erfc_gradient,
    peers={"torch": "torch.erfc(x)", "jax": "jax.scipy.special.erfc(x)", "scipy": "scipy.special.erfc(x)"},
    critical=(0.0, -3.83, -5.86, 9.19, 10.05, 26.54, 27.22),
    cite=CODY,
)
def erfc(x: Value) -> Value:
    """1 - erf(x), right in the tail."""
    return op.erfc(x)


LEAN = 2.0**-110
"""Added to 1 it decides ties, also of what is multiplied further."""
SQRT2_BELOW = 1.414
"""A little less than sqrt 2, so that y/sqrt 2 stays within limits."""
GELU_ROOT = -0.7517915246935645
"""Root of the gradient of gelu."""


def _normal(x: Value) -> tuple[Value, Value, Value]:
    """y = |x|, limited to what matters, with -y^2/2, and g = erfcx(y/sqrt 2): exp(-y^2/2) g/2 is the probability that a
    normally distributed number exceeds y."""
    y = op.minimum(op.absolute(op.plain(x)), op.vanishing(x) * SQRT2_BELOW)
    return y, op.minus_square(y, half=True), op.erfcx(y * op.constant(x, "SQRT1_2"))


def _gelu_gradient(x: Value) -> Value:
    """Phi(x) + x phi(x); with y = |x| and g as above, exp(-y^2/2) (g/2 - y/sqrt(2 pi)) for x < 0, and 1 minus that for
    x >= 0: only products meet the tail."""
    if in_short_pairs(x):
        return x.context.blocks.gelu_slope(x)
    y, exponent, g = _normal(x)
    op.cancelling(x, GELU_ROOT)
    if in_products(x):  # what the constant has beyond a word; the difference is half of its terms and less
        rate = op.exactly("SQRT_TWO_OVER_PI")
        g = op.fma(y, Fraction(rounded(rate, x.context)) - rate, g)
    tail = op.exp_times(exponent, op.fma(y, -op.constant(x, "SQRT_TWO_OVER_PI"), g))
    slope = op.next_to_root(x, 0.5 * op.where(x < 0.0, tail, 2.0 - tail), "gelu_root", 2.0**-3)
    z, rate = op.word(x), op.word(op.constant(x, "SQRT_TWO_OVER_PI"))
    slope = next_to_zero(x, slope, lambda: op.absolute(z) < 2.0**-56, 0.5, lambda: z * rate)
    return factor_next_to_root(x, slope, "gelu_root")


@declare(
    family="activations",
    formula="x*erfc(-x/sqrt(2))/2",
    gradient=_gelu_gradient,
    gradient_roots=(GELU_ROOT,),
    peers={"torch": "torch.nn.functional.gelu(x)", "jax": "jax.nn.gelu(x, approximate=False)"},
    critical=(0.0, GELU_ROOT, 5.4, 8.3, -5.4, -8.3, -12.98, -14.17, -37.5, -38.5),
    cite="Hendrycks and Gimpel 2016, arXiv:1606.08415",
)
def gelu(x: Value) -> Value:
    """x Phi(x) = x erfc(-x/sqrt 2)/2 with Phi the normal distribution: for x < 0 x exp(-x^2/2) erfcx(-x/sqrt 2)/2,
    which loses no digits in the tail, and for x >= 0 the complement; in words of float32 max(x, 0) - y Phi(-y) with
    y = |x|, where that is not too small."""
    return op.plain(x).context.blocks.gelu(x, _gelu_by_tail) if short(x) else _gelu_by_tail(x)


def _gelu_by_tail(x: Value) -> Value:
    y, exponent, g = _normal(x)
    if in_products(x):  # erfcx of what the rounding of its argument left: its derivative is 2 z erfcx z - 2/sqrt(pi)
        rate, half = op.exactly("SQRT1_2"), y * 0.5
        z = y * op.constant(x, "SQRT1_2")
        rest = op.fma(y, rate - Fraction(rounded(rate, x.context)), op.fma(y, op.constant(x, "SQRT1_2"), -z))
        more = rest * op.fma(z * 2.0, g, -op.constant(x, "TWO_OVER_SQRT_PI"))
        tail = op.exp_times(exponent, op.fma(half, g, half * more))
        return op.where(x < 0.0, -tail, op.plain(x) - op.plain(tail))
    tail = op.exp_times(exponent, g)
    half = 0.5 * op.maximum(x, -op.vanishing(x) * SQRT2_BELOW)
    double, z, rate = op.leaning(x, op.where(x < 0.0, tail, 2.0 - tail)), op.word(x), op.constant(x, "SQRT_TWO_OVER_PI")

    def lean() -> Value:
        return (op.absolute(z) * op.word(rate) + LEAN).copysign(z)

    return half * next_to_zero(x, double, lambda: op.absolute(z) < 2.0**-56, 1.0, lean)


CUBE = Fraction("0.044715")
GELU_TANH_ROOT = -0.7524614220710163
"""Root of the gradient of gelu_tanh."""


def _rate() -> Fraction:
    """sqrt(8/pi): 2 u = sqrt(8/pi) (y + 0.044715 y^3)."""
    return 2 * op.exactly("SQRT_TWO_OVER_PI")


def _reach(x: Value) -> float:
    """A y such that the cubic term of 2 u = sqrt(8/pi) (y + 0.044715 y^3) alone is beyond the reach of exponentials."""
    return float(-op.tail(x) / (_rate() * CUBE)) ** (1 / 3)


def _limited(x: Value, exp: Callable[..., Value]) -> tuple[Value, Value, Value]:
    """y = |x|, limited to what matters, with y^2, and exp(-2 u)."""
    y = op.minimum(op.absolute(op.plain(x)), _reach(x))
    return y, y * y, exp(minus_cubic(y, _rate(), _rate() * CUBE))


def _mended(factor: Value, numerator: tuple[Value, Value], denominator: tuple[Value, Value]) -> Value:
    """A factor times the quotient of two numbers with rests, by one division."""
    (n, n_rest), (d, d_rest) = numerator, denominator
    inverse = 1.0 / d
    q = n * inverse
    rest = (op.fma(-q, d, n) + op.fma(-q, d_rest, n_rest)) * inverse
    product, word = factor * (q + rest), op.plain(factor)
    if not in_products(word):
        return product
    # A product with a rest that is subnormal would raise a flag, which has to be looked into.
    faint = word < 2.0**-100
    value = op.fma(word, op.where(faint, q + rest, q), word * op.where(faint, 0.0, rest))
    return product.where_near(value) if hasattr(product, "where_near") else value


def _gelu_tanh_gradient(x: Value) -> Value:
    """With e = exp(-2 u) of y = |x| and w = 2 du/dy: (1 + e + y w e)/(1 + e)^2 for x >= 0, e (1 + e - y w)/(1 + e)^2
    below."""
    y, square, e = _limited(x, partial(exp_closely, in_full=not in_products(x)))
    # In products of so few digits that what the sum lacks is exact.
    curve, start = 3 * CUBE * _rate(), short_enough(_rate(), x.context) if in_products(x) else _rate()
    (w, rest), negative = op.sum_and_rest(square, curve, start), x < 0.0
    op.cancelling(x, GELU_TANH_ROOT)
    factor = op.where(negative, -y, y * e)
    u = e + 1.0
    n, d = op.sum_and_rest(factor, w, u), op.sum_and_rest(e, e + 2.0, 1.0)
    slope = op.where(negative, e, 1.0) * (n[0] / d[0])
    if rest is not None:
        rest = rest + (_rate() - Fraction(rounded(start, x.context)))
        if in_products(x):
            rest = op.fma(square, curve - Fraction(rounded(curve, x.context)), rest)
            rest = op.fma(op.fma(y, y, -square), curve, rest)
        left = n[1] + op.fma(factor, rest, op.plain(e) - (u - 1.0))
        slope = _mended(op.where(negative, e, 1.0), (n[0], left), d)
    return next_to_root(x, op.next_to_root(x, slope, "gelu_tanh_root"), "gelu_tanh_root")


@declare(
    family="activations",
    formula="x/2*(1 + tanh(sqrt(2/pi)*(x + 0.044715*x**3)))",
    gradient=_gelu_tanh_gradient,
    gradient_roots=(GELU_TANH_ROOT,),
    aliases=("gelu_new",),
    numpy="0.5*x*(1 + np.tanh(np.sqrt(2/np.pi)*(x + 0.044715*x**3)))",
    peers={
        "torch": "torch.nn.functional.gelu(x, approximate='tanh')",
        "jax": "jax.nn.gelu(x, approximate=True)",
        "numexpr": "0.5*x*(1 + tanh(0.7978845608028654*(x + 0.044715*x**3)))",
    },
    critical=(0.0, GELU_TANH_ROOT, 4.9, 7.2, -4.9, -7.2, -10.03, -10.69, -20.97, -21.71),
    cite="Hendrycks and Gimpel 2016, arXiv:1606.08415",
)
def gelu_tanh(x: Value) -> Value:
    """x s(2 u) with u = sqrt(2/pi) (x + 0.044715 x^3): through e = exp(-2 |u|), its argument carried in two words, so
    that the tail stays right, where 1 + tanh(u) cancels. In products e/(1 + e) for x < 0 is e less e times that, of
    which the roundings hardly count."""
    if not in_products(x):
        _, _, e = _limited(x, op.exp)
        return op.maximum(x, -_reach(x)) * op.where(x < 0.0, e, 1.0) / (e + 1.0)
    _, _, e = _limited(x, partial(exp_closely, in_full=short(x)))
    limited, negative, word = op.maximum(x, -_reach(x)), x < 0.0, op.plain(e)
    far = limited * op.where(negative, e, 1.0) / (e + 1.0)
    q = op.where(negative, word, op.plain(limited)) / (word + 1.0)
    value = op.where(negative, op.plain(limited) * op.fma(-word, q, word), q)
    return far.where_near(value) if hasattr(far, "where_near") else value
