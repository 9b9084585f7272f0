"""What an engine says to a venue and hears from it. Every venue speaks this: the simulated one and the exchanges.

An order may have an outcome that nobody knows. Reports may come late, twice and out of order. A client order id names
one attempt to place one order: it is asked about as often as needed and never sent a second time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple, Protocol

from trimtab.rules.fills import Execution
from trimtab.types import F64, I64, Order

# --- to a venue ------------------------------------------------------------------------------------------------------


class Submit(NamedTuple):
    """Place an order. Where it takes the place of another, that one must be known to be gone first."""

    cid: str
    slot: int  # see rules.book
    order: Order
    replaces: str = ""  # cid of an order that was canceled for it


class Cancel(NamedTuple):
    """Withdraw an order; attempt: an order is withdrawn anew as long as the venue says that it stands."""

    cid: str
    instrument: int
    slot: int
    attempt: int = 1


class Amend(NamedTuple):
    """Change what is left of a protective order and its price."""

    cid: str
    instrument: int
    slot: int
    lots: int
    limit_price: float
    stop_price: float


class Decided(NamedTuple):
    """What stood behind the orders of a decision; of use only to a venue that simulates what the engine does itself
    between two rows where a venue is real: it lets purchases wait for sales, and shares fills among models.

    target                     (M, N) virtual lots
    goal                       (N,) lots that the gate allowed
    scale, crossing, closing   (N,) see rules.book.POSITION
    tight                      see rules.book.HEAD
    equity                     of the book at the decision, base currency
    """

    target: F64
    goal: I64
    scale: F64
    crossing: I64
    closing: I64
    tight: int
    equity: float


Order_ = Submit | Cancel | Amend | Decided


# --- from a venue ----------------------------------------------------------------------------------------------------


class Filled(NamedTuple):
    """An order filled, in part or whole. A trade id names one trade of the account, whatever the instrument; it may be
    reported many times.

    cid      empty: of an order that the venue made itself for a position, known by its slot
    reason   why no more of it filled; waited: what it had waited for (rules.orders)
    """

    trade_id: str
    cid: str
    instrument: int
    slot: int
    lots: int
    done: Execution
    ts: int
    reason: int = 0
    waited: int = 0


class Ended(NamedTuple):
    """An order is gone, for a reason of rules.orders; what of it had filled was reported as fills."""

    cid: str
    instrument: int
    slot: int
    reason: int
    waited: int
    ts: int


class Working(NamedTuple):
    """An order stands at the venue.

    arrived    1: it has met the market; day: UTC day on which it came there, -1: not there yet
    triggered  1: its stop price was touched
    lots       signed, of the whole order; 0: not said
    """

    cid: str
    instrument: int
    slot: int
    arrived: int
    day: int
    triggered: int
    reason: int
    waited: int
    lots: int = 0


class Unknown(NamedTuple):
    """An order was sent, and nobody can say what became of it."""

    cid: str
    instrument: int
    slot: int
    ts: int


class Crossed(NamedTuple):
    """The market can be traded at a mid price: what two models want of each other is exchanged."""

    instrument: int
    mid: float
    ts: int


class Liquidated(NamedTuple):
    """The venue closed a position for want of margin; lots: signed, that it traded."""

    trade_id: str
    instrument: int
    lots: int
    price: float
    ts: int


class Cash(NamedTuple):
    """Cash came into a wallet, or went, and not for a trade; its id comes once."""

    flow_id: str
    wallet: int
    amount: float
    ts: int


Report = Filled | Ended | Working | Unknown | Crossed | Liquidated | Cash


class Snapshot(NamedTuple):
    """What a venue says of an account when it is asked: all of it, as of one instant.

    lots       (N,) held
    cash       (C,) by wallet, each in its own currency
    orders     cid -> lots left, of every order that is open
    trade_id   of the last trade that it holds; empty: none, or not said
    protects   True: the venue places what protects a position itself, and `orders` is without it
    """

    ts: int
    lots: I64
    cash: F64
    orders: dict[str, int]
    trade_id: str = ""
    protects: bool = False


class Ambiguous(Exception):
    """A call may have reached the venue or not: what became of it is not known until the venue says so."""


class Unreachable(Exception):
    """A call has surely not reached the venue."""


class Venue(Protocol):
    """A venue as the engine's rim uses it. Every call may raise Ambiguous or Unreachable.

    What a call answers, and what else happens meanwhile, comes as reports. tests/contract/venues holds every venue to
    what is said here.
    """

    async def send(self, command: Order_) -> list[Report]:
        """Do what is asked. An order under an id that was used before is never a second order: what is known of the
        first is the answer. To cancel what is gone, or was never here, does no harm."""
        ...

    async def row(self, ts: int, bars: F64) -> list[Report]:
        """A row of the market has closed: what happened inside it, where the venue only learns it from bars."""
        ...

    async def ask(self, cid: str) -> list[Report]:
        """All that the venue knows of one order, its fills first and then how it stands or ended; empty: it is nowhere,
        at a time when it would have to be."""
        ...

    async def since(self, trade_id: str) -> list[Report]:
        """Fills after one of them, in order; empty id: from the first that the venue keeps."""
        ...

    async def snapshot(self) -> Snapshot:
        """The account as of one instant: lots and cash are what its fills have made of them."""
        ...

    def reports(self) -> AsyncIterator[Report]:
        """What it says without being asked, as it happens and for as long as anybody listens."""
        ...
