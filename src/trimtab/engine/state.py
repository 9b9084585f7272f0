"""What an engine's core is told, what it orders, and an account as it stands: the nouns of the core."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from trimtab.engine.findings import NOTHING_FOUND, Findings
from trimtab.rules.book import TARGET, Book, Log, Setup, new_log
from trimtab.rules.bound import Bound
from trimtab.rules.tape import Tape
from trimtab.types import F64, Weights
from trimtab.venues import Amend, Cancel, Decided, Filled, Liquidated, Report, Submit, Working

# --- events that no venue reports ------------------------------------------------------------------------------------


class Bars(NamedTuple):
    """A row of the grid has closed; bars (N, K), NaN: not observed."""

    ts: int
    bars: F64


class Warm(NamedTuple):
    """A row that the models see and nobody trades: it only brings them to where they would be, had they run before.

    found  when it is folded again: what the models did then, see `Close`
    """

    ts: int
    bars: F64
    found: Findings = NOTHING_FOUND


class Quote(NamedTuple):
    """The best prices of an instrument between two rows. What a decision may use of them is in its row's bars."""

    instrument: int
    bid: float
    ask: float
    ts: int


class Trade(NamedTuple):
    """Somebody traded an instrument between two rows, at a price."""

    instrument: int
    price: float
    ts: int


class Close(NamedTuple):
    """All that the venues had to say of the row was said: it is decided.

    found  when it is folded again: what the models did then beside what its bars make them do
    """

    ts: int
    found: Findings = NOTHING_FOUND


class Command(NamedTuple):
    """What a person orders: kill, flatten, resume, withdraw (every order that is no protection); or quarantine of a
    model, which a watchdog may order too."""

    word: str
    reason: str
    ts: int
    model: int = -1


class VenueState(NamedTuple):
    """The venue can be reached again, or no longer."""

    is_up: bool
    reason: str
    ts: int


class Adjusted(NamedTuple):
    """The venue's truth adopted: lots that the book did not know of, at a price, and cash by wallet."""

    adjustment_id: str
    instrument: int  # -1: cash only
    lots: int
    price: float
    wallet: int
    amount: float
    ts: int


Event = Bars | Warm | Quote | Trade | Close | Command | VenueState | Adjusted | Report

# --- commands --------------------------------------------------------------------------------------------------------


class Halt(NamedTuple):
    """Trading has stopped until a person resumes it."""

    reason: str


class Alert(NamedTuple):
    """A person should know."""

    text: str


class Ask(NamedTuple):
    """What is known of an order does not add up: its venue has to be asked, for its fills too."""

    cid: str


class Record(NamedTuple):
    """What the book wrote down: record arrays of rules.book; rows are counted from the account's first."""

    orders: NDArray[np.void]
    fills: NDArray[np.void]
    shares: F64
    actions: NDArray[np.void]


EngineCommand = Submit | Cancel | Amend | Decided | Halt | Alert | Ask | Record


class Wants(Protocol):
    """What the models want, fed one row at a time; `engine.planner` is one."""

    def advance(self, row: int, ts: int, bars: F64, marks: F64) -> Weights: ...

    def found(self) -> Findings: ...

    def recall(self, found: Findings) -> None: ...

    def quarantine(self, m: int) -> None: ...

    def save(self) -> bytes: ...

    def load(self, saved: bytes) -> None: ...


#: A row at which no weight is new.
_NO_ROWS: Final = np.empty(0, np.int64)
NOTHING_NEW: Final = Weights(_NO_ROWS, _NO_ROWS, _NO_ROWS, np.empty(0))


@dataclass(slots=True)
class Sent:
    """An order that a venue may hold: not known to have ended. `record` is its line in the book's table."""

    order_id: int
    instrument: int
    slot: int
    record: NDArray[np.void]
    is_leaving: bool = False  # withdrawn by us, or its outcome is not known: it no longer stands in its slot
    cancels: int = 0  # times that it was withdrawn
    row: int = -1  # at which it began to leave

    @property
    def left(self) -> int:
        """Signed lots that may still fill."""
        return int(self.record["lots"] - self.record["filled"])

    def cancel(self, cid: str) -> Cancel:
        """Withdraw it, each time under another number."""
        self.cancels += 1
        return Cancel(cid, self.instrument, self.slot, self.cancels)


#: Trade ids that are remembered, so that a fill that comes again is not booked again; the journal knows all of them.
REMEMBERED: Final = 100_000
#: Orders whose late fills are still known for what they are.
_LATE: Final = 1_000
#: Numbers of orders to come that a venue is asked about.
_AHEAD: Final = 8


@dataclass(slots=True)
class State:
    """An account as it stands.

    setup    terms, limits and style, as the rules read them
    tape     the last rows of the market
    planner  what the models want
    prefix   of the client order ids of this account
    sent     client order id -> an order that a venue may hold
    splits   instrument -> when its last split opened, ns UTC, and new shares per old one
    """

    setup: Setup
    tape: Tape
    book: Book
    planner: Wants
    prefix: str
    log: Log
    bound: Bound  # of book, log, market and set-up
    bars: F64
    said: Weights = NOTHING_NEW  # by the models, at the last row
    standing: F64 | None = None  # (M, N) what they wanted when the first row that is traded came; NaN: nothing
    prices: dict[int, float] = field(default_factory=dict[int, float])  # of instruments since the last row, to be shown
    sent: dict[str, Sent] = field(default_factory=dict[str, Sent])
    seen: dict[str, None] = field(default_factory=dict[str, None])
    gone: dict[str, Sent] = field(default_factory=dict[str, Sent])  # that have ended, of late: fills may still come
    splits: dict[int, tuple[int, float]] = field(default_factory=dict[int, tuple[int, float]])  # see heard.split_sent
    protects: bool = True  # limits place orders of their own at the venue
    numbered: int = 0  # the last order id that was told
    is_open: bool = False  # a row is open: its close is still to come
    is_up: bool = True
    is_recorded: bool = True  # what the book wrote down is given away; False: forgotten


def begin(setup: Setup, tape: Tape, book: Book, planner: Wants, prefix: str) -> State:
    """An account before its first row."""
    n, m = len(setup.terms), setup.models
    log = new_log(1, n, m, 0, np.empty(0, np.int64))
    limits = setup.limits
    return State(
        setup, tape, book, planner, prefix, log, Bound(book, log, tape.market, setup), np.empty((n, 0)),
        protects=min(limits.stop_loss, limits.take_profit, limits.trailing_stop) < np.inf,
    )  # fmt: skip


def cid_of(state: State, order_id: int) -> str:
    """The client order id of an order: one attempt, one id; the book never counts a number twice."""
    return f"{state.prefix}{order_id:010d}"


def number_of(state: State, cid: str) -> int:
    """The order's number in a client order id of this account; 0: it is not one."""
    number = cid.removeprefix(state.prefix)
    return int(number) if cid.startswith(state.prefix) and number.isdigit() else 0


# --- orders that may still fill ---------------------------------------------------------------------------------------


def forget(state: State, cid: str) -> None:
    """An order has ended; a fill that was on its way may still come."""
    state.gone[cid] = state.sent.pop(cid)
    if len(state.gone) > 2 * _LATE:  # many at a time: a dict looks for its first key among all that it has lost
        for old in list(itertools.islice(state.gone, _LATE)):
            del state.gone[old]


def count(state: State) -> None:
    """Into book.unsure: what may have filled, or may yet, of orders that no longer stand in their slots."""
    book = state.book
    book.unsure[:] = 0
    for sent in state.sent.values():
        if sent.is_leaving and sent.slot == TARGET:
            book.unsure[int(sent.left > 0), sent.instrument] += sent.left
    book.head[0]["unsure"] = int(np.count_nonzero(book.unsure.any(axis=0)))


# --- what a venue has to be asked -------------------------------------------------------------------------------------


#: How many trades a venue is asked for once more, first and when that did not do: reports may have been lost since.
LOOKS: Final = (100, 10_000, REMEMBERED)


def known_trade(state: State, back: int) -> str:
    """The trade after which a venue is to be asked for more: so many back, because the last ones may have come in
    another order than they happened, and some not at all; empty: from the first."""
    if len(state.seen) < min(back, REMEMBERED):
        return ""
    trades = [key for key in itertools.islice(reversed(state.seen), back) if " " not in key]
    # What was forgotten must not be taken for new.
    return trades[-min(LOOKS[0], len(trades))] if back >= REMEMBERED and trades else next(reversed(trades), "")


def next_cids(state: State, numbered: int) -> list[str]:
    """Ids of the orders behind a number. A venue that knows one which is still to come has it from a journal that has
    lost its end."""
    return [cid_of(state, numbered + k) for k in range(1, _AHEAD + 1)]


def last_number(state: State) -> int:
    """The largest trade id of a venue that counts its trades; 0: none is known."""
    return max((int(key) for key in state.seen if key.isdigit()), default=0)


def is_news(state: State, report: Report) -> bool:
    """Does a report say what the account does not know yet?"""
    if isinstance(report, (Filled, Liquidated)):
        return report.trade_id not in state.seen
    if isinstance(report, Working):
        sent = state.sent.get(report.cid)
        if sent is not None and not sent.is_leaving:
            order = state.book.orders[sent.instrument, sent.slot]
            now = (report.arrived, report.day, report.triggered, report.reason, report.waited)
            names = ("arrived", "day", "triggered", "reason", "waited")
            return order["order_id"] != sent.order_id or now != tuple(int(order[name]) for name in names)
    return True


def own(records: NDArray[np.void]) -> NDArray[np.void]:
    """Records, or one, in memory of their own; numpy would copy them field by field, ten times as slowly."""
    made = np.frombuffer(bytearray(records.tobytes()), records.dtype)
    return made if records.ndim else made[0]
