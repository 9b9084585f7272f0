"""`trimtab data ticks`: trades, quotes and depth into the store; what is wrong with them; bars out of trades."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace as changed
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trimtab.app import console
from trimtab.app.cli_import import Rules, plain_imported, table
from trimtab.app.cli_options import DataOption, JsonOption, grouped, instant_of
from trimtab.data.catalogue import ASSET_CLASSES
from trimtab.data.store import COLUMNS, Store, find_instrument, instruments, open_store
from trimtab.data.ticks import days
from trimtab.data.ticks.kinds import DEPTH, Kind, kind_named
from trimtab.types import TIMEFRAMES, Instrument, TrimtabError

if TYPE_CHECKING:
    from trimtab.data.ticks.bars import TickBars
    from trimtab.data.ticks.book import BookReport
    from trimtab.data.ticks.checks import TickReport
    from trimtab.data.ticks.days import Coverage
    from trimtab.data.ticks.importing import ImportedTicks

app = typer.Typer(
    no_args_is_help=True, help="Trades, best quotes and depth updates: import, list, validate, make bars."
)

_NONE = "no ticks are stored in {root}; start with `trimtab data ticks import`"


# --- import ----------------------------------------------------------------------------------------------------------


@app.command("import")
@grouped
def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Parquet, or CSV of trades (plain, gzip, zip).")],
    symbol: Annotated[str, typer.Option("--symbol", metavar="NAME", help="Default: from a dump's name.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Drop what is stored of the files' days.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
    *,
    rules: Rules,
) -> None:
    """Import files of trades, best quotes or depth updates, day by day.

    The columns say which of the three a file holds. Binance's dumps of trades
    (BTCUSDT-trades-2024-08-08.zip) are read as they come. A day with faults is
    refused as a whole; what is there already is not written again, so an import
    that was cut off is just started again.

    Writes Parquet files by UTC day and the catalogue in the store.

    [bold]Examples[/bold]
      trimtab data ticks import BTCUSDT-trades-2024-08-*.zip --venue binance
      trimtab data ticks import trades.parquet quotes.parquet depth.parquet \\
        --symbol BTCUSDT-PERP --venue binance --kind perpetual
    """
    from trimtab.data.ticks.importing import import_ticks

    store = open_store(data)
    done: list[ImportedTicks] = []
    refused: list[tuple[Path, str]] = []
    with console.progress(shown=not as_json) as progress:
        for path in files:
            try:
                instrument = _instrument(store, rules, path, symbol)
                done.append(import_ticks(store, path, instrument, replace=replace, tell=progress))
                refused += [(path, message) for message in done[-1].refused.values()]
            except TrimtabError as error:
                refused.append((path, str(error)))
    if as_json:
        lines = [{"file": str(path), "error": message} for path, message in refused]
        console.write_json({"imported": [_plain(d) for d in done], "refused": lines})
    else:
        _print_imported(done, store)
    for message in dict.fromkeys(message for _, message in refused):
        console.say(message)
    if refused:
        raise typer.Exit(2)


def _instrument(store: Store, rules: Rules, path: Path, symbol: str) -> Instrument:
    """The instrument that ticks belong to: as stored, and never another one of the same symbol."""
    from trimtab.data.ticks.files import check_there, symbol_of

    check_there(path)
    name = symbol or symbol_of(path)
    if not name:
        raise TrimtabError(
            f"{path}: the file's name is not that of a dump of Binance: name the instrument with --symbol"
        )
    known = {i.symbol: i for i in instruments(store)}
    other = next((s for s in known if s.lower() == name.lower() and s != name), None)
    if other:
        raise TrimtabError(f"{name} differs from the stored {other} only in case: choose another --symbol")
    old = known.get(name)
    if old is None:
        return rules.instrument(store, name)
    same = rules.venue in ("", old.venue) and rules.asset_class == ASSET_CLASSES[0]  # the default: nothing was said
    asset_class = old.asset_class if same else rules.asset_class
    kind = old.kind if asset_class == old.asset_class else ""
    said = changed(rules, asset_class=asset_class, venue=rules.venue or old.venue, kind=rules.kind or kind)
    new = said.instrument(store, name)
    if _what(old) != _what(new):
        raise TrimtabError(
            f"{name} is stored as {_what(old)}, not as {_what(new)}: import under another name, such as "
            f"--symbol {name}{'-PERP' if new.kind == 'perpetual' else '.' + new.venue}"
        )
    return new


def _what(instrument: Instrument) -> str:
    what = dict.fromkeys((instrument.asset_class, instrument.kind))
    return f"{' '.join(what)} at {instrument.venue}"


def _plain(done: ImportedTicks) -> dict[str, Any]:
    written = {day: stored._asdict() for day, stored in done.days.items()}
    return {
        "file": str(done.path),
        "symbol": done.instrument.symbol,
        "kind": done.kind,
        "rows": done.rows,
        "new": done.new,
        "days": written,
        "refused": done.refused,
        "changes": list(done.changes),
        **_plain_report(done.report),
    }


def _print_imported(done: Sequence[ImportedTicks], store: Store) -> None:
    from rich.markup import escape

    if not any(d.days for d in done):
        return
    listed = table("Symbol", "Kind", "First day", "Last day", "#Rows", "#New", "Warnings")
    for column in listed.columns[:4]:
        column.no_wrap = True
    for d in done:
        there = sorted(d.days) or ["–"]
        figures = [f"{d.rows:,}", f"{d.new:,}"]
        listed.add_row(escape(d.instrument.symbol), d.kind, there[0], there[-1], *figures, _counted(d.report))
    console.stdout().print(listed)
    for d in (d for d in done if d.changes):
        said = f"{d.instrument.symbol}: changed in the catalogue: {', '.join(d.changes)}"
        console.stdout().print(said, style="dim", markup=False, soft_wrap=True)
    console.stdout().print(
        f"Stored in {store.root}. Look closer: trimtab data ticks validate", markup=False, soft_wrap=True
    )


# --- list, validate --------------------------------------------------------------------------------------------------


@app.command("list")
def list_(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the ticks in the store: kinds, days, rows, size.

    Prints on stdout and writes nothing. Exit code 1 where a file cannot be read.

    [bold]Examples[/bold]
      trimtab data ticks list
      trimtab data ticks list --json
    """
    store = open_store(data)
    there = [(i, kind) for i in days.ticking(store) for kind in days.kinds_of(store, i)]
    rows = [(i, kind, *_covered(store, i, kind)) for i, kind in there]
    if as_json:
        told = [({"symbol": i.symbol, "venue": i.venue, "kind": k.name}, found, why) for i, k, found, why in rows]
        console.write_json([{**of, **(found._asdict() if found else {}), "damaged": why} for of, found, why in told])
    elif not rows:
        console.say(_NONE.format(root=store.root))
    else:
        _print_listed(rows)
    for message in filter(None, (why for *_, why in rows)):
        console.say(message)
    if any(why for *_, why in rows):
        raise typer.Exit(1)


def _covered(store: Store, instrument: Instrument, kind: Kind) -> tuple[Coverage | None, str]:
    """What is stored of a kind; else why a file of it cannot be read, and what to do."""
    try:
        return days.coverage(store, instrument, kind), ""
    except TrimtabError as error:
        return None, str(error)


def _print_listed(rows: Sequence[tuple[Instrument, Kind, Coverage | None, str]]) -> None:
    from rich.markup import escape

    listed = table("Symbol", "Venue", "Kind", "First", "Last", "#Days", "#Rows", "#MB")
    listed.columns[0].no_wrap = True
    for i, kind, found, _ in rows:
        if found is None:
            listed.add_row(escape(i.symbol), escape(i.venue), kind.name, "[bold red]damaged[/]", "–", "–", "–", "–")
            continue
        ends = (f"{found.first:%Y-%m-%d %H:%M:%S}", f"{found.last:%Y-%m-%d %H:%M:%S}")
        figures = (f"{found.days:,}", f"{found.rows:,}", f"{found.size / 1e6:,.1f}")
        listed.add_row(escape(i.symbol), escape(i.venue), kind.name, *ends, *figures)
    console.stdout().print(listed)


@app.command("validate")
def validate_(
    symbols: Annotated[list[str] | None, typer.Argument(metavar="SYMBOL", help="Default: all that have ticks.")] = None,
    only: Annotated[str, typer.Option("--only", metavar="KIND", help="trades, quotes or depth.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="Findings listed of each fault and day.")] = 20,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail the check too.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Validate stored ticks: order, ids, prices; the book rebuilt from depth.

    The book is held against itself (bid below ask) and, where best quotes are
    stored too, against these, update by update. Repairs nothing and writes
    nothing; exit code 1 on errors.

    [bold]Examples[/bold]
      trimtab data ticks validate
      trimtab data ticks validate BTCUSDT --only trades --strict
    """
    from trimtab.data.ticks.book import check_book
    from trimtab.data.ticks.validating import validate_ticks

    store = open_store(data)
    kind = kind_named(only) if only else None
    wanted = [find_instrument(store, s) for s in symbols] if symbols else days.ticking(store)
    if not wanted:
        raise TrimtabError(_NONE.format(root=store.root))
    found: list[tuple[Instrument, Kind, TickReport, BookReport | None]] = []
    with console.progress(shown=not as_json) as progress:
        for i in wanted:
            stored = [k for k in days.kinds_of(store, i) if kind in (None, k)]
            if not stored:
                raise TrimtabError(f"{i.symbol}: no {only or 'ticks'} are stored; see `trimtab data ticks list`")
            for k in stored:
                report = validate_ticks(store, i, k, limit=limit, tell=progress)
                book = None
                if k is DEPTH and not report.n_errors:
                    progress(f"rebuilding the book of {i.symbol}", 0, 0)
                    book = check_book(store, i, limit=limit)
                found.append((i, k, report, book))
    if as_json:
        console.write_json([_plain_found(*f) for f in found])
    else:
        for f in found:
            _print_found(*f)
    reports = [r for _, _, report, book in found for r in (report, book.faults if book else None) if r is not None]
    if any(r.n_errors or (strict and r.n_warnings) for r in reports):
        raise typer.Exit(1)


def _plain_found(i: Instrument, kind: Kind, report: TickReport, book: BookReport | None) -> dict[str, Any]:
    line: dict[str, Any] = {"symbol": i.symbol, "kind": kind.name, "rows": report.rows, **_plain_report(report)}
    if book is not None:
        figures = {name: value for name, value in book._asdict().items() if name != "faults"}
        line["book"] = {**figures, **_plain_report(book.faults)}
    return line


def _print_found(i: Instrument, kind: Kind, report: TickReport, book: BookReport | None) -> None:
    out = console.stdout()
    _print_report(f"{i.symbol} {kind.name}: {report.rows:,} rows", report)
    if book is None:
        return
    told = f"{i.symbol} book: known after {book.known:,} of {book.updates:,} updates"
    if book.compared:
        told += f"; prices agree with the quotes after {book.prices:,} of {book.compared:,}"
        told += f", quantities after {book.quantities:,}"
    _print_report(told, book.faults)
    if not book.compared:
        out.print("  no quotes to compare it with", style="dim")


def _counted(report: TickReport) -> str:
    return ", ".join(f"{fault} {n:,}" for fault, n in report.counts.items()) or "none"


def _plain_report(report: TickReport) -> dict[str, Any]:
    import msgspec

    plain = msgspec.to_builtins(report)
    figures = {"errors": report.n_errors, "warnings": report.n_warnings, "missing": report.missing}
    return {**figures, "counts": plain["counts"], "findings": plain["findings"]}


def _print_report(said: str, report: TickReport) -> None:
    out = console.stdout()
    faults = "no errors, no warnings" if not report.counts else _counted(report)
    missing = f"; {report.missing:,} trades missing" if report.missing else ""
    style = "bold red" if report.n_errors else "bold"
    out.print(f"{said}; {faults}{missing}", style=style, markup=False, soft_wrap=True)
    for f in report.findings:
        line = f"  {f.severity:7} {f.fault:18} row {f.row:>9,}  {f.instant:24} {f.message}"
        out.print(line, style="red" if f.severity == "error" else "dim", markup=False, soft_wrap=True)
    listed = len(report.findings)
    if listed < sum(report.counts.values()):
        out.print(f"  … and {sum(report.counts.values()) - listed:,} more: raise --limit", style="dim")


# --- bars ------------------------------------------------------------------------------------------------------------


@app.command("bars")
def bars_(
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="An instrument with stored trades.")],
    every: Annotated[str, typer.Option("--every", metavar="TIME", help="Bars of time: 10s, 1m, 5m … 1w.")] = "",
    volume: Annotated[float, typer.Option("--volume", help="Bars of so many units traded.")] = 0.0,
    dollars: Annotated[float, typer.Option("--dollars", help="Bars of so much money traded, in quote currency.")] = 0.0,
    start: Annotated[str, typer.Option("--start", metavar="DATE", help="First instant.")] = "",
    end: Annotated[str, typer.Option("--end", metavar="DATE", help="Last instant, not included.")] = "",
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write them to a .parquet or .csv.")] = None,
    store_as: Annotated[
        str, typer.Option("--store-as", metavar="NAME", help="Keep bars of time in the store, as NAME's.")
    ] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Even if stored bars are lost or changed.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make bars of stored trades: of time, of volume, or of money.

    Bars of time that --store-as keeps are bars like any other: backtests run on
    them. A bar without trades is absent, one that is cut off is left out. A bar
    of volume or money closes with the trade that reaches it.

    Writes nothing but what --out and --store-as say.

    [bold]Examples[/bold]
      trimtab data ticks bars BTCUSDT --every 1m --store-as BTCUSDT
      trimtab data ticks bars BTCUSDT --dollars 5e6 --out dollar_bars.parquet
    """
    from trimtab.data.ticks.bars import Span, length_of_bars, threshold_bars, time_bars

    given = [name for name, value in (("--every", every), ("--volume", volume), ("--dollars", dollars)) if value]
    if len(given) != 1:
        said = " and ".join(given) or "none"
        raise TrimtabError(f"expected one of --every, --volume and --dollars; given: {said}")
    if out is not None and out.suffix.lower() not in (".parquet", ".csv"):
        raise TrimtabError(f"--out {out}: expected a name that ends in .parquet or .csv")
    if store_as and (not every or length_of_bars(every) not in TIMEFRAMES.values()):
        kept = ", ".join(TIMEFRAMES)
        raise TrimtabError(f"--store-as {store_as}: the store keeps bars of {kept}; write these with --out")
    store = open_store(data)
    instrument = find_instrument(store, symbol)
    span = Span(instant_of("--start", start) if start else None, instant_of("--end", end) if end else None)
    with console.progress(shown=not as_json) as progress:
        progress(f"making bars of {symbol}", 0, 0)
        if every:
            made = time_bars(store, instrument, every, span)
        else:
            made = threshold_bars(store, instrument, *(("volume", volume) if volume else ("dollars", dollars)), span)
        stored = _stored(store, made, instrument, store_as, every, replace) if store_as else None
    if out is not None:
        made.frame.write_parquet(out) if out.suffix.lower() == ".parquet" else made.frame.write_csv(out)
    if as_json:
        console.write_json(_plain_bars(made, instrument, stored))
    else:
        _print_bars(made, out, stored)


def _stored(
    store: Store, made: TickBars, instrument: Instrument, name: str, every: str, replace: bool
) -> dict[str, Any] | None:
    """Bars of time put into the store, by the rules of every import."""
    import msgspec

    from trimtab.data.importing import Source, import_frame
    from trimtab.data.timeframes import canonical
    from trimtab.types import NotEnoughData

    if made.frame.is_empty():
        raise NotEnoughData(f"{instrument.symbol}: no whole bar of {every} in {made.trades:,} trades: nothing to store")
    known = {i.symbol: i for i in instruments(store)}.get(name)
    if known is not None and _what(known) != _what(instrument):
        raise TrimtabError(f"--store-as {name}: that is {_what(known)}, and these are bars of {_what(instrument)}")
    target = known or msgspec.structs.replace(instrument, symbol=name)
    source = Source(path=Path(f"bars of the ticks of {instrument.symbol}"))
    frame = made.frame.select(COLUMNS)
    done = import_frame(store, frame, target, canonical(every), now=time.time_ns(), replace=replace, source=source)
    return plain_imported(done)


def _plain_bars(made: TickBars, instrument: Instrument, stored: dict[str, Any] | None) -> dict[str, Any]:
    figures = {name: getattr(made, name) for name in ("trades", "left_out", "lacking")}
    return {"symbol": instrument.symbol, **figures, "bars": made.frame.to_dicts(), "stored": stored}


def _print_bars(made: TickBars, out: Path | None, stored: dict[str, Any] | None) -> None:
    screen = console.stdout()
    shown = table("Open time", "#open", "#high", "#low", "#close", "#volume")
    few = len(made.frame) <= 6
    ends = made.frame if few else made.frame.head(3).extend(made.frame.tail(3))
    for n, row in enumerate(ends.iter_rows(named=True)):
        if n == 3 and not few:
            shown.add_row("…")
        opened = f"{row['open_time']:%Y-%m-%d %H:%M:%S.%f}"[:-3].removesuffix(".000")
        prices = [f"{row[name]:,.8g}" for name in ("open", "high", "low", "close", "volume")]
        shown.add_row(opened, *prices)
    for column in shown.columns:
        column.no_wrap = True
    screen.print(shown)
    told = (
        f"{len(made.frame):,} bars of {made.trades - made.left_out:,} trades; {made.left_out:,} trades in no whole bar"
    )
    screen.print(told, markup=False, soft_wrap=True)
    if made.lacking:
        lack = "1 bar lacks" if made.lacking == 1 else f"{made.lacking:,} bars lack"
        console.say(f"{lack} trades, by the ids: trimtab data ticks validate says where")
    if out is not None:
        screen.print(f"Written to {out}", markup=False, soft_wrap=True)
    if stored is not None:
        said = f"Stored {stored['rows']:,} {stored['timeframe']} bars as {stored['symbol']}"
        screen.print(said, markup=False, soft_wrap=True)
