"""Quotients and square roots by multiplications, with the bits of the instructions that divide and take roots.

Some processors multiply sixteen to thirty registers in the time in which they divide one of 512 bits. There a part of
a vector's registers goes to the divider, and meanwhile the others start from the processor's approximation to 14 bits
and get all bits by fused operations (`worthwhile` decides how many). What follows holds for magnitudes with ordinary
exponents (`_Range`), of which nothing overflows or underflows on the way. If one of a turn's is not ordinary, that turn
is left to the divider before anything has been computed, so that no flag is raised by the way. Zeros are fine as
numerators and under roots.

Let p be 24 or 53 bits, u = 2^-p, and 1 <= b < 2.

1/b. From y, e = fma(-b, y, 1) and fma(y, e, y) is (1 - e^2)/b, rounded. One step for float32, two for float64, give y
within 0.58 units in the last place; then e is exact, and e^2/b < 0.34 b u^2, while 1/b, if b is no power of two, is at
least u^2/b away from any boundary of rounding. So one step more rounds rightly, unless b is p bits of a factor of
u^-2 - 1 or u^-2 + 1: tests try those of 2^106, and all of float32. The worst of them is p ones, from where a seed of
1/2 stays where it is: the last bit of seeds is set.

a/b. With y = 1/b rounded, and q within a unit in the last place of a/b, r = fma(-b, q, a) is exact, and fma(r, y, q)
is a/b rounded (Markstein): it could only be wrong next to a boundary, where |a/b - q| is half a unit and the error of
r y is less than b/4 u of a unit; but a/b is at least u/b of a unit away from it, and b^2 < 4. Constant divisors have
their y at hand; where a y is a/b within a unit, it is q.

Root of x = s^2. g -> fma(fma(-g, g, x), h, g) with h = 1/(2s), from g within a unit in the last place, misses s by
(s/4 + 1/(4s)) u of a unit next to a boundary m, and by less than 2^-49 of a unit if h is right to 2^-49 only. But s is
c u/(4s) of a unit away from m, if c is |x - m^2| in units of u^2: only x with small c are in danger. Tests try those,
and of float32 all numbers of two binades.
"""

from __future__ import annotations

import functools
import itertools
import math
import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from llvmlite import ir

from fastact.cpu.lowering import clips, masks
from fastact.cpu.lowering.order import Detour
from fastact.cpu.lowering.words import constant, typed
from fastact.link.graph import BITS, Node
from fastact.link.sixteen import AWAY

if TYPE_CHECKING:
    from fastact.cpu.lowering.emit import Emitter

REGISTER = 512
DIVIDER = {("fdiv", "f32"): 9.9, ("fdiv", "f64"): 15.9, ("sqrt", "f32"): 11.9, ("sqrt", "f64"): 23.8}
"""Cycles of an instruction that divides or takes a root of one register, as `benchmarks/limits.py` measures them on
Emerald Rapids."""
STARTED = 1.5
"""Cycles of the other pipes that such an instruction takes as well."""
STEPS = {
    ("reciprocal", "f32"): 4.8, ("reciprocal", "f64"): 5.8, ("quotient", "f32"): 8.8, ("quotient", "f64"): 9.8,
    ("part", "f32"): 2.8, ("part", "f64"): 2.8, ("sqrt", "f32"): 6.5, ("sqrt", "f64"): 8.5,
}  # fmt: skip
"""Cycles of what is computed instead: weights, like those that follow, with which the choice agreed with what was
measured on Emerald Rapids."""
PLAIN, PIECES = 0.5, 4
OTHERS = {
    "fcmp": 0.8, "icmp": 0.8, "lookup": 1.0, "fpext": 1.5, "fptrunc": 3.0, "half_to_single": 1.0, "single_to_half": 3.0,
    "bfloat_to_single": 1.0, "single_to_bfloat": 3.0, AWAY: 1.0,
    "constant": 0.0, "input": 0.0,
}  # fmt: skip
"""Cycles of other operations on a register, and the pieces that conditions are put together in."""
WORTH = 0.8
"""The part of the time that has to be enough."""
MOST = 3
"""Quotients and roots of loops that are looked into."""

_FRACTION = {"f32": 23, "f64": 52}
"""Bits of the mantissa, the first one left out."""


class _Range(NamedTuple):
    """Ordinary exponents: those of one half or quarter of all, in the middle, and perhaps of positive numbers only.

    Less the lowest of them, the bits of ordinary numbers lack those of ``mask``, counted from the sign down."""

    part: int
    mask: int


HALF, QUARTER, POSITIVE = _Range(2, 0b010), _Range(4, 0b011), _Range(2, 0b110)


# -- what is worth it -------------------------------------------------------------------------------------------------
def worthwhile(steps: Sequence[Node | Detour], width: int) -> dict[Node, int]:
    """How many registers of vectors the quotients and roots of a loop are computed of without the divider."""
    nodes = [step for step in steps if isinstance(step, Node)]
    found = [node for node in nodes if (node.op, node.type) in DIVIDER and _kind(node)]
    if not found or len(found) > MOST:
        return {}
    spared = {node.args[0] for node in nodes if node.op == "select" and clips.extreme_of(node)}
    rest = sum(_cycles(node, width) for node in nodes if node not in found and node not in spared)

    def cycles(counts: tuple[int, ...]) -> float:
        divider, pipes = 0.0, rest
        for node, count in zip(found, counts, strict=True):
            left = registers(node.type, width) - count
            divider += left * DIVIDER[node.op, node.type]
            pipes += left * STARTED + count * STEPS[_kind(node), node.type]
        return max(divider, pipes)

    choices = [range(registers(node.type, width) + 1) for node in found]
    best = min(itertools.product(*choices), key=cycles)
    if cycles(best) > WORTH * cycles((0,) * len(found)):
        return {}
    return {node: count for node, count in zip(found, best, strict=True) if count}


def registers(type: str, width: int) -> int:
    """How many registers a vector fills."""
    return max(width * BITS[type] // REGISTER, 1)


def _cycles(node: Node, width: int) -> float:
    """Those of an operation on a vector. Conditions are computed register by register."""
    type = node.type if node.type != "i1" or not node.args else node.args[0].type
    if type == "i1":  # `not` is a comparison the other way round
        return PIECES * (0.0 if node.op == "xor" else PLAIN)
    return registers(type, width) * OTHERS.get(node.op, PLAIN)


def _kind(node: Node) -> str:
    """How a quotient or root is computed; "" where it is for the compiler."""
    if node.op == "sqrt":
        return "sqrt"
    a, b = map(_value, node.args)
    if not all(x is None or 2.0**-20 <= abs(x) <= 2.0**20 for x in (a, b)):
        return ""
    if b is not None:
        return "part" if a is None and _divides(b, node.type) else ""
    return "reciprocal" if a is not None and _power_of_two(a) else "quotient"


def _value(node: Node) -> float | None:
    return float.fromhex(node.data) if node.op == "constant" and isinstance(node.data, str) else None


def _power_of_two(value: float) -> bool:
    return math.frexp(abs(value))[0] == 0.5


def _divides(c: float, type: str) -> bool:
    """Whether products with the reciprocal of a constant are quotients within a unit in the last place."""
    error = abs(Fraction(_reciprocal(c, type)) * Fraction(c) - 1)
    return c > 0.0 and not _power_of_two(c) and error * 2 ** (_FRACTION[type] + 1) <= Fraction(1, 2)


def _reciprocal(c: float, type: str) -> float:
    return 1.0 / c if type == "f64" else float(struct.unpack("<f", struct.pack("<f", 1.0 / c))[0])


# -- the operations ---------------------------------------------------------------------------------------------------
class _Registers:
    """Writes operations on single registers of a type."""

    def __init__(self, e: Emitter, type: str) -> None:
        self.e, self.b, self.type = e, e.builder, type
        self.lanes = REGISTER // BITS[type]
        self.integer, self.kind = f"i{BITS[type]}", typed(type, self.lanes)

    def number(self, value: float) -> ir.Value:
        return constant(self.type, self.lanes, value)

    def bits(self, value: int) -> ir.Value:
        return constant(self.integer, self.lanes, value)

    def fma(self, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
        function = self.e.declared(f"llvm.fma.v{self.lanes}{self.type}", self.kind, [self.kind] * 3)
        return self.b.call(function, [x, y, z])

    def less(self, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
        """z - x y"""
        return self.fma(self.b.fneg(x), y, z)

    def seed(self, name: str, x: ir.Value) -> ir.Value:
        """The processor's approximation to 14 bits."""
        mask = ir.IntType(max(self.lanes, 8))
        suffix = "ps" if self.type == "f32" else "pd"
        function = self.e.declared(f"llvm.x86.avx512.{name}14.{suffix}.512", self.kind, [self.kind, self.kind, mask])
        return self.b.call(function, [x, self.number(0.0), mask((1 << self.lanes) - 1)])

    def above(self, x: ir.Value, range: _Range) -> ir.Value:
        """The bits of a number, less those of the least ordinary one."""
        bits, lowest = BITS[self.type], 1 << _FRACTION[self.type]
        exponents = 1 << bits - _FRACTION[self.type] - 1
        least = lowest * (exponents // 2 - exponents // range.part // 2)
        return self.b.sub(self.b.bitcast(x, typed(self.integer, self.lanes)), self.bits(least))

    def reciprocals(self, b: ir.Value) -> list[ir.Value]:
        """Ever better ones of a number, the last one rounded."""
        seed = self.b.bitcast(self.seed("rcp", b), typed(self.integer, self.lanes))
        found = [self.b.bitcast(self.b.or_(seed, self.bits(1)), self.kind)]
        for _ in range(2 if self.type == "f32" else 3):
            y = found[-1]
            found.append(self.fma(self.less(b, y, self.number(1.0)), y, y))
        return found

    def corrected(self, q: ir.Value, a: ir.Value, b: ir.Value, y: ir.Value) -> ir.Value:
        """A quotient and what the remainder adds to it."""
        return self.fma(self.less(b, q, a), y, q)

    def part(self, a: ir.Value, c: ir.Value, y: ir.Value, nonzero: ir.Value | None) -> ir.Value:
        q = self.b.fmul(a, y)
        return self.b.select(nonzero, self.corrected(q, a, c, y), q)

    def quotient(self, a: ir.Value, b: ir.Value, nonzero: ir.Value | None) -> ir.Value:
        """Zeros keep the signs that their products have."""
        *_, y, closer, closest = self.reciprocals(b)
        rough = self.b.fmul(a, y)
        q = self.corrected(self.corrected(rough, a, b, closer), a, b, closest)
        return q if nonzero is None else self.b.select(nonzero, q, rough)

    def root(self, x: ir.Value, nonzero: ir.Value | None) -> ir.Value:
        half, y = self.number(0.5), self.b.select(nonzero, self.seed("rsqrt", x), self.number(0.0))
        g, h = self.b.fmul(x, y), self.b.fmul(y, half)
        r = self.less(h, g, half)
        g, h = self.fma(g, r, g), self.fma(h, r, h)
        if self.type == "f64":
            r = self.less(h, g, half)
            g, h = self.fma(self.less(g, g, x), h, g), self.fma(h, r, h)
        return self.fma(self.less(g, g, x), h, g)


def computed(e: Emitter, node: Node, args: list[ir.Value], count: int) -> ir.Value:
    """The value of a quotient or root, the first ``count`` registers of it without the divider."""
    on, b = _Registers(e, node.type), e.builder
    parts = list(zip(*(masks.pieces(e, x, registers(node.type, e.width)) for x in args), strict=True))

    def divided(some: Iterable[tuple[ir.Value, ...]]) -> list[ir.Value]:
        if node.op == "fdiv":
            return [b.fdiv(*part) for part in some]
        function = e.declared(f"llvm.sqrt.v{on.lanes}{node.type}", on.kind, [on.kind])
        return [b.call(function, list(part)) for part in some]

    others = divided(parts[count:])
    multiplied = parts[:count]
    strange, nonzero = _looked_into(on, _ranges(node), multiplied)
    aside, usual, after = (b.append_basic_block(name) for name in ("divided", "multiplied", "after"))
    b.cbranch(strange, aside, usual).set_weights([1, 1000])
    b.position_at_end(aside)
    rare = divided(multiplied)
    b.branch(after)
    b.position_at_end(usual)
    results = [_result(on, node, part, mask) for part, mask in zip(multiplied, nonzero, strict=True)]
    b.branch(after)
    b.position_at_end(after)
    merged = []
    for value, other in zip(results, rare, strict=True):
        merged.append(b.phi(value.type))
        merged[-1].add_incoming(value, usual)
        merged[-1].add_incoming(other, aside)
    return masks.whole(e, masks.Mask([*merged, *others]))


def _ranges(node: Node) -> list[tuple[int, _Range, bool]]:
    """The operands that have to be ordinary, in which range, and whether zeros are welcome as well."""
    kind = _kind(node)
    if kind == "sqrt":
        return [(0, POSITIVE, True)]
    if kind == "part":
        return [(0, HALF, True)]
    if _value(node.args[0]) is not None:
        return [(1, HALF, False)]
    return [(0, HALF, True), (1, QUARTER, False)]


def _looked_into(
    on: _Registers, ranges: list[tuple[int, _Range, bool]], parts: list[tuple[ir.Value, ...]]
) -> tuple[ir.Value, list[ir.Value | None]]:
    """Whether some number is not ordinary, and where operands that may be zero are not."""
    b, zero = on.b, on.number(0.0)
    found: dict[_Range, ir.Value] = {}
    nonzero: list[ir.Value | None] = []
    for part in parts:
        nonzero.append(None)
        for i, range, zeros in ranges:
            bits = on.above(part[i], range)
            if zeros:
                nonzero[-1] = b.fcmp_unordered("!=", part[i], zero)
                bits = b.select(nonzero[-1], bits, on.bits(0))
            found[range] = b.or_(found[range], bits) if range in found else bits
    masked = [b.and_(bits, on.bits(range.mask << BITS[on.type] - 3)) for range, bits in found.items()]
    strange = functools.reduce(b.or_, masked)
    return masks.anywhere(on.e, b.icmp_signed("!=", strange, on.bits(0))), nonzero


def _result(on: _Registers, node: Node, part: tuple[ir.Value, ...], nonzero: ir.Value | None) -> ir.Value:
    """A register of the quotient or root of ordinary numbers and perhaps zeros."""
    kind = _kind(node)
    if kind == "sqrt":
        return on.root(part[0], nonzero)
    if kind == "quotient":
        return on.quotient(part[0], part[1], nonzero)
    a, c = map(_value, node.args)
    if c is not None:
        return on.part(part[0], part[1], on.number(_reciprocal(c, node.type)), nonzero)
    y = on.reciprocals(part[1])[-1]
    return y if a == 1.0 else on.b.fmul(y, part[0])
