"""Cases made by hand, and runs of weights drawn at random."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

import trimtab as tt
from trimtab.research.court.case import Case
from trimtab.research.inference.sharpe import Moments, hurdle, moments_of
from trimtab.research.ledger.counting import Count, Tried
from trimtab.research.ledger.identity import hypothesis_of
from trimtab.research.run import Run
from trimtab.types import F64

#: Costs that are there and take next to nothing, so that noise stays noise.
NEARLY_FREE = tt.Costs(taker_fee=1e-7)
YEAR = 365.0


def count_of(trials: int = 1, bar: float = 0.0, scope: str = "hypothesis", how: str = "every trial") -> Count:
    """So many trials, whose best shows a Sharpe of `bar` per year without skill."""
    wanted = bar / math.sqrt(YEAR)
    variance = (wanted / hurdle(float(trials), 1.0)) ** 2 if trials > 1 else 0.0
    return Count(scope, how, trials, variance, wanted)


def case_by_hand(run: Run, returns: F64, *found: Count, trials: F64 | None = None, ruin: str = "") -> Case:
    """Daily returns (D,), what they have to beat, and beside them other trials (D, N) of the hypothesis."""
    moments = Moments(len(returns), math.nan, math.nan, math.nan) if ruin else moments_of(returns)
    return case_of_moments(run, moments, *found, returns=returns, trials=trials, ruin=ruin)


def case_of_moments(
    run: Run,
    moments: Moments,
    *found: Count,
    returns: F64 | None = None,
    trials: F64 | None = None,
    ruin: str = "",
) -> Case:
    own = np.full(moments.n, 0.01) if returns is None else returns
    beside = own[:, None] if trials is None else np.column_stack([own, trials])
    those = Tried(np.full(beside.shape[1], moments.sharpe), beside, 0)
    bars = found or (count_of(),)
    return Case(
        run, hypothesis_of(run.spec), own, ruin, moments, 0.0, YEAR, bars, those, those, those, "here", "ab" * 32, 1
    )


def record_with(sharpe: float, days: int, seed: int = 0) -> F64:
    """(days,) returns whose Sharpe per year is exactly that."""
    drawn = np.random.default_rng(seed).normal(0.0, 1.0, days)
    drawn = (drawn - drawn.mean()) / drawn.std(ddof=1)
    return 0.01 * (drawn + sharpe / math.sqrt(YEAR))


def panel_from(returns: F64, symbol: str = "X") -> tt.Panel:
    """Daily bars of one instrument with these returns from open to close; each opens at the close before it."""
    close = 100.0 * np.cumprod(1.0 + returns)
    opened = np.concatenate(([100.0], close[:-1]))
    frame = pl.DataFrame(
        {
            "open_time": np.datetime64("2024-01-01T00:00:00", "us") + np.arange(len(close)) * np.timedelta64(1, "D"),
            "open": opened,
            "high": np.maximum(opened, close) * 1.001,
            "low": np.minimum(opened, close) * 0.999,
            "close": close,
            "volume": np.full(len(close), 1e6),
        }
    )
    return tt.Panel.from_frames({symbol: frame}, "1d", [tt.Instrument(symbol=symbol)])


def weighed(panel: tt.Panel, seed: int, costs: tt.Costs = NEARLY_FREE) -> Run:
    """Long or short by the toss of a coin at every close."""
    side = np.random.default_rng(seed).choice([-1.0, 1.0], len(panel.ts))
    return tt.simulate(panel, side, costs=costs)


def planted(rows: int, edge: float, seed: int) -> tuple[tt.Panel, F64]:
    """Bars, and sides of which each tells the next return by so much: (T,) -1 or 1. edge: Sharpe per day."""
    rng = np.random.default_rng(seed)
    side = rng.choice([-1.0, 1.0], rows)
    returns = 0.01 * rng.standard_normal(rows)
    returns[1:] += 0.01 * edge * side[:-1]
    return panel_from(returns), side
