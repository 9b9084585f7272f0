"""What orders cost against their decisions where a share splits in between."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import trimtab as tt
from trimtab.types import BAR_FIELDS, DAY

COSTS = tt.Costs(participation=0.1)


def panel_of(closes: list[float], volume: list[float], split: dict[int, float]) -> tt.Panel:
    """Days that do not move inside."""
    values = np.full((len(closes), 1, len(BAR_FIELDS) + 1), np.nan)
    values[:, 0, :4] = np.array(closes)[:, None]
    values[:, 0, 4], values[:, 0, 5] = volume, DAY
    for row, ratio in split.items():
        values[row, 0, 6] = ratio
    share = tt.Instrument(symbol="A", lot_size=1.0, calendar="24/7")
    ts = 1_704_067_200 * 10**9 + DAY * np.arange(1, len(closes) + 1)
    return tt.Panel(ts, (share,), (*BAR_FIELDS, "split"), values, "1d")


def held(panel: tt.Panel, rows: dict[int, float], **settings: Any) -> tt.Run:
    weights = np.full((len(panel.ts), 1), np.nan)
    for row, weight in rows.items():
        weights[row] = weight
    return tt.simulate(panel, weights, costs=COSTS, capital=70_000.0, **settings)


def test_a_decision_before_a_split_is_priced_in_the_shares_of_its_fill() -> None:
    """Decided at 70, seven for one at the next open, filled at 10.5: 5% more than the 10 of the decision."""
    run = held(panel_of([70.0, 10.5, 10.5], [1e6] * 3, {1: 7.0}), {0: 0.5})
    fill = run.slippage.row(0, named=True)
    assert (fill["decision_price"], fill["price"]) == (10.0, 10.5)
    assert fill["against_decision"] == pytest.approx(0.05, rel=1e-12)
    lots = float(run.result.fills["lots"].sum())
    assert fill["decision_cost"] == pytest.approx(lots * 0.5, rel=1e-12)
    assert run.execution["decision_slippage"][0] == pytest.approx(0.05, rel=1e-12)


def test_what_filled_before_a_split_counts_in_the_shares_of_the_orders_end() -> None:
    """Of 500 shares 100 fill at 70; of the 2,800 that the others become 700 at 10, then the weight is withdrawn."""
    run = held(panel_of([70.0, 70.0, 10.0, 10.0], [1e3, 1e3, 7e3, 7e3], {2: 7.0}), {0: 0.5, 2: 0.0})
    bought = run.slippage.head(2)
    assert bought["decision_price"].to_list() == [70.0, 10.0]
    assert bought["against_decision"].to_list() == [0.0, 0.0]
    first = run.orders.row(0, named=True)
    assert (first["lots"], first["filled"]) == (100 + 2_800, 100 + 700), "still the sum of its fills"
    assert run.execution["fill_rate"][0] == 1_400 / 3_500, "the 100 shares have become 700; the sale has not ended"


def test_the_level_of_a_stop_is_told_in_the_shares_of_each_fill() -> None:
    """Bought at 70, stop at 63: 100 shares go at 60 before the split, the others at 8 after it, of a level of 9."""
    panel = panel_of([70.0, 70.0, 60.0, 8.0, 8.0, 8.0], [1e6, 1e6, 1e3, 1e6, 1e6, 1e6], {3: 7.0})
    run = held(panel, {0: 0.5}, limits=tt.Limits(stop_loss=0.1))
    sold = run.slippage.tail(2)
    assert sold["price"].to_list() == [60.0, 8.0]
    assert sold["decision_price"].to_list() == pytest.approx([63.0, 9.0])
