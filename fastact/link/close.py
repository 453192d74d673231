"""Which forms of 16 bits float32 settles: rounded once, with few results put right, it is right on all 65,536 inputs.

Where that is so nothing has to be decided. `SETTLED` comes from ``scripts/settled.py``; certificates prove it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastact.link.settled import SETTLED

if TYPE_CHECKING:
    from fastact.kernels.declare import Declaration
    from fastact.link.forms import Form
    from fastact.link.linker import Linking
    from fastact.link.values import Real

UNIT = 2.0**-27
"""Of what is added to the factor 1."""


@dataclass(frozen=True)
class Close:
    """How a body is evaluated in float32 so that rounding it is right."""

    tier: str = "exact"
    """The tier whose arithmetic is enough."""
    more: int = 0
    """How many `UNIT` of itself are added to each result, so that close ones fall on the right side."""
    wrong: tuple[tuple[int, int], ...] = ()
    """Inputs whose results would be wrong, and what is right, as they are stored."""

    def applied(self, linking: Linking, y: Real, dtype: str) -> Real:
        """A value in float32 with what is wrong put right."""
        y = y.fma(self.more * UNIT, y) if self.more else y
        x = linking.widen(linking.argument_nodes[0], dtype)
        for place, right in self.wrong:
            y = y.lift(_number(right, dtype)).choose(x.equals(_number(place, dtype)), y)
        return y


def _number(bits: int, dtype: str) -> float:
    """A stored number of 16 bits."""
    import struct

    packed, kind = (struct.pack("<H", bits), "<e") if dtype == "float16" else (struct.pack("<I", bits << 16), "<f")
    return float(struct.unpack(kind, packed)[0])


def settled(declaration: Declaration, form: Form, dtype: str) -> bool | Close:
    """What is known to be enough for ``exact``, as `link` takes it."""
    found = SETTLED.get((declaration.name, form.name, dtype))
    return form.settled if found is None else Close(*found)
