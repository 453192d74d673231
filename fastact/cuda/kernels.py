"""Kernels: the loop over an array around a graph, written as Python source that ``@cuda.jit`` compiles.

All arguments are int64: addresses, strides, sizes, and the bits of parameters that are numbers. Threads take packs of
16 bytes in a grid-stride loop, and ask for the next one before they compute.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from fastact.cuda import package
from fastact.cuda.package import LANES, PACK, SIZES
from fastact.cuda.rare import usual
from fastact.kernels import GATES, REGISTRY
from fastact.link.close import settled
from fastact.link.forms import forms
from fastact.link.gates import ARGUMENTS
from fastact.link.graph import Graph
from fastact.link.linker import STORAGE, link

COPY = "copy"
"""The name of what is done to arrays that have to lie otherwise: nothing."""
ROUNDS_TO_BFLOAT = (8, 0)
"""The first compute capability with an instruction that rounds to bfloat16."""
MOST_AXES = 8
"""Axes that a strided array may have after those that lie one behind the other have been joined."""


@functools.cache
def graph(name: str, form: str, dtype: str, tier: str) -> Graph:
    """The graph of a kernel's value alone: a device has no floating-point flags."""
    if name == COPY:
        found = Graph()
        found.outputs = [found.input(STORAGE[dtype])]
        return found
    if name in GATES:
        gate = GATES[name]
        body = gate.value if form == "value" else gate.backward
        return link(body, len(ARGUMENTS[form]), dtype, tier, products=True)
    chosen = forms(REGISTRY[name])[form]
    known, products = settled(REGISTRY[name], chosen, dtype), chosen.multiplied(dtype)
    count, words = len(chosen.arguments), chosen.words
    return link(chosen.body, count, dtype, tier, None, known, chosen.fixed, products, words=words)


@dataclass(frozen=True)
class Layout:
    """How the operands lie in memory.

    ``kinds`` has a letter per input: "v" an array, "c" a number passed by value, "p" a single element in the device's
    memory. ``axes`` is the number of axes along which strides are given; none for arrays of one piece. With axes and
    ``packed`` each index stands for a whole pack (an input of kind "p" has one element to each), otherwise for an
    element.
    """

    kinds: str
    axes: int = 0
    packed: bool = True
    outputs: int = 1

    @property
    def label(self) -> str:
        several = f"to{self.outputs}" if self.outputs > 1 else ""
        return self.kinds + (f"{self.axes}{'p' if self.packed else 'e'}" if self.axes else "") + several


def source(name: str, layout: Layout) -> str:
    """The kernel as Python source; what it calls is bound by `build`."""
    return _strided(name, layout) if layout.axes else _flat(name, layout)


def _flat(name: str, layout: Layout) -> str:
    """Whole packs, and then the few elements that are left, one to a thread."""
    places, outputs = range(len(layout.kinds)), range(layout.outputs)
    packs = [k for k in places if layout.kinds[k] == "v"]
    operands = ", ".join(f"x{k}" for k in places)
    lines = [f"def {name}({', '.join([*(f'a{k}' for k in places), *(f'out{m}' for m in outputs)])}, n):"]
    for k in places:
        if layout.kinds[k] != "v":
            lines.append(f"    x{k} = {'value' if layout.kinds[k] == 'c' else 'fetch_one'}(a{k})")
    lines += ["    whole = n // LANES", "    step = cuda.gridsize(1)", "    i = cuda.grid(1)"]
    lines += ["    last = whole * LANES + i", "    if i < whole:"]
    lines += [f"        x{k} = fetch_whole(a{k} + i * PACK)" for k in packs]
    lines += ["        while i < whole:", "            j = opaque(i + step)"]
    lines += [f"            y{k} = x{k}" for k in packs]
    lines += ["            if j < whole:"] if packs else []
    lines += [f"                y{k} = fetch_whole(a{k} + j * PACK)" for k in packs]
    lines += [f"            found = compute({operands})"]
    lines += [f"            put_whole{m}(out{m} + i * PACK, found)" for m in outputs]
    lines += [f"            x{k} = y{k}" for k in packs]
    lines += ["            i = j", "    if last < n:"]
    few = ", ".join(f"fetch_one(a{k} + last * SIZE)" if k in packs else f"x{k}" for k in places)
    lines += [f"        one = compute_one({few})"]
    lines += [f"        put_one{m}(out{m} + last * SIZE, one)" for m in outputs]
    return "\n".join(lines) + "\n"


def _strided(name: str, layout: Layout) -> str:
    """Indices are taken apart by multiplication with (magic) reciprocals; the first axis needs none."""
    axes, places = range(layout.axes), range(len(layout.kinds))
    inputs = {f"a{k}": k for k in places if layout.kinds[k] != "c"}
    outputs = [f"out{m}" for m in range(layout.outputs)]
    strides = [f"{label}_{axis}" for label in (*inputs, *outputs) for axis in axes]
    division = [f"{what}{axis}" for axis in axes[1:] for what in ("size", "magic", "shift")]
    header = [*(f"a{k}" for k in places), *outputs, "n", *strides, *division]
    lines = [f"def {name}({', '.join(header)}):"]
    lines += [f"    x{k} = value(a{k})" for k in places if layout.kinds[k] == "c"]
    lines += ["    step = cuda.gridsize(1)", "    i = cuda.grid(1)", "    while i < n:", "        rest = i"]
    for axis in reversed(axes[1:]):
        lines.append(f"        quotient = (rest * magic{axis}) >> shift{axis}")
        lines.append(f"        i{axis} = rest - quotient * size{axis}")
        lines.append("        rest = quotient")
    lines.append("        i0 = rest")
    where = {label: " + ".join(f"i{axis} * {label}_{axis}" for axis in axes) for label in (*inputs, *outputs)}
    for label, k in inputs.items():
        read = "fetch_whole" if layout.packed and layout.kinds[k] == "v" else "fetch_one"
        lines.append(f"        x{k} = {read}({label} + {where[label]})")
    lines.append(f"        found = compute({', '.join(f'x{k}' for k in places)})")
    write = "put_whole" if layout.packed else "put_one"
    lines += [f"        {write}{m}({label} + {where[label]}, found)" for m, label in enumerate(outputs)]
    lines.append("        i = opaque(i + step)")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Kernel:
    """A function's form in a dtype and a tier, for operands of a layout."""

    name: str
    form: str
    dtype: str
    tier: str
    layout: Layout

    @property
    def graph(self) -> Graph:
        return graph(self.name, self.form, self.dtype, self.tier)

    @property
    def storage(self) -> str:
        return STORAGE[self.dtype]

    @property
    def lanes(self) -> int:
        """Elements that an index stands for."""
        return LANES[self.storage] if self.layout.packed else 1

    @property
    def label(self) -> str:
        """A name that no two different kernels share."""
        parts = ("fastact", self.name, self.form, self.tier, self.dtype, self.layout.label, self.graph.digest())
        return "_".join(parts)

    @property
    def arguments(self) -> int:
        """How many there are, all of them int64."""
        kinds, axes, outputs = self.layout.kinds, self.layout.axes, self.layout.outputs
        moving = sum(kind != "c" for kind in kinds) + outputs
        return len(kinds) + outputs + 1 + axes * moving + 3 * max(axes - 1, 0)

    def python(self, capability: tuple[int, int]) -> Any:
        """The kernel as a Python function that is yet to be compiled for a device of some compute capability."""
        bfloat = capability >= ROUNDS_TO_BFLOAT
        p, storage, whole = package.primitives(), self.storage, self.graph
        common = usual(whole)
        namespace: dict[str, Any] = {maker.__name__: maker(storage) for maker in (p.fetch_one, p.fetch_whole, p.value)}
        namespace["opaque"] = p.opaque()
        outputs = self.layout.outputs
        for place in range(outputs):
            namespace[f"put_one{place}"] = p.put_one(storage, place, outputs)
            namespace[f"put_whole{place}"] = p.put_whole(storage, place, outputs)
        if self.layout.packed:
            namespace["compute"] = p.compute(whole, common, storage, self.layout.kinds, bfloat)
            namespace["compute_one"] = p.compute_one(whole, None, storage, bfloat)
        else:
            namespace["compute"] = p.compute_one(whole, common, storage, bfloat)
        sizes = {"LANES": LANES[storage], "SIZE": SIZES[storage], "PACK": PACK}
        namespace.update(cuda=package.cuda(), __name__=__name__, **sizes)
        text = source(self.label, self.layout)
        exec(compile(text, f"<{self.label}>", "exec"), namespace)
        return namespace[self.label]

    def ptx(self, capability: tuple[int, int]) -> str:
        """The PTX for a compute capability; that needs no device."""
        from numba.core import types

        text, _ = package.cuda().compile_ptx(self.python(capability), (types.int64,) * self.arguments, cc=capability)
        return str(text)


__all__ = ["MOST_AXES", "PACK", "SIZES", "Kernel", "Layout", "graph", "source"]
