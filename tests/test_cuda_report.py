"""The report on what CUDA kernels are made of is of today's kernels, and finds no fault with them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ml_dtypes")
sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))
cuda_ptx = pytest.importorskip("cuda_ptx")
cuda_ptx_rows = pytest.importorskip("cuda_ptx_rows")
ptx_machine = pytest.importorskip("ptx_machine")

ROWS = cuda_ptx.read()


def test_it_is_of_the_kernels_as_they_are() -> None:
    assert cuda_ptx.stale(ROWS) == [], "run scripts/cuda_ptx.py"
    assert set(ROWS) <= set(cuda_ptx.wanted()), "it names kernels that are not there"


def test_it_finds_no_fault() -> None:
    assert {key: row["faults"] for key, row in ROWS.items() if row["faults"]} == {}
    assert all(row["spilled"] == 0 and row["registers"] > 0 for row in ROWS.values())
    for row in ROWS.values():
        expected = ["sm_75", "sm_80", "sm_90", "sm_100"] if row["form"] == "value" else ["sm_90"]
        assert row["compiled_for"] == expected


def test_its_predictions_follow_from_its_counts() -> None:
    for row in ROWS.values():
        assert row["share"] == cuda_ptx.predicted(row["per_element"], row["bytes"])
        assert row["per_element"]["memory"] > 0 and 0 < row["share"]["H200"] <= row["share"]["H100"] <= 1


def test_rows_and_gates_too() -> None:
    """Those of gates, rows and norms are in a report of their own."""
    rows = cuda_ptx_rows.read()
    assert cuda_ptx_rows.stale(rows) == [], "run scripts/cuda_ptx_rows.py"
    assert set(rows) == set(cuda_ptx_rows.wanted())
    for key, row in rows.items():
        assert row["faults"] == [] and row["spilled"] == 0, key
        assert row["share"] == cuda_ptx.predicted(row["per_element"], row["bytes"])
        if row["form"] == "rows":
            # A block of so many threads has 65,536 registers.
            limit = 128 if row["threads"] > 256 or row["dtype"] == "float32" else 255
            assert row["registers"] <= limit, key
            assert row["per_element"]["memory"] > 0 and row["memory"] <= 40960


def test_softmax_is_limited_by_memory() -> None:
    """Of float32 in fast and rough; and of what it computes with, hardly anything is float64: the sums of four."""
    rows = cuda_ptx_rows.read()
    for tier in ("fast", "rough"):
        row = rows["softmax", "rows", "float32", tier]
        assert row["share"]["H200"] >= 0.85 and row["per_element"]["float64"] < 1


HEAD = """
.version 8.8
.target sm_90
.visible .entry kernel(
	.param .u64 kernel_param_0
)
{
	.reg .f32 	%f<4>;
	.reg .b64 	%rd<3>;
	ld.param.u64 	%rd1, [kernel_param_0];
	ld.global.v4.f32 	{%f1, %f1, %f1, %f1}, [%rd1];
"""
TAIL = """
	st.global.v4.f32 	[%rd1], {%f2, %f2, %f2, %f2};
	ret;
}
"""
FAULTS = {
    "mul.rn.f32 \t%f2, %f1, %f1;": [],
    "mul.f32 \t%f2, %f1, %f1;": ["mul.f32"],
    "ex2.approx.f32 \t%f2, %f1;": ["ex2.approx.f32"],
    "add.rn.ftz.f32 \t%f2, %f1, %f1;": ["add.rn.ftz.f32"],
    "cvt.f64.f32 \t%fd1, %f1;": ["cvt.f64.f32"],
    "st.local.f32 \t[%rd1], %f1;": ["local memory"],
}


@pytest.mark.parametrize("line", FAULTS)
def test_faults_are_seen(line: str) -> None:
    kernel = cuda_ptx.kernel("relu", "value", "float32", "fast")
    assert cuda_ptx.faults(kernel, HEAD + "\t" + line + TAIL) == FAULTS[line]
    narrow = (HEAD + TAIL).replace(".v4.f32", ".f32").replace("{%f1, %f1, %f1, %f1}", "%f1")
    assert cuda_ptx.faults(kernel, narrow.replace("{%f2, %f2, %f2, %f2}", "%f2")) == [
        "no ld of 16 bytes",
        "no st of 16 bytes",
    ]


def test_the_machine_refuses_what_it_does_not_know() -> None:
    for line in ("ex2.approx.f32 \t%f2, %f1;", "lg2.f32 \t%f2, %f1;", "add.rn.ftz.f32 \t%f2, %f1, %f1;"):
        machine: Any = ptx_machine.Machine()
        program = ptx_machine.parse(HEAD + "\t" + line + TAIL)
        with pytest.raises(NotImplementedError):
            machine.launch(program, 1, 32, [machine.place(cuda_ptx.np.zeros(64, "f4"))])
    program = ptx_machine.parse(HEAD + "\tadd.f32 \t%f2, %f1, %f1;" + TAIL)
    with pytest.raises(AssertionError, match="contraction is possible"):
        machine.launch(program, 1, 32, [machine.place(cuda_ptx.np.zeros(64, "f4"))])
