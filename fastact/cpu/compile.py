"""From a graph to the address of its inner loop, through LLVM or from the disk."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import llvmlite
import llvmlite.binding as llvm

from fastact.cpu import cache, objects, shortcuts, sources
from fastact.cpu.lock import alone
from fastact.cpu.target import Processor, host
from fastact.link.graph import Graph

if TYPE_CHECKING:
    from fastact.link.rows import LinkedProgram

_alive: list[Any] = []
"""Execution engines; machine code lives as long as its engine."""


PASSES = (
    "sroa", "simplify_cfg", "instruction_combine", "loop_simplify", "loop_rotate", "simplify_cfg", "new_gvn",
    "instruction_combine", "simplify_cfg",
)  # fmt: skip
"""What is done with LLVM's intermediate code before machine code is made of it. Loops come as vectors, side by side and
with all that does not vary before them, so that this leaves the same instructions in them as LLVM's own selection of
passes does, and takes a third of the time."""


@functools.cache
def _initialize() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()


def target_machine(processor: Processor) -> llvm.TargetMachine:
    _initialize()
    target = llvm.Target.from_triple(processor.triple)
    return target.create_target_machine(
        cpu=processor.name, features=processor.features, opt=3, codemodel="jitdefault", jit=True
    )


def module_for(
    graph: Graph, evidence: Graph | None, processor: Processor, fetched: int = 0, varying: int = 0
) -> str:
    """The LLVM IR of the loop ``kernel`` around the graph, which fetches some operands before they are needed; inputs
    after those that are varying are often the same for all elements."""
    from fastact.cpu.lowering.loops import LoopBuilder

    module = LoopBuilder(graph, evidence, processor.target(), "kernel", fetched, varying).build()
    module.triple = processor.triple
    return str(module)


def optimize(text: str, processor: Processor) -> tuple[llvm.ModuleRef, llvm.TargetMachine]:
    machine = target_machine(processor)
    module = llvm.parse_assembly(text)
    module.data_layout = str(machine.target_data)
    module.verify()
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=1))
    passes = llvm.create_new_module_pass_manager()
    for name in PASSES:
        getattr(passes, f"add_{name}_pass")()
    passes.run(module, builder)
    return module, machine


def assembly(
    graph: Graph, evidence: Graph | None = None, processor: Processor | None = None, varying: int = 0
) -> str:
    """The assembly text of a kernel, for the curious."""
    processor = processor or host()
    module, machine = optimize(module_for(graph, evidence, processor, varying=varying), processor)
    return machine.emit_assembly(module)


def object_code(
    graph: Graph,
    evidence: Graph | None,
    processor: Processor,
    fetched: int = 0,
    varying: int = 0,
    asked: Sequence[str] = (),
) -> bytes:
    """The kernel as an object file, from the cache where it has it, which is then found by what was ``asked``, too."""
    parts = (graph.text(), evidence.text() if evidence else "", f"{fetched} {varying}")
    return _cached(parts, lambda: module_for(graph, evidence, processor, fetched, varying), processor, asked)


def cache_key(parts: tuple[str, ...], processor: Processor) -> str:
    """The name under which the machine code of ``parts`` is kept."""
    versions = llvmlite.__version__, ".".join(map(str, llvm.llvm_version_info))
    return cache.key(*parts, processor.triple, processor.name, processor.features, *versions)


def _cached(
    parts: tuple[str, ...], build: Callable[[], str], processor: Processor, asked: Sequence[str] = ()
) -> bytes:
    name = cache_key(parts, processor)
    code = cache.load(name)
    kept = code is not None
    if code is None:
        module, machine = optimize(build(), processor)
        code = machine.emit_object(module)
        kept = sources.unchanged() and cache.store(name, code)
    if asked and kept:
        shortcuts.remember(name, *asked)
    return code


def address(
    graph: Graph,
    evidence: Graph | None = None,
    processor: Processor | None = None,
    fetched: int = 0,
    varying: int = 0,
    asked: Sequence[str] = (),
) -> int:
    """The address of the graph's inner loop, ready to be called."""
    processor = processor or host()
    with alone():
        return _loaded(object_code(graph, evidence, processor, fetched, varying, asked), "kernel", processor)


def row_address(
    linked: LinkedProgram, width: int, processor: Processor | None = None, asked: Sequence[str] = ()
) -> int:
    """The address of the loop of a program over rows of up to ``width`` elements; 0 for long ones. `ACROSS_SHORT` and
    `ACROSS_LONG` stand for rows that lie side by side."""
    from fastact.cpu.rows.calls import ACROSS_SHORT

    processor = processor or host()

    def build() -> str:
        from fastact.cpu.rows.across import AcrossKernel
        from fastact.cpu.rows.kernel import RowKernel

        if width < 0:
            module = AcrossKernel(linked, processor.target()).build(width == ACROSS_SHORT)
        else:
            module = RowKernel(linked, processor.target()).build(width)
        module.triple = processor.triple
        return str(module)

    with alone():
        return _loaded(_cached(("rows", str(width), linked.text()), build, processor, asked), "kernel", processor)


def native(text: str, symbol: str, asked: Sequence[str] = ()) -> int:
    """The address of a function in a module of LLVM IR, for the processor of this process."""
    with alone():
        return _loaded(_cached((text,), lambda: text, host(), asked), symbol, host())


def _loaded(code: bytes, symbol: str, processor: Processor) -> int:
    found = objects.load(code, symbol)
    if found:
        return found
    _initialize()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine(processor))
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _alive.append(engine)
    return int(engine.get_function_address(symbol))
