"""Functions of straight and quadratic pieces, and their gradients, in words of float32: see `closely`."""

from __future__ import annotations

from fractions import Fraction

from fastact.kernels import operations as op
from fastact.kernels.blocks import closely
from fastact.kernels.blocks.exactly import fast_two_sum, two_product, two_sum
from fastact.kernels.operations import Value

THIRD, SIXTH = Fraction(1, 3), Fraction(1, 6)


def relu_squared_backward(g: Value, x: Value) -> tuple[Value, Value]:
    """Twice x is exact where it is finite, so that one operation is rounded."""
    return op.where(x <= 0.0, 0.0, g * (x + x)), x > 2.0**126


def star_relu(x: Value, scale: Value, bias: Value) -> tuple[Value, Value]:
    """The product in two words, to which the bias is added without error. An infinite product leaves no number there,
    for which any serves."""
    r = op.maximum(x, 0.0)
    p, e = two_product(r, scale)
    h = p * r
    t, rest = two_sum(h, bias)
    low = rest + e.fma(r, p.fma(r, -h))
    return closely.rounded(t, op.where(low < 2.0**120, low, 2.0**120))


def star_relu_backward(g: Value, x: Value, scale: Value, bias: Value) -> tuple[Value, Value]:
    """The product in two words."""
    twice = scale * 2.0
    p, e = two_product(g, x)
    h = p * twice
    odd = closely.beyond(abs(p), 2.0**100), closely.below(x, 2.0**-40)
    y, near = closely.rounded(h, e.fma(twice, p.fma(twice, -h)), *odd)
    near = (near | closely.tiny(g, 2.0**-60)) & (x > 0.0)
    return op.where(x <= 0.0, 0.0, y.copysign(p)), near


def hardsigmoid(x: Value) -> Value:
    return closely.line(op.clip(x, -3.0, 3.0), 3.0, 6)


def hardswish_gradient(x: Value) -> Value:
    inner = closely.line(x, 1.5, 3)
    return op.where(x >= 3.0, 1.0, op.where(x <= -3.0, 0.0, inner))


def _times_line(g: Value, x: Value, shift: float, part: Fraction) -> tuple[Value, Value, Value]:
    """g (s + d) in two words p + e, where s + d = x + shift, and a part of them: a little more, a little less, and p,
    whose sign is right."""
    high, low = closely.words(part)
    s, d = fast_two_sum(x.lift(shift), x)
    p, e = two_product(g, s)
    e = g.fma(d, e) * high
    above, less = (p.fma(high, p.fma(low + end, e)) for end in (2.0**-48, -(2.0**-48)))
    return above, less, p


def hardswish(x: Value) -> tuple[Value, Value]:
    """A sixth of x (x + 3). Of what is next to 0 the second word would be lost; the sign is that of x, be it next to -3
    or a zero."""
    y = op.maximum(x, -3.0)
    above, less, _ = _times_line(y, y, 3.0, SIXTH)
    near = closely.doubt(above, less) | closely.tiny(x, 2.0**-90)
    return op.copysign(op.absolute(op.where(x >= 3.0, x, above)), x), near


def hardswish_backward(g: Value, x: Value) -> tuple[Value, Value]:
    """A third of g (x + 3/2), of which many are ties where x is held at an end."""
    above, less, p = _times_line(g, op.clip(x, -3.0, 3.0), 1.5, THIRD)
    near = closely.doubt(above, less, closely.beyond(abs(g), 2.0**100)) | closely.tiny(g, 2.0**-60)
    return op.where(x >= 3.0, g, op.where(x <= -3.0, 0.0, above.copysign(p))), near & (abs(x) < 3.0)


def sparse_plus_backward(g: Value, x: Value) -> tuple[Value, Value]:
    """g (h + rest) with (x + 1)/2 = h + rest; where x is held at an end, the end times g. Of few digits nothing is
    dropped, and ties are ties."""
    y = op.clip(x, -1.0, 1.0)
    h = y.fma(0.5, 0.5)
    rest, (p, e) = y.fma(0.5, 0.5 - h), two_product(g, h)
    low = g.fma(rest, e)
    _, near = closely.rounded(p, low)
    moderate = (abs(g) < 2.0**100) & ~closely.tiny(g, 2.0**-60)
    near = (near & ~rest.equals(0.0) & ~e.equals(0.0) | ~moderate) & (abs(x) < 1.0)
    return op.where(x >= 1.0, g, op.where(x <= -1.0, 0.0, (p + low).copysign(p))), near


def sparse_plus(x: Value) -> tuple[Value, Value]:
    """(h + rest)^2 with (x + 1)/2 = h + rest: h^2 + 2 h rest, rounded once, since the square of the rest is nothing
    beside the doubt."""
    y = op.maximum(x, -1.0)
    h = y.fma(0.5, 0.5)
    rest = y.fma(0.5, 0.5 - h)
    above, less = (h.fma(h, h * (2.0 * end) * rest) for end in closely.ENDS)
    return op.where(x >= 1.0, x, above), closely.doubt(above, less)
