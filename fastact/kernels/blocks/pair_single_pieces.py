"""Functions on pairs of float32 that polynomials on intervals make."""

from __future__ import annotations

from fastact.kernels.blocks.exactly import fast_two_sum, two_product
from fastact.kernels.coefficients import PIECES
from fastact.kernels.operations import Value


def on_interval(x: Value, h: Value, name: str, j: Value, first: int = 0) -> Value:
    """a + b h + c h^2 + h^3 P(h), a, b and c pairs: the products of their first words are added exactly. ``first`` is
    what j is for the first interval, modulo 32."""
    rows = PIECES[name].coefficients

    def coefficient(k: int, part: int | None = None) -> Value:
        column = [row[k] if part is None else row[k][part] for row in rows] + [0.0] * (32 - len(rows))
        return h.lookup(tuple(column[-first:] + column[:-first]), j)

    p = coefficient(len(rows[0]) - 1)
    for k in reversed(range(3, len(rows[0]) - 1)):
        p = p.fma(h, coefficient(k))
    square, square_low = two_product(h, h)
    c = coefficient(2, 0)
    second, second_low = two_product(c, square)
    first_term, first_low = two_product(coefficient(1, 0), h)
    s, e = fast_two_sum(coefficient(0, 0), first_term)
    s, f = fast_two_sum(s, second)
    low = c.fma(square_low, second_low + (e + f) + first_low)
    low = coefficient(1, 1).fma(h, low + coefficient(0, 1))
    return x.pair(*fast_two_sum(s, square.fma(p.fma(h, coefficient(2, 1)), low)))
