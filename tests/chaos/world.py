"""A small account whose engine may die at any moment while its venue lives on, and what must hold of it (law 5).

The venue's own book is the truth. Between engine and venue is a `Line` that does what it is told to: it loses an order
or the answer to it, drops, delays, repeats and mixes up reports, or is cut.
"""

from __future__ import annotations

import asyncio
import math
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trimtab import killswitch
from trimtab.engine import control, core
from trimtab.engine.booking import Names, events_of
from trimtab.engine.events import Entry, Started
from trimtab.engine.findings import NOTHING_FOUND, Findings
from trimtab.engine.journal import open_journal, read, verify
from trimtab.engine.ledger import Ledger
from trimtab.engine.recovery import fold_journal, last_row, save
from trimtab.engine.shell import Habits, Shell, shell_of
from trimtab.feeds import GridRow
from trimtab.rules.book import SLOTS, TARGET, Book, Setup, Style, open_book, terms_of
from trimtab.rules.tape import Tape, live_setup
from trimtab.sim.market import build_market
from trimtab.sim.setup import complete
from trimtab.types import BAR_FIELDS, GTC, LIMIT, MARKET, TIMEFRAMES, Costs, Instrument, Limits, Panel, Weights
from trimtab.venues import Ambiguous, Cancel, Order_, Report, Submit, Unreachable
from trimtab.venues.link import PaperLink
from trimtab.venues.paper import PaperVenue

SYMBOLS = ("AAA", "BBB")
MODELS = 2
LENGTH = TIMEFRAMES["1h"]
FIRST = 1_700_000_400 * 10**9 // LENGTH * LENGTH
NAMES = Names("chaos", "paper", SYMBOLS, ("m0", "m1"), (("paper", "USD"),))

Wish = tuple[int, int, float]  # model, instrument, weight


class Crash(BaseException):
    """The process is gone: nothing may catch it."""


def no_point(point: str) -> None:
    """Shell.at of an engine that nobody wants to crash."""


class Said:
    """What models want at each row, by its instant."""

    def __init__(self) -> None:
        self.given: dict[int, list[Wish]] = {}

    def at(self, ts: int) -> list[Wish]:
        return self.given.get(ts, [])


class Wishes:
    """A planner that is told: so money alone is looked at."""

    def __init__(self, said: Said) -> None:
        self.said = said

    def advance(self, row: int, ts: int, bars: np.ndarray, marks: np.ndarray) -> Weights:
        wishes = sorted(self.said.at(ts))
        columns = [np.array([w[k] for w in wishes], np.int64) for k in range(2)]
        return Weights(np.full(len(wishes), row, np.int64), *columns, np.array([w[2] for w in wishes], np.float64))

    def found(self) -> Findings:
        return NOTHING_FOUND

    def recall(self, found: Findings) -> None:
        raise NotImplementedError

    def quarantine(self, m: int) -> None:
        raise NotImplementedError

    def save(self) -> bytes:
        return b""

    def load(self, saved: bytes) -> None: ...


def setup_of(protected: bool, margin: bool, limit: bool, carry: bool = False) -> Setup:
    """An account with or without stops, on margin or in cash, with market or limit orders.

    carry   funding and interest, which engine and simulated venue reckon each from its own book
    """
    costs = Costs(maker_fee=0.0005, taker_fee=0.001, half_spread=0.0002, participation=0.2, liquidation=0.01)
    if carry:
        costs = costs._replace(funding=1e-3, borrow=0.5, margin_interest=0.5)
    kind = {"kind": "perpetual", "initial_margin": 0.2, "maintenance_margin": 0.6} if margin else {}
    instruments = tuple(Instrument(symbol=s, lot_size=0.01, **kind) for s in SYMBOLS)
    limits = Limits(stop_loss=0.02, take_profit=0.03, trailing_stop=0.05) if protected else Limits()
    limits = limits._replace(gross_leverage=4.0 if margin else 1.5, max_weight=3.0 if margin else 1.0)
    style = Style(LIMIT if limit else MARKET, 0.002, GTC, 0, 0, 0, 0.0, 7)
    setup = Setup(terms_of(instruments, (costs,) * len(SYMBOLS)), limits, style, 100_000.0, MODELS)
    bars = np.ones((1, len(SYMBOLS), len(BAR_FIELDS)))
    return complete(setup, build_market(Panel(np.array([FIRST]), instruments, BAR_FIELDS, bars, "1h")))


def state_of(setup: Setup, said: Said) -> core.State:
    """The account before its first row."""
    mine = live_setup(setup)
    book = open_book(mine.capital, mine.terms, mine.models)
    return core.begin(mine, Tape(BAR_FIELDS, mine, LENGTH, np.empty(0, np.int64)), book, Wishes(said), "T-")


def venue_of(setup: Setup) -> PaperVenue:
    mine = live_setup(setup)
    book = open_book(mine.capital, mine.terms, mine.models)
    return PaperVenue(mine, book, Tape(BAR_FIELDS, mine, LENGTH, np.empty(0, np.int64)))


class Line(PaperLink):
    """What is between an engine and its venue; faults are placed, not drawn.

    fates    of the next orders and cancels: "", "lost" (it does not arrive) or "unanswered"
    spoil    of the next row's reports, one after the other and then from the first again: "", "drop", "late", "twice"
    turn     by how many places the next row's reports are turned round
    cut      nothing goes through until it is healed
    mute     the next row's reports do not; everything else does
    guard    is asked before anything is let through
    """

    def __init__(self, venue: PaperVenue, guard: Callable[[Order_], None]) -> None:
        super().__init__(venue)
        self.guard = guard
        self.fates: deque[str] = deque()
        self.spoil: list[str] = []
        self.turn = 0
        self.mute = False
        self.late: list[Report] = []
        self.arrived: list[Order_] = []

    def heal(self) -> None:
        self.fates.clear()
        self.spoil, self.turn, self.cut, self.mute = [], 0, 0, False

    async def send(self, command: Order_) -> list[Report]:
        self._reach()
        self.guard(command)
        ours = isinstance(command, (Submit, Cancel)) and command.slot == TARGET  # others the venue makes itself
        fate = self.fates.popleft() if self.fates and ours else ""
        if fate == "lost":
            raise Ambiguous("no answer")
        self.arrived.append(command)
        reports = self.venue.send(command)
        if fate == "unanswered":
            raise Ambiguous("no answer")
        return reports

    async def row(self, ts: int, bars: np.ndarray) -> list[Report]:
        reports = self.venue.row(ts, bars)
        mute, self.mute = self.mute, False
        if self.cut or mute:
            raise Unreachable("the line is cut")
        found, self.late = self.late, []
        for k, report in enumerate(reports):
            fate = self.spoil[k % len(self.spoil)] if self.spoil else ""
            if fate == "late":
                self.late.append(report)
            elif fate != "drop":
                found += [report] * (2 if fate == "twice" else 1)
        turn = self.turn % len(found) if found else 0
        self.spoil, self.turn = [], 0
        return found[turn:] + found[:turn]

    async def reports(self) -> AsyncIterator[Report]:
        """What is late is said by `World.speak`, between two rows."""
        for report in list[Report]():
            yield report


class World:
    """An engine, its journal on disk, its venue, and who watches that what must hold does."""

    def __init__(
        self,
        folder: Path,
        setup: Setup,
        habits: Habits | None = None,
        venue: PaperVenue | None = None,
        said: Said | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.path, self.setup = folder, folder / "journal", setup
        self.habits = habits or Habits(snapshot_every=3)
        self.said = said or Said()
        self.rows: list[GridRow] = []
        self.begun = FIRST  # instant of the first of them
        self.clock = FIRST
        self.line = Line(venue or venue_of(setup), self.guard)
        self.tried: set[str] = set()
        self.alerts: list[str] = []
        self.points: dict[str, int] = {}
        self.crashes: dict[str, int] = {}
        self._armed: tuple[str, int] = ("", 0)
        self._loop = asyncio.new_event_loop()
        self.start()

    # --- life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """A process begins: its state is what the journal says, with and without its snapshot."""
        self.journal = open_journal(self.path, "chaos")
        if self.journal.head[0] == 0:
            self.journal.append([Entry(0, Started(run_id="r", code_version="1", symbols=SYMBOLS, fields=BAR_FIELDS))])

        def begin() -> core.State:
            return state_of(self.setup, self.said)

        state = fold_journal(self.path, begin, NAMES).state
        whole = fold_journal(self.path, begin, NAMES, whole=True).state
        assert save(whole) == save(state), "a snapshot spares time and changes nothing"
        self.shadow = state_of(self.setup, self.said)
        self.followed = 0
        self.reader = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
        ledger = Ledger(state, self.journal, NAMES, self, self.now, self.passed)
        self.shell = shell_of(ledger, self.line, self, self.folder, self.habits)  # type: ignore[arg-type]  # rows are given by hand: there is no feed
        self.follow()

    def now(self) -> int:
        """A clock that never says the same twice."""
        self.clock += 1
        return max(self.clock, 0)

    def stop(self) -> None:
        """The process is gone; what it had not made durable is lost."""
        self.journal.close()
        self.reader.close()

    def close(self) -> None:
        self.stop()
        self._loop.close()

    def arm(self, point: str, count: int) -> None:
        """Crash when a point of the shell is passed for the count-th time from now."""
        self._armed = (point, count)

    def passed(self, point: str) -> None:
        self.points[point] = self.points.get(point, 0) + 1
        name, count = self._armed
        if point == name:
            self._armed = (name, count - 1)
            if count <= 1:
                self._armed = ("", 0)
                self.crashes[point] = self.crashes.get(point, 0) + 1
                raise Crash(point)

    def do(self, what: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Let the engine do something; True: it has crashed, and another process has taken over."""
        try:
            self._loop.run_until_complete(what())
        except Crash:
            self.restart()
            return True
        return False

    def restart(self, point: str = "") -> None:
        """Another process takes over, and is given the rows that the last one had not decided; point: at which it
        crashes too, while it takes over."""
        self.stop()
        self.start()
        self._armed = (point, 1)
        if not self.do(self.shell.begin):
            self._armed = ("", 0)
            self.catch_up()

    def catch_up(self) -> None:
        last = last_row(self.path)
        for row in self.rows:
            if row.ts > last and self.do(lambda row=row: self.shell.decide(row)):  # type: ignore[misc]
                return

    def row(self, bars: np.ndarray, wishes: list[Wish], absent: bool = False) -> None:
        """A row of the market; absent: the engine is not there to see it, and is given it later."""
        ts = self.begun + len(self.rows) * LENGTH
        self.said.given[ts] = wishes
        self.rows.append(GridRow(ts, bars))
        self.clock += LENGTH
        if absent:
            self.line.venue.row(ts, bars)
            return
        self.catch_up()

    def reconcile(self) -> None:
        self.do(lambda: self.shell.line.reconcile("now"))

    def speak(self) -> None:
        """The venue says of its own accord what is late, the last first, and says it again with the next row."""
        for report in reversed(self.line.late):
            self.do(lambda report=report: self.shell.line.send(self.shell.line.told([report])))  # type: ignore[misc]

    def look(self) -> None:
        """The engine looks at what people have ordered."""
        self.do(self.shell._look)

    # --- who watches -------------------------------------------------------------------------------------------------

    def booked(self, entries: Sequence[Entry]) -> None:
        self.follow()

    def recorded(self, record: core.Record) -> None: ...

    def alerted(self, ts: int, text: str) -> None:
        self.alerts.append(text)

    def decided(self, state: core.State, row: int, latency: float) -> None: ...

    def ticked(self, shell: Shell) -> None: ...

    def follow(self) -> None:
        """At every commit the fold of the journal is the live state, byte for byte."""
        for event in read(self.path, self.followed + 1):
            self.followed = event.seq
            for told in events_of(event, NAMES):
                self.shadow, _ = core.handle(self.shadow, told)
        assert save(self.shadow) == save(self.shell.state)

    def guard(self, command: Order_) -> None:
        """What must hold of an order that is about to be on its way."""
        if isinstance(command, Cancel):
            self.durable("cancel", f"{command.cid}-cancel-{command.attempt}")
        if not isinstance(command, Submit):
            return
        cid, order = command.cid, command.order
        self.durable("order", cid)
        assert cid not in self.tried, "an id is sent once"
        self.tried.add(cid)
        if command.slot != TARGET:
            return
        state, i = self.shell.state, order.instrument
        held = int(state.book.positions[i]["lots"])
        if killswitch.thrown(self.folder) is not None or state.book.head[0]["killed"]:
            assert order.reduce_only, "killed: only what reduces"
            assert held * order.lots < 0
            assert abs(order.lots) <= abs(held)
        assert state.is_up or order.reduce_only, "what happened is not known: only what reduces"
        doubts = [s.left for s in state.sent.values() if s.is_leaving and s.instrument == i and s.slot == TARGET]
        for possible in _extremes(held, doubts):
            if any(doubts):
                assert possible * order.lots < 0, "in doubt: only what makes every possible position smaller"
                assert abs(order.lots) <= abs(possible)

    def durable(self, kind: str, key: str) -> None:
        """What is about to be sent is in the journal, where another process reads it."""
        query = "SELECT 1 FROM events WHERE kind = ? AND key = ?"
        assert self.reader.execute(query, (kind, key)).fetchone(), f"{key} is durable before it is sent"

    def settle(self) -> None:
        """The faults are over: then soon nothing is in doubt, and the books agree."""
        self.line.heal()
        self._armed = ("", 0)
        last = self.rows[-1].bars if self.rows else np.ones((len(SYMBOLS), len(BAR_FIELDS)))
        for _ in range(3):
            self.row(last.copy(), [])
        self.reconcile()
        head = self.journal.head
        self.reconcile()
        assert self.journal.head == head, "to reconcile twice is to reconcile once"
        self.agree()

    def agree(self) -> None:
        """Engine and venue say the same, and each trade is in the journal once."""
        assert not self.shell.halted or self.shell.state.book.head[0]["killed"], self.shell.halted
        assert not [text for text in self.alerts if "differ" in text or "reconciled" in text], self.alerts
        trades = [r.trade_id for r in self.line.venue.since("")]
        assert sorted(trades, key=int) == sorted(self.trades(), key=int), "every trade is applied once"
        self.equal()

    def trades(self) -> list[str]:
        """Trade ids of the journal."""
        kinds = ("fill", "liquidation")
        return [e.body.trade_id for e in read(self.path) if type(e.body).__struct_config__.tag in kinds]  # type: ignore[union-attr]

    def equal(self) -> None:
        """The books of engine and venue hold the same, and nothing is in doubt."""
        state, venue = self.shell.state, self.line.venue
        book, truth = state.book, venue.book
        assert book.positions["lots"].tolist() == truth.positions["lots"].tolist()
        scale = abs(float(truth.head[0]["equity"])) + abs(float(truth.cash[0]))
        assert math.isclose(book.cash[0], truth.cash[0], rel_tol=0.0, abs_tol=1e-9 * scale)
        orders = {
            core.cid_of(state, int(o["order_id"])): int(o["lots"] - o["filled"])
            for o, p in zip(book.orders[:, TARGET], book.positions, strict=True)
            if int(p["live"]) & 1
        }
        assert orders == venue.snapshot().orders
        assert _left(book) == _left(truth), "also those of which the venue has no id"
        assert _protection(book) == _protection(truth), "what protects a position stands at the venue"
        assert {cid for cid, s in state.sent.items() if s.slot == TARGET} == set(orders)
        assert not any(s.is_leaving for s in state.sent.values())
        assert not book.unsure.any()
        assert state.is_up
        for i in range(len(SYMBOLS)):
            assert math.isclose(book.held[:, i].sum(), book.positions[i]["lots"], abs_tol=1e-6)
        report = verify(self.path)
        assert report.whole, report.faults


def _left(book: Book) -> list[int]:
    """Lots of the target order of each instrument that may still fill."""
    orders, live = book.orders[:, TARGET], book.positions["live"] & 1
    return ((orders["lots"] - orders["filled"]) * live).tolist()


def _protection(book: Book) -> list[tuple[int, int, int]]:
    """Instrument, slot and lots left of each order that protects a position."""
    open_ = np.argwhere(book.positions["live"][:, None] >> np.arange(SLOTS) & 1)
    orders = book.orders["lots"] - book.orders["filled"]
    return [(int(i), int(slot), int(orders[i, slot])) for i, slot in open_ if slot != TARGET]


def _extremes(held: int, doubts: list[int]) -> set[int]:
    """The smallest and largest of what may be held if any of the doubts have come true."""
    return {held + sum(d for d in doubts if d < 0), held + sum(d for d in doubts if d > 0)}


def bars_of(prices: Sequence[float], moves: Sequence[float], volumes: Sequence[float]) -> np.ndarray:
    """One bar per instrument from its last price: it moves, and reaches a little beyond; volume < 0: there is none."""
    bars = np.full((len(prices), len(BAR_FIELDS)), np.nan)
    for i, (price, move, volume) in enumerate(zip(prices, moves, volumes, strict=True)):
        if volume >= 0.0:
            close = price * (1.0 + move)
            high, low = max(price, close) * 1.004, min(price, close) * 0.996
            bars[i] = price, high, low, close, volume, LENGTH
    return bars


def throw(world: World, flatten: bool) -> None:
    control.kill(world.folder, "a test", flatten)
