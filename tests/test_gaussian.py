"""erf, erfc and gelu: the tails, the root, saturation, and agreement with others where they are right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastact

mp = pytest.importorskip("mpmath")

TIERS = ("exact", "fast", "rough")
FLOATS = (np.float32, np.float64)
ALLOWED = {"exact": 0.501, "fast": 4.0}


def truth(name: str, x: float) -> Any:
    """The function by another library than the oracle's."""
    z = mp.mpf(x)
    if name == "gelu":
        return z * mp.erfc(-z / mp.sqrt(2)) / 2
    if name == "gelu_gradient":
        return mp.ncdf(z) + z * mp.npdf(z)
    return getattr(mp, name)(z)


def computed(name: str, x: Any, tier: str) -> Any:
    if name == "gelu_gradient":
        return fastact.gelu.grad(x, approx=tier)
    return getattr(fastact, name)(x, approx=tier)


def errors(name: str, x: Any, y: Any) -> Any:
    """In ULPs of the truth; the smallest subnormal number is the least of them."""
    found = []
    with mp.workprec(250):
        for a, b in zip(x.tolist(), y.tolist(), strict=True):
            t = truth(name, a)
            ulp = np.spacing(abs(x.dtype.type(float(t))))
            found.append(float(abs(mp.mpf(b) - t) / mp.mpf(float(ulp))))
    return np.array(found)


TAILS = {
    ("erfc", np.float32): (8.0, 10.1),
    ("erfc", np.float64): (20.0, 27.3),
    ("gelu", np.float32): (-5.0, -14.3),
    ("gelu", np.float64): (-8.0, -38.6),
    ("gelu_gradient", np.float32): (-5.0, -14.5),
    ("gelu_gradient", np.float64): (-8.0, -38.7),
}


@pytest.mark.parametrize("tier", ["exact", "fast"])
@pytest.mark.parametrize(("name", "dtype"), TAILS)
def test_tails_keep_their_digits_down_to_the_smallest_subnormal(name: str, dtype: Any, tier: str) -> None:
    x = np.linspace(*TAILS[name, dtype], 200, dtype=dtype)
    with np.errstate(under="ignore"):
        y = computed(name, x, tier)
    assert np.all(y[:-10] != 0.0) and np.any(np.abs(y) < np.finfo(dtype).smallest_normal)
    assert errors(name, x, y).max() <= ALLOWED[tier]


@pytest.mark.parametrize("name", ["erfc", "gelu", "gelu_gradient"])
@pytest.mark.parametrize(("dtype", "allowed"), [(np.float32, 2.0**-12), (np.float64, 2.0**-24)])
def test_rough_tails_are_relatively_right_while_normal(name: str, dtype: Any, allowed: float) -> None:
    x = np.linspace(*TAILS[name, dtype], 200, dtype=dtype)
    with np.errstate(under="ignore"):
        y = computed(name, x, "rough")
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        with mp.workprec(250):
            t = truth(name, a)
            assert abs(t) < float(np.finfo(dtype).smallest_normal) or abs(mp.mpf(b) / t - 1) <= allowed


def test_known_values() -> None:
    assert fastact.erf(1.0) == 0.8427007929497149
    assert fastact.erfc(10.0) == 2.088487583762545e-45
    assert fastact.gelu(np.float32(-6.0)) == np.float32(-5.919525870226168e-09)
    assert fastact.gelu(1.0) == 0.8413447460685429


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("tier", TIERS)
def test_ends(dtype: Any, tier: str) -> None:
    x = np.array([np.inf, 40.0, -40.0, -np.inf], dtype)
    with np.errstate(under="ignore"):
        assert fastact.erf(x, approx=tier).tolist() == [1.0, 1.0, -1.0, -1.0]
        assert fastact.erfc(x, approx=tier).tolist() == [0.0, 0.0, 2.0, 2.0]
        assert fastact.gelu(x, approx=tier).tolist() == [np.inf, 40.0, 0.0, 0.0]
        assert fastact.gelu.grad(x, approx=tier).tolist() == [1.0, 1.0, 0.0, 0.0]
    assert np.signbit(fastact.gelu(dtype(-np.inf), approx=tier))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("tier", TIERS)
def test_erf_is_odd_and_keeps_signed_zeros(dtype: Any, tier: str) -> None:
    x = np.linspace(0, 7, 5001, dtype=dtype)
    y = fastact.erf(x, approx=tier)
    assert np.array_equal(fastact.erf(-x, approx=tier), -y)
    assert np.signbit(fastact.erf(dtype(-0.0), approx=tier)) and np.signbit(fastact.gelu(dtype(-0.0), approx=tier))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["erf", "erfc"])
def test_exact_results_are_monotonic_across_the_seams(dtype: Any, name: str) -> None:
    seams = [
        0.5,
        1.0,
        *np.arange(49 / 512, 6, 49 / 256),
        *(2 * 2**k * (1 + j / 8) - 2 for k in range(4) for j in range(8)),
    ]
    steps = np.arange(-20, 21) * np.finfo(dtype).eps
    x = (np.array(seams)[:, None] * (1 + steps)).astype(dtype)
    y = computed(name, x, "exact").astype(np.float64)
    differences = np.diff(y, axis=1)
    assert np.all(differences >= 0 if name == "erf" else differences <= 0)


def test_the_gradient_of_gelu_has_all_its_digits_next_to_its_root() -> None:
    root = -0.7517915246935645
    x = np.concatenate([root + np.arange(-50, 51) * 2.0**-53, root * (1 + np.geomspace(1e-15, 0.2, 100))])
    assert errors("gelu_gradient", x, fastact.gelu.grad(x)).max() <= 0.501


@pytest.mark.parametrize("dtype", FLOATS)
def test_gelu_of_subnormal_numbers_is_half_of_them_and_ties_go_towards_plus(dtype: Any) -> None:
    tiny = np.finfo(dtype).smallest_subnormal
    x = tiny * np.arange(3, 200, 2, dtype=dtype)
    with np.errstate(under="ignore"):
        assert np.array_equal(fastact.gelu(x), tiny * np.ceil(np.arange(3, 200, 2) / 2).astype(dtype))
        assert np.array_equal(fastact.gelu(-x), -tiny * np.floor(np.arange(3, 200, 2) / 2).astype(dtype))


def test_agrees_with_scipy() -> None:
    special = pytest.importorskip("scipy.special")
    # Its tails carry the rounding of x^2: 15^2 2^-53 = 2.5e-14.
    x = np.linspace(-6, 15, 20001)
    np.testing.assert_allclose(fastact.erf(x, approx="fast"), special.erf(x), rtol=1e-15)
    np.testing.assert_allclose(fastact.erfc(x), special.erfc(x), rtol=4e-14)
    np.testing.assert_allclose(fastact.gelu(x), x * special.ndtr(x), rtol=4e-14)


def test_agrees_with_torch_where_that_is_right() -> None:
    torch = pytest.importorskip("torch")
    x = torch.linspace(-2, 10, 5001, dtype=torch.float64, requires_grad=True)
    y = torch.nn.functional.gelu(x)
    y.sum().backward()
    np.testing.assert_allclose(fastact.gelu(x.detach().numpy()), y.detach().numpy(), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(fastact.gelu.grad(x.detach().numpy()), x.grad.numpy(), rtol=1e-13, atol=1e-15)
