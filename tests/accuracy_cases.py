"""What the tests of accuracy have in common: all forms of all functions, and a seed that is new in each run."""

from __future__ import annotations

import os
import time

from fastact.kernels import REGISTRY
from fastact.link.arithmetic import DTYPES, TIERS
from fastact.link.forms import forms

SEED = int(os.environ.get("FASTACT_TEST_SEED") or time.time_ns() % 10**9)
"""Set FASTACT_TEST_SEED to the seed that a failure names to see it again."""
NAMES = tuple(REGISTRY)
SINGLE = [(name, form) for name in NAMES for form in ("value", "grad")]
LEARNED = [(name, form) for name in NAMES for form in forms(REGISTRY[name]) if form.startswith("grad_")]
PRODUCTS = [(name, form) for name in NAMES for form in forms(REGISTRY[name]) if form.startswith("backward")]

__all__ = ["DTYPES", "LEARNED", "NAMES", "PRODUCTS", "REGISTRY", "SEED", "SINGLE", "TIERS"]
