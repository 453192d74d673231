"""Activation functions made of straight pieces: they select among their inputs, or multiply or shift them once.

At a kink the gradient is that of the piece which PyTorch takes. A NaN among the parameters is passed on.
"""

from __future__ import annotations

from fastact.kernels import operations as op
from fastact.kernels.blocks import slopes
from fastact.kernels.blocks.slopes import BANDWIDTH, INFINITY, NO_INTERVAL, by_mean, mean
from fastact.kernels.declare import Parameter, Rejection, Variant, declare
from fastact.kernels.operations import Value

FAMILY = "activations"


def _at_zero(what: str) -> tuple[Parameter, ...]:
    return (Parameter("at_zero", 0.0, summary=f"The derivative at 0, where there is none; left out, it is {what}."),)


# -- two slopes -----------------------------------------------------------------------------------------------------
def _slopes(x: Value, slope: Value) -> Value:
    """1 above 0, the slope elsewhere."""
    return op.where(x > 0.0, 1.0, op.where(x <= 0.0, slope, x))


def _slopes_at_zero(x: Value, slope: Value, at_zero: Value) -> Value:
    return op.where(x.equals(0.0), at_zero, _slopes(x, slope))


def _slopes_backward(g: Value, x: Value, slope: Value) -> Value:
    """A selection, so that an infinite g meets no 0 for x > 0."""
    return op.where(x > 0.0, op.plain(g), op.where(x <= 0.0, op.rounded_product(g, slope), op.plain(x)))


def _slopes_backward_at_zero(g: Value, x: Value, slope: Value, at_zero: Value) -> Value:
    return _slopes_backward(g, x, op.where(x.equals(0.0), at_zero, slope))


def _two_slopes(x: Value, slope: Value) -> Value:
    x = op.plain(x)
    return op.where(x > 0.0, x, op.rounded_product(x, slope))


def _slope_gradient(x: Value, slope: Value) -> Value:
    """min(x, 0)."""
    return op.unless_nan(op.where(x > 0.0, 0.0, x), slope)


def _slope_backward(g: Value, x: Value, slope: Value) -> Value:
    """A selection, so that an infinite g meets no 0 for x > 0."""
    return op.unless_nan(op.where(x > 0.0, 0.0, op.rounded_product(g, x)), slope)


def _slope_variant(slope: str) -> Variant:
    """Of a function whose slope below 0 is that parameter."""
    return Variant(
        _at_zero("the slope below 0"),
        {"grad": _slopes_at_zero, "backward": _slopes_backward_at_zero},
        slopes={"grad": f"where(x > 0, 1, where(x < 0, {slope}, at_zero))"},
        places=lambda step, slope, at_zero: 0.0 * step,
    )


@declare(
    family=FAMILY,
    formula="where(x > 0, x, negative_slope*x)",
    parameters=(Parameter("negative_slope", 0.01),),
    gradient=_slopes,
    backward=_slopes_backward,
    from_output=_slopes_backward,
    variant=_slope_variant("negative_slope"),
    rejections=(
        Rejection(
            "the output does not tell the sign of x where negative_slope is negative; use .backward(g, x)",
            lambda negative_slope: negative_slope < 0,
            ("from_output",),
        ),
    ),
    numpy="np.where(x > 0, x, negative_slope*x)",
    peers={
        "torch": "torch.nn.functional.leaky_relu(x, negative_slope)",
        "jax": "jax.nn.leaky_relu(x, negative_slope)",
        "numexpr": "where(x > 0, x, negative_slope*x)",
    },
    critical=(0.0,),
    cite="Maas, Hannun and Ng 2013, Rectifier nonlinearities improve neural network acoustic models",
)
def leaky_relu(x: Value, negative_slope: Value) -> Value:
    """x above 0, negative_slope x elsewhere."""
    return _two_slopes(x, negative_slope)


@declare(
    family=FAMILY,
    formula="where(x > 0, x, weight*x)",
    parameters=(Parameter("weight", learned=True, gradient=_slope_gradient, backward=_slope_backward),),
    gradient=_slopes,
    backward=_slopes_backward,
    variant=_slope_variant("weight"),
    numpy="np.where(x > 0, x, weight*x)",
    peers={
        "torch": "torch.nn.functional.prelu(x, torch.tensor([weight], dtype=x.dtype))",
        "jax": "jax.nn.leaky_relu(x, weight)",
        "numexpr": "where(x > 0, x, weight*x)",
    },
    critical=(0.0,),
    cite="He, Zhang, Ren and Sun 2015, arXiv:1502.01852",
)
def prelu(x: Value, weight: Value) -> Value:
    """x above 0, weight x elsewhere, with a learned weight that broadcasts, say one for each channel."""
    return _two_slopes(x, weight)


def _rrelu_gradient(x: Value, lower: Value, upper: Value) -> Value:
    """1 above 0, the mean slope elsewhere."""
    return _slopes(x, mean(lower, upper))


def _rrelu_backward(g: Value, x: Value, lower: Value, upper: Value) -> Value:
    return op.where(x > 0.0, g, op.where(x <= 0.0, by_mean(g, lower, upper), op.plain(x)))


@declare(
    family=FAMILY,
    formula="where(x > 0, x, (lower/2 + upper/2)*x)",
    parameters=(
        Parameter("lower", 1 / 8, within="finite and at most upper", summary="The smallest slope."),
        Parameter("upper", 1 / 3, within="finite and at least lower", summary="The largest slope."),
    ),
    gradient=_rrelu_gradient,
    backward=_rrelu_backward,
    rejections=NO_INTERVAL,
    numpy="np.where(x > 0, x, (lower/2 + upper/2)*x)",
    peers={
        "torch": "torch.nn.functional.rrelu(x, lower, upper)",
        "jax": "jax.nn.leaky_relu(x, (lower + upper)/2)",
        "numexpr": "where(x > 0, x, (lower + upper)/2*x)",
    },
    critical=(0.0,),
    cite="Xu, Wang, Chen and Li 2015, arXiv:1505.00853",
)
def rrelu(x: Value, lower: Value, upper: Value) -> Value:
    """x above 0; elsewhere x times a slope, the mean of lower and upper; or, with a generator of random numbers, a
    slope drawn for each element."""
    return op.where(x > 0.0, op.plain(x), by_mean(x, lower, upper))


# -- clipping -------------------------------------------------------------------------------------------------------
def _relu6_gradient(x: Value) -> Value:
    """1 between 0 and 6, 0 elsewhere and at both."""
    return op.between(x, 0.0, 6.0, 1.0, 0.0)


def _relu6_gradient_at_zero(x: Value, at_zero: Value) -> Value:
    return op.where(x.equals(0.0), at_zero, _relu6_gradient(x))


def _relu6_backward(g: Value, x: Value) -> Value:
    return op.between(x, 0.0, 6.0, g, 0.0)


def _relu6_backward_at_zero(g: Value, x: Value, at_zero: Value) -> Value:
    return op.where(x.equals(0.0), op.rounded_product(g, at_zero), op.plain(_relu6_backward(g, x)))


@declare(
    family=FAMILY,
    formula="clip(x, 0, 6)",
    gradient=_relu6_gradient,
    backward=_relu6_backward,
    from_output=_relu6_backward,
    variant=Variant(
        _at_zero("0"),
        {"grad": _relu6_gradient_at_zero, "backward": _relu6_backward_at_zero},
        slopes={"grad": "where(x > 0, where(x < 6, 1, 0), where(x < 0, 0, at_zero))"},
        places=lambda step, at_zero: 0.0 * step,
    ),
    silent=True,
    numpy="np.minimum(np.maximum(x, 0), 6)",
    peers={
        "torch": "torch.nn.functional.relu6(x)",
        "jax": "jax.nn.relu6(x)",
        "numexpr": "where(x > 0, where(x < 6, x, 6), 0)",
    },
    critical=(0.0, 6.0),
    cite="Krizhevsky 2010, Convolutional deep belief networks on CIFAR-10",
)
def relu6(x: Value) -> Value:
    """x held within [0, 6]."""
    return op.clip(x, 0.0, 6.0)


def _hardtanh_gradient(x: Value, min_val: Value, max_val: Value) -> Value:
    """1 strictly between the limits, 0 elsewhere."""
    x, min_val, max_val = op.plain(x), op.plain(min_val), op.plain(max_val)
    return op.unless_nan(op.between(x, min_val, max_val, 1.0, 0.0), min_val, max_val)


def _hardtanh_backward(g: Value, x: Value, min_val: Value, max_val: Value) -> Value:
    x, min_val, max_val = op.plain(x), op.plain(min_val), op.plain(max_val)
    return op.unless_nan(op.between(x, min_val, max_val, op.plain(g), 0.0), min_val, max_val)


@declare(
    family=FAMILY,
    formula="clip(x, min_val, max_val)",
    parameters=(
        Parameter("min_val", -1.0, within="at most max_val"),
        Parameter("max_val", 1.0, within="at least min_val"),
    ),
    gradient=_hardtanh_gradient,
    backward=_hardtanh_backward,
    from_output=_hardtanh_backward,
    rejections=(Rejection("min_val is greater than max_val", lambda min_val, max_val: min_val > max_val),),
    silent=True,
    aliases=("hard_tanh",),
    numpy="np.minimum(np.maximum(x, min_val), max_val)",
    peers={
        "torch": "torch.nn.functional.hardtanh(x, min_val, max_val)",
        "jax": "jax.numpy.clip(x, min_val, max_val)",
        "numexpr": "where(x > min_val, where(x < max_val, x, max_val), min_val)",
    },
    critical=(-1.0, 0.0, 1.0),
    cite="Collobert 2004, Large scale machine learning",
)
def hardtanh(x: Value, min_val: Value, max_val: Value) -> Value:
    """x held within [min_val, max_val]."""
    x, min_val, max_val = op.plain(x), op.plain(min_val), op.plain(max_val)
    return op.unless_nan(op.clip(x, min_val, max_val), min_val, max_val)


# -- thresholds -----------------------------------------------------------------------------------------------------
def _step(x: Value, edge: Value, above: Value, below: Value) -> Value:
    """One or the other as x exceeds the edge or not; NaN stays."""
    x, edge = op.plain(x), op.plain(edge)
    return op.where(x > edge, above, op.where(x <= edge, below, x + edge))


def _kept_above(x: Value, edge: Value, below: Value) -> Value:
    """x where it exceeds the edge, another number elsewhere; NaN stays. An edge that is NaN exceeds all numbers."""
    x, edge = op.plain(x), op.plain(edge)
    return op.where(x <= op.where(edge.is_nan(), INFINITY, edge), op.where(edge.is_nan(), edge, below), x)


def _threshold_gradient(x: Value, threshold: Value, value: Value) -> Value:
    """1 above the threshold, 0 elsewhere."""
    return _step(x, threshold, 1.0, 0.0)


def _threshold_backward(g: Value, x: Value, threshold: Value, value: Value) -> Value:
    return _step(x, threshold, op.plain(g), 0.0)


@declare(
    family=FAMILY,
    formula="where(x > threshold, x, value)",
    parameters=(Parameter("threshold"), Parameter("value")),
    gradient=_threshold_gradient,
    backward=_threshold_backward,
    silent=True,
    numpy="np.where(x > threshold, x, value)",
    peers={
        "torch": "torch.nn.functional.threshold(x, threshold, value)",
        "jax": "jax.numpy.where(x > threshold, x, value)",
        "numexpr": "where(x > threshold, x, value)",
    },
    critical=(0.0,),
    cite="torch.nn.functional.threshold; ONNX ThresholdedRelu with value = 0",
)
def threshold(x: Value, threshold: Value, value: Value) -> Value:
    """x where it exceeds the threshold, the value elsewhere."""
    return _kept_above(x, threshold, op.plain(value))


def _jump_relu_gradient(x: Value, theta: Value) -> Value:
    """1 above theta, 0 elsewhere: the jump itself is left out."""
    return _step(x, theta, 1.0, 0.0)


def _jump_relu_backward(g: Value, x: Value, theta: Value) -> Value:
    return _step(x, theta, op.plain(g), 0.0)


@declare(
    family=FAMILY,
    formula="where(x > theta, x, 0)",
    parameters=(
        Parameter(
            "theta",
            learned=True,
            gradient=slopes.theta_gradient,
            backward=slopes.theta_backward,
            pseudo="where(abs(x - theta)*2 < 0.001, -theta/0.001, 0)",
            summary="The derivative with respect to it is 0 almost everywhere; offered is the straight-through\n"
            "    pseudo-derivative with a rectangular kernel of Rajamanoharan et al. 2024, arXiv:2407.14435.",
        ),
    ),
    gradient=_jump_relu_gradient,
    backward=_jump_relu_backward,
    variant=Variant(
        (
            Parameter(
                "bandwidth", BANDWIDTH, above=0.0, summary="Width of the pseudo-derivative's kernel; left out, 0.001."
            ),
        ),
        {"grad_theta": slopes.theta_gradient, "backward_theta": slopes.theta_backward_within},
        slopes={"grad_theta": "where(abs(x - theta)*2 < bandwidth, -theta/bandwidth, 0)"},
        places=lambda step, theta, bandwidth: theta + 0.75 * step * bandwidth,
    ),
    silent=True,
    aliases=("jumprelu",),
    numpy="np.where(x > theta, x, 0)",
    peers={
        "torch": "torch.nn.functional.threshold(x, theta, 0.0)",
        "jax": "jax.numpy.where(x > theta, x, 0)",
        "numexpr": "where(x > theta, x, 0)",
    },
    critical=(0.0,),
    cite="Erichson, Yao and Mahoney 2019, arXiv:1904.03750; Rajamanoharan et al. 2024, arXiv:2407.14435",
)
def jump_relu(x: Value, theta: Value) -> Value:
    """x where it exceeds theta, 0 elsewhere."""
    return _kept_above(x, theta, 0.0)


# -- shrinkage ------------------------------------------------------------------------------------------------------
_BAND = (Rejection("lambd is negative, but has to be at least 0", lambda lambd: lambd < 0),)


def _shrink(x: Value, lambd: Value, outside: Value, inside: Value) -> Value:
    """One or the other as |x| exceeds lambd or not; NaN stays."""
    return _step(op.absolute(op.plain(x)), lambd, outside, inside)


def _shrink_gradient(x: Value, lambd: Value) -> Value:
    """1 outside [-lambd, lambd], 0 inside."""
    return _shrink(x, lambd, 1.0, 0.0)


def _shrink_backward(g: Value, x: Value, lambd: Value) -> Value:
    return _shrink(x, lambd, op.plain(g), 0.0)


@declare(
    family=FAMILY,
    formula="where(abs(x) > lambd, x, 0)",
    parameters=(Parameter("lambd", 0.5, within="at least 0"),),
    gradient=_shrink_gradient,
    backward=_shrink_backward,
    from_output=_shrink_backward,
    rejections=_BAND,
    silent=True,
    aliases=("hard_shrink",),
    numpy="np.where(np.abs(x) > lambd, x, 0)",
    peers={
        "torch": "torch.nn.functional.hardshrink(x, lambd)",
        "jax": "jax.numpy.where(jax.numpy.abs(x) > lambd, x, 0)",
        "numexpr": "where(abs(x) > lambd, x, 0)",
    },
    critical=(-0.5, 0.0, 0.5),
    cite="Donoho and Johnstone 1994, Ideal spatial adaptation by wavelet shrinkage",
)
def hardshrink(x: Value, lambd: Value) -> Value:
    """x outside [-lambd, lambd], 0 of its sign inside."""
    x, lambd = op.plain(x), op.plain(lambd)
    return op.unless_nan(op.where(op.absolute(x) <= lambd, op.copysign(0.0, x), x), lambd)


def _softshrink_from_output(g: Value, y: Value, lambd: Value) -> Value:
    """Only inside the band is y zero."""
    y = op.plain(y)
    return op.unless_nan(op.where(y.equals(0.0), 0.0, op.where(y.is_nan(), y, op.plain(g))), lambd)


@declare(
    family=FAMILY,
    formula="where(x > lambd, x - lambd, where(x < -lambd, x + lambd, 0))",
    parameters=(Parameter("lambd", 0.5, within="at least 0"),),
    gradient=_shrink_gradient,
    backward=_shrink_backward,
    from_output=_softshrink_from_output,
    rejections=_BAND,
    silent=True,
    aliases=("soft_shrink",),
    numpy="np.sign(x)*np.maximum(np.abs(x) - lambd, 0)",
    peers={
        "torch": "torch.nn.functional.softshrink(x, lambd)",
        "jax": "jax.numpy.sign(x)*jax.numpy.maximum(jax.numpy.abs(x) - lambd, 0)",
        "numexpr": "where(x > lambd, x - lambd, where(x < -lambd, x + lambd, 0))",
    },
    critical=(-0.5, 0.0, 0.5),
    cite="Donoho 1995, De-noising by soft-thresholding",
)
def softshrink(x: Value, lambd: Value) -> Value:
    """x moved towards 0 by lambd, and 0 of its sign where that would pass it."""
    size, lambd = op.absolute(op.plain(x)), op.plain(lambd)
    return op.copysign(op.where(size <= lambd, 0.0, op.rounded_sum(size, -lambd)), op.plain(x))
