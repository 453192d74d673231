"""``cache``: shows, fills or clears the kernels on the disk."""

from __future__ import annotations

import argparse
import time
from typing import Any

from fastact.cli.arguments import Problem, choices, declaration, tiers
from fastact.cli.output import bytes_text, print_json, progress
from fastact.cpu import cache
from fastact.kernels import REGISTRY
from fastact.link.arithmetic import DTYPES
from fastact.link.forms import forms


def run(options: argparse.Namespace) -> int:
    content: dict[str, Any] = {}
    if options.warm is None and (options.tiers or options.dtypes):
        raise Problem("--tiers and --dtypes go with --warm")
    if options.clear:
        content["removed"] = cache.clear()
    elif options.warm is not None:
        content |= warm(options)
    sizes = [path.stat().st_size for path in cache.files() if path.exists()]
    content |= {"folder": str(cache.folder()), "kernels": len(sizes), "bytes": sum(sizes)}
    status = 1 if content.get("failed") else 0
    if options.json:
        print_json(content)
        return status
    if "removed" in content:
        print(f"removed {content['removed']} kernels")
    if "loaded" in content:
        print(f"{content['loaded']} kernels ready, {content['compiled']} of them new, in {content['seconds']:.1f} s")
    for failure in content.get("failed", ()):
        print(f"failed: {failure}")
    print(f"{content['folder']}: {content['kernels']} kernels, {bytes_text(content['bytes'])}")
    return status


def warm(options: argparse.Namespace) -> dict[str, Any]:
    """Compile the kernels named; those on the disk already are only loaded."""
    from fastact.cpu.kernels import loop_address

    names = list(REGISTRY) if "all" in options.warm else [declaration(name).name for name in options.warm]
    dtypes = choices(options.dtypes, DTYPES, "dtype")
    wanted = [
        (name, form, tier, dtype)
        for name in dict.fromkeys(names)
        for form in forms(REGISTRY[name])
        for tier in tiers(options.tiers)
        for dtype in dtypes
    ]
    failed: list[str] = []
    before, started = sum(1 for _ in cache.files()), time.perf_counter()
    with progress(f"compiling {len(wanted)} kernels") as report:
        for place, (name, form, tier, dtype) in enumerate(wanted):
            report(f"{name} {form} {tier} {dtype}", place / len(wanted))
            try:
                loop_address(name, form, tier, dtype)
            except Exception as error:
                failed.append(f"{name} {form} {tier} {dtype}: {type(error).__name__}: {error}")
    return {
        "loaded": len(wanted) - len(failed),
        "failed": failed,
        "compiled": sum(1 for _ in cache.files()) - before,
        "seconds": time.perf_counter() - started,
    }
