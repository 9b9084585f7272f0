"""When an allocator looks, and at what: shares from closed days, at instants counted from the epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trimtab.portfolio.allocators import find_allocator, shares_of
from trimtab.portfolio.budgets import Stream
from trimtab.sim.market import day_ends
from trimtab.types import DAY, F64, I64, SECOND, AllocatorUse, Panel

_WEEK = 7 * DAY
_MONDAY = 4 * DAY  # 1970-01-05, the first Monday of the epoch


def looks(ts: I64, every: int) -> I64:
    """The first row at or after each multiple of `every` (ns) since the epoch, whole weeks since a Monday."""
    phase = _MONDAY if every % _WEEK == 0 else 0
    interval = (ts - phase) // every
    return np.flatnonzero(interval[1:] > interval[:-1]).astype(np.int64) + 1


def allocated(use: AllocatorUse, returns: F64, ends: I64, ts: I64) -> F64:
    """The share of each column at the close of each row: (T, K) with sum 1; NaN before there are days enough.

    returns  (D, K)  simple returns of the days that end at `ends`; NaN: not known
    ends     (D,)    ns UTC, the last close of each day
    ts       (T,)    close instants

    A look at row t sees the last `window` days that were over by then: their midnight is not after ts[t]. A column with
    a day in it that is not known keeps an equal part.
    """
    out = np.full((len(ts), returns.shape[1]), np.nan)
    allocator = find_allocator(use.name)
    over = (ends - 1) // DAY * DAY + DAY  # the midnight that ends each day
    rows = looks(ts, round(use.every * SECOND))
    for k, row in enumerate(rows.tolist()):
        last = int(np.searchsorted(over, ts[row], side="right"))
        if last < use.window:
            continue
        seen = returns[last - use.window : last].copy()
        seen[:, np.isnan(seen).any(axis=0)] = 0.0
        until = rows[k + 1] if k + 1 < len(rows) else len(ts)
        out[row:until] = shares_of(allocator, seen)
    return out


def returns_of_instruments(panel: Panel, instruments: Sequence[int]) -> tuple[F64, I64]:
    """Simple returns from day end to day end (D, K), NaN before the first bar, and the close of each day (D,)."""
    days = day_ends(panel.ts)
    marks = np.stack([_marks(panel, i)[days] for i in instruments], axis=1)
    returns = np.full_like(marks, np.nan)
    returns[1:] = marks[1:] / marks[:-1] - 1.0
    return returns[1:], panel.ts[days][1:]


def returns_of_models(panel: Panel, streams: Sequence[Sequence[Stream]], budgets: Sequence[float]) -> tuple[F64, I64]:
    """What each model's standing weights would have earned per day over its budget, unlimited and before costs.

    ->  (D, M), and the close of each day (D,)
    """
    days = day_ends(panel.ts)
    out = np.zeros((len(days), len(streams)))
    first = np.concatenate(([0], days[:-1] + 1))
    for m, units in enumerate(streams):
        for unit in units:
            for i in np.unique(unit.instrument).tolist():
                mine = unit.instrument == i
                standing = _standing(unit.row[mine], unit.forecast[mine] * unit.share, len(panel.ts))
                mark = _marks(panel, i)
                moved = np.zeros(len(mark))
                moved[1:] = np.nan_to_num(mark[1:] / mark[:-1] - 1.0)
                out[:, m] += np.add.reduceat(standing * moved, first) / budgets[m]
    return out[1:], panel.ts[days][1:]


def _standing(row: I64, weight: F64, rows: int) -> F64:
    """(T,) the weight that was in force during each row: said at the close of an earlier one."""
    at = np.searchsorted(row, np.arange(rows), side="left") - 1
    return np.append(weight, 0.0)[at]


def _marks(panel: Panel, i: int) -> F64:
    """(T,) the last close seen of an instrument; NaN before the first."""
    close = panel.values[:, i, panel.fields.index("close")]
    seen = np.maximum.accumulate(np.where(np.isnan(close), -1, np.arange(len(close))))
    return np.append(close, np.nan)[seen]
