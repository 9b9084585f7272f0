"""The shell of an engine: the only code that waits, writes and sends. It decides nothing.

One queue, one writer. Of a row: its bars and what the venue says of it are booked, then the core decides, then the
decision and its orders are booked, and only then are they sent. What the venue answers is booked with the next row.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, cast

import numpy as np

from trimtab.engine import control, core, inbox
from trimtab.engine import events as ev
from trimtab.engine.booking import Names, body_of, intent_of
from trimtab.engine.inbox import Inbox
from trimtab.engine.journal import Booked, Journal, JournalFailed
from trimtab.engine.reconcile import Difference, adjustments, differences, in_doubt
from trimtab.engine.recovery import save
from trimtab.feeds import Feed, FeedState, GridRow, LateBar
from trimtab.rules.orders import NOT_PLACED, WITHHELD
from trimtab.venues import (
    Ambiguous,
    Amend,
    Cancel,
    Decided,
    Ended,
    Report,
    Submit,
    Unknown,
    Unreachable,
    Venue,
)

#: Seconds between two looks at what people have ordered, and between two signs of life.
TICK: Final = 0.25
#: Times that a venue is read again before what differs is believed.
READS: Final = 3


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
    snapshot_every   rows between two snapshots; 0: none
    adopt            True: what still differs from the venue is adopted as an adjustment; False: the account is halted
    on_stop          "keep": orders stay at the venue; "cancel": those that are no protection are withdrawn
    """

    reconcile_every: int = 0
    snapshot_every: int = 1_000
    adopt: bool = False
    on_stop: str = "keep"


@dataclass(slots=True)
class Shell:
    """An engine at work; `run` it once.

    now   ns UTC, of the market that is traded: of a replay, its last row
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
    halted: str = ""
    rows: int = 0
    is_stopping: bool = False
    marker: control.Marker | None = None
    _inbox: Inbox = field(default_factory=Inbox)
    _pending: list[ev.Entry] = field(default_factory=list[ev.Entry])
    _intends: bool = False  # what waits to be durable holds an order

    # --- life --------------------------------------------------------------------------------------------------------

    async def run(self, after: int) -> None:
        """Trade the rows after an instant (ns UTC; 0: all) until the feed ends or somebody stops it."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(name, self.stop)
        try:
            await self._begin()
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._read(after)), group.create_task(self._tick())]
                await self._work()
                for task in tasks:
                    task.cancel()
            await self._end()
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

    async def _begin(self) -> None:
        """Take up where the journal ends: orders in doubt, then what differs, then a row that was not decided."""
        await self.reconcile("on start")
        if self.state.is_open:
            await self._reports(await self._row(self.state.tape.ts, self.state.bars))
            await self._close(self.state.tape.ts, None, time.perf_counter())

    async def _end(self) -> None:
        if self.habits.on_stop == "cancel" and self.is_stopping and self.state.is_up:
            await self._order(core.Command("withdraw", "the engine stops", self.now()))
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
            elif isinstance(what, GridRow):
                await self._decide(what)
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
        self.journal.heartbeat()
        self.watch.ticked(self)

    # --- a row -------------------------------------------------------------------------------------------------------

    async def _decide(self, row: GridRow) -> None:
        began = time.perf_counter()
        await self._obey()
        if not self.state.is_up:
            await self._reconnect()
        bars = np.array(row.bars, np.float64, order="C")
        self.state, _ = core.handle(self.state, core.Bars(row.ts, bars))
        reports = await self._row(row.ts, bars)
        kept = None
        if reports or self._pending:
            self._book(ev.RowClosed(row=row.ts, bars=bars))
            await self._reports(reports)
        else:
            kept = bars
        await self._close(row.ts, kept, began)

    async def _close(self, ts: int, bars: Any, began: float) -> None:
        """The row's decision: durable before any of it is sent; bars: where they are not booked yet."""
        self._flush()
        if self.marker is not None:
            self.marker.step(ts)
        self.state, commands = core.handle(self.state, core.Close(ts))
        if self.marker is not None:
            self.marker.rest()
        n, m = len(self.names.symbols), len(self.names.models)
        weights = np.full((m, n), np.nan)
        weights[self.state.said.model, self.state.said.instrument] = self.state.said.value
        decided = ev.RowDecided(row=ts, bars=np.empty((0, 0)) if bars is None else bars, weights=weights)
        self._book(decided)
        self._intend(commands)
        self._flush()
        self.rows += 1
        self.watch.decided(self.state, ts, time.perf_counter() - began)
        await self._send(commands)
        every = self.habits
        if every.snapshot_every and self.rows % every.snapshot_every == 0 and not self._pending:
            self.journal.snapshot(ts, save(self.state))
        if every.reconcile_every and self.rows % every.reconcile_every == 0:
            await self.reconcile("as it is done now and then")

    async def _row(self, ts: int, bars: Any) -> list[Report]:
        try:
            return await self.venue.row(ts, bars)
        except (Unreachable, Ambiguous) as error:
            self._event(core.VenueState(False, str(error), self.now()))
            return []

    # --- booking -----------------------------------------------------------------------------------------------------

    def _book(self, body: ev.Body) -> None:
        """To be durable with the next flush."""
        self._pending.append(ev.Entry(self.now(), body))

    def _flush(self) -> list[Booked]:
        """Make durable what waits; one commit, or none where nothing does."""
        if not self._pending:
            return []
        entries, self._pending, self._intends = self._pending, [], False
        booked = self.journal.append(entries)
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
        self._book(body_of(event, self.names))
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
        """Send; an order that takes another's place goes only where that one is surely gone."""
        if self._intends:
            self._flush()
        if isinstance(command, Cancel) and command.slot == 0 and command.cid not in self.state.sent:
            return []
        if isinstance(command, Submit) and command.replaces in self.state.sent:
            i = command.order.instrument
            return self._event(Ended(command.cid, i, command.slot, WITHHELD, 0, self.now()))
        try:
            reports = await self.venue.send(command)
        except Ambiguous:
            if isinstance(command, Submit):
                return self._event(Unknown(command.cid, command.order.instrument, command.slot, self.now()))
            return []
        except Unreachable as error:
            found: list[core.EngineCommand] = []
            if self.state.is_up:
                found = self._event(core.VenueState(False, str(error), self.now()))
            if isinstance(command, Submit):
                i = command.order.instrument
                found += self._event(Ended(command.cid, i, command.slot, NOT_PLACED, 0, self.now()))
            return found
        return [c for report in reports for c in self._event(report)]

    async def _ask(self, cid: str) -> list[core.EngineCommand]:
        """All that the venue knows of an order, its fills first; what it knows nothing of was never placed."""
        try:
            fills = await self.venue.since(core.known_trade(self.state))
            commands = [c for report in fills for c in self._event(report)]
            sent = self.state.sent.get(cid)
            if sent is None:
                return commands
            found = await self.venue.ask(cid)
        except (Ambiguous, Unreachable):
            return []
        if not found:
            found = [Ended(cid, sent.instrument, sent.slot, NOT_PLACED, 0, self.now())]
        return [*commands, *(c for report in found for c in self._event(report))]

    async def _reconnect(self) -> None:
        try:
            await self.venue.snapshot()
        except (Ambiguous, Unreachable):
            return
        self._event(core.VenueState(True, "", self.now()))
        await self.reconcile("on reconnect")

    async def reconcile(self, when: str) -> None:
        """Bring the book to what the venue says: missed fills, orders in doubt, and then what still differs."""
        found: list[Difference] = []
        try:
            for _ in range(READS):
                await self._reports(await self.venue.since(core.known_trade(self.state)))
                for cid in in_doubt(self.state):
                    await self._send(await self._ask(cid))
                found = differences(self.state, await self.venue.snapshot())
                if not found:
                    return
        except (Ambiguous, Unreachable) as error:
            if self.state.is_up:
                self._event(core.VenueState(False, str(error), self.now()))
            return
        for difference in found:
            self.watch.alerted(self.now(), f"reconciled {when}: {difference.said(self.names)}")
        if not self.habits.adopt:
            what = "; ".join(d.said(self.names) for d in found)
            await self._order(core.Command("kill", f"book and venue differ: {what}", self.now()))
            return
        for event in adjustments(self.state, found, self.now()):
            await self._send(self._event(event))
        for event in adjustments(self.state, differences(self.state, await self.venue.snapshot()), self.now()):
            await self._send(self._event(event))

    # --- people ------------------------------------------------------------------------------------------------------

    async def _obey(self) -> None:
        """What people have ordered since the last look, by files in the account's folder."""
        killed = int(self.state.book.head[0]["killed"])
        for word, reason, model in control.orders(self.folder, killed, len(self.names.models)):
            await self._order(core.Command(word, reason, self.now(), model))
            control.done(self.folder, word)

    async def _order(self, command: core.Command) -> None:
        commands = self._event(command) or [core.Alert(f"{command.word}: {command.reason}")]
        self._flush()
        await self._send(commands)
        if command.word == "resume":
            self.halted = ""
