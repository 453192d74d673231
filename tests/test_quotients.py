"""Quotients and roots by multiplications, for processors with slow dividers, have the bits of divisions and roots."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from compiled import same
from quotient_loops import (
    DTYPES,
    LEADING,
    LOOPS,
    OPERATIONS,
    SLOW,
    TURN,
    address,
    call,
    operands,
    ordinary,
    right,
    scaled,
)

from fastact.accuracy.samples import special, stratified
from fastact.kernels import REGISTRY
from fastact.link.forms import kernel
from fastact.link.graph import BITS

KERNELS = [
    (*key, dtype, tier)
    for key in (
        ("reciprocal", "value"), ("reciprocal", "grad"), ("reciprocal", "backward"), ("sqrt", "value"),
        ("sqrt", "backward"), ("rsqrt", "value"), ("rsqrt", "grad"), ("softsign", "value"), ("softsign", "backward"),
        ("squareplus", "value"), ("log", "grad"), ("log", "backward"), ("log2", "grad"), ("hardsigmoid", "backward"),
        ("jump_relu", "bandwidth_grad_theta"),
    )
    for dtype in ("float32", "float64")
    for tier in ("exact", "fast")
]  # fmt: skip


# -- proofs of float32, and what is in danger of float64 --------------------------------------------------------------
@SLOW
def test_reciprocals_of_all_singles_between_one_and_two() -> None:
    """Others are these times powers of two, as seeds are and what follows from them."""
    loop = LOOPS["1/b", "f32"]
    bits = np.arange(1 << 23, dtype=np.uint32)
    for exponent in (127, 64, 191):
        b = (bits | np.uint32(exponent << 23)).view(np.float32)
        assert same(call(loop, b), np.float32(1) / b)


@SLOW
def test_roots_of_all_singles_of_two_binades() -> None:
    loop = LOOPS["sqrt a", "f32"]
    bits = np.arange(1 << 24, dtype=np.uint32)
    for exponent in (127, 64, 190):
        x = (bits + np.uint32(exponent << 23)).view(np.float32)
        assert same(call(loop, x), np.sqrt(x))


def factors(number: int, primes: tuple[int, ...]) -> list[int]:
    """Those of 53 bits whose cofactors have 54."""
    assert np.prod(np.array(primes, object)) == number
    chosen = {int(np.prod(np.array(part, object))) for k in range(8) for part in itertools.combinations(primes, k)}
    return sorted(b for b in chosen if 1 << 52 < b < 1 << 53 and number // b > 1 << 53)


@SLOW
def test_reciprocals_of_doubles_that_are_next_to_boundaries() -> None:
    """They are factors of 2^106 - 1 and of 2^106 + 1."""
    below = factors((1 << 106) - 1, (3, 107, 6361, 69431, 20394401, 28059810762433))
    above = factors((1 << 106) + 1, (5, 15358129, 586477649, 1801439824104653))
    assert 2**53 - 1 in below and 9007199120523265 in above
    exponents = np.arange(-500, 500)
    for b in (*below, *above, *range((1 << 53) - 4000, 1 << 53)):
        numbers = scaled("f64", b, exponents)
        assert same(call(LOOPS["1/b", "f64"], numbers), 1.0 / numbers), b


def inverses(b: Any, bits: int) -> Any:
    """Of odd numbers, of so many bits (up to 64)."""
    found = b.copy()
    for _ in range(6):
        found = found * (np.uint64(2) - b * found)
    return found & np.uint64((1 << bits) - 1)


def hard_quotients(type: str, count: int, sign: int) -> tuple[Any, Any]:
    """a and b, of which a/b is as near to a boundary of rounding as it can be: 2^p+1 a = m b + sign for an odd m."""
    p = LEADING[type]
    random = np.random.default_rng(5)
    b = random.integers(1 << p - 1, 1 << p, count, dtype=np.uint64) | np.uint64(1)
    b[:2000] = np.arange((1 << p) - 4000, 1 << p, 2, dtype=np.uint64) + np.uint64(1)
    m = inverses(b, p + 1)
    m = m if sign < 0 else np.uint64(1 << p + 1) - m
    pairs = []
    for one, other in zip(m.tolist(), b.tolist(), strict=True):
        a, rest = divmod(one * other + sign, 1 << p + 1)
        assert rest == 0
        pairs.append(a)
    a = np.array(pairs, np.uint64)
    kept = (m > np.uint64(1 << p)) & (a > 0) & (a < np.uint64(1 << p))
    return a[kept], b[kept]


@SLOW
@pytest.mark.parametrize("type", DTYPES)
@pytest.mark.parametrize("sign", [-1, 1])
def test_quotients_next_to_boundaries(type: str, sign: int) -> None:
    a, b = hard_quotients(type, 40000, sign)
    assert a.size > 10000
    random = np.random.default_rng(6)
    for _ in range(4):
        x, y = (scaled(type, v, random.integers(-25, 25, v.size)) for v in (a, b))
        x[::3] *= -1
        y[::5] *= -1
        assert same(call(LOOPS["a/b", type], x, y), x / y)


def squares_nearly(c: int, bits: int) -> list[int]:
    """The odd numbers of so many bits whose squares are c modulo 2^bits, lifted bit by bit."""
    found = [1, 3, 5, 7]
    for k in range(3, bits):
        found = [m for one in found for m in (one, one + (1 << k)) if (m * m - c) % (1 << k + 1) == 0]
        found = sorted({m % (1 << k + 1) for m in found})
    return found


def hard_roots(most: int) -> list[float]:
    """The doubles between 1 and 4 that are within ``most`` 2^-106 of the square of a boundary between two doubles."""
    found = set()
    for binade in (0, 1):  # x is a multiple of 2^(binade - 52) and m one of 2^-53: 2^(54 + binade) divides m^2 + c
        step = 54 + binade
        for c in range(-most, most + 1):
            if -c % 8 != 1:
                continue
            for one in squares_nearly(-c % (1 << step), step):
                for m in range(one, 1 << 54, 1 << step - 1):  # roots repeat after half the modulus
                    x, rest = divmod(m * m + c, 1 << step)
                    if m >> 53 == 1 and rest == 0 and 1 << 52 <= x < 1 << 53:
                        found.add(float(x) * 2.0 ** (binade - 52))
    return sorted(found)


@SLOW
def test_roots_of_doubles_that_are_next_to_boundaries() -> None:
    x = np.array(hard_roots(1500))
    assert x.size > 500 and 1 + 2.0**-52 in x and 4 - 2.0**-51 in x
    for exponent in (-500, -52, 0, 2, 300, 508):
        assert same(call(LOOPS["sqrt a", "f64"], np.ldexp(x, exponent)), np.sqrt(np.ldexp(x, exponent)))


# -- everything else --------------------------------------------------------------------------------------------------
@SLOW
@pytest.mark.parametrize("type", DTYPES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_numbers_of_all_exponents(operation: str, type: str) -> None:
    given = operands(operation, type, 20000)
    assert same(call(LOOPS[operation, type], *given), right(operation, type, *given))


@SLOW
@pytest.mark.parametrize("type", DTYPES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_ordinary_numbers(operation: str, type: str) -> None:
    given = [ordinary(type, 1 << 18, seed) for seed in range(operation.count("a") + operation.count("b"))]
    if operation[0] != "s":
        given[0][::3] *= -1
    assert same(call(LOOPS[operation, type], *given), right(operation, type, *given))


@SLOW
@pytest.mark.parametrize("type", DTYPES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_exponents_at_the_ends_of_the_ordinary_ones(operation: str, type: str) -> None:
    """Whichever of them are ordinary: mantissas of all kinds with each exponent, and each with each other."""
    inputs = operation.count("a") + operation.count("b")
    bits, leading = BITS[type], LEADING[type]
    exponents = np.arange(1 << bits - leading, dtype=np.uint64)
    if inputs == 2:
        edges = {e + d for e in exponents[:: max(1, exponents.size // 8)].tolist() for d in (-1, 0, 1)}
        exponents = np.array(sorted(e for e in edges if 0 <= e < exponents.size), np.uint64)
    mantissas = np.random.default_rng(8).integers(0, 1 << leading - 1, 32, dtype=np.uint64)
    mantissas[[0, 1, -1]] = 0, (1 << leading - 1) - 1, (1 << leading - 1) - 1
    kind = np.dtype(f"u{bits // 8}")
    if inputs == 1:
        patterns = (exponents[:, None] << np.uint64(leading - 1) | mantissas).astype(kind)
        x = np.concatenate([patterns, patterns | kind.type(1 << bits - 1)]).view(DTYPES[type])
        for turn in (x.reshape(-1), np.ascontiguousarray(x.T).reshape(-1)):
            assert same(call(LOOPS[operation, type], turn), right(operation, type, turn))
        return
    for a, b in itertools.product(exponents.tolist(), exponents.tolist()):
        x, y = ((np.uint64(e << leading - 1) | m).astype(kind) for e, m in ((a, mantissas), (b, mantissas[::-1])))
        x[::2] |= kind.type(1 << bits - 1)
        x, y = (np.tile(v.view(DTYPES[type]), 2) for v in (x, y))
        assert same(call(LOOPS[operation, type], x, y), right(operation, type, x, y)), (a, b)


@SLOW
@pytest.mark.parametrize("type", DTYPES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_special_numbers_in_every_place(operation: str, type: str) -> None:
    loop, width = LOOPS[operation, type], TURN // DTYPES[type].itemsize
    usual = [ordinary(type, 3 * width + 5, seed) for seed in range(operation.count("a") + operation.count("b"))]
    limits = np.finfo(DTYPES[type])
    odd = (0.0, np.inf, np.nan, limits.tiny, limits.max, limits.smallest_subnormal, limits.tiny * 1.5)
    for place, value, sign, k in itertools.product(range(width), odd, (1, -1), range(len(usual))):
        given = [v.copy() for v in usual]
        given[k][width + place] = sign * value
        if k == 0 and place % 3 == 0:
            given[-1][2 * width] = 0.0
        assert same(call(loop, *given), right(operation, type, *given)), (place, value, sign, k)


@SLOW
@pytest.mark.parametrize("key", KERNELS, ids="-".join)
def test_kernels_have_the_bits_of_divisions(key: tuple[str, str, str, str]) -> None:
    made = kernel(REGISTRY[key[0]], *key[1:])
    dtype, count = np.dtype(key[2]), 6000
    random = np.random.default_rng(3)
    numbers = [
        np.resize(np.concatenate([special(dtype), stratified(dtype, 2000, seed=7)]), count),
        random.uniform(0.01, 4, count).astype(dtype),
    ]
    loops = [address(made.graph, slow, evidence=made.evidence, varying=made.varying) for slow in (True, False)]
    for x in numbers:
        inputs = [x, *(random.permutation(numbers[1]) for _ in made.graph.inputs[1:])]
        for given in (inputs, inputs[::-1]):
            found, expected = (call(loop, *given) for loop in loops)
            assert same(found, expected)
