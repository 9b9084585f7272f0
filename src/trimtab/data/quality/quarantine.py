"""Quarantine: the good rows of a series in the store, the bad ones beside them with what is wrong.

    <root>/quarantine/<asset_class>/<symbol>/<timeframe>.parquet    the columns of the bars, and `reasons`

A row is good or bad, none is both, and none is lost: rows that are taken out are on the disk before the series is
written without them. Doing it again changes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from trimtab.data import store as stores
from trimtab.data.importing import import_frame
from trimtab.data.store import Store, read_bars
from trimtab.data.validation import faulty_rows
from trimtab.types import Instrument, TrimtabError

if TYPE_CHECKING:
    import polars as pl

#: The column that says what is wrong with a row: names of faults, separated by commas.
REASONS: Final = "reasons"
_ROW: Final = "_row"


class Parted(NamedTuple):
    """The rows of a frame: good ones in order of time, bad ones in the frame's order, with REASONS.

    moved  how many of the good ones were out of order
    """

    good: pl.DataFrame
    bad: pl.DataFrame
    moved: int


class Moved(NamedTuple):
    """What a quarantine did: rows kept and taken out (by fault), the file of the latter, and what was put in order."""

    symbol: str
    timeframe: str
    kept: int
    taken: int
    reasons: dict[str, int]
    moved: int
    path: Path


def path_of(store: Store, instrument: Instrument, timeframe: str) -> Path:
    """Where the bad rows of a series are."""
    return store.root / "quarantine" / store.path_of(instrument, timeframe).relative_to(store.root / "bars")


def part_rows(frame: pl.DataFrame, timeframe: str, calendar: str, *, now: int) -> Parted:
    """Bars parted by whether they have an error of their own. The good ones have none, all together.

    Of rows that are the same in every column the first is good. Where rows of one open_time differ, all are bad: which
    of them is right cannot be told. Rows out of order are only put in order.
    """
    import polars as pl

    rest = frame.with_row_index(_ROW)
    found: dict[int, list[str]] = {}
    sorted_, disorder = False, 0
    while len(rest):
        faults = _row_faults(rest, timeframe, calendar, now)
        disorder = max(disorder, len(faults.pop("disorder", [])))
        for fault, rows in faults.items():
            for row in rows:
                found.setdefault(row, []).append(fault)
        if faults:
            rest = rest.filter(~pl.col(_ROW).is_in(list(found)))
        elif sorted_:
            break
        else:
            rest, sorted_ = rest.sort("open_time", maintain_order=True), True
    rows = sorted(found)
    bad = frame[rows] if rows else frame.clear()
    reasons = pl.Series(REASONS, [",".join(found[row]) for row in rows], dtype=pl.String)
    return Parted(rest.drop(_ROW), bad.with_columns(reasons), disorder)


def _row_faults(rest: pl.DataFrame, timeframe: str, calendar: str, now: int) -> dict[str, list[int]]:
    """Numbers of the rows with each fault."""
    import polars as pl

    frame = rest.drop(_ROW)
    faults = {
        fault: rest[_ROW].gather(rows).to_list() for fault, rows in faulty_rows(frame, timeframe, calendar, now=now)
    }
    if "duplicate" in faults:
        same_time = pl.col("open_time").is_duplicated() & pl.col("open_time").is_not_null()
        columns = frame.columns
        told = rest.select(
            pl.col(_ROW),
            again=same_time & ~pl.struct(columns).is_first_distinct(),
            differs=same_time & (pl.struct(columns).n_unique().over("open_time") > 1),
        )
        faults["duplicate"] = told.filter(pl.col("again") | pl.col("differs"))[_ROW].to_list()
    return faults


def quarantine(store: Store, instrument: Instrument, timeframe: str, *, now: int) -> Moved:
    """Take the bad rows out of a stored series. TrimtabError where none would be left: then nothing is changed."""
    with stores._locked(store):
        frame = read_bars(store, instrument, timeframe)
        parted = part_rows(frame, timeframe, instrument.calendar, now=now)
        path = path_of(store, instrument, timeframe)
        _refuse_nothing_left(parted, f"{instrument.symbol} {timeframe}")
        if len(parted.bad):
            _add(path, parted.bad)
        if len(parted.bad) or parted.moved:
            target = store.path_of(instrument, timeframe)
            stores._write_atomically(target, lambda p: parted.good.write_parquet(p, **stores._PARQUET))
    return _told(parted, instrument, timeframe, path)


def quarantine_file(
    store: Store, frame: pl.DataFrame, instrument: Instrument, timeframe: str, *, now: int, replace: bool = False
) -> Moved:
    """Import the good rows of a file's frame, and keep its bad ones beside them. The file stays as it is.

    TrimtabError where none would be left, or as `import_frame` refuses (`replace`); then nothing is changed.
    """
    parted = part_rows(frame, timeframe, instrument.calendar, now=now)
    path = path_of(store, instrument, timeframe)
    _refuse_nothing_left(parted, f"{instrument.symbol} {timeframe}")
    import_frame(store, parted.good, instrument, timeframe, now=now, replace=replace)
    if len(parted.bad):
        with stores._locked(store):
            _add(path, parted.bad)
    return _told(parted, instrument, timeframe, path)


def _refuse_nothing_left(parted: Parted, name: str) -> None:
    if len(parted.good) or not len(parted.bad):
        return
    fault = parted.bad[REASONS].mode().sort()[0]
    raise TrimtabError(
        f"{name}: every row is faulty (most of them: {fault}), so nothing would be left and nothing was changed; are "
        "timeframe and calendar right?"
    )


def _told(parted: Parted, instrument: Instrument, timeframe: str, path: Path) -> Moved:
    reasons: dict[str, int] = {}
    for faults in parted.bad[REASONS].to_list():
        for fault in faults.split(","):
            reasons[fault] = reasons.get(fault, 0) + 1
    return Moved(instrument.symbol, timeframe, len(parted.good), len(parted.bad), reasons, parted.moved, path)


def _add(path: Path, bad: pl.DataFrame) -> None:
    """Write rows beside those that are there already; what a cut-off run has written is not written twice."""
    import polars as pl

    if path.exists():
        old = pl.read_parquet(path)
        both = pl.concat([old, bad], how="diagonal_relaxed")
        # The k-th of rows that are the same is there if k of them are.
        number = pl.int_range(pl.len()).over(both.columns)
        numbered = [part.with_columns(number.alias(_ROW)) for part in (both.head(len(old)), both.tail(len(bad)))]
        new = numbered[1].join(numbered[0], on=numbered[0].columns, how="anti", nulls_equal=True, maintain_order="left")
        if new.is_empty():
            return
        bad = pl.concat([both.head(len(old)), new.drop(_ROW)])
    whole = bad.sort("open_time", maintain_order=True, nulls_last=True)
    stores._write_atomically(path, lambda p: whole.write_parquet(p))
