"""The operations that bodies are written in. Each acts on whatever kind of number the body is being linked with."""

from __future__ import annotations

from typing import Any

Value = Any
"""A number of the working arithmetic, or a Python number standing for the decimal it is written as."""


def plain(x: Value) -> Value:
    """The number itself where a power of two is held apart: for arguments that need absolute accuracy only."""
    return x.plain() if hasattr(x, "plain") else x


def _block(name: str, *args: Value) -> Value:
    return getattr(args[0].context.blocks, name)(*(plain(a) for a in args))


def where(condition: Value, a: Value, b: Value) -> Value:
    """a where the condition holds, b elsewhere; both are computed."""
    for kind in ("Scaled", "Pair", "Real"):
        if type(a).__name__ == kind:
            return a.choose(condition, b)
        if type(b).__name__ == kind:
            return b.choose(~condition, a)
    return condition.context.number(a).choose(condition, b)


def minimum(x: Value, bound: Value) -> Value:
    """x, or the bound where x is above it; NaN stays."""
    result = where(x > bound, bound, x)
    if isinstance(bound, (int, float)):
        plain(x).context.note(plain(result), at_most=float(bound), like=plain(x))
    return result


def maximum(x: Value, bound: Value) -> Value:
    """x, or the bound where x is below it; NaN stays."""
    result = where(x < bound, bound, x)
    if isinstance(bound, (int, float)):
        plain(x).context.note(plain(result), at_least=float(bound), like=plain(x))
    return result


def clip(x: Value, low: Value, high: Value) -> Value:
    """x held within [low, high]; NaN stays."""
    return minimum(maximum(x, low), high)


def absolute(x: Value) -> Value:
    return abs(x)


def one_plus(x: Value) -> Value:
    """1 + x for quotients: where 1 no longer counts, x with its power of two held apart."""
    return where(absolute(x) > 2.0**400, x, plain(x) + 1.0) if hasattr(x, "plain") else x + 1.0


def copysign_zero(x: Value) -> Value:
    """Zero with the sign of x."""
    return _block("copysign", plain(x).context.number(0.0), x)


def copysign(x: Value, sign: Value) -> Value:
    """The non-negative x with the sign of another number."""
    return _block("copysign", x, sign)


def tail(x: Value) -> float:
    """A number t such that exp(t), and anything finite times exp(t), rounds to zero in the result's format."""
    return x.context.arithmetic.tail


def constant(like: Value, name: str) -> Value:
    """A constant of the generated table, at the precision of the arithmetic."""
    return like.context.constant(name)


def exp(x: Value) -> Value:
    return _block("exp", x)


def exp2(x: Value) -> Value:
    return _block("exp2", x)


def expm1(x: Value) -> Value:
    return _block("expm1", x)


def log(x: Value) -> Value:
    return _block("log", x)


def log1p(x: Value) -> Value:
    """log(1 + x). Of an exponential below 2^-110 it is that exponential, to working precision and beyond, and keeps
    its power of two apart: so softplus is right down to the smallest subnormal."""
    if hasattr(x, "plain") and not (x.is_input or x.context.arithmetic.rough):
        return where(x < 2.0**-110, x, _block("log1p", x))
    return _block("log1p", x)


def tanh(x: Value) -> Value:
    return _block("tanh", x)


def reciprocal(x: Value) -> Value:
    return _block("reciprocal", x)


def rsqrt(x: Value) -> Value:
    return _block("rsqrt", x)


def sqrt(x: Value) -> Value:
    return plain(x).sqrt()
