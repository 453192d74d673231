"""All programs over rows."""

from __future__ import annotations

from fastact.kernels import norms, rows
from fastact.kernels.declare_rows import PROGRAMS

__all__ = ["PROGRAMS", "norms", "rows"]
