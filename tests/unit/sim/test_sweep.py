"""Cells of a compiled sweep equal a backtest of the same parameters: same equity, same orders, to the last bit."""

from __future__ import annotations

import threading
import time
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

import trimtab as tt
from trimtab.research.backtest import spec_of
from trimtab.research.sweep import parameter_sets, run_sets
from trimtab.sim.summary import SUMMARY
from trimtab.strategies import find
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


@pytest.fixture(scope="module")
def pair(panel: tt.Panel) -> tt.Panel:
    """Two instruments: the sweep's cells are made one by one."""
    other = panel.values[::-1].copy()
    values = np.concatenate([panel.values, other], axis=1)
    instruments = (panel.instruments[0], tt.Instrument(symbol="Y", lot_size=0.01))
    return tt.Panel(panel.ts, instruments, panel.fields, values, "1h")


def cells(panel: tt.Panel, **changes: Any) -> list[dict[str, Any]]:
    """Six cells of a Spec: what tt.sweep does, with settings that only a Spec has."""
    strategy = find("sma_cross")
    sets = parameter_sets(strategy, {"fast": [4, 9, 30], "slow": [70, 200]})
    spec = msgspec.structs.replace(spec_of("sma_cross", panel, sets[0]._asdict()), costs=COSTS, **changes)
    names = [{"fast": p.fast, "slow": p.slow} for p in sets]
    return [
        name | dict(zip(SUMMARY, row, strict=True))
        for name, row in zip(names, run_sets(spec, panel, strategy, sets, 2, None).figures.tolist(), strict=True)
    ]


@pytest.mark.parametrize("book", ["panel", "pair"])
def test_cells_of_every_book_equal_their_backtests(book: str, request: pytest.FixtureRequest) -> None:
    bars: tt.Panel = request.getfixturevalue(book)
    for again in (tt.Rebalance(), tt.Rebalance(when="always", buffer=0.01)):
        for cell in cells(bars, limits=LIMITS, rebalance=again):
            run = tt.backtest(
                "sma_cross", bars, params={k: cell[k] for k in ("fast", "slow")}, costs=COSTS, limits=LIMITS,
                rebalance=again,
            )  # fmt: skip
            head, net = run.result.book.head[0], run.metrics["net"]
            assert cell["final_equity"] == head["equity"]
            assert cell["total_return"] == head["equity"] / 1e6 - 1.0
            assert (cell["max_drawdown"], cell["trades"]) == (head["worst"], head["round_trips"])
            assert cell["traded"] == head["traded"] / 1e6
            assert cell["costs"] == pytest.approx(sum(run.metrics["costs"].values()), rel=1e-12)
            assert cell["sharpe"] == pytest.approx(net["sharpe"], rel=1e-9)


@pytest.mark.parametrize("book", ["panel", "pair"])
def test_the_risk_free_rate_reaches_the_sharpe_column(book: str, request: pytest.FixtureRequest) -> None:
    bars: tt.Panel = request.getfixturevalue(book)
    plain, excess = cells(bars), cells(bars, risk_free_rate=0.05)
    for free, cell in zip(plain, excess, strict=True):
        params = {k: cell[k] for k in ("fast", "slow")}
        spec = msgspec.structs.replace(spec_of("sma_cross", bars, params), risk_free_rate=0.05, costs=COSTS)
        assert cell["sharpe"] == pytest.approx(tt.backtest(spec, bars).metrics["net"]["sharpe"], rel=1e-9)
        assert cell["sharpe"] < free["sharpe"]
        assert [cell[name] for name in SUMMARY if name != "sharpe"] == [free[n] for n in SUMMARY if n != "sharpe"]


def test_a_book_that_ended_a_day_without_equity_has_no_sharpe(panel: tt.Panel) -> None:
    """Short of everything when the price triples overnight: in a cell as in the metrics no ratio means anything."""
    close = np.where(np.arange(ROWS) < 1_500, 100.0 - 0.01 * np.arange(ROWS), 400.0)
    values = np.repeat(close[:, None, None], 6, axis=2)
    values[:, :, 4], values[:, :, 5] = 1e9, HOUR
    wild = tt.Panel(panel.ts, panel.instruments, panel.fields, values, "1h")
    fixed = {"costs": tt.Costs(), "capital": 1e5}
    cell = tt.sweep("sma_cross", wild, {"fast": [3], "slow": [9], "short": [True]}, **fixed).row(0, named=True)
    run = tt.backtest("sma_cross", wild, params={"fast": 3, "slow": 9, "short": True}, **fixed)
    assert cell["final_equity"] == run.metrics["final_equity"] < 0.0
    assert np.isnan(cell["sharpe"])
    assert np.isnan(run.metrics["net"]["sharpe"])


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
    from trimtab.research.prepared import market_of
    from trimtab.research.setup import setup_of
    from trimtab.rules.book import new_log, open_book
    from trimtab.sim.driver import run as fold
    from trimtab.sim.market import day_ends
    from trimtab.strategies import params_of
    from trimtab.strategies.folding import decisions
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
        assert fold(book, log, market, weights, setup, 0, ROWS) == ROWS
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


def test_an_interrupted_sweep_stops_all_its_threads(panel: tt.Panel) -> None:
    done: list[int] = []

    def interrupted(count: int) -> None:
        done.append(count)
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tt.sweep("sma_cross", panel, {"fast": range(2, 62), "slow": range(70, 110)}, threads=2, progress=interrupted)
    time.sleep(0.5)
    told = sum(done)
    time.sleep(0.5)
    assert sum(done) == told < 2_400
