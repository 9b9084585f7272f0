"""From a Panel to the arrays that the rules read: padded rows, marks, causal volatility and average volume."""

from __future__ import annotations

from typing import Final

import numpy as np

from trimtab.compiled import loop
from trimtab.rules.trade import Market
from trimtab.sim.driver import BLOCK
from trimtab.types import DAY, Panel

#: Bars over which one bar's volatility is measured, and UTC days over which the daily volume is averaged.
VOL_WINDOW: Final = 20
VOLUME_DAYS: Final = 20


@loop
def derive(ts, values):
    """The columns of Market from a panel's (T, N, 6+) values: causal, known before the bar that they stand beside.

    ->   rows (T, N, 8), mark, low, high (T, N)

    vol is the sample deviation of the last 20 returns (2 at least); average_volume the mean of the last 20 finished UTC
    days that had bars with a known volume (a bar belongs to the day of its open; longer bars are spread over theirs).
    """
    T, N = values.shape[0], values.shape[1]
    rows = np.empty((T, N, 8))
    mark = np.zeros((T, N))
    low = np.full((T, N), np.inf)
    high = np.full((T, N), -np.inf)
    returns = np.zeros((N, VOL_WINDOW))
    volumes = np.zeros((N, VOLUME_DAYS))
    for i in range(N):
        last, seen, total, squares = 0.0, 0, 0.0, 0.0
        day, day_volume, days, average = np.int64(-1), -1.0, 0, np.nan
        for t in range(T):
            x = values[t, i]
            out = rows[t, i]
            for k in range(5):
                out[k] = x[k]
            out[7] = x[5]
            out[5] = np.nan
            if x[0] > 0.0:
                today = (ts[t] - np.int64(x[5])) // DAY
                if today != day:
                    if day_volume >= 0.0:
                        volumes[i, days % VOLUME_DAYS] = day_volume
                        days += 1
                        n = min(days, VOLUME_DAYS)
                        average = volumes[i, :n].sum() / n
                    day, day_volume = today, -1.0
            if seen >= 2:
                n = min(seen, VOL_WINDOW)
                out[5] = np.sqrt(max(squares - total * total / n, 0.0) / (n - 1))
            out[6] = average
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
                if x[4] >= 0.0:
                    day_volume = max(day_volume, 0.0) + x[4] / max(x[5] / DAY, 1.0)
            mark[t, i] = last
    return rows, mark, low, high


@loop
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
    """The Market of a panel, see docs/fills.md for the windows of vol and average_volume."""
    rows, mark, low, high = derive(panel.ts, panel.values)
    block_low, block_high = extremes(mark, BLOCK) if len(panel.instruments) == 1 else (np.empty(0), np.empty(0))
    return Market(panel.ts, rows, mark, low, high, block_low, block_high)
