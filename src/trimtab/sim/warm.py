"""Compile what a first run needs, once: `python -m trimtab.sim.warm`, before tests are spread over processes."""

from __future__ import annotations

import numpy as np

from trimtab.rules.book import Setup, Style, terms_of
from trimtab.sim.market import build_market
from trimtab.sim.simulate import simulate, weights_of
from trimtab.sim.trades import costs_of_fills, round_trips
from trimtab.strategies import BUILT_IN, find
from trimtab.strategies.folding import folds_of
from trimtab.strategies.stepping import held, steps_of
from trimtab.types import HOUR, Costs, Instrument, Limits, Panel, Strategy


def main() -> None:
    """Run a tiny book through the driver, then the fold of every built-in strategy."""
    rows = 300
    close = 100.0 + np.sin(np.arange(rows))
    values = np.stack([close, close + 1, close - 1, close, np.full(rows, 1e4), np.full(rows, float(HOUR))], axis=1)
    ts = np.arange(1, rows + 1, dtype=np.int64) * HOUR
    fields = ("open", "high", "low", "close", "volume", "duration")
    panel = Panel(ts, (Instrument(symbol="X"),), fields, values[:, None, :].copy(), "1h")
    setup = Setup(terms_of(panel.instruments, (Costs(),)), Limits(), Style(0, 0.0, 0, 0, 0, 0, 0.0, 0), 1e6, 1)
    weights = np.where(np.arange(rows) % 7 == 0, 0.5, np.nan)[:, None]
    result = simulate(build_market(panel), weights_of(weights), setup)
    lots = result.fills["lots"].astype(np.float64)
    round_trips(result.fills, lots, np.zeros(len(lots)), costs_of_fills(result.fills), result.book.unit)
    for name in BUILT_IN:
        strategy = find(name)
        folds = folds_of(strategy)
        x = np.repeat(close[:, None, None], len(strategy.fields), axis=2).repeat(strategy.legs_of(3), axis=1)
        out = np.empty(rows)
        folds.dense(strategy.params, folds.start(strategy.params), x, out)
        _warm_row(strategy)


def _warm_row(strategy: Strategy) -> None:
    """One row of a unit, as an engine steps it."""
    steps, legs = steps_of(strategy), strategy.legs_of(3)
    states = held(steps, [folds_of(strategy).start(strategy.params)])
    at, columns = np.arange(legs)[None, :], np.zeros(1 + len(strategy.fields), np.int64)
    f, w, told, value = np.empty(1), np.empty((1, legs)), np.empty(legs, np.int64), np.empty(legs)
    steps.row(
        strategy.params, states, np.full((legs, 6), np.nan), at, columns, np.zeros(legs), f, w, np.zeros(1, np.bool_),
        w.copy(), np.arange(legs), 1.0, False, told, value, 0,
    )  # fmt: skip
    steps.put(states, 0, steps.take(states, 0))


if __name__ == "__main__":
    main()
