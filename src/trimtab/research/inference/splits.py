"""The loop over all splits of cross-validation: who wins each half, and where it ranks in the other.

Compiled, and only loaded when it is asked for.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.compiled import loop
from trimtab.types import F64, I64


class Blocks(NamedTuple):
    """A matrix of returns, added up in S blocks of rows.

    centre   (N,)    a number near each column's mean, which is taken off before anything is added
    total    (S, N)  sum of what is left
    squares  (S, N)  sum of its squares
    rows     (S,)    rows of each block
    doubted  (D,)    columns that may be flat in a half
    low      (S, N)  smallest and largest value
    high     (S, N)
    """

    centre: F64
    total: F64
    squares: F64
    rows: F64
    doubted: I64
    low: F64
    high: F64


class Picks(NamedTuple):
    """Per split (M,): the column chosen in-sample (-1: none could be), its Sharpe there and outside, its rank outside.

    The rank is 1 for the worst of N; among equals their middle.
    """

    column: I64
    inside: F64
    outside: F64
    rank: F64


@loop
def judge(blocks: Blocks, halves: NDArray[np.int64], first: int, last: int, picks: Picks) -> None:
    """Write the splits first … last of the first half of all, and those with in-sample and out-of-sample exchanged.

    halves  (M / 2, S / 2) blocks in-sample, in lexicographic order, those with block 0: the complement of the k-th
            combination is the k-th from the end

    Consecutive combinations share their first blocks, whose sums are kept: on average two blocks are added per split.
    """
    size, n = blocks.total.shape
    depth, splits = halves.shape[1], picks.column.shape[0]
    total, squares, rows = np.zeros((depth + 1, n)), np.zeros((depth + 1, n)), np.zeros(depth + 1)
    whole, whole_squares, all_rows = np.zeros(n), np.zeros(n), 0.0
    for b in range(size):
        all_rows += blocks.rows[b]
        for j in range(n):
            whole[j] += blocks.total[b, j]
            whole_squares[j] += blocks.squares[b, j]
    ours, theirs = np.empty(n), np.empty(n)
    inside = np.zeros(size, np.bool_)
    flat = np.empty((2, n), np.bool_)
    for c in range(first, last):
        kept = 0
        if c > first:
            while halves[c, kept] == halves[c - 1, kept]:
                kept += 1
        for d in range(kept, depth):
            b = halves[c, d]
            rows[d + 1] = rows[d] + blocks.rows[b]
            for j in range(n):
                total[d + 1, j] = total[d, j] + blocks.total[b, j]
                squares[d + 1, j] = squares[d, j] + blocks.squares[b, j]
        here, there = rows[depth], all_rows - rows[depth]
        for j in range(n):
            s, q = total[depth, j], squares[depth, j]
            mean = s / here
            spread = (q - s * mean) / (here - 1.0)
            ours[j] = (blocks.centre[j] + mean) / math.sqrt(spread if spread > 0.0 else np.inf)
            s, q = whole[j] - s, whole_squares[j] - q
            mean = s / there
            spread = (q - s * mean) / (there - 1.0)
            theirs[j] = (blocks.centre[j] + mean) / math.sqrt(spread if spread > 0.0 else np.inf)
        if blocks.doubted.shape[0]:
            inside[:] = False
            for d in range(depth):
                inside[halves[c, d]] = True
            for j in blocks.doubted:
                flat[0, j] = is_flat_in(blocks, j, inside, True)
                flat[1, j] = is_flat_in(blocks, j, inside, False)
        pick(blocks.doubted, flat[0], flat[1], ours, theirs, c, picks)
        pick(blocks.doubted, flat[1], flat[0], theirs, ours, splits - 1 - c, picks)


@loop
def is_flat_in(blocks: Blocks, j: int, inside: NDArray[np.bool_], side: bool) -> bool:
    """Has column j one value in all blocks of a side, but for rounding?"""
    low, high = np.inf, -np.inf
    for b in range(inside.shape[0]):
        if inside[b] == side:
            low, high = min(low, blocks.low[b, j]), max(high, blocks.high[b, j])
    return high - low <= 1e-12 * max(abs(low), abs(high))


@loop
def pick(
    doubted: I64, flat: NDArray[np.bool_], flat_outside: NDArray[np.bool_], sample: F64, outside: F64, c: int,
    picks: Picks,
) -> None:  # fmt: skip
    """The best column of `sample`, the first among equals, and its rank in `outside`; a flat one has 0 and no turn."""
    for j in doubted:
        if flat[j]:
            sample[j] = -np.inf
        if flat_outside[j]:
            outside[j] = 0.0
    best, highest = -1, -np.inf
    for j in range(sample.shape[0]):
        if sample[j] > highest:
            best, highest = j, sample[j]
    for j in doubted:
        if flat[j]:
            sample[j] = 0.0
    picks.column[c] = best
    if best < 0:
        return
    value = outside[best]
    below, equal = 0, 0
    for j in range(outside.shape[0]):
        below += outside[j] < value
        equal += outside[j] == value
    picks.inside[c], picks.outside[c] = highest, value
    picks.rank[c] = below + 0.5 * (equal + 1)
