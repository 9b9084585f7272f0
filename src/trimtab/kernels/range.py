"""True range and Wilder's average of it; the slope of the last values over time.

A bar's range misses the gap before it; the true range does not:

    TR_t = max(high_t, close_{t-1}) - min(low_t, close_{t-1})

Wilder's average is ATR_t = ATR_{t-1} + (TR_t - ATR_{t-1}) / n, which forgets half as fast as the exponential average of
the same length, 2 / (n + 1). Of its two seeds in use this is the one that begins with the second bar: the first has no
close before it, so its range is no true range. (The other counts it in; the two converge as (1 - 1 / n)^k.)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trimtab.kernels.compiled import compiled, inlined
from trimtab.kernels.window import RECENTRE, ring_of
from trimtab.types import F64


class TrueRange(NamedTuple):
    """value is the true range of the last bar, average that of Wilder; both NaN until they are known.

    bars: true ranges that were read; previous: the last close
    """

    length: int
    bars: int
    previous: float
    value: float
    total: float
    average: float


class Trend(NamedTuple):
    """slope is that of the least-squares line through the last `length` values over their row, per row.

    plain, weighted: sums of a value less shift, and of it times its place in the window, 0 for the oldest
    row, run: rows read, and those of them since the last value that is not finite
    """

    ring: F64
    row: int
    run: int
    length: int
    shift: float
    plain: float
    weighted: float
    slope: float


@compiled
def range_init(length: int) -> TrueRange:
    """An average over `length` true ranges, 1 or more."""
    return TrueRange(length, -1, np.nan, np.nan, 0.0, np.nan)


@inlined
def range_step(s: TrueRange, high: float, low: float, close: float) -> TrueRange:
    """Read a bar; one that is not observed (NaN) is passed over. average is NaN for the first `length` bars.

    Source: Wilder (1978), New Concepts in Technical Trading Systems, sec. III.
    """
    if not abs(high + low + close) < np.inf:
        return s
    if s.bars < 0:
        return TrueRange(s.length, 0, close, np.nan, 0.0, np.nan)
    value = max(high, s.previous) - min(low, s.previous)
    bars, total, average = s.bars + 1, s.total, s.average
    if bars <= s.length:
        total += value
        average = total / s.length if bars == s.length else np.nan
    else:
        average += (value - average) / s.length
    return TrueRange(s.length, bars, close, value, total, average)


@compiled
def trend_init(length: int) -> Trend:
    """An empty window of `length` values, 2 or more."""
    nan = np.nan
    return Trend(ring_of(length), 0, 0, length, nan, nan, nan, nan)


@compiled
def ring_trend(ring: F64, first: int, length: int) -> tuple[float, float, float]:
    """Of `length` values from slot `first` on: the oldest, and the sums of the others less it, plain and by place."""
    mask = np.uint64(ring.shape[0] - 1)
    shift = ring[np.uint64(first) & mask]
    plain, weighted = 0.0, 0.0
    for k in range(length):
        y = ring[np.uint64(first + k) & mask] - shift
        plain += y
        weighted += k * y
    return shift, plain, weighted


@inlined
def trend_step(s: Trend, x: float) -> Trend:
    """Read x. slope is NaN until `length` values were read and while one of them is not finite.

    Both sums slide, and are made anew from the ring every RECENTRE rows.
    """
    size = s.ring.shape[0]
    mask = np.uint64(size - 1)
    run = s.run + 1 if abs(x) < np.inf else 0
    old = s.ring[np.uint64(s.row + size - s.length) & mask]
    s.ring[np.uint64(s.row) & mask] = x
    row, n = s.row + 1, s.length
    if run < n:
        nan = np.nan
        return Trend(s.ring, row, run, n, nan, nan, nan, nan)
    if run == n or row & (RECENTRE - 1) == 0:
        shift, plain, weighted = ring_trend(s.ring, row + size - n, n)
    else:
        shift = s.shift
        weighted = s.weighted - (s.plain - (old - shift)) + (n - 1) * (x - shift)
        plain = s.plain + (x - old)
    # sum of (k - (n - 1) / 2)^2 is n (n^2 - 1) / 12
    slope = (weighted - 0.5 * (n - 1) * plain) * 12.0 / (n * (n * n - 1.0))
    return Trend(s.ring, row, run, n, shift, plain, weighted, slope)
