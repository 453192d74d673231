"""What scripts/fit.py makes: every polynomial, table of values and constant of the kernels, declared.

A new table is one entry of ENTRIES, a new constant one line of CONSTANTS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from math import frexp, log, pi, sqrt
from typing import NamedTuple

from flint import arb
from remez import PRECISION, Coefficient, Problem, expansion, rounded, shortest_fit, shortest_rounded, stated, total

# The working arithmetics: how many bits a coefficient has, and whether the leading ones come in pairs.
LEVELS = {
    "single_rough": (24, False),
    "single_half": (24, False),
    "single_bfloat": (24, False),
    "single_fast": (24, False),
    "double_rough": (53, False),
    "double_fast": (53, False),
    "double_wide": (53, False),
    "single_pair": (24, True),
    "pair": (53, True),
}


class Table(NamedTuple):
    coefficients: tuple[Coefficient, ...]
    error: float


@dataclass(frozen=True)
class Polynomial:
    """value(t, p) approximates exact(t), p being a polynomial in t; `targets` are log2 of the error wanted.

    `fixed` are the lowest coefficients, imposed exactly; `fixed_at` replaces them at single levels.
    """

    name: str
    formula: str
    domain: str
    low: float
    high: float
    exact: Callable[[arb], arb]
    value: Callable[[arb, arb | int], arb]
    weighting: str  # what the error is relative to: the text for `scale`, which defaults to `exact`
    targets: dict[str, float]
    scale: Callable[[arb], arb] | None = None
    fixed: tuple[float, ...] = ()
    fixed_at: dict[str, tuple[float, ...]] | None = None
    at_once: bool = False  # coefficients rounded without refitting, which is singular where 0 is an inner point

    def tables(self) -> dict[str, Table]:
        problem = Problem(self.low, self.high, self.exact, self.value, self.scale or self.exact)
        made = {}
        for level, target in self.targets.items():
            bits, pair = LEVELS[level]
            if self.at_once:
                made[level] = Table(*shortest_rounded(problem, target, bits))
                continue
            fixed = (self.fixed_at or {}).get(level, self.fixed)
            made[level] = Table(*shortest_fit(problem, target, bits, fixed, pair))
        return made

    def describe(self, table: Table) -> str:
        return f"degree {len(table.coefficients) - 1}, error 2^{table.error:.2f} relative to {self.weighting}"


@dataclass(frozen=True)
class Values:
    """A list of numbers; `parts` says for each level into how many bits apiece each is split. A negative first one, -q,
    stands for as many bits as make a multiple of 2^-q."""

    name: str
    formula: str
    domain: str
    values: Callable[[], list[arb]]
    parts: dict[str, tuple[int, ...]]

    def tables(self) -> dict[str, Table]:
        exact, made = self.values(), {}
        for level, bits in self.parts.items():
            split = tuple(self.split(x, bits) for x in exact)
            # A value of 0 is held exactly.
            pairs = [(total(c), x) for c, x in zip(split, exact, strict=True) if x != 0]
            error = max(float(abs((c - x) / x).mid()) for c, x in pairs)
            made[level] = Table(split, stated(error))
        return made

    @staticmethod
    def split(x: arb, bits: tuple[int, ...]) -> Coefficient:
        if bits[0] < 0:
            bits = (max(1, frexp(float(x.mid()))[1] - bits[0]), *bits[1:])
        return expansion(x, bits) if len(bits) > 1 else rounded(x, *bits)

    def describe(self, table: Table) -> str:
        return f"{len(table.coefficients)} values, error 2^{table.error:.2f} relative to each"


# Intervals are a little wider than the reduction leaves them: a reduced argument is itself rounded.
HALF_LN2 = log(2) / 2 * 1.01
LOG_LOW, LOG_HIGH = (sqrt(0.5) - 1) * 1.01, (sqrt(2) - 1) * 1.01
LOG_DOMAIN = "1.01 (sqrt(1/2) - 1) <= f <= 1.01 (sqrt(2) - 1)"
LOG_PAIR_HIGH = 1.5 / 64  # farthest that log_reciprocals leave m c from 1
ATANH_HIGH = max((f / (2 + f)) ** 2 for f in (LOG_LOW, LOG_HIGH))
HALF_PI = pi / 2 * 1.001


def exp(name: str, formula: str, domain: str, high: float, relative: bool, **more) -> Polynomial:
    """exp and expm1 share the polynomial's place and differ in what its error is measured against."""
    return Polynomial(
        name,
        formula,
        domain,
        -high,
        high,
        exact=lambda r: r.expm1(),
        value=lambda r, p: r * p,
        scale=(lambda r: r.expm1()) if relative else (lambda r: r.exp()),
        weighting="expm1(r)" if relative else "exp(r)",
        **more,
    )


def log1p(name: str, domain: str, low: float, high: float, targets: dict[str, float]) -> Polynomial:
    return Polynomial(
        name,
        "log(1 + f) = f - f^2/2 + f^3 P(f)",
        domain,
        low,
        high,
        exact=lambda f: f.log1p(),
        value=lambda f, p: f - f**2 / 2 + f**3 * p,
        weighting="log(1 + f)",
        targets=targets,
    )


def tanh(name: str, domain: str, high: float) -> Polynomial:
    return Polynomial(
        name,
        "tanh(x) = x + x^3 P(z), z = x^2",
        domain,
        0.0,
        high**2,
        exact=lambda z: z.sqrt().tanh(),
        value=lambda z, p: z.sqrt() * (1 + z * p),
        weighting="tanh(x)",
        targets={"single_rough": -13.2, "single_fast": -27.0, "double_rough": -25.5, "double_fast": -56.0},
    )


def erf_to_saturation(name: str, high: float, targets: dict[str, float]) -> Polynomial:
    return Polynomial(
        name,
        "erf(x) = x P(z), z = x^2",
        f"|x| <= {high:g}",
        0.0,
        high**2,
        exact=lambda z: z.sqrt().erf(),
        value=lambda z, p: z.sqrt() * p,
        weighting="erf(x)",
        targets=targets,
    )


def erf_centred(name: str, high: float, centre: float, written: str, targets: dict[str, float]) -> Polynomial:
    return Polynomial(
        name,
        f"erf(x) = x P(z - {written}), z = x^2",
        f"|x| <= {high:g}",
        -centre,
        centre,
        exact=lambda s: (s + centre).sqrt().erf(),
        value=lambda s, p: (s + centre).sqrt() * p,
        weighting="erf(x)",
        targets=targets,
        at_once=True,
    )


def erf_near(name: str, centre: float, reach: float, targets: dict[str, float]) -> Polynomial:
    return Polynomial(
        name,
        f"erf({centre:g} + h) = 1 + P(h)",
        f"|h| <= {reach:g}",
        -reach,
        reach,
        exact=lambda h: (arb(centre) + h).erf(),
        value=lambda h, p: 1 + arb(p),
        weighting="erf",
        targets=targets,
        at_once=True,
    )


def erfcx_quotient(name: str, high: float, targets: dict[str, float]) -> Polynomial:
    def exact(s: arb) -> arb:
        x = 3 * (1 + s) / (1 - s)
        return (x * x).exp() * x.erfc()

    return Polynomial(
        name,
        "exp(x^2) erfc(x) = P(s)/(x + 3), s = (x - 3)/(x + 3)",
        f"0 <= x <= {high:g}",
        -1.0,
        (high - 3) / (high + 3),
        exact=exact,
        value=lambda s, p: (1 - s) / 6 * p,
        weighting="exp(x^2) erfc(x)",
        targets=targets,
        at_once=True,
    )


def gelu_gradient(x: arb) -> arb:
    return (-x / arb(2).sqrt()).erfc() / 2 + x * (-x * x / 2).exp() / (2 * arb.pi()).sqrt()


def silu_gradient(x: arb) -> arb:
    e = (-x).exp()
    return (1 + e + x * e) / (1 + e) ** 2


def quick_gelu_gradient(x: arb) -> arb:
    return silu_gradient(QUICK * x)


def mish_gradient(x: arb) -> arb:
    e = x.exp()
    return e * (4 * (x + 1) + e * (4 * x + 6 + e * (e + 4))) / (e * (e + 2) + 2) ** 2


def root(gradient: Callable[[arb], arb], below: float, above: float) -> arb:
    """The root between a point with a negative and one with a positive gradient, by bisection."""
    low, high = arb(below).mid(), arb(above)
    for _ in range(PRECISION - 20):
        middle = ((low + high) / 2).mid()
        low, high = (middle, high) if gradient(middle) < 0 else (low, middle)
    return low


def gelu_tanh_gradient(x: arb) -> arb:
    c, k = 2 * (2 / arb.pi()).sqrt(), arb(44715) / 1000000
    e = (-c * (x + k * x**3)).exp()
    return (1 + e + x * c * (1 + 3 * k * x * x) * e) / (1 + e) ** 2


GELU_ROOT = root(gelu_gradient, -0.76, -0.75)
GELU_TANH_ROOT = root(gelu_tanh_gradient, -0.76, -0.75)
SILU_ROOT = root(silu_gradient, -1.28, -1.27)
QUICK = arb(1702) / 1000
QUICK_GELU_ROOT = SILU_ROOT / QUICK
MISH_ROOT = root(mish_gradient, -1.2, -1.19)


def next_to_root(name: str, formula: str, gradient: Callable[[arb], arb], at: arb, radius: float) -> Polynomial:
    """A gradient next to its root as a multiple of the distance."""
    return Polynomial(
        name,
        f"{formula} = d P(d), x = d - {-float(at):.4f}...",
        f"|d| <= 1/{round(1 / radius)}",
        -radius,
        radius,
        exact=lambda d: gradient(at + d),
        value=lambda d, p: d * p,
        weighting=formula,
        targets={"pair": -67.0},
    )


def tanhshrink(name: str, high: float, targets: dict[str, float]) -> Polynomial:
    return Polynomial(
        name,
        "x - tanh(x) = x^3 P(z), z = x^2",
        f"|x| <= {high:g}",
        0.0,
        high**2,
        exact=lambda z: z.sqrt() - z.sqrt().tanh(),
        value=lambda z, p: z.sqrt() * z * p,
        weighting="x - tanh(x)",
        targets=targets,
    )


def exp_table(name: str, size: int) -> Values:
    return Values(
        name,
        f"2^(j/{size})",
        f"j = 0 .. {size - 1}",
        values=lambda: [arb(2) ** (arb(j) / size) for j in range(size)],
        parts={"single_pair": (24, 24), "pair": (53, 53)},
    )


def log_reciprocals(size: int = 32, below: int = 8, short: bool = False) -> list[float]:
    """The multiples c of 1/64 that bring m c nearest to 1 on each of ``size`` intervals of m; ``short`` are those of
    1/32 for m < 1, which makes m c - 1 a float32 for a float32 m.

    The intervals divide the bit patterns of a binade evenly; 1 is in the middle of one of them, and ``below`` lie
    beneath that one. Each c is short enough for m c - 1 to be a float. Where c = 1 reaches as near to 1 as any
    other interval has to, it is taken: no logarithm is to be added there.
    """

    def edge(position: float) -> float:
        return 1 + position / (size if position >= 0 else 2 * size)

    chosen = []
    for i in range(-below, size - below):
        low, high = edge(i - 0.5), edge(i + 0.5)

        def distance(c: float, low: float = low, high: float = high) -> float:
            return max(abs(low * c - 1), abs(high * c - 1))

        step = 2 if short and i < 0 else 1
        best = min((k / 64 for k in range(32, 129, step)), key=distance)
        chosen.append(1.0 if distance(1.0) <= LOG_PAIR_HIGH else best)
    return chosen


def log_reciprocals_above(size: int = 32) -> list[float]:
    """The multiples c of 1/64, or of 1/128 where m c - 1 is a float32 for a float32 m even so, that bring m c nearest
    to 1 on each of ``size`` equal intervals of m from 1 to 2; 1 on the first and 1/2 on the last one, so that nothing
    is to be added next to 1."""
    chosen = [1.0]
    for i in range(1, size - 1):
        ends = 1 + i / size, 1 + (i + 1) / size

        def distance(c: float, ends: tuple[float, float] = ends) -> float:
            return max(abs(m * c - 1) for m in ends)

        fine = min((k / 128 for k in range(64, 129)), key=distance)
        coarse = min((k / 64 for k in range(32, 65)), key=distance)
        chosen.append(fine if distance(fine) <= 1 / 64 else coarse)
    return [*chosen, 0.5]


LOG_ABOVE = -0.0206, 1 / 32  # how far these leave m c from 1


LOG_START = 1 - 9.5 / 32
"""The first of 16 intervals of m, of 2^-4 of the bit patterns of a binade each: 1 is in the middle of the tenth."""
LOG_REACH = 0.0323  # farthest that log_factors and log1p_factors leave m c from 1


def good_factors(intervals: list[tuple[float, float]], bits: int, base: int) -> list[float]:
    """Numbers c that bring m c near to 1 on each of the intervals of m, 1 where that is reached by it next to 1; those
    whose logarithms are nearest to floats of so many bits, of the nearest 4,001 with 23 or 36 bits after the point."""
    chosen, step = [], 2.0**-23 if bits == 24 else 2.0**-36

    def miss(k: int) -> float:
        x = log_to(arb(k * step), base)
        return abs(float(x - rounded(x, bits)) / float(x))

    for low, high in intervals:
        middle = round(2 / (low + high) / step)
        near = low <= 1 < high
        chosen.append(1.0 if near else min(range(middle - 2000, middle + 2001), key=miss) * step)
    return chosen


@cache
def log_factors(bits: int, base: int) -> list[float]:
    """Those for the intervals from `LOG_START`, from the last one on."""
    edges = [LOG_START + i / 32 if i <= 9 else 1 + (i - 9.5) / 16 for i in range(17)]
    return good_factors(list(pairwise(edges))[::-1], bits, base)


@cache
def log1p_factors(bits: int) -> list[float]:
    """Those for the intervals around 1 + j/15.49."""
    return good_factors([(1 + (j - 0.5) / 15.49, 1 + (j + 0.5) / 15.49) for j in range(16)], bits, 1)


def log_to(x: arb, base: int) -> arb:
    return x.log() if base else x.log() / arb.const_log2()


def factors_and_terms(name: str, domain: str, factors: Callable[[int], list[float]], base: int) -> list[Values]:
    function, made = "log" if base else "log2", []
    for word, bits in (("single", 24), ("double", 53)):
        parts = {f"{word}_rough": (bits,), f"{word}_fast": (bits,)}
        made += [
            Values(f"{name}_factors_{word}", f"c_j near 1/m, {function} c_j near a float", domain,
                   values=lambda bits=bits: [arb(c) for c in factors(bits)], parts=parts),
            Values(f"{name}_terms_{word}", f"-{function} c_j", domain,
                   values=lambda bits=bits: [-log_to(arb(c), base) for c in factors(bits)], parts=parts),
        ]  # fmt: skip
    return made


def log_reduced(name: str, base: int, targets: dict[str, float]) -> Polynomial:
    function = "log" if base else "log2"
    return Polynomial(
        name,
        f"{function}(1 + r) = r P(r)",
        f"|r| <= {LOG_REACH}",
        -LOG_REACH,
        LOG_REACH,
        exact=lambda r: log_to(1 + r, base),
        value=lambda r, p: r * p,
        weighting=f"{function}(1 + r)",
        targets=targets,
    )


def powers_rest(name: str, level: str, bits: int) -> Values:
    powers = [arb(2) ** (arb(j) / 16) for j in range(16)]
    return Values(
        name,
        "what 2^(j/16) is more than the float nearest to it, relative to that",
        "j = 0 .. 15",
        values=lambda: [power / rounded(power, bits) - 1 for power in powers],
        parts={level: (bits,)},
    )


LOG_INTERVALS = "the j-th of 16 intervals of m, from the last"
LOG_TARGETS = {
    "single_rough": -12.4, "single_half": -18.3, "single_fast": -24.5, "double_rough": -24.8, "double_fast": -55.0,
}  # fmt: skip

ENTRIES: list[Polynomial | Values] = [
    exp(
        "exp",
        "exp(r) = 1 + r P(r)",
        "|r| <= 1.01 ln(2)/2",
        HALF_LN2,
        relative=False,
        targets={
            "single_rough": -13.2,
            "single_half": -18.3,
            "single_fast": -27.0,
            "double_rough": -25.5,
            "double_fast": -56.0,
            "double_wide": -57.5,
            "pair": -72.0,
        },
        fixed=(1.0,),
        # A first coefficient of 1 would cost these a degree; a second of 1/2 costs the pair nothing.
        fixed_at={"single_rough": (), "single_half": (), "pair": (1.0, 0.5)},
    ),
    exp(
        "exp_briefly",
        "exp(r) = 1 + r P(r)",
        "|r| <= 1.01 ln(2)/2",
        HALF_LN2,
        relative=False,
        targets={"double_wide": -34.0},
    ),
    exp(
        "expm1",
        "expm1(r) = r P(r)",
        "|r| <= 1.01 ln(2)/2",
        HALF_LN2,
        relative=True,
        targets={
            "single_rough": -13.2,
            "single_bfloat": -15.9,
            "single_half": -21.0,
            "single_fast": -27.0,
            "double_rough": -25.5,
            "double_fast": -56.0,
            "double_wide": -55.0,
            "pair": -72.0,
        },
        fixed=(1.0,),
        fixed_at={"single_bfloat": (), "single_half": (), "pair": (1.0, 0.5)},
    ),
    Polynomial(
        "exp2_above",
        "2^r = P(r)",
        "0 <= r <= 1",
        0.0,
        1.0,
        exact=lambda r: 2**r,
        value=lambda r, p: arb(p),
        weighting="2^r",
        targets={"single_rough": -13.2, "single_half": -18.3},
    ),
    Polynomial(
        "exp2",
        "2^r = 1 + r P(r)",
        "|r| <= 1/2",
        -0.5,
        0.5,
        exact=lambda r: (r * arb.const_log2()).expm1(),
        value=lambda r, p: r * p,
        scale=lambda r: arb(2) ** r,
        weighting="2^r",
        targets={
            "single_rough": -13.2,
            "single_half": -18.4,
            "single_fast": -27.0,
            "double_rough": -25.5,
            "double_fast": -56.0,
            "double_wide": -57.5,
        },
    ),
    exp(
        "exp_pair",
        "expm1(r) = r P(r)",
        "|r| <= 1.01 ln(2)/64",
        HALF_LN2 / 32,
        relative=True,
        targets={"single_pair": -34.0, "pair": -66.0},
        fixed=(1.0, 0.5),
    ),
    exp(
        "expm1_pair",
        "expm1(r) = r P(r)",
        "|r| <= 1.01 ln(2)/64",
        HALF_LN2 / 32,
        relative=True,
        targets={"single_pair": -40.0},
        fixed=(1.0, 0.5),
    ),
    exp_table("exp_table", 32),
    exp("exp_steps", "exp(r) = 1 + r P(r)", "|r| <= 1.01 ln(2)/32", HALF_LN2 / 16, relative=False,
        targets={"single_fast": -27.0, "double_fast": -55.5}, fixed=(1.0,)),
    exp("expm1_steps", "expm1(r) = r P(r)", "|r| <= 1.01 ln(2)/32", HALF_LN2 / 16, relative=True,
        targets={"double_fast": -56.0}, fixed=(1.0,)),
    Polynomial(
        "exp2_steps", "2^r = 1 + r P(r)", "|r| <= 1/32", -0.03125, 0.03125,
        exact=lambda r: (r * arb.const_log2()).expm1(), value=lambda r, p: r * p, scale=lambda r: arb(2) ** r,
        weighting="2^r", targets={"double_fast": -55.5},
    ),
    Values("powers", "2^(j/16)", "j = 0 .. 15", values=lambda: [arb(2) ** (arb(j) / 16) for j in range(16)],
           parts={"single_fast": (24,), "double_fast": (53,)}),
    powers_rest("powers_rest_single", "single_fast", 24),
    powers_rest("powers_rest_double", "double_fast", 53),
    log1p(
        "log1p",
        LOG_DOMAIN,
        LOG_LOW,
        LOG_HIGH,
        targets={
            "single_rough": -13.2,
            "single_bfloat": -16.1,
            "single_half": -19.1,
            "single_fast": -27.0,
            "double_rough": -25.5,
        },
    ),
    Polynomial(
        "log_atanh",
        "log(1 + f) = 2 s + s^3 P(z), s = f/(2 + f), z = s^2",
        LOG_DOMAIN,
        0.0,
        ATANH_HIGH,
        exact=lambda z: 2 * z.sqrt().atanh(),
        value=lambda z, p: z.sqrt() * (2 + z * p),
        weighting="log(1 + f)",
        targets={
            "single_half": -22.5,
            "single_fast": -27.0,
            "double_rough": -25.5,
            "double_fast": -56.5,
            "double_wide": -51.0,
            "pair": -72.0,
        },
    ),
    log1p(
        "log_small",
        "|f| <= 1.02/32",
        -1.02 / 32,
        1.02 / 32,
        targets={"double_fast": -57.0, "double_wide": -61.0, "pair": -72.0},
    ),
    Values(
        "log_table",
        "-log c_j",
        "c_j = k/64 nearest to 1/m on the j-th of 32 intervals of m",
        values=lambda: [-arb(c).log() for c in log_reciprocals()],
        # The first part is a multiple of 2^-42, as n times the first part of LN2_DOUBLE is: their sum is exact.
        parts={"pair": (36, 53)},
    ),
    Values(
        "log_table_short",
        "-log c_j",
        "c_j = k/64, for m < 1 k/32, nearest to 1/m on the j-th of 32 intervals of m",
        values=lambda: [-arb(c).log() for c in log_reciprocals(short=True)],
        # The first part is a multiple of 2^-17, as n times the first part of LN2_SINGLE is: their sum is exact.
        parts={"single_pair": (-17, 24)},
    ),
    Values(
        "log_table_above",
        "-log c_j",
        "c_j of 7 bits or less, nearest to 1/m on the j-th of 32 intervals of m from 1 to 2",
        values=lambda: [-arb(c).log() for c in log_reciprocals_above()],
        parts={"single_pair": (-17, 24)},
    ),
    Values(
        "log2_table_above",
        "-log2 c_j",
        "c_j as in log_table_above",
        values=lambda: [-arb(c).log() / arb(2).log() for c in log_reciprocals_above()],
        parts={"single_pair": (-17, 24)},
    ),
    log1p("log_above", "-0.0206 <= f <= 1/32", *LOG_ABOVE, targets={"single_pair": -31.0}),
    # log m = -log c + log(1 + r) with r = m c - 1, and log2 likewise
    *factors_and_terms("log", LOG_INTERVALS, partial(log_factors, base=1), 1),
    log_reduced("log_reduced", 1, LOG_TARGETS),
    *factors_and_terms("log2", LOG_INTERVALS, partial(log_factors, base=0), 0),
    log_reduced("log2_reduced", 0, LOG_TARGETS),
    *factors_and_terms("log1p", "m = 1 + j/15.49 and as far as 1/30.98 from it, j = 0 .. 15", log1p_factors, 1),
    # For where an exponential has an error already.
    log_reduced("log1p_reduced", 1, {"single_rough": -14.0}),
    log1p("log_pair", "|f| <= 1.5/64", -LOG_PAIR_HIGH, LOG_PAIR_HIGH, targets={"single_pair": -38.0, "pair": -65.0}),
    tanh("tanh_small", "|x| <= 0.55", 0.55),
    tanh("tanh_tiny", "|x| <= 0.3", 0.3),
    Polynomial(
        "sin",
        "sin(r) = r + r^3 P(z), z = r^2",
        "|r| <= 1.001 pi/2",
        0.0,
        HALF_PI**2,
        exact=lambda z: z.sqrt().sin(),
        value=lambda z, p: z.sqrt() * (1 + z * p),
        weighting="sin(r)",
        targets={
            "single_rough": -13.2,
            "single_half": -19.7,
            "single_fast": -26.5,
            "double_rough": -25.5,
            "double_fast": -56.0,
            "double_wide": -51.0,
        },
    ),
    Polynomial(
        "sin_squared",
        "sin(r)^2 = z P(z), z = r^2",
        "|r| <= 1.001 pi/4",
        0.0,
        (HALF_PI / 2) ** 2,
        exact=lambda z: z.sqrt().sin() ** 2,
        value=lambda z, p: z * p,
        weighting="sin(r)^2",
        targets={
            "single_rough": -14.0,
            "single_bfloat": -15.2,
            "single_half": -19.0,
            "single_fast": -26.0,
            "double_rough": -26.5,
            "double_fast": -55.0,
        },
    ),
    Polynomial(
        "erf_odd",
        "erf(x) = x + x P(z), z = x^2",
        "|x| <= 1.25",
        0.0,
        1.25**2,
        exact=lambda z: z.sqrt().erf(),
        value=lambda z, p: z.sqrt() * (1 + p),
        weighting="erf(x)",
        targets={"single_fast": -27.0},
    ),
    erf_to_saturation("erf_single_rough", 2.95, {"single_rough": -13.3}),
    erf_to_saturation("erf_double_rough", 4.1, {"double_rough": -25.6}),
    erf_centred("erf_double_wide", 3.95, 7.8125, "125/16", {"double_wide": -50.5}),
    erf_centred("erf_single_half", 2.64, 3.5, "7/2", {"single_half": -18.5}),
    erf_centred("erf_single_bfloat", 2.23, 2.5, "5/2", {"single_bfloat": -15.0}),
    erf_near("erf_single_fast", 2.625, 1.375, {"single_fast": -26.0}),
    erfcx_quotient("erfcx_double_rough", 28.0, {"double_rough": -25.6}),
    erfcx_quotient("erfcx_double_wide", 11.0, {"double_wide": -52.5}),
    next_to_root("gelu_root", "Phi(x) + x phi(x)", gelu_gradient, GELU_ROOT, 1.0 / 8),
    next_to_root("gelu_tanh_root", "(x s(2 u))'", gelu_tanh_gradient, GELU_TANH_ROOT, 1.0 / 32),
    next_to_root("silu_root", "(x s(x))'", silu_gradient, SILU_ROOT, 1.0 / 16),
    next_to_root("quick_gelu_root", "(x s(1.702 x))'", quick_gelu_gradient, QUICK_GELU_ROOT, 1.0 / 16),
    next_to_root("mish_root", "(x tanh(log(1 + exp(x))))'", mish_gradient, MISH_ROOT, 1.0 / 16),
    # The first coefficient is near 1/3, which is as far from floats as these targets.
    tanhshrink(
        "tanhshrink",
        1.0,
        {
            "single_rough": -13.2,
            "single_bfloat": -16.8,
            "single_half": -19.5,
            "single_fast": -24.9,
            "double_rough": -25.5,
            "double_fast": -53.9,
            "double_wide": -51.0,
        },
    ),
    tanhshrink("tanhshrink_pair", 0.5, {"pair": -68.0}),
    Polynomial(
        "expm1_less",
        "expm1(x) - x = x^2 P(x)",
        "-1 <= x <= 0",
        -1.0,
        0.0,
        exact=lambda x: x.expm1() - x,
        value=lambda x, p: x * x * p,
        weighting="expm1(x) - x",
        targets={
            "single_rough": -13.2,
            "single_bfloat": -15.7,
            "single_half": -19.5,
            "single_fast": -26.0,
            "double_rough": -25.5,
            "double_fast": -55.0,
            "double_wide": -51.0,
            "pair": -68.0,
        },
    ),
]


def rsqrt_seed() -> arb:
    """The root in [0.9, 1] by bisection."""
    low, high = arb(0.9).mid(), arb(1)
    for _ in range(PRECISION):
        middle = ((low + high) / 2).mid()
        too_high = (2 * (1 + middle) / 3) ** 1.5 / arb(2).sqrt() - 1 > 1 - middle.sqrt()
        low, high = (low, middle) if too_high else (middle, high)
    return low


TRIPLE = (53, 53, 53)
# (name, formula, value, bits of each part): the parts add up to the value.
CONSTANTS: list[tuple[str, str, arb, tuple[int, ...]]] = [
    ("LN2", "ln 2", arb.const_log2(), TRIPLE),
    ("LOG2E", "log2 e", 1 / arb.const_log2(), TRIPLE),
    ("LN10", "ln 10", arb.const_log10(), TRIPLE),
    ("LOG2_10", "log2 10", arb.const_log10() / arb.const_log2(), TRIPLE),
    ("SQRT1_2", "sqrt(1/2)", (1 / arb(2)).sqrt(), TRIPLE),
    ("SQRT2", "sqrt 2", arb(2).sqrt(), TRIPLE),
    ("PI", "pi", arb.pi(), TRIPLE),
    ("TWO_OVER_SQRT_PI", "2/sqrt(pi)", 2 / arb.pi().sqrt(), TRIPLE),
    ("SQRT_TWO_OVER_PI", "sqrt(2/pi)", (2 / arb.pi()).sqrt(), TRIPLE),
    ("ONE_OVER_SQRT_TWO_PI", "1/sqrt(2 pi)", 1 / (2 * arb.pi()).sqrt(), TRIPLE),
    ("PI_SINGLE", "pi in float32", arb.pi(), (24, 24, 24)),
    ("RSQRT_SEED", "root c of (2 (1 + c)/3)^(3/2)/sqrt 2 - 1 = 1 - sqrt c", rsqrt_seed(), TRIPLE),
    ("GELU_ROOT_DOUBLE", "root of Phi(x) + x phi(x)", GELU_ROOT, TRIPLE),
    ("GELU_TANH_ROOT_DOUBLE", "root of (x s(2 u))'", GELU_TANH_ROOT, TRIPLE),
    # That of swish is met by products of two numbers, which come nearer to it.
    ("SILU_ROOT_DOUBLE", "root of (x s(x))'", SILU_ROOT, (*TRIPLE, 53)),
    ("QUICK_GELU_ROOT_DOUBLE", "root of (x s(1.702 x))'", QUICK_GELU_ROOT, TRIPLE),
    ("MISH_ROOT_DOUBLE", "root of (x tanh(log(1 + exp(x))))'", MISH_ROOT, TRIPLE),
    ("LN2_SINGLE", "ln 2 in float32; n times the first is exact for |n| < 2^9", arb.const_log2(), (15, 24)),
    ("LN2_STEPS_SINGLE", "ln 2 in float32; n times the first is exact for |n| <= 2^12", arb.const_log2(), (12, 24)),
    ("LN2_STEPS_DOUBLE", "ln 2; n times the first is exact for |n| < 2^16", arb.const_log2(), (37, 53)),
    ("LOG2E_SINGLE", "log2 e in float32", 1 / arb.const_log2(), (24, 24)),
    ("LOG2E_DOUBLE", "log2 e", 1 / arb.const_log2(), (53, 53)),
    ("LN2_DOUBLE", "ln 2; n times the first is exact for |n| < 2^16", arb.const_log2(), (37, 53, 53)),
]
