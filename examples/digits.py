"""A network that learns to read handwritten digits, from scratch in NumPy and fastact.

    python examples/digits.py
    python examples/digits.py --steps 20

One hidden layer with mish, softmax, cross-entropy, and the heavy ball on all digits at once; float32 throughout. The
digits are scikit-learn's: 1,797 images of 8 x 8 pixels, of which 360 are kept for the test. digits_numpy.py beside this
file is the same without fastact.
"""

from __future__ import annotations

import argparse
import os
from time import perf_counter
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # products so small gain nothing from threads

import numpy as np

import fastact
from fastact import optim

Array = np.ndarray[Any, Any]
HIDDEN, TEST = 512, 360
LR, MU, DECAY = 1.0, 0.9, 1e-4


def digits(seed: int) -> tuple[Array, Array, Array, Array]:
    """Images and labels, for training and for the test."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    x, y = (images[order] / 16).astype(np.float32), labels[order]
    return x[TEST:], y[TEST:], x[:TEST], y[:TEST]


def new(seed: int) -> list[Array]:
    """Weights and biases of both layers."""
    random = np.random.default_rng(seed)
    w1 = random.normal(0, 1 / 8, (64, HIDDEN))
    w2 = random.normal(0, HIDDEN**-0.5, (HIDDEN, 10))
    return [a.astype(np.float32) for a in (w1, np.zeros(HIDDEN), w2, np.zeros(10))]


def gradients(parameters: list[Array], x: Array, y: Array) -> list[Array]:
    """Those of the mean cross-entropy."""
    w1, b1, w2, b2 = parameters
    z = x @ w1 + b1
    hidden = fastact.mish(z)
    p = fastact.softmax(hidden @ w2 + b2)
    p[np.arange(len(y)), y] -= 1
    p /= len(y)
    dz = fastact.mish.backward(p @ w2.T, z, out=z)
    return [x.T @ dz, dz.sum(axis=0), hidden.T @ p, p.sum(axis=0)]


def accuracy(parameters: list[Array], x: Array, y: Array) -> float:
    w1, b1, w2, b2 = parameters
    return float(((fastact.mish(x @ w1 + b1) @ w2 + b2).argmax(axis=1) == y).mean())


def train(parameters: list[Array], x: Array, y: Array, steps: int) -> None:
    velocities = [np.zeros_like(a) for a in parameters]
    for _ in range(steps):
        optim.momentum(parameters, gradients(parameters, x, y), velocities, LR, MU, weight_decay=DECAY)


def run(steps: int, seed: int = 0) -> tuple[float, float]:
    """The part of the test digits that are read correctly after training, and the seconds that this took."""
    x, y, x_test, y_test = digits(seed)
    parameters = new(seed)
    with fastact.precision("fast"):
        train(new(seed), x, y, 1)  # kernels are compiled once and kept: off the clock
        started = perf_counter()
        train(parameters, x, y, steps)
        seconds = perf_counter() - started
        return accuracy(parameters, x_test, y_test), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--splits", type=int, default=5, help="how often to train, each time keeping other digits back")
    options = parser.parse_args()
    found = [run(options.steps, seed) for seed in range(options.splits)]
    right, seconds = np.mean([right for right, _ in found]), min(seconds for _, seconds in found)
    print(f"fastact: {right:.1%} of the test digits right after {options.steps} steps, {seconds:.2f} s", end="")
    print(f" (mean and shortest of {options.splits} splits)")


if __name__ == "__main__":
    main()
