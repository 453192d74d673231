"""Signatures and docstrings of the public objects, built from the declarations."""

from __future__ import annotations

import inspect
from typing import Any

from fastact.arguments import OFFERED
from fastact.kernels import Declaration, Parameter
from fastact.link.forms import Form, summed_parameter
from fastact.published import accuracy

OPTIONS: dict[str, object] = {
    "where": True,
    "casting": "same_kind",
    "order": "K",
    "dtype": None,
    "subok": True,
}
"""Keyword arguments that every ufunc has, with their defaults."""


def title(declaration: Declaration, form: Form) -> str:
    """The name under which users reach a form."""
    return declaration.name if "value" in (form.name, form.base) else f"{declaration.name}.{attribute(form)}"


def attribute(form: Form) -> str:
    """The attribute of a function that holds a form, or the one that it is a variant of."""
    name = form.base or form.name
    return "backward_from_output" if name == "from_output" else name


def further(declaration: Declaration, form: Form) -> tuple[Parameter, ...]:
    """The parameters that make a form's variant of it, by keyword only."""
    return () if declaration.variant is None or not form.variant else declaration.variant.parameters


def lacking(declaration: Declaration, form: Form) -> list[str]:
    """The further parameters of other forms that one does not take."""
    variant = declaration.variant
    return [] if variant is None or form.variant or form.base else [p.name for p in variant.parameters]


def signature(declaration: Declaration, form: Form) -> inspect.Signature:
    """How a form is called: arrays by position, parameters by position or keyword, options by keyword."""
    kind = inspect.Parameter
    own = {p.name: p for p in form.parameters}
    found = []
    for name in form.arguments:
        if name in own:
            default = kind.empty if own[name].default is None else _plain(own[name].default)
            found.append(kind(name, kind.POSITIONAL_OR_KEYWORD, default=default))
        else:
            found.append(kind(name, kind.POSITIONAL_ONLY))
    found.append(kind("out", kind.POSITIONAL_OR_KEYWORD, default=None))
    found.extend(kind(p.name, kind.KEYWORD_ONLY, default=None) for p in further(declaration, form))
    found.append(kind("approx", kind.KEYWORD_ONLY, default=None))
    found.extend(kind(name, kind.KEYWORD_ONLY, default=default) for name, default in OPTIONS.items())
    return inspect.Signature(found)


def _plain(value: float | None) -> float | int | None:
    return int(value) if value is not None and value == int(value) else value


_ARRAYS = {
    "x": "Input values.",
    "y": "Output of the function, {name}(x).",
    "g": "Gradient with respect to the output of the function.",
}


def _meaning(declaration: Declaration, form: Form) -> str:
    name, kind = declaration.name, form.name
    if kind == "value":
        return declaration.summary
    if kind == "from_output":
        without = " or ".join(lacking(declaration, form))
        more = f" It takes no {without}, as `backward` does: y does not tell all about x." if without else ""
        return f"g times the derivative of {name} with respect to x, from the output y = {name}(x) alone.{more}"
    what = kind.partition("_")[2] or "x"
    summed = "" if not summed_parameter(form) else f", summed over the axes along which {what} is broadcast"
    pseudo = next((p.pseudo for p in declaration.parameters if p.name == what and p.pseudo), "")
    if pseudo:
        product = "" if kind.startswith("grad") else "g times "
        return f"{product}a pseudo-derivative of {name} with respect to {what}{summed}: {pseudo}.".capitalize()
    if kind.startswith("grad"):
        return f"The derivative of {name} with respect to {what}."
    return f"g times the derivative of {name} with respect to {what}{summed}, in one pass."


def _range(parameter: Parameter) -> str:
    if parameter.within:
        return f" It is {parameter.within}; NaN is passed on."
    bounds = []
    if parameter.above is not None:
        bounds.append(f"above {parameter.above:g}")
    if parameter.below is not None:
        bounds.append(f"below {parameter.below:g}")
    return f" It lies {' and '.join(bounds)}; NaN is passed on." if bounds else ""


def describe(declaration: Declaration, form: Form) -> str:
    """The docstring of a form."""
    name = title(declaration, form)
    arrays = [a for a in form.arguments if a in _ARRAYS]
    lines = [f"{name}{signature(declaration, form)}", "", _meaning(declaration, form), ""]
    called = ", ".join(["x", *(p.name for p in declaration.parameters)])
    lines += [f"    {declaration.name}({called}) = {declaration.formula}", "", "Parameters", "----------"]
    for array in arrays:
        lines += [f"{array} : array_like", f"    {_ARRAYS[array].format(name=declaration.name)}"]
    for p in form.parameters:
        default = "" if p.default is None else f", default {p.default:.17g}"
        lines += [
            f"{p.name} : array_like{default}",
            f"    Broadcasts against x; a Python number takes the dtype of x.{_range(p)}",
            *([f"    {p.summary}"] if p.summary else []),
        ]
    for p in further(declaration, form):
        lines += [
            f"{p.name} : array_like, optional, by keyword only",
            f"    {p.summary or 'A further parameter.'}{_range(p)}",
        ]
    lines += [
        "out : ndarray, optional",
        "    Where the result is put; it may be one of the inputs.",
        "approx : {'exact', 'fast', 'rough'}, bool or None",
        "    Precision tier; False is 'exact', True is 'fast', None the tier of the surrounding",
        "    ``fastact.precision(...)``, which is 'exact' outside any.",
        ", ".join(OPTIONS),
        "    As in every NumPy ufunc.",
        "",
        "Returns",
        "-------",
        "ndarray or scalar",
        *_returned(form),
        "    booleans and integers become floats as in `np.exp`.",
        "",
        "Raises",
        "------",
        "TypeError: other dtypes (complex, longdouble, object, strings); wrong arguments.",
        f"ValueError: an unknown tier; shapes that do not broadcast{_out_of_range(declaration, form)}.",
        "FloatingPointError: where `np.errstate` asks for it.",
    ]
    measured = accuracy(declaration.name, form.name, tuple(p.name for p in declaration.parameters))
    if measured:
        lines += ["", "Accuracy", "--------", *measured]
    if declaration.cite:
        lines += ["", "References", "----------", declaration.cite]
    return "\n".join(lines)


def _returned(form: Form) -> list[str]:
    summed = summed_parameter(form)
    if not summed:
        return [f"    Of the broadcast shape. There are loops for {OFFERED};"]
    return [
        f"    Of the shape of {summed}; ``where`` says which terms count. Products are rounded to float32, of float64",
        "    to float64, and added in float64 in an order that depends on the shapes only; the sum is rounded to the",
        "    dtype of the result. Where there is nothing to add, products are rounded to that dtype at once.",
        "    ``.ufunc(tier)`` is the product for each element.",
        f"    The dtypes are {OFFERED};",
    ]


def _out_of_range(declaration: Declaration, form: Form) -> str:
    offered = (*form.parameters, *further(declaration, form))
    names = [p.name for p in offered if p.above is not None or p.below is not None]
    reasons = [f"; {' or '.join(names)} out of range"] if names else []
    reasons += [f"; {r.reason}" for r in declaration.rejections if not r.forms or form.name in r.forms]
    return "".join(reasons)


class Derived:
    """An attribute of doors that is worked out when it is asked for; their class has one of its own."""

    def __init__(self, make: Any, own: Any = None) -> None:
        self._make, self._own = make, own

    def __get__(self, door: Any, kind: type) -> Any:
        if door is not None:
            return self._make(door._declaration, door._form)
        if self._own is None:
            raise AttributeError
        return self._own
