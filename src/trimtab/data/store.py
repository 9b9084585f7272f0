"""The store: Parquet files by asset class, symbol and timeframe, a catalogue of instruments, DuckDB over all of it.

    <root>/instruments.json                                   the catalogue
    <root>/bars/<asset_class>/<symbol>/<timeframe>.parquet    open_time (us, UTC), open, high, low, close, volume, and
                                                              where they are known funding, spread, fx

A file is either the old one or the new one: it is written beside its place, flushed to the disk and renamed. Writers
take turns by a lock file; readers need none. A symbol is percent-encoded where a file name could not hold it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import difflib
import os
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from trimtab.data.timeframes import canonical
from trimtab.schedule.buckets import divides
from trimtab.types import TIMEFRAMES, Instrument, NotEnoughData, TrimtabError

if TYPE_CHECKING:
    import duckdb
    import polars as pl

# Polars' allocator keeps what was freed for half a second: less, and what a load decoded is free for the run after
# it. Read when Polars is imported, by no other library; a user's own choice stays.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:50,muzzy_decay_ms:0")

COLUMNS: Final = ("open_time", "open", "high", "low", "close", "volume")
#: What else a bar may hold, known at its close: the funding rate that falls due then, the quoted spread as a fraction
#: of mid, and base currency per unit of the quote currency. Null: not known, or none due.
EXTRAS: Final = ("funding", "spread", "fx")
# Read often, written once: LZ4 takes half the time of zstd to decode, for a third more bytes. A single row group needs
# no copy to become an array.
_PARQUET: Final[dict[str, Any]] = {"compression": "lz4", "row_group_size": 1 << 20}
#: Bytes of a file from which its columns are decoded in two parts at once.
_LARGE: Final = 1 << 20
_LOCK_PATIENCE: Final = 10.0  # seconds


class Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The stored form of the instruments."""

    instruments: tuple[Instrument, ...] = ()
    version: int = 1


class Store(msgspec.Struct, frozen=True):
    """Bars and instruments under one folder; the folder appears with the first write."""

    root: Path

    def path_of(self, instrument: Instrument, timeframe: str) -> Path:
        return self.root / "bars" / instrument.asset_class / _file_name(instrument.symbol) / f"{timeframe}.parquet"


def open_store(root: str | Path | None = None) -> Store:
    """The store at `root`, else at $TRIMTAB_DATA, else at ./trimtab-data."""
    place = Path(root or os.environ.get("TRIMTAB_DATA") or "trimtab-data").expanduser()
    if place.exists() and not place.is_dir():
        raise TrimtabError(f"the data folder {place} is a file: give a folder with --data or TRIMTAB_DATA")
    return Store(place)


# --- reading ---------------------------------------------------------------------------------------------------------


def instruments(store: Store) -> tuple[Instrument, ...]:
    """The catalogue, by symbol; empty where nothing was imported yet."""
    path = store.root / "instruments.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Catalogue).instruments
    except FileNotFoundError:
        return ()
    except msgspec.DecodeError as error:
        raise TrimtabError(f"{path}: not a readable catalogue ({error}); mend it or import the data again") from None


def find_instrument(store: Store, symbol: str) -> Instrument:
    """The instrument of a symbol; unknown: TrimtabError with one like it."""
    known = {i.symbol: i for i in instruments(store)}
    if symbol in known:
        return known[symbol]
    if not known:
        raise TrimtabError(
            f"unknown symbol {symbol!r}: the store {store.root} is empty; start with `trimtab data import`"
        )
    by_case = {s.upper(): s for s in known}
    near = difflib.get_close_matches(symbol.upper(), by_case, n=1, cutoff=0.5)
    more = "" if len(known) == 1 else f" ({len(known)} known: `trimtab data list`)"
    nothing = ", nor one like it: bring its bars with `trimtab data import`"
    said = f": did you mean {by_case[near[0]]}?" if near else nothing
    raise TrimtabError(f"unknown symbol {symbol!r} in the store {store.root}{said}{more}")


def timeframes(store: Store, instrument: Instrument) -> tuple[str, ...]:
    """Timeframes that are stored for an instrument, finest first."""
    return tuple(name for name in TIMEFRAMES if store.path_of(instrument, name).exists())


def source_for(store: Store, instrument: Instrument, timeframe: str) -> str:
    """The stored timeframe to take for another: itself, else the finest that divides it. NotEnoughData if none does.

    A finer series that begins later than another does not count: five days of 1m bars do not stand for years of 1h.
    """
    stored = timeframes(store, instrument)
    if timeframe in stored:
        return timeframe
    fit = [name for name in stored if divides(name, timeframe)]
    if not fit:
        raise NotEnoughData(
            f"{instrument.symbol}: no {timeframe} bars, and none that they could be made of; stored: "
            f"{', '.join(stored) or 'nothing'}. Import {timeframe} or finer bars"
        )
    return fit[0] if len(fit) == 1 else min(fit, key=lambda name: coverage(store, instrument, name)[0])


def coverage(store: Store, instrument: Instrument, timeframe: str) -> tuple[dt.datetime, dt.datetime, int]:
    """First and last open_time of a stored series, and its number of bars."""
    import polars as pl

    times = pl.col("open_time")
    span = pl.scan_parquet(store.path_of(instrument, timeframe)).select(
        times.first(), times.last().alias("last"), pl.len()
    )
    return span.collect().row(0)


def extras(store: Store, instrument: Instrument, timeframe: str) -> list[str]:
    """Which of EXTRAS a stored series has."""
    import polars as pl

    there = pl.read_parquet_schema(store.path_of(instrument, timeframe))
    return [name for name in EXTRAS if name in there]


def read_bars(store: Store, instrument: Instrument, timeframe: str) -> pl.DataFrame:
    """Stored bars, oldest first: open_time, open, high, low, close, volume (null: unknown), and EXTRAS they have."""
    import polars as pl

    path = store.path_of(instrument, timeframe)
    try:
        with path.open("rb") as file:  # once: a writer may put another in its place meanwhile
            if os.fstat(file.fileno()).st_size < _LARGE:
                return pl.read_parquet(file)
            # Polars decodes the columns of a row group one after the other, those of two queries at the same time.
            whole = pl.scan_parquet(file)
            names = whole.collect_schema().names()
            half = (len(names) + 1) // 2
            parts = pl.collect_all([whole.select(part) for part in (names[:half], names[half:])])
            return pl.concat(parts, how="horizontal")
    except FileNotFoundError:
        stored = ", ".join(timeframes(store, instrument)) or "nothing"
        raise NotEnoughData(f"{instrument.symbol}: no {timeframe} bars are stored (stored: {stored})") from None
    except pl.exceptions.PolarsError as error:
        raise TrimtabError(f"{path}: not readable as Parquet ({error}); import the bars again with --replace") from None


# --- writing ---------------------------------------------------------------------------------------------------------


def write_bars(
    store: Store, instrument: Instrument, timeframe: str, frame: pl.DataFrame, *, move: bool = False
) -> None:
    """Replace the stored bars of one timeframe and enter the instrument in the catalogue, all or nothing.

    move  also where the symbol is known at another venue or in another asset class, if nothing but this timeframe is
          stored of it; without it that is refused

    Refused, too, where the symbol differs from a known one in case only (some file systems could not hold both).
    """
    timeframe = canonical(timeframe)
    with _locked(store):
        known = {i.symbol: i for i in instruments(store)}
        old = _displaced(store, known, instrument, timeframe, move)
        path = store.path_of(instrument, timeframe)
        kept = [*COLUMNS, *(name for name in EXTRAS if name in frame.columns)]
        _write_atomically(path, lambda p: frame.select(kept).write_parquet(p, **_PARQUET))
        if known.get(instrument.symbol) != instrument:
            known[instrument.symbol] = instrument
            ordered = Catalogue(tuple(known[s] for s in sorted(known)))
            text = msgspec.json.format(msgspec.json.encode(ordered), indent=1)
            _write_atomically(store.root / "instruments.json", lambda p: p.write_bytes(text))
        if old is not None and (left := store.path_of(old, timeframe)) != path:
            left.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty: what is in it is not the store's
                left.parent.rmdir()


def _displaced(
    store: Store, known: dict[str, Instrument], new: Instrument, timeframe: str, move: bool
) -> Instrument | None:
    """The instrument of another class or venue whose place is taken, if there is one; TrimtabError where it may not."""
    for symbol, old in known.items():
        if symbol.lower() != new.symbol.lower():
            continue
        if symbol != new.symbol:
            raise TrimtabError(f"{new.symbol} differs from the stored {symbol} only in case: choose another --symbol")
        if (old.venue, old.asset_class) == (new.venue, new.asset_class):
            continue
        others = [name for name in timeframes(store, old) if name != timeframe]
        if move and not others:
            return old
        wrong = f"{symbol} is stored as {old.asset_class} at {old.venue}, not as {new.asset_class} at {new.venue}: "
        name = f"import under another name, such as --symbol {symbol}.{new.venue}"
        if others:
            raise TrimtabError(f"{wrong}{name} (its {', '.join(others)} bars would not fit the new ones)")
        raise TrimtabError(f"{wrong}{name}, or put the file in its place with --replace")
    return None


def _write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        write(part)
        _flush(part)
        part.chmod(0o644)
        part.replace(path)
        _flush(path.parent)
    finally:
        part.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open a folder
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(store: Store) -> Generator[None]:
    """One writer at a time, in this process and beyond; the lock ends with its holder."""
    store.root.mkdir(parents=True, exist_ok=True)
    with open(store.root / ".lock", "ab") as file:
        until = time.monotonic() + _LOCK_PATIENCE
        while not _try_lock(file.fileno()):
            if time.monotonic() > until:
                raise TrimtabError(f"another process is writing to {store.root}: try again when it is done")
            time.sleep(0.05)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: research only, one writer is up to the user
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _file_name(symbol: str) -> str:
    name = quote(symbol, safe="")
    name = name.replace("~", "%7E").replace(".", "%2E") if name.startswith(".") else name
    if len(name) > 180:
        raise TrimtabError(f"the symbol {symbol[:40]!r}… is too long for a file name (180 characters)")
    return name


# --- DuckDB ----------------------------------------------------------------------------------------------------------


def sql(store: Store, query: str) -> pl.DataFrame:
    """Answer one SELECT over the views `bars` (symbol, asset_class, timeframe, open_time, …) and `instruments`.

    open_time is UTC without a zone; EXTRAS are columns where any series has them. Nothing can be written, and no file
    outside the store be read. A mistake in the query: TrimtabError with DuckDB's own words.
    """
    import duckdb

    with duckdb.connect() as connection:
        _create_views(connection, store)
        try:
            statements = duckdb.extract_statements(query)
            if [s.type for s in statements] != [duckdb.StatementType.SELECT]:
                raise TrimtabError(
                    "data sql: expected one SELECT statement; the store is changed by `trimtab data import`"
                )
            return _frame_of(connection.execute(statements[0]))
        except duckdb.Error as error:
            raise TrimtabError(f"data sql: {error}") from None


def _create_views(connection: duckdb.DuckDBPyConnection, store: Store) -> None:
    connection.execute(_INSTRUMENTS_TABLE)
    files: list[tuple[str, str, str, str]] = []
    for instrument in instruments(store):
        connection.table("instruments").insert(msgspec.structs.astuple(instrument))
        for timeframe in timeframes(store, instrument):
            path = str(store.path_of(instrument, timeframe).resolve())
            files.append((path, instrument.symbol, instrument.asset_class, timeframe))
    root = str(store.root.resolve()).replace("'", "''")
    connection.execute(f"set allowed_directories = ['{root}']")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    if files:
        rows = ", ".join(f"({', '.join(map(_quoted, file))})" for file in files)
        paths = ", ".join(_quoted(file[0]) for file in files)
        asked = f"describe select * from read_parquet([{paths}], union_by_name = true)"  # nosec B608  # quotes are doubled
        there = connection.execute(asked).fetchall()
        more = [name for name in EXTRAS if name in {str(row[0]) for row in there}]
        columns = "".join(f", b.{name}" for name in more)
        view = _BARS_VIEW.replace("$more", columns).replace("$rows", rows).replace("$paths", paths)
        connection.execute(view)
    else:
        connection.execute(_NO_BARS_VIEW)


_SQL_TYPES: Final = {str: "varchar", float: "double", bool: "boolean"}
_INSTRUMENTS_TABLE: Final = "create temp table instruments ({})".format(
    ", ".join(f"{f.name} {_SQL_TYPES[type(f.default) if f.default is not msgspec.NODEFAULT else str]}"
              for f in msgspec.structs.fields(Instrument))
)  # fmt: skip
_BARS_VIEW: Final = """
create temp view bars as
select f.symbol, f.asset_class, f.timeframe, make_timestamp(epoch_us(b.open_time)) as open_time,
       b.open, b.high, b.low, b.close, b.volume$more
from read_parquet([$paths], filename = true, union_by_name = true) b
join (values $rows) f (path, symbol, asset_class, timeframe) on f.path = b.filename
"""
_NO_BARS_VIEW: Final = """
create temp view bars as
select null::varchar as symbol, null::varchar as asset_class, null::varchar as timeframe,
       null::timestamp as open_time, null::double as open, null::double as high, null::double as low,
       null::double as close, null::double as volume
where false
"""


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _frame_of(result: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    import polars as pl

    names = [str(d[0]) for d in result.description or ()]
    rows = result.fetchall()
    unique = [n if names.index(n) == i else f"{n}_{i}" for i, n in enumerate(names)]
    return pl.DataFrame(rows, schema=unique, orient="row", infer_schema_length=None)
