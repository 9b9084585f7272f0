"""How much luck the beginning was: the same book begun on other days, each time from nothing.

Nothing is remembered from before a start: windows fill again, and the account begins with its capital. Beside each
start stands what the run from the first bar made of the same days: where the two differ, what the book does depends
on when it was begun.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np

from trimtab.research.backtest import run_spec
from trimtab.research.curves import periods_of
from trimtab.research.funds import dated_flows, span_of
from trimtab.research.prepared import market_of
from trimtab.research.ratios import sharpe_ratio
from trimtab.research.robustness.outcome import (
    NAN,
    Outcome,
    Progress,
    check_count,
    outcome_of,
    outcomes,
    returns_of,
    sharpes_of,
    tried,
)
from trimtab.types import NotEnoughData, Panel, Spec, TrimtabError


class Starts(msgspec.Struct, frozen=True, kw_only=True):
    """count: starts, evenly from the second day on; within: the share of the days over which they are spread."""

    count: int = 12
    within: float = 0.5


class Start(NamedTuple):
    """One start: ns UTC from which bars are known, what it came to, and the Sharpe of the whole run on these days."""

    ts: int
    outcome: Outcome
    same_days: float


class Started(NamedTuple):
    """Every start, and of their Sharpes the lowest, the middle, the highest and the share above 0.

    Starts without a Sharpe are left out of the first three, and are not above 0.
    """

    whole: Outcome
    starts: tuple[Start, ...]
    low: float
    middle: float
    high: float
    positive: float
    why: str = ""


def starts(
    spec: Spec, panel: Panel, how: Starts | None = None, progress: Progress = None, threads: int | None = None
) -> Started:
    """A spec's run begun at each of so many days."""
    how = how or Starts()
    check_count("count", how.count)
    if not 0.0 < how.within < 1.0:
        raise TrimtabError(f"within is {how.within}: expected a share of the days between 0 and 1")
    base = run_spec(spec, panel)
    days = market_of(panel, spec.base_currency).days
    if len(days) < 3:
        raise NotEnoughData(f"{len(days)} days: another start takes three at least")
    at = np.unique(np.linspace(0, max(how.within * len(days), 1.0), how.count).astype(np.int64))
    rows = days[np.minimum(at, len(days) - 2)] + 1  # from a day's first bar on
    returns, ruin = returns_of(base)
    found = outcomes(len(rows), lambda k: tried(*begun(spec, panel, int(rows[k]))), progress, threads)
    whole, periods = outcome_of(base), periods_of(panel)
    listed = tuple(
        Start(
            span_of(panel_from(panel, int(row)))[0],
            one,
            NAN if ruin else sharpe_ratio(returns[base.result.sample >= row], periods, spec.risk_free_rate),
        )
        for row, one in zip(rows, found, strict=True)
    )
    sharpes = sharpes_of(found)
    known = sharpes[~np.isnan(sharpes)]
    if not known.size:
        return Started(whole, listed, NAN, NAN, NAN, 0.0, found[0].why)
    low, middle, high = float(known.min()), float(np.median(known)), float(known.max())
    return Started(whole, listed, low, middle, high, float((sharpes > 0.0).mean()))


def begun(spec: Spec, panel: Panel, row: int) -> tuple[Spec, Panel]:
    """The spec and the panel from a row on; cash that was paid in or out before is left out."""
    cut = panel_from(panel, row)
    if not spec.cash_flows:
        return spec, cut
    first = span_of(cut)[0]
    alone = [msgspec.structs.replace(spec, cash_flows=(flow,)) for flow in spec.cash_flows]
    left = tuple(one.cash_flows[0] for one in alone if dated_flows(one, panel.instruments)[1][0] >= first)
    return msgspec.structs.replace(spec, cash_flows=left), cut


def panel_from(panel: Panel, row: int) -> Panel:
    """The bars from a row on. Exchange rates that stood then are known at its first row."""
    values = panel.values[row:].copy()
    if "fx" in panel.fields:
        column = panel.fields.index("fx")
        for i in range(values.shape[1]):
            known = panel.values[: row + 1, i, column]
            known = known[np.isfinite(known)]
            if known.size:
                values[0, i, column] = known[-1]
    return msgspec.structs.replace(panel, ts=panel.ts[row:].copy(), values=values, lines=None)
