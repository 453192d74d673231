"""All programs over rows."""

from __future__ import annotations

from fastact.kernels import rows
from fastact.kernels.declare_rows import PROGRAMS

__all__ = ["PROGRAMS", "rows"]
