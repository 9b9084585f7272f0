"""Ordinal patterns of a window: how often each order of `order` values, `delay` rows apart, has occurred.

The code of a pattern is built from ranks among the values before: r_j = how many of x_0 … x_{j-1} are not above x_j,
read as a number whose digits count to 1, 2, … order - 1. So equal values are in the order of their time (as a stable
sort has them), and the patterns that begin alike are neighbours: code = code of the first order - 1 values * order +
rank of the last.

Permutation entropy is that of the patterns' shares, over ln order!: 1 where all are as frequent. Of n overlapping
patterns of noise, 2 n (ln order! - H) is a sum of squared normals with weights (the eigenvalues of the patterns'
covariance, overlaps counted, times order!), whatever the distribution of the noise: `entropy_bound` is from these.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from trimtab.kernels.autocorrelation import sidak
from trimtab.kernels.compiled import compiled, inlined
from trimtab.kernels.window import WindowMoments, moments_init, moments_step, ring_of
from trimtab.types import F64, I64

#: Of the weights of order 2 … 5: their sum, that of their squares and of their cubes. A test counts them again.
WEIGHTS = (
    (1.0 / 3.0, 1.0 / 9.0, 1.0 / 27.0),
    (3.4, 4.0, 5.728),
    (20.31428571428572, 29.147845804988673, 51.151691609977355),
    (115.12698412698413, 172.70527840765936, 328.705346676075),
)
ORDERS = (2, 5)


class WindowPatterns(NamedTuple):
    """Patterns of the last `length` rows: each row ends one.

    counts, sums  (order!,)  of each pattern: how often, and the sum of the values that it ended with
    logs          (length + 1,)  k ln k
    ring, codes   the values, and the pattern that ended with each
    row, run      rows read, and those of them since the last value that is not finite
    entropy       0 to 1; NaN until all patterns are there
    values        mean and deviation of the last values of all patterns
    """

    ring: F64
    codes: I64
    counts: I64
    sums: F64
    logs: F64
    order: int
    delay: int
    length: int
    row: int
    run: int
    entropy: float
    values: WindowMoments


@compiled
def patterns_init(length: int, order: int, delay: int) -> WindowPatterns:
    """An empty window of `length` patterns, of `order` 2 to 5 values."""
    ring = ring_of(length + (order - 1) * delay)
    kinds = 1
    for k in range(2, order + 1):
        kinds *= k
    logs = np.zeros(length + 1)
    for k in range(2, length + 1):
        logs[k] = k * math.log(k)
    codes, counts = np.zeros(ring.shape[0], np.int64), np.zeros(kinds, np.int64)
    sums, values = np.zeros(kinds), moments_init(length)
    return WindowPatterns(ring, codes, counts, sums, logs, order, delay, length, 0, 0, np.nan, values)


@inlined
def code_of(ring: F64, last: int, order: int, delay: int) -> int:
    """Code of the pattern of `order` values whose last is that of row `last`, 0 or more."""
    size = ring.shape[0]
    mask = np.uint64(size - 1)
    code = 0
    for j in range(1, order):
        x = ring[np.uint64(last + size - (order - 1 - j) * delay) & mask]
        rank = 0
        for i in range(j):
            rank += ring[np.uint64(last + size - (order - 1 - i) * delay) & mask] <= x
        code = code * (j + 1) + rank
    return code


@compiled
def recount(s: WindowPatterns, last: int) -> None:
    """Make counts and sums anew from the `length` rows up to `last`."""
    size = s.ring.shape[0]
    mask = np.uint64(size - 1)
    s.counts[:] = 0
    s.sums[:] = 0.0
    for k in range(s.length):
        at = np.uint64(last + size - s.length + 1 + k) & mask
        s.counts[s.codes[at]] += 1
        s.sums[s.codes[at]] += s.ring[at]


@compiled
def entropy_of(counts: I64, logs: F64, length: int) -> float:
    """Normalised entropy of so many patterns, given k ln k."""
    surprise = 0.0
    for k in range(counts.shape[0]):
        surprise += float(logs[counts[k]])
    return max(0.0, (math.log(float(length)) - surprise / length) / math.log(float(counts.shape[0])))


@inlined
def patterns_step(s: WindowPatterns, x: float) -> WindowPatterns:
    """Read x. What is counted is exact; sums of values are made anew with every window that goes by."""
    size = s.ring.shape[0]
    mask = np.uint64(size - 1)
    row, n = s.row, s.length
    run = s.run + 1 if abs(x) < np.inf else 0
    s.ring[np.uint64(row) & mask] = x
    reach = (s.order - 1) * s.delay
    entropy, values = np.nan, moments_step(s.values, x)
    if run > reach:
        code = code_of(s.ring, row, s.order, s.delay)
        if run >= n + reach:
            if run == n + reach or row % n == 0:
                s.codes[np.uint64(row) & mask] = code
                recount(s, row)
            else:
                gone = np.uint64(row + size - n) & mask
                s.counts[s.codes[gone]] -= 1
                s.sums[s.codes[gone]] -= s.ring[gone]
                s.counts[code] += 1
                s.sums[code] += x
            entropy = entropy_of(s.counts, s.logs, n)
        s.codes[np.uint64(row) & mask] = code
    return WindowPatterns(s.ring, s.codes, s.counts, s.sums, s.logs, s.order, s.delay, n, row + 1, run, entropy, values)


@inlined
def beginning(s: WindowPatterns) -> int:
    """Code of the order - 1 values that the next row will end a pattern with."""
    return code_of(s.ring, s.row - s.delay, s.order - 1, s.delay)


@compiled
def after(s: WindowPatterns, begun: int) -> tuple[int, float]:
    """How many patterns of the window began like this, and the sum of the values that ended them, less the mean."""
    times, total = 0, 0.0
    for k in range(begun * s.order, (begun + 1) * s.order):
        times += s.counts[k]
        total += s.sums[k]
    return times, total - times * s.values.mean


@compiled
def entropy_bound(level: float, length: int, order: int) -> float:
    """The permutation entropy that noise falls below with probability `level` (up to 0.5), of `length` patterns.

    Three moments of the weighted sum are those of a scaled and shifted chi-square, whose quantile is Wilson and
    Hilferty's. With ten patterns or more for each that there is, noise falls below that of 0.05 5 to 6% of the time.
    Source: Buckley, Eagleson (1988), Austral. J. Statistics 30(1); Wilson, Hilferty (1931), PNAS 17(12).
    """
    kinds = 1.0
    for k in range(2, order + 1):
        kinds *= k
    one, two, three = WEIGHTS[order - 2]
    freedom = two * two * two / (three * three)
    z = sidak(2.0 * level, 1) if level < 0.5 else 0.0
    cube = 1.0 - 2.0 / (9.0 * freedom) + z * math.sqrt(2.0 / (9.0 * freedom))
    bound = one + three / two * freedom * (cube * cube * cube - 1.0)
    return 1.0 - bound / (2.0 * length * math.log(kinds))
