"""The whole engine (queue, journal, paper venue) against the compiled driver: live, folded again, and cut anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.parity.conftest import FULL, HARD, MODELS, PLAIN, SETUPS
from tests.parity.engaged import Silent
from tests.parity.test_engine import LENGTH, Given
from tests.parity.test_plain_fold import Bars, Case, open_orders, same_book
from trimtab.engine import core
from trimtab.engine.booking import Names
from trimtab.engine.events import Entry, Started
from trimtab.engine.journal import open_journal, verify
from trimtab.engine.ledger import Ledger
from trimtab.engine.recovery import fold_journal, last_row, save
from trimtab.engine.shell import Habits, Shell, shell_of
from trimtab.feeds.replay import ReplayFeed
from trimtab.rules.book import Setup, open_book, terms_of
from trimtab.rules.tape import Tape, live_setup
from trimtab.sim.market import build_market
from trimtab.sim.setup import complete
from trimtab.sim.simulate import Result, simulate
from trimtab.types import Panel, Weights
from trimtab.venues import Report
from trimtab.venues.link import Faults, PaperLink
from trimtab.venues.paper import PaperVenue


class Account:
    """One account over a panel: a core before its first row, as often as it is asked for."""

    def __init__(self, panel: Panel, weights: Weights, setup: Setup, folder: Path) -> None:
        self.panel, self.weights, self.folder = panel, weights, folder
        self.setup = complete(setup, build_market(panel))
        self.path = folder / "journal"
        wallets = (("paper", "USD"),)
        models = tuple(f"m{m}" for m in range(setup.models))
        self.names = Names("test", "paper", panel.symbols, models, wallets)

    def state(self) -> core.State:
        setup = live_setup(self.setup)
        tape = Tape(self.panel.fields, setup, LENGTH, self.panel.ts[self.setup.flows.row])
        book = open_book(setup.capital, setup.terms, setup.models)
        return core.begin(setup, tape, book, Given(self.weights, len(self.panel.ts)), "T-")

    def link(self, state: core.State, faults: Faults | None = None) -> PaperLink:
        """The venue of a process that begins with a state: it stands where the book does."""
        other = self.state()
        core_copy(state, other)
        cids = {s.order_id: cid for cid, s in state.sent.items() if s.slot == 0 and not s.is_leaving}
        return PaperLink(PaperVenue(other.setup, other.book, other.tape, cids), faults)

    def fold(self) -> core.State:
        return fold_journal(self.path, self.state, self.names, whole=True).state

    def trade(self, panel: Panel, habits: Habits | None = None, faults: Faults | None = None) -> tuple[Shell, Silent]:
        """Take up where the journal ends and trade the rows of a panel."""
        watch = Silent()
        with open_journal(self.path, "test") as journal:
            if journal.head[0] == 0:
                started = Started(run_id="r", code_version="1", symbols=panel.symbols, fields=panel.fields)
                journal.append([Entry(0, started)])
            state = fold_journal(self.path, self.state, self.names).state
            link = self.link(state, faults)
            after = last_row(self.path)
            ledger = Ledger(state, journal, self.names, watch, lambda: state.tape.ts if state.tape.t >= 0 else 0)
            habits = habits or Habits(snapshot_every=0)
            shell = shell_of(ledger, link, ReplayFeed(panel), self.folder, habits)
            asyncio.run(shell.run(after))
        return shell, watch


def core_copy(state: core.State, other: core.State) -> None:
    """Book and tape of a state into those of another."""
    for mine, theirs in zip(state.book, other.book, strict=True):
        theirs[...] = mine
    other.tape.load(state.tape.save())


def same(result: Result, state: core.State, records: Sequence[core.Record]) -> None:
    fills, orders, shares, actions = (
        np.concatenate([getattr(r, name) for r in records]) for name in ("fills", "orders", "shares", "actions")
    )
    assert fills.tobytes() == result.fills.tobytes()
    assert shares.tobytes() == result.shares.tobytes()
    assert actions.tobytes() == result.actions.tobytes()
    assert orders.tobytes() + b"".join(open_orders(state.book)) == result.orders.tobytes()
    state.book.positions["best"][state.book.positions["lots"] == 0] = 0.0
    result.book.positions["best"][result.book.positions["lots"] == 0] = 0.0
    same_book(result.book, state.book)


def account_of(bars: Bars, case: Case, folder: Path) -> tuple[Account, Result]:
    panel, market, some, every = bars
    setup = case[0](panel)
    weights = every if setup.style.always else some
    return Account(panel, weights, setup, folder), simulate(market, weights, setup)


#: Set-ups that between them meet every kind of report; the others are for the nightly run.
TELLING = ("all limits", "IOC", "carry", "margin", "clocks", "always with a buffer")


@pytest.mark.parametrize(
    "case",
    [name if name in TELLING else pytest.param(name, marks=pytest.mark.nightly) for name in SETUPS],
    indirect=True,
)
def test_the_engine_its_journal_and_the_backtest_are_one(hourly: Bars, case: Case, memory_path: Path) -> None:
    account, result = account_of(hourly, case, memory_path)
    shell, watch = account.trade(account.panel)
    assert not shell.halted, shell.halted
    same(result, shell.state, watch.records)
    folded = fold_journal(account.path, account.state, account.names, keep=True)
    assert folded.records is not None
    same(result, folded.state, folded.records)
    assert not verify(account.path).faults


@pytest.fixture
def hard(hourly: Bars, memory_path: Path) -> Account:
    """Three models under every limit, on the coins."""
    panel, _, some, _ = hourly
    terms = terms_of(panel.instruments, (FULL,) * len(panel.instruments))
    return Account(panel, some, Setup(terms, HARD, PLAIN, 1e6, MODELS), memory_path)


def test_rows_that_warm_the_models_are_not_traded_and_what_they_want_then_is(hard: Account) -> None:
    until = int(hard.panel.ts[700])
    shell, watch = hard.trade(hard.panel, Habits(snapshot_every=0, warm_until=until))
    orders = np.concatenate([r.orders for r in watch.records])
    assert orders["ts"].min() == hard.panel.ts[701]  # by what stood then, although no weight was new at that row
    first = orders[orders["ts"] == hard.panel.ts[701]]
    wanted = {i for r, i in zip(hard.weights.row, hard.weights.instrument, strict=True) if r <= 701}
    assert set(first["instrument"].tolist()) <= wanted
    assert len(first) > 1
    assert save(hard.fold()) == save(shell.state)


def test_a_venue_may_speak_of_its_own_accord(hard: Account) -> None:
    """Half of what happens in a row is told later, between two rows: late, and all the same once."""

    class Talker(PaperLink):
        async def row(self, ts: int, bars: Any) -> list[Report]:
            found = await super().row(ts, bars)
            for report in found[1::2]:
                self.tell(report)
            return found[::2]

    hard.link = lambda state, faults=None: Talker(Account.link(hard, state).venue)  # type: ignore[method-assign]
    shell, watch = hard.trade(hard.panel)
    asyncio.run(shell.line.reconcile("at the end"))
    venue = shell.line.venue.venue  # type: ignore[attr-defined]
    assert not shell.halted, watch.alerts
    assert shell.state.book.positions["lots"].tolist() == venue.book.positions["lots"].tolist()
    np.testing.assert_allclose(shell.state.book.cash, venue.book.cash, rtol=1e-9)
    assert sum(len(r.fills) for r in watch.records) > 100
