"""Gates of two arrays and functions of rows, as their peers call them.

Expressions are in ``x`` (64 rows of 1,024), ``w``, ``c``, ``m`` and ``v`` (weight, bias, mean and variance of a norm),
or ``a`` and ``b``; ``f`` is our function, ``t`` the tier, ``op`` the operators of ONNX.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastact.kernels import GATES


@dataclass(frozen=True)
class Case:
    """A function and what it is called elsewhere."""

    numpy: str
    torch: str
    jax: str = ""
    scipy: str = ""
    onnxruntime: str = ""
    numexpr: str = ""
    ours: str = "f(a, b, approx=t)"
    backward: str = "f.backward(g, a, b, approx=t)"
    over: str = "ab"
    """The arrays that gradients are taken with respect to."""
    moved: tuple[int, int] = (3, 5)
    """Arrays that the value and the gradient read and write at least."""
    activation: str = ""
    """Of a gate: b times which function of a it is."""


_SUM = "sum(-1, keepdims=True)"
_SHIFTED = "x - x.max(-1, keepdims=True)"
_FROM_OUTPUT = "f.backward_from_output(g, y, axis=-1, approx=t)"


def _rows(backward: str = _FROM_OUTPUT, moved: tuple[int, int] = (2, 3), **peers: str) -> Case:
    return Case(**peers, ours="f(x, axis=-1, approx=t)", backward=backward, over="x", moved=moved)


CASES = {
    "softmax": _rows(
        numpy=f"(lambda e: e/e.{_SUM})(np.exp({_SHIFTED}))", torch="torch.softmax(x, -1)", jax="jax.nn.softmax(x)",
        scipy="scipy.special.softmax(x, -1)", onnxruntime="op.Softmax(x, axis=-1)",
    ),
    "log_softmax": _rows(
        numpy=f"(lambda d: d - np.log(np.exp(d).{_SUM}))({_SHIFTED})", torch="torch.log_softmax(x, -1)",
        jax="jax.nn.log_softmax(x)", scipy="scipy.special.log_softmax(x, -1)",
        onnxruntime="op.LogSoftmax(x, axis=-1)",
    ),
    "softmin": _rows(
        numpy=f"(lambda e: e/e.{_SUM})(np.exp(x.min(-1, keepdims=True) - x))",
        torch="torch.nn.functional.softmin(x, -1)", jax="jax.nn.softmax(-x)",
        onnxruntime="op.Softmax(op.Neg(x), axis=-1)",
    ),
    "logsumexp": _rows(
        "f.backward(g, x, axis=-1, approx=t)", (1, 2),
        numpy="(lambda m: m[:, 0] + np.log(np.exp(x - m).sum(-1)))(x.max(-1, keepdims=True))",
        torch="torch.logsumexp(x, -1)", jax="jax.nn.logsumexp(x, -1)", scipy="scipy.special.logsumexp(x, -1)",
        onnxruntime="op.ReduceLogSumExp(x, 'axis', keepdims=0)",
    ),
    "rms_norm": Case(
        numpy="x/np.sqrt(np.mean(x*x, -1, keepdims=True) + x.dtype.type(1e-6))*w",
        torch="torch.nn.functional.rms_norm(x, x.shape[-1:], w, 1e-6)",
        jax="x*jax.lax.rsqrt((x*x).mean(-1, keepdims=True) + 1e-6)*w",
        onnxruntime="op.RMSNormalization(x, w, axis=-1, epsilon=1e-6)",
        ours="f(x, w, eps=1e-6, approx=t)", backward="f.backward(g, x, w, eps=1e-6, approx=t)", over="xw",
        moved=(2, 3),
    ),
    "layer_norm": Case(
        numpy="(lambda d: d/np.sqrt(np.mean(d*d, -1, keepdims=True) + x.dtype.type(1e-5))*w + c)"
        "(x - x.mean(-1, keepdims=True))",
        torch="torch.nn.functional.layer_norm(x, x.shape[-1:], w, c, 1e-5)",
        jax="(lambda d: d*jax.lax.rsqrt((d*d).mean(-1, keepdims=True) + 1e-5)*w + c)(x - x.mean(-1, keepdims=True))",
        onnxruntime="op.LayerNormalization(x, w, c, axis=-1, epsilon=1e-5)",
        ours="f(x, w, c, eps=1e-5, approx=t)", backward="f.backward(g, x, w, eps=1e-5, approx=t)", over="xwc",
        moved=(2, 3),
    ),
    "batch_norm": Case(
        numpy="(x - m)/np.sqrt(v + x.dtype.type(1e-5))*w + c",
        torch="torch.nn.functional.batch_norm(x, m, v, w, c, False, 0.0, 1e-5)",
        jax="(x - m)*(jax.lax.rsqrt(v + 1e-5)*w) + c",
        onnxruntime="op.BatchNormalization(x, w, c, m, v, epsilon=1e-5)",
        ours="f(x, m, v, w, c, eps=1e-5, approx=t)", backward="f.backward(g, x, m, v, w, eps=1e-5, approx=t)",
        over="xwc", moved=(2, 3),
    ),
}  # fmt: skip

ACTIVATIONS = {
    "glu": "sigmoid", "reglu": "relu", "swiglu": "silu", "geglu": "gelu", "geglu_tanh": "gelu_tanh", "mishglu": "mish",
    "swiglu_oai": "quick_gelu",
}  # fmt: skip
"""Of which function of a a gate is b times, but for limits."""
_MORE = {
    "swiglu_oai": "(lambda s: s*jax.nn.sigmoid(1.702*s)*(jax.numpy.clip(b, -7, 7) + 1))(jax.numpy.minimum(a, 7))",
}
"""Of JAX, what the declarations lack."""
_ONNX = {
    "bilinear": "op.Mul(a, b)",
    "reglu": "op.Mul(op.Relu(a), b)",
    "glu": "op.Mul(op.Sigmoid(a), b)",
    "swiglu": "op.Mul(op.Mul(a, op.Sigmoid(a)), b)",
    "geglu": "op.Mul(op.Gelu(a), b)",
    "geglu_tanh": "op.Mul(op.Gelu(a, approximate='tanh'), b)",
    "mishglu": "op.Mul(op.Mish(a), b)",
    "swiglu_oai": (
        "(lambda s: op.Mul(op.Mul(s, op.Sigmoid(op.Mul(1.702, s))), op.Add(op.Clip(b, -7.0, 7.0), 1.0)))"
        "(op.Min(a, 7.0))"
    ),
}
_NUMEXPR = {
    "bilinear": "a*b",
    "reglu": "where(a > 0, a, 0)*b",
    "glu": "b/(1 + exp(-a))",
    "swiglu": "a/(1 + exp(-a))*b",
    "geglu_tanh": "0.5*a*(1 + tanh(0.7978845608028654*(a + 0.044715*a*a*a)))*b",
    "mishglu": "a*tanh(log1p(exp(a)))*b",
    "swiglu_oai": (
        "where(a < 7, a, 7)/(1 + exp(-1.702*where(a < 7, a, 7)))*(where(b < 7, where(b > -7, b, -7), 7) + 1)"
    ),
}
for _name, _gate in GATES.items():
    CASES[_name] = Case(
        numpy=_gate.numpy, torch=_gate.peers.get("torch", ""), jax=_gate.peers.get("jax", "") or _MORE.get(_name, ""),
        onnxruntime=_ONNX.get(_name, ""), numexpr=_NUMEXPR.get(_name, ""), activation=ACTIVATIONS.get(_name, ""),
    )  # fmt: skip
