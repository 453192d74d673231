"""The front door's objects inside Numba's compiled code.

With this, ``fastact.exp(x, approx="fast")`` and its like can be written in any ``@njit`` function, for numbers and for
arrays, and mean there what they mean outside, bit for bit. What compiled code cannot have:

- The tier has to be a literal, and where it is left out (or None) it is ``exact``: compiled code does not see
  ``fastact.precision(...)``.
- A number given for a parameter, or next to an array, takes the dtype of x or of the array, as a Python number does in
  NumPy. Compiled code cannot tell 2.0 from np.float64(2.0).
- ``backward_weight`` and its like, which sum over the axes along which a parameter is broadcast, take numbers only, of
  which there is nothing to sum. The products of arrays, element by element, are ``f.backward_weight.vectorized(tier)``.
- Ranges of parameters are not checked, there is no float16, and of NumPy's options only ``out=``.
- With ``parallel=True`` a call with arrays stays on one thread; a ``prange`` loop over numbers, or the array calls of
  ``f.vectorized(tier)``, are shared out.

Numba learns of the objects when it first meets one, or before, through the entry point ``numba_extensions``.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

from numba.core import errors, types
from numba.core.imputils import lower_constant
from numba.core.registry import cpu_target
from numba.core.typing.templates import AttributeTemplate, Signature
from numba.extending import (
    NativeValue,
    infer_getattr,
    lower_builtin,
    lower_getattr_generic,
    models,
    register_model,
    unbox,
)

from fastact.cpu.numba import arrays
from fastact.cpu.numba.kernels import DTYPES, Kernel
from fastact.kernels import REGISTRY
from fastact.link.forms import Form, forms, summed_parameter
from fastact.precision import ACCEPTED, Tier

CHOICE = "write one of the literals 'exact' (or False), 'fast' (or True), 'rough'; None means 'exact' in compiled code"
SUMS = (
    "sums over the axes along which the parameter is broadcast, which compiled code cannot do; write the products of "
    "each element as a function made outside, by .vectorized(tier), and sum them"
)
ATTRIBUTES = {"backward_from_output": "from_output"}
"""Attributes of a function whose names differ from those of the forms they stand for."""


class DoorType(types.Callable, types.Dummy):  # type: ignore[misc]
    """Type of one front-door object: each is a type of its own, as functions are in Numba."""

    def __init__(self, function: str, form: str) -> None:
        self.function, self.form_name = function, form
        super().__init__(f"fastact.{function}.{form}")

    @property
    def form(self) -> Form:
        return forms(REGISTRY[self.function])[self.form_name]

    @property
    def title(self) -> str:
        """What users write for it; a variant goes by the name of the form that it stands in for."""
        form = self.form.base or self.form_name
        names = {of: attribute for attribute, of in ATTRIBUTES.items()}
        return f"fastact.{self.function}" if form == "value" else f"fastact.{self.function}.{names.get(form, form)}"

    def get_call_type(self, context: Any, args: Any, kws: Any) -> Any:
        form, named = self.form, dict(kws)
        further = _further(self)
        if any(not isinstance(named.get(name, types.none), types.NoneType) for name in further):
            return DoorType(self.function, form.variant).get_call_type(context, args, kws)
        strict, lenient = call_signatures(self.function, self.form_name)
        try:
            given = strict.bind(*args, **{name: kind for name, kind in named.items() if name not in further}).arguments
        except TypeError as error:
            raise errors.TypingError(f"{self.title}(): {error}") from None
        out, approx = given.get("out", types.none), given.get("approx", types.none)
        if _can_become_literal(approx, context):
            raise errors.ForceLiteralArg({len(form.arguments) + 1}, functools.partial(_fold, lenient))
        tier_of(self.title, approx)
        if form.usual and not any(parameter.name in given for parameter in form.parameters):
            return DoorType(self.function, form.usual).get_call_type(context, args, kws)
        operands = [given.get(name) for name in form.arguments]
        if summed_parameter(form) and any(isinstance(kind, types.Array) for kind in (*operands, out)):
            raise errors.TypingError(f"{self.title}() of arrays {SUMS}")
        dtype = _working_dtype(self, operands)
        inputs = [operand if isinstance(operand, types.Array) else dtype for operand in operands]
        result = _result(self, inputs, dtype, out)
        return Signature(result, (*inputs, out, approx, *[types.none] * len(further)), recvr=self, pysig=lenient)

    def get_call_signatures(self) -> Any:
        return [], True

    def get_impl_key(self, sig: Any) -> Any:
        return DoorType


def _further(door: DoorType) -> tuple[str, ...]:
    """The parameters that turn a call into one of the variant, where they are named and not None."""
    variant, form = REGISTRY[door.function].variant, door.form
    form = forms(REGISTRY[door.function])[form.base] if form.fixed else form
    return () if variant is None or not form.variant else tuple(p.name for p in variant.parameters)


@functools.cache
def call_signatures(function: str, form: str) -> tuple[inspect.Signature, inspect.Signature]:
    """What a call may look like; and all that Numba's lowering hands on, in its order, where everything has a place."""
    kind, door = inspect.Parameter, DoorType(function, form)
    inputs, positional = door.form.arguments, {"out", *(p.name for p in REGISTRY[function].parameters)}
    options = {"out": None, "approx": None, **{p.name: p.default for p in door.form.parameters}}

    def strict(name: str) -> inspect.Parameter:
        if name not in options:
            return kind(name, kind.POSITIONAL_ONLY)
        optional = name not in inputs or options[name] is not None
        how = kind.POSITIONAL_OR_KEYWORD if name in positional else kind.KEYWORD_ONLY
        return kind(name, how, default=options[name] if optional else kind.empty)

    def lenient(name: str) -> inspect.Parameter:
        required = name in inputs and name not in options
        return kind(name, kind.POSITIONAL_OR_KEYWORD, default=kind.empty if required else options.get(name))

    places = (*inputs, "out", "approx")
    exact = sorted(map(strict, places), key=lambda parameter: parameter.kind)
    return inspect.Signature(exact), inspect.Signature([lenient(name) for name in (*places, *_further(door))])


# -- typing the arguments ---------------------------------------------------------------------------------------------
def tier_of(title: str, approx: Any) -> Tier:
    """The tier that the type of ``approx`` names."""
    if isinstance(approx, types.NoneType):
        return "exact"
    if not isinstance(approx, types.Literal):
        raise errors.TypingError(
            f"{title}(): approx is a value of type {approx}, but the tier must be known when the function is compiled; "
            + CHOICE
        )
    value = approx.literal_value
    if isinstance(value, (str, bool)) and value in ACCEPTED:
        return ACCEPTED[value]
    raise errors.TypingError(f"{title}(): approx={value!r} is not a precision tier; {CHOICE}")


def _can_become_literal(approx: Any, context: Any) -> bool:
    """Whether it can help to ask for the value of an argument of the function being compiled."""
    if isinstance(approx, types.Literal) or not isinstance(approx, (types.UnicodeType, types.Boolean)):
        return False
    return any(argument == approx for argument in context.callstack[0].args)


def _fold(signature: inspect.Signature, args: Any, kws: Any) -> Any:
    bound = signature.bind(*args, **dict(kws))
    bound.apply_defaults()
    return tuple(bound.arguments.values())


def _dtype(door: DoorType, operand: Any) -> Any:
    """The kernel's dtype that an operand by itself asks for."""
    element = types.unliteral(operand.dtype if isinstance(operand, types.Array) else operand)
    element = element.type if isinstance(element, types.Optional) else element
    if element in DTYPES:
        return element
    if isinstance(element, (types.Integer, types.Boolean)):
        return types.float64
    raise errors.TypingError(
        f"{door.title}() takes numbers and arrays of float32 and float64 in compiled code (whole numbers become "
        f"float64), not {operand}"
    )


def _working_dtype(door: DoorType, operands: Any) -> Any:
    """The dtype of the kernel: arrays decide, and where there is none, the arguments that are not parameters."""
    wanted = {place: _dtype(door, operand) for place, operand in enumerate(operands) if operand is not None}
    deciding = [place for place in wanted if isinstance(operands[place], types.Array)] or range(door.form.place + 1)
    return types.float64 if any(wanted[place] == types.float64 for place in deciding) else types.float32


def _result(door: DoorType, operands: list[Any], dtype: Any, out: Any) -> Any:
    arrays = [operand for operand in operands if isinstance(operand, types.Array)]
    if not isinstance(out, types.NoneType):
        if not isinstance(out, types.Array) or not out.mutable or out.dtype not in DTYPES:
            raise errors.TypingError(f"{door.title}(): out must be a writable array of float32 or float64, not {out}")
        if any(array.ndim > out.ndim for array in arrays):
            raise errors.TypingError(f"{door.title}(): out has fewer dimensions than an input")
        return out
    dimensions = max((array.ndim for array in arrays), default=0)
    if not dimensions:
        return dtype
    layouts = {array.layout for array in arrays}
    layout: Any = "F" if "F" in layouts and "C" not in layouts else "C"
    return types.Array(dtype, dimensions, layout)


# -- emitting a call --------------------------------------------------------------------------------------------------
@lower_builtin(DoorType, types.VarArg(types.Any))
def _emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    door, count = sig.args[0], len(sig.args[0].form.arguments)
    kinds, values = sig.args[1 : count + 1], args[1 : count + 1]
    out_kind, approx = sig.args[count + 1 : count + 3]
    kernel = Kernel(door.function, door.form_name, tier_of(door.title, approx), _working_dtype(door, kinds))
    if not any(isinstance(kind, types.Array) for kind in (*kinds, out_kind)):
        return kernel.scalar(context, builder, values)
    outer = Signature(sig.return_type, (*kinds, out_kind), None)
    return arrays.emit(context, builder, kernel, outer, (*values, args[count + 1]))


# -- the objects themselves carry nothing at run time -----------------------------------------------------------------
register_model(DoorType)(models.OpaqueModel)


@unbox(DoorType)
def _unboxed(typ: Any, obj: Any, c: Any) -> NativeValue:
    return NativeValue(c.context.get_dummy_value())


@lower_constant(DoorType)
@lower_getattr_generic(DoorType)
def _nothing(context: Any, builder: Any, *_: Any) -> Any:
    return context.get_dummy_value()


@infer_getattr
class DoorAttributes(AttributeTemplate):  # type: ignore[misc]
    """``.grad``, ``.backward``, ``.backward_from_output`` and those with respect to parameters."""

    key = DoorType

    def generic_resolve(self, typ: Any, attribute: str) -> Any:  # type: ignore[override]
        form = ATTRIBUTES.get(attribute, attribute)
        known = forms(REGISTRY[typ.function]).get(form)
        if typ.form_name != "value" or known is None or known.base or attribute in ("value", "from_output"):
            return None
        return DoorType(typ.function, form)


def initialize() -> None:
    """For Numba's entry point; the import of this module has taught Numba all there is."""


@functools.cache
def _refresh() -> None:
    """Make the compiler take note, which may be in the middle of its work."""
    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()


def door_type(function: str, form: str) -> DoorType:
    """The Numba type of a front-door object."""
    _refresh()
    return DoorType(function, form)
