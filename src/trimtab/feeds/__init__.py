"""Where bars come from while an engine runs: each feed turns its source into grid rows, in order, each row once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple, Protocol

from trimtab.types import F64


class GridRow(NamedTuple):
    """A row of the grid that is due: every bar has closed, or the grace has passed.

    ts    close instant, ns UTC
    bars  (N, K) the fields of each instrument; NaN: a bar that has not come
    """

    ts: int
    bars: F64


class LateBar(NamedTuple):
    """A bar that came after its row was due, or another version of one that had come: it is told and not used."""

    ts: int
    instrument: int
    bar: F64  # (K,)


class FeedState(NamedTuple):
    """The source can be reached again, or no longer."""

    is_up: bool
    reason: str = ""


FeedEvent = GridRow | LateBar | FeedState


class Feed(Protocol):
    """A source of rows. `fields` is the K axis of every row: open, high, low, close, volume, duration, then others."""

    fields: tuple[str, ...]

    def rows(self, after: int) -> AsyncIterator[FeedEvent]:
        """Rows that close after an instant (ns UTC; 0: from the feed's own beginning), in order, until there are none.

        The iterator's `aclose` ends the feed and frees what it holds.
        """
        ...
