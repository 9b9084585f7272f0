"""Serial correlation of the last `length` values, and how far it lies from none.

Products of a value with those before it are kept as running sums of values taken less a recent mean, so that a row
costs a few operations per lag and not a pass over the window. From them follow, with the mean of the window itself,

    cross[k]  = sum over t = k + 1 … n of d_t d_{t-k}       d = x - mean of the window
    square[k] = sum over t = k + 1 … n of d_t^2 d_{t-k}^2

which hold all that autocorrelations, their errors under changing variance, variance ratios, partial autocorrelations
and long-run variances need.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from trimtab.kernels.compiled import compiled, inlined
from trimtab.kernels.window import CANCELLED, RECENTRE, ring_of
from trimtab.types import F64

#: A deviation per row below this is the rounding of prices: their returns stand still.
STILL = 1e-12


class WindowLags(NamedTuple):
    """Lagged products of the last `length` values, up to `lags` rows apart.

    cross, square  (lags + 1,)  see above; NaN until the window is full, and while it holds a value that is not finite
    mean           of the window
    sums           (lags + 1, 3)  of y z, y z (y + z) and y^2 z^2: y is a value less shift, z that of k rows before
    total          sum of y; peak: the largest square[0] since the last recomputation
    row, run       rows read, and those of them since the last value that is not finite
    """

    ring: F64
    sums: F64
    cross: F64
    square: F64
    row: int
    run: int
    length: int
    mean: float
    shift: float
    total: float
    peak: float


@compiled
def lags_init(length: int, lags: int) -> WindowLags:
    """An empty window of `length` values, more than `lags`, of which 0 or more are looked at."""
    unknown = np.full(lags + 1, np.nan)
    nan = np.nan
    return WindowLags(
        ring_of(length), np.zeros((lags + 1, 3)), unknown, unknown.copy(), 0, 0, length, nan, nan, nan, nan
    )


@compiled
def refill(ring: F64, sums: F64, first: int, length: int) -> tuple[float, float]:
    """Make the sums anew from the `length` values from slot `first` on: their shift, and the sum of y.

    The shift is their mean, taken from the oldest: of equal values it is that value, and all sums are exactly 0.
    """
    mask = np.uint64(ring.shape[0] - 1)
    shift = ring[np.uint64(first) & mask]
    gap = 0.0
    for t in range(length):
        gap += ring[np.uint64(first + t) & mask] - shift
    shift += gap / length
    total = 0.0
    for t in range(length):
        total += ring[np.uint64(first + t) & mask] - shift
    for k in range(sums.shape[0]):
        once, twice, squares = 0.0, 0.0, 0.0
        for t in range(k, length):
            y = ring[np.uint64(first + t) & mask] - shift
            z = ring[np.uint64(first + t - k) & mask] - shift
            product = y * z
            once += product
            twice += product * (y + z)
            squares += product * product
        sums[k, 0], sums[k, 1], sums[k, 2] = once, twice, squares
    return shift, total


@compiled
def centre(ring: F64, sums: F64, first: int, length: int, shift: float, total: float, cross: F64, square: F64) -> None:
    """Write the products of deviations from the mean, given those of deviations from the shift."""
    mask = np.uint64(ring.shape[0] - 1)
    offset = total / length
    own = sums[0, 0]
    # Of the first k values and of the last k: what no pair has as its later, and as its earlier value.
    head, tail, head2, tail2 = 0.0, 0.0, 0.0, 0.0
    for k in range(sums.shape[0]):
        if k > 0:
            y = ring[np.uint64(first + k - 1) & mask] - shift
            z = ring[np.uint64(first + length - k) & mask] - shift
            head, tail, head2, tail2 = head + y, tail + z, head2 + y * y, tail2 + z * z
        both = 2.0 * total - head - tail
        both2 = 2.0 * own - head2 - tail2
        pairs = length - k
        cross[k] = sums[k, 0] - offset * (both - pairs * offset)
        inner = both2 + 4.0 * sums[k, 0] - offset * (2.0 * both - pairs * offset)
        square[k] = max(0.0, sums[k, 2] - offset * (2.0 * sums[k, 1] - offset * inner))


@compiled
def slide(ring: F64, sums: F64, row: int, length: int, shift: float) -> float:
    """Let the value of `row` into the sums and that of `length` rows before out of them; what the sum of y gains."""
    size = ring.shape[0]
    mask = np.uint64(size - 1)
    new = ring[np.uint64(row) & mask] - shift
    old = ring[np.uint64(row + size - length) & mask] - shift
    for k in range(sums.shape[0]):
        z = ring[np.uint64(row + size - k) & mask] - shift
        y = ring[np.uint64(row + size - length + k) & mask] - shift
        comes, goes = new * z, old * y
        sums[k, 0] += comes - goes
        sums[k, 1] += comes * (new + z) - goes * (old + y)
        sums[k, 2] += comes * comes - goes * goes
    return new - old


@inlined
def lags_step(s: WindowLags, x: float) -> WindowLags:
    """Read x. Recomputed from the ring every RECENTRE rows and after a cancellation."""
    size = s.ring.shape[0]
    row = s.row
    run = s.run + 1 if abs(x) < np.inf else 0
    s.ring[np.uint64(row) & np.uint64(size - 1)] = x
    if run < s.length:
        if run == 0:
            s.cross[:] = np.nan
            s.square[:] = np.nan
        return WindowLags(s.ring, s.sums, s.cross, s.square, row + 1, run, s.length, np.nan, np.nan, np.nan, np.nan)
    first = row + 1 - s.length
    shift, total, peak = s.shift, s.total, s.peak
    again = run == s.length or row & (RECENTRE - 1) == 0
    if not again:
        total += slide(s.ring, s.sums, row, s.length, shift)
        centre(s.ring, s.sums, first, s.length, shift, total, s.cross, s.square)
        # Of fourth order, where what a large value leaves behind when it goes is the largest.
        peak = max(peak, s.square[0])
        again = not s.square[0] >= CANCELLED * peak
    if again:
        shift, total = refill(s.ring, s.sums, first, s.length)
        centre(s.ring, s.sums, first, s.length, shift, total, s.cross, s.square)
        peak = s.square[0]
    mean = shift + total / s.length
    return WindowLags(s.ring, s.sums, s.cross, s.square, row + 1, run, s.length, mean, shift, total, peak)


@inlined
def behind(s: WindowLags, k: int) -> float:
    """The value that was read k rows before the last one, less the mean of the window; k below its length."""
    size = s.ring.shape[0]
    return s.ring[np.uint64(s.row - 1 + size - k) & np.uint64(size - 1)] - s.mean


@inlined
def spread(s: WindowLags) -> float:
    """Standard deviation (ddof = 1) of the window; 0 where it is below STILL, NaN where the window is not full."""
    deviation = math.sqrt(max(s.cross[0], 0.0) / (s.length - 1)) if s.cross[0] == s.cross[0] else np.nan
    return 0.0 if deviation < STILL else deviation


@inlined
def correlation(s: WindowLags, k: int) -> float:
    """Autocorrelation at lag k: mean and variance of the whole window, so that the sequence is positive definite.

    ->  NaN where the window does not vary. Its expectation for noise is about -1 / length, not 0.
    Source: Box, Jenkins (1976), Time Series Analysis, ch. 2.
    """
    return s.cross[k] / s.cross[0] if s.cross[0] > 0.0 else np.nan


@inlined
def error(s: WindowLags, k: int) -> float:
    """Standard error of the autocorrelation at lag k of values that are not correlated, whatever their variance does.

    ->  sqrt(square[k]) / cross[0]; about 1 / sqrt(length) where the variance is constant, more where it clusters

    Source: Lo, MacKinlay (1989), J. Econometrics 40; Lobato, Nankervis, Savin (2001), Int. Economic Review 42(3).
    """
    return math.sqrt(s.square[k]) / s.cross[0] if s.cross[0] > 0.0 else np.nan


@inlined
def robust_z(s: WindowLags, k: int) -> float:
    """Autocorrelation at lag k over its error: standard normal for long windows without correlation; NaN for 0 / 0."""
    return s.cross[k] / math.sqrt(s.square[k]) if s.square[k] > 0.0 else np.nan


@inlined
def long_run_variance(s: WindowLags, lags: int) -> float:
    """Variance of a row that the mean of the window has for it: gamma_0 + 2 sum of (1 - k / (lags + 1)) gamma_k.

    ->  never below 0; divided by the length it is the squared error of the mean

    Bartlett weights. Source: Newey, West (1987), Econometrica 55(3).
    """
    total = s.cross[0]
    for k in range(1, lags + 1):
        total += 2.0 * (1.0 - k / (lags + 1.0)) * s.cross[k]
    return max(total, 0.0) / s.length if total == total else np.nan


@inlined
def sized(move: float, deviation: float, full: float, edge: float) -> float:
    """A foretold move as a forecast in [-1, 1]: 1 at `full` deviations; 0 up to `edge`, NaN where it is NaN."""
    if move != move:  # NaN
        return np.nan
    if abs(move) <= edge or not deviation > 0.0:
        return 0.0
    return min(1.0, max(-1.0, move / (deviation * full)))


@compiled
def sidak(level: float, tests: int) -> float:
    """The bound that the largest of `tests` |standard normals| passes with probability `level`.

    Exact where they are independent; where they are correlated, as variance ratios are, it is passed less often (for
    these it is the critical value of Chow and Denning). By bisection, to the last bit that changes anything.
    Source: Šidák (1967), J. American Statistical Association 62(318).
    """
    tail = -0.5 * math.expm1(math.log1p(-level) / tests)
    low, high = 0.0, 40.0
    for _ in range(80):
        middle = 0.5 * (low + high)
        if 0.5 * math.erfc(middle / math.sqrt(2.0)) > tail:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)
