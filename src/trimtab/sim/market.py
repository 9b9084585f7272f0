"""From a Panel to the arrays that the rules read: padded rows, marks, causal volatility and average volume."""

from __future__ import annotations

import math
import weakref
from typing import Any, Final

import numpy as np

from trimtab.compiled import loop
from trimtab.rules.book import wallets_of
from trimtab.rules.market import Market
from trimtab.sim.driver import BLOCK
from trimtab.types import BAR_FIELDS, DAY, F64, I64, LINE, Panel, TrimtabError

#: Bars over which one bar's volatility is measured, and UTC days over which the daily volume is averaged.
VOL_WINDOW: Final = 20
VOLUME_DAYS: Final = 20


@loop
def derive(ts, rows, mark, low, high):
    """Write what is derived from bars: the last two columns of rows (T, N, 8), and mark, low, high (T, N).

    All is causal: vol and average_volume are known before the bar that they stand beside. vol is the sample deviation
    of the last 20 returns (2 at least); average_volume the mean of the last 20 finished UTC days that had bars with a
    known volume (a bar belongs to the day of its open; longer bars are spread over theirs).

    The arrays are numpy's, because numpy asks for huge pages and numba does not: at a million bars the page faults cost
    more than the arithmetic.
    """
    T, N = rows.shape[0], rows.shape[1]
    for i in range(N):
        last, vol, average = 0.0, np.nan, np.nan
        returns, total, squares, seen, at = np.zeros(VOL_WINDOW), 0.0, 0.0, 0, 0
        volumes, days, midnight, day_volume = np.zeros(VOLUME_DAYS), 0, np.int64(-(2**62)), -1.0
        for t in range(T):
            x = rows[t, i]
            if not x[0] > 0.0:  # no bar
                x[6], x[7] = vol, average
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
            x[6], x[7] = vol, average
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
def half_bar(values):
    """The first bar of (T, N, 4+) values of which some but not all prices are positive numbers: t x N + i, or -1."""
    T, N = values.shape[0], values.shape[1]
    for t in range(T):
        for i in range(N):
            seen = 0
            for k in range(4):
                seen += 1 if 0.0 < values[t, i, k] < np.inf else 0
            if seen != 0 and seen != 4:
                return t * N + i
    return -1


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


#: Memory of panels that a market already writes to, by id: another panel over the same bars gets a copy.
_taken: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def lines_of(panel: Panel) -> F64:
    """(T, N, 8) lines that begin with the panel's bars: its own memory where it was laid out so, else a copy."""
    values, lines = panel.values, panel.lines
    shape = (*values.shape[:2], LINE)
    if lines is not None and lines.shape == shape and values.strides == lines.strides and id(lines) not in _taken:
        _taken[id(lines)] = lines
        return lines
    lines = np.empty(shape)
    lines[:, :, : len(BAR_FIELDS)] = values[:, :, : len(BAR_FIELDS)]
    lines[~(lines[:, :, 0] > 0.0)] = np.nan
    return lines


def build_market(panel: Panel, base: str = "") -> Market:
    """The Market of a panel, see docs/fills.md for the windows of vol and average_volume.

    base   the currency of equity; empty: that of the first instrument. Where an instrument is quoted in another one,
           the panel's field `fx` holds base currency per unit of it, as it is known at each row
    """
    shape = panel.values.shape[:2]
    rows, mark, low, high = lines_of(panel), np.empty(shape), np.empty(shape), np.empty(shape)
    derive(panel.ts, rows, mark, low, high)
    mark = in_base(panel, mark, base or panel.instruments[0].quote)
    block_low, block_high = extremes(mark, BLOCK) if mark.shape[1] == 1 else (np.empty(0), np.empty(0))
    funding, spread = (field_of(panel, name) for name in ("funding", "spread"))
    return Market(panel.ts, rows, mark, low, high, funding, spread, block_low, block_high, day_ends(panel.ts))


def field_of(panel: Panel, name: str) -> F64:
    """(T, N) of a further field; (0, N) where the panel has none of that name."""
    if name not in panel.fields:
        return np.empty((0, len(panel.instruments)))
    return panel.values[:, :, panel.fields.index(name)].copy()


def in_base(panel: Panel, mark: F64, base: str) -> F64:
    """Marks (T, N) in base currency, then a column of exchange rates per foreign wallet; 0: not known yet."""
    foreign = [(place, wallet) for wallet, place in wallets_of(panel.instruments).items() if wallet[1] != base]
    if not foreign:
        return mark
    rates = {quote: rate_of_currency(panel, quote, base) for quote in {wallet[1] for _, wallet in foreign}}
    for i, instrument in enumerate(panel.instruments):
        if instrument.quote != base:
            mark[:, i] *= rates[instrument.quote]
    return np.column_stack([mark, *(rates[wallet[1]] for _, wallet in foreign)])


def rate_of_currency(panel: Panel, quote: str, base: str) -> F64:
    """(T,) base currency per unit of quote, filled forward; 0 before the first."""
    if "fx" not in panel.fields:
        raise TrimtabError(
            f"{quote} is not the base currency {base}, and the panel has no field `fx` ({base} per {quote} at each "
            "row): add it, or run one spec per currency"
        )
    own = [i for i, instrument in enumerate(panel.instruments) if instrument.quote == quote]
    given = panel.values[:, own, panel.fields.index("fx")]
    known = np.where(given > 0.0, given, np.nan)
    first = np.full(len(panel.ts), np.nan)
    for column in known.T:  # whichever instrument of this currency has a rate
        first = np.where(np.isnan(first), column, first)
    at = np.maximum.accumulate(np.where(np.isnan(first), -1, np.arange(len(first))))
    return np.where(at >= 0, first[at], 0.0)
