"""`trimtab data validate`: what is wrong with bars, of the store and of files; and what cannot be, out of the way."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer

from trimtab.app import cli_advice, console
from trimtab.app.cli_import import Reading, Rules, counted, table
from trimtab.app.cli_options import DataOption, JsonOption, grouped
from trimtab.data.catalogue import check_calendar
from trimtab.data.events import read_events
from trimtab.data.importing import MOST_MISSING, SUFFIXES, read_source
from trimtab.data.quality.findings import Hit, columns_of, number_of
from trimtab.data.quality.labels import Closes, compare
from trimtab.data.quality.quarantine import Moved, quarantine, quarantine_file
from trimtab.data.quality.universe import Span, survivors
from trimtab.data.store import Store, find_instrument, instruments, open_store, read_bars, timeframes
from trimtab.data.timeframes import canonical
from trimtab.data.validation import Report, assess
from trimtab.types import Instrument, TrimtabError

if TYPE_CHECKING:
    import polars as pl

    from trimtab.research.quality_page import Checked, Found

#: Findings of each fault that are printed of each series: of the whole store, and where it was named.
_FEW, _MANY = 3, 20
#: Bars from which many missing ones are asked about.
_FEWEST: Final = 20
#: Places of a line of coverage, and of a name beside it.
_PLACES: Final = 18
_NAME: Final = 20


class _Series(NamedTuple):
    """Bars to look at. stored: they are in the store; hits: what another series of the instrument proves."""

    name: str
    timeframe: str
    instrument: Instrument
    frame: pl.DataFrame
    stored: bool
    hits: tuple[Hit, ...] = ()


@grouped
def validate_(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="SYMBOL|FILE", help="Instruments of the store, or files; default: the whole store."),
    ] = None,
    move: Annotated[
        bool, typer.Option("--quarantine", help="Put bad rows aside, and the good ones into the store.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Of files: even if stored bars are lost or changed.")
    ] = False,
    page: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with coverage, scores and findings.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Findings listed of each fault; default: 20, of a store 3.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail the check too.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
    *,
    reading: Reading,
    rules: Rules,
) -> None:
    """Validate bars: errors (duplicates, impossible prices …) and warnings (gaps, outliers, splits …).

    Works on the store, and on files before they are imported. Exchanges are
    held against their own calendar (with the extra `calendars`). Each series
    gets a score from 0 to 100 and a line of coverage.

    Writes nothing, or the page of --html. With --quarantine bad rows move to
    quarantine/ in the store with what is wrong with them, and the good rows of
    files are imported. Exit code 1 where errors are left.

    [bold]Examples[/bold]
      trimtab data validate
      trimtab data validate BTCEUR --limit 100 --html quality.html
      trimtab data validate spy_1d.csv --calendar XNYS
      trimtab data validate spy_1d.csv -a equity --quarantine
    """
    from trimtab.research import pages, quality_page

    if rules.calendar:
        check_calendar(rules.calendar)
    if page is not None:
        pages.check_path(page)
    store = open_store(data)
    if not targets and not instruments(store):
        raise TrimtabError(cli_advice.on_empty_store(store.root))
    shown = limit or (_MANY if targets else _FEW)
    now = time.time_ns()
    checked: list[Checked] = []
    moved: list[Moved] = []
    spans: list[Span] = []
    refused: list[str] = []
    wanted = targets or [i.symbol for i in instruments(store)]
    with console.progress(shown=not as_json) as progress:
        for i, target in enumerate(wanted):
            progress(f"validating {target}", i, len(wanted))
            given = list(_series_of(store, target, reading, rules))
            if move:
                given = list(_parted(store, given, moved, refused, now=now, replace=replace))
            for series in _compared(given):
                checked.append(_check(store, series, now, shown))
                if series.stored and len(series.frame):
                    spans.append(_span(series))
    found = quality_page.Found(checked, [*_doubts(checked), *survivors(spans)], moved)
    if page is not None:
        quality_page.write(found, page)
    if as_json:
        told = quality_page.plain(found) | {"refused": refused, "page": None if page is None else str(page)}
        console.write_json(told)
    else:
        _print(found, page)
    for message in refused:
        console.say(message)
    if refused:
        raise typer.Exit(2)
    if found.n_errors or (strict and found.n_warnings):
        raise typer.Exit(1)


# --- what to look at -------------------------------------------------------------------------------------------------


def _series_of(store: Store, target: str, reading: Reading, rules: Rules) -> Iterator[_Series]:
    path = Path(target)
    if path.exists() or path.suffix.lower() in SUFFIXES:
        symbol, timeframe = reading.names(path)
        instrument = rules.instrument(store, symbol)
        frame, _ = read_source(reading.source(path))
        yield _Series(target, timeframe, _closes_only(instrument, reading), frame, False)
        return
    instrument = find_instrument(store, target)
    steps = (canonical(reading.timeframe),) if reading.timeframe else timeframes(store, instrument)
    for step in steps:
        yield _Series(target, step, instrument, read_bars(store, instrument, step), True)


def _closes_only(instrument: Instrument, reading: Reading) -> Instrument:
    import msgspec

    return msgspec.structs.replace(instrument, close_only=reading.close_only)


def _parted(
    store: Store, given: list[_Series], moved: list[Moved], refused: list[str], *, now: int, replace: bool
) -> Iterator[_Series]:
    """The series as they are once their bad rows are out; a series that was refused stays as it is."""
    for series in given:
        try:
            if series.stored:
                done = quarantine(store, series.instrument, series.timeframe, now=now)
            else:
                done = quarantine_file(
                    store, series.frame, series.instrument, series.timeframe, now=now, replace=replace
                )
        except TrimtabError as error:
            refused.append(str(error))
            yield series
            continue
        moved.append(done)
        frame = read_bars(store, series.instrument, series.timeframe)
        yield series._replace(name=series.instrument.symbol, frame=frame, stored=True)


def _compared(given: list[_Series]) -> list[_Series]:
    """The series with what those of one instrument prove about each other."""
    stored = [s for s in given if s.stored]
    if len(stored) < 2:
        return given
    bars = [(s.timeframe, columns_of(s.frame)) for s in stored]
    hits = compare([Closes(step, b.opens, b.close) for step, b in bars])
    return [s._replace(hits=hits.get(s.timeframe, ())) for s in given]


def _check(store: Store, series: _Series, now: int, limit: int) -> Checked:
    from trimtab.research.quality_page import Checked

    found = assess(
        series.frame,
        series.timeframe,
        series.instrument.calendar,
        now=now,
        limit=limit,
        events=read_events(store, series.instrument),
        more=series.hits,
    )
    opens = series.frame["open_time"].drop_nulls()
    span = (f"{opens.min():%Y-%m-%d}", f"{opens.max():%Y-%m-%d}") if len(opens) else ("", "")
    return Checked(series.name, series.timeframe, span, found, series.stored)


def _doubts(checked: Sequence[Checked]) -> list[str]:
    """What could not be told of a series, and that one with so much missing is more likely to be something else."""
    notes: list[str] = []
    for c in checked:
        report = c.assessment.report
        notes += [f"{c.title}: {note}" for note in c.assessment.notes]
        share = report.missing / max(report.missing + report.rows, 1)
        if share >= MOST_MISSING and report.rows >= _FEWEST:
            notes.append(f"{c.title}: {share:.0%} of the bars are missing: are timeframe and calendar right?")
    return notes


def _span(series: _Series) -> Span:
    opens = series.frame["open_time"].dt.timestamp("ns")
    i = series.instrument
    return Span(i.symbol, i.asset_class, series.timeframe, int(opens[0]), int(opens[-1]))


# --- what is printed -------------------------------------------------------------------------------------------------


def _print(found: Found, page: Path | None) -> None:
    from trimtab.research.quality_page import grid_of, headline

    out = console.stdout()
    for c in found.series:
        if c.assessment.report.counts or len(found.series) == 1:
            _print_report(c)
    if len(found.series) > 1:
        out.print()
        out.print(_summary(found))
        if months := grid_of(found.series)[0]:  # as a caption it would be as narrow as the table
            signs = f"{months[0]} to {months[-1]}: # all bars, + from 99%, 9 from 90% … 0 below 10%"
            out.print(signs, style="dim", markup=False, soft_wrap=True)
    for note in found.notes:
        out.print(f"Note: {note}{'' if note.endswith('?') else '.'}", style="dim", markup=False, soft_wrap=True)
    for m in found.moved:
        out.print(_moved(m), markup=False, soft_wrap=True)
    out.print(headline(found), style="bold red" if found.n_errors else "bold", markup=False, soft_wrap=True)
    if page is not None:
        out.print(f"Page: {page}", markup=False, soft_wrap=True)


def _print_report(c: Checked) -> None:
    from trimtab.research.quality_page import score_text

    out, report = console.stdout(), c.assessment.report
    errors = number_of(report.n_errors, "error") if report.n_errors else "no errors"
    faults = f"{errors}; {counted(report)}" if report.counts else "no errors, no warnings"
    missing = f"; {number_of(report.missing, 'bar')} missing" if report.missing else ""
    out.print(
        f"{c.title}: score {score_text(c)}, {number_of(report.rows, 'bar')}, {faults}{missing}",
        style="bold red" if report.n_errors else "bold",
        markup=False,
        soft_wrap=True,
    )
    if report.hours:
        out.print(f"  gaps against {report.hours}", style="dim", markup=False, soft_wrap=True)
    listed: dict[str, int] = {}
    for f in report.findings:
        listed[f.fault] = listed.get(f.fault, 0) + 1
        place = "" if c.stored else f"{c.place(f):14}"
        line = f"  {f.severity:7} {f.fault:18} {place}{f.instant:20} {f.message}"
        out.print(line, style="red" if f.severity == "error" else "dim", markup=False, soft_wrap=True)
        if listed[f.fault] < report.counts[f.fault] and listed[f.fault] == _shown(report, f.fault):
            out.print(f"          … and {report.counts[f.fault] - listed[f.fault]:,} more of {f.fault}", style="dim")


def _shown(report: Report, fault: str) -> int:
    return sum(f.fault == fault for f in report.findings)


def _summary(found: Found) -> Any:
    """A line for each series, with what is there of each stretch of months."""
    from rich.markup import escape

    from trimtab.research.quality_page import score_text

    drawn = table("Series", "#Score", "#Errors", "#Warnings", "#Missing", "Coverage")
    for column in (drawn.columns[0], drawn.columns[-1]):
        column.no_wrap = True
    for c, line in zip(found.series, coverage_lines(found.series), strict=True):
        report = c.assessment.report
        figures = (report.n_errors, report.n_warnings, report.missing)
        name = c.title if len(c.title) <= _NAME else "…" + c.title[-_NAME + 1 :]  # the end of a path tells more
        drawn.add_row(escape(name), score_text(c), *(f"{n:,}" for n in figures), line)
    return drawn


def coverage_lines(series: Sequence[Checked]) -> list[str]:
    """For each series a line of one sign per month, or per stretch of months where they are many."""
    import numpy as np

    from trimtab.research.quality_page import grid_of

    months, _ = grid_of(series)
    if not months:
        return [""] * len(series)
    first = int(np.datetime64(months[0], "M").astype(np.int64))
    place = np.arange(len(months)) * min(_PLACES, len(months)) // len(months)
    lines: list[str] = []
    for c in series:
        coverage = c.assessment.coverage
        at = place[coverage.months - first]
        bars = np.bincount(at, coverage.bars, minlength=int(place[-1]) + 1)
        missing = np.bincount(at, coverage.missing, minlength=int(place[-1]) + 1)
        lines.append("".join(map(_sign, bars.tolist(), missing.tolist())))
    return lines


def _sign(bars: float, missing: float) -> str:
    if bars + missing == 0.0:
        return " "
    share = bars / (bars + missing)
    return "#" if missing == 0.0 else "+" if share >= 0.99 else str(int(10.0 * share))


def _moved(m: Moved) -> str:
    name = f"{m.symbol} {m.timeframe}"
    order = f", {number_of(m.moved, 'row')} put in order" if m.moved else ""
    if not m.taken:
        return f"Quarantine: {name}: nothing to take out of {number_of(m.kept, 'bar')}{order}."
    why = ", ".join(f"{fault} {n:,}" for fault, n in m.reasons.items())
    return f"Quarantine: {name}: {number_of(m.kept, 'bar')} kept, {m.taken:,} taken out ({why}) to {m.path}{order}."
