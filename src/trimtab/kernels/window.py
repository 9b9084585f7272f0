"""Windows of the last `length` values: lag, sum, mean and variance.

A ring holds the values; its size is a power of two, so that a mask wraps it instead of a branch. `age` counts the rows
since the window was first full, and starts at -length: the value written at age a lies at slot (a + length) & mask, so
the one that leaves the window lies at slot a & mask. The ring's size is added first: plain Python has no uint64(-1).

A running sum that only adds and subtracts drifts, so it is added again from the ring on a schedule; while the window
holds a NaN the sum is NaN, and it is exact again on the first row without one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trimtab.kernels.compiled import compiled, inlined
from trimtab.types import F64

#: Rows between two re-additions of a running sum: its drift stays below 1e-12 of the largest sum in between.
RESUM = 4_096

#: Rows between two recomputations of running moments, which collect error faster than sums.
RECENTRE = 256

#: Recompute as soon as a squared deviation falls below this share of its largest value since the last time: what a
#: value that has left the window leaves behind is then at most 1e-16 / 1e-6 of what remains.
CANCELLED = 1e-6


class Lag(NamedTuple):
    """value is the input of `length` rows ago."""

    ring: F64
    age: int
    length: int
    value: float


class WindowSum(NamedTuple):
    """total is the sum of the last `length` values."""

    ring: F64
    age: int
    length: int
    total: float


class WindowMoments(NamedTuple):
    """mean of the last `length` values, m2 the sum of their squared deviations from it.

    shift: a value of the window at the last recomputation; offset: mean - shift; peak: the largest m2 since then.
    """

    ring: F64
    age: int
    length: int
    mean: float
    m2: float
    shift: float
    offset: float
    peak: float


@compiled
def ring_of(length: int) -> F64:
    """An empty ring for `length` values and one more.

    -> (R,)  zeros, R the smallest power of two above length
    """
    size = 1
    while size <= length:
        size *= 2
    return np.zeros(size)


@compiled
def ring_sum(ring: F64, first: int, length: int) -> float:
    """Sum of the `length` values from slot `first` on, oldest first."""
    mask = np.uint64(ring.shape[0] - 1)
    total = 0.0
    for k in range(length):
        total += ring[np.uint64(first + k) & mask]
    return total


@compiled
def ring_moments(ring: F64, first: int, length: int) -> tuple[float, float, float]:
    """Of `length` values from slot `first` on: the oldest, the mean less the oldest, and the sum of squared deviations.

    Shifted by the oldest value, so a constant window has a deviation of exactly zero.
    """
    mask = np.uint64(ring.shape[0] - 1)
    shift = ring[np.uint64(first) & mask]
    total = 0.0
    for k in range(length):
        total += ring[np.uint64(first + k) & mask] - shift
    offset = total / length
    m2 = 0.0
    for k in range(length):
        deviation = ring[np.uint64(first + k) & mask] - shift - offset
        m2 += deviation * deviation
    return shift, offset, m2


@compiled
def lag_init(length: int) -> Lag:
    """A lag of `length` rows, 1 or more."""
    return Lag(ring_of(length), -length, length, np.nan)


@inlined
def lag_step(s: Lag, x: float) -> Lag:
    """Read x. value is NaN for the first `length` rows; a NaN comes back as it went in."""
    size = s.ring.shape[0]
    mask = np.uint64(size - 1)
    s.ring[np.uint64(s.age + s.length) & mask] = x
    value = s.ring[np.uint64(s.age + size) & mask] if s.age >= 0 else np.nan
    return Lag(s.ring, s.age + 1, s.length, value)


@compiled
def sum_init(length: int) -> WindowSum:
    """An empty sum over `length` rows, 1 or more."""
    return WindowSum(ring_of(length), -length, length, np.nan)


@inlined
def sum_step(s: WindowSum, x: float) -> WindowSum:
    """Read x. total is NaN until `length` rows were read and while one of them is NaN.

    total + (new - old): exact for integers below 2**53, else re-added from the ring every RESUM rows.
    """
    size = s.ring.shape[0]
    mask = np.uint64(size - 1)
    age = s.age + 1
    total = s.total + (x - s.ring[np.uint64(s.age + size) & mask])
    s.ring[np.uint64(s.age + s.length) & mask] = x
    if age >= 0 and (age & (RESUM - 1) == 0 or total != total):  # NaN
        total = ring_sum(s.ring, age, s.length)
    return WindowSum(s.ring, age, s.length, total)


@compiled
def moments_init(length: int) -> WindowMoments:
    """Empty moments over `length` rows, 2 or more."""
    nan = np.nan
    return WindowMoments(ring_of(length), -length, length, nan, nan, nan, nan, nan)


@inlined
def moments_step(s: WindowMoments, x: float) -> WindowMoments:
    """Read x. mean and m2 are NaN until `length` rows were read and while one of them is NaN.

    Welford's update with the leaving value removed in the same line: no difference of large squares, and small numbers
    only, since all values are taken less a recent one. Recomputed from the ring every RECENTRE rows and after a
    cancellation; m2 of a constant window is exactly 0.
    Source: Chan, Golub, LeVeque (1983), The American Statistician 37(3).
    """
    size = s.ring.shape[0]
    mask = np.uint64(size - 1)
    age = s.age + 1
    shift = s.shift
    old = s.ring[np.uint64(s.age + size) & mask] - shift
    new = x - shift
    s.ring[np.uint64(s.age + s.length) & mask] = x
    offset = s.offset + (new - old) / s.length
    m2 = s.m2 + (new - old) * ((new - offset) + (old - s.offset))
    peak = max(s.peak, m2)
    if age >= 0 and (age & (RECENTRE - 1) == 0 or not m2 >= CANCELLED * peak):
        shift, offset, m2 = ring_moments(s.ring, age, s.length)
        peak = m2
    return WindowMoments(s.ring, age, s.length, shift + offset, m2, shift, offset, peak)


@inlined
def deviation(s: WindowMoments, ddof: int) -> float:
    """Standard deviation of the window, in the unit of its values; NaN until it is full."""
    return np.sqrt(s.m2 / (s.length - ddof))


@inlined
def bollinger(s: WindowMoments, width: float) -> tuple[float, float, float]:
    """Lower, middle and upper Bollinger band: the mean and `width` population deviations (ddof = 0) around it.

    Source: Bollinger (2001), Bollinger on Bollinger Bands, ch. 7.
    """
    reach = width * np.sqrt(s.m2 / s.length)
    return s.mean - reach, s.mean, s.mean + reach
