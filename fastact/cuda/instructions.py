"""What kernels are made of, as Numba intrinsics: reading and writing packs of 16 bytes, and computing with them.

Addresses are int64. A pack is a tuple of words: of the elements themselves, or of pairs of them where they have 16
bits. Nothing here is mathematics, and `fastact.cuda.simulated` has a twin of each function.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import types

from fastact.cpu.lowering.words import SCALARS
from fastact.cuda.emit import GLOBAL, I32, emit
from fastact.cuda.package import LANES, PACK, SIZES
from fastact.link.graph import Graph

try:
    from numba.cuda.extending import intrinsic
except ImportError:  # the CUDA target that Numba itself brought
    from numba.extending import intrinsic  # type: ignore[assignment]

WORDS = {"i16": types.UniTuple(types.uint32, 4), "f32": types.UniTuple(types.float32, 4)}
WORDS["f64"] = types.UniTuple(types.float64, 2)
ELEMENTS = {"i16": types.uint16, "f32": types.float32, "f64": types.float64}
_RAW = {"i16": I32, "f32": SCALARS["f32"], "f64": SCALARS["f64"]}
Code = Callable[[ir.IRBuilder, list[Any]], Any]


def _made(name: str, result: Any, arguments: Sequence[Any], code: Code) -> Any:
    """An intrinsic of one signature. ``code`` makes of LLVM values one, or a list of those of a tuple, or None."""
    signature = result(*arguments)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: list[Any]) -> Any:
        values = [
            [builder.extract_value(a, k) for k in range(len(kind))] if isinstance(kind, types.UniTuple) else a
            for a, kind in zip(args, arguments, strict=True)
        ]
        found = code(builder, values)
        if found is None:
            return context.get_dummy_value()
        return context.make_tuple(builder, signature.return_type, found) if isinstance(found, list) else found

    names = [f"a{k}" for k in range(len(arguments))]
    namespace: dict[str, Any] = {"signature": signature, "generate": generate}
    exec(f"def {name}(context, {', '.join(names)}):\n    return signature, generate\n", namespace)
    return intrinsic(namespace[name])


def _at(b: ir.IRBuilder, address: Any, kind: ir.Type) -> Any:
    return b.inttoptr(address, ir.PointerType(kind, addrspace=GLOBAL))


def _read(b: ir.IRBuilder, address: Any, kind: ir.Type, align: int) -> Any:
    return b.load(_at(b, address, kind), align=align)


def _vector(storage: str) -> ir.VectorType:
    return ir.VectorType(_RAW[storage], len(WORDS[storage]))


def _joined(b: ir.IRBuilder, storage: str, elements: list[Any]) -> list[Any]:
    """The words of a pack with these elements."""
    if storage != "i16":
        return elements
    wide = [b.zext(e, I32) for e in elements]
    return [b.or_(low, b.shl(high, I32(16))) for low, high in zip(wide[::2], wide[1::2], strict=True)]


def _split(b: ir.IRBuilder, storage: str, words: list[Any]) -> list[Any]:
    """The elements of a pack."""
    if storage != "i16":
        return words
    short = SCALARS["i16"]
    return [b.trunc(part, short) for word in words for part in (word, b.lshr(word, I32(16)))]


def _read_pack(b: ir.IRBuilder, storage: str, address: Any) -> list[Any]:
    vector = _read(b, address, _vector(storage), PACK)
    return [b.extract_element(vector, I32(k)) for k in range(len(WORDS[storage]))]


def _write_pack(b: ir.IRBuilder, storage: str, address: Any, words: list[Any]) -> None:
    vector: Any = ir.Constant(_vector(storage), ir.Undefined)
    for k, word in enumerate(words):
        vector = b.insert_element(vector, word, I32(k))
    b.store(vector, _at(b, address, vector.type), align=PACK)


@functools.cache
def fetch_whole(storage: str) -> Any:
    """(address): the pack that lies there."""
    return _made("fetch_whole", WORDS[storage], [types.int64], lambda b, args: _read_pack(b, storage, args[0]))


@functools.cache
def put_whole(storage: str, place: int, outputs: int) -> Any:
    """(address, words): write the pack of one of several outputs there."""
    kind, count = WORDS[storage], len(WORDS[storage])

    def code(b: ir.IRBuilder, args: list[Any]) -> None:
        _write_pack(b, storage, args[0], args[1][place * count : (place + 1) * count])

    return _made("put_whole", types.void, [types.int64, types.UniTuple(kind.dtype, count * outputs)], code)


@functools.cache
def fetch_one(storage: str) -> Any:
    """(address): the element that lies there."""
    kind, size = SCALARS[storage], SIZES[storage]
    return _made("fetch_one", ELEMENTS[storage], [types.int64], lambda b, args: _read(b, args[0], kind, size))


@functools.cache
def put_one(storage: str, place: int, outputs: int) -> Any:
    """(address, elements): write the element of one of several outputs there."""
    kind, size = SCALARS[storage], SIZES[storage]

    def code(b: ir.IRBuilder, args: list[Any]) -> None:
        b.store(args[1][place], _at(b, args[0], kind), align=size)

    return _made("put_one", types.void, [types.int64, types.UniTuple(ELEMENTS[storage], outputs)], code)


@functools.cache
def value(storage: str) -> Any:
    """(bits): the element with these bits."""
    size = SIZES[storage] * 8

    def code(b: ir.IRBuilder, args: list[Any]) -> Any:
        short = b.trunc(args[0], ir.IntType(size)) if size < 64 else args[0]
        return b.bitcast(short, SCALARS[storage])

    return _made("value", ELEMENTS[storage], [types.int64], code)


@functools.cache
def opaque() -> Any:
    """(n): n, of which the compiler knows nothing: it would unroll loops, and divide to find out how often they run."""
    kind = ir.FunctionType(ir.IntType(64), [ir.IntType(64)])

    def code(b: ir.IRBuilder, args: list[Any]) -> Any:
        return b.asm(kind, "mov.b64 $0, $1;", "=l,l", args, side_effect=True)

    return _made("opaque", types.int64, [types.int64], code)


def compute(graph: Graph, usual: Graph | None, storage: str, kinds: str, bfloat: bool) -> Any:
    """The graph on packs; operands of kind "v" are packs, others single elements that go with every one of them.

    The packs of all outputs come as one tuple."""
    lanes = LANES[storage]
    arguments = [WORDS[storage] if kind == "v" else ELEMENTS[storage] for kind in kinds]
    outputs = len(graph.outputs)

    def code(b: ir.IRBuilder, args: list[Any]) -> list[Any]:
        operands = [_split(b, storage, a) if kind == "v" else [a] * lanes for a, kind in zip(args, kinds, strict=True)]
        found = emit(b, graph, usual, [list(inputs) for inputs in zip(*operands, strict=True)], bfloat)
        return [word for elements in zip(*found, strict=True) for word in _joined(b, storage, list(elements))]

    words = WORDS[storage]
    return _made("compute", types.UniTuple(words.dtype, len(words) * outputs), arguments, code)


def compute_one(graph: Graph, usual: Graph | None, storage: str, bfloat: bool) -> Any:
    """The graph on single elements; its outputs as a tuple."""
    element = ELEMENTS[storage]

    def code(b: ir.IRBuilder, args: list[Any]) -> list[Any]:
        return emit(b, graph, usual, [args], bfloat)[0]

    return _made("compute", types.UniTuple(element, len(graph.outputs)), [element] * len(graph.inputs), code)


def number(kernels: dict[str, tuple[Graph, Graph | None]], inputs: int, required: int) -> Any:
    """The graph for float32 or float64 numbers, by the types that the required ones among them have in a call."""

    def choose(*given: Any) -> Any:
        if not all(isinstance(kind, (types.Float, types.Integer, types.Boolean)) for kind in given[:required]):
            return None
        single = all(kind == types.float32 for kind in given[:required])
        dtype, element = ("float32", types.float32) if single else ("float64", types.float64)
        whole, common = kernels[dtype]

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: list[Any]) -> Any:
            return emit(builder, whole, common, [args], False)[0][0]

        return element(*[element] * inputs), generate

    names = ", ".join(f"a{k}" for k in range(inputs))
    namespace: dict[str, Any] = {"choose": choose}
    exec(f"def number(context, {names}):\n    return choose({names})\n", namespace)
    return intrinsic(namespace["number"])


__all__ = [
    "compute",
    "compute_one",
    "fetch_one",
    "fetch_whole",
    "number",
    "opaque",
    "put_one",
    "put_whole",
    "value",
]
