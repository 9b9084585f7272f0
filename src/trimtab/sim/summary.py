"""The figures of one sweep cell, compiled: what a search ranks by, without building a run."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from trimtab.compiled import entry, part
from trimtab.types import DIVIDEND

#: Columns that `summary` writes, in order.
SUMMARY: Final = ("total_return", "sharpe", "max_drawdown", "trades", "traded", "costs", "final_equity")


@part
def summary(book, log, capital, periods, rate, out, daily):
    """Write SUMMARY of a finished book into out (7,), and its daily returns into daily (D,), unless that is empty.

    Total return, Sharpe of the sampled (daily) simple returns over `rate` per period with ddof 1, annualised by
    sqrt(periods), the deepest drawdown at every bar, closed round trips, notional traded over capital, costs paid,
    equity. Sharpe is NaN when there are fewer than two returns or all are the same (range test: sums of equal numbers
    do not cancel exactly), and when a day ended without equity.
    """
    head = book.head[0]
    days = head.sample
    mean, low, high, largest = 0.0, np.inf, -np.inf, 0.0
    last = capital
    for d in range(days):
        r = log.curve[d, 0] / last - 1.0
        last = log.curve[d, 0]
        if daily.shape[0] > 0:
            daily[d] = r
        mean += r
        low, high, largest = min(low, r), max(high, r), max(largest, abs(r))
    sharpe = np.nan
    if days >= 2 and high - low > 1e-12 * largest and low > -1.0:
        mean /= days
        squares = 0.0
        last = capital
        for d in range(days):
            r = log.curve[d, 0] / last - 1.0
            last = log.curve[d, 0]
            squares += (r - mean) * (r - mean)
        sharpe = (mean - rate) / math.sqrt(squares / (days - 1)) * math.sqrt(periods)
    paid = 0.0
    for m in range(book.held.shape[0]):
        for i in range(book.held.shape[1]):
            for kind in range(DIVIDEND):
                paid += book.charges[m, i, kind]
    out[0] = head.equity / capital - 1.0
    out[1] = sharpe
    out[2] = head.worst
    out[3] = head.round_trips
    out[4] = head.traded / capital
    out[5] = paid
    out[6] = head.equity


@entry
def summarise(book, log, capital, periods, rate, out, daily):
    """`summary` for callers outside a compiled loop."""
    summary(book, log, capital, periods, rate, out, daily)
