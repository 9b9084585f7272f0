"""Files of ticks as batches of typed rows, each with its place in the file.

Parquet with the columns of `kinds` (others are left out). CSV, plain, gzip or zip, of trades: Binance's public
dumps (github.com/binance/binance-public-data, README of 2025; spot files have no header and seven columns, USD-margined
futures six, newer ones with a header; times in ms, of spot from 2025-01-01 on in us), or a header with our names.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import re
import shutil
import tempfile
import zipfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, NamedTuple, cast

from trimtab.data.columns import read_times
from trimtab.data.ticks.kinds import TRADES, Kind, kind_of, schema_of
from trimtab.types import TrimtabError

if TYPE_CHECKING:
    import polars as pl

SUFFIXES: Final = (".csv", ".zip", ".gz", ".parquet", ".pq")
#: Rows that are read at a time.
BATCH: Final = 1_000_000

_SPOT: Final = ("id", "price", "qty", "quote_qty", "time", "is_buyer_maker", "is_best_match")
#: Columns of dumps without a header, by their number.
_BARE: Final = {7: _SPOT, 6: _SPOT[:6]}
#: Names in headers, lower case without separators -> ours.
_USUAL: Final = {
    "id": "trade_id", "tradeid": "trade_id", "price": "price", "qty": "qty", "quantity": "qty", "time": "ts",
    "timestamp": "ts", "ts": "ts", "tslocal": "ts_local", "isbuyermaker": "is_buyer_maker",
}  # fmt: skip
_READ_AS: Final = {"number": "Float64", "id": "Int64", "truth": "Boolean"}
#: Of Binance's dumps: BTCUSDT-trades-2024-08-08.zip, BTCUSDT-trades-2024-08.csv
_DUMP: Final = re.compile(r"(?P<symbol>[A-Z0-9]+(?:_\d+)?)-trades-\d{4}-\d\d(-\d\d)?\.")


class TickFile(NamedTuple):
    """A file of ticks, opened: what it holds, about how many rows, and where row 0 stands for people who look it up."""

    path: Path
    kind: Kind
    rows: int
    first_line: int
    batches: Iterator[pl.DataFrame]

    def place(self, row: int) -> str:
        return f"{'line' if self.first_line else 'row'} {row + self.first_line}"


def symbol_of(path: Path) -> str:
    """The symbol that the name of a dump says; empty where it says none."""
    match = _DUMP.match(path.name)
    return match["symbol"] if match else ""


def check_there(path: Path) -> None:
    """TrimtabError where there is no file."""
    if not path.is_file():
        raise TrimtabError(f"{path}: {'a folder' if path.is_dir() else 'no such file'}; expected a file of ticks")


@contextlib.contextmanager
def opened(path: Path) -> Generator[TickFile]:
    """The file, to be read in batches: `row` (from 0 in the file) and the columns of its kind, in their order.

    TrimtabError where it is no file of ticks, and while it is read where a cell is not what it should be.
    """
    check_there(path)
    ending = path.suffix.lower()
    if ending in (".parquet", ".pq"):
        yield _parquet(path)
    elif ending == ".zip":
        with _unpacked(path) as plain:
            yield _csv(path, plain)
    elif ending in SUFFIXES:
        yield _csv(path, path)
    else:
        raise TrimtabError(f"{path}: expected Parquet or CSV ({', '.join(SUFFIXES)})")


@contextlib.contextmanager
def _unpacked(path: Path) -> Generator[Path]:
    """The one CSV of a zip archive, in a temporary file."""
    try:
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory(prefix="trimtab-ticks-") as folder:
            names = [name for name in archive.namelist() if name.lower().endswith(".csv")]
            if len(names) != 1:
                raise TrimtabError(f"{path}: {len(names)} CSV files in it, expected one")
            plain = Path(folder) / "ticks.csv"
            with archive.open(names[0]) as source, plain.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
            yield plain
    except (zipfile.BadZipFile, EOFError) as error:
        raise TrimtabError(f"{path}: not readable as a zip archive ({error}): is it complete?") from None


# --- Parquet ---------------------------------------------------------------------------------------------------------


def _parquet(path: Path) -> TickFile:
    import polars as pl

    try:
        found = pl.read_parquet_schema(path)
        rows = pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise TrimtabError(f"{path}: not readable as Parquet ({_first_line(error)}): is it complete?") from None
    kind = kind_of(found, str(path))
    whole = pl.scan_parquet(path, glob=False).select([name for name in kind.columns if name in found])
    return TickFile(path, kind, rows, 0, _batches(whole.collect_batches(chunk_size=BATCH), kind, path, 0))


def _batches(parts: Iterator[pl.DataFrame], kind: Kind, path: Path, first_line: int) -> Iterator[pl.DataFrame]:
    import polars as pl

    row = 0
    try:
        for part in parts:
            typed = [_typed(part, name, kind, path, row + first_line) for name in kind.columns]
            yield pl.DataFrame([pl.Series("row", range(row, row + len(part)), pl.Int64), *typed])
            row += len(part)
    except pl.exceptions.PolarsError as error:
        raise TrimtabError(
            f"{path}: not readable from row {row:,} on ({_first_line(error)}): is it complete?"
        ) from None


def _typed(part: pl.DataFrame, name: str, kind: Kind, path: Path, place: int) -> pl.Series:
    """A column in the store's type; empty where the file has none. Times by their size, sides by their first letter."""
    import polars as pl

    wanted, holds = schema_of(kind)[name], kind.columns[name]
    if name not in part.columns:
        return pl.Series(name, [None], wanted).new_from_index(0, len(part))
    column = part[name]
    if column.dtype == wanted and holds != "side":
        return column
    if column.null_count() == len(column):
        return column.cast(pl.Null).cast(wanted)
    if holds in ("instant", "arrival"):
        times = column if isinstance(column.dtype, pl.Datetime) else read_times(column, "", str(path))[0]
        times = times if times.dtype.time_zone else times.dt.replace_time_zone("UTC")  # type: ignore[union-attr]
        return times.dt.convert_time_zone("UTC").dt.cast_time_unit("us" if holds == "instant" else "ns").alias(name)
    if holds == "side":
        return _sides(column, name, path, place)
    if (holds == "truth") != (column.dtype == pl.Boolean) or not (column.dtype.is_numeric() or holds == "truth"):
        raise TrimtabError(f"{path}: column {name} is {column.dtype}, expected {wanted}")
    typed = column.cast(wanted, strict=False)
    lost = (typed.is_null() & column.is_not_null()).arg_true()
    if len(lost):
        raise TrimtabError(f"{path}: column {name}, row {place + lost[0]}: {column[lost[0]]!r} is no {wanted}")
    return typed


def _sides(column: pl.Series, name: str, path: Path, place: int) -> pl.Series:
    """b and a, whatever the file calls bids and asks."""
    import polars as pl

    words = {"b": "b", "bid": "b", "buy": "b", "a": "a", "ask": "a", "sell": "a", "s": "a"}
    text = column.cast(pl.String)
    sides = text.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.String)
    wrong = (sides.is_null() & text.is_not_null()).arg_true()
    if len(wrong):
        raise TrimtabError(f"{path}: column {name}, row {place + wrong[0]}: {text[wrong[0]]!r}, expected b or a")
    return sides.alias(name)


# --- CSV -------------------------------------------------------------------------------------------------------------


class _Layout(NamedTuple):
    """How a CSV is written: the names of its columns as ours (those that nobody reads keep theirs)."""

    names: tuple[str, ...]
    header: bool


def _csv(path: Path, plain: Path) -> TickFile:
    import polars as pl

    head = _head(path, plain)
    layout = _layout(head, path)
    used = {name: getattr(pl, _READ_AS.get(TRADES.columns.get(name, ""), "String"))() for name in layout.names}
    used |= {name: pl.String() for name in ("ts", "ts_local") if name in used}
    if "ts" in used and _is_number(_cell(head, layout, "ts")):
        used["ts"] = pl.Int64()
    whole = pl.scan_csv(plain, has_header=False, skip_rows=int(layout.header), schema=used, glob=False)
    batches = whole.collect_batches(chunk_size=BATCH)  # all columns: a line with too many is only noticed so
    rows = int(plain.stat().st_size / max(len(head) / max(head.count("\n"), 1), 1)) if plain.suffix == ".csv" else 0
    first = 1 + int(layout.header)
    return TickFile(path, TRADES, rows, first, _of_csv(batches, plain, path, layout, used))


def _of_csv(
    parts: Iterator[pl.DataFrame], plain: Path, path: Path, layout: _Layout, used: dict[str, pl.DataType]
) -> Iterator[pl.DataFrame]:
    import polars as pl

    row = 0
    try:
        for part in parts:
            short = part["is_buyer_maker"].is_null().arg_true() if "is_buyer_maker" in used else pl.Series([])
            if len(short):
                line = row + int(short[0]) + 1 + layout.header
                raise TrimtabError(f"{path}: line {line}, column is_buyer_maker: empty, expected true or false")
            typed = [_typed(part, name, TRADES, path, row + 1 + layout.header) for name in TRADES.columns]
            yield pl.DataFrame([pl.Series("row", range(row, row + len(part)), pl.Int64), *typed])
            row += len(part)
    except pl.exceptions.PolarsError as error:
        raise TrimtabError(_fault(plain, path, layout, used) or f"{path}: {_first_line(error)}") from None
    if not row:
        raise TrimtabError(f"{path}: no trades in it")


def _head(path: Path, plain: Path) -> str:
    """The first lines as text."""
    with _text(plain, path) as file:
        return file.read(1 << 16)


@contextlib.contextmanager
def _text(plain: Path, path: Path) -> Generator[IO[str]]:
    try:
        if plain.suffix.lower() == ".gz":
            with gzip.open(plain, "rt", encoding="utf-8") as file:
                yield cast(IO[str], file)
        else:
            with plain.open(encoding="utf-8", newline="") as file:
                yield file
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise TrimtabError(f"{path}: not readable as text ({error}); expected CSV in UTF-8") from None


def _layout(head: str, path: Path) -> _Layout:
    """The columns of a CSV, from its header or from their number and what they hold."""
    first = next(csv.reader([head.partition("\n")[0].rstrip("\r")]), list[str]())
    if not first:
        raise TrimtabError(f"{path}: the file is empty")
    if not _is_number(first[0]):
        simple = [re.sub(r"[^a-z]", "", name.lower()) for name in first]
        if "baseqty" in simple:
            raise TrimtabError(f"{path}: trades of coin-margined futures, counted in contracts: they are not supported")
        if "firsttradeid" in simple:
            raise TrimtabError(_AGGREGATED.format(path=path))
        names = tuple(_USUAL.get(plain, given) for plain, given in zip(simple, first, strict=True))
        kind_of(names, str(path))
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise TrimtabError(f"{path}: two columns for {twice}: {', '.join(first)}")
        return _Layout(names, header=True)
    truth = [_is_truth(field) for field in first]
    if len(first) in (7, 8) and not truth[5] and truth[6]:
        raise TrimtabError(_AGGREGATED.format(path=path))
    if len(first) not in _BARE or not truth[5]:
        raise TrimtabError(
            f"{path}: no header, and line 1 is no row of Binance's trades ({', '.join(_SPOT)}): {','.join(first)[:80]}"
        )
    return _Layout(tuple(_USUAL.get(name.replace("_", ""), name) for name in _BARE[len(first)]), header=False)


_AGGREGATED: Final = (
    "{path}: aggregate trades, whose ids are others than those of trades: expected the dumps named trades"
)


def _cell(head: str, layout: _Layout, name: str) -> str:
    lines = head.splitlines()
    fields = next(csv.reader(lines[int(layout.header) : 1 + int(layout.header)]), list[str]())
    at = layout.names.index(name)
    return fields[at] if at < len(fields) else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _fault(plain: Path, path: Path, layout: _Layout, used: dict[str, pl.DataType]) -> str:
    """Which line and column a CSV goes wrong at, in words; empty where nothing is found. Reads it a second time."""
    readers = {"Float64": _is_number, "Int64": _is_whole, "Boolean": _is_truth}
    with _text(plain, path) as file:
        rows = csv.reader(file)
        if layout.header:
            next(rows, None)
        for fields in rows:
            if len(fields) > len(layout.names):
                return f"{path}: line {rows.line_num} has {len(fields)} fields, expected {len(layout.names)}"
            for name, text in zip(layout.names, fields, strict=False):
                read = readers.get(str(used[name]))
                if name in TRADES.columns and read is not None and text and not read(text):
                    return (
                        f"{path}: line {rows.line_num}, column {name}: {text!r}, expected {_EXPECTED[str(used[name])]}"
                    )
    return ""


_EXPECTED: Final = {"Float64": "a number", "Int64": "a whole number", "Boolean": "true or false"}


def _is_truth(text: str) -> bool:
    return text.lower() in ("true", "false")


def _is_whole(text: str) -> bool:
    return text.strip().removeprefix("-").isdigit()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
