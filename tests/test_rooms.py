"""Rooms: imports point one way, and each room keeps to what it is for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "fastact"
ROOMS = ("kernels", "precision", "link", "cpu", "cuda", "door", "accuracy", "cli")
"""From left to right; the front door are the modules that stand in no folder."""
FILES = sorted(PACKAGE.rglob("*.py"))
NUMBA = re.compile(r"cpu/numba/\w+\.py")
"""The part of cpu that Numba users load; it is reached through Numba alone, or when a user asks for a Numba object."""


def label(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def room(parts: tuple[str, ...]) -> str | None:
    """The room of a module given by its path below the package; None for what belongs to none."""
    head = parts[0].removesuffix(".py") if parts else "__init__"
    if head == "__main__":
        return "cli"
    if head in ROOMS:
        return head
    return "door" if len(parts) <= 1 else None


def imports(path: Path, outermost: bool = False) -> Iterator[tuple[str, int]]:
    """Modules that a file imports with the lines, without those for type checkers; those of functions too or not."""
    tree = ast.parse(path.read_text())
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if outermost and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{label(path)}:{node.lineno} imports relatively"
            for alias in node.names:
                submodule = PACKAGE.parent / (node.module or "").replace(".", "/") / alias.name
                is_module = submodule.is_dir() or submodule.with_suffix(".py").exists()
                yield (f"{node.module}.{alias.name}" if is_module else str(node.module)), node.lineno
        stack.extend(ast.iter_child_nodes(node))


def outside(module: str) -> str | None:
    """The top name of a module that is not ours."""
    top = module.split(".")[0]
    return None if top == "fastact" else top


@pytest.mark.parametrize("path", FILES, ids=label)
def test_every_file_has_a_room(path: Path) -> None:
    assert room(path.relative_to(PACKAGE).parts) is not None, "name its room in ROOMS"


@pytest.mark.parametrize("path", FILES, ids=label)
def test_imports_point_to_the_left(path: Path) -> None:
    here = ROOMS.index(room(path.relative_to(PACKAGE).parts) or "cli")
    for module, line in imports(path):
        if module.split(".")[0] == "fastact":
            there = room(tuple(module.split(".")[1:]))
            assert there is not None and ROOMS.index(there) <= here, f"{label(path)}:{line} imports {module}"


def test_imports_make_no_circle() -> None:
    """Within a room too, as far as the imports at the top of files go."""
    edges: dict[str, set[str]] = {}
    for path in FILES:
        name = "fastact." + label(path).removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        targets = {module for module, _ in imports(path, outermost=True)}
        edges[name.removesuffix(".__init__")] = {module for module in targets if module.startswith("fastact.")}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for other in edges.get(name, ()):
                visit(other, (*trail, name))
            done.add(name)

    for name in edges:
        visit(name, ())


def test_numba_is_kept_where_it_belongs() -> None:
    for path in FILES:
        for module, line in imports(path):
            where = f"{label(path)}:{line} imports {module}"
            if module == "numba.cuda" or module.startswith(("numba.cuda.", "numba_cuda")):
                assert label(path).startswith("cuda/"), where
            elif outside(module) == "numba":
                named = label(path).startswith("cuda/") or NUMBA.fullmatch(label(path))
                beyond = room(path.relative_to(PACKAGE).parts) in ("accuracy", "cli")
                assert named or beyond, where


@pytest.mark.parametrize("path", [p for p in FILES if label(p).startswith("cpu/lowering/")], ids=label)
def test_lowering_needs_nothing_else_of_its_room(path: Path) -> None:
    """From a graph to LLVM's text: no cache, no threads, no calls."""
    for module, line in imports(path):
        if module.startswith("fastact.cpu"):
            assert module.startswith("fastact.cpu.lowering"), f"{label(path)}:{line} imports {module}"


def test_nothing_heavy_is_imported_with_the_package() -> None:
    """What `import fastact` reaches imports no compiler at its top."""
    reached: set[Path] = set()
    stack = [PACKAGE / "__init__.py"]
    while stack:
        path = stack.pop()
        if path in reached:
            continue
        reached.add(path)
        for module, line in imports(path, outermost=True):
            assert outside(module) not in ("numba", "llvmlite", "ml_dtypes"), f"{label(path)}:{line} imports {module}"
            base = PACKAGE.parent / module.replace(".", "/")
            for candidate in (base.with_suffix(".py"), base / "__init__.py"):
                if outside(module) is None and candidate.exists():
                    stack.append(candidate)
    assert PACKAGE / "function.py" in reached


KERNELS = [path for path in FILES if label(path).startswith("kernels/")]


@pytest.mark.parametrize("path", KERNELS, ids=label)
def test_kernels_import_no_other_library(path: Path) -> None:
    allowed = {"__future__", "collections", "dataclasses", "typing", "fractions", "math", "operator", "functools"}
    for module, line in imports(path):
        assert outside(module) in allowed | {None}, f"{label(path)}:{line} imports {module}"


BLOCKS = re.compile(r"kernels/(blocks/\w+|operations|coefficients)\.py")
"""Where it matters what the working arithmetic is like, though never for which dtype and tier it works."""


@pytest.mark.parametrize("path", KERNELS, ids=label)
def test_kernels_name_no_dtype_and_no_tier(path: Path) -> None:
    """Neither in the code nor in its strings; comments and docstrings may explain."""
    names = "b?float(16|32|64)|exact|fast" + ("" if BLOCKS.fullmatch(label(path)) else "|rough|wide|f16|f32|f64")
    words = re.compile(rf"\b({names})\b")
    tree = ast.parse(path.read_text())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        text = ""
        if isinstance(node, (ast.Name, ast.Attribute)):
            text = node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            text = node.value
        found = words.search(text)
        assert not found, f"{label(path)}:{node.lineno}: {text!r} names {found and found[0]}"  # type: ignore[attr-defined]


def test_the_link_and_the_front_door_hold_no_mathematics() -> None:
    """Coefficients live in the kernels' tables: elsewhere no literal has more digits than a person types."""
    for path in FILES:
        if room(path.relative_to(PACKAGE).parts) in ("precision", "link", "cpu", "cuda", "door"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, float) and node.value == node.value:
                    digits = len(repr(node.value).split("e")[0].replace(".", "").strip("0"))
                    assert digits <= 8, f"{label(path)}:{node.lineno}: {node.value!r}"


LONGER = {"kernels/coefficients.py"}
"""Generated files."""


@pytest.mark.parametrize("path", FILES, ids=label)
def test_files_are_short(path: Path) -> None:
    lines = path.read_text().splitlines()
    if label(path) in LONGER or (lines and "generated" in lines[0].lower()):
        return
    assert len(lines) <= 400
