"""The engine's core on the paper venue against the compiled driver, to the last bit (law 2).

Weights are given, so that this is about money alone: what models want is tests/parity/test_planner.py's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.parity.test_plain_fold import SCRATCH, Bars, Case, open_orders, same_book
from trimtab.engine.core import Bars as Row
from trimtab.engine.core import Close, Event, Record, State, begin, handle
from trimtab.engine.findings import NOTHING_FOUND, Findings
from trimtab.rules.book import Book, Setup, open_book
from trimtab.rules.tape import Tape, live_setup
from trimtab.sim.market import build_market
from trimtab.sim.setup import complete
from trimtab.sim.simulate import simulate
from trimtab.types import TIMEFRAMES, Panel, Weights
from trimtab.venues import Amend, Cancel, Decided, Submit
from trimtab.venues.paper import PaperVenue


class Given:
    """Weights that were decided elsewhere, row by row."""

    def __init__(self, weights: Weights, rows: int) -> None:
        self.weights, self.next = weights, 0
        self.first = np.searchsorted(weights.row, np.arange(rows + 1))

    def advance(self, row: int, ts: int, bars: np.ndarray, marks: np.ndarray) -> Weights:
        mine = slice(self.first[self.next], self.first[self.next + 1])
        self.next += 1
        w = self.weights
        count = self.first[self.next] - self.first[self.next - 1]
        return Weights(np.full(count, row, np.int64), w.model[mine], w.instrument[mine], w.value[mine])

    def found(self) -> Findings:
        return NOTHING_FOUND

    def recall(self, found: Findings) -> None:
        raise NotImplementedError

    def quarantine(self, m: int) -> None:
        raise NotImplementedError

    def save(self) -> bytes:
        return str(self.next).encode()

    def load(self, saved: bytes) -> None:
        self.next = int(saved)


def engine_of(panel: Panel, weights: Weights, setup: Setup) -> tuple[State, PaperVenue]:
    """A core and a venue of the same account, each with a book and a tape of its own."""

    def made() -> tuple[Setup, Book, Tape]:
        mine = live_setup(complete(setup, build_market(panel)))
        flows = panel.ts[setup.flows.row]
        return mine, open_book(setup.capital, setup.terms, setup.models), Tape(panel.fields, mine, LENGTH, flows)

    mine, book, tape = made()
    state = begin(mine, tape, book, Given(weights, len(panel.ts)), "T-")
    return state, PaperVenue(*made())


LENGTH = TIMEFRAMES["1h"]


def feed(state: State, venue: PaperVenue, events: Sequence[Event], kept: list[Record]) -> State:
    """Handle events, send what comes of them, and handle what the venue says, until nobody has more to say."""
    queue: list[Event] = list(events)
    while queue:
        state, commands = handle(state, queue.pop(0))
        for command in commands:
            if isinstance(command, Record):
                kept.append(command)
            elif isinstance(command, (Submit, Cancel, Amend, Decided)):
                queue.extend(venue.send(command))
    return state


def play(panel: Panel, weights: Weights, setup: Setup) -> tuple[State, PaperVenue, list[Record], np.ndarray]:
    state, venue = engine_of(panel, weights, setup)
    kept: list[Record] = []
    equity = np.empty(len(panel.ts))
    for t, ts in enumerate(panel.ts.tolist()):
        bars = np.ascontiguousarray(panel.values[t])
        state = feed(state, venue, [Row(ts, bars)], kept)
        state = feed(state, venue, venue.row(ts, bars), kept)
        state = feed(state, venue, [Close(ts)], kept)
        equity[t] = state.book.head[0]["equity"]
    return state, venue, kept, equity


#: What a venue's book need not know: who wants what, what breakers remember, and the scratch of decisions.
DECISION = ("target", "weight", "blocked", "goal", "dirty", "working", "low", "high", *SCRATCH)


def compare(bars: Bars, case: Case) -> None:
    panel, market, some, every = bars
    setup = case[0](panel)
    weights = every if setup.style.always else some
    result = simulate(market, weights, setup)
    state, venue, kept, equity = play(panel, weights, setup)
    fills, orders, shares, actions = (
        np.concatenate([getattr(k, name) for k in kept]) for name in ("fills", "orders", "shares", "actions")
    )
    assert equity.tobytes() == result.equity.tobytes()
    assert fills.tobytes() == result.fills.tobytes()
    assert shares.tobytes() == result.shares.tobytes()
    assert actions.tobytes() == result.actions.tobytes()
    assert orders.tobytes() + b"".join(open_orders(state.book)) == result.orders.tobytes()
    state.book.positions["used_row"] += state.tape.base
    state.book.positions["best"][state.book.positions["lots"] == 0] = 0.0
    result.book.positions["best"][result.book.positions["lots"] == 0] = 0.0
    same_book(result.book, state.book)
    assert venue.book.cash.tobytes() == state.book.cash.tobytes()
    for name in ("lots", "avg_price", "realised"):
        assert venue.book.positions[name].tobytes() == state.book.positions[name].tobytes()
    assert not state.book.unsure.any()


def test_daily_indices(daily: Bars, case: Case) -> None:
    compare(daily, case)


@pytest.mark.nightly
def test_one_index(alone: Bars, case: Case) -> None:
    compare(alone, case)


def test_splits_and_dividends(acted: Bars, case: Case) -> None:
    compare(acted, case)


def test_members_that_come_and_go(joined: Bars, case: Case) -> None:
    compare(joined, case)


@pytest.mark.nightly
def test_splits_and_dividends_by_the_hour(acted_hourly: Bars, case: Case) -> None:
    compare(acted_hourly, case)


def test_hourly_coins_with_gaps(hourly: Bars, case: Case) -> None:
    compare(hourly, case)
