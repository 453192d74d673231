"""Truth: a declaration's formula, evaluated in ball arithmetic until the answer is certain.

Arguments are exact: a float is the number that it stands for. The precision rises until the ball decides the
question asked, from a few bits above the format's to 2^16; cancellation needs no rewriting of formulas.

Conventions. NaN gives NaN. An infinite argument, and an argument at a pole, give the limit, taken numerically from
three points that approach it (fastact.accuracy.limits). A zero result has the sign of the function beside the
argument: at x = +-0 of the one-sided limit, elsewhere of the value before rounding; where the function is exactly 0,
it is +0, and where it is not defined on that side (sqrt(-0)) the zero keeps the sign of x.

python-flint's precision is a setting of the process: do not use oracles in several threads at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastact.accuracy import limits
from fastact.accuracy.balls import Pole, Undecided, Undefined, arb, ctx
from fastact.accuracy.parser import Parser
from fastact.accuracy.ulp import Doubles, Floats, Format, format_of, is_midpoint, nearest, ulp
from fastact.accuracy.workers import Progress, in_chunks

MOST_BITS = 1 << 16
"""The precision at which a question counts as undecidable."""
SIGN_BITS = 1 << 13
"""The precision beyond which the sign of a result that rounds to zero is no longer sought; it is then +0."""
MARGIN = 26
"""Bits of the pair beyond the format's: errors in ULP are then right to 2^-25."""

Columns = list[Doubles]


@contextmanager
def _precision_kept() -> Iterator[None]:
    before = ctx.prec
    try:
        yield
    finally:
        ctx.prec = before


class Oracle:
    """The truth about one formula.

    Args:
        formula: an expression in ``x`` and the parameters (fastact.accuracy.parser gives the language).
        parameters: the parameters' names, in the order in which their values follow x.
        identities: let the parser use identities such as log(1 + u) = log1p(u).

    Raises:
        ValueError: the formula is outside the language.
    """

    def __init__(self, formula: str, parameters: Sequence[str] = (), identities: bool = True) -> None:
        self.formula = formula
        self.parameters = tuple(parameters)
        self.identities = identities
        self.variables = ("x", *self.parameters)
        self.expression = Parser(formula, self.variables, identities).parse()

    def __repr__(self) -> str:
        return f"Oracle({self.formula!r}, {self.parameters!r})"

    # One argument.

    def value(self, x: Any, *par: Any, precision: int = 128) -> arb:
        """Ball of the value at finite arguments (numbers or exact balls), of that many bits or more.

        The ball always contains the value. It may be wider where 2^16 bits of working precision do not give the
        relative accuracy asked for, next to an exact zero for example. Where the value does not exist it is NaN.

        Raises:
            Undecided: 2^16 bits do not tell which branch is taken or whether the value is finite.
        """
        return self._single((x, *par), None, precision)

    def derivative(self, x: Any, *par: Any, wrt: str = "x", precision: int = 128) -> arb:
        """Ball of the derivative with respect to ``x`` or a parameter, as ``value``; at kinks, of the branch taken."""
        return self._single((x, *par), self._index(wrt), precision)

    def limit(self, x: Any, *par: Any, wrt: str | None = None) -> arb:
        """The limit at arguments some of which are infinite or at a pole; NaN where there is none."""
        arguments = self._complete((x, *par))
        with _precision_kept():
            return limits.limit(self._program(wrt), tuple(float(a) for a in arguments)).ball

    def _single(self, arguments: tuple[Any, ...], index: int | None, precision: int) -> arb:
        balls = tuple(a if isinstance(a, arb) else arb(float(a)) for a in self._complete(arguments))
        program = self._program(None if index is None else self.variables[index])
        with _precision_kept():
            try:
                return limits.enclose(program, balls, precision, 2 * precision, MOST_BITS)
            except (Undefined, Pole):
                return arb.nan()

    def _complete(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(arguments) != len(self.variables):
            raise TypeError(f"{self!r} takes {len(self.variables)} arguments, not {len(arguments)}")
        return arguments

    def _index(self, wrt: str) -> int:
        if wrt not in self.variables:
            raise ValueError(f"no variable {wrt!r}; allowed: {', '.join(self.variables)}")
        return self.variables.index(wrt)

    def _program(self, wrt: str | None) -> limits.Program:
        if wrt is None:
            return self.expression.value
        index, pair, zero = self._index(wrt), self.expression.pair, arb(0)

        def slope(arguments: tuple[arb, ...]) -> arb:
            result = pair(arguments, index)[1]
            return zero if result is None else result

        return slope

    # Arrays.

    def rounded(
        self,
        x: ArrayLike,
        *par: ArrayLike,
        dtype: Any = None,
        wrt: str | None = None,
        jobs: int = 1,
        progress: Progress | None = None,
    ) -> Floats:
        """The correctly rounded results (to nearest, ties to even), as an array of ``dtype``.

        Args:
            x: arguments; any float dtype.
            par: parameters, broadcast against x.
            dtype: format of the result; by default that of x.
            wrt: None for the value, else the name of the variable of the derivative.
            jobs: processes to use; they are started only for arrays that are worth it.
            progress: called with (elements done, elements in all).

        Raises:
            Undecided: 2^16 bits do not decide a rounding.
        """
        form, columns, shape = self._prepare(x, par, dtype)
        result = in_chunks(self, "rounded_part", columns, (form, wrt), jobs, progress)
        with np.errstate(all="ignore"):
            return result[0].astype(form.dtype).reshape(shape)

    def pair(
        self,
        x: ArrayLike,
        *par: ArrayLike,
        wrt: str | None = None,
        precision: int = 100,
        jobs: int = 1,
        progress: Progress | None = None,
    ) -> tuple[Doubles, Doubles]:
        """The results as unevaluated sums high + low of float64, of ``precision`` bits (at most 100) where in range.

        ``high`` is the result rounded to float64, also where that overflows or is subnormal; ``low`` is then 0 or
        less accurate.
        """
        _, columns, shape = self._prepare(x, par, "float64")
        high, low = in_chunks(self, "pair_part", columns, (precision, wrt), jobs, progress)
        return high.reshape(shape), low.reshape(shape)

    def ulp_error(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *par: ArrayLike,
        dtype: Any = None,
        wrt: str | None = None,
        jobs: int = 1,
        progress: Progress | None = None,
    ) -> Doubles:
        """|y - truth| in ULPs of ``dtype`` (by default y's) in the truth's binade, right to 1e-6 ULP.

        The ULP is never less than the smallest subnormal number. Zeros of either sign are equal. NaN for NaN is 0
        and NaN for a number, or a number for NaN, is inf. For a finite truth, an infinite y counts as 0 if the truth
        rounds to it, and else as the power of two after the largest finite number. For an infinite truth anything
        but itself is inf.
        """
        return self._errors("error_part", x, y, par, dtype, wrt, jobs, progress)

    def relative_error(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *par: ArrayLike,
        dtype: Any = None,
        wrt: str | None = None,
        jobs: int = 1,
        progress: Progress | None = None,
    ) -> Doubles:
        """|y - truth|/|truth|, with the conventions of ``ulp_error``; for a truth of 0, 0 or inf."""
        return self._errors("relative_part", x, y, par, dtype, wrt, jobs, progress)

    def _errors(
        self,
        part: str,
        x: ArrayLike,
        y: ArrayLike,
        par: tuple[ArrayLike, ...],
        dtype: Any,
        wrt: str | None,
        jobs: int,
        progress: Progress | None,
    ) -> Doubles:
        y = np.asarray(y)
        form, columns, shape = self._prepare(x, par, y.dtype if dtype is None else dtype)
        if y.shape != shape:
            raise ValueError(f"y has shape {y.shape}, the arguments {shape}")
        columns.append(y.astype(np.float64).reshape(-1))
        return in_chunks(self, part, columns, (form, wrt), jobs, progress)[0].reshape(shape)

    def _prepare(self, x: ArrayLike, par: tuple[ArrayLike, ...], dtype: Any) -> tuple[Format, Columns, tuple[int, ...]]:
        arrays = [np.asarray(a) for a in self._complete((x, *par))]
        form = format_of(arrays[0].dtype if dtype is None else dtype)
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
        doubles = [a.astype(np.float64) for a in arrays]
        return form, [d.reshape(1) if d.size == 1 else np.broadcast_to(d, shape).reshape(-1) for d in doubles], shape

    # Parts of arrays: columns are float64, of one common length or of length 1.

    def rounded_part(self, columns: Columns, form: Format, wrt: str | None) -> tuple[Doubles]:
        """Correctly rounded results, as float64."""
        work = _Work(self, columns, wrt)
        result = work.special(lambda limit: float(nearest(limit.number(), form)))
        pending, precision = work.ordinary, form.precision + 40
        while pending.size:
            lower, upper = work.bounds(pending, precision, form, result)
            first, last = nearest(lower, form), nearest(upper, form)
            same = first == last
            signs = np.signbit(first) == np.signbit(last)
            if precision >= SIGN_BITS:
                first = np.where(same & ~signs, 0.0, first)
                signs[:] = True
            undefined = np.isnan(lower) & (upper == 0)
            done = (same & signs) | undefined
            settled = done & ~undefined
            result[pending[settled]] = first[settled]
            pending = pending[~done]
            precision = work.more(precision, pending)
        work.sign_zeros(result)
        return (result,)

    def pair_part(self, columns: Columns, precision: int, wrt: str | None) -> tuple[Doubles, Doubles]:
        """High and low parts of results."""
        work = _Work(self, columns, wrt)
        high = work.special(lambda limit: limit.number())
        low = np.zeros_like(high)
        pending, working = work.ordinary, precision + 20
        while pending.size:
            pending = work.pairs(pending, working, precision, high, low)
            working = work.more(working, pending)
        work.sign_zeros(high)
        return high, low

    def error_part(self, columns: Columns, form: Format, wrt: str | None) -> tuple[Doubles]:
        """Errors in ULP; the last column holds the results to judge."""
        *arguments, y = columns
        high, low = self.pair_part(arguments, form.precision + MARGIN, wrt)
        judged = np.where(np.isinf(y) & np.isfinite(high), np.copysign(2.0, y) * 2.0 ** (form.largest_exponent - 1), y)
        return (high,)

    def relative_part(self, columns: Columns, form: Format, wrt: str | None) -> tuple[Doubles]:
        """Relative errors; the last column holds the results to judge."""
        return (columns[0],)
