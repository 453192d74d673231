"""Feed-forward layers: matrix products by NumPy, between them bias and activation, or the gate, in place in one pass.

The rows of x are taken in blocks, so that what lies between the two products stays small; a block has so many rows that
the products lose nothing by it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastact.arguments import elsewhere
from fastact.cpu import threads
from fastact.cpu.failures import failures
from fastact.cpu.places import address
from fastact.function import FUNCTIONS, Function
from fastact.gates import Gate, gate
from fastact.kernels import ALIASES, GATES, REGISTRY
from fastact.link.forms import BIASED
from fastact.precision import Approx, parse

Array = np.ndarray[Any, Any]
ROWS = 512
"""A block has at least so many rows, and as many more as keep it within `BETWEEN`."""
BETWEEN = 1 << 22
"""Elements of a block between the products."""


def ffn(
    x: Any,
    w1: Any,
    w2: Any,
    b1: Any = None,
    b2: Any = None,
    activation: str | Function = "relu",
    *,
    approx: Approx = None,
    out: Array | None = None,
) -> Array:
    """The feed-forward layer f(x w1 + b1) w2 + b2 with an activation f; without biases it is T5's f(x w1) w2.

    Parameters
    ----------
    x : array_like, shape (..., d)
    w1, w2 : array_like, shapes (d, h) and (h, e)
    b1, b2 : array_like, shapes (h,) and (e,), optional
        All of one dtype, float32 or float64.
    activation : str or fastact function
        Any function here whose parameters have defaults, which hold.
    approx : "exact" (or False), "fast" (or True), "rough" or None, by keyword only
        The precision of the activation; None takes that of the surrounding fastact.precision(...). The matrix products
        and the addition of b1 and b2 are NumPy's, rounded to the dtype as it rounds them.
    out : ndarray of shape (..., e), by keyword only, optional
        Where the result goes; it may be x.

    Returns
    -------
    ndarray of shape (..., e)
        ``out`` if it was given.

    Raises
    ------
    ValueError
        Shapes that do not fit together (the message has both), an activation that there is not or that needs a
        parameter, an ``out`` that is read-only or of the wrong shape.
    TypeError
        Other dtypes than float32 and float64, or several; an ``out`` of another dtype or that is no array.

    Source: Vaswani et al. 2017, Attention is all you need, arXiv:1706.03762; without bias Raffel et al. 2020,
    Exploring the limits of transfer learning with a unified text-to-text transformer, arXiv:1910.10683
    """
    function, tier = _activation(activation), parse(approx)
    given = _arrays("ffn", {"x": x, "w1": w1, "w2": w2, "b1": b1, "b2": b2})
    x, w1, w2 = given["x"], given["w1"], given["w2"]
    _fit("ffn", given, "x", "w1", "w2")
    for bias, weight in (("b1", "w1"), ("b2", "w2")):
        if bias in given and given[bias].shape != given[weight].shape[1:]:
            raise ValueError(
                f"ffn(): {bias} has shape {given[bias].shape}, but {weight} of shape {given[weight].shape}"
                f" wants {given[weight].shape[1:]}"
            )
    out, result = _result("ffn", given, w2.shape[1], out)
    rows, target = _rows(x), _rows(result)
    between = np.empty((min(_length(w1.shape[1]), len(rows)), w1.shape[1]), x.dtype)
    for part in _parts(len(rows), len(between)):
        hidden = between[: part.stop - part.start]
        np.matmul(rows[part], w1, out=hidden)
        if "b1" in given:
            _add_and_activate(function, tier, hidden, given["b1"])
        else:
            function(hidden, out=hidden, approx=tier)
        np.matmul(hidden, w2, out=target[part])
        if "b2" in given:
            np.add(target[part], given["b2"], out=target[part])
    return _delivered(result, out)


def ffn_glu(
    x: Any,
    w: Any,
    v: Any,
    w2: Any,
    gate: str | Gate = "swiglu",
    *,
    approx: Approx = None,
    out: Array | None = None,
) -> Array:
    """The gated feed-forward layer gate(x w, x v) w2, as in Shazeer's FFN_GLU, FFN_Bilinear, FFN_ReGLU, FFN_GEGLU and
    FFN_SwiGLU.

    Parameters
    ----------
    x : array_like, shape (..., d)
    w, v, w2 : array_like, shapes (d, h), (d, h) and (h, e)
        All of one dtype, float32 or float64; x w goes through the activation.
    gate : str or fastact gate
        ``"glu"``, ``"bilinear"``, ``"reglu"``, ``"geglu"``, ``"swiglu"`` or any other gate here.
    approx : "exact" (or False), "fast" (or True), "rough" or None, by keyword only
        The precision of the gate; None takes that of the surrounding fastact.precision(...). The matrix products are
        NumPy's, rounded to the dtype as it rounds them.
    out : ndarray of shape (..., e), by keyword only, optional
        Where the result goes; it may be x.

    Returns
    -------
    ndarray of shape (..., e)
        ``out`` if it was given.

    Raises
    ------
    ValueError
        Shapes that do not fit together (the message has both), a gate that there is not, an ``out`` that is read-only
        or of the wrong shape.
    TypeError
        Other dtypes than float32 and float64, or several; an ``out`` of another dtype or that is no array.

    Source: Shazeer 2020, GLU variants improve transformer, arXiv:2002.05202
    """
    chosen, tier = _gate(gate), parse(approx)
    given = _arrays("ffn_glu", {"x": x, "w": w, "v": v, "w2": w2})
    x, w, v, w2 = given["x"], given["w"], given["v"], given["w2"]
    _fit("ffn_glu", given, "x", "w", "w2")
    if v.shape != w.shape:
        raise ValueError(f"ffn_glu(): v has shape {v.shape}, but w has {w.shape}")
    out, result = _result("ffn_glu", given, w2.shape[1], out)
    rows, target = _rows(x), _rows(result)
    between = np.empty((2, min(_length(2 * w.shape[1]), len(rows)), w.shape[1]), x.dtype)
    for part in _parts(len(rows), between.shape[1]):
        hidden, linear = between[:, : part.stop - part.start]
        np.matmul(rows[part], w, out=hidden)
        np.matmul(rows[part], v, out=linear)
        chosen(hidden, linear, out=hidden, approx=tier)
        np.matmul(hidden, w2, out=target[part])
    return _delivered(result, out)


# -- what is done ---------------------------------------------------------------------------------------------------
def _add_and_activate(function: Function, tier: str, hidden: Array, bias: Array) -> None:
    """The activation of the sum with a bias, in place, in one pass; the bits are those of two."""
    from fastact.cpu.kernels import inner_ufunc

    ufunc = inner_ufunc(function.__name__, BIASED, tier)
    if hidden.size >= threads.SMALLEST:
        threads.call(ufunc, (hidden, bias), {"out": hidden}, hidden)
    else:
        ufunc(hidden, bias, out=hidden)
    if failures:
        failures.report(ufunc.__name__)


def _length(width: int) -> int:
    """The rows of a block."""
    return max(ROWS, BETWEEN // max(width, 1))


def _parts(count: int, length: int) -> list[slice]:
    return [slice(start, min(start + length, count)) for start in range(0, count, length)] if count else []


def _rows(x: Array) -> Array:
    """The matrix whose rows are the vectors of an array."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


# -- what is given --------------------------------------------------------------------------------------------------
def _activation(activation: str | Function) -> Function:
    if isinstance(activation, str):
        name = ALIASES.get(activation, activation)
        if name not in REGISTRY:
            raise ValueError(f"ffn(): no activation is called {activation!r}; there are {', '.join(REGISTRY)}")
        activation = FUNCTIONS[name]
    if not isinstance(activation, Function):
        raise TypeError(f"ffn(): activation is a name or a function of fastact, not {activation!r}")
    needed = [name for name, default in activation.parameters.items() if default is None]
    if needed:
        raise ValueError(f"ffn(): {activation.__name__} needs {', '.join(needed)}; only defaults are used here")
    return activation


def _gate(chosen: str | Gate) -> Gate:
    if isinstance(chosen, str):
        if chosen not in GATES:
            raise ValueError(f"ffn_glu(): no gate is called {chosen!r}; there are {', '.join(GATES)}")
        return gate(chosen)
    if not isinstance(chosen, Gate):
        raise TypeError(f"ffn_glu(): gate is a name or a gate of fastact, not {chosen!r}")
    return chosen


def _arrays(name: str, given: dict[str, Any]) -> dict[str, Array]:
    """What is given, as arrays of one dtype."""
    for label, value in given.items():
        if elsewhere((value,), {}):
            raise NotImplementedError(f"{name}() is not there for arrays on a CUDA device, but {label} is one")
    arrays = {label: np.asarray(value) for label, value in given.items() if value is not None}
    first = arrays["x"].dtype
    for label, array in arrays.items():
        if array.dtype.char not in "fd":
            raise TypeError(f"{name}(): {label} is float32 or float64, not {array.dtype}")
        if array.dtype != first:
            raise TypeError(f"{name}(): {label} is {array.dtype}, but x is {first}; all are to be of one dtype")
    return arrays


def _fit(name: str, arrays: dict[str, Array], x: str, first: str, second: str) -> None:
    """Raise what is wrong with the shapes of x and the weights."""
    for label in set(arrays) & {"w", "v", "w1", "w2"}:
        if arrays[label].ndim != 2:
            raise ValueError(f"{name}(): {label} has two axes, not shape {arrays[label].shape}")
    if arrays[x].ndim == 0:
        raise ValueError(f"{name}(): x has at least one axis, not shape ()")
    for left, right in ((x, first), (first, second)):
        one, other = arrays[left].shape, arrays[right].shape
        if one[-1] != other[0]:
            raise ValueError(
                f"{name}(): {left} of shape {one} does not fit {right} of shape {other}: {one[-1]} is not {other[0]}"
            )


def _result(name: str, arrays: dict[str, Array], width: int, out: Any) -> tuple[Array | None, Array]:
    """``out``, and where the result is to be computed: there, unless something else that is given lies there too."""
    x = arrays["x"]
    shape = (*x.shape[:-1], width)
    if out is None:
        return None, np.empty(shape, x.dtype)
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name}(): out must be an array, not {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"{name}(): out has shape {out.shape}, but the result of x of shape {x.shape} has {shape}")
    if out.dtype != x.dtype:
        raise TypeError(f"{name}(): out is {out.dtype}, but the result is {x.dtype}")
    if not out.flags.writeable:
        raise ValueError(f"{name}(): out is read-only")
    same = out.shape == x.shape and out.strides == x.strides and address(out) == address(x)
    others = [array for label, array in arrays.items() if not (label == "x" and same)]
    if not out.flags.c_contiguous or any(np.may_share_memory(out, array) for array in others):
        return out, np.empty(shape, x.dtype)
    return out, out


def _delivered(result: Array, out: Array | None) -> Array:
    if out is not None and out is not result:
        out[...] = result
    return result if out is None else out
