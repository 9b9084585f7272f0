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
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.engine.findings import NOTHING_FOUND, Findings
from trimtab.engine.outgoing import amend, commands
from trimtab.engine.state import (
    LOOKS,
    NOTHING_NEW,
    REMEMBERED,
    Adjusted,
    Alert,
    Ask,
    Bars,
    Close,
    Command,
    EngineCommand,
    Event,
    Halt,
    Quote,
    Record,
    Sent,
    State,
    Trade,
    VenueState,
    Wants,
    Warm,
    begin,
    cid_of,
    count,
    forget,
    is_news,
    known_trade,
    last_number,
    next_cids,
    number_of,
    own,
)
from trimtab.rules.account import must_be_flat
from trimtab.rules.book import TARGET
from trimtab.rules.breakers import kill, revive
from trimtab.rules.fills import Execution
from trimtab.rules.orders import NO_REASON, NOT_KNOWN, NOT_PLACED, WITHDRAWN, WITHHELD
from trimtab.rules.reports import (
    accept,
    end_row,
    open_row,
    order_row,
    report_cash,
    report_cross,
    report_end,
    report_fill,
    report_liquidation,
    report_working,
)
from trimtab.types import GTC, MARKET, Order, TrimtabError, Weights
from trimtab.venues import Cash, Crossed, Ended, Filled, Liquidated, Unknown, Working

__all__ = [
    "LOOKS",
    "Adjusted",
    "Alert",
    "Ask",
    "Bars",
    "Close",
    "Command",
    "EngineCommand",
    "Event",
    "Halt",
    "Quote",
    "Record",
    "Sent",
    "State",
    "Trade",
    "VenueState",
    "Wants",
    "Warm",
    "begin",
    "cid_of",
    "handle",
    "is_news",
    "is_overdue",
    "known_trade",
    "last_number",
    "next_cids",
    "number_of",
]


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
        open_row(state.bound.address, t)
    return []


def _warm(state: State, event: Warm) -> list[EngineCommand]:
    bars = np.array(event.bars, np.float64, order="C")
    tape, book = state.tape, state.book
    t = tape.lay(event.ts, bars, (book,))
    state.bars = bars
    due = tape.is_due()
    if due:
        open_row(state.bound.address, t)
    said = _advanced(state, event.ts, event.found)
    if state.standing is None:
        state.standing = np.full(book.weight.shape, np.nan)
    state.standing[said.model, said.instrument] = said.value
    end_row(state.bound.address, NOTHING_NEW, t, due)
    tape.turn_day()
    return [*_failures(state), *commands(state, False)]


def _advanced(state: State, ts: int, found: Findings) -> Weights:
    """What the models want at the row that was laid last; found: when it was first advanced."""
    if found is not NOTHING_FOUND:
        state.planner.recall(found)
    t = state.tape.t
    return state.planner.advance(t, ts, state.bars, state.tape.market.mark[t])


def _failures(state: State) -> list[EngineCommand]:
    return [Alert(why) for why in state.planner.found().failed.values()]


def _stood(state: State, said: Weights, row: int) -> Weights:
    """The weights of the first row that is traded: those that are new, and those that stand from before."""
    standing, state.standing = state.standing, None
    if standing is None:
        return said
    standing[said.model, said.instrument] = said.value
    model, instrument = np.nonzero(~np.isnan(standing))
    return Weights(np.full(len(model), row, np.int64), model, instrument, standing[model, instrument])


def _quote(state: State, event: Quote) -> list[EngineCommand]:
    state.prices[event.instrument] = (event.bid + event.ask) / 2.0
    return []


def _trade(state: State, event: Trade) -> list[EngineCommand]:
    state.prices[event.instrument] = event.price
    return []


def _close(state: State, event: Close) -> list[EngineCommand]:
    tape = state.tape
    if not state.is_open or event.ts != tape.ts:
        raise TrimtabError(f"there is no open row of {event.ts} to close")
    t = tape.t
    state.prices.clear()
    weights = _stood(state, _advanced(state, event.ts, event.found), t)
    state.said = weights
    decided = end_row(state.bound.address, weights, t, tape.is_due())
    tape.turn_day()
    state.is_open = False
    return [*_failures(state), *commands(state, bool(decided))]


# --- reports ---------------------------------------------------------------------------------------------------------


def _filled(state: State, event: Filled) -> list[EngineCommand]:
    if not _is_new(state, event.trade_id):
        return []
    i, slot = event.instrument, event.slot
    book = state.book
    live = book.positions["live"][i].item() >> slot & 1
    if live and (slot != TARGET or cid_of(state, book.orders["order_id"][i, slot].item()) == event.cid):
        _fill(state, event)
        return commands(state, False)
    sent = state.sent.get(event.cid) or state.gone.get(event.cid)
    if sent is not None:
        _stray(state, event, sent)
        count(state)
        return commands(state, False)
    _learn(state, event.cid)
    _supposed(state, event)
    what = "of an order that protects" if slot != TARGET else f"of {event.cid or 'an order without an id'}"
    return [*commands(state, False), Alert(f"a fill of {event.lots} lots {what}, which the book did not know of")]


def _fill(state: State, event: Filled) -> None:
    report_fill(
        state.bound.address, state.tape.t, event.instrument, event.slot, event.lots, event.done, event.reason,
        event.waited, event.ts,
    )  # fmt: skip


def _stray(state: State, event: Filled, sent: Sent) -> None:
    """A fill of an order that no longer stands in its slot: it does for as long as this takes."""
    book, i, slot = state.book, sent.instrument, sent.slot
    kept, live = own(book.orders[i, slot]), int(book.positions[i]["live"]) >> slot & 1
    book.orders[i, slot] = sent.record
    book.positions[i]["live"] |= 1 << slot
    _fill(state, event)
    sent.record = own(book.orders[i, slot])
    _put_back(state, i, slot, kept, live)


def _supposed(state: State, event: Filled) -> None:
    """A fill of an order that the book has not: one is made for it. What a venue has traded for us is ours."""
    book, i, slot = state.book, event.instrument, event.slot
    kept, live = own(book.orders[i, slot]), int(book.positions[i]["live"]) >> slot & 1
    number = int(book.head[0]["orders"]) + 1
    accept(state.bound.address, slot, Order(number, event.ts, i, event.lots, MARKET, np.nan, np.nan, GTC, 0, 0, 0))
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
            report_working(state.bound.address, i, slot, *(int(kept[name]) for name in names))  # its band
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
    forget(state, event.cid)
    i = sent.instrument
    order = state.book.orders[i, sent.slot]
    live = int(state.book.positions[i]["live"]) >> sent.slot & 1
    if live and order["order_id"] == sent.order_id:
        kept = own(order)
        report_end(state.bound.address, i, sent.slot, event.reason, event.waited, event.ts)
        sent.record = own(order)
        if sent.slot != TARGET and event.reason == NOT_PLACED:
            _protect_again(state, sent.slot, kept, event.ts)
    elif sent.is_leaving:
        count(state)
        if sent.record["reason"] == NOT_KNOWN or sent.row < state.tape.row:
            _look_again(state, i)  # while it was in doubt, something may have been held back
    if event.reason in (NOT_PLACED, WITHHELD) and state.is_up:
        _look_again(state, i)
    return commands(state, False)


def _protect_again(state: State, slot: int, kept: NDArray[np.void], ts: int) -> None:
    """What was to protect a position never came to the venue: another order takes its place, under its own id."""
    i, left = int(kept["instrument"]), int(kept["lots"] - kept["filled"])
    number = int(state.book.head[0]["orders"]) + 1
    limit_price, stop_price = float(kept["limit_price"]), float(kept["stop_price"])
    kind, tif, post_only, parent = (int(kept[name]) for name in ("kind", "tif", "post_only", "parent"))
    order = Order(number, ts, i, left, kind, limit_price, stop_price, tif, post_only, 1, parent)
    accept(state.bound.address, slot, order)
    names = ("arrived", "day", "triggered", "reason", "waited")
    report_working(state.bound.address, i, slot, *(int(kept[name]) for name in names))


def _left(state: State, sent: Sent) -> int:
    """Lots of an order that may still fill, as the book counts them."""
    order = state.book.orders[sent.instrument, sent.slot]
    record = order if order["order_id"] == sent.order_id else sent.record
    return int(record["lots"] - record["filled"])


def _working(state: State, event: Working) -> list[EngineCommand]:
    i, slot = event.instrument, event.slot
    sent = state.sent.get(event.cid)
    found: list[EngineCommand] = []
    if slot == TARGET:
        if sent is None:
            return _unheard(state, event)
        if sent.is_leaving:  # it is there after all, and nobody wants it any more
            return [sent.cancel(event.cid)]
        if state.book.orders[i, slot]["order_id"] != sent.order_id:
            return []
    elif event.cid and sent is None:  # it was withdrawn, and that did not arrive
        gone = state.gone.get(event.cid)
        return [gone.cancel(event.cid)] if gone is not None else []
    elif sent is not None and sent.is_leaving:  # it is there after all, as large as it was when it was sent
        sent.is_leaving, sent.record = False, own(state.book.orders[i, slot])
        found.append(amend(event.cid, slot, sent.record))
    if not int(state.book.positions[i]["live"]) >> slot & 1:
        return found
    report_working(state.bound.address, i, slot, event.arrived, event.day, event.triggered, event.reason, event.waited)
    return found


def _unheard(state: State, event: Working) -> list[EngineCommand]:
    """An order of ours stands at the venue, and the journal has lost its end: it is in doubt until it is gone."""
    if event.cid in state.gone or not event.lots or not number_of(state, event.cid):
        return []
    _learn(state, event.cid)
    record = np.zeros(1, state.book.orders.dtype)[0]
    record["order_id"], record["lots"], record["instrument"] = number_of(state, event.cid), event.lots, event.instrument
    record["reason"] = NOT_KNOWN
    sent = state.sent[event.cid] = Sent(int(record["order_id"]), event.instrument, TARGET, record, True)
    count(state)
    return [Alert(f"order {event.cid} stands at the venue and not in the journal: withdrawn"), sent.cancel(event.cid)]


def _unknown(state: State, event: Unknown) -> list[EngineCommand]:
    """Whether an order stands, has filled or never arrived is not known: until then, any of it may be true. One that
    protects keeps its slot: it is asked for as soon as the venue can be reached, and sent anew where it never came."""
    sent = state.sent.get(event.cid)
    if sent is None or sent.is_leaving:
        return []
    i, slot = sent.instrument, sent.slot
    sent.is_leaving = True
    if slot == TARGET and state.book.orders[i, slot]["order_id"] == sent.order_id:
        report_end(state.bound.address, i, slot, NOT_KNOWN, NO_REASON, event.ts)
        sent.record = own(state.book.orders[i, slot])
    count(state)
    if slot != TARGET:
        return [
            Alert(f"order {event.cid}, which protects, may not have arrived: it is asked for, and sent anew if not")
        ]
    return [Alert(f"order {event.cid}: nobody can say what became of it; it is asked for and not sent again")]


def _crossed(state: State, event: Crossed) -> list[EngineCommand]:
    tape, i = state.tape, event.instrument
    if state.book.positions[i]["crossing"] == 0:
        return []  # told before
    report_cross(state.bound.address, tape.t, i, event.mid, event.ts)
    return commands(state, False)


def _liquidated(state: State, event: Liquidated) -> list[EngineCommand]:
    if not _is_new(state, event.trade_id):
        return []
    report_liquidation(state.bound.address, state.tape.t, event.instrument, event.lots, event.price, event.ts)
    return commands(state, False)


def _cash(state: State, event: Cash) -> list[EngineCommand]:
    if event.flow_id and not _is_new(state, f"cash {event.wallet} {event.flow_id}"):
        return []
    report_cash(state.bound.address, state.tape.t, event.wallet, event.amount)
    return []


#: Trades that are forgotten at a time: a dict looks for its first key among all that it has lost.
_FORGOTTEN: Final = 10_000


def _is_new(state: State, trade_id: str) -> bool:
    if trade_id in state.seen:
        return False
    state.seen[trade_id] = None
    if len(state.seen) > REMEMBERED + _FORGOTTEN:
        for old in list(itertools.islice(state.seen, _FORGOTTEN)):
            del state.seen[old]
    return True


# --- people and venues -----------------------------------------------------------------------------------------------


def _command(state: State, event: Command) -> list[EngineCommand]:
    tape, book, log = state.tape, state.book, state.log
    row = max(tape.t, 0)
    if event.word == "quarantine":
        state.planner.quarantine(event.model)
        return [Alert(f"model {event.model + 1} is in quarantine: {event.reason}")]
    if event.word == "retry":
        if not is_overdue(state):
            return []
        order_row(state.bound.address, NOTHING_NEW, tape.t, 0)
        return commands(state, True)
    if event.word == "resume":
        revive(book, log, row, event.ts)
        return commands(state, False)
    if event.word == "withdraw":
        for i in np.flatnonzero(book.positions["live"] & 1):
            report_end(state.bound.address, int(i), TARGET, WITHDRAWN, NO_REASON, event.ts)
        return commands(state, False)
    kill(book, log, row, event.ts, 1 if event.word == "flatten" else 0)
    if tape.t >= 0 and not state.is_open:  # it does not wait for the next row
        order_row(state.bound.address, NOTHING_NEW, tape.t, 1)
        return [*commands(state, True), Halt(event.reason)]
    return [*commands(state, False), Halt(event.reason)]


def is_overdue(state: State) -> bool:
    """Must the book be flat, and was an order that it takes not placed? That does not wait for the next row."""
    book, head = state.book, state.book.head[0]
    if state.is_open or state.tape.t < 0 or not head["retry"]:
        return False
    stand = book.positions
    left = (book.dirty != 0) & (stand["lots"] != 0) & (stand["live"] & 1 == 0)
    return bool(left.any()) and bool(must_be_flat(head))


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
        report_cash(state.bound.address, max(state.tape.t, 0), event.wallet, event.amount)
    return commands(state, False)


_HANDLERS: Final[dict[type, Callable[[State, Any], list[EngineCommand]]]] = {
    Bars: _bars,
    Warm: _warm,
    Quote: _quote,
    Trade: _trade,
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
