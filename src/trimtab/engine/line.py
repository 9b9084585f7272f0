"""The line between an account and its venue: what is sent, asked and heard, and how the two are brought to agree.

An order is durable before it is sent, is sent once, and where its outcome is not known it is asked about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from trimtab.engine import core
from trimtab.engine.ledger import Ledger
from trimtab.engine.reconcile import Difference, adjustments, differences, in_doubt, is_known, is_same, resized, strange
from trimtab.killswitch import thrown
from trimtab.rules.book import TARGET
from trimtab.rules.orders import NOT_PLACED, WITHHELD
from trimtab.venues import (
    Ambiguous,
    Amend,
    Cancel,
    Decided,
    Ended,
    Filled,
    Report,
    Snapshot,
    Submit,
    Unknown,
    Unreachable,
    Venue,
)

T = TypeVar("T")

#: Snapshots that a venue is asked for until two in a row say the same.
LOOKS: Final = 6

#: Seconds that a call may still take, in all, once people have ordered something or the engine is to stop.
HURRY: Final = 1.0


@dataclass(slots=True)
class Line:
    """What an account says to its venue and hears from it.

    patience   seconds that a call may take; after them it counts as not answered
    adopt      True: what still differs from the venue is adopted as an adjustment; False: the account is halted
    halted     why nothing is sent but what reduces; empty: it is
    is_mute    the last call has not been answered in time
    is_ending  the engine stops: who does not answer is not asked again
    owes       what is to be adopted waits for a price
    """

    ledger: Ledger
    venue: Venue
    folder: Path
    patience: float
    adopt: bool
    halted: str = ""
    is_mute: bool = False
    is_ending: bool = False
    owes: bool = False
    _limit: asyncio.Timeout | None = None  # of the call in flight
    _asked: float = 0.0  # when that began, on the loop's clock

    @property
    def state(self) -> core.State:
        return self.ledger.state

    # --- calls -------------------------------------------------------------------------------------------------------

    async def call(self, call: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Ask something of the venue and wait only for so long. One that has not answered is sent nothing until it
        answers a question, and asked nothing either once the engine stops."""
        if self.is_mute and (self.is_ending or call == self.venue.send):
            raise Unreachable("it does not answer")
        self._asked = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self.patience) as self._limit:
                answer = await call(*args)
        except TimeoutError:
            self.is_mute = True
            raise Ambiguous(f"no answer within {asyncio.get_running_loop().time() - self._asked:.1f} s") from None
        finally:
            self._limit = None
        self.is_mute = False
        return answer

    def hurry(self) -> None:
        """Something cannot wait for the call in flight: it is given HURRY seconds in all."""
        if self._limit is not None and not self._limit.expired():
            until = max(self._asked + HURRY, asyncio.get_running_loop().time())
            if until < (self._limit.when() or until):
                self._limit.reschedule(until)

    def cut_off(self, error: Exception) -> list[core.EngineCommand]:
        """The venue cannot be reached, or relied on: until it agrees again nothing is sent but what reduces."""
        if not self.state.is_up:
            return []
        return self.ledger.handle(core.VenueState(False, str(error), self.ledger.now()))

    # --- rows and reports --------------------------------------------------------------------------------------------

    async def row(self, ts: int, bars: Any) -> list[Report]:
        """What happened inside a row, where the venue only learns it from bars."""
        try:
            return await self.call(self.venue.row, ts, bars)
        except (Unreachable, Ambiguous) as error:
            await self.send(self.cut_off(error))
            return []

    async def clear_up(self) -> None:
        """Call a venue that went away, and ask for what is in doubt."""
        if not self.state.is_up:
            await self._reconnect()
        for cid in in_doubt(self.state):
            if self.state.is_up:
                await self.send(await self.ask(cid))

    async def report(self, reports: Sequence[Report]) -> None:
        """Handle what a venue says; what that leads to is durable before it is sent."""
        commands: list[core.EngineCommand] = []
        for report in reports:
            commands.extend(self.ledger.handle(report))
        await self.send(commands)

    async def send(self, commands: Sequence[core.EngineCommand]) -> None:
        """Carry out commands, orders once they are durable."""
        queue: list[core.EngineCommand] = list(commands)
        while queue:
            command = queue.pop(0)
            if isinstance(command, core.Record):
                self.ledger.watch.recorded(command)
            elif isinstance(command, core.Alert):
                self.ledger.alert(command.text)
            elif isinstance(command, core.Halt):
                self.halted = command.reason
            elif isinstance(command, core.Ask):
                queue.extend(await self.ask(command.cid))
            else:
                queue.extend(await self._exchange(command))

    async def _exchange(self, command: Submit | Cancel | Amend | Decided) -> list[core.EngineCommand]:
        """Send, once it is durable; what may not go any more is told to the book as withheld."""
        if self.ledger.intends:
            self.ledger.flush()
        if isinstance(command, Cancel) and command.slot == TARGET and command.cid not in self.state.sent:
            return []
        if isinstance(command, Submit) and self._is_barred(command):
            i = command.order.instrument
            return self.ledger.handle(Ended(command.cid, i, command.slot, WITHHELD, 0, self.ledger.now()))
        self.ledger.at("send")
        try:
            reports = await self.call(self.venue.send, command)
        except Ambiguous as error:
            found = self.cut_off(error) if self.is_mute else []
            return [*found, *self._in_doubt(command)]  # it is asked about
        except Unreachable as error:
            found = self.cut_off(error)
            if isinstance(command, Submit) and command.slot == TARGET:
                i = command.order.instrument
                return found + self.ledger.handle(Ended(command.cid, i, TARGET, NOT_PLACED, 0, self.ledger.now()))
            return [*found, *self._in_doubt(command)]  # what protects must not be given up
        self.ledger.at("answered")
        return [c for report in reports for c in self.ledger.handle(report)]

    def _in_doubt(self, command: Submit | Cancel | Amend | Decided) -> list[core.EngineCommand]:
        """An order whose end or size is not known any more; one that was withdrawn is in doubt already."""
        if isinstance(command, (Cancel, Decided)):
            return []
        i = command.order.instrument if isinstance(command, Submit) else command.instrument
        return self.ledger.handle(Unknown(command.cid, i, command.slot, self.ledger.now()))

    def _is_barred(self, command: Submit) -> bool:
        """May an order not go now? One that takes another's place goes only where that one is surely gone; one that
        adds to a position only where the venue's reports are complete and nobody has thrown the switch since."""
        if command.replaces in self.state.sent:
            return True
        if command.slot != TARGET or command.order.reduce_only:
            return False
        return not self.state.is_up or thrown(self.folder) is not None

    async def _missed(self, back: int) -> list[core.EngineCommand]:
        """Fills that the venue has and the book has not."""
        fills = await self.call(self.venue.since, core.known_trade(self.state, back))
        return self.told(fills)

    def told(self, reports: Sequence[Report]) -> list[core.EngineCommand]:
        """Handle what is news of what a venue was asked."""
        return [c for report in reports if core.is_news(self.state, report) for c in self.ledger.handle(report)]

    async def ask(self, cid: str) -> list[core.EngineCommand]:
        """All that the venue knows of an order, its fills first; what it knows nothing of was never placed."""
        commands: list[core.EngineCommand] = []
        try:
            for back in core.LOOKS:
                commands += await self._missed(back)
                found = await self.call(self.venue.ask, cid)
                sent = self.state.sent.get(cid)
                if not found and sent is not None:
                    found = [Ended(cid, sent.instrument, sent.slot, NOT_PLACED, 0, self.ledger.now())]
                said = self.told(found)
                commands += [c for c in said if not isinstance(c, core.Ask)]
                if not any(isinstance(c, core.Ask) for c in said):
                    return commands
        except (Ambiguous, Unreachable) as error:
            return [*commands, *self.cut_off(error)]
        what = f"order {cid} has filled, it says, and does not give its fills"
        return [*commands, *self.cut_off(Unreachable(what))]

    # --- agreement ---------------------------------------------------------------------------------------------------

    async def look_ahead(self) -> None:
        """Does the venue know an id that is still to come? Then the journal has lost its end, and numbers go on behind
        all of them, before anything that was missed makes a new order."""
        try:
            fills = await self.call(self.venue.since, core.known_trade(self.state, core.LOOKS[0]))
            named = [*(await self.call(self.venue.snapshot)).orders, *(f.cid for f in fills if isinstance(f, Filled))]
            numbered = int(self.state.book.head[0]["orders"])
            said = await self._asked_ahead(
                [cid for cid in named if core.number_of(self.state, cid) > numbered], numbered
            )
            *others, last = sorted(said, key=lambda cid: core.number_of(self.state, cid)) or [""]
            for cid in [last, *others] if said else []:
                await self.send(self.told(said[cid] or [Ended(cid, 0, TARGET, NOT_PLACED, 0, self.ledger.now())]))
        except (Ambiguous, Unreachable) as error:
            await self.send(self.cut_off(error))

    async def _asked_ahead(self, named: Sequence[str], numbered: int) -> dict[str, list[Report]]:
        """What the venue says of ids behind the last number: of those that it has named, and those that it knows."""
        said: dict[str, list[Report]] = {}
        ahead = [*named, *core.next_cids(self.state, numbered)]
        while ahead:
            for cid in dict.fromkeys(ahead):
                said[cid] = await self.call(self.venue.ask, cid)
            known = [core.number_of(self.state, cid) for cid, reports in said.items() if reports or cid in named]
            ahead = [cid for cid in core.next_cids(self.state, max(known, default=numbered)) if cid not in said]
        return {cid: reports for cid, reports in said.items() if reports or cid in named}

    async def _reconnect(self) -> None:
        try:
            await self.call(self.venue.snapshot)
        except (Ambiguous, Unreachable):
            return
        self.ledger.handle(core.VenueState(True, "", self.ledger.now()))
        await self.reconcile("on reconnect")

    async def reconcile(self, when: str) -> None:
        """Bring the book to what the venue says: missed fills, orders in doubt, and then what still differs."""
        try:
            found = await self._compare()
            for difference in found:
                self.ledger.alert(f"reconciled {when}: {difference.said(self.ledger.names)}")
            if found and self.adopt:
                for _ in range(2):  # lots first; what they have cost is known once they agree
                    for event in adjustments(self.state, found, self.ledger.now()):
                        await self.send(self.ledger.handle(event))
                    found = await self._differences()
                self.owes = bool(found)
            elif found and not self.state.book.head[0]["killed"]:
                what = "; ".join(d.said(self.ledger.names) for d in found)
                await self.order(core.Command("kill", f"book and venue differ: {what}", self.ledger.now()))
        except (Ambiguous, Unreachable) as error:
            await self.send(self.cut_off(error))
        self.ledger.flush()

    async def _compare(self) -> list[Difference]:
        """What still differs when all that can be asked was asked; further back each time."""
        found: list[Difference] = []
        for back in core.LOOKS:
            await self.send(await self._missed(back))
            self.ledger.at("reconcile")
            snapshot = await self.call(self.venue.snapshot)
            for cid in resized(self.state, snapshot):
                sent = self.state.sent[cid]
                await self.send(self.ledger.handle(Unknown(cid, sent.instrument, sent.slot, self.ledger.now())))
            for cid in [*in_doubt(self.state, snapshot), *strange(self.state, snapshot)]:
                await self.send(await self.ask(cid))
            found = await self._differences()
            if not found:
                break
        return found

    async def _differences(self) -> list[Difference]:
        """What differs by two snapshots in a row that say the same, and that hold no trade which the book has not: a
        fill between a question and the next is none. Unreachable: the account does not rest, or hides a trade."""
        before: Snapshot | None = None
        for attempt in range(LOOKS):
            snapshot = await self.call(self.venue.snapshot)
            if not is_known(self.state, snapshot):
                before = None
                await self.send(await self._missed(core.LOOKS[min(attempt, len(core.LOOKS) - 1)]))
                continue
            found = differences(self.state, snapshot)
            if not found or (before is not None and is_same(before, snapshot)):
                return found
            before = snapshot
        raise Unreachable("book and venue could not be compared: it trades on, or does not give its fills")

    # --- people ------------------------------------------------------------------------------------------------------

    async def order(self, command: core.Command) -> None:
        """Carry out what a person orders."""
        commands = self.ledger.handle(command) or [core.Alert(f"{command.word}: {command.reason}")]
        self.ledger.flush()
        await self.send(commands)
        if command.word == "resume":
            self.halted = ""
