"""Other libraries' versions of the functions, as declared with them, ready to be measured beside ours on one thread.

A peer computes a new array from the same data as everyone else. Its expression is evaluated in a namespace that holds
the library, ``x`` and the parameters; conversions of the data into the library's own arrays happen beforehand.
"""

from __future__ import annotations

import ast
import functools
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np

from fastact.accuracy.measure import settings
from fastact.accuracy.onnx_peer import EXPRESSIONS, session
from fastact.accuracy.ulp import Floats, format_of
from fastact.cpu.threads import num_threads
from fastact.function import FUNCTIONS
from fastact.kernels import Declaration
from fastact.link.forms import usual_form

LABELS = {
    "numpy": "NumPy", "scipy": "SciPy", "torch": "PyTorch", "jax": "JAX", "numexpr": "numexpr", "numba": "Numba",
    "onnxruntime": "onnxruntime", "mkl_umath": "mkl_umath",
}  # fmt: skip
MKL = ("exp", "exp2", "expm1", "log", "log2", "log1p", "reciprocal", "sqrt", "tanh")
"""The functions that mkl_umath has."""
GRADIENTS = ("torch", "jax")
"""The peers that differentiate."""
FORMS = {"value": "value", "gradient": "backward"}
"""What is measured, and which of our forms does it; gradients are products with an incoming gradient of 1."""

_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMEXPR_NUM_THREADS": "1",
    "NUMEXPR_MAX_THREADS": "1", "NPROC": "1", "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}  # fmt: skip


class Unavailable(Exception):
    """A peer cannot take part; the message says why."""


@dataclass(frozen=True)
class Task:
    """What all contestants compute: the value of a function or its gradient, on the same data."""

    declaration: Declaration
    form: str
    """``value`` or ``gradient``."""
    x: Floats
    """One-dimensional and contiguous."""
    parameters: tuple[float, ...] = ()
    """Numbers of the dtype of x."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.declaration.parameters)

    @property
    def described(self) -> str:
        """The parameters with their values, each after a comma."""
        return "".join(f", {n} = {v:g}" for n, v in zip(self.names, self.parameters, strict=True))

    @property
    def arrays(self) -> int:
        """How many arrays of the size of x are read and written."""
        return 2 if self.form == "value" else 3


@dataclass(frozen=True)
class Contestant:
    """One way to compute a task."""

    label: str
    library: str
    call: Callable[[], Any]
    array: Callable[[Any], Floats]
    """From what ``call`` returns to a NumPy array."""
    note: str = ""

    def result(self) -> Floats:
        return self.array(self.call())


def installed() -> dict[str, str]:
    """The libraries that are there, with their versions; none is imported for that."""
    return dict(_installed())


@functools.cache
def _installed() -> dict[str, str]:
    found = {}
    for name in LABELS:
        if find_spec(name) is not None:
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                found[name] = "unknown"
    return found


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold every library to one thread; those not yet imported learn it from the environment."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    for name, value in _ENVIRONMENT.items():
        os.environ[name] = f"{before[name]} {value}" if name == "XLA_FLAGS" and before[name] else value
    undo: list[Callable[[], object]] = []
    torch, numexpr, jax = (sys.modules.get(name) for name in ("torch", "numexpr", "jax"))
    if torch is not None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        undo.append(lambda: torch.set_num_threads(threads))
    if numexpr is not None:
        evaluators = numexpr.set_num_threads(1)
        undo.append(lambda: numexpr.set_num_threads(evaluators))
    wide = jax.config.jax_enable_x64 if jax is not None else False
    try:
        with num_threads(1):
            yield
    finally:
        for action in undo:
            action()
        jax = sys.modules.get("jax")
        if jax is not None:
            jax.config.update("jax_enable_x64", wide)
        for name, old in before.items():
            if old is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = old


def ours(task: Task, tier: str) -> Contestant:
    """Our own function in a tier, called as its users do; its kernel is compiled."""
    from fastact.cpu.kernels import loop_address

    name, form = task.declaration.name, FORMS[task.form]
    usual = usual_form(task.declaration, form)
    left_out = usual != form and task.parameters == settings(task.declaration, task.x.dtype)
    try:
        loop_address(name, usual if left_out else form, tier, format_of(task.x.dtype).name)
    except Exception as error:
        raise Unavailable(f"{type(error).__name__}: {error}") from error
    function, x = FUNCTIONS[name], task.x
    door: Any = function if task.form == "value" else function.backward
    parameters = () if left_out else tuple(map(float, task.parameters))
    inputs = (x, *parameters) if task.form == "value" else (np.ones_like(x), x, *parameters)
    return Contestant(f"fastact {tier}", "fastact", lambda: door(*inputs, approx=tier), np.asarray)


def expressions(declaration: Declaration) -> dict[str, str]:
    """Library -> the function as it is written there."""
    found = {**declaration.peers}
    if declaration.numpy:
        found |= {"numpy": declaration.numpy, "numba": declaration.numpy}
    if declaration.name in EXPRESSIONS:
        found["onnxruntime"] = EXPRESSIONS[declaration.name]
    if declaration.name in MKL:
        found["mkl_umath"] = f"mkl_umath.{declaration.name}(x)"
    return found


def candidates(declaration: Declaration, form: str) -> list[str]:
    """The libraries that are installed and have the function."""
    declared = expressions(declaration)
    return [name for name in installed() if name in declared and (form == "value" or name in GRADIENTS)]


def peer(task: Task, library: str) -> Contestant:
    """A library's version of a task, compiled and run once.

    Raises:
        Unavailable: the library cannot do it for this dtype or with these parameters.
    """
    declaration = task.declaration
    expression = expressions(declaration)[library]
    used = {node.id for node in ast.walk(ast.parse(expression, mode="eval")) if isinstance(node, ast.Name)}
    usual = settings(declaration, task.x.dtype)
    for name, value, default in zip(task.names, task.parameters, usual, strict=True):
        if name not in used and value != default:
            raise Unavailable(f"its version takes no {name}")
    try:
        made = _BUILDERS[library](task, expression)
        first = made.result()
    except Unavailable:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise Unavailable(f"{type(error).__name__}: {reason[0] if reason else ''}") from error
    if first.shape != task.x.shape:
        raise Unavailable(f"result of shape {first.shape} for data of shape {task.x.shape}")
    if first.dtype == task.x.dtype:
        return made
    call, array, dtype = made.call, made.array, task.x.dtype
    return Contestant(
        made.label, library, lambda: array(call()).astype(dtype), np.asarray, f"computes {first.dtype}, then rounds"
    )


def _function(task: Task, expression: str, **namespace: Any) -> Callable[..., Any]:
    """The expression as a function of x, the parameters being constants."""
    scope = {**dict(zip(task.names, task.parameters, strict=True)), **namespace}
    return eval(f"lambda x: {expression}", scope)  # type: ignore[no-any-return]


def _label(library: str) -> str:
    return f"{LABELS[library]} {installed()[library].split('+')[0]}"


def _with_numpy(task: Task, expression: str) -> Contestant:
    f, x = _function(task, expression, np=np), task.x
    return Contestant(_label("numpy"), "numpy", lambda: f(x), np.asarray)


def _with_scipy(task: Task, expression: str) -> Contestant:
    scipy = importlib.import_module("scipy")
    importlib.import_module("scipy.special")
    f, x = _function(task, expression, scipy=scipy, np=np), task.x
    return Contestant(_label("scipy"), "scipy", lambda: f(x), np.asarray)


def _with_numexpr(task: Task, expression: str) -> Contestant:
    if task.x.dtype.itemsize == 2:
        raise Unavailable("no 16-bit floats")
    numexpr = importlib.import_module("numexpr")
    numexpr.set_num_threads(1)
    number = task.x.dtype.type
    scope = {"x": task.x, **{n: number(v) for n, v in zip(task.names, task.parameters, strict=True)}}
    return Contestant(_label("numexpr"), "numexpr", lambda: numexpr.evaluate(expression, scope, {}), np.asarray)


_loops: dict[tuple[str, tuple[str, ...]], Callable[..., Any]] = {}


def _with_numba(task: Task, expression: str) -> Contestant:
    """What a Numba user gets who writes the formula into a loop over the elements."""
    if task.x.dtype.itemsize == 2:
        raise Unavailable("no 16-bit floats")
    key = (expression, task.names)
    if key not in _loops:
        njit = importlib.import_module("numba").njit(error_model="numpy")
        arguments = ", ".join(("x", *task.names))
        scope = {"np": np}
        exec(
            f"def scalar({arguments}):\n"
            f"    return {expression}\n"
            f"def loop({arguments}):\n"
            f"    out = np.empty_like(x)\n"
            f"    for i in range(x.size):\n"
            f"        out[i] = scalar({', '.join(('x[i]', *task.names))})\n"
            f"    return out\n",
            scope,
        )
        scope["scalar"] = njit(scope["scalar"])
        _loops[key] = njit(scope["loop"])
    loop, x, parameters = _loops[key], task.x, task.parameters
    return Contestant(_label("numba"), "numba", lambda: loop(x, *parameters), np.asarray)


def _with_torch(task: Task, expression: str) -> Contestant:
    torch = importlib.import_module("torch")
    importlib.import_module("torch.nn.functional")
    torch.set_num_threads(1)
    brief = task.x.dtype.name == "bfloat16"
    x = torch.from_numpy(task.x.view(np.int16)).view(torch.bfloat16) if brief else torch.from_numpy(task.x)
    f = _function(task, expression, torch=torch)

    def array(y: Any) -> Floats:
        y = y.detach()
        if y.dtype == torch.bfloat16:
            return y.contiguous().view(torch.int16).numpy().view(format_of("bfloat16").dtype)  # type: ignore[no-any-return]
        return y.numpy()  # type: ignore[no-any-return]

    if task.form == "value":

        def call() -> Any:
            with torch.no_grad():
                return f(x)

        return Contestant(_label("torch"), "torch", call, array)
    leaf = x.detach().requires_grad_()
    y = f(leaf)
    g = torch.ones_like(y)
    return Contestant(_label("torch"), "torch", lambda: torch.autograd.grad(y, leaf, g, retain_graph=True)[0], array)


def _with_jax(task: Task, expression: str) -> Contestant:
    jax = importlib.import_module("jax")
    for module in ("jax.numpy", "jax.nn", "jax.scipy.special"):
        importlib.import_module(module)
    if task.x.dtype == np.float64:
        jax.config.update("jax_enable_x64", True)
    x = jax.numpy.asarray(task.x)
    f = _function(task, expression, jax=jax)
    if task.form == "value":
        compiled = jax.jit(f)
        return Contestant(_label("jax"), "jax", lambda: compiled(x).block_until_ready(), np.asarray)
    backward, g = jax.jit(lambda g, x: jax.vjp(f, x)[1](g)[0]), jax.numpy.ones_like(x)
    return Contestant(_label("jax"), "jax", lambda: backward(g, x).block_until_ready(), np.asarray)


def _with_onnxruntime(task: Task, expression: str) -> Contestant:
    parameters = dict(zip(task.names, task.parameters, strict=True))
    f, x = session(expression, task.x.dtype, parameters), task.x
    return Contestant(_label("onnxruntime"), "onnxruntime", lambda: f(x), np.asarray)


def _with_mkl_umath(task: Task, expression: str) -> Contestant:
    ufuncs = importlib.import_module("mkl_umath._ufuncs")
    f, x = _function(task, expression, mkl_umath=ufuncs), task.x
    return Contestant(_label("mkl_umath"), "mkl_umath", lambda: f(x), np.asarray)


_BUILDERS: dict[str, Callable[[Task, str], Contestant]] = {
    "numpy": _with_numpy, "scipy": _with_scipy, "torch": _with_torch, "jax": _with_jax, "numexpr": _with_numexpr,
    "numba": _with_numba, "onnxruntime": _with_onnxruntime, "mkl_umath": _with_mkl_umath,
}  # fmt: skip
