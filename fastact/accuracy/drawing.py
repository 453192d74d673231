"""Inputs drawn for forms of several arguments: x or y, an incoming gradient and parameters.

Everything is deterministic from its seed. x: of 16 bits every number in turn; else half of them stratified
(`fastact.accuracy.samples`), a quarter uniform in [-30, 30] over the first parameter, a quarter short, with hardly more
than half of the digits and so with products that are ties. y: the function's values at such x. Incoming gradients: 1,
normal ones, short ones and ones of any binade, in equal parts. Parameters: in a quarter of the rows left out, where
that is allowed; of the others three in five their default times 2^-3 to 2^3, of either sign, one in five short, one in
five of any binade; where a declaration forbids them, the defaults. Of variants one input in four is where these matter.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastact.accuracy.measure import settings
from fastact.accuracy.samples import every, stratified
from fastact.accuracy.ulp import Doubles, Floats, Format, format_of, nearest
from fastact.cpu.kernels import inner_ufunc
from fastact.kernels import Declaration
from fastact.link.forms import Form, forms

VERSION = 1
"""Of what is drawn."""
SPECIAL = (np.nan, 0.0, -0.0)
"""The last arguments of forms that are no products; of infinite ones numerical limits are no truth everywhere."""
USUAL = 0.25
"""What a parameter without a default is near to."""


@dataclass(frozen=True)
class Drawn:
    """Columns in the order of the form's arguments. The parameters of the first ``left_out`` rows are the defaults, and
    are left out in calls."""

    columns: list[Floats]
    left_out: int

    def rows(self, kept: NDArray[np.bool_]) -> Drawn:
        """Some of the rows."""
        columns = [column[kept] for column in self.columns]
        return Drawn(columns, int(np.count_nonzero(kept[: self.left_out])))


def draw(declaration: Declaration, name: str, dtype: str, count: int, seed: int) -> Drawn:
    """At most ``count`` rows of inputs for a form."""
    form, kind = forms(declaration)[name], format_of(dtype)
    random = np.random.default_rng([seed, zlib.crc32(f"{declaration.name}.{name} {dtype}".encode())])
    left_out = count // 4 if form.usual else 0
    parameters = _parameters(declaration, form, kind, count, left_out, random)
    products = form.arguments[0] == "g"
    x = _arguments(declaration, kind, count, seed, parameters, products, random)
    variant = declaration.variant if form.base else None
    if variant is not None and variant.places is not None:
        x = _placed(x, variant.places, parameters, kind, random)
    with np.errstate(invalid="ignore"):  # of signalling NaNs of 16 bits
        kept = (x >= declaration.domain[0]) & (x <= declaration.domain[1])
        kept |= np.isnan(x) & (not products)
        kept &= ~np.isinf(x)
        if products and form.arguments[form.place] == "x":
            kept &= ~np.isin(x.astype(np.float64), declaration.poles)
        for parameter in parameters if variant and variant.formula else ():  # its kinks are a matter of taste
            kept &= (x != parameter) & (x != 1 - parameter)
    if form.arguments[form.place] == "y":
        # The value has the form's own parameters, and perhaps no further ones.
        value = forms(declaration)["value"]
        value = forms(declaration)[value.variant] if form.base and value.variant else value
        wanted = [p for p, par in zip(parameters, form.parameters, strict=True) if par in value.parameters]
        with np.errstate(all="ignore"):
            x = np.asarray(inner_ufunc(declaration.name, value.name, "exact")(x, *wanted))
        kept &= np.isfinite(x)
    columns = [_gradients(kind, count, random), x] if products else [x]
    return Drawn([*columns, *parameters], left_out).rows(kept)


def _cast(values: Any, kind: Format) -> Floats:
    limit = kind.largest
    with np.errstate(all="ignore"):
        return nearest(np.clip(values, -limit, limit), kind).astype(kind.dtype)


def _short(kind: Format, count: int, random: np.random.Generator) -> Doubles:
    """Numbers with little more than half of the digits."""
    digits = 2 * random.integers(0, 1 << (kind.precision // 2 + 1), count) + 1
    exponents = random.integers(kind.smallest_exponent // 3, 4, count) - kind.precision // 2
    return np.ldexp(digits.astype(np.float64), exponents) * random.choice([-1.0, 1.0], count)


def _anywhere(kind: Format, count: int, random: np.random.Generator) -> Doubles:
    exponents = random.uniform(kind.smallest_exponent, kind.largest_exponent, count)
    return np.exp2(exponents) * random.choice([-1.0, 1.0], count)


def _parameters(
    declaration: Declaration, form: Form, kind: Format, count: int, left_out: int, random: np.random.Generator
) -> list[Floats]:
    known = dict(zip((p.name for p in declaration.parameters), settings(declaration, kind.name), strict=True))
    usual = [known.get(p.name, p.default or USUAL) for p in form.parameters]
    wild, columns = random.uniform(size=count), []
    for value in usual:
        near = value * np.exp2(random.uniform(-3.0, 3.0, count)) * random.choice([1.0, 1.0, 1.0, -1.0], count)
        column = np.where(wild < 0.6, near, _short(kind, count, random))
        column = np.where(wild < 0.8, column, _anywhere(kind, count, random))
        column[:left_out] = value
        columns.append(_cast(column, kind))
    forbidden = np.zeros(count, dtype=np.bool_)
    for parameter, column in zip(form.parameters, columns, strict=True):
        low = -np.inf if parameter.above is None else parameter.above
        high = np.inf if parameter.below is None else parameter.below
        forbidden |= (column <= low) | (column >= high)
    own = form.base or form.name
    for rejection in declaration.rejections if columns else ():
        if not rejection.forms or own in rejection.forms or form.name in rejection.forms:
            places = rejection.violated.__code__.co_argcount  # type: ignore[attr-defined]
            if places == len(columns):
                forbidden |= np.asarray(rejection.violated(*columns))
    for value, column in zip(usual, columns, strict=True):
        column[forbidden] = _cast(np.array([value]), kind)[0]
    return columns


def _arguments(
    declaration: Declaration,
    kind: Format,
    count: int,
    seed: int,
    parameters: list[Floats],
    products: bool,
    random: np.random.Generator,
) -> Floats:
    if kind.width == 16:
        x = np.resize(every(kind), count)
        x = random.permutation(x)
        with np.errstate(invalid="ignore"):
            return np.where(np.isfinite(x), x, kind.dtype.type(1)).astype(kind.dtype) if products else x
    half, quarter = count // 2, count // 4
    first = stratified(kind, half, seed, declaration.critical, declaration.domain)
    near = random.uniform(-30.0, 30.0, quarter)
    short = _short(kind, count - half - quarter, random)
    if declaration.domain[0] >= 0:
        near, short = np.abs(near), np.abs(short)
    x = np.concatenate([first, _cast(near, kind), _cast(short, kind)])
    order = random.permutation(count)
    x = x[order]
    if parameters:
        scaled = order >= half
        scaled &= order < half + quarter
        with np.errstate(all="ignore"):
            quotient = x.astype(np.float64) / parameters[0].astype(np.float64)
        x = np.where(scaled & np.isfinite(quotient), _cast(quotient, kind), x).astype(kind.dtype)
    if not products:
        x[-len(SPECIAL) :] = SPECIAL
    return x


def _placed(x: Floats, places: Any, parameters: list[Floats], kind: Format, random: np.random.Generator) -> Floats:
    """The inputs, but one in four, without regard to what it was, where a variant matters."""
    steps = random.choice([-1.0, 1.0], x.size) * random.choice([1.0, 0.5, 2.0 / 3.0], x.size)
    steps = np.where(random.uniform(size=x.size) < 0.75, random.uniform(-1.0, 1.0, x.size), steps)
    with np.errstate(all="ignore"):
        found = places(steps, *(parameter.astype(np.float64) for parameter in parameters))
        chosen = (random.uniform(size=x.size) < 0.25) & np.isfinite(found) & ~np.isnan(x)
        return np.where(chosen, _cast(np.where(chosen, found, 0.0), kind), x).astype(kind.dtype)


def _gradients(kind: Format, count: int, random: np.random.Generator) -> Floats:
    normal = random.standard_normal(count)
    short, anywhere = (drawn(kind, count, random) for drawn in (_short, _anywhere))
    return _cast(np.choose(random.integers(0, 4, count), [np.ones(count), normal, short, anywhere]), kind)
