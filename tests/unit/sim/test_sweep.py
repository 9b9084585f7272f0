"""Cells of a compiled sweep equal a backtest of the same parameters: same equity, same orders, to the last bit."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import trimtab as tt
from trimtab.types import BAR_FIELDS, HOUR

ROWS = 3_000


@pytest.fixture(scope="module")
def panel() -> tt.Panel:
    rng = np.random.default_rng(4)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, ROWS) + 0.004 * np.sin(np.arange(ROWS) / 60.0)))
    opened = np.concatenate([[100.0], close[:-1]]) * np.exp(rng.normal(0.0, 0.001, ROWS))
    high, low = np.maximum(opened, close) * 1.004, np.minimum(opened, close) * 0.996
    columns = [opened, high, low, close, rng.lognormal(8.0, 1.0, ROWS), np.full(ROWS, float(HOUR))]
    values = np.stack(columns, axis=-1)[:, None, :]
    values[rng.random(ROWS) < 0.02, :, :5] = np.nan
    ts = 1_704_067_200 * 10**9 + HOUR * np.arange(1, ROWS + 1, dtype=np.int64)
    return tt.Panel(ts, (tt.Instrument(symbol="X", lot_size=0.01),), BAR_FIELDS, values, "1h")


COSTS = tt.Costs(0.0005, 0.001, 0.0002, 0.02, 0.0001, 0.05, 0.5, 20.0, 0.2, 0.02)
LIMITS = tt.Limits(0.95, 0.9, 0.1, 0.5, 0.4, 0.05, 0.2, 0.08)


def test_fifty_cells_equal_their_backtests(panel: tt.Panel) -> None:
    rng = np.random.default_rng(0)
    fast = sorted(rng.choice(np.arange(2, 60), 10, replace=False).tolist())
    slow = sorted(rng.choice(np.arange(61, 300), 10, replace=False).tolist())
    fixed = {"costs": COSTS, "limits": LIMITS, "capital": 2e5, "seed": 11}
    table = tt.sweep("sma_cross", panel, {"fast": fast, "slow": slow}, **fixed)
    assert table.height == 100
    assert table["trades"].min() > 0
    for k in rng.choice(100, 50, replace=False).tolist():
        cell = table.row(k, named=True)
        run = tt.backtest("sma_cross", panel, params={"fast": cell["fast"], "slow": cell["slow"]}, **fixed)
        head = run.result.book.head[0]
        assert cell["final_equity"] == run.bar_equity[-1] == head["equity"]
        assert cell["total_return"] == head["equity"] / 2e5 - 1.0
        assert cell["max_drawdown"] == head["worst"]
        assert cell["trades"] == head["round_trips"]
        assert cell["traded"] == head["traded"] / 2e5
        assert cell["costs"] == pytest.approx(float(run.result.book.charges.sum()), rel=1e-14)
        assert cell["sharpe"] == pytest.approx(run.metrics["net"]["sharpe"], rel=1e-9)


def test_threads_and_order_of_cells_change_nothing(panel: tt.Panel) -> None:
    fixed = {"costs": COSTS, "limits": LIMITS, "capital": 2e5}
    grid = {"fast": range(3, 23), "slow": range(30, 80, 10)}
    one = tt.sweep("sma_cross", panel, grid, threads=1, **fixed)
    four = tt.sweep("sma_cross", panel, grid, threads=4, **fixed)
    assert one.equals(four, null_equal=True)
    back = tt.sweep("sma_cross", panel, {k: reversed(v) for k, v in grid.items()}, threads=2, **fixed)
    assert one.equals(back.sort("fast", "slow"), null_equal=True)


def test_orders_of_a_cell_are_those_of_the_backtest(panel: tt.Panel) -> None:
    """The buffers of a thread are reused: a cell after others writes the very orders that a fresh book writes."""
    from trimtab.data.panel import rows_of
    from trimtab.research.backtest import market_of, setup_of
    from trimtab.rules.book import open_book
    from trimtab.sim.driver import run as fold
    from trimtab.sim.fold import decisions
    from trimtab.sim.market import day_ends
    from trimtab.sim.simulate import new_log
    from trimtab.strategies import find, params_of
    from trimtab.types import Weights

    run = tt.backtest("sma_cross", panel, params={"fast": 4, "slow": 70}, costs=COSTS, limits=LIMITS, capital=2e5)
    setup = setup_of(run.spec, panel, run.costs)
    market, strategy = market_of(panel), find("sma_cross")
    index, x = rows_of(panel, [0], "1h", strategy.fields)
    log = new_log(50_000, 1, 1, 0, day_ends(market.ts))
    start, book = open_book(2e5, setup.terms, 1), open_book(2e5, setup.terms, 1)
    for fast in (9, 30, 4):
        made = decisions(strategy, params_of(strategy, {"fast": fast, "slow": 70}), x, False)
        zeros = np.zeros(len(made.row), np.int64)
        for name, array in zip(book._fields, book, strict=True):
            array[...] = getattr(start, name)
        log.used[:] = 0
        weights = Weights(index[made.row], zeros, zeros, made.value)
        assert fold(book, log, market, weights, setup.terms, setup.limits, setup.style, 0, ROWS) == ROWS
    ended = run.result.orders[run.result.orders["done_ts"] > 0]
    assert log.orders[: log.used[0]].tobytes() == ended.tobytes()
    assert log.fills[: log.used[1]].tobytes() == run.result.fills.tobytes()


def test_undefined_is_nan_in_a_cell(panel: tt.Panel) -> None:
    values = np.ones_like(panel.values)
    values[:, :, 5] = HOUR
    still = tt.Panel(panel.ts, panel.instruments, panel.fields, values, "1h")
    table = tt.sweep("sma_cross", still, {"fast": [3], "slow": [9, 12]}, costs=tt.Costs(), volume="ignore")
    assert table["trades"].to_list() == [0, 0]
    assert table.select(pl.col("sharpe").is_nan().all()).item()
    assert table["final_equity"].to_list() == [1e6, 1e6]
