"""Candles in, grid rows out. Pure: time is an argument and nothing is awaited, so any order of arrival can be tested.

What a stream says is heard (`hear`); what is missing is asked for (`asks`) and answered by REST (`fill`, `answered`).
A row is given (`due`) once each instrument's bar in it has closed or is known to be absent. A bar is given up (NaN, and
told as a LateBar if it comes) only where its grace has passed, the row has a bar of somebody else, the stream was there
when it closed, nothing hints at a loss, and REST was asked in vain. So neither a lost connection nor a process that
stood still makes holes. What was given never changes.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.feeds import FeedEvent, GridRow, LateBar
from trimtab.schedule import anchor_of
from trimtab.types import BAR_FIELDS, F64, SECOND

#: Prices and volumes beyond this are no market's.
LARGEST: Final = 1e18

#: Rows that were given and are remembered, to tell a late or revised bar from one that is repeated.
REMEMBERED: Final = 256

#: Rows that are asked for at once; a longer gap is filled in parts.
CHUNK: Final = 1_000

_NEVER: Final = 2**63 - 1


class Candle(NamedTuple):
    """What a venue says of one bar; prices in quote currency, volume in base units (NaN: unknown).

    instrument  its index in the feed
    open_time   ns UTC
    closed      the venue says that it will not change; False: it may, or this venue does not say
    """

    instrument: int
    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    closed: bool


class Gap(NamedTuple):
    """Bars that are missing: an instrument, and the first and last instant at which one opened (ns UTC)."""

    instrument: int
    first: int
    last: int


class Patience(NamedTuple):
    """How long a bar is waited for, in ns after its close.

    ask    then a missing bar is asked for; also how far ahead of the clock a venue's may be
    grace  then a bar that the venue does not have is absent, and one that did not come is late
    """

    ask: int = 5 * SECOND // 2
    grace: int = 10 * SECOND


class _Waiting:
    """A row that is not given yet. newest: the last version told of each bar, where it differs from the one taken."""

    __slots__ = ("bars", "newest", "settled")

    def __init__(self, instruments: int) -> None:
        self.bars: F64 = np.full((instruments, len(BAR_FIELDS)), np.nan)
        self.settled: NDArray[np.bool_] = np.zeros(instruments, np.bool_)
        self.newest: dict[int, F64] = {}


class Assembler:
    """Turns candles of N instruments into rows of a grid.

    every    ns, the timeframe
    after    ns UTC; the first row closes after it
    flagged  the venue's stream says when a bar has closed. Where it does not, a bar closes when the next one begins, or
             when the grace has passed
    next     ns UTC, the close of the row that is given next
    counts   what came and was not used, by reason: duplicate, stale, late, revised, malformed, future
    """

    def __init__(self, instruments: int, every: int, after: int, *, flagged: bool, patience: Patience) -> None:
        self.every = every
        self.patience = patience
        self.counts: Counter[str] = Counter()
        self.quarantine: deque[tuple[str, Candle]] = deque(maxlen=16)
        self._n = instruments
        self._flagged = flagged
        self._anchor = anchor_of(every)
        self.next = after + every - (after - self._anchor) % every
        self._waiting: dict[int, _Waiting] = {}
        self._given: OrderedDict[int, F64] = OrderedDict()
        self._late: list[LateBar] = []
        self._forming: list[Candle | None] = [None] * instruments
        self._begun = np.zeros(instruments, np.int64)  # open of the newest bar heard of
        self._joined = np.full(instruments, _NEVER)  # since when the stream speaks of it
        self._tried = np.zeros(instruments, np.int64)  # the last close that was asked for, with or without an answer
        self._asking = np.zeros(instruments, np.bool_)
        self._again = np.zeros(instruments, np.int64)  # not to be asked for before

    # What comes in ------------------------------------------------------------------------------------------------

    def hear(self, candle: Candle, now: int) -> bool | None:
        """A candle of the stream. -> whether there may be something new to give or to ask for; None: it is refused."""
        if not self._is_good(candle, now):
            return None
        n = candle.instrument
        self._joined[n] = min(int(self._joined[n]), now)
        begins = candle.open_time > self._begun[n]
        if begins:
            self._begun[n] = candle.open_time
            self._close_forming(n)
        if candle.closed:
            self._close(candle)
        elif not self._flagged and candle.open_time == self._begun[n]:
            self._forming[n] = candle
        return bool(begins or candle.closed)

    def leave(self) -> None:
        """The stream has ended: what it was saying is not known to be whole, and what it would have said is missing."""
        self._forming = [None] * self._n
        self._joined[:] = _NEVER

    def fill(self, window: Gap, candles: Iterable[Candle], asked: int) -> None:
        """What REST has for a window, asked for at an instant: what it lacks is absent once its grace has passed.

        candles  of bars that have closed
        """
        for candle in candles:
            if window.first <= candle.open_time <= window.last and self._is_good(candle, asked):
                self._close(candle)
        last = min(window.last + self.every, asked - self.patience.grace)
        for ts in range(max(window.first + self.every, self.next), last + 1, self.every):
            self._row(ts).settled[window.instrument] = True

    def answered(self, gap: Gap, again: int) -> None:
        """A question has been answered or has failed; what is still missing may be asked for from an instant on."""
        n = gap.instrument
        self._tried[n] = max(int(self._tried[n]), gap.last + self.every)
        self._asking[n] = False
        self._again[n] = again

    # What goes out ------------------------------------------------------------------------------------------------

    def due(self, now: int) -> list[FeedEvent]:
        """Late bars, and the rows that can be given; rows in which nobody has a bar are none of the grid."""
        events: list[FeedEvent] = list(self._late)
        self._late.clear()
        while self.next <= now + self.patience.ask and self._is_due(self.next, now):
            row = self._row(self.next)
            if not np.isnan(row.bars[:, 0]).all():
                bars = row.bars.copy()
                bars.flags.writeable = False
                events.append(GridRow(self.next, bars))
            for n, bar in row.newest.items():
                row.bars[n] = bar
            del self._waiting[self.next]
            self._given[self.next] = row.bars
            if len(self._given) > REMEMBERED:
                self._given.popitem(last=False)
            self.next += self.every
        return events

    def asks(self, now: int) -> list[Gap]:
        """What is to be asked for now, each once until it is answered; the oldest rows first."""
        last = min(self._grid(now - self.patience.ask), self.next + (CHUNK - 1) * self.every)
        rows = range(self.next, last + 1, self.every)
        free = np.flatnonzero(~self._asking & (self._again <= now))
        if not rows or not len(free):
            return []
        none = np.zeros(self._n, np.bool_)
        settled = np.array([row.settled if (row := self._waiting.get(ts)) else none for ts in rows])
        gaps: list[Gap] = []
        for n in free:
            missing = np.flatnonzero(~settled[:, n])
            if len(missing):
                self._asking[n] = True
                opens = [rows[int(k)] - self.every for k in (missing[0], missing[-1])]
                gaps.append(Gap(int(n), opens[0], opens[1]))
        return gaps

    def until(self, now: int) -> int:
        """The next instant at which time alone may bring something to give or to ask for."""
        ask, grace = self.patience
        following = max(self._grid(now - ask) + self.every, self.next) + ask
        instants = [self.next + grace, following, *(int(again) for again in self._again[~self._asking])]
        return min(instant for instant in instants if instant > now)

    # ----------------------------------------------------------------------------------------------------------------

    def _grid(self, ts: int) -> int:
        """The last close of the grid at or before an instant."""
        return ts - (ts - self._anchor) % self.every

    def _row(self, ts: int) -> _Waiting:
        row = self._waiting.get(ts)
        if row is None:
            row = self._waiting[ts] = _Waiting(self._n)
        return row

    def _is_due(self, ts: int, now: int) -> bool:
        """Has every bar of a row closed, or is it given up?"""
        row = self._row(ts)
        if row.settled.all():
            return True
        if ts + self.patience.grace > now:
            return False
        seen = (self._joined < ts) & (self._tried >= ts)
        for n in np.flatnonzero(~row.settled & seen):
            forming = self._forming[n]
            if forming is not None and forming.open_time + self.every == ts:
                self._close_forming(int(n))
        # Where the next bar has begun without this one having closed, its end was lost, and only REST can tell it.
        late = seen & (self._begun < ts) & ~np.isnan(row.bars[:, 0]).all()
        return bool((row.settled | late).all())

    def _close_forming(self, n: int) -> None:
        """No more will be said of a bar; unless REST has told it in the meantime, what was said last is what it was."""
        forming = self._forming[n]
        self._forming[n] = None
        if forming is not None:
            ts = forming.open_time + self.every
            if ts >= self.next and math.isnan(self._row(ts).bars[n, 0]):
                self._close(forming)

    def _close(self, candle: Candle) -> None:
        ts, n = candle.open_time + self.every, candle.instrument
        bar: F64 = np.array([*candle[2:7], float(self.every)])
        if ts < self.next:
            self._come_late(ts, n, bar)
            return
        row = self._row(ts)
        taken: F64 = row.newest[n] if n in row.newest else row.bars[n]
        if math.isnan(taken[0]):
            row.bars[n] = bar
            row.settled[n] = True
        elif np.array_equal(taken, bar, equal_nan=True):
            self.counts["duplicate"] += 1
        else:
            row.newest[n] = bar
            self._tell("revised", LateBar(ts, n, bar))

    def _come_late(self, ts: int, n: int, bar: F64) -> None:
        given = self._given.get(ts)
        if given is None:
            self.counts["stale"] += 1
        elif np.array_equal(given[n], bar, equal_nan=True):
            self.counts["duplicate"] += 1
        else:
            self._tell("late" if math.isnan(given[n, 0]) else "revised", LateBar(ts, n, bar))
            given[n] = bar

    def _tell(self, reason: str, late: LateBar) -> None:
        self.counts[reason] += 1
        self._late.append(late)

    def _is_good(self, candle: Candle, now: int) -> bool:
        """Is it a bar of this grid, and of a market, and not of the future? What is not is counted and kept apart."""
        ahead = candle.open_time + (self.every if candle.closed else 0) - now
        if not self._is_well_formed(candle):
            fault = "malformed"
        elif ahead > self.patience.ask:
            fault = "future"
        else:
            return True
        self.counts[fault] += 1
        self.quarantine.append((fault, candle))
        return False

    def _is_well_formed(self, c: Candle) -> bool:
        prices = c[2:6]
        return (
            0 <= c.instrument < self._n
            and (c.open_time - self._anchor) % self.every == 0
            and all(0.0 < price <= LARGEST for price in prices)
            and c.high == max(prices)
            and c.low == min(prices)
            and (math.isnan(c.volume) or 0.0 <= c.volume <= LARGEST)
        )
