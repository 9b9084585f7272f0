"""A spec traded by the whole engine, and the proof that its journal tells the Run of the backtest."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import trimtab as tt
from trimtab.app.live import Account, account_of
from trimtab.engine import core
from trimtab.engine.events import Entry, Started
from trimtab.engine.journal import open_journal, verify
from trimtab.engine.ledger import Ledger
from trimtab.engine.recovery import fold_journal, last_row, save
from trimtab.engine.shell import Habits, Shell, shell_of
from trimtab.feeds.replay import ReplayFeed
from trimtab.research.bundle import TABLES
from trimtab.research.live_run import run_of_journal
from trimtab.research.run import Run
from trimtab.types import Panel, Spec
from trimtab.venues.link import Faults


class Silent:
    """Looks on and keeps the records."""

    def __init__(self) -> None:
        self.records: list[core.Record] = []
        self.alerts: list[str] = []

    def booked(self, entries: Sequence[Entry]) -> None: ...

    def recorded(self, record: core.Record) -> None:
        self.records.append(record)

    def alerted(self, ts: int, text: str) -> None:
        self.alerts.append(text)

    def decided(self, state: core.State, row: int, latency: float) -> None: ...

    def ticked(self, shell: Shell) -> None: ...


def head(panel: Panel, rows: int) -> Panel:
    return Panel(panel.ts[:rows], panel.instruments, panel.fields, panel.values[:rows].copy(), panel.timeframe)


def opened(spec: Spec, panel: Panel, folder: Path) -> Account:
    folder.mkdir(exist_ok=True)
    return account_of(spec, panel.instruments, panel.fields, panel.values[0], int(panel.ts[0]), folder)


def trade(
    account: Account, panel: Panel, habits: Habits | None = None, faults: Faults | None = None, halts: str = ""
) -> tuple[Shell, Silent]:
    """A process: it takes up where the journal ends and trades the rows of a panel."""
    watch = Silent()
    with open_journal(account.path, account.names.account) as journal:
        names = account.names
        journal.append([Entry(0, Started(run_id="r", code_version="1", symbols=names.symbols, fields=account.fields))])
        state = account.state()
        ledger = Ledger(state, journal, names, watch, lambda: state.tape.ts if state.tape.t >= 0 else 0)
        habits = habits or Habits(snapshot_every=0)
        shell = shell_of(ledger, account.paper(state, faults), ReplayFeed(panel), account.folder, habits)
        asyncio.run(shell.run(last_row(account.path)))
    assert shell.halted == halts
    return shell, watch


def told(account: Account) -> Run:
    return run_of_journal(account.path, account.spec, account.instruments, account.before, account.names)


def traded(spec: Spec, panel: Panel, folder: Path, cuts: Sequence[int] = (), every: Sequence[int] = (0,)) -> Run:
    """The Run of an engine over a panel, ended and begun again before the rows `cuts`.

    every: rows per snapshot, of each process in turn; the last stands for those after it, and 0 makes none.
    """
    account = opened(spec, panel, folder)
    records: list[core.Record] = []
    live = b""
    for k, stop in enumerate((*cuts, len(panel.ts))):
        shell, watch = trade(account, head(panel, stop), Habits(snapshot_every=every[min(k, len(every) - 1)]))
        records += watch.records
        live = save(shell.state)
        assert not watch.alerts, watch.alerts
    assert not verify(account.path).faults
    folded = fold_journal(account.path, account.before, account.names, keep=True)
    assert folded.records is not None
    for name in core.Record._fields:
        at_work, again = (np.concatenate([getattr(r, name) for r in kept]) for kept in (records, folded.records))
        assert at_work.tobytes() == again.tobytes(), name
    assert live == save(folded.state)
    return told(account)


def assert_same_run(backtest: Run, live: Run) -> None:
    """Everything that a bundle holds, and the arrays that it is made of, to the last bit."""
    one, other = backtest.result, live.result
    for name in ("fills", "orders", "shares", "actions", "curve", "pnl", "cost", "sample"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name
    assert backtest.bar_equity.tobytes() == live.bar_equity.tobytes()
    for name, a, b in zip(tt.types.Weights._fields, backtest.fold.weights, live.fold.weights, strict=True):
        assert np.ascontiguousarray(a).tobytes() == b.tobytes(), f"weights.{name}"
    for name in TABLES:
        assert getattr(backtest, name).equals(getattr(live, name)), name
    for name in ("run_id", "data_hash", "costs", "notes", "refused", "capital", "halted", "verdict"):
        assert getattr(backtest, name) == getattr(live, name), name
    np.testing.assert_equal(live.metrics, backtest.metrics)
    assert [s.title(live.model_names) for s in live.splits] == [s.title(live.model_names) for s in backtest.splits]
    for a, b in zip(backtest.splits, live.splits, strict=True):
        assert a.refused == b.refused
        for name in ("parts", "row", "share"):
            assert getattr(a, name).tobytes() == getattr(b, name).tobytes(), f"splits.{name}"


class Way(NamedTuple):
    """How a panel is traded: how often the engine is begun again, and rows per snapshot of each process in turn."""

    restarts: int
    every: tuple[int, ...]


#: A journal for each way; and one in which all are met: a stretch without a break, whose fold is the next one's
#: beginning, then snapshots, from which the others begin.
EACH = (Way(0, (0,)), Way(3, (0,)), Way(3, (37,)))
ALL_IN_ONE = (Way(3, (0, 37)),)


def assert_same(
    spec: Spec, panel: Panel, folder: Path, ways: Sequence[Way] = EACH, seed: int = 0, fills: int = 4
) -> Run:
    """The journal of each way is the backtest; restarts are at rows of the seed's choice."""
    backtest = tt.backtest(spec, panel)
    assert backtest.fills.height >= fills, "nothing was traded: this proves nothing"
    rng = np.random.default_rng(seed)
    rows = sorted(rng.choice(np.arange(1, len(panel.ts)), 3, replace=False).tolist())
    for k, way in enumerate(ways):
        assert_same_run(backtest, traded(spec, panel, folder / f"way{k}", rows[: way.restarts], way.every))
    return backtest
