"""Rolling least squares of y on x over the last `length` rows, and the spread y - slope * x that it leaves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trimtab.kernels.compiled import compiled, inlined
from trimtab.kernels.window import CANCELLED, RECENTRE, ring_moments, ring_of
from trimtab.types import F64


class WindowPair(NamedTuple):
    """Sums of products of deviations from the mean, m_xx, m_xy, m_yy, of the last `length` (x, y).

    shift: the oldest pair at the last recomputation; offset: mean - shift; peak: the largest m_xx and m_yy since then.
    """

    xs: F64
    ys: F64
    age: int
    length: int
    m_xx: float
    m_xy: float
    m_yy: float
    shift_x: float
    shift_y: float
    offset_x: float
    offset_y: float
    peak_xx: float
    peak_yy: float


@compiled
def pair_init(length: int) -> WindowPair:
    """An empty window of `length` pairs, 3 or more."""
    nan = np.nan
    return WindowPair(ring_of(length), ring_of(length), -length, length, nan, nan, nan, nan, nan, nan, nan, nan, nan)


@compiled
def ring_product(
    xs: F64, ys: F64, first: int, length: int, mean_x: tuple[float, float], mean_y: tuple[float, float]
) -> float:
    """Sum of the products of deviations from the means (shift, offset), of the `length` pairs from slot `first` on."""
    mask = np.uint64(xs.shape[0] - 1)
    total = 0.0
    for k in range(length):
        slot = np.uint64(first + k) & mask
        total += (xs[slot] - mean_x[0] - mean_x[1]) * (ys[slot] - mean_y[0] - mean_y[1])
    return total


@inlined
def pair_step(s: WindowPair, x: float, y: float) -> WindowPair:
    """Read (x, y). All moments are NaN until `length` rows were read and while one of them holds a NaN.

    Welford's update with removal, recomputed from the rings every RECENTRE rows and after a cancellation.
    """
    size = s.xs.shape[0]
    mask = np.uint64(size - 1)
    age = s.age + 1
    old_slot = np.uint64(s.age + size) & mask
    new_slot = np.uint64(s.age + s.length) & mask
    shift_x, shift_y = s.shift_x, s.shift_y
    old_x, old_y = s.xs[old_slot] - shift_x, s.ys[old_slot] - shift_y
    new_x, new_y = x - shift_x, y - shift_y
    s.xs[new_slot], s.ys[new_slot] = x, y
    offset_x = s.offset_x + (new_x - old_x) / s.length
    offset_y = s.offset_y + (new_y - old_y) / s.length
    m_xx = s.m_xx + (new_x - old_x) * ((new_x - offset_x) + (old_x - s.offset_x))
    m_yy = s.m_yy + (new_y - old_y) * ((new_y - offset_y) + (old_y - s.offset_y))
    # One factor from the old mean, the other from the new: then nothing is left over of the shift of both means.
    m_xy = s.m_xy + (new_x - s.offset_x) * (new_y - offset_y) - (old_x - s.offset_x) * (old_y - offset_y)
    peak_xx, peak_yy = max(s.peak_xx, m_xx), max(s.peak_yy, m_yy)
    cancelled = not (m_xx >= CANCELLED * peak_xx and m_yy >= CANCELLED * peak_yy)
    if age >= 0 and (age & (RECENTRE - 1) == 0 or cancelled):
        shift_x, offset_x, m_xx = ring_moments(s.xs, age, s.length)
        shift_y, offset_y, m_yy = ring_moments(s.ys, age, s.length)
        m_xy = ring_product(s.xs, s.ys, age, s.length, (shift_x, offset_x), (shift_y, offset_y))
        peak_xx, peak_yy = m_xx, m_yy
    sums = (m_xx, m_xy, m_yy)
    return WindowPair(s.xs, s.ys, age, s.length, *sums, shift_x, shift_y, offset_x, offset_y, peak_xx, peak_yy)


@inlined
def slope(s: WindowPair) -> float:
    """Least-squares slope of y on x, with intercept; NaN where x does not vary. y on x is not the inverse of x on y."""
    return s.m_xy / s.m_xx if s.m_xx > 0.0 else np.nan


@compiled
def ring_spread(xs: F64, ys: F64, first: int, length: int, hedge: float) -> tuple[float, float, float]:
    """Of y - hedge * x over `length` pairs from slot `first` on: the oldest, mean less oldest, sum of squared gaps."""
    mask = np.uint64(xs.shape[0] - 1)
    start = np.uint64(first) & mask
    shift = ys[start] - hedge * xs[start]
    total = 0.0
    for k in range(length):
        slot = np.uint64(first + k) & mask
        total += ys[slot] - hedge * xs[slot] - shift
    offset = total / length
    m2 = 0.0
    for k in range(length):
        slot = np.uint64(first + k) & mask
        gap = ys[slot] - hedge * xs[slot] - shift - offset
        m2 += gap * gap
    return shift, offset, m2


@inlined
def score(s: WindowPair, x: float, y: float, hedge: float) -> float:
    """Deviations (ddof = 1) of the spread y - hedge * x from the window's mean spread; (x, y) may be in it or not.

    ->  NaN until the window is full, and where its spread does not vary (as of two copies of one series)

    The one `hedge` values the whole window: a hedge ratio that moves does not enter the spread's history. Computed from
    the moments, and from the rings where those would cancel. With the slope of the window itself as `hedge` and a pair
    that is not in it, the numerator is what least squares through the row before leaves of y.
    """
    gap = (y - s.shift_y - s.offset_y) - hedge * (x - s.shift_x - s.offset_x)
    m2 = s.m_yy - 2.0 * hedge * s.m_xy + hedge * hedge * s.m_xx
    level = s.m_yy + hedge * hedge * s.m_xx
    if m2 < CANCELLED * level:
        shift, offset, m2 = ring_spread(s.xs, s.ys, s.age, s.length, hedge)
        gap = y - hedge * x - shift - offset
    # Below 1e-12 of the level what is left is the rounding of the two series, not a spread.
    scale = 1e-12 * (abs(s.shift_y) + abs(hedge * s.shift_x))
    if not m2 > (s.length - 1) * scale * scale:
        return np.nan
    return gap / np.sqrt(m2 / (s.length - 1))


@inlined
def zscore(s: WindowPair, hedge: float) -> float:
    """score of the newest pair of the window, which is in it: bounded by (length - 1) / sqrt(length)."""
    size = s.xs.shape[0]
    newest = np.uint64(s.age + s.length - 1 + size) & np.uint64(size - 1)
    return score(s, s.xs[newest], s.ys[newest], hedge)
