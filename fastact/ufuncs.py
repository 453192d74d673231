"""The inner ufuncs by name, so that pickles of them can be read; they come into being when they are asked for.

>>> from fastact import ufuncs
>>> ufuncs.fastact_exp_fast
<ufunc 'fastact_exp_fast'>
"""

from __future__ import annotations

from typing import Any

from fastact.precision import TIERS


def __getattr__(label: str) -> Any:
    if label.startswith("fastact_"):
        from fastact.cpu.kernels import UFUNCS, inner_ufunc, parse_ufunc_name

        if label in UFUNCS:
            return UFUNCS[label]
        found = parse_ufunc_name(label)
        if found is not None and found[2] in TIERS:
            return inner_ufunc(*found)
    raise AttributeError(f"module {__name__!r} has no attribute {label!r}")
