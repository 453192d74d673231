"""Correct rounding to 16 bits.

float32 has 13 or 16 bits more than the result, so that a value known to a few units in its last place nearly always
shows which way to round. Where it does not, float64 says, and where that does not either, a pair of words.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastact.link.arithmetic import DOUBLE_WIDE, PAIR, Arithmetic
from fastact.link.graph import Node
from fastact.link.single import pair_to_odd
from fastact.link.values import Condition, Integer, Real, round_to_dtype

if TYPE_CHECKING:
    from fastact.link.linker import Linking

DTYPES = ("float16", "bfloat16")
WIDENED = {"float16": "half_to_single", "bfloat16": "bfloat_to_single"}
NARROWED = {"float16": "single_to_half", "bfloat16": "single_to_bfloat"}
AWAY = "single_to_bfloat_away"
"""Rounds to bfloat16, and ties away from zero: one addition to the bits."""
UNITS = 4
"""How many units in the last place a value in float32 may be wrong: what ``fast`` promises of float32."""
RELATIVE = 2.0**-21
"""The same for float16, relative to the value."""
AT_ROOTS = 2.0**-22
"""Absolute error where digits cancel: four units of terms below 1/2."""


def narrowed(context: Any, value: Real, dtype: str, away: bool = False) -> Node:
    """A float32 rounded to 16 bits. ``away``: ties of bfloat16 may be rounded either way, unless the float32 shows on
    which side of every boundary the result is."""
    op = NARROWED[dtype]
    if dtype == "bfloat16" and is_sixteen(value.node, dtype):
        op = "upper_half"
    elif dtype == "bfloat16" and away and not rounds_well(value.node, dtype):
        op = AWAY
    return context.graph.node(op, "i16", value.node)  # type: ignore[no-any-return]


def decide(linking: Linking, y: Real, dtype: str, wide: Callable[[], Real], pairs: Callable[[], Real] | None) -> Node:
    """The correctly rounded result of a value in float32. ``wide`` and ``pairs`` make the same value in float64 and in
    a pair of words, rounded to float32 such that a further rounding is as if done at once."""
    if rounds_well(y.node, dtype):
        return narrowed(linking, y, dtype)
    size = abs(y)
    if dtype == "float16":
        above, below = _around(linking, y, RELATIVE, dtype)
        near = _different(linking, above, below)
        return linking.graph.node("select", "i16", near.node, narrowed(linking, wide(), dtype), above, data="rare")
    # Nearest to a boundary of bfloat16 are the float32 numbers that end in 0x8000.
    near = ((y.bits() + (0x8000 + UNITS)) & 0xFFFF).compare("sle", 2 * UNITS)
    if linking.doubts:
        near = near | _different(linking, *_around(linking, y, 0.0, dtype))
    result = y.unless(near, wide())
    if pairs is not None:
        # x/2 and a little more lies as near to a boundary as one likes if x is subnormal.
        result = result.unless(near & (size < 2.0**-125) & (size > 2.0**-140), pairs())
    return narrowed(linking, result, dtype)


def _around(linking: Linking, y: Real, relative: float, dtype: str) -> tuple[Node, Node]:
    """A little more and a little less than y, rounded."""
    above, below = (y * (1.0 + d) if d else y for d in (relative, -relative))
    if linking.doubts:
        doubtful = functools.reduce(Condition.__or__, linking.doubts)
        error = linking.real(AT_ROOTS).copysign(y)
        above, below = (above + error).choose(doubtful, above), (below - error).choose(doubtful, below)
    return narrowed(linking, above, dtype), narrowed(linking, below, dtype)


def _different(linking: Linking, a: Node, b: Node) -> Condition:
    return Condition(linking, linking.graph.node("icmp", "i1", a, b, data="ne"))


def rounds_well(node: Node, dtype: str) -> bool:
    """Whether a float32 can be rounded to 16 bits without further ado: because it has no more, or is the result of one
    operation on such numbers, which 24 bits show on the right side of every boundary of 11 or 8. Quotients of bfloat16
    may be subnormal numbers, of which float32 has fewer bits."""
    if node.op == "select":
        return all(rounds_well(a, dtype) for a in node.args[1:])
    if node.op in ("fneg", "fabs", "copysign"):
        return rounds_well(node.args[0], dtype)
    good = ("fadd", "fsub", "fmul", "sqrt", *(("fdiv",) if dtype == "float16" else ()))
    return is_sixteen(node, dtype) or (node.op in good and all(is_sixteen(a, dtype) for a in node.args))


def is_sixteen(node: Node, dtype: str) -> bool:
    """Whether a float32 is known to be a number of a dtype of 16 bits."""
    if node.op == "select":
        return all(is_sixteen(a, dtype) for a in node.args[1:])
    if node.op in ("fneg", "fabs", "copysign"):
        return is_sixteen(node.args[0], dtype)
    if node.op == "constant" and node.type == "f32":
        value = float.fromhex(str(node.data))
        finite = abs(value) < 2.0**15
        return bool(round_to_dtype(value, dtype) == value) if finite else value != value or abs(value) == float("inf")
    return node.op == WIDENED[dtype]


# -- rounded to odd on the way --------------------------------------------------------------------------------------
def round_to_odd(x: Real) -> Real:
    """float64 to float32 such that a further rounding to 16 bits is as if done at once."""
    y = x.convert("f32")
    back = y.convert("f64")
    bits = y.bits()
    wide_one = Integer(x.context, x.context.graph.constant("i32", 1))
    too_far = wide_one.choose(abs(back) > abs(x), 0)
    inexact = wide_one.choose(back.equals(x) | x.is_nan(), 0) ^ 1
    return ((bits - too_far) | inexact).as_real()


def narrowed_to_odd(y: Real, dtype: str) -> Node:
    """A float64 rounded to 16 bits."""
    return narrowed(y.context, round_to_odd(y), dtype)


def in_words(again: Callable[[Arithmetic], tuple[Any, ...]], place: int, dtype: str = "") -> Real:
    """A result in float64, rounded to float32 so that a further rounding is as if done at once. Of forms of several
    inputs, the ``dtype`` of which is given then, nobody has tried all: their close cases are decided in pairs."""
    y = again(DOUBLE_WIDE)[place]
    if not dtype:
        return round_to_odd(y)
    y = y.context.word_of(y)
    near = y.context.doubtful(y, functools.partial(narrowed_to_odd, dtype=dtype))
    return round_to_odd(y).unless(near, in_pairs(again, place))


def in_pairs(again: Callable[[Arithmetic], tuple[Any, ...]], place: int) -> Real:
    """A result in a pair of words, likewise."""
    return round_to_odd(pair_to_odd(again(PAIR)[place]))
