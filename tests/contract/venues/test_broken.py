"""Every rule of the contract can fail: venues that break one, and the tests that notice."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.contract.venues import test_contract as contract
from tests.contract.venues.conftest import RIGS
from tests.contract.venues.rigs import Make, Rig
from trimtab.rules.orders import NO_REASON, REJECT, WITHDRAWN
from trimtab.types import F64
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
    Venue,
    Working,
)


class Same:
    """A venue as it is; what follows does one thing otherwise."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.sent: dict[str, Submit] = {}

    async def send(self, command: Order_) -> list[Report]:
        if isinstance(command, Submit):
            if command.cid in self.sent:
                return await self.again(command)
            self.sent[command.cid] = command
            return await self.first(command)
        return await (self.cancel(command) if isinstance(command, Cancel) else self.venue.send(command))

    async def first(self, command: Submit) -> list[Report]:
        return await self.venue.send(command)

    async def again(self, command: Submit) -> list[Report]:
        return await self.venue.send(command)

    async def cancel(self, command: Cancel) -> list[Report]:
        return await self.venue.send(command)

    async def row(self, ts: int, bars: F64) -> list[Report]:
        return await self.venue.row(ts, bars)

    async def ask(self, cid: str) -> list[Report]:
        return await self.venue.ask(cid)

    async def since(self, trade_id: str) -> list[Report]:
        return await self.venue.since(trade_id)

    async def snapshot(self) -> Snapshot:
        return await self.venue.snapshot()

    async def reports(self) -> AsyncIterator[Report]:
        async with contextlib.aclosing(self.venue.reports()) as said:  # type: ignore[type-var]
            async for report in said:
                yield report


def another(command: Submit) -> Submit:
    """The same order under another id."""
    order = command.order
    return command._replace(cid=f"{command.cid}x", order=order._replace(order_id=order.order_id + 1_000))


# --- orders ----------------------------------------------------------------------------------------------------------


class Mirrored(Same):
    async def first(self, command: Submit) -> list[Report]:
        return await super().first(command._replace(order=command.order._replace(lots=-command.order.lots)))


class Loose(Same):
    """Orders go at any price."""

    async def first(self, command: Submit) -> list[Report]:
        return await super().first(command._replace(order=command.order._replace(kind=0)))


class Increasing(Same):
    async def first(self, command: Submit) -> list[Report]:
        return await super().first(command._replace(order=command.order._replace(reduce_only=0)))


class Silent(Same):
    """Only who asks hears of anything."""

    async def row(self, ts: int, bars: F64) -> list[Report]:
        await super().row(ts, bars)
        return []

    async def reports(self) -> AsyncIterator[Report]:
        for report in list[Report]():
            yield report


class Nameless(Same):
    """Of which order a fill is, nobody can tell."""

    async def row(self, ts: int, bars: F64) -> list[Report]:
        return [r._replace(cid="") if isinstance(r, Filled) else r for r in await super().row(ts, bars)]


class Leaky(Same):
    """Who was listening and went has taken what comes next along."""

    def __init__(self, venue: Venue) -> None:
        super().__init__(venue)
        self.listened = 0

    async def row(self, ts: int, bars: F64) -> list[Report]:
        found = await super().row(ts, bars)
        return [] if self.listened and any(isinstance(r, Filled) for r in found) else found

    async def reports(self) -> AsyncIterator[Report]:
        self.listened += 1
        async with contextlib.aclosing(super().reports()) as said:  # type: ignore[type-var]
            async for report in said:
                yield report


# --- outcomes --------------------------------------------------------------------------------------------------------


class Hopeful(Same):
    """No answer is taken for a good one."""

    async def send(self, command: Order_) -> list[Report]:
        with contextlib.suppress(Ambiguous):
            return await super().send(command)
        return []


class Sure(Same):
    """No answer is taken for a sign that nothing arrived."""

    async def send(self, command: Order_) -> list[Report]:
        try:
            return await super().send(command)
        except Ambiguous as error:
            raise Unreachable(str(error)) from None


class Stubborn(Same):
    """What was not answered is sent again, under another id."""

    async def first(self, command: Submit) -> list[Report]:
        try:
            return await super().first(command)
        except Ambiguous:
            await super().first(another(command))
            raise


class Soothing(Same):
    """Where it cannot be reached, nothing is known, and that is the answer."""

    async def ask(self, cid: str) -> list[Report]:
        with contextlib.suppress(Unreachable):
            return await super().ask(cid)
        return []


class Patient(Same):
    """What could not be sent is kept and sent later."""

    def __init__(self, venue: Venue) -> None:
        super().__init__(venue)
        self.kept: list[Submit] = []

    async def first(self, command: Submit) -> list[Report]:
        try:
            return await super().first(command)
        except Unreachable:
            self.kept.append(command)
            raise

    async def ask(self, cid: str) -> list[Report]:
        found = await super().ask(cid)
        while self.kept:
            await super().first(self.kept.pop())
        return found


class Forgetful(Same):
    """What it did not tell in time is not told any more."""

    def __init__(self, venue: Venue) -> None:
        super().__init__(venue)
        self.told: set[str] = set()

    async def row(self, ts: int, bars: F64) -> list[Report]:
        found = await super().row(ts, bars)
        self.told |= {r.trade_id for r in found if isinstance(r, Filled)}
        return found

    async def since(self, trade_id: str) -> list[Report]:
        return [r for r in await super().since(trade_id) if isinstance(r, Filled) and r.trade_id in self.told]


# --- an id names one attempt -----------------------------------------------------------------------------------------


class Twice(Same):
    async def again(self, command: Submit) -> list[Report]:
        return await self.first(another(command))


class Refusing(Same):
    """A second order under an id is refused, and that is said in the name of the first."""

    async def again(self, command: Submit) -> list[Report]:
        return [Ended(command.cid, command.order.instrument, command.slot, REJECT, 0, 0)]


# --- questions -------------------------------------------------------------------------------------------------------


class Knowing(Same):
    async def ask(self, cid: str) -> list[Report]:
        return await super().ask(cid) or [Ended(cid, 0, 0, REJECT, 0, 0)]


class Ending(Same):
    """What has ended is forgotten."""

    async def ask(self, cid: str) -> list[Report]:
        found = await super().ask(cid)
        return [] if found and isinstance(found[-1], Ended) else found


class Backward(Same):
    async def ask(self, cid: str) -> list[Report]:
        return (await super().ask(cid))[::-1]


class Bare(Same):
    """How an order stands, without its fills."""

    async def ask(self, cid: str) -> list[Report]:
        return (await super().ask(cid))[-1:]


class Including(Same):
    async def since(self, trade_id: str) -> list[Report]:
        found = await super().since("")
        return [r for r in found if isinstance(r, Filled) and int(r.trade_id) >= int(trade_id or 0)]


class Newest(Same):
    async def since(self, trade_id: str) -> list[Report]:
        return (await super().since(trade_id))[::-1]


class Short(Same):
    """A page, and not what is behind it."""

    async def since(self, trade_id: str) -> list[Report]:
        return (await super().since(trade_id))[:10]


class Repeating(Same):
    async def since(self, trade_id: str) -> list[Report]:
        found = await super().since(trade_id)
        return found + found[-1:]


class Pieced(Same):
    """Lots of now, and the cash of the last time."""

    def __init__(self, venue: Venue) -> None:
        super().__init__(venue)
        self.cash: Any = None

    async def snapshot(self) -> Snapshot:
        said = await super().snapshot()
        was, self.cash = self.cash, said.cash
        return said if was is None else said._replace(cash=was)


class Living(Same):
    """What was said goes on changing."""

    def __init__(self, venue: Venue) -> None:
        super().__init__(venue)
        self.said: list[Snapshot] = []

    async def snapshot(self) -> Snapshot:
        said = await super().snapshot()
        self.said.append(said)
        for one in self.said:
            one.lots[:] = said.lots
        return said


class Whole(Same):
    """Open orders as large as they were when they were sent."""

    async def snapshot(self) -> Snapshot:
        said = await super().snapshot()
        return said._replace(orders={cid: self.sent[cid].order.lots for cid in said.orders})


# --- cancels and changes ---------------------------------------------------------------------------------------------


class Keeping(Same):
    """Says that an order was withdrawn, and lets it stand."""

    async def cancel(self, command: Cancel) -> list[Report]:
        return [Ended(command.cid, command.instrument, command.slot, WITHDRAWN, 0, 0)]


class Strict(Same):
    """What is gone cannot be withdrawn: an error."""

    async def cancel(self, command: Cancel) -> list[Report]:
        found = await self.venue.ask(command.cid)
        if not found or not isinstance(found[-1], Working):
            raise ValueError(f"no such order: {command.cid}")
        return await super().cancel(command)


class Agreeing(Same):
    """Whatever is withdrawn is said to have been."""

    async def cancel(self, command: Cancel) -> list[Report]:
        await super().cancel(command)
        return [Ended(command.cid, command.instrument, command.slot, WITHDRAWN, 0, 0)]


class Once(Same):
    """A cancel is let through once."""

    def __init__(self, venue: Venue) -> None:
        super().__init__(venue)
        self.tried: set[str] = set()

    async def cancel(self, command: Cancel) -> list[Report]:
        if command.cid in self.tried:
            return []
        self.tried.add(command.cid)
        return await super().cancel(command)


class Emptied(Same):
    """What an order had filled before it was withdrawn is said to be gone with it."""

    async def ask(self, cid: str) -> list[Report]:
        found = await super().ask(cid)
        gone = bool(found) and isinstance(found[-1], Ended) and found[-1].reason != NO_REASON
        return found[-1:] if gone else found


class Fixed(Same):
    async def send(self, command: Order_) -> list[Report]:
        return [] if isinstance(command, Amend) else await super().send(command)


class Reviving(Same):
    """To change an order that is gone places it."""

    async def send(self, command: Order_) -> list[Report]:
        found = await super().send(command)
        if isinstance(command, Amend) and not any(isinstance(r, Working) for r in await self.ask(command.cid)):
            made = another(self.sent[command.cid])
            await self.venue.send(made._replace(order=made.order._replace(kind=0, reduce_only=0)))
        return found


#: A venue that breaks a rule, the one that it is made of, and the tests that notice.
BROKEN: list[tuple[type[Same], str, list[str]]] = [
    (Mirrored, "paper", ["an_order_is_placed_as_it_was_asked_for"]),
    (Loose, "paper", ["a_limit_is_kept"]),
    (Increasing, "paper", ["what_only_reduces_never_increases"]),
    (Increasing, "plain", ["what_only_reduces_never_increases"]),
    (Silent, "paper", ["what_happens_is_told_unasked_and_with_its_order"]),
    (Silent, "plain", ["what_happens_is_told_unasked_and_with_its_order"]),
    (Nameless, "paper", ["what_happens_is_told_unasked_and_with_its_order"]),
    (Leaky, "paper", ["whoever_stops_listening_takes_nothing_along"]),
    (Hopeful, "paper", ["an_order_that_was_lost_is_in_doubt_and_nowhere", "a_cancel_that_was_lost_can_be_sent_again"]),
    (Sure, "paper", ["an_order_whose_answer_was_lost_is_in_doubt_and_there_once"]),
    (Stubborn, "paper", ["an_order_that_was_lost_is_in_doubt_and_nowhere"]),
    (Stubborn, "plain", ["an_order_whose_answer_was_lost_is_in_doubt_and_there_once"]),
    (Soothing, "paper", ["a_line_that_is_cut_says_so_and_lets_nothing_through"]),
    (Patient, "paper", ["a_line_that_is_cut_says_so_and_lets_nothing_through"]),
    (Forgetful, "paper", ["what_happened_while_the_line_was_cut_is_told_to_whoever_asks"]),
    (Twice, "paper", ["an_id_that_has_filled_is_not_placed_again", "an_id_that_was_withdrawn_does_not_come_back"]),
    (Twice, "plain", ["an_id_that_stands_is_not_placed_again_and_not_told_as_gone"]),
    (Refusing, "paper", ["an_id_that_stands_is_not_placed_again_and_not_told_as_gone"]),
    (Refusing, "plain", ["an_id_that_has_filled_is_not_placed_again"]),
    (Knowing, "paper", ["of_an_unknown_order_nothing_is_said"]),
    (Ending, "paper", ["of_a_known_order_its_fills_are_told_first_and_then_how_it_stands"]),
    (Backward, "paper", ["of_a_known_order_its_fills_are_told_first_and_then_how_it_stands"]),
    (Bare, "paper", ["of_a_known_order_its_fills_are_told_first_and_then_how_it_stands"]),
    (Including, "paper", ["fills_are_given_in_order_once_each_and_behind_the_one_that_is_named"]),
    (Newest, "paper", ["fills_are_given_in_order_once_each_and_behind_the_one_that_is_named"]),
    (Short, "paper", ["fills_are_given_in_order_once_each_and_behind_the_one_that_is_named"]),
    (Repeating, "paper", ["fills_are_given_in_order_once_each_and_behind_the_one_that_is_named"]),
    (Pieced, "paper", ["a_snapshot_is_one_instant_and_the_sum_of_the_fills"]),
    (Living, "paper", ["a_snapshot_is_one_instant_and_the_sum_of_the_fills"]),
    (Whole, "paper", ["a_snapshot_is_one_instant_and_the_sum_of_the_fills"]),
    (Keeping, "paper", ["what_was_withdrawn_is_gone_and_keeps_what_it_has_filled"]),
    (Emptied, "paper", ["what_was_withdrawn_is_gone_and_keeps_what_it_has_filled"]),
    (Strict, "paper", ["to_withdraw_what_is_gone_does_no_harm"]),
    (Agreeing, "paper", ["to_withdraw_what_is_gone_does_no_harm"]),
    (Once, "paper", ["a_cancel_that_was_lost_can_be_sent_again"]),
    (Fixed, "plain", ["a_change_leaves_what_it_says_and_no_more"]),
    (Reviving, "plain", ["a_change_leaves_what_it_says_and_no_more"]),
    (Bare, "paper", ["whatever_the_line_does_the_books_can_be_learned"]),
    (Twice, "plain", ["whatever_the_line_does_the_books_can_be_learned"]),
    (Patient, "paper", ["whatever_the_line_does_the_books_can_be_learned"]),
]


def wrapped(make: Make, kind: type[Same]) -> Make:
    @contextlib.asynccontextmanager
    async def again() -> AsyncIterator[Rig]:
        async with make() as rig:
            rig.venue = kind(rig.venue)
            yield rig

    return again


RULES = sorted(name.removeprefix("test_") for name in vars(contract) if name.startswith("test_"))


@pytest.mark.parametrize(
    ("kind", "of", "rule"),
    [pytest.param(kind, of, rule, id=f"{kind.__name__} {of}: {rule}") for kind, of, rules in BROKEN for rule in rules],
)
def test_a_venue_that_breaks_a_rule_is_caught(kind: type[Same], of: str, rule: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception, Unreachable, ValueError)):
        getattr(contract, f"test_{rule}")(wrapped(RIGS[of], kind))


@pytest.mark.parametrize("of", ["paper", "plain"])
@pytest.mark.parametrize("rule", RULES)
def test_a_venue_that_is_only_wrapped_is_not(rule: str, of: str) -> None:
    getattr(contract, f"test_{rule}")(wrapped(RIGS[of], Same))


def test_every_rule_is_broken_by_somebody() -> None:
    assert sorted({rule for _, _, rules in BROKEN for rule in rules}) == RULES
