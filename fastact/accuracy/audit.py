"""Kernels compared with a truth of twice the precision, both compiled into one loop.

An audit is a graph of its own: from one input it computes the kernels under test, exactly as they are linked, and the
same function in double-double arithmetic, which shares neither blocks nor coefficients nor precision with kernels of
float32. What it returns is the error of each kernel. Where that evaluation is too near to a rounding boundary to tell
the rounding, or the kernel contradicts it, the result is NaN and ball arithmetic has to decide.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastact.accuracy.measure import settings
from fastact.accuracy.ulp import Doubles, Floats, Format, format_of
from fastact.cpu.compile import address
from fastact.cpu.ufunc import LOOP
from fastact.kernels import Declaration
from fastact.link.arithmetic import PAIR
from fastact.link.forms import forms, kernel, usual_form
from fastact.link.graph import Graph, Node
from fastact.link.linker import STORAGE, Linking
from fastact.link.pair import Pair, fast_two_sum
from fastact.link.scaled import Scaled, power_of_two
from fastact.link.values import Condition, Integer, Real

MARGIN = 2**13
"""The rounding to float32 is taken for open where it changes within so many ULPs of the double-double value's high
part: within 2^-40 of the value, or more."""
BOUND = MARGIN * 2.0**-53
"""The relative error that the double-double evaluation is trusted not to exceed. It is good for 2^-65 at least, and
loses some digits next to a root of a gradient; each run checks a sample of inputs."""

REACH = 900
"""Results are moved into [2^-900, 2^900]: beyond, they over- and underflow in float32 all the same."""


@dataclass(frozen=True)
class Floor:
    """Inputs next to a root of a gradient, and the size of the terms that cancel there: within [low, high] errors
    count in ULPs of ``terms`` (for ``rough`` relative to it) where the truth is smaller than that."""

    low: float
    high: float
    terms: float

    def holds(self, x: Floats) -> NDArray[np.bool_]:
        return (x >= self.low) & (x <= self.high)


def graft(graph: Graph, into: Graph, inputs: Sequence[Node]) -> list[Node]:
    """Copy a graph into another one, with the given nodes for its inputs; returns its outputs, alarms left out."""
    values: dict[int, Node] = {}
    for node in graph.live():
        if node.op == "input":
            values[node.index] = inputs[int(node.data)]  # type: ignore[call-overload]
        else:
            arguments = [values[a.index] for a in node.args]
            values[node.index] = into.node(node.op, node.type, *arguments, data=node.data)
    return [values[node.index] for node in graph.outputs if node.type != "i1"]


def reference(declaration: Declaration, form: str, dtype: str) -> Graph:
    """Double-double evaluation of a form for inputs of a dtype: its outputs hi, lo, n stand for (hi + lo) 2^n."""
    chosen = forms(declaration)[form]
    linking = Linking(PAIR)
    given: list[Any] = [linking.receive(dtype) for _ in chosen.arguments]
    if dtype != "float64":  # nothing is so small or so large that a power of two has to be held apart
        given = [argument.plain() for argument in given]
    value = chosen.body(*given)
    if isinstance(value, (int, float)):
        value = linking.number(value)
    exponent = linking.integer(0)
    if isinstance(value, Scaled):
        plain = value.plain()
        if value.far is None:
            exponent, plain = value.exponent, value.mantissa
        elif not value.is_input:
            exponent = value.exponent.choose(value.far, exponent)
            plain = value.mantissa.choose(value.far, plain)  # type: ignore[arg-type]
        value = plain
    pair = value if isinstance(value, Pair) else Pair(value)
    hi, lo = fast_two_sum(pair.hi, pair.low)
    whole = abs(pair.hi) < float("inf")
    linking.graph.outputs += [hi.node, lo.choose(whole, 0.0).node, exponent.node]
    return linking.graph


class _Judge:
    """Builds the nodes that compare results with the truth (hi + lo) 2^n.

    The truth and the results are first moved by a power of two, 2^shift, such that neither the truth nor the errors
    leave the range of float64.
    """

    def __init__(self, dtype: str, floors: Sequence[Floor], domain: tuple[float, float]) -> None:
        self.form: Format = format_of(dtype)
        self.floors, self.domain = floors, domain
        self.context = Linking(PAIR)
        self.graph = self.context.graph
        self.x = Real(self.context, self.graph.input(STORAGE[dtype]))

    def bind(self, truth: Sequence[Node]) -> None:
        hi, lo, n = Real(self.context, truth[0]), Real(self.context, truth[1]), Integer(self.context, truth[2])
        zero = self.context.integer(0)
        self.shift = zero
        reach = REACH
        if self.form.name == "float64":
            binade = _exponent(hi) + n
            up = self.context.integer(600).choose(binade.compare("slt", -300), zero)
            self.shift = self.context.integer(-600).choose(binade.compare("sgt", 300), up)
            n, reach = n + self.shift, 1000
        n = n.choose(n.compare("slt", reach), reach)
        factor = power_of_two(n.choose(n.compare("sgt", -reach), -reach))
        self.hi, self.lo = hi * factor, lo * factor
        self.beyond = power_of_two(self.shift + self.form.largest_exponent)
        x = self.x.convert("f64")
        self.near = [((x >= floor.low) & (x <= floor.high), floor) for floor in self.floors]
        self.undefined = x.is_nan() | (x < self.domain[0]) | (x > self.domain[1])

    def ulp(self) -> Real:
        """The unit in the last place in the truth's binade."""
        form, one = self.form, self.context.integer(1)
        power = (self.hi.bits() & ((1 << 52) - 1)).compare("eq", 0)
        exponent = _exponent(self.hi) - one.choose(power & (self.hi * self.lo < 0.0), 0)
        least = self.shift + (form.smallest_exponent + form.precision - 1)
        most = self.shift + (form.largest_exponent - 1)
        exponent = exponent.choose(exponent.compare("sgt", least), least)
        exponent = exponent.choose(exponent.compare("slt", most), most)
        return power_of_two(exponent - (form.precision - 1))

    def size(self) -> Real:
        """The truth's size, or the smallest normal number where that is larger."""
        form = self.form
        size = abs(self.hi)
        least = power_of_two(self.shift + (form.smallest_exponent + form.precision - 1))
        return size.choose(size > least, least)

    def unit(self, tier: str) -> Real:
        """What errors are multiples of."""
        unit = self.size() if tier == "rough" else self.ulp()
        if tier != "exact":
            for near, floor in self.near:
                least = floor.terms if tier == "rough" else float(np.spacing(self.form.dtype.type(floor.terms)))
                unit = self.context.real(least).choose(near & (unit < least), unit)
        return unit

    def error(self, stored: Node, tier: str) -> Real:
        """The error of a result as the tier counts it; NaN where ball arithmetic has to decide."""
        result = Real(self.context, stored)
        y = result.convert("f64")
        nan, zero = self.context.real(float("nan")), self.context.real(0.0)
        moved = self.beyond.copysign(y).choose(abs(y).equals(float("inf")), y * power_of_two(self.shift))
        error = ((moved - self.hi) - self.lo) / self.unit(tier)
        if tier == "exact" and self.form.name == "float32":
            error = error.choose(self._certain(result), nan)
        signs_differ = (y.bits() ^ self.hi.bits()).compare("slt", 0)
        vanished = y.equals(0.0)
        if tier == "rough":
            smallest = power_of_two(self.shift + (self.form.smallest_exponent + self.form.precision - 1))
            error = zero.choose(vanished & (abs(self.hi) < smallest), error)
        # A truth of exactly 0 has no sign, but at x = 0, where ball arithmetic looks.
        at_zero = self.x.convert("f64").equals(0.0)
        error = nan.choose(vanished & signs_differ & (~self.hi.equals(0.0) | at_zero), error)
        # An infinity for a number that may not round to it is a matter for ball arithmetic.
        infinite = abs(y).equals(float("inf"))
        error = nan.choose(infinite, error)
        overflowed = infinite & (abs(self.hi) >= self.beyond) & ~signs_differ
        error = zero.choose(overflowed | (y.is_nan() & self.undefined), error)
        return nan.choose(self.undefined & ~y.is_nan(), error)

    def agreeing(self, stored: Node, other: Node, error: Real) -> Real:
        """The error of a result; a whole unit where what other processors compute has not the same bits."""
        one, two = Real(self.context, stored), Real(self.context, other)
        different = one.bits().compare("ne", two.bits()) & ~(one.is_nan() & two.is_nan())
        return self.context.real(1.0).choose(different, error)

    def _certain(self, result: Real) -> Condition:
        """Whether the truth is far enough from every rounding boundary and the result is its rounding."""
        bits = self.hi.bits()
        above, below = ((bits + step).as_real().convert("f32") for step in (MARGIN, -MARGIN))
        same = above.equals(below) & self.hi.convert("f32").bits().compare("eq", result.bits())
        return same | (self.hi.equals(0.0) & result.equals(0.0))


def _exponent(x: Real) -> Integer:
    """The exponent of a normal number's binade; zeros and subnormal numbers have that of half the smallest one."""
    return (x.bits().shift_right_logical(52) & 0x7FF) - 1023


class Audit:
    """The errors of the kernels of some tiers of one form against the double-double evaluation.

    ``exact`` and ``fast`` count in ULPs of the truth, ``rough`` relative to the truth (or the smallest normal number,
    if that is larger; a result flushed to a zero of the right sign has no error). For ``exact`` in float32 a number
    means that the rounding is the right one.
    """

    def __init__(
        self, declaration: Declaration, form: str, dtype: str, tiers: Sequence[str], floors: Sequence[Floor] = ()
    ) -> None:
        if dtype not in ("float32", "float64"):
            raise ValueError(f"audits are for float32 and float64, not {dtype}")
        self.dtype, self.tiers = dtype, tuple(tiers)
        judge = _Judge(dtype, floors, declaration.domain)
        graph = judge.graph
        given = settings(declaration, dtype)
        inputs = [judge.x.node, *(graph.constant(STORAGE[dtype], value) for value in given)]
        judge.bind(graft(reference(declaration, form, dtype), graph, inputs))
        linked = functools.partial(kernel, declaration, usual_form(declaration, form), dtype)
        for tier in self.tiers:
            found = linked(tier).graph
            (y,) = graft(found, graph, inputs)
            error = judge.error(y, tier)
            if found.instead:
                (other,) = graft(found.without_tables(), graph, inputs)
                error = judge.agreeing(y, other, error)
            graph.outputs.append(error.node)
        self.graph = graph
        self._loop = Loop(graph)
        self._kernels: dict[str, Loop] = {}
        self._linked = linked
        self._given = given

    def errors(self, x: Floats, out: Sequence[Doubles]) -> None:
        """Write the signed errors at the inputs to one array for each tier."""
        self._loop(x, *out)

    def results(self, tier: str, x: Floats) -> Floats:
        """What the kernel of a tier delivers."""
        loop = self._kernels.get(tier)
        if loop is None:
            graph = self._linked(tier).graph
            loop = self._kernels[tier] = with_constants(graph, self._given[: len(graph.inputs) - 1])
        y = np.empty_like(x)
        loop(x, y)
        return y


def with_constants(graph: Graph, parameters: Sequence[float], first: int = 1) -> Loop:
    """The loop of a graph whose inputs after the ``first`` ones are held constant."""
    alone = Graph()
    given = [alone.input(node.type) for node in graph.inputs[:first]]
    held = [alone.constant(node.type, value) for node, value in zip(graph.inputs[first:], parameters, strict=True)]
    alone.outputs += graft(graph, alone, given + held)
    return Loop(alone)


class Loop:
    """A compiled graph, callable on contiguous arrays: first those read, then those written."""

    def __init__(self, graph: Graph) -> None:
        self._loop = LOOP(address(graph))
        self._width = len(graph.inputs) + sum(node.type != "i1" for node in graph.outputs)

    def __call__(self, *arrays: Floats) -> None:
        pointers = (ctypes.c_void_p * self._width)(*(array.ctypes.data for array in arrays))
        steps = (ctypes.c_ssize_t * self._width)(*(array.itemsize for array in arrays))
        count = ctypes.c_ssize_t(arrays[0].size)
        self._loop(ctypes.addressof(pointers), ctypes.addressof(count), ctypes.addressof(steps), None)
