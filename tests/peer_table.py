"""What the tests of conformance know about other libraries: expressions, tolerances, and where they are wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How far from each other, and on which inputs, two libraries' results may lie.

    ``floor``: where results are smaller, ULPs are those of this number. Inputs lie in [low, high] and are at least
    ``least`` from 0.
    """

    ulps: float = 4.0
    floor: float = 0.0
    low: float = -math.inf
    high: float = math.inf
    least: float = 0.0


USUAL = Limits()
REACH = {"float32": 80.0, "float64": 700.0}
"""Largest |x| that is compared: beyond it exponentials leave the range of numbers, and libraries part ways. Functions
that only select among their inputs are compared everywhere."""

ELSEWHERE: dict[tuple[str, str], str] = {
    ("scipy", "softplus"): "scipy.special.softplus(x)",
    ("scipy", "silu"): "x*scipy.special.expit(x)",
    ("scipy", "swish"): "x*scipy.special.expit(x)",
    ("scipy", "gelu"): "x*scipy.special.ndtr(x)",
    ("scipy", "tanhshrink"): "x - np.tanh(x)",
    ("scipy", "logit"): "scipy.special.logit(x)",
    ("scipy", "elu"): "scipy.special.boxcox1p(np.minimum(np.expm1(x), 0), 1) + np.maximum(x, 0)",
}
"""Expressions that the declarations do not name."""

WITH_PARAMETERS: dict[tuple[str, str], str] = {
    ("torch", "swish"): "x*torch.sigmoid(beta*x)",
    ("jax", "swish"): "x*jax.nn.sigmoid(beta*x)",
    ("jax", "softplus"): "jax.nn.softplus(beta*x)/beta",
    # one weight for each element, so that their gradients are not summed
    ("torch", "prelu"): "torch.nn.functional.prelu(x[None], torch.as_tensor(weight, dtype=x.dtype).expand(x.shape))[0]",
    ("torch", "snake"): "x + torch.sin(alpha*x)**2/alpha",
    ("jax", "snake"): "x + jax.numpy.sin(alpha*x)**2/alpha",
}
"""Expressions in x and all parameters, where the declared ones lack some or do not differentiate by them."""

# Reasons stand above the entries, as do the largest distances measured where they are not plain.
LIMITS: dict[tuple[str, str, str, str], Limits] = {
    # -- PyTorch; a distance of 4 ULP of a number is its absolute error where terms of that size cancel ---------------
    # beyond beta x = 20 it is x itself
    ("torch", "softplus", "value", "float64"): Limits(high=11.5),
    ("torch", "softplus", "grad", "float64"): Limits(high=11.5),
    # s (1 + x (1 - s)) cancels next to its root and where s is nearly 1; x is up to 40 there
    ("torch", "silu", "grad", ""): Limits(floor=16.0),
    ("torch", "swish", "grad", ""): Limits(floor=32.0),
    ("torch", "quick_gelu", "grad", ""): Limits(floor=16.0),
    # 1.702 x is rounded, and its exponential leaves the normal numbers
    ("torch", "quick_gelu", "value", "float32"): Limits(ulps=64.0, low=-45.0),
    ("torch", "quick_gelu", "value", "float64"): Limits(ulps=512.0, low=-400.0),
    # x^2 s (1 - s) with s close to 1
    ("torch", "swish", "grad_beta", ""): Limits(floor=256.0),
    # beta x is rounded, and its exponential has an error that grows with it
    ("torch", "softplus", "value*", "float32"): Limits(ulps=64.0),
    ("torch", "softplus", "value*", "float64"): Limits(ulps=512.0, high=11.5),
    ("torch", "softplus", "grad*", "float32"): Limits(ulps=64.0),
    ("torch", "softplus", "grad*", "float64"): Limits(ulps=512.0, high=11.5),
    ("torch", "swish", "value*", "float32"): Limits(ulps=64.0),
    ("torch", "swish", "value*", "float64"): Limits(ulps=512.0),
    # so has that of x/alpha
    ("torch", "celu", "grad*", "float32"): Limits(ulps=64.0),
    # 1/alpha is rounded to float32, whatever the dtype
    ("torch", "celu", "grad*", "float64"): Limits(ulps=2.0**35),
    # log(x/(1 - x)) next to 1/2
    ("torch", "logit", "value", ""): Limits(floor=1.0),
    # x + sqrt(x^2 + b) cancels for x < 0, and so does its gradient
    ("torch", "squareplus", "value", ""): Limits(floor=1024.0),
    ("torch", "squareplus", "grad", ""): Limits(floor=1.0),
    # 1/u - |x|/u^2 cancels for large u = 1 + |x|
    ("torch", "softsign", "grad", ""): Limits(floor=1.0),
    # x - tanh x cancels next to 0
    ("torch", "tanhshrink", "value", ""): Limits(floor=0.5),
    ("torch", "tanhshrink", "grad", ""): Limits(floor=1.0),
    # tanh(sp) + x s (1 - tanh^2(sp)), likewise
    ("torch", "mish", "grad", ""): Limits(floor=16.0),
    # y + 1 with y close to -1
    ("torch", "expm1", "grad", ""): Limits(floor=0.5),
    # 1 - y^2 and y (1 - y) with y close to 1
    ("torch", "tanh", "grad", ""): Limits(floor=0.5),
    ("torch", "sigmoid", "grad", ""): Limits(floor=0.5),
    # y^3 overflows; the powers of y are rounded
    ("torch", "rsqrt", "grad", ""): Limits(ulps=8.0, least=1e-24),
    # exp(-x^2) with a rounded square, hence an error that grows with x^2
    ("torch", "erf", "grad", "float32"): Limits(ulps=256.0),
    ("torch", "erf", "grad", "float64"): Limits(ulps=2048.0),
    ("torch", "erfc", "grad", "float32"): Limits(ulps=256.0),
    ("torch", "erfc", "grad", "float64"): Limits(ulps=2048.0),
    # 1 + erf cancels for x < 0
    ("torch", "gelu", "value", ""): Limits(floor=4.0),
    ("torch", "gelu", "grad", ""): Limits(floor=1.0),
    # 1 + tanh cancels for x < 0
    ("torch", "gelu_tanh", "value", ""): Limits(floor=4.0),
    ("torch", "gelu_tanh", "grad", ""): Limits(floor=16.0),
    # alpha x is rounded before its sine
    ("torch", "snake", "value", ""): Limits(floor=256.0),
    ("torch", "snake", "grad", ""): Limits(floor=256.0),
    ("torch", "snake", "grad_alpha", ""): Limits(floor=65536.0),
    # (beta + softplus) (expm1 - x) + beta x has a root for x < 0 and so has its gradient; expm1 - x cancels next to 0
    ("torch", "xielu", "value", ""): Limits(floor=8.0),
    ("torch", "xielu", "value*", ""): Limits(floor=256.0),  # beta x, of an x of some hundreds
    ("torch", "xielu", "grad", ""): Limits(floor=4.0),
    ("torch", "xielu", "grad_alpha_n", ""): Limits(floor=1.0),
    # s r^2 + b cancels next to its root
    ("torch", "star_relu", "value", ""): Limits(floor=0.5),
    # 1/6 in float32, whatever the dtype
    ("torch", "hardsigmoid", "grad", "float64"): Limits(ulps=2.0**28),
    # x/3 + 1/2 cancels next to -3/2
    ("torch", "hardswish", "grad", ""): Limits(floor=0.25),
    # -- JAX ------------------------------------------------------------------------------------------------------
    # through logaddexp: 1 - (1 - s)
    ("jax", "softplus", "grad", ""): Limits(floor=8.0),
    ("jax", "logsigmoid", "grad", ""): Limits(floor=8.0),
    # as PyTorch
    ("jax", "silu", "grad", ""): Limits(floor=16.0),
    ("jax", "swish", "grad", ""): Limits(floor=32.0),
    ("jax", "quick_gelu", "grad", ""): Limits(floor=16.0),
    ("jax", "quick_gelu", "value", "float32"): Limits(ulps=64.0, low=-45.0),
    ("jax", "quick_gelu", "value", "float64"): Limits(ulps=512.0, low=-400.0),
    ("jax", "softplus", "value*", "float32"): Limits(ulps=64.0),
    ("jax", "softplus", "value*", "float64"): Limits(ulps=512.0),
    ("jax", "softplus", "grad*", "float32"): Limits(ulps=64.0, floor=8.0),
    ("jax", "softplus", "grad*", "float64"): Limits(ulps=512.0, floor=8.0),
    ("jax", "swish", "value*", "float32"): Limits(ulps=64.0),
    ("jax", "swish", "value*", "float64"): Limits(ulps=512.0),
    ("jax", "swish", "grad_beta", ""): Limits(floor=256.0),
    # y + alpha with y close to -alpha
    ("jax", "elu", "grad", ""): Limits(floor=1.0),
    ("jax", "celu", "grad", ""): Limits(floor=1.0),
    ("jax", "selu", "grad", ""): Limits(floor=2.0),
    # as PyTorch
    ("jax", "logit", "value", ""): Limits(floor=1.0),
    ("jax", "squareplus", "value", ""): Limits(floor=1024.0),
    ("jax", "squareplus", "grad", ""): Limits(floor=1.0),
    ("jax", "softsign", "grad", ""): Limits(floor=1.0),
    # x - tanh x cancels next to 0
    ("jax", "tanhshrink", "value", ""): Limits(floor=1.0),
    ("jax", "tanhshrink", "grad", ""): Limits(floor=2.0),
    # x tanh(softplus x), whose parts are right to 2 ULP each
    ("jax", "mish", "value", ""): Limits(ulps=8.0),
    ("jax", "mish", "grad", "float32"): Limits(floor=16.0),
    # 33.5 measured: its tanh is wrong by 6 ULP, and 1 - tanh^2 shows it
    ("jax", "mish", "grad", "float64"): Limits(floor=64.0),
    # exp(x ln 2) with a rounded product, hence an error that grows with |x|
    ("jax", "exp2", "value", "float32"): Limits(ulps=64.0),
    ("jax", "exp2", "value", "float64"): Limits(ulps=512.0),
    ("jax", "exp2", "grad", "float32"): Limits(ulps=64.0),
    ("jax", "exp2", "grad", "float64"): Limits(ulps=512.0),
    # 5 ULP measured
    ("jax", "expm1", "value", ""): Limits(ulps=8.0),
    ("jax", "expm1", "grad", ""): Limits(floor=0.5),
    # 47 ULP measured, next to -0.4
    ("jax", "log1p", "value", "float64"): Limits(ulps=64.0),
    # x^2 leaves the range of normal numbers
    ("jax", "reciprocal", "grad", "float32"): Limits(least=1e-18),
    # x^(-3/2) overflows on the way
    ("jax", "rsqrt", "grad", ""): Limits(ulps=8.0, least=1e-24),
    # 6 ULP measured
    ("jax", "tanh", "value", "float64"): Limits(ulps=8.0),
    # 1 - y^2 and y (1 - y) with y close to 1
    ("jax", "tanh", "grad", "float32"): Limits(floor=1.0),
    ("jax", "tanh", "grad", "float64"): Limits(floor=4.0),
    ("jax", "sigmoid", "grad", ""): Limits(floor=0.5),
    # 5 ULP measured
    ("jax", "erf", "value", ""): Limits(ulps=8.0),
    # exp(-x^2) with a rounded square
    ("jax", "erf", "grad", "float32"): Limits(ulps=256.0),
    ("jax", "erf", "grad", "float64"): Limits(ulps=2048.0),
    ("jax", "erfc", "value", "float32"): Limits(ulps=256.0),
    ("jax", "erfc", "value", "float64"): Limits(ulps=2048.0),
    ("jax", "erfc", "grad", "float32"): Limits(ulps=256.0),
    ("jax", "erfc", "grad", "float64"): Limits(ulps=2048.0),
    # x erfc(-x/sqrt 2)/2 with a rounded quotient, hence an error relative to the tail that grows with x^2
    ("jax", "gelu", "value", ""): Limits(floor=0.5),
    ("jax", "gelu", "grad", ""): Limits(floor=0.5),
    ("jax", "gelu_tanh", "value", ""): Limits(floor=16.0),
    ("jax", "gelu_tanh", "grad", ""): Limits(floor=64.0),
    ("jax", "snake", "value", ""): Limits(floor=256.0),
    ("jax", "snake", "grad", ""): Limits(floor=256.0),
    ("jax", "snake", "grad_alpha", ""): Limits(floor=65536.0),
    ("jax", "xielu", "value", ""): Limits(floor=8.0),
    ("jax", "xielu", "value*", ""): Limits(floor=256.0),  # beta x, of an x of some hundreds
    ("jax", "xielu", "grad", ""): Limits(floor=4.0),
    ("jax", "xielu", "grad_alpha_n", ""): Limits(floor=1.0),
    ("jax", "star_relu", "value", ""): Limits(floor=0.5),
    ("jax", "hardswish", "grad", ""): Limits(floor=0.25),
    # -- SciPy ----------------------------------------------------------------------------------------------------
    # exp(-x^2) with a rounded square
    ("scipy", "erfc", "value", "float64"): Limits(ulps=2048.0),
    ("scipy", "gelu", "value", "float64"): Limits(ulps=2048.0),
    # its ndtr is subnormal where x times it is not
    ("scipy", "gelu", "value", "float32"): Limits(low=-13.0),
    ("scipy", "tanhshrink", "value", ""): Limits(floor=0.5),
}
"""(library, function, form, dtype, or "" for both) -> more than USUAL; a star is for parameters away from defaults."""

NOBODY: dict[str, str] = {}
"""Functions that none of the libraries has, and why they are what they are nevertheless."""

NO_GRADIENT = {
    ("jump_relu", "theta"): "the published gradient is a pseudo-derivative; by automatic differentiation it is 0",
}
"""Learned parameters by which no library differentiates."""

AT_KINKS: dict[tuple[str, str], dict[float, float]] = {
    # where(x >= 0, ...): the slope above
    ("jax", "leaky_relu"): {0.0: 1.0},
    ("jax", "prelu"): {0.0: 1.0},
    ("jax", "rrelu"): {0.0: 1.0},
    # maxima and minima give each side half
    ("jax", "hardtanh"): {-1.0: 0.5, 1.0: 0.5},
    ("jax", "softshrink"): {-0.5: 0.5, 0.5: 0.5},
    ("jax", "sparse_sigmoid"): {-1.0: 0.25, 1.0: 0.25},
    ("jax", "xielu"): {-1e-6: 0.1},
    # clamp lets the gradient pass at its limits
    ("torch", "xielu"): {-1e-6: 0.5},
    ("torch", "sparse_sigmoid"): {-1.0: 0.5, 1.0: 0.5},
}
"""Their gradients at kinks, where they differ from ours: any number between the one-sided ones is defensible."""

NO_LIMIT = {("snake", "grad")}
"""Functions and forms that have no limit at infinities: there they are NaN."""

OF_NAN: dict[tuple[str, str], str] = {
    ("jax", "threshold"): "the comparison is false",
    ("jax", "jump_relu"): "the comparison is false",
    ("jax", "hardshrink"): "the comparison is false",
}
"""Where others make a number of NaN; ours is NaN, and PyTorch's."""

DEFAULTS_DIFFER: dict[tuple[str, str, str], float] = {}
"""(library, function, parameter) -> their default, where it is not ours."""
