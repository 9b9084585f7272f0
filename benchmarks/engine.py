"""The engine: from a bar's close to orders that are durable, how much its core gets through, and how it comes back.

Time of the disk is in what a journal takes part in; the core is timed by the processor time of its thread, so that what
else a machine does weighs less.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.figures import Figure, sample_of, timed
from benchmarks.markets import panel_of
from trimtab.app.live import Account, account_of
from trimtab.engine import core
from trimtab.engine.events import Entry, Started
from trimtab.engine.journal import open_journal
from trimtab.engine.ledger import Ledger
from trimtab.engine.reading import last_seq
from trimtab.engine.recovery import fold_journal, save
from trimtab.engine.shell import Habits, Shell, shell_of
from trimtab.feeds.replay import ReplayFeed
from trimtab.types import Model, Panel, Rebalance, Spec
from trimtab.venues import Amend, Cancel, Decided, Submit

RUNS: Final = 3
#: Rows before the slowest average is known: nothing is decided in them.
QUIET: Final = 60
#: About a million events; and rows after the snapshot that a recovery begins with.
ROWS, TAIL = 5_500, 10
NO_SNAPSHOTS: Final = Habits(snapshot_every=0)


def figures() -> Iterator[Figure]:
    """Decisions, the core alone, a year of hours, and recovery."""
    yield from _decisions()
    yield from _core("rows of 100 instruments", 100, 2_000, "instrument-bars/s", 250_000.0)
    yield from _core("one instrument", 1, 20_000, "rows/s", 60_000.0)
    yield from _year()
    yield from _recovery()


# --- what is traded --------------------------------------------------------------------------------------------------


def _spec(panel: Panel, models: int, rebalance: Rebalance) -> Spec:
    crosses = tuple(
        Model(strategy="sma_cross", name=f"m{k}", params={"fast": 10 + k, "slow": 50 + k}, budget=1.0 / models)
        for k in range(models)
    )
    return Spec(models=crosses, universe=panel.symbols, timeframe=panel.timeframe, rebalance=rebalance)


@contextmanager
def _account(panel: Panel, models: int, rebalance: Rebalance | None = None) -> Generator[Account]:
    """In a folder of the disk that temporary files are on."""
    spec = _spec(panel, models, rebalance or Rebalance())
    with tempfile.TemporaryDirectory() as folder:
        yield account_of(spec, panel.instruments, panel.fields, panel.values[0], int(panel.ts[0]), Path(folder))


class Latencies:
    """Looks on: seconds of each row from its bars to orders that are durable."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.alerts: list[str] = []

    def booked(self, entries: Sequence[Entry]) -> None: ...

    def recorded(self, record: core.Record) -> None: ...

    def alerted(self, ts: int, text: str) -> None:
        self.alerts.append(text)

    def decided(self, state: core.State, row: int, latency: float) -> None:
        self.seconds.append(latency)

    def ticked(self, shell: Shell) -> None: ...


def _trade(account: Account, panel: Panel, state: core.State | None = None) -> Latencies:
    """The whole engine over a panel, from its first row, or from where a state stands."""
    watch, names = Latencies(), account.names
    with open_journal(account.path, names.account) as journal:
        journal.append([Entry(0, Started(run_id="", code_version="", symbols=names.symbols, fields=account.fields))])
        after = state.tape.ts if state is not None else 0
        state = state or account.before()
        ledger = Ledger(state, journal, names, watch, lambda: state.tape.ts if state.tape.t >= 0 else 0)
        shell = shell_of(ledger, account.paper(state), ReplayFeed(panel), account.folder, NO_SNAPSHOTS)
        asyncio.run(shell.run(after))
    if shell.halted or watch.alerts:
        raise RuntimeError(f"the engine did not trade as it should: {shell.halted} {watch.alerts[:3]}")
    return watch


# --- figures ---------------------------------------------------------------------------------------------------------


def _decisions() -> Iterator[Figure]:
    panel = panel_of(1_000, 100, timeframe="1h")
    middles: list[float] = []
    tails: list[float] = []
    for _ in range(RUNS):
        with _account(panel, 5) as account:
            spent = 1e3 * np.array(_trade(account, panel).seconds[QUIET:])
        middles.append(float(np.median(spent)))
        tails.append(float(np.percentile(spent, 99)))
    name, note = "engine.decision, 100 instruments x 5 models", "bar close to orders durable in the journal"
    yield Figure(name=f"{name}, p50", sample=sample_of(middles), unit="ms", target=3.0, note=note)
    yield Figure(name=f"{name}, p99", sample=sample_of(tails), unit="ms", target=10.0)


def _core(name: str, instruments: int, rows: int, unit: str, target: float) -> Iterator[Figure]:
    """The core handling again the events of a run: bars, reports of the venue, closes; one model."""
    panel = panel_of(rows, instruments, timeframe="1h")
    with _account(panel, 1) as account:
        events = _events(account, panel)
        spent: list[float] = []
        for _ in range(RUNS + 1):
            state = account.before()
            begun = time.thread_time()
            for event in events:
                state, _ = core.handle(state, event)
            spent.append(time.thread_time() - begun)
    sample = sample_of(spent[1:]).inverse(float(rows * instruments))
    note = f"{len(events) - 2 * rows:,} reports among {rows:,} rows; planner, gate and orders, no journal"
    yield Figure(name=f"engine.core, {name}", sample=sample, unit=unit, target=target, at_least=True, note=note)


def _events(account: Account, panel: Panel) -> list[core.Event]:
    """All that the core handles while a panel is traded on the simulated venue."""
    state = account.before()
    venue = account.paper(state).venue
    found: list[core.Event] = []

    def tell(event: core.Event) -> None:
        nonlocal state
        found.append(event)
        state, commands = core.handle(state, event)
        for command in commands:
            if isinstance(command, Submit | Cancel | Amend | Decided):
                for report in venue.send(command):
                    tell(report)

    for ts, bars in zip(panel.ts.tolist(), map(np.array, panel.values), strict=True):
        tell(core.Bars(ts, bars))
        for report in venue.row(ts, bars):
            tell(report)
        tell(core.Close(ts))
    return found


def _year() -> Iterator[Figure]:
    panel = panel_of(365 * 24, 10, timeframe="1h")
    own: list[float] = []
    whole: list[float] = []
    for _ in range(RUNS):
        with _account(panel, 1) as account:
            begun, at_work = time.perf_counter(), time.thread_time()
            _trade(account, panel)
            whole.append(time.perf_counter() - begun)
            own.append(time.thread_time() - at_work)
    name = "engine.year of hours, 10 instruments, with its journal"
    yield Figure(name=name, sample=sample_of(whole), unit="s", target=10.0, note="replayed as fast as it goes")
    yield Figure(name=f"{name}, without waiting for the disk", sample=sample_of(own), unit="s")


def _recovery() -> Iterator[Figure]:
    """A book that trades nearly all of 100 instruments on every row, and is folded again after it has ended."""
    panel = panel_of(ROWS + TAIL, 100, timeframe="1h")
    with _account(panel, 1, Rebalance(when="always")) as account:
        _trade(account, _until(panel, ROWS))
        events = last_seq(account.path)
        name = "engine.recovery from the first event"
        spent = timed(lambda: fold_journal(account.path, account.before, account.names), 1, warm=0)
        note = f"{events:,} events, most of them orders and fills, in {ROWS:,} rows of 100 instruments"
        yield Figure(name=name, sample=spent.scaled(1e6 / events), unit="s per 1 M events", target=12.0, note=note)
        state = fold_journal(account.path, account.before, account.names).state
        with open_journal(account.path, account.names.account) as journal:
            journal.snapshot(state.tape.ts, save(state))
        _trade(account, panel, state)
        spent = timed(lambda: fold_journal(account.path, account.before, account.names), RUNS, warm=0)
        note = f"taken {TAIL} rows, {last_seq(account.path) - events:,} events, before the end"
        yield Figure(name="engine.recovery from a snapshot", sample=spent, unit="s", target=0.5, note=note)


def _until(panel: Panel, rows: int) -> Panel:
    return Panel(panel.ts[:rows], panel.instruments, panel.fields, panel.values[:rows].copy(), panel.timeframe)
