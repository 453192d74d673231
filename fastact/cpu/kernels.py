"""The compiled kernels of declared functions: addresses of inner loops, and the ufuncs made of them."""

from __future__ import annotations

import functools
import sys

import numpy as np

from fastact.cpu.compile import address
from fastact.cpu.ufunc import add_bfloat16, make_ufunc
from fastact.kernels import REGISTRY
from fastact.link.forms import forms, kernel

_has_bfloat16: set[str] = set()


def ufunc_name(name: str, form: str, tier: str) -> str:
    """The name of an inner ufunc; it collides with no other library's, since some dispatch on it."""
    return "_".join(part for part in ("fastact", name, "" if form == "value" else form, tier) if part)


@functools.cache
def loop_address(name: str, form: str, tier: str, dtype: str) -> int:
    """The address of the inner loop of a kernel, compiled or read from the cache."""
    linked = kernel(REGISTRY[name], form, dtype, tier)
    return address(linked.graph, linked.evidence)


@functools.cache
def inner_ufunc(name: str, form: str, tier: str) -> np.ufunc:
    """The genuine ufunc of a function's form in a tier."""
    from fastact import ufuncs

    chosen = forms(REGISTRY[name])[form]
    label = ufunc_name(name, form, tier)
    doc = f"{form} of {name}, tier {tier}, of ({', '.join(chosen.arguments)}); see fastact.{name}"
    ufunc = make_ufunc(label, doc, len(chosen.arguments), 1, functools.partial(loop_address, name, form, tier))
    vars(ufuncs)[label] = ufunc
    if "ml_dtypes" in sys.modules:
        with_bfloat16(ufunc, name, form, tier)
    return ufunc


def with_bfloat16(ufunc: np.ufunc, name: str, form: str, tier: str) -> bool:
    """Add the bfloat16 loop if it is missing; True if it was."""
    if ufunc.__name__ in _has_bfloat16:
        return False
    _has_bfloat16.add(ufunc.__name__)
    add_bfloat16(ufunc, functools.partial(loop_address, name, form, tier))
    return True
