"""Import: a file of ticks into the store, day by day. A day with faults is refused as a whole, the others are stored.

A day is written once all of its rows were read and looked at, so an import that is cut off leaves whole days; the same
import again finds them there, and goes on behind them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from trimtab.data.catalogue import changes_of
from trimtab.data.store import Store, instruments
from trimtab.data.ticks.checks import TickReport, check, merged
from trimtab.data.ticks.days import LATE, OtherTicks, Stored, write_day
from trimtab.data.ticks.files import TickFile, opened
from trimtab.data.ticks.kinds import instants
from trimtab.types import Instrument, TrimtabError

if TYPE_CHECKING:
    import polars as pl


class ImportedTicks(msgspec.Struct, frozen=True):
    """What the import of one file did; refused: a day -> what is wrong with it; changes: of the catalogue, in words."""

    path: Path
    instrument: Instrument
    kind: str
    rows: int
    days: dict[str, Stored]
    refused: dict[str, str]
    report: TickReport
    changes: tuple[str, ...] = ()

    @property
    def new(self) -> int:
        return sum(stored.new for stored in self.days.values())


def import_ticks(
    store: Store,
    path: Path,
    instrument: Instrument,
    *,
    replace: bool = False,
    tell: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> ImportedTicks:
    """Read, check and store a file of ticks.

    replace  drop what is stored of the days that the file has
    tell     called with what is done, rows read and rows in all (0: not known)

    TrimtabError where the file cannot be read on; days that were whole by then are stored.
    """
    old = next((i for i in instruments(store) if i.symbol == instrument.symbol), instrument)
    days: dict[str, Stored] = {}
    refused: dict[str, str] = {}
    reports: list[TickReport] = []
    rows = 0
    with opened(path) as file:
        for day, frame in _by_day(file, lambda done: tell(f"importing {path.name}", done, max(file.rows, done))):
            rows += len(frame)
            report = check(frame, file.kind)
            reports.append(report)
            if report.n_errors:
                refused[str(day)] = _refusal(file, day, report)
                continue
            try:
                put = write_day(store, instrument, file.kind, day, frame, replace=replace, place=file.place)
                days[str(day)] = put
            except TrimtabError as error:
                refused[str(day)] = f"{path}: {error}"
                if isinstance(error, OtherTicks):
                    break  # so are the days behind it, whether or not the store has something of them
        kind = file.kind.name
    changes = tuple(changes_of(old, instrument)) if days else ()
    return ImportedTicks(path, instrument, kind, rows, days, refused, merged(reports), changes)


def read_file(path: Path) -> tuple[str, list[tuple[dt.date, TickReport]]]:
    """The kind of a file and what is wrong with each of its days; nothing is stored."""
    with opened(path) as file:
        return file.kind.name, [(day, check(frame, file.kind)) for day, frame in _by_day(file, lambda done: None)]


def _by_day(file: TickFile, tell: Callable[[int], None]) -> Iterator[tuple[dt.date, pl.DataFrame]]:
    """The days of a file, oldest first, each when nothing more of it can come."""
    import polars as pl

    waiting: dict[dt.date, list[pl.DataFrame]] = {}
    latest: dt.datetime | None = None
    done = 0
    for batch in file.batches:
        times = batch.select(instants().alias("at"))["at"]
        latest = _in_time(file, batch, times, latest)
        for part, day in _parts(batch, times):
            waiting.setdefault(day, []).append(part)
        done += len(batch)
        tell(done)
        for day in sorted(waiting):
            if latest - LATE >= dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), dt.UTC):
                yield day, pl.concat(waiting.pop(day))
    for day in sorted(waiting):
        yield day, pl.concat(waiting.pop(day))


def _in_time(file: TickFile, batch: pl.DataFrame, times: pl.Series, latest: dt.datetime | None) -> dt.datetime:
    """The latest instant so far; TrimtabError where a row has none, or is so far behind that its day may be over."""
    import polars as pl

    if times.null_count():
        row = int(batch["row"][int(times.is_null().arg_true()[0])])
        raise TrimtabError(f"{file.path}: {file.place(row)} has no instant (ts): no day to store it in")
    before = pl.Series([latest], dtype=times.dtype)
    so_far = pl.concat([before, times.rename("")]).cum_max().slice(1)
    late = (so_far - times > LATE).arg_true()
    if len(late):
        k = int(late[0])
        raise TrimtabError(
            f"{file.path}: {file.place(int(batch['row'][k]))} is of {times[k]:%Y-%m-%dT%H:%M:%SZ}, after rows of "
            f"{so_far[k]:%Y-%m-%dT%H:%M:%SZ}: expected the order of time; sort the file and import it again"
        )
    return so_far[-1]


def _parts(batch: pl.DataFrame, times: pl.Series) -> list[tuple[pl.DataFrame, dt.date]]:
    """A batch by day."""
    dates = times.dt.date()
    first, last = dates.min(), dates.max()
    if first == last and isinstance(first, dt.date):
        return [(batch, first)]
    return [(batch.filter(dates == day), day) for day in dates.unique(maintain_order=True).to_list()]


def _refusal(file: TickFile, day: dt.date, report: TickReport) -> str:
    """All faults of a refused day as text, by their place in the file."""
    n = report.n_errors
    lines = [f"{file.path}: {day} refused, nothing of it stored: {n:,} {'fault' if n == 1 else 'faults'}"]
    errors = [f for f in report.findings if f.severity == "error"]
    lines += [f"  {file.place(f.row)} ({f.instant}) {f.fault}: {f.message}" for f in errors]
    if n > len(errors):
        lines.append(f"  … and {n - len(errors):,} more")
    return "\n".join([*lines, "Mend the source, then import it again."])
