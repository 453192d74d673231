"""Numbers of 16 bits as LLVM instructions: how they become float32, and float32 becomes them."""

from __future__ import annotations

from typing import Literal

from llvmlite import ir

from fastact.cpu.lowering.words import LANES, SCALARS, BFloat, constant, picked, typed
from fastact.link.graph import Node

Doubt = Literal["unknown", "zeros"]
"""Nothing is known of subnormal numbers; besides, there are zeros in any case."""


class Conversions:
    """What an emitter knows of numbers of 16 bits."""

    builder: ir.IRBuilder
    width: int
    half_instructions: bool
    avx512: bool
    bfloat_instructions: bool
    apart: bool
    brief: bool = False
    """Whether the body is short, so that conversions are much of it."""

    @property
    def module(self) -> ir.Module:
        return self.builder.module

    def intrinsic(self, name: str, type: str, args: list[ir.Value]) -> ir.Value:
        kind = typed(type, self.width)
        full = f"{name}.v{self.width}{type}" if self.width else f"{name}.{type}"
        return self.builder.call(self.declared(full, kind, [kind] * len(args)), args)

    def declared(self, name: str, result: ir.Type, parameters: list[ir.Type]) -> ir.Function:
        found = self.module.globals.get(name)
        return found or ir.Function(self.module, ir.FunctionType(result, parameters), name)

    def lanes(self, vector: ir.Value, start: int, count: int) -> ir.Value:
        """Neighbouring elements of a vector as a vector of their own."""
        if (start, count) == (0, self.width):
            return vector
        return picked(self.builder, vector, range(start, start + count))

    def joined(self, low: ir.Value, high: ir.Value) -> ir.Value:
        """The elements of two vectors one after the other."""
        return picked(self.builder, low, range(2 * low.type.count), high)

    # -- float16 ------------------------------------------------------------------------------------------------
    def half_to_single(self, bits: ir.Value) -> ir.Value:
        half = ir.VectorType(ir.HalfType(), self.width) if self.width else ir.HalfType()
        if self.half_instructions:
            wide = self.builder.fpext(self.builder.bitcast(bits, half), typed("f32", self.width))
            # LLVM would compare halves instead, for which it widens them again.
            return self.intrinsic("llvm.arithmetic.fence", "f32", [wide]) if self.width else wide
        return _half_to_single_by_integers(self, bits)

    def single_to_half(self, value: ir.Value) -> ir.Value:
        half = ir.VectorType(ir.HalfType(), self.width) if self.width else ir.HalfType()
        if self.avx512 and self.width and self.width % LANES == 0:
            return self.halves(value)
        if self.half_instructions:
            return self.builder.bitcast(self.builder.fptrunc(value, half), typed("i16", self.width))
        return _single_to_half_by_integers(self, value)

    def halves(self, value: ir.Value) -> ir.Value:
        """The elements as float16, each register of them by an instruction of its own. That stores them as well, if
        the body is not short (`Sweeps._store`), which spares the unit that moves elements within registers. In
        ``brief`` ones that keeps units of conversion longer than two instructions do: they name the instruction, and
        so the compiler does not know what might be part of it."""
        b, kind, i16, i32 = self.builder, ir.VectorType(SCALARS["i16"], LANES), SCALARS["i16"], SCALARS["i32"]
        whole = pieces = [self.lanes(value, i, LANES) for i in range(0, self.width, LANES)]
        if self.brief:
            named = ir.FunctionType(kind, [typed("f32", LANES)])
            whole = [b.asm(named, "vcvtps2ph $$4, $1, $0", "=v,v", [piece], side_effect=False) for piece in pieces]
        else:
            convert = self.declared("llvm.x86.avx512.mask.vcvtps2ph.512", kind, [typed("f32", LANES), i32, kind, i16])
            rest = [ir.Constant(i32, 4), ir.Constant(kind, [0] * LANES), ir.Constant(i16, -1)]  # as the mode says; all
            whole = [b.call(convert, [piece, *rest]) for piece in pieces]
        while len(whole) > 1:
            whole = [self.joined(x, y) for x, y in zip(whole[::2], whole[1::2], strict=True)]
        return whole[0]

    # -- bfloat16 -----------------------------------------------------------------------------------------------
    def as_words(self, stored: ir.Value) -> ir.Value:
        """What is known of each stored bfloat16, in the order in which vectors hold the words made of them."""
        return picked(self.builder, stored, [*range(0, self.width, 2), *range(1, self.width, 2)])

    def as_stored(self, words: ir.Value) -> ir.Value:
        """What is known of each word, in the order in which the bfloat16 it was made of are stored."""
        return picked(self.builder, words, [i // 2 + self.width // 2 * (i % 2) for i in range(self.width)])

    def bfloat_to_single(self, bits: ir.Value) -> ir.Value:
        """The 16 bits with 16 zeros after them."""
        b, w = self.builder, self.width
        if not self.apart:
            wide = b.shl(b.zext(bits, typed("i32", w)), constant("i32", w, 16))
            return b.bitcast(wide, typed("f32", w))
        pairs = b.bitcast(bits, typed("i32", w // 2))
        even = b.shl(pairs, constant("i32", w // 2, 16))
        odd = b.and_(pairs, constant("i32", w // 2, -65536))
        return b.bitcast(self.joined(even, odd), typed("f32", w))

    def single_to_bfloat(self, value: ir.Value, subnormal: ir.Value | Doubt | None) -> ir.Value:
        """The upper half of a float32, rounded to nearest even; NaN stays NaN.

        The instruction for it takes subnormal numbers for zeros: where there are such, integers do it. Whether there
        are is a condition that is known; or never, if that is None. Otherwise they are looked for where the instruction
        makes zeros, unless there are "zeros" in any case."""
        if not self.bfloat_instructions:
            return self.single_to_bfloat_by_integers(value)
        found = whole = self.bfloats(value)
        while len(whole) > 1:
            whole = [self.joined(x, y) for x, y in zip(whole[::2], whole[1::2], strict=True)]
        if subnormal is None:
            return whole[0]
        b = self.builder
        aside, after = (b.append_basic_block(name) for name in ("subnormal", "after"))
        ways = []
        if isinstance(subnormal, str):
            if subnormal == "unknown":
                looked = b.append_basic_block("zeros")
                kind = found[0].type
                sizes = [b.and_(piece, ir.Constant(kind, [0x7FFF] * kind.count)) for piece in found]
                none = ir.Constant(kind, [0] * kind.count)
                ways.append(b.block)
                vanished = self.anywhere([b.icmp_unsigned("==", size, none) for size in sizes])
                b.cbranch(vanished, looked, after).set_weights([1, 1000])
                b.position_at_end(looked)
            subnormal = self.any_subnormal(value)
        ways.append(b.block)
        b.cbranch(subnormal, aside, after).set_weights([1, 1000])
        b.position_at_end(aside)
        slow = self.single_to_bfloat_by_integers(value)
        b.branch(after)
        b.position_at_end(after)
        result = b.phi(slow.type)
        result.add_incoming(slow, aside)
        for way in ways:
            result.add_incoming(whole[0], way)
        return result

    def any_subnormal(self, value: ir.Value) -> ir.Value:
        """Whether some float32 is a subnormal number."""
        flags = ir.VectorType(SCALARS["i1"], 16)
        classify = self.declared("llvm.x86.avx512.fpclass.ps.512", flags, [typed("f32", 16), SCALARS["i32"]])
        kind = ir.Constant(SCALARS["i32"], 0x20)
        pieces = [self.lanes(value, i, 16) for i in range(0, self.width, 16)]
        return self.anywhere([self.builder.call(classify, [piece, kind]) for piece in pieces])

    def bfloats(self, value: ir.Value) -> list[ir.Value]:
        """The elements as bfloat16, 32 together, by the instruction."""
        b, w = self.builder, self.width
        rounded = ir.VectorType(BFloat(), 32)
        convert = self.declared("llvm.x86.avx512bf16.cvtne2ps2bf16.512", rounded, [typed("f32", 16)] * 2)
        half = w // 2 if self.apart else 16
        pieces = []
        for i in range(0, half if self.apart else w, 16 if self.apart else 32):
            both = b.call(convert, [self.lanes(value, i + half, 16), self.lanes(value, i, 16)])
            piece = b.bitcast(both, typed("i16", 32))
            if self.apart:
                piece = picked(b, piece, [place // 2 + 16 * (place % 2) for place in range(32)])
            pieces.append(piece)
        return pieces

    def anywhere(self, found: list[ir.Value]) -> ir.Value:
        """Whether any of some vectors of conditions has one that holds."""
        b = self.builder
        while len(found) > 1:
            found = [b.or_(x, y) for x, y in zip(found[::2], found[1::2], strict=True)]
        kind = found[0].type
        reduce = self.declared(f"llvm.vector.reduce.or.v{kind.count}i1", SCALARS["i1"], [kind])
        return b.call(reduce, found)

    def single_to_bfloat_by_integers(self, value: ir.Value) -> ir.Value:
        b, w = self.builder, self.width
        bits = b.bitcast(value, typed("i32", w))
        odd = b.and_(b.lshr(bits, constant("i32", w, 16)), constant("i32", w, 1))
        rounded = b.add(b.add(bits, constant("i32", w, 0x7FFF)), odd)
        quiet = b.or_(bits, constant("i32", w, 0x400000))
        return self.upper_half(b.select(b.fcmp_unordered("uno", value, value), quiet, rounded))

    def single_to_bfloat_away(self, value: ir.Value) -> ir.Value:
        """The same with ties away from zero. NaN stays NaN, since what makes one, or passes one on, leaves the lower
        half of it at 0 here."""
        bits = self.builder.bitcast(value, typed("i32", self.width))
        return self.upper_half(self.builder.add(bits, constant("i32", self.width, 0x8000)))

    def upper_half(self, bits: ir.Value) -> ir.Value:
        """The upper 16 of 32 bits."""
        b, w = self.builder, self.width
        if not self.apart:
            return b.trunc(b.lshr(bits, constant("i32", w, 16)), typed("i16", w))
        even, odd = self.lanes(bits, 0, w // 2), self.lanes(bits, w // 2, w // 2)
        odd = b.and_(odd, constant("i32", w // 2, -65536))
        even = b.lshr(even, constant("i32", w // 2, 16))
        if self.avx512 and w % (2 * LANES) == 0:  # LLVM would make a permutation of it, which is three instructions
            kind = typed("f32", w // 2)
            fence = self.declared(f"llvm.arithmetic.fence.v{w // 2}f32", kind, [kind])
            even = b.bitcast(b.call(fence, [b.bitcast(even, kind)]), even.type)
        return b.bitcast(b.or_(even, odd), typed("i16", w))


def often_zero(node: Node) -> bool:
    """Whether a number is known to be 0 for one branch of a selection."""
    if node.op == "fadd":
        a, b = map(_chosen, node.args)
        return any(-number in b for number in a)
    if node.op in ("fmul", "fdiv", "fneg", "fabs", "copysign"):
        return any(map(often_zero, node.args))
    return 0.0 in _chosen(node) or (node.op == "select" and any(map(often_zero, node.args[1:])))


def _chosen(node: Node) -> set[float]:
    """The constants that a number may be by selection."""
    if node.op == "constant":
        return {float.fromhex(str(node.data))}
    return set().union(*map(_chosen, node.args[1:])) if node.op == "select" else set()


def _half_to_single_by_integers(e: Conversions, bits: ir.Value) -> ir.Value:
    """Exponent and mantissa moved into place and multiplied by 2^112, which also normalises subnormals."""
    b, w = e.builder, e.width
    i32, f32 = typed("i32", w), typed("f32", w)
    wide = b.zext(bits, i32)
    magnitude = b.and_(wide, constant("i32", w, 0x7FFF))
    sign = b.shl(b.and_(wide, constant("i32", w, 0x8000)), constant("i32", w, 16))
    scaled = b.fmul(b.bitcast(b.shl(magnitude, constant("i32", w, 13)), f32), constant("f32", w, 2.0**112))
    is_special = b.icmp_signed(">=", magnitude, constant("i32", w, 0x7C00))
    special = b.or_(b.shl(magnitude, constant("i32", w, 13)), constant("i32", w, 0x7F800000))
    result = b.select(is_special, special, b.bitcast(scaled, i32))
    return b.bitcast(b.or_(result, sign), f32)


def _single_to_half_by_integers(e: Conversions, value: ir.Value) -> ir.Value:
    """Round to nearest even: by an addition that pushes the lost bits out, separately for subnormal results."""
    b, w = e.builder, e.width
    i32, f32 = typed("i32", w), typed("f32", w)

    def c(number: int) -> ir.Constant:
        return constant("i32", w, number)

    bits = b.bitcast(value, i32)
    sign = b.and_(b.lshr(bits, c(16)), c(0x8000))
    magnitude = b.and_(bits, c(0x7FFFFFFF))
    odd = b.and_(b.lshr(magnitude, c(13)), c(1))
    normal = b.lshr(b.add(b.add(magnitude, c(0xFFF - (112 << 23))), odd), c(13))
    pushed = b.fadd(b.bitcast(magnitude, f32), constant("f32", w, 0.5))
    subnormal = b.sub(b.bitcast(pushed, i32), c(0x3F000000))
    result = b.select(b.icmp_signed("<", magnitude, c(113 << 23)), subnormal, normal)
    result = b.select(b.icmp_signed(">=", magnitude, c(0x47800000)), c(0x7C00), result)
    result = b.select(b.icmp_signed(">", magnitude, c(0x7F800000)), c(0x7E00), result)
    return b.trunc(b.or_(result, sign), typed("i16", w))
