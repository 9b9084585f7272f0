"""The core of an engine: what each event makes of the account, and what is to be done about it. Pure.

    state, commands = handle(state, event)

No clock, no I/O, no randomness and no ids are in here: instants come with events, order ids from the book's counter.
So an account is a fold of its events, and whoever folds the same events again has the same account and gives the same
orders. A state that went in must not be used again: `handle` writes to its memory and gives it back.

The rules are those of the backtest (`rules`): a row is opened, what the venue reports of it is applied, and at its
close it is judged and decided on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from trimtab.engine.findings import NOTHING_FOUND, Findings
from trimtab.engine.heard import HEARD, is_new, look_again, split_sent, supposed
from trimtab.engine.outgoing import commands, halt
from trimtab.engine.state import (
    LOOKS,
    NOTHING_NEW,
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
    is_news,
    known_trade,
    last_number,
    next_cids,
    number_of,
)
from trimtab.rules.account import must_be_flat
from trimtab.rules.book import TARGET
from trimtab.rules.breakers import revive
from trimtab.rules.fills import Execution
from trimtab.rules.orders import NO_REASON, WITHDRAWN
from trimtab.rules.reports import end_row, open_row, order_row, report_cash, report_end
from trimtab.types import TrimtabError, Weights
from trimtab.venues import Filled

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
        split_sent(state, t)
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


# --- people and venues -----------------------------------------------------------------------------------------------


def _command(state: State, event: Command) -> list[EngineCommand]:
    if event.word == "quarantine":
        state.planner.quarantine(event.model)
        return [Alert(f"model {event.model + 1} is in quarantine: {event.reason}")]
    if event.word == "retry":
        if not is_overdue(state):
            return []
        order_row(state.bound.address, NOTHING_NEW, state.tape.t, 0)
        return commands(state, True)
    if event.word == "resume":
        revive(state.book, state.log, max(state.tape.t, 0), event.ts)
        return commands(state, False)
    if event.word == "withdraw":
        for i in np.flatnonzero(state.book.positions["live"] & 1):
            report_end(state.bound.address, int(i), TARGET, WITHDRAWN, NO_REASON, event.ts)
        return commands(state, False)
    return halt(state, event.word == "flatten", event.reason, event.ts)


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
            look_again(state, i)
    return []


def _adjusted(state: State, event: Adjusted) -> list[EngineCommand]:
    """Lots enter the book as if bought at a price without costs, cash as what it is."""
    if not is_new(state, f"adjusted {event.adjustment_id}"):
        return []
    if event.instrument >= 0 and event.lots != 0:
        done = Execution(event.price, 0.0, 0, event.price, 0.0, 0.0, 0.0, 0.0)
        supposed(state, Filled("", "", event.instrument, TARGET, event.lots, done, event.ts))
    if event.amount != 0.0:
        report_cash(state.bound.address, max(state.tape.t, 0), event.wallet, event.amount)
    return commands(state, False)


_HANDLERS: Final[dict[type, Callable[[State, Any], list[EngineCommand]]]] = {
    Bars: _bars,
    Warm: _warm,
    Quote: _quote,
    Trade: _trade,
    Close: _close,
    Command: _command,
    VenueState: _venue,
    Adjusted: _adjusted,
    **HEARD,
}
