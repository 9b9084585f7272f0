"""What an engine relies on of every venue (trimtab.venues.Venue), for each that there is: see RIGS in conftest.

Each rule is kept apart from the others, so that a venue which breaks one is told which; `test_broken` holds a venue
for every rule that breaks it.
"""

from __future__ import annotations

import asyncio
import functools
import math
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.contract.venues.rigs import CASH, COUNT, LOT, Make, Rig
from trimtab.rules.book import STOP_LOSS, TARGET
from trimtab.rules.orders import NO_REASON
from trimtab.types import GTC, LIMIT, MARKET, STOP, Order
from trimtab.venues import Ambiguous, Amend, Cancel, Ended, Filled, Liquidated, Report, Submit, Unreachable, Working


def bench(test: Callable[[Rig], Awaitable[None]]) -> Callable[[Make], None]:
    """A test that is given a rig of its own, in a loop of its own."""

    def run(make: Make) -> None:
        async def go() -> None:
            async with make() as rig, asyncio.timeout(20.0):
                await test(rig)

        asyncio.run(go())

    functools.update_wrapper(run, test)
    del run.__wrapped__  # type: ignore[attr-defined]  # pytest would ask for a rig
    return run


def cid_of(number: int) -> str:
    return f"T-{number:010d}"


def order(number: int, lots: int, instrument: int = 0, limit: float = math.nan, reduce_only: int = 0) -> Submit:
    """At the market, or at a limit; good till it is canceled."""
    kind = MARKET if math.isnan(limit) else LIMIT
    asked = Order(number, 0, instrument, lots, kind, limit, math.nan, GTC, 0, reduce_only, 0)
    return Submit(cid_of(number), TARGET, asked)


async def withdraw(rig: Rig, number: int, instrument: int = 0, attempt: int = 1) -> list[Report]:
    return await rig.venue.send(Cancel(cid_of(number), instrument, TARGET, attempt))


def fills(reports: list[Report], number: int) -> list[Filled]:
    return [r for r in reports if isinstance(r, Filled) and r.cid == cid_of(number)]


def lots_of(reports: list[Report], number: int) -> int:
    return sum(fill.lots for fill in fills(reports, number))


def ends(reports: list[Report], number: int) -> list[Ended]:
    return [r for r in reports if isinstance(r, Ended) and r.cid == cid_of(number)]


async def bought(rig: Rig, number: int, lots: int = 50, instrument: int = 0) -> list[Report]:
    """An order at the market that fills at 100; all that is said of it."""
    answer = await rig.venue.send(order(number, lots, instrument))
    return [*answer, *await rig.move(100.0, 100.0)]


# --- orders ----------------------------------------------------------------------------------------------------------


@bench
async def test_an_order_is_placed_as_it_was_asked_for(rig: Rig) -> None:
    await rig.move(100.0, 100.0)
    said = [*await bought(rig, 1, 50, 1), *await rig.venue.since("")]
    told = {fill.trade_id: fill for fill in fills(said, 1)}.values()
    assert sum(fill.lots for fill in told) == 50
    assert {(fill.instrument, fill.slot) for fill in told} == {(1, TARGET)}
    assert all(fill.done.price == pytest.approx(100.0, rel=0.01) and fill.done.fee >= 0.0 for fill in told)
    assert rig.books().lots == [0, 50]


@bench
async def test_a_limit_is_kept(rig: Rig) -> None:
    await rig.move(100.0, 100.0)
    assert not fills(await rig.venue.send(order(1, 50, limit=99.5)), 1)
    assert not fills(await rig.move(99.8, 100.0), 1)
    assert rig.books().left == {cid_of(1): 50}
    await rig.move(99.4, 100.0)
    (trade,) = rig.books().trades
    assert isinstance(trade, Filled)
    assert trade.done.price <= 99.5


@bench
async def test_what_happens_is_told_unasked_and_with_its_order(rig: Rig) -> None:
    await rig.move(100.0, 100.0)
    await rig.venue.send(order(1, 50, limit=99.5))
    await rig.venue.send(order(2, 30, 1, limit=99.5))
    said = await rig.move(99.4, 99.4, depth=40)
    assert (lots_of(said, 1), lots_of(said, 2)) == (40, 30)
    assert not ends(said, 1), "the rest of it stands"
    said = await rig.move(99.3, 99.4)
    assert (lots_of(said, 1), lots_of(said, 2)) == (10, 0)
    assert all(end.reason == NO_REASON for end in ends(said, 1))


@bench
async def test_whoever_stops_listening_takes_nothing_along(rig: Rig) -> None:
    await rig.move(100.0, 100.0)
    listener = asyncio.ensure_future(anext(aiter(rig.venue.reports())))
    await asyncio.sleep(0.001)
    listener.cancel()
    await asyncio.wait({listener})
    await rig.venue.send(order(1, 50, limit=99.5))
    assert lots_of(await rig.move(99.4, 100.0), 1) == 50


@bench
async def test_what_only_reduces_never_increases(rig: Rig) -> None:
    await rig.move(100.0, 100.0)
    await bought(rig, 1, 50)
    await rig.venue.send(order(2, 20, reduce_only=1))
    await rig.move(100.0, 100.0)
    assert rig.books().lots[0] == 50
    await withdraw(rig, 2)
    await rig.venue.send(order(3, -80, reduce_only=1))
    await rig.move(100.0, 100.0)
    await rig.move(100.0, 100.0)
    assert rig.books().lots[0] == 0
    await withdraw(rig, 3)
    await rig.venue.send(order(4, -10, reduce_only=1))
    await rig.move(100.0, 100.0)
    assert rig.books().lots[0] == 0


# --- outcomes --------------------------------------------------------------------------------------------------------


@bench
async def test_an_order_that_was_lost_is_in_doubt_and_nowhere(rig: Rig) -> None:
    await rig.move(100.0, 100.0)
    rig.lose("order")
    with pytest.raises(Ambiguous):
        await rig.venue.send(order(1, 50))
    assert await rig.venue.ask(cid_of(1)) == []
    await rig.move(100.0, 100.0)
    assert await rig.venue.ask(cid_of(1)) == []
    assert rig.books().trades == []


@bench
async def test_an_order_whose_answer_was_lost_is_in_doubt_and_there_once(rig: Rig) -> None:
    await rig.move(100.0, 100.0)
    rig.lose("answer")
    with pytest.raises(Ambiguous):
        await rig.venue.send(order(1, 50, limit=99.5))
    assert [type(r) for r in await rig.venue.ask(cid_of(1))] == [Working]
    await rig.move(99.4, 100.0)
    assert rig.books().lots[0] == 50
    assert lots_of(await rig.venue.ask(cid_of(1)), 1) == 50


@bench
async def test_a_line_that_is_cut_says_so_and_lets_nothing_through(rig: Rig) -> None:
    """No question is answered with nothing either: that would say that an order is nowhere."""
    await rig.move(100.0, 100.0)
    await rig.venue.send(order(1, 50, limit=99.5))
    rig.cut()
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: rig.venue.send(order(2, 50, 1)),
        lambda: withdraw(rig, 1),
        lambda: rig.venue.ask(cid_of(1)),
        lambda: rig.venue.since(""),
        rig.venue.snapshot,
    ]
    for call in calls:
        with pytest.raises(Unreachable):
            await call()
    await rig.move(99.9, 100.0)
    rig.heal()
    assert await rig.venue.ask(cid_of(2)) == []
    await rig.move(99.9, 100.0)
    assert rig.books().left == {cid_of(1): 50}
    assert rig.books().trades == []


@bench
async def test_what_happened_while_the_line_was_cut_is_told_to_whoever_asks(rig: Rig) -> None:
    await rig.move(100.0, 100.0)
    await rig.venue.send(order(1, 50, limit=99.5))
    rig.cut()
    await rig.move(99.4, 100.0)
    rig.heal()
    assert lots_of(await rig.venue.since(""), 1) == 50
    assert (await rig.venue.snapshot()).lots.tolist() == [50, 0]


# --- an id names one attempt -----------------------------------------------------------------------------------------


@bench
async def test_an_id_that_stands_is_not_placed_again_and_not_told_as_gone(rig: Rig) -> None:
    await rig.move(100.0, 100.0)
    await rig.venue.send(order(1, 50, limit=99.5))
    said = await rig.venue.send(order(1, 50, limit=99.5))
    assert not ends(said, 1), "it stands: an engine would take it for gone"
    assert rig.books().left == {cid_of(1): 50}
    await rig.move(99.4, 100.0)
    await rig.move(99.4, 100.0)
    assert rig.books().lots[0] == 50


@bench
async def test_an_id_that_has_filled_is_not_placed_again(rig: Rig) -> None:
    await rig.move(100.0, 100.0)
    await bought(rig, 1)
    said = await rig.venue.send(order(1, 50))
    await rig.move(100.0, 100.0)
    assert rig.books().lots[0] == 50
    assert rig.books().left == {}
    assert not said or lots_of(said, 1) == 50, "told as what it is, if at all"


@bench
async def test_an_id_that_was_withdrawn_does_not_come_back(rig: Rig) -> None:
    await rig.move(100.0, 100.0)
    await rig.venue.send(order(1, 50, limit=99.5))
    await withdraw(rig, 1)
    await rig.venue.send(order(1, 50, limit=99.5))
    await rig.move(99.4, 100.0)
    assert rig.books().lots[0] == 0
    assert rig.books().left == {}


# --- questions -------------------------------------------------------------------------------------------------------


@bench
async def test_of_an_unknown_order_nothing_is_said(rig: Rig) -> None:
    await rig.move(100.0, 100.0)
    await bought(rig, 1)
    assert await rig.venue.ask(cid_of(2)) == []


@bench
async def test_of_a_known_order_its_fills_are_told_first_and_then_how_it_stands(rig: Rig) -> None:
    await rig.move(100.0, 100.0)
    await rig.venue.send(order(1, 50, limit=99.5))
    (stands,) = await rig.venue.ask(cid_of(1))
    assert isinstance(stands, Working)
    assert (stands.cid, stands.instrument, stands.slot, stands.lots) == (cid_of(1), 0, TARGET, 50)
    await rig.move(99.4, 100.0, depth=20)
    *done, stands = await rig.venue.ask(cid_of(1))
    assert isinstance(stands, Working)
    assert done == fills(done, 1)
    assert lots_of(done, 1) == 20
    await rig.move(99.4, 100.0)
    for _ in range(2):  # as often as it is asked
        *done, gone = await rig.venue.ask(cid_of(1))
        assert isinstance(gone, Ended)
        assert (gone.cid, gone.reason) == (cid_of(1), NO_REASON)
        assert [fill.lots for fill in fills(done, 1)] == [20, 30]
        assert [fill.trade_id for fill in fills(done, 1)] == [t.trade_id for t in rig.books().trades]


@bench
async def test_fills_are_given_in_order_once_each_and_behind_the_one_that_is_named(rig: Rig) -> None:
    await rig.move(100.0, 100.0)
    assert await rig.venue.since("") == []
    for number in range(1, 13):
        await bought(rig, number, 10 + number, number % COUNT)
    trades = rig.books().trades
    ids = [trade.trade_id for trade in trades]
    assert len(set(ids)) == len(ids) == 12
    assert await rig.venue.since("") == trades
    for k, trade_id in enumerate(ids):
        assert await rig.venue.since(trade_id) == trades[k + 1 :]


@bench
async def test_a_snapshot_is_one_instant_and_the_sum_of_the_fills(rig: Rig) -> None:
    await rig.move(100.0, 100.0)
    first = await rig.venue.snapshot()
    assert (first.lots.tolist(), first.cash.tolist(), first.orders, first.trade_id) == ([0, 0], [CASH], {}, "")
    await bought(rig, 1, 50)
    await rig.venue.send(order(2, 30, 1, limit=99.5))
    for prices, depth in (((99.8, 99.4), 20), ((100.1, 99.4), 5), ((100.1, 99.4), 40)):
        await rig.move(*prices, depth=depth)
        said, trades = await rig.venue.snapshot(), await rig.venue.since("")
        lots, cash = [0] * COUNT, CASH
        for trade in trades:
            assert isinstance(trade, Filled)
            lots[trade.instrument] += trade.lots
            cash -= trade.lots * LOT * trade.done.price + trade.done.fee
        assert said.lots.tolist() == lots == rig.books().lots
        assert said.cash.tolist() == pytest.approx([cash], rel=1e-12)
        left = 30 - lots[1]
        assert said.orders == rig.books().left == ({cid_of(2): left} if left else {})
        assert said.trade_id in ("", trades[-1].trade_id)  # type: ignore[union-attr]
    assert (first.lots.tolist(), first.cash.tolist()) == ([0, 0], [CASH]), "what was said does not change"


# --- cancels and changes ---------------------------------------------------------------------------------------------


@bench
async def test_what_was_withdrawn_is_gone_and_keeps_what_it_has_filled(rig: Rig) -> None:
    await rig.move(100.0, 100.0)
    await rig.venue.send(order(1, 50, limit=99.5))
    await rig.move(99.4, 100.0, depth=20)
    said = [*await withdraw(rig, 1), *await rig.venue.ask(cid_of(1))]
    assert {end.reason != NO_REASON for end in ends(said, 1)} == {True}, "it has not filled"
    await rig.move(99.0, 100.0)
    assert rig.books().lots[0] == 20
    assert rig.books().left == {}
    assert lots_of(await rig.venue.ask(cid_of(1)), 1) == 20


@bench
async def test_to_withdraw_what_is_gone_does_no_harm(rig: Rig) -> None:
    """And says nothing else of it than what became of it."""
    await rig.move(100.0, 100.0)
    await bought(rig, 1)
    await rig.venue.send(order(2, 30, limit=99.5))
    await withdraw(rig, 2)
    before = rig.books()
    for attempt in (2, 3):
        said = await withdraw(rig, 1, attempt=attempt)
        assert all(end.reason == NO_REASON for end in ends(said, 1)), "it has filled"
        said = await withdraw(rig, 2, attempt=attempt)
        assert all(end.reason != NO_REASON for end in ends(said, 2)), "it has not filled"
        assert not fills(await withdraw(rig, 9, attempt=attempt), 9), "it was never here"
    await rig.move(100.0, 100.0)
    assert rig.books() == before


@bench
async def test_a_cancel_that_was_lost_can_be_sent_again(rig: Rig) -> None:
    await rig.move(100.0, 100.0)
    for number, what in ((1, "order"), (2, "answer")):
        await rig.venue.send(order(number, 50, limit=99.5))
        rig.lose(what)  # type: ignore[arg-type]
        with pytest.raises(Ambiguous):
            await withdraw(rig, number)
        assert rig.books().left == ({cid_of(number): 50} if what == "order" else {})
        await rig.move(100.0, 100.0)
        await withdraw(rig, number, attempt=2)
        assert rig.books().left == {}
        (gone,) = await rig.venue.ask(cid_of(number))
        assert isinstance(gone, Ended)


@bench
async def test_a_change_leaves_what_it_says_and_no_more(rig: Rig) -> None:
    """A venue that protects positions itself takes no change, and none does harm."""
    await rig.move(100.0, 100.0)
    await bought(rig, 1, 50)
    stop = Order(2, 0, 0, -50, STOP, math.nan, 97.0, GTC, 0, 1, 0)
    await rig.venue.send(Submit(cid_of(2), STOP_LOSS, stop))
    before = rig.books()
    await rig.venue.send(Amend(cid_of(2), 0, STOP_LOSS, -30, math.nan, 99.5))
    said = await rig.venue.snapshot()
    if said.protects:
        assert rig.books() == before
        assert cid_of(2) not in said.orders
        return
    assert said.orders == {cid_of(2): -30}
    await rig.move(99.4, 100.0)
    assert rig.books().lots[0] == 20, "its new lots, at its new price"
    await rig.venue.send(Amend(cid_of(2), 0, STOP_LOSS, -20, math.nan, 99.5))
    await rig.move(99.4, 100.0)
    assert rig.books().lots[0] == 20, "it is gone: nothing brings it back"


# --- all of it -------------------------------------------------------------------------------------------------------


def test_whatever_the_line_does_the_books_can_be_learned(any_line: Make) -> None:
    """Orders, cancels, questions and a market that moves, over a line that loses things. Once it is whole again, what
    is asked is what the books say, and every order is where its sender was told, or in doubt."""
    asyncio.run(_session(any_line))


async def _session(make: Make) -> None:
    for seed in range(4):
        async with make() as rig, asyncio.timeout(20.0):
            sent, away = await _trade(rig, random.Random(seed))
            rig.heal()
            trades, books = await rig.venue.since(""), rig.books()
            assert trades == books.trades
            assert len({t.trade_id for t in books.trades}) == len(trades) > 10
            ours = {cid_of(number) for number in sent}
            assert {t.cid for t in trades if isinstance(t, Filled) and t.slot == TARGET} <= ours
            said = await rig.venue.snapshot()
            assert (said.lots.tolist(), said.cash.tolist(), said.orders) == (books.lots, [books.cash], books.left)
            for number, lots in sent.items():
                told = await rig.venue.ask(cid_of(number))
                assert lots_of(told, number) == lots_of(trades, number)
                assert not (number in away and told), "it has surely not arrived"
                done, left = lots_of(trades, number), said.orders.get(cid_of(number), 0)
                assert abs(done + left) <= abs(lots), "an id is one order"
                assert (left != 0) == (bool(told) and isinstance(told[-1], Working))


async def _trade(rig: Rig, draw: random.Random) -> tuple[dict[int, int], set[int]]:
    """-> lots of all orders that were sent, by number; those that could not be."""
    sent: dict[int, int] = {}
    where: dict[int, int] = {}
    away: set[int] = set()
    prices = [100.0] * COUNT
    for number in range(1, 81):
        lots, i = draw.choice((20, 50, -20)), draw.randrange(COUNT)
        limit = draw.choice((math.nan, prices[i] * 0.999, prices[i] * 1.001))
        if draw.random() < 0.1:
            rig.lose(draw.choice(("order", "answer")))  # type: ignore[arg-type]
        elif draw.random() < 0.05:
            rig.cut()
        sent[number], where[number] = lots, i
        asked = order(number, lots, i, limit)
        try:
            await rig.venue.send(asked)
            if draw.random() < 0.2:
                await rig.venue.send(asked)  # a second time, as nobody should
        except Unreachable:
            away.add(number)
        except Ambiguous:
            pass
        prices = [p * (1.0 + draw.gauss(0.0, 0.002)) for p in prices]
        await rig.move(*prices, depth=draw.choice((15, 1000)))
        if draw.random() < 0.5:
            rig.heal()
        for old in draw.sample(sorted(sent), min(2, len(sent))):
            try:
                await withdraw(rig, old, where[old], number)
                await rig.venue.ask(cid_of(old))
            except (Ambiguous, Unreachable):
                pass
    assert not any(isinstance(t, Liquidated) for t in rig.books().trades)
    return sent, away
