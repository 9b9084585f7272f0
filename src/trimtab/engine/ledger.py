"""An account and its journal: what is handled is booked, and durable before anything of it leaves the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from trimtab.engine import core
from trimtab.engine import events as ev
from trimtab.engine.booking import Names, body_of, intent_of
from trimtab.engine.journal import Booked, Journal
from trimtab.engine.recovery import save

#: Points of which `Ledger.at` is told: what a venue said of a row is not booked yet; a row's decision is durable and
#: not sent; an order is about to be sent; it is sent and the answer not handled; something is about to be made durable;
#: in the midst of a reconciliation; a snapshot is about to be kept, and was.
POINTS: Final = ("row", "decided", "send", "answered", "commit", "reconcile", "snapshot", "kept")


def nothing(point: str) -> None:
    """What is told of the points that are passed where nobody wants to know."""


class Watch(Protocol):
    """Whoever looks on: logs, metrics, the status. What it raises ends the engine, so it raises nothing."""

    def booked(self, entries: Sequence[ev.Entry]) -> None: ...

    def recorded(self, record: core.Record) -> None: ...

    def alerted(self, ts: int, text: str) -> None: ...

    def decided(self, state: core.State, row: int, latency: float) -> None: ...

    def ticked(self, shell: Any) -> None: ...


@dataclass(slots=True)
class Ledger:
    """The state of an account, and what of it waits to be durable.

    now      ns UTC, of the market that is traded: of a replay, its last row
    at       is told which point of a row was reached (POINTS), for whoever tries what a crash there does
    intends  what waits to be durable holds an order
    since    events that were booked since the last snapshot
    """

    state: core.State
    journal: Journal
    names: Names
    watch: Watch
    now: Callable[[], int]
    at: Callable[[str], None] = nothing
    pending: list[ev.Entry] = field(default_factory=list[ev.Entry])
    intends: bool = False
    since: int = 0

    def book(self, body: ev.Body, ts: int | None = None) -> None:
        """To be durable with the next flush; ts: of what has an instant of its own that its body does not say."""
        self.pending.append(ev.Entry(self.now() if ts is None else ts, body))

    def flush(self) -> list[Booked]:
        """Make durable what waits; one commit, or none where nothing does."""
        if not self.pending:
            return []
        self.at("commit")
        entries, self.pending, self.intends = self.pending, [], False
        booked = self.journal.append(entries)
        self.since += len(entries)
        self.watch.booked([e for e, b in zip(entries, booked, strict=True) if b.new])
        return booked

    def intend(self, commands: Sequence[core.EngineCommand]) -> None:
        """Book what has to be durable before commands are carried out."""
        for command in commands:
            body = intent_of(command, self.names)
            if body is not None:
                self.book(body)
                self.intends = True

    def handle(self, event: core.Event) -> list[core.EngineCommand]:
        """Handle an event and book it with the next flush, with what is to be done about it."""
        own = isinstance(event, (core.Command, core.VenueState, core.Adjusted))
        body = body_of(event, self.names)
        if body is not None:
            self.book(body, event.ts if own else None)
        self.state, commands = core.handle(self.state, event)
        self.intend(commands)
        return commands

    def alert(self, text: str) -> None:
        """A person should know."""
        self.watch.alerted(self.now(), text)

    def keep(self, ts: int) -> None:
        """A snapshot, from which the next process goes on."""
        self.flush()
        self.at("snapshot")
        self.journal.snapshot(ts, save(self.state))
        self.since = 0
        self.at("kept")
