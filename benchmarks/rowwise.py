"""Gates of two arrays and functions of rows beside their peers, those of them that this version has."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any

import errors
import numba_user
import numpy as np
from numba_user import SHAPE, data
from row_cases import CASES

import fastact
from fastact.accuracy import peers
from fastact.accuracy.onnx_peer import Operators
from fastact.accuracy.timing import interleaved
from fastact.precision import TIERS

PEERS = {
    "value": ("numpy", "scipy", "torch", "jax", "numexpr", "numba", "onnxruntime"),
    "gradient": ("torch", "jax"),
}
OPSET = 23
"""The first of ONNX that has RMSNormalization."""
COPY = "copy"
Row = dict[str, Any]
Call = Callable[[], Any]


def names() -> list[str]:
    """The functions that this version has."""
    return [name for name in CASES if hasattr(fastact, name)]


def has(name: str, label: str) -> bool:
    """Whether a library is installed and has the function."""
    if label == "numba":
        return label in peers.installed() and name in {*numba_user.ROWS, *numba_user.GATES}
    if label == "onnxruntime" and find_spec("onnx") is None:
        return False
    return label in peers.installed() and bool(getattr(CASES[name], label))


def used(expression: str, dtype: str) -> dict[str, Any]:
    """The arrays that an expression speaks of."""
    return {key: array for key, array in data(dtype).items() if re.search(rf"\b{key}\b", expression)}


# -- contestants ------------------------------------------------------------------------------------------------------
def contestant(name: str, form: str, dtype: str, label: str) -> Call:
    """The call of one who computes a value or a gradient."""
    if label in TIERS:
        return ours(name, dtype, form, label)
    if form == "gradient":
        return {"torch": _torch_gradient, "jax": _jax_gradient}[label](name, dtype)
    call = value(name, dtype, label)
    if errors.first(call()).dtype == dtype:
        return call
    return lambda: call().astype(dtype)  # it computes in float64


def ours(name: str, dtype: str, form: str, tier: str) -> Call:
    """Our own in a tier."""
    case = CASES[name]
    scope = {**data(dtype), "f": getattr(fastact, name), "t": tier}
    scope["y"] = eval(case.ours, scope)
    if scope["y"].shape != SHAPE:
        scope["g"] = scope["g"][:, 0]
    return eval(f"lambda: {case.ours if form == 'value' else case.backward}", scope)  # type: ignore[no-any-return]


def value(name: str, dtype: str, label: str) -> Call:
    """A peer's value."""
    if label == "numba":
        return numba_user.rows(name, dtype, fastmath=True)
    return _VALUES[label](getattr(CASES[name], label), dtype)


def _numpy(expression: str, dtype: str) -> Call:
    return eval(f"lambda: {expression}", {**data(dtype), "np": np})  # type: ignore[no-any-return]


def _scipy(expression: str, dtype: str) -> Call:
    importlib.import_module("scipy.special")
    return eval(f"lambda: {expression}", {**data(dtype), "scipy": importlib.import_module("scipy")})  # type: ignore[no-any-return]


def _tensors(dtype: str) -> dict[str, Any]:
    torch = importlib.import_module("torch")
    importlib.import_module("torch.nn.functional")
    return {"torch": torch, **{key: torch.from_numpy(array) for key, array in data(dtype).items()}}


def _torch(expression: str, dtype: str) -> Call:
    scope = _tensors(dtype)
    call = eval(f"lambda: {expression}", scope)

    def silent() -> Any:
        with scope["torch"].no_grad():
            return call()

    return silent


def _traced(expression: str, dtype: str) -> tuple[Any, Any, dict[str, Any]]:
    """JAX, the expression as a function of its arrays, and these."""
    jax = importlib.import_module("jax")
    for module in ("jax.numpy", "jax.nn"):
        importlib.import_module(module)
    if dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    arrays = {key: jax.numpy.asarray(array) for key, array in used(expression, dtype).items()}
    return jax, eval(f"lambda {', '.join(arrays)}: {expression}", {"jax": jax}), arrays


def _jax(expression: str, dtype: str) -> Call:
    jax, function, arrays = _traced(expression, dtype)
    compiled, given = jax.jit(function), list(arrays.values())
    return lambda: compiled(*given).block_until_ready()


def _numexpr(expression: str, dtype: str) -> Call:
    numexpr = importlib.import_module("numexpr")
    numexpr.set_num_threads(1)
    arrays = used(expression, dtype)
    # numbers in an expression are float64; whoever wants float32 gives them names
    numbers = dict.fromkeys(re.findall(r"(?<![\w.])\d+(?:\.\d+)?", expression))
    for place, text in enumerate(numbers):
        expression = re.sub(rf"(?<![\w.]){re.escape(text)}(?![\w.])", f"k{place}", expression)
        arrays[f"k{place}"] = np.dtype(dtype).type(text)
    return lambda: numexpr.evaluate(expression, arrays, {})


def _onnxruntime(expression: str, dtype: str) -> Call:
    onnx, runtime = importlib.import_module("onnx"), importlib.import_module("onnxruntime")
    helper, arrays = onnx.helper, used(expression, dtype)
    op = Operators(np.dtype(dtype))
    result = eval(expression, {**{key: key for key in arrays}, "op": op})
    axis = onnx.numpy_helper.from_array(np.array([-1]), "axis")
    constants = [*op.constants, *([axis] if "'axis'" in expression else [])]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    ends = [helper.make_tensor_value_info(key, kind, array.shape) for key, array in arrays.items()]
    shape = SHAPE[:1] if "keepdims=0" in expression else SHAPE
    graph = helper.make_graph(
        op.nodes, "expression", ends, [helper.make_tensor_value_info(result, kind, shape)], constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run([result], arrays)[0]


_VALUES: dict[str, Callable[[str, str], Call]] = {
    "numpy": _numpy, "scipy": _scipy, "torch": _torch, "jax": _jax, "numexpr": _numexpr, "onnxruntime": _onnxruntime,
}  # fmt: skip


def _torch_gradient(name: str, dtype: str) -> Call:
    """PyTorch's gradients of an incoming gradient g; the values that they need were kept."""
    case, scope = CASES[name], _tensors(dtype)
    leaves = [scope[key].requires_grad_() for key in case.over]
    y = eval(case.torch, scope)
    g = scope["g"] if y.shape == scope["g"].shape else scope["g"][:, 0]
    return lambda: scope["torch"].autograd.grad(y, leaves, g, retain_graph=True)


def _jax_gradient(name: str, dtype: str) -> Call:
    """JAX's, which computes the values once more."""
    case = CASES[name]
    jax, function, arrays = _traced(case.jax, dtype)
    others = {key: array for key, array in arrays.items() if key not in case.over}
    leaves = [arrays[key] for key in case.over]

    def backward(g: Any, others: dict[str, Any], *leaves: Any) -> Any:
        def of(*leaves: Any) -> Any:
            return function(**others, **dict(zip(case.over, leaves, strict=True)))

        return jax.vjp(of, *leaves)[1](g)

    compiled, g = jax.jit(backward), jax.numpy.asarray(data(dtype)["g"])
    g = g if jax.eval_shape(function, **arrays).shape == SHAPE else g[:, 0]
    return lambda: jax.block_until_ready(compiled(g, others, *leaves))


# -- errors -----------------------------------------------------------------------------------------------------------
@functools.lru_cache(maxsize=4)
def _truth(name: str, dtype: str, form: str) -> Any:
    return errors.truth(name, dtype, form)


def error(name: str, form: str, dtype: str, label: str, result: Any) -> float | None:
    """The largest error in ULP of a contestant's first results. That of a gradient that can be computed from the output
    is the error for the output which this contestant itself has."""
    if form == "gradient" and "backward_from_output" in CASES[name].backward:
        y = errors.first(contestant(name, "value", dtype, label)())
        return errors.of_array(result, errors.truth(name, dtype, form, y=y))
    return errors.of_array(result, _truth(name, dtype, form))


# -- measuring --------------------------------------------------------------------------------------------------------
def compare(names: Iterable[str], seconds: float, progress: Callable[[str], None]) -> list[Row]:
    """A row for each function, form and dtype; call it within `peers.one_thread`."""
    rows = []
    for name in names:
        for form in PEERS:
            for dtype in ("float32", "float64"):
                progress(f"{name} {form} {dtype}")
                rows.append(one(name, form, dtype, seconds))
    return rows


def one(name: str, form: str, dtype: str, seconds: float) -> Row:
    calls: dict[str, Call] = {}
    skipped, found = {}, {}
    for label in (*TIERS, *PEERS[form]):
        if label not in TIERS and not has(name, label):
            continue
        try:
            call = contestant(name, form, dtype, label)
            found[label] = error(name, form, dtype, label, call())
        except Exception as reason:  # the others are worth having; what lacks is seen
            skipped[label] = f"{type(reason).__name__}: {reason}".splitlines()[0]
            continue
        calls[label] = call
    calls[COPY] = _copy(CASES[name].moved[form == "gradient"], dtype)
    size = SHAPE[0] * SHAPE[1]
    best = {label: taken.best for label, taken in interleaved(calls, seconds).items()}
    return {
        "function": name,
        "form": form,
        "dtype": dtype,
        "activation": CASES[name].activation,
        "ns": {label: round(taken / size * 1e9, 4) for label, taken in best.items()},
        "ulp": {label: worst for label, worst in found.items() if worst is not None},
        "skipped": skipped,
    }


def _copy(arrays: int, dtype: str) -> Call:
    """A copy that reads and writes as many bytes as so many arrays have."""
    source = np.resize(data(dtype)["g"], SHAPE[0] * SHAPE[1] * arrays // 2)
    sink = np.zeros_like(source)
    return lambda: np.copyto(sink, source)
