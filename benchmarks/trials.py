"""What the trial ledger costs: of a sweep as a share of it, of a small run in microseconds."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import trimtab as tt
from benchmarks.figures import Figure, Sample, sample_of
from benchmarks.markets import COSTS, panel_of
from benchmarks.research import GRID, LIMITS, renewed
from trimtab.research import backtest, sweep
from trimtab.research.ledger.file import PLACE
from trimtab.research.ledger.reading import verify

PAIRS = 9
BARS, SMALL, RUNS = 100_000, 1_000, 300


def figures() -> Iterator[Figure]:
    """Each with and without in turn, so that what else the machine does falls on both."""
    for timeframe, what in (("1h", "hours"), ("1m", "minutes")):
        yield from _sweep(timeframe, what)
    yield from _run()


def _sweep(timeframe: str, what: str) -> Iterator[Figure]:
    """1,000 sets that nobody tried, on bars that nobody saw: their hash is a part of what recording takes."""
    panel = panel_of(BARS, 1, timeframe=timeframe)

    def work() -> float:
        bars = renewed(panel)
        begin = time.perf_counter()
        tt.sweep("sma_cross", bars, GRID, costs=COSTS, limits=LIMITS)
        return time.perf_counter() - begin

    with _without():
        work()
    with _ledger() as folder:
        work()
        report = verify(folder)
        if report.trials != 1_000 or report.faults:
            raise RuntimeError(f"trials: {report}")
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    pairs: list[tuple[float, float]] = []
    for _ in range(PAIRS):
        with _without():
            alone = work()
        with _ledger():
            pairs.append((alone, work()))
    without, recorded = (statistics.median(seconds) for seconds in zip(*pairs, strict=True))
    shares = [b / a - 1.0 for a, b in pairs]
    yield Figure(
        name=f"trials: recording 1,000 sets x 100,000 {what}",
        sample=Sample(recorded / without - 1.0, min(shares), max(shares), PAIRS),
        unit="of the sweep",
        target=0.2,
        note=f"{1e3 * without:.0f} ms without, {1e3 * recorded:.0f} ms with; {size / 1e6:.1f} MB of returns",
    )


def _run() -> Iterator[Figure]:
    """A small run, of another capital each time: a trial that is known is not written again."""
    panel = panel_of(SMALL, 1)
    weights = np.where(np.arange(SMALL) % 50 < 25, 1.0, 0.0)

    def work(first: int) -> float:
        spent: list[float] = []
        for k in range(first, first + RUNS):
            begin = time.perf_counter()
            tt.simulate(panel, weights, costs=COSTS, capital=1e6 + k)
            spent.append(1e6 * (time.perf_counter() - begin))
        return statistics.median(spent)

    alone: list[float] = []
    more: list[float] = []
    with _ledger():
        work(0)
        for n in range(1, 6):
            with _without():
                alone.append(work(0))
            more.append(work(n * RUNS) - alone[-1])
    yield Figure(
        name="trials: recording a run of 1,000 bars",
        sample=sample_of(more),
        unit="us",
        note=f"beside {statistics.median(alone):.0f} us of the run itself",
    )


@contextmanager
def _ledger() -> Iterator[Path]:
    """A ledger in which nothing is yet."""
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, {PLACE: folder}):
        yield Path(folder)


@contextmanager
def _without() -> Iterator[None]:
    """Runs and sweeps that are recorded nowhere, and bars that are not hashed for it."""
    same: Callable[[Any], Any] = lambda run: run  # noqa: E731  # one line of a table
    with (
        mock.patch.object(backtest, "record_run", same),
        mock.patch.object(backtest, "hash_ahead", same),
        mock.patch.object(sweep, "record_sweep", return_value=None),
        mock.patch.object(sweep, "hash_ahead", same),
    ):
        yield
