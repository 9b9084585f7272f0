"""What the book has changed, as commands: the way out of an engine's core."""

from __future__ import annotations

from operator import itemgetter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.engine.state import NOTHING_NEW, EngineCommand, Halt, Record, Sent, State, cid_of, count, forget, own
from trimtab.rules.book import ORDER, SLOTS, TARGET
from trimtab.rules.breakers import kill
from trimtab.rules.reports import order_row
from trimtab.types import FILLED, Order
from trimtab.venues import Amend, Cancel, Decided, Submit


def commands(state: State, decided: bool) -> list[EngineCommand]:
    """What the book has changed, as commands: orders that are gone, that are new, and that are other ones."""
    log, numbered = state.log, state.book.head["orders"].item()
    ended, filled, acted = log.used.tolist()
    found: list[EngineCommand] = []
    if ended:
        found.extend(_withdrawn(state, log.orders[:ended]))
    if numbered > state.numbered:
        gone = {c.instrument: c.cid for c in found if isinstance(c, Cancel) and c.slot == TARGET}
        found.extend(_placed(state, gone))
        state.numbered = numbered
    if filled and state.protects:
        found.extend(_amended(state, set(log.fills["instrument"][:filled].tolist())))
    if decided:
        found.append(_context(state))
    if ended or filled or acted:
        if state.is_recorded:
            found.append(_record(state))
        log.used[:] = 0
    return found


def halt(state: State, flatten: bool, reason: str, ts: int) -> list[EngineCommand]:
    """Stop the book until a person resumes it; it does not wait for the next row. flatten: positions are closed too."""
    kill(state.book, state.log, max(state.tape.t, 0), ts, int(flatten))
    at_rest = state.tape.t >= 0 and not state.is_open
    if at_rest:
        order_row(state.bound.address, NOTHING_NEW, state.tape.t, 1)
    return [*commands(state, at_rest), Halt(reason)]


def _withdrawn(state: State, ended: NDArray[np.void]) -> list[EngineCommand]:
    """Orders that the book has ended: those that a venue may still hold are withdrawn there."""
    found: list[EngineCommand] = []
    for k, (number, status) in enumerate(zip(ended["order_id"].tolist(), ended["status"].tolist(), strict=True)):
        cid = cid_of(state, number)
        sent = state.sent.get(cid)
        if sent is None or (sent.is_leaving and sent.slot == TARGET):
            continue
        order = ended[k]
        if status == FILLED or sent.slot != TARGET:
            sent.record = own(order)
            forget(state, cid)
            if status == FILLED:
                continue
        else:
            sent.record, sent.is_leaving, sent.row = own(order), True, state.tape.row
        found.append(sent.cancel(cid))
    if found:
        count(state)
    return found


def _placed(state: State, gone: dict[int, str]) -> list[EngineCommand]:
    """Orders that are new in the book."""
    orders = state.book.orders
    found: list[EngineCommand] = []
    live = state.book.positions["live"]
    for i, slot in np.argwhere(orders["order_id"] > state.numbered).tolist():
        if not live[i].item() >> slot & 1:
            continue
        order = orders[i, slot]
        placed = Order(*_ASKED(order.item()))
        cid = cid_of(state, placed.order_id)
        state.sent[cid] = Sent(placed.order_id, i, slot, own(order))
        found.append(Submit(cid, slot, placed, gone.get(i, "") if slot == TARGET else ""))
    return sorted(found, key=lambda c: c.order.order_id if isinstance(c, Submit) else 0)


def _amended(state: State, instruments: set[int]) -> list[EngineCommand]:
    """Protective orders that fills have resized."""
    found: list[EngineCommand] = []
    positions = state.book.positions["live"]
    for i in sorted(instruments):
        live = positions[i].item()
        if live < 1 << 1:
            continue  # nothing protects it
        for slot in range(1, SLOTS):
            if not live >> slot & 1:
                continue
            order = state.book.orders[i, slot]
            sent = state.sent.get(cid_of(state, int(order["order_id"])))
            if sent is None or sent.is_leaving or all(sent.record[x] == order[x] for x in ("lots", "filled")):
                continue
            sent.record = own(order)
            found.append(amend(cid_of(state, sent.order_id), slot, order))
    return found


def amend(cid: str, slot: int, order: Any) -> Amend:
    """The venue's order as the book has it."""
    left = int(order["lots"] - order["filled"])
    return Amend(cid, int(order["instrument"]), slot, left, float(order["limit_price"]), float(order["stop_price"]))


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
        own(table[:n]) for table, n in zip((log.orders, log.fills, log.actions), log.used, strict=True)
    )
    fills["row"] += base
    actions["row"] += base
    return Record(orders, fills, log.shares[: log.used[1]].copy(), actions)


#: What of a record of the book's is asked of a venue.
_ASKED: Final = itemgetter(*((ORDER.names or ()).index(name) for name in Order._fields))
