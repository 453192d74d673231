"""Speed and errors of Numba with Intel's SVML, and of mkl_umath, in an environment of their own.

    python scripts/svml_peer.py [--environment FOLDER] [--seconds S] [--names exp,log] [-o FILE.json]

numba 0.61.2 is the last whose llvmlite on PyPI knows SVML; this package needs a later one, so the two cannot share an
environment. The folder is made if it is not there (``python -m venv``, then pip). The functions are ``@vectorize``
loops over the formulas of `benchmarks/numba_user.py`, typed so that float32 stays float32, once as they are (SVML
within 1 ULP) and once with ``fastmath=True`` (SVML within 4 ULP); the names of the SVML routines are read from their
machine code, and a function whose loop calls none is said to. Functions of rows are loops in ``@njit``.

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
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "benchmarks"))

import numba_user  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "svml.json"
PACKAGES = ("numba==0.61.2", "intel-cmplr-lib-rt", "mkl_umath")
SIZE = 65_536
SAMPLE = 2_000
"""Elements on which errors are taken."""
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
        ufunc = numba.vectorize([kind(kind)], **options)(numba_user.scalar(numba_user.EXPRESSIONS[name], dtype))
    finally:
        for module in places:
            module.build_ufunc_wrapper = build
    text = "\n".join(library.get_asm_str() for library in made)
    return ufunc, sorted(set(re.findall(r"__svml_\w+", text)))


def rows(work: dict[str, Any], clock: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Functions of rows and gates: times, and the first rows of the results."""
    import numpy as np

    found, results = [], {}
    for name in work["rows"]:
        for dtype in ("float32", "float64"):
            x = np.resize(numba_user.data(dtype)["x"], SIZE)
            calls = {YARDSTICK: (lambda x=x: np.exp(x))}
            for label, options in VARIANTS.items():
                calls[label] = numba_user.rows(name, dtype, **options)
                results[f"{name} {dtype} {label}"] = calls[label]()[: work["judged"]]
            best = in_turns(calls, work["seconds"], clock)
            nanoseconds = {label: round(seconds / SIZE * 1e9, 4) for label, seconds in best.items()}
            found.append({"function": name, "dtype": dtype, "ns": nanoseconds})
    return found, results


def in_turns(calls: dict[str, Any], seconds: float, clock: Any) -> dict[str, float]:
    """The best seconds of each call over rounds in random order."""
    import random

    best = dict.fromkeys(calls, float("inf"))
    order = list(calls)
    started = clock()
    while clock() - started < seconds:
        random.shuffle(order)
        for label in order:
            call = calls[label]
            call()
            before = clock()
            for _ in range(5):
                call()
            best[label] = min(best[label], (clock() - before) / 5)
    return best


def measure(work: dict[str, Any], folder: Path) -> None:
    """Times of all contestants in turns; results on the sample go to the folder."""
    import time

    import numpy as np

    try:
        import mkl_umath
    except ImportError:
        mkl_umath = None
    found, results = [], {}
    clock = time.perf_counter
    for case in work["cases"]:
        name, dtype = case["function"], case["dtype"]
        x = np.random.default_rng(0).uniform(case["low"], case["high"], SIZE).astype(dtype)
        calls, routines = {YARDSTICK: (lambda x=x: np.exp(x))}, {}
        for label, options in VARIANTS.items():
            ufunc, called = loop(name, dtype, options)
            calls[label], routines[label] = (lambda f=ufunc, x=x: f(x)), called
        if mkl_umath is not None and name in MKL:
            ufunc = getattr(mkl_umath._ufuncs, name)
            calls["mkl_umath"] = lambda f=ufunc, x=x: f(x)
        places = np.sort(np.random.default_rng(1).choice(SIZE, SAMPLE, replace=False))
        with np.errstate(all="ignore"):
            for label, call in calls.items():
                if label != YARDSTICK:
                    results[f"{name} {dtype} {label}"] = call()[places]
            best = in_turns(calls, work["seconds"], clock)
        nanoseconds = {label: round(seconds / SIZE * 1e9, 4) for label, seconds in best.items()}
        found.append({"function": name, "dtype": dtype, "ns": nanoseconds, "routines": routines})
    with np.errstate(all="ignore"):
        of_rows, more = rows(work, clock)
    import numba

    versions = {"python": sys.version.split()[0], "numpy": np.__version__, "numba": numba.__version__}
    versions["mkl_umath"] = getattr(mkl_umath, "__version__", "missing")
    np.savez(folder / "results.npz", **results)
    np.savez(folder / "rowwise.npz", **more)
    content = {"versions": versions, "svml": numba.config.USING_SVML, "rows": found, "rowwise": of_rows}
    (folder / "rows.json").write_text(json.dumps(content))


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


def run(
    python: Path, names: list[str], dtypes: list[str], seconds: float, rowwise: Iterable[str] = ()
) -> dict[str, Any]:
    """What that environment achieves, with errors against the truth; also with functions of rows and gates."""
    import numpy as np

    from fastact.accuracy.measure import Truth, settings
    from fastact.kernels import REGISTRY

    cases = []
    for name in names:
        low, high = REGISTRY[name].domain
        for dtype in dtypes:
            cases.append({"function": name, "dtype": dtype, "low": max(low, -10.0), "high": min(high, 10.0)})
    work = {"cases": cases, "seconds": seconds, "rows": list(rowwise), "judged": numba_user.JUDGED}
    single = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    variables = {**os.environ, **dict.fromkeys(single, "1"), "LD_LIBRARY_PATH": str(python.parent.parent / "lib")}
    variables.pop("PYTHONPATH", None)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "work.json").write_text(json.dumps(work))
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
        _judge(found["rowwise"], np.load(folder / "rowwise.npz"))
    return found  # type: ignore[no-any-return]


def _judge(rows: list[dict[str, Any]], results: Any) -> None:
    """Add their errors to functions of rows and gates."""
    import errors

    for row in rows:
        true = errors.truth(row["function"], row["dtype"], "value")
        row["max_ulp"] = {}
        for label in VARIANTS:
            error = errors.of_array(results[f"{row['function']} {row['dtype']} {label}"], true)
            if error is not None:
                row["max_ulp"][label] = error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "fastact-svml-peer"
    parser.add_argument("--environment", type=Path, default=default, help="its folder (default: %(default)s)")
    parser.add_argument("--names", default=",".join(numba_user.EXPRESSIONS), help="functions, separated by commas")
    parser.add_argument("--dtype", default="float32,float64")
    more = ",".join((*numba_user.ROWS, *numba_user.GATES))
    parser.add_argument("--rows", default=more, help="functions of rows and gates, separated by commas")
    parser.add_argument("--seconds", type=float, default=0.15, help="for each function")
    parser.add_argument("-o", "--output", type=Path, default=RESULT)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(json.loads((options.measure / "work.json").read_text()), options.measure)
        return
    from fastact.cli import machine

    python = environment(options.environment)
    names, dtypes, rowwise = (filter(None, given.split(",")) for given in (options.names, options.dtype, options.rows))
    found = run(python, list(names), list(dtypes), options.seconds, rowwise)
    facts = {"command": "python scripts/svml_peer.py", "date": date.today().isoformat()}
    content = {**facts, "processor": machine.processor_name(), "size": SIZE, **found}
    options.output.write_text(json.dumps(content, indent=1) + "\n")
    print(f"SVML in use: {found['svml']}; ns per element, max ULP")
    for row in found["rows"] + found["rowwise"]:
        cells = [f"{k} {ns:.3f} ({row['max_ulp'].get(k, float('nan')):.2g})" for k, ns in row["ns"].items()]
        plain = [] if row.get("routines", {"svml": True})["svml"] else ["calls no SVML routine"]
        print(f"{row['function']:11s} {row['dtype']}  " + ", ".join([*cells, *plain]))


if __name__ == "__main__":
    main()
