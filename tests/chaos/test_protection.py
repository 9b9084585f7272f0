"""What protects a position is asked for and sent until it stands at the venue."""

from __future__ import annotations

import pytest

from tests.chaos.conftest import Maker
from tests.chaos.world import World, bars_of, setup_of
from trimtab.rules.book import TARGET
from trimtab.venues import Ambiguous, Order_, Report, Submit, Unreachable


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
