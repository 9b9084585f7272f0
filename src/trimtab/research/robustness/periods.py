"""When the profit was made: by calendar year, by equal parts, and by regime.

A day counts for the label that was known at the close of the day before it: nobody knew the other one in time.
Without regimes in the spec, the label is the volatility of the book's first instrument: the deviation of its last
daily returns, ranked among its own values so far, in three parts of equal size.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec
import numpy as np

from trimtab.research.backtest import run_spec
from trimtab.research.curves import periods_of
from trimtab.research.robustness.outcome import NAN, check_count, measured, returns_of
from trimtab.research.run import Run
from trimtab.rules.market import adjusted
from trimtab.types import F64, I64, Panel, Spec

#: Labels of volatility, the last one for the days before it is known.
TERCILES: Final = ("low", "middle", "high", "unknown")


class Periods(msgspec.Struct, frozen=True, kw_only=True):
    """parts: equal parts by days; window: daily returns in a volatility; least: values before one is ranked."""

    parts: int = 4
    window: int = 21
    least: int = 42


class Period(NamedTuple):
    """Some days of a run. by: year, part, `regime NAME` or volatility.

    first, last   instants that end its first and its last day, ns UTC
    total_return  compounded over its days, fraction; max_drawdown of these days one after another
    profit        base currency, cash flows apart; share: of the whole profit, NaN where that is not above 0
    """

    by: str
    name: str
    first: int
    last: int
    days: int
    total_return: float
    sharpe: float
    max_drawdown: float
    profit: float
    share: float


class PeriodTable(NamedTuple):
    """Rows of each view, which adds up to the whole profit; why: why returns and Sharpe are NaN."""

    rows: tuple[Period, ...]
    profit: float
    why: str = ""


def periods(spec: Spec, panel: Panel, how: Periods | None = None) -> PeriodTable:
    """The table of a spec's run."""
    return periods_of_run(run_spec(spec, panel), how)


def periods_of_run(run: Run, how: Periods | None = None) -> PeriodTable:
    """The same of a run that there is."""
    how = how or Periods()
    check_count("parts", how.parts)
    check_count("window", how.window, 2)
    check_count("least", how.least, 2)
    curves = run.curves
    profit = curves.equity - curves.before(curves.equity) - curves.flows
    returns, why = returns_of(run)
    whole, yearly, rate = float(profit.sum()), periods_of(run.panel), run.spec.risk_free_rate

    def row(by: str, name: str, at: I64) -> Period:
        one = measured(returns[at], yearly, rate) if not why else None
        figures = (one.total_return, one.sharpe, one.max_drawdown) if one else (NAN, NAN, NAN)
        made = float(profit[at].sum())
        share = made / whole if whole > 0.0 else NAN
        return Period(by, name, int(curves.ts[at[0]]), int(curves.ts[at[-1]]), len(at), *figures, made, share)

    parts = np.array_split(np.arange(len(curves.ts)), how.parts)
    views: list[tuple[str, str, I64]] = [("part", f"{k} of {how.parts}", at) for k, at in enumerate(parts, 1)]
    years = (curves.ts - 1).view("M8[ns]").astype("M8[Y]").astype(np.int64) + 1970  # 00:00 ends the day before
    views = [("year", str(y), np.flatnonzero(years == y)) for y in np.unique(years).tolist()] + views
    for by, words, labels in _labels(run, how):
        views += [(by, word, np.flatnonzero(labels == k)) for k, word in enumerate(words)]
    return PeriodTable(tuple(row(by, name, at) for by, name, at in views if len(at)), whole, why)


def _labels(run: Run, how: Periods) -> Iterator[tuple[str, tuple[str, ...], I64]]:
    """Views by what was known the day before: its name, the words, and (D,) the word's number of each day."""
    if not run.spec.regimes:
        yield "volatility", TERCILES, np.append(3, terciles(run, how)[:-1])[: len(run.curves.ts)]
        return
    from trimtab.portfolio.regime import table
    from trimtab.portfolio.regime.budgets import words_of
    from trimtab.research.regimes import regime_labels, use_names

    uses = use_names(run.spec)
    for name, labels in regime_labels(run.spec, run.panel).items():
        words = tuple(words_of(table.find(uses[name].regime)))
        at = labels[run.result.sample].astype(np.int64) % len(words)
        yield f"regime {name}", words, np.append(len(words) - 1, at[:-1])[: len(run.curves.ts)]


def terciles(run: Run, how: Periods) -> I64:
    """(D,) the number in TERCILES of the volatility that is known at each day's end, of the first instrument."""
    closes: F64 = adjusted(run.fold.market, run.result.sample)[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        returns = np.append(np.nan, closes[1:] / closes[:-1] - 1.0)
    found = np.full(len(closes), 3, np.int64)
    seen: list[float] = []
    for d in range(how.window, len(closes)):
        vol = float(returns[d - how.window + 1 : d + 1].std(ddof=1))
        if not np.isfinite(vol):
            continue
        if len(seen) >= how.least:
            found[d] = min(3 * bisect.bisect_left(seen, vol) // len(seen), 2)
        bisect.insort(seen, vol)
    return found
