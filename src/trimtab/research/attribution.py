"""Where a run's profit came from: by model, instrument, asset class, side and regime, with costs apart.

Every view adds up to the same profit. What is measured is the ledger of each model in each instrument: what its lots
are worth, less what they cost, plus what they earned, costs and carry included; nothing is accounted for twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.rules.book import Book, new_log, open_book
from trimtab.sim.driver import run as fold
from trimtab.sim.setup import complete
from trimtab.sim.simulate import LOG_ROWS
from trimtab.types import DAY, DIVIDEND, F64, I64

if TYPE_CHECKING:
    import polars as pl

    from trimtab.research.run import Run

#: Row of cash in another currency that gained or lost against the base one: nobody traded it.
EXCHANGE = "exchange rates"


class Standing(NamedTuple):
    """Profit after costs, and costs, of each model in each instrument since the start: (M, N), base currency."""

    net: F64
    cost: F64


def attribution(run: Run) -> pl.DataFrame:
    """by, name, net, costs, gross (net + costs), days: one row per part of each view; base currency.

    by      model, instrument, asset_class, side, `regime NAME` for each, and `cash` where exchange rates moved it
    days    calendar days that a regime's label stood; null elsewhere

    The rows of one view, and that of cash, add up to the run's profit: equity at the end less the capital and the cash
    paid in. Profit from the close of row t to that of t + 1 belongs to the label known at t.
    """
    import polars as pl

    whole = standing_of(run, run.result.book, len(run.panel.ts))
    rows: list[tuple[str, str, float, float, float | None]] = []
    instruments = run.panel.instruments
    rows += [("model", n, *_sums(whole, np.s_[m, :]), None) for m, n in enumerate(run.model_names)]
    rows += [("instrument", s, *_sums(whole, np.s_[:, i]), None) for i, s in enumerate(run.panel.symbols)]
    kinds = [i.asset_class for i in instruments]
    for kind in dict.fromkeys(kinds):
        mine = np.flatnonzero([k == kind for k in kinds])
        rows.append(("asset_class", kind, *_sums(whole, np.s_[:, mine]), None))
    long, short = _sides(run, whole)
    rows += [("side", "long", *long, None), ("side", "short", *short, None)]
    rows += _by_regime(run, whole)
    head = run.result.book.head[0]
    traded = float(head["equity"]) - run.capital - float(head["flows"])
    drift = traded - float(whole.net.sum())
    if (run.result.book.column >= 0).any():
        rows.append(("cash", EXCHANGE, drift, 0.0, None))
    columns = list(zip(*rows, strict=True)) or [()] * 5
    net, cost = np.array(columns[2], np.float64), np.array(columns[3], np.float64)
    return pl.DataFrame(
        {
            "by": pl.Series(columns[0], dtype=pl.String),
            "name": pl.Series(columns[1], dtype=pl.String),
            "net": net,
            "costs": cost,
            "gross": net + cost,
            "days": pl.Series(columns[4], dtype=pl.Float64),
        }
    )


def by_view(table: pl.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """The same as plain values: by -> name -> net, costs, gross and, of regimes, days."""
    views: dict[str, dict[str, dict[str, float]]] = {}
    for row in table.iter_rows(named=True):
        figures = {key: row[key] for key in ("net", "costs", "gross", "days") if row[key] is not None}
        views.setdefault(row["by"], {})[row["name"]] = figures
    return views


def standing_of(run: Run, book: Book, rows: int) -> Standing:
    """The ledgers of a book after so many rows, in base currency."""
    if rows == 0:
        return Standing(np.zeros(book.ledger.shape), np.zeros(book.ledger.shape))
    return standing(book, run.fold.market.mark[rows - 1], run.fold.setup.terms)


def standing(book: Book, marks: F64, terms: NDArray[np.void]) -> Standing:
    """The ledgers of a book under the marks of a row (N + F,), in base currency."""
    column = terms["column"]
    rate = np.where(column >= 0, marks[column], 1.0)
    value = book.held * (book.unit * marks[: book.ledger.shape[1]])
    return Standing(book.ledger * rate + value, book.charges[:, :, :DIVIDEND].sum(axis=2) * rate)


def _sums(whole: Standing, part: object) -> tuple[float, float]:
    return float(whole.net[part].sum()), float(whole.cost[part].sum())  # type: ignore[index]  # slices of (M, N)


# --- sides -----------------------------------------------------------------------------------------------------------


def _sides(run: Run, whole: Standing) -> list[tuple[float, float]]:
    """Net and costs of the long and of the short side.

    Round trips have a side, and those that are open have their mark. What accrued to positions without a trade
    (funding, borrow, interest) is shared by lots held times time.
    """
    marks, column = run.fold.market.mark[-1:], run.fold.setup.terms["column"]
    if not len(marks):
        return [(0.0, 0.0), (0.0, 0.0)]
    rate = np.where(column >= 0, marks[0][column], 1.0)
    unit, n = run.result.book.unit, len(column)
    count = len(run.trips.models)
    net, cost, held = np.zeros((2, count, n)), np.zeros((2, count, n)), np.zeros((2, count, n))
    for m, trips in enumerate(run.trips.models):
        for side, mine in ((0, trips[trips["lots"] > 0]), (1, trips[trips["lots"] < 0])):
            at = mine["instrument"]
            until = np.where(mine["open"] == 0, mine["exit_ts"], run.panel.ts[-1])
            lasted = np.abs(mine["lots"]) * np.maximum(until - mine["entry_ts"], 1)
            net[side, m] = np.bincount(at, mine["pnl"], n) * rate
            cost[side, m] = np.bincount(at, mine["costs"], n) * rate
            held[side, m] = np.bincount(at, lasted, n)
    value = run.result.book.held * (unit * marks[0][:n])
    net[0] += np.maximum(value, 0.0)
    net[1] += np.minimum(value, 0.0)
    total = held.sum(axis=0)
    share = np.divide(held, total, out=np.full_like(held, 0.5), where=total > 0.0)
    net += share * (whole.net - net.sum(axis=0))
    cost += share * (whole.cost - cost.sum(axis=0))
    return [(float(net[s].sum()), float(cost[s].sum())) for s in (0, 1)]


# --- regimes ---------------------------------------------------------------------------------------------------------


def _by_regime(run: Run, whole: Standing) -> Iterable[tuple[str, str, float, float, float | None]]:
    """A row per label of each regime that was known at some time."""
    from trimtab.portfolio.book import name_of
    from trimtab.portfolio.regime.budgets import words_of
    from trimtab.portfolio.regime.table import REGIMES
    from trimtab.research.regimes import regime_labels

    if not run.spec.regimes or not len(run.panel.ts):
        return
    labels = regime_labels(run.spec, run.panel)
    changed = [np.flatnonzero(found[1:] != found[:-1]) + 2 for found in labels.values()]
    # Row r names a new label: the profit of row r is still the old one's, so the ledgers are read after r + 1 rows.
    rows = np.unique(np.concatenate([*changed, [len(run.panel.ts)]]))
    rows = rows[rows <= len(run.panel.ts)]
    net, cost = standings_at(run, rows)
    ts = np.append(run.panel.ts[rows - 1], 0)
    begin = np.concatenate(([run.panel.ts[0]], ts[: len(rows) - 1]))
    days = (ts[: len(rows)] - begin) / DAY
    for use in run.spec.regimes:
        words = words_of(REGIMES[use.regime])
        # The label of a stretch is the one known before its last row.
        standing = labels[name_of(use)][np.maximum(rows - 2, 0)].astype(np.int64) % len(words)
        for k, word in enumerate(words):
            mine = standing == k
            if mine.any():
                figures = float(net[mine].sum()), float(cost[mine].sum()), float(days[mine].sum())
                yield f"regime {name_of(use)}", word, *figures


def standings_at(run: Run, rows: I64) -> tuple[F64, F64]:
    """Net profit and costs of the whole book in each stretch that ends after so many rows: (K,) each.

    The driver runs once more and stops there, so what is read is what it did; or what an engine did was noted.
    """
    if run.fold.standings is not None:
        known = np.diff(np.concatenate((np.zeros((1, 2)), run.fold.standings[rows - 1])), axis=0)
        return known[:, 0], known[:, 1]
    market, weights, setup = run.fold.market, run.fold.weights, complete(run.fold.setup, run.fold.market)
    book = open_book(setup.capital, setup.terms, setup.models, setup.cash)
    log = new_log(LOG_ROWS, len(run.panel.instruments), setup.models, 0, np.empty(0, np.int64))
    sums = np.zeros((len(rows) + 1, 2))
    t = 0
    for k, stop in enumerate(rows.tolist()):
        while t < stop:
            t = fold(book, log, market, weights, setup, t, stop)
            log.used[:] = 0
        now = standing_of(run, book, stop)
        sums[k + 1] = now.net.sum(), now.cost.sum()
    parts: NDArray[np.float64] = np.diff(sums, axis=0)
    return parts[:, 0], parts[:, 1]
