"""What f.backward_from_output(g, y) is, as formulas in the output y: the truth for the gradient from the output."""

from __future__ import annotations

import re
from dataclasses import replace

from fastact.kernels import Declaration

FORMULAS = {
    "exp": "g*y",
    "exp2": "g*y*log(2)",
    "expm1": "g*(y + 1)",
    "reciprocal": "-g*y**2",
    "rsqrt": "-g*y**3/2",
    "tanh": "g*(1 - y)*(1 + y)",
    "sigmoid": "g*y*(1 - y)",
    "relu": "where(y > 0, g, 0)",
    "relu6": "where(y > 0 and y < 6, g, 0)",
    "hardtanh": "where(y > min_val and y < max_val, g, 0)",
    "leaky_relu": "where(y > 0, g, negative_slope*g)",
    "hardshrink": "where(abs(y) > 0, g, 0)",
    "softshrink": "where(abs(y) > 0, g, 0)",
    "relu_squared": "2*g*sqrt(y)",
    "sparse_plus": "where(y >= 1, g, g*sqrt(y))",
    "softplus": "-g*expm1(-beta*y)",
    "elu": "where(y > 0, g, g*(y + alpha))",
    "selu": "where(y > 0, 1.0507009873554805*g, g*(y + 1.0507009873554805*1.6732632423543772))",
    "celu": "where(y > 0, g, g*(y/alpha + 1))",
    "softsign": "g*(1 - abs(y))**2",
    "squareplus": "g*y**2/(y**2 + b/4)",
    "sqrt": "g/(2*y)",
    "log": "g*exp(-y)",
    "log1p": "g*exp(-y)",
    "log2": "g*exp2(-y)/log(2)",
    "logit": "g*(exp(y) + 2 + exp(-y))",
    "logsigmoid": "-g*expm1(y)",
    "hardsigmoid": "where(y > 0 and y < 1, g/6, 0)",
    "sparse_sigmoid": "where(y > 0 and y < 1, g/2, 0)",
}

RATIONAL = {"log": "1/x", "log1p": "1/(1 + x)", "logit": "1/(x*(1 - x))"}
"""Derivatives that are quotients of numbers: of these, arithmetic without error tells the ties."""


def formula(name: str) -> str:
    """The gradient of a function from its output, as a formula in g and in x, which stands for the output."""
    return re.sub(r"\by\b", "x", FORMULAS[name])


def derivative(declaration: Declaration) -> Declaration:
    """A function's derivative as a function of its output, to be evaluated by the oracle."""
    return replace(declaration, formula=re.sub(r"\bg\b", "1", formula(declaration.name)))
