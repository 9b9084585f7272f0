"""The other kind of exchange: it trades at once, holds what protects a position itself, and speaks when it pleases.

It is as small as an exchange that keeps the contract can be, so that the suite is known not to lean on the simulated
one's habits: rows mean nothing to it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from typing import Literal

import numpy as np

from tests.contract.venues.rigs import CASH, COUNT, DEEP, LOT, Books, Make, Rig
from trimtab.rules.fills import Execution
from trimtab.rules.orders import NO_REASON, NOT_AT_ONCE, WITHDRAWN
from trimtab.types import F64, LIMIT, STOP, Order
from trimtab.venues import (
    Ambiguous,
    Amend,
    Cancel,
    Ended,
    Filled,
    Order_,
    Report,
    Snapshot,
    Submit,
    Unreachable,
    Venue,
    Working,
)

FEE = 0.001


class Plain:
    """A price and a depth per instrument; what can trade there does, at that price."""

    def __init__(self) -> None:
        self.now = 0
        self.prices, self.depth = [100.0] * COUNT, [DEEP] * COUNT
        self.lots, self.cash = [0] * COUNT, CASH
        self.open: dict[str, Submit] = {}
        self.left: dict[str, int] = {}
        self.known: dict[str, list[Report]] = {}  # cid -> its fills, and at last its end
        self.trades: list[Filled] = []
        self.said: deque[Report] = deque()
        self.heard = asyncio.Event()
        self.is_cut = False
        self.loses = ""

    # --- the exchange ------------------------------------------------------------------------------------------------

    def trade(self, cid: str) -> None:
        """What of an order can trade now does."""
        order = self.open[cid].order
        price, lots = self.prices[order.instrument], self.left[cid]
        if order.reduce_only:
            reducible = -self.lots[order.instrument]
            lots = min(max(lots, reducible), 0) if lots < 0 else max(min(lots, reducible), 0)
            if lots == 0 and order.kind != STOP:
                return self.end(cid, NOT_AT_ONCE)
        side = 1 if lots > 0 else -1
        meets = {LIMIT: side * (order.limit_price - price) >= 0.0, STOP: side * (price - order.stop_price) >= 0.0}
        done = side * min(abs(lots), self.depth[order.instrument])
        if done == 0 or not meets.get(order.kind, True):
            return None
        self.depth[order.instrument] -= abs(done)
        self.fill(cid, done, price)
        return None

    def fill(self, cid: str, lots: int, price: float) -> None:
        slot, order = self.open[cid].slot, self.open[cid].order
        self.lots[order.instrument] += lots
        fee = abs(lots) * LOT * price * FEE
        self.cash -= lots * LOT * price + fee
        self.left[cid] -= lots
        done = Execution(price, fee, 0, price, 0.0, 0.0, 0.0, 0.0)
        fill = Filled(f"{len(self.trades) + 1:06d}", cid, order.instrument, slot, lots, done, self.now)
        self.trades.append(fill)
        self.known[cid].append(fill)
        self.say(fill)
        if not self.left[cid]:
            self.end(cid, NO_REASON)

    def end(self, cid: str, reason: int) -> None:
        gone = self.open.pop(cid)
        del self.left[cid]
        ended = Ended(cid, gone.order.instrument, gone.slot, reason, 0, self.now)
        self.known[cid].append(ended)
        self.say(ended)

    def say(self, report: Report) -> None:
        self.said.append(report)
        self.heard.set()

    def move(self, prices: tuple[float, ...], depth: int) -> None:
        self.now += 1
        self.prices, self.depth = list(prices), [depth] * COUNT
        for cid in list(self.open):
            self.trade(cid)

    # --- the line ----------------------------------------------------------------------------------------------------

    def reach(self) -> None:
        if self.is_cut:
            raise Unreachable("the line is cut")

    async def send(self, command: Order_) -> list[Report]:
        self.reach()
        loses, self.loses = self.loses, ""
        if loses == "order":
            raise Ambiguous("no answer")
        if isinstance(command, Submit):
            if command.cid in self.known:
                return self.told(command.cid)
            self.open[command.cid], self.left[command.cid] = command, command.order.lots
            self.known[command.cid] = []
            self.trade(command.cid)
        elif isinstance(command, Cancel):
            if command.cid in self.open:
                self.end(command.cid, WITHDRAWN)
        elif isinstance(command, Amend) and command.cid in self.open:
            held = self.open[command.cid]
            prices = {"limit_price": command.limit_price, "stop_price": command.stop_price}
            self.open[command.cid] = held._replace(order=held.order._replace(**prices))
            self.left[command.cid] = command.lots
        if loses == "answer":
            raise Ambiguous("no answer")
        return self.told(command.cid) if isinstance(command, (Submit, Cancel)) else []

    def told(self, cid: str) -> list[Report]:
        found = list(self.known.get(cid, ()))
        if cid in self.open:
            order: Order = self.open[cid].order
            found.append(Working(cid, order.instrument, self.open[cid].slot, 1, 0, 0, 0, 0, order.lots))
        return found

    async def row(self, ts: int, bars: F64) -> list[Report]:
        return []

    async def ask(self, cid: str) -> list[Report]:
        self.reach()
        return self.told(cid)

    async def since(self, trade_id: str) -> list[Report]:
        self.reach()
        return [t for t in self.trades if t.trade_id > trade_id]

    async def snapshot(self) -> Snapshot:
        self.reach()
        last = self.trades[-1].trade_id if self.trades else ""
        return Snapshot(self.now, np.array(self.lots), np.array([self.cash]), dict(self.left), last)

    async def reports(self) -> AsyncIterator[Report]:
        while True:
            self.reach()
            while self.said:
                yield self.said.popleft()
            self.heard.clear()
            await self.heard.wait()


class PlainRig:
    """A Plain whose reports are listened to for as long as it has something to say."""

    def __init__(self) -> None:
        self._plain = Plain()
        self.venue: Venue = self._plain

    async def move(self, *prices: float, depth: int = DEEP) -> list[Report]:
        self._plain.move(prices, depth)
        if self._plain.is_cut:
            self._plain.said.clear()
        found: list[Report] = []
        with contextlib.suppress(TimeoutError, Unreachable):
            async with contextlib.aclosing(self.venue.reports()) as said, asyncio.timeout(0.001):
                async for report in said:
                    found.append(report)  # noqa: PERF401  # what has come stays when the time is over
        return found

    def cut(self) -> None:
        self._plain.is_cut = True

    def heal(self) -> None:
        self._plain.is_cut, self._plain.loses = False, ""

    def lose(self, what: Literal["order", "answer"]) -> None:
        self._plain.loses = what

    def books(self) -> Books:
        plain = self._plain
        return Books(list(plain.lots), plain.cash, list(plain.trades), dict(plain.left))


def plain() -> Make:
    @contextlib.asynccontextmanager
    async def make() -> AsyncIterator[Rig]:
        yield PlainRig()

    return make
