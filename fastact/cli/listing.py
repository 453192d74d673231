"""``list``: all functions."""

from __future__ import annotations

import argparse
from typing import Any

from fastact.cli.output import Table, print_json
from fastact.kernels import REGISTRY, Declaration
from fastact.link.arithmetic import DTYPES
from fastact.link.forms import forms
from fastact.precision import TIERS


def run(options: argparse.Namespace) -> int:
    described = [describe(function) for function in REGISTRY.values()]
    if options.json:
        print_json({"functions": described})
        return 0
    table = Table(["<name", "<aliases", "<parameters", "<formula", "<gradients"])
    for one in described:
        settings = ", ".join(n if v is None else f"{n}={v:g}" for n, v in one["parameters"].items())
        gradients = ", ".join(name for name in one["forms"] if name != "value")
        table.rows.append([one["name"], ", ".join(one["aliases"]), settings, one["formula"], gradients])
    table.print()
    print(f"\n{len(described)} functions; each in the tiers {', '.join(TIERS)} for {', '.join(DTYPES)}.")
    return 0


def describe(function: Declaration) -> dict[str, Any]:
    """What a declaration says, for people and programs."""
    return {
        "name": function.name,
        "aliases": list(function.aliases),
        "family": function.family,
        "formula": function.formula,
        "summary": function.summary,
        "parameters": {p.name: p.default for p in function.parameters},
        "domain": list(function.domain),
        "tiers": list(TIERS),
        "dtypes": list(DTYPES),
        "forms": [form.name for form in forms(function).values() if not form.fixed],
        "peers": dict(function.peers),
        "numpy": function.numpy,
        "cite": function.cite,
    }
