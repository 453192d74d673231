"""How the tests of conformance evaluate other libraries' functions: values and gradients of expressions.

The expressions are those that the declarations name as peers, and those of ``peer_table``.
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from peer_table import ELSEWHERE, LIMITS, REACH, USUAL, WITH_PARAMETERS, Limits

from fastact.accuracy.measure import settings
from fastact.accuracy.samples import stratified
from fastact.accuracy.ulp import Doubles, Floats, ordinal, ulp
from fastact.function import FUNCTIONS
from fastact.kernels import REGISTRY, Declaration

LIBRARIES = ("torch", "jax", "scipy")
DTYPES = ("float32", "float64")
SEED = 20260101
"""Fixed: what peers get wrong is known for certain inputs only, and a new sample in each run would find more of it."""
OTHER = 1.7
"""Parameters are compared at their defaults and at so many times these."""
SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0)


def expression(name: str, library: str) -> str | None:
    """The library's expression for a function with its parameters at their defaults."""
    return REGISTRY[name].peers.get(library) or ELSEWHERE.get((library, name))


def general(name: str, library: str) -> str | None:
    """The library's expression for a function of x and all its parameters."""
    found = WITH_PARAMETERS.get((library, name)) or expression(name, library)
    return found if found and all(mentions(found, p.name) for p in REGISTRY[name].parameters) else None


def mentions(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w.]){name}\b(?!\s*=)", text) is not None


def at_default(declaration: Declaration, dtype: str) -> dict[str, float]:
    return dict(zip([p.name for p in declaration.parameters], settings(declaration, dtype), strict=True))


def elsewhere(declaration: Declaration, dtype: str) -> dict[str, float]:
    """The parameters away from their defaults."""
    number = np.dtype(dtype).type
    return {name: float(number(OTHER * value)) for name, value in at_default(declaration, dtype).items()}


def limits(library: str, name: str, form: str, dtype: str) -> Limits:
    """What the table has for a form; one with a star falls back on that without."""
    for key in (form, form.removesuffix("*")):
        found = LIMITS.get((library, name, key, dtype)) or LIMITS.get((library, name, key, ""))
        if found:
            return found
    return USUAL


def inputs(declaration: Declaration, library: str, form: str, dtype: str, count: int = 1500) -> Floats:
    """A sample of the inputs on which the two agree."""
    x = stratified(dtype, count, SEED, declaration.critical, declaration.domain)
    kept, tiny = limits(library, declaration.name, form, dtype), float(np.finfo(dtype).smallest_normal)
    size = np.abs(x.astype(np.float64))
    if library == "jax":  # XLA takes subnormal numbers for zeros
        x, size = x[(size >= tiny) | (size == 0)], size[(size >= tiny) | (size == 0)]
    reach = np.inf if declaration.silent else REACH[dtype]
    return x[(size <= reach) & (size >= kept.least) & (x >= kept.low) & (x <= kept.high)]


def theirs(library: str, text: str, x: Floats, par: Mapping[str, Any], wrt: str | None = None) -> Floats:
    """The value of an expression, or its gradient as the library differentiates it; for that, parameters are arrays."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return np.asarray(_EVALUATE[library](text, x, dict(par), wrt))


def _torch(text: str, x: Floats, par: dict[str, Any], wrt: str | None) -> Floats:
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    scope = {"x": torch.from_numpy(x.copy()), **par}
    if wrt is None:
        with torch.no_grad():
            return eval(text, {"torch": torch}, scope).numpy()  # type: ignore[no-any-return]
    if wrt != "x":
        scope |= {name: torch.full_like(scope["x"], value) for name, value in par.items()}
    scope[wrt].requires_grad_()
    result = eval(text, {"torch": torch}, scope)
    result.backward(torch.ones_like(result))
    return scope[wrt].grad.numpy()  # type: ignore[no-any-return]


def _jax(text: str, x: Floats, par: dict[str, Any], wrt: str | None) -> Floats:
    jax = importlib.import_module("jax")
    importlib.import_module("jax.scipy.special")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        value = jax.numpy.asarray(x)
        scope = {"x": value, **par}
        if wrt not in (None, "x"):
            scope |= {name: jax.numpy.full_like(value, number) for name, number in par.items()}
        variable = wrt or "x"

        def function(given: Any) -> Any:
            return eval(text, {"jax": jax}, {**scope, variable: given})

        def gradient(given: Any) -> Any:
            result, pull = jax.vjp(function, given)
            return pull(jax.numpy.ones_like(result))[0]

        return np.asarray(jax.jit(function if wrt is None else gradient)(scope[variable]))
    finally:
        jax.config.update("jax_enable_x64", before)


def _scipy(text: str, x: Floats, par: dict[str, Any], wrt: str | None) -> Floats:
    assert wrt is None, "SciPy does not differentiate"
    scipy = importlib.import_module("scipy")
    importlib.import_module("scipy.special")
    return np.asarray(eval(text, {"scipy": scipy, "np": np}, {"x": x, **par}))


_EVALUATE = {"torch": _torch, "jax": _jax, "scipy": _scipy}


def ours(name: str, x: Floats, par: Mapping[str, float], form: str = "value") -> Floats:
    """Our own result in ``exact``; ``form`` is "value" or the name of a gradient."""
    function = FUNCTIONS[name]
    door = function if form == "value" else getattr(function, form)
    number = x.dtype.type
    with np.errstate(all="ignore"):
        return np.asarray(door(x, **{key: number(value) for key, value in par.items()}, approx="exact"))


def distance(library: str, a: Floats, b: Floats, floor: float) -> Doubles:
    """How far two results lie apart in ULPs, those of ``floor`` where they are smaller."""
    tiny = float(np.finfo(a.dtype).smallest_normal)
    wide, other = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(all="ignore"):
        apart = np.abs(wide - other)
        found = apart / ulp(np.maximum(np.abs(wide), max(floor, tiny)), a.dtype)
    if library == "jax":  # XLA puts zeros for subnormal results
        found = np.where(apart <= tiny, 0.0, found)
    found = np.where((wide == other) | (np.isnan(wide) & np.isnan(other)), 0.0, found)
    return np.where(np.isnan(found), np.inf, found)


def compare(library: str, name: str, text: str, dtype: str, par: dict[str, float], label: str, x: Floats) -> None:
    """Fails where ours and theirs lie further apart than the table allows for the form of that label."""
    form = label.removesuffix("*")
    mine = ours(name, x, par, form)
    wrt = None if form == "value" else form.partition("_")[2] or "x"
    other = theirs(library, text, x, par, wrt)
    assert other.dtype == mine.dtype == np.dtype(dtype) and other.shape == mine.shape
    allowed = limits(library, name, label, dtype)
    apart = distance(library, mine, other, allowed.floor)
    worst = int(np.argmax(apart))
    assert apart[worst] <= allowed.ulps, (
        f"{name}.{form}({x[worst]!r}) with {par}: ours {mine[worst]!r}, {library} {other[worst]!r}, "
        f"{apart[worst]:.4g} ULP apart, {allowed.ulps:g} allowed; {int((apart > allowed.ulps).sum())} of {x.size} such"
    )


def away_from(x: Floats, points: Any, steps: int = 4) -> Floats:
    """Those of the inputs that are not within a few floats of a point."""
    keep = np.ones(x.shape, np.bool_)
    for point in points:
        keep &= np.abs(ordinal(x) - ordinal(np.asarray(point, x.dtype))) > steps
    return x[keep]
