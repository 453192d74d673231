"""The processor that kernels are compiled for."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import llvmlite.binding as llvm

from fastact.cpu.lowering.flags import flag_register
from fastact.cpu.lowering.sweeps import Target

INTEL_SERVERS = (
    "skylake-avx512", "cascadelake", "cooperlake", "icelake-server", "sapphirerapids", "emeraldrapids", "graniterapids",
    "graniterapids-d",
)  # fmt: skip
"""Intel's server processors with AVX-512. Emerald Rapids, the one that was measured, divides a register of eight
numbers in 16 cycles, and multiplies two in one; short loops read 1.1 times as fast what it fetched from memory to its
second cache only."""


@dataclass(frozen=True)
class Processor:
    """An LLVM processor name with its feature list, such as ``+avx2,+fma``."""

    triple: str
    name: str
    features: str

    def has(self, feature: str) -> bool:
        return f"+{feature}" in self.features.split(",")

    @property
    def machine(self) -> str:
        return self.triple.split("-")[0]

    @property
    def vector_bytes(self) -> int:
        if self.machine in ("x86_64", "amd64"):
            if self.avx512:
                return 64
            return 32 if self.has("avx") else 16
        return 16

    @property
    def avx512(self) -> bool:
        return self.has("avx512f") and self.has("avx512dq")

    @property
    def half_instructions(self) -> bool:
        return self.has("f16c") or self.machine in ("aarch64", "arm64")

    @property
    def fused_multiply_add(self) -> bool:
        return self.has("fma") or self.machine in ("aarch64", "arm64")

    @property
    def intel_server(self) -> bool:
        return self.avx512 and self.name in INTEL_SERVERS

    def target(self) -> Target:
        bfloat = self.avx512 and self.has("avx512bf16")
        flags, streams = flag_register(self.machine), self.machine in ("x86_64", "amd64")
        return Target(
            self.vector_bytes, self.half_instructions, flags, self.avx512, bfloat, streams,
            second_level=self.intel_server, slow_divider=self.intel_server,
            eights=self.has("avx2") and not self.avx512,
        )  # fmt: skip


@functools.cache
def host() -> Processor:
    """The processor this process runs on."""
    features = llvm.get_host_cpu_features()
    return Processor(llvm.get_default_triple(), llvm.get_host_cpu_name(), features.flatten())


def baseline(extra: str = "") -> Processor:
    """The plainest processor of this machine's family, with the features named besides, for comparisons of bits."""
    here = host()
    features = ",".join(f"+{feature}" for feature in extra.split(",") if feature)
    return Processor(here.triple, "x86-64" if here.machine == "x86_64" else "generic", features)
