"""All programs over rows."""

from __future__ import annotations

from fastact.kernels import norms, rows
from fastact.kernels.declare_rows import PROGRAMS, Program

OWN: dict[str, Program] = dict(PROGRAMS)
"""What the sources here declare, whatever is registered later."""

__all__ = ["OWN", "PROGRAMS", "norms", "rows"]
