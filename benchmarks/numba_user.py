"""What a user of Numba writes who knows it: formulas without branches, typed, that its compiler makes vectors of.

Also imported by `scripts/svml_peer.py` in an environment of its own, so nothing of ours is needed here. Parameters are
at their defaults.
"""

from __future__ import annotations

import ast
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

EXPRESSIONS = {
    "exp": "math.exp(x)",
    "exp2": "np.exp2(x)",
    "expm1": "math.expm1(x)",
    "log": "math.log(x)",
    "log2": "np.log2(x)",
    "log1p": "math.log1p(x)",
    "reciprocal": "1.0/x",
    "rsqrt": "1.0/math.sqrt(x)",
    "sqrt": "math.sqrt(x)",
    "tanh": "math.tanh(x)",
    "erf": "math.erf(x)",
    "erfc": "math.erfc(x)",
    "sigmoid": "1.0/(1.0 + math.exp(-x))",
    "logsigmoid": "-math.log1p(math.exp(-x))",
    "logit": "math.log(x/(1.0 - x))",
    "softplus": "math.log1p(math.exp(x))",
    "silu": "x/(1.0 + math.exp(-x))",
    "swish": "x/(1.0 + math.exp(-1.0*x))",
    "mish": "x*math.tanh(math.log1p(math.exp(x)))",
    "elu": "x if x > 0.0 else math.expm1(min(x, 0.0))",
    "celu": "x if x > 0.0 else 1.0*math.expm1(min(x, 0.0)/1.0)",
    "selu": "1.0507009873554805*(x if x > 0.0 else 1.6732632423543772*math.expm1(min(x, 0.0)))",
    "gelu": "0.5*x*math.erfc(-0.7071067811865476*x)",
    "gelu_tanh": "0.5*x*(1.0 + math.tanh(0.7978845608028654*(x + 0.044715*x*x*x)))",
    "quick_gelu": "x/(1.0 + math.exp(-1.702*x))",
    "tanhshrink": "x - math.tanh(x)",
    "snake": "x + math.sin(x)*math.sin(x)",
    "softsign": "x/(1.0 + abs(x))",
    "squareplus": "0.5*(x + math.sqrt(x*x + 4.0))",
    "relu": "max(x, 0.0)",
    "leaky_relu": "x if x > 0.0 else 0.01*x",
    "prelu": "x if x > 0.0 else 0.25*x",
    "rrelu": "x if x > 0.0 else 0.22916666666666666*x",
    "relu6": "min(max(x, 0.0), 6.0)",
    "hardtanh": "min(max(x, -1.0), 1.0)",
    "threshold": "x if x > 0.25 else 0.25",
    "jump_relu": "x if x > 0.25 else 0.0",
    "hardshrink": "x if abs(x) > 0.5 else 0.0",
    "softshrink": "x - min(max(x, -0.5), 0.5)",
    "relu_squared": "max(x, 0.0)*max(x, 0.0)",
    "star_relu": "0.8944*(max(x, 0.0)*max(x, 0.0)) - 0.4472",
    "hardsigmoid": "min(max(x + 3.0, 0.0), 6.0)*0.16666666666666666",
    "hardswish": "x*(min(max(x + 3.0, 0.0), 6.0)*0.16666666666666666)",
    "sparse_sigmoid": "0.5*min(max(x + 1.0, 0.0), 2.0)",
    "sparse_plus": "x if x >= 1.0 else 0.25*(max(x + 1.0, 0.0)*max(x + 1.0, 0.0))",
    "xielu": "0.8*x*x + 0.5*x if x > 0.0 else 0.8*(math.expm1(min(x, -1e-6)) - x) + 0.5*x",
}
"""Of a number x."""
GATES = {
    "bilinear": "a*b",
    "reglu": "max(a, 0.0)*b",
    "glu": "b/(1.0 + math.exp(-a))",
    "swiglu": "a/(1.0 + math.exp(-a))*b",
    "geglu": "0.5*a*math.erfc(-0.7071067811865476*a)*b",
    "geglu_tanh": "0.5*a*(1.0 + math.tanh(0.7978845608028654*(a + 0.044715*a*a*a)))*b",
    "mishglu": "a*math.tanh(math.log1p(math.exp(a)))*b",
    "swiglu_oai": "min(a, 7.0)/(1.0 + math.exp(-1.702*min(a, 7.0)))*(min(max(b, -7.0), 7.0) + 1.0)",
}
"""Of two numbers a and b."""
SHAPE = 64, 1024
"""Of the arrays that functions of rows and gates are measured on."""
JUDGED = 2
"""Rows on which errors are taken."""


@functools.lru_cache(maxsize=2)
def data(dtype: str) -> dict[str, Any]:
    """The arrays that functions of rows and gates are measured on: x or a and b, an incoming gradient g, and for each
    channel weight w, bias c, mean m and variance v."""
    rng = np.random.default_rng(0)
    made = {name: rng.uniform(-10, 10, SHAPE) for name in ("x", "a", "b")}
    made |= {"g": rng.uniform(-1, 1, SHAPE), "w": rng.uniform(0.5, 1.5, SHAPE[1]), "c": rng.uniform(-1, 1, SHAPE[1])}
    made |= {"m": rng.uniform(-1, 1, SHAPE[1]), "v": rng.uniform(0.5, 2, SHAPE[1])}
    return {name: array.astype(dtype) for name, array in made.items()}


def scalar(expression: str, dtype: str, names: str = "x") -> Callable[..., Any]:
    """A formula as a function of numbers, its constants of the dtype."""
    scope: dict[str, Any] = {"math": math, "np": np}

    class Typed(ast.NodeTransformer):
        def visit_Constant(self, node: ast.Constant) -> ast.Name:
            label = f"constant_{len(scope)}"
            scope[label] = np.dtype(dtype).type(node.value)
            return ast.Name(label, ast.Load())

    tree = ast.parse(f"lambda {names}: {expression}", mode="eval")
    code = compile(ast.fix_missing_locations(Typed().visit(tree)), f"<{expression}>", "eval")
    return eval(code, scope)  # type: ignore[no-any-return]


@functools.cache
def loop(name: str, dtype: str) -> Callable[[Any], Any]:
    """The function of one number in a loop over the elements of an array."""
    import numba

    inner = numba.njit(error_model="numpy")(scalar(EXPRESSIONS[name], dtype))

    @numba.njit(error_model="numpy")
    def each(x):  # type: ignore[no-untyped-def]
        out = np.empty_like(x)
        for i in range(x.size):
            out[i] = inner(x[i])
        return out

    return each  # type: ignore[no-any-return]


# -- functions of rows ------------------------------------------------------------------------------------------------
# Their sums and maxima need leave to be reordered, or they are computed one element after the other.
def softmax(x):  # type: ignore[no-untyped-def]
    out = np.empty_like(x)
    for i in range(x.shape[0]):
        top = x[i, 0]
        for j in range(x.shape[1]):
            top = max(top, x[i, j])
        total = x.dtype.type(0)
        for j in range(x.shape[1]):
            e = math.exp(x[i, j] - top)
            out[i, j] = e
            total += e
        scale = x.dtype.type(1) / total
        for j in range(x.shape[1]):
            out[i, j] *= scale
    return out


def softmin(x):  # type: ignore[no-untyped-def]
    out = np.empty_like(x)
    for i in range(x.shape[0]):
        bottom = x[i, 0]
        for j in range(x.shape[1]):
            bottom = min(bottom, x[i, j])
        total = x.dtype.type(0)
        for j in range(x.shape[1]):
            e = math.exp(bottom - x[i, j])
            out[i, j] = e
            total += e
        scale = x.dtype.type(1) / total
        for j in range(x.shape[1]):
            out[i, j] *= scale
    return out


def log_softmax(x):  # type: ignore[no-untyped-def]
    out = np.empty_like(x)
    for i in range(x.shape[0]):
        top = x[i, 0]
        for j in range(x.shape[1]):
            top = max(top, x[i, j])
        total = x.dtype.type(0)
        for j in range(x.shape[1]):
            total += math.exp(x[i, j] - top)
        logarithm = math.log(total)
        for j in range(x.shape[1]):
            out[i, j] = (x[i, j] - top) - logarithm
    return out


def logsumexp(x):  # type: ignore[no-untyped-def]
    out = np.empty(x.shape[0], x.dtype)
    for i in range(x.shape[0]):
        top = x[i, 0]
        for j in range(x.shape[1]):
            top = max(top, x[i, j])
        total = x.dtype.type(0)
        for j in range(x.shape[1]):
            total += math.exp(x[i, j] - top)
        out[i] = top + math.log(total)
    return out


def rms_norm(x, w):  # type: ignore[no-untyped-def]
    out = np.empty_like(x)
    for i in range(x.shape[0]):
        total = x.dtype.type(0)
        for j in range(x.shape[1]):
            total += x[i, j] * x[i, j]
        scale = x.dtype.type(1) / math.sqrt(total / x.dtype.type(x.shape[1]) + x.dtype.type(1e-6))
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] * scale * w[j]
    return out


def layer_norm(x, w, c):  # type: ignore[no-untyped-def]
    out = np.empty_like(x)
    count = x.dtype.type(x.shape[1])
    for i in range(x.shape[0]):
        total = x.dtype.type(0)
        for j in range(x.shape[1]):
            total += x[i, j]
        mean = total / count
        total = x.dtype.type(0)
        for j in range(x.shape[1]):
            total += (x[i, j] - mean) * (x[i, j] - mean)
        scale = x.dtype.type(1) / math.sqrt(total / count + x.dtype.type(1e-5))
        for j in range(x.shape[1]):
            out[i, j] = (x[i, j] - mean) * scale * w[j] + c[j]
    return out


def batch_norm(x, m, v, w, c):  # type: ignore[no-untyped-def]
    out = np.empty_like(x)
    scale = np.empty_like(w)
    for j in range(x.shape[1]):
        scale[j] = w[j] / math.sqrt(v[j] + x.dtype.type(1e-5))
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = (x[i, j] - m[j]) * scale[j] + c[j]
    return out


ROWS: dict[str, tuple[Callable[..., Any], str]] = {
    "softmax": (softmax, "x"), "softmin": (softmin, "x"), "log_softmax": (log_softmax, "x"),
    "logsumexp": (logsumexp, "x"), "rms_norm": (rms_norm, "xw"), "layer_norm": (layer_norm, "xwc"),
    "batch_norm": (batch_norm, "xmvwc"),
}  # fmt: skip
"""Functions of rows, and the arrays of `data` that they are given."""


def rows(name: str, dtype: str, **options: Any) -> Callable[[], Any]:
    """A function of rows or a gate on its arrays, as a call; compiled with such options."""
    import numba

    arrays = data(dtype)
    if name in GATES:
        kind = getattr(numba, dtype)
        ufunc = numba.vectorize([kind(kind, kind)], **options)(scalar(GATES[name], dtype, "a, b"))
        a, b = arrays["a"], arrays["b"]
        return lambda: ufunc(a, b)
    function, letters = ROWS[name]
    compiled = numba.njit(error_model="numpy", **options)(function)
    given = [arrays[letter] for letter in letters]
    return lambda: compiled(*given)
