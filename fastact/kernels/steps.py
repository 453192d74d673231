"""Bodies of the optimizer steps: what becomes of a parameter, and of its velocity, given the gradient.

With weight decay of 0 the gradient is taken as it is, whatever the parameter: 0 times an infinity would be no number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastact.kernels.operations import Value, fma, where


def decayed(gradient: Value, theta: Value, decay: Value) -> Value:
    """The gradient of the loss with decay/2 |theta|^2 added."""
    return where(decay.equals(0.0), gradient, fma(decay, theta, gradient))


def sgd(theta: Value, gradient: Value, lr: Value, decay: Value) -> Value:
    """Two roundings: of the gradient with decay, and of the result."""
    return fma(-lr, decayed(gradient, theta, decay), theta)


def _moved(theta: Value, gradient: Value, velocity: Value, lr: Value, mu: Value) -> tuple[Value, Value]:
    """The parameter and the velocity: rounded are lr g, the velocity and the parameter, once each."""
    moved = fma(mu, velocity, -(lr * gradient))
    return theta + moved, moved


def momentum(theta: Value, gradient: Value, velocity: Value, lr: Value, mu: Value, decay: Value) -> tuple[Value, Value]:
    return _moved(theta, decayed(gradient, theta, decay), velocity, lr, mu)


def nesterov(theta: Value, gradient: Value, velocity: Value, lr: Value, mu: Value, decay: Value) -> tuple[Value, Value]:
    """The gradient is that at the point ahead, and so is the decay."""
    return _moved(theta, decayed(gradient, lookahead(theta, velocity, mu), decay), velocity, lr, mu)


def lookahead(theta: Value, velocity: Value, mu: Value) -> Value:
    """One rounding."""
    return fma(mu, velocity, theta)


NUMBERS = ("lr", "mu", "decay")
"""Inputs that are no arrays; they come last."""
STEPS: dict[str, tuple[Callable[..., Any], int, int]] = {
    "sgd": (sgd, 4, 1),
    "momentum": (momentum, 6, 2),
    "nesterov": (nesterov, 6, 2),
    "lookahead": (lookahead, 3, 1),
}
"""Bodies with their numbers of inputs and outputs."""
