"""Kernels loaded without LLVM: the same machine code, without a graph, or the long way where something is amiss."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

import fastact
from fastact.cpu import cache, compile, kernels, objects, shortcuts, sources, target
from fastact.cpu.lowering import flags
from fastact.cpu.ufunc import LOOP
from fastact.kernels import REGISTRY
from fastact.link.forms import kernel

here = pytest.mark.skipif(not objects.possible(), reason="object files are loaded by LLVM on this system")
KERNELS = [
    ("mish", "value", "float32", "fast"),
    ("erf", "value", "float32", "exact"),
    ("exp", "backward", "float64", "exact"),
    ("tanh", "value", "float16", "exact"),
    ("swish", "value", "float32", "rough"),
]


def code_of(name: str, form: str, dtype: str, tier: str) -> bytes:
    linked = kernel(REGISTRY[name], form, dtype, tier)
    return compile.object_code(linked.graph, linked.evidence, target.host())


def run(address: int, inputs: list[np.ndarray], step: int) -> np.ndarray:
    """The result of a loop called as NumPy calls it, on every ``step``-th element."""
    operands = [np.ascontiguousarray(a) for a in inputs]
    out = np.zeros_like(operands[0])
    count = operands[0].size // step
    places = np.array([a.ctypes.data for a in (*operands, out)], np.uintp)
    steps = np.array([a.itemsize * step for a in (*operands, out)], np.intp)
    size = np.array([count], np.intp)
    LOOP(address)(places.ctypes.data, size.ctypes.data, steps.ctypes.data, None)
    return out.view(f"u{out.itemsize}")


@here
@pytest.mark.parametrize("which", KERNELS, ids=" ".join)
def test_the_same_bits_as_through_llvm(which: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    code, dtype = code_of(*which), which[2]
    count = kernel(REGISTRY[which[0]], which[1], dtype, which[3]).graph.inputs
    inputs = [np.linspace(-5 + k, 5, 1501).astype(dtype) for k in range(len(count))]
    ours = objects.load(code, "kernel")
    assert ours
    monkeypatch.setattr(objects, "load", lambda *_: 0)
    theirs = compile._loaded(code, "kernel", target.host())
    assert theirs and theirs != ours
    for step in (1, 2, 3):
        assert np.array_equal(run(ours, inputs, step), run(theirs, inputs, step))


@here
def test_kernels_of_rows_and_the_driver_of_threads_are_loaded_here() -> None:
    from fastact.cpu import threads
    from fastact.cpu.lowering import drive
    from fastact.cpu.rows import calls

    codes = [compile._cached(("rows", "8", linked.text()), str, target.host()) for linked in _rows()]
    assert all(objects.load(code, "kernel") for code in codes)
    assert threads._driver() is not None
    text = drive.drive_module(target.host().target().flags, target.host().triple)
    assert objects.load(compile._cached((text,), str, target.host()), "drive")
    assert calls.kernel("softmax", "float32", "fast").asked == ("rows", "softmax", "float32", "fast")


def _rows() -> list[Any]:
    """Programs whose kernels for rows of 8 are in the cache."""
    from fastact.cpu.rows import calls

    found = [calls.kernel(name, "float32", "fast") for name in ("softmax", "logsumexp")]
    for one in found:
        compile.row_address(one.linked, 8)
    return [one.linked for one in found]


@here
def test_what_is_not_expected_is_left_to_llvm(monkeypatch: pytest.MonkeyPatch) -> None:
    code = code_of(*KERNELS[0])
    assert objects.load(code, "kernel")
    assert not objects.load(code, "nonsense")
    for size in (0, 10, 64, 500, len(code) // 2):
        assert not objects.load(code[:size], "kernel")
    machine = objects._MACHINES[os.uname().machine]
    for place, value in ((4, 1), (5, 2), (16, 2), (18, 3)):  # 32 bits, the other byte order, a program, 80386
        assert not objects.load(code[:place] + bytes([value]) + code[place + 1 :], "kernel")
    with monkeypatch.context() as patch:
        patch.setattr(objects, "FOREIGN", ())
        with pytest.raises(objects.Unexpected, match="memcpy"):
            objects.Image(code, machine).at(0)
        assert not objects.load(code, "kernel")
    for changes in ({"flags": 3}, {"kind": 14}):
        image = [list(s) for s in objects.Image(code, machine).sections]
        loaded = next(s for s in image if s[2] & 2)
        loaded[1], loaded[2] = changes.get("kind", loaded[1]), changes.get("flags", loaded[2])
        start = struct.unpack_from("<Q", code, 40)[0]
        damaged = code[:start] + b"".join(objects._SECTION.pack(*s) for s in image)
        with pytest.raises(objects.Unexpected, match="section"):
            objects.Image(damaged, machine)
    with pytest.raises(objects.Unexpected, match="relocation"):
        machine.enter(bytearray(16), 0, 99, 0, 0)
    monkeypatch.setattr(objects._library(), "mprotect", lambda *_: -1)
    assert not objects.load(code, "kernel")  # where nothing that was written may be executed


@here
def test_memory_is_never_writable_and_executable() -> None:
    address = objects.load(code_of(*KERNELS[0]), "kernel")
    for line in Path("/proc/self/maps").read_text().splitlines():
        low, high = (int(part, 16) for part in line.split()[0].split("-"))
        if low <= address < high:
            assert line.split()[1] == "r-xp"
            break
    else:
        pytest.fail("the kernel is nowhere")


@pytest.mark.parametrize("which", [KERNELS[1], KERNELS[2]], ids=" ".join)
def test_addresses_in_code_for_arm(which: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are spread over four instructions each; functions of the C library are reached through a jump of ours."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    monkeypatch.setattr(target, "flag_register", lambda _: flags.FlagRegister())  # LLVM cannot read ARM assembler here
    processor = target.Processor("aarch64-unknown-linux-gnu", "generic", "+neon")
    try:
        llvm.Target.from_triple(processor.triple)
    except RuntimeError:
        pytest.skip("this LLVM makes no code for ARM64")
    linked = kernel(REGISTRY[which[0]], *which[1:])
    module, machine = compile.optimize(compile.module_for(linked.graph, linked.evidence, processor), processor)
    monkeypatch.setattr(objects, "_foreign", lambda name: {"memcpy": 0x7FFF12345678}[name])
    image, base = objects.Image(machine.emit_object(module), objects._Arm), 0x123456789000
    memory = image.at(base)
    found: dict[tuple[int, int], int] = {}
    jumps = []
    for section in image.sections:
        if section[1] != objects._RELOCATIONS or section[7] not in image.places:
            continue
        for k in range(section[5] // 24):
            offset, what, addend = struct.unpack_from("<QQq", image.code, section[4] + 24 * k)
            place = image.places[section[7]] + offset
            (word,) = struct.unpack_from("<I", memory, place)
            if word >> 26 & 31 == 5:  # a jump
                jumps.append(place + 4 * ((word & 0x3FFFFFF) - ((word & 0x2000000) << 1)))
            else:  # sixteen bits of an address, and which
                assert word >> 23 & 63 == 0x25
                where = image.symbols[what >> 32][1], addend
                found[where] = found.get(where, 0) | (word >> 5 & 0xFFFF) << 16 * (word >> 21 & 3)
    assert found and all(value == base + image.places[section] + more for (section, more), value in found.items())
    stub = image.stubs["memcpy"]
    assert stub in jumps
    assert memory[stub : stub + 16] == struct.pack("<IIQ", 0x58000050, 0xD61F0200, 0x7FFF12345678)
    with pytest.raises(objects.Unexpected, match="too long"):
        objects._Arm.enter(bytearray(4), 0, 283, 1 << 30, 0)
    with pytest.raises(objects.Unexpected, match="relocation"):
        objects._Arm.enter(bytearray(4), 0, 275, 0, 0)


# -- shortcuts --------------------------------------------------------------------------------------------------------
FIRST = """
import sys, numpy as np, fastact
y = fastact.mish(np.linspace(-3, 3, 9, dtype=np.float32), approx="fast")
print(y.tobytes().hex(), "llvmlite" in sys.modules, "fastact.link.linker" in sys.modules)
"""


def process(code: str, folder: Path) -> list[str]:
    environment = {**os.environ, "FASTACT_CACHE_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and none of the kernels that this process has loaded."""
    monkeypatch.setenv("FASTACT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(kernels, "_addresses", {})
    return tmp_path / "cache"


def traced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one for each kernel whose graph is made."""
    count: list[int] = []
    linked = kernels.linked
    monkeypatch.setattr(kernels, "linked", lambda *a: count.append(1) or linked(*a))
    return count


def mish() -> int:
    kernels._addresses.clear()
    return kernels.loop_address("mish", "value", "fast", "float32")


@here
def test_the_next_process_needs_no_compiler(folder: Path) -> None:
    first, second = process(FIRST, folder), process(FIRST, folder)
    assert first == [second[0], "True", "True"]
    assert second[1:] == ["False", "False"]


@here
@pytest.mark.parametrize(
    "call",
    [
        "softmax(np.linspace(0, 1, 8, dtype=np.float32))",
        "layer_norm.backward(x, x)[0]",
        "mish(np.linspace(0, 1, 1 << 20, dtype=np.float32), approx='fast')",
        "swiglu(x, x)",
    ],
)
def test_no_first_call_needs_a_compiler(folder: Path, call: str) -> None:
    """Neither those of rows, nor of large arrays on several threads."""
    code = f"""
    import hashlib, sys, numpy as np, fastact
    x = np.linspace(-1, 1, 12, dtype=np.float64).reshape(3, 4)
    with fastact.num_threads(2):
        y = fastact.{call}
    print(hashlib.sha256(y.tobytes()).hexdigest(), "llvmlite" in sys.modules)
    """
    first, second = process(code, folder), process(code, folder)
    assert first == [second[0], "True"] and second[1] == "False"


@here
def test_shortcuts_lead_to_kernels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = traced(monkeypatch)
    assert mish() and mish()
    assert len(count) == 1
    (link,) = folder.glob("*.link")
    (file,) = folder.glob("*.kernel")
    assert os.readlink(link) == file.name
    assert list(cache.files()) == [file]
    assert cache.clear() == 1 and list(folder.iterdir()) == []
    assert mish()
    assert len(count) == 2


@here
@pytest.mark.parametrize("damage", ["gone", "truncated", "elsewhere"])
def test_shortcuts_that_lead_nowhere(folder: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    count = traced(monkeypatch)
    mish()
    (link,), (file,) = folder.glob("*.link"), folder.glob("*.kernel")
    if damage == "gone":
        file.unlink()
    elif damage == "truncated":
        file.write_bytes(file.read_bytes()[:-50])
    else:
        link.unlink()
        link.symlink_to(folder)
    assert mish() and len(count) == 2
    assert mish() and len(count) == 2


@here
def test_shortcuts_know_what_they_depend_on(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def names() -> str:
        shortcuts._circumstances.cache_clear()
        return shortcuts._name(("loop", "mish", "value", "fast", "float32"))

    before = names()
    assert names() == before
    others = {shortcuts._name(("loop", "mish", "value", *rest)) for rest in (("fast", "float64"), ("rough", "float32"))}
    for part in ("_processor", "_compiler"):
        with monkeypatch.context() as patch:
            patch.setattr(shortcuts, part, lambda: b"another")
            others.add(names())
    files = [Path(path).relative_to(Path(fastact.__file__).parent) for path, *_ in sources.LOADED]
    assert {file.parts[0] for file in files} == {"kernels", "link", "cpu"} and Path("kernels/blocks/single.py") in files
    assert set(files) == {
        file.relative_to(Path(fastact.__file__).parent)
        for room in sources.ROOMS
        for file in (Path(fastact.__file__).parent / room).rglob("*.py")
    }
    edited = tmp_path / "single.py"
    edited.write_text("more\n")
    for changed in (sources.LOADED[:-1], (*sources.LOADED[:-1], (str(edited),)), (*sources.LOADED, (str(edited),))):
        with monkeypatch.context() as patch:
            patch.setattr(sources, "LOADED", changed)
            patch.setattr(sources, "unchanged", lambda: True)
            others.add(names())
    assert len(others) == 7 and before not in others
    assert names() == before


@here
@pytest.mark.parametrize("part", ["_processor", "_compiler", "LOADED"])
def test_the_long_way_where_not_all_is_known(folder: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    def refuse() -> Any:
        raise OSError("no such file")

    count = traced(monkeypatch)
    if part == "LOADED":
        monkeypatch.setattr(sources, part, ())
    else:
        monkeypatch.setattr(shortcuts, part, refuse)
    shortcuts._circumstances.cache_clear()
    try:
        assert mish() and mish() and len(count) == 2
        assert not list(folder.glob("*.link"))
    finally:
        shortcuts._circumstances.cache_clear()


@here
@pytest.mark.parametrize("when", ["before the first call", "between calls"])
def test_sources_that_change_while_a_process_runs(tmp_path: Path, when: str) -> None:
    """What it compiles is not kept under the name of what the new sources say."""
    package = tmp_path / "fastact"
    shutil.copytree(Path(fastact.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    place = package / "kernels" / "piecewise.py"
    code = """
    import pathlib, numpy as np, fastact
    assert fastact.__file__.startswith({home!r}), fastact.__file__
    path = pathlib.Path({place!r})
    if {early}:
        path.write_text(path.read_text() + "\\n")
    fastact.mish(np.ones(4, np.float32), approx="fast")
    if not {early}:
        path.write_text(path.read_text() + "\\n")
    fastact.silu(np.ones(4, np.float32), approx="fast")
    """
    code = textwrap.dedent(code).format(place=str(place), early=when.startswith("before"), home=str(package))
    environment = {**os.environ, "FASTACT_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120, cwd=tmp_path)
    kept = 0 if when.startswith("before") else 1
    assert len(list((tmp_path / "cache").glob("*.link"))) == len(list((tmp_path / "cache").glob("*.kernel"))) == kept


def test_declarations_of_others_have_no_shortcuts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since the sources do not tell their kernels."""
    mish()
    monkeypatch.setitem(REGISTRY, "mish", replace(REGISTRY["mish"], value=REGISTRY["silu"].value))
    assert kernels.asked("mish", "value", "fast", "float32") == ()
    x, count = np.linspace(-3, 3, 9, dtype=np.float32), traced(monkeypatch)
    assert np.array_equal(run(mish(), [x], 1).view(np.float32), fastact.silu(x, approx="fast"))
    assert len(count) >= 1


@here
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_what_was_loaded_is_there_after_a_fork(folder: Path) -> None:
    x = np.linspace(-3, 3, 9, dtype=np.float32)
    address = mish()
    expected = run(address, [x], 1)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(run(address, [x], 1), expected) and mish() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
