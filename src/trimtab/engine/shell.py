"""The shell of an engine: with its ledger and its line the only code that waits, writes and sends. It decides nothing.

One queue, one writer. Of a row: its bars and what the venue says of it are booked, then the core decides, then the
decision and its orders are booked, and only then are they sent. What the venue answers is booked with the next row.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from trimtab.engine import control, core, inbox
from trimtab.engine import events as ev
from trimtab.engine.booking import decided, warmed
from trimtab.engine.inbox import Inbox
from trimtab.engine.journal import JournalFailed
from trimtab.engine.ledger import Ledger
from trimtab.engine.line import Line
from trimtab.engine.reconcile import in_doubt
from trimtab.feeds import Feed, FeedState, GridRow, LateBar
from trimtab.venues import Venue

#: Seconds between two looks at what people have ordered, and between two signs of life.
TICK: Final = 0.25

#: Seconds after which a venue whose reports have ended is listened to again.
PAUSE: Final = 1.0

#: Looks between two attempts to mend what is amiss, at the most.
REST: Final = 20


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
    """An engine at work; `run` it once. `shell_of` makes one.

    folder  of the account, where people's orders lie
    rows    that it has decided
    """

    ledger: Ledger
    line: Line
    feed: Feed
    folder: Path
    habits: Habits = field(default_factory=Habits)
    marker: control.Marker | None = None
    rows: int = 0
    is_stopping: bool = False
    _inbox: Inbox = field(default_factory=Inbox)
    _rest: int = 0  # looks until the next attempt to mend what is amiss
    _pause: int = 0

    @property
    def state(self) -> core.State:
        return self.ledger.state

    @property
    def halted(self) -> str:
        """Why nothing is sent but what reduces, or is decided at all; empty: it is."""
        return self.line.halted

    @property
    def _killed(self) -> int:
        """How the book stands, see rules.book."""
        return int(self.state.book.head[0]["killed"])

    def now(self) -> int:
        """ns UTC, of the market that is traded."""
        return self.ledger.now()

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
            self.line.halted = str(failed.exceptions[0])
            self.ledger.alert(f"the journal failed, so nothing is decided any more: {self.halted}")
        finally:
            for name in (signal.SIGINT, signal.SIGTERM):
                with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                    loop.remove_signal_handler(name)

    def stop(self) -> None:
        """Decide nothing more, and end in good order."""
        self.is_stopping = self.line.is_ending = True
        self.line.hurry()
        self._inbox.put(0, inbox.STOP, None)

    async def begin(self) -> None:
        """Take up where the journal ends: what people ordered meanwhile, what a venue says of a row that was not
        decided, orders in doubt and what else differs, then that row's decision."""
        await self._obey()
        if self.state.is_open:
            await self.line.report(await self.line.row(self.state.tape.ts, self.state.bars))
        await self.line.look_ahead()
        await self.line.reconcile("on start")
        if self.state.is_open:
            await self._close(self.state.tape.ts, None, time.perf_counter())

    async def end(self) -> None:
        """In good order: what waits is durable, and orders stay or go as the habits say."""
        if self.habits.on_stop == "cancel" and self.is_stopping and self.state.is_up:
            await self.line.order(core.Command("withdraw", "the engine stops", self.now()))
        self.ledger.flush()
        if self.habits.snapshot_every:
            self.ledger.keep(self.now())

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
                async for report in self.line.venue.reports():
                    self._inbox.put(getattr(report, "ts", 0), inbox.REPORT, report)
            except Exception as error:  # whatever a venue's connection may raise
                self._inbox.put(
                    0, inbox.REPORT, core.VenueState(False, f"its reports broke off: {error!r}", self.now())
                )
            await asyncio.sleep(PAUSE)

    async def _tick(self) -> None:
        """The timer's task: it reminds the writer, and where that waits for a venue, sees that it does not for long."""
        while True:
            await asyncio.sleep(TICK)
            if control.orders(self.folder, self._killed, len(self.ledger.names.models)):
                self.line.hurry()
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
                await self.line.send(self.ledger.handle(what) if self.state.is_up else [])
            elif kind == inbox.REPORT:
                await self.line.send(self.line.told([what]))
            elif isinstance(what, GridRow):
                await (self.decide(what) if what.ts > self.habits.warm_until else self._warm(what))
            elif isinstance(what, LateBar):
                symbol = self.ledger.names.symbols[what.instrument]
                self.ledger.book(ev.BarLate(symbol=symbol, row=what.ts, bar=what.bar))
            elif isinstance(what, FeedState):
                said = "is there again" if what.is_up else f"cannot be reached: {what.reason}"
                self.ledger.alert(f"the feed {said}")
            if self.is_stopping:
                return

    async def _look(self) -> None:
        """What cannot wait for the next row: people's orders and signs of life."""
        await self._obey()
        await self._mend()
        self.ledger.flush()
        self.ledger.journal.heartbeat()
        self.ledger.watch.ticked(self)

    async def _mend(self) -> None:
        """Between rows, less often the longer it takes: a venue that went away is called, what is in doubt is asked
        for, and what must be closed and could not be is asked for again."""
        if self._rest:
            self._rest -= 1
            return
        await self.line.clear_up()
        if self.state.is_up and core.is_overdue(self.state):
            await self.line.order(core.Command("retry", "what must be closed was not placed", self.now()))
        amiss = not self.state.is_up or core.is_overdue(self.state) or bool(in_doubt(self.state))
        self._pause = min(2 * self._pause + 1, REST) if amiss else 0
        self._rest = self._pause

    # --- a row -------------------------------------------------------------------------------------------------------

    async def decide(self, row: GridRow) -> None:
        """Trade a row: what happened in it, then what is decided at its close."""
        began = time.perf_counter()
        await self._obey()
        await self.line.clear_up()
        bars = np.array(row.bars, np.float64, order="C")
        self.ledger.state, _ = core.handle(self.state, core.Bars(row.ts, bars))
        reports = await self.line.row(row.ts, bars)
        self.ledger.at("row")
        kept = None
        if reports or self.ledger.pending or self.line.owes:
            self.ledger.book(ev.RowClosed(row=row.ts, bars=bars))
            await self.line.report(reports)
            if self.line.owes:
                await self.line.reconcile("as soon as there are prices")
        else:
            kept = bars
        await self._close(row.ts, kept, began)

    async def _warm(self, row: GridRow) -> None:
        """Show a row to the models, and to a venue that has to know the market."""
        await self.line.row(row.ts, row.bars)
        bars = np.array(row.bars, np.float64, order="C")
        commands = self._asked(core.Warm(row.ts, bars))
        self.ledger.book(warmed(row.ts, self.state, self.ledger.names))
        self.ledger.intend(commands)
        await self.line.send(commands)
        self.ledger.flush()

    def _asked(self, event: core.Close | core.Warm) -> list[core.EngineCommand]:
        """Handle an event at which models are asked; the watchdog sees since when."""
        if self.marker is not None:
            self.marker.step(event.ts)
        self.ledger.state, commands = core.handle(self.state, event)
        if self.marker is not None:
            self.marker.rest()
        return commands

    async def _close(self, ts: int, bars: Any, began: float) -> None:
        """The row's decision: durable before any of it is sent; bars: where they are not booked yet."""
        self.ledger.flush()
        commands = self._asked(core.Close(ts))
        self.ledger.book(decided(ts, bars, self.state, self.ledger.names))
        self.ledger.intend(commands)
        self.ledger.flush()
        self.rows += 1
        self.ledger.watch.decided(self.state, ts, time.perf_counter() - began)
        self.ledger.at("decided")
        await self.line.send(commands)
        every = self.habits
        if every.snapshot_every and self.ledger.since >= every.snapshot_every:
            self.ledger.keep(ts)
        if every.reconcile_every and self.rows % every.reconcile_every == 0:
            await self.line.reconcile("as it is done now and then")

    # --- people ------------------------------------------------------------------------------------------------------

    async def _obey(self) -> None:
        """What people have ordered since the last look, by files in the account's folder."""
        for word, reason, model in control.orders(self.folder, self._killed, len(self.ledger.names.models)):
            await self.line.order(core.Command(word, reason, self.now(), model))
            control.done(self.folder, word)


def shell_of(ledger: Ledger, venue: Venue, feed: Feed, folder: Path, habits: Habits | None = None) -> Shell:
    """An engine that trades an account at a venue, on what a feed gives."""
    habits = habits or Habits()
    return Shell(ledger, Line(ledger, venue, folder, habits.patience, habits.adopt), feed, folder, habits)
