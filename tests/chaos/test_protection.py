"""What protects a position is asked for and sent until it stands at the venue."""

from __future__ import annotations

import pytest

from tests.chaos.conftest import Maker
from tests.chaos.world import World, bars_of, setup_of
from trimtab.rules.book import TARGET
from trimtab.rules.orders import REJECT
from trimtab.venues import Ambiguous, Ended, Order_, Report, Submit, Unreachable


def failing(world: World, error: type[Exception]) -> list[bool]:
    """Let no protective order through while the first of what is given back is True."""
    through, fails = world.line.send, [True]

    async def send(command: Order_) -> list[Report]:
        if isinstance(command, Submit) and command.slot != TARGET and fails[0]:
            raise error("no answer")
        return await through(command)

    world.line.send = send  # type: ignore[method-assign]
    return fails


@pytest.mark.parametrize("error", [Unreachable, Ambiguous])
@pytest.mark.parametrize("crash", [False, True])
def test_protection_that_could_not_be_sent(error: type[Exception], crash: bool, make: Maker) -> None:
    world = make(setup_of(True, False, False))
    fails = failing(world, error)
    still = bars_of([100.0, 100.0], [0.0, 0.0], [1e6, 1e6])
    world.row(still, [(0, 0, 0.5)])
    world.row(bars_of([100.0, 100.0], [0.001, 0.0], [1e6, 1e6]), [])
    world.row(still, [])
    book = world.shell.state.book
    assert int(book.positions["live"][0]) >> 1, "the book does not give it up"
    assert any(s.is_leaving for s in world.shell.state.sent.values()), "and knows that it may not stand"
    tried = len(world.line.arrived)
    fails[0] = False
    if crash:
        world.restart()
    world.row(still, [])
    new = [c for c in world.line.arrived[tried:] if isinstance(c, Submit) and c.slot != TARGET]
    assert {c.slot for c in new} == {1, 2, 3}, "each is sent once more, under an id of its own"
    world.settle()


@pytest.mark.parametrize("refusals", [1, 2])
def test_protection_that_the_venue_takes_away(refusals: int, make: Maker) -> None:
    """Another takes its place; where that goes too, nothing that adds risk is sent until a person has looked."""
    world = make(setup_of(True, False, False))
    through, left = world.line.send, [refusals]

    async def send(command: Order_) -> list[Report]:
        reports = await through(command)
        if isinstance(command, Submit) and command.slot == 1 and left[0]:
            left[0] -= 1
            return [Ended(command.cid, command.order.instrument, 1, REJECT, 0, world.now())]
        return reports

    world.line.send = send  # type: ignore[method-assign]
    still = bars_of([100.0, 100.0], [0.0, 0.0], [1e6, 1e6])
    world.row(still, [(0, 0, 0.5)])
    world.row(bars_of([100.0, 100.0], [0.001, 0.0], [1e6, 1e6]), [])
    tried = [c.cid for c in world.line.arrived if isinstance(c, Submit) and c.slot == 1]
    assert len(tried) == len(set(tried)) == 2, "once more, under an id of its own, and no third time"
    assert sum("which protects, is gone (rejected by the venue)" in text for text in world.alerts) == refusals
    killed = int(world.shell.state.book.head[0]["killed"])
    assert (killed != 0) == (refusals == 2)
    if refusals == 1:
        world.settle()
        return
    assert "without protection" in world.shell.halted
    world.restart()
    world.row(still, [(0, 1, 0.3)])
    assert int(world.shell.state.book.head[0]["killed"]) == killed
    assert int(world.shell.state.book.positions["lots"][1]) == 0
