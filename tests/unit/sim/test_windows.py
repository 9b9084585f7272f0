"""A window of a market: flat before it, with models that remember, and what stands decided at its first row."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

import trimtab as tt
from trimtab.portfolio.budgets import combine
from trimtab.research.backtest import spec_of
from trimtab.research.prepared import market_of
from trimtab.research.setup import costs_of_panel, setup_of
from trimtab.research.streams import streams_of
from trimtab.research.sweep import parameter_sets, run_sets
from trimtab.sim.simulate import simulate, simulate_window
from trimtab.sim.windows import Window, weights_in
from trimtab.strategies import find
from trimtab.types import Weights

COSTS = tt.Costs(taker_fee=5e-4, half_spread=1e-4)
WINDOW = Window(731, 1_403)


def market(n: int) -> tt.Panel:
    rng = np.random.default_rng(3)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, (2_000, n)), axis=0))
    opened = np.vstack([close[:1], close[:-1]])
    wide = np.abs(rng.normal(0.0, 0.002, close.shape)) * close
    low, high = np.minimum(opened, close) - wide, np.maximum(opened, close) + wide
    ts = (1 + np.arange(2_000, dtype=np.int64)) * 3_600 * 10**9
    bars = [opened, high, low, close, np.full(close.shape, 1e6), np.full(close.shape, 3_600e9)]
    instruments = tuple(tt.Instrument(symbol=name, lot_size=1e-4) for name in "XYZ"[:n])
    return tt.Panel(ts, instruments, ("open", "high", "low", "close", "volume", "duration"), np.stack(bars, 2), "1h")


def parts(panel: tt.Panel, **changes: Any) -> tuple[Any, Any, Weights]:
    spec = msgspec.structs.replace(spec_of("sma_cross", panel, {"fast": 5, "slow": 40}), costs=COSTS, **changes)
    setup = setup_of(spec, panel, costs_of_panel(panel, spec.costs))
    return market_of(panel), setup, combine(streams_of(spec, panel))


@pytest.mark.parametrize("n", [1, 3])
def test_the_whole_market_is_a_window(n: int) -> None:
    of, setup, weights = parts(market(n))
    all_of_it = Window(0, len(of.ts))
    one = simulate_window(of, weights_in(weights, all_of_it, 1, n), setup, all_of_it)
    other = simulate(of, weights, setup)
    assert one.fills.tobytes() == other.fills.tobytes()
    assert one.curve.tobytes() == other.curve.tobytes()


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("limits", [tt.Limits(), tt.Limits(daily_loss=0.02, max_weight=0.5)])
def test_a_window_is_a_run_in_which_nobody_wanted_anything_before(n: int, limits: tt.Limits) -> None:
    of, setup, weights = parts(market(n), limits=limits)
    own = weights_in(weights, WINDOW, 1, n)
    inside = simulate_window(of, own, setup, WINDOW)
    late = simulate(of, own, setup)  # flat until the window's first decision
    shared = late.fills[late.fills["row"] < WINDOW.stop]
    assert len(shared) > 20
    assert inside.fills["lots"].tolist() == shared["lots"].tolist()
    assert inside.fills["price"].tolist() == shared["price"].tolist()
    days = (late.sample >= WINDOW.first) & (late.sample < WINDOW.stop - 1)
    assert inside.curve[:-1, 0].tolist() == late.curve[days, 0].tolist()
    assert inside.sample[-1] == WINDOW.stop - 1


def test_what_stands_is_decided_at_the_first_row_and_nothing_at_the_exit() -> None:
    def column(*values: int) -> Any:
        return np.array(values, np.int64)

    weights = Weights(column(1, 2, 4, 9), column(0, 0, 0, 0), column(0, 1, 0, 1), np.array([0.5, -0.2, 0.7, 0.1]))
    told = weights_in(weights, Window(4, 8), 1, 2)
    assert [c.tolist() for c in told] == [[4, 4], [0, 0], [0, 1], [0.7, -0.2]]
    left = weights_in(weights, Window(4, 8), 1, 2, exit_row=6)
    assert [c.tolist() for c in left] == [[4, 4, 6, 6], [0, 0, 0, 0], [0, 1, 0, 1], [0.7, -0.2, 0.0, 0.0]]
    assert weights.row.tolist() == [1, 2, 4, 9]  # what was given is left as it was


def test_the_exit_leaves_nothing_held() -> None:
    of, setup, weights = parts(market(1))
    own = weights_in(weights, WINDOW, 1, 1, exit_row=WINDOW.stop - 2)
    done = simulate_window(of, own, setup, WINDOW)
    assert done.fills["lots"].sum() == 0
    assert len(done.fills) > 10


@pytest.mark.parametrize("n", [1, 3])
def test_cells_of_a_window_are_its_runs(n: int) -> None:
    panel = market(n)
    strategy = find("sma_cross")
    sets = parameter_sets(strategy, {"fast": [5, 9], "slow": [40]})
    spec = msgspec.structs.replace(spec_of("sma_cross", panel, sets[0]._asdict()), costs=COSTS)
    swept = run_sets(spec, panel, strategy, sets, 1, None, WINDOW)
    of, setup, weights = parts(panel)
    done = simulate_window(of, weights_in(weights, WINDOW, 1, n), setup, WINDOW)
    equity = np.concatenate(([1e6], done.curve[:, 0]))
    assert swept.figures[0, 6] == equity[-1]
    assert swept.returns[0].tolist() == (equity[1:] / equity[:-1] - 1.0).astype(np.float32).tolist()
    assert swept.ts.tolist() == of.ts[done.sample].tolist()
