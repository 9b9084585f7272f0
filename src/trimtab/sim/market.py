"""From a Panel to the arrays that the rules read: padded rows, marks, causal volatility and average volume."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from trimtab.rules.trade import Market
from trimtab.sim.driver import BLOCK
from trimtab.types import DAY, TIMEFRAMES, Panel

#: Bars over which one bar's volatility is measured, and UTC days over which the daily volume is averaged.
VOL_WINDOW: Final = 20
VOLUME_WINDOW_DAYS: Final = 20


@njit(cache=True, nogil=True, error_model="numpy")
def derive(values, volume_bars, per_day):
    """The columns of Market from a panel's (T, N, 6+) values: causal, known before the bar that they stand beside.

    volume_bars   bars of the average-volume window; per_day: bars per day
    ->            rows (T, N, 8), mark, low, high (T, N)
    """
    T, N = values.shape[0], values.shape[1]
    rows = np.empty((T, N, 8))
    mark = np.zeros((T, N))
    low = np.full((T, N), np.inf)
    high = np.full((T, N), -np.inf)
    returns = np.zeros((N, VOL_WINDOW))
    volumes = np.zeros((N, volume_bars))
    for i in range(N):
        last, seen, bars, counted = 0.0, 0, 0, 0
        total, squares, volume_sum = 0.0, 0.0, 0.0
        for t in range(T):
            x = values[t, i]
            out = rows[t, i]
            for k in range(5):
                out[k] = x[k]
            out[7] = x[5]
            out[5] = np.nan
            if seen >= 2:
                n = min(seen, VOL_WINDOW)
                out[5] = np.sqrt(max(squares - total * total / n, 0.0) / (n - 1))
            out[6] = volume_sum / min(counted, volume_bars) * per_day if counted > 0 else np.nan
            if x[0] > 0.0:
                low[t, i] = x[2]
                high[t, i] = x[1]
                if last > 0.0:
                    r = x[3] / last - 1.0
                    k = seen % VOL_WINDOW
                    if seen >= VOL_WINDOW:
                        total -= returns[i, k]
                        squares -= returns[i, k] * returns[i, k]
                    returns[i, k] = r
                    total += r
                    squares += r * r
                    seen += 1
                    if k == VOL_WINDOW - 1:  # rounding does not pile up
                        total, squares = 0.0, 0.0
                        for j in range(VOL_WINDOW):
                            total += returns[i, j]
                            squares += returns[i, j] * returns[i, j]
                last = x[3]
                bars += 1
                if x[4] >= 0.0:
                    k = counted % volume_bars
                    if counted >= volume_bars:
                        volume_sum -= volumes[i, k]
                    volumes[i, k] = x[4]
                    volume_sum += x[4]
                    counted += 1
            mark[t, i] = last
    return rows, mark, low, high


@njit(cache=True, nogil=True)
def extremes(mark, size):
    """Lowest and highest mark of each whole block of `size` rows of the first instrument."""
    blocks = mark.shape[0] // size
    low = np.empty(blocks)
    high = np.empty(blocks)
    for b in range(blocks):
        lo, hi = mark[b * size, 0], mark[b * size, 0]
        for j in range(1, size):
            x = mark[b * size + j, 0]
            lo, hi = min(lo, x), max(hi, x)
        low[b] = lo
        high[b] = hi
    return low, high


def build_market(panel: Panel) -> Market:
    """The Market of a panel. `vol` needs two returns and averages the last 20; see docs/fills.md for the windows."""
    per_day = max(DAY / TIMEFRAMES[panel.timeframe], 1.0)
    volume_bars = max(int(VOLUME_WINDOW_DAYS * per_day), 1)
    rows, mark, low, high = derive(panel.values, volume_bars, per_day)
    block_low, block_high = extremes(mark, BLOCK) if len(panel.instruments) == 1 else (np.empty(0), np.empty(0))
    return Market(panel.ts, rows, mark, low, high, block_low, block_high)
