"""Kernels as functions that Numba can link into what it compiles.

Each kernel is a small module of its own. It is apart for two reasons. With ``fastmath=True`` Numba marks every
floating-point instruction of the caller's module as free to be rearranged; ours are not in it, and since the kernel
hands back its result as an integer of the same bits, not even the call is marked. And the kernel's Python-side
construction happens once, however many call sites there are.
"""

from __future__ import annotations

import functools
import hashlib
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.environment import Environment
from numba.core.funcdesc import default_mangler

from fastact.cpu import sources
from fastact.cpu.lowering.emit import Emitter
from fastact.cpu.lowering.flags import PTR
from fastact.cpu.lowering.loops import LoopBuilder
from fastact.cpu.lowering.order import Detour, order
from fastact.cpu.lowering.sweeps import Target
from fastact.cpu.lowering.words import SCALARS
from fastact.cpu.target import Processor
from fastact.kernels import REGISTRY
from fastact.link.forms import forms
from fastact.link.graph import BITS, Graph
from fastact.link.linker import STORAGE, link

DTYPES = {types.float32: "float32", types.float64: "float64"}
"""The types that kernels exist for in compiled code."""

Build = Callable[[str, Target], ir.Module]
"""From the label of a kernel and the processor that Numba compiles for to the module that holds it."""

_libraries: weakref.WeakKeyDictionary[Any, dict[str, tuple[Any, ir.FunctionType]]] = weakref.WeakKeyDictionary()


@functools.cache
def graph(name: str, form: str, dtype: str, tier: str) -> Graph:
    """The graph of a kernel's value alone; what is said of floating-point flags is of no use in compiled code."""
    chosen = forms(REGISTRY[name])[form]
    products = chosen.multiplied(dtype)
    count, words = len(chosen.arguments), chosen.words
    return link(chosen.body, count, dtype, tier, None, chosen.settled, chosen.fixed, products, words=words)


@dataclass(frozen=True)
class Kernel:
    """A function's form in a dtype and a tier, as something that can be called in compiled code."""

    name: str
    form: str
    tier: str
    dtype: Any

    @property
    def graph(self) -> Graph:
        return graph(self.name, self.form, DTYPES[self.dtype], self.tier)

    @property
    def label(self) -> str:
        """A name that no two different kernels share."""
        return "_".join(("fastact", self.name, self.form, self.tier, DTYPES[self.dtype], self.graph.digest()))

    def scalar(self, context: Any, builder: ir.IRBuilder, args: list[Any]) -> Any:
        """Emit a call with numbers of the dtype, in a form that LLVM can make part of a vectorised loop."""
        bits = self._call(context, builder, self.label, self._scalar_module, args)
        return builder.bitcast(bits, SCALARS[STORAGE[DTYPES[self.dtype]]])

    def loop(self, context: Any, builder: ir.IRBuilder, args: list[Any]) -> None:
        """Emit a call of the ufunc's inner loop."""
        self._call(context, builder, self.label + "_loop", self._loop_module, args)

    def _scalar_module(self, label: str, target: Target) -> ir.Module:
        """A function that takes floats and returns the bits of a float.

        Where a vector may pass by what only rare elements need, LLVM would spoil that: what it vectorises, it computes
        in full for every element. There the function stays a call, and LLVM is told of its twins for whole vectors.
        """
        result, graph = ir.Module(label), target.suited(self.graph)
        if any(isinstance(step, Detour) for step in order(graph, detours=True)):
            widest = target.vector_bytes * 8 // max(BITS[node.type] for node in graph.inputs + graph.outputs)
            widths = [width for width in (widest, widest // 2, widest // 4) if width > 1]
            twins = [_function(result, f"{label}_{width}", graph, width, target) for width in widths]
            function = _function(result, label, graph, 1, target)
            _announce(function, twins)
        else:
            function = _function(result, label, graph, 0, target)
            function.attributes.add("alwaysinline")
        return result

    def _loop_module(self, label: str, target: Target) -> ir.Module:
        return LoopBuilder(self.graph, None, target, label).build()

    def _call(self, context: Any, builder: ir.IRBuilder, label: str, build: Build, args: list[Any]) -> Any:
        library, kind = _library(context, label, build)
        context.active_code_library.add_linking_library(library)
        function = builder.module.globals.get(label) or ir.Function(builder.module, kind, label)
        return builder.call(function, args)


def _function(module: ir.Module, label: str, graph: Graph, width: int, target: Target) -> ir.Function:
    """The graph as a function of vectors; of numbers where the width is 0 or 1."""

    def typed(kind: ir.Type) -> ir.Type:
        return ir.VectorType(kind, width) if width > 1 else kind

    (value,) = graph.outputs
    bits = ir.IntType(BITS[value.type])
    kind = ir.FunctionType(typed(bits), [typed(SCALARS[node.type]) for node in graph.inputs])
    function = ir.Function(module, kind, label)
    for attribute in ("nounwind", "readnone"):
        function.attributes.add(attribute)
    b, first = ir.IRBuilder(function.append_basic_block("entry")), ir.IntType(32)(0)
    args = list(function.args)
    if width == 1:
        args = [b.insert_element(ir.Constant(ir.VectorType(a.type, 1), ir.Undefined), a, first) for a in args]
    (number,) = Emitter(b, width, target.half_instructions, target.avx512).graph(graph, args)
    if width == 1:
        number = b.extract_element(number, first)
    b.ret(b.bitcast(number, kind.return_type))
    return function


def _announce(function: ir.Function, twins: list[ir.Function]) -> None:
    """Tell LLVM's vectoriser which functions do for vectors what this one does for numbers."""
    function.attributes.add("noinline")
    names = [
        f"_ZGV_LLVM_N{twin.function_type.return_type.count}{'v' * len(function.args)}_{function.name}({twin.name})"
        for twin in twins
    ]
    attribute = f'"vector-function-abi-variant"="{",".join(names)}"'
    set.add(function.attributes, attribute)  # the set's own method takes only attributes without a value
    kept = ir.ArrayType(PTR, len(twins))
    used = ir.GlobalVariable(function.module, kept, "llvm.compiler.used")
    used.linkage, used.section, used.initializer = "appending", "llvm.metadata", ir.Constant(kept, twins)


def _library(context: Any, label: str, build: Build) -> tuple[Any, ir.FunctionType]:
    """What Numba links for the kernel of that label, and the type of its function."""
    codegen = context.codegen()
    known = _libraries.setdefault(codegen, {})
    if label not in known:
        library = codegen.create_library(label)
        # Numba can be told to compile for another processor than this one.
        target = Processor(*codegen.magic_tuple()).target()
        module, empty = build(label, target), library.create_ir_module(label)
        module.triple, module.data_layout = empty.triple, empty.data_layout
        context.declare_env_global(module, stamp().env_name)
        library.add_ir_module(module)
        library.finalize()
        known[label] = library, module.globals[label].function_type
    return known[label]


# -- machine code that Numba keeps on disk ----------------------------------------------------------------------------
class StaleKernel(OSError):
    """Compiled code on disk holds kernels of another version of this package.

    Numba takes an OSError at this point for a file that has gone, and compiles anew."""


@functools.cache
def sources_digest() -> str:
    """Digest of all the sources that decide what a kernel computes."""
    package = Path(sources.PACKAGE)
    digest = hashlib.sha256()
    for path in sorted(p for room in ("kernels", "link", "cpu") for p in (package / room).rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:32]


class Stamp:
    """Says which sources the kernels of a compiled function come from; reading it back fails with other sources."""

    def __init__(self, digest: str) -> None:
        self.digest = digest

    def __reduce__(self) -> Any:
        return _checked, (self.digest,)


def _checked(digest: str) -> Stamp:
    if digest != sources_digest():
        raise StaleKernel("compiled with other sources of fastact")
    return Stamp(digest)


@functools.cache
def stamp() -> Environment:
    """Constants that belong to no function but to every kernel, among them a `Stamp`.

    Numba keeps with a function's machine code the constants of all that was linked into it, and knows these by the
    name of a variable in the module. So wherever a kernel ends up, by whatever chain of calls, the stamp is there too.
    """
    name = default_mangler(f".NumbaEnv.fastact.{sources_digest()}", ())
    environment = Environment.from_fndesc(SimpleNamespace(env_name=name, lookup_globals=globals))
    environment.consts.append(Stamp(sources_digest()))
    return environment
