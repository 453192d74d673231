"""Results that are rounded but once: a selection among inputs, exact constants and single operations on them.

Constants may be computed from others, as long as nothing is rounded.

They are correctly rounded in single words as they come, and nothing is gained by working at twice the precision.
"""

from __future__ import annotations

import operator
from fractions import Fraction
from math import isfinite

from fastact.link.graph import Node
from fastact.link.values import Context, round_to_word

ROUNDING = ("fadd", "fsub", "fmul", "fdiv", "fma", "sqrt")
SIGNS = ("fneg", "fabs", "copysign")
EXACTLY = {"fadd": operator.add, "fsub": operator.sub, "fmul": operator.mul}


def rounded_once(context: Context, node: Node) -> bool:
    """Whether a result has been rounded once at most, wherever the way to it leads."""
    if node.op == "select":
        return _exact(context, node.args[0]) and all(rounded_once(context, branch) for branch in node.args[1:])
    if node.op in SIGNS:
        return all(rounded_once(context, argument) for argument in node.args)
    return _exact(context, node) or (node.op in ROUNDING and all(_exact(context, a) for a in node.args))


def _exact(context: Context, node: Node) -> bool:
    """Whether a number or a truth value is that which the mathematics means."""
    if node.op == "input":
        return True
    if node.op == "constant":
        return node.index not in context.inexact
    if node.op in EXACTLY:
        return _number(context, node) is not None
    return node.op in (*SIGNS, "select", "fcmp", "and", "or", "xor") and all(_exact(context, a) for a in node.args)


def _number(context: Context, node: Node) -> Fraction | None:
    """The number that a constant is, or a sum or product of constants that its word holds; None of anything else."""
    if node.op == "constant" and node.index not in context.inexact:
        value = float.fromhex(str(node.data))
        return Fraction(value) if isfinite(value) else None
    if node.op not in EXACTLY:
        return None
    numbers: list[Fraction] = []
    for argument in node.args:  # as soon as one is no number the others are left alone: bodies share what they compute
        number = _number(context, argument)
        if number is None:
            return None
        numbers.append(number)
    result: Fraction = EXACTLY[node.op](*numbers)
    return result if Fraction(round_to_word(result, node.type)) == result else None
