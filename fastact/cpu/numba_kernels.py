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
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.environment import Environment
from numba.core.funcdesc import default_mangler

from fastact.cpu.emit import SCALARS, Emitter
from fastact.kernels import REGISTRY
from fastact.link.forms import forms
from fastact.link.graph import BITS, Graph
from fastact.link.linker import STORAGE, link

DTYPES = {types.float32: "float32", types.float64: "float64"}
"""The types that kernels exist for in compiled code."""

_libraries: weakref.WeakKeyDictionary[Any, dict[str, Any]] = weakref.WeakKeyDictionary()


@functools.cache
def graph(name: str, form: str, dtype: str, tier: str) -> Graph:
    """The graph of a kernel's value alone; floating-point flags are the caller's affair here."""
    chosen = forms(REGISTRY[name])[form]
    return link(chosen.body, len(chosen.arguments), dtype, tier)


@functools.cache
def symbol(name: str, form: str, dtype: str, tier: str) -> str:
    """A name that no two different kernels share."""
    return "_".join(("fastact", name, form, tier, dtype, graph(name, form, dtype, tier).digest()))


def _function_type(kernel: Graph) -> ir.FunctionType:
    (result,) = kernel.outputs
    return ir.FunctionType(ir.IntType(BITS[result.type]), [SCALARS[node.type] for node in kernel.inputs])


def module(context: Any, label: str, kernel: Graph) -> ir.Module:
    """A module with one function, which takes floats and returns the bits of a float."""
    result: ir.Module = context.codegen()._create_empty_module(label)
    kind = _function_type(kernel)
    function = ir.Function(result, kind, label)
    function.attributes.add("alwaysinline")
    function.attributes.add("nounwind")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    (value,) = Emitter(builder, 0).graph(kernel, function.args)
    builder.ret(builder.bitcast(value, kind.return_type))
    context.declare_env_global(result, stamp().env_name)
    return result


def _library(context: Any, label: str, kernel: Graph) -> Any:
    codegen = context.codegen()
    known = _libraries.setdefault(codegen, {})
    library = known.get(label)
    if library is None:
        library = codegen.create_library(label)
        library.add_ir_module(module(context, label, kernel))
        library.finalize()
        known[label] = library
    return library


def call(context: Any, builder: ir.IRBuilder, name: str, form: str, dtype: Any, tier: str, args: list[Any]) -> Any:
    """Emit a call of the kernel, to be inlined; ``args`` are values of the dtype, and so is the result."""
    dtype_name = DTYPES[dtype]
    kernel = graph(name, form, dtype_name, tier)
    label = symbol(name, form, dtype_name, tier)
    context.active_code_library.add_linking_library(_library(context, label, kernel))
    function = builder.module.globals.get(label) or ir.Function(builder.module, _function_type(kernel), label)
    return builder.bitcast(builder.call(function, args), SCALARS[STORAGE[dtype_name]])


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
