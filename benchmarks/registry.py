"""The benchmarks by name: what each measures, and where it is written; imported when it is run."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from benchmarks.figures import Figure


class Benchmark(NamedTuple):
    """what: one line; figures(): measures, and yields each figure when it is there."""

    what: str
    figures: Callable[[], Iterator[Figure]]


def _deferred(module: str, function: str, *arguments: Any) -> Callable[[], Iterator[Figure]]:
    return lambda: getattr(importlib.import_module(f"benchmarks.{module}"), function)(*arguments)


_ORDERS = {"market": "market orders", "stops": "resting stop and target", "trailing": "a trailing stop"}

#: Books of one size stand together: their market is made once.
BENCHMARKS: dict[str, Benchmark] = {
    f"simulate.{orders}.{n}": Benchmark(
        f"driver, {what}, {n} instrument{'s' if n > 1 else ''} in one book, one core",
        _deferred("simulate", "figures", orders, n),
    )
    for n in (1, 5, 50)
    for orders, what in _ORDERS.items()
} | {
    "limits": Benchmark("four models over 50 instruments, every limit finite", _deferred("limits", "figures")),
    "portfolio": Benchmark("what sizing and regimes take of a run", _deferred("portfolio", "figures")),
    "summary.10m": Benchmark("10 M bars: signals, simulation, every metric", _deferred("research", "summary_figures")),
    "run.1m": Benchmark("tt.simulate on 1 M bars with its result object", _deferred("research", "simulate_figures")),
    "sweep.speed": Benchmark("1,000 sets x 100,000 bars on all cores", _deferred("research", "sweep_figures")),
    "sweep.cells": Benchmark("50 random sweep cells against backtest", _deferred("research", "cells_figures")),
    "sweep.memory": Benchmark("peak memory of 100 and of 1,000 sets", _deferred("start", "sweep_memory_figures")),
    "start": Benchmark(
        "start-up with a warm and a cold cache; what a second process compiles", _deferred("start", "start_figures")
    ),
    "store": Benchmark("1 M bars: import, load, peak memory of a backtest", _deferred("start", "store_figures")),
    "panel": Benchmark("50 instruments x 100,000 rows with a daily join", _deferred("panel", "figures")),
    "quality": Benchmark("1 M bars validated: round the clock, New York", _deferred("quality", "figures")),
    "check": Benchmark("every law of trimtab check over 35,000 bars", _deferred("checking", "figures")),
    "ticks": Benchmark("10 M trades: import, bars of time and of volume", _deferred("ticks", "figures")),
    "inference": Benchmark("1,000 trials cross-validated; 10,000 records resampled", _deferred("inference", "figures")),
    "walkforward": Benchmark(
        "8 folds x 100 sets x 35,000 bars; 45 splits of them", _deferred("walkforward", "figures")
    ),
    "signals": Benchmark(
        "the twelve strategies over 35,041 hours; libraries per window", _deferred("signals", "figures")
    ),
    "trials": Benchmark("recording a sweep and a small run in the trial ledger", _deferred("trials", "figures")),
    "journal": Benchmark("the journal: commits, events in and out, verification", _deferred("journal", "figures")),
    "planner": Benchmark("the engine's planner: a row of models", _deferred("planner", "figures")),
    "engine": Benchmark("decisions, the core alone, a year of hours, recovery", _deferred("engine", "figures")),
    "peers.vectorbt": Benchmark("vectorbt, Numba and Rust engine", _deferred("peers", "figures", "vectorbt")),
    "peers.raptorbt": Benchmark("raptorbt, single and batch", _deferred("peers", "figures", "raptorbt")),
    "peers.backtesting": Benchmark("backtesting.py", _deferred("peers", "figures", "backtesting")),
}


def matching(names: list[str]) -> list[str]:
    """Benchmarks whose name is one of `names` or begins with it and a point; all, where none is given."""
    if not names:
        return list(BENCHMARKS)
    found = [b for b in BENCHMARKS if any(b == n or b.startswith(n + ".") for n in names)]
    unknown = [n for n in names if not any(b == n or b.startswith(n + ".") for b in BENCHMARKS)]
    if unknown:
        raise KeyError(f"no benchmark {', '.join(unknown)}: see python -m benchmarks --list")
    return found
