"""When an allocator looks, and at what: shares from closed days, at instants counted from the epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from trimtab.portfolio.allocators import find_allocator, shares_at
from trimtab.portfolio.budgets import Stream
from trimtab.rules.market import Market, adjusted
from trimtab.schedule import crossed
from trimtab.types import DAY, F64, I64, SECOND, AllocatorUse, NotEnoughData, Refusal

#: The number of a split that is the book's, over its models.
BOOK = -1


class Days(NamedTuple):
    """Simple returns (D, K) of whole UTC days, NaN where one is not known, and the midnights (D,) that ended them."""

    returns: F64
    over: I64


class Split(NamedTuple):
    """What one allocator chose, look by look.

    use      the allocator, as the spec names it
    model    whose budget it splits over its instruments; BOOK: the sum of the budgets over the models
    parts    (K,) the panel's numbers of the instruments, or the models' numbers
    row      (E,) the rows at which it looked
    share    (E, K) the shares from that close on: none negative, sum 1; where it refused, those that stood before
    refused  looks at windows that could not be split
    """

    use: AllocatorUse
    model: int
    parts: I64
    row: I64
    share: F64
    refused: tuple[Refusal, ...]

    def title(self, models: Sequence[str]) -> str:
        """What a reader calls it, by the models' names."""
        return f"{self.use.name} of {models[self.model] if self.model != BOOK else 'the book'}"

    def names(self, models: Sequence[str], symbols: Sequence[str]) -> list[str]:
        """The names of its parts: models of the book, or instruments of a model."""
        known = models if self.model == BOOK else symbols
        return [known[int(k)] for k in self.parts]

    def factor(self, k: int, equal: float, rows: int) -> F64:
        """(rows,) what the part of column k is multiplied by where it was `equal` before; 1 until the first look."""
        at = np.searchsorted(self.row, np.arange(rows), side="right") - 1
        return np.append(self.share[:, k] / equal, 1.0)[at]


def split_of(use: AllocatorUse, days: Days, ts: I64, model: int, parts: Sequence[int]) -> Split:
    """Every look of an allocator: on the first row in each new interval of `every` with `window` days behind it.

    days  of its K parts
    ts    (T,) close instants

    A look at row t sees the last `window` days that were over by then: their midnight is not after ts[t]. A part with a
    day in it that is not known keeps an equal share.
    """
    allocator, count = find_allocator(use.name), len(parts)
    looks = np.flatnonzero(crossed(np.concatenate((ts[:1], ts[:-1])), ts, round(use.every * SECOND)))
    seen = np.searchsorted(days.over, ts[looks], side="right")
    looks, seen = looks[seen >= use.window], seen[seen >= use.window]
    share = np.full((len(looks), count), 1.0 / count)
    refused: list[Refusal] = []
    for k, last in enumerate(seen.tolist()):
        try:
            share[k] = shares_at(allocator, days.returns[last - use.window : last])
        except NotEnoughData as error:
            refused.append(Refusal(int(ts[looks[k]]), str(error)))
            share[k] = share[k - 1] if k else share[k]
    return Split(use, model, np.array(parts, np.int64), looks.astype(np.int64), share, tuple(refused))


def days_of_instruments(market: Market, instruments: Sequence[int]) -> Days:
    """Returns of instruments from day end to day end, in base currency; NaN up to the first bar."""
    marks = adjusted(market, market.days)[:, list(instruments)]
    marks = np.where(marks > 0.0, marks, np.nan)
    return Days(marks[1:] / marks[:-1] - 1.0, _midnights(market)[1:])


def days_of_models(market: Market, streams: Sequence[Sequence[Stream]], budgets: Sequence[float]) -> Days:
    """What each model's standing weights would have earned per day over its budget, unlimited and before costs.

    The first day began before the first row, so nothing is known of it.
    """
    marks = adjusted(market, slice(None))
    rows, first = len(market.ts), np.concatenate(([0], market.days[:-1] + 1))
    returns = np.zeros((len(market.days), len(streams)))
    for m, units in enumerate(streams):
        for unit in units:
            for i in np.unique(unit.instrument).tolist():
                mine = unit.instrument == i
                held = _in_force(unit.row[mine], unit.forecast[mine] * unit.share, rows)
                mark = np.where(marks[:, i] > 0.0, marks[:, i], np.nan)
                moved = np.zeros(rows)
                moved[1:] = np.nan_to_num(mark[1:] / mark[:-1] - 1.0)
                returns[:, m] += np.add.reduceat(held * moved, first) / budgets[m]
    return Days(returns[1:], _midnights(market)[1:])


def _in_force(row: I64, weight: F64, rows: int) -> F64:
    """(rows,) the weight during each row: said at the close of an earlier one."""
    at = np.searchsorted(row, np.arange(rows), side="left") - 1
    return np.append(weight, 0.0)[at]


def _midnights(market: Market) -> I64:
    return (market.ts[market.days] - 1) // DAY * DAY + DAY
