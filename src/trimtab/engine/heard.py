"""What a venue reports, handled: fills, ends and standings of orders, also of those that no book knew of any more."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.engine.outgoing import amend, commands, halt
from trimtab.engine.state import (
    REMEMBERED,
    Alert,
    Ask,
    EngineCommand,
    Sent,
    State,
    cid_of,
    count,
    forget,
    number_of,
    own,
)
from trimtab.rules.book import TARGET
from trimtab.rules.market import DURATION
from trimtab.rules.orders import (
    CROSSED,
    END_OF_DAY,
    NO_REASON,
    NOT_KNOWN,
    NOT_PLACED,
    REASONS,
    REJECT,
    WITHDRAWN,
    WITHHELD,
)
from trimtab.rules.reports import (
    accept,
    report_cash,
    report_cross,
    report_end,
    report_fill,
    report_liquidation,
    report_working,
)
from trimtab.types import GTC, MARKET, Order
from trimtab.venues import Cash, Crossed, Ended, Filled, Liquidated, Unknown, Working


def filled(state: State, event: Filled) -> list[EngineCommand]:
    if not is_new(state, event.trade_id):
        return []
    event = _in_new_shares(state, event)
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
    supposed(state, event)
    what = "of an order that protects" if slot != TARGET else f"of {event.cid or 'an order without an id'}"
    return [*commands(state, False), Alert(f"a fill of {event.lots} lots {what}, which the book did not know of")]


def _fill(state: State, event: Filled) -> None:
    report_fill(
        state.bound.address, state.tape.t, event.instrument, event.slot, event.lots, event.done, event.reason,
        event.waited, event.ts,
    )  # fmt: skip


def _in_new_shares(state: State, event: Filled) -> Filled:
    """A fill from before a split that the book has been through, in the shares of after it."""
    opened, ratio = state.splits.get(event.instrument, (0, 1.0))
    if event.ts >= opened:
        return event
    done = event.done._replace(price=event.done.price / ratio, mid=event.done.mid / ratio)
    return event._replace(lots=round(event.lots * ratio), done=done)


def split_sent(state: State, t: int) -> None:
    """The splits of a row, for what no book has any more: orders in doubt, and those of which late fills may come."""
    market = state.tape.market
    if not market.split.shape[0]:
        return
    known = np.flatnonzero(market.split[t] > 0.0)
    for i in known.tolist():
        ratio = float(market.split[t, i])
        state.splits[i] = (int(market.ts[t]) - int(market.rows[t, i, DURATION]), ratio)
        for sent in [*(s for s in state.sent.values() if s.is_leaving), *state.gone.values()]:
            if sent.instrument == i and sent.slot == TARGET:
                for name in ("lots", "filled"):
                    sent.record[name] = round(int(sent.record[name]) * ratio)
    if len(known):
        count(state)


def _stray(state: State, event: Filled, sent: Sent) -> None:
    """A fill of an order that no longer stands in its slot: it does for as long as this takes."""
    book, i, slot = state.book, sent.instrument, sent.slot
    kept, live = own(book.orders[i, slot]), int(book.positions[i]["live"]) >> slot & 1
    book.orders[i, slot] = sent.record
    book.positions[i]["live"] |= 1 << slot
    _fill(state, event)
    sent.record = own(book.orders[i, slot])
    _put_back(state, i, slot, kept, live)


def supposed(state: State, event: Filled) -> None:
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
    look_again(state, i)


def _learn(state: State, cid: str) -> None:
    """An id of ours that the journal does not know: it has lost its end. Numbers go on behind it."""
    number = number_of(state, cid)
    head = state.book.head[0]
    if number > int(head["orders"]):
        head["orders"] = state.numbered = number


def look_again(state: State, i: int) -> None:
    """Something happened to an instrument that no decision foresaw: the next row decides on it."""
    state.book.dirty[i] = 1
    state.book.head[0]["retry"] = 1


def ended(state: State, event: Ended) -> list[EngineCommand]:
    sent = state.sent.get(event.cid)
    if sent is None:
        if event.cid not in state.gone:
            _learn(state, event.cid)
        return []
    if event.reason == NO_REASON and _left(state, sent) != 0:
        return [Ask(event.cid)]  # it has filled, and not all of its fills have come
    forget(state, event.cid)
    i = sent.instrument
    order = state.book.orders[i, sent.slot]
    live = int(state.book.positions[i]["live"]) >> sent.slot & 1
    found: list[EngineCommand] = []
    if live and order["order_id"] == sent.order_id:
        kept = own(order)
        report_end(state.bound.address, i, sent.slot, event.reason, event.waited, event.ts)
        sent.record = own(order)
        if sent.slot != TARGET and event.reason == NOT_PLACED:
            _protect_again(state, sent.slot, kept, event.ts)
        elif sent.slot != TARGET and event.reason in _BY_VENUE:
            found = _unprotected(state, sent, kept, event)
    elif sent.is_leaving:
        count(state)
        if sent.record["reason"] == NOT_KNOWN or sent.row < state.tape.row:
            look_again(state, i)  # while it was in doubt, something may have been held back
    if event.reason in (NOT_PLACED, WITHHELD) and state.is_up:
        look_again(state, i)
    return [*found, *commands(state, False)]


#: Why a venue takes away what protects a position, of its own accord.
_BY_VENUE: Final = frozenset({REJECT, CROSSED, WITHDRAWN, END_OF_DAY})

#: Rows that another order in its place has to stand.
_LASTING: Final = 3


def _unprotected(state: State, sent: Sent, kept: NDArray[np.void], event: Ended) -> list[EngineCommand]:
    """The venue has taken away what protects a position: another order takes its place. Where that is not left there
    for some rows either, nothing that adds risk is sent until a person has looked."""
    row, i, slot = state.tape.row, sent.instrument, sent.slot
    lately = (s for s in state.gone.values() if s.row >= 0 and row - s.row <= _LASTING)
    again = any((s.instrument, s.slot) == (i, slot) for s in lately)
    sent.row = row
    what = f"order {event.cid}, which protects, is gone ({REASONS[event.reason]})"
    if not again:
        _protect_again(state, slot, kept, event.ts)
        return [Alert(f"{what}: another takes its place")]
    why = f"{what}, and so was the one before: a position is without protection"
    return [Alert(why), *halt(state, False, why, event.ts)]


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


def working(state: State, event: Working) -> list[EngineCommand]:
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


def unknown(state: State, event: Unknown) -> list[EngineCommand]:
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


def crossed(state: State, event: Crossed) -> list[EngineCommand]:
    tape, i = state.tape, event.instrument
    if state.book.positions[i]["crossing"] == 0:
        return []  # told before
    report_cross(state.bound.address, tape.t, i, event.mid, event.ts)
    return commands(state, False)


def liquidated(state: State, event: Liquidated) -> list[EngineCommand]:
    if not is_new(state, event.trade_id):
        return []
    report_liquidation(state.bound.address, state.tape.t, event.instrument, event.lots, event.price, event.ts)
    return commands(state, False)


def cash(state: State, event: Cash) -> list[EngineCommand]:
    if event.flow_id and not is_new(state, f"cash {event.wallet} {event.flow_id}"):
        return []
    report_cash(state.bound.address, state.tape.t, event.wallet, event.amount)
    return []


#: Trades that are forgotten at a time: a dict looks for its first key among all that it has lost.
_FORGOTTEN: Final = 10_000


def is_new(state: State, trade_id: str) -> bool:
    if trade_id in state.seen:
        return False
    state.seen[trade_id] = None
    if len(state.seen) > REMEMBERED + _FORGOTTEN:
        for old in list(itertools.islice(state.seen, _FORGOTTEN)):
            del state.seen[old]
    return True


#: Type of a report -> what it makes of the account.
HEARD: Final[dict[type, Callable[[State, Any], list[EngineCommand]]]] = {
    Filled: filled,
    Ended: ended,
    Working: working,
    Unknown: unknown,
    Crossed: crossed,
    Liquidated: liquidated,
    Cash: cash,
}
