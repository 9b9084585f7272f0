"""The bars as the rules read them: what matching, marking and carry need, laid out for one pass over time."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from trimtab.compiled import part
from trimtab.rules.match import Row
from trimtab.types import F64, I64

#: Rows of a block of Market.block_low and block_high.
BLOCK: Final = 8

#: Returns over which the volatility of a bar is measured.
VOL_WINDOW: Final = 20

#: Columns of Market.rows: one cache line per instrument and bar.
OPEN, HIGH, LOW, CLOSE, VOLUME, DURATION, VOL, AVERAGE_VOLUME = range(8)


#: How many arrays of a Market, its first, have a row per row of the market; the last of them may be mark itself.
BY_ROW: Final = 12


class Market(NamedTuple):
    """The bars as the rules read them; T rows, N instruments. Built once per panel by `sim.market`.

    rows    (T, N, 8)  open, high, low, close, volume, duration, vol, average_volume; NaN open: no bar
    mark    (T, N + F) close in base currency, filled forward; 0 before the first bar, when nothing can be held; then
            the exchange rates of the foreign wallets, base currency per unit
    low     (T, N)     +inf where there is no bar: meets no order; likewise high with -inf
    """

    ts: I64
    rows: F64
    mark: F64
    low: F64
    high: F64
    funding: F64  # (T, N) rate that falls due at the close of the row, NaN: none; (0, N): no field for it
    spread: F64  # (T, N) quoted spread as a fraction of mid, NaN: not known; (0, N): no field for it
    split: F64  # (T, N) new shares per old one since the last bar, NaN: none; (0, N): no field for it
    dividend: F64  # (T, N) cash per share that was held at the last bar, quote currency, NaN: none; (0, N): no field
    factor: F64  # (T, N) by which prices are adjusted forward, see rules.adjust; (0, N): there are no such events
    member: F64  # (T, N) as of each close 1 may be held, 0 may not, -1 gone for good, NaN: may; (0, N): no field for it
    carried: F64  # (T, N + F) marks as the next row begins with them: less what its splits and dividends take of them;
    # where there are no such events, the very array of mark
    block_low: F64  # (T // BLOCK,) extremes of the mark of each block of rows, for N = 1; else empty
    block_high: F64
    days: I64  # (D,) rows that end a UTC day: the curves are sampled there


def adjusted(market: Market, rows: Any) -> F64:
    """(R, N) marks at rows in base currency, adjusted forward: what is measured from one day to another."""
    marks = market.mark[rows, : market.low.shape[1]]
    return marks * market.factor[rows] if len(market.factor) else marks


@part
def row_of(rows, t, i):
    """The Row of one instrument at one row."""
    x = rows[t, i]
    return Row(x[OPEN], x[HIGH], x[LOW], x[VOLUME], x[VOL], x[AVERAGE_VOLUME], x[DURATION])
