"""Import: a CSV or Parquet file of bars into the store. What was recognised is said; what is wrong is refused.

Nothing is repaired: a file with errors is refused as a whole, with its faults listed, and nothing is stored.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from trimtab.data.catalogue import changes_of
from trimtab.data.columns import find_columns, read_times
from trimtab.data.quality.findings import number_of
from trimtab.data.store import COLUMNS, EXTRAS, Store, instruments, read_bars, timeframes, write_bars
from trimtab.data.timeframes import canonical
from trimtab.data.validation import ERRORS, Finding, Report, validate
from trimtab.types import Instrument, TrimtabError

if TYPE_CHECKING:
    import polars as pl

#: How names of files with bars end.
SUFFIXES: Final = (".csv", ".txt", ".parquet", ".pq", ".gz", ".zst")

#: What EXTRAS may be: from, to, and in words.
_MEANS: Final = {
    "funding": (-1.0, 1.0, "a fraction of notional, between -1 and 1"),
    "spread": (0.0, 1.0, "a fraction of mid, from 0 to below 1"),
    "fx": (0.0, float("inf"), "a rate of exchange, above 0"),
}
_CLOSED: Final[dict[str, Literal["left", "none"]]] = {"funding": "none", "spread": "left", "fx": "none"}
_PARQUET: Final = (".parquet", ".pq")
_NO_TEXT: Final = "this is no text in UTF-8; expected CSV (save it as CSV UTF-8) or Parquet"
_LISTED_CELLS: Final = 10
_SEPARATORS: Final = (",", ";", "\t", "|")
#: From this share of missing bars on, an import asks whether timeframe and calendar are right.
MOST_MISSING: Final = 0.2


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A file of bars and how to read it; what is empty is recognised.

    columns      our name -> the file's, such as {"open": "px_open"}
    close_only   the file has closes only: open = high = low = close, volume unknown
    time_format  strptime format of open_time, for dates that are not ISO
    funding      a file of funding rates, each with its instant, for bars of a perpetual
    """

    path: Path
    columns: dict[str, str] = {}
    close_only: bool = False
    time_format: str = ""
    funding: Path | None = None


class Imported(msgspec.Struct, frozen=True):
    """What an import did: notes say how the file was understood, replaced counts the bars that were there before."""

    instrument: Instrument
    timeframe: str
    rows: int
    first: str
    last: str
    notes: tuple[str, ...]
    report: Report
    replaced: int = 0


class BadBars(TrimtabError):
    """A file refused for its faults; `report` holds them."""

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report


def names_of(path: Path) -> tuple[str, str]:
    """Symbol and timeframe that a file name says: BTCEUR_1h.parquet -> ("BTCEUR", "1h"); empty where it does not."""
    endings = "|".join(re.escape(suffix) for suffix in SUFFIXES)
    stem = re.sub(endings, "", path.name, flags=re.IGNORECASE)
    symbol, _, suffix = stem.rpartition("_" if "_" in stem else "-")
    try:
        return (symbol, canonical(suffix)) if symbol else (stem, "")
    except TrimtabError:
        return stem, ""


def import_file(
    store: Store, source: Source, instrument: Instrument, timeframe: str, *, now: int, replace: bool = False
) -> Imported:
    """Read, validate and store the bars of one instrument.

    now      ns UTC; bars that were not closed by then are refused
    replace  drop stored bars of this timeframe that the file does not have, or has differently, and what is stored of
             the symbol in another asset class or at another venue; without it such an import is refused

    BadBars where the file has errors (nothing is stored); warnings are in the report of what is returned.
    """
    frame, notes = read_source(source)
    if source.funding is not None:
        from trimtab.data.funding import with_funding

        frame, note = with_funding(frame, source.funding, canonical(timeframe))
        notes = (*notes, note)
    instrument = msgspec.structs.replace(instrument, close_only=source.close_only)
    old = next((i for i in instruments(store) if i.symbol == instrument.symbol), instrument)
    if (old.asset_class, old.venue) != (instrument.asset_class, instrument.venue):
        notes = (*notes, f"in the place of the {old.asset_class} at {old.venue}")
    elif changes := changes_of(old, instrument):
        notes = (*notes, f"changed in the catalogue: {', '.join(changes)}")
    done = import_frame(store, frame, instrument, timeframe, now=now, replace=replace, source=source, move=replace)
    return msgspec.structs.replace(done, notes=(*notes, *_doubts(done)))


def _doubts(done: Imported) -> list[str]:
    """A series with so many gaps that it is more likely to be something else."""
    missing = done.report.missing / (done.report.missing + done.rows)
    if missing < MOST_MISSING:
        return []
    hours = done.instrument.calendar
    return [
        f"{missing:.0%} of the bars that {hours} at {done.timeframe} should have are missing: is that the right "
        "--timeframe, --asset-class and --calendar?"
    ]


def import_frame(
    store: Store,
    frame: pl.DataFrame,
    instrument: Instrument,
    timeframe: str,
    *,
    now: int,
    replace: bool = False,
    source: Source | None = None,
    move: bool = False,
) -> Imported:
    """Validate and store bars that are already columns open_time (us, UTC), open … volume, and what of EXTRAS is known.

    source  names them in faults
    move    as for `write_bars`
    """
    timeframe = canonical(timeframe)
    source = source or Source(path=Path(f"{instrument.symbol}_{timeframe}.parquet"))
    report = validate(frame, timeframe, instrument.calendar, now=now)
    if report.n_errors:
        raise BadBars(refusal(source, report), report)
    replaced = 0
    if timeframe in timeframes(store, instrument):
        try:
            old = read_bars(store, instrument, timeframe)
        except TrimtabError:  # damaged: a file in its place is what mends it
            if not replace:
                raise
            old = None
        replaced = 0 if old is None else len(old)
        if old is not None and not replace:
            _refuse_loss(old, frame, source, instrument, timeframe)
    write_bars(store, instrument, timeframe, frame, move=move)
    first, last = (f"{frame['open_time'][i]:%Y-%m-%dT%H:%MZ}" for i in (0, -1))
    return Imported(instrument, timeframe, len(frame), first, last, (), report, replaced)


def _refuse_loss(old: pl.DataFrame, new: pl.DataFrame, source: Source, instrument: Instrument, timeframe: str) -> None:
    gone = [name for name in EXTRAS if name in old.columns and name not in new.columns]
    if gone:
        raise TrimtabError(
            f"{source.path} has no column {gone[0]}, but the stored {timeframe} bars of {instrument.symbol} do: give "
            f"it{' with --funding' if gone[0] == 'funding' else ''}, or put the file in their place with --replace"
        )
    kept = new.join(old, on=list(COLUMNS), how="semi", nulls_equal=True)
    if len(kept) < len(old):
        raise TrimtabError(
            f"{source.path} lacks or changes {len(old) - len(kept)} of the {len(old)} stored {timeframe} bars of "
            f"{instrument.symbol}; to put the file in their place, import with --replace"
        )


def refusal(source: Source, report: Report) -> str:
    """All faults of a refused file as text; rows are counted as lines of a CSV file, header included."""
    offset, unit = (2, "line") if source.path.suffix.lower() not in _PARQUET else (0, "row")
    faults, rows = number_of(report.n_errors, "fault"), number_of(report.rows, "row")
    lines = [f"{source.path}: refused, nothing stored: {faults} in {rows}"]
    for fault in ERRORS:
        listed = [f for f in report.findings if f.fault == fault]
        lines += [_line(f, unit, offset) for f in listed]
        beyond = report.counts.get(fault, 0) - len(listed)
        if beyond:
            lines.append(f"  … and {beyond} more of {fault}")
    return "\n".join([*lines, "Mend the source, then import it again.", *_aside(source)])


def _aside(source: Source) -> list[str]:
    """How to do without the bad rows of a file, if it is one."""
    if not source.path.is_file():
        return []
    closes = "" if source.close_only else "; where only closes are used, import it with --close-only"
    return [
        f"Or store its good rows and put the bad ones aside: trimtab data validate {source.path} --quarantine (with "
        f"the same options; the symbol is that of the file's name){closes}."
    ]


def _line(finding: Finding, unit: str, offset: int) -> str:
    return f"  {unit} {finding.row + offset} ({finding.instant}) {finding.fault}: {finding.message}"


def read_source(source: Source) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The file as open_time, open … volume (null: unknown) and what it has of EXTRAS, in its order; how it was read.

    TrimtabError where a column is missing, or a cell is no number (its line is named).
    """
    import polars as pl

    if not source.path.is_file():
        raise TrimtabError(f"{source.path}: no such file")
    raw = read_table(source.path)
    names, notes = find_columns(raw.columns, source.columns, source.close_only, str(source.path))
    if raw.is_empty():
        raise TrimtabError(f"{source.path}: a header, but no bars")
    prices = {ours: theirs for ours, theirs in names.items() if ours in COLUMNS[1:]}
    columns: dict[str, pl.Series] = {ours: _numbers(raw[theirs], ours, source) for ours, theirs in prices.items()}
    times, note = read_times(raw[names["open_time"]], source.time_format, str(source.path))
    if source.close_only:
        columns |= dict.fromkeys(("open", "high", "low"), columns["close"])
        notes.append("close only: open = high = low = close, volume unknown")
    if "volume" not in columns:
        columns["volume"] = pl.Series([None] * 0, dtype=pl.Float64).extend_constant(None, len(raw))
        notes += [] if source.close_only else ["no volume column: volume is unknown"]
    more = _extras(raw, names, source, notes)
    frame = pl.DataFrame({"open_time": times} | {c: columns[c] for c in COLUMNS[1:]} | more)
    return frame.with_columns(pl.col("volume", *more).fill_nan(None)), (note, *notes)


def _extras(raw: pl.DataFrame, names: dict[str, str], source: Source, notes: list[str]) -> dict[str, pl.Series]:
    """The columns of EXTRAS that hold what they should; what was only guessed from a name is left out and said."""
    found: dict[str, pl.Series] = {}
    for ours in (name for name in EXTRAS if name in names):
        column = _numbers(raw[names[ours]], ours, source)
        low, high, meaning = _MEANS[ours]
        wrong = ~column.fill_nan(None).fill_null(0.5 * (low + min(high, 1.0))).is_between(
            low, high, closed=_CLOSED[ours]
        )
        if not wrong.any():
            found[ours] = column
            notes.append(f"{ours}: from column {names[ours]}")
            continue
        row = int(wrong.arg_true()[0])
        said = f"column {names[ours]} holds {column[row]:g} (line {row + 2}), and {ours} is {meaning}"
        if ours in source.columns:
            raise TrimtabError(f"{source.path}: {said}")
        notes.append(f"{said}: left out")
    return found


def read_table(path: Path) -> pl.DataFrame:
    """A CSV or Parquet file as it is; TrimtabError where it cannot be read."""
    import polars as pl

    try:
        if path.suffix.lower() in _PARQUET:
            return pl.read_parquet(path, glob=False)
        separator = _separator(path)
        return pl.read_csv(path, separator=separator, infer_schema_length=1_000, glob=False)
    except pl.exceptions.NoDataError:
        raise TrimtabError(f"{path}: the file is empty") from None
    except pl.exceptions.ComputeError:
        return _read_as_text(path)
    except OSError as error:
        raise TrimtabError(f"{path}: cannot be read: {error.strerror or error}") from None
    except pl.exceptions.PolarsError as error:
        raise TrimtabError(f"{path}: not readable as {path.suffix or 'CSV'}: {_first_line(error)}") from None


def _read_as_text(path: Path) -> pl.DataFrame:
    """A CSV whose columns change type on the way: read as text, so that the wrong cells can be named."""
    import polars as pl

    if path.suffix.lower() in _PARQUET:
        raise TrimtabError(f"{path}: not readable as Parquet: is it complete?")
    try:
        return pl.read_csv(path, separator=_separator(path), infer_schema=False, glob=False)
    except pl.exceptions.PolarsError as error:
        raise TrimtabError(f"{path}: {_fault(path, error)}") from None


def _first_line(error: Exception) -> str:
    """What a library says, without its advice to programmers."""
    return str(error).strip().partition("\n")[0]


def _fault(path: Path, error: Exception) -> str:
    """Why a text file is no CSV: its encoding, the first line with more fields than the header, else Polars' words."""
    said = _first_line(error)
    if "utf-8" in said.lower():
        return _NO_TEXT
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        rows = csv.reader(file, delimiter=_separator(path))
        wide = len(next(rows, ()))
        line = next((rows.line_num for row in rows if len(row) > wide), 0)
    return f"line {line} has more fields than the header's {wide}" if line else f"not readable as CSV: {said}"


def _separator(path: Path) -> str:
    """The separator that the header holds most often; gzip and zstd files are taken as comma separated."""
    with open(path, "rb") as file:
        header = file.readline(65_536)
    if header[:2] == b"\x1f\x8b" or header[:4] == b"\x28\xb5\x2f\xfd":
        return ","
    if b"\0" in header:
        raise TrimtabError(f"{path}: {_NO_TEXT}")
    text = header.decode("utf-8", errors="replace")
    return max(_SEPARATORS, key=text.count)


_BLANK: Final = re.compile(r"^\s*(|\.|-|na|n/a|nan|null|none)\s*$", re.IGNORECASE)


def _numbers(column: pl.Series, name: str, source: Source) -> pl.Series:
    """A column as float64; text that is no number is named with its line. An empty cell is null (for validation)."""
    import polars as pl

    if column.dtype.is_numeric() or column.dtype == pl.Null:
        return column.cast(pl.Float64)
    if column.dtype != pl.String:
        raise TrimtabError(f"{source.path}: column {column.name} ({name}) is {column.dtype}, expected numbers")
    values = column.str.strip_chars().cast(pl.Float64, strict=False)
    rows = [r for r in (values.is_null() & column.is_not_null()).arg_true() if not _BLANK.match(column[r])]
    if rows:
        cells = ", ".join(f"{column[r]!r} (line {r + 2})" for r in rows[:_LISTED_CELLS])
        more = f" and {len(rows) - _LISTED_CELLS} more" if len(rows) > _LISTED_CELLS else ""
        like = " such as 1234.5, with a point and without separators" if "," in column[rows[0]] else ""
        raise TrimtabError(f"{source.path}: column {column.name} ({name}) holds {cells}{more}, expected numbers{like}")
    return values
