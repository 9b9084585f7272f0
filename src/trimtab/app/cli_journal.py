"""`trimtab journal`: is an account's journal whole, what is in it, and a copy of it for other programs."""

from __future__ import annotations

import collections
import datetime as dt
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from trimtab.app import console, units
from trimtab.app.cli_options import JsonOption
from trimtab.words import near

if TYPE_CHECKING:
    import polars as pl

    from trimtab.engine.journal import Event, Report

app = typer.Typer(no_args_is_help=True, help="Verify, show and export the journal of an account.")

JournalFile = Annotated[Path, typer.Argument(metavar="FILE", help="The journal of an account.", show_default=False)]

#: Events that are shown where nothing else is asked for.
_SHOWN: Final = 20
#: Events of an export that are held at once.
_BLOCK: Final = 50_000


@app.command("verify")
def verify(
    journal: JournalFile,
    head: Annotated[
        str, typer.Option("--head", metavar="HASH", help="A hash that was noted before: is it still in the chain?")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Say whether a journal is whole, and name the first row that is not.

    Checks every hash against the row and the row before it, the numbers of the
    rows, their bodies and keys, the triggers that keep them, and SQLite's own
    structure. Nothing in the journal is changed, and its engine may be running.

    Exit code 0: whole; 1: not; 2: there is no such journal.

    The hash of the last event is printed. Noted elsewhere and given as --head
    it also proves that nothing was cut off at the end.

    [bold]Examples[/bold]
      trimtab journal verify paper.journal
      trimtab journal verify paper.journal --head 3f1c0a9be2d47781
    """
    from trimtab.engine.journal import verify as verified
    from trimtab.types import TrimtabError

    if set(head.lower()) - set("0123456789abcdef") or 0 < len(head) < 8:
        raise TrimtabError(f"--head {head}: expected 8 or more digits of a hash, as trimtab journal verify prints it")
    report = verified(journal, head)
    if as_json:
        console.write_json(_document(report))
    else:
        _print(report)
    if not report.whole:
        raise typer.Exit(1)


def _document(report: Report) -> dict[str, Any]:
    import msgspec

    return {"whole": report.whole, "broken": report.broken, **msgspec.to_builtins(report)}


def _print(report: Report) -> None:
    from trimtab.app.console.journal import instant_of

    span = ""
    if report.first is not None and report.last is not None:
        span = f", {instant_of(report.first)} to {instant_of(report.last)}"
    events = f"{report.events:,} event{'' if report.events == 1 else 's'}"
    if report.whole:
        typer.echo(f"{report.path}: whole; account {report.account}, {events}{span}")
    else:
        typer.echo(f"{report.path}: BROKEN; account {report.account or '?'}, {events} before the fault hold{span}")
        for fault in report.faults:
            typer.echo(f"  {f'row {fault.seq}' if fault.seq is not None else 'file'}: {fault.what}")
    typer.echo(f"head {report.head}")
    for warning in report.warnings:
        console.say(f"Note: {warning}.")
    if not report.whole:
        console.say(
            "Keep a copy of this file and of those beside it. What holds can be read (trimtab journal show, export); "
            "what came after is in the venue's records."
        )


@app.command("show")
def show(
    journal: JournalFile,
    kinds: Annotated[
        list[str] | None, typer.Option("--kind", metavar="KIND", help="Only these: order, fill, halt … Repeatable.")
    ] = None,
    since: Annotated[str | None, typer.Option("--since", metavar="WHEN", help="A date or an instant, UTC.")] = None,
    last: Annotated[
        int | None,
        typer.Option("--last", "-n", min=1, help=f"The last so many; default {_SHOWN}, with --since all."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what happened, one line for each event.

    Prints on stdout and changes nothing. Each row is held against the chain
    before it is shown.

    [bold]Examples[/bold]
      trimtab journal show paper.journal --last 50
      trimtab journal show paper.journal --kind order --kind fill --since 2026-03-02
    """
    from trimtab.app.console.journal import document_of, line_of

    asked = _known(kinds or [])
    count = last if last is not None else None if since is not None else _SHOWN
    events = _chosen(journal, asked, _instant(since), count)
    if as_json:
        console.write_json([document_of(event) for event in events])
        return
    for event in events:
        typer.echo(line_of(event))


def _chosen(path: Path, kinds: set[str], since: int, count: int | None) -> Iterable[Event]:
    from trimtab.engine.events import kind_of
    from trimtab.engine.journal import read
    from trimtab.engine.reading import last_seq

    start = 1
    if count is not None and not kinds and not since:
        start = max(1, last_seq(path) - count + 1)
    found = (e for e in read(path, start) if e.ts >= since and (not kinds or kind_of(e.body) in kinds))
    return found if count is None else collections.deque(found, maxlen=count)


def _known(kinds: Iterable[str]) -> set[str]:
    from trimtab.engine.events import KINDS
    from trimtab.types import TrimtabError

    for kind in kinds:
        if kind not in KINDS:
            raise TrimtabError(f"--kind {kind}: there is no such kind{near(kind, KINDS)}; there are {', '.join(KINDS)}")
    return set(kinds)


def _instant(text: str | None) -> int:
    from trimtab.types import TrimtabError

    if text is None:
        return 0
    try:
        when = units.instant(units.date(text))
    except ValueError:
        raise TrimtabError(f"--since {text}: expected {units.DATE}") from None
    return (when - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1) * 1000


@app.command("export")
def export(
    journal: JournalFile,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A name that ends in .jsonl or .parquet.")],
) -> None:
    """Write all events to JSON lines or Parquet.

    Writes --out, whole or not at all. Of a journal that is broken it writes the
    rows that hold, says which does not, and ends with exit code 1.

    [bold]Examples[/bold]
      trimtab journal export paper.journal --out events.jsonl
      trimtab journal export paper.journal --out events.parquet
    """
    from trimtab.engine.journal import JournalFailed
    from trimtab.types import TrimtabError

    write = {".jsonl": _write_lines, ".parquet": _write_parquet}.get(out.suffix.lower())
    if write is None:
        raise TrimtabError(f"--out {out}: expected a file name that ends in .jsonl or .parquet")
    if not out.parent.is_dir():
        raise TrimtabError(f"--out {out}: there is no folder {out.parent}; make it first")
    failures: list[JournalFailed] = []
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        count = write(_whole(journal, failures), part)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    console.say(f"{count:,} event{'' if count == 1 else 's'}: {out}")
    if failures:
        console.say(str(failures[0]))
        raise typer.Exit(1)


def _whole(path: Path, failures: list[Any]) -> Iterator[Event]:
    """The events that hold; what ends them before their time goes to the failures. A file that is none is raised."""
    from trimtab.engine.journal import JournalFailed, read
    from trimtab.engine.reading import last_seq

    last_seq(path)
    try:
        yield from read(path)
    except JournalFailed as failed:
        failures.append(failed)


def _write_lines(events: Iterable[Event], path: Path) -> int:
    import msgspec

    from trimtab.app.console.journal import document_of

    count = 0
    with path.open("wb") as file:
        for count, event in enumerate(events, 1):  # noqa: B007  # the count is what is told
            file.write(msgspec.json.encode(document_of(event)) + b"\n")
    return count


def _write_parquet(events: Iterable[Event], path: Path) -> int:
    import polars as pl

    rows: list[tuple[Any, ...]] = []
    frames: list[pl.DataFrame] = []
    for row in map(_cells, events):
        rows.append(row)
        if len(rows) == _BLOCK:
            frames.append(_frame(rows))
            rows.clear()
    whole = pl.concat([*frames, _frame(rows)])
    whole.write_parquet(path)
    return whole.height


def _cells(event: Event) -> tuple[Any, ...]:
    from trimtab.engine.events import encode, kind_of

    return event.seq, event.ts, kind_of(event.body), event.key, encode(event.body).decode(), event.hash.hex()


def _frame(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    import polars as pl

    kinds = {"seq": pl.Int64, "ts": pl.Int64, "kind": pl.String, "key": pl.String, "body": pl.String, "hash": pl.String}
    frame = pl.DataFrame(rows, schema=kinds, orient="row")
    return frame.with_columns(ts=pl.col("ts").cast(pl.Datetime("ns", "UTC")))
