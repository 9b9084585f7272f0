"""The simulated exchange: orders meet bars by the very rules of the backtest, on a book of its own (design §6).

What happens inside a bar is known when the bar has closed: `row` gives all of it, stamped with its simulated instants.
It stands for the exchange and for what an engine does between two rows where an exchange is real: it places protective
orders when a position is opened, and lets purchases wait for the sales they replace.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import Any, Final

import numpy as np

from trimtab.rules.account import mark
from trimtab.rules.book import SLOTS, TARGET, Book, Setup, new_log
from trimtab.rules.bound import Bound
from trimtab.rules.fills import Execution
from trimtab.rules.orders import GONE, NO_REASON, REJECT, SPLIT_UP, WITHDRAWN
from trimtab.rules.reports import accept, report_end, venue_row
from trimtab.rules.tape import Tape
from trimtab.types import F64
from trimtab.venues import (
    Cancel,
    Crossed,
    Decided,
    Ended,
    Filled,
    Liquidated,
    Order_,
    Report,
    Snapshot,
    Submit,
    Working,
)

#: What of an open order tells where it stands; a protective one is at the venue from its first instant.
_STANDING: Final = ("arrived", "day", "triggered", "reason", "waited")

#: Numbers of orders that a venue makes itself begin here, so that they are never those of an order that it was sent.
_OWN: Final = 2**40

#: How many trades back a question about an order reaches: fewer than an account remembers, so that none is new to it.
_REACH: Final = 10_000

#: (instrument, slot, order id) -> its columns.
Standing = dict[tuple[int, int, int], tuple[int, ...]]


class PaperVenue:
    """An exchange of one account. It answers at once; what may go wrong on the way is `venues.link`'s.

    book    its own, to begin with; tape its own rows
    cids    order id -> cid, of target orders that are open in it
    traded  the last trade id of this account at a venue before: ids go on behind it
    """

    def __init__(
        self, setup: Setup, book: Book, tape: Tape, cids: dict[int, str] | None = None, traded: int = 0
    ) -> None:
        n = len(setup.terms)
        self.setup, self.book, self.tape = setup, book, tape
        self._log = new_log(8, n, setup.models, 0, np.empty(0, np.int64))
        self._bound = Bound(book, self._log, tape.market, setup)
        self._cids = dict(cids or {})  # order id -> cid, of target orders that are open
        self._ids = {cid: order for order, cid in self._cids.items()}
        self._known: dict[str, list[Report]] = {}  # cid -> its fills, and at last its end; of late
        self._trades: deque[Filled | Liquidated] = deque(maxlen=100_000)
        self._offset = max(0, traded - int(book.head[0]["fills"]))
        self._own = _OWN  # the last number of an order that the venue has made itself
        self._row: list[Report] = []

    # --- orders ------------------------------------------------------------------------------------------------------

    def send(self, command: Order_) -> list[Report]:
        """Do what is asked, and say what comes of it."""
        if isinstance(command, Submit):
            return self._submit(command)
        if isinstance(command, Cancel):
            return self._cancel(command)
        if isinstance(command, Decided):
            self._decided(command)
        return []  # an Amend: what protects a position follows it by the same rule here as there

    def _submit(self, command: Submit) -> list[Report]:
        order, slot = command.order, command.slot
        i = order.instrument
        live = bool(int(self.book.positions[i]["live"]) >> slot & 1)
        if slot != TARGET:  # it has placed it itself, and perhaps taken it away again, while the position changed
            return []
        if command.cid in self._ids or command.cid in self._known:
            return self.ask(command.cid)  # it was placed before: what is known of it is the answer
        if live:
            return [Ended(command.cid, i, slot, REJECT, NO_REASON, order.ts)]
        accept(self._bound.address, slot, order)
        self._cids[order.order_id] = command.cid
        self._ids[command.cid] = order.order_id
        return []

    def _cancel(self, command: Cancel) -> list[Report]:
        i, slot = command.instrument, command.slot
        if slot != TARGET or command.cid not in self._ids:
            return self.ask(command.cid) if slot == TARGET else []
        ts = self.tape.ts if self.tape.t >= 0 else 0
        self._log.used[:] = 0
        report_end(self._bound.address, i, slot, WITHDRAWN, NO_REASON, ts)
        return [self._forget(command.cid, Ended(command.cid, i, slot, WITHDRAWN, NO_REASON, ts))]

    def _forget(self, cid: str, ended: Ended) -> Ended:
        del self._cids[self._ids.pop(cid)]
        self._known.setdefault(cid, []).append(ended)
        if len(self._known) > 110_000:
            for old in list(itertools.islice(self._known, 10_000)):  # at a time: to find the first alone takes as long
                del self._known[old]
        return ended

    def _decided(self, command: Decided) -> None:
        book, head = self.book, self.book.head[0]
        book.target[:], book.goal[:] = command.target, command.goal
        for name in ("scale", "crossing", "closing"):
            book.positions[name] = getattr(command, name)
        crossing = (command.crossing != 0).astype(np.int64)
        fresh = (crossing == 1) & (book.working == 0)
        book.working[fresh] = 1
        head["working"] += int(fresh.sum())
        head["tight"], head["equity"] = command.tight, command.equity

    # --- the market --------------------------------------------------------------------------------------------------

    def row(self, ts: int, bars: F64) -> list[Report]:
        """Everything that a row of bars brings about, in order; the same row again brings the same reports."""
        tape, book, log = self.tape, self.book, self._log
        if tape.t >= 0 and ts <= tape.ts:
            return self._row if ts == tape.ts else []
        t = tape.lay(ts, bars, (book,))
        before = self._standing()
        log.used[:] = 0
        head = book.head[0]
        head["orders"] = self._own
        venue_row(self._bound.address, t, tape.is_due())
        tape.turn_day()
        self._own = int(head["orders"])
        head["equity"] = mark(head["cash"], book.quantity, tape.market.mark[t])
        self._row = [*self._happened(before), *self._moved(before)]
        return self._row

    def _happened(self, before: Standing) -> list[Report]:
        """Fills and ends of the row, in the order in which they came about; before them, that an order has arrived."""
        orders, fills = self._log.orders[: self._log.used[0]], self._log.fills[: self._log.used[1]]
        ended = {int(order["order_id"]): order for order in orders}
        targets = {i: order_id for i, slot, order_id in before if slot == TARGET}
        found: list[Report] = []
        e = 0
        for fill in fills:
            while e < len(orders) and orders[e]["after"] < fill["fill_id"]:
                self._end(orders[e], before, found)
                e += 1
            if fill["reason"] in (SPLIT_UP, GONE):  # whoever knows the row knows it
                continue
            i = int(fill["instrument"])
            order_id = targets.get(i, 0)
            if order_id in self._cids:  # also where a stop fills: the target order ends with it
                self._arrive(ended.get(order_id, self.book.orders[i, TARGET]), before, found)
            found.append(self._filled(fill))
        for order in orders[e:]:
            self._end(order, before, found)
        return found

    def _arrive(self, order: Any, before: Standing, found: list[Report]) -> None:
        """Tell where a target order stands, if that is news."""
        i, order_id = int(order["instrument"]), int(order["order_id"])
        was = before[i, TARGET, order_id]
        now = (*(int(order[name]) for name in _STANDING[:3]), *was[3:])
        if now != was:
            before[i, TARGET, order_id] = now
            found.append(Working(self._cids[order_id], i, TARGET, *now))

    def _end(self, order: Any, before: Standing, found: list[Report]) -> None:
        cid = self._cids.get(int(order["order_id"]))
        if cid is not None:  # what protects a position ends with it: nobody has to be told
            self._arrive(order, before, found)
            i, reason, waited, ts = (int(order[name]) for name in ("instrument", "reason", "waited", "done_ts"))
            found.append(self._forget(cid, Ended(cid, i, TARGET, reason, waited, ts)))

    def _filled(self, fill: Any) -> Report:
        i, ts, slot = int(fill["instrument"]), int(fill["ts"]), int(fill["slot"])
        if fill["order_id"] == 0:
            return Crossed(i, float(fill["mid"]), ts)
        trade_id = str(int(fill["fill_id"]) + self._offset)
        if slot == SLOTS:
            made: Filled | Liquidated = Liquidated(trade_id, i, int(fill["lots"]), float(fill["price"]), ts)
        else:
            costs = (float(fill[name]) for name in ("mid", "spread", "slippage", "impact", "latency"))
            done = Execution(float(fill["price"]), float(fill["fee"]), int(fill["maker"]), *costs)
            cid = self._cids.get(int(fill["order_id"]), "") if slot == TARGET else ""
            reason, waited = int(fill["reason"]), int(fill["waited"])
            made = Filled(trade_id, cid, i, slot, int(fill["lots"]), done, ts, reason, waited)
            if cid:
                self._known.setdefault(cid, []).append(made)
        self._trades.append(made)
        return made

    def _standing(self) -> Standing:
        """Where every open order stands."""
        book = self.book
        found: Standing = {}
        for i in np.flatnonzero(book.positions["live"]):
            live = int(book.positions[i]["live"])
            for slot in range(SLOTS):
                if live >> slot & 1:
                    order = book.orders[i, slot]
                    found[int(i), slot, int(order["order_id"])] = tuple(int(order[name]) for name in _STANDING)
        return found

    def _moved(self, before: Standing) -> list[Report]:
        """Open orders that stand elsewhere than before the row."""
        found: list[Report] = []
        for (i, slot, order), standing in self._standing().items():
            was = before.get((i, slot, order), (0,) * len(_STANDING))
            if standing == was or (slot != TARGET and standing[2:] == was[2:]):
                continue
            found.append(Working(self._cids.get(order, ""), i, slot, *standing))
        return found

    # --- questions ---------------------------------------------------------------------------------------------------

    def ask(self, cid: str) -> list[Report]:
        """All that is known of one order, its fills first; empty: it never came here."""
        after = int(self._trades[-1].trade_id) - _REACH if self._trades else 0
        known = [r for r in self._known.get(cid, ()) if not isinstance(r, Filled) or int(r.trade_id) > after]
        order_id = self._ids.get(cid)
        if order_id is None:
            return known
        order = next(o for o in self.book.orders[:, TARGET] if o["order_id"] == order_id)
        stands = (int(order[name]) for name in _STANDING)
        return [*known, Working(cid, int(order["instrument"]), TARGET, *stands, lots=int(order["lots"]))]

    def since(self, trade_id: str) -> list[Report]:
        """Fills after one of them, in order; empty id: from the first that is kept."""
        last = int(trade_id) if trade_id else 0
        found: list[Report] = []
        for made in reversed(self._trades):
            if int(made.trade_id) <= last:
                break
            found.append(made)
        return found[::-1]

    def snapshot(self) -> Snapshot:
        """All of the account, now."""
        book = self.book
        orders = {
            cid: int(o["lots"] - o["filled"])
            for o in book.orders[:, TARGET]
            if (cid := self._cids.get(int(o["order_id"]))) is not None
        }
        ts = self.tape.ts if self.tape.t >= 0 else 0
        last = self._trades[-1].trade_id if self._trades else ""
        return Snapshot(ts, book.positions["lots"].copy(), book.cash.copy(), orders, last, protects=True)
