"""`trimtab paper` without its command line: a spec, a feed and a folder become an engine at work.

Logs, metrics and the status file look on; none of them is in the way of a decision.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import numpy as np

from trimtab.app.engine_status import standing_of, status_of
from trimtab.app.live import JOURNAL, Account, account_of, journalled_first
from trimtab.engine import core
from trimtab.engine import events as ev
from trimtab.engine.control import MARKER, Marker
from trimtab.engine.journal import open_journal, read
from trimtab.engine.pulse import Bounds, Health, Meter
from trimtab.engine.recovery import last_row
from trimtab.engine.shell import Habits, Shell
from trimtab.engine.status import Act, Check
from trimtab.feeds import Feed, FeedEvent, GridRow
from trimtab.research.canonical import run_id, to_yaml
from trimtab.rules.limits import ACTIONS, LIMIT_NAMES
from trimtab.types import DAY, F64, SECOND, TIMEFRAMES, Instrument, Panel, Spec, TrimtabError
from trimtab.venues.link import Faults

if TYPE_CHECKING:
    from trimtab.app.engine_endpoint import Endpoint
    from trimtab.app.engine_logs import EngineLogs

#: Files of an account's folder.
SPEC, STATUS, LOGS = "spec.yaml", "status.json", "logs"

#: Seconds between two writings of the status.
_FRESH: Final = 0.5


@dataclass(slots=True)
class Options:
    """What a paper run is asked for beside its spec.

    metrics  port of the metrics' endpoint, 0: none
    total    rows that the feed will give, 0: nobody knows
    lasting  seconds after which it ends, 0: with its feed
    """

    habits: Habits = field(default_factory=Habits)
    faults: Faults | None = None
    seed: int = 0
    metrics: int = 0
    progress: Callable[[str, int, int], None] | None = None
    total: int = 0
    lasting: float = 0.0


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a paper run ended."""

    account: str
    folder: str
    rows: int
    last: int
    equity: float
    halted: str
    alerts: tuple[str, ...]
    faults_struck: dict[str, int]


class Looker:
    """Looks on: logs, counts, and the status of the account."""

    def __init__(self, account: Account, options: Options) -> None:
        from trimtab.app.engine_logs import EngineLogs

        names = account.names
        self.account, self.options = account, options
        self.logs: EngineLogs = EngineLogs(account.folder / LOGS, account=names.account)
        self.meter = Meter(time.time_ns(), limits=LIMIT_NAMES, venues=(names.venue,), restarts=_starts(account.path))
        self.endpoint: Endpoint | None = None
        self.alerts: deque[str] = deque(maxlen=100)
        self.acts: deque[Act] = deque(maxlen=20)
        self.quarantined: dict[str, str] = {}
        self.day = (-1, np.nan)  # UTC day, equity when it began
        self.state: core.State | None = None
        self._written = 0.0
        self._rows = 0
        self._equity = np.nan  # after the last row
        self._now: Callable[[], int] = lambda: 0
        if options.metrics:
            from trimtab.app.engine_endpoint import Endpoint

            length = TIMEFRAMES[account.spec.timeframe] / SECOND
            bounds = Bounds(staleness=3.0 * length + 60.0, silence=30.0)
            self.endpoint = Endpoint(options.metrics, bounds=bounds, currency=account.spec.base_currency)

    def begin(self, shell: Shell) -> None:
        self.state, self._now = shell.state, shell.now
        self._equity = float(shell.state.book.head[0]["equity"])
        self.show(shell.state)

    def booked(self, entries: Sequence[ev.Entry]) -> None:
        for entry in entries:
            self.logs.record(entry)
            self.meter.add(entry.body)
            if isinstance(entry.body, ev.Commanded) and entry.body.model:
                self.quarantined[entry.body.model] = entry.body.reason

    def recorded(self, record: core.Record) -> None:
        names = self.account.names
        for act in record.actions:
            limit, i = int(act["limit"]), int(act["instrument"])
            name = LIMIT_NAMES[limit] if limit < len(LIMIT_NAMES) else f"rule {limit - len(LIMIT_NAMES) + 1}"
            symbol, word = names.symbols[i] if i >= 0 else "", ACTIONS[int(act["action"])]
            self.meter.add_limit_action(name)
            wanted, allowed = float(act["wanted"]), float(act["allowed"])
            self.logs.limit_action(int(act["ts"]), name, word, symbol=symbol, wanted=wanted, allowed=allowed)
            self.acts.append(Act(ts=int(act["ts"]), said=f"{name} {word} {symbol}".rstrip()))

    def alerted(self, ts: int, text: str) -> None:
        self.alerts.append(text)
        self.logs.error(ts, text)
        self.acts.append(Act(ts=ts, said=text))

    def decided(self, state: core.State, row: int, latency: float) -> None:
        now = time.time_ns()
        self.meter.add_bars(now, int(np.isfinite(state.bars[:, 3]).sum()))
        self.meter.add_row(row, now, latency)
        for m, why in getattr(state.planner, "faults", ()):
            self.quarantined[self.account.names.models[m]] = why
            self.alerted(row, f"model {self.account.names.models[m]} is in quarantine: {why}")
        day = (row - 1) // DAY
        if day != self.day[0]:
            self.day = (day, self._equity)
        self._equity = float(state.book.head[0]["equity"])
        self._rows += 1
        if self.options.progress is not None and self._rows % 16 == 0:
            self.options.progress(f"trading {self.account.names.account}", self._rows, self.options.total)
        if time.monotonic() - self._written > _FRESH:
            self.show(state)

    def ticked(self, shell: Shell) -> None:
        if time.monotonic() - self._written > _FRESH:
            self.show(shell.state)

    def show(self, state: core.State) -> None:
        """Write the status, and tell the metrics."""
        self._written = time.monotonic()
        pulse = self.meter.pulse(
            time.time_ns(), standing_of(state, self.quarantined), Health(lines_dropped=self.logs.dropped)
        )
        if self.endpoint is not None:
            self.endpoint.tell(pulse)
        self.logs.pulse(pulse)
        checks = [
            Check(name="venue", well=state.is_up),
            Check(name="journal", well=True, said=JOURNAL),
            Check(name="feed", well=True, said=f"{self._rows:,} rows"),
        ]
        status = status_of(
            state, self.account.names, self.account.spec, self._now(), checks=checks, acts=tuple(self.acts),
            day_equity=self.day[1] if self.day[0] >= 0 else None, quarantined=self.quarantined,
        )  # fmt: skip
        path = self.account.folder / STATUS
        temporary = path.with_name(f".{STATUS}")
        with contextlib.suppress(OSError):  # a full disk: the journal says so
            temporary.write_bytes(msgspec.json.encode(status))
            os.replace(temporary, path)

    def close(self) -> None:
        self.logs.close()
        if self.endpoint is not None:
            self.endpoint.stop()


def _starts(path: Path) -> int:
    """Times that an engine of this account has begun before."""
    return sum(isinstance(e.body, ev.Started) for e in read(path)) if path.exists() else 0


# --- where bars come from --------------------------------------------------------------------------------------------


class Source(msgspec.Struct, frozen=True):
    """A feed with the instruments that it is about, and the spec as it is traded with it.

    total  rows, where that is known; live: rows come as they happen
    """

    spec: Spec
    feed: Feed
    instruments: tuple[Instrument, ...]
    total: int = 0
    live: bool = False


def replayed(spec: Spec, panel: Panel, speed: float) -> Source:
    """Rows of a panel, as they were."""
    from trimtab.feeds.replay import ReplayFeed

    return Source(spec, ReplayFeed(panel, speed=speed), panel.instruments, len(panel.ts))


def ccxt_source(spec: Spec, venue: str, instruments: tuple[Instrument, ...], history: int) -> Source:
    """Live public bars of a venue that ccxt knows."""
    from trimtab.feeds.ccxt import CcxtFeed, Settings

    feed = CcxtFeed(venue, instruments, spec.timeframe, settings=Settings(history=history))
    return Source(spec, feed, instruments, live=True)


async def _first(feed: Feed) -> tuple[int, F64]:
    events: AsyncIterator[FeedEvent] = feed.rows(0)
    async for event in events:
        if isinstance(event, GridRow):
            await events.aclose()  # type: ignore[attr-defined]  # feeds are async generators
            return event.ts, event.bars
    raise TrimtabError("the feed has no row: nothing can be traded")


# --- a run -----------------------------------------------------------------------------------------------------------


def trade(source: Source, folder: Path, options: Options) -> Outcome:
    """Trade a spec on paper until its feed ends or somebody stops it; an account that has a journal goes on with it."""
    folder.mkdir(parents=True, exist_ok=True)
    account = _account(source, folder)
    with open_journal(account.path, account.names.account) as journal:
        if journal.took_over_from is not None:
            before = journal.took_over_from
            _say(options, f"process {before.pid} ended without giving the account back: going on from its journal")
        started = ev.Started(
            run_id=run_id(source.spec), code_version=_version(), symbols=account.names.symbols,
            fields=account.fields, models=account.names.models,
        )  # fmt: skip
        state = account.state()
        looker = Looker(account, options)
        entry = ev.Entry(state.tape.ts if state.tape.t >= 0 else 0, started)
        journal.append([entry])
        looker.booked([entry])
        link = account.paper(state, options.faults, options.seed)

        def now() -> int:
            if source.live:
                return time.time_ns()
            return state.tape.ts if state.tape.t >= 0 else 0

        marker = Marker(folder / MARKER)
        state.planner.place = marker.place  # type: ignore[attr-defined]  # a planner, of which the core knows less
        shell = Shell(
            state, journal, account.names, link, source.feed, folder, looker, now, options.habits, marker=marker
        )
        looker.begin(shell)
        try:
            _run(_lasting(shell, last_row(account.path), options.lasting))
            looker.show(shell.state)
        finally:
            looker.close()
    equity = float(shell.state.book.head[0]["equity"])
    last = shell.state.tape.ts if shell.state.tape.t >= 0 else 0
    return Outcome(
        account=account.names.account, folder=str(folder), rows=shell.rows, last=last, equity=equity,
        halted=shell.halted, alerts=tuple(looker.alerts), faults_struck=link.struck,
    )  # fmt: skip


async def _lasting(shell: Shell, after: int, seconds: float) -> None:
    if seconds:
        asyncio.get_running_loop().call_later(seconds, shell.stop)
    await shell.run(after)


def _run(main: Any) -> None:
    """By uvloop where there is one."""
    try:
        factory: Any = importlib.import_module("uvloop").new_event_loop
    except ImportError:
        factory = None
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main)
    except BaseExceptionGroup as group:
        error: Any = group
        while isinstance(error, BaseExceptionGroup):
            error = cast("Any", error).exceptions[0]
        raise error from group


def _account(source: Source, folder: Path) -> Account:
    spec = source.spec
    _keep_spec(spec, folder)
    first = journalled_first(folder)
    if first is None:
        one = np.ones((len(source.instruments), len(source.feed.fields)))
        several = len({i.quote for i in source.instruments}) > 1
        first = asyncio.run(_first(source.feed)) if several else (0, one)
    ts, bars = first
    return account_of(spec, source.instruments, source.feed.fields, bars, ts, folder)


def _keep_spec(spec: Spec, folder: Path) -> None:
    """An account is of one spec from its first row to its last."""
    path = folder / SPEC
    text = to_yaml(spec)
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise TrimtabError(
            f"{folder}: this account trades another spec ({SPEC} in it): go on with that one, or give another --out"
        )
    path.write_text(text, encoding="utf-8")


def _version() -> str:
    from trimtab import __version__

    return __version__


def _say(options: Options, text: str) -> None:
    if options.progress is not None:
        options.progress(text, 0, 0)
