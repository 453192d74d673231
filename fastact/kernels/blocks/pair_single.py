"""Elementary functions on pairs of float32: 2^-37 of the result and better, wherever nothing is said to be in doubt.

They serve results of float32 that are to be rounded correctly; where these lie too near to a boundary, or something is
in doubt, a wider arithmetic decides. So nothing here has to be right for very large or very small numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from fastact.kernels.blocks.exactly import fast_two_sum, two_product
from fastact.kernels.blocks.pair import logarithm_words
from fastact.kernels.blocks.pair_single_logs import log as log
from fastact.kernels.blocks.pair_single_logs import log1p_of_input
from fastact.kernels.blocks.pair_single_logs import log2 as log2
from fastact.kernels.blocks.pair_single_logs import logit as logit
from fastact.kernels.blocks.single import limited, polynomial
from fastact.kernels.operations import Value

STEPS = 32
"""Powers of two in the table between 1 and 2."""
REACH = 72.0
"""Exponentials of larger numbers, and products with them, might leave the range where pairs have all bits."""

GRANTED = 1.2 * 2.0**-11
"""What an exponential adds to the error that is granted to the result, in 2^-25 of it."""
GRANTED_LOG = 2.4 * 2.0**-11
"""The same of a logarithm."""
SHORT = 1.03 * (GRANTED + 2.0**-17) * 2.0**-25
"""By what part of it an exponential falls short of what is granted on one side."""
LOOSE = 2**10
"""How large the second word of an exponential may be, in 2^-24 of the first."""
LOOSE_LOG = 3100
"""The same of a logarithm."""


def coefficients(context: Value, name: str) -> tuple[float, ...]:
    """Those of a table, each as one word."""
    return tuple(part[0] if isinstance(part, tuple) else part for part in context.table(name))


def _bits(value: float) -> int:
    """The bit pattern of a positive power of two."""
    return (math.frexp(value)[1] + 126) << 23


def _moved(value: float, by: int) -> float:
    """The float32 whose bit pattern is so much larger than that of a float32."""
    mantissa, exponent = math.frexp(value)
    mantissa, exponent = divmod(int(mantissa * 2**24) - 2**23 + ((exponent + 126) << 23) + by, 2**23)[::-1]
    return math.ldexp(mantissa + 2**23, exponent - 150)


# -- exponentials ---------------------------------------------------------------------------------------------------
def exp(x: Value) -> Value:
    return _exponential(x, _reduce_exp, 1.0)


def exp2(x: Value) -> Value:
    return _exponential(x, _reduce_exp2, 1.0 / math.log(2))


def _exponential(x: Value, reduce: Callable[..., tuple[Value, ...]], unit: float) -> Value:
    """c + c t + c (-u + r^2/2 + ...), r = t - u, with c near 2^(k/32); ``unit`` is the x that makes the value e."""
    context = x.context
    context.granted += GRANTED
    low, high = context.bounds(x)
    if not -REACH * unit <= low <= high <= REACH * unit:
        context.within(x.hi, 0.0, REACH * unit)
    value = x.pair(*_words(x, reduce, -0.0), LOOSE)
    value.short = _words(x, reduce, SHORT)[1], SHORT
    context.note(value, math.exp(-REACH), math.exp(min(high / unit, REACH)))
    return value


def _words(x: Value, reduce: Callable[..., tuple[Value, ...]], short: float) -> tuple[Value, Value]:
    c, t, u, _ = reduce(x, short)
    r = t - u
    _, half, *rest = coefficients(x.context, "exp_pair")
    curve = (r * r).fma(polynomial(r, (half, *rest)), -u)
    line = c.fma(t, c)
    return line, c.fma(curve, c.fma(t, c - line))


def _reduce_exp(x: Value, short: float = -0.0) -> tuple[Value, Value, Value, Value]:
    """exp(x) = c exp(t - u): c a float, |t| <= (ln 2)/64, |u| < 2^-19; and k.

    c stands for 2^(k/32); by how much it differs is part of u. t = x - k l with l = (ln 2)/32 rounded is exact: where k
    is not 0, |x| > 2^-7, so that x and k l are multiples of 2^-30, and |t| < 2^-6.
    """
    context = x.context
    ln2 = context.constant("LN2")
    k, whole = x.hi.split_integer(STEPS * math.log2(math.e))
    t = k.fma(ln2.hi * (-1.0 / STEPS), x.hi)
    c, rest = _power(context, whole, short)
    u = k.fma(ln2.lo * (1.0 / STEPS), rest)
    return c, t, u if x.lo is None else u - x.lo, whole


def _reduce_exp2(x: Value, short: float = -0.0) -> tuple[Value, Value, Value, Value]:
    """2^x in the form of `_reduce_exp`."""
    context = x.context
    ln2 = context.constant("LN2")
    k, whole = x.hi.split_integer(float(STEPS))
    d = k.fma(-1.0 / STEPS, x.hi)
    t, t_low = two_product(d, ln2.hi)
    c, rest = _power(context, whole, short)
    u = d.fma(-ln2.lo, rest - t_low)
    return c, t, u if x.lo is None else x.lo.fma(-ln2.hi, u), whole


def _power(context: Value, whole: Value, short: float = -0.0) -> tuple[Value, Value]:
    """A float near 2^(k/32), and minus the logarithm of what it lacks; if the value is to fall ``short``, more."""
    table, j = context.table("exp_table"), whole & (STEPS - 1)
    real = context.real(0.0)
    # Of k, moved to the exponent, j is left in the mantissa; entries have it subtracted from theirs.
    c = real.lookup(tuple(_moved(c[0], -(place << 18)) for place, c in enumerate(table)), j)
    scaled = (c.bits() + (whole << 18)).as_real()
    return scaled, real.lookup(tuple(-c[1] / c[0] + short for c in table), j)


def one_plus_exp(x: Value) -> Value:
    return exp(x) + 1.0


def expm1(x: Value) -> Value:
    """c (1 + expm1(t - u)) - 1; where c = 1, expm1(t) alone, to full relative accuracy. Below -30 it is -1; for c up to
    2^24 the difference c - 1 is that of two words."""
    context = x.context
    context.granted += GRANTED
    c, t, u, whole = _reduce_exp(limited(x, -30.0, math.inf))
    if context.bounds(x)[1] > 16.0:
        context.signs.append(int(16 * STEPS / math.log(2)) - whole)
    a = c - 1.0
    a_low = c - (a + 1.0)
    r = t - u
    _, _, third, *rest = coefficients(context, "expm1_pair")
    cubic = (r * r) * r * polynomial(r, (third, *rest))
    square, square_low = two_product(t, t)
    w = square.fma(0.5, t)
    w_low = square.fma(0.5, t - w) + ((-u).fma(t, square_low.fma(0.5, cubic)) - u)
    b, b_low = two_product(c, w)
    # |a| >= |b| unless a = 0.
    s, e = fast_two_sum(a, b)
    return x.pair(s.copysign(x.hi), c.fma(w_low, b_low) + (a_low + e), LOOSE)


# -- logarithms -----------------------------------------------------------------------------------------------------
def log_odds(x: Value) -> Value:
    """log(x/(1 - x)) = -log1p((1 - 2 x)/x) for x <= 1/2."""
    return 0.0 - log1p((1.0 - x * 2.0) / x)  # +0 at 1/2


def log1p(x: Value) -> Value:
    """log(1 + x) = n ln 2 - log c + log(1 + f), f = k x + (k - 1) with k = c/2^n; 1 + x, of which n and c depend, need
    not be exact."""
    context = x.context
    if x.lo is None and x.hi.node.op == "input":
        return log1p_of_input(x)
    low, high = context.bounds(x)
    n, c, a, a_low, moved = _reduce_log(x.hi + 1.0)
    if not 0.0 <= low <= high <= 2.0**15:
        # For smaller n what is left of k x would be more than a few last places of f.
        context.signs += [n + 7, 16 - n]
        context.end(x.hi, -1.0)
    k = (c.bits() - (moved & -(2**23))).as_real()
    p, e = two_product(k, x.hi)
    # Either |k - 1| >= |k x|, or one is at most twice the other and nothing is lost.
    f, f_low = fast_two_sum(k - 1.0, p)
    f_low = f_low + e
    if x.lo is not None:
        f_low = k.fma(x.lo, f_low)
    s, rest = logarithm_words(x, a, a_low, f, f_low)
    value = x.pair(s.copysign(x.hi), rest, LOOSE_LOG)
    if low >= 0.0:
        context.note(value, math.log1p(low), math.log1p(high) * 1.001)
    return value


def log1p_exp(x: Value) -> Value:
    return log1p(exp(x))


def _reduce_log(x: Value) -> tuple[Value, ...]:
    """n and c, a short float near 1/m, x = 2^n m; n ln 2 - log c as a sum of two; and bits of which the upper ones are
    n."""
    context = x.context
    context.granted += GRANTED_LOG
    table = context.table("log_table_short")
    reciprocals = tuple(round(64 * math.exp(-high)) / 64 for high, _ in table)
    # The intervals of the table divide the bits of the mantissa evenly; c is 1 on both sides of 1.
    below = reciprocals.index(1.0) + 1
    moved = x.bits() - (_bits(1.0) - (2 * below + 1) * 2**17)
    j, n = (moved >> 18) & 31, moved >> 23
    whole, real = n.to_real("f32"), context.real(0.0)
    high, low = context.split("LN2")
    # The first sum is exact.
    a = whole.fma(high, real.lookup(tuple(h for h, _ in table), j))
    a_low = whole.fma(low, real.lookup(tuple(t for _, t in table), j))
    return n, real.lookup(reciprocals, j), a, a_low, moved


# -- reciprocals ----------------------------------------------------------------------------------------------------
def reciprocal(x: Value) -> Value:
    return 1.0 / x


def rsqrt(x: Value) -> Value:
    """y + y e/2 with y = 1/sqrt(x) to a word and e = 1 - x y^2 to more than that."""
    z, context = x.hi, x.context
    context.within(z, 2.0**-126, 2.0**127)
    y = 1.0 / z.sqrt()
    p, e = two_product(z, y)
    rest = (-e).fma(y, (-p).fma(y, 1.0))
    if x.lo is not None:
        rest = (x.lo * y).fma(-y, rest)
    value = x.pair(y, (y * 0.5) * rest, 4)
    context.note(value, 2.0**-64, 2.0**63)
    return value


def copysign(x: Value, sign: Value) -> Value:
    change = (x.hi.bits() ^ sign.hi.bits()) & -(2**31)
    low = None if x.lo is None else (x.lo.bits() ^ change).as_real()
    return x.pair((x.hi.bits() ^ change).as_real(), low)


def erf(x: Value) -> Value:
    from fastact.kernels.blocks import pair_single_tangents

    return pair_single_tangents.erf(x)


def tanh_alone(x: Value) -> Value:
    from fastact.kernels.blocks import pair_single_tangents

    return pair_single_tangents.tanh(x)


def tanhshrink_alone(x: Value) -> Value:
    from fastact.kernels.blocks import pair_single_tangents

    return pair_single_tangents.tanhshrink(x)


def gelu(x: Value, otherwise: Callable[[Value], Value]) -> Value:
    from fastact.kernels.blocks import pair_single_normal

    return pair_single_normal.gelu(x, otherwise)


def silu_slope(x: Value, t: Value) -> Value:
    from fastact.kernels.blocks import pair_single_slopes

    return pair_single_slopes.silu_slope(x, t)


def logistic_density(e: Value, times: float) -> Value:
    from fastact.kernels.blocks import pair_single_slopes

    return pair_single_slopes.logistic_density(e, times)


def gelu_slope(x: Value) -> Value:
    from fastact.kernels.blocks import pair_single_slopes

    return pair_single_slopes.gelu_slope(x)


class NoBlock(NotImplementedError):
    """A function, or its table, that does not exist on pairs of float32."""


def __getattr__(name: str) -> object:
    if name.startswith("__"):
        raise AttributeError(name)
    raise NoBlock(name)
