"""Where PyTorch, JAX and SciPy are wrong: inputs, and the true values there.

The tests of conformance hold the list to be true of the libraries that are installed, and ``docs/peers.md`` shows it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from peers_compared import at_default, expression, general, theirs

from fastact.kernels import REGISTRY

MANY = 64
"""Copies of an input: others' results may differ between vectors and the elements left over."""


@dataclass(frozen=True)
class Wrong:
    """A result of another library that is wrong by ``least`` ULP or more.

    ``form`` is "value" or the name of a gradient, ``at`` the input, rounded to ``dtype``, and ``true`` the true value
    at that rounded input, itself rounded to float64. Parameters that are not named are at their defaults.
    """

    library: str
    name: str
    form: str
    dtype: str
    at: float
    true: float
    least: float
    changed: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.library}-{self.name}-{self.form}-{self.dtype}-{self.at!r}"

    @property
    def wrt(self) -> str | None:
        """The variable of the derivative."""
        return None if self.form == "value" else self.form.partition("_")[2] or "x"

    @property
    def x(self) -> Any:
        return np.full(MANY, self.at, self.dtype)

    @property
    def parameters(self) -> dict[str, float]:
        """All of them."""
        return {**at_default(REGISTRY[self.name], self.dtype), **self.changed}

    @property
    def expression(self) -> str:
        """The library's."""
        every = self.changed or self.wrt not in (None, "x")
        return str((general if every else expression)(self.name, self.library))

    def theirs(self) -> Any:
        """What the library makes of the input."""
        return theirs(self.library, self.expression, self.x, self.parameters, self.wrt)


BY_REASON: dict[str, tuple[Wrong, ...]] = {
    "1 + erf cancels for x < 0, until no digit is left below -5.5": (
        Wrong("torch", "gelu", "value", "float32", -6.0, -5.9195258702261885e-09, 1e7),
        Wrong("torch", "gelu", "value", "float32", -10.0, -7.619853024160526e-23, 1e7),
        Wrong("torch", "gelu", "value", "float64", -14.0, -1.091095154686992e-43, 1e15),
        Wrong("torch", "gelu", "grad", "float32", -7.0, -6.266323031466631e-11, 1e5),
    ),
    "1 + tanh cancels for x < 0": (
        Wrong("torch", "gelu_tanh", "value", "float32", -6.0, -8.439646700762297e-11, 1e6),
        Wrong("torch", "gelu_tanh", "value", "float64", -10.0, -1.204092348209806e-37, 1e14),
        Wrong("jax", "gelu_tanh", "value", "float32", -6.0, -8.439646700762297e-11, 1e6),
    ),
    "(x + sqrt(x^2 + b))/2 cancels for x < 0": (
        Wrong("jax", "squareplus", "value", "float32", -71.97208, 0.01389159620428034, 1e3),
    ),
    "log(x/(1 - x)) instead of a log1p next to 1/2": (
        Wrong("torch", "logit", "value", "float32", 0.4999999, -3.5762786865234756e-07, 1e5),
        Wrong("jax", "logit", "value", "float32", 0.4999999, -3.5762786865234756e-07, 1e5),
    ),
    "the derivative is 1/u - |x|/u^2, which cancels for large u = 1 + |x|": (
        Wrong("jax", "softsign", "grad", "float32", 46.656033, 0.0004403157621397461, 20.0),
    ),
    "exp(-x) overflows where the true value is not 0 yet": (
        Wrong("torch", "silu", "value", "float32", -89.0, -1.982353569998212e-37, 1e6),
        Wrong("torch", "silu", "value", "float64", -712.0, -4.313292185103229e-307, 1e15),
        Wrong("torch", "silu", "grad", "float32", -89.0, -1.9600799343802546e-37, 1e6),
        Wrong("torch", "quick_gelu", "value", "float32", -53.0, -3.534336005468143e-38, 1e6),
        Wrong("jax", "silu", "value", "float32", -89.0, -1.982353569998212e-37, 1e6),
        Wrong("scipy", "silu", "value", "float32", -100.0, -3.720075976020836e-42, 1e3),
    ),
    "s (1 - s) and 1 - tanh^2 cancel where s and tanh are close to 1": (
        Wrong("torch", "sigmoid", "grad", "float32", 10.0, 4.5395807735951673e-05, 1e3),
        Wrong("torch", "sigmoid", "grad", "float32", 17.0, 4.1399373760035016e-08, 1e6),
        Wrong("torch", "sigmoid", "grad", "float64", 37.0, 8.533047625744065e-17, 1e15),
        Wrong("torch", "tanh", "grad", "float32", 10.0, 8.244614455767397e-09, 1e6),
        Wrong("torch", "tanh", "grad", "float64", 20.0, 1.6993417021166355e-17, 1e15),
        Wrong("torch", "swish", "grad_beta", "float32", 20.0, 8.244614455767398e-07, 1e6),
        Wrong("jax", "sigmoid", "grad", "float32", 17.0, 4.1399373760035016e-08, 1e6),
        Wrong("jax", "tanh", "grad", "float32", 10.0, 8.244614455767397e-09, 1e6),
        Wrong("jax", "tanh", "grad", "float64", 20.0, 1.6993417021166355e-17, 1e15),
    ),
    "the output + 1, or + alpha, instead of an exponential": (
        Wrong("torch", "expm1", "grad", "float32", -40.0, 4.248354255291589e-18, 1e6),
        Wrong("torch", "expm1", "grad", "float64", -40.0, 4.248354255291589e-18, 1e15),
        Wrong("jax", "elu", "grad", "float32", -25.0, 1.3887943864964021e-11, 1e6),
        Wrong("jax", "selu", "grad", "float32", -25.0, 2.4416384954718617e-11, 1e6),
    ),
    "x itself beyond a threshold of 20": (
        Wrong("torch", "softplus", "value", "float64", 20.5, 20.500000001250154, 1e5),
        Wrong("torch", "softplus", "grad", "float64", 20.5, 0.9999999987498471, 1e6),
    ),
    "several roundings in a row": (
        Wrong("torch", "mish", "value", "float32", -7.6122575, -0.003762224350323815, 2.5),
        Wrong("jax", "mish", "value", "float32", -7.6122575, -0.003762224350323815, 4.0),
    ),
    "the tail of the gradient is lost": (
        Wrong("torch", "mish", "grad", "float64", -712.0, -4.30723419046123e-307, 1e15),
    ),
    "x - tanh x cancels next to 0": (
        Wrong("torch", "tanhshrink", "value", "float32", 1e-3, 3.333332474974759e-10, 1e5),
        Wrong("scipy", "tanhshrink", "value", "float64", 1e-6, 3.3333333333319997e-19, 1e11),
    ),
    "1/alpha of the gradient is rounded to float32, whatever the dtype": (
        Wrong("torch", "celu", "grad", "float64", -30.0, 2.167602938645775e-08, 1e9, {"alpha": 1.7}),
    ),
    "1/6 is rounded to float32, whatever the dtype": (
        Wrong("torch", "hardsigmoid", "grad", "float64", 1.0, 0.16666666666666666, 1e8),
    ),
    "(x + 3) x overflows": (
        Wrong("torch", "hardswish", "value", "float32", 2e38, 1.9999999360571385e+38, 1e6),
        Wrong("torch", "hardswish", "value", "float64", 1e308, 1e+308, 1e15),
    ),
    "products overflow on the way": (
        Wrong("torch", "exp2", "grad", "float32", 128.2, 2.709380410967292e+38, 1e6),
        Wrong("torch", "rsqrt", "grad", "float32", 1.6e-26, -2.4705293210414432e+38, 1e6),
        Wrong("jax", "reciprocal", "grad", "float32", 9e-20, -1.234567979591306e+38, 1e6),
    ),
    "exponentials of rounded products and squares": (
        Wrong("jax", "exp2", "value", "float32", 51.98604, 4460225911052497.5, 20.0),
        Wrong("jax", "exp2", "value", "float64", 698.7, 2.1362789955961342e+210, 200.0),
        Wrong("jax", "erfc", "value", "float32", 8.3, 8.141452391057852e-32, 40.0),
    ),
    "next to -0.4 the result is off by up to 47 ULP": (
        Wrong("jax", "log1p", "value", "float64", -0.399109222, -0.5093420947395516, 40.0),
    ),
    "subnormal numbers become zeros": (
        Wrong("jax", "exp", "value", "float32", -87.5, 9.982350930569248e-39, 1e6),
        Wrong("jax", "mish", "value", "float32", -89.0, -1.982353569998212e-37, 1e6),
    ),
}
"""By what goes wrong there."""

WRONG = tuple(case for cases in BY_REASON.values() for case in cases)
