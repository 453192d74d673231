"""The accuracy of forms of several arguments, which cannot be tried on all of them: found on samples.

They live in ``sampled.json``, which ``scripts/certify.py`` writes, one row for each form of each function in each dtype
and tier: products with an incoming gradient, gradients from the output, and all forms with other parameters.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from fastact.accuracy.certificates import HEAD, Finding, Key, load, number, replace
from fastact.accuracy.ulp import as_doubles
from fastact.kernels import REGISTRY
from fastact.link.arithmetic import DTYPES, TIERS
from fastact.link.forms import forms, kernel

PATH = Path(__file__).with_name("sampled.json")
VERSION = 1
"""Of what is drawn and of how it is judged; rows of another one are stale."""
BEYOND: dict[tuple[str, str], str] = {}
"""Forms of which samples have results that break the contract, and where."""


@dataclass(frozen=True)
class Sampled(Finding):
    """What is known of one form.

    Attributes:
        function, form, dtype, tier: the form; "value" and gradients are meant with parameters that are drawn.
        inputs: number of rows drawn (`fastact.accuracy.drawing` says how).
        judged: how many of them ball arithmetic judged.
        misrounded: of narrow dtypes' ``exact``, how many results are not the correctly rounded ones; else None.
        largest: the largest error found, in ULPs of the truth, of ``rough`` float32 and float64 relative to it; next to
            a root of a gradient in those of the terms that cancel there, but not in ``exact``.
        witness: the bits of the arguments that attain it, in hexadecimal.
        digest: names the kernels.
    """

    inputs: int
    judged: int
    misrounded: int | None
    largest: float
    witness: tuple[str, ...]
    digest: str

    @property
    def holds(self) -> bool:
        """Whether the contract was kept on the sample."""
        return self.bound.holds(self.largest, self.misrounded)

    def __str__(self) -> str:
        at = ", ".join(repr(float(as_doubles(number(bits, self.dtype)))) for bits in self.witness)
        return self._line(self.largest, self.bound.unit, at, self.misrounded, f"on {self.inputs:,} rows drawn")


def sampled(name: str) -> tuple[str, ...]:
    """The forms of a function that are measured on samples: all that have more arguments than x."""
    found = forms(REGISTRY[name]).values()
    return tuple(form.name for form in found if not form.fixed and len(form.arguments) > 1)


def required() -> list[Key]:
    """All that a complete set has."""
    return [
        Key(name, form, dtype, tier)
        for name in REGISTRY
        for form in sampled(name)
        for dtype in DTYPES
        for tier in TIERS
    ]


def digest(key: Key) -> str:
    """Names the kernels of a form, that for calls which leave out the parameters among them."""
    declaration = REGISTRY[key.function]
    form = forms(declaration)[key.form]
    names = [name for name in (form.name, form.usual) if name]
    graphs = [kernel(declaration, name, key.dtype, key.tier).graph.digest() for name in names]
    return hashlib.sha256(" ".join([str(VERSION), *graphs]).encode()).hexdigest()[:16]


def read(path: Path = PATH) -> dict[Key, Sampled]:
    """The rows of a file; none where there is no file.

    Raises:
        ValueError: the file is not one of ours or is damaged.
    """
    return load(path, "samples", _from_json)


def _from_json(content: dict[str, Any]) -> list[Sampled]:
    names = content["columns"]
    if names != _columns():
        raise ValueError(f"columns {names}")
    rows = [dict(zip(names, row, strict=True)) for row in content["rows"]]
    return [Sampled(**{**row, "witness": tuple(row["witness"])}) for row in rows]


def _columns() -> list[str]:
    return [field.name for field in fields(Sampled)]


def write(rows: Iterable[Sampled], path: Path = PATH) -> None:
    """Write the rows to a file, in the order of the registry; all of it or nothing."""
    order = {key: place for place, key in enumerate(required())}
    chosen = sorted((row for row in rows if row.key in order), key=lambda row: order[row.key])
    lines = ",\n".join(json.dumps(astuple(row), separators=(",", ":")) for row in chosen)
    replace(path, f'{{"{HEAD}": true, "columns": {json.dumps(_columns())}, "rows": [\n{lines}\n]}}\n')


@functools.cache
def installed() -> dict[Key, Sampled]:
    """The rows that this version comes with."""
    return read()


def missing(rows: dict[Key, Sampled]) -> list[Key]:
    """What a complete set has besides."""
    return [key for key in required() if key not in rows]


def stale(rows: dict[Key, Sampled]) -> list[Key]:
    """The rows that are of other kernels than the ones installed."""
    return [key for key in required() if key in rows and rows[key].digest != digest(key)]
