"""What the engine's planner takes for a row: every model stepped at its close, on one core."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from benchmarks.figures import Figure, one_core, sample_of
from benchmarks.markets import panel_of
from trimtab.engine.planner import planner
from trimtab.research.prepared import market_of
from trimtab.types import Model, Rebalance, SizerUse, Spec

ROWS, RUNS = 2_000, 7


def figures() -> Iterator[Figure]:
    """A lone model; five over a hundred instruments, plain and sized."""
    yield from _rows("one instrument x one model", 1, 1, target=6.0)
    yield from _rows("100 instruments x 5 models", 100, 5, target=1_000.0)
    yield from _rows("100 instruments x 5 models, sized by volatility", 100, 5, SizerUse(name="volatility_target"))


def _rows(
    name: str, instruments: int, models: int, sizer: SizerUse | None = None, target: float | None = None
) -> Iterator[Figure]:
    """Median and 99th percentile of a row."""
    panel = panel_of(ROWS, instruments, timeframe="1h")
    crosses = tuple(
        Model(strategy="sma_cross", name=f"m{k}", params={"fast": 10 + k, "slow": 50 + k}, budget=1.0 / models)
        for k in range(models)
    )
    again = Rebalance(buffer=0.01 if sizer else 0.0)
    spec = Spec(models=crosses, universe=panel.symbols, timeframe="1h", sizer=sizer, rebalance=again)
    mark, ts = market_of(panel).mark, panel.ts.tolist()
    middles: list[float] = []
    tails: list[float] = []
    with one_core():
        for _ in range(RUNS):
            one = planner(spec, panel.instruments, panel.fields)
            spent = np.empty(ROWS)
            for t in range(ROWS):
                start = time.perf_counter()
                one.advance(t, ts[t], panel.values[t], mark[t])
                spent[t] = 1e6 * (time.perf_counter() - start)
            middles.append(float(np.median(spent)))
            tails.append(float(np.percentile(spent, 99)))
    note = "a cross of averages, stepped on every row"
    yield Figure(name=f"planner.{name}, p50", sample=sample_of(middles), unit="us", target=target, note=note)
    yield Figure(name=f"planner.{name}, p99", sample=sample_of(tails), unit="us")
