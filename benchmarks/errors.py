"""The largest errors in ULP of what benchmarks compute, on some elements or the first rows.

Functions of one number and gates are compared with arbitrary precision; norms, rows and steps with their formulas in
arbitrary precision where they are of float64, else in long double, which has eleven bits more than float64.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numba_user import JUDGED, data

from fastact.accuracy.measure import Truth, settings
from fastact.accuracy.ulp import format_of, ulp
from fastact.kernels import GATES, REGISTRY

ELEMENTS = 1_000
"""On which the errors of functions are taken, at most twice as many."""
BITS = 240
"""Of arbitrary precision."""
Wide = Any
"""An array of long doubles, or of numbers of arbitrary precision."""

try:
    import flint
except ImportError:
    flint = None


def wide(a: Any) -> Wide:
    """An array as numbers that have more digits."""
    a = np.asarray(a)
    if flint is None or a.dtype != np.float64:
        return a.astype(np.longdouble)
    return np.array([flint.arb(float(value)) for value in a.flat], object).reshape(a.shape)


def number(value: float, like: Wide) -> Any:
    """A number that arithmetic with such an array takes."""
    return flint.arb(float(value)) if like.dtype == object else np.longdouble(value)


def settled(formula: Callable[..., Wide]) -> Callable[..., Any]:
    """The formula with results as long doubles, evaluated with enough digits."""

    @functools.wraps(formula)
    def evaluated(*args: Any, **options: Any) -> Any:
        if flint is None:
            return np.asarray(formula(*args, **options))
        before = flint.ctx.prec
        flint.ctx.prec = BITS
        try:
            found = np.asarray(formula(*args, **options))
            if found.dtype != object:
                return found
            high = np.array([float(value) for value in found.flat])
            rest = [float(value - flint.arb(top)) for value, top in zip(found.flat, high.tolist(), strict=True)]
            return (high.astype(np.longdouble) + rest).reshape(found.shape)
        finally:
            flint.ctx.prec = before

    return evaluated


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


def first(result: Any) -> Any:
    """The result, or the first of several, as a NumPy array."""
    while isinstance(result, (tuple, list)):
        result = result[0]
    return np.asarray(result.detach() if hasattr(result, "detach") else result)


def of_array(result: Any, true: Wide | None) -> float | None:
    """Of the first rows of an array, or of the first of several, as many as there are true ones; subnormal results are
    left out."""
    if true is None:
        return None
    result = first(result)[: len(true)]
    large = np.abs(true) > np.finfo(result.dtype).tiny
    unit = ulp(true.astype(np.float64), format_of(result.dtype))
    return float(np.max(np.abs(result - true)[large] / unit[large], initial=0.0))


# -- by name ----------------------------------------------------------------------------------------------------------
def truth(name: str, dtype: str, form: str, given: dict[str, Any] | None = None, y: Any = None) -> Any:
    """What the first results of a gate or a function of rows are compared with, in long double; None where nothing is
    known that is better. ``given`` are other arrays than those of `data`, and y is the output that a gradient from the
    output was given."""
    of = {key: array[:JUDGED] if array.ndim == 2 else array for key, array in (given or data(dtype)).items()}
    if flint is None and (name in GATES or dtype == "float64"):
        return None
    if name in GATES:
        return _gate(name, form, of)
    if form == "value":
        if name in ("softmax", "softmin", "log_softmax", "logsumexp"):
            return rows(name, of["x"])
        if name == "batch_norm":
            return batch_norm(*(of[key] for key in "xmvwc"))
        return norm(name, of["x"], of["w"], of["c"] if name == "layer_norm" else None, EPS[name])
    if name == "logsumexp":
        return logsumexp_backward(of["g"][:, 0], of["x"])
    if name == "batch_norm":
        return batch_norm_backward(of["g"], of["v"], of["w"])
    if name in EPS:
        return norm_backward(name, of["g"], of["x"], of["w"], EPS[name])
    return None if y is None else rows_backward(name, of["g"], y[:JUDGED])


EPS = {"rms_norm": 1e-6, "layer_norm": 1e-5, "batch_norm": 1e-5}


def _gate(name: str, form: str, of: dict[str, Any]) -> Any:
    """The value of a gate, or its gradient with respect to a."""
    from fastact.accuracy.oracle import Oracle

    formula = re.sub(r"\ba\b", "x", GATES[name].formula)
    a, b = of["a"].ravel(), of["b"].ravel()
    if form == "value":
        high, low = Oracle(formula, ("b",)).pair(a, b)
    else:
        high, low = Oracle(f"g*({formula})", ("b", "g")).pair(a, b, of["g"].ravel(), wrt="x")
    return (high.astype(np.longdouble) + low).reshape(of["a"].shape)


# -- rows -------------------------------------------------------------------------------------------------------------
@settled
def rows(function: str, x: Any, axis: int = -1) -> Wide:
    """softmax, softmin, log_softmax or logsumexp."""
    x = -wide(x) if function == "softmin" else wide(x)
    top = x.max(axis, keepdims=True)
    total = np.exp(x - top).sum(axis, keepdims=True)
    if function.startswith("soft"):
        return np.exp(x - top) / total
    logarithm = top + np.log(total)
    return x - logarithm if function == "log_softmax" else logarithm.squeeze(axis)


@settled
def rows_backward(function: str, g: Any, y: Any) -> Wide:
    """The gradient of softmax, softmin or log_softmax along the last axis from an output y, for that output."""
    g, y = wide(g), wide(y)
    if function.startswith("soft"):
        gradient = y * (g - (g * y).sum(-1, keepdims=True))
        return -gradient if function == "softmin" else gradient
    return g - np.exp(y) * g.sum(-1, keepdims=True)


@settled
def logsumexp_backward(g: Any, x: Any) -> Wide:
    """Along the last axis."""
    x = wide(x)
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True) * wide(g)[:, np.newaxis]


# -- norms ------------------------------------------------------------------------------------------------------------
@settled
def norm(function: str, x: Any, weight: Any, bias: Any = None, eps: float = 1e-5) -> Wide:
    """layer_norm or rms_norm along the last axis."""
    unit, _ = _unit(function, wide(x), eps)
    y = unit * wide(weight)
    return y if bias is None else y + wide(bias)


def _unit(function: str, x: Wide, eps: float) -> tuple[Wide, Wide]:
    """The rows without weight and bias, and one over their deviation or root mean square."""
    centred = x - x.mean(-1, keepdims=True) if function == "layer_norm" else x
    r = 1 / np.sqrt((centred * centred).mean(-1, keepdims=True) + number(eps, x))
    return centred * r, r


@settled
def norm_backward(function: str, g: Any, x: Any, weight: Any, eps: float = 1e-5) -> Wide:
    """The gradient with respect to x."""
    g = wide(g) * wide(weight)
    unit, r = _unit(function, wide(x), eps)
    inner = g - unit * (g * unit).mean(-1, keepdims=True)
    return r * (inner - g.mean(-1, keepdims=True) if function == "layer_norm" else inner)


@settled
def batch_norm(x: Any, mean: Any, variance: Any, weight: Any, bias: Any, eps: float = 1e-5) -> Wide:
    """With channels along the second axis."""
    shape = (1, -1) + (1,) * (x.ndim - 2)
    m, v, w, b = (wide(a).reshape(shape) for a in (mean, variance, weight, bias))
    return (wide(x) - m) / np.sqrt(v + number(eps, v)) * w + b


@settled
def batch_norm_backward(g: Any, variance: Any, weight: Any, eps: float = 1e-5) -> Wide:
    """The gradient with respect to x of two axes."""
    v = wide(variance)
    return wide(g) * (wide(weight) / np.sqrt(v + number(eps, v)))


# -- steps ------------------------------------------------------------------------------------------------------------
@settled
def step(kind: str, theta: Any, gradient: Any, velocity: Any, lr: float, mu: float, decay: float) -> Wide:
    """The parameter after a step with velocity. Of "torch", which makes its velocity in the first step, after two."""
    rounded = theta.dtype.type
    t, g, v = wide(theta), wide(gradient), wide(velocity)
    lr, mu, decay = (number(rounded(value), t) for value in (lr, mu, decay))
    if kind == "torch":
        first = g + decay * t
        after = t - lr * first
        return after - lr * (mu * first + g + decay * after)
    place = t + mu * v if kind == "nesterov" else t
    return t + (mu * v - lr * (g + decay * place))
