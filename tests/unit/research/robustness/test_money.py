"""Costs and capacity against closed forms of one round trip."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from scipy.optimize import brentq

import trimtab as tt
from trimtab.research.backtest import run_spec, spec_of
from trimtab.research.robustness.capacity import Capacity, capacity, with_capital
from trimtab.research.robustness.costs import CostSweep, cost_sweep, times
from trimtab.types import CashFlow, Costs, Spec

CROSS = {"fast": 2, "slow": 5}


def hill(panel_of: Callable[..., tt.Panel], volume: float = 1e6) -> tt.Panel:
    """Up and down once, after a fall: a cross buys once and sells once."""
    up = np.concatenate((np.linspace(110, 100, 30), np.linspace(100.5, 160, 120), np.linspace(159, 120, 60)))
    return panel_of(up, volume=volume)


def costly(spec: Spec, costs: Costs) -> Spec:
    return msgspec.structs.replace(spec, costs=costs)


# --- costs -----------------------------------------------------------------------------------------------------------


def test_the_break_even_of_one_round_trip_is_its_closed_form(panel_of: Callable[..., tt.Panel]):
    """Profit n (q - p) against k f n (p + q): k = (q - p) / (f (p + q)), whatever n is."""
    panel = hill(panel_of)
    spec = costly(spec_of("sma_cross", panel, CROSS), Costs(taker_fee=0.004))
    found = cost_sweep(spec, panel, CostSweep(tolerance=1e-6))
    (trip,) = run_spec(spec, panel).trades.filter(model="").to_dicts()
    p, q = trip["entry_price"], trip["exit_price"]
    assert found.break_even == pytest.approx((q - p) / (0.004 * (p + q)), rel=1e-5)
    assert found.break_even > 10.0  # beyond the sweep, where nothing was extrapolated
    assert not found.why


def test_a_multiple_is_the_run_at_those_costs(panel_of: Callable[..., tt.Panel]):
    panel = hill(panel_of)
    spec = costly(spec_of("sma_cross", panel, CROSS), Costs(taker_fee=0.004, half_spread=0.001, impact=0.05))
    found = cost_sweep(spec, panel)
    for multiple, one in zip(found.multiples, found.outcomes, strict=True):
        k = multiple
        alone = costly(spec, Costs(taker_fee=0.004 * k, half_spread=0.001 * k, impact=0.05 * k))
        net = run_spec(alone, panel).metrics["net"]
        assert one.sharpe == pytest.approx(net["sharpe"], rel=1e-12)
        assert one.total_return == pytest.approx(net["total_return"], rel=1e-9)
        assert one.trades == net["trades"]
    assert found == cost_sweep(spec, panel, threads=1)


def test_what_has_no_break_even_says_why(panel_of: Callable[..., tt.Panel]):
    panel = hill(panel_of)
    cross = spec_of("sma_cross", panel, CROSS)
    fall = panel_of(np.linspace(100, 50, 80))
    cases = (
        (costly(cross, Costs()), panel, "costs are 0"),
        (costly(cross, Costs(taker_fee=1e-7)), panel, "still earns"),
        (costly(spec_of("buy_and_hold", fall), Costs(taker_fee=0.001)), fall, "without any costs"),
    )
    for spec, bars, why in cases:
        found = cost_sweep(spec, bars, CostSweep(multiples=(1.0,)))
        assert math.isnan(found.break_even)
        assert why in found.why


def test_what_is_multiplied_is_the_price_of_trading():
    costs = Costs(-0.0001, 0.001, 0.0002, 0.1, 0.0003, 0.2, 0.5, 4.0, 0.1, 0.05, 0.0001, 0.02, 0.03, 0.01)
    three = times(costs, 3.0)
    assert three.taker_fee == pytest.approx(0.003)
    assert three.maker_fee == -0.0001  # a rebate is no price
    assert three.latency == 36.0  # its cost grows with the square root
    assert three[6:7] + three[8:] == costs[6:7] + costs[8:]
    assert times(costs, 0.0)._replace(maker_fee=0.0) == times(costs._replace(maker_fee=0.0), 0.0)
    assert times(costs, 1.0) == costs


# --- capacity --------------------------------------------------------------------------------------------------------

IMPACT, SHARE, VOLUME = 1.0, 0.5, 2_000.0


def sharpe_of(daily: np.ndarray) -> float:
    return float(daily.mean() / daily.std(ddof=1) * math.sqrt(365))


def test_capacity_is_that_of_the_square_root_law(panel_of: Callable[..., tt.Panel]):
    """One round trip of half of the capital C: at entry and exit it pays impact x sqrt(size / daily volume)."""
    panel = hill(panel_of, VOLUME)
    close = panel.values[:, 0, 3]
    spec = costly(spec_of("sma_cross", panel, CROSS), Costs(impact=IMPACT, participation=1.0))
    model = msgspec.structs.replace(spec.models[0], budget=SHARE)
    spec = msgspec.structs.replace(spec, models=(model,), capital=1e3)
    entry, exit_ = (int(r) for r in run_spec(spec, panel).result.fills["row"])

    def curve(capital: float, impact: float) -> np.ndarray:
        """Equity at day ends: a fill at the open of a row, which is the close before it."""
        p, q = close[entry - 1], close[exit_ - 1]
        size = SHARE * capital / p
        paid = impact * math.sqrt(size / VOLUME)
        held = np.where(np.arange(len(close)) >= entry, size * (close - p), 0.0)
        held[exit_:] = size * (q - p)
        held -= np.where(np.arange(len(close)) >= entry, size * p * paid, 0.0)
        held[exit_:] -= size * q * paid
        return capital + held

    def sharpe(capital: float, impact: float = IMPACT) -> float:
        equity = curve(capital, impact)
        return sharpe_of(equity / np.concatenate(([capital], equity[:-1])) - 1.0)

    found = capacity(spec, panel, Capacity(low=1e2, high=1e5, points=7, tolerance=1e-5))
    for capital, one in zip(found.capitals, found.outcomes, strict=True):
        assert one.total_return == pytest.approx(curve(capital, IMPACT)[-1] / capital - 1.0, abs=2e-6)
        assert one.sharpe == pytest.approx(sharpe(capital), rel=1e-5)
    half = 0.5 * sharpe(1e3, impact=0.0)
    assert found.free.sharpe == pytest.approx(2.0 * half, rel=1e-5)
    expected = brentq(lambda c: sharpe(c) - half, 1e2, 1e5)
    assert 2e2 < expected < 5e4
    assert found.capacity == pytest.approx(expected, rel=1e-4)


def test_what_has_no_capacity_says_why(panel_of: Callable[..., tt.Panel]):
    panel = hill(panel_of, VOLUME)
    cross = spec_of("sma_cross", panel, CROSS)
    fall = panel_of(np.linspace(100, 50, 80))
    few = Capacity(low=1e2, high=1e3, points=2)
    cases = (
        (costly(cross, Costs(taker_fee=0.001)), panel, "no impact"),
        (costly(cross, Costs(impact=0.1)), panel, "is left at the largest capital, 1,000"),
        (costly(cross, Costs(impact=5.0)), panel, "already at the smallest capital"),
        (costly(spec_of("buy_and_hold", fall), Costs(impact=0.1)), fall, "no half of it to keep"),
    )
    for spec, bars, why in cases:
        how = msgspec.structs.replace(few, low=1e6, high=1e7) if "smallest" in why else few
        found = capacity(spec, bars, how)
        assert math.isnan(found.capacity)
        assert why in found.why


def test_participation_bounds_what_fills(panel_of: Callable[..., tt.Panel]):
    """Of 2,000 a day a tenth is 200: a capital of many times that takes days, and holds less meanwhile."""
    panel = hill(panel_of, VOLUME)
    spec = costly(spec_of("sma_cross", panel, CROSS), Costs(impact=1e-9))
    small, large = capacity(spec, panel, Capacity(low=1e4, high=1e6, points=2)).outcomes
    assert 0.0 < large.total_return < 0.6 * small.total_return


def test_every_wallet_and_cash_flow_grows_with_the_capital(panel_of: Callable[..., tt.Panel]):
    panel = hill(panel_of)
    spec = msgspec.structs.replace(
        spec_of("sma_cross", panel, CROSS),
        capital={"sim/USD": 1e4},
        cash_flows=(CashFlow(at="2020-03-01", amount=500.0),),
        costs=Costs(impact=1e-9),
    )
    grown = with_capital(spec, 3.0)
    assert (grown.capital, grown.cash_flows[0].amount) == ({"sim/USD": 3e4}, 1_500.0)
    small, large = capacity(spec, panel, Capacity(low=1e4, high=1e5, points=2)).outcomes
    assert large.total_return == pytest.approx(small.total_return, rel=1e-4)


def test_settings_that_cannot_be_are_refused(panel_of: Callable[..., tt.Panel]):
    panel = hill(panel_of)
    spec = spec_of("sma_cross", panel, CROSS)
    for how in (Capacity(low=0.0), Capacity(low=2.0, high=1.0), Capacity(points=1), Capacity(participation=2.0)):
        with pytest.raises(tt.TrimtabError, match="expected"):
            capacity(spec, panel, how)
    for wrong in (CostSweep(multiples=()), CostSweep(multiples=(-1.0,)), CostSweep(tolerance=0.0)):
        with pytest.raises(tt.TrimtabError, match="expected"):
            cost_sweep(spec, panel, wrong)
