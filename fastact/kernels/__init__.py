"""The mathematics: bodies of all functions with the facts they declare."""

from fastact.kernels import elementary
from fastact.kernels.declare import ALIASES, REGISTRY, Declaration, Parameter

__all__ = ["ALIASES", "REGISTRY", "Declaration", "Parameter", "elementary"]
