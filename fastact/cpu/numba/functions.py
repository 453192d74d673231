"""The compiled functions that ``f.scalar`` and ``f.vectorized`` of the front door hand out."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numba.core.typing import signature
from numba.np.ufunc.dufunc import DUFunc

from fastact.cpu.kernels import loop_address
from fastact.cpu.numba.extension import DoorType, door_type
from fastact.cpu.numba.kernels import DTYPES, graph
from fastact.precision import Tier


class Typed:
    """Stands for a front-door object in the sources of compiled functions."""

    def __init__(self, door: DoorType) -> None:
        self._numba_type_ = door


def label(function: str, form: str, tier: Tier) -> str:
    """A name that says what is computed, down to the digest of the kernels."""
    digests = [graph(function, form, dtype, tier).digest() for dtype in DTYPES.values()]
    digest = hashlib.sha256("".join(digests).encode()).hexdigest()[:16]
    return "_".join(part for part in ("fastact", function, "" if form == "value" else form, tier, digest) if part)


def _python_function(function: str, form: str, tier: Tier, defaults: bool) -> Callable[..., Any]:
    """A Python function that calls the front door with the tier as a literal, for Numba to compile."""
    door, title = door_type(function, form), label(function, form, tier)
    values = {p.name: p.default for p in door.form.parameters if defaults and p.default is not None}
    arguments = door.form.arguments
    header = ", ".join(f"{a}=None" if a in values else a for a in arguments)
    source = f"def {title}({header}):\n"
    if door.form.usual and values:  # all of them left out is a kernel of its own
        absent = " and ".join(f"{a} is None" for a in values)
        source += f"    if {absent}:\n        return door({', '.join(arguments[: -len(values)])}, approx={tier!r})\n"
    for a, value in values.items():
        source += f"    {a} = {value!r} if {a} is None else {a}\n"
    source += f"    return door({', '.join(arguments)}, approx={tier!r})\n"
    namespace: dict[str, Any] = {"door": Typed(door), "__name__": __name__}
    exec(compile(source, f"<{title}>", "exec"), namespace)
    result: Callable[..., Any] = namespace[title]
    result.__doc__ = f"{door.title}({', '.join(arguments)}), tier {tier}"
    return result


@functools.cache
def scalar(function: str, form: str, tier: Tier) -> Any:
    """The function of numbers; its body becomes part of each compiled function that calls it."""
    return njit(inline="always")(_python_function(function, form, tier, defaults=True))


class Vectorized(DUFunc):  # type: ignore[misc]
    """A DUFunc with loops for float32 and float64. Called from Python it runs the inner loops of the ufunc, which
    deliver floating-point flags as the mathematics has them; in compiled code it is the kernel itself."""

    def __init__(self, function: str, form: str, tier: Tier) -> None:
        self._kernel = function, form, tier
        super().__init__(_python_function(function, form, tier, defaults=False))
        for dtype in DTYPES:
            self.add(signature(dtype, *[dtype] * self.nin))
        self.disable_compile()

    def _add_loop(self, pointer: int, numbers: Any) -> None:
        dtype = next(name for name in DTYPES.values() if np.dtype(name).num == numbers[0])
        super()._add_loop(loop_address(*self._kernel, dtype), numbers)  # type: ignore[misc]

    def __reduce__(self) -> Any:
        return vectorized, self._kernel


@functools.cache
def vectorized(function: str, form: str, tier: Tier) -> Vectorized:
    """The DUFunc of a form in a tier."""
    return Vectorized(function, form, tier)


__all__ = ["Vectorized", "scalar", "vectorized"]
