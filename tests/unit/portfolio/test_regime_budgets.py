"""What labels make of budgets, and the sizer that scales by volatility and regime."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from trimtab.portfolio.regime.adaptive import RANGES, AdaptiveSizer, adaptive_multipliers
from trimtab.portfolio.regime.budgets import regime_budgets
from trimtab.portfolio.regime.labels import UNKNOWN
from trimtab.portfolio.regime.table import REGIMES
from trimtab.types import TrimtabError

EQUITY = REGIMES["equity"]
LABELS = np.array([UNKNOWN, 0, 1, 2, 1], np.int8)


def test_each_model_gets_its_own_multiplier_for_the_label_of_the_row():
    got = regime_budgets(EQUITY, LABELS, [{"bull": 1.0, "bear": 0.25, "neutral": 0.5}, {"bear": 0.0}, {}])
    assert got.tolist() == [
        [1.0, 1.0, 1.0],
        [1.0, 1.0, 1.0],
        [0.25, 0.0, 1.0],
        [0.5, 1.0, 1.0],
        [0.25, 0.0, 1.0],
    ]
    assert got.flags.c_contiguous


def test_unknown_is_a_label_too():
    assert regime_budgets(EQUITY, LABELS, [{"unknown": 0.0}])[:, 0].tolist() == [0.0, 1.0, 1.0, 1.0, 1.0]


def test_no_model_and_no_row_are_shapes_of_their_own():
    assert regime_budgets(EQUITY, LABELS, []).shape == (5, 0)
    assert regime_budgets(EQUITY, LABELS[:0], [{}, {}]).shape == (0, 2)


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ({"crisis": 0.5}, "model 1, regime equity: no label is named 'crisis'; expected bull, bear, neutral, unknown"),
        ({"bear": -0.1}, "bear is -0.1; expected a multiplier of 0 or more"),
        ({"bear": math.nan}, "bear is nan"),
        ({"bear": math.inf}, "bear is inf"),
        ({"bear": True}, "bear is True"),
    ],
)
def test_a_table_that_is_wrong_is_named(table: dict[str, Any], fault: str):
    with pytest.raises(TrimtabError, match=fault):
        regime_budgets(EQUITY, LABELS, [{}, table])


# --- AdaptiveSizer ----------------------------------------------------------------------------------------------------


def walk(vol: float, rows: int = 400, seed: int = 0) -> np.ndarray:
    return 100.0 * np.cumprod(1.0 + np.random.default_rng(seed).normal(0.0, vol, rows))


def test_the_multiplier_is_target_over_volatility_times_the_regime():
    close, sizer = walk(0.02), AdaptiveSizer(band=0.0)
    scale = np.where(np.arange(400) < 200, 1.0, 0.5)
    got = adaptive_multipliers(sizer, close, scale)
    returns = close[1:] / close[:-1] - 1.0
    weights = (60.0 / 61.0) ** np.arange(399)[::-1]
    for t in (60, 61, 199, 200, 399):
        w, r = weights[-t:], returns[:t]
        mean = (w * r).sum() / w.sum()
        vol = math.sqrt((w * (r - mean) ** 2).sum() / w.sum() * 252.0)
        assert got[t] == pytest.approx(min(1.0, 0.15 / vol) * scale[t], rel=1e-12)
    assert np.isnan(got[:60]).all()
    assert not np.isnan(got[60:]).any()


def test_a_volatility_that_breathes_moves_nothing():
    got = adaptive_multipliers(AdaptiveSizer(band=0.1), walk(0.015), np.ones(400))[60:]
    steps = np.diff(got)
    assert len(np.unique(got)) < 12
    assert (np.abs(steps[steps != 0.0]) > 0.1).all()


def test_the_regime_acts_on_the_row_that_names_it_also_without_a_price():
    close = walk(0.001)  # calm: the volatility's part is the cap
    close[300] = np.nan
    scale = np.where(np.arange(400) < 300, 1.0, 0.0)
    got = adaptive_multipliers(AdaptiveSizer(), close, scale)
    assert (got[60:300] == 1.0).all()
    assert (got[300:] == 0.0).all()


def test_a_regime_that_is_not_known_keeps_the_last_one():
    scale = np.full(400, np.nan)
    scale[200] = 0.5
    got = adaptive_multipliers(AdaptiveSizer(), walk(0.001), scale)
    assert np.isnan(got[:200]).all()
    assert (got[200:] == 0.5).all()


def test_the_cap_holds_whatever_the_regime_asks_for():
    assert adaptive_multipliers(AdaptiveSizer(cap=0.7), walk(0.001), np.full(400, 3.0))[60:].tolist() == [0.7] * 340


def test_a_price_that_stands_still_is_held_at_the_cap():
    assert (adaptive_multipliers(AdaptiveSizer(), np.full(100, 5.0), np.ones(100))[60:] == 1.0).all()


def test_defaults_lie_in_their_ranges():
    assert set(RANGES) == set(AdaptiveSizer._fields)
    assert all(RANGES[k][0] <= v <= RANGES[k][1] for k, v in AdaptiveSizer()._asdict().items())


def test_what_cannot_be_is_refused():
    with pytest.raises(TrimtabError, match=r"AdaptiveSizer\.vol_target: expected 0\.001 to 10, got 0"):
        adaptive_multipliers(AdaptiveSizer(vol_target=0.0), np.ones(3), np.ones(3))
    with pytest.raises(TrimtabError, match=r"close has shape \(3,\) and scale \(2,\)"):
        adaptive_multipliers(AdaptiveSizer(), np.ones(3), np.ones(2))
