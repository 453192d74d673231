"""Binding a body to a dtype and a tier: the body runs once on symbolic values and leaves a graph of its operations."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from fastact.kernels import coefficients
from fastact.kernels.blocks import pair as pair_blocks
from fastact.kernels.blocks import pair_single as pair_single_blocks
from fastact.kernels.blocks import short_words as short_blocks
from fastact.kernels.blocks import words as word_blocks
from fastact.link import single, sixteen
from fastact.link.arithmetic import ARITHMETICS, DOUBLE_FAST, DOUBLE_WIDE, PAIR, SINGLE_FAST, SINGLE_PAIR, Arithmetic
from fastact.link.close import Close
from fastact.link.graph import Graph, Node
from fastact.link.known import is_multiple
from fastact.link.once import rounded_once
from fastact.link.pair import Pair
from fastact.link.scaled import Plain, Scaled
from fastact.link.stored import on_stored_bits
from fastact.link.values import Condition, Context, Integer, Number, Real, round_to_dtype

SINGLE_WORDS = {"float32": SINGLE_FAST, "float64": DOUBLE_FAST}
"""The arithmetics whose words are those of the result."""
FINER = {"single_bfloat": "single_half", "single_half": "single_fast"}
"""Whose tables serve a level that has none of its own."""
WORTH = 0.96
"""A part of the cost of ``rough`` in 16 bits. Where ``fast`` with short polynomials costs less, it stands in."""
STORAGE = {"float16": "i16", "bfloat16": "i16", "float32": "f32", "float64": "f64"}


class Linking(Context):
    """A context whose numbers are those of its arithmetic: words, or pairs of words."""

    def __init__(self, arithmetic: Arithmetic, graph: Graph | None = None) -> None:
        pairs = pair_single_blocks if arithmetic.guarded else pair_blocks
        words = short_blocks if arithmetic.short else word_blocks
        super().__init__(arithmetic, pairs if arithmetic.pair else words)  # type: ignore[arg-type]
        self.graph = self.graph if graph is None else graph
        self.argument_nodes: list[Node] = []
        """The arguments of the body, as they are stored."""

    def number(self, value: Number) -> Plain:
        return Pair.exactly(self, value) if self.arithmetic.pair else self.real(value)

    def constant(self, name: str) -> Plain:
        """A constant of the generated table."""
        hi, lo, *_ = coefficients.CONSTANTS[name]
        if self.arithmetic.guarded:
            return Pair.exactly(self, Fraction(hi) + Fraction(lo))
        return Pair(self.real(hi), self.real(lo)) if self.arithmetic.pair else self.real(hi)

    def doubled(self, value: Plain) -> Pair:
        """The same number as a pair of words, whatever the arithmetic."""
        return value if isinstance(value, Pair) else Pair(value)

    def split(self, name: str) -> tuple[float, ...]:
        """A constant as a sum of words, the first short enough for exact products with small whole numbers."""
        return coefficients.CONSTANTS[f"{name}_{'SINGLE' if self.arithmetic.word == 'f32' else 'DOUBLE'}"]

    def table(self, name: str, briefly: bool = True) -> tuple[Any, ...]:
        tables, level = coefficients.TABLES[name], self.arithmetic.level
        if self.arithmetic.guarded and level not in tables:
            raise pair_single_blocks.NoBlock(name)
        level = "single_rough" if briefly and self.arithmetic.brief and "single_rough" in tables else level
        while level not in tables:
            level = FINER[level]
        return tables[level].coefficients

    def exact_product(self, factors: Sequence[Plain]) -> bool:
        """Whether float32 holds the product of some numbers: of one of any kind, of two of 16 bits."""
        dtype = "float16" if self.arithmetic.wide else "bfloat16"
        short = all(isinstance(x, Real) and sixteen.is_sixteen(x.node, dtype) for x in factors)
        return len(factors) == 1 or (short and len(factors) == 2)

    def scaled(
        self,
        mantissa: Plain,
        exponent: Integer,
        bounded: bool = False,
        far: Condition | None = None,
        plain: Plain | None = None,
        everywhere: bool = False,
    ) -> Scaled | Plain:
        """A number held both ways; ``plain`` need not be right where the number is far and unbounded. ``everywhere``:
        of a bounded number it is right where that is subnormal, too."""
        usual = plain
        if plain is not None and not bounded:
            plain = plain.unless(far, Scaled(mantissa, exponent).plain())  # type: ignore[arg-type]
        result = Scaled(mantissa, exponent, bounded, far, plain, everywhere, usual)
        return result.plain() if self.arithmetic.wide else result

    def wider(self, body: Callable[..., Any], *arguments: Plain) -> Plain:
        """What a body makes of words in the next wider arithmetic, rounded to a word."""
        value = self._in_wider(body, arguments)
        return Real(self, value.context.word_of(value).convert(self.arithmetic.word).node)

    def wider_pair(self, body: Callable[..., Any], *arguments: Plain) -> Pair:
        """The same, rounded to two words."""
        value = self._in_wider(body, arguments)
        if isinstance(value, Pair):
            return Pair(Real(self, value.hi.node), Real(self, value.low.node))
        high = value.convert("f32")
        return Pair(Real(self, high.node), Real(self, (value - high.convert("f64")).convert("f32").node))

    def in_full(self, body: Callable[..., Plain], short: bool = False) -> Callable[..., Plain]:
        """The body on words, with all their digits where the tier has fewer; if ``short``, where results do, too."""
        a = self.arithmetic
        if not (a.rough or (short and a.short)):
            return body
        full = DOUBLE_FAST if a.word == "f64" else SINGLE_FAST
        full = replace(full if a.rough else a, level=full.level, wide=a.wide, products=a.products)
        other = Linking(full, self.graph)
        return lambda *words: Real(self, body(*(Real(other, word.node) for word in words)).node)  # type: ignore[union-attr]

    def _in_wider(self, body: Callable[..., Any], arguments: Sequence[Plain]) -> Any:
        narrow = self.arithmetic.word == "f32"
        other = Linking(replace(DOUBLE_WIDE if narrow else PAIR, products=self.arithmetic.products), self.graph)
        words = [Real(other, argument.convert("f64").node) for argument in arguments]  # type: ignore[union-attr]
        return body(*(words if narrow else map(other._input_pair, words)))

    def within(self, x: Real, least: float, most: float) -> None:
        """Leave elements to a wider arithmetic that are not within two positive limits; if the least is 0, whose size
        exceeds the other. That is hopeless where those grow faster than the arguments of the body."""
        if not least and not is_multiple(x.node):
            raise pair_single_blocks.NoBlock("exponentials of what grows faster than arguments")
        node = x.node.args[0] if x.node.op == "fneg" and not least else x.node
        self.held[node] = least, most
        self.signs += single.outside(Real(self, node), least, most)

    # -- the way in and the way out -----------------------------------------------------------------------------
    def receive(self, dtype: str) -> Scaled | Plain:
        """An input of the given dtype as a number of the arithmetic."""
        return self._argument(self.graph.input(STORAGE[dtype]), dtype)

    def receive_sum(self, dtype: str) -> Scaled | Plain:
        """The sum of two inputs, rounded to the dtype."""
        stored = [self.graph.input(STORAGE[dtype]) for _ in range(2)]
        if dtype not in sixteen.DTYPES:
            return self._argument(self.graph.node("fadd", STORAGE[dtype], *stored), dtype)
        a, b = (Real(self, self.graph.node(sixteen.WIDENED[dtype], "f32", node)) for node in stored)
        return self._argument(sixteen.narrowed(self, a + b, dtype), dtype)

    def _argument(self, stored: Node, dtype: str) -> Scaled | Plain:
        self.argument_nodes.append(stored)
        x = self.widen(stored, dtype)
        if self.arithmetic.guarded:
            return Pair(x)
        return self._input_pair(x) if self.arithmetic.pair else x

    def widen(self, stored: Node, dtype: str) -> Real:
        """A stored number of the given dtype as a word."""
        if dtype == "float16":
            x = Real(self, self.graph.node("half_to_single", "f32", stored))
        elif dtype == "bfloat16":
            x = Real(self, self.graph.node("bfloat_to_single", "f32", stored))
        else:
            x = Real(self, stored)
        return x.convert(self.arithmetic.word)

    def _input_pair(self, x: Real) -> Scaled:
        """Far are numbers so small or so large that errors of products with them, or their squares, might not be
        normal numbers."""
        small, large = 2.0**-300, 2.0**300
        size = abs(x)
        near = ((size >= small) & (size <= large)) | x.equals(0.0)
        tiny, huge = size < small, size > large
        factor = self.real(2.0**600).choose(tiny, self.real(2.0**-600).choose(huge, 1.0))
        zero = self.integer(0)
        exponent = self.integer(-600).choose(tiny, self.integer(600).choose(huge, zero))
        return Scaled(Pair(x * factor), exponent, True, ~near, Pair(x), is_input=True)

    def held_apart(self, value: Plain) -> Scaled:
        """A number as a mantissa near 1 and a power of two; far is it where inputs would be."""
        high = abs(value.hi if isinstance(value, Pair) else value)
        far = ~((high >= 2.0**-300) & (high <= 2.0**300))
        return Scaled(value, self.integer(0), False, far, value).centred()

    def word_of(self, value: Any) -> Real:
        """A result as one word, rounded to it once."""
        if isinstance(value, (int, float)):
            value = self.number(value)
        if isinstance(value, Scaled):
            value = value.rounded()
        return value.rounded() if isinstance(value, Pair) else value

    def deliver(self, value: Any, dtype: str, away: bool = False) -> None:
        """Round once to the dtype and make that an output; ``away``: ties either way (`sixteen.narrowed`)."""
        value, narrow = self.word_of(value), dtype in sixteen.DTYPES
        node = sixteen.narrowed(self, value, dtype, away) if narrow else value.convert(STORAGE[dtype]).node
        self.graph.outputs.append(node)

    def alarm(self, condition: Condition) -> None:
        """Mark the elements for which floating-point flags are to be looked into."""
        self.graph.outputs.append(condition.node)

    def doubtful(self, y: Real, narrowed: Callable[[Real], Node]) -> Condition:
        """Where a float64 value lies so near to a rounding boundary, or to where digits cancel, likewise."""
        above, below = (narrowed(y * factor) for factor in (1.0 + 2.0**-42, 1.0 - 2.0**-42))
        different = Condition(self, self.graph.node("icmp", "i1", above, below, data="ne"))
        return functools.reduce(Condition.__or__, self.doubts, different)


def link(
    body: Callable[..., Any],
    inputs: int,
    dtype: str,
    tier: str,
    alarm: Callable[..., Any] | None = None,
    settled: bool | Close = False,
    fixed: tuple[float, ...] = (),
    products: bool = False,
    summed: bool = False,
    further: int = 0,
    words: Callable[..., Any] | None = None,
) -> Graph:
    """The graph of a body of ``inputs`` arguments in a dtype and a tier.

    ``settled``: whether float64 is known to be enough for float32 ``exact``, or how 16 bits are rounded rightly from
    float32; otherwise close cases are decided in wider arithmetic.
    ``fixed``: further arguments that are constants, rounded to the dtype as an input would be.
    ``products``: the results are products with further inputs; 16-bit ``exact`` then goes through float64 as float32
    does, since not enough is known of errors in float32.
    ``summed``: the first argument is the sum of two inputs, rounded to the dtype.
    ``further``: how many inputs besides the argument of an activation and one factor are factors, too.
    ``words``: a body that has the results of float32 ``exact`` in words of float32, with where they are in doubt."""
    constants = [round_to_dtype(value, dtype) for value in fixed]
    if tier == "exact" and dtype in SINGLE_WORDS:
        linking, arguments, results = _run(body, SINGLE_WORDS[dtype], inputs, dtype, constants, summed)
        nodes = [linking.word_of(value).node for value in results]
        if all(rounded_once(linking, node) for node in nodes):
            linking.graph.outputs += nodes
            if alarm is not None:
                linking.alarm(alarm(*arguments, *map(linking.number, constants)))
            return linking.graph
    if tier == "exact" and dtype == "float32" and words is not None:
        return _by_words(words, body, inputs, alarm, settled, constants, products, summed)
    graph = _linked(body, inputs, dtype, tier, alarm, settled, constants, products, summed)
    if tier == "exact" and dtype == "float32" and inputs == 1 + products + further:
        paired = _paired(body, inputs, alarm, settled, constants, products, summed)
        return single.cheaper(graph, paired, bool(settled))
    if dtype not in sixteen.DTYPES:
        return graph
    if tier == "rough" and _brief_is_cheaper(body, inputs, dtype, constants, products):
        return link(body, inputs, dtype, "brief", alarm, settled, fixed, products, summed)
    return on_stored_bits(graph, dtype)


def _brief_is_cheaper(body: Callable[..., Any], inputs: int, dtype: str, constants: Any, products: bool) -> bool:
    """Whether ``fast`` with short polynomials stands in for ``rough``."""
    given = None, False, constants, products, False
    rough, brief = (single.cost(_linked(body, inputs, dtype, tier, *given)) for tier in ("rough", "brief"))
    return brief <= WORTH * rough


def _linked(
    body: Callable[..., Any],
    inputs: int,
    dtype: str,
    tier: str,
    alarm: Callable[..., Any] | None,
    settled: bool | Close,
    constants: list[Fraction],
    products: bool,
    summed: bool,
) -> Graph:
    """The graph in the arithmetic of the dtype and the tier, for ``exact`` with what decides close cases."""
    double = products and tier == "exact" and dtype in sixteen.DTYPES
    close = settled if tier == "exact" and isinstance(settled, Close) else None
    arithmetic = DOUBLE_WIDE if double else ARITHMETICS[dtype, close.tier if close else tier]
    if arithmetic.short and (products or (inputs > 1 and not arithmetic.wide)):
        # What is multiplied with a further input may be smaller than any result, and has to keep its digits.
        arithmetic = replace(arithmetic, level=SINGLE_FAST.level, brief=False)
    alone = inputs == 1 and not products and tier != "exact"
    arithmetic = replace(arithmetic, products=products, alone=alone)
    linking, arguments, results = _run(body, arithmetic, inputs, dtype, constants, summed)
    again = functools.cache(functools.partial(_again, body, linking, dtype, constants))
    if double:
        for place, value in enumerate(results):
            y = linking.word_of(value)
            near = linking.doubtful(y, functools.partial(sixteen.narrowed_to_odd, dtype=dtype))
            linking.deliver(sixteen.round_to_odd(y).unless(near, sixteen.in_pairs(again, place)), dtype)
    elif tier == "exact" and dtype in sixteen.DTYPES and not close:
        for place, value in enumerate(results):
            y = linking.word_of(value)
            wide = functools.partial(sixteen.in_words, again, place, dtype if inputs > 1 else "")
            pairs = functools.partial(sixteen.in_pairs, again, place) if dtype == "bfloat16" and not settled else None
            linking.graph.outputs.append(sixteen.decide(linking, y, dtype, wide, pairs))
    elif tier == "exact" and dtype == "float32" and not settled:
        for place, value in enumerate(results):
            linking.deliver(single.decide(linking, value, functools.partial(_item, again, PAIR, place)), dtype)
    else:
        arithmetic = linking.arithmetic
        if linking.doubts and dtype in sixteen.DTYPES and arithmetic.spare:
            # Where digits cancel, there are none to spare.
            results = again(replace(arithmetic, level=SINGLE_FAST.level, spare=False, brief=False))
        for value in results:
            value = close.applied(linking, linking.word_of(value), dtype) if close else value
            linking.deliver(value, dtype, away=tier != "exact")
    if alarm is not None:
        linking.alarm(alarm(*arguments, *map(linking.number, constants)))
    return linking.graph


def _by_words(
    words: Callable[..., Any],
    body: Callable[..., Any],
    inputs: int,
    alarm: Callable[..., Any] | None,
    settled: bool | Close,
    constants: list[Fraction],
    products: bool,
    summed: bool,
) -> Graph:
    """The graph of a float32 body that has its results in words, but for those in doubt, which are left to float64."""
    linking, arguments, results = _run(words, SINGLE_FAST, inputs, "float32", constants, summed)
    y, *doubts = results
    if doubts:
        linking.arithmetic = replace(SINGLE_FAST, products=products)
        again = functools.cache(functools.partial(_again, body, linking, "float32", constants))
        wide = functools.partial(_item, again, DOUBLE_WIDE, 0)
        decisive = None if settled else functools.partial(_item, again, PAIR, 0)
        y = single.left(linking, y, doubts[0], wide, decisive)
        if any(node.op == "lookup" and node.type == "f32" for node in linking.graph.nodes):
            other = wide() if decisive is None else single.decide(linking, wide(), decisive)
            linking.graph.instead.append(other.convert("f32").node)
    linking.deliver(y, "float32")
    if alarm is not None:
        linking.alarm(alarm(*arguments, *map(linking.number, constants)))
    return single.tabulated(linking.graph)


def _paired(
    body: Callable[..., Any],
    inputs: int,
    alarm: Callable[..., Any] | None,
    settled: bool | Close,
    constants: list[Fraction],
    products: bool,
    summed: bool,
) -> Graph | None:
    """The graph of a float32 body of one argument, all values of which can be tried, or of the product of one with such
    a body, in pairs of float32; None where digits cancel or a block for them is missing."""
    arithmetic = replace(SINGLE_PAIR, products=products)
    try:
        linking, arguments, results = _run(body, arithmetic, inputs, "float32", constants, summed)
    except pair_single_blocks.NoBlock:
        return None
    if linking.doubts or (products and not all(_is_product(linking, value) for value in results)):
        return None
    again = functools.cache(functools.partial(_again, body, linking, "float32", constants))
    for place, value in enumerate(results):
        wide = functools.partial(_item, again, DOUBLE_WIDE, place)
        decisive = None if settled else functools.partial(_item, again, PAIR, place)
        linking.deliver(single.decide_pair(linking, value, wide, decisive), "float32")
    if alarm is not None:
        linking.alarm(alarm(*arguments, *map(linking.number, constants)))
    return linking.graph


def _is_product(linking: Linking, value: Any) -> bool:
    return isinstance(value, Pair) and single.product_of(linking, value) is not None


def _run(
    body: Callable[..., Any],
    arithmetic: Arithmetic,
    inputs: int,
    dtype: str,
    constants: list[Fraction],
    summed: bool,
) -> tuple[Linking, list[Any], tuple[Any, ...]]:
    """A body's results in an arithmetic, with what they were made of."""
    linking = Linking(arithmetic)
    receive = linking.receive_sum if summed else linking.receive
    arguments: list[Any] = [receive(dtype), *(linking.receive(dtype) for _ in range(inputs - 1))]
    return linking, arguments, _as_tuple(body(*arguments, *map(linking.number, constants)))


def _as_tuple(results: Any) -> tuple[Any, ...]:
    return results if isinstance(results, tuple) else (results,)


def _again(
    body: Callable[..., Any], linking: Linking, dtype: str, constants: list[Fraction], arithmetic: Arithmetic
) -> tuple[Any, ...]:
    """The results of a body on the same inputs in another arithmetic; if in pairs of words, these are never far."""
    other = Linking(replace(arithmetic, products=linking.arithmetic.products), linking.graph)
    words = [other.widen(node, dtype) for node in linking.argument_nodes]
    arguments = map(Pair, words) if arithmetic.pair else words
    results = _as_tuple(body(*arguments, *map(other.number, constants)))
    return tuple(other.number(value) if isinstance(value, (int, float)) else value for value in results)


def _item(again: Callable[[Arithmetic], tuple[Any, ...]], arithmetic: Arithmetic, place: int) -> Any:
    return again(arithmetic)[place]
