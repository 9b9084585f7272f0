"""The public functions: simulate with its result object, signals to summary, sweep, and its cells against backtest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

import trimtab as tt
from benchmarks.figures import Figure, Sample, exact, timed
from benchmarks.markets import COSTS, FAST, SLOW, mean, panel_of
from trimtab.data.panel import rows_of
from trimtab.research.backtest import spec_of
from trimtab.research.curves import periods_of
from trimtab.research.prepared import market_of
from trimtab.research.setup import costs_of_panel, setup_of
from trimtab.research.sweep import parameter_sets
from trimtab.rules.book import new_log, open_book
from trimtab.sim.market import day_ends
from trimtab.sim.summary import SUMMARY
from trimtab.sim.sweeping import sweep_of
from trimtab.strategies import find
from trimtab.types import Limits, Panel, Weights

PARAMS = {"fast": FAST, "slow": SLOW}
GRID = {"fast": range(5, 30), "slow": range(35, 235, 5)}
LIMITS = Limits(gross_leverage=1.5, max_weight=1.2, drawdown_derisk=0.2, derisk_factor=0.5, drawdown_halt=0.9)


def renewed(panel: Panel) -> Panel:
    """The same bars as a panel that was never seen: what is prepared once per panel is prepared again."""
    return Panel(panel.ts, panel.instruments, panel.fields, panel.values, panel.timeframe)


def cross_of(panel: Panel) -> Any:
    """(T,) weights of a 50/200 cross: 1 while the short average leads, else 0; NaN before the first."""
    close = panel.values[:, 0, 3]
    fast, slow = mean(close, FAST), mean(close, SLOW)
    return np.where(np.isnan(slow), np.nan, (fast > slow).astype(np.float64))


def on_seen_and_new(work: Any, panel: Panel, runs: int) -> tuple[Sample, Sample]:
    """Seconds of work(panel) on a panel that was used before, and on one that was not.

    What was prepared of an older panel is freed before: to keep all of them would measure how the system finds memory.
    """
    fresh = [panel]

    def renew() -> None:
        fresh[0] = renewed(panel)

    seen = timed(lambda: work(panel), runs)
    return seen, timed(lambda: work(fresh[0]), runs, before=renew)


def summary_figures() -> Iterator[Figure]:
    """10 M bars: SMA-cross signals, simulation, every summary metric."""
    panel = panel_of(10_000_000, 1)
    last: list[tt.Run] = []

    def work(bars: Panel) -> None:
        last[:] = [tt.backtest("sma_cross", bars, params=PARAMS, costs=COSTS, limits=LIMITS)]
        _ = last[0].metrics

    seen, new = on_seen_and_new(work, panel, 5)
    fills = f"{len(last[0].result.fills):,} fills, {len(last[0].metrics['net'])} metrics net, gross and holding"
    yield Figure(name="summary.10m bars loaded", sample=seen.scaled(1e3), unit="ms", target=100.0, note=fills)
    yield Figure(
        name="summary.10m first run on a panel",
        sample=new.scaled(1e3),
        unit="ms",
        note="with volatility, average volume and marks derived",
    )


def simulate_figures() -> Iterator[Figure]:
    """tt.simulate on 1 M bars with its result object."""
    panel = panel_of(1_000_000, 1)
    weights = cross_of(panel)
    last: list[tt.Run] = []

    def work(bars: Panel) -> None:
        last[:] = [tt.simulate(bars, weights, costs=COSTS, limits=LIMITS)]

    seen, new = on_seen_and_new(work, panel, 15)
    fills = f"{len(last[0].result.fills):,} fills; with holding the same bars"
    yield Figure(name="run.1m tt.simulate", sample=seen.scaled(1e3), unit="ms", target=25.0, note=fills)
    yield Figure(name="run.1m tt.simulate, first run on a panel", sample=new.scaled(1e3), unit="ms")


def sweep_figures() -> Iterator[Figure]:
    """1,000 sets x 100,000 bars on all cores, and the memory of ten times as many sets."""
    panel = panel_of(100_000, 1)
    sets = len(parameter_sets(find("sma_cross"), GRID))
    sample = timed(lambda: tt.sweep("sma_cross", panel, GRID, costs=COSTS, limits=LIMITS), 7)
    yield Figure(
        name="sweep.1000 sets x 100,000 bars",
        sample=sample.inverse(sets * len(panel.ts) / 1e6),
        unit="M set-bars/s",
        target=600.0,
        at_least=True,
        note=f"{sets:,} sets, {os.cpu_count()} cores: total return, daily Sharpe, max drawdown, trades and more",
    )


def cells_figures() -> Iterator[Figure]:
    """50 random cells of the sweep against backtest of the same parameters: orders, daily equity, figures, by bits."""
    panel = panel_of(100_000, 1)
    strategy = find("sma_cross")
    sets = parameter_sets(strategy, GRID)
    table = tt.sweep("sma_cross", panel, GRID, costs=COSTS, limits=LIMITS).select(SUMMARY).to_numpy()
    chosen = np.random.default_rng(0).choice(len(sets), 50, replace=False)
    same = 0
    for k in chosen:
        run = tt.backtest("sma_cross", panel, params=sets[k]._asdict(), costs=COSTS, limits=LIMITS)
        orders, curve, figures = cell_of(panel, strategy, sets[k])
        head = run.result.book.head[0]
        ended = run.result.orders[run.result.orders["done_ts"] != 0]  # a cell's log does not list what is still open
        alike = orders.tobytes() == ended.tobytes()
        alike &= curve.tobytes() == np.ascontiguousarray(run.result.curve[:, 0]).tobytes()
        alike &= (
            figures.tobytes() == table[k].tobytes() and figures[6] == head["equity"] and figures[2] == head["worst"]
        )
        same += bool(alike)
    yield Figure(
        name="sweep.cells equal to backtest",
        sample=exact(same),
        unit="of 50",
        target=50.0,
        at_least=True,
        note="orders, daily equity and figures, bit for bit; cells drawn with seed 0",
    )


def cell_of(panel: Panel, strategy: Any, params: Any) -> tuple[Any, Any, Any]:
    """What the sweep's compiled cell writes for one set: its ended orders, daily equity, SUMMARY."""
    import msgspec

    spec = msgspec.structs.replace(
        spec_of(strategy.name, panel, params._asdict()), costs=COSTS, limits=LIMITS, capital=1_000_000.0
    )
    setup, market = setup_of(spec, panel, costs_of_panel(panel, spec.costs)), market_of(panel)
    rows, x = rows_of(panel, [0], panel.timeframe, strategy.fields)
    n = len(rows)
    books = [open_book(setup.capital, setup.terms, 1) for _ in range(2)]
    log = new_log(n, 1, 1, 0, day_ends(market.ts))  # room for every order: it is never emptied
    weights = Weights(np.empty(n, np.int64), np.empty(n, np.int64), np.zeros(n, np.int64), np.empty(n))
    out = np.empty((1, len(SUMMARY)))
    compiled = sweep_of(strategy)
    if compiled is None:
        raise ValueError(f"strategy {strategy.name} has no compiled sweep")
    matrix = np.array([[float(v) for v in params]])
    daily, window = np.empty((1, 0), np.float32), (np.int64(0), np.int64(len(market.ts)))
    compiled(matrix, x, rows, 1.0, *books, log, market, weights, setup, *window, periods_of(panel), 0.0, out, daily)
    return log.orders[: log.used[0]].copy(), np.ascontiguousarray(log.curve[:, 0]), out[0]
