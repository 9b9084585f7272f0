"""`trimtab walkforward`: parameters chosen on a part of history and judged on another, fold after fold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trimtab.app import cli_advice, console
from trimtab.app.cli_config import read
from trimtab.app.cli_options import DataOption, JsonOption, SetOption, SpecFile, grouped
from trimtab.app.cli_run import EndOption, StartOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from trimtab.research.crossval import Combinations, Crossed
    from trimtab.research.folds import Scheme
    from trimtab.research.walkforward import Walked

_walk = partial(typer.Option, rich_help_panel="How history is walked")
_cross = partial(typer.Option, rich_help_panel="Cross-validation in place of it")
_both = partial(typer.Option, rich_help_panel="Of both")


@dataclass(frozen=True)
class Cuts:
    """How history is cut, as it was written."""

    train: Annotated[
        str, _walk("--train", metavar="LENGTH", help="In-sample before each test: 2y, 6mo, 26w, 180d, or 500 (bars).")
    ] = ""
    test: Annotated[str, _walk("--test", metavar="LENGTH", help="Out-of-sample of each fold.")] = ""
    step: Annotated[
        str, _walk("--step", metavar="LENGTH", help="From one test to the next; default: as long as a test.")
    ] = ""
    folds: Annotated[
        int, _walk("--folds", metavar="N", min=0, help="So many tests of equal length, in place of --test.")
    ] = 0
    anchored: Annotated[bool, _walk("--anchored", help="In-sample begins with the history and grows.")] = False
    groups: Annotated[
        int, _cross("--groups", metavar="N", min=0, help="Cut the days into N groups; hold some out, in every way.")
    ] = 0
    held_out: Annotated[int, _cross("--held-out", metavar="K", min=1, help="Groups held out at a time.")] = 2
    hurdle: Annotated[
        float | None, _cross("--hurdle", metavar="SHARPE", help="Tell the share of paths below this annual Sharpe.")
    ] = None
    purge: Annotated[
        str, _both("--purge", metavar="LENGTH", help="Left out before a test; take the longest lookback.")
    ] = "0"
    embargo: Annotated[
        str, _both("--embargo", metavar="LENGTH", help="Left out besides; in cross-validation after a test.")
    ] = "0"
    exit_bars: Annotated[
        int, _both("--exit", metavar="BARS", min=1, help="Opens at the end of a window to sell what is held.")
    ] = 1


@grouped
def walkforward(
    spec: SpecFile,
    cuts: Cuts,
    grid: Annotated[
        list[str] | None,
        typer.Option("--grid", metavar="PATH=VALUES", help="What may be chosen: 5:30:1 or 5,10,20. Repeatable."),
    ] = None,
    metric: Annotated[
        str, typer.Option("--metric", help="What is chosen by, e.g. sharpe, sortino, calmar.")
    ] = "sharpe",
    start: StartOption = None,
    end: EndOption = None,
    settings: SetOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
    page: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with curves, folds and choices.")
    ] = None,
) -> None:
    """Choose parameters on the past, trade them on what follows.

    Each fold chooses the set of the grid that was best in-sample, and trades it
    out-of-sample: from a flat book, with models warmed on all bars before, sold
    with costs at the end. Without a grid the spec's own parameters are walked.
    --groups N cross-validates instead: every way to hold out K of N groups of
    days, and the spread of Sharpe over the paths they make. Every set that is
    chosen from is a trial. Writes nothing else, or the page of --html.

    Exit codes: 2 a mistake in the spec or the cuts, 3 not enough data for them.

    [bold]Examples[/bold]
      trimtab walkforward book.yaml --grid models.0.params.fast=5:30:5 --train 1y --test 3mo
      trimtab walkforward book.yaml --folds 8 --anchored --purge 50 --metric sortino
      trimtab walkforward book.yaml --grid models.0.params.fast=5:30:5 --groups 10 --held-out 2 --purge 50
    """
    from trimtab.app.grid import read_grid
    from trimtab.research import pages

    found = read(spec, settings, start, end)
    axes = read_grid(found, grid) if grid else {}
    how = _how(cuts)
    if page is not None:
        pages.check_path(page)
    from trimtab.app.wire import run_walkforward

    root = None if data is None else str(data)
    hurdle = math.nan if cuts.hurdle is None else cuts.hurdle
    with console.progress(shown=not as_json) as progress, cli_advice.given(lambda: found, root):
        result = run_walkforward(found, axes, how, metric=metric, hurdle=hurdle, root=root, progress=progress)
    from trimtab.research import validation_page

    asked = math.prod(map(len, axes.values()))
    if len(result.sets.specs) < asked:
        left_out = asked - len(result.sets.specs)
        console.say(f"{left_out:,} of {asked:,} combinations contradict themselves and were left out.")
    if page is not None:
        pages.write_page(validation_page.render_page(result), page)
    if as_json:
        console.write_json(validation_page.plain(result) | {"page": None if page is None else str(page)})
        return
    print_validation(console.stdout(), result)
    if page is not None:
        typer.echo(f"Page: {page}")


def _how(cuts: Cuts) -> Scheme | Combinations:
    """The cuts as a noun; TrimtabError where two ways were mixed."""
    from trimtab.research.crossval import Combinations
    from trimtab.research.folds import Scheme
    from trimtab.types import TrimtabError

    if cuts.groups:
        walked = [f"--{name}" for name in ("train", "test", "step", "folds", "anchored") if getattr(cuts, name)]
        if walked:
            raise TrimtabError(f"--groups and {walked[0]} were both given: cross-validate, or walk forward")
        return Combinations(
            groups=cuts.groups, held_out=cuts.held_out, purge=cuts.purge, embargo=cuts.embargo, exit_bars=cuts.exit_bars
        )
    if cuts.hurdle is not None:
        raise TrimtabError("--hurdle is of cross-validation: give --groups too")
    return Scheme(
        train=cuts.train,
        test=cuts.test,
        step=cuts.step,
        folds=cuts.folds,
        anchored=cuts.anchored,
        purge=cuts.purge,
        embargo=cuts.embargo,
        exit_bars=cuts.exit_bars,
    )


def print_validation(out: Console, found: Walked | Crossed) -> None:
    """Folds or paths, how steady the choice was, and the answer."""
    from trimtab.research import validation_page as told
    from trimtab.research.walkforward import Walked

    if isinstance(found, Walked):
        # When in-sample began and ended follows from the scheme: a terminal has no room for it.
        number, *shown = told.fold_heads(found)
        rows = [[row[0], *row[3:]] for row in told.fold_rows(found)]
        _print_table(out, [number, *shown[2:]], rows, left=4)
    else:
        _print_table(out, ["Paths", ""], told.path_rows(found))
    if found.sets.names:
        out.print()
        _print_table(out, told.STABILITY_HEADS, told.stability_rows(found))
        counted = f"{len(found.sets.specs):,} sets, chosen by {found.criterion.label}"
        out.print(counted, style="dim", markup=False, soft_wrap=True)
    out.print()
    for note in told.notes_of(found):
        out.print(f"Note: {note}.", style="dim", markup=False, soft_wrap=True)
    out.print(told.headline(found), style="bold", markup=False, soft_wrap=True)


def _print_table(out: Console, heads: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> None:
    from trimtab.app.console.cells import escaped, table_of

    table = table_of(*heads, left=left)
    for row in rows:
        table.add_row(*map(escaped, row))
    out.print(table)
