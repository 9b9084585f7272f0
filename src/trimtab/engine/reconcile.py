"""What a venue says of an account against what its book says. Pure, and idempotent: settled once, nothing is left.

Fills are never invented: those that the venue has and the book has not are asked for and applied. What differs even so
is adopted as an explicit adjustment, or the account is halted.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from trimtab.engine.booking import Names
from trimtab.engine.core import Adjusted, Sent, State, number_of
from trimtab.rules.book import TARGET
from trimtab.venues import Snapshot

#: Relative difference of cash that is rounding: sums of the same amounts in another order.
ROUNDING: Final = 1e-9


class Difference(NamedTuple):
    """One thing of which book and venue say otherwise: lots of an instrument, or the cash of a wallet."""

    instrument: int  # -1: cash
    wallet: int
    ours: float
    theirs: float

    def said(self, names: Names) -> str:
        """In words."""
        if self.instrument >= 0:
            symbol = names.symbols[self.instrument]
            return f"{symbol}: the book holds {self.ours:,.0f} lots, the venue says {self.theirs:,.0f}"
        venue, currency = names.wallets[self.wallet]
        return f"cash at {venue}: the book has {self.ours:,.8g} {currency}, the venue says {self.theirs:,.8g}"


def differences(state: State, snapshot: Snapshot) -> list[Difference]:
    """Where a venue's snapshot is not what the book says; cash only where the lots agree, because fills move both."""
    book = state.book
    lots = book.positions["lots"]
    found = [
        Difference(int(i), int(state.setup.terms[i]["wallet"]), int(lots[i]), int(snapshot.lots[i]))
        for i in np.flatnonzero(lots != snapshot.lots)
    ]
    if found:
        return found
    scale = abs(float(book.head[0]["equity"])) + np.abs(book.cash)
    apart = np.abs(book.cash - snapshot.cash) > ROUNDING * scale
    return [Difference(-1, int(c), float(book.cash[c]), float(snapshot.cash[c])) for c in np.flatnonzero(apart)]


def is_known(state: State, snapshot: Snapshot) -> bool:
    """Does the book have the last trade that a snapshot holds, where it says so?"""
    return not snapshot.trade_id or snapshot.trade_id in state.seen


def is_same(one: Snapshot, other: Snapshot) -> bool:
    """Do two snapshots hold the same, whenever they were taken?"""
    same = np.array_equal(one.lots, other.lots) and np.array_equal(one.cash, other.cash)
    return same and one.trade_id == other.trade_id


def in_doubt(state: State, snapshot: Snapshot | None = None) -> list[str]:
    """Client order ids of which the venue should be asked: those of which it is not known where they stand and, with
    its snapshot, all that it may hold and nobody has seen end."""
    return [
        cid for cid, sent in state.sent.items() if sent.is_leaving or (snapshot and _may_have_gone(cid, sent, snapshot))
    ]


def _may_have_gone(cid: str, sent: Sent, snapshot: Snapshot) -> bool:
    return sent.slot == TARGET or not (snapshot.protects or cid in snapshot.orders)


def resized(state: State, snapshot: Snapshot) -> list[str]:
    """Orders that protect a position and stand at the venue in another size: a change of theirs was lost."""
    if snapshot.protects:
        return []
    return [
        cid
        for cid, sent in state.sent.items()
        if sent.slot != TARGET and not sent.is_leaving and snapshot.orders.get(cid, sent.left) != sent.left
    ]


def strange(state: State, snapshot: Snapshot) -> list[str]:
    """Orders of ours that are open at the venue and not in the book: its journal has lost its end."""
    return [cid for cid in snapshot.orders if cid not in state.sent and number_of(state, cid)]


def adjustments(state: State, found: list[Difference], ts: int) -> list[Adjusted]:
    """The venue's truth as events. Lots come in at their last mark; the cash that they cost is the venue's to say: it
    is settled by the next look, when the lots agree. Lots that have no mark yet are left for when they have one."""
    made: list[Adjusted] = []
    if state.tape.t < 0:
        return made
    for d in found:
        what = f"{ts}-{d.instrument}-{d.wallet}-{d.ours:.10g}-{d.theirs:.10g}"
        if d.instrument < 0:
            made.append(Adjusted(what, -1, 0, 0.0, d.wallet, d.theirs - d.ours, ts))
            continue
        marks = state.tape.market.mark[state.tape.t]
        at = int(state.setup.terms[d.instrument]["column"])
        rate = marks[at] if at >= 0 else 1.0
        if not (marks[d.instrument] > 0.0 and rate > 0.0):
            continue
        price = float(marks[d.instrument] / rate)  # in the instrument's own currency
        made.append(Adjusted(what, d.instrument, int(d.theirs - d.ours), price, d.wallet, 0.0, ts))
    return made
