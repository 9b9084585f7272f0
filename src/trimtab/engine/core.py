"""The core of an engine: what each event makes of the account, and what is to be done about it. Pure.

    state, commands = handle(state, event)

No clock, no I/O, no randomness and no ids are in here: instants come with events, order ids from the book's counter.
So an account is a fold of its events, and whoever folds the same events again has the same account and gives the same
orders. A state that went in must not be used again: `handle` writes to its memory and gives it back.

The rules are those of the backtest (`rules`): a row is opened, what the venue reports of it is applied, and at its
close it is judged and decided on.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from trimtab.rules.book import SLOTS, TARGET, Book, Log, Setup, new_log
from trimtab.rules.breakers import kill, revive
from trimtab.rules.decide import decide
from trimtab.rules.fills import Execution
from trimtab.rules.orders import NO_REASON, NOT_KNOWN, WITHDRAWN
from trimtab.rules.reports import (
    accept,
    end_row,
    open_row,
    report_cash,
    report_cross,
    report_end,
    report_fill,
    report_liquidation,
    report_working,
)
from trimtab.rules.tape import Tape
from trimtab.types import F64, FILLED, GTC, MARKET, Order, TrimtabError, Weights
from trimtab.venues import (
    Amend,
    Cancel,
    Cash,
    Crossed,
    Decided,
    Ended,
    Filled,
    Liquidated,
    Report,
    Submit,
    Unknown,
    Working,
)

# --- events that no venue reports ------------------------------------------------------------------------------------


class Bars(NamedTuple):
    """A row of the grid has closed; bars (N, K), NaN: not observed."""

    ts: int
    bars: F64


class Close(NamedTuple):
    """All that the venues had to say of the row was said: it is decided."""

    ts: int


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


Event = Bars | Close | Command | VenueState | Adjusted | Report

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

    @property
    def left(self) -> int:
        """Signed lots that may still fill."""
        return int(self.record["lots"] - self.record["filled"])


#: Trade ids that are remembered, so that a fill that comes again is not booked again; the journal knows all of them.
_REMEMBERED: Final = 100_000
#: Orders whose late fills are still known for what they are, and trades that are asked for once more.
_LATE: Final = 1_000
_OVERLAP: Final = 100


@dataclass(slots=True)
class State:
    """An account as it stands.

    setup    terms, limits and style, as the rules read them
    tape     the last rows of the market
    planner  what the models want
    prefix   of the client order ids of this account
    sent     client order id -> an order that a venue may hold
    """

    setup: Setup
    tape: Tape
    book: Book
    planner: Wants
    prefix: str
    log: Log
    bars: F64
    said: Weights = NOTHING_NEW  # by the models, at the last row
    sent: dict[str, Sent] = field(default_factory=dict[str, Sent])
    seen: dict[str, None] = field(default_factory=dict[str, None])
    gone: dict[str, Sent] = field(default_factory=dict[str, Sent])  # that have ended, of late: fills may still come
    numbered: int = 0  # the last order id that was told
    is_open: bool = False  # a row is open: its close is still to come
    is_up: bool = True


def begin(setup: Setup, tape: Tape, book: Book, planner: Wants, prefix: str) -> State:
    """An account before its first row."""
    n, m = len(setup.terms), setup.models
    log = new_log(1, n, m, 0, np.empty(0, np.int64))
    return State(setup, tape, book, planner, prefix, log, np.empty((n, 0)))


def cid_of(state: State, order_id: int) -> str:
    """The client order id of an order: one attempt, one id; the book never counts a number twice."""
    return f"{state.prefix}{order_id:010d}"


def handle(state: State, event: Event) -> tuple[State, list[EngineCommand]]:
    """The account after an event, and what is to be done: sent in this order, after all of it is durable."""
    return state, _HANDLERS[type(event)](state, event)


# --- rows ------------------------------------------------------------------------------------------------------------


def _bars(state: State, event: Bars) -> list[EngineCommand]:
    if state.is_open:
        raise TrimtabError(f"row {event.ts} came before the one of {state.tape.ts} was closed")
    bars = np.array(event.bars, np.float64, order="C")  # a feed's memory may be read-only, which is another type
    t = state.tape.lay(event.ts, bars, (state.book,))
    state.bars, state.is_open = bars, True
    if state.tape.is_due():
        open_row(state.book, state.tape.market, state.setup, t)
    return []


def _close(state: State, event: Close) -> list[EngineCommand]:
    tape, book = state.tape, state.book
    if not state.is_open or event.ts != tape.ts:
        raise TrimtabError(f"there is no open row of {event.ts} to close")
    t, market = tape.t, tape.market
    weights = state.said = state.planner.advance(t, event.ts, state.bars, market.mark[t])
    decided = end_row(book, state.log, weights, market, state.setup, t, tape.is_due())
    tape.turn_day()
    state.is_open = False
    return _commands(state, bool(decided))


# --- reports ---------------------------------------------------------------------------------------------------------


def _filled(state: State, event: Filled) -> list[EngineCommand]:
    if not _is_new(state, event.trade_id):
        return []
    i, slot = event.instrument, event.slot
    order = state.book.orders[i, slot]
    live = int(state.book.positions[i]["live"]) >> slot & 1
    if live and (slot != TARGET or cid_of(state, int(order["order_id"])) == event.cid):
        _fill(state, event)
        return _commands(state, False)
    sent = state.sent.get(event.cid) or state.gone.get(event.cid)
    if sent is not None:
        _stray(state, event, sent)
        _count(state)
        return _commands(state, False)
    return [Alert(f"a fill of an order that is not ours, or long gone: {event.cid or 'no id'}, {event.lots} lots")]


def _fill(state: State, event: Filled) -> None:
    tape = state.tape
    report_fill(
        state.book, state.log, tape.market, state.setup, tape.t, event.instrument, event.slot, event.lots, event.done,
        event.reason, event.waited, event.ts,
    )  # fmt: skip


def _stray(state: State, event: Filled, sent: Sent) -> None:
    """A fill of an order that no longer stands in its slot: it does for as long as this takes."""
    book, i, slot = state.book, sent.instrument, sent.slot
    position = book.positions[i]
    kept, live = book.orders[i, slot].copy(), int(position["live"])
    book.orders[i, slot] = sent.record
    position["live"] = live | 1 << slot
    _fill(state, event)
    sent.record = book.orders[i, slot].copy()
    if live >> slot & 1:
        book.orders[i, slot] = kept
        position["live"] = int(position["live"]) | 1 << slot
    else:
        position["live"] = int(position["live"]) & ~(1 << slot)
    _look_again(state, i)


def _look_again(state: State, i: int) -> None:
    """Something happened to an instrument that no decision foresaw: the next row decides on it."""
    state.book.dirty[i] = 1
    state.book.head[0]["retry"] = 1


def _ended(state: State, event: Ended) -> list[EngineCommand]:
    sent = state.sent.get(event.cid)
    if sent is None:
        return []
    if event.reason == NO_REASON and _left(state, sent) != 0:
        return [Ask(event.cid)]  # it has filled, and not all of its fills have come
    _forget(state, event.cid)
    order = state.book.orders[sent.instrument, sent.slot]
    live = int(state.book.positions[sent.instrument]["live"]) >> sent.slot & 1
    if live and order["order_id"] == sent.order_id:
        report_end(state.book, state.log, sent.instrument, sent.slot, event.reason, event.waited, event.ts)
        sent.record = order.copy()
    elif sent.is_leaving:
        _count(state)
        if sent.record["reason"] == NOT_KNOWN:
            _look_again(state, sent.instrument)
    return _commands(state, False)


def _forget(state: State, cid: str) -> None:
    """An order has ended; a fill that was on its way may still come."""
    state.gone[cid] = state.sent.pop(cid)
    if len(state.gone) > _LATE:
        del state.gone[next(iter(state.gone))]


def _left(state: State, sent: Sent) -> int:
    """Lots of an order that may still fill, as the book counts them."""
    order = state.book.orders[sent.instrument, sent.slot]
    record = order if order["order_id"] == sent.order_id else sent.record
    return int(record["lots"] - record["filled"])


def _working(state: State, event: Working) -> list[EngineCommand]:
    i, slot = event.instrument, event.slot
    if slot == TARGET:
        sent = state.sent.get(event.cid)
        if sent is None:
            return []
        if sent.is_leaving:  # it is there after all, and nobody wants it any more
            return [Cancel(event.cid, i, slot)]
        if state.book.orders[i, slot]["order_id"] != sent.order_id:
            return []
    if not int(state.book.positions[i]["live"]) >> slot & 1:
        return []
    report_working(state.book, i, slot, event.arrived, event.day, event.triggered, event.reason, event.waited)
    return []


def _unknown(state: State, event: Unknown) -> list[EngineCommand]:
    """Whether an order stands, has filled or never arrived is not known: until then, any of it may be true."""
    sent = state.sent.get(event.cid)
    if sent is None or sent.is_leaving:
        return []
    i, slot = sent.instrument, sent.slot
    sent.is_leaving = True
    if slot == TARGET and state.book.orders[i, slot]["order_id"] == sent.order_id:
        report_end(state.book, state.log, i, slot, NOT_KNOWN, NO_REASON, event.ts)
        sent.record = state.book.orders[i, slot].copy()
    _count(state)
    return [Alert(f"order {event.cid}: nobody can say what became of it; it is asked for and not sent again")]


def _count(state: State) -> None:
    """Into book.unsure: what may have filled, or may yet, of orders that no longer stand in their slots."""
    book = state.book
    book.unsure[:] = 0
    for sent in state.sent.values():
        if sent.is_leaving and sent.slot == TARGET:
            book.unsure[sent.instrument] += sent.left
    book.head[0]["unsure"] = int(np.count_nonzero(book.unsure))


def _crossed(state: State, event: Crossed) -> list[EngineCommand]:
    tape = state.tape
    report_cross(state.book, state.log, tape.market, state.setup, tape.t, event.instrument, event.mid, event.ts)
    return _commands(state, False)


def _liquidated(state: State, event: Liquidated) -> list[EngineCommand]:
    if not _is_new(state, event.trade_id):
        return []
    tape = state.tape
    report_liquidation(state.book, state.log, tape.market, state.setup, tape.t, event.instrument, event.price, event.ts)
    return _commands(state, False)


def _cash(state: State, event: Cash) -> list[EngineCommand]:
    if event.flow_id and not _is_new(state, f"cash {event.flow_id}"):
        return []
    report_cash(state.book, state.tape.market, state.tape.t, event.wallet, event.amount)
    return []


def _is_new(state: State, trade_id: str) -> bool:
    if trade_id in state.seen:
        return False
    state.seen[trade_id] = None
    if len(state.seen) > _REMEMBERED:
        del state.seen[next(iter(state.seen))]
    return True


# --- people and venues -----------------------------------------------------------------------------------------------


def _command(state: State, event: Command) -> list[EngineCommand]:
    tape, book, log = state.tape, state.book, state.log
    row = max(tape.t, 0)
    if event.word == "quarantine":
        state.planner.quarantine(event.model)
        return [Alert(f"model {event.model} is in quarantine: {event.reason}")]
    if event.word == "resume":
        revive(book, log, row, event.ts)
        return _commands(state, False)
    if event.word == "withdraw":
        for i in np.flatnonzero(book.positions["live"] & 1):
            report_end(book, log, int(i), TARGET, WITHDRAWN, NO_REASON, event.ts)
        return _commands(state, False)
    kill(book, log, row, event.ts, 1 if event.word == "flatten" else 0)
    if tape.t >= 0 and not state.is_open:  # it does not wait for the next row
        decide(book, log, NOTHING_NEW, tape.market, state.setup, tape.t, 1)
        return [*_commands(state, True), Halt(event.reason)]
    return [*_commands(state, False), Halt(event.reason)]


def _venue(state: State, event: VenueState) -> list[EngineCommand]:
    state.is_up = event.is_up
    return [] if event.is_up else [Alert(f"the venue cannot be reached: {event.reason}")]


def _adjusted(state: State, event: Adjusted) -> list[EngineCommand]:
    """Lots enter the book as if bought at a price without costs, cash as what it is."""
    if not _is_new(state, f"adjusted {event.adjustment_id}"):
        return []
    if event.instrument >= 0 and event.lots != 0:
        order = Order(
            int(state.book.head[0]["orders"]) + 1, event.ts, event.instrument, event.lots, MARKET, np.nan, np.nan, GTC,
            0, 0, 0,
        )  # fmt: skip
        _adopt(state, order, event)
    if event.amount != 0.0:
        report_cash(state.book, state.tape.market, max(state.tape.t, 0), event.wallet, event.amount)
    return _commands(state, False)


def _adopt(state: State, order: Order, event: Adjusted) -> None:
    book, i = state.book, event.instrument
    position = book.positions[i]
    kept, live = book.orders[i, TARGET].copy(), int(position["live"])
    accept(book, TARGET, order)
    state.numbered = order.order_id
    done = Execution(event.price, 0.0, 0, event.price, 0.0, 0.0, 0.0, 0.0)
    _fill(state, Filled("", "", i, TARGET, event.lots, done, event.ts))
    if live & 1:
        book.orders[i, TARGET] = kept
        position["live"] = int(position["live"]) | 1
    _look_again(state, i)


# --- what is to be done ----------------------------------------------------------------------------------------------


def known_trade(state: State) -> str:
    """The trade after which a venue is to be asked for more: some back, because the last ones may have come in another
    order than they happened; empty: from the first."""
    trades = [key for key in itertools.islice(reversed(state.seen), 2 * _OVERLAP) if " " not in key]
    return trades[_OVERLAP] if len(trades) > _OVERLAP else ""


def _commands(state: State, decided: bool) -> list[EngineCommand]:
    """What the book has changed, as commands: orders that are gone, that are new, and that are other ones."""
    log, head = state.log, state.book.head[0]
    used = log.used
    found: list[EngineCommand] = []
    if used[0]:
        found.extend(_withdrawn(state, log.orders[: used[0]]))
    if head["orders"] > state.numbered:
        gone = {c.instrument: c.cid for c in found if isinstance(c, Cancel) and c.slot == TARGET}
        found.extend(_placed(state, gone))
        state.numbered = int(head["orders"])
    if used[1]:
        found.extend(_amended(state, {int(i) for i in log.fills["instrument"][: used[1]]}))
    if decided:
        found.append(_context(state))
    if used.any():
        found.append(_record(state))
        used[:] = 0
    return found


def _withdrawn(state: State, ended: NDArray[np.void]) -> list[EngineCommand]:
    """Orders that the book has ended: those that a venue may still hold are withdrawn there."""
    found: list[EngineCommand] = []
    for order in ended:
        cid = cid_of(state, int(order["order_id"]))
        sent = state.sent.get(cid)
        if sent is None or sent.is_leaving:
            continue
        if order["status"] == FILLED or sent.slot != TARGET:
            sent.record = order.copy()
            _forget(state, cid)
            if order["status"] == FILLED:
                continue
        else:
            sent.record, sent.is_leaving = order.copy(), True
        found.append(Cancel(cid, sent.instrument, sent.slot))
    if found:
        _count(state)
    return found


def _placed(state: State, gone: dict[int, str]) -> list[EngineCommand]:
    """Orders that are new in the book."""
    orders = state.book.orders
    found: list[EngineCommand] = []
    for i, slot in np.argwhere(orders["order_id"] > state.numbered):
        order = orders[i, slot]
        if not int(state.book.positions[i]["live"]) >> int(slot) & 1:
            continue
        cid = cid_of(state, int(order["order_id"]))
        state.sent[cid] = Sent(int(order["order_id"]), int(i), int(slot), order.copy())
        placed = Order(*(order[name].item() for name in Order._fields))
        found.append(Submit(cid, int(slot), placed, gone.get(int(i), "") if slot == TARGET else ""))
    return sorted(found, key=lambda c: c.order.order_id if isinstance(c, Submit) else 0)


def _amended(state: State, instruments: set[int]) -> list[EngineCommand]:
    """Protective orders that fills have resized."""
    found: list[EngineCommand] = []
    for i in sorted(instruments):
        for slot in range(1, SLOTS):
            order = state.book.orders[i, slot]
            if not int(state.book.positions[i]["live"]) >> slot & 1:
                continue
            sent = state.sent.get(cid_of(state, int(order["order_id"])))
            if sent is None or all(sent.record[x] == order[x] for x in ("lots", "filled")):
                continue
            sent.record = order.copy()
            left = int(order["lots"] - order["filled"])
            cid = cid_of(state, sent.order_id)
            found.append(Amend(cid, i, slot, left, float(order["limit_price"]), float(order["stop_price"])))
    return found


def _context(state: State) -> Decided:
    book, head = state.book, state.book.head[0]
    stand = book.positions
    return Decided(
        book.target.copy(),
        book.goal.copy(),
        stand["scale"].copy(),
        stand["crossing"].copy(),
        stand["closing"].copy(),
        int(head["tight"]),
        float(head["equity"]),
    )


def _record(state: State) -> Record:
    """What the log holds, in memory of its own; rows are counted from the account's first."""
    log, base = state.log, state.tape.base
    orders, fills, actions = (
        table[:n].copy() for table, n in zip((log.orders, log.fills, log.actions), log.used, strict=True)
    )
    fills["row"] += base
    actions["row"] += base
    return Record(orders, fills, log.shares[: log.used[1]].copy(), actions)


_HANDLERS: Final[dict[type, Callable[[State, Any], list[EngineCommand]]]] = {
    Bars: _bars,
    Close: _close,
    Filled: _filled,
    Ended: _ended,
    Working: _working,
    Unknown: _unknown,
    Crossed: _crossed,
    Liquidated: _liquidated,
    Cash: _cash,
    Command: _command,
    VenueState: _venue,
    Adjusted: _adjusted,
}
