"""Products and quotients with an exponential that may overflow or vanish while they do not."""

from __future__ import annotations

from fastact.kernels.blocks.roots import exp_in_products
from fastact.kernels.operations import Value, exp2, one_plus, one_plus_exp, plain


def over_one_plus_exp(x: Value, t: Value) -> Value:
    """x/(1 + exp(t)) for an x and a t of a size, or for any t and x = 1."""
    context = plain(t).context
    if context.arithmetic.short:
        return context.blocks.over_one_plus_exp(plain(x), plain(t))
    return 1.0 / one_plus_exp(t) if isinstance(x, float) else x / one_plus(exp_in_products(t))


def times_exp2(factor: Value, x: Value) -> Value:
    """A factor times 2^x, which may overflow while the product does not."""
    context = plain(x).context
    return context.blocks.exp2(plain(x), factor) if context.arithmetic.short else factor * exp2(x)
