"""Gates of two arrays and functions of rows beside their peers, those of them that this version has.

Expressions are in ``x`` (64 rows of 1,024), ``w``, ``c``, ``m`` and ``v`` (weight, bias, mean and variance of a norm),
or ``a`` and ``b``; ``f`` is our function, ``t`` the tier.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import fastact
from fastact.accuracy import peers
from fastact.accuracy.measure import Truth
from fastact.accuracy.timing import interleaved
from fastact.accuracy.ulp import format_of, ulp
from fastact.kernels import GATES, REGISTRY
from fastact.precision import TIERS

SHAPE = 64, 1024
JUDGED = 2
"""Rows on which errors are taken."""
Row = dict[str, Any]
_SUM = "sum(-1, keepdims=True)"
_SHIFTED = "x - x.max(-1, keepdims=True)"
_ROW = "f(x, axis=-1, approx=t)"
_FROM_OUTPUT = "f.backward_from_output(g, y, axis=-1, approx=t)"


@dataclass(frozen=True)
class Case:
    """A function and what it is called elsewhere."""

    numpy: str
    torch: str
    jax: str = ""
    scipy: str = ""
    ours: str = "f(a, b, approx=t)"
    backward: str = "f.backward(g, a, b, approx=t)"
    over: tuple[str, ...] = ("a", "b")
    activation: str = ""
    """Of a gate: b times which function of a it is."""


def _rows(numpy: str, torch: str, jax: str, scipy: str = "", backward: str = _FROM_OUTPUT) -> Case:
    return Case(numpy, torch, jax, scipy, _ROW, backward, ("x",))


CASES = {
    "softmax": _rows(
        f"(lambda e: e/e.{_SUM})(np.exp({_SHIFTED}))", "torch.softmax(x, -1)", "jax.nn.softmax(x)",
        "scipy.special.softmax(x, -1)",
    ),
    "log_softmax": _rows(
        f"(lambda d: d - np.log(np.exp(d).{_SUM}))({_SHIFTED})", "torch.log_softmax(x, -1)", "jax.nn.log_softmax(x)",
        "scipy.special.log_softmax(x, -1)",
    ),
    "softmin": _rows(
        f"(lambda e: e/e.{_SUM})(np.exp(x.min(-1, keepdims=True) - x))", "torch.nn.functional.softmin(x, -1)",
        "jax.nn.softmax(-x)",
    ),
    "logsumexp": _rows(
        "(lambda m: m[:, 0] + np.log(np.exp(x - m).sum(-1)))(x.max(-1, keepdims=True))", "torch.logsumexp(x, -1)",
        "jax.nn.logsumexp(x, -1)", "scipy.special.logsumexp(x, -1)", "f.backward(g, x, axis=-1, approx=t)",
    ),
    "rms_norm": Case(
        "x/np.sqrt(np.mean(x*x, -1, keepdims=True) + x.dtype.type(1e-6))*w",
        "torch.nn.functional.rms_norm(x, x.shape[-1:], w, 1e-6)", "",
        "", "f(x, w, eps=1e-6, approx=t)", "f.backward(g, x, w, eps=1e-6, approx=t)", ("x", "w"),
    ),
    "layer_norm": Case(
        "(lambda d: d/np.sqrt(np.mean(d*d, -1, keepdims=True) + x.dtype.type(1e-5))*w + c)"
        "(x - x.mean(-1, keepdims=True))",
        "torch.nn.functional.layer_norm(x, x.shape[-1:], w, c, 1e-5)", "",
        "", "f(x, w, c, eps=1e-5, approx=t)", "f.backward(g, x, w, eps=1e-5, approx=t)", ("x", "w", "c"),
    ),
    "batch_norm": Case(
        "(x - m)/np.sqrt(v + x.dtype.type(1e-5))*w + c",
        "torch.nn.functional.batch_norm(x, m, v, w, c, False, 0.0, 1e-5)", "",
        "", "f(x, m, v, w, c, eps=1e-5, approx=t)", "f.backward(g, x, m, v, w, eps=1e-5, approx=t)", ("x", "w", "c"),
    ),
}  # fmt: skip


ACTIVATIONS = {
    "glu": "sigmoid", "reglu": "relu", "swiglu": "silu", "geglu": "gelu", "geglu_tanh": "gelu_tanh", "mishglu": "mish",
}  # fmt: skip
"""Of which function of a a gate is b times."""
for _gate in GATES.values():
    _peers = [_gate.peers.get(library, "") for library in ("torch", "jax")]
    CASES[_gate.name] = Case(_gate.numpy, *_peers, activation=ACTIVATIONS.get(_gate.name, ""))


def names() -> list[str]:
    """The functions that this version has."""
    return [name for name in CASES if hasattr(fastact, name)]


@functools.lru_cache(maxsize=2)
def data(dtype: str) -> dict[str, Any]:
    """The arrays that expressions speak of."""
    rng = np.random.default_rng(0)
    made = {name: rng.uniform(-10, 10, SHAPE) for name in ("x", "a", "b")}
    made |= {"g": rng.uniform(-1, 1, SHAPE), "w": rng.uniform(0.5, 1.5, SHAPE[1]), "c": rng.uniform(-1, 1, SHAPE[1])}
    made |= {"m": rng.uniform(-1, 1, SHAPE[1]), "v": rng.uniform(0.5, 2, SHAPE[1])}
    return {name: array.astype(dtype) for name, array in made.items()}


def _scope(dtype: str, library: str) -> dict[str, Any]:
    arrays = dict(data(dtype))
    if library in ("numpy", "scipy"):
        scope = {**arrays, "np": np}
        if library == "scipy":
            importlib.import_module("scipy.special")
            scope["scipy"] = importlib.import_module("scipy")
        return scope
    if library == "torch":
        torch = importlib.import_module("torch")
        importlib.import_module("torch.nn.functional")
        return {**{k: torch.from_numpy(v) for k, v in arrays.items()}, "torch": torch}
    jax = importlib.import_module("jax")
    importlib.import_module("jax.numpy")
    if dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    return {**{k: jax.numpy.asarray(v) for k, v in arrays.items()}, "jax": jax}


def value(name: str, dtype: str, library: str) -> Callable[[], Any]:
    """A peer's value as a call."""
    case = CASES[name]
    scope, expression = _scope(dtype, library), getattr(case, library)
    if library == "jax":
        jax = scope["jax"]
        compiled = jax.jit(eval(f"lambda {', '.join(case.over)}: {expression}", scope))
        given = [scope[key] for key in case.over]
        return lambda: compiled(*given).block_until_ready()
    call = eval(f"lambda: {expression}", scope)
    if library != "torch":
        return call  # type: ignore[no-any-return]

    def silent() -> Any:
        with scope["torch"].no_grad():
            return call()

    return silent


def gradient(name: str, dtype: str) -> Callable[[], Any]:
    """PyTorch's gradients with respect to all inputs, of an incoming gradient g."""
    case, scope = CASES[name], _scope(dtype, "torch")
    leaves = [scope[key].requires_grad_() for key in case.over]
    y = eval(case.torch, scope)
    g = scope["g"] if y.shape == scope["g"].shape else scope["g"][:, 0]
    return lambda: scope["torch"].autograd.grad(y, leaves, g, retain_graph=True)


def ours(name: str, dtype: str, form: str, tier: str) -> Callable[[], Any]:
    """Our own in a tier as a call."""
    case = CASES[name]
    scope = {**data(dtype), "f": getattr(fastact, name), "t": tier}
    scope["y"] = eval(case.ours, scope)
    if scope["y"].shape != SHAPE:
        scope["g"] = scope["g"][:, 0]
    return eval(f"lambda: {case.ours if form == 'value' else case.backward}", scope)  # type: ignore[no-any-return]


def first(result: Any) -> Any:
    """The result, or the first of several, as a NumPy array."""
    while isinstance(result, (tuple, list)):
        result = result[0]
    return np.asarray(result.detach() if hasattr(result, "detach") else result)


def truth(name: str, dtype: str, form: str, given: dict[str, Any] | None = None) -> Any:
    """What the first results are compared with, in long double; None where nothing is known that is better. ``given``
    are other arrays than those of `data`.

    For gates it is b (or g b, for the gradient with respect to a) times the true activation, or its derivative; for
    rows their formula in long double. Gradients of rows cancel, and have no errors in ULP."""
    case = CASES[name]
    arrays = {key: array[:JUDGED] if array.ndim == 2 else array for key, array in (given or data(dtype)).items()}
    wide = {key: array.astype(np.longdouble) for key, array in arrays.items()}
    if case.activation:
        a = arrays["a"].reshape(-1)
        known = Truth(REGISTRY[case.activation], a, (), None if form == "value" else "x")
        if not known.known:
            return None
        factor = wide["b"] if form == "value" else wide["b"] * wide["g"]
        high, low = np.asarray(known.high, np.longdouble), np.asarray(known.low, np.longdouble)
        return (high + low).reshape(factor.shape) * factor
    cancels = "c" in case.over and dtype == "float64"  # where a bias does, long double has too few digits
    if form != "value" or cancels:
        return None
    decimals = re.sub(r"(?<![\w.])\d+\.\d+", lambda found: f"np.longdouble('{found[0]}')", case.numpy)
    return eval(decimals, {**wide, "np": np})


def error(result: Any, true: Any) -> float | None:
    """The largest error in ULP of the first results, subnormal ones left out."""
    if true is None:
        return None
    result = result[: len(true)]
    form = format_of(result.dtype)
    large = np.abs(true) > np.finfo(result.dtype).tiny
    unit = ulp(true.astype(np.float64), form)
    return float(np.max(np.abs(result - true)[large] / unit[large], initial=0.0))


def compare(seconds: float, progress: Callable[[str], None]) -> list[Row]:
    """A row for each function, form and dtype; call it within `peers.one_thread`."""
    rows = []
    for name in names():
        for form in ("value", "gradient"):
            for dtype in ("float32", "float64"):
                progress(f"{name} {form} {dtype}")
                rows.append(one(name, form, dtype, seconds))
    return rows


def one(name: str, form: str, dtype: str, seconds: float) -> Row:
    calls, skipped, errors = {}, {}, {}
    there = ["torch"] if form == "gradient" else ["numpy", "scipy", "torch", "jax"]
    true = truth(name, dtype, form)
    for label in (*TIERS, *there):
        try:
            if label in TIERS:
                call = ours(name, dtype, form, label)
            elif label not in peers.installed() or not getattr(CASES[name], label):
                continue
            else:
                call = gradient(name, dtype) if form == "gradient" else value(name, dtype, label)
            errors[label] = error(first(call()), true)
        except Exception as reason:
            skipped[label] = f"{type(reason).__name__}: {reason}".splitlines()[0]
            continue
        calls[label] = call
    size = SHAPE[0] * SHAPE[1]
    nanoseconds = {k: round(t.best / size * 1e9, 4) for k, t in interleaved(calls, seconds).items()} if calls else {}
    known = {k: v for k, v in errors.items() if v is not None}
    return {"function": name, "form": form, "dtype": dtype, "ns": nanoseconds, "ulp": known, "skipped": skipped}
