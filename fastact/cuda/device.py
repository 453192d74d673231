"""Device functions for users' own kernels, and kernels that users launch themselves."""

from __future__ import annotations

import functools
from typing import Any

from fastact.cuda import call, package
from fastact.cuda.kernels import graph
from fastact.cuda.rare import usual
from fastact.kernels import GATES, REGISTRY
from fastact.link.forms import forms
from fastact.link.gates import ARGUMENTS
from fastact.precision import Tier


@functools.cache
def device(name: str, form: str, tier: Tier) -> Any:
    """The function of float32 or float64 numbers; whole numbers are taken for float64."""
    module = package.cuda()
    arguments, required, defaults = _arguments(name, form)
    label = "_".join(("fastact", name, form, tier))
    header = ", ".join(f"{a}={defaults[a]!r}" if a in defaults else a for a in arguments)
    text = f"def {label}({header}):\n    return compute({', '.join(arguments)})\n"
    graphs = {dtype: graph(name, form, dtype, tier) for dtype in ("float32", "float64")}
    kernels = {dtype: (whole, usual(whole)) for dtype, whole in graphs.items()}
    compute = package.primitives().number(kernels, len(arguments), required)
    namespace: dict[str, Any] = {"compute": compute, "__name__": __name__}
    exec(compile(text, f"<{label}>", "exec"), namespace)
    found = namespace[label]
    found.__doc__ = f"{name}, tier {tier}, of ({', '.join(arguments)}) on a device"
    return module.jit(device=True, inline="always")(found)


def _arguments(name: str, form: str) -> tuple[tuple[str, ...], int, dict[str, float]]:
    """Those of a function's form or of a gate, how many of them have no default, and the others' defaults."""
    if name in GATES:
        return ARGUMENTS[form], len(ARGUMENTS[form]), {}
    chosen = forms(REGISTRY[name])[form]
    defaults = {p.name: p.default for p in chosen.parameters if p.default is not None}
    return chosen.arguments, len(chosen.arguments) - len(chosen.parameters), defaults


class Launchable:
    """The kernel of a form in a tier: ``kernel(x, out)``, or ``kernel[blocks, threads, stream](x, out)``.

    All arguments come by position: device arrays, or numbers for parameters, and the output, or outputs, last."""

    def __init__(self, target: call.Target, tier: Tier, configuration: tuple[Any, ...] | None = None) -> None:
        package.cuda()
        self._target, self._tier, self._configuration = target, tier, configuration

    def __getitem__(self, configuration: Any) -> Launchable:
        given = configuration if isinstance(configuration, tuple) else (configuration,)
        if not 2 <= len(given) <= 3 or not all(isinstance(count, int) and count > 0 for count in given[:2]):
            raise ValueError(f"a launch is configured by [blocks, threads] or [blocks, threads, stream], not {given}")
        return Launchable(self._target, self._tier, given)

    def __call__(self, *args: Any) -> None:
        target, outputs = self._target, self._target.outputs
        if not target.required + outputs <= len(args) <= len(target.form.arguments) + outputs:
            results = "out" if outputs == 1 else ", ".join(f"out{k}" for k in range(outputs))
            raise TypeError(f"the kernel of {target.title} takes ({', '.join(target.form.arguments)}, {results})")
        call.call(target, self._tier, args[:-outputs], {"out": tuple(args[-outputs:])}, self._configuration)

    def __repr__(self) -> str:
        return f"<CUDA kernel of {self._target.title}, {self._tier}>"
