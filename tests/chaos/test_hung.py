"""A venue that does not answer, or stops speaking, stops nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from tests.chaos.conftest import Maker
from tests.chaos.world import LENGTH, World, bars_of, setup_of
from trimtab.engine import control
from trimtab.engine.shell import Habits
from trimtab.feeds import GridRow
from trimtab.types import BAR_FIELDS
from trimtab.venues import Report, Submit, Unreachable

STILL = bars_of([100.0, 100.0], [0.0, 0.0], [1e6, 1e6])


class Feed:
    """Gives some rows and then nothing for an hour."""

    fields = BAR_FIELDS

    def __init__(self, *rows: GridRow) -> None:
        self.given = rows

    async def rows(self, after: int) -> AsyncIterator[GridRow]:
        for row in self.given:
            yield row
        await asyncio.sleep(3600)


async def never(*_: object) -> None:
    await asyncio.sleep(3600)


def running(world: World, *rows: np.ndarray) -> None:
    """Let the engine read these rows when it runs."""
    world.shell.feed = Feed(*(GridRow(world.begun + k * LENGTH, bars) for k, bars in enumerate(rows)))  # type: ignore[assignment]


@pytest.mark.parametrize("what", ["send", "snapshot", "row"])
def test_a_call_that_hangs(what: str, make: Maker) -> None:
    """The engine ends when it is told to, after a call's time at the latest, and knows what it does not know."""
    world = make(setup_of(False, False, False), Habits(reconcile_every=1, patience=0.2))
    world.said.given[world.begun] = [(0, 0, 0.3), (1, 1, 0.3)]
    running(world, STILL)
    calls: list[object] = []

    async def hang(*told: object) -> None:
        calls.append(told)
        await never()

    async def go() -> None:
        await world.shell.begin()
        setattr(world.line, what, hang)
        task = asyncio.create_task(world.shell.run(0))
        await asyncio.sleep(1.0)
        world.shell.stop()
        await asyncio.wait({task}, timeout=5.0)
        assert task.done()

    world.do(go)
    assert any("no answer within" in text for text in world.alerts)
    assert what == "snapshot" or (world.shell.state.is_up and len(calls) == 1)
    assert not any(sent.is_leaving for sent in world.shell.state.sent.values()), "it was asked about"


def test_the_switch_while_a_call_hangs(make: Maker) -> None:
    world = make(setup_of(False, False, False), Habits(patience=0.3))
    world.said.given[world.begun] = [(0, 0, 0.3), (1, 1, 0.3)]
    running(world, STILL)
    send = world.line.send

    async def go() -> None:
        world.line.send = never  # type: ignore[assignment, method-assign]
        task = asyncio.create_task(world.shell.run(0))
        await asyncio.sleep(0.1)
        control.kill(world.folder, "a test", False)
        world.line.send = send  # type: ignore[method-assign]
        await asyncio.sleep(2.0)
        world.shell.stop()
        await asyncio.wait_for(task, 5.0)

    world.do(go)
    assert world.shell.state.book.head[0]["killed"] == 2
    assert world.shell.state.is_up
    assert not any(isinstance(c, Submit) for c in world.line.arrived)


def test_reports_that_break_off(make: Maker) -> None:
    """A stream that fails ends nothing: the venue counts as away until it was compared, and is listened to again."""
    world = make(setup_of(False, False, False))
    running(world)
    listened: list[bool] = []

    async def reports() -> AsyncIterator[Report]:
        listened.append(world.shell.state.is_up)
        if len(listened) == 1:
            raise Unreachable("stream lost")
        if len(listened) == 2:
            raise ValueError("no such message")
        for report in list[Report]():
            yield report

    world.line.reports = reports  # type: ignore[method-assign]

    async def go() -> None:
        task = asyncio.create_task(world.shell.run(0))
        await asyncio.sleep(3.5)
        world.shell.stop()
        await asyncio.wait({task}, timeout=5.0)
        assert task.done()

    world.do(go)
    assert listened == [True] * 4
    assert sum("broke off" in text for text in world.alerts) == 2
    assert world.shell.state.is_up


@pytest.mark.parametrize("word", ["kill", "stop"])
def test_nobody_waits_for_a_call_that_hangs(word: str, make: Maker) -> None:
    """What people order does not wait until a venue's patience is at its end."""
    world = make(setup_of(False, False, False), Habits(patience=60.0))
    world.said.given[world.begun] = [(0, 0, 0.3)]
    running(world, STILL)
    world.line.send = never  # type: ignore[assignment, method-assign]

    async def go() -> None:
        task = asyncio.create_task(world.shell.run(0))
        await asyncio.sleep(0.2)
        assert not world.shell.state.book.head[0]["killed"]
        if word == "kill":
            control.kill(world.folder, "a test", False)
            await asyncio.sleep(2.0)
            assert world.shell.state.book.head[0]["killed"] == 2
        world.shell.stop()
        await asyncio.wait({task}, timeout=5.0)
        assert task.done()

    world.do(go)
    assert word == "stop" or not any(sent.is_leaving for sent in world.shell.state.sent.values()), "it was asked about"
