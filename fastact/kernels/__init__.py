"""The mathematics: bodies of all functions with the facts they declare."""

from fastact.kernels import (
    activations,
    elementary,
    exponential,
    gaussian,
    logarithms,
    periodic,
    piecewise,
    quadratic,
    rational,
    xielu,
)
from fastact.kernels.declare import ALIASES, REGISTRY, Declaration, Parameter, Rejection, Variant

__all__ = [
    "ALIASES",
    "REGISTRY",
    "Declaration",
    "Parameter",
    "Rejection",
    "Variant",
    "activations",
    "elementary",
    "exponential",
    "gaussian",
    "logarithms",
    "periodic",
    "piecewise",
    "quadratic",
    "rational",
    "xielu",
]
