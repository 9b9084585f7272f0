"""What is measured of a running engine: occurrences are counted, and at any instant read as one frozen value.

Nothing here looks at a clock: instants (ns UTC) and durations (seconds) are told.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from trimtab.engine.events import Body, Outcome, VenueChanged
from trimtab.types import ORDER_STATUSES, SECOND, TRADING_STATES, TrimtabError

#: Upper ends of the classes into which decision latencies fall, seconds; the last class has none.
LATENCY_BOUNDS: Final = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

#: Decisions that the quantiles are taken of.
WINDOW: Final = 1_000


class Latencies(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from the close of a row's bars being known to its orders being durable.

    count, total   of all decisions
    classes        how many of them fell into each class of LATENCY_BOUNDS, and beyond
    p50, p99       of the last 1,000: the smallest that at least this share does not exceed; None before the first
    """

    count: int = 0
    total: float = 0.0
    classes: tuple[int, ...] = (0,) * (len(LATENCY_BOUNDS) + 1)
    p50: float | None = None
    p99: float | None = None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How the account stands after a row: money in base currency, exposures as fractions of equity, NaN: not known.

    drawdown     fraction below the peak, >= 0
    gross, net   sum of |notional| and |sum of notional|; heat: initial margin in use
    positions    instruments that are held; open_orders: those that work or may do so
    state        a word of TRADING_STATES; reason: why it is not ACTIVE
    killed       the kill switch is on
    quarantined  names of the models that are not asked any more
    """

    equity: float = math.nan
    drawdown: float = math.nan
    gross: float = math.nan
    net: float = math.nan
    heat: float = math.nan
    positions: int = 0
    open_orders: int = 0
    state: str = TRADING_STATES[0]
    reason: str = ""
    killed: bool = False
    quarantined: tuple[str, ...] = ()


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What the process says of itself.

    loop_lag         seconds by which its event loop ran late
    journal_failure  why nothing can be booked; empty: it can
    lines_dropped    lines that its logs could not take
    """

    loop_lag: float = 0.0
    journal_failure: str = ""
    lines_dropped: int = 0


WELL: Final = Health()


class Pulse(msgspec.Struct, frozen=True, kw_only=True):
    """All that is measured of an engine, as of one instant; counts are since the process began.

    ts                 instant at which it was taken
    row                close of the last row that was decided; 0: none yet
    rows               decided
    decision_latency   s, of the last row; None before the first
    event_lag          s, from the row's close to the instant at which it was decided
    last_bar           instant at which the last bar came; before the first, the instant at which the engine began
    orders             FIX status -> times that an order was told to be in it
    limit_actions      limit -> times that it acted
    venues             venue -> can it be reached
    restarts           of the process, as whoever starts it counts them
    """

    ts: int
    standing: Standing
    health: Health
    latencies: Latencies
    row: int
    rows: int
    decision_latency: float | None
    event_lag: float | None
    last_bar: int
    orders: dict[str, int]
    limit_actions: dict[str, int]
    venues: dict[str, bool]
    restarts: int

    def staleness(self, now: int = 0) -> float:
        """Seconds since the last bar, at the pulse or at a later instant."""
        return max(0, max(now, self.ts) - self.last_bar) / SECOND


class Bounds(NamedTuple):
    """From where on an engine is unwell, seconds; inf: never.

    staleness  since the last bar: at least a timeframe and its grace, and what a session market sleeps
    silence    since the last pulse
    """

    staleness: float = math.inf
    loop_lag: float = 1.0
    silence: float = math.inf


def degraded(quarantined: Sequence[str]) -> str:
    """What it means that models are in quarantine."""
    names, are = ", ".join(quarantined), "is" if len(quarantined) == 1 else "are"
    return f"degraded: {names} {are} in quarantine, with weights of 0 for as long as the account lasts"


def ailments(pulse: Pulse, now: int, bounds: Bounds) -> tuple[str, ...]:
    """What is wrong with an engine at an instant, one sentence each; empty: it is well."""
    standing, health = pulse.standing, pulse.health
    silence, staleness = (now - pulse.ts) / SECOND, pulse.staleness(now)
    found = [f"venue {venue} cannot be reached" for venue, is_up in sorted(pulse.venues.items()) if not is_up]
    if staleness > bounds.staleness:
        found.append(f"feed stale: the last bar came {staleness:.1f} s ago, {bounds.staleness:g} s are allowed")
    if standing.killed:
        found.append("killed" + _because(standing.reason))
    elif standing.state == "HALTED":
        found.append("halted" + _because(standing.reason))
    if standing.quarantined:
        found.append(degraded(standing.quarantined))
    if health.journal_failure:
        found.append("journal failed" + _because(health.journal_failure))
    if health.loop_lag > bounds.loop_lag:
        found.append(f"loop lag: {health.loop_lag:.3f} s late, {bounds.loop_lag:g} s are allowed")
    if silence > bounds.silence:
        found.append(f"loop lag: nothing was heard of the engine for {silence:.1f} s")
    return tuple(found)


class Meter:
    """Counts what happens to an engine; memory does not grow with it.

    limits     names that are counted from zero on, so that whoever watches sees the first action too
    restarts   of the process before this one
    """

    def __init__(self, began: int, *, limits: Iterable[str] = (), venues: Iterable[str] = (), restarts: int = 0):
        self._row, self._rows = 0, 0
        self._latency: float | None = None
        self._lag: float | None = None
        self._last_bar = began
        self._orders: dict[str, int] = dict.fromkeys(ORDER_STATUSES, 0)
        self._limit_actions = dict.fromkeys(limits, 0)
        self._venues = dict.fromkeys(venues, True)
        self._restarts = restarts
        self._total = 0.0
        self._classes = [0] * (len(LATENCY_BOUNDS) + 1)
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []  # the same, smallest first

    def add_bars(self, now: int, count: int) -> None:
        """So many bars came with a row; a row without any (all of them missing) does not make a feed fresh."""
        if count:
            self._last_bar = max(self._last_bar, now)

    def add_row(self, row: int, now: int, latency: float) -> None:
        """A row was decided at an instant; latency: s from its bars being known to its orders being durable."""
        if not 0.0 <= latency < math.inf:
            raise TrimtabError(f"a decision latency of {latency} s: expected seconds, by a monotonic clock")
        self._row, self._rows = row, self._rows + 1
        self._latency, self._lag = latency, (now - row) / SECOND
        self._total += latency
        self._classes[bisect.bisect_left(LATENCY_BOUNDS, latency)] += 1
        if len(self._recent) == WINDOW:
            del self._sorted[bisect.bisect_left(self._sorted, self._recent.popleft())]
        self._recent.append(latency)
        bisect.insort(self._sorted, latency)

    def add(self, body: Body) -> None:
        """What the journal booked as new: what is known of an order or of a venue is counted, the rest is not."""
        if isinstance(body, Outcome):
            self._orders[body.status] += 1
        elif isinstance(body, VenueChanged):
            self._venues[body.venue] = body.up

    def add_limit_action(self, limit: str) -> None:
        """A limit has scaled, refused, reduced, flattened, halted or resumed."""
        self._limit_actions[limit] = self._limit_actions.get(limit, 0) + 1

    def pulse(self, now: int, standing: Standing, health: Health = WELL) -> Pulse:
        """All of it, as of an instant."""
        return Pulse(
            ts=now,
            standing=standing,
            health=health,
            latencies=Latencies(
                count=self._rows,
                total=self._total,
                classes=tuple(self._classes),
                p50=self._quantile(0.5),
                p99=self._quantile(0.99),
            ),
            row=self._row,
            rows=self._rows,
            decision_latency=self._latency,
            event_lag=self._lag,
            last_bar=self._last_bar,
            orders=dict(self._orders),
            limit_actions=dict(self._limit_actions),
            venues=dict(self._venues),
            restarts=self._restarts,
        )

    def _quantile(self, share: float) -> float | None:
        count = len(self._sorted)
        return self._sorted[math.ceil(share * count) - 1] if count else None


def cumulative(latencies: Latencies) -> tuple[tuple[float, int], ...]:
    """(upper end in seconds, decisions that did not take longer), the last end infinite."""
    return tuple(zip((*LATENCY_BOUNDS, math.inf), itertools.accumulate(latencies.classes), strict=True))


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
