"""The shell of an engine: the only code that waits, writes and sends. It decides nothing.

One queue, one writer. Of a row: its bars and what the venue says of it are booked, then the core decides, then the
decision and its orders are booked, and only then are they sent. What the venue answers is booked with the next row.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, cast

import numpy as np

from trimtab.engine import control, core, inbox
from trimtab.engine import events as ev
from trimtab.engine.booking import Names, body_of, decided, intent_of, warmed
from trimtab.engine.inbox import Inbox
from trimtab.engine.journal import Booked, Journal, JournalFailed
from trimtab.engine.reconcile import Difference, adjustments, differences, in_doubt, is_known, is_same, strange
from trimtab.engine.recovery import save
from trimtab.feeds import Feed, FeedState, GridRow, LateBar
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

#: Seconds between two looks at what people have ordered, and between two signs of life.
TICK: Final = 0.25


#: Seconds after which a venue whose reports have ended is listened to again.
PAUSE: Final = 1.0

#: Snapshots that a venue is asked for until two in a row say the same.
LOOKS: Final = 6

#: Looks between two attempts to mend what is amiss, at the most.
REST: Final = 20


#: Points of which `Shell.at` is told: what a venue said of a row is not booked yet; a row's decision is durable and not
#: sent; an order is about to be sent; it is sent and the answer not handled; something is about to be made durable; in
#: the midst of a reconciliation; a snapshot is about to be kept, and was.
POINTS: Final = ("row", "decided", "send", "answered", "commit", "reconcile", "snapshot", "kept")


def _nothing(point: str) -> None:
    pass


class Watch(Protocol):
    """Whoever looks on: logs, metrics, the status. What it raises ends the engine, so it raises nothing."""

    def booked(self, entries: Sequence[ev.Entry]) -> None: ...

    def recorded(self, record: core.Record) -> None: ...

    def alerted(self, ts: int, text: str) -> None: ...

    def decided(self, state: core.State, row: int, latency: float) -> None: ...

    def ticked(self, shell: Shell) -> None: ...


@dataclass(slots=True)
class Habits:
    """How an engine behaves where its spec leaves it open.

    reconcile_every  rows between two comparisons with the venue; 0: only on start, reconnect and doubt
    snapshot_every   events between two snapshots, from which on a journal is folded again; 0: none
    adopt            True: what still differs from the venue is adopted as an adjustment; False: the account is halted
    patience         seconds that a call to the venue may take; after them it counts as not answered
    on_stop          "keep": orders stay at the venue; "cancel": those that are no protection are withdrawn
    warm_until       instant, ns UTC: rows that close before it are shown to the models and not traded
    """

    reconcile_every: int = 0
    snapshot_every: int = 20_000
    adopt: bool = False
    on_stop: str = "keep"
    patience: float = 10.0
    warm_until: int = 0


@dataclass(slots=True)
class Shell:
    """An engine at work; `run` it once.

    now   ns UTC, of the market that is traded: of a replay, its last row
    at    is told which point of a row was reached (POINTS), for whoever tries what a crash there does
    """

    state: core.State
    journal: Journal
    names: Names
    venue: Venue
    feed: Feed
    folder: Path
    watch: Watch
    now: Callable[[], int]
    habits: Habits = field(default_factory=Habits)
    at: Callable[[str], None] = _nothing
    halted: str = ""
    rows: int = 0
    is_stopping: bool = False
    marker: control.Marker | None = None
    _inbox: Inbox = field(default_factory=Inbox)
    _pending: list[ev.Entry] = field(default_factory=list[ev.Entry])
    _intends: bool = False  # what waits to be durable holds an order
    _since: int = 0  # events that were booked since the last snapshot
    _is_mute: bool = False  # the venue's last call has not been answered in time
    _owes: bool = False  # what is to be adopted waits for a price
    _rest: int = 0  # looks until the next attempt to mend what is amiss
    _pause: int = 0

    # --- life --------------------------------------------------------------------------------------------------------

    async def run(self, after: int) -> None:
        """Trade the rows after an instant (ns UTC; 0: all) until the feed ends or somebody stops it."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # not in the main thread, Windows
                loop.add_signal_handler(name, self.stop)
        try:
            await self.begin()
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(task) for task in (self._read(after), self._hear(), self._tick())]
                await self._work()
                for task in tasks:
                    task.cancel()
            await self.end()
        except* JournalFailed as failed:
            self.halted = str(failed.exceptions[0])
            self.watch.alerted(self.now(), f"the journal failed, so nothing is decided any more: {self.halted}")
        finally:
            for name in (signal.SIGINT, signal.SIGTERM):
                with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                    loop.remove_signal_handler(name)

    def stop(self) -> None:
        """Decide nothing more, and end in good order."""
        self.is_stopping = True
        self._inbox.put(0, inbox.STOP, None)

    async def begin(self) -> None:
        """Take up where the journal ends: what people ordered meanwhile, what a venue says of a row that was not
        decided, orders in doubt and what else differs, then that row's decision."""
        await self._obey()
        if self.state.is_open:
            await self._reports(await self._row(self.state.tape.ts, self.state.bars))
        await self._look_ahead()
        await self.reconcile("on start")
        if self.state.is_open:
            await self._close(self.state.tape.ts, None, time.perf_counter())

    async def end(self) -> None:
        """In good order: what waits is durable, and orders stay or go as the habits say."""
        if self.habits.on_stop == "cancel" and self.is_stopping and self.state.is_up:
            await self.order(core.Command("withdraw", "the engine stops", self.now()))
        self._flush()
        if self.habits.snapshot_every:
            self.journal.snapshot(self.now(), save(self.state))

    async def _read(self, after: int) -> None:
        """The feed's task."""
        events = cast("AsyncGenerator[Any, None]", self.feed.rows(after))
        async with contextlib.aclosing(events):
            async for event in events:
                await self._inbox.put_market(getattr(event, "ts", 0), event)
        self._inbox.put(2**62, inbox.END, None)

    async def _hear(self) -> None:
        """The venue's task: what it says without being asked. Where that breaks off the venue counts as away, and as
        back when it has been compared with the book; it is listened to again in either case."""
        while True:
            try:
                async for report in self.venue.reports():
                    self._inbox.put(getattr(report, "ts", 0), inbox.REPORT, report)
            except Exception as error:  # whatever a venue's connection may raise
                self._inbox.put(
                    0, inbox.REPORT, core.VenueState(False, f"its reports broke off: {error!r}", self.now())
                )
            await asyncio.sleep(PAUSE)

    async def _tick(self) -> None:
        """The timer's task: it only reminds the writer."""
        while True:
            await asyncio.sleep(TICK)
            self._inbox.put(0, inbox.TICK, None)

    async def _work(self) -> None:
        """The one writer."""
        while True:
            _, kind, what = await self._inbox.get()
            if kind in (inbox.STOP, inbox.END):
                return
            if kind == inbox.TICK:
                await self._look()
            elif isinstance(what, core.VenueState):
                await self._send(self._event(what) if self.state.is_up else [])
            elif kind == inbox.REPORT:
                await self._send(self._told([what]))
            elif isinstance(what, GridRow):
                await (self.decide(what) if what.ts > self.habits.warm_until else self._warm(what))
            elif isinstance(what, LateBar):
                symbol = self.names.symbols[what.instrument]
                self._book(ev.BarLate(symbol=symbol, row=what.ts, bar=what.bar))
            elif isinstance(what, FeedState):
                said = "is there again" if what.is_up else f"cannot be reached: {what.reason}"
                self.watch.alerted(self.now(), f"the feed {said}")
            if self.is_stopping:
                return

    async def _look(self) -> None:
        """What cannot wait for the next row: people's orders and signs of life."""
        await self._obey()
        await self._mend()
        self._flush()
        self.journal.heartbeat()
        self.watch.ticked(self)

    async def _mend(self) -> None:
        """Between rows, less often the longer it takes: a venue that went away is called, what is in doubt is asked
        for, and what must be closed and could not be is asked for again."""
        if self._rest:
            self._rest -= 1
            return
        await self._clear_up()
        if self.state.is_up and core.is_overdue(self.state):
            await self.order(core.Command("retry", "what must be closed was not placed", self.now()))
        amiss = not self.state.is_up or core.is_overdue(self.state) or bool(in_doubt(self.state))
        self._pause = min(2 * self._pause + 1, REST) if amiss else 0
        self._rest = self._pause

    async def _clear_up(self) -> None:
        """Call a venue that went away, and ask for what is in doubt."""
        if not self.state.is_up:
            await self._reconnect()
        for cid in in_doubt(self.state):
            if self.state.is_up:
                await self._send(await self._ask(cid))

    # --- a row -------------------------------------------------------------------------------------------------------

    async def decide(self, row: GridRow) -> None:
        """Trade a row: what happened in it, then what is decided at its close."""
        began = time.perf_counter()
        await self._obey()
        await self._clear_up()
        bars = np.array(row.bars, np.float64, order="C")
        self.state, _ = core.handle(self.state, core.Bars(row.ts, bars))
        reports = await self._row(row.ts, bars)
        self.at("row")
        kept = None
        if reports or self._pending or self._owes:
            self._book(ev.RowClosed(row=row.ts, bars=bars))
            await self._reports(reports)
            if self._owes:
                await self.reconcile("as soon as there are prices")
        else:
            kept = bars
        await self._close(row.ts, kept, began)

    async def _warm(self, row: GridRow) -> None:
        """Show a row to the models, and to a venue that has to know the market."""
        await self._row(row.ts, row.bars)
        bars = np.array(row.bars, np.float64, order="C")
        commands = self._asked(core.Warm(row.ts, bars))
        self._book(warmed(row.ts, self.state, self.names))
        self._intend(commands)
        await self._send(commands)
        self._flush()

    def _asked(self, event: core.Close | core.Warm) -> list[core.EngineCommand]:
        """Handle an event at which models are asked; the watchdog sees since when."""
        if self.marker is not None:
            self.marker.step(event.ts)
        self.state, commands = core.handle(self.state, event)
        if self.marker is not None:
            self.marker.rest()
        return commands

    async def _close(self, ts: int, bars: Any, began: float) -> None:
        """The row's decision: durable before any of it is sent; bars: where they are not booked yet."""
        self._flush()
        commands = self._asked(core.Close(ts))
        self._book(decided(ts, bars, self.state, self.names))
        self._intend(commands)
        self._flush()
        self.rows += 1
        self.watch.decided(self.state, ts, time.perf_counter() - began)
        self.at("decided")
        await self._send(commands)
        every = self.habits
        if every.snapshot_every and self._since >= every.snapshot_every:
            self._flush()
            self.at("snapshot")
            self.journal.snapshot(ts, save(self.state))
            self._since = 0
            self.at("kept")
        if every.reconcile_every and self.rows % every.reconcile_every == 0:
            await self.reconcile("as it is done now and then")

    async def _row(self, ts: int, bars: Any) -> list[Report]:
        try:
            return await self._call(self.venue.row, ts, bars)
        except (Unreachable, Ambiguous) as error:
            await self._send(self._cut_off(error))
            return []

    # --- booking -----------------------------------------------------------------------------------------------------

    def _book(self, body: ev.Body, ts: int | None = None) -> None:
        """To be durable with the next flush; ts: of what has an instant of its own that its body does not say."""
        self._pending.append(ev.Entry(self.now() if ts is None else ts, body))

    def _flush(self) -> list[Booked]:
        """Make durable what waits; one commit, or none where nothing does."""
        if not self._pending:
            return []
        self.at("commit")
        entries, self._pending, self._intends = self._pending, [], False
        booked = self.journal.append(entries)
        self._since += len(entries)
        self.watch.booked([e for e, b in zip(entries, booked, strict=True) if b.new])
        return booked

    def _intend(self, commands: list[core.EngineCommand]) -> None:
        for command in commands:
            body = intent_of(command, self.names)
            if body is not None:
                self._book(body)
                self._intends = True

    def _event(self, event: core.Event) -> list[core.EngineCommand]:
        """Handle an event and book it with the next flush, with what is to be done about it."""
        own = isinstance(event, (core.Command, core.VenueState, core.Adjusted))
        body = body_of(event, self.names)
        if body is not None:
            self._book(body, event.ts if own else None)
        self.state, commands = core.handle(self.state, event)
        self._intend(commands)
        return commands

    # --- the venue ---------------------------------------------------------------------------------------------------

    async def _reports(self, reports: Sequence[Report]) -> None:
        """Handle what a venue says; what that leads to is durable before it is sent."""
        commands: list[core.EngineCommand] = []
        for report in reports:
            commands.extend(self._event(report))
        await self._send(commands)

    async def _send(self, commands: Sequence[core.EngineCommand]) -> None:
        """Carry out commands, orders once they are durable."""
        queue: list[core.EngineCommand] = list(commands)
        while queue:
            command = queue.pop(0)
            if isinstance(command, core.Record):
                self.watch.recorded(command)
            elif isinstance(command, core.Alert):
                self.watch.alerted(self.now(), command.text)
            elif isinstance(command, core.Halt):
                self.halted = command.reason
            elif isinstance(command, core.Ask):
                queue.extend(await self._ask(command.cid))
            else:
                queue.extend(await self._exchange(command))

    async def _exchange(self, command: Submit | Cancel | Amend | Decided) -> list[core.EngineCommand]:
        """Send, once it is durable; what may not go any more is told to the book as withheld."""
        if self._intends:
            self._flush()
        if isinstance(command, Cancel) and command.slot == TARGET and command.cid not in self.state.sent:
            return []
        if isinstance(command, Submit) and self._is_barred(command):
            i = command.order.instrument
            return self._event(Ended(command.cid, i, command.slot, WITHHELD, 0, self.now()))
        self.at("send")
        try:
            reports = await self._call(self.venue.send, command)
        except Ambiguous as error:
            found = self._cut_off(error) if self._is_mute else []
            if isinstance(command, Submit):
                found += self._event(Unknown(command.cid, command.order.instrument, command.slot, self.now()))
            return found  # it stays in doubt, and is asked about
        except Unreachable as error:
            found = self._cut_off(error)
            if isinstance(command, Submit) and command.slot != TARGET:  # it must not be given up
                found += self._event(Unknown(command.cid, command.order.instrument, command.slot, self.now()))
            elif isinstance(command, Submit):
                i = command.order.instrument
                found += self._event(Ended(command.cid, i, command.slot, NOT_PLACED, 0, self.now()))
            return found
        self.at("answered")
        return [c for report in reports for c in self._event(report)]

    def _is_barred(self, command: Submit) -> bool:
        """May an order not go now? One that takes another's place goes only where that one is surely gone; one that
        adds to a position only where the venue's reports are complete and nobody has thrown the switch since."""
        if command.replaces in self.state.sent:
            return True
        if command.slot != TARGET or command.order.reduce_only:
            return False
        return not self.state.is_up or thrown(self.folder) is not None

    async def _call(self, call: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Ask something of the venue and wait only for so long. One that has not answered is sent nothing until it
        answers a question, and asked nothing either once the engine stops."""
        if self._is_mute and (self.is_stopping or call == self.venue.send):
            raise Unreachable("it does not answer")
        try:
            async with asyncio.timeout(self.habits.patience):
                answer = await call(*args)
        except TimeoutError:
            self._is_mute = True
            raise Ambiguous(f"no answer within {self.habits.patience:g} s") from None
        self._is_mute = False
        return answer

    def _cut_off(self, error: Exception) -> list[core.EngineCommand]:
        if not self.state.is_up:
            return []
        return self._event(core.VenueState(False, str(error), self.now()))

    async def _missed(self, back: int) -> list[core.EngineCommand]:
        """Fills that the venue has and the book has not."""
        fills = await self._call(self.venue.since, core.known_trade(self.state, back))
        return self._told(fills)

    def _told(self, reports: Sequence[Report]) -> list[core.EngineCommand]:
        """Handle what is news of what a venue was asked."""
        return [c for report in reports if core.is_news(self.state, report) for c in self._event(report)]

    async def _ask(self, cid: str) -> list[core.EngineCommand]:
        """All that the venue knows of an order, its fills first; what it knows nothing of was never placed."""
        commands: list[core.EngineCommand] = []
        try:
            for back in core.LOOKS:
                commands += await self._missed(back)
                found = await self._call(self.venue.ask, cid)
                sent = self.state.sent.get(cid)
                if not found and sent is not None:
                    found = [Ended(cid, sent.instrument, sent.slot, NOT_PLACED, 0, self.now())]
                said = self._told(found)
                commands += [c for c in said if not isinstance(c, core.Ask)]
                if not any(isinstance(c, core.Ask) for c in said):
                    return commands
        except (Ambiguous, Unreachable) as error:
            return [*commands, *self._cut_off(error)]
        return [*commands, core.Alert(f"order {cid} has filled, the venue says, but it does not give its fills")]

    async def _look_ahead(self) -> None:
        """Does the venue know an id that is still to come? Then the journal has lost its end, and numbers go on behind
        all of them, before anything that was missed makes a new order."""
        try:
            fills = await self._call(self.venue.since, core.known_trade(self.state, core.LOOKS[0]))
            known = [*(await self._call(self.venue.snapshot)).orders, *(f.cid for f in fills if isinstance(f, Filled))]
            newest = max(known, key=lambda cid: core.number_of(self.state, cid), default="")
            numbered = -1
            while numbered != (numbered := int(self.state.book.head[0]["orders"])):
                for cid in core.next_cids(self.state):
                    await self._send(self._told(await self._call(self.venue.ask, cid)))
                if core.number_of(self.state, newest) > int(self.state.book.head[0]["orders"]):
                    found = await self._call(self.venue.ask, newest)
                    none = Ended(newest, 0, TARGET, NOT_PLACED, 0, self.now())
                    await self._send(self._told(found or [none]))
        except (Ambiguous, Unreachable) as error:
            await self._send(self._cut_off(error))

    async def _reconnect(self) -> None:
        try:
            await self._call(self.venue.snapshot)
        except (Ambiguous, Unreachable):
            return
        self._event(core.VenueState(True, "", self.now()))
        await self.reconcile("on reconnect")

    async def reconcile(self, when: str) -> None:
        """Bring the book to what the venue says: missed fills, orders in doubt, and then what still differs."""
        try:
            found = await self._compare()
            for difference in found:
                self.watch.alerted(self.now(), f"reconciled {when}: {difference.said(self.names)}")
            if found and self.habits.adopt:
                for _ in range(2):  # lots first; what they have cost is known once they agree
                    for event in adjustments(self.state, found, self.now()):
                        await self._send(self._event(event))
                    found = await self._differences()
                self._owes = bool(found)
            elif found and not self.state.book.head[0]["killed"]:
                what = "; ".join(d.said(self.names) for d in found)
                await self.order(core.Command("kill", f"book and venue differ: {what}", self.now()))
        except (Ambiguous, Unreachable) as error:
            await self._send(self._cut_off(error))
        self._flush()

    async def _compare(self) -> list[Difference]:
        """What still differs when all that can be asked was asked; further back each time."""
        found: list[Difference] = []
        for back in core.LOOKS:
            await self._send(await self._missed(back))
            self.at("reconcile")
            snapshot = await self._call(self.venue.snapshot)
            for cid in [*in_doubt(self.state, snapshot), *strange(self.state, snapshot)]:
                await self._send(await self._ask(cid))
            found = await self._differences()
            if not found:
                break
        return found

    async def _differences(self) -> list[Difference]:
        """What differs by two snapshots in a row that say the same, and that hold no trade which the book has not: a
        fill between a question and the next is none. Nothing, as long as the account does not rest."""
        before: Snapshot | None = None
        for attempt in range(LOOKS):
            snapshot = await self._call(self.venue.snapshot)
            if not is_known(self.state, snapshot):
                before = None
                await self._send(await self._missed(core.LOOKS[min(attempt, len(core.LOOKS) - 1)]))
                continue
            found = differences(self.state, snapshot)
            if not found or (before is not None and is_same(before, snapshot)):
                return found
            before = snapshot
        self.watch.alerted(self.now(), "book and venue could not be compared: it trades on, or does not give its fills")
        return []

    # --- people ------------------------------------------------------------------------------------------------------

    async def _obey(self) -> None:
        """What people have ordered since the last look, by files in the account's folder."""
        killed = int(self.state.book.head[0]["killed"])
        for word, reason, model in control.orders(self.folder, killed, len(self.names.models)):
            await self.order(core.Command(word, reason, self.now(), model))
            control.done(self.folder, word)

    async def order(self, command: core.Command) -> None:
        """Carry out what a person orders."""
        commands = self._event(command) or [core.Alert(f"{command.word}: {command.reason}")]
        self._flush()
        await self._send(commands)
        if command.word == "resume":
            self.halted = ""
