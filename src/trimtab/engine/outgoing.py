"""What the book has changed, as commands: the way out of an engine's core."""

from __future__ import annotations

from operator import itemgetter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.engine.state import EngineCommand, Record, Sent, State, cid_of, count, forget, own
from trimtab.rules.book import ORDER, SLOTS, TARGET
from trimtab.types import FILLED, Order
from trimtab.venues import Amend, Cancel, Decided, Submit


def commands(state: State, decided: bool) -> list[EngineCommand]:
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
        if sent is None or (sent.is_leaving and sent.slot == TARGET):
            continue
        if order["status"] == FILLED or sent.slot != TARGET:
            sent.record = own(order)
            forget(state, cid)
            if order["status"] == FILLED:
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
    for i, slot in np.argwhere(orders["order_id"] > state.numbered):
        order = orders[i, slot]
        if not int(state.book.positions[i]["live"]) >> int(slot) & 1:
            continue
        cid = cid_of(state, int(order["order_id"]))
        state.sent[cid] = Sent(int(order["order_id"]), int(i), int(slot), own(order))
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
