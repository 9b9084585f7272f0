"""Rolling least squares of y on x over the last `length` rows, and the spread y - slope * x that it leaves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trimtab.kernels.compiled import compiled, inlined
from trimtab.kernels.window import CANCELLED, RECENTRE, ring_moments, ring_of
from trimtab.types import F64


class WindowPair(NamedTuple):
    """Means, and sums of products of deviations, of the last `length` (x, y); peaks are the largest of late."""

    xs: F64
    ys: F64
    age: int
    length: int
    mean_x: float
    mean_y: float
    m_xx: float
    m_xy: float
    m_yy: float
    peak_xx: float
    peak_yy: float


@compiled
def pair_init(length: int) -> WindowPair:
    """An empty window of `length` pairs, 3 or more."""
    nan = np.nan
    return WindowPair(ring_of(length), ring_of(length), -length, length, nan, nan, nan, nan, nan, nan, nan)


@compiled
def ring_product(xs: F64, ys: F64, first: int, length: int, mean_x: float, mean_y: float) -> float:
    """Sum of the products of deviations from the means, of the `length` pairs from slot `first` on."""
    mask = np.uint64(xs.shape[0] - 1)
    total = 0.0
    for k in range(length):
        slot = np.uint64(first + k) & mask
        total += (xs[slot] - mean_x) * (ys[slot] - mean_y)
    return total


@inlined
def pair_step(s: WindowPair, x: float, y: float) -> WindowPair:
    """Read (x, y). All moments are NaN until `length` rows were read and while one of them holds a NaN.

    Welford's update with removal, recomputed from the rings every RECENTRE rows and after a cancellation.
    """
    mask = np.uint64(s.xs.shape[0] - 1)
    age = s.age + 1
    old_slot = np.uint64(s.age) & mask
    new_slot = np.uint64(s.age + s.length) & mask
    old_x, old_y = s.xs[old_slot], s.ys[old_slot]
    s.xs[new_slot], s.ys[new_slot] = x, y
    mean_x = s.mean_x + (x - old_x) / s.length
    mean_y = s.mean_y + (y - old_y) / s.length
    m_xx = s.m_xx + (x - old_x) * ((x - mean_x) + (old_x - s.mean_x))
    m_yy = s.m_yy + (y - old_y) * ((y - mean_y) + (old_y - s.mean_y))
    # One factor from the old mean, the other from the new: then nothing is left over of the shift of both means.
    m_xy = s.m_xy + (x - s.mean_x) * (y - mean_y) - (old_x - s.mean_x) * (old_y - mean_y)
    peak_xx, peak_yy = max(s.peak_xx, m_xx), max(s.peak_yy, m_yy)
    cancelled = not (m_xx >= CANCELLED * peak_xx and m_yy >= CANCELLED * peak_yy)
    if age >= 0 and (age & (RECENTRE - 1) == 0 or cancelled):
        mean_x, m_xx = ring_moments(s.xs, age, s.length)
        mean_y, m_yy = ring_moments(s.ys, age, s.length)
        m_xy = ring_product(s.xs, s.ys, age, s.length, mean_x, mean_y)
        peak_xx, peak_yy = m_xx, m_yy
    return WindowPair(s.xs, s.ys, age, s.length, mean_x, mean_y, m_xx, m_xy, m_yy, peak_xx, peak_yy)


@inlined
def slope(s: WindowPair) -> float:
    """Least-squares slope of y on x, with intercept; NaN where x does not vary. y on x is not the inverse of x on y."""
    return s.m_xy / s.m_xx if s.m_xx > 0.0 else np.nan


@compiled
def ring_spread(xs: F64, ys: F64, first: int, length: int, hedge: float) -> tuple[float, float]:
    """Mean, and sum of squared deviations from it, of y - hedge * x over the `length` pairs from slot `first` on."""
    mask = np.uint64(xs.shape[0] - 1)
    start = np.uint64(first) & mask
    shift = ys[start] - hedge * xs[start]
    total = 0.0
    for k in range(length):
        slot = np.uint64(first + k) & mask
        total += ys[slot] - hedge * xs[slot] - shift
    centre = total / length
    m2 = 0.0
    for k in range(length):
        slot = np.uint64(first + k) & mask
        gap = ys[slot] - hedge * xs[slot] - shift - centre
        m2 += gap * gap
    return shift + centre, m2


@inlined
def zscore(s: WindowPair, hedge: float) -> float:
    """Deviations (ddof = 1) of the newest spread y - hedge * x from the window's mean spread, the newest row included.

    ->  NaN until the window is full, and where the spread does not vary (as of two copies of one series)

    Bounded by (length - 1) / sqrt(length). The one `hedge` values the whole window: a hedge ratio that moves does not
    enter the spread's history. Computed from the moments, and from the rings where those would cancel.
    """
    mask = np.uint64(s.xs.shape[0] - 1)
    newest = np.uint64(s.age + s.length - 1) & mask
    spread = s.ys[newest] - hedge * s.xs[newest]
    mean = s.mean_y - hedge * s.mean_x
    m2 = s.m_yy - 2.0 * hedge * s.m_xy + hedge * hedge * s.m_xx
    level = s.m_yy + hedge * hedge * s.m_xx
    if m2 < CANCELLED * level:
        mean, m2 = ring_spread(s.xs, s.ys, s.age, s.length, hedge)
    # Below 1e-12 of the level what is left is the rounding of the two series, not a spread.
    scale = 1e-12 * (abs(s.mean_y) + abs(hedge * s.mean_x))
    if not m2 > (s.length - 1) * scale * scale:
        return np.nan
    return (spread - mean) / np.sqrt(m2 / (s.length - 1))
