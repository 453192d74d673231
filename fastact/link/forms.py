"""The forms of a function: its value, its gradients and their products with an incoming gradient.

A kernel is one form in one dtype and one tier; everything about it follows from the declaration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fastact.kernels.declare import Declaration, Parameter

if TYPE_CHECKING:
    from fastact.link.graph import Graph


@dataclass(frozen=True)
class Form:
    """A body with the names of its arguments; ``place`` is the position of x among them, and the parameters follow it.

    ``variant`` names the form that takes over when one of its further parameters is given by keyword, ``usual`` the one
    for calls that leave all parameters out: they are constants of it, ``fixed``. ``base`` is the way back from both.
    ``settled``: float64 is known to be enough for float32 ``exact``; elsewhere close cases have to be decided.
    ``words`` is a body in words of float32 that comes before that.
    """

    name: str
    body: Callable[..., Any]
    arguments: tuple[str, ...]
    place: int = 0
    parameters: tuple[Parameter, ...] = ()
    variant: str = ""
    usual: str = ""
    base: str = ""
    fixed: tuple[float, ...] = ()
    settled: bool = False
    words: Callable[..., Any] | None = None

    @property
    def products(self) -> bool:
        """Whether results are gradients, as they are in any format, times a further input."""
        return hasattr(self.body, "products")

    def multiplied(self, dtype: str) -> bool:
        """Whether further inputs, parameters among them, come as factors of what is smaller than any of them."""
        further = bool(self.parameters) or "from_output" in (self.name, self.base)
        return self.products or (further and dtype == "float64")


def _times(gradient: Callable[..., Any]) -> Callable[..., Any]:
    def backward(g: Any, x: Any, *parameters: Any) -> Any:
        from fastact.kernels.blocks.products import times_gradient

        return times_gradient(g, gradient(x, *parameters), backward, (g, x, *parameters))

    backward.products = True  # type: ignore[attr-defined]

    return backward


def forms(declaration: Declaration) -> dict[str, Form]:
    """All forms of a function by name: value, grad, backward, from_output where there is one, for each learned
    parameter p grad_p and backward_p, variants named q_grad and so on after their first further parameter q, and
    usual_value and so on with parameters held at their defaults."""
    inputs = ("x", *(p.name for p in declaration.parameters))
    found = [
        Form("value", declaration.value, inputs),
        Form("grad", declaration.gradient, inputs),
        Form("backward", declaration.backward or _times(declaration.gradient), ("g", *inputs), 1),
    ]
    if declaration.from_output is not None:
        found.append(Form("from_output", declaration.from_output, ("g", "y", *inputs[1:]), 1))
    for parameter in declaration.parameters:
        if parameter.gradient is not None:
            backward = parameter.backward or _times(parameter.gradient)
            found.append(Form(f"grad_{parameter.name}", parameter.gradient, inputs))
            found.append(Form(f"backward_{parameter.name}", backward, ("g", *inputs), 1))
    for form in tuple(found):
        variant = _variant(declaration, form)
        if variant is not None:
            found.append(variant)
            found[found.index(form)] = replace(form, variant=variant.name)
    complete = {
        form.name: replace(
            form,
            parameters=_parameters(declaration, form),
            settled=declaration.silent or form.name in declaration.settled,
            words=declaration.words.get(form.name),
        )
        for form in found
    }
    for form in tuple(complete.values()):
        usual = _usual(form)
        if usual is not None:  # and nothing is settled of other values of the parameters
            form = replace(form, settled=False, words=None)
            complete[usual.name] = usual
            complete[form.name] = replace(form, usual=usual.name)
    return complete


def _usual(form: Form) -> Form | None:
    """The form with parameters held at their defaults; None where it has no parameters, or ones without defaults, and
    for products that are summed, of which the parameter's shape is wanted."""
    fixed = tuple(p.default for p in form.parameters if p.default is not None)
    if not fixed or len(fixed) < len(form.parameters) or form.base or summed_parameter(form):
        return None
    return replace(
        form,
        name=f"usual_{form.name}",
        arguments=form.arguments[: form.place + 1],
        parameters=(),
        variant="",
        base=form.name,
        fixed=fixed,
    )


def summed_parameter(form: Form) -> str:
    """The parameter p of a product backward_p, to the shape of which the product is summed; "" for other forms."""
    kind, _, name = (form.base or form.name).partition("_")
    return name if kind == "backward" and name in form.arguments else ""


def usual_form(declaration: Declaration, form: str) -> str:
    """The form that stands in for another where all parameters are left out; that one itself where none may be."""
    return forms(declaration)[form].usual or form


def _variant(declaration: Declaration, form: Form) -> Form | None:
    """The form with the further parameters of the variant; None where it has none."""
    variant = declaration.variant
    if variant is None or form.name not in variant.bodies:
        return None
    names = [parameter.name for parameter in variant.parameters]
    label, body = f"{names[0]}_{form.name}", variant.bodies[form.name]
    return Form(label, body, (*form.arguments, *names), form.place, base=form.name)


def _parameters(declaration: Declaration, form: Form) -> tuple[Parameter, ...]:
    further = () if declaration.variant is None else declaration.variant.parameters
    known = {parameter.name: parameter for parameter in (*declaration.parameters, *further)}
    return tuple(known[name] for name in form.arguments[form.place + 1 :])


@dataclass(frozen=True)
class Kernel:
    """A form linked for a dtype and a tier, ready to be compiled."""

    graph: Graph
    evidence: Graph | None
    varying: int = 0
    """How many inputs come before the parameters, which are often single numbers; 0 without parameters."""


BIASED = "biased"
"""The value of x + b, a sum rounded to the dtype, with all parameters left out; not a form that users reach."""


def kernel(declaration: Declaration, form: str, dtype: str, tier: str) -> Kernel:
    """The kernel of a function's form in a dtype and a tier."""
    from fastact.link.close import settled
    from fastact.link.evidence import alarm, evidence
    from fastact.link.linker import link

    summed = form == BIASED
    form = usual_form(declaration, "value") if summed else form
    chosen = forms(declaration)[form]
    count = len(chosen.arguments)
    from_input = "from_output" not in (form, chosen.base)
    poles = declaration.poles if from_input else ()
    varying, known = chosen.place + 1 if chosen.parameters else 0, settled(declaration, chosen, dtype)
    domain = declaration.domain if from_input else (float("-inf"), float("inf"))
    if declaration.silent:
        graph = link(chosen.body, count, dtype, tier, None, known, chosen.fixed, summed=summed)
        return Kernel(graph, None, varying)
    flags = alarm(domain, poles, chosen.place)
    products = chosen.multiplied(dtype)
    words = chosen.words
    graph = link(chosen.body, count, dtype, tier, flags, known, chosen.fixed, products, summed, words=words)
    outputs = sum(node.type != "i1" for node in graph.outputs)
    roots: tuple[float, ...] = ()
    if "value" in (form, chosen.base):
        roots = declaration.roots
    else:
        poles = (*poles, *(declaration.gradient_poles if from_input else declaration.output_poles))
    held = chosen.base == "value" and declaration.variant is not None and declaration.variant.held
    judge = evidence(count + summed, outputs, dtype, poles, roots, chosen.place, summed, held)
    return Kernel(graph, judge, varying)
