"""The live feed against Binance's documented protocol, with every fault of it: the rows are exactly the truth's.

Time is the server's and stands still until a test moves it, so nothing here depends on how fast the machine is.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest

from trimtab.feeds import FeedState, GridRow, LateBar, exchange
from trimtab.feeds.assemble import Patience
from trimtab.feeds.ccxt import CcxtFeed, Settings
from trimtab.feeds.clock import STEADY, Clock
from trimtab.types import HOUR, MINUTE, SECOND, Instrument, TrimtabError

ASK, GRACE = 2 * SECOND, 10 * SECOND
#: Only the tests of mute streams let it listen for silence: the others' clocks leap further than any stream is quiet.
SETTINGS = Settings(patience=Patience(ASK, GRACE), silence=86_400.0, seed=0)
ATTENTIVE = SETTINGS._replace(silence=30.0)
TWO = ("BTCUSDT", "ETHUSDT")


class Follower:
    """What a feed has given so far."""

    def __init__(self, venue: Any, feed: CcxtFeed) -> None:
        self.venue, self.feed = venue, feed
        self.events: list[Any] = []
        self.came = asyncio.Event()

    async def follow(self, after: int) -> None:
        async with contextlib.aclosing(self.feed.rows(after)) as events:  # type: ignore[type-var]
            async for event in events:
                self.events.append(event)
                self.came.set()

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, what: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not what():
                self.came.clear()
                await self.came.wait()

    async def rows_to(self, row: int) -> None:
        """Wait for a row, by its number since the start."""
        await self.until(lambda: any(e.ts == self.close_of(row) for e in self.of(GridRow)))

    async def pass_time(self, seconds: float, what: Callable[[], bool] = lambda: False) -> None:
        """Second by second, with room for whatever follows from each, until something holds."""
        for _ in range(round(seconds)):
            if what():
                return
            self.venue.time.move(self.venue.time.at + SECOND)
            for _ in range(100):  # both ends run in this loop: so many turns are enough, however slow the machine
                await asyncio.sleep(0)

    def close_of(self, row: int) -> int:
        return self.venue.start + (row + 1) * MINUTE

    def assert_true(self, first: int, last: int, *, absent: set[tuple[int, int]] = frozenset()) -> None:  # type: ignore[assignment]
        """The rows are those of the truth from one number to another, each once, in order, without any other."""
        rows = self.of(GridRow)
        assert [(row.ts - self.venue.start) // MINUTE - 1 for row in rows] == list(range(first, last + 1))
        for k, row in enumerate(rows, first):
            for n, symbol in enumerate(TWO):
                wanted = [np.nan] * 6 if (n, k) in absent else [*self.venue.truth(symbol, k), float(MINUTE)]
                assert np.array_equal(row.bars[n], wanted, equal_nan=True), (symbol, k, row.bars[n], wanted)


def feed_of(venue: Any, *, ahead: int = 0, settings: Settings = SETTINGS, **others: Any) -> CcxtFeed:
    instruments = tuple(Instrument(symbol=symbol, base=symbol[:3], quote="USDT") for symbol in TWO)
    return CcxtFeed(
        "binance", instruments, "1m", settings=settings, clock=venue.time.clock(ahead),
        configure=others.pop("configure", venue.configure), **others,
    )  # fmt: skip


@contextlib.asynccontextmanager
async def following(
    venue: Any, feed: CcxtFeed | None = None, after: int = 0, sockets: int = 1
) -> AsyncIterator[Follower]:
    """A feed that is being followed and has subscribed; afterwards nothing of it is left."""
    follower = Follower(venue, feed or feed_of(venue))
    task = asyncio.create_task(follower.follow(after))
    try:
        await venue.subscribed(sockets)
        yield follower
    finally:
        task.cancel()
        result = (await asyncio.gather(task, return_exceptions=True))[0]
        await venue.subscribed(0)
    assert isinstance(result, asyncio.CancelledError), result
    left = {t for t in asyncio.all_tasks() if t is not asyncio.current_task() and "ccxt" in repr(t.get_coro())}
    assert not left


def played(scenario: Callable[[Any], Any], binance: Any) -> None:
    async def play() -> None:
        async with binance() as venue:
            await scenario(venue)

    asyncio.run(play())


def test_rows_come_with_their_last_closed_bar(binance: Any) -> None:
    async def scenario(venue: Any) -> None:
        async with following(venue) as got:
            for row in range(4):
                await venue.close_row(row, TWO[0])
                await got.pass_time(1)
                assert len(got.of(GridRow)) == row  # the other is still open
                await venue.say(venue.kline(TWO[1], row, closed=True))
                await got.rows_to(row)
            got.assert_true(0, 3)
            assert venue.asked == []  # a stream that is well needs no REST
            assert got.of(FeedState) == [FeedState(True)]
            assert not got.of(LateBar)
            assert len(venue.connected_at) == 1

    played(scenario, binance)


def test_combined_streams_are_read_as_well(binance: Any) -> None:
    async def scenario(venue: Any) -> None:
        venue.combined = True
        async with following(venue) as got:
            await venue.close_row(0)
            await got.rows_to(0)
            got.assert_true(0, 0)
            assert venue.asked == []

    played(scenario, binance)


@pytest.mark.parametrize(("page", "back"), [(1_000, 7), (1_000, 450), (100, 450)])
def test_it_begins_with_what_rest_has(binance: Any, page: int, back: int) -> None:
    async def scenario(venue: Any) -> None:
        venue.page = page  # fewer than asked for, too
        venue.time.move(venue.start + 20 * SECOND)
        async with following(venue, after=venue.start - back * MINUTE) as got:
            await got.rows_to(-1)
            await venue.close_row(0)
            await got.rows_to(0)
            got.assert_true(-back, 0)

    played(scenario, binance)


def test_history_is_counted_back_from_now(binance: Any) -> None:
    async def scenario(venue: Any) -> None:
        venue.time.move(venue.start + 20 * SECOND)
        async with following(venue, feed_of(venue, settings=SETTINGS._replace(history=30))) as got:
            await got.rows_to(-1)
            got.assert_true(-30, -1)

    played(scenario, binance)


@pytest.mark.parametrize("away", [0, 1, 5])
def test_what_a_lost_connection_missed_is_filled(binance: Any, away: int) -> None:
    async def scenario(venue: Any) -> None:
        async with following(venue) as got:
            await venue.close_row(0)
            await got.rows_to(0)
            venue.refuse = True
            await venue.drop()
            for row in range(1, 1 + away):  # nobody listens
                await venue.close_row(row)
            venue.refuse = False
            await got.pass_time(120, lambda: bool(venue.sockets))
            await venue.subscribed()
            last = (venue.time.at - venue.start) // MINUTE
            await venue.close_row(last)
            await got.rows_to(last)
            got.assert_true(0, last)
            assert FeedState(True) in got.events[-3:] or got.of(FeedState)[-1].is_up
            assert not got.of(LateBar)

    played(scenario, binance)


def test_rows_come_by_rest_while_the_stream_cannot_be_reached_and_attempts_grow_rare(binance: Any) -> None:
    async def scenario(venue: Any) -> None:
        async with following(venue) as got:
            await venue.close_row(0)
            await got.rows_to(0)
            venue.refuse = True
            await venue.drop()
            before = len(venue.connected_at)
            await got.pass_time(600)
            await got.rows_to(9)
            got.assert_true(0, len(got.of(GridRow)) - 1)
            assert got.of(FeedState)[-1].is_up is False
            waits = np.diff(venue.connected_at[before:]) / SECOND
            assert all(wait <= 2 * 62 for wait in waits)
            assert sorted(waits[:4]) == list(waits[:4])  # 1, 2, 4, 8 seconds, each less a random half
            assert 8 <= len(waits) <= 25

    played(scenario, binance)


def test_repeated_candles_make_no_rows(binance: Any) -> None:
    async def scenario(venue: Any) -> None:
        async with following(venue) as got:
            for row in range(3):
                await venue.close_row(row)
                await got.rows_to(row)
                await venue.close_row(row)
                await venue.close_row(row)
            await got.pass_time(1)
            got.assert_true(0, 2)
            assert got.feed.counts["duplicate"] == 3 * 2 * 2
            assert not got.of(LateBar)

    played(scenario, binance)


def test_a_revised_close_is_told_and_changes_nothing(binance: Any) -> None:
    async def scenario(venue: Any) -> None:
        async with following(venue) as got:
            await venue.close_row(0)
            await got.rows_to(0)
            await venue.say(venue.kline(TWO[0], 0, closed=True, v="999.0"))
            await got.until(lambda: bool(got.of(LateBar)))
            (late,) = got.of(LateBar)
            assert (late.ts, late.instrument, late.bar[4]) == (got.close_of(0), 0, 999.0)
            await venue.close_row(1)
            await got.rows_to(1)
            got.assert_true(0, 1)

    played(scenario, binance)


def test_a_bar_that_nobody_gives_in_time_is_nan_and_told_when_it_comes(binance: Any) -> None:
    async def scenario(venue: Any) -> None:
        async with following(venue) as got:
            await venue.close_row(0)
            await got.rows_to(0)
            await venue.say(venue.kline(TWO[1], 1, closed=False))
            venue.answers = [(503, {}, "<html>busy</html>")] * 50
            await venue.close_row(1, TWO[0])
            await got.pass_time(8)
            assert len(got.of(GridRow)) == 1  # the grace has not passed
            assert got.of(FeedState)[-1].is_up is False
            venue.time.move(max(got.close_of(1) + GRACE, venue.time.at))
            await got.rows_to(1)
            venue.answers = []
            await venue.say(venue.kline(TWO[1], 1, closed=True))
            await got.until(lambda: bool(got.of(LateBar)))
            (late,) = got.of(LateBar)
            assert (late.ts, late.instrument) == (got.close_of(1), 1)
            assert late.bar[:5].tolist() == list(venue.truth(TWO[1], 1))
            await venue.close_row(2)
            await got.rows_to(2)
            got.assert_true(0, 2, absent={(1, 1)})

    played(scenario, binance)


def test_a_closing_candle_that_was_lost_is_fetched(binance: Any) -> None:
    async def scenario(venue: Any) -> None:
        async with following(venue) as got:
            await venue.close_row(0)
            await got.rows_to(0)
            await venue.close_row(1, TWO[0])
            await venue.say(venue.kline(TWO[1], 2, closed=False))  # the next has begun
            venue.time.move(got.close_of(1) + ASK)
            await got.rows_to(1)
            got.assert_true(0, 1)
            assert (TWO[1], 1) in [asked[1:3] for asked in venue.asked]

    played(scenario, binance)


MALFORMED: dict[str, Callable[[Any], Any]] = {
    "price is not a number": lambda v: v.kline(TWO[0], 0, closed=True, c="NaN"),
    "price is zero": lambda v: v.kline(TWO[0], 0, closed=True, l="0.00000000"),
    "price is negative": lambda v: v.kline(TWO[0], 0, closed=True, o="-1.0"),
    "price is no market's": lambda v: v.kline(TWO[0], 0, closed=True, h="1e308"),
    "high is below low": lambda v: v.kline(TWO[0], 0, closed=True, h="1.0"),
    "volume is negative": lambda v: v.kline(TWO[0], 0, closed=True, v="-5"),
    "not on the grid": lambda v: v.kline(TWO[0], 0, closed=True, t=v.start // 1_000_000 + 1_500),
    "of the future": lambda v: v.kline(TWO[0], 7, closed=True),
    "text for a price": lambda v: v.kline(TWO[0], 0, closed=True, c="many"),
    "no time": lambda v: v.kline(TWO[0], 0, closed=True, t=None),
    "no candle": lambda v: {"e": "kline", "E": 1, "s": TWO[0]},
    "a list": lambda v: "[1, 2]",
    "cut off": lambda v: '{"e":"kline","E":172,"s":"BTCUSDT","k":{"t":17200000',
    "no JSON": lambda v: "hello",
    "binary": lambda v: "\x00\x01",
    "null": lambda v: "null",
    "another interval": lambda v: v.kline(TWO[0], 0, closed=True, i="5m", c="101.0"),
    "another market": lambda v: v.kline("BNBUSDT", 0, closed=True),
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_nonsense_is_counted_and_the_stream_lives(binance: Any, fault: str) -> None:
    async def scenario(venue: Any) -> None:
        async with following(venue) as got:
            venue.time.move(got.close_of(0) + SECOND // 10)
            await venue.say(MALFORMED[fault](venue), MALFORMED[fault](venue))
            await venue.close_row(0)
            await got.rows_to(0)
            await venue.close_row(1)
            await got.rows_to(1)
            got.assert_true(0, 1)
            assert len(venue.connected_at) == 1
            assert venue.asked == []
            counts = got.feed.counts
            if not fault.startswith("another"):
                assert counts["malformed"] + counts["future"] + counts["unreadable"] == 2, counts

    played(scenario, binance)


def test_a_mute_stream_that_answers_pings_is_found_and_left(binance: Any) -> None:
    async def scenario(venue: Any) -> None:
        def configure(exchange: Any) -> None:
            venue.configure(exchange)
            exchange.streaming = {**exchange.streaming, "keepAlive": 20, "maxPingPongMisses": 1e6}  # ms

        async with following(venue, feed_of(venue, settings=ATTENTIVE, configure=configure)) as got:
            await venue.close_row(0)
            await got.rows_to(0)
            venue.mute = True
            await venue.until(lambda: venue.pings > 2)
            await venue.close_row(1)
            await got.pass_time(2)
            await got.rows_to(1)  # by REST
            await got.pass_time(60, lambda: len(venue.connected_at) > 1)
            assert len(venue.connected_at) == 2
            said = [state.reason for state in got.of(FeedState) if not state.is_up]
            assert len(said) == 1
            assert "says nothing of" in said[0]
            venue.mute = False
            await venue.subscribed()
            row = (venue.time.at - venue.start) // MINUTE
            await venue.close_row(row)
            await got.rows_to(row)
            got.assert_true(0, row)

    played(scenario, binance)


def test_a_quiet_market_is_no_mute_stream(binance: Any) -> None:
    async def scenario(venue: Any) -> None:
        async with following(venue, feed_of(venue, settings=ATTENTIVE)) as got:
            await venue.close_row(0)
            await got.rows_to(0)
            at = venue.time.at
            venue.numbers = lambda symbol, row: [*venue.truth(symbol, 0)[3:4] * 4, 0.0]  # nobody trades any more
            await got.pass_time(150)
            assert len(venue.connected_at) == 1
            assert any(asked[0] > at + 30 * SECOND for asked in venue.asked)

    played(scenario, binance)


def test_a_venue_that_says_good_bye_is_left_before_it_goes(binance: Any) -> None:
    async def scenario(venue: Any) -> None:
        async with following(venue) as got:
            await venue.close_row(0)
            await venue.shut_down()
            await got.pass_time(5, lambda: len(venue.connected_at) > 1)
            await venue.subscribed()
            await venue.close_row(1)
            await got.rows_to(1)
            got.assert_true(0, 1)
            assert len(venue.connected_at) == 2

    played(scenario, binance)


@pytest.mark.parametrize("status", [429, 418])
def test_a_venue_that_wants_to_be_left_alone_is(binance: Any, status: int) -> None:
    async def scenario(venue: Any) -> None:
        async with following(venue) as got:
            await venue.close_row(0)
            await got.rows_to(0)
            venue.refuse = True
            await venue.drop()
            told = '{"code":-1003,"msg":"Too much request weight used; please use the websocket for live updates."}'
            venue.answers = [(status, {"Retry-After": "40"}, told)]
            await venue.close_row(1)
            await got.pass_time(3)
            (first,) = {asked[0] for asked in venue.asked[:1]}
            await got.pass_time(30)
            assert all(asked[0] <= first + SECOND for asked in venue.asked)  # nothing since, of either symbol
            assert all(at <= first + SECOND for at in venue.time_asked)
            assert len(got.of(GridRow)) == 1
            assert not got.of(FeedState)[-1].is_up
            await got.pass_time(30)
            await got.rows_to(1)
            assert all(asked[0] >= first + 40 * SECOND for asked in venue.asked if asked[0] > first + SECOND)
            venue.refuse = False
            await got.pass_time(90, lambda: bool(venue.sockets))
            await venue.subscribed()
            last = (venue.time.at - venue.start) // MINUTE
            await venue.close_row(last)
            await got.rows_to(last)
            got.assert_true(0, last)

    played(scenario, binance)


@pytest.mark.parametrize("ahead", [-15 * SECOND, 15 * SECOND])
def test_bars_close_by_the_clock_of_the_venue(binance: Any, ahead: int) -> None:
    async def scenario(venue: Any) -> None:
        venue.time.move(venue.start + 30 * SECOND)
        async with following(venue, feed_of(venue, ahead=ahead), after=venue.start - 3 * MINUTE) as got:
            await got.rows_to(-1)
            await venue.close_row(0)
            await got.rows_to(0)
            venue.mute = True
            venue.time.move(got.close_of(1) + ASK - 1)
            await got.pass_time(0)
            assert [asked[2] for asked in venue.asked if asked[0] > got.close_of(0)] == []
            venue.time.move(got.close_of(1) + ASK)
            await got.rows_to(1)
            got.assert_true(-3, 1)

    played(scenario, binance)


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("leap", [3 * MINUTE, -3 * MINUTE, 40 * SECOND])
def test_a_clock_that_leaps_closes_no_bar_early(binance: Any, leap: int, streamed: bool) -> None:
    async def scenario(venue: Any) -> None:
        def configure(exchange: Any) -> None:
            venue.configure(exchange)
            exchange.has["watchOHLCV"] = streamed

        steps = [0]
        feed = feed_of(venue, configure=configure)
        feed.clock = Clock(lambda: venue.time.at + steps[0], venue.time.sleep)
        async with following(venue, feed, sockets=int(streamed), after=venue.start - MINUTE) as got:
            await got.pass_time(10)
            await got.rows_to(-1)
            venue.mute = streamed
            await got.pass_time(80)
            steps[0] = leap
            await venue.say(venue.kline(TWO[0], 1, closed=False))  # a word, so that it looks at its clock
            await got.pass_time(400)
            await got.rows_to(5)
            rows = len(got.of(GridRow))
            got.assert_true(-1, rows - 2)

    played(scenario, binance)


@pytest.mark.parametrize("seed", range(3))
def test_a_storm_of_faults_changes_no_row(binance: Any, seed: int) -> None:
    """Everything at once, drawn by lot; every row is the truth's, and none is missing once the venue is well again."""

    async def scenario(venue: Any) -> None:
        lot = np.random.default_rng(seed)

        async def trouble(row: int) -> None:
            match int(lot.integers(0, 10)):
                case 0:
                    await venue.drop()
                case 1:
                    venue.refuse = not venue.refuse
                case 2:
                    venue.mute = not venue.mute
                case 3:
                    await venue.shut_down()
                case 4:
                    venue.answers += [(429, {"Retry-After": str(int(lot.integers(1, 30)))}, '{"code":-1003,"msg":"x"}')]
                case 5:
                    venue.answers += [(503, {}, "<html>"), (200, {}, "[[17280"), (200, {}, '{"code":-1000}')]
                case 6:
                    await venue.say(*(fault(venue) for name, fault in MALFORMED.items() if name != "of the future"))
                case 7:
                    venue.page = int(lot.choice([2, 7, 1_000]))
                case 8:
                    await venue.say(venue.kline(TWO[0], max(row - 1, 0), closed=True))
                case _:
                    await venue.say(venue.kline(TWO[1], row + 1, closed=False))  # the end of this one is lost

        patient = SETTINGS._replace(patience=Patience(ASK, HOUR))  # REST, too, is away for longer than any grace
        async with following(venue, feed_of(venue, settings=patient)) as got:
            for row in range(25):
                for step in range(6):
                    if lot.random() < 0.3:
                        await trouble(row)
                    at = venue.start + row * MINUTE + (10 * step + 9) * SECOND
                    await got.pass_time(max(at - venue.time.at, 0) // SECOND)
                if lot.random() < 0.8:
                    await venue.close_row(row, *TWO[: int(lot.integers(1, 3))])
            venue.refuse = venue.mute = False
            venue.answers = []
            await got.pass_time(180)
            await got.rows_to(26)
            got.assert_true(0, len(got.of(GridRow)) - 1)
            assert not got.of(LateBar)

    played(scenario, binance)


def test_an_instrument_that_is_taken_off_the_venue_holds_up_nobody(binance: Any) -> None:
    async def scenario(venue: Any) -> None:
        async with following(venue) as got:
            await venue.close_row(0)
            await got.rows_to(0)
            venue.delisted = {TWO[1]}
            for row in (1, 2):
                await venue.close_row(row, TWO[0])
                await got.pass_time(12)
                await got.rows_to(row)
            got.assert_true(0, 2, absent={(1, 1), (1, 2)})
            assert all(state.is_up for state in got.of(FeedState))

    played(scenario, binance)


def test_a_bar_that_the_venue_does_not_have_is_nan_after_the_grace(binance: Any) -> None:
    async def scenario(venue: Any) -> None:
        venue.missing = {(TWO[1], -2), (TWO[0], -5), (TWO[1], -5)}
        venue.time.move(venue.start + 30 * SECOND)
        async with following(venue, after=venue.start - 4 * MINUTE) as got:
            await got.rows_to(-1)
            got.assert_true(-4, -1, absent={(1, -2)})

    played(scenario, binance)


@pytest.mark.parametrize("tells_time", [True, False])
def test_a_venue_without_a_stream_is_asked_after_each_close(binance: Any, tells_time: bool) -> None:
    async def scenario(venue: Any) -> None:
        def configure(exchange: Any) -> None:
            venue.configure(exchange)
            exchange.has.update(watchOHLCV=False, fetchTime=tells_time)

        async with following(venue, feed_of(venue, configure=configure), sockets=0) as got:
            await got.until(lambda: bool(got.events))
            for row in range(3):
                venue.time.move(got.close_of(row) + ASK)
                await got.rows_to(row)
            got.assert_true(0, 2)
            assert venue.connected_at == []

    played(scenario, binance)


def test_where_the_venue_does_not_say_a_bar_closes_with_the_next(binance: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "FLAGGED", {})

    async def scenario(venue: Any) -> None:
        async with following(venue) as got:
            for row in range(3):
                await venue.close_row(row)
                await got.pass_time(1)
                assert len(got.of(GridRow)) == row
                await venue.say(*(venue.kline(symbol, row + 1, closed=False) for symbol in TWO))
                await got.rows_to(row)
            got.assert_true(0, 2)
            assert venue.asked == []
            await venue.drop()  # and where the end was not seen, REST tells it
            await venue.close_row(3)
            await got.pass_time(20)
            await got.rows_to(3)
            got.assert_true(0, 3)

    played(scenario, binance)


def test_it_waits_for_a_venue_that_cannot_be_reached(binance: Any) -> None:
    async def scenario(venue: Any) -> None:
        def configure(exchange: Any) -> None:
            venue.configure(exchange)
            if down[0]:
                exchange.urls["api"]["public"] = "http://127.0.0.1:9/api/v3"

        down = [True]
        follower = Follower(venue, feed_of(venue, configure=configure))
        task = asyncio.create_task(follower.follow(0))
        await follower.until(lambda: bool(follower.events))
        (state,) = follower.events
        assert not state.is_up
        assert "binance does not answer" in state.reason
        await follower.pass_time(20)
        assert follower.events == [state]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    played(scenario, binance)


def test_mistakes_are_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    coins = (Instrument(symbol="BTCUSDT"),)
    with pytest.raises(TrimtabError, match="did you mean 'binance'"):
        CcxtFeed("binanse", coins, "1m")
    with pytest.raises(TrimtabError, match="expected one of 1m"):
        CcxtFeed("binance", coins, "7m")
    with pytest.raises(TrimtabError, match="at least one instrument"):
        CcxtFeed("binance", (), "1m")
    monkeypatch.setitem(sys.modules, "ccxt.pro", None)
    with pytest.raises(TrimtabError, match=r"pip install 'trimtab\[live\]'"):
        CcxtFeed("binance", coins, "1m")


@pytest.mark.parametrize(
    ("symbols", "says"),
    [(("BTCUDST",), "did you mean 'BTCUSDT'"), (("BTCUSDT", "BTC/USDT"), "two instruments are the same market")],
)
def test_markets_that_are_not_there_are_told(binance: Any, symbols: tuple[str, ...], says: str) -> None:
    async def scenario(venue: Any) -> None:
        feed = CcxtFeed("binance", [Instrument(symbol=s) for s in symbols], "1m", clock=venue.time.clock(),
                        configure=venue.configure)  # fmt: skip
        with pytest.raises(TrimtabError, match=says):
            await Follower(venue, feed).follow(0)

    played(scenario, binance)


@pytest.mark.parametrize("url", ["http://api.binance.com/api/v3", "ws://example.org/ws", "ftp://127.0.0.2/x"])
def test_no_address_without_encryption_but_on_this_machine(url: str) -> None:
    def configure(made: Any) -> None:
        made.urls["api"]["public"] = url

    with pytest.raises(TrimtabError, match="is not encrypted"):
        exchange.open_exchange("binance", configure)


def test_every_venue_of_ccxt_is_reached_over_encrypted_addresses_and_without_a_key() -> None:
    import ccxt.async_support

    for venue in ("binance", "bybit", "kraken", "coinbase", "okx"):
        made = exchange.open_exchange(venue)
        assert not any((made.apiKey, made.secret, made.password, made.token, made.privateKey, made.walletAddress))
    assert {"binance", "bybit", "kraken"} <= set(ccxt.async_support.exchanges)
    assert set(exchange.FLAGGED) <= set(ccxt.async_support.exchanges)


def test_bybit_says_when_a_bar_has_closed() -> None:
    """Payload of the kline topic in Bybit's v5 documentation (websocket/public/kline)."""
    data = {
        "start": 1672324800000, "end": 1672325099999, "interval": "5", "open": "16649.5", "close": "16677",
        "high": "16677", "low": "16608", "volume": "2.081", "turnover": "34666.4005", "confirm": False,
        "timestamp": 1672324988882,
    }  # fmt: skip
    message = {"topic": "kline.5.BTCUSDT", "data": [data, {**data, "confirm": True}], "ts": 1, "type": "snapshot"}
    numbers = (16649.5, 16677.0, 16608.0, 16677.0, 2.081)
    assert list(exchange.FLAGGED["bybit"](message)) == [
        exchange.Frame("BTCUSDT", "5", 1672324800000, numbers, closed) for closed in (False, True)
    ]
    assert list(exchange.FLAGGED["bybit"]({"op": "pong", "success": True})) == []


def test_the_steady_clock_is_utc_and_does_not_go_back() -> None:
    before = STEADY.now()
    assert abs(before - time.time_ns()) < 5 * SECOND
    assert STEADY.now() >= before


def test_the_pauses_between_attempts_grow_up_to_a_bound() -> None:
    from trimtab.feeds.ccxt import pause_of

    for attempt, draw in itertools.product((*range(1, 12), 2_000), (0.0, 0.5, 0.999)):
        seconds = pause_of((1.0, 60.0), attempt, draw)
        whole = min(60.0, 2.0 ** min(attempt - 1, 99))
        assert whole / 2 <= seconds <= whole
