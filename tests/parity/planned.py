"""Panels and books for the engine's planner, and the proof that it plans what a backtest does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from trimtab.engine.planner import Planner, planner
from trimtab.portfolio.budgets import combine
from trimtab.research.prepared import market_of
from trimtab.research.streams import plan_of
from trimtab.strategies import find
from trimtab.types import (
    DAY,
    TIMEFRAMES,
    Model,
    Panel,
    Refusal,
    RegimeUse,
    Spec,
    Weights,
)

Told = tuple[Weights, list[tuple[Refusal, int]]]


def made(spec: Spec, panel: Panel) -> Planner:
    return planner(spec, panel.instruments, panel.fields)


def fed(spec: Spec, panel: Panel, cuts: Sequence[int] = ()) -> Told:
    """Every row of a panel through a planner, which is saved and made anew before each row of `cuts`."""
    mark = market_of(panel, spec.base_currency).mark
    one, parts = made(spec, panel), list[Weights]()
    refused: list[tuple[Refusal, int]] = []
    for t in range(len(panel.ts)):
        if t in cuts:
            saved = one.save()
            # The first goes on elsewhere: what was saved must not feel it.
            one.advance(t, int(panel.ts[t]) + DAY, panel.values[t] * 1.5, mark[t])
            one = made(spec, panel)
            one.load(saved)
            assert one.save() == saved
        parts.append(one.advance(t, int(panel.ts[t]), panel.values[t], mark[t]))
        refused += one.refused
        assert not one.faults
    return Weights(*(np.concatenate(column) for column in zip(*parts, strict=True))), refused


def assert_same(spec: Spec, panel: Panel, least: int = 20, whole: bool = True) -> None:
    """Row by row it is the plan of the whole panel: saved and loaded at some rows and, if `whole`, without that too."""
    plan = plan_of(spec, panel)
    want = combine(plan.streams)
    assert len(want.row) >= least, "nothing was decided: this proves nothing"
    rows = len(panel.ts)
    fits = {(refusal, s.model) for s in plan.streams for refusal in s.refused}
    splits = {(refusal, split.model) for split in plan.splits for refusal in split.refused}
    for cuts in (*([()] if whole else []), (0, 1, rows // 7, rows // 2, rows // 2 + 1, rows - 1)):
        told, refused = fed(spec, panel, cuts)
        for name, a, b in zip(Weights._fields, told, want, strict=True):
            assert a.tobytes() == np.ascontiguousarray(b).tobytes(), (name, cuts)
        assert set(refused) == fits | splits


def book(panel: Panel, *models: Model, **more: Any) -> Spec:
    return Spec(models=models, universe=panel.symbols, timeframe=panel.timeframe, **more)


#: Short enough for a few hundred bars.
SHORT: dict[str, dict[str, Any]] = {
    "buy_and_hold": {},
    "crypto_momentum": {"fast": 5, "slow": 12, "every": 3},
    "drift_significance": {"window": 30, "lags": 2, "level": 0.3},
    "equity_trend": {"trend": 20, "exit": 8, "momentum": 6, "rerank": 4},
    "hurst_exponent": {"octaves": 7, "level": 0.5},
    "index_mean_reversion": {"window": 12, "entry_rsi": 25.0, "exit_rsi": 70.0, "width": 1.0},
    "lag_autocorr": {"window": 30, "lags": 3, "level": 0.4},
    "momentum": {"lookback": 12, "vol_window": 15},
    "pacf_spike": {"window": 30, "lags": 3, "level": 0.4},
    "pairs_reversion": {"lookback": 25, "entry_z": 1.0, "exit_z": 0.3},
    "pairs_selected": {"window": 60, "every": 7, "min_correlation": -1.0, "rate": 1.0, "entry_z": 0.5, "exit_z": 0.2},
    "permutation_entropy": {"window": 60, "order": 3, "level": 0.5},
    "sma_cross": {"fast": 4, "slow": 11, "short": True},
    "spectral_entropy": {"octaves": 5, "level": 0.5},
    "spectral_peaks": {"octaves": 5, "shortest": 3, "cycles": 2, "level": 0.5},
    "true_range_divergence": {"length": 8, "window": 12, "entry": 0.5, "shrink": 0.05, "hold": 6},
    "variance_ratio": {"window": 40, "level": 0.4},
    "volatility_clustering": {"window": 60},
    "vpin": {"buckets": 4, "size": 2.0, "volume_window": 20, "history": 60, "percentile": 0.7},
    "wavelet_energy": {"window": 32, "scales": 2, "level": 0.4},
}


#: One of each form: a step by itself, ranks across instruments, legs, legs that a fit selects, volume beside the close.
#: What is the same for all strategies is looked at by day with these.
FORMS = ("sma_cross", "equity_trend", "pairs_reversion", "pairs_selected", "vpin")


def by_night_unless(kept: Iterable[str], names: Iterable[str]) -> list[Any]:
    """Names as parameters of a test, with the nightly mark for all but those kept."""
    return [name if name in kept else pytest.param(name, marks=pytest.mark.nightly) for name in names]


def timeframe_for(name: str, wanted: str) -> str:
    """The wanted timeframe, or the one nearest in length that the strategy is made for."""
    return min(find(name).timeframes, key=lambda t: abs(np.log(TIMEFRAMES[t] / TIMEFRAMES[wanted])))


def with_fields(panel: Panel, seed: int = 1) -> Panel:
    """The panel with series that are not traded: new on some rows, unknown for some time."""
    rng = np.random.default_rng(seed)
    rows = len(panel.ts)
    columns = {
        "VIX": 20.0 * np.exp(np.cumsum(rng.normal(0.0, 0.03, rows))),
        "curve.csv#spread": 0.01 + 0.02 * np.sin(np.arange(rows) / 40.0),
        "curve.csv#activity": 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.005, rows))),
    }
    values = np.stack([np.repeat(c[:, None], len(panel.instruments), axis=1) for c in columns.values()], axis=2)
    for k, often in enumerate((0.5, 0.3, 0.05)):
        values[rng.random(rows) > often, :, k] = np.nan
    values[: rows // 10] = np.nan
    return Panel(
        panel.ts, panel.instruments, (*panel.fields, *columns), np.concatenate((panel.values, values), axis=2),
        panel.timeframe,
    )  # fmt: skip


REGIMES = (
    RegimeUse(regime="equity", reads="SYN1", params={"average": 20, "slope": 4}),
    RegimeUse(regime="vix", name="fear", reads="VIX"),
    RegimeUse(regime="volatility", reads="SYN3", params={"window": 5, "history": 60, "least": 20}),
    RegimeUse(
        regime="macro",
        name="economy",
        reads={"term_spread": "x/curve.csv#spread", "activity": "x/curve.csv#activity"},
        params={"growth": 12, "smoothing": 3, "lead": 20},
    ),
)
FOLLOWS: dict[str, dict[str, float]] = {
    "equity": {"bear": 0.5, "unknown": 0.3},
    "fear": {"crisis": 0.0, "high": 0.5, "low": 0.7},
    "volatility": {"high": 0.4, "crisis": 0.1},
    "economy": {"contraction": 0.25},
}
