"""Results that are rounded but once: a selection among inputs, exact constants and single operations on them.

They are correctly rounded in single words as they come, and nothing is gained by working at twice the precision.
"""

from __future__ import annotations

from fastact.link.graph import Node
from fastact.link.values import Context

ROUNDING = ("fadd", "fsub", "fmul", "fdiv", "fma", "sqrt")
SIGNS = ("fneg", "fabs", "copysign")


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
    return node.op in (*SIGNS, "select", "fcmp", "and", "or", "xor") and all(_exact(context, a) for a in node.args)
