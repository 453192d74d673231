"""What `gpu_check.py` does with a program over rows: compares its bits with the CPU's, and takes its time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from fastact.cpu.rows import calls as cpu_rows
from fastact.cuda import launch
from fastact.cuda.arrays import ITEMSIZE, view
from fastact.cuda.rows.layout import linked
from fastact.cuda.rows.plan import Rows, plan
from fastact.kernels.programs import PROGRAMS
from fastact.link.arithmetic import TIERS

NAMES = (
    "softmax", "layer_norm_weight_bias", "rms_norm_weight", "softmax_backward", "layer_norm_backward_weight",
    "rms_norm_backward_weight", "log_softmax", "log_softmax_backward", "logsumexp", "logsumexp_backward", "batch_norm",
    "sparsemax", "norm_parameters",
)  # fmt: skip
FORM = "rows"
SHAPES = ((67, 40), (3, 20_000), (100, 200))
"""Of which each program meets one, besides rows of 1,000 and 4,096; the last one is transposed."""
Case = tuple[str, str, str, str]


def cases(names: list[str], dtypes: list[str]) -> list[Case]:
    return [(name, FORM, dtype, tier) for name in NAMES if name in names for dtype in dtypes for tier in TIERS]


def program(case: Case) -> str:
    """The variant of a program that a dtype takes."""
    name, _, dtype, _ = case
    return f"{name}_scaled" if dtype == "float64" and f"{name}_scaled" in PROGRAMS else name


def arrays(case: Case, shape: tuple[int, int], kind: Any, turned: bool = False) -> tuple[list[Any], list[Any]]:
    """Inputs, and outputs of nothing; ``turned``: the rows lie beside one another."""
    facts, found, rng = PROGRAMS[program(case)], linked(program(case), *case[2:]), np.random.default_rng(5)
    count, length = shape

    def made(shape: tuple[int, ...], kind: Any) -> Any:
        return (3 * rng.standard_normal(shape, np.float32)).astype(kind)

    given = [made((length, count), kind).T if turned else made(shape, kind) for _ in facts.elements]
    last = given[-1]
    for k, value in enumerate((np.nan, np.inf, -np.inf)[: count - 2]):
        last[k + 1, k] = value
    given += [made((length,), np.float64 if c in facts.widened else kind) for c in facts.columns]
    given += [np.abs(made((count,), kind)) for _ in facts.rows]
    outs = [np.zeros_like(given[0]) for _ in range(len(found.result.outputs) if found.result else 0)]
    wide = np.float64 if facts.wide_totals else kind
    return given, outs + [np.zeros(count, wide) for _ in range(len(found.totals.outputs) if found.totals else 0)]


class Runner:
    """A program with its operands on the device."""

    def __init__(self, case: Case, shape: tuple[int, int], moved: list[Any], strides: list[tuple[int, ...]]) -> None:
        name, dtype, tier = program(case), case[2], case[3]
        facts = PROGRAMS[name]
        columns = range(len(facts.elements), len(facts.elements) + len(facts.columns))
        operands = []
        for k, (array, steps) in enumerate(zip(moved, strides, strict=True)):
            address = view(array).address
            operands.append(Rows(address, (), steps[0]) if k in columns else Rows(address, *_split(steps)))
        numbers = [int(np.array(1e-5).view(np.int64))] * len(facts.numbers)
        self.launches = list(plan(name, dtype, tier, shape[1], shape[:1], operands, numbers))

    def __call__(self) -> None:
        for found in self.launches:
            launch.launch_rows(found, None, None)


def _split(steps: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    return (steps[:1], steps[1]) if len(steps) == 2 else (steps, 0)


def on_device(array: Any, put: Callable[[Any], Any]) -> Any:
    """The memory of an array as it lies; of bfloat16 as a dtype that Numba knows, of the same bits."""
    base = array.T if array.ndim == 2 and array.flags.f_contiguous and not array.flags.c_contiguous else array
    return put(base.view(np.float16) if base.dtype.name == "bfloat16" else base)


def compare(
    case: Case, count: int, kind: Any, put: Callable[[Any], Any], different: Callable[..., Any]
) -> dict[str, Any]:
    """The bits of one program."""
    turn = NAMES.index(case[0]) + ("exact", "fast", "rough").index(case[3])
    other = SHAPES[turn % 3]
    shapes = [((33, 1000), False), ((9, 4096), False), (other, turn % 3 == 2)] if count > 4096 else [((3, 20), False)]
    result: dict[str, Any] = {"case": case, "inputs": 0, "different": 0}
    for shape, turned in shapes:
        given, outs = arrays(case, shape, kind, turned)
        expected = [np.zeros_like(out) for out in outs]
        numbers = (1e-5,) * len(PROGRAMS[program(case)].numbers)
        cpu_rows.apply(program(case), case[3], case[2], [*given, *expected], numbers)
        moved = [on_device(a, put) for a in (*given, *outs)]
        Runner(case, shape, moved, [a.strides for a in (*given, *outs)])()
        for place, one in enumerate(expected):
            got = np.asarray(moved[len(given) + place].copy_to_host())
            got = got.view(one.dtype) if one.dtype.name == "bfloat16" else got
            one = one.T if got.shape != one.shape else one
            wrong = different(np.ravel(got), np.ravel(one))
            result["inputs"] += one.size
            result["different"] += len(wrong)
            if len(wrong):
                result["witness"] = [list(shape), turned, int(wrong[0])]
                result["got"], result["expected"] = repr(np.ravel(got)[wrong[0]]), repr(np.ravel(one)[wrong[0]])
    return result


def shape_for(elements: int) -> tuple[int, int]:
    """8,192 rows of 4,096, or what there is room for."""
    length = 4096 if elements >= 1 << 20 else 16
    return max(1, min(8192, elements // length)), length


def speed(
    case: Case, buffers: Any, bandwidth: float, seconds: Callable[..., float], put: Callable[..., Any]
) -> dict[str, Any]:
    """The share of a copy's bandwidth that a program reaches, counting each element's bytes once."""
    name, dtype = program(case), case[2]
    facts, found = PROGRAMS[name], linked(name, dtype, case[3])
    count, length = shape_for(buffers.count)
    size, results = ITEMSIZE[dtype], len(found.result.outputs) if found.result else 0
    big = iter(buffers.of(dtype, len(facts.elements), results))
    kind = {2: np.float16, 4: np.float32, 8: np.float64}
    moved: list[Any] = [next(big) for _ in facts.elements]
    strides: list[tuple[int, ...]] = [(length * size, size)] * len(facts.elements)
    for label in facts.columns:
        own = 8 if label in facts.widened else size
        moved.append(put(np.zeros(length, kind[own])))
        strides.append((own,))
    for _ in facts.rows:
        moved.append(put(np.zeros(count, kind[size])))
        strides.append((size,))
    moved += [next(big) for _ in range(results)]
    strides += [(length * size, size)] * results
    for _ in found.totals.outputs if found.totals else ():
        own = 8 if facts.wide_totals else size
        moved.append(put(np.zeros(count, kind[own])))
        strides.append((own,))
    best = seconds(Runner(case, (count, length), moved, strides))
    bytes_ = (len(facts.elements) + results) * count * length * size
    return {"case": case, "shape": [count, length], "seconds": best, "share": bytes_ / best / bandwidth}


def peers(
    names: list[str], elements: int, bandwidth: float, seconds: Callable[..., float], until: float
) -> list[dict[str, Any]]:
    """PyTorch's own functions of rows, and CuPy's softmax, as shares of a copy's bandwidth."""
    count, length = shape_for(elements)
    found: list[dict[str, Any]] = []

    def take(peer: str, name: str, dtype: str, call: Callable[[], Any], bytes_: int) -> None:
        if name in names and time.time() < until:
            with contextlib.suppress(Exception):  # some are not there in every version
                found.append(
                    {"peer": peer, "function": name, "dtype": dtype, "share": bytes_ / seconds(call) / bandwidth}
                )

    with contextlib.suppress(ImportError):
        import torch

        functional = torch.nn.functional
        for dtype in ("float32", "float16", "bfloat16") if torch.cuda.is_available() else ():
            x = torch.randn((count, length), device="cuda").to(getattr(torch, dtype))
            w, moved = torch.ones(length, device="cuda", dtype=x.dtype), 2 * x.numel() * x.element_size()
            ways: dict[str, Callable[[], Any]] = {
                "softmax": lambda x=x: torch.softmax(x, -1),
                "log_softmax": lambda x=x: torch.log_softmax(x, -1),
                "layer_norm_weight_bias": lambda x=x, w=w: functional.layer_norm(x, (length,), w, w),
                "rms_norm_weight": lambda x=x, w=w: functional.rms_norm(x, (length,), w),
            }
            for name, way in ways.items():
                take("torch", name, dtype, way, moved)
            take("torch", "logsumexp", dtype, lambda x=x: torch.logsumexp(x, -1), moved // 2)
    with contextlib.suppress(ImportError):
        import cupy
        from cupyx.scipy.special import softmax

        y = cupy.random.standard_normal((count, length), dtype=cupy.float32)
        take("cupy", "softmax", "float32", lambda: softmax(y, axis=-1), 2 * y.nbytes)
    return found
