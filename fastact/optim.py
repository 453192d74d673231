"""Steps of gradient descent, in place and in one pass over memory, and their best settings for a quadratic.

>>> import numpy as np
>>> from fastact import optim
>>> theta, velocity = np.ones(3), np.zeros(3)
>>> for _ in range(100):
...     gradient = theta * [1.0, 2.0, 4.0]
...     optim.momentum(theta, gradient, velocity, lr=0.4, mu=0.1)
>>> bool(abs(theta).max() < 1e-12)
True

Every step takes arrays, or lists of arrays, of float32 or float64; arrays that belong together have one shape and one
dtype. Parameters and velocities are overwritten, gradients only read. All is checked before anything is written. The
numbers ``lr``, ``mu`` and ``weight_decay`` are rounded to the dtype of the arrays. Every operation is rounded to
nearest in that dtype, in an order that is the same for all sizes, strides, numbers of threads and machines, and so are
the bits of the result. Infinities and NaN go their way without a warning, whatever `numpy.errstate` has, as they do
in PyTorch: to look for them would take a second pass.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from contextlib import nullcontext
from numbers import Real
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from fastact.cpu.places import address, addresses

Array: TypeAlias = np.ndarray[Any, Any]
Arrays: TypeAlias = Array | Sequence[Array]

__all__ = ["Quadratic", "Setting", "lookahead", "momentum", "nesterov", "quadratic", "sgd"]

LARGE = 1e38
"""Numbers of which the rounding to float32 may overflow are not below it."""
FEW = 4
"""Arrays whose memory is compared each with each."""
DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
WITH_VELOCITY = ("lr", "mu", "weight_decay")


# -- steps ------------------------------------------------------------------------------------------------------------
def sgd(theta: Arrays, gradient: Arrays, lr: float, *, weight_decay: float = 0.0) -> None:
    """A step of gradient descent, in place: theta <- theta - lr (g + weight_decay theta).

    ``theta``: the parameter, or a list of parameters; overwritten. ``gradient``: g, the gradient of the loss at theta.
    ``lr``: the step size, finite and at least 0, in units of theta per unit of gradient (on a quadratic, of one over
    its curvature). ``weight_decay``: finite and at least 0, in units of curvature; it adds weight_decay/2 |theta|^2 to
    the loss, as that of torch.optim.SGD does, and so shrinks parameters by the factor 1 - lr weight_decay per step.

    Rounded twice: d = g + weight_decay theta, and theta - lr d. Without decay, d is g itself.

    The step is that of torch.optim.SGD without momentum."""
    if _surely_apart(1, theta, gradient):
        own = _own("sgd", theta.dtype, ("lr", "weight_decay"), lr, weight_decay)  # type: ignore[union-attr]
        _apply("sgd", (theta, gradient, *own), (theta,))  # type: ignore[arg-type]
        return
    parameters, gradients = _lists("sgd", theta=theta, gradient=gradient)
    dtypes = _check("sgd", {"theta": parameters}, {"gradient": gradients})
    numbers = _numbers("sgd", dtypes, lr=lr, weight_decay=weight_decay)
    for t, g in zip(parameters, gradients, strict=True):
        _apply("sgd", (t, g, *numbers[t.dtype]), (t,))


def momentum(
    theta: Arrays, gradient: Arrays, velocity: Arrays, lr: float, mu: float, *, weight_decay: float = 0.0
) -> None:
    """A step of Polyak's heavy ball, in place: v <- mu v - lr (g + weight_decay theta); theta <- theta + v.

    ``theta``: the parameter, or a list of parameters; overwritten. ``gradient``: g, the gradient of the loss at theta.
    ``velocity``: v, the step last taken, in units of theta; zeros before the first step; overwritten.
    ``lr``: finite and at least 0, in units of theta per unit of gradient. ``mu``: the share of the velocity that is
    kept, at least 0 and below 1. ``weight_decay``: finite and at least 0, in units of curvature; it adds
    weight_decay/2 |theta|^2 to the loss.

    Rounded once each: d = g + weight_decay theta (without decay, d is g itself), lr d, the velocity mu v - (lr d), and
    the sum theta + v.

    torch.optim.SGD(momentum=mu, dampening=0, weight_decay=weight_decay) keeps u <- mu u + d and goes
    theta <- theta - lr u. As long as lr stays the same, v = -lr u and the parameters agree but for roundings. When lr
    changes, it acts here on what is added to the velocity from then on, there on the whole of the velocity at once: to
    have torch's parameters, multiply v by new lr / old lr. Weight decay is the same in both.

    B. T. Polyak, Some methods of speeding up the convergence of iteration methods, USSR Computational Mathematics and
    Mathematical Physics 4 (5), 1964, 1-17."""
    _with_velocity("momentum", theta, gradient, velocity, lr, mu, weight_decay)


def nesterov(
    theta: Arrays, gradient: Arrays, velocity: Arrays, lr: float, mu: float, *, weight_decay: float = 0.0
) -> None:
    """A step of Nesterov's accelerated gradient, in place: v <- mu v - lr (g + weight_decay p); theta <- theta + v,
    where g is the gradient at the point ahead, p = theta + mu v, which `lookahead` gives:

        optim.lookahead(theta, velocity, mu, out=p)
        optim.nesterov(theta, gradient_at(p), velocity, lr, mu)

    ``theta``: the parameter, or a list of parameters; overwritten. ``gradient``: g, the gradient of the loss at p (at
    theta it would make the step that of `momentum`). ``velocity``: v, the step last taken, in units of theta; zeros
    before the first step; overwritten. ``lr``: finite and at least 0, in units of theta per unit of gradient.
    ``mu``: at least 0 and below 1. ``weight_decay``: finite and at least 0, in units of curvature; it adds
    weight_decay/2 |p|^2 to the loss at p.

    Rounded once each: p = theta + mu v, d = g + weight_decay p (without decay, d is g itself), lr d, the velocity
    mu v - (lr d), and the sum theta + v.

    torch.optim.SGD(momentum=mu, nesterov=True, weight_decay=weight_decay) keeps u <- mu u + d and goes
    p <- p - lr (d + mu u), d being g + weight_decay p: its parameters are the points ahead. As long as lr and mu stay
    the same, v = -lr u, and lookahead(theta, v, mu) after a step agrees with torch's parameter but for roundings. The
    decay is the same in both, that of the point ahead.

    Y. Nesterov, A method for solving the convex programming problem with convergence rate O(1/k^2), Soviet Mathematics
    Doklady 27, 1983, 372-376; in this form I. Sutskever, J. Martens, G. Dahl, G. Hinton, On the importance of
    initialization and momentum in deep learning, ICML 2013."""
    _with_velocity("nesterov", theta, gradient, velocity, lr, mu, weight_decay)


def lookahead(theta: Arrays, velocity: Arrays, mu: float, out: Arrays | None = None) -> Any:
    """The point theta + mu v at which `nesterov` wants the gradient, rounded once; a list of them for lists.

    ``mu``: at least 0 and below 1. ``out``: where to write, theta itself allowed; new arrays without it."""
    if out is None and _surely_apart(0, theta, velocity):
        numbers = _own("lookahead", theta.dtype, ("mu",), mu)  # type: ignore[union-attr]
        point: Array = np.empty_like(theta)  # type: ignore[arg-type]
        _apply("lookahead", (theta, velocity, *numbers), (point,))
        return point
    parameters, velocities = _lists("lookahead", theta=theta, velocity=velocity)
    if out is None:
        dtypes = _check("lookahead", {}, {"theta": parameters, "velocity": velocities})
        points = [np.empty_like(t, subok=False) for t in parameters]
    else:
        _, points = _lists("lookahead", theta=theta, out=out)
        own = [t for t, p in zip(parameters, points, strict=True) if not _same(t, p)]
        _check("lookahead", {}, {"theta": parameters, "velocity": velocities})
        dtypes = _check("lookahead", {"out": points}, {"theta": parameters, "velocity": velocities}, own + velocities)
    rounded = _numbers("lookahead", dtypes, mu=mu)
    for t, v, p in zip(parameters, velocities, points, strict=True):
        _apply("lookahead", (t, v, *rounded[t.dtype]), (p,))
    if out is not None:
        return out
    return points[0] if isinstance(theta, np.ndarray) else points


def _with_velocity(
    name: str, theta: Arrays, gradient: Arrays, velocity: Arrays, lr: float, mu: float, weight_decay: float
) -> None:
    if _surely_apart(2, theta, velocity, gradient):
        own = _own(name, theta.dtype, WITH_VELOCITY, lr, mu, weight_decay)  # type: ignore[union-attr]
        _apply(name, (theta, gradient, velocity, *own), (theta, velocity))  # type: ignore[arg-type]
        return
    parameters, gradients, velocities = _lists(name, theta=theta, gradient=gradient, velocity=velocity)
    dtypes = _check(name, {"theta": parameters, "velocity": velocities}, {"gradient": gradients})
    numbers = _numbers(name, dtypes, lr=lr, mu=mu, weight_decay=weight_decay)
    for t, g, v in zip(parameters, gradients, velocities, strict=True):
        _apply(name, (t, g, v, *numbers[t.dtype]), (t, v))


def _rounded(name: str, dtype: np.dtype[Any], labels: tuple[str, ...], *values: float) -> tuple[Array, ...]:
    """The numbers of a step as arrays, which a ufunc takes sooner than numbers."""
    given = dict(zip(labels, values, strict=True))
    return tuple(map(np.asarray, _numbers(name, {dtype}, **given)[dtype]))


_settled = functools.lru_cache(64)(_rounded)


def _own(name: str, dtype: np.dtype[Any], labels: tuple[str, ...], *values: float) -> tuple[Array, ...]:
    """The same, remembered where equal values are the same: not with zeros, but for decay, of which no sign counts."""
    zeros = 0
    for value in values:
        if type(value) is not float:
            return _rounded(name, dtype, labels, *values)
        zeros += not value
    if not zeros or (zeros == 1 and not values[-1] and labels[-1] == "weight_decay"):
        return _settled(name, dtype, labels, *values)
    return _rounded(name, dtype, labels, *values)


def _apply(name: str, args: tuple[Any, ...], out: tuple[Array, ...]) -> None:
    from fastact.cpu.steps import apply

    apply(name, args, out)


# -- what is refused --------------------------------------------------------------------------------------------------
def _lists(name: str, **given: Arrays) -> list[list[Array]]:
    """Every argument as a list of plain arrays; all of them are arrays, or lists of one length."""
    found = {}
    for label, value in given.items():
        if isinstance(value, np.ndarray):
            found[label] = [value]
        elif isinstance(value, (list, tuple)):
            found[label] = list(value)
        else:
            raise TypeError(f"{name}(): {label} is an array or a list of arrays, not {type(value).__name__}")
        for array in found[label]:
            if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
                raise TypeError(f"{name}(): {label} holds arrays of NumPy, not {type(array).__name__}")
    kinds = {label: "an array" if isinstance(v, np.ndarray) else "a list" for label, v in given.items()}
    if len(set(kinds.values())) > 1:
        stated = ", ".join(f"{label} is {kind}" for label, kind in kinds.items())
        raise TypeError(f"{name}(): {stated}; all are arrays, or all lists of arrays")
    lengths = {label: len(value) for label, value in found.items()}
    if len(set(lengths.values())) > 1:
        stated = ", ".join(f"{length} of {label}" for label, length in lengths.items())
        raise ValueError(f"{name}(): as many arrays are needed of each, not {stated}")
    return [[np.asarray(array) for array in arrays] for arrays in found.values()]


def _check(
    name: str, written: dict[str, list[Array]], read: dict[str, list[Array]], apart: list[Array] | None = None
) -> set[np.dtype[Any]]:
    """Refuse arrays that do not fit, cannot be written, or share memory with one that is written; their dtypes.

    ``apart``: the arrays only read that no written one may share memory with; all of them if not given."""
    (first, *labels), (heads, *others) = zip(*(written | read).items(), strict=True)
    for place, head in enumerate(heads):
        where = f"[{place}]" if len(heads) > 1 else ""
        if head.dtype not in DTYPES:
            raise TypeError(f"{name}(): {first}{where} is of dtype {head.dtype}; float32 and float64 are allowed")
        for label, array in zip(labels, (arrays[place] for arrays in others), strict=True):
            if array.dtype != head.dtype:
                stated = f"{first}{where} is of dtype {head.dtype} and {label}{where} of {array.dtype}"
                raise TypeError(f"{name}(): {stated}; they must be the same")
            if array.shape != head.shape:
                stated = f"{first}{where} has shape {head.shape} and {label}{where} {array.shape}"
                raise ValueError(f"{name}(): {stated}; they must be the same")
    for label, arrays in written.items():
        for place, array in enumerate(arrays):
            where = f"[{place}]" if len(arrays) > 1 else ""
            if not array.flags.writeable:
                raise ValueError(f"{name}(): {label}{where} is written to, but it is read-only")
            if _folded(array):
                raise ValueError(f"{name}(): elements of {label}{where} share memory; they must be apart")
    named = [(label, array) for label, arrays in written.items() for array in arrays]
    rest = [array for arrays in read.values() for array in arrays] if apart is None else apart
    _refuse_overlap(name, named, rest)
    return {array.dtype for array in heads}


def _surely_apart(written: int, *arrays: Any) -> bool:
    """Whether these, of which the first are written, are arrays as they mostly are, with nothing in them to refuse."""
    head = arrays[0]
    if type(head) is not np.ndarray or head.dtype not in DTYPES:
        return False
    dtype, shape = head.dtype, head.shape
    for place, a in enumerate(arrays):
        if type(a) is not np.ndarray or a.dtype is not dtype or a.shape != shape:
            return False
        flags = a.flags
        if not flags.c_contiguous or (place < written and not flags.writeable):
            return False
    length, places = head.nbytes, sorted(addresses(arrays))
    before = places[0] - length
    for place in places:
        if place < before + length:
            return False
        before = place
    return True


def _folded(array: Array) -> bool:
    """Whether some elements may lie on others of the same array; no array made without stride tricks has such."""
    if array.flags.forc:
        return False
    reach = array.itemsize
    for stride, length in sorted((abs(s), n) for s, n in zip(array.strides, array.shape, strict=True) if n > 1):
        if stride < reach:
            return array.size > 1
        reach += stride * (length - 1)
    return False


def _same(a: Array, b: Array) -> bool:
    """Whether two arrays are the same elements in the same order."""
    return a.shape == b.shape and a.strides == b.strides and address(a) == address(b)


def _refuse_overlap(name: str, written: list[tuple[str, Array]], read: list[Array]) -> None:
    """Few arrays are compared each with each; of many, each with those that begin before it ends, by addresses."""
    if len(written) + len(read) <= FEW:
        for place, (label, array) in enumerate(written):
            for other in [*(later for _, later in written[place + 1 :]), *read]:
                if np.may_share_memory(array, other) and np.shares_memory(array, other):
                    raise ValueError(f"{name}(): {label} shares memory with another of the arrays")
        return
    spans = [(*np.lib.array_utils.byte_bounds(a), label, a) for label, a in written if a.size]
    spans += [(*np.lib.array_utils.byte_bounds(a), "", a) for a in read if a.size]
    spans.sort(key=lambda span: span[:2])
    open_: list[tuple[int, int, str, Array]] = []
    for span in spans:
        start, _, label, array = span
        open_ = [other for other in open_ if other[1] > start]
        for _, _, other_label, other in open_:
            if (label or other_label) and np.shares_memory(array, other):
                raise ValueError(f"{name}(): {label or other_label} shares memory with another of the arrays")
        open_.append(span)


def _numbers(name: str, dtypes: set[np.dtype[Any]], **given: float) -> dict[np.dtype[Any], tuple[Any, ...]]:
    """The numbers rounded to each dtype; where there are no arrays, they are checked all the same."""
    for label, value in given.items():
        if type(value) is not float and (not isinstance(value, Real) or isinstance(value, bool)):
            raise TypeError(f"{name}(): {label} is a number, not {type(value).__name__}")
    found = {}
    for dtype in dtypes or {DTYPES[1]}:
        large = any(not abs(value) < LARGE for value in given.values())
        with np.errstate(all="ignore") if large else nullcontext():
            rounded = {label: dtype.type(float(value)) for label, value in given.items()}
        for label, number in rounded.items():
            if not number >= 0 or number == math.inf or (label == "mu" and number >= 1):
                allowed = "at least 0 and below 1" if label == "mu" else "finite and at least 0"
                raise ValueError(f"{name}(): {label} must be {allowed} in {dtype}, not {given[label]!r}")
        found[dtype] = tuple(rounded.values())
    return found


# -- the best settings for a quadratic --------------------------------------------------------------------------------
class Setting(NamedTuple):
    """A step size, a momentum and the rate of convergence they give."""

    lr: float
    """In units of one over the curvature."""
    mu: float
    """In [0, 1)."""
    rate: float
    """The factor by which the distance from the minimum shrinks per step in the long run: below 1, but for rounding."""


class Quadratic(NamedTuple):
    """The best settings of the three methods for a quadratic."""

    sgd: Setting
    momentum: Setting
    nesterov: Setting


def quadratic(lmin: float, lmax: float) -> Quadratic:
    """The settings with which each method converges fastest on every quadratic whose Hessian has its eigenvalues
    (curvatures, in units of loss per square of theta) in [lmin, lmax], 0 < lmin <= lmax, both finite.

    With k = lmax/lmin, the condition number:

    ========  =======================================  ====================================  ==================
    method    lr                                       mu                                    rate
    ========  =======================================  ====================================  ==================
    sgd       2/(lmin + lmax)                          0                                     (k - 1)/(k + 1)
    momentum  4/(sqrt(lmin) + sqrt(lmax))^2            ((sqrt k - 1)/(sqrt k + 1))^2         (sqrt k - 1)/(sqrt k + 1)
    nesterov  4/(3 lmax + lmin)                        (sqrt(3k+1) - 2)/(sqrt(3k+1) + 2)     1 - 2/sqrt(3k + 1)
    ========  =======================================  ====================================  ==================

    The rate is the spectral radius of the step as a linear map; with momentum, where that has a double eigenvalue, the
    distance after n steps is of the order of n rate^n. Weight decay adds to both curvatures. Nesterov's own setting for
    strongly convex functions, lr = 1/lmax and mu = (sqrt k - 1)/(sqrt k + 1), has the rate 1 - 1/sqrt k on a quadratic.

    Polyak 1964 (see `momentum`); Nesterov 1983 (see `nesterov`); the third line is from L. Lessard, B. Recht,
    A. Packard, Analysis and design of optimization algorithms via integral quadratic constraints, SIAM Journal on
    Optimization 26 (1), 2016, 57-95.

    >>> quadratic(1.0, 9.0).momentum
    Setting(lr=0.25, mu=0.25, rate=0.5)
    """
    for label, value in (("lmin", lmin), ("lmax", lmax)):
        if not isinstance(value, Real) or isinstance(value, bool):
            raise TypeError(f"quadratic(): {label} is a number, not {type(value).__name__}")
    low, high = float(lmin), float(lmax)
    if not 0.0 < low <= high < math.inf:
        raise ValueError(f"quadratic(): 0 < lmin <= lmax must hold, both finite, not lmin={lmin!r}, lmax={lmax!r}")
    # In units of lmax, where nothing overflows. Differences of roots would cancel: (a^2 - b^2)/(a + b) does not.
    gap, part = (high - low) / high, low / high
    root, triple = math.sqrt(part), math.sqrt(3.0 + part)
    ball = gap / (1.0 + root) ** 2
    ahead = 3.0 * gap / (triple + 2.0 * root)
    return Quadratic(
        sgd=Setting(2.0 / (1.0 + part) / high, 0.0, gap / (1.0 + part)),
        momentum=Setting((2.0 / (1.0 + root)) ** 2 / high, ball**2, ball),
        nesterov=Setting(4.0 / (3.0 + part) / high, ahead / (triple + 2.0 * root), ahead / triple),
    )
