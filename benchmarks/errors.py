"""The largest errors in ULP of what benchmarks compute, on some elements or the first rows, for ``extra_info``.

Functions are compared with arbitrary precision; norms, rows and steps with their formulas in long double, which has
eleven bits more than float64.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import rowwise

from fastact.accuracy.measure import Truth, settings
from fastact.kernels import REGISTRY

ELEMENTS = 1_000
"""On which the errors of functions are taken, at most twice as many."""
Wide = Any
"""An array of long doubles."""


def wide(a: Any) -> Wide:
    return np.asarray(a).astype(np.longdouble)


def of_function(name: str, x: Any, result: Any, form: str = "value", parameters: Any = None) -> float | None:
    """Of a function of one array or its gradient; None where arbitrary precision is not installed."""
    some = slice(None, None, max(1, np.size(x) // ELEMENTS))
    x, result = np.ravel(x)[some], np.ravel(result)[some]
    given = settings(REGISTRY[name], x.dtype) if parameters is None else tuple(parameters)
    found = _truth(name, x.tobytes(), x.dtype, given, form).summary(result)
    return None if found is None else found.largest


@functools.lru_cache(maxsize=8)
def _truth(name: str, content: bytes, dtype: Any, parameters: tuple[float, ...], form: str) -> Truth:
    return Truth(REGISTRY[name], np.frombuffer(content, dtype), parameters, None if form == "value" else "x")


def of_array(result: Any, true: Wide) -> float | None:
    """Of an array, or of the first of several."""
    return rowwise.error(rowwise.first(result), true)


# -- rows -------------------------------------------------------------------------------------------------------------
def rows(function: str, x: Any, axis: int = -1) -> Wide:
    """softmax, log_softmax or logsumexp."""
    x = wide(x)
    top = x.max(axis, keepdims=True)
    total = np.exp(x - top).sum(axis, keepdims=True)
    if function == "softmax":
        return np.exp(x - top) / total
    logarithm = top + np.log(total)
    return x - logarithm if function == "log_softmax" else logarithm.squeeze(axis)


def rows_backward(function: str, g: Any, y: Any) -> Wide:
    """The gradient of softmax or log_softmax along the last axis from an output y, for that output."""
    g, y = wide(g), wide(y)
    if function == "softmax":
        return y * (g - (g * y).sum(-1, keepdims=True))
    return g - np.exp(y) * g.sum(-1, keepdims=True)


# -- norms ------------------------------------------------------------------------------------------------------------
def norm(function: str, x: Any, weight: Any, bias: Any = None, eps: float = 1e-5) -> Wide:
    """layer_norm or rms_norm along the last axis."""
    x = wide(x)
    centred = x - x.mean(-1, keepdims=True) if function == "layer_norm" else x
    y = centred / np.sqrt((centred * centred).mean(-1, keepdims=True) + np.longdouble(eps)) * wide(weight)
    return y if bias is None else y + wide(bias)


def layer_norm_backward(g: Any, x: Any, weight: Any, eps: float = 1e-5) -> Wide:
    """The gradient with respect to x."""
    g, x = wide(g) * wide(weight), wide(x)
    centred = x - x.mean(-1, keepdims=True)
    r = 1 / np.sqrt((centred * centred).mean(-1, keepdims=True) + np.longdouble(eps))
    unit = centred * r
    return r * (g - g.mean(-1, keepdims=True) - unit * (g * unit).mean(-1, keepdims=True))


def batch_norm(x: Any, mean: Any, variance: Any, weight: Any, bias: Any, eps: float = 1e-5) -> Wide:
    """With channels along the second axis."""
    shape = (1, -1) + (1,) * (x.ndim - 2)
    m, v, w, b = (wide(a).reshape(shape) for a in (mean, variance, weight, bias))
    return (wide(x) - m) / np.sqrt(v + np.longdouble(eps)) * w + b


# -- steps ------------------------------------------------------------------------------------------------------------
def step(kind: str, theta: Any, gradient: Any, velocity: Any, lr: float, mu: float, decay: float) -> Wide:
    """The parameter after a step with velocity. Of "torch", which makes its velocity in the first step, after two."""
    number = theta.dtype.type
    lr, mu, decay = (np.longdouble(number(value)) for value in (lr, mu, decay))
    t, g, v = wide(theta), wide(gradient), wide(velocity)
    if kind == "torch":
        first = g + decay * t
        after = t - lr * first
        return after - lr * (mu * first + g + decay * after)
    place = t + mu * v if kind == "nesterov" else t
    return t + (mu * v - lr * (g + decay * place))
