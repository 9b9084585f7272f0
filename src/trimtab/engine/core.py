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
from operator import itemgetter
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from trimtab.rules.book import ORDER, SLOTS, TARGET, Book, Log, Setup, new_log
from trimtab.rules.breakers import kill, revive
from trimtab.rules.decide import decide
from trimtab.rules.fills import Execution
from trimtab.rules.orders import NO_REASON, NOT_KNOWN, NOT_PLACED, WITHDRAWN, WITHHELD
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
_REMEMBERED: Final = 100_000
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
    is_recorded: bool = True  # what the book wrote down is given away; False: forgotten


def begin(setup: Setup, tape: Tape, book: Book, planner: Wants, prefix: str) -> State:
    """An account before its first row."""
    n, m = len(setup.terms), setup.models
    log = new_log(1, n, m, 0, np.empty(0, np.int64))
    return State(setup, tape, book, planner, prefix, log, np.empty((n, 0)))


def cid_of(state: State, order_id: int) -> str:
    """The client order id of an order: one attempt, one id; the book never counts a number twice."""
    return f"{state.prefix}{order_id:010d}"


def number_of(state: State, cid: str) -> int:
    """The order's number in a client order id of this account; 0: it is not one."""
    number = cid.removeprefix(state.prefix)
    return int(number) if cid.startswith(state.prefix) and number.isdigit() else 0


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
    _learn(state, event.cid)
    _supposed(state, event)
    what = "of an order that protects" if slot != TARGET else f"of {event.cid or 'an order without an id'}"
    return [*_commands(state, False), Alert(f"a fill of {event.lots} lots {what}, which the book did not know of")]


def _fill(state: State, event: Filled) -> None:
    tape = state.tape
    report_fill(
        state.book, state.log, tape.market, state.setup, tape.t, event.instrument, event.slot, event.lots, event.done,
        event.reason, event.waited, event.ts,
    )  # fmt: skip


def _stray(state: State, event: Filled, sent: Sent) -> None:
    """A fill of an order that no longer stands in its slot: it does for as long as this takes."""
    book, i, slot = state.book, sent.instrument, sent.slot
    kept, live = _own(book.orders[i, slot]), int(book.positions[i]["live"]) >> slot & 1
    book.orders[i, slot] = sent.record
    book.positions[i]["live"] |= 1 << slot
    _fill(state, event)
    sent.record = _own(book.orders[i, slot])
    _put_back(state, i, slot, kept, live)


def _supposed(state: State, event: Filled) -> None:
    """A fill of an order that the book has not: one is made for it. What a venue has traded for us is ours."""
    book, i, slot = state.book, event.instrument, event.slot
    kept, live = _own(book.orders[i, slot]), int(book.positions[i]["live"]) >> slot & 1
    number = int(book.head[0]["orders"]) + 1
    accept(book, slot, Order(number, event.ts, i, event.lots, MARKET, np.nan, np.nan, GTC, 0, 0, 0))
    state.numbered = number
    _fill(state, event)
    _put_back(state, i, slot, kept, live)


def _put_back(state: State, i: int, slot: int, kept: NDArray[np.void], live: int) -> None:
    """What stood in a slot stands there again; a protective order's is left to what the fill has made of it."""
    book = state.book
    if slot == TARGET:
        position = book.positions[i]
        position["live"] = int(position["live"]) & ~1 | live
        if live:
            book.orders[i, slot] = kept
            names = ("arrived", "day", "triggered", "reason", "waited")
            report_working(book, i, slot, *(int(kept[name]) for name in names))  # its band
    _look_again(state, i)


def _learn(state: State, cid: str) -> None:
    """An id of ours that the journal does not know: it has lost its end. Numbers go on behind it."""
    number = number_of(state, cid)
    head = state.book.head[0]
    if number > int(head["orders"]):
        head["orders"] = state.numbered = number


def _look_again(state: State, i: int) -> None:
    """Something happened to an instrument that no decision foresaw: the next row decides on it."""
    state.book.dirty[i] = 1
    state.book.head[0]["retry"] = 1


def _ended(state: State, event: Ended) -> list[EngineCommand]:
    sent = state.sent.get(event.cid)
    if sent is None:
        _learn(state, event.cid)
        return []
    if event.reason == NO_REASON and _left(state, sent) != 0:
        return [Ask(event.cid)]  # it has filled, and not all of its fills have come
    _forget(state, event.cid)
    i = sent.instrument
    order = state.book.orders[i, sent.slot]
    live = int(state.book.positions[i]["live"]) >> sent.slot & 1
    if live and order["order_id"] == sent.order_id:
        report_end(state.book, state.log, i, sent.slot, event.reason, event.waited, event.ts)
        sent.record = _own(order)
    elif sent.is_leaving:
        _count(state)
        if sent.record["reason"] == NOT_KNOWN or sent.row < state.tape.row:
            _look_again(state, i)  # while it was in doubt, something may have been held back
    if event.reason in (NOT_PLACED, WITHHELD) and state.is_up:
        _look_again(state, i)
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
            return _unheard(state, event)
        if sent.is_leaving:  # it is there after all, and nobody wants it any more
            return [sent.cancel(event.cid)]
        if state.book.orders[i, slot]["order_id"] != sent.order_id:
            return []
    if not int(state.book.positions[i]["live"]) >> slot & 1:
        return []
    report_working(state.book, i, slot, event.arrived, event.day, event.triggered, event.reason, event.waited)
    return []


def _unheard(state: State, event: Working) -> list[EngineCommand]:
    """An order of ours stands at the venue, and the journal has lost its end: it is in doubt until it is gone."""
    if event.cid in state.gone or not event.lots or not number_of(state, event.cid):
        return []
    _learn(state, event.cid)
    record = np.zeros(1, state.book.orders.dtype)[0]
    record["order_id"], record["lots"], record["instrument"] = number_of(state, event.cid), event.lots, event.instrument
    record["reason"] = NOT_KNOWN
    sent = state.sent[event.cid] = Sent(int(record["order_id"]), event.instrument, TARGET, record, True)
    _count(state)
    return [Alert(f"order {event.cid} stands at the venue and not in the journal: withdrawn"), sent.cancel(event.cid)]


def _unknown(state: State, event: Unknown) -> list[EngineCommand]:
    """Whether an order stands, has filled or never arrived is not known: until then, any of it may be true."""
    sent = state.sent.get(event.cid)
    if sent is None or sent.is_leaving:
        return []
    i, slot = sent.instrument, sent.slot
    sent.is_leaving = True
    if slot == TARGET and state.book.orders[i, slot]["order_id"] == sent.order_id:
        report_end(state.book, state.log, i, slot, NOT_KNOWN, NO_REASON, event.ts)
        sent.record = _own(state.book.orders[i, slot])
    _count(state)
    return [Alert(f"order {event.cid}: nobody can say what became of it; it is asked for and not sent again")]


def _count(state: State) -> None:
    """Into book.unsure: what may have filled, or may yet, of orders that no longer stand in their slots."""
    book = state.book
    book.unsure[:] = 0
    for sent in state.sent.values():
        if sent.is_leaving and sent.slot == TARGET:
            book.unsure[int(sent.left > 0), sent.instrument] += sent.left
    book.head[0]["unsure"] = int(np.count_nonzero(book.unsure.any(axis=0)))


def _crossed(state: State, event: Crossed) -> list[EngineCommand]:
    tape, i = state.tape, event.instrument
    if state.book.positions[i]["crossing"] == 0:
        return []  # told before
    report_cross(state.book, state.log, tape.market, state.setup, tape.t, i, event.mid, event.ts)
    return _commands(state, False)


def _liquidated(state: State, event: Liquidated) -> list[EngineCommand]:
    if not _is_new(state, event.trade_id):
        return []
    tape = state.tape
    report_liquidation(
        state.book, state.log, tape.market, state.setup, tape.t, event.instrument, event.lots, event.price, event.ts
    )
    return _commands(state, False)


def _cash(state: State, event: Cash) -> list[EngineCommand]:
    if event.flow_id and not _is_new(state, f"cash {event.wallet} {event.flow_id}"):
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
    was, state.is_up = state.is_up, event.is_up
    if not event.is_up:
        return [Alert(f"the venue cannot be reached: {event.reason}")]
    if not was:  # what could not be sent is asked for again
        for i in range(len(state.book.goal)):
            _look_again(state, i)
    return []


def _adjusted(state: State, event: Adjusted) -> list[EngineCommand]:
    """Lots enter the book as if bought at a price without costs, cash as what it is."""
    if not _is_new(state, f"adjusted {event.adjustment_id}"):
        return []
    if event.instrument >= 0 and event.lots != 0:
        done = Execution(event.price, 0.0, 0, event.price, 0.0, 0.0, 0.0, 0.0)
        _supposed(state, Filled("", "", event.instrument, TARGET, event.lots, done, event.ts))
    if event.amount != 0.0:
        report_cash(state.book, state.tape.market, max(state.tape.t, 0), event.wallet, event.amount)
    return _commands(state, False)


# --- what is to be done ----------------------------------------------------------------------------------------------


#: How many trades a venue is asked for once more, first and when that did not do: reports may have been lost since.
LOOKS: Final = (100, 10_000, _REMEMBERED)


def known_trade(state: State, back: int) -> str:
    """The trade after which a venue is to be asked for more: so many back, because the last ones may have come in
    another order than they happened, and some not at all; empty: from the first."""
    if len(state.seen) < min(back, _REMEMBERED):
        return ""
    trades = [key for key in itertools.islice(reversed(state.seen), back) if " " not in key]
    # What was forgotten must not be taken for new.
    return trades[-min(LOOKS[0], len(trades))] if back >= _REMEMBERED and trades else next(reversed(trades), "")


def next_cids(state: State) -> list[str]:
    """Ids that the next orders will have. A venue that knows one of them has it from a journal that lost its end."""
    numbered = int(state.book.head[0]["orders"])
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
        if state.is_recorded:
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
            sent.record = _own(order)
            _forget(state, cid)
            if order["status"] == FILLED:
                continue
        else:
            sent.record, sent.is_leaving, sent.row = _own(order), True, state.tape.row
        found.append(sent.cancel(cid))
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
        state.sent[cid] = Sent(int(order["order_id"]), int(i), int(slot), _own(order))
        placed = Order(*_ASKED(order.item()))
        found.append(Submit(cid, int(slot), placed, gone.get(int(i), "") if slot == TARGET else ""))
    return sorted(found, key=lambda c: c.order.order_id if isinstance(c, Submit) else 0)


def _amended(state: State, instruments: set[int]) -> list[EngineCommand]:
    """Protective orders that fills have resized."""
    found: list[EngineCommand] = []
    for i in sorted(instruments):
        if int(state.book.positions[i]["live"]) < 1 << 1:
            continue  # nothing protects it
        for slot in range(1, SLOTS):
            order = state.book.orders[i, slot]
            if not int(state.book.positions[i]["live"]) >> slot & 1:
                continue
            sent = state.sent.get(cid_of(state, int(order["order_id"])))
            if sent is None or all(sent.record[x] == order[x] for x in ("lots", "filled")):
                continue
            sent.record = _own(order)
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
        _own(table[:n]) for table, n in zip((log.orders, log.fills, log.actions), log.used, strict=True)
    )
    fills["row"] += base
    actions["row"] += base
    return Record(orders, fills, log.shares[: log.used[1]].copy(), actions)


#: What of a record of the book's is asked of a venue.
_ASKED: Final = itemgetter(*((ORDER.names or ()).index(name) for name in Order._fields))


def _own(records: NDArray[np.void]) -> NDArray[np.void]:
    """Records, or one, in memory of their own; numpy would copy them field by field, ten times as slowly."""
    made = np.frombuffer(bytearray(records.tobytes()), records.dtype)
    return made if records.ndim else made[0]


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
