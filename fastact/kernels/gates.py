"""Gated linear units: an activation of one input, the gate a, times another one, b; both gradients in one pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from fastact.kernels import operations as op
from fastact.kernels.activations import mish, silu
from fastact.kernels.blocks.products import Rate, product
from fastact.kernels.blocks.roots import exp_in_products, in_products
from fastact.kernels.declare import REGISTRY, Body, declare_gate
from fastact.kernels.elementary import sigmoid
from fastact.kernels.exponential import quick_gelu
from fastact.kernels.gaussian import gelu, gelu_tanh
from fastact.kernels.operations import INFINITY, Value

SHAZEER = "Shazeer 2020, GLU variants improve transformer, arXiv:2002.05202"
DAUPHIN = "Dauphin et al. 2017, Language modeling with gated convolutional networks, arXiv:1612.08083"
HALF = Fraction(1, 2)
SIGMOID_SLOPE = Rate(at_zero=Fraction(1, 4), tiny=2.0**-40, even=True, closed=0.0)
"""s'(a) = 1/4 - a^2/16 + ... is even."""

Both = Callable[[Value, Value, Value], tuple[Value, Value]]


def _times(activation: Body, rate: Rate) -> Body:
    """The activation of a times b."""

    def value(a: Value, b: Value) -> Value:
        return product(activation(a), a, (b,), rate, value, (a, b))

    return value


def _backward(activation: Body, rate: Rate, slope_rate: Rate, beside: Body | None = None) -> Both:
    """(g b A'(a), g A(a)) for an activation A; ``beside``: A in a way that has more in common with its gradient."""
    gradient, times = REGISTRY[activation.__name__].gradient, _times(beside or activation, rate)

    def slope(g: Value, a: Value, b: Value) -> Value:
        return product(gradient(a), a, (g, b), slope_rate, slope, (g, a, b))

    def both(g: Value, a: Value, b: Value) -> tuple[Value, Value]:
        return slope(g, a, b), times(a, g)

    return both


def _unit(at_zero: Fraction, saturated: float) -> tuple[Rate, Rate]:
    """What is known of an activation like a times a step: of A(a)/a, which stays below 1, and of A'(a), which exceeds
    it before it returns. Above ``saturated`` what they lack is below 2^-58."""
    return Rate(True, at_zero, saturated=saturated, beyond=-1), Rate(False, at_zero, saturated=saturated, beyond=1)


SIGMOID = Rate(at_zero=HALF, closed=0.0), SIGMOID_SLOPE
SILU, MISH = _unit(HALF, 45.0), _unit(Fraction(3, 5), 25.0)
GELU = _unit(HALF, 10.0)
GELU_TANH = replace(GELU[0], steep=True), replace(GELU[1], steep=True)


def _sigmoid_by_size(a: Value) -> Value:
    """The sigmoid by e = exp(-|a|), as its gradient has it: 1/(1 + e), and e times that below 0."""
    e = exp_in_products(-op.absolute(a))
    return op.where(op.plain(a) < 0.0, e, 1.0) / (e + 1.0)


def _bilinear_backward(g: Value, a: Value, b: Value) -> tuple[Value, Value]:
    return op.rounded_product(g, b), op.rounded_product(g, a)


@declare_gate(_bilinear_backward, formula="a*b", numpy="a*b", peers={"torch": "a*b", "jax": "a*b"}, cite=SHAZEER)
def bilinear(a: Value, b: Value) -> Value:
    """a b."""
    return op.rounded_product(a, b)


def _relu_times(a: Value, b: Value) -> Value:
    """Where a is negative an infinite b meets no 0, and what is multiplied does not underflow."""
    b = op.plain(b)
    finite = op.where((a < 0.0) & (op.absolute(b).equals(INFINITY)), op.where(b < 0.0, -0.0, 0.0), b)
    return op.rounded_product(op.maximum(a, 0.0), finite)


def _reglu_backward(g: Value, a: Value, b: Value) -> tuple[Value, Value]:
    """Selections, so that an infinite g meets no 0."""
    closed = a <= 0.0
    slope = op.rounded_product(op.where(closed, 0.0, op.plain(g)), op.where(closed, 1.0, op.plain(b)))
    return op.unless_nan(slope, a), _relu_times(a, g)


@declare_gate(
    _reglu_backward,
    formula="where(a > 0, a, 0)*b",
    numpy="np.maximum(a, 0)*b",
    peers={"torch": "torch.relu(a)*b", "jax": "jax.nn.relu(a)*b"},
    cite=SHAZEER,
)
def reglu(a: Value, b: Value) -> Value:
    """relu(a) b: 0 for negative a even where b is infinite."""
    return _relu_times(a, b)


@declare_gate(
    _backward(sigmoid, *SIGMOID, _sigmoid_by_size),
    gate_last=True,
    formula="b/(1 + exp(-a))",
    numpy="b/(1 + np.exp(-a))",
    peers={"torch": "torch.sigmoid(a)*b", "jax": "jax.nn.sigmoid(a)*b"},
    cite=DAUPHIN,
)
def glu(a: Value, b: Value) -> Value:
    """sigmoid(a) b."""
    return _times(sigmoid, SIGMOID[0])(a, b)


@declare_gate(
    _backward(silu, *SILU),
    formula="a/(1 + exp(-a))*b",
    numpy="a/(1 + np.exp(-a))*b",
    peers={"torch": "torch.nn.functional.silu(a)*b", "jax": "jax.nn.silu(a)*b"},
    cite=SHAZEER,
)
def swiglu(a: Value, b: Value) -> Value:
    """silu(a) b = a sigmoid(a) b."""
    return _times(silu, SILU[0])(a, b)


@declare_gate(
    _backward(gelu, *GELU),
    formula="a*erfc(-a/sqrt(2))/2*b",
    peers={"torch": "torch.nn.functional.gelu(a)*b", "jax": "jax.nn.gelu(a, approximate=False)*b"},
    cite=SHAZEER,
)
def geglu(a: Value, b: Value) -> Value:
    """gelu(a) b with gelu(a) = a Phi(a) and Phi the normal distribution."""
    return _times(gelu, GELU[0])(a, b)


@declare_gate(
    _backward(gelu_tanh, *GELU_TANH),
    formula="a/2*(1 + tanh(sqrt(2/pi)*(a + 0.044715*a**3)))*b",
    numpy="0.5*a*(1 + np.tanh(np.sqrt(2/np.pi)*(a + 0.044715*a**3)))*b",
    peers={
        "torch": "torch.nn.functional.gelu(a, approximate='tanh')*b",
        "jax": "jax.nn.gelu(a, approximate=True)*b",
    },
    cite=SHAZEER,
)
def geglu_tanh(a: Value, b: Value) -> Value:
    """gelu_tanh(a) b: geglu with the hyperbolic tangent's approximation of gelu, another function by up to 5e-4 b."""
    return _times(gelu_tanh, GELU_TANH[0])(a, b)


@declare_gate(
    _backward(mish, *MISH),
    formula="a*tanh(log1p(exp(a)))*b",
    numpy="a*np.tanh(np.log1p(np.exp(a)))*b",
    peers={"torch": "torch.nn.functional.mish(a)*b", "jax": "jax.nn.mish(a)*b"},
    cite="Misra 2019, arXiv:1908.08681; " + SHAZEER,
)
def mishglu(a: Value, b: Value) -> Value:
    """mish(a) b."""
    return _times(mish, MISH[0])(a, b)


LIMIT = 7.0
QUICK = Rate(linear=True)


def _linear(b: Value) -> tuple[Value, Value | None]:
    """The clipped b and 1, with what the rounding of the sum left where single words make products of it."""
    held = op.clip(b, -LIMIT, LIMIT)
    total = held + 1.0
    return total, op.plain(held) - (op.plain(total) - 1.0) if in_products(b) else None


def _clipped(a: Value, b: Value) -> Value:
    """The activation of min(a, 7) times the clipped b and 1."""
    a = op.minimum(a, LIMIT)
    linear, left = _linear(b)
    return product(quick_gelu(a), a, (linear,), QUICK, _clipped, (a, b), left)


def _clipped_slope(g: Value, a: Value, b: Value) -> Value:
    gradient, (linear, left) = REGISTRY["quick_gelu"].gradient, _linear(b)
    return product(gradient(a), a, (g, linear), Rate(), _clipped_slope, (g, a, b), left)


_quick_times = _times(quick_gelu, QUICK)


def _swiglu_oai_backward(g: Value, a: Value, b: Value) -> tuple[Value, Value]:
    """Beyond a limit the gradient is 0, at it that of the inside."""
    low = op.minimum(a, LIMIT)
    inside = (op.absolute(op.plain(b)) <= LIMIT) | op.plain(b).is_nan()
    linear = op.where(inside, _quick_times(low, g), 0.0)
    return op.where(a > LIMIT, 0.0, _clipped_slope(g, low, b)), op.unless_nan(linear, b)


@declare_gate(
    _swiglu_oai_backward,
    formula="where(a > 7, 7, a)/(1 + exp(-1.702*where(a > 7, 7, a)))*(where(b > 7, 7, where(b < -7, -7, b)) + 1)",
    numpy="np.minimum(a, 7)/(1 + np.exp(-1.702*np.minimum(a, 7)))*(np.clip(b, -7, 7) + 1)",
    peers={"torch": "a.clamp(max=7)*torch.sigmoid(1.702*a.clamp(max=7))*(b.clamp(-7, 7) + 1)"},
    cite="OpenAI 2025, gpt-oss-120b and gpt-oss-20b model card, arXiv:2508.10925",
)
def swiglu_oai(a: Value, b: Value) -> Value:
    """a sigmoid(1.702 a) (b + 1) with a at most 7 and b between -7 and 7."""
    return _clipped(a, b)
