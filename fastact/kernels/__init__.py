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

OWN: dict[str, Declaration | Gate] = {**REGISTRY, **GATES}
"""What the sources here declare, whatever is registered later."""

__all__ = [
    "ALIASES",
    "GATES",
    "OWN",
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
