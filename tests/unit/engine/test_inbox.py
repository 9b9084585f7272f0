"""The one queue: instants first, then kinds, then who came first; rows wait for room, and nothing else does."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.engine.inbox import END, MARKET, MOST, REPORT, STOP, TICK, Inbox

KINDS = (STOP, REPORT, TICK, MARKET, END)

#: What waits: few instants, so that many come at one.
waiting = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(KINDS)), max_size=MOST)


@given(waiting)
def test_what_waits_is_given_by_instant_then_kind_then_arrival(things: list[tuple[int, int]]) -> None:
    async def go() -> list[tuple[int, int, int]]:
        inbox = Inbox()
        for k, (ts, kind) in enumerate(things):
            if kind == MARKET:
                await inbox.put_market(ts, k)
            else:
                inbox.put(ts, kind, k)
        assert len(inbox) == len(things)
        return [await inbox.get() for _ in things]

    assert asyncio.run(go()) == sorted((ts, kind, k) for k, (ts, kind) in enumerate(things))


@given(st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 3), st.sampled_from((STOP, REPORT, TICK, END))))))
def test_at_every_moment_the_first_of_what_waits_is_given(steps: list[tuple[int, int] | None]) -> None:
    """Things come and are taken in any order; None: one is taken."""

    async def go() -> None:
        inbox, waits = Inbox(), list[tuple[int, int, int]]()
        for k, step in enumerate(steps):
            if step is not None:
                inbox.put(*step, k)
                waits.append((*step, k))
            elif waits:
                assert await inbox.get() == min(waits)
                waits.remove(min(waits))

    asyncio.run(go())


def test_things_that_cannot_be_compared_are_kept_apart_by_their_arrival() -> None:
    async def go() -> None:
        inbox, things = Inbox(), [object() for _ in range(9)]
        for thing in things:
            inbox.put(7, REPORT, thing)
        assert [(await inbox.get())[2] for _ in things] == things

    asyncio.run(go())


def test_the_order_of_kinds() -> None:
    """What a person or a venue says comes before the market, and the end is the last of all."""
    assert list(KINDS) == sorted(KINDS)


def test_rows_wait_for_room_and_a_venue_never_does() -> None:
    async def go() -> None:
        inbox = Inbox()

        async def bring() -> None:
            for ts in range(MOST + 3):
                await inbox.put_market(ts, ts)

        feed = asyncio.create_task(bring())
        await asyncio.sleep(0.01)
        assert (len(inbox), feed.done()) == (MOST, False)
        for k in range(10 * MOST):  # at once, whatever waits
            inbox.put(2**61, REPORT, k)
        inbox.put(0, STOP, None)
        assert len(inbox) == 11 * MOST + 1
        assert (await inbox.get())[1] == STOP  # makes no room for a row
        await asyncio.sleep(0)
        assert len(inbox) == 11 * MOST
        for ts in range(MOST + 3):  # each row that is taken lets another in
            assert await inbox.get() == (ts, MARKET, ts)
            await asyncio.sleep(0)
        await asyncio.wait_for(feed, 1.0)
        assert [(await inbox.get())[2] for _ in range(10 * MOST)] == list(range(10 * MOST))

    asyncio.run(go())


@pytest.mark.parametrize("kind", KINDS)
def test_who_reads_an_empty_queue_is_woken(kind: int) -> None:
    async def go() -> None:
        inbox = Inbox()
        reader = asyncio.create_task(inbox.get())
        await asyncio.sleep(0)
        assert not reader.done()
        await (inbox.put_market(5, "it") if kind == MARKET else asyncio.sleep(0, inbox.put(5, kind, "it")))
        assert await asyncio.wait_for(reader, 1.0) == (5, kind, "it")

    asyncio.run(go())


def test_a_writer_that_gives_up_takes_no_room_with_it() -> None:
    async def go() -> None:
        inbox = Inbox()
        for ts in range(MOST):
            await inbox.put_market(ts, ts)
        late = asyncio.create_task(inbox.put_market(MOST, MOST))
        await asyncio.sleep(0)
        late.cancel()
        await asyncio.wait({late})
        assert len(inbox) == MOST
        await inbox.get()
        await asyncio.wait_for(inbox.put_market(MOST, MOST), 1.0)
        assert [(await inbox.get())[0] for _ in range(MOST)] == list(range(1, MOST + 1))

    asyncio.run(go())
