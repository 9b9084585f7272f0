"""The bars as the rules read them: what matching, marking and carry need, laid out for one pass over time."""

from __future__ import annotations

from typing import Final, NamedTuple

from trimtab.compiled import part
from trimtab.rules.match import Row
from trimtab.types import F64, I64

#: Rows of a block of Market.block_low and block_high.
BLOCK: Final = 8

#: Returns over which the volatility of a bar is measured.
VOL_WINDOW: Final = 20

#: Columns of Market.rows: one cache line per instrument and bar.
OPEN, HIGH, LOW, CLOSE, VOLUME, DURATION, VOL, AVERAGE_VOLUME = range(8)


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
    block_low: F64  # (T // BLOCK,) extremes of the mark of each block of rows, for N = 1; else empty
    block_high: F64
    days: I64  # (D,) rows that end a UTC day: the curves are sampled there


@part
def row_of(rows, t, i):
    """The Row of one instrument at one row."""
    x = rows[t, i]
    return Row(x[OPEN], x[HIGH], x[LOW], x[VOLUME], x[VOL], x[AVERAGE_VOLUME], x[DURATION])
