"""From a Panel to the arrays that the rules read: padded rows, marks, causal volatility and average volume."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from trimtab.compiled import loop
from trimtab.compiled.prefetch import prefetch
from trimtab.rules.adjust import adjusted_bars, carry_marks
from trimtab.rules.book import wallets_of
from trimtab.rules.derive import AHEAD, derive, underived
from trimtab.rules.market import BLOCK, Market
from trimtab.types import DAY, F64, I64, LINE, Panel, TrimtabError


@loop
def survey(values, first, silent):
    """Look at all bars (T, N, K) once: t x N + i of the first of which only some prices are positive numbers, or -1.

    first   (N,) the row of each instrument's first close; 0 where there is none
    silent  (N,) 1 where no bar has a known volume
    """
    T, N = values.shape[0], values.shape[1]
    first[:], silent[:] = -1, 1
    for t in range(T):
        for i in range(N):
            prefetch(values, t + AHEAD, i)
            x = values[t, i]
            whole = (x[0] > 0.0) & (x[1] > 0.0) & (x[2] > 0.0) & (x[3] > 0.0) & (x[0] + x[1] + x[2] + x[3] < np.inf)
            if not whole:  # or too large to be added up: each by itself
                seen = 0
                for k in range(4):
                    seen += 1 if 0.0 < x[k] < np.inf else 0
                if seen != 0 and seen != 4:
                    return t * N + i
                whole = seen == 4
            if whole & (first[i] < 0):
                first[i] = t
            if x[4] > 0.0:
                silent[i] = 0
    for i in range(N):
        first[i] = max(first[i], 0)
    return -1


def day_ends(ts: I64) -> I64:
    """Rows that end a UTC day: the last at or before each 00:00; a bar that closes at 00:00 ends the day before."""
    if not len(ts):
        return np.empty(0, np.int64)
    midnights = np.arange((ts[0] - 1) // DAY + 1, (ts[-1] - 1) // DAY + 2) * DAY
    return np.unique(np.searchsorted(ts, midnights, side="right") - 1)


#: Memory of panels that a market already writes to, by id: another panel over the same bars gets a copy.
_taken: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def lines_of(panel: Panel) -> tuple[F64, F64]:
    """(T, N, 8) lines, and the bars (T x N, K) to copy into them: none where they are the panel's own memory."""
    values, lines = panel.values, panel.lines
    shape = (*values.shape[:2], LINE)
    if lines is not None and lines.shape == shape and values.strides == lines.strides and id(lines) not in _taken:
        _taken[id(lines)] = lines
        nothing = np.empty((0, shape[2]))
        nothing.flags.writeable = False  # of the same type to numba as a panel's values
        return lines, nothing
    return np.empty(shape), np.ascontiguousarray(values).reshape(-1, values.shape[2])


def build_market(panel: Panel, base: str = "") -> Market:
    """The Market of a panel, see docs/fills.md for the windows of vol and average_volume.

    base   the currency of equity; empty: that of the first instrument. Where an instrument is quoted in another one,
           the panel's field `fx` holds base currency per unit of it, as it is known at each row
    """
    shape, base = panel.values.shape[:2], base or panel.instruments[0].quote
    rows, bars = lines_of(panel)
    mark, low, high = np.empty(shape), np.empty(shape), np.empty(shape)
    alone = shape[1] == 1 and panel.instruments[0].quote == base
    block_low, block_high = (np.empty(shape[0] // BLOCK if alone else 0) for _ in range(2))
    split, dividend = (field_of(panel, name) for name in ("split", "dividend"))
    derive(underived(shape[1]), panel.ts, bars, rows, mark, low, high, block_low, block_high, split, dividend)
    mark = in_base(panel, mark, base)
    funding, spread = (field_of(panel, name) for name in ("funding", "spread"))
    factor, carried = across(panel, mark, split, dividend, base)
    return Market(
        panel.ts, rows, mark, low, high, funding, spread, split, dividend, factor, field_of(panel, "member"),
        carried, block_low, block_high,
        day_ends(panel.ts),
    )  # fmt: skip


def across(panel: Panel, mark: F64, split: F64, dividend: F64, base: str) -> tuple[F64, F64]:
    """Market.factor and Market.carried."""
    n = len(panel.instruments)
    if not len(split) and not len(dividend):
        return np.empty((0, n)), mark
    _, factor = adjusted_bars(panel)
    carried = mark.copy()
    columns = [n + at for at in range(mark.shape[1] - n)]
    wallets = [wallet for wallet in wallets_of(panel.instruments) if wallet[1] != base]
    column = np.array(
        [columns[wallets.index((i.venue, i.quote))] if i.quote != base else -1 for i in panel.instruments]
    )
    carry_marks(carried[:-1], split[1:], dividend[1:], column)
    return factor, carried


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
