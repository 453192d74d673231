"""Compiled kernels on disk: the right one or none, whatever happens to the folder."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastact
from fastact.cpu import cache, compile, kernels
from fastact.cpu.target import host
from fastact.kernels import REGISTRY
from fastact.link.forms import kernel

SIX = np.linspace(-1, 1, 6, dtype=np.float32)
REPORT = """
import numpy as np, fastact
from fastact.cpu import compile
compiled = []
optimize = compile.optimize
compile.optimize = lambda *a: compiled.append(1) or optimize(*a)
x = np.linspace(-1, 1, 6, dtype=np.float32)
y = fastact.mish(x, approx="fast")
assert np.allclose(y, x * np.tanh(np.log1p(np.exp(x)))), y
print(len(compiled))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, and none of the kernels that this process has loaded."""
    monkeypatch.setenv("FASTACT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(kernels, "_addresses", {})
    yield tmp_path / "cache"


def names(folder: Path) -> list[str]:
    """Of all files but the second names of kernels; these have tests of their own."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != cache.LINK) if folder.is_dir() else []


def compiled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one for each kernel that LLVM compiles."""
    count: list[int] = []
    optimize = compile.optimize
    monkeypatch.setattr(compile, "optimize", lambda *a: count.append(1) or optimize(*a))
    return count


def mish(tier: str = "fast") -> int:
    kernels._addresses.clear()
    return kernels.loop_address("mish", "value", tier, "float32")


def run(code: str, folder: Path, **options: Any) -> str:
    environment = {**os.environ, "FASTACT_CACHE_DIR": str(folder)} | options.pop("environment", {})
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True, text=True, timeout=120,
        **options,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- keeping and finding ----------------------------------------------------------------------------------------------
def test_compiled_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = compiled(monkeypatch)
    mish()
    (name,) = names(folder)
    assert name.endswith(cache.SUFFIX) and len(count) == 1
    mish()
    assert names(folder) == [name] and len(count) == 1
    mish("rough")
    assert len(names(folder)) == len(count) == 2


def test_the_next_process_compiles_nothing(folder: Path) -> None:
    assert run(REPORT, folder) == "1\n"
    assert run(REPORT, folder) == "0\n"


def test_clear(folder: Path) -> None:
    mish()
    mish("rough")
    assert len(list(cache.files())) == 2
    assert cache.clear() == 2
    assert list(cache.files()) == [] == names(folder) and cache.clear() == 0


# -- keys -------------------------------------------------------------------------------------------------------------
def key(tier: str = "fast", dtype: str = "float32", name: str = "mish", form: str = "value", **changes: Any) -> str:
    linked = kernel(REGISTRY[name], form, dtype, tier)
    parts = linked.graph.text(), linked.evidence.text() if linked.evidence else ""
    return compile.cache_key(parts, replace(host(), **changes))


def test_keys_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [
        key(),
        key(tier="rough"),
        key(tier="exact"),
        key(dtype="float64"),
        key(dtype="float16"),
        key(form="grad"),
        key(name="silu"),
        key(features=host().features + ",+nonsense"),
        key(triple="aarch64-unknown-linux-gnu"),
        compile.cache_key(("a", "b"), host()),
        compile.cache_key(("a\nb", ""), host()),
        compile.cache_key(("a", "b\n"), host()),
        compile.cache_key(("", "a\nb"), host()),
    ]
    changed = replace(host(), name="pentium")
    keys.append(compile.cache_key(("a", "b"), changed))
    monkeypatch.setattr(compile.llvmlite, "__version__", "0.0.1")
    keys.append(key())
    monkeypatch.undo()
    monkeypatch.setattr(compile.llvm, "llvm_version_info", (1, 2, 3))
    keys.append(key())
    monkeypatch.undo()
    assert len(set(keys)) == len(keys)
    assert key() == keys[0]


def test_the_key_is_the_same_in_another_process(folder: Path) -> None:
    code = """
    from fastact.cpu import compile
    from fastact.cpu.target import host
    from fastact.kernels import REGISTRY
    from fastact.link.forms import kernel
    linked = kernel(REGISTRY["mish"], "value", "float32", "fast")
    print(compile.cache_key((linked.graph.text(), linked.evidence.text()), host()))
    """
    for seed in "01":
        assert run(code, folder, environment={"PYTHONHASHSEED": seed}).strip() == key()


@pytest.mark.parametrize("change", ["edit", "add", "remove", "rename"])
def test_the_back_end_is_part_of_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    sources = tmp_path / "cpu"
    shutil.copytree(Path(cache.__file__).parent, sources)
    monkeypatch.setattr(cache, "__file__", str(sources / "cache.py"))
    cache.backend_digest.cache_clear()
    try:
        before = key()
        victim = sources / "lowering" / "emit.py"
        if change == "edit":
            victim.write_text(victim.read_text() + "\n")
        elif change == "add":
            (sources / "lowering" / "more.py").write_text("")
        elif change == "remove":
            victim.unlink()
        else:
            victim.rename(victim.with_name("emitter.py"))
        assert key() == before  # read once per process
        cache.backend_digest.cache_clear()
        assert key() != before
    finally:
        monkeypatch.undo()
        cache.backend_digest.cache_clear()


# -- damage -----------------------------------------------------------------------------------------------------------
DAMAGE = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "head only": lambda content: content[:20],
    "one bit": lambda content: content[:-100] + bytes([content[-100] ^ 1]) + content[-99:],
    "one bit of the digest": lambda content: content[:20] + bytes([content[20] ^ 1]) + content[21:],
    "longer": lambda content: content + b"x",
    "other file": lambda content: b"x" * len(content),
    "older format": lambda content: content.replace(b"kernel 1", b"kernel 0"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files_are_compiled_anew(folder: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    count = compiled(monkeypatch)
    mish()
    (path,) = cache.files()
    whole = path.read_bytes()
    path.write_bytes(DAMAGE[damage](whole))
    mish()
    assert len(count) == 2
    assert cache.load(path.name.removesuffix(cache.SUFFIX)) is not None
    mish()
    assert len(count) == 2


def test_a_folder_in_the_place_of_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = compiled(monkeypatch)
    mish()
    (path,) = cache.files()
    path.unlink()
    path.mkdir()
    mish()
    assert len(count) == 2 and names(folder) == [path.name]


# -- folders that will not do -----------------------------------------------------------------------------------------
def test_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "cache", Path("/proc/nonexistent/cache")):
        assert run(REPORT, place) == "1\n"


def test_a_home_that_cannot_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTACT_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert cache.load("nothing") is None
    assert cache.store("nothing", b"") is False


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="the system has no permissions")
def test_a_folder_that_cannot_be_written_but_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root, permissions hold nobody back: so it is done by what opening files for writing answers."""
    count = compiled(monkeypatch)
    mish()
    monkeypatch.setattr(tempfile, "mkstemp", _refuse(errno.EACCES))
    mish()
    assert len(count) == 1
    mish("rough")
    mish("rough")
    assert len(count) == 3 and len(names(folder)) == 1
    if os.geteuid():
        monkeypatch.undo()
        folder.chmod(0o500)
        assert cache.store("name", b"payload") is False
        folder.chmod(0o700)


def _refuse(number: int) -> Any:
    def refused(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return refused


@pytest.mark.parametrize("call", ["fdopen", "replace"])
def test_errors_on_the_way(folder: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    monkeypatch.setattr(cache.os, call, _refuse(errno.ENOSPC))
    assert cache.store("name", b"payload") is False
    monkeypatch.undo()
    assert [name for name in names(folder) if not name.startswith(".new-")] == []
    assert names(folder) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a limit on the size of files, as Linux has it")
def test_a_full_disk(folder: Path) -> None:
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))\n" + REPORT
    assert run(code, folder) == "1\n"
    assert names(folder) == []
    assert run(REPORT, folder) == "1\n"


# -- several at once --------------------------------------------------------------------------------------------------
def test_processes_at_once(folder: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(lambda _: run(REPORT, folder), range(4)))
    assert all(output in ("0\n", "1\n") for output in outputs) and "1\n" in outputs
    assert len(names(folder)) == 1
    assert run(REPORT, folder) == "0\n"


def test_threads_compile_each_kernel_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = compiled(monkeypatch)
    tasks = [(name, tier) for name in ("mish", "silu", "sigmoid", "relu") for tier in ("fast", "rough")] * 3
    barrier = threading.Barrier(8)

    def load(part: int) -> list[int]:
        barrier.wait(30)
        return [kernels.loop_address(name, "value", tier, "float32") for name, tier in tasks[part::8] + tasks]

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(load, range(8)))
    different = {kernel(REGISTRY[n], "value", "float32", t).graph.digest() for n, t in tasks}
    assert len(names(folder)) == len(count) == len(different)
    assert len({tuple(r[-len(tasks) :]) for r in results}) == 1


def test_first_calls_in_many_threads(folder: Path) -> None:
    code = """
    import threading, numpy as np, fastact
    from concurrent.futures import ThreadPoolExecutor
    x = np.linspace(-3, 3, 1000, dtype=np.float32)
    functions = [fastact.mish, fastact.silu, fastact.exp, fastact.mish.grad, fastact.sigmoid, fastact.exp.grad]
    barrier = threading.Barrier(12)
    def work(k):
        barrier.wait(30)
        f = functions[k % 6]
        return f.ufunc("fast"), f(x, approx="fast").tobytes()
    with ThreadPoolExecutor(12) as pool:
        results = list(pool.map(work, range(12)))
    assert results[:6] == results[6:]
    for f, (ufunc, _) in zip(functions, results): assert f.ufunc("fast") is ufunc
    """
    run(code, folder)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forking_while_another_thread_compiles(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fork waits for the compilation; the child finds the compiler usable, and its locks free."""
    compiling, order = threading.Event(), []
    optimize = compile.optimize

    def slow(*a: Any) -> Any:
        compiling.set()
        result = optimize(*a)
        time.sleep(0.3)
        order.append("compiled")
        return result

    monkeypatch.setattr(compile, "optimize", slow)
    thread = threading.Thread(target=mish)
    thread.start()
    assert compiling.wait(30)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            kernels.loop_address("mish", "value", "rough", "float32")
            with compile.alone():
                status = 0
        finally:
            os._exit(status)
    order.append("forked")
    deadline = time.monotonic() + 60
    while (done := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, 9)
            pytest.fail("the child never came back")
        time.sleep(0.01)
    thread.join()
    assert os.waitstatus_to_exitcode(done[1]) == 0
    assert order == ["compiled", "forked"]
    with compile.alone():
        mish("rough")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_forking_by_the_thread_that_compiles(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    optimize = compile.optimize

    def forking(*a: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            os._exit(0 if threading.active_count() else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        return optimize(*a)

    monkeypatch.setattr(compile, "optimize", forking)
    assert mish()
    assert fastact.mish(SIX, approx="fast").shape == (6,)
