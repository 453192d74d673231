"""Parameters outside their ranges are refused however they are given, also after many calls that were not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fastact
from fastact.function import FUNCTIONS, Summed

bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
inf = np.inf
GOOD: dict[str, tuple[float, ...]] = {
    "softplus": (2.0,),
    "celu": (2.0,),
    "snake": (2.0,),
    "rrelu": (0.125, 0.5),
    "hardtanh": (-2.0, 2.0),
    "hardshrink": (1.0,),
    "softshrink": (1.0,),
    "squareplus": (2.0,),
    "xielu": (0.25, -1.0, 0.5, -0.5),
}
BAD: dict[str, list[tuple[float, ...]]] = {
    "softplus": [(0.0,), (-0.0,), (-1.0,), (inf,), (-inf,)],
    "celu": [(0.0,), (-0.0,)],
    "snake": [(0.0,), (-0.0,)],
    "rrelu": [(0.5, 0.25), (-inf, 0.5), (0.125, inf), (1.0, -1.0)],
    "hardtanh": [(1.0, -1.0), (0.5, 0.25), (inf, -inf), (inf, 1.0)],
    "hardshrink": [(-0.5,), (-inf,)],
    "softshrink": [(-0.5,), (-inf,)],
    "squareplus": [(-1.0,), (-inf,)],
    "xielu": [(0.25, -1.0, 0.5, 1.0), (0.25, -1.0, 0.5, inf)],
}
NUMBERS = [np.float16, np.float32, np.float64, bfloat16]


def doors(name: str) -> Iterator[tuple[Any, int]]:
    """All forms that users call, and how many arguments come before the parameters."""
    function = FUNCTIONS[name]
    for form in ("", *(n for n in dir(function) if n.startswith(("grad", "backward")))):
        yield getattr(function, form) if form else function, 1 + form.startswith("backward")


def kinds(value: float) -> Iterator[Any]:
    """A number in all shapes and dtypes."""
    yield from (value, [value, value], np.array([[value]]), np.array([np.nan, value]))
    if np.isfinite(value) and value == int(value):
        yield int(value)
    for number in NUMBERS:
        yield from (number(value), np.array(value, number))


def options(door: Any, dtype: Any) -> Iterator[dict[str, Any]]:
    yield {}
    if not isinstance(door, Summed):
        out = np.empty(2, dtype)
        yield from ({"out": out, "casting": "unsafe"}, {"where": np.ones(2, bool)}, {"dtype": np.float64})


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("name", GOOD)
def test_what_is_out_of_range_is_refused_whatever_was_called_before(name: str, dtype: Any) -> None:
    x = np.array([0.5, 1.5], dtype)
    names, refused = list(FUNCTIONS[name].parameters), rf"{name}.*\b({'|'.join(FUNCTIONS[name].parameters)})\b"
    for door, leading in doors(name):
        arrays = [x] * leading

        def by_place(*values: Any, door: Any = door, arrays: Any = arrays, **more: Any) -> Any:
            return door(*arrays, *values, **more)

        def by_name(*values: Any, door: Any = door, arrays: Any = arrays, **more: Any) -> Any:
            return door(*arrays, **dict(zip(names, values, strict=True)), **more)

        for call in (by_place, by_name):
            for _ in range(4):  # from the third on they do not come to Python
                first = np.asarray(call(*GOOD[name]))
            for bad in BAD[name]:
                _refused(call, bad, refused, list(options(door, dtype)))
            assert np.asarray(call(*GOOD[name])).tobytes() == first.tobytes()


def _refused(call: Callable[..., Any], bad: tuple[float, ...], said: str, given: list[dict[str, Any]]) -> None:
    for place in range(len(bad)):
        for kind in kinds(bad[place]):
            values = (*bad[:place], kind, *bad[place + 1 :])
            for more in given:
                with pytest.raises(ValueError, match=said):
                    call(*values, **more)


def test_classes_of_dtypes_are_dtypes() -> None:
    x, kind = np.array([-1.0]), np.dtypes.Float32DType
    assert fastact.softplus(x, 2.0, dtype=kind).dtype == np.float32
    for call in (
        lambda: fastact.softplus(x, 1e-60, dtype=kind),
        lambda: fastact.celu(x, 1e-60, signature=(None, None, kind)),
    ):
        with pytest.raises(ValueError, match=r"1e-60 is 0\.0 in float32"):
            call()
