"""What this machine is."""

from __future__ import annotations

import ctypes
import functools
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np


@functools.cache
def processor_name() -> str:
    """The name that the maker gives the processor."""
    if sys.platform.startswith("linux"):
        try:
            for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
        except OSError:
            pass
    if sys.platform == "darwin":
        asked = subprocess.run(
            ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
        )
        if asked.returncode == 0 and asked.stdout.strip():
            return asked.stdout.strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Versions of this package and of what its results rest on."""
    import llvmlite
    import llvmlite.binding as llvm

    import fastact

    return {
        "fastact": fastact.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": distribution("numba") or "missing",
        "llvmlite": llvmlite.__version__,
        "llvm": ".".join(map(str, llvm.llvm_version_info)),
    }


def distribution(name: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def processor() -> dict[str, Any]:
    """The processor with the features that kernels use."""
    from fastact.cpu.target import host

    here = host()
    return {
        "name": processor_name(),
        "llvm_name": here.name,
        "triple": here.triple,
        "vector_bits": here.vector_bytes * 8,
        "features": {
            "fma": here.fused_multiply_add,
            "avx2": here.has("avx2"),
            "avx512": here.has("avx512f") and here.has("avx512dq"),
            "f16c": here.has("f16c"),
            "neon": here.machine in ("aarch64", "arm64"),
        },
    }


def gpus() -> list[str]:
    """The names of CUDA devices; empty where there is no driver."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
        count, text = ctypes.c_int(0), ctypes.create_string_buffer(256)
        if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
            return []
        found = []
        for place in range(count.value):
            device = ctypes.c_int(0)
            if driver.cuDeviceGet(ctypes.byref(device), place) == 0:
                driver.cuDeviceGetName(text, len(text), device)
                found.append(text.value.decode(errors="replace"))
        return found
    except (OSError, AttributeError):
        return []


def numba_cuda() -> str | None:
    """The version of the package that compiles for GPUs, if it is installed."""
    return distribution("numba-cuda") if find_spec("numba_cuda") is not None else None
