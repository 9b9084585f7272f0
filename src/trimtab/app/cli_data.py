"""`trimtab data`: import, list, show, validate and query market data."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trimtab.app import console
from trimtab.data import store as stores
from trimtab.data.catalogue import ASSET_CLASSES, default_instrument, with_changes
from trimtab.data.importing import Imported, Source, import_file, names_of, read_source
from trimtab.data.store import Store, find_instrument, instruments, open_store, read_bars, timeframes
from trimtab.data.timeframes import canonical
from trimtab.data.validation import Report, validate
from trimtab.types import Instrument, TrimtabError

if TYPE_CHECKING:
    import polars as pl
    from rich.table import Table

app = typer.Typer(no_args_is_help=True, help="Import, list, show, validate and query market data.")

DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="The store; default $TRIMTAB_DATA, else ./trimtab-data."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]
SymbolOption = Annotated[str, typer.Option("--symbol", metavar="NAME", help="Default: from the file's name.")]
TimeframeOption = Annotated[str, typer.Option("--timeframe", "-t", help="1m … 1w; default: from the file's name.")]
AssetClassOption = Annotated[
    str, typer.Option("--asset-class", "-a", metavar="CLASS", help=f"{', '.join(ASSET_CLASSES)}.")
]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="OURS=THEIRS", help="Name of a column in the file, such as open=px_open."),
]
CloseOnlyOption = Annotated[bool, typer.Option("--close-only", help="The file has closes only.")]
TimeFormatOption = Annotated[
    str, typer.Option("--time-format", metavar="FORMAT", help="How times are written, such as '%d/%m/%Y %H:%M'.")
]


@dataclass(frozen=True)
class _Reading:
    """How the files of one command are to be read; what is empty comes from each file's name."""

    symbol: str
    timeframe: str
    columns: dict[str, str]
    close_only: bool
    time_format: str

    def source(self, path: Path) -> Source:
        return Source(path=path, columns=self.columns, close_only=self.close_only, time_format=self.time_format)

    def names(self, path: Path) -> tuple[str, str]:
        if not path.is_file():
            raise TrimtabError(f"{path}: {'a folder' if path.is_dir() else 'no such file'}; expected a file of bars")
        symbol, timeframe = names_of(path)
        if not (self.timeframe or timeframe):
            raise TrimtabError(
                f"{path}: the timeframe is not in the file's name (as in BTCEUR_1h.csv): give it with --timeframe"
            )
        return self.symbol or symbol, canonical(self.timeframe or timeframe)


@app.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="CSV or Parquet files of bars.")],
    symbol: SymbolOption = "",
    timeframe: TimeframeOption = "",
    asset_class: AssetClassOption = "crypto",
    venue: Annotated[str, typer.Option("--venue", help="binance, bitvavo, alpaca …: names its costs.")] = "",
    kind: Annotated[str, typer.Option("--kind", help="spot, perpetual, equity, index; default by asset class.")] = "",
    calendar: Annotated[str, typer.Option("--calendar", help="24/7, 24/5 or an exchange such as XNYS.")] = "",
    quote: Annotated[str, typer.Option("--quote", help="Quote currency, where the symbol does not say.")] = "",
    tick_size: Annotated[float | None, typer.Option("--tick-size", help="Smallest price step.")] = None,
    lot_size: Annotated[float | None, typer.Option("--lot-size", help="Smallest quantity step.")] = None,
    column: ColumnOption = None,
    close_only: CloseOnlyOption = False,
    time_format: TimeFormatOption = "",
    replace: Annotated[bool, typer.Option("--replace", help="Even if stored bars are lost or changed.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import bars from CSV or Parquet files into the store.

    Columns open_time (or date, time, timestamp …), open, high, low, close and volume are recognised by usual names.
    A file with faults is refused with every fault listed; gaps, zero volume, stale runs and outliers are warned of.

    Writes Parquet files and the catalogue in the store.

    [bold]Examples[/bold]
      trimtab data import BTCEUR_1h.parquet ETHEUR_1h.parquet --venue bitvavo
      trimtab data import spy.csv --symbol SPY --timeframe 1d --asset-class equity --venue alpaca
      trimtab data import wti.csv -t 1d -a commodity --close-only --column close=DCOILWTICO
    """
    if symbol and len(files) > 1:
        raise TrimtabError("--symbol names one instrument, but there are several files")
    reading = _Reading(symbol, timeframe, _columns(column), close_only, time_format)
    changes = {"calendar": calendar, "quote": quote, "tick_size": tick_size, "lot_size": lot_size}
    changes = {k: v for k, v in changes.items() if v not in ("", None)}
    store = open_store(data)
    done: list[Imported] = []
    refused: list[tuple[Path, str]] = []
    with console.progress(shown=not as_json) as progress:
        for i, path in enumerate(files):
            progress(f"importing {path.name}", i, len(files))
            try:
                name, step = reading.names(path)
                instrument = _instrument(store, name, asset_class, venue, kind, changes)
                done.append(
                    import_file(store, reading.source(path), instrument, step, now=time.time_ns(), replace=replace)
                )
            except TrimtabError as error:
                refused.append((path, str(error)))
    if as_json:
        console.write_json({"imported": [_imported(d) for d in done], "refused": [_refused(p, e) for p, e in refused]})
    else:
        _print_imported(done, store)
    for _, message in refused:
        console.say(message)
    if refused:
        raise typer.Exit(2)


def _instrument(
    store: Store, symbol: str, asset_class: str, venue: str, kind: str, changes: dict[str, Any]
) -> Instrument:
    """The stored instrument where there is one and the command agrees with it, else the asset class's default."""
    default = default_instrument(symbol, asset_class, venue, kind)
    known = {i.symbol: i for i in instruments(store)}.get(symbol)
    if known and (known.asset_class, known.venue) == (default.asset_class, default.venue):
        default = with_changes(known, kind=kind) if kind else known
    if changes.get("calendar"):
        from trimtab.data.sessions import is_round_the_clock, session_of

        if not is_round_the_clock(changes["calendar"]):
            session_of(changes["calendar"])
    return with_changes(default, **changes)


def _columns(pairs: Sequence[str] | None) -> dict[str, str]:
    columns: dict[str, str] = {}
    for pair in pairs or ():
        ours, equals, theirs = pair.partition("=")
        if not equals or not ours or not theirs:
            raise TrimtabError(f"--column {pair}: expected OURS=THEIRS, such as open=px_open")
        columns[ours.strip()] = theirs
    return columns


def _imported(done: Imported) -> dict[str, Any]:
    return {
        "symbol": done.instrument.symbol,
        "timeframe": done.timeframe,
        "rows": done.rows,
        "first": done.first,
        "last": done.last,
        "close_only": done.instrument.close_only,
        "replaced": done.replaced,
        "notes": list(done.notes),
        **_report(done.report),
    }


def _refused(path: Path, message: str) -> dict[str, str]:
    return {"file": str(path), "error": message}


def _report(report: Report) -> dict[str, Any]:
    return {
        "errors": report.n_errors,
        "warnings": report.n_warnings,
        "missing": report.missing,
        "counts": report.counts,
        "findings": [
            {"fault": f.fault, "severity": f.severity, "row": f.row, "instant": f.instant, "message": f.message}
            for f in report.findings
        ],
    }


def _print_imported(done: Sequence[Imported], store: Store) -> None:
    out = console.stdout()
    if done:
        table = _table("Symbol", "Bars", "First", "Last", "#Count", "#Missing", "Warnings")
        for d in done:
            missing = f"{d.report.missing:,}"
            table.add_row(
                d.instrument.symbol, d.timeframe, d.first[:10], d.last[:10], f"{d.rows:,}", missing, _counts(d.report)
            )
        out.print(table)
        for d in done:
            out.print(f"{d.instrument.symbol} {d.timeframe}: {'; '.join(d.notes)}", style="dim", markup=False)
        out.print(f"Stored in {store.root}. Look closer: trimtab data validate", markup=False, soft_wrap=True)


def _counts(report: Report) -> str:
    return ", ".join(f"{fault} {n:,}" for fault, n in report.counts.items()) or "none"


def _table(*headers: str) -> Table:
    """A plain table; a header that begins with # is a column of numbers."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        table.add_column(header.removeprefix("#"), justify="right" if header.startswith("#") else "left")
    return table


# --- list, show ------------------------------------------------------------------------------------------------------


@app.command("list")
def list_(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the instruments and timeframes in the store.

    Prints on stdout and writes nothing.

    [bold]Examples[/bold]
      trimtab data list
      trimtab data list --data /srv/bars --json
    """
    store = open_store(data)
    rows = [_coverage(store, i, t) for i in instruments(store) for t in timeframes(store, i)]
    if as_json:
        console.write_json(rows)
        return
    if not rows:
        console.say(f"The store {store.root} is empty. Start with: trimtab data import FILE…")
        return
    table = _table("Symbol", "Class", "Venue", "Bars", "First", "Last", "#Count", "")
    for row in rows:
        marks = "close only" if row["close_only"] else ""
        cells = [str(row[k]) for k in ("symbol", "asset_class", "venue", "timeframe")]
        cells += [str(row[k])[:10] for k in ("first", "last")]
        table.add_row(*cells, f"{row['bars']:,}", marks)
    console.stdout().print(table)


def _coverage(store: Store, instrument: Instrument, timeframe: str) -> dict[str, Any]:
    first, last, bars = stores.coverage(store, instrument, timeframe)
    return {
        "symbol": instrument.symbol,
        "asset_class": instrument.asset_class,
        "venue": instrument.venue,
        "timeframe": timeframe,
        "first": f"{first:%Y-%m-%dT%H:%MZ}",
        "last": f"{last:%Y-%m-%dT%H:%MZ}",
        "bars": bars,
        "calendar": instrument.calendar,
        "close_only": instrument.close_only,
    }


@app.command()
def show(
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="An instrument of the store.")],
    timeframe: Annotated[str, typer.Option("--timeframe", "-t", help="Default: all that are stored.")] = "",
    rows: Annotated[int, typer.Option("--rows", "-n", min=0, help="First and last bars to print.")] = 3,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one instrument: its rules, coverage, gaps, first and last bars.

    Prints on stdout and writes nothing.

    [bold]Examples[/bold]
      trimtab data show BTCEUR
      trimtab data show SPY -t 1d --rows 10
    """
    import msgspec

    store = open_store(data)
    instrument = find_instrument(store, symbol)
    chosen = (canonical(timeframe),) if timeframe else timeframes(store, instrument)
    series = [(_coverage(store, instrument, t) if t in timeframes(store, instrument) else {}, t) for t in chosen]
    shown: list[dict[str, Any]] = []
    for coverage, step in series:
        frame = read_bars(store, instrument, step)
        report = validate(frame, step, instrument.calendar, now=time.time_ns(), limit=50)
        gaps = [f.message + f" ({f.instant})" for f in report.findings if f.fault in ("gap", "short_session")]
        ends = frame if len(frame) <= 2 * rows else frame.head(rows).extend(frame.tail(rows))
        shown.append({**coverage, "missing": report.missing, "gaps": gaps, "counts": report.counts, "rows": ends})
    if as_json:
        plain = [{**s, "rows": s["rows"].to_dicts()} for s in shown]
        console.write_json({"instrument": msgspec.to_builtins(instrument), "series": plain})
        return
    _print_instrument(instrument)
    for s in shown:
        _print_series(s, rows)


def _print_instrument(i: Instrument) -> None:
    out = console.stdout()
    what = i.asset_class if i.kind == i.asset_class else f"{i.asset_class} {i.kind}"
    out.print(f"{i.symbol}  {what} at {i.venue}", style="bold", markup=False)
    out.print(
        f"{i.base or '?'}/{i.quote} · tick {i.tick_size or 'unknown'} · lot {i.lot_size:g} · calendar {i.calendar} · "
        f"{'can' if i.shortable else 'cannot'} be sold short{' · close only' if i.close_only else ''}",
        markup=False,
    )


def _print_series(s: dict[str, Any], rows: int) -> None:
    out = console.stdout()
    out.print(
        f"\n{s['timeframe']}: {s['bars']:,} bars, {s['first']} to {s['last']}, {s['missing']:,} missing in "
        f"{s['counts'].get('gap', 0)} gaps",
        markup=False,
    )
    for gap in s["gaps"]:
        out.print(f"  {gap}", style="dim", markup=False)
    beyond = s["counts"].get("gap", 0) + s["counts"].get("short_session", 0) - len(s["gaps"])
    if beyond > 0:
        out.print(f"  … and {beyond} more: trimtab data validate {s['symbol']} --limit 1000", style="dim", markup=False)
    if rows:
        out.print(_frame_table(s["rows"]))


def _frame_table(frame: pl.DataFrame) -> Table:
    numbers = [t.is_numeric() for t in frame.dtypes]
    table = _table(*(f"#{c}" if n else c for c, n in zip(frame.columns, numbers, strict=True)))
    for row in frame.iter_rows():
        table.add_row(*(_cell(v) for v in row))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.10g}"
    if hasattr(value, "strftime") and hasattr(value, "hour"):
        return f"{value:%Y-%m-%d %H:%M:%S}".removesuffix(":00")
    return str(value)


# --- validate, sql ---------------------------------------------------------------------------------------------------


@app.command("validate")
def validate_(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SYMBOL|FILE]…", help="Instruments of the store, or files; default: the whole store."),
    ] = None,
    timeframe: TimeframeOption = "",
    calendar: Annotated[str, typer.Option("--calendar", help="Of files: 24/7, 24/5 or an exchange.")] = "24/7",
    column: ColumnOption = None,
    close_only: CloseOnlyOption = False,
    time_format: TimeFormatOption = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="Findings listed of each fault.")] = 20,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail the check too.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Validate bars: errors (duplicates, disorder, impossible prices …) and warnings (gaps, zero volume, outliers …).

    Works on the store, and on files before they are imported. Repairs nothing, writes nothing; exit code 1 on errors.

    [bold]Examples[/bold]
      trimtab data validate
      trimtab data validate BTCEUR --limit 100
      trimtab data validate spy_1d.csv --calendar XNYS
    """
    reading = _Reading("", timeframe, _columns(column), close_only, time_format)
    store = open_store(data)
    found: list[tuple[str, str, Report]] = []
    wanted = targets or [i.symbol for i in instruments(store)]
    if not wanted:
        raise TrimtabError(f"the store {store.root} is empty: nothing to validate")
    with console.progress(shown=not as_json) as progress:
        for i, target in enumerate(wanted):
            progress(f"validating {target}", i, len(wanted))
            for name, step, frame, hours in _series(store, target, reading, calendar):
                found.append((name, step, validate(frame, step, hours, now=time.time_ns(), limit=limit)))
    if as_json:
        console.write_json([{"name": n, "timeframe": t, "rows": r.rows, **_report(r)} for n, t, r in found])
    else:
        for name, step, report in found:
            _print_report(name, step, report)
    if any(r.n_errors or (strict and r.n_warnings) for _, _, r in found):
        raise typer.Exit(1)


def _series(store: Store, target: str, reading: _Reading, calendar: str) -> list[tuple[str, str, pl.DataFrame, str]]:
    path = Path(target)
    if path.is_file():
        frame, _ = read_source(reading.source(path))
        return [(target, reading.names(path)[1], frame, calendar)]
    instrument = find_instrument(store, target)
    steps = (canonical(reading.timeframe),) if reading.timeframe else timeframes(store, instrument)
    return [(target, t, read_bars(store, instrument, t), instrument.calendar) for t in steps]


def _print_report(name: str, timeframe: str, report: Report) -> None:
    out = console.stdout()
    verdict = "errors" if report.n_errors else "no errors"
    out.print(
        f"{name} {timeframe}: {report.rows:,} bars, {verdict}; {_counts(report)}"
        + (f"; {report.missing:,} bars missing" if report.missing else ""),
        style="bold red" if report.n_errors else "bold",
        markup=False,
        soft_wrap=True,
    )
    listed: dict[str, int] = {}
    for f in report.findings:
        listed[f.fault] = listed.get(f.fault, 0) + 1
        line = f"  {f.severity:7} {f.fault:18} row {f.row:>8,}  {f.instant:20} {f.message}"
        out.print(line, style="red" if f.severity == "error" else "dim", markup=False, soft_wrap=True)
        if listed[f.fault] < report.counts[f.fault] and listed[f.fault] == _shown(report, f.fault):
            out.print(f"          … and {report.counts[f.fault] - listed[f.fault]:,} more of {f.fault}", style="dim")


def _shown(report: Report, fault: str) -> int:
    return sum(f.fault == fault for f in report.findings)


@app.command()
def sql(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="One SELECT over bars and instruments.")],
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, help="Rows printed (JSON has all).")] = 50,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Query the store with SQL (DuckDB), read-only.

    Views: bars (symbol, asset_class, timeframe, open_time in UTC, open, high, low, close, volume) and instruments.

    [bold]Examples[/bold]
      trimtab data sql "select symbol, timeframe, count(*) from bars group by all"
      trimtab data sql "select date_trunc('month', open_time) m, max(high) from bars where symbol = 'BTCEUR' group by m"
    """
    frame = stores.sql(open_store(data), query)
    if as_json:
        console.write_json(frame.to_dicts())
        return
    console.stdout().print(_frame_table(frame.head(rows)))
    if len(frame) > rows:
        console.say(f"{len(frame) - rows:,} more rows: raise --rows, or use --json")
