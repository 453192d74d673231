"""What the commands have in common in their arguments: names, tiers, dtypes, parameters and data files."""

from __future__ import annotations

import argparse
import difflib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from fastact.kernels import ALIASES, REGISTRY, Declaration
from fastact.link.arithmetic import DTYPES
from fastact.precision import TIERS

FILE_DTYPES = ("float16", "float32", "float64")
PEERS = ("numpy", "scipy", "torch", "jax", "numexpr", "numba")


class Problem(Exception):
    """The arguments make no sense; the message is one line that says what is allowed."""


class Parser(argparse.ArgumentParser):
    """An argument parser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"fastact: {message} (see {self.prog} --help)\n")


def declaration(name: str) -> Declaration:
    """The function of a name or alias."""
    found = REGISTRY.get(ALIASES.get(name, name))
    if found is not None:
        return found
    known = [*REGISTRY, *ALIASES]
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(sorted(REGISTRY))}"
    raise Problem(f"no function {name!r}; {hint}")


def choices(text: str | None, allowed: Sequence[str], what: str) -> list[str]:
    """A comma-separated selection in the order given; all if there is none."""
    if text is None:
        return list(allowed)
    chosen = [part.strip() for part in text.split(",") if part.strip()]
    for part in chosen:
        if part not in allowed:
            raise Problem(f"unknown {what} {part!r}; allowed: {', '.join(allowed)}")
    return list(dict.fromkeys(chosen))


def tiers(text: str | None) -> list[str]:
    found = choices(text, TIERS, "tier")
    if not found:
        raise Problem(f"no tier named; allowed: {', '.join(TIERS)}")
    return found


def peers(text: str | None) -> list[str]:
    """The libraries to compare with: the installed ones of a selection, or all that are installed."""
    from fastact.accuracy.peers import installed

    there = installed()
    if text is None:
        return list(there)
    chosen = choices(text, PEERS, "peer")
    for name in chosen:
        if name not in there:
            raise Problem(f"peer {name!r} is not installed; there are {', '.join(there)}")
    return chosen


def dtype_name(text: str) -> str:
    """A dtype by its name, one that works on this machine."""
    if text not in DTYPES:
        raise Problem(f"unknown dtype {text!r}; allowed: {', '.join(DTYPES)}")
    if text == "bfloat16":
        try:
            import ml_dtypes  # noqa: F401
        except ImportError:
            raise Problem("bfloat16 needs ml_dtypes: python -m pip install ml_dtypes") from None
    return text


def positive(text: str) -> int:
    """A count; also as 1e6."""
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
    if not (1 <= number < 2**48) or number != int(number):
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 1 up")
    return int(number)


def duration(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return number


def parameters(function: Declaration, settings: Sequence[str]) -> dict[str, float]:
    """Parameters given as NAME=VALUE."""
    known = {p.name: p for p in function.parameters}
    found = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        if name not in known:
            allowed = f"it has {', '.join(known)}" if known else "it has none"
            raise Problem(f"{function.name} has no parameter {name!r}; {allowed}")
        try:
            value = float(text)
        except ValueError:
            raise Problem(f"--set takes NAME=NUMBER, not {setting!r}") from None
        low, high = known[name].above, known[name].below
        if (low is not None and value <= low) or (high is not None and value >= high):
            within = f"({-math.inf if low is None else low}, {math.inf if high is None else high})"
            raise Problem(f"parameter {name} of {function.name} is {value:g}; it must lie in {within}")
        found[name] = value
    return found


def load(path: str) -> np.ndarray[Any, Any]:
    """The floats of a .npy file, in the machine's byte order."""
    file = Path(path)
    needed = "a .npy file of float16, float32 or float64"
    if not file.is_file():
        raise Problem(f"{path}: {'is a folder' if file.is_dir() else 'no such file'}; --input takes {needed}")
    try:
        with file.open("rb") as opened:
            if opened.read(6) != b"\x93NUMPY":
                raise Problem(f"{path}: not a .npy file; --input takes {needed}")
        array = np.load(file, allow_pickle=False)
    except OSError as error:
        raise Problem(f"{path}: {error.strerror or error}; --input takes {needed}") from None
    except (ValueError, EOFError) as error:
        held = "holds Python objects" if "allow_pickle" in str(error) else "damaged"
        raise Problem(f"{path}: {held}; --input takes {needed}") from None
    if array.dtype.name not in FILE_DTYPES:
        raise Problem(f"{path}: dtype {array.dtype}; allowed: {', '.join(FILE_DTYPES)}")
    if array.size == 0:
        raise Problem(f"{path}: holds no elements (shape {array.shape}); --input takes {needed}")
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")
