"""Kernels as functions that Numba can link into what it compiles.

Each kernel is a small module of its own, which LLVM inlines into the caller. It is apart for two reasons. With
``fastmath=True`` Numba marks every floating-point instruction of the caller's module as free to be rearranged; ours
are not in it, and since the kernel hands back its result as an integer of the same bits, not even the call is marked.
And the kernel's Python-side construction happens once, however many call sites there are.
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

from fastact.cpu.emit import SCALARS, Emitter
from fastact.cpu.loops import LoopBuilder
from fastact.cpu.target import host
from fastact.kernels import REGISTRY
from fastact.link.forms import forms
from fastact.link.graph import BITS, Graph
from fastact.link.linker import STORAGE, link

DTYPES = {types.float32: "float32", types.float64: "float64"}
"""The types that kernels exist for in compiled code."""

_libraries: weakref.WeakKeyDictionary[Any, dict[str, tuple[Any, ir.FunctionType]]] = weakref.WeakKeyDictionary()


@functools.cache
def graph(name: str, form: str, dtype: str, tier: str) -> Graph:
    """The graph of a kernel's value alone; what is said of floating-point flags is of no use in compiled code."""
    chosen = forms(REGISTRY[name])[form]
    return link(chosen.body, len(chosen.arguments), dtype, tier)


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
        """Emit a call with numbers of the dtype, which will be inlined."""
        bits = self._call(context, builder, self.label, self._scalar_module, args)
        return builder.bitcast(bits, SCALARS[STORAGE[DTYPES[self.dtype]]])

    def loop(self, context: Any, builder: ir.IRBuilder, args: list[Any]) -> None:
        """Emit a call of the ufunc's inner loop."""
        self._call(context, builder, self.label + "_loop", self._loop_module, args)

    def _scalar_module(self, label: str) -> ir.Module:
        """One function, which takes floats and returns the bits of a float."""
        result = ir.Module(label)
        (value,) = self.graph.outputs
        kind = ir.FunctionType(ir.IntType(BITS[value.type]), [SCALARS[node.type] for node in self.graph.inputs])
        function = ir.Function(result, kind, label)
        function.attributes.add("alwaysinline")
        function.attributes.add("nounwind")
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        (number,) = Emitter(builder, 0).graph(self.graph, function.args)
        builder.ret(builder.bitcast(number, kind.return_type))
        return result

    def _loop_module(self, label: str) -> ir.Module:
        return LoopBuilder(self.graph, None, host().target(), label).build()

    def _call(
        self, context: Any, builder: ir.IRBuilder, label: str, build: Callable[[str], ir.Module], args: list[Any]
    ) -> Any:
        library, kind = _library(context, label, build)
        context.active_code_library.add_linking_library(library)
        function = builder.module.globals.get(label) or ir.Function(builder.module, kind, label)
        return builder.call(function, args)


def _library(context: Any, label: str, build: Callable[[str], ir.Module]) -> tuple[Any, ir.FunctionType]:
    """What Numba links for the kernel of that label, and the type of its function."""
    codegen = context.codegen()
    known = _libraries.setdefault(codegen, {})
    if label not in known:
        library = codegen.create_library(label)
        module, empty = build(label), library.create_ir_module(label)
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
    package = Path(__file__).parent.parent
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
