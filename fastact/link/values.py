"""The values that bodies compute with while they are being linked: each operation adds nodes to a graph.

`Real` is one machine word, `Integer` its bit pattern, `Condition` the outcome of a comparison.
"""

from __future__ import annotations

import math
from fractions import Fraction
from types import ModuleType

from fastact.link.arithmetic import Arithmetic
from fastact.link.graph import BITS, Graph, Node
from fastact.link.known import Knowledge

Number = int | float | Fraction
ONE = (1.0).hex()


class Context(Knowledge):
    """The graph under construction, its arithmetic and the elementary blocks written for that arithmetic."""

    def __init__(self, arithmetic: Arithmetic, blocks: ModuleType | None = None) -> None:
        super().__init__()
        self.graph = Graph()
        self.arithmetic = arithmetic
        self.blocks = blocks

    def real(self, value: Number, word: str | None = None) -> Real:
        word = word or self.arithmetic.word
        rounded = round_to_word(value, word)
        node = self.graph.constant(word, rounded)
        if math.isfinite(rounded) and Fraction(rounded) != Fraction(repr(value) if isinstance(value, float) else value):
            self.inexact.add(node.index)
        return Real(self, node)

    def integer(self, value: int) -> Integer:
        return Integer(self, self.graph.constant(self.arithmetic.integer, value))


def round_to_word(value: Number, word: str) -> float:
    """The float of the given word nearest to an exact number; a float literal means the decimal written."""
    if word == "f64":
        return float(value)
    import numpy as np

    return float(np.float32(value if not isinstance(value, Fraction) else float(value)))


PRECISION = {"float16": (11, -24), "bfloat16": (8, -133), "float32": (24, -149), "float64": (53, -1074)}
"""Bits of the significand, and the exponent of the smallest subnormal number."""


def round_to_dtype(value: Number, dtype: str) -> Fraction:
    """The number of the dtype nearest to one that is within its range, ties to even."""
    bits, least = PRECISION[dtype]
    quantum = Fraction(2) ** max(math.frexp(value)[1] - bits, least)
    return round(Fraction(value) / quantum) * quantum


class Condition:
    """A truth value per element."""

    __slots__ = ("context", "node")

    def __init__(self, context: Context, node: Node) -> None:
        self.context, self.node = context, node

    def _make(self, op: str, *others: Condition) -> Condition:
        return Condition(self.context, self.context.graph.node(op, "i1", self.node, *(o.node for o in others)))

    def __and__(self, other: Condition) -> Condition:
        return self._make("and", other)

    def __or__(self, other: Condition) -> Condition:
        return self._make("or", other)

    def __invert__(self) -> Condition:
        true = Condition(self.context, self.context.graph.constant("i1", 1))
        return self._make("xor", true)

    def only_where(self, rare: Condition) -> Condition:
        """Whether this holds, which it does nowhere else than another condition that hardly ever holds."""
        graph = self.context.graph
        never = graph.constant("i1", 0)
        return Condition(self.context, graph.node("select", "i1", rare.node, self.node, never, data="rare"))

    def __bool__(self) -> bool:
        raise TypeError("a body cannot branch on a value; use where(condition, a, b)")


class Integer:
    """A bit pattern, or a whole number in two's complement, as wide as the word it comes from."""

    __slots__ = ("context", "node")

    def __init__(self, context: Context, node: Node) -> None:
        self.context, self.node = context, node

    def _lift(self, other: Integer | int) -> Node:
        if isinstance(other, Integer):
            return other.node
        return self.context.graph.constant(self.node.type, other)

    def _make(self, op: str, other: Integer | int) -> Integer:
        return Integer(self.context, self.context.graph.node(op, self.node.type, self.node, self._lift(other)))

    def _less(self) -> tuple[Node, int]:
        """A node and a constant to be taken from it."""
        if self.node.op == "isub" and self.node.args[1].op == "constant":
            return self.node.args[0], int(str(self.node.args[1].data))
        return self.node, 0

    def _modulo(self, bits: int) -> Integer:
        """A number of which so many of the last bits are the same."""
        node, constant = self._less()
        return self if constant % (1 << bits) else Integer(self.context, node)

    def __add__(self, other: Integer | int) -> Integer:
        node, constant = self._less()
        if constant and isinstance(other, int):
            return Integer(self.context, node) - (constant - other)
        return self._make("iadd", other)

    def __sub__(self, other: Integer | int) -> Integer:
        node, constant = self._less()
        if constant and isinstance(other, int):
            return Integer(self.context, node) - (constant + other)
        return self if isinstance(other, int) and not other else self._make("isub", other)

    def __rsub__(self, other: int) -> Integer:
        lifted = Integer(self.context, self._lift(other))
        return lifted._make("isub", self)

    def __and__(self, other: Integer | int) -> Integer:
        bare = self._modulo(other.bit_length()) if isinstance(other, int) and other >= 0 else self
        return bare._make("and", other)

    def __or__(self, other: Integer | int) -> Integer:
        return self._make("or", other)

    def __xor__(self, other: Integer | int) -> Integer:
        return self._make("xor", other)

    def __lshift__(self, other: Integer | int) -> Integer:
        bare = self._modulo(BITS[self.node.type] - other) if isinstance(other, int) else self
        return bare._make("shl", other)

    def __rshift__(self, other: Integer | int) -> Integer:
        """Arithmetic shift: the sign is kept."""
        return self._make("ashr", other)

    def shift_right_logical(self, other: int) -> Integer:
        return self._make("lshr", other)

    def compare(self, op: str, other: Integer | int) -> Condition:
        """``op`` is one of slt, sle, sgt, sge, eq, ne."""
        node = self.context.graph.node("icmp", "i1", self.node, self._lift(other), data=op)
        return Condition(self.context, node)

    def choose(self, condition: Condition, other: Integer | int) -> Integer:
        """self where the condition holds, other elsewhere."""
        graph = self.context.graph
        return Integer(self.context, graph.node("select", self.node.type, condition.node, self.node, self._lift(other)))

    def resize(self, type: str, signed: bool = False) -> Integer:
        have, want = BITS[self.node.type], BITS[type]
        if have == want:
            return self
        op = "itrunc" if want < have else ("sext" if signed else "zext")
        return Integer(self.context, self.context.graph.node(op, type, self.node))

    def as_real(self) -> Real:
        """The float that has these bits."""
        word = "f" + self.node.type[1:]
        return Real(self.context, self.context.graph.node("bitcast", word, self.node))

    def to_real(self, word: str) -> Real:
        """The float nearest to this whole number."""
        return Real(self.context, self.context.graph.node("sitofp", word, self.node))


def _contracted(a: Real, b: Real) -> Real | None:
    """The sum of a product and a number as one operation; None of other sums."""
    for product, other in ((a, b), (b, a)):
        sign, node = 1, product.node
        if node.op == "fneg":
            sign, node = -1, node.args[0]
        if node.op == "fmul":
            x, y = (Real(a.context, factor) for factor in node.args)
            return (x if sign > 0 else -x).fma(y, other)
    return None


NEIGHBOURS = (0, -1, 1, -2, 2, -3, 3)
"""How many places a slope may be off, where some are nothing to results."""


def _line(total: Real, slope: object) -> Real | None:
    """A sum of a number and a constant times another constant as one operation, which has the root of that sum; None of
    other products. For that the slope is one of the floats next to it of which the multiple is a float."""
    import numpy as np

    node = slope.node if isinstance(slope, Real) else None
    if node is not None and node.op == "constant":
        slope = float.fromhex(str(node.data))
    if total.node.op != "fadd" or not isinstance(slope, (int, float, Fraction)) or not math.isfinite(slope):
        return None
    for x, shift in (total.node.args, total.node.args[::-1]):
        if shift.op != "constant" or x.op == "constant":
            continue
        offset, middle = Fraction(float.fromhex(str(shift.data))), round_to_word(slope, "f32")
        for places in NEIGHBOURS:
            near = float(np.float32(middle) + places * np.spacing(np.float32(middle)))
            if near and round_to_word(offset * Fraction(near), "f32") == offset * Fraction(near):
                return Real(total.context, x).fma(near, float(offset * Fraction(near)))
    return None


class Real:
    """One machine word per number; every operation rounds to nearest."""

    __slots__ = ("context", "node")

    def __init__(self, context: Context, node: Node) -> None:
        self.context, self.node = context, node

    # -- construction -------------------------------------------------------------------------------------------
    def lift(self, other: Real | Number) -> Real:
        if isinstance(other, Real):
            return other
        if isinstance(other, (int, float, Fraction)):
            return self.context.real(other, self.node.type)
        return NotImplemented

    def _make(self, op: str, *others: Real) -> Real:
        return Real(self.context, self.context.graph.node(op, self.node.type, self.node, *(o.node for o in others)))

    @property
    def arithmetic(self) -> Arithmetic:
        return self.context.arithmetic

    # -- arithmetic ---------------------------------------------------------------------------------------------
    def __add__(self, other: object) -> Real:
        return self._binary("fadd", other)

    def __sub__(self, other: object) -> Real:
        return self._binary("fsub", other)

    def is_one(self) -> bool:
        """Whether it is the constant 1, factors and divisors of which are left out."""
        return self.node.op == "constant" and self.node.data == ONE

    def __mul__(self, other: object) -> Real:
        if isinstance(other, Real) and other.is_one():
            return self
        line = _line(self, other) if self.arithmetic.short else None
        if line is not None:
            return line
        result = self._binary("fmul", other)
        if isinstance(other, (int, float)) and other and math.isfinite(other):
            ends = [bound * other for bound in self.context.bounds(self)]
            self.context.note(result, min(ends), max(ends))
        return result

    def __truediv__(self, other: object) -> Real:
        if isinstance(other, Real) and other.is_one():
            return self
        return self._binary("fdiv", other)

    def __radd__(self, other: object) -> Real:
        return self._binary("fadd", other)

    def __rsub__(self, other: object) -> Real:
        return self._binary("fsub", other, reverse=True)

    def __rmul__(self, other: object) -> Real:
        return self * other

    def __rtruediv__(self, other: object) -> Real:
        return self._binary("fdiv", other, reverse=True)

    def _binary(self, op: str, other: object, reverse: bool = False) -> Real:
        lifted = self.lift(other)  # type: ignore[arg-type]
        if lifted is NotImplemented:
            return NotImplemented
        if self.arithmetic.short and op in ("fadd", "fsub"):
            a, b = (lifted, self) if reverse else (self, lifted)
            return _contracted(a, b if op == "fadd" else -b) or a._make(op, b)
        return lifted._make(op, self) if reverse else self._make(op, lifted)

    def __neg__(self) -> Real:
        if self.node.op == "fneg" and self.arithmetic.short:
            return Real(self.context, self.node.args[0])
        result = self._make("fneg")
        low, high = self.context.bounds(self)
        self.context.note(result, -high, -low)
        return result

    def __abs__(self) -> Real:
        result = self._make("fabs")
        low, high = self.context.bounds(self)
        self.context.note(result, 0.0, max(-low, high))
        return result

    def size_within(self, limit: float) -> Real:
        """The smaller of the size and a limit, whatever of NaN."""
        size = Real(self.context, self.context.graph.node("fabs", self.node.type, self.node, data="number"))
        result = size.choose(~(size > limit), limit)
        self.context.note(result, 0.0, limit)
        return result

    def fma(self, factor: Real | Number, addend: Real | Number) -> Real:
        """self * factor + addend, rounded once."""
        return self._make("fma", self.lift(factor), self.lift(addend))

    def sqrt(self) -> Real:
        return self._make("sqrt")

    def copysign(self, sign: Real) -> Real:
        return self._make("copysign", sign)

    def rint(self) -> Real:
        return self._make("rint")

    def floor(self) -> Real:
        return self._make("floor")

    def split_integer(self, factor: Real | Number, above: int = 0) -> tuple[Real, Integer]:
        """The whole number nearest to self * factor, as a float and as an integer; its size is below 2^21.

        Adding 1.5 * 2^p, where p are the bits of the mantissa, pushes the fraction out and leaves the whole number
        in the low bits; ``above``, if more is added: then they hold the sum, and an operation is saved where that is
        what is wanted of them.
        """
        magic = self.context.real(1.5 * 2.0**self.arithmetic.mantissa_bits + above)
        moved = self.fma(factor, magic)
        offset = {"f32": 0x4B400000, "f64": 0x4338000000000000}[self.node.type]
        return moved - magic, moved.bits() - (offset + above)

    # -- comparison ---------------------------------------------------------------------------------------------
    def _compare(self, op: str, other: Real | Number) -> Condition:
        node = self.context.graph.node("fcmp", "i1", self.node, self.lift(other).node, data=op)
        return Condition(self.context, node)

    def __lt__(self, other: Real | Number) -> Condition:
        return self._compare("olt", other)

    def __le__(self, other: Real | Number) -> Condition:
        return self._compare("ole", other)

    def __gt__(self, other: Real | Number) -> Condition:
        return self._compare("ogt", other)

    def __ge__(self, other: Real | Number) -> Condition:
        return self._compare("oge", other)

    def equals(self, other: Real | Number) -> Condition:
        return self._compare("oeq", other)

    def is_nan(self) -> Condition:
        return self._compare("uno", self)

    def choose(self, condition: Condition, other: Real | Number) -> Real:
        """self where the condition holds, other elsewhere."""
        graph = self.context.graph
        return Real(
            self.context, graph.node("select", self.node.type, condition.node, self.node, self.lift(other).node)
        )

    def unless(self, condition: Condition, rare: Real | Number) -> Real:
        """``rare`` where the condition holds, self elsewhere; the condition is expected to hold hardly ever."""
        graph = self.context.graph
        return Real(
            self.context,
            graph.node("select", self.node.type, condition.node, self.lift(rare).node, self.node, data="rare"),
        )

    # -- formats ------------------------------------------------------------------------------------------------
    def bits(self) -> Integer:
        return Integer(self.context, self.context.graph.node("bitcast", "i" + self.node.type[1:], self.node))

    def convert(self, word: str) -> Real:
        """The same number in the other word, rounded to nearest where that word is narrower."""
        if word == self.node.type:
            return self
        op = "fpext" if BITS[word] > BITS[self.node.type] else "fptrunc"
        return Real(self.context, self.context.graph.node(op, word, self.node))

    def lookup(self, table: tuple[float, ...], index: Integer) -> Real:
        """table[index]; the index must lie within the table."""
        node = self.context.graph.node("lookup", self.node.type, index.node, data=tuple(float(v).hex() for v in table))
        return Real(self.context, node)
