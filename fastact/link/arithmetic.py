"""The working arithmetics: which word, how many of them to a number, which coefficient tables.

An arithmetic is what a tier means for one dtype. ``exact`` works at twice the precision of the dtype and rounds once.
Where that leaves the rounding open, a wider arithmetic decides: for 16 bits `DOUBLE_WIDE`, for float32 `PAIR`. Twice
the precision of float32 are `DOUBLE_WIDE` or, with fewer digits, `SINGLE_PAIR`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf


@dataclass(frozen=True)
class Arithmetic:
    """How numbers are held between the input and the one rounding at the end."""

    level: str
    """Key of the coefficient tables."""
    word: str
    """Machine word: ``f32`` or ``f64``."""
    pair: bool = False
    """Numbers are unevaluated sums of two words (double-double)."""
    rough: bool = False
    """Subnormal results may be flushed to zero."""
    wide: bool = False
    """Results have a narrower exponent range than the word: scaling by 2^n cannot lose bits."""
    spare: bool = False
    """Results have so many digits less than the word that some units in its last place are nothing to them."""
    products: bool = False
    """Results are multiplied with one or two more inputs, which brings to light what is far below the smallest one."""
    plenty: bool = False
    """Words of the range of results have twice their digits: these may lack where digits cancel, and nowhere else."""

    alone: bool = False
    """Results are of one number, all of which are tried, and need not be rounded rightly."""

    brief: bool = False
    """Tables with an error of 2^-12 serve where there are such."""

    @property
    def decisive(self) -> bool:
        """Whether nothing decides where this leaves a rounding open."""
        return self.pair and self.word == "f64"

    @property
    def guarded(self) -> bool:
        """Whether numbers are pairs of words, and a wider arithmetic decides where they leave a rounding open."""
        return self.pair and self.word == "f32"

    @property
    def roomy(self) -> bool:
        """Whether the word has twice the digits of results, and more."""
        return self.wide and self.word == "f64"

    @property
    def short(self) -> bool:
        """Whether numbers are float32 and results have 11 bits or 8: an error of 2^-18 or 2^-15 is nothing to them."""
        return self.level in ("single_half", "single_bfloat")

    @property
    def careless(self) -> bool:
        """Whether some units in the last place may be lost."""
        return self.rough or self.spare

    @property
    def mantissa_bits(self) -> int:
        return {"f32": 23, "f64": 52}[self.word]

    @property
    def bias(self) -> int:
        return {"f32": 127, "f64": 1023}[self.word]

    @property
    def integer(self) -> str:
        return {"f32": "i32", "f64": "i64"}[self.word]

    @property
    def tail(self) -> float:
        """A number t such that exp(t), and any number of the word times exp(t), is below every subnormal result,
        while 2^(t/ln 2) can still be reached by two scalings by normal powers of two (one where ``wide``). Of
        ``products`` in float64 exp(t) times any two numbers is. Pairs of float32 leave it to others. For bfloat16,
        if ``short``, t exp(t) is below, and nothing larger than t is multiplied with that."""
        if self.guarded:
            return -inf
        if self.short and not self.wide:
            return -100.0
        if self.word == "f32":
            return -85.0 if self.wide else -170.0
        if self.wide:
            return -690.0
        return -2200.0 if self.products else -1400.0


SINGLE_ROUGH = Arithmetic("single_rough", "f32", rough=True)
SINGLE_FAST = Arithmetic("single_fast", "f32")
SINGLE_WIDE = Arithmetic("single_fast", "f32", wide=True)
DOUBLE_ROUGH = Arithmetic("double_rough", "f64", rough=True)
DOUBLE_FAST = Arithmetic("double_fast", "f64")
DOUBLE_WIDE = Arithmetic("double_wide", "f64", wide=True, spare=True)
SINGLE_PAIR = Arithmetic("single_pair", "f32", pair=True)
PAIR = Arithmetic("pair", "f64", pair=True)

TIERS = ("exact", "fast", "rough")
DTYPES = ("float16", "bfloat16", "float32", "float64")

ARITHMETICS: dict[tuple[str, str], Arithmetic] = {
    ("float64", "exact"): PAIR,
    ("float64", "fast"): DOUBLE_FAST,
    ("float64", "rough"): DOUBLE_ROUGH,
    ("float32", "exact"): DOUBLE_WIDE,
    ("float32", "fast"): SINGLE_FAST,
    ("float32", "rough"): SINGLE_ROUGH,
    ("float16", "exact"): SINGLE_WIDE,
    ("float16", "fast"): replace(SINGLE_WIDE, level="single_half", spare=True),
    ("float16", "rough"): replace(SINGLE_ROUGH, wide=True),
    ("bfloat16", "exact"): replace(SINGLE_FAST, plenty=True),
    ("bfloat16", "fast"): replace(SINGLE_FAST, level="single_bfloat", spare=True, plenty=True),
    ("bfloat16", "rough"): SINGLE_ROUGH,
}
for _dtype in ("float16", "bfloat16"):
    ARITHMETICS[_dtype, "brief"] = replace(ARITHMETICS[_dtype, "fast"], brief=True)
"""``brief`` are what ``rough`` is of 16 bits where it knows how few digits results have."""
