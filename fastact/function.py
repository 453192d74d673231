"""The public object of a function: it picks the tier and the form, and otherwise behaves as a NumPy ufunc."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import copysign
from typing import Any

import numpy as np
from numpy import ndarray

from fastact import reduced
from fastact.arguments import check_asked, check_range, check_rejections, check_rounded, elsewhere, fault, settle
from fastact.cpu import threads
from fastact.cpu.failures import failures
from fastact.documentation import Derived, describe, further, lacking, signature, title
from fastact.kernels import REGISTRY, Declaration, Parameter
from fastact.known import Known
from fastact.link.forms import Form, forms, summed_parameter
from fastact.precision import ACCEPTED, Approx, current, parse

_UNTYPED = frozenset({"out", "where", "casting", "order", "subok"})
"""Options that do not choose a dtype."""
_MOST_SETTLED = 100
"""Sets of parameters that a door remembers with the dtype they were given."""
_ABSENT: Any = object()


class Door:
    __doc__ = Derived(describe, "One form of a function, callable like a ufunc with ``approx=`` besides.")  # type: ignore[assignment]
    __signature__ = Derived(signature)

    def __init__(self, declaration: Declaration, form: Form) -> None:
        self._declaration, self._form = declaration, form
        self._variant: Door | None = None
        self._usual: Door | None = None
        self._further: frozenset[str] = frozenset()
        self._rejections = [r for r in declaration.rejections if not r.forms or form.name in r.forms]
        self._ufuncs: dict[str, np.ufunc] = {}
        self._inputs, self._place = len(form.arguments), form.place
        self._parameters: tuple[Parameter, ...] = form.parameters
        self._required = self._inputs - len(self._parameters)
        self._own = frozenset(p.name for p in self._parameters)
        self._settled: dict[Any, tuple[Any, ...]] = {}
        self._untyped = self._own | _UNTYPED
        self._plain = {} if self._parameters else self._ufuncs
        """The ufuncs by tier for calls that leave all parameters out."""
        self._known = Known(self, Door.__call__)
        self.__name__ = self.__qualname__ = title(declaration, form)
        self.__module__ = "fastact"

    # -- the call -----------------------------------------------------------------------------------------------
    def __call__(self, *args: Any, approx: Approx = None, **options: Any) -> Any:
        # Calls like earlier ones do not come here: see `fastact.known`.
        tier = approx if type(approx) is str else current() if approx is None else parse(approx)
        ufunc, given, asked = None, args, options.copy() if self._known.learns else options
        if len(options) < 2 and len(args) == self._required and type(args[0]) is type(args[-1]) is ndarray:
            if not options or type(options.get("out")) is ndarray:
                ufunc = self._plain.get(tier)
        if ufunc is None:
            if self._variant is not None and not self._further.isdisjoint(options):
                options = {n: value for n, value in options.items() if value is not None or n not in self._further}
                if not self._further.isdisjoint(options):
                    return self._variant(*args, approx=approx, **options)
            if elsewhere(args, options):
                return self._on_device(args, approx, options)
            door = self
            if self._parameters:
                if self._usual is not None and len(args) == self._required and self._own.isdisjoint(options):
                    door = self._usual
                else:
                    args = self._complete(args, options)
            ufunc = door._ufuncs.get(tier) or door.ufunc(tier)
        try:
            x = args[self._place]
            if type(x) is ndarray and x.size >= threads.SMALLEST:
                result = threads.call(ufunc, args, options, x)
            else:
                result = ufunc(*args, **options)
        except Exception as error:
            self._explain(error, ufunc, args, options)
            raise
        if failures:
            failures.report(ufunc.__name__)
        if self._known.learns:
            self._known.learn(ufunc, given, args, asked, approx, self._required, self._settled)
        return result

    def _on_device(self, args: tuple[Any, ...], approx: Approx, options: dict[str, Any]) -> Any:
        from fastact.cuda.call import Target, call

        target = Target(self.__name__, self._declaration.name, self._form, self._declaration.rejections)
        return call(target, parse(approx), args, options)

    def _complete(self, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, ...]:
        """The positional arguments with the parameters among them, taken from keywords and defaults, and checked.

        Where all parameters are left out and have defaults, there is a ufunc of the other arguments alone instead."""
        required, place, settled = self._required, self._place, self._settled
        count, key = len(args), None
        x = args[place] if count > place else None
        if type(x) is ndarray and (not place or (type(args[0]) is ndarray and args[0].dtype is x.dtype)):
            # calls as they mostly are: arrays of one dtype, and parameters that are numbers
            named = [item for item in options.items() if item[0] in self._own]
            numbers = [*args[required:], *(value for _, value in named)]
            if all([type(value) is float for value in numbers]):
                if len(named) == len(options) or options.keys() <= self._untyped:
                    key = x.dtype, args[required:], *named
                    if not all(numbers):  # zeros are equal whatever their sign
                        key = *key, *[copysign(1.0, value) for value in numbers]
            if key in settled:
                for name, _ in named:
                    del options[name]
                return args[:required] + settled[key]
        if count < required:
            raise TypeError(self._fault(args, options))
        given = list(args)
        for place, parameter in enumerate(self._parameters, start=required):
            if place >= count:
                value = options.pop(parameter.name, _ABSENT)
                if value is _ABSENT:
                    value = parameter.default
                    if value is None:
                        raise TypeError(f"{self.__name__}() is missing its argument {parameter.name}")
                    given.append(value)
                    continue
                given.append(value)
            elif parameter.name in options:
                raise TypeError(f"{self.__name__}() got {parameter.name} both by position and by name")
            if parameter.above is not None or parameter.below is not None:
                check_range(self.__name__, parameter, given[place])
        if self._rejections:
            check_rejections(self.__name__, self._rejections, given[: self._inputs], required)
        if not options or options.keys() <= _UNTYPED:
            inputs = settle(given[: self._inputs], required)
            check_rounded(self.__name__, self._parameters, self._rejections, given, inputs, required)
            given[: self._inputs] = inputs
            if key is not None and len(settled) < _MOST_SETTLED and all(type(p) is ndarray for p in given[required:]):
                if np.isfinite(given[required:]).all():  # else there was a warning, which is due in every call
                    settled[key] = tuple(given[required:])
        else:
            check_asked(self.__name__, self._parameters, self._rejections, given[: self._inputs], options, required)
        return tuple(given)

    def _fault(self, args: tuple[Any, ...], options: dict[str, Any]) -> str | None:
        names = [parameter.name for parameter in further(self._declaration, self._form)]
        for name in lacking(self._declaration, self._form):
            if name in options:
                bodies = self._declaration.variant.bodies  # type: ignore[union-attr]
                known = forms(self._declaration)
                others = (title(self._declaration, known[form]) for form in bodies)
                reason = ": y does not tell all about x" if self._form.name == "from_output" else ""
                return f"{self.__name__}() has no argument {name!r}, which {' and '.join(others)} have{reason}"
        return fault(self.__name__, self._form.arguments, len(self._parameters), args, options, names)

    def _explain(self, error: Exception, ufunc: np.ufunc, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        """Raise a clearer error than the one that a ufunc had for a call, if there is one."""
        if failures:
            failures.report(ufunc.__name__)
        if isinstance(error, (TypeError, IndexError)):
            text = self._fault(args, options)
            if text is not None:
                raise TypeError(text) from (error if isinstance(error, TypeError) else None)

    # -- the pieces -----------------------------------------------------------------------------------------------
    def ufunc(self, approx: Approx = None) -> np.ufunc:
        """The inner ``np.ufunc`` of a tier; parameters are positional arguments without defaults there, and nothing
        looks at their ranges: outside them the formula is computed as it stands, so far as it goes.

        Calls that leave all parameters out run another one, of which the defaults are constants: sooner, with the same
        bits in ``exact``, and within the same bounds in the other tiers."""
        tier = parse(approx)
        found = self._ufuncs.get(tier)
        if found is None:
            from fastact.cpu.kernels import inner_ufunc

            found = self._ufuncs[tier] = inner_ufunc(self._declaration.name, self._form.name, tier)
        return found

    def scalar(self, approx: Approx = None) -> Any:
        """The function of a tier as a Numba function of numbers, inlined into compiled code that calls it."""
        from fastact.cpu.numba.functions import scalar

        return scalar(self._declaration.name, self._form.name, parse(approx))

    def vectorized(self, approx: Approx = None) -> Any:
        """The function of a tier as a Numba ``DUFunc``; its parameters are positional arguments without defaults."""
        from fastact.cpu.numba.functions import vectorized

        return vectorized(self._declaration.name, self._form.name, parse(approx))

    def device(self, approx: Approx = None) -> Any:
        """The function of a tier as a device function, for ``@cuda.jit`` kernels to call with numbers."""
        from fastact.cuda.device import device

        return device(self._declaration.name, self._form.name, parse(approx))

    def cuda(self, approx: Approx = None) -> Any:
        """The kernel of a tier, to be launched as ``f.cuda("fast")[blocks, threads, stream](x, out)``; where no grid is
        given it chooses one. The output is the last argument, and parameters come before it."""
        from fastact.cuda.call import Target
        from fastact.cuda.device import Launchable

        target = Target(self.__name__, self._declaration.name, self._form, self._declaration.rejections)
        return Launchable(target, parse(approx))

    @property
    def _numba_type_(self) -> Any:
        """What Numba asks for when it meets this object in a function that it compiles."""
        from fastact.cpu.numba.extension import door_type

        return door_type(self._declaration.name, self._form.name)

    @property
    def nin(self) -> int:
        """Number of inputs, parameters counted."""
        return self._inputs

    @property
    def nout(self) -> int:
        """Number of outputs."""
        return 1

    @property
    def nargs(self) -> int:
        """Number of inputs and outputs."""
        return self._inputs + 1

    @property
    def types(self) -> list[str]:
        """The loops for NumPy's own dtypes, as ``np.ufunc.types`` has them; there is one for bfloat16 besides."""
        return list(self.ufunc("exact").types)

    @property
    def ntypes(self) -> int:
        """Number of loops for NumPy's own dtypes."""
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


class Summed(Door):
    """g df/dp summed over the axes along which p was broadcast: an array of the shape of p."""

    __doc__ = Derived(describe, __doc__)  # type: ignore[assignment]

    def __call__(self, *args: Any, approx: Approx = None, **options: Any) -> Any:
        if self._variant is not None and any(options.get(name) is not None for name in self._further):
            return self._variant(*args, approx=approx, **options)
        options = {name: value for name, value in options.items() if name not in self._further}
        if elsewhere(args, options):
            return self._on_device(args, approx, options)
        ufunc = self.ufunc(approx)
        args = self._complete(args, options)
        place = self._form.arguments.index(summed_parameter(self._form))
        try:
            result = reduced.call(self.__name__, ufunc, args, options, place)
        except Exception as error:
            self._explain(error, ufunc, args, options)
            raise
        if failures:
            failures.report(ufunc.__name__)
        return result


class Function(Door):
    __doc__ = Derived(describe, "A function with its gradients: `grad`, `backward` and `backward_from_output`.")  # type: ignore[assignment]

    def __init__(self, declaration: Declaration) -> None:
        available = forms(declaration)
        super().__init__(declaration, available["value"])
        self._doors = {
            name: (Summed if summed_parameter(form) else Door)(declaration, form)
            for name, form in available.items()
            if name != "value"
        }
        for door in (self, *self._doors.values()):
            if door._form.variant:
                door._variant = self._doors[door._form.variant]
                door._further = frozenset(p.name for p in declaration.variant.parameters)  # type: ignore[union-attr]
            if door._form.usual and not isinstance(door, Summed):
                door._usual = self._doors[door._form.usual]
                door._plain = door._usual._ufuncs
        # The gradients with respect to parameters, as grad_beta and backward_beta. A method __getattr__ would make all
        # attributes slow, those that a call needs, too.
        for name, door in self._doors.items():
            if not door._form.base and name not in ("grad", "backward", "from_output"):
                setattr(self, name, door)

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
        if "from_output" not in self._doors:
            reason = "does not determine its gradient, or not in closed form"
            raise AttributeError(f"the output of {self.__name__} {reason}; use .backward(g, x)")
        return self._doors["from_output"]

    @property
    def formula(self) -> str:
        """The formula that the function is tested against."""
        return self._declaration.formula

    def __dir__(self) -> list[str]:
        doors = {name for name, door in self._doors.items() if not door._form.base}
        names = {*super().__dir__(), *doors} - {"from_output"}
        return sorted(names if "from_output" in self._doors else names - {"backward_from_output"})


def _find(name: str, form: str) -> Door:
    function = FUNCTIONS[name]
    return function if form == "value" else function._doors[form]


class Functions(Mapping[str, Function]):
    """All functions by name. Each comes into being when it is asked for, so that importing them costs little."""

    def __init__(self) -> None:
        self.kinds: dict[str, type[Function]] = {}
        """The classes of those that are more than a kernel."""
        self._made: dict[str, Function] = {}

    def __getitem__(self, name: str) -> Function:
        found = self._made.get(name)
        if found is None:
            kind = self.kinds.get(name, Function)
            found = self._made.setdefault(name, kind(REGISTRY[name]))  # the one that others got, if they were quicker
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(REGISTRY)

    def __len__(self) -> int:
        return len(REGISTRY)


FUNCTIONS = Functions()
__all__ = ["ACCEPTED", "FUNCTIONS", "Door", "Function"]
