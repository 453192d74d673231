"""Vector-Jacobian products with respect to parameters: sums of the shape of the parameter."""

from __future__ import annotations

import math
import tracemalloc
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import fastact
from fastact import reduced
from fastact.function import Summed

prelu: Any = fastact.prelu
swish: Any = fastact.swish
jump_relu: Any = fastact.jump_relu
DOORS = [door for f in fastact.function.FUNCTIONS.values() for door in f._doors.values() if isinstance(door, Summed)]
PLAIN = [door for door in DOORS if not door._form.base]
SHAPES = [
    ((5, 7, 3), ()),
    ((5, 7, 3), (3,)),
    ((5, 7, 3), (7, 1)),
    ((5, 7, 3), (5, 1, 1)),
    ((5, 7, 3), (1, 7, 3)),
    ((5, 7, 3), (5, 7, 3)),
    ((3,), (4, 3)),
    ((5, 1, 3), (1, 7, 1)),
    ((0, 4), (4,)),
    ((2, 30000), (2, 1)),
]


def drawn(door: Summed, shape: tuple[int, ...], wanted: tuple[int, ...], dtype: Any = np.float64) -> list[Any]:
    """g, x and parameters, the one that the product is about of the shape ``wanted``."""
    random = np.random.default_rng(len(shape) + 10 * len(wanted))
    place = door._form.arguments.index(name_of(door))
    values = [random.standard_normal(shape).astype(dtype) for _ in door._form.arguments]
    for at in range(2, len(values)):
        low = random.uniform(0.25, 2.0, wanted if at == place else ())
        low = -low if door._form.arguments[at] == "eps" else low
        values[at] = np.asarray(low, dtype)
    return values


def name_of(door: Summed) -> str:
    return (door._form.base or door._form.name).removeprefix("backward_")


def summed(products: np.ndarray[Any, Any], wanted: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Exactly rounded sums of products, by fractions' little brother."""
    more = products.ndim - len(wanted)
    axes = [a for a in range(products.ndim) if a < more or wanted[a - more] == 1 != products.shape[a]]
    kept = [a for a in range(products.ndim) if a not in axes]
    moved = products.transpose(kept + axes).reshape(*(products.shape[a] for a in kept), -1)
    return np.asarray(np.apply_along_axis(math.fsum, -1, moved)).reshape(wanted)


def test_all_learned_parameters_have_one() -> None:
    learned = [(n, p.name) for n, d in fastact.function.REGISTRY.items() for p in d.parameters if p.gradient]
    assert [(door._declaration.name, name_of(door)) for door in PLAIN] == learned
    assert ("prelu", "weight") in learned


@pytest.mark.parametrize("door", PLAIN, ids=lambda door: door.__name__)
@pytest.mark.parametrize(("shape", "wanted"), SHAPES)
def test_the_sum_has_the_shape_of_the_parameter(door: Summed, shape: Any, wanted: Any) -> None:
    values = drawn(door, shape, wanted)
    found = np.asarray(door(*values))
    assert found.shape == wanted and found.dtype == np.float64
    products = door.ufunc("exact")(*values)
    size = summed(np.abs(products), wanted)
    assert (np.abs(found - summed(products, wanted)) <= 20 * 2.0**-53 * size).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_narrow_sums_are_rounded_once(dtype: Any) -> None:
    g, x, w = drawn(swish.backward_beta, (40, 1000), (40, 1), dtype)
    found = swish.backward_beta(g, x, w)
    products = swish.backward_beta.ufunc("exact")(*(a.astype(np.float32) for a in (g, x, w)))
    expected = [[float(sum(map(Fraction, row.tolist())))] for row in products]
    assert found.dtype == dtype and (found == np.array(expected).astype(dtype)).all()


def test_bfloat16() -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    g, x, w = (a.astype(bfloat16) for a in drawn(prelu.backward_weight, (4000, 3), (3,)))
    found = prelu.backward_weight(g, x, w)
    exact = np.where(x < 0, x.astype(float) * g.astype(float), 0.0).sum(axis=0)
    assert found.dtype == bfloat16 and (found == exact.astype(bfloat16)).all()


@pytest.mark.parametrize("wanted", [(), (17, 1, 1), (33,), (17, 40, 1), (1, 40, 33)])
def test_memory_order_changes_no_bit(wanted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduced, "BLOCK", 4096)
    monkeypatch.setattr(reduced, "LEAF", 512)
    g, x, w = drawn(swish.backward_beta, (17, 40, 33), wanted)
    first = swish.backward_beta(g, x, w)
    turned = [np.array(a.T, order="C").T for a in (g, x, w)]
    with fastact.num_threads(2):
        assert np.array_equal(swish.backward_beta(*turned), first)
    spread = np.zeros((34, 80, 66))[::2, ::-2, ::2]
    spread[...] = x
    assert np.array_equal(swish.backward_beta(g, spread, w), first)
    monkeypatch.setattr(reduced, "BLOCK", 1 << 20)
    assert np.array_equal(swish.backward_beta(g, x, w), first)


def test_agrees_with_torch() -> None:
    torch = pytest.importorskip("torch")
    g, x, w = drawn(prelu.backward_weight, (6, 5, 8, 9), (5, 1, 1))
    weight = torch.tensor(w.reshape(-1), requires_grad=True)
    torch.nn.functional.prelu(torch.tensor(x), weight).backward(torch.tensor(g))
    assert np.allclose(prelu.backward_weight(g, x, w).reshape(-1), weight.grad.numpy(), rtol=1e-13)
    beta = torch.tensor(w, requires_grad=True)
    t = torch.tensor(x)
    (t * torch.sigmoid(beta * t)).backward(torch.tensor(g))
    assert np.allclose(swish.backward_beta(g, x, w), beta.grad.numpy(), rtol=1e-12)


def test_numbers_and_defaults() -> None:
    assert prelu.backward_weight(2.0, -3.0, 0.25) == -6.0
    assert isinstance(prelu.backward_weight(2.0, -3.0, 0.25), np.float64)
    g, x = np.ones(5, np.float32), np.arange(5, dtype=np.float32)
    total = swish.backward_beta(g, x)
    assert isinstance(total, np.float32) and total == swish.backward_beta(g, x, beta=1.0)
    assert swish.backward_beta(g, x, approx="fast") == pytest.approx(float(total), rel=1e-6)
    assert prelu.backward_weight([1, 2], [-1, -2], 0.25) == -5.0


def test_the_variant_is_summed_too() -> None:
    g, x = np.full(1000, 2.0), np.linspace(-1, 1, 1000)
    narrow, wide = (jump_relu.backward_theta(g, x, 0.5, bandwidth=b) for b in (None, 0.5))
    near = np.abs(x - 0.5) < 0.25
    assert wide == pytest.approx(-0.5 / 0.5 * 2.0 * near.sum())
    assert narrow == jump_relu.backward_theta(g, x, 0.5)


def test_out_and_where() -> None:
    g, x, w = drawn(prelu.backward_weight, (50, 4), (4,), np.float32)
    expected = prelu.backward_weight(g, x, w)
    out = np.empty(4, np.float64)
    assert prelu.backward_weight(g, x, w, out=out) is out and (out == expected).all()
    assert prelu.backward_weight(g, x, w, w) is w and (w == expected).all()
    mask = x > -1
    kept = prelu.backward_weight(g, x, w, where=mask)
    assert (kept == prelu.backward_weight(np.where(mask, g, 0), x, w)).all()


def test_masked_arrays_leave_terms_out() -> None:
    x = np.ma.array([-1.0, -2.0, -3.0], mask=[False, True, False])
    assert prelu.backward_weight(np.ones(3), x, 0.5) == -4.0


def test_mistakes_write_nothing() -> None:
    g, x, out = np.ones((2, 3)), np.full((2, 3), -1.0), np.full(3, 7.0)
    with pytest.raises(ValueError, match="broadcast"):
        prelu.backward_weight(g, x, np.ones(4), out=out)
    with pytest.raises(ValueError, match="shape"):
        prelu.backward_weight(g, x, 0.5, out=out)
    with pytest.raises(TypeError, match="cast"):
        prelu.backward_weight(g, x, np.ones(3), out=np.ones(3, np.float32), casting="safe")
    with pytest.raises(TypeError, match="missing"):
        prelu.backward_weight(g, x, out=out)
    with pytest.raises(TypeError, match="complex"):
        prelu.backward_weight(g * 1j, x, np.ones(3), out=out)
    with pytest.raises(ValueError, match="where"):
        prelu.backward_weight(g, x, np.ones(3), out=out, where=np.ones((5, 2, 3), bool))
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        prelu.backward_weight(g * 1e300, x * 1e300, np.ones(3), out=out)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        prelu.backward_weight(g, x, np.ones(3), out=out)
    assert (out == 7.0).all()


def test_products_are_never_stored_as_a_whole() -> None:
    g, x = np.ones((1 << 20, 4)), np.full((1 << 20, 4), -1.0)
    prelu.backward_weight(g[:2], x[:2], np.ones(4))
    tracemalloc.start()
    try:
        assert (prelu.backward_weight(g, x, np.ones(4)) == -(1 << 20)).all()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < x.nbytes / 8


def test_documentation_says_what_is_summed() -> None:
    text = prelu.backward_weight.__doc__
    assert "summed over the axes along which weight is broadcast" in text and "shape of weight" in text
    assert "shape of" not in prelu.grad_weight.__doc__


def test_compiled_code_takes_numbers_only() -> None:
    numba = pytest.importorskip("numba")

    @numba.njit  # type: ignore[untyped-decorator]
    def product(g: Any, x: Any, w: Any) -> Any:
        return fastact.prelu.backward_weight(g, x, w)

    assert product(2.0, -3.0, 0.25) == -6.0
    with pytest.raises(numba.TypingError, match="sums over the axes"):
        product(np.ones(3), np.ones(3), 0.25)
    each = prelu.backward_weight.vectorized("exact")
    assert (each(np.ones(3), np.full(3, -2.0), 0.25) == -2.0).all()
