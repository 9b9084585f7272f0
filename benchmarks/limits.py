"""ns per instrument-bar and model of a book with every limit of design §8 finite, and of the same book without."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import numpy as np

from benchmarks.figures import Figure, one_core, timed
from benchmarks.markets import COSTS, Case, mean, panel_of
from benchmarks.simulate import Fold
from trimtab.rules.book import NO_GROUPS, Groups, Setup, Style, new_log, terms_of
from trimtab.rules.limits import LIMIT_NAMES
from trimtab.sim.market import build_market, day_ends
from trimtab.sim.setup import complete
from trimtab.sim.simulate import LOG_ROWS, simulate
from trimtab.types import MARKET, Limits, Weights

ROWS, INSTRUMENTS, CAPITAL = 10_000, 50, 1_000_000.0
#: Fast and slow average of each model.
MODELS: Final = ((20, 100), (50, 200), (30, 150), (80, 300))
TARGET: Final = 4.0

#: Every limit is finite, and the book lives inside them as an account does that is not in trouble: each can act.
LIMITS: Final = Limits(
    gross_leverage=1.2,
    max_weight=0.03,
    drawdown_derisk=0.2,
    drawdown_halt=0.4,
    stop_loss=0.05,
    take_profit=0.2,
    trailing_stop=0.1,
    daily_loss=0.05,
    weekly_loss=0.1,
    stale=86_400.0,
    order_notional=25_000.0,
    collar=0.02,
    max_holding=30 * 86_400.0,
    concentration=0.1,
    net_exposure=1.1,
    heat=1.15,
    group_gross=1.1,
    group_correlation=0.7,
    unusual_vol=0.5,
    unusual_gap=0.05,
    unusual_spread=0.01,
)


@lru_cache(maxsize=1)
def case() -> Case:
    """50 instruments x 10,000 hours, and four crosses of averages on each, long or flat, at a 200th of equity."""
    panel = panel_of(ROWS, INSTRUMENTS, timeframe="1h")
    rows, models, instruments, values = [], [], [], []
    for i in range(INSTRUMENTS):
        close = panel.values[:, i, 3]
        for m, (fast, slow) in enumerate(MODELS):
            long = mean(close, fast) > mean(close, slow)
            turns = np.flatnonzero(long[1:] != long[:-1]) + 1
            rows.append(turns)
            models.append(np.full(len(turns), m))
            instruments.append(np.full(len(turns), i))
            values.append(np.where(long[turns], 1.0 / (INSTRUMENTS * len(MODELS)), 0.0))
    columns = [np.concatenate(x) for x in (rows, models, instruments, values)]
    order = np.lexsort((columns[2], columns[1], columns[0]))
    return Case(panel, Weights(*(x[order] for x in columns)))


def groups_of() -> Groups:
    """Caps of two asset classes, two venues and every model."""
    kinds = np.arange(INSTRUMENTS, dtype=np.int64) % 2
    caps = np.full(2, 0.65)
    return NO_GROUPS._replace(
        asset_class=kinds, class_cap=caps, venue=1 - kinds, venue_cap=caps, model_cap=np.full(len(MODELS), 0.3)
    )


def figures() -> Iterator[Figure]:
    """The driver with limits off and on, and what the estimate of correlated groups costs."""
    market = build_market(case().panel)
    terms = terms_of(case().panel.instruments, (COSTS,) * INSTRUMENTS)
    style = Style(MARKET, 0.0, 0, 0, 0, 0, 0.0, 7)
    units = 1e9 / (ROWS * INSTRUMENTS * len(MODELS))
    for name, limits, groups in (("off", Limits(), NO_GROUPS), ("all finite", LIMITS, groups_of())):
        bare = Setup(terms, limits, style, CAPITAL, len(MODELS), groups=groups)
        setup = complete(bare, market)
        result = simulate(market, case().weights, setup)
        acted = {k: int((result.actions["limit"] == c).sum()) for c, k in enumerate(LIMIT_NAMES)}
        log = new_log(LOG_ROWS, INSTRUMENTS, len(MODELS), 0, day_ends(market.ts))
        fold = Fold(market, case().weights, setup, log)
        with one_core():
            sample = timed(fold, 51, fold.open, warm=5)
            ready = timed(lambda bare=bare: complete(bare, market), 11)
        yield Figure(
            name=f"limits.{name}",
            sample=sample.scaled(units),
            unit="ns per instrument-bar-model",
            target=TARGET if limits is LIMITS else None,
            note=f"{len(result.fills):,} fills; "
            + (", ".join(f"{k} {v:,}" for k, v in acted.items() if v) or "no limit acted"),
        )
        yield Figure(
            name=f"limits.{name}, before the first row",
            sample=ready.scaled(units),
            unit="ns per instrument-bar-model",
            note="groups of correlated instruments day by day, and the worst of each row; once per panel and setting",
        )
