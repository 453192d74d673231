"""The inner ufuncs by name, so that pickles of them can be read; they come into being when they are asked for."""

from __future__ import annotations

from typing import Any

from fastact.precision import TIERS


def __getattr__(label: str) -> Any:
    from fastact.kernels import REGISTRY

    head, _, tier = label.rpartition("_")
    name = head.removeprefix("fastact_")
    if head != name and tier in TIERS:
        from fastact.cpu.kernels import inner_ufunc
        from fastact.link.forms import forms

        candidates = [n for n in REGISTRY if name == n or name.startswith(n + "_")]
        for candidate in sorted(candidates, key=len, reverse=True):
            form = name[len(candidate) + 1 :] or "value"
            if form in forms(REGISTRY[candidate]):
                return inner_ufunc(candidate, form, tier)
    raise AttributeError(f"module {__name__!r} has no attribute {label!r}")
