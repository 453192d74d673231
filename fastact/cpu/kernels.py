"""The compiled kernels of declared functions: addresses of inner loops, and the ufuncs made of them."""

from __future__ import annotations

import contextlib
import functools

import numpy as np

from fastact.cpu import shortcuts
from fastact.cpu.lock import alone
from fastact.cpu.ufunc import Maker, add_bfloat16, make_ufunc
from fastact.kernels import GATES, OWN, REGISTRY
from fastact.link.forms import BIASED, Kernel, forms, kernel
from fastact.link.gates import ARGUMENTS, OUTPUTS, gate_kernel

UFUNCS: dict[str, np.ufunc] = {}
"""The ufuncs made so far, by name."""
HOME = "fastact.ufuncs"
"""The module in which pickles look for them."""

_makers: dict[np.ufunc, Maker] = {}
_addresses: dict[tuple[str, str, str, str], int] = {}


def ufunc_name(name: str, form: str, tier: str) -> str:
    """The name of an inner ufunc; it collides with no other library's, since some dispatch on it."""
    return "_".join(part for part in ("fastact", name, "" if form == "value" else form, tier) if part)


def loop_address(name: str, form: str, tier: str, dtype: str) -> int:
    """The address of the inner loop of a kernel, compiled or read from the cache."""
    key = (name, form, tier, dtype)
    if key not in _addresses:
        with alone():
            if key not in _addresses:
                words = asked(*key)
                _addresses[key] = (shortcuts.address(*words) if words else 0) or _linked_address(key, words)
    return _addresses[key]


def asked(name: str, form: str, tier: str, dtype: str) -> tuple[str, ...]:
    """The words by which a kernel is found in the cache without its graph; none if the function is not declared here,
    since then the sources do not tell the kernel."""
    declared = GATES.get(name) or REGISTRY[name]
    return ("loop", name, form, tier, dtype) if declared is OWN.get(name) else ()


def linked(name: str, form: str, tier: str, dtype: str) -> Kernel:
    """The graphs of a kernel."""
    gate = GATES.get(name)
    return gate_kernel(gate, form, dtype, tier) if gate else kernel(REGISTRY[name], form, dtype, tier)


def _linked_address(key: tuple[str, str, str, str], words: tuple[str, ...]) -> int:
    from fastact.cpu import compile

    found = linked(*key)
    return compile.address(found.graph, found.evidence, varying=found.varying, asked=words)


def address_of(ufunc: np.ufunc, dtype: str) -> int:
    """The address of the inner loop of a ufunc made here; 0 for another."""
    maker = _makers.get(ufunc)
    return maker(dtype) if maker else 0


def adopt(ufunc: np.ufunc, maker: Maker) -> None:
    """Make the loops of a ufunc known to `address_of`."""
    _makers[ufunc] = maker


def inner_ufunc(name: str, form: str, tier: str) -> np.ufunc:
    """The genuine ufunc of a function's form in a tier."""
    label = ufunc_name(name, form, tier)
    known = UFUNCS.get(label)
    if known is not None:
        return known
    if form == BIASED:
        arguments: tuple[str, ...] = ("x", "b")
    else:
        arguments = ARGUMENTS[form] if name in GATES else forms(REGISTRY[name])[form].arguments
    outputs = OUTPUTS[form] if name in GATES else 1
    doc = f"{form} of {name}, tier {tier}, of ({', '.join(arguments)}); see fastact.{name}"
    maker = functools.partial(loop_address, name, form, tier)
    ufunc = make_ufunc(label, doc, len(arguments), outputs, maker)
    with contextlib.suppress(AttributeError):  # NumPy before 2.2 has no room for it, and searches all modules instead
        ufunc.__module__ = HOME
    with contextlib.suppress(ImportError):
        add_bfloat16(ufunc, maker)
    adopt(ufunc, maker)
    return UFUNCS.setdefault(label, ufunc)  # the one that others got, if they were quicker


def parse_ufunc_name(label: str) -> tuple[str, str, str] | None:
    """The function, form and tier that a name stands for."""
    head, _, tier = label.rpartition("_")
    name = head.removeprefix("fastact_")
    if head == name:
        return None
    for candidate in sorted((*REGISTRY, *GATES), key=len, reverse=True):
        if name == candidate or name.startswith(candidate + "_"):
            form = name[len(candidate) + 1 :] or "value"
            if form in (ARGUMENTS if candidate in GATES else (*forms(REGISTRY[candidate]), BIASED)):
                return candidate, form, tier
    return None
