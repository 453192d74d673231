"""The CPU's back end. `sources` looks at all files before any of them is imported."""

from fastact.cpu import sources

__all__ = ["sources"]
