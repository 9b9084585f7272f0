"""From a Panel to the arrays that the rules read: padded rows, marks, causal volatility and average volume."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from trimtab.compiled import loop
from trimtab.rules.trade import Market
from trimtab.sim.driver import BLOCK
from trimtab.types import DAY, I64, Panel

#: Bars over which one bar's volatility is measured, and UTC days over which the daily volume is averaged.
VOL_WINDOW: Final = 20
VOLUME_DAYS: Final = 20


@loop
def derive(ts, values, rows, mark, low, high):
    """Write the columns of Market from a panel's (T, N, 6+) values: causal, known before the bar they stand beside.

    rows (T, N, 8), mark, low, high (T, N) are numpy's, because numpy asks for huge pages and numba does not: at a
    million bars the page faults cost more than the arithmetic.

    vol is the sample deviation of the last 20 returns (2 at least); average_volume the mean of the last 20 finished UTC
    days that had bars with a known volume (a bar belongs to the day of its open; longer bars are spread over theirs).
    """
    T, N = values.shape[0], values.shape[1]
    for i in range(N):
        last, vol, average = 0.0, np.nan, np.nan
        returns, total, squares, seen, at = np.zeros(VOL_WINDOW), 0.0, 0.0, 0, 0
        volumes, days, midnight, day_volume = np.zeros(VOLUME_DAYS), 0, np.int64(-(2**62)), -1.0
        for t in range(T):
            x, out = values[t, i], rows[t, i]
            price = x[0]
            if not price > 0.0:  # no bar
                for k in range(5):
                    out[k] = np.nan
                out[5], out[6], out[7] = vol, average, np.nan
                low[t, i], high[t, i], mark[t, i] = np.inf, -np.inf, last
                continue
            opened = ts[t] - np.int64(x[5])
            if opened >= midnight:  # the first bar of a day: the one before is finished
                if day_volume >= 0.0:
                    volumes[days % VOLUME_DAYS] = day_volume
                    days += 1
                    n = min(days, VOLUME_DAYS)
                    average = volumes[:n].sum() / n
                day_volume = -1.0
                midnight = (opened // DAY + 1) * DAY
            out[0], out[1], out[2], out[3], out[4] = price, x[1], x[2], x[3], x[4]
            out[5], out[6], out[7] = vol, average, x[5]
            low[t, i], high[t, i], mark[t, i] = x[2], x[1], x[3]
            if x[4] >= 0.0:
                spread = x[4] if x[5] <= DAY else x[4] * DAY / x[5]
                day_volume = max(day_volume, 0.0) + spread
            if last > 0.0:
                r = x[3] / last - 1.0
                old = returns[at]
                returns[at] = r
                total += r - old
                squares += r * r - old * old
                seen += 1
                at += 1
                if at == VOL_WINDOW:
                    at, total, squares = 0, 0.0, 0.0
                    for j in range(VOL_WINDOW):  # rounding does not pile up
                        total += returns[j]
                        squares += returns[j] * returns[j]
                if seen >= 2:
                    n = min(seen, VOL_WINDOW)
                    vol = math.sqrt(max(squares - total * total / n, 0.0) / (n - 1))
            last = x[3]


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


def day_ends(ts: I64) -> I64:
    """Rows that end a UTC day: the last at or before each 00:00; a bar that closes at 00:00 ends the day before."""
    day = (ts - 1) // DAY
    return np.flatnonzero(np.append(day[1:] != day[:-1], True)).astype(np.int64) if len(ts) else np.empty(0, np.int64)


def build_market(panel: Panel) -> Market:
    """The Market of a panel, see docs/fills.md for the windows of vol and average_volume."""
    shape = panel.values.shape[:2]
    rows, mark, low, high = np.empty((*shape, 8)), np.empty(shape), np.empty(shape), np.empty(shape)
    derive(panel.ts, panel.values, rows, mark, low, high)
    block_low, block_high = extremes(mark, BLOCK) if len(panel.instruments) == 1 else (np.empty(0), np.empty(0))
    return Market(panel.ts, rows, mark, low, high, block_low, block_high, day_ends(panel.ts))
