"""The layout of a job: an array of 64-bit numbers that tells `fastact.cpu.lowering.drive` what to do.

The first three are written by all threads and lie on cache lines of their own.
"""

from __future__ import annotations

NEXT, FINISHED, FLAGS = 0, 8, 16
"""Places of the next piece to be taken, of the number of pieces done, and of the flags they raised (NumPy's bits)."""
PIECES, GRAIN, PARTS, LENGTH, INNER, LOOP, LARGE, OPERANDS, OUTER, TABLES = range(24, 34)
"""Number of pieces; how many are taken at a time; parts that the inner dimension is cut into, and elements of each but
the last; elements of the inner dimension; address of the loop, and what it is told: not 0 if the results as a whole are
`STREAM` bytes or more; counts of operands and of outer dimensions. Then come the outer dimensions, innermost first, the
operands' addresses, their inner strides, and for each outer dimension its strides."""
STREAM = 1 << 26
"""Bytes of results from which on they are written past the caches: else memory is read before it is overwritten. Of
half as many nothing was gained where that was measured, and who read the results next lost."""


def head(
    *, pieces: int, grain: int, parts: int, length: int, inner: int, loop: int, large: bool, operands: int, outer: int
) -> list[int]:
    """What stands before the tables."""
    return [*[0] * PIECES, pieces, grain, parts, length, inner, loop, int(large), operands, outer]
