"""Energy by scale, from a wavelet transform that looks back only.

The maximal overlap transform (MODWT) with its filters run backwards: what a row's coefficients are made of lies at or
before it. The usual one goes round the end of a sample, or is centred (`pywt.swt`), and so knows what comes. The first
L_j - 1 coefficients of scale j lean on rows before the first and are not given out.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from trimtab.kernels.compiled import compiled, inlined
from trimtab.kernels.window import CANCELLED, RECENTRE, ring_of
from trimtab.types import F64

#: Daubechies' scaling filter of eight taps, db4. Source: Daubechies (1992), Ten Lectures on Wavelets, table 6.1.
DB4 = (
    0.23037781330885523,
    0.7148465705525415,
    0.6308807679295904,
    -0.02798376941698385,
    -0.18703481171888114,
    0.030841381835986965,
    0.032883011666982945,
    -0.010597401784997278,
)


class WindowWavelets(NamedTuple):
    """Wavelet coefficients of this row by scale, and their energy over the last `length` rows.

    detail    (J,)  W_j, of scale j at j - 1: moves of about 2^j to 2^(j + 1) rows; NaN until L_j finite values in a
                    row were read
    energy    (J,)  sum of W_j^2 over the last `length` rows; NaN until all of these are known
    smooth          V_J: what is slower than the last scale, NaN until known
    low, high (L,)  filters of the transform, over sqrt(2): low for V, high for W
    past      (J, R)  V_{j - 1}, that of row r at r & (R - 1); squares (J, S): W_j^2
    peak      (J,)  the largest energy since the last recomputation
    row, run        rows read, and those of them since the last value that is not finite
    """

    past: F64
    squares: F64
    detail: F64
    energy: F64
    peak: F64
    low: F64
    high: F64
    row: int
    run: int
    length: int
    smooth: float


@compiled
def scaling_filter(db4: bool) -> F64:
    """The scaling filter over sqrt(2): Haar's two taps, or db4's eight."""
    taps = np.empty(8 if db4 else 2)
    for k in range(taps.shape[0]):
        taps[k] = DB4[k] / math.sqrt(2.0) if db4 else 0.5
    return taps


@compiled
def mirrored(low: F64) -> F64:
    """The wavelet filter of a scaling filter: h_l = (-1)^l g_{L - 1 - l}."""
    size = low.shape[0]
    high = np.empty(size)
    for k in range(size):
        high[k] = low[size - 1 - k] * (1.0 if k % 2 == 0 else -1.0)
    return high


@compiled
def wavelets_init(length: int, scales: int, db4: bool) -> WindowWavelets:
    """No row yet; `scales` is J, 1 or more."""
    low = scaling_filter(db4)
    past = np.zeros((scales, ring_of((low.shape[0] - 1) << (scales - 1)).shape[0]))
    squares = np.zeros((scales, ring_of(length).shape[0]))
    unknown = np.full(scales, np.nan)
    return WindowWavelets(
        past, squares, unknown, unknown.copy(), unknown.copy(), low, mirrored(low), 0, 0, length, np.nan
    )


@inlined
def reach(taps: int, scale: int) -> int:
    """L_j: rows that a coefficient of this scale is made of. Source: Percival, Walden (2000), eq. 169."""
    return ((1 << scale) - 1) * (taps - 1) + 1


@compiled
def total_of(squares: F64, first: int, length: int) -> float:
    mask = np.uint64(squares.shape[0] - 1)
    total = 0.0
    for t in range(length):
        total += squares[np.uint64(first + t) & mask]
    return total


@compiled
def wavelets_step(s: WindowWavelets, x: float) -> WindowWavelets:
    """Read x: 2 L multiplications per scale. Energies are added again every RECENTRE rows, and after a cancellation.

    Source: Percival, Walden (2000), Wavelet Methods for Time Series Analysis, 5.5.
    """
    row, n, taps, size = s.row, s.length, s.low.shape[0], s.past.shape[1]
    mask, around = np.uint64(size - 1), np.uint64(s.squares.shape[1] - 1)
    run = s.run + 1 if abs(x) < np.inf else 0
    smooth = x if run > 0 else np.nan
    for j in range(s.past.shape[0]):
        s.past[j, np.uint64(row) & mask] = smooth
        known = run - reach(taps, j + 1)  # coefficients before this one, or below 0: none
        if known < 0:
            s.detail[j], s.energy[j], smooth = np.nan, np.nan, np.nan
            continue
        detail, smooth = 0.0, 0.0
        for k in range(taps):
            value = s.past[j, np.uint64(row + size - (k << j)) & mask]
            detail += s.high[k] * value
            smooth += s.low[k] * value
        s.detail[j] = detail
        old = s.squares[j, np.uint64(row + s.squares.shape[1] - n) & around]
        s.squares[j, np.uint64(row) & around] = detail * detail
        if known >= n - 1:
            s.energy[j] += detail * detail - old
            if known == n - 1 or row & (RECENTRE - 1) == 0 or not s.energy[j] >= CANCELLED * s.peak[j]:
                s.energy[j] = s.peak[j] = total_of(s.squares[j], row + 1 - n, n)
            s.peak[j] = max(s.peak[j], s.energy[j])
    return WindowWavelets(s.past, s.squares, s.detail, s.energy, s.peak, s.low, s.high, row + 1, run, n, smooth)


# --- what noise does -------------------------------------------------------------------------------------------------


@compiled
def filter_of(low: F64, scale: int) -> F64:
    """The filter (L_j,) that makes W_j of the values themselves."""
    taps, last = low.shape[0], np.ones(1)
    for j in range(scale):
        step = mirrored(low) if j == scale - 1 else low
        wide = np.zeros(last.shape[0] + ((taps - 1) << j))
        for a in range(last.shape[0]):
            for k in range(taps):
                wide[a + (k << j)] += last[a] * step[k]
        last = wide
    return last


@compiled
def freedom(low: F64, scale: int, length: int) -> float:
    """Degrees of freedom of a scale's share in the variance, of noise: 2 over the squared error of 2^j E_j / E.

    The share is 1 + 2 * 2^j * sum of c_k rho_k, c_k the autocovariance of the scale's filter and rho_k that of the
    window, which has an error of 1 / sqrt(length) at each lag.
    Source: Percival, Walden (2000), 8.4, for a mean square whose variance is estimated beside it.
    """
    h = filter_of(low, scale)
    total = 0.0
    for k in range(1, min(h.shape[0], length)):
        c = 0.0
        for a in range(h.shape[0] - k):
            c += h[a] * h[a + k]
        total += c * c * (1.0 - k / length)
    return 2.0 / (4.0 * 4.0**scale * total / length)


@inlined
def energy_z(share: float, free: float) -> float:
    """A chi-square over its degrees of freedom as a standard normal. Source: Wilson, Hilferty (1931), PNAS 17(12)."""
    spread = 2.0 / (9.0 * free)
    return (share ** (1.0 / 3.0) - (1.0 - spread)) / math.sqrt(spread)
