"""The kernels of gates: the value of (a, b), and both gradients of (g, a, b)."""

from __future__ import annotations

from fastact.kernels.declare import Gate
from fastact.link.forms import Kernel

ARGUMENTS: dict[str, tuple[str, ...]] = {"value": ("a", "b"), "backward": ("g", "a", "b")}
"""The forms with their arguments."""
OUTPUTS = {"value": 1, "backward": 2}


def gate_kernel(gate: Gate, form: str, dtype: str, tier: str) -> Kernel:
    """The kernel of a gate's form in a dtype and a tier."""
    from fastact.link.evidence import evidence
    from fastact.link.linker import link

    inputs = len(ARGUMENTS[form])
    body = gate.value if form == "value" else gate.backward
    graph = link(body, inputs, dtype, tier, products=True, further=inputs - 2)
    return Kernel(graph, evidence(inputs, OUTPUTS[form], dtype))
