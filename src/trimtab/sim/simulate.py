"""Run the compiled driver over a market and keep what it wrote."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.compiled import loop
from trimtab.rules.book import ORDER, SLOTS, Book, Setup, new_log, open_book
from trimtab.rules.market import Market
from trimtab.sim.driver import run
from trimtab.sim.setup import complete
from trimtab.sim.windows import Window, samples_in, setup_in, whole
from trimtab.types import F64, I64, Weights

#: Rows of a log's tables; it is emptied when full, so that what is written stays in the processor's cache.
LOG_ROWS = 512


class Result(NamedTuple):
    """What the driver wrote: tables as record arrays, curves at day ends, per-bar equity where it was kept."""

    book: Book
    orders: NDArray[np.void]  # ended ones, then those still open
    fills: NDArray[np.void]
    shares: F64  # (F, M)
    actions: NDArray[np.void]
    equity: F64  # (T,) or (0,)
    sample: I64  # (D,) rows of the curves
    curve: F64  # (D, 6), see Log
    pnl: F64  # (D, M)
    cost: F64  # (D, M)


def joined(tables: list[NDArray[Any]]) -> NDArray[Any]:
    """Tables one below the other in new memory: records as bytes, because numpy copies them one by one."""
    if tables[0].dtype.names is None:
        return np.concatenate(tables)
    return np.concatenate([table.view(np.uint8) for table in tables]).view(tables[0].dtype)


def simulate(market: Market, weights: Weights, setup: Setup, keep_equity: bool = True) -> Result:
    """Fold the whole market through the rules."""
    return fold_window(market, weights, complete(setup, market), whole(market), keep_equity)


def simulate_window(market: Market, weights: Weights, setup: Setup, window: Window) -> Result:
    """Fold a part of a market through the rules: flat before it, without equity by bar; weights as `weights_in` gives.

    Rows in the result are rows of the market.
    """
    return fold_window(market, weights, setup_in(complete(setup, market), window), window, keep_equity=False)


def fold_window(market: Market, weights: Weights, setup: Setup, window: Window, keep_equity: bool) -> Result:
    """The driver over the rows of a window, its log emptied as often as it is full."""
    rows, n = market.low.shape
    sample = samples_in(market, window)
    book = open_book(setup.capital, setup.terms, setup.models, setup.cash)
    log = new_log(LOG_ROWS, n, setup.models, rows if keep_equity else 0, sample)
    parts: list[list[Any]] = [[], [], [], []]
    t = window.first
    while True:
        t = run(book, log, market, weights, setup, t, window.stop)
        orders, fills, actions = log.used
        done = t >= window.stop
        for kept, table, used in zip(
            parts, (log.orders, log.fills, log.shares, log.actions), (orders, fills, fills, actions), strict=True
        ):
            kept.append(table[:used] if done else joined([table[:used]]))
        if done:
            break
        log.used[:] = 0
    live = [book.orders[i, s] for i in range(n) for s in range(SLOTS) if (int(book.positions[i]["live"]) >> s) & 1]
    if live:
        parts[0].append(np.array(live, ORDER))
    ended, filled, shares, acted = (joined(kept) for kept in parts)
    return Result(book, ended, filled, shares, acted, log.equity, sample, log.curve, log.pnl, log.cost)


@loop
def changes(weights, first, row, instrument, value):
    """The cells of (T, N) weights that differ from the last one of their column; NaN keeps what there is. -> count

    first   (N,) rows of the first bars: a weight that stands earlier is new there, because no sooner can it be sized
    """
    last = np.full(weights.shape[1], np.nan)
    n = 0
    for t in range(weights.shape[0]):
        for i in range(weights.shape[1]):
            w = weights[t, i]
            if w == w and w != last[i] and t >= first[i]:
                row[n] = t
                instrument[n] = i
                value[n] = w
                n += 1
                last[i] = w
    return n


def weights_of(dense: F64, first: I64 | None = None) -> Weights:
    """A (T, N) matrix of weights, NaN = hold, as the rows at which one is new; first (N,): rows of the first bars."""
    row, instrument = np.empty(dense.size, np.int64), np.empty(dense.size, np.int64)
    value = np.empty(dense.size)
    begins = np.zeros(dense.shape[1], np.int64) if first is None else first
    n = changes(dense, begins, row, instrument, value)
    return Weights(row[:n], np.zeros(n, np.int64), instrument[:n], value[:n])
