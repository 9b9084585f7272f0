"""`trimtab data download` and `update`: history from venues and vendors into the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import typer

from trimtab.app import console, units
from trimtab.app.cli_import import plain_report, table
from trimtab.app.cli_options import DataOption, JsonOption, instant_of
from trimtab.data.download import Downloaded, Origin, Span, download, find, origins, update
from trimtab.data.paging import Pager, Patience, alone
from trimtab.data.sources import Source, find_source
from trimtab.data.store import Store, open_store
from trimtab.data.timeframes import canonical
from trimtab.types import DAY, SECOND, TIMEFRAMES, NotEnoughData, TrimtabError

SourceOption = Annotated[
    str, typer.Option("--source", metavar="NAME", help="binance, bybit, kraken … (ccxt), yfinance, alpaca, fred.")
]
SymbolsOption = Annotated[str, typer.Option("--symbols", metavar="A,B", help="As the source writes them, or OURS=ITS.")]
TimeframesOption = Annotated[str, typer.Option("--timeframes", "-t", metavar="1h,1d", help="1m … 1w.")]
_NO_TIME: Final = 2**62


def download_(
    source: SourceOption,
    symbols: SymbolsOption,
    start: Annotated[str, typer.Option("--start", metavar="DATE", help="First open.")],
    timeframes: TimeframesOption = "1d",
    end: Annotated[str, typer.Option("--end", metavar="DATE", help="Before this open; default: now.")] = "",
    venue: Annotated[str, typer.Option("--venue", help="Where it is traded, if not where the source says.")] = "",
    lag: Annotated[str, typer.Option("--lag", help="Of a macro series, from its label to its use, such as 45d.")] = "",
    again: Annotated[bool, typer.Option("--again", help="Ask for pages that are kept, too.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Download bars, funding, splits and dividends, or macro series, into the store.

    Pages are kept: what was cut off goes on from there, and the same download
    again asks for nothing. A series is stored when it is whole, without the bar
    that is still open. Perpetuals are written BTC/USDT:USDT and stored as
    BTCUSDT-PERP. Exit code 2 where anything was refused.

    [bold]Examples[/bold]
      trimtab data download --source binance --symbols BTC/USDT,ETH/USDT -t 1h --start 2020-01-01
      trimtab data download --source bybit --symbols BTC/USDT:USDT -t 1m,1h --start 2024-01-01
      trimtab data download --source yfinance --symbols SPY,AAPL --start 1995-01-01
      trimtab data download --source fred --symbols DGS10,T10Y2Y,VIXCLS --start 1990-01-01
    """
    span = Span(instant_of("--start", start), instant_of("--end", end) if end else _NO_TIME)
    if span.start >= span.end:
        raise TrimtabError(f"--start {start} is not before --end {end}: expected a span of time")
    store, origin = open_store(data), _source(source, lag)
    names = [name.strip() for name in symbols.split(",") if name.strip()]
    steps = [canonical(name) for name in timeframes.split(",") if name.strip()] if origin.timeframes else [""]
    if not names or not steps:
        raise TrimtabError("--symbols and --timeframes need a name at least, such as --symbols BTC/USDT -t 1h")
    unknown = next((step for step in steps if step and step not in origin.timeframes), "")
    if unknown:
        raise TrimtabError(_no_timeframe(origin, unknown))

    with console.progress(shown=not as_json) as progress, alone(store, origin.name):
        pager = Pager(store, origin, Patience(again=again), tell=progress)
        series = [(name, step) for name in names for step in steps]
        done, refused = _each(
            [f"{name} {step}".strip() for name, step in series],
            lambda n: download(pager, find(pager, series[n][0], venue), series[n][1], span),
        )
    _finish(store, done, refused, as_json)


def update_(
    source: SourceOption = "",
    symbols: Annotated[str, typer.Option("--symbols", metavar="A,B", help="Ours; default: all downloaded.")] = "",
    timeframes: Annotated[str, typer.Option("--timeframes", "-t", metavar="1h,1d", help="Default: all.")] = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring what was downloaded up to now, each series from its own source.

    Asks for what is new and for the last bars before it: those that the source
    has revised since are told, counted and taken.

    [bold]Examples[/bold]
      trimtab data update
      trimtab data update --source binance --symbols BTCUSDT -t 1h
    """
    store = open_store(data)
    names = {name.strip() for name in symbols.split(",") if name.strip()}
    steps = {canonical(name) for name in timeframes.split(",") if name.strip()}
    known = [o for o in origins(store) if source in ("", o.source)]
    strange = next((name for name in sorted(names) if name not in {o.symbol for o in known}), "")
    chosen = [o for o in known if (not names or o.symbol in names) and (not steps or o.timeframe in steps)]
    if strange or not chosen:
        what = f"{strange} was not" if strange else "nothing of that was"
        raise TrimtabError(f"{what} downloaded into {store.root}: begin with `trimtab data download`")
    done: list[Downloaded] = []
    refused: list[tuple[str, TrimtabError]] = []
    with console.progress(shown=not as_json) as progress:
        for name in dict.fromkeys(o.source for o in chosen):
            part = _updated(store, name, [o for o in chosen if o.source == name], progress)
            done, refused = done + part[0], refused + part[1]
    _finish(store, done, refused, as_json)


_Outcome = tuple[list[Downloaded], list[tuple[str, TrimtabError]]]


def _updated(store: Store, source: str, chosen: Sequence[Origin], progress: console.Progress) -> _Outcome:
    try:
        with alone(store, source):
            pager = Pager(store, _source(source, ""), tell=progress)
            return _each([_label(o) for o in chosen], lambda n: update(pager, chosen[n]))
    except TrimtabError as error:  # the source itself cannot be had
        return [], [(source, error)]


def _each(labels: Sequence[str], work: Callable[[int], Downloaded]) -> _Outcome:
    """What each piece of work came to; one that is refused holds up no other."""
    done: list[Downloaded] = []
    refused: list[tuple[str, TrimtabError]] = []
    for n, label in enumerate(labels):
        try:
            done.append(work(n))
        except TrimtabError as error:
            refused.append((label, error))
    return done, refused


def _finish(store: Store, done: list[Downloaded], refused: list[tuple[str, TrimtabError]], as_json: bool) -> None:
    if as_json:
        told = [{"series": label, "error": str(error)} for label, error in refused]
        console.write_json({"downloaded": [plain_downloaded(d) for d in done], "refused": told})
    else:
        print_downloaded(done, store)
    for label, error in refused:
        console.say(f"{label}: {error}")
    if refused:
        raise typer.Exit(3 if all(isinstance(error, NotEnoughData) for _, error in refused) else 2)


def plain_downloaded(done: Downloaded) -> dict[str, Any]:
    """What a download did, as plain values."""
    return {
        "source": done.origin.source,
        "market": done.origin.market,
        "symbol": done.origin.symbol,
        "timeframe": done.origin.timeframe,
        "rows": done.rows,
        "first": done.first,
        "last": done.last,
        "new": done.new,
        "revised": done.revised,
        "events": done.events,
        "pages": {"asked": done.asked, "kept": done.kept},
        "notes": list(done.notes),
        **(plain_report(done.imported.report) if done.imported else {}),
    }


def print_downloaded(done: Sequence[Downloaded], store: Store) -> None:
    """What downloads did, as a table and a line of notes each."""
    from rich.markup import escape

    if not done:
        return
    out = console.stdout()
    rows = table("Symbol", "Bars", "First", "Last", "#Count", "#New", "#Revised", "#Missing")
    for d in done:
        missing = f"{d.imported.report.missing:,}" if d.imported else ""
        cells = [escape(d.origin.symbol), d.origin.timeframe, d.first[:10], d.last[:10], f"{d.rows:,}", f"{d.new:,}"]
        rows.add_row(*cells, f"{d.revised:,}", missing)
    out.print(rows)
    for d in (d for d in done if d.notes):
        out.print(f"{_label(d.origin)}: {'; '.join(d.notes)}", style="dim", markup=False)
    asked, kept = sum(d.asked for d in done), sum(d.kept for d in done)
    pages = f"Pages: {asked:,} asked for, {kept:,} kept from before"
    out.print(f"{pages}. Stored in {store.root}. Look closer: trimtab data validate", markup=False, soft_wrap=True)


def _label(origin: Origin) -> str:
    return f"{origin.symbol} {origin.timeframe}".strip()


def _source(name: str, lag: str) -> Source:
    if name == "fred":
        from trimtab.data.sources.fred import FredSource

        return FredSource(lag=_days(lag) if lag else 0)
    if lag:
        raise TrimtabError(f"--lag is of series that nobody trades, and {name} has bars: leave it out")
    return find_source(name, _MORE)


def _synthetic() -> Source:
    from trimtab.research.synthetic_source import SyntheticSource

    return SyntheticSource()


#: Sources that lie above the data's layer.
_MORE: Final = {"synthetic": _synthetic}


def _no_timeframe(source: Source, step: str) -> str:
    has = ", ".join(source.timeframes)
    finer = [name for name in source.timeframes if TIMEFRAMES[step] % TIMEFRAMES[name] == 0]
    hint = f"; take {finer[-1]}, of which {step} is made when it is loaded" if finer else ""
    return f"{source.name} has no bars of {step}: it has {has}{hint}"


def _days(text: str) -> int:
    try:
        seconds = units.duration(text)
    except ValueError as error:
        raise TrimtabError(f"--lag {text}: expected {error}") from None
    days = -(-int(seconds * SECOND) // DAY)
    if days < 1:
        raise TrimtabError(f"--lag {text}: expected a day at least, since a label is a date")
    return days
