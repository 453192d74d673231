"""Optimizer steps: their roundings, their company with PyTorch's, what they refuse, and the rates on quadratics."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pytest

import fastact
from fastact import optim
from fastact.cpu import pool, threads
from fastact.link.values import round_to_dtype

DTYPES = [np.float32, np.float64]
LR, MU, DECAY = 0.1, 0.9, 0.03
Array = np.ndarray[Any, Any]


def arrays(dtype: Any, size: int = 1003, count: int = 3) -> list[Array]:
    rng = np.random.default_rng(5)
    return [(rng.normal(size=size) * 2.0 ** rng.integers(-8, 8, size)).astype(dtype) for _ in range(count)]


def step(name: str, *given: Any, decay: float = DECAY) -> None:
    theta, gradient, velocity = given
    if name == "sgd":
        optim.sgd(theta, gradient, LR, weight_decay=decay)
    else:
        getattr(optim, name)(theta, gradient, velocity, LR, MU, weight_decay=decay)


STEPS = ["sgd", "momentum", "nesterov"]


# -- values -----------------------------------------------------------------------------------------------------------
def formula(name: str, rounded: Callable[[Any], Any], *given: Any) -> Any:
    """The step as documented; ``rounded`` is applied where the documentation has a rounding."""
    t, g, v, lr, mu, decay = given
    if name == "sgd":
        return rounded(t - lr * (rounded(g + decay * t) if decay else g)), v
    point = rounded(t + mu * v) if name == "nesterov" else t
    d = rounded(g + decay * point) if decay else g
    v = rounded(mu * v - rounded(lr * d))
    return rounded(t + v), v


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("decay", [0.0, DECAY])
@pytest.mark.parametrize("name", STEPS)
def test_roundings_are_those_documented(name: str, decay: float, dtype: Any) -> None:
    theta, gradient, velocity = arrays(dtype, 203)
    given = [tuple(Fraction(float(x)) for x in row) for row in zip(theta, gradient, velocity, strict=True)]
    numbers = [Fraction(float(dtype(x))) for x in (LR, MU, decay)]

    def rounded(x: Fraction) -> Fraction:
        return round_to_dtype(x, np.dtype(dtype).name)

    wanted = [formula(name, rounded, *row, *numbers) for row in given]
    step(name, theta, gradient, velocity, decay=decay)
    assert [(Fraction(float(t)), Fraction(float(v))) for t, v in zip(theta, velocity, strict=True)] == wanted


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", STEPS)
def test_against_numpy(name: str, dtype: Any) -> None:
    theta, gradient, velocity = arrays(dtype)
    wider = np.float64 if dtype is np.float32 else np.longdouble
    wide = [x.astype(wider) for x in (theta, gradient, velocity)]
    size: Any = sum(abs(x) for x in wide)
    numbers = [wider(dtype(x)) for x in (LR, MU, DECAY)]
    wanted = formula(name, lambda x: x, *wide, *numbers)
    step(name, theta, gradient, velocity)
    for found, true in zip((theta, velocity), wanted, strict=True):
        assert np.max(abs(found - true) / size) < 2 * np.finfo(dtype).eps


@pytest.mark.parametrize("decay", [0.0, DECAY])
@pytest.mark.parametrize("name", STEPS)
def test_against_torch(name: str, decay: float) -> None:
    """On a loss that is not a quadratic, with the correspondence that the docstrings state."""
    torch = pytest.importorskip("torch")
    (theta,) = arrays(np.float64, 50, 1)
    theta /= abs(theta).max()
    velocity, parameter = np.zeros(50), torch.tensor(theta.copy(), requires_grad=True)
    nesterov = name == "nesterov"
    settings = {} if name == "sgd" else {"momentum": MU, "nesterov": nesterov}
    optimizer = torch.optim.SGD([parameter], lr=LR, weight_decay=decay, **settings)
    for _ in range(30):
        optimizer.zero_grad()
        torch.cosh(parameter).sum().backward()
        optimizer.step()
        point = optim.lookahead(theta, velocity, MU) if nesterov else theta
        step(name, theta, np.sinh(point), velocity, decay=decay)
        found = optim.lookahead(theta, velocity, MU) if nesterov else theta
        np.testing.assert_allclose(found, parameter.detach().numpy(), rtol=1e-12, atol=1e-15)
    if name != "sgd":
        kept = optimizer.state[parameter]["momentum_buffer"].numpy()
        np.testing.assert_allclose(velocity, -LR * kept, rtol=1e-11, atol=1e-15)


def test_torch_when_the_step_size_changes() -> None:
    torch = pytest.importorskip("torch")
    theta, velocity, parameter = np.ones(3), np.zeros(3), torch.ones(3, dtype=torch.float64, requires_grad=True)
    optimizer, before = torch.optim.SGD([parameter], lr=0.1, momentum=MU), 0.1
    for lr in (0.1, 0.1, 0.05, 0.02):
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        torch.cosh(parameter).sum().backward()
        optimizer.step()
        velocity *= lr / before
        before = lr
        optim.momentum(theta, np.sinh(theta), velocity, lr, MU)
        np.testing.assert_allclose(theta, parameter.detach().numpy(), rtol=1e-13)


def test_without_decay_an_infinite_parameter_stays() -> None:
    theta, velocity = np.array([np.inf, 1.0]), np.zeros(2)
    optim.momentum(theta, np.ones(2), velocity, 0.5, 0.5)
    assert theta.tolist() == [np.inf, 0.5] and velocity.tolist() == [-0.5, -0.5]


def test_infinities_and_nan_pass_without_a_warning() -> None:
    theta = np.array([3e38, np.nan, 1.0, np.inf, 1e-38], np.float32)
    gradient = np.array([-3e38, 1.0, np.nan, np.inf, 0.99e-38], np.float32)
    with np.errstate(all="raise"):
        optim.sgd(theta, gradient, 1.0)
    assert theta[0] == np.inf and np.isnan(theta[1:4]).all() and 0 < theta[4] < 1.1e-40


# -- layouts ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", STEPS)
def test_strides_change_no_bit_and_nothing_between(name: str, dtype: Any) -> None:
    plain = arrays(dtype, 1200)
    wanted = [x.copy() for x in plain]
    step(name, *wanted)
    for place in (np.s_[::2], np.s_[::-1], np.s_[::-3], np.s_[5:1205]):
        rooms = [np.full(1200 * 3 + 5, 7, dtype) for _ in range(3)]
        views = [room[place][:1200] for room in rooms]
        for view, x in zip(views, plain, strict=True):
            view[...] = x
        outside = [np.ones(room.size, bool) for room in rooms]
        for mask in outside:
            mask[place][:1200] = False
        step(name, *views)
        assert all(np.array_equal(a, b) for a, b in zip(views, wanted, strict=True))
        assert all((room[mask] == 7).all() for room, mask in zip(rooms, outside, strict=True))
    orders: tuple[Literal["C", "F"], ...] = ("F", "C", "F")
    tables = [x.reshape(30, 40).copy(order=order) for x, order in zip(plain, orders, strict=True)]
    step(name, *tables)
    assert all(np.array_equal(a, b.reshape(30, 40)) for a, b in zip(tables, wanted, strict=True))


@pytest.mark.parametrize("size", [0, 1, 7, 64, 1025])
@pytest.mark.parametrize("name", STEPS)
def test_sizes(name: str, size: int) -> None:
    whole = arrays(np.float32, 1025)
    parts = [x[:size].copy() for x in whole]
    step(name, *whole)
    step(name, *parts)
    assert all(np.array_equal(a, b[:size]) for a, b in zip(parts, whole, strict=True))


@pytest.mark.parametrize("name", STEPS)
def test_threads_change_no_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = arrays(np.float32, 70_000)
    shared = [x.copy() for x in alone]
    with fastact.num_threads(1):
        step(name, *alone)
    eager = {"SMALLEST": 64, "WORTH": 0, "SHARE": 1, "SHORTEST": 64, "LONGEST": 256, "PIECE": 1, "loops": {}}
    for setting, value in eager.items():
        monkeypatch.setattr(threads, setting, value)
    monkeypatch.setattr(pool, "REST", 0)
    monkeypatch.setattr(pool.current, "rest", 0.0)
    taken: list[int] = []
    run = threads._run

    def counted(*args: Any) -> Any:
        taken.append(1)
        return run(*args)

    monkeypatch.setattr(threads, "_run", counted)
    with fastact.num_threads(3):
        step(name, *shared)
    assert taken
    assert all(np.array_equal(a, b) for a, b in zip(alone, shared, strict=True))


@pytest.mark.parametrize("name", STEPS)
def test_lists(name: str) -> None:
    shapes: list[tuple[int, ...]] = [(), (3,), (4, 5), (0,)]
    rng = np.random.default_rng(1)
    sets = [[np.asarray(rng.normal(size=s)).astype(t) for s in shapes for t in DTYPES] for _ in range(3)]
    alone = [[x.copy() for x in group] for group in sets]
    for row in zip(*alone, strict=True):
        step(name, *row)
    same = [list(group) for group in sets]
    step(name, *sets)
    for group, single, before in zip(sets, alone, same, strict=True):
        assert all(a is b for a, b in zip(group, before, strict=True))
        assert all(np.array_equal(a, b) for a, b in zip(group, single, strict=True))
    step(name, tuple(sets[0]), sets[1], sets[2])
    step(name, [], [], [])


def test_arrays_keep_their_place_and_gradients_their_value() -> None:
    theta, gradient, velocity = arrays(np.float32)
    addresses, kept = (theta.ctypes.data, velocity.ctypes.data), gradient.copy()
    gradient.flags.writeable = False
    optim.nesterov(theta, gradient, velocity, LR, MU)
    assert addresses == (theta.ctypes.data, velocity.ctypes.data) and np.array_equal(gradient, kept)


def test_lookahead() -> None:
    theta, velocity, out = arrays(np.float64)
    wanted = theta + MU * velocity
    point = optim.lookahead(theta, velocity, MU)
    np.testing.assert_allclose(point, wanted, rtol=1e-14, atol=1e-14)
    assert optim.lookahead(theta, velocity, MU, out=out) is out and np.array_equal(out, point)
    (listed,) = optim.lookahead([theta], [velocity], MU)
    assert np.array_equal(listed, point)
    assert optim.lookahead(theta, velocity, MU, out=theta) is theta and np.array_equal(theta, point)
    with pytest.raises(ValueError, match="out shares memory"):
        optim.lookahead(theta, velocity, MU, out=velocity)
    with pytest.raises(TypeError, match="out is an array"):
        optim.lookahead([theta], [velocity], MU, out=out)


# -- what is refused --------------------------------------------------------------------------------------------------
A, B, C = np.ones(4), np.full(4, 2.0), np.full(4, 3.0)
LOCKED = np.ones(4)
LOCKED.flags.writeable = False
FOLDED = np.lib.stride_tricks.as_strided(np.ones(8), (4,), (0,))
REFUSED: dict[str, tuple[tuple[Any, ...], type[Exception], str]] = {
    "shape": ((A, np.ones(5), C), ValueError, r"theta has shape \(4,\) and gradient \(5,\)"),
    "broadcast": ((A, np.ones(1), C), ValueError, r"\(4,\) and gradient \(1,\)"),
    "dtype": ((A, B.astype(np.float32), C), TypeError, "theta is of dtype float64 and gradient of float32"),
    "half": ((A.astype(np.float16),) * 3, TypeError, "float16; float32 and float64 are allowed"),
    "whole": ((np.arange(4),) * 3, TypeError, "int64; float32 and float64"),
    "turned": ((A.astype(">f8"), B, C), TypeError, ">f8; float32 and float64"),
    "locked theta": ((LOCKED, B, C), ValueError, "theta is written to, but it is read-only"),
    "locked velocity": ((A, B, LOCKED), ValueError, "velocity is written to, but it is read-only"),
    "theta is gradient": ((A, A, C), ValueError, "theta shares memory"),
    "velocity is gradient": ((A, C, C), ValueError, "velocity shares memory"),
    "theta is velocity": ((A, B, A), ValueError, "shares memory"),
    "folded": ((FOLDED, B, C), ValueError, "elements of theta share memory"),
    "lengths": (([A], [B, B.copy()], [C]), ValueError, "1 of theta, 2 of gradient, 1 of velocity"),
    "mixed": (([A], B, [C]), TypeError, "theta is a list, gradient is an array"),
    "number": ((A, 1.0, C), TypeError, "gradient is an array or a list of arrays, not float"),
    "list of numbers": (([A], [1.0], [C]), TypeError, "gradient holds arrays of NumPy, not float"),
    "masked": ((np.ma.masked_array(A), B, C), TypeError, "not MaskedArray"),
    "twice": (([A, A], [B, B], [C, C.copy()]), ValueError, "theta shares memory"),
    "second": (([A, np.ones(3)], [B, B], [C, np.ones(3)]), ValueError, r"theta\[1\] has shape \(3,\)"),
}


def check_refused(call: Callable[[], Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        call()
    assert A.tolist() == [1.0] * 4 and B.tolist() == [2.0] * 4 and C.tolist() == [3.0] * 4


@pytest.mark.parametrize("name", ["momentum", "nesterov"])
@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_anything_is_written(case: str, name: str) -> None:
    args, kind, text = REFUSED[case]
    check_refused(lambda: getattr(optim, name)(*args, LR, MU), kind, rf"^{name}\(\): .*{text}")


def test_overlapping_parts_are_refused_and_interleaved_ones_are_not() -> None:
    room = np.ones(9)
    with pytest.raises(ValueError, match="theta shares memory"):
        optim.sgd(room[:5], room[4:], LR)
    assert (room == 1).all()
    optim.sgd(room[:8:2], room[1::2], 0.5)
    assert room.tolist() == [0.5, 1, 0.5, 1, 0.5, 1, 0.5, 1, 1]


def test_overlap_within_long_lists() -> None:
    room = np.ones(40)
    parameters, gradients = [room[k : k + 2] for k in range(0, 20, 2)], [room[k : k + 2] for k in range(20, 40, 2)]
    optim.sgd(parameters, gradients, 0.5)
    assert (room[:20] == 0.5).all() and (room[20:] == 1).all()
    for moved in (room[5:7], room[21:23]):
        with pytest.raises(ValueError, match="theta shares memory"):
            optim.sgd([moved, *parameters[2:]], gradients[1:], 0.5)
        assert (room[:20] == 0.5).all() and (room[20:] == 1).all()


@pytest.mark.parametrize(
    ("settings", "kind", "text"),
    [
        ({"lr": -0.1}, ValueError, "lr must be finite and at least 0 in float64, not -0.1"),
        ({"lr": math.nan}, ValueError, "lr must be finite"),
        ({"lr": math.inf}, ValueError, "lr must be finite"),
        ({"lr": "0.1"}, TypeError, "lr is a number, not str"),
        ({"lr": np.ones(4)}, TypeError, "lr is a number, not ndarray"),
        ({"mu": 1.0}, ValueError, "mu must be at least 0 and below 1 in float64, not 1.0"),
        ({"mu": -0.1}, ValueError, "mu must be"),
        ({"mu": True}, TypeError, "mu is a number, not bool"),
        ({"weight_decay": -1}, ValueError, "weight_decay must be finite and at least 0"),
    ],
)
@pytest.mark.parametrize("name", ["momentum", "nesterov"])
def test_numbers_out_of_range(name: str, settings: dict[str, Any], kind: type[Exception], text: str) -> None:
    check_refused(lambda: getattr(optim, name)(A, B, C, **{"lr": LR, "mu": MU, **settings}), kind, text)


def test_a_number_must_fit_the_dtype() -> None:
    theta, gradient, velocity = (x.astype(np.float32) for x in (A, B, C))
    with pytest.raises(ValueError, match=r"mu must be at least 0 and below 1 in float32, not 0\.99999999"):
        optim.momentum(theta, gradient, velocity, LR, 0.99999999)
    with pytest.raises(ValueError, match="lr must be finite and at least 0 in float32, not 1e"):
        optim.sgd(theta, gradient, 1e39)
    with pytest.raises(ValueError, match="lr must be"):
        optim.sgd([], [], -1.0)


# -- quadratics -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("condition", [10, 100, 1000])
@pytest.mark.parametrize("name", STEPS)
def test_the_rate_on_a_quadratic_is_the_predicted_one(name: str, condition: int) -> None:
    """Both the rate and its logarithm, the digits gained per step, within 2%."""
    curvature = np.geomspace(0.5, 0.5 * condition, 12)
    setting = getattr(optim.quadratic(curvature[0], curvature[-1]), name)
    theta, velocity, point = np.ones(12), np.zeros(12), np.empty(12)
    steps = int((30 if name == "sgd" else 600) / -math.log(setting.rate))
    distances = []
    for _ in range(2):
        for _ in range(steps // 2):
            if name == "sgd":
                optim.sgd(theta, curvature * theta, setting.lr)
            elif name == "momentum":
                optim.momentum(theta, curvature * theta, velocity, setting.lr, setting.mu)
            else:
                optim.lookahead(theta, velocity, setting.mu, out=point)
                optim.nesterov(theta, curvature * point, velocity, setting.lr, setting.mu)
        distances.append(math.hypot(*theta, *velocity))
    measured = (distances[1] / distances[0]) ** (1 / (steps // 2))
    assert measured == pytest.approx(setting.rate, rel=0.02)
    assert math.log(measured) == pytest.approx(math.log(setting.rate), rel=0.02)


def radius(name: str, lr: float, mu: float, curvatures: Array) -> float:
    """The spectral radius of a step as a linear map of (theta, velocity)."""
    worst = 0.0
    for c in curvatures:
        ahead = mu if name == "nesterov" else 0.0
        row = [-lr * c, mu - lr * c * ahead]
        worst = max(worst, *abs(np.linalg.eigvals(np.array([[1 + row[0], row[1]], row]))))
    return float(worst)


@pytest.mark.parametrize("condition", [10, 100, 1000])
@pytest.mark.parametrize("name", STEPS)
def test_no_other_setting_is_better(name: str, condition: int) -> None:
    curvatures = np.geomspace(1.0, condition, 15)
    best = getattr(optim.quadratic(1.0, condition), name)
    assert radius(name, best.lr, best.mu, curvatures) == pytest.approx(best.rate, abs=1e-6)
    for lr in np.linspace(0.5, 1.5, 11):
        for mu in [0.0] if name == "sgd" else [0.0, *(1 - (1 - best.mu) * np.linspace(0.5, 1.5, 11))]:
            assert radius(name, best.lr * lr, mu, curvatures) > best.rate - 1e-6


def test_nesterovs_own_setting_has_the_stated_rate() -> None:
    root = 10.0
    found = radius("nesterov", 1 / root**2, (root - 1) / (root + 1), np.geomspace(1.0, root**2, 15))
    assert found == pytest.approx(1 - 1 / root, abs=1e-6)


def test_settings() -> None:
    found = optim.quadratic(2, 18)
    assert found.sgd == pytest.approx((0.1, 0.0, 0.8))
    assert found.momentum == pytest.approx((0.125, 0.25, 0.5))
    root = math.sqrt(28)
    assert found.nesterov == pytest.approx((1 / 14, (root - 2) / (root + 2), 1 - 2 / root))
    assert [setting.rate for setting in optim.quadratic(3, 3)] == [0.0, 0.0, 0.0]
    assert [setting.mu for setting in optim.quadratic(3, 3)] == [0.0, 0.0, 0.0]
    assert all(map(math.isfinite, optim.quadratic(1e-300, 1e300).nesterov))


@pytest.mark.parametrize("limits", [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0), (1.0, math.inf), (math.nan, 1.0)])
def test_limits_out_of_range(limits: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="0 < lmin <= lmax must hold"):
        optim.quadratic(*limits)
    with pytest.raises(TypeError, match="lmax is a number, not str"):
        optim.quadratic(1.0, "2")  # type: ignore[arg-type]
