"""`trimtab data`: import, download, list, show, validate and query market data."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trimtab.app import (
    cli_advice,
    cli_download,
    cli_events,
    cli_import,
    cli_synthetic,
    cli_ticks,
    cli_validate,
    console,
)
from trimtab.app.cli_import import table
from trimtab.app.cli_options import DataOption, JsonOption
from trimtab.data import macro
from trimtab.data import store as stores
from trimtab.data.events import read_events
from trimtab.data.quality.findings import number_of
from trimtab.data.store import Store, find_instrument, instruments, open_store, read_bars, timeframes
from trimtab.data.timeframes import canonical
from trimtab.data.validation import validate
from trimtab.types import DAY, TIMEFRAMES, Instrument, TrimtabError

if TYPE_CHECKING:
    import polars as pl
    from rich.table import Table

app = typer.Typer(no_args_is_help=True, help="Import, download, make up, list, show, validate and query market data.")
app.command("import")(cli_import.import_)
app.command("download")(cli_download.download_)
app.command("update")(cli_download.update_)
app.command("events")(cli_events.events_)
app.command("synthetic")(cli_synthetic.synthetic)
app.command("validate")(cli_validate.validate_)
app.add_typer(cli_ticks.app, name="ticks")


# --- list, show ------------------------------------------------------------------------------------------------------


@app.command("list")
def list_(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the instruments and timeframes in the store.

    Prints on stdout and writes nothing. Exit code 1 where a file cannot be read.

    [bold]Examples[/bold]
      trimtab data list
      trimtab data list --data /srv/bars --json
    """
    from trimtab.data.ticks.days import ticking

    store = open_store(data)
    rows = [_coverage(store, i, t) for i in instruments(store) for t in timeframes(store, i)]
    rows += [_series_row(store, name, kept) for name, kept in macro.all_series(store).items()]
    if as_json:
        console.write_json(rows)
        _end_on_damage(rows)
        return
    ticks = ticking(store)
    if not rows and not ticks:
        console.say(cli_advice.on_empty_store(store.root))
        return
    if not rows:
        console.say(f"no bars, but ticks of {', '.join(i.symbol for i in ticks)}: trimtab data ticks list")
        return
    from rich.markup import escape

    listed = table("Symbol", "Class", "Venue", "Bars", "First", "Last", "#Count", "")
    for row in rows:
        marks = ", ".join([*(["close only"] if row["close_only"] else []), *row["extras"]])
        marks += (
            f"{', ' if marks else ''}margin {100 * row['initial_margin']:g}%" if row["initial_margin"] < 1.0 else ""
        )
        cells = [escape(str(row[k])) for k in ("symbol", "asset_class", "venue", "timeframe")]
        cells += ["–" if row["damaged"] else str(row[k])[:10] for k in ("first", "last")]
        listed.add_row(*cells, f"{row['bars']:,}", "[bold red]damaged[/]" if row["damaged"] else marks)
    for day in listed.columns[4:6]:
        day.no_wrap = True
    console.stdout().print(listed)
    _end_on_damage(rows)


def _end_on_damage(rows: list[dict[str, Any]]) -> None:
    """Say which files cannot be read, and what to do; exit code 1 where there is one."""
    for message in filter(None, (row["damaged"] for row in rows)):
        console.say(message)
    if any(row["damaged"] for row in rows):
        raise typer.Exit(1)


def _filled(data: Path | None) -> Store:
    """The store; TrimtabError, with the way out, where it is empty."""
    store = open_store(data)
    if not instruments(store):
        raise TrimtabError(cli_advice.on_empty_store(store.root))
    return store


def _coverage(store: Store, instrument: Instrument, timeframe: str) -> dict[str, Any]:
    """What is stored of a series; damaged: why its file cannot be read and what to do, empty: it can."""
    import polars as pl

    span, more, damaged = ("", "", 0), list[str](), ""
    try:
        first, last, bars = stores.coverage(store, instrument, timeframe)
        span = (f"{first:%Y-%m-%dT%H:%MZ}", f"{last:%Y-%m-%dT%H:%MZ}", bars)
        more = stores.extras(store, instrument, timeframe)
    except pl.exceptions.PolarsError as error:
        try:
            read_bars(store, instrument, timeframe)  # says which file it is, and what to do
            damaged = str(error)
        except TrimtabError as told:
            damaged = str(told)
    return {
        "symbol": instrument.symbol,
        "asset_class": instrument.asset_class,
        "venue": instrument.venue,
        "timeframe": timeframe,
        **dict(zip(("first", "last", "bars"), span, strict=True)),
        "damaged": damaged,
        "calendar": instrument.calendar,
        "close_only": instrument.close_only,
        "initial_margin": instrument.initial_margin,
        "maintenance_margin": instrument.maintenance_margin,
        "extras": more,
    }


def _series_row(store: Store, name: str, kept: macro.Series) -> dict[str, Any]:
    """A series that nobody trades, as `_coverage` tells an instrument."""
    import polars as pl

    span, damaged = ("", "", 0), ""
    try:
        times = macro.read_series(store, name)["open_time"]
        span = (f"{times[0]:%Y-%m-%dT%H:%MZ}", f"{times[-1]:%Y-%m-%dT%H:%MZ}", len(times))
    except (pl.exceptions.PolarsError, OSError):
        damaged = f"{macro.path_of(store, name)}: not readable as Parquet; remove it and download the series again"
    return {
        "symbol": name,
        "asset_class": "series",
        "venue": kept.source,
        "timeframe": "",
        **dict(zip(("first", "last", "bars"), span, strict=True)),
        "damaged": damaged,
        "calendar": "",
        "close_only": False,
        "initial_margin": 1.0,
        "maintenance_margin": 0.0,
        "extras": [f"usable after {kept.lag / DAY:g} days"],
    }


@app.command()
def show(
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="An instrument of the store.")],
    timeframe: Annotated[str, typer.Option("--timeframe", "-t", help="Default: all that are stored.")] = "",
    rows: Annotated[int, typer.Option("--rows", "-n", min=0, help="First and last bars to print.")] = 3,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one instrument: its rules, events, coverage, gaps, first and last bars.

    Prints on stdout and writes nothing.

    [bold]Examples[/bold]
      trimtab data show BTCEUR
      trimtab data show SPY -t 1d --rows 10
    """
    import msgspec

    store = _filled(data)
    instrument = find_instrument(store, symbol)
    chosen = (canonical(timeframe),) if timeframe else timeframes(store, instrument)
    series = [(_coverage(store, instrument, t) if t in timeframes(store, instrument) else {}, t) for t in chosen]
    shown: list[dict[str, Any]] = []
    for coverage, step in series:
        if coverage.get("damaged"):
            continue
        frame = read_bars(store, instrument, step)
        report = validate(frame, step, instrument.calendar, now=time.time_ns(), limit=50)
        gaps = [
            f"{f.message} and before {f.instant}" if f.fault == "gap" else f"{f.message} ({f.instant})"
            for f in report.findings
            if f.fault in ("gap", "short_session")
        ]
        ends = frame if len(frame) <= 2 * rows else frame.head(rows).extend(frame.tail(rows))
        shown.append({**coverage, "missing": report.missing, "gaps": gaps, "counts": report.counts, "rows": ends})
    events = cli_events.told(read_events(store, instrument))
    if as_json:
        plain = [{**s, "rows": s["rows"].to_dicts()} for s in shown]
        console.write_json({"instrument": msgspec.to_builtins(instrument), "events": events, "series": plain})
        _end_on_damage([coverage for coverage, _ in series])
        return
    _print_instrument(instrument)
    _print_events(instrument.symbol, events)
    for s in shown:
        _print_series(s, rows)
    _end_on_damage([coverage for coverage, _ in series])


def _print_instrument(i: Instrument) -> None:
    out = console.stdout()
    what = i.asset_class if i.kind == i.asset_class else f"{i.asset_class} {i.kind}"
    out.print(f"{i.symbol}  {what} at {i.venue}", style="bold", markup=False)
    out.print(
        f"{i.base or '?'}/{i.quote} · tick {i.tick_size or 'unknown'} · lot {i.lot_size:g} · calendar {i.calendar} · "
        f"{'can' if i.shortable else 'cannot'} be sold short{' · close only' if i.close_only else ''}",
        markup=False,
    )
    if i.listed or i.delisted:
        out.print(f"listed {i.listed or 'on a day not known'} · delisted {i.delisted or 'not yet'}", markup=False)
    if i.initial_margin < 1.0:
        initial, maintenance = f"{100 * i.initial_margin:g}%", f"{100 * i.maintenance_margin:g}%"
        out.print(f"margin {initial} initial, {maintenance} maintenance", markup=False)


def _print_events(symbol: str, events: list[dict[str, Any]]) -> None:
    """How many splits and dividends are stored, and the last of each; nothing of them where there is none."""
    kinds = {kind: [e for e in events if e["kind"] == kind] for kind in ("split", "dividend")}
    parts = [
        f"{number_of(len(mine), kind)} (the last {mine[-1]['date']}: {mine[-1]['value']:,.6g})"
        for kind, mine in kinds.items()
        if mine
    ]
    if parts:
        said = f"{', '.join(parts)}: trimtab data events {symbol}"
        console.stdout().print(said, markup=False, soft_wrap=True)


def _print_series(s: dict[str, Any], rows: int) -> None:
    out = console.stdout()
    first, last = (_of_days(s[end], s["timeframe"]) for end in ("first", "last"))
    places = s["counts"].get("gap", 0) + s["counts"].get("short_session", 0)
    missing = f"{s['missing']:,} missing in {number_of(places, 'place')}" if places else "none missing"
    out.print(f"\n{s['timeframe']}: {number_of(s['bars'], 'bar')}, {first} to {last}, {missing}", markup=False)
    for gap in s["gaps"]:
        out.print(f"  {_of_days(gap, s['timeframe'])}", style="dim", markup=False, soft_wrap=True)
    beyond = places - len(s["gaps"])
    if beyond > 0:
        out.print(f"  … and {beyond} more: trimtab data validate {s['symbol']} --limit 1000", style="dim", markup=False)
    if rows:
        out.print(_frame_table(s["rows"]))


def _of_days(text: str, timeframe: str) -> str:
    """Instants in a text, without their 00:00 UTC where bars are of days."""
    return text.replace("T00:00Z", "") if TIMEFRAMES[timeframe] >= DAY else text


def _frame_table(frame: pl.DataFrame) -> Table:
    """A frame in the width of a terminal: figures to eight digits; days where every instant is a midnight."""
    import polars as pl

    midnights = [c for c, t in frame.schema.items() if t.is_temporal() and _are_days(frame[c])]
    shown = frame.with_columns(pl.col(midnights).cast(pl.Date))
    drawn = table(*(f"#{c}" if t.is_numeric() else c for c, t in shown.schema.items()))
    for row in shown.iter_rows():
        drawn.add_row(*(_cell(v) for v in row))
    return drawn


def _are_days(times: pl.Series) -> bool:
    import polars as pl

    return isinstance(times.dtype, pl.Datetime) and bool(
        (times.drop_nulls().dt.truncate("1d") == times.drop_nulls()).all()
    )


def _cell(value: Any) -> str:
    from rich.markup import escape

    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.8g}" if abs(value) < 1e8 else f"{value:,.0f}"
    if hasattr(value, "strftime") and hasattr(value, "hour"):
        return f"{value:%Y-%m-%d %H:%M:%S}".removesuffix(":00")
    return escape(str(value))


# --- sql -------------------------------------------------------------------------------------------------------------


@app.command()
def sql(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="One SELECT over bars and instruments.")],
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, help="Rows printed (JSON has all).")] = 50,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Query the store with SQL (DuckDB), read-only.

    Views: bars (symbol, asset_class, timeframe, open_time in UTC, open, high,
    low, close, volume) and instruments.

    [bold]Examples[/bold]
      trimtab data sql "select symbol, timeframe, count(*) from bars group by all"
      trimtab data sql "select symbol, max(high) from bars group by symbol"
    """
    import duckdb

    try:
        frame = stores.sql(open_store(data), query)
    except duckdb.Error as error:  # a file of the store that is none
        raise TrimtabError(
            f"data sql: {str(error).partition('LINE')[0].strip()}; import the bars again with --replace"
        ) from None
    if as_json:
        console.write_json(frame.to_dicts())
        return
    console.stdout().print(_frame_table(frame.head(rows)))
    if len(frame) > rows:
        console.say(f"{len(frame) - rows:,} more rows: raise --rows, or use --json")
