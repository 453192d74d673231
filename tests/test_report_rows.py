"""Functions of rows and gates in the report: what they are judged by, and that peers compute the same."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

import fastact
from fastact.accuracy import peers

ROWS = ("softmax", "softmin", "log_softmax", "logsumexp", "rms_norm", "layer_norm", "batch_norm")


def test_errors_of_rows_are_in_ulp(modules: dict[str, ModuleType]) -> None:
    true = np.array([[1.0, 2.0], [3.0, 1e-45]], np.longdouble)
    result = np.array([[1.0, 2.0], [np.nextafter(np.float32(3), np.float32(4)), 7e-45]], np.float32)
    assert modules["errors"].of_array(result, true) == pytest.approx(1.0)
    assert modules["errors"].of_array(result, None) is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gates_and_rows_have_errors_in_all_forms(modules: dict[str, ModuleType], dtype: str) -> None:
    """Those of exact are what is promised; another function would be found out."""
    pytest.importorskip("flint")
    rowwise = modules["rowwise"]
    for name in rowwise.names():
        for form in rowwise.PEERS:
            with np.errstate(all="ignore"):
                result = rowwise.ours(name, dtype, form, "exact")()
                found = rowwise.error(name, form, dtype, "exact", result)
                assert found is not None and found < 1.0, (name, form)
                assert rowwise.error(name, form, dtype, "exact", [-modules["errors"].first(result)]) > 1e6, (name, form)


def test_peers_of_gates_and_rows_compute_the_same(modules: dict[str, ModuleType]) -> None:
    rowwise, first = modules["rowwise"], modules["errors"].first
    with peers.one_thread(), np.errstate(all="ignore"):
        for name in rowwise.names():
            for form, labels in rowwise.PEERS.items():
                exact = first(rowwise.ours(name, "float32", form, "exact")())
                for label in labels:
                    if label == "numba" or not rowwise.has(name, label):
                        continue
                    try:
                        found = first(rowwise.contestant(name, form, "float32", label)())
                    except Exception:
                        if label != "onnxruntime":  # of which older ones lack some operators
                            raise
                        continue
                    np.testing.assert_allclose(found, exact, rtol=2e-3, atol=2e-4, err_msg=f"{name} {form} {label}")


@pytest.mark.parametrize("name", ROWS)
def test_rows_as_a_user_of_numba_writes_them(modules: dict[str, ModuleType], name: str) -> None:
    """Run as Python here: compiling takes longer."""
    numba_user, first = modules["numba_user"], modules["errors"].first
    function, letters = numba_user.ROWS[name]
    arrays = {key: a[:2, :40] if a.ndim == 2 else a[:40] for key, a in numba_user.data("float64").items()}
    given = [arrays[letter] for letter in letters]
    own = {"rms_norm": {"eps": 1e-6}}.get(name, {})
    np.testing.assert_allclose(function(*given), first(getattr(fastact, name)(*given, **own)), rtol=1e-9)


def test_gates_as_a_user_of_numba_writes_them(modules: dict[str, ModuleType]) -> None:
    numba_user = modules["numba_user"]
    arrays = numba_user.data("float64")
    a, b = arrays["a"][0, :30], arrays["b"][0, :30]
    for name, expression in numba_user.GATES.items():
        formula = numba_user.scalar(expression, "float64", "a, b")
        found = [formula(*pair) for pair in zip(a, b, strict=True)]
        np.testing.assert_allclose(found, getattr(fastact, name)(a, b), rtol=1e-8, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("name", ["swiglu_oai", "geglu_tanh", "reglu"])
def test_peers_stay_in_the_dtype(modules: dict[str, ModuleType], name: str) -> None:
    rowwise, first = modules["rowwise"], modules["errors"].first
    with peers.one_thread(), np.errstate(all="ignore"):
        for label in ("numpy", "numexpr"):
            if rowwise.has(name, label):
                assert first(rowwise.contestant(name, "value", "float32", label)()).dtype == np.float32
        if rowwise.has(name, "numexpr"):
            assert first(rowwise.value(name, "float32", "numexpr")()).dtype == np.float32, "without a conversion"
