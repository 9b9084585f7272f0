"""What the bars themselves forbid: volatility, gaps and spreads beyond bounds, and data that is too old (design §8)."""

from __future__ import annotations

from typing import Final

import numpy as np

from trimtab.compiled import apart, part
from trimtab.rules.account import rate_of, reduced
from trimtab.rules.adjust import ex_close
from trimtab.rules.limits import REDUCE, REFUSE, STALE, UNUSUAL_GAP, UNUSUAL_SPREAD, UNUSUAL_VOL, note
from trimtab.rules.market import CLOSE, DURATION, OPEN, VOL_WINDOW
from trimtab.types import DAY, SECOND

YEAR: Final = 365.0 * DAY

#: Columns of Setup.alarm, each the worst of all instruments at a row: volatility a year, |open / last mark - 1|, quoted
#: spread, and seconds since the last bar.
ALARM_VOL, ALARM_GAP, ALARM_SPREAD, ALARM_AGE = range(4)


@part
def is_quiet(market, setup, row):
    """Is nothing of Setup.alarm beyond its bound at a row? False too where nobody has looked and somebody should."""
    limits = setup.limits
    if setup.alarm.shape[0] == 0:
        return min(limits.unusual_vol, limits.unusual_gap, limits.unusual_spread, limits.stale) == np.inf
    seen = setup.alarm[row]
    fine = (seen[ALARM_VOL] <= limits.unusual_vol) & (seen[ALARM_GAP] <= limits.unusual_gap)
    return fine & (seen[ALARM_SPREAD] <= limits.unusual_spread) & (seen[ALARM_AGE] <= limits.stale)


@part
def vol_now(market, row, i):
    """Deviation of the last 20 returns (2 at least) of an instrument, that of the bar at `row` among them, or NaN.

    Market.rows has it beside the next bar, which has not come yet.
    """
    total, squares, seen, later = 0.0, 0.0, 0, np.nan
    for turn in range(2):  # the mean, then what lies about it
        mean = total / seen if seen > 0 else 0.0
        t, later, seen = row, np.nan, 0
        split, dividend = np.nan, np.nan  # of the later bar
        while t >= 0 and seen < VOL_WINDOW:
            close = market.rows[t, i, CLOSE]
            if market.rows[t, i, OPEN] > 0.0:
                if later == later:
                    move = later / ex_close(close, split, dividend) - 1.0
                    seen += 1
                    if turn == 0:
                        total += move
                    else:
                        squares += (move - mean) ** 2
                later = close
                split = market.split[t, i] if market.split.shape[0] > 0 else np.nan
                dividend = market.dividend[t, i] if market.dividend.shape[0] > 0 else np.nan
            t -= 1
    return np.sqrt(squares / (seen - 1)) if seen > 1 else np.nan


@part
def measure_of(market, setup, row, i, limit):
    """What a limit on unusual markets watches of an instrument at a row, and its bound; NaN: not known."""
    limits, bar = setup.limits, market.rows[row, i]
    measure, bound = np.nan, np.inf
    if not bar[OPEN] > 0.0:
        return measure, bound
    if limit == UNUSUAL_VOL:
        bound = limits.unusual_vol
        if bound < np.inf:
            measure = vol_now(market, row, i) * np.sqrt(YEAR / bar[DURATION])
    elif limit == UNUSUAL_GAP:
        bound = limits.unusual_gap
        if row > 0 and market.mark[row - 1, i] > 0.0:
            marks = market.carried[row - 1]
            measure = abs(bar[OPEN] * rate_of(setup.terms, marks, i) / marks[i] - 1.0)
    else:
        bound = limits.unusual_spread
        if market.spread.shape[0] > 0:
            measure = market.spread[row, i]
    return measure, bound


@apart
def is_alarmed(market, setup, row):
    """Is any instrument's volatility, gap or spread beyond its bound at a row?"""
    if is_quiet(market, setup, row):
        return False
    for i in range(market.low.shape[1]):
        for limit in (UNUSUAL_VOL, UNUSUAL_GAP, UNUSUAL_SPREAD):
            measure, bound = measure_of(market, setup, row, i, limit)
            if measure > bound:
                return True
    return False


@apart
def is_unusual(book, log, market, setup, row, ts):
    """is_alarmed at a decision: everything that is beyond its bound is noted. Then the book may only reduce."""
    found = False
    for i in range(book.goal.shape[0]):
        for limit in (UNUSUAL_VOL, UNUSUAL_GAP, UNUSUAL_SPREAD):
            measure, bound = measure_of(market, setup, row, i, limit)
            if measure > bound:
                note(log, row, ts, limit, i, measure, bound, REDUCE)
                found = True
    return found


@part
def gate_stale(book, log, market, setup, row, ts, i):
    """An instrument without a recent bar may only be reduced."""
    oldest = ts - np.int64(setup.limits.stale * SECOND)
    last = row
    while last > 0 and market.ts[last] >= oldest and not market.rows[last, i, OPEN] > 0.0:
        last -= 1
    if market.ts[last] >= oldest and market.rows[last, i, OPEN] > 0.0:
        return
    allowed = reduced(book.allowed[i], book.positions[i].lots)
    if allowed != book.allowed[i]:
        note(log, row, ts, STALE, i, book.allowed[i], allowed, REFUSE)
    book.allowed[i] = allowed
