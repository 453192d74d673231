"""What ONNX calls our functions, and models of one expression for onnxruntime.

An expression is written in ``op``, ``x`` and the parameters' names; ``op.Name(...)`` is an operator of the standard
set, its keywords are attributes, and numbers among its inputs become constants of the dtype of x.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

OPSET = 20
EXPRESSIONS = {
    "relu": "op.Relu(x)",
    "exp": "op.Exp(x)",
    "log": "op.Log(x)",
    "sqrt": "op.Sqrt(x)",
    "rsqrt": "op.Reciprocal(op.Sqrt(x))",
    "reciprocal": "op.Reciprocal(x)",
    "tanh": "op.Tanh(x)",
    "erf": "op.Erf(x)",
    "sigmoid": "op.Sigmoid(x)",
    "softplus": "op.Softplus(x)",
    "softsign": "op.Softsign(x)",
    "silu": "op.Mul(x, op.Sigmoid(x))",
    "swish": "op.Mul(x, op.Sigmoid(op.Mul(beta, x)))",
    "quick_gelu": "op.Mul(x, op.Sigmoid(op.Mul(1.702, x)))",
    "mish": "op.Mish(x)",
    "gelu": "op.Gelu(x)",
    "gelu_tanh": "op.Gelu(x, approximate='tanh')",
    "elu": "op.Elu(x, alpha=alpha)",
    "celu": "op.Celu(x, alpha=alpha)",
    "selu": "op.Selu(x)",
    "leaky_relu": "op.LeakyRelu(x, alpha=negative_slope)",
    "prelu": "op.PRelu(x, weight)",
    "jump_relu": "op.ThresholdedRelu(x, alpha=theta)",
    "relu6": "op.Clip(x, 0.0, 6.0)",
    "hardtanh": "op.Clip(x, min_val, max_val)",
    "hardsigmoid": "op.HardSigmoid(x, alpha=1/6, beta=0.5)",
    "hardswish": "op.HardSwish(x)",
    "hardshrink": "op.Shrink(x, lambd=lambd, bias=0.0)",
    "softshrink": "op.Shrink(x, lambd=lambd, bias=lambd)",
}


class Operators:
    """Writes down the nodes of a graph as an expression calls for them."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def __getattr__(self, operator: str) -> Callable[..., str]:
        return functools.partial(self._node, operator)

    def _node(self, operator: str, *inputs: str | float, **attributes: Any) -> str:
        from onnx import helper, numpy_helper

        names = []
        for value in inputs:
            if not isinstance(value, str):
                name = f"constant{len(self.constants)}"
                self.constants.append(numpy_helper.from_array(np.array(value, self.dtype), name))
                value = name
            names.append(value)
        output = f"node{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, names, [output], **attributes))
        return output


def session(expression: str, dtype: np.dtype[Any], parameters: dict[str, float]) -> Callable[[Any], Any]:
    """The expression as a function of an array, computed by onnxruntime on one thread."""
    import onnx
    import onnxruntime
    from onnx import helper

    op = Operators(dtype)
    result = eval(expression, {**parameters, "op": op, "x": "x"})
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    ends = [helper.make_tensor_value_info(name, kind, ["n"]) for name in ("x", result)]
    graph = helper.make_graph(op.nodes, "expression", ends[:1], ends[1:], op.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what it cannot do is raised as well
    made = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted: Sequence[str] = [result]
    return lambda x: made.run(wanted, {"x": x})[0]
