"""softmax and its relatives: programs over rows.

Exponentials are taken of x - base and divided by 2^k at once, where k is the whole number nearest to the logarithm of
the largest: they are held as a mantissa and a power of two before they become one number, so that nothing overflows and
what underflows does so in the result only. The base is 0 as long as the largest number is moderate, so that x - base is
exact, and the largest number itself beyond: there x - base is exact where exp(x - base) is not 0 beside 1.
"""

from __future__ import annotations

from typing import Any

from fastact.kernels import operations as op
from fastact.kernels.blocks import row_operations as row
from fastact.kernels.declare_rows import Program, Run, declare_rows
from fastact.kernels.operations import Value

INFINITY = float("inf")
MODERATE = 1024.0
"""The largest size of a maximum for which the base is 0."""


def _top(x: Value, *_: Value) -> tuple[Value]:
    return (x,)


def _reference(m: Value, *rest: Value) -> tuple[Value, ...]:
    """The base; what the maximum is above it; where exponents start; the least difference that counts at all.

    Of an infinite maximum the base is that, and the rest is as if it were finite: then x - base is no number for the
    maximum itself and -inf for others."""
    m = m + 0.0  # whatever the sign of a zero
    moderate = op.absolute(m) <= MODERATE
    base, above = op.where(moderate, 0.0, m), op.where(moderate, m, 0.0)
    return m, base, above, row.exponents_from(above), above - row.reach(above)


def _exponential(x: Value, base: Value, floor: Value, start: Value, briefly: bool = True) -> Value:
    """exp(x - base) 2^(shift - k); of differences that do not count at all that of the least that does."""
    below = op.word(x) - op.word(base) < op.word(floor)
    return row.exp_over(op.where(below, op.narrowed(floor), x - op.narrowed(base)), start, briefly)


MAXIMUM = Run(("max",), _top, _reference)
"""After it the scalars are the maximum m, base, above, start, floor."""


# -- softmax ----------------------------------------------------------------------------------------------------------
def _terms(x: Value, m: Value, base: Value, above: Value, start: Value, floor: Value, *_: Value) -> tuple[Value, Value]:
    e = _exponential(x, base, floor, start)
    return e, e


def _inverse(total: Value, *_: Value) -> tuple[Value]:
    return (row.lifted_inverse(total),)


def _share(
    x: Value, e: Value, m: Value, base: Value, above: Value, start: Value, floor: Value, inverse: Value
) -> Value:
    return row.lowered_product(e, op.narrowed(inverse))


SUM = Run(("sum",), _terms, _inverse, kept=1)
declare_rows(Program("softmax", ("x",), (MAXIMUM, SUM), _share))


def _negated(body: Any) -> Any:
    def of_negative(x: Value, *rest: Value) -> Any:
        return body(-x, *rest)

    return of_negative


def _opposite(run: Run) -> Run:
    return Run(run.kinds, _negated(run.body), run.settle, run.kept, run.repeated)


declare_rows(Program("softmin", ("x",), (_opposite(MAXIMUM), _opposite(SUM)), _negated(_share)))


# -- logarithms of sums -----------------------------------------------------------------------------------------------
def _others(briefly: bool) -> Any:
    """The exponentials of all but the largest numbers, and how many of these there are: so the logarithm keeps its
    digits where one number prevails. Not ``briefly`` where it may cancel."""

    def body(
        x: Value, m: Value, base: Value, above: Value, start: Value, floor: Value, *_: Value
    ) -> tuple[Value, Value]:
        e = _exponential(x, base, floor, start, briefly)
        top = x.equals(op.narrowed(m))
        return op.where(top, 0.0, e), op.where(top, 1.0, 0.0)

    return body


def _logarithm(rest: Value, count: Value, m: Value, base: Value, above: Value, *_: Value) -> Value:
    """log(sum exp(x - m)): of the sum, one term is 1 exactly."""
    largest = row.exp_over(above, row.exponents_from(above, own=True))
    return op.log1p(rest / largest + (count - 1.0))


def _normaliser(rest: Value, count: Value, m: Value, *scalars: Value) -> tuple[Value]:
    """The logarithm of the sum relative to the maximum; no number where that is infinite."""
    infinite = op.absolute(m).equals(INFINITY)
    return (op.where(infinite, float("nan"), _logarithm(rest, count, m, *scalars)),)


def _log_share(x: Value, m: Value, *scalars: Value) -> Value:
    m, log = op.narrowed(m), op.narrowed(scalars[-1])
    d = row.with_infinite(x - m, x, -m)
    return row.with_infinite(d - log, d, -log)


OTHERS = Run(("sum", "count"), _others(briefly=True), _normaliser)
declare_rows(Program("log_softmax", ("x",), (MAXIMUM, OTHERS), _log_share))


def _whole_logarithm(rest: Value, count: Value, m: Value, *scalars: Value) -> tuple[Value]:
    log = _logarithm(rest, count, m, *scalars)
    return (row.with_infinite(m + log, m, log),)


def _last(*scalars: Value) -> Value:
    return scalars[-1]


WHOLE = Run(("sum", "count"), _others(briefly=False), _whole_logarithm)
declare_rows(Program("logsumexp", ("x",), (MAXIMUM, WHOLE), totals=_last))


# -- gradients --------------------------------------------------------------------------------------------------------
def _total(total: Value, *_: Value) -> tuple[Value]:
    return (total,)


def _products(g: Value, y: Value, *_: Value) -> tuple[Value]:
    return (row.widened(g) * row.widened(y),)


def _softmax_backward(g: Value, y: Value, t: Value) -> Value:
    """y (g - sum g y)."""
    return y * row.minus(g, t)


def _softmin_backward(g: Value, y: Value, t: Value) -> Value:
    return -(y * row.minus(g, t))


def _values(g: Value, *_: Value) -> tuple[Value]:
    return (row.widened(g),)


def _log_softmax_backward(g: Value, y: Value, t: Value) -> Value:
    """g - exp(y) sum g."""
    return g - row.exp_briefly(y) * op.narrowed(t)


PRODUCTS = Run(("sum",), _products, _total)
declare_rows(Program("softmax_backward", ("g", "y"), (PRODUCTS,), _softmax_backward))
declare_rows(Program("softmin_backward", ("g", "y"), (PRODUCTS,), _softmin_backward))
declare_rows(Program("log_softmax_backward", ("g", "y"), (Run(("sum",), _values, _total),), _log_softmax_backward))


def _after_rows(run: Run) -> Run:
    """A run that does not know of the one number of the row that comes before the scalars it made."""

    def body(x: Value, g: Value, *scalars: Value) -> Any:
        return run.body(x, *scalars)

    return Run(run.kinds, body, run.settle, run.kept)


def _times_row(total: Value, g: Value, *_: Value) -> tuple[Value]:
    return (row.lifted_inverse(total) * g,)


def _weighted_share(x: Value, e: Value, *scalars: Value) -> Value:
    """g exp(x)/sum exp(x)."""
    return row.lowered_product(e, op.narrowed(scalars[-1]))


WEIGHTED = Run(("sum",), SUM.body, _times_row, kept=1)
declare_rows(
    Program("logsumexp_backward", ("x",), (_after_rows(MAXIMUM), _after_rows(WEIGHTED)), _weighted_share, rows=("g",))
)


# -- sparsemax --------------------------------------------------------------------------------------------------------
def _threshold(m: Value, *_: Value) -> tuple[Value, ...]:
    """The maximum; the first threshold, relative to it, which is not above the one looked for; more than all elements;
    that it has to be looked for."""
    return m, -1.0, INFINITY, 1.0


def _above(x: Value, m: Value, threshold: Value, *_: Value) -> tuple[Value, Value]:
    """Of what exceeds the threshold, the sum and how many there are; what is no number counts."""
    u = row.with_infinite(x - m, x, -m)
    below = u <= threshold
    return op.where(below, 0.0, u), op.where(below, 0.0, 1.0)


def _raised(total: Value, count: Value, m: Value, threshold: Value, before: Value, *_: Value) -> tuple[Value, ...]:
    """The threshold t with sum max(u - t, 0) = 1 if all that exceed the last one exceed this one too: a step of
    Newton's on a convex function, from the left, so that thresholds rise until no element leaves."""
    found = op.maximum((total - 1.0) / count, threshold)
    more = op.where(op.word(count) < op.word(before), 1.0, 0.0)
    return found, count, more


def _beyond(x: Value, m: Value, threshold: Value, *_: Value) -> Value:
    u = row.with_infinite(x - m, x, -m)
    return op.where(u <= threshold, 0.0, u - threshold)


declare_rows(
    Program(
        "sparsemax",
        ("x",),
        (Run(("max",), _top, _threshold), Run(("sum", "count"), _above, _raised, repeated=True)),
        _beyond,
        careful=True,
    )
)


def _supported(g: Value, y: Value, *_: Value) -> tuple[Value, Value]:
    return op.where(y > 0.0, row.widened(g), 0.0), op.where(y > 0.0, 1.0, 0.0)


def _mean(total: Value, count: Value, *_: Value) -> tuple[Value]:
    return (total / count,)


def _sparsemax_backward(g: Value, y: Value, mean: Value) -> Value:
    """Where y is not 0, g less the mean of such g."""
    return op.where(y > 0.0, row.minus(g, mean), op.where(y.equals(0.0), 0.0, y))


declare_rows(
    Program("sparsemax_backward", ("g", "y"), (Run(("sum", "count"), _supported, _mean),), _sparsemax_backward)
)
