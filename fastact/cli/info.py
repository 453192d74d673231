"""``info``: what this installation is and what it runs on."""

from __future__ import annotations

import argparse
import os
from typing import Any

from fastact.cli import machine
from fastact.cli.output import bytes_text, print_json


def run(options: argparse.Namespace) -> int:
    content = gather()
    if options.json:
        print_json(content)
    else:
        _print(content)
    return 0


def gather() -> dict[str, Any]:
    """Everything that ``info`` tells."""
    from fastact.accuracy.peers import installed
    from fastact.cpu import cache

    files = [path.stat().st_size for path in cache.files() if path.exists()]
    return {
        "versions": machine.versions(),
        "processor": machine.processor(),
        "threads": {"processors": usable_processors()},
        "cache": {"folder": str(cache.folder()), "kernels": len(files), "bytes": sum(files)},
        "gpu": {"devices": machine.gpus(), "numba-cuda": machine.numba_cuda()},
        "peers": {name: text for name, text in installed().items() if name not in ("numpy", "numba")},
        "extras": {name: machine.distribution(name) for name in ("python-flint", "rich", "matplotlib", "ml_dtypes")},
    }


def usable_processors() -> int:
    """Processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _print(content: dict[str, Any]) -> None:
    processor, features = content["processor"], content["processor"]["features"]
    found = [name.upper().replace("AVX512", "AVX-512") for name, there in features.items() if there]
    kernels, gpu = content["cache"], content["gpu"]
    lines = {
        "versions": ", ".join(f"{name} {text}" for name, text in content["versions"].items()),
        "processor": f"{processor['name']} ({processor['llvm_name']}, {processor['triple']})",
        "vectors": f"{processor['vector_bits']} bits; the processor has {', '.join(found) or 'none of FMA and AVX2'}",
        "threads": f"{content['threads']['processors']} processors may be used",
        "cache": f"{kernels['folder']}: {kernels['kernels']} kernels, {bytes_text(kernels['bytes'])}",
        "GPU": ", ".join(gpu["devices"]) or "none found",
        "peers": _named(content["peers"]),
        "extras": _named(content["extras"]),
    }
    if gpu["devices"] or gpu["numba-cuda"]:
        package = f"numba-cuda {gpu['numba-cuda']}" if gpu["numba-cuda"] else 'install "fastact[cuda]" to use it'
        lines["GPU"] += f"; {package}"
    if not features["fma"]:
        lines["vectors"] += "; no FMA: same bits, slower"
    width = max(map(len, lines))
    for name, text in lines.items():
        print(f"{name.ljust(width)}  {text}")


def _named(found: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {text or 'not installed'}" for name, text in found.items()) or "none installed"
