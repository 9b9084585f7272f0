"""Who looks on while an engine trades: logs, metrics and the status of the account. None of it holds up a decision."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from trimtab.app.engine_status import SILENCE, checks_of, standing_of, status_of
from trimtab.app.live import Account
from trimtab.engine import core
from trimtab.engine import events as ev
from trimtab.engine.file import connect
from trimtab.engine.journal import Journal
from trimtab.engine.pulse import Bounds, Health, Meter, Pulse
from trimtab.engine.status import Act
from trimtab.feeds import Feed, FeedEvent, FeedState
from trimtab.rules.limits import ACTIONS, LIMIT_NAMES
from trimtab.types import DAY

if TYPE_CHECKING:
    from trimtab.app.engine_endpoint import Endpoint
    from trimtab.app.engine_logs import EngineLogs
    from trimtab.engine.shell import Shell

#: Files of an account's folder.
STATUS, LOGS = "status.json", "logs"

#: Seconds between two writings of the status, and between two looks at how late the loop runs.
_FRESH: Final = 0.5
_LOOK: Final = 0.1
#: Looks of which the longest lag is told.
_LOOKS: Final = 50


@dataclass(slots=True)
class Interest:
    """What an onlooker is asked to do beside the status and the logs.

    metrics    port of the endpoint, 0: none
    staleness  seconds without a bar from which a feed is stale
    progress   told how far it is; total: rows that the feed will give, 0: nobody knows
    tell       told what people should hear at once; None: nobody listens
    """

    metrics: int = 0
    staleness: float = np.inf
    total: int = 0
    progress: Callable[[str, int, int], None] | None = None
    tell: Callable[[str], None] | None = None


class Onlooker:
    """Of one engine, from before its first row; `close` it."""

    def __init__(self, account: Account, journal: Journal, state: core.State, interest: Interest) -> None:
        from trimtab.app.engine_logs import EngineLogs

        names = account.names
        self.account, self.interest = account, interest
        self.alerts: deque[str] = deque(maxlen=100)
        self.quarantined = _quarantined(account, state)
        self.meter = Meter(time.time_ns(), limits=LIMIT_NAMES, venues=(names.venue,), restarts=_starts(account.path))
        self.bounds = Bounds(staleness=interest.staleness, silence=SILENCE)
        self.ended = ""
        self._journal, self._state = journal, state
        self._now: Callable[[], int] = lambda: 0
        self._acts: deque[Act] = deque(maxlen=20)
        self._lags: deque[float] = deque(maxlen=_LOOKS)
        self._feed = FeedState(True)
        self._day = (-1, np.nan)  # UTC day, equity when it began
        self._equity = np.nan  # after the last row
        self._written, self._rows = 0.0, 0
        self.endpoint = self._endpoint()
        try:
            self.logs: EngineLogs = EngineLogs(account.folder / LOGS, account=names.account)
        except BaseException:
            self._stop_endpoint()
            raise

    def _endpoint(self) -> Endpoint | None:
        if not self.interest.metrics:
            return None
        from trimtab.app.engine_endpoint import Endpoint

        return Endpoint(self.interest.metrics, bounds=self.bounds, currency=self.account.spec.base_currency)

    def begin(self, shell: Shell) -> None:
        self._now = shell.now
        self._equity = float(shell.state.book.head[0]["equity"])
        self.show(shell.state)

    # --- what the shell tells ----------------------------------------------------------------------------------------

    def booked(self, entries: Sequence[ev.Entry]) -> None:
        for entry in entries:
            self.logs.record(entry)
            self.meter.add(entry.body)
            if isinstance(entry.body, ev.Commanded) and entry.body.model:
                self.quarantined[entry.body.model] = entry.body.reason
            elif isinstance(entry.body, (ev.RowDecided, ev.RowWarmed)):
                self.quarantined |= entry.body.failed

    def recorded(self, record: core.Record) -> None:
        names = self.account.names
        for act in record.actions:
            limit, i = int(act["limit"]), int(act["instrument"])
            name = LIMIT_NAMES[limit] if limit < len(LIMIT_NAMES) else f"rule {limit - len(LIMIT_NAMES) + 1}"
            symbol, word = names.symbols[i] if i >= 0 else "", ACTIONS[int(act["action"])]
            self.meter.add_limit_action(name)
            wanted, allowed = float(act["wanted"]), float(act["allowed"])
            self.logs.limit_action(int(act["ts"]), name, word, symbol=symbol, wanted=wanted, allowed=allowed)
            self._acts.append(Act(ts=int(act["ts"]), said=f"{name} {word} {symbol}".rstrip()))

    def alerted(self, ts: int, text: str) -> None:
        self.alerts.append(text)
        self.logs.error(ts, text)
        self._acts.append(Act(ts=ts, said=text))
        if self.interest.tell is not None:
            self.interest.tell(text)

    def decided(self, state: core.State, row: int, latency: float) -> None:
        now = time.time_ns()
        self.meter.add_bars(now, int(np.isfinite(state.bars[:, 3]).sum()))
        self.meter.add_row(row, now, latency)
        day = (row - 1) // DAY
        if day != self._day[0]:
            self._day = (day, self._equity)
        self._equity = float(state.book.head[0]["equity"])
        self._rows += 1
        if self.interest.progress is not None and self._rows % 16 == 0:
            self.interest.progress(f"trading {self.account.names.account}", self._rows, self.interest.total)
        self._show_again(state)

    def ticked(self, shell: Shell) -> None:
        self._show_again(shell.state)

    # --- what it measures itself -------------------------------------------------------------------------------------

    async def watch_loop(self) -> None:
        """Measure how late the event loop runs, for as long as it does."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(_LOOK)
            self._lags.append(max(0.0, time.monotonic() - began - _LOOK))

    def watched(self, feed: Feed) -> Feed:
        """A feed of which the onlooker hears when its source is lost and found."""
        return _Heard(feed, self._hear)

    def _hear(self, state: FeedState) -> None:
        self._feed = state

    # --- what it shows -----------------------------------------------------------------------------------------------

    def _show_again(self, state: core.State) -> None:
        if time.monotonic() - self._written > _FRESH:
            self.show(state)

    def pulse(self, state: core.State) -> Pulse:
        lag = 0.0 if self.ended else max(self._lags, default=0.0)  # what has ended is late for nothing
        failure = self._journal.failure
        health = Health(loop_lag=lag, journal_failure=failure, lines_dropped=self.logs.dropped)
        return self.meter.pulse(time.time_ns(), standing_of(state, self.quarantined), health)

    def show(self, state: core.State) -> None:
        """Write the status, and tell the metrics."""
        self._written = time.monotonic()
        pulse = self.pulse(state)
        if self.endpoint is not None:
            self.endpoint.tell(pulse)
        self.logs.pulse(pulse)
        status = status_of(
            state, self.account.names, self.account.spec, self._now(), checks=checks_of(pulse, self._feed, self.bounds),
            acts=tuple(self._acts), day_equity=self._day[1] if self._day[0] >= 0 else None,
            quarantined=self.quarantined,
        )  # fmt: skip
        came = pulse.last_bar if pulse.rows else 0
        status = msgspec.structs.replace(status, written=pulse.ts, last_bar=came, ended=self.ended)
        path = self.account.folder / STATUS
        temporary = path.with_name(f".{STATUS}")
        with contextlib.suppress(OSError):  # a full disk: the journal says so
            temporary.write_bytes(msgspec.json.encode(status))
            os.replace(temporary, path)

    def close(self) -> None:
        self.logs.close()
        self._stop_endpoint()

    def _stop_endpoint(self) -> None:
        if self.endpoint is not None:
            self.endpoint.stop()


class _Heard:
    """A feed whose states somebody hears before the engine does."""

    def __init__(self, feed: Feed, hear: Callable[[FeedState], None]) -> None:
        self.fields = feed.fields
        self._feed, self._hear = feed, hear

    async def rows(self, after: int) -> AsyncIterator[FeedEvent]:
        events: Any = self._feed.rows(after)
        async with contextlib.aclosing(events):
            async for event in events:
                if isinstance(event, FeedState):
                    self._hear(event)
                yield event


def _starts(path: Path) -> int:
    """Times that an engine of this account has begun before."""
    with contextlib.closing(connect(path, write=False)) as db:
        return int(db.execute("SELECT count(*) FROM events WHERE kind = 'start'").fetchone()[0])


def _quarantined(account: Account, state: core.State) -> dict[str, str]:
    """Models that an engine before this one has put into quarantine, and why."""
    numbers: tuple[int, ...] = getattr(state.planner, "quarantined", ())
    stopped = [account.names.models[m] for m in numbers]
    if not stopped:
        return {}
    why = dict.fromkeys(stopped, f"it failed before this engine began, see {LOGS}/errors.jsonl")
    with contextlib.closing(connect(account.path, write=False)) as db:
        query = """SELECT body FROM events WHERE kind = 'command' OR kind IN ('row', 'warm') AND body LIKE '%"failed":%'
            ORDER BY seq"""
        for (text,) in db.execute(query):
            body = msgspec.json.decode(text)
            why |= body.get("failed", {})
            if body.get("model") in why:
                why[body["model"]] = body.get("reason", "")
    return why
