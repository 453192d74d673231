"""Which floating-point flags a result justifies, from inputs and outputs alone.

The instructions of a kernel raise flags of their own (a clamp that compares a NaN, a square that underflows in the
middle of a polynomial). Those are cleared, and what stays is what the mathematics has: ``invalid`` for a NaN made
from numbers, ``divide`` for an infinity at a pole, ``overflow`` for an infinity elsewhere, ``underflow`` for a
result that is subnormal, or zero although no input is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from fastact.link import sixteen
from fastact.link.arithmetic import DOUBLE_FAST, SINGLE_FAST
from fastact.link.graph import Graph
from fastact.link.linker import Linking
from fastact.link.stored import on_stored_bits
from fastact.link.values import Condition

SMALLEST_NORMAL = {"float16": 2.0**-14, "bfloat16": 2.0**-126, "float32": 2.0**-126, "float64": 2.0**-1022}


def _either(conditions: list[Condition]) -> Condition:
    return functools.reduce(Condition.__or__, conditions)


def evidence(
    inputs: int,
    outputs: int,
    dtype: str,
    poles: Sequence[float] = (),
    roots: Sequence[float] = (),
    place: int = 0,
    summed: bool = False,
    everywhere: bool = False,
) -> Graph:
    """The graph of (inputs, outputs) whose results are the conditions invalid, divide, overflow, underflow.

    ``place`` is the position of x, to which the poles, and the roots besides 0, refer. ``summed``: the first two inputs
    are summands of what they refer to. ``everywhere``: other inputs, too, are infinite as those at poles are."""
    linking = Linking(DOUBLE_FAST if dtype == "float64" else SINGLE_FAST)
    values: list[Any] = [linking.receive(dtype) for _ in range(inputs + outputs)]
    given, results = values[:inputs], values[inputs:]
    infinite = float("inf")
    number = ~_either([x.is_nan() for x in given])
    finite = number & ~_either([abs(x).equals(infinite) for x in given])
    if summed:
        given = [given[0] + given[1], *given[2:]]
    never = Condition(linking, linking.graph.constant("i1", 0))
    at_pole = number if everywhere else _either([never, *(given[place].equals(pole) for pole in poles)])
    nonzero = ~_either([*(x.equals(0.0) for x in given), *(given[place].equals(root) for root in roots)])
    verdicts = []
    for y in results:
        boundless = abs(y).equals(infinite) & finite
        small = abs(y) < SMALLEST_NORMAL[dtype]
        vanished = finite & small & (nonzero | ~y.equals(0.0))
        verdicts.append((y.is_nan() & number, boundless & at_pole, boundless & ~at_pole, vanished))
    for kind in zip(*verdicts, strict=True):
        linking.alarm(_either(list(kind)))
    return on_stored_bits(linking.graph, dtype) if dtype in sixteen.DTYPES else linking.graph


def alarm(domain: tuple[float, float], poles: tuple[float, ...], place: int = 0) -> Callable[..., Condition] | None:
    """The body that marks inputs outside the domain or at a pole; None where every number is welcome."""
    edges = [edge for edge in domain if abs(edge) != float("inf")]
    if not edges and not poles:
        return None

    def marked(*arguments: Any) -> Condition:
        x = arguments[place]
        x = x.plain() if hasattr(x, "plain") else x
        x = x.hi if hasattr(x, "hi") else x
        conditions = [x.equals(pole) for pole in poles if pole not in edges]
        if domain[0] != float("-inf"):
            conditions.append(x.context.not_above(x, domain[0]))
        if domain[1] != float("inf"):
            conditions.append(x.context.not_above(x, domain[1], below=True))
        return _either(conditions)

    return marked
