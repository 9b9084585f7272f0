"""`trimtab data import`: files of bars into the store."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trimtab.app import console, units
from trimtab.app.cli_options import DataOption, JsonOption, grouped
from trimtab.data.catalogue import ASSET_CLASSES, KINDS, default_instrument, with_changes
from trimtab.data.importing import Imported, Source, import_file, names_of
from trimtab.data.store import Store, instruments, open_store
from trimtab.data.timeframes import canonical
from trimtab.data.validation import Report
from trimtab.types import Instrument, TrimtabError

if TYPE_CHECKING:
    from rich.table import Table

_written = partial(typer.Option, rich_help_panel="How the files are written")
_traded = partial(typer.Option, rich_help_panel="What the instrument is")


@dataclass(frozen=True)
class Reading:
    """How files of bars are to be read; what is empty is recognised, or comes from each file's name."""

    timeframe: Annotated[str, _written("--timeframe", "-t", help="1m … 1w; default: from the file's name.")] = ""
    column: Annotated[
        list[str] | None,
        _written("--column", metavar="OURS=THEIRS", help="A column's name, such as open=px_open. Repeatable."),
    ] = None
    close_only: Annotated[bool, _written("--close-only", help="The file has closes only.")] = False
    time_format: Annotated[
        str, _written("--time-format", metavar="FORMAT", help="How times are written, such as '%d/%m/%Y %H:%M'.")
    ] = ""

    funding: Annotated[
        Path | None, _written("--funding", metavar="FILE", help="Funding rates of a perpetual: instants and rates.")
    ] = None

    @property
    def columns(self) -> dict[str, str]:
        """Our name -> the file's, as given."""
        pairs = [pair.partition("=") for pair in self.column or ()]
        wrong = next((ours for ours, equals, theirs in pairs if not equals or not ours or not theirs), None)
        if wrong is not None:
            raise TrimtabError(f"--column {wrong}: expected OURS=THEIRS, such as open=px_open")
        return {ours.strip(): theirs for ours, _, theirs in pairs}

    def source(self, path: Path) -> Source:
        """A file with these rules."""
        return Source(
            path=path,
            columns=self.columns,
            close_only=self.close_only,
            time_format=self.time_format,
            funding=self.funding,
        )

    def names(self, path: Path) -> tuple[str, str]:
        """The symbol in a file's name, and the timeframe given or in the name."""
        if not path.is_file():
            raise TrimtabError(f"{path}: {'a folder' if path.is_dir() else 'no such file'}; expected a file of bars")
        symbol, timeframe = names_of(path)
        if not (self.timeframe or timeframe):
            raise TrimtabError(
                f"{path}: the timeframe is not in the file's name (as in BTCEUR_1h.csv): give it with --timeframe"
            )
        return symbol, canonical(self.timeframe or timeframe)


@dataclass(frozen=True)
class Rules:
    """What is known of an instrument beside its bars; what is empty is as stored, else as its asset class has it."""

    asset_class: Annotated[
        str, _traded("--asset-class", "-a", metavar="CLASS", help=f"{', '.join(ASSET_CLASSES)}.")
    ] = "crypto"
    venue: Annotated[str, _traded("--venue", help="binance, bitvavo, alpaca …: names its costs.")] = ""
    kind: Annotated[str, _traded("--kind", help=f"{', '.join(KINDS)}; default by asset class.")] = ""
    calendar: Annotated[
        str, _traded("--calendar", help="24/7, 24/5 or an exchange such as XNYS; default by asset class.")
    ] = ""
    listed: Annotated[
        str, _traded("--listed", metavar="DATE", help="The day from which it may be held; nothing is held before.")
    ] = ""
    delisted: Annotated[
        str, _traded("--delisted", metavar="DATE", help="Its last day: what is held is closed at its last price.")
    ] = ""
    quote: Annotated[str, _traded("--quote", help="Quote currency, where the symbol does not say.")] = ""
    tick_size: Annotated[float | None, _traded("--tick-size", help="Smallest price step.")] = None
    lot_size: Annotated[float | None, _traded("--lot-size", help="Smallest quantity step.")] = None
    initial_margin: Annotated[
        str, _traded("--initial-margin", metavar="SHARE", help="Equity that a position needs, such as 5%; 100%: all.")
    ] = ""
    maintenance_margin: Annotated[
        str, _traded("--maintenance-margin", metavar="SHARE", help="Below this the venue liquidates, such as 2.5%.")
    ] = ""

    def instrument(self, store: Store, symbol: str) -> Instrument:
        """The stored instrument where there is one of the same class and venue, else the asset class's default."""
        default = default_instrument(symbol, self.asset_class, self.venue, self.kind)
        known = {i.symbol: i for i in instruments(store)}.get(symbol)
        if known and (known.asset_class, known.venue) == (default.asset_class, default.venue):
            default = known if self.kind in ("", known.kind) else _as_kind(known, default)
        plain = ("calendar", "listed", "delisted", "quote", "tick_size", "lot_size")
        changes = {name: getattr(self, name) for name in plain}
        changes |= {name: _margin(name, getattr(self, name)) for name in ("initial_margin", "maintenance_margin")}
        return with_changes(default, **{name: value for name, value in changes.items() if value not in ("", None)})


def _as_kind(known: Instrument, default: Instrument) -> Instrument:
    """A stored instrument that is of another kind from now on, with the margins of that kind."""
    rules = {name: getattr(default, name) for name in ("kind", "shortable", "initial_margin", "maintenance_margin")}
    return with_changes(known, **rules)


def _margin(name: str, text: str) -> float | None:
    if not text:
        return None
    try:
        return units.fraction(text)
    except ValueError as error:
        raise TrimtabError(f"--{name.replace('_', '-')} {text}: expected {error}") from None


@grouped
def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="CSV or Parquet files of bars.")],
    symbol: Annotated[str, typer.Option("--symbol", metavar="NAME", help="Default: from the file's name.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Even if stored bars are lost or changed.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
    *,
    reading: Reading,
    rules: Rules,
) -> None:
    """Import bars from CSV or Parquet files into the store.

    Columns open_time (or date, time, timestamp …), open, high, low, close and
    volume are recognised by usual names. A file with faults is refused with
    every fault listed; gaps, zero volume, stale runs and outliers are warned of.

    Writes Parquet files and the catalogue in the store.

    [bold]Examples[/bold]
      trimtab data import BTCEUR_1h.parquet ETHEUR_1h.parquet --venue bitvavo
      trimtab data import spy.csv --symbol SPY -t 1d -a equity --venue alpaca
      trimtab data import wti_1d.csv -a commodity --close-only --column close=WTI
      trimtab data import BTCUSDT_1m.parquet --kind perpetual --funding funding.csv
    """
    if len(files) > 1 and (symbol or reading.funding):
        option = "--symbol names" if symbol else "--funding is of"
        raise TrimtabError(f"{option} one instrument, but there are several files")
    _ = reading.columns  # a mistake there is no file's
    store = open_store(data)
    done: list[Imported] = []
    refused: list[tuple[Path, str]] = []
    with console.progress(shown=not as_json) as progress:
        for i, path in enumerate(files):
            progress(f"importing {path.name}", i, len(files))
            try:
                named, step = reading.names(path)
                instrument = rules.instrument(store, symbol or named)
                source = reading.source(path)
                done.append(import_file(store, source, instrument, step, now=time.time_ns(), replace=replace))
            except TrimtabError as error:
                refused.append((path, str(error)))
    if as_json:
        console.write_json(
            {"imported": [plain_imported(d) for d in done], "refused": [_refused(p, e) for p, e in refused]}
        )
    else:
        print_imported(done, store)
    for _, message in refused:
        console.say(message)
    if refused:
        raise typer.Exit(2)


def plain_imported(done: Imported) -> dict[str, Any]:
    """What an import did, as plain values."""
    return {
        "symbol": done.instrument.symbol,
        "timeframe": done.timeframe,
        "rows": done.rows,
        "first": done.first,
        "last": done.last,
        "close_only": done.instrument.close_only,
        "replaced": done.replaced,
        "notes": list(done.notes),
        **plain_report(done.report),
    }


def _refused(path: Path, message: str) -> dict[str, str]:
    return {"file": str(path), "error": message}


def plain_report(report: Report) -> dict[str, Any]:
    """A report of faults as plain values."""
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


def print_imported(done: Sequence[Imported], store: Store) -> None:
    """What imports did, as a table and a line of notes each."""
    from rich.markup import escape

    out = console.stdout()
    if done:
        rows = table("Symbol", "Bars", "First", "Last", "#Count", "#Missing", "Warnings")
        for d in done:
            missing = f"{d.report.missing:,}"
            rows.add_row(
                escape(d.instrument.symbol),
                d.timeframe,
                d.first[:10],
                d.last[:10],
                f"{d.rows:,}",
                missing,
                counted(d.report),
            )
        out.print(rows)
        for d in (d for d in done if d.notes):
            out.print(f"{d.instrument.symbol} {d.timeframe}: {'; '.join(d.notes)}", style="dim", markup=False)
        out.print(f"Stored in {store.root}. Look closer: trimtab data validate", markup=False, soft_wrap=True)


def counted(report: Report) -> str:
    """How many faults of each kind there are."""
    return ", ".join(f"{fault} {n:,}" for fault, n in report.counts.items()) or "none"


def table(*headers: str) -> Table:
    """A plain table; a header that begins with # is a column of numbers."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for header in headers:
        # Words may be broken, figures never.
        number = header.startswith("#")
        made.add_column(
            header.removeprefix("#"), justify="right" if number else "left", no_wrap=number, overflow="fold"
        )
    return made
