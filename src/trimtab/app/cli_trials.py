"""`trimtab trials`: everything that was tried, what it means for the best of it, and whether the ledger is whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trimtab.app import console
from trimtab.app.cli_options import DataOption, JsonOption

if TYPE_CHECKING:
    from trimtab.research.ledger.overview import Idea, View

app = typer.Typer()


@app.callback(invoke_without_command=True)
def trials(ctx: typer.Context, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List what was tried, hypothesis by hypothesis.

    Every backtest and every set of a sweep is a trial; a hypothesis is the same
    strategies on the same instruments at the same timeframe. The ledger is in
    the folder trials of the store, or in $TRIMTAB_TRIALS. Writes nothing.

    [bold]Examples[/bold]
      trimtab trials
      trimtab trials --json | jq '.hypotheses[0].trials'
      trimtab trials show 3f1c0a9be2d4
      trimtab trials verify
    """
    if ctx.invoked_subcommand is not None:
        ctx.obj = data, as_json  # what stands before the subcommand holds for it too
        return
    from trimtab.app.console.trials import print_ideas
    from trimtab.research.ledger.overview import ideas
    from trimtab.research.ledger.reading import opened

    with opened(_folder(data)) as ledger:
        found, head = ideas(ledger), ledger.head
    if as_json:
        console.write_json(
            {
                "path": str(ledger.path),
                "entries": sum(idea.entries for idea in found),
                "trials": sum(idea.trials for idea in found),
                "head": head,
                "hypotheses": [_document_of_idea(idea) for idea in found],
            }
        )
        return
    print_ideas(console.stdout(), found, head, str(ledger.path))


@app.command("show")
def show(
    ctx: typer.Context,
    hypothesis: Annotated[
        str, typer.Argument(metavar="ID", help="A hypothesis; the first digits of its id will do.", show_default=False)
    ],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one hypothesis: its trials, and what the best of them has to beat.

    The hurdle is the Sharpe that the best of so many trials without skill shows
    on average. It is counted over the hypothesis and over its family (all that
    saw half of its instrument-days), by every trial and by groups of trials
    that are alike; the strictest counts. Writes nothing.

    [bold]Examples[/bold]
      trimtab trials show 3f1c0a9be2d4
      trimtab trials show 3f1c --json
    """
    data, as_json = _before(ctx, data, as_json)
    from trimtab.app.console.trials import print_view
    from trimtab.research.ledger.overview import view
    from trimtab.research.ledger.reading import opened

    with opened(_folder(data)) as ledger:
        found = view(ledger, hypothesis)
    if as_json:
        console.write_json(_document_of_view(found))
    else:
        print_view(console.stdout(), found)


@app.command("verify")
def verify(
    ctx: typer.Context,
    head: Annotated[
        str, typer.Option("--head", metavar="HASH", help="A hash that was noted before: is it still in the chain?")
    ] = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether the trial ledger is whole, and name what is not.

    Checks every hash against the entry and the one before it, the index of
    trials, the returns of all of them, and the triggers that refuse changes.
    Nothing is changed; others may write meanwhile.

    Exit code 0: whole; 1: not; 2: it is no ledger, or a newer Trimtab's.

    Bundles and verdicts name the hash of the entry that was the last then.
    Given as --head it also proves that nothing was cut off after it was noted.

    [bold]Examples[/bold]
      trimtab trials verify
      trimtab trials verify --head 3f1c0a9be2d47781
    """
    data, as_json = _before(ctx, data, as_json)
    import msgspec

    from trimtab.app.console.trials import print_report
    from trimtab.research.ledger.reading import verify as verified
    from trimtab.types import TrimtabError

    if set(head.lower()) - set("0123456789abcdef") or 0 < len(head) < 8:
        raise TrimtabError(f"--head {head}: expected 8 or more digits of a hash, as trimtab trials verify prints it")
    report = verified(_folder(data), head)
    if as_json:
        console.write_json({"whole": not report.faults, **msgspec.to_builtins(report)})
    else:
        print_report(console.stdout(), report)
    if report.faults:
        console.say(
            "Keep a copy of the folder. What holds still counts; what was tried and is not in it, nobody can count: no "
            "verdict on it is worth anything."
        )
        raise typer.Exit(1)


def _before(ctx: typer.Context, data: Path | None, as_json: bool) -> tuple[Path | None, bool]:
    """Options of a subcommand, or those that stood before it."""
    above: tuple[Path | None, bool] = ctx.obj or (None, False)
    return data or above[0], as_json or above[1]


def _folder(data: Path | None) -> Path:
    from trimtab.research.ledger.file import folder_of

    return folder_of(data)


def _document_of_idea(idea: Idea) -> dict[str, Any]:
    import msgspec

    return msgspec.to_builtins(idea)


def _document_of_view(view: View) -> dict[str, Any]:
    """All of it; an entry without its template, which is long and in the ledger."""
    import msgspec

    entries = [
        {
            "seq": row.seq,
            "ts": row.ts,
            "kind": row.kind,
            "trials": row.entry.trials,
            "first": row.entry.first,
            "last": row.entry.last,
            "days": row.entry.count,
            "data": row.entry.data,
            "file": row.entry.file,
            "sha256": row.entry.sha256,
            "version": row.entry.version,
        }
        for row in view.entries
    ]
    return {**msgspec.to_builtins(view.idea), "entries": entries, "sets": msgspec.to_builtins(view.sets),
            "counts": msgspec.to_builtins(view.bars), "unread": list(view.unread), "why": view.why}  # fmt: skip
