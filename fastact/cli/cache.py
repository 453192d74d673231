"""``cache``: shows, fills or clears the kernels on the disk."""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from fastact.cli.arguments import Problem, choices, declaration, tiers
from fastact.cli.output import bytes_text, print_json, progress
from fastact.cpu import cache, cores
from fastact.cpu.target import host
from fastact.kernels import REGISTRY
from fastact.link.arithmetic import DTYPES
from fastact.link.forms import forms

FEW = 12
"""Kernels handed to a process at a time; it does not pay to start one for fewer."""


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
    """Compile the kernels named, on all cores; those on the disk already are only read."""
    if not cache.writable():
        raise Problem(f"kernels cannot be kept in {cache.folder()}; set FASTACT_CACHE_DIR to a folder that is writable")
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
        for place, (which, complaint) in enumerate(zip(wanted, _compiled(wanted), strict=True)):
            report(" ".join(which), place / len(wanted))
            if complaint:
                failed.append(f"{' '.join(which)}: {complaint}")
    return {
        "loaded": len(wanted) - len(failed),
        "failed": failed,
        "compiled": sum(1 for _ in cache.files()) - before,
        "seconds": time.perf_counter() - started,
    }


def _compiled(wanted: list[tuple[str, str, str, str]]) -> Iterator[str]:
    """What went wrong with each kernel, in turn; an empty string for nothing."""
    jobs = min(cores.available(), len(wanted) // FEW)
    if jobs <= 1:
        yield from map(_compile, wanted)
        return
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        yield from pool.map(_compile, wanted, chunksize=FEW)


def _compile(which: tuple[str, str, str, str]) -> str:
    """Compile a kernel into the cache; what went wrong, if anything."""
    from fastact.cpu import compile
    from fastact.cpu.kernels import asked, linked

    try:
        found = linked(*which)
        with compile.alone():
            compile.object_code(found.graph, found.evidence, host(), varying=found.varying, asked=asked(*which))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""
