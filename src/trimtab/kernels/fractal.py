"""Hurst exponent of the last `length` increments: rescaled range with Anis and Lloyd's correction, and DFA.

Both look at a window in blocks of 8, 16, … length / 4 values. The blocks end at the last row and lie side by side
before it, so that a block is measured once, when its last value is read, and serves every window that it is in: a row
costs one block of each size, and an addition per block of the window. Nothing is taken off a running sum.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from trimtab.kernels.autocorrelation import STILL
from trimtab.kernels.compiled import compiled, inlined
from trimtab.types import F64

#: The smallest block: of shorter ones neither statistic says much.
LEAST = 8


class WindowHurst(NamedTuple):
    """Two estimates of the Hurst exponent of the last `length` values, which are increments, not levels.

    rescaled    0.5 + slope of log of the mean R/S over its expectation for noise; fluctuation: by DFA of order 1.
                NaN until the window is full, while it holds a value that is not finite, and where it stands still
    ring        (length,)  the values, that of row r at r & (length - 1)
    ranges      (S, length)  R/S of the block that ends at a row, by size 8 * 2^k; NaN where the block stands still
    residuals   (S, length)  mean square of the block's profile around its line
    expected    (S,)  log of the expectation of R/S for noise
    row, run    rows read, and those of them since the last value that is not finite
    """

    ring: F64
    ranges: F64
    residuals: F64
    expected: F64
    row: int
    run: int
    length: int
    rescaled: float
    fluctuation: float


@compiled
def expected_range(size: int) -> float:
    """Expectation of R/S of `size` normal values without correlation; S with ddof = 0.

    Gamma((n - 1) / 2) / (sqrt(pi) Gamma(n / 2)) * sum over r = 1 … n - 1 of sqrt((n - r) / r)
    Source: Anis, Lloyd (1976), Biometrika 63(1).
    """
    total = 0.0
    for r in range(1, size):
        total += math.sqrt((size - r) / r)
    # Gamma((n - 1) / 2) / (sqrt(pi) Gamma(n / 2)) is 1 for n = 2 and 2 / pi for n = 3; n to n + 2: (n - 1) / n times.
    ratio, n = (2.0 / math.pi, 3) if size % 2 else (1.0, 2)
    while n < size:
        ratio *= (n - 1.0) / n
        n += 2
    return ratio * total


@compiled
def hurst_init(length: int) -> WindowHurst:
    """An empty window of `length` values: a power of two, 64 or more."""
    sizes = 0
    while LEAST << sizes <= length // 4:
        sizes += 1
    expected = np.empty(sizes)
    for k in range(sizes):
        expected[k] = math.log(expected_range(LEAST << k))
    ranges = np.full((sizes, length), np.nan)
    return WindowHurst(np.zeros(length), ranges, ranges.copy(), expected, 0, 0, length, np.nan, np.nan)


@compiled
def block(ring: F64, last: int, size: int) -> tuple[float, float]:
    """R/S of the `size` values up to row `last`, and the mean square of their profile around its line.

    ->  NaN and 0 where they stand still
    """
    mask = np.uint64(ring.shape[0] - 1)
    first = last + ring.shape[0] - size + 1
    shift, gap = ring[np.uint64(first) & mask], 0.0
    for t in range(size):
        gap += ring[np.uint64(first + t) & mask] - shift
    mean = shift + gap / size
    level, low, high, own = 0.0, np.inf, -np.inf, 0.0
    once, twice, tilted = 0.0, 0.0, 0.0
    middle = 0.5 * (size - 1.0)
    for t in range(size):
        d = ring[np.uint64(first + t) & mask] - mean
        own += d * d
        level += d
        low, high = min(low, level), max(high, level)
        once += level
        twice += level * level
        tilted += (t - middle) * level
    deviation = math.sqrt(own / size)
    if not deviation > STILL:
        return np.nan, 0.0
    along = size * (size * size - 1.0) / 12.0
    residual = twice - once * once / size - tilted * tilted / along
    return (high - low) / deviation, max(residual, 0.0) / size


@compiled
def slopes(ranges: F64, residuals: F64, expected: F64, row: int) -> tuple[float, float]:
    """The two exponents of the window that ends at `row`."""
    length, sizes = ranges.shape[1], ranges.shape[0]
    mask = np.uint64(length - 1)
    middle = 0.5 * (sizes - 1.0)
    rescaled, fluctuation, along = 0.0, 0.0, 0.0
    for k in range(sizes):
        size, total, square, found = LEAST << k, 0.0, 0.0, 0
        for t in range(row + length, row, -size):
            value = ranges[k, np.uint64(t) & mask]
            if value == value:  # not NaN
                total += value
                found += 1
            square += residuals[k, np.uint64(t) & mask]
        if found == 0 or not square > 0.0:
            return np.nan, np.nan
        rescaled += (k - middle) * (math.log(total / found) - expected[k])
        fluctuation += (k - middle) * 0.5 * math.log(square * size / length)
        along += (k - middle) * (k - middle)
    step = along * math.log(2.0)
    return 0.5 + rescaled / step, fluctuation / step


@inlined
def hurst_step(s: WindowHurst, x: float) -> WindowHurst:
    """Read x, an increment."""
    row, n = s.row, s.length
    run = s.run + 1 if abs(x) < np.inf else 0
    at = np.uint64(row) & np.uint64(n - 1)
    s.ring[at] = x
    for k in range(s.expected.shape[0]):
        if run >= LEAST << k:
            s.ranges[k, at], s.residuals[k, at] = block(s.ring, row, LEAST << k)
    rescaled, fluctuation = np.nan, np.nan
    if run >= n:
        rescaled, fluctuation = slopes(s.ranges, s.residuals, s.expected, row)
    return WindowHurst(s.ring, s.ranges, s.residuals, s.expected, row + 1, run, n, rescaled, fluctuation)


@compiled
def hurst_of(values: F64) -> tuple[float, float]:
    """The two exponents of values (n,), n a power of two, 64 or more: as `hurst_step` gives after the last of them."""
    s = hurst_init(values.shape[0])
    for k in range(s.expected.shape[0]):
        for last in range((LEAST << k) - 1, values.shape[0], LEAST << k):
            s.ranges[k, last], s.residuals[k, last] = block(values, last, LEAST << k)
    return slopes(s.ranges, s.residuals, s.expected, values.shape[0] - 1)
