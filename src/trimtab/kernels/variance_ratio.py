"""Variance ratios: what q rows vary, over q times what one row varies; 1 for a walk whose steps are not correlated."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from trimtab.kernels.autocorrelation import WindowLags, lags_init, lags_step
from trimtab.kernels.compiled import compiled, inlined
from trimtab.kernels.window import WindowMoments, moments_init, moments_step
from trimtab.types import F64

#: The horizons, in rows: those of Lo and MacKinlay's tables.
HORIZONS = (2, 4, 8, 16)


class WindowRatios(NamedTuple):
    """Variance ratios of the last `length` moves of a log price, over 2, 4, 8 and 16 rows.

    ratio, z      (4,)  VR(q) and its robust z; NaN until length moves were read and while one of them is not finite,
                        and where they do not vary
    moves         the moves over one row; two … sixteen: those over q rows that lie in the same window
    prices        the last log prices: that of row r at r & 31
    """

    moves: WindowLags
    two: WindowMoments
    four: WindowMoments
    eight: WindowMoments
    sixteen: WindowMoments
    ratio: F64
    z: F64
    prices: F64


@compiled
def ratios_init(length: int) -> WindowRatios:
    """An empty window of `length` moves, 18 or more."""
    return WindowRatios(
        lags_init(length, 15),
        moments_init(length - 1),
        moments_init(length - 3),
        moments_init(length - 7),
        moments_init(length - 15),
        np.full(4, np.nan),
        np.full(4, np.nan),
        np.full(32, np.nan),
    )


@compiled
def judge(moves: WindowLags, sums: WindowMoments, q: int) -> tuple[float, float]:
    """VR(q) and its robust z, by overlapping moves, less their mean, with the variances' bias taken out.

    Source: Lo, MacKinlay (1988), Rev. Financial Studies 1(1); Campbell, Lo, MacKinlay (1997), eq. 2.4.39 and 2.4.43.
    """
    n = moves.length
    own = moves.cross[0]
    if not own > 0.0:
        return np.nan, np.nan
    gap = sums.mean - q * moves.mean
    long = sums.m2 + (n - q + 1) * gap * gap
    # long / (q (n - q + 1) (1 - q / n)), over own / (n - 1)
    ratio = long / own * (n - 1.0) / (q * (n - q + 1.0) * (1.0 - q / n))
    theta = 0.0
    for j in range(1, q):
        weight = 2.0 * (q - j) / q
        theta += weight * weight * moves.square[j]
    theta = theta / (own * own)
    return ratio, ((ratio - 1.0) / math.sqrt(theta) if theta > 0.0 else np.nan)


@inlined
def move(s: WindowRatios, q: int) -> float:
    """What the log price has moved in the last q rows, up to 16."""
    row = s.moves.row - 1
    return s.prices[np.uint64(row + 32) & np.uint64(31)] - s.prices[np.uint64(row + 32 - q) & np.uint64(31)]


@inlined
def ratios_step(s: WindowRatios, log_price: float) -> WindowRatios:
    """Read a log price: the price itself, not its moves."""
    row = s.moves.row
    s.prices[np.uint64(row) & np.uint64(31)] = log_price
    moves = lags_step(s.moves, log_price - s.prices[np.uint64(row + 31) & np.uint64(31)])
    s = WindowRatios(moves, s.two, s.four, s.eight, s.sixteen, s.ratio, s.z, s.prices)
    two, four = moments_step(s.two, move(s, 2)), moments_step(s.four, move(s, 4))
    eight, sixteen = moments_step(s.eight, move(s, 8)), moments_step(s.sixteen, move(s, 16))
    s.ratio[0], s.z[0] = judge(moves, two, 2)
    s.ratio[1], s.z[1] = judge(moves, four, 4)
    s.ratio[2], s.z[2] = judge(moves, eight, 8)
    s.ratio[3], s.z[3] = judge(moves, sixteen, 16)
    return WindowRatios(moves, two, four, eight, sixteen, s.ratio, s.z, s.prices)


@inlined
def strongest(z: F64) -> int:
    """Which horizon's |z| is the largest; the shortest where they are equal, or none is known."""
    best, size = 0, -1.0
    for i in range(z.shape[0]):
        if abs(z[i]) > size:
            best, size = i, abs(z[i])
    return best
