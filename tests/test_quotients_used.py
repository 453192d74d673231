"""Divisions and roots are left out for ordinary numbers where that is quicker; flags are those of divisions."""

from __future__ import annotations

import ctypes
import dataclasses
import itertools
import re
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from compiled import same
from quotient_loops import DTYPES, OPERATIONS, SLOW, TURN, address, built, call, every, graph, ordinary, right

from fastact.accuracy.samples import special, stratified
from fastact.cpu import compile
from fastact.cpu.lowering import quotients
from fastact.cpu.lowering.order import order
from fastact.cpu.target import INTEL_SERVERS, host
from fastact.kernels import REGISTRY
from fastact.link.forms import kernel
from fastact.link.graph import Graph

EXCEPTIONS, INEXACT = 0x3D, 0x20


@pytest.fixture
def all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """No register is left to the divider."""
    monkeypatch.setattr(quotients, "worthwhile", every)


@SLOW
@pytest.mark.usefixtures("all_of_them")
@pytest.mark.parametrize("type", DTYPES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_loops_have_no_division(operation: str, type: str, modules: dict[str, ModuleType]) -> None:
    module, machine = built(graph(operation, type))
    loop = modules["limits"].hot_loop(machine.emit_assembly(module))
    assert not any(one.divides for one in loop)
    assert any(one.mnemonic.startswith(("vfm", "vfnm")) for one in loop)


@SLOW
@pytest.mark.usefixtures("all_of_them")
@pytest.mark.parametrize("type", DTYPES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_ordinary_numbers_and_zeros_meet_no_division(operation: str, type: str) -> None:
    """Loops in which divisions are wrong are right for these, but not for others."""
    loop = address(graph(operation, type), spoilt=True)
    given = [ordinary(type, 1 << 12, seed) for seed in range(operation.count("a") + operation.count("b"))]
    if "a" in operation:
        given[0][::3] = 0.0
        given[0][1::6] = -0.0
    assert same(call(loop, *given), right(operation, type, *given))
    given[-1][17] = np.finfo(DTYPES[type]).max
    assert not same(call(loop, *given), right(operation, type, *given))


def body(made: Graph, slow: bool, inputs: int) -> Any:
    """What computes whole turns and looks after no flags, called with addresses and a count of turns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quotients, "worthwhile", every)
        place = address(made, slow, symbol="body")
    return ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * (inputs + 1), *[ctypes.c_int64] * 2)(place)


def raised(run: Any, given: list[Any]) -> int:
    out, library = np.empty_like(given[0]), ctypes.CDLL(None)
    places = [v.ctypes.data for v in (*given, out)]
    turns = out.nbytes // TURN
    library.feclearexcept(EXCEPTIONS)
    run(*places, turns, 0)
    return int(library.fetestexcept(EXCEPTIONS)) & ~INEXACT


@SLOW
@pytest.mark.parametrize("type", DTYPES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_flags_are_those_of_divisions(operation: str, type: str) -> None:
    """But for that of rounding, which loops do not ask about."""
    count = operation.count("a") + operation.count("b")
    run, divided = (body(graph(operation, type), slow, count) for slow in (True, False))
    usual = [ordinary(type, 2 * TURN // DTYPES[type].itemsize, seed) for seed in range(count)]
    assert raised(run, usual) == 0
    if "a" in operation:
        zeros = [np.where(np.arange(usual[0].size) % 3 == 0, 0.0, usual[0]).astype(DTYPES[type]), *usual[1:]]
        assert raised(run, zeros) == 0
    drawn = np.concatenate([special(DTYPES[type]), stratified(DTYPES[type], 3000, 9)])
    for k, value in itertools.product(range(count), drawn):
        given = [v.copy() for v in usual]
        given[k][5] = value
        assert raised(run, given) == raised(divided, given), (k, value)
    if count == 2:  # the quotient is exact and subnormal, which is no underflow; its approximations are not exact
        small, large = (-60, 70) if type == "f32" else (-500, 550)
        usual[0][7], usual[1][7] = np.ldexp(3.0, small), np.ldexp(3.0, large)
        assert raised(run, usual) == raised(divided, usual) == 0


@SLOW
def test_the_divider_takes_its_part() -> None:
    """Where the divider sets the pace, some registers are left to it, and long bodies leave it all."""
    width = host().target().width(graph("1/b", "f64"))

    def chosen(made: Graph) -> list[int]:
        return list(quotients.worthwhile(order(made, detours=True), width).values())

    assert all(1 <= chosen(graph(operation, "f64"))[0] <= 3 for operation in ("a/b", "1/b", "sqrt a"))
    assert chosen(graph("a/6", "f64")) == [4]
    assert chosen(kernel(REGISTRY["silu"], "value", "float64", "fast").graph) == []
    assert chosen(kernel(REGISTRY["tanh"], "value", "float64", "rough").graph) == []
    assert chosen(graph("a/8", "f64")) == []


@pytest.mark.skipif(host().machine != "x86_64", reason="instructions of x86-64")
def test_other_processors_divide() -> None:
    features = "+avx,+avx2,+fma,+f16c,+avx512f,+avx512dq,+avx512vl,+avx512bw"
    made = graph("1/b", "f64")
    for name, slow in (("znver5", False), ("x86-64-v4", False), *((one, True) for one in INTEL_SERVERS)):
        processor = dataclasses.replace(host(), name=name, features=features)
        body = compile.assembly(made, None, processor).split(".Lfunc_end")[0]
        assert len(re.findall(r"\bvdivpd\b", body)) >= 4
        assert ("vrcp14pd" in body) is slow
    assert not dataclasses.replace(host(), name="skylake-avx512", features="+avx2,+fma").intel_server
