"""A part of a market on its own: a book that is flat before it, and models that remember what came before.

Weights are decided on all bars there are; a window sees those that stand when it opens, as decisions of its first row.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trimtab.compiled import entry, part
from trimtab.rules.book import Setup
from trimtab.rules.market import Market
from trimtab.types import I64, Weights


class Window(NamedTuple):
    """Rows first ≤ t < stop of a market."""

    first: int
    stop: int


def whole(market: Market) -> Window:
    """All rows."""
    return Window(0, len(market.ts))


def samples_in(market: Market, window: Window) -> I64:
    """(D,) rows of the window that end a day; its last row ends one, wherever it falls."""
    days = market.days[(market.days >= window.first) & (market.days < window.stop)]
    return days if len(days) and days[-1] == window.stop - 1 else np.append(days, window.stop - 1)


def setup_in(setup: Setup, window: Window) -> Setup:
    """The set-up of a run that begins with the window: nothing of before falls due in it, days count from its start."""
    if window.first == 0 or not len(setup.stamps):
        return setup
    due = setup.stamps[setup.stamps > window.first]
    return setup._replace(stamps=np.concatenate((np.array([window.first]), due)))


def weights_in(
    weights: Weights, window: Window, models: int, instruments: int, *, exit_row: int | None = None
) -> Weights:
    """The weights of a window: those that stand when it opens are decided at its first row.

    exit_row  from which nothing is wanted any more: every weight is 0 there; None: the last ones stand to the end
    """
    n = int(np.searchsorted(weights.row, window.stop if exit_row is None else exit_row))
    kept = Weights(
        weights.row[:n].copy(), weights.model[:n].copy(), weights.instrument[:n].copy(), weights.value[:n].copy()
    )
    n = begin_now(kept, n, window.first, np.empty((models, instruments)))
    row, model, instrument, value = kept.row[:n], kept.model[:n], kept.instrument[:n], kept.value[:n]
    if exit_row is None:
        return Weights(row, model, instrument, value)
    seen = np.unique(model * instruments + instrument)
    return Weights(
        np.concatenate((row, np.full(len(seen), exit_row))),
        np.concatenate((model, seen // instruments)),
        np.concatenate((instrument, seen % instruments)),
        np.concatenate((value, np.zeros(len(seen)))),
    )


@part
def begin(weights, n, first, standing):
    """Move what stands at row `first` to it and forget what came before; -> how many of the n weights there are then.

    standing  (M, N) scratch
    """
    e = 0
    while e < n and weights.row[e] <= first:
        e += 1
    if e == 0 or (first == 0 and e <= 1):
        return n
    standing[:] = np.nan
    for k in range(e):
        standing[weights.model[k], weights.instrument[k]] = weights.value[k]
    kept = 0
    for m in range(standing.shape[0]):
        for i in range(standing.shape[1]):
            if standing[m, i] == standing[m, i]:
                weights.row[kept], weights.model[kept], weights.instrument[kept] = first, m, i
                weights.value[kept] = standing[m, i]
                kept += 1
    for k in range(e, n):
        weights.row[kept], weights.model[kept] = weights.row[k], weights.model[k]
        weights.instrument[kept], weights.value[kept] = weights.instrument[k], weights.value[k]
        kept += 1
    return kept


@entry
def begin_now(weights, n, first, standing):
    """`begin` for callers outside a compiled loop."""
    return begin(weights, n, first, standing)
