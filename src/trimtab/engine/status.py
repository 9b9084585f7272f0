"""How an account stands, as one frozen value that is stored, sent and shown: what `trimtab status` tells.

Instants are ns UTC, ages seconds, money in the book's base currency, exposures fractions of equity. None: not known.
"""

from __future__ import annotations

import math

import msgspec

from trimtab.types import ORDER_STATUSES, TRADING_STATES, TrimtabError


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A position. Prices are the instrument's own; notional (signed) and unrealised are in base currency."""

    symbol: str
    lots: int
    avg_price: float | None = None
    mark: float | None = None
    notional: float | None = None
    unrealised: float | None = None


class Working(msgspec.Struct, frozen=True, kw_only=True):
    """An order that works or may do so; lots as ordered, filled of the same sign; price: its limit, else its stop."""

    client_order_id: str
    symbol: str
    lots: int
    filled: int
    kind: str
    status: str
    age: float
    price: float | None = None

    def __post_init__(self) -> None:
        if self.status not in ORDER_STATUSES:
            raise TrimtabError(f"order status {self.status!r}: expected one of {', '.join(ORDER_STATUSES)}")

    @property
    def side(self) -> str:
        return "buy" if self.lots > 0 else "sell"


class LimitUse(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that is set and what it is held against; of: the instrument, model, venue or kind, "" the book."""

    name: str
    measure: float | None
    bound: float
    of: str = ""

    @property
    def share(self) -> float | None:
        """How much of it is in use; 1 is all, None where that is not known."""
        if self.measure is None or math.isnan(self.measure):
            return None
        if self.bound == 0.0:
            return math.inf if self.measure else 0.0
        return abs(self.measure) / self.bound


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that has to be well (feed, venue, models, journal, lag), and what it says."""

    name: str
    well: bool
    said: str = ""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a model wants in an instrument since the last decision, and why; None: it abstains."""

    model: str
    symbol: str
    weight: float | None
    why: str = ""


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """The last decision: the close of its row, and what every model wanted of every instrument."""

    row: int
    wishes: tuple[Wish, ...] = ()


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """What a limit, a person or the engine did, in words."""

    ts: int
    said: str


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """All of it, as of an instant.

    state         a word of TRADING_STATES; reason: why it is not ACTIVE; killed: by the kill switch
    drawdown      fraction below the peak, >= 0
    day           profit since 00:00 UTC; day_fraction: of the equity then
    quarantined   model -> why it is not asked any more
    actions       the latest last
    written       instant of the machine's clock at which it was taken; 0: not known
    last_bar      instant of the machine's clock at which the last bar came; 0: none has
    ended         how its engine ended; empty: it was at work
    """

    ts: int
    account: str
    spec: str
    currency: str
    state: str
    equity: float | None = None
    drawdown: float | None = None
    day: float | None = None
    day_fraction: float | None = None
    gross: float | None = None
    net: float | None = None
    reason: str = ""
    killed: bool = False
    positions: tuple[Held, ...] = ()
    orders: tuple[Working, ...] = ()
    limits: tuple[LimitUse, ...] = ()
    health: tuple[Check, ...] = ()
    decided: Decided | None = None
    actions: tuple[Act, ...] = ()
    quarantined: dict[str, str] = {}
    written: int = 0
    last_bar: int = 0
    ended: str = ""

    def __post_init__(self) -> None:
        if self.state not in TRADING_STATES:
            raise TrimtabError(f"trading state {self.state!r}: expected one of {', '.join(TRADING_STATES)}")

    @property
    def is_well(self) -> bool:
        return all(check.well for check in self.health)


def state_in_words(status: Status) -> str:
    """What the state means: what passes, until when, and why."""
    if status.killed:
        words = "killed: nothing is sent but what reduces, until a person resumes it"
    else:
        words = {
            "ACTIVE": "trading",
            "REDUCING": "only what reduces risk is sent",
            "HALTED": "nothing is sent but what reduces, until a person resumes it",
        }[status.state]
    return f"{words} ({status.reason})" if status.reason else words


def lasting(seconds: float) -> str:
    """The two largest units: 3 s, 4 m 10 s, 2 h 5 m, 3 d 4 h."""
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3_600, whole // 86_400
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} m"
    return f"{minutes} m {whole % 60} s" if minutes else f"{whole} s"
