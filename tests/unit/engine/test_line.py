"""The line to a venue: how long a call may take, what may be sent at all, and what is made of what a venue knows."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.chaos.world import NAMES
from tests.parity.engaged import Silent
from tests.unit.engine.account import account, sent
from trimtab import killswitch
from trimtab.engine import core, line
from trimtab.engine.events import Outcome
from trimtab.engine.journal import open_journal, read
from trimtab.engine.ledger import Ledger
from trimtab.engine.line import Line
from trimtab.rules.book import STOP_LOSS, TARGET
from trimtab.rules.fills import Execution
from trimtab.rules.orders import NO_REASON
from trimtab.types import GTC, MARKET, Order
from trimtab.venues import (
    Ambiguous,
    Amend,
    Cancel,
    Ended,
    Filled,
    Order_,
    Report,
    Snapshot,
    Submit,
    Unreachable,
    Working,
)

PRICE = Execution(100.0, 0.0, 0, 100.0, 0.0, 0.0, 0.0, 0.0)


class Scripted:
    """A venue that says what it is told to.

    takes   seconds that a call takes, or what it raises
    open    orders of its snapshot
    knows   what `ask` answers; trades: what `since` does, once it was asked more than `hides` times
    """

    def __init__(self) -> None:
        self.takes: float | Exception = 0.0
        self.knows: list[Report] = []
        self.trades: list[Report] = []
        self.hides = 0
        self.open: dict[str, int] = {}
        self.heard: list[object] = []

    async def _heard(self, what: object) -> None:
        self.heard.append(what)
        if isinstance(self.takes, Exception):
            raise self.takes
        await asyncio.sleep(self.takes)

    async def send(self, command: Order_) -> list[Report]:
        await self._heard(command)
        return []

    async def ask(self, cid: str) -> list[Report]:
        await self._heard(cid)
        return self.knows

    async def since(self, trade_id: str) -> list[Report]:
        await self._heard(("since", trade_id))
        return self.trades if sum("since" in x for x in self.heard if isinstance(x, tuple)) > self.hides else []

    async def snapshot(self) -> Snapshot:
        await self._heard("snapshot")
        return Snapshot(0, np.zeros(2, np.int64), np.array([1.0]), dict(self.open))


class Bench:
    """A line with its account, its journal and its venue, in one loop."""

    def __init__(self, folder: Path) -> None:
        self.path, self.venue, self.watch = folder / "journal", Scripted(), Silent()
        self.journal = open_journal(self.path, "chaos")
        self.state = account()
        ledger = Ledger(self.state, self.journal, NAMES, self.watch, lambda: self.state.tape.ts)
        self.line = Line(ledger, self.venue, folder, 0.05, False)  # type: ignore[arg-type]  # it asks no more of a venue

    def do(self, go: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        return asyncio.run(go())

    def outcomes(self, cid: str) -> list[str]:
        """What the journal says became of an order."""
        self.line.ledger.flush()
        return [e.body.status for e in read(self.path) if isinstance(e.body, Outcome) and e.body.client_order_id == cid]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.journal.close()


def order(number: int = 1, slot: int = TARGET, replaces: str = "", reduce_only: int = 0) -> Submit:
    asked = Order(number, 0, 0, 10, MARKET, np.nan, np.nan, GTC, 0, reduce_only, 0)
    return Submit(f"T-{number:010d}", slot, asked, replaces)


# --- calls -----------------------------------------------------------------------------------------------------------


def test_an_answer_is_given_as_it_comes(bench: Bench) -> None:
    bench.venue.knows = [Ended("x", 0, TARGET, NO_REASON, 0, 5)]
    assert bench.do(lambda: bench.line.call(bench.venue.ask, "x")) == bench.venue.knows
    assert not bench.line.is_mute


def test_patience_ends_and_then_nobody_knows(bench: Bench) -> None:
    bench.venue.takes = 60.0
    with pytest.raises(Ambiguous, match=r"no answer within 0\.\d s"):
        bench.do(lambda: bench.line.call(bench.venue.send, order()))
    assert bench.line.is_mute


def test_a_mute_venue_is_sent_nothing_until_it_answers_a_question(bench: Bench) -> None:
    bench.line.is_mute = True
    with pytest.raises(Unreachable):
        bench.do(lambda: bench.line.call(bench.venue.send, order()))
    assert bench.venue.heard == []
    bench.venue.takes = Unreachable("cut")
    with pytest.raises(Unreachable, match="cut"):
        bench.do(lambda: bench.line.call(bench.venue.ask, "x"))
    assert bench.line.is_mute, "an error is no answer"
    bench.venue.takes = 0.0
    bench.do(lambda: bench.line.call(bench.venue.ask, "x"))
    bench.do(lambda: bench.line.call(bench.venue.send, order()))
    assert bench.venue.heard == ["x", "x", order()]


def test_a_mute_venue_is_asked_nothing_once_the_engine_stops(bench: Bench) -> None:
    bench.line.is_mute = bench.line.is_ending = True
    with pytest.raises(Unreachable):
        bench.do(lambda: bench.line.call(bench.venue.ask, "x"))
    assert bench.venue.heard == []
    bench.line.is_mute = False
    bench.do(lambda: bench.line.call(bench.venue.ask, "x"))
    assert bench.venue.heard == ["x"]


@pytest.mark.parametrize(("hurry", "after", "least", "most"), [(0.3, 0.0, 0.3, 5.0), (1.5, 1.6, 1.6, 2.9)])
def test_to_hurry_leaves_a_call_its_least(
    hurry: float, after: float, least: float, most: float, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HURRY seconds in all: a call that has had them already ends at once."""
    monkeypatch.setattr(line, "HURRY", hurry)
    bench.line.patience, bench.venue.takes = 60.0, 120.0

    async def go() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        call = asyncio.create_task(bench.line.call(bench.venue.ask, "x"))
        await asyncio.sleep(after)
        for _ in range(3):  # whoever says it again and again gives it no more time
            bench.line.hurry()
            await asyncio.sleep(0.01)
        with pytest.raises(Ambiguous):
            await call
        return loop.time() - began

    assert least <= bench.do(go) < most


def test_to_hurry_gives_no_call_more_time_and_takes_none_from_the_next(bench: Bench) -> None:
    bench.venue.takes = 60.0

    async def go() -> float:
        loop = asyncio.get_running_loop()
        bench.line.hurry()  # nothing is in flight
        began = loop.time()
        call = asyncio.create_task(bench.line.call(bench.venue.ask, "x"))
        await asyncio.sleep(0)
        bench.line.hurry()
        with pytest.raises(Ambiguous):
            await call
        return loop.time() - began

    assert 0.04 <= bench.do(go) < line.HURRY
    bench.venue.takes, bench.line.patience = 0.1, 60.0
    bench.do(lambda: bench.line.call(bench.venue.ask, "x"))


# --- what may be sent ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "asked", "goes"),
    [
        ("all is well", order(), True),
        ("the one it replaces may still fill", order(replaces="T-0000000007"), False),
        ("the one it replaces may still fill", order(replaces="T-0000000007", reduce_only=1), False),
        ("all is well", order(replaces="T-0000000006"), True),
        ("away", order(), False),
        ("away", order(reduce_only=1), True),
        ("away", order(slot=STOP_LOSS), True),
        ("the switch", order(), False),
        ("the switch", order(reduce_only=1), True),
        ("the switch", order(slot=STOP_LOSS), True),
    ],
)
def test_what_may_go(what: str, asked: Submit, goes: bool, bench: Bench) -> None:
    if what.startswith("the one"):
        sent(bench.state, 7, leaving=True)
    elif what == "away":
        bench.line.cut_off(Unreachable("cut"))
    elif what == "the switch":
        killswitch.throw(bench.line.folder, "a test")
    sent(bench.state, 1, slot=asked.slot)
    bench.do(lambda: bench.line.send([asked]))
    assert bench.venue.heard == ([asked] if goes else [])
    assert (asked.cid in bench.state.sent) is goes
    assert bench.outcomes(asked.cid) == ([] if goes else ["REJECTED"])


def test_a_cancel_of_what_has_ended_is_not_sent(bench: Bench) -> None:
    cid = sent(bench.state, 1, leaving=True)
    there, gone = Cancel(cid, 0, TARGET), Cancel("T-0000000002", 0, TARGET)
    bench.do(lambda: bench.line.send([gone, there]))
    assert bench.venue.heard == [there]


@pytest.mark.parametrize("slot", [TARGET, STOP_LOSS])
def test_what_was_not_answered_is_in_doubt(slot: int, bench: Bench) -> None:
    cid = sent(bench.state, 1, slot=slot)
    bench.venue.takes = Ambiguous("503")
    bench.do(lambda: bench.line.send([order(slot=slot)]))
    assert bench.state.sent[cid].is_leaving
    assert bench.outcomes(cid) == ["UNKNOWN"]
    assert bench.state.is_up


@pytest.mark.parametrize("slot", [TARGET, STOP_LOSS])
def test_what_could_not_be_sent_was_not_placed_unless_it_protects(slot: int, bench: Bench) -> None:
    """What protects must not be given up: it is asked for, and sent anew."""
    cid = sent(bench.state, 1, slot=slot)
    bench.venue.takes = Unreachable("cut")
    bench.do(lambda: bench.line.send([order(slot=slot)]))
    assert bench.outcomes(cid) == (["REJECTED"] if slot == TARGET else ["UNKNOWN"])
    assert not bench.state.is_up


@pytest.mark.parametrize("error", [Unreachable("cut"), Ambiguous("no answer")])
def test_a_change_of_what_protects_is_asked_for_and_sent_again(error: Exception, bench: Bench) -> None:
    """Else the venue's stop would be of another size than the position."""
    cid = standing(bench.state)
    bench.venue.takes = error
    bench.do(lambda: bench.line.send([Amend(cid, 0, STOP_LOSS, -30, math.nan, 99.0)]))
    assert bench.state.sent[cid].is_leaving
    assert bench.outcomes(cid) == ["UNKNOWN"]
    bench.venue.takes, bench.venue.knows = 0.0, [Working(cid, 0, STOP_LOSS, 1, -1, 0, NO_REASON, NO_REASON, -10)]
    bench.do(bench.line.clear_up)
    again = [c for c in bench.venue.heard if isinstance(c, Amend)]
    assert [c.lots for c in again] == [-30, -30]
    assert not bench.state.sent[cid].is_leaving


def test_what_protects_in_another_size_at_the_venue_is_changed_there(bench: Bench) -> None:
    cid = standing(bench.state)
    bench.venue.open, bench.venue.knows = {cid: -10}, [Working(cid, 0, STOP_LOSS, 1, -1, 0, NO_REASON, NO_REASON, -10)]
    bench.do(lambda: bench.line.reconcile("now"))
    assert [c.lots for c in bench.venue.heard if isinstance(c, Amend)][:1] == [-30]


def standing(state: core.State) -> str:
    """A stop over 30 lots, in the book and at the venue."""
    cid = sent(state, 1, slot=STOP_LOSS, lots=-30)
    state.book.orders[0, STOP_LOSS] = state.sent[cid].record
    state.book.positions[0]["live"] |= 1 << STOP_LOSS
    return cid


# --- what a venue knows of an order ----------------------------------------------------------------------------------


def test_what_a_venue_knows_nothing_of_was_never_placed(bench: Bench) -> None:
    cid = sent(bench.state, 1, leaving=True)
    bench.do(lambda: bench.line.ask(cid))
    assert cid not in bench.state.sent
    assert bench.outcomes(cid) == ["REJECTED"]
    assert bench.venue.heard == [("since", ""), cid], "its fills are asked for first"


def test_a_venue_that_cannot_be_asked_says_nothing_of_an_order(bench: Bench) -> None:
    cid = sent(bench.state, 1, leaving=True)
    for error in (Unreachable("cut"), Ambiguous("503")):
        bench.venue.takes = error
        bench.do(lambda: bench.line.ask(cid))
        assert bench.state.sent[cid].is_leaving
        assert bench.outcomes(cid) == []
        assert not bench.state.is_up


def test_a_venue_that_does_not_give_the_fills_of_what_has_filled_counts_as_away(bench: Bench) -> None:
    cid = sent(bench.state, 1, leaving=True)
    bench.venue.knows = [Ended(cid, 0, TARGET, NO_REASON, 0, 9)]
    told = bench.do(lambda: bench.line.ask(cid))
    assert bench.state.sent[cid].is_leaving, "it is not forgotten before its fills have come"
    assert not bench.state.is_up
    assert any(isinstance(c, core.Alert) and "does not give its fills" in c.text for c in told)
    assert sum(x == cid for x in bench.venue.heard) == len(core.LOOKS)


@pytest.mark.parametrize("hides", range(len(core.LOOKS)))
def test_fills_that_are_found_further_back_are_booked_and_the_order_has_ended(hides: int, bench: Bench) -> None:
    cid = sent(bench.state, 1, leaving=True)
    bench.venue.knows = [Ended(cid, 0, TARGET, NO_REASON, 0, 9)]
    bench.venue.trades = [Filled("1", cid, 0, TARGET, 4, PRICE, 8), Filled("2", cid, 0, TARGET, 6, PRICE, 9)]
    bench.venue.hides = hides
    bench.do(lambda: bench.line.ask(cid))
    assert cid not in bench.state.sent
    assert bench.state.book.positions["lots"].tolist() == [10, 0]
    assert bench.state.is_up
    assert not bench.watch.alerts


def test_an_order_that_stands_after_all_is_withdrawn(bench: Bench) -> None:
    cid = sent(bench.state, 1, leaving=True)
    bench.venue.knows = [Working(cid, 0, TARGET, 1, 0, 0, 0, 0, 10)]
    told = bench.do(lambda: bench.line.ask(cid))
    assert [type(c) for c in told] == [Cancel]
    assert cid in bench.state.sent
