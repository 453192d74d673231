"""What `import fastact` loads and writes, and what type checkers see of it. What it costs is for the benchmarks."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastact


def run(code: str, folder: Path | None = None) -> str:
    environment = dict(os.environ)
    if folder is not None:
        environment["FASTACT_CACHE_DIR"] = str(folder)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("package", ["numba", "llvmlite", "ml_dtypes", "flint", "torch", "jax", "rich", "scipy"])
def test_import_loads_no_other_package(package: str) -> None:
    assert run(f"import fastact, sys; print({package!r} in sys.modules)") == "False"


def test_a_call_does_not_load_numba() -> None:
    code = "import fastact, sys; fastact.mish(1.0, approx='fast'); help(fastact.mish); dir(fastact.mish)\n"
    assert run(code + "print('numba' in sys.modules)").splitlines()[-1] == "False"


def test_import_writes_nothing(tmp_path: Path) -> None:
    run("import fastact; repr(fastact.exp), fastact.exp.__doc__, fastact.exp.types", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


IMPORTED = "import numpy, sys; before = set(sys.modules); import fastact; print(*sorted(set(sys.modules) - before))"


def test_import_loads_little() -> None:
    """The declarations and the front door: no compiler, no coefficients, nothing that measures."""
    rooms = {".".join(name.split(".")[:2]) for name in run(IMPORTED).split() if name.startswith("fastact.")}
    assert not rooms & {"fastact.accuracy", "fastact.cli", "fastact.cuda"}
    loaded = run(IMPORTED).split()
    assert "fastact.kernels.coefficients" not in loaded and "fastact.cpu.compile" not in loaded
    foreign = {name.partition(".")[0] for name in loaded} - {"fastact"} - set(sys.stdlib_module_names)
    assert not foreign


def test_every_name_is_there() -> None:
    for name in fastact.__all__:
        assert getattr(fastact, name) is not None
    for alias, name in fastact.kernels.ALIASES.items():
        assert getattr(fastact, alias) is getattr(fastact, name)
    assert set(fastact.kernels.REGISTRY) <= set(dir(fastact))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = fastact.nonsense


STUBS = Path(__file__).parent.parent / "scripts" / "stubs.py"


def test_the_types_are_fresh() -> None:
    done = subprocess.run([sys.executable, STUBS, "--check"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_stale_types_are_found(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("stubs", STUBS)
    assert spec is not None and spec.loader is not None
    stubs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stubs)
    stubs.PLACE = tmp_path / "__init__.pyi"
    arguments, sys.argv = sys.argv, ["stubs.py", "--check"]
    try:
        assert stubs.main() == 1
        sys.argv.pop()
        assert stubs.main() == 0
        sys.argv.append("--check")
        assert stubs.main() == 0
        stubs.PLACE.write_text(stubs.PLACE.read_text().replace("beta", "gamma"))
        assert stubs.main() == 1
    finally:
        sys.argv = arguments


GOOD = """
from typing import Any, assert_type
import numpy as np
from numpy.typing import NDArray
import fastact

x: NDArray[np.float32] = np.ones(3, np.float32)
assert_type(fastact.exp(x), NDArray[np.float32])
assert_type(fastact.mish(x, approx="fast"), NDArray[np.float32])
assert_type(fastact.swish(x, beta=2.0, approx=True), NDArray[np.float32])
assert_type(fastact.swish(x, 2), NDArray[np.float32])
assert_type(fastact.exp(x, out=x), NDArray[np.float32])
assert_type(fastact.swish(x, x, x), NDArray[np.float32])
assert_type(fastact.exp.backward_from_output(x, x), NDArray[np.float32])
fastact.swish(x, x, where=x > 0, out=x, casting="same_kind", order="C", subok=False)
fastact.mish.backward(x, x, approx=None)
fastact.swish.grad_beta(x, 1.0)
fastact.expit([1, 2], dtype=np.float64)
fastact.softplus(1.0, beta=np.float32(2))
assert_type(fastact.exp.ufunc("fast"), np.ufunc)
with fastact.precision("rough"), fastact.num_threads(2) as n:
    assert_type(n, int)
assert_type(fastact.get_num_threads(), int)
f: fastact.Function = fastact.exp
"""
BAD = {
    'fastact.exp(x, approx="fats")': "call-overload",
    "fastact.swish(x, gamma=1)": "call-overload",
    "fastact.exp()": "call-overload",
    "fastact.exp(x=x)": "call-overload",
    "fastact.mish.backward_from_output(x, x)": "attr-defined",
    "fastact.mish.backward(x)": "call-overload",
    "fastact.nonsense": "attr-defined",
    'fastact.precision("fats")': "arg-type",
    'fastact.num_threads("2")': "arg-type",
}


def test_types(tmp_path: Path) -> None:
    """A program that uses the package has no errors for mypy; each line that should not pass has one."""
    api = pytest.importorskip("mypy.api")
    program = tmp_path / "program.py"
    program.write_text(GOOD + "\n".join(BAD) + "\n")
    root = Path(fastact.__file__).parent.parent
    options = ["--strict", "--follow-imports=silent", "--hide-error-context", "--no-pretty", "--no-color-output"]
    output, errors, _ = api.run([*options, "--config-file", str(root / "pyproject.toml"), str(program)])
    assert not errors
    found = re.findall(r"program\.py:(\d+): error: .* \[([a-z-]+)\]$", output, re.MULTILINE)
    first = len(GOOD.splitlines()) + 1
    wanted = [(str(first + k), code) for k, code in enumerate(BAD.values())]
    assert list(dict.fromkeys(found)) == wanted, "\n".join(re.findall(r".*error:.*", output))


def test_the_typing_marker_is_there() -> None:
    spec = importlib.util.find_spec("fastact")
    assert spec is not None and spec.origin is not None
    assert (Path(spec.origin).parent / "py.typed").exists()
    assert (Path(spec.origin).parent / "__init__.pyi").exists()
