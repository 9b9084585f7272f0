"""Crashes at named points of a row, each several times, and the kill switch thrown at them (laws 4 and 5)."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from tests.chaos.conftest import Maker
from tests.chaos.world import LENGTH, MODELS, SYMBOLS, World, bars_of, setup_of, throw, venue_of
from trimtab.engine import control, core
from trimtab.engine.events import Adjusted
from trimtab.engine.journal import read
from trimtab.engine.ledger import POINTS
from trimtab.engine.shell import Habits
from trimtab.feeds import GridRow
from trimtab.venues import Cancel, Decided, Liquidated, Snapshot, Submit
from trimtab.venues.paper import PaperVenue

#: Times that each point has to be hit at least; otherwise the test has proved nothing.
HITS = 3


class Market:
    """Random bars, wishes and faults for a world, from a seed."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.draw = world, random.Random(seed)
        self.prices = [100.0] * len(SYMBOLS)

    def row(self, faulty: bool = True) -> None:
        draw, world = self.draw, self.world
        moves = [draw.gauss(0.0, 0.02) for _ in SYMBOLS]
        bars = bars_of(self.prices, moves, [draw.choice((1e6, 1e6, 200.0)) for _ in SYMBOLS])
        self.prices = [float(b[3]) for b in bars]
        wishes = [(m, i, draw.uniform(-0.6, 0.9)) for m in range(MODELS) for i in range(len(SYMBOLS))]
        if faulty:
            world.line.fates.extend(draw.choice(("", "", "", "lost", "unanswered")) for _ in range(2))
            world.line.spoil = [draw.choice(("", "", "", "drop", "late", "twice")) for _ in range(4)]
        world.row(bars, [w for w in wishes if draw.random() < 0.5])


@pytest.mark.parametrize("faulty", [False, True], ids=["a good line", "a bad line"])
@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_each_point(point: str, faulty: bool, make: Maker) -> None:
    world = make(setup_of(True, False, True), Habits(snapshot_every=2, reconcile_every=3))
    market = Market(world, 11)
    for k in range(3 * HITS):
        world.arm(point, 1 + k % 3)
        for _ in range(4):
            market.row(faulty)
    world.restart("reconcile" if point != "reconcile" else "commit")
    assert world.crashes[point] >= HITS
    assert world.tried, "orders were sent"
    world.settle()


@pytest.mark.parametrize("flatten", [False, True])
@pytest.mark.parametrize("when", ["decided", "send", "answered", "reconcile", "commit"])
def test_the_switch_is_thrown_at_a_point(when: str, flatten: bool, make: Maker) -> None:
    """Between a decision and its orders, while one is on its way, during a reconciliation: from then on only what
    reduces reaches the venue (World.guard), also after a restart, and until somebody resumes."""
    world = make(setup_of(False, False, False), Habits(reconcile_every=2))
    market = Market(world, 5)
    for _ in range(6):
        market.row()
    passed = world.shell.ledger.at
    thrown: list[int] = []

    def hook(point: str) -> None:
        passed(point)
        if point == when and not thrown and sum(isinstance(c, Submit) for c in world.line.arrived) > 8:
            thrown.append(len(world.line.arrived))
            throw(world, flatten)

    world.shell.ledger.at = hook
    for _ in range(8):
        market.row()
    assert thrown, "the point was passed"
    world.restart()
    market.row()
    world.settle()
    head = world.shell.state.book.head[0]
    assert head["killed"] == (1 if flatten else 2)
    assert not world.line.venue.snapshot().orders
    if flatten:
        assert not world.line.venue.book.positions["lots"].any()
    after = [c for c in world.line.arrived[thrown[0] + (when == "send") :] if isinstance(c, Submit) and c.slot == 0]
    assert all(c.order.reduce_only for c in after)
    before = len(world.line.arrived)
    control.resume(world.folder, "a test")
    for _ in range(3):
        market.row(False)
    assert any(not c.order.reduce_only for c in world.line.arrived[before:] if isinstance(c, Submit))
    world.settle()


def test_the_switch_is_thrown_while_a_cancel_is_on_its_way(make: Maker) -> None:
    world = make(setup_of(False, False, True))
    bars = bars_of([100.0, 100.0], [0.0, 0.0], [1e6, 1e6])
    world.row(bars, [(0, 0, 0.5)])
    world.line.fates.append("lost")  # of the cancel of the order that rests
    world.row(bars_of([104.0, 100.0], [0.01, 0.0], [1e6, 1e6]), [(0, 0, 0.8)])
    assert isinstance(world.line.arrived[-1], Decided)
    assert len(world.line.venue.snapshot().orders) == 1, "the order stands, and another was not placed beside it"
    throw(world, False)
    world.look()
    world.row(bars_of([105.0, 100.0], [0.0, 0.0], [1e6, 1e6]), [])
    assert not world.line.venue.snapshot().orders
    assert sum(isinstance(c, Cancel) for c in world.line.arrived) == 1
    world.settle()


def test_a_switch_thrown_while_nobody_was_there(make: Maker) -> None:
    """A row that was not decided when its process died is decided by the next one as a killed account."""
    world = make(setup_of(False, False, False))
    market = Market(world, 3)
    market.row(False)
    market.row(False)
    world.arm("commit", 2)  # the row's reports are durable, its decision is not
    sent = len(world.tried)
    world.stop, stop = lambda: (throw(world, True), stop()), world.stop  # type: ignore[method-assign, assignment, func-returns-value]
    market.row(False)
    world.stop = stop  # type: ignore[method-assign]
    assert world.crashes == {"commit": 1}
    market.row(False)
    market.row(False)
    assert len(world.tried) - sent <= 2 * len(SYMBOLS)
    assert not world.line.venue.book.positions["lots"].any()
    world.settle()


@pytest.mark.parametrize("adopt", [True, False])
@pytest.mark.parametrize("what", ["lots", "cash", "both"])
def test_a_venue_that_says_otherwise(what: str, adopt: bool, make: Maker) -> None:
    """What no trade explains is adopted as what it is or stops the account; nothing is invented, or said twice."""
    world = make(setup_of(False, False, False), Habits(adopt=adopt))
    market = Market(world, 8)
    for _ in range(5):
        market.row(False)
    truth = world.line.venue.book
    if what != "cash":
        truth.positions["lots"][0] += 7
        truth.quantity[0] = truth.positions["lots"][0] * truth.unit[0]
    if what != "lots":
        truth.cash[0] += 12.5
    before = world.trades()
    world.reconcile()
    head = world.journal.head
    world.reconcile()
    assert world.journal.head == head
    assert world.trades() == before
    assert any("the venue says" in text for text in world.alerts)
    adjusted = [e.body for e in read(world.path) if isinstance(e.body, Adjusted)]
    if adopt:
        world.equal()
        assert sum(a.lots for a in adjusted) == (7 if what != "cash" else 0)
        assert not world.shell.halted
        market.row(False)
    else:
        assert not adjusted
        assert world.shell.state.book.head[0]["killed"] == 2
        assert "book and venue differ" in world.shell.halted
        world.restart()
        assert world.shell.state.book.head[0]["killed"] == 2
        market.row(False)
        assert not world.line.venue.snapshot().orders


def test_a_venue_that_ends_with_its_process(make: Maker) -> None:
    """On paper the next process has a venue that stands where its book does: ids of trades go on, none comes again."""
    world = make(setup_of(True, False, True), Habits(snapshot_every=4))
    market = Market(world, 21)
    booked = 0
    for _ in range(6):
        for _ in range(5):
            market.row()
        world.line.heal()
        world.stop()
        world.start()
        state = world.shell.state
        venue = venue_of(world.setup)
        for mine, theirs in zip(venue.book, state.book, strict=True):
            mine[...] = theirs
        venue.tape.load(state.tape.save())
        cids = {s.order_id: cid for cid, s in state.sent.items() if s.slot == 0 and not s.is_leaving}
        world.line.venue = PaperVenue(venue.setup, venue.book, venue.tape, cids, core.last_number(state))
        world.line.late.clear()
        assert len(world.trades()) > booked
        booked = len(world.trades())
        world.do(world.shell.begin)
    for _ in range(3):
        market.row(False)
    world.reconcile()
    world.equal()
    assert len(set(world.trades())) == len(world.trades())


@pytest.mark.parametrize("lost", ["drop", "late", "twice"])
def test_a_liquidation_of_what_the_book_does_not_hold(lost: str, make: Maker) -> None:
    """The fill that opened a position is lost, then the venue closes the position: both are found and applied."""
    world = make(setup_of(False, True, False))
    world.row(bars_of([100.0, 100.0], [0.0, 0.0], [1e6, 1e6]), [(0, 0, 0.9), (1, 1, -0.3)])
    world.line.spoil = [lost]
    world.row(bars_of([100.0, 100.0], [0.0, 0.0], [1e6, 1e6]), [])
    held = world.shell.state.book.positions["lots"].tolist()
    assert (held == [0, 0]) == (lost != "twice")
    world.row(bars_of([100.0, 100.0], [-0.8, 0.1], [1e6, 1e6]), [(0, 0, 0.5)])
    assert any(isinstance(r, Liquidated) for r in world.line.venue.since(""))
    world.settle()


def test_carry_on_what_was_not_known_in_time(make: Maker) -> None:
    """Funding of a position whose fill was lost differs by an amount that no trade explains: cash is adopted, and
    never lots."""
    adjusted: list[Adjusted] = []
    for seed in range(3):
        world = make(setup_of(True, True, False, carry=True), Habits(adopt=True, reconcile_every=7))
        market = Market(world, seed)
        for k in range(40):
            market.row()
            if k % 9 == 0:
                world.restart()
        world.line.heal()
        market.row(False)
        world.reconcile()
        world.equal()
        adjusted += [e.body for e in read(world.path) if isinstance(e.body, Adjusted)]
        head = world.journal.head
        world.reconcile()
        assert world.journal.head == head
    assert adjusted
    assert not any(a.lots for a in adjusted)


def test_what_must_be_closed_does_not_wait_for_a_row(make: Maker) -> None:
    """The switch is thrown while the line is cut: once it is back, a look is enough to close everything."""
    world = make(setup_of(False, False, False))
    market = Market(world, 1)
    for _ in range(3):
        market.row(False)
    held = np.flatnonzero(world.shell.state.book.positions["lots"])
    assert held.size
    world.line.cut = True
    throw(world, True)
    for _ in range(3):
        world.look()
    assert not world.shell.state.is_up
    world.line.cut = False
    sent = len(world.line.arrived)
    for _ in range(50):
        world.look()
    orders = [c for c in world.line.arrived[sent:] if isinstance(c, Submit)]
    assert world.shell.state.is_up
    assert sorted(c.order.instrument for c in orders) == held.tolist(), "each is asked for once"
    world.row(bars_of(market.prices, [0.0, 0.0], [1e6, 1e6]), [])
    world.settle()
    assert not world.line.venue.book.positions["lots"].any()


@pytest.mark.parametrize("nth", range(1, 9))
def test_a_fill_in_the_midst_of_a_comparison(nth: int, make: Maker) -> None:
    """Cash differs and is adopted; an order fills between two questions: it is booked as a fill, and once."""
    world = make(setup_of(False, False, False), Habits(adopt=True))
    world.row(bars_of([100.0, 100.0], [0.0, 0.0], [1e6, 1e6]), [(0, 0, 0.5)])
    world.line.venue.book.cash[0] += 12.5  # which no trade explains
    bars, ts = bars_of([100.0, 100.0], [0.001, 0.0], [1e6, 1e6]), world.begun + LENGTH
    snapshot, asked = world.line.snapshot, [0]

    async def filling() -> Snapshot:
        asked[0] += 1
        if asked[0] == nth:
            world.line.venue.row(ts, bars)
        return await snapshot()

    world.line.snapshot = filling  # type: ignore[method-assign]
    world.reconcile()
    adjusted = [e.body for e in read(world.path) if isinstance(e.body, Adjusted)]
    assert adjusted
    assert not any(a.lots for a in adjusted)
    world.row(bars, [])
    world.reconcile()
    world.equal()
    assert len(world.trades()) == len(set(world.trades())) == 1


def test_nothing_is_adopted_without_a_price(make: Maker) -> None:
    """What the venue holds before the first row is adopted at that row's marks, not at none."""
    world = make(setup_of(True, False, False), Habits(adopt=True))
    truth = world.line.venue.book
    truth.positions["lots"][0] += 700
    truth.quantity[0] = truth.positions["lots"][0] * truth.unit[0]
    world.reconcile()
    assert not [e for e in read(world.path) if isinstance(e.body, Adjusted)]
    world.row(bars_of([100.0, 100.0], [0.0, 0.0], [1e6, 1e6]), [])
    position = world.shell.state.book.positions[0]
    assert (position["lots"], position["avg_price"]) == (700, 100.0)
    assert [float(o["stop_price"]) for o in world.shell.state.book.orders[0][1:2]] == [98.0]


def test_who_watches_sees_the_models_asked_in_warm_rows(make: Maker, tmp_path: Path) -> None:
    world = make(setup_of(False, False, False))
    asked: list[str] = []

    class Seen(control.Marker):
        def step(self, ts: int) -> None:
            asked.append(f"step {ts}")

        def rest(self) -> None:
            asked.append("rest")

    world.shell.marker = Seen(tmp_path / "marker")
    world.do(lambda: world.shell._warm(GridRow(world.begun, bars_of([100.0, 100.0], [0.0, 0.0], [1e6, 1e6]))))
    assert asked == [f"step {world.begun}", "rest"]


def test_prices_between_rows_are_not_booked(make: Maker) -> None:
    world = make(setup_of(False, False, False))
    head = world.journal.head
    world.do(lambda: world.shell.line.send(world.shell.ledger.handle(core.Quote(0, 99.0, 101.0, world.begun))))
    world.shell.ledger.flush()
    assert world.shell.state.prices == {0: 100.0}
    assert world.journal.head == head
