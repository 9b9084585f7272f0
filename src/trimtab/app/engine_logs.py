"""What an engine does as JSON lines: one line for each event, in a file for each subject.

    trading      it starts, stops, is told to; a venue comes or goes
    signals      what a row was decided on, and the weights that are new
    orders       orders, cancels, and what became of them
    trades       fills, cash, adjustments
    risk         what the limits did
    performance  the pulse
    errors       what failed

Lines are made and written by a thread, so whoever logs never waits. What the disk does not take is dropped, counted,
and said before the next line that it takes. The journal is the record; these files are for people and their tools.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import traceback
from collections.abc import Callable, Iterable, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np

from trimtab.app.console.journal import instant_of
from trimtab.app.redaction import Redaction
from trimtab.engine import events as ev
from trimtab.engine.pulse import Pulse
from trimtab.types import TrimtabError

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger

LOGS: Final = ("trading", "signals", "orders", "trades", "risk", "performance", "errors")

#: Bytes of a file before it is put aside, and how many of those are kept.
SIZE: Final = 10_000_000
COUNT: Final = 5
#: Lines that may wait for the disk.
WAITING: Final = 10_000
#: Characters of a text that are kept; of a traceback its end, where the error is.
_LONGEST: Final = 8_000

_LOG_OF: Final[dict[type, str]] = {
    ev.Started: "trading",
    ev.VenueChanged: "trading",
    ev.Halted: "trading",
    ev.Commanded: "trading",
    ev.SnapshotTaken: "trading",
    ev.RowClosed: "signals",
    ev.RowWarmed: "signals",
    ev.RowDecided: "signals",
    ev.AmendIntent: "orders",
    ev.Crossed: "trades",
    ev.Liquidated: "trades",
    ev.BarLate: "signals",
    ev.OrderIntent: "orders",
    ev.CancelIntent: "orders",
    ev.Outcome: "orders",
    ev.Filled: "trades",
    ev.CashMoved: "trades",
    ev.Adjusted: "trades",
}

#: Fields of bodies that are instants.
_INSTANTS: Final = ("row", "executed", "expires")


class _Line(NamedTuple):
    log: str
    ts: int
    level: str
    event: str
    fields: Callable[[], dict[str, Any]]  # called by the thread


class EngineLogs:
    """The seven files of one engine. Every method returns at once; `close` waits until what was told is written.

    folder    made where it is missing; files are readable by their owner only
    account   stands in every line
    size      bytes of a file before it is put aside as FILE.1, FILE.2, …
    count     how many of those are kept, at least 1
    waiting   lines that may wait for the disk; more are dropped

    TrimtabError where the folder cannot be written to.
    """

    def __init__(
        self,
        folder: Path,
        *,
        account: str = "",
        size: int = SIZE,
        count: int = COUNT,
        waiting: int = WAITING,
        secrets: Iterable[str] = (),
    ):
        if size < 1_000 or count < 1 or waiting < 1:
            raise TrimtabError(
                f"logs in {folder}: size {size}, count {count}, waiting {waiting}; expected a size of 1000 bytes or "
                "more, and 1 or more of the others"
            )
        self._redaction = Redaction(*secrets)
        self._axes = _Axes((), ())
        self._waiting = waiting
        self._lines: queue.SimpleQueue[_Line | threading.Event | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._dropped: dict[str, int] = dict.fromkeys(LOGS, 0)
        self._told: dict[str, int] = dict.fromkeys(LOGS, 0)  # of the dropped
        self._closed = False
        self._files = {log: _Rotated(folder / f"{log}.jsonl", size, count) for log in LOGS}
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for file in self._files.values():
                file.open()
        except OSError as error:
            for file in self._files.values():
                file.close()
            raise TrimtabError(
                f"logs in {folder}: cannot be written ({error.strerror}: {error.filename}); name another folder"
            ) from None
        self._loggers = {log: self._logger(log, account) for log in LOGS}
        self._thread = threading.Thread(target=self._write_all, name="trimtab-logs", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines that are lost: the disk did not take them, or too many were waiting for it."""
        with self._lock:
            return sum(self._dropped.values())

    def register(self, secret: str) -> None:
        """Let a secret stand in no line from now on."""
        self._redaction.add(secret)

    def record(self, entry: ev.Entry) -> None:
        """What the journal has booked."""
        body = entry.body
        self._tell(_LOG_OF[type(body)], entry.ts, _level_of(body), ev.kind_of(body), lambda: self._fields_of(body))

    def limit_action(
        self,
        ts: int,
        limit: str,
        action: str,
        *,
        symbol: str = "",
        model: str = "",
        wanted: float | None = None,
        allowed: float | None = None,
    ) -> None:
        """A limit has acted; symbol and model empty: on the whole book."""
        fields = {"limit": limit, "action": action, "wanted": wanted, "allowed": allowed, **_named(symbol, model)}
        self._tell("risk", ts, "warning", "limit_action", lambda: fields)

    def pulse(self, pulse: Pulse) -> None:
        """All that is measured."""
        self._tell("performance", pulse.ts, "info", "pulse", lambda: _figures(pulse))

    def error(self, ts: int, error: BaseException | str, *, symbol: str = "", model: str = "", where: str = "") -> None:
        """What failed, where, and the traceback of an exception."""
        self._tell("errors", ts, "error", "error", lambda: {**_failure(error), "where": where, **_named(symbol, model)})

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until all that was told is written or dropped; False: not within these seconds."""
        done = threading.Event()
        self._lines.put(done)
        return done.wait(timeout)

    def close(self, timeout: float = 5.0) -> bool:
        """Write what waits and end; False: not within these seconds, and the rest is lost."""
        if not self._closed:
            self._closed = True
            self._lines.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _tell(self, log: str, ts: int, level: str, event: str, fields: Callable[[], dict[str, Any]]) -> None:
        if self._closed or self._lines.qsize() >= self._waiting:
            self._drop(log)
        else:
            self._lines.put(_Line(log, ts, level, event, fields))

    def _drop(self, log: str) -> None:
        with self._lock:
            self._dropped[log] += 1

    # --- in the thread -----------------------------------------------------------------------------------------------

    def _write_all(self) -> None:
        last = 0
        while (line := self._lines.get()) is not None:
            if isinstance(line, threading.Event):
                line.set()
                continue
            last = line.ts
            try:
                self._write(line)
            except Exception:  # whatever it is, trading goes on; the count tells
                self._drop(line.log)
        for log, file in self._files.items():
            with contextlib.suppress(OSError):
                self._confess(log, last)
            file.close()

    def _write(self, line: _Line) -> None:
        self._confess(line.log, line.ts)
        getattr(self._loggers[line.log], line.level)(line.event, ts=line.ts, **line.fields())

    def _confess(self, log: str, ts: int) -> None:
        """Say how many lines are missing here, before the next one."""
        with self._lock:
            dropped = self._dropped[log]
        if dropped > self._told[log]:
            self._loggers[log].warning("lines_dropped", ts=ts, lines=dropped - self._told[log])
            self._told[log] = dropped

    def _logger(self, log: str, account: str) -> FilteringBoundLogger:
        import structlog

        return structlog.wrap_logger(
            _Sink(self._files[log]),
            wrapper_class=structlog.make_filtering_bound_logger(0),
            processors=[self._redact, structlog.processors.add_log_level, _ordered, _json],
            log=log,
            account=account,
        )

    def _redact(self, logger: Any, method: str, fields: EventDict) -> EventDict:
        del logger, method
        return {name: _cut(name, self._redaction.value(value)) for name, value in fields.items()}

    def _fields_of(self, body: ev.Body) -> dict[str, Any]:
        if isinstance(body, ev.Started):
            self._axes = _Axes(body.symbols, body.models)
        if isinstance(body, ev.RowDecided):
            return self._axes.row(body)
        if isinstance(body, (ev.RowClosed, ev.RowWarmed)):
            return self._axes.closed(body)
        if isinstance(body, ev.BarLate):
            return {"symbol": body.symbol, "row": instant_of(body.row)}
        fields = msgspec.structs.asdict(body)
        return {n: instant_of(v) if n in _INSTANTS and v else v for n, v in fields.items()}


class _Axes(NamedTuple):
    """The names along the axes of rows, as the last start gave them."""

    symbols: tuple[str, ...]
    models: tuple[str, ...]

    def closed(self, body: ev.RowClosed | ev.RowWarmed | ev.RowDecided) -> dict[str, Any]:
        missing = np.flatnonzero(np.isnan(body.bars).all(axis=-1)) if body.bars.size else ()
        return {
            "row": instant_of(body.row),
            "bars": len(body.bars) - len(missing),
            "missing": [_name(self.symbols, i) for i in missing],
        }

    def row(self, body: ev.RowDecided) -> dict[str, Any]:
        new = zip(*np.nonzero(~np.isnan(body.weights)), strict=True) if body.weights.ndim == 2 else ()
        return {
            **self.closed(body),
            "weights": [
                {"model": _name(self.models, m), "symbol": _name(self.symbols, i), "weight": float(body.weights[m, i])}
                for m, i in new
            ],
        }


def _name(names: tuple[str, ...], k: Any) -> str:
    return names[int(k)] if k < len(names) else str(k)


def _named(symbol: str, model: str) -> dict[str, str]:
    return {name: value for name, value in (("symbol", symbol), ("model", model)) if value}


def _failure(error: BaseException | str) -> dict[str, str]:
    if isinstance(error, str):
        return {"message": error}
    lines = traceback.format_exception(error)  # reads source files: not where trading waits for it
    return {"message": str(error), "error": type(error).__name__, "traceback": "".join(lines)}


def _level_of(body: ev.Body) -> str:
    worrying = (
        isinstance(body, ev.Halted | ev.Adjusted | ev.BarLate)
        or (isinstance(body, ev.VenueChanged) and not body.up)
        or (isinstance(body, ev.Outcome) and body.status in ("REJECTED", "UNKNOWN"))
    )
    return "warning" if worrying else "info"


def _figures(pulse: Pulse) -> dict[str, Any]:
    """A pulse on one level; what has not happened yet is left out."""
    return {
        "row": instant_of(pulse.row) if pulse.row else None,
        "rows": pulse.rows,
        "decision_latency": pulse.decision_latency,
        "decision_latency_p50": pulse.latencies.p50,
        "decision_latency_p99": pulse.latencies.p99,
        "event_lag": pulse.event_lag,
        "feed_staleness": pulse.staleness(),
        **msgspec.structs.asdict(pulse.standing),
        **msgspec.structs.asdict(pulse.health),
        "orders": [{"status": status, "times": n} for status, n in pulse.orders.items() if n],
        "limit_actions": [{"limit": limit, "times": n} for limit, n in pulse.limit_actions.items() if n],
        "venues": [{"venue": venue, "up": is_up} for venue, is_up in pulse.venues.items()],
        "restarts": pulse.restarts,
    }


def _cut(name: str, value: Any) -> Any:
    if not isinstance(value, str) or len(value) <= _LONGEST:
        return value
    return f"…{value[-_LONGEST:]}" if name == "traceback" else f"{value[:_LONGEST]}…"


def _ordered(logger: Any, method: str, fields: EventDict) -> EventDict:
    """The instant in words, and what every line has before what only some have."""
    del logger, method
    first = {"ts": instant_of(fields["ts"]), **{name: fields[name] for name in ("log", "level", "event", "account")}}
    return first | {name: value for name, value in fields.items() if name not in first}


def _json(logger: Any, method: str, fields: MutableMapping[str, Any]) -> bytes:
    del logger, method
    return msgspec.json.encode(fields) + b"\n"  # NaN is null


class _Sink:
    """Where structlog puts a line."""

    def __init__(self, file: _Rotated):
        self.info = self.warning = self.error = file.write


class _Rotated:
    """A file that grows to a size and is then put aside, readable by its owner only. Whole lines or nothing."""

    def __init__(self, path: Path, size: int, count: int):
        self._path, self._size, self._count = path, size, count
        self._file: int | None = None
        self._torn = False  # its last line has no end

    def open(self) -> int:
        if self._file is None:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._file = os.open(self._path, flags, 0o600)
            os.fchmod(self._file, 0o600)  # it may have been there
            size = os.fstat(self._file).st_size
            self._torn = size > 0 and os.pread(self._file, 1, size - 1) != b"\n"
        return self._file

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def write(self, line: bytes) -> None:
        """OSError where the disk does not take it; a part that it took is taken back."""
        try:
            file = self.open()
            state = os.fstat(file)
            if state.st_nlink == 0 or (state.st_size and state.st_size + len(line) > self._size):
                self._put_aside(still_there=state.st_nlink > 0)
                file = self.open()
                state = os.fstat(file)
            line = b"\n" + line if self._torn else line
            written = os.write(file, line)
            self._torn = False
            if written < len(line):
                os.ftruncate(file, state.st_size)
                raise OSError(f"{self._path}: {written} of {len(line)} bytes were taken")
        except OSError:
            self.close()
            raise

    def _put_aside(self, still_there: bool) -> None:
        self.close()
        if not still_there:
            return
        for k in range(self._count, 0, -1):
            older = self._aside(k - 1) if k > 1 else self._path
            if older.exists():
                older.replace(self._aside(k))

    def _aside(self, k: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{k}")
