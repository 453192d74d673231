"""Feed-forward layers beside plain NumPy and PyTorch: values, shapes, results in place, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastact
from fastact import layers
from fastact.cpu.kernels import inner_ufunc
from fastact.kernels import GATES, REGISTRY
from fastact.link.forms import BIASED

D, H, E = 24, 40, 16
USABLE = [name for name in REGISTRY if all(p.default is not None for p in REGISTRY[name].parameters)]


def numbers(dtype: Any, *shapes: tuple[int, ...]) -> list[Any]:
    random = np.random.default_rng(3)
    return [random.normal(size=shape).astype(dtype) for shape in shapes]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few rows, so that few rows make several."""
    monkeypatch.setattr(layers, "ROWS", 7)
    monkeypatch.setattr(layers, "BETWEEN", 1)


def tolerance(dtype: Any) -> dict[str, float]:
    return {"rtol": 2e-5, "atol": 2e-4} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-12}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("lead", [(), (1,), (30,), (2, 3, 5), (0,), (4, 0)])
@pytest.mark.parametrize("biases", ["", "1", "2", "12"])
def test_ffn_is_what_numpy_computes(dtype: Any, lead: tuple[int, ...], biases: str) -> None:
    x, w1, w2, b1, b2 = numbers(dtype, (*lead, D), (D, H), (H, E), (H,), (E,))
    b1, b2 = b1 if "1" in biases else None, b2 if "2" in biases else None
    y = fastact.ffn(x, w1, w2, b1, b2)
    hidden = np.maximum(x @ w1 + (0 if b1 is None else b1), 0)
    truth = hidden @ w2 + (0 if b2 is None else b2)
    assert y.shape == (*lead, E) and y.dtype == dtype
    np.testing.assert_allclose(y, truth, **tolerance(dtype))


@pytest.mark.parametrize("tier", ["exact", "fast", "rough"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("name", ["relu", "mish", "gelu", "silu", "elu", "star_relu", "log"])
def test_bias_and_activation_in_one_pass_have_the_bits_of_two(name: str, dtype: str, tier: str) -> None:
    kind = np.dtype(dtype) if dtype != "bfloat16" else np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    x, b = numbers(kind, (33, 101), (101,))
    x[0, :4], b[1] = [np.inf, 1, np.nan, 0], -1
    with np.errstate(all="ignore"):
        y = inner_ufunc(name, BIASED, tier)(x, b)
        apart = getattr(fastact, name)((x + b).astype(kind), approx=tier)
    np.testing.assert_array_equal(y.astype(np.float64), apart.astype(np.float64))


@pytest.mark.parametrize("name", USABLE)
def test_any_activation(name: str) -> None:
    x, w1, w2, b1 = numbers(np.float64, (9, D), (D, H), (H, E), (H,))
    function = getattr(fastact, name)
    with np.errstate(all="ignore"):
        truth = function(x @ w1 + b1) @ w2
        for activation in (name, function):
            np.testing.assert_allclose(fastact.ffn(x, w1, w2, b1, activation=activation), truth, rtol=1e-9, atol=1e-9)


def test_flags_are_those_of_the_sum() -> None:
    one = np.float32([1.0])
    biased = inner_ufunc("exp", BIASED, "fast")
    with np.errstate(all="raise"):
        assert inner_ufunc("expm1", BIASED, "fast")(one, -one) == 0
        with pytest.raises(FloatingPointError, match="overflow"):
            biased(one * 50, one * 50)
        with pytest.raises(FloatingPointError, match="divide"):
            inner_ufunc("log", BIASED, "exact")(one, -one)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("gate", GATES)
def test_ffn_glu(dtype: Any, gate: str) -> None:
    x, w, v, w2 = numbers(dtype, (3, 5, D), (D, H), (D, H), (H, E))
    function = getattr(fastact, gate)
    truth = function(x @ w, x @ v) @ w2
    for chosen in (gate, function):
        y = fastact.ffn_glu(x, w, v, w2, chosen)
        np.testing.assert_allclose(y, truth, **{**tolerance(dtype), "atol": 1e-3 if dtype == np.float32 else 1e-10})
    assert fastact.ffn_glu(x[0, 0], w, v, w2).shape == (E,)


def test_against_torch() -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    x, w1, w2, b1, b2, v = numbers(np.float64, (2, 6, D), (D, H), (H, E), (H,), (E,), (D, H))
    tensors = [torch.from_numpy(a) for a in (x, w1, w2, b1, b2, v)]
    tx, tw1, tw2, tb1, tb2, tv = tensors
    truth = functional.gelu(tx @ tw1 + tb1) @ tw2 + tb2
    np.testing.assert_allclose(fastact.ffn(x, w1, w2, b1, b2, "gelu"), truth, rtol=1e-11, atol=1e-11)
    truth = functional.relu(tx @ tw1) @ tw2
    np.testing.assert_allclose(fastact.ffn(x, w1, w2), truth, rtol=1e-11, atol=1e-11)
    truth = (functional.silu(tx @ tw1) * (tx @ tv)) @ tw2
    np.testing.assert_allclose(fastact.ffn_glu(x, w1, v, w2), truth, rtol=1e-11, atol=1e-10)


def test_precision_reaches_the_activation() -> None:
    x, w1, w2, b1 = numbers(np.float32, (20, D), (D, H), (H, E), (H,))
    exact, rough = (fastact.ffn(x, w1, w2, b1, activation="mish", approx=tier) for tier in ("exact", "rough"))
    assert (exact != rough).any()
    with fastact.precision("rough"):
        np.testing.assert_array_equal(fastact.ffn(x, w1, w2, b1, activation="mish"), rough)
    exact, rough = (fastact.ffn_glu(x, w1, w1, w2, approx=tier) for tier in ("exact", "rough"))
    assert (exact != rough).any()


def test_out() -> None:
    x, w1, w2, b1, b2 = numbers(np.float32, (30, D), (D, H), (H, D), (H,), (D,))
    truth, gated = fastact.ffn(x, w1, w2, b1, b2), fastact.ffn_glu(x, w1, -w1, w2)
    for target in (np.empty_like(x), np.empty((D, 30), np.float32).T, np.empty((30, 2 * D), np.float32)[:, ::2]):
        assert fastact.ffn(x, w1, w2, b1, b2, out=target) is target
        np.testing.assert_array_equal(target, truth)
        assert fastact.ffn_glu(x, w1, -w1, w2, out=target) is target
        np.testing.assert_array_equal(target, gated)
    place = x.copy()
    assert fastact.ffn(place, w1, w2, b1, b2, out=place) is place
    np.testing.assert_array_equal(place, truth)
    room = np.zeros((31, D), np.float32)
    room[:30] = x
    fastact.ffn(room[:30], w1, w2, b1, b2, out=room[1:])  # where later rows of x lie
    np.testing.assert_array_equal(room[1:], truth)
    square = numbers(np.float32, (D, D))[0]
    fastact.ffn(square, square, square, out=square)
    again = numbers(np.float32, (D, D))[0]
    np.testing.assert_array_equal(square, fastact.ffn(again, again, again))


def test_other_layouts_and_block_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w1, w2, b1 = numbers(np.float64, (6, 5, D), (D, H), (H, E), (H,))
    truth = fastact.ffn(x, w1, w2, b1, activation="silu")
    monkeypatch.setattr(layers, "ROWS", 512)
    for other in (x, np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]):
        y = fastact.ffn(other, np.asfortranarray(w1), w2, b1, activation="silu")
        np.testing.assert_allclose(y, truth, rtol=1e-12, atol=1e-12)


def test_errors() -> None:
    x, w1, w2, b1, b2 = numbers(np.float32, (3, D), (D, H), (H, E), (H,), (E,))
    frozen = np.zeros((3, E), np.float32)
    frozen.flags.writeable = False
    wrong: list[tuple[Any, Any, str]] = [
        (ValueError, lambda: fastact.ffn(x[:, 1:], w1, w2), r"x of shape \(3, 23\).*w1 of shape \(24, 40\)"),
        (ValueError, lambda: fastact.ffn(x, w1, w2[1:]), r"w1 of shape \(24, 40\).*w2 of shape \(39, 16\)"),
        (ValueError, lambda: fastact.ffn(x, w1, w2, b2), r"b1 has shape \(16,\).*\(24, 40\)"),
        (ValueError, lambda: fastact.ffn(x, w1, w2, b1, b1), r"b2 has shape \(40,\).*\(40, 16\)"),
        (ValueError, lambda: fastact.ffn(x, w1, w2, b1[None]), r"\(1, 40\)"),
        (ValueError, lambda: fastact.ffn(x, b1, w2), r"w1 has two axes, not shape \(40,\)"),
        (ValueError, lambda: fastact.ffn(np.float32(1), w1, w2), "at least one axis"),
        (ValueError, lambda: fastact.ffn(x, w1, w2, activation="rellu"), "rellu"),
        (ValueError, lambda: fastact.ffn(x, w1, w2, activation="prelu"), "weight"),
        (TypeError, lambda: fastact.ffn(x, w1, w2, activation=np.tanh), "tanh"),  # type: ignore[arg-type]
        (TypeError, lambda: fastact.ffn(x, w1.astype(float), w2), "w1 is float64, but x is float32"),
        (TypeError, lambda: fastact.ffn(x.astype(int), w1, w2), "x is float32 or float64, not int64"),
        (TypeError, lambda: fastact.ffn(x.astype(np.float16), w1, w2), "float16"),
        (ValueError, lambda: fastact.ffn(x, w1, w2, approx="near"), "approx"),
        (ValueError, lambda: fastact.ffn(x, w1, w2, out=np.empty((3, D), np.float32)), r"\(3, 24\).*\(3, 16\)"),
        (TypeError, lambda: fastact.ffn(x, w1, w2, out=np.empty((3, E))), "float64"),
        (TypeError, lambda: fastact.ffn(x, w1, w2, out=[0.0]), "list"),  # type: ignore[arg-type]
        (ValueError, lambda: fastact.ffn(x, w1, w2, out=frozen), "read-only"),
        (ValueError, lambda: fastact.ffn_glu(x, w1, w1[:, 1:], w2), r"v has shape \(24, 39\).*w has \(24, 40\)"),
        (ValueError, lambda: fastact.ffn_glu(x, w2, w2, w1), r"x of shape \(3, 24\).*w of shape \(40, 16\)"),
        (ValueError, lambda: fastact.ffn_glu(x, w1, w1, w2, "silu"), "silu"),
        (TypeError, lambda: fastact.ffn_glu(x, w1, w1, w2, fastact.silu), "silu"),  # type: ignore[arg-type]
        (ValueError, lambda: fastact.ffn_glu(x, w1, w1, w2, out=frozen), "read-only"),
    ]
    for kind, call, text in wrong:
        with pytest.raises(kind, match=text):
            call()
    assert not frozen.any()
