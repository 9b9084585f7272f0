"""The journal on this machine's disk: how long a commit takes, how many events go in and come out in a second."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.figures import Figure, Sample, exact, sample_of, timed
from trimtab.engine.events import Body, Entry, Filled, OrderIntent, RowDecided
from trimtab.engine.journal import Journal, open_journal, read, verify
from trimtab.types import SECOND

COMMITS, RUNS = 2_000, 5
#: A grid row of 100 instruments and 5 models, and the orders of a tenth of them.
INSTRUMENTS, MODELS, FIELDS, ORDERS = 100, 5, 6, 10
EVENTS, BATCH = 1_000_000, 1_000
BEGIN: Final = 1_700_000_000 * SECOND


def figures() -> Iterator[Figure]:
    """Commits of one fill and of a decided row, batches, verification, reading.

    On any core: a process that wakes from a flush and may run on one only waits for whoever has that one.
    """
    yield from _commits("journal.commit of one fill", lambda k: [_fill(k)], "")
    note = f"{INSTRUMENTS} instruments x {MODELS} models: bars, weights and {ORDERS} orders in one commit"
    yield from _commits("journal.commit of a decided row", _row, note)
    yield from _bulk()


def _commits(name: str, bodies: Callable[[int], list[Body]], note: str) -> Iterator[Figure]:
    """Median and 99th percentile of one append after the other, each flushed to the disk."""
    middles: list[float] = []
    tails: list[float] = []
    for _ in range(RUNS):
        with _journal() as journal:
            spent: list[float] = []
            for k in range(COMMITS):
                entries = [Entry(BEGIN + k, body) for body in bodies(k)]
                start = time.perf_counter()
                journal.append(entries)
                spent.append(1e3 * (time.perf_counter() - start))
                journal.heartbeat()  # as an engine does between its decisions
        middles.append(statistics.median(spent))
        tails.append(float(np.percentile(spent, 99)))
    yield Figure(name=f"{name}, p50", sample=sample_of(middles), unit="ms", note=note)
    yield Figure(name=f"{name}, p99", sample=sample_of(tails), unit="ms")


def _bulk() -> Iterator[Figure]:
    with _journal() as journal:
        path = journal.path
        rates: list[float] = []
        for first in range(0, EVENTS, BATCH):
            entries = [Entry(BEGIN + k, _fill(k)) for k in range(first, first + BATCH)]
            start = time.perf_counter()
            journal.append(entries)
            rates.append(BATCH / (time.perf_counter() - start))
        journal.append([Entry(BEGIN, _fill(EVENTS))])
        size = path.stat().st_size / (EVENTS + 1)
        yield Figure(
            name=f"journal.append, batches of {BATCH:,}",
            sample=Sample(statistics.harmonic_mean(rates), min(rates), max(rates), len(rates)),
            unit="events/s",
        )
        yield Figure(name="journal.size", sample=exact(size), unit="bytes per event", note="fills, with their keys")
        spent = timed(lambda: verify(path), 3, warm=0)
        yield Figure(name="journal.verify of 1 M events", sample=spent, unit="s")
        spent = timed(lambda: sum(1 for _ in read(path)), 3, warm=0)
        yield Figure(name="journal.read of 1 M events, each held against the chain", sample=spent, unit="s")


@contextmanager
def _journal() -> Iterator[Journal]:
    """In a folder of the disk that temporary files are on."""
    with tempfile.TemporaryDirectory() as folder, open_journal(Path(folder) / "paper.journal", "paper") as journal:
        yield journal


def _fill(k: int) -> Filled:
    return Filled(
        venue="paper", symbol=f"X{k % INSTRUMENTS}", trade_id=str(k), client_order_id=f"T1-{k:010}", lots=5,
        price=100.0 + 0.01 * k, fee=1.5, executed=BEGIN + k,
    )  # fmt: skip


def _row(k: int) -> list[Body]:
    values = np.random.default_rng(k)
    row = RowDecided(
        row=BEGIN + k,
        bars=values.lognormal(4.0, 0.1, (INSTRUMENTS, FIELDS)),
        weights=values.normal(0.0, 0.1, (MODELS, INSTRUMENTS)),
    )
    return [row, *(_order(k, n) for n in range(ORDERS))]


def _order(k: int, n: int) -> OrderIntent:
    return OrderIntent(
        client_order_id=f"T1-{k * ORDERS + n:010}", order_id=k * ORDERS + n, row=BEGIN + k, venue="paper",
        symbol=f"X{n}", lots=5, order_kind="MARKET", tif="IOC",
    )  # fmt: skip
