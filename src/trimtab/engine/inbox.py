"""The one queue of an engine: what waits is given in a total order of instant, kind and arrival."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import Any, Final

#: Kinds in the order in which they are given at one instant; what a person or a venue says comes before the market.
STOP, REPORT, TICK, MARKET, END = range(5)

#: Rows of the market that may wait; whoever brings more has to. What a venue says is never kept out.
MOST: Final = 64


class Inbox:
    """One reader, any number of writers, all in one event loop."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, int, Any]] = []
        self._count = itertools.count()
        self._filled = asyncio.Event()
        self._room = asyncio.Semaphore(MOST)

    def put(self, ts: int, kind: int, what: Any) -> None:
        """Put in something that must not be lost or kept waiting."""
        heapq.heappush(self._heap, (ts, kind, next(self._count), what))
        self._filled.set()

    async def put_market(self, ts: int, what: Any) -> None:
        """Put in a row of the market, when there is room."""
        await self._room.acquire()
        self.put(ts, MARKET, what)

    async def get(self) -> tuple[int, int, Any]:
        """The first of what waits: (ts, kind, what)."""
        while not self._heap:
            self._filled.clear()
            await self._filled.wait()
        ts, kind, _, what = heapq.heappop(self._heap)
        if kind == MARKET:
            self._room.release()
        return ts, kind, what

    def __len__(self) -> int:
        return len(self._heap)
