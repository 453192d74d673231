"""The accuracy contract: what each tier promises for each dtype. The one place where these bounds are written."""

from __future__ import annotations

from dataclasses import dataclass

from fastact.kernels import Declaration


@dataclass(frozen=True)
class Bound:
    """The largest error allowed, in ULPs of the truth or relative to it."""

    unit: str
    largest: float
    rounded: bool = False
    """Every result is the correctly rounded one."""

    def __str__(self) -> str:
        if self.rounded:
            return "correctly rounded"
        if self.unit == "ulp":
            return f"{self.largest:g} ULP"
        return f"2^{self.largest.hex().partition('p')[2]} relative"

    def holds(self, error: float, misrounded: int | None) -> bool:
        """Whether a measured error respects it."""
        return misrounded == 0 if self.rounded else error <= self.largest


_ROUNDED = Bound("ulp", 0.5, rounded=True)
_EXACT = {"float16": _ROUNDED, "bfloat16": _ROUNDED, "float32": _ROUNDED, "float64": Bound("ulp", 0.501)}
_FAST = {"float16": Bound("ulp", 0.51), "bfloat16": Bound("ulp", 0.51)}
_ROUGH = {
    "float16": Bound("ulp", 1.0),
    "bfloat16": Bound("ulp", 0.6),
    "float32": Bound("relative", 2.0**-12),
    "float64": Bound("relative", 2.0**-24),
}
_ELEMENTARY = Bound("ulp", 2.0)
_OTHERS = Bound("ulp", 4.0)


def bound(declaration: Declaration, form: str, dtype: str, tier: str) -> Bound:
    """What is promised of a form of a function. Next to a root of a gradient, ``fast`` and ``rough`` promise it of the
    terms that cancel there; ``rough`` may replace results below the smallest normal number by zeros of their sign."""
    if tier == "exact":
        return _EXACT[dtype]
    if tier == "rough":
        return _ROUGH[dtype]
    if dtype in _FAST:
        return _FAST[dtype]
    return _ELEMENTARY if declaration.family == "elementary" and form == "value" else _OTHERS
