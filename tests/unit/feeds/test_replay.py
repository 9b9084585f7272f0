"""Rows of a panel, at any speed."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from trimtab.feeds import GridRow
from trimtab.feeds.clock import Clock
from trimtab.feeds.replay import ReplayFeed
from trimtab.types import BAR_FIELDS, HOUR, MINUTE, SECOND, Instrument, Panel, TrimtabError


def panel_of(rows: int) -> Panel:
    ts = np.arange(1, rows + 1, dtype=np.int64) * MINUTE
    ts[rows // 2 :] += HOUR  # a gap
    values = np.random.default_rng(0).uniform(1.0, 2.0, (rows, 3, len(BAR_FIELDS)))
    values[1, 2] = np.nan
    return Panel(ts, tuple(Instrument(symbol=s) for s in "ABC"), BAR_FIELDS, values, "1m")


async def taken(feed: ReplayFeed, after: int = 0) -> list[Any]:
    return [event async for event in feed.rows(after)]


def test_every_row_comes_once_in_order_as_it_is() -> None:
    panel = panel_of(200)
    feed = ReplayFeed(panel)
    rows = asyncio.run(taken(feed))
    assert feed.fields == panel.fields
    assert [row.ts for row in rows] == panel.ts.tolist()
    assert all(isinstance(row, GridRow) for row in rows)
    assert np.array_equal(np.stack([row.bars for row in rows]), panel.values, equal_nan=True)
    assert not rows[0].bars.flags.writeable


@pytest.mark.parametrize("cut", [0, 1, 99, 199, 200])
def test_rows_go_on_after_an_instant(cut: int) -> None:
    panel = panel_of(200)
    after = int(panel.ts[cut - 1]) if cut else 0
    assert [row.ts for row in asyncio.run(taken(ReplayFeed(panel), after))] == panel.ts[cut:].tolist()
    assert [row.ts for row in asyncio.run(taken(ReplayFeed(panel), after + 1))] == panel.ts[cut:].tolist()


def test_a_speed_is_kept_by_the_clock_and_a_slow_consumer_catches_up() -> None:
    panel, at = panel_of(10), [5 * SECOND]

    async def sleep(seconds: float) -> None:
        at[0] += round(seconds * SECOND)

    async def run() -> list[int]:
        seen: list[int] = []
        async for row in ReplayFeed(panel, speed=60.0, clock=Clock(lambda: at[0], sleep)).rows(0):
            assert isinstance(row, GridRow)
            seen.append(at[0] - 5 * SECOND)
            if len(seen) == 2:
                at[0] += 5 * SECOND // 2  # busy for two rows and a half
        return seen

    # One minute is one second; the gap of an hour in the middle is one minute.
    wanted = [0, 1.0, 3.5, 3.5, 4.0, 65.0, 66.0, 67.0, 68.0, 69.0]
    assert asyncio.run(run()) == [round(seconds * SECOND) for seconds in wanted]


@pytest.mark.parametrize("speed", [0.0, 1.0])
def test_it_can_be_cancelled_even_if_its_consumer_waits_for_nothing(speed: float) -> None:
    panel, count = panel_of(20_000), [0]

    async def run() -> None:
        async def consume() -> None:
            async for _ in ReplayFeed(panel, speed=speed).rows(0):
                count[0] += 1

        task = asyncio.create_task(consume())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert count[0] < len(panel.ts)


@pytest.mark.parametrize("speed", [-1.0, float("nan"), float("inf")])
def test_a_speed_that_is_none_is_refused(speed: float) -> None:
    with pytest.raises(TrimtabError, match="speed of a replay"):
        ReplayFeed(panel_of(2), speed=speed)
