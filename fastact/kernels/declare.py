"""What a function declares about itself, and the registry of all declarations.

A declaration holds the mathematics (the bodies) and the facts that everything else is derived from: tiers,
dtypes, gradient checks, special values, benchmarks, accuracy rows, stubs and documentation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

Body = Callable[..., object]

REGISTRY: dict[str, Declaration] = {}
ALIASES: dict[str, str] = {}


@dataclass(frozen=True)
class Parameter:
    """A parameter that broadcasts like an array, in the order in which it follows ``x``.

    ``above``/``below`` are exclusive limits outside which the value is an error; NaN always passes and propagates.
    ``learned`` says that networks train it, so that its gradient is offered too.
    """

    name: str
    default: float | None = None
    above: float | None = None
    below: float | None = None
    within: str = ""
    """The values that are allowed, in words, where rejections say more than the limits."""
    learned: bool = False
    gradient: Body | None = None
    backward: Body | None = None
    """Body of (g, x, *parameters) where the plain product g * gradient will not do."""
    pseudo: str = ""
    """What ``gradient`` computes where that is not the derivative of the formula, as a formula itself."""
    summary: str = ""
    """What it does, in a sentence, where the name and the formula do not tell."""


@dataclass(frozen=True)
class Rejection:
    """Values of the parameters that make no sense: ``violated``, a function of the form's parameters, is true there."""

    reason: str
    violated: Body
    forms: tuple[str, ...] = ()
    """The forms that cannot do with such values; none named are all."""


@dataclass(frozen=True)
class Variant:
    """What a function's forms become when a further parameter is given, which has to be by keyword.

    Without one the form stays as it is: no argument is passed, and constants are exact that no float can stand for.
    """

    parameters: tuple[Parameter, ...]
    bodies: dict[str, Body]
    """Form -> body of the form's own arguments and then these parameters."""
    formula: str = ""
    """The truth for ``value``, where that is among the bodies, and by its derivative for the gradient."""
    slopes: dict[str, str] = field(default_factory=dict)
    """Form -> the truth for a gradient that is no derivative of a formula; from_output is one in x, the output."""
    places: Body | None = None
    """Inputs at which the variant matters, as a function of numbers between -1 and 1 and the form's parameters."""
    held: bool = False
    """Whether inputs outside the domain are held at its ends, so that values are infinite as at poles, and nowhere
    else."""

    def slope(self, form: str) -> str:
        """The truth for a form and for its product with an incoming gradient; "" where there is none of its own."""
        return self.slopes.get(form, self.slopes.get(form.replace("backward", "grad"), ""))


@dataclass(frozen=True)
class Declaration:
    """One function: its bodies and its facts.

    ``formula`` is an expression in ``x`` and the parameters' names; arbitrary-precision evaluation of it is the
    only truth that the tests know. Its derivative, taken by the oracle itself, is the truth for ``gradient``.
    """

    name: str
    family: str
    formula: str
    value: Body
    gradient: Body
    parameters: tuple[Parameter, ...] = ()
    backward: Body | None = None
    """Body of (g, x, *parameters) where the plain product g * gradient will not do."""
    from_output: Body | None = None
    """Body of (g, y): the vector-Jacobian product from the output alone."""
    variant: Variant | None = None
    rejections: tuple[Rejection, ...] = ()
    aliases: tuple[str, ...] = ()
    domain: tuple[float, float] = (float("-inf"), float("inf"))
    """Where the value is a number, limits included; outside it the value is NaN and ``invalid`` is raised."""
    roots: tuple[float, ...] = ()
    """Inputs other than 0 whose value is exactly 0, so that a zero there has not underflowed."""
    poles: tuple[float, ...] = ()
    """Finite inputs whose value is infinite: there ``divide`` is raised."""
    gradient_poles: tuple[float, ...] = ()
    """Finite inputs whose value is a number and whose gradient is infinite, likewise."""
    output_poles: tuple[float, ...] = ()
    """Their values, at which the gradient from the output is infinite."""
    silent: bool = False
    """Selects among its inputs and constants only, so that no flag is ever justified."""
    settled: tuple[str, ...] = ()
    """Forms whose float64 evaluation, rounded once, is right on every float32 input, with parameters at their defaults,
    as their certificates prove; the close cases of all others are decided in double-double arithmetic."""
    words: dict[str, Body] = field(default_factory=dict)
    """Form -> body in words of float32 for float32 ``exact``, with parameters at their defaults: a result that is right
    everywhere, or one with a condition that holds where it may not be, which is then left to the other body."""
    critical: tuple[float, ...] = ()
    """Inputs whose neighbourhoods deserve attention: roots of the function and its gradient, saturation, seams."""
    gradient_roots: tuple[float, ...] = ()
    peers: dict[str, str] = field(default_factory=dict)
    """Library -> expression in ``x`` that computes the same function there."""
    numpy: str = ""
    """The formula a NumPy user would write, an expression in ``np``, ``x`` and the parameters' names."""
    cite: str = ""
    summary: str = ""


def declare(**facts: object) -> Callable[[Body], Body]:
    """Register the decorated body as the value of the function that bears its name."""

    def register(body: Body) -> Body:
        name = body.__name__
        declaration = Declaration(name=name, value=body, summary=(body.__doc__ or "").strip(), **facts)  # type: ignore[arg-type]
        if name in REGISTRY:
            raise ValueError(f"{name} is declared twice")
        REGISTRY[name] = declaration
        for alias in declaration.aliases:
            ALIASES[alias] = name
        return body

    return register


@dataclass(frozen=True)
class Gate:
    """A gated linear unit: a function of the gate a and a further input b, with both its gradients."""

    name: str
    formula: str
    """An expression in ``a`` and ``b``; the truth for ``value``, and by its derivatives for ``backward``."""
    value: Body
    """Body of (a, b)."""
    backward: Body
    """Body of (g, a, b), which returns the gradients with respect to a and b times g."""
    gate_last: bool = False
    """Of one array that is split, the second half is the gate."""
    numpy: str = ""
    peers: dict[str, str] = field(default_factory=dict)
    """Library -> expression in ``a`` and ``b`` that computes the same function there."""
    cite: str = ""
    summary: str = ""


GATES: dict[str, Gate] = {}


def declare_gate(backward: Body, **facts: object) -> Callable[[Body], Body]:
    """Register the decorated body as the value of the gate that bears its name."""

    def register(body: Body) -> Body:
        name = body.__name__
        if name in GATES or name in REGISTRY:
            raise ValueError(f"{name} is declared twice")
        GATES[name] = Gate(name, value=body, backward=backward, summary=(body.__doc__ or "").strip(), **facts)  # type: ignore[arg-type]
        return body

    return register
