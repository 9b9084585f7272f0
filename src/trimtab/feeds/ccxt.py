"""Live public bars of any venue that ccxt knows: a stream where there is one, REST for what it did not bring, no key.

The stream is one session after another; how each ended is told, and the next begins after a back-off. Whatever it did
not bring is asked for by REST shortly after its close, so rows do not depend on the stream's health: a connection that
is lost, mute or full of rubbish costs seconds, not bars.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from trimtab import exchanges
from trimtab.feeds import FeedEvent, FeedState
from trimtab.feeds import exchange as venues
from trimtab.feeds.assemble import Assembler, Candle, Gap, Patience
from trimtab.feeds.clock import STEADY, Clock
from trimtab.types import BAR_FIELDS, SECOND, TIMEFRAMES, Instrument, TrimtabError

_MS: Final = 1_000_000

#: Requests that may be under way at once.
_AT_ONCE: Final = 4

#: ns for which a comparison with the venue's clock is trusted, and where its bars seem to be ahead of time.
_TRUST: Final = 900 * SECOND
_DOUBT: Final = 60 * SECOND

#: Seconds that a connection may take to say goodbye.
_FAREWELL: Final = 2.0


class Settings(NamedTuple):
    """How a live feed behaves.

    history    rows before now with which it begins, where it is not told after which instant
    patience   how long after its close a bar is waited for
    silence    seconds without a word about an instrument after which REST is asked whether there is something to say
    pause      (first, longest) seconds between two attempts; each doubles the one before, and a random half is taken
               off, so that many clients do not come back at once
    seed       of that chance
    """

    history: int = 0
    patience: Patience = Patience()
    silence: float = 60.0
    pause: tuple[float, float] = (1.0, 60.0)
    seed: int | None = None


class CcxtFeed:
    """Bars of instruments of one venue, live.

    venue      ccxt's id: binance, bybit, kraken, …
    counts     what came and was not used since the feed was made, by reason (`assemble.Assembler`), and unreadable
               messages, sessions of the stream, and requests that failed
    configure  what is done to each ccxt exchange before it is used (a venue on loopback)

    TrimtabError: ccxt is not installed or knows no such venue; at the first row: it has no such market or timeframe.
    """

    fields: tuple[str, ...] = BAR_FIELDS

    def __init__(
        self,
        venue: str,
        instruments: Sequence[Instrument],
        timeframe: str,
        *,
        settings: Settings | None = None,
        clock: Clock = STEADY,
        configure: Callable[[Any], None] | None = None,
    ) -> None:
        if timeframe not in TIMEFRAMES:
            raise TrimtabError(f"timeframe {timeframe!r}: expected one of {', '.join(TIMEFRAMES)}")
        if not instruments:
            raise TrimtabError("a live feed needs at least one instrument, and has none")
        venues.maker_of(venue)  # here, and not while an engine's loop runs
        self.venue = venue
        self.instruments = tuple(instruments)
        self.timeframe = timeframe
        self.settings = settings or Settings()
        self.clock = clock
        self.configure = configure
        self.counts: Counter[str] = Counter()

    def open(self) -> Any:
        exchange = venues.open_exchange(self.venue, self.configure)
        exchanges.narrow(exchange, self.instruments)
        return exchange

    async def rows(self, after: int) -> AsyncIterator[FeedEvent]:
        """Rows that close after an instant, first those that REST has, then live ones, for ever.

        after  0: `Settings.history` rows before now
        """
        live = _Live(self)
        try:
            async with contextlib.aclosing(live.events(after)) as events:
                async for event in events:
                    yield event
        finally:
            await live.close()


class _Live:
    """One pass over a feed: its connections, and what is known of them."""

    def __init__(self, feed: CcxtFeed) -> None:
        self.feed = feed
        self.rest = feed.open()
        self.clock = feed.clock
        self.ahead = 0  # ns by which the venue's clock is ahead of ours
        self.compared = self.looked = 0  # by our clock, when that was found, and when it was last asked for
        self.chance = np.random.default_rng(feed.settings.seed)
        self.wake = asyncio.Event()
        self.tasks: set[asyncio.Task[object]] = set()
        self.partings: set[asyncio.Task[None]] = set()
        self.broken: BaseException | None = None  # what one of them died of
        self.words = 0  # candles of the stream that could be used
        self.known: list[tuple[float, ...]] = []  # the bar that was last heard of, by instrument
        self.heard: list[int] = []  # and when, by our clock
        self.lane = asyncio.Semaphore(_AT_ONCE)
        self.failures = 0  # of REST, since its last answer
        self.not_before = 0  # the venue wants to be left alone until then
        self.faults: dict[str, str] = {}
        self.told_up: bool | None = None
        self.states: list[FeedEvent] = []
        exchanges.note_pauses(self.rest, self._leave_alone)

    def now(self) -> int:
        """The venue's time."""
        return self.clock.now() + self.ahead

    # The rows ------------------------------------------------------------------------------------------------------

    async def events(self, after: int) -> AsyncGenerator[FeedEvent, None]:
        while not await self._prepare():
            for state in self._new_states():
                yield state
            await self.clock.sleep(self._pause(self.failures))
        feed, every = self.feed, TIMEFRAMES[self.feed.timeframe]
        self.assembler = Assembler(
            len(feed.instruments),
            every,
            after or self.now() - feed.settings.history * every,
            flagged=feed.venue in venues.FLAGGED,
            patience=feed.settings.patience,
        )
        self.assembler.counts = feed.counts
        if venues.has_stream(self.rest):
            self._start(self._stream())
        while True:
            now = self.now()
            for event in (*self._new_states(), *self.assembler.due(now)):
                yield event
            for gap in self.assembler.asks(now):
                self._start(self._fill(gap))
            if self.broken is not None:
                raise self.broken
            self._look_at_clock(_TRUST)
            await self._rest_until(self.assembler.until(now))

    async def _prepare(self) -> bool:
        """Markets, clock and symbols; -> whether the venue answered."""
        if await self._ask(self.rest.load_markets) is None or not await self._compare_clocks():
            return False
        feed = self.feed
        if feed.timeframe not in self.rest.timeframes:
            known = ", ".join(name for name in TIMEFRAMES if name in self.rest.timeframes)
            raise TrimtabError(f"{feed.venue} has no bars of {feed.timeframe}: it has {known}")
        markets = [exchanges.market_of(self.rest, instrument) for instrument in feed.instruments]
        self.symbols = [str(market["symbol"]) for market in markets]
        self.index = {symbol: n for n, symbol in enumerate(self.symbols)}
        self.by_id = {str(market["id"]): n for n, market in enumerate(markets)}
        if len(self.by_id) < len(markets):
            raise TrimtabError(f"{feed.venue}: two instruments are the same market, or a spot and a swap of one name: "
                               f"{', '.join(self.symbols)}; give each a feed of its own")  # fmt: skip
        return True

    async def _rest_until(self, instant: int) -> None:
        """Until something has come; at an instant (the venue's) time alone may have brought something."""
        if not self.wake.is_set():
            alarm = asyncio.ensure_future(self.clock.sleep(max(instant - self.now(), 0) / SECOND))
            woken = asyncio.ensure_future(self.wake.wait())
            try:
                await asyncio.wait((alarm, woken), return_when=asyncio.FIRST_COMPLETED)
            finally:
                alarm.cancel()
                woken.cancel()
        self.wake.clear()

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await asyncio.gather(_part(self.rest), *self.partings)

    def _start(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[object]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.broken = task.exception()
        self.wake.set()

    # What is known of the source -----------------------------------------------------------------------------------

    def _fault(self, part: str, reason: str) -> None:
        """A part of the source has failed, or with no reason is well again."""
        if reason:
            self.faults[part] = reason
        else:
            self.faults.pop(part, None)
        is_up = not self.faults
        if is_up != self.told_up:
            self.told_up = is_up
            self.states.append(FeedState(is_up, "; ".join(self.faults.values())))
            self.wake.set()

    def _new_states(self) -> list[FeedEvent]:
        states, self.states = self.states, []
        return states

    def _pause(self, attempt: int) -> float:
        return pause_of(self.feed.settings.pause, attempt, float(self.chance.random()))

    # REST ----------------------------------------------------------------------------------------------------------

    def _leave_alone(self, seconds: float) -> None:
        wanted = max(seconds, self._pause(self.failures + 1))
        self.not_before = max(self.not_before, self.clock.now() + int(wanted * SECOND))

    async def _ask(self, request: Callable[[], Awaitable[Any]]) -> Any:
        """The answer, or None if there was none, or the venue wants to be left alone."""
        import ccxt

        async with self.lane:
            if self.clock.now() < self.not_before:
                return None
            answer: Any = []
            try:
                answer = await request()
            except ccxt.BadSymbol:
                pass  # taken off the venue: it has no bars of it
            except (ccxt.AuthenticationError, ccxt.NotSupported, ccxt.ArgumentsRequired) as error:
                raise TrimtabError(f"{self.feed.venue} gives no bars without a key, or none at all: {error}") from error
            except Exception as error:  # no answer, or one that ccxt cannot read, which may raise anything
                self.failures += 1
                self.feed.counts["failed requests"] += 1
                self._fault("rest", f"{self.feed.venue} does not answer ({type(error).__name__}: {error})"[:300])
                return None
        self.failures = 0
        self._fault("rest", "")
        return answer

    async def _compare_clocks(self) -> bool:
        """How far the venue's clock is ahead, at the least: bars never close early by it. -> whether that is known"""
        self.looked = self.clock.now()
        if not self.rest.has.get("fetchTime"):
            return True

        async def measured() -> tuple[int, int]:
            before = self.clock.now()
            theirs = int(await self.rest.fetch_time()) * _MS
            after = self.clock.now()
            return theirs - after, after - before

        if (found := await self._ask(measured)) is None:
            return False
        ahead, took = found
        is_known = not self.compared or took <= self.feed.settings.patience.ask
        if is_known:
            self.ahead, self.compared = ahead, self.clock.now()
        return is_known

    def _look_at_clock(self, after: int) -> None:
        """Compare clocks again if the last time is so many ns ago, or seems to be to come: then ours was set back."""
        if not 0 <= self.clock.now() - self.looked < after:
            self.looked = self.clock.now()
            self._start(self._compare_clocks())

    async def _bars(self, instrument: int, first: int | None, count: int) -> list[Candle] | None:
        since = None if first is None else first // _MS
        answer = await self._ask(
            lambda: self.rest.fetch_ohlcv(self.symbols[instrument], self.feed.timeframe, since, count)
        )
        return None if answer is None else [_candle(instrument, row) for row in answer]

    async def _fill(self, gap: Gap) -> None:
        """Ask for what is missing, page by page."""
        n, every = gap.instrument, self.assembler.every
        page = max(exchanges.page_of(self.rest, self.symbols[n]) - 1, 1)
        first, failed = gap.first, False
        while first <= gap.last and not failed:
            asked = self.now()
            wanted = Gap(n, first, min(gap.last, first + (page - 1) * every))
            count = (wanted.last - first) // every + 1
            candles = await self._bars(n, first, count + 1)  # the one that follows proves that the last has closed
            failed = candles is None or (len(candles) <= count and not await self._is_time_sure())
            if candles is not None and not failed:
                asked = min(asked, self.now())
                # Venues that give fewer bars at once than they were asked for stop early: the rest is another page.
                told = [candle.open_time for candle in candles if first <= candle.open_time <= wanted.last]
                wanted = wanted._replace(last=max(told)) if told else wanted
                self.assembler.fill(wanted, [c for c in candles if c.open_time + every <= asked], asked)
                first = wanted.last + every
                self.wake.set()
        later = int(self._pause(self.failures) * SECOND) if failed else self.feed.settings.patience.ask
        self.assembler.answered(gap, self.now() + max(later, self.not_before - self.clock.now()))

    async def _is_time_sure(self) -> bool:
        """Has our clock been held against the venue's just now? Where only it tells that a bar has closed, it must."""
        return 0 <= self.clock.now() - self.compared < SECOND or await self._compare_clocks()

    # The stream ----------------------------------------------------------------------------------------------------

    async def _stream(self) -> None:
        """One session after another, for ever."""
        attempt = 0
        while True:
            words = self.words
            reason = await self._session()
            self.assembler.leave()
            attempt = 1 if self.words > words else attempt + 1
            self._fault("stream", f"{self.feed.venue}: {reason}"[:300])
            await self.clock.sleep(self._pause(attempt))
            await self._compare_clocks()

    async def _session(self) -> str:
        """Listen until it ends; -> why it did."""
        exchange, counts = self.feed.open(), self.feed.counts
        exchange.set_markets(self.rest.markets)
        counts["sessions"] += 1
        farewell = asyncio.get_running_loop().create_future()

        def seen(message: Any) -> None:
            if farewell.done():
                return  # what an ended session still says is not heard
            self._fault("stream", "")
            if venues.is_farewell(message) and not farewell.done():
                farewell.set_result("the venue is about to close the connection")
            if read := venues.FLAGGED.get(self.feed.venue):
                for frame in read(message):
                    self._hear_frame(frame)

        venues.look_at_messages(exchange, seen, lambda: counts.update(unreadable=1))
        self.heard = [self.clock.now()] * len(self.symbols)
        self.known = [()] * len(self.symbols)
        calls = venues.watch(exchange, self.symbols, self.feed.timeframe)
        tasks = [asyncio.ensure_future(work) for work in (*map(self._listen, calls), self._overlook())]
        try:
            done, _ = await asyncio.wait((*tasks, farewell), return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            farewell.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            parting = asyncio.create_task(_part(exchange))
            self.partings.add(parting)
            parting.add_done_callback(self.partings.discard)

    async def _listen(self, call: Callable[[], Awaitable[Any]]) -> str:
        """Hear one part of the stream until it breaks; -> how."""
        flagged = self.feed.venue in venues.FLAGGED
        while True:
            try:
                told = await call()
            except Exception as error:
                return f"the stream broke ({type(error).__name__}: {error})"
            for symbol, by_timeframe in () if flagged else told.items():
                n = self.index[symbol]
                for row in by_timeframe.get(self.feed.timeframe, ()):
                    try:
                        candle = _candle(n, row)
                    except (TypeError, ValueError, IndexError):  # ccxt puts None where a venue's message lacks a number
                        self.feed.counts["unreadable"] += 1
                        continue
                    if not self.known[n] or candle.open_time >= self.known[n][0]:
                        self._hear(candle)

    def _hear_frame(self, frame: venues.Frame) -> None:
        n = self.by_id.get(frame.market)
        if n is not None and frame.interval == self.rest.timeframes[self.feed.timeframe]:
            self._hear(Candle(n, frame.open_time * _MS, *frame.numbers, frame.closed))

    def _hear(self, candle: Candle) -> None:
        refused, now = self.feed.counts["future"], self.clock.now()
        news = self.assembler.hear(candle, self.now())
        if news is not None:
            self.words += 1
            self.heard[candle.instrument] = now
            self.known[candle.instrument] = candle[1:7]
        elif self.feed.counts["future"] > refused:
            self._look_at_clock(_DOUBT)  # it may be ours that is behind
        if news:
            self.wake.set()

    async def _overlook(self) -> str:
        """Find a stream that is connected, answers pings and says nothing while there is something to say; -> which."""
        silence = self.feed.settings.silence
        while True:
            await self.clock.sleep(silence / 4.0)
            for n, symbol in enumerate(self.symbols):
                heard = self.heard[n]
                if self.clock.now() - heard < silence * SECOND:
                    continue
                bars = await self._bars(n, None, 2)
                if not bars or self.heard[n] != heard:
                    continue
                newest = bars[-1][1:7]
                if (
                    self.known[n]
                    and newest[5] > 0.0
                    and not np.allclose(newest, self.known[n], rtol=1e-9, equal_nan=True)
                ):
                    return f"the stream says nothing of {symbol}, of which there is news"
                self.known[n], self.heard[n] = newest, self.clock.now()


async def _part(exchange: Any) -> None:
    """Close a connection without waiting for one that no longer answers."""
    with contextlib.suppress(Exception):
        await asyncio.wait_for(exchange.close(), _FAREWELL)


def _candle(instrument: int, row: Sequence[Any]) -> Candle:
    """ccxt's [open_time ms, open, high, low, close, volume]; what is absent is NaN."""
    numbers = [float("nan") if value is None else float(value) for value in row[1:6]]
    return Candle(instrument, int(row[0]) * _MS, *numbers, closed=False)


def pause_of(bounds: tuple[float, float], attempt: int, draw: float) -> float:
    """Seconds before an attempt (the first is 1): they double up to a bound, less up to half of them by lot."""
    first, longest = bounds
    return min(longest, first * 2.0 ** min(attempt - 1, 30)) * (1.0 - 0.5 * draw)
