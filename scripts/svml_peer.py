"""Speed and errors of Numba with Intel's SVML, and of mkl_umath, in an environment of their own.

    python scripts/svml_peer.py [--environment FOLDER] [--seconds S] [--names exp,log] [-o FILE.json]

numba 0.61.2 is the last whose llvmlite on PyPI knows SVML; this package needs a later one, so the two cannot share an
environment. The folder is made if it is not there (``python -m venv``, then pip). The functions are ``@vectorize``
loops over the formula, typed so that float32 stays float32, once as they are (SVML within 1 ULP) and once with
``fastmath=True`` (SVML within 4 ULP); the names of the SVML routines are read from their machine code, and a function
whose loop calls none is said to.

NumPy's exp is measured there in the same rounds, as the yardstick: a figure of that environment, times what NumPy's
exp takes here over what it takes there, is what it would be here. That holds as far as both NumPy versions compute
exp with the same code, and the clock is the same.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "svml.json"
PACKAGES = ("numba==0.61.2", "intel-cmplr-lib-rt", "mkl_umath")
SIZE = 65_536
SAMPLE = 2_000
"""Elements on which errors are taken."""
EXPRESSIONS = {
    "exp": "math.exp(x)",
    "exp2": "np.exp2(x)",
    "expm1": "math.expm1(x)",
    "log": "math.log(x)",
    "log2": "np.log2(x)",
    "log1p": "math.log1p(x)",
    "reciprocal": "1.0/x",
    "rsqrt": "1.0/math.sqrt(x)",
    "sqrt": "math.sqrt(x)",
    "tanh": "math.tanh(x)",
    "erf": "math.erf(x)",
    "erfc": "math.erfc(x)",
    "sigmoid": "1.0/(1.0 + math.exp(-x))",
    "logsigmoid": "-math.log1p(math.exp(-x))",
    "logit": "math.log(x/(1.0 - x))",
    "softplus": "math.log1p(math.exp(x))",
    "silu": "x/(1.0 + math.exp(-x))",
    "mish": "x*math.tanh(math.log1p(math.exp(x)))",
    "elu": "x if x > 0.0 else math.expm1(min(x, 0.0))",
    "selu": "1.0507009873554805*(x if x > 0.0 else 1.6732632423543772*math.expm1(min(x, 0.0)))",
    "gelu": "0.5*x*math.erfc(-0.7071067811865476*x)",
    "gelu_tanh": "0.5*x*(1.0 + math.tanh(0.7978845608028654*(x + 0.044715*x*x*x)))",
    "quick_gelu": "x/(1.0 + math.exp(-1.702*x))",
    "tanhshrink": "x - math.tanh(x)",
    "snake": "x + math.sin(x)*math.sin(x)",
    "softsign": "x/(1.0 + abs(x))",
    "squareplus": "0.5*(x + math.sqrt(x*x + 4.0))",
    "relu": "max(x, 0.0)",
}
"""Parameters are at their defaults."""
YARDSTICK = "numpy exp"
VARIANTS = {"svml": {}, "svml_fast": {"fastmath": True}}
MKL = ("exp", "exp2", "expm1", "log", "log2", "log1p", "sqrt", "tanh")


# -- in that environment ----------------------------------------------------------------------------------------------
def loop(name: str, dtype: str, options: dict[str, Any]) -> tuple[Any, list[str]]:
    """The compiled ufunc of a formula and the SVML routines that its machine code calls."""
    import re

    import numba
    from numba.np.ufunc import dufunc, ufuncbuilder

    made = []
    places = [module for module in (ufuncbuilder, dufunc) if hasattr(module, "build_ufunc_wrapper")]
    build = places[0].build_ufunc_wrapper

    def recorded(*args: Any, **named: Any) -> Any:
        info = build(*args, **named)
        made.append(info.library)
        return info

    for module in places:
        module.build_ufunc_wrapper = recorded
    try:
        kind = getattr(numba, dtype)
        ufunc = numba.vectorize([kind(kind)], **options)(scalar(name, dtype))
    finally:
        for module in places:
            module.build_ufunc_wrapper = build
    text = "\n".join(library.get_asm_str() for library in made)
    return ufunc, sorted(set(re.findall(r"__svml_\w+", text)))


def scalar(name: str, dtype: str) -> Any:
    """The formula as a function of a number, its constants of the dtype."""
    import ast
    import math

    import numpy as np

    scope: dict[str, Any] = {"math": math, "np": np}

    class Typed(ast.NodeTransformer):
        def visit_Constant(self, node: ast.Constant) -> ast.Name:
            label = f"constant_{len(scope)}"
            scope[label] = np.dtype(dtype).type(node.value)
            return ast.Name(label, ast.Load())

    tree = ast.parse(f"lambda x: {EXPRESSIONS[name]}", mode="eval")
    code = compile(ast.fix_missing_locations(Typed().visit(tree)), f"<{name}>", "eval")
    return eval(code, scope)


def measure(work: dict[str, Any], folder: Path) -> None:
    """Times of all contestants in turns; results on the sample go to the folder."""
    import random
    import time

    import numpy as np

    try:
        import mkl_umath
    except ImportError:
        mkl_umath = None
    rows, results = [], {}
    clock = time.perf_counter
    for case in work["cases"]:
        name, dtype = case["function"], case["dtype"]
        x = np.random.default_rng(0).uniform(case["low"], case["high"], SIZE).astype(dtype)
        calls, routines = {YARDSTICK: (lambda x=x: np.exp(x))}, {}
        for label, options in VARIANTS.items():
            ufunc, found = loop(name, dtype, options)
            calls[label], routines[label] = (lambda f=ufunc, x=x: f(x)), found
        if mkl_umath is not None and name in MKL:
            ufunc = getattr(mkl_umath._ufuncs, name)
            calls["mkl_umath"] = lambda f=ufunc, x=x: f(x)
        places = np.sort(np.random.default_rng(1).choice(SIZE, SAMPLE, replace=False))
        best = dict.fromkeys(calls, float("inf"))
        order = list(calls)
        with np.errstate(all="ignore"):
            for label, call in calls.items():
                if label != YARDSTICK:
                    results[f"{name} {dtype} {label}"] = call()[places]
            started = clock()
            while clock() - started < work["seconds"]:
                random.shuffle(order)
                for label in order:
                    call = calls[label]
                    call()
                    before = clock()
                    for _ in range(5):
                        call()
                    best[label] = min(best[label], (clock() - before) / 5)
        nanoseconds = {label: round(seconds / SIZE * 1e9, 4) for label, seconds in best.items()}
        rows.append({"function": name, "dtype": dtype, "ns": nanoseconds, "routines": routines})
    import numba

    versions = {"python": sys.version.split()[0], "numpy": np.__version__, "numba": numba.__version__}
    versions["mkl_umath"] = getattr(mkl_umath, "__version__", "missing")
    np.savez(folder / "results.npz", **results)
    (folder / "rows.json").write_text(json.dumps({"versions": versions, "svml": numba.config.USING_SVML, "rows": rows}))


# -- in this environment ----------------------------------------------------------------------------------------------
def environment(folder: Path) -> Path:
    """The interpreter of the environment, which is made where it is missing."""
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print(f"making {folder} with {', '.join(PACKAGES)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (folder / "complete").touch()
    return python


def run(python: Path, names: list[str], dtypes: list[str], seconds: float) -> dict[str, Any]:
    """What that environment achieves, with errors against the truth."""
    import numpy as np

    from fastact.accuracy.measure import Truth, settings
    from fastact.kernels import REGISTRY

    cases = []
    for name in names:
        low, high = REGISTRY[name].domain
        for dtype in dtypes:
            cases.append({"function": name, "dtype": dtype, "low": max(low, -10.0), "high": min(high, 10.0)})
    single = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    variables = {**os.environ, **dict.fromkeys(single, "1"), "LD_LIBRARY_PATH": str(python.parent.parent / "lib")}
    variables.pop("PYTHONPATH", None)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "work.json").write_text(json.dumps({"cases": cases, "seconds": seconds}))
        subprocess.run([str(python), __file__, "--measure", str(folder)], check=True, env=variables)
        found = json.loads((folder / "rows.json").read_text())
        results = np.load(folder / "results.npz")
        for row, case in zip(found["rows"], cases, strict=True):
            declaration = REGISTRY[row["function"]]
            x = np.random.default_rng(0).uniform(case["low"], case["high"], SIZE).astype(row["dtype"])
            x = x[np.sort(np.random.default_rng(1).choice(SIZE, SAMPLE, replace=False))]
            truth = Truth(declaration, x, settings(declaration, row["dtype"]), None)
            row["max_ulp"] = {}
            for label in row["ns"]:
                key = f"{row['function']} {row['dtype']} {label}"
                errors = truth.summary(results[key]) if key in results else None
                if errors is not None:
                    row["max_ulp"][label] = errors.largest
    return found  # type: ignore[no-any-return]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "fastact-svml-peer"
    parser.add_argument("--environment", type=Path, default=default, help="its folder (default: %(default)s)")
    parser.add_argument("--names", default=",".join(EXPRESSIONS), help="functions, separated by commas")
    parser.add_argument("--dtype", default="float32,float64")
    parser.add_argument("--seconds", type=float, default=0.15, help="for each function")
    parser.add_argument("-o", "--output", type=Path, default=RESULT)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(json.loads((options.measure / "work.json").read_text()), options.measure)
        return
    from fastact.cli import machine

    python = environment(options.environment)
    found = run(python, options.names.split(","), options.dtype.split(","), options.seconds)
    facts = {"command": "python scripts/svml_peer.py", "date": date.today().isoformat()}
    content = {**facts, "processor": machine.processor_name(), "size": SIZE, **found}
    options.output.write_text(json.dumps(content, indent=1) + "\n")
    print(f"SVML in use: {found['svml']}; ns per element, max ULP")
    for row in found["rows"]:
        cells = [f"{k} {ns:.3f} ({row['max_ulp'].get(k, float('nan')):.2g})" for k, ns in row["ns"].items()]
        plain = [] if row["routines"]["svml"] else ["calls no SVML routine"]
        print(f"{row['function']:11s} {row['dtype']}  " + ", ".join([*cells, *plain]))


if __name__ == "__main__":
    main()
