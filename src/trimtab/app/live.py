"""Where an engine is put together: a spec and its instruments become an account, its venue, and its state as of now."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from trimtab.engine import core
from trimtab.engine.booking import Names
from trimtab.engine.file import has_begun
from trimtab.engine.planner import planner
from trimtab.engine.recovery import first_row, fold_journal
from trimtab.research.funds import dated_flows
from trimtab.research.prepared import market_of
from trimtab.research.setup import costs_of_panel, setup_of
from trimtab.rules.book import Setup, open_book, wallets_of
from trimtab.rules.tape import Tape, live_setup
from trimtab.sim.setup import complete
from trimtab.types import F64, I64, TIMEFRAMES, Instrument, Panel, Spec
from trimtab.venues.link import Faults, PaperLink
from trimtab.venues.paper import PaperVenue

#: File of an account's journal in its folder.
JOURNAL = "account.journal"


class Account(NamedTuple):
    """One account of one spec: everything that does not change while it trades.

    setup   as the rules read it, of no panel
    flows   (F,) instants of its cash flows, ns UTC
    folder  where its journal lies, and what people order it
    """

    spec: Spec
    instruments: tuple[Instrument, ...]
    fields: tuple[str, ...]
    names: Names
    setup: Setup
    flows: I64
    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / JOURNAL

    def before(self) -> core.State:
        """The account before its first row."""
        setup = live_setup(self.setup)
        tape = self._tape(setup)
        book = open_book(setup.capital, setup.terms, setup.models, setup.cash)
        wants = planner(self.spec, self.instruments, self.fields)
        return core.begin(setup, tape, book, wants, _prefix(self.names.account))

    def state(self) -> core.State:
        """The account as its journal says it stands."""
        if not self.path.exists():
            return self.before()
        return fold_journal(self.path, self.before, self.names).state

    def _tape(self, setup: Setup) -> Tape:
        currencies = tuple(i.quote for i in self.instruments)
        return Tape(self.fields, setup, TIMEFRAMES[self.spec.timeframe], self.flows, currencies)

    def paper(self, state: core.State, faults: Faults | None = None, seed: int = 0) -> PaperLink:
        """The simulated venue of a process that begins with a state. It ends with its process: what was not booked has
        not happened, so it stands where the book does."""
        setup = live_setup(self.setup)
        tape = self._tape(setup)
        tape.load(state.tape.save())
        book = open_book(setup.capital, setup.terms, setup.models, setup.cash)
        for mine, theirs in zip(book, state.book, strict=True):
            mine[...] = theirs
        cids = {s.order_id: cid for cid, s in state.sent.items() if s.slot == 0 and not s.is_leaving}
        return PaperLink(PaperVenue(setup, book, tape, cids, core.last_number(state)), faults, seed)


def account_of(
    spec: Spec, instruments: tuple[Instrument, ...], fields: tuple[str, ...], first: F64, ts: int, folder: Path
) -> Account:
    """The account of a spec; TrimtabError for what a backtest would refuse too.

    instruments  in the order of the spec's universe
    first, ts    bars (N, K) of the first row and its instant: cash in other currencies is worth what it says
    """
    bars = np.array(first, np.float64)
    bars[:, fields.index("volume")] = 1.0  # whether there is any is not known of one row
    panel = Panel(np.array([ts]), instruments, fields, bars[None], spec.timeframe)
    still = msgspec.structs.replace(spec, cash_flows=(), start="", end="")
    setup = setup_of(still, panel, costs_of_panel(panel, spec.costs))
    flows, when = dated_flows(spec, instruments)
    setup = complete(setup, market_of(panel, spec.base_currency))._replace(flows=flows)
    wallets = tuple(wallets_of(instruments))
    from trimtab.bounds import model_names

    names = Names(folder.name, "paper", tuple(i.symbol for i in instruments), model_names(spec.models), wallets)
    return Account(spec, instruments, fields, names, setup, when, folder)


def journalled_first(folder: Path) -> tuple[int, F64] | None:
    """The first row that the journal of an account holds; None: it holds none."""
    path = folder / JOURNAL
    row = first_row(path) if has_begun(path) else None
    return None if row is None else (row.row, row.bars)


def _prefix(account: str) -> str:
    """Of client order ids: an engine's mark and the account's, so that orders of others are told from ours."""
    mark = base64.b32encode(hashlib.sha256(account.encode()).digest())[:8].decode()
    return f"TT{mark}-"
