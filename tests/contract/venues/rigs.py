"""Venues on a test's bench: how each is made, how its market is moved and its line is broken, and its own books.

A new venue joins the suite with one line in RIGS.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, Literal, NamedTuple, Protocol

import numpy as np

from tests.chaos.world import FIRST, LENGTH, setup_of, venue_of
from trimtab.types import BAR_FIELDS
from trimtab.venues import Filled, Liquidated, Order_, Report, Unreachable, Venue
from trimtab.venues.link import Faults, PaperLink
from trimtab.venues.paper import PaperVenue

#: Instruments of every rig, the size of a lot, and the cash that there is to begin with.
COUNT: Final = 2
LOT: Final = 0.01
CASH: Final = 100_000.0

#: Lots that trade at a price where nobody says how many.
DEEP: Final = 1_000_000


class Books(NamedTuple):
    """What a venue's own books say, read past the line.

    lots    (COUNT,) held; cash: in the quote currency
    trades  in the order in which they happened
    left    cid -> lots that may still fill, of every order that is open
    """

    lots: list[int]
    cash: float
    trades: list[Filled | Liquidated]
    left: dict[str, int]


class Rig(Protocol):
    """A venue with COUNT instruments at 100, each in lots of LOT, and an account with CASH and nothing else."""

    venue: Venue

    async def move(self, *prices: float, depth: int = DEEP) -> list[Report]:
        """The market goes to these prices, where `depth` lots of each can be traded; what the venue says of it without
        being asked: nothing while the line is cut."""
        ...

    def cut(self) -> None:
        """From now on nothing goes through the line."""
        ...

    def heal(self) -> None: ...

    def lose(self, what: Literal["order", "answer"]) -> None:
        """What is sent next does not arrive, or it does and its answer is lost; an order or a cancel."""
        ...

    def books(self) -> Books: ...


class Losing(PaperLink):
    """The link of a drill which, whatever its plan, may lose one thing."""

    def __init__(self, venue: PaperVenue, faults: Faults | None, seed: int) -> None:
        super().__init__(venue, faults, seed)
        self._plan = faults

    async def send(self, command: Order_) -> list[Report]:
        try:
            return await super().send(command)
        finally:
            self.faults = self._plan


class PaperRig:
    """The simulated exchange: its market is moved by rows."""

    def __init__(self, protected: bool, faults: Faults | None = None, seed: int = 0) -> None:
        self._paper = venue_of(setup_of(protected, False, False))
        self._link = Losing(self._paper, faults, seed)
        self._rows = 0
        self.venue: Venue = self._link

    async def move(self, *prices: float, depth: int = DEEP) -> list[Report]:
        volume = depth * LOT / 0.2 * (1.0 + 1e-9)  # a fifth of what is traded can be ours
        bars = np.array([[p, p * 1.0001, p * 0.9999, p, volume, LENGTH] for p in prices])
        assert bars.shape == (COUNT, len(BAR_FIELDS))
        ts = FIRST + self._rows * LENGTH
        self._rows += 1
        with contextlib.suppress(Unreachable):
            return await self.venue.row(ts, bars)
        return []

    def cut(self) -> None:
        self._link.cut = 2**40

    def heal(self) -> None:
        self._link.cut = 0

    def lose(self, what: Literal["order", "answer"]) -> None:
        self._link.faults = Faults(lost=1.0) if what == "order" else Faults(unanswered=1.0)

    def books(self) -> Books:
        book, trades = self._paper.book, self._paper.since("")
        left = self._paper.snapshot().orders
        assert all(isinstance(t, (Filled, Liquidated)) for t in trades)
        return Books(book.positions["lots"].tolist(), float(book.cash[0]), trades, left)  # type: ignore[arg-type]


Make = Callable[[], AbstractAsyncContextManager[Rig]]


def paper(protected: bool = False, faults: Faults | None = None, seed: int = 0) -> Make:
    @contextlib.asynccontextmanager
    async def make() -> AsyncIterator[Rig]:
        yield PaperRig(protected, faults, seed)

    return make
