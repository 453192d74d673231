"""Logarithms of float32 on pairs of them, to base e and 2.

x = 2^n m with 1 <= m < 2, and a short c near 1/m leaves f = m c - 1 without an error. All that is rounded early is
small beside f^2, or beside what n and c add; next to 1 these add nothing. So the error is granted in two parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from fastact.kernels.blocks.exactly import fast_two_sum, two_product
from fastact.kernels.blocks.single import polynomial
from fastact.kernels.operations import Value

LEAST, MOST = 2.0**-126, (2.0 - 2.0**-23) * 2.0**127
"""Of numbers between them the bits are those of n and m."""
BIAS = 127.0
"""What is added to n there."""
GRANTED = 2.0**-12
"""What is granted of what n and c add, in 2^-25 of it."""
OF_SQUARE = 15000.0
"""How many times as much of f^2."""
LOOSE = 3100
"""How large the second word may be, in 2^-24 of the first."""


def log(x: Value) -> Value:
    """n ln 2 - log c + f - f^2/2 + ..."""
    n, j, f = _reduced(x)
    a, rest = _added(x, n, j)
    return _sum(x, a, f, rest)


def log2(x: Value) -> Value:
    """n - log2 c + (f - f^2/2 + ...)/ln 2; of powers of two the whole numbers come out."""
    context, (n, j, f) = x.context, _reduced(x)
    unit = context.constant("LOG2E")
    a = n + _entry(x, j, lambda entry: entry[0] - BIAS, "log2_table_above")
    # a is 0 or larger than the line, so that the difference is exact.
    s = f.fma(unit.hi, a)
    line_low = f.fma(unit.hi, a - s)
    curve = polynomial(f, tuple(c / math.log(2) for c in _curve(context)))
    rest = f.fma(f.fma(curve, unit.lo), _entry(x, j, lambda entry: entry[1], "log2_table_above"))
    # The rest is -f^2/2 over ln 2 and little else.
    return _in_doubt(x.pair(s, line_low + rest, LOOSE), rest.fma(-2.0 * OF_SQUARE, abs(a)))


def log1p_of_input(x: Value) -> Value:
    """log(1 + x): with k = c/2^n, f = k x + (k - 1) in two words; 1 + x, of which n and c depend, need not be exact."""
    context, y = x.context, x.hi + 1.0
    # For smaller n what is left of k x would be more than a few last places of f.
    context.leave(~((y >= 2.0**-7) & (y <= 2.0**16)))
    context.end(x.hi, -1.0)
    context.held[x.hi.node] = 1.0, 1.0
    bits = y.bits()
    j = (bits >> 18) & 31
    k = _over_power(_reciprocal(x, j, BIAS), bits)
    p, e = two_product(k, x.hi)
    # Either |k - 1| >= |k x|, or one is at most twice the other and nothing is lost.
    f, f_low = fast_two_sum(k - 1.0, p)
    f_low = f_low + e
    value = _of_two_words(x, (bits >> 23).to_real("f32"), j, f, f_low)
    value.like = x.hi
    return value


def logit(x: Value) -> Value:
    """log(x/(1 - x)), the quotient in two words."""
    context = x.context
    context.leave(~((x.hi >= 2.0**-60) & (x.hi < 1.0)))
    context.end(x.hi, 0.0)
    context.end(x.hi, 1.0)
    context.held[x.hi.node] = 1.0, 1.0
    y = 1.0 - x.hi
    reciprocal = 1.0 / y
    q = x.hi * reciprocal
    q_low = (-q).fma((1.0 - y) - x.hi, (-q).fma(y, x.hi)) * reciprocal
    context.note(y, 2.0**-24, 1.0)
    bits = q.bits()
    j = (bits >> 18) & 31
    c = _reciprocal(x, j, BIAS)
    n, k = (bits >> 23).to_real("f32"), _over_power(c, bits)
    f_low = q_low * k
    value = _of_two_words(x, n, j, q.fma(k, -1.0), f_low)
    value.uncertain = abs(f_low).fma(2.0**15, value.uncertain)
    return value


def _of_two_words(x: Value, n: Value, j: Value, f: Value, f_low: Value) -> Value:
    """n ln 2 - log c + log(1 + f + f'), of which the latter is log(1 + f) + f'/(1 + f)."""
    a, rest = _added(x, n, j)
    value = _sum(x, a, f, f_low.fma((-f).fma(1.0 - f, 1.0), rest))
    # One more sum.
    x.context.granted += 0.3 * GRANTED
    return value


def _added(x: Value, n: Value, j: Value) -> tuple[Value, Value]:
    """n ln 2 - log c in two words, with n + 127 given."""
    high, low = x.context.split("LN2")
    # This sum is exact, and what it lacks a small part of it, besides a number for each c.
    a = n.fma(high, _entry(x, j, lambda entry: entry[0] - BIAS * high))
    part = Fraction(low) / Fraction(high)
    return a, a.fma(float(part), _entry(x, j, lambda entry: float(Fraction(entry[1]) - Fraction(entry[0]) * part)))


def _reduced(x: Value) -> tuple[Value, Value, Value]:
    """n + 127, j and f; c is the j-th of its table."""
    context = x.context
    if x.lo is not None:
        from fastact.kernels.blocks.pair_single import NoBlock

        raise NoBlock("logarithms of pairs")
    context.leave(~((x.hi >= LEAST) & (x.hi <= MOST)))
    context.end(x.hi, 0.0)
    context.held[x.hi.node] = 1.0, 1.0
    bits = x.hi.bits()
    m = ((bits & 0x7FFFFF) | 0x3F800000).as_real()
    j = (bits >> 18) & 31
    c = _reciprocal(x, j)
    return (bits >> 23).to_real("f32"), j, m.fma(c, -1.0)


def _reciprocal(x: Value, j: Value, power: float = 0.0) -> Value:
    """The j-th c, times a power of two."""
    return _entry(x, j, lambda entry: 2.0**power * round(128 * math.exp(-entry[0])) / 128)


def _over_power(c: Value, bits: Value) -> Value:
    """c/2^n of 2^`BIAS` c and the bits of 2^n m."""
    return (c.bits() - (bits & 0x7F800000)).as_real()


def _entry(x: Value, j: Value, of: Callable[[tuple[float, float]], float], table: str = "log_table_above") -> Value:
    """Of the j-th entry of a table something, one word."""
    return x.context.real(0.0).lookup(tuple(map(of, x.context.table(table))), j)


def _sum(x: Value, a: Value, f: Value, rest: Value) -> Value:
    """a + f + rest - f^2/2 + f^3/3 ..., where a is 0 or larger than f, as a pair."""
    square = f * f
    s = a + f
    e = f - (s - a)
    rest = square.fma(polynomial(f, _curve(x.context)), rest)
    return _in_doubt(x.pair(s, e + rest, LOOSE), square.fma(OF_SQUARE, abs(a)))


def _curve(context: Value) -> tuple[float, ...]:
    """The coefficients of f^2 and so on."""
    return (-0.5, *(c[0] if isinstance(c, tuple) else c for c in context.table("log_above")))


def _in_doubt(value: Value, size: Value) -> Value:
    """The pair with an error relative to a size."""
    value.context.granted += GRANTED
    value.uncertain, value.like = size, None
    return value
