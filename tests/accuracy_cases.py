"""What the tests of accuracy have in common: all forms of all functions, and a seed that is new whenever a
kernel, and with it a certificate, is."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import fastact
from fastact.kernels import REGISTRY
from fastact.link.arithmetic import DTYPES, TIERS
from fastact.link.forms import forms

CERTIFICATES = Path(fastact.__file__).parent / "accuracy" / "certificates.json"
SEED = int(os.environ.get("FASTACT_TEST_SEED") or zlib.crc32(CERTIFICATES.read_bytes()))
"""Set FASTACT_TEST_SEED to try other samples, or to the seed that a failure names to see it again."""
NAMES = tuple(REGISTRY)
SINGLE = [(name, form) for name in NAMES for form in ("value", "grad")]
LEARNED = [(name, form) for name in NAMES for form in forms(REGISTRY[name]) if form.startswith("grad_")]
PRODUCTS = [(name, form) for name in NAMES for form in forms(REGISTRY[name]) if form.startswith("backward")]

__all__ = ["DTYPES", "LEARNED", "NAMES", "PRODUCTS", "REGISTRY", "SEED", "SINGLE", "TIERS"]
