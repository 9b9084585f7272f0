"""Ticks in the store: one Parquet file per instrument, kind and UTC day.

<root>/ticks/<asset_class>/<symbol>/<kind>/<YYYY-MM-DD>.parquet    the columns of `kinds`, in the order of their ids

A day is the exchange's; a row without the exchange's instant is of the day of the receiver's. A file is the old one or
the new one, as with bars.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote

import msgspec

from trimtab.data.store import _PARQUET, Catalogue, Store, _file_name, _locked, _write_atomically, instruments
from trimtab.data.ticks.checks import FACTS
from trimtab.data.ticks.kinds import KINDS, Kind, in_order, instants
from trimtab.types import Instrument, NotEnoughData, TrimtabError

if TYPE_CHECKING:
    import polars as pl

#: Columns that say which update a row belongs to: two files that hold one of them must agree about it.
_UPDATE: Final = {"trades": ["trade_id"], "quotes": ["update_id"], "depth": ["is_snapshot", "final_id"]}

#: How long after the end of a day its last rows may come: what the clocks of sender and receiver differ by.
LATE: Final = dt.timedelta(minutes=1)


class OtherTicks(TrimtabError):
    """New ticks and stored ones that cannot be of one instrument: put together by their ids, time goes back."""


class Stored(NamedTuple):
    """What a write did: rows of the day now, rows that were new, and whether the file was written at all."""

    rows: int
    new: int
    written: bool


def folder_of(store: Store, instrument: Instrument, kind: Kind) -> Path:
    return store.root / "ticks" / instrument.asset_class / _file_name(instrument.symbol) / kind.name


def path_of(store: Store, instrument: Instrument, kind: Kind, day: dt.date) -> Path:
    return folder_of(store, instrument, kind) / f"{day}.parquet"


def days(store: Store, instrument: Instrument, kind: Kind) -> list[dt.date]:
    """Stored days of a kind, oldest first."""
    found = folder_of(store, instrument, kind).glob("[0-9]*.parquet")
    return sorted(dt.date.fromisoformat(path.stem) for path in found)


def kinds_of(store: Store, instrument: Instrument) -> list[Kind]:
    """Kinds of ticks that are stored of an instrument."""
    return [kind for kind in KINDS.values() if days(store, instrument, kind)]


def ticking(store: Store) -> list[Instrument]:
    """Instruments that have ticks, by symbol."""
    there = {(p.parent.name, unquote(p.name)) for p in (store.root / "ticks").glob("*/*") if p.is_dir()}
    return [i for i in instruments(store) if (i.asset_class, i.symbol) in there and kinds_of(store, i)]


class Coverage(NamedTuple):
    """First and last instant of a kind, its days, rows and bytes on the disk."""

    first: dt.datetime
    last: dt.datetime
    days: int
    rows: int
    size: int


def coverage(store: Store, instrument: Instrument, kind: Kind) -> Coverage:
    """What is stored of a kind; there must be a day."""
    import polars as pl

    there = days(store, instrument, kind)
    paths = [path_of(store, instrument, kind, day) for day in there]
    ends = (instants().min().alias("first"), instants().max().alias("last"))
    try:
        first, last = (
            pl.scan_parquet(path).select(ends).collect().row(0)[k] for k, path in ((0, paths[0]), (1, paths[-1]))
        )
        rows = sum(pl.scan_parquet(path).select(pl.len()).collect().item() for path in paths)
    except pl.exceptions.PolarsError:
        for day in there:
            read_day(store, instrument, kind, day)  # says which file it is
        raise
    return Coverage(first, last, len(there), rows, sum(path.stat().st_size for path in paths))


def read_day(
    store: Store, instrument: Instrument, kind: Kind, day: dt.date, columns: list[str] | None = None
) -> pl.DataFrame:
    """Ticks of a day in the order of their ids, all columns or some; a day that is not stored: NotEnoughData."""
    import polars as pl

    path = path_of(store, instrument, kind, day)
    try:
        return pl.read_parquet(path, columns=columns, glob=False)
    except FileNotFoundError:
        raise NotEnoughData(f"{instrument.symbol}: no {kind.name} of {day} are stored") from None
    except pl.exceptions.PolarsError:
        raise TrimtabError(f"{path}: not readable as Parquet; remove it and import that day again") from None


def write_day(
    store: Store,
    instrument: Instrument,
    kind: Kind,
    day: dt.date,
    frame: pl.DataFrame,
    *,
    replace: bool = False,
    place: Callable[[int], str] = "row {}".format,
) -> Stored:
    """Put ticks of a day beside those that are stored of it, all or nothing; what is there is not written again.

    frame    `row` (in its file) and the columns of the kind
    replace  drop what is stored of that day
    place    how a row is called for people who look it up

    TrimtabError where both hold an update or a trade and disagree about it, other than in ts_local; OtherTicks where
    the two are not in the order of time.
    """
    import polars as pl

    new = in_order(frame.select("row", *kind.columns), kind)
    with _locked(store):
        enter(store, instrument)
        path = path_of(store, instrument, kind, day)
        old = None
        if path.exists() and not (replace and not _readable(path)):
            old = read_day(store, instrument, kind, day)
        whole = new
        if old is not None and replace:
            if old.select(FACTS[kind.name]).equals(new.select(FACTS[kind.name])):
                return Stored(len(old), 0, written=False)
        elif old is not None:
            fresh = _fresh(old, new, kind, f"{instrument.symbol} {kind.name} of {day}")
            if fresh.is_empty():
                return Stored(len(old), 0, written=False)
            known = old.select(pl.lit(None, pl.Int64).alias("row"), *kind.columns)
            whole, new = in_order(pl.concat([known, fresh]), kind), fresh
            _refuse_two_clocks(whole, kind, f"{instrument.symbol} {kind.name} of {day}", place)
        for left in path.parent.glob(f".{path.name}.*.part"):  # of a writer that was killed: the lock is ours
            left.unlink()
        _write_atomically(path, lambda p: whole.select(kind.columns.keys()).write_parquet(p, **_PARQUET))
    return Stored(len(whole), len(new), written=True)


def _readable(path: Path) -> bool:
    import polars as pl

    try:
        pl.read_parquet_schema(path)
    except pl.exceptions.PolarsError:
        return False
    return True


def _fresh(old: pl.DataFrame, new: pl.DataFrame, kind: Kind, what: str) -> pl.DataFrame:
    """Rows of updates that are not stored yet."""
    import polars as pl

    facts, update = FACTS[kind.name], _UPDATE[kind.name]
    by = kind.order[0]
    if len(old) == len(new) and old.select(facts).equals(new.select(facts)):
        return new.clear()
    if new[by][0] > old[by][-1] or new[by][-1] < old[by][0]:
        return new
    ours = old.join(new.select(update).unique(), on=update, how="semi", maintain_order="left")
    theirs = new.join(old.select(update).unique(), on=update, how="semi", maintain_order="left")
    if not ours.select(facts).equals(theirs.select(facts)):
        odd = [x.join(y, on=facts, how="anti", nulls_equal=True)[by] for x, y in ((theirs, ours), (ours, theirs))]
        where = f"{by} {pl.concat(odd)[0]}" if any(len(x) for x in odd) else "the order of rows"
        raise TrimtabError(
            f"{what}: {where} is stored otherwise; to put the new ticks in the place of that day, import with --replace"
        )
    return new.join(old.select(update).unique(), on=update, how="anti", maintain_order="left")


def _refuse_two_clocks(whole: pl.DataFrame, kind: Kind, what: str, place: Callable[[int], str]) -> None:
    """OtherTicks where ids and instants of stored rows and new ones (those with a `row`) go different ways."""
    import polars as pl

    by = kind.order[0]
    rows = whole.filter(~pl.col("is_snapshot")) if "is_snapshot" in whole.columns else whole
    told = rows.select("row", by, "ts", at=instants())  # without ts the receiver's clock has to do, and there are many
    back = (pl.col("ts") < pl.col("ts").forward_fill().shift(1)) | (pl.col("at") < pl.col("at").cum_max() - LATE)
    late = told.select(back.fill_null(False)).to_series().arg_true()
    if not len(late):
        return
    k = int(late[0])
    ours, other = (k, k - 1) if told["row"][k] is not None else (k - 1, k)
    row, order = told["row"][ours], "after" if ours > other else "before"
    (our_id, our_time), (other_id, other_time) = (
        (f"{by} {told[by][i]}", f"{told['at'][i]:%H:%M:%S.%f}") for i in (ours, other)
    )
    raise OtherTicks(
        f"{what}: {'a stored row' if row is None else place(row)} ({our_id}, {our_time}) stands {order} {other_id} of "
        f"{other_time}: by their ids, the new ticks and the stored ones are not in the order of time, and nothing more "
        "of the file is stored. Are they of another instrument? Import them under another --symbol; to put them in "
        "the place of what is stored, import with --replace"
    )


def enter(store: Store, instrument: Instrument) -> None:
    """Enter an instrument in the catalogue; call it under the store's lock."""
    known = {i.symbol: i for i in instruments(store)}
    if known.get(instrument.symbol) == instrument:
        return
    known[instrument.symbol] = instrument
    ordered = Catalogue(tuple(known[symbol] for symbol in sorted(known)))
    text: Any = msgspec.json.format(msgspec.json.encode(ordered), indent=1)
    _write_atomically(store.root / "instruments.json", lambda p: p.write_bytes(text))
