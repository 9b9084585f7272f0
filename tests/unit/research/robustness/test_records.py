"""Bands, noise, starts and periods, each against figures that are computed here."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

import trimtab as tt
from trimtab.research.backtest import run_spec, spec_of
from trimtab.research.inference.bootstrap import Resampling, bands, block_length
from trimtab.research.robustness.bootstrap import Bootstrap, bootstrap
from trimtab.research.robustness.noise import Noise, noise, volatility_of, with_noise
from trimtab.research.robustness.periods import Periods, periods, terciles
from trimtab.research.robustness.starts import Starts, panel_from, starts
from trimtab.types import CashFlow, Costs, RegimeUse, Spec

CROSS = {"fast": 5, "slow": 20}


def free(strategy: str, panel: tt.Panel, **params: Any) -> Spec:
    return msgspec.structs.replace(spec_of(strategy, panel, params), costs=Costs())


def returns_of(run: tt.Run) -> np.ndarray:
    equity = run.curves.equity
    return equity / np.concatenate(([run.capital], equity[:-1])) - 1.0


def sharpe_of(r: np.ndarray) -> float:
    return float(r.mean() / r.std(ddof=1) * math.sqrt(365))


# --- bootstrap -------------------------------------------------------------------------------------------------------


def test_bands_are_those_of_the_runs_daily_returns(walk: tt.Panel):
    spec = free("sma_cross", walk, **CROSS)
    r = returns_of(run_spec(spec, walk))
    found = bootstrap(spec, walk, Bootstrap(paths=500, level=0.8, seed=3))
    block = float(block_length(r)[0])
    assert found.mean_block == pytest.approx(block, rel=1e-9)
    expected = bands(r, 365.0, Resampling(found.mean_block, 500, 3), 0.8)
    np.testing.assert_allclose(np.array(found.bands), np.array(expected), rtol=1e-9)
    assert found.bands.sharpe.low < sharpe_of(r) < found.bands.sharpe.high
    assert bootstrap(spec, walk, Bootstrap(paths=50, block=7.0)).mean_block == 7.0


def test_a_record_that_says_nothing_has_no_bands(panel_of: Callable[..., tt.Panel]):
    short = panel_of(np.linspace(100, 101, 8))
    found = bootstrap(free("buy_and_hold", short), short)
    assert "at least 10 are needed" in found.why
    assert math.isnan(found.bands.cagr.middle)


# --- noise -----------------------------------------------------------------------------------------------------------


def test_noise_is_as_large_as_it_says_and_keeps_bars_bars(walk: tt.Panel):
    sigma = volatility_of(walk)
    high, low = walk.values[:, 0, 1:3].T
    np.testing.assert_allclose(sigma[:, 0], np.log(high / low) / math.sqrt(4.0 * math.log(2.0)), rtol=1e-12)
    noisy = with_noise(walk, sigma, 0.3, 1)
    bars = noisy.values[:, 0, :4]
    assert (bars > 0.0).all()
    assert (bars[:, 2:3] <= bars[:, [0, 3]]).all()
    assert (bars[:, [0, 3]] <= bars[:, 1:2]).all()
    moved = np.log(bars / walk.values[:, 0, :4])
    np.testing.assert_allclose(moved, moved[:, :1].repeat(4, axis=1), atol=1e-12)  # one factor for all four
    z = moved[:, 3] / (0.3 * sigma[:, 0])
    assert abs(z.std() - 1.0) < 4.0 / math.sqrt(2.0 * len(z))  # four standard errors
    np.testing.assert_array_equal(noisy.values[:, :, 4:], walk.values[:, :, 4:])


def test_closes_alone_get_noise_by_their_returns(panel_of: Callable[..., tt.Panel]):
    close = 100.0 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.02, 50)))
    values = panel_of(close).values.copy()
    values[:, 0, :3] = values[:, 0, 3:4]
    alone = msgspec.structs.replace(panel_of(close), values=values)
    sigma = volatility_of(alone)[:, 0]
    np.testing.assert_allclose(sigma[1:], np.abs(np.diff(np.log(close))), rtol=1e-9)
    assert sigma[0] == 0.0


def test_without_noise_every_path_is_the_run(walk: tt.Panel):
    spec = free("sma_cross", walk, **CROSS)
    still = noise(spec, walk, Noise(scale=0.0, paths=3))
    assert set(still.sharpes) == {still.centre.sharpe}
    found = noise(spec, walk, Noise(scale=0.2, paths=30, seed=5))
    assert found.sharpes[:10] == noise(spec, walk, Noise(scale=0.2, paths=10, seed=5), threads=1).sharpes
    assert found.low < found.middle < found.high
    assert len(set(found.sharpes)) == 30
    with pytest.raises(tt.TrimtabError, match="paths is 0"):
        noise(spec, walk, Noise(paths=0))


# --- starts ----------------------------------------------------------------------------------------------------------


def test_holding_from_each_start_earns_what_the_price_did(walk: tt.Panel):
    opened, close = walk.values[:, 0, 0], walk.values[:, 0, 3]
    found = starts(free("buy_and_hold", walk), walk, Starts(count=5, within=0.5))
    assert len(found.starts) == 5
    for start in found.starts:
        row = int(np.searchsorted(walk.ts, start.ts, side="right"))
        assert start.outcome.total_return == pytest.approx(close[-1] / opened[row + 1] - 1.0, rel=1e-6)
        assert start.outcome.days == len(close) - row
    assert int(np.searchsorted(walk.ts, found.starts[-1].ts, side="right")) == 549  # half of 1,096, after the first day
    sharpes = [start.outcome.sharpe for start in found.starts]
    assert (found.low, found.high) == (min(sharpes), max(sharpes))


def test_a_start_remembers_nothing_and_the_whole_run_is_beside_it(walk: tt.Panel):
    spec = free("sma_cross", walk, **CROSS)
    found = starts(spec, walk, Starts(count=3))
    last = found.starts[-1]
    row = int(np.searchsorted(walk.ts, last.ts, side="right"))
    cut = panel_from(walk, row)
    assert last.outcome.sharpe == pytest.approx(run_spec(spec, cut).metrics["net"]["sharpe"], rel=1e-12)
    assert last.same_days == pytest.approx(sharpe_of(returns_of(run_spec(spec, walk))[row:]), rel=1e-9)
    paid = tuple(CashFlow(at=at, amount=1_000.0) for at in ("2020-03-01", "2022-06-01"))
    funded = starts(msgspec.structs.replace(spec, cash_flows=paid), walk, Starts(count=3))
    assert [start.outcome.days for start in funded.starts] == [start.outcome.days for start in found.starts]


def test_a_start_that_is_too_late_has_no_figures(panel_of: Callable[..., tt.Panel]):
    panel = panel_of(np.linspace(100, 110, 40))
    found = starts(free("sma_cross", panel, fast=5, slow=30), panel, Starts(count=4, within=0.9))
    assert "fewer than the 30 it needs" in found.starts[-1].outcome.why
    assert found.starts[0].outcome.why == ""
    with pytest.raises(tt.NotEnoughData, match="three at least"):
        starts(free("buy_and_hold", panel), panel_from(panel, 38))


# --- periods ---------------------------------------------------------------------------------------------------------


def test_periods_are_counted_by_hand(walk: tt.Panel):
    spec = free("sma_cross", walk, **CROSS)
    run = run_spec(spec, walk)
    r, found = returns_of(run), periods(spec, walk, Periods(parts=3))
    years = {row.name: row for row in found.rows if row.by == "year"}
    dates = walk.ts.view("M8[ns]") - np.timedelta64(1, "ns")
    for year in ("2020", "2021", "2022"):
        mine = r[dates.astype("M8[Y]").astype(str) == year]
        assert years[year].days == len(mine)
        assert years[year].total_return == pytest.approx(np.prod(1.0 + mine) - 1.0, rel=1e-9)
        assert years[year].sharpe == pytest.approx(sharpe_of(mine), rel=1e-9)
        curve = np.cumprod(np.append(1.0, 1.0 + mine))
        assert years[year].max_drawdown == pytest.approx((curve / np.maximum.accumulate(curve)).min() - 1.0, rel=1e-9)
    for view in ("year", "part", "volatility"):
        rows = [row for row in found.rows if row.by == view]
        assert sum(row.days for row in rows) == len(r)
        assert sum(row.profit for row in rows) == pytest.approx(run.curves.equity[-1] - run.capital, rel=1e-9)
        assert sum(row.share for row in rows) == pytest.approx(1.0, rel=1e-9)
    assert [row.days for row in found.rows if row.by == "part"] == [366, 365, 365]


def test_the_volatility_of_a_day_is_known_before_it(walk: tt.Panel):
    spec, how = free("buy_and_hold", walk), Periods()
    labels = terciles(run_spec(spec, walk), how)
    early = panel_from(walk, 0)
    early = msgspec.structs.replace(early, ts=walk.ts[:500].copy(), values=walk.values[:500].copy())
    np.testing.assert_array_equal(terciles(run_spec(spec, early), how), labels[:500])
    vol = np.array([np.std(np.diff(walk.values[d - 21 : d + 1, 0, 3]) / walk.values[d - 21 : d, 0, 3], ddof=1)
                    for d in range(21, 300)])  # fmt: skip
    rank = (vol[:-1] < vol[-1]).mean()
    assert labels[299] == int(3 * rank)
    assert (labels[: 21 + how.least] == 3).all()
    assert 200 < (labels[63:] == 0).sum() < 600  # a third of about 1,000, give or take what ranks drift


def test_a_day_belongs_to_the_regime_that_was_known_before_it(walk: tt.Panel):
    from trimtab.research.regimes import regime_labels

    use = RegimeUse(regime="volatility", reads="S", timeframe="1d", params={"window": 20, "history": 250, "least": 50})
    spec = msgspec.structs.replace(free("buy_and_hold", walk), regimes=(use,))
    found = [row for row in periods(spec, walk).rows if row.by == "regime volatility"]
    r = returns_of(run_spec(spec, walk))
    labels = regime_labels(spec, walk)["volatility"]
    known = np.append(-1, labels[:-1])
    assert len(found) >= 3
    for row in found:
        k = {"low": 0, "normal": 1, "high": 2, "crisis": 3, "unknown": -1}[row.name]
        mine = r[known == k]
        assert (row.days, row.total_return) == (len(mine), pytest.approx(np.prod(1.0 + mine) - 1.0, rel=1e-9))


def test_a_book_that_lost_everything_has_profits_but_no_returns(panel_of: Callable[..., tt.Panel]):
    rise = panel_of(np.linspace(100, 400, 60))
    spec = free("buy_and_hold", rise, weight=-1.0)
    found = periods(spec, rise)
    assert "lost all" in found.why
    assert math.isnan(found.rows[0].sharpe)
    assert found.profit < 0.0
    assert math.isnan(found.rows[0].share)
