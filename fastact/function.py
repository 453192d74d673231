"""The public object of a function: it picks the tier and the form, and otherwise behaves as a NumPy ufunc."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastact.kernels import REGISTRY, Declaration, Parameter
from fastact.link.forms import Form, forms
from fastact.precision import ACCEPTED, Approx, Tier, current, parse


class Door:
    """One form of a function, callable like a ufunc with ``approx=`` besides."""

    def __init__(self, declaration: Declaration, form: Form) -> None:
        self._declaration, self._form = declaration, form
        self._ufuncs: dict[str, np.ufunc] = {}
        self._inputs = len(form.arguments)
        self._parameters: tuple[Parameter, ...] = (
            declaration.parameters if len(form.arguments) > form.place + 1 else ()
        )
        self._required = self._inputs - len(self._parameters)
        self.__name__ = declaration.name if form.name == "value" else f"{declaration.name}.{form.name}"
        self.__qualname__ = self.__name__
        self.__module__ = "fastact"

    # -- the call -----------------------------------------------------------------------------------------------
    def __call__(self, *args: Any, approx: Approx = None, **options: Any) -> Any:
        tier = current() if approx is None else parse(approx)
        ufunc = self._ufuncs.get(tier) or self.ufunc(tier)
        if self._parameters:
            args = self._complete(args, options)
        if args and type(args[0]) is np.ndarray and args[0].size >= _threads.threshold:
            return _threads.call(ufunc, args, options)
        try:
            return ufunc(*args, **options)
        except TypeError:
            if self._add_bfloat16(ufunc, tier, args):
                return ufunc(*args, **options)
            raise

    def _complete(self, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, ...]:
        """The positional arguments with parameters taken from keywords and defaults, checked for their ranges."""
        given = list(args[: self._inputs])
        for place, parameter in enumerate(self._parameters, start=self._required):
            if place < len(given):
                if parameter.name in options:
                    raise TypeError(f"{self.__name__}() got multiple values for argument {parameter.name!r}")
                value = given[place]
            elif parameter.name in options:
                value = options.pop(parameter.name)
                given.append(value)
            elif parameter.default is None:
                raise TypeError(f"{self.__name__}() missing required argument: {parameter.name!r}")
            else:
                given.append(parameter.default)
                continue
            _check_range(self.__name__, parameter, value)
        return (*given, *args[self._inputs :])

    def _add_bfloat16(self, ufunc: np.ufunc, tier: Tier, args: tuple[Any, ...]) -> bool:
        if not any(getattr(getattr(a, "dtype", None), "name", "") == "bfloat16" for a in args):
            return False
        from fastact.cpu.kernels import with_bfloat16

        return with_bfloat16(ufunc, self._declaration.name, self._form.name, tier)

    # -- the pieces -----------------------------------------------------------------------------------------------
    def ufunc(self, approx: Approx = None) -> np.ufunc:
        """The inner ``np.ufunc`` of a tier; parameters are positional arguments without defaults there."""
        tier = parse(approx)
        found = self._ufuncs.get(tier)
        if found is None:
            from fastact.cpu.kernels import inner_ufunc

            found = self._ufuncs[tier] = inner_ufunc(self._declaration.name, self._form.name, tier)
        return found

    def scalar(self, approx: Approx = None) -> Any:
        """The function of a tier as a Numba function of numbers, inlined into compiled code that calls it."""
        from fastact.cpu.numba_functions import scalar

        return scalar(self._declaration.name, self._form.name, parse(approx))

    def vectorized(self, approx: Approx = None) -> Any:
        """The function of a tier as a Numba ``DUFunc``; its parameters are positional arguments without defaults."""
        from fastact.cpu.numba_functions import vectorized

        return vectorized(self._declaration.name, self._form.name, parse(approx))

    @property
    def _numba_type_(self) -> Any:
        """What Numba asks for when it meets this object in a function that it compiles."""
        from fastact.cpu.numba_extension import door_type

        return door_type(self._declaration.name, self._form.name)

    @property
    def nin(self) -> int:
        """Number of inputs, parameters counted."""
        return self._inputs

    @property
    def nout(self) -> int:
        return 1

    @property
    def nargs(self) -> int:
        return self._inputs + 1

    @property
    def types(self) -> list[str]:
        """The loops, as ``np.ufunc.types`` has them."""
        return list(self.ufunc("exact").types)

    @property
    def ntypes(self) -> int:
        return len(self.types)

    @property
    def parameters(self) -> dict[str, float | None]:
        """The parameters after x with their defaults; None where there is none."""
        return {p.name: p.default for p in self._parameters}

    def __repr__(self) -> str:
        return f"<fastact function '{self.__name__}'>"

    def __copy__(self) -> Door:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Door:
        return self

    def __reduce__(self) -> Any:
        return _find, (self._declaration.name, self._form.name)


class Function(Door):
    """A function with its gradients: see `grad`, `backward` and `backward_from_output`."""

    def __init__(self, declaration: Declaration) -> None:
        available = forms(declaration)
        super().__init__(declaration, available["value"])
        self._doors = {name: Door(declaration, form) for name, form in available.items() if name != "value"}
        self.__doc__ = describe(declaration)

    @property
    def grad(self) -> Door:
        """df/dx as a function of (x, *parameters)."""
        return self._doors["grad"]

    @property
    def backward(self) -> Door:
        """g df/dx in one pass, as a function of (g, x, *parameters)."""
        return self._doors["backward"]

    @property
    def backward_from_output(self) -> Door:
        """g df/dx from the output alone, as a function of (g, y, *parameters)."""
        door = self._doors.get("from_output")
        if door is None:
            raise AttributeError(f"the output of {self.__name__} does not determine its gradient; use .backward(g, x)")
        return door

    @property
    def formula(self) -> str:
        """The formula that the function is tested against."""
        return self._declaration.formula

    def __dir__(self) -> list[str]:
        names = list(super().__dir__())
        return [n for n in names if n != "backward_from_output" or "from_output" in self._doors]


def _check_range(name: str, parameter: Parameter, value: Any) -> None:
    if parameter.above is None and parameter.below is None:
        return
    try:
        numbers = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        return
    low = -np.inf if parameter.above is None else parameter.above
    high = np.inf if parameter.below is None else parameter.below
    bad = ~((numbers > low) & (numbers < high)) & ~np.isnan(numbers)
    if bad.any():
        raise ValueError(
            f"{name}: parameter {parameter.name} is {numbers[bad].flat[0]!s}, it must lie in ({low}, {high})"
        )


def _find(name: str, form: str) -> Door:
    function = FUNCTIONS[name]
    return function if form == "value" else function._doors[form]


def describe(declaration: Declaration) -> str:
    """The docstring of a function, from its declaration."""
    signature = ", ".join(
        ["x"] + [p.name if p.default is None else f"{p.name}={p.default:g}" for p in declaration.parameters]
    )
    lines = [
        f"{declaration.name}({signature}, /, out=None, *, approx=None, where=True, dtype=None, casting='same_kind', "
        "order='K', subok=True)",
        "",
        declaration.summary,
        "",
        f"Formula: {declaration.formula}",
    ]
    return "\n".join(lines)


class _Threads:
    """Stands in for the thread pool until an array is large enough to need it."""

    threshold = float("inf")

    def call(self, ufunc: np.ufunc, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        return ufunc(*args, **options)


_threads = _Threads()

FUNCTIONS: dict[str, Function] = {name: Function(declaration) for name, declaration in REGISTRY.items()}
__all__ = ["ACCEPTED", "FUNCTIONS", "Door", "Function"]
