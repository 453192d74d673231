"""Truth, measured errors and certificates.

The package is callable: ``fastact.accuracy("mish", "float32", "fast")`` is the certificate of that kernel (see
`fastact.accuracy.certificates.certificate`). Importing it needs no arbitrary precision; the oracle does.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastact.accuracy.certificates import Certificate


class _Callable(ModuleType):
    def __call__(self, name: str, dtype: Any = "float32", approx: Any = "exact", form: str = "value") -> Certificate:
        from fastact.accuracy.certificates import certificate

        return certificate(name, dtype, approx, form)

    def __getattr__(self, name: str) -> Any:
        if name == "certificates":
            return importlib.import_module("fastact.accuracy.certificates")
        raise AttributeError(f"module 'fastact.accuracy' has no attribute {name!r}")


sys.modules[__name__].__class__ = _Callable
