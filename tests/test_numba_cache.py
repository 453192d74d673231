"""What Numba keeps on disk of users' functions is compiled anew when this package's sources change, and only then."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PACKAGE = Path(__file__).parent.parent / "fastact"

USER = """
import json
import sys

import numpy as np
from numba import njit, prange

import fastact

relu = fastact.relu
scalar = relu.scalar("fast")
vectorized = relu.vectorized("fast")
x = np.array([3.0])


@njit(cache=True)
def direct(x):
    return fastact.relu(x, approx="fast")


@njit(cache=True)
def over_direct(x):
    return direct(x) + 0.0


@njit
def not_kept(x):
    return relu(x)


@njit(cache=True)
def over_not_kept(x):
    return not_kept(x)


@njit(cache=True)
def over_scalar(x):
    return scalar(x)


@njit(cache=True)
def over_vectorized(x):
    return vectorized(x)[0]


@njit(cache=True)
def array(x):
    return relu(x, approx="rough")[0]


@njit(cache=True, parallel=True)
def parallel(x):
    out = np.empty_like(x)
    for i in prange(x.size):
        out[i] = relu(x[i])
    return out[0]


@njit(cache=True)
def over_parallel(x):
    return parallel(x)


@njit(cache=True)
def over_argument(f, x):
    return f(x)


@njit(cache=True)
def unrelated(x):
    return x


CALLS = {
    direct: (3.0,), over_direct: (3.0,), over_not_kept: (3.0,), over_scalar: (3.0,), over_vectorized: (x,),
    array: (x,), parallel: (x,), over_parallel: (x,), over_argument: (relu, 3.0), unrelated: (3.0,),
}
results = {}
for function, arguments in CALLS.items():
    if function.__name__ in sys.argv[1:] or len(sys.argv) == 1:
        value = function(*arguments)
        results[function.__name__] = value, sum(function.stats.cache_hits.values())
print(json.dumps(results))
"""


class Place:
    """A copy of the package, whose sources can be changed, next to a user's module."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(PACKAGE, folder / "fastact", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "user.py").write_text(USER)

    def multiply_relu(self, factor: float) -> None:
        path = self.folder / "fastact" / "kernels" / "activations.py"
        lines = path.read_text().splitlines()
        start = next(i for i, line in enumerate(lines) if line.startswith("def relu("))
        place = next(i for i in range(start, len(lines)) if lines[i].startswith("    return "))
        lines[place] = f"    return op.maximum(x, 0.0) * {factor!r}"
        path.write_text("\n".join(lines) + "\n")

    def run(self, *functions: str) -> dict[str, tuple[float, int]]:
        environment = os.environ | {
            "PYTHONPATH": str(self.folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "NUMBA_CACHE_DIR": str(self.folder / "numba"),
            "FASTACT_CACHE_DIR": str(self.folder / "kernels"),
        }
        command = [sys.executable, "user.py", *functions]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return {name: (value, hits) for name, (value, hits) in json.loads(done.stdout).items()}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_kept_functions_follow_the_sources(place: Place) -> None:
    first = place.run()
    assert set(first.values()) == {(3.0, 0)}
    assert set(place.run().values()) == {(3.0, 1)}
    place.multiply_relu(2.0)
    changed = place.run()
    assert changed.pop("unrelated") == (3.0, 1)
    assert set(changed.values()) == {(6.0, 0)}


@pytest.mark.parametrize("inner", ["direct", "parallel"])
def test_functions_over_functions_that_were_kept_before(place: Place, inner: str) -> None:
    outer = f"over_{inner}"
    place.run(inner)
    assert place.run(outer)[outer] == (3.0, 0)
    if inner != "parallel":  # Numba 0.68 crashes there, whatever is called: it forgets to start its threads
        assert place.run(outer)[outer] == (3.0, 1)
    place.multiply_relu(2.0)
    assert place.run(outer)[outer] == (6.0, 0)


def test_importing_the_package_does_not_import_numba() -> None:
    program = "import sys, fastact; fastact.exp(1.0); sys.exit('numba' in sys.modules)"
    environment: Any = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    assert subprocess.run([sys.executable, "-c", program], env=environment, timeout=60).returncode == 0
