"""Runs in raptorbt's environment: `peer_raptorbt.py BARS.npz simulate|sweep`, answers as one line of JSON."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
import raptorbt as rb  # pyright: ignore[reportMissingImports]


def settings(bars: Any) -> tuple[Any, Any]:
    config = rb.BacktestConfig(
        initial_capital=float(bars["capital"]),
        fees=float(bars["fee"]),
        slippage=0.0,
        apply_slippage=False,
        fill_timing="next_bar_open",
    )
    return config, rb.InstrumentConfig(lot_size=1e-9)


def columns(bars: Any) -> list[Any]:
    return [bars[name] for name in ("ts", "open", "high", "low", "close", "volume")]


def simulate(bars: Any, runs: int = 5) -> list[dict[str, Any]]:
    config, fine = settings(bars)
    seconds: list[float] = []
    result = None
    for _ in range(runs + 1):
        start = time.perf_counter()
        result = rb.run_single_backtest(*columns(bars), bars["long"], bars["flat"], 1, 1.0, "X", config, None, fine)
        seconds.append(time.perf_counter() - start)
    return [{"way": "single", "seconds": seconds[1:], **outcome([result])}]


def sweep(bars: Any) -> list[dict[str, Any]]:
    """All sets in one batch over all cores; its averages and claims about each close are in the clock."""
    config, fine = settings(bars)
    seconds: list[float] = []
    results: list[Any] = []
    for _ in range(3):
        start = time.perf_counter()
        means = {int(w): rb.sma(bars["close"], int(w)) for w in (*bars["fast"], *bars["slow"])}
        items = [
            rb.BatchSingleItem(f"{f}-{s}", means[f] > means[s], means[f] < means[s], 1, 1.0, "X", None, None, fine)
            for f in map(int, bars["fast"])
            for s in map(int, bars["slow"])
        ]
        results = [result for _, result in rb.batch_single_backtest(*columns(bars), items, config)]
        seconds.append(time.perf_counter() - start)
    return [{"way": "batch", "seconds": seconds, **outcome(results)}]


def outcome(results: Any) -> dict[str, Any]:
    return {
        "trades": [int(r.metrics.total_closed_trades) for r in results],
        "equity": [float(r.metrics.end_value) for r in results],
    }


if __name__ == "__main__":
    print(json.dumps({"simulate": simulate, "sweep": sweep}[sys.argv[2]](dict(np.load(sys.argv[1])))))
