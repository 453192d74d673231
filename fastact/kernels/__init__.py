"""The mathematics: bodies of all functions with the facts they declare."""

from fastact.kernels import (
    activations,
    elementary,
    exponential,
    gates,
    gaussian,
    logarithms,
    periodic,
    piecewise,
    quadratic,
    rational,
    xielu,
)
from fastact.kernels.declare import ALIASES, GATES, REGISTRY, Declaration, Gate, Parameter, Rejection, Variant

__all__ = [
    "ALIASES",
    "GATES",
    "REGISTRY",
    "Declaration",
    "Gate",
    "Parameter",
    "Rejection",
    "Variant",
    "activations",
    "elementary",
    "exponential",
    "gates",
    "gaussian",
    "logarithms",
    "periodic",
    "piecewise",
    "quadratic",
    "rational",
    "xielu",
]
