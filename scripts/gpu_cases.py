"""What `gpu_check.py` does with one kernel on a CUDA device: compares its bits with the CPU's, and takes its time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gpu_rows
import numpy as np

from fastact.cpu.kernels import inner_ufunc
from fastact.cpu.threads import SMALLEST
from fastact.cpu.threads import call as in_threads
from fastact.cuda import launch, package
from fastact.cuda.arrays import view
from fastact.cuda.kernels import Kernel, Layout
from fastact.kernels import GATES, REGISTRY
from fastact.link.arithmetic import TIERS
from fastact.link.forms import forms
from fastact.link.gates import ARGUMENTS, OUTPUTS

try:
    from numba import cuda
except ImportError:
    cuda = None
try:
    import ml_dtypes
except ImportError:
    ml_dtypes = None  # type: ignore[assignment]

DTYPES: dict[str, Any] = {"float16": np.float16, "float32": np.float32, "float64": np.float64}
if ml_dtypes is not None:
    DTYPES["bfloat16"] = ml_dtypes.bfloat16
ROUNDS = 7
Case = tuple[str, str, str, str]
"""Function, form, dtype, tier."""


# -- what there is to check -------------------------------------------------------------------------------------------
def cases(names: list[str]) -> list[Case]:
    """The values first, then products with the gradient, then everything else."""
    found: list[tuple[int, Case]] = []
    found += [(1, case) for case in gpu_rows.cases(names, list(DTYPES))]
    for name in names:
        if name in gpu_rows.NAMES:
            continue
        labels = list(ARGUMENTS) if name in GATES else list(forms(REGISTRY[name]))
        for form in labels:
            rank = {"value": 0, "usual_value": 0, "backward": 1, "usual_backward": 1}.get(form, 2)
            found += [(rank, (name, form, dtype, tier)) for dtype in DTYPES for tier in TIERS]
    return [case for _, case in sorted(found, key=lambda item: item[0])]


def shape_of(name: str, form: str) -> tuple[int, int, list[float], int]:
    """Number of array inputs, the place of x, the parameters, the number of outputs."""
    if name in GATES:
        return len(ARGUMENTS[form]), len(ARGUMENTS[form]) - 2, [], OUTPUTS[form]
    chosen = forms(REGISTRY[name])[form]
    return chosen.place + 1, chosen.place, [0.25 if p.default is None else p.default for p in chosen.parameters], 1


def numbers(dtype: str, count: int, seed: int = 0) -> Any:
    """All numbers of 16 bits; of others, bit patterns in equal steps, which meets every exponent."""
    kind = np.dtype(DTYPES[dtype])
    if kind.itemsize == 2:
        return np.arange(0, 65536, max(1, 65536 // count), dtype=np.uint16).view(kind)
    bits = kind.itemsize * 8
    patterns = np.arange(count, dtype=f"u{kind.itemsize}")
    low = np.random.default_rng(seed).integers(0, 2**bits // count, count, dtype=f"u{kind.itemsize}")
    return (patterns * np.array(2**bits // count, patterns.dtype) + low).view(kind)


def operands(case: Case, count: int) -> list[Any]:
    """Arrays for the inputs, and numbers for the parameters."""
    name, form, dtype, _ = case
    arrays, place, parameters, _ = shape_of(name, form)
    x, rng = numbers(dtype, count), np.random.default_rng(1)
    kind = np.dtype(DTYPES[dtype])
    more = [(3 * rng.standard_normal(len(x), np.float32)).astype(kind) if k != place else x for k in range(arrays)]
    return more + [np.array(value, kind) for value in parameters]


def different(a: Any, b: Any) -> Any:
    """Where bits differ; one NaN is as good as another."""
    kind = f"u{a.itemsize}"
    found = np.nonzero(a.view(kind) != b.view(kind))[0]
    with np.errstate(invalid="ignore"):
        nan = np.isnan(a[found].astype(np.float64)) & np.isnan(b[found].astype(np.float64))
    return found[~nan]


# -- running a kernel -------------------------------------------------------------------------------------------------
def on_cpu(case: Case, values: list[Any]) -> tuple[Any, ...]:
    ufunc = inner_ufunc(case[0], case[1], case[3])
    with np.errstate(all="ignore"):
        x = values[0]
        found = in_threads(ufunc, tuple(values), {}, x) if x.size >= SMALLEST else ufunc(*values)
    return found if isinstance(found, tuple) else (found,)


class Runner:
    """A kernel with its operands on the device."""

    def __init__(self, case: Case, values: list[Any], on_device: Callable[[Any], Any]) -> None:
        name, form, dtype, tier = case
        _, _, _, outputs = shape_of(name, form)
        x = next(v for v in values if v.ndim)
        self.arrays = [on_device(v) for v in values if v.ndim]
        self.outs = [on_device(np.empty_like(x)) for _ in range(outputs)]
        kinds = "".join("v" if v.ndim else "c" for v in values)
        self.kernel = Kernel(name, form, dtype, tier, Layout(kinds, outputs=outputs))
        given = iter(self.arrays)
        self.arguments = [address(next(given)) if v.ndim else bits(v) for v in values]
        self.arguments += [*map(address, self.outs), len(x)]
        self.indices = -(-len(x) // self.kernel.lanes)

    def __call__(self) -> None:
        launch.launch(self.kernel, self.indices, self.arguments, None, None)


def address(array: Any) -> int:

    return view(array).address


def bits(value: Any) -> int:
    return int(np.reshape(value, 1).view(f"i{value.itemsize}")[0])


def compare(case: Case, count: int) -> dict[str, Any]:
    """The bits of one kernel."""
    if case[1] == gpu_rows.FORM:
        return gpu_rows.compare(case, count, np.dtype(DTYPES[case[2]]), cuda.to_device, different)
    values = operands(case, count)
    expected = on_cpu(case, values)
    kept = [as_stored(v) if v.ndim else v for v in values]
    runner = Runner(case, kept, cuda.to_device)
    runner()
    result: dict[str, Any] = {"case": case, "inputs": len(values[0]), "different": 0}
    for out, reference in zip(runner.outs, expected, strict=True):
        got = np.asarray(out.copy_to_host()).view(reference.dtype)
        wrong = different(got, reference)
        result["different"] += len(wrong)
        if len(wrong):
            first = int(wrong[0])
            result["witness"] = [repr(v[first]) if v.ndim else repr(v) for v in values]
            result["got"], result["expected"] = repr(got[first]), repr(reference[first])
    return result


def as_stored(array: Any) -> Any:
    """An array that Numba copies to the device: bfloat16 as a dtype that it knows, of the same bits."""
    return array.view(np.float16) if array.dtype.name == "bfloat16" else array


def every(name: str, tier: str, until: float) -> dict[str, Any]:
    """All numbers of float32."""
    total, done, block = 0, 0, 1 << 26
    case = (name, "value", "float32", tier)
    witness = ""
    for start in range(0, 1 << 32, block):
        if time.time() > until:
            break
        x = np.arange(start, start + block, dtype=np.uint32).view(np.float32)
        runner = Runner(case, [x], cuda.to_device)
        runner()
        (expected,) = on_cpu(case, [x])
        wrong = different(runner.outs[0].copy_to_host(), expected)
        total, done = total + len(wrong), done + block
        if len(wrong):
            witness = repr(x[wrong[0]])
    return {"case": case, "inputs": done, "different": total, "witness": witness}


# -- time -------------------------------------------------------------------------------------------------------------
def seconds(call: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """The shortest time of some calls, by the device's clock."""
    call()
    cuda.synchronize()
    best = float("inf")
    for _ in range(1 if package.simulated() else rounds):
        if package.simulated():
            began = time.perf_counter()
            call()
            best = min(best, time.perf_counter() - began)
            continue
        start, end = cuda.event(timing=True), cuda.event(timing=True)
        start.record()
        call()
        end.record()
        end.synchronize()
        best = min(best, start.elapsed_time(end) / 1e3)
    return best


def copy_bandwidth(bytes_: int) -> float:
    """Bytes read and written per second by a copy within the device."""
    a, b = (cuda.device_array(bytes_ // 4, np.float32) for _ in range(2))
    return 2 * bytes_ / seconds(lambda: b.copy_to_device(a))


class Buffers:
    """Arrays on the device that the measurements of a dtype share."""

    def __init__(self, count: int) -> None:
        self.count, self.dtype = count, ""
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    def of(self, dtype: str, inputs: int, outputs: int) -> list[Any]:
        if dtype != self.dtype:
            self.inputs, self.outputs, self.dtype = [], [], dtype
        stored = np.dtype(DTYPES[dtype])
        kind = np.dtype(np.float16) if dtype == "bfloat16" else stored
        while len(self.inputs) < inputs:
            sample = min(self.count, 1 << 20)
            values = 3 * np.random.default_rng(len(self.inputs)).standard_normal(sample, np.float32)
            array = cuda.device_array(self.count, kind)
            array[:sample].copy_to_device(values.astype(stored).view(kind))
            while sample < self.count:  # what is there, once more behind it
                more = min(sample, self.count - sample)
                array[sample : sample + more].copy_to_device(array[:more])
                sample += more
            self.inputs.append(array)
        while len(self.outputs) < outputs:
            self.outputs.append(cuda.device_array(self.count, kind))
        return [*self.inputs[:inputs], *self.outputs[:outputs]]


def speed(case: Case, buffers: Buffers, bandwidth: float) -> dict[str, Any]:
    """The share of a copy's bandwidth that a kernel reaches."""
    if case[1] == gpu_rows.FORM:
        return gpu_rows.speed(case, buffers, bandwidth, seconds, cuda.to_device)
    name, form, dtype, _ = case
    arrays, _, parameters, outputs = shape_of(name, form)
    stored, count = np.dtype(DTYPES[dtype]), buffers.count
    numbers = [np.array(p, stored) for p in parameters]
    small: list[Any] = [np.zeros(1, np.float16 if dtype == "bfloat16" else stored)] * arrays
    runner = Runner(case, small + numbers, cuda.to_device)
    given = [address(buffer) for buffer in buffers.of(dtype, arrays, outputs)]
    runner.arguments = [*given[:arrays], *map(bits, numbers), *given[arrays:], count]
    runner.indices = -(-count // runner.kernel.lanes)
    best = seconds(runner)
    moved = (arrays + outputs) * count * stored.itemsize
    return {"case": case, "elements": count, "seconds": best, "share": moved / best / bandwidth}
