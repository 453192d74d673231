"""Device functions for users' own kernels, and kernels that users launch themselves."""

from __future__ import annotations

import functools
from typing import Any

from fastact.cuda import call, package
from fastact.cuda.kernels import graph
from fastact.cuda.rare import usual
from fastact.kernels import REGISTRY
from fastact.link.forms import forms
from fastact.precision import Tier


@functools.cache
def device(name: str, form: str, tier: Tier) -> Any:
    """The function of float32 or float64 numbers; whole numbers are taken for float64."""
    module = package.cuda()
    chosen = forms(REGISTRY[name])[form]
    arguments, required = chosen.arguments, len(chosen.arguments) - len(chosen.parameters)
    defaults = {p.name: p.default for p in chosen.parameters if p.default is not None}
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


class Launchable:
    """The kernel of a form in a tier: ``kernel(x, out)``, or ``kernel[blocks, threads, stream](x, out)``.

    All arguments come by position: device arrays, or numbers for parameters, and the output last."""

    def __init__(self, target: call.Target, tier: Tier, configuration: tuple[Any, ...] | None = None) -> None:
        package.cuda()
        self._target, self._tier, self._configuration = target, tier, configuration

    def __getitem__(self, configuration: Any) -> Launchable:
        given = configuration if isinstance(configuration, tuple) else (configuration,)
        if not 2 <= len(given) <= 3 or not all(isinstance(count, int) and count > 0 for count in given[:2]):
            raise ValueError(f"a launch is configured by [blocks, threads] or [blocks, threads, stream], not {given}")
        return Launchable(self._target, self._tier, given)

    def __call__(self, *args: Any) -> None:
        target = self._target
        if not target.required < len(args) <= len(target.form.arguments) + 1:
            raise TypeError(f"the kernel of {target.title} takes ({', '.join(target.form.arguments)}, out)")
        call.call(target, self._tier, args[:-1], {"out": args[-1]}, self._configuration)

    def __repr__(self) -> str:
        return f"<CUDA kernel of {self._target.title}, {self._tier}>"
