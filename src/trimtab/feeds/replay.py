"""Rows of a panel as a feed: history at any speed, and synthetic markets."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Final

import numpy as np

from trimtab.feeds import FeedEvent, GridRow
from trimtab.feeds.clock import MONOTONIC, Clock
from trimtab.types import SECOND, Panel, TrimtabError
from trimtab.words import shortest

#: Rows that are given at full speed before other tasks have their turn, whether or not the consumer waits for anything.
_TURN: Final = 64


class ReplayFeed:
    """The rows of a panel with their NaN as they are, in order.

    speed  0: as fast as they are taken; else how many times faster than they came, counted from the first row that is
           given. A consumer that falls behind is not waited for: it finds the rows due, and catches up.
    clock  monotonic

    The bars of a row are the panel's own memory, which is read-only.
    """

    def __init__(self, panel: Panel, *, speed: float = 0.0, clock: Clock = MONOTONIC) -> None:
        if not (math.isfinite(speed) and speed >= 0.0):
            raise TrimtabError(
                f"speed of a replay is {shortest(speed)}: expected 0 (as fast as it goes), or how many times faster "
                "than real time"
            )
        self.fields = panel.fields
        self._panel = panel
        self._speed = speed
        self._clock = clock

    async def rows(self, after: int) -> AsyncIterator[FeedEvent]:
        """Rows that close after an instant, until the panel ends."""
        ts, values = self._panel.ts, self._panel.values
        first = int(np.searchsorted(ts, after, side="right"))
        began = self._clock.now()
        for t in range(first, len(ts)):
            if self._speed:
                elapsed = self._clock.now() - began
                wait = (int(ts[t]) - int(ts[first])) / self._speed - elapsed
                await self._clock.sleep(max(wait, 0.0) / SECOND)
            elif (t - first) % _TURN == 0:
                await asyncio.sleep(0)
            yield GridRow(int(ts[t]), values[t])
