"""The arguments of a call: ranges of parameters, the dtype that a Python number takes, and what was wrong with them."""

from __future__ import annotations

import functools
import math
import re
import reprlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fastact.kernels import Parameter, Rejection
from fastact.precision import ACCEPTED

NUMBERS = frozenset({float, int, bool})
"""Types whose values adapt to the dtype of the arrays they meet."""
OFFERED = "float16, bfloat16, float32 and float64"


_HOST = frozenset({np.ndarray, float, int, bool, str, type(None), np.float16, np.float32, np.float64})
"""Types whose values are not on a device."""


def elsewhere(args: Sequence[Any], options: dict[str, Any]) -> bool:
    """Whether an argument is an array on a CUDA device."""
    for value in (*args, *options.values()) if options else args:
        if type(value) not in _HOST:
            from fastact.cuda.arrays import on_device

            if on_device(value):
                return True
    return False


# -- ranges -----------------------------------------------------------------------------------------------------------
def check_range(name: str, parameter: Parameter, value: Any) -> None:
    """ValueError if a number of the value is outside the parameter's range; NaN is within every range."""
    if parameter.above is None and parameter.below is None:
        return
    above = -np.inf if parameter.above is None else parameter.above
    below = np.inf if parameter.below is None else parameter.below
    if type(value) in NUMBERS:
        if value <= above or value >= below:
            _out_of_range(name, parameter, value)
        return
    numbers = _numbers(value)
    if numbers is None:
        return
    for (block,) in _blocks([numbers]):
        outside = (block <= above) | (block >= below)
        if outside.any():
            _out_of_range(name, parameter, block[outside].flat[0])


def check_rejections(name: str, rejections: Sequence[Rejection], inputs: Sequence[Any], required: int) -> None:
    """ValueError if parameters, the inputs after the required ones, are at odds with one another or with the function.

    Where some are arrays, Python numbers are taken as what they become beside them and the other inputs."""
    values = [value if type(value) in NUMBERS else _numbers(value) for value in inputs[required:]]
    arrays = [value for value in values if isinstance(value, np.ndarray)]
    if len(arrays) < len(values):
        if arrays:
            others = [v for place, v in enumerate(inputs) if place < required or type(v) not in NUMBERS]
            dtype = working_dtype(others) or np.float64
            with np.errstate(all="ignore"):
                values = [np.asarray(value, dtype) if type(value) in NUMBERS else value for value in values]
        else:
            values = [value if value is None else _numbers(value) for value in values]
        if any(value is None for value in values):
            return
    for numbers in _blocks(values):
        for rejection in rejections:
            violated = np.asarray(rejection.violated(*numbers))
            if violated.any():
                violated, *numbers = np.broadcast_arrays(violated, *numbers)
                first = np.unravel_index(np.argmax(violated), violated.shape)
                code = rejection.violated.__code__  # type: ignore[attr-defined]
                words = re.findall(r"\w+", rejection.reason)
                told = [label for label in code.co_varnames if label in words] or code.co_varnames
                given = zip(code.co_varnames, numbers, strict=False)
                said = ", ".join(f"{label} = {value[first]!s}" for label, value in given if label in told)
                raise ValueError(f"{name}(): {rejection.reason}; given {said}")


def check_rounded(
    name: str,
    parameters: Sequence[Parameter],
    rejections: Sequence[Rejection],
    given: Sequence[Any],
    settled: Sequence[Any],
    required: int,
) -> None:
    """ValueError if a number is not allowed any more as it was rounded to the dtype of the other inputs, or to one that
    was asked for: a small one may be 0 there, a large one infinite."""
    became, lost = dict(enumerate(given)), []
    for place in range(required, len(settled)):
        before, after = given[place], settled[place]
        if after is before:
            continue
        if type(before) in NUMBERS:
            after = float(after)
            gone = (before, after) if after != before and (not after or math.isinf(after)) else None
        else:
            gone = _first_gone(_numbers(before), after)
        if gone:
            became[place] = after
            lost.append((place, *gone))
    if not lost:
        return
    try:
        for place, _, _ in lost:
            check_range(name, parameters[place - required], became[place])
        check_rejections(name, rejections, list(became.values()), required)
    except ValueError as error:
        said = ", ".join(f"{before!s} is {after!s} in {settled[k].dtype}" for k, before, after in lost)
        raise ValueError(f"{error}: {said}") from None


def _first_gone(before: Any, after: Any) -> tuple[Any, Any] | None:
    """The first number of an array that is 0 or infinite after a rounding, but was not before, and what it is then."""
    gone = ((after == 0) & (before != 0)) | (np.isinf(after) & ~np.isinf(before))
    if not gone.any():
        return None
    place = np.unravel_index(np.argmax(gone), gone.shape)
    return before[place], after[place]


def check_asked(
    name: str,
    parameters: Sequence[Parameter],
    rejections: Sequence[Rejection],
    given: Sequence[Any],
    options: dict[str, Any],
    required: int,
) -> None:
    """The same where options ask for a dtype, to which the ufunc will round parameters."""
    dtype = _asked(options)
    if dtype is not None:
        rounded = [value if place < required else _rounded(value, dtype) for place, value in enumerate(given)]
        check_rounded(name, parameters, rejections, given, rounded, required)


def _rounded(value: Any, dtype: np.dtype[Any]) -> Any:
    """What holds numbers of which a dtype has not all, rounded to it; the value itself elsewhere."""
    with np.errstate(all="ignore"):
        if type(value) in NUMBERS:
            return np.asarray(value, dtype)
        numbers = _numbers(value)
        return value if numbers is None or np.can_cast(numbers.dtype, dtype) else numbers.astype(dtype)


CLASSES: Any = type(np.dtype)
"""The type of classes of dtypes."""


def _asked(options: dict[str, Any]) -> np.dtype[Any] | None:
    """The dtype that options ask for; None where they do not, or for none that a ufunc here has."""
    found = options.get("signature", options.get("sig", options.get("dtype")))
    if isinstance(found, str):
        found = found.rpartition(">")[2]  # of "ff->f" the result's, which is that of all
    elif isinstance(found, tuple):
        found = next((each for each in found[::-1] if each is not None), None)
    try:
        found = found() if isinstance(found, CLASSES) else found
        return None if found is None else float_dtype(np.dtype(found))
    except TypeError:  # the ufunc will say so
        return None


def _numbers(value: Any) -> np.ndarray[Any, Any] | None:
    """The real numbers that a value holds; None for what holds none, or none yet, as a lazy array does."""
    graph = getattr(value, "__dask_graph__", None)
    if graph is not None and graph() is not None:
        return None
    masked = np.ma.getmask(value) if isinstance(value, np.ma.MaskedArray) else np.ma.nomask
    try:
        numbers = np.asarray(value)
    except (TypeError, ValueError):
        return None
    if numbers.dtype.kind not in "biuf" and numbers.dtype.name != "bfloat16":
        return None
    if masked is not np.ma.nomask:  # what counts for nothing is NaN, which is within every range
        numbers = numbers.astype(np.float64 if numbers.dtype.kind in "biu" else numbers.dtype)
        numbers[masked] = np.nan
    return numbers


_BLOCK = 1 << 13
"""Elements that are looked at together, so that large arrays need no more memory than small ones."""


def _blocks(numbers: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Numbers that broadcast, in pieces of a fixed size; bfloat16 is float32 there."""
    dtypes = [np.dtype(np.float32) if value.dtype.name == "bfloat16" else value.dtype for value in numbers]
    if math.prod(value.size for value in numbers) <= _BLOCK:
        yield [value.astype(dtype, copy=False) for value, dtype in zip(numbers, dtypes, strict=True)]
        return
    pieces = np.nditer(
        numbers,
        ["external_loop", "buffered", "zerosize_ok"],
        [["readonly"]] * len(numbers),
        op_dtypes=dtypes,
        casting="same_kind",
        buffersize=_BLOCK,
    )
    for piece in pieces:
        yield piece if len(numbers) > 1 else [piece]


def _out_of_range(name: str, parameter: Parameter, value: Any) -> None:
    low = "-inf" if parameter.above is None else f"{parameter.above:g}"
    high = "inf" if parameter.below is None else f"{parameter.below:g}"
    raise ValueError(f"{name}(): {parameter.name} is {value!s}, outside the open interval ({low}, {high})")


# -- dtypes -----------------------------------------------------------------------------------------------------------
@functools.cache
def float_dtype(dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """The dtype of np.exp's result for an input of the given dtype, if it is one that functions here have."""
    try:
        result = np.exp.resolve_dtypes((dtype, None))[1]
    except TypeError:
        return None
    return result if result.char in "efd" or result.name == "bfloat16" else None


def _dtypes(value: Any) -> list[np.dtype[Any]]:
    """The dtypes that a value brings into the result's; none for a Python number, which adapts."""
    dtype = getattr(value, "dtype", None)
    if isinstance(dtype, np.dtype):
        return [dtype]
    if type(value) in NUMBERS:
        return [np.dtype(bool)] if type(value) is bool else []
    if dtype is None and isinstance(value, (list, tuple)):
        return [np.asarray(value).dtype]
    return [d for d in getattr(value, "dtypes", ()) if isinstance(d, np.dtype)]


def working_dtype(values: Sequence[Any]) -> np.dtype[Any] | None:
    """The dtype of the result that these inputs would have by themselves, as np.exp finds it; None if that is open."""
    found = [float_dtype(dtype) for value in values for dtype in _dtypes(value)]
    if not found or any(dtype is None for dtype in found):  # not `in`: None equals float64
        return None
    if len(found) == 1:
        return found[0]
    try:
        return np.result_type(*found)  # type: ignore[arg-type]
    except TypeError:
        return None


def _foreign(value: Any) -> bool:
    """Whether the value is an array of another library, which may take scalars for more than it takes 0-d arrays."""
    return hasattr(value, "__array_ufunc__") and not isinstance(value, (np.ndarray, np.generic))


def settle(inputs: list[Any], required: int) -> list[Any]:
    """The inputs with parameters that are Python numbers given the dtype which the others have in common."""
    numbers = [place for place in range(required, len(inputs)) if type(inputs[place]) in NUMBERS]
    if numbers:
        dtype = working_dtype([value for place, value in enumerate(inputs) if place not in numbers])
        if dtype is not None:
            scalar = any(map(_foreign, inputs))
            for place in numbers:
                inputs[place] = dtype.type(inputs[place]) if scalar else np.asarray(inputs[place], dtype)
    return inputs


# -- errors -----------------------------------------------------------------------------------------------------------
OPTIONS = frozenset({"out", "where", "casting", "order", "dtype", "subok", "signature", "sig"})


def fault(
    name: str,
    names: Sequence[str],
    optional: int,
    args: Sequence[Any],
    options: dict[str, Any],
    further: Sequence[str] = (),
) -> str | None:
    """What is wrong with arguments that a ufunc would not take, as far as it can be told from them.

    ``optional`` counts the last of the names that have defaults; ``further`` are those that go by keyword only."""
    least = len(names) - optional
    if len(args) < least:
        missing = [n for n in names[len(args) : least] if n not in options]
        if missing:
            return f"{name}() is missing its argument{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
        return f"{name}() takes {', '.join(names[:least])} by position only"
    if len(args) > len(names) + 1:
        most = len(names) + 1
        hint = f"; by keyword only: {', '.join([*further, 'approx'])}" if further else ""
        return f"{name}() takes at most {most} positional arguments ({', '.join(names)}, out), not {len(args)}{hint}"
    if len(args) == len(names) + 1:
        text = misplaced(name, names, args[-1], further)
        if text is not None:
            return text
    unknown = [option for option in options if option not in OPTIONS]
    if unknown:
        known = ", ".join([*names[least:], *further, "approx", *sorted(OPTIONS - {"sig"})])
        return f"{name}() has no argument {', '.join(map(repr, unknown))}; by name it takes {known}"
    out = options.get("out")
    for value in out if type(out) is tuple else (out,):
        if value is not None and not isinstance(value, np.ndarray) and not _foreign(value):
            return f"{name}(): out has to be an array, not {type(value).__name__}"
    for label, value in zip(names, args, strict=False):
        for dtype in _dtypes(value) or ([np.asarray(value).dtype] if not _foreign(value) else []):
            if dtype.kind != "O" and float_dtype(dtype) is not None:
                continue
            hint = _HINTS.get(dtype.char, "")
            return f"{name}() takes {OFFERED} (booleans and integers become floats), but {label} is {dtype}{hint}"
    return None


def misplaced(name: str, names: Sequence[str], value: Any, further: Sequence[str] = ()) -> str | None:
    """What is wrong with a value in the place of ``out`` that is no array: it is meant for what goes by keyword."""
    if value is None or isinstance(value, np.ndarray) or _foreign(value):
        return None
    tier = type(value) in (bool, str) and value in ACCEPTED
    keywords = [] if type(value) is str else list(further)
    by_keyword = " or ".join(f"{keyword}={value!r}" for keyword in [*keywords, *(["approx"] if tier else [])])
    hint = f"by keyword it is {by_keyword}" if by_keyword else "out has to be an array"
    given = f"{reprlib.repr(value)} is in the place of out"
    return f"{name}() takes {', '.join(names)} and out by position, and {given}; {hint}"


_HINTS = {
    np.dtype(np.longdouble).char: "; convert it with .astype(np.float64)",
    "O": "; convert it with .astype(np.float64)",
}
