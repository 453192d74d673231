"""Norms: programs over rows that bring them to a common scale, and their gradients.

Sums are taken of numbers that are wider than the elements; where there are none, of elements times a power of two that
brings the largest of them near 1, so that no square leaves the range. Where the mean is so large that the variance
would lose digits, sums are taken once more, of what elements are above it, which also tells what its rounding left.

Programs come with and without a weight and a bias, and "scaled", for elements that are as wide as the sums.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastact.kernels import operations as op
from fastact.kernels.blocks import row_operations as row
from fastact.kernels.declare_rows import Program, Run, declare_rows
from fastact.kernels.operations import Value


def _size(x: Value, *_: Value) -> tuple[Value]:
    return (op.absolute(x),)


def _unit(largest: Value, eps: Value, *_: Value) -> tuple[Value]:
    """The power of two that elements are multiplied by; eps times its square is not above 4."""
    return (row.power_over(op.maximum(largest, eps.sqrt())),)


class _Form:
    """The runs and results of one variant of the programs. Elements are (x) or (g, x), then the weight and the bias.

    ``scaled`` programs have the unit after eps among the scalars."""

    def __init__(self, scaled: bool, weight: bool = False, bias: bool = False) -> None:
        self.scaled, self.weight, self.bias = scaled, weight, bias
        self.columns = (("weight",) if weight else ()) + (("bias",) if bias else ())
        self.label = "".join(("_weight" if weight else "", "_bias" if bias else "", "_scaled" if scaled else ""))
        self.known = 2 if scaled else 1

    def sizes(self, place: int = 0) -> tuple[Run, ...]:
        """The run that finds the unit, if there is one, where x is the element of that place."""
        if not self.scaled:
            return ()
        return (Run(("max",), lambda *arguments: _size(arguments[place]), _unit),)

    def parts(self, arguments: tuple[Value, ...], elements: int) -> tuple[list[Value], list[Value], list[Value]]:
        """Elements, columns and scalars."""
        split = elements + len(self.columns)
        return list(arguments[:elements]), list(arguments[elements:split]), list(arguments[split:])

    def number(self, x: Value, scalars: list[Value]) -> Value:
        """x times the unit."""
        return x * op.narrowed(scalars[1]) if self.scaled else x

    def least(self, scalars: tuple[Value, ...]) -> Value:
        """eps times the square of the unit."""
        return scalars[0] * scalars[1] * scalars[1] if self.scaled else scalars[0]

    def finish(self, y: Value, columns: list[Value]) -> Value:
        if self.weight and self.bias:
            return op.fma(y, columns[0], columns[1])
        if self.bias:
            return y + columns[0]
        return y * columns[0] if self.weight else y

    def program(
        self,
        name: str,
        elements: tuple[str, ...],
        runs: tuple[Run, ...],
        result: Callable[..., Any] | None,
        **more: Any,
    ) -> None:
        declare_rows(Program(name + self.label, elements, runs, result, columns=self.columns, numbers=("eps",), **more))


# -- root mean square -------------------------------------------------------------------------------------------------
def _rms(form: _Form) -> None:
    def square(*arguments: Value) -> tuple[Value]:
        (x,), _, scalars = form.parts(arguments, 1)
        z = row.widened(form.number(x, scalars))
        return (z * z,)

    def inverse(total: Value, *scalars: Value) -> tuple[Value]:
        return (1.0 / (total / scalars[-1] + form.least(scalars)).sqrt(),)

    def result(*arguments: Value) -> Value:
        (x,), columns, scalars = form.parts(arguments, 1)
        return form.finish(form.number(x, scalars) * op.narrowed(scalars[form.known]), columns)

    runs = (*form.sizes(), Run(("sum",), square, inverse))
    form.program("rms_norm", ("x",), runs, result)
    if not form.columns:

        def moment(*scalars: Value) -> Value:
            return scalars[2] * scalars[1] if form.scaled else scalars[1]

        form.program("rms_norm_moment", ("x",), runs, None, totals=moment, wide_totals=True)


def _rms_backward(form: _Form) -> None:
    """With r the inverse root and h = g w: r (h - x r^2 mean(h x))."""

    def sums(*arguments: Value) -> tuple[Value, Value]:
        (g, x), columns, scalars = form.parts(arguments, 2)
        z = row.widened(form.number(x, scalars))
        return z * z, z * _weighted(g, columns)

    def settle(squares: Value, products: Value, *scalars: Value) -> tuple[Value, Value]:
        count = scalars[-1]
        r = 1.0 / (squares / count + form.least(scalars)).sqrt()
        return r, products / count * r * r

    def result(*arguments: Value) -> Value:
        (g, x), columns, scalars = form.parts(arguments, 2)
        r, t = scalars[form.known :]
        h = g * columns[0] if form.weight else g
        return form.number((h - form.number(x, scalars) * op.narrowed(t)) * op.narrowed(r), scalars)

    def moment(*scalars: Value) -> Value:
        return scalars[2] * scalars[1] if form.scaled else scalars[1]

    runs = (*form.sizes(1), Run(("sum", "sum"), sums, settle))
    form.program("rms_norm_backward", ("g", "x"), runs, result, totals=moment, wide_totals=True)


def _weighted(g: Value, columns: list[Value]) -> Value:
    """g, or g times the weight, widened."""
    return row.widened(g) * row.widened(columns[0]) if columns else row.widened(g)


# -- mean and variance ------------------------------------------------------------------------------------------------
def _moments(form: _Form, squares: Value, rest: Value, scalars: tuple[Value, ...]) -> tuple[Value, Value, Value]:
    """What the mean lies above the center, the variance, and the inverse of the standard deviation."""
    count = scalars[-1]
    above = rest / count
    variance = op.maximum(squares / count - above * above, 0.0)
    return above, variance, 1.0 / (variance + form.least(scalars)).sqrt()


def _from_zero(form: _Form, squares: Value, rest: Value, scalars: tuple[Value, ...]) -> tuple[Value, ...]:
    """The center, which is 0; what the mean lies above it; the inverse of the standard deviation; 0. But where squares
    cancel, the mean is the center, and 1 tells that sums have to be taken once more."""
    above, variance, r = _moments(form, squares, rest, scalars)
    more = op.word(above * above) > op.word(variance * row.tolerated(above))
    return op.where(more, above, 0.0), op.where(more, 0.0, above), r, op.where(more, 1.0, 0.0)


def _above(form: _Form, x: Value, scalars: list[Value]) -> Value:
    """x less the center."""
    return row.minus(form.number(x, scalars), scalars[form.known])


def _layer(form: _Form) -> None:
    def first(*arguments: Value) -> tuple[Value, Value]:
        (x,), _, scalars = form.parts(arguments, 1)
        z = row.widened(form.number(x, scalars))
        return z * z, z

    def settle_first(squares: Value, rest: Value, *scalars: Value) -> tuple[Value, ...]:
        return _from_zero(form, squares, rest, scalars)

    def sums(*arguments: Value) -> tuple[Value, Value]:
        (x,), _, scalars = form.parts(arguments, 1)
        d = row.wide_minus(form.number(x, scalars), scalars[form.known])
        return d * d, d

    def settle(squares: Value, rest: Value, *scalars: Value) -> tuple[Value, ...]:
        above, _, r = _moments(form, squares, rest, scalars)
        return scalars[form.known], above, r, 0.0

    def result(*arguments: Value) -> Value:
        (x,), columns, scalars = form.parts(arguments, 1)
        _, above, r, _ = scalars[form.known :]
        return form.finish(row.minus(_above(form, x, scalars), above) * op.narrowed(r), columns)

    kinds = ("sum", "sum")
    again = Run(kinds, sums, settle, repeated=True, spared=True)
    runs = (*form.sizes(), Run(kinds, first, settle_first), again)
    form.program("layer_norm", ("x",), runs, result)
    if not form.columns:

        def moments(*scalars: Value) -> tuple[Value, Value]:
            return _of_row(form, scalars)

        form.program("layer_norm_moments", ("x",), runs, None, totals=moments, wide_totals=True)


def _of_row(form: _Form, scalars: tuple[Value, ...]) -> tuple[Value, Value]:
    """The mean, and the inverse of the standard deviation."""
    center, above, r = scalars[form.known : form.known + 3]
    unit = scalars[1] if form.scaled else 1.0
    return (center + above) / unit, r * unit


def _layer_backward(form: _Form) -> None:
    """With r the inverse of the standard deviation, d = x - mean and h = g w: r (h - mean(h) - d r^2 mean(h d))."""

    def first(*arguments: Value) -> tuple[Value, ...]:
        (g, x), columns, scalars = form.parts(arguments, 2)
        z, h = row.widened(form.number(x, scalars)), _weighted(g, columns)
        return z * z, z, h, h * z

    def settle_first(squares: Value, rest: Value, weights: Value, products: Value, *scalars: Value) -> Any:
        center, above, r, more = _from_zero(form, squares, rest, scalars)
        return center, above, r, *slopes(above, r, weights, products, scalars), more

    def slopes(above: Value, r: Value, weights: Value, products: Value, scalars: tuple[Value, ...]) -> Any:
        mean = weights / scalars[-1]
        return mean, (products / scalars[-1] - mean * above) * r * r

    def sums(*arguments: Value) -> tuple[Value, ...]:
        (g, x), columns, scalars = form.parts(arguments, 2)
        d, h = row.wide_minus(form.number(x, scalars), scalars[form.known]), _weighted(g, columns)
        return d * d, d, h, h * d

    def settle(squares: Value, rest: Value, weights: Value, products: Value, *scalars: Value) -> Any:
        above, _, r = _moments(form, squares, rest, scalars)
        return scalars[form.known], above, r, *slopes(above, r, weights, products, scalars), 0.0

    def result(*arguments: Value) -> Value:
        (g, x), columns, scalars = form.parts(arguments, 2)
        _, above, r, mean, t, _ = scalars[form.known :]
        d = row.minus(_above(form, x, scalars), above)
        h = row.minus(g * columns[0] if form.weight else g, mean)
        return form.number((h - d * op.narrowed(t)) * op.narrowed(r), scalars)

    def moments(*scalars: Value) -> tuple[Value, Value]:
        return _of_row(form, scalars)

    kinds = ("sum",) * 4
    again = Run(kinds, sums, settle, repeated=True, spared=True)
    runs = (*form.sizes(1), Run(kinds, first, settle_first), again)
    form.program("layer_norm_backward", ("g", "x"), runs, result, totals=moments, wide_totals=True)


for _scaled in (False, True):
    for _weight in (False, True):
        _rms(_Form(_scaled, _weight))
        _rms_backward(_Form(_scaled, _weight))
        _layer_backward(_Form(_scaled, _weight))
        for _bias in (False, True):
            _layer(_Form(_scaled, _weight, _bias))


# -- sums over rows, for weight and bias ------------------------------------------------------------------------------
def _normalised(g: Value, x: Value, mean: Value, r: Value, *_: Value) -> tuple[Value, Value]:
    """g times what the norm makes of x, and g."""
    wider = row.widened(g)
    return wider * row.widened(row.minus(x, mean) * op.narrowed(r)), wider


def _both(first: Value, second: Value, *_: Value) -> tuple[Value, Value]:
    return first, second


def _last_two(*scalars: Value) -> tuple[Value, Value]:
    return scalars[-2], scalars[-1]


declare_rows(
    Program(
        "norm_parameters",
        ("g", "x"),
        (Run(("sum", "sum"), _normalised, _both),),
        totals=_last_two,
        columns=("mean", "r"),
        widened=frozenset({"mean", "r"}),
    )
)


# -- batches, by moments that are given -------------------------------------------------------------------------------
def _channel(mean: Value, variance: Value, weight: Value, bias: Value, eps: Value) -> tuple[Value, Value, Value]:
    return mean, weight / (variance + eps).sqrt(), bias


def _shifted(x: Value, mean: Value, scale: Value, bias: Value) -> Value:
    return op.fma(row.minus(x, mean), op.narrowed(scale), op.narrowed(bias))


CHANNEL = ("mean", "variance", "weight", "bias")
declare_rows(Program("batch_norm", ("x",), (), _shifted, rows=CHANNEL, numbers=("eps",), prepare=_channel))


def _slope(variance: Value, weight: Value, eps: Value) -> Value:
    return weight / (variance + eps).sqrt()


def _times_slope(g: Value, slope: Value) -> Value:
    return g * op.narrowed(slope)


declare_rows(
    Program(
        "batch_norm_backward", ("g",), (), _times_slope, rows=("variance", "weight"), numbers=("eps",), prepare=_slope
    )
)


def _deviation(mean: Value, variance: Value, eps: Value) -> tuple[Value, Value]:
    return mean, 1.0 / (variance + eps).sqrt()


declare_rows(
    Program(
        "batch_norm_parameters",
        ("g", "x"),
        (Run(("sum", "sum"), _normalised, _both),),
        totals=_last_two,
        rows=("mean", "variance"),
        numbers=("eps",),
        prepare=_deviation,
    )
)
