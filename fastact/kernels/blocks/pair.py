"""Elementary functions in double-double arithmetic."""

from __future__ import annotations
