"""Caps as the gate reads them, and a run that keeps them."""

from __future__ import annotations

import msgspec
import numpy as np

import trimtab as tt
from trimtab.portfolio.caps import groups_of
from trimtab.types import HOUR, Caps, Instrument, Model, Panel, Spec

BOOK = [
    Instrument(symbol="A", asset_class="crypto", venue="one"),
    Instrument(symbol="B", asset_class="equity", venue="two"),
    Instrument(symbol="C", asset_class="crypto", venue="two"),
]


def test_groups_are_by_first_use_and_the_rest_has_a_cap_each() -> None:
    groups = groups_of(Caps(asset_classes={"crypto": 0.2, "*": 0.5}, venues={"two": 0.3}), BOOK, ["x", "y"])
    assert groups.asset_class.tolist() == [0, 1, 0]
    assert groups.class_cap.tolist() == [0.2, 0.5]
    assert groups.venue.tolist() == [0, 1, 1]
    assert groups.venue_cap.tolist() == [np.inf, 0.3]
    assert groups.model_cap.tolist() == []


def test_a_model_has_its_own_cap_or_the_one_of_the_rest() -> None:
    assert groups_of(Caps(models={"y": 0.1, "*": 0.4}), BOOK, ["x", "y"]).model_cap.tolist() == [0.4, 0.1]
    assert groups_of(Caps(), BOOK, ["x"]).class_cap.tolist() == []


def test_a_backtest_and_a_sweep_keep_them() -> None:
    rng = np.random.default_rng(0)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, 600)))
    values = np.column_stack([close, close * 1.001, close * 0.999, close, np.full(600, 1e9), np.full(600, float(HOUR))])
    ts = HOUR * np.arange(1, 601, dtype=np.int64)
    panel = Panel(
        ts,
        (Instrument(symbol="A"),),
        ("open", "high", "low", "close", "volume", "duration"),
        values[:, None].copy(),
        "1h",
    )
    spec = Spec(
        models=(Model(strategy="sma_cross", params={"fast": 5, "slow": 20}),),
        universe=("A",),
        timeframe="1h",
        costs=tt.Costs(),
    )

    free = tt.backtest(spec, panel)
    capped = tt.backtest(msgspec.structs.replace(spec, caps=Caps(asset_classes={"crypto": 0.25})), panel)
    gross = (np.abs(capped.weights.drop("ts").to_numpy())).max()
    assert gross < 0.27 < np.abs(free.weights.drop("ts").to_numpy()).max()
    assert "asset_class" in capped.actions["limit"].to_list()
