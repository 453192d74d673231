"""Truth: a declaration's formula, evaluated in ball arithmetic until the answer is certain.

Arguments are exact: a float is the number that it stands for. The precision rises until the ball decides the
question asked, from a few bits above the format's to 2^16; cancellation needs no rewriting of formulas.

Conventions. NaN gives NaN. An infinite argument, and an argument at a pole, give the limit, taken numerically
(fastact.accuracy.limits). A zero result has the sign of the function: at x = +-0 of the one-sided limit, elsewhere of
the value before rounding. Where the function is exactly 0 it is +0, and where it does not exist on that side of 0
(sqrt(-0)) the zero keeps the sign of x.

python-flint's precision is a setting of the process: do not use oracles in several threads at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastact.accuracy import exactly, limits
from fastact.accuracy.balls import Pole, Undecided, Undefined, arb, ctx
from fastact.accuracy.batch import Batch
from fastact.accuracy.expansion import ExpansionProgram, expand
from fastact.accuracy.parser import Parser
from fastact.accuracy.ulp import Doubles, Floats, Format, as_doubles, format_of
from fastact.accuracy.workers import Progress, Task, in_chunks
from fastact.kernels.declare import Declaration

__all__ = ["Oracle", "Undecided"]


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

    @classmethod
    def of(cls, declaration: Declaration) -> Oracle:
        """The oracle of a declared function; its arguments are x and the declaration's parameters."""
        return cls(declaration.formula, tuple(parameter.name for parameter in declaration.parameters))

    def __repr__(self) -> str:
        return f"Oracle({self.formula!r}, {self.parameters!r})"

    def value(self, x: Any, *par: Any, precision: int = 128) -> arb:
        """Ball of the value at finite arguments (numbers or exact balls), of that many bits or more.

        The ball always contains the value. It may be wider where 2^16 bits of working precision do not give the
        relative accuracy asked for. Where the value does not exist, or only as a limit, it is NaN.

        Raises:
            Undecided: 2^16 bits do not tell which branch is taken or whether the value is finite.
        """
        return self._single((x, *par), None, precision)

    def derivative(self, x: Any, *par: Any, wrt: str = "x", precision: int = 128) -> arb:
        """Ball of the derivative with respect to ``x`` or a parameter, as ``value``; at kinks, of the branch taken."""
        return self._single((x, *par), wrt, precision)

    def limit(self, x: float, *par: float, wrt: str | None = None) -> arb:
        """The limit where arguments are infinite or at a pole; an infinity, or NaN where there is none."""
        with _precision_kept():
            return limits.limit(self.program(wrt), tuple(float(a) for a in self._complete((x, *par)))).ball

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
        result = self._apply("rounded", wrt, (form.name,), columns, jobs, progress)[0]
        with np.errstate(all="ignore"):
            return result.astype(form.dtype).reshape(shape)

    def pair(
        self,
        x: ArrayLike,
        *par: ArrayLike,
        wrt: str | None = None,
        bits: int = 100,
        jobs: int = 1,
        progress: Progress | None = None,
    ) -> tuple[Doubles, Doubles]:
        """The results as unevaluated sums high + low of float64, right to ``bits`` (at most 105) bits.

        That holds between 2^-960 and 2^1024; nearer to zero ``low`` underflows, and beyond, ``high`` is infinite.
        """
        _, columns, shape = self._prepare(x, par, "float64")
        high, low = self._apply("pair", wrt, (bits, -1200), columns, jobs, progress)
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

        The ULP is never less than the smallest subnormal number. Zeros of either sign are equal. NaN for NaN is 0,
        NaN for a number and a number for NaN are inf. Where the truth is finite, an infinite y counts as 0 if the
        truth rounds to it, and else as the power of two after the largest finite number. Where the truth is an
        infinity, anything but itself is inf. A truth that cannot be told from a power of two counts as below it.
        """
        return self._errors("ulp_error", x, y, par, dtype, wrt, jobs, progress)

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
        """|y - truth|/|truth|, with the conventions of ``ulp_error``; for a truth of 0 it is 0 or inf."""
        return self._errors("relative_error", x, y, par, dtype, wrt, jobs, progress)

    def part(self, task: Task, columns: list[Doubles]) -> tuple[Doubles, ...]:
        """A task on one chunk of columns."""
        program = self.program(task.wrt)
        with _precision_kept():
            if task.method == "pair":
                bits, floor = task.options
                return Batch(program, columns).pair(int(str(bits)), int(str(floor)))
            form = format_of(task.options[0])
            if task.method == "rounded":
                exact = partial(exactly.rounded, self.expression, self._index(task.wrt))
                return (Batch(program, columns, self._expansion(task.wrt), exact).rounded(form),)
            batch = Batch(program, columns[:-1])
            errors = batch.ulp_error if task.method == "ulp_error" else batch.relative_error
            return (errors(form, columns[-1]),)

    def _errors(
        self,
        method: str,
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
        columns.append(as_doubles(y).reshape(-1))
        return self._apply(method, wrt, (form.name,), columns, jobs, progress)[0].reshape(shape)

    def _apply(
        self,
        method: str,
        wrt: str | None,
        options: tuple[object, ...],
        columns: list[Doubles],
        jobs: int,
        progress: Progress | None,
    ) -> tuple[Doubles, ...]:
        self.program(wrt)
        task = Task(self.formula, self.parameters, self.identities, method, wrt, options)
        return in_chunks(task, columns, jobs, progress)

    def _prepare(
        self, x: ArrayLike, par: tuple[ArrayLike, ...], dtype: Any
    ) -> tuple[Format, list[Doubles], tuple[int, ...]]:
        arrays = [np.asarray(a) for a in self._complete((x, *par))]
        form = format_of(arrays[0].dtype if dtype is None else dtype)
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
        doubles = [as_doubles(a) for a in arrays]
        columns = [d.reshape(1) if d.size == 1 else np.broadcast_to(d, shape).reshape(-1) for d in doubles]
        return form, columns, shape

    def _single(self, arguments: tuple[Any, ...], wrt: str | None, precision: int) -> arb:
        balls = tuple(a if isinstance(a, arb) else arb(float(a)) for a in self._complete(arguments))
        with _precision_kept():
            try:
                return limits.enclose(self.program(wrt), balls, precision)
            except (Undefined, Pole):
                return arb.nan()

    def _complete(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(arguments) != len(self.variables):
            raise TypeError(f"{self!r} takes {len(self.variables)} arguments, not {len(arguments)}")
        return arguments

    def _expansion(self, wrt: str | None) -> ExpansionProgram:
        return partial(expand, self.expression, self._index(wrt))

    def _index(self, wrt: str | None) -> int | None:
        return None if wrt is None else self.variables.index(wrt)

    def program(self, wrt: str | None) -> limits.Program:
        """The value (None) or the derivative as a function of balls, at the precision of the context."""
        if wrt is None:
            return self.expression.value
        if wrt not in self.variables:
            raise ValueError(f"no variable {wrt!r}; allowed: {', '.join(self.variables)}")
        index, pair, zero = self.variables.index(wrt), self.expression.pair, arb(0)

        def slope(arguments: tuple[arb, ...]) -> arb:
            result = pair(arguments, index)[1]
            return zero if result is None else result

        return slope
