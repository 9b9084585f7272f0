"""`trimtab data events`: the splits and dividends of an instrument, listed or taken from a file."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from trimtab.app import console
from trimtab.app.cli_import import table
from trimtab.app.cli_options import DataOption, JsonOption
from trimtab.data.events import merge_events, no_events, read_events
from trimtab.data.store import Store, find_instrument, open_store, read_bars, timeframes
from trimtab.data.validation import validate
from trimtab.types import DAY, TIMEFRAMES, Instrument, TrimtabError
from trimtab.words import line_of

if TYPE_CHECKING:
    import polars as pl

#: What of a file is read, by any of these names.
_NAMES: Final = {
    "ts": ("ts", "date", "ex_date", "day"),
    "kind": ("kind", "type", "event", "action"),
    "value": ("value", "ratio", "amount"),
}
_KINDS: Final = {
    "split": "split",
    "splits": "split",
    "dividend": "dividend",
    "dividends": "dividend",
    "div": "dividend",
}


def events_(
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="An instrument of the store.")],
    file: Annotated[
        Path | None, typer.Option("--import", metavar="FILE", help="CSV or Parquet: date, kind, value.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Drop all that are stored: the file has every event.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Splits and dividends of an instrument: list them, or import a file.

    A file has a row per event: its ex-date, its kind (split, dividend), and its
    value: new shares per old one (7 for 7:1, 0.1 for 1:10), or cash per share
    as it was paid. Dividends of one day add up, and splits of one day multiply;
    what a file says of a day and kind takes the place of what is stored of it,
    with --replace of all that is stored. What does not fit the stored prices is
    said. Prices are not changed: a run books events in its account.

    [bold]Examples[/bold]
      trimtab data events AAPL
      trimtab data events AAPL --import actions.csv
      trimtab data events AAPL --import corrected.csv --replace
    """
    if replace and file is None:
        raise TrimtabError("--replace: of what? expected --import FILE with it, with every event there is to be")
    store = open_store(data)
    instrument = find_instrument(store, symbol)
    if file is not None:
        new = _read(file)
        merge_events(store, instrument, new, replace=replace)
        console.say(f"{instrument.symbol}: {len(new):,} events read from {file}")
        for doubt in _doubts(store, instrument):
            console.say(doubt)
    kept = read_events(store, instrument)
    if as_json:
        console.write_json({"symbol": instrument.symbol, "events": told(kept)})
        return
    if not len(kept):
        console.say(f"no splits or dividends of {instrument.symbol} are stored: give a file with --import")
        return
    listed = table("Ex-date", "Kind", "#Value", "")
    for ts, kind, value in kept.iter_rows():
        listed.add_row(
            f"{ts:%Y-%m-%d}", kind, f"{value:,.6g}", "new shares per old one" if kind == "split" else "a share"
        )
    console.stdout().print(listed)


def _doubts(store: Store, instrument: Instrument) -> Iterator[str]:
    """What of the stored events does not fit the prices, of the coarsest bars of up to a day."""
    steps = [step for step in timeframes(store, instrument) if TIMEFRAMES[step] <= DAY]
    if not steps or instrument.asset_class != "equity":
        return
    frame, kept = read_bars(store, instrument, steps[-1]), read_events(store, instrument)
    found = validate(frame, steps[-1], instrument.calendar, now=time.time_ns(), limit=3, events=kept)
    for f in found.findings:
        if f.fault in ("split", "inverted", "adjusted"):
            yield f"{f.fault} {f.instant[:10]}: {f.message}"


def told(events: pl.DataFrame) -> list[dict[str, Any]]:
    """Events as JSON has them, oldest first."""
    return [{"date": f"{ts:%Y-%m-%d}", "kind": kind, "value": value} for ts, kind, value in events.iter_rows()]


def _read(file: Path) -> pl.DataFrame:
    """Events of a file; TrimtabError with the place of the first that is none."""
    import polars as pl

    from trimtab.data.importing import read_table

    told = read_table(file)
    named = {name.strip().lower(): name for name in told.columns}
    found = {own: next((named[n] for n in names if n in named), None) for own, names in _NAMES.items()}
    lacking = [own for own, name in found.items() if name is None]
    if lacking:
        what, given = ", ".join("date" if own == "ts" else own for own in lacking), ", ".join(told.columns)
        raise TrimtabError(f"{file}: no column for {what}: expected date, kind and value, found {given}")
    columns = [told[name].to_list() for name in found.values() if name is not None]
    rows = [_event(file, n, *row) for n, row in enumerate(zip(*columns, strict=True))]
    return pl.DataFrame(rows, schema=no_events().schema, orient="row")


def _event(file: Path, row: int, day: object, kind: object, value: object) -> tuple[dt.datetime, str, float]:
    where = f"{file}, {line_of(file, row)}"
    try:
        at = day if isinstance(day, dt.date) else dt.date.fromisoformat(str(day).strip()[:10])
    except ValueError:
        raise TrimtabError(f"{where}: date {day!r}: expected an ex-date such as 2014-06-09") from None
    word = _KINDS.get(str(kind).strip().lower())
    if word is None:
        raise TrimtabError(f"{where}: kind {kind!r}: expected split or dividend")
    try:
        number = float(str(value))
    except ValueError:
        number = float("nan")
    if not 0.0 < number < float("inf"):
        what = "new shares per old one, such as 7 or 0.1" if word == "split" else "cash per share"
        raise TrimtabError(f"{where}: value {value!r} of a {word}: expected {what}, more than 0")
    return dt.datetime(at.year, at.month, at.day, tzinfo=dt.UTC), word, number
