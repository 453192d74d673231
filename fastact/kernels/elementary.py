"""Elementary functions: each body is the block of its name."""

from __future__ import annotations

from fastact.kernels import operations as op
from fastact.kernels.declare import declare
from fastact.kernels.operations import Value

FAMILY = "elementary"


def _exp_gradient(x: Value) -> Value:
    return op.exp(x)


def _exp_from_output(g: Value, y: Value) -> Value:
    return g * y


@declare(
    family=FAMILY,
    formula="exp(x)",
    gradient=_exp_gradient,
    from_output=_exp_from_output,
    numpy="np.exp(x)",
    peers={"torch": "torch.exp(x)", "jax": "jax.numpy.exp(x)", "numexpr": "exp(x)"},
    critical=(0.0,),
    cite="W. J. Cody and W. Waite, Software Manual for the Elementary Functions, 1980",
)
def exp(x: Value) -> Value:
    """e to the power x."""
    return op.exp(x)
