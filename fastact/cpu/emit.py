"""Lowering of a graph to LLVM instructions, on scalars (width 0) or on vectors of any width."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from fastact.cpu.order import Detour, order
from fastact.link.graph import BITS, Graph, Node

SCALARS: dict[str, ir.Type] = {
    "i1": ir.IntType(1),
    "i16": ir.IntType(16),
    "i32": ir.IntType(32),
    "i64": ir.IntType(64),
    "f32": ir.FloatType(),
    "f64": ir.DoubleType(),
}

_BINARY = {
    "fadd": "fadd", "fsub": "fsub", "fmul": "fmul", "fdiv": "fdiv",
    "iadd": "add", "isub": "sub", "and": "and_", "or": "or_", "xor": "xor",
    "shl": "shl", "lshr": "lshr", "ashr": "ashr",
}  # fmt: skip
_CAST = {
    "bitcast": "bitcast", "fpext": "fpext", "fptrunc": "fptrunc", "sitofp": "sitofp",
    "itrunc": "trunc", "zext": "zext", "sext": "sext",
}  # fmt: skip
_INTRINSIC = {
    "fabs": "llvm.fabs", "sqrt": "llvm.sqrt", "fma": "llvm.fma", "copysign": "llvm.copysign", "rint": "llvm.rint",
}  # fmt: skip


class _BFloat(ir.Type):
    """LLVM's type of bfloat16."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


def typed(name: str, width: int) -> ir.Type:
    return ir.VectorType(SCALARS[name], width) if width else SCALARS[name]


def constant(name: str, width: int, value: float | int) -> ir.Constant:
    return ir.Constant(typed(name, width), [value] * width if width else value)


class Emitter:
    """Writes graphs into the block where ``builder`` stands.

    ``half_instructions``: the target converts float16 in hardware; elsewhere it is done in integer arithmetic.
    ``avx512``: the target has those instructions, which find an element of a small table in registers;
    ``bfloat_instructions``: it has those of AVX-512 that round to bfloat16.
    ``apart``: bfloat16 elements at even places make the first half of a vector, those at odd places the second, which
    spares moving them; all that is read and written has to be bfloat16 then, and the processor little-endian.
    """

    def __init__(
        self,
        builder: ir.IRBuilder,
        width: int,
        half_instructions: bool = True,
        avx512: bool = False,
        bfloat_instructions: bool = False,
        apart: bool = False,
    ) -> None:
        self.builder, self.width, self.half_instructions, self.avx512 = builder, width, half_instructions, avx512
        self.bfloat_instructions = bfloat_instructions and width % 32 == 0 and width > 0
        self.apart = apart and width > 1

    @property
    def module(self) -> ir.Module:
        return self.builder.module

    def graph(self, graph: Graph, inputs: Sequence[ir.Value]) -> list[ir.Value]:
        """The outputs of a graph for the given inputs."""
        values: dict[int, Any] = {node.index: inputs[int(node.data)] for node in graph.inputs}  # type: ignore[call-overload]
        for step in order(graph, detours=self.width > 0):
            if isinstance(step, Detour):
                self.detour(step, values)
            elif step.op != "input":
                values[step.index] = self.node(step, [values[a.index] for a in step.args])
        return [values[node.index] for node in graph.outputs]

    def detour(self, detour: Detour, values: dict[int, Any]) -> None:
        """What only some elements need, passed by where no element of the vector does."""
        b = self.builder
        reduce = self.declared(f"llvm.vector.reduce.or.v{self.width}i1", SCALARS["i1"], [typed("i1", self.width)])
        start = b.block
        aside, after = b.append_basic_block("aside"), b.append_basic_block("after")
        b.cbranch(b.call(reduce, [values[detour.condition.index]]), aside, after).set_weights([1, 1000])
        b.position_at_end(aside)
        for node in detour.nodes:
            values[node.index] = self.node(node, [values[a.index] for a in node.args])
        chosen = [self.node(m, [values[a.index] for a in m.args]) for m in detour.members]
        aside = b.block
        b.branch(after)
        b.position_at_end(after)
        for member, value in zip(detour.members, chosen, strict=True):
            result = b.phi(value.type)
            result.add_incoming(values[member.args[2].index], start)
            result.add_incoming(value, aside)
            values[member.index] = result

    def node(self, node: Node, args: list[ir.Value]) -> ir.Value:
        op, kind, b = node.op, typed(node.type, self.width), self.builder
        if op == "constant":
            value = float.fromhex(node.data) if isinstance(node.data, str) else node.data
            return constant(node.type, self.width, value)  # type: ignore[arg-type]
        if op in _BINARY:
            return getattr(b, _BINARY[op])(*args)
        if op in _CAST:
            return getattr(b, _CAST[op])(args[0], kind)
        if op in _INTRINSIC:
            return self.intrinsic(_INTRINSIC[op], node.type, args)
        if op == "fneg":
            return b.fneg(args[0])
        if op == "fcmp":
            compare = b.fcmp_unordered if node.data == "uno" else b.fcmp_ordered
            symbol = {"olt": "<", "ole": "<=", "ogt": ">", "oge": ">=", "oeq": "==", "uno": "uno"}[str(node.data)]
            return compare(symbol, *args)
        if op == "icmp":
            symbol = {"slt": "<", "sle": "<=", "sgt": ">", "sge": ">=", "eq": "==", "ne": "!="}[str(node.data)]
            found = b.icmp_signed(symbol, *args)
            return self.as_words(found) if self.apart and node.args[0].type == "i16" else found
        if op == "select":
            return b.select(*args)
        if op == "lookup":
            return self.lookup(node, args[0])
        if op == "half_to_single":
            return self.half_to_single(args[0])
        if op == "single_to_half":
            return self.single_to_half(args[0])
        if op == "bfloat_to_single":
            return self.bfloat_to_single(args[0])
        if op == "single_to_bfloat":
            return self.single_to_bfloat(args[0])
        if op == "upper_half":
            return self.upper_half(b.bitcast(args[0], typed("i32", self.width)))
        raise NotImplementedError(op)

    def intrinsic(self, name: str, type: str, args: list[ir.Value]) -> ir.Value:
        kind = typed(type, self.width)
        full = f"{name}.v{self.width}{type}" if self.width else f"{name}.{type}"
        return self.builder.call(self.declared(full, kind, [kind] * len(args)), args)

    def declared(self, name: str, result: ir.Type, parameters: list[ir.Type]) -> ir.Function:
        found = self.module.globals.get(name)
        return found or ir.Function(self.module, ir.FunctionType(result, parameters), name)

    # -- tables -------------------------------------------------------------------------------------------------
    def lookup(self, node: Node, index: ir.Value) -> ir.Value:
        """Elements of a constant table, by the position held in ``index``."""
        b, element = self.builder, SCALARS[node.type]
        entries = [float.fromhex(text) for text in node.data]  # type: ignore[attr-defined]
        lanes = 512 // BITS[node.type]
        permuted = self.width and self.width % lanes == 0 and len(entries) in (8, 16, 32) and len(entries) >= lanes
        if self.avx512 and permuted and (node.type, node.args[0].type) in (("f64", "i64"), ("f32", "i32")):
            return self.permutation(entries, index, node.type, lanes)
        name = "table_" + "_".join((node.type, str(len(entries)), format(zlib.crc32("".join(node.data).encode()), "x")))  # type: ignore[arg-type]
        table = self.module.globals.get(name)
        if table is None:
            kind = ir.ArrayType(element, len(entries))
            table = ir.GlobalVariable(self.module, kind, name)
            table.global_constant, table.linkage = True, "internal"
            table.initializer = ir.Constant(kind, entries)
            table.align = 64
            table.type = ir.PointerType()
        zero = ir.Constant(ir.IntType(64), 0)
        if not self.width:
            wide = index if BITS[node.args[0].type] == 64 else b.zext(index, ir.IntType(64))
            return b.load(b.gep(table, [zero, wide], inbounds=True, source_etype=table.value_type), typ=element)
        kind = typed(node.type, self.width)
        result: ir.Value = ir.Constant(kind, ir.Undefined)
        for lane in range(self.width):
            position = ir.Constant(ir.IntType(32), lane)
            one = b.extract_element(index, position)
            if BITS[node.args[0].type] != 64:
                one = b.zext(one, ir.IntType(64))
            value = b.load(b.gep(table, [zero, one], inbounds=True, source_etype=table.value_type), typ=element)
            result = b.insert_element(result, value, position)
        return result

    def permutation(self, entries: list[float], index: ir.Value, word: str, count: int) -> ir.Value:
        """Elements of a table of one, two or four registers, ``count`` to each, as many of them looked up at a time."""
        b, kind, integer = self.builder, typed(word, count), "i" + word[1:]
        whole, suffix = typed(integer, count), {"f64": ("df", "pd"), "f32": ("sf", "ps")}[word]
        parts = [ir.Constant(kind, entries[i : i + count]) for i in range(0, len(entries), count)]
        one = self.declared(f"llvm.x86.avx512.permvar.{suffix[0]}.512", kind, [kind, whole])
        two = self.declared(f"llvm.x86.avx512.vpermi2var.{suffix[1]}.512", kind, [kind, whole, kind])
        found = []
        if len(parts) < 4:
            index = _without_mask(index, len(entries) - 1)
        for start in range(0, self.width, count):
            i = self.lanes(index, start, count)
            if len(parts) == 1:
                found.append(b.call(one, [parts[0], i]))
                continue
            halves = [b.call(two, [low, i, high]) for low, high in zip(parts[::2], parts[1::2], strict=True)]
            if len(halves) == 2:
                bit = constant(integer, count, 2 * count)
                upper = b.icmp_signed("!=", b.and_(i, bit), constant(integer, count, 0))
                halves = [b.select(upper, halves[1], halves[0])]
            found += halves
        while len(found) > 1:
            found = [self.joined(low, high) for low, high in zip(found[::2], found[1::2], strict=True)]
        return found[0]

    def lanes(self, vector: ir.Value, start: int, count: int) -> ir.Value:
        """Neighbouring elements of a vector as a vector of their own."""
        if (start, count) == (0, self.width):
            return vector
        mask = ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(start, start + count)))
        return self.builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), mask)

    def joined(self, low: ir.Value, high: ir.Value) -> ir.Value:
        """The elements of two vectors one after the other."""
        count = 2 * low.type.count
        mask = ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(count)))
        return self.builder.shuffle_vector(low, high, mask)

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
        if self.half_instructions:
            return self.builder.bitcast(self.builder.fptrunc(value, half), typed("i16", self.width))
        return _single_to_half_by_integers(self, value)

    # -- bfloat16 -----------------------------------------------------------------------------------------------
    def as_words(self, stored: ir.Value) -> ir.Value:
        """What is known of each stored bfloat16, in the order in which vectors hold the words made of them."""
        places = [*range(0, self.width, 2), *range(1, self.width, 2)]
        mask = ir.Constant(ir.VectorType(SCALARS["i32"], self.width), places)
        return self.builder.shuffle_vector(stored, ir.Constant(stored.type, ir.Undefined), mask)

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

    def single_to_bfloat(self, value: ir.Value) -> ir.Value:
        """The upper half of a float32, rounded to nearest even; NaN stays NaN.

        The instruction for it takes subnormal numbers for zeros: where a vector has one, integers do it."""
        if not self.bfloat_instructions:
            return self.single_to_bfloat_by_integers(value)
        b, w = self.builder, self.width
        flags = ir.VectorType(SCALARS["i1"], 16)
        classify = self.declared("llvm.x86.avx512.fpclass.ps.512", flags, [typed("f32", 16), SCALARS["i32"]])
        found = [
            b.call(classify, [self.lanes(value, i, 16), ir.Constant(SCALARS["i32"], 0x20)]) for i in range(0, w, 16)
        ]
        while len(found) > 1:
            found = [b.or_(x, y) for x, y in zip(found[::2], found[1::2], strict=True)]
        reduce = self.declared("llvm.vector.reduce.or.v16i1", SCALARS["i1"], [flags])
        aside, near, after = (b.append_basic_block(name) for name in ("subnormal", "normal", "after"))
        b.cbranch(b.call(reduce, found), aside, near).set_weights([1, 1000])
        b.position_at_end(aside)
        slow = self.single_to_bfloat_by_integers(value)
        b.branch(after)
        b.position_at_end(near)
        rounded = ir.VectorType(_BFloat(), 32)
        convert = self.declared("llvm.x86.avx512bf16.cvtne2ps2bf16.512", rounded, [typed("f32", 16)] * 2)
        half = w // 2 if self.apart else 16
        pieces = []
        for i in range(0, half if self.apart else w, 16 if self.apart else 32):
            both = b.call(convert, [self.lanes(value, i + half, 16), self.lanes(value, i, 16)])
            piece = b.bitcast(both, typed("i16", 32))
            if self.apart:
                mask = [place // 2 + 16 * (place % 2) for place in range(32)]
                mask = ir.Constant(ir.VectorType(SCALARS["i32"], 32), mask)
                piece = b.shuffle_vector(piece, ir.Constant(piece.type, ir.Undefined), mask)
            pieces.append(piece)
        while len(pieces) > 1:
            pieces = [self.joined(x, y) for x, y in zip(pieces[::2], pieces[1::2], strict=True)]
        b.branch(after)
        b.position_at_end(after)
        result = b.phi(slow.type)
        result.add_incoming(slow, aside)
        result.add_incoming(pieces[0], near)
        return result

    def single_to_bfloat_by_integers(self, value: ir.Value) -> ir.Value:
        b, w = self.builder, self.width
        bits = b.bitcast(value, typed("i32", w))
        odd = b.and_(b.lshr(bits, constant("i32", w, 16)), constant("i32", w, 1))
        rounded = b.add(b.add(bits, constant("i32", w, 0x7FFF)), odd)
        quiet = b.or_(bits, constant("i32", w, 0x400000))
        return self.upper_half(b.select(b.fcmp_unordered("uno", value, value), quiet, rounded))

    def upper_half(self, bits: ir.Value) -> ir.Value:
        """The upper 16 of 32 bits."""
        b, w = self.builder, self.width
        if not self.apart:
            return b.trunc(b.lshr(bits, constant("i32", w, 16)), typed("i16", w))
        even, odd = self.lanes(bits, 0, w // 2), self.lanes(bits, w // 2, w // 2)
        odd = b.and_(odd, constant("i32", w // 2, -65536))
        return b.bitcast(b.or_(b.lshr(even, constant("i32", w // 2, 16)), odd), typed("i16", w))


def _without_mask(index: ir.Value, mask: int) -> ir.Value:
    """What an index is cut out of, where nothing but the bits of the mask is kept: instructions look at no others."""
    if getattr(index, "opname", "") == "and":
        value, kept = index.operands
        if isinstance(kept, ir.Constant) and {getattr(c, "constant", c) for c in kept.constant} == {mask}:
            return value
    return index


def _half_to_single_by_integers(e: Emitter, bits: ir.Value) -> ir.Value:
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


def _single_to_half_by_integers(e: Emitter, value: ir.Value) -> ir.Value:
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
