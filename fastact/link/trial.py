"""What a graph makes of each of the 65,536 numbers that 16 bits can hold, found by trying them all."""

from __future__ import annotations

from typing import Any

from fastact.link.graph import Node

COUNT = 1 << 16
"""Numbers of 16 bits."""
MOST = 40
"""Nodes to which a trial is worth its time."""
_KINDS = {"i1": "bool", "i16": "uint16", "i32": "int32", "i64": "int64", "f32": "float32", "f64": "float64"}
_COMPARED = {
    "olt": "less", "ole": "less_equal", "ogt": "greater", "oge": "greater_equal", "oeq": "equal",
    "slt": "less", "sle": "less_equal", "sgt": "greater", "sge": "greater_equal", "eq": "equal", "ne": "not_equal",
}  # fmt: skip
_NAMES = {
    "fadd": "add", "fsub": "subtract", "fmul": "multiply", "fdiv": "divide", "sqrt": "sqrt", "fabs": "abs",
    "fneg": "negative", "copysign": "copysign", "rint": "rint", "select": "where",
    "iadd": "add", "isub": "subtract", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
    "ashr": "right_shift",
}  # fmt: skip


class Trial:
    """The values of nodes for every number that an input may be; of nodes that depend on no other input, and on no
    more than so many nodes."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._found: dict[int, tuple[Node | None, Any] | None] = {}

    def __call__(self, node: Node) -> tuple[Node | None, Any] | None:
        """The input that a node depends on, None of constants, and its values, an array or one number; None where they
        depend on several inputs or are not to be found this way."""
        if node.index not in self._found:
            self._found[node.index] = self._tried(node) if _size(node, self.most) <= self.most else None
        return self._found[node.index]

    def _tried(self, node: Node) -> tuple[Node | None, Any] | None:
        import numpy as np

        if node.op == "input":
            return (node, np.arange(COUNT, dtype=np.uint16)) if node.type == "i16" else None
        found = [self(a) for a in node.args]
        sources = {entry[0] for entry in found if entry is not None and entry[0] is not None}
        if None in found or len(sources) > 1:
            return None
        with np.errstate(all="ignore"):
            value = _value(node, [entry[1] for entry in found if entry is not None])
        return None if value is None else (next(iter(sources), None), value)


def _size(node: Node, most: int) -> int:
    """How many nodes are needed for one, as far as that is worth counting."""
    seen: set[int] = set()
    stack = [node]
    while stack and len(seen) <= most:
        node = stack.pop()
        if node.index not in seen:
            seen.add(node.index)
            stack += node.args
    return len(seen)


def _value(node: Node, args: list[Any]) -> Any:
    """The operation of a node on arrays or numbers; None where there is none that gives all bits."""
    import numpy as np

    op, kind = node.op, _KINDS.get(node.type, "")
    if op == "constant":
        number = float.fromhex(str(node.data)) if node.type in ("f32", "f64") else node.data
        return np.asarray(number).astype(kind)[()]
    if op == "fcmp" and node.data == "uno":
        return np.isnan(args[0]) | np.isnan(args[1])
    if op in ("fcmp", "icmp"):
        return getattr(np, _COMPARED[str(node.data)])(*args) if args[0].dtype != np.uint16 else None
    if op in ("fpext", "fptrunc", "sitofp", "itrunc", "sext"):
        return np.asarray(args[0]).astype(kind)
    if op == "bitcast":
        return np.asarray(args[0]).view(kind)
    if op in ("shl", "lshr"):
        unsigned = [np.asarray(a).view(kind.replace("int", "uint")) for a in args]
        return (np.left_shift if op == "shl" else np.right_shift)(*unsigned).view(kind)
    if op == "fma":
        return _fused(*args) if node.type == "f32" else None
    if op == "lookup":
        table = np.array([float.fromhex(text) for text in node.data], kind)  # type: ignore[attr-defined]
        return table[np.clip(args[0], 0, len(table) - 1)]
    if op == "half_to_single":
        return args[0].view(np.float16).astype(np.float32)
    if op == "bfloat_to_single":
        return (args[0].astype(np.uint32) << np.uint32(16)).view(np.float32)
    return getattr(np, _NAMES[op])(*args) if op in _NAMES and node.type != "i16" else None


def _fused(a: Any, b: Any, c: Any) -> Any:
    """a b + c of float32, rounded once: the product is a float64, and so is the sum, rounded to odd."""
    import numpy as np

    product, c = np.float64(1.0) * a * b, np.asarray(c).astype(np.float64)
    total = np.asarray(product + c)
    part = total - product
    rest = np.where(np.isfinite(total), (product - (total - part)) + (c - part), 0.0)
    bits = total.view(np.int64)
    step = np.where((rest < 0.0) == (total < 0.0), 1, -1)
    odd = np.where((rest != 0.0) & (bits & 1 == 0), bits + step, bits)
    return odd.view(np.float64).astype(np.float32)
